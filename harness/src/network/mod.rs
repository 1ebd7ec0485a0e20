//! The pretend phone network: fetches documents, performs them, opens streams, signs, repeats and reorders callbacks.
//!
//! It is written from the network's published protocol and shares no code with the server's side of it: one mistake
//! made twice, once on each side, would pass every test.

pub mod message;
pub mod sign;
mod summary;
pub mod twiml;
pub mod url;
pub mod xml;
