//! Tells others what is written: what it gives rise to is found out before a batch is written, and told when it is.

use crate::feed::Feed;
use crate::port::journal::Journal;
use holdline_core::event::{Herald, Told};
use holdline_core::fact::{Entry, Key};
use std::sync::Arc;

/// Who is told, and of what.
pub struct Crier {
    herald: Herald,
    feed: Arc<Feed>,
}

impl Crier {
    pub fn new(herald: Herald, feed: Arc<Feed>) -> Crier {
        Crier { herald, feed }
    }

    pub(super) fn hear(&mut self, batch: &[Entry], journal: &dyn Journal) -> Vec<Told> {
        let listening = self.feed.is_wanted();
        self.herald.hear(batch, listening, &mut |key| match journal.read(key) {
            Ok(entries) => Some(entries),
            Err(error) => {
                tracing::error!(?key, %error, "a story could not be read: nothing is told of it");
                None
            }
        })
    }

    pub(super) fn tell(&self, told: Vec<Told>) {
        self.feed.tell(told);
    }

    pub(super) fn forget(&mut self, key: &Key) {
        self.herald.forget(key);
    }
}
