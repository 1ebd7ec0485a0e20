//! Performs a transcript on a stage: merges what the pretend line does and what the script says on one time line.
//!
//! Everything that goes over the wire takes a millisecond. So whatever a house says at one instant is known before
//! anything of it arrives, and it arrives in an order of its own: the same on every stage.

mod world;

use crate::network::caller::Act as CallerAct;
use crate::network::rest::{ApiReply, ApiRequest, Asked};
use crate::network::{Effect, Input, Line, LineConfig, Reply, Request};
use crate::stage::props::{self, AUTH_TOKEN, ORIGIN};
use crate::stage::{Knock, News, Stage, WireRequest};
use crate::transcript::telling::{Teller, experienced};
use crate::transcript::{Act, Api, Told, Transcript, What};
use holdline_core::fact::Entry;
use holdline_core::{CallId, Tick};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;
use world::{Asker, wire};

/// From one end of the wire to the other.
const LATENCY: Duration = Duration::from_millis(1);
/// Messages of a stream after its first ones: out of step with the house's own 20 ms, so that no two frames of
/// opposite directions meet in one instant.
const STREAM_LATENCY: Duration = Duration::from_millis(3);
/// By what the network tells a retry from a new request.
const IDEMPOTENCY_HEADER: &str = "I-Twilio-Idempotency-Token";
/// Once nothing more is to come from outside, the house is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// A process that hands its calls over has closed its streams by then.
const GOES_WITHIN: Duration = Duration::from_millis(10);
/// A play that is longer than this has a house that never gets empty.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// What a performance has come to.
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    pub told: Vec<Told>,
    /// Everything that was written down, in order.
    pub written: Vec<Entry>,
    /// Nothing of any call was left in memory at the end.
    pub house_is_empty: bool,
    pub ended_at: Tick,
}

pub async fn play<S: Stage>(transcript: &Transcript, stage: &mut S) -> Play {
    play_with(transcript, transcript.head.line(), stage).await
}

pub async fn play_with<S: Stage>(transcript: &Transcript, line: LineConfig, stage: &mut S) -> Play {
    let mut player = Player::new(transcript, line, stage);
    player.perform().await
}

struct Player<'p, S> {
    transcript: &'p Transcript,
    stage: &'p mut S,
    line: Line,
    called: String,
    call: String,
    due: BinaryHeap<Reverse<(Tick, u8, u64, Slot)>>,
    deliveries: BTreeMap<u64, Delivery>,
    sequence: u64,
    knocks: u64,
    askers: BTreeMap<Knock, Asker>,
    /// Sockets that are open, by the name of either side.
    sockets: BTreeMap<Knock, Asker>,
    /// Of raw sockets: how many messages they have sent.
    raw_sequence: u64,
    /// Requests for documents.
    documents: Vec<WireRequest>,
    /// What the house was asked and has not answered.
    asked: BTreeSet<Knock>,
    /// Messages until the call's socket dies.
    socket_dies: Option<u32>,
    /// URLs of streams by document.
    streams: BTreeMap<u32, String>,
    is_down: bool,
    teller: Teller,
    told: Vec<Told>,
    written: Vec<Entry>,
    now: Tick,
}

/// Where a delivery lies in its heap; kept apart, since deliveries have no order of their own.
type Slot = u64;

#[derive(Debug)]
enum Delivery {
    Cue(usize),
    Restart,
    /// The process goes away.
    Dies,
    /// A socket takes messages again.
    Takes(Knock),
    News(News),
    Refused(Knock),
    /// Connected, and then no whole answer.
    Broken(Knock),
    Cut(Knock),
    Api(u64, Option<ApiReply>),
    Knock(Knock, WireRequest),
    Text(Knock, String),
    Binary(Knock),
    Close(Knock, Option<u16>),
}

impl Delivery {
    /// The order of what arrives at one instant.
    fn rank(&self) -> u8 {
        match self {
            Delivery::Cue(_) => 0,
            Delivery::Restart | Delivery::Dies => 1,
            Delivery::News(News::Written(_)) => 2,
            Delivery::News(News::Upgraded { .. }) => 3,
            Delivery::News(News::SocketText { .. }) => 4,
            Delivery::News(News::SocketClosed { .. }) | Delivery::Cut(_) => 5,
            Delivery::News(News::Answered { .. } | News::Ending { .. }) => 6,
            Delivery::Refused(_) | Delivery::Broken(_) => 6,
            Delivery::News(News::Asked(_) | News::Died { .. }) => 6,
            Delivery::News(News::AsksNetwork { .. })
            | Delivery::Api(..)
            | Delivery::Knock(..)
            | Delivery::Text(..)
            | Delivery::Binary(_)
            | Delivery::Close(..)
            | Delivery::Takes(_) => 7,
        }
    }
}

impl<'p, S: Stage> Player<'p, S> {
    fn new(transcript: &'p Transcript, config: LineConfig, stage: &'p mut S) -> Player<'p, S> {
        let call = config.call_sid.clone();
        Player {
            transcript,
            stage,
            called: transcript.head.called().to_owned(),
            teller: Teller::new(&call),
            call,
            line: Line::new(config),
            due: BinaryHeap::new(),
            deliveries: BTreeMap::new(),
            sequence: 0,
            knocks: 0,
            askers: BTreeMap::new(),
            sockets: BTreeMap::new(),
            raw_sequence: 0,
            documents: Vec::new(),
            asked: BTreeSet::new(),
            socket_dies: None,
            streams: BTreeMap::new(),
            is_down: false,
            told: Vec::new(),
            written: Vec::new(),
            now: Tick(0),
        }
    }

    async fn perform(&mut self) -> Play {
        for (number, cue) in self.transcript.cues.iter().enumerate() {
            self.put(cue.at, Delivery::Cue(number));
        }
        if self.transcript.head.rings() {
            let mut effects = Vec::new();
            self.line.begin(self.stage.now(), &mut effects);
            self.do_effects(effects);
        }
        let mut house_is_empty = false;
        while self.now < Tick(0) + LONGEST {
            let heap = self.due.peek().map(|Reverse((at, ..))| *at);
            let line = self.line.wake_at().map(|at| Tick(at.0.div_ceil(1000) * 1000));
            let next = heap.into_iter().chain(line).min();
            if next.is_none() && self.stage.is_empty().await {
                house_is_empty = true;
                break;
            }
            let until = next.unwrap_or(self.now + LOOK).max(self.now);
            let news = self.stage.run_until(until).await;
            self.now = self.stage.now().tick;
            if !news.is_empty() {
                for news in news {
                    self.leaves(news);
                }
                continue;
            }
            while let Some(Reverse((at, _, _, slot))) = self.due.peek().copied() {
                if at > self.now {
                    break;
                }
                self.due.pop();
                if let Some(delivery) = self.deliveries.remove(&slot) {
                    self.deliver(delivery).await;
                }
            }
            if self.line.wake_at().is_some_and(|at| at <= self.now) {
                let mut effects = Vec::new();
                self.line.wake(self.stage.now(), &mut effects);
                self.do_effects(effects);
            }
        }
        Play {
            told: std::mem::take(&mut self.told),
            written: std::mem::take(&mut self.written),
            house_is_empty,
            ended_at: self.now,
        }
    }

    fn put(&mut self, at: Tick, delivery: Delivery) {
        self.sequence += 1;
        self.due.push(Reverse((at, delivery.rank(), self.sequence, self.sequence)));
        self.deliveries.insert(self.sequence, delivery);
    }

    fn tell(&mut self, line: impl Into<String>) {
        self.told.push(Told { at: self.now, what: What::Out(line.into()) });
    }

    async fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Cue(number) => {
                self.told.push(Told { at: self.now, what: What::Cue(number) });
                if let Some(cue) = self.transcript.cues.get(number) {
                    self.act(cue.act.clone()).await;
                }
            }
            Delivery::Restart => {
                self.is_down = false;
                self.stage.restart().await;
            }
            Delivery::Dies => self.crash(Duration::ZERO),
            Delivery::Takes(socket) => self.stage.socket_stalls(socket, false),
            Delivery::News(news) => self.news(news),
            Delivery::Refused(knock) => match self.askers.remove(&knock) {
                Some(Asker::Line(request)) => self.line_hears(Input::Refused { request }),
                Some(Asker::LineSocket(socket)) => {
                    self.line_hears(Input::SocketRefused { socket, status: 0 });
                }
                Some(Asker::Script(name)) => self.tell(format!("{name} finds nobody")),
                Some(Asker::Callback) | None => {}
            },
            Delivery::Broken(knock) => match self.askers.remove(&knock) {
                Some(Asker::Line(request)) => self.line_hears(Input::TimedOut { request }),
                Some(Asker::LineSocket(socket)) => {
                    self.line_hears(Input::SocketRefused { socket, status: 0 });
                }
                Some(Asker::Script(name)) => self.tell(format!("{name} gets no answer")),
                Some(Asker::Callback) | None => {}
            },
            Delivery::Cut(knock) => self.socket_ended(knock, None),
            Delivery::Api(ask, reply) => self.stage.network_answers(ask, reply),
            Delivery::Knock(knock, _) if self.is_down => {
                self.put(self.now + LATENCY, Delivery::Refused(knock));
            }
            Delivery::Knock(knock, request) => {
                self.asked.insert(knock);
                self.stage.knock(knock, request);
            }
            Delivery::Text(socket, text) => {
                self.socket_passes(socket);
                self.stage.socket_text(socket, text);
            }
            Delivery::Binary(socket) => self.stage.socket_binary(socket),
            Delivery::Close(socket, code) => self.stage.socket_close(socket, code),
        }
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Caller(act) => self.line_hears(Input::Caller(act)),
            // Who is down already cannot die once more.
            Act::Crash { .. } if self.is_down => {}
            Act::Crash { down } => self.crash(down),
            Act::Panics => self.stage.panic(CallId(self.call.clone())),
            Act::Drains => self.stage.drain(),
            Act::HandsOver => {
                // Who is told to come back must not meet the one that goes: it listens no more.
                self.is_down = true;
                self.stage.hand_over();
                self.put(self.now + GOES_WITHIN, Delivery::Dies);
            }
            Act::StandsStill { span } => {
                self.stage.stand_still(span).await;
                self.now = self.stage.now().tick;
            }
            Act::Fault(fault) => self.stage.befalls(&fault),
            Act::SocketDies { behind } => self.socket_dies = Some(behind),
            Act::Api { what } => {
                let knock = self.knock_of(Asker::Script("api".into()));
                self.stage.end_call(knock, CallId(self.call.clone()), what == Api::Stops);
            }
            Act::Repeats => self.repeats(self.documents.last().cloned()),
            Act::RepeatsAnew { number } => {
                let asked = number.checked_sub(1).and_then(|place| self.documents.get(place));
                let anew = asked.cloned().map(|mut request| {
                    request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case(IDEMPOTENCY_HEADER));
                    request
                });
                self.repeats(anew);
            }
            Act::Posts { status, call } => {
                let call = call.unwrap_or_else(|| self.call.clone());
                let fields = [("CallSid", call.as_str()), ("CallStatus", status.as_str())];
                self.asks("/webhooks/twilio/status", &fields, true, Asker::Callback);
            }
            Act::Asks { path, call, fields, signed } => {
                let call = call.unwrap_or_else(|| self.call.clone());
                let fields: Vec<(String, String)> = fields
                    .into_iter()
                    .map(|(name, value)| (name, value.replace("CA…", &self.call)))
                    .collect();
                let mut all: Vec<(&str, &str)> =
                    fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                for usual in [("CallSid", call.as_str()), ("CallStatus", "in-progress")] {
                    if !all.iter().any(|(name, _)| *name == usual.0) {
                        all.push(usual);
                    }
                }
                self.asks(&path, &all, signed, Asker::Script("the request".into()));
            }
            Act::Socket { name, does } => self.socket_acts(name, does),
        }
    }

    fn crash(&mut self, down: Duration) {
        self.stage.crash();
        self.is_gone(down);
    }

    /// Something has left the house, and is on its way.
    fn leaves(&mut self, news: News) {
        match &news {
            News::Answered { knock, .. } | News::Upgraded { knock } => {
                self.asked.remove(knock);
            }
            News::Died { down } => self.is_gone(*down),
            _ => {}
        }
        self.put(self.now + LATENCY, Delivery::News(news));
    }

    fn repeats(&mut self, request: Option<WireRequest>) {
        match request {
            Some(request) => {
                let knock = self.knock_of(Asker::Script("the repetition".into()));
                self.put(self.now + LATENCY, Delivery::Knock(knock, request));
            }
            None => self.tell("warning: that was not asked yet"),
        }
    }

    /// The process is dead: its sockets are cut, nobody answers, and another one comes.
    fn is_gone(&mut self, down: Duration) {
        let mut sockets: Vec<Knock> = self.sockets.keys().copied().collect();
        // One that was just opened is not known to be: its end comes behind that.
        sockets.extend(self.deliveries.values().filter_map(|delivery| match delivery {
            Delivery::News(News::Upgraded { knock }) => Some(*knock),
            _ => None,
        }));
        for knock in sockets {
            self.put(self.now + LATENCY, Delivery::Cut(knock));
        }
        for knock in std::mem::take(&mut self.asked) {
            self.put(self.now + LATENCY, Delivery::Broken(knock));
        }
        self.is_down = true;
        self.put(self.now + down, Delivery::Restart);
    }

    /// A message of the call's socket is on its way: it may be the last one.
    fn socket_passes(&mut self, knock: Knock) {
        let is_calls = matches!(self.sockets.get(&knock), Some(Asker::LineSocket(_)));
        match &mut self.socket_dies {
            Some(0) if is_calls => {
                self.socket_dies = None;
                self.line_hears(Input::Caller(CallerAct::DropsSocket));
            }
            Some(behind) if is_calls => *behind -= 1,
            _ => {}
        }
    }

    /// A request of the script's own, signed as the network's.
    fn asks(&mut self, path: &str, fields: &[(&str, &str)], signed: bool, asker: Asker) {
        let base = [
            ("AccountSid", "AC00000000000000000000000000000000"),
            ("From", "+14155550100"),
            ("To", "+14155550199"),
            ("Direction", "inbound"),
        ];
        let fields: Vec<(String, String)> = base
            .iter()
            .chain(fields)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let request =
            wire::post(path, &fields, (signed && self.transcript.head.house.signed).then_some(AUTH_TOKEN));
        let knock = self.knock_of(asker);
        self.put(self.now + LATENCY, Delivery::Knock(knock, request));
    }

    fn knock_of(&mut self, asker: Asker) -> Knock {
        self.knocks += 1;
        self.askers.insert(self.knocks, asker);
        self.knocks
    }

    fn line_hears(&mut self, input: Input) {
        if let Input::Caller(CallerAct::HangsUp) = &input
            && self.line.status().is_terminal()
        {
            self.tell("warning: the line is over already");
        }
        let mut effects = Vec::new();
        self.line.handle(self.stage.now(), input, &mut effects);
        self.do_effects(effects);
    }

    fn do_effects(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Request(request) => self.line_asks(request),
                Effect::OpenSocket { socket, url, headers } => {
                    let knock = self.knock_of(Asker::LineSocket(socket));
                    let request = wire::upgrade(&url, headers);
                    self.put(self.now + LATENCY, Delivery::Knock(knock, request));
                }
                Effect::SendText { socket, text } => {
                    if let Some(knock) = self.socket_of(socket) {
                        let first = text.starts_with(r#"{"event":"connected""#)
                            || text.starts_with(r#"{"event":"start""#);
                        let latency = if first { LATENCY } else { STREAM_LATENCY };
                        self.put(self.now + latency, Delivery::Text(knock, text));
                    }
                }
                Effect::CloseSocket { socket, code } => self.line_closes(socket, Some(code)),
                Effect::AbortSocket { socket } => self.line_closes(socket, None),
                Effect::Heard { .. } => {}
                Effect::Experience(experience) => {
                    if let Some(line) = experienced(&experience) {
                        let line = line.replace(ORIGIN, "");
                        self.tell(line.replace(&self.call, "CA…"));
                    }
                }
            }
        }
    }

    fn line_asks(&mut self, request: Request) {
        let id = request.id;
        let request = wire::of(request);
        if !request.target.starts_with("/webhooks/twilio/") {
            self.documents.push(request.clone());
        }
        let knock = self.knock_of(Asker::Line(id));
        self.put(self.now + LATENCY, Delivery::Knock(knock, request));
    }

    fn line_closes(&mut self, socket: u64, code: Option<u16>) {
        if let Some(knock) = self.socket_of(socket) {
            self.sockets.remove(&knock);
            self.put(self.now + STREAM_LATENCY, Delivery::Close(knock, code));
        }
    }

    fn socket_of(&self, socket: u64) -> Option<Knock> {
        let wanted = Asker::LineSocket(socket);
        self.sockets.iter().find(|(_, asker)| **asker == wanted).map(|(knock, _)| *knock)
    }

    fn news(&mut self, news: News) {
        match news {
            News::Written(batch) => {
                for entry in batch {
                    for line in self.teller.written(&entry) {
                        self.tell(line);
                    }
                    self.written.push(entry);
                }
            }
            News::Answered { knock, status, content_type, body } => {
                self.answered(knock, status, content_type, body);
            }
            News::Upgraded { knock } => {
                let Some(asker) = self.askers.remove(&knock) else { return };
                self.sockets.insert(knock, asker.clone());
                match asker {
                    Asker::LineSocket(socket) => self.line_hears(Input::SocketUp { socket }),
                    Asker::Script(name) => self.tell(format!("{name} is open")),
                    Asker::Line(_) | Asker::Callback => {}
                }
            }
            News::SocketText { socket, text } => {
                self.socket_passes(socket);
                // What a socket of the script's own is sent is nobody's sound.
                if let Some(Asker::LineSocket(id)) = self.sockets.get(&socket) {
                    let socket = *id;
                    self.line_hears(Input::SocketText { socket, text });
                }
            }
            News::SocketClosed { socket, code } => self.socket_ended(socket, code),
            News::AsksNetwork { ask, request } => self.asks_network(ask, &request),
            News::Ending { knock, text } => {
                self.askers.remove(&knock);
                self.tell(format!("api answers: {text}"));
            }
            News::Asked(_) => {}
            News::Died { .. } => self.tell("the server dies"),
        }
    }

    /// The pretend network's REST API: it knows the one line of the play.
    fn asks_network(&mut self, ask: u64, request: &ApiRequest) {
        if self.transcript.head.has_no_rest() {
            return self.put(self.now + LATENCY, Delivery::Api(ask, None));
        }
        let mut effects = Vec::new();
        let reply = match props::account().read(request) {
            Ok(asked) => self.asked_line(&asked, &mut effects),
            Err(refusal) => refusal,
        };
        self.put(self.now + LATENCY, Delivery::Api(ask, Some(reply)));
        self.do_effects(effects);
    }

    fn asked_line(&mut self, asked: &Asked, effects: &mut Vec<Effect>) -> ApiReply {
        let now = self.stage.now();
        let known = match asked {
            Asked::Fetch { call } | Asked::End { call } | Asked::Redirect { call, .. } => *call == self.call,
            Asked::List { .. }
            | Asked::Dial(_)
            | Asked::Account
            | Asked::Numbers { .. }
            | Asked::Number { .. } => false,
        };
        match asked {
            Asked::List { .. } => {
                ApiReply { status: 200, body: serde_json::json!({"calls": [self.line.resource(now)]}) }
            }
            _ if known => self.line.asked(now, asked, effects),
            _ => ApiReply::not_found("a call"),
        }
    }

    fn socket_ended(&mut self, knock: Knock, code: Option<u16>) {
        let asker = self.sockets.remove(&knock).or_else(|| self.askers.remove(&knock));
        match asker {
            Some(Asker::LineSocket(socket)) => self.line_hears(Input::SocketClosed { socket, code }),
            Some(Asker::Script(name)) => {
                let code = code.map_or("without a close".to_owned(), |code| code.to_string());
                self.tell(format!("{name} is closed, {code}"));
            }
            _ => {}
        }
    }

    fn answered(&mut self, knock: Knock, status: u16, content_type: String, body: String) {
        let document = crate::network::twiml::read(&body).ok().filter(|_| status == 200 && !body.is_empty());
        let asker = self.askers.remove(&knock);
        if let Some(document) = &document {
            world::remember_streams(&body, &mut self.streams);
            let said = match &asker {
                Some(Asker::Script(name)) => format!("{name} gets {document}"),
                _ => format!("gives {document}"),
            };
            self.tell(said.replace(&self.call, "CA…"));
        }
        let refused = document.is_none() && status >= 300;
        match asker {
            Some(Asker::Line(request)) => {
                if refused {
                    self.tell(format!("answers {status} {}", body.trim_end()));
                }
                let reply = Reply { status, content_type, location: None, body };
                self.line_hears(Input::Answered { request, reply });
            }
            Some(Asker::LineSocket(socket)) => {
                self.tell(format!("refuses the stream: {status} {}", body.trim_end()));
                self.line_hears(Input::SocketRefused { socket, status });
            }
            Some(Asker::Script(name)) if document.is_none() => {
                self.tell(format!("{name} gets {status} {}", body.trim_end()).trim_end().to_owned());
            }
            Some(Asker::Callback) if status >= 300 => {
                self.tell(format!("the callback gets {status}"));
            }
            _ => {}
        }
    }
}

/// The name by which the story's call is known.
pub fn call_of(transcript: &Transcript) -> CallId {
    CallId(transcript.head.line().call_sid)
}
