//! `loopBreak`: leaves the loop that is nearest around it.

use super::{Action, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind};

pub struct LoopBreak;

impl Action for LoopBreak {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, _scene: &mut Scene<'_>) -> Result<Step, Fault> {
        Ok(Step::Break)
    }
}

static DECLARED: Declared = Declared {
    name: "loopBreak",
    aliases: &[],
    about: "Leaves the loop that is nearest around it.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[],
    secrets: false,
};
