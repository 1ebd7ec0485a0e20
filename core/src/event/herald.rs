//! Who is told: stories are followed while somebody wants to hear of them, and what is owed to a receiver is written
//! in the batch of the fact that it tells of.

use super::{Event, Teller};
use crate::fact::{CallFact, Entry, Fact, Key, OutboxFact, RunFact};
use std::collections::BTreeMap;

/// Stories that are followed. One that is dropped is read again when something more happens in it.
pub const STORIES_MAX: usize = 20_000;

/// An event on its way to those who listen.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub event: Event,
    /// Its envelope, on one line.
    pub body: String,
}

/// Follows the stories of a journal, in the order in which they are written.
#[derive(Debug)]
pub struct Herald {
    /// Whose events these are: the envelope's `source`.
    source: String,
    stories: BTreeMap<Key, Followed>,
    /// Counts what was heard, to know what was heard long ago.
    heard: u64,
}

#[derive(Debug)]
struct Followed {
    teller: Teller,
    heard: u64,
}

impl Herald {
    pub fn new(source: String) -> Herald {
        Herald { source, stories: BTreeMap::new(), heard: 0 }
    }

    /// What a batch gives rise to, which is about to be written. `read` gives a story as it is on disk; `listening`:
    /// somebody wants to hear everything.
    pub fn hear(
        &mut self,
        batch: &[Entry],
        listening: bool,
        read: &mut dyn FnMut(&Key) -> Option<Vec<Entry>>,
    ) -> Vec<Told> {
        if !listening {
            self.stories.clear();
            return Vec::new();
        }
        self.make_room();
        let mut told = Vec::new();
        for entry in batch.iter().filter(|entry| tells(entry)) {
            self.heard += 1;
            let heard = self.heard;
            if !self.stories.contains_key(&entry.key) {
                let before = if begins(entry) { Some(Vec::new()) } else { read(&entry.key) };
                let Some(before) = before else { continue };
                self.stories.insert(entry.key.clone(), Followed { teller: Teller::of(&before), heard });
            }
            let Some(story) = self.stories.get_mut(&entry.key) else { continue };
            story.heard = heard;
            for event in story.teller.tell(entry) {
                let body = event.envelope(&self.source);
                told.push(Told { event, body });
            }
        }
        told
    }

    /// A story is over.
    pub fn forget(&mut self, key: &Key) {
        self.stories.remove(key);
    }

    pub fn followed(&self) -> usize {
        self.stories.len()
    }

    /// Those that were quiet for longest go; between two batches, when all of their facts are on disk.
    fn make_room(&mut self) {
        if self.stories.len() < STORIES_MAX {
            return;
        }
        let mut heard: Vec<u64> = self.stories.values().map(|story| story.heard).collect();
        heard.sort_unstable();
        let since = heard.get(heard.len() / 2).copied().unwrap_or_default();
        self.stories.retain(|_, story| story.heard > since);
    }
}

/// Whether a story begins with this.
fn begins(entry: &Entry) -> bool {
    match (&entry.key, &entry.fact) {
        (Key::Call(_), fact) => matches!(fact, Fact::Call(CallFact::Arrived { .. })),
        (Key::Delivery(_), fact) => matches!(fact, Fact::Outbox(OutboxFact::Owed { .. })),
        (_, fact) => matches!(fact, Fact::Run(RunFact::Begun(_))),
    }
}

/// Whether anything can be told of it, now or by its help later. What was owed is read when it becomes news: most of it
/// is delivered.
fn tells(entry: &Entry) -> bool {
    match &entry.fact {
        Fact::Call(_) | Fact::Parent(_) => true,
        // Written behind a run's end, where nobody follows it any more.
        Fact::Run(RunFact::RetriedAs { .. } | RunFact::Forgotten { .. }) => false,
        Fact::Run(_) => true,
        Fact::Outbox(fact) => matches!(fact, OutboxFact::Failed { .. } | OutboxFact::Dead { .. }),
        Fact::Outbound(_) | Fact::Flow(_) => false,
    }
}
