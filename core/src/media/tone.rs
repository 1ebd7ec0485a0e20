//! Tones as µ-law at 8000 Hz: touch-tone digits and the beep; and a small detector that proves digits in tests.

use std::f64::consts::TAU;

use super::frame::{SAMPLE_RATE, SILENT_BYTE};
use super::g711::linear_to_ulaw;

/// Digits of one `digits_send`.
pub const DIGITS_SEND_MAX: usize = 100;
/// A `w` among the digits.
pub const WAIT_MS: u32 = 500;
/// What a beep is unless somebody says otherwise.
pub const BEEP_HZ: u32 = 1000;
pub const BEEP_MS: u32 = 500;
/// What a beep may be: lower is no sound, higher is beyond what a telephone carries.
pub const BEEP_HZ_MIN: u32 = 20;
pub const BEEP_HZ_MAX: u32 = 3400;
/// A beep longer than this is a mistake.
pub const BEEP_MS_MAX: u32 = 60_000;

const DURATION_MS: std::ops::RangeInclusive<u32> = 100..=1000;
const INTERVAL_MS_MAX: u32 = 5000;
/// The edge of every tone, long enough against clicks, short against the 40 ms that detectors ask for.
const RAMP_SAMPLES: usize = 40;
/// Amplitude of a sine at 0 dBm0: the full scale of µ-law is +3.17 dBm0.
const ZERO_DBM0: f64 = 32_124.0 / 1.440_4;

const ROWS: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];
/// Together -10 dBm0; the upper tone 2 dB stronger, because lines swallow the upper end.
const ROW_DBM0: f64 = -14.0;
const COLUMN_DBM0: f64 = -12.0;
const BEEP_DBM0: f64 = -12.0;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ToneError {
    #[error("a digit must be one of 0-9, A-D, #, * or w (a wait), but place {place} is {found:?}")]
    Digit { place: usize, found: char },
    #[error("at most {DIGITS_SEND_MAX} digits can be sent at once, not {0}")]
    TooMany(usize),
    #[error("a digit must sound for 100 to 1000 ms, not {0}")]
    Duration(u32),
    #[error("the interval between digits must be at most {INTERVAL_MS_MAX} ms, not {0}")]
    Interval(u32),
    #[error(
        "a beep must be of {BEEP_HZ_MIN} to {BEEP_HZ_MAX} Hz and at most {BEEP_MS_MAX} ms, not {hz} Hz and {ms} ms"
    )]
    Beep { hz: u32, ms: u32 },
}

/// Digits as in-band tones. The interval stands between digits only; a `w` is 500 ms of silence in its place.
pub fn digits(digits: &str, duration_ms: u32, interval_ms: u32) -> Result<Vec<u8>, ToneError> {
    let count = digits.chars().count();
    if count > DIGITS_SEND_MAX {
        return Err(ToneError::TooMany(count));
    }
    if !DURATION_MS.contains(&duration_ms) {
        return Err(ToneError::Duration(duration_ms));
    }
    if interval_ms > INTERVAL_MS_MAX {
        return Err(ToneError::Interval(interval_ms));
    }
    let mut sound = Vec::new();
    let mut after_digit = false;
    for (place, found) in digits.chars().enumerate() {
        let key = found.to_ascii_uppercase();
        if key == 'W' {
            silence(WAIT_MS, &mut sound);
            after_digit = false;
            continue;
        }
        let (row, column) = pair(key).ok_or(ToneError::Digit { place: place + 1, found })?;
        if after_digit {
            silence(interval_ms, &mut sound);
        }
        tone(&[(row, ROW_DBM0), (column, COLUMN_DBM0)], duration_ms, &mut sound);
        after_digit = true;
    }
    Ok(sound)
}

pub fn beep(hz: u32, ms: u32) -> Result<Vec<u8>, ToneError> {
    if !(BEEP_HZ_MIN..=BEEP_HZ_MAX).contains(&hz) || ms > BEEP_MS_MAX {
        return Err(ToneError::Beep { hz, ms });
    }
    let mut sound = Vec::new();
    tone(&[(f64::from(hz), BEEP_DBM0)], ms, &mut sound);
    Ok(sound)
}

fn pair(key: char) -> Option<(f64, f64)> {
    KEYS.iter().zip(ROWS).find_map(|(keys, row)| {
        let (_, column) = keys.iter().zip(COLUMNS).find(|(here, _)| **here == key)?;
        Some((row, column))
    })
}

fn samples(ms: u32) -> usize {
    (u64::from(ms) * u64::from(SAMPLE_RATE) / 1000) as usize
}

fn silence(ms: u32, sound: &mut Vec<u8>) {
    sound.resize(sound.len() + samples(ms), SILENT_BYTE);
}

fn tone(parts: &[(f64, f64)], ms: u32, sound: &mut Vec<u8>) {
    let length = samples(ms);
    let amplitude = |dbm0: f64| ZERO_DBM0 * 10f64.powf(dbm0 / 20.0);
    sound.extend((0..length).map(|at| {
        let time = at as f64 / f64::from(SAMPLE_RATE);
        let sum: f64 = parts.iter().map(|&(hz, dbm0)| amplitude(dbm0) * (TAU * hz * time).sin()).sum();
        let from_edge = at.min(length - 1 - at);
        let ramp = if from_edge >= RAMP_SAMPLES {
            1.0
        } else {
            0.5 - 0.5 * (TAU / 2.0 * from_edge as f64 / RAMP_SAMPLES as f64).cos()
        };
        linear_to_ulaw((sum * ramp).round() as i16)
    }));
}

/// Reads the digits out of 8000 Hz audio: for tests and the pretend caller, not for a noisy line.
///
/// Windows of 205 samples (25.6 ms) every 10 ms; a digit must fill two windows in a row, and must pause before the
/// same one counts again.
pub fn detect_digits(audio: &[i16]) -> String {
    let mut found = String::new();
    let (mut last, mut counted) = (None, None);
    for window in audio.windows(DETECT_WINDOW).step_by(DETECT_STEP) {
        let here = digit_in(window);
        if here.is_none() {
            counted = None;
        } else if here == last && here != counted {
            counted = here;
            found.extend(here);
        }
        last = here;
    }
    found
}

const DETECT_WINDOW: usize = 205;
const DETECT_STEP: usize = 80;
/// Mean square below which a window is silence: about -40 dBm0.
const DETECT_FLOOR: f64 = 25_000.0;
/// The share of a window's energy that must lie in the two tones.
const DETECT_SHARE: f64 = 0.7;
/// How far apart (as powers) the two tones may be: 9 dB.
const DETECT_TWIST: f64 = 8.0;

fn digit_in(window: &[i16]) -> Option<char> {
    let length = window.len() as f64;
    let energy = window.iter().map(|&sample| f64::from(sample).powi(2)).sum::<f64>() / length;
    if energy < DETECT_FLOOR {
        return None;
    }
    let strongest = |tones: &[f64; 4]| {
        let powers = tones.map(|hz| power_at(window, hz));
        let mut best = (0, 0.0);
        for (index, power) in powers.into_iter().enumerate() {
            if power > best.1 {
                best = (index, power);
            }
        }
        best
    };
    let (row, row_power) = strongest(&ROWS);
    let (column, column_power) = strongest(&COLUMNS);
    let balanced = row_power < column_power * DETECT_TWIST && column_power < row_power * DETECT_TWIST;
    let pure = row_power + column_power > energy * DETECT_SHARE;
    if balanced && pure { KEYS.get(row)?.get(column).copied() } else { None }
}

/// Mean square of the part of `audio` that is a sine of `hz` (Goertzel).
pub fn power_at(audio: &[i16], hz: f64) -> f64 {
    let step = TAU * hz / f64::from(SAMPLE_RATE);
    let factor = 2.0 * step.cos();
    let (mut one, mut two) = (0.0, 0.0);
    for &sample in audio {
        (one, two) = (f64::from(sample) + factor * one - two, one);
    }
    let length = (audio.len() as f64).max(1.0);
    2.0 * (one * one + two * two - factor * one * two) / (length * length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::g711::decode_ulaw;

    fn linear(sound: &[u8]) -> Vec<i16> {
        let mut samples = Vec::new();
        decode_ulaw(sound, &mut samples);
        samples
    }

    #[test]
    fn every_digit_is_heard_again_after_mu_law() {
        let all = "0123456789ABCD#*";
        let doubled: String = all.chars().flat_map(|digit| [digit, digit]).collect();
        let sound = digits(&doubled, 100, 60).unwrap();
        assert_eq!(detect_digits(&linear(&sound)), doubled);
        assert_eq!(sound.len(), 32 * 800 + 31 * 480);
    }

    #[test]
    fn a_wait_is_half_a_second_of_silence_and_small_letters_are_digits_too() {
        let sound = digits("1wa", 250, 100).unwrap();
        assert_eq!(sound.len(), 2000 + 4000 + 2000);
        assert!(sound[2000..6000].iter().all(|&byte| byte == SILENT_BYTE));
        assert_eq!(detect_digits(&linear(&sound)), "1A");
    }

    #[test]
    fn what_cannot_be_sent_is_refused_with_its_place() {
        assert_eq!(digits("12x", 250, 100), Err(ToneError::Digit { place: 3, found: 'x' }));
        assert_eq!(digits(&"1".repeat(101), 250, 100), Err(ToneError::TooMany(101)));
        assert_eq!(digits("1", 99, 100), Err(ToneError::Duration(99)));
        assert_eq!(digits("1", 100, 5001), Err(ToneError::Interval(5001)));
        assert!(beep(4000, 500).is_err());
    }

    #[test]
    fn a_beep_is_one_clean_tone_that_begins_and_ends_softly() {
        let sound = linear(&beep(BEEP_HZ, BEEP_MS).unwrap());
        assert_eq!(sound.len(), 4000);
        let middle = &sound[400..3600];
        let energy = middle.iter().map(|&s| f64::from(s).powi(2)).sum::<f64>() / middle.len() as f64;
        let level = 10.0 * (energy * 2.0 / ZERO_DBM0.powi(2)).log10();
        assert!((level - BEEP_DBM0).abs() < 0.2, "{level} dBm0");
        assert!(power_at(middle, 1000.0) > 0.99 * energy);
        let step = |pair: &[i16]| (i32::from(pair[0]) - i32::from(pair[1])).abs();
        assert!(sound[..8].windows(2).all(|pair| step(pair) < 400), "{:?}", &sound[..8]);
        assert!(sound[3992..].windows(2).all(|pair| step(pair) < 400), "{:?}", &sound[3992..]);
        assert_eq!(detect_digits(&sound), "", "a beep is no digit");
    }
}
