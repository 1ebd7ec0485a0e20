//! Which calls exist, who is rebuilt, who is turned away. Owned by the registry actor, which holds the addresses.

use crate::id::CallId;
use crate::{Now, Tick};
use std::collections::BTreeMap;
use std::time::Duration;

/// A call that dies twice within this time is not rebuilt again: it would die for ever.
const REBUILD_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Roster {
    max_calls: usize,
    draining: bool,
    calls: BTreeMap<CallId, Row>,
}

#[derive(Debug, Default)]
struct Row {
    rebuilt: Option<Tick>,
    /// It is being ended with reason `internal`.
    given_up: bool,
}

/// What is to be done with a new call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has its session.
    Known,
    Spawn,
    /// No room, or the house is closing: busy.
    TurnAway,
}

/// What is to be done with a session that has died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It was over.
    Forget,
    /// From its facts.
    Rebuild,
    /// It was rebuilt a moment ago: end the call with reason `internal`.
    GiveUp,
    /// Not even its end could be written: whoever reads the journal next ends it.
    Lose,
}

impl Roster {
    pub fn new(max_calls: usize) -> Roster {
        Roster { max_calls, draining: false, calls: BTreeMap::new() }
    }

    pub fn arrive(&mut self, call: &CallId) -> Verdict {
        if self.calls.contains_key(call) {
            return Verdict::Known;
        }
        if self.draining || self.calls.len() >= self.max_calls {
            return Verdict::TurnAway;
        }
        self.calls.insert(call.clone(), Row::default());
        Verdict::Spawn
    }

    /// A call that is folded from the journal: it is live whatever the capacity says.
    pub fn reopen(&mut self, call: &CallId) {
        self.calls.entry(call.clone()).or_default();
    }

    pub fn died(&mut self, now: Now, call: &CallId, panicked: bool) -> Death {
        let Some(row) = self.calls.get_mut(call) else { return Death::Forget };
        if !panicked {
            self.calls.remove(call);
            return Death::Forget;
        }
        match row.rebuilt {
            Some(at) if now.tick.since(at) < REBUILD_EVERY => self.gave_up(call),
            _ => {
                row.rebuilt = Some(now.tick);
                Death::Rebuild
            }
        }
    }

    /// A session that can't go on: its call keeps its place until it is ended, and is let go when that fails too.
    pub fn gave_up(&mut self, call: &CallId) -> Death {
        match self.calls.get_mut(call) {
            None => Death::Forget,
            Some(row) if !row.given_up => {
                row.given_up = true;
                Death::GiveUp
            }
            Some(_) => {
                self.calls.remove(call);
                Death::Lose
            }
        }
    }

    pub fn drain(&mut self) {
        self.draining = true;
    }

    pub fn is_draining(&self) -> bool {
        self.draining
    }

    pub fn len(&self) -> usize {
        self.calls.len()
    }

    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { tick: Tick::from_millis(seconds * 1000), wall_ms: seconds * 1000 }
    }

    #[test]
    fn a_call_beyond_capacity_or_while_draining_is_turned_away_but_a_known_one_is_not() {
        let mut roster = Roster::new(1);
        let (first, second) = (CallId("CA1".into()), CallId("CA2".into()));
        assert_eq!(roster.arrive(&first), Verdict::Spawn);
        assert_eq!(roster.arrive(&second), Verdict::TurnAway);
        roster.drain();
        assert_eq!(roster.arrive(&first), Verdict::Known);
        assert_eq!(roster.died(at(0), &first, false), Death::Forget);
        assert_eq!(roster.arrive(&second), Verdict::TurnAway);
    }

    #[test]
    fn a_session_that_panics_is_rebuilt_at_most_once_in_ten_seconds() {
        let mut roster = Roster::new(10);
        let call = CallId("CA1".into());
        roster.arrive(&call);
        assert_eq!(roster.died(at(0), &call, true), Death::Rebuild);
        assert_eq!(roster.died(at(10), &call, true), Death::Rebuild);
        assert_eq!(roster.died(at(19), &call, true), Death::GiveUp);
        assert_eq!(roster.arrive(&call), Verdict::Known, "it keeps its place until it is ended");
        assert_eq!(roster.gave_up(&call), Death::Lose);
        assert!(roster.is_empty());
    }
}
