//! What carries a stream's bytes. Carriers only move them: whoever may come in is decided by [`crate::door`], what is
//! said on a stream by the session.
//!
//! | carrier | for |
//! |---|---|
//! | [`raw`] | the server of its own: it takes the connection out of HTTP, and gives it to its session as a [`mod@line`] |
//! | [`web_actor`] | any actix-web app: the socket stays the body of an HTTP response |

pub mod endpoint;
pub mod line;
pub mod raw;
pub mod reading;
pub mod web_actor;
