//! The way from the journal's thread to the outbox: what is owed there is announced here, once it is on disk. And the
//! way back: receivers that are gone are owed nothing.

use holdline_core::workflow::outbox::{Delivery, ROWS_MAX};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub struct Owing {
    announced: Mutex<Announced>,
    bell: Notify,
    gone: RwLock<BTreeSet<String>>,
    skipped: AtomicU64,
}

#[derive(Debug, Default)]
pub struct Announced {
    pub deliveries: VecDeque<Delivery>,
    /// More than these are on disk: they have to be looked for there.
    pub more: bool,
}

impl Owing {
    pub fn announce(&self, owed: Vec<Delivery>) {
        if owed.is_empty() {
            return;
        }
        let mut announced = self.announced();
        for delivery in owed {
            if announced.deliveries.len() >= ROWS_MAX {
                announced.more = true;
                break;
            }
            announced.deliveries.push_back(delivery);
        }
        drop(announced);
        self.bell.notify_one();
    }

    /// Resolves when something was announced.
    pub async fn next(&self) -> Announced {
        loop {
            let announced = std::mem::take(&mut *self.announced());
            if announced.more || !announced.deliveries.is_empty() {
                return announced;
            }
            self.bell.notified().await;
        }
    }

    pub fn is_gone(&self, receiver: &str) -> bool {
        self.gone.read().unwrap_or_else(PoisonError::into_inner).contains(receiver)
    }

    pub fn goes(&self, receiver: String) {
        self.gone.write().unwrap_or_else(PoisonError::into_inner).insert(receiver);
    }

    pub fn is_back(&self, receiver: &str) {
        self.gone.write().unwrap_or_else(PoisonError::into_inner).remove(receiver);
    }

    pub fn skip(&self, deliveries: u64) {
        self.skipped.fetch_add(deliveries, Ordering::Relaxed);
    }

    /// Deliveries that were not owed, because their receiver is gone.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Receivers that are gone.
    pub fn gone(&self) -> usize {
        self.gone.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn announced(&self) -> MutexGuard<'_, Announced> {
        self.announced.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
