//! The engine of a run: which action is next, whether it may begin now, and what its end does. Cursor, policy and
//! limits are applied here for all actions, and nowhere else.

use super::action::parameters::settle;
use super::action::{self, Action, Done, Fault, Happened, Live, Parameters, RecordingNow, Scene, Step, Want};
use super::cursor;
use super::declare::Kind;
use super::fact::{Ending, Move, Rendered, RunFact, StepEnd, StepStart};
use super::history::{Failure, Outcome};
use super::policy;
use super::run::Run;
use super::script::{ActionNode, MediaPreference, OnEnd, OnError};
use super::state::{Pending, Recording, label};
use super::substitute::{Substitution, is_true, mentions};
use super::vars::is_reserved;
use crate::Now;
use crate::document::Verb;
use crate::limit::{DOCUMENT_BYTES_MAX, DOCUMENT_VERBS_MAX};
use crate::notice::LineAnswer;
use crate::scene::{EndReason, ErrorClass, Line, Op, Posture, ReferenceKind};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Steps of one turn. A flow of more goes on in the next turn, so that one call never holds up the others.
const TURN_STEPS_MAX: usize = 10_000;

/// Room in a document for what is not a verb: the stream with its parameters, the tail, the frame.
const DOCUMENT_RESERVE: usize = 4 * 1024;

/// One turn while it is being made.
pub struct Draft {
    pub now: Now,
    pub posture: Posture,
    pub facts: Vec<RunFact>,
    pub ops: Vec<Op>,
}

impl Draft {
    pub fn new(now: Now, posture: Posture) -> Draft {
        Draft { now, posture, facts: Vec::new(), ops: Vec::new() }
    }
}

/// Why a turn went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    Stream,
    Verb,
    Line,
    Undone,
    /// A step is under way.
    Held,
    Yielded,
}

impl From<Want> for Block {
    fn from(want: Want) -> Block {
        match want {
            Want::Stream => Block::Stream,
            Want::Verb => Block::Verb,
            Want::Line => Block::Line,
            Want::Undone => Block::Undone,
        }
    }
}

/// Where a step stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    step: u64,
    stack: usize,
    index: usize,
    attempts: u32,
}

/// What the end of an attempt comes to.
enum Verdict {
    Ended(StepEnd, Option<Ending>),
    Again { due: u64, error: Failure },
}

impl Run {
    /// Goes on as far as possible.
    pub(super) fn go_on(&mut self, draft: &mut Draft) -> Option<Block> {
        for _ in 0..TURN_STEPS_MAX {
            if self.state.over.is_some() {
                return None;
            }
            if let Some(ending) = self.state.ending.clone() {
                if self.state.pending.is_empty() {
                    self.over_with(draft, ending.reason, ending.detail, ending.by_hangup, ending.hold);
                }
                return None;
            }
            let blocked =
                if self.state.current.is_some() { self.attend(draft) } else { self.next_step(draft) };
            if blocked.is_some() {
                return blocked;
            }
        }
        self.passing.yielded = Some(draft.now.tick);
        Some(Block::Yielded)
    }

    /// The action at the cursor. `None`: something was done, go on.
    fn next_step(&mut self, draft: &mut Draft) -> Option<Block> {
        let line = draft.posture.line;
        let looks_ahead = !self.state.pending.is_empty();
        if looks_ahead {
            if line != Line::Asking {
                return Some(Block::Line);
            }
            if self.state.pending.last().is_some_and(|last| last.last)
                || self.rendered_verbs() >= DOCUMENT_VERBS_MAX
            {
                return Some(Block::Undone);
            }
        }
        let (stack, index) = self.state.cursor();
        let Some(node) = self.state.frames.last().and_then(|frame| frame.node()).cloned() else {
            if stack > 0 {
                self.record(draft, RunFact::Popped);
            } else {
                let hold = self.state.begun.script.on_end == OnEnd::Hold;
                self.close(
                    draft,
                    Ending { reason: EndReason::Completed, detail: None, by_hangup: false, hold },
                );
            }
            return None;
        };
        let Some(action) = action::find(&node.kind) else {
            let detail = format!("action `{}` ({}) is not available", label(&node), node.kind);
            self.close(
                draft,
                Ending { reason: EndReason::Failed, detail: Some(detail), by_hangup: false, hold: false },
            );
            return None;
        };
        if looks_ahead && self.reads_undone(&node, action) {
            return Some(Block::Undone);
        }
        if let Some(detail) = self.steps_exceeded(&node) {
            self.close(
                draft,
                Ending { reason: EndReason::Limit, detail: Some(detail), by_hangup: false, hold: false },
            );
            return None;
        }
        let place = Place { step: self.state.history.newest() + 1, stack, index, attempts: 1 };

        let mut substitution = Substitution::new(&self.state.vars);
        let wanted = match &node.when {
            Some(when) => substitution.value(when).map(|value| is_true(&value)),
            None => Ok(true),
        };
        let declared = action.declared();
        let available = !declared.needs_call || self.has_call(line);
        let skipped = !available || matches!(wanted, Ok(false));
        let waits = declared.waits && !skipped;
        if !waits && self.state.in_a_row >= self.state.begun.script.limits.iterations {
            let detail = format!(
                "loop detected at `{}` ({}): {} actions in a row without one that waits",
                label(&node),
                node.kind,
                self.state.in_a_row
            );
            self.close(
                draft,
                Ending { reason: EndReason::Limit, detail: Some(detail), by_hangup: false, hold: false },
            );
            return None;
        }
        let mut fault = wanted.err();
        let mut filled = match substitution.map(&node.parameters, action.markup()) {
            Ok(filled) => filled,
            Err(error) => {
                fault.get_or_insert(error);
                Map::new()
            }
        };
        let missing = substitution.missing();
        if !skipped && fault.is_none() {
            fault = settle(declared.parameters, &node.parameters, &mut filled).err();
        }
        let parameters = Arc::new(filled);
        let mut start = StepStart { parameters: parameters.clone(), missing, waits, kept_digits: None };

        let (mut live, mut ops) = (Live::default(), Vec::new());
        let result = if skipped {
            let mut end = StepEnd::new(Outcome::Skipped);
            return match self.following(stack, index, &node) {
                Ok(to) if looks_ahead && cursor::is_backward(&self.state.frames, stack, index, to) => {
                    Some(Block::Undone)
                }
                Ok(to) => {
                    end.to = to;
                    self.record(draft, RunFact::Stepped { at: draft.now.wall_ms, start, end });
                    None
                }
                Err(fault) => self.conclude_new(draft, place, &node, action, start, Err(fault)),
            };
        } else if let Some(fault) = fault {
            Err(fault)
        } else {
            let mut scene =
                self.scene(draft, &node, action, place, &parameters, &Value::Null, &mut live, &mut ops);
            let result = action.begin(&mut scene);
            if scene.cleared {
                start.kept_digits = Some(String::new());
            }
            result
        };
        match result {
            Ok(Step::Needs(want)) => Some(want.into()),
            Ok(Step::Render { verbs, last }) => {
                let rendered = match self.rendering(stack, index, &node, &verbs, last) {
                    Ok(Some(rendered)) => rendered,
                    Ok(None) => return Some(Block::Undone),
                    Err(fault) => return self.conclude_new(draft, place, &node, action, start, Err(fault)),
                };
                draft.ops.extend(verbs.into_iter().map(Op::Render));
                let at = draft.now.wall_ms;
                self.record(
                    draft,
                    RunFact::StepBegan { at, start, memory: Value::Null, rendered: Some(rendered) },
                );
                None
            }
            Ok(Step::Wait { memory }) => {
                if looks_ahead {
                    return Some(Block::Stream);
                }
                draft.ops.append(&mut ops);
                self.record(
                    draft,
                    RunFact::StepBegan { at: draft.now.wall_ms, start, memory, rendered: None },
                );
                self.under_way(draft, &node, declared.kind, live);
                None
            }
            other => {
                let blocked = self.conclude_new(draft, place, &node, action, start, other);
                if blocked.is_none() {
                    draft.ops.append(&mut ops);
                }
                blocked
            }
        }
    }

    /// The step under way: due, too late, to begin again, or to be waited for.
    fn attend(&mut self, draft: &mut Draft) -> Option<Block> {
        let current = self.state.current.clone()?;
        let now = draft.now.tick;
        if let Some(due) = current.retry_at {
            let due = *self.passing.retry.get_or_insert_with(|| draft.now.tick_at_wall(due));
            if now < due {
                return Some(Block::Held);
            }
            return self.begin_again(draft, true);
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
        let action = action::find(&node.kind)?;
        let declared = action.declared();
        if declared.needs_call && !self.has_call(draft.posture.line) {
            let mut end = StepEnd::new(Outcome::Interrupted);
            end.to =
                self.following(current.stack, current.index, &node).unwrap_or(Move::On(current.index + 1));
            self.ended(draft, current.step, end, None);
            return None;
        }
        // A wait that doesn't need the line goes on as it was; media, and another attempt, count.
        let counts = is_retry || declared.needs_call;
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
            Ok(Step::Needs(want)) => return Some(want.into()),
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
        let Some(action) = action::find(&node.kind) else { return };
        let place = Place { step: current.step, stack: current.stack, index: current.index, attempts };
        let mut scene =
            self.scene(draft, &node, action, place, &parameters, &current.memory, &mut live, &mut ops);
        let result = action.resume(&mut scene, happened);
        draft.ops.append(&mut ops);
        match result {
            Ok(Step::Stay) => self.passing.live = was_live.then_some(live),
            Ok(Step::Wait { memory }) => {
                self.passing.live = was_live.then_some(live);
                if memory != current.memory {
                    self.record(draft, RunFact::StepRemembers { memory });
                }
            }
            other => self.conclude_current(draft, other),
        }
    }

    /// All that was rendered is done, in order; the answer belongs to the last of it.
    pub(super) fn performed(&mut self, draft: &mut Draft, answer: &LineAnswer) {
        let rendered: Vec<Pending> = self.state.pending.clone();
        let mut ending = None;
        for (at, pending) in rendered.iter().enumerate() {
            let Some(entry) = self.state.history.entry(pending.step) else { continue };
            let (node, parameters, attempts) = (entry.node.clone(), entry.parameters.clone(), entry.attempts);
            let Some(action) = action::find(&node.kind) else { continue };
            let is_last = at + 1 == rendered.len();
            let answer = if is_last { answer } else { &LineAnswer::Returned };
            let place = Place { step: pending.step, stack: pending.stack, index: pending.index, attempts };
            let (mut live, mut ops) = (Live::default(), Vec::new());
            let mut scene =
                self.scene(draft, &node, action, place, &parameters, &Value::Null, &mut live, &mut ops);
            let result = match action.resume(&mut scene, &Happened::Performed(answer)) {
                Ok(Step::Stay) => Ok(Step::Done(Done::default())),
                other => other,
            };
            // What was performed can't be performed again: its document is gone.
            let (mut end, finish) = match self.judge(draft.now, place, &node, action, result, false) {
                Verdict::Ended(end, finish) => (end, finish),
                Verdict::Again { .. } => continue,
            };
            // The cursor went on when it was rendered; only a jump by `on_error` moves it again.
            if end.outcome != Outcome::Failed || !matches!(end.to, Move::To { .. }) {
                end.to = Move::Stay;
            }
            self.note_error(draft, &node, place, &end);
            ending = ending.or(finish);
            self.record(draft, RunFact::StepEnded { at: draft.now.wall_ms, step: pending.step, end });
        }
        if let Some(ending) = ending {
            self.over_with(draft, ending.reason, ending.detail, ending.by_hangup, ending.hold);
        }
    }

    /// An action that ended in the turn in which it began.
    fn conclude_new(
        &mut self,
        draft: &mut Draft,
        place: Place,
        node: &ActionNode,
        action: &dyn Action,
        start: StepStart,
        result: Result<Step, Fault>,
    ) -> Option<Block> {
        let at = draft.now.wall_ms;
        let looks_ahead = !self.state.pending.is_empty();
        match self.judge(draft.now, place, node, action, result, true) {
            Verdict::Ended(end, finish) => {
                let Place { stack, index, .. } = place;
                if looks_ahead && cursor::is_backward(&self.state.frames, stack, index, end.to) {
                    return Some(Block::Undone);
                }
                self.note_error(draft, node, place, &end);
                self.record(draft, RunFact::Stepped { at, start, end });
                if let Some(ending) = finish {
                    self.close(draft, ending);
                }
            }
            Verdict::Again { .. } if looks_ahead => return Some(Block::Stream),
            Verdict::Again { due, error } => {
                self.record(draft, RunFact::StepBegan { at, start, memory: Value::Null, rendered: None });
                self.record(draft, RunFact::StepRetries { at, due, error });
            }
        }
        None
    }

    fn conclude_current(&mut self, draft: &mut Draft, result: Result<Step, Fault>) {
        self.passing.live = None;
        self.passing.deadline = None;
        let Some(current) = self.state.current.clone() else { return };
        let Some(entry) = self.state.history.entry(current.step) else { return };
        let (node, attempts) = (entry.node.clone(), entry.attempts);
        let Some(action) = action::find(&node.kind) else { return };
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

    /// What an attempt's result does: cursor, variables, policy.
    fn judge(
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
            Ok(Step::End { reason, detail, by_hangup }) => {
                let ending = Ending { reason, detail, by_hangup, hold: false };
                return Verdict::Ended(StepEnd::new(Outcome::Ok), Some(ending));
            }
            Ok(Step::Render { .. } | Step::Wait { .. } | Step::Stay | Step::Needs(_)) => {
                Err(Fault::new(ErrorClass::Internal, "an action answered what it may not answer here"))
            }
            Err(fault) => Err(fault),
        };
        let fault = match accepted {
            Ok(end) => return Verdict::Ended(end, None),
            Err(fault) => fault,
        };
        let kind = action.declared().kind;
        let error = Failure { class: fault.class, message: fault.message };
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

    fn fail(&self, place: Place, node: &ActionNode, kind: Kind, error: Failure) -> Verdict {
        let mut end = StepEnd::new(Outcome::Failed);
        let mut detail = failure_text(node, &error);
        end.error = Some(error);
        let goes_on = match policy::on_error(node, kind) {
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
            None => {
                let ending =
                    Ending { reason: EndReason::Failed, detail: Some(detail), by_hangup: false, hold: false };
                Verdict::Ended(end, Some(ending))
            }
        }
    }

    /// A good end, within the caps of variables.
    fn accept(
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
    fn note_error(&mut self, draft: &mut Draft, node: &ActionNode, place: Place, end: &StepEnd) {
        let Some(error) = &end.error else { return };
        if !matches!(node.on_error, Some(OnError::Goto(_))) {
            return;
        }
        let value = json!({
            "class": error.class,
            "message": error.message,
            "action": label(node),
            "type": node.kind,
            "attempts": place.attempts,
        });
        self.record(draft, RunFact::Learned { name: "error".to_owned(), value });
    }

    /// The run's end, at once or when what was rendered is performed.
    fn close(&mut self, draft: &mut Draft, ending: Ending) {
        if self.state.pending.is_empty() {
            self.over_with(draft, ending.reason, ending.detail, ending.by_hangup, ending.hold);
        } else {
            self.record(draft, RunFact::Ending { at: draft.now.wall_ms, ending });
        }
    }

    fn under_way(&mut self, draft: &Draft, node: &ActionNode, kind: Kind, live: Live) {
        self.passing.live = Some(live);
        self.passing.deadline = policy::timeout_ms(&self.state.begun.script, node, kind)
            .map(|ms| draft.now.tick + Duration::from_millis(ms));
    }

    /// Where the cursor goes after an action.
    fn following(&self, stack: usize, index: usize, node: &ActionNode) -> Result<Move, Fault> {
        match node.next.as_deref().and_then(cursor::target) {
            None => Ok(Move::On(index + 1)),
            Some(next) => {
                let found = self.state.find(stack, next);
                found.ok_or_else(|| Fault::invalid(format!("`next` `{next}` is not in reach")))
            }
        }
    }

    fn has_call(&self, line: Line) -> bool {
        self.state.begun.reference.kind == ReferenceKind::Call && line != Line::Absent
    }

    fn steps_exceeded(&self, node: &ActionNode) -> Option<String> {
        let most = self.state.begun.script.limits.steps;
        (self.state.history.newest() >= u64::from(most))
            .then(|| format!("{most} steps are done, `{}` ({}) would be one more", label(node), node.kind))
    }

    fn rendered_verbs(&self) -> usize {
        self.state.pending.iter().map(|pending| pending.verbs).sum()
    }

    /// How verbs go into the document; `None` when they have to wait for the next one.
    fn rendering(
        &self,
        stack: usize,
        index: usize,
        node: &ActionNode,
        verbs: &[Verb],
        last: bool,
    ) -> Result<Option<Rendered>, Fault> {
        let to = self.following(stack, index, node)?;
        let bytes = verbs.iter().map(weight).sum::<usize>();
        let room = DOCUMENT_BYTES_MAX - DOCUMENT_RESERVE;
        if bytes > room {
            return Err(Fault::invalid(format!(
                "its verbs have {bytes} bytes, expected at most {room} a document"
            )));
        }
        let before = self.state.pending.iter().map(|pending| pending.bytes).sum::<usize>();
        if self.rendered_verbs() + verbs.len() > DOCUMENT_VERBS_MAX || before + bytes > room {
            return Ok(None);
        }
        let last = last || cursor::is_backward(&self.state.frames, stack, index, to);
        Ok(Some(Rendered { verbs: verbs.len(), bytes, last, to }))
    }

    /// Whether an action reads what only the caller's return will tell.
    fn reads_undone(&self, node: &ActionNode, action: &dyn Action) -> bool {
        if action.reads_digits(node) || action.reads_clock() {
            return true;
        }
        let mut names = vec!["call.digits"];
        let entries = self.state.pending.iter().filter_map(|pending| self.state.history.entry(pending.step));
        names.extend(entries.filter_map(|entry| entry.node.name.as_deref()));
        node.parameters.values().chain(&node.when).any(|raw| mentions(raw, &names))
    }

    /// Whether the next action is a Gather that takes in a prompt rendered now.
    fn next_gathers(&self, stack: usize, index: usize, node: &ActionNode) -> bool {
        let (stack, mut next) = match self.following(stack, index, node) {
            Ok(to) if cursor::is_backward(&self.state.frames, stack, index, to) => return false,
            Ok(Move::On(next)) => (stack, next),
            Ok(Move::To { stack, index }) => (stack, index),
            _ => return false,
        };
        if self.rendered_verbs() + 2 > DOCUMENT_VERBS_MAX {
            return false;
        }
        // The end of a stack leads on to where the one below it stands.
        let found = self.state.frames.get(..=stack).unwrap_or(&[]).iter().enumerate().rev().find_map(
            |(at, frame)| {
                next = if at == stack { next } else { frame.index };
                frame.list.node(next)
            },
        );
        let Some(following) = found.filter(|following| following.when.is_none()) else { return false };
        let Some(action) = action::find(&following.kind) else { return false };
        let always = self.state.begun.script.media == MediaPreference::Always;
        let filled = Substitution::new(&self.state.vars).map(&following.parameters, action.markup());
        filled.is_ok_and(|filled| action.gathers(&Parameters(&filled), always))
    }

    #[expect(clippy::too_many_arguments, reason = "a scene is what it is made of")]
    fn scene<'a>(
        &'a self,
        draft: &Draft,
        node: &'a ActionNode,
        action: &dyn Action,
        place: Place,
        parameters: &'a Map<String, Value>,
        memory: &'a Value,
        live: &'a mut Live,
        ops: &'a mut Vec<Op>,
    ) -> Scene<'a> {
        let state = &self.state;
        let asks = draft.posture.line == Line::Asking && action.declared().kind == Kind::Media;
        Scene {
            now: draft.now,
            line: draft.posture.line,
            local_speech: draft.posture.local_speech,
            always_stream: state.begun.script.media == MediaPreference::Always,
            node,
            parameters: Parameters(parameters),
            vars: &state.vars,
            typed: &state.typed,
            cleared: false,
            jumps: state
                .frames
                .get(place.stack)
                .and_then(|f| f.jumps.get(&place.index))
                .copied()
                .unwrap_or(0),
            undone: !state.pending.is_empty(),
            next_gathers: asks
                && node.parameters.contains_key("digits_handle")
                && self.next_gathers(place.stack, place.index, node),
            memory,
            recording: state.recording.as_ref().map(|recording| match recording {
                Recording::Stream { ordinal, .. } => RecordingNow::Stream { ordinal: *ordinal },
                Recording::Network => RecordingNow::Network,
                Recording::Ended { report } => RecordingNow::Ended(report),
            }),
            next_recording: state.recordings + 1,
            // Rising within the run, and never given twice: by step, then attempt, then place.
            first_sound: place.step << 28 | u64::from(place.attempts & 0xFFFF) << 12,
            live,
            ops,
        }
    }

    pub(super) fn outputs(&self) -> Result<Map<String, Value>, Fault> {
        let mut substitution = Substitution::new(&self.state.vars);
        let outputs = &self.state.begun.script.outputs;
        outputs.iter().map(|output| Ok((output.name.clone(), substitution.value(&output.value)?))).collect()
    }
}

fn failure_text(node: &ActionNode, error: &Failure) -> String {
    let class = serde_json::to_value(error.class).unwrap_or(Value::Null);
    let class = class.as_str().unwrap_or("?");
    format!("action `{}` ({}) failed: {class}: {}", label(node), node.kind, error.message)
}

/// An upper bound of a verb's bytes in a document.
fn weight(verb: &Verb) -> usize {
    /// Element, attributes and the action's URL.
    const FRAME: usize = 400;
    // A quote becomes six bytes of XML and is two of JSON already; nothing grows by more.
    let text = |text: &str| text.len() + 5 * text.matches(['&', '<', '>', '"', '\'']).count();
    FRAME
        + match verb {
            Verb::Say(say) if say.ssml => say.text.len(),
            Verb::Say(say) => text(&say.text),
            Verb::Play { url } => text(url),
            Verb::Gather(gather) => {
                let hints = gather.speech.iter().flat_map(|speech| &speech.hints).map(|hint| text(hint) + 1);
                gather.prompts.iter().map(weight).sum::<usize>() + hints.sum::<usize>()
            }
            Verb::Dial(dial) => dial.nouns.len() * FRAME,
            _ => 0,
        }
}
