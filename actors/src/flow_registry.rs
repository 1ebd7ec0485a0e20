//! Supervises main workflows: none is in memory while it only waits for its call.

use crate::call_session::Mail;
use crate::clock::Clock;
use crate::door::{self, FlowBook};
use crate::journal_writer::{JournalWriter, ReadRun, ReadRunFold, append};
use crate::obituary::Died;
use crate::outbox::Outside;
use crate::parent_workflow::{Order, ParentWorkflow, Tell};
use crate::port::journal::JournalError;
use crate::post::Held;
use crate::tally::Tally;
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, MailboxError, Message, ResponseActFuture,
    WrapFuture,
};
use holdline_core::call::Input as CallInput;
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::fold::Fold;
use holdline_core::metric::{self, Limit};
use holdline_core::{CallId, RunId, Tick};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Places for completions; a call tells its own again until it is acknowledged.
const MAILBOX: usize = 1024;
/// A workflow that panics twice within this time would do so for ever.
const REBUILD_EVERY: Duration = Duration::from_secs(10);
/// Runs whose beginning is on its way to the disk. While it is slow, no more are taken in than this.
pub const BEGUN_MAX: usize = 1024;
/// Main workflows folded at once after a start.
const FOLDED_AT_ONCE: usize = 8;

pub struct FlowRegistry {
    clock: Clock,
    journal: Addr<JournalWriter>,
    outside: Outside,
    book: Arc<dyn FlowBook>,
    tally: Arc<Tally>,
    live: BTreeMap<RunId, Held<Tell>>,
    /// When those that panicked were last rebuilt.
    rebuilt: BTreeMap<RunId, Tick>,
    /// Main workflows of the process before this one that are still to be folded.
    asleep: VecDeque<RunId>,
    /// Runs that are being begun: their first facts are on their way to the disk.
    begun: BTreeSet<RunId>,
}

/// What the journal says of a run's story.
type ReadBack = Result<Result<Option<Fold>, JournalError>, MailboxError>;

impl FlowRegistry {
    pub fn new(
        clock: Clock,
        journal: Addr<JournalWriter>,
        outside: Outside,
        book: Arc<dyn FlowBook>,
        tally: Arc<Tally>,
    ) -> FlowRegistry {
        FlowRegistry {
            clock,
            journal,
            outside,
            book,
            tally,
            live: BTreeMap::new(),
            rebuilt: BTreeMap::new(),
            asleep: VecDeque::new(),
            begun: BTreeSet::new(),
        }
    }

    /// Folds a main workflow from its facts and wakes it.
    fn wake(&mut self, run: RunId, tell: Option<Tell>, ctx: &mut Context<Self>) {
        let reading = self.journal.send(ReadRunFold(run));
        ctx.spawn(reading.into_actor(self).map(move |read, actor, ctx| actor.fold(run, read, tell, ctx)));
    }

    fn wake_next(&mut self, ctx: &mut Context<Self>) {
        let Some(run) = self.asleep.pop_front() else { return };
        let reading = self.journal.send(ReadRunFold(run));
        ctx.spawn(reading.into_actor(self).map(move |read, actor, ctx| {
            actor.fold(run, read, None, ctx);
            actor.wake_next(ctx);
        }));
    }

    fn fold(&mut self, run: RunId, read: ReadBack, tell: Option<Tell>, ctx: &mut Context<Self>) {
        let fold = match read {
            Ok(Ok(Some(fold))) => fold,
            Ok(Ok(None)) => {
                tracing::error!(%run, "a completion came for a main workflow that the journal does not know");
                // Nobody is left to take it: the call need not tell it for ever.
                if let Some(Tell::CallOver(Completed { session, .. })) = tell {
                    session.post(Mail::Input(CallInput::Acked));
                }
                return;
            }
            Ok(Err(error)) => {
                tracing::error!(%run, %error, "a main workflow could not be read");
                return;
            }
            Err(_) => return,
        };
        let Some(mut workflow) = fold.into_workflow() else {
            tracing::error!(%run, "a main workflow could not be folded from its facts");
            return;
        };
        workflow.bind(door::flows(&self.book));
        let held = self.live.entry(run).or_insert_with(|| {
            let parent = ParentWorkflow::new(
                self.clock,
                self.journal.clone(),
                self.outside.clone(),
                run,
                workflow,
                ctx.address(),
                self.tally.clone(),
            );
            Held::new(parent.start())
        });
        held.post(tell.unwrap_or(Tell::Resume));
    }
}

impl Actor for FlowRegistry {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
    }
}

/// A call's completion, for its main workflow.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Completed {
    pub run: RunId,
    pub call: CallId,
    pub completion: Value,
    /// Acknowledged here, once it is on disk.
    pub session: Held<Mail>,
}

impl Handler<Completed> for FlowRegistry {
    type Result = ();

    fn handle(&mut self, completed: Completed, ctx: &mut Self::Context) {
        let run = completed.run;
        match self.live.get(&run) {
            Some(parent) => {
                parent.post(Tell::CallOver(completed));
            }
            None => self.wake(run, Some(Tell::CallOver(completed)), ctx),
        }
    }
}

impl Handler<Died<RunId>> for FlowRegistry {
    type Result = ();

    fn handle(&mut self, died: Died<RunId>, ctx: &mut Self::Context) {
        self.live.remove(&died.who);
        if died.panicked {
            let now = self.clock.now().tick;
            let again = self.rebuilt.insert(died.who, now).is_some_and(|at| now.since(at) < REBUILD_EVERY);
            if again {
                self.tally.count(&metric::ACTOR_DEATHS, &["workflow", "lost"]);
                tracing::error!(run = %died.who, "a main workflow panicked again; it is left to the next start");
                return;
            }
            self.tally.count(&metric::ACTOR_DEATHS, &["workflow", "rebuilt"]);
            tracing::error!(run = %died.who, "a main workflow panicked and is rebuilt from its facts");
            self.wake(died.who, None, ctx);
        } else {
            self.rebuilt.remove(&died.who);
        }
    }
}

/// Goes on with main workflows that were found in the journal, a few at a time.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Recall(pub Vec<RunId>);

impl Handler<Recall> for FlowRegistry {
    type Result = ();

    fn handle(&mut self, Recall(runs): Recall, ctx: &mut Self::Context) {
        self.asleep.extend(runs);
        for _ in 0..FOLDED_AT_ONCE {
            self.wake_next(ctx);
        }
    }
}

/// Goes on with one main workflow that is in the journal: it was found there, or has just been begun.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reopen(pub RunId);

impl Handler<Reopen> for FlowRegistry {
    type Result = ();

    fn handle(&mut self, Reopen(run): Reopen, ctx: &mut Self::Context) {
        self.wake(run, None, ctx);
    }
}

/// Begins a run that nobody has seen yet, unless its id is taken: written before the reply, then at work.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Begin {
    pub run: RunId,
    pub facts: Vec<Fact>,
    pub reply: oneshot::Sender<Result<(), NotBegun>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotBegun {
    /// A run with this id is known, or is being begun.
    Exists,
    Unwritable,
}

impl Handler<Begin> for FlowRegistry {
    type Result = ();

    fn handle(&mut self, Begin { run, facts, reply }: Begin, ctx: &mut Self::Context) {
        if self.begun.len() >= BEGUN_MAX {
            self.tally.hit(Limit::BeginningRuns);
            let _ = reply.send(Err(NotBegun::Unwritable));
            return;
        }
        if !self.begun.insert(run) {
            let _ = reply.send(Err(NotBegun::Exists));
            return;
        }
        let (journal, wall_ms) = (self.journal.clone(), self.clock.now().wall_ms);
        let begin = async move {
            let known = journal.send(ReadRun(run)).await.map_err(|_| NotBegun::Unwritable)?;
            if known.map_err(|_| NotBegun::Unwritable)?.is_some() {
                return Err(NotBegun::Exists);
            }
            let entry = |fact| Entry { key: Key::Run(run), wall_ms, fact };
            let batch = facts.into_iter().map(entry).collect();
            append(&journal, batch).await.map_err(|_| NotBegun::Unwritable)
        };
        ctx.spawn(begin.into_actor(self).map(move |begun, actor, ctx| {
            actor.begun.remove(&run);
            if begun.is_ok() {
                actor.wake(run, None, ctx);
            }
            let _ = reply.send(begun);
        }));
    }
}

/// A command for a run in the story of this main workflow, which need not be in memory.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Obey {
    pub story: RunId,
    pub order: Order,
}

impl Handler<Obey> for FlowRegistry {
    type Result = ();

    fn handle(&mut self, Obey { story, order }: Obey, ctx: &mut Self::Context) {
        match self.live.get(&story) {
            Some(parent) => _ = parent.post(Tell::Command(order)),
            None => self.wake(story, Some(Tell::Command(order)), ctx),
        }
    }
}

/// How many main workflows are in memory.
#[derive(Message)]
#[rtype(result = "usize")]
pub struct CountFlows;

impl Handler<CountFlows> for FlowRegistry {
    type Result = ResponseActFuture<Self, usize>;

    fn handle(&mut self, _: CountFlows, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::ready(()).into_actor(self).map(|(), actor, _| actor.live.len()))
    }
}
