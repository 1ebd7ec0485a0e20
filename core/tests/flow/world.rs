//! Actions that ask other systems: what they ask, what they make of the answer, and that asking again is the same ask.

use crate::stage::*;
use holdline_core::flow::RunSpec;
use holdline_core::flow::script::{Defaults, Retry};
use holdline_core::http::*;
use holdline_core::scene::*;
use holdline_core::secret;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn about(kind: ReferenceKind, actions: Value) -> RunSpec {
    let mut spec = spec(script(&actions));
    spec.reference = Reference { kind, id: "x".into() };
    spec
}

/// Begins a run without a line, of a kind that is no main workflow: one attempt.
fn begun(actions: Value) -> Stage {
    let mut stage = Stage::with(about(ReferenceKind::Campaign, actions));
    stage.proceed(Line::Absent);
    stage
}

fn main_run(actions: Value) -> Stage {
    let mut stage = Stage::with(about(ReferenceKind::Api, actions));
    stage.proceed(Line::Absent);
    stage
}

/// Every action that asks by HTTP: what it is given, a good answer, what is kept of it.
fn stories() -> Vec<(&'static str, Value, Value, &'static str, Value)> {
    vec![
        (
            "http/request",
            json!({"url": "http://x", "method": "POST", "body": {"a": 1}}),
            json!({"b": 2}),
            "/body",
            json!({"b": 2}),
        ),
        ("fetch", json!({"event_url": "http://x"}), json!([{"type": "empty"}]), "/actions", json!(1)),
        (
            "webhook_send",
            json!({"uri": "http://x", "data": {"a": 1}, "sync": true}),
            json!("taken"),
            "/status",
            json!(200),
        ),
        (
            "openai/chat",
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}),
            json!({"choices": [{"message": {"content": "hello"}}], "usage": {"total_tokens": 3}}),
            "",
            json!({"content": "hello", "usage": {"total_tokens": 3}, "model": null, "finish_reason": null}),
        ),
        (
            "salesforce/createRecord",
            json!({"object": "Task", "fields": {"Subject": "s"}}),
            json!({"id": "00T"}),
            "",
            json!({"id": "00T"}),
        ),
        (
            "message_send",
            json!({"source": "+1", "destinations": [{"type": "tel", "target": "+2"}], "text": "hi"}),
            json!({"sid": "SM1", "status": "queued"}),
            "/messages",
            json!([{"to": "+2", "sid": "SM1", "status": "queued"}]),
        ),
        (
            "email_send",
            json!({"destinations": ["a@b.c"], "subject": "s", "content": "c"}),
            json!(""),
            "/mails/0/to",
            json!("a@b.c"),
        ),
    ]
}

fn key_of(errand: &Errand) -> String {
    match errand {
        Errand::Http(call) => call
            .headers
            .iter()
            .find(|(name, _)| name == "Idempotency-Key")
            .map(|(_, key)| key.clone())
            .unwrap(),
        Errand::Mail(mail) => mail.id.clone(),
        Errand::Service(call) => call.idempotency_key.clone(),
    }
}

#[test]
fn each_action_asks_once_and_keeps_its_answer() {
    for (kind, with, answer, path, kept) in stories() {
        let mut stage = begun(json!([{"type": kind, "name": "out", "with": with}]));
        assert_eq!(stage.errands().len(), 1, "{kind}");
        assert_eq!(stage.needs, Needs::Nothing);
        assert_eq!(stage.view()["current_action"]["type"], kind);
        stage.answered(200, answer);
        assert_eq!(stage.over().reason, EndReason::Completed, "{kind}: {:?}", stage.over());
        assert_eq!(stage.entry(0)["output"].pointer(path), Some(&kept), "{kind}");
        assert_eq!(stage.var("out").pointer(path), Some(&kept), "{kind}");
    }
}

#[test]
fn each_class_of_failure_ends_each_action_by_its_policy() {
    let failures = [
        (Ok(429), ErrorClass::Limit),
        (Ok(408), ErrorClass::Timeout),
        (Ok(503), ErrorClass::Unavailable),
        (Ok(403), ErrorClass::Rejected),
        (Err(ErrorClass::Unavailable), ErrorClass::Unavailable),
        (Err(ErrorClass::Timeout), ErrorClass::Timeout),
        (Err(ErrorClass::Rejected), ErrorClass::Rejected),
        (Err(ErrorClass::Invalid), ErrorClass::Invalid),
    ];
    for (kind, with, ..) in stories() {
        for (answer, class) in failures {
            let retried = matches!(class, ErrorClass::Limit | ErrorClass::Timeout | ErrorClass::Unavailable);
            let outcome: Outcome = match answer {
                Ok(status) => {
                    Ok(HttpReply { status, headers: BTreeMap::new(), body: ReplyBody::Text("why".into()) })
                }
                Err(class) => Err(NoReply { class, message: "why".into() }),
            };
            let mut stage = begun(json!([{"type": kind, "name": "n", "with": with}]));
            stage.fetched(outcome.clone());
            let error = &stage.entry(0)["error"];
            assert_eq!(error["class"], json!(class), "{kind}");
            assert!(error["message"].as_str().unwrap().contains("why"), "{error}");
            let messages = matches!(kind, "message_send" | "email_send");
            let reason = if messages { EndReason::Completed } else { EndReason::Failed };
            assert_eq!(stage.over().reason, reason, "{kind}: of messages an error is only recorded");

            // In a main workflow: three attempts, 10 s and 20 s apart, the same request each time.
            let mut stage = main_run(json!([{"type": kind, "name": "n", "with": with}]));
            let first = stage.errands().pop().unwrap();
            for wait in [11_000, 22_000] {
                if !retried {
                    break;
                }
                stage.fetched(outcome.clone());
                assert!(stage.errands().is_empty());
                stage.crash().proceed(Line::Absent);
                stage.after_ms(wait / 11 * 10 - 1);
                assert!(stage.errands().is_empty(), "the wait is real, and survives a crash");
                stage.after_ms(wait / 11 + 1);
                let again = stage.errands().pop().unwrap();
                assert_eq!(again.1, first.1, "{kind}");
                assert!(again.0 > first.0);
            }
            stage.fetched(outcome);
            assert_eq!(stage.over().reason, EndReason::Failed, "{kind}");
            assert_eq!(stage.entry(0)["attempts"], if retried { 3 } else { 1 });
        }
    }
}

#[test]
fn a_crash_in_it_asks_again_under_the_same_key_and_an_answer_to_the_first_ask_is_stale() {
    for (kind, with, answer, path, kept) in stories() {
        let mut stage =
            begun(json!([{"type": kind, "name": "out", "with": with}, {"type": kind, "with": with}]));
        let (first, errand) = stage.errands().pop().unwrap();
        stage.crash().proceed(Line::Absent);
        let (second, again) = stage.errands().pop().expect("it asks again");
        assert_eq!(again, errand, "{kind}");
        assert_eq!(stage.view()["current_action"]["attempts"], 2, "one entry, one more attempt");
        let stale = NoReply { class: ErrorClass::Invalid, message: "stale".into() };
        stage.take(Event::Fetched { no: first, outcome: Err(stale.clone()) });
        assert_eq!((stage.run.stale_answers(), stage.run.over()), (1, None));
        let body = ReplyBody::Json(answer);
        stage.take(Event::Fetched {
            no: second,
            outcome: Ok(HttpReply { status: 200, headers: BTreeMap::new(), body }),
        });
        assert_eq!(stage.var("out").pointer(path), Some(&kept));
        let other = stage.errands().pop().expect("the next step asks").1;
        assert_ne!(key_of(&other), key_of(&errand), "{kind}: another step has another key");
        stage.take(Event::Fetched { no: second, outcome: Err(stale) });
        assert_eq!(stage.run.stale_answers(), 2);
    }
}

#[test]
fn a_stop_cuts_a_request_and_a_retry_wait_and_a_second_stop_changes_nothing() {
    let end = || Event::End { reason: EndReason::Stopped, detail: None };
    for (kind, with, answer, ..) in stories() {
        for waits in [false, true] {
            let mut stage = main_run(json!([{"type": kind, "with": with}]));
            let (no, _) = stage.errands().pop().unwrap();
            if waits {
                stage.fetched(Err(NoReply { class: ErrorClass::Unavailable, message: "m".into() }));
                assert!(stage.wake_at.is_some());
            }
            stage.take(end());
            assert_eq!((stage.over().reason, stage.wake_at), (EndReason::Stopped, None));
            assert_eq!(stage.entry(0)["outcome"], "interrupted");
            let facts = stage.facts.len();
            stage.take(end()).after_ms(60_000);
            let body = ReplyBody::Json(answer.clone());
            stage.take(Event::Fetched {
                no,
                outcome: Ok(HttpReply { status: 200, headers: BTreeMap::new(), body }),
            });
            assert_eq!((stage.facts.len(), stage.ops.len()), (facts, 0), "{kind}");
        }
    }
}

#[test]
fn an_attempt_that_takes_too_long_is_a_timeout_by_the_nearest_bound() {
    let with = json!({"url": "http://x"});
    let bounds = [
        (json!({"type": "http/request", "with": with}), 30_000),
        (json!({"type": "http/request", "with": with, "timeout_ms": 5000}), 5000),
        (
            json!({"type": "http/request", "with": {"url": "http://x", "timeout": 2000}, "timeout_ms": 5000}),
            2000,
        ),
    ];
    for (action, ms) in bounds {
        let mut stage = begun(json!([action]));
        assert_eq!(stage.asked().timeout_ms, ms);
        stage.after_ms(ms - 1);
        assert_eq!(stage.run.over(), None);
        stage.after_ms(1);
        assert_eq!(stage.entry(0)["error"]["class"], "timeout");
    }
}

#[test]
fn the_nearest_word_on_retries_and_timeouts_counts_configured_document_action() {
    let asks = json!({"type": "http/request", "with": {"url": "http://x"}});
    let own = json!({"type": "http/request", "with": {"url": "http://x"}, "timeout_ms": 700, "retry": {
        "attempts": 4, "initial_ms": 3, "factor": 1.0, "max_ms": 3, "jitter": 0.0, "non_retryable": [], "retryable": []
    }});
    let configured = Defaults {
        retry: Retry { attempts: 2, initial_ms: 500, jitter: 0.0, ..Defaults::default().retry },
        timeout_ms: 900,
    };
    let document = Retry { attempts: 3, initial_ms: 40, ..configured.retry.clone() };
    for (action, document, attempts, waits_ms, timeout_ms) in [
        (&asks, None, 2, 500, 900),
        (&asks, Some((document.clone(), 800)), 3, 40, 800),
        (&own, Some((document, 800)), 4, 3, 700),
    ] {
        let mut spec = about(ReferenceKind::Api, json!([action]));
        let script = std::sync::Arc::get_mut(&mut spec.script).unwrap();
        script.defaults = configured.clone();
        (script.retry, script.timeout_ms) = document.unzip();
        let mut stage = Stage::with(spec);
        stage.proceed(Line::Absent);
        assert_eq!(stage.asked().timeout_ms, timeout_ms);
        stage.fetched(Err(NoReply { class: ErrorClass::Unavailable, message: "m".into() }));
        stage.after_ms(waits_ms - 1);
        assert!(stage.errands().is_empty());
        stage.after_ms(1);
        for _ in 1..attempts {
            assert_eq!(stage.run.over(), None);
            stage.fetched(Err(NoReply { class: ErrorClass::Unavailable, message: "m".into() }));
            stage.after_ms(1000);
        }
        assert_eq!(stage.entry(0)["attempts"], attempts);
        assert_eq!(stage.over().reason, EndReason::Failed);
    }
}

#[test]
fn a_request_is_what_its_parameters_say() {
    let mut spec = about(
        ReferenceKind::Api,
        json!([{"type": "http/request", "name": "r", "with": {
        "url": "http://x/${n}", "query": {"q": "${n}", "l": [1, "b"], "gone": null}, "headers": {"X-A": "${n}"},
        "body": "text ${n}", "method": "PUT", "allow_status": [404]
    }}, {"type": "http/request", "name": "s", "with": {"url": "http://y"}}]),
    );
    spec.variables.insert("n".into(), json!(7));
    let mut stage = Stage::with(spec);
    stage.proceed(Line::Absent);
    let call = stage.asked();
    assert_eq!((call.method, call.endpoint), (Method::Put, Endpoint::Url("http://x/7".into())));
    let pairs = [("q", "7"), ("l", "1"), ("l", "b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(call.query, pairs);
    assert_eq!(call.headers[0], ("X-A".to_owned(), "7".to_owned()));
    assert_eq!(call.headers[1].0, "Idempotency-Key");
    assert_eq!(
        call.body,
        Body::Text { content_type: "text/plain; charset=utf-8".into(), text: "text 7".into() }
    );
    stage.answered(404, json!({"why": "none"}));
    assert_eq!(stage.var("r.status"), 404, "an expected status is an ordinary answer");
    assert!(stage.asked().headers.is_empty(), "asking by GET twice does nothing twice");
}

#[test]
fn an_answer_beyond_32_kib_fails_whether_it_is_kept_or_not_and_an_error_carries_what_was_said() {
    for name in [json!("big"), Value::Null] {
        let mut stage = begun(json!([{"type": "http/request", "name": name, "with": {"url": "http://x"}}]));
        stage.answered(200, json!("x".repeat(33_000)));
        assert_eq!(stage.entry(0)["error"]["class"], "invalid");
    }
    let mut stage = begun(json!([
        {"type": "http/request", "name": "r", "with": {"url": "http://x"}, "on_error": {"goto": "care"}},
        {"id": "care", "type": "variable_set", "with": {"key": "k", "value": "${error.output.body.why}"}}
    ]));
    stage.answered(403, json!({"why": "no credit"}));
    assert_eq!(stage.var("k"), "no credit");
    assert_eq!(stage.over().reason, EndReason::Completed);
}

#[test]
fn fetched_actions_run_before_what_follows_and_bad_ones_say_where() {
    let mut stage = begun(json!([
        {"type": "fetch", "name": "f", "with": {"event_url": "http://x", "variables": true}},
        {"id": "after", "type": "variable_set", "with": {"key": "k", "value": "${k} after"}}
    ]));
    let call = stage.asked();
    assert_eq!(call.method, Method::Post);
    let Body::Json(told) = call.body else { panic!("{:?}", call.body) };
    assert_eq!(told["activeflow_id"], stage.view()["id"]);
    assert_eq!(told["reference_id"], "x");
    let list = r#"[{"type": "variable_set", "option": {"key": "k", "value": "fetched"}}]"#;
    let reply = |text: &str| {
        Ok(HttpReply { status: 200, headers: BTreeMap::new(), body: ReplyBody::Text(text.into()) })
    };
    stage.fetched(reply(list));
    assert_eq!(stage.var("k"), "fetched after");
    assert_eq!(stage.history(), ["fetch:ok", "variable_set:ok", "variable_set:ok"]);
    let ids = |stage: &Stage| stage.entry(1)["id"].clone();
    assert!(ids(&stage).as_str().is_some_and(|id| !id.is_empty()));

    // Only its own actions and those around it are targets; a jump out drops the fetched stack.
    for (list, wrong) in [
        ("[\n {\"type\": \"tlak\"}]", "2:11"),
        ("[{\"type\": \"goto\", \"option\": {\"target_id\": \"nowhere\"}}]", "nowhere"),
        ("{}", "1:1"),
        ("no json", "1:"),
    ] {
        let mut stage = begun(json!([{"type": "fetch", "with": {"event_url": "http://x"}}]));
        stage.fetched(reply(list));
        let error = stage.entry(0)["error"].clone();
        assert_eq!(error["class"], "invalid", "{list}");
        assert!(error["message"].as_str().unwrap().contains(wrong), "{error}");
    }
    let mut stage = begun(json!([
        {"type": "fetch", "with": {"event_url": "http://x"}}, {"type": "stop"}, {"id": "out", "type": "empty"}
    ]));
    stage.fetched(reply(
        r#"[{"type": "goto", "option": {"target_id": "out", "loop_count": 1}}, {"type": "stop"}]"#,
    ));
    assert_eq!(stage.history(), ["fetch:ok", "goto:ok", "empty:ok"]);
    assert_eq!(stage.over().reason, EndReason::Completed);

    let mut stage = begun(json!([{"type": "fetch", "with": {"event_url": "http://x"}}]));
    stage.fetched(Ok(HttpReply {
        status: 201,
        headers: BTreeMap::new(),
        body: ReplyBody::Text("[]".into()),
    }));
    assert_eq!(stage.entry(0)["error"]["class"], "invalid");
}

#[test]
fn messages_go_to_each_destination_once_and_only_the_failed_are_tried_again() {
    let send = json!([{"type": "message_send", "name": "m", "with": {"source": "MG1", "destinations": ["+2", "+3", "+4"], "text": "hi"}}]);
    let to = |stage: &Stage| match stage.asked().body {
        Body::Form(form) => form[0].1.clone(),
        body => panic!("{body:?}"),
    };
    let mut stage = main_run(send.clone());
    assert!(
        matches!(&stage.asked().body, Body::Form(form) if form[1] == ("MessagingServiceSid".into(), "MG1".into()))
    );
    let mut keys = vec![key_of(&stage.errands()[0].1)];
    assert_eq!(to(&stage), "+2");
    stage.answered(201, json!({"sid": "SM2"}));
    assert_eq!(to(&stage), "+3");
    // The process dies while the second is on its way: the first one is not sent again.
    stage.crash().proceed(Line::Absent);
    assert_eq!(to(&stage), "+3");
    keys.push(key_of(&stage.errands()[0].1));
    stage.answered(503, json!("busy"));
    assert_eq!(to(&stage), "+4", "the others still get theirs");
    keys.push(key_of(&stage.errands()[0].1));
    keys.dedup();
    assert_eq!(keys.len(), 3, "each has a key of its own");
    stage.answered(201, json!({"sid": "SM4"}));
    assert!(stage.errands().is_empty());
    stage.crash().proceed(Line::Absent).after_ms(60_000);
    assert_eq!(to(&stage), "+3");
    assert_eq!(key_of(&stage.errands()[0].1), keys[1]);
    stage.answered(201, json!({"sid": "SM3"}));
    assert_eq!(stage.over().reason, EndReason::Completed);
    let sids: Vec<Value> =
        stage.var("m.messages").as_array().unwrap().iter().map(|m| m["sid"].clone()).collect();
    assert_eq!(sids, ["SM2", "SM3", "SM4"]);

    let mut stage = begun(send);
    for status in [201, 400, 201] {
        stage.answered(status, json!({"sid": "SM", "message": "no such number"}));
    }
    let error = &stage.entry(0)["error"];
    assert_eq!((&error["class"], &error["output"]["messages"][1]["to"]), (&json!("rejected"), &json!("+3")));
}

#[test]
fn a_webhook_that_nobody_waits_for_is_owed_and_counts_as_no_wait() {
    // Between two verbs: it is owed at once, and both are in one document.
    let mut stage = Stage::of(json!([
        {"type": "talk", "with": {"text": "a"}},
        {"type": "webhook_send", "name": "w", "with": {"uri": "http://x", "data": {"from": "${call.from}"}}},
        {"type": "talk", "with": {"text": "b"}}
    ]));
    stage.proceed(Line::Asking);
    assert_eq!(stage.did(), "say a, owe Url(\"http://x\"), say b");
    let Some(Op::Owe(delivery)) = stage.ops.get(1).cloned() else { panic!("{:?}", stage.ops) };
    assert_eq!(delivery.call.signed_as, Some(delivery.id.to_string()));
    assert_eq!(stage.var("w.delivery_id"), json!(delivery.id));
    // What waits for an answer holds the caller on the stream.
    let mut stage = Stage::of(json!([
        {"type": "talk", "with": {"text": "a"}},
        {"type": "webhook_send", "with": {"uri": "http://x", "sync": true}},
        {"type": "talk", "with": {"text": "b"}}
    ]));
    stage.proceed(Line::Asking);
    assert_eq!((stage.did().as_str(), &stage.needs), ("say a", &Needs::Stream));
    stage.stream();
    assert_eq!((stage.errands().len(), &stage.needs), (1, &Needs::Stream));
    stage.line = Line::Away;
    stage.answered(200, json!(null));
    stage.proceed(Line::Asking);
    assert_eq!(stage.did(), "say b");

    let again = json!({"type": "goto", "with": {"target_id": "top", "loop_count": -1}});
    let stage = begun(json!([{"id": "top", "type": "webhook_send", "with": {"uri": "http://x"}}, again]));
    assert_eq!(stage.over().reason, EndReason::Limit);
}

#[test]
fn a_secret_is_named_in_facts_and_masked_in_history_and_no_variable_can_name_one() {
    let mut spec = about(
        ReferenceKind::Api,
        json!([{"type": "http/request", "with": {
            "url": "http://x?k=${secret.KEY}&v=${hostile}", "headers": {"Authorization": "Bearer ${secret.KEY}"},
            "body": {"whole": "${secret.KEY}", "hostile": "${hostile}"}
        }}]),
    );
    spec.variables.insert("hostile".into(), json!(format!("${{secret.KEY}}{}", secret::mark("KEY"))));
    let mut stage = Stage::with(spec);
    stage.proceed(Line::Absent);
    stage.crash().proceed(Line::Absent);
    let call = stage.asked();
    let vault = |name: &str| (name == "KEY").then_some(std::borrow::Cow::Borrowed("s3cret"));
    let Endpoint::Url(url) = &call.endpoint else { panic!("{call:?}") };
    let url = secret::resolved(url, vault).unwrap();
    assert!(url.starts_with("http://x?k=s3cret&v=${secret.KEY}"), "{url}");
    assert_eq!(url.matches("s3cret").count(), 1);
    assert_eq!(secret::resolved(&call.headers[0].1, vault).unwrap(), "Bearer s3cret");
    let Body::Json(body) = &call.body else { panic!("{call:?}") };
    let body = secret::resolved_value(body, vault).unwrap();
    assert_eq!(body["whole"], "s3cret");
    assert!(!body["hostile"].as_str().unwrap().contains("s3cret"));
    let shown = &stage.view()["current_action"]["parameters"];
    assert_eq!(shown["headers"]["Authorization"], "Bearer ***");
    assert_eq!(shown["body"]["whole"], "***");
}
