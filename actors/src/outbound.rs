//! Owns the wishes for calls that we place: asks the network for them, and registers what comes of it.

use crate::call_registry::{Arrive, CallRegistry};
use crate::clock::Clock;
use crate::door::FlowBook;
use crate::driver::{Done, Driver, Owner};
use crate::journal_writer::{Close, JournalWriter, Read, append};
use crate::port::http::World;
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, WrapFuture,
};
use futures_util::future::join_all;
use holdline_core::call::Request;
use holdline_core::call::begin::new_call_with;
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::notice::{Arrival, StatusNotice};
use holdline_core::outbound::{
    Effect, Input, Outbound as Machine, OutboundConfig, Placement, PlacementId, Refused, Row,
};
use holdline_core::{CallId, RunId};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Places for wishes and webhooks.
const MAILBOX: usize = 4096;
/// Whoever waits for the same wish.
const WAITING_MAX: usize = 32;

/// Ids that start something from outside; the wall's milliseconds go into them.
pub type Minting = Arc<dyn Fn(u64) -> Uuid + Send + Sync>;

pub struct Outbound {
    driver: Driver<Machine>,
    journal: Addr<JournalWriter>,
    world: Arc<dyn World>,
    calls: Addr<CallRegistry>,
    book: Arc<dyn FlowBook>,
    mint: Minting,
    waiting: BTreeMap<PlacementId, Vec<oneshot::Sender<Verdict>>>,
}

/// What becomes of a wish.
pub type Verdict = Result<CallId, Refused>;

/// What the actor needs of its house.
pub struct Parts {
    pub clock: Clock,
    pub journal: Addr<JournalWriter>,
    pub world: Arc<dyn World>,
    pub calls: Addr<CallRegistry>,
    pub book: Arc<dyn FlowBook>,
    pub mint: Minting,
}

impl Outbound {
    pub fn new(parts: Parts, config: OutboundConfig) -> Outbound {
        let Parts { clock, journal, world, calls, book, mint } = parts;
        let driver = Driver::new(clock, Machine::new(config));
        Outbound { driver, journal, world, calls, book, mint, waiting: BTreeMap::new() }
    }

    fn tell(&mut self, id: PlacementId, verdict: &Verdict) {
        for waiting in self.waiting.remove(&id).unwrap_or_default() {
            // Whoever asked may have gone; the journal knows.
            let _ = waiting.send(verdict.clone());
        }
    }

    /// The call that was placed begins: it is in the list, and whatever the network tells of it has a place to go.
    fn register(&mut self, placement: &Placement, arrival: Arrival, ctx: &mut Context<Self>) {
        let id = placement.id;
        let now = self.driver.clock().now();
        let Some(script) = self.book.find(&placement.workflow) else {
            tracing::error!(call = %arrival.call, workflow = %placement.workflow, "the workflow of a call that was placed is gone");
            return self.turn_later(Input::Known { id }, ctx);
        };
        let ids = (RunId((self.mint)(now.wall_ms)), RunId((self.mint)(now.wall_ms)));
        let notice = StatusNotice {
            call: arrival.call.clone(),
            parent: None,
            status: arrival.status,
            raw: arrival.status.map_or("", |status| status.as_str()).to_owned(),
            sequence: None,
            duration_s: None,
            sip_code: None,
        };
        let find = |id: &_| self.book.find(id);
        let new = match new_call_with(now, arrival, &placement.variables, &script, &find, ids) {
            Ok(new) => new,
            Err(error) => {
                tracing::error!(%error, "a call that was placed cannot be started");
                return self.turn_later(Input::Known { id }, ctx);
            }
        };
        let (reply, answered) = oneshot::channel();
        let arrive = Arrive {
            workflow: placement.workflow.clone(),
            new: Box::new(new),
            overflow: None,
            turned_away: RunId((self.mint)(now.wall_ms)),
            request: Request::Status(notice),
            reply,
        };
        let arriving = self.calls.send(arrive);
        let wait = async move {
            arriving.await.ok()?;
            answered.await.ok()
        };
        ctx.spawn(wait.into_actor(self).map(move |answered, actor, ctx| match answered {
            // Known, ended or turned away: it has its place in the list.
            Some(_) => actor.turn(Input::Known { id }, ctx),
            // A panic swallowed the answer, or the disk took nothing.
            None => actor.turn(Input::Unregistered { id }, ctx),
        }));
    }
}

impl Actor for Outbound {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

/// How many calls are being placed.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct AskPlacements;

impl Handler<AskPlacements> for Outbound {
    type Result = MessageResult<AskPlacements>;

    fn handle(&mut self, _: AskPlacements, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.driver.machine().len())
    }
}

/// Somebody wishes for a call. The same wish again, also after a restart, gets the same verdict and dials nothing.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PlaceCall {
    pub placement: Box<Placement>,
    pub reply: oneshot::Sender<Verdict>,
}

impl Handler<PlaceCall> for Outbound {
    type Result = ();

    fn handle(&mut self, PlaceCall { placement, reply }: PlaceCall, ctx: &mut Self::Context) {
        let id = placement.id;
        let waiting = self.waiting.entry(id).or_default();
        if waiting.len() >= WAITING_MAX {
            let _ = reply.send(Err(Refused::Full));
            return;
        }
        waiting.push(reply);
        if self.driver.machine().placement(id).is_some() {
            return;
        }
        let reading = self.journal.send(Read(Key::Placement(id)));
        ctx.spawn(reading.into_actor(self).map(move |read, actor, ctx| match read {
            Ok(Ok(entries)) => match folded(&entries) {
                Some(Row { outcome: Some(outcome), .. }) => {
                    actor.tell(id, &outcome.map(|arrival| arrival.call));
                }
                Some(row) => actor.turn(Input::Reopen(row), ctx),
                None => actor.turn(Input::Place(placement), ctx),
            },
            // What may have been dialled before is not dialled.
            _ => actor.tell(id, &Err(Refused::Unwritable)),
        }));
    }
}

/// Goes on with wishes that were found in the journal.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reopen(pub Vec<PlacementId>);

impl Handler<Reopen> for Outbound {
    type Result = ();

    fn handle(&mut self, Reopen(ids): Reopen, ctx: &mut Self::Context) {
        let reads = ids.into_iter().map(|id| self.journal.send(Read(Key::Placement(id))));
        ctx.spawn(join_all(reads).into_actor(self).map(|stories, actor, ctx| {
            for story in stories {
                match story {
                    Ok(Ok(entries)) => {
                        if let Some(row) = folded(&entries) {
                            actor.turn(Input::Reopen(row), ctx);
                        }
                    }
                    Ok(Err(error)) => tracing::error!(%error, "a wish for a call could not be read"),
                    Err(_) => return,
                }
            }
        }));
    }
}

/// A webhook with a wish's tag names a call that nobody knows yet.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Seen {
    pub id: PlacementId,
    pub arrival: Box<Arrival>,
    pub reply: oneshot::Sender<Option<Placement>>,
}

impl Handler<Seen> for Outbound {
    type Result = ();

    fn handle(&mut self, Seen { id, arrival, reply }: Seen, ctx: &mut Self::Context) {
        if let Some(placement) = self.driver.machine().placement(id).cloned() {
            let _ = reply.send(Some(placement));
            self.turn(Input::Seen { id, arrival }, ctx);
            return;
        }
        let reading = self.journal.send(Read(Key::Placement(id)));
        ctx.spawn(reading.into_actor(self).map(move |read, _, _| {
            let row = read.ok().and_then(Result::ok).and_then(|entries| folded(&entries));
            let _ = reply.send(row.map(|row| *row.placement));
        }));
    }
}

impl Owner for Outbound {
    type Machine = Machine;

    fn driver(&mut self) -> &mut Driver<Machine> {
        &mut self.driver
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) -> Done {
        match effect {
            Effect::Record { id, fact } => {
                let wall_ms = self.driver.decided_ms();
                let batch = vec![Entry { key: Key::Placement(id), wall_ms, fact: Fact::Outbound(fact) }];
                let writing = append(&self.journal, batch).into_actor(self);
                ctx.spawn(writing.map(move |written, actor, ctx| {
                    if written.is_err() {
                        tracing::error!(%id, "what came of a wish for a call could not be written");
                        actor.turn(Input::Unwritten { id }, ctx);
                    }
                    actor.release(ctx);
                }));
                return Done::Later;
            }
            Effect::Ask { id, no, errand } => {
                // Given up since: nothing of it is on disk.
                if self.driver.machine().placement(id).is_some() {
                    let asking = self.world.perform(errand).into_actor(self);
                    ctx.spawn(asking.map(move |outcome, actor, ctx| {
                        actor.turn(Input::Asked { id, no, outcome }, ctx);
                    }));
                }
            }
            Effect::Born { placement, arrival } => self.register(&placement, *arrival, ctx),
            Effect::Tell { id, outcome } => {
                if let Err(refused) = &outcome {
                    tracing::warn!(%id, %refused, "a call was not placed");
                }
                self.tell(id, &outcome);
            }
            Effect::Done { id } => {
                let _ = self.journal.try_send(Close(Key::Placement(id)));
            }
        }
        Done::Now
    }
}

/// The wish that a story tells of.
pub fn folded(entries: &[Entry]) -> Option<Row> {
    Row::fold(entries.iter().filter_map(|entry| match &entry.fact {
        Fact::Outbound(fact) => Some(fact),
        _ => None,
    }))
}
