//! What a run has done, step by step, as the API shows it. Bounded: the oldest entries go first, and are counted.

use super::action::Fault;
use super::fact::StepStart;
use super::script::ActionNode;
use super::vars::json_bytes;
use crate::limit::VALUE_BYTES_MAX;
use crate::scene::ErrorClass;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::VecDeque;
use std::sync::Arc;

/// Entries that a run keeps in memory. A wait loop may turn for hours; ten thousand steps are more than a person reads,
/// and a few megabytes.
pub const ENTRIES_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq, Default)]
pub struct History {
    entries: VecDeque<Entry>,
    /// Entries dropped from the front; the number of the first one kept is this plus 1.
    dropped: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub node: Arc<ActionNode>,
    pub parameters: Arc<Map<String, Value>>,
    pub started_at: u64,
    pub ended_at: Option<u64>,
    /// `None` while it is under way.
    pub outcome: Option<Outcome>,
    pub output: Value,
    pub error: Option<Failure>,
    pub attempts: u32,
    pub missing: Vec<String>,
    pub dropped: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    Skipped,
    Failed,
    Interrupted,
}

impl Outcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Skipped => "skipped",
            Outcome::Failed => "failed",
            Outcome::Interrupted => "interrupted",
        }
    }
}

/// An error as the history shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub class: ErrorClass,
    pub message: String,
    /// What the other side said.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
}

impl From<Fault> for Failure {
    /// An output that is too large for a variable is left out.
    fn from(fault: Fault) -> Failure {
        let output = fault.output.filter(|output| json_bytes(output) <= VALUE_BYTES_MAX);
        Failure {
            class: fault.class,
            message: fault.message,
            output: output.map_or(Value::Null, |output| *output),
        }
    }
}

impl History {
    /// The number of the newest step; steps are numbered from 1.
    pub fn newest(&self) -> u64 {
        self.dropped + self.entries.len() as u64
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    pub fn begin(&mut self, at: u64, node: Arc<ActionNode>, start: &StepStart) {
        self.entries.push_back(Entry {
            node,
            parameters: start.parameters.clone(),
            started_at: at,
            ended_at: None,
            outcome: None,
            output: Value::Null,
            error: None,
            attempts: 1,
            missing: start.missing.clone(),
            dropped: Vec::new(),
        });
        // Those under way stay: whoever ends them must find them. They are few, a document's at most.
        while self.entries.len() > ENTRIES_MAX
            && self.entries.front().is_some_and(|entry| entry.outcome.is_some())
        {
            self.entries.pop_front();
            self.dropped += 1;
        }
    }

    pub fn entry(&self, step: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(step.checked_sub(self.dropped + 1)?).ok()?)
    }

    pub fn entry_mut(&mut self, step: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(step.checked_sub(self.dropped + 1)?).ok()?)
    }

    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }
}
