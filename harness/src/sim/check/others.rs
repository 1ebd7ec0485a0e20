//! What other systems saw: who was asked, under which key, and whether it was on disk before.

use super::books::Books;
use super::{Verdict, holds};
use crate::stage::Asked;
use holdline_core::fact::{Entry, Fact, Key, OutboxFact, RunFact};
use holdline_core::flow::fact::StepStart;
use holdline_core::flow::history::Outcome;
use holdline_core::workflow::outbox::DeliveryId;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Others {
    /// Addresses of steps that have begun, by what they ask; the simulated workflows never ask one address in two steps.
    begun: BTreeMap<String, Step>,
    owed: BTreeMap<DeliveryId, Owed>,
    keys: BTreeMap<String, String>,
    /// The steps of each run in the order in which they began.
    steps: BTreeMap<String, Vec<Option<String>>>,
}

#[derive(Default)]
struct Step {
    done: bool,
}

struct Owed {
    key: String,
    lane: String,
    sequence: u64,
    taken: bool,
    left: Option<bool>,
}

impl Others {
    pub fn written(&mut self, entry: &Entry) {
        match (&entry.key, &entry.fact) {
            (Key::Delivery(_), Fact::Outbox(OutboxFact::Owed { delivery })) => {
                let key = delivery.call.signed_as.clone().unwrap_or_default();
                let (lane, sequence) = (delivery.lane.clone(), delivery.sequence);
                let owed = Owed { key, lane, sequence, taken: false, left: None };
                self.owed.insert(delivery.id, owed);
            }
            (Key::Delivery(id), Fact::Outbox(fact)) => {
                if let Some(owed) = self.owed.get_mut(id) {
                    match fact {
                        OutboxFact::Delivered { .. } => owed.left = Some(true),
                        OutboxFact::Dead { .. } => owed.left = Some(false),
                        _ => {}
                    }
                }
            }
            (key, Fact::Run(fact)) => self.of_run(&format!("{key:?}"), fact),
            _ => {}
        }
    }

    fn of_run(&mut self, run: &str, fact: &RunFact) {
        match fact {
            RunFact::Child { id, fact } => self.of_run(&id.to_string(), fact),
            RunFact::StepBegan { start, .. } => self.begins(run, Some(start)),
            RunFact::Stepped { .. } => self.begins(run, None),
            RunFact::StepEnded { step, end, .. } if end.outcome == Outcome::Ok => {
                let place = usize::try_from(step.saturating_sub(1)).unwrap_or(usize::MAX);
                let target = self.steps.get(run).and_then(|steps| steps.get(place)).cloned().flatten();
                if let Some(step) = target.and_then(|target| self.begun.get_mut(&target)) {
                    step.done = true;
                }
            }
            _ => {}
        }
    }

    fn begins(&mut self, run: &str, start: Option<&StepStart>) {
        let asks = start.and_then(|start| {
            let named = start.parameters.get("url").or(start.parameters.get("uri"));
            named.and_then(Value::as_str).map(str::to_owned)
        });
        if let Some(target) = &asks {
            self.begun.entry(target.clone()).or_default();
        }
        self.steps.entry(run.to_owned()).or_default().push(asks);
    }

    pub fn asked(&mut self, asked: &Asked) -> Verdict {
        let Asked { target, method, key, taken, .. } = asked;
        let owed = self.owed.values_mut().find(|owed| key.as_ref() == Some(&owed.key));
        if let Some(owed) = owed {
            holds(owed.left.is_none(), "what was delivered is not sent again", || target.clone())?;
            owed.taken |= *taken;
            let (lane, sequence) = (owed.lane.clone(), owed.sequence);
            let before = self.owed.values().filter(|other| other.lane == lane && other.sequence < sequence);
            let waits = before.clone().any(|other| other.left.is_none());
            return holds(!waits, "deliveries of a lane keep their order", || target.clone());
        }
        let Some(step) = self.begun.get(target) else {
            return holds(false, "nobody is asked before it is written", || format!("{method} {target}"));
        };
        holds(!step.done, "a step's effect is not repeated once its outcome is on disk", || {
            format!("{method} {target}")
        })?;
        if *method == "GET" {
            return Ok(());
        }
        let Some(key) = key else {
            return holds(false, "what does something twice carries a key", || format!("{method} {target}"));
        };
        let known = self.keys.entry(target.clone()).or_insert_with(|| key.clone());
        holds(known == key, "one step, one key", || format!("{method} {target}: {known}, then {key}"))
    }

    pub fn closed(&self, _books: &Books) -> Verdict {
        for (id, owed) in &self.owed {
            holds(owed.left.is_some(), "what is owed is delivered or dead", || id.to_string())?;
            holds(owed.left != Some(true) || owed.taken, "what is delivered was taken", || id.to_string())?;
        }
        let keys: BTreeSet<&String> = self.owed.values().map(|owed| &owed.key).collect();
        holds(keys.len() == self.owed.len(), "every delivery has an id of its own", || format!("{keys:?}"))
    }
}
