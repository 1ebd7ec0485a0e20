//! Services of the program that holds the runtime: what its own actions ask.

use futures_util::future::BoxFuture;
use holdline_core::http::ServiceCall;
use holdline_core::scene::ErrorClass;
use serde_json::Value;

/// Answers what actions of one's own ask; an `async` closure is one, too.
///
/// It may be asked twice for the same thing, when an answer was lost in a crash or came too late: by
/// [`ServiceCall::idempotency_key`] it knows, and does nothing twice. What it answers becomes a fact.
pub trait Service: Send + Sync {
    /// Dropped when nobody waits for it any more, after [`ServiceCall::timeout_ms`] at the latest.
    fn answer(&self, call: ServiceCall) -> BoxFuture<'static, Result<Value, Failed>>;
}

/// Why a service has no answer. The class decides whether it is worth another attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct Failed {
    /// `Unavailable`, `Timeout` and `Limit` pass by themselves; what is `Invalid` or `Rejected` stays so.
    pub class: ErrorClass,
    /// For whoever reads the call's history, so without secrets.
    pub message: String,
}

impl Failed {
    /// With a class of your choice.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Failed {
        Failed { class, message: message.into() }
    }

    /// It may go well the next time.
    pub fn unavailable(message: impl Into<String>) -> Failed {
        Failed::new(ErrorClass::Unavailable, message)
    }

    /// It will never go well.
    pub fn rejected(message: impl Into<String>) -> Failed {
        Failed::new(ErrorClass::Rejected, message)
    }
}

impl<F, A> Service for F
where
    F: Fn(ServiceCall) -> A + Send + Sync,
    A: Future<Output = Result<Value, Failed>> + Send + 'static,
{
    fn answer(&self, call: ServiceCall) -> BoxFuture<'static, Result<Value, Failed>> {
        Box::pin(self(call))
    }
}
