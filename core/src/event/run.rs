//! What is told of activeflows: that one began, that it waits, that it is over. Those that a run has called are told in
//! its story, under their own ids.

use super::{Event, Of, Out};
use crate::fact::{Fact, ParentFact};
use crate::flow::fact::{Begun, RunFact};
use crate::flow::state::State;
use crate::id::{CallId, RunId};
use crate::scene::{ReferenceKind, RunOver};
use crate::time::rfc3339_ms;
use crate::workflow::Waiting;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Follows the runs of one story.
#[derive(Debug, Default)]
pub(super) struct RunTeller {
    /// Those that are not over.
    runs: BTreeMap<RunId, Followed>,
    /// The run that the story's own facts are about.
    root: Option<RunId>,
    /// The trigger that it waits at.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Followed {
    state: State,
    sequence: u64,
    /// What comes was done by the run that this one goes on with, and told then.
    copied: bool,
}

impl RunTeller {
    pub fn tell(&mut self, fact: &RunFact, at: u64, out: &mut Out) {
        if let (RunFact::Begun(begun), None) = (fact, self.root) {
            self.root = Some(begun.id);
        }
        if let Some(root) = self.root {
            self.follow(root, fact, at, out);
        }
    }

    pub fn tell_parent(&mut self, fact: &ParentFact, at: u64, out: &mut Out) {
        // Of what a request caused tell the facts beside it.
        if matches!(fact, ParentFact::Obeyed(_)) {
            return;
        }
        Waiting::apply(&mut self.waiting, &Fact::Parent(fact.clone()));
        if let (Some(waiting), Some(followed)) =
            (&self.waiting, self.root.and_then(|root| self.runs.get_mut(&root)))
        {
            followed.say(at, out, "activeflow.updated", Some(waiting), None);
        }
    }

    fn follow(&mut self, run: RunId, fact: &RunFact, at: u64, out: &mut Out) {
        match fact {
            RunFact::Child { id, fact: inner } => {
                self.follow(*id, inner, at, out);
                if let Some(Followed { state, .. }) = self.runs.get_mut(&run) {
                    state.apply(fact);
                }
            }
            RunFact::Begun(begun) => {
                let mut followed = Followed::new(begun);
                followed.say(at, out, "activeflow.created", None, None);
                self.runs.insert(run, followed);
            }
            fact => {
                let is_root = self.root == Some(run);
                let waiting = self.waiting.as_ref().filter(|_| is_root);
                let Some(followed) = self.runs.get_mut(&run) else { return };
                followed.tell(fact, waiting, at, out);
                if followed.state.over.is_some() {
                    self.runs.remove(&run);
                }
            }
        }
    }
}

impl Followed {
    fn new(begun: &Begun) -> Followed {
        Followed { state: State::of(begun), sequence: 0, copied: begun.retry_of.is_some() }
    }

    fn tell(&mut self, fact: &RunFact, waiting: Option<&Waiting>, at: u64, out: &mut Out) {
        let idle = self.state.current.is_none() && self.state.pending.is_empty();
        self.state.apply(fact);
        self.state.forget_done();
        if let RunFact::Retried { .. } = fact {
            self.copied = false;
        }
        if self.copied {
            return;
        }
        match fact {
            // Verbs of one document are waited for together.
            RunFact::StepBegan { .. } if idle => self.say(at, out, "activeflow.updated", waiting, None),
            RunFact::StepRetries { due, error, .. } => {
                let retry = json!({ "due": rfc3339_ms(*due), "error": error });
                self.say(at, out, "activeflow.updated", waiting, Some(("retry", retry)));
            }
            RunFact::Over { over, .. } => {
                if let Some(refused) = self.refused(over) {
                    let refused = Some(("refused_flow_id", json!(refused)));
                    self.say(at, out, "activeflow.on_complete_refused", None, refused);
                }
                self.say(at, out, "activeflow.ended", None, None);
            }
            _ => {}
        }
    }

    /// What should have followed on this end, and may not.
    fn refused(&self, over: &RunOver) -> Option<String> {
        let begun = &self.state.begun;
        let wanted = begun.on_complete.clone();
        let wanted = wanted.or_else(|| begun.script.on_complete.as_ref().map(|flow| flow.0.clone()));
        wanted.filter(|_| over.on_complete.is_none())
    }

    fn say(
        &mut self,
        at: u64,
        out: &mut Out,
        kind: &'static str,
        waiting: Option<&Waiting>,
        more: Option<(&str, Value)>,
    ) {
        self.sequence += 1;
        out.push(|| {
            let mut data = self.state.row();
            if let Some(waiting) = waiting {
                data["current_action"] = waiting.shown(data["tm_create"].clone());
            }
            if let Some((name, value)) = more {
                data[name] = value;
            }
            let begun = &self.state.begun;
            let mut event =
                Event::new(Of::Run(begun.id), kind, begun.id.to_string(), self.sequence, at, data);
            event.call = of_call(begun);
            event
        });
    }
}

fn of_call(begun: &Begun) -> Option<CallId> {
    let of_call = matches!(
        begun.reference.kind,
        ReferenceKind::Call | ReferenceKind::Workflow | ReferenceKind::Recording
    );
    of_call.then(|| CallId(begun.reference.id.clone()))
}
