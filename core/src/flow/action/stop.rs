//! `stop`: ends the flow; a live call is hung up.

use super::{Action, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind};
use crate::scene::EndReason;

pub struct Stop;

impl Action for Stop {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, _scene: &mut Scene<'_>) -> Result<Step, Fault> {
        Ok(Step::End { reason: EndReason::Stopped, detail: None, by_hangup: false })
    }
}

static DECLARED: Declared = Declared {
    name: "stop",
    aliases: &[],
    about: "Ends the activeflow.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[],
    secrets: false,
};
