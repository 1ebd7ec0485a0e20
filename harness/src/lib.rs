//! A pretend world: phone network, callers, stages, contracts.

pub mod contract;
pub mod network;
