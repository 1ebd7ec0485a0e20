//! How often one source may ask the public listener: buckets that fill with time.
//!
//! A source has two, one for what a signature vouches for and one for everything else. Behind a tunnel all share one
//! address: whoever floods it with requests that are not the network's then takes nothing from the network.

use crate::Tick;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Buckets that are remembered. Whoever has more addresses is not kept out by counting.
pub const SOURCES_MAX: usize = 10_000;
const MICROS: u64 = 1_000_000;

#[derive(Debug)]
pub struct RateLimit {
    per_second: u64,
    buckets: BTreeMap<(IpAddr, bool), Bucket>,
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
        RateLimit { per_second: u64::from(per_second), buckets: BTreeMap::new() }
    }

    /// Whether this source may ask once more now, for what is vouched for or for what is not.
    pub fn admits(&mut self, source: IpAddr, vouched: bool, now: Tick) -> bool {
        let (full, per_second) = (self.full(), self.per_second);
        let filled = |bucket: &Bucket| filled(bucket, per_second, now);
        let name = (source, vouched);
        if self.buckets.len() >= SOURCES_MAX && !self.buckets.contains_key(&name) {
            // A full bucket says nothing that a new one would not say.
            self.buckets.retain(|_, bucket| filled(bucket) < full);
            if self.buckets.len() >= SOURCES_MAX {
                self.buckets.clear();
            }
        }
        let bucket = self.buckets.entry(name).or_insert(Bucket { left: full, at: now });
        let left = filled(bucket);
        let admitted = left.checked_sub(MICROS);
        *bucket = Bucket { left: admitted.unwrap_or(left), at: now };
        admitted.is_some()
    }

    /// Whether a request of this source that nothing vouches for would be refused now.
    pub fn is_spent(&self, source: IpAddr, now: Tick) -> bool {
        let bucket = self.buckets.get(&(source, false));
        bucket.is_some_and(|bucket| filled(bucket, self.per_second, now) < MICROS)
    }

    /// Buckets that are remembered.
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    fn full(&self) -> u64 {
        self.per_second.saturating_mul(MICROS)
    }
}

fn filled(bucket: &Bucket, per_second: u64, now: Tick) -> u64 {
    let since = now.0.saturating_sub(bucket.at.0);
    bucket.left.saturating_add(since.saturating_mul(per_second)).min(per_second.saturating_mul(MICROS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn an_address_may_ask_so_often_a_second_and_no_other_pays_for_it() {
        let mut limit = RateLimit::new(2);
        let mut admitted = |peer, ms: u64| limit.admits(address(peer), false, Tick::from_millis(ms));
        assert_eq!([admitted(1, 0), admitted(1, 0), admitted(1, 0)], [true, true, false]);
        assert!(admitted(2, 0));
        assert_eq!([admitted(1, 499), admitted(1, 500), admitted(1, 501)], [false, true, false]);
        // A quiet hour saves up no more than a second.
        let later = 3_600_000;
        assert_eq!([admitted(1, later), admitted(1, later), admitted(1, later)], [true, true, false]);
    }

    #[test]
    fn a_flood_of_strangers_takes_nothing_from_the_network_behind_the_same_address() {
        let (mut limit, now) = (RateLimit::new(2), Tick(0));
        let flooded = (0..100).filter(|_| limit.admits(address(1), false, now)).count();
        assert_eq!((flooded, limit.is_spent(address(1), now)), (2, true));
        let network = (0..100).filter(|_| limit.admits(address(1), true, now)).count();
        assert_eq!((network, limit.is_spent(address(2), now)), (2, false));
        assert!(!limit.is_spent(address(1), Tick::from_millis(500)));
    }

    #[test]
    fn a_flood_of_addresses_fills_no_memory() {
        let mut limit = RateLimit::new(1);
        for peer in 0..3 * u32::try_from(SOURCES_MAX).unwrap() {
            assert!(limit.admits(address(peer), false, Tick(u64::from(peer))));
        }
        assert!(limit.len() <= SOURCES_MAX);
    }
}
