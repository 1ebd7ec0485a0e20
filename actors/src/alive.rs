//! How many actors there are: counted by guards that they own, so that the count is right however they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Counts what is alive. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Alive(Arc<Lives>);

#[derive(Debug, Default)]
struct Lives {
    count: AtomicUsize,
    none: Notify,
}

/// Something that is alive until this is dropped.
#[derive(Debug)]
pub struct Life(Arc<Lives>);

impl Alive {
    pub fn begin(&self) -> Life {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Life(self.0.clone())
    }

    pub fn count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Resolves when nothing is alive.
    pub async fn none(&self) {
        let none = self.0.none.notified();
        let mut none = std::pin::pin!(none);
        loop {
            // Listens before it looks, so that the last one can't leave unseen in between.
            none.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            none.as_mut().await;
            none.set(self.0.none.notified());
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.none.notify_waiters();
        }
    }
}
