//! What a line is told, what it wants done, and what the caller lives through.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::caller::Act;
use super::twiml::Method;

pub type RequestId = u64;
pub type SocketId = u64;

#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Answered {
        request: RequestId,
        reply: Reply,
    },
    /// Nobody listens there, or the connection could not be made in time.
    Refused {
        request: RequestId,
    },
    /// Connected, and then no whole answer.
    TimedOut {
        request: RequestId,
    },
    SocketUp {
        socket: SocketId,
    },
    /// `status` of the HTTP answer; 0 when there was none.
    SocketRefused {
        socket: SocketId,
        status: u16,
    },
    SocketText {
        socket: SocketId,
        text: String,
    },
    SocketBinary {
        socket: SocketId,
    },
    /// `code: None` is an end without a close frame.
    SocketClosed {
        socket: SocketId,
        code: Option<u16>,
    },
    Caller(Act),
    /// The REST API: `Status=completed`.
    Ended,
    /// The REST API: `Url=…`.
    Redirected {
        url: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reply {
    pub status: u16,
    pub content_type: String,
    /// Of a 3xx.
    pub location: Option<String>,
    pub body: String,
}

impl Reply {
    pub fn twiml(body: impl Into<String>) -> Reply {
        Reply { status: 200, content_type: "text/xml".into(), location: None, body: body.into() }
    }

    pub fn status(status: u16) -> Reply {
        Reply { status, ..Reply::default() }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Request(Request),
    OpenSocket {
        socket: SocketId,
        url: String,
        headers: Vec<(String, String)>,
    },
    SendText {
        socket: SocketId,
        text: String,
    },
    CloseSocket {
        socket: SocketId,
        code: u16,
    },
    /// Cut, without a close frame.
    AbortSocket {
        socket: SocketId,
    },
    /// 20 ms or less of the stream's sound, `at` after the call began. Only with `hear_frames`.
    Heard {
        at: Duration,
        audio: Vec<u8>,
    },
    Experience(Experience),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub id: RequestId,
    pub method: Method,
    /// With the query, without a fragment.
    pub url: String,
    pub headers: Vec<(String, String)>,
    /// What was sent, as fields: those of a GET are in `url` already.
    pub fields: Vec<(String, String)>,
    /// The form of a POST.
    pub body: Option<String>,
    pub connect_for: Duration,
    pub total_for: Duration,
}

impl Request {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// One thing that the caller, or whoever watches the line, notices.
#[derive(Debug, Clone, PartialEq)]
pub enum Experience {
    Fetched {
        url: String,
        document: String,
    },
    Hears {
        text: String,
    },
    HearsFile {
        url: String,
    },
    /// A stretch of sound from a stream; `digits` are keys in it.
    HearsAudio {
        ms: u64,
        digits: String,
    },
    HearsKeys {
        digits: String,
    },
    Beep,
    /// A pause, or a stretch of streamed silence.
    Silence {
        ms: u64,
    },
    Digit {
        key: char,
    },
    Speaks {
        text: String,
    },
    Plays {
        ms: u64,
    },
    Ringing {
        target: String,
    },
    Bridged {
        target: String,
    },
    Unbridged {
        target: String,
        result: String,
    },
    Queued {
        queue: String,
    },
    Unqueued {
        queue: String,
        result: String,
    },
    StreamUp,
    /// `code: None` is an abrupt end; violations are messages that the network ignored.
    StreamDown {
        code: Option<u16>,
        violations: u32,
    },
    MarkEchoed {
        name: String,
    },
    Cleared,
    Recorded {
        ms: u64,
    },
    HangsUp,
    Warning {
        code: u32,
        text: String,
    },
    Ended {
        status: Status,
        duration: Duration,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Ringing,
    InProgress,
    Completed,
    Busy,
    NoAnswer,
    Failed,
    Canceled,
}

impl Status {
    pub fn word(self) -> &'static str {
        match self {
            Status::Ringing => "ringing",
            Status::InProgress => "in-progress",
            Status::Completed => "completed",
            Status::Busy => "busy",
            Status::NoAnswer => "no-answer",
            Status::Failed => "failed",
            Status::Canceled => "canceled",
        }
    }

    pub fn is_terminal(self) -> bool {
        !matches!(self, Status::Ringing | Status::InProgress)
    }
}

impl Display for Experience {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = |ms: u64| ms as f64 / 1000.0;
        match self {
            Experience::Fetched { url, document } => write!(f, "fetches {url}: {document}"),
            Experience::Hears { text } => write!(f, "hears \"{text}\""),
            Experience::HearsFile { url } => write!(f, "hears {url}"),
            Experience::HearsAudio { ms, digits } if digits.is_empty() => {
                write!(f, "hears {} s of sound", seconds(*ms))
            }
            Experience::HearsAudio { ms, digits } => {
                write!(f, "hears {} s of sound with keys {digits}", seconds(*ms))
            }
            Experience::HearsKeys { digits } => write!(f, "hears keys {digits}"),
            Experience::Beep => f.write_str("hears a beep"),
            Experience::Silence { ms } => write!(f, "hears {} s of silence", seconds(*ms)),
            Experience::Digit { key } => write!(f, "presses {key}"),
            Experience::Speaks { text } => write!(f, "says \"{text}\""),
            Experience::Plays { ms } => write!(f, "plays {} s of sound", seconds(*ms)),
            Experience::Ringing { target } => write!(f, "hears {target} ring"),
            Experience::Bridged { target } => write!(f, "talks to {target}"),
            Experience::Unbridged { target, result } => write!(f, "is done with {target}: {result}"),
            Experience::Queued { queue } => write!(f, "waits in the queue {queue}"),
            Experience::Unqueued { queue, result } => write!(f, "leaves the queue {queue}: {result}"),
            Experience::StreamUp => f.write_str("stream is up"),
            Experience::StreamDown { code, violations } => {
                match code {
                    Some(code) => write!(f, "stream is down ({code})")?,
                    None => f.write_str("stream is down without a close")?,
                }
                if *violations > 0 { write!(f, ", {violations} messages were ignored") } else { Ok(()) }
            }
            Experience::MarkEchoed { name } => write!(f, "mark {name} returns"),
            Experience::Cleared => f.write_str("sound is cleared"),
            Experience::Recorded { ms } => write!(f, "is recorded for {} s", seconds(*ms)),
            Experience::HangsUp => f.write_str("hangs up"),
            Experience::Warning { code, text } => write!(f, "warning {code}: {text}"),
            Experience::Ended { status, duration } => {
                write!(f, "call is over: {} after {} s", status.word(), duration.as_secs_f64())
            }
        }
    }
}
