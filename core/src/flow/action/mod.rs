//! The actions: one file each, holding what the action declares of itself and what it does.
//!
//! An action decides and says so in a [`Step`]; it never moves the cursor, never retries, never writes a fact. The
//! run does that for all of them, in one place.
//!
//! Their files are declared by a macro, where `cargo fmt` does not look: `.ci/run` formats them by name.

mod comparison;
pub mod parameters;
mod recipients;
pub mod scene;
mod sound;

pub use parameters::Parameters;
pub use scene::{Live, Outside, RecordingNow, Road, Scene};

use super::declare::Declared;
use super::fact::{Pushed, RecordingMark, Role};
use super::script::ActionNode;
use super::vocabulary::Vocabulary;
use crate::document::Verb;
use crate::http::{Outcome, ReplyBody};
use crate::notice::LineAnswer;
use crate::scene::{EndReason, ErrorClass, RecordingReport, SoundEnd};
use serde_json::{Map, Value};

/// What every action can do. `begin` may be called again for the same step: after a retry's wait, or when its media
/// was lost under way.
pub trait Action: Send + Sync {
    fn declared(&self) -> &'static Declared;

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault>;

    fn resume(&self, _scene: &mut Scene<'_>, _happened: &Happened<'_>) -> Result<Step, Fault> {
        Ok(Step::Stay)
    }

    /// The parameter that may hold SSML: values in it are escaped.
    fn markup(&self) -> Option<&'static str> {
        None
    }

    /// Whether it suspends with these parameters: what doesn't is counted by the guard against endless loops.
    fn waits(&self, _parameters: &Parameters<'_>) -> bool {
        self.declared().waits
    }

    /// Whether it reads `call.digits` by itself, beyond what its parameters mention.
    fn reads_digits(&self, _node: &ActionNode) -> bool {
        false
    }

    /// Whether it reads the clock: then it can't be decided before what was rendered is performed.
    fn reads_clock(&self) -> bool {
        false
    }

    /// Whether, with these parameters, the network can listen for it with one Gather that takes in the prompts before.
    fn gathers(&self, _parameters: &Parameters<'_>, _always_stream: bool) -> bool {
        false
    }
}

/// What an action wants done next.
#[derive(Debug)]
pub enum Step {
    /// Ended well; on to the next action.
    Done(Done),
    /// Cut short; on to the next action.
    Cut(Done),
    /// Ended well; on to the target.
    Jump { target: String, done: Done },
    /// Ended well; a list of actions goes on top, and after it the flow goes on behind this action.
    Push(Push),
    /// Ended well; out of the nearest loop.
    Break,
    /// Another workflow runs as a child of this run, and its end is this step's.
    Call { workflow: String, inputs: Map<String, Value> },
    /// Performed by the network; `last` when nothing may follow in the document.
    Render { verbs: Vec<Verb>, last: bool },
    /// Under way. `memory` is what survives a crash; all else of it is in the scene's `live`.
    Wait { memory: Value },
    /// Still under way, nothing new to remember.
    Stay,
    /// Can't begin as things stand, and has done nothing.
    Needs(Want),
    /// The run ends.
    End { reason: EndReason, detail: Option<String>, by_hangup: bool },
}

#[derive(Debug)]
pub struct Push {
    pub what: Pushed,
    pub role: Role,
    pub output: Value,
}

impl Push {
    pub fn plain(what: Pushed) -> Push {
        Push { what, role: Role::Plain, output: Value::Null }
    }
}

#[derive(Debug, Default)]
pub struct Done {
    pub output: Value,
    /// Variables of the workflow; reserved names are dropped and recorded by the run.
    pub sets: Vec<(String, Value)>,
    /// Variables of the runtime.
    pub learns: Vec<(String, Value)>,
    /// Digits typed ahead that are left, when the action took some.
    pub typed: Option<String>,
    /// The jump counts for this activation.
    pub counted: bool,
    pub recording: Option<RecordingMark>,
}

impl Done {
    pub fn with(output: Value) -> Done {
        Done { output, ..Done::default() }
    }
}

/// What an action lacks to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// A stream.
    Stream,
    /// The network itself: the stream must be left.
    Verb,
    /// The line's next posture.
    Line,
    /// What was rendered must be performed first.
    Undone,
}

/// What an action that is under way is told.
#[derive(Debug)]
pub enum Happened<'e> {
    /// Its verbs were performed.
    Performed(&'e LineAnswer),
    /// A key was pressed; it is typed ahead already.
    Pressed(char),
    Sounded {
        sound: u64,
        heard_ms: u64,
        how: &'e SoundEnd,
    },
    Recorded(&'e RecordingReport),
    /// What came of the errand of this number in the attempt.
    Fetched {
        part: u32,
        outcome: &'e Outcome,
    },
    /// Its `live.due` has come.
    Due,
}

impl<'e> Happened<'e> {
    /// What a service has answered ([`Scene::ask`]); nothing, when something else has happened. Why it has not is this
    /// step's fault, and retried where the workflow says so.
    pub fn answer(&self) -> Result<Option<&'e Value>, Fault> {
        let Happened::Fetched { outcome, .. } = self else { return Ok(None) };
        let reply = outcome.as_ref().map_err(Fault::from)?;
        reply.judged(&[])?;
        match &reply.body {
            ReplyBody::Json(value) => Ok(Some(value)),
            ReplyBody::Text(_) => Err(Fault::invalid("expected an answer in JSON, came a text")),
        }
    }
}

/// An error of an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    pub class: ErrorClass,
    pub message: String,
    /// What the other side said: `${error.output}`.
    pub output: Option<Box<Value>>,
}

impl Fault {
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Fault {
        Fault { class, message: message.into(), output: None }
    }

    pub fn with_output(self, output: Value) -> Fault {
        Fault { output: Some(Box::new(output)), ..self }
    }

    pub fn invalid(message: impl Into<String>) -> Fault {
        Fault::new(ErrorClass::Invalid, message)
    }
}

/// Types that the language knows and this version doesn't perform yet: "not available yet", never "unknown".
pub const LATER: &[&str] = &[
    "ai_summary",
    "ai_talk",
    "ai_task",
    "amd",
    "call",
    "each",
    "external_media_start",
    "external_media_stop",
    "fork-join",
    "map",
    "mute",
    "parallel",
    "transcribe_recording",
    "transcribe_start",
    "transcribe_stop",
    "waitForApproval",
];

/// Every action, by name: a file of this folder and the type in it. A new one is a line here, and nothing else.
macro_rules! actions {
    ($($file:ident::$action:ident),* $(,)?) => {
        $(pub(in crate::flow) mod $file;)*

        /// The language's own, sorted by name.
        pub(super) static STANDARD: &[&dyn Action] = &[$(&$file::$action),*];
    };
}

actions! {
    answer::Answer,
    beep::Beep,
    block::Block,
    branch::Branch,
    condition::Condition,
    condition_call_digits::ConditionCallDigits,
    condition_call_status::ConditionCallStatus,
    condition_datetime::ConditionDatetime,
    condition_variable::ConditionVariable,
    conference_join::ConferenceJoin,
    connect::Connect,
    digits_receive::DigitsReceive,
    digits_send::DigitsSend,
    echo::Echo,
    email_send::EmailSend,
    empty::Empty,
    fetch::Fetch,
    fetch_flow::FetchFlow,
    goto::Goto,
    hangup::Hangup,
    http_request::HttpRequest,
    loop_turns::Loop,
    loop_break::LoopBreak,
    message_send::MessageSend,
    on_error::OnError,
    openai_chat::OpenAiChat,
    play::Play,
    queue_join::QueueJoin,
    recording_start::RecordingStart,
    recording_stop::RecordingStop,
    salesforce_create_record::SalesforceCreateRecord,
    sleep::Sleep,
    sleep_until::SleepUntil,
    speech_receive::SpeechReceive,
    stop::Stop,
    subflow::Subflow,
    talk::Talk,
    terminate::Terminate,
    variable_set::VariableSet,
    webhook_send::WebhookSend,
}

/// What every action of the language declares of itself.
pub fn declared() -> Vec<&'static Declared> {
    Vocabulary::standard().declared().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_so_that_every_action_is_found_and_none_is_both_here_and_later() {
        for pair in STANDARD.windows(2) {
            assert!(pair[0].declared().name < pair[1].declared().name);
        }
        for declared in declared() {
            assert!(Vocabulary::standard().find(declared.name).is_some(), "{}", declared.name);
            assert!(!LATER.contains(&declared.name), "{}", declared.name);
        }
        assert!(LATER.is_sorted());
        assert!(Vocabulary::standard().find("parallel").is_none());
    }
}
