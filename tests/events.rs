//! What is told of what happens: to those who listen, and to those who are owed it.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use holdline::config::{AllowedHost, Config, JournalKind, Role, Secret, Token, Webhook};
use serde_json::{Value, json};
use support::hosted::{Carrier, Hosted};
use support::listen::{Ear, Heard};
use support::receiver::{Received, Receiver};
use support::served::Home;
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

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

fn webhook(url: String, secret: Option<&str>, types: &[&str]) -> Webhook {
    let types = types.iter().map(|types| (*types).to_owned()).collect();
    Webhook { url, secret: secret.map(Secret::new), types }
}

/// A server that owes events to a receiver, and tries again at once.
fn owing(receiver: &Receiver, retries: usize) -> impl FnOnce(&mut Config) + use<> {
    let url = receiver.url("/a-secret/events?key=secret");
    move |config: &mut Config| {
        config.events.secret = Some(Secret::new(SECRET));
        config.events.retry = vec![Duration::from_millis(1); retries];
        config.events.webhooks = vec![webhook(url, None, &["activeflow.*"])];
    }
}

fn ended(id: &str) -> impl Fn(&[Received]) -> bool + use<'_> {
    move |received| {
        let is_last = |got: &Received| {
            let (kind, subject, _) = got.told();
            kind == "activeflow.ended" && subject == id && got.answered == 204
        };
        received.iter().any(is_last)
    }
}

/// Of each subject the events came one after the other, and none was passed by a later one.
fn taken_in_order(received: &[Received]) {
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for got in received {
        let (_, subject, number) = got.told();
        let next = last.entry(subject).or_insert(1);
        assert_eq!(number, *next, "{:#?}", received.iter().map(Received::told).collect::<Vec<_>>());
        *next += u64::from(got.answered == 204);
    }
}

async fn dead_letters(hosted: &Hosted, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let asker = Asker::new(&hosted.control(), None);
    support::until("letters are dead", async || {
        let letters = asker.get("/v1/dead-letters").await.json()["result"].as_array().unwrap().clone();
        wanted(&letters).then_some(letters)
    })
    .await
}

#[tokio::test]
async fn receivers_get_what_they_asked_for_signed_and_in_order() {
    let (one, two) = (Receiver::start(), Receiver::start());
    let urls = [one.url("/a"), two.url("/b")];
    let hosted = Hosted::start(&[STOPS, ECHO, ANSWERED], move |config| {
        let [a, b] = urls;
        config.events.secret = Some(Secret::new(SECRET));
        config.events.webhooks = vec![
            webhook(a, None, &["*"]),
            webhook(b, Some(OTHER), &["call.ended", "activeflow.on_complete_refused"]),
        ];
    });
    let mut caller = Caller::begin(&hosted.public(), "answered", "receivers").await;
    caller.echo().await;
    let call = caller.call_sid.clone();
    let id = begin(&hosted, json!({ "flow_id": "stops", "reference_id": "crm-7" })).await;
    let mut ear = Ear::open(&hosted.control(), "", None).await;
    caller.hang_up().await;
    post(&hosted, &format!("/v1/activeflows/{id}/stop")).await;
    let heard = ear.until("activeflow.ended", &id).await;
    let received = one.until("the end of the activeflow", ended(&id));
    taken_in_order(&received);
    let mut ids = std::collections::BTreeSet::new();
    for got in &received {
        let event = got.event();
        assert!(got.is_signed_with(SECRET) && !got.is_signed_with(OTHER), "{got:?}");
        assert_eq!(got.headers["content-type"], "application/cloudevents+json");
        assert_eq!(got.headers["webhook-id"], event["id"].as_str().unwrap());
        assert!(ids.insert(got.headers["webhook-id"].clone()), "once each");
        assert!(!event["type"].as_str().unwrap().starts_with("delivery."));
    }
    let last = received.iter().find(|got| ended(&id)(std::slice::from_ref(*got))).unwrap();
    assert_eq!(last.event(), heard.last().unwrap().data, "listeners and receivers are told the same");
    let received = two.until("the end of the call", |received| !received.is_empty());
    assert_eq!(received[0].told().0, "call.ended");
    assert_eq!(received[0].told().1, call);
    assert!(received[0].is_signed_with(OTHER) && received.len() == 1);
}

#[tokio::test]
async fn a_chain_that_may_not_go_on_is_told_of() {
    let hosted = Hosted::start(&[("again", "on_complete: again\ntasks: [{ type: empty }]\n")], in_memory);
    let mut ear = Ear::open(&hosted.control(), "", None).await;
    begin(&hosted, json!({ "flow_id": "again" })).await;
    let mut begun = 0;
    let refused = loop {
        let event = ear.next().await.unwrap().data;
        match event["type"].as_str() {
            Some("activeflow.created") => begun += 1,
            Some("activeflow.on_complete_refused") => break event["data"].clone(),
            _ => {}
        }
    };
    assert_eq!(
        (begun, &refused["refused_flow_id"], &refused["complete_count"]),
        (5, &json!("again"), &json!(4))
    );
    assert!(refused["end_detail"].as_str().unwrap().contains("on_complete"), "{refused}");
}

#[tokio::test]
async fn a_delivery_that_fails_is_tried_again_before_whatever_follows() {
    let receiver = Receiver::start();
    receiver.answers(&[204, 500, 503, 204, 404]);
    let hosted = Hosted::start(&[STOPS], owing(&receiver, 3));
    let mut ear = Ear::open(&hosted.control(), "", None).await;
    let id = begin(&hosted, json!({ "flow_id": "stops" })).await;
    post(&hosted, &format!("/v1/activeflows/{id}/stop")).await;
    let received = receiver.until("the end", ended(&id));
    taken_in_order(&received);
    let failed = received.iter().filter(|got| got.answered != 204).count();
    assert_eq!(failed, 3);
    let mut news = Vec::new();
    while news.len() < failed {
        news.extend(ear.next().await.filter(|heard| heard.event == "delivery.failed"));
    }
    let attempts: Vec<&Value> = news.iter().map(|heard| &heard.data["data"]["attempt"]).collect();
    assert_eq!(attempts, [1, 2, 1]);
    let data = &news[0].data["data"];
    assert!(data["due"].is_string() && data["error"].as_str().unwrap().contains("500"), "{data}");
    assert!(receiver.url("").ends_with(data["host"].as_str().unwrap()));
    assert_eq!(data["webhook_id"], received[1].headers["webhook-id"].as_str());
    assert!(!news[0].data.to_string().contains("secret"), "{}", news[0].data);
}

#[tokio::test]
async fn what_runs_out_of_attempts_is_a_dead_letter_and_goes_out_again_when_asked_for() {
    let receiver = Receiver::start();
    receiver.always(Some(500));
    let hosted = Hosted::start(&[STOPS], owing(&receiver, 1));
    let mut ear = Ear::open(&hosted.control(), "", None).await;
    let id = begin(&hosted, json!({ "actions": [] })).await;
    let letters = dead_letters(&hosted, |letters| letters.len() == 2).await;
    assert!(letters.iter().all(|letter| letter["attempts"] == 2));
    assert!(!json!(letters).to_string().contains("secret"), "{letters:?}");
    let mut dead = Vec::new();
    while dead.len() < 2 {
        dead.extend(ear.next().await.filter(|heard| heard.event == "delivery.dead"));
    }
    assert!(letters.iter().all(|letter| dead.iter().any(|heard| heard.subject() == letter["id"])));
    let first = receiver.received()[0].headers["webhook-id"].clone();
    receiver.always(None);
    for letter in letters.iter().rev() {
        post(&hosted, &format!("/v1/dead-letters/{}/redrive", letter["id"].as_str().unwrap())).await;
    }
    let received = receiver.until("the end", ended(&id));
    assert!(received.iter().any(|got| got.answered == 204 && got.headers["webhook-id"] == first));
    dead_letters(&hosted, <[Value]>::is_empty).await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_gets_nothing_until_somebody_asks_it_again() {
    let receiver = Receiver::start();
    receiver.always(Some(410));
    let hosted = Hosted::start(&[STOPS], owing(&receiver, 5));
    begin(&hosted, json!({ "actions": [] })).await;
    let gone = |letter: &&Value| letter["attempts"] == 1;
    let letters = dead_letters(&hosted, |letters| letters.iter().any(|letter| gone(&letter))).await;
    let first = letters.iter().find(gone).unwrap()["id"].as_str().unwrap().to_owned();
    assert_eq!(receiver.received().len(), 1, "410 is not tried again, and what waits behind it is not tried");

    // Nothing more is owed to it; also not by the next process.
    let hosted = hosted.again(owing(&receiver, 5));
    begin(&hosted, json!({ "actions": [] })).await;
    let mut ear = Ear::open(&hosted.control(), "", None).await;
    let id = begin(&hosted, json!({ "actions": [] })).await;
    ear.until("activeflow.ended", &id).await;
    assert_eq!(receiver.received().len(), 1);

    receiver.always(None);
    post(&hosted, &format!("/v1/dead-letters/{first}/redrive")).await;
    receiver.until("the letter that was refused", |received| received.len() == 2);
    let id = begin(&hosted, json!({ "actions": [] })).await;
    receiver.until("the end of the one after it", ended(&id));
}

#[tokio::test]
async fn an_activeflow_may_name_a_receiver_of_its_own_which_may_not_be_inside() {
    let receiver = Receiver::start();
    let port = receiver.origin.rsplit(':').next().unwrap().parse().unwrap();
    let hosted = Hosted::start(&[STOPS, ("after", "tasks: []\n")], move |config| {
        in_memory(config);
        config.events.secret = Some(Secret::new(SECRET));
        config.events.retry = Vec::new();
        config.http.allow_hosts = vec![AllowedHost::Host { name: "127.0.0.1".to_owned(), port: Some(port) }];
    });
    let id = begin(
        &hosted,
        json!({ "actions": [], "on_complete_flow_id": "after", "webhook_uri": receiver.url("/own") }),
    )
    .await;
    let other = begin(&hosted, json!({ "actions": [] })).await;
    let of_two =
        |received: &[Received]| received.iter().filter(|got| got.told().0 == "activeflow.ended").count() == 2;
    let received = receiver.until("the ends of it and of what follows on it", of_two);
    taken_in_order(&received);
    assert!(received.iter().all(|got| got.is_signed_with(SECRET) && got.path == "/own"));
    let subjects: Vec<String> = received.iter().map(|got| got.told().1).collect();
    assert!(subjects.contains(&id) && !subjects.contains(&other));

    begin(&hosted, json!({ "actions": [], "webhook_uri": "http://127.0.0.1:1/inside" })).await;
    let letters = dead_letters(&hosted, |letters| letters.len() == 2).await;
    assert!(letters[0]["error"].as_str().unwrap().contains("not a public address"), "{letters:?}");
    let asker = Asker::new(&hosted.control(), None);
    for wrong in ["ftp://x.example", "nothing", "http://"] {
        let body = json!({ "actions": [], "webhook_uri": wrong }).to_string();
        let headers = [("content-type", "application/json")];
        let told = asker.send(reqwest::Method::POST, "/v1/activeflows", &headers, Some(body)).await;
        assert_eq!(told.status, 400, "{wrong}: {}", told.body);
        assert!(told.json()["detail"].as_str().unwrap().starts_with("webhook_uri"));
    }
}

#[tokio::test]
async fn what_is_owed_outlives_a_kill_and_nothing_is_told_twice_under_another_id() {
    let receiver = Receiver::start();
    receiver.always(Some(503));
    let events = format!(
        "[events]\nsecret = \"{SECRET}\"\nretry = [{}\"50ms\"]\nwebhooks = [{{ url = \"{}\" }}]\n",
        "\"50ms\", ".repeat(200),
        receiver.url("/events"),
    );
    let home = Home::new(&[("stops", STOPS.1)], &events);
    let mut served = home.serve();
    let headers = [("content-type", "application/json")];
    let mut ids = Vec::new();
    for _ in 0..5 {
        let asker = Asker::new(&served.control, None);
        let body = Some(json!({ "flow_id": "stops" }).to_string());
        let told = asker.send(reqwest::Method::POST, "/v1/activeflows", &headers, body).await;
        ids.push(told.json()["id"].as_str().unwrap().to_owned());
        served.kill();
        served = home.serve();
    }
    receiver.always(None);
    let asker = Asker::new(&served.control, None);
    for id in &ids {
        let told =
            asker.send(reqwest::Method::POST, &format!("/v1/activeflows/{id}/stop"), &headers, None).await;
        assert_eq!(told.status, 200, "{}", told.body);
    }
    let received = receiver.until("every end", |received| ids.iter().all(|id| ended(id)(received)));
    let mut by_id: BTreeMap<String, String> = BTreeMap::new();
    let mut taken: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for got in received.iter() {
        let known = by_id.entry(got.headers["webhook-id"].clone()).or_insert(got.body.clone());
        assert_eq!(*known, got.body, "the same id, the same event");
        let (_, subject, number) = got.told();
        if got.answered == 204 && !taken.get(&subject).is_some_and(|taken| taken.contains(&number)) {
            taken.entry(subject).or_default().push(number);
        }
    }
    for id in &ids {
        let numbers = &taken[id];
        let wanted: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(*numbers, wanted, "in order, without a gap");
    }
}
