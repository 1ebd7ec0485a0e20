//! What every implementation of a port must pass to exist: ours, and yours.
//!
//! | what you wrote | what says whether it is one |
//! |---|---|
//! | an action ([`Action`](holdline_core::flow::action::Action)) | [`action::check`] |
//! | a store ([`Journal`](holdline_actors::port::journal::Journal)) | [`journal::check`] |
//! | a voice ([`Speech`](holdline_actors::port::speech::Speech)) | [`speech::check`] |

pub mod action;
pub mod journal;
pub mod speech;
