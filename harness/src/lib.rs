//! A pretend world: phone network, callers, stages, contracts.

pub mod network;
