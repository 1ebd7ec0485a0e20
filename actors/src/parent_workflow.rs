//! Owns one main workflow.

use crate::alive::Life;
use crate::call_session::Mail;
use crate::clock::Clock;
use crate::driver::{Done, Driver, Owner};
use crate::flow_registry::{Completed, FlowRegistry, Reopen};
use crate::journal_writer::{Close, JournalWriter, append};
use crate::obituary::Obituary;
use crate::outbox::{Outside, Owed};
use crate::port::http::World;
use crate::post::Held;
use crate::tally::Tally;
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use holdline_core::call::{AskNo, Input as CallInput};
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::metric::Limit;
use holdline_core::once::Stamp;
use holdline_core::scene::{Command, Refused};
use holdline_core::workflow::{Effect, Input, Workflow};
use holdline_core::{CallId, RunId};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Commands that wait for their answers.
pub const ASKS_MAX: usize = 64;

pub struct ParentWorkflow {
    driver: Driver<Workflow>,
    journal: Addr<JournalWriter>,
    run: RunId,
    /// Who is to be told that the completion is on disk.
    calls: BTreeMap<CallId, Held<Mail>>,
    replies: BTreeMap<AskNo, oneshot::Sender<Obeyed>>,
    last_ask: u64,
    world: Arc<dyn World>,
    outbox: Held<Owed>,
    registry: Held<Reopen>,
    tally: Arc<Tally>,
    _life: Life,
    _obituary: Obituary<RunId>,
}

impl ParentWorkflow {
    pub fn new(
        clock: Clock,
        journal: Addr<JournalWriter>,
        outside: Outside,
        run: RunId,
        workflow: Workflow,
        registry: Addr<FlowRegistry>,
        tally: Arc<Tally>,
    ) -> ParentWorkflow {
        ParentWorkflow {
            driver: Driver::new(clock, workflow),
            journal,
            run,
            calls: BTreeMap::new(),
            replies: BTreeMap::new(),
            last_ask: 0,
            world: outside.world,
            outbox: Held::new(outside.outbox),
            _obituary: Obituary::new(run, registry.clone().recipient()),
            registry: Held::new(registry),
            _life: tally.workflows.begin(),
            tally,
        }
    }

    fn record(&mut self, facts: Vec<Fact>, ctx: &mut Context<Self>) -> Done {
        let wall_ms = self.driver.decided_ms();
        let key = Key::Run(self.run);
        let entry = |fact: Fact| Entry { key: fact.key(&key), wall_ms, fact };
        let batch = facts.into_iter().map(entry).collect();
        let writing = append(&self.journal, batch).into_actor(self);
        ctx.spawn(writing.map(|written, actor, ctx| match written {
            Ok(()) => actor.release(ctx),
            Err(_) => {
                tracing::error!(run = %actor.run, "facts of a main workflow could not be written");
                ctx.stop();
            }
        }));
        Done::Later
    }
}

impl Actor for ParentWorkflow {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
pub enum Tell {
    CallOver(Completed),
    Resume,
    Command(Order),
}

/// Somebody wants something of a run in this workflow's story. A dropped reply says that it is not known what came of
/// it.
#[derive(Debug)]
pub struct Order {
    pub run: RunId,
    pub command: Command,
    /// What makes it the same when it comes again.
    pub stamp: Option<Stamp>,
    pub reply: oneshot::Sender<Obeyed>,
}

/// What came of a command: it is on disk.
#[derive(Debug)]
pub struct Obeyed {
    pub verdict: Result<(), Refused>,
    /// A call that has to end as well.
    pub ends: Option<CallId>,
}

impl Handler<Tell> for ParentWorkflow {
    type Result = ();

    fn handle(&mut self, tell: Tell, ctx: &mut Self::Context) {
        match tell {
            Tell::CallOver(Completed { call, completion, session, .. }) => {
                self.calls.insert(call.clone(), session);
                self.turn(Input::CallOver { call, completion }, ctx);
            }
            Tell::Resume => self.turn(Input::Resume, ctx),
            Tell::Command(Order { run, command, stamp, reply }) => {
                if self.replies.len() >= ASKS_MAX {
                    self.tally.hit(Limit::RunRequests);
                    return; // the dropped reply tells the one who asked
                }
                self.last_ask += 1;
                let ask = AskNo(self.last_ask);
                self.replies.insert(ask, reply);
                self.turn(Input::Commanded { ask, run, command, stamp }, ctx);
            }
        }
    }
}

impl Owner for ParentWorkflow {
    type Machine = Workflow;

    fn driver(&mut self) -> &mut Driver<Workflow> {
        &mut self.driver
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) -> Done {
        match effect {
            Effect::Record(facts) => return self.record(facts, ctx),
            Effect::Ack { call } => {
                if let Some(session) = self.calls.remove(&call) {
                    session.post(Mail::Input(CallInput::Acked));
                }
            }
            Effect::Fetch { no, errand } => {
                let asking = self.world.perform(errand).into_actor(self);
                ctx.spawn(asking.map(move |outcome, actor, ctx| {
                    actor.turn(Input::Fetched { no, outcome }, ctx);
                }));
            }
            Effect::Deliver(delivery) => {
                self.tally.posted("outbox", self.outbox.post(Owed(delivery)));
            }
            Effect::Answer { ask, verdict, ends } => {
                if let Some(reply) = self.replies.remove(&ask) {
                    // Whoever asked may have gone.
                    let _ = reply.send(Obeyed { verdict, ends });
                }
            }
            // Once in its life; should it be lost, only the next start finds the run.
            Effect::Follow { run } => self.registry.last_word(Reopen(run)),
            Effect::Over { run, over } => {
                tracing::info!(%run, end_reason = over.reason.as_str(), "main workflow ended");
                let _ = self.journal.try_send(Close(Key::Run(run)));
            }
        }
        Done::Now
    }
}
