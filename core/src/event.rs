//! What others are told of calls, activeflows and deliveries: which facts give rise to which event.
//!
//! An event is no state of its own. It follows from the facts of one story, in their order: the same facts give the
//! same events, with the same ids and the same numbers, whenever and by whomever they are told. So nothing more has to
//! be written down than that it is owed to somebody.
//!
//! | file | what it decides |
//! |---|---|
//! | `call.rs` | what is told of a call |
//! | `run.rs` | what is told of an activeflow |
//! | `teller.rs` | what is told of one story, whatever stands in it |
//! | [`herald`] | which stories are followed, and what is owed in the batch of a fact |
//! | [`hook`] | who receives events, and as what delivery |

mod call;
pub mod herald;
pub mod hook;
mod run;
mod teller;
#[cfg(test)]
mod tests;

pub use herald::{Heard, Herald, Told};
pub use hook::{Hook, Types};
pub use teller::Teller;

use crate::fact::DeliveryId;
use crate::flow::vars::json_bytes;
use crate::id::{CallId, RunId};
use crate::secret;
use crate::time::rfc3339_ms;
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The content type of an event in its envelope.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";

/// Every type of event, and what it says.
pub const TYPES: &[(&str, &str)] = &[
    ("call.arrived", "a call is there"),
    ("call.rejected", "it was turned away: the house is full, or closes"),
    ("call.document", "the network was given the next document"),
    ("call.active", "the first verb or stream is under way"),
    ("call.status", "the network's status of the call moved on"),
    ("call.stream_started", "sound goes both ways"),
    ("call.stream_ended", "the stream is closed"),
    ("call.digits", "the caller pressed keys; which ones is not told here"),
    ("call.recording_started", "a recording of the stream began"),
    ("call.recording_ended", "a recording is complete, here or at the network"),
    ("call.conference", "something happened in a conference that the call is in"),
    ("call.trouble", "something went wrong that did not end the call"),
    ("call.stopping", "from here on the call only ends"),
    ("call.ended", "nothing more can happen; the completion comes with it"),
    ("activeflow.created", "an activeflow began"),
    ("activeflow.updated", "it waits: for a step, for its next attempt, for its call"),
    ("activeflow.on_complete_refused", "what was to follow on its end would be one too many in a row"),
    ("activeflow.ended", "it is over, with its outputs"),
    ("delivery.failed", "nobody took a message; it is tried again"),
    ("delivery.dead", "nobody tries any more to deliver a message"),
];

/// Bytes of an event's data. Who needs more asks the API; receivers of webhooks expect small messages.
pub const DATA_BYTES_MAX: usize = 64 * 1024;
/// What a part of data may take, once all of it is too much.
const PART_BYTES_MAX: usize = 4 * 1024;
/// Ordinals of events among what an id gives rise to.
const OF_RUN: u64 = 3 << 32;
const OF_CALL: u64 = 4 << 32;

/// What the ids of a subject's events derive from.
#[derive(Debug, Clone, Copy)]
enum Of {
    Run(RunId),
    /// A call has no UUID of its own, but a run.
    CallWith(RunId),
    Delivery(DeliveryId),
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: Uuid,
    /// One of [`TYPES`].
    pub kind: &'static str,
    /// CallSid, activeflow id or delivery id.
    pub subject: String,
    /// From 1 within the subject, without a gap.
    pub sequence: u64,
    pub at: u64,
    /// The call that it is about, or whose activeflow it is about.
    pub call: Option<CallId>,
    pub data: Map<String, Value>,
}

impl Event {
    /// `of` is an id that no other subject's events derive from.
    fn new(of: Of, kind: &'static str, subject: String, sequence: u64, at: u64, data: Value) -> Event {
        let data = match secret::shown_value(&data) {
            Value::Object(data) => data,
            _ => Map::new(),
        };
        let id = match of {
            Of::Run(run) => run.child(OF_RUN | sequence).0,
            Of::CallWith(run) => run.child(OF_CALL | sequence).0,
            Of::Delivery(delivery) => RunId(delivery.0).child(OF_RUN | sequence).0,
        };
        Event { id, kind, subject, sequence, at, call: None, data: bounded(data) }
    }

    /// As CloudEvents 1.0 in JSON, on one line.
    pub fn envelope(&self, source: &str) -> String {
        let envelope = Envelope {
            specversion: "1.0",
            id: self.id,
            source,
            kind: self.kind,
            subject: &self.subject,
            time: rfc3339_ms(self.at),
            datacontenttype: "application/json",
            sequence: self.sequence.to_string(),
            data: &self.data,
        };
        serde_json::to_string(&envelope).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Envelope<'e> {
    specversion: &'static str,
    id: Uuid,
    source: &'e str,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: &'e str,
    time: String,
    datacontenttype: &'static str,
    sequence: String,
    data: &'e Map<String, Value>,
}

/// Data that is too large leaves out its largest parts, and says so.
fn bounded(mut data: Map<String, Value>) -> Map<String, Value> {
    let bytes: usize = data.values().map(json_bytes).sum();
    if bytes <= DATA_BYTES_MAX {
        return data;
    }
    let mut left_out = Vec::new();
    for (name, value) in &mut data {
        if json_bytes(value) > PART_BYTES_MAX {
            left_out.push(name.clone());
            *value = Value::Null;
        }
    }
    data.insert("left_out".to_owned(), json!(left_out));
    data
}

/// What a story tells: or nothing, when only its state is wanted.
#[derive(Debug, Default)]
struct Out {
    quiet: bool,
    events: Vec<Event>,
}

impl Out {
    fn push(&mut self, event: impl FnOnce() -> Event) {
        if !self.quiet {
            self.events.push(event());
        }
    }
}
