//! Deadlines, ends, and the one completion.
//!
//! A call ends by the first of: a terminal status; no return from the network in time; `max_duration`; a silent
//! socket; the flow's own end; somebody's wish. Whatever comes, in whatever order and however often: the flow is
//! told once, the completion is made once.

use super::reaching::Doubt;
use super::*;
use crate::document::{Ending, Plan};
use crate::notice::NetworkStatus;
use crate::provider::twilio::twiml::rendered_length;
use crate::scene::{EndReason, Event, RunOver};
use crate::time::rfc3339_ms;
use serde_json::{Value, json};
use std::time::Duration;

/// Beyond the length of what it performs, the network has this long to be heard of again.
const DOCUMENT_GRACE: Duration = Duration::from_secs(60);
/// A question to the network takes a moment, however short the grace is.
const MOMENT: Duration = Duration::from_secs(5);
/// A completion that was not acknowledged is told again after this.
const RESEND_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    max_duration: Option<Tick>,
    /// The document's own length and a grace.
    document: Option<Tick>,
    /// The network has to come back, or the call ends with this reason.
    back: Option<(Tick, CallEnd)>,
    /// A `<Hangup/>` was given, or the end is under way: over by then, also without the network's word.
    close: Option<Tick>,
    /// When to look whether the stream has gone silent; looked at late, so that frames need not move it.
    idle: Option<Tick>,
    resend: Option<Tick>,
    /// `<Hangup/>` was given to a request after the end began.
    delivered: bool,
    /// Nothing can bring the call back; only the flow and open files are waited for.
    last: bool,
    grace: Duration,
}

impl Deadlines {
    pub(super) fn of_new_call(now: Now, config: &CallConfig, state: &CallState) -> Deadlines {
        let most = state.max_duration_ms.map_or(config.max_duration, Duration::from_millis);
        let most_ms = u64::try_from(most.min(config.max_duration).as_millis()).unwrap_or(u64::MAX);
        let at = now.tick_at_wall(state.started_ms.saturating_add(most_ms));
        Deadlines { max_duration: Some(at), grace: config.return_grace, ..Deadlines::default() }
    }

    pub(super) fn next(&self) -> Option<Tick> {
        let back = self.back.map(|(at, _)| at);
        [self.max_duration, self.document, back, self.close, self.idle, self.resend]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn given(&mut self, now: Now, config: &CallConfig, plan: &Plan) {
        self.back = None;
        let length = rendered_length(&plan.verbs);
        match plan.ending {
            Ending::Hangup => {
                self.document = None;
                self.close = Some(now.tick + length.unwrap_or_default() + config.return_grace);
            }
            _ => self.document = length.map(|length| now.tick + length + DOCUMENT_GRACE),
        }
    }

    /// The network came back.
    pub(super) fn returned(&mut self) {
        self.document = None;
        self.back = None;
    }

    pub(super) fn stream_up(&mut self, now: Now, idle_timeout: Duration) {
        self.returned();
        self.idle = Some(now.tick + idle_timeout);
    }

    pub(super) fn await_return(&mut self, now: Now, otherwise: CallEnd) {
        self.idle = None;
        if self.back.is_none() {
            self.back = Some((now.tick + self.grace, otherwise));
        }
    }

    pub(super) fn is_awaiting(&self) -> bool {
        self.back.is_some()
    }

    pub(super) fn hangup_delivered(&mut self, now: Now) {
        // Only the first time: a network that keeps asking must not keep the call from ending.
        if self.close.is_some() && !self.delivered {
            self.delivered = true;
            self.close = Some(now.tick + self.grace);
        }
    }

    fn clear(&mut self) {
        *self = Deadlines { grace: self.grace, last: self.last, ..Deadlines::default() };
    }
}

impl Call {
    /// True when whatever the network asks for, it gets `<Hangup/>`.
    pub(super) fn wants_hangup(&self) -> bool {
        self.state.stopping.is_some() || self.state.over.is_some()
    }

    pub(super) fn wake_deadlines(&mut self, now: Now, out: &mut Vec<Effect>) {
        let is_due = |at: Option<Tick>| at.is_some_and(|at| at <= now.tick);
        if is_due(self.deadlines.close) {
            self.deadlines.close = None;
            let told = self.deadlines.delivered;
            if !told && self.hang_up_there(now, out) {
                // Nobody can tell whether it is over there: it is ended, and has the grace to say so.
                self.deadlines.close = Some(now.tick + self.config.return_grace.max(MOMENT));
            } else {
                self.end_for_good(now, CallEnd::Completed, out);
            }
        }
        if is_due(self.deadlines.max_duration) {
            self.deadlines.max_duration = None;
            self.end_by_us(now, CallEnd::MaxDuration, EndReason::CallEnded, out);
        }
        if let Some((_, reason)) = self.deadlines.back.take_if(|(at, _)| *at <= now.tick) {
            let by_itself = self.state.flow_over.as_ref().is_some_and(|over| !over.hold);
            let reason = if by_itself { CallEnd::Completed } else { reason };
            if !self.in_doubt(now, Doubt::Return(reason), out) {
                self.end_for_good(now, reason, out);
            }
        }
        if is_due(self.deadlines.document) {
            self.deadlines.document = None;
            if !self.in_doubt(now, Doubt::Return(CallEnd::NoReturn), out) {
                self.end_for_good(now, CallEnd::NoReturn, out);
            }
        }
        if is_due(self.deadlines.idle) {
            self.look_for_silence(now, out);
        }
        if is_due(self.deadlines.resend) {
            self.tell_parent(now, out);
        }
    }

    fn look_for_silence(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.deadlines.idle = None;
        let Some(heard) = self.live.as_ref().map(|live| live.last_heard) else { return };
        let due = heard + self.config.idle_timeout;
        if due <= now.tick {
            self.end_by_us(now, CallEnd::IdleTimeout, EndReason::CallEnded, out);
        } else {
            self.deadlines.idle = Some(due);
        }
    }

    /// A person, or the flow's owner, wants the call to end.
    pub(super) fn asked_end(
        &mut self,
        now: Now,
        ask: AskNo,
        stop: bool,
        stamp: Option<Stamp>,
        out: &mut Vec<Effect>,
    ) {
        let under_way = self.state.exchanges.last().is_some_and(|exchange| !exchange.returned);
        let out_of_reach = self.live.is_none() && under_way && self.state.over.is_none();
        let deferred = out_of_reach && !self.has_rest();
        let reason = if stop { EndReason::Stopped } else { EndReason::CallEnded };
        self.obeyed(now, stamp, deferred);
        self.end_by_us(now, CallEnd::Hangup, reason, out);
        self.write(out);
        out.push(Effect::Answer { ask, answer: Answer::Ending { deferred } });
    }

    pub(super) fn network_ended(&mut self, now: Now, status: NetworkStatus, out: &mut Vec<Effect>) {
        let by_itself = self.state.hangup_given() || self.state.flow_over.as_ref().is_some_and(|o| !o.hold);
        let reason = match status {
            NetworkStatus::Busy => CallEnd::Busy,
            NetworkStatus::Failed => CallEnd::Failed,
            NetworkStatus::NoAnswer => CallEnd::NoAnswer,
            NetworkStatus::Canceled => CallEnd::Canceled,
            _ if by_itself => CallEnd::Completed,
            _ => CallEnd::CallerHangup,
        };
        self.end_for_good(now, reason, out);
    }

    /// We want the call to end: the flow stops now, the network learns it at its next request, or is given up.
    pub(super) fn end_by_us(&mut self, now: Now, reason: CallEnd, flow: EndReason, out: &mut Vec<Effect>) {
        if self.wants_hangup() {
            return;
        }
        self.decide(now, CallFact::Stopping { reason });
        // A stream's end brings the network back by itself, and one that waits for a document is told now.
        let out_of_reach = self.live.is_none() && self.making.is_none();
        self.release(now, out);
        self.deadlines.clear();
        self.deadlines.close = Some(now.tick + self.config.return_grace);
        if out_of_reach {
            self.hang_up_there(now, out);
        }
        self.tell_flow(Event::End {
            reason: flow,
            detail: Some(format!("the call ended: {}", reason.as_str())),
        });
    }

    /// Nothing will be heard of this call any more.
    pub(super) fn end_for_good(&mut self, now: Now, reason: CallEnd, out: &mut Vec<Effect>) {
        if self.deadlines.last || self.state.over.is_some() {
            return;
        }
        let verbs_were_last = self.state.hangup_given();
        if self.state.stopping.is_none() {
            self.decide(now, CallFact::Stopping { reason });
        }
        self.release(now, out);
        self.deadlines.clear();
        self.deadlines.last = true;
        if verbs_were_last {
            // The last words were spoken: a document that ends in Hangup has no other way to be done.
            self.tell_flow(Event::Performed { answer: crate::notice::LineAnswer::Returned });
        }
        let detail = Some(format!("the call ended: {}", reason.as_str()));
        self.tell_flow(Event::End { reason: EndReason::CallEnded, detail });
    }

    /// Lets go of socket, sound, files and whoever waits for a document.
    fn release(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.close_stream(now, 1000, out);
        self.end_recording(now, "hangup", out);
        self.desk.silence();
        self.give_up_making(out);
        self.stop_reaching(out);
    }

    /// The completion, once everything that belongs in it is there.
    pub(super) fn finish_if_done(&mut self, now: Now, out: &mut Vec<Effect>) {
        if !self.deadlines.last || self.state.over.is_some() || self.desk.is_recording() {
            return;
        }
        let Some(over) = &self.state.flow_over else { return };
        let reason = match self.state.stopping {
            Some(CallEnd::Completed) | None if over.by_hangup => CallEnd::Hangup,
            Some(reason) => reason,
            None => CallEnd::Completed,
        };
        let completion = self.completion(now, reason);
        self.decide(now, CallFact::Over { reason, completion });
        self.deadlines.clear();
        self.write(out);
        out.push(Effect::Summary(Summary {
            reason,
            duration: Duration::from_millis(now.wall_ms.saturating_sub(self.state.started_ms)),
            frames_in: self.counters.frames_in,
            frames_out: self.counters.frames_out,
            frames_dropped: self.counters.frames_dropped,
        }));
        self.tell_parent(now, out);
    }

    /// Told until it is acknowledged: the main workflow takes it once.
    fn tell_parent(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.deadlines.resend = None;
        if self.state.acked {
            return;
        }
        if let (Some(run), Some(completion)) = (self.state.main_run, &self.state.completion) {
            out.push(Effect::TellParent { run, completion: (**completion).clone() });
            self.deadlines.resend = Some(now.tick + RESEND_AFTER);
        }
    }

    pub(super) fn acked(&mut self, now: Now) {
        if self.state.over.is_some() && !self.state.acked {
            self.decide(now, CallFact::Acked);
            self.deadlines.clear();
        }
    }

    /// A call that can't go on, because it died again and again or could not be written down: it ends now.
    pub fn lost(now: Now, config: Arc<CallConfig>, state: CallState, why: &str) -> Call {
        let mut call = Call::restore(now, config, state);
        if call.state.flow_over.is_none() {
            let over = RunOver {
                reason: EndReason::Failed,
                detail: Some(why.into()),
                outputs: serde_json::Map::new(),
                on_complete: None,
                by_hangup: false,
                hold: false,
            };
            call.flow.over = true;
            call.decide(now, CallFact::FlowOver { over });
        }
        // No socket is up and nobody waits yet, so there is nothing to let go of: only what is decided counts.
        call.end_for_good(now, CallEnd::Internal, &mut Vec::new());
        call
    }

    /// After a restart: what was awaited is awaited anew.
    pub(super) fn resume_deadlines(&mut self, now: Now) {
        if self.state.over.is_some() {
            self.deadlines.clear();
            self.deadlines.resend = Some(now.tick);
        } else if self.state.stopping.is_some() {
            self.deadlines.clear();
            if self.state.status.is_some_and(NetworkStatus::is_terminal) {
                // The network's last word was written: nothing more is waited for.
                self.deadlines.last = true;
            } else {
                self.deadlines.close = Some(now.tick + self.config.return_grace);
            }
            if self.state.hangup_given() {
                self.tell_flow(Event::Performed { answer: crate::notice::LineAnswer::Returned });
            }
            let detail = self.state.stopping.map(|reason| format!("the call ended: {}", reason.as_str()));
            self.tell_flow(Event::End { reason: EndReason::CallEnded, detail });
        } else if let Some(last) = self.state.exchanges.last() {
            let plan = last.plan.clone();
            let performing = !last.returned && !last.token_used;
            let straight_to_stream = plan.verbs.is_empty() && matches!(plan.ending, Ending::Stream { .. });
            if performing && !straight_to_stream {
                // Its verbs may still be under way: the network has no reason to come back before they end.
                self.deadlines.given(now, &self.config.clone(), &plan);
            } else {
                // What the network said before the restart still holds, should it not come back.
                let stopped =
                    self.state.streams.back().is_some_and(|stream| stream.stopped) && !last.returned;
                let otherwise = if stopped { CallEnd::CallerHangup } else { CallEnd::NoReturn };
                self.deadlines.await_return(now, otherwise);
            }
        } else {
            self.deadlines.await_return(now, CallEnd::NoReturn);
        }
    }

    fn completion(&self, now: Now, reason: CallEnd) -> Value {
        let state = &self.state;
        let flow = state.flow_over.as_ref();
        let lasted_ms = now.wall_ms.saturating_sub(state.started_ms);
        let status = state.status.filter(|status| status.is_terminal()).unwrap_or(NetworkStatus::Completed);
        json!({
            "callSid": state.arrival.call,
            "accountSid": state.arrival.account,
            "from": state.arrival.from,
            "to": state.arrival.to,
            "direction": state.arrival.direction,
            "callStatus": status.as_str(),
            "callDuration": state.status_duration_s.unwrap_or((lasted_ms + 500) / 1000),
            "startedAt": rfc3339_ms(state.started_ms),
            "endedAt": rfc3339_ms(now.wall_ms),
            "endReason": reason.as_str(),
            "subWorkflow": state.sub_workflow,
            "subWorkflowStatus": flow.map(|over| over.reason.as_str()),
            "subWorkflowJobStatus": flow.map(|over| job_status(over.reason)),
            "subWorkflowOutputs": flow.map(|over| Value::Object(over.outputs.clone())),
            "digits": state.digits,
            "recordings": state.recordings,
        })
    }
}

/// The older words for the same.
fn job_status(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Completed => "COMPLETED",
        EndReason::Stopped | EndReason::CallEnded | EndReason::Canceled => "STOPPED",
        EndReason::Failed | EndReason::Limit => "FAILED",
    }
}
