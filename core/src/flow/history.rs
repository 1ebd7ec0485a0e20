//! What a run has done, step by step, as the API shows it. Bounded: the oldest entries go first, and are counted.

use super::action::Fault;
use super::fact::StepStart;
use super::script::ActionNode;
use super::vars::json_bytes;
use crate::limit::VALUE_BYTES_MAX;
use crate::scene::ErrorClass;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Entries that a run keeps in memory. A wait loop may turn for hours; ten thousand steps are more than a person reads,
/// and a few megabytes.
pub const ENTRIES_MAX: usize = 10_000;
/// Up to here room is made entry by entry.
const FEW: usize = 4;

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Compact", into = "Compact")]
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

/// A history as a snapshot holds it. A loop's entries are all of the same few actions, which stand here once.
#[derive(Serialize, Deserialize)]
struct Compact {
    nodes: Vec<Arc<ActionNode>>,
    entries: Vec<CompactEntry>,
    dropped: u64,
}

#[derive(Serialize, Deserialize)]
struct CompactEntry {
    node: usize,
    parameters: Arc<Map<String, Value>>,
    started_at: u64,
    ended_at: Option<u64>,
    outcome: Option<Outcome>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    output: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
    attempts: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<String>,
}

impl From<History> for Compact {
    fn from(history: History) -> Compact {
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        let mut compact = Compact { nodes: Vec::new(), entries: Vec::new(), dropped: history.dropped };
        for entry in history.entries {
            let node = *places.entry(Arc::as_ptr(&entry.node).addr()).or_insert_with(|| {
                compact.nodes.push(entry.node.clone());
                compact.nodes.len() - 1
            });
            compact.entries.push(CompactEntry {
                node,
                parameters: entry.parameters,
                started_at: entry.started_at,
                ended_at: entry.ended_at,
                outcome: entry.outcome,
                output: entry.output,
                error: entry.error,
                attempts: entry.attempts,
                missing: entry.missing,
                dropped: entry.dropped,
            });
        }
        compact
    }
}

impl From<Compact> for History {
    /// Every entry names an action that stands there: both were written together.
    fn from(compact: Compact) -> History {
        let entries = compact.entries.into_iter().filter_map(|entry| {
            Some(Entry {
                node: compact.nodes.get(entry.node)?.clone(),
                parameters: entry.parameters,
                started_at: entry.started_at,
                ended_at: entry.ended_at,
                outcome: entry.outcome,
                output: entry.output,
                error: entry.error,
                attempts: entry.attempts,
                missing: entry.missing,
                dropped: entry.dropped,
            })
        });
        History { entries: entries.collect(), dropped: compact.dropped }
    }
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
        // Many a call waits in its first steps for all its life.
        if self.entries.len() == self.entries.capacity() && self.entries.len() < FEW {
            self.entries.reserve_exact(1);
        }
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

    /// Leaves what is under way, and what began behind it.
    pub fn forget_done(&mut self) {
        while self.entries.front().is_some_and(|entry| entry.outcome.is_some()) {
            self.entries.pop_front();
            self.dropped += 1;
        }
    }

    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.iter()
    }
}
