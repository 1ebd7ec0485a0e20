//! What must hold behind every turn of a machine, looked at while a play goes on.

use holdline_core::call::{Call, Effect};
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::flow::Run;
use holdline_core::invariant::{self, Broken, Verdict};
use holdline_core::{CallId, Machine, Now};
use std::collections::BTreeMap;

/// The fold of all facts is compared after so many turns at first, then ever more seldom: a long story would otherwise
/// be folded anew for each of its frames.
const FOLD_FIRST: u32 = 4;

#[derive(Default)]
pub(super) struct Examiner {
    watches: bool,
    /// What is on disk of each call, with the wall time of each.
    facts: BTreeMap<CallId, Story>,
    broken: Option<Broken>,
}

#[derive(Default)]
struct Story {
    facts: Vec<(u64, Fact)>,
    finished: bool,
    turns: u32,
    fold_at: u32,
    /// Facts at the last comparison.
    compared: usize,
}

impl Examiner {
    pub fn watching() -> Examiner {
        Examiner { watches: true, ..Examiner::default() }
    }

    pub fn verdict(&self) -> Verdict {
        self.broken.clone().map_or(Ok(()), Err)
    }

    pub fn written(&mut self, batch: &[Entry]) {
        if !self.watches {
            return;
        }
        for entry in batch {
            let owner = match &entry.key {
                Key::Call(call) => Some(call),
                // Owed in the batch of the call that owes it.
                _ => batch.iter().find_map(|entry| match &entry.key {
                    Key::Call(call) => Some(call),
                    _ => None,
                }),
            };
            let Some(owner) = owner else { continue };
            let story = self.facts.entry(owner.clone()).or_default();
            story.facts.push((entry.wall_ms, entry.fact.clone()));
            let facts = story.facts.iter().map(|(_, fact)| fact);
            let verdict = invariant::at_most_one_end(facts);
            self.note(verdict);
        }
    }

    /// An effect leaves the call.
    pub fn performed(&mut self, call: &CallId, effect: &Effect) {
        if !self.watches || effect.is_urgent() {
            return;
        }
        let story = self.facts.entry(call.clone()).or_default();
        let after = invariant::nothing_after_the_end(effect, story.finished);
        story.finished |= *effect == Effect::Finished;
        let recorded = story.facts.iter().map(|(_, fact)| fact);
        let verdict = after.and_then(|()| invariant::seen_after_its_record(effect, recorded));
        self.note(verdict);
    }

    /// A turn is over; `is_settled`: nothing of it waits for the disk.
    pub fn turned(&mut self, now: Now, call: &Call, run: Option<&Run>, is_settled: bool) {
        if !self.watches {
            return;
        }
        let mut verdict = invariant::sound_in_flight(call, now);
        let story = self.facts.entry(call.state().arrival.call.clone()).or_default();
        let is_news = story.facts.len() != story.compared;
        // What is held back for a document's commit is in force already, and on its way to be a fact.
        if is_settled && is_news && !call.holds_back() {
            story.compared = story.facts.len();
            if let Some(run) = run {
                verdict = verdict.and_then(|()| invariant::run_within_limits(run));
            }
            story.turns += 1;
            if story.turns >= story.fold_at || call.is_over() {
                story.fold_at = story.turns + FOLD_FIRST.max(story.turns / 2);
                let facts = story.facts.iter().map(|(wall_ms, fact)| (*wall_ms, fact));
                verdict = verdict.and_then(|()| invariant::state_is_the_fold(call.state(), facts));
            }
        }
        self.note(verdict);
    }

    /// Another process: what was finished may be told to finish once more.
    pub fn process_ended(&mut self) {
        for story in self.facts.values_mut() {
            story.finished = false;
        }
    }

    fn note(&mut self, verdict: Verdict) {
        if let Err(broken) = verdict {
            self.broken.get_or_insert(broken);
        }
    }
}
