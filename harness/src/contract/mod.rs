//! What every implementation of a port must pass to exist: ours, and yours.

pub mod journal;
