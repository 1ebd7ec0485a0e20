//! What happens when an action fails: retried, gone on, jumped or ended. One policy for every action, driven by what
//! the action declares and what the run is about.

use super::declare::Kind;
use super::script::{ActionNode, OnError, Script};
use crate::id::RunId;
use crate::scene::{ErrorClass, ReferenceKind};
use sha2::{Digest, Sha256};

/// The wait before the next attempt, if there is to be one.
pub fn retry_in_ms(
    script: &Script,
    node: &ActionNode,
    kind: Kind,
    reference: ReferenceKind,
    class: ErrorClass,
    (run, step, attempts): (RunId, u64, u32),
) -> Option<u64> {
    let retry = match kind {
        Kind::Control => return None,
        Kind::Io | Kind::Messaging | Kind::Child if is_main(reference) => {
            node.retry.as_ref().or(script.retry.as_ref()).unwrap_or(&script.defaults.retry)
        }
        Kind::Io | Kind::Messaging | Kind::Child | Kind::Media => {
            node.retry.as_ref().or(script.retry.as_ref())?
        }
    };
    let wanted = retry.retryable.contains(&class) || may_pass(class);
    if attempts >= retry.attempts || !wanted || retry.non_retryable.contains(&class) {
        return None;
    }
    let doublings = i32::try_from(attempts.saturating_sub(1)).unwrap_or(i32::MAX);
    let plain = retry.initial_ms as f64 * retry.factor.max(0.0).powi(doublings);
    let capped = plain.min(retry.max_ms as f64).max(0.0);
    let spread = 1.0 + retry.jitter.clamp(0.0, 1.0) * chance(run, step, attempts);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float's cast saturates")]
    Some((capped * spread) as u64)
}

/// Nobody is on the line: the result is worth waiting for.
/// Whether another attempt may go better, unless the action says otherwise.
pub fn may_pass(class: ErrorClass) -> bool {
    matches!(class, ErrorClass::Unavailable | ErrorClass::Timeout | ErrorClass::Limit)
}

fn is_main(reference: ReferenceKind) -> bool {
    matches!(reference, ReferenceKind::Workflow | ReferenceKind::Api)
}

/// From 0 to 1, the same on every replay: a hash instead of dice.
fn chance(run: RunId, step: u64, attempt: u32) -> f64 {
    let mut digest = Sha256::new();
    digest.update(run.0.as_bytes());
    digest.update(step.to_be_bytes());
    digest.update(attempt.to_be_bytes());
    let hash = digest.finalize();
    let number = hash.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    f64::from(number) / f64::from(u32::MAX)
}

pub fn on_error(node: &ActionNode, kind: Kind, reference: ReferenceKind) -> OnError {
    match (&node.on_error, kind) {
        (Some(on_error), _) => on_error.clone(),
        (None, Kind::Media) => OnError::Continue,
        (None, Kind::Messaging) if !is_main(reference) => OnError::Continue,
        (None, Kind::Control | Kind::Io | Kind::Messaging | Kind::Child) => OnError::Fail,
    }
}

/// How long one attempt may take.
pub fn timeout_ms(script: &Script, node: &ActionNode, kind: Kind) -> Option<u64> {
    match kind {
        Kind::Io | Kind::Messaging => {
            Some(node.timeout_ms.or(script.timeout_ms).unwrap_or(script.defaults.timeout_ms))
        }
        // Waiting on people has no bound of its own.
        Kind::Control | Kind::Media | Kind::Child => node.timeout_ms,
    }
}
