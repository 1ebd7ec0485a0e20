//! What a fact counts as. Counted where facts are written, so a count says what is durable, and no call's own thread
//! has to count.

use super::{
    ACTIVEFLOWS_BEGUN, ACTIVEFLOWS_ENDED, CALLS_ARRIVED, CALLS_ENDED, DEAD_LETTERS, DELIVERIES, EXCHANGES,
    Family, STEP_ERRORS, STEP_RETRIES, STEPS, STREAMS, STREAMS_ENDED,
};
use crate::fact::{CallFact, Entry, Fact, Key, OutboxFact, RunFact};
use crate::flow::fact::StepEnd;
use crate::scene::{EndReason, ErrorClass};

/// Tells `count` of every series that this fact is one more of.
pub fn told(entry: &Entry, count: &mut dyn FnMut(&'static Family, &[&str])) {
    match &entry.fact {
        Fact::Call(fact) => of_call(fact, count),
        Fact::Run(fact) => {
            of_run(fact, count);
            // A call's own flow can't go on without its call: nobody asks for it again.
            let failed = matches!(fact, RunFact::Over { over, .. } if over.reason == EndReason::Failed);
            if failed && matches!(entry.key, Key::Run(_)) {
                count(&DEAD_LETTERS, &["activeflow"]);
            }
        }
        Fact::Outbox(fact) => of_outbox(fact, count),
        Fact::Parent(_) | Fact::Flow(_) | Fact::Outbound(_) => {}
    }
}

fn of_call(fact: &CallFact, count: &mut dyn FnMut(&'static Family, &[&str])) {
    match fact {
        CallFact::Arrived { .. } => count(&CALLS_ARRIVED, &[]),
        CallFact::Given { .. } => count(&EXCHANGES, &[]),
        CallFact::StreamStarted { .. } => count(&STREAMS, &[]),
        CallFact::StreamEnded { stopped, .. } => {
            count(&STREAMS_ENDED, &[if *stopped { "stopped" } else { "closed" }]);
        }
        CallFact::Over { reason, .. } => count(&CALLS_ENDED, &[reason.as_str()]),
        CallFact::Rejected => count(&CALLS_ENDED, &["rejected"]),
        _ => {}
    }
}

fn of_run(fact: &RunFact, count: &mut dyn FnMut(&'static Family, &[&str])) {
    match fact {
        RunFact::Begun(_) => count(&ACTIVEFLOWS_BEGUN, &[]),
        RunFact::Stepped { end, .. } | RunFact::StepEnded { end, .. } | RunFact::LoopFailed { end, .. } => {
            ended(end, count);
        }
        RunFact::StepRetries { error, .. } => count(&STEP_RETRIES, &[class(error.class)]),
        RunFact::Over { over, .. } => count(&ACTIVEFLOWS_ENDED, &[over.reason.as_str()]),
        RunFact::Child { fact, .. } => of_run(fact, count),
        _ => {}
    }
}

fn ended(end: &StepEnd, count: &mut dyn FnMut(&'static Family, &[&str])) {
    count(&STEPS, &[end.outcome.as_str()]);
    if let Some(error) = &end.error {
        count(&STEP_ERRORS, &[class(error.class)]);
    }
}

fn of_outbox(fact: &OutboxFact, count: &mut dyn FnMut(&'static Family, &[&str])) {
    let word = match fact {
        OutboxFact::Owed { .. } => "owed",
        OutboxFact::Failed { .. } => "failed",
        OutboxFact::Delivered { .. } => "delivered",
        OutboxFact::Dead { .. } => "dead",
        OutboxFact::Redriven { .. } => "redriven",
    };
    count(&DELIVERIES, &[word]);
    if word == "dead" {
        count(&DEAD_LETTERS, &["delivery"]);
    }
}

/// The class of an error, as labels and people have it.
pub fn class(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Invalid => "invalid",
        ErrorClass::Unavailable => "unavailable",
        ErrorClass::Timeout => "timeout",
        ErrorClass::Rejected => "rejected",
        ErrorClass::Limit => "limit",
        ErrorClass::Canceled => "canceled",
        ErrorClass::Internal => "internal",
    }
}
