//! Every bound of the house, with its default. The defaults are the promise.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Actions in a row without one that waits.
    pub iterations: u32,
    /// API `execute` calls of one activeflow.
    pub execute_calls: u32,
    /// Activeflows in an `on_complete` chain.
    pub on_complete_depth: u32,
    /// Stacks of one activeflow, the main one counted.
    pub stack_depth: u32,
    /// Steps in the lifetime of one activeflow, skipped ones counted.
    pub steps: u32,
    /// Nested `subflow`s, the root counted.
    pub subflow_depth: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            iterations: 1000,
            execute_calls: 100,
            on_complete_depth: 5,
            stack_depth: 100,
            steps: 100_000,
            subflow_depth: 10,
        }
    }
}

/// Variables of one activeflow.
pub const VARIABLES_MAX: usize = 1000;
/// One variable's value, as JSON text.
pub const VALUE_BYTES_MAX: usize = 32 * 1024;
/// All variables of an activeflow together.
pub const VARIABLES_BYTES_MAX: usize = 1024 * 1024;
/// Verbs in one document.
pub const DOCUMENT_VERBS_MAX: usize = 10;
/// Bytes of one document.
pub const DOCUMENT_BYTES_MAX: usize = 32 * 1024;
/// A request body on the public listener.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Bad stream messages in a row until the stream is closed with 1007.
pub const BAD_MESSAGES_MAX: u32 = 100;
/// Digits that one call keeps: typed ahead and for the completion.
pub const DIGITS_MAX: usize = 4096;
