//! One run of a workflow: the machine that its owner drives turn by turn.
//!
//! [`Run::take`] decides, and everything that it decides about the durable state is a fact which it applies to itself
//! at once; [`Run::restore`] folds the same facts. What is not in facts (timers, sounds that play) is begun again.

use super::action::{Action, Done, Happened, Live, Parameters, Push, Step, queue_join};
use super::declare::Kind;
use super::engine::{Block, Draft};
use super::expression::Kept;
use super::fact::{Begun, FactError, Pushed, RunFact, VERSION};
use super::flows::{Flows, NoFlows};
use super::history::{Entry, History, Outcome};
use super::policy;
use super::script::{ActionNode, Script};
use super::stack::List;
use super::state::{PUSHED, State};
use super::vars::Vars;
use crate::document::Verb;
use crate::id::{RunId, WorkflowId};
use crate::invariant::Extent;
use crate::limit::DIGITS_MAX;
use crate::scene::{Command, EndReason, Event, Line, Needs, Op, Posture, Reference, Refused, RunOver, Turn};
use crate::{Now, Tick};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::sync::Arc;

const KEYS: &str = "0123456789*#ABCD";

/// What a run is begun with.
#[derive(Debug, Clone)]
pub struct RunSpec {
    pub id: RunId,
    pub script: Arc<Script>,
    pub reference: Reference,
    /// Trigger outputs, inputs, and the runtime's own `call.…`.
    pub variables: Map<String, Value>,
    pub complete_count: u32,
    /// The run that this one continues or belongs to.
    pub parent: Option<RunId>,
    /// Instead of the document's own.
    pub on_complete: Option<String>,
    /// Who is owed what is told of it, and of the runs that belong to it.
    pub webhook: Option<String>,
}

#[derive(Debug, Clone)]
pub struct Run {
    pub(super) state: State,
    pub(super) passing: Passing,
    /// Answers from outside that came for attempts which were given up.
    pub(super) stale_answers: u64,
    /// Expressions that were compiled; a crash may forget them.
    pub(super) kept: Kept,
    pub(super) flows: Arc<dyn Flows>,
    /// The run of the `subflow` step under way.
    pub(super) child: Option<Box<Run>>,
    pub(super) ended_children: VecDeque<Run>,
    /// What follows on ends of the last turn.
    pub(super) follow: Vec<RunSpec>,
}

/// What a run's facts came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    state: State,
    child: Option<Box<Snapshot>>,
    ended_children: Vec<Snapshot>,
}

/// What a crash may forget.
#[derive(Debug, Clone, Default)]
pub(super) struct Passing {
    /// Of the step under way; none: it has to begin again.
    pub live: Option<Live>,
    /// When its attempt has taken too long.
    pub deadline: Option<Tick>,
    /// When its next attempt is due.
    pub retry: Option<Tick>,
    /// The next attempt is due, and waits for the line instead of the clock.
    pub stuck: bool,
    /// The turn was cut for being long; the next one follows at once.
    pub yielded: Option<Tick>,
}

/// Runs are equal when their durable states are.
impl PartialEq for Run {
    fn eq(&self, other: &Run) -> bool {
        self.state == other.state && self.child == other.child && self.ended_children == other.ended_children
    }
}

impl Run {
    /// A run that has done nothing yet, and the fact that it exists.
    pub fn begin(now: Now, spec: RunSpec) -> (Run, Vec<RunFact>) {
        Run::begin_nested(now, spec, 0, String::new())
    }

    pub(super) fn begin_nested(now: Now, spec: RunSpec, nested: u32, typed: String) -> (Run, Vec<RunFact>) {
        let begun = Begun {
            version: VERSION,
            at: now.wall_ms,
            id: spec.id,
            script: spec.script,
            reference: spec.reference,
            variables: spec.variables,
            complete_count: spec.complete_count,
            parent: spec.parent,
            on_complete: spec.on_complete,
            webhook: spec.webhook,
            nested,
            typed,
            retry_of: None,
        };
        (Run::of(State::of(&begun)), vec![RunFact::Begun(Box::new(begun))])
    }

    pub(super) fn of(state: State) -> Run {
        Run {
            state,
            passing: Passing::default(),
            stale_answers: 0,
            kept: Kept::default(),
            flows: Arc::new(NoFlows),
            child: None,
            ended_children: VecDeque::new(),
            follow: Vec::new(),
        }
    }

    /// Tells it where to look for workflows that its actions name. Its owner does, whenever it has begun or folded it.
    pub fn bind(&mut self, flows: Arc<dyn Flows>) {
        if let Some(child) = &mut self.child {
            child.bind(flows.clone());
        }
        self.flows = flows;
    }

    /// The action of a type, in the words of the workflows that it is bound to.
    pub(super) fn action(&self, kind: &str) -> Option<&'static dyn Action> {
        self.flows.vocabulary().find(kind)
    }

    /// One turn. The owner writes the facts, then does the ops.
    pub fn take(&mut self, now: Now, posture: &Posture, event: Event) -> Turn {
        if let Some(over) = &self.state.over {
            self.stale_answers += u64::from(matches!(event, Event::Fetched { .. }));
            let needs = Needs::Over(over.clone());
            let follow = self.follow(now);
            let commanded = matches!(event, Event::Commanded { .. });
            let verdict = commanded.then_some(Err(Refused::AlreadyEnded));
            return Turn { facts: Vec::new(), ops: Vec::new(), needs, wake_at: None, follow, verdict };
        }
        let mut draft = Draft::new(now, posture.clone());
        self.freeze(posture.line);
        self.passing.yielded = None;
        self.passing.stuck = false;
        self.happen(&mut draft, event);
        let block = self.go_on(&mut draft);
        let needs = self.needs(posture.line, block);
        let follow = self.follow(now);
        let Draft { facts, ops, verdict, .. } = draft;
        Turn { facts, ops, needs, wake_at: self.wake_at(), follow, verdict }
    }

    /// When the run wants [`Event::Due`].
    pub fn wake_at(&self) -> Option<Tick> {
        let Passing { live, deadline, retry, stuck, yielded } = &self.passing;
        let due = live.as_ref().and_then(|live| live.due);
        let child = self.child.as_ref().and_then(|child| child.wake_at());
        [due, *deadline, retry.filter(|_| !stuck), *yielded, child].into_iter().flatten().min()
    }

    /// The only change of durable state: a turn applies its own facts as it decides them, a fold those of old.
    pub fn apply(&mut self, fact: &RunFact) {
        self.state.apply(fact);
        if let RunFact::Child { fact, .. } = fact {
            self.apply_to_child(fact);
        }
    }

    /// The run that this fact begins.
    pub fn first(fact: &RunFact) -> Result<Run, FactError> {
        State::new(fact).map(Run::of)
    }

    /// The run that wrote these facts. What was under way begins again in the next turn.
    pub fn restore<'f>(_now: Now, facts: impl Iterator<Item = &'f RunFact>) -> Result<Run, FactError> {
        let mut facts = facts;
        let mut run = match facts.next() {
            Some(fact) => Run::first(fact)?,
            None => return Err(FactError::NotBegun("nothing".to_owned())),
        };
        for fact in facts {
            if matches!(fact, RunFact::Begun(_)) {
                return Err(FactError::BegunTwice);
            }
            run.apply(fact);
        }
        Ok(run)
    }

    /// Its durable state, and that of its children.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            state: self.state.clone(),
            child: self.child.as_ref().map(|child| Box::new(child.snapshot())),
            ended_children: self.ended_children.iter().map(Run::snapshot).collect(),
        }
    }

    /// The run that a snapshot was made of, as [`Run::restore`] gives it.
    pub fn from_snapshot(snapshot: Snapshot) -> Run {
        let mut run = Run::of(snapshot.state);
        run.child = snapshot.child.map(|child| Box::new(Run::from_snapshot(*child)));
        run.ended_children = snapshot.ended_children.into_iter().map(Run::from_snapshot).collect();
        run
    }

    /// The verbs of the wait document that the caller hears in this turn (from 0) of waiting in a queue. The same turn
    /// after the same time gives the same verbs. Silence, when nothing is to be heard or the caller is in no queue.
    pub fn wait_turn(&self, now: Now, turn: u32, waited_s: Option<u64>) -> Vec<Verb> {
        let Some((run, entry)) = self.queued() else { return Vec::new() };
        // Not every network says how long; then the time since the flow came here is the nearest to it.
        let since = || now.wall_ms.saturating_sub(entry.started_at) / 1000;
        let wait = queue_join::Wait {
            now,
            turn,
            waited_s: waited_s.unwrap_or_else(since),
            timezone: &run.state.begun.script.timezone,
            vocabulary: run.flows.vocabulary(),
        };
        let parameters = Parameters(&entry.parameters);
        let elsewhere = parameters.word("wait_flow").map(|id| run.flows.find(&WorkflowId(id.to_owned())));
        match elsewhere {
            None => {
                let own = entry.node.lists.get("wait_flow");
                wait.verbs(&Arc::new(List::new(own.into_iter().flatten())), &run.state.vars, parameters)
            }
            Some(Some(script)) => wait.verbs(&script.list(), &run.state.vars, parameters),
            // Gone since the call began: the caller waits in silence.
            Some(None) => wait.verbs(&Arc::new(List::new(&[])), &run.state.vars, parameters),
        }
    }

    /// The `queue_join` that is being performed, here or in a run that this one has called; else the one that was left
    /// last: the network may ask for its turn once more, and gets the same again.
    fn queued(&self) -> Option<(&Run, &Entry)> {
        let joins =
            |entry: &&Entry| entry.node.kind == "queue_join" && entry.outcome != Some(Outcome::Skipped);
        let own = self.state.history.entries().rev().find(joins).map(|entry| (self, entry));
        let children = self.ended_children.iter().chain(self.child.as_deref());
        let all = own.into_iter().chain(children.filter_map(Run::queued));
        all.max_by_key(|(_, entry)| (entry.outcome.is_none(), entry.started_at))
    }

    /// Puts a list of actions on top: they run before what comes next, and then the flow goes on. The owner takes a
    /// turn after it. A stack too many ends the run.
    pub fn push(&mut self, now: Now, actions: Vec<ActionNode>) -> Vec<RunFact> {
        let mut draft = Draft::new(now, Posture { line: Line::Away, local_speech: false });
        self.push_on(&mut draft, actions);
        draft.facts
    }

    /// Sets variables without going on.
    pub fn assign(
        &mut self,
        now: Now,
        variables: Vec<(String, Value)>,
    ) -> (Result<(), Refused>, Vec<RunFact>) {
        let mut draft = Draft::new(now, Posture { line: Line::Away, local_speech: false });
        let verdict = self.obey(&mut draft, Command::Set { variables });
        (verdict, draft.facts)
    }

    fn push_on(&mut self, draft: &mut Draft, actions: Vec<ActionNode>) {
        if self.state.over.is_some() || actions.is_empty() {
            return;
        }
        let now = draft.now;
        let deepest = self.state.begun.script.limits.stack_depth;
        if self.state.frames.len() >= usize::try_from(deepest).unwrap_or(usize::MAX) {
            let detail = format!("{deepest} stacks are in use, one more was pushed");
            self.over_with(draft, EndReason::Limit, Some(detail), false, false);
        } else {
            let id = self.state.begun.id.child(PUSHED | self.state.pushes).to_string();
            self.record(draft, RunFact::Pushed { at: now.wall_ms, id, actions });
        }
    }

    /// What the API answers to an `execute`. The turn follows in any case: a limit that is reached ends the run.
    pub fn may_execute(&self, current_action_id: Option<&str>) -> Result<(), Refused> {
        if self.state.over.is_some() {
            return Err(Refused::AlreadyEnded);
        }
        let step = self.state.pending.first().map(|pending| pending.step);
        let step = step.or(self.state.current.as_ref().map(|current| current.step));
        let entry = step.and_then(|step| self.state.history.entry(step));
        if current_action_id.is_some_and(|id| entry.is_none_or(|entry| entry.node.id != id)) {
            return Err(Refused::StaleAction);
        }
        if entry.is_none_or(|entry| entry.node.kind != "block") {
            return Err(Refused::NotBlocked);
        }
        if self.state.executes >= self.state.begun.script.limits.execute_calls {
            return Err(Refused::Limit);
        }
        Ok(())
    }

    fn execute(
        &mut self,
        draft: &mut Draft,
        current_action_id: Option<&str>,
        actions: Option<Vec<ActionNode>>,
    ) -> Result<(), Refused> {
        let may = self.may_execute(current_action_id);
        match may {
            Ok(()) => {
                let push = actions.filter(|actions| !actions.is_empty());
                let step = match push {
                    Some(actions) => Step::Push(Push::plain(Pushed::Actions(actions))),
                    None => Step::Done(Done::default()),
                };
                self.conclude_current(draft, Ok(step));
            }
            Err(Refused::Limit) => {
                let most = self.state.begun.script.limits.execute_calls;
                let detail = format!("{most} execute calls are done, one more came");
                self.over_with(draft, EndReason::Limit, Some(detail), false, false);
            }
            Err(_) => {}
        }
        may
    }

    /// Somebody's wish about this very run.
    fn obey(&mut self, draft: &mut Draft, command: Command) -> Result<(), Refused> {
        if self.state.over.is_some() {
            return Err(Refused::AlreadyEnded);
        }
        match command {
            Command::Execute { current_action_id, actions } => {
                return self.execute(draft, current_action_id.as_deref(), actions);
            }
            Command::Push { actions, interrupt } => {
                if interrupt {
                    self.cut(draft);
                }
                self.push_on(draft, actions);
            }
            Command::Interrupt => {
                if self.state.current.is_none() || !self.may_interrupt() {
                    return Err(Refused::NotInterruptible);
                }
                self.cut(draft);
            }
            Command::Set { variables } => {
                let sets = variables.iter().map(|(name, value)| (name.as_str(), value));
                self.state.vars.admits(sets).map_err(|_| Refused::TooMuch)?;
                self.record(draft, RunFact::Assigned { at: draft.now.wall_ms, sets: variables });
            }
            Command::Stop => self.over_with(draft, EndReason::Stopped, None, false, false),
        }
        Ok(())
    }

    /// Whether what is under way can be cut short from outside: sound on the stream, a wait. Not what the network
    /// performs by itself, and not what is under way elsewhere.
    pub fn may_interrupt(&self) -> bool {
        let waits = |entry: &Entry| {
            let declared = self.action(&entry.node.kind).map(|action| action.declared());
            declared.is_some_and(|declared| matches!(declared.kind, Kind::Media | Kind::Control))
                && entry.node.kind != "block"
        };
        let current = self.state.current.as_ref().and_then(|current| self.state.history.entry(current.step));
        self.state.pending.is_empty() && current.is_none_or(waits)
    }

    fn cut(&mut self, draft: &mut Draft) {
        if self.state.current.is_none() || !self.may_interrupt() {
            return;
        }
        if let Some(live) = &self.passing.live {
            if !live.sounds.is_empty() {
                // Its end is told with what was really heard of it, and ends the step.
                draft.ops.push(Op::Hush);
                return;
            }
            if live.echoing {
                draft.ops.push(Op::Echo(false));
            }
        }
        self.conclude_current(draft, Ok(Step::Cut(Done::default())));
    }

    /// Variables of the runtime that are news, all at once and before anything else runs. The owner takes a turn
    /// after it: a turn for each would let the first one set off actions that read the others.
    pub fn learn(&mut self, now: Now, news: impl IntoIterator<Item = (String, Value)>) -> Vec<RunFact> {
        let mut draft = Draft::new(now, Posture { line: Line::Away, local_speech: false });
        if self.state.over.is_none() {
            for (name, value) in news {
                self.happen(&mut draft, Event::Learned { name, value });
            }
        }
        draft.facts
    }

    /// The ids and names that a target may name where the cursor stands.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let nodes = self.state.frames.iter().flat_map(|frame| frame.list.nodes());
        nodes.flat_map(|node| std::iter::once(node.id.as_str()).chain(node.name.as_deref()))
    }

    pub fn id(&self) -> RunId {
        self.state.begun.id
    }

    pub fn script(&self) -> &Arc<Script> {
        &self.state.begun.script
    }

    pub fn reference(&self) -> &Reference {
        &self.state.begun.reference
    }

    pub fn vars(&self) -> &Vars {
        &self.state.vars
    }

    pub fn history(&self) -> &History {
        &self.state.history
    }

    /// When it began and when it was over, in Unix milliseconds.
    pub fn lasted(&self) -> (u64, Option<u64>) {
        (self.state.begun.at, self.state.over_at)
    }

    /// The runs that it has called and still knows.
    pub fn children(&self) -> impl Iterator<Item = &Run> {
        self.ended_children.iter().chain(self.child.as_deref())
    }

    /// Answers from outside that nobody waited for any more.
    pub fn stale_answers(&self) -> u64 {
        let children = self.ended_children.iter().chain(self.child.as_deref());
        self.stale_answers + children.map(Run::stale_answers).sum::<u64>()
    }

    pub fn over(&self) -> Option<&RunOver> {
        self.state.over.as_deref()
    }

    /// The step that ended the run after its last attempt, be it the only one: nothing, when it ended otherwise, or by
    /// an error that another attempt would not mend.
    pub fn gave_up_at(&self) -> Option<&Entry> {
        self.state.over.as_ref().filter(|over| over.reason == EndReason::Failed)?;
        let last = self.state.history.entry(self.state.history.newest())?;
        let may_pass =
            last.attempts > 1 || last.error.as_ref().is_some_and(|error| policy::may_pass(error.class));
        (last.outcome == Some(Outcome::Failed) && may_pass).then_some(last)
    }

    /// How far it has grown, for the invariants that bound it.
    pub fn extent(&self) -> Extent {
        let state = &self.state;
        let own = state.vars.own();
        Extent {
            // Behind the last action is where a stack ends.
            cursor_stands: state.frames.iter().all(|frame| frame.index <= frame.list.nodes().len()),
            stacks: state.frames.len(),
            steps: state.history.newest(),
            variables: own.len(),
            variable_bytes: own.iter().map(|(name, value)| name.len() + super::vars::json_bytes(value)).sum(),
        }
    }

    /// Media under way without its stream stands still, and begins again when the line is back.
    pub(super) fn freeze(&mut self, line: Line) {
        if line != Line::Streaming && self.passing.live.as_ref().is_some_and(|live| live.on_stream) {
            self.passing.live = None;
            self.passing.deadline = None;
        }
    }

    fn happen(&mut self, draft: &mut Draft, event: Event) {
        if self.is_for_child(&event) {
            self.with_child(draft, |child, inner| {
                child.happen(inner, event);
                None
            });
            return;
        }
        match event {
            Event::Proceed | Event::Due => {}
            Event::Performed { answer } => self.performed(draft, &answer),
            Event::Pressed { digit } => {
                if KEYS.contains(digit) {
                    if self.state.typed.len() < DIGITS_MAX {
                        self.record(draft, RunFact::Typed { digit });
                    }
                    self.tell(draft, &Happened::Pressed(digit));
                }
            }
            Event::Sounded { sound, heard_ms, how } => {
                self.tell(draft, &Happened::Sounded { sound, heard_ms, how: &how });
            }
            Event::Recorded { report } if self.state.records(report.ordinal) => {
                self.record(draft, RunFact::Recorded { at: draft.now.wall_ms, report: report.clone() });
                self.tell(draft, &Happened::Recorded(&report));
            }
            // Of a recording that this run has no part in any more.
            Event::Recorded { .. } => {}
            Event::Fetched { no, outcome } => self.fetched(draft, no, &outcome),
            Event::Learned { name, value } => {
                let name = super::vars::canonical(&name).to_owned();
                if !self.state.vars.knows(&name, &value) {
                    self.record(draft, RunFact::Learned { name: name.clone(), value: value.clone() });
                }
                self.with_child(draft, |child, inner| {
                    child.happen(inner, Event::Learned { name, value });
                    None
                });
            }
            Event::Commanded { run, command } => {
                // One that it has called is over, or it would have been told itself.
                let here = run == self.id() || command == Command::Interrupt;
                let verdict = if here { self.obey(draft, command) } else { Err(Refused::AlreadyEnded) };
                draft.verdict = Some(verdict);
            }
            Event::End { reason, detail } => self.over_with(draft, reason, detail, false, false),
        }
    }

    fn needs(&self, line: Line, block: Option<Block>) -> Needs {
        if let Some(over) = &self.state.over {
            return Needs::Over(over.clone());
        }
        if let Some(ending) = &self.state.ending {
            return Needs::Close { hold: ending.hold };
        }
        // A child that ends with verbs undone leaves the line to its parent, unless it is to hang up.
        if self.child.as_ref().is_some_and(|child| child.hangs_up()) {
            return Needs::Close { hold: false };
        }
        match (line, block) {
            (Line::Away | Line::Absent, _) => Needs::Nothing,
            (Line::Asking, Some(Block::Stream | Block::Held | Block::Yielded)) => Needs::Stream,
            (Line::Streaming, Some(Block::Held | Block::Stream)) => Needs::Stream,
            (Line::Streaming, Some(Block::Verb)) => Needs::Verb,
            (Line::Asking | Line::Streaming, _) => Needs::Nothing,
        }
    }

    /// Ends the run now, whatever was under way.
    pub(super) fn over_with(
        &mut self,
        draft: &mut Draft,
        reason: EndReason,
        detail: Option<String>,
        by_hangup: bool,
        hold: bool,
    ) {
        if self.state.over.is_some() {
            return;
        }
        self.cancel_child(draft);
        let (mut reason, mut detail, mut outputs) = (reason, detail, Map::new());
        // A child that stops itself has done its work all the same: its parent gets what there is.
        let is_result = reason == EndReason::Stopped && self.state.begun.nested > 0;
        if reason == EndReason::Completed || is_result {
            match self.outputs() {
                Ok(evaluated) => outputs = evaluated,
                Err(fault) => {
                    reason = EndReason::Failed;
                    detail = Some(format!("outputs failed: {fault}"));
                }
            }
        }
        let begun = &self.state.begun;
        let mut on_complete = begun
            .on_complete
            .clone()
            .or_else(|| begun.script.on_complete.as_ref().map(|workflow| workflow.0.clone()));
        let depth = begun.script.limits.on_complete_depth;
        if let Some(refused) = on_complete.take_if(|_| begun.complete_count.saturating_add(1) >= depth) {
            let note = format!("on_complete `{refused}` refused: a chain has at most {depth} activeflows");
            detail = Some(detail.map_or(note.clone(), |detail| format!("{detail}; {note}")));
        }
        let over = RunOver { reason, detail, outputs, on_complete, by_hangup, hold };
        self.passing = Passing::default();
        self.follow.extend(over.on_complete.as_ref().and_then(|workflow| self.successor(workflow)));
        self.record(draft, RunFact::Over { at: draft.now.wall_ms, over });
    }

    fn hangs_up(&self) -> bool {
        self.state.ending.as_ref().is_some_and(|ending| ending.by_hangup)
            || self.child.as_ref().is_some_and(|child| child.hangs_up())
    }

    pub(super) fn record(&mut self, draft: &mut Draft, fact: RunFact) {
        self.state.apply(&fact);
        draft.facts.push(fact);
    }
}
