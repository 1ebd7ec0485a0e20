//! Owns the roster: makes sessions, finds them, and rebuilds those that die.
//!
//! actix's own supervisor restarts an actor that stopped and leaves one dead that panicked; here every session owns an
//! obituary, and a panic is answered by a session folded from the call's facts.

use crate::alive::Alive;
use crate::call_session::{Begin, CallSession, House, Mail, Reply};
use crate::journal_writer::{Append, Close, Read};
use crate::obituary::{Died, Obituary};
use crate::post::{Held, Posted};
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, WrapFuture,
};
use holdline_core::call::begin::{NewCall, turned_away};
use holdline_core::call::{Answer, Call, CallConfig, CallFact, CallState, Input, Request};
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::flow::run::Run;
use holdline_core::roster::{Death, Roster, Verdict};
use holdline_core::workflow::run_facts;
use holdline_core::{CallId, RunId, WorkflowId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Places for requests from outside.
const MAILBOX: usize = 4096;
/// Ended calls that are remembered, so that a late request does not start them anew.
const ENDED_MAX: usize = 20_000;
/// Requests that wait while their call is rebuilt.
const WAITING_MAX: usize = 64;

pub struct CallRegistry {
    house: House,
    config: Arc<CallConfig>,
    roster: Roster,
    rows: BTreeMap<CallId, Row>,
    ended: BTreeMap<CallId, Ended>,
    ended_order: VecDeque<CallId>,
    /// Who waits for the last call to end.
    last_end: Vec<oneshot::Sender<()>>,
    /// Sessions and their flows.
    alive: Alive,
}

struct Row {
    workflow: WorkflowId,
    session: Session,
}

enum Session {
    Up { mail: Held<Mail> },
    Rebuilding { waiting: Vec<(Request, oneshot::Sender<Outcome>)> },
}

struct Ended {
    workflow: WorkflowId,
    rejected: bool,
}

/// What became of a request.
pub type Outcome = Result<Answered, NotHere>;

pub struct Answered {
    pub answer: Answer,
    /// The workflow that the call's URLs name.
    pub workflow: WorkflowId,
    pub session: Addr<CallSession>,
}

/// Why no session answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotHere {
    Unknown,
    /// The call belongs to another workflow than the URL says.
    OtherWorkflow,
    Ended {
        rejected: bool,
    },
    TurnedAway,
}

impl CallRegistry {
    pub fn new(house: House, config: Arc<CallConfig>, max_calls: usize) -> CallRegistry {
        CallRegistry {
            house,
            config,
            roster: Roster::new(max_calls),
            rows: BTreeMap::new(),
            ended: BTreeMap::new(),
            ended_order: VecDeque::new(),
            last_end: Vec::new(),
            alive: Alive::default(),
        }
    }

    fn spawn(&mut self, workflow: WorkflowId, new: NewCall, ctx: &mut Context<Self>) {
        let NewCall { arrived, sub, main } = new;
        let CallFact::Arrived { arrival, .. } = &arrived else { return };
        let call = arrival.call.clone();
        let now = self.house.clock.now();
        let Some(machine) = Call::arrive(now, self.config.clone(), arrived) else { return };
        self.start(call, workflow, machine, Begin::Fresh { sub: Box::new(sub), first: main }, ctx);
    }

    fn start(
        &mut self,
        call: CallId,
        workflow: WorkflowId,
        machine: Call,
        begin: Begin,
        ctx: &mut Context<Self>,
    ) {
        let obituary = Obituary::new(call.clone(), ctx.address().recipient());
        let alive = self.alive.clone();
        let session = CallSession::new(self.house.clone(), machine, begin, obituary, alive).start();
        let mail = Held::new(session);
        let row = Row { workflow: workflow.clone(), session: Session::Up { mail } };
        if let Some(Row { session: Session::Rebuilding { waiting }, .. }) =
            self.rows.insert(call.clone(), row)
        {
            for (request, reply) in waiting {
                self.forward(&call, request, reply, ctx);
            }
        }
    }

    /// Hands a request to its session, and the session's reply to whoever asked.
    fn forward(
        &mut self,
        call: &CallId,
        request: Request,
        reply: oneshot::Sender<Outcome>,
        ctx: &mut Context<Self>,
    ) {
        let Some(row) = self.rows.get_mut(call) else {
            let _ = reply.send(Err(self.where_is(call)));
            return;
        };
        match &mut row.session {
            Session::Rebuilding { waiting } => {
                if waiting.len() < WAITING_MAX {
                    waiting.push((request, reply));
                }
            }
            Session::Up { mail } => {
                let workflow = row.workflow.clone();
                let (sender, answered) = oneshot::channel::<Reply>();
                if mail.post(Mail::Ask { request, reply: sender }) == Posted::Full {
                    return; // the dropped reply says that there is no answer
                }
                ctx.spawn(answered.into_actor(self).map(move |answered, _, _| {
                    if let Ok(Reply { answer, session }) = answered {
                        let _ = reply.send(Ok(Answered { answer, workflow, session }));
                    }
                }));
            }
        }
    }

    fn where_is(&self, call: &CallId) -> NotHere {
        match self.ended.get(call) {
            Some(ended) => NotHere::Ended { rejected: ended.rejected },
            None => NotHere::Unknown,
        }
    }

    fn remember_end(&mut self, call: CallId, workflow: WorkflowId, rejected: bool) {
        if self.ended.insert(call.clone(), Ended { workflow, rejected }).is_none() {
            self.ended_order.push_back(call);
        }
        while self.ended_order.len() > ENDED_MAX {
            if let Some(oldest) = self.ended_order.pop_front() {
                self.ended.remove(&oldest);
            }
        }
    }

    /// A call that finds no room is written down, and told that we are busy.
    fn turn_away(&mut self, arrive: Arrive, ctx: &mut Context<Self>) {
        let Arrive { workflow, new, turned_away: run, reply, .. } = arrive;
        let CallFact::Arrived { arrival, .. } = new.arrived else { return };
        let call = arrival.call.clone();
        tracing::warn!(%call, draining = self.roster.is_draining(), "a call was turned away");
        let batch = turned_away(self.house.clock.now(), arrival, workflow.clone(), run);
        self.remember_end(call.clone(), workflow, true);
        self.append_then(batch, ctx, move |actor| {
            let _ = reply.send(Err(NotHere::TurnedAway));
            let _ = actor.house.journal.try_send(Close(Key::Call(call)));
        });
    }

    fn append_then(
        &mut self,
        batch: Vec<Entry>,
        ctx: &mut Context<Self>,
        then: impl FnOnce(&mut CallRegistry) + 'static,
    ) {
        let (written, done) = oneshot::channel();
        let append = self.house.journal.send(Append { batch, written });
        let wait = async move {
            append.await.ok()?;
            done.await.ok()?.ok()
        };
        ctx.spawn(wait.into_actor(self).map(move |result, actor, _| {
            if result.is_some() {
                then(actor);
            }
        }));
    }

    /// Folds a call from its facts, and starts its session again.
    fn rebuild(&mut self, call: CallId, ctx: &mut Context<Self>) {
        let reading = self.house.journal.send(Read(Key::Call(call.clone())));
        ctx.spawn(reading.into_actor(self).map(move |read, actor, ctx| {
            let Ok(Ok(entries)) = read else {
                tracing::error!(%call, "a call could not be read back");
                actor.forget(&call);
                return;
            };
            let now = actor.house.clock.now();
            let Some(state) = fold_call(&entries) else {
                // It died before anything was written: the network's next request begins it.
                actor.forget(&call);
                return;
            };
            let facts: Vec<Fact> = entries.into_iter().map(|entry| entry.fact).collect();
            let run = Run::restore(now, run_facts(facts.iter())).ok().map(Box::new);
            let workflow = state.workflow.clone();
            let machine = if run.is_none() && state.flow_over.is_none() {
                // Without its flow nothing would ever answer for it, nor end it.
                tracing::error!(%call, "a call's flow could not be folded from its facts; the call is ended");
                Call::lost(now, actor.config.clone(), state)
            } else {
                Call::restore(now, actor.config.clone(), state)
            };
            actor.start(call, workflow, machine, Begin::Restored { run }, ctx);
        }));
    }

    /// A call that dies again and again is ended, with the reason `internal`.
    fn give_up(&mut self, call: CallId, ctx: &mut Context<Self>) {
        tracing::error!(%call, "a call died again within seconds of being rebuilt; it is ended");
        let reading = self.house.journal.send(Read(Key::Call(call.clone())));
        ctx.spawn(reading.into_actor(self).map(move |read, actor, ctx| {
            let state = read.ok().and_then(Result::ok).and_then(|entries| fold_call(&entries));
            let Some(state) = state else {
                actor.forget(&call);
                return;
            };
            let workflow = state.workflow.clone();
            let machine = Call::lost(actor.house.clock.now(), actor.config.clone(), state);
            actor.start(call, workflow, machine, Begin::Restored { run: None }, ctx);
        }));
    }

    fn forget(&mut self, call: &CallId) {
        self.rows.remove(call);
        self.roster.died(self.house.clock.now(), call, false);
        self.tell_if_empty();
    }

    fn tell_if_empty(&mut self) {
        if self.rows.is_empty() {
            for waiting in self.last_end.drain(..) {
                let _ = waiting.send(());
            }
        }
    }
}

/// The durable state of a call, from its story.
pub fn fold_call(entries: &[Entry]) -> Option<CallState> {
    let mut state: Option<CallState> = None;
    for entry in entries {
        if let Fact::Call(fact) = &entry.fact {
            match &mut state {
                None => state = CallState::begin(fact, entry.wall_ms),
                Some(state) => state.apply(fact, entry.wall_ms),
            }
        }
    }
    state
}

impl Actor for CallRegistry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

/// A request for a document; the call may be new.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Arrive {
    pub workflow: WorkflowId,
    pub new: Box<NewCall>,
    pub overflow: Option<Box<NewCall>>,
    /// The run's id in the record of a call that is turned away.
    pub turned_away: RunId,
    pub request: Request,
    pub reply: oneshot::Sender<Outcome>,
}

impl Handler<Arrive> for CallRegistry {
    type Result = ();

    fn handle(&mut self, arrive: Arrive, ctx: &mut Self::Context) {
        let CallFact::Arrived { arrival, .. } = &arrive.new.arrived else { return };
        let call = arrival.call.clone();
        if let Some(ended) = self.ended.get(&call) {
            let other = ended.workflow != arrive.workflow;
            let not_here =
                if other { NotHere::OtherWorkflow } else { NotHere::Ended { rejected: ended.rejected } };
            let _ = arrive.reply.send(Err(not_here));
            return;
        }
        if self.rows.get(&call).is_some_and(|row| row.workflow != arrive.workflow) {
            let _ = arrive.reply.send(Err(NotHere::OtherWorkflow));
            return;
        }
        match self.roster.arrive(&call) {
            Verdict::Known => self.forward(&call, arrive.request, arrive.reply, ctx),
            Verdict::Spawn => {
                self.spawn(arrive.workflow, *arrive.new, ctx);
                // Whatever URL a new call's first request came by, it asks for the first document.
                let request = match arrive.request {
                    Request::Next { status, answer, key, .. } => Request::Voice { status, answer, key },
                    request => request,
                };
                self.forward(&call, request, arrive.reply, ctx);
            }
            Verdict::TurnAway => match arrive.overflow {
                Some(overflow) if !self.roster.is_draining() => {
                    self.roster.reopen(&call);
                    self.spawn(arrive.workflow, *overflow, ctx);
                    self.forward(&call, arrive.request, arrive.reply, ctx);
                }
                _ => self.turn_away(arrive, ctx),
            },
        }
    }
}

/// A request for a call that must be known.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Deliver {
    pub call: CallId,
    pub workflow: Option<WorkflowId>,
    pub request: Request,
    pub reply: oneshot::Sender<Outcome>,
}

impl Handler<Deliver> for CallRegistry {
    type Result = ();

    fn handle(&mut self, deliver: Deliver, ctx: &mut Self::Context) {
        let Deliver { call, workflow, request, reply } = deliver;
        let known = self.rows.get(&call).map(|row| &row.workflow);
        let known = known.or_else(|| self.ended.get(&call).map(|ended| &ended.workflow));
        if let (Some(known), Some(asked)) = (known, &workflow)
            && known != asked
        {
            let _ = reply.send(Err(NotHere::OtherWorkflow));
            return;
        }
        self.forward(&call, request, reply, ctx);
    }
}

impl Handler<Died<CallId>> for CallRegistry {
    type Result = ();

    fn handle(&mut self, died: Died<CallId>, ctx: &mut Self::Context) {
        let call = died.who;
        match self.roster.died(self.house.clock.now(), &call, died.panicked) {
            Death::Forget => {
                if let Some(row) = self.rows.remove(&call) {
                    self.remember_end(call, row.workflow, false);
                }
                self.tell_if_empty();
            }
            verdict => {
                tracing::error!(%call, "a session panicked");
                if let Some(row) = self.rows.get_mut(&call) {
                    row.session = Session::Rebuilding { waiting: Vec::new() };
                }
                if verdict == Death::Rebuild {
                    self.rebuild(call, ctx);
                } else {
                    self.roster.reopen(&call);
                    self.give_up(call, ctx);
                }
            }
        }
    }
}

/// Goes on with a call that was found in the journal.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reopen {
    pub call: CallId,
    pub workflow: WorkflowId,
}

impl Handler<Reopen> for CallRegistry {
    type Result = ();

    fn handle(&mut self, Reopen { call, workflow }: Reopen, ctx: &mut Self::Context) {
        self.roster.reopen(&call);
        let session = Session::Rebuilding { waiting: Vec::new() };
        self.rows.insert(call.clone(), Row { workflow, session });
        self.rebuild(call, ctx);
    }
}

/// What every session counts and shows right now; `None` when the call is not in memory.
#[derive(Message)]
#[rtype(result = "Option<oneshot::Receiver<serde_json::Value>>")]
pub struct Observe(pub CallId);

impl Handler<Observe> for CallRegistry {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, Observe(call): Observe, _: &mut Self::Context) -> Self::Result {
        let (reply, observed) = oneshot::channel();
        let posted = match self.rows.get(&call).map(|row| &row.session) {
            Some(Session::Up { mail }) => mail.post(Mail::Observe { reply }),
            _ => Posted::Gone,
        };
        MessageResult((posted == Posted::Taken).then_some(observed))
    }
}

/// No new calls from now on.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Drain;

impl Handler<Drain> for CallRegistry {
    type Result = ();

    fn handle(&mut self, _: Drain, _: &mut Self::Context) {
        self.roster.drain();
    }
}

/// Fires when no call is in memory.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WhenEmpty(pub oneshot::Sender<()>);

impl Handler<WhenEmpty> for CallRegistry {
    type Result = ();

    fn handle(&mut self, WhenEmpty(waiting): WhenEmpty, _: &mut Self::Context) {
        self.last_end.push(waiting);
        self.tell_if_empty();
    }
}

/// Closes every live stream, so that the network comes back to the next process.
#[derive(Message)]
#[rtype(result = "()")]
pub struct HandOver;

impl Handler<HandOver> for CallRegistry {
    type Result = ();

    fn handle(&mut self, _: HandOver, _: &mut Self::Context) {
        for row in self.rows.values() {
            if let Session::Up { mail } = &row.session {
                mail.post(Mail::Input(Input::HandOver));
            }
        }
    }
}

/// What is in memory: nothing of a call may stay after its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    pub calls: usize,
    pub roster: usize,
    /// Sessions and their flows: one that outlives its row is counted here alone.
    pub actors: usize,
    pub draining: bool,
}

#[derive(Message)]
#[rtype(result = "Census")]
pub struct Count;

impl Handler<Count> for CallRegistry {
    type Result = MessageResult<Count>;

    fn handle(&mut self, _: Count, _: &mut Self::Context) -> Self::Result {
        MessageResult(Census {
            calls: self.rows.len(),
            roster: self.roster.len(),
            actors: self.alive.count(),
            draining: self.roster.is_draining(),
        })
    }
}

/// Provokes a panic in one session: for tests of what the others notice.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Provoke(pub CallId);

impl Handler<Provoke> for CallRegistry {
    type Result = ();

    fn handle(&mut self, Provoke(call): Provoke, _: &mut Self::Context) {
        if let Some(Row { session: Session::Up { mail }, .. }) = self.rows.get(&call) {
            mail.post(Mail::Provoke);
        }
    }
}
