//! How many actors there are: counted by guards that they own, so that the count is right however they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts what is alive. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Alive(Arc<AtomicUsize>);

/// Something that is alive until this is dropped.
#[derive(Debug)]
pub struct Life(Arc<AtomicUsize>);

impl Alive {
    pub fn begin(&self) -> Life {
        self.0.fetch_add(1, Ordering::Relaxed);
        Life(self.0.clone())
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
