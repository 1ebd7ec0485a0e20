//! Calls that we place, as whoever asks for them sees it: what is wrong with a wish, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use holdline_actors::call_registry::{CallRegistry, Count};
use holdline_actors::clock::Clock;
use holdline_actors::door::FlowBook;
use holdline_actors::outbound::{Minting, Outbound, PlaceCall};
use holdline_core::outbound::{Placement, PlacementId, Refused};
use holdline_core::{CallId, WorkflowId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use uuid::Uuid;

/// What is asked for: `POST /v1/calls`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// Whom to call: +14155550100, or a sip: or client: address.
    pub to: String,
    /// The number that they see; without it `[twilio] from`.
    #[serde(default)]
    pub from: Option<String>,
    /// The workflow that drives the call.
    pub workflow: String,
    /// What it knows from the beginning.
    #[serde(default)]
    pub variables: Map<String, Value>,
    /// Seconds for which it may ring.
    #[serde(default)]
    pub timeout: Option<u32>,
}

/// Why there is no call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotPlaced {
    #[error("{0}")]
    Invalid(String),
    #[error("there is no workflow {0}")]
    UnknownWorkflow(String),
    #[error(
        "calls are placed by the phone network's REST API, which needs credentials: set [twilio] account_sid with \
         auth_tokens, or with api_key and api_secret"
    )]
    NoCredentials,
    #[error("the house is closing and places no more calls: ask the server that takes its place")]
    Draining,
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(
        "it is not known yet whether the call is placed: ask again with the same Idempotency-Key, or look for the call in \
         GET /v1/calls"
    )]
    Slow,
    #[error("the house is closing")]
    Gone,
}

/// Places calls. Cheap to clone.
#[derive(Clone)]
pub struct Placing {
    pub outbound: Addr<Outbound>,
    pub calls: Addr<CallRegistry>,
    pub book: Arc<dyn FlowBook>,
    pub clock: Clock,
    pub mint: Minting,
    pub has_credentials: bool,
    pub max_calls: usize,
    /// The number that is shown unless a wish names another.
    pub from: Option<String>,
}

/// The network's answers, its pauses, and our looking: what takes longer goes on without whoever asked.
const PATIENCE: Duration = Duration::from_secs(90);
/// Addresses have some twenty characters, SIP's some more.
const ADDRESS_BYTES_MAX: usize = 256;
/// The network's own bounds on ringing.
const TIMEOUT_S: std::ops::RangeInclusive<u32> = 5..=600;

impl Placing {
    /// Dials once, however often the same wish comes under the same key, also after a restart.
    pub async fn place(&self, wish: Wish, key: Option<&[u8]>) -> Result<CallId, NotPlaced> {
        let placement = self.read(wish, key)?;
        let census = self.calls.send(Count).await.map_err(|_| NotPlaced::Gone)?;
        if census.draining {
            return Err(NotPlaced::Draining);
        }
        if census.roster >= self.max_calls {
            return Err(NotPlaced::Refused(Refused::Full));
        }
        let (reply, told) = oneshot::channel();
        let place = PlaceCall { placement: Box::new(placement), reply };
        self.outbound.send(place).await.map_err(|_| NotPlaced::Gone)?;
        let told = tokio::time::timeout(PATIENCE, told).await.map_err(|_| NotPlaced::Slow)?;
        Ok(told.map_err(|_| NotPlaced::Gone)??)
    }

    /// The wish in its own terms. Credentials come last: a mistake is worth knowing without them, too.
    fn read(&self, wish: Wish, key: Option<&[u8]>) -> Result<Placement, NotPlaced> {
        let Wish { to, from, workflow, variables, timeout } = wish;
        let to = address("to", &to)?;
        if let Some(seconds) = timeout.filter(|seconds| !TIMEOUT_S.contains(seconds)) {
            let (least, most) = (TIMEOUT_S.start(), TIMEOUT_S.end());
            return Err(NotPlaced::Invalid(format!(
                "timeout: expected {least} to {most} seconds, got {seconds}"
            )));
        }
        let workflow = WorkflowId(workflow);
        if self.book.find(&workflow).is_none() {
            return Err(NotPlaced::UnknownWorkflow(workflow.0));
        }
        if !self.has_credentials {
            return Err(NotPlaced::NoCredentials);
        }
        let from = match from.as_deref().or(self.from.as_deref()) {
            Some(from) => address("from", from)?,
            None => {
                return Err(NotPlaced::Invalid(
                    "from: give a number of the account, or set [twilio] from".to_owned(),
                ));
            }
        };
        let asked_ms = self.clock.now().wall_ms;
        let id = PlacementId(match key {
            Some(key) => derived(key),
            None => (self.mint)(asked_ms),
        });
        Ok(Placement { id, to, from, workflow, variables, timeout_s: timeout, asked_ms })
    }
}

/// A wish's name from the key under which it is repeated, so that a process that has never heard of it finds it.
pub(crate) fn derived(key: &[u8]) -> Uuid {
    let digest = Sha256::digest(key);
    let mut bytes = [0; 16];
    for (byte, hashed) in bytes.iter_mut().zip(digest) {
        *byte = hashed;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

fn address(name: &str, text: &str) -> Result<String, NotPlaced> {
    let text = text.trim();
    let digits = |number: &str| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let fits = if let Some(number) = text.strip_prefix('+') {
        digits(number) && number.len() <= 15
    } else if let Some(rest) = text.strip_prefix("sip:").or_else(|| text.strip_prefix("client:")) {
        !rest.is_empty() && rest.chars().all(|character| character.is_ascii_graphic())
    } else {
        // Short codes and national numbers: the network knows them, or says that it doesn't.
        digits(text)
    };
    if fits && text.len() <= ADDRESS_BYTES_MAX {
        return Ok(text.to_owned());
    }
    // Not quoted: it may be somebody's number.
    Err(NotPlaced::Invalid(format!("{name}: expected +14155550100, sip:… or client:…, got something else")))
}
