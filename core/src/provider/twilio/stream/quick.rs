//! The short cut for `media`: the documented keys in any order, every value a plain string. Anything else, be it an
//! escape, a number, an unknown key or a mistake, is `None`, and is for the long way to judge.

use crate::media::frame::FRAME_BYTES;

/// A frame as base64.
const USUAL_PAYLOAD: usize = FRAME_BYTES.div_ceil(3) * 4;

/// The payload may be anything that can't be decoded, and then nothing else of it holds either.
pub(super) struct Media<'a> {
    pub stream_sid: Option<&'a str>,
    pub track: Option<&'a str>,
    pub chunk: Option<&'a str>,
    pub timestamp: Option<&'a str>,
    pub payload: &'a str,
}

pub(super) fn media(text: &str) -> Option<Media<'_>> {
    let mut scanner = Scanner { text, at: 0 };
    let (mut event, mut sequence, mut stream_sid) = (None, None, None);
    let mut media: Option<Inside<'_>> = None;
    scanner.object(|scanner, key| match key {
        "event" => once(&mut event, scanner.string()?),
        "sequenceNumber" => once(&mut sequence, scanner.string()?),
        "streamSid" => once(&mut stream_sid, scanner.string()?),
        "media" => {
            let mut inside = Inside::default();
            scanner.object(|scanner, key| match key {
                "track" => once(&mut inside.track, scanner.string()?),
                "chunk" => once(&mut inside.chunk, scanner.string()?),
                "timestamp" => once(&mut inside.timestamp, scanner.string()?),
                "payload" => once(&mut inside.payload, scanner.payload()?),
                _ => None,
            })?;
            once(&mut media, inside)
        }
        _ => None,
    })?;
    scanner.skip_space();
    if scanner.at != text.len() || event != Some("media") {
        return None;
    }
    let media = media?;
    let filled = |text: &&str| !text.is_empty();
    Some(Media {
        stream_sid: stream_sid.filter(filled),
        track: media.track,
        chunk: media.chunk,
        timestamp: media.timestamp,
        payload: media.payload?,
    })
}

#[derive(Default)]
struct Inside<'a> {
    track: Option<&'a str>,
    chunk: Option<&'a str>,
    timestamp: Option<&'a str>,
    payload: Option<&'a str>,
}

/// Of a key that comes twice the long way takes the last; that is nobody's habit, so not ours.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// Calls `member` after each key; it reads the value.
    fn object(&mut self, mut member: impl FnMut(&mut Scanner<'a>, &'a str) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            member(self, key)?;
            self.skip_space();
            match self.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// What is between two quotes, when nothing in it needs to be decoded.
    fn string(&mut self) -> Option<&'a str> {
        self.expect(b'"')?;
        let start = self.at;
        self.at = start + plain(self.text.as_bytes().get(start..)?)?;
        let found = self.text.get(start..self.at)?;
        (self.next()? == b'"').then_some(found)
    }

    /// Like any other string, but one of the usual length is not looked through: where it is no base64, and so may have
    /// ended before, it can't be decoded.
    fn payload(&mut self) -> Option<&'a str> {
        self.skip_space();
        let start = self.at + 1;
        let end = start + USUAL_PAYLOAD;
        let bytes = self.text.as_bytes();
        if bytes.get(self.at) == Some(&b'"') && bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return self.text.get(start..end);
        }
        self.string()
    }

    fn expect(&mut self, wanted: u8) -> Option<()> {
        self.skip_space();
        (self.next()? == wanted).then_some(())
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.text.as_bytes().get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.as_bytes().get(self.at) {
            self.at += 1;
        }
    }
}

/// How many bytes need no decoding before one that does, or ends the string. Eight are looked at at once: half of a
/// message is keys and numbers, which end within one look or two.
fn plain(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (place, word) in words.iter().enumerate() {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(place * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let end = rest.iter().position(|byte| *byte == b'"' || *byte == b'\\' || *byte < 0x20)?;
    Some(words.len() * 8 + end)
}

/// The lowest bit that is set is the top one of the first byte that is a quote, a backslash or below a space. Bits above
/// it may be wrong, by what was borrowed.
fn special(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let is_low = word.wrapping_sub(ONES * 0x20) & !word;
    (is_low | is_zero(word ^ (ONES * 0x22)) | is_zero(word ^ (ONES * 0x5C))) & TOPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_stands_and_whatever_follows() {
        for length in 0..20 {
            for place in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'!'; length];
                    bytes[place] = byte;
                    let naive = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
                    assert_eq!(plain(&bytes), naive, "{bytes:?}");
                    bytes[length - 1] = b'"';
                    let naive = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
                    assert_eq!(plain(&bytes), naive, "{bytes:?}");
                }
            }
        }
    }
}
