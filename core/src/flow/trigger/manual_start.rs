//! `manual/start`: somebody starts the workflow, by the API or the command line.

use super::Declared;

pub(super) const DECLARED: Declared = Declared {
    name: "manual/start",
    about: "Starts when the API is asked to.",
    parameters: &[],
    hands_call_on: false,
};
