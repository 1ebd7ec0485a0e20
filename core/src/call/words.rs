//! What a call may be told, and what it wants done: one vocabulary each way.

use super::fact::CallEnd;
use crate::document::{Plan, Verb};
use crate::fact::Fact;
use crate::http::{Errand, FetchNo, Outcome};
use crate::id::RunId;
use crate::media::Audio;
use crate::notice::{
    ConferenceNotice, LineAnswer, NetworkStatus, RecordingNotice, StatusNotice, StreamNotice,
};
use crate::once::{Deed, Stamp};
use crate::scene::{Command, ErrorClass, Event, Posture, RecordingReport, Refused, Sound, Turn};
use crate::workflow::outbox::Delivery;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// Numbers the turns between a call and its flow: a report with another number is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct TurnNo(pub u64);

/// One request from outside that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskNo(pub u64);

/// One socket of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamNo(pub u64);

#[derive(Debug)]
pub enum Input {
    /// The network, or a person, asks; exactly one [`Effect::Answer`] follows.
    Asked {
        ask: AskNo,
        request: Request,
    },
    /// The flow's report of a turn.
    Took {
        turn: TurnNo,
        report: Turn,
    },
    /// The verbs of a wait document.
    Waited {
        ask: AskNo,
        exchange: u32,
        turn: u32,
        verbs: Vec<Verb>,
    },
    /// The socket's `start` was read.
    StreamUp {
        stream: StreamNo,
        stream_sid: String,
        trouble: Option<String>,
    },
    Heard {
        stream: StreamNo,
        audio: Audio,
        at_ms: Option<u64>,
    },
    Pressed {
        stream: StreamNo,
        digit: char,
    },
    Marked {
        stream: StreamNo,
        name: String,
    },
    /// The network says that the stream has stopped.
    Stopped {
        stream: StreamNo,
    },
    /// The socket is gone.
    StreamDown {
        stream: StreamNo,
    },
    /// The socket takes no more, or takes again.
    Blocked {
        stream: StreamNo,
        blocked: bool,
    },
    /// Audio that was asked for by [`Effect::Load`].
    Loaded {
        sound: u64,
        audio: Result<Arc<[u8]>, (ErrorClass, String)>,
    },
    /// It is on disk that the echo began.
    EchoOpen {
        echo: u64,
    },
    /// A recording's file is closed.
    RecordingClosed {
        report: RecordingReport,
    },
    /// Inbound frames were dropped before they came here.
    Dropped {
        frames: u64,
    },
    /// What came of an [`Effect::Fetch`].
    Fetched {
        no: FetchNo,
        outcome: Outcome,
    },
    /// What came of an [`Effect::Reach`].
    Reached {
        no: u64,
        outcome: Outcome,
    },
    /// The flow's actor has died: nothing more comes of the turn under way.
    FlowLost,
    /// The main workflow has the completion.
    Acked,
    /// The process goes away: hand the call over by closing its stream.
    HandOver,
    /// Somebody looks at it: how loud it is matters for a while.
    Watched,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// The voice webhook; for a call that is known already it is a way back like any other.
    Voice {
        /// As the request says it: a terminal one tells that the call is over for the network.
        status: Option<NetworkStatus>,
        answer: LineAnswer,
        key: Option<String>,
    },
    Next {
        x: Option<u32>,
        a: Option<u32>,
        status: Option<NetworkStatus>,
        answer: LineAnswer,
        key: Option<String>,
    },
    Wait {
        x: u32,
        w: u32,
        /// Seconds that the caller has been in the queue, as the network says.
        waited_s: Option<u64>,
    },
    Status(StatusNotice),
    Stream(StreamNotice),
    Recording(RecordingNotice),
    Conference(ConferenceNotice),
    /// A socket wants to open with this token.
    Open {
        token: String,
    },
    /// A bare stream named this call in its `start`.
    Attach,
    /// The network is to leave the verb that it performs, which only its REST API can tell it. What runs on a stream
    /// is cut short by the flow itself.
    LeaveVerb,
    /// End the call now: by the API.
    HangUp,
    /// End the activeflow, and with it the call.
    Stop,
    /// Let the caller hear this text.
    Say {
        text: String,
    },
    /// Somebody wants something of the sub-workflow's run, or of one inside it. To stop the former ends the call too.
    Command {
        run: RunId,
        command: Command,
    },
    /// A person's wish with a key of theirs: it is carried out once, however often it comes.
    Once {
        stamp: Stamp,
        wish: Box<Request>,
    },
}

impl Request {
    pub fn stamped(self, stamp: Option<Stamp>) -> Request {
        match stamp {
            Some(stamp) => Request::Once { stamp, wish: Box::new(self) },
            None => self,
        }
    }

    /// What it asks for, and what makes it the same when it comes again.
    pub fn unstamped(self) -> (Option<Stamp>, Request) {
        match self {
            Request::Once { stamp, wish } => (Some(stamp), *wish),
            request => (None, request),
        }
    }

    /// What is answered to a wish that was carried out before, or whose key was used for another one.
    pub fn again(&self, before: Result<Deed, Refused>) -> Answer {
        match (self, before) {
            (_, Err(refused)) => Answer::Commanded(Err(refused)),
            (Request::HangUp | Request::Stop, Ok(Deed { deferred, .. })) => Answer::Ending { deferred },
            (Request::Say { .. }, Ok(Deed { deferred, .. })) => Answer::Saying { deferred },
            (Request::LeaveVerb, Ok(_)) => Answer::Leaving,
            (_, Ok(_)) => Answer::Commanded(Ok(())),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Document {
        plan: Arc<Plan>,
    },
    /// `<Hangup/>`: the call is over.
    Hangup,
    WaitDocument {
        exchange: u32,
        turn: u32,
        verbs: Vec<Verb>,
    },
    NoContent,
    /// The socket may open.
    Admitted {
        stream: StreamNo,
        exchange: u32,
    },
    /// The socket may not open.
    Denied {
        why: &'static str,
    },
    /// The network leaves its verb, and comes back for what follows.
    Leaving,
    /// The end is under way; `deferred` when it can only be performed at the network's next request.
    Ending {
        deferred: bool,
    },
    /// It will be heard; `deferred` when that is in the next document.
    Saying {
        deferred: bool,
    },
    /// What the run says to a command; what came of it is written.
    Commanded(Result<(), Refused>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// One batch, each fact with the time on the wall at which it was decided: some have waited for a document's.
    /// Everything behind it waits until it is written, but for the [urgent](Effect::is_urgent).
    Record(Vec<(u64, Fact)>),
    Take {
        turn: TurnNo,
        posture: Posture,
        event: Event,
    },
    WaitTurn {
        ask: AskNo,
        exchange: u32,
        turn: u32,
        waited_s: Option<u64>,
    },
    Answer {
        ask: AskNo,
        answer: Answer,
    },
    Transmit {
        stream: StreamNo,
        out: StreamOut,
    },
    CloseStream {
        stream: StreamNo,
        code: u16,
    },
    Load {
        sound: u64,
        what: Sound,
    },
    /// Comes back as [`Input::EchoOpen`]: behind a record, so that nothing is echoed before it is written.
    OpenEcho {
        echo: u64,
    },
    /// Comes back as [`Input::Fetched`].
    Fetch {
        no: FetchNo,
        errand: Errand,
    },
    /// Asks the network's REST API about this call; comes back as [`Input::Reached`].
    Reach {
        no: u64,
        errand: Errand,
    },
    /// Something happened that is worth a counter of this name.
    Count(&'static str),
    /// It is on disk: send it.
    Deliver(Box<Delivery>),
    OpenRecording {
        ordinal: u64,
        file: String,
        channels: u8,
    },
    AppendRecording {
        pcm: Vec<u8>,
    },
    /// `report` comes back as [`Input::RecordingClosed`], with the bytes that the file really has.
    CloseRecording {
        report: RecordingReport,
    },
    TellParent {
        run: RunId,
        completion: Value,
    },
    /// A main workflow that follows on the end of the flow is on disk: wake it.
    Follow {
        run: RunId,
    },
    /// One line in the log at the end of a call.
    Summary(Summary),
    /// Nothing of this call needs to stay in memory.
    Finished,
}

impl Effect {
    /// Sound never waits for the disk.
    pub fn is_urgent(&self) -> bool {
        matches!(self, Effect::Transmit { .. } | Effect::AppendRecording { .. })
    }
}

/// What goes out on a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamOut {
    Audio(Audio),
    Mark(String),
    Clear,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub reason: CallEnd,
    pub duration: Duration,
    pub frames_in: u64,
    pub frames_out: u64,
    pub frames_dropped: u64,
}

/// What every call of a server is told of its configuration.
#[derive(Debug, Clone)]
pub struct CallConfig {
    pub max_duration: Duration,
    pub idle_timeout: Duration,
    pub return_grace: Duration,
    /// Our own speech is configured.
    pub local_speech: bool,
    pub media: crate::media::playout::PlayoutConfig,
    /// Derives the tokens of streams; made once an instance and kept.
    pub instance_key: [u8; 32],
    /// None without credentials: then a call can only wait for the network to come.
    pub rest: Option<super::reaching::RestConfig>,
}
