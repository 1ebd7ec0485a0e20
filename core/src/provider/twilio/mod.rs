//! Twilio and compatible networks: their forms, documents, stream messages and signatures, translated into our own
//! words and back. Everything here is a pure function of its arguments; who is asked for what is decided elsewhere.

pub mod account;
pub mod form;
#[doc(hidden)]
pub mod fuzz;
pub mod rest;
pub mod signature;
pub mod ssml;
pub mod status;
pub mod stream;
pub mod token;
pub mod twiml;
pub mod webhook;
