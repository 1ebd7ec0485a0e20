//! What carries a stream's bytes. Carriers only move them: whoever may come in is decided by [`crate::door`], what is
//! said on a stream by the session.

pub mod reading;
pub mod web_actor;
