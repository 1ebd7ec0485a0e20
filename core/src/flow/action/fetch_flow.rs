//! `fetch_flow`: pushes the actions of another workflow, as it is now.

use super::{Action, Fault, Push, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::fact::Pushed;
use crate::id::WorkflowId;

pub struct FetchFlow;

impl Action for FetchFlow {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let id = scene.parameters.require("flow_id")?;
        let script = scene.flows.find(&WorkflowId(id.to_owned()));
        let script = script.ok_or_else(|| Fault::invalid(format!("there is no workflow `{id}`")))?;
        // The snapshot goes into the fact: what is edited later changes nothing here.
        Ok(Step::Push(Push::plain(Pushed::Actions(script.actions.clone()))))
    }
}

static DECLARED: Declared = Declared {
    name: "fetch_flow",
    aliases: &[],
    about: "Pushes the actions of another workflow.",
    kind: Kind::Control,
    needs_call: false,
    waits: false,
    parameters: &[Parameter {
        name: "flow_id",
        aliases: &[],
        shape: Shape::Workflow,
        required: true,
        about: "Its id.",
    }],
    secrets: false,
};
