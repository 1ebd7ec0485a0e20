//! One socket's conversation, apart from the socket: reads the network's messages, counts bad ones, names the stream.
//! Shared by every carrier.

use actix_http::ws::Item;
use holdline_core::CallId;
use holdline_core::call::{Input, StreamNo, StreamOut};
use holdline_core::limit::BAD_MESSAGES_MAX;
use holdline_core::metric::Limit;
use holdline_core::provider::twilio::stream::{self, MESSAGE_BYTES_MAX, Start, StreamIn, Track};
use std::cell::RefCell;

/// What one message asks of its carrier.
#[derive(Debug)]
pub enum Heard {
    Nothing,
    /// The stream has a name now.
    Started(Start),
    /// For the session; audio may be dropped when it can't keep up, nothing else may.
    Tell(Input),
    /// Close with this code.
    Close(u16),
}

#[derive(Debug, Default)]
pub struct Conversation {
    stream: Option<StreamNo>,
    stream_sid: String,
    started: bool,
    bad_in_a_row: u32,
    bad: u64,
}

thread_local! {
    /// What a message holds is decoded here.
    static AUDIO: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Conversation {
    pub fn new(stream: Option<StreamNo>) -> Conversation {
        Conversation { stream, ..Conversation::default() }
    }

    pub fn stream(&self) -> Option<StreamNo> {
        self.stream
    }

    /// A bare socket was given its place in a call.
    pub fn becomes(&mut self, stream: StreamNo) {
        self.stream = Some(stream);
    }

    pub fn has_started(&self) -> bool {
        self.started
    }

    /// Messages that were counted and ignored.
    pub fn bad(&self) -> u64 {
        self.bad
    }

    pub fn stream_sid(&self) -> &str {
        &self.stream_sid
    }

    /// A text frame whose encoding nobody has looked at.
    pub fn text_bytes(&mut self, bytes: &[u8]) -> Heard {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text(text),
            Err(_) => self.bad_message(),
        }
    }

    pub fn text(&mut self, text: &str) -> Heard {
        AUDIO.with_borrow_mut(|audio| self.read(text, audio))
    }

    fn read(&mut self, text: &str, audio: &mut Vec<u8>) -> Heard {
        let Ok(message) = stream::read_stream(text, audio) else { return self.bad_message() };
        if self.started && message.stream_sid().is_some_and(|sid| sid != self.stream_sid) {
            return self.bad_message();
        }
        self.bad_in_a_row = 0;
        let Some(stream) = self.stream.filter(|_| self.started) else {
            return match message {
                StreamIn::Start(start) if !self.started => {
                    self.started = true;
                    self.stream_sid.clone_from(&start.stream_sid);
                    Heard::Started(start)
                }
                _ => Heard::Nothing,
            };
        };
        match message {
            StreamIn::Media { track: Track::Inbound, timestamp_ms, .. } => {
                let audio = audio.as_slice().into();
                Heard::Tell(Input::Heard { stream, audio, at_ms: timestamp_ms })
            }
            StreamIn::Dtmf { digit, .. } => Heard::Tell(Input::Pressed { stream, digit }),
            StreamIn::Mark { name, .. } => Heard::Tell(Input::Marked { stream, name: name.into_owned() }),
            StreamIn::Stop { .. } => Heard::Tell(Input::Stopped { stream }),
            StreamIn::Media { .. } | StreamIn::Connected | StreamIn::Start(_) | StreamIn::Unknown(_) => {
                Heard::Nothing
            }
        }
    }

    /// A binary frame, or text that is no message of ours: ignored until there are too many in a row.
    pub fn bad_message(&mut self) -> Heard {
        self.bad += 1;
        self.bad_in_a_row += 1;
        if self.bad_in_a_row >= BAD_MESSAGES_MAX { Heard::Close(1007) } else { Heard::Nothing }
    }

    /// The text of one message to the network.
    pub fn write(&self, out: &StreamOut, text: &mut String) {
        write(&self.stream_sid, out, text);
    }
}

/// Parts of one message; the network sends its messages whole.
pub const FRAGMENTS_MAX: usize = 64;

/// A message that comes in several frames.
#[derive(Debug, Default)]
pub struct Parts {
    bytes: Vec<u8>,
    count: usize,
    open: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Binary,
}

/// What a part makes of its message.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    More,
    Whole(Vec<u8>),
    /// No message of ours, whatever else comes of it.
    Binary,
    TooMuch(Limit),
}

impl Parts {
    /// A message has begun and is not whole.
    pub fn are_open(&self) -> bool {
        self.open.is_some()
    }

    pub fn take(&mut self, item: Item) -> Part {
        let (bytes, last) = match item {
            Item::FirstText(bytes) => {
                *self = Parts { open: Some(Kind::Text), ..Parts::default() };
                (bytes, false)
            }
            Item::FirstBinary(_) => {
                *self = Parts { open: Some(Kind::Binary), ..Parts::default() };
                return Part::Binary;
            }
            Item::Continue(bytes) => (bytes, false),
            Item::Last(bytes) => (bytes, true),
        };
        self.count += 1;
        if self.count > FRAGMENTS_MAX {
            return Part::TooMuch(Limit::MessageParts);
        }
        if self.bytes.len() + bytes.len() > MESSAGE_BYTES_MAX {
            return Part::TooMuch(Limit::MessageBytes);
        }
        if self.open == Some(Kind::Text) {
            self.bytes.extend_from_slice(&bytes);
        }
        if !last {
            return Part::More;
        }
        match std::mem::take(self) {
            Parts { open: Some(Kind::Text), bytes, .. } => Part::Whole(bytes),
            _ => Part::More,
        }
    }
}

/// Whether a stream that was let in for `call` says that it belongs to another one.
pub fn names_another(start: &Start, call: &CallId) -> bool {
    let named = start.call_sid.as_deref().or(start.parameters.get("callSid").map(String::as_str));
    named.is_some_and(|named| named != call.0)
}

/// The text of one message on the stream of this name.
pub fn write(stream_sid: &str, out: &StreamOut, text: &mut String) {
    match out {
        StreamOut::Audio(audio) => stream::media(stream_sid, audio, text),
        StreamOut::Mark(name) => stream::mark(stream_sid, name, text),
        StreamOut::Clear => stream::clear(stream_sid, text),
    }
}

/// What is wrong with the format that `start` names; nothing if we can handle it.
pub fn format_trouble(start: &Start) -> Option<String> {
    let format = start.format.as_ref().filter(|format| !format.is_usual())?;
    Some(format!(
        "the stream's format is {} at {} Hz with {} channels, expected audio/x-mulaw at 8000 Hz with 1",
        format.encoding, format.sample_rate, format.channels
    ))
}
