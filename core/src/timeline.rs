//! Everything that happened to a call, in order, out of the facts that were written of it: for `GET
//! /v1/calls/{call}/timeline`.

use crate::document::{Ending, Plan};
use crate::fact::{CallFact, Entry, Fact, ParentFact};
use crate::flow::moments::Follower;
use crate::id::RunId;
use crate::time::rfc3339_ms;
use serde_json::{Map, Value, json};

/// A wait loop may turn for hours: the newest rows are shown, and how many stand before them is said.
pub const ROWS_MAX: usize = 10_000;

/// The rows of a call's story and of its main workflow's, oldest first.
pub fn timeline(call: &[Entry], main: &[Entry]) -> Value {
    let mut rows = rows(call);
    rows.extend(self::rows(main));
    // What happened in the same millisecond stays in the order of its story.
    rows.sort_by_key(|(at, _)| *at);
    let dropped = rows.len().saturating_sub(ROWS_MAX);
    let result: Vec<Value> = rows.into_iter().skip(dropped).map(|(_, row)| row).collect();
    json!({ "result": result, "next_page_token": null, "dropped": dropped })
}

fn rows(story: &[Entry]) -> Vec<(u64, Value)> {
    let mut follower = Follower::default();
    let mut rows = Vec::new();
    for Entry { wall_ms, fact, .. } in story {
        let happened: Option<(Option<RunId>, &str, Map<String, Value>)> = match fact {
            Fact::Call(fact) => of_call(fact).map(|(word, said)| (None, word, object(said))),
            Fact::Parent(fact) => of_parent(fact).map(|(word, said)| (None, word, object(said))),
            Fact::Run(fact) => follower.follow(fact).map(|(run, (word, said))| (Some(run), word, said)),
            _ => None,
        };
        let Some((run, word, said)) = happened else { continue };
        let mut row = Map::new();
        row.insert("at".to_owned(), json!(rfc3339_ms(*wall_ms)));
        row.insert("event".to_owned(), json!(word));
        row.insert("activeflow_id".to_owned(), json!(run));
        row.extend(said);
        rows.push((*wall_ms, Value::Object(row)));
    }
    rows
}

fn of_call(fact: &CallFact) -> Option<(&'static str, Value)> {
    Some(match fact {
        CallFact::Arrived { arrival, workflow, main_run, .. } => (
            "call_arrived",
            json!({
                "from": arrival.from, "to": arrival.to, "direction": arrival.direction,
                "workflow": workflow, "main_activeflow_id": main_run,
            }),
        ),
        CallFact::Rejected => ("call_rejected", json!({})),
        CallFact::Status { status, duration_s } => {
            ("status", json!({ "status": status, "duration": duration_s }))
        }
        CallFact::Given { plan, .. } => ("document", document(plan)),
        CallFact::Returned { exchange } => ("returned", json!({ "exchange": exchange })),
        CallFact::StreamStarted { exchange, stream_sid, .. } => {
            ("stream_started", json!({ "exchange": exchange, "stream_sid": stream_sid }))
        }
        CallFact::StreamEnded { stopped, .. } => ("stream_ended", json!({ "stopped": stopped })),
        CallFact::Digits { digits } => ("digits", json!({ "digits": digits })),
        CallFact::RecordingStarted { file, .. } => ("recording_started", json!({ "file": file })),
        CallFact::RecordingEnded { report } => (
            "recording_ended",
            json!({ "file": report.file, "seconds": report.seconds, "ended_by": report.ended_by }),
        ),
        CallFact::Said { text, deferred } => ("said", json!({ "text": text, "deferred": deferred })),
        CallFact::Stopping { reason } => ("call_ends", json!({ "end_reason": reason })),
        CallFact::Over { reason, completion } => {
            ("call_over", json!({ "end_reason": reason, "completion": completion }))
        }
        CallFact::Acked => ("completion_taken", json!({})),
        CallFact::ChildStatus { notice } => {
            ("child_status", json!({ "sid": notice.call, "status": notice.raw }))
        }
        CallFact::StreamNews { notice } => {
            ("stream_news", json!({ "what": notice.event, "error": notice.error }))
        }
        CallFact::RecordingNews { notice } => {
            ("recording_news", json!({ "sid": notice.sid, "status": notice.status }))
        }
        CallFact::ConferenceNews { notice } => (
            "conference",
            json!({
                "conference": notice.name, "what": notice.event, "who": notice.call, "label": notice.label,
                "reason": notice.reason,
            }),
        ),
        CallFact::Reached { asked, said } => ("asked_network", json!({ "asked": asked, "said": said })),
        CallFact::Trouble { what } => ("trouble", json!({ "what": what })),
        // Of the flow's end its own fact tells; the others are bookkeeping.
        CallFact::FlowOver { .. }
        | CallFact::Bound { .. }
        | CallFact::TokenUsed { .. }
        | CallFact::Obeyed(_) => return None,
    })
}

fn of_parent(fact: &ParentFact) -> Option<(&'static str, Value)> {
    Some(match fact {
        ParentFact::Waiting { call, trigger_name, .. } => {
            ("main_waits", json!({ "call": call, "trigger": trigger_name }))
        }
        ParentFact::CallOver { .. } => ("main_goes_on", json!({})),
        ParentFact::Obeyed(_) => return None,
    })
}

fn document(plan: &Plan) -> Value {
    let ending = match plan.ending {
        Ending::Stream { .. } => "stream",
        Ending::Return => "return",
        Ending::Hangup => "hangup",
        Ending::Reject { .. } => "reject",
    };
    json!({ "exchange": plan.exchange, "verbs": plan.verbs, "ending": ending })
}

fn object(said: Value) -> Map<String, Value> {
    if let Value::Object(said) = said { said } else { Map::new() }
}
