//! What is told of what happens: to those who listen, and to those who are owed it.

mod support;

use std::collections::BTreeMap;

use holdline::config::{Config, JournalKind, Role, Secret, Token};
use serde_json::{Value, json};
use support::hosted::{Carrier, Hosted};
use support::listen::{Ear, Heard};
use support::wire::{Asker, Caller};

const STOPS: (&str, &str) = (
    "stops",
    "tasks:\n  - { type: variable_set, parameters: { key: said, value: yes } }\n  - { type: sleep, name: nap, parameters: { duration: 20ms } }\n  - { type: block, name: gate }\noutputs: [{ name: said, value: '${said}' }]\n",
);
const ECHO: (&str, &str) = ("echo", "tasks: [{ type: echo }]\n");
const ANSWERED: (&str, &str) = (
    "answered",
    "triggers: [{ type: twilio/inboundCall, name: incoming, parameters: { subWorkflow: echo } }]\ntasks: []\n",
);

fn in_memory(config: &mut Config) {
    config.journal.kind = JournalKind::Memory;
}

async fn begin(hosted: &Hosted, body: Value) -> String {
    let headers = [("content-type", "application/json")];
    let asker = Asker::new(&hosted.control(), None);
    let told = asker.send(reqwest::Method::POST, "/v1/activeflows", &headers, Some(body.to_string())).await;
    assert_eq!(told.status, 201, "{}", told.body);
    told.json()["id"].as_str().unwrap().to_owned()
}

async fn post(hosted: &Hosted, path: &str) {
    let headers = [("content-type", "application/json")];
    let asker = Asker::new(&hosted.control(), None);
    let told = asker.send(reqwest::Method::POST, path, &headers, None).await;
    assert!((200..300).contains(&told.status), "{path}: {} {}", told.status, told.body);
}

fn types_of(heard: &[Heard], subject: &str) -> Vec<String> {
    heard.iter().filter(|heard| heard.subject() == subject).map(|heard| heard.event.clone()).collect()
}

/// Within a subject the numbers begin at 1 and rise by one; ids of the stream only rise.
fn in_order(heard: &[Heard]) {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for told in heard {
        let before = last.insert(told.subject(), told.sequence()).unwrap_or(0);
        assert_eq!(told.sequence(), before + 1, "{heard:#?}");
    }
    assert!(heard.windows(2).all(|two| two[0].id < two[1].id), "{heard:#?}");
}

#[tokio::test]
async fn an_activeflow_is_told_from_its_beginning_to_its_end_and_a_listener_goes_on_where_it_was() {
    let hosted = Hosted::start(&[STOPS], in_memory);
    let control = hosted.control();
    let mut ear = Ear::open(&control, "", None).await;
    let id = begin(&hosted, json!({ "flow_id": "stops" })).await;
    let mut heard = Vec::new();
    for _ in 0..3 {
        heard.push(ear.next().await.unwrap());
    }
    drop(ear);
    post(&hosted, &format!("/v1/activeflows/{id}/execute")).await;
    // Nobody listens, and nothing is lost.
    let mut ear = Ear::open(&control, "", Some(heard.last().unwrap().id)).await;
    heard.extend(ear.until("activeflow.ended", &id).await);
    let wanted = ["activeflow.created", "activeflow.updated", "activeflow.updated", "activeflow.ended"];
    assert_eq!(types_of(&heard, &id), wanted);
    in_order(&heard);
    let first = &heard[0].data;
    assert_eq!(
        (&first["specversion"], &first["type"], &first["datacontenttype"], &first["data"]["flow_id"]),
        (&json!("1.0"), &json!("activeflow.created"), &json!("application/json"), &json!("stops"))
    );
    assert_eq!(heard[2].data["data"]["current_action"]["name"], "gate");
    let last = &heard[3].data["data"];
    assert_eq!((&last["end_reason"], &last["outputs"]["said"]), (&json!("completed"), &json!("yes")));
    assert!(last.get("variables").is_none() && last.get("executed_actions").is_none());

    // From the first on once more: the same, event by event.
    let mut again = Ear::open(&control, "", Some(heard[0].id)).await;
    assert_eq!(again.until("activeflow.ended", &id).await, heard[1..]);
}

#[tokio::test]
async fn a_call_and_its_activeflows_can_be_heard_alone() {
    let hosted = Hosted::start(&[STOPS, ECHO, ANSWERED], in_memory);
    let (mut all, sid) = (Ear::open(&hosted.control(), "", None).await, "CA");
    let mut caller = Caller::begin(&hosted.public(), "answered", "heard alone").await;
    caller.echo().await;
    let call = caller.call_sid.clone();
    assert!(call.starts_with(sid));
    begin(&hosted, json!({ "flow_id": "stops" })).await;
    let first = all.next().await.unwrap();
    let mut one = Ear::open(&hosted.control(), &format!("?call={call}"), Some(first.id - 1)).await;
    caller.hang_up().await;
    let heard = one.until("call.ended", &call).await;
    in_order(&heard);
    let told = types_of(&heard, &call);
    for kind in [
        "call.arrived",
        "call.document",
        "call.stream_started",
        "call.active",
        "call.stream_ended",
        "call.status",
    ] {
        assert!(told.iter().any(|told| told == kind), "{kind} in {told:?}");
    }
    let ended = &heard.last().unwrap().data["data"];
    assert_eq!(ended["completion"]["callSid"], call.as_str());
    let runs: Vec<&str> = ended["activeflows"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(runs.len(), 2);
    for run in &runs {
        assert_eq!(types_of(&heard, run).first().map(String::as_str), Some("activeflow.created"));
    }
    let subjects: Vec<&str> = heard.iter().map(Heard::subject).collect();
    assert!(subjects.iter().all(|subject| *subject == call || runs.contains(subject)), "{subjects:?}");
    // The main workflow goes on when its call is over.
    let main = runs[0];
    let rest = match types_of(&heard, main).iter().any(|kind| kind == "activeflow.ended") {
        true => Vec::new(),
        false => one.until("activeflow.ended", main).await,
    };
    assert!(rest.iter().all(|told| told.subject() == main), "{rest:#?}");
}

#[tokio::test]
async fn a_listener_from_before_a_restart_is_told_of_the_gap_once() {
    let hosted = Hosted::start(&[STOPS], |_| {});
    let mut ear = Ear::open(&hosted.control(), "", None).await;
    let id = begin(&hosted, json!({ "flow_id": "stops" })).await;
    let mut before = Vec::new();
    for _ in 0..3 {
        before.push(ear.next().await.unwrap());
    }
    let hosted = hosted.again(|_| {});
    assert_eq!(ear.next().await, None, "the stream ends with its house");
    let last = before.last().unwrap();
    let mut ear = Ear::open(&hosted.control(), "", Some(last.id)).await;
    post(&hosted, &format!("/v1/activeflows/{id}/execute")).await;
    let after = ear.until("activeflow.ended", &id).await;
    assert_eq!(after[0].event, "gap");
    assert!(after[0].id > last.id);
    let told: Vec<(&str, u64)> =
        after[1..].iter().map(|told| (told.event.as_str(), told.sequence())).collect();
    assert_eq!(told, [("activeflow.ended", 4)], "its numbers go on, and there is one gap");
    drop(ear);
    let mut ear = Ear::open(&hosted.control(), "", Some(after[0].id)).await;
    assert_eq!(ear.next().await.unwrap(), after[1], "who has heard of the gap goes on behind it");
}

#[tokio::test]
async fn whoever_may_read_may_listen_and_only_so_many_at_once() {
    let hosted = Hosted::start(&[], |config| {
        in_memory(config);
        config.control.tokens = vec![Token { token: Secret::new("look"), role: Role::Read }];
    });
    let control = hosted.control();
    assert_eq!(Ear::ask(&control, "", None).await.status(), 401);
    let asker = Asker::new(&control, None);
    let bearer = ("authorization", "Bearer look");
    let refused = asker.get_with("/v1/events?calls=1", &[bearer]).await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("invalid_request")));
    let refused = asker.get_with("/v1/events", &[bearer, ("last-event-id", "x")]).await;
    assert_eq!(refused.status, 400, "{}", refused.body);
    let head = asker.send(reqwest::Method::HEAD, "/v1/events", &[bearer], None).await;
    assert_eq!((head.status, head.header("content-type")), (200, "text/event-stream"));

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let listen = || client.get(format!("{control}/v1/events")).header(bearer.0, bearer.1).send();
    let mut ears = Vec::new();
    for _ in 0..holdline_actors::feed::LISTENERS_MAX {
        ears.push(listen().await.unwrap());
    }
    assert_eq!(hosted.runtime.feed().listeners(), ears.len());
    let full = listen().await.unwrap();
    assert_eq!((full.status().as_u16(), full.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    drop(ears);
    support::until("their places are free again", async || {
        assert_eq!(asker.get("/health").await.status, 200);
        (hosted.runtime.feed().listeners() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_app_that_embeds_it_closes_with_a_listener_on_the_line() {
    let hosted = Hosted::carried(Carrier::Embedded, &[], in_memory);
    let mut ear = Ear::open(&hosted.control(), "", None).await;
    drop(hosted);
    assert_eq!(ear.next().await, None);
}
