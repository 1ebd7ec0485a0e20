//! The workflow language: documents, cursor, stacks, variables, actions.

pub mod declare;
pub mod fact;
pub mod script;
