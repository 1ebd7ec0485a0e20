//! A pretend world: phone network, callers, stages, contracts.
//!
//! A call transcript (`.call`, [`transcript`]) is performed by one player ([`play`]) on either of two stages
//! ([`stage`]): the bare machines, or the real actors under paused time. Both must tell the same story.

pub mod contract;
pub mod network;
pub mod own;
pub mod play;
pub mod report;
pub mod sim;
pub mod stage;
pub mod story;
pub mod transcript;

pub use own::Own;
pub use report::{Options, Outcome, Report, perform_file, perform_text};
pub use story::{Story, Told, Untold};
