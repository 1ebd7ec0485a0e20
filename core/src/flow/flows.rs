//! The workflows in force, as a run may look them up when an action names one. What it finds goes into its facts: a
//! fold never asks again.

use super::script::Script;
use super::vocabulary::Vocabulary;
use crate::id::WorkflowId;
use std::fmt::Debug;
use std::sync::Arc;

pub trait Flows: Debug + Send + Sync {
    fn find(&self, id: &WorkflowId) -> Option<Arc<Script>>;

    /// The words that they are written in.
    fn vocabulary(&self) -> &Vocabulary {
        Vocabulary::standard()
    }
}

/// None at all.
#[derive(Debug, Clone, Copy)]
pub struct NoFlows;

impl Flows for NoFlows {
    fn find(&self, _: &WorkflowId) -> Option<Arc<Script>> {
        None
    }
}
