//! Sound: G.711, WAV, resampling, tones, playout, recording. Pure.
//!
//! | file | what it knows |
//! |---|---|
//! | [`frame`] | 20 ms of µ-law audio, shared rather than copied |
//! | [`g711`] | µ-law and A-law, exact to the tables of the standard |
//! | [`wav`] | reading WAV files of any kind, writing (and repairing) the header of ours |
//! | [`resample`] | any rate to 8000 Hz, band-limited |
//! | [`level`] | how loud it is, while somebody looks |
//! | [`load`] | a sound file's bytes to what the phone network plays |
//! | [`tone`] | digits and beeps, and a detector that proves them |
//! | [`playout`] | one call's outbound audio: pace, marks, barge-in, stalls |
//! | [`recorder`] | both sides of a stream into one recording |
//! | [`window`] | inbound audio on credit: a slow listener loses the oldest |
//!
//! Whoever owns these machines tells the time, moves the bytes and writes the files.

pub mod frame;
pub mod g711;
pub mod level;
pub mod load;
pub mod playout;
pub mod recorder;
pub mod resample;
pub mod tone;
pub mod wav;
pub mod window;

pub use frame::{Audio, FRAME_BYTES, FRAME_MS, Frame, SAMPLE_RATE, SILENCE};
pub use playout::{How, Out, Playout, Report, SoundId, Source};

/// Entry points for fuzzing: any bytes in, never a panic.
#[doc(hidden)]
pub mod fuzz;
