//! Random workflows, run by the machine and by an interpreter that was written only for this test and shares nothing
//! with it but JSON values: its own `${…}`, its own expressions, its own cursor and stacks. Both must log the same and
//! end the same.
//!
//! `MODEL_PROGRAMS=1000000 cargo test --release -p holdline-core --test model` for more; a difference is printed as a
//! document.

mod dice;
mod interpreter;
mod values;

use dice::{Dice, Program};
use holdline_core::flow::action;
use holdline_core::flow::flows::Flows;
use holdline_core::flow::parse::{Language, parse};
use holdline_core::flow::script::Script;
use holdline_core::flow::{Run, RunSpec};
use holdline_core::limit::Limits;
use holdline_core::scene::{EndReason, Event, Line, Posture, Reference, ReferenceKind};
use holdline_core::{Now, RunId, Tick, WorkflowId};
use interpreter::Model;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

/// What CI has time for.
const PROGRAMS: u64 = 10_000;
/// Low, so that limits are met often.
const ITERATIONS: usize = 60;
const STACKS: usize = 6;
const SUBFLOWS: usize = 3;
/// A loop that waits turns for ever; both sides are ended from outside at this wait.
const WAITS: usize = 20;
/// Steps of one turn. A loop of subflows that end at once turns for ever without a wait: it is not compared.
const STEPS: usize = 5_000;
/// 2027-01-15 08:00 UTC, a Friday.
const WALL_MS: u64 = 1_800_000_000_000;

#[test]
fn a_plain_interpreter_says_the_same() {
    let programs =
        std::env::var_os("MODEL_PROGRAMS").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(PROGRAMS);
    let next = AtomicU64::new(0);
    let counts = thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, |threads| threads.get().min(8));
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(|| compare(&next, programs))).collect();
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        for worker in workers {
            for (what, count) in worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
                *counts.entry(what).or_default() += count;
            }
        }
        counts
    });
    println!("{counts:#?}");
    // A test that never meets an end, an outcome or an action does not test it.
    for reason in ["completed", "stopped", "failed", "limit"] {
        assert!(counts.get(reason).is_some_and(|count| *count > programs / 200), "{reason}: {counts:#?}");
    }
    assert!(counts.get("canceled").is_some_and(|count| *count > programs / 1000), "{counts:#?}");
    for kind in KINDS {
        for outcome in ["ok", "failed"] {
            let step = format!("{kind} {outcome}");
            assert!(counts.get(&step).is_some_and(|count| *count > programs / 1000), "{step}: {counts:#?}");
        }
    }
    assert!(counts.get("endless").is_none_or(|count| *count < programs / 100), "{counts:#?}");
}

const KINDS: &[&str] = &[
    "branch",
    "condition",
    "condition_datetime",
    "condition_variable",
    "fetch_flow",
    "goto",
    "loop",
    "subflow",
    "variable_set",
];

fn compare(next: &AtomicU64, programs: u64) -> BTreeMap<String, u64> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= programs {
            return counts;
        }
        let program = Dice(seed).program();
        let Some(expected) = Model::run(&program) else {
            *counts.entry("endless".to_owned()).or_default() += 1;
            continue;
        };
        let said = machine(&program, seed);
        assert!(
            expected == said,
            "seed {seed}: the interpreter (first) and the machine differ:\n{expected:?}\n{said:?}\n{}\n{}",
            program.document,
            json!(program.flows),
        );
        *counts.entry(expected.reason).or_default() += 1;
        for step in expected.history {
            *counts.entry(step.what).or_default() += 1;
        }
    }
}

/// What came of a program.
#[derive(Debug, PartialEq)]
struct Said {
    reason: String,
    history: Vec<Step>,
    variables: BTreeMap<String, Value>,
    outputs: Value,
}

#[derive(Debug, Clone, PartialEq)]
struct Step {
    /// Type and outcome.
    what: String,
    missing: Vec<String>,
}

/// Workflows by name, read when they are asked for.
#[derive(Debug)]
struct Book(BTreeMap<String, (Value, OnceLock<Arc<Script>>)>);

impl Flows for Book {
    fn find(&self, id: &WorkflowId) -> Option<Arc<Script>> {
        let (document, read) = self.0.get(&id.0)?;
        Some(read.get_or_init(|| script(&id.0, document)).clone())
    }
}

fn script(id: &str, document: &Value) -> Arc<Script> {
    let (actions, limits) = (action::declared(), Limits::default());
    let language = Language::new(&actions, action::LATER, &limits);
    let parsed = parse(&language, "program.json", id, &document.to_string());
    Arc::new(parsed.script.unwrap_or_else(|| panic!("{}\n{document:#}", parsed.report)))
}

fn machine(program: &Program, seed: u64) -> Said {
    let unread = |(id, flow): (&String, &Value)| (id.clone(), (flow.clone(), OnceLock::new()));
    let book = Arc::new(Book(program.flows.iter().map(unread).collect()));
    let spec = RunSpec {
        id: serde_json::from_value::<RunId>(json!("0190b3c4-1c2d-7e3f-8a4b-5c6d7e8f9a0b")).unwrap(),
        script: script("program", &program.document),
        reference: Reference { kind: ReferenceKind::Api, id: "x".into() },
        variables: Map::new(),
        complete_count: 0,
        parent: None,
        on_complete: None,
        webhook: None,
    };
    let mut now = Now { tick: Tick(0), wall_ms: WALL_MS };
    let (mut run, mut facts) = Run::begin(now, spec);
    run.bind(book.clone());
    let posture = Posture { line: Line::Absent, local_speech: false };
    let mut waits = 0;
    loop {
        let end = Event::End { reason: EndReason::Canceled, detail: None };
        let turn = run.take(now, &posture, if waits > WAITS { end } else { Event::Due });
        facts.extend(turn.facts);
        if run.over().is_some() {
            break;
        }
        let due = turn.wake_at.expect("it waits for something");
        // A long turn is cut, and goes on at once.
        waits += usize::from(due > now.tick);
        (now.wall_ms, now.tick) = (now.wall_ms + due.since(now.tick).as_millis() as u64, due);
        // A crash at every wait changes nothing.
        if seed.is_multiple_of(16) {
            run = Run::restore(now, facts.iter()).expect("the facts fold");
            run.bind(book.clone());
        }
    }
    let over = run.over().expect("it ends");
    let view = run.view();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or("?").to_owned();
    let step = |entry: &Value| Step {
        what: format!("{} {}", text(entry, "type"), text(entry, "outcome")),
        missing: serde_json::from_value(entry["missing"].clone()).unwrap(),
    };
    Said {
        reason: over.reason.as_str().to_owned(),
        history: view["executed_actions"].as_array().unwrap().iter().map(step).collect(),
        variables: run.vars().own().iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        outputs: Value::Object(over.outputs.clone()),
    }
}
