//! A checked workflow: the one internal form that both dialects become, and the snapshot that a run keeps.

use super::stack::{Laid, List};
use crate::id::WorkflowId;
use crate::limit::Limits;
use crate::scene::ErrorClass;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Script {
    pub id: WorkflowId,
    pub label: Option<String>,
    pub description: Option<String>,
    pub dialect: Dialect,
    pub triggers: Vec<Trigger>,
    pub actions: Vec<ActionNode>,
    pub inputs: Value,
    pub outputs: Vec<Output>,
    pub on_complete: Option<WorkflowId>,
    pub on_end: OnEnd,
    pub media: MediaPreference,
    pub resume_phrase: Option<String>,
    /// The document's own `retry`/`maxRetries` and `timeout`: defaults of its actions.
    pub retry: Option<Retry>,
    pub timeout_ms: Option<u64>,
    /// The configured limits, lowered by the document's own.
    pub limits: Limits,
    /// What holds where neither an action nor the document says otherwise.
    #[serde(default)]
    pub defaults: Defaults,
    /// Of times that name no zone of their own: the configured one.
    #[serde(default = "utc")]
    pub timezone: String,
    /// `x-…` keys of the document.
    pub extra: Map<String, Value>,
    #[serde(skip)]
    pub laid: Laid,
}

impl Script {
    /// Its actions as a run goes through them.
    pub fn list(&self) -> Arc<List> {
        self.laid.list(&self.actions)
    }
}

pub const UTC: &str = "UTC";

fn utc() -> String {
    UTC.to_owned()
}

/// Which words the document was written in; API answers speak the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// `tasks`, `parameters`.
    Components,
    /// `actions`, `option`.
    Actions,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trigger {
    /// `twilio/inboundCall`, `manual/start`.
    pub kind: String,
    /// The variable under which its output appears; default: the part of the type after the slash.
    pub name: String,
    pub parameters: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Output {
    pub name: String,
    pub value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnEnd {
    #[default]
    Hangup,
    Hold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaPreference {
    #[default]
    Auto,
    Always,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ActionNode {
    /// Written, or assigned deterministically from the action's place in the document.
    pub id: String,
    /// The canonical type: `digits_receive`, never an alias, never with `/vN`.
    pub kind: String,
    pub name: Option<String>,
    pub label: Option<String>,
    /// By canonical parameter name, not yet substituted, without nested action lists.
    pub parameters: Map<String, Value>,
    /// Nested action lists by their place: `caseTrue`, `iteratee`, `cases[0].tasks`, `wait_flow`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub lists: BTreeMap<String, Vec<ActionNode>>,
    pub next: Option<String>,
    pub when: Option<Value>,
    pub retry: Option<Retry>,
    pub timeout_ms: Option<u64>,
    pub on_error: Option<OnError>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// Total, the first one counted.
    pub attempts: u32,
    pub initial_ms: u64,
    pub factor: f64,
    pub max_ms: u64,
    /// 0 … 1.
    pub jitter: f64,
    pub non_retryable: Vec<ErrorClass>,
    pub retryable: Vec<ErrorClass>,
}

/// What a server's configuration says about all of its workflows. A script keeps it, as it keeps its limits: a run goes on
/// with the policy with which it began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Defaults {
    /// Of main workflows; and what the keys that a document's own `retry` leaves out begin from.
    pub retry: Retry,
    /// Of actions that ask other systems, per attempt.
    pub timeout_ms: u64,
}

/// The house's own, for whoever configures nothing.
pub static DEFAULTS: Defaults = Defaults {
    retry: Retry {
        attempts: 3,
        initial_ms: 10_000,
        factor: 2.0,
        max_ms: 60_000,
        jitter: 0.1,
        non_retryable: Vec::new(),
        retryable: Vec::new(),
    },
    timeout_ms: 30_000,
};

impl Default for Defaults {
    fn default() -> Defaults {
        DEFAULTS.clone()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnError {
    Continue,
    Fail,
    Goto(String),
}
