//! What the language costs: `cargo bench -p holdline-core --bench language`.
//!
//! Time is the processor's, where the system tells it. What was measured is printed beside what is promised; asserted
//! is twice that, since busy neighbours still take the caches.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a bench reads the clock; nothing of it runs in the house"
)]

use holdline_core::flow::check::check_all;
use holdline_core::flow::parse::{Language, parse};
use holdline_core::flow::script::Script;
use holdline_core::flow::{Run, RunSpec, action};
use holdline_core::limit::Limits;
use holdline_core::scene::{Event, Line, Posture, Reference, ReferenceKind};
use holdline_core::{Now, RunId, Tick};
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn main() {
    // `cargo test --all-targets` runs benches too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let checked = best_of(3, check_a_thousand);
    println!("1,000 documents of 50 actions are checked in {checked:?}; promised: 1 s");
    assert!(checked < Duration::from_secs(2), "{checked:?}");

    let kilobytes = a_hundred_thousand_steps();
    let stepped = best_of(3, || _ = a_hundred_thousand_steps());
    println!("100,000 control steps take {stepped:?}; promised: 100 ms");
    println!("memory of that run after 10,000, 20,000 … steps, in KiB: {kilobytes:?}");
    assert!(stepped < Duration::from_millis(200), "{stepped:?}");

    for (what, action) in PIECES {
        let each = a_kind_of_step(action);
        println!("{what}: {each:?} a step");
    }
}

/// The quickest of some: the others were disturbed.
fn best_of(times: usize, mut what: impl FnMut()) -> Duration {
    let one = |_| {
        let (begun, busy) = (Instant::now(), on_the_processor());
        what();
        match (busy, on_the_processor()) {
            (Some(before), Some(after)) => after - before,
            _ => begun.elapsed(),
        }
    };
    (0..times).map(one).min().unwrap_or_default()
}

/// How long this thread has run.
fn on_the_processor() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn check_a_thousand() {
    let text = fifty_actions();
    let (actions, limits) = (action::declared(), Limits::default());
    let language = Language::new(&actions, action::LATER, &limits);
    let mut spans = Vec::new();
    for number in 0..1000 {
        let id = format!("flow{number}");
        let parsed = parse(&language, &format!("{id}.yaml"), &id, &text);
        assert!(parsed.report.is_ok(), "{}", parsed.report);
        spans.push(parsed.spans);
    }
    let across = check_all(&spans.iter().collect::<Vec<_>>(), &[]);
    assert!(across.is_ok(), "{across}");
}

/// As people write them: prompts, keys, decisions, lists inside lists, requests.
fn fifty_actions() -> String {
    let mut text = String::from("label: Ten times five\ntasks:\n");
    for part in 0..10 {
        let _ = write!(
            text,
            r#"  - type: talk
    name: ask{part}
    parameters: {{ text: "Hello ${{call.from}}, press one for sales", language: en-US, digits_handle: next }}
  - type: digits_receive
    name: key{part}
    parameters: {{ length: 1, duration: 5000 }}
  - type: branch
    parameters:
      target_ids: {{ "1": http{part}, "2": ask{part} }}
      default_target_id: ask{part}
  - type: http/request
    name: http{part}
    parameters:
      url: "https://crm.example.com/people/${{call.from}}"
      method: POST
      body: {{ digits: "${{key{part}.digits}}", at: "=size(key{part}.digits) + {part}" }}
    retry: {{ attempts: 3, initial: 1s }}
    on_error: continue
  - type: condition
    parameters:
      rawExpression: true
      expression: "http{part}.status == 200"
      caseTrue:
        - {{ type: variable_set, parameters: {{ key: found, value: "${{http{part}.body}}" }} }}
"#
        );
    }
    text
}

/// Memory in use, after each ten thousand.
fn a_hundred_thousand_steps() -> Vec<u64> {
    let mut iteratee: Vec<Value> = (0..249)
        .flat_map(|_| {
            [
                json!({ "type": "variable_set", "parameters": { "key": "count", "value": "=count + 1" } }),
                json!({ "type": "condition_variable", "parameters": {
                    "variable": "${count}", "condition": ">=", "value_type": "number", "value_number": 0,
                    "false_target_id": "all" } }),
                json!({ "type": "variable_set", "parameters": { "key": "text", "value": "${count} of ${all.index}" } }),
                json!({ "type": "empty" }),
            ]
        })
        .collect();
    iteratee.push(json!({ "type": "sleep", "parameters": { "duration": 1 } }));
    let document = json!({ "tasks": [
        { "type": "variable_set", "parameters": { "key": "count", "value": 0 } },
        { "type": "loop", "name": "all", "parameters": { "loopForever": true, "iteratee": iteratee } },
    ]});
    let (mut run, mut now) = begin(&document);
    let mut kilobytes = Vec::new();
    let before = resident_kilobytes();
    while run.over().is_none() {
        let turn = run.take(now, &Posture { line: Line::Absent, local_speech: false }, Event::Due);
        if run.extent().steps / 10_000 > kilobytes.len() as u64 {
            kilobytes.push(resident_kilobytes().saturating_sub(before));
        }
        now.tick = turn.wake_at.unwrap_or(now.tick);
    }
    assert!(run.extent().steps >= 100_000, "{:?}", run.over());
    kilobytes
}

/// A name, and a step that does it.
type Piece = (&'static str, fn() -> Value);

/// What each kind of work costs beside the step itself.
const PIECES: &[Piece] = &[
    ("nothing", || json!({ "type": "empty" })),
    ("a value", || json!({ "type": "variable_set", "parameters": { "key": "v", "value": 1 } })),
    (
        "a placeholder",
        || json!({ "type": "variable_set", "parameters": { "key": "v", "value": "a ${w.k[1]} b" } }),
    ),
    (
        "an expression",
        || json!({ "type": "variable_set", "parameters": { "key": "v", "value": "=size(w.k) * 2 + 1" } }),
    ),
    ("a condition", || {
        json!({ "type": "condition", "parameters": { "conditions": [[
            { "type": "string", "value1": "${w.k[1]}", "operation": "STARTS_WITH", "value2": "b" }]],
            "caseTrue": [], "caseFalse": [] } })
    }),
];

fn a_kind_of_step(action: &fn() -> Value) -> Duration {
    const STEPS: u32 = 900;
    const TIMES: u32 = 20;
    let mut tasks =
        vec![json!({ "type": "variable_set", "parameters": { "key": "w", "value": { "k": ["a", "b"] } } })];
    tasks.extend((0..STEPS).map(|_| action()));
    let document = json!({ "tasks": tasks });
    let (fresh, now) = begin(&document);
    let all = best_of(3, || {
        for _ in 0..TIMES {
            let mut run = fresh.clone();
            run.take(now, &Posture { line: Line::Absent, local_speech: false }, Event::Due);
            assert!(run.over().is_some());
        }
    });
    all / (STEPS * TIMES)
}

fn begin(document: &Value) -> (Run, Now) {
    let spec = RunSpec {
        id: RunId(uuid::Uuid::from_u128(1)),
        script: script(document),
        reference: Reference { kind: ReferenceKind::Api, id: "bench".to_owned() },
        variables: Map::new(),
        complete_count: 0,
        parent: None,
        on_complete: None,
        webhook: None,
    };
    let now = Now { tick: Tick(0), wall_ms: 1_800_000_000_000 };
    (Run::begin(now, spec).0, now)
}

fn script(document: &Value) -> Arc<Script> {
    let (actions, limits) = (action::declared(), Limits::default());
    let language = Language::new(&actions, action::LATER, &limits);
    let parsed = parse(&language, "bench.json", "bench", &document.to_string());
    Arc::new(parsed.script.expect("a workflow"))
}

/// Zero where nobody tells.
fn resident_kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
