//! What a run writes down.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "run", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunFact {
    /// Placeholder of the first commit; the run's own facts follow with the run.
    Begun,
}
