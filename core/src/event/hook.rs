//! Receivers of events, and what each of them is owed.

use super::{CONTENT_TYPE, Event, Told};
use crate::fact::DeliveryId;
use crate::http::{Body, Endpoint, HttpCall, Method, host_of};
use crate::id::RunId;
use crate::workflow::outbox::Delivery;
use sha2::{Digest, Sha256};

/// For a receiver to take one event. Whoever has more to do does it after its answer.
const TIMEOUT_MS: u64 = 15_000;

/// A receiver that the operator configured. Its address stays in the configuration: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// Derived from its address, so a delivery finds it again.
    pub id: String,
    pub host: String,
    pub types: Vec<Types>,
}

/// Which types of events somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Types {
    All,
    /// Those that begin with this, its dot included.
    Below(String),
    One(String),
}

impl Types {
    /// `*`, `prefix.*` or a type.
    pub fn read(text: &str) -> Types {
        match text.strip_suffix('*') {
            Some("") => Types::All,
            Some(prefix) if prefix.ends_with('.') => Types::Below(prefix.to_owned()),
            _ => Types::One(text.to_owned()),
        }
    }

    pub fn admit(&self, kind: &str) -> bool {
        match self {
            Types::All => true,
            Types::Below(prefix) => kind.starts_with(prefix.as_str()),
            Types::One(one) => kind == one,
        }
    }
}

impl Hook {
    pub fn new(url: &str, types: Vec<Types>) -> Hook {
        Hook { id: Hook::id_of(url), host: host_of(url).to_owned(), types }
    }

    pub fn id_of(url: &str) -> String {
        format!("{:016x}", number(&[url.as_bytes()]))
    }

    pub(super) fn wants(&self, event: &Event) -> bool {
        self.types.iter().any(|types| types.admit(event.kind))
    }

    pub(super) fn owed(&self, told: &Told) -> Delivery {
        let endpoint = Endpoint::Webhook { id: self.id.clone(), host: self.host.clone() };
        delivery(told, self.id.clone(), endpoint)
    }
}

/// What an activeflow's own receiver is owed. It is disabled for this activeflow alone, so it goes by both names.
pub(super) fn owed_by_run(told: &Told, root: RunId, url: &str) -> Delivery {
    let receiver = format!("{:016x}", number(&[root.0.as_bytes(), url.as_bytes()]));
    delivery(told, receiver, Endpoint::Url(url.to_owned()))
}

fn delivery(told: &Told, receiver: String, endpoint: Endpoint) -> Delivery {
    let Told { event, body } = told;
    let mut call = HttpCall::new(Method::Post, endpoint, TIMEOUT_MS);
    call.body = Body::Text { content_type: CONTENT_TYPE.to_owned(), text: body.clone() };
    call.signed_as = Some(event.id.to_string());
    Delivery {
        // The same event to another receiver is another delivery.
        id: DeliveryId(RunId(event.id).child(number(&[receiver.as_bytes()])).0),
        lane: format!("{receiver} {}", event.subject),
        sequence: event.sequence,
        owed_at: event.at,
        call,
        receiver: Some(receiver),
    }
}

fn number(parts: &[&[u8]]) -> u64 {
    let hash = parts.iter().fold(Sha256::new(), |hash, part| hash.chain_update(part)).finalize();
    hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}
