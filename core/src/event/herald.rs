//! Who is told: stories are followed while somebody wants to hear of them, and what is owed to a receiver is written
//! in the batch of the fact that it tells of.

use super::hook::{self, Hook};
use super::{Event, Teller};
use crate::fact::{CallFact, Entry, Fact, Key, OutboxFact, RunFact};
use crate::workflow::outbox::Delivery;
use std::collections::{BTreeMap, BTreeSet};

/// Stories that are followed. One that is dropped is read again when something more happens in it.
pub const STORIES_MAX: usize = 20_000;

/// An event on its way to those who listen.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub event: Event,
    /// Its envelope, on one line.
    pub body: String,
}

/// What a batch gives rise to, once it is written.
#[derive(Debug, Default)]
pub struct Heard {
    pub told: Vec<Told>,
    /// Written in the same batch.
    pub owed: Vec<Delivery>,
    /// Deliveries that are not owed, because their receiver has said that it is gone.
    pub skipped: u64,
}

/// Follows the stories of a journal, in the order in which they are written.
#[derive(Debug)]
pub struct Herald {
    /// Whose events these are: the envelope's `source`.
    source: String,
    hooks: Vec<Hook>,
    stories: BTreeMap<Key, Followed>,
    /// Stories that have a receiver of their own.
    own: BTreeSet<Key>,
    /// Counts what was heard, to know what was heard long ago.
    heard: u64,
}

#[derive(Debug)]
struct Followed {
    teller: Teller,
    /// Who is owed what is told of the activeflows in it.
    own: Option<String>,
    heard: u64,
}

impl Herald {
    pub fn new(source: String, hooks: Vec<Hook>) -> Herald {
        Herald { source, hooks, stories: BTreeMap::new(), own: BTreeSet::new(), heard: 0 }
    }

    /// Stories of the process before this one that have a receiver of their own.
    pub fn follow(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.own.extend(keys);
    }

    /// Hears a batch which is about to be written, and adds what is owed by it. `read` gives a story as it is on disk;
    /// `listening`: somebody wants to hear everything; `is_gone` knows receivers that have said so.
    pub fn hear(
        &mut self,
        batch: &mut Vec<Entry>,
        listening: bool,
        is_gone: &dyn Fn(&str) -> bool,
        read: &mut dyn FnMut(&Key) -> Option<Vec<Entry>>,
    ) -> Heard {
        let all = listening || !self.hooks.is_empty();
        let mut heard = Heard::default();
        if !all {
            let own = &self.own;
            self.stories.retain(|key, _| own.contains(key));
        }
        self.make_room();
        for entry in batch.iter().filter(|entry| tells(entry)) {
            let begins = begins(entry);
            if begins && own_receiver(entry).is_some() {
                self.own.insert(entry.key.clone());
            }
            if !all && !self.own.contains(&entry.key) {
                continue;
            }
            self.heard += 1;
            if !self.stories.contains_key(&entry.key) {
                let before = if begins { Some(Vec::new()) } else { read(&entry.key) };
                let Some(before) = before else { continue };
                let own = own_receiver(before.first().unwrap_or(entry)).map(str::to_owned);
                let followed = Followed { teller: Teller::of(&before), own, heard: 0 };
                self.stories.insert(entry.key.clone(), followed);
            }
            let Some(story) = self.stories.get_mut(&entry.key) else { continue };
            story.heard = self.heard;
            for event in story.teller.tell(entry) {
                let told = Told { body: event.envelope(&self.source), event };
                owe(&self.hooks, &entry.key, story.own.as_deref(), &told, is_gone, &mut heard);
                heard.told.push(told);
            }
        }
        let owed = heard.owed.iter().map(|delivery| Entry {
            key: Key::Delivery(delivery.id),
            wall_ms: delivery.owed_at,
            fact: Fact::Outbox(OutboxFact::Owed { delivery: Box::new(delivery.clone()) }),
        });
        batch.extend(owed);
        heard
    }

    /// A story is over.
    pub fn forget(&mut self, key: &Key) {
        self.stories.remove(key);
        self.own.remove(key);
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

/// What receivers are owed of one event. News of deliveries is owed to nobody: one that fails would never end.
fn owe(
    hooks: &[Hook],
    key: &Key,
    own: Option<&str>,
    told: &Told,
    is_gone: &dyn Fn(&str) -> bool,
    heard: &mut Heard,
) {
    if let Key::Delivery(_) = key {
        return;
    }
    let of_hooks = hooks.iter().filter(|hook| hook.wants(&told.event)).map(|hook| hook.owed(told));
    let of_run = match (key, own) {
        (Key::Run(root), Some(url)) => Some(hook::owed_by_run(told, *root, url)),
        _ => None,
    };
    for delivery in of_hooks.chain(of_run) {
        if delivery.receiver.as_deref().is_some_and(is_gone) {
            heard.skipped += 1;
        } else {
            heard.owed.push(delivery);
        }
    }
}

/// The receiver that a story names in its first fact.
fn own_receiver(first: &Entry) -> Option<&str> {
    match (&first.key, &first.fact) {
        (Key::Run(_), Fact::Run(RunFact::Begun(begun))) => begun.webhook.as_deref(),
        _ => None,
    }
}

/// Whether a story begins with this.
fn begins(entry: &Entry) -> bool {
    match (&entry.key, &entry.fact) {
        (Key::Call(_), fact) => matches!(fact, Fact::Call(CallFact::Arrived { .. })),
        (Key::Run(_), fact) => matches!(fact, Fact::Run(RunFact::Begun(_))),
        _ => false,
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
