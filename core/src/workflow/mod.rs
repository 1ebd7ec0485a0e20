//! A main workflow: it waits for its trigger's call, takes the completion once, and goes on as a run without a line.
//!
//! Steps, retries and the cursor exist only in [`crate::flow`]; here is what is around them.

pub mod fact;
pub mod outbox;

use crate::call::AskNo;
use crate::fact::{Fact, RunFact};
use crate::flow::flows::Flows;
use crate::flow::run::{Run, RunSpec};
use crate::http::{Errand, FetchNo, Outcome};
use crate::id::{CallId, RunId};
use crate::once::{Deeds, Stamp};
use crate::scene::{Command, EndReason, Event, Line, Needs, Op, Posture, Refused, RunOver, Turn};
use crate::{Machine, Now, Tick};
use fact::ParentFact;
use outbox::{Delivery, OutboxFact};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

pub struct Workflow {
    run: Run,
    waiting: Option<Waiting>,
    over: Option<RunOver>,
    /// What was asked for under a key, and done.
    deeds: Deeds,
    wake_at: Option<Tick>,
}

/// The trigger that a main workflow waits at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub call: CallId,
    pub trigger_type: String,
    pub trigger_name: String,
}

impl Waiting {
    pub fn apply(waiting: &mut Option<Waiting>, fact: &Fact) {
        match fact {
            Fact::Parent(ParentFact::Waiting { call, trigger_type, trigger_name }) => {
                *waiting = Some(Waiting {
                    call: call.clone(),
                    trigger_type: trigger_type.clone(),
                    trigger_name: trigger_name.clone(),
                });
            }
            Fact::Parent(ParentFact::CallOver { .. }) => *waiting = None,
            _ => {}
        }
    }

    /// The trigger as the action that is under way since `at`.
    pub fn shown(&self, at: Value) -> Value {
        json!({
            "id": self.trigger_name, "type": self.trigger_type, "name": self.trigger_name,
            "parameters": {}, "started_at": at, "ended_at": null, "outcome": null,
            "attempts": 1, "missing": [], "dropped": [],
        })
    }
}

#[derive(Debug)]
pub enum Input {
    /// The call's completion; told until it is acknowledged, taken once.
    CallOver {
        call: CallId,
        completion: Value,
    },
    /// It was begun, or folded from its facts: go on.
    Resume,
    Stop {
        reason: EndReason,
        detail: Option<String>,
    },
    Fetched {
        no: FetchNo,
        outcome: Outcome,
    },
    /// Somebody wants something of the run, or of one inside it; exactly one [`Effect::Answer`] follows.
    Commanded {
        ask: AskNo,
        run: RunId,
        command: Command,
        /// What makes it the same when it comes again.
        stamp: Option<Stamp>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Record(Vec<Fact>),
    /// The completion is on disk here: the call may forget it.
    Ack {
        call: CallId,
    },
    Over {
        run: RunId,
        over: RunOver,
    },
    /// Comes back as [`Input::Fetched`].
    Fetch {
        no: FetchNo,
        errand: Errand,
    },
    /// It is on disk: send it.
    Deliver(Box<Delivery>),
    /// The run that follows on the end of this one is on disk: wake it.
    Follow {
        run: RunId,
    },
    Answer {
        ask: AskNo,
        verdict: Result<(), Refused>,
        /// The workflow was stopped while it waited for this call, which has to end as well.
        ends: Option<CallId>,
    },
}

impl Workflow {
    /// The facts of a main workflow that begins with its call, and waits for it.
    pub fn begin_waiting(now: Now, spec: RunSpec, waiting: Waiting) -> Vec<Fact> {
        let (_, facts) = Run::begin(now, spec);
        let mut all: Vec<Fact> = facts.into_iter().map(Fact::Run).collect();
        let Waiting { call, trigger_type, trigger_name } = waiting;
        all.push(Fact::Parent(ParentFact::Waiting { call, trigger_type, trigger_name }));
        all
    }

    /// Folds a main workflow from its facts; `None` when they hold no run.
    pub fn restore<'f>(now: Now, facts: impl Iterator<Item = &'f Fact> + Clone) -> Option<Workflow> {
        let of_run = run_facts(facts.clone());
        let run = Run::restore(now, of_run).ok()?;
        let mut waiting = None;
        facts.clone().for_each(|fact| Waiting::apply(&mut waiting, fact));
        Some(Workflow::of(run, waiting, Deeds::of(facts)))
    }

    /// A main workflow whose facts came to this run, and which waits for this call.
    pub fn of(run: Run, waiting: Option<Waiting>, deeds: Deeds) -> Workflow {
        let over = run.over().cloned();
        Workflow { run, waiting, over, deeds, wake_at: None }
    }

    /// See [`Run::bind`].
    pub fn bind(&mut self, flows: Arc<dyn Flows>) {
        self.run.bind(flows);
    }

    /// `GET /v1/activeflows/{id}`.
    pub fn view(&self) -> Value {
        let mut view = self.run.view();
        if let (Some(waiting), Some(object)) = (&self.waiting, view.as_object_mut()) {
            let running = object.get("status").is_some_and(|status| status == "running");
            if running {
                let at = object.get("tm_create").cloned();
                object.insert("current_action".into(), waiting.shown(at.unwrap_or_default()));
            }
        }
        view
    }

    /// The runs that it has called and still knows.
    pub fn children_views(&self) -> Vec<Value> {
        self.run.children_views()
    }

    pub fn waiting(&self) -> Option<&Waiting> {
        self.waiting.as_ref()
    }

    fn step(
        &mut self,
        now: Now,
        event: Event,
        batch: &mut Vec<Fact>,
        out: &mut Vec<Effect>,
    ) -> Option<Result<(), Refused>> {
        if self.over.is_some() {
            return Some(Err(Refused::AlreadyEnded));
        }
        let posture = Posture { line: Line::Absent, local_speech: false };
        let Turn { facts, ops, needs, wake_at, follow, verdict } = self.run.take(now, &posture, event);
        out.extend(run_ids(&follow).into_iter().map(|run| Effect::Follow { run }));
        batch.extend(facts.into_iter().chain(follow).map(Fact::Run));
        for op in ops {
            match op {
                Op::Fetch { no, errand } => out.push(Effect::Fetch { no, errand }),
                Op::Owe(delivery) => {
                    batch.push(Fact::Outbox(OutboxFact::Owed { delivery: delivery.clone() }));
                    out.push(Effect::Deliver(delivery));
                }
                // Of the line, and there is none.
                Op::Render(_) | Op::Sound { .. } | Op::Hush | Op::Echo(_) => {}
                Op::StartRecording(_) | Op::StopRecording => {}
            }
        }
        self.wake_at = wake_at;
        if let Needs::Over(over) = needs {
            self.over = Some(*over.clone());
            self.wake_at = None;
            out.push(Effect::Over { run: self.run.id(), over: *over });
        }
        verdict
    }

    fn take_completion(&mut self, now: Now, completion: Value, out: &mut Vec<Effect>) {
        let Some(waiting) = self.waiting.take() else { return };
        let mut batch = vec![Fact::Parent(ParentFact::CallOver { completion: completion.clone() })];
        let mut after = Vec::new();
        let mut news = Vec::new();
        for (name, key) in [
            ("call.status", "callStatus"),
            ("call.duration", "callDuration"),
            ("call.end_reason", "endReason"),
            ("call.digits", "digits"),
        ] {
            news.push((name.to_owned(), completion.get(key).cloned().unwrap_or_default()));
        }
        news.push((waiting.trigger_name, completion));
        batch.extend(self.run.learn(now, news).into_iter().map(Fact::Run));
        self.step(now, Event::Proceed, &mut batch, &mut after);
        out.push(Effect::Record(batch));
        out.append(&mut after);
    }
}

impl Machine for Workflow {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::CallOver { call, completion } => {
                self.take_completion(now, completion, out);
                out.push(Effect::Ack { call });
            }
            // It ended, and its owner died before it could say so.
            Input::Resume if self.over.is_some() => {
                out.extend(self.over.clone().map(|over| Effect::Over { run: self.run.id(), over }));
            }
            Input::Resume if self.waiting.is_none() => _ = self.step_and_record(now, Event::Proceed, out),
            Input::Resume => {}
            Input::Fetched { no, outcome } => {
                self.step_and_record(now, Event::Fetched { no, outcome }, out);
            }
            Input::Stop { reason, detail } => {
                self.step_and_record(now, Event::End { reason, detail }, out);
            }
            Input::Commanded { ask, run, command, stamp } => {
                match stamp.and_then(|stamp| self.deeds.find(now.wall_ms, stamp)) {
                    Some(before) => {
                        let verdict = before.map(|_| ());
                        out.push(Effect::Answer { ask, verdict, ends: None });
                    }
                    None => self.obey(now, ask, run, command, stamp, out),
                }
            }
        }
    }

    fn wake(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.wake_at.is_some_and(|due| due <= now.tick) {
            self.wake_at = None;
            self.step_and_record(now, Event::Due, out);
        }
    }

    fn wake_at(&self) -> Option<Tick> {
        self.wake_at
    }

    fn is_over(&self) -> bool {
        self.over.is_some()
    }
}

impl Workflow {
    fn step_and_record(
        &mut self,
        now: Now,
        event: Event,
        out: &mut Vec<Effect>,
    ) -> Option<Result<(), Refused>> {
        let mut batch = Vec::new();
        let mut after = Vec::new();
        let verdict = self.step(now, event, &mut batch, &mut after);
        if !batch.is_empty() {
            out.push(Effect::Record(batch));
        }
        out.append(&mut after);
        verdict
    }

    fn obey(
        &mut self,
        now: Now,
        ask: AskNo,
        run: RunId,
        command: Command,
        stamp: Option<Stamp>,
        out: &mut Vec<Effect>,
    ) {
        // Also when it is over already: whoever stops it again may have seen the process die before the call ended.
        let stops = command == Command::Stop && run == self.run.id();
        let ends = self.waiting.as_ref().filter(|_| stops).map(|waiting| waiting.call.clone());
        let (mut batch, mut after) = (Vec::new(), Vec::new());
        let verdict = match (&self.waiting, command) {
            (Some(waiting), command) if self.over.is_none() && !stops => {
                let (verdict, facts) = while_waiting(&mut self.run, now, waiting, command);
                batch.extend(facts.into_iter().map(Fact::Run));
                self.over = self.run.over().cloned();
                after.extend(self.over.clone().map(|over| Effect::Over { run: self.run.id(), over }));
                Some(verdict)
            }
            (_, command) => self.step(now, Event::Commanded { run, command }, &mut batch, &mut after),
        };
        let verdict = verdict.unwrap_or(Err(Refused::AlreadyEnded));
        if let Some(stamp) = stamp.filter(|_| verdict.is_ok()) {
            let deed = stamp.deed(now.wall_ms, false);
            self.deeds.add(deed);
            batch.insert(0, Fact::Parent(ParentFact::Obeyed(deed)));
        }
        if !batch.is_empty() {
            out.push(Effect::Record(batch));
        }
        out.append(&mut after);
        out.push(Effect::Answer { ask, verdict, ends });
    }
}

/// A command for a run that has not begun: its current action is the trigger, which no command ends.
fn while_waiting(
    run: &mut Run,
    now: Now,
    waiting: &Waiting,
    command: Command,
) -> (Result<(), Refused>, Vec<RunFact>) {
    match command {
        Command::Execute { current_action_id: Some(id), .. } if id != waiting.trigger_name => {
            (Err(Refused::StaleAction), Vec::new())
        }
        Command::Execute { .. } => (Err(Refused::NotBlocked), Vec::new()),
        Command::Interrupt => (Err(Refused::NotInterruptible), Vec::new()),
        Command::Set { variables } => run.assign(now, variables),
        // They run before the first action, once the call is over.
        Command::Push { actions, .. } => (Ok(()), run.push(now, actions)),
        Command::Stop => (Err(Refused::AlreadyEnded), Vec::new()),
    }
}

/// The runs that these facts begin.
pub fn run_ids(facts: &[RunFact]) -> Vec<RunId> {
    let begun = |fact: &RunFact| if let RunFact::Begun(begun) = fact { Some(begun.id) } else { None };
    facts.iter().filter_map(begun).collect()
}

/// The facts of runs, for whoever folds a call's own.
pub fn run_facts<'f>(facts: impl Iterator<Item = &'f Fact>) -> impl Iterator<Item = &'f RunFact> {
    facts.filter_map(|fact| match fact {
        Fact::Run(fact) => Some(fact),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::action::{LATER, declared};
    use crate::flow::parse::{Language, parse};
    use crate::limit::Limits;
    use crate::scene::Reference;
    use uuid::Uuid;

    const TEXT: &str = r#"
triggers: [{ type: twilio/inboundCall, name: incoming, parameters: { subWorkflow: line } }]
tasks:
  - { type: variable_set, parameters: { key: seen, value: "${incoming.from} ${call.status} ${call.digits}" } }
outputs: [{ name: seen, value: "${seen}" }]
"#;

    /// A main workflow that waits for its call.
    fn waiting(now: Now) -> (CallId, Vec<Fact>) {
        let limits = Limits::default();
        let declared = declared();
        let language = Language::new(&declared, LATER, &limits);
        let spec = RunSpec {
            id: RunId(Uuid::from_u128(1)),
            script: std::sync::Arc::new(parse(&language, "f.yaml", "main", TEXT).script.unwrap()),
            reference: Reference::call(&CallId("CA1".to_owned())),
            variables: Default::default(),
            complete_count: 0,
            parent: None,
            on_complete: None,
            webhook: None,
        };
        let call = CallId("CA1".to_owned());
        let waiting = Waiting {
            call: call.clone(),
            trigger_type: "twilio/inboundCall".to_owned(),
            trigger_name: "incoming".to_owned(),
        };
        (call, Workflow::begin_waiting(now, spec, waiting))
    }

    #[test]
    fn a_command_that_comes_again_is_obeyed_once_also_by_the_next_process() {
        let now = Now { tick: Tick(0), wall_ms: 7 };
        let (_, mut facts) = waiting(now);
        let stamp = |body| Some(Stamp { key: Uuid::from_u128(1), body: Uuid::from_u128(body) });
        let mut command = |body| {
            let mut workflow = Workflow::restore(now, facts.iter()).unwrap();
            let run = workflow.run.id();
            let mut told = Vec::new();
            for ask in [AskNo(1), AskNo(2)] {
                let command = Command::Set { variables: vec![("who".to_owned(), "you".into())] };
                let mut out = Vec::new();
                workflow.handle(now, Input::Commanded { ask, run, command, stamp: stamp(body) }, &mut out);
                for effect in out {
                    match effect {
                        Effect::Record(batch) => facts.extend(batch),
                        Effect::Answer { verdict, .. } => told.push(verdict),
                        effect => panic!("{effect:?}"),
                    }
                }
            }
            (told, facts.iter().filter(|fact| matches!(fact, Fact::Run(RunFact::Assigned { .. }))).count())
        };
        assert_eq!(command(1), (vec![Ok(()); 2], 1));
        assert_eq!(command(1), (vec![Ok(()); 2], 1));
        assert_eq!(command(2), (vec![Err(Refused::KeyReused); 2], 1));
    }

    #[test]
    fn the_first_step_sees_the_whole_completion() {
        let now = Now { tick: Tick(0), wall_ms: 0 };
        let (call, facts) = waiting(now);
        let mut workflow = Workflow::restore(now, facts.iter()).unwrap();
        let mut out = Vec::new();
        let completion = json!({ "from": "+1", "callStatus": "completed", "digits": "15" });
        workflow.handle(now, Input::CallOver { call, completion }, &mut out);
        let over = out.iter().find_map(|effect| match effect {
            Effect::Over { over, .. } => Some(over),
            _ => None,
        });
        assert_eq!(over.unwrap().outputs.get("seen"), Some(&json!("+1 completed 15")));
    }
}
