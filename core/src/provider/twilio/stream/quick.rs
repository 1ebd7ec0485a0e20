//! The short cut for `media`: the documented keys in any order, every value a plain string. Anything else, be it an
//! escape, a number, an unknown key or a mistake, is `None`, and is for the long way to judge.

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
                "payload" => once(&mut inside.payload, scanner.string()?),
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

/// How many bytes need no decoding before one that does, or ends the string.
fn plain(bytes: &[u8]) -> Option<usize> {
    let special = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
    // Keys and numbers end at once.
    if let Some(short) = bytes.iter().take(SHORT).position(special) {
        return Some(short);
    }
    // A payload has two hundred bytes: they are looked at many at once, and for the rare kind in a pass of its own.
    let length = memchr::memchr2(b'"', b'\\', bytes)?;
    let text = bytes.get(..length)?;
    match text.iter().fold(0, |any, byte| any | u8::from(*byte < 0x20)) {
        0 => Some(length),
        _ => text.iter().position(special),
    }
}

const SHORT: usize = 12;
