//! The workflow language: documents, cursor, stacks, variables, actions.

pub mod action;
pub mod cursor;
pub mod declare;
mod engine;
pub mod fact;
pub mod history;
mod lookahead;
mod policy;
pub mod run;
pub mod script;
pub mod stack;
mod state;
pub mod substitute;
pub mod vars;
mod verdict;
mod view;
mod waiting;

pub use run::{Run, RunSpec};
