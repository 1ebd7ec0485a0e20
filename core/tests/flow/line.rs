//! On a line that asks for documents: verbs, look-ahead, Gathers.

use crate::stage::*;
use holdline_core::WorkflowId;
use holdline_core::document::Verb;
use holdline_core::flow::flows::Flows;
use holdline_core::flow::script::{MediaPreference, OnEnd, Script};
use holdline_core::notice::LineAnswer;
use holdline_core::scene::*;
use serde_json::{Value, json};
use std::sync::Arc;

#[test]
fn a_flow_of_verbs_goes_out_in_one_document_and_is_done_when_the_network_is_back() {
    let mut stage = Stage::of(json!([
        {"type": "answer"},
        {"type": "talk", "with": {"text": "hello ${call.from}"}},
        {"type": "sleep", "with": {"duration": 1500}},
        {"type": "play", "with": {"stream_urls": ["u1", "u2"]}},
    ]));
    stage.take(Event::Learned { name: "call.from".into(), value: json!("+1") });
    assert_eq!(stage.did(), "say hello +1, pause 2, play u1, play u2");
    assert_eq!(stage.needs, Needs::Close { hold: false });
    assert_eq!(stage.history(), ["answer:ok"]);
    assert_eq!(stage.view()["current_action"]["type"], "talk");
    stage.back(LineAnswer::Returned);
    assert_eq!(stage.over().reason, EndReason::Completed);
    assert_eq!(stage.history(), ["answer:ok", "talk:ok", "sleep:ok", "play:ok"]);
    stage.take(Event::End { reason: EndReason::CallEnded, detail: None });
    assert_eq!(stage.over().reason, EndReason::Completed);
    assert!(stage.ops.is_empty());
}

/// Each row: actions, what the first document says, what is needed after it.
#[test]
fn a_document_looks_ahead_until_something_stops_it() {
    let talk = |text: &str| json!({"type": "talk", "name": text, "with": {"text": text}});
    let goto = |to: &str| json!({"type": "goto", "with": {"target_id": to, "loop_count": -1}});
    let set = |value: &str| json!({"type": "variable_set", "with": {"key": "k", "value": value}});
    let after = |first: Value| json!([talk("a"), first, talk("b")]);
    let gather = "gather[] */5s key=\"\" empty=true";
    for (what, actions, said, needs) in [
        ("a control action runs", after(set("1")), "say a, say b", Needs::Close { hold: false }),
        (
            "forward",
            json!([talk("a"), goto("c"), talk("b"), talk("c")]),
            "say a, say c",
            Needs::Close { hold: false },
        ),
        ("backward", json!([talk("a"), talk("b"), goto("b")]), "say a, say b", Needs::Nothing),
        ("reads digits", after(set("${voipbin.call.digits}")), "say a", Needs::Nothing),
        (
            "branches on digits",
            after(json!({"type": "branch", "with": {"target_ids": {}}})),
            "say a",
            Needs::Nothing,
        ),
        ("reads an undone output", after(set("x ${a.heard_ms}")), "say a", Needs::Nothing),
        (
            "a verb with an answer",
            after(json!({"type": "digits_receive"})),
            &format!("say a, {gather}"),
            Needs::Nothing,
        ),
        ("the stream", after(json!({"type": "beep"})), "say a", Needs::Stream),
        ("a file", after(json!({"type": "play", "with": {"file": "x.wav"}})), "say a", Needs::Stream),
        ("our recording", after(json!({"type": "recording_start"})), "say a", Needs::Stream),
        (
            "the network's recording",
            after(json!({"type": "recording_start", "with": {"source": "network", "channels": 2}})),
            "say a, network records 2ch, say b",
            Needs::Close { hold: false },
        ),
    ] {
        let mut stage = Stage::of(actions);
        stage.proceed(Line::Asking);
        assert_eq!((stage.did().as_str(), &stage.needs), (said, &needs), "{what}");
    }
    let mut stage = Stage::of(json!([talk("a"), {"type": "talk", "with": {"text": "b"}, "next": "a"}]));
    stage.proceed(Line::Asking);
    assert_eq!((stage.did().as_str(), &stage.needs), ("say a, say b", &Needs::Nothing), "next leads back");
    assert_eq!(stage.back(LineAnswer::Returned).did(), "say a, say b");
    let many: Vec<Value> = (0..25).map(|n| talk(&format!("t{n}"))).collect();
    let mut stage = Stage::of(json!(many));
    stage.proceed(Line::Asking);
    assert_eq!((stage.verbs().len(), &stage.needs), (10, &Needs::Nothing));
    assert_eq!(stage.back(LineAnswer::Returned).verbs().len(), 10);
    assert_eq!(stage.back(LineAnswer::Returned).verbs().len(), 5);
    let long = "x".repeat(9000);
    let mut stage = Stage::of(json!([talk(&long), talk(&long), talk(&long), talk(&long)]));
    assert_eq!(stage.proceed(Line::Asking).verbs().len(), 3);
}

#[test]
fn a_menu_goes_round_by_its_gather_and_branch() {
    let mut stage = Stage::of(json!([
        {"id": "menu", "type": "talk", "with": {"text": "press one"}},
        {"type": "digits_receive", "name": "d", "with": {"duration": 4500, "length": 1}},
        {"type": "branch", "with": {"target_ids": {"1": "bye"}, "default_target_id": "menu"}},
        {"id": "bye", "type": "hangup"},
    ]));
    let document = "say press one, gather[] 1/5s key=\"\" empty=true";
    assert_eq!(stage.proceed(Line::Asking).did(), document);
    assert_eq!(stage.back(LineAnswer::Returned).did(), document);
    assert_eq!(stage.entry(1)["output"], json!({"digits": "", "ended_by": "timeout"}));
    assert_eq!(stage.digits("7").did(), document);
    assert_eq!(stage.var("d.digits"), "7");
    assert_eq!(stage.var("call.digits"), "");
    stage.digits("1");
    assert!(stage.over().by_hangup);
    assert_eq!(stage.history().iter().filter(|entry| *entry == "branch:ok").count(), 3);
}

#[test]
fn what_a_gather_brings_is_read_by_length_key_and_time() {
    for (with, came, output, rest) in [
        (json!({"length": 3}), "123", json!({"digits": "123", "ended_by": "length"}), ""),
        (json!({"length": 3}), "1234", json!({"digits": "123", "ended_by": "length"}), "4"),
        (json!({"length": 3}), "12", json!({"digits": "12", "ended_by": "timeout"}), ""),
        (json!({"length": 3, "key": "#"}), "12", json!({"digits": "12", "ended_by": "key"}), ""),
        (json!({"key": "#"}), "", json!({"digits": "", "ended_by": "timeout"}), ""),
        (json!({}), "12", json!({"digits": "12", "ended_by": "timeout"}), ""),
    ] {
        let mut stage = Stage::of(json!([
            {"type": "digits_receive", "with": with}, {"type": "digits_receive", "with": {"length": 2}}
        ]));
        stage.proceed(Line::Asking).digits(came);
        assert_eq!(stage.entry(0)["output"], output, "{with} {came}");
        assert_eq!(stage.var("call.digits"), output["digits"]);
        let Some(Verb::Gather(next)) = stage.verbs().pop() else { panic!("no Gather") };
        assert_eq!(next.num_digits, Some(2 - rest.len() as u32), "{with} {came}");
    }
}

#[test]
fn a_gather_listens_only_for_what_the_network_can_express() {
    for (with, said) in [
        (json!({"length": 4, "key": "#", "duration": 100}), "gather[] 4/1s key=\"#\" empty=true"),
        (json!({"length": "${n}"}), "gather[] 2/5s key=\"\" empty=true"),
        (json!({"inter_digit": 1000}), ""),
        (json!({"key": "*#"}), ""),
    ] {
        let mut spec = spec(script(&json!([{"type": "digits_receive", "with": with}])));
        spec.variables.insert("n".into(), json!("2"));
        let mut stage = Stage::with(spec);
        assert_eq!(stage.proceed(Line::Asking).did(), said, "{with}");
        assert_eq!(stage.needs, if said.is_empty() { Needs::Stream } else { Needs::Nothing });
    }
}

#[test]
fn a_prompt_that_a_key_may_cut_short_is_a_gather_unless_the_next_action_listens_anyway() {
    let prompt = json!({"type": "talk", "with": {"text": "long", "digits_handle": "next"}});
    let mut stage =
        Stage::of(json!([prompt, {"type": "talk", "with": {"text": "more"}}, {"type": "digits_receive"}]));
    assert_eq!(stage.proceed(Line::Asking).did(), "gather[say long] 1/1s key=\"\" empty=false");
    stage.digits("5");
    assert_eq!(stage.history(), ["talk:interrupted"]);
    assert_eq!(stage.did(), "say more, gather[] */5s key=\"\" empty=true");
    stage.digits("6");
    assert_eq!(stage.var("call.digits"), "56");

    let mut stage = Stage::of(json!([prompt, {"type": "talk", "with": {"text": "more"}}]));
    stage.proceed(Line::Asking).back(LineAnswer::Returned);
    assert_eq!(stage.history(), ["talk:ok"]);

    for listens in
        [json!({"type": "digits_receive", "with": {"length": 1}}), json!({"type": "speech_receive"})]
    {
        let mut stage = Stage::of(json!([prompt, listens]));
        stage.proceed(Line::Asking);
        assert!(stage.did().starts_with("say long, gather[] "), "{}", stage.did());
    }
    let mut stage = Stage::of(json!([prompt, {"type": "digits_receive", "with": {"inter_digit": 300}}]));
    assert_eq!(stage.proceed(Line::Asking).did(), "gather[say long] 1/1s key=\"\" empty=false");
}

#[test]
fn digits_typed_ahead_complete_at_once_or_are_forgotten_on_wish() {
    let receive = |with: Value| json!([{"type": "digits_receive", "with": with}, {"type": "digits_receive"}]);
    let mut stage = Stage::of(receive(json!({"length": 2})));
    stage.line = Line::Away;
    stage.press('1').press('2').press('3').press('x');
    stage.proceed(Line::Asking);
    assert_eq!(stage.entry(0)["output"], json!({"digits": "12", "ended_by": "length"}));
    assert_eq!(stage.digits("4").var("call.digits"), "34");

    let mut stage = Stage::of(receive(json!({"length": 2, "clear": true})));
    stage.line = Line::Away;
    stage.press('1').press('2').proceed(Line::Asking);
    assert_eq!(stage.did(), "gather[] 2/5s key=\"\" empty=true");
    assert_eq!(stage.digits("9").var("call.digits"), "9");
}

#[test]
fn verbs_bring_their_answers() {
    let dialed = |status: &str| LineAnswer::Dialed {
        status: status.into(),
        call_sid: Some("CA2".into()),
        duration_s: Some(7),
        recording_url: None,
    };
    let speech =
        LineAnswer::Gathered { digits: String::new(), speech: Some("yes".into()), confidence: Some(0.5) };
    let queued = LineAnswer::Queued { result: "bridged".into(), wait_seconds: Some(3) };
    let numbers =
        json!({"destinations": [{"type": "tel", "target": "+1"}, {"type": "queue", "target": "q"}]});
    for (action, said, answer, output) in [
        (
            json!({"type": "connect", "name": "x", "with": numbers}),
            "dial [Number(\"+1\"), Queue(\"q\")]",
            dialed("busy"),
            json!({"status": "busy", "call_sid": "CA2", "duration": 7}),
        ),
        (
            json!({"type": "conference_join", "name": "x", "with": {"conference": "room"}}),
            "conference room",
            dialed("answered"),
            json!({"status": "answered", "call_sid": "CA2", "duration": 7}),
        ),
        (
            json!({"type": "queue_join", "name": "x", "with": {"queue": "q"}}),
            "enqueue q",
            queued,
            json!({"result": "bridged", "wait_seconds": 3}),
        ),
        (
            json!({"type": "speech_receive", "name": "x", "with": {"timeout": 3000}}),
            "gather[] */3s key=\"\" empty=true speech",
            speech,
            json!({"text": "yes", "confidence": 0.5, "digits": "", "ended_by": "speech"}),
        ),
    ] {
        let mut stage = Stage::of(json!([action, {"type": "talk", "with": {"text": "${x}"}}]));
        assert_eq!((stage.proceed(Line::Asking).did().as_str(), &stage.needs), (said, &Needs::Nothing));
        stage.back(answer.clone());
        assert_eq!(stage.var("x"), output);
        assert_eq!(stage.did(), format!("say {output}"));

        // A verb whose result is lost fails, unless nothing is a result too; the flow goes on.
        let mut stage = Stage::of(json!([action, {"type": "talk", "with": {"text": "on"}}]));
        stage.proceed(Line::Asking).back(LineAnswer::Returned);
        assert_eq!(stage.did(), "say on");
        let lost = stage.entry(0);
        assert!(lost["outcome"] == "ok" || lost["error"]["class"] == "unavailable", "{lost}");

        // On a stream they have to leave it.
        let mut stage = Stage::of(json!([action]));
        stage.proceed(Line::Streaming);
        assert_eq!((stage.did().as_str(), &stage.needs), ("", &Needs::Verb));
        assert_eq!(stage.proceed(Line::Away).needs, Needs::Nothing);
        assert_eq!(stage.proceed(Line::Asking).did(), said);
    }
}

#[test]
fn media_always_keeps_on_the_stream_what_can_be_there() {
    let mut script = script(&json!([
        {"type": "talk", "with": {"text": "hi"}},
        {"type": "play", "with": {"stream_urls": ["u"]}},
        {"type": "digits_receive", "with": {"length": 1}},
        {"type": "sleep", "with": {"duration": 1000}},
    ]));
    script.media = MediaPreference::Always;
    let mut stage = Stage::with(spec(script.clone()));
    assert_eq!((stage.proceed(Line::Asking).did().as_str(), &stage.needs), ("say hi", &Needs::Stream));
    stage.stream();
    assert_eq!(stage.did(), "sound u");
    let mut waiting = crate::stage::script(&json!([
        {"type": "talk", "with": {"text": "hi"}}, {"type": "sleep", "with": {"duration": 1000}},
    ]));
    waiting.media = MediaPreference::Always;
    let mut stage = Stage::with(spec(waiting));
    stage.proceed(Line::Asking);
    assert_eq!((stage.did().as_str(), &stage.needs, stage.wake_at), ("say hi", &Needs::Stream, None));
    stage.stream();
    assert_eq!(stage.wake_at, Some(stage.now.tick_at_wall(WALL + 1000)), "it begins after what was said");
    let mut stage = Stage::with(spec(script));
    stage.local_speech = true;
    assert_eq!((stage.proceed(Line::Asking).did().as_str(), &stage.needs), ("", &Needs::Stream));
    assert_eq!(stage.stream().did(), "speak hi");
}

#[test]
fn ssml_is_the_authors_word_and_values_in_it_are_escaped() {
    let mut spec = spec(script(&json!([
        {"type": "talk", "with": {"text": "<speak>a <break/> ${x}</speak>"}},
        {"type": "talk", "with": {"text": "${x}"}},
        {"type": "talk", "with": {"text": "<speak>open"}},
    ])));
    spec.variables.insert("x".into(), json!("<speak>${y}&</speak>"));
    spec.variables.insert("y".into(), json!("never"));
    let mut stage = Stage::with(spec);
    assert_eq!(
        stage.proceed(Line::Asking).did(),
        "say ssml a <break/> &lt;speak&gt;${y}&amp;&lt;/speak&gt;, say <speak>${y}&</speak>"
    );
    stage.back(LineAnswer::Returned);
    assert_eq!(stage.history(), ["talk:ok", "talk:ok", "talk:failed"]);
}

#[test]
fn a_call_that_ends_inside_a_document_interrupts_what_was_not_done() {
    let mut stage = Stage::of(json!([
        {"type": "talk", "with": {"text": "a"}},
        {"type": "variable_set", "with": {"key": "k", "value": 1}},
        {"type": "connect", "with": {"destinations": [{"type": "tel", "target": "+1"}]}},
    ]));
    stage.proceed(Line::Asking);
    stage.line = Line::Absent;
    stage.take(Event::End { reason: EndReason::CallEnded, detail: Some("caller_hangup".into()) });
    assert_eq!(stage.over().reason, EndReason::CallEnded);
    assert_eq!(stage.history(), ["talk:interrupted", "variable_set:ok", "connect:interrupted"]);
    assert_eq!(stage.view()["current_action"], Value::Null);
}

#[test]
fn the_end_holds_the_call_when_the_document_says_so() {
    let mut script = script(&json!([{"type": "talk", "with": {"text": "a"}}]));
    script.on_end = OnEnd::Hold;
    let mut stage = Stage::with(spec(script));
    assert_eq!(stage.proceed(Line::Asking).needs, Needs::Close { hold: true });
    assert!(stage.back(LineAnswer::Returned).over().hold);
}

#[test]
fn a_wait_flow_turns_and_the_same_turn_says_the_same() {
    let talks: Vec<Value> =
        (0..12).map(|n| json!({"type": "talk", "with": {"text": format!("t{n} ${{call.from}}")}})).collect();
    let mut wait = vec![
        json!({"type": "variable_set", "with": {"key": "k", "value": 1}}),
        json!({"type": "beep", "id": "b"}),
    ];
    wait.extend(talks);
    wait.push(json!({"type": "goto", "with": {"target_id": "b", "loop_count": -1}}));
    let mut stage = Stage::of(json!([{"type": "queue_join", "with": {"queue": "q", "wait_flow": wait}}]));
    stage.proceed(Line::Asking);
    let now = stage.now;
    let first = stage.run.wait_turn(now, 0, None);
    assert_eq!((first.len(), stage.run.wait_turn(now, 1, Some(7)).len()), (10, 2));
    assert_eq!(stage.run.wait_turn(now, 2, Some(70_000)), first);
    stage.back(LineAnswer::Queued { result: "bridged".into(), wait_seconds: None });
    assert_eq!(stage.entry(0)["output"]["skipped"], json!(["b"]));
    assert_eq!(stage.var("k"), Value::Null);

    let mut stage = Stage::of(json!([{"type": "queue_join", "with": {"queue": "q"}}]));
    stage.proceed(Line::Asking);
    assert_eq!(stage.run.wait_turn(now, 0, None), [Verb::Pause { seconds: 5 }]);
}

#[test]
fn a_callers_name_of_ten_kilobytes_is_said_whole_and_as_text() {
    let name = "\"/><Hangup/>${call.sid}$${=1+1}".repeat(330);
    assert!(name.len() > 10_000);
    let mut stage = Stage::of(json!([{"type": "talk", "with": {"text": "Hello ${call.caller_name}"}}]));
    stage.take(Event::Learned { name: "call.caller_name".into(), value: json!(name) });
    assert!(
        matches!(&stage.verbs()[..], [Verb::Say(say)] if say.text == format!("Hello {name}") && !say.ssml)
    );
}

#[derive(Debug)]
struct Book(Script);

impl Flows for Book {
    fn find(&self, id: &WorkflowId) -> Option<Arc<Script>> {
        (id.0 == "music").then(|| Arc::new(self.0.clone()))
    }
}

#[test]
fn a_wait_flow_may_be_a_workflow_and_the_caller_in_the_queue_may_be_a_childs() {
    let music = Book(script(&json!([{"type": "play", "with": {"stream_urls": ["u"]}}])));
    let mut stage = Stage::of(json!([{"type": "queue_join", "with": {"queue": "q", "wait_flow": "music"}}]));
    stage.run.bind(Arc::new(music));
    stage.proceed(Line::Asking);
    assert_eq!(stage.run.wait_turn(stage.now, 5, None), [Verb::Play { url: "u".into() }]);

    let line = Book(script(&json!([{"type": "queue_join", "with": {"queue": "q", "wait_flow": [
        {"type": "talk", "with": {"text": "hold"}}
    ]}}])));
    let mut stage = Stage::of(json!([{"type": "subflow", "with": {"workflow": "music"}}]));
    stage.run.bind(Arc::new(line));
    stage.proceed(Line::Asking);
    assert!(matches!(&stage.run.wait_turn(stage.now, 0, None)[..], [Verb::Say(say)] if say.text == "hold"));
}

#[test]
fn a_wait_longer_than_its_timeout_leaves_the_queue_and_no_silence_outlasts_it() {
    let joins = json!([{"type": "queue_join", "name": "q", "with": {"queue": "q", "timeout": 30_000, "wait_flow": [
        {"type": "sleep", "with": {"duration": 20_000}}
    ]}}]);
    let mut stage = Stage::of(joins);
    stage.proceed(Line::Asking);
    let hears = |stage: &Stage, waited_s| stage.run.wait_turn(stage.now, 1, waited_s);
    assert_eq!(hears(&stage, Some(9)), [Verb::Pause { seconds: 20 }]);
    assert_eq!(hears(&stage, Some(24)), [Verb::Pause { seconds: 6 }]);
    assert_eq!(hears(&stage, Some(30)), [Verb::Leave]);
    // A network that says nothing of it: the time since the caller came here, also after a crash.
    assert_eq!(hears(&stage, None), [Verb::Pause { seconds: 20 }]);
    stage.now.wall_ms += 31_000;
    stage.crash();
    assert_eq!(hears(&stage, None), [Verb::Leave]);
    stage.back(LineAnswer::Queued { result: "leave".into(), wait_seconds: Some(31) });
    assert_eq!(stage.var("q"), json!({"result": "timeout", "wait_seconds": 31}));
}
