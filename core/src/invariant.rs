//! What must always hold of a call, whatever comes in which order: one named predicate each. Used by the property test
//! and the fuzz target, and by every simulator.
//!
//! | | |
//! |---|---|
//! | I1 | [`at_most_one_end`], [`exactly_one_end`]: a call is over exactly once |
//! | I2 | [`one_completion`]: a main workflow is told one completion a call, however often |
//! | I3 | [`nothing_after_the_end`]: nothing is done for a call that is finished |
//! | I4 | [`ends_by`]: a call that is stopping ends by its deadline |
//! | I5–I8 | [`run_within_limits`]: cursor, stacks, steps and variables |
//! | I9 | [`seen_after_its_record`]: nothing is seen before it is written |
//! | I10 | [`state_is_the_fold`]: the facts alone give the state again |
//! | I11 | [`sound_in_flight`]: audio that is not yet known to be heard is bounded |
//! | I12 | [`wakes_until_over`]: a call wants to be woken until it is over, and never after |

use crate::call::{Answer, Call, CallFact, CallState, Effect};
use crate::fact::Fact;
use crate::flow::Run;
use crate::limit::{VARIABLES_BYTES_MAX, VARIABLES_MAX};
use crate::{Machine, Now, Tick};
use serde_json::Value;
use std::time::Duration;

/// An invariant that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} is broken: {what}")]
pub struct Broken {
    pub invariant: &'static str,
    pub what: String,
}

/// What a predicate says.
pub type Verdict = Result<(), Broken>;

fn holds(good: bool, invariant: &'static str, what: impl FnOnce() -> String) -> Verdict {
    if good { Ok(()) } else { Err(Broken { invariant, what: what() }) }
}

/// I1 on the way: no second end is written.
pub fn at_most_one_end<'f>(facts: impl Iterator<Item = &'f Fact>) -> Verdict {
    let ends = facts.filter(|fact| matches!(fact, Fact::Call(CallFact::Over { .. }))).count();
    holds(ends <= 1, "I1", || format!("the call ended {ends} times"))
}

/// I1 at the end of the story.
pub fn exactly_one_end(facts: &[Fact]) -> Verdict {
    let ends = facts.iter().filter(|fact| matches!(fact, Fact::Call(CallFact::Over { .. }))).count();
    holds(ends == 1, "I1", || format!("the call ended {ends} times, expected once"))
}

/// I2: whatever was told, and however often, is the same.
pub fn one_completion(told: &[Value]) -> Verdict {
    let same = told.windows(2).all(|pair| pair.first() == pair.get(1));
    holds(same, "I2", || format!("the main workflow was told different completions: {told:?}"))
}

/// I3: only answers, so that nobody waits in vain, and the refusal of a socket that comes too late.
pub fn nothing_after_the_end(effect: &Effect, finished: bool) -> Verdict {
    let good = !finished || matches!(effect, Effect::Answer { .. } | Effect::CloseStream { .. });
    holds(good, "I3", || format!("done after the end: {effect:?}"))
}

/// I4: `since` is when the call began to stop, `most` what its last words and the network's grace may take.
pub fn ends_by(call: &Call, now: Tick, since: Option<Tick>, most: Duration) -> Verdict {
    let late = since.is_some_and(|since| now.since(since) > most);
    holds(!late || call.state().over.is_some(), "I4", || {
        format!("stopping since {since:?}, and not over at {now:?}")
    })
}

/// I5 to I8.
pub fn run_within_limits(run: &Run) -> Verdict {
    let extent = run.extent();
    let limits = &run.script().limits;
    let most = usize::try_from(limits.stack_depth).unwrap_or(usize::MAX);
    holds(extent.cursor_stands, "I5", || "the cursor points past its stack".into())?;
    holds(extent.stacks <= most, "I6", || format!("{} stacks of {most}", extent.stacks))?;
    holds(extent.steps <= u64::from(limits.steps), "I7", || {
        format!("{} steps of {}", extent.steps, limits.steps)
    })?;
    holds(extent.variables <= VARIABLES_MAX && extent.variable_bytes <= VARIABLES_BYTES_MAX, "I8", || {
        format!("{} variables of {} bytes", extent.variables, extent.variable_bytes)
    })
}

/// How far a run has grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub cursor_stands: bool,
    pub stacks: usize,
    pub steps: u64,
    pub variables: usize,
    pub variable_bytes: usize,
}

/// I9: what rests on a fact comes behind it. `recorded` is what is on disk when the effect is performed.
pub fn seen_after_its_record<'f>(
    effect: &Effect,
    recorded: impl DoubleEndedIterator<Item = &'f Fact>,
) -> Verdict {
    let is_there = |wanted: &dyn Fn(&CallFact) -> bool| {
        recorded.rev().any(|fact| if let Fact::Call(fact) = fact { wanted(fact) } else { false })
    };
    let there = match effect {
        Effect::Answer { answer: Answer::Document { plan }, .. } => {
            is_there(&|fact| matches!(fact, CallFact::Given { plan: given, .. } if **plan == *given))
        }
        Effect::Answer { answer: Answer::Admitted { stream, exchange }, .. } => is_there(
            &|fact| matches!(fact, CallFact::TokenUsed { exchange: e, stream: s } if e == exchange && *s == stream.0),
        ),
        Effect::Answer { answer: Answer::Hangup, .. } => {
            is_there(&|fact| matches!(fact, CallFact::Stopping { .. } | CallFact::Over { .. }))
        }
        Effect::OpenRecording { ordinal, .. } => is_there(
            &|fact| matches!(fact, CallFact::RecordingStarted { ordinal: started, .. } if started == ordinal),
        ),
        Effect::TellParent { completion, .. } => {
            is_there(&|fact| matches!(fact, CallFact::Over { completion: owed, .. } if owed == completion))
        }
        _ => true,
    };
    holds(there, "I9", || format!("seen before it was written: {effect:?}"))
}

/// I10.
pub fn state_is_the_fold<'f>(live: &CallState, facts: impl Iterator<Item = (u64, &'f Fact)>) -> Verdict {
    let folded = fold(facts);
    // Before its first batch there is nothing to fold.
    let good = folded.as_ref().is_none_or(|folded| folded == live);
    holds(good, "I10", || format!("folded: {folded:#?}\nlive: {live:#?}"))
}

/// The durable state of a call, from its facts and their wall times.
pub fn fold<'f>(facts: impl Iterator<Item = (u64, &'f Fact)>) -> Option<CallState> {
    let mut state: Option<CallState> = None;
    for (wall_ms, fact) in facts {
        if let Fact::Call(fact) = fact {
            match &mut state {
                None => state = CallState::begin(fact, wall_ms),
                Some(state) => state.apply(fact, wall_ms),
            }
        }
    }
    state
}

/// I11.
pub fn sound_in_flight(call: &Call, now: Now) -> Verdict {
    let (ahead, most) = call.sound_ahead(now);
    holds(ahead <= most, "I11", || format!("{ahead:?} of sound in flight, expected at most {most:?}"))
}

/// I12: `answers_owed`: somebody else (the flow, a file) has the next word.
pub fn wakes_until_over(call: &Call, answers_owed: bool) -> Verdict {
    let wants = call.wake_at().is_some();
    let good = if call.is_over() { !wants } else { wants || answers_owed };
    holds(good, "I12", || format!("over: {}, wake_at: {:?}", call.is_over(), call.wake_at()))
}
