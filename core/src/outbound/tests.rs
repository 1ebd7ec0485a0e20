//! What a wish comes to, whatever the network answers and whenever the process dies.

use super::*;
use crate::http::{HttpReply, NoReply, ReplyBody};
use crate::scene::ErrorClass;
use serde_json::json;

struct Stage {
    now: Now,
    machine: Outbound,
    facts: Vec<OutboundFact>,
    /// Methods of what was asked, in order.
    asked: Vec<String>,
    answers: std::collections::VecDeque<Outcome>,
    born: Vec<CallId>,
    told: Vec<Result<CallId, Refused>>,
}

const WALL_MS: u64 = 1_800_000_000_000;

fn placement() -> Box<Placement> {
    Box::new(Placement {
        id: PlacementId(Uuid::from_u128(7)),
        to: "+1".into(),
        from: "+2".into(),
        workflow: WorkflowId("w".into()),
        variables: Map::new(),
        timeout_s: None,
        asked_ms: WALL_MS,
    })
}

fn answer(status: u16, body: Value) -> Outcome {
    Ok(HttpReply { status, headers: BTreeMap::new(), body: ReplyBody::Json(body) })
}

fn placed() -> Outcome {
    answer(201, json!({"sid": "CA1", "status": "queued"}))
}

fn listed(calls: Value) -> Outcome {
    answer(200, json!({ "calls": calls }))
}

fn silence() -> Outcome {
    Err(NoReply { class: ErrorClass::Timeout, message: "no answer within 15s".into() })
}

impl Stage {
    fn new(answers: impl IntoIterator<Item = Outcome>) -> Stage {
        Stage {
            now: Now { tick: Tick(0), wall_ms: WALL_MS },
            machine: Outbound::new(OutboundConfig { origin: "https://h".into() }),
            facts: Vec::new(),
            asked: Vec::new(),
            answers: answers.into_iter().collect(),
            born: Vec::new(),
            told: Vec::new(),
        }
    }

    fn input(&mut self, input: Input) {
        let mut out = Vec::new();
        self.machine.handle(self.now, input, &mut out);
        self.perform(out);
    }

    fn perform(&mut self, out: Vec<Effect>) {
        for effect in out {
            match effect {
                Effect::Record { fact, .. } => self.facts.push(fact),
                Effect::Ask { id, no, errand: Errand::Http(call) } => {
                    self.asked.push(call.method.to_string());
                    // Without an answer it is still under way.
                    if let Some(outcome) = self.answers.pop_front() {
                        self.input(Input::Asked { id, no, outcome });
                    }
                }
                Effect::Ask { .. } => panic!("a mail"),
                Effect::Born { placement, arrival } => {
                    self.born.push(arrival.call.clone());
                    self.input(Input::Known { id: placement.id });
                }
                Effect::Tell { outcome, .. } => self.told.push(outcome),
                Effect::Done { .. } => {}
            }
        }
    }

    fn seconds(&mut self, seconds: u64) {
        let until = self.now.tick + Duration::from_secs(seconds);
        while let Some(due) = self.machine.wake_at().filter(|due| *due <= until) {
            self.now.tick = due;
            let mut out = Vec::new();
            self.machine.wake(self.now, &mut out);
            self.perform(out);
        }
        self.now.tick = until;
    }

    fn dials(&self) -> usize {
        self.asked.iter().filter(|method| *method == "POST").count()
    }

    fn crash(&mut self, answers: impl IntoIterator<Item = Outcome>) {
        let row = Row::fold(self.facts.iter()).expect("it was written before it was dialled");
        self.machine = Outbound::new(OutboundConfig { origin: "https://h".into() });
        self.answers = answers.into_iter().collect();
        self.input(Input::Reopen(row));
    }
}

fn ca1() -> Vec<Result<CallId, Refused>> {
    vec![Ok(CallId("CA1".into()))]
}

#[test]
fn a_wish_is_written_then_dialled_then_told() {
    let mut stage = Stage::new([placed()]);
    stage.input(Input::Place(placement()));
    assert_eq!(stage.told, ca1());
    assert!(matches!(stage.facts[..], [OutboundFact::Placing { .. }, OutboundFact::Placed { .. }]));
    assert!(stage.machine.is_empty());
}

#[test]
fn an_ambiguous_answer_is_looked_up_and_not_dialled_again() {
    for doubt in [silence(), answer(500, json!({})), answer(201, json!({"no": "sid"}))] {
        let mine = json!([
            {"sid": "CA0", "to": "+1", "direction": "outbound-api", "date_created": "Fri, 01 Jan 2021 00:00:00 +0000"},
            {"sid": "CAx", "to": "+1", "direction": "inbound"},
            {"sid": "CA1", "to": "+1", "direction": "outbound-api", "date_created": "Fri, 15 Jan 2027 08:00:01 +0000"}
        ]);
        let mut stage = Stage::new([doubt, listed(json!([])), listed(mine)]);
        stage.input(Input::Place(placement()));
        stage.seconds(60);
        assert_eq!((stage.told.clone(), stage.dials()), (ca1(), 1));
    }
}

#[test]
fn it_is_dialled_again_only_when_nobody_knows_of_the_first_time() {
    let nothing = || listed(json!([]));
    let mut stage = Stage::new([silence(), nothing(), nothing(), nothing(), placed()]);
    stage.input(Input::Place(placement()));
    stage.seconds(60);
    assert_eq!((stage.told.clone(), stage.dials()), (ca1(), 2));

    let mut stage = Stage::new([silence(), silence(), silence(), silence(), silence()]);
    stage.input(Input::Place(placement()));
    stage.seconds(60);
    assert_eq!(stage.dials(), 1, "who can't look does not dial");
    assert!(matches!(stage.told[..], [Err(Refused::Unknown { .. })]));
}

#[test]
fn a_webhook_with_the_tag_says_what_the_answer_left_open() {
    let mut stage = Stage::new([silence(), silence()]);
    stage.input(Input::Place(placement()));
    let arrival = Arrival {
        call: CallId("CA1".into()),
        account: "AC".into(),
        from: "+2".into(),
        to: "+1".into(),
        direction: OUTBOUND.into(),
        status: Some(NetworkStatus::Initiated),
        caller_name: None,
        forwarded_from: None,
    };
    stage.input(Input::Seen { id: placement().id, arrival: Box::new(arrival) });
    stage.seconds(60);
    assert_eq!((stage.told.clone(), stage.dials()), (ca1(), 1));
}

#[test]
fn too_many_requests_are_waited_for_and_nothing_else_is_repeated() {
    let busy = || answer(429, json!({"code": 20429}));
    let mut stage = Stage::new([busy(), busy(), placed()]);
    stage.input(Input::Place(placement()));
    assert_eq!(stage.dials(), 1);
    stage.seconds(3);
    assert_eq!((stage.told.clone(), stage.dials()), (ca1(), 3));

    let mut stage = Stage::new(std::iter::repeat_with(busy).take(10));
    stage.input(Input::Place(placement()));
    stage.seconds(120);
    assert_eq!((stage.told.clone(), stage.dials()), (vec![Err(Refused::TooMany)], 6));

    let mut stage = Stage::new([answer(400, json!({"code": 21211, "message": "Invalid 'To' Phone Number"}))]);
    stage.input(Input::Place(placement()));
    stage.seconds(60);
    assert_eq!(stage.dials(), 1);
    let told = stage.told[0].clone().unwrap_err().to_string();
    assert!(told.contains("Invalid 'To'") && told.contains("+14155550100"), "{told}");
}

#[test]
fn a_process_that_finds_a_wish_never_dials_it() {
    // Died while the network was asked.
    let mut stage = Stage::new([]);
    stage.input(Input::Place(placement()));
    stage.crash([listed(json!([{"sid": "CA1"}]))]);
    stage.seconds(60);
    assert_eq!((stage.born.len(), stage.dials()), (1, 1));

    let mut stage = Stage::new([]);
    stage.input(Input::Place(placement()));
    stage.crash([listed(json!([])), listed(json!([])), listed(json!([]))]);
    stage.seconds(60);
    assert_eq!((stage.born.len(), stage.dials()), (0, 1));
    assert!(matches!(stage.told[..], [Err(Refused::Unknown { .. })]));

    // Died between the network's answer and the call's own first fact: it is born once more.
    let mut stage = Stage::new([placed()]);
    stage.input(Input::Place(placement()));
    stage.crash([]);
    assert_eq!((stage.born.len(), stage.dials()), (2, 1));
}

#[test]
fn the_same_wish_again_joins_the_first_and_a_full_house_says_so() {
    let mut stage = Stage::new([]);
    stage.input(Input::Place(placement()));
    stage.input(Input::Place(placement()));
    assert_eq!(stage.dials(), 1);
    for number in 0..PLACEMENTS_MAX as u128 {
        let id = PlacementId(Uuid::from_u128(1000 + number));
        stage.input(Input::Place(Box::new(Placement { id, ..*placement() })));
    }
    assert_eq!(stage.told, [Err(Refused::Full)]);
}

#[test]
fn what_cannot_be_written_is_not_dialled() {
    let mut machine = Outbound::new(OutboundConfig { origin: "https://h".into() });
    let now = Now { tick: Tick(0), wall_ms: WALL_MS };
    let mut out = Vec::new();
    machine.handle(now, Input::Place(placement()), &mut out);
    assert!(matches!(out[..], [Effect::Record { .. }, Effect::Ask { .. }]), "in this order");
    machine.handle(now, Input::Unwritten { id: placement().id }, &mut out);
    assert!(machine.placement(placement().id).is_none(), "whoever owns it asks before it dials");
}
