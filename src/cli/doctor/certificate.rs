//! Until when a certificate is valid: the one thing that a TLS library does not say.
//!
//! The way there is fixed (RFC 5280, 4.1): certificate, to be signed, validity, its second time.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The end of the validity of a certificate in DER.
pub fn not_after(der: &[u8]) -> Option<Timestamp> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (signed, _) = expect(certificate, SEQUENCE)?;
    // The version may be left out.
    let signed = expect(signed, VERSION).map_or(signed, |(_, rest)| rest);
    let (_, signed) = expect(signed, INTEGER)?;
    let (_, signed) = expect(signed, SEQUENCE)?;
    let (_, signed) = expect(signed, SEQUENCE)?;
    let (validity, _) = expect(signed, SEQUENCE)?;
    let (_, _, validity) = element(validity)?;
    let (tag, time, _) = element(validity)?;
    let text = std::str::from_utf8(time).ok()?.strip_suffix('Z')?;
    let text = match (tag, text.get(..2)?) {
        // Two digits are of this century up to 49.
        (UTC_TIME, year) if year < "50" => format!("20{text}"),
        (UTC_TIME, _) => format!("19{text}"),
        (GENERALIZED_TIME, _) => text.to_owned(),
        _ => return None,
    };
    let at = DateTime::strptime("%Y%m%d%H%M%S", text).ok()?;
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// The content of the first element, if it is of this kind, and what follows it.
fn expect(der: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(der)?;
    (tag == wanted).then_some((content, rest))
}

fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // Longer ones say first how many bytes the length takes.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| (length << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    fn certificate(times: &[u8]) -> Vec<u8> {
        let empty = tagged(SEQUENCE, &[]);
        let version = tagged(VERSION, &tagged(INTEGER, &[2]));
        let signed =
            [version, tagged(INTEGER, &[1; 20]), empty.clone(), empty, tagged(SEQUENCE, times)].concat();
        tagged(SEQUENCE, &tagged(SEQUENCE, &signed))
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_either_form_and_garbage_is_none() {
        let begin = tagged(UTC_TIME, b"240101000000Z");
        let end = |tag, text: &[u8]| {
            let whole = certificate(&[begin.clone(), tagged(tag, text)].concat());
            not_after(&whole).map(|end| end.to_string())
        };
        assert_eq!(end(UTC_TIME, b"261224180000Z").as_deref(), Some("2026-12-24T18:00:00Z"));
        assert_eq!(end(UTC_TIME, b"991231235959Z").as_deref(), Some("1999-12-31T23:59:59Z"));
        assert_eq!(end(GENERALIZED_TIME, b"20501231235959Z").as_deref(), Some("2050-12-31T23:59:59Z"));
        assert_eq!(end(UTC_TIME, b"261324180000Z"), None);
        let whole = certificate(&[begin.clone(), begin].concat());
        for length in 0..whole.len() {
            assert_eq!(not_after(&whole[..length]), None, "cut at {length}");
        }
    }
}
