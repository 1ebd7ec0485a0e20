//! From a voice webhook to a new call: which sub-workflow drives it, and which main workflow waits for it.

use super::fact::CallFact;
use crate::Now;
use crate::fact::{Entry, Fact, Key};
use crate::flow::run::RunSpec;
use crate::flow::script::Script;
use crate::flow::vars::is_reserved;
use crate::id::{RunId, WorkflowId};
use crate::notice::Arrival;
use crate::scene::{Reference, ReferenceKind};
use crate::workflow::{Waiting, Workflow};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The trigger by which a call starts a main workflow.
pub const INBOUND_CALL: &str = "twilio/inboundCall";

/// All that a new call needs.
#[derive(Debug, Clone)]
pub struct NewCall {
    pub arrived: CallFact,
    /// The sub-workflow's run.
    pub sub: RunSpec,
    /// The main workflow's first facts, to be written in one batch with the call's own.
    pub main: Vec<Entry>,
}

/// The workflow that a trigger names does not exist (any more).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("workflow {main} wants the sub-workflow {sub}, which does not exist")]
pub struct NoSubWorkflow {
    pub main: WorkflowId,
    pub sub: WorkflowId,
}

/// `main` and `sub` are the ids that the two runs get; a workflow without the trigger is run itself, without a main.
pub fn new_call(
    now: Now,
    arrival: Arrival,
    script: &Arc<Script>,
    find: &dyn Fn(&WorkflowId) -> Option<Arc<Script>>,
    ids: (RunId, RunId),
) -> Result<NewCall, NoSubWorkflow> {
    new_call_with(now, arrival, &Map::new(), script, find, ids)
}

/// As [`new_call`], with variables that whoever placed the call gives to both runs. What the runtime itself sets is
/// not theirs to set.
pub fn new_call_with(
    now: Now,
    arrival: Arrival,
    given: &Map<String, Value>,
    script: &Arc<Script>,
    find: &dyn Fn(&WorkflowId) -> Option<Arc<Script>>,
    (main, sub): (RunId, RunId),
) -> Result<NewCall, NoSubWorkflow> {
    let mut variables = call_variables(&arrival);
    let own = given.iter().filter(|(name, _)| !is_reserved(name));
    variables.extend(own.map(|(name, value)| (name.clone(), value.clone())));
    let trigger = script.triggers.iter().find(|trigger| trigger.kind == INBOUND_CALL);
    let Some(trigger) = trigger else {
        return Ok(assemble(
            arrival,
            script.id.clone(),
            script.clone(),
            sub,
            None,
            variables,
            None,
            Vec::new(),
        ));
    };
    let wanted = trigger.parameters.get("subWorkflow").and_then(Value::as_str).unwrap_or_default();
    let wanted = WorkflowId(wanted.to_owned());
    let Some(sub_script) = find(&wanted) else {
        return Err(NoSubWorkflow { main: script.id.clone(), sub: wanted });
    };
    let max_duration_ms = trigger.parameters.get("maxDuration").and_then(Value::as_u64);
    let spec = RunSpec {
        id: main,
        script: script.clone(),
        reference: Reference { kind: ReferenceKind::Workflow, id: arrival.call.0.clone() },
        variables: variables.clone(),
        complete_count: 0,
        parent: None,
        on_complete: None,
        webhook: None,
    };
    let waiting = Waiting {
        call: arrival.call.clone(),
        trigger_type: trigger.kind.clone(),
        trigger_name: trigger.name.clone(),
    };
    let entries = Workflow::begin_waiting(now, spec, waiting)
        .into_iter()
        .map(|fact| Entry { key: Key::Run(main), wall_ms: now.wall_ms, fact })
        .collect();
    Ok(assemble(arrival, script.id.clone(), sub_script, sub, Some(main), variables, max_duration_ms, entries))
}

/// The facts of a call that is turned away: listed, and nothing more.
pub fn turned_away(now: Now, arrival: Arrival, workflow: WorkflowId, sub: RunId) -> Vec<Entry> {
    let key = Key::Call(arrival.call.clone());
    let arrived = CallFact::Arrived {
        arrival,
        sub_workflow: workflow.clone(),
        workflow,
        sub_run: sub,
        main_run: None,
        max_duration_ms: None,
        resume_phrase: None,
    };
    [arrived, CallFact::Rejected]
        .map(|fact| Entry { key: key.clone(), wall_ms: now.wall_ms, fact: Fact::Call(fact) })
        .to_vec()
}

#[allow(clippy::too_many_arguments)] // one caller above, with every part named there
fn assemble(
    arrival: Arrival,
    workflow: WorkflowId,
    sub_script: Arc<Script>,
    sub_run: RunId,
    main_run: Option<RunId>,
    variables: Map<String, Value>,
    max_duration_ms: Option<u64>,
    main: Vec<Entry>,
) -> NewCall {
    let sub = RunSpec {
        id: sub_run,
        script: sub_script.clone(),
        reference: Reference::call(&arrival.call),
        variables,
        complete_count: 0,
        parent: None,
        on_complete: None,
        webhook: None,
    };
    let sub_workflow = sub_script.id.clone();
    let resume_phrase = sub_script.resume_phrase.clone();
    let arrived = CallFact::Arrived {
        arrival,
        workflow,
        sub_workflow,
        sub_run,
        main_run,
        max_duration_ms,
        resume_phrase,
    };
    NewCall { arrived, sub, main }
}

/// What every workflow of a call knows of it from the first moment on.
fn call_variables(arrival: &Arrival) -> Map<String, Value> {
    let status = arrival.status.map(|status| status.as_str());
    let pairs = [
        ("call.sid", Value::from(arrival.call.0.clone())),
        ("call.from", Value::from(arrival.from.clone())),
        ("call.to", Value::from(arrival.to.clone())),
        ("call.direction", Value::from(arrival.direction.clone())),
        ("call.status", Value::from(status)),
        ("call.account_sid", Value::from(arrival.account.clone())),
        ("call.caller_name", Value::from(arrival.caller_name.clone())),
        ("call.forwarded_from", Value::from(arrival.forwarded_from.clone())),
        ("call.digits", Value::from("")),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
