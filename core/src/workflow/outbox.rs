//! Messages that are owed to others: sent until they are taken, in order, under an id that never changes.
//!
//! A delivery is written in the batch of the step that caused it, so it exists exactly when the step has happened. From
//! there on it is a story of its own: it may take hours, and outlives the call. It is sent at least once; its id is how
//! the receiver knows a second time.

use crate::http::{HttpCall, NoReply, Outcome};
use crate::id::RunId;
use crate::scene::ErrorClass;
use crate::{Machine, Now, Tick};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use uuid::Uuid;

/// Deliveries kept in memory. A receiver that is away for a day must not fill it: what comes beyond is a dead letter
/// at once, and can be sent again from there.
pub const ROWS_MAX: usize = 10_000;
/// Requests at once, so that one slow receiver doesn't use up the machine's sockets.
pub const IN_FLIGHT_MAX: usize = 32;
/// Ordinals of deliveries among what a run's id gives rise to.
const OWED: u64 = 2 << 32;
/// The receiver says that it is gone for good.
const GONE: u16 = 410;
/// Receivers that are remembered to be gone. Beyond it the one that went first is asked again.
const GONE_MAX: usize = 1000;
/// Requests to one receiver at once, so that one that hangs leaves room for the others.
const TO_ONE_MAX: usize = 8;

/// The message's id, as its receiver sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(pub Uuid);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    pub id: DeliveryId,
    /// Deliveries of one lane go one after the other.
    pub lane: String,
    /// Rising within the lane.
    pub sequence: u64,
    pub owed_at: u64,
    pub call: HttpCall,
    /// Whoever is disabled as a whole when it says that it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receiver: Option<String>,
}

/// What is written down of a delivery.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outbox", rename_all = "snake_case")]
#[non_exhaustive]
pub enum OutboxFact {
    Owed {
        delivery: Box<Delivery>,
    },
    /// An attempt failed; the next one is due at `due` (Unix milliseconds).
    Failed {
        at: u64,
        attempt: u32,
        due: u64,
        error: String,
    },
    /// The receiver has it.
    Delivered {
        at: u64,
        attempt: u32,
        status: u16,
    },
    /// Nobody tries any more, until somebody asks for it.
    Dead {
        at: u64,
        attempt: u32,
        error: String,
        /// Its receiver is gone for good: nothing is sent there until somebody asks for this one again.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        gone: bool,
    },
    /// Somebody asked: all attempts begin anew.
    Redriven {
        at: u64,
    },
}

/// A delivery, folded from its facts.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub delivery: Box<Delivery>,
    pub attempts: u32,
    /// The next attempt, Unix milliseconds.
    pub due: u64,
    pub error: Option<String>,
    pub state: State,
    /// Its receiver said that it is gone.
    pub gone: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Open,
    Delivered,
    Dead,
}

#[derive(Debug, Clone)]
pub struct OutboxConfig {
    /// The pauses before each further attempt.
    pub retry_ms: Vec<u64>,
    /// Each pause is longer by up to this part.
    pub jitter: f64,
}

pub struct Outbox {
    config: OutboxConfig,
    rows: BTreeMap<DeliveryId, Held>,
    lanes: BTreeMap<String, BTreeSet<(u64, DeliveryId)>>,
    /// The first of each lane, unless it is in flight, by when it is due.
    due: BTreeSet<(Tick, DeliveryId)>,
    in_flight: usize,
    /// How many requests each receiver has, and who waits for one of them to end.
    to_one: BTreeMap<String, ToOne>,
    /// Receivers that are gone, in the order in which they went.
    gone: VecDeque<String>,
}

#[derive(Default)]
struct ToOne {
    in_flight: usize,
    waiting: BTreeSet<(Tick, DeliveryId)>,
}

struct Held {
    row: Row,
    due: Tick,
    in_flight: bool,
}

#[derive(Debug)]
pub enum Input {
    /// They are on disk. At a start all of them come at once: only then is it known which is first in its lane.
    Open(Vec<Row>),
    /// A dead letter that somebody asks for.
    Redrive(Row),
    /// A receiver that was gone before this start.
    Gone {
        receiver: String,
    },
    Sent {
        id: DeliveryId,
        attempt: u32,
        outcome: Outcome,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Record {
        id: DeliveryId,
        fact: OutboxFact,
    },
    /// Comes back as [`Input::Sent`].
    Send {
        id: DeliveryId,
        attempt: u32,
        call: Box<HttpCall>,
    },
    /// Its story is over.
    Delivered {
        id: DeliveryId,
    },
    Dead {
        id: DeliveryId,
        error: String,
    },
    /// Nothing is owed to it any more.
    Gone {
        receiver: String,
    },
    /// It is asked again.
    Back {
        receiver: String,
    },
}

impl DeliveryId {
    /// Of the step that owes it: the same on every replay.
    pub fn of(run: RunId, step: u64) -> DeliveryId {
        DeliveryId(run.child(OWED | step).0)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Row {
    pub fn new(delivery: Box<Delivery>) -> Row {
        let due = delivery.owed_at;
        Row { delivery, attempts: 0, due, error: None, state: State::Open, gone: false }
    }

    /// `None` when these facts don't begin with a delivery.
    pub fn fold<'f>(facts: impl IntoIterator<Item = &'f OutboxFact>) -> Option<Row> {
        let mut facts = facts.into_iter();
        let Some(OutboxFact::Owed { delivery }) = facts.next() else { return None };
        let mut row = Row::new(delivery.clone());
        facts.for_each(|fact| row.apply(fact));
        Some(row)
    }

    fn apply(&mut self, fact: &OutboxFact) {
        match fact {
            OutboxFact::Owed { .. } => {}
            OutboxFact::Failed { attempt, due, error, .. } => {
                self.attempts = *attempt;
                self.due = *due;
                self.error = Some(error.clone());
            }
            OutboxFact::Delivered { attempt, .. } => {
                self.attempts = *attempt;
                self.state = State::Delivered;
            }
            OutboxFact::Dead { attempt, error, gone, .. } => {
                self.attempts = *attempt;
                self.error = Some(error.clone());
                self.state = State::Dead;
                self.gone = *gone;
            }
            OutboxFact::Redriven { at } => {
                self.attempts = 0;
                self.gone = false;
                self.due = *at;
                self.state = State::Open;
            }
        }
    }
}

impl Outbox {
    pub fn new(config: OutboxConfig) -> Outbox {
        Outbox {
            config,
            rows: BTreeMap::new(),
            lanes: BTreeMap::new(),
            due: BTreeSet::new(),
            in_flight: 0,
            to_one: BTreeMap::new(),
            gone: VecDeque::new(),
        }
    }

    /// Deliveries that are still open.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn open(&mut self, now: Now, mut row: Row, out: &mut Vec<Effect>) {
        let id = row.delivery.id;
        if row.state != State::Open || self.rows.contains_key(&id) {
            return;
        }
        let is_gone = row.delivery.receiver.as_ref().is_some_and(|receiver| self.gone.contains(receiver));
        let refused = match self.rows.len() >= ROWS_MAX {
            _ if is_gone => Some(HAS_GONE.to_owned()),
            true => Some(format!("{ROWS_MAX} deliveries wait already")),
            false => None,
        };
        if let Some(error) = refused {
            let (at, attempt) = (now.wall_ms, row.attempts);
            self.decide(&mut row, OutboxFact::Dead { at, attempt, error: error.clone(), gone: false }, out);
            out.push(Effect::Dead { id, error });
            return;
        }
        let due = now.tick_at_wall(row.due);
        let lane = self.lanes.entry(row.delivery.lane.clone()).or_default();
        lane.insert((row.delivery.sequence, id));
        let heads: Vec<DeliveryId> = lane.iter().take(2).map(|(_, id)| *id).collect();
        self.rows.insert(id, Held { row, due, in_flight: false });
        // The one that was first, if this one goes before it, waits again.
        if heads.first() == Some(&id) {
            if let Some((second, held)) =
                heads.get(1).and_then(|second| Some((*second, self.rows.get(second)?)))
            {
                self.due.remove(&(held.due, second));
                let receiver = held.row.delivery.receiver.as_ref();
                if let Some(to_one) = receiver.and_then(|receiver| self.to_one.get_mut(receiver)) {
                    to_one.waiting.remove(&(held.due, second));
                }
                if held.in_flight {
                    return;
                }
            }
            self.due.insert((due, id));
        }
    }

    /// The first of a lane may go, when it is due.
    fn line_up(&mut self, lane: &str) {
        let Some(id) = self.lanes.get(lane).and_then(|lane| lane.first()).map(|(_, id)| *id) else { return };
        if let Some(held) = self.rows.get(&id).filter(|held| !held.in_flight) {
            self.due.insert((held.due, id));
        }
    }

    fn send_due(&mut self, now: Now, out: &mut Vec<Effect>) {
        while self.in_flight < IN_FLIGHT_MAX {
            let Some((due, id)) = self.due.first().copied().filter(|(due, _)| *due <= now.tick) else {
                break;
            };
            self.due.remove(&(due, id));
            let Some(held) = self.rows.get_mut(&id).filter(|held| !held.in_flight) else { continue };
            if let Some(receiver) = &held.row.delivery.receiver {
                let to_one = self.to_one.entry(receiver.clone()).or_default();
                if to_one.in_flight >= TO_ONE_MAX {
                    to_one.waiting.insert((due, id));
                    continue;
                }
                to_one.in_flight += 1;
            }
            held.in_flight = true;
            self.in_flight += 1;
            let attempt = held.row.attempts + 1;
            out.push(Effect::Send { id, attempt, call: Box::new(held.row.delivery.call.clone()) });
        }
    }

    fn sent(&mut self, now: Now, id: DeliveryId, attempt: u32, outcome: Outcome, out: &mut Vec<Effect>) {
        let is_awaited = |held: &&mut Held| held.in_flight && held.row.attempts + 1 == attempt;
        let Some(held) = self.rows.get_mut(&id).filter(is_awaited) else { return };
        held.in_flight = false;
        self.in_flight -= 1;
        let receiver = held.row.delivery.receiver.clone();
        if let Some(receiver) = &receiver {
            self.answered(receiver);
        }
        let Some(held) = self.rows.get_mut(&id) else { return };
        let at = now.wall_ms;
        let (error, is_final, is_gone) = match outcome {
            Ok(reply) if (200..300).contains(&reply.status) => {
                let fact = OutboxFact::Delivered { at, attempt, status: reply.status };
                self.leave(id, fact, out);
                out.push(Effect::Delivered { id });
                return;
            }
            Ok(reply) => {
                let is_gone = reply.status == GONE;
                (format!("the receiver answered {}", reply.status), is_gone, is_gone)
            }
            // It would be the same request again.
            Err(NoReply { class, message }) => (message, class == ErrorClass::Invalid, false),
        };
        let is_final = is_final || receiver.as_ref().is_some_and(|receiver| self.gone.contains(receiver));
        let pause = usize::try_from(attempt - 1).ok().and_then(|place| self.config.retry_ms.get(place));
        match pause.filter(|_| !is_final) {
            Some(pause) => {
                let spread = 1.0 + self.config.jitter.clamp(0.0, 1.0) * chance(id, attempt);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a float's cast saturates"
                )]
                let due = at.saturating_add((*pause as f64 * spread) as u64);
                let fact = OutboxFact::Failed { at, attempt, due, error };
                held.row.apply(&fact);
                held.due = now.tick_at_wall(due);
                let lane = held.row.delivery.lane.clone();
                out.push(Effect::Record { id, fact });
                self.line_up(&lane);
            }
            None => {
                let gone = receiver.filter(|_| is_gone);
                let fact = OutboxFact::Dead { at, attempt, error: error.clone(), gone: gone.is_some() };
                self.leave(id, fact, out);
                out.push(Effect::Dead { id, error });
                if let Some(receiver) = gone {
                    self.goes(now, receiver, out);
                }
            }
        }
    }

    /// There is room for one more request to it.
    fn answered(&mut self, receiver: &str) {
        let Some(to_one) = self.to_one.get_mut(receiver) else { return };
        to_one.in_flight = to_one.in_flight.saturating_sub(1);
        self.due.extend(to_one.waiting.pop_first());
        if to_one.in_flight == 0 && to_one.waiting.is_empty() {
            self.to_one.remove(receiver);
        }
    }

    /// Nothing is sent to it any more: what waits for it is dead as well. What is under way still ends by itself.
    fn goes(&mut self, now: Now, receiver: String, out: &mut Vec<Effect>) {
        let of_it = |held: &Held| !held.in_flight && held.row.delivery.receiver.as_ref() == Some(&receiver);
        let waiting = self.rows.iter().filter(|(_, held)| of_it(held));
        let waiting: Vec<(DeliveryId, u32)> = waiting.map(|(id, held)| (*id, held.row.attempts)).collect();
        for (id, attempt) in waiting {
            let error = HAS_GONE.to_owned();
            let fact = OutboxFact::Dead { at: now.wall_ms, attempt, error: error.clone(), gone: false };
            self.leave(id, fact, out);
            out.push(Effect::Dead { id, error });
        }
        self.remember_gone(receiver, out);
    }

    fn remember_gone(&mut self, receiver: String, out: &mut Vec<Effect>) {
        if self.gone.contains(&receiver) {
            return;
        }
        if self.gone.len() >= GONE_MAX {
            out.extend(self.gone.pop_front().map(|receiver| Effect::Back { receiver }));
        }
        self.gone.push_back(receiver.clone());
        out.push(Effect::Gone { receiver });
    }

    /// Nothing more is to be done for it; the next of its lane may go.
    fn leave(&mut self, id: DeliveryId, fact: OutboxFact, out: &mut Vec<Effect>) {
        out.push(Effect::Record { id, fact });
        let Some(held) = self.rows.remove(&id) else { return };
        self.due.remove(&(held.due, id));
        let Delivery { lane, sequence, receiver, .. } = *held.row.delivery;
        if let Some(to_one) = receiver.and_then(|receiver| self.to_one.get_mut(&receiver)) {
            to_one.waiting.remove(&(held.due, id));
        }
        if let Some(members) = self.lanes.get_mut(&lane) {
            members.remove(&(sequence, id));
            if members.is_empty() {
                self.lanes.remove(&lane);
            }
        }
        self.line_up(&lane);
    }

    fn decide(&self, row: &mut Row, fact: OutboxFact, out: &mut Vec<Effect>) {
        row.apply(&fact);
        out.push(Effect::Record { id: row.delivery.id, fact });
    }
}

impl Machine for Outbox {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Open(rows) => rows.into_iter().for_each(|row| self.open(now, row, out)),
            Input::Redrive(mut row) if row.state == State::Dead => {
                if let Some(receiver) = row.delivery.receiver.as_ref().filter(|_| row.gone) {
                    self.gone.retain(|gone| gone != receiver);
                    out.push(Effect::Back { receiver: receiver.clone() });
                }
                self.decide(&mut row, OutboxFact::Redriven { at: now.wall_ms }, out);
                self.open(now, row, out);
            }
            Input::Redrive(_) => {}
            Input::Gone { receiver } => self.remember_gone(receiver, out),
            Input::Sent { id, attempt, outcome } => self.sent(now, id, attempt, outcome, out),
        }
        self.send_due(now, out);
    }

    fn wake(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.send_due(now, out);
    }

    fn wake_at(&self) -> Option<Tick> {
        let (due, _) = self.due.first()?;
        (self.in_flight < IN_FLIGHT_MAX).then_some(*due)
    }

    fn is_over(&self) -> bool {
        false
    }
}

const HAS_GONE: &str =
    "its receiver answered 410 (gone) before; redrive the letter that got this answer to ask again";

/// From 0 to 1, the same on every replay: a hash instead of dice.
fn chance(id: DeliveryId, attempt: u32) -> f64 {
    let hash = Sha256::new().chain_update(id.0.as_bytes()).chain_update(attempt.to_be_bytes()).finalize();
    let number = hash.iter().take(4).fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    f64::from(number) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
