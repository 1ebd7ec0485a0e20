//! What a story's facts come to: begun from nothing, or gone on with from a snapshot of itself.
//!
//! A snapshot is a shortcut and never the truth: one that this version did not write is left aside, and all facts are
//! folded instead.

use crate::call::state::CallState;
use crate::fact::{Entry, Fact, RunFact};
use crate::flow::fact::{FactError, VERSION};
use crate::flow::run::{Run, Snapshot};
use crate::once::Deeds;
use crate::workflow::{Waiting, Workflow};
use serde::{Deserialize, Serialize};

/// The version of what is folded here. It grows with every change of a durable state's shape or of what a fact does to
/// it; older snapshots are then left aside.
const STATE_VERSION: u32 = 2;

/// One story, folded.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fold {
    call: Option<CallState>,
    run: Option<Run>,
    /// Why the facts of its run don't fold.
    broken: Option<FactError>,
    waiting: Option<Waiting>,
    /// Of a main workflow; a call keeps its own.
    deeds: Deeds,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    facts_version: u32,
    state_version: u32,
    call: Option<CallState>,
    run: Option<Snapshot>,
    waiting: Option<Waiting>,
    deeds: Deeds,
}

impl Fold {
    pub fn of<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Fold {
        let mut fold = Fold::default();
        entries.into_iter().for_each(|entry| fold.apply(entry));
        fold
    }

    pub fn apply(&mut self, entry: &Entry) {
        match &entry.fact {
            Fact::Call(fact) => match &mut self.call {
                None => self.call = CallState::begin(fact, entry.wall_ms),
                Some(call) => call.apply(fact, entry.wall_ms),
            },
            Fact::Run(fact) => self.apply_to_run(fact),
            Fact::Parent(_) => {
                Waiting::apply(&mut self.waiting, &entry.fact);
                self.deeds.apply(&entry.fact);
            }
            Fact::Outbox(_) | Fact::Flow(_) | Fact::Outbound(_) => {}
        }
    }

    fn apply_to_run(&mut self, fact: &RunFact) {
        match &mut self.run {
            _ if self.broken.is_some() => {}
            Some(_) if matches!(fact, RunFact::Begun(_)) => self.broken = Some(FactError::BegunTwice),
            Some(run) => run.apply(fact),
            None => match Run::first(fact) {
                Ok(run) => self.run = Some(run),
                Err(error) => self.broken = Some(error),
            },
        }
    }

    /// For whoever keeps it; nothing where there is nothing to keep.
    pub fn snapshot(&self) -> Option<Vec<u8>> {
        if self.broken.is_some() || (self.call.is_none() && self.run.is_none()) {
            return None;
        }
        let kept = Kept {
            facts_version: VERSION,
            state_version: STATE_VERSION,
            call: self.call.clone(),
            run: self.run.as_ref().map(Run::snapshot),
            waiting: self.waiting.clone(),
            deeds: self.deeds.clone(),
        };
        serde_json::to_vec(&kept).ok()
    }

    /// `None` for a snapshot of another version, or none at all.
    pub fn from_snapshot(snapshot: &[u8]) -> Option<Fold> {
        let Kept { facts_version, state_version, call, run, waiting, deeds } =
            serde_json::from_slice(snapshot).ok()?;
        let run = run.map(Run::from_snapshot);
        (facts_version == VERSION && state_version == STATE_VERSION).then_some(Fold {
            call,
            run,
            broken: None,
            waiting,
            deeds,
        })
    }

    /// The call and the run of its flow, if they are there.
    pub fn into_call(self) -> Option<(CallState, Option<Run>)> {
        let run = self.run.filter(|_| self.broken.is_none());
        self.call.map(|call| (call, run))
    }

    pub fn into_workflow(self) -> Option<Workflow> {
        let run = self.run.filter(|_| self.broken.is_none())?;
        Some(Workflow::of(run, self.waiting, self.deeds))
    }
}
