//! A stage for whole calls, and doors for fuzz targets and property tests: any inputs in, in any order, and what must
//! always hold is checked after each.
//!
//! Not part of the house: nothing here runs in production.

mod inputs;
mod journal;
mod stage;

pub use inputs::{FLOWS, Move, fuzz_call_inputs, moves, perform};
pub use journal::fuzz_journal;
pub use stage::{Stage, brief, script, stage_config};

pub use crate::flow::fuzz::{fuzz_document, fuzz_expression, fuzz_fetched};
pub use crate::media::fuzz::{fuzz_sound_file, fuzz_wav};
pub use crate::provider::twilio::fuzz::{fuzz_form, fuzz_signature, fuzz_stream_text};
