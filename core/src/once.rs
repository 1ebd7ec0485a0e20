//! What somebody outside asks for under a key of their own is done once.
//!
//! That it was done stands in the batch of what it caused: a command may cause several facts, or none yet (a sound that
//! is cut short ends a moment later), so it is a fact of its own beside them. Whoever asks again finds it, also behind
//! a restart that forgot the answer. A refusal causes nothing, is not written, and is judged anew.

use crate::fact::{CallFact, Fact, ParentFact};
use crate::scene::Refused;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use uuid::Uuid;

/// For so long a key leads to what was done under it.
pub const KEPT_MS: u64 = 24 * 60 * 60 * 1000;
/// Deeds that one story remembers, the newest; at some 150 bytes each a snapshot stays small.
pub const DEEDS_MAX: usize = 256;

/// What makes two requests the same: hashes of whose key it is, for what it is used, and of what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub key: Uuid,
    pub body: Uuid,
}

/// A request that was carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deed {
    pub at: u64,
    pub key: Uuid,
    pub body: Uuid,
    /// The network learns it at its next request: a part of the answer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deferred: bool,
}

/// What was done in one story under keys, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Deeds(VecDeque<Deed>);

impl Stamp {
    pub fn deed(self, at: u64, deferred: bool) -> Deed {
        Deed { at, key: self.key, body: self.body, deferred }
    }
}

impl Deeds {
    /// Of a whole story.
    pub fn of<'f>(facts: impl Iterator<Item = &'f Fact>) -> Deeds {
        let mut deeds = Deeds::default();
        facts.for_each(|fact| deeds.apply(fact));
        deeds
    }

    pub fn apply(&mut self, fact: &Fact) {
        if let Fact::Call(CallFact::Obeyed(deed)) | Fact::Parent(ParentFact::Obeyed(deed)) = fact {
            self.add(*deed);
        }
    }

    pub fn add(&mut self, deed: Deed) {
        if self.0.len() >= DEEDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(deed);
    }

    /// What came of this request before; `None` for one that is new, or whose key counts anew.
    pub fn find(&self, now_ms: u64, stamp: Stamp) -> Option<Result<Deed, Refused>> {
        let deed = self.0.iter().rev().find(|deed| deed.key == stamp.key)?;
        if now_ms.saturating_sub(deed.at) >= KEPT_MS {
            return None;
        }
        Some(if deed.body == stamp.body { Ok(*deed) } else { Err(Refused::KeyReused) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_to_what_was_done_for_a_day_and_the_oldest_makes_room() {
        let stamp = |key, body| Stamp { key: Uuid::from_u128(key), body: Uuid::from_u128(body) };
        let mut deeds = Deeds::default();
        assert_eq!(deeds.find(0, stamp(1, 1)), None);
        let first = stamp(1, 1).deed(5, true);
        deeds.add(first);
        assert_eq!(deeds.find(6, stamp(1, 1)), Some(Ok(first)));
        assert_eq!(deeds.find(6, stamp(1, 2)), Some(Err(Refused::KeyReused)));
        assert_eq!(deeds.find(6, stamp(2, 1)), None);
        assert_eq!(deeds.find(4 + KEPT_MS, stamp(1, 1)), Some(Ok(first)));
        assert_eq!(deeds.find(5 + KEPT_MS, stamp(1, 2)), None, "after a day it counts anew");
        let second = stamp(1, 2).deed(5 + KEPT_MS, false);
        deeds.add(second);
        assert_eq!(deeds.find(6 + KEPT_MS, stamp(1, 2)), Some(Ok(second)));
        for number in 0..1000 {
            deeds.add(stamp(10 + number, 1).deed(5 + KEPT_MS, false));
        }
        assert_eq!((deeds.0.len(), deeds.find(6 + KEPT_MS, stamp(1, 2))), (DEEDS_MAX, None));
        assert!(deeds.find(6 + KEPT_MS, stamp(1009, 1)).is_some());
    }
}
