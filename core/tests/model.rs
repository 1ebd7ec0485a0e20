//! Random workflows, run by the machine and by an interpreter that was written only for this test and shares nothing
//! with it but JSON values: its own `${…}`, its own cursor, its own stacks. Both must log the same and end the same.
//!
//! `MODEL_PROGRAMS=1000000 cargo test --release --test model` for more; a difference is printed as a document.

use holdline_core::flow::action;
use holdline_core::flow::parse::{Language, parse};
use holdline_core::flow::{Run, RunSpec};
use holdline_core::limit::Limits;
use holdline_core::scene::{EndReason, Event, Line, Posture, Reference, ReferenceKind};
use holdline_core::{Now, RunId};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What CI has time for: ten seconds, optimised or not.
const PROGRAMS: u64 = if cfg!(debug_assertions) { 2_500 } else { 10_000 };
/// Low, so that limits are met often.
const ITERATIONS: usize = 60;
const STACKS: usize = 6;
/// A loop that waits turns for ever; both sides are ended from outside at this wait.
const WAITS: usize = 20;

#[test]
fn a_plain_interpreter_says_the_same() {
    let programs =
        std::env::var_os("MODEL_PROGRAMS").and_then(|text| text.to_str()?.parse().ok()).unwrap_or(PROGRAMS);
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for seed in 0..programs {
        let program = Dice(seed).program();
        let (expected, said) = (Model::run(&program), machine(&program, seed));
        assert_eq!(
            expected,
            said,
            "seed {seed}: the interpreter (left) and the machine (right) differ; the document:\n{}",
            serde_json::to_string_pretty(&program).unwrap()
        );
        *reasons.entry(expected.reason).or_default() += 1;
    }
    // A test that never meets an end does not test it.
    for reason in ["completed", "stopped", "failed", "limit"] {
        assert!(reasons.get(reason).is_some_and(|count| *count > programs / 200), "{reasons:?}");
    }
}

#[derive(Debug, PartialEq)]
struct Said {
    reason: String,
    /// Type and outcome of every step.
    history: Vec<String>,
    variables: BTreeMap<String, Value>,
}

fn machine(program: &Value, seed: u64) -> Said {
    let (actions, limits) = (action::declared(), Limits::default());
    let language = Language::new(&actions, action::LATER, &limits);
    let parsed = parse(&language, "program.json", "program", &program.to_string());
    let script = parsed.script.unwrap_or_else(|| panic!("seed {seed}: {}\n{program:#}", parsed.report));
    let spec = RunSpec {
        id: serde_json::from_value::<RunId>(json!("0190b3c4-1c2d-7e3f-8a4b-5c6d7e8f9a0b")).unwrap(),
        script: Arc::new(script),
        reference: Reference { kind: ReferenceKind::Api, id: "x".into() },
        variables: Map::new(),
        complete_count: 0,
        parent: None,
        on_complete: None,
    };
    let mut now = Now::default();
    let (mut run, mut facts) = Run::begin(now, spec);
    let posture = Posture { line: Line::Absent, local_speech: false };
    for wait in 0.. {
        let end = Event::End { reason: EndReason::Canceled, detail: None };
        let turn = run.take(now, &posture, if wait > WAITS { end } else { Event::Due });
        facts.extend(turn.facts);
        if run.over().is_some() {
            break;
        }
        let due = turn.wake_at.expect("it waits for something");
        (now.wall_ms, now.tick) = (now.wall_ms + due.since(now.tick).as_millis() as u64, due);
        // A crash at every wait changes nothing.
        if seed.is_multiple_of(16) {
            run = Run::restore(now, facts.iter()).expect("the facts fold");
        }
    }
    let over = run.over().expect("it ends");
    let view = run.view();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or("?").to_owned();
    let entries = view["executed_actions"].as_array().unwrap();
    Said {
        reason: over.reason.as_str().to_owned(),
        history: entries.iter().map(|e| format!("{} {}", text(e, "type"), text(e, "outcome"))).collect(),
        variables: run.vars().own().iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

/// Dice with a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }

    fn program(mut self) -> Value {
        // The first throws of neighbouring seeds are alike.
        self.below(2);
        let mut names = 0;
        let tasks = self.list(0, &mut names, &[], false);
        json!({ "limits": { "iterations": ITERATIONS, "stack_depth": STACKS }, "inputs": [{ "name": "any" }], "tasks": tasks })
    }

    fn list(&mut self, depth: u64, names: &mut u64, around: &[String], in_loop: bool) -> Value {
        let count = self.below(if depth == 0 { 7 } else { 4 });
        let own: Vec<String> = (0..count).map(|n| format!("s{}", *names + n)).collect();
        *names += count;
        let targets: Vec<String> = own.iter().chain(around).cloned().collect();
        let actions = own.iter().map(|name| self.action(name, depth, names, &targets, in_loop)).collect();
        Value::Array(actions)
    }

    fn value(&mut self) -> Value {
        match self.below(9) {
            0 => json!(self.below(4)),
            1 => json!(self.pick(&["a", "1", "true", "", "$${v}", "$=1"])),
            2 => json!(["${v}", { "k": "${w:-none}" }]),
            3 => json!("${v}"),
            4 => json!("x${v}${gone}y"),
            5 => json!("${w.k}${v[0]}"),
            6 => json!("${v:-f}"),
            7 => json!(true),
            _ => json!("=1 + 2"),
        }
    }

    fn action(
        &mut self,
        name: &str,
        depth: u64,
        names: &mut u64,
        targets: &[String],
        in_loop: bool,
    ) -> Value {
        let target = targets[self.below(targets.len() as u64) as usize].clone();
        let nested = if depth < 3 { 14 } else { 9 };
        let (kind, with) = match self.below(nested) {
            0..=2 => (
                "variable_set",
                json!({ "key": self.pick(&["v", "w", "u", "error"]), "value": self.value() }),
            ),
            3 => ("goto", json!({ "target_id": target, "loop_count": self.below(4) as i64 - 1 })),
            4 => {
                let mut with = json!({ "variable": "v", "target_ids": { "1": target, "a": targets[0] } });
                if self.below(2) == 0 {
                    with["default_target_id"] = json!(target);
                }
                ("branch", with)
            }
            5 => {
                let operator = self.pick(&["==", "!=", "<", ">="]);
                let mut with = json!({ "variable": "${v}", "condition": operator, "value_type": "string", "value_string": "a" });
                if self.below(2) == 0 {
                    with["value_type"] = json!("number");
                    with["value_number"] = json!(1);
                }
                with["false_target_id"] = json!(target);
                ("condition_variable", with)
            }
            6 => ("sleep", json!({ "duration": 5 })),
            7 if in_loop => ("loopBreak", json!({})),
            7 | 8 => (self.pick(&["empty", "empty", "empty", "stop"]), json!({})),
            9 => {
                let terms = json!([[{ "type": "string", "value1": "${v}", "operation": self.pick(&["EQUALS", "NOT_EMPTY"]), "value2": "a" }]]);
                let lists = [
                    self.list(depth + 1, names, targets, in_loop),
                    self.list(depth + 1, names, targets, in_loop),
                ];
                ("condition", json!({ "conditions": terms, "caseTrue": lists[0], "caseFalse": lists[1] }))
            }
            10 => {
                let tasks = self.list(depth + 1, names, targets, in_loop);
                let default = self.list(depth + 1, names, targets, in_loop);
                let cases = json!([{ "key": 1, "tasks": tasks }, { "key": "a", "value": "case" }]);
                ("branch", json!({ "expression": "${v}", "cases": cases, "default": default }))
            }
            11 | 12 => {
                let iteratee = self.list(depth + 1, names, targets, true);
                let mut with = json!({ "iteratee": iteratee });
                match self.below(4) {
                    0 => with["loopForever"] = json!(true),
                    1 => with["items"] = json!("${v}"),
                    _ => with["items"] = json!([1, "a", null]),
                }
                ("loop", with)
            }
            _ => {
                let main = self.list(depth + 1, names, targets, in_loop);
                let second = self.list(depth + 1, names, targets, in_loop);
                ("on-error", json!({ "main-branch": main, "on-error-branch": second }))
            }
        };
        let mut action = json!({ "type": kind, "name": name, "parameters": with.clone() });
        match self.below(12) {
            0 => action["when"] = json!("${v}"),
            // After a push it would leave targets of the pushed list out of reach.
            1 if !["condition", "loop", "on-error"].contains(&kind) && with.get("cases").is_none() => {
                action["next"] = json!(target);
            }
            2 => action["on_error"] = json!("continue"),
            3 => action["on_error"] = json!({ "goto": target }),
            _ => {}
        }
        action
    }
}

/// The interpreter.
#[derive(Default)]
struct Model {
    vars: BTreeMap<String, Value>,
    history: Vec<(String, String)>,
    frames: Vec<Level>,
    error: Value,
    in_a_row: usize,
    waits: usize,
}

struct Level {
    actions: Vec<Value>,
    at: usize,
    jumps: BTreeMap<usize, i64>,
    /// Name, items, turn.
    turning: Option<(String, Option<Vec<Value>>, usize)>,
    guard: Option<Value>,
}

enum Next {
    On,
    Jump(String),
    Fail,
    End(&'static str),
    Push(Level, Vec<(String, Value)>),
    Break,
}

impl Model {
    fn run(program: &Value) -> Said {
        let mut model = Model { frames: vec![level(&program["tasks"])], ..Model::default() };
        let reason = model.go().to_owned();
        let history = model.history.iter().map(|(kind, outcome)| format!("{kind} {outcome}")).collect();
        Said { reason, history, variables: model.vars }
    }

    fn go(&mut self) -> &'static str {
        loop {
            let top = self.frames.len() - 1;
            let level = &self.frames[top];
            let Some(action) = level.actions.get(level.at).cloned() else {
                if let Some((name, items, turn)) = level.turning.clone() {
                    let more = items.as_ref().is_none_or(|items| turn + 1 < items.len());
                    if more && self.in_a_row >= ITERATIONS {
                        return "limit";
                    }
                    if more {
                        let level = &mut self.frames[top];
                        level.at = 0;
                        level.jumps.clear();
                        level.turning = Some((name.clone(), items.clone(), turn + 1));
                        self.begin_turn(&name, items.as_ref(), turn + 1);
                    } else {
                        self.frames.pop();
                        self.end_loop(&name, turn + 1);
                    }
                } else if top > 0 {
                    self.frames.pop();
                } else {
                    return "completed";
                }
                continue;
            };
            let kind = action["type"].as_str().unwrap().to_owned();
            let skipped = !action["when"].is_null() && {
                let when = self.fill(&action["when"]);
                !(when == json!(true) || when == json!("true"))
            };
            if kind == "sleep" && !skipped {
                self.in_a_row = 0;
                self.waits += 1;
                if self.waits > WAITS + 1 {
                    unreachable!("it was ended before");
                }
                if self.waits == WAITS + 1 {
                    self.history.push((kind, "interrupted".into()));
                    return "canceled";
                }
            } else if self.in_a_row >= ITERATIONS {
                return "limit";
            } else {
                self.in_a_row += 1;
            }
            if skipped {
                self.history.push((kind, "skipped".into()));
                self.follow(top, &action);
                continue;
            }
            let at = self.history.len();
            self.history.push((kind.clone(), "ok".into()));
            match self.perform(&kind, &action, top) {
                Next::On => self.follow(top, &action),
                Next::Jump(target) => assert!(self.jump(top, &target)),
                Next::End(reason) => return reason,
                Next::Break => {
                    let Some(found) = self.frames.iter().rposition(|level| level.turning.is_some()) else {
                        unreachable!()
                    };
                    self.drop_to(found + 1);
                    let (name, _, turn) = self.frames.pop().unwrap().turning.unwrap();
                    self.end_loop(&name, turn + 1);
                }
                Next::Push(level, sets) => {
                    if self.frames.len() >= STACKS {
                        return "limit";
                    }
                    self.follow(top, &action);
                    let turning = level.turning.clone();
                    self.frames.push(level);
                    assert!(sets.is_empty());
                    if let Some((name, items, turn)) = turning {
                        self.begin_turn(&name, items.as_ref(), turn);
                    }
                }
                Next::Fail => {
                    self.history[at].1 = "failed".into();
                    if action["on_error"] == "continue" {
                        self.follow(top, &action);
                    } else if let Some(target) = action["on_error"]["goto"].as_str() {
                        self.note(&action);
                        assert!(self.jump(top, target));
                    } else if let Some(found) = self.frames.iter().rposition(|level| level.guard.is_some()) {
                        self.note(&action);
                        self.drop_to(found + 1);
                        let second = self.frames.pop().unwrap().guard.unwrap();
                        self.frames.push(level_of(&second));
                    } else {
                        return "failed";
                    }
                }
            }
        }
    }

    fn note(&mut self, action: &Value) {
        self.error = json!({ "action": action["name"] });
    }

    fn perform(&mut self, kind: &str, action: &Value, top: usize) -> Next {
        let with = &action["parameters"];
        match kind {
            "variable_set" => {
                let (key, value) = (with["key"].as_str().unwrap(), self.fill(&with["value"]));
                if key != "error" {
                    // A value's cap; lists that hold themselves grow fast.
                    if value.to_string().len() > 32 * 1024 {
                        return Next::Fail;
                    }
                    self.vars.insert(key.to_owned(), value);
                }
                Next::On
            }
            "goto" => {
                let (count, at) = (with["loop_count"].as_i64().unwrap(), self.frames[top].at);
                let done = self.frames[top].jumps.entry(at).or_default();
                if count == -1 || *done < count {
                    *done += 1;
                    return Next::Jump(with["target_id"].as_str().unwrap().to_owned());
                }
                Next::On
            }
            "branch" if with.get("expression").is_some() => {
                let value = self.fill(&with["expression"]);
                let cases = with["cases"].as_array().unwrap();
                let chosen = cases.iter().find(|case| case["key"] == value);
                let list = chosen.map_or(&with["default"], |case| &case["tasks"]);
                if list.as_array().is_some_and(|list| !list.is_empty()) {
                    return Next::Push(level(list), Vec::new());
                }
                if let Some(output) = chosen.map(|case| &case["value"]).filter(|output| !output.is_null()) {
                    self.vars.insert(action["name"].as_str().unwrap().to_owned(), output.clone());
                }
                Next::On
            }
            "branch" => {
                let value = self.vars.get("v").map(text).unwrap_or_default();
                let target =
                    with["target_ids"].get(&value).or(with.get("default_target_id")).and_then(Value::as_str);
                target.map_or(Next::Fail, |target| Next::Jump(target.to_owned()))
            }
            "condition_variable" => {
                let value = text(&self.fill(&with["variable"]));
                let order = if with["value_type"] == "number" {
                    match serde_json::from_str::<Value>(value.trim()) {
                        Ok(Value::Number(number)) => number.as_f64().unwrap().partial_cmp(&1.0),
                        _ => None,
                    }
                } else {
                    Some(value.as_str().cmp("a"))
                };
                let holds = order.is_some_and(|order| match with["condition"].as_str().unwrap() {
                    "==" => order.is_eq(),
                    "!=" => order.is_ne(),
                    "<" => order.is_lt(),
                    _ => order.is_ge(),
                });
                if holds {
                    Next::On
                } else {
                    Next::Jump(with["false_target_id"].as_str().unwrap().to_owned())
                }
            }
            "condition" => {
                let term = &with["conditions"][0][0];
                let value = self.fill(&term["value1"]);
                let holds = if term["operation"] == "EQUALS" {
                    value == "a"
                } else {
                    !(value.is_null() || value == "" || value == json!([]) || value == json!({}))
                };
                let list = if holds { &with["caseTrue"] } else { &with["caseFalse"] };
                if list.as_array().unwrap().is_empty() {
                    Next::On
                } else {
                    Next::Push(level(list), Vec::new())
                }
            }
            "loop" => {
                let name = action["name"].as_str().unwrap().to_owned();
                let items = if with["loopForever"] == true {
                    None
                } else {
                    match self.fill(&with["items"]) {
                        Value::Array(items) if items.is_empty() => {
                            self.vars.insert(name, json!(0));
                            return Next::On;
                        }
                        Value::Array(items) => Some(items),
                        Value::Object(map) if map.is_empty() => {
                            self.vars.insert(name, json!(0));
                            return Next::On;
                        }
                        Value::Object(map) => Some(
                            map.into_iter()
                                .map(|(key, value)| json!({ "key": key, "value": value }))
                                .collect(),
                        ),
                        _ => return Next::Fail,
                    }
                };
                let mut body = level(&with["iteratee"]);
                body.turning = Some((name, items, 0));
                Next::Push(body, Vec::new())
            }
            "loopBreak" => Next::Break,
            "on-error" => {
                let mut body = level(&with["main-branch"]);
                body.guard = Some(with["on-error-branch"].clone());
                Next::Push(body, Vec::new())
            }
            "stop" => Next::End("stopped"),
            _ => Next::On,
        }
    }

    fn follow(&mut self, top: usize, action: &Value) {
        match action["next"].as_str() {
            Some(next) => assert!(self.jump(top, next)),
            None => self.frames[top].at += 1,
        }
    }

    fn jump(&mut self, from: usize, target: &str) -> bool {
        for stack in (0..=from).rev() {
            if let Some(at) = self.frames[stack].actions.iter().position(|action| action["name"] == target) {
                self.drop_to(stack + 1);
                self.frames[stack].at = at;
                return true;
            }
        }
        false
    }

    fn drop_to(&mut self, count: usize) {
        while self.frames.len() > count {
            if let Some((name, ..)) = self.frames.pop().unwrap().turning {
                self.forget(&name);
            }
        }
    }

    fn begin_turn(&mut self, name: &str, items: Option<&Vec<Value>>, turn: usize) {
        self.in_a_row += 1;
        self.vars.insert(format!("{name}.index"), json!(turn));
        if let Some(items) = items {
            self.vars.insert(format!("{name}.item"), items[turn].clone());
        }
    }

    fn end_loop(&mut self, name: &str, turns: usize) {
        self.forget(name);
        self.vars.insert(name.to_owned(), json!(turns));
    }

    fn forget(&mut self, name: &str) {
        self.vars.remove(&format!("{name}.index"));
        self.vars.remove(&format!("{name}.item"));
    }

    /// The handful of forms that the dice know, by hand.
    fn fill(&self, raw: &Value) -> Value {
        let get = |name: &str| self.vars.get(name).cloned().unwrap_or(Value::Null);
        match raw {
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), self.fill(value))).collect(),
            Value::String(raw) => match raw.as_str() {
                "${v}" => get("v"),
                "${w:-none}" => Some(get("w")).filter(|w| !w.is_null()).unwrap_or(json!("none")),
                "${v:-f}" => Some(get("v")).filter(|v| !v.is_null()).unwrap_or(json!("f")),
                "x${v}${gone}y" => json!(format!("x{}y", text(&get("v")))),
                "${w.k}${v[0]}" => {
                    let v = get("v");
                    let first = if v.is_array() { v[0].clone() } else { Value::Null };
                    json!(format!("{}{}", text(&get("w")["k"]), text(&first)))
                }
                "$${v}" => json!("${v}"),
                "$=1" => json!("=1"),
                "=1 + 2" => json!(3),
                plain => json!(plain),
            },
            other => other.clone(),
        }
    }
}

fn level(actions: &Value) -> Level {
    level_of(actions)
}

fn level_of(actions: &Value) -> Level {
    let actions = actions.as_array().cloned().unwrap_or_default();
    Level { actions, at: 0, jumps: BTreeMap::new(), turning: None, guard: None }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
