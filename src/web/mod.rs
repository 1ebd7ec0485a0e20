//! What HTTP sees of Holdline: routes, their refusals, and who may use them.

pub mod auth;
pub mod control;
mod dashboard;
pub mod ledger;
pub mod own_server;
pub mod page;
pub mod problem;
pub mod public;
pub mod query;
pub mod recordings;
pub mod route;
