//! A run inside a run: the child of a `subflow` step. It lives in its parent's owner, turns and batches; its facts carry
//! its own id. While it runs, what happens on the line happens to it.

use super::action::{Done, Fault, Step};
use super::engine::{Block, Draft};
use super::fact::RunFact;
use super::run::{Run, RunSpec};
use super::script::Script;
use super::state::{State, own_part};
use crate::Now;
use crate::id::{RunId, WorkflowId};
use crate::scene::{Command, EndReason, ErrorClass, Event, RunOver};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::sync::Arc;

/// Children that ended, kept to be looked at. A loop may call a million of them; the journal has them all.
const ENDED_MAX: usize = 32;

impl Run {
    /// Every run that it has called and still knows, and those that they have, as the API lists them: oldest first.
    pub fn children_views(&self) -> Vec<Value> {
        let children = self.ended_children.iter().chain(self.child.as_deref());
        children.flat_map(|child| std::iter::once(child.view()).chain(child.children_views())).collect()
    }

    /// The run with this id: this one, or one that it has called.
    pub fn find(&self, id: RunId) -> Option<&Run> {
        if self.id() == id {
            return Some(self);
        }
        self.ended_children.iter().chain(self.child.as_deref()).find_map(|child| child.find(id))
    }

    /// The workflow of a `subflow`, or why there is none.
    pub(super) fn called(&self, workflow: &str) -> Result<Arc<Script>, Fault> {
        let found = self.flows.find(&WorkflowId(workflow.to_owned()));
        found.ok_or_else(|| Fault::invalid(format!("there is no workflow `{workflow}`")))
    }

    pub(super) fn next_child(&self) -> RunId {
        self.state.begun.id.child(self.state.children + 1)
    }

    /// Begins the child of the step that was just begun.
    pub(super) fn begin_child(&mut self, draft: &mut Draft, script: Arc<Script>, inputs: Map<String, Value>) {
        let begun = &self.state.begun;
        let id = self.next_child();
        let mut variables = inputs;
        variables.extend(self.state.vars.of_call());
        let spec = RunSpec {
            id,
            script,
            reference: begun.reference.clone(),
            variables,
            complete_count: 0,
            parent: Some(begun.id),
            on_complete: None,
            webhook: None,
        };
        let nested = begun.nested + 1;
        let typed = self.state.typed.clone();
        let (mut child, facts) = Run::begin_nested(draft.now, spec, nested, typed);
        child.bind(self.flows.clone());
        for fact in facts {
            self.state.apply(&RunFact::Child { id, fact: Box::new(fact.clone()) });
            draft.facts.push(RunFact::Child { id, fact: Box::new(fact) });
        }
        self.child = Some(Box::new(child));
        // The root counts as the first.
        let depth = self.state.begun.script.limits.subflow_depth;
        if nested >= depth {
            let detail = format!("{depth} activeflows are inside each other, this would be one more");
            self.with_child(draft, |child, inner| {
                child.over_with(inner, EndReason::Limit, Some(detail), false, false);
                None
            });
        }
    }

    /// Lets the child do something; its facts and ops become this run's. When it is over, so is the step.
    pub(super) fn with_child(
        &mut self,
        draft: &mut Draft,
        act: impl FnOnce(&mut Run, &mut Draft) -> Option<Block>,
    ) -> Option<Block> {
        let mut child = self.child.take()?;
        let mut inner = Draft::new(draft.now, draft.posture.clone());
        let block = act(&mut child, &mut inner);
        let id = child.id();
        for fact in inner.facts {
            let fact = RunFact::Child { id, fact: Box::new(fact) };
            self.state.apply(&fact);
            draft.facts.push(fact);
        }
        draft.ops.append(&mut inner.ops);
        draft.verdict = draft.verdict.or(inner.verdict);
        let over = child.over().cloned();
        match over {
            None => {
                self.child = Some(child);
                block.or(Some(Block::Held))
            }
            Some(over) => {
                let (typed, digits) =
                    (child.state.typed.clone(), child.vars().look_up("call.digits").map(Cow::into_owned));
                self.retire(child);
                let learns = digits.into_iter().map(|digits| ("call.digits".to_owned(), digits)).collect();
                self.child_ended(draft, &over, Some(typed), learns);
                None
            }
        }
    }

    pub(super) fn cancel_child(&mut self, draft: &mut Draft) {
        let Some(mut child) = self.child.take() else { return };
        let mut inner = Draft::new(draft.now, draft.posture.clone());
        child.over_with(
            &mut inner,
            EndReason::Canceled,
            Some("its parent went on without it".to_owned()),
            false,
            false,
        );
        let id = child.id();
        for fact in inner.facts {
            let fact = RunFact::Child { id, fact: Box::new(fact) };
            self.state.apply(&fact);
            draft.facts.push(fact);
        }
        draft.ops.append(&mut inner.ops);
        self.retire(child);
    }

    fn child_ended(
        &mut self,
        draft: &mut Draft,
        over: &RunOver,
        typed: Option<String>,
        learns: Vec<(String, Value)>,
    ) {
        let result = match over.reason {
            EndReason::Completed | EndReason::Stopped => {
                let output = Value::Object(over.outputs.clone());
                Ok(Step::Done(Done { output, typed, learns, ..Done::default() }))
            }
            reason => {
                let detail = over.detail.as_deref().unwrap_or("without a detail");
                let message = format!("the subflow ended as {}: {detail}", reason.as_str());
                Err(Fault::new(ErrorClass::Rejected, message))
            }
        };
        self.conclude_current(draft, result);
        // It hung up the call, so nothing is left to do here either.
        if over.by_hangup {
            self.over_with(draft, EndReason::Completed, over.detail.clone(), true, false);
        }
    }

    /// Keeps a child that is over, for a while.
    pub(super) fn retire(&mut self, child: Box<Run>) {
        if self.ended_children.len() >= ENDED_MAX {
            self.ended_children.pop_front();
        }
        self.ended_children.push_back(*child);
    }

    /// Whether an event belongs to the child: while there is one, all of the line's do, except what this run began.
    pub(super) fn is_for_child(&self, event: &Event) -> bool {
        let Some(child) = &self.child else { return false };
        match event {
            Event::Sounded { sound, .. } => child.has_begun(*sound),
            Event::Fetched { no, .. } => child.runs(no.run),
            Event::Recorded { report } => child.state.records(report.ordinal) || child.is_for_child(event),
            Event::Commanded { command: Command::Interrupt, .. } => true,
            Event::Commanded { run, .. } => child.runs(*run),
            Event::Proceed | Event::Due | Event::Learned { .. } | Event::End { .. } => false,
            Event::Performed { .. } | Event::Pressed { .. } => true,
        }
    }

    /// Whether a run is this one, or under way inside it.
    fn runs(&self, id: RunId) -> bool {
        self.id() == id || self.child.as_ref().is_some_and(|child| child.runs(id))
    }

    /// Sounds of nested runs carry a part of the run's id.
    fn has_begun(&self, sound: u64) -> bool {
        sound >> 48 == self.sounds_of() >> 48
            || self.child.as_ref().is_some_and(|child| child.has_begun(sound))
    }

    pub(super) fn sounds_of(&self) -> u64 {
        if self.state.begun.nested == 0 { 0 } else { own_part(self.id()) << 48 }
    }

    /// Applies what a child wrote down.
    pub(super) fn apply_to_child(&mut self, fact: &RunFact) {
        match (fact, self.child.as_mut()) {
            (RunFact::Begun(begun), None) => self.child = Some(Box::new(Run::of(State::of(begun)))),
            (fact, Some(child)) => child.apply(fact),
            (_, None) => {}
        }
        if let Some(child) = self.child.take_if(|child| child.over().is_some()) {
            self.retire(child);
        }
    }

    /// The beginnings of the runs that follow on the ends of the last turn.
    pub(super) fn follow(&mut self, now: Now) -> Vec<RunFact> {
        self.successors().into_iter().flat_map(|spec| Run::begin(now, spec).1).collect()
    }

    /// The runs that follow on the ends of the last turn: this one's and its children's.
    fn successors(&mut self) -> Vec<RunSpec> {
        let mut specs = std::mem::take(&mut self.follow);
        for child in self.ended_children.iter_mut().chain(self.child.as_deref_mut()) {
            specs.extend(child.successors());
        }
        specs
    }

    /// What is to follow on the end that was just decided; nothing, when that workflow is gone.
    pub(super) fn successor(&self, workflow: &str) -> Option<RunSpec> {
        let begun = &self.state.begun;
        let script = self.flows.find(&WorkflowId(workflow.to_owned()))?;
        let mut variables: Map<String, Value> = self.state.vars.own().clone().into_iter().collect();
        variables.extend(self.state.vars.of_call());
        Some(RunSpec {
            // Apart from those of children and stacks.
            id: begun.id.child(u64::MAX),
            script,
            reference: begun.reference.clone(),
            variables,
            complete_count: begun.complete_count.saturating_add(1),
            parent: Some(begun.id),
            on_complete: None,
            webhook: begun.webhook.clone(),
        })
    }
}

/// The memory of a step that waits for its child.
pub(super) fn memory(child: RunId) -> Value {
    json!({ "child": child })
}
