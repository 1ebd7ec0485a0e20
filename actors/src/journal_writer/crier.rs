//! Tells others what is written: what it gives rise to is found out before a batch is written, and told when it is.

use crate::feed::Feed;
use crate::owing::Owing;
use crate::port::journal::Journal;
use holdline_core::event::{Heard, Herald};
use holdline_core::fact::{Entry, Key};
use std::sync::Arc;

/// Who is told, and of what.
pub struct Crier {
    herald: Herald,
    feed: Arc<Feed>,
    owing: Arc<Owing>,
}

impl Crier {
    pub fn new(herald: Herald, feed: Arc<Feed>, owing: Arc<Owing>) -> Crier {
        Crier { herald, feed, owing }
    }

    /// What is owed by a batch is added to it.
    pub(super) fn hear(&mut self, batch: &mut Vec<Entry>, journal: &dyn Journal) -> Heard {
        let listening = self.feed.is_wanted();
        let owing = &self.owing;
        self.herald.hear(batch, listening, &|receiver| owing.is_gone(receiver), &mut |key| match journal
            .read(key)
        {
            Ok(entries) => Some(entries),
            Err(error) => {
                tracing::error!(?key, %error, "a story could not be read: nothing is told of it");
                None
            }
        })
    }

    /// The batch is written.
    pub(super) fn tell(&self, heard: Heard) {
        if self.feed.is_wanted() {
            self.feed.tell(heard.told);
        }
        self.owing.announce(heard.owed);
        self.owing.skip(heard.skipped);
    }

    pub(super) fn follow(&mut self, keys: Vec<Key>) {
        self.herald.follow(keys);
    }

    pub(super) fn forget(&mut self, key: &Key) {
        self.herald.forget(key);
    }
}
