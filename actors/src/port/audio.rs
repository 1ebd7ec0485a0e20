//! Sound by name: files, URLs, our own speech. Decoded, resampled and cached off the arbiters.

use futures_util::future::BoxFuture;
use holdline_core::WorkflowId;
use holdline_core::scene::{ErrorClass, Sound};
use std::sync::Arc;

/// µ-law at 8000 Hz, or why not.
pub type Loaded = Result<Arc<[u8]>, (ErrorClass, String)>;

pub trait Audio: Send + Sync {
    /// `workflow` tells the folder that a file's name is relative to.
    fn load(&self, workflow: &WorkflowId, what: &Sound) -> BoxFuture<'static, Loaded>;
}
