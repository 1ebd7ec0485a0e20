//! Doors for fuzz targets: any bytes may come in, none may make it panic.

use super::action;
use super::check::check_all;
use super::expression::Program;
use super::parse::{Language, parse, parse_list};
use super::script::Script;
use super::substitute::{Substitution, mentions};
use super::vars::Vars;
use super::{Run, RunSpec};
use crate::http::{FetchNo, HttpReply, ReplyBody};
use crate::id::RunId;
use crate::limit::{Limits, VALUE_BYTES_MAX};
use crate::scene::{Event, Line, Op, Posture, Reference, ReferenceKind};
use crate::{Now, Tick};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// Turns of a flow that was fetched; a loop that waits has no end.
const TURNS_MAX: u64 = 40;

/// Reads and checks a document. The first byte chooses its dress: JSON, YAML, or a pushed list.
pub fn fuzz_document(data: &[u8]) {
    let Some((dress, bytes)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    let limits = Limits::default();
    let actions = action::declared();
    let language = Language::new(&actions, action::LATER, &limits);
    match dress % 3 {
        0 => check(&language, "fuzz.json", &text),
        1 => check(&language, "fuzz.yaml", &text),
        _ => _ = parse_list(&language, "fuzz", "seed", &text, &BTreeSet::new()),
    }
}

fn check(language: &Language<'_>, file: &str, text: &str) {
    let parsed = parse(language, file, "fuzz", text);
    assert_eq!(
        parsed.script.is_some(),
        parsed.report.is_ok(),
        "a script without errors, or errors without a script"
    );
    check_all(&[&parsed.spans], &[]);
}

/// Reads an expression and evaluates it, and fills it in as text of a document. What variables hold is nothing but a
/// value, whatever it looks like.
pub fn fuzz_expression(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let vars = variables();
    if let Ok(program) = Program::compile(&text) {
        let (first, second) = (program.evaluate(&vars), program.evaluate(&vars));
        assert_eq!(first, second, "the same expression over the same variables");
    }
    let raw = Value::from(text.as_ref());
    let mut substitution = Substitution::new(&vars);
    let filled = substitution.value(&raw);
    let missing = substitution.missing();
    if text.starts_with('=') {
        return;
    }
    let filled = filled.expect("nothing but an expression can fail");
    assert!(missing.len() <= text.matches("${").count(), "{missing:?}");
    // Another value of the same length in its place, and the text around it stays as it is.
    let mut harmless = variables();
    harmless.set("hostile", Value::from("x".repeat(HOSTILE.len())));
    let plain = Substitution::new(&harmless).value(&raw).expect("nothing but an expression can fail");
    if let (Value::String(filled), Value::String(plain)) = (&filled, &plain) {
        assert_eq!(filled.len(), plain.len(), "a value was expanded: {filled}");
    }
    if filled != plain {
        assert!(mentions(&raw, &["hostile"]), "who reads a variable mentions it");
    }
}

/// Looks like everything that a document could mean.
const HOSTILE: &str = "${n} $${n} =1+1 </Say>${hostile}";

fn variables() -> Vars {
    let mut vars = Vars::default();
    for (name, value) in [
        ("n", json!(3)),
        ("text", json!("zwölf")),
        ("list", json!([1, "a", null, { "k": 2.5 }])),
        ("map", json!({ "a": { "b": true } })),
        ("map.a", json!("flat")),
        ("hostile", json!(HOSTILE)),
    ] {
        vars.set(name, value);
    }
    vars
}

/// What another system answers when it is asked for actions: they are refused with words, or they run, and their facts
/// fold to the same run.
pub fn fuzz_fetched(data: &[u8]) {
    static SCRIPT: OnceLock<Arc<Script>> = OnceLock::new();
    let script = SCRIPT.get_or_init(|| {
        let document = r#"{"tasks": [
            {"name": "more", "type": "fetch", "parameters": {"event_url": "https://x.example"}},
            {"name": "last", "type": "empty"}]}"#;
        let (actions, limits) = (action::declared(), Limits { iterations: 100, ..Limits::default() });
        let language = Language::new(&actions, action::LATER, &limits);
        Arc::new(parse(&language, "fuzz.json", "fuzz", document).script.expect("a workflow"))
    });
    let spec = RunSpec {
        id: RunId(Uuid::from_u128(1)),
        script: script.clone(),
        reference: Reference { kind: ReferenceKind::Api, id: "x".to_owned() },
        variables: Map::new(),
        complete_count: 0,
        parent: None,
        on_complete: None,
        webhook: None,
    };
    let reply = HttpReply {
        status: 200,
        headers: BTreeMap::new(),
        body: ReplyBody::Text(String::from_utf8_lossy(data).into_owned()),
    };
    let mut now = Now { tick: Tick(0), wall_ms: 1_800_000_000_000 };
    let (mut run, mut facts) = Run::begin(now, spec);
    let posture = Posture { line: Line::Absent, local_speech: false };
    let mut asked: Vec<FetchNo> = Vec::new();
    for _ in 0..TURNS_MAX {
        let event = match asked.pop() {
            Some(no) => Event::Fetched { no, outcome: Ok(reply.clone()) },
            None => Event::Due,
        };
        let turn = run.take(now, &posture, event);
        facts.extend(turn.facts);
        asked.extend(turn.ops.into_iter().filter_map(|op| match op {
            Op::Fetch { no, .. } => Some(no),
            _ => None,
        }));
        if run.over().is_some() || (asked.is_empty() && turn.wake_at.is_none()) {
            break;
        }
        if let Some(due) = turn.wake_at.filter(|_| asked.is_empty()) {
            let passed = u64::try_from(due.since(now.tick).as_millis()).unwrap_or(u64::MAX);
            now = Now { tick: due, wall_ms: now.wall_ms.saturating_add(passed) };
        }
    }
    let folded = Run::restore(now, facts.iter()).expect("facts that it wrote itself");
    assert!(folded == run, "the fold is the run");
    for value in run.vars().own().values() {
        assert!(value.to_string().len() <= VALUE_BYTES_MAX);
    }
}
