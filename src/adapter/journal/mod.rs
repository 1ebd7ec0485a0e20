//! Stores for facts, one file each. What every one of them must do is held by the contract in the harness.
//!
//! | file | what it knows |
//! |---|---|
//! | [`sled`] | the journal over an embedded store |
//! | `sled_open.rs` | opening it: locks, damage, quarantine |
//! | `sled_rows.rs` | how a story becomes rows, and rows a story |
//! | `sled_pack.rs` | how a story that is over is kept small |
//! | `sled_copy.rs` | a whole store as one file, and back |

pub mod sled;
mod sled_copy;
mod sled_open;
mod sled_pack;
mod sled_rows;

pub use sled_copy::{export, import};
pub use sled_open::OpenError;
