//! `goto`: jumps, a counted number of times.

use super::{Action, Done, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};

pub struct Goto;

impl Action for Goto {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let target = scene.parameters.require("target_id")?;
        let count = match scene.parameters.value("loop_count") {
            None => 0,
            Some(value) => value.as_i64().filter(|count| *count >= -1).ok_or_else(|| {
                Fault::invalid(format!("`loop_count` is {value}, expected a whole number from -1"))
            })?,
        };
        let jumps = count == -1 || u64::try_from(count).is_ok_and(|count| scene.jumps < count);
        if !jumps {
            return Ok(Step::Done(Done::default()));
        }
        // An endless one needs no count.
        let done = Done { counted: count >= 0, ..Done::default() };
        Ok(Step::Jump { target: target.to_owned(), done })
    }
}

static DECLARED: Declared = Declared {
    name: "goto",
    aliases: &[],
    about: "Jumps to another action.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[
        Parameter {
            name: "target_id",
            aliases: &[],
            shape: Shape::Target,
            required: true,
            about: "Where to: `id` or `name` of an action.",
        },
        Parameter {
            name: "loop_count",
            aliases: &[],
            shape: Shape::Integer { min: -1, max: 9007199254740991 },
            required: false,
            about: "How often it jumps before it falls through; 0: never, -1: for ever.",
        },
    ],
    secrets: false,
};
