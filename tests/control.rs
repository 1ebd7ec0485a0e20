//! The control API over real sockets: what a person or a program changes, and what is seen of it afterwards.

mod support;

use std::time::Duration;

use holdline::config::{Config, JournalKind, Role, Secret, Token};
use reqwest::Method;
use serde_json::{Value, json};
use support::crowd::counted;
use support::hosted::Hosted;
use support::until;
use support::wire::{Asker, Caller, Told};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CALL: &str = "CA00000000000000000000000000000001";
const ID: &str = "01920000-0000-7000-8000-000000000001";
const NOBODY: &str = "01920000-0000-7000-8000-0000000000ff";
/// Stories that `GET /v1/dead-letters` reads for one answer.
const READ_FOR_ONE_PAGE: usize = 1_000;

/// Whoever uses the API.
struct Person(Asker);

impl Person {
    fn of(hosted: &Hosted) -> Person {
        Person(Asker::new(&hosted.control(), None))
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> Told {
        self.keyed(method, path, body, None).await
    }

    async fn keyed(&self, method: Method, path: &str, body: Value, key: Option<&str>) -> Told {
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(key.map(|key| ("idempotency-key", key)));
        self.0.send(method, path, &headers, Some(body.to_string())).await
    }

    async fn post(&self, path: &str, body: Value) -> Told {
        self.send(Method::POST, path, body).await
    }

    /// What is begun, and its id.
    async fn begin(&self, body: Value) -> (String, Value) {
        let told = self.post("/v1/activeflows", body).await;
        assert_eq!(told.status, 201, "{}", told.body);
        let view = told.json();
        (view["id"].as_str().unwrap().to_owned(), view)
    }

    async fn run(&self, id: &str) -> Value {
        self.0.get(&format!("/v1/activeflows/{id}")).await.json()
    }

    /// The run, once `holds` of it.
    async fn once(&self, id: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until("an activeflow comes to where it should", async || Some(self.run(id).await).filter(&holds))
            .await
    }

    async fn ended(&self, id: &str) -> Value {
        self.once(id, |run| run["status"] == "ended").await
    }

    async fn blocked(&self, id: &str) -> Value {
        self.once(id, |run| run["current_action"]["type"] == "block").await
    }
}

fn refusal(told: &Told) -> (u16, String) {
    (told.status, told.json()["code"].as_str().unwrap_or_default().to_owned())
}

fn code(status: u16, word: &str) -> (u16, String) {
    (status, word.to_owned())
}

fn set(key: &str, value: &str) -> Value {
    json!({ "type": "variable_set", "parameters": { "key": key, "value": value } })
}

fn in_memory(config: &mut Config) {
    config.journal.kind = JournalKind::Memory;
}

const GREETING: (&str, &str) = (
    "greeting",
    "tasks: [{ type: variable_set, parameters: { key: said, value: 'hello ${who}' } }]\noutputs: [{ name: said, value: '${said}' }]\n",
);

#[tokio::test]
async fn an_activeflow_is_begun_once_under_its_id_and_runs_to_its_end() {
    for kind in [JournalKind::Memory, JournalKind::Sqlite, JournalKind::Sled] {
        let hosted = Hosted::start(&[GREETING], |config| config.journal.kind = kind);
        let person = Person::of(&hosted);
        let body = json!({ "flow_id": "greeting", "id": ID,
            "variables": { "who": "you", "call.sid": "CA9", "Activeflow.id": 1, "voipbin.x": 2 } });
        let told = person.post("/v1/activeflows", body.clone()).await;
        assert_eq!((told.status, told.header("location")), (201, &*format!("/v1/activeflows/{ID}")));
        let view = told.json();
        assert_eq!(
            (&view["id"], &view["flow_id"], &view["reference_type"]),
            (&ID.into(), &"greeting".into(), &"api".into())
        );
        let mut dropped: Vec<&str> =
            view["dropped_variables"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        dropped.sort_unstable();
        assert_eq!(dropped, ["Activeflow.id", "call.sid", "voipbin.x"]);
        let ended = person.ended(ID).await;
        assert_eq!(
            (&ended["end_reason"], &ended["outputs"]["said"]),
            (&"completed".into(), &"hello you".into())
        );
        assert_eq!(refusal(&person.post("/v1/activeflows", body).await), code(409, "already_exists"));
        assert_eq!(person.run(ID).await, ended, "nothing ran twice");
        let list = person.0.get("/v1/activeflows?reference_type=api").await.json();
        assert_eq!(list["result"].as_array().unwrap().len(), 1);

        let (id, view) =
            person.begin(json!({ "actions": [], "reference_type": "campaign", "reference_id": "7" })).await;
        assert_eq!(
            (&view["flow_id"], &view["reference_type"], &view["reference_id"]),
            (&Value::Null, &"campaign".into(), &"7".into())
        );
        assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
        assert_eq!(person.ended(&id).await["end_reason"], "completed");
    }
}

#[tokio::test]
async fn what_makes_no_activeflow_is_refused_and_begins_none() {
    let hosted = Hosted::start(&[GREETING], in_memory);
    let person = Person::of(&hosted);
    let many: serde_json::Map<String, Value> = (0..1001).map(|n| (format!("v{n}"), json!(n))).collect();
    let large: serde_json::Map<String, Value> =
        (0..33).map(|n| (format!("v{n}"), "x".repeat(32_000).into())).collect();
    let table = [
        (json!({}), 400, "invalid_request"),
        (json!({ "flow_id": "greeting", "actions": [] }), 400, "invalid_request"),
        (json!({ "flow_id": "greeting", "flowid": 1 }), 400, "invalid_request"),
        (json!({ "flow_id": "greeting", "id": "x" }), 400, "invalid_request"),
        (json!({ "flow_id": "greeting", "id": "" }), 400, "invalid_request"),
        (json!({ "flow_id": "greeting", "variables": [] }), 400, "invalid_request"),
        (
            json!({ "flow_id": "greeting", "variables": { "a": "x".repeat(32 * 1024) } }),
            400,
            "invalid_request",
        ),
        (json!({ "flow_id": "greeting", "variables": many }), 400, "invalid_request"),
        (json!({ "flow_id": "greeting", "variables": large }), 400, "invalid_request"),
        (json!({ "flow_id": "greeting", "reference_type": "fax" }), 400, "invalid_request"),
        (json!({ "flow_id": "parting" }), 404, "workflow_not_found"),
        (json!({ "flow_id": "greeting", "on_complete_flow_id": "parting" }), 404, "workflow_not_found"),
        (json!({ "actions": [{ "type": "tlak" }] }), 422, "invalid_workflow"),
        (json!({ "actions": {} }), 422, "invalid_workflow"),
        (
            json!({ "actions": [{ "type": "subflow", "parameters": { "workflow": "none" } }] }),
            422,
            "invalid_workflow",
        ),
    ];
    for (body, status, word) in table {
        let shown: String = body.to_string().chars().take(80).collect();
        let told = person.post("/v1/activeflows", body).await;
        assert_eq!(refusal(&told), code(status, word), "{shown}: {}", told.body);
        if status == 422 {
            let error = &told.json()["errors"][0];
            assert!(
                error["line"].is_u64() && error["path"].as_str().unwrap().starts_with("actions"),
                "{error}"
            );
        }
    }
    let garbage = person.0.send(
        Method::POST,
        "/v1/activeflows",
        &[("content-type", "application/json")],
        Some("{".into()),
    );
    assert_eq!(refusal(&garbage.await), code(400, "invalid_request"));
    let form = person.0.post("/v1/activeflows", &[("flow_id", "greeting")]).await;
    assert_eq!(refusal(&form), code(415, "unsupported_media_type"));
    let much = json!({ "flow_id": "x".repeat(3 * 1024 * 1024) });
    assert_eq!(refusal(&person.post("/v1/activeflows", much).await), code(413, "too_large"));
    assert_eq!(person.0.get("/v1/activeflows").await.json()["result"], json!([]));
}

#[tokio::test]
async fn a_block_is_executed_once_and_a_stale_execute_has_no_effect() {
    let hosted = Hosted::start(&[], in_memory);
    let person = Person::of(&hosted);
    let actions = json!([
        { "type": "block", "id": "first" }, set("a", "${pushed}!"), { "type": "block", "id": "second" },
    ]);
    let (id, _) = person.begin(json!({ "actions": actions })).await;
    let path = format!("/v1/activeflows/{id}/execute");
    person.blocked(&id).await;
    let push = json!([set("pushed", "yes")]);
    let refused = [
        (
            format!("/v1/activeflows/{NOBODY}/execute"),
            json!({ "actions": [{ "type": "x" }] }),
            404,
            "activeflow_not_found",
        ),
        (
            path.clone(),
            json!({ "current_action_id": "second", "actions": [{ "type": "x" }] }),
            422,
            "invalid_workflow",
        ),
        (path.clone(), json!({ "current_action_id": "second", "actions": push }), 409, "stale_action"),
        (path.clone(), json!({ "id": 1 }), 400, "invalid_request"),
    ];
    for (path, body, status, word) in refused {
        assert_eq!(refusal(&person.post(&path, body.clone()).await), code(status, word), "{body}");
    }
    assert_eq!(person.run(&id).await["execute_count"], 0);
    let told = person.post(&path, json!({ "current_action_id": "first", "actions": push })).await;
    let view = told.json();
    assert_eq!(
        (told.status, &view["current_action"]["id"], &view["variables"]["a"]),
        (200, &"second".into(), &"yes!".into())
    );
    assert_eq!(
        refusal(&person.post(&path, json!({ "current_action_id": "first" })).await),
        code(409, "stale_action")
    );
    assert_eq!(person.0.send(Method::POST, &path, &[], None).await.status, 200, "a body may be left out");
    assert_eq!(person.ended(&id).await["execute_count"], 2);
    assert_eq!(refusal(&person.post(&path, json!({})).await), code(409, "already_ended"));

    let (id, _) = person
        .begin(json!({ "actions": [{ "type": "sleep", "parameters": { "duration": 600_000 } }] }))
        .await;
    let path = format!("/v1/activeflows/{id}");
    assert_eq!(refusal(&person.post(&format!("{path}/execute"), json!({})).await), code(409, "not_blocked"));
    let pushed = person.post(&format!("{path}/actions"), json!({ "actions": [set("b", "later")] })).await;
    assert_eq!((pushed.status, &pushed.json()["status"]), (200, &"running".into()));
    let interrupt = json!({ "actions": [set("c", "now")], "mode": "interrupt" });
    let cut = person.post(&format!("{path}/actions"), interrupt).await.json();
    assert_eq!(
        (&cut["variables"]["b"], &cut["variables"]["c"], &cut["end_reason"]),
        (&"later".into(), &"now".into(), &"completed".into())
    );
}

#[tokio::test]
async fn the_hundred_and_first_execute_ends_it() {
    let hosted = Hosted::start(&[], in_memory);
    let person = Person::of(&hosted);
    let again = json!({ "type": "goto", "parameters": { "target_id": "b", "loop_count": -1 } });
    let (id, _) = person.begin(json!({ "actions": [{ "type": "block", "id": "b" }, again] })).await;
    let path = format!("/v1/activeflows/{id}/execute");
    for number in 1..=100 {
        let told = person.post(&path, json!({ "current_action_id": "b" })).await;
        assert_eq!((told.status, &told.json()["execute_count"]), (200, &number.into()));
    }
    assert_eq!(refusal(&person.post(&path, json!({})).await), code(409, "limit"));
    assert_eq!(person.run(&id).await["end_reason"], "limit");
    assert_eq!(refusal(&person.post(&path, json!({})).await), code(409, "already_ended"));
}

#[tokio::test]
async fn a_stopped_activeflow_stays_stopped_and_a_forgotten_one_is_gone() {
    for kind in [JournalKind::Memory, JournalKind::Sqlite, JournalKind::Sled] {
        let hosted =
            Hosted::start(&[("waiting", "tasks: [{ type: block }]\n")], |config| config.journal.kind = kind);
        let person = Person::of(&hosted);
        let (id, _) = person.begin(json!({ "flow_id": "waiting" })).await;
        let stop = format!("/v1/activeflows/{id}/stop");
        for _ in 0..2 {
            let told = person.post(&stop, json!({})).await;
            let view = told.json();
            assert_eq!(
                (told.status, &view["status"], &view["end_reason"]),
                (200, &"ended".into(), &"stopped".into())
            );
        }
        assert_eq!(
            refusal(&person.post(&format!("/v1/activeflows/{NOBODY}/stop"), json!({})).await),
            code(404, "activeflow_not_found")
        );

        let calling = json!([{ "type": "subflow", "parameters": { "workflow": "waiting" } }, { "type": "block", "id": "end" }]);
        let (parent, _) = person.begin(json!({ "actions": calling })).await;
        person.once(&parent, |run| run["current_action"]["type"] == "subflow").await;
        let list = person.run(&parent).await;
        let child =
            holdline_core::RunId(uuid::Uuid::parse_str(list["id"].as_str().unwrap()).unwrap()).child(1);
        assert_eq!(person.blocked(&child.to_string()).await["reference_activeflow_id"], parent.as_str());
        let execute = person.post(&format!("/v1/activeflows/{parent}/execute"), json!({})).await;
        assert_eq!(refusal(&execute), code(409, "not_blocked"), "its child is");
        let stopped = person.post(&format!("/v1/activeflows/{child}/stop"), json!({})).await.json();
        assert_eq!(stopped["end_reason"], "stopped");
        assert_eq!(
            person.run(&parent).await["current_action"]["id"],
            "end",
            "a stopped child is a step that is done"
        );

        for gone in [child.to_string(), parent, id] {
            let path = format!("/v1/activeflows/{gone}");
            let told = person.0.send(Method::DELETE, &path, &[], None).await;
            assert_eq!((told.status, told.body.as_str()), (204, ""), "{gone}");
            for method in [Method::GET, Method::DELETE] {
                let told = person.0.send(method, &path, &[], None).await;
                assert_eq!(refusal(&told), code(404, "activeflow_not_found"));
            }
        }
        assert_eq!(person.0.get("/v1/activeflows").await.json()["result"], json!([]));
    }
}

#[tokio::test]
async fn a_failed_activeflow_goes_on_as_a_new_one() {
    let hosted = Hosted::start(&[], |_| ());
    let person = Person::of(&hosted);
    let gate = json!({ "type": "branch", "name": "gate", "parameters": { "variable": "${way}", "target_ids": { "open": "end" } } });
    let actions =
        json!([set("log", "${log}1"), gate, set("log", "${log}2"), { "type": "block", "id": "end" }]);
    let (failed, _) = person.begin(json!({ "actions": actions })).await;
    let old = person.ended(&failed).await;
    assert_eq!((&old["end_reason"], &old["retry_of"]), (&"failed".into(), &Value::Null));
    let path = format!("/v1/activeflows/{failed}/retry");
    let told = person.post(&path, json!({})).await;
    let again = told.json();
    assert_eq!((told.status, &again["retry_of"]), (201, &failed.clone().into()), "{}", told.body);
    let again = person.ended(again["id"].as_str().unwrap()).await;
    let steps: Vec<&Value> =
        again["executed_actions"].as_array().unwrap().iter().map(|step| &step["name"]).collect();
    assert_eq!(
        (&again["end_reason"], &again["variables"]["log"], steps),
        (&"failed".into(), &"1".into(), vec![&"gate".into()])
    );
    let told = person.post(&path, json!({ "from_action": "end" })).await.json();
    let (id, path_of_new) = (
        told["id"].as_str().unwrap().to_owned(),
        format!("/v1/activeflows/{}/retry", told["id"].as_str().unwrap()),
    );
    person.blocked(&id).await;
    assert_eq!(refusal(&person.post(&path_of_new, json!({})).await), code(409, "not_failed"));
    assert_eq!(
        refusal(&person.post(&path, json!({ "from_action": "x" })).await),
        code(400, "invalid_request")
    );
    let mut old = old;
    old["retried_as"] = id.into();
    assert_eq!(person.run(&failed).await, old, "the old one stays as it was, but says what goes on for it");
}

#[tokio::test]
async fn a_stored_workflow_survives_its_server_and_a_running_one_keeps_its_version() {
    let hosted = Hosted::start(&[GREETING], |_| ());
    let person = Person::of(&hosted);
    let put = async |id: &str, media: &str, text: &str| {
        person
            .0
            .send(Method::PUT, &format!("/v1/flows/{id}"), &[("content-type", media)], Some(text.to_owned()))
            .await
    };
    let (json_media, yaml) = ("application/json", "application/yaml");
    let document = json!({ "label": "Waits", "tasks": [{ "type": "block" }, set("version", "1")] });
    let told = put("waits", json_media, &document.to_string()).await;
    let view = told.json();
    assert_eq!(
        (told.status, &view["id"], &view["label"], &view["source"]),
        (200, &"waits".into(), &"Waits".into(), &"api".into()),
        "{}",
        told.body
    );
    assert_eq!((&view["document"], &view["errors"], &view["warnings"]), (&document, &json!([]), &json!([])));
    assert!(view["tm_create"].is_string() && view["tm_update"].is_string());

    let (id, _) = person.begin(json!({ "flow_id": "waits" })).await;
    person.blocked(&id).await;
    let newer = "label: Newer\ntasks: [{ type: subflow, parameters: { workflow: greeting } }]\n";
    assert_eq!(put("waits", yaml, newer).await.json()["document"]["label"], "Newer");
    person.post(&format!("/v1/activeflows/{id}/execute"), json!({})).await;
    assert_eq!(person.ended(&id).await["variables"]["version"], "1");

    let bad = "tasks:\n  - type: tlak\n";
    for (id, media, text, status, word) in [
        ("waits", yaml, bad, 422, "invalid_workflow"),
        ("twilio", yaml, "tasks: []", 422, "invalid_workflow"),
        ("waits", yaml, "id: other\ntasks: []", 400, "invalid_request"),
        ("waits", yaml, "", 400, "invalid_request"),
        ("waits", "text/plain", "tasks: []", 415, "unsupported_media_type"),
        ("greeting", yaml, "tasks: []", 409, "file_flow"),
    ] {
        let told = put(id, media, text).await;
        assert_eq!(refusal(&told), code(status, word), "{text}: {}", told.body);
    }
    let delete = async |id: &str| person.0.send(Method::DELETE, &format!("/v1/flows/{id}"), &[], None).await;
    assert_eq!(refusal(&delete("greeting").await), code(409, "file_flow"));
    assert_eq!(refusal(&delete("none").await), code(404, "workflow_not_found"));

    let check = async |media: &str, text: &str| {
        let told = person
            .0
            .send(Method::POST, "/v1/flows/check", &[("content-type", media)], Some(text.to_owned()))
            .await;
        assert_eq!(told.status, 200, "{}", told.body);
        told.json()
    };
    assert_eq!(
        check(json_media, &document.to_string()).await,
        json!({ "ok": true, "errors": [], "warnings": [] })
    );
    let told = check(yaml, bad).await;
    let error = &told["errors"][0];
    assert_eq!(
        (&told["ok"], &error["line"], &error["column"], &error["path"]),
        (&false.into(), &2.into(), &11.into(), &"tasks[0].type".into())
    );
    assert_eq!((&error["code"], &error["suggestion"]), (&"unknown_type".into(), &"talk".into()));

    let ids = async |query: &str| -> (Vec<String>, Value) {
        let list = person.0.get(&format!("/v1/flows{query}")).await.json();
        let rows = list["result"].as_array().unwrap();
        assert!(rows.iter().all(|row| row.get("document").is_none() && row["errors"].is_array()));
        (
            rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect(),
            list["next_page_token"].clone(),
        )
    };
    assert_eq!(ids("").await, (vec!["waits".to_owned(), "greeting".to_owned()], Value::Null));
    let (first, token) = ids("?page_size=1").await;
    let (second, last) = ids(&format!("?page_size=1&page_token={}", token.as_str().unwrap())).await;
    assert_eq!(
        ([first, second].concat(), last),
        (vec!["waits".to_owned(), "greeting".to_owned()], Value::Null)
    );
    let of_file = person.0.get("/v1/flows/greeting").await.json();
    assert_eq!(
        (&of_file["source"], &of_file["document"]["tasks"][0]["type"]),
        (&"file".into(), &"variable_set".into())
    );

    let hosted = hosted.again(|_| ());
    let person = Person::of(&hosted);
    let back = person.0.get("/v1/flows/waits").await.json();
    assert_eq!((&back["label"], &back["tm_create"]), (&"Newer".into(), &view["tm_create"]));
    assert_eq!(
        person.ended(&person.begin(json!({ "flow_id": "waits" })).await.0).await["end_reason"],
        "completed"
    );
    assert_eq!(person.0.send(Method::DELETE, "/v1/flows/waits", &[], None).await.status, 204);
    assert_eq!(refusal(&person.0.get("/v1/flows/waits").await), code(404, "workflow_not_found"));
    let gone = person.post("/v1/activeflows", json!({ "flow_id": "waits" })).await;
    assert_eq!(refusal(&gone), code(404, "workflow_not_found"));
}

#[tokio::test]
async fn an_activeflow_of_the_api_goes_on_after_a_restart() {
    let hosted = Hosted::start(&[HELD], |_| ());
    let person = Person::of(&hosted);
    let (id, _) = person.begin(json!({ "flow_id": "held", "variables": { "a": 1 } })).await;
    person.post(&format!("/v1/activeflows/{id}/execute"), json!({ "current_action_id": "b" })).await;
    let before = person.run(&id).await;
    let (stopped, _) = person.begin(json!({ "flow_id": "held" })).await;
    person.post(&format!("/v1/activeflows/{stopped}/stop"), json!({})).await;

    let hosted = hosted.again(|_| ());
    let person = Person::of(&hosted);
    assert_eq!(person.run(&id).await, before);
    assert_eq!(person.run(&stopped).await["end_reason"], "stopped");
    let path = format!("/v1/activeflows/{id}/execute");
    assert_eq!(
        refusal(&person.post(&path, json!({ "current_action_id": "b" })).await),
        code(409, "stale_action")
    );
    let told = person.post(&path, json!({ "current_action_id": "c" })).await.json();
    assert_eq!((&told["end_reason"], &told["execute_count"]), (&"completed".into(), &2.into()));
}

const MAIN: (&str, &str) = (
    "main",
    "triggers: [{ type: twilio/inboundCall, name: incoming, parameters: { subWorkflow: held } }]\ntasks: [{ type: variable_set, parameters: { key: after, value: '${incoming.subWorkflowStatus}' } }]\n",
);
const HELD: (&str, &str) = ("held", "tasks: [{ type: block, id: b }, { type: block, id: c }]\n");

#[tokio::test]
async fn a_calls_activeflows_are_commanded_by_their_ids_and_a_main_workflow_takes_its_call_with_it() {
    let hosted = Hosted::start(&[MAIN, HELD], in_memory);
    let (person, network) = (Person::of(&hosted), Asker::new(&hosted.public(), None));
    assert_eq!(network.arrive("main", CALL).await.status, 200);
    let call = person.0.get(&format!("/v1/calls/{CALL}")).await.json();
    let [sub, main] = [0, 1].map(|place| call["activeflows"][place].as_str().unwrap().to_owned());
    let execute =
        person.post(&format!("/v1/activeflows/{sub}/execute"), json!({ "current_action_id": "b" })).await;
    assert_eq!(
        (execute.status, &execute.json()["current_action"]["id"]),
        (200, &"c".into()),
        "{}",
        execute.body
    );
    let path = format!("/v1/activeflows/{main}");
    assert_eq!(person.run(&main).await["current_action"]["name"], "incoming");
    assert_eq!(refusal(&person.post(&format!("{path}/execute"), json!({})).await), code(409, "not_blocked"));
    let stale = json!({ "current_action_id": "b" });
    assert_eq!(refusal(&person.post(&format!("{path}/execute"), stale).await), code(409, "stale_action"));

    let stopped = person.post(&format!("{path}/stop"), json!({})).await;
    assert_eq!((stopped.status, &stopped.json()["end_reason"]), (200, &"stopped".into()));
    assert_eq!(person.run(&sub).await["end_reason"], "stopped");
    let call = person.0.get(&format!("/v1/calls/{CALL}")).await.json();
    assert_eq!((&call["state"], &call["end_reason"]), (&"stopping".into(), &"hangup".into()));
    let fields = [("CallSid", CALL), ("CallStatus", "completed")];
    assert_eq!(network.post("/webhooks/twilio/status", &fields).await.status, 200);
    until("the call has ended", async || {
        let call = person.0.get(&format!("/v1/calls/{CALL}")).await.json();
        (call["state"] == "ended").then_some(())
    })
    .await;
    let main = person.run(&main).await;
    assert_eq!(
        (&main["end_reason"], &main["variables"]["after"]),
        (&"stopped".into(), &Value::Null),
        "it does not go on"
    );
}

#[tokio::test]
async fn a_stopped_sub_workflow_hangs_up_and_its_main_workflow_hears_of_it() {
    let hosted = Hosted::start(&[MAIN, HELD], |config| {
        in_memory(config);
        config.calls.return_grace = Duration::from_millis(50);
    });
    let (person, network) = (Person::of(&hosted), Asker::new(&hosted.public(), None));
    network.arrive("main", CALL).await;
    let call = person.0.get(&format!("/v1/calls/{CALL}")).await.json();
    let [sub, main] = [0, 1].map(|place| call["activeflows"][place].as_str().unwrap().to_owned());
    let stopped = person.post(&format!("/v1/activeflows/{sub}/stop"), json!({})).await.json();
    assert_eq!(stopped["end_reason"], "stopped");
    let main = person.ended(&main).await;
    assert_eq!((&main["end_reason"], &main["variables"]["after"]), (&"completed".into(), &"stopped".into()));
    assert_eq!(person.0.send(Method::DELETE, &format!("/v1/activeflows/{sub}"), &[], None).await.status, 204);
    assert_eq!(person.run(&sub).await["code"], "activeflow_not_found");
    assert_eq!(
        person.0.get(&format!("/v1/calls/{CALL}")).await.json()["end_reason"],
        "hangup",
        "the call is still known"
    );
}

#[tokio::test]
async fn whoever_looks_sees_the_live_calls_with_their_step_and_how_loud_they_are() {
    let hosted = Hosted::start(&[("echoes", "tasks: [{ type: echo, name: mirror }]\n")], in_memory);
    let person = Person::of(&hosted);
    let live = async || person.0.get("/v1/calls?state=live").await.json();
    assert_eq!(live().await["result"], json!([]));
    let mut caller = Caller::begin(&hosted.public(), "echoes", "1").await;
    caller.echo().await;
    let call = live().await["result"][0].clone();
    assert_eq!((&call["sid"], &call["state"]), (&json!(caller.call_sid), &json!("active")));
    assert_eq!(
        (&call["current_action"]["type"], &call["current_action"]["name"]),
        (&json!("echo"), &json!("mirror"))
    );
    let sid = caller.call_sid.clone();
    assert_eq!(call["media"]["levels"], json!({ "heard_dbfs": null, "spoken_dbfs": null }), "nobody looked");
    let loud = until("both sides are loud", async || {
        caller.speak(&[0x80; 160]).await;
        let path = format!("/v1/levels?calls={sid},CA{:032}", 9);
        let levels = person.0.get(&path).await.json()["result"].clone();
        (!levels[0]["spoken_dbfs"].is_null()).then_some(levels)
    });
    assert_eq!(loud.await, json!([{ "sid": sid, "heard_dbfs": 0, "spoken_dbfs": 0 }]));
    caller.hang_up().await;
    let gone = until("it is over", async || Some(live().await["result"] == json!([])).filter(|gone| *gone));
    assert!(gone.await);
    let ended = person.0.get("/v1/calls?state=ended").await.json()["result"][0].clone();
    assert_eq!((&ended["sid"], &ended["current_action"]), (&json!(sid), &json!(null)));
    let many = format!("/v1/levels?calls={}", vec!["CA1"; 51].join(","));
    assert_eq!(refusal(&person.0.get(&many).await), code(400, "invalid_request"));
}

#[tokio::test]
async fn a_live_call_is_spoken_into_interrupted_and_hung_up() {
    let flow = "tasks:\n  - { type: echo }\n  - { type: beep, name: long, parameters: { duration: 10000 } }\n  - { type: block, id: after }\n";
    let hosted = Hosted::start(&[("beeps", flow)], in_memory);
    let (person, network) = (Person::of(&hosted), Asker::new(&hosted.public(), None));
    let ask = async |what: &str, body: Value| person.post(&format!("/v1/calls/{CALL}/{what}"), body).await;
    for what in ["hangup", "interrupt"] {
        assert_eq!(refusal(&ask(what, json!({})).await), code(404, "call_not_found"), "{what}");
    }
    let document = network.arrive("beeps", CALL).await;
    assert_eq!(refusal(&ask("interrupt", json!({})).await), code(409, "not_interruptible"));

    let told = ask("say", json!({ "text": "one <moment>" })).await;
    assert_eq!((told.status, &told.json()["deferred"]), (202, &true.into()), "{}", told.body);
    for wrong in [
        json!({}),
        json!({ "text": "" }),
        json!({ "text": "x".repeat(5000) }),
        json!({ "text": "x", "voice": 1 }),
    ] {
        assert_eq!(refusal(&ask("say", wrong).await), code(400, "invalid_request"));
    }
    let mut caller = Caller {
        asker: network.clone(),
        call_sid: CALL.into(),
        stream_sid: "MZ1".into(),
        socket: network.open(&document.stream_url()).await.unwrap(),
    };
    caller.start().await;
    assert_eq!(
        caller.closed().await,
        Some(1000),
        "only the network can speak: it is sent for the next document"
    );
    let second = network.post("/webhooks/beeps/next?x=1", &[("CallSid", CALL)]).await;
    assert!(second.body.contains("<Say>one &lt;moment&gt;</Say><Connect"), "{}", second.body);
    let again = network.post("/webhooks/beeps/next?x=1", &[("CallSid", CALL)]).await;
    assert_eq!(again.body, second.body);

    let mut caller = Caller {
        socket: network.open(&second.stream_url()).await.unwrap(),
        stream_sid: "MZ2".into(),
        ..caller
    };
    caller.start().await;
    assert_eq!(caller.echo().await, counted(1, 1));
    assert_eq!(ask("interrupt", json!({})).await.status, 200, "the echo ends");
    caller.next_audio().await.unwrap();
    let set = ask("variables", json!({ "vip": true, "call.from": "x" })).await;
    assert_eq!((set.status, &set.json()["dropped_variables"]), (200, &json!(["call.from"])));
    assert_eq!(
        refusal(&ask("variables", json!({ "x": "x".repeat(40_000) })).await),
        code(400, "invalid_request")
    );
    assert_eq!(ask("interrupt", json!({})).await.status, 200);
    let call = person.0.get(&format!("/v1/calls/{CALL}")).await.json();
    let run = person.blocked(call["activeflows"][0].as_str().unwrap()).await;
    let step = &run["executed_actions"][1];
    assert_eq!(
        (&step["outcome"], step["output"]["heard_ms"].is_u64(), &run["variables"]["vip"]),
        (&"interrupted".into(), true, &true.into()),
        "{step}"
    );
    assert_eq!(
        refusal(&ask("interrupt", json!({})).await),
        code(409, "not_interruptible"),
        "a block is not cut"
    );

    let told = ask("hangup", json!({})).await;
    assert_eq!(
        (told.status, &told.json()["deferred"], &told.json()["end_reason"]),
        (200, &false.into(), &"hangup".into()),
        "{}",
        told.body
    );
    assert_eq!(caller.closed().await, Some(1000));
    network.post("/webhooks/twilio/status", &[("CallSid", CALL), ("CallStatus", "completed")]).await;
    until("the call is over", async || {
        (person.0.get(&format!("/v1/calls/{CALL}")).await.json()["state"] == "ended").then_some(())
    })
    .await;
    let timeline = person.0.get(&format!("/v1/calls/{CALL}/timeline")).await.json();
    let events: Vec<&str> =
        timeline["result"].as_array().unwrap().iter().map(|row| row["event"].as_str().unwrap()).collect();
    let expected = [
        "call_arrived",
        "flow_began",
        "document",
        "said",
        "stream_started",
        "stream_ended",
        "returned",
        "document",
        "stream_started",
        "step_began",
        "step",
        "step_began",
        "variables_set",
        "step",
        "step_began",
        "call_ends",
        "stream_ended",
        "flow_over",
        "status",
        "call_over",
    ];
    assert_eq!(events, expected, "{timeline:#}");
    assert_eq!(refusal(&person.0.get("/v1/calls/CA9/timeline").await), code(404, "call_not_found"));
    for what in ["hangup", "interrupt"] {
        assert_eq!(refusal(&ask(what, json!({})).await), code(409, "already_ended"));
    }

    let other = "CA00000000000000000000000000000002";
    let dials = network.post("/webhooks/beeps", &[("CallSid", other)]).await;
    assert_eq!(dials.status, 200);
    let told = person.post(&format!("/v1/calls/{other}/hangup"), json!({})).await;
    assert_eq!((told.status, &told.json()["deferred"]), (202, &true.into()), "the document is under way");
    let next = network.post("/webhooks/beeps/next?x=1", &[("CallSid", other)]).await;
    assert!(next.body.contains("<Hangup"), "{}", next.body);
}

/// Answers one request after the other with these statuses, and with 204 from then on.
async fn receiver(statuses: Vec<u16>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let answering = tokio::spawn(async move {
        let mut statuses = statuses.into_iter();
        while let Ok((mut socket, _)) = listener.accept().await {
            let status = statuses.next().unwrap_or(204);
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            // All of it: a socket that is closed with something unread resets the connection, and the answer is lost.
            let mut request = String::new();
            while !is_whole(&request) {
                let mut part = [0; 4096];
                match socket.read(&mut part).await {
                    Ok(read) if read > 0 => request.push_str(&String::from_utf8_lossy(&part[..read])),
                    _ => break,
                }
            }
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    (url, answering)
}

fn is_whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    body.len() >= length.map_or(0, |(_, length)| length.trim().parse().unwrap())
}

#[tokio::test]
async fn a_dead_letter_is_kept_until_it_is_sent_again() {
    let hosted = Hosted::start(&[], |config| {
        config.events.retry = vec![Duration::from_millis(1)];
        config.http.deny_private = false;
    });
    let person = Person::of(&hosted);
    let (url, receiving) = receiver(vec![500, 500]).await;
    let send = json!({ "type": "webhook_send", "parameters": { "uri": url, "data": "{}" } });
    person.begin(json!({ "actions": [send] })).await;
    let letter = until("nobody took it", async || {
        let list = person.0.get("/v1/dead-letters").await.json();
        list["result"].as_array()?.first().cloned()
    })
    .await;
    assert_eq!((&letter["uri"], &letter["attempts"]), (&url.into(), &2.into()), "{letter}");
    let path = format!("/v1/dead-letters/{}/redrive", letter["id"].as_str().unwrap());
    assert_eq!(person.post(&path, json!({})).await.status, 202);
    until("it was taken", async || {
        let list = person.0.get("/v1/dead-letters").await.json();
        list["result"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    until("it is forgotten", async || (person.post(&path, json!({})).await.status == 404).then_some(()))
        .await;

    let (url, failing) = receiver(vec![500, 500]).await;
    let ask = json!({ "type": "http/request", "name": "ask", "retry": { "attempts": 2, "initial": 0.001 },
        "parameters": { "url": url } });
    let (failed, _) = person.begin(json!({ "actions": [ask] })).await;
    person.ended(&failed).await;
    let letters = person.0.get("/v1/dead-letters").await.json();
    let letter = &letters["result"][0];
    assert_eq!(
        (&letter["kind"], &letter["id"], &letter["action"]["name"]),
        (&"step".into(), &failed.clone().into(), &"ask".into()),
        "{letters}"
    );
    let redrive = format!("/v1/dead-letters/{failed}/redrive");
    let told = person.keyed(Method::POST, &redrive, json!({}), Some("r")).await;
    assert_eq!(told.status, 202, "{}", told.body);
    let retried = told.json()["retried_as"].as_str().unwrap().to_owned();
    assert_eq!(person.ended(&retried).await["end_reason"], "completed");
    let hosted = hosted.again(|config| config.http.deny_private = false);
    let person = Person::of(&hosted);
    let told = person.keyed(Method::POST, &redrive, json!({}), Some("r")).await;
    assert_eq!((told.status, &told.json()["retried_as"]), (202, &retried.into()), "{}", told.body);
    assert_eq!(
        person.0.get("/v1/dead-letters").await.json()["result"],
        json!([]),
        "another one went on with it"
    );
    failing.abort();
    for unknown in [NOBODY, "x", &failed] {
        let told = person.post(&format!("/v1/dead-letters/{unknown}/redrive"), json!({})).await;
        assert_eq!(refusal(&told), code(404, "not_found"));
    }
    receiving.abort();
}

#[tokio::test]
async fn dead_letters_are_found_behind_any_number_of_runs_that_went_well() {
    let hosted = Hosted::start(&[], |config| {
        in_memory(config);
        config.http.deny_private = false;
    });
    let person = Person::of(&hosted);
    // Nobody listens at port 9, and there is no second attempt: that was its last one.
    let ask = json!({ "type": "http/request", "retry": { "attempts": 1 },
        "parameters": { "url": "http://127.0.0.1:9/" } });
    let (failed, _) = person.begin(json!({ "actions": [ask] })).await;
    person.ended(&failed).await;
    let refused = json!({ "type": "variable_set", "parameters": { "key": "x", "value": "=1 / 0" } });
    let (wrong, _) = person.begin(json!({ "actions": [refused] })).await;
    assert_eq!(person.ended(&wrong).await["end_reason"], "failed");
    let mut newest = String::new();
    for _ in 0..READ_FOR_ONE_PAGE {
        newest = person.begin(json!({ "actions": [] })).await.0;
    }
    person.ended(&newest).await;
    let first = person.0.get("/v1/dead-letters").await.json();
    assert_eq!(first["result"], json!([]), "one answer reads so many and no more");
    let token = first["next_page_token"].as_str().expect("there is more to be read");
    let second = person.0.get(&format!("/v1/dead-letters?page_token={token}")).await.json();
    let found: Vec<&Value> = second["result"].as_array().unwrap().iter().map(|row| &row["id"]).collect();
    assert_eq!((found, &second["next_page_token"]), (vec![&json!(failed)], &Value::Null), "{second}");
}

#[tokio::test]
async fn a_drained_server_says_what_is_left_and_takes_no_new_call() {
    let hosted = Hosted::start(&[HELD], in_memory);
    let (person, network) = (Person::of(&hosted), Asker::new(&hosted.public(), None));
    network.arrive("held", CALL).await;
    let left = |draining: bool| json!({ "draining": draining, "calls": 1, "workflows": 0 });
    assert_eq!(person.0.get("/v1/drain").await.json(), left(false));
    for _ in 0..2 {
        let told = person.post("/v1/drain", json!({})).await;
        assert_eq!((told.status, told.json()), (200, left(true)));
    }
    assert_eq!(person.0.get("/v1/drain").await.json(), left(true));
    let refused = network.arrive("held", "CA00000000000000000000000000000002").await;
    assert!(refused.body.contains("<Reject reason=\"busy\""), "{}", refused.body);
}

#[tokio::test]
async fn a_request_with_its_key_again_gets_its_answer_again() {
    let hosted = Hosted::start(&[HELD], in_memory);
    let person = Person::of(&hosted);
    let ask = async |path: &str, body: &Value, key: &str| {
        person.keyed(Method::POST, path, body.clone(), Some(key)).await
    };
    let body = json!({ "flow_id": "held" });
    let (first, twin) =
        futures::join!(ask("/v1/activeflows", &body, "k"), ask("/v1/activeflows", &body, "k"));
    assert_eq!((first.status, &first.body), (201, &twin.body));
    assert_eq!((twin.status, twin.header("location")), (201, first.header("location")));
    let id = first.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(person.0.get("/v1/activeflows").await.json()["result"].as_array().unwrap().len(), 1);
    let other = json!({ "flow_id": "held", "id": ID });
    assert_eq!(refusal(&ask("/v1/activeflows", &other, "k").await), code(422, "idempotency_key_reused"));
    let execute = format!("/v1/activeflows/{id}/execute");
    let refused = ask(&execute, &json!({ "current_action_id": "c" }), "k").await;
    assert_eq!(refusal(&refused), code(409, "stale_action"), "another path, another key");
    let first = ask(&execute, &json!({}), "e").await;
    assert_eq!(ask(&execute, &json!({}), "e").await.body, first.body);
    assert_eq!(person.run(&id).await["current_action"]["id"], "c", "it was executed once");
    let kept = ask(&execute, &json!({ "current_action_id": "c" }), "k").await;
    assert_eq!(
        (refusal(&kept), &kept.body),
        (code(409, "stale_action"), &refused.body),
        "a refusal is kept, too"
    );
    assert_eq!(refusal(&ask(&execute, &json!({}), "").await), code(400, "invalid_request"));
}

#[tokio::test]
async fn a_request_with_its_key_again_has_no_further_effect_also_after_a_restart() {
    let mut hosted = Hosted::start(&[HELD], |_| ());
    let (person, network) = (Person::of(&hosted), Asker::new(&hosted.public(), None));
    let (id, _) = person.begin(json!({ "flow_id": "held" })).await;
    network.arrive("held", CALL).await;
    let of_run = |what: &str| format!("/v1/activeflows/{id}/{what}");
    let of_call = |what: &str| format!("/v1/calls/{CALL}/{what}");
    let pushed = json!({ "actions": [{ "type": "block", "id": "pushed" }] });
    let asked = [
        (of_run("actions"), "p", pushed, 200),
        (of_run("execute"), "e", json!({}), 200),
        (of_call("variables"), "v", json!({ "who": "first" }), 200),
        (of_call("say"), "s", json!({ "text": "one moment" }), 202),
    ];
    for round in 0..3 {
        let person = Person::of(&hosted);
        for (path, key, body, status) in &asked {
            let told = person.keyed(Method::POST, path, body.clone(), Some(key)).await;
            assert_eq!(told.status, *status, "{path} in process {round}: {}", told.body);
            if *status == 202 {
                assert_eq!(told.json()["deferred"], true, "{path} in process {round}");
            }
        }
        let call = person.0.get(&format!("/v1/calls/{CALL}")).await.json();
        let sub = person.run(call["activeflows"][0].as_str().unwrap()).await;
        if round == 0 {
            let told = person.post(&of_call("variables"), json!({ "who": "second" })).await;
            assert_eq!(told.status, 200, "{}", told.body);
        } else {
            assert_eq!(sub["variables"]["who"], "second", "what was set behind it stays");
            // A key that this process has not seen yet.
            let other = [
                (of_run("execute"), json!({ "current_action_id": "x" })),
                (of_call("say"), json!({ "text": "x" })),
            ];
            hosted = hosted.again(|_| ());
            let person = Person::of(&hosted);
            for ((path, body), key) in other.iter().zip(["e", "s"]) {
                let told = person.keyed(Method::POST, path, body.clone(), Some(key)).await;
                assert_eq!(refusal(&told), code(422, "idempotency_key_reused"), "{path}");
            }
        }
        let person = Person::of(&hosted);
        let run = person.run(&id).await;
        assert_eq!(
            (&run["current_action"]["id"], &run["execute_count"]),
            (&"pushed".into(), &1.into()),
            "the first block was executed once, in process {round}"
        );
        let rows = person.0.get(&of_call("timeline")).await.json();
        let said = rows["result"].as_array().unwrap().iter().filter(|row| row["event"] == "said").count();
        assert_eq!(said, 1, "in process {round}");
        hosted = hosted.again(|_| ());
    }

    let person = Person::of(&hosted);
    let told = person.keyed(Method::POST, &of_call("hangup"), json!({}), Some("h")).await;
    assert_eq!((told.status, &told.json()["deferred"]), (202, &true.into()), "{}", told.body);
    for key in ["one", "two"] {
        assert_eq!(person.keyed(Method::POST, &of_run("execute"), json!({}), Some(key)).await.status, 200);
    }
    assert_eq!(person.run(&id).await["status"], "ended", "one block was pushed, and one was left");
    let network = Asker::new(&hosted.public(), None);
    network.post("/webhooks/twilio/status", &[("CallSid", CALL), ("CallStatus", "completed")]).await;
    until("the call is over", async || {
        (person.0.get(&format!("/v1/calls/{CALL}")).await.json()["state"] == "ended").then_some(())
    })
    .await;
    let hosted = hosted.again(|_| ());
    let person = Person::of(&hosted);
    let told = person.keyed(Method::POST, &of_call("hangup"), json!({}), Some("h")).await;
    assert_eq!((told.status, &told.json()["deferred"]), (202, &true.into()), "also when the call is over");
    let told = person.keyed(Method::POST, &of_call("say"), json!({ "text": "one moment" }), Some("s")).await;
    assert_eq!(told.status, 202, "{}", told.body);
    let told = person.keyed(Method::POST, &of_run("execute"), json!({}), Some("two")).await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(refusal(&person.post(&of_run("execute"), json!({})).await), code(409, "already_ended"));
}

#[tokio::test]
async fn the_api_describes_itself_and_each_role_may_do_its_part() {
    let hosted = Hosted::start(&[HELD], |config| {
        in_memory(config);
        let token = |token: &str, role| Token { token: Secret::new(token), role };
        config.control.tokens =
            vec![token("read", Role::Read), token("operate", Role::Operate), token("admin", Role::Admin)];
    });
    let control = Asker::new(&hosted.control(), None);
    let page = control.get("/docs").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(control.get("/openapi.json").await.status, 401);
    let send = async |method: &str, path: &str, token: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        control.send(method.parse().unwrap(), path, &headers, Some("{}".to_owned())).await
    };
    let document = send("GET", "/openapi.json", "read").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/v1/activeflows/{id}/execute") && paths.contains_key("/v1/calls/{call}"));
    for (path, methods) in paths {
        let there = path.replace("{id}", NOBODY).replace("{call}", "CA9").replace("{file}", "f");
        for (method, operation) in methods.as_object().unwrap() {
            let needs = operation["description"].as_str().unwrap();
            let method = method.to_uppercase();
            let allowed: Vec<&str> =
                ["read", "operate", "admin"].into_iter().skip_while(|role| !needs.contains(role)).collect();
            for role in ["read", "operate", "admin"] {
                if role == "admin" && path == "/v1/drain" {
                    continue; // it would
                }
                // The stream of events has a head, and no end.
                let asked = if path == "/v1/events" { "HEAD" } else { &method };
                let told = send(asked, &there, role).await;
                let refused = told.status == 403;
                assert_eq!(refused, !allowed.contains(&role), "{method} {path} by {role}: {}", told.body);
                assert!(!matches!(told.status, 401 | 405 | 500), "{method} {path}: {}", told.body);
            }
        }
        let told = send("PATCH", &there, "admin").await;
        assert_eq!(refusal(&told), code(405, "method_not_allowed"), "{path}");
        let mut allow: Vec<String> =
            told.header("allow").split(", ").map(str::to_lowercase).filter(|word| word != "head").collect();
        allow.sort();
        let mut declared: Vec<String> = methods.as_object().unwrap().keys().cloned().collect();
        declared.sort();
        assert_eq!(allow, declared, "{path}");
    }
}
