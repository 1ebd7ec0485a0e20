//! What a run did, fact by fact, as people read it: for timelines.

use super::fact::{RunFact, StepEnd};
use super::history::Entry;
use super::script::ActionNode;
use super::state::State;
use crate::id::RunId;
use crate::secret;
use crate::time::rfc3339_ms;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Follows the runs of one story, so that a fact about a step can name its action.
#[derive(Default)]
pub struct Follower {
    runs: BTreeMap<RunId, State>,
    /// The run that the story's own facts are about.
    root: Option<RunId>,
}

/// What happened, in one word, and what belongs to it.
pub type Moment = (&'static str, Map<String, Value>);

impl Follower {
    /// The run that this fact is about, and what it says; nothing, when only machines care.
    pub fn follow(&mut self, fact: &RunFact) -> Option<(RunId, Moment)> {
        if let (RunFact::Begun(begun), None) = (fact, self.root) {
            self.root = Some(begun.id);
        }
        let root = self.root?;
        self.follow_one(root, fact).map(|(run, (word, said))| (run, (word, object(said))))
    }

    fn follow_one(&mut self, run: RunId, fact: &RunFact) -> Option<(RunId, (&'static str, Value))> {
        if let RunFact::Child { id, fact } = fact {
            let moment = self.follow_one(*id, fact);
            if let Some(state) = self.runs.get_mut(&run) {
                state.apply(&RunFact::Child { id: *id, fact: fact.clone() });
            }
            return moment;
        }
        if let RunFact::Begun(begun) = fact {
            self.runs.insert(run, State::of(begun));
            let said = json!({ "flow_id": Some(&begun.script.id).filter(|id| !id.0.is_empty()) });
            return Some((run, ("flow_began", said)));
        }
        let state = self.runs.get_mut(&run)?;
        let before = state.frames.last().and_then(|frame| frame.node()).cloned();
        let moment = match fact {
            RunFact::Stepped { end, .. } => before.map(|node| ("step", ended(&node, end, 1))),
            RunFact::StepBegan { .. } => before.map(|node| ("step_began", named(&node))),
            RunFact::StepEnded { step, end, .. } | RunFact::LoopFailed { step, end, .. } => {
                state.history.entry(*step).map(|entry| ("step", ended(&entry.node, end, entry.attempts)))
            }
            RunFact::StepAgain { .. } => under_way(state).map(|entry| ("step_began", named(&entry.node))),
            RunFact::StepRetries { due, error, .. } => under_way(state).map(|entry| {
                let mut said = named(&entry.node);
                said["error"] = json!(error);
                said["due"] = json!(rfc3339_ms(*due));
                ("retry", said)
            }),
            RunFact::Pushed { actions, .. } => Some(("actions_pushed", json!({ "actions": actions.len() }))),
            RunFact::Assigned { sets, .. } => {
                let names: Vec<&String> = sets.iter().map(|(name, _)| name).collect();
                Some(("variables_set", json!({ "names": names })))
            }
            RunFact::Retried { .. } => Some(("flow_retried", json!({ "retry_of": state.begun.retry_of }))),
            RunFact::Over { over, .. } => Some((
                "flow_over",
                json!({ "end_reason": over.reason, "end_detail": over.detail, "outputs": over.outputs }),
            )),
            // What a key was pressed for, or what became of a recording, is told by the call.
            _ => None,
        };
        state.apply(fact);
        moment.map(|moment| (run, moment))
    }
}

fn under_way(state: &State) -> Option<&Entry> {
    state.history.entry(state.current.as_ref()?.step)
}

fn named(node: &ActionNode) -> Value {
    json!({ "action": { "id": node.id, "type": node.kind, "name": node.name } })
}

fn ended(node: &ActionNode, end: &StepEnd, attempts: u32) -> Value {
    let mut said = named(node);
    said["outcome"] = json!(end.outcome);
    said["attempts"] = json!(attempts);
    if !end.output.is_null() {
        said["output"] = secret::shown_value(&end.output);
    }
    if let Some(error) = &end.error {
        said["error"] = json!(error);
    }
    said
}

fn object(said: Value) -> Map<String, Value> {
    if let Value::Object(said) = said { said } else { Map::new() }
}
