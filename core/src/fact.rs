//! Everything that is ever written down. State is the fold of facts: a restart, a rebuild after a panic and a test
//! fixture are one road. Frames are never facts.

pub use crate::call::fact::{CallEnd, CallFact};
pub use crate::flow::fact::RunFact;
pub use crate::flow::stored::FlowFact;
pub use crate::outbound::{OutboundFact, PlacementId};
pub use crate::workflow::fact::ParentFact;
pub use crate::workflow::outbox::{DeliveryId, OutboxFact};

use crate::id::{CallId, RunId, WorkflowId};
use serde::{Deserialize, Serialize};

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub key: Key,
    pub wall_ms: u64,
    pub fact: Fact,
}

/// Whose story a fact belongs to. Facts of one key are kept in the order in which they were appended.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Key {
    /// A call together with its sub-workflow's run: one writer, one story.
    Call(CallId),
    /// A main workflow, or one that was started by the API.
    Run(RunId),
    /// A message that is owed to somebody; it outlives the call that caused it.
    Delivery(DeliveryId),
    /// A call that somebody wishes to be placed, until it is known what came of it.
    Placement(PlacementId),
    /// A workflow that was handed in by the API.
    Flow(WorkflowId),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fact {
    Call(CallFact),
    Run(RunFact),
    Parent(ParentFact),
    Outbox(OutboxFact),
    Outbound(OutboundFact),
    Flow(FlowFact),
}

impl Fact {
    /// Whose story it is, when it was decided in `story`.
    pub fn key(&self, story: &Key) -> Key {
        match self {
            Fact::Outbox(OutboxFact::Owed { delivery }) => Key::Delivery(delivery.id),
            // It follows on another run's end, and has nothing to do with that one's story any more.
            Fact::Run(RunFact::Begun(begun)) if begun.complete_count > 0 => Key::Run(begun.id),
            _ => story.clone(),
        }
    }
}
