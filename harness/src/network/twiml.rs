//! The network's reading of a document: the verbs that it will perform, and what it frowned at.
//!
//! Errors end the document (the fallback URL is asked); warnings are what the real network would put in its log and
//! then do as well as it can. The names of attributes are the official list, so a misspelt one is seen here.

use std::time::Duration;

use super::reader::Reader;
use super::xml;

#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    pub verbs: Vec<Verb>,
    pub warnings: Vec<Warning>,
}

/// A number of the network's error list, and what was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub code: u32,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Verb {
    Say(Say),
    Play(Play),
    Pause { seconds: u64 },
    Gather(Gather),
    Dial(Dial),
    Enqueue(Enqueue),
    Record(Record),
    Redirect(Callback),
    Hangup,
    Reject { busy: bool },
    Leave,
    Connect(Connect),
    StartRecording { callback: Option<Callback>, events: Vec<String>, channels: u8 },
    StopRecording,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    #[default]
    Post,
    Get,
}

/// A URL as written, and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    pub url: String,
    pub method: Method,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Say {
    pub text: String,
    pub voice: Option<String>,
    pub language: Option<String>,
    pub turns: u32,
    /// The `<break>`s inside.
    pub breaks: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    pub url: Option<String>,
    pub digits: Option<String>,
    pub turns: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Gather {
    pub dtmf: bool,
    pub speech: bool,
    pub action: Option<String>,
    pub method: Method,
    pub timeout: Duration,
    pub speech_timeout: Option<Duration>,
    pub finish_on: String,
    pub digits: Option<usize>,
    pub action_on_empty: bool,
    pub barge_in: bool,
    pub hints: Option<String>,
    /// `Say`, `Play` and `Pause` only.
    pub prompts: Vec<Verb>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Dial {
    pub action: Option<Callback>,
    pub timeout: Duration,
    pub time_limit: Option<Duration>,
    pub hangup_on_star: bool,
    pub answer_on_bridge: bool,
    pub sequential: bool,
    pub caller_id: Option<String>,
    pub record: bool,
    pub recording: Option<Callback>,
    pub nouns: Vec<Noun>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Noun {
    pub kind: NounKind,
    pub name: String,
    pub callback: Option<Callback>,
    pub events: Vec<String>,
    pub label: Option<String>,
    pub muted: bool,
    pub starts: bool,
    pub ends: bool,
    pub record: bool,
    pub recording: Option<Callback>,
    pub send_digits: Option<String>,
    /// Of a conference: what is heard until it starts. Empty is silence; none is the network's own music.
    pub wait: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NounKind {
    Number,
    Client,
    Sip,
    Queue,
    Conference,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Enqueue {
    pub name: String,
    pub action: Option<Callback>,
    pub wait: Option<Callback>,
    pub size_max: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub action: Option<String>,
    pub method: Method,
    pub timeout: Duration,
    pub finish_on: String,
    pub length_max: Duration,
    pub beep: bool,
    pub recording: Option<Callback>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Connect {
    pub action: Option<Callback>,
    pub stream: Stream,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    pub url: String,
    pub name: Option<String>,
    pub parameters: Vec<(String, String)>,
    pub callback: Option<Callback>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Xml(#[from] xml::Error),
    #[error("expected the root element Response, got {0}")]
    NotResponse(String),
}

impl Error {
    /// What the network's error list calls it.
    pub fn code(&self) -> u32 {
        match self {
            Error::Xml(xml::Error::TooLarge { .. }) => 11750,
            _ => 12100,
        }
    }
}

pub fn read(text: &str) -> Result<Document, Error> {
    let root = xml::read(text)?;
    if root.name != "Response" {
        return Err(Error::NotResponse(root.name.chars().take(60).collect()));
    }
    Ok(Reader::default().document(&root))
}
