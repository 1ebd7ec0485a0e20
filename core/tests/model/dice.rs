//! Random workflows: everything that the language can decide without a line and without asking anybody.

use crate::{ITERATIONS, STACKS, SUBFLOWS};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The workflow that is run, and those that it may name.
pub struct Program {
    pub document: Value,
    pub flows: BTreeMap<String, Value>,
}

/// Dice with a seed.
pub struct Dice(pub u64);

/// What is around an action.
#[derive(Clone, Copy)]
struct Around<'a> {
    depth: u64,
    in_loop: bool,
    /// Workflows that may be named.
    flows: &'a [&'a str],
}

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

    pub fn program(mut self) -> Program {
        // The first throws of neighbouring seeds are alike.
        self.below(2);
        let names: &[&str] = if self.below(2) == 0 { &["f1", "f2"] } else { &[] };
        let document = self.document("s", names);
        let flows = names.iter().map(|name| ((*name).to_owned(), self.document(name, names))).collect();
        Program { document, flows }
    }

    fn document(&mut self, prefix: &str, flows: &[&str]) -> Value {
        let around = Around { depth: u64::from(prefix != "s"), in_loop: false, flows };
        let mut names = (format!("{prefix}-"), 0);
        let tasks = self.list(around, &mut names, &[]);
        let limits = json!({ "iterations": ITERATIONS, "stack_depth": STACKS, "subflow_depth": SUBFLOWS });
        let mut document = json!({ "limits": limits, "inputs": [{ "name": "any" }], "tasks": tasks });
        if self.below(4) == 0 {
            document["outputs"] = json!([{ "name": "out", "value": self.value(prefix) }]);
        }
        document
    }

    fn list(&mut self, around: Around<'_>, names: &mut (String, u64), outer: &[String]) -> Value {
        let count = self.below(if around.depth == 0 { 7 } else { 4 });
        let own: Vec<String> = (0..count).map(|n| format!("{}{}", names.0, names.1 + n)).collect();
        names.1 += count;
        let targets: Vec<String> = own.iter().chain(outer).cloned().collect();
        let actions = own.iter().map(|name| self.action(name, around, names, &targets)).collect();
        Value::Array(actions)
    }

    fn value(&mut self, name: &str) -> Value {
        match self.below(15) {
            0 => json!(self.below(4)),
            1 => json!(self.pick(&["a", "1", "true", "", "$${v}", "$=1", "$", "open $v}", "2.5"])),
            2 => json!(["${v}", { "k": "${w:-none}" }]),
            3 => json!("${v}"),
            4 => json!("x${v}${gone}y"),
            5 => json!("${w.k}${v[0]}"),
            6 => json!("${v:-f}"),
            7 => json!(self.pick(&[
                "${error.action}",
                "${voipbin.v}",
                "${ v }",
                "${w[\"k\"]:-}",
                "$v}$",
                "${v[1].k}"
            ])),
            8 => json!(format!("${{{name}.index}}-${{{name}.item}}")),
            9 => json!([true, null, -1, 0.5, {}, []])[self.below(6) as usize].clone(),
            _ => json!(format!("={}", self.expression())),
        }
    }

    fn expression(&mut self) -> &'static str {
        const EXPRESSIONS: &[&str] = &[
            "1 + 2",
            "7 / 2",
            "v + 1",
            "v == 1",
            "v != 'a'",
            "has(w.k)",
            "size(v)",
            "v in [1, 'a', true]",
            "v ? 'yes' : 'no'",
            "w.k",
            "${v} == ${w}",
            "gone",
            "'a' + v",
            "[v, w]",
            "v < 2",
        ];
        EXPRESSIONS[self.below(EXPRESSIONS.len() as u64) as usize]
    }

    fn action(
        &mut self,
        name: &str,
        around: Around<'_>,
        names: &mut (String, u64),
        targets: &[String],
    ) -> Value {
        let target = targets[self.below(targets.len() as u64) as usize].clone();
        let nested = if around.depth < 3 { 19 } else { 13 };
        let deeper = Around { depth: around.depth + 1, ..around };
        let (kind, with) = match self.below(nested) {
            0..=2 => (
                "variable_set",
                json!({ "key": self.pick(&["v", "w", "v", "u", "error"]), "value": self.value(&target) }),
            ),
            3 => {
                let mut with = json!({ "target_id": target, "loop_count": self.below(4) as i64 - 1 });
                match self.below(8) {
                    0 => with["loop_count"] = json!("${v}"),
                    1 => _ = with.as_object_mut().map(|with| with.remove("loop_count")),
                    _ => {}
                }
                ("goto", with)
            }
            4 => {
                let mut with = json!({ "target_ids": { "1": target, "a": targets[0], "": target } });
                with["variable"] = json!(self.pick(&["v", "w.k", "v[0]"]));
                if self.below(2) == 0 {
                    with["default_target_id"] = json!(target);
                }
                ("branch", with)
            }
            5 => {
                let operator = self.pick(&["==", "!=", "<", ">=", "<=", ">"]);
                let mut with = json!({ "variable": "${v}", "condition": operator, "value_type": "string", "value_string": "a" });
                match self.below(3) {
                    0 => (with["value_type"], with["value_number"]) = (json!("number"), json!(1)),
                    1 => (with["value_type"], with["value_length"]) = (json!("length"), json!(2)),
                    _ => {}
                }
                with["false_target_id"] = json!(target);
                ("condition_variable", with)
            }
            6 => ("sleep", json!({ "duration": 5 })),
            7 if around.in_loop => ("loopBreak", json!({})),
            7 | 8 => match self.below(8) {
                0 | 1 => ("stop", json!({})),
                2 => ("terminate", json!({ "message": self.pick(&["bye", "bye ${v}", "${gone}"]) })),
                _ => ("empty", json!({})),
            },
            9 | 10 => {
                let operator = self.pick(&["==", "!=", "<", ">=", "<=", ">"]);
                let mut with = json!({ "condition": operator, "timezone": "UTC", "false_target_id": target });
                for (field, about) in [("year", 2027), ("month", 1), ("day", 15), ("hour", 8), ("minute", 0)]
                {
                    match self.below(6) {
                        0 | 1 => with[field] = json!(about),
                        2 => with[field] = json!(about + 1),
                        3 => with[field] = json!(-1),
                        _ => {}
                    }
                }
                match self.below(4) {
                    0 => with["weekdays"] = json!([5, "mon"]),
                    1 => with["weekdays"] = json!(["Saturday", 0]),
                    _ => {}
                }
                ("condition_datetime", with)
            }
            11 if !around.flows.is_empty() => {
                let id = if self.below(4) == 0 { "f${v}" } else { self.pick(around.flows) };
                ("fetch_flow", json!({ "flow_id": id }))
            }
            12 if !around.flows.is_empty() => {
                let id = if self.below(4) == 0 { "f${v}" } else { self.pick(around.flows) };
                ("subflow", json!({ "workflow": id, "inputs": { "v": self.value(&target), "call": 1 } }))
            }
            11 | 12 => ("empty", json!({})),
            13 => {
                let lists = [self.list(deeper, names, targets), self.list(deeper, names, targets)];
                let mut with = json!({ "caseTrue": lists[0], "caseFalse": lists[1] });
                if self.below(3) == 0 {
                    with["rawExpression"] = json!(true);
                    with["expression"] = json!(self.expression());
                } else {
                    with["conditions"] = (0..self.below(3))
                        .map(|_| (0..self.below(3)).map(|_| self.term()).collect::<Value>())
                        .collect();
                }
                ("condition", with)
            }
            14 => {
                let tasks = self.list(deeper, names, targets);
                let default = self.list(deeper, names, targets);
                let cases = json!([{ "key": 1, "tasks": tasks }, { "key": "a", "value": "case" }]);
                let expression = self.pick(&["${v}", "=v", "=v == 1 ? 'a' : 1"]);
                ("branch", json!({ "expression": expression, "cases": cases, "default": default }))
            }
            15 | 16 => {
                let iteratee = self.list(Around { in_loop: true, ..deeper }, names, targets);
                let mut with = json!({ "iteratee": iteratee });
                match self.below(4) {
                    0 => with["loopForever"] = json!(true),
                    1 => with["items"] = json!(self.pick(&["${v}", "=v", "${w}"])),
                    _ => with["items"] = json!([1, "a", null]),
                }
                ("loop", with)
            }
            _ => {
                let main = self.list(deeper, names, targets);
                let second = self.list(deeper, names, targets);
                ("on-error", json!({ "main-branch": main, "on-error-branch": second }))
            }
        };
        let mut action = json!({ "type": kind, "name": name, "parameters": with.clone() });
        // After a push it would leave targets of the pushed list out of reach.
        let pushes =
            ["condition", "loop", "on-error", "fetch_flow"].contains(&kind) || with.get("cases").is_some();
        match self.below(14) {
            0 => action["when"] = json!("${v}"),
            1 => action["when"] = json!(format!("={}", self.expression())),
            2 if !pushes => action["next"] = json!(target),
            3 | 4 => action["on_error"] = json!("continue"),
            5 => action["on_error"] = json!({ "goto": target }),
            _ => {}
        }
        action
    }

    fn term(&mut self) -> Value {
        let kind = self.pick(&["string", "number", "boolean"]);
        let operations: &[&str] = match kind {
            "string" => &[
                "EQUALS",
                "NOT_EQUALS",
                "CONTAINS",
                "NOT_CONTAINS",
                "STARTS_WITH",
                "ENDS_WITH",
                "EMPTY",
                "NOT_EMPTY",
                "EQUALS_IGNORE_CASE",
            ],
            "number" => &["EQUALS", "LESS", "GREATER_EQUALS", "EMPTY"],
            _ => &["EQUALS", "NOT_EQUALS"],
        };
        let second = match kind {
            "string" => json!(self.pick(&["a", "A", "${w}", ""])),
            "number" => json!(self.below(3)),
            _ => json!(true),
        };
        json!({ "type": kind, "value1": "${v}", "operation": self.pick(operations), "value2": second })
    }
}
