//! Who asks for a document, and which one they get.
//!
//! The rules make every repetition harmless: the same request, or the same number asked twice, gets the same document
//! and no action runs twice. Only the first return for the newest document makes a new one.

use super::*;
use crate::notice::{LineAnswer, NetworkStatus, StatusNotice};
use crate::scene::Event;

/// What the network told beside the call's life is kept for the timeline, up to this many.
pub(super) const NEWS_MAX: u32 = 1000;

impl Call {
    pub(super) fn asked(&mut self, now: Now, ask: AskNo, request: Request, out: &mut Vec<Effect>) {
        if matches!(request, Request::Voice { .. } | Request::Next { .. } | Request::Wait { .. }) {
            self.heard_of_network(now);
        }
        let (stamp, request) = request.unstamped();
        if let Some(before) = stamp.and_then(|stamp| self.state.deeds.find(now.wall_ms, stamp)) {
            self.write(out);
            out.push(Effect::Answer { ask, answer: request.again(before) });
            return;
        }
        match request {
            Request::Voice { status, answer, key } => {
                self.ended_meanwhile(now, None, status, &answer, out);
                self.asked_voice(now, ask, answer, key, out);
            }
            Request::Next { x, a: _, status, answer, key } => {
                self.ended_meanwhile(now, x, status, &answer, out);
                self.asked_next(now, ask, x, answer, key, out);
            }
            Request::Wait { x, w, waited_s } => self.asked_wait(ask, x, w, waited_s, out),
            Request::Status(notice) => self.asked_status(now, ask, notice, out),
            Request::Stream(notice) => self.note(now, ask, CallFact::StreamNews { notice }, out),
            Request::Recording(notice) => self.note(now, ask, CallFact::RecordingNews { notice }, out),
            Request::Conference(notice) => self.note(now, ask, CallFact::ConferenceNews { notice }, out),
            Request::Open { token } => self.asked_open(now, ask, &token, out),
            Request::Attach => self.asked_attach(now, ask, out),
            Request::LeaveVerb => self.asked_to_leave_verb(now, ask, stamp, out),
            Request::HangUp => self.asked_end(now, ask, false, stamp, out),
            Request::Stop => self.asked_end(now, ask, true, stamp, out),
            Request::Say { text } => self.asked_say(now, ask, text, stamp, out),
            Request::Command { run, command } => self.command_flow(ask, run, command, stamp, out),
            // A key in a key: nobody says that.
            Request::Once { .. } => out.push(Effect::Answer { ask, answer: Answer::NoContent }),
        }
    }

    /// A hang-up cuts a verb short, and the network still asks its action, saying that the call is over: the verb's
    /// result counts, and then the call ends. Nobody would hear another document.
    fn ended_meanwhile(
        &mut self,
        now: Now,
        x: Option<u32>,
        status: Option<NetworkStatus>,
        answer: &LineAnswer,
        out: &mut Vec<Effect>,
    ) {
        let Some(status) = status.filter(|status| status.is_terminal()) else { return };
        let newest = self.state.newest();
        if newest == 0 || self.wants_hangup() {
            return;
        }
        if x == Some(newest)
            && self.making.is_none()
            && !self.is_done_with(newest)
            && !self.state.hangup_given()
        {
            self.acknowledge(now, newest, answer.clone());
        }
        self.status_moves(now, status, None, out);
    }

    /// The voice webhook: document 1 while it is the newest, later like a return without a number.
    fn asked_voice(
        &mut self,
        now: Now,
        ask: AskNo,
        answer: LineAnswer,
        key: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        let key = key.map(|token| format!("voice {token}"));
        if self.answered_before(now, ask, key.as_deref(), out) {
            return;
        }
        match self.state.newest() {
            0 => self.make(ask, key, Event::Proceed, out),
            // Also when its stream is up: a repeated webhook must not end it. The token is used, so whoever gets the
            // document a second time is led on by its Redirect.
            1 => self.give_again(now, ask, 1, key, out),
            newest => self.return_unnumbered(now, ask, newest, answer, key, out),
        }
    }

    /// A return that names no document: go on only from one that is known to be done.
    fn return_unnumbered(
        &mut self,
        now: Now,
        ask: AskNo,
        newest: u32,
        answer: LineAnswer,
        key: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        if self.is_done_with(newest) {
            self.return_for(now, ask, newest, answer, key, out);
        } else {
            self.give_again(now, ask, newest, key, out);
        }
    }

    /// The network comes back for what follows document `x`.
    fn asked_next(
        &mut self,
        now: Now,
        ask: AskNo,
        x: Option<u32>,
        answer: LineAnswer,
        key: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        let key = key.map(|token| format!("next {token}"));
        if self.answered_before(now, ask, key.as_deref(), out) {
            return;
        }
        let newest = self.state.newest();
        match x {
            _ if newest == 0 => self.make(ask, key, Event::Proceed, out),
            Some(x) if x >= 1 && x < newest => self.give_again(now, ask, x + 1, key, out),
            Some(x) if x == newest => self.return_for(now, ask, newest, answer, key, out),
            _ => self.return_unnumbered(now, ask, newest, answer, key, out),
        }
    }

    /// True when the answer stood already: the call is over, or this very request was answered before.
    fn answered_before(&mut self, now: Now, ask: AskNo, key: Option<&str>, out: &mut Vec<Effect>) -> bool {
        if self.wants_hangup() {
            self.deadlines.hangup_delivered(now);
            // This very request may have told that the call is over.
            self.write(out);
            out.push(Effect::Answer { ask, answer: Answer::Hangup });
            return true;
        }
        let bound =
            key.and_then(|key| self.state.bound(key)).and_then(|exchange| self.state.exchange(exchange));
        if let Some(exchange) = bound {
            let plan = exchange.plan.clone();
            self.write(out);
            out.push(Effect::Answer { ask, answer: Answer::Document { plan } });
            return true;
        }
        false
    }

    /// The same bytes once more, no effect.
    fn give_again(
        &mut self,
        now: Now,
        ask: AskNo,
        exchange: u32,
        key: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        let Some(plan) = self.state.exchange(exchange).map(|exchange| exchange.plan.clone()) else { return };
        if let Some(key) = key {
            self.decide(now, CallFact::Bound { key, exchange });
        }
        self.write(out);
        out.push(Effect::Answer { ask, answer: Answer::Document { plan } });
    }

    /// The first return for the newest document: what it rendered is done, the next one is made.
    fn return_for(
        &mut self,
        now: Now,
        ask: AskNo,
        exchange: u32,
        answer: LineAnswer,
        key: Option<String>,
        out: &mut Vec<Effect>,
    ) {
        if self.making.is_some() {
            self.join(ask, key, out);
            return;
        }
        self.drop_stream_for_return(now, out);
        self.deadlines.returned();
        let interrupted = self.flow.interrupted.take() == Some(exchange);
        let answer =
            if interrupted && answer == LineAnswer::Returned { LineAnswer::Interrupted } else { answer };
        self.learn_return(now, exchange, &answer);
        // Verbs that the start of the stream acknowledged are done already, unless the flow's word on it was lost.
        self.make(ask, key, Event::Performed { answer }, out);
    }

    /// What the document rendered is done, and no other is wanted.
    fn acknowledge(&mut self, now: Now, exchange: u32, answer: LineAnswer) {
        self.learn_return(now, exchange, &answer);
        self.tell_flow(Event::Performed { answer });
    }

    fn learn_return(&mut self, now: Now, exchange: u32, answer: &LineAnswer) {
        // Returned already, and no document after it: the process died in between, and the network asks again.
        if self.state.exchange(exchange).is_some_and(|exchange| exchange.returned) {
            return;
        }
        if let LineAnswer::Gathered { digits, .. } = answer
            && !digits.is_empty()
        {
            self.decide(now, CallFact::Digits { digits: digits.clone() });
        }
        self.decide(now, CallFact::Returned { exchange });
    }

    fn asked_wait(&mut self, ask: AskNo, x: u32, w: u32, waited_s: Option<u64>, out: &mut Vec<Effect>) {
        if self.wants_hangup() {
            out.push(Effect::Answer { ask, answer: Answer::Hangup });
            return;
        }
        // A caller who waits is never hung up on for a number that we don't know.
        let newest = self.state.newest();
        let exchange = if (1..=newest).contains(&x) { x } else { newest };
        out.push(Effect::WaitTurn { ask, exchange, turn: w, waited_s });
    }

    fn asked_status(&mut self, now: Now, ask: AskNo, notice: StatusNotice, out: &mut Vec<Effect>) {
        if notice.parent.is_some() && notice.call != self.state.arrival.call {
            self.note(now, ask, CallFact::ChildStatus { notice }, out);
            return;
        }
        if let Some(status) = notice.status {
            self.status_moves(now, status, notice.duration_s, out);
        }
        self.write(out);
        out.push(Effect::Answer { ask, answer: Answer::NoContent });
    }

    /// Statuses come repeated, late and out of order: only what is further along is news, the first end wins.
    pub(super) fn status_moves(
        &mut self,
        now: Now,
        status: NetworkStatus,
        duration_s: Option<u64>,
        out: &mut Vec<Effect>,
    ) {
        let known = self.state.status;
        let is_news = known.is_none_or(|known| status > known && !known.is_terminal());
        if !is_news || self.state.over.is_some() {
            self.counters.ignored_inputs += 1;
            return;
        }
        self.decide(now, CallFact::Status { status, duration_s });
        self.tell_flow(Event::Learned { name: "call.status".into(), value: status.as_str().into() });
        if status.is_terminal() {
            self.network_ended(now, status, out);
        }
    }

    /// For the timeline; answered when it is written.
    fn note(&mut self, now: Now, ask: AskNo, fact: CallFact, out: &mut Vec<Effect>) {
        if self.state.news < NEWS_MAX && self.state.over.is_none() {
            self.decide(now, fact);
        } else {
            self.counters.ignored_inputs += 1;
        }
        self.write(out);
        out.push(Effect::Answer { ask, answer: Answer::NoContent });
    }

    /// The network is past document `exchange`: it came back for more, or its stream has started.
    fn is_done_with(&self, exchange: u32) -> bool {
        self.state.exchange(exchange).is_some_and(|exchange| exchange.returned || exchange.stream_started)
    }
}
