//! What starts a main workflow. A trigger is one file and one line in [`TABLE`], as an action is.

mod inbound_call;
mod manual_start;

use super::declare::Parameter;

/// What a trigger type declares of itself.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Declared {
    /// As written in documents: `twilio/inboundCall`.
    pub name: &'static str,
    /// One sentence for the docs' table.
    pub about: &'static str,
    pub parameters: &'static [Parameter],
    /// A call starts it and its sub-workflow holds the call, so the workflow itself never has a live one.
    pub hands_call_on: bool,
}

impl Declared {
    /// A trigger without parameters.
    pub const fn new(name: &'static str, about: &'static str) -> Declared {
        Declared { name, about, parameters: &[], hands_call_on: false }
    }

    /// What documents may give it.
    #[must_use]
    pub const fn parameters(self, parameters: &'static [Parameter]) -> Declared {
        Declared { parameters, ..self }
    }
}

/// The language's own triggers.
pub const TABLE: &[&Declared] = &[&inbound_call::DECLARED, &manual_start::DECLARED];
