//! `empty`: does nothing; a place to jump to.

use super::{Action, Done, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind};

pub struct Empty;

impl Action for Empty {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, _scene: &mut Scene<'_>) -> Result<Step, Fault> {
        Ok(Step::Done(Done::default()))
    }
}

static DECLARED: Declared = Declared {
    name: "empty",
    aliases: &[],
    about: "Does nothing; a place to jump to.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[],
    secrets: false,
};
