//! The step that waits: told what happens, due, too late, begun again, ended.

use super::action::{Fault, Happened, Live, Step};
use super::child;
use super::declare::Kind;
use super::engine::{Block, Draft};
use super::fact::{Ending, Move, RunFact, StepEnd};
use super::history::Outcome as StepOutcome;
use super::policy;
use super::run::Run;
use super::script::ActionNode;
use super::verdict::{Place, Verdict};
use crate::http::{FetchNo, Outcome};
use crate::scene::{EndReason, ErrorClass, Op};
use serde_json::Value;
use std::time::Duration;

impl Run {
    /// The step under way: due, too late, to begin again, or to be waited for.
    pub(super) fn attend(&mut self, draft: &mut Draft) -> Option<Block> {
        let current = self.state.current.clone()?;
        let now = draft.now.tick;
        if let Some(due) = current.retry_at {
            let due = *self.passing.retry.get_or_insert_with(|| draft.now.tick_at_wall(due));
            if now < due {
                return Some(Block::Held);
            }
            return self.begin_again(draft, true);
        }
        if self.child.is_some() {
            if self.passing.deadline.is_some_and(|deadline| deadline <= now) {
                let fault = Fault::new(ErrorClass::Timeout, "it took longer than its `timeout`");
                self.cancel_child(draft);
                self.conclude_current(draft, Err(fault));
                return None;
            }
            return self.with_child(draft, |child, inner| {
                child.freeze(inner.posture.line);
                child.passing.yielded = None;
                child.passing.stuck = false;
                child.go_on(inner)
            });
        }
        let Some(live) = &self.passing.live else { return self.begin_again(draft, false) };
        if self.passing.deadline.is_some_and(|deadline| deadline <= now) {
            if !live.sounds.is_empty() {
                draft.ops.push(Op::Hush);
            }
            if live.echoing {
                draft.ops.push(Op::Echo(false));
            }
            let fault = Fault::new(ErrorClass::Timeout, "it took longer than its `timeout`");
            self.conclude_current(draft, Err(fault));
            return None;
        }
        if live.due.is_some_and(|due| due <= now) {
            if let Some(live) = &mut self.passing.live {
                live.due = None;
            }
            self.tell(draft, &Happened::Due);
            return None;
        }
        Some(Block::Held)
    }

    /// Begins the step under way again: after a retry's wait, after its media was lost, or after a restart.
    fn begin_again(&mut self, draft: &mut Draft, is_retry: bool) -> Option<Block> {
        let current = self.state.current.clone()?;
        let entry = self.state.history.entry(current.step)?;
        let (node, parameters, attempts) = (entry.node.clone(), entry.parameters.clone(), entry.attempts);
        let Some(action) = self.action(&node.kind) else {
            // It began under a program that had this action, and goes on under one that has not.
            let detail = format!("actions of type `{}` are not available any more", node.kind);
            self.over_with(draft, EndReason::Failed, Some(detail), false, false);
            return None;
        };
        let declared = action.declared();
        if declared.needs_call && !self.has_call(draft.posture.line) {
            let mut end = StepEnd::new(StepOutcome::Interrupted);
            end.to =
                self.following(current.stack, current.index, &node).unwrap_or(Move::On(current.index + 1));
            self.ended(draft, current.step, end, None);
            return None;
        }
        // A plain wait goes on as it was; media, a request that is sent anew, and another attempt count.
        let asks = matches!(declared.kind, Kind::Io | Kind::Messaging);
        let counts = is_retry || declared.needs_call || asks;
        let place = Place {
            step: current.step,
            stack: current.stack,
            index: current.index,
            attempts: attempts + u32::from(counts),
        };
        let (mut live, mut ops) = (Live::default(), Vec::new());
        let mut scene =
            self.scene(draft, &node, action, place, &parameters, &current.memory, &mut live, &mut ops);
        let result = action.begin(&mut scene);
        let at = draft.now.wall_ms;
        match result {
            Ok(Step::Needs(want)) => {
                self.passing.stuck = true;
                return Some(want.into());
            }
            Ok(Step::Render { verbs, last }) => {
                match self.rendering(current.stack, current.index, &node, &verbs, last) {
                    Ok(Some(rendered)) => {
                        draft.ops.extend(verbs.into_iter().map(Op::Render));
                        self.passing.retry = None;
                        let memory = Value::Null;
                        self.record(draft, RunFact::StepAgain { at, memory, rendered: Some(rendered) });
                    }
                    Ok(None) => return Some(Block::Undone),
                    Err(fault) => self.conclude_current(draft, Err(fault)),
                }
            }
            Ok(Step::Call { workflow, inputs }) => match self.called(&workflow) {
                Ok(script) => {
                    self.passing.retry = None;
                    let memory = child::memory(self.next_child());
                    self.record(draft, RunFact::StepAgain { at, memory, rendered: None });
                    self.under_way(draft, &node, declared.kind, Live::default());
                    self.begin_child(draft, script, inputs);
                }
                Err(fault) => self.conclude_current(draft, Err(fault)),
            },
            Ok(Step::Wait { memory }) => {
                draft.ops.append(&mut ops);
                self.passing.retry = None;
                if counts {
                    self.record(draft, RunFact::StepAgain { at, memory, rendered: None });
                }
                self.under_way(draft, &node, declared.kind, live);
            }
            other => {
                draft.ops.append(&mut ops);
                self.passing.retry = None;
                if counts {
                    let memory = current.memory.clone();
                    self.record(draft, RunFact::StepAgain { at, memory, rendered: None });
                }
                self.conclude_current(draft, other);
            }
        }
        None
    }

    /// Tells the step under way what happened.
    pub(super) fn tell(&mut self, draft: &mut Draft, happened: &Happened<'_>) {
        let Some(current) = self.state.current.clone() else { return };
        let live = self.passing.live.take();
        // A report is news even for one that stands still; all else concerns sound and keys of a stream it lost.
        if live.is_none() && !matches!(happened, Happened::Recorded(_)) {
            return;
        }
        let (was_live, mut live, mut ops) = (live.is_some(), live.unwrap_or_default(), Vec::new());
        let Some(entry) = self.state.history.entry(current.step) else { return };
        let (node, parameters, attempts) = (entry.node.clone(), entry.parameters.clone(), entry.attempts);
        let Some(action) = self.action(&node.kind) else { return };
        let place = Place { step: current.step, stack: current.stack, index: current.index, attempts };
        let mut scene =
            self.scene(draft, &node, action, place, &parameters, &current.memory, &mut live, &mut ops);
        let result = action.resume(&mut scene, happened);
        draft.ops.append(&mut ops);
        if let Some(memory) = live.remember.take() {
            self.record(draft, RunFact::StepRemembers { memory });
        }
        match result {
            Ok(Step::Stay) => self.passing.live = was_live.then_some(live),
            Ok(Step::Wait { memory }) => {
                if matches!(happened, Happened::Fetched { .. }) {
                    // The next errand of several has its own time.
                    self.under_way(draft, &node, action.declared().kind, live);
                } else {
                    self.passing.live = was_live.then_some(live);
                }
                if memory != current.memory {
                    self.record(draft, RunFact::StepRemembers { memory });
                }
            }
            other => self.conclude_current(draft, other),
        }
    }

    /// An answer from outside, for the errand that is waited for; any other is stale.
    pub(super) fn fetched(&mut self, draft: &mut Draft, no: FetchNo, outcome: &Outcome) {
        let FetchNo { run, step, attempt, part } = no;
        let entry = self.state.current.as_ref().and_then(|current| {
            let entry = self.state.history.entry(current.step)?;
            (current.step == step && current.retry_at.is_none()).then_some(entry)
        });
        let is_awaited = run == self.state.begun.id
            && entry.is_some_and(|entry| entry.attempts == attempt)
            && self.passing.live.as_ref().is_some_and(|live| live.fetching == Some(part));
        if is_awaited {
            if let Some(live) = &mut self.passing.live {
                live.fetching = None;
            }
            self.tell(draft, &Happened::Fetched { part, outcome });
        } else {
            self.stale_answers += 1;
        }
    }

    pub(super) fn conclude_current(&mut self, draft: &mut Draft, result: Result<Step, Fault>) {
        self.passing.live = None;
        self.passing.deadline = None;
        let Some(current) = self.state.current.clone() else { return };
        let Some(entry) = self.state.history.entry(current.step) else { return };
        let (node, attempts) = (entry.node.clone(), entry.attempts);
        let Some(action) = self.action(&node.kind) else { return };
        let place = Place { step: current.step, stack: current.stack, index: current.index, attempts };
        match self.judge(draft.now, place, &node, action, result, true) {
            Verdict::Ended(end, finish) => {
                self.note_error(draft, &node, place, &end);
                self.ended(draft, current.step, end, finish);
            }
            Verdict::Again { due, error } => {
                self.record(draft, RunFact::StepRetries { at: draft.now.wall_ms, due, error });
            }
        }
    }

    fn ended(&mut self, draft: &mut Draft, step: u64, end: StepEnd, finish: Option<Ending>) {
        self.passing.live = None;
        self.passing.deadline = None;
        self.passing.retry = None;
        self.record(draft, RunFact::StepEnded { at: draft.now.wall_ms, step, end });
        if let Some(ending) = finish {
            self.close(draft, ending);
        }
    }

    pub(super) fn under_way(&mut self, draft: &Draft, node: &ActionNode, kind: Kind, live: Live) {
        let by_policy = policy::timeout_ms(&self.state.begun.script, node, kind);
        let timeout_ms = live.timeout_ms.or(by_policy);
        self.passing.live = Some(live);
        self.passing.deadline = timeout_ms.map(|ms| draft.now.tick + Duration::from_millis(ms));
    }
}
