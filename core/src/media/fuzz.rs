//! Entry points for fuzz targets of three lines: any bytes in, never a panic.

use super::load::decode_file;
use super::resample::to_ulaw_8k;
use super::wav::{HEADER_BYTES, Sound, read_wav, repair_header};

/// Reads the bytes as a WAV file and brings what is there to 8000 Hz.
pub fn fuzz_wav(data: &[u8]) {
    if let Ok(sound) = read_wav(data) {
        assert!(sound.samples.len() <= data.len(), "a sample needs at least a byte");
        assert!(sound.samples.iter().all(|sample| sample.abs() <= 1.0), "no sample is over full scale");
        // Resampling is linear in the length, so a short beginning says all about it; and a rate that shares nothing
        // with 8000 makes enormous blocks, which would leave no time for other inputs.
        if sound.rate % 25 == 0 {
            let samples = sound.samples.iter().copied().take(4000).collect();
            let _ = to_ulaw_8k(&Sound { rate: sound.rate, samples });
        }
    }
    if let Some(header) = repair_header(data, data.len() as u64) {
        let mut repaired = data.to_vec();
        for (to, from) in repaired.iter_mut().zip(header) {
            *to = from;
        }
        assert_eq!(
            repair_header(&repaired, data.len().max(HEADER_BYTES) as u64),
            None,
            "repaired once is enough"
        );
    }
}

/// Reads the bytes as a file of any name.
pub fn fuzz_sound_file(data: &[u8]) {
    let beginning = data.get(..data.len().min(64 * 1024)).unwrap_or_default();
    let _ = decode_file("fuzz.wav", beginning);
    let _ = decode_file("fuzz.ulaw", beginning);
}
