//! WAV files: reading whatever people have, writing the one kind of header that our recordings bear.
//!
//! The reader forgives what real programs get wrong (odd chunks, streamed headers without a length, files cut short)
//! and refuses what it would have to guess at. It never panics and needs no more memory than four bytes a sample.

use super::g711::{alaw_to_linear, ulaw_to_linear};

pub const RATE_MIN: u32 = 1000;
pub const RATE_MAX: u32 = 384_000;
pub const CHANNELS_MAX: u16 = 8;
/// Calls end after four hours unless configured otherwise; a longer sound was not meant for one.
pub const SECONDS_MAX: u64 = 4 * 3600;
/// A file with more chunks than this before its audio is no sound file.
const CHUNKS_MAX: usize = 1000;

/// One channel of sound, full scale at ±1.
#[derive(Debug, Clone, PartialEq)]
pub struct Sound {
    pub rate: u32,
    pub samples: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WavError {
    #[error("a WAV file begins with RIFF and WAVE, this one does not")]
    NotWav,
    #[error("a WAV file has a `fmt ` chunk of at least 16 bytes before its `data` chunk, this one has none")]
    NoFormat,
    #[error("a WAV file has a `data` chunk, this one has none")]
    NoData,
    #[error(
        "the audio must be PCM of 8, 16, 24 or 32 bits, float of 32 or 64, µ-law or A-law, not format {tag:#06x} of {bits} bits"
    )]
    Encoding { tag: u16, bits: u16 },
    #[error("the sample rate must be {RATE_MIN} to {RATE_MAX} Hz, not {0}")]
    Rate(u32),
    #[error("there must be 1 to {CHANNELS_MAX} channels, not {0}")]
    Channels(u16),
    #[error("a sound must be at most {SECONDS_MAX} s long, not {0}")]
    TooLong(u64),
}

pub fn is_wav(bytes: &[u8]) -> bool {
    // RF64 is the same with lengths over 4 GiB told elsewhere: then the audio is what is there.
    matches!(bytes.get(..4), Some(b"RIFF" | b"RF64")) && bytes.get(8..12) == Some(b"WAVE")
}

/// Reads a whole file; several channels become their mean.
pub fn read_wav(bytes: &[u8]) -> Result<Sound, WavError> {
    if !is_wav(bytes) {
        return Err(WavError::NotWav);
    }
    let mut format = None;
    let mut rest = bytes.get(12..).unwrap_or_default();
    for _ in 0..CHUNKS_MAX {
        let (Some(name), Some(size)) = (rest.get(..4), u32_at(rest, 4)) else { break };
        let body = rest.get(8..).unwrap_or_default();
        let size = size as usize;
        if name == b"data" {
            let format: Format = format.ok_or(WavError::NoFormat)?;
            // A writer that streams knows no length: 0 (with more behind it) or all ones. A file cut short has less
            // than it says. In all these cases the audio is what is there.
            let audio = match size {
                0 if begins_known_chunk(body) => &[],
                0 | 0xFFFF_FFFF => body,
                _ => body.get(..size).unwrap_or(body),
            };
            return format.read(audio);
        }
        if name == b"fmt " && format.is_none() {
            format = Some(Format::parse(body.get(..size).unwrap_or(body))?);
        }
        // Chunks are padded to even lengths, except by programs that forget it: then the next name shows it.
        let padded = size.saturating_add(size & 1);
        let skip =
            if size & 1 == 1 && body.get(size..).is_some_and(begins_known_chunk) { size } else { padded };
        rest = body.get(skip..).unwrap_or_default();
    }
    Err(if format.is_some() { WavError::NoData } else { WavError::NoFormat })
}

fn begins_known_chunk(bytes: &[u8]) -> bool {
    matches!(bytes.get(..4), Some(b"fmt " | b"data" | b"LIST" | b"fact"))
}

/// Raw µ-law at 8000 Hz, without any header.
pub fn decode_raw_ulaw(bytes: &[u8]) -> Sound {
    Sound { rate: 8000, samples: bytes.iter().map(|&code| scale_16(ulaw_to_linear(code))).collect() }
}

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Unsigned8,
    Signed16,
    Signed24,
    Signed32,
    Float32,
    Float64,
    Ulaw,
    Alaw,
}

#[derive(Debug, Clone, Copy)]
struct Format {
    encoding: Encoding,
    channels: u16,
    rate: u32,
}

const TAG_EXTENSIBLE: u16 = 0xFFFE;

impl Format {
    fn parse(body: &[u8]) -> Result<Format, WavError> {
        let short = || WavError::NoFormat;
        let tag = u16_at(body, 0).ok_or_else(short)?;
        let channels = u16_at(body, 2).ok_or_else(short)?;
        let rate = u32_at(body, 4).ok_or_else(short)?;
        let bits = u16_at(body, 14).ok_or_else(short)?;
        // An extensible format bears the real one at the beginning of its GUID.
        let tag = if tag == TAG_EXTENSIBLE { u16_at(body, 24).ok_or_else(short)? } else { tag };
        let encoding = match (tag, bits) {
            (1, 8) => Encoding::Unsigned8,
            (1, 16) => Encoding::Signed16,
            (1, 24) => Encoding::Signed24,
            (1, 32) => Encoding::Signed32,
            (3, 32) => Encoding::Float32,
            (3, 64) => Encoding::Float64,
            // Some writers leave the bits of a companded format at 0 or 16; its samples are bytes all the same.
            (7, _) => Encoding::Ulaw,
            (6, _) => Encoding::Alaw,
            _ => return Err(WavError::Encoding { tag, bits }),
        };
        if !(RATE_MIN..=RATE_MAX).contains(&rate) {
            return Err(WavError::Rate(rate));
        }
        if !(1..=CHANNELS_MAX).contains(&channels) {
            return Err(WavError::Channels(channels));
        }
        Ok(Format { encoding, channels, rate })
    }

    /// Whole frames only; a torn one at the end is left out.
    fn read(self, audio: &[u8]) -> Result<Sound, WavError> {
        let width = match self.encoding {
            Encoding::Unsigned8 | Encoding::Ulaw | Encoding::Alaw => 1,
            Encoding::Signed16 => 2,
            Encoding::Signed24 => 3,
            Encoding::Signed32 | Encoding::Float32 => 4,
            Encoding::Float64 => 8,
        };
        let frame = width * usize::from(self.channels);
        let seconds = (audio.len() / frame) as u64 / u64::from(self.rate);
        if seconds > SECONDS_MAX {
            return Err(WavError::TooLong(seconds));
        }
        let share = 1.0 / f32::from(self.channels);
        let samples = audio
            .chunks_exact(frame)
            .map(|frame| {
                frame.chunks_exact(width).map(|bytes| self.encoding.sample(bytes)).sum::<f32>() * share
            })
            .collect();
        Ok(Sound { rate: self.rate, samples })
    }
}

impl Encoding {
    fn sample(self, bytes: &[u8]) -> f32 {
        match (self, bytes) {
            (Encoding::Unsigned8, &[byte]) => (f32::from(byte) - 128.0) / 128.0,
            (Encoding::Ulaw, &[byte]) => scale_16(ulaw_to_linear(byte)),
            (Encoding::Alaw, &[byte]) => scale_16(alaw_to_linear(byte)),
            (Encoding::Signed16, &[a, b]) => scale_16(i16::from_le_bytes([a, b])),
            (Encoding::Signed24, &[a, b, c]) => scale_32(i32::from_le_bytes([0, a, b, c])),
            (Encoding::Signed32, &[a, b, c, d]) => scale_32(i32::from_le_bytes([a, b, c, d])),
            (Encoding::Float32, &[a, b, c, d]) => tame(f32::from_le_bytes([a, b, c, d])),
            (Encoding::Float64, &[a, b, c, d, e, f, g, h]) => {
                tame(f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32)
            }
            _ => 0.0,
        }
    }
}

fn scale_16(sample: i16) -> f32 {
    f32::from(sample) / 32_768.0
}

fn scale_32(sample: i32) -> f32 {
    sample as f32 / 2_147_483_648.0
}

/// Floats may be anything; what is no number is silence, and what is over full scale is clipped here rather than
/// smeared over its neighbours by a filter.
fn tame(sample: f32) -> f32 {
    if sample.is_nan() { 0.0 } else { sample.clamp(-1.0, 1.0) }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Bytes of the header of a recording; its audio follows at once.
pub const HEADER_BYTES: usize = 44;

/// The header of a recording: PCM, 16 bits, 8000 Hz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WavHeader {
    pub channels: u16,
    pub data_bytes: u32,
}

impl WavHeader {
    /// For `data_bytes` of audio; what does not fit into the 32 bits of the format is left unsaid.
    pub fn new(channels: u16, data_bytes: u64) -> WavHeader {
        let most = u64::from(u32::MAX) - HEADER_BYTES as u64;
        let whole = data_bytes.min(most);
        let channels = channels.clamp(1, 2);
        let frame = u64::from(channels) * 2;
        WavHeader { channels, data_bytes: (whole - whole % frame) as u32 }
    }

    pub fn bytes(self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let frame = self.channels * 2;
        let fields: [&[u8]; 13] = [
            b"RIFF",
            &(self.data_bytes + HEADER_BYTES as u32 - 8).to_le_bytes(),
            b"WAVE",
            b"fmt ",
            &16u32.to_le_bytes(),
            &1u16.to_le_bytes(),
            &self.channels.to_le_bytes(),
            &8000u32.to_le_bytes(),
            &(8000 * u32::from(frame)).to_le_bytes(),
            &frame.to_le_bytes(),
            &16u16.to_le_bytes(),
            b"data",
            &self.data_bytes.to_le_bytes(),
        ];
        for (to, from) in header.iter_mut().zip(fields.into_iter().flatten()) {
            *to = *from;
        }
        header
    }

    /// Reads a header of ours back, whatever lengths it claims.
    fn recognise(first: &[u8]) -> Option<WavHeader> {
        let header: &[u8; HEADER_BYTES] = first.first_chunk()?;
        let channels = u16_at(header, 22)?;
        let ours = WavHeader { channels, data_bytes: u32_at(header, 40)? };
        if !(1..=2).contains(&channels) {
            return None;
        }
        // Everything but the two lengths must be as we would have written it.
        let expected = WavHeader { channels, data_bytes: 0 }.bytes();
        let same = |range: std::ops::Range<usize>| header.get(range.clone()) == expected.get(range);
        (same(0..4) && same(8..40)).then_some(ours)
    }
}

/// The header that a recording of `file_bytes` bytes should have; `None` if it already has it, or is none of ours.
///
/// A recorder that died has appended audio that its header does not yet speak of.
pub fn repair_header(first: &[u8], file_bytes: u64) -> Option<[u8; HEADER_BYTES]> {
    let claimed = WavHeader::recognise(first)?;
    let audio = file_bytes.checked_sub(HEADER_BYTES as u64)?;
    let honest = WavHeader::new(claimed.channels, audio).bytes();
    (first.first_chunk() != Some(&honest)).then_some(honest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = name.to_vec();
        bytes.extend((body.len() as u32).to_le_bytes());
        bytes.extend(body);
        bytes.resize(bytes.len() + body.len() % 2, 0);
        bytes
    }

    fn format(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(tag.to_le_bytes());
        body.extend(channels.to_le_bytes());
        body.extend(rate.to_le_bytes());
        body.extend((rate * u32::from(channels) * u32::from(bits) / 8).to_le_bytes());
        body.extend((channels * bits / 8).to_le_bytes());
        body.extend(bits.to_le_bytes());
        body
    }

    fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
        let body = chunks.concat();
        let mut bytes = b"RIFF".to_vec();
        bytes.extend((body.len() as u32 + 4).to_le_bytes());
        bytes.extend(b"WAVE");
        bytes.extend(body);
        bytes
    }

    fn wav(tag: u16, channels: u16, rate: u32, bits: u16, audio: &[u8]) -> Vec<u8> {
        riff(&[chunk(b"fmt ", &format(tag, channels, rate, bits)), chunk(b"data", audio)])
    }

    #[test]
    fn every_encoding_gives_the_same_half_scale() {
        let cases: [(u16, u16, Vec<u8>); 8] = [
            (1, 8, vec![192, 64]),
            (1, 16, [16384i16.to_le_bytes(), (-16384i16).to_le_bytes()].concat()),
            (1, 24, vec![0, 0, 0x40, 0, 0, 0xC0]),
            (1, 32, [0x4000_0000i32.to_le_bytes(), (-0x4000_0000i32).to_le_bytes()].concat()),
            (3, 32, [0.5f32.to_le_bytes(), (-0.5f32).to_le_bytes()].concat()),
            (3, 64, [0.5f64.to_le_bytes(), (-0.5f64).to_le_bytes()].concat()),
            (7, 8, vec![0x8F, 0x0F]),
            (6, 8, vec![0xA5, 0x25]),
        ];
        for (tag, bits, audio) in cases {
            let sound = read_wav(&wav(tag, 1, 16000, bits, &audio)).unwrap();
            assert_eq!((sound.rate, sound.samples.len()), (16000, 2), "format {tag} of {bits} bits");
            // The companded formats have no codeword at exactly one half.
            assert!(
                (sound.samples[0] - 0.5).abs() < 0.02,
                "format {tag} of {bits} bits: {:?}",
                sound.samples
            );
            assert!(
                (sound.samples[1] + 0.5).abs() < 0.02,
                "format {tag} of {bits} bits: {:?}",
                sound.samples
            );
        }
    }

    #[test]
    fn channels_are_mixed_to_their_mean_and_a_torn_frame_is_left_out() {
        let mut audio: Vec<u8> = [16384i16, 0, -16384, -16384].iter().flat_map(|s| s.to_le_bytes()).collect();
        audio.extend([1, 2, 3]);
        assert_eq!(read_wav(&wav(1, 2, 8000, 16, &audio)).unwrap().samples, [0.25, -0.5]);
    }

    #[test]
    fn an_extensible_format_and_odd_chunks_around_the_audio_are_understood() {
        let mut extensible = format(TAG_EXTENSIBLE, 1, 48000, 16);
        extensible.extend([22, 0, 16, 0, 4, 0, 0, 0, 1, 0]);
        extensible.extend(*b"\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71");
        let audio = 16384i16.to_le_bytes();
        let file = riff(&[
            chunk(b"LIST", b"INFOodd"),
            chunk(b"fmt ", &extensible),
            chunk(b"fact", &[0; 4]),
            chunk(b"data", &audio),
            chunk(b"id3 ", b"not audio"),
        ]);
        assert_eq!(read_wav(&file).unwrap().samples, [0.5]);

        let mut unpadded = chunk(b"LIST", b"INFOodd");
        unpadded.pop();
        let file = riff(&[unpadded, chunk(b"fmt ", &format(1, 1, 8000, 16)), chunk(b"data", &audio)]);
        assert_eq!(read_wav(&file).unwrap().samples, [0.5], "the pad byte was forgotten");
    }

    #[test]
    fn a_streamed_or_torn_length_means_what_is_there() {
        let audio = [0, 0x40].repeat(100);
        for claimed in [0, u32::MAX, 5000] {
            let mut file = wav(1, 1, 8000, 16, &audio);
            file[40..44].copy_from_slice(&u32::to_le_bytes(claimed));
            assert_eq!(read_wav(&file).unwrap().samples.len(), 100, "claimed {claimed}");
        }
    }

    #[test]
    fn an_empty_sound_with_a_comment_behind_it_is_empty() {
        let format = chunk(b"fmt ", &format(1, 1, 8000, 16));
        let file = riff(&[format, chunk(b"data", &[]), chunk(b"LIST", b"INFO")]);
        assert!(read_wav(&file).unwrap().samples.is_empty());
    }

    #[test]
    fn what_cannot_be_played_is_refused_in_words() {
        let cases = [
            (b"ID3\x04 an mp3 file".to_vec(), WavError::NotWav),
            (wav(0x55, 1, 8000, 0, &[]), WavError::Encoding { tag: 0x55, bits: 0 }),
            (wav(1, 1, 8000, 12, &[]), WavError::Encoding { tag: 1, bits: 12 }),
            (wav(1, 0, 8000, 16, &[]), WavError::Channels(0)),
            (wav(1, 9, 8000, 16, &[]), WavError::Channels(9)),
            (wav(1, 1, 999, 16, &[]), WavError::Rate(999)),
            (riff(&[chunk(b"data", &[0; 8])]), WavError::NoFormat),
            (riff(&[chunk(b"fmt ", &format(1, 1, 8000, 16))]), WavError::NoData),
        ];
        for (file, expected) in cases {
            assert_eq!(read_wav(&file), Err(expected));
        }
    }

    #[test]
    fn a_recording_whose_process_died_gets_an_honest_header_once() {
        for channels in [1, 2] {
            let mut file = WavHeader::new(channels, 0).bytes().to_vec();
            assert_eq!(repair_header(&file, 44), None, "an empty recording is honest");
            file.extend([0u8; 403]);
            let repaired = repair_header(&file, file.len() as u64).unwrap();
            file[..44].copy_from_slice(&repaired);
            assert_eq!(repair_header(&file, file.len() as u64), None);
            assert_eq!(repaired, WavHeader::new(channels, 403).bytes());
            let sound = read_wav(&file).unwrap();
            assert_eq!((sound.rate, sound.samples.len()), (8000, 403 / 2 / usize::from(channels)));
        }
        assert_eq!(repair_header(&wav(1, 1, 16000, 16, &[0; 10]), 10_000), None, "not ours");
        assert_eq!(repair_header(&[0; 20], 20), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(
            noise in proptest::collection::vec(any::<u8>(), 0..300),
            kind in prop::sample::select(vec![(1, 8), (1, 16), (1, 24), (1, 32), (3, 32), (3, 64), (7, 8), (6, 8)]),
            channels in 1u16..9, damage in 0usize..5, place in 0usize..60, cut in 0usize..400,
        ) {
            let mut file = wav(kind.0, channels, 11_025, kind.1, &noise);
            prop_assert!(read_wav(&file).is_ok());
            // A few bytes are turned, mostly in the header, and the end is lost.
            for (to, from) in file.iter_mut().skip(place).take(damage).zip(&noise) {
                *to ^= from;
            }
            file.truncate(cut);
            super::super::fuzz::fuzz_wav(&file);
            super::super::fuzz::fuzz_wav(&noise);
        }
    }
}
