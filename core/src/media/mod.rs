//! Sound: G.711, WAV, resampling, tones, playout, recording. Pure.
//!
//! | file | what it knows |
//! |---|---|
//! | [`frame`] | 20 ms of µ-law audio, shared rather than copied |
//! | [`g711`] | µ-law and A-law, exact to the tables of the standard |
//! | [`tone`] | digits and beeps, and a detector that proves them |
//!
//! Whoever owns these machines tells the time, moves the bytes and writes the files.

pub mod frame;
pub mod g711;
pub mod tone;

pub use frame::{FRAME_BYTES, FRAME_MS, Frame, SAMPLE_RATE, SILENCE};
