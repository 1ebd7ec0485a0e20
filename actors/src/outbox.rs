//! Owns the outbox: sends what is owed, and writes down what came of it.

use crate::clock::Clock;
use crate::driver::{Done, Driver, Owner};
use crate::journal_writer::{Delete, JournalWriter, OpenKeys, Read, append};
use crate::owing::{Announced, Owing};
use crate::port::http::World;
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, WrapFuture,
};
use futures_util::future::join_all;
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::http::Errand;
use holdline_core::workflow::outbox::{
    Delivery, DeliveryId, Effect, Input, Outbox as Machine, OutboxConfig, Row, State,
};
use std::sync::Arc;

/// Places for deliveries; one that finds none stays in the journal, and is sent after the next start.
const MAILBOX: usize = 4096;

/// Facts that are written together. Many receivers answer while one batch is on its way to the disk, and each of them
/// would wait for a batch of its own.
const BATCH_MAX: usize = 64;

/// How an owner of runs reaches other systems.
#[derive(Clone)]
pub struct Outside {
    pub world: Arc<dyn World>,
    pub outbox: Addr<Outbox>,
}

pub struct Outbox {
    driver: Driver<Machine>,
    journal: Addr<JournalWriter>,
    world: Arc<dyn World>,
    owing: Arc<Owing>,
    /// Stories that are being read; what is new waits meanwhile, so that it goes behind them.
    reading: usize,
    waiting: Vec<Row>,
}

impl Outbox {
    pub fn new(
        clock: Clock,
        journal: Addr<JournalWriter>,
        world: Arc<dyn World>,
        config: OutboxConfig,
    ) -> Outbox {
        let driver = Driver::new(clock, Machine::new(config));
        Outbox { driver, journal, world, owing: Arc::default(), reading: 0, waiting: Vec::new() }
    }

    /// Takes what is announced there as well.
    pub fn hearing(mut self, owing: Arc<Owing>) -> Outbox {
        self.owing = owing;
        self
    }

    fn listen(&mut self, ctx: &mut Context<Self>) {
        let owing = self.owing.clone();
        let next = async move { owing.next().await };
        ctx.spawn(next.into_actor(self).map(|Announced { deliveries, more }, actor, ctx| {
            let rows = deliveries.into_iter().map(|delivery| Row::new(Box::new(delivery)));
            actor.open(rows.collect(), ctx);
            if more {
                tracing::warn!(
                    "more deliveries are owed than could be announced; they are read from the journal"
                );
                actor.look_for(ctx);
            }
            actor.listen(ctx);
        }));
    }

    fn open(&mut self, rows: Vec<Row>, ctx: &mut Context<Self>) {
        if self.reading > 0 {
            self.waiting.extend(rows);
        } else {
            self.turn(Input::Open(rows), ctx);
        }
    }

    /// Reads whatever is owed in the journal.
    fn look_for(&mut self, ctx: &mut Context<Self>) {
        let keys = self.journal.send(OpenKeys).into_actor(self);
        ctx.spawn(keys.map(|keys, actor, ctx| {
            let keys = keys.ok().and_then(Result::ok).unwrap_or_default();
            let id = |key| if let Key::Delivery(id) = key { Some(id) } else { None };
            actor.read(keys.into_iter().filter_map(id).collect(), opened, ctx);
        }));
    }

    /// Reads stories, folds them, and hands the rows over together.
    fn read(&mut self, ids: Vec<DeliveryId>, then: fn(Vec<Row>) -> Vec<Input>, ctx: &mut Context<Self>) {
        let reads = ids.into_iter().map(|id| self.journal.send(Read(Key::Delivery(id))));
        self.reading += 1;
        ctx.spawn(join_all(reads).into_actor(self).map(move |stories, actor, ctx| {
            actor.reading -= 1;
            let mut rows = Vec::new();
            for story in stories {
                match story {
                    Ok(Ok(entries)) => rows.extend(folded(&entries)),
                    Ok(Err(error)) => tracing::error!(%error, "a delivery could not be read"),
                    Err(_) => return,
                }
            }
            if actor.reading == 0 {
                rows.append(&mut actor.waiting);
            }
            for input in then(rows) {
                actor.turn(input, ctx);
            }
        }));
    }
}

impl Actor for Outbox {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.listen(ctx);
    }
}

/// A delivery that is on disk.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Owed(pub Box<Delivery>);

impl Handler<Owed> for Outbox {
    type Result = ();

    fn handle(&mut self, Owed(delivery): Owed, ctx: &mut Self::Context) {
        self.open(vec![Row::new(delivery)], ctx);
    }
}

/// Goes on with deliveries that were found in the journal. Dead ones among them stay as they are.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reopen(pub Vec<DeliveryId>);

impl Handler<Reopen> for Outbox {
    type Result = ();

    fn handle(&mut self, Reopen(ids): Reopen, ctx: &mut Self::Context) {
        self.read(ids, opened, ctx);
    }
}

/// Sends a dead letter again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Redrive(pub DeliveryId);

impl Handler<Redrive> for Outbox {
    type Result = ();

    fn handle(&mut self, Redrive(id): Redrive, ctx: &mut Self::Context) {
        self.read(vec![id], redriven, ctx);
    }
}

/// What is in memory: all of it, and how much is under way.
#[derive(Message)]
#[rtype(result = "Depth")]
pub struct AskDepth;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    pub rows: usize,
    pub in_flight: usize,
}

impl Handler<AskDepth> for Outbox {
    type Result = MessageResult<AskDepth>;

    fn handle(&mut self, _: AskDepth, _: &mut Self::Context) -> Self::Result {
        let machine = self.driver.machine();
        MessageResult(Depth { rows: machine.len(), in_flight: machine.in_flight() })
    }
}

impl Owner for Outbox {
    type Machine = Machine;

    fn driver(&mut self) -> &mut Driver<Machine> {
        &mut self.driver
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) -> Done {
        match effect {
            Effect::Record { id, fact } => {
                let first = (self.driver.decided_ms(), Effect::Record { id, fact });
                let more =
                    self.driver.take_held(BATCH_MAX - 1, |effect| matches!(effect, Effect::Record { .. }));
                let batch = std::iter::once(first).chain(more).filter_map(entry).collect();
                let writing = append(&self.journal, batch).into_actor(self);
                ctx.spawn(writing.map(move |written, actor, ctx| {
                    if written.is_err() {
                        // At least once: what isn't written is sent again after the next start.
                        tracing::error!(%id, "what came of a delivery could not be written");
                    }
                    actor.release(ctx);
                }));
                return Done::Later;
            }
            Effect::Send { id, attempt, call } => {
                let sending = self.world.perform(Errand::Http(call)).into_actor(self);
                ctx.spawn(sending.map(move |outcome, actor, ctx| {
                    actor.turn(Input::Sent { id, attempt, outcome }, ctx);
                }));
            }
            Effect::Delivered { id } => {
                // Nobody asks for a message that was taken; its step tells of it.
                let _ = self.journal.try_send(Delete(Key::Delivery(id)));
            }
            Effect::Dead { id, error } => tracing::warn!(%id, error, "a delivery is a dead letter"),
            Effect::Gone { receiver } => {
                tracing::error!(
                    receiver,
                    "a receiver of events answered 410: it is gone, and nothing more is sent there. Take it out of \
                     [events] webhooks, or redrive the dead letter that got this answer to ask it again"
                );
                self.owing.goes(receiver);
            }
            Effect::Back { receiver } => self.owing.is_back(&receiver),
        }
        Done::Now
    }
}

/// A fact is written for what has happened already, so nothing has to precede it; what follows from it, and may only
/// be done once it is written, stands behind it.
fn entry((wall_ms, effect): (u64, Effect)) -> Option<Entry> {
    let Effect::Record { id, fact } = effect else { return None };
    Some(Entry { key: Key::Delivery(id), wall_ms, fact: Fact::Outbox(fact) })
}

fn opened(rows: Vec<Row>) -> Vec<Input> {
    let gone = rows.iter().filter(|row| row.gone).filter_map(|row| row.delivery.receiver.clone());
    let mut inputs: Vec<Input> = gone.map(|receiver| Input::Gone { receiver }).collect();
    inputs.push(Input::Open(rows));
    inputs
}

/// What was announced meanwhile is no dead letter.
fn redriven(rows: Vec<Row>) -> Vec<Input> {
    let (dead, open): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|row| row.state == State::Dead);
    dead.into_iter().map(Input::Redrive).chain([Input::Open(open)]).collect()
}

/// The delivery that a story tells of.
pub fn folded(entries: &[Entry]) -> Option<Row> {
    Row::fold(entries.iter().filter_map(|entry| match &entry.fact {
        Fact::Outbox(fact) => Some(fact),
        _ => None,
    }))
}
