//! Stores for facts. What every journal must do is held by the contract in the harness.
//!
//! | file | what it knows |
//! |---|---|
//! | `disk.rs` | the journal on disk: a store, and a log ahead of it |
//! | `ahead.rs` | the log ahead of the store: one write and one sync for a batch |
//! | `pen.rs` | the writing hand: first the log, then the store |
//! | `rows.rs` | how a story becomes rows, and rows a story |
//! | `pack.rs` | how a story that is over is kept small |
//! | `store.rs` | what is asked of a store, and the list of those that there are |
//! | `sqlite.rs`, `sled.rs` | the stores |
//! | `open.rs` | opening one: locks, damage, quarantine, moving into another one |
//! | `copy.rs` | a whole store as one file, and back |

mod ahead;
mod copy;
mod disk;
mod open;
mod pack;
mod pen;
mod rows;
mod sled;
mod sqlite;
mod store;

pub use copy::{export, import};
pub use disk::DiskJournal;
pub use open::OpenError;
pub use store::StoreKind;
