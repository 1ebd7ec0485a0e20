//! What the phone network tells us about a call, in our own words: every provider translates into these.

use crate::id::CallId;
use serde::{Deserialize, Serialize};

/// A call as its first webhook describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arrival {
    pub call: CallId,
    pub account: String,
    pub from: String,
    pub to: String,
    /// `inbound`, `outbound-api`, `outbound-dial`; as sent.
    pub direction: String,
    pub status: Option<NetworkStatus>,
    pub caller_name: Option<String>,
    pub forwarded_from: Option<String>,
}

/// The network's own view of a call. The order is the order of life; the last five are terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkStatus {
    Queued,
    Initiated,
    Ringing,
    InProgress,
    Completed,
    Busy,
    Failed,
    NoAnswer,
    Canceled,
}

impl NetworkStatus {
    /// Letter case is ignored, `_` equals `-`, and `cancelled` and `answered` are understood.
    pub fn parse(text: &str) -> Option<NetworkStatus> {
        use NetworkStatus::*;
        Some(match text.trim().to_ascii_lowercase().replace('_', "-").as_str() {
            "queued" => Queued,
            "initiated" => Initiated,
            "ringing" => Ringing,
            "in-progress" | "answered" => InProgress,
            "completed" => Completed,
            "busy" => Busy,
            "failed" => Failed,
            "no-answer" => NoAnswer,
            "canceled" | "cancelled" => Canceled,
            _ => return None,
        })
    }

    pub fn is_terminal(self) -> bool {
        self >= NetworkStatus::Completed
    }

    pub fn as_str(self) -> &'static str {
        use NetworkStatus::*;
        match self {
            Queued => "queued",
            Initiated => "initiated",
            Ringing => "ringing",
            InProgress => "in-progress",
            Completed => "completed",
            Busy => "busy",
            Failed => "failed",
            NoAnswer => "no-answer",
            Canceled => "canceled",
        }
    }
}

/// A call status callback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusNotice {
    pub call: CallId,
    /// Set on a child leg (one that a Dial placed): it belongs on the parent's timeline and never ends the parent.
    pub parent: Option<CallId>,
    /// `None`: a word that we don't know; recorded, no effect.
    pub status: Option<NetworkStatus>,
    /// The status exactly as it was sent.
    pub raw: String,
    pub sequence: Option<u64>,
    pub duration_s: Option<u64>,
    pub sip_code: Option<String>,
}

/// What came back with the request for the next document: the result of the document's last verb.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineAnswer {
    /// A plain return: the tail Redirect, the fallback URL, Connect's action.
    #[default]
    Returned,
    /// As a plain return, but because we made the network leave what it performed.
    Interrupted,
    Gathered {
        digits: String,
        speech: Option<String>,
        confidence: Option<f64>,
    },
    Dialed {
        /// DialCallStatus as sent: `completed`, `answered` (a conference), `busy`, `no-answer`, `failed`, `canceled`.
        status: String,
        call_sid: Option<String>,
        duration_s: Option<u64>,
        recording_url: Option<String>,
    },
    Queued {
        /// QueueResult as sent.
        result: String,
        wait_seconds: Option<u64>,
    },
}

/// `/webhooks/twilio/stream`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamNotice {
    pub call: CallId,
    pub stream: String,
    /// `stream-started`, `stream-stopped`, `stream-error`.
    pub event: String,
    pub error: Option<String>,
}

/// `/webhooks/twilio/recording`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingNotice {
    pub call: CallId,
    pub sid: String,
    pub url: String,
    /// `in-progress`, `completed`, `absent`.
    pub status: String,
    pub seconds: Option<u64>,
}

/// `/webhooks/twilio/conference`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConferenceNotice {
    /// The participant, or the call that ended the conference; none for events of the conference alone.
    pub call: Option<CallId>,
    pub conference: String,
    pub name: String,
    pub event: String,
    pub label: Option<String>,
    pub reason: Option<String>,
    pub sequence: Option<u64>,
}
