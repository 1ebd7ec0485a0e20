//! A run's durable state: what the fold of its facts gives. Nothing here decides anything.

use super::action::on_error::SECOND;
use super::cursor;
use super::fact::{
    Begun, Ending, FactError, Move, Pushed, PushedList, RecordingMark, Rendered, Role, RunFact, StepEnd,
    StepStart, VERSION,
};
use super::history::{History, Outcome};
use super::script::ActionNode;
use super::stack::{Frame, List, Turns, Work};
use super::vars::{Vars, is_reserved};
use crate::id::RunId;
use crate::scene::{Gap, RecordingReport, ReferenceKind, RunOver};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub const MAIN: &str = "main";

/// Ordinals of stacks, apart from those of child runs.
pub const PUSHED: u64 = 1 << 32;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Without its variables: those are in `vars`, and the whole of it is in the journal.
    pub begun: Box<Begun>,
    pub frames: Vec<Frame>,
    pub history: History,
    /// Rendered and not yet performed, in order.
    pub pending: Vec<Pending>,
    pub current: Option<Current>,
    pub ending: Option<Ending>,
    pub over: Option<Box<RunOver>>,
    pub over_at: Option<u64>,
    /// Digits typed and taken by nobody yet.
    pub typed: String,
    pub vars: Vars,
    /// Actions since the last one that waits.
    pub in_a_row: u32,
    pub recordings: u64,
    pub recording: Option<Recording>,
    pub pushes: u64,
    /// Steps that did not wait, in this lifetime.
    pub steps: u64,
    /// Blocks that were executed.
    pub executes: u32,
    /// Children so far.
    pub children: u64,
    pub updated_at: u64,
}

/// A step that was rendered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub step: u64,
    pub stack: usize,
    pub index: usize,
    pub verbs: usize,
    pub bytes: usize,
    pub last: bool,
}

/// The step under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Current {
    pub step: u64,
    pub stack: usize,
    pub index: usize,
    pub memory: Value,
    /// It waits for another attempt until then.
    pub retry_at: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Recording {
    Stream { ordinal: u64, step: u64 },
    Network,
    Ended { report: Box<Value> },
}

impl State {
    pub fn new(fact: &RunFact) -> Result<State, FactError> {
        let RunFact::Begun(begun) = fact else { return Err(FactError::NotBegun(word(fact))) };
        if begun.version > VERSION {
            return Err(FactError::Newer { came: begun.version });
        }
        Ok(State::of(begun))
    }

    pub fn of(begun: &Begun) -> State {
        let main = Frame::new(MAIN.to_owned(), begun.script.list(), None);
        State {
            begun: Box::new(Begun { variables: Map::new(), ..begun.clone() }),
            frames: vec![main],
            history: History::default(),
            pending: Vec::new(),
            current: None,
            ending: None,
            over: None,
            over_at: None,
            typed: begun.typed.clone(),
            vars: first_variables(begun),
            in_a_row: 0,
            recordings: first_recording(begun),
            recording: None,
            pushes: 0,
            steps: 0,
            executes: 0,
            children: 0,
            updated_at: begun.at,
        }
    }

    pub fn apply(&mut self, fact: &RunFact) {
        match fact {
            // The first is the only one that begins, and made this state; what is forgotten is for those who look.
            RunFact::Begun(_) | RunFact::Forgotten { .. } | RunFact::RetriedAs { .. } => {}
            RunFact::Stepped { at, start, end } => {
                let (stack, index) = self.cursor();
                let step = self.start(*at, start);
                self.end(*at, step, stack, index, end);
            }
            RunFact::StepBegan { at, start, memory, rendered } => {
                let (stack, index) = self.cursor();
                let step = self.start(*at, start);
                self.current = Some(Current { step, stack, index, memory: memory.clone(), retry_at: None });
                self.render(rendered.as_ref());
            }
            RunFact::StepAgain { at, memory, rendered } => {
                self.updated_at = *at;
                if let Some(current) = &mut self.current {
                    current.memory = memory.clone();
                    current.retry_at = None;
                    if let Some(entry) = self.history.entry_mut(current.step) {
                        entry.attempts += 1;
                    }
                }
                self.render(rendered.as_ref());
            }
            RunFact::StepRetries { at, due, error } => {
                self.updated_at = *at;
                if let Some(current) = &mut self.current {
                    current.retry_at = Some(*due);
                    if let Some(entry) = self.history.entry_mut(current.step) {
                        entry.error = Some(error.clone());
                    }
                }
            }
            RunFact::StepRemembers { memory } => {
                if let Some(current) = &mut self.current {
                    current.memory = memory.clone();
                }
            }
            RunFact::StepEnded { at, step, end } => {
                if let Some(current) = self.current.take_if(|current| current.step == *step) {
                    self.end(*at, *step, current.stack, current.index, end);
                } else if let Some(place) = self.pending.iter().position(|pending| pending.step == *step) {
                    let pending = self.pending.remove(place);
                    self.end(*at, *step, pending.stack, pending.index, end);
                }
            }
            RunFact::Pushed { at, id, actions } => {
                self.updated_at = *at;
                self.pushes += 1;
                let from = self.frames.last().and_then(Frame::node).map(|node| label(node).to_owned());
                self.frames.push(Frame::new(id.clone(), Arc::new(List::new(actions)), from));
            }
            RunFact::Popped => self.pop(),
            RunFact::Turned => self.turn(),
            RunFact::LoopFailed { at, step, end } => {
                let (stack, index) = self.cursor();
                self.end(*at, *step, stack, index, end);
            }
            // The run keeps its children beside its state; here they are only counted.
            RunFact::Child { fact, .. } => {
                self.children += u64::from(matches!(**fact, RunFact::Begun(_)));
            }
            RunFact::Typed { digit } => self.typed.push(*digit),
            RunFact::Learned { name, value } => self.vars.set_runtime(name, value.clone()),
            RunFact::Assigned { at, sets } => {
                self.updated_at = *at;
                for (name, value) in sets {
                    self.vars.set(name, value.clone());
                }
            }
            RunFact::Recorded { at, report } => self.recorded(*at, report),
            RunFact::Ending { at, ending } => {
                self.updated_at = *at;
                self.ending = Some(ending.clone());
            }
            RunFact::Over { at, over } => self.close(*at, over),
            RunFact::Retried { at, to } => self.start_over(*at, *to),
        }
    }

    /// The stack on top and the action in it that is next, or under way.
    pub fn cursor(&self) -> (usize, usize) {
        (self.frames.len().saturating_sub(1), self.frames.last().map_or(0, |frame| frame.index))
    }

    /// Whether this recording of our own is active.
    pub fn records(&self, number: u64) -> bool {
        matches!(self.recording, Some(Recording::Stream { ordinal, .. }) if ordinal == number)
    }

    fn start(&mut self, at: u64, start: &StepStart) -> u64 {
        self.updated_at = at;
        self.in_a_row = if start.waits { 0 } else { self.in_a_row.saturating_add(1) };
        self.steps += u64::from(!start.waits);
        if let Some(kept) = &start.kept_digits {
            self.typed.clone_from(kept);
        }
        if let Some(node) = self.frames.last().and_then(Frame::node) {
            self.history.begin(at, node.clone(), start);
        }
        self.history.newest()
    }

    /// The step under way became verbs: it is pending, and the cursor goes on.
    fn render(&mut self, rendered: Option<&Rendered>) {
        let Some(rendered) = rendered else { return };
        if let Some(current) = self.current.take() {
            let Current { step, stack, index, .. } = current;
            let Rendered { verbs, bytes, last, to } = *rendered;
            self.pending.push(Pending { step, stack, index, verbs, bytes, last });
            self.go(stack, to);
        }
    }

    fn end(&mut self, at: u64, step: u64, stack: usize, index: usize, end: &StepEnd) {
        self.updated_at = at;
        if let Some(entry) = self.history.entry_mut(step) {
            entry.ended_at = Some(at);
            entry.outcome = Some(end.outcome);
            entry.output = end.output.clone();
            entry.error.clone_from(&end.error);
            entry.dropped.clone_from(&end.dropped);
            let named = entry.node.name.as_deref().filter(|name| !end.output.is_null() && !is_reserved(name));
            if let Some(name) = named {
                self.vars.set(name, end.output.clone());
            }
        }
        for (name, value) in &end.sets {
            self.vars.set(name, value.clone());
        }
        for (name, value) in &end.learns {
            self.vars.set_runtime(name, value.clone());
        }
        if let Some(typed) = &end.typed {
            self.typed.clone_from(typed);
        }
        if end.counted
            && let Some(frame) = self.frames.get_mut(stack)
        {
            *frame.jumps.entry(index).or_insert(0) += 1;
        }
        match end.recording {
            Some(RecordingMark::Began { network: false }) => {
                self.recordings += 1;
                self.recording = Some(Recording::Stream { ordinal: self.recordings, step });
            }
            Some(RecordingMark::Began { network: true }) => self.recording = Some(Recording::Network),
            Some(RecordingMark::Closed) => self.recording = None,
            None => {}
        }
        // Before the cursor moves: the list belongs to the action that it stands at.
        let pushed = end.push.as_ref().and_then(|push| self.frame_of(step, stack, index, push));
        if end.outcome == Outcome::Ok
            && self.history.entry(step).is_some_and(|entry| entry.node.kind == "block")
        {
            self.executes = self.executes.saturating_add(1);
        }
        self.go(stack, end.to);
        if let Some(frame) = pushed {
            self.frames.push(frame);
            self.begin_turn(0);
        }
    }

    /// The stack that a step pushes.
    fn frame_of(&mut self, step: u64, stack: usize, index: usize, push: &PushedList) -> Option<Frame> {
        let frame = self.frames.get(stack)?;
        let node = frame.list.node(index)?.clone();
        let list = match &push.what {
            Pushed::List(name) => frame.list.nested(index, name)?.clone(),
            Pushed::Actions(actions) => Arc::new(List::new(actions)),
        };
        let work = match &push.role {
            Role::Plain => Work::Once,
            Role::Loop { items } => {
                Work::Turns(Turns { step, node: node.clone(), items: items.clone(), turn: 0 })
            }
            Role::Guard => Work::Guarded { second: frame.list.nested(index, SECOND).cloned() },
        };
        let mut pushed = Frame::new(self.next_stack(), list, Some(label(&node).to_owned()));
        pushed.work = work;
        Some(pushed)
    }

    fn next_stack(&mut self) -> String {
        let id = self.begun.id.child(PUSHED | self.pushes);
        self.pushes += 1;
        id.to_string()
    }

    /// The top stack is done: back to the one below it.
    fn pop(&mut self) {
        if self.frames.len() > 1
            && let Some(frame) = self.frames.pop()
            && let Work::Turns(turns) = frame.work
        {
            self.end_loop(&turns);
        }
    }

    /// The loop on top turns: its actions anew, their counts too.
    fn turn(&mut self) {
        let Some(frame) = self.frames.last_mut() else { return };
        let Work::Turns(turns) = &mut frame.work else { return };
        turns.turn += 1;
        let turn = turns.turn;
        frame.index = 0;
        frame.jumps.clear();
        self.begin_turn(turn);
    }

    fn begin_turn(&mut self, turn: u64) {
        let Some(Work::Turns(turns)) = self.frames.last().map(|frame| &frame.work) else { return };
        self.in_a_row = self.in_a_row.saturating_add(1);
        for (name, value) in turns.variables(turn).unwrap_or_default() {
            self.vars.set(&name, value);
        }
    }

    /// A loop that ended by itself or was left gives its turns.
    fn end_loop(&mut self, turns: &Turns) {
        self.forget_loop(turns);
        let count = Value::from(turns.turn + 1);
        if let Some(name) = turns.node.name.as_deref().filter(|name| !is_reserved(name)) {
            self.vars.set(name, count.clone());
        }
        if let Some(entry) = self.history.entry_mut(turns.step) {
            entry.output = count;
        }
    }

    fn forget_loop(&mut self, turns: &Turns) {
        for part in ["item", "index"] {
            self.vars.remove(&format!("{}.{part}", turns.name()));
        }
    }

    /// Drops the stacks from this one on, never the main one.
    fn drop_stacks(&mut self, from: usize) {
        while self.frames.len() > from.max(1) {
            if let Some(Frame { work: Work::Turns(turns), .. }) = self.frames.pop() {
                self.forget_loop(&turns);
            }
        }
    }

    fn go(&mut self, from: usize, to: Move) {
        let (stack, index) = match to {
            Move::Stay => return,
            Move::On(index) => (from, index),
            Move::To { stack, index } => {
                self.drop_stacks(stack.saturating_add(1));
                (stack, index)
            }
            Move::Leave { stack } => {
                self.drop_stacks(stack.saturating_add(1));
                return self.pop();
            }
            Move::Caught { stack } => {
                self.drop_stacks(stack.saturating_add(1));
                let guarded = if self.frames.len() > 1 { self.frames.pop() } else { None };
                if let Some(Frame { work: Work::Guarded { second: Some(second) }, return_action, .. }) =
                    guarded
                {
                    let id = self.next_stack();
                    self.frames.push(Frame::new(id, second, return_action));
                }
                return;
            }
        };
        if let Some(frame) = self.frames.get_mut(stack) {
            frame.index = index;
        }
    }

    fn recorded(&mut self, at: u64, report: &RecordingReport) {
        let Some(Recording::Stream { ordinal, step }) = self.recording else { return };
        if ordinal != report.ordinal {
            return;
        }
        self.updated_at = at;
        let output = recording_output(report);
        // A `recording_stop` that waits hands it out; one that ended by itself belongs to the step that began it.
        let stop_waits = self
            .current
            .as_ref()
            .and_then(|current| self.history.entry(current.step))
            .is_some_and(|entry| entry.node.kind == "recording_stop");
        if !stop_waits && let Some(entry) = self.history.entry_mut(step) {
            entry.output = output.clone();
            if let Some(name) = entry.node.name.as_deref().filter(|name| !is_reserved(name)) {
                self.vars.set(name, output.clone());
            }
        }
        self.recording = Some(Recording::Ended { report: Box::new(output) });
    }

    /// The stacks and variables stay; what was done and counted was another run's.
    fn start_over(&mut self, at: u64, to: Option<Move>) {
        self.updated_at = at;
        self.history = History::default();
        self.pending.clear();
        self.current = None;
        self.ending = None;
        self.recording = None;
        (self.in_a_row, self.steps, self.executes) = (0, 0, 0);
        for frame in &mut self.frames {
            if let Work::Turns(turns) = &mut frame.work {
                turns.step = 0; // its entry is not in this history
            }
        }
        if let Some(to) = to {
            let (stack, _) = self.cursor();
            self.go(stack, to);
        }
    }

    /// For whoever follows a run without showing its history.
    pub fn forget_done(&mut self) {
        self.history.forget_done();
    }

    fn close(&mut self, at: u64, over: &RunOver) {
        self.updated_at = at;
        let under_way =
            self.pending.drain(..).map(|pending| pending.step).chain(self.current.take().map(|c| c.step));
        for step in under_way {
            if let Some(entry) = self.history.entry_mut(step) {
                entry.ended_at = Some(at);
                entry.outcome = Some(Outcome::Interrupted);
            }
        }
        self.ending = None;
        self.over = Some(Box::new(over.clone()));
        self.over_at = Some(at);
    }

    /// The place of a target as seen from a stack.
    pub fn find(&self, stack: usize, target: &str) -> Option<Move> {
        let stack = stack.min(self.frames.len().saturating_sub(1));
        let (stack, index) = cursor::find(&self.frames, stack, target)?;
        Some(Move::To { stack, index })
    }
}

/// How people know an action: by its name, else its id.
pub fn label(node: &ActionNode) -> &str {
    node.name.as_deref().unwrap_or(&node.id)
}

/// Recordings of a nested run are numbered apart from those of the runs around it: the number names the file.
fn first_recording(begun: &Begun) -> u64 {
    if begun.nested == 0 { 0 } else { own_part(begun.id) << 20 }
}

/// A part of an id that differs from its parent's; never 0.
pub fn own_part(id: RunId) -> u64 {
    let [.., high, low] = *id.0.as_bytes();
    u64::from(high) << 8 | u64::from(low) | 1
}

fn first_variables(begun: &Begun) -> Vars {
    let mut vars = Vars::default();
    if begun.reference.kind == ReferenceKind::Call {
        vars.set_runtime("call.digits", Value::from(""));
    }
    // Only its owner begins a run, so `call.…` among these is the runtime's own word.
    for (name, value) in &begun.variables {
        if super::vars::canonical(name).starts_with("call.") {
            vars.set_runtime(name, value.clone());
        } else if !is_reserved(name) {
            vars.set(name, value.clone());
        }
    }
    let kind = serde_json::to_value(begun.reference.kind).unwrap_or(Value::Null);
    for (name, value) in [
        ("activeflow.id", json!(begun.id.to_string())),
        ("activeflow.flow_id", json!(begun.script.id.0)),
        ("activeflow.reference_type", kind),
        ("activeflow.reference_id", json!(begun.reference.id)),
        ("activeflow.reference_activeflow_id", json!(begun.parent.map(|parent| parent.to_string()))),
        ("activeflow.complete_count", json!(begun.complete_count)),
    ] {
        vars.set_runtime(name, value);
    }
    vars
}

fn recording_output(report: &RecordingReport) -> Value {
    let gap = |gap: &Gap| json!({ "at_ms": gap.at_ms, "ms": gap.ms });
    json!({
        "source": "stream",
        "file": report.file,
        "bytes": report.bytes,
        "seconds": report.seconds,
        "gaps": report.gaps.iter().map(gap).collect::<Vec<_>>(),
        "ended_by": report.ended_by,
    })
}

/// The tag of a fact, for messages.
fn word(fact: &RunFact) -> String {
    let value = serde_json::to_value(fact).unwrap_or(Value::Null);
    value.get("run").and_then(Value::as_str).unwrap_or("?").to_owned()
}
