//! `condition_call_status`: an older form; goes on when the call stands so.

use super::{Action, Fault, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::substitute::as_text;

pub struct ConditionCallStatus;

impl Action for ConditionCallStatus {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let wanted = scene.parameters.require("status")?;
        let status = scene.vars.look_up("call.status").map(|value| as_text(&value)).unwrap_or_default();
        Ok(scene.go_on_if(present(&status) == present(wanted)))
    }
}

/// Other systems' words for the network's.
fn present(status: &str) -> &str {
    match status {
        "dialing" | "initiated" => "queued",
        "progressing" | "answered" => "in-progress",
        "terminating" | "canceling" | "hangup" => "completed",
        other => other,
    }
}

static DECLARED: Declared = Declared {
    name: "condition_call_status",
    aliases: &[],
    about: "An older form: goes on when the call stands so, else to another action.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[
        Parameter {
            name: "status",
            aliases: &[],
            shape: Shape::Text,
            required: true,
            about: "As in `call.status`: `ringing`, `in-progress`, `completed` …",
        },
        Parameter {
            name: "false_target_id",
            aliases: &[],
            shape: Shape::Target,
            required: false,
            about: "Where to when it does not hold; without it, on to the next action.",
        },
    ],
    secrets: false,
};
