//! `branch`: jumps by the value of a variable (the digits received, unless it says otherwise), or runs the list of
//! actions of the case that an expression's value is.

use super::{Action, Done, Fault, Push, Scene, Step};
use crate::flow::cursor;
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::fact::Pushed;
use crate::flow::script::ActionNode;
use crate::flow::substitute::as_text;
use crate::flow::vars::canonical;
use serde_json::Value;

const DIGITS: &str = "call.digits";

pub struct Branch;

impl Action for Branch {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn reads_digits(&self, node: &ActionNode) -> bool {
        !has_cases(node) && variable(node) == DIGITS
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        if has_cases(scene.node) {
            return Ok(choose(scene));
        }
        let name = variable(scene.node);
        let value = if name.contains("${") {
            as_text(scene.parameters.value("variable").unwrap_or(&Value::Null))
        } else {
            scene.vars.look_up(name).map(|value| as_text(&value)).unwrap_or_default()
        };
        let chosen = scene.parameters.value("target_ids").and_then(|targets| targets.get(&value));
        let target = chosen
            .and_then(Value::as_str)
            .and_then(cursor::target)
            .or_else(|| cursor::target(scene.parameters.text("default_target_id")?))
            .ok_or_else(|| {
                Fault::invalid(format!("`{name}` is `{value}`: no target for it, and no default"))
            })?;
        // Digits are read once, so that the next branch doesn't see the choice of this one.
        let learns = if name == DIGITS { vec![(DIGITS.to_owned(), Value::from(""))] } else { Vec::new() };
        Ok(Step::Jump { target: target.to_owned(), done: Done { learns, ..Done::default() } })
    }
}

fn has_cases(node: &ActionNode) -> bool {
    node.parameters.contains_key("expression")
}

/// The first case whose key is the very value, type and all; without one, the default, and without that, on.
fn choose(scene: &Scene<'_>) -> Step {
    let value = scene.parameters.value("expression").unwrap_or(&Value::Null);
    let cases = scene.parameters.list("cases");
    let chosen = cases.iter().position(|case| is_same(case.get("key").unwrap_or(&Value::Null), value));
    let list = chosen.map_or("default".to_owned(), |chosen| format!("cases[{chosen}].tasks"));
    let output = chosen.and_then(|chosen| cases.get(chosen)?.get("value").cloned()).unwrap_or(Value::Null);
    match scene.node.lists.get(&list) {
        Some(actions) if !actions.is_empty() => Step::Push(Push::plain(Pushed::List(list))),
        _ => Step::Done(Done::with(output)),
    }
}

/// 1 and 1.0 are one number; 1 and "1" are two things.
fn is_same(key: &Value, value: &Value) -> bool {
    match (key, value) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => key == value,
    }
}

static CASE: [Parameter; 3] = [
    Parameter {
        name: "key",
        aliases: &[],
        shape: Shape::Any,
        required: true,
        about: "The value, with its type.",
    },
    Parameter {
        name: "tasks",
        aliases: &[],
        shape: Shape::Actions,
        required: false,
        about: "What is done then.",
    },
    Parameter {
        name: "value",
        aliases: &[],
        shape: Shape::Any,
        required: false,
        about: "The output, where there is nothing to do.",
    },
];

fn variable(node: &ActionNode) -> &str {
    match node.parameters.get("variable").and_then(Value::as_str).map(canonical) {
        None | Some("") => DIGITS,
        Some(name) => name,
    }
}

static DECLARED: Declared = Declared {
    name: "branch",
    aliases: &[],
    about: "Jumps by the value of a variable, or runs the case of an expression's value.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[
        Parameter {
            name: "variable",
            aliases: &[],
            shape: Shape::Text,
            required: false,
            about: "Its name; `call.digits` when not given, which is cleared by reading.",
        },
        Parameter {
            name: "target_ids",
            aliases: &[],
            shape: Shape::MapOf(&Shape::Target),
            required: false,
            about: "Where to, by value.",
        },
        Parameter {
            name: "default_target_id",
            aliases: &[],
            shape: Shape::Target,
            required: false,
            about: "Where to otherwise; without it, another value is an error.",
        },
        Parameter {
            name: "expression",
            aliases: &[],
            shape: Shape::Any,
            required: false,
            about: "Instead of a variable: the value that decides between the cases.",
        },
        Parameter {
            name: "cases",
            aliases: &[],
            shape: Shape::ListOf(&Shape::Object(&CASE)),
            required: false,
            about: "The first with this very value is taken, types and all.",
        },
        Parameter {
            name: "default",
            aliases: &[],
            shape: Shape::Actions,
            required: false,
            about: "What is done when no case is.",
        },
    ],
    secrets: false,
};
