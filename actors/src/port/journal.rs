//! Where facts are kept. One trait, one contract, several stores.

use holdline_core::fact::{CallFact, Entry, Fact, Key};
use holdline_core::{CallId, RunId};
use std::collections::{BTreeMap, VecDeque};

/// Stories of ended calls and runs that the in-memory journal keeps for the API.
pub const ENDED_KEPT_MAX: usize = 2000;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    #[error("the journal could not be written: {0}")]
    Write(String),
    #[error("the journal could not be read: {0}")]
    Read(String),
}

/// Called on a thread of its own when it may block; never on an arbiter that carries calls.
pub trait Journal: Send {
    /// All of the batch or nothing; durable on return.
    fn append(&mut self, batch: &[Entry]) -> Result<(), JournalError>;
    /// A story in the order in which it was written.
    fn read(&self, key: &Key) -> Result<Vec<Entry>, JournalError>;
    /// Stories that are not over.
    fn open_keys(&self) -> Result<Vec<Key>, JournalError>;
    /// A story is over: it is kept for readers as long as there is room.
    fn close(&mut self, key: &Key) -> Result<(), JournalError>;
    /// Stories of one kind, newest first, beginning after `after`.
    fn list(&self, kind: Kind, after: Option<u64>, limit: usize) -> Result<Vec<Listed>, JournalError>;
    /// The story that holds a run.
    fn story_of(&self, run: &RunId) -> Result<Option<Key>, JournalError>;
    fn delete(&mut self, key: &Key) -> Result<(), JournalError>;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Calls,
    /// Calls hold the runs of their sub-workflows.
    CallsAndRuns,
    /// Owed and dead; those that were taken are forgotten.
    Deliveries,
}

/// A story and its place in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub place: u64,
    pub key: Key,
}

/// Keeps everything in memory: for tests, for plays, and where durability is not asked for.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    next: u64,
    stories: BTreeMap<Key, Story>,
    order: BTreeMap<u64, Key>,
    runs: BTreeMap<RunId, Key>,
    ended: VecDeque<Key>,
}

#[derive(Debug, Default)]
struct Story {
    place: u64,
    entries: Vec<Entry>,
    ended: bool,
}

impl MemoryJournal {
    pub fn new() -> MemoryJournal {
        MemoryJournal::default()
    }

    fn forget(&mut self, key: &Key) {
        if let Some(story) = self.stories.remove(key) {
            self.order.remove(&story.place);
        }
        self.runs.retain(|_, holder| holder != key);
    }

    fn index(&mut self, entry: &Entry) {
        match (&entry.key, &entry.fact) {
            (Key::Run(run), _) => {
                self.runs.entry(*run).or_insert_with(|| entry.key.clone());
            }
            (Key::Call(_), Fact::Call(CallFact::Arrived { sub_run, .. })) => {
                self.runs.insert(*sub_run, entry.key.clone());
            }
            _ => {}
        }
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
        for entry in batch {
            self.index(entry);
            let next = &mut self.next;
            let order = &mut self.order;
            let story = self.stories.entry(entry.key.clone()).or_insert_with(|| {
                *next += 1;
                order.insert(*next, entry.key.clone());
                Story { place: *next, ..Story::default() }
            });
            story.entries.push(entry.clone());
        }
        Ok(())
    }

    fn read(&self, key: &Key) -> Result<Vec<Entry>, JournalError> {
        Ok(self.stories.get(key).map(|story| story.entries.clone()).unwrap_or_default())
    }

    fn open_keys(&self) -> Result<Vec<Key>, JournalError> {
        Ok(self.stories.iter().filter(|(_, story)| !story.ended).map(|(key, _)| key.clone()).collect())
    }

    fn close(&mut self, key: &Key) -> Result<(), JournalError> {
        if matches!(key, Key::Delivery(_)) {
            // Nobody asks for a message that was taken; its step tells of it.
            self.forget(key);
            return Ok(());
        }
        if let Some(story) = self.stories.get_mut(key).filter(|story| !story.ended) {
            story.ended = true;
            self.ended.push_back(key.clone());
        }
        while self.ended.len() > ENDED_KEPT_MAX {
            if let Some(oldest) = self.ended.pop_front() {
                self.forget(&oldest);
            }
        }
        Ok(())
    }

    fn list(&self, kind: Kind, after: Option<u64>, limit: usize) -> Result<Vec<Listed>, JournalError> {
        let wanted = |key: &Key| match kind {
            Kind::Calls => matches!(key, Key::Call(_)),
            Kind::CallsAndRuns => !matches!(key, Key::Delivery(_)),
            Kind::Deliveries => matches!(key, Key::Delivery(_)),
        };
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
}

/// The call that a key names.
pub fn call_of(key: &Key) -> Option<&CallId> {
    match key {
        Key::Call(call) => Some(call),
        Key::Run(_) | Key::Delivery(_) => None,
    }
}
