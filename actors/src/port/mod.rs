//! What the actors need from the world, as traits. Each is made real in one file elsewhere.

pub mod audio;
pub mod http;
pub mod journal;
pub mod recording;
pub mod service;
pub mod speech;
