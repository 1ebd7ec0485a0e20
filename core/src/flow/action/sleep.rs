//! `sleep`: waits; with a line that asks for a document, as a Pause.

use super::{Action, Done, Fault, Happened, Scene, Step};
use crate::document::Verb;
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::scene::Line;
use serde_json::{Value, json};

pub struct Sleep;

impl Action for Sleep {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        if let Some(under_way) = waits_already(scene) {
            return Ok(under_way);
        }
        let ms =
            scene.parameters.amount("duration").ok_or_else(|| Fault::invalid("`duration` is missing"))?;
        Ok(wait(scene, ms))
    }

    fn resume(&self, _scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        Ok(waited(happened))
    }
}

/// Begun before: the due time on the wall survives whatever happened in between.
pub fn waits_already(scene: &mut Scene<'_>) -> Option<Step> {
    let due = scene.memory.get("due").and_then(Value::as_u64)?;
    scene.live.due = Some(scene.now.tick_at_wall(due));
    Some(Step::Wait { memory: scene.memory.clone() })
}

pub fn wait(scene: &mut Scene<'_>, ms: u64) -> Step {
    if ms == 0 {
        return Step::Done(Done::default());
    }
    if scene.line == Line::Asking && !scene.always_stream {
        // The network pauses in whole seconds.
        let seconds = u32::try_from(ms.div_ceil(1000).max(1)).unwrap_or(u32::MAX);
        return Step::Render { verbs: vec![Verb::Pause { seconds }], last: false };
    }
    scene.due_in_ms(ms);
    Step::Wait { memory: json!({ "due": scene.now.wall_ms.saturating_add(ms) }) }
}

pub fn waited(happened: &Happened<'_>) -> Step {
    match happened {
        Happened::Due | Happened::Performed(_) => Step::Done(Done::default()),
        _ => Step::Stay,
    }
}

static DECLARED: Declared = Declared {
    name: "sleep",
    aliases: &[],
    about: "Waits.",
    kind: Kind::Control,
    needs_call: false,
    waits: true,
    parameters: &[Parameter {
        name: "duration",
        aliases: &[],
        shape: Shape::Millis { min: 0, max: 2592000000 },
        required: true,
        about: "How long.",
    }],
    secrets: false,
};
