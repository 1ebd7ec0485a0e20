//! How often one address may ask the public listener: a bucket each that fills with time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use holdline_core::Tick;

/// Addresses that are remembered. Whoever has more of them is not kept out by counting.
const ADDRESSES_MAX: usize = 10_000;
const MICROS: u64 = 1_000_000;

#[derive(Debug)]
pub struct RateLimit {
    per_second: u64,
    buckets: Mutex<BTreeMap<IpAddr, Bucket>>,
}

/// What an address may still ask, in millionths of a request: a fraction that is lost would be a request in time.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: u64,
    at: Tick,
}

impl RateLimit {
    /// A second's requests may come at once.
    pub fn new(per_second: u32) -> RateLimit {
        RateLimit { per_second: u64::from(per_second), buckets: Mutex::default() }
    }

    /// Whether this address may ask once more now.
    pub fn admits(&self, peer: IpAddr, now: Tick) -> bool {
        let full = self.per_second.saturating_mul(MICROS);
        let filled = |bucket: &Bucket| {
            let since = now.0.saturating_sub(bucket.at.0);
            bucket.left.saturating_add(since.saturating_mul(self.per_second)).min(full)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= ADDRESSES_MAX && !buckets.contains_key(&peer) {
            // A full bucket says nothing that a new one would not say.
            buckets.retain(|_, bucket| filled(bucket) < full);
            if buckets.len() >= ADDRESSES_MAX {
                buckets.clear();
            }
        }
        let bucket = buckets.entry(peer).or_insert(Bucket { left: full, at: now });
        let left = filled(bucket);
        let admitted = left.checked_sub(MICROS);
        *bucket = Bucket { left: admitted.unwrap_or(left), at: now };
        admitted.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn an_address_may_ask_so_often_a_second_and_no_other_pays_for_it() {
        let limit = RateLimit::new(2);
        let admitted = |peer, ms: u64| limit.admits(address(peer), Tick::from_millis(ms));
        assert_eq!([admitted(1, 0), admitted(1, 0), admitted(1, 0)], [true, true, false]);
        assert!(admitted(2, 0));
        assert_eq!([admitted(1, 499), admitted(1, 500), admitted(1, 501)], [false, true, false]);
        // A quiet hour saves up no more than a second.
        let later = 3_600_000;
        assert_eq!([admitted(1, later), admitted(1, later), admitted(1, later)], [true, true, false]);
    }

    #[test]
    fn a_flood_of_addresses_fills_no_memory() {
        let limit = RateLimit::new(1);
        for peer in 0..3 * u32::try_from(ADDRESSES_MAX).unwrap() {
            assert!(limit.admits(address(peer), Tick(u64::from(peer))));
        }
        assert!(limit.buckets.lock().unwrap().len() <= ADDRESSES_MAX);
    }
}
