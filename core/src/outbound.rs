//! Calls that we place: dialled at most once, whatever the network answers and whenever the process dies.
//!
//! The network's API knows no idempotency, so what a wish came to must never be guessed. It is written down before
//! anything is dialled. An answer that leaves open whether the network dials is cleared up first: by a webhook that
//! names the wish's tag, or by the list of calls between the two numbers. Only when both know of nothing is it dialled
//! once more; and a process that finds a wish of the one before it never dials, because whoever asked has gone.

use crate::http::{Errand, Outcome};
use crate::id::{CallId, WorkflowId};
use crate::notice::{Arrival, NetworkStatus};
use crate::provider::twilio::rest::{self, Place, Record, Refusal, Said};
use crate::{Machine, Now, Tick};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use uuid::Uuid;

/// Wishes under way. Who finds no place is told to come again; the network itself dials one call a second.
pub const PLACEMENTS_MAX: usize = 1000;
/// Times that the same wish is dialled, when it is certain that the one before came to nothing.
const DIALS_MAX: u32 = 2;
/// Times that the network may say "too many".
const WAITS_MAX: u32 = 5;
/// The pause after the first of them; each further one is twice as long.
const WAIT: Duration = Duration::from_secs(1);
/// Whoever asked is still there.
const WAIT_MAX: Duration = Duration::from_secs(15);
/// The list is asked so often before it counts as knowing nothing: a call that was just taken may not stand in it yet.
const LOOKS: u32 = 3;
/// Failed questions for the list, until what happened stays unknown.
const LOOKS_FAILED_MAX: u32 = 4;
const LOOK_AFTER: Duration = Duration::from_secs(1);
/// A call that could not be registered: the disk takes nothing, or its session panicked.
const REGISTER_AGAIN: Duration = Duration::from_secs(1);
/// The network's clock and ours need not agree.
const CLOCKS_APART_MS: u64 = 60_000;

/// The name of a wish: in the URLs that the network is given, and in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlacementId(pub Uuid);

impl fmt::Display for PlacementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A call that somebody wishes for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    pub id: PlacementId,
    pub to: String,
    pub from: String,
    pub workflow: WorkflowId,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub variables: Map<String, Value>,
    /// How long it may ring.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    pub asked_ms: u64,
}

/// What is written down of a wish.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outbound", rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutboundFact {
    /// From here on the network may be dialling.
    Placing {
        placement: Box<Placement>,
    },
    /// Its answer left that open.
    Doubted {
        why: String,
    },
    /// Nothing came of it, for certain; it is dialled again.
    DialledAgain,
    Placed {
        arrival: Box<Arrival>,
    },
    NotPlaced {
        refused: Refused,
    },
}

/// Why there is no call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Refused {
    /// The network does not want to.
    #[error("the phone network refuses the call: {message}. {advice}")]
    ByNetwork { status: u16, code: Option<u64>, message: String, advice: String },
    #[error(
        "the phone network takes no more calls at the moment, and none was placed: repeat the request later, with a new Idempotency-Key"
    )]
    TooMany,
    /// Nobody knows whether it dials; a webhook may still tell.
    #[error(
        "the phone network did not say whether it places the call ({message}), and it is not dialled twice: look for it in GET /v1/calls before asking again"
    )]
    Unknown { message: String },
    #[error("as many calls as there may be are under way: repeat the request later")]
    Full,
    #[error("the wish could not be written down, so nothing was dialled: repeat the request later")]
    Unwritable,
}

/// A wish, folded from its facts.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub placement: Box<Placement>,
    pub outcome: Option<Result<Arrival, Refused>>,
}

impl Row {
    pub fn fold<'f>(facts: impl Iterator<Item = &'f OutboundFact>) -> Option<Row> {
        let mut row: Option<Row> = None;
        for fact in facts {
            match (fact, &mut row) {
                (OutboundFact::Placing { placement }, _) => {
                    row = Some(Row { placement: placement.clone(), outcome: None });
                }
                (OutboundFact::Placed { arrival }, Some(row)) => row.outcome = Some(Ok((**arrival).clone())),
                // What was unknown may have become known; a call that is there stays there.
                (OutboundFact::NotPlaced { refused }, Some(row)) if row.outcome.is_none() => {
                    row.outcome = Some(Err(refused.clone()));
                }
                _ => {}
            }
        }
        row
    }
}

#[derive(Debug)]
pub enum Input {
    /// Somebody wishes for a call. The same wish again joins the first.
    Place(Box<Placement>),
    /// Found in the journal.
    Reopen(Row),
    /// What came of an [`Effect::Ask`].
    Asked { id: PlacementId, no: u64, outcome: Outcome },
    /// A webhook with the wish's tag names a call.
    Seen { id: PlacementId, arrival: Box<Arrival> },
    /// The call of an [`Effect::Born`] is on disk.
    Known { id: PlacementId },
    /// The call of an [`Effect::Born`] could not be registered.
    Unregistered { id: PlacementId },
    /// Its facts could not be written.
    Unwritten { id: PlacementId },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Everything behind it waits until it is written.
    Record { id: PlacementId, fact: OutboundFact },
    /// Comes back as [`Input::Asked`].
    Ask { id: PlacementId, no: u64, errand: Errand },
    /// There is a call: it is to be registered, and [`Input::Known`] follows.
    Born { placement: Box<Placement>, arrival: Box<Arrival> },
    /// Whoever waits is told.
    Tell { id: PlacementId, outcome: Result<CallId, Refused> },
    /// Nothing more comes of it.
    Done { id: PlacementId },
}

/// Where the network comes back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundConfig {
    pub origin: String,
}

pub struct Outbound {
    config: OutboundConfig,
    wishes: BTreeMap<PlacementId, Wish>,
    asked: u64,
}

struct Wish {
    placement: Box<Placement>,
    phase: Phase,
    dials: u32,
    waits: u32,
    /// Of the process before this one: it is looked for, and never dialled.
    inherited: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Phase {
    Dialling {
        no: u64,
    },
    /// The network has too much to do.
    Waiting {
        until: Tick,
    },
    /// `no`: the list is being asked; else it will be.
    Looking {
        no: Option<u64>,
        at: Tick,
        empty: u32,
        failed: u32,
        why: String,
    },
    /// Its call is being registered, or (`again`) will be.
    Placed {
        arrival: Box<Arrival>,
        again: Option<Tick>,
    },
}

impl Outbound {
    pub fn new(config: OutboundConfig) -> Outbound {
        Outbound { config, wishes: BTreeMap::new(), asked: 0 }
    }

    pub fn len(&self) -> usize {
        self.wishes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.wishes.is_empty()
    }

    /// The wish that a webhook's tag names, while it is under way.
    pub fn placement(&self, id: PlacementId) -> Option<&Placement> {
        self.wishes.get(&id).map(|wish| wish.placement.as_ref())
    }

    fn place(&mut self, placement: Box<Placement>, out: &mut Vec<Effect>) {
        let id = placement.id;
        match self.wishes.get(&id).map(|wish| &wish.phase) {
            Some(Phase::Placed { arrival, .. }) => {
                out.push(Effect::Tell { id, outcome: Ok(arrival.call.clone()) });
            }
            // Its end is told to all who wait.
            Some(_) => {}
            None if self.wishes.len() >= PLACEMENTS_MAX => {
                out.push(Effect::Tell { id, outcome: Err(Refused::Full) });
            }
            None => {
                out.push(Effect::Record { id, fact: OutboundFact::Placing { placement: placement.clone() } });
                let phase = Phase::Dialling { no: 0 };
                let wish = Wish { placement, phase, dials: 0, waits: 0, inherited: false };
                self.wishes.insert(id, wish);
                self.dial(id, out);
            }
        }
    }

    fn reopen(&mut self, now: Now, row: Row, out: &mut Vec<Effect>) {
        let Row { placement, outcome } = row;
        let id = placement.id;
        if self.wishes.contains_key(&id) {
            return;
        }
        match outcome {
            Some(Ok(arrival)) => {
                let phase = Phase::Placed { arrival: Box::new(arrival.clone()), again: None };
                let wish = Wish { placement: placement.clone(), phase, dials: 1, waits: 0, inherited: true };
                self.wishes.insert(id, wish);
                out.push(Effect::Born { placement, arrival: Box::new(arrival) });
            }
            Some(Err(refused)) => {
                out.push(Effect::Tell { id, outcome: Err(refused) });
                out.push(Effect::Done { id });
            }
            None => {
                let why = "the process ended before the network's answer".to_owned();
                let phase = Phase::Looking { no: None, at: now.tick, empty: 0, failed: 0, why };
                self.wishes.insert(id, Wish { placement, phase, dials: 1, waits: 0, inherited: true });
            }
        }
    }

    fn dial(&mut self, id: PlacementId, out: &mut Vec<Effect>) {
        self.asked += 1;
        let no = self.asked;
        let Some(wish) = self.wishes.get_mut(&id) else { return };
        wish.phase = Phase::Dialling { no };
        wish.dials += 1;
        let Placement { to, from, workflow, timeout_s, .. } = wish.placement.as_ref();
        let (tag, origin) = (id.to_string(), &self.config.origin);
        let errand = rest::place(&Place { to, from, origin, workflow, tag: &tag, timeout_s: *timeout_s });
        out.push(Effect::Ask { id, no, errand });
    }

    fn asked(&mut self, now: Now, id: PlacementId, no: u64, outcome: &Outcome, out: &mut Vec<Effect>) {
        match self.wishes.get(&id).map(|wish| &wish.phase) {
            Some(Phase::Dialling { no: asked }) if *asked == no => {
                self.dialled(now, id, rest::read(outcome), out);
            }
            Some(Phase::Looking { no: Some(asked), .. }) if *asked == no => {
                self.looked(now, id, rest::read_list(outcome), out);
            }
            // Something else has cleared it up meanwhile.
            _ => {}
        }
    }

    fn dialled(&mut self, now: Now, id: PlacementId, said: Said, out: &mut Vec<Effect>) {
        let Some(wish) = self.wishes.get_mut(&id) else { return };
        match said {
            Said::Call(record) => self.placed(id, *record, out),
            Said::TooMany { after_s } if wish.waits < WAITS_MAX => {
                let pause = after_s.map_or(WAIT * 2u32.saturating_pow(wish.waits), Duration::from_secs);
                wish.waits += 1;
                wish.dials = wish.dials.saturating_sub(1); // it was not even looked at
                wish.phase = Phase::Waiting { until: now.tick + pause.min(WAIT_MAX) };
            }
            Said::TooMany { .. } => self.refuse(id, Refused::TooMany, out),
            Said::Unknown { why } => {
                out.push(Effect::Record { id, fact: OutboundFact::Doubted { why: why.clone() } });
                wish.phase = Phase::Looking { no: None, at: now.tick, empty: 0, failed: 0, why };
                self.look(now, id, out);
            }
            Said::Gone => {
                let message = "there is no such account".to_owned();
                self.refuse(id, of_network(&Refusal { status: 404, code: Some(20404), message }), out);
            }
            Said::NotInProgress => {
                let message = "not in progress".to_owned();
                self.refuse(id, of_network(&Refusal { status: 400, code: Some(21220), message }), out);
            }
            Said::Refused(refusal) => self.refuse(id, of_network(&refusal), out),
        }
    }

    fn look(&mut self, now: Now, id: PlacementId, out: &mut Vec<Effect>) {
        self.asked += 1;
        let Some(wish) = self.wishes.get_mut(&id) else { return };
        if let Phase::Looking { no: no @ None, at, .. } = &mut wish.phase
            && *at <= now.tick
        {
            *no = Some(self.asked);
            let errand = rest::list(&wish.placement.to, &wish.placement.from);
            out.push(Effect::Ask { id, no: self.asked, errand });
        }
    }

    fn looked(
        &mut self,
        now: Now,
        id: PlacementId,
        listed: Result<Vec<Record>, Said>,
        out: &mut Vec<Effect>,
    ) {
        let taken: Vec<CallId> = self.wishes.values().filter_map(Wish::call).cloned().collect();
        let Some(wish) = self.wishes.get_mut(&id) else { return };
        let Phase::Looking { no, at, empty, failed, why } = &mut wish.phase else { return };
        *no = None;
        *at = now.tick + LOOK_AFTER;
        match listed {
            Ok(calls) => {
                let earliest = wish.placement.asked_ms.saturating_sub(CLOCKS_APART_MS);
                let fits = |call: &&Record| {
                    (call.direction.is_empty() || call.direction == OUTBOUND)
                        && (call.to.is_empty() || call.to == wish.placement.to)
                        && call.created_ms.is_none_or(|created| created >= earliest)
                        && !taken.contains(&call.call)
                };
                // The oldest of them: newer ones belong to wishes that came later.
                if let Some(call) = calls.iter().filter(fits).min_by_key(|call| call.created_ms) {
                    return self.placed(id, call.clone(), out);
                }
                *empty += 1;
                if *empty < LOOKS {
                    return;
                }
                let why = std::mem::take(why);
                if wish.inherited || wish.dials >= DIALS_MAX {
                    return self.refuse(id, Refused::Unknown { message: why }, out);
                }
                out.push(Effect::Record { id, fact: OutboundFact::DialledAgain });
                self.dial(id, out);
            }
            Err(said) => {
                *failed += 1;
                if *failed >= LOOKS_FAILED_MAX || matches!(said, Said::Refused(_)) {
                    let message = std::mem::take(why);
                    self.refuse(id, Refused::Unknown { message }, out);
                }
            }
        }
    }

    fn placed(&mut self, id: PlacementId, record: Record, out: &mut Vec<Effect>) {
        let Some(wish) = self.wishes.get(&id) else { return };
        let arrival = Arrival {
            call: record.call,
            account: record.account,
            from: wish.placement.from.clone(),
            to: wish.placement.to.clone(),
            direction: OUTBOUND.to_owned(),
            status: record.status.filter(|status| !status.is_terminal()).or(Some(NetworkStatus::Queued)),
            caller_name: None,
            forwarded_from: None,
        };
        self.born(id, arrival, out);
    }

    fn born(&mut self, id: PlacementId, arrival: Arrival, out: &mut Vec<Effect>) {
        let Some(wish) = self.wishes.get_mut(&id) else { return };
        if wish.call().is_some() {
            return;
        }
        let (placement, arrival) = (wish.placement.clone(), Box::new(arrival));
        wish.phase = Phase::Placed { arrival: arrival.clone(), again: None };
        out.push(Effect::Record { id, fact: OutboundFact::Placed { arrival: arrival.clone() } });
        out.push(Effect::Born { placement, arrival });
    }

    fn refuse(&mut self, id: PlacementId, refused: Refused, out: &mut Vec<Effect>) {
        self.wishes.remove(&id);
        out.push(Effect::Record { id, fact: OutboundFact::NotPlaced { refused: refused.clone() } });
        out.push(Effect::Tell { id, outcome: Err(refused) });
        out.push(Effect::Done { id });
    }
}

impl Wish {
    fn call(&self) -> Option<&CallId> {
        match &self.phase {
            Phase::Placed { arrival, .. } => Some(&arrival.call),
            _ => None,
        }
    }

    fn due(&self) -> Option<Tick> {
        match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Looking { no: None, at, .. } => Some(*at),
            Phase::Placed { again, .. } => *again,
            _ => None,
        }
    }
}

impl Machine for Outbound {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Place(placement) => self.place(placement, out),
            Input::Reopen(row) => self.reopen(now, row, out),
            Input::Asked { id, no, outcome } => self.asked(now, id, no, &outcome, out),
            Input::Seen { id, arrival } => self.born(id, *arrival, out),
            Input::Known { id } => {
                if let Some(call) = self.wishes.remove(&id).and_then(|wish| wish.call().cloned()) {
                    out.push(Effect::Tell { id, outcome: Ok(call) });
                    out.push(Effect::Done { id });
                }
            }
            Input::Unregistered { id } => {
                if let Some(Wish { phase: Phase::Placed { again, .. }, .. }) = self.wishes.get_mut(&id) {
                    *again = Some(now.tick + REGISTER_AGAIN);
                }
            }
            Input::Unwritten { id } => {
                // What was dialled is dialled; only a wish of which nothing is known on disk is given up.
                let undialled = |wish: &Wish| {
                    !wish.inherited && wish.dials == 1 && matches!(wish.phase, Phase::Dialling { .. })
                };
                if self.wishes.get(&id).is_some_and(undialled) {
                    self.wishes.remove(&id);
                    out.push(Effect::Tell { id, outcome: Err(Refused::Unwritable) });
                }
            }
        }
    }

    fn wake(&mut self, now: Now, out: &mut Vec<Effect>) {
        let is_due = |wish: &Wish| wish.due().is_some_and(|due| due <= now.tick);
        let due = self.wishes.iter().filter(|(_, wish)| is_due(wish)).map(|(id, _)| *id);
        for id in due.collect::<Vec<_>>() {
            let Some(wish) = self.wishes.get_mut(&id) else { continue };
            match &mut wish.phase {
                Phase::Waiting { .. } => self.dial(id, out),
                Phase::Looking { .. } => self.look(now, id, out),
                Phase::Placed { arrival, again } => {
                    *again = None;
                    let (placement, arrival) = (wish.placement.clone(), arrival.clone());
                    out.push(Effect::Born { placement, arrival });
                }
                Phase::Dialling { .. } => {}
            }
        }
    }

    fn wake_at(&self) -> Option<Tick> {
        self.wishes.values().filter_map(Wish::due).min()
    }

    /// It lives as long as its house.
    fn is_over(&self) -> bool {
        false
    }
}

fn of_network(refusal: &Refusal) -> Refused {
    Refused::ByNetwork {
        status: refusal.status,
        code: refusal.code,
        message: refusal.message.clone(),
        advice: refusal.advice().to_owned(),
    }
}

/// The direction of calls that we place, as the network says it.
pub const OUTBOUND: &str = "outbound-api";

#[cfg(test)]
mod tests;
