//! The actors' ports made real: disk, network, programs.

pub mod instance;
