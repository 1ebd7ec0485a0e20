//! All that an action may see and touch.

use super::{Done, Fault, Parameters, Step, Want};
use crate::flow::cursor;
use crate::flow::fact::Begun;
use crate::flow::flows::Flows;
use crate::flow::script::ActionNode;
use crate::flow::stack::Frame;
use crate::flow::vars::Vars;
use crate::http::{Errand, FetchNo, HttpCall, ServiceCall};
use crate::scene::{ErrorClass, Line, Op, Sound};
use crate::secret;
use crate::{Now, Tick};
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;

/// Recognised by many services; no other name is as widely understood.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

pub struct Scene<'a> {
    pub now: Now,
    pub line: Line,
    pub local_speech: bool,
    /// The document wants everything on the stream that can be there.
    pub always_stream: bool,
    pub node: &'a ActionNode,
    pub parameters: Parameters<'a>,
    pub vars: &'a Vars,
    /// The zone of times that name none.
    pub timezone: &'a str,
    /// The workflows in force.
    pub flows: &'a dyn Flows,
    /// Digits typed and not yet taken by anyone.
    pub typed: &'a str,
    /// The action forgot what was typed ahead when it began.
    pub cleared: bool,
    /// Jumps that this action has made in this activation.
    pub jumps: u64,
    /// Rendered verbs that are not yet performed stand before this action.
    pub undone: bool,
    /// The next action is a Gather that will take in a prompt rendered now.
    pub next_gathers: bool,
    /// What the step remembered; null when it begins for the first time.
    pub memory: &'a Value,
    pub recording: Option<RecordingNow<'a>>,
    /// The number that the next recording gets.
    pub next_recording: u64,
    /// First number of this attempt's sounds.
    pub first_sound: u64,
    /// What an errand to another system needs to know; none where none can be done (a queue's wait flow).
    pub outside: Option<Outside<'a>>,
    pub live: &'a mut Live,
    pub ops: &'a mut Vec<Op>,
}

#[derive(Clone, Copy)]
pub struct Outside<'a> {
    pub begun: &'a Begun,
    pub step: u64,
    pub attempt: u32,
    pub timeout_ms: u64,
    /// What targets of fetched actions may name.
    pub frames: &'a [Frame],
}

impl Outside<'_> {
    /// The same for all attempts and restarts of a step, another for every other step and errand.
    pub fn idempotency_key(&self, part: u32) -> String {
        let (run, step) = (self.begun.id, self.step);
        if part == 0 { format!("{run}-{step}") } else { format!("{run}-{step}-{part}") }
    }
}

/// The recording of this run, as an action sees it.
#[derive(Debug, Clone, Copy)]
pub enum RecordingNow<'a> {
    Stream {
        ordinal: u64,
    },
    Network,
    /// It ended by itself and nobody has asked for its report.
    Ended(&'a Value),
}

/// What an action under way knows and a crash may forget: the action then begins again.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// When it wants to be told [`super::Happened::Due`].
    pub due: Option<Tick>,
    /// It lives on the stream: without one it stands still, and begins again when the line is back.
    pub on_stream: bool,
    pub sounds: VecDeque<u64>,
    /// The errand that is waited for.
    pub fetching: Option<u32>,
    /// Instead of the policy's.
    pub timeout_ms: Option<u64>,
    /// To be remembered, whatever comes of the attempt.
    pub remember: Option<serde_json::Value>,
    pub heard_ms: u64,
    pub hushed: bool,
    pub echoing: bool,
    /// The first sound that failed, told when all have ended.
    pub fault: Option<super::Fault>,
    pub cut: bool,
}

/// Where an action can be performed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    Verb,
    Stream,
    /// Nowhere, for want of this.
    Not(Want),
}

impl Scene<'_> {
    /// Where an action goes that could be a verb, or live on the stream, or both. One stays on a stream that is up,
    /// and opens none without need.
    pub fn road(&self, verb: bool, stream: bool) -> Road {
        match self.line {
            Line::Streaming if stream => Road::Stream,
            Line::Streaming => Road::Not(Want::Verb),
            Line::Asking if verb && !(stream && self.always_stream) => Road::Verb,
            Line::Asking => Road::Not(Want::Stream),
            Line::Away | Line::Absent => Road::Not(Want::Line),
        }
    }

    /// Plays something on the stream, as a part of this step.
    pub fn sound(&mut self, what: Sound) {
        let sound = self.first_sound + self.live.sounds.len() as u64;
        self.live.sounds.push_back(sound);
        self.ops.push(Op::Sound { sound, what });
    }

    pub fn outside(&self) -> Result<Outside<'_>, Fault> {
        self.outside.ok_or_else(|| Fault::new(ErrorClass::Rejected, "other systems can't be asked from here"))
    }

    /// How long an errand of this attempt may take.
    pub fn errand_timeout_ms(&mut self) -> Result<u64, Fault> {
        if let Some(own) = self.parameters.amount("timeout") {
            self.live.timeout_ms = Some(own);
        }
        let by_policy = self.outside()?.timeout_ms;
        Ok(self.live.timeout_ms.unwrap_or(by_policy))
    }

    /// Asks another system, as a part of this attempt. Asking twice does nothing twice, where the other side knows
    /// the header.
    pub fn fetch(&mut self, part: u32, mut call: HttpCall) -> Result<(), Fault> {
        let key = self.outside()?.idempotency_key(part);
        if call.method.is_unsafe() && !call.has_header(IDEMPOTENCY_KEY) {
            call.headers.push((IDEMPOTENCY_KEY.to_owned(), key));
        }
        self.run_errand(part, Errand::Http(Box::new(call)))
    }

    /// Asks a service of the program that holds the runtime; [`Happened::answer`](super::Happened::answer) has what it
    /// says. The step is written down before the service is asked; after a crash it is asked again, under the same key.
    pub fn ask(&mut self, service: &str, request: Value) -> Result<Step, Fault> {
        if secret::is_marked(&request) {
            return Err(Fault::invalid("secrets are for requests of our own port; a service has its own"));
        }
        let timeout_ms = self.errand_timeout_ms()?;
        let call = ServiceCall {
            service: service.to_owned(),
            request,
            idempotency_key: self.outside()?.idempotency_key(0),
            timeout_ms,
        };
        self.run_errand(0, Errand::Service(Box::new(call)))?;
        Ok(Step::Wait { memory: self.memory.clone() })
    }

    pub fn run_errand(&mut self, part: u32, errand: Errand) -> Result<(), Fault> {
        let Outside { begun, step, attempt, .. } = self.outside()?;
        let no = FetchNo { run: begun.id, step, attempt, part };
        self.live.fetching = Some(part);
        self.ops.push(Op::Fetch { no, errand });
        Ok(())
    }

    /// On when a condition holds, else to its `false_target_id`, if it has one.
    pub fn go_on_if(&self, holds: bool) -> Step {
        match self.parameters.text("false_target_id").and_then(cursor::target) {
            Some(target) if !holds => Step::Jump { target: target.to_owned(), done: Done::default() },
            _ => Step::Done(Done::default()),
        }
    }

    /// Forgets what was typed ahead.
    pub fn clear_typed(&mut self) {
        self.cleared |= !self.typed.is_empty();
        self.typed = "";
    }

    pub fn due_in_ms(&mut self, ms: u64) {
        self.live.due = Some(self.now.tick + Duration::from_millis(ms));
    }
}
