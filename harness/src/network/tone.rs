//! Sound for pretend callers, small and on its own: G.711 µ-law by its formula, tones, keys, and an ear that tells
//! silence, sound and keys apart.

use std::f64::consts::TAU;
use std::time::Duration;

/// µ-law silence.
pub const SILENCE: u8 = 0xFF;
const RATE: f64 = 8000.0;
const LOW: [f64; 4] = [697.0, 770.0, 852.0, 941.0];
const HIGH: [f64; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

pub fn decode(byte: u8) -> i16 {
    let bits = !byte;
    let magnitude = ((i32::from(bits & 0x0F) << 3) + 0x84) << ((bits >> 4) & 7);
    let value = i16::try_from(magnitude - 0x84).unwrap_or(i16::MAX);
    if bits & 0x80 == 0 { value } else { -value }
}

pub fn encode(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(32_635) + 0x84;
    // The leading one stands at bit 7 to 14.
    let exponent = (24 - magnitude.leading_zeros().min(24)).min(7) as i32;
    let mantissa = (magnitude >> (exponent + 3)) & 0x0F;
    let sign = if sample < 0 { 0x80 } else { 0 };
    !u8::try_from(sign | (exponent << 4) | mantissa).unwrap_or(0)
}

/// A pure tone, at a third of full scale.
pub fn tone(hertz: f64, length: Duration) -> Vec<u8> {
    mixed(&[hertz], length)
}

/// Keys as a telephone sends them in the sound: 100 ms each, 100 ms apart.
pub fn keys(digits: &str) -> Vec<u8> {
    let mut audio = Vec::new();
    for digit in digits.chars() {
        let place = KEYS.iter().enumerate().find_map(|(row, keys)| {
            keys.iter()
                .position(|key| *key == digit)
                .and_then(|column| Some((LOW.get(row)?, HIGH.get(column)?)))
        });
        if let Some((low, high)) = place {
            audio.extend(mixed(&[*low, *high], Duration::from_millis(100)));
            audio.extend([SILENCE; 800]);
        }
    }
    audio
}

fn mixed(frequencies: &[f64], length: Duration) -> Vec<u8> {
    let samples = (length.as_secs_f64() * RATE) as usize;
    (0..samples)
        .map(|place| {
            let time = place as f64 / RATE;
            let sum: f64 = frequencies.iter().map(|hertz| (TAU * hertz * time).sin()).sum();
            encode((sum / frequencies.len() as f64 * 10_000.0) as i16)
        })
        .collect()
}

/// Listens to one stretch of sound.
#[derive(Debug, Default)]
pub struct Ear {
    block: Vec<f64>,
    bytes: u64,
    is_loud: bool,
    digits: String,
    last: Option<char>,
    /// The key that is sounding and was already written down.
    written: Option<char>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub ms: u64,
    /// False when it was all silence.
    pub loud: bool,
    pub digits: String,
}

/// 20 ms: two in a row make a key.
const BLOCK: usize = 160;
/// About -40 dBFS.
const LOUD: i16 = 300;
/// More than that is no dialling any more.
const DIGITS_MAX: usize = 200;

impl Ear {
    pub fn listen(&mut self, audio: &[u8]) {
        self.bytes += audio.len() as u64;
        for byte in audio {
            let sample = decode(*byte);
            self.is_loud |= sample.unsigned_abs() > LOUD.unsigned_abs();
            self.block.push(f64::from(sample));
            if self.block.len() == BLOCK {
                let key = key_in(&self.block);
                self.block.clear();
                if key != self.written {
                    self.written = None;
                }
                if let Some(digit) = key.filter(|_| key == self.last && self.written.is_none())
                    && self.digits.len() < DIGITS_MAX
                {
                    self.digits.push(digit);
                    self.written = key;
                }
                self.last = key;
            }
        }
    }

    /// What was heard since the last time; nothing if there was no sound at all.
    pub fn finish(&mut self) -> Option<Heard> {
        let ear = std::mem::take(self);
        (ear.bytes > 0).then_some(Heard { ms: ear.bytes / 8, loud: ear.is_loud, digits: ear.digits })
    }
}

fn key_in(block: &[f64]) -> Option<char> {
    let total: f64 = block.iter().map(|sample| sample * sample).sum();
    if total < f64::from(LOUD) * f64::from(LOUD) * block.len() as f64 {
        return None;
    }
    let (row, low) = strongest(block, &LOW)?;
    let (column, high) = strongest(block, &HIGH)?;
    // Two tones of the keypad hold nearly all of the energy, in about equal parts; speech never does.
    let share = |power: f64| power * 2.0 / (total * block.len() as f64);
    let both = share(low) > 0.25 && share(high) > 0.25 && share(low) + share(high) > 0.7;
    if both { KEYS.get(row).and_then(|keys| keys.get(column)).copied() } else { None }
}

fn strongest(block: &[f64], frequencies: &[f64]) -> Option<(usize, f64)> {
    frequencies
        .iter()
        .map(|hertz| goertzel(block, *hertz))
        .enumerate()
        .max_by(|(_, left), (_, right)| left.total_cmp(right))
}

fn goertzel(block: &[f64], hertz: f64) -> f64 {
    let factor = 2.0 * (TAU * hertz / RATE).cos();
    let (mut one, mut two) = (0.0, 0.0);
    for sample in block {
        (one, two) = (sample + factor * one - two, one);
    }
    one * one + two * two - factor * one * two
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WavError {
    #[error("expected a RIFF/WAVE file")]
    NotWav,
    #[error(
        "expected 8000 Hz mono, 16-bit PCM or µ-law, got format {format}, {channels} channels, {rate} Hz, {bits} bits"
    )]
    Format { format: u16, channels: u16, rate: u32, bits: u16 },
    #[error("expected a fmt and a data chunk")]
    Chunks,
}

/// A caller's recording as µ-law. Nothing is resampled here: a pretend caller brings telephone sound.
pub fn read_wav(file: &[u8]) -> Result<Vec<u8>, WavError> {
    if file.get(0..4) != Some(b"RIFF") || file.get(8..12) != Some(b"WAVE") {
        return Err(WavError::NotWav);
    }
    let short = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 2).and_then(|pair| pair.try_into().ok()).map(u16::from_le_bytes)
    };
    let long = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes)
    };
    let mut format = None;
    let mut at = 12;
    while let (Some(name), Some(size)) = (file.get(at..at + 4), long(file, at + 4)) {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let body = file.get(at + 8..).unwrap_or_default();
        let body = body.get(..size).unwrap_or(body);
        if name == b"fmt " {
            let (kind, channels, bits) = (short(body, 0), short(body, 2), short(body, 14));
            format = kind.zip(channels).zip(long(body, 4)).zip(bits);
        } else if name == b"data" {
            let Some((((format, channels), rate), bits)) = format else { return Err(WavError::Chunks) };
            return match (format, channels, rate, bits) {
                (7, 1, 8000, 8) => Ok(body.to_vec()),
                (1 | 0xFFFE, 1, 8000, 16) => Ok(body
                    .chunks_exact(2)
                    .filter_map(|pair| pair.try_into().ok())
                    .map(i16::from_le_bytes)
                    .map(encode)
                    .collect()),
                _ => Err(WavError::Format { format, channels, rate, bits }),
            };
        }
        at = at.saturating_add(8).saturating_add(size).saturating_add(size % 2);
    }
    Err(WavError::Chunks)
}

/// What was recorded, as a µ-law WAV file.
pub fn write_wav(audio: &[u8]) -> Vec<u8> {
    let size = u32::try_from(audio.len()).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(audio.len() + 58);
    file.extend(b"RIFF");
    file.extend(size.saturating_add(50).to_le_bytes());
    file.extend(b"WAVEfmt ");
    file.extend(18u32.to_le_bytes());
    for short in [7u16, 1] {
        file.extend(short.to_le_bytes());
    }
    file.extend(8000u32.to_le_bytes());
    file.extend(8000u32.to_le_bytes());
    for short in [1u16, 8, 0] {
        file.extend(short.to_le_bytes());
    }
    file.extend(b"fact");
    file.extend(4u32.to_le_bytes());
    file.extend(size.to_le_bytes());
    file.extend(b"data");
    file.extend(size.to_le_bytes());
    file.extend(audio);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_word_survives_but_the_second_zero() {
        for byte in 0..=255u8 {
            let again = encode(decode(byte));
            assert_eq!(again, if byte == 0x7F { 0xFF } else { byte }, "{byte:02x}");
        }
        assert_eq!((decode(0x00), decode(0x80), decode(0xFF)), (-32_124, 32_124, 0));
    }

    #[test]
    fn an_ear_hears_keys_and_tells_sound_from_silence() {
        let mut ear = Ear::default();
        ear.listen(&[SILENCE; 50]);
        ear.listen(&keys("1234567890*#55"));
        assert_eq!(ear.finish().map(|heard| heard.digits), Some("1234567890*#55".into()));
        ear.listen(&tone(440.0, Duration::from_millis(500)));
        assert_eq!(ear.finish(), Some(Heard { ms: 500, loud: true, digits: String::new() }));
        ear.listen(&[SILENCE; 80]);
        assert_eq!(ear.finish(), Some(Heard { ms: 10, loud: false, digits: String::new() }));
        assert_eq!(ear.finish(), None);
    }

    #[test]
    fn a_wav_file_reads_as_it_was_written() {
        let audio = tone(1000.0, Duration::from_millis(30));
        let file = write_wav(&audio);
        assert_eq!(read_wav(&file), Ok(audio));
        assert_eq!(u32::from_le_bytes(file[4..8].try_into().unwrap()) as usize + 8, file.len());
        assert_eq!(read_wav(b"RIFF"), Err(WavError::NotWav));
    }
}
