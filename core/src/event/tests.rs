use super::*;
use crate::fact::{CallFact, Entry, Fact, Key, OutboxFact, RunFact};
use crate::flow::action::{LATER, declared};
use crate::flow::again::again;
use crate::flow::parse::{Language, parse};
use crate::flow::run::{Run, RunSpec};
use crate::limit::Limits;
use crate::scene::{Command, Event as Happened, Line, Posture, Reference, ReferenceKind};
use crate::{Now, Tick};
use std::sync::Arc;

const WALL: u64 = 1_800_000_000_000;
const RUN: RunId = RunId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_0001));

/// A story, told step by step.
struct Story {
    run: Run,
    entries: Vec<Entry>,
    now: Now,
}

impl Story {
    fn begin(text: &str, webhook: Option<&str>) -> Story {
        let (declared, limits) = (declared(), Limits::default());
        let language = Language::new(&declared, LATER, &limits);
        let script = Arc::new(parse(&language, "f.yaml", "story", text).script.unwrap());
        let now = Now { tick: Tick(0), wall_ms: WALL };
        let spec = RunSpec {
            id: RUN,
            script,
            reference: Reference { kind: ReferenceKind::Api, id: String::new() },
            variables: Map::new(),
            complete_count: 0,
            parent: None,
            on_complete: None,
            webhook: webhook.map(str::to_owned),
        };
        let (run, facts) = Run::begin(now, spec);
        let mut story = Story { run, entries: Vec::new(), now };
        story.write(facts);
        story.happens(Happened::Proceed);
        story
    }

    fn write(&mut self, facts: Vec<RunFact>) {
        let entry = |fact| Entry { key: Key::Run(RUN), wall_ms: self.now.wall_ms, fact: Fact::Run(fact) };
        self.entries.extend(facts.into_iter().map(entry));
    }

    fn happens(&mut self, event: Happened) {
        let posture = Posture { line: Line::Absent, local_speech: false };
        let turn = self.run.take(self.now, &posture, event);
        self.write(turn.facts);
    }

    fn after(&mut self, millis: u64) {
        self.now = Now {
            tick: Tick::from_millis(self.now.tick.as_millis() + millis),
            wall_ms: self.now.wall_ms + millis,
        };
        self.happens(Happened::Due);
    }

    fn execute(&mut self) {
        let command = Command::Execute { current_action_id: None, actions: None };
        self.happens(Happened::Commanded { run: RUN, command });
    }

    fn facts(&self) -> impl Iterator<Item = &RunFact> {
        self.entries
            .iter()
            .filter_map(|entry| if let Fact::Run(fact) = &entry.fact { Some(fact) } else { None })
    }
}

fn told(entries: &[Entry]) -> Vec<Event> {
    let mut teller = Teller::default();
    entries.iter().flat_map(|entry| teller.tell(entry)).collect()
}

fn kinds(events: &[Event]) -> Vec<&'static str> {
    events.iter().map(|event| event.kind).collect()
}

const WAITS: &str = "
tasks:
  - { type: variable_set, parameters: { key: a, value: '1' } }
  - { type: sleep, name: nap, parameters: { duration: 1s } }
  - { type: block, name: gate }
outputs: [{ name: a, value: '${a}' }]
";

fn waited() -> Story {
    let mut story = Story::begin(WAITS, None);
    story.after(1000);
    story.execute();
    story
}

#[test]
fn an_activeflow_is_created_first_updated_once_a_wait_and_ended_last() {
    let story = waited();
    let events = told(&story.entries);
    let wanted = ["activeflow.created", "activeflow.updated", "activeflow.updated", "activeflow.ended"];
    assert_eq!(kinds(&events), wanted);
    let numbers: Vec<u64> = events.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert!(events.iter().all(|event| TYPES.iter().any(|(kind, _)| *kind == event.kind)));
    assert!(events.iter().all(|event| event.id.get_version_num() == 7 && event.subject == RUN.to_string()));
    assert_eq!(events[1].data["current_action"]["name"], "nap");
    assert_eq!((&events[3].data["status"], &events[3].data["outputs"]["a"]), (&json!("ended"), &json!("1")));

    let envelope: Value = serde_json::from_str(&events[3].envelope("http://house")).unwrap();
    assert_eq!(envelope["specversion"], "1.0");
    assert_eq!((&envelope["source"], &envelope["sequence"]), (&json!("http://house"), &json!("4")));
    assert_eq!(envelope["time"], rfc3339_ms(WALL + 1000));
}

#[test]
fn whoever_begins_to_listen_in_the_middle_hears_the_same_rest() {
    let story = waited();
    let events = told(&story.entries);
    for known in 0..=story.entries.len() {
        let (before, rest) = story.entries.split_at(known);
        let so_far = told(before).len();
        let mut teller = Teller::of(before);
        let heard: Vec<Event> = rest.iter().flat_map(|entry| teller.tell(entry)).collect();
        assert_eq!(heard, events[so_far..], "after {known} facts");
    }
}

#[test]
fn a_retried_run_tells_nothing_of_what_the_failed_one_did() {
    let text =
        "tasks: [{ type: sleep, parameters: { duration: 1s } }]\noutputs: [{ name: x, value: '=nothing' }]\n";
    let mut story = Story::begin(text, None);
    story.after(1000);
    assert_eq!(kinds(&told(&story.entries)).last(), Some(&"activeflow.ended"));
    let id = RUN.child(9);
    let facts = again(story.now, story.facts(), RUN, id, None).unwrap();
    assert!(facts.iter().any(|fact| matches!(fact, RunFact::StepBegan { .. })), "the wait is in its story");
    let entry = |fact| Entry { key: Key::Run(id), wall_ms: WALL, fact: Fact::Run(fact) };
    let again: Vec<Entry> = facts.into_iter().map(entry).collect();
    assert_eq!(kinds(&told(&again)), ["activeflow.created"]);
}

#[test]
fn data_that_is_too_large_says_what_it_left_out() {
    let mut data = Map::new();
    data.insert("id".to_owned(), json!("a"));
    data.insert("outputs".to_owned(), json!("x".repeat(DATA_BYTES_MAX)));
    let bounded = bounded(data);
    assert_eq!(
        (&bounded["id"], &bounded["outputs"], &bounded["left_out"]),
        (&json!("a"), &Value::Null, &json!(["outputs"]))
    );
}

#[test]
fn a_call_is_told_to_its_end_and_keys_stay_secret() {
    let arrived: CallFact = serde_json::from_value(json!({
        "call": "arrived", "workflow": "w", "sub_workflow": "w", "main_run": null, "max_duration_ms": null,
        "sub_run": RUN,
        "arrival": { "call": "CA1", "account": "AC1", "from": format!("+1{}", secret::mark("KEY")), "to": "+2",
            "direction": "inbound", "status": null, "caller_name": null, "forwarded_from": null },
    }))
    .unwrap();
    let facts = [
        arrived,
        CallFact::StreamStarted { stream: 1, exchange: 1, stream_sid: "MZ1".to_owned() },
        CallFact::Digits { digits: "4711".to_owned() },
        CallFact::Over {
            reason: crate::fact::CallEnd::CallerHangup,
            completion: json!({ "callSid": "CA1" }),
        },
        CallFact::Trouble { what: "late".to_owned() },
    ];
    let entry =
        |fact| Entry { key: Key::Call(CallId("CA1".to_owned())), wall_ms: WALL, fact: Fact::Call(fact) };
    let events = told(&facts.map(entry));
    let wanted = ["call.arrived", "call.stream_started", "call.active", "call.digits", "call.ended"];
    assert_eq!(kinds(&events), wanted);
    let all: String = events.iter().map(|event| event.envelope("s")).collect();
    assert!(!all.contains("4711") && !all.contains("KEY"), "{all}");
    assert_eq!(events[0].data["from"], "+1***");
    assert_eq!(events[3].data["count"], 4);
    assert_eq!(events[4].data["completion"]["callSid"], "CA1");
    assert!(events.iter().all(|event| event.call.as_ref().is_some_and(|call| call.0 == "CA1")));
}

fn hear(herald: &mut Herald, batch: &[Entry], gone: bool) -> (Heard, Vec<Entry>) {
    let mut batch = batch.to_vec();
    let heard = herald.hear(&mut batch, false, &|_| gone, &mut |_| None);
    (heard, batch)
}

#[test]
fn what_is_owed_stands_in_the_batch_of_its_cause() {
    let story = waited();
    let ended = Hook::new("https://user:pw@a.example:8443/x?y", vec![Types::read("activeflow.ended")]);
    let all = Hook::new("https://b.example", vec![Types::read("call.*"), Types::read("*")]);
    assert_eq!((ended.host.as_str(), all.host.as_str()), ("a.example:8443", "b.example"));
    let mut herald = Herald::new("s".to_owned(), vec![ended.clone(), all.clone()]);
    let (heard, batch) = hear(&mut herald, &story.entries, false);
    assert_eq!((heard.told.len(), heard.owed.len()), (4, 5));
    let written = &batch[story.entries.len()..];
    for (entry, owed) in written.iter().zip(&heard.owed) {
        assert_eq!(entry.fact, Fact::Outbox(OutboxFact::Owed { delivery: Box::new(owed.clone()) }));
        assert_eq!(entry.key, Key::Delivery(owed.id));
    }
    let ids: std::collections::BTreeSet<_> = heard.owed.iter().map(|owed| owed.id).collect();
    assert_eq!(ids.len(), 5, "each receiver has its own");
    let of_ended: Vec<_> =
        heard.owed.iter().filter(|owed| owed.receiver.as_ref() == Some(&ended.id)).collect();
    assert_eq!(of_ended.len(), 1);
    assert_eq!(
        (of_ended[0].sequence, of_ended[0].call.signed_as.clone()),
        (4, Some(heard.told[3].event.id.to_string()))
    );
    assert_eq!(of_ended[0].call.endpoint.target(), "a.example:8443");

    // The same again, and again when the receivers are gone.
    let (again, _) = hear(&mut Herald::new("s".to_owned(), vec![ended, all]), &story.entries, false);
    assert_eq!(again.owed, heard.owed);
    let (gone, batch) = hear(&mut herald, &story.entries[..1], true);
    assert_eq!((gone.owed.len(), gone.skipped, batch.len()), (0, 1, 1));
}

#[test]
fn an_activeflows_own_receiver_is_owed_its_events_also_after_a_restart() {
    let mut story = Story::begin(WAITS, Some("https://c.example/hook"));
    let mut herald = Herald::new("s".to_owned(), Vec::new());
    let (heard, _) = hear(&mut herald, &story.entries, false);
    assert_eq!(heard.owed.len(), 2);
    let known = story.entries.len();
    story.after(1000);
    story.execute();
    // The next process knows of it by its head alone, and reads it when it goes on.
    let mut next = Herald::new("s".to_owned(), Vec::new());
    next.follow([Key::Run(RUN)]);
    let mut batch = story.entries[known..].to_vec();
    let heard = next.hear(&mut batch, false, &|_| false, &mut |_| Some(story.entries[..known].to_vec()));
    let numbers: Vec<u64> = heard.owed.iter().map(|owed| owed.sequence).collect();
    assert_eq!(numbers, [3, 4]);
    assert_eq!(heard.owed[0].call.endpoint.target(), "https://c.example/hook");
    // Without it nobody is told, and nothing is followed.
    let (none, batch) = hear(&mut Herald::new("s".to_owned(), Vec::new()), &waited().entries, false);
    assert!(none.told.is_empty() && batch.len() == waited().entries.len());
}

#[test]
fn news_of_a_delivery_is_owed_to_nobody() {
    let story = waited();
    let mut herald = Herald::new("s".to_owned(), vec![Hook::new("http://a", vec![Types::All])]);
    let (heard, _) = hear(&mut herald, &story.entries, false);
    let delivery = Box::new(heard.owed[0].clone());
    let key = Key::Delivery(delivery.id);
    let before =
        [Entry { key: key.clone(), wall_ms: WALL, fact: Fact::Outbox(OutboxFact::Owed { delivery }) }];
    let failed = OutboxFact::Failed { at: WALL, attempt: 1, due: WALL + 5000, error: "away".to_owned() };
    let dead = OutboxFact::Dead { at: WALL, attempt: 2, error: "away".to_owned(), gone: false };
    let mut batch: Vec<Entry> = [failed, dead]
        .map(|fact| Entry { key: key.clone(), wall_ms: WALL, fact: Fact::Outbox(fact) })
        .to_vec();
    let heard = herald.hear(&mut batch, true, &|_| false, &mut |_| Some(before.to_vec()));
    assert!(heard.owed.is_empty() && batch.len() == 2);
    let events: Vec<&Event> = heard.told.iter().map(|told| &told.event).collect();
    assert_eq!((events[0].kind, events[1].kind), ("delivery.failed", "delivery.dead"));
    assert_eq!((events[0].sequence, events[1].sequence), (1, 2));
    assert_eq!(
        (&events[0].data["host"], &events[0].data["due"]),
        (&json!("a"), &json!(rfc3339_ms(WALL + 5000)))
    );
}
