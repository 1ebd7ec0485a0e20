//! Sockets of a call: who may open one, who takes over, what comes in on them.

use super::*;
use crate::document::{Ending, Plan};
use crate::media::Audio;
use crate::media::level::{self, Side};
use crate::notice::LineAnswer;
use crate::provider::twilio::token::is_stream_token;
use crate::scene::Event;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

/// Sockets admitted and not yet named by their `start`.
const OPENING_MAX: usize = 8;
/// Frames kept while the flow's first turn on a stream is under way: a second, as everywhere on this road.
pub const EARLY_MAX: usize = 50;
/// Streams of a format that we can't handle, until the call is given up.
const TROUBLES_MAX: u32 = 3;

/// The socket that is up.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) stream: StreamNo,
    /// Whose token let it in.
    exchange: u32,
    /// The network says that it has stopped.
    stopped: bool,
    /// To be left for a verb, or for good, as soon as what plays has ended.
    leaving: bool,
    /// We have closed it.
    closed: bool,
    pub(super) last_heard: Tick,
    /// What was heard before the flow has said who listens; none once it has.
    early: Option<VecDeque<(Audio, Option<u64>)>>,
}

impl Live {
    pub(super) fn is_usable(&self) -> bool {
        !self.stopped && !self.leaving && !self.closed
    }
}

/// Sockets that were let in and have not said `start`.
#[derive(Debug, Default)]
pub(super) struct Opening {
    admitted: BTreeMap<StreamNo, u32>,
    troubles: u32,
}

impl Opening {
    /// Says by whose token it was let in.
    fn take(&mut self, stream: StreamNo) -> Option<u32> {
        let exchange = self.admitted.remove(&stream);
        if self.admitted.is_empty() {
            self.admitted = BTreeMap::new(); // a tree keeps its last node
        }
        exchange
    }
}

impl Call {
    /// A token is good once: until it is used, a newer document's stream has started, or the call ends.
    pub(super) fn asked_open(&mut self, now: Now, ask: AskNo, token: &str, out: &mut Vec<Effect>) {
        let found = (1..=self.state.newest()).rev().find(|number| {
            let streams = self.state.exchange(*number).is_some_and(Exchange::has_stream);
            streams && is_stream_token(&self.config.instance_key, &self.state.arrival.call, *number, token)
        });
        match found {
            Some(exchange) => self.admit(now, ask, exchange, out),
            None => out.push(Effect::Answer { ask, answer: Answer::Denied { why: "wrong stream token" } }),
        }
    }

    /// A bare stream named this call: it takes the unused token of the newest document.
    pub(super) fn asked_attach(&mut self, now: Now, ask: AskNo, out: &mut Vec<Effect>) {
        if self.state.newest() == 0 && self.making.is_none() && !self.wants_hangup() {
            // It was sent here by a document that is none of ours; ours begin behind it.
            let ending =
                Ending::Stream { parameters: vec![("callSid".into(), self.state.arrival.call.0.clone())] };
            let plan = Plan { exchange: 1, verbs: Vec::new(), ending };
            self.deadlines.given(now, &self.config, &plan);
            self.decide(now, CallFact::Given { plan, key: None });
        }
        let newest = self.state.newest();
        if self.live.is_some() {
            out.push(Effect::Answer {
                ask,
                answer: Answer::Denied { why: "a stream of this call is up already" },
            });
        } else if self.state.exchange(newest).is_some_and(Exchange::has_stream) {
            self.admit(now, ask, newest, out);
        } else {
            out.push(Effect::Answer { ask, answer: Answer::Denied { why: "no stream was asked for" } });
        }
    }

    fn admit(&mut self, now: Now, ask: AskNo, exchange: u32, out: &mut Vec<Effect>) {
        let used = self.state.exchange(exchange).is_none_or(|exchange| exchange.token_used);
        let superseded = self.is_superseded(exchange);
        let why = if self.wants_hangup() {
            "the call is over"
        } else if used {
            "the stream token was used"
        } else if superseded {
            "a newer stream has started"
        } else {
            ""
        };
        if !why.is_empty() {
            out.push(Effect::Answer { ask, answer: Answer::Denied { why } });
            return;
        }
        let stream = StreamNo(self.state.last_stream + 1);
        self.decide(now, CallFact::TokenUsed { exchange, stream: stream.0 });
        // A socket that was let in and never came tells nobody of it: the oldest makes room.
        if self.opening.admitted.len() >= OPENING_MAX {
            self.opening.admitted.pop_first();
        }
        self.opening.admitted.insert(stream, exchange);
        self.write(out);
        out.push(Effect::Answer { ask, answer: Answer::Admitted { stream, exchange } });
    }

    /// The stream of a newer document has started.
    fn is_superseded(&self, exchange: u32) -> bool {
        (exchange + 1..=self.state.newest())
            .any(|newer| self.state.exchange(newer).is_some_and(|newer| newer.stream_started))
    }

    pub(super) fn stream_up(
        &mut self,
        now: Now,
        stream: StreamNo,
        stream_sid: String,
        trouble: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        let Some(exchange) = self.opening.take(stream) else {
            out.push(Effect::CloseStream { stream, code: 1008 });
            return;
        };
        let live = self.live.as_ref();
        let older = live.is_some_and(|live| (live.exchange, live.stream) > (exchange, stream));
        if self.wants_hangup() || older || self.is_superseded(exchange) {
            out.push(Effect::CloseStream { stream, code: 1000 });
            return;
        }
        self.heard_of_network(now);
        self.close_stream(now, 1000, out);
        let first = self.state.exchange(exchange).is_some_and(|exchange| !exchange.returned);
        self.decide(now, CallFact::StreamStarted { stream: stream.0, exchange, stream_sid });
        self.live = Some(Live {
            stream,
            exchange,
            stopped: false,
            leaving: false,
            closed: false,
            last_heard: now.tick,
            early: (!self.flow.over).then(VecDeque::new),
        });
        self.deadlines.stream_up(now, self.config.idle_timeout);
        self.desk.stream_up(now);
        // What stood before the stream in its document is done by now.
        let done = first && exchange == self.state.newest();
        if let Some(what) = trouble {
            self.cannot_use(now, what, out);
        } else {
            self.tell_flow(if done {
                Event::Performed { answer: LineAnswer::Returned }
            } else {
                Event::Proceed
            });
        }
    }

    /// A format that we can't handle: the call is continued by verbs.
    fn cannot_use(&mut self, now: Now, what: String, out: &mut Vec<Effect>) {
        self.decide(now, CallFact::Trouble { what });
        self.opening.troubles += 1;
        if self.opening.troubles >= TROUBLES_MAX {
            self.end_by_us(now, CallEnd::Internal, crate::scene::EndReason::CallEnded, out);
        } else if let Some(live) = &mut self.live {
            live.leaving = true;
        }
    }

    pub(super) fn heard(
        &mut self,
        now: Now,
        stream: StreamNo,
        audio: Audio,
        at_ms: Option<u64>,
        out: &mut Vec<Effect>,
    ) {
        let Some(live) = self.live.as_mut().filter(|live| live.stream == stream) else {
            self.counters.ignored_inputs += 1;
            return;
        };
        live.last_heard = now.tick;
        self.counters.frames_in += 1;
        level::measure(&mut self.meter, now.tick, Side::Heard, &audio);
        if let Some(early) = &mut live.early {
            early.push_back((audio, at_ms));
            if early.len() > EARLY_MAX {
                early.pop_front();
                self.counters.frames_dropped += 1;
                self.counters.dropped_early += 1;
            }
            return;
        }
        self.listen(now, audio, at_ms, out);
    }

    /// The flow's first turn on a stream is taken: what came in meanwhile goes to whoever listens now.
    pub(super) fn hear_early_audio(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(live) = &mut self.live else { return };
        for (audio, at_ms) in live.early.take().into_iter().flatten() {
            self.listen(now, audio, at_ms, out);
        }
    }

    fn listen(&mut self, now: Now, audio: Audio, at_ms: Option<u64>, out: &mut Vec<Effect>) {
        if !self.live.as_ref().is_some_and(Live::is_usable) {
            return;
        }
        self.desk.hear(now, &audio, at_ms, out);
        self.echo(now, audio, out);
    }

    pub(super) fn pressed(&mut self, now: Now, stream: StreamNo, digit: char) {
        let Some(live) = self.live.as_mut().filter(|live| live.stream == stream) else {
            self.counters.ignored_inputs += 1;
            return;
        };
        live.last_heard = now.tick;
        let room = self.state.digits.len() < crate::limit::DIGITS_MAX;
        self.counters.digits_refused += u64::from(!room);
        if !room || !matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D') {
            self.counters.ignored_inputs += 1;
            return;
        }
        self.decide(now, CallFact::Digits { digits: digit.to_string() });
        self.desk.pressed(digit);
        self.tell_flow(Event::Pressed { digit });
    }

    pub(super) fn marked(&mut self, now: Now, stream: StreamNo, name: &str) {
        if let Some(live) = self.live.as_mut().filter(|live| live.stream == stream) {
            live.last_heard = now.tick;
            self.desk.marked(now, name);
        }
    }

    pub(super) fn blocked(&mut self, now: Now, stream: StreamNo, blocked: bool) {
        if self.live.as_ref().is_some_and(|live| live.stream == stream) {
            self.desk.blocked(now, blocked);
        }
    }

    /// The network's `stop`: the caller has hung up, unless the network comes back for more.
    pub(super) fn stopped(&mut self, now: Now, stream: StreamNo, out: &mut Vec<Effect>) {
        let Some(live) = self.live.as_mut().filter(|live| live.stream == stream && !live.stopped) else {
            return;
        };
        live.stopped = true;
        let left = live.closed || live.leaving;
        self.decide(now, CallFact::StreamEnded { stream: stream.0, stopped: true });
        self.lose_line(now, if left { CallEnd::NoReturn } else { CallEnd::CallerHangup });
        self.write(out);
        out.push(Effect::CloseStream { stream, code: 1000 });
    }

    pub(super) fn stream_down(&mut self, now: Now, stream: StreamNo, _out: &mut Vec<Effect>) {
        self.opening.take(stream);
        let Some(live) = self.live.take_if(|live| live.stream == stream) else { return };
        if !live.stopped {
            self.flow.stream_lost |= !live.closed && !live.leaving;
            self.decide(now, CallFact::StreamEnded { stream: stream.0, stopped: false });
            self.lose_line(now, CallEnd::NoReturn);
        }
    }

    /// What the stream carried stands still, and the flow has to know.
    fn freeze(&mut self, now: Now) {
        self.desk.freeze(now);
        self.flow.line_lost = true;
    }

    /// Media actions freeze; the network has its grace to come back.
    fn lose_line(&mut self, now: Now, otherwise: CallEnd) {
        self.freeze(now);
        if self.wants_hangup() {
            return;
        }
        self.deadlines.await_return(now, otherwise);
        self.look_meanwhile(now);
        self.tell_flow(Event::Proceed);
    }

    /// The network came back while we thought that its stream was up: that stream is dead.
    pub(super) fn drop_stream_for_return(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.close_stream(now, 1000, out);
        self.freeze(now);
    }

    /// Leaves the stream for a verb, for what only the network can say, or for the end, when nothing plays any more.
    pub(super) fn leave_if_quiet(&mut self, now: Now, out: &mut Vec<Effect>) {
        let flow_ended = self.state.flow_over.as_ref().is_some_and(|over| !over.hold);
        let wants_verb = self.flow.wants_verb;
        let Some(live) = self.live.as_mut().filter(|live| !live.stopped && !live.closed) else { return };
        live.leaving |= wants_verb || flow_ended || !self.state.says.is_empty();
        if !live.leaving || !self.desk.is_quiet() {
            return;
        }
        live.closed = true;
        let stream = live.stream;
        self.flow.wants_verb = false;
        self.freeze(now);
        self.deadlines.await_return(now, CallEnd::NoReturn);
        self.look_meanwhile(now);
        self.write(out);
        out.push(Effect::CloseStream { stream, code: 1000 });
    }

    pub(super) fn close_stream(&mut self, now: Now, code: u16, out: &mut Vec<Effect>) {
        let Some(live) = self.live.take() else { return };
        if !live.stopped {
            self.decide(now, CallFact::StreamEnded { stream: live.stream.0, stopped: false });
        }
        if !live.closed && !live.stopped {
            self.write(out);
            out.push(Effect::CloseStream { stream: live.stream, code });
        }
    }

    /// The process goes away: the network follows the Redirect, and the next process picks the call up.
    /// Until it is gone, nothing may count as heard that nobody hears.
    pub(super) fn hand_over(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.live.is_some() {
            self.flow.stream_lost = true;
            self.close_stream(now, 1001, out);
            self.lose_line(now, CallEnd::NoReturn);
        }
        // A socket that has not said `start` would otherwise live until it is cut.
        for stream in std::mem::take(&mut self.opening.admitted).into_keys() {
            out.push(Effect::CloseStream { stream, code: 1001 });
        }
    }

    /// What is counted and heard right now: the `media` of `GET /v1/calls/{call}`.
    pub fn media_view(&self, now: Now) -> Value {
        json!({
            "frames_in": self.counters.frames_in,
            "frames_out": self.counters.frames_out,
            "frames_dropped": self.counters.frames_dropped,
            "stream_up": self.live.is_some(),
            "playing": !self.desk.is_quiet(),
            "levels": self.meter.as_ref().map(|meter| meter.view(now.tick)),
        })
    }
}

impl super::state::Exchange {
    pub(super) fn has_stream(&self) -> bool {
        matches!(self.plan.ending, Ending::Stream { .. })
    }
}

use super::state::Exchange;
