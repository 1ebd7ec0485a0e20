//! Names of things. Ids come from outside or derive from a parent's; this crate has no dice.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use uuid::Uuid;

/// The network's CallSid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CallId(pub String);

/// A workflow document's id: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkflowId(pub String);

/// An activeflow: one run of a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub Uuid);

impl RunId {
    /// The id of the child that a parent starts as its `ordinal`-th: the same on every replay. It keeps the parent's
    /// time, so it stays a version-7 UUID that sorts beside its parent.
    pub fn child(self, ordinal: u64) -> RunId {
        let mut digest = Sha256::new();
        digest.update(self.0.as_bytes());
        digest.update(ordinal.to_be_bytes());
        let hash = digest.finalize();
        let mut bytes = *self.0.as_bytes();
        bytes[6..16].copy_from_slice(&hash[..10]);
        bytes[6] = (bytes[6] & 0x0F) | 0x70;
        bytes[8] = (bytes[8] & 0x3F) | 0x80;
        RunId(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_id_is_derived_and_keeps_version_7() {
        let parent = RunId(Uuid::parse_str("0190b3c4-1c2d-7e3f-8a4b-5c6d7e8f9a0b").unwrap());
        assert_eq!(parent.child(1), parent.child(1));
        assert_ne!(parent.child(1), parent.child(2));
        assert_eq!(parent.child(1).0.get_version_num(), 7);
        assert_eq!(&parent.child(1).0.as_bytes()[..6], &parent.0.as_bytes()[..6]);
    }
}
