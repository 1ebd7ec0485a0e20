//! What the demo's caller says: made here, so that the demo needs no file and knows every sample of it.

use std::f64::consts::TAU;

use holdline_core::media::g711::linear_to_ulaw;

/// µ-law's two zeros. The voice has none: in what is heard they can only be silence.
const ZEROS: [u8; 2] = [0xFF, 0x7F];
const RATE: f64 = 8000.0;
/// Pitch at begin and end, length in seconds, and how open the vowel is.
const SYLLABLES: [(f64, f64, f64, f64); 8] = [
    (130.0, 165.0, 0.22, 0.7),
    (165.0, 150.0, 0.30, 0.4),
    (120.0, 125.0, 0.18, 0.9),
    (140.0, 190.0, 0.34, 0.6),
    (190.0, 160.0, 0.20, 0.3),
    (150.0, 150.0, 0.26, 0.8),
    (155.0, 130.0, 0.30, 0.5),
    (125.0, 100.0, 0.40, 0.7),
];
const PAUSE: f64 = 0.04;

/// About two and a half seconds of somebody humming a sentence, as µ-law of 8000 Hz.
pub(super) fn sentence() -> Vec<u8> {
    let mut audio = Vec::new();
    for (begin, end, seconds, open) in SYLLABLES {
        let mut phase = 0.0;
        let count = (seconds * RATE) as usize;
        for place in 0..count {
            let part = place as f64 / count as f64;
            phase += TAU * (begin + (end - begin) * part) / RATE;
            let loud = (part * std::f64::consts::PI).sin().powf(0.4);
            let vowel = phase.sin() + open * (3.0 * phase).sin() + (1.0 - open) * (5.0 * phase).sin();
            audio.push(loud * vowel * 5000.0);
        }
        audio.resize(audio.len() + (PAUSE * RATE) as usize, 0.0);
    }
    audio.into_iter().map(|sample: f64| without_zero(linear_to_ulaw(sample as i16))).collect()
}

/// The same sound, without what can't be told from a gap.
pub(super) fn without_silence(audio: &[u8]) -> Vec<u8> {
    audio.iter().copied().filter(|byte| !ZEROS.contains(byte)).collect()
}

/// The next louder step for a zero: nobody hears the difference.
fn without_zero(byte: u8) -> u8 {
    if ZEROS.contains(&byte) { byte - 1 } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_is_loud_whole_and_has_no_zeros() {
        let audio = sentence();
        assert!((16_000..24_000).contains(&audio.len()), "{}", audio.len());
        assert_eq!(without_silence(&audio), audio);
        let loud = audio.iter().filter(|byte| holdline_core::media::g711::ulaw_to_linear(**byte) > 1000);
        assert!(loud.count() > audio.len() / 4);
    }
}
