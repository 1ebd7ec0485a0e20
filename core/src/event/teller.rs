//! What is told of one story, in the order of its facts.

use super::call::CallTeller;
use super::run::RunTeller;
use super::{Event, Of, Out};
use crate::fact::{Entry, Fact, OutboxFact};
use crate::secret;
use crate::time::rfc3339_ms;
use crate::workflow::outbox::Delivery;
use serde_json::{Value, json};

/// Follows one story.
#[derive(Debug, Default)]
pub struct Teller {
    call: Option<CallTeller>,
    runs: RunTeller,
    delivery: Option<DeliveryTeller>,
}

#[derive(Debug)]
struct DeliveryTeller {
    delivery: Box<Delivery>,
    sequence: u64,
}

impl Teller {
    /// A story of which so much is written. What it told then is not told again.
    pub fn of(entries: &[Entry]) -> Teller {
        let mut teller = Teller::default();
        let mut out = Out { quiet: true, events: Vec::new() };
        entries.iter().for_each(|entry| teller.follow(entry, &mut out));
        teller
    }

    /// What this fact gives rise to.
    pub fn tell(&mut self, entry: &Entry) -> Vec<Event> {
        let mut out = Out::default();
        self.follow(entry, &mut out);
        out.events
    }

    fn follow(&mut self, entry: &Entry, out: &mut Out) {
        let at = entry.wall_ms;
        match &entry.fact {
            Fact::Call(fact) => match &mut self.call {
                None => self.call = CallTeller::begin(fact, at, out),
                Some(call) => call.tell(fact, at, out),
            },
            Fact::Run(fact) => self.runs.tell(fact, at, out),
            Fact::Parent(fact) => self.runs.tell_parent(fact, at, out),
            Fact::Outbox(fact) => match &mut self.delivery {
                None => self.delivery = DeliveryTeller::begin(fact),
                Some(delivery) => delivery.tell(fact, at, out),
            },
            Fact::Outbound(_) | Fact::Flow(_) => {}
        }
    }
}

impl DeliveryTeller {
    fn begin(fact: &OutboxFact) -> Option<DeliveryTeller> {
        let OutboxFact::Owed { delivery } = fact else { return None };
        Some(DeliveryTeller { delivery: delivery.clone(), sequence: 0 })
    }

    fn tell(&mut self, fact: &OutboxFact, at: u64, out: &mut Out) {
        match fact {
            OutboxFact::Failed { attempt, due, error, .. } => {
                let said = json!({ "attempt": attempt, "due": rfc3339_ms(*due), "error": error });
                self.say(at, out, "delivery.failed", said);
            }
            OutboxFact::Dead { attempt, error, .. } => {
                let said = json!({ "attempt": attempt, "due": null, "error": error });
                self.say(at, out, "delivery.dead", said);
            }
            OutboxFact::Owed { .. } | OutboxFact::Delivered { .. } | OutboxFact::Redriven { .. } => {}
        }
    }

    fn say(&mut self, at: u64, out: &mut Out, kind: &'static str, mut said: Value) {
        self.sequence += 1;
        out.push(|| {
            let call = &self.delivery.call;
            said["host"] = json!(secret::shown(call.endpoint.host()));
            said["method"] = json!(call.method);
            said["webhook_id"] = json!(call.signed_as);
            said["tm_create"] = json!(rfc3339_ms(self.delivery.owed_at));
            let id = self.delivery.id;
            Event::new(Of::Delivery(id), kind, id.to_string(), self.sequence, at, said)
        });
    }
}
