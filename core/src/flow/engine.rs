//! The engine of a run: which action is next, whether it may begin now, and what its end does. Cursor, policy and
//! limits are applied here for all actions, and nowhere else.

use super::action::parameters::settle;
use super::action::{
    Action, Done, Fault, Happened, Live, Outside, Parameters, RecordingNow, Scene, Step, Want,
};
use super::child;
use super::cursor;
use super::declare::Kind;
use super::fact::{Ending, Move, RunFact, StepEnd, StepStart};
use super::history::{Failure, Outcome};
use super::policy;
use super::run::Run;
use super::script::{ActionNode, MediaPreference, OnEnd};
use super::stack::{Turns, Work};
use super::state::{Pending, Recording, label};
use super::substitute::{Substitution, is_true};
use super::verdict::{Place, Verdict, failure_text};
use crate::Now;
use crate::notice::LineAnswer;
use crate::scene::{EndReason, Line, Op, Posture, ReferenceKind, Refused};
use crate::secret;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Steps of one turn. A flow of more goes on in the next turn, so that one call never holds up the others.
const TURN_STEPS_MAX: usize = 10_000;

/// One turn while it is being made.
pub struct Draft {
    pub now: Now,
    pub posture: Posture,
    pub facts: Vec<RunFact>,
    pub ops: Vec<Op>,
    /// The answer to a command.
    pub verdict: Option<Result<(), Refused>>,
}

impl Draft {
    pub fn new(now: Now, posture: Posture) -> Draft {
        Draft { now, posture, facts: Vec::new(), ops: Vec::new(), verdict: None }
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

/// An action that is ready to begin.
struct Prepared {
    start: StepStart,
    skipped: bool,
    /// Its parameters can't be had, or don't fit.
    fault: Option<Fault>,
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
        if looks_ahead && let Some(block) = self.document_stops(line) {
            return Some(block);
        }
        let (stack, index) = self.state.cursor();
        let Some(node) = self.state.frames.last().and_then(|frame| frame.node()).cloned() else {
            return self.stack_ends(draft, looks_ahead);
        };
        let Some(action) = self.action(&node.kind) else {
            self.unavailable(draft, &node);
            return None;
        };
        if looks_ahead && self.reads_undone(&node, action) {
            return Some(Block::Undone);
        }
        let Prepared { mut start, skipped, fault } = self.prepare(&node, action, line);
        if let Some(detail) = self.limit_reached(&node, start.waits) {
            self.close(draft, Ending::new(EndReason::Limit, detail));
            return None;
        }
        let at = draft.now.wall_ms;
        let place = Place { step: self.state.history.newest() + 1, stack, index, attempts: 1 };
        if skipped {
            return match self.following(stack, index, &node) {
                Ok(to) if looks_ahead && cursor::is_backward(&self.state.frames, stack, index, to) => {
                    Some(Block::Undone)
                }
                Ok(to) => {
                    let end = StepEnd { to, ..StepEnd::new(Outcome::Skipped) };
                    self.record(draft, RunFact::Stepped { at, start, end });
                    None
                }
                Err(fault) => self.conclude_new(draft, place, &node, action, start, Err(fault)),
            };
        }
        let (mut live, mut ops) = (Live::default(), Vec::new());
        let result = match fault {
            Some(fault) => Err(fault),
            None => {
                let parameters = start.parameters.clone();
                let mut scene =
                    self.scene(draft, &node, action, place, &parameters, &Value::Null, &mut live, &mut ops);
                let result = action.begin(&mut scene);
                start.kept_digits = scene.cleared.then(String::new);
                result
            }
        };
        match result {
            Ok(Step::Needs(want)) => Some(want.into()),
            Ok(Step::Render { verbs, last }) => {
                let rendered = match self.rendering(stack, index, &node, &verbs, last) {
                    Ok(Some(rendered)) => Some(rendered),
                    Ok(None) => return Some(Block::Undone),
                    Err(fault) => return self.conclude_new(draft, place, &node, action, start, Err(fault)),
                };
                draft.ops.extend(verbs.into_iter().map(Op::Render));
                self.record(draft, RunFact::StepBegan { at, start, memory: Value::Null, rendered });
                None
            }
            Ok(Step::Call { .. }) if looks_ahead => Some(Block::Stream),
            Ok(Step::Call { workflow, inputs }) => match self.called(&workflow) {
                Ok(script) => {
                    let memory = child::memory(self.next_child());
                    self.record(draft, RunFact::StepBegan { at, start, memory, rendered: None });
                    self.under_way(draft, &node, action.declared().kind, Live::default());
                    self.begin_child(draft, script, inputs);
                    None
                }
                Err(fault) => self.conclude_new(draft, place, &node, action, start, Err(fault)),
            },
            // What waits for something else begins when all before it is done.
            Ok(Step::Wait { .. }) if looks_ahead => Some(Block::Stream),
            Ok(Step::Wait { memory }) => {
                draft.ops.append(&mut ops);
                self.record(draft, RunFact::StepBegan { at, start, memory, rendered: None });
                self.under_way(draft, &node, action.declared().kind, live);
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

    /// A type that this version doesn't perform: documents with one are refused, so it came another way.
    fn unavailable(&mut self, draft: &mut Draft, node: &ActionNode) {
        let message = format!("actions of type `{}` are not available", node.kind);
        let error = Failure::from(Fault::invalid(message));
        let detail = failure_text(node, &error);
        let parameters = Arc::new(node.parameters.clone());
        let start = StepStart { parameters, missing: Vec::new(), waits: false, kept_digits: None };
        let end = StepEnd { error: Some(error), ..StepEnd::new(Outcome::Failed) };
        self.record(draft, RunFact::Stepped { at: draft.now.wall_ms, start, end });
        self.close(draft, Ending::new(EndReason::Failed, detail));
    }

    /// The top stack has no action left: back to the one below it, or the end of the run.
    fn stack_ends(&mut self, draft: &mut Draft, looks_ahead: bool) -> Option<Block> {
        if self.state.frames.len() > 1 {
            let work = self.state.frames.last().map(|frame| frame.work.clone());
            return match work {
                // A turn is a jump back; and what fails in a guarded list must find its guard.
                Some(Work::Turns(_) | Work::Guarded { .. }) if looks_ahead => Some(Block::Undone),
                Some(Work::Turns(turns)) if turns.variables(turns.turn + 1).is_some() => {
                    self.turn_again(draft, &turns);
                    None
                }
                _ => {
                    self.record(draft, RunFact::Popped);
                    None
                }
            };
        }
        let hold = self.state.begun.script.on_end == OnEnd::Hold;
        self.close(draft, Ending { reason: EndReason::Completed, detail: None, by_hangup: false, hold });
        None
    }

    /// The loop on top begins its next turn, if its variables still fit.
    fn turn_again(&mut self, draft: &mut Draft, turns: &Turns) {
        let limits = &self.state.begun.script.limits;
        if self.state.in_a_row >= limits.iterations {
            let (label, in_a_row) = (label(&turns.node), self.state.in_a_row);
            let detail = format!(
                "loop detected at `{label}` (loop): {in_a_row} actions in a row without one that waits"
            );
            self.close(draft, Ending::new(EndReason::Limit, detail));
            return;
        }
        match self.admits_turn(turns, turns.turn + 1) {
            Ok(()) => self.record(draft, RunFact::Turned),
            Err(fault) => {
                let below = self.state.frames.len().saturating_sub(2);
                let index = self.state.frames.get(below).map_or(0, |frame| frame.index);
                let place =
                    Place { step: turns.step, stack: below, index: index.saturating_sub(1), attempts: 1 };
                let error = Failure::from(fault);
                if let Verdict::Ended(mut end, finish) = self.fail(place, &turns.node, Kind::Control, error) {
                    // The loop's own stack goes, wherever its error leads.
                    if end.to == Move::Stay || matches!(end.to, Move::On(_)) {
                        end.to = Move::To { stack: below, index };
                    }
                    self.note_error(draft, &turns.node, place, &end);
                    self.record(draft, RunFact::LoopFailed { at: draft.now.wall_ms, step: turns.step, end });
                    if let Some(ending) = finish {
                        self.close(draft, ending);
                    }
                }
            }
        }
    }

    /// Fills an action in from the variables, and decides whether it is skipped.
    fn prepare(&self, node: &ActionNode, action: &dyn Action, line: Line) -> Prepared {
        let declared = action.declared();
        let mut substitution = Substitution::with(&self.state.vars, &self.kept);
        let wanted = match &node.when {
            Some(when) => substitution.value(when).map(|value| is_true(&value)),
            None => Ok(true),
        };
        substitution.secrets(declared.secrets);
        let available = !declared.needs_call || self.has_call(line);
        let skipped = !available || matches!(wanted, Ok(false));
        let mut fault = wanted.err();
        let mut filled = substitution.map(&node.parameters, action.markup()).unwrap_or_else(|error| {
            fault.get_or_insert(error);
            Map::new()
        });
        let missing = substitution.missing();
        if !skipped && fault.is_none() {
            let settled = settle(declared.parameters, &node.parameters, &mut filled);
            // What came is quoted, and it may name a secret.
            fault = settled.err().map(|fault| Fault::new(fault.class, secret::shown(&fault.message)));
        }
        let waits = !skipped && action.waits(&Parameters(&filled));
        let start = StepStart { parameters: Arc::new(filled), missing, waits, kept_digits: None };
        Prepared { start, skipped, fault }
    }

    /// A bound of the run that one more action would break.
    fn limit_reached(&self, node: &ActionNode, waits: bool) -> Option<String> {
        let limits = &self.state.begun.script.limits;
        let (label, kind) = (label(node), &node.kind);
        if !waits && self.state.steps >= u64::from(limits.steps) {
            return Some(format!("{} steps are done, `{label}` ({kind}) would be one more", limits.steps));
        }
        let in_a_row = self.state.in_a_row;
        (!waits && in_a_row >= limits.iterations).then(|| {
            format!("loop detected at `{label}` ({kind}): {in_a_row} actions in a row without one that waits")
        })
    }

    /// All that was rendered is done, in order; the answer belongs to the last of it.
    pub(super) fn performed(&mut self, draft: &mut Draft, answer: &LineAnswer) {
        let rendered: Vec<Pending> = self.state.pending.clone();
        let mut ending = None;
        let last = answer;
        for (at, pending) in rendered.iter().enumerate() {
            let Some(entry) = self.state.history.entry(pending.step) else { continue };
            let (node, parameters, attempts) = (entry.node.clone(), entry.parameters.clone(), entry.attempts);
            let Some(action) = self.action(&node.kind) else { continue };
            let is_last = at + 1 == rendered.len();
            let answer = if is_last { answer } else { &LineAnswer::Returned };
            let place = Place { step: pending.step, stack: pending.stack, index: pending.index, attempts };
            let (mut live, mut ops) = (Live::default(), Vec::new());
            let mut scene =
                self.scene(draft, &node, action, place, &parameters, &Value::Null, &mut live, &mut ops);
            let result = match action.resume(&mut scene, &Happened::Performed(answer)) {
                // The whole document was left; how far it had come, nobody says.
                _ if *last == LineAnswer::Interrupted => Ok(Step::Cut(Done::default())),
                Ok(Step::Stay) => Ok(Step::Done(Done::default())),
                other => other,
            };
            // What was performed can't be performed again: its document is gone.
            let (mut end, finish) = match self.judge(draft.now, place, &node, action, result, false) {
                Verdict::Ended(end, finish) => (end, finish),
                Verdict::Again { .. } => continue,
            };
            // The cursor went on when it was rendered; only a jump by `on_error` moves it again.
            let leads_away = matches!(end.to, Move::To { .. } | Move::Caught { .. });
            if end.outcome != Outcome::Failed || !leads_away {
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

    /// The run's end, at once or when what was rendered is performed.
    pub(super) fn close(&mut self, draft: &mut Draft, ending: Ending) {
        if self.state.pending.is_empty() {
            self.over_with(draft, ending.reason, ending.detail, ending.by_hangup, ending.hold);
        } else {
            self.record(draft, RunFact::Ending { at: draft.now.wall_ms, ending });
        }
    }

    /// Where the cursor goes after an action.
    pub(super) fn following(&self, stack: usize, index: usize, node: &ActionNode) -> Result<Move, Fault> {
        match node.next.as_deref().and_then(cursor::target) {
            None => Ok(Move::On(index + 1)),
            Some(next) => {
                let found = self.state.find(stack, next);
                found.ok_or_else(|| Fault::invalid(format!("`next` `{next}` is not in reach")))
            }
        }
    }

    pub(super) fn has_call(&self, line: Line) -> bool {
        self.state.begun.reference.kind == ReferenceKind::Call && line != Line::Absent
    }

    #[expect(clippy::too_many_arguments, reason = "a scene is what it is made of")]
    pub(super) fn scene<'a>(
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
            timezone: &state.begun.script.timezone,
            flows: &*self.flows,
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
            first_sound: self.sounds_of()
                | (place.step & 0xF_FFFF) << 28
                | u64::from(place.attempts & 0xFFFF) << 12,
            outside: Some(Outside {
                begun: &state.begun,
                step: place.step,
                attempt: place.attempts,
                timeout_ms: policy::timeout_ms(&state.begun.script, node, Kind::Io).unwrap_or(0),
                frames: &state.frames,
            }),
            live,
            ops,
        }
    }

    pub(super) fn outputs(&self) -> Result<Map<String, Value>, Fault> {
        let mut substitution = Substitution::with(&self.state.vars, &self.kept);
        let outputs = &self.state.begun.script.outputs;
        outputs.iter().map(|output| Ok((output.name.clone(), substitution.value(&output.value)?))).collect()
    }
}
