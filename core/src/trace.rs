//! What a story was, as the spans of a trace: a trace a call, a span a step, and a link to the main workflow, which has
//! a trace of its own.
//!
//! Made of the facts alone, when all of them are there. Ids derive from the call's or the activeflow's own, so the same
//! facts give the same trace, however often they are read; whoever knows an id finds its trace. Numbers, digits, texts
//! and errors' words are no part of it: what workflows handle stays in the journal.

use crate::call::CallEnd;
use crate::fact::{Entry, Fact, Key, ParentFact};
use crate::flow::history::{self, Outcome};
use crate::flow::run::Run;
use crate::fold::Fold;
use crate::id::{CallId, RunId};
use crate::metric::told;
use crate::notice::NetworkStatus;
use crate::scene::EndReason;
use crate::workflow::run_facts;
use crate::{Now, call::CallState};
use sha2::{Digest, Sha256};

/// Spans of one story; of one that is longer, the beginning is told, and how much is missing.
pub const SPANS_MAX: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub trace: TraceId,
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub name: String,
    pub kind: Kind,
    /// Unix milliseconds.
    pub began_ms: u64,
    pub ended_ms: u64,
    pub attributes: Vec<(&'static str, Value)>,
    pub links: Vec<(TraceId, SpanId)>,
    /// What kind of error it ended in.
    pub error: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Internal,
    Server,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Number(u64),
    Truth(bool),
}

impl TraceId {
    /// A network's id of 32 hexadecimal digits is the trace's own; any other is hashed.
    pub fn of_call(call: &CallId) -> TraceId {
        let hex = call.0.get(2..).filter(|hex| hex.len() == 32 && call.0.is_char_boundary(2));
        let id = hex.and_then(|hex| u128::from_str_radix(hex, 16).ok()).filter(|id| *id != 0);
        TraceId(id.map_or_else(|| hash(&[b"call", call.0.as_bytes()]), u128::to_be_bytes))
    }

    pub fn of_run(run: RunId) -> TraceId {
        TraceId(run.0.into_bytes())
    }
}

impl SpanId {
    fn of(trace: TraceId, what: &str, number: u64) -> SpanId {
        let [first, rest @ ..]: [u8; 8] = hash(&[&trace.0, what.as_bytes(), &number.to_be_bytes()]);
        // All zero would be no id.
        let mut id = [0; 8];
        id[0] = first | 1;
        id[1..].copy_from_slice(&rest);
        SpanId(id)
    }

    fn root(trace: TraceId) -> SpanId {
        SpanId::of(trace, "root", 0)
    }
}

fn hash<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    std::array::from_fn(|at| digest.get(at).copied().unwrap_or(0))
}

/// The spans of a story that is over, the root first; none of one that is nobody's call and no activeflow.
pub fn spans(key: &Key, story: &[Entry]) -> Vec<Span> {
    let last_ms = story.iter().map(|entry| entry.wall_ms).max().unwrap_or(0);
    let mut spans = match key {
        Key::Call(call) => match Fold::of(story).into_call() {
            Some((state, run)) => of_call(call, &state, run.as_ref(), last_ms),
            None => Vec::new(),
        },
        Key::Run(id) => {
            let facts = run_facts(story.iter().map(|entry| &entry.fact));
            match Run::restore(Now::default(), facts) {
                Ok(run) => of_main(*id, &run, story, last_ms),
                Err(_) => Vec::new(),
            }
        }
        Key::Delivery(_) | Key::Placement(_) | Key::Flow(_) => Vec::new(),
    };
    let missing = spans.len().saturating_sub(SPANS_MAX);
    spans.truncate(SPANS_MAX);
    if let Some(root) = spans.first_mut().filter(|_| missing > 0) {
        root.attributes.push(("holdline.spans_missing", Value::Number(missing as u64)));
    }
    spans
}

fn of_call(call: &CallId, state: &CallState, run: Option<&Run>, last_ms: u64) -> Vec<Span> {
    let trace = TraceId::of_call(call);
    let root = SpanId::root(trace);
    let ended_ms = state.ended_ms.unwrap_or(last_ms);
    let end = state.over.or(state.stopping);
    let mut attributes = vec![
        ("holdline.call.sid", Value::Text(call.0.clone())),
        ("holdline.call.direction", Value::Text(state.arrival.direction.clone())),
        ("holdline.call.exchanges", Value::Number(state.exchanges.len() as u64)),
        ("holdline.workflow", Value::Text(state.workflow.0.clone())),
    ];
    attributes.extend(end.map(|end| ("holdline.call.end_reason", word(end.as_str()))));
    attributes.extend(state.status.map(|status| ("holdline.call.status", word(status.as_str()))));
    let failed = matches!(end, Some(CallEnd::Internal | CallEnd::Failed | CallEnd::NoReturn))
        || state.status == Some(NetworkStatus::Failed);
    let main = state.main_run.map(TraceId::of_run);
    let mut spans = vec![Span {
        trace,
        id: root,
        parent: None,
        name: format!("call {}", state.workflow),
        kind: Kind::Server,
        began_ms: state.started_ms,
        ended_ms,
        attributes,
        links: main.map(|main| (main, SpanId::root(main))).into_iter().collect(),
        error: end.filter(|_| failed).map(CallEnd::as_str),
    }];
    for stream in &state.streams {
        spans.push(Span {
            trace,
            id: SpanId::of(trace, "stream", stream.stream),
            parent: Some(root),
            name: "stream".to_owned(),
            kind: Kind::Internal,
            began_ms: stream.started_ms,
            ended_ms: stream.ended_ms.unwrap_or(ended_ms),
            attributes: vec![
                ("holdline.exchange", Value::Number(u64::from(stream.exchange))),
                ("holdline.stream.stopped", Value::Truth(stream.stopped)),
            ],
            links: Vec::new(),
            error: None,
        });
    }
    if let Some(run) = run {
        flow(trace, root, run, ended_ms, &mut spans);
    }
    spans
}

fn of_main(id: RunId, run: &Run, story: &[Entry], last_ms: u64) -> Vec<Span> {
    let trace = TraceId::of_run(id);
    let root = SpanId::root(trace);
    let mut spans = Vec::new();
    let mut own = run_span(trace, root, None, run, last_ms);
    let began_ms = own.began_ms;
    let call = story.iter().find_map(|entry| match &entry.fact {
        Fact::Parent(ParentFact::Waiting { call, .. }) => Some(call),
        _ => None,
    });
    if let Some(call) = call {
        let theirs = TraceId::of_call(call);
        own.links.push((theirs, SpanId::root(theirs)));
        own.attributes.push(("holdline.call.sid", Value::Text(call.0.clone())));
    }
    spans.push(own);
    let call_over = |entry: &&Entry| matches!(entry.fact, Fact::Parent(ParentFact::CallOver { .. }));
    if let (Some(_), Some(over)) = (call, story.iter().find(call_over)) {
        spans.push(Span {
            trace,
            id: SpanId::of(trace, "wait", 0),
            parent: Some(root),
            name: "wait for the call".to_owned(),
            kind: Kind::Internal,
            began_ms,
            ended_ms: over.wall_ms,
            attributes: Vec::new(),
            links: Vec::new(),
            error: None,
        });
    }
    steps(trace, root, run, last_ms, &mut spans);
    spans
}

/// A run inside another story: its own span, and its steps below it.
fn flow(trace: TraceId, parent: SpanId, run: &Run, last_ms: u64, spans: &mut Vec<Span>) {
    let id = SpanId::of(trace, &run.id().to_string(), 0);
    spans.push(run_span(trace, id, Some(parent), run, last_ms));
    steps(trace, id, run, last_ms, spans);
}

fn run_span(trace: TraceId, id: SpanId, parent: Option<SpanId>, run: &Run, last_ms: u64) -> Span {
    let (began_ms, ended_ms) = run.lasted();
    let flow = run.script().id.0.clone();
    let name = if flow.is_empty() { "activeflow".to_owned() } else { format!("activeflow {flow}") };
    let mut attributes = vec![
        ("holdline.activeflow.id", Value::Text(run.id().to_string())),
        ("holdline.workflow", Value::Text(flow)),
    ];
    let reason = run.over().map(|over| over.reason);
    attributes.extend(reason.map(|reason| ("holdline.activeflow.end_reason", word(reason.as_str()))));
    let failed = matches!(reason, Some(EndReason::Failed | EndReason::Limit));
    Span {
        trace,
        id,
        parent,
        name,
        kind: Kind::Internal,
        began_ms,
        ended_ms: ended_ms.unwrap_or(last_ms),
        attributes,
        links: Vec::new(),
        error: reason.filter(|_| failed).map(EndReason::as_str),
    }
}

fn steps(trace: TraceId, parent: SpanId, run: &Run, last_ms: u64, spans: &mut Vec<Span>) {
    let history = run.history();
    let numbers = history.dropped() + 1..;
    for (number, entry) in numbers.zip(history.entries()) {
        spans.push(step(trace, parent, run.id(), number, entry, last_ms));
    }
    for child in run.children() {
        flow(trace, parent, child, last_ms, spans);
    }
}

fn step(
    trace: TraceId,
    parent: SpanId,
    run: RunId,
    number: u64,
    entry: &history::Entry,
    last_ms: u64,
) -> Span {
    let mut attributes = vec![
        ("holdline.action.id", Value::Text(entry.node.id.clone())),
        ("holdline.action.type", Value::Text(entry.node.kind.clone())),
        ("holdline.step", Value::Number(number)),
        ("holdline.step.attempts", Value::Number(u64::from(entry.attempts))),
    ];
    attributes.extend(entry.node.name.clone().map(|name| ("holdline.action.name", Value::Text(name))));
    attributes.extend(entry.outcome.map(|outcome| ("holdline.step.outcome", word(outcome.as_str()))));
    let error = entry.error.as_ref().map(|error| told::class(error.class));
    attributes.extend(error.map(|class| ("error.type", word(class))));
    Span {
        trace,
        id: SpanId::of(trace, &run.to_string(), number),
        parent: Some(parent),
        name: entry.node.kind.clone(),
        kind: Kind::Internal,
        began_ms: entry.started_at,
        ended_ms: entry.ended_at.unwrap_or(last_ms),
        attributes,
        links: Vec::new(),
        error: error.filter(|_| entry.outcome == Some(Outcome::Failed)),
    }
}

fn word(word: &str) -> Value {
    Value::Text(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_network_is_the_trace_s_own_and_any_other_is_hashed() {
        let call = |sid: &str| TraceId::of_call(&CallId(sid.to_owned()));
        assert_eq!(call("CA0190b3c41c2d7e3f8a4b5c6d7e8f9a0b").0[..4], [0x01, 0x90, 0xb3, 0xc4]);
        for other in
            ["CA1", "", "é", "CA00000000000000000000000000000000", "CA+190b3c41c2d7e3f8a4b5c6d7e8f9a0b"]
        {
            assert_ne!(call(other).0, [0; 16], "{other}");
            assert_eq!(call(other), call(other));
        }
        assert_ne!(call("CA1"), call("CA2"));
        assert_ne!(SpanId::of(call("CA1"), "step", 1), SpanId::of(call("CA1"), "step", 2));
    }
}
