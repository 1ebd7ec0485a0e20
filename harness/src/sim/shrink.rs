//! Makes a failing story short: whatever it does not need to fail in the same way is left out.

use super::{Failure, perform};

/// Performances that a failure may cost until it is told.
const TRIES_MAX: u32 = 2000;

/// The shortest story found that breaks the same rule.
pub(super) fn shrink(failure: Failure) -> Failure {
    let mut best = failure;
    let mut tries = 0;
    let mut lot = best.story.lines().count() / 2;
    // Ever smaller lots of lines: a whole workflow goes at once, a single action at the end.
    while lot >= 1 {
        let mut from = 0;
        let mut went = false;
        while from < best.story.lines().count() && tries < TRIES_MAX {
            tries += 1;
            match without(&best, from, lot) {
                Some(shorter) => {
                    best = shorter;
                    went = true;
                }
                None => from += 1.max(lot / 2),
            }
        }
        if !went || lot > 1 {
            lot /= 2;
        }
    }
    best
}

fn without(failure: &Failure, from: usize, lot: usize) -> Option<Failure> {
    let lines = failure.story.lines().enumerate();
    let kept = lines.filter(|(place, _)| !(from..from + lot).contains(place)).map(|(_, line)| line);
    let mut story = kept.collect::<Vec<_>>().join("\n");
    story.push('\n');
    // A story that cannot be performed any more fails in another way, and is not shorter but broken.
    let broken = perform(&story).err()?;
    (broken.rule == failure.broken.rule).then_some(Failure { seed: failure.seed, story, broken })
}
