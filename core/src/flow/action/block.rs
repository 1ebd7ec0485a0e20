//! `block`: waits until somebody executes it by the API. The run itself knows what may end it.

use super::{Action, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind};
use serde_json::Value;

pub struct Block;

impl Action for Block {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, _scene: &mut Scene<'_>) -> Result<Step, Fault> {
        Ok(Step::Wait { memory: Value::Null })
    }
}

static DECLARED: Declared = Declared {
    name: "block",
    aliases: &[],
    about: "Waits until it is executed by the API.",
    kind: Kind::Control,
    needs_call: false,
    waits: true,
    parameters: &[],
    secrets: false,
};
