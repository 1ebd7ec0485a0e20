//! The order of work of one journal: many stories share one batch, and what can't be written waits.
//!
//! A commit begins when the one before it is done, and takes everything that has come meanwhile: batches form by
//! themselves, without a timer. A batch that fails is tried again, unchanged and before anything else, until it is
//! written.

use super::Listener;
use super::crier::Crier;
use crate::clock::Clock;
use crate::histogram::Histogram;
use crate::port::journal::{Journal, JournalError};
use crate::tally::Tally;
use holdline_core::Tick;
use holdline_core::event::Heard;
use holdline_core::fact::{Entry, Key};
use holdline_core::fold::Fold;
use holdline_core::metric::{BATCH_BOUNDS, SYNC_BOUNDS};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;

/// Facts in one commit: so many that a commit stays a matter of milliseconds.
const GROUP_MAX: usize = 4096;
/// The first pause after a failure, doubled up to the second.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(2);
/// Stories pruned at once, so that commits in between don't wait.
const PRUNE_MOST: usize = 32;
/// How often to look for stories that are too old, and at the disk.
pub(super) const TIDY_EVERY: Duration = Duration::from_secs(10);

/// Facts of one story between two snapshots of it: a fold of so many takes some milliseconds, and few calls have as
/// many in their whole life.
pub(super) const SNAPSHOT_EVERY: usize = 2000;

/// What a story has come to so far.
pub(super) fn fold(journal: &dyn Journal, key: &Key) -> Result<Fold, JournalError> {
    let (snapshot, entries) = journal.read_on(key)?;
    let Some(snapshot) = snapshot else { return Ok(Fold::of(&entries)) };
    match Fold::from_snapshot(&snapshot) {
        Some(mut fold) => {
            entries.iter().for_each(|entry| fold.apply(entry));
            Ok(fold)
        }
        None => Ok(Fold::of(&journal.read(key)?)),
    }
}

/// What the journal's owner shows of it.
#[derive(Debug)]
pub struct Health {
    failing: AtomicBool,
    commits: AtomicU64,
    facts: AtomicU64,
    pruned: AtomicU64,
    disk_bytes: AtomicU64,
    snapshots: AtomicU64,
    failures: AtomicU64,
    batch_facts: Histogram,
    sync_micros: Histogram,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            failing: AtomicBool::default(),
            commits: AtomicU64::default(),
            facts: AtomicU64::default(),
            pruned: AtomicU64::default(),
            disk_bytes: AtomicU64::default(),
            snapshots: AtomicU64::default(),
            failures: AtomicU64::default(),
            batch_facts: Histogram::new(BATCH_BOUNDS),
            sync_micros: Histogram::new(SYNC_BOUNDS),
        }
    }
}

impl Health {
    /// Nothing can be written at the moment: what waits is kept, nothing new should come.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Commits so far. Facts by commits is how well the sharing works.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub fn facts(&self) -> u64 {
        self.facts.load(Ordering::Relaxed)
    }

    /// Stories deleted because they were too old.
    pub fn pruned(&self) -> u64 {
        self.pruned.load(Ordering::Relaxed)
    }

    /// Attempts to write that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Snapshots of long stories that were kept.
    pub fn snapshots(&self) -> u64 {
        self.snapshots.load(Ordering::Relaxed)
    }

    /// How many facts shared a commit, by [`BATCH_BOUNDS`].
    pub fn batch_facts(&self) -> &Histogram {
        &self.batch_facts
    }

    /// How long the disk took for a commit in microseconds, by [`SYNC_BOUNDS`]. Empty for a store without a disk.
    pub fn sync_micros(&self) -> &Histogram {
        &self.sync_micros
    }

    /// What the store takes of the disk; 0 for one that takes none.
    pub fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }
}

pub(super) type Written = oneshot::Sender<Result<(), JournalError>>;

pub(super) enum Job {
    Append {
        batch: Vec<Entry>,
        written: Written,
    },
    Close(Key),
    Delete {
        key: Key,
        done: Written,
    },
    /// Folded behind everything that was asked to be written before.
    Settled {
        key: Key,
        reply: oneshot::Sender<Result<Fold, JournalError>>,
    },
    /// A story has become long.
    Snapshot(Key),
    /// Stories that have a receiver of their own for what is told of them.
    Follow(Vec<Key>),
}

/// How long stories are kept after their end, and the clock to know it by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keep {
    pub clock: Clock,
    pub retention: Duration,
}

/// Who is told what happens here.
#[derive(Default)]
pub(super) struct Watchers {
    /// Of all that is written.
    pub tally: Option<Arc<Tally>>,
    /// Of what others are to hear.
    pub crier: Option<Crier>,
    /// Of stories that are over.
    pub listener: Option<Listener>,
}

pub(super) struct Desk {
    pub journal: Box<dyn Journal>,
    health: Arc<Health>,
    keep: Option<Keep>,
    who: Watchers,
    waiting: VecDeque<Job>,
    group: Option<Group>,
    /// What was logged last is not yet for everybody to read.
    unsettled: bool,
    pause: Duration,
    tidy_at: Tick,
    /// A story was closed since the last look.
    closed: bool,
    /// Facts of each open story that no snapshot holds, as far as this desk has written them.
    since_snapshot: BTreeMap<Key, usize>,
}

/// One commit.
struct Group {
    batch: Vec<Entry>,
    written: Vec<Written>,
    /// What it gives rise to, once it is written.
    heard: Heard,
}

impl Desk {
    pub fn new(journal: Box<dyn Journal>, health: Arc<Health>, keep: Option<Keep>, who: Watchers) -> Desk {
        Desk {
            journal,
            health,
            keep,
            who,
            waiting: VecDeque::new(),
            group: None,
            unsettled: false,
            pause: RETRY_FIRST,
            tidy_at: Tick(0),
            closed: false,
            since_snapshot: BTreeMap::new(),
        }
    }

    pub fn put(&mut self, jobs: impl IntoIterator<Item = Job>) {
        self.waiting.extend(jobs);
    }

    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Does what waits. `Some` when the journal fails: to be tried again after that time.
    pub fn work(&mut self) -> Option<Duration> {
        loop {
            if std::mem::take(&mut self.unsettled) {
                match self.settle() {
                    Ok(()) => self.works(),
                    Err(error) => return Some(self.fails(&error)),
                }
            }
            let group = self.group.take().or_else(|| self.gather());
            let done = match group {
                Some(group) => self.commit(group),
                None => match self.waiting.pop_front() {
                    Some(job) => self.perform(job),
                    None => return None,
                },
            };
            match done {
                Ok(()) => self.works(),
                Err(error) => return Some(self.fails(&error)),
            }
        }
    }

    /// Deletes some of what is too old and looks at the disk, now and then. Says how long it can be left alone.
    pub fn tidy(&mut self) -> Duration {
        let Some(Keep { clock, retention }) = self.keep else { return TIDY_EVERY };
        let now = clock.now();
        let at_once = retention.is_zero() && std::mem::take(&mut self.closed);
        if now.tick < self.tidy_at && !at_once {
            return self.tidy_at.since(now.tick);
        }
        self.tidy_at = now.tick + TIDY_EVERY;
        // Where nobody writes, nobody else would notice that nothing can be written.
        if self.settle().is_err() {
            return Duration::ZERO;
        }
        self.health.disk_bytes.store(self.journal.disk_bytes().unwrap_or(0), Ordering::Relaxed);
        let retention_ms = u64::try_from(retention.as_millis()).unwrap_or(u64::MAX);
        // One more, so that with a retention of nothing an end is over in its own millisecond.
        let before_ms = now.wall_ms.saturating_sub(retention_ms).saturating_add(1);
        match self.journal.prune(before_ms, PRUNE_MOST) {
            Ok(pruned) => {
                self.health.pruned.fetch_add(u64::try_from(pruned).unwrap_or(0), Ordering::Relaxed);
                if pruned >= PRUNE_MOST {
                    self.tidy_at = now.tick; // there may be more; commits go first
                    return Duration::ZERO;
                }
            }
            Err(error) => tracing::warn!(%error, "old calls could not be deleted; it is tried again"),
        }
        TIDY_EVERY
    }

    /// Everything that waits to be appended, up to the first job of another kind.
    fn gather(&mut self) -> Option<Group> {
        let mut group = Group { batch: Vec::new(), written: Vec::new(), heard: Heard::default() };
        while group.batch.len() < GROUP_MAX && matches!(self.waiting.front(), Some(Job::Append { .. })) {
            if let Some(Job::Append { batch, written }) = self.waiting.pop_front() {
                group.batch.extend(batch);
                group.written.push(written);
            }
        }
        if group.written.is_empty() {
            return None;
        }
        if let Some(crier) = &mut self.who.crier {
            group.heard = crier.hear(&mut group.batch, &*self.journal);
        }
        Some(group)
    }

    fn commit(&mut self, group: Group) -> Result<(), JournalError> {
        match self.journal.log(&group.batch) {
            Ok(()) => {}
            Err(JournalError::Closed(why)) => {
                for written in group.written {
                    let _ = written.send(Err(JournalError::Closed(why.clone())));
                }
                return Ok(());
            }
            Err(error) => {
                self.group = Some(group);
                return Err(error);
            }
        }
        let facts = u64::try_from(group.batch.len()).unwrap_or(0);
        self.health.commits.fetch_add(1, Ordering::Relaxed);
        self.health.facts.fetch_add(facts, Ordering::Relaxed);
        self.health.batch_facts.add(facts);
        if let Some(took) = self.journal.last_sync() {
            self.health.sync_micros.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
        for written in group.written {
            // Whoever asked may be gone; what was written stays written.
            let _ = written.send(Ok(()));
        }
        if let Some(crier) = &self.who.crier {
            crier.tell(group.heard);
        }
        if let Some(tally) = &self.who.tally {
            tally.written(&group.batch);
        }
        self.count(&group.batch);
        self.settle()
    }

    fn settle(&mut self) -> Result<(), JournalError> {
        self.journal.settle().inspect_err(|_| self.unsettled = true)
    }

    fn perform(&mut self, job: Job) -> Result<(), JournalError> {
        match job {
            // Gathered before any other job.
            Job::Append { batch, written } => {
                self.waiting.push_front(Job::Append { batch, written });
                Ok(())
            }
            Job::Close(key) => {
                self.closed = true;
                self.forget(&key);
                let closed = self.journal.close(&key);
                if let Err(JournalError::Write(_)) = closed {
                    self.waiting.push_front(Job::Close(key));
                    return closed;
                }
                match closed {
                    Ok(()) => self.tell(key),
                    Err(error) => tracing::error!(?key, %error, "a story that is over could not be closed"),
                }
                Ok(())
            }
            Job::Delete { key, done } => {
                self.forget(&key);
                let _ = done.send(self.journal.delete(&key));
                Ok(())
            }
            Job::Settled { key, reply } => {
                let _ = reply.send(fold(&*self.journal, &key));
                Ok(())
            }
            Job::Snapshot(key) => self.keep_snapshot(&key),
            Job::Follow(keys) => {
                if let Some(crier) = &mut self.who.crier {
                    crier.follow(keys);
                }
                Ok(())
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        self.since_snapshot.remove(key);
        if let Some(crier) = &mut self.who.crier {
            crier.forget(key);
        }
    }

    /// Whoever wants to know of it reads the story back; one that is not kept is handed over while it is there.
    fn tell(&self, key: Key) {
        let Some(listener) = &self.who.listener else { return };
        let is_kept = self.keep.is_none_or(|keep| !keep.retention.is_zero());
        let story = if is_kept { None } else { self.journal.read(&key).ok() };
        listener(key, story);
    }

    /// Long stories are folded now and then, so that nobody has to fold all of them when somebody waits for it.
    fn count(&mut self, batch: &[Entry]) {
        for entry in batch {
            let since = self.since_snapshot.entry(entry.key.clone()).or_insert(0);
            *since += 1;
            if *since == SNAPSHOT_EVERY {
                self.waiting.push_back(Job::Snapshot(entry.key.clone()));
            }
        }
    }

    fn keep_snapshot(&mut self, key: &Key) -> Result<(), JournalError> {
        let Some(since) = self.since_snapshot.get_mut(key) else { return Ok(()) };
        *since = 0;
        // A snapshot is a shortcut: what can't be read or folded is said by whoever needs it.
        let Ok(Some(state)) = fold(&*self.journal, key).map(|fold| fold.snapshot()) else { return Ok(()) };
        let kept = self.journal.keep_snapshot(key, &state);
        if kept.is_ok() {
            self.health.snapshots.fetch_add(1, Ordering::Relaxed);
        }
        match kept {
            // The same failure as that of a batch, and the same cure; this one need not be tried again.
            Err(JournalError::Write(why)) => Err(JournalError::Write(why)),
            _ => Ok(()),
        }
    }

    /// The last word.
    pub fn closes(&self) {
        let (facts, commits) = (self.health.facts(), self.health.commits());
        tracing::info!(facts, commits, "the journal is closed");
    }

    fn works(&mut self) {
        self.pause = RETRY_FIRST;
        if self.health.failing.swap(false, Ordering::Relaxed) {
            tracing::info!("the journal can be written again");
        }
    }

    fn fails(&mut self, error: &JournalError) -> Duration {
        self.health.failures.fetch_add(1, Ordering::Relaxed);
        if !self.health.failing.swap(true, Ordering::Relaxed) {
            tracing::error!(
                %error,
                "THE JOURNAL CAN'T BE WRITTEN. No new calls are taken, and nothing is acknowledged until it can; calls \
                 under way wait 30 s. Is the disk full?"
            );
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(RETRY_MAX);
        pause
    }
}
