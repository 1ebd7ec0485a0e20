//! Counts of what was measured, by upper bounds, as monitoring wants them.

use holdline_core::metric::Measured;
use std::sync::atomic::{AtomicU64, Ordering};

/// Shared, and added to at the pace of requests and commits, not of frames.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// Each counts what is above the bound before it and not above its own; what is above all of them is only in
    /// `count`.
    buckets: Box<[AtomicU64]>,
    count: AtomicU64,
    sum: AtomicU64,
}

impl Histogram {
    pub fn new(bounds: &'static [u64]) -> Histogram {
        let buckets = bounds.iter().map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, buckets, count: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    pub fn add(&self, value: u64) {
        self.add_many(value, 1, value);
    }

    /// So many that fall into the bucket of `value`, with what they come to together.
    pub fn add_many(&self, value: u64, count: u64, sum: u64) {
        let at = self.bounds.iter().position(|bound| value <= *bound);
        if let Some(bucket) = at.and_then(|at| self.buckets.get(at)) {
            bucket.fetch_add(count, Ordering::Relaxed);
        }
        self.count.fetch_add(count, Ordering::Relaxed);
        self.sum.fetch_add(sum, Ordering::Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    pub fn measured(&self) -> Measured {
        let buckets = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        Measured { buckets, count: self.count(), sum: self.sum() }
    }
}
