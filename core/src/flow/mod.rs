//! The workflow language: documents, cursor, stacks, variables, actions.

pub mod check;
pub mod declare;
pub mod diagnostic;
pub mod fact;
#[doc(hidden)]
pub mod fuzz;
pub mod parse;
#[doc(hidden)]
pub mod sample;
pub mod script;
pub mod source;
pub mod trigger;
