//! The actors' ports made real: disk, network, programs.

pub mod audio;
pub mod http;
pub mod instance;
pub mod journal;
pub mod recordings;
pub mod services;
pub mod world;

#[cfg(test)]
mod test_server;
