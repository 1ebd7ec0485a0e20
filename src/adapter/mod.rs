//! Ports made real: what an actor needs from the world, done with the world's own means.

pub mod journal;
