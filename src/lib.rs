//! Holdline: the call-session runtime. This crate is where it runs: configuration, listeners, command line.

pub mod adapter;
pub mod cli;
pub mod config;
mod desk;
mod directory;
pub mod flows;
pub mod placing;
pub mod runtime;
pub mod serve;
pub mod telemetry;
pub mod web;
