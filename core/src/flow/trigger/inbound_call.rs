//! `twilio/inboundCall`: a call comes in, the sub-workflow holds it, its result starts the main workflow's actions.

use super::Declared;
use crate::flow::declare::{Parameter, Shape};

pub(super) const DECLARED: Declared = Declared {
    name: "twilio/inboundCall",
    about: "Starts when a call comes in; goes on when the sub-workflow and the call have ended.",
    parameters: &[
        Parameter {
            name: "subWorkflow",
            aliases: &[],
            shape: Shape::Workflow,
            required: true,
            about: "The workflow that runs while the call is live.",
        },
        Parameter {
            name: "maxDuration",
            aliases: &[],
            shape: Shape::Seconds { min: 1_000, max: DURATION_MS_MAX },
            required: false,
            about: "The call is ended after this time; 4 hours by default.",
        },
    ],
    hands_call_on: true,
};

/// The network itself ends calls after a day.
const DURATION_MS_MAX: u64 = 24 * 3_600_000;
