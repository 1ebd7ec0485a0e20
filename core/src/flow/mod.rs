//! The workflow language: documents, cursor, stacks, variables, actions.

pub mod action;
pub mod again;
pub mod check;
mod child;
pub mod cursor;
pub mod declare;
pub mod diagnostic;
mod engine;
pub mod expression;
pub mod fact;
pub mod flows;
#[doc(hidden)]
pub mod fuzz;
pub mod history;
mod lookahead;
pub mod moments;
pub mod outline;
pub mod parse;
mod policy;
pub mod run;
#[doc(hidden)]
pub mod schema;
pub mod script;
pub mod source;
pub mod stack;
pub(crate) mod state;
pub mod stored;
pub mod substitute;
pub mod trigger;
pub mod vars;
mod verdict;
mod view;
pub mod vocabulary;
mod waiting;

pub use run::{Run, RunSpec};
pub use vocabulary::Vocabulary;
