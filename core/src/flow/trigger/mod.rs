//! What starts a main workflow. A trigger is one file and one line in [`TABLE`], as an action is.

mod inbound_call;
mod manual_start;

use super::declare::Parameter;

/// What a trigger type declares of itself.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    /// As written in documents: `twilio/inboundCall`.
    pub name: &'static str,
    /// One sentence for the docs' table.
    pub about: &'static str,
    pub parameters: &'static [Parameter],
    /// A call starts it and its sub-workflow holds the call, so the workflow itself never has a live one.
    pub hands_call_on: bool,
}

/// Every trigger there is.
pub const TABLE: &[&Declared] = &[&inbound_call::DECLARED, &manual_start::DECLARED];
