//! The interpreter: as plain as it can be, and slow where that is plainer.

use crate::dice::Program;
use crate::values::{Values, Wrong, as_text};
use crate::{ITERATIONS, STACKS, STEPS, SUBFLOWS, Said, Step, WAITS};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub struct Model<'p> {
    flows: &'p BTreeMap<String, Value>,
    values: Values,
    history: Vec<Step>,
    frames: Vec<Level<'p>>,
    in_a_row: usize,
    /// Of this run and those that it calls.
    waits: usize,
    steps: usize,
    nested: usize,
}

struct Level<'p> {
    actions: &'p [Value],
    at: usize,
    jumps: BTreeMap<usize, i64>,
    turning: Option<Turning>,
    guard: Option<&'p Value>,
}

#[derive(Clone)]
struct Turning {
    name: String,
    items: Option<Vec<Value>>,
    turn: usize,
}

enum Next<'p> {
    On(Value),
    Jump(&'p str),
    Jumped(String),
    Fail,
    End(&'static str),
    Push(Level<'p>),
    Break,
}

/// A value's cap.
const VALUE_BYTES: usize = 32 * 1024;

impl<'p> Model<'p> {
    /// None when it does not end.
    pub fn run(program: &'p Program) -> Option<Said> {
        let mut model = Model::new(&program.flows, &program.document, 0);
        let (reason, outputs) = model.finish(&program.document)?;
        Some(Said {
            reason: reason.to_owned(),
            history: model.history,
            variables: model.values.vars,
            outputs,
        })
    }

    fn new(flows: &'p BTreeMap<String, Value>, document: &'p Value, nested: usize) -> Model<'p> {
        Model {
            flows,
            values: Values::default(),
            history: Vec::new(),
            frames: vec![Level::of(&document["tasks"])],
            in_a_row: 0,
            waits: 0,
            steps: 0,
            nested,
        }
    }

    fn finish(&mut self, document: &Value) -> Option<(&'static str, Value)> {
        let reason = self.go()?;
        let mut outputs = json!({});
        // Who stopped by itself inside another one still has something to say to it.
        let speaks = reason == "completed" || (reason == "stopped" && self.nested > 0);
        if let (true, Some(output)) = (speaks, document["outputs"].get(0)) {
            match self.values.fill(&output["value"]) {
                Ok(value) => outputs["out"] = value,
                Err(Wrong) => return Some(("failed", outputs)),
            }
        }
        Some((reason, outputs))
    }

    fn go(&mut self) -> Option<&'static str> {
        loop {
            let top = self.frames.len() - 1;
            let level = &self.frames[top];
            let Some(action) = level.actions.get(level.at) else {
                match level.turning.clone() {
                    Some(turning) => {
                        let turn = turning.turn + 1;
                        let more = turning.items.as_ref().is_none_or(|items| turn < items.len());
                        if more && self.in_a_row >= ITERATIONS {
                            return Some("limit");
                        }
                        if more {
                            let turning = Turning { turn, ..turning };
                            let level = &mut self.frames[top];
                            level.at = 0;
                            level.jumps.clear();
                            level.turning = Some(turning.clone());
                            self.begin_turn(&turning);
                        } else {
                            self.frames.pop();
                            self.end_loop(&turning);
                        }
                    }
                    None if top > 0 => _ = self.frames.pop(),
                    None => return Some("completed"),
                }
                continue;
            };
            self.steps += 1;
            if self.steps > STEPS {
                return None;
            }
            if let Some(reason) = self.step(top, action)? {
                return Some(reason);
            }
        }
    }

    /// The reason of an end, if it is one; nothing when it does not come to one.
    fn step(&mut self, top: usize, action: &'p Value) -> Option<Option<&'static str>> {
        let kind = action["type"].as_str().unwrap();
        self.values.missing.take();
        let wanted = match &action["when"] {
            Value::Null => Ok(true),
            when => self.values.fill(when).map(|when| when == true || when == "true"),
        };
        let with = self.parameters(&action["parameters"]);
        let missing: Vec<String> = self.values.missing.take().into_iter().collect();
        let skipped = matches!(wanted, Ok(false));
        let waits = ["sleep", "subflow"].contains(&kind) && !skipped;
        if waits {
            self.in_a_row = 0;
        } else if self.in_a_row >= ITERATIONS {
            return Some(Some("limit"));
        } else {
            self.in_a_row += 1;
        }
        let place = self.history.len();
        let log = |outcome: &str| Step { what: format!("{kind} {outcome}"), missing: missing.clone() };
        if skipped {
            self.history.push(log("skipped"));
            self.follow(top, action);
            return Some(None);
        }
        self.history.push(log("ok"));
        let next = match (wanted, with) {
            (Ok(_), Ok(with)) => self.perform(kind, action, with, top)?,
            _ => Next::Fail,
        };
        let next = match next {
            Next::On(output) if output.to_string().len() > VALUE_BYTES => Next::Fail,
            next => next,
        };
        match next {
            Next::On(output) => {
                if !output.is_null() {
                    self.values.vars.insert(name_of(action), output);
                }
                self.follow(top, action);
            }
            Next::Jump(target) => assert!(self.jump(top, target)),
            Next::Jumped(target) => assert!(self.jump(top, &target)),
            Next::End("canceled") => {
                self.history[place] = log("interrupted");
                return Some(Some("canceled"));
            }
            Next::End(reason) => return Some(Some(reason)),
            Next::Break => {
                let found = self.frames.iter().rposition(|level| level.turning.is_some()).unwrap();
                self.drop_to(found + 1);
                let turning = self.frames.pop().unwrap().turning.unwrap();
                self.end_loop(&turning);
            }
            Next::Push(level) => {
                if self.frames.len() >= STACKS {
                    return Some(Some("limit"));
                }
                self.follow(top, action);
                let turning = level.turning.clone();
                self.frames.push(level);
                if let Some(turning) = turning {
                    self.begin_turn(&turning);
                }
            }
            Next::Fail => {
                self.history[place] = log("failed");
                if action["on_error"] == "continue" {
                    self.follow(top, action);
                } else if let Some(target) = action["on_error"]["goto"].as_str() {
                    self.note(action);
                    assert!(self.jump(top, target));
                } else if let Some(found) = self.frames.iter().rposition(|level| level.guard.is_some()) {
                    self.note(action);
                    self.drop_to(found + 1);
                    let second = self.frames.pop().unwrap().guard.unwrap();
                    self.frames.push(Level::of(second));
                } else {
                    return Some(Some("failed"));
                }
            }
        }
        Some(None)
    }

    /// Filled in, but for nested lists.
    fn parameters(&self, raw: &Value) -> Result<Value, Wrong> {
        let mut with = json!({});
        let mut wrong = Ok(());
        for (key, value) in raw.as_object().unwrap() {
            let is_list =
                ["caseTrue", "caseFalse", "iteratee", "main-branch", "on-error-branch", "default", "cases"]
                    .contains(&key.as_str());
            if is_list {
                continue;
            }
            let value = match (key.as_str(), value.as_str()) {
                // With or without its `=`.
                ("expression", Some(text)) if raw["rawExpression"] == true => self.values.evaluate(text),
                _ => self.values.fill(value),
            };
            match value {
                Ok(value) => with[key] = value,
                Err(Wrong) => {
                    wrong = Err(Wrong);
                    break;
                }
            }
        }
        wrong.map(|()| with)
    }

    fn note(&mut self, action: &Value) {
        let error = json!({ "action": action["name"] });
        self.values.error = Some(error);
    }

    fn perform(&mut self, kind: &str, action: &'p Value, with: Value, top: usize) -> Option<Next<'p>> {
        let raw = &action["parameters"];
        let target = |key: &str| Next::Jump(raw[key].as_str().unwrap());
        Some(match kind {
            "variable_set" => {
                let key = with["key"].as_str().unwrap();
                if key != "error" {
                    if with["value"].to_string().len() > VALUE_BYTES {
                        return Some(Next::Fail);
                    }
                    self.values.vars.insert(key.to_owned(), with["value"].clone());
                }
                Next::On(Value::Null)
            }
            "goto" => {
                let count = match &with["loop_count"] {
                    Value::Null => 0,
                    Value::String(text) => match text.trim().parse() {
                        Ok(count) => count,
                        Err(_) => return Some(Next::Fail),
                    },
                    Value::Number(number) => match number.as_f64().unwrap() {
                        whole if whole.fract() == 0.0 => whole as i64,
                        _ => return Some(Next::Fail),
                    },
                    _ => return Some(Next::Fail),
                };
                if count < -1 {
                    return Some(Next::Fail);
                }
                let at = self.frames[top].at;
                let done = self.frames[top].jumps.entry(at).or_default();
                if count == -1 || *done < count {
                    *done += 1;
                    return Some(target("target_id"));
                }
                Next::On(Value::Null)
            }
            "branch" if raw.get("expression").is_some() => {
                let cases = raw["cases"].as_array().unwrap();
                let value = &with["expression"];
                let is_it = |key: &Value| match (key.as_f64(), value.as_f64()) {
                    (Some(key), Some(value)) => key == value,
                    _ => key == value,
                };
                let chosen = cases.iter().find(|case| is_it(&case["key"]));
                let list = chosen.map_or(&raw["default"], |case| &case["tasks"]);
                if list.as_array().is_some_and(|list| !list.is_empty()) {
                    return Some(Next::Push(Level::of(list)));
                }
                Next::On(chosen.map_or(Value::Null, |case| case["value"].clone()))
            }
            "branch" => {
                let value = self.values.get(with["variable"].as_str().unwrap());
                let value = value.as_ref().map(as_text).unwrap_or_default();
                match with["target_ids"].get(&value).or(with.get("default_target_id")) {
                    Some(target) => Next::Jumped(target.as_str().unwrap().to_owned()),
                    None => Next::Fail,
                }
            }
            "condition_variable" => {
                let value = as_text(&with["variable"]);
                let order = match with["value_type"].as_str().unwrap() {
                    "number" => match serde_json::from_str::<Value>(value.trim()) {
                        Ok(Value::Number(number)) => number.as_f64().unwrap().partial_cmp(&1.0),
                        _ => None,
                    },
                    "length" => Some(value.chars().count().cmp(&2)),
                    _ => Some(value.as_str().cmp("a")),
                };
                let holds = order.is_some_and(|order| compares(&with["condition"], order));
                if holds { Next::On(Value::Null) } else { target("false_target_id") }
            }
            "condition_datetime" => {
                let now = [("year", 2027), ("month", 1), ("day", 15), ("hour", 8), ("minute", 0)];
                let given =
                    now.iter().filter(|(field, _)| with[*field].as_i64().is_some_and(|given| given >= 0));
                let (given, now): (Vec<i64>, Vec<i64>) =
                    given.map(|(field, now)| (with[*field].as_i64().unwrap(), *now)).unzip();
                let is_time = given.is_empty() || compares(&with["condition"], now.cmp(&given));
                // A Friday.
                let is_day = with.get("weekdays").is_none_or(|days| days[0] == 5);
                if is_time && is_day { Next::On(Value::Null) } else { target("false_target_id") }
            }
            "condition" => {
                let holds = if with["rawExpression"] == true {
                    match &with["expression"] {
                        Value::Bool(flag) => *flag,
                        _ => return Some(Next::Fail),
                    }
                } else {
                    let lists = with["conditions"].as_array().unwrap();
                    lists.iter().any(|terms| terms.as_array().unwrap().iter().all(holds))
                };
                let list = if holds { &raw["caseTrue"] } else { &raw["caseFalse"] };
                if list.as_array().unwrap().is_empty() {
                    Next::On(Value::Null)
                } else {
                    Next::Push(Level::of(list))
                }
            }
            "loop" => {
                let items: Option<Vec<Value>> = if with["loopForever"] == true {
                    None
                } else {
                    match &with["items"] {
                        Value::Array(items) => Some(items.clone()),
                        Value::Object(map) => Some(
                            map.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect(),
                        ),
                        _ => return Some(Next::Fail),
                    }
                };
                if items.as_ref().is_some_and(Vec::is_empty) {
                    return Some(Next::On(json!(0)));
                }
                let turning = Some(Turning { name: name_of(action), items, turn: 0 });
                Next::Push(Level { turning, ..Level::of(&raw["iteratee"]) })
            }
            "on-error" => {
                Next::Push(Level { guard: Some(&raw["on-error-branch"]), ..Level::of(&raw["main-branch"]) })
            }
            "fetch_flow" => match self.flows.get(&as_text(&with["flow_id"])) {
                Some(flow) => Next::Push(Level::of(&flow["tasks"])),
                None => Next::Fail,
            },
            "subflow" => return self.call(&with),
            "sleep" => {
                self.waits += 1;
                if self.waits > WAITS { Next::End("canceled") } else { Next::On(Value::Null) }
            }
            "loopBreak" => Next::Break,
            "stop" | "terminate" => Next::End("stopped"),
            _ => Next::On(Value::Null),
        })
    }

    /// Another workflow in this one's place, until it ends.
    fn call(&mut self, with: &Value) -> Option<Next<'p>> {
        let flows = self.flows;
        let Some(document) = flows.get(&as_text(&with["workflow"])) else { return Some(Next::Fail) };
        if self.nested + 1 >= SUBFLOWS {
            return Some(Next::Fail);
        }
        let mut child = Model::new(flows, document, self.nested + 1);
        (child.waits, child.steps) = (self.waits, self.steps);
        child.values.vars.insert("v".into(), with["inputs"]["v"].clone());
        let (reason, outputs) = child.finish(document)?;
        (self.waits, self.steps) = (child.waits, child.steps);
        Some(match reason {
            "completed" | "stopped" => Next::On(outputs),
            "canceled" => Next::End("canceled"),
            _ => Next::Fail,
        })
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
            if let Some(turning) = self.frames.pop().unwrap().turning {
                self.forget(&turning.name);
            }
        }
    }

    fn begin_turn(&mut self, turning: &Turning) {
        let Turning { name, items, turn } = turning;
        self.in_a_row += 1;
        self.values.vars.insert(format!("{name}.index"), json!(turn));
        if let Some(items) = items {
            self.values.vars.insert(format!("{name}.item"), items[*turn].clone());
        }
    }

    fn end_loop(&mut self, turning: &Turning) {
        self.forget(&turning.name);
        self.values.vars.insert(turning.name.clone(), json!(turning.turn + 1));
    }

    fn forget(&mut self, name: &str) {
        self.values.vars.remove(&format!("{name}.index"));
        self.values.vars.remove(&format!("{name}.item"));
    }
}

impl<'p> Level<'p> {
    fn of(actions: &'p Value) -> Level<'p> {
        let actions = actions.as_array().map_or(&[][..], Vec::as_slice);
        Level { actions, at: 0, jumps: BTreeMap::new(), turning: None, guard: None }
    }
}

fn name_of(action: &Value) -> String {
    action["name"].as_str().unwrap().to_owned()
}

fn compares(operator: &Value, order: std::cmp::Ordering) -> bool {
    match operator.as_str().unwrap() {
        "==" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        _ => order.is_ge(),
    }
}

/// One term of a condition.
fn holds(term: &Value) -> bool {
    let (first, second) = (&term["value1"], &term["value2"]);
    let operation = term["operation"].as_str().unwrap();
    let is_empty = || [json!(null), json!("")].contains(first);
    match (operation, term["type"].as_str().unwrap()) {
        ("EMPTY", _) => is_empty(),
        ("NOT_EMPTY", "string") => first.as_str().is_some_and(|text| !text.is_empty()),
        ("NOT_EMPTY", kind) => panic!("the dice do not ask for NOT_EMPTY as a {kind}"),
        (_, "number") => {
            let number = |value: &Value| match value {
                Value::String(text) => match serde_json::from_str(text.trim()) {
                    Ok(Value::Number(number)) => number.as_f64(),
                    _ => None,
                },
                other => other.as_f64(),
            };
            match (number(first), number(second), operation) {
                (Some(a), Some(b), "EQUALS") => a == b,
                (Some(a), Some(b), "LESS") => a < b,
                (Some(a), Some(b), "GREATER_EQUALS") => a >= b,
                _ => false,
            }
        }
        (_, "boolean") => {
            let flag = match first {
                Value::Bool(flag) => Some(*flag),
                Value::String(text) => text.trim().parse().ok(),
                _ => None,
            };
            flag.is_some_and(|flag| flag == (operation == "EQUALS"))
        }
        _ => {
            let (Some(a), true) =
                (first.as_str(), second.is_string() || second.is_number() || second.is_boolean())
            else {
                return false;
            };
            let b = as_text(second);
            match operation {
                "EQUALS" => a == b,
                "NOT_EQUALS" => a != b,
                "EQUALS_IGNORE_CASE" => a.to_lowercase() == b.to_lowercase(),
                "CONTAINS" => a.contains(&b),
                "NOT_CONTAINS" => !a.contains(&b),
                "STARTS_WITH" => a.starts_with(&b),
                _ => a.ends_with(&b),
            }
        }
    }
}
