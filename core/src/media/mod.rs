//! Sound: G.711, WAV, resampling, tones, playout, recording. Pure.
