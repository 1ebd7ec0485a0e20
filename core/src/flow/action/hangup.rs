//! `hangup`: ends the call, and with it the flow.

use super::{Action, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::scene::EndReason;

pub struct Hangup;

impl Action for Hangup {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let detail = scene.parameters.word("reason").map(str::to_owned);
        Ok(Step::End { reason: EndReason::Completed, detail, by_hangup: true })
    }
}

static DECLARED: Declared = Declared {
    name: "hangup",
    aliases: &[],
    about: "Ends the call.",
    kind: Kind::Media,
    needs_call: true,
    waits: false,
    parameters: &[
        Parameter { name: "reason", aliases: &[], shape: Shape::Text, required: false, about: "For people." },
        Parameter {
            name: "reference_id",
            aliases: &[],
            shape: Shape::Ignored,
            required: false,
            about: "Exported by other systems.",
        },
    ],
    secrets: false,
};
