//! Whatever happens in whatever order: the fold of the facts is the run, and the run keeps its word.

use crate::stage::*;
use holdline_core::document::Verb;
use holdline_core::flow::script::MediaPreference;
use holdline_core::notice::LineAnswer;
use holdline_core::scene::*;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn any_action() -> impl Strategy<Value = Value> {
    let target = prop_oneof![Just("a0"), Just("a2"), Just("a5"), Just("gone")];
    prop_oneof![
        any::<bool>().prop_map(|next| json!({"type": "talk", "name": "t", "with": {"text": "x ${t.heard_ms} ${d.digits}", "digits_handle": if next { "next" } else { "" }}})),
        any::<bool>().prop_map(|a| json!({"type": "play", "with": {"stream_urls": ["u", "v"], "async": a}})),
        Just(json!({"type": "play", "with": {"file": "f.wav", "digits_handle": "next"}})),
        Just(json!({"type": "beep", "timeout_ms": 300})),
        Just(json!({"type": "digits_send", "with": {"digits": "12"}})),
        (0..4000u64).prop_map(|ms| json!({"type": "sleep", "with": {"duration": ms}})),
        (0..4000u64).prop_map(|ms| json!({"type": "echo", "with": {"duration": ms}})),
        (0..3u64, any::<bool>()).prop_map(|(n, clear)| json!({"type": "digits_receive", "name": "d", "with": {"length": n, "key": "#", "clear": clear}})),
        Just(json!({"type": "digits_receive", "with": {"inter_digit": 700}})),
        Just(json!({"type": "speech_receive"})),
        any::<bool>().prop_map(|n| json!({"type": "recording_start", "name": "r", "with": {"source": if n { "network" } else { "stream" }}})),
        Just(json!({"type": "recording_stop"})),
        Just(json!({"type": "connect", "with": {"destinations": [{"target": "+1"}]}})),
        Just(json!({"type": "queue_join", "with": {"queue": "q"}})),
        Just(json!({"type": "conference_join", "with": {"conference": "c"}})),
        (target.clone(), 0..4i64).prop_map(|(t, n)| json!({"type": "goto", "with": {"target_id": t, "loop_count": n - 1}})),
        target.prop_map(|t| json!({"type": "branch", "with": {"target_ids": {"1": t}, "default_target_id": "a1"}, "on_error": "continue"})),
        Just(json!({"type": "variable_set", "with": {"key": "k", "value": "${k}1"}, "when": "${d}"})),
        Just(json!({"type": "talk", "with": {"text": "r"}, "retry": {"attempts": 2, "initial_ms": 100, "factor": 1.0, "max_ms": 100, "jitter": 0.0, "non_retryable": [], "retryable": ["internal"]}, "on_error": {"goto": "a0"}})),
        Just(json!({"type": "hangup"})),
    ]
}

#[derive(Debug, Clone)]
enum Happens {
    Posture(Line),
    Back(LineAnswer),
    Press(char),
    /// One of the sounds so far ends.
    Sounds(usize, SoundEnd),
    Recorded(u64),
    Passes(u64),
    Crash,
    Push(Value),
    End,
}

fn anything() -> impl Strategy<Value = Happens> {
    let line = prop_oneof![3 => Just(Line::Streaming), 2 => Just(Line::Asking), 1 => Just(Line::Away)];
    let how = prop_oneof![
        4 => Just(SoundEnd::Whole), 1 => Just(SoundEnd::Cut), 1 => Just(SoundEnd::Stalled),
        1 => Just(SoundEnd::Failed { class: ErrorClass::Internal, message: "m".into() }),
    ];
    let digits = prop_oneof![Just(""), Just("1"), Just("123")];
    let answer = prop_oneof![
        2 => Just(LineAnswer::Returned),
        2 => digits.prop_map(|d| LineAnswer::Gathered { digits: d.into(), speech: None, confidence: None }),
        1 => Just(LineAnswer::Dialed { status: "busy".into(), call_sid: None, duration_s: None, recording_url: None }),
        1 => Just(LineAnswer::Queued { result: "left".into(), wait_seconds: None }),
    ];
    prop_oneof![
        5 => line.prop_map(Happens::Posture),
        6 => answer.prop_map(Happens::Back),
        4 => prop::sample::select(vec!['1', '2', '#']).prop_map(Happens::Press),
        6 => (0..4usize, how).prop_map(|(back, how)| Happens::Sounds(back, how)),
        2 => (1..3u64).prop_map(Happens::Recorded),
        4 => (0..6000u64).prop_map(Happens::Passes),
        2 => Just(Happens::Crash),
        1 => any_action().prop_map(Happens::Push),
        1 => Just(Happens::End),
    ]
}

/// What holds after every turn.
fn check(stage: &Stage, heard: &mut BTreeSet<u64>) {
    for op in &stage.ops {
        match op {
            Op::Render(_) => assert_eq!(stage.line, Line::Asking),
            Op::Sound { sound, .. } => {
                assert_eq!(stage.line, Line::Streaming);
                assert!(heard.last().is_none_or(|last| last < sound), "numbers of sounds rise");
                heard.insert(*sound);
            }
            Op::Echo(_) | Op::StartRecording(_) | Op::StopRecording | Op::Hush => {
                assert_eq!(stage.line, Line::Streaming)
            }
        }
    }
    let verbs = stage.verbs();
    assert!(verbs.len() <= 10);
    assert!(
        verbs.iter().rev().skip(1).all(|verb| !verb.has_action()),
        "only the last verb answers: {verbs:?}"
    );
    match (&stage.needs, stage.line) {
        (Needs::Verb, line) => assert_eq!(line, Line::Streaming),
        (Needs::Stream, line) => assert!(matches!(line, Line::Asking | Line::Streaming)),
        (Needs::Over(_), _) => assert_eq!(stage.wake_at, None),
        _ => {}
    }
    let slow = stage.wake_at.is_none_or(|at| at > stage.now.tick);
    assert!(slow, "a turn leaves nothing due behind: {:?} at {:?}", stage.wake_at, stage.now.tick);
    let going = matches!(stage.needs, Needs::Nothing) && stage.line == Line::Asking;
    assert!(
        !going || stage.view()["current_action"] != Value::Null,
        "an empty document would go round for ever"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fold_of_the_facts_is_the_run(
        actions in prop::collection::vec(any_action(), 0..9),
        events in prop::collection::vec(anything(), 0..40),
        always: bool,
        local_speech: bool,
    ) {
        let actions: Vec<Value> = actions.into_iter().enumerate().map(|(at, mut action)| {
            action["id"] = json!(format!("a{at}"));
            action
        }).collect();
        let mut script = script(&json!(actions));
        script.media = if always { MediaPreference::Always } else { MediaPreference::Auto };
        script.limits.steps = 300;
        script.limits.stack_depth = 3;
        let mut stage = Stage::with(spec(script));
        stage.local_speech = local_speech;
        let mut heard = BTreeSet::new();
        stage.proceed(Line::Asking);
        check(&stage, &mut heard);
        for event in events {
            let was_over = matches!(stage.needs, Needs::Over(_));
            match event {
                Happens::Posture(line) => {
                    // A document goes out before anything else; a stream's start says that it was performed.
                    if stage.line == Line::Asking && line != Line::Away { stage.proceed(Line::Away); }
                    if line == Line::Streaming { stage.stream() } else { stage.proceed(line) };
                }
                Happens::Back(answer) => { stage.proceed(Line::Away); stage.back(answer); }
                Happens::Press(digit) => { stage.press(digit); }
                Happens::Sounds(back, how) => match heard.iter().rev().nth(back).copied() {
                    Some(sound) => { stage.sounded(sound, how, 20); }
                    None => { stage.take(Event::Due); }
                },
                Happens::Recorded(ordinal) => {
                    let report = RecordingReport { ordinal, file: "r".into(), bytes: 1, seconds: 1.0, gaps: vec![], ended_by: "stopped".into() };
                    stage.take(Event::Recorded { report });
                }
                Happens::Passes(ms) => { stage.after_ms(ms); }
                Happens::Crash => { stage.crash(); let line = stage.line; stage.proceed(if line == Line::Asking { Line::Away } else { line }); }
                Happens::Push(action) => { stage.push(&json!([action])); }
                Happens::End => { stage.take(Event::End { reason: EndReason::Stopped, detail: None }); }
            }
            check(&stage, &mut heard);
            if was_over {
                prop_assert!(matches!(stage.needs, Needs::Over(_)) && stage.ops.is_empty());
            }
        }
        stage.take(Event::End { reason: EndReason::CallEnded, detail: None });
        prop_assert!(matches!(stage.needs, Needs::Over(_)));
        let overs = stage.facts.iter().filter(|fact| matches!(fact, holdline_core::fact::RunFact::Over { .. })).count();
        prop_assert_eq!(overs, 1);
        for entry in stage.view()["executed_actions"].as_array().unwrap() {
            prop_assert!(!entry["outcome"].is_null() && !entry["ended_at"].is_null());
        }
        let _: Vec<Verb> = stage.verbs();
    }
}
