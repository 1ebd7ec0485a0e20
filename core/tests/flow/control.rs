//! Control actions, jumps, limits, policies, variables and ends.

use crate::stage::*;
use holdline_core::flow::RunSpec;
use holdline_core::flow::script::*;
use holdline_core::scene::*;
use holdline_core::{Now, WorkflowId};
use serde_json::{Value, json};

/// A run that isn't about a call.
fn api(actions: Value) -> RunSpec {
    let mut spec = spec(script(&actions));
    spec.reference = Reference { kind: ReferenceKind::Api, id: "x".into() };
    spec
}

fn run(spec: RunSpec) -> Stage {
    let mut stage = Stage::with(spec);
    stage.proceed(Line::Absent);
    stage
}

fn set(key: &str, value: Value) -> Value {
    json!({"type": "variable_set", "name": format!("set-{key}"), "with": {"key": key, "value": value}})
}

#[test]
fn an_empty_flow_completes_at_once() {
    let stage = run(api(json!([])));
    assert_eq!(stage.over().reason, EndReason::Completed);
    assert_eq!(stage.view()["status"], "ended");
}

#[test]
fn a_goto_jumps_exactly_as_often_as_it_counts() {
    for (count, times) in [(json!(0), 1), (json!(3), 4), (Value::Null, 1), (json!("${two}"), 3)] {
        let mut spec = api(json!([
            {"id": "top", "type": "empty"},
            {"type": "goto", "with": {"target_id": "top", "loop_count": count}},
        ]));
        spec.variables.insert("two".into(), json!("2"));
        let stage = run(spec);
        assert_eq!(stage.history().iter().filter(|entry| *entry == "empty:ok").count(), times, "{count}");
        assert_eq!(stage.over().reason, EndReason::Completed);
    }
}

#[test]
fn a_loop_without_a_wait_ends_at_its_thousandth_action() {
    let goto = json!({"type": "goto", "name": "again", "with": {"target_id": "top", "loop_count": -1}});
    let stage = run(api(json!([{"id": "top", "type": "empty"}, goto])));
    assert_eq!(stage.over().reason, EndReason::Limit);
    assert!(
        stage.over().detail.as_ref().unwrap().contains("loop detected at `top`"),
        "{:?}",
        stage.over().detail
    );
    assert_eq!(stage.history().len(), 1000);

    // Exactly a thousand is allowed, skipped ones counted.
    let mut actions = vec![json!({"type": "talk", "with": {"text": "skipped"}})];
    actions.extend((0..999).map(|_| json!({"type": "empty"})));
    assert_eq!(run(api(json!(actions))).over().reason, EndReason::Completed);
    actions.push(json!({"type": "empty"}));
    assert_eq!(run(api(json!(actions))).over().reason, EndReason::Limit);

    // An action that waits begins the count anew.
    let mut stage = run(api(json!([{"id": "top", "type": "sleep", "with": {"duration": 1}}, goto])));
    for _ in 0..1500 {
        assert_eq!(stage.needs, Needs::Nothing);
        stage.now.tick.0 += 1000;
        stage.now.wall_ms += 1;
        let posture = Posture { line: Line::Absent, local_speech: false };
        stage.run.take(stage.now, &posture, Event::Due);
    }
    assert!(stage.run.over().is_none());
}

#[test]
fn steps_have_a_bound_in_a_lifetime() {
    let mut spec = api(
        json!([{"id": "top", "type": "empty"}, {"type": "goto", "with": {"target_id": "top", "loop_count": -1}}]),
    );
    let mut script = (*spec.script).clone();
    script.limits.steps = 51;
    spec.script = script.into();
    let stage = run(spec);
    assert_eq!((stage.over().reason, stage.history().len()), (EndReason::Limit, 51));
    assert!(stage.over().detail.as_ref().unwrap().contains("51 steps"));
}

#[test]
fn a_hundred_thousand_control_steps_are_quick_and_leave_a_bounded_history() {
    let mut spec = api(json!([
        {"id": "top", "type": "variable_set", "with": {"key": "n", "value": "${n} and more text"}},
        {"type": "variable_set", "with": {"key": "n", "value": 1}},
        {"type": "goto", "with": {"target_id": "top", "loop_count": -1}}
    ]));
    let mut script = (*spec.script).clone();
    script.limits.iterations = u32::MAX;
    spec.script = script.into();
    let now = Now { wall_ms: WALL, ..Now::default() };
    let (mut run, _) = holdline_core::flow::Run::begin(now, spec);
    let posture = Posture { line: Line::Absent, local_speech: false };
    let mut facts = 0;
    while run.over().is_none() {
        let turn = run.take(now, &posture, Event::Due);
        facts += turn.facts.len();
        assert!(turn.wake_at == Some(now.tick) || run.over().is_some(), "a long turn goes on at once");
    }
    assert_eq!(facts, 100_001);
    let view = run.view();
    assert_eq!(view["executed_actions"].as_array().unwrap().len(), 10_000);
    assert_eq!(view["executed_actions_dropped"], 90_000);
    assert_eq!(view["end_reason"], "limit");
}

#[test]
fn actions_that_need_a_call_are_skipped_without_one() {
    let actions = json!([
        {"type": "answer"}, {"type": "talk", "with": {"text": "x"}, "next": "last"}, {"type": "stop"},
        {"id": "last", "type": "hangup"}, set("k", json!(1)),
    ]);
    for kind in
        [ReferenceKind::Api, ReferenceKind::Workflow, ReferenceKind::Conversation, ReferenceKind::Recording]
    {
        let mut spec = api(actions.clone());
        spec.reference.kind = kind;
        let stage = run(spec);
        assert_eq!(stage.history(), ["answer:skipped", "talk:skipped", "hangup:skipped", "variable_set:ok"]);
    }
    // The call of a call's run is over.
    let stage = run(spec(script(&actions)));
    assert_eq!(stage.history(), ["answer:skipped", "talk:skipped", "hangup:skipped", "variable_set:ok"]);
}

#[test]
fn when_and_next_decide_the_way() {
    let stage = run(api(json!([
        {"type": "empty", "when": "${gone}", "next": "b"},
        {"id": "a", "type": "stop"},
        {"id": "b", "name": "bee", "type": "empty", "when": "${yes:-true}"},
        {"type": "empty", "when": "TRUE", "next": "a"},
    ])));
    assert_eq!(stage.history(), ["empty:skipped", "empty:ok", "empty:skipped", "stop:ok"]);
    assert_eq!(stage.over().reason, EndReason::Stopped);
    assert_eq!(stage.entry(0)["missing"], json!(["gone"]));
}

#[test]
fn a_branch_chooses_by_text_and_clears_only_the_digits() {
    for (variable, value, targets, default, end) in [
        (json!("x"), json!(1), json!({"1": "yes"}), Value::Null, "yes"),
        (json!("x"), json!(true), json!({"true": "yes"}), json!("no"), "yes"),
        (json!("x"), json!("2"), json!({"1": "yes"}), json!("no"), "no"),
        (json!("${x}"), json!("1"), json!({"1": "yes"}), json!("no"), "yes"),
        (json!("x"), json!("2"), json!({"1": "yes"}), json!(""), "failed"),
        (json!("x"), json!("2"), json!({"2": "00000000-0000-0000-0000-000000000000"}), Value::Null, "failed"),
        (json!("x"), json!("2"), json!({"2": "nowhere"}), Value::Null, "failed"),
        (json!("voipbin.call.digits"), json!("1"), json!({"1": "yes"}), Value::Null, "yes"),
    ] {
        let with = json!({"variable": variable, "target_ids": targets, "default_target_id": default});
        let mut spec = api(json!([
            {"type": "branch", "name": "b", "with": with},
            {"id": "no", "type": "variable_set", "with": {"key": "end", "value": "no"}, "next": "done"},
            {"id": "yes", "type": "variable_set", "with": {"key": "end", "value": "yes"}},
            {"id": "done", "type": "empty"},
        ]));
        spec.variables.insert("x".into(), value.clone());
        spec.variables.insert("call.digits".into(), value.clone());
        let stage = run(spec);
        if end == "failed" {
            assert_eq!(stage.over().reason, EndReason::Failed, "{with}");
            let detail = stage.over().detail.clone().unwrap();
            assert!(detail.contains("`b`") && detail.contains("invalid"), "{detail}");
        } else {
            assert_eq!(stage.var("end"), end, "{with}");
            assert_eq!(
                stage.var("call.digits"),
                if variable == "voipbin.call.digits" { json!("") } else { value.clone() }
            );
            assert_eq!(stage.var("x"), value);
        }
    }
}

#[test]
fn errors_follow_the_policy_of_the_action() {
    let bad = |on_error: Value| {
        json!([{"type": "goto", "name": "g", "with": {"target_id": "gone", "loop_count": 1}, "on_error": on_error},
               {"type": "empty"}, {"id": "here", "type": "empty"}])
    };
    for (on_error, history, reason) in [
        (json!("fail"), vec!["goto:failed"], EndReason::Failed),
        (json!("continue"), vec!["goto:failed", "empty:ok", "empty:ok"], EndReason::Completed),
        (json!({"goto": "here"}), vec!["goto:failed", "empty:ok"], EndReason::Completed),
        (json!({"goto": "gone"}), vec!["goto:failed"], EndReason::Failed),
    ] {
        let stage = run(api(bad(on_error.clone())));
        assert_eq!(
            (stage.history(), stage.over().reason),
            (history.iter().map(|e| (*e).to_owned()).collect(), reason)
        );
        if on_error == json!({"goto": "here"}) {
            assert_eq!(stage.var("error.type"), "goto");
            assert_eq!(stage.var("error.attempts"), 1);
        }
    }
    // A failure behind rendered verbs waits until they are performed.
    let mut stage = Stage::of(json!([
        {"type": "talk", "with": {"text": "a"}}, {"type": "branch", "with": {"variable": "x", "target_ids": {}}}
    ]));
    assert_eq!(
        (stage.proceed(Line::Asking).did().as_str(), &stage.needs),
        ("say a", &Needs::Close { hold: false })
    );
    assert_eq!(stage.back(Default::default()).over().reason, EndReason::Failed);
    assert_eq!(stage.history(), ["talk:ok", "branch:failed"]);
}

#[test]
fn what_a_caller_says_is_never_expanded_and_names_of_the_runtime_are_not_set() {
    let mut spec = api(json!([
        set("a", json!("${evil}")),
        set("b", json!("x ${a} ${evil}")),
        set("c", json!({"k": ["${b}", "${evil:-n}"]})),
        set("Call.digits", json!("9")),
        set("voipbin.x", json!(1)),
        set("error", json!(1)),
        set("${evil}", json!(1)),
    ]));
    let evil = "${call.from} =1+1 $${x} ${evil}";
    spec.variables.insert("evil".into(), json!(evil));
    spec.variables.insert("call.from".into(), json!("SECRET"));
    spec.variables.insert("activeflow.id".into(), json!("forged"));
    let stage = run(spec);
    assert_eq!(stage.var("a"), evil);
    assert_eq!(stage.var("b"), format!("x {evil} {evil}"));
    assert_eq!(stage.var("c.k"), json!([format!("x {evil} {evil}"), evil]));
    assert_eq!(stage.entry(3)["dropped"], json!(["Call.digits"]));
    assert_eq!(stage.entry(4)["dropped"], json!(["voipbin.x"]));
    assert_eq!(stage.entry(5)["dropped"], json!(["error"]));
    assert_eq!(stage.var("activeflow.id"), stage.view()["id"]);
    assert!(!stage.view()["executed_actions"].to_string().contains("SECRET"));
}

#[test]
fn a_value_over_the_cap_fails_its_step_and_sets_nothing() {
    let mut spec = api(json!([set("big", json!("${x}${x}"))]));
    spec.variables.insert("x".into(), json!("y".repeat(20_000)));
    let stage = run(spec);
    assert_eq!((stage.over().reason, stage.var("big")), (EndReason::Failed, Value::Null));
    assert_eq!(stage.entry(0)["error"]["class"], "invalid");
}

#[test]
fn outputs_are_evaluated_and_a_chain_of_completions_has_an_end() {
    for (count, on_complete) in [(0, Some("after")), (3, Some("after")), (4, None)] {
        let mut script = script(&json!([set("k", json!([1]))]));
        script.outputs = vec![Output { name: "o".into(), value: json!({"k": "${k}"}) }];
        script.on_complete = Some(WorkflowId("after".into()));
        let mut spec = spec(script);
        spec.complete_count = count;
        let stage = run(spec);
        assert_eq!(Value::Object(stage.over().outputs.clone()), json!({"o": {"k": [1]}}));
        assert_eq!(stage.over().on_complete.as_deref(), on_complete);
        assert_eq!(stage.over().detail.is_some_and_contains("on_complete"), on_complete.is_none());
    }
}

trait Contains {
    fn is_some_and_contains(&self, part: &str) -> bool;
}

impl Contains for Option<String> {
    fn is_some_and_contains(&self, part: &str) -> bool {
        self.as_ref().is_some_and(|text| text.contains(part))
    }
}

#[test]
fn a_sleep_waits_its_time_without_a_call() {
    let mut stage = run(api(json!([{"type": "sleep", "with": {"duration": 250}}, {"type": "stop"}])));
    assert_eq!(stage.needs, Needs::Nothing);
    stage.after_ms(249);
    assert_eq!(stage.wake_at.map(|at| at.since(stage.now.tick).as_millis()), Some(1));
    assert_eq!(stage.after_ms(1).over().reason, EndReason::Stopped);
}

#[test]
fn the_view_shows_what_the_api_promises() {
    let mut script = script(&json!([
        set("k", json!(1)), {"type": "sleep", "id": "zz", "name": "nap", "with": {"duration": 60000}}
    ]));
    script.dialect = Dialect::Actions;
    let mut stage = Stage::with(RunSpec { script: script.into(), ..api(json!([])) });
    stage.proceed(Line::Absent);
    let view = stage.view();
    assert_eq!(view["current_action"]["name"], "nap");
    assert_eq!(view["current_action"]["option"], json!({"duration": 60000}));
    assert_eq!(view["current_action"]["outcome"], Value::Null);
    assert_eq!(view["stack_map"]["main"]["current_index"], 1);
    assert_eq!(view["stack_map"]["main"]["actions"][1]["id"], "zz");
    assert_eq!(view["current_stack_id"], "main");
    assert_eq!(view["reference_type"], "api");
    assert_eq!(view["variables"]["k"], 1);
    assert_eq!(view["tm_create"], "2027-01-15T08:00:00.000Z");
    assert_eq!((&view["tm_end"], &view["end_reason"]), (&Value::Null, &Value::Null));
    for key in [
        "flow_id",
        "end_detail",
        "reference_activeflow_id",
        "on_complete_flow_id",
        "execute_count",
        "tm_update",
        "outputs",
    ] {
        assert!(view.get(key).is_some(), "{key}");
    }
}

#[test]
fn a_pushed_stack_runs_first_and_a_jump_out_of_it_drops_it() {
    let nap = json!({"type": "sleep", "id": "nap", "with": {"duration": 100}});
    let mut stage = run(api(json!([nap, {"type": "empty", "id": "e"}, set("end", json!("main"))])));
    stage.push(&json!([set("first", json!(1)), {"type": "sleep", "with": {"duration": 50}}]));
    assert_eq!(stage.view()["stack_map"].as_object().unwrap().len(), 2);
    let top = stage.view()["current_stack_id"].as_str().unwrap().to_owned();
    assert_eq!(stage.view()["stack_map"][&top]["return_stack"], "main");
    assert_eq!(stage.view()["stack_map"][&top]["return_action"], "nap");
    stage.after_ms(100);
    assert_eq!(stage.history(), ["sleep:ok", "variable_set:ok"]);
    stage.after_ms(50);
    assert_eq!(stage.history(), ["sleep:ok", "variable_set:ok", "sleep:ok", "empty:ok", "variable_set:ok"]);
    assert_eq!(stage.over().reason, EndReason::Completed);

    // Jumps look in the own stack first; one that leads out of it drops it, with its counts.
    let mut stage = run(api(
        json!([nap, {"type": "stop", "id": "e"}, set("end", json!("main")), {"type": "sleep", "with": {"duration": 100}}]),
    ));
    stage.push(
        &json!([{"type": "empty", "id": "e"}, {"type": "goto", "with": {"target_id": "e", "loop_count": 2}},
                       {"type": "goto", "with": {"target_id": "set-end", "loop_count": 1}}]),
    );
    stage.after_ms(100);
    assert_eq!(stage.history().iter().filter(|entry| *entry == "empty:ok").count(), 3);
    assert_eq!(stage.var("end"), "main");
    assert_eq!(stage.view()["current_stack_id"], "main");
}

#[test]
fn a_stack_too_many_ends_the_run() {
    let mut stage = run(api(json!([{"type": "sleep", "with": {"duration": 100}}])));
    for _ in 0..99 {
        stage.push(&json!([{"type": "empty"}]));
        assert_eq!(stage.needs, Needs::Nothing);
    }
    stage.push(&json!([{"type": "empty"}]));
    assert_eq!(stage.over().reason, EndReason::Limit);
    assert_eq!(stage.history(), ["sleep:interrupted"]);
}

#[test]
fn an_action_that_is_not_there_yet_fails_and_is_seen() {
    let mut stage = run(api(json!([{"type": "sleep", "with": {"duration": 100}}])));
    stage.push(&json!([{"type": "loop", "name": "l"}])).after_ms(100);
    assert_eq!(stage.history(), ["sleep:ok", "loop:failed"]);
    assert_eq!(stage.over().reason, EndReason::Failed);
    assert!(stage.over().detail.as_ref().unwrap().contains("`l`"));
}

#[test]
fn a_documents_own_retry_is_for_media_and_never_for_control() {
    let retry = Retry {
        attempts: 2,
        initial_ms: 50,
        factor: 1.0,
        max_ms: 50,
        jitter: 0.0,
        non_retryable: Vec::new(),
        retryable: vec![ErrorClass::Invalid],
    };
    let mut script = script(&json!([
        {"type": "digits_send", "with": {"digits": "${none}"}}, {"type": "variable_set", "with": {"key": ""}}
    ]));
    script.retry = Some(retry);
    let mut stage = Stage::with(spec(script));
    stage.proceed(Line::Streaming);
    assert_eq!((stage.wake_at.map(|at| at.as_millis()), stage.history().len()), (Some(50), 0));
    stage.after_ms(50);
    assert_eq!((&stage.entry(0)["attempts"], &stage.entry(1)["attempts"]), (&json!(2), &json!(1)));
    assert_eq!(stage.over().reason, EndReason::Failed);
}
