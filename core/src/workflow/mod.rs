//! A main workflow around a run.
