//! The phone network's own words. One folder a provider, all pure.

pub mod twilio;
