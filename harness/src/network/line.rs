//! One pretend call as a plain machine: told what came, giving what goes out, woken when something is due.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use holdline_core::{Machine, Now, Tick};

use super::ask::{Asking, Purpose, warn};
use super::callback::Outbox;
use super::caller::{Act, Caller, Moment};
use super::config::{Answers, LineConfig, StatusEvent};
use super::effect::{Effect, Experience, Input, RequestId, Status};
use super::perform::{Doing, Program, RecordingUnderWay};
use super::sign::Field;
use super::twiml::{Callback, Say, Verb};

pub struct Line {
    pub(super) config: LineConfig,
    pub(super) status: Status,
    pub(super) began: Option<Now>,
    pub(super) answered_at: Option<Tick>,
    pub(super) ended_at: Option<Tick>,
    /// The document that is performed, and how far.
    pub(super) program: Program,
    pub(super) doing: Doing,
    pub(super) asking: BTreeMap<RequestId, Asking>,
    pub(super) outbox: Outbox,
    pub(super) recordings: Vec<RecordingUnderWay>,
    pub(super) caller: Caller,
    /// Keys that are about to be pressed.
    keys: VecDeque<(Tick, char)>,
    /// The caller's sound that a stream has not carried yet, and until when the caller is not silent.
    pub(super) voice: VecDeque<u8>,
    pub(super) voice_until: Tick,
    /// Speech under way: what a Gather will understand, and when.
    pub(super) requests: u64,
    pub(super) tokens: u64,
    pub(super) sockets: u64,
    pub(super) children: u64,
    pub(super) requests_to_lose: u32,
    /// Documents since time last passed.
    documents_at_once: u32,
    last_document_at: Tick,
}

/// A caller's recording is long, not endless.
const VOICE_BYTES_MAX: usize = 8000 * 3600;
/// Documents that follow each other without anything that takes time: a loop of redirects.
const DOCUMENTS_AT_ONCE_MAX: u32 = 100;
/// How fast a pretend caller speaks.
const SPEECH_PER_CHARACTER: Duration = Duration::from_millis(60);
/// More wakes than that at one instant are a mistake of ours, not a busy call.
const STEPS_MAX: u32 = 1_000_000;

impl Line {
    pub fn new(config: LineConfig) -> Line {
        let caller = Caller::new(config.script.clone());
        Line {
            config,
            status: Status::Ringing,
            began: None,
            answered_at: None,
            ended_at: None,
            program: Program::default(),
            doing: Doing::Nothing,
            asking: BTreeMap::new(),
            outbox: Outbox::default(),
            recordings: Vec::new(),
            caller,
            keys: VecDeque::new(),
            voice: VecDeque::new(),
            voice_until: Tick(0),
            requests: 0,
            tokens: 0,
            sockets: 0,
            children: 0,
            requests_to_lose: 0,
            documents_at_once: 0,
            last_document_at: Tick(0),
        }
    }

    pub fn config(&self) -> &LineConfig {
        &self.config
    }

    pub fn status(&self) -> Status {
        self.status
    }

    /// The phone rings: the voice webhook is asked. Only the first time counts.
    pub fn begin(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.began.is_some() {
            return;
        }
        self.began = Some(now);
        self.voice_until = now.tick;
        self.caller.begin(now.tick);
        self.announce(now, StatusEvent::Initiated);
        self.announce(now, StatusEvent::Ringing);
        self.program.url = self.config.voice_url.clone();
        match self.config.outbound {
            Some(timeout) => self.call_out(now, timeout),
            None => self.ask_first(now, out),
        }
        self.settle(now, out);
    }

    pub(super) fn ask_first(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.doing = Doing::Fetching;
        let voice = Callback { url: self.config.voice_url.clone(), method: self.config.voice_method };
        self.ask_for(now, Purpose::Document { is_fallback: false }, &voice, Vec::new(), out);
    }

    /// Whoever was dialled is rung.
    fn call_out(&mut self, now: Now, timeout: Duration) {
        let answers = self.config.far_end(&self.config.to).answers;
        let (after, end) = match answers {
            Answers::After(after) if after <= timeout => (after, None),
            Answers::Busy(after) if after <= timeout => (after, Some(Status::Busy)),
            Answers::Failed(after) if after <= timeout => (after, Some(Status::Failed)),
            _ => (timeout, Some(Status::NoAnswer)),
        };
        self.doing = Doing::CallingOut { until: now.tick + after, end };
    }

    /// Whatever is due before it happens first, at its own time.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        self.catch_up(now, out, false);
        self.take(now, input, out);
        self.settle(now, out);
    }

    pub fn wake(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.catch_up(now, out, true);
    }

    pub fn wake_at(&self) -> Option<Tick> {
        self.began?;
        let live = [
            self.caller.wake_at(),
            self.keys.front().map(|(at, _)| *at),
            self.doing_due(),
            self.answered_at.map(|at| at + self.config.time_limit),
        ];
        let live = if self.status.is_terminal() { [None; 4] } else { live };
        live.into_iter().chain([self.asking_due(), self.outbox.next_due()]).flatten().min()
    }

    /// Over for the caller, and nothing of it is under way to the server any more.
    pub fn is_over(&self) -> bool {
        self.status.is_terminal() && self.asking.is_empty() && self.outbox.is_empty()
    }

    /// Everything due by now, in the order of time. What is due exactly now waits for an input of the same instant:
    /// an answer that arrives on its deadline has arrived.
    fn catch_up(&mut self, now: Now, out: &mut Vec<Effect>, inclusive: bool) {
        for _ in 0..STEPS_MAX {
            let Some(due) = self.wake_at().filter(|due| *due < now.tick || (inclusive && *due == now.tick))
            else {
                return;
            };
            let behind = u64::try_from(now.tick.since(due).as_millis()).unwrap_or(0);
            self.step(Now { tick: due, wall_ms: now.wall_ms.saturating_sub(behind) }, out);
        }
        debug_assert!(false, "a line that is due for ever");
    }

    fn step(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.wake_asking(now, out);
        self.wake_outbox(now, out);
        if !self.status.is_terminal() {
            while let Some(act) = self.caller.next(now.tick) {
                self.act(now, act, out);
            }
            while let Some((_, key)) = self.keys.front().filter(|(at, _)| *at <= now.tick).copied() {
                self.keys.pop_front();
                self.pressed(now, key, out);
            }
        }
        if !self.status.is_terminal() {
            self.wake_doing(now, out);
        }
        if self.answered_at.is_some_and(|at| at + self.config.time_limit <= now.tick)
            && !self.status.is_terminal()
        {
            warn(out, 0, "the call has reached the network's time limit".into());
            self.leave(now, out);
            self.over(now, Status::Completed, out);
        }
        self.settle(now, out);
    }

    fn take(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Answered { request, reply } => self.answered(now, request, reply, out),
            Input::Refused { request } => self.refused(now, request, out),
            Input::TimedOut { request } => self.timed_out(now, request, out),
            Input::SocketUp { socket } => self.socket_up(now, socket, out),
            Input::SocketRefused { socket, status } => self.socket_refused(now, socket, status, out),
            Input::SocketText { socket, text } => self.socket_text(now, socket, &text, out),
            Input::SocketBinary { socket } => {
                self.socket_violation(socket, "expected text, got a binary message", out)
            }
            Input::SocketClosed { socket, code } => self.socket_closed(now, socket, code, out),
            _ if self.status.is_terminal() || self.began.is_none() => {}
            Input::Caller(act) => self.act(now, act, out),
            Input::Ended => {
                self.leave(now, out);
                let unanswered = self.answered_at.is_none();
                self.over(now, if unanswered { Status::Canceled } else { Status::Completed }, out);
            }
            Input::Redirected { url } => {
                self.leave(now, out);
                self.forget_documents();
                self.doing = Doing::Fetching;
                let to = Callback { url, method: Default::default() };
                self.ask_for(now, Purpose::Document { is_fallback: false }, &to, Vec::new(), out);
            }
        }
    }

    pub(super) fn act(&mut self, now: Now, act: Act, out: &mut Vec<Effect>) {
        if self.status.is_terminal() {
            return;
        }
        match act {
            Act::Presses(digits) => {
                let mut at = self
                    .keys
                    .back()
                    .map_or(now.tick, |(last, _)| (*last + self.config.digit_gap).max(now.tick));
                for key in digits.chars() {
                    if key == 'w' {
                        at = at + Duration::from_millis(500);
                    } else {
                        self.keys.push_back((at, key));
                        at = at + self.config.digit_gap;
                    }
                }
                // The first key is pressed now, not at the next wake.
                while let Some((_, key)) = self.keys.front().filter(|(at, _)| *at <= now.tick).copied() {
                    self.keys.pop_front();
                    self.pressed(now, key, out);
                }
            }
            Act::Plays(audio) => {
                let ms = audio.len() as u64 / 8;
                out.push(Effect::Experience(Experience::Plays { ms }));
                self.voice_until = self.voice_until.max(now.tick) + Duration::from_millis(ms);
                if self.voice.len() + audio.len() <= VOICE_BYTES_MAX {
                    self.voice.extend(audio.iter());
                }
                self.voice_begins(now);
            }
            Act::PlaysFile(path) => {
                warn(out, 0, format!("expected the sound of {path}, which was never loaded"))
            }
            Act::Says(text) => {
                out.push(Effect::Experience(Experience::Speaks { text: text.clone() }));
                let characters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
                let until = now.tick + SPEECH_PER_CHARACTER.saturating_mul(characters);
                self.voice_until = self.voice_until.max(until);
                self.spoke(now, text, until, out);
            }
            Act::HangsUp => self.hang_up(now, out),
            Act::DropsSocket => self.drop_socket(now, out),
            Act::LosesRequest => self.requests_to_lose += 1,
        }
    }

    pub(super) fn hang_up(&mut self, now: Now, out: &mut Vec<Effect>) {
        out.push(Effect::Experience(Experience::HangsUp));
        let farewell = self.leave(now, out);
        let status = if self.answered_at.is_some() { Status::Completed } else { Status::Canceled };
        self.status = status;
        // Action URLs of what was under way are still asked, with the call's final status; nobody performs the answer.
        if let Some((to, fields)) = farewell {
            self.ask_for(now, Purpose::Farewell, &to, fields, out);
        }
        self.over(now, status, out);
    }

    /// The call is over: what remains is to say so.
    pub(super) fn over(&mut self, now: Now, status: Status, out: &mut Vec<Effect>) {
        self.status = status;
        self.ended_at = Some(now.tick);
        self.doing = Doing::Nothing;
        self.caller.stop();
        self.keys.clear();
        self.forget_documents();
        self.end_recordings(now, out);
        let duration = self.answered_at.map_or(Duration::ZERO, |at| now.tick.since(at));
        out.push(Effect::Experience(Experience::Ended { status, duration }));
        self.announce(now, StatusEvent::Completed);
    }

    /// Neither the document nor its fallback could be had.
    pub(super) fn application_error(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.answered_at.is_none() {
            return self.over(now, Status::Failed, out);
        }
        let sorry = Verb::Say(Say {
            text: "We are sorry, an application error has occurred. Goodbye.".into(),
            voice: None,
            language: None,
            turns: 1,
            breaks: Duration::ZERO,
        });
        let url = self.program.url.clone();
        self.perform(now, url, vec![sorry, Verb::Hangup], out);
    }

    /// A new document is performed from its beginning.
    pub(super) fn perform(&mut self, now: Now, url: String, verbs: Vec<Verb>, out: &mut Vec<Effect>) {
        if now.tick == self.last_document_at {
            self.documents_at_once += 1;
        } else {
            self.documents_at_once = 1;
            self.last_document_at = now.tick;
        }
        if self.documents_at_once > DOCUMENTS_AT_ONCE_MAX {
            warn(
                out,
                0,
                format!("expected something that takes time within {DOCUMENTS_AT_ONCE_MAX} documents"),
            );
            return self.over(now, Status::Failed, out);
        }
        self.program = Program { url, verbs: verbs.into() };
        self.doing = Doing::Between;
        self.go_on(now, out);
    }

    /// Fields of every request about the call.
    pub(super) fn standard_fields(&self) -> Vec<Field> {
        let config = &self.config;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut fields = vec![
            pair("AccountSid", &config.account_sid),
            pair("ApiVersion", "2010-04-01"),
            pair("CallSid", &config.call_sid),
            pair("CallStatus", self.status.word()),
            pair("Called", &config.to),
            pair("Caller", &config.from),
            pair("Direction", if config.outbound.is_some() { "outbound-api" } else { "inbound" }),
            pair("From", &config.from),
            pair("To", &config.to),
        ];
        fields.extend(config.extra.iter().cloned());
        fields
    }

    /// What a relative reference is relative to.
    pub(super) fn base(&self, purpose: Purpose) -> String {
        match (purpose, &self.doing) {
            (Purpose::Wait, Doing::Queueing(queueing)) => queueing.base(&self.program.url),
            _ => self.program.url.clone(),
        }
    }

    pub(super) fn answer(&mut self, now: Now) {
        if self.answered_at.is_none() {
            self.answered_at = Some(now.tick);
            self.status = Status::InProgress;
            self.caller.notices(now.tick, Moment::Answer, true);
            self.announce(now, StatusEvent::Answered);
        }
    }

    /// Callbacks that are due at once leave in the same turn.
    fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.wake_outbox(now, out);
    }
}

impl Machine for Line {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        Line::handle(self, now, input, out);
    }

    fn wake(&mut self, now: Now, out: &mut Vec<Effect>) {
        Line::wake(self, now, out);
    }

    fn wake_at(&self) -> Option<Tick> {
        Line::wake_at(self)
    }

    fn is_over(&self) -> bool {
        Line::is_over(self)
    }
}
