//! What a main workflow writes down beside the facts of its run.

use crate::id::CallId;
use crate::once::Deed;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "parent", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ParentFact {
    /// It waits for its trigger's call.
    Waiting { call: CallId, trigger_type: String, trigger_name: String },
    /// The call's completion is in; the run goes on from here.
    CallOver { completion: Value },
    /// Somebody's request was carried out, and is not when it comes again.
    Obeyed(Deed),
}
