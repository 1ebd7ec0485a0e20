//! A voice of your own: [`Builder::speech`](crate::Builder::speech) takes it instead of `[speech] voice`.
//!
//! With one, a workflow's `talk` is heard on the media stream; without one the phone network speaks. What it says is
//! decoded, resampled to the telephone's 8000 Hz and cached by the runtime, so a voice is little more than one request:
//!
//! ```
//! use futures::future::BoxFuture;
//! use holdline::action::ErrorClass;
//! use holdline::speech::{Saying, Speech, Spoken};
//!
//! /// Says everything in the same second of silence.
//! struct Shy;
//!
//! impl Speech for Shy {
//!     fn speak(&self, _: Saying) -> BoxFuture<'static, Result<Spoken, (ErrorClass, String)>> {
//!         Box::pin(async { Ok(Spoken::Ulaw(vec![0xFF; 8000])) })
//!     }
//! }
//! # holdline_harness::contract::speech::check(&|| Box::new(Shy));
//! ```
//!
//! `holdline_harness::contract::speech::check` says whether it keeps what every voice must keep: what it gives can be
//! decoded, longer texts take longer, hostile ones hurt nobody, and whoever stops waiting leaves nothing behind.

pub use holdline_actors::port::speech::{Saying, Speech, Spoken};
