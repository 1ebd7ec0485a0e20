//! What a run writes down: small deltas, in the order in which they were decided. Folding them gives the run's durable
//! state again; nothing else changes it.

use super::history::{Failure, Outcome};
use super::script::{ActionNode, Script};
use crate::id::RunId;
use crate::scene::{EndReason, RecordingReport, Reference, RunOver};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

/// The version of these facts that a run writes in its first one; a fold refuses newer ones.
pub const VERSION: u32 = 1;

/// `at` is Unix milliseconds everywhere. Steps are numbered from 1 in the order in which they begin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "run", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunFact {
    /// All that the run was given: the snapshot that no edited file changes.
    Begun(Box<Begun>),
    /// The action at the cursor began and ended in one go.
    Stepped {
        at: u64,
        #[serde(flatten)]
        start: StepStart,
        #[serde(flatten)]
        end: StepEnd,
    },
    /// The action at the cursor began, and waits.
    StepBegan {
        at: u64,
        #[serde(flatten)]
        start: StepStart,
        memory: Value,
        /// Set: it became verbs of a document, and the cursor went on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rendered: Option<Rendered>,
    },
    /// The step under way begins again: after a retry's wait, or because its media was lost.
    StepAgain { at: u64, memory: Value, rendered: Option<Rendered> },
    /// The step under way waits for another attempt until `due` (Unix milliseconds).
    StepRetries { at: u64, due: u64, error: Failure },
    /// The step under way remembers something else now.
    StepRemembers { memory: Value },
    /// The step under way, or one that was rendered, has ended.
    StepEnded {
        at: u64,
        step: u64,
        #[serde(flatten)]
        end: StepEnd,
    },
    /// A stack was put on top.
    Pushed { at: u64, id: String, actions: Vec<ActionNode> },
    /// The top stack came to its end.
    Popped,
    /// The loop on top begins its next turn.
    Turned,
    /// A loop under way could not turn: its variables don't fit any more.
    LoopFailed {
        at: u64,
        step: u64,
        #[serde(flatten)]
        end: StepEnd,
    },
    /// The child under way (or one of its own) wrote this down.
    Child { id: RunId, fact: Box<RunFact> },
    /// A key was pressed and waits for whoever asks for digits.
    Typed { digit: char },
    /// A variable of the runtime has a new value.
    Learned { name: String, value: Value },
    /// Somebody outside set variables of the workflow.
    Assigned { at: u64, sets: Vec<(String, Value)> },
    /// A recording came to its end.
    Recorded { at: u64, report: RecordingReport },
    /// The flow came to its end while rendered verbs are still to be performed.
    Ending { at: u64, ending: Ending },
    /// The run is over; what was under way is interrupted.
    Over { at: u64, over: RunOver },
    /// What came before was done by the run that this one goes on with. It begins at the cursor, or where `to` says.
    Retried { at: u64, to: Option<Move> },
    /// Another run goes on with what this one failed at.
    RetriedAs { id: RunId },
    /// Somebody wants to see nothing of this run any more, while others still need its story.
    Forgotten { id: RunId },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    pub version: u32,
    pub at: u64,
    pub id: RunId,
    pub script: Arc<Script>,
    pub reference: Reference,
    pub variables: Map<String, Value>,
    pub complete_count: u32,
    pub parent: Option<RunId>,
    pub on_complete: Option<String>,
    /// Who is owed what is told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<String>,
    /// How many runs it is nested in.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nested: u32,
    /// Digits that were typed ahead when it began, and taken by nobody.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub typed: String,
    /// The failed run that this one goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<RunId>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepStart {
    pub parameters: Arc<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// It is of a type that waits: the count of actions in a row begins anew.
    #[serde(default, skip_serializing_if = "is_false")]
    pub waits: bool,
    /// Digits typed ahead that its beginning left, when it changed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_digits: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepEnd {
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub output: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
    #[serde(default, skip_serializing_if = "is_stay")]
    pub to: Move,
    /// Variables of the workflow, beyond the output under the action's name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<(String, Value)>,
    /// Variables of the runtime.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learns: Vec<(String, Value)>,
    /// Names that it tried to set and may not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Digits typed ahead that it left, when it changed them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<String>,
    /// A counted jump: one more of this activation's.
    #[serde(default, skip_serializing_if = "is_false")]
    pub counted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<RecordingMark>,
    /// A list that goes on top once the cursor has moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushedList>,
}

/// A list of actions that a step put on top.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PushedList {
    pub what: Pushed,
    #[serde(default, skip_serializing_if = "is_plain")]
    pub role: Role,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pushed {
    /// The action's own nested list of this name.
    List(String),
    /// A list that came from elsewhere: the snapshot of it.
    Actions(Vec<ActionNode>),
}

/// What a stack is for, beyond being run through once.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    #[default]
    Plain,
    /// Run through for each item; without items until somebody leaves it.
    Loop { items: Option<Arc<Vec<Value>>> },
    /// An error in it leads to the second list of its action.
    Guard,
}

fn is_plain(role: &Role) -> bool {
    *role == Role::Plain
}

impl StepEnd {
    pub fn new(outcome: Outcome) -> StepEnd {
        StepEnd {
            outcome,
            output: Value::Null,
            error: None,
            to: Move::Stay,
            sets: Vec::new(),
            learns: Vec::new(),
            dropped: Vec::new(),
            typed: None,
            counted: false,
            recording: None,
            push: None,
        }
    }
}

/// What a step's end does to the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Move {
    /// It has moved already, or the run ends here.
    #[default]
    Stay,
    /// Within the step's own stack; stacks above it stay.
    On(usize),
    /// Into that stack (0 is the main one); stacks above it are dropped.
    To { stack: usize, index: usize },
    /// Out of the loop whose stack this is; those above it are dropped with it.
    Leave { stack: usize },
    /// Into the second list of the action that guards this stack, which is dropped.
    Caught { stack: usize },
}

/// A step that became verbs of the document that is being made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rendered {
    pub verbs: usize,
    pub bytes: usize,
    /// Nothing may follow it in its document.
    pub last: bool,
    pub to: Move,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingMark {
    Began {
        network: bool,
    },
    /// Asked to stop (a network recording), or its report was handed out.
    Closed,
}

/// How the run will end once everything rendered is performed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    pub reason: EndReason,
    pub detail: Option<String>,
    pub by_hangup: bool,
    pub hold: bool,
}

impl Ending {
    pub fn new(reason: EndReason, detail: String) -> Ending {
        Ending { reason, detail: Some(detail), by_hangup: false, hold: false }
    }
}

/// Why facts don't fold into a run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactError {
    #[error("a run's facts begin with `begun`, came `{0}`")]
    NotBegun(String),
    #[error("a run's facts hold one `begun`, came another")]
    BegunTwice,
    #[error("facts of version {came} came, expected at most {VERSION}")]
    Newer { came: u32 },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_stay(to: &Move) -> bool {
    *to == Move::Stay
}
