//! Holdline: the call-session runtime. This crate is where it runs: configuration, listeners, command line.

pub mod action;
pub mod adapter;
pub mod builder;
pub mod calls;
pub mod cli;
pub mod config;
mod desk;
mod directory;
pub mod flows;
mod metrics;
pub mod placing;
pub mod runtime;
pub mod serve;
pub mod speech;
pub mod telemetry;
mod trace;
pub mod web;

pub use builder::{Builder, Flows, NotStarted};
pub use calls::{Call, Calls, When};
pub use config::{Config, Sources};
pub use placing::{NotPlaced, Wish};
pub use runtime::Runtime;
pub use serve::on_connect;
pub use web::problem::{Code, Problem};
