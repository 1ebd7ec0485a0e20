//! What was written once must fold for ever. `tests/journal` holds a journal of each version of the facts, byte for byte
//! as it was stored, and what its stories came to.
//!
//! `UPDATE=1 cargo test --test journals` writes today's version anew. That is for a version that no release has
//! written yet; the journals of older ones are never rewritten.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use holdline::adapter::journal::{DiskJournal, StoreKind, export, import};
use holdline_actors::call_registry::fold_call;
use holdline_actors::port::journal::{Journal, Kind};
use holdline_core::fact::{CallFact, Entry, Fact, Key};
use holdline_core::flow::fact::VERSION;
use holdline_core::flow::run::Run;
use holdline_core::fold::Fold;
use holdline_core::workflow::{Workflow, run_facts};
use holdline_core::{CallId, Now, Tick};
use holdline_harness::report::{On, perform_text};
use serde_json::{Value, json};

/// Facts that no story of the pretend network leaves behind by itself; they are only read, not folded.
const RARE: &str = "rare";

#[test]
fn journals_of_every_version_still_fold_into_what_they_came_to() {
    if std::env::var_os("UPDATE").is_some() {
        write(&folder().join(format!("v{VERSION}")));
    }
    for version in 1..=VERSION {
        let path = folder().join(format!("v{version}.bin"));
        let wanted: Vec<Value> =
            serde_json::from_str(&fs::read_to_string(path.with_extension("json")).unwrap()).unwrap();
        for kind in StoreKind::ALL {
            let home = tempfile::tempdir().unwrap();
            import(home.path(), kind, &mut fs::read(&path).unwrap().as_slice()).unwrap();
            let came = stories(home.path(), kind);
            assert_eq!(came.len(), wanted.len(), "{}", path.display());
            for (came, wanted) in came.iter().zip(&wanted) {
                assert_eq!(came, wanted, "a story of {} in {}", path.display(), kind.name());
            }
        }
    }
}

#[test]
fn the_journal_of_this_version_holds_every_fact_that_there_is() {
    let home = tempfile::tempdir().unwrap();
    let copy = fs::read(folder().join(format!("v{VERSION}.bin"))).unwrap();
    import(home.path(), StoreKind::Sqlite, &mut copy.as_slice()).unwrap();
    let journal = DiskJournal::open(home.path(), StoreKind::Sqlite).unwrap();
    let (mut held, mut missing) = (BTreeSet::new(), Vec::new());
    for row in all(&journal) {
        journal.read(&row).unwrap().iter().for_each(|entry| words(&json!(entry.fact), &mut held));
    }
    for (tag, file, name) in [
        ("call", "core/src/call/fact.rs", "CallFact"),
        ("run", "core/src/flow/fact.rs", "RunFact"),
        ("parent", "core/src/workflow/fact.rs", "ParentFact"),
        ("outbox", "core/src/workflow/outbox.rs", "OutboxFact"),
        ("flow", "core/src/flow/stored.rs", "FlowFact"),
        ("outbound", "core/src/outbound.rs", "OutboundFact"),
    ] {
        missing.extend(
            variants(file, name)
                .iter()
                .map(|word| format!("{tag}: {word}"))
                .filter(|fact| !held.contains(fact)),
        );
    }
    assert_eq!(missing, Vec::<String>::new(), "facts without a past can't be trusted with a future");
}

#[test]
fn a_fold_that_goes_on_from_a_snapshot_is_the_fold_of_all_facts() {
    let calls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calls");
    for file in fs::read_dir(&calls).unwrap().map(|file| file.unwrap().path()) {
        if file.extension().is_none_or(|kind| kind != "call") {
            continue;
        }
        let (_, play) = perform_text(&fs::read_to_string(&file).unwrap(), &calls, On::Machine).unwrap();
        let keys: BTreeSet<&Key> = play.written.iter().map(|entry| &entry.key).collect();
        for key in keys {
            let story: Vec<&Entry> = play.written.iter().filter(|entry| entry.key == *key).collect();
            let whole = Fold::of(story.iter().copied());
            for cut in 1..=story.len() {
                let (before, after) = story.split_at(cut);
                let Some(snapshot) = Fold::of(before.iter().copied()).snapshot() else {
                    assert!(matches!(key, Key::Delivery(_)), "{key:?} of {} after {cut}", file.display());
                    continue;
                };
                let mut fold = Fold::from_snapshot(&snapshot).expect("a snapshot of this version");
                after.iter().for_each(|entry| fold.apply(entry));
                assert_eq!(fold, whole, "{key:?} of {}, snapshot after {cut} facts", file.display());
            }
        }
    }
}

#[test]
fn a_snapshot_of_another_version_is_left_aside() {
    assert_eq!(Fold::from_snapshot(b"{\"facts_version\":1,\"state_version\":0}"), None);
    assert_eq!(Fold::from_snapshot(b"no snapshot"), None);
}

/// Performs stories until every kind of fact is there, and keeps what they left.
fn write(path: &Path) {
    fs::create_dir_all(folder()).unwrap();
    let home = tempfile::tempdir().unwrap();
    let mut journal = DiskJournal::open(home.path(), StoreKind::Sqlite).unwrap();
    let mut held = BTreeSet::new();
    let calls = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calls");
    let mut files: Vec<PathBuf> = fs::read_dir(&calls).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut kept: BTreeSet<Key> = BTreeSet::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "call")) {
        let (_, play) = perform_text(&fs::read_to_string(file).unwrap(), &calls, On::Machine).unwrap();
        let mut told = BTreeSet::new();
        play.written.iter().for_each(|entry| words(&json!(entry.fact), &mut told));
        if told.is_subset(&held) {
            continue;
        }
        held.extend(told);
        let written = renamed(&play.written, kept.len());
        let keys: BTreeSet<Key> = written.iter().map(|entry| entry.key.clone()).collect();
        assert!(keys.is_disjoint(&kept), "{} has names of its own", file.display());
        journal.append(&written).unwrap();
        // Some as they are while they go on, some as they are kept.
        keys.iter().step_by(2).for_each(|key| journal.close(key).unwrap());
        kept.extend(keys);
    }
    let rare = Key::Call(CallId(RARE.into()));
    let entry = |fact: Fact| Entry { key: rare.clone(), wall_ms: 1_795_213_032_913, fact };
    journal.append(&rare_facts().into_iter().map(entry).collect::<Vec<Entry>>()).unwrap();
    drop(journal);
    let mut copy = Vec::new();
    export(home.path(), &mut copy).unwrap();
    fs::write(path.with_extension("bin"), copy).unwrap();
    let stories = serde_json::to_string_pretty(&stories(home.path(), StoreKind::Sqlite)).unwrap();
    fs::write(path.with_extension("json"), stories + "\n").unwrap();
}

/// Every story calls its calls and runs the same.
fn renamed(written: &[Entry], number: usize) -> Vec<Entry> {
    let mut text = serde_json::to_string(written).unwrap();
    let mut names = BTreeSet::new();
    for entry in written {
        match &entry.key {
            Key::Call(call) => names.insert(call.0.clone()),
            Key::Run(run) => names.insert(run.to_string()),
            Key::Delivery(delivery) => names.insert(delivery.to_string()),
            Key::Placement(placement) => names.insert(placement.to_string()),
            Key::Flow(_) => false,
        };
        if let Fact::Call(CallFact::Arrived { sub_run, .. }) = &entry.fact {
            names.insert(sub_run.to_string());
        }
    }
    for name in names {
        let (body, _) = name.split_at(name.len() - 3);
        text = text.replace(&name, &format!("{body}{number:03x}"));
    }
    serde_json::from_str(&text).unwrap()
}

fn stories(data: &Path, kind: StoreKind) -> Vec<Value> {
    let journal = DiskJournal::open(data, kind).unwrap();
    let story = |key: &Key| {
        let entries = journal.read(key).unwrap();
        let ended = journal.story(key).unwrap().unwrap().ended_ms;
        json!({ "key": key, "ended_ms": ended, "facts": entries.len(), "came_to": came_to(key, &entries) })
    };
    all(&journal).iter().map(story).collect()
}

fn all(journal: &DiskJournal) -> Vec<Key> {
    let rows =
        [Kind::CallsAndRuns, Kind::Deliveries].map(|kind| journal.list(kind, None, usize::MAX).unwrap());
    rows.into_iter().flatten().map(|row| row.key).collect()
}

fn came_to(key: &Key, entries: &[Entry]) -> Value {
    let facts: Vec<Fact> = entries.iter().map(|entry| entry.fact.clone()).collect();
    let now = Now { tick: Tick(0), wall_ms: entries.last().map_or(0, |entry| entry.wall_ms) };
    match key {
        Key::Call(call) if call.0 == RARE => json!(facts),
        Key::Call(_) => {
            let run =
                Run::restore(now, run_facts(facts.iter())).ok().map(|run| (run.view(), run.children_views()));
            json!({ "call": fold_call(entries).map(|state| state.view()), "run": run })
        }
        Key::Run(_) => json!(Workflow::restore(now, facts.iter()).map(|workflow| workflow.view())),
        Key::Delivery(_) | Key::Placement(_) | Key::Flow(_) => json!(facts),
    }
}

/// The tags of a fact, and of those inside it.
fn words(fact: &Value, held: &mut BTreeSet<String>) {
    for tag in ["call", "run", "parent", "outbox", "flow", "outbound"] {
        held.extend(fact.get(tag).and_then(Value::as_str).map(|word| format!("{tag}: {word}")));
    }
    if let Some(inner) = fact.get("fact") {
        words(inner, held);
    }
}

/// The variants of an enum as they are tagged.
fn variants(file: &str, name: &str) -> Vec<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    let (_, body) = text.split_once(&format!("pub enum {name} {{")).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    let names = body.lines().filter_map(|line| line.strip_prefix("    "));
    let names = names.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    let snake = |name: &str| {
        name.chars().enumerate().fold(String::new(), |mut word, (at, letter)| {
            if letter.is_ascii_uppercase() && at > 0 {
                word.push('_');
            }
            word.push(letter.to_ascii_lowercase());
            word
        })
    };
    let names: Vec<String> = names
        .map(|line| snake(line.split(|letter: char| !letter.is_ascii_alphanumeric()).next().unwrap()))
        .collect();
    assert!(!names.is_empty(), "{file} has an enum {name}");
    names
}

/// What the network's side of a test never causes, spelled as it is stored.
fn rare_facts() -> Vec<Fact> {
    let id = "01a1fb08-fdcf-7206-bc31-a45666147471";
    let at = 1_795_213_032_913_u64;
    let facts = json!([
        { "call": "rejected" },
        { "call": "bound", "key": "voice 1", "exchange": 1 },
        { "call": "child_status", "notice": { "call": "CA2", "parent": "CA1", "status": "completed",
            "raw": "completed", "sequence": 3, "duration_s": 7, "sip_code": "200" } },
        { "call": "stream_news", "notice": { "call": "CA1", "stream": "MZ1", "event": "stream-error",
            "error": "31921" } },
        { "call": "recording_news", "notice": { "call": "CA1", "sid": "RE1", "url": "https://api.example.com/RE1",
            "status": "completed", "seconds": 12 } },
        { "call": "conference_news", "notice": { "call": "CA1", "conference": "CF1", "name": "room",
            "event": "participant-join", "label": "caller", "reason": null, "sequence": 1 } },
        { "call": "trouble", "what": "a document could not be made" },
        { "run": "loop_failed", "at": at, "step": 4, "outcome": "failed",
            "error": { "class": "invalid", "message": "a variable has 40000 bytes" } },
        { "run": "pushed", "at": at, "id": id, "actions": [] },
        { "run": "popped" },
        { "outbox": "owed", "delivery": { "id": id, "lane": "run", "sequence": 1, "owed_at": at, "call": {
            "method": "POST", "endpoint": { "url": "https://hooks.example.com/in" },
            "headers": [["content-type", "application/json"]], "timeout_ms": 30000, "max_bytes": 65536 } } },
        { "outbox": "failed", "at": at, "attempt": 1, "due": at + 5000, "error": "503" },
        { "outbox": "dead", "at": at, "attempt": 6, "error": "410" },
        { "outbox": "redriven", "at": at },
        { "flow": "put", "text": "tasks: []" },
        { "call": "said", "text": "One moment please.", "deferred": true },
        { "call": "obeyed", "at": at, "key": id, "body": id, "deferred": true },
        { "parent": "obeyed", "at": at, "key": id, "body": id },
        { "run": "step_remembers", "memory": { "turn": 2 } },
        { "run": "assigned", "at": at, "sets": [["who", "you"]] },
        { "run": "retried", "at": at, "to": { "on": 1 } },
        { "run": "retried_as", "id": id },
        { "run": "forgotten", "id": id },
        { "outbox": "delivered", "at": at, "attempt": 1, "status": 204 },
        { "outbound": "placing", "placement": { "id": id, "to": "+14155550100", "from": "+14155550199",
            "workflow": "reminder", "variables": { "name": "Ada" }, "timeout_s": 20, "asked_ms": at } },
        { "outbound": "doubted", "why": "the answer was 503" },
        { "outbound": "dialled_again" },
        { "outbound": "placed", "arrival": { "call": "CA1", "account": "AC1", "from": "+14155550199",
            "to": "+14155550100", "direction": "outbound-api", "status": "queued", "caller_name": null,
            "forwarded_from": null } },
        { "outbound": "not_placed", "refused": { "why": "too_many" } },
    ]);
    serde_json::from_value(facts).unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/journal")
}
