//! `variable_set`: gives a variable a value, which keeps its type.

use super::{Action, Done, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use serde_json::Value;

pub struct VariableSet;

impl Action for VariableSet {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let key = scene.parameters.require("key")?.to_owned();
        let value = scene.parameters.value("value").cloned().unwrap_or(Value::Null);
        Ok(Step::Done(Done { sets: vec![(key, value)], ..Done::default() }))
    }
}

static DECLARED: Declared = Declared {
    name: "variable_set",
    aliases: &[],
    about: "Sets a variable.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[
        Parameter { name: "key", aliases: &[], shape: Shape::Text, required: true, about: "Its name." },
        Parameter {
            name: "value",
            aliases: &[],
            shape: Shape::Any,
            required: false,
            about: "Its value, of any type.",
        },
    ],
    secrets: false,
};
