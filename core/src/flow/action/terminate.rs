//! `terminate`: ends the flow with a message.

use super::{Action, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::scene::EndReason;

pub struct Terminate;

impl Action for Terminate {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let detail = scene.parameters.word("message").map(str::to_owned);
        Ok(Step::End { reason: EndReason::Stopped, detail, by_hangup: false })
    }
}

static DECLARED: Declared = Declared {
    name: "terminate",
    aliases: &[],
    about: "Ends the activeflow with a message.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[Parameter {
        name: "message",
        aliases: &[],
        shape: Shape::Text,
        required: false,
        about: "Becomes the end's detail.",
    }],
    secrets: false,
};
