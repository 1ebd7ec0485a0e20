//! Owns the journal. Many stories share one writer; it asks nobody.
//!
//! A store that blocks is written on a thread of its own and read on another one, so that no arbiter ever waits for a
//! disk, and no commit for a reader. One that does not stays where its owner is, and with it under a clock that tests
//! can hold.

mod crier;
mod desk;
mod lane;
#[cfg(test)]
mod tests;

pub use crier::Crier;
pub use desk::Health;

use crate::clock::Clock;
use crate::port::journal::{Journal, JournalError, Kind, Listed, Story};
use crate::tally::Tally;
use actix::{
    Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, MessageResult, ResponseFuture,
    WrapFuture,
};
use desk::{Desk, Job, Keep, TIDY_EVERY, Watchers};
use futures_util::future::Either;
use holdline_core::RunId;
use holdline_core::fact::{Entry, Key};
use holdline_core::fold::Fold;
use holdline_core::metric::Limit;
use lane::{Lane, Worker};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Places in the mailbox; who finds none waits for one.
const MAILBOX: usize = 4096;
/// Jobs that wait for the writing thread. A story has one batch under way at a time, so this is a bound on stories.
pub const WRITES_MAX: usize = 1_000_000;
/// Questions that wait for the reading thread.
pub const READS_MAX: usize = 65_536;

pub struct JournalWriter {
    place: Place,
    health: Arc<Health>,
    tally: Option<Arc<Tally>>,
    line: Line,
    listener: Option<Listener>,
}

/// The way to the writing thread, once there is one.
type Line = Arc<OnceLock<Arc<Lane<Job>>>>;

/// A journal in the hands of whoever writes a lot: batches go straight to the writing thread, where there is one, and
/// not by way of the writer's own.
#[derive(Clone)]
pub struct JournalHand {
    writer: Addr<JournalWriter>,
    line: Line,
}

/// Told of a story that is over; with all that it was, where that will not be kept.
pub type Listener = Arc<dyn Fn(Key, Option<Vec<Entry>>) + Send + Sync>;

enum Place {
    /// On its owner's own thread; `retrying` while a timer runs that tries a failed batch again.
    Here {
        desk: Box<Desk>,
        retrying: bool,
    },
    Apart(Threads),
    /// Not yet started, or retired.
    Unborn(Option<Box<Unborn>>),
}

struct Unborn {
    journal: Box<dyn Journal>,
    keep: Option<Keep>,
    crier: Option<Crier>,
}

type Question = Box<dyn FnOnce(&dyn Journal) + Send>;

struct Threads {
    writing: Arc<Lane<Job>>,
    reading: Arc<Lane<Question>>,
    handles: Vec<JoinHandle<()>>,
}

impl JournalWriter {
    pub fn new(journal: Box<dyn Journal>) -> JournalWriter {
        let unborn = Unborn { journal, keep: None, crier: None };
        JournalWriter {
            place: Place::Unborn(Some(Box::new(unborn))),
            health: Arc::default(),
            tally: None,
            line: Arc::default(),
            listener: None,
        }
    }

    /// Deletes stories so long after their end.
    pub fn keeping(mut self, clock: Clock, retention: Duration) -> JournalWriter {
        if let Place::Unborn(Some(unborn)) = &mut self.place {
            unborn.keep = Some(Keep { clock, retention });
        }
        self
    }

    /// Others are told what is written.
    pub fn telling(mut self, crier: Crier) -> JournalWriter {
        if let Place::Unborn(Some(unborn)) = &mut self.place {
            unborn.crier = Some(crier);
        }
        self
    }

    /// Counts what is written.
    pub fn counting(mut self, tally: Arc<Tally>) -> JournalWriter {
        self.tally = Some(tally);
        self
    }

    /// Says which stories are over.
    pub fn listened_to_by(mut self, listener: Option<Listener>) -> JournalWriter {
        self.listener = listener;
        self
    }

    pub fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    /// Starts it.
    pub fn begin(self) -> JournalHand {
        let line = self.line.clone();
        JournalHand { writer: self.start(), line }
    }

    fn write(&mut self, job: Job, ctx: &mut Context<Self>) {
        match &mut self.place {
            Place::Here { desk, retrying } => {
                if desk.waiting() >= WRITES_MAX {
                    hit(self.tally.as_ref(), Limit::JournalWrites);
                    refuse(job);
                    return;
                }
                let ends = matches!(job, Job::Close(_));
                desk.put([job]);
                if !*retrying {
                    self.work_here(ctx);
                }
                if let (true, Place::Here { desk, .. }) = (ends, &mut self.place) {
                    desk.tidy();
                }
            }
            Place::Apart(threads) => {
                if let Err(job) = threads.writing.put(job) {
                    hit(self.tally.as_ref(), Limit::JournalWrites);
                    refuse(job);
                }
            }
            Place::Unborn(_) => refuse(job),
        }
    }

    /// A failing journal is tried again and again.
    #[allow(clippy::disallowed_methods)] // a leaf without a machine: this is its one timer
    fn work_here(&mut self, ctx: &mut Context<Self>) {
        let Place::Here { desk, retrying } = &mut self.place else { return };
        let pause = desk.work();
        *retrying = pause.is_some();
        if let Some(pause) = pause {
            ctx.spawn(tokio::time::sleep(pause).into_actor(self).map(|(), actor, ctx| actor.work_here(ctx)));
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Journal) -> Result<T, JournalError> + Send + 'static,
    ) -> ResponseFuture<Result<T, JournalError>> {
        let closed = || JournalError::Closed("its thread has ended, or far too many ask it".to_owned());
        match &self.place {
            Place::Here { desk, .. } => Box::pin(std::future::ready(question(&*desk.journal))),
            Place::Apart(threads) => {
                let (reply, answered) = oneshot::channel();
                let question = move |journal: &dyn Journal| {
                    let _ = reply.send(question(journal));
                };
                // A question that finds no place is dropped, and its reply with it.
                if threads.reading.put(Box::new(question)).is_err() {
                    hit(self.tally.as_ref(), Limit::JournalReads);
                }
                Box::pin(async move { answered.await.unwrap_or_else(|_| Err(closed())) })
            }
            Place::Unborn(_) => Box::pin(std::future::ready(Err(closed()))),
        }
    }
}

fn hit(tally: Option<&Arc<Tally>>, limit: Limit) {
    if let Some(tally) = tally {
        tally.hit(limit);
    }
}

/// The dropped replies of other jobs say the same.
fn refuse(job: Job) {
    if let Job::Append { written, .. } | Job::Delete { done: written, .. } = job {
        let why = "its thread has ended, or far too much waits to be written".to_owned();
        let _ = written.send(Err(JournalError::Closed(why)));
    }
}

impl Threads {
    fn start(
        journal: Box<dyn Journal>,
        reader: Box<dyn Journal>,
        health: Arc<Health>,
        keep: Option<Keep>,
        who: Watchers,
    ) -> Threads {
        let (writing, jobs) = Lane::new(WRITES_MAX);
        let (reading, questions) = Lane::new(READS_MAX);
        let desk = Desk::new(journal, health, keep, who);
        let handles = [
            spawn("journal-writer", move || write_on(desk, &jobs)),
            spawn("journal-reader", move || read_on(&*reader, &questions)),
        ];
        Threads { writing, reading, handles: handles.into_iter().flatten().collect() }
    }
}

/// A lane whose thread could not be started is closed by its dropped worker: every job comes back.
fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    match std::thread::Builder::new().name(name.to_owned()).spawn(work) {
        Ok(handle) => Some(handle),
        Err(error) => {
            tracing::error!(name, %error, "a thread could not be started");
            None
        }
    }
}

fn write_on(mut desk: Desk, jobs: &Worker<Job>) {
    let mut wait = Duration::ZERO;
    while let Some(taken) = jobs.take(wait) {
        desk.put(taken);
        while let Some(pause) = desk.work() {
            if !jobs.rest(pause) {
                return; // the house closes: whoever still waits is told by its dropped reply
            }
        }
        wait = desk.tidy();
    }
    desk.closes();
}

fn read_on(journal: &dyn Journal, questions: &Worker<Question>) {
    while let Some(taken) = questions.take(TIDY_EVERY) {
        for question in taken {
            question(journal);
        }
    }
}

impl Drop for Threads {
    /// What was asked to be written is written before the journal's owner is gone.
    fn drop(&mut self) {
        self.writing.close();
        self.reading.close();
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

impl Actor for JournalWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        let Place::Unborn(unborn) = &mut self.place else { return };
        let Some(unborn) = unborn.take() else { return };
        let Unborn { journal, keep, crier } = *unborn;
        let health = self.health.clone();
        let who = Watchers { tally: self.tally.clone(), crier, listener: self.listener.clone() };
        self.place = match journal.reader() {
            Some(reader) => {
                let threads = Threads::start(journal, reader, health, keep, who);
                // Only started once.
                let _ = self.line.set(threads.writing.clone());
                Place::Apart(threads)
            }
            None => {
                let desk = Box::new(Desk::new(journal, health, keep, who));
                Place::Here { desk, retrying: false }
            }
        };
    }
}

/// One batch; `written` fires when it is durable. While the disk fails it waits, and with it whatever stands behind it.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Append {
    pub batch: Vec<Entry>,
    pub written: oneshot::Sender<Result<(), JournalError>>,
}

/// Has a batch written: resolves when it is durable, or when nobody is left to write it. Batches are written in the
/// order of these calls, whoever awaits first.
pub fn append(
    journal: &Addr<JournalWriter>,
    batch: Vec<Entry>,
) -> impl Future<Output = Result<(), JournalError>> + use<> {
    let (written, done) = oneshot::channel();
    let appending = journal.send(Append { batch, written });
    let gone = || JournalError::Closed("the journal is gone".to_owned());
    async move {
        appending.await.map_err(|_| gone())?;
        done.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl JournalHand {
    /// As [`append`].
    pub fn append(&self, batch: Vec<Entry>) -> impl Future<Output = Result<(), JournalError>> + use<> {
        let way = match self.line.get() {
            Some(lane) => {
                let (written, done) = oneshot::channel();
                if let Err(job) = lane.put(Job::Append { batch, written }) {
                    refuse(job);
                }
                Either::Left(done)
            }
            None => Either::Right(append(&self.writer, batch)),
        };
        let gone = || JournalError::Closed("the journal is gone".to_owned());
        async move {
            match way {
                Either::Left(done) => done.await.unwrap_or_else(|_| Err(gone())),
                Either::Right(appending) => appending.await,
            }
        }
    }
}

impl Deref for JournalHand {
    type Target = Addr<JournalWriter>;

    fn deref(&self) -> &Addr<JournalWriter> {
        &self.writer
    }
}

impl Handler<Append> for JournalWriter {
    type Result = ();
    fn handle(&mut self, Append { batch, written }: Append, ctx: &mut Self::Context) {
        self.write(Job::Append { batch, written }, ctx);
    }
}

/// A story as it is on disk.
#[derive(Message)]
#[rtype(result = "Result<Vec<Entry>, JournalError>")]
pub struct Read(pub Key);

impl Handler<Read> for JournalWriter {
    type Result = ResponseFuture<Result<Vec<Entry>, JournalError>>;
    fn handle(&mut self, Read(key): Read, _: &mut Self::Context) -> Self::Result {
        self.ask(move |journal| journal.read(&key))
    }
}

/// What a story on disk has come to; folded where no call has to wait for it.
#[derive(Message)]
#[rtype(result = "Result<Fold, JournalError>")]
pub struct ReadFold(pub Key);

impl Handler<ReadFold> for JournalWriter {
    type Result = ResponseFuture<Result<Fold, JournalError>>;
    fn handle(&mut self, ReadFold(key): ReadFold, _: &mut Self::Context) -> Self::Result {
        self.ask(move |journal| desk::fold(journal, &key))
    }
}

/// What a story has come to with everything that was asked to be written before this: for whoever goes on with it. It
/// waits for the disk.
#[derive(Message)]
#[rtype(result = "Result<Fold, JournalError>")]
pub struct FoldSettled(pub Key);

impl Handler<FoldSettled> for JournalWriter {
    type Result = ResponseFuture<Result<Fold, JournalError>>;
    fn handle(&mut self, FoldSettled(key): FoldSettled, ctx: &mut Self::Context) -> Self::Result {
        let (reply, settled) = oneshot::channel();
        self.write(Job::Settled { key, reply }, ctx);
        let closed = || JournalError::Closed("its thread has ended".to_owned());
        Box::pin(async move { settled.await.unwrap_or_else(|_| Err(closed())) })
    }
}

/// The story that holds a run, and its facts.
#[derive(Message)]
#[rtype(result = "Result<Option<(Key, Vec<Entry>)>, JournalError>")]
pub struct ReadRun(pub RunId);

impl Handler<ReadRun> for JournalWriter {
    type Result = ResponseFuture<Result<Option<(Key, Vec<Entry>)>, JournalError>>;
    fn handle(&mut self, ReadRun(run): ReadRun, _: &mut Self::Context) -> Self::Result {
        self.ask(move |journal| {
            let Some(key) = journal.story_of(&run)? else { return Ok(None) };
            let entries = journal.read(&key)?;
            Ok(Some((key, entries)))
        })
    }
}

/// What the story that holds a run has come to.
#[derive(Message)]
#[rtype(result = "Result<Option<Fold>, JournalError>")]
pub struct ReadRunFold(pub RunId);

impl Handler<ReadRunFold> for JournalWriter {
    type Result = ResponseFuture<Result<Option<Fold>, JournalError>>;
    fn handle(&mut self, ReadRunFold(run): ReadRunFold, _: &mut Self::Context) -> Self::Result {
        self.ask(move |journal| {
            let key = journal.story_of(&run)?;
            key.map(|key| desk::fold(journal, &key)).transpose()
        })
    }
}

/// What is known of a story without folding it.
#[derive(Message)]
#[rtype(result = "Result<Option<Story>, JournalError>")]
pub struct LookUp(pub Key);

impl Handler<LookUp> for JournalWriter {
    type Result = ResponseFuture<Result<Option<Story>, JournalError>>;
    fn handle(&mut self, LookUp(key): LookUp, _: &mut Self::Context) -> Self::Result {
        self.ask(move |journal| journal.story(&key))
    }
}

/// Stories with their facts, newest first.
#[derive(Message)]
#[rtype(result = "Result<Vec<(Listed, Vec<Entry>)>, JournalError>")]
pub struct List {
    pub kind: Kind,
    /// Only those that are not over.
    pub open: bool,
    pub after: Option<u64>,
    pub limit: usize,
}

impl Handler<List> for JournalWriter {
    type Result = ResponseFuture<Result<Vec<(Listed, Vec<Entry>)>, JournalError>>;
    fn handle(&mut self, list: List, _: &mut Self::Context) -> Self::Result {
        self.ask(move |journal| {
            let List { kind, open, after, limit } = list;
            let rows = match open {
                true => journal.list_open(kind, after, limit)?,
                false => journal.list(kind, after, limit)?,
            };
            let with_facts = |row: Listed| journal.read(&row.key).map(|entries| (row, entries));
            rows.into_iter().map(with_facts).collect()
        })
    }
}

/// A story is over. What was asked to be written before is written before.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Close(pub Key);

impl Handler<Close> for JournalWriter {
    type Result = ();
    fn handle(&mut self, Close(key): Close, ctx: &mut Self::Context) {
        self.write(Job::Close(key), ctx);
    }
}

/// Forgets a story, over or not.
#[derive(Message)]
#[rtype(result = "Result<(), JournalError>")]
pub struct Delete(pub Key);

impl Handler<Delete> for JournalWriter {
    type Result = ResponseFuture<Result<(), JournalError>>;
    fn handle(&mut self, Delete(key): Delete, ctx: &mut Self::Context) -> Self::Result {
        let (done, deleted) = oneshot::channel();
        self.write(Job::Delete { key, done }, ctx);
        let closed = || JournalError::Closed("its thread has ended".to_owned());
        Box::pin(async move { deleted.await.unwrap_or_else(|_| Err(closed())) })
    }
}

/// Stories that were found in the journal, and have a receiver of their own for what is told of them.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Follow(pub Vec<Key>);

impl Handler<Follow> for JournalWriter {
    type Result = ();
    fn handle(&mut self, Follow(keys): Follow, ctx: &mut Self::Context) {
        self.write(Job::Follow(keys), ctx);
    }
}

#[derive(Message)]
#[rtype(result = "Result<Vec<Key>, JournalError>")]
pub struct OpenKeys;

impl Handler<OpenKeys> for JournalWriter {
    type Result = ResponseFuture<Result<Vec<Key>, JournalError>>;
    fn handle(&mut self, _: OpenKeys, _: &mut Self::Context) -> Self::Result {
        self.ask(|journal| journal.open_keys())
    }
}

/// What a start begins with.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Left {
    /// Stories that are not over.
    pub open: Vec<Story>,
    /// There are calls that are over: a late request may be for one of them.
    pub knows_ended: bool,
}

#[derive(Message)]
#[rtype(result = "Result<Left, JournalError>")]
pub struct WhatIsLeft;

impl Handler<WhatIsLeft> for JournalWriter {
    type Result = ResponseFuture<Result<Left, JournalError>>;
    fn handle(&mut self, _: WhatIsLeft, _: &mut Self::Context) -> Self::Result {
        self.ask(|journal| {
            let open = journal.open_stories()?;
            let calls = open.iter().filter(|story| matches!(story.key, Key::Call(_))).count();
            let all = journal.list(Kind::Calls, None, calls.saturating_add(1))?.len();
            Ok(Left { open, knows_ended: all > calls })
        })
    }
}

/// What waits for its threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    pub writes: usize,
    pub reads: usize,
}

#[derive(Message)]
#[rtype(result = "Waiting")]
pub struct AskWaiting;

impl Handler<AskWaiting> for JournalWriter {
    type Result = MessageResult<AskWaiting>;
    fn handle(&mut self, _: AskWaiting, _: &mut Self::Context) -> Self::Result {
        MessageResult(match &self.place {
            Place::Here { desk, .. } => Waiting { writes: desk.waiting(), reads: 0 },
            Place::Apart(threads) => Waiting { writes: threads.writing.len(), reads: threads.reading.len() },
            Place::Unborn(_) => Waiting::default(),
        })
    }
}

#[derive(Message)]
#[rtype(result = "Arc<Health>")]
pub struct AskHealth;

impl Handler<AskHealth> for JournalWriter {
    type Result = MessageResult<AskHealth>;
    fn handle(&mut self, _: AskHealth, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.health.clone())
    }
}

/// The journal is given back: what was asked to be written is written, nothing is any more, and another process or
/// runtime may open the store.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Retire;

impl Handler<Retire> for JournalWriter {
    type Result = ResponseFuture<()>;
    fn handle(&mut self, _: Retire, _: &mut Self::Context) -> Self::Result {
        let place = std::mem::replace(&mut self.place, Place::Unborn(None));
        // Its threads are waited for, and their disk: not here.
        Box::pin(async move { _ = actix_rt::task::spawn_blocking(move || drop(place)).await })
    }
}
