//! Where facts are kept. One trait, one contract, several stores.

use holdline_core::fact::{CallFact, Entry, Fact, Key, OutboxFact, ParentFact, RunFact};
use holdline_core::{RunId, WorkflowId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Stories of ended calls and runs that the in-memory journal keeps for the API.
pub const ENDED_KEPT_MAX: usize = 2000;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    #[error("the journal could not be written: {0}")]
    Write(String),
    #[error("the journal could not be read: {0}")]
    Read(String),
    /// There is nothing to try again.
    #[error("the journal is closed: {0}")]
    Closed(String),
}

/// A store of stories. One that blocks offers a [`Journal::reader`], and is then kept off every arbiter that carries
/// calls.
pub trait Journal: Send {
    /// All of the batch or nothing; durable on return.
    ///
    /// A batch that failed is given again, unchanged, before anything else is appended. The failed attempt may have
    /// reached the disk after all: its facts are then not written twice.
    fn append(&mut self, batch: &[Entry]) -> Result<(), JournalError>;

    /// As [`Journal::append`], for an owner who tells at once whoever waits, and settles then: until [`Journal::settle`]
    /// a reader may have to wait for what was logged.
    fn log(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
        self.append(batch)
    }

    /// Finishes what was logged. When this fails nothing is lost, and it has to be tried again before anything else.
    fn settle(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    /// A story in the order in which it was written.
    fn read(&self, key: &Key) -> Result<Vec<Entry>, JournalError>;
    /// What is known of a story without folding it.
    fn story(&self, key: &Key) -> Result<Option<Story>, JournalError>;
    /// Stories that are not over, oldest first. Read before anything else at a start, so it must be quick.
    fn open_stories(&self) -> Result<Vec<Story>, JournalError>;
    /// A story is over: it is kept for readers until it is pruned.
    fn close(&mut self, key: &Key) -> Result<(), JournalError>;
    /// Stories of one kind, newest first, beginning after `after`.
    fn list(&self, kind: Kind, after: Option<u64>, limit: usize) -> Result<Vec<Listed>, JournalError>;
    /// As [`Journal::list`], of stories that are not over.
    fn list_open(&self, kind: Kind, after: Option<u64>, limit: usize) -> Result<Vec<Listed>, JournalError> {
        let (mut open, mut after) = (Vec::new(), after);
        while open.len() < limit {
            let page = self.list(kind, after, limit)?;
            after = page.last().map(|row| row.place);
            let is_last = page.len() < limit;
            for row in page {
                let head = self.story(&row.key)?;
                if open.len() < limit && head.is_some_and(|head| head.ended_ms.is_none()) {
                    open.push(row);
                }
            }
            if is_last {
                break;
            }
        }
        Ok(open)
    }

    /// The story that holds a run.
    fn story_of(&self, run: &RunId) -> Result<Option<Key>, JournalError>;
    fn delete(&mut self, key: &Key) -> Result<(), JournalError>;
    /// Deletes stories that ended before `ended_before_ms`, oldest first, at most so many; says how many it deleted.
    fn prune(&mut self, ended_before_ms: u64, most: usize) -> Result<usize, JournalError>;

    /// Keeps what all facts of a story so far came to, instead of what was kept before. It may be lost, and need not
    /// be kept at all; a story that is over has none.
    fn keep_snapshot(&mut self, _key: &Key, _state: &[u8]) -> Result<(), JournalError> {
        Ok(())
    }

    /// The snapshot of a story and the facts that were written after it; without one, all facts.
    fn read_on(&self, key: &Key) -> Result<(Option<Vec<u8>>, Vec<Entry>), JournalError> {
        Ok((None, self.read(key)?))
    }

    fn open_keys(&self) -> Result<Vec<Key>, JournalError> {
        Ok(self.open_stories()?.into_iter().map(|story| story.key).collect())
    }

    /// A second hand on the same store, which only reads. A store that has one may block: it is written and read on
    /// threads of its own.
    fn reader(&self) -> Option<Box<dyn Journal>> {
        None
    }

    /// What the store takes of the disk, where it takes any.
    fn disk_bytes(&self) -> Option<u64> {
        None
    }

    /// How long the last batch waited for the disk, where there is one.
    fn last_sync(&self) -> Option<Duration> {
        None
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Calls,
    /// Calls hold the runs of their sub-workflows.
    CallsAndRuns,
    /// Owed and dead; those that were taken are forgotten.
    Deliveries,
    /// Among them is whatever may have run out of attempts.
    DeliveriesAndRuns,
}

impl Kind {
    pub fn holds(self, key: &Key) -> bool {
        match self {
            Kind::Calls => matches!(key, Key::Call(_)),
            Kind::CallsAndRuns => matches!(key, Key::Call(_) | Key::Run(_)),
            Kind::Deliveries => matches!(key, Key::Delivery(_)),
            Kind::DeliveriesAndRuns => matches!(key, Key::Delivery(_) | Key::Run(_)),
        }
    }
}

/// A story and its place in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub place: u64,
    pub key: Key,
}

/// The head of a story: enough to know whom it concerns, and whether anybody has to wake it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Story {
    pub key: Key,
    /// The workflow that a call's URLs name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<WorkflowId>,
    /// A main workflow that waits for its call, which wakes it; or a dead letter. Nobody else has to wake it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// A call that was turned away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rejected: bool,
    /// Somebody is owed what is told of it; or a dead letter, whose receiver is gone for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub marked: bool,
    /// The time of its last fact, once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_ms: Option<u64>,
}

impl Story {
    pub fn of(key: Key) -> Story {
        Story { key, workflow: None, waits: false, rejected: false, marked: false, ended_ms: None }
    }

    /// Whether a head has anything to learn from this fact; few facts have.
    pub fn concerns(fact: &Fact) -> bool {
        matches!(
            fact,
            Fact::Call(CallFact::Arrived { .. } | CallFact::Rejected)
                | Fact::Parent(ParentFact::Waiting { .. } | ParentFact::CallOver { .. })
                | Fact::Outbox(OutboxFact::Dead { .. } | OutboxFact::Redriven { .. })
        ) || matches!(fact, Fact::Run(RunFact::Begun(begun)) if begun.webhook.is_some())
    }

    pub fn learn(&mut self, fact: &Fact) {
        match fact {
            Fact::Call(CallFact::Arrived { workflow, .. }) => self.workflow = Some(workflow.clone()),
            Fact::Call(CallFact::Rejected) => self.rejected = true,
            Fact::Parent(ParentFact::Waiting { .. }) => self.waits = true,
            Fact::Parent(ParentFact::CallOver { .. }) => self.waits = false,
            Fact::Outbox(OutboxFact::Dead { gone, .. }) => (self.waits, self.marked) = (true, *gone),
            Fact::Outbox(OutboxFact::Redriven { .. }) => (self.waits, self.marked) = (false, false),
            Fact::Run(RunFact::Begun(begun)) => self.marked |= begun.webhook.is_some(),
            _ => {}
        }
    }

    /// The run that this entry makes findable by its id.
    pub fn run_of(entry: &Entry) -> Option<RunId> {
        match (&entry.key, &entry.fact) {
            (_, Fact::Run(RunFact::Child { fact, .. })) => begun_in(fact),
            (Key::Run(run), _) => Some(*run),
            (Key::Call(_), Fact::Call(CallFact::Arrived { sub_run, .. })) => Some(*sub_run),
            _ => None,
        }
    }
}

/// The run inside a run that begins with this.
fn begun_in(fact: &RunFact) -> Option<RunId> {
    match fact {
        RunFact::Begun(begun) => Some(begun.id),
        RunFact::Child { fact, .. } => begun_in(fact),
        _ => None,
    }
}

/// Keeps everything in memory: for tests, for plays, and where durability is not asked for.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    next: u64,
    stories: BTreeMap<Key, Kept>,
    order: BTreeMap<u64, Key>,
    runs: BTreeMap<RunId, Key>,
    ended: VecDeque<Key>,
}

#[derive(Debug)]
struct Kept {
    place: u64,
    head: Story,
    entries: Vec<Entry>,
    /// What so many of the entries came to.
    snapshot: Option<(usize, Vec<u8>)>,
}

impl MemoryJournal {
    pub fn new() -> MemoryJournal {
        MemoryJournal::default()
    }

    fn forget(&mut self, key: &Key) {
        if let Some(story) = self.stories.remove(key) {
            self.order.remove(&story.place);
            for run in story.entries.iter().filter_map(Story::run_of) {
                self.runs.remove(&run);
            }
        }
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
        for entry in batch {
            if let Some(run) = Story::run_of(entry) {
                self.runs.entry(run).or_insert_with(|| entry.key.clone());
            }
            let next = &mut self.next;
            let order = &mut self.order;
            let story = self.stories.entry(entry.key.clone()).or_insert_with(|| {
                *next += 1;
                order.insert(*next, entry.key.clone());
                Kept { place: *next, head: Story::of(entry.key.clone()), entries: Vec::new(), snapshot: None }
            });
            story.head.learn(&entry.fact);
            story.entries.push(entry.clone());
        }
        Ok(())
    }

    fn read(&self, key: &Key) -> Result<Vec<Entry>, JournalError> {
        Ok(self.stories.get(key).map(|story| story.entries.clone()).unwrap_or_default())
    }

    fn story(&self, key: &Key) -> Result<Option<Story>, JournalError> {
        Ok(self.stories.get(key).map(|story| story.head.clone()))
    }

    fn open_stories(&self) -> Result<Vec<Story>, JournalError> {
        let heads = self.order.values().filter_map(|key| self.stories.get(key)).map(|story| &story.head);
        Ok(heads.filter(|head| head.ended_ms.is_none()).cloned().collect())
    }

    fn close(&mut self, key: &Key) -> Result<(), JournalError> {
        if let Some(story) = self.stories.get_mut(key).filter(|story| story.head.ended_ms.is_none()) {
            story.head.ended_ms = Some(story.entries.last().map_or(0, |entry| entry.wall_ms));
            story.snapshot = None;
            self.ended.push_back(key.clone());
        }
        while self.ended.len() > ENDED_KEPT_MAX {
            if let Some(oldest) = self.ended.pop_front() {
                self.forget(&oldest);
            }
        }
        Ok(())
    }

    fn keep_snapshot(&mut self, key: &Key, state: &[u8]) -> Result<(), JournalError> {
        if let Some(story) = self.stories.get_mut(key).filter(|story| story.head.ended_ms.is_none()) {
            story.snapshot = Some((story.entries.len(), state.to_owned()));
        }
        Ok(())
    }

    fn read_on(&self, key: &Key) -> Result<(Option<Vec<u8>>, Vec<Entry>), JournalError> {
        let Some(story) = self.stories.get(key) else { return Ok((None, Vec::new())) };
        let (done, snapshot) = story.snapshot.clone().unzip();
        Ok((snapshot, story.entries.get(done.unwrap_or(0)..).unwrap_or_default().to_vec()))
    }

    fn list(&self, kind: Kind, after: Option<u64>, limit: usize) -> Result<Vec<Listed>, JournalError> {
        let wanted = |key: &Key| kind.holds(key);
        let rows = self.order.range(..after.unwrap_or(u64::MAX)).rev().filter(|(_, key)| wanted(key));
        Ok(rows.take(limit).map(|(place, key)| Listed { place: *place, key: key.clone() }).collect())
    }

    fn story_of(&self, run: &RunId) -> Result<Option<Key>, JournalError> {
        Ok(self.runs.get(run).cloned())
    }

    fn delete(&mut self, key: &Key) -> Result<(), JournalError> {
        self.ended.retain(|ended| ended != key);
        self.forget(key);
        Ok(())
    }

    fn prune(&mut self, ended_before_ms: u64, most: usize) -> Result<usize, JournalError> {
        let is_old = |key: &&Key| {
            let ended = self.stories.get(*key).and_then(|story| story.head.ended_ms);
            ended.is_none_or(|at| at < ended_before_ms)
        };
        let old: Vec<Key> = self.ended.iter().filter(is_old).take(most).cloned().collect();
        for key in &old {
            self.delete(key)?;
        }
        Ok(old.len())
    }
}
