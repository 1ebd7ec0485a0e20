//! Other systems: HTTP and mail. The only place that knows secrets.

use futures_util::future::BoxFuture;
use holdline_core::http::{Errand, Outcome};

/// Performs errands. Whatever comes back, answer or error, has every secret masked: it may become a fact.
pub trait World: Send + Sync {
    /// Bounded by the errand's own time. Dropped when nobody waits for it any more.
    fn perform(&self, errand: Errand) -> BoxFuture<'static, Outcome>;
}
