//! A sound file's bytes to what the phone network plays: µ-law at 8000 Hz.

use super::resample::{ResampleError, to_ulaw_8k};
use super::wav::{WavError, is_wav, read_wav};

/// Names that say of their own that a file is raw µ-law at 8000 Hz.
const RAW_ENDINGS: [&str; 5] = ["ulaw", "mulaw", "ul", "pcmu", "raw"];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SoundError {
    #[error(
        "{name:?} must be a WAV file, or raw µ-law named .ulaw, .mulaw, .ul, .pcmu or .raw; it is neither"
    )]
    Unknown { name: String },
    #[error("{name:?} can't be played: {why}")]
    Wav { name: String, why: WavError },
    #[error("{name:?} can't be played: {why}")]
    Resample { name: String, why: ResampleError },
}

/// Decodes by what the bytes say (a WAV file under any name), else by the ending of the name.
pub fn decode_file(name: &str, bytes: &[u8]) -> Result<Vec<u8>, SoundError> {
    if is_wav(bytes) {
        let sound = read_wav(bytes).map_err(|why| SoundError::Wav { name: name.to_owned(), why })?;
        return to_ulaw_8k(&sound).map_err(|why| SoundError::Resample { name: name.to_owned(), why });
    }
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    match ending {
        Some(ending) if RAW_ENDINGS.contains(&ending.as_str()) => Ok(bytes.to_vec()),
        _ => Err(SoundError::Unknown { name: name.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::wav::WavHeader;

    #[test]
    fn a_wav_file_is_known_by_its_bytes_and_raw_mu_law_by_its_name() {
        let mut file = WavHeader::new(1, 4).bytes().to_vec();
        file.extend([0, 0, 0x7C, 0x7D]); // 0 and 32124
        assert_eq!(decode_file("prompt.bin", &file), Ok(vec![0xFF, 0x80]));
        assert_eq!(decode_file("a.b/PROMPT.ULAW", &[1, 2, 3]), Ok(vec![1, 2, 3]));
        let error = decode_file("prompt.mp3", &[1, 2, 3]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"prompt.mp3\" must be a WAV file, or raw µ-law named .ulaw, .mulaw, .ul, .pcmu or .raw; it is neither"
        );
    }

    #[test]
    fn mu_law_in_a_wav_file_at_8000_hz_comes_through_bit_for_bit() {
        let codes: Vec<u8> = (0..=255).filter(|&code| code != 0x7F).collect();
        let mut file = b"RIFF\0\0\0\0WAVEfmt \x12\0\0\0\x07\0\x01\0".to_vec();
        file.extend(8000u32.to_le_bytes());
        file.extend(8000u32.to_le_bytes());
        file.extend([1, 0, 8, 0, 0, 0]);
        file.extend(b"data\xff\0\0\0");
        file.extend(&codes);
        assert_eq!(decode_file("codes.wav", &file), Ok(codes));
    }
}
