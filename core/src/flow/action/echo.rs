//! `echo`: the caller hears itself, frame by frame.

use super::{Action, Done, Fault, Happened, Road, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::scene::Op;
use serde_json::Value;

pub struct Echo;

impl Action for Echo {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        match scene.road(false, true) {
            Road::Stream => {
                scene.live.on_stream = true;
                scene.live.echoing = true;
                if let Some(ms) = scene.parameters.amount("duration") {
                    scene.due_in_ms(ms);
                }
                scene.ops.push(Op::Echo(true));
                Ok(Step::Wait { memory: Value::Null })
            }
            Road::Not(want) => Ok(Step::Needs(want)),
            Road::Verb => Ok(Step::Stay),
        }
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        if !matches!(happened, Happened::Due) {
            return Ok(Step::Stay);
        }
        scene.ops.push(Op::Echo(false));
        Ok(Step::Done(Done::default()))
    }
}

static DECLARED: Declared = Declared {
    name: "echo",
    aliases: &["stream_echo"],
    about: "Sends back what is heard.",
    kind: Kind::Media,
    needs_call: true,
    waits: true,
    parameters: &[Parameter {
        name: "duration",
        aliases: &[],
        shape: Shape::Millis { min: 0, max: 86400000 },
        required: false,
        about: "How long; until the call ends when not given.",
    }],
    secrets: false,
};
