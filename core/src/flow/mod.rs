//! The workflow language: documents, cursor, stacks, variables, actions.

pub mod declare;
pub mod diagnostic;
pub mod fact;
pub mod script;
pub mod source;
pub mod trigger;
