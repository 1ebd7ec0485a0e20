//! One socket's conversation, apart from the socket: reads the network's messages, counts bad ones, names the stream.
//! Shared by every carrier.

use holdline_core::call::{Input, StreamNo, StreamOut};
use holdline_core::limit::BAD_MESSAGES_MAX;
use holdline_core::provider::twilio::stream::{self, Start, StreamIn, Track};
use std::mem;

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
    audio: Vec<u8>,
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

    pub fn text(&mut self, text: &str) -> Heard {
        let mut audio = mem::take(&mut self.audio);
        let message = stream::read_stream(text, &mut audio);
        self.audio = audio;
        let Ok(message) = message else { return self.bad_message() };
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
                let audio = self.audio.clone();
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
