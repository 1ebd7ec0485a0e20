//! A journal's facts as a fuzz target: written by whomever, mangled however, they fold to something or are refused.

use super::inputs::FLOWS;
use super::stage::{Stage, script};
use crate::call::{CallFact, CallState};
use crate::fact::Fact;
use crate::flow::{Run, RunSpec};
use crate::id::RunId;
use crate::notice::LineAnswer;
use crate::scene::{Event, Line, Posture, Reference, ReferenceKind};
use crate::workflow::outbox::{OutboxFact, Row};
use crate::workflow::{Workflow, run_facts};
use crate::{Now, Tick};
use serde_json::{Map, Value, json};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// Every form of a list that is pushed, turned and left, between waits.
const DECISIONS: &str = r#"{"tasks": [
    {"name": "all", "type": "loop", "parameters": {"items": [1, 2], "iteratee": [
        {"type": "sleep", "parameters": {"duration": 10}},
        {"type": "on-error", "parameters": {
            "main-branch": [{"type": "variable_set", "parameters": {"key": "${gone}", "value": 1}}],
            "on-error-branch": [{"type": "variable_set", "parameters": {"key": "v", "value": "${all.item}"}}]}}]}},
    {"name": "again", "type": "empty"},
    {"type": "goto", "parameters": {"target_id": "again", "loop_count": 2}},
    {"type": "condition", "parameters": {"expression": "v == 2", "rawExpression": true,
        "caseTrue": [{"type": "sleep", "parameters": {"duration": 10}}]}},
    {"type": "webhook_send", "parameters": {"uri": "https://x.example", "data": 1}},
    {"type": "http/request", "parameters": {"url": "https://x.example"}, "retry": {"attempts": 2}},
    {"type": "block"}]}"#;
/// Numbers at which counting goes wrong.
const NUMBERS: [u64; 8] = [0, 1, 2, 255, 4_294_967_295, 9_007_199_254_740_993, u64::MAX - 1, u64::MAX];
/// Longer stories only take longer.
const MANGLED_MAX: usize = 60;
/// Turns that a folded run is given.
const TURNS: u64 = 4;

/// The first byte chooses a journal, or none: then the bytes themselves are one, a fact a line. Four bytes each say
/// what is wrong with it.
pub fn fuzz_journal(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    let journals = journals();
    let Some(journal) = journals.get(usize::from(*which)) else {
        let lines = rest.split(|byte| *byte == b'\n').take(MANGLED_MAX);
        return fold(&lines.filter_map(|line| serde_json::from_slice(line).ok()).collect::<Vec<Fact>>());
    };
    let mut facts = journal.clone();
    for wrong in rest.chunks_exact(4).take(MANGLED_MAX) {
        if let [what, at, path, with] = *wrong {
            mangle(&mut facts, what, usize::from(at), path, with);
        }
    }
    fold(&facts.into_iter().filter_map(|fact| serde_json::from_value(fact).ok()).collect::<Vec<Fact>>());
}

/// As the next process does, with whatever it finds.
fn fold(facts: &[Fact]) {
    let now = Now { tick: Tick(0), wall_ms: 1_800_000_000_000 };
    let mut calls = facts.iter().filter_map(|fact| match fact {
        Fact::Call(fact) => Some(fact),
        _ => None,
    });
    if let Some(mut state) = calls.next().and_then(|first: &CallFact| CallState::begin(first, 1)) {
        calls.for_each(|fact| state.apply(fact, 2));
        assert!(state.view().is_object());
    }
    let outbox: Vec<&OutboxFact> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::Outbox(fact) => Some(fact),
            _ => None,
        })
        .collect();
    let _ = Row::fold(outbox);
    if let Some(workflow) = Workflow::restore(now, facts.iter()) {
        assert!(workflow.view().is_object());
    }
    if let Ok(mut run) = Run::restore(now, run_facts(facts.iter())) {
        let posture = Posture { line: Line::Streaming, local_speech: true };
        for turn in 0..TURNS {
            let now = Now { tick: Tick::from_millis(turn * 1000), wall_ms: now.wall_ms + turn * 1000 };
            run.take(now, &posture, Event::Due);
            run.take(now, &posture, Event::Performed { answer: LineAnswer::Returned });
        }
        assert!(run.view().is_object());
    }
}

/// One fact is lost, doubled or moved, or one value in it becomes another.
fn mangle(facts: &mut Vec<Value>, what: u8, at: usize, path: u8, with: u8) {
    if facts.is_empty() {
        return;
    }
    let at = at % facts.len();
    let other = usize::from(path) % facts.len();
    match what % 8 {
        0 => drop(facts.remove(at)),
        1 => facts.insert(other, facts.get(at).cloned().unwrap_or_default()),
        2 => facts.swap(at, other),
        3 => facts.truncate(at + 1),
        _ => {
            let Some(fact) = facts.get_mut(at) else { return };
            let mut left = usize::from(path);
            let count = usize::from(with) % NUMBERS.len();
            let value = match what % 8 {
                4 | 5 => NUMBERS.get(count).copied().map_or(Value::Null, Value::from),
                6 => [
                    json!(""),
                    json!("main"),
                    json!("é".repeat(300)),
                    json!([]),
                    json!({}),
                    json!(-1),
                    json!(1e300),
                    json!(true),
                ]
                .get(count)
                .cloned()
                .unwrap_or_default(),
                _ => Value::Null,
            };
            if let Some(place) = leaf(fact, &mut left) {
                *place = value;
            }
        }
    }
}

/// The value behind so many others.
fn leaf<'v>(value: &'v mut Value, left: &mut usize) -> Option<&'v mut Value> {
    match value {
        Value::Object(map) => map.values_mut().find_map(|inner| leaf(inner, left)),
        Value::Array(list) => list.iter_mut().find_map(|inner| leaf(inner, left)),
        value if *left == 0 => Some(value),
        _ => {
            *left -= 1;
            None
        }
    }
}

/// What healthy processes wrote: a call for each of the flows, and a run that decides much.
fn journals() -> &'static [Vec<Value>] {
    static JOURNALS: OnceLock<Vec<Vec<Value>>> = OnceLock::new();
    JOURNALS.get_or_init(|| {
        let calls = FLOWS.iter().filter_map(|flow| script(flow).ok()).map(|script| {
            let mut stage = Stage::new(script);
            stage.voice(None);
            stage.open(1);
            stage.after_ms(3_000);
            stage.next(Some(1), None);
            stage.to_the_end();
            stage.facts.into_iter().map(|(_, fact)| fact).collect::<Vec<Fact>>()
        });
        calls
            .chain([decided()])
            .map(|facts| facts.iter().filter_map(|fact| serde_json::to_value(fact).ok()).collect())
            .collect()
    })
}

fn decided() -> Vec<Fact> {
    let Ok(script) = script(DECISIONS) else { return Vec::new() };
    let spec = RunSpec {
        id: RunId(Uuid::from_u128(1)),
        script: Arc::new(script),
        reference: Reference { kind: ReferenceKind::Api, id: "x".to_owned() },
        variables: Map::new(),
        complete_count: 0,
        parent: None,
        on_complete: None,
        webhook: None,
    };
    let mut now = Now { tick: Tick(0), wall_ms: 1_700_000_000_000 };
    let (mut run, mut facts) = Run::begin(now, spec);
    let posture = Posture { line: Line::Absent, local_speech: false };
    for _ in 0..10 {
        let turn = run.take(now, &posture, Event::Due);
        facts.extend(turn.facts);
        let Some(due) = turn.wake_at else { break };
        now = Now { tick: due, wall_ms: now.wall_ms + due.since(now.tick).as_millis() as u64 };
    }
    facts.into_iter().map(Fact::Run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_healthy_processes_wrote_folds_as_it_stands() {
        for journal in journals() {
            assert!(journal.len() > 3, "{journal:?}");
            let facts: Vec<Fact> =
                journal.iter().map(|fact| serde_json::from_value(fact.clone()).expect("a fact")).collect();
            assert!(Run::restore(Now::default(), run_facts(facts.iter())).is_ok());
            fold(&facts);
        }
    }
}
