//! What every action must do. [`check`] performs a workflow with it through every crash, failure and interruption, and
//! panics at the first thing that is not so.

use crate::own::Own;
use crate::stage::props::{Elsewhere, Shelf, WALL_MS};
use holdline_core::flow::fact::RunFact;
use holdline_core::flow::parse::parse;
use holdline_core::flow::run::{Run, RunSpec};
use holdline_core::flow::script::Script;
use holdline_core::http::{Errand, FetchNo, NoReply, Outcome};
use holdline_core::limit::Limits;
use holdline_core::notice::LineAnswer;
use holdline_core::scene::{
    Command, EndReason, ErrorClass, Event, Line, Needs, Op, Posture, Reference, ReferenceKind, RunOver,
    SoundEnd, Turn,
};
use holdline_core::{Now, RunId, Tick};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// An action that is to be checked.
#[derive(Debug, Clone)]
pub struct Subject<'s> {
    /// The action, and the services that it asks: they answer well.
    pub own: Own,
    /// A workflow that comes to its end by itself and uses the action (YAML or JSON).
    pub document: &'s str,
    /// Keys that the caller presses once the first sound is heard or the first thing is waited for; empty: none.
    pub presses: &'s str,
}

/// What an interruption stops is over by then.
const STOPS_WITHIN: Duration = Duration::from_millis(100);
/// Turns of a workflow that goes round in a circle.
const TURNS_MAX: usize = 10_000;
const CLASSES: [ErrorClass; 7] = [
    ErrorClass::Invalid,
    ErrorClass::Unavailable,
    ErrorClass::Timeout,
    ErrorClass::Rejected,
    ErrorClass::Limit,
    ErrorClass::Canceled,
    ErrorClass::Internal,
];

/// With a call, and without one.
pub fn check(subject: &Subject<'_>) {
    let script = Arc::new(read(subject));
    for kind in [ReferenceKind::Call, ReferenceKind::Api] {
        let plain = it_begins_and_comes_to_its_end(subject, &script, kind);
        it_survives_a_crash_at_every_point(subject, &script, kind, &plain);
        it_fails_well(subject, &script, kind, &plain);
        it_stops_when_it_is_told_to(subject, &script, kind, &plain);
    }
}

fn read(subject: &Subject<'_>) -> Script {
    let limits = Limits::default();
    let parsed = parse(&subject.own.vocabulary().language(&limits), "subject", "subject", subject.document);
    match parsed.script {
        Some(script) => script,
        None => panic!("the document can't be read:\n{}", parsed.report),
    }
}

fn it_begins_and_comes_to_its_end(subject: &Subject<'_>, script: &Arc<Script>, kind: ReferenceKind) -> House {
    let mut house = House::new(subject, script, kind);
    house.come_to_the_end();
    let over = house.over();
    assert_eq!(over.reason, EndReason::Completed, "left alone, it ends well: {over:?}");
    house
}

/// After each fact the process dies, with what was asked and not answered, and another one folds what is written.
fn it_survives_a_crash_at_every_point(
    subject: &Subject<'_>,
    script: &Arc<Script>,
    kind: ReferenceKind,
    plain: &House,
) {
    for written in 1..plain.facts.len() {
        let mut house = House::new(subject, script, kind);
        house.dies_at = Some(written);
        house.come_to_the_end();
        let (came, wanted) = (house.over(), plain.over());
        let after = format!("after a crash behind fact {written}, {:?}", plain.facts.get(written - 1));
        assert_eq!((came.reason, &came.outputs), (wanted.reason, &wanted.outputs), "{after}");
        let strange: Vec<&String> = house.asked.difference(&plain.asked).collect();
        assert!(strange.is_empty(), "{after} it asks under other keys: {strange:?}, not {:?}", plain.asked);
        let forgotten: Vec<&String> = plain.asked.difference(&house.asked).collect();
        assert!(forgotten.is_empty(), "{after} it never asks what it asked before: {forgotten:?}");
    }
}

/// Whatever the world answers, there is an end with a reason.
fn it_fails_well(subject: &Subject<'_>, script: &Arc<Script>, kind: ReferenceKind, plain: &House) {
    for class in CLASSES.into_iter().filter(|_| !plain.asked.is_empty()) {
        let mut house = House::new(subject, script, kind);
        house.all_fail = Some(class);
        house.come_to_the_end();
        let over = house.over();
        let told =
            over.reason != EndReason::Failed || over.detail.as_ref().is_some_and(|why| !why.is_empty());
        assert!(told, "it fails of {class:?} without a word: {over:?}");
        let strange: Vec<&String> = house.asked.difference(&plain.asked).collect();
        assert!(
            strange.is_empty() || over.reason == EndReason::Completed,
            "it asks {strange:?} for {class:?}"
        );
    }
}

/// At every turn somebody stops the run, ends the call, or cuts short what is under way.
fn it_stops_when_it_is_told_to(
    subject: &Subject<'_>,
    script: &Arc<Script>,
    kind: ReferenceKind,
    plain: &House,
) {
    for turn in 1..plain.turns {
        let ends = [
            Event::Commanded { run: plain.run.id(), command: Command::Stop },
            Event::End { reason: EndReason::CallEnded, detail: None },
        ];
        for end in ends {
            let mut house = House::new(subject, script, kind);
            if !house.goes_on_for(turn) {
                continue;
            }
            house.events.clear();
            house.turn(end.clone());
            let over = house.run.over();
            assert!(over.is_some(), "in turn {turn} it goes on after {end:?}");
            let facts = house.facts.len();
            house.turn(Event::Proceed);
            assert_eq!(house.facts.len(), facts, "what is over says nothing more");
        }
        let mut house = House::new(subject, script, kind);
        if !house.goes_on_for(turn) {
            continue;
        }
        let step = house.step();
        let cut = house.turn(Event::Commanded { run: plain.run.id(), command: Command::Interrupt });
        if cut.verdict == Some(Ok(())) && step.is_some() {
            let until = house.now.tick + STOPS_WITHIN;
            while house.step() == step && house.run.over().is_none() && house.now.tick <= until {
                house.next();
            }
            assert!(
                house.now.tick <= until,
                "in turn {turn}: cut short, it takes longer than {STOPS_WITHIN:?}"
            );
        }
        house.come_to_the_end();
    }
}

/// A run, its line, and a world that answers at once.
struct House {
    own: Own,
    shelf: Arc<Shelf>,
    run: Run,
    facts: Vec<RunFact>,
    now: Now,
    line: Line,
    has_call: bool,
    events: VecDeque<Event>,
    wake_at: Option<Tick>,
    rendered: bool,
    needs: Needs,
    presses: VecDeque<char>,
    /// By which keys others were asked.
    asked: BTreeSet<String>,
    turns: usize,
    /// Sounds that are heard now.
    playing: Vec<u64>,
    dies_at: Option<usize>,
    all_fail: Option<ErrorClass>,
}

impl House {
    fn new(subject: &Subject<'_>, script: &Arc<Script>, kind: ReferenceKind) -> House {
        let now = Now { tick: Tick(0), wall_ms: WALL_MS };
        let spec = RunSpec {
            id: RunId(Uuid::from_u64_pair(WALL_MS << 16 | 0x7000, 0x8000_0000_0000_0000)),
            script: script.clone(),
            reference: Reference { kind, id: "CA0".to_owned() },
            variables: serde_json::Map::new(),
            complete_count: 0,
            parent: None,
            on_complete: None,
            webhook: None,
        };
        let shelf = Arc::new(Shelf { own: subject.own.clone(), ..Shelf::default() });
        let (mut run, facts) = Run::begin(now, spec);
        run.bind(shelf.clone());
        let has_call = kind == ReferenceKind::Call;
        House {
            own: subject.own.clone(),
            shelf,
            run,
            facts,
            now,
            line: if has_call { Line::Asking } else { Line::Absent },
            has_call,
            events: VecDeque::from([Event::Proceed]),
            wake_at: None,
            rendered: false,
            needs: Needs::Nothing,
            presses: subject.presses.chars().collect(),
            asked: BTreeSet::new(),
            turns: 0,
            playing: Vec::new(),
            dies_at: None,
            all_fail: None,
        }
    }

    fn over(&self) -> &RunOver {
        self.run
            .over()
            .unwrap_or_else(|| panic!("after {} turns it is not over: {:?}", self.turns, self.needs))
    }

    fn come_to_the_end(&mut self) {
        while self.run.over().is_none() && self.turns < TURNS_MAX {
            self.next();
        }
        let _ = self.over();
    }

    /// False when it was over before.
    fn goes_on_for(&mut self, turns: usize) -> bool {
        while self.turns < turns && self.run.over().is_none() {
            self.next();
        }
        self.run.over().is_none()
    }

    /// The number of the newest step that has ended.
    fn step(&self) -> Option<usize> {
        let ends = self.facts.iter().filter(|fact| matches!(fact, RunFact::StepEnded { .. })).count();
        (!self.facts.is_empty()).then_some(ends)
    }

    /// What happens next: an answer, a key, the network's return, or time.
    fn next(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.turn(event);
            return;
        }
        match &self.needs {
            Needs::Stream if self.line != Line::Streaming => {
                self.line = Line::Streaming;
                let rendered = std::mem::take(&mut self.rendered);
                let answer = LineAnswer::Returned;
                self.turn(if rendered { Event::Performed { answer } } else { Event::Proceed });
            }
            Needs::Verb if self.line == Line::Streaming => {
                self.line = Line::Asking;
                self.turn(Event::Proceed);
            }
            Needs::Close { .. } if !self.rendered => {
                self.turn(Event::End { reason: EndReason::Completed, detail: None });
            }
            _ if self.rendered => {
                self.rendered = false;
                let digits: String = self.presses.drain(..).collect();
                let gathered = LineAnswer::Gathered { digits, speech: None, confidence: None };
                self.turn(Event::Performed { answer: gathered });
            }
            _ if self.line == Line::Streaming && !self.presses.is_empty() => {
                let digit = self.presses.pop_front().unwrap_or('#');
                self.turn(Event::Pressed { digit });
            }
            _ if !self.playing.is_empty() => {
                let sound = self.playing.remove(0);
                self.pass(Duration::from_millis(500));
                self.turn(Event::Sounded { sound, heard_ms: 500, how: SoundEnd::Whole });
            }
            _ => {
                let wake_at = self.wake_at.unwrap_or(self.now.tick + Duration::from_secs(3600));
                self.pass(wake_at.since(self.now.tick));
                self.turn(Event::Due);
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.tick = self.now.tick + time;
        self.now.wall_ms += u64::try_from(time.as_millis()).unwrap_or(0);
    }

    fn turn(&mut self, event: Event) -> Turn {
        self.turns += 1;
        let posture = Posture { line: self.line, local_speech: true };
        let before = self.facts.len();
        let mut turn = self.run.take(self.now, &posture, event.clone());
        self.facts.append(&mut turn.facts.clone());
        self.needs = turn.needs.clone();
        self.wake_at = turn.wake_at;
        if let Some(written) = self.dies_at.filter(|written| self.facts.len() >= *written) {
            // A batch is whole or not there; what its turn wanted was done only if it was written.
            let whole = self.facts.len() == written;
            if whole {
                for op in turn.ops.drain(..) {
                    match op {
                        Op::Fetch { errand, .. } => _ = self.asked.insert(key_of(&errand)),
                        Op::Render(_) => self.rendered = true,
                        _ => {}
                    }
                }
            } else {
                self.facts.truncate(before);
            }
            self.crash((!whole).then_some(event));
            return turn;
        }
        for op in turn.ops.drain(..) {
            self.perform(op);
        }
        turn
    }

    /// What was told and not written down is told once more: a request is repeated, a key is pressed again.
    fn crash(&mut self, untold: Option<Event>) {
        self.dies_at = None;
        let written = serde_json::to_string(&self.facts).and_then(|text| serde_json::from_str(&text));
        let written: Vec<RunFact> =
            written.unwrap_or_else(|error| panic!("the facts can't be kept: {error}"));
        let restored = Run::restore(self.now, written.iter());
        self.run = restored.unwrap_or_else(|error| panic!("the facts do not fold: {error}"));
        self.run.bind(self.shelf.clone());
        self.facts = written;
        self.line = if self.has_call { Line::Asking } else { Line::Absent };
        self.needs = Needs::Nothing;
        self.events.clear();
        self.playing.clear();
        match untold {
            Some(performed @ Event::Performed { .. }) => return self.events.push_back(performed),
            Some(Event::Pressed { digit }) => self.presses.push_front(digit),
            _ => {}
        }
        // A document that was given is performed; without one the network comes back for the next.
        if !self.rendered {
            self.events.push_back(match self.has_call {
                true => Event::Performed { answer: LineAnswer::Returned },
                false => Event::Proceed,
            });
        }
    }

    fn perform(&mut self, op: Op) {
        match op {
            Op::Render(_) => self.rendered = true,
            Op::Sound { sound, .. } => self.playing.push(sound),
            Op::Hush => {
                let cut = self.playing.drain(..);
                let ended = |sound| Event::Sounded { sound, heard_ms: 10, how: SoundEnd::Cut };
                self.events.extend(cut.map(ended));
            }
            Op::Fetch { no, errand } => {
                self.asked.insert(key_of(&errand));
                let outcome = self.answer(&errand);
                self.events.push_back(fetched(no, outcome));
            }
            Op::Echo(_) | Op::StartRecording(_) | Op::StopRecording | Op::Owe(_) => {}
        }
    }

    fn answer(&self, errand: &Errand) -> Outcome {
        match self.all_fail {
            Some(class) => Err(NoReply { class, message: "the contract wants it to fail".to_owned() }),
            None => Elsewhere::answer(errand, &self.own),
        }
    }
}

fn fetched(no: FetchNo, outcome: Outcome) -> Event {
    Event::Fetched { no, outcome }
}

/// By what the other side knows a second time; a request that changes nothing needs none.
fn key_of(errand: &Errand) -> String {
    match errand {
        Errand::Http(call) => {
            let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("idempotency-key");
            call.headers
                .iter()
                .find(named)
                .map_or_else(|| format!("{:?}", call.endpoint), |(_, key)| key.clone())
        }
        Errand::Mail(mail) => mail.id.clone(),
        Errand::Service(call) => call.idempotency_key.clone(),
    }
}
