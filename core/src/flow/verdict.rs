//! What the end of an attempt comes to: where the cursor goes, what is set, whether it is tried again. The policy of
//! errors is applied here for every action.

use super::action::{Action, Done, Fault, Push, Step};
use super::declare::Kind;
use super::engine::Draft;
use super::fact::{Ending, Move, PushedList, Role, RunFact, StepEnd};
use super::history::{Failure, Outcome};
use super::policy;
use super::run::Run;
use super::script::{ActionNode, OnError};
use super::stack::{Turns, Work};
use super::state::label;
use super::vars::{is_reserved, json_bytes};
use crate::Now;
use crate::limit::VALUE_BYTES_MAX;
use crate::scene::{EndReason, ErrorClass};
use serde_json::{Value, json};
use std::sync::Arc;

/// Where a step stands.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub step: u64,
    pub stack: usize,
    pub index: usize,
    pub attempts: u32,
}

/// What the end of an attempt comes to.
#[expect(clippy::large_enum_variant, reason = "one at a time, for a moment")]
pub enum Verdict {
    Ended(StepEnd, Option<Ending>),
    Again { due: u64, error: Failure },
}

impl Run {
    /// What an attempt's result does: cursor, variables, policy.
    pub(super) fn judge(
        &self,
        now: Now,
        place: Place,
        node: &ActionNode,
        action: &dyn Action,
        result: Result<Step, Fault>,
        may_retry: bool,
    ) -> Verdict {
        let accepted = match result {
            Ok(Step::Done(done)) => self.accept(place, node, Outcome::Ok, done, None),
            Ok(Step::Cut(done)) => self.accept(place, node, Outcome::Interrupted, done, None),
            Ok(Step::Jump { target, done }) => match self.state.find(place.stack, &target) {
                Some(to) => self.accept(place, node, Outcome::Ok, done, Some(to)),
                None => Err(Fault::invalid(format!("target `{target}` is not in reach"))),
            },
            Ok(Step::Push(mut push)) => {
                match self.accept(place, node, Outcome::Ok, Done::with(push.output.take()), None) {
                    Ok(mut end) => match self.room_for(place, node, &push) {
                        Ok(None) => {
                            end.push = Some(PushedList { what: push.what, role: push.role });
                            Ok(end)
                        }
                        Ok(Some(ending)) => return Verdict::Ended(StepEnd::new(Outcome::Ok), Some(ending)),
                        Err(fault) => Err(fault),
                    },
                    Err(fault) => Err(fault),
                }
            }
            Ok(Step::Break) => match self.nearest_loop(place.stack) {
                Some(stack) => {
                    let mut end = StepEnd::new(Outcome::Ok);
                    end.to = Move::Leave { stack };
                    Ok(end)
                }
                None => Err(Fault::invalid("there is no loop around it")),
            },
            Ok(Step::End { reason, detail, by_hangup }) => {
                let ending = Ending { reason, detail, by_hangup, hold: false };
                return Verdict::Ended(StepEnd::new(Outcome::Ok), Some(ending));
            }
            Ok(Step::Render { .. } | Step::Wait { .. } | Step::Stay | Step::Needs(_) | Step::Call { .. }) => {
                Err(Fault::new(ErrorClass::Internal, "an action answered what it may not answer here"))
            }
            Err(fault) => Err(fault),
        };
        let fault = match accepted {
            Ok(end) => return Verdict::Ended(end, None),
            Err(fault) => fault,
        };
        let kind = action.declared().kind;
        let error = Failure::from(fault);
        let begun = &self.state.begun;
        let attempt = (begun.id, place.step, place.attempts);
        if may_retry
            && let Some(wait) =
                policy::retry_in_ms(&begun.script, node, kind, begun.reference.kind, error.class, attempt)
        {
            return Verdict::Again { due: now.wall_ms.saturating_add(wait), error };
        }
        self.fail(place, node, kind, error)
    }

    pub(super) fn fail(&self, place: Place, node: &ActionNode, kind: Kind, error: Failure) -> Verdict {
        let mut end = StepEnd::new(Outcome::Failed);
        let mut detail = failure_text(node, &error);
        end.error = Some(error);
        let goes_on = match policy::on_error(node, kind, self.state.begun.reference.kind) {
            OnError::Continue => self.following(place.stack, place.index, node).ok(),
            OnError::Fail => None,
            OnError::Goto(target) => {
                let to = self.state.find(place.stack, &target);
                if to.is_none() {
                    detail = format!("{detail}; its on_error target `{target}` is not in reach");
                }
                to
            }
        };
        match goes_on {
            Some(to) => {
                end.to = to;
                Verdict::Ended(end, None)
            }
            // Whoever fails looks for the nearest guard; only without one the run ends.
            None if self.nearest_guard(place.stack).is_some() => {
                end.to = self.nearest_guard(place.stack).map_or(Move::Stay, |stack| Move::Caught { stack });
                Verdict::Ended(end, None)
            }
            None => {
                let ending = Ending::new(EndReason::Failed, detail);
                Verdict::Ended(end, Some(ending))
            }
        }
    }

    fn nearest_loop(&self, from: usize) -> Option<usize> {
        let reach = self.state.frames.get(..=from)?;
        reach.iter().rposition(|frame| matches!(frame.work, Work::Turns(_)))
    }

    pub(super) fn nearest_guard(&self, from: usize) -> Option<usize> {
        let reach = self.state.frames.get(..=from.min(self.state.frames.len().saturating_sub(1)))?;
        reach.iter().rposition(|frame| matches!(frame.work, Work::Guarded { .. }))
    }

    /// Whether one more stack fits, and the first turn's variables. An ending, when the run has too many stacks.
    fn room_for(&self, place: Place, node: &ActionNode, push: &Push) -> Result<Option<Ending>, Fault> {
        let deepest = self.state.begun.script.limits.stack_depth;
        if self.state.frames.len() >= usize::try_from(deepest).unwrap_or(usize::MAX) {
            let label = label(node);
            let detail =
                format!("{deepest} stacks are in use, `{label}` ({}) would push one more", node.kind);
            return Ok(Some(Ending::new(EndReason::Limit, detail)));
        }
        if let Role::Loop { items } = &push.role {
            let node = Arc::new(node.clone());
            let turns = Turns { step: place.step, node, items: items.clone(), turn: 0 };
            self.admits_turn(&turns, 0)?;
        }
        Ok(None)
    }

    /// Whether the variables of a loop's turn fit.
    pub(super) fn admits_turn(&self, turns: &Turns, turn: u64) -> Result<(), Fault> {
        let variables = turns.variables(turn).unwrap_or_default();
        let sets = variables.iter().map(|(name, value)| (name.as_str(), value));
        self.state.vars.admits(sets).map_err(|error| Fault::invalid(error.to_string()))
    }

    /// A good end, within the caps of variables.
    pub(super) fn accept(
        &self,
        place: Place,
        node: &ActionNode,
        outcome: Outcome,
        done: Done,
        jump: Option<Move>,
    ) -> Result<StepEnd, Fault> {
        let mut end = StepEnd::new(outcome);
        for (name, value) in done.sets {
            if is_reserved(&name) {
                end.dropped.push(name);
            } else {
                end.sets.push((name, value));
            }
        }
        let size = json_bytes(&done.output);
        if size > VALUE_BYTES_MAX {
            return Err(Fault::invalid(format!(
                "its output has {size} bytes, expected at most {VALUE_BYTES_MAX}"
            )));
        }
        let named = node.name.as_deref().filter(|name| !done.output.is_null() && !is_reserved(name));
        let sets = end.sets.iter().map(|(name, value)| (name.as_str(), value));
        let admitted = self.state.vars.admits(sets.chain(named.map(|name| (name, &done.output))));
        admitted.map_err(|error| Fault::invalid(error.to_string()))?;
        end.to = match jump {
            Some(to) => to,
            None => self.following(place.stack, place.index, node)?,
        };
        end.output = done.output;
        end.learns = done.learns;
        end.typed = done.typed;
        end.counted = done.counted;
        end.recording = done.recording;
        Ok(end)
    }

    /// `${error}` for whoever `on_error` jumps to.
    pub(super) fn note_error(&mut self, draft: &mut Draft, node: &ActionNode, place: Place, end: &StepEnd) {
        let Some(error) = &end.error else { return };
        if !matches!(node.on_error, Some(OnError::Goto(_))) && !matches!(end.to, Move::Caught { .. }) {
            return;
        }
        let mut value = json!({
            "class": error.class,
            "message": error.message,
            "action": label(node),
            "type": node.kind,
            "attempts": place.attempts,
        });
        if !error.output.is_null() {
            value["output"] = error.output.clone();
        }
        self.record(draft, RunFact::Learned { name: "error".to_owned(), value });
    }
}

/// An error as the end of a run tells it.
pub fn failure_text(node: &ActionNode, error: &Failure) -> String {
    let class = serde_json::to_value(error.class).unwrap_or(Value::Null);
    let class = class.as_str().unwrap_or("?");
    format!("action `{}` ({}) failed: {class}: {}", label(node), node.kind, error.message)
}
