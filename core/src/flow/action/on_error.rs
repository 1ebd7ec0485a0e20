//! `on-error`: a list of actions, and another one for when it fails. The run itself knows who catches what.

use super::{Action, Fault, Push, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::fact::{Pushed, Role};

pub const SECOND: &str = "on-error-branch";

pub struct OnError;

impl Action for OnError {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, _scene: &mut Scene<'_>) -> Result<Step, Fault> {
        Ok(Step::Push(Push { role: Role::Guard, ..Push::plain(Pushed::List("main-branch".to_owned())) }))
    }
}

static DECLARED: Declared = Declared {
    name: "on-error",
    aliases: &[],
    about: "Runs a list of actions, and another one when an action in it fails.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[
        Parameter {
            name: "main-branch",
            aliases: &[],
            shape: Shape::Actions,
            required: true,
            about: "What is tried.",
        },
        Parameter {
            name: "on-error-branch",
            aliases: &[],
            shape: Shape::Actions,
            required: false,
            about: "What is done when it fails, with `${error}`; an error in here goes on to whoever is around.",
        },
    ],
    secrets: false,
};
