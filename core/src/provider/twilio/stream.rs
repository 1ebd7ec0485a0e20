//! Media Streams messages: what comes over the socket, read tolerantly, and the three kinds that go out.
//!
//! Fifty messages a second and call are media, all of one shape; `quick` reads that shape without building anything.
//! Whatever is in any way unusual takes the long way through a JSON reader, and both ways agree.

mod quick;

use super::form::cut;
use super::webhook::FIELD_BYTES_MAX;
use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// One text frame. Twilio's media message has 350 bytes; this allows six seconds of audio in one.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// `<Parameter>`s of one stream; the network's REST interface takes 99.
pub const PARAMETERS_MAX: usize = 100;
/// There are two tracks, and two names for each.
const TRACKS_MAX: usize = 4;

/// A message from the network.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamIn<'a> {
    /// A greeting: it names nothing, and doesn't count as a start.
    Connected,
    Start(Start),
    /// The audio is in the buffer that the caller gave.
    Media {
        stream_sid: Option<Cow<'a, str>>,
        track: Track,
        timestamp_ms: Option<u64>,
        chunk: Option<u64>,
    },
    /// `0`-`9`, `*`, `#` or `A`-`D`.
    Dtmf {
        stream_sid: Option<Cow<'a, str>>,
        digit: char,
    },
    Mark {
        stream_sid: Option<Cow<'a, str>>,
        name: Cow<'a, str>,
    },
    Stop {
        stream_sid: Option<Cow<'a, str>>,
    },
    /// An event that we don't know, by name. Networks add some without notice.
    Unknown(Cow<'a, str>),
}

impl StreamIn<'_> {
    /// The stream that the message says it belongs to, if it says.
    pub fn stream_sid(&self) -> Option<&str> {
        match self {
            StreamIn::Start(start) => Some(&start.stream_sid),
            StreamIn::Media { stream_sid, .. }
            | StreamIn::Dtmf { stream_sid, .. }
            | StreamIn::Mark { stream_sid, .. }
            | StreamIn::Stop { stream_sid } => stream_sid.as_deref(),
            StreamIn::Connected | StreamIn::Unknown(_) => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    pub stream_sid: String,
    /// As sent: whoever makes a call of it checks it by [`super::webhook::call_id`].
    pub call_sid: Option<String>,
    pub account: Option<String>,
    pub tracks: Vec<String>,
    /// `None`: not said, so the usual one.
    pub format: Option<MediaFormat>,
    pub parameters: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaFormat {
    pub encoding: String,
    pub sample_rate: u32,
    pub channels: u32,
}

impl MediaFormat {
    /// The only one that the network's documentation knows.
    pub fn is_usual(&self) -> bool {
        let encoding = self.encoding.to_ascii_lowercase();
        matches!(encoding.as_str(), "audio/x-mulaw" | "audio/mulaw" | "audio/pcmu")
            && self.sample_rate == 8000
            && self.channels == 1
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Track {
    /// What the caller says.
    Inbound,
    /// What the caller hears: our own voice, of no use to us.
    Outbound,
}

impl Track {
    fn named(name: Option<&str>) -> Track {
        match name {
            Some("outbound" | "outbound_track") => Track::Outbound,
            _ => Track::Inbound,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    #[error("expected at most {MESSAGE_BYTES_MAX} bytes, got {bytes}")]
    TooLong { bytes: usize },
    #[error("expected JSON: {0}")]
    NotJson(String),
    #[error("expected a JSON object")]
    NotAnObject,
    #[error("expected {0}, which is missing or no text")]
    Missing(&'static str),
    #[error("expected base64 in media.payload")]
    NotBase64,
    #[error("expected one of 0-9, *, # and A-D, got {0:?}")]
    NotADigit(String),
}

/// Reads one text frame. `audio` is emptied, and holds the decoded payload if it was media.
pub fn read_stream<'a>(text: &'a str, audio: &mut Vec<u8>) -> Result<StreamIn<'a>, WireError> {
    if text.len() <= MESSAGE_BYTES_MAX
        && let Some(found) = quick::media(text)
    {
        let read = media_in(
            found.stream_sid.map(Cow::Borrowed),
            found.track,
            found.timestamp.and_then(number_in),
            found.chunk.and_then(number_in),
            found.payload,
            audio,
        );
        if read.is_ok() {
            return read;
        }
    }
    read_stream_slowly(text, audio)
}

/// The long way, which reads everything. Public for the tests and fuzz targets that hold both ways against each other.
#[doc(hidden)]
pub fn read_stream_slowly(text: &str, audio: &mut Vec<u8>) -> Result<StreamIn<'static>, WireError> {
    audio.clear();
    if text.len() > MESSAGE_BYTES_MAX {
        return Err(WireError::TooLong { bytes: text.len() });
    }
    let value: Value = serde_json::from_str(text).map_err(|error| WireError::NotJson(error.to_string()))?;
    let Value::Object(message) = value else { return Err(WireError::NotAnObject) };
    let event = words(&message, "event").ok_or(WireError::Missing("event"))?;
    let stream_sid = words(&message, "streamSid").map(Cow::Owned);
    let empty = Map::new();
    let inside = message.get(&event).and_then(Value::as_object).unwrap_or(&empty);
    match event.as_str() {
        "connected" => Ok(StreamIn::Connected),
        "start" => start_in(stream_sid, inside),
        "media" => {
            let payload =
                inside.get("payload").and_then(Value::as_str).ok_or(WireError::Missing("media.payload"))?;
            let track = words(inside, "track");
            let (timestamp, chunk) = (number(inside, "timestamp"), number(inside, "chunk"));
            media_in(stream_sid, track.as_deref(), timestamp, chunk, payload, audio)
        }
        "dtmf" => {
            let digit = words(inside, "digit").ok_or(WireError::Missing("dtmf.digit"))?;
            Ok(StreamIn::Dtmf { stream_sid, digit: digit_in(&digit)? })
        }
        "mark" => {
            let name = inside.get("name").and_then(Value::as_str).ok_or(WireError::Missing("mark.name"))?;
            Ok(StreamIn::Mark { stream_sid, name: Cow::Owned(name.to_owned()) })
        }
        "stop" => Ok(StreamIn::Stop { stream_sid }),
        _ => Ok(StreamIn::Unknown(Cow::Owned(cut(&event, FIELD_BYTES_MAX).to_owned()))),
    }
}

/// Padding may be missing: some clients leave it out, and nothing is ambiguous without it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn media_in<'a>(
    stream_sid: Option<Cow<'a, str>>,
    track: Option<&str>,
    timestamp_ms: Option<u64>,
    chunk: Option<u64>,
    payload: &str,
    audio: &mut Vec<u8>,
) -> Result<StreamIn<'a>, WireError> {
    audio.clear();
    // What the quick decoder refuses, the one that forgives a missing padding judges; what both take, they take alike.
    if base64_simd::STANDARD.decode_append(payload, audio).is_err()
        && BASE64.decode_vec(payload, audio).is_err()
    {
        audio.clear();
        return Err(WireError::NotBase64);
    }
    Ok(StreamIn::Media { stream_sid, track: Track::named(track), timestamp_ms, chunk })
}

fn start_in(
    stream_sid: Option<Cow<'static, str>>,
    start: &Map<String, Value>,
) -> Result<StreamIn<'static>, WireError> {
    let stream_sid = match stream_sid {
        Some(stream_sid) => stream_sid.into_owned(),
        None => words(start, "streamSid").ok_or(WireError::Missing("streamSid"))?,
    };
    let tracks = match start.get("tracks") {
        Some(Value::Array(tracks)) => tracks.iter().take(TRACKS_MAX).filter_map(as_words).collect(),
        track => track.and_then(as_words).into_iter().collect(),
    };
    let format = start.get("mediaFormat").and_then(Value::as_object).map(|format| {
        let count = |name, usual| match number(format, name) {
            Some(count) => u32::try_from(count).unwrap_or(u32::MAX),
            None => usual,
        };
        MediaFormat {
            encoding: bounded(format, "encoding").unwrap_or_else(|| "audio/x-mulaw".to_owned()),
            sample_rate: count("sampleRate", 8000),
            channels: count("channels", 1),
        }
    });
    let parameters = start.get("customParameters").and_then(Value::as_object).map(|parameters| {
        let pairs = parameters.iter().take(PARAMETERS_MAX);
        let kept = |text: &str| cut(text, FIELD_BYTES_MAX).to_owned();
        pairs.filter_map(|(name, value)| Some((kept(name), kept(&as_words(value)?)))).collect()
    });
    Ok(StreamIn::Start(Start {
        stream_sid,
        call_sid: words(start, "callSid"),
        account: bounded(start, "accountSid"),
        tracks,
        format,
        parameters: parameters.unwrap_or_default(),
    }))
}

fn digit_in(text: &str) -> Result<char, WireError> {
    let mut characters = text.chars();
    match (characters.next().map(|digit| digit.to_ascii_uppercase()), characters.next()) {
        (Some(digit @ ('0'..='9' | '*' | '#' | 'A'..='D')), None) => Ok(digit),
        _ => Err(WireError::NotADigit(cut(text, 16).to_owned())),
    }
}

/// A text that isn't empty; what should be one and came as a number or a truth counts as well.
fn as_words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

fn words(object: &Map<String, Value>, name: &str) -> Option<String> {
    as_words(object.get(name)?)
}

fn bounded(object: &Map<String, Value>, name: &str) -> Option<String> {
    words(object, name).map(|text| cut(&text, FIELD_BYTES_MAX).to_owned())
}

fn number(object: &Map<String, Value>, name: &str) -> Option<u64> {
    number_in(&words(object, name)?)
}

fn number_in(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Audio to be played after what was sent before. Replaces what `out` holds, as its siblings do.
pub fn media(stream_sid: &str, audio: &[u8], out: &mut String) {
    open("media", stream_sid, out);
    out.push_str(",\"media\":{\"payload\":\"");
    base64_simd::STANDARD.encode_append(audio, out);
    out.push_str("\"}}");
}

/// Comes back when everything before it was played, or was cleared.
pub fn mark(stream_sid: &str, name: &str, out: &mut String) {
    open("mark", stream_sid, out);
    out.push_str(",\"mark\":{\"name\":");
    quoted(name, out);
    out.push_str("}}");
}

/// Forget what isn't played yet.
pub fn clear(stream_sid: &str, out: &mut String) {
    open("clear", stream_sid, out);
    out.push('}');
}

fn open(event: &str, stream_sid: &str, out: &mut String) {
    out.clear();
    out.push_str("{\"event\":\"");
    out.push_str(event);
    out.push_str("\",\"streamSid\":");
    quoted(stream_sid, out);
}

fn quoted(text: &str, out: &mut String) {
    // All of it, without a way out of the middle: so many at once.
    let special = |byte: u8| byte < 0x20 || byte == b'"' || byte == b'\\';
    if text.bytes().fold(0, |any, byte| any | u8::from(special(byte))) != 0 {
        out.push_str(&Value::from(text).to_string());
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

#[cfg(test)]
mod tests;
