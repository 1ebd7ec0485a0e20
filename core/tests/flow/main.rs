//! Stories of runs: what a caller, the network and the clock do to a flow, and what the flow does then.

mod anything;
mod control;
mod line;
mod nesting;
mod stage;
mod stream;
mod world;
