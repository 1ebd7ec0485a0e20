//! The durable part of a call: the fold of its facts, and what the API shows of it.

use super::fact::{CallEnd, CallFact};
use crate::document::{Ending, Plan};
use crate::id::{RunId, WorkflowId};
use crate::notice::{Arrival, NetworkStatus};
use crate::once::Deeds;
use crate::scene::{RecordingReport, RunOver};
use crate::time::rfc3339_ms;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Idempotency tokens kept a call; the network's retries come within seconds.
const KEYS_MAX: usize = 256;
/// Sockets shown by the API; a call seldom has more than a few.
const STREAMS_MAX: usize = 1000;
/// Finished recordings named in the completion.
const RECORDINGS_MAX: usize = 1000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallState {
    pub arrival: Arrival,
    pub workflow: WorkflowId,
    pub sub_workflow: WorkflowId,
    pub sub_run: RunId,
    pub main_run: Option<RunId>,
    pub max_duration_ms: Option<u64>,
    pub resume_phrase: Option<String>,
    pub started_ms: u64,
    pub ended_ms: Option<u64>,
    pub status: Option<NetworkStatus>,
    pub status_duration_s: Option<u64>,
    /// Document N stands at N - 1.
    pub exchanges: Vec<Exchange>,
    pub streams: VecDeque<StreamRecord>,
    pub last_stream: u64,
    pub digits: String,
    pub recordings: VecDeque<Value>,
    pub open_recordings: BTreeMap<u64, String>,
    /// Of the newest recording: told to the flow again after a restart, should its word on it have been lost.
    pub last_report: Option<Box<RecordingReport>>,
    pub flow_over: Option<Box<RunOver>>,
    pub stopping: Option<CallEnd>,
    pub over: Option<CallEnd>,
    pub completion: Option<Box<Value>>,
    pub acked: bool,
    /// What somebody outside lets the caller hear in the next document.
    pub says: Vec<String>,
    /// Notices kept for the timeline.
    pub news: u32,
    /// What was asked for under a key, and done.
    pub deeds: Deeds,
    keys: VecDeque<(String, u32)>,
}

/// One document and how far the network came with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    pub plan: Arc<Plan>,
    pub given_ms: u64,
    /// The network came back for the next one.
    pub returned: bool,
    pub token_used: bool,
    pub stream_started: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamRecord {
    pub stream: u64,
    pub exchange: u32,
    pub stream_sid: String,
    pub started_ms: u64,
    pub ended_ms: Option<u64>,
    pub stopped: bool,
}

impl CallState {
    /// The state that the call's first fact makes; `None` when it is no first fact.
    pub fn begin(fact: &CallFact, wall_ms: u64) -> Option<CallState> {
        let CallFact::Arrived {
            arrival,
            workflow,
            sub_workflow,
            sub_run,
            main_run,
            max_duration_ms,
            resume_phrase,
        } = fact
        else {
            return None;
        };
        Some(CallState {
            arrival: arrival.clone(),
            workflow: workflow.clone(),
            sub_workflow: sub_workflow.clone(),
            sub_run: *sub_run,
            main_run: *main_run,
            max_duration_ms: *max_duration_ms,
            resume_phrase: resume_phrase.clone(),
            started_ms: wall_ms,
            ended_ms: None,
            // A call that is asked about is up; its end is told by a status of its own.
            status: arrival.status.filter(|status| !status.is_terminal()),
            status_duration_s: None,
            exchanges: Vec::new(),
            streams: VecDeque::new(),
            last_stream: 0,
            digits: String::new(),
            recordings: VecDeque::new(),
            open_recordings: BTreeMap::new(),
            last_report: None,
            flow_over: None,
            stopping: None,
            over: None,
            completion: None,
            acked: false,
            says: Vec::new(),
            news: 0,
            deeds: Deeds::default(),
            keys: VecDeque::new(),
        })
    }

    /// The only road by which durable state changes.
    pub fn apply(&mut self, fact: &CallFact, wall_ms: u64) {
        match fact {
            CallFact::Arrived { .. } | CallFact::Trouble { .. } => {}
            CallFact::Rejected => self.finish(CallEnd::Rejected, wall_ms),
            CallFact::Status { status, duration_s } => {
                self.status = Some(*status);
                self.status_duration_s = duration_s.or(self.status_duration_s);
            }
            CallFact::Given { plan, key } => {
                let exchange = Exchange {
                    plan: Arc::new(plan.clone()),
                    given_ms: wall_ms,
                    returned: false,
                    token_used: false,
                    stream_started: false,
                };
                self.exchanges.push(exchange);
                self.says.clear();
                if let Some(key) = key {
                    self.bind(key, plan.exchange);
                }
            }
            CallFact::Bound { key, exchange } => self.bind(key, *exchange),
            CallFact::Returned { exchange } => {
                if let Some(exchange) = self.exchange_mut(*exchange) {
                    exchange.returned = true;
                }
            }
            CallFact::TokenUsed { exchange, stream } => {
                self.last_stream = self.last_stream.max(*stream);
                if let Some(exchange) = self.exchange_mut(*exchange) {
                    exchange.token_used = true;
                }
            }
            CallFact::StreamStarted { stream, exchange, stream_sid } => {
                if let Some(exchange) = self.exchange_mut(*exchange) {
                    exchange.stream_started = true;
                }
                let record = StreamRecord {
                    stream: *stream,
                    exchange: *exchange,
                    stream_sid: stream_sid.clone(),
                    started_ms: wall_ms,
                    ended_ms: None,
                    stopped: false,
                };
                push_bounded(&mut self.streams, record, STREAMS_MAX);
            }
            CallFact::StreamEnded { stream, stopped } => {
                if let Some(record) = self.streams.iter_mut().rev().find(|record| record.stream == *stream) {
                    record.ended_ms = Some(wall_ms);
                    record.stopped = *stopped;
                }
            }
            CallFact::Digits { digits } => {
                let room = crate::limit::DIGITS_MAX.saturating_sub(self.digits.len());
                self.digits.extend(digits.chars().take(room));
            }
            CallFact::RecordingStarted { ordinal, file } => {
                self.open_recordings.insert(*ordinal, file.clone());
            }
            CallFact::RecordingEnded { report } => {
                self.open_recordings.remove(&report.ordinal);
                self.last_report = Some(Box::new(report.clone()));
                push_bounded(&mut self.recordings, stream_recording(report), RECORDINGS_MAX);
            }
            CallFact::RecordingNews { notice } if notice.status == "completed" => {
                self.news += 1;
                let recording = json!({
                    "source": "network", "sid": notice.sid, "url": notice.url, "seconds": notice.seconds,
                });
                if !self.recordings.iter().any(|known| known.get("sid") == recording.get("sid")) {
                    push_bounded(&mut self.recordings, recording, RECORDINGS_MAX);
                }
            }
            CallFact::Said { text, deferred: true } => self.says.push(text.clone()),
            CallFact::Said { deferred: false, .. } => {}
            CallFact::FlowOver { over } => self.flow_over = Some(Box::new(over.clone())),
            CallFact::Stopping { reason } => self.stopping = Some(*reason),
            CallFact::Over { reason, completion } => {
                self.completion = Some(Box::new(completion.clone()));
                self.finish(*reason, wall_ms);
            }
            CallFact::Acked => self.acked = true,
            CallFact::Obeyed(deed) => self.deeds.add(*deed),
            CallFact::ChildStatus { .. }
            | CallFact::StreamNews { .. }
            | CallFact::RecordingNews { .. }
            | CallFact::ConferenceNews { .. }
            | CallFact::Reached { .. } => self.news += 1,
        }
    }

    pub fn exchange(&self, number: u32) -> Option<&Exchange> {
        self.exchanges.get(usize::try_from(number.checked_sub(1)?).ok()?)
    }

    pub fn newest(&self) -> u32 {
        u32::try_from(self.exchanges.len()).unwrap_or(u32::MAX)
    }

    /// The document that this idempotency token was given.
    pub fn bound(&self, key: &str) -> Option<u32> {
        self.keys.iter().find(|(known, _)| known == key).map(|(_, exchange)| *exchange)
    }

    /// True once a document that ends the call was given.
    pub fn hangup_given(&self) -> bool {
        self.exchanges.last().is_some_and(|exchange| matches!(exchange.plan.ending, Ending::Hangup))
    }

    /// `connecting`, `active`, `stopping`, `ended`.
    pub fn phase(&self) -> &'static str {
        if self.over.is_some() {
            return "ended";
        }
        if self.stopping.is_some() || self.hangup_given() {
            return "stopping";
        }
        let under_way = |exchange: &Exchange| exchange.stream_started || !exchange.plan.verbs.is_empty();
        if self.exchanges.iter().any(under_way) { "active" } else { "connecting" }
    }

    /// `GET /v1/calls/{call}`; live counters are added by whoever has them.
    pub fn view(&self) -> Value {
        let mut activeflows = vec![json!(self.sub_run)];
        activeflows.extend(self.main_run.map(|run| json!(run)));
        let exchanges: Vec<Value> = self.exchanges.iter().map(Exchange::view).collect();
        let streams: Vec<Value> = self.streams.iter().map(StreamRecord::view).collect();
        json!({
            "sid": self.arrival.call,
            "workflow": self.workflow,
            "sub_workflow": self.sub_workflow,
            "state": self.phase(),
            "status": self.status.map(NetworkStatus::as_str),
            "from": self.arrival.from,
            "to": self.arrival.to,
            "direction": self.arrival.direction,
            "exchanges": exchanges,
            "streams": streams,
            "media": Value::Object(Map::new()),
            "digits": self.digits,
            "recordings": self.recordings,
            "activeflows": activeflows,
            "end_reason": self.over.or(self.stopping).map(CallEnd::as_str),
            "completion": self.completion,
            "started_at": rfc3339_ms(self.started_ms),
            "ended_at": self.ended_ms.map(rfc3339_ms),
        })
    }

    fn bind(&mut self, key: &str, exchange: u32) {
        push_bounded(&mut self.keys, (key.to_owned(), exchange), KEYS_MAX);
    }

    fn finish(&mut self, reason: CallEnd, wall_ms: u64) {
        if self.over.is_none() {
            self.over = Some(reason);
            self.ended_ms = Some(wall_ms);
        }
    }

    fn exchange_mut(&mut self, number: u32) -> Option<&mut Exchange> {
        self.exchanges.get_mut(usize::try_from(number.checked_sub(1)?).ok()?)
    }
}

impl Exchange {
    fn view(&self) -> Value {
        let ending = match &self.plan.ending {
            Ending::Stream { .. } => "stream",
            Ending::Return => "return",
            Ending::Hangup => "hangup",
            Ending::Reject { .. } => "reject",
        };
        json!({
            "exchange": self.plan.exchange,
            "verbs": self.plan.verbs,
            "ending": ending,
            "given_at": rfc3339_ms(self.given_ms),
            "returned": self.returned,
            "stream_started": self.stream_started,
        })
    }
}

impl StreamRecord {
    fn view(&self) -> Value {
        json!({
            "stream_sid": self.stream_sid,
            "exchange": self.exchange,
            "started_at": rfc3339_ms(self.started_ms),
            "ended_at": self.ended_ms.map(rfc3339_ms),
            "stopped": self.stopped,
        })
    }
}

fn stream_recording(report: &RecordingReport) -> Value {
    json!({
        "source": "stream", "file": report.file, "bytes": report.bytes, "seconds": report.seconds,
        "gaps": report.gaps,
    })
}

fn push_bounded<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() >= most {
        queue.pop_front();
    }
    // Most calls have one.
    if queue.is_empty() {
        queue.reserve_exact(1);
    }
    queue.push_back(item);
}
