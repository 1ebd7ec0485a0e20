//! Between a call and its flow: the words that one turn may carry.
//!
//! A flow never sees audio, sockets or documents. Its owner tells it how the line stands ([`Posture`]) and what
//! happened ([`Event`]); it answers with one [`Turn`]: facts to write, [`Op`]s to do, and what it needs next
//! ([`Needs`]). One turn is one batch: the facts are on disk before an answer leaves or an effect is seen.
//!
//! The flow has two cursors. While the network asks for a document ([`Line::Asking`]) it may *render* verbs ahead of
//! what the caller has heard; they are *done* when the network has come back ([`Event::Performed`]).

use crate::Tick;
use crate::document::Verb;
use crate::fact::RunFact;
use crate::flow::script::ActionNode;
use crate::http::{Errand, FetchNo, Outcome};
use crate::id::{CallId, RunId};
use crate::notice::LineAnswer;
use crate::workflow::outbox::Delivery;
use serde::{Deserialize, Serialize};

/// How the line stands during this turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Posture {
    pub line: Line,
    /// Our own speech is configured: `talk` can be spoken over the stream. Otherwise only the network can speak.
    pub local_speech: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// No call, or the call is over: actions that need one are skipped.
    Absent,
    /// The network waits for a document: verbs may be rendered, nothing can be played.
    Asking,
    /// A stream is up: sound can be played and heard, verbs only by leaving it.
    Streaming,
    /// A document is being performed, or the network is on its way back. What needs the line waits for the next
    /// posture; other actions, waits and timers go on.
    Away,
}

/// What happened since the last turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The posture alone is news: go on as far as possible.
    Proceed,
    /// Every verb rendered so far was performed; `answer` is what the last one brought.
    Performed { answer: LineAnswer },
    /// The caller pressed a key while a stream is up.
    Pressed { digit: char },
    /// A sound that this run began on the stream has ended.
    Sounded { sound: u64, heard_ms: u64, how: SoundEnd },
    /// The recording that this run began has ended, for whatever reason.
    Recorded { report: RecordingReport },
    /// What came of an [`Op::Fetch`]. An answer to an attempt that is given up is ignored, and counted.
    Fetched { no: FetchNo, outcome: Outcome },
    /// A due time may have come.
    Due,
    /// The owner's own ids and callbacks changed a variable of the runtime (`call.status`, `call.duration`, …).
    Learned { name: String, value: serde_json::Value },
    /// Somebody wants something of this run, or of one inside it; the answer is the turn's [`Turn::verdict`].
    Commanded { run: RunId, command: Command },
    /// The run ends now, for this reason: the call is over, or somebody stopped it.
    End { reason: EndReason, detail: Option<String> },
}

/// What somebody outside may want of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Ends the block under way, with actions to do first. See [`crate::flow::Run::may_execute`].
    Execute { current_action_id: Option<String>, actions: Option<Vec<ActionNode>> },
    /// Actions that run before what comes next, or cut short what is under way where it can be cut.
    Push { actions: Vec<ActionNode>, interrupt: bool },
    /// Cuts short what is under way, in the run or in one that it has called.
    Interrupt,
    /// Sets variables of the workflow.
    Set { variables: Vec<(String, serde_json::Value)> },
    /// Ends it now. A run that was called by another one hands what it has to its caller, which goes on.
    Stop,
}

/// Why a command has no effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    AlreadyEnded,
    StaleAction,
    NotBlocked,
    /// It ends the run.
    Limit,
    /// What is under way can't be cut short.
    NotInterruptible,
    /// The variables would be more, or larger, than a run may have.
    TooMuch,
    /// Another request was carried out under this key.
    KeyReused,
}

/// How a sound ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SoundEnd {
    Whole,
    /// Cut by a barge-in or a command.
    Cut,
    /// The socket took nothing for `stall_timeout`.
    Stalled,
    /// It could not be loaded or spoken.
    Failed {
        class: ErrorClass,
        message: String,
    },
}

/// What a run wants done. Everything waits for the turn's facts to be written, except `Hush`.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Appended to the document that is being made; only under [`Line::Asking`]. A `Gather` takes in the prompts
    /// (Say, Play, Pause) that stand directly before it.
    Render(Verb),
    /// Play on the stream, after what is queued already. Ends in [`Event::Sounded`] with the same number.
    Sound {
        sound: u64,
        what: Sound,
    },
    /// Stop what is playing and empty the network's buffer. Each sound cut is reported.
    Hush,
    /// Send back what is heard, frame by frame, or stop doing so.
    Echo(bool),
    StartRecording(RecordingWish),
    StopRecording,
    /// Ask another system. Ends in [`Event::Fetched`] with the same number; begun anew by the run after a restart.
    Fetch {
        no: FetchNo,
        errand: Errand,
    },
    /// Hand a message to the durable outbox: it is written in the same batch as this turn's facts.
    Owe(Box<Delivery>),
}

/// What can be played on a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sound {
    /// Relative to the folder of the workflow's own file.
    File(String),
    Url(String),
    Tones {
        digits: String,
        duration_ms: u32,
        interval_ms: u32,
    },
    Beep {
        hz: u32,
        ms: u32,
    },
    Speech {
        text: String,
        ssml: bool,
        language: Option<String>,
        voice: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingWish {
    /// Names the file; unique in the run.
    pub ordinal: u64,
    /// 1 mixed; 2: the caller, then us.
    pub channels: u8,
    pub beep_start: bool,
    pub end_of_silence_ms: Option<u64>,
    pub end_of_key: Option<String>,
    pub duration_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordingReport {
    pub ordinal: u64,
    /// Relative to the recordings folder.
    pub file: String,
    pub bytes: u64,
    pub seconds: f64,
    pub gaps: Vec<Gap>,
    /// `stopped`, `silence`, `key`, `duration`, `hangup`, `failed`.
    pub ended_by: String,
}

/// A stretch of the call that a stream recording could not hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub at_ms: u64,
    pub ms: u64,
}

/// One turn of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    pub facts: Vec<RunFact>,
    pub ops: Vec<Op>,
    pub needs: Needs,
    /// When the run wants [`Event::Due`].
    pub wake_at: Option<Tick>,
    /// The first facts of runs that follow on an end of this turn: written in its batch, each in its own story.
    pub follow: Vec<RunFact>,
    /// The answer to an [`Event::Commanded`].
    pub verdict: Option<Result<(), Refused>>,
}

/// What the run needs to go on.
#[derive(Debug, Clone, PartialEq)]
pub enum Needs {
    /// The network's return by what was rendered; or nothing of the line at all (a run without a call).
    Nothing,
    /// A stream: its action lives on it, or the caller is held on it while something else is waited for.
    Stream,
    /// A stream is up, but only the network can do what comes next: leave it (finish what plays first).
    Verb,
    /// The flow has come to its end; `hold` keeps the call until it ends by itself. Verbs may still be undone: then
    /// the run is over when they are performed.
    Close {
        hold: bool,
    },
    Over(Box<RunOver>),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunOver {
    pub reason: EndReason,
    pub detail: Option<String>,
    /// Evaluated for reason `completed` only.
    pub outputs: serde_json::Map<String, serde_json::Value>,
    /// The document's `on_complete`, when one is to be started.
    pub on_complete: Option<String>,
    /// Ended by a `hangup` action: the call's own end reason is `hangup`.
    pub by_hangup: bool,
    /// `on_end: hold`.
    pub hold: bool,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    Completed,
    Stopped,
    CallEnded,
    Failed,
    Limit,
    Canceled,
}

impl EndReason {
    pub fn as_str(self) -> &'static str {
        match self {
            EndReason::Completed => "completed",
            EndReason::Stopped => "stopped",
            EndReason::CallEnded => "call_ended",
            EndReason::Failed => "failed",
            EndReason::Limit => "limit",
            EndReason::Canceled => "canceled",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    Invalid,
    Unavailable,
    Timeout,
    Rejected,
    Limit,
    Canceled,
    Internal,
}

/// What a run is about: decides which actions are available, and what the API shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    pub kind: ReferenceKind,
    /// CallSid for `call` and `workflow`; free for others.
    pub id: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceKind {
    Call,
    Conversation,
    Api,
    Campaign,
    Transcribe,
    Recording,
    Ai,
    Workflow,
}

impl Reference {
    pub fn call(call: &CallId) -> Reference {
        Reference { kind: ReferenceKind::Call, id: call.0.clone() }
    }
}
