//! Stories of one call each: streams and their tokens, ends and their reasons, what a crash leaves.

use holdline_core::call::*;
use holdline_core::fuzz::{Stage, brief, script};
use holdline_core::notice::{LineAnswer, NetworkStatus};
use holdline_core::scene::RecordingReport;
use serde_json::Value;

const ECHO: &str = r#"{"tasks": [{"name": "on", "type": "echo"}]}"#;
const GOODBYE: &str = r#"{"tasks": [{"name": "bye", "type": "talk", "parameters": {"text": "goodbye"}}]}"#;
const DIAL: &str = r#"{"tasks": [{"name": "far", "type": "connect",
    "parameters": {"destinations": [{"type": "tel", "target": "+14155550111"}]}}, {"name": "on", "type": "echo"}]}"#;
const RECORD: &str = r#"{"tasks": [{"name": "rec", "type": "recording_start"}, {"name": "on", "type": "echo"},
    {"name": "kept", "type": "recording_stop"}]}"#;

fn call(document: &str) -> Stage {
    let mut stage = Stage::new(script(document).unwrap());
    stage.voice(Some("first"));
    stage
}

/// The end reason, and how the flow ended.
fn end(stage: &mut Stage) -> (String, String) {
    stage.to_the_end();
    let completion = stage.completions.last().expect("a completion").clone();
    let text = |key: &str| completion.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    (text("endReason"), text("subWorkflowStatus"))
}

fn ended(stage: &mut Stage, reason: &str, flow: &str) {
    assert_eq!(end(stage), (reason.to_owned(), flow.to_owned()));
}

#[test]
fn the_last_words_are_done_when_the_network_says_completed() {
    let mut stage = call(GOODBYE);
    assert_eq!(stage.seen(), ["document 1 say hangup"]);
    stage.after_ms(1500);
    stage.status(NetworkStatus::Completed);
    ended(&mut stage, "completed", "completed");
    assert_eq!(stage.run.view()["executed_actions"][0]["outcome"], "ok");
}

#[test]
fn the_last_words_are_done_in_their_own_time_without_a_word_of_the_network() {
    let mut stage = call(GOODBYE);
    stage.after_ms(10_600); // seven letters at 100 ms, and ten seconds: 10.7 s
    assert_eq!(stage.call.state().over, None);
    stage.after_ms(200);
    assert_eq!(stage.call.state().over, Some(CallEnd::Completed));
}

#[test]
fn a_document_after_which_nothing_comes_ends_the_call_a_minute_after_its_length() {
    let mut stage = call(ECHO);
    stage.after_ms(59_900);
    assert_eq!(stage.call.state().stopping, None);
    stage.after_ms(200);
    ended(&mut stage, "no_return", "call_ended");
}

#[test]
fn a_dial_is_waited_for_as_long_as_the_call_may_last() {
    let mut stage = call(DIAL);
    stage.after_ms(599_000);
    assert_eq!(stage.call.state().stopping, None);
    stage.after_ms(2_000);
    assert_eq!(stage.call.state().stopping, Some(CallEnd::MaxDuration));
    ended(&mut stage, "max_duration", "call_ended");
}

#[test]
fn a_hangup_during_a_dial_is_delivered_at_the_next_request() {
    let mut stage = call(DIAL);
    assert_eq!(brief(&stage.ask(Request::HangUp).unwrap()), "ending deferred");
    assert_eq!(brief(&stage.next(Some(1), None).unwrap()), "hangup");
    assert_eq!(brief(&stage.voice(None).unwrap()), "hangup");
    ended(&mut stage, "hangup", "call_ended");
}

#[test]
fn a_hangup_with_a_stream_up_is_not_deferred_and_a_second_one_changes_nothing() {
    let mut stage = call(ECHO);
    stage.stream(1).unwrap();
    stage.seen();
    assert_eq!(brief(&stage.ask(Request::HangUp).unwrap()), "ending");
    assert_eq!(stage.seen(), ["close 1 1000", "ending"]);
    let facts = stage.facts.len();
    stage.ask(Request::HangUp);
    assert_eq!(stage.facts.len(), facts);
    ended(&mut stage, "hangup", "call_ended");
}

#[test]
fn a_network_that_keeps_asking_does_not_keep_a_call_from_ending() {
    let mut stage = call(ECHO);
    stage.ask(Request::HangUp);
    for _ in 0..6 {
        stage.after_ms(4_000);
        assert_eq!(brief(&stage.next(Some(1), None).unwrap()), "hangup");
    }
    assert!(stage.call.state().over.is_some());
}

#[test]
fn a_token_is_good_once_and_only_for_its_own_document() {
    let mut stage = call(ECHO);
    assert_eq!(brief(&stage.open(2).unwrap()), "denied", "there is no document 2");
    assert_eq!(brief(&stage.open(1).unwrap()), "admitted 1");
    assert_eq!(brief(&stage.open(1).unwrap()), "denied");
    stage.crash();
    assert_eq!(brief(&stage.open(1).unwrap()), "denied", "its use was written before the socket opened");
}

#[test]
fn an_older_documents_token_ends_when_a_newer_stream_starts() {
    let mut stage = call(ECHO);
    stage.next(Some(1), None);
    let older = stage.stream(1).unwrap();
    assert_eq!(stage.call.state().newest(), 2);
    stage.next(Some(2), None);
    stage.seen();
    stage.open(3).unwrap();
    stage.open(2).unwrap();
    stage.start(StreamNo(older.0 + 1)); // document 3
    stage.seen();
    stage.start(StreamNo(older.0 + 2)); // document 2, let in before that and late
    assert_eq!(stage.seen(), ["close 3 1000"]);
}

#[test]
fn a_newer_stream_takes_over_and_the_old_one_is_closed() {
    let mut stage = call(ECHO);
    stage.next(Some(1), None); // two documents, both with a token that is good
    stage.stream(1).unwrap();
    stage.seen();
    stage.stream(2).unwrap();
    assert_eq!(stage.seen(), ["admitted 2", "close 1 1000"]);
}

#[test]
fn sockets_that_never_came_leave_room_for_others() {
    let mut stage = call(ECHO);
    for x in 1..=12 {
        assert_eq!(brief(&stage.open(x).unwrap()), format!("admitted {x}"));
        stage.next(Some(x), None);
    }
}

#[test]
fn a_bare_stream_begins_a_call_of_its_own() {
    let mut stage = Stage::new(script(ECHO).unwrap());
    assert_eq!(brief(&stage.ask(Request::Attach).unwrap()), "admitted 1");
    stage.start(StreamNo(1));
    assert_eq!(stage.call.state().phase(), "active");
    assert_eq!(brief(&stage.ask(Request::Attach).unwrap()), "denied", "one is up");
    stage.input(Input::Stopped { stream: StreamNo(1) });
    ended(&mut stage, "caller_hangup", "call_ended");
}

#[test]
fn a_stop_without_a_return_is_the_callers_hangup_and_a_lost_socket_is_not() {
    let mut stage = call(ECHO);
    let stream = stage.stream(1).unwrap();
    stage.input(Input::Stopped { stream });
    stage.input(Input::StreamDown { stream });
    ended(&mut stage, "caller_hangup", "call_ended");

    let mut stage = call(ECHO);
    let stream = stage.stream(1).unwrap();
    stage.input(Input::StreamDown { stream });
    stage.after_ms(9_900);
    assert_eq!(brief(&stage.next(Some(1), None).unwrap()), "document 2 stream", "in time");
    let stream = stage.stream(2).unwrap();
    stage.input(Input::StreamDown { stream });
    ended(&mut stage, "no_return", "call_ended");
}

#[test]
fn nothing_is_echoed_before_it_is_written_that_the_echo_began_and_nothing_is_lost_meanwhile() {
    let mut stage = call(ECHO);
    stage.open(1);
    stage.held = true;
    stage.start(StreamNo(1));
    let hear = |stage: &mut Stage| {
        stage.input(Input::Heard { stream: StreamNo(1), audio: [0x55; 160][..].into(), at_ms: None });
    };
    hear(&mut stage);
    assert!(stage.deliver(), "the flow's first turn on the stream");
    hear(&mut stage);
    assert_eq!(stage.call.counters().frames_out, 0, "that it began is not on disk yet");
    assert!(stage.deliver(), "it is");
    assert_eq!(stage.call.counters().frames_out, 2);
    hear(&mut stage);
    assert_eq!(stage.call.counters().frames_out, 3, "from now on in the turn in which it came");
    assert_eq!(stage.call.counters().frames_dropped, 0);
}

#[test]
fn a_sound_that_was_lost_with_its_stream_begins_again_on_the_next_however_soon() {
    let tune = r#"{"media": "always", "tasks": [
        {"name": "tune", "type": "play", "parameters": {"file": "a.wav"}}]}"#;
    let mut stage = call(tune);
    stage.next(Some(1), None); // two documents, both with a token that is good
    let first = stage.stream(1).unwrap();
    assert_eq!(stage.seen().iter().filter(|seen| *seen == "load").count(), 1);
    // The flow hears of nothing until both have happened.
    stage.held = true;
    stage.input(Input::Pressed { stream: first, digit: '1' });
    stage.input(Input::StreamDown { stream: first });
    stage.stream(2).unwrap();
    stage.held = false;
    while stage.deliver() {}
    assert_eq!(stage.seen().iter().filter(|seen| *seen == "load").count(), 1, "begun again, once");
    stage.after_ms(5_000);
    assert_eq!(stage.run.over().map(|over| over.reason.as_str()), Some("completed"));
}

#[test]
fn a_stop_ends_the_activeflow_stopped_and_the_call_by_hangup() {
    let mut stage = call(ECHO);
    stage.stream(1).unwrap();
    stage.ask(Request::Stop);
    ended(&mut stage, "hangup", "stopped");
}

#[test]
fn a_hangup_action_gives_the_call_its_reason_and_the_flow_completes() {
    let mut stage = call(r#"{"tasks": [{"name": "end", "type": "hangup"}]}"#);
    assert_eq!(stage.seen(), ["document 1 hangup"]);
    stage.status(NetworkStatus::Completed);
    ended(&mut stage, "hangup", "completed");
}

#[test]
fn the_first_end_wins_and_is_told_once() {
    let mut stage = call(ECHO);
    stage.slow_parent = true;
    for status in [NetworkStatus::Busy, NetworkStatus::Completed, NetworkStatus::InProgress] {
        stage.status(status);
    }
    stage.after_ms(12_000); // told again while nobody acknowledges
    stage.crash();
    stage.input(Input::Acked);
    ended(&mut stage, "busy", "call_ended");
    assert!(stage.completions.len() >= 3, "an outbox row");
}

#[test]
fn gathered_digits_count_once_when_the_process_dies_between_return_and_document() {
    let mut stage = call(
        r#"{"tasks": [{"name": "pin", "type": "digits_receive", "parameters": {"length": 2, "duration": 5000}},
            {"name": "on", "type": "echo"}]}"#,
    );
    assert_eq!(stage.seen(), ["document 1 gather return"]);
    let digits = || LineAnswer::Gathered { digits: "42".into(), speech: None, confidence: None };
    stage.held = true;
    stage.next_with(Some(1), digits(), None);
    stage.crash();
    stage.held = false;
    while stage.deliver() {}
    assert_eq!(brief(&stage.next_with(Some(1), digits(), None).unwrap()), "document 2 stream");
    assert_eq!(stage.call.state().digits, "42");
    assert_eq!(stage.run.vars().look_up("pin.digits").as_deref(), Some(&Value::from("42")));
}

#[test]
fn verbs_that_go_on_through_a_restart_are_waited_for() {
    let mut stage = call(
        r#"{"tasks": [{"name": "long", "type": "talk", "parameters": {"text": "a sentence that takes a while to say"}},
            {"name": "on", "type": "echo"}]}"#,
    );
    assert_eq!(stage.seen(), ["document 1 say stream"]);
    stage.crash();
    stage.after_ms(20_000);
    assert_eq!(stage.call.state().stopping, None, "the network is speaking");
    stage.stream(1).unwrap();
    stage.crash();
    stage.after_ms(11_000);
    assert_eq!(
        stage.call.state().stopping,
        Some(CallEnd::NoReturn),
        "nothing was heard after the ready line"
    );
}

#[test]
fn a_turn_under_way_at_the_end_begins_no_recording() {
    let mut stage = call(RECORD);
    stage.held = true;
    stage.stream(1).unwrap();
    stage.status(NetworkStatus::Completed);
    stage.held = false;
    while stage.deliver() {}
    assert!(!stage.seen().iter().any(|seen| seen.starts_with("record")));
    ended(&mut stage, "caller_hangup", "call_ended");
}

#[test]
fn a_recording_is_closed_and_in_the_completion_when_the_caller_hangs_up() {
    let mut stage = call(RECORD);
    let stream = stage.stream(1).unwrap();
    stage.input(Input::Heard { stream, audio: [0x7F; 160][..].into(), at_ms: None });
    stage.status(NetworkStatus::Completed);
    ended(&mut stage, "caller_hangup", "call_ended");
    let completion = stage.completions.last().unwrap();
    assert_eq!(completion["recordings"][0]["file"], "CA1-1.wav");
    let began = &stage.run.view()["executed_actions"][0];
    assert_eq!((&began["name"], &began["output"]["ended_by"]), (&"rec".into(), &"hangup".into()), "{began}");
}

#[test]
fn a_recording_that_died_with_the_process_keeps_nobody_waiting() {
    let mut stage = call(RECORD);
    stage.stream(1).unwrap();
    stage.crash();
    assert!(stage.call.state().open_recordings.is_empty());
    assert_eq!(
        stage.call.state().last_report.as_deref().map(|r: &RecordingReport| r.ended_by.as_str()),
        Some("failed")
    );
    ended(&mut stage, "no_return", "call_ended");
}

#[test]
fn a_call_that_is_handed_over_plays_nothing_to_nobody() {
    let mut stage = call(
        r#"{"media": "always", "tasks": [{"name": "tune", "type": "play", "parameters": {"file": "a.wav"}}]}"#,
    );
    stage.stream(1).unwrap();
    stage.input(Input::HandOver);
    stage.after_ms(5_000);
    assert_eq!(stage.run.over(), None, "what nobody heard was not played");
    stage.crash();
    assert_eq!(brief(&stage.next(Some(1), None).unwrap()), "document 2 stream");
}

#[test]
fn a_caller_in_a_queue_is_never_hung_up_on_for_a_number() {
    let mut stage =
        call(r#"{"tasks": [{"name": "line", "type": "queue_join", "parameters": {"queue": "sales"}}]}"#);
    for x in [0, 1, 7] {
        assert!(brief(&stage.ask(Request::Wait { x, w: 0, waited_s: None }).unwrap()).starts_with("wait"));
    }
}

#[test]
fn frames_keep_a_stream_alive_and_silence_ends_it() {
    let mut stage = call(ECHO);
    let stream = stage.stream(1).unwrap();
    for _ in 0..10 {
        stage.after_ms(20_000);
        stage.input(Input::Heard { stream, audio: [0x7F; 160][..].into(), at_ms: None });
    }
    stage.after_ms(59_900);
    assert_eq!(stage.call.state().stopping, None);
    stage.after_ms(200);
    assert_eq!(stage.call.state().stopping, Some(CallEnd::IdleTimeout));
    ended(&mut stage, "idle_timeout", "call_ended");
}

#[test]
fn statuses_that_come_late_or_again_are_no_news() {
    let mut stage = call(ECHO);
    stage.status(NetworkStatus::InProgress);
    let facts = stage.facts.len();
    for late in [NetworkStatus::Queued, NetworkStatus::Ringing, NetworkStatus::InProgress] {
        assert_eq!(brief(&stage.status(late).unwrap()), "ok");
    }
    assert_eq!(stage.call.state().status, Some(NetworkStatus::InProgress));
    assert_eq!(stage.facts.len(), facts);
}
