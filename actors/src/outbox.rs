//! Owns the outbox: sends what is owed, and writes down what came of it.

use crate::clock::Clock;
use crate::driver::{Done, Driver, Owner};
use crate::journal_writer::{Delete, JournalWriter, Read, append};
use crate::port::http::World;
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, WrapFuture,
};
use futures_util::future::join_all;
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::http::Errand;
use holdline_core::workflow::outbox::{
    Delivery, DeliveryId, Effect, Input, Outbox as Machine, OutboxConfig, Row,
};
use std::sync::Arc;

/// Places for deliveries; one that finds none stays in the journal, and is sent after the next start.
const MAILBOX: usize = 4096;

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
}

impl Outbox {
    pub fn new(
        clock: Clock,
        journal: Addr<JournalWriter>,
        world: Arc<dyn World>,
        config: OutboxConfig,
    ) -> Outbox {
        Outbox { driver: Driver::new(clock, Machine::new(config)), journal, world }
    }

    /// Reads stories, folds them, and hands the rows over together.
    fn read(&self, ids: Vec<DeliveryId>, then: fn(Vec<Row>) -> Vec<Input>, ctx: &mut Context<Self>) {
        let reads = ids.into_iter().map(|id| self.journal.send(Read(Key::Delivery(id))));
        ctx.spawn(join_all(reads).into_actor(self).map(move |stories, actor, ctx| {
            let mut rows = Vec::new();
            for story in stories {
                match story {
                    Ok(Ok(entries)) => rows.extend(folded(&entries)),
                    Ok(Err(error)) => tracing::error!(%error, "a delivery could not be read"),
                    Err(_) => return,
                }
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
    }
}

/// A delivery that is on disk.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Owed(pub Box<Delivery>);

impl Handler<Owed> for Outbox {
    type Result = ();

    fn handle(&mut self, Owed(delivery): Owed, ctx: &mut Self::Context) {
        self.turn(Input::Open(vec![Row::new(delivery)]), ctx);
    }
}

/// Goes on with deliveries that were found in the journal. Dead ones among them stay as they are.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reopen(pub Vec<DeliveryId>);

impl Handler<Reopen> for Outbox {
    type Result = ();

    fn handle(&mut self, Reopen(ids): Reopen, ctx: &mut Self::Context) {
        self.read(ids, |rows| vec![Input::Open(rows)], ctx);
    }
}

/// Sends a dead letter again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Redrive(pub DeliveryId);

impl Handler<Redrive> for Outbox {
    type Result = ();

    fn handle(&mut self, Redrive(id): Redrive, ctx: &mut Self::Context) {
        self.read(vec![id], |rows| rows.into_iter().map(Input::Redrive).collect(), ctx);
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
                let wall_ms = self.driver.decided_ms();
                let batch = vec![Entry { key: Key::Delivery(id), wall_ms, fact: Fact::Outbox(fact) }];
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
        }
        Done::Now
    }
}

/// The delivery that a story tells of.
pub fn folded(entries: &[Entry]) -> Option<Row> {
    Row::fold(entries.iter().filter_map(|entry| match &entry.fact {
        Fact::Outbox(fact) => Some(fact),
        _ => None,
    }))
}
