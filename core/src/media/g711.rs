//! G.711: µ-law and A-law to and from 16-bit samples, exact to the tables of the standard.
//!
//! The standard counts µ-law in 14 bits and A-law in 13; samples here are those values shifted up to 16 bits
//! (µ-law 0x80 is 8031 × 4 = 32124). Encoding compares magnitudes with the standard's decision values, so it is
//! symmetric in sign; a sample on a decision value goes outward. Plus and minus zero of µ-law are both 0, which
//! encodes to plus zero: 0x7F is the one codeword that does not come back.

/// Encoder bias of µ-law: 33 in 14 bits, ×4.
const BIAS: i32 = 132;
/// Largest µ-law magnitude that the bias leaves within 15 bits: the virtual decision value 8159 × 4 - 1.
const ULAW_CLIP: i32 = 32_635;
/// A-law sends even bits inverted.
const ALAW_FLIP: u8 = 0x55;

const ULAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = ulaw_value(code as u8);
        code += 1;
    }
    table
};
const ALAW: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = alaw_value(code as u8);
        code += 1;
    }
    table
};

const fn ulaw_value(code: u8) -> i16 {
    let code = !code;
    let exponent = (code >> 4) & 7;
    let mantissa = (code & 0x0F) as i32;
    let magnitude = (((mantissa << 3) + BIAS) << exponent) - BIAS;
    (if code & 0x80 == 0 { magnitude } else { -magnitude }) as i16
}

const fn alaw_value(code: u8) -> i16 {
    let code = code ^ ALAW_FLIP;
    let exponent = (code >> 4) & 7;
    let mantissa = ((code & 0x0F) as i32) << 4;
    let magnitude = match exponent {
        0 => mantissa + 8,
        _ => (mantissa + 0x108) << (exponent - 1),
    };
    (if code & 0x80 == 0 { -magnitude } else { magnitude }) as i16
}

pub fn ulaw_to_linear(code: u8) -> i16 {
    ULAW[usize::from(code)]
}

pub fn alaw_to_linear(code: u8) -> i16 {
    ALAW[usize::from(code)]
}

pub fn linear_to_ulaw(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(ULAW_CLIP) + BIAS;
    // 132 … 32767: the highest bit is 7 … 14, the segment 0 … 7.
    let exponent = magnitude.ilog2() - 7;
    let mantissa = (magnitude >> (exponent + 3)) as u8 & 0x0F;
    !(sign(sample) | (exponent as u8) << 4 | mantissa)
}

pub fn linear_to_alaw(sample: i16) -> u8 {
    let magnitude = i32::from(sample).abs().min(i32::from(i16::MAX));
    let code = if magnitude < 256 {
        (magnitude >> 4) as u8
    } else {
        let exponent = magnitude.ilog2() - 7;
        (exponent as u8) << 4 | (magnitude >> (exponent + 3)) as u8 & 0x0F
    };
    (code | (sign(sample) ^ 0x80)) ^ ALAW_FLIP
}

fn sign(sample: i16) -> u8 {
    if sample < 0 { 0x80 } else { 0 }
}

/// Appends one sample per byte.
pub fn decode_ulaw(bytes: &[u8], samples: &mut Vec<i16>) {
    samples.extend(bytes.iter().map(|&code| ulaw_to_linear(code)));
}

/// Appends one byte per sample.
pub fn encode_ulaw(samples: &[i16], bytes: &mut Vec<u8>) {
    bytes.extend(samples.iter().map(|&sample| linear_to_ulaw(sample)));
}

/// Appends one sample per byte.
pub fn decode_alaw(bytes: &[u8], samples: &mut Vec<i16>) {
    samples.extend(bytes.iter().map(|&code| alaw_to_linear(code)));
}

/// Appends one byte per sample.
pub fn encode_alaw(samples: &[i16], bytes: &mut Vec<u8>) {
    bytes.extend(samples.iter().map(|&sample| linear_to_alaw(sample)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The right-hand column of the standard's µ-law table, written from its rule: in segment s (1 to 8) sixteen
    /// steps of 2^s, the first decision value of segment s being 31·2^(s-1)… expressed here by summing steps.
    fn ulaw_outputs() -> Vec<i32> {
        let mut outputs = vec![0];
        let mut edge = 1; // decision value in 14 bits after the half step around zero
        let mut steps = 15; // segment one has one step fewer: the half step has gone
        for segment in 1..=8 {
            let step = 1 << segment;
            for _ in 0..steps {
                outputs.push(edge + step / 2);
                edge += step;
            }
            steps = 16;
        }
        assert_eq!(edge, 8159, "the virtual decision value of the standard");
        outputs.into_iter().map(|value| value * 4).collect()
    }

    /// A-law: 32 steps of 2 (in 13 bits, of which one is the sign), then sixteen of 4, 8, … 128.
    fn alaw_outputs() -> Vec<i32> {
        let mut outputs = Vec::new();
        let mut edge = 0;
        for step in [2, 2, 4, 8, 16, 32, 64, 128] {
            for _ in 0..16 {
                outputs.push(edge + step / 2);
                edge += step;
            }
        }
        assert_eq!(edge, 4096, "the virtual decision value of the standard");
        outputs.into_iter().map(|value| value * 8).collect()
    }

    #[test]
    fn every_codeword_decodes_as_the_tables_of_the_standard_say() {
        for (number, value) in ulaw_outputs().into_iter().enumerate() {
            let positive = 0xFF - number as u8;
            assert_eq!(i32::from(ulaw_to_linear(positive)), value, "{positive:#x}");
            assert_eq!(i32::from(ulaw_to_linear(positive & 0x7F)), -value, "{positive:#x} negative");
        }
        for (number, value) in alaw_outputs().into_iter().enumerate() {
            let positive = (0x80 | number as u8) ^ 0x55;
            assert_eq!(i32::from(alaw_to_linear(positive)), value, "{positive:#x}");
            assert_eq!(i32::from(alaw_to_linear(positive ^ 0x80)), -value, "{positive:#x} negative");
        }
        assert_eq!([0x00, 0x80, 0xFF, 0x7F].map(ulaw_to_linear), [-32124, 32124, 0, 0]);
        assert_eq!([0x2A, 0xAA, 0x55, 0xD5].map(alaw_to_linear), [-32256, 32256, -8, 8]);
    }

    #[test]
    fn every_sample_takes_the_codeword_between_whose_decision_values_it_lies() {
        // In µ-law the decision values of magnitude number n are halfway between outputs, in A-law at multiples of
        // the step; both follow from the outputs above.
        let ulaw = ulaw_outputs();
        let alaw = alaw_outputs();
        let mut alaw_edges = vec![0];
        for value in &alaw {
            alaw_edges.push(2 * value - alaw_edges[alaw_edges.len() - 1]);
        }
        for sample in i16::MIN..=i16::MAX {
            let magnitude = i32::from(sample).abs();
            let halfway = |n: usize| {
                let step = 8 << (n / 16); // in 16 bits, the step around output n
                if n == 0 { 4 } else { ulaw[n] + step / 2 }
            };
            let number = (0..127).find(|&n| magnitude < halfway(n)).unwrap_or(127);
            let sign = if sample < 0 { 0x00 } else { 0x80 };
            assert_eq!(linear_to_ulaw(sample), sign | (0x7F - number as u8), "µ-law of {sample}");

            let number = (0..127).find(|&n| magnitude < alaw_edges[n + 1]).unwrap_or(127);
            assert_eq!(linear_to_alaw(sample), (sign | number as u8) ^ 0x55, "A-law of {sample}");
        }
    }

    #[test]
    fn a_codeword_comes_back_except_minus_zero() {
        let every: Vec<u8> = (0..=255).collect();
        let (mut samples, mut back) = (Vec::new(), Vec::new());
        decode_ulaw(&every, &mut samples);
        encode_ulaw(&samples, &mut back);
        let mut expected = every.clone();
        expected[0x7F] = 0xFF;
        assert_eq!(back, expected);

        samples.clear();
        back.clear();
        decode_alaw(&every, &mut samples);
        encode_alaw(&samples, &mut back);
        assert_eq!(back, every);
    }
}
