//! What a call writes down. Its state is the fold of these; the timeline reads them in order.

use crate::document::Plan;
use crate::id::{RunId, WorkflowId};
use crate::notice::{Arrival, ConferenceNotice, NetworkStatus, RecordingNotice, StatusNotice, StreamNotice};
use crate::once::Deed;
use crate::scene::{RecordingReport, RunOver};
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
#[non_exhaustive]
pub enum CallFact {
    /// The voice webhook was seen. Everything that the call needs to be rebuilt stands here or in the run's facts.
    Arrived {
        arrival: Arrival,
        workflow: WorkflowId,
        sub_workflow: WorkflowId,
        sub_run: RunId,
        main_run: Option<RunId>,
        max_duration_ms: Option<u64>,
        /// Said to a caller whose stream was lost and is back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume_phrase: Option<String>,
    },
    /// Turned away before anything ran (capacity, drain).
    Rejected,
    /// The network's status moved forward.
    Status {
        status: NetworkStatus,
        duration_s: Option<u64>,
    },
    /// A document was given for the first time. The token of its stream is derived, never written.
    Given {
        plan: Plan,
        key: Option<String>,
    },
    /// A retry of the network was bound to a document that it had been given before.
    Bound {
        key: String,
        exchange: u32,
    },
    /// The network came back for what follows document `exchange`.
    Returned {
        exchange: u32,
    },
    /// The one use of a document's stream token.
    TokenUsed {
        exchange: u32,
        stream: u64,
    },
    StreamStarted {
        stream: u64,
        exchange: u32,
        stream_sid: String,
    },
    StreamEnded {
        stream: u64,
        stopped: bool,
    },
    /// A key that the caller pressed, in the order of the call.
    Digits {
        digits: String,
    },
    RecordingStarted {
        ordinal: u64,
        file: String,
    },
    RecordingEnded {
        report: RecordingReport,
    },
    /// The sub-workflow is over; the call may still be up.
    FlowOver {
        over: RunOver,
    },
    /// From here on the call only ends.
    Stopping {
        reason: CallEnd,
    },
    /// Nothing can happen any more. `completion` is owed to the main workflow until `Acked`.
    Over {
        reason: CallEnd,
        completion: Value,
    },
    Acked,
    /// What the network told beside the call's own life.
    ChildStatus {
        notice: StatusNotice,
    },
    StreamNews {
        notice: StreamNotice,
    },
    RecordingNews {
        notice: RecordingNotice,
    },
    ConferenceNews {
        notice: ConferenceNotice,
    },
    /// The network's REST API was asked, and what it said.
    Reached {
        asked: String,
        said: String,
    },
    /// Somebody outside lets the caller hear this: in the next document, or on the stream at once.
    Said {
        text: String,
        deferred: bool,
    },
    /// Somebody's request was carried out, and is not when it comes again.
    Obeyed(Deed),
    /// Something that went wrong and did not end the call.
    Trouble {
        what: String,
    },
}

/// Why a call ended: `endReason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallEnd {
    Completed,
    CallerHangup,
    Busy,
    Failed,
    NoAnswer,
    Canceled,
    Hangup,
    MaxDuration,
    IdleTimeout,
    NoReturn,
    Internal,
    Rejected,
}

impl CallEnd {
    pub fn as_str(self) -> &'static str {
        match self {
            CallEnd::Completed => "completed",
            CallEnd::CallerHangup => "caller_hangup",
            CallEnd::Busy => "busy",
            CallEnd::Failed => "failed",
            CallEnd::NoAnswer => "no_answer",
            CallEnd::Canceled => "canceled",
            CallEnd::Hangup => "hangup",
            CallEnd::MaxDuration => "max_duration",
            CallEnd::IdleTimeout => "idle_timeout",
            CallEnd::NoReturn => "no_return",
            CallEnd::Internal => "internal",
            CallEnd::Rejected => "rejected",
        }
    }
}
