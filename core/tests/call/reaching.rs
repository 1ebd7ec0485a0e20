//! With credentials: what a call asks of the network's REST API, and what the answers lead to.

use holdline_core::call::*;
use holdline_core::fuzz::{Stage, brief, script, stage_config};
use holdline_core::http::{HttpReply, NoReply, Outcome, ReplyBody};
use holdline_core::notice::NetworkStatus;
use holdline_core::scene::ErrorClass;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const ECHO: &str = r#"{"resume_phrase": "There you are again.", "tasks": [{"name": "on", "type": "echo"}]}"#;
const DIAL: &str = r#"{"tasks": [{"name": "far", "type": "connect",
    "parameters": {"destinations": [{"type": "tel", "target": "+14155550111"}]}}, {"name": "on", "type": "echo"}]}"#;

fn call(document: &str) -> Stage {
    let rest = RestConfig {
        interval: Duration::from_secs(60),
        origin: "https://holdline.test".into(),
        return_fragment: String::new(),
    };
    let config = CallConfig { rest: Some(rest), ..stage_config() };
    let mut stage = Stage::with(script(document).unwrap(), config);
    stage.voice(Some("first"));
    stage
}

fn answer(status: u16, body: serde_json::Value) -> Outcome {
    Ok(HttpReply { status, headers: BTreeMap::new(), body: ReplyBody::Json(body) })
}

fn stands(status: &str) -> Outcome {
    answer(200, json!({"sid": "CA1", "status": status, "duration": "7"}))
}

fn nobody() -> Outcome {
    Err(NoReply { class: ErrorClass::Timeout, message: "no answer".into() })
}

/// A stream is up, and its socket is lost.
fn lost(stage: &mut Stage) {
    let stream = stage.stream(1).unwrap();
    stage.after_ms(1000);
    stage.input(Input::StreamDown { stream });
    stage.seen();
}

fn ended(stage: &mut Stage, reason: &str) {
    stage.to_the_end();
    assert_eq!(stage.completions.len(), 1);
    assert_eq!(stage.completions[0]["endReason"], reason);
}

#[test]
fn a_call_that_does_not_come_back_is_led_back_and_told_so() {
    let mut stage = call(ECHO);
    lost(&mut stage);
    stage.network.extend(vec![stands("in-progress"); 3]);
    stage.after_ms(9_900);
    assert_eq!(stage.seen(), ["asks GET"], "the network may still come by itself");
    stage.after_ms(200);
    assert_eq!(
        stage.seen(),
        [
            "asks GET",
            "counts call_resumed_by_rest",
            "asks POST Url=https://holdline.test/webhooks/stage/next?x=1"
        ]
    );
    assert_eq!(brief(&stage.next(Some(1), None).unwrap()), "document 2 say stream");
    stage.stream(2).unwrap();
    stage.status(NetworkStatus::Completed);
    ended(&mut stage, "caller_hangup");
}

#[test]
fn a_call_that_has_ended_there_ends_here_with_that_status() {
    let mut stage = call(ECHO);
    lost(&mut stage);
    stage.network.push_back(stands("completed"));
    stage.after_ms(2_100);
    assert_eq!(stage.call.state().over, Some(CallEnd::CallerHangup), "nobody waits for the end of its grace");
    ended(&mut stage, "caller_hangup");
    assert_eq!(
        (&stage.completions[0]["callStatus"], &stage.completions[0]["callDuration"]),
        (&json!("completed"), &json!(7))
    );
}

#[test]
fn a_call_that_is_gone_there_ends_here() {
    let mut stage = call(ECHO);
    lost(&mut stage);
    stage.network.push_back(answer(404, json!({"code": 20404})));
    stage.after_ms(10_100);
    ended(&mut stage, "no_return");
}

#[test]
fn without_an_answer_a_call_ends_as_without_credentials() {
    for outcome in [nobody(), answer(503, json!({})), answer(401, json!({"code": 20003}))] {
        let mut stage = call(ECHO);
        lost(&mut stage);
        stage.network.extend(vec![outcome; 9]);
        stage.after_ms(9_900);
        assert_eq!(stage.call.state().stopping, None);
        stage.after_ms(200);
        ended(&mut stage, "no_return");
    }
}

#[test]
fn a_slow_answer_is_waited_for_a_few_tries_and_no_longer() {
    let mut stage = call(ECHO);
    lost(&mut stage);
    stage.held = true;
    stage.after_ms(60_000);
    stage.held = false;
    assert_eq!(stage.seen().iter().filter(|seen| *seen == "asks GET").count(), 4);
    ended(&mut stage, "no_return");
}

#[test]
fn a_network_that_has_too_much_to_do_is_there_and_gets_more_time() {
    let busy = || answer(429, json!({"code": 20429}));
    let mut stage = call(ECHO);
    lost(&mut stage);
    stage.network.extend(vec![busy(); 6]);
    stage.network.extend([stands("in-progress"), stands("in-progress")]);
    stage.after_ms(120_000);
    assert!(stage.seen().contains(&"counts call_resumed_by_rest".to_owned()));

    let mut stage = call(ECHO);
    lost(&mut stage);
    stage.network.extend(vec![busy(); 99]);
    stage.after_ms(240_000);
    ended(&mut stage, "no_return");
}

#[test]
fn a_call_that_is_led_back_and_never_comes_is_ended_on_both_sides() {
    let mut stage = call(ECHO);
    lost(&mut stage);
    stage.network.extend(vec![stands("in-progress"); 1 + 3 * 2 + 1]);
    stage.network.push_back(stands("completed"));
    stage.after_ms(41_000);
    let seen = stage.seen();
    assert_eq!(seen.iter().filter(|seen| seen.contains("Url=")).count(), 3, "{seen:?}");
    assert_eq!(seen.last().map(String::as_str), Some("asks POST Status=completed"), "{seen:?}");
    ended(&mut stage, "no_return");
}

#[test]
fn a_network_that_comes_while_it_is_asked_is_not_led_back() {
    let mut stage = call(ECHO);
    lost(&mut stage);
    stage.network.extend([stands("in-progress"), stands("in-progress")]);
    stage.after_ms(5_000);
    stage.held = true;
    stage.after_ms(5_100);
    assert_eq!(stage.seen(), ["asks GET", "asks GET"]);
    stage.next(Some(1), None);
    stage.held = false;
    while stage.deliver() {}
    assert_eq!(stage.seen(), ["document 2 say stream"]);
}

#[test]
fn a_hangup_during_a_dial_is_performed_at_once() {
    let mut stage = call(DIAL);
    stage.seen();
    stage.network.push_back(stands("completed"));
    assert_eq!(brief(&stage.ask(Request::HangUp).unwrap()), "ending");
    assert!(stage.seen().contains(&"asks POST Status=completed".to_owned()));
    ended(&mut stage, "hangup");
}

#[test]
fn a_hangup_that_nobody_takes_is_delivered_at_the_next_request() {
    let mut stage = call(DIAL);
    stage.ask(Request::HangUp);
    stage.after_ms(8_000);
    assert_eq!(brief(&stage.next(Some(1), None).unwrap()), "hangup");
    ended(&mut stage, "hangup");
}

#[test]
fn max_duration_ends_a_dial_there_as_well() {
    let mut stage = call(DIAL);
    stage.network.extend(vec![stands("in-progress"); 9]);
    stage.after_ms(599_000);
    stage.seen();
    stage.network.clear();
    stage.network.push_back(stands("completed"));
    stage.after_ms(1_100);
    assert!(stage.seen().contains(&"asks POST Status=completed".to_owned()));
    ended(&mut stage, "max_duration");
}

#[test]
fn a_silent_call_is_asked_about_again_and_again_and_one_with_a_stream_is_not() {
    let mut stage = call(DIAL);
    stage.seen();
    stage.network.extend([stands("in-progress"), stands("in-progress"), stands("completed")]);
    stage.after_ms(180_100);
    assert_eq!(stage.seen(), ["asks GET", "asks GET", "asks GET", "counts orphan_ended"]);
    ended(&mut stage, "caller_hangup");

    let mut stage = call(ECHO);
    let stream = stage.stream(1).unwrap();
    stage.seen();
    for _ in 0..20 {
        stage.after_ms(9_000);
        stage.input(Input::Heard { stream, audio: [0xFF; 160][..].into(), at_ms: None });
    }
    assert!(stage.seen().iter().all(|seen| !seen.starts_with("asks")));
}

#[test]
fn a_restart_asks_how_its_calls_stand_and_leaves_those_alone_that_are_up() {
    let mut stage = call(DIAL);
    stage.seen();
    stage.network.push_back(stands("in-progress"));
    stage.crash();
    assert_eq!(stage.seen(), ["asks GET"]);
    assert_eq!(stage.call.state().stopping, None);
    stage.network.push_back(stands("completed"));
    stage.crash();
    ended(&mut stage, "caller_hangup");
}

#[test]
fn a_network_that_leaves_its_verb_before_the_api_answers_has_left_it_all_the_same() {
    let mut stage = call(DIAL);
    stage.network.push_back(stands("in-progress"));
    stage.held = true;
    assert_eq!(stage.ask(Request::LeaveVerb), None);
    stage.next(Some(1), None);
    stage.held = false;
    while stage.deliver() {}
    assert_eq!(stage.run.view()["executed_actions"][0]["outcome"], "interrupted");
    assert!(stage.unanswered().is_empty());
}

#[test]
fn an_interrupted_verb_is_left_and_the_flow_goes_on() {
    let mut stage = call(DIAL);
    stage.network.push_back(stands("in-progress"));
    assert_eq!(brief(&stage.ask(Request::LeaveVerb).unwrap()), "leaving");
    assert_eq!(brief(&stage.next(Some(1), None).unwrap()), "document 2 stream");
    assert_eq!(stage.run.view()["executed_actions"][0]["outcome"], "interrupted");
    assert_eq!(brief(&stage.ask(Request::LeaveVerb).unwrap()), "denied", "there is no verb to leave");
}
