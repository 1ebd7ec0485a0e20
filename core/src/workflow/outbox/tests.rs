use super::*;
use crate::http::{Endpoint, HttpReply, Method, ReplyBody};

const WALL: u64 = 1_800_000_000_000;

/// An outbox, the clock, and all that was written down.
struct House {
    outbox: Outbox,
    now: Now,
    facts: BTreeMap<DeliveryId, Vec<OutboxFact>>,
    sent: Vec<(DeliveryId, u32)>,
    dead: Vec<DeliveryId>,
    gone: Vec<(String, bool)>,
}

fn delivery(lane: &str, sequence: u64) -> Box<Delivery> {
    let run = RunId(Uuid::from_u128(u128::from(lane.bytes().map(u64::from).sum::<u64>())));
    let call = HttpCall::new(Method::Post, Endpoint::Url(format!("http://{lane}")), 1000);
    let id = DeliveryId::of(run, sequence);
    Box::new(Delivery { id, lane: lane.into(), sequence, owed_at: WALL, call, receiver: None })
}

impl House {
    fn new() -> House {
        House::at(Now { tick: Tick(0), wall_ms: WALL }, BTreeMap::new())
    }

    /// As after a start: what is open in the journal is opened again, in whatever order.
    fn at(now: Now, facts: BTreeMap<DeliveryId, Vec<OutboxFact>>) -> House {
        let config = OutboxConfig { retry_ms: vec![5000, 300_000], jitter: 0.1 };
        let rows: Vec<Row> = facts.values().rev().filter_map(Row::fold).collect();
        let (sent, dead) = (Vec::new(), Vec::new());
        let mut house = House { outbox: Outbox::new(config), now, facts, sent, dead, gone: Vec::new() };
        house.input(Input::Open(rows));
        house
    }

    fn owe(&mut self, delivery: Box<Delivery>) {
        self.facts.insert(delivery.id, vec![OutboxFact::Owed { delivery: delivery.clone() }]);
        self.input(Input::Open(vec![Row::new(delivery)]));
    }

    fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.outbox.handle(self.now, input, &mut out);
        self.did(out);
    }

    fn did(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Record { id, fact } => self.facts.entry(id).or_default().push(fact),
                Effect::Send { id, attempt, .. } => self.sent.push((id, attempt)),
                Effect::Delivered { id } => {
                    let row = Row::fold(&self.facts[&id]).unwrap();
                    assert_eq!(row.state, State::Delivered);
                }
                Effect::Dead { id, .. } => self.dead.push(id),
                Effect::Gone { receiver } => self.gone.push((receiver, true)),
                Effect::Back { receiver } => self.gone.push((receiver, false)),
            }
        }
    }

    fn answer(&mut self, (id, attempt): (DeliveryId, u32), status: u16) {
        let reply = HttpReply { status, headers: BTreeMap::new(), body: ReplyBody::Text(String::new()) };
        self.input(Input::Sent { id, attempt, outcome: Ok(reply) });
    }

    fn after_ms(&mut self, ms: u64) {
        self.now.tick.0 += ms * 1000;
        self.now.wall_ms += ms;
        let mut out = Vec::new();
        self.outbox.wake(self.now, &mut out);
        self.did(out);
    }

    fn newest(&self) -> (DeliveryId, u32) {
        *self.sent.last().expect("something was sent")
    }
}

#[test]
fn what_is_owed_is_sent_until_it_is_taken_and_then_forgotten() {
    let mut house = House::new();
    house.owe(delivery("a", 1));
    let first = house.newest();
    house.answer(first, 503);
    assert!(house.outbox.wake_at().is_some_and(|at| (5000..=5500).contains(&at.as_millis())), "with jitter");
    house.after_ms(4999);
    assert_eq!(house.sent.len(), 1);
    house.after_ms(501);
    assert_eq!(house.newest(), (first.0, 2));
    house.answer(first, 200);
    assert_eq!(house.outbox.len(), 1, "an answer to the first attempt says nothing about the second");
    house.answer((first.0, 2), 204);
    assert!(house.outbox.is_empty() && house.outbox.wake_at().is_none());
}

#[test]
fn the_last_attempt_and_a_receiver_that_is_gone_make_a_dead_letter_that_can_be_sent_again() {
    let mut house = House::new();
    house.owe(delivery("a", 1));
    let id = house.newest().0;
    for wait in [6000, 400_000, 0] {
        house.answer(house.newest(), 500);
        house.after_ms(wait);
    }
    assert_eq!((house.sent.len(), house.dead.clone(), house.outbox.len()), (3, vec![id], 0));
    let row = Row::fold(&house.facts[&id]).unwrap();
    assert_eq!((row.state, row.attempts), (State::Dead, 3));
    house.input(Input::Redrive(row.clone()));
    assert_eq!(house.newest(), (id, 1));
    house.input(Input::Redrive(Row::fold(&house.facts[&id]).unwrap()));
    assert_eq!(house.sent.len(), 4, "asked twice, it is sent once");
    house.answer((id, 1), 410);
    assert_eq!(house.dead, [id, id]);

    house.owe(delivery("b", 1));
    let (id, attempt) = house.newest();
    let error = NoReply { class: ErrorClass::Invalid, message: "no URL".into() };
    house.input(Input::Sent { id, attempt, outcome: Err(error) });
    assert_eq!(house.dead.last(), Some(&id), "the same request would be wrong again");
}

fn to(receiver: &str, lane: &str, sequence: u64) -> Box<Delivery> {
    let mut owed = delivery(lane, sequence);
    owed.receiver = Some(receiver.to_owned());
    // Not their sum: anagrams, and worse, would be one delivery.
    let number =
        lane.bytes().fold(0_u64, |number, byte| number.wrapping_mul(257).wrapping_add(u64::from(byte)));
    owed.id = DeliveryId(RunId(owed.id.0).child(number).0);
    owed
}

#[test]
fn a_receiver_that_is_gone_is_left_alone_until_its_own_letter_is_asked_for() {
    let mut house = House::new();
    house.owe(to("r", "a", 1));
    house.owe(to("r", "a", 2));
    house.owe(to("r", "b", 1));
    house.owe(to("other", "c", 1));
    assert_eq!(house.sent.len(), 3);
    let (first, under_way) = (house.sent[0], house.sent[1]);
    house.answer(first, 410);
    assert_eq!(house.gone, [("r".to_owned(), true)]);
    assert_eq!(house.dead.len(), 2, "the one that was refused, and the one behind it");
    house.answer(under_way, 500);
    assert_eq!(house.dead.len(), 3, "what was under way is not tried again");
    house.owe(to("r", "d", 1));
    assert_eq!((house.dead.len(), house.sent.len()), (4, 3));

    // The next process knows it by the letter.
    let text = serde_json::to_string(&house.facts).unwrap();
    let mut house = House::at(house.now, serde_json::from_str(&text).unwrap());
    let letter = Row::fold(&house.facts[&first.0]).unwrap();
    assert!(letter.gone);
    house.input(Input::Gone { receiver: "r".to_owned() });
    house.owe(to("r", "e", 1));
    assert_eq!(house.dead.len(), 1);
    let behind = house.facts.values().filter_map(Row::fold).find(|row| row.state == State::Dead && !row.gone);
    house.input(Input::Redrive(behind.unwrap()));
    assert_eq!(house.dead.len(), 2, "asked for, and its receiver is gone still");
    house.input(Input::Redrive(letter));
    assert_eq!(house.gone.last(), Some(&("r".to_owned(), false)));
    assert_eq!(house.newest(), (first.0, 1));
    house.answer(house.newest(), 200);
    house.owe(to("r", "f", 1));
    assert_eq!(house.newest().1, 1);
    assert_eq!(house.dead.len(), 2);
}

#[test]
fn one_receiver_that_hangs_leaves_room_for_the_others() {
    let mut house = House::new();
    for lane in 0..20 {
        house.owe(to("slow", &format!("lane {lane}"), 1));
    }
    assert_eq!(house.sent.len(), TO_ONE_MAX);
    house.owe(to("quick", "other", 1));
    assert_eq!(house.sent.len(), TO_ONE_MAX + 1);
    for place in 0..20 {
        house.answer(house.sent[if place < TO_ONE_MAX { place } else { place + 1 }], 200);
    }
    assert_eq!(house.sent.len(), 21, "each once");
    assert_eq!(house.outbox.len(), 1);
}

#[test]
fn a_lane_goes_in_order_and_holds_up_no_other() {
    let mut house = House::new();
    let (first, second, other) = (delivery("a", 1), delivery("a", 2), delivery("b", 1));
    let ids = [first.id, second.id, other.id];
    house.owe(first);
    house.owe(second);
    house.owe(other);
    assert_eq!(house.sent, [(ids[0], 1), (ids[2], 1)]);
    house.answer((ids[0], 1), 500);
    house.answer((ids[2], 1), 200);
    assert_eq!(house.sent.len(), 2, "the second waits for the first, also while that waits");
    house.after_ms(5500);
    house.answer((ids[0], 2), 200);
    assert_eq!(house.newest(), (ids[1], 1));
}

#[test]
fn after_a_restart_what_is_open_is_sent_again_in_order_with_its_due_time() {
    let mut house = House::new();
    let all: Vec<_> = (1..=3).map(|sequence| delivery("a", sequence)).collect();
    let ids: Vec<_> = all.iter().map(|delivery| delivery.id).collect();
    all.into_iter().for_each(|delivery| house.owe(delivery));
    house.answer((ids[0], 1), 500);
    // Read from the journal's own format, by another process whose ticks begin anew.
    let text = serde_json::to_string(&house.facts).unwrap();
    let later = Now { tick: Tick(7), wall_ms: house.now.wall_ms + 1000 };
    let mut house = House::at(later, serde_json::from_str(&text).unwrap());
    assert!(house.sent.is_empty(), "the pause goes on where it was, and the others stay behind it");
    house.after_ms(4500);
    assert_eq!(house.sent, [(ids[0], 2)]);
    house.answer((ids[0], 2), 200);
    house.answer((ids[1], 1), 200);
    house.answer((ids[2], 1), 200);
    assert_eq!(house.sent.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
    assert!(house.outbox.is_empty());
}

#[test]
fn sockets_and_memory_are_bounded() {
    let mut house = House::new();
    for lane in 0..ROWS_MAX + 5 {
        let mut owed = delivery(&format!("lane {lane}"), 1);
        owed.id = DeliveryId(Uuid::from_u128(lane as u128));
        house.owe(owed);
    }
    assert_eq!((house.sent.len(), house.outbox.len(), house.dead.len()), (IN_FLIGHT_MAX, ROWS_MAX, 5));
    assert!(house.outbox.wake_at().is_none(), "nothing to wake for while no socket is free");
    house.answer(house.sent[0], 200);
    assert_eq!(house.sent.len(), IN_FLIGHT_MAX + 1);
}
