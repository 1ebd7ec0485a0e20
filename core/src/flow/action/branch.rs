//! `branch`: jumps by the value of a variable; the digits received, unless it says otherwise.

use super::{Action, Done, Fault, Scene, Step};
use crate::flow::cursor;
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
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
        variable(node) == DIGITS
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let name = variable(scene.node);
        let value = if name.contains("${") {
            as_text(scene.parameters.value("variable").unwrap_or(&Value::Null))
        } else {
            scene.vars.look_up(name).map(as_text).unwrap_or_default()
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

fn variable(node: &ActionNode) -> &str {
    match node.parameters.get("variable").and_then(Value::as_str).map(canonical) {
        None | Some("") => DIGITS,
        Some(name) => name,
    }
}

static DECLARED: Declared = Declared {
    name: "branch",
    aliases: &[],
    about: "Jumps by the value of a variable.",
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
            required: true,
            about: "Where to, by value.",
        },
        Parameter {
            name: "default_target_id",
            aliases: &[],
            shape: Shape::Target,
            required: false,
            about: "Where to otherwise; without it, another value is an error.",
        },
    ],
    secrets: false,
};
