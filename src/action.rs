//! Actions of your own: what documents may say beyond what the language knows.
//!
//! An action is one type. It declares its name and its parameters, which the parser, `check` and the schema go by; then
//! it *decides*, in [`Action::begin`] and [`Action::resume`], and answers with a [`Step`]. It never does anything by
//! itself: what it wants from the world it asks a service of your program for ([`Scene::ask`]), or another system
//! ([`Scene::fetch`]). So it is performed by the server, by a test in no time at all, and again after a crash, by the
//! same code (`tests/library.rs` runs this):
//!
//! ```rust,ignore
#![doc = include_str!("../examples/custom_action.rs")]
//! ```
//!
//! # What is promised to it
//!
//! - **The step is written down before anything is asked**, and what it gave before the next one begins. After a crash
//!   it begins again with what it remembered ([`Scene::memory`], the `memory` of [`Step::Wait`]); what it asked is
//!   asked again under the same idempotency key ([`ServiceCall::idempotency_key`]).
//! - **Its errors are the workflow's**: a [`Fault`] has a class, and `on_error`, `retry` and `timeout` of the document
//!   apply to it as to any other. What it declares as its [`Kind`] decides what happens without them.
//! - **Its output is a variable** under the action's `name`, within the limits that every variable has.
//! - It stands in the history, the timeline and the API as any other does.
//!
//! # What it must keep
//!
//! It reads no clock (there is [`Scene::now`]) and throws no dice, or a crash would lead elsewhere than the first time.
//! `holdline_harness::contract::action` tries all of it: every crash, every error, every interruption.

pub use holdline_actors::port::service::{Failed, Service};
pub use holdline_core::document::Verb;
pub use holdline_core::flow::Vocabulary;
pub use holdline_core::flow::action::{Action, Done, Fault, Happened, Parameters, Road, Scene, Step, Want};
pub use holdline_core::flow::declare::{Declared, Kind, Parameter, Shape};
pub use holdline_core::flow::schema::schema_of;
pub use holdline_core::flow::trigger::Declared as Trigger;
pub use holdline_core::flow::vocabulary::Unfit;
pub use holdline_core::http::ServiceCall;
pub use holdline_core::scene::ErrorClass;
