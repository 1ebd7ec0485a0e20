//! A start: whatever the process before this one left open goes on.
//!
//! Only the heads of open stories are read before the first request is served. A call is folded when its webhook
//! comes, and all of them in the background; a main workflow that waits for its call needs nobody to wake it.

use crate::call_registry::{self, CallRegistry};
use crate::flow_registry::{self, FlowRegistry};
use crate::journal_writer::{Follow, JournalWriter, Left, LookUp, OpenKeys, Read, WhatIsLeft};
use crate::outbound::{self, Outbound};
use crate::outbox::{self, Outbox};
use crate::port::http::World;
use crate::port::journal::{JournalError, Story};
use crate::tally::Tally;
use actix::Addr;
use holdline_core::WorkflowId;
use holdline_core::fact::{Entry, Key};
use holdline_core::metric;
use holdline_core::provider::twilio::rest;

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    pub calls: usize,
    pub workflows: usize,
    /// Main workflows that wait for their calls.
    pub waiting: usize,
    pub deliveries: usize,
    /// Calls of which it is not known whether they were placed.
    pub placements: usize,
}

/// The workflows that were handed in by the API, with their texts. Calls may name them, so they come before the rest.
pub async fn stored_flows(
    journal: &Addr<JournalWriter>,
) -> Result<Vec<(WorkflowId, Vec<Entry>)>, JournalError> {
    let gone = |_| JournalError::Read("the house is closing".to_owned());
    let mut flows = Vec::new();
    for key in journal.send(OpenKeys).await.map_err(gone)?? {
        if let Key::Flow(id) = &key {
            let id = id.clone();
            flows.push((id, journal.send(Read(key)).await.map_err(gone)??));
        }
    }
    Ok(flows)
}

/// To be called before the first request is served: a webhook for a call that nobody knows would begin it anew.
pub async fn recover(
    journal: &Addr<JournalWriter>,
    calls: &Addr<CallRegistry>,
    flows: &Addr<FlowRegistry>,
    outbox: &Addr<Outbox>,
    outbound: &Addr<Outbound>,
) -> Result<Recovered, JournalError> {
    let gone = |_| JournalError::Read("the house is closing".to_owned());
    let Left { open, knows_ended } = journal.send(WhatIsLeft).await.map_err(gone)??;
    let mut recovered = Recovered::default();
    let (mut calls_left, mut flows_left) = (Vec::new(), Vec::new());
    let (mut owed, mut placing) = (Vec::new(), Vec::new());
    let has_receiver = |story: &&Story| story.marked && matches!(story.key, Key::Run(_));
    let followed: Vec<Key> = open.iter().filter(has_receiver).map(|story| story.key.clone()).collect();
    for story in open {
        match story.key {
            Key::Call(call) => {
                calls_left.push((call, story.workflow.unwrap_or_else(|| WorkflowId(String::new()))));
            }
            Key::Run(_) if story.waits => recovered.waiting += 1,
            Key::Run(run) => flows_left.push(run),
            // A dead letter: somebody has to ask for it. Those that tell of a receiver's end are read for that.
            Key::Delivery(_) if story.waits && !story.marked => {}
            Key::Delivery(delivery) => owed.push(delivery),
            Key::Placement(placement) => placing.push(placement),
            // Whoever keeps the workflows has asked for it already: see `stored_flows`.
            Key::Flow(_) => {}
        }
    }
    recovered.calls = calls_left.len();
    recovered.workflows = flows_left.len();
    recovered.deliveries = owed.len();
    recovered.placements = placing.len();
    journal.send(Follow(followed)).await.map_err(gone)?;
    // Before anything new is owed: what was owed earlier goes first.
    outbox.send(outbox::Reopen(owed)).await.map_err(gone)?;
    calls.send(call_registry::Recall { open: calls_left, knows_ended }).await.map_err(gone)?;
    flows.send(flow_registry::Recall(flows_left)).await.map_err(gone)?;
    outbound.send(outbound::Reopen(placing)).await.map_err(gone)?;
    Ok(recovered)
}

/// Ends calls there that are over here: nobody would ever answer for them again. A call that we have never heard of is
/// somebody else's; an account is seldom ours alone. One that ended here at `over_before_ms` or later may be about to end
/// there by itself.
pub async fn end_orphans(
    journal: &Addr<JournalWriter>,
    world: &dyn World,
    tally: &Tally,
    over_before_ms: u64,
) -> usize {
    let listed = match rest::read_list(&world.perform(rest::list_in_progress()).await) {
        Ok(listed) => listed,
        Err(said) => {
            tracing::warn!(?said, "the network's calls could not be listed");
            return 0;
        }
    };
    let mut ended = 0;
    for record in listed {
        let known = journal.send(LookUp(Key::Call(record.call.clone()))).await;
        let over = matches!(known, Ok(Ok(Some(Story { ended_ms: Some(at), .. }))) if at < over_before_ms);
        let up = record.status.is_none_or(|status| !status.is_terminal());
        if over && up {
            let said = rest::read(&world.perform(rest::hang_up(&record.call)).await);
            tracing::warn!(call = %record.call, ?said, "a call that is over here was still in progress there");
            tally.count(&metric::REPAIRS, &["orphan_ended"]);
            ended += 1;
        }
    }
    ended
}
