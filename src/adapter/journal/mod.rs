//! Stores for facts, one file each. What every one of them must do is held by the contract in the harness.
//!
//! | file | what it knows |
//! |---|---|
//! | [`sled`] | the journal over an embedded store |
//! | `ahead.rs` | the log ahead of the store: one write and one sync for a batch |
//! | `sled_open.rs` | opening it: locks, damage, quarantine |
//! | `sled_pen.rs` | the writing hand: first the log, then the store |
//! | `sled_rows.rs` | how a story becomes rows, and rows a story |
//! | `sled_pack.rs` | how a story that is over is kept small |
//! | `sled_copy.rs` | a whole store as one file, and back |

mod ahead;
pub mod sled;
mod sled_copy;
mod sled_open;
mod sled_pack;
mod sled_pen;
mod sled_rows;

pub use sled_copy::{export, import};
pub use sled_open::OpenError;
