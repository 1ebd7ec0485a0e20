//! Lists inside lists: conditions, branches, loops, guards, other workflows, children, and blocks.

use crate::stage::*;
use holdline_core::RunId;
use holdline_core::WorkflowId;
use holdline_core::fact::RunFact;
use holdline_core::flow::again::{NotAgain, again};
use holdline_core::flow::flows::Flows;
use holdline_core::flow::moments::Follower;
use holdline_core::flow::script::{Output, Script};
use holdline_core::flow::{Run, RunSpec};
use holdline_core::scene::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

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

fn with(actions: Value, variables: Value) -> Stage {
    let mut spec = api(actions);
    spec.variables = variables.as_object().unwrap().clone();
    run(spec)
}

fn add(text: &str) -> Value {
    json!({"type": "variable_set", "with": {"key": "log", "value": format!("${{log}}{text}")}})
}

fn log(stage: &Stage) -> String {
    stage.var("log").as_str().unwrap_or_default().to_owned()
}

#[derive(Debug)]
struct Book(BTreeMap<String, Arc<Script>>);

impl Flows for Book {
    fn find(&self, id: &WorkflowId) -> Option<Arc<Script>> {
        self.0.get(&id.0).cloned()
    }
}

fn book(flows: &[(&str, Value, Value)]) -> Arc<Book> {
    let script = |(id, actions, outputs): &(&str, Value, Value)| {
        let mut script = script(actions);
        script.id = WorkflowId((*id).to_owned());
        let outputs = outputs.as_object().into_iter().flatten();
        script.outputs =
            outputs.map(|(name, value)| Output { name: name.clone(), value: value.clone() }).collect();
        ((*id).to_owned(), Arc::new(script))
    };
    Arc::new(Book(flows.iter().map(script).collect()))
}

fn with_book(spec: RunSpec, flows: &[(&str, Value, Value)]) -> Stage {
    let mut stage = Stage::with(spec);
    stage.flows = Some(book(flows));
    stage.proceed(Line::Absent);
    stage
}

#[test]
fn a_condition_runs_one_of_two_lists_and_goes_on_behind_itself() {
    let terms = |kind: &str, a: Value, operation: &str, b: Value| json!([[{"type": kind, "value1": a, "operation": operation, "value2": b}]]);
    for (parameters, expected) in [
        (json!({"expression": "=n > 3"}), "T."),
        (json!({"rawExpression": true, "expression": "=n < 3"}), "F."),
        (json!({"conditions": []}), "F."),
        (json!({"conditions": [[]]}), "T."),
        (json!({"conditions": terms("number", json!("${n}"), "LESS", json!(8))}), "T."),
        (json!({"conditions": terms("number", json!("x"), "NOT_EQUALS", json!(8))}), "F."),
        (json!({"conditions": terms("string", json!("Hello"), "EQUALS_IGNORE_CASE", json!("hELLO"))}), "T."),
        (json!({"conditions": terms("string", json!("abc"), "REGEX", json!("b"))}), "F."),
        (json!({"conditions": terms("string", json!("abc"), "REGEX", json!("a|abc"))}), "T."),
        (json!({"conditions": terms("string", json!(5), "EQUALS", json!("5"))}), "F."),
        (json!({"conditions": terms("string", json!("${gone}"), "EMPTY", Value::Null)}), "T."),
        (json!({"conditions": terms("boolean", json!(true), "EQUALS", json!("true"))}), "T."),
        (
            json!({"conditions": terms("dateTime", json!("2027-01-01T00:00:00+01:00"), "BEFORE", json!("2027-01-01T00:00:00Z"))}),
            "T.",
        ),
        (
            json!({"conditions": [[{"type": "number", "value1": 1, "operation": "EQUALS", "value2": 2}],
                               [{"type": "number", "value1": 1, "operation": "EQUALS", "value2": 1.0},
                                {"type": "string", "value1": "ab", "operation": "STARTS_WITH", "value2": "a"}]]}),
            "T.",
        ),
    ] {
        let mut full = parameters.clone();
        full["caseTrue"] = json!([add("T")]);
        full["caseFalse"] = json!([add("F")]);
        let stage = with(json!([{"type": "condition", "with": full}, add(".")]), json!({"n": 7}));
        assert_eq!(log(&stage), expected, "{parameters}");
        assert_eq!(stage.history(), ["condition:ok", "variable_set:ok", "variable_set:ok"]);
    }
    let stage =
        with(json!([{"type": "condition", "with": {"expression": "=1", "caseTrue": [add("T")]}}]), json!({}));
    assert_eq!(stage.over().reason, EndReason::Failed);
}

#[test]
fn the_cases_of_a_branch_are_told_apart_by_type_too() {
    let cases = json!([{"key": 1, "tasks": [add("one")]}, {"key": "1", "tasks": [add("text")]}, {"key": true, "value": "yes"}]);
    for (value, expected, output) in [
        (json!(1), "one", Value::Null),
        (json!(1.0), "one", Value::Null),
        (json!("1"), "text", Value::Null),
        (json!(true), "", json!("yes")),
        (json!("true"), "else", Value::Null),
    ] {
        let actions = json!([{"type": "branch", "name": "b", "with": {"expression": "${v}", "cases": cases, "default": [add("else")]}}]);
        let stage = with(actions, json!({ "v": value }));
        assert_eq!((log(&stage), stage.var("b")), (expected.to_owned(), output), "{value}");
    }
    let stage =
        with(json!([{"type": "branch", "with": {"expression": "=2", "cases": cases}}, add("on")]), json!({}));
    assert_eq!(log(&stage), "on");
}

#[test]
fn a_loop_turns_for_each_item_and_gives_its_turns() {
    let body = json!([add("${l.item}${l.index} "), {"id": "g", "type": "goto", "with": {"target_id": "h", "loop_count": 1}}, add("!"), {"type": "empty", "id": "h"}]);
    let stage = with(
        json!([{"type": "loop", "name": "l", "with": {"items": ["a", 2, null], "iteratee": body}}, add(".")]),
        json!({}),
    );
    assert_eq!(log(&stage), "a0 21 2 .");
    assert_eq!(
        (stage.var("l"), stage.var("l.item"), stage.var("l.index")),
        (json!(3), Value::Null, Value::Null)
    );
    assert_eq!(stage.entry(0)["output"], 3);
    assert_eq!(stage.history().iter().filter(|entry| entry.starts_with("loop")).count(), 1);

    // Broken out of, from a list inside the turn; a loop of nothing does not turn.
    let body = json!([add("${l.index}"), {"type": "condition", "with": {"expression": "=${l.index} == 2", "caseTrue": [{"type": "loopBreak"}, add("!")]}}]);
    let stage = with(
        json!([{"type": "loop", "name": "l", "with": {"loopForever": true, "iteratee": body}},
                            {"type": "loop", "name": "none", "with": {"items": [], "iteratee": [add("!")]}}, add(".")]),
        json!({}),
    );
    assert_eq!((log(&stage).as_str(), stage.var("l"), stage.var("none")), ("012.", json!(3), json!(0)));
    // Jumped out of: its variables go, it gives nothing.
    let body = json!([{"type": "goto", "with": {"target_id": "out", "loop_count": 1}}]);
    let stage = with(
        json!([{"type": "loop", "name": "l", "with": {"loopForever": true, "iteratee": body}}, add("!"), {"type": "empty", "id": "out"}]),
        json!({}),
    );
    assert_eq!((log(&stage).as_str(), stage.var("l"), stage.var("l.index")), ("", Value::Null, Value::Null));
    assert_eq!(stage.view()["stack_map"].as_object().unwrap().len(), 1);
    assert_eq!(with(json!([{"type": "loopBreak"}]), json!({})).over().reason, EndReason::Failed);
}

#[test]
fn turns_count_and_a_loop_that_waits_may_turn_for_ever() {
    let forever =
        |body: Value| json!([{"type": "loop", "name": "l", "with": {"loopForever": true, "iteratee": body}}]);
    for body in [json!([]), json!([{"type": "empty"}])] {
        let stage = with(forever(body), json!({}));
        assert_eq!(stage.over().reason, EndReason::Limit);
        assert!(stage.over().detail.as_ref().unwrap().contains("loop detected"));
    }
    let mut stage = run(api(forever(json!([{"type": "sleep", "with": {"duration": 1}}]))));
    let posture = Posture { line: Line::Absent, local_speech: false };
    for _ in 0..150_000 {
        stage.now.tick.0 += 1000;
        stage.now.wall_ms += 1;
        stage.run.take(stage.now, &posture, Event::Due);
    }
    assert!(stage.run.over().is_none());
    assert!(stage.run.vars().look_up("l.index").unwrap().as_u64().unwrap() >= 149_999);
}

#[test]
fn an_error_looks_for_the_nearest_guard() {
    let bad = json!({"type": "goto", "name": "bad", "with": {"target_id": "gone", "loop_count": 1}});
    let guard = |first: Value, second: Value| json!({"type": "on-error", "with": {"main-branch": first, "on-error-branch": second}});
    for (actions, expected, reason) in [
        (json!([guard(json!([add("a")]), json!([add("!")])), add(".")]), "a.", EndReason::Completed),
        (
            json!([guard(json!([bad, add("!")]), json!([add("${error.action} ${error.class}")])), add(".")]),
            "bad invalid.",
            EndReason::Completed,
        ),
        (
            json!([
                guard(json!([guard(json!([bad]), json!([add("in "), bad]))]), json!([add("out")])),
                add(".")
            ]),
            "in out.",
            EndReason::Completed,
        ),
        (json!([guard(json!([bad]), json!([bad, add("!")])), add("!")]), "", EndReason::Failed),
        (
            json!([
                guard(
                    json!([{"type": "loop", "name": "l", "with": {"items": [1, 2], "iteratee": [add("t"), bad]}}]),
                    json!([add("${l.item}c")])
                ),
                add(".")
            ]),
            "tc.",
            EndReason::Completed,
        ),
        (json!([guard(json!([{"type": "stop"}]), json!([add("!")]))]), "", EndReason::Stopped),
    ] {
        let stage = with(actions.clone(), json!({}));
        assert_eq!((log(&stage).as_str(), stage.over().reason), (expected, reason), "{actions}");
    }
    // Limits are not caught.
    let mut script = script(&json!([guard(json!([add("1"), add("2"), add("3")]), json!([add("!")]))]));
    script.limits.iterations = 3;
    let stage = run(RunSpec { script: script.into(), ..api(json!([])) });
    assert_eq!((log(&stage).as_str(), stage.over().reason), ("12", EndReason::Limit));
}

#[test]
fn conditions_on_values_compare_as_asked() {
    for (parameters, holds) in [
        (json!({"variable": "${n}", "condition": "<", "value_type": "number", "value_number": 8}), true),
        (json!({"variable": "x", "condition": "!=", "value_type": "number", "value_number": 8}), false),
        (json!({"variable": " 7.0 ", "condition": "==", "value_type": "number", "value_number": 7}), true),
        (json!({"variable": "Z", "condition": "<", "value_string": "a"}), true),
        (json!({"variable": "héé", "condition": "==", "value_type": "length", "value_length": 3}), true),
        (json!({"variable": "${gone}", "condition": "==", "value_string": ""}), true),
    ] {
        let mut full = parameters.clone();
        full["false_target_id"] = json!("end");
        let stage = with(
            json!([{"type": "condition_variable", "with": full}, add("held"), {"type": "empty", "id": "end"}]),
            json!({"n": 7}),
        );
        assert_eq!(log(&stage) == "held", holds, "{parameters}");
    }
    for (kind, parameters, holds) in [
        ("condition_call_digits", json!({"length": 2}), true),
        ("condition_call_digits", json!({"length": 3, "key": "9"}), false),
        ("condition_call_digits", json!({"length": 3, "key": "2"}), true),
        ("condition_call_status", json!({"status": "progressing"}), true),
        ("condition_call_status", json!({"status": "ringing"}), false),
    ] {
        let mut full = parameters.clone();
        full["false_target_id"] = json!("end");
        let stage = with(
            json!([{"type": kind, "with": full}, add("held"), {"type": "empty", "id": "end"}]),
            json!({"call.digits": "12", "call.status": "in-progress"}),
        );
        assert_eq!(log(&stage) == "held", holds, "{kind} {parameters}");
    }
}

#[test]
fn a_condition_on_the_time_compares_now_with_what_is_given() {
    for (at, parameters, holds) in [
        (
            "2027-03-28T00:59:00Z",
            json!({"condition": "==", "hour": 1, "minute": 59, "timezone": "Europe/Berlin"}),
            true,
        ),
        // The hour from two to three does not exist on that day.
        (
            "2027-03-28T01:00:00Z",
            json!({"condition": ">=", "hour": 3, "minute": 0, "timezone": "Europe/Berlin"}),
            true,
        ),
        (
            "2027-10-31T00:30:00Z",
            json!({"condition": "==", "hour": 2, "minute": 30, "timezone": "Europe/Berlin"}),
            true,
        ),
        (
            "2027-10-31T01:30:00Z",
            json!({"condition": "==", "hour": 2, "minute": 30, "timezone": "Europe/Berlin"}),
            true,
        ),
        (
            "2027-06-01T22:30:00Z",
            json!({"condition": "==", "day": 2, "hour": 0, "timezone": "Europe/Berlin"}),
            true,
        ),
        ("2027-06-01T22:30:00Z", json!({"condition": "==", "day": 1, "hour": 22}), true),
        ("2027-06-01T17:59:00Z", json!({"condition": "<", "hour": 18}), true),
        (
            "2027-06-01T18:00:00Z",
            json!({"condition": "<", "hour": 18, "minute": -1, "day": 0, "month": 0, "year": -1}),
            false,
        ),
        ("2027-06-01T18:01:00Z", json!({"condition": "<=", "hour": 18}), true),
        ("2027-06-15T00:00:00Z", json!({"condition": ">", "month": 6, "hour": 12}), false),
        ("2027-07-01T00:00:00Z", json!({"condition": ">", "month": 6, "hour": 12}), true),
        ("2027-06-06T12:00:00Z", json!({"weekdays": [0]}), true),
        ("2027-06-06T12:00:00Z", json!({"weekdays": ["mon", "Saturday", 5]}), false),
        ("2027-06-06T22:30:00Z", json!({"weekdays": ["Monday"], "timezone": "Europe/Berlin"}), true),
        ("2027-06-06T12:00:00Z", json!({"weekdays": ["Sun"], "condition": ">=", "hour": 13}), false),
        ("2027-06-06T12:00:00Z", json!({}), true),
    ] {
        let mut full = parameters.clone();
        full["false_target_id"] = json!("end");
        let mut stage = Stage::with(api(
            json!([{"type": "condition_datetime", "with": full}, add("held"), {"type": "empty", "id": "end"}]),
        ));
        let millis = at.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        stage.now.wall_ms = u64::try_from(millis).unwrap();
        stage.proceed(Line::Absent);
        assert_eq!(log(&stage) == "held", holds, "{at} {parameters}");
    }
}

#[test]
fn a_failed_run_goes_on_as_another_one_where_it_failed() {
    let branch = |id: &str| json!({"type": "branch", "id": id, "with": {"variable": "${way}", "target_ids": {"open": "after"}}});
    let each = json!({"type": "loop", "name": "each", "with": {"items": [1, 2],
        "iteratee": [add("${each.item}"), branch("gate"), add("-"), {"type": "empty", "id": "after"}]}});
    let stage = run(api(json!([add("a"), each, add("z")])));
    assert_eq!((stage.over().reason, log(&stage).as_str()), (EndReason::Failed, "a1"));

    let (of, now) = (stage.run.id(), stage.now);
    let go_on = |from: Option<&str>, facts: &[RunFact]| again(now, facts.iter(), of, of.child(99), from);
    let facts = go_on(None, &stage.facts).unwrap();
    let mut next = Run::restore(now, facts.iter()).unwrap();
    assert_eq!((next.id(), next.view()["retry_of"].clone()), (of.child(99), json!(of)));
    assert_eq!((&next.view()["status"], &next.view()["executed_actions"]), (&"running".into(), &json!([])));
    let posture = Posture { line: Line::Absent, local_speech: false };
    let mut all = facts;
    all.extend(next.take(now, &posture, Event::Proceed).facts);
    assert_eq!(next.over().unwrap().reason, EndReason::Failed, "nothing has changed for it");
    assert_eq!(next.view()["executed_actions"].as_array().unwrap().len(), 1);
    assert!(Run::restore(now, all.iter()).unwrap() == next);

    let at = |id: RunId, from, facts: &[RunFact]| again(now, facts.iter(), id, of.child(100), from).unwrap();
    let facts = at(next.id(), Some("after"), &all);
    let mut last = Run::restore(now, facts.iter()).unwrap();
    last.take(now, &posture, Event::Proceed);
    let view = last.view();
    assert_eq!(view["variables"]["log"], "a12", "its loop goes on with the next turn");

    assert_eq!(go_on(Some("nowhere"), &stage.facts), Err(NotAgain::UnknownAction("nowhere".into())));
    let done = run(api(json!([])));
    assert!(matches!(go_on(None, &done.facts), Err(NotAgain::NotFailed(_))));
}

/// What the run with the stage's own id says to it.
fn command(stage: &mut Stage, command: Command) -> Result<(), Refused> {
    let run = stage.run.id();
    stage.take(Event::Commanded { run, command }).verdict.expect("a command is answered")
}

#[test]
fn a_block_waits_to_be_executed() {
    let mut stage = run(api(
        json!([{"type": "block", "id": "b"}, add("."), {"type": "sleep", "id": "s", "with": {"duration": 1000}}]),
    ));
    assert_eq!(stage.run.may_execute(Some("other")), Err(Refused::StaleAction));
    let execute = |id: Option<&str>, text: &str| Command::Execute {
        current_action_id: id.map(Into::into),
        actions: Some(nodes(&json!([add(text)]))),
    };
    assert_eq!(command(&mut stage, execute(Some("other"), "!")), Err(Refused::StaleAction));
    assert_eq!(log(&stage), "");
    assert_eq!(stage.run.may_execute(Some("b")), Ok(()));
    assert_eq!(command(&mut stage, execute(Some("b"), "pushed")), Ok(()));
    assert_eq!((log(&stage).as_str(), stage.view()["execute_count"].clone()), ("pushed.", json!(1)));
    assert_eq!(stage.run.may_execute(None), Err(Refused::NotBlocked));
    let push = |text: &str, interrupt| Command::Push { actions: nodes(&json!([add(text)])), interrupt };
    assert_eq!(command(&mut stage, push("next", false)), Ok(()));
    assert_eq!(log(&stage), "pushed.");
    assert_eq!(command(&mut stage, push("now ", true)), Ok(()));
    assert_eq!((log(&stage).as_str(), stage.over().reason), ("pushed.now next", EndReason::Completed));
    for late in [push("late", true), execute(None, "late"), Command::Stop] {
        assert_eq!(command(&mut stage, late), Err(Refused::AlreadyEnded));
    }

    let mut stage = run(api(
        json!([{"type": "block", "id": "b"}, {"type": "goto", "with": {"target_id": "b", "loop_count": -1}}]),
    ));
    let plain = || Command::Execute { current_action_id: None, actions: None };
    for _ in 0..100 {
        assert_eq!(command(&mut stage, plain()), Ok(()));
    }
    assert_eq!(command(&mut stage, plain()), Err(Refused::Limit));
    assert_eq!(stage.over().reason, EndReason::Limit);
}

#[test]
fn a_fetched_workflow_is_pushed_as_it_was() {
    let flows = [(
        "other",
        json!([add("other "), {"type": "sleep", "with": {"duration": 10}}, add("still")]),
        json!({}),
    )];
    let mut stage =
        with_book(api(json!([{"type": "fetch_flow", "with": {"flow_id": "other"}}, add(".")])), &flows);
    stage.flows = Some(book(&[]));
    stage.crash();
    stage.after_ms(10);
    assert_eq!(log(&stage), "other still.");
    let stage = with_book(api(json!([{"type": "fetch_flow", "with": {"flow_id": "gone"}}])), &[]);
    assert_eq!(stage.entry(0)["error"]["class"], "invalid");
}

#[test]
fn a_subflow_is_a_run_of_its_own_inside_its_parent() {
    let call =
        json!({"type": "subflow", "name": "s", "with": {"workflow": "child", "inputs": {"x": "${n}"}}});
    let child = |actions: Value| [("child", actions, json!({"out": "=x + 1"}))];
    let nap = json!({"type": "sleep", "with": {"duration": 10}});
    let start = |actions: Value| {
        let mut spec = api(json!([call, add("${s.out}.")]));
        spec.variables = json!({"n": 7}).as_object().unwrap().clone();
        with_book(spec, &child(actions))
    };
    let mut stage = start(json!([add("in"), nap]));
    let views = stage.run.children_views();
    assert_eq!(
        (views.len(), &views[0]["status"], &views[0]["variables"]["log"]),
        (1, &json!("running"), &json!("in"))
    );
    assert_eq!(views[0]["reference_activeflow_id"], stage.view()["id"]);
    stage.crash();
    stage.after_ms(10);
    assert_eq!((log(&stage).as_str(), stage.var("s")), ("8.", json!({"out": 8})));
    assert_eq!(stage.run.children_views()[0]["end_reason"], "completed");

    let stage = start(json!([{"type": "terminate", "with": {"message": "enough"}}]));
    assert_eq!((log(&stage).as_str(), stage.over().reason), ("8.", EndReason::Completed));
    assert_eq!(stage.run.children_views()[0]["end_detail"], "enough");
    let stage = start(json!([{"type": "loopBreak"}]));
    assert_eq!(
        (stage.over().reason, &stage.entry(0)["error"]["class"]),
        (EndReason::Failed, &json!("rejected"))
    );

    let mut stage = start(json!([nap]));
    stage.take(Event::End { reason: EndReason::Stopped, detail: None });
    assert_eq!(stage.run.children_views()[0]["end_reason"], "canceled");
    assert_eq!(stage.history(), ["subflow:interrupted"]);

    // Ten inside each other; the eleventh is refused, and each parent's step fails.
    let stage = with_book(api(json!([call])), &[("child", json!([call]), json!({}))]);
    let views = stage.run.children_views();
    assert_eq!((views.len(), &views[9]["end_reason"]), (10, &json!("limit")));
    assert_eq!((&views[8]["end_reason"], stage.over().reason), (&json!("failed"), EndReason::Failed));
}

#[test]
fn an_end_is_followed_by_its_successor_once_for_every_reason() {
    for (actions, event, reason) in [
        (json!([add("a")]), None, EndReason::Completed),
        (json!([{"type": "stop"}]), None, EndReason::Stopped),
        (json!([{"type": "loopBreak"}]), None, EndReason::Failed),
        (json!([{"type": "block"}]), Some(EndReason::Canceled), EndReason::Canceled),
    ] {
        for count in 0..5 {
            let mut spec = api(actions.clone());
            let mut script = (*spec.script).clone();
            script.on_complete = Some(WorkflowId("after".into()));
            (spec.script, spec.complete_count) = (script.into(), count);
            let mut stage = with_book(spec, &[("after", json!([]), json!({}))]);
            if let Some(reason) = event {
                stage.take(Event::End { reason, detail: None });
            }
            assert_eq!(stage.over().reason, reason);
            let next = stage.follow.clone();
            assert_eq!(next.len(), usize::from(count < 4), "{count}");
            if let Some(RunFact::Begun(next)) = next.first() {
                assert_eq!((next.complete_count, next.parent), (count + 1, Some(stage.run.id())));
                assert_eq!(next.reference, *stage.run.reference());
                assert_eq!(next.variables.get("log"), stage.run.vars().look_up("log").as_deref());
            } else {
                assert!(stage.over().detail.as_ref().unwrap().contains("on_complete"));
            }
            stage.take(Event::End { reason: EndReason::Stopped, detail: None });
            assert!(stage.follow.is_empty());
        }
    }
}

#[test]
fn a_followed_run_names_the_steps_of_those_inside_it() {
    let (inner, book) = (script(&json!([add("in"), {"type": "block", "name": "held"}])), BTreeMap::new());
    let mut stage =
        Stage::with(api(json!([{"type": "subflow", "name": "child", "with": {"workflow": "inner"}}])));
    stage.flows =
        Some(Arc::new(Book(book.into_iter().chain([("inner".to_owned(), Arc::new(inner))]).collect())));
    stage.proceed(Line::Absent);
    stage.take(Event::End { reason: EndReason::Stopped, detail: None });
    let mut follower = Follower::default();
    let told: Vec<String> = stage
        .facts
        .iter()
        .filter_map(|fact| follower.follow(fact))
        .map(|(run, (word, said))| {
            let action = said.get("action").map(|action| action["type"].as_str().unwrap_or_default());
            let whose = if run == stage.run.id() { "" } else { "inner " };
            format!("{whose}{word} {}", action.unwrap_or_default()).trim_end().to_owned()
        })
        .collect();
    let expected = [
        "flow_began",
        "step_began subflow",
        "inner flow_began",
        "inner step variable_set",
        "inner step_began block",
        "inner flow_over",
        "flow_over",
    ];
    assert_eq!(told, expected);
}
