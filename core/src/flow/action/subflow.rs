//! `subflow`: runs another workflow as an activeflow of its own and waits for its end.

use super::{Action, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use serde_json::{Map, Value};

pub struct Subflow;

impl Action for Subflow {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let workflow = scene.parameters.require("workflow")?.to_owned();
        let inputs = match scene.parameters.value("inputs") {
            None => Map::new(),
            Some(Value::Object(inputs)) => inputs.clone(),
            Some(other) => return Err(Fault::invalid(format!("`inputs`: expected an object, came {other}"))),
        };
        Ok(Step::Call { workflow, inputs })
    }
}

static DECLARED: Declared = Declared {
    name: "subflow",
    aliases: &[],
    about: "Runs another workflow as an activeflow of its own; its outputs are the output.",
    kind: Kind::Child,
    needs_call: false,
    waits: true,
    parameters: &[
        Parameter {
            name: "workflow",
            aliases: &[],
            shape: Shape::Workflow,
            required: true,
            about: "Its id.",
        },
        Parameter {
            name: "inputs",
            aliases: &[],
            shape: Shape::Any,
            required: false,
            about: "Its variables, by name.",
        },
    ],
    secrets: false,
};
