//! Any rate to 8000 Hz, band-limited.
//!
//! The work is done by an FFT resampler in blocks; here its delay is taken off again and the length made exact, so
//! that a sound begins and ends where it did.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler};

use super::frame::SAMPLE_RATE;
use super::g711::linear_to_ulaw;
use super::wav::{RATE_MAX, RATE_MIN, Sound};

/// Samples of one block on its slower side. The longer, the steeper the filter's edge: with 1024 it passes up to
/// 3.9 of 4 kHz.
const BLOCK: u32 = 1024;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResampleError {
    #[error("the sample rate must be {RATE_MIN} to {RATE_MAX} Hz, not {0}")]
    Rate(u32),
    #[error("the resampler refused {rate} Hz: {why}")]
    Refused { rate: u32, why: String },
}

/// How many samples `count` samples at `rate` become.
pub fn length_at_8k(count: usize, rate: u32) -> usize {
    let rate = u64::from(rate.max(1));
    ((count as u64 * u64::from(SAMPLE_RATE) + rate / 2) / rate) as usize
}

/// The sound as the phone network plays it.
pub fn to_ulaw_8k(sound: &Sound) -> Result<Vec<u8>, ResampleError> {
    let mut bytes = Vec::with_capacity(length_at_8k(sound.samples.len(), sound.rate));
    at_8k(sound, |samples| {
        bytes.extend(samples.iter().map(|&sample| linear_to_ulaw(to_16_bits(sample))));
    })?;
    Ok(bytes)
}

/// The sound at 8000 Hz, full scale at ±1.
pub fn to_8k(sound: &Sound) -> Result<Vec<f32>, ResampleError> {
    let mut out = Vec::with_capacity(length_at_8k(sound.samples.len(), sound.rate));
    at_8k(sound, |samples| out.extend_from_slice(samples))?;
    Ok(out)
}

/// Rounds, and clips what a filter let swing over full scale.
fn to_16_bits(sample: f32) -> i16 {
    (sample * 32_768.0).round() as i16
}

/// Hands the resampled sound to `take` block by block, so that only the result is ever held whole.
fn at_8k(sound: &Sound, mut take: impl FnMut(&[f32])) -> Result<(), ResampleError> {
    if !(RATE_MIN..=RATE_MAX).contains(&sound.rate) {
        return Err(ResampleError::Rate(sound.rate));
    }
    if sound.rate == SAMPLE_RATE {
        take(&sound.samples);
        return Ok(());
    }
    let refused = |why: String| ResampleError::Refused { rate: sound.rate, why };
    let mut resampler = Fft::<f32>::new_custom(
        sound.rate as usize,
        SAMPLE_RATE as usize,
        block_in(sound.rate),
        1,
        1,
        rubato::WindowFunction::BlackmanHarris2,
        FixedSync::Both,
    )
    .map_err(|error| refused(error.to_string()))?;
    let (count_in, count_out) = (resampler.input_frames_max(), resampler.output_frames_max());
    let mut block = vec![0.0; count_in];
    let mut done = vec![0.0; count_out];
    // The first samples that come out belong to before the beginning; after the end, silence pushes the last ones out.
    let mut early = resampler.output_delay();
    let mut missing = length_at_8k(sound.samples.len(), sound.rate);
    let mut rest = sound.samples.as_slice();
    while missing > 0 {
        let (now, later) = rest.split_at(rest.len().min(count_in));
        rest = later;
        block.fill(0.0);
        for (to, from) in block.iter_mut().zip(now) {
            *to = *from;
        }
        let from = InterleavedSlice::new(&block, 1, count_in).map_err(|error| refused(error.to_string()))?;
        let mut to =
            InterleavedSlice::new_mut(&mut done, 1, count_out).map_err(|error| refused(error.to_string()))?;
        resampler.process_into_buffer(&from, &mut to, None).map_err(|error| refused(error.to_string()))?;
        let skipped = early.min(done.len());
        early -= skipped;
        let fresh = done.get(skipped..).unwrap_or_default();
        let fresh = fresh.get(..missing.min(fresh.len())).unwrap_or_default();
        missing -= fresh.len();
        take(fresh);
    }
    Ok(())
}

/// Samples of one block on the input side, such that both sides have at least [`BLOCK`].
fn block_in(rate: u32) -> usize {
    let common = greatest_common_divisor(rate, SAMPLE_RATE);
    let (unit_in, unit_out) = (rate / common, SAMPLE_RATE / common);
    // An even number: half a block is the delay, and half a sample could not be taken off.
    let units = BLOCK.div_ceil(unit_in.min(unit_out)).next_multiple_of(2);
    (unit_in * units) as usize
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::media::g711::decode_ulaw;
    use crate::media::tone::power_at;

    fn sine(hz: f64, rate: u32, count: usize) -> Sound {
        let sample = |at: usize| (0.5 * (TAU * hz * at as f64 / f64::from(rate)).sin()) as f32;
        Sound { rate, samples: (0..count).map(sample).collect() }
    }

    fn mean_square(samples: &[f32]) -> f64 {
        samples.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / samples.len() as f64
    }

    fn decibels(ratio: f64) -> f64 {
        10.0 * ratio.log10()
    }

    #[test]
    fn a_tone_keeps_its_place_and_its_level_from_any_rate() {
        for rate in [44_100, 48_000, 16_000, 11_025, 22_050, 6_000, 96_000, 12_347] {
            let out = to_8k(&sine(1000.0, rate, rate as usize)).unwrap();
            assert_eq!(out.len(), 8000, "from {rate}");
            // Compared sample by sample with the same tone made at 8000 Hz: frequency, level and delay in one.
            let exact = sine(1000.0, 8000, 8000);
            let middle = 200..7800;
            let wrong: Vec<f32> =
                out[middle.clone()].iter().zip(&exact.samples[middle.clone()]).map(|(a, b)| a - b).collect();
            let wrong = decibels(mean_square(&wrong) / 0.125);
            assert!(wrong < -60.0, "from {rate}: {wrong} dB");
            assert!(decibels(mean_square(&out[middle]) / 0.125).abs() < 0.2, "from {rate}");
        }
    }

    #[test]
    fn speech_up_to_3400_hz_passes_and_what_8000_hz_cannot_bear_is_gone() {
        let kept = to_8k(&sine(3400.0, 48_000, 48_000)).unwrap();
        assert!(decibels(mean_square(&kept[200..7800]) / 0.125).abs() < 0.5);
        for hz in [4300.0, 5000.0, 7000.0, 12_000.0] {
            let gone = to_8k(&sine(hz, 48_000, 48_000)).unwrap();
            assert!(decibels(mean_square(&gone[200..7800]) / 0.125) < -60.0, "{hz} Hz");
        }
    }

    #[test]
    fn the_length_is_exact_however_short() {
        let usual = [1000, 7999, 8000, 11_025, 44_100, 48_000];
        let usual =
            usual.into_iter().flat_map(|rate| [0usize, 1, 2, 7, 160, 441, 5000].map(|count| (rate, count)));
        // The worst of all rates: it shares no factor with 8000.
        for (rate, count) in usual.chain([(383_999, 100_000)]) {
            let out = to_ulaw_8k(&sine(300.0, rate, count)).unwrap();
            let exact = (count as f64 * 8000.0 / f64::from(rate)).round() as usize;
            assert_eq!(out.len(), exact, "{count} samples at {rate} Hz");
        }
        assert_eq!(to_ulaw_8k(&sine(300.0, 999, 10)), Err(ResampleError::Rate(999)));
    }

    #[test]
    fn a_sound_that_begins_and_ends_softly_has_no_click_at_its_ends() {
        let mut sound = sine(440.0, 44_100, 44_100);
        for at in 0..2205 {
            let ramp = at as f32 / 2205.0;
            sound.samples[at] *= ramp;
            sound.samples[44_099 - at] *= ramp;
        }
        let out = to_8k(&sound).unwrap();
        let step = |pair: &[f32]| (pair[0] - pair[1]).abs();
        assert!(out[..40].windows(2).chain(out[7960..].windows(2)).all(|pair| step(pair) < 0.03));
        assert!(out[0].abs() < 0.01 && out[7999].abs() < 0.01);
    }

    #[test]
    fn mu_law_of_a_full_scale_tone_is_clipped_and_never_wraps() {
        let mut sound = sine(1000.0, 44_100, 44_100);
        sound.samples.iter_mut().for_each(|sample| *sample = (*sample * 8.0).clamp(-1.0, 1.0));
        let mut samples = Vec::new();
        decode_ulaw(&to_ulaw_8k(&sound).unwrap(), &mut samples);
        let energy = samples.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / samples.len() as f64;
        // A clipped tone is nearly a square wave: four fifths of it at its own frequency. A wrapped one is noise.
        assert!(power_at(&samples[800..7200], 1000.0) > 0.75 * energy);
    }
}
