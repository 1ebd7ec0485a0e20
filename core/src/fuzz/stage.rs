//! One call and its flow without actors: effects are performed at once and in order, or held back on purpose.

use crate::call::*;
use crate::document::Verb;
use crate::fact::Fact;
use crate::flow::parse::{Language, parse};
use crate::flow::script::Script;
use crate::flow::{Run, RunSpec, action};
use crate::id::{CallId, RunId, WorkflowId};
use crate::invariant;
use crate::limit::Limits;
use crate::media::playout::PlayoutConfig;
use crate::notice::{Arrival, LineAnswer, NetworkStatus, StatusNotice};
use crate::provider::twilio::token::stream_token;
use crate::scene::{ErrorClass, Reference, Sound};
use crate::workflow::run_facts;
use crate::{Machine, Now, Tick};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// 2027-01-15: far from zero, so that nothing mistakes a wall time for a tick.
const WALL_MS: u64 = 1_800_000_000_000;
/// Wakes in one stretch of time; a machine that wants more is spinning.
const WAKES_MAX: u32 = 200_000;

pub struct Stage {
    pub now: Now,
    pub config: Arc<CallConfig>,
    pub call: Call,
    pub run: Run,
    /// What was recorded, with the wall time of each.
    pub facts: Vec<(u64, Fact)>,
    pub answers: BTreeMap<AskNo, Answer>,
    /// Everything that the world has seen since [`Stage::seen`] was last emptied, in short words.
    pub seen: Vec<String>,
    /// Replies of the flow, the loader and the recordings' folder stay here until [`Stage::deliver`].
    pub held: bool,
    owed: VecDeque<Input>,
    /// The process dies behind so many effects.
    pub dies_after: Option<usize>,
    first: Vec<Fact>,
    spec: RunSpec,
    asked: u64,
    /// Asked of a process that has died since: nobody answers these.
    lost_before: u64,
    /// Told to the main workflow; it acknowledges unless it is slow.
    pub completions: Vec<Value>,
    pub slow_parent: bool,
    pub sound_ms: usize,
    pub marks: VecDeque<(StreamNo, String)>,
    pub admitted: Vec<StreamNo>,
    /// What the network's REST API answers, in order; then nobody is there.
    pub network: VecDeque<crate::http::Outcome>,
    finished: bool,
    stopping_since: Option<Tick>,
}

/// Ten minutes at most, so that a story without an end of its own has one.
pub fn stage_config() -> CallConfig {
    CallConfig {
        max_duration: Duration::from_secs(600),
        idle_timeout: Duration::from_secs(60),
        return_grace: Duration::from_secs(10),
        local_speech: false,
        media: PlayoutConfig::default(),
        instance_key: [7; 32],
        rest: None,
    }
}

/// A workflow from its document, with the house's own actions.
pub fn script(document: &str) -> Result<Script, String> {
    let (declared, limits) = (action::declared(), Limits::default());
    let language = Language::new(&declared, action::LATER, &limits);
    let parsed = parse(&language, "stage.json", "stage", document);
    parsed.script.ok_or_else(|| format!("{:#?}", parsed.report))
}

impl Stage {
    /// A call has arrived and has not been answered.
    pub fn new(script: Script) -> Stage {
        Stage::with(script, stage_config())
    }

    pub fn with(script: Script, config: CallConfig) -> Stage {
        let now = Now { tick: Tick::from_millis(1000), wall_ms: WALL_MS };
        let spec = RunSpec {
            id: RunId(Uuid::from_u128(0x0190_b3c4_1c2d_7e3f_8a4b_5c6d_7e8f_9a0b)),
            script: Arc::new(script),
            reference: Reference::call(&CallId("CA1".into())),
            variables: Map::new(),
            complete_count: 0,
            parent: None,
            on_complete: None,
            webhook: None,
        };
        let config = Arc::new(config);
        let (call, run, first) = born(now, &config, &spec);
        Stage {
            now,
            config,
            call,
            run,
            facts: Vec::new(),
            answers: BTreeMap::new(),
            seen: Vec::new(),
            held: false,
            owed: VecDeque::new(),
            dies_after: None,
            first,
            spec,
            asked: 0,
            lost_before: 0,
            completions: Vec::new(),
            slow_parent: false,
            sound_ms: 1000,
            marks: VecDeque::new(),
            admitted: Vec::new(),
            network: VecDeque::new(),
            finished: false,
            stopping_since: None,
        }
    }

    /// Asks, and gives the answer if it came at once.
    pub fn ask(&mut self, request: Request) -> Option<Answer> {
        self.asked += 1;
        let ask = AskNo(self.asked);
        self.input(Input::Asked { ask, request });
        self.answers.get(&ask).cloned()
    }

    pub fn voice(&mut self, key: Option<&str>) -> Option<Answer> {
        self.ask(Request::Voice { status: None, answer: LineAnswer::Returned, key: key.map(str::to_owned) })
    }

    pub fn next(&mut self, x: Option<u32>, key: Option<&str>) -> Option<Answer> {
        self.next_with(x, LineAnswer::Returned, key)
    }

    pub fn next_with(&mut self, x: Option<u32>, answer: LineAnswer, key: Option<&str>) -> Option<Answer> {
        self.ask(Request::Next { x, a: None, status: None, answer, key: key.map(str::to_owned) })
    }

    pub fn status(&mut self, status: NetworkStatus) -> Option<Answer> {
        let call = self.call.state().arrival.call.clone();
        self.ask(Request::Status(StatusNotice {
            call,
            parent: None,
            status: Some(status),
            raw: status.as_str().to_owned(),
            sequence: None,
            duration_s: None,
            sip_code: None,
        }))
    }

    /// Opens a socket with the token of an exchange.
    pub fn open(&mut self, exchange: u32) -> Option<Answer> {
        let token = stream_token(&self.config.instance_key, &self.call.state().arrival.call, exchange);
        self.ask(Request::Open { token })
    }

    /// Opens a socket and lets it say `start`.
    pub fn stream(&mut self, exchange: u32) -> Result<StreamNo, Option<Answer>> {
        match self.open(exchange) {
            Some(Answer::Admitted { stream, .. }) => {
                self.start(stream);
                Ok(stream)
            }
            other => Err(other),
        }
    }

    pub fn start(&mut self, stream: StreamNo) {
        self.input(Input::StreamUp { stream, stream_sid: format!("MZ{}", stream.0), trouble: None });
    }

    pub fn input(&mut self, input: Input) {
        self.handle(input);
        while !self.held && self.deliver() {}
    }

    /// One reply that was held back; false when there is none.
    pub fn deliver(&mut self) -> bool {
        let Some(input) = self.owed.pop_front() else { return false };
        self.handle(input);
        true
    }

    /// The process dies: what is not in the facts is gone. Another one goes on.
    pub fn crash(&mut self) {
        self.lost_before = self.asked;
        self.owed.clear();
        self.dies_after = None;
        self.admitted.clear();
        self.marks.clear();
        self.finished = false;
        self.stopping_since = None;
        let Some(state) = invariant::fold(self.facts.iter().map(|(wall_ms, fact)| (*wall_ms, fact))) else {
            let (call, run, first) = born(self.now, &self.config, &self.spec);
            (self.call, self.run, self.first) = (call, run, first);
            return;
        };
        self.call = Call::restore(self.now, self.config.clone(), state);
        let facts = self.facts.iter().map(|(_, fact)| fact);
        self.run = match Run::restore(self.now, run_facts(facts)) {
            Ok(run) => run,
            Err(error) => panic!("a call on disk without its run: {error}"),
        };
        self.wake();
        while !self.held && self.deliver() {}
    }

    /// Time passes; whatever is due on the way happens at its time.
    pub fn after(&mut self, duration: Duration) {
        let until = self.now.tick + duration;
        let mut wakes = 0;
        while let Some(due) = self.call.wake_at().filter(|due| *due <= until) {
            self.move_to(due.max(self.now.tick));
            self.wake();
            while !self.held && self.deliver() {}
            wakes += 1;
            assert!(wakes < WAKES_MAX, "the call is woken for ever at {:?}", self.now.tick);
        }
        self.move_to(until);
    }

    pub fn after_ms(&mut self, ms: u64) {
        self.after(Duration::from_millis(ms));
    }

    /// Lets everything that is owed come, and time pass, until the call is over.
    pub fn to_the_end(&mut self) {
        self.held = false;
        self.slow_parent = false;
        self.dies_after = None;
        while self.deliver() {}
        let most = self.now.tick + self.config.max_duration + self.config.return_grace * 4;
        while !self.call.is_over() {
            let due = self.call.wake_at();
            let due =
                due.unwrap_or_else(|| panic!("not over, and waits for nothing: {:#?}", self.call.state()));
            assert!(due <= most, "the call outlives its deadlines: {due:?} > {most:?}");
            self.after(due.since(self.now.tick));
        }
        assert_eq!(self.call.wake_at(), None, "a call that is over wants nothing");
        invariant::exactly_one_end(&self.all_facts()).unwrap_or_else(|broken| panic!("{broken}"));
        assert!(self.unanswered().is_empty(), "asked and never answered: {:?}", self.unanswered());
    }

    /// Requests of this process that wait.
    pub fn unanswered(&self) -> Vec<u64> {
        (self.lost_before + 1..=self.asked).filter(|ask| !self.answers.contains_key(&AskNo(*ask))).collect()
    }

    pub fn all_facts(&self) -> Vec<Fact> {
        self.facts.iter().map(|(_, fact)| fact.clone()).collect()
    }

    pub fn seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    fn move_to(&mut self, tick: Tick) {
        let ms = tick.as_millis().saturating_sub(self.now.tick.as_millis());
        self.now = Now { tick, wall_ms: self.now.wall_ms + ms };
    }

    fn handle(&mut self, input: Input) {
        let mut out = Vec::new();
        self.call.handle(self.now, input, &mut out);
        self.perform(out);
    }

    fn wake(&mut self) {
        let mut out = Vec::new();
        self.call.wake(self.now, &mut out);
        self.perform(out);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if self.dies_after.is_some_and(|left| left == 0) {
                self.crash();
                return;
            }
            self.dies_after = self.dies_after.map(|left| left - 1);
            let recorded = self.facts.iter().map(|(_, fact)| fact);
            invariant::seen_after_its_record(&effect, recorded).unwrap_or_else(|broken| panic!("{broken}"));
            invariant::nothing_after_the_end(&effect, self.finished)
                .unwrap_or_else(|broken| panic!("{broken}"));
            self.perform_one(effect);
        }
        self.check();
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Record(mut facts) => {
                let behind = facts.len().min(1);
                let wall_ms = self.now.wall_ms;
                facts.splice(behind..behind, self.first.drain(..).map(|fact| (wall_ms, fact)));
                self.facts.extend(facts);
            }
            Effect::Take { turn, posture, event } => {
                let report = self.run.take(self.now, &posture, event);
                self.owed.push_back(Input::Took { turn, report });
            }
            Effect::WaitTurn { ask, exchange, turn, waited_s } => {
                let verbs = self.run.wait_turn(self.now, turn, waited_s);
                self.owed.push_back(Input::Waited { ask, exchange, turn, verbs });
            }
            Effect::Answer { ask, answer } => {
                if let Answer::Admitted { stream, .. } = &answer {
                    self.admitted.push(*stream);
                }
                self.seen.push(brief(&answer));
                assert!(self.answers.insert(ask, answer).is_none(), "{ask:?} was answered twice");
            }
            Effect::Transmit { stream, out } => match out {
                StreamOut::Audio(_) => {}
                StreamOut::Mark(name) => self.marks.push_back((stream, name)),
                StreamOut::Clear => self.seen.push("clear".into()),
            },
            Effect::CloseStream { stream, code } => {
                self.seen.push(format!("close {} {code}", stream.0));
            }
            Effect::Load { sound, what } => {
                self.seen.push("load".into());
                let audio = match &what {
                    Sound::Url(url) if url.contains("missing") => {
                        Err((ErrorClass::Unavailable, "not there".to_owned()))
                    }
                    _ => Ok(vec![0x55; self.sound_ms * 8].into()),
                };
                self.owed.push_back(Input::Loaded { sound, audio });
            }
            Effect::OpenEcho { echo } => self.owed.push_back(Input::EchoOpen { echo }),
            Effect::Fetch { no, .. } => {
                let body = crate::http::ReplyBody::Text("[]".into());
                let reply = crate::http::HttpReply { status: 200, headers: BTreeMap::new(), body };
                self.owed.push_back(Input::Fetched { no, outcome: Ok(reply) });
            }
            Effect::Reach { no, errand } => {
                if let crate::http::Errand::Http(call) = &errand {
                    self.seen.push(
                        format!("asks {} {}", call.method, asked_for(&call.body)).trim_end().to_owned(),
                    );
                }
                let outcome = self.network.pop_front().unwrap_or_else(|| Err(nobody()));
                self.owed.push_back(Input::Reached { no, outcome });
            }
            Effect::Count(what) => self.seen.push(format!("counts {what}")),
            // What follows is another story.
            Effect::Deliver(_) | Effect::Follow { .. } => {}
            Effect::OpenRecording { file, .. } => self.seen.push(format!("record {file}")),
            Effect::AppendRecording { .. } | Effect::Summary(_) => {}
            Effect::CloseRecording { report } => {
                self.seen.push(format!("recorded {}", report.ended_by));
                self.owed.push_back(Input::RecordingClosed { report });
            }
            Effect::TellParent { completion, .. } => {
                self.completions.push(completion);
                if !self.slow_parent {
                    self.owed.push_back(Input::Acked);
                }
            }
            Effect::Finished => self.finished = true,
        }
    }

    /// What holds between any two inputs.
    fn check(&mut self) {
        let stopping = self.call.state().stopping.is_some() && !self.held && self.owed.is_empty();
        self.stopping_since = if stopping { self.stopping_since.or(Some(self.now.tick)) } else { None };
        // The grace, with credentials once more for the network to be told, and once more from the moment at which a <Hangup/> was delivered.
        let asked_there = u32::from(self.config.rest.is_some());
        let most = self.config.return_grace * (2 + asked_there);
        let facts = self.facts.iter().map(|(wall_ms, fact)| (*wall_ms, fact));
        // What is held back for an answer's commit is in force already, and on its way to be a fact.
        let is_settled = !self.call.holds_back();
        let fold = || invariant::state_is_the_fold(self.call.state(), facts);
        let checks = [
            invariant::at_most_one_end(self.facts.iter().map(|(_, fact)| fact)),
            if is_settled { fold() } else { Ok(()) },
            invariant::wakes_until_over(&self.call, !self.owed.is_empty()),
            invariant::ends_by(&self.call, self.now.tick, self.stopping_since, most),
            invariant::sound_in_flight(&self.call, self.now),
            invariant::run_within_limits(&self.run),
            invariant::one_completion(&self.completions),
        ];
        for check in checks {
            check.unwrap_or_else(|broken| panic!("{broken}\n{:#?}", self.call.state()));
        }
    }
}

fn born(now: Now, config: &Arc<CallConfig>, spec: &RunSpec) -> (Call, Run, Vec<Fact>) {
    let (run, facts) = Run::begin(now, spec.clone());
    let workflow = WorkflowId("stage".into());
    let arrived = CallFact::Arrived {
        arrival: Arrival {
            call: CallId("CA1".into()),
            account: "AC1".into(),
            from: "+14155550100".into(),
            to: "+14155550199".into(),
            direction: "inbound".into(),
            status: Some(NetworkStatus::Ringing),
            caller_name: None,
            forwarded_from: None,
        },
        workflow: workflow.clone(),
        sub_workflow: workflow,
        sub_run: spec.id,
        main_run: Some(RunId(Uuid::from_u128(1))),
        max_duration_ms: None,
        resume_phrase: spec.script.resume_phrase.clone(),
    };
    let Some(call) = Call::arrive(now, config.clone(), arrived) else { panic!("an arrival makes a call") };
    (call, run, facts.into_iter().map(Fact::Run).collect())
}

/// Answers in short: `document 2 say stream`, `hangup`, `admitted 1`, `denied`, `ok`.
pub fn brief(answer: &Answer) -> String {
    match answer {
        Answer::Document { plan } => {
            let verbs: String = plan.verbs.iter().map(|verb| format!("{} ", word(verb))).collect();
            let ending = match plan.ending {
                crate::document::Ending::Stream { .. } => "stream",
                crate::document::Ending::Return => "return",
                crate::document::Ending::Hangup => "hangup",
                crate::document::Ending::Reject { .. } => "reject",
            };
            format!("document {} {verbs}{ending}", plan.exchange)
        }
        Answer::Hangup => "hangup".into(),
        Answer::WaitDocument { verbs, .. } => format!("wait {}", verbs.len()),
        Answer::NoContent => "ok".into(),
        Answer::Admitted { stream, .. } => format!("admitted {}", stream.0),
        Answer::Denied { .. } => "denied".into(),
        Answer::Leaving => "leaving".into(),
        Answer::Ending { deferred } => format!("ending{}", if *deferred { " deferred" } else { "" }),
        Answer::Saying { deferred } => format!("saying{}", if *deferred { " deferred" } else { "" }),
        Answer::Commanded(verdict) => format!("commanded {verdict:?}"),
    }
}

/// What the network is told to do, in short.
fn asked_for(body: &crate::http::Body) -> String {
    match body {
        crate::http::Body::Form(fields) => {
            fields.first().map(|(name, value)| format!("{name}={value}")).unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn nobody() -> crate::http::NoReply {
    crate::http::NoReply { class: ErrorClass::Unavailable, message: "nobody is there".into() }
}

fn word(verb: &Verb) -> &'static str {
    match verb {
        Verb::Say(_) => "say",
        Verb::Play { .. } => "play",
        Verb::Pause { .. } => "pause",
        Verb::Gather(_) => "gather",
        Verb::Dial(_) => "dial",
        Verb::Conference(_) => "conference",
        Verb::Enqueue { .. } => "enqueue",
        Verb::StartRecording { .. } | Verb::StopRecording => "recording",
        Verb::Leave => "leave",
    }
}
