//! `answer`: says that the call is to be taken. The first document does that by itself.

use super::{Action, Done, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind};

pub struct Answer;

impl Action for Answer {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, _scene: &mut Scene<'_>) -> Result<Step, Fault> {
        Ok(Step::Done(Done::default()))
    }
}

static DECLARED: Declared = Declared {
    name: "answer",
    aliases: &[],
    about: "Takes the call.",
    kind: Kind::Media,
    needs_call: true,
    waits: false,
    parameters: &[],
    secrets: false,
};
