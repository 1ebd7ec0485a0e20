//! What is told of a call: its life, what the network performs, and at the end the completion.

use super::{Event, Of, Out};
use crate::document::Ending;
use crate::fact::{CallEnd, CallFact};
use crate::id::{RunId, WorkflowId};
use crate::notice::{Arrival, NetworkStatus};
use crate::time::rfc3339_ms;
use serde_json::{Value, json};

/// As much of a call's state as its events show.
#[derive(Debug)]
pub(super) struct CallTeller {
    arrival: Arrival,
    workflow: WorkflowId,
    sub_workflow: WorkflowId,
    sub_run: RunId,
    main_run: Option<RunId>,
    started_ms: u64,
    ended_ms: Option<u64>,
    status: Option<NetworkStatus>,
    /// A verb or a stream has been under way.
    active: bool,
    /// The newest document ends the call.
    hangup_given: bool,
    end: Option<CallEnd>,
    over: bool,
    digits: usize,
    sequence: u64,
}

impl CallTeller {
    /// `None`: no call begins with this.
    pub fn begin(fact: &CallFact, at: u64, out: &mut Out) -> Option<CallTeller> {
        let CallFact::Arrived { arrival, workflow, sub_workflow, sub_run, main_run, .. } = fact else {
            return None;
        };
        let mut teller = CallTeller {
            arrival: arrival.clone(),
            workflow: workflow.clone(),
            sub_workflow: sub_workflow.clone(),
            sub_run: *sub_run,
            main_run: *main_run,
            started_ms: at,
            ended_ms: None,
            status: arrival.status.filter(|status| !status.is_terminal()),
            active: false,
            hangup_given: false,
            end: None,
            over: false,
            digits: 0,
            sequence: 0,
        };
        teller.say(at, out, "call.arrived", &Value::Null);
        Some(teller)
    }

    pub fn tell(&mut self, fact: &CallFact, at: u64, out: &mut Out) {
        // The end is the last that is told, though the network may still have something to say.
        if self.over {
            return;
        }
        match fact {
            CallFact::Rejected => self.end(CallEnd::Rejected, "call.rejected", &Value::Null, at, out),
            CallFact::Status { status, duration_s } => {
                self.status = Some(*status);
                self.say(at, out, "call.status", &json!({ "duration": duration_s }));
            }
            CallFact::Given { plan, .. } => {
                let ending = match plan.ending {
                    Ending::Stream { .. } => "stream",
                    Ending::Return => "return",
                    Ending::Hangup => "hangup",
                    Ending::Reject { .. } => "reject",
                };
                self.hangup_given = ending == "hangup";
                let said = json!({ "exchange": plan.exchange, "verbs": plan.verbs.len(), "ending": ending });
                self.say(at, out, "call.document", &said);
                self.is_active(!plan.verbs.is_empty(), at, out);
            }
            CallFact::StreamStarted { exchange, stream_sid, .. } => {
                let said = json!({ "exchange": exchange, "stream_sid": stream_sid });
                self.say(at, out, "call.stream_started", &said);
                self.is_active(true, at, out);
            }
            CallFact::StreamEnded { stopped, .. } => {
                self.say(at, out, "call.stream_ended", &json!({ "stopped": stopped }));
            }
            // A number of a card, or a secret one: whoever may see it asks the API.
            CallFact::Digits { digits } => {
                self.digits += digits.chars().count();
                self.say(at, out, "call.digits", &json!({ "count": self.digits }));
            }
            CallFact::RecordingStarted { file, .. } => {
                self.say(at, out, "call.recording_started", &json!({ "file": file }));
            }
            CallFact::RecordingEnded { report } => {
                let said = json!({
                    "source": "stream", "file": report.file, "bytes": report.bytes, "seconds": report.seconds,
                    "ended_by": report.ended_by,
                });
                self.say(at, out, "call.recording_ended", &said);
            }
            CallFact::RecordingNews { notice } if notice.status == "completed" => {
                let said = json!({
                    "source": "network", "sid": notice.sid, "url": notice.url, "seconds": notice.seconds,
                });
                self.say(at, out, "call.recording_ended", &said);
            }
            CallFact::ConferenceNews { notice } => {
                let said = json!({
                    "conference": notice.name, "what": notice.event, "who": notice.call,
                    "label": notice.label, "reason": notice.reason,
                });
                self.say(at, out, "call.conference", &said);
            }
            CallFact::Trouble { what } => self.say(at, out, "call.trouble", &json!({ "what": what })),
            CallFact::Stopping { reason } => {
                self.end = Some(*reason);
                self.say(at, out, "call.stopping", &Value::Null);
            }
            CallFact::Over { reason, completion } => {
                self.end(*reason, "call.ended", &json!({ "completion": completion }), at, out);
            }
            // Bookkeeping, and what belongs on the timeline alone.
            CallFact::Arrived { .. }
            | CallFact::Bound { .. }
            | CallFact::Returned { .. }
            | CallFact::TokenUsed { .. }
            | CallFact::FlowOver { .. }
            | CallFact::Acked
            | CallFact::Obeyed(_)
            | CallFact::ChildStatus { .. }
            | CallFact::StreamNews { .. }
            | CallFact::RecordingNews { .. }
            | CallFact::Reached { .. }
            | CallFact::Said { .. } => {}
        }
    }

    fn is_active(&mut self, under_way: bool, at: u64, out: &mut Out) {
        if under_way && !self.active {
            self.active = true;
            self.say(at, out, "call.active", &Value::Null);
        }
    }

    fn end(&mut self, reason: CallEnd, kind: &'static str, said: &Value, at: u64, out: &mut Out) {
        self.end = Some(reason);
        self.ended_ms = Some(at);
        self.over = true;
        self.say(at, out, kind, said);
    }

    fn say(&mut self, at: u64, out: &mut Out, kind: &'static str, said: &Value) {
        self.sequence += 1;
        out.push(|| {
            let mut data = self.shown();
            if let (Some(data), Some(said)) = (data.as_object_mut(), said.as_object()) {
                data.extend(said.clone());
            }
            let call = self.arrival.call.clone();
            let of = Of::CallWith(self.sub_run);
            let mut event = Event::new(of, kind, call.0.clone(), self.sequence, at, data);
            event.call = Some(call);
            event
        });
    }

    /// The names are those of `GET /v1/calls/{call}`.
    fn shown(&self) -> Value {
        let state = if self.over {
            "ended"
        } else if self.end.is_some() || self.hangup_given {
            "stopping"
        } else if self.active {
            "active"
        } else {
            "connecting"
        };
        let rejected = self.end == Some(CallEnd::Rejected);
        let runs = self.main_run.iter().chain([&self.sub_run]);
        json!({
            "sid": self.arrival.call,
            "workflow": self.workflow,
            "sub_workflow": self.sub_workflow,
            "state": state,
            "status": self.status.map(NetworkStatus::as_str),
            "from": self.arrival.from,
            "to": self.arrival.to,
            "direction": self.arrival.direction,
            "activeflows": runs.filter(|_| !rejected).collect::<Vec<_>>(),
            "end_reason": self.end.map(CallEnd::as_str),
            "started_at": rfc3339_ms(self.started_ms),
            "ended_at": self.ended_ms.map(rfc3339_ms),
        })
    }
}
