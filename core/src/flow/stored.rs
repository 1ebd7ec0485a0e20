//! Workflows that were handed in by the API instead of a file: the text as it came, so that it is checked and shown
//! again like a file's.

use serde::{Deserialize, Serialize};

/// What is written down of a stored workflow. One that is deleted has no story any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "flow", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FlowFact {
    /// In force from here on, instead of what was before.
    Put { text: String },
}
