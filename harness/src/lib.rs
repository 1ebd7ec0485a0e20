//! A pretend world: phone network, callers, stages, contracts.
//!
//! - [`Story`] is a call as a test: what the caller does and what must come of it, in virtual time, with the actions and
//!   services of your own program ([`Own`]).
//! - [`contract`] says whether an action, a store or a voice of your own keeps what ours keep.
//! - [`perform_file`] is what `holdline test` does with a file.
//!
//! A call transcript (`.call`, [`transcript`]) is performed by one player ([`play`]) on either of two stages
//! ([`stage`]): the bare machines, or the real actors under paused time. Both must tell the same story.

#![warn(missing_docs)]

pub mod contract;
#[doc(hidden)]
pub mod network;
mod own;
#[doc(hidden)]
pub mod play;
pub mod report;
#[doc(hidden)]
pub mod sim;
#[doc(hidden)]
pub mod stage;
mod story;
#[doc(hidden)]
pub mod transcript;

pub use own::Own;
pub use report::{Options, Outcome, Report, perform_file, perform_text};
pub use story::{Story, Told, Untold};
