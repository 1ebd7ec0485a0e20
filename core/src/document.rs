//! One exchange's document, before it becomes TwiML: what the network is asked to perform, as values.
//!
//! A [`Plan`] is what the journal keeps. Rendering it ([`crate::provider::twilio::twiml`]) is a pure function of the
//! plan, the [`Links`] and the stream's token, so the same plan always gives the same bytes.

use serde::{Deserialize, Serialize};

/// Everything that one answer to the network says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Number of the exchange, from 1.
    pub exchange: u32,
    pub verbs: Vec<Verb>,
    pub ending: Ending,
}

/// How a document ends. Every one but `Hangup` and `Reject` carries the tail Redirect to `next?x=N` as last element.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// `<Connect action><Stream>…</Stream></Connect>`, then the tail.
    Stream { parameters: Vec<(String, String)> },
    /// The tail alone: the network comes back for more.
    Return,
    /// `<Hangup/>`, no tail.
    Hangup,
    /// `<Reject reason="busy"/>` alone, no tail.
    Reject { reason: String },
}

/// What the network performs by itself. A verb with an `action` of its own (Gather, Dial, Conference, Enqueue) is the
/// last one of its document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    Say(Say),
    /// Play a file by URL.
    Play {
        url: String,
    },
    Pause {
        seconds: u32,
    },
    /// Its prompts are performed while the network already listens.
    Gather(Gather),
    Dial(Dial),
    Conference(Conference),
    Enqueue {
        queue: String,
    },
    /// `<Start><Recording recordingStatusCallback=…/></Start>`: the network records from here on.
    StartRecording {
        channels: u8,
    },
    /// `<Stop><Recording/></Stop>`.
    StopRecording,
    /// `<Leave/>`: out of the queue. In wait documents only, and the last of its document.
    Leave,
}

impl Verb {
    /// True for a verb whose result comes back by its own `action` URL (`next?x=N&a=K`).
    pub fn has_action(&self) -> bool {
        matches!(self, Verb::Gather(_) | Verb::Dial(_) | Verb::Conference(_) | Verb::Enqueue { .. })
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Say {
    /// Plain text, or the inside of `<speak>…</speak>` (already well-formed and escaped) when `ssml`.
    pub text: String,
    #[serde(default)]
    pub ssml: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Gather {
    /// Say, Play and Pause only.
    pub prompts: Vec<Verb>,
    /// `input="dtmf speech"` instead of `input="dtmf"`.
    pub speech: Option<GatherSpeech>,
    /// None: no limit.
    pub num_digits: Option<u32>,
    /// Whole seconds of silence until the network gives up; at least 1.
    pub timeout_s: u32,
    /// `""` disables the finishing key.
    pub finish_on_key: String,
    /// Whether the action is asked even when nothing came. False only for a barge-in prompt.
    pub action_on_empty_result: bool,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GatherSpeech {
    /// `None` = "auto".
    pub speech_timeout_s: Option<u32>,
    pub language: Option<String>,
    pub hints: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Dial {
    pub nouns: Vec<Noun>,
    pub caller_id: Option<String>,
    pub timeout_s: Option<u32>,
    /// `answerOnBridge`: the caller keeps hearing ringing of the far end.
    pub answer_on_bridge: bool,
    pub record: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", content = "target")]
pub enum Noun {
    Number(String),
    Sip(String),
    Client(String),
    /// The agent's side of a queue.
    Queue(String),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conference {
    pub name: String,
    pub start_on_enter: bool,
    pub end_on_exit: bool,
    pub muted: bool,
    pub label: Option<String>,
    pub wait_url: Option<String>,
    pub record: bool,
}

/// Where a document's URLs point.
#[derive(Debug, Clone, PartialEq)]
pub struct Links {
    /// `https://host[:port][/prefix]`, without a trailing slash.
    pub origin: String,
    pub workflow: String,
    pub call: String,
    /// Connection overrides appended to tail and action URLs; never signed, never sent back. `""` for none.
    pub return_fragment: String,
}
