//! The pretend phone network: fetches documents, performs them, opens streams, signs, repeats and reorders callbacks.
//!
//! It is written from the network's published protocol and shares no code with the server's side of it: one mistake
//! made twice, once on each side, would pass every test. [`Line`] is one call as a plain machine; what owns it brings
//! the time, the requests and the sockets, be they real or of a play.

mod ask;
mod callback;
pub mod caller;
mod conference;
mod config;
mod date;
mod dial;
mod effect;
mod line;
pub mod message;
mod perform;
pub mod playout;
mod queue;
mod reader;
pub mod real;
pub mod rest;
mod schema;
pub mod sign;
mod stream;
mod summary;
pub mod switchboard;
pub mod tone;
pub mod twiml;
pub mod url;
pub mod xml;

pub use caller::{Act, Moment, Script, When};
pub use config::{Answers, FarEnd, Faults, LineConfig, Media, OnAbruptClose, Party, StatusEvent};
pub use effect::{Effect, Experience, Input, Reply, Request, RequestId, SocketId, Status};
pub use line::Line;
pub use twiml::Method;
