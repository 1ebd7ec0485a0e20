//! Owns the roster: makes sessions, finds them, and rebuilds those that die.
//!
//! actix's own supervisor restarts an actor that stopped and leaves one dead that panicked; here every session owns an
//! obituary, and a panic is answered by a session folded from the call's facts.

use crate::alive::Alive;
use crate::call_session::{Begin, CallSession, House, Mail};
use crate::journal_writer::{AskHealth, Close, FoldSettled, Health, LookUp, ReadFold};
use crate::obituary::{Died, Obituary};
use crate::post::{Held, Posted};
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, WrapFuture,
};
use actix_rt::ArbiterHandle;
use holdline_core::call::begin::{NewCall, turned_away};
use holdline_core::call::{Answer, Call, CallConfig, CallEnd, CallFact, CallState, Input, Request};
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::fold::Fold;
use holdline_core::metric::{self, Limit};
use holdline_core::roster::{Death, Roster, Verdict};
use holdline_core::{CallId, RunId, WorkflowId};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;

/// Places for requests from outside.
const MAILBOX: usize = 4096;
/// Ended calls that are remembered, so that a late request does not start them anew.
pub const ENDED_MAX: usize = 8_000;
/// Requests that wait while their call is rebuilt or looked for.
pub const WAITING_MAX: usize = 64;
/// Calls that are looked for in the journal at once.
pub const LOOKED_FOR_MAX: usize = 4096;
/// Calls folded at once after a start, so that those whose webhook comes find the arbiter free.
const FOLDED_AT_ONCE: usize = 8;

pub struct CallRegistry {
    house: Arc<House>,
    config: Arc<CallConfig>,
    /// Arbiters for sessions, each in its turn; none: they live here.
    homes: Vec<ArbiterHandle>,
    next_home: usize,
    roster: Roster,
    rows: BTreeMap<CallId, Row>,
    ended: BTreeMap<CallId, Ended>,
    ended_order: VecDeque<CallId>,
    /// There may be calls that are over and no longer remembered here: the journal knows them.
    forgets: bool,
    looked_for: BTreeMap<CallId, Vec<Caller>>,
    /// Calls of the process before this one that are still to be folded.
    asleep: VecDeque<CallId>,
    health: Option<Arc<Health>>,
    /// Who waits for the last call to end.
    last_end: Vec<oneshot::Sender<()>>,
    /// Sessions and their flows.
    alive: Alive,
}

/// Who waits for what the journal says of a call.
enum Caller {
    Arrive(Box<Arrive>),
    Deliver(Box<Deliver>),
}

struct Row {
    workflow: WorkflowId,
    session: Session,
}

enum Session {
    Up {
        mail: Held<Mail>,
    },
    /// Open in the journal, not yet folded.
    Asleep,
    Rebuilding {
        waiting: Vec<(Request, oneshot::Sender<Outcome>)>,
    },
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
    /// It would be a new call, and the journal can't be written.
    Unwritable,
}

impl CallRegistry {
    pub fn new(
        house: House,
        config: Arc<CallConfig>,
        max_calls: usize,
        homes: Vec<ArbiterHandle>,
    ) -> CallRegistry {
        CallRegistry {
            house: Arc::new(house),
            config,
            homes,
            next_home: 0,
            roster: Roster::new(max_calls),
            rows: BTreeMap::new(),
            ended: BTreeMap::new(),
            ended_order: VecDeque::new(),
            forgets: false,
            looked_for: BTreeMap::new(),
            asleep: VecDeque::new(),
            health: None,
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
        let session = CallSession::new(self.house.clone(), machine, begin, obituary, alive);
        let session = match self.homes.get(self.next_home) {
            Some(home) => CallSession::start_in_arbiter(home, move |_| session),
            None => session.start(),
        };
        self.next_home = (self.next_home + 1) % self.homes.len().max(1);
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

    /// Hands a request to its session, which answers whoever asked.
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
                } else {
                    self.house.tally.hit(Limit::RebuildRequests);
                }
            }
            Session::Asleep => {
                row.session = Session::Rebuilding { waiting: vec![(request, reply)] };
                self.wake(call.clone(), ctx);
            }
            Session::Up { mail } => {
                // Should it find no place, the dropped reply says that there is no answer.
                let posted = mail.post(Mail::Ask { request, reply });
                if self.house.tally.posted("session", posted) == Posted::Full {
                    self.house.tally.hit(Limit::SessionMailbox);
                }
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
                self.house.tally.hit(Limit::EndedCalls);
                self.ended.remove(&oldest);
                self.forgets = true;
            }
        }
    }

    /// A call that finds no room is written down, and told that we are busy.
    fn turn_away(&mut self, arrive: Arrive, ctx: &mut Context<Self>) {
        let Arrive { workflow, new, turned_away: run, reply, .. } = arrive;
        let CallFact::Arrived { arrival, .. } = new.arrived else { return };
        let call = arrival.call.clone();
        let draining = self.roster.is_draining();
        tracing::warn!(%call, draining, "a call was turned away");
        let reason = if draining { "draining" } else { "capacity" };
        self.house.tally.count(&metric::CALLS_REFUSED, &[reason]);
        if !draining {
            self.house.tally.hit(Limit::Calls);
        }
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
        let writing = self.house.journal.append(batch).into_actor(self);
        ctx.spawn(writing.map(move |written, actor, _| {
            if written.is_ok() {
                then(actor);
            }
        }));
    }

    /// Folds a call of the process before this one.
    fn wake(&mut self, call: CallId, ctx: &mut Context<Self>) {
        let reading = self.house.journal.send(ReadFold(Key::Call(call.clone())));
        ctx.spawn(reading.into_actor(self).map(move |read, actor, ctx| {
            actor.fold(call, read.ok().and_then(Result::ok), ctx);
        }));
    }

    /// One more of those that nobody has asked for yet.
    fn wake_next(&mut self, ctx: &mut Context<Self>) {
        while let Some(call) = self.asleep.pop_front() {
            let Some(row) = self.rows.get_mut(&call) else { continue };
            if let Session::Asleep = row.session {
                row.session = Session::Rebuilding { waiting: Vec::new() };
                let reading = self.house.journal.send(ReadFold(Key::Call(call.clone())));
                ctx.spawn(reading.into_actor(self).map(move |read, actor, ctx| {
                    actor.fold(call, read.ok().and_then(Result::ok), ctx);
                    actor.wake_next(ctx);
                }));
                return;
            }
        }
    }

    /// Folds a call whose session has died: with what it had still asked to be written.
    fn rebuild(&mut self, call: CallId, ctx: &mut Context<Self>) {
        let reading = self.house.journal.send(FoldSettled(Key::Call(call.clone())));
        ctx.spawn(reading.into_actor(self).map(move |read, actor, ctx| {
            actor.fold(call, read.ok().and_then(Result::ok), ctx);
        }));
    }

    /// Starts a call's session from its facts.
    fn fold(&mut self, call: CallId, read: Option<Fold>, ctx: &mut Context<Self>) {
        let Some(fold) = read else {
            tracing::error!(%call, "a call could not be read back");
            self.forgets = true; // it must not begin anew
            self.forget(&call);
            return;
        };
        let now = self.house.clock.now();
        let Some((state, run)) = fold.into_call() else {
            // It died before anything was written: the network's next request begins it.
            self.forget(&call);
            return;
        };
        if state.over == Some(CallEnd::Rejected) {
            // It was turned away, and the process died before it could say that there is nothing more to tell.
            self.forget(&call);
            self.remember_end(call.clone(), state.workflow, true);
            let _ = self.house.journal.try_send(Close(Key::Call(call)));
            return;
        }
        let run = run.map(Box::new);
        let workflow = state.workflow.clone();
        let machine = if run.is_none() && state.flow_over.is_none() {
            // Without its flow nothing would ever answer for it, nor end it.
            tracing::error!(%call, "a call's flow could not be folded from its facts; the call is ended");
            Call::lost(now, self.config.clone(), state, "the call's flow could not be read back")
        } else {
            Call::restore(now, self.config.clone(), state)
        };
        self.start(call, workflow, machine, Begin::Restored { run }, ctx);
    }

    /// A call that can't go on is ended, with the reason `internal`.
    fn give_up(&mut self, call: CallId, why: &'static str, ctx: &mut Context<Self>) {
        tracing::error!(%call, why, "a call is given up");
        let reading = self.house.journal.send(FoldSettled(Key::Call(call.clone())));
        ctx.spawn(reading.into_actor(self).map(move |read, actor, ctx| {
            let state = read.ok().and_then(Result::ok).and_then(Fold::into_call);
            let Some((state, _)) = state else {
                actor.forget(&call);
                return;
            };
            let workflow = state.workflow.clone();
            let machine = Call::lost(actor.house.clock.now(), actor.config.clone(), state, why);
            actor.start(call, workflow, machine, Begin::Restored { run: None }, ctx);
        }));
    }

    /// Whether the journal has to be asked before anything is said of this call.
    fn is_strange(&self, call: &CallId) -> bool {
        self.forgets && !self.rows.contains_key(call) && !self.ended.contains_key(call)
    }

    /// Asks the journal what became of a call that nobody here remembers.
    fn look_for(&mut self, call: CallId, caller: Caller, ctx: &mut Context<Self>) {
        if let Some(callers) = self.looked_for.get_mut(&call) {
            if callers.len() < WAITING_MAX {
                callers.push(caller);
            } else {
                self.house.tally.hit(Limit::RebuildRequests);
            }
            return;
        }
        if self.looked_for.len() >= LOOKED_FOR_MAX {
            self.house.tally.hit(Limit::LookedFor);
            return; // the dropped reply says that there is no answer
        }
        self.looked_for.insert(call.clone(), vec![caller]);
        let looking = self.house.journal.send(LookUp(Key::Call(call.clone())));
        ctx.spawn(looking.into_actor(self).map(move |found, actor, ctx| {
            let callers = actor.looked_for.remove(&call).unwrap_or_default();
            match found {
                Ok(Ok(Some(story))) => {
                    let workflow = story.workflow.unwrap_or_else(|| WorkflowId(String::new()));
                    if story.ended_ms.is_some() {
                        actor.remember_end(call, workflow, story.rejected);
                    } else {
                        actor.recall(call, workflow);
                    }
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) => {
                    // A call that may be over must not begin again: the network asks once more.
                    tracing::error!(%call, %error, "the journal could not be asked for a call");
                    return;
                }
                Err(_) => return,
            }
            for caller in callers {
                match caller {
                    Caller::Arrive(arrive) => actor.arrive(*arrive, ctx),
                    Caller::Deliver(deliver) => actor.deliver(*deliver, ctx),
                }
            }
        }));
    }

    fn recall(&mut self, call: CallId, workflow: WorkflowId) {
        self.roster.reopen(&call);
        self.rows.entry(call).or_insert(Row { workflow, session: Session::Asleep });
    }

    fn can_write(&self) -> bool {
        self.health.as_ref().is_none_or(|health| !health.is_failing())
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
        let asked = self.house.journal.send(AskHealth);
        ctx.spawn(asked.into_actor(self).map(|health, actor, _| actor.health = health.ok()));
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
        if self.is_strange(&arrival.call) {
            let call = arrival.call.clone();
            self.look_for(call, Caller::Arrive(Box::new(arrive)), ctx);
        } else {
            self.arrive(arrive, ctx);
        }
    }
}

impl CallRegistry {
    fn arrive(&mut self, arrive: Arrive, ctx: &mut Context<Self>) {
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
        if !self.rows.contains_key(&call) && !self.can_write() {
            let _ = arrive.reply.send(Err(NotHere::Unwritable));
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
                    self.house.tally.hit(Limit::Calls);
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
        if self.is_strange(&deliver.call) {
            let call = deliver.call.clone();
            self.look_for(call, Caller::Deliver(Box::new(deliver)), ctx);
        } else {
            self.deliver(deliver, ctx);
        }
    }
}

impl CallRegistry {
    fn deliver(&mut self, deliver: Deliver, ctx: &mut Context<Self>) {
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
        let death = if died.gave_up {
            self.roster.gave_up(&call)
        } else {
            self.roster.died(self.house.clock.now(), &call, died.panicked)
        };
        match death {
            Death::Forget => {
                if let Some(row) = self.rows.remove(&call) {
                    self.remember_end(call, row.workflow, false);
                }
                self.tell_if_empty();
            }
            Death::Lose => {
                self.house.tally.count(&metric::ACTOR_DEATHS, &["call", "lost"]);
                tracing::error!(%call, "a call's end could not be written; it is left to the next start");
                self.rows.remove(&call);
                self.tell_if_empty();
            }
            verdict => {
                if died.panicked {
                    tracing::error!(%call, "a session panicked");
                }
                if let Some(row) = self.rows.get_mut(&call) {
                    row.session = Session::Rebuilding { waiting: Vec::new() };
                }
                let rebuilds = verdict == Death::Rebuild;
                let how = if rebuilds { "rebuilt" } else { "given_up" };
                self.house.tally.count(&metric::ACTOR_DEATHS, &["call", how]);
                if rebuilds {
                    self.rebuild(call, ctx);
                } else {
                    let why = if died.gave_up {
                        "the call's facts could not be written in time"
                    } else {
                        "the call's session panicked repeatedly"
                    };
                    self.give_up(call, why, ctx);
                }
            }
        }
    }
}

/// Goes on with calls that were found in the journal: each as soon as it is asked for, all of them in time.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Recall {
    pub open: Vec<(CallId, WorkflowId)>,
    /// The journal also holds calls that are over.
    pub knows_ended: bool,
}

impl Handler<Recall> for CallRegistry {
    type Result = ();

    fn handle(&mut self, recall: Recall, ctx: &mut Self::Context) {
        self.forgets |= recall.knows_ended;
        for (call, workflow) in recall.open {
            self.recall(call.clone(), workflow);
            self.asleep.push_back(call);
        }
        for _ in 0..FOLDED_AT_ONCE {
            self.wake_next(ctx);
        }
    }
}

/// Goes on with one call that was found in the journal.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reopen {
    pub call: CallId,
    pub workflow: WorkflowId,
}

impl Handler<Reopen> for CallRegistry {
    type Result = ();

    fn handle(&mut self, Reopen { call, workflow }: Reopen, ctx: &mut Self::Context) {
        self.recall(call.clone(), workflow);
        self.asleep.push_back(call);
        self.wake_next(ctx);
    }
}

/// A call of an earlier process that is over: a late request of its must not start it anew.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Remember {
    pub call: CallId,
    pub workflow: WorkflowId,
    pub rejected: bool,
}

impl Handler<Remember> for CallRegistry {
    type Result = ();

    fn handle(&mut self, Remember { call, workflow, rejected }: Remember, _: &mut Self::Context) {
        self.remember_end(call, workflow, rejected);
    }
}

/// What a session counts right now, as `media` of the API; `None` when the call is not in memory.
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
    /// Calls that are over and remembered all the same.
    pub ended: usize,
    pub looked_for: usize,
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
            ended: self.ended.len(),
            looked_for: self.looked_for.len(),
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
