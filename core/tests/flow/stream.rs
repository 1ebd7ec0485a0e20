//! On a stream: sounds, keys, echo, recordings, and what happens when it is lost.

use crate::stage::*;
use holdline_core::scene::*;
use serde_json::{Value, json};

fn on_stream(actions: Value) -> Stage {
    let mut stage = Stage::of(actions);
    stage.local_speech = true;
    stage.proceed(Line::Streaming);
    stage
}

#[test]
fn an_echo_needs_a_stream_and_ends_by_its_time() {
    let mut stage = Stage::of(json!([
        {"type": "talk", "with": {"text": "hello"}},
        {"type": "echo", "with": {"duration": 2000}},
        {"type": "hangup", "with": {"reason": "bye"}},
    ]));
    stage.proceed(Line::Asking);
    assert_eq!((stage.did().as_str(), &stage.needs), ("say hello", &Needs::Stream));
    stage.stream();
    assert_eq!((stage.did().as_str(), &stage.needs), ("echo true", &Needs::Stream));
    stage.after_ms(1999);
    assert_eq!(stage.did(), "");
    stage.after_ms(1);
    assert_eq!(stage.did(), "echo false");
    assert_eq!((stage.over().reason, stage.over().by_hangup), (EndReason::Completed, true));
    assert_eq!(stage.history(), ["talk:ok", "echo:ok", "hangup:ok"]);

    let mut stage = on_stream(json!([{"type": "echo"}]));
    assert_eq!((stage.wake_at, stage.did().as_str()), (None, "echo true"));
    stage.take(Event::End { reason: EndReason::CallEnded, detail: None });
    assert_eq!(stage.history(), ["echo:interrupted"]);
}

#[test]
fn every_sound_is_played_waited_for_and_may_fail() {
    for (action, did) in [
        (json!({"type": "talk", "with": {"text": "hi"}}), "speak hi"),
        (json!({"type": "play", "with": {"file": "a.wav"}}), "sound file a.wav"),
        (json!({"type": "play", "with": {"stream_urls": ["u"]}}), "sound u"),
        (json!({"type": "beep"}), "beep 1000/500"),
        (json!({"type": "digits_send", "with": {"digits": "1w#"}}), "tones 1w# 250/100"),
    ] {
        let stalled = (SoundEnd::Stalled, "failed", json!("timeout"));
        let failed = SoundEnd::Failed { class: ErrorClass::Unavailable, message: "no file".into() };
        let cases = [
            (SoundEnd::Whole, "ok", Value::Null),
            stalled,
            (failed, "failed", json!("unavailable")),
            (SoundEnd::Cut, "interrupted", Value::Null),
        ];
        for (how, outcome, class) in cases {
            let mut stage = on_stream(json!([action, {"type": "empty"}]));
            assert_eq!((stage.did().as_str(), &stage.needs), (did, &Needs::Stream));
            let sound = stage.sounds()[0];
            stage.sounded(sound + 1, SoundEnd::Whole, 9);
            assert_eq!(stage.needs, Needs::Stream, "another sound's end is not its own");
            stage.sounded(sound, how, 120);
            let entry = stage.entry(0);
            assert_eq!((&entry["outcome"], &entry["error"]["class"]), (&json!(outcome), &class), "{entry}");
            if outcome == "interrupted" {
                assert_eq!(entry["output"], json!({"heard_ms": 120}));
            }
            assert_eq!(stage.over().reason, EndReason::Completed);
        }
    }
}

#[test]
fn a_file_outside_the_workflows_folder_is_refused() {
    for file in ["../x.wav", "/etc/x", "a/../../x", "C:\\x", "a\\..\\x"] {
        let mut spec = spec(script(&json!([{"type": "play", "with": {"file": "${f}"}}])));
        spec.variables.insert("f".into(), json!(file));
        let mut stage = Stage::with(spec);
        stage.proceed(Line::Streaming);
        assert_eq!(stage.entry(0)["error"]["class"], "invalid", "{file}");
    }
}

#[test]
fn several_files_are_one_step_and_an_asynchronous_one_is_not_waited_for() {
    let mut stage = on_stream(json!([
        {"type": "play", "with": {"stream_urls": ["u1"], "async": true}},
        {"type": "play", "with": {"stream_urls": ["u2", "u3"]}},
    ]));
    assert_eq!(stage.did(), "sound u1, sound u2, sound u3");
    let sounds = stage.sounds();
    assert!(sounds.is_sorted_by(|a, b| a < b));
    for sound in &sounds[..2] {
        stage.sounded(*sound, SoundEnd::Whole, 10);
        assert_eq!(stage.needs, Needs::Stream);
    }
    stage.sounded(sounds[2], SoundEnd::Whole, 10);
    assert_eq!(stage.history(), ["play:ok", "play:ok"]);
}

#[test]
fn a_key_cuts_a_prompt_short_and_is_kept_for_whoever_asks() {
    let mut stage = on_stream(json!([
        {"type": "talk", "with": {"text": "long", "digits_handle": "next"}},
        {"type": "digits_receive", "with": {"length": 2}},
    ]));
    let sound = stage.sounds()[0];
    assert_eq!(stage.press('4').did(), "hush");
    assert_eq!(stage.press('2').did(), "", "one hush is enough");
    stage.sounded(sound, SoundEnd::Cut, 640);
    assert_eq!(stage.entry(0)["output"], json!({"heard_ms": 640}));
    assert_eq!(stage.entry(1)["output"], json!({"digits": "42", "ended_by": "length"}));

    let mut stage = on_stream(json!([{"type": "talk", "with": {"text": "long"}}]));
    assert_eq!(stage.press('4').did(), "", "without digits_handle it plays on");
}

#[test]
fn digits_on_a_stream_are_timed_from_the_first_key_to_the_last() {
    let receive = |with: Value| on_stream(json!([{"type": "digits_receive", "with": with}]));
    let output = |digits: &str, by: &str| json!({"digits": digits, "ended_by": by});

    let mut stage = receive(json!({"duration": 3000, "inter_digit": 1000, "length": 4}));
    stage.after_ms(2999).press('1').after_ms(999).press('2').after_ms(999);
    assert_eq!(stage.needs, Needs::Stream);
    stage.after_ms(1);
    assert_eq!(stage.entry(0)["output"], output("12", "timeout"));

    let mut stage = receive(json!({"duration": 3000}));
    stage.after_ms(3000);
    assert_eq!(
        (&stage.entry(0)["output"], &stage.entry(0)["outcome"]),
        (&output("", "timeout"), &json!("ok"))
    );

    let mut stage = receive(json!({"key": "#*", "length": 4}));
    stage.press('1').press('*');
    assert_eq!(stage.entry(0)["output"], output("1", "key"));
    assert_eq!(stage.var("call.digits"), "1");

    // Typed ahead: the time between keys runs first.
    let mut stage =
        Stage::of(json!([{"type": "digits_receive", "with": {"duration": 9000, "inter_digit": 500}}]));
    stage.line = Line::Away;
    stage.press('8').proceed(Line::Streaming);
    stage.after_ms(500);
    assert_eq!(stage.entry(0)["output"], output("8", "timeout"));
}

#[test]
fn media_that_lost_its_stream_begins_again_where_the_line_is_back() {
    let mut stage = on_stream(json!([{"type": "play", "with": {"stream_urls": ["u"]}}, {"type": "empty"}]));
    let first = stage.sounds()[0];
    assert_eq!(stage.proceed(Line::Away).needs, Needs::Nothing);
    stage.sounded(first, SoundEnd::Cut, 100);
    assert!(stage.history().is_empty(), "what the lost stream says is not its end");
    assert_eq!(stage.proceed(Line::Streaming).did(), "sound u");
    assert!(stage.sounds()[0] > first);
    stage.proceed(Line::Away);
    assert_eq!(
        (stage.proceed(Line::Asking).did().as_str(), &stage.needs),
        ("play u", &Needs::Close { hold: false })
    );
    stage.back(Default::default());
    assert_eq!(
        (&stage.entry(0)["attempts"], stage.history().join(" ").as_str()),
        (&json!(3), "play:ok empty:ok")
    );
}

#[test]
fn a_crash_forgets_no_digit_and_no_due_time() {
    let mut stage = on_stream(json!([
        {"type": "digits_receive", "with": {"length": 3, "clear": true}},
        {"type": "sleep", "with": {"duration": 10000}},
        {"type": "echo"},
    ]));
    stage.press('1').press('2').crash().proceed(Line::Streaming).press('3');
    assert_eq!(
        (&stage.entry(0)["output"]["digits"], &stage.entry(0)["attempts"]),
        (&json!("123"), &json!(2))
    );
    stage.after_ms(4000).crash();
    // The line is elsewhere, and the wait goes on; while the line asks, the caller is held on a stream.
    stage.proceed(Line::Away);
    assert_eq!(stage.wake_at, Some(stage.now.tick_at_wall(WALL + 10_000)));
    assert_eq!((stage.proceed(Line::Asking).did().as_str(), &stage.needs), ("", &Needs::Stream));
    stage.line = Line::Away;
    stage.after_ms(6000);
    assert_eq!((&stage.entry(1)["outcome"], &stage.entry(1)["attempts"]), (&json!("ok"), &json!(1)));
    assert_eq!(stage.proceed(Line::Asking).needs, Needs::Stream);
    assert_eq!(stage.proceed(Line::Streaming).did(), "echo true");
}

#[test]
fn a_failed_sound_is_tried_again_after_a_wait_that_survives_a_crash() {
    let retry = json!({"attempts": 3, "initial_ms": 1000, "factor": 2.0, "max_ms": 60000, "jitter": 0.1, "non_retryable": [], "retryable": []});
    let mut stage = on_stream(json!([
        {"type": "talk", "name": "t", "with": {"text": "hi"}, "retry": retry, "on_error": {"goto": "sorry"}},
        {"type": "stop"},
        {"id": "sorry", "type": "variable_set", "with": {"key": "why", "value": "${error.action} ${error.class}"}},
    ]));
    let fail = |stage: &mut Stage| {
        let sound = stage.sounds()[0];
        stage.sounded(
            sound,
            SoundEnd::Failed { class: ErrorClass::Unavailable, message: "no voice".into() },
            0,
        );
    };
    fail(&mut stage);
    assert_eq!((stage.did().as_str(), &stage.needs), ("", &Needs::Stream));
    let wait = stage.wake_at.expect("a wait").since(stage.now.tick).as_millis();
    assert!((1000..=1100).contains(&wait), "{wait}");
    stage.after_ms(900).crash().proceed(Line::Streaming);
    assert_eq!(stage.did(), "");
    stage.after_ms(300);
    assert_eq!(stage.did(), "speak hi");
    fail(&mut stage);
    stage.after_ms(1999);
    assert_eq!(stage.did(), "");
    stage.line = Line::Away;
    stage.after_ms(300);
    assert_eq!(stage.wake_at, None, "what is due waits for the line, not for the clock");
    stage.proceed(Line::Streaming);
    fail(&mut stage);
    assert_eq!(stage.entry(0)["attempts"], 3);
    assert_eq!(stage.entry(0)["error"], json!({"class": "unavailable", "message": "no voice"}));
    assert_eq!(stage.var("why"), "t unavailable");
    assert_eq!(stage.over().reason, EndReason::Completed);
}

#[test]
fn an_attempt_that_takes_too_long_is_cut() {
    let mut stage = on_stream(json!([
        {"type": "talk", "with": {"text": "hi"}, "timeout_ms": 500}, {"type": "echo", "timeout_ms": 500}
    ]));
    stage.after_ms(500);
    assert_eq!(
        (stage.did().as_str(), &stage.entry(0)["error"]["class"]),
        ("hush, echo true", &json!("timeout"))
    );
    stage.after_ms(500);
    assert_eq!(stage.did(), "echo false");
}

fn report(ordinal: u64, ended_by: &str) -> Event {
    let gaps = vec![Gap { at_ms: 5, ms: 6 }];
    let report = RecordingReport {
        ordinal,
        file: "r.wav".into(),
        bytes: 44,
        seconds: 1.5,
        gaps,
        ended_by: ended_by.into(),
    };
    Event::Recorded { report }
}

#[test]
fn a_recording_runs_beside_the_flow_and_its_stop_hands_out_the_file() {
    let start = json!({"type": "recording_start", "name": "r", "with": {"channels": 2, "duration": 60000}});
    let mut stage = on_stream(
        json!([start, start, {"type": "sleep", "with": {"duration": 100}}, {"type": "recording_stop", "name": "s"}, start]),
    );
    assert_eq!(stage.did(), "record 1 2ch");
    assert_eq!(stage.entry(1)["error"]["class"], "invalid", "one at a time");
    assert_eq!(stage.after_ms(100).did(), "stop recording");
    // The stream is lost before the report: nobody is asked twice for what has come meanwhile.
    stage.proceed(Line::Away).take(report(1, "stopped"));
    assert_eq!(stage.var("s.file"), "r.wav");
    assert_eq!(stage.var("s.gaps"), json!([{"at_ms": 5, "ms": 6}]));
    assert_eq!(stage.var("r"), Value::Null);
    assert_eq!(stage.proceed(Line::Streaming).did(), "record 2 2ch");
}

#[test]
fn a_recording_that_ends_by_itself_is_the_output_of_its_start() {
    let mut stage = on_stream(json!([
        {"type": "recording_start", "name": "r"}, {"type": "sleep", "with": {"duration": 100}},
        {"type": "recording_stop", "name": "s"}, {"type": "recording_stop"},
    ]));
    stage.take(report(7, "silence"));
    assert_eq!(stage.var("r"), Value::Null, "another recording's report is not its own");
    stage.take(report(1, "silence"));
    assert_eq!(
        (stage.var("r.ended_by"), stage.entry(0)["output"]["seconds"].clone()),
        (json!("silence"), json!(1.5))
    );
    stage.after_ms(100);
    assert_eq!(stage.var("s.ended_by"), "silence");
    assert_eq!(stage.entry(3)["error"]["class"], "invalid");
}

#[test]
fn the_networks_recording_is_begun_and_ended_by_verbs() {
    let start = json!({"type": "recording_start", "with": {"source": "network"}});
    let mut stage =
        Stage::of(json!([start, {"type": "talk", "with": {"text": "a"}}, {"type": "recording_stop"}]));
    assert_eq!(stage.proceed(Line::Asking).did(), "network records 1ch, say a");
    assert_eq!(stage.back(Default::default()).did(), "network stops recording");
    let mut stage = Stage::of(json!([start]));
    assert_eq!(stage.proceed(Line::Streaming).needs, Needs::Verb);
}
