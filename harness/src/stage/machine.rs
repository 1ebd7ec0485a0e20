//! The bare machines: no actor, no runtime, nothing but calls of plain functions.
//!
//! What the registries and the door do around the machines stands here a second time, as loops; that both stages tell
//! the same story is what tests the actors.

use super::props::{Elsewhere, Mint, Reel, Shelf, Sounds, WALL_MS, links, render};
use super::{HouseConfig, Knock, News, Stage, WireRequest, props};
use crate::network::rest::ApiReply;
use holdline_actors::call_registry::{ENDED_MAX, fold_call};
use holdline_actors::carrier::reading::{Conversation, Heard, format_trouble};
use holdline_actors::door::FlowBook;
use holdline_actors::port::journal::{Journal, Kind, Listed, MemoryJournal};
use holdline_actors::port::recording::RecordingFile;
use holdline_core::call::begin::{NewCall, new_call, turned_away};
use holdline_core::call::{
    Answer, AskNo, Call, CallConfig, CallEnd, CallState, Effect, Input, Request, StreamNo, StreamOut,
};
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::flow::run::{Run, RunSpec};
use holdline_core::front::{self, Ask, Entry as Door, FrontConfig, Refusal};
use holdline_core::notice::{Arrival, NetworkStatus};
use holdline_core::provider::twilio::stream::Start;
use holdline_core::provider::twilio::{twiml, webhook};
use holdline_core::roster::{Roster, Verdict};
use holdline_core::scene::RecordingReport;
use holdline_core::workflow::{self, Workflow, run_facts};
use holdline_core::{CallId, Machine, Now, RunId, Tick, WorkflowId};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// A machine that wakes this often in a row without a word is stuck.
const WAKES_MAX: u32 = 1_000_000;

pub struct MachineStage {
    now: Now,
    config: HouseConfig,
    call_config: Arc<CallConfig>,
    front: FrontConfig,
    shelf: Shelf,
    /// Runs that follow on the end of a flow, to be woken when its call's turn is done.
    followers: Vec<RunId>,
    mint: Mint,
    journal: MemoryJournal,
    roster: Roster,
    calls: BTreeMap<CallId, Session>,
    ended: BTreeMap<CallId, Ended>,
    parents: BTreeMap<RunId, Workflow>,
    sockets: BTreeMap<Knock, Socket>,
    waiting: BTreeMap<(CallId, AskNo), Waiter>,
    last_ask: u64,
    /// Questions to the network's REST API that are under way.
    reaching: BTreeMap<u64, (CallId, u64)>,
    last_asked: u64,
    down: bool,
    news: Vec<News>,
}

struct Session {
    workflow: WorkflowId,
    call: Call,
    life: Life,
    /// Written in one batch with the call's own first facts.
    first: Vec<Entry>,
    sockets: BTreeMap<StreamNo, Knock>,
    reel: Option<Reel>,
}

enum Life {
    Unborn(Box<RunSpec>),
    Running(Box<Run>),
    Gone,
}

struct Ended {
    workflow: WorkflowId,
    rejected: bool,
}

struct Socket {
    conversation: Conversation,
    /// Its call, once that is known.
    call: Option<CallId>,
    workflow: WorkflowId,
    hint: Option<CallId>,
    start_by: Tick,
}

/// What a call's answer is for.
enum Waiter {
    Document { knock: Knock },
    Notice { knock: Knock },
    Open { knock: Knock, workflow: WorkflowId },
    Attach { socket: Knock, start: Start },
    Api { knock: Knock },
}

/// Why no session answers.
enum NotHere {
    Unknown,
    OtherWorkflow,
    Ended { rejected: bool },
    TurnedAway,
}

struct Known<'a>(&'a Shelf);

impl front::Flows for Known<'_> {
    fn exists(&self, id: &str) -> bool {
        self.0.find(&WorkflowId(id.to_owned())).is_some()
    }
}

impl MachineStage {
    pub fn new(config: HouseConfig, shelf: Shelf) -> MachineStage {
        MachineStage {
            now: Now { tick: Tick(0), wall_ms: WALL_MS },
            call_config: Arc::new(props::call_config(&config)),
            front: props::front_config(&config),
            roster: Roster::new(config.max_calls),
            config,
            shelf,
            followers: Vec::new(),
            mint: Mint::default(),
            journal: MemoryJournal::new(),
            calls: BTreeMap::new(),
            ended: BTreeMap::new(),
            parents: BTreeMap::new(),
            sockets: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_ask: 0,
            reaching: BTreeMap::new(),
            last_asked: 0,
            down: false,
            news: Vec::new(),
        }
    }

    // ---- requests

    fn admitted(&mut self, knock: Knock, ask: Ask) {
        match ask {
            Ask::Voice(voice) => {
                let request = Request::Voice {
                    status: voice.arrival.status,
                    answer: voice.answer,
                    key: voice.idempotency,
                };
                self.arrive(voice.workflow, voice.arrival, request, Waiter::Document { knock });
            }
            Ask::Next(next) => {
                let request = Request::Next {
                    x: next.x,
                    a: next.a,
                    status: next.arrival.status,
                    answer: next.answer,
                    key: next.idempotency,
                };
                self.arrive(next.workflow, next.arrival, request, Waiter::Document { knock });
            }
            Ask::Wait(wait) => {
                let request = Request::Wait { x: wait.x.unwrap_or(0), w: wait.w };
                self.deliver(&wait.call, Some(&wait.workflow), request, Waiter::Document { knock });
            }
            Ask::Status(notice) => {
                let call = notice.parent.clone().unwrap_or_else(|| notice.call.clone());
                self.deliver(&call, None, Request::Status(notice), Waiter::Notice { knock });
            }
            // This stage places no calls: it is a status like any other.
            Ask::Placed(placed) => self.admitted(knock, Ask::Status(placed.notice)),
            Ask::StreamEvent(notice) => {
                let call = notice.call.clone();
                self.deliver(&call, None, Request::Stream(notice), Waiter::Notice { knock });
            }
            Ask::Recording(notice) => {
                let call = notice.call.clone();
                self.deliver(&call, None, Request::Recording(notice), Waiter::Notice { knock });
            }
            Ask::Conference(notice) => match notice.call.clone() {
                Some(call) => {
                    self.deliver(&call, None, Request::Conference(notice), Waiter::Notice { knock });
                }
                None => self.answer(knock, 204, ""),
            },
            Ask::Stream { workflow, entry: Door::Ticket { call, token } } => {
                let waiter = Waiter::Open { knock, workflow: workflow.clone() };
                self.deliver(&call, Some(&workflow), Request::Open { token: token.0 }, waiter);
            }
            Ask::Stream { workflow, entry: Door::Hint(call) } => {
                self.open_socket(knock, workflow, None, Some(call), None);
            }
            Ask::Stream { workflow, entry: Door::Bare } | Ask::BareStream { workflow } => {
                self.open_socket(knock, workflow, None, None, None);
            }
            Ask::BareTwiml { workflow } => {
                let body = twiml::bare_stream(&links(&workflow, ""));
                self.answer(knock, 200, &body);
            }
            Ask::Health | Ask::Ready => self.answer(knock, 200, "ok\n"),
        }
    }

    /// A request that may begin a call.
    fn arrive(&mut self, workflow: WorkflowId, arrival: Arrival, request: Request, waiter: Waiter) {
        let call = arrival.call.clone();
        if let Some(ended) = self.ended.get(&call) {
            let rejected = ended.rejected;
            let other = ended.workflow != workflow;
            let why = if other { NotHere::OtherWorkflow } else { NotHere::Ended { rejected } };
            return self.not_here(waiter, &why);
        }
        if self.calls.get(&call).is_some_and(|session| session.workflow != workflow) {
            return self.not_here(waiter, &NotHere::OtherWorkflow);
        }
        if self.shelf.find(&workflow).is_none() {
            // Deleted under its calls, which go on; no other begins.
            return match waiter {
                waiter if self.calls.contains_key(&call) => self.ask(&call, request, waiter),
                Waiter::Document { knock } => {
                    let refusal = Refusal::unknown_workflow(&workflow.0);
                    self.answer(knock, refusal.status, &format!("{}\n", refusal.message));
                }
                waiter => self.not_here(waiter, &NotHere::Unknown),
            };
        }
        let Some(new) = self.new_call(&workflow, arrival.clone()) else {
            return self.fail(waiter, "the workflow cannot be started");
        };
        match self.roster.arrive(&call) {
            Verdict::Known => self.ask(&call, request, waiter),
            Verdict::Spawn => {
                self.spawn(workflow, new);
                let request = match request {
                    Request::Next { status, answer, key, .. } => Request::Voice { status, answer, key },
                    request => request,
                };
                self.ask(&call, request, waiter);
            }
            Verdict::TurnAway => {
                let overflow = self.config.overflow.clone().filter(|_| !self.roster.is_draining());
                match overflow.and_then(|id| self.new_call(&id, arrival.clone())) {
                    Some(overflow) => {
                        self.roster.reopen(&call);
                        self.spawn(workflow, overflow);
                        self.ask(&call, request, waiter);
                    }
                    None => {
                        let run = RunId(self.mint.next(self.now.wall_ms));
                        let batch = turned_away(self.now, arrival, workflow.clone(), run);
                        self.append(batch);
                        self.close_story(&Key::Call(call.clone()));
                        self.ended.insert(call, Ended { workflow, rejected: true });
                        self.not_here(waiter, &NotHere::TurnedAway);
                    }
                }
            }
        }
    }

    fn new_call(&mut self, workflow: &WorkflowId, arrival: Arrival) -> Option<NewCall> {
        let script = self.shelf.find(workflow)?;
        let wall_ms = self.now.wall_ms;
        let ids = (RunId(self.mint.next(wall_ms)), RunId(self.mint.next(wall_ms)));
        new_call(self.now, arrival, &script, &|id| self.shelf.find(id), ids).ok()
    }

    fn spawn(&mut self, workflow: WorkflowId, new: NewCall) {
        let NewCall { arrived, sub, main } = new;
        let Some(call) = Call::arrive(self.now, self.call_config.clone(), arrived) else { return };
        let id = call.state().arrival.call.clone();
        let session = Session {
            workflow,
            call,
            life: Life::Unborn(Box::new(sub)),
            first: main,
            sockets: BTreeMap::new(),
            reel: None,
        };
        self.calls.insert(id, session);
    }

    /// A request for a call that must be known.
    fn deliver(&mut self, call: &CallId, workflow: Option<&WorkflowId>, request: Request, waiter: Waiter) {
        let known = self.calls.get(call).map(|session| &session.workflow);
        let known = known.or_else(|| self.ended.get(call).map(|ended| &ended.workflow));
        if let (Some(known), Some(asked)) = (known, workflow)
            && known != asked
        {
            return self.not_here(waiter, &NotHere::OtherWorkflow);
        }
        self.ask(call, request, waiter);
    }

    fn ask(&mut self, call: &CallId, request: Request, waiter: Waiter) {
        if !self.calls.contains_key(call) {
            let why = match self.ended.get(call) {
                Some(ended) => NotHere::Ended { rejected: ended.rejected },
                None => NotHere::Unknown,
            };
            return self.not_here(waiter, &why);
        }
        self.last_ask += 1;
        let ask = AskNo(self.last_ask);
        self.waiting.insert((call.clone(), ask), waiter);
        self.turn(call, Input::Asked { ask, request });
    }

    fn not_here(&mut self, waiter: Waiter, why: &NotHere) {
        match waiter {
            Waiter::Document { knock } => match why {
                NotHere::Ended { rejected: false } => self.answer(knock, 200, &twiml::hangup()),
                NotHere::Ended { rejected: true } | NotHere::TurnedAway => {
                    self.answer(knock, 200, &twiml::reject("busy"));
                }
                NotHere::Unknown | NotHere::OtherWorkflow => {
                    self.answer(knock, 404, "no such workflow or call\n");
                }
            },
            Waiter::Notice { knock } => {
                let status = if matches!(why, NotHere::Ended { .. }) { 204 } else { 200 };
                self.answer(knock, status, "");
            }
            Waiter::Open { knock, .. } => match why {
                NotHere::OtherWorkflow => self.answer(knock, 404, "no such workflow or call\n"),
                _ => self.answer(knock, 403, "the call is not known\n"),
            },
            Waiter::Attach { socket, start } => {
                let workflow = self.sockets.get(&socket).map(|socket| socket.workflow.clone());
                match (why, workflow) {
                    (NotHere::Unknown, Some(workflow)) if self.front.bare_streams => {
                        self.register_bare(socket, workflow, start);
                    }
                    _ => self.close_socket(socket, 1008),
                }
            }
            Waiter::Api { knock } => {
                let text = match why {
                    NotHere::Ended { .. } => "already ended",
                    _ => "call not found",
                };
                self.news.push(News::Ending { knock, text: text.to_owned() });
            }
        }
    }

    fn fail(&mut self, waiter: Waiter, why: &str) {
        match waiter {
            Waiter::Document { knock }
            | Waiter::Notice { knock }
            | Waiter::Open { knock, .. }
            | Waiter::Api { knock } => self.answer(knock, 503, &format!("{why}\n")),
            Waiter::Attach { socket, .. } => self.close_socket(socket, 1008),
        }
    }

    /// A call's answer goes to whoever asked.
    fn answered(&mut self, call: &CallId, workflow: &WorkflowId, ask: AskNo, answer: Answer) {
        let Some(waiter) = self.waiting.remove(&(call.clone(), ask)) else { return };
        match (waiter, answer) {
            (Waiter::Document { knock }, Answer::Document { plan }) => {
                let body = render(call, workflow, &plan);
                self.answer(knock, 200, &body);
            }
            (Waiter::Document { knock }, Answer::Hangup) => self.answer(knock, 200, &twiml::hangup()),
            (Waiter::Document { knock }, Answer::WaitDocument { exchange, turn, verbs }) => {
                let links = links(workflow, &call.0);
                self.answer(knock, 200, &twiml::wait_document(&verbs, &links, exchange, turn));
            }
            (Waiter::Document { knock }, Answer::Denied { why }) => {
                self.answer(knock, 503, &format!("{why}\n"));
            }
            (Waiter::Document { knock } | Waiter::Notice { knock }, _) => self.answer(knock, 204, ""),
            (Waiter::Open { knock, workflow }, Answer::Admitted { stream, .. }) => {
                self.open_socket(knock, workflow, Some(call.clone()), None, Some(stream));
                self.join(knock, call, stream);
            }
            (Waiter::Open { knock, .. }, Answer::Denied { why }) => {
                self.answer(knock, 403, &format!("{why}\n"))
            }
            (Waiter::Open { knock, .. }, _) => self.answer(knock, 403, "the call is over\n"),
            (Waiter::Attach { socket, start }, Answer::Admitted { stream, .. }) => {
                if let Some(found) = self.sockets.get_mut(&socket) {
                    found.call = Some(call.clone());
                    found.conversation.becomes(stream);
                }
                self.join(socket, call, stream);
                let trouble = format_trouble(&start);
                self.turn(call, Input::StreamUp { stream, stream_sid: start.stream_sid, trouble });
            }
            (Waiter::Attach { socket, .. }, _) => self.close_socket(socket, 1008),
            (Waiter::Api { knock }, Answer::Ending { deferred }) => {
                let text = if deferred { "ending, deferred" } else { "ending" };
                self.news.push(News::Ending { knock, text: text.to_owned() });
            }
            (Waiter::Api { knock }, _) => {
                self.news.push(News::Ending { knock, text: "no answer".to_owned() });
            }
        }
    }

    fn answer(&mut self, knock: Knock, status: u16, body: &str) {
        let content_type = match (status, body) {
            (_, "") => "",
            (200, body) if body.starts_with('<') => "text/xml; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        };
        let (content_type, body) = (content_type.to_owned(), body.to_owned());
        self.news.push(News::Answered { knock, status, content_type, body });
    }

    // ---- sockets

    fn open_socket(
        &mut self,
        knock: Knock,
        workflow: WorkflowId,
        call: Option<CallId>,
        hint: Option<CallId>,
        stream: Option<StreamNo>,
    ) {
        let conversation = Conversation::new(stream);
        let start_by = self.now.tick + self.config.start_deadline;
        self.sockets.insert(knock, Socket { conversation, call, workflow, hint, start_by });
        self.news.push(News::Upgraded { knock });
    }

    fn join(&mut self, knock: Knock, call: &CallId, stream: StreamNo) {
        if let Some(session) = self.calls.get_mut(call) {
            session.sockets.insert(stream, knock);
        }
    }

    fn heard(&mut self, knock: Knock, heard: Heard) {
        let call = self.sockets.get(&knock).and_then(|socket| socket.call.clone());
        match (heard, call) {
            (Heard::Nothing, _) | (Heard::Tell(_), None) => {}
            (Heard::Close(code), _) => self.close_socket(knock, code),
            (Heard::Tell(input), Some(call)) => self.turn(&call, input),
            (Heard::Started(start), Some(call)) => {
                let named = start.call_sid.as_deref().or(start.parameters.get("callSid").map(String::as_str));
                if named.is_some_and(|named| named != call.0) {
                    return self.close_socket(knock, 1008);
                }
                let stream = self.sockets.get(&knock).and_then(|socket| socket.conversation.stream());
                let Some(stream) = stream else { return };
                let trouble = format_trouble(&start);
                self.turn(&call, Input::StreamUp { stream, stream_sid: start.stream_sid, trouble });
            }
            (Heard::Started(start), None) => self.attach(knock, start),
        }
    }

    fn attach(&mut self, knock: Knock, start: Start) {
        let Some(socket) = self.sockets.get(&knock) else { return };
        let named = start.call_sid.clone().or_else(|| start.parameters.get("callSid").cloned());
        let call = match (named, &socket.hint) {
            (Some(named), Some(hint)) if named != hint.0 => None,
            (Some(named), _) => webhook::call_id(&named),
            (None, hint) => hint.clone(),
        };
        let workflow = socket.workflow.clone();
        match call {
            Some(call) => {
                let waiter = Waiter::Attach { socket: knock, start };
                self.deliver(&call, Some(&workflow), Request::Attach, waiter);
            }
            None => self.close_socket(knock, 1008),
        }
    }

    fn register_bare(&mut self, socket: Knock, workflow: WorkflowId, start: Start) {
        let parameter = |name: &str| start.parameters.get(name).cloned();
        let named = start.call_sid.clone().or_else(|| parameter("callSid"));
        let Some(call) = named.as_deref().and_then(webhook::call_id) else { return };
        let arrival = Arrival {
            call,
            account: start.account.clone().unwrap_or_default(),
            from: parameter("from").unwrap_or_default(),
            to: parameter("to").unwrap_or_default(),
            direction: "inbound".into(),
            status: Some(NetworkStatus::InProgress),
            caller_name: None,
            forwarded_from: None,
        };
        self.arrive(workflow, arrival, Request::Attach, Waiter::Attach { socket, start });
    }

    /// We close; the other end is told, and the call that this socket is gone.
    fn close_socket(&mut self, knock: Knock, code: u16) {
        if self.sockets.contains_key(&knock) {
            self.news.push(News::SocketClosed { socket: knock, code: Some(code) });
            self.socket_gone(knock);
        }
    }

    fn socket_gone(&mut self, knock: Knock) {
        let Some(socket) = self.sockets.remove(&knock) else { return };
        if let (Some(call), Some(stream)) = (socket.call, socket.conversation.stream()) {
            if let Some(session) = self.calls.get_mut(&call) {
                session.sockets.remove(&stream);
            }
            self.turn(&call, Input::StreamDown { stream });
        }
    }

    // ---- machines

    fn turn(&mut self, call: &CallId, input: Input) {
        let mut todo = VecDeque::from([input]);
        while let Some(input) = todo.pop_front() {
            let Some(session) = self.calls.get_mut(call) else { return };
            let mut effects = Vec::new();
            session.call.handle(self.now, input, &mut effects);
            self.perform(call, effects, &mut todo);
        }
        self.bury(call);
    }

    fn wake(&mut self, call: &CallId) {
        let Some(session) = self.calls.get_mut(call) else { return };
        let (mut effects, mut todo) = (Vec::new(), VecDeque::new());
        session.call.wake(self.now, &mut effects);
        self.perform(call, effects, &mut todo);
        match todo.pop_front() {
            Some(first) => {
                let rest: Vec<Input> = todo.into();
                self.turn(call, first);
                rest.into_iter().for_each(|input| self.turn(call, input));
            }
            None => self.bury(call),
        }
    }

    fn perform(&mut self, call: &CallId, effects: Vec<Effect>, todo: &mut VecDeque<Input>) {
        for effect in effects {
            let Some(session) = self.calls.get_mut(call) else { return };
            match effect {
                Effect::Record(facts) => {
                    let wall_ms = self.now.wall_ms;
                    let key = Key::Call(call.clone());
                    let mut batch = std::mem::take(&mut session.first);
                    batch.extend(facts.into_iter().map(|fact| Entry { key: fact.key(&key), wall_ms, fact }));
                    self.append(batch);
                }
                Effect::Take { turn, posture, event } => {
                    if let Some((run, born)) = session.run(self.now, &self.shelf) {
                        let mut report = run.take(self.now, &posture, event);
                        report.facts.splice(0..0, born);
                        todo.push_back(Input::Took { turn, report });
                    }
                }
                Effect::WaitTurn { ask, exchange, turn } => {
                    if let Some((run, _)) = session.run(self.now, &self.shelf) {
                        let elsewhere = run.wait_workflow().map(|id| WorkflowId(id.to_owned()));
                        let verbs = match elsewhere.map(|id| self.shelf.find(&id)) {
                            None => run.wait_turn(self.now, turn + 1),
                            Some(Some(script)) => run.wait_turn_of(self.now, turn + 1, &script.actions),
                            Some(None) => Vec::new(),
                        };
                        todo.push_back(Input::Waited { ask, exchange, turn, verbs });
                    }
                }
                Effect::Answer { ask, answer } => {
                    let workflow = session.workflow.clone();
                    self.answered(call, &workflow, ask, answer);
                }
                Effect::Transmit { stream, out } => {
                    if let Some(knock) = session.sockets.get(&stream).copied() {
                        self.send(knock, &out);
                    }
                }
                Effect::CloseStream { stream, code } => {
                    if let Some(knock) = session.sockets.remove(&stream) {
                        self.sockets.remove(&knock);
                        self.news.push(News::SocketClosed { socket: knock, code: Some(code) });
                        todo.push_back(Input::StreamDown { stream });
                    }
                }
                Effect::Load { sound, what } => {
                    todo.push_back(Input::Loaded { sound, audio: Sounds.sound(&what) });
                }
                Effect::OpenEcho { echo } => todo.push_back(Input::EchoOpen { echo }),
                Effect::Fetch { no, errand } => {
                    todo.push_back(Input::Fetched { no, outcome: Elsewhere::answer(&errand) });
                }
                Effect::Reach { no, errand } => {
                    if let Some(request) = props::api_request(&errand) {
                        self.last_asked += 1;
                        self.reaching.insert(self.last_asked, (call.clone(), no));
                        self.news.push(News::AsksNetwork { ask: self.last_asked, request });
                    }
                }
                Effect::Count(_) => {}
                // It stays owed: who sends it is no part of this stage.
                Effect::Deliver(_) => {}
                Effect::OpenRecording { .. } => session.reel = Some(Reel::default()),
                Effect::AppendRecording { pcm } => {
                    if let Some(reel) = &mut session.reel {
                        reel.append(pcm);
                    }
                }
                Effect::CloseRecording { report } => {
                    let report = match session.reel.take() {
                        Some(reel) => RecordingReport { bytes: reel.bytes(), ..report },
                        None => RecordingReport { ended_by: "failed".into(), ..report },
                    };
                    todo.push_back(Input::RecordingClosed { report });
                }
                Effect::TellParent { run, completion } => self.tell_parent(run, call, completion, todo),
                Effect::Follow { run } => self.followers.push(run),
                Effect::Summary(_) => {}
                Effect::Finished => self.close_story(&Key::Call(call.clone())),
            }
        }
    }

    fn send(&mut self, knock: Knock, out: &StreamOut) {
        if let Some(socket) = self.sockets.get(&knock) {
            let mut text = String::new();
            socket.conversation.write(out, &mut text);
            self.news.push(News::SocketText { socket: knock, text });
        }
    }

    fn bury(&mut self, call: &CallId) {
        for run in std::mem::take(&mut self.followers) {
            self.reopen(Key::Run(run));
        }
        if self.calls.get(call).is_some_and(|session| session.call.is_over())
            && let Some(session) = self.calls.remove(call)
        {
            self.roster.died(self.now, call, false);
            self.ended.insert(call.clone(), Ended { workflow: session.workflow, rejected: false });
            for knock in session.sockets.into_values() {
                self.sockets.remove(&knock);
            }
        }
    }

    fn tell_parent(&mut self, run: RunId, call: &CallId, completion: Value, todo: &mut VecDeque<Input>) {
        if !self.parents.contains_key(&run) {
            let Some(workflow) = self.fold_parent(run) else { return };
            self.parents.insert(run, workflow);
        }
        let Some(workflow) = self.parents.get_mut(&run) else { return };
        let mut effects = Vec::new();
        workflow.handle(self.now, workflow::Input::CallOver { call: call.clone(), completion }, &mut effects);
        self.perform_parent(run, effects, todo);
    }

    fn fold_parent(&self, run: RunId) -> Option<Workflow> {
        let entries = self.journal.read(&Key::Run(run)).ok()?;
        let facts: Vec<Fact> = entries.into_iter().map(|entry| entry.fact).collect();
        let mut workflow = Workflow::restore(self.now, facts.iter())?;
        workflow.bind(Arc::new(self.shelf.clone()));
        Some(workflow)
    }

    fn perform_parent(&mut self, run: RunId, effects: Vec<workflow::Effect>, todo: &mut VecDeque<Input>) {
        let mut answers = Vec::new();
        for effect in effects {
            match effect {
                workflow::Effect::Record(facts) => {
                    let (key, wall_ms) = (Key::Run(run), self.now.wall_ms);
                    let entry = |fact: Fact| Entry { key: fact.key(&key), wall_ms, fact };
                    self.append(facts.into_iter().map(entry).collect());
                }
                workflow::Effect::Fetch { no, errand } => {
                    answers.push(workflow::Input::Fetched { no, outcome: Elsewhere::answer(&errand) });
                }
                workflow::Effect::Deliver(_) | workflow::Effect::Answer { .. } => {}
                workflow::Effect::Follow { run } => self.reopen(Key::Run(run)),
                workflow::Effect::Ack { .. } => todo.push_back(Input::Acked),
                workflow::Effect::Over { run, .. } => self.close_story(&Key::Run(run)),
            }
        }
        for answer in answers {
            let Some(workflow) = self.parents.get_mut(&run) else { return };
            let mut effects = Vec::new();
            workflow.handle(self.now, answer, &mut effects);
            self.perform_parent(run, effects, todo);
        }
        if self.parents.get(&run).is_some_and(Machine::is_over) {
            self.parents.remove(&run);
        }
    }

    fn wake_parent(&mut self, run: RunId, resume: bool) {
        let Some(workflow) = self.parents.get_mut(&run) else { return };
        let mut effects = Vec::new();
        if resume {
            workflow.handle(self.now, workflow::Input::Resume, &mut effects);
        } else {
            workflow.wake(self.now, &mut effects);
        }
        self.perform_parent(run, effects, &mut VecDeque::new());
    }

    fn append(&mut self, batch: Vec<Entry>) {
        // The journal in memory takes everything.
        let _ = self.journal.append(&batch);
        self.news.push(News::Written(batch));
    }

    fn close_story(&mut self, key: &Key) {
        let _ = self.journal.close(key);
    }

    fn reopen(&mut self, key: Key) {
        let entries = self.journal.read(&key).unwrap_or_default();
        match key {
            Key::Call(id) => {
                let Some(state) = fold_call(&entries) else { return };
                let facts: Vec<Fact> = entries.into_iter().map(|entry| entry.fact).collect();
                let life = match Run::restore(self.now, run_facts(facts.iter())) {
                    Ok(mut run) => {
                        run.bind(Arc::new(self.shelf.clone()));
                        Life::Running(Box::new(run))
                    }
                    Err(_) => Life::Gone,
                };
                let workflow = state.workflow.clone();
                let call = Call::restore(self.now, self.call_config.clone(), state);
                let session =
                    Session { workflow, call, life, first: Vec::new(), sockets: BTreeMap::new(), reel: None };
                self.roster.reopen(&id);
                self.calls.insert(id.clone(), session);
                self.wake(&id);
            }
            Key::Run(run) => {
                if let Some(workflow) = self.fold_parent(run).filter(|workflow| workflow.waiting().is_none())
                {
                    self.parents.insert(run, workflow);
                    self.wake_parent(run, true);
                }
            }
            Key::Delivery(_) | Key::Placement(_) | Key::Flow(_) => {}
        }
    }

    /// The first instant at which something of the house is due, on whole milliseconds as real timers are.
    fn due(&self) -> Option<Tick> {
        let calls = self.calls.values().filter_map(|session| session.call.wake_at());
        let parents = self.parents.values().filter_map(Machine::wake_at);
        let silent = self.sockets.values().filter(|socket| !socket.conversation.has_started());
        let first = calls.chain(parents).chain(silent.map(|socket| socket.start_by)).min()?;
        Some(Tick(first.0.div_ceil(1000) * 1000).max(self.now.tick))
    }

    fn advance(&mut self, to: Tick) {
        self.now = Now { tick: to, wall_ms: WALL_MS + to.as_millis() };
    }

    fn wake_due(&mut self) {
        let now = self.now.tick;
        let is_due = |due: Option<Tick>| due.is_some_and(|due| due <= now);
        let calls = self.calls.iter().filter(|(_, session)| is_due(session.call.wake_at()));
        for call in calls.map(|(call, _)| call.clone()).collect::<Vec<_>>() {
            self.wake(&call);
        }
        let parents = self.parents.iter().filter(|(_, workflow)| is_due(workflow.wake_at()));
        for run in parents.map(|(run, _)| *run).collect::<Vec<_>>() {
            self.wake_parent(run, false);
        }
        let silent = self.sockets.iter();
        let silent =
            silent.filter(|(_, socket)| !socket.conversation.has_started() && socket.start_by <= now);
        for knock in silent.map(|(knock, _)| *knock).collect::<Vec<_>>() {
            self.close_socket(knock, 1008);
        }
    }
}

impl Session {
    /// The run, begun if it was not, and the facts of its beginning.
    fn run(&mut self, now: Now, shelf: &Shelf) -> Option<(&mut Run, Vec<holdline_core::fact::RunFact>)> {
        let mut born = Vec::new();
        if let Life::Unborn(spec) = &self.life {
            let (mut run, facts) = Run::begin(now, (**spec).clone());
            run.bind(Arc::new(shelf.clone()));
            born = facts;
            self.life = Life::Running(Box::new(run));
        }
        match &mut self.life {
            Life::Running(run) => Some((run, born)),
            Life::Unborn(_) | Life::Gone => None,
        }
    }
}

impl Stage for MachineStage {
    fn now(&self) -> Now {
        self.now
    }

    fn knock(&mut self, knock: Knock, request: WireRequest) {
        let header = |name: &str| request.header(name);
        let asked = front::Request {
            method: request.method,
            target: &request.target,
            header: &header,
            body: &request.body,
            peer_is_trusted_proxy: false,
        };
        match front::admit(&asked, &self.front, &Known(&self.shelf)) {
            Ok(ask) => self.admitted(knock, ask),
            Err(refusal) => self.answer(knock, refusal.status, &format!("{}\n", refusal.message)),
        }
    }

    fn socket_text(&mut self, socket: Knock, text: String) {
        if let Some(found) = self.sockets.get_mut(&socket) {
            let heard = found.conversation.text(&text);
            self.heard(socket, heard);
        }
    }

    fn socket_binary(&mut self, socket: Knock) {
        if let Some(found) = self.sockets.get_mut(&socket) {
            let heard = found.conversation.bad_message();
            self.heard(socket, heard);
        }
    }

    fn socket_close(&mut self, socket: Knock, _code: Option<u16>) {
        self.socket_gone(socket);
    }

    fn end_call(&mut self, knock: Knock, call: CallId, stop: bool) {
        let request = if stop { Request::Stop } else { Request::HangUp };
        self.deliver(&call, None, request, Waiter::Api { knock });
    }

    fn network_answers(&mut self, ask: u64, reply: Option<ApiReply>) {
        if let Some((call, no)) = self.reaching.remove(&ask) {
            self.turn(&call, Input::Reached { no, outcome: props::api_outcome(reply) });
        }
    }

    fn crash(&mut self) {
        self.reaching.clear();
        self.down = true;
        self.roster = Roster::new(self.config.max_calls);
        self.calls.clear();
        self.ended.clear();
        self.parents.clear();
        self.sockets.clear();
        self.waiting.clear();
    }

    async fn restart(&mut self) {
        self.down = false;
        for Listed { key, .. } in self.journal.list(Kind::Calls, None, ENDED_MAX).unwrap_or_default() {
            let state = self.journal.read(&key).ok().and_then(|entries| fold_call(&entries));
            if let Some(CallState { arrival, workflow, over: Some(over), .. }) = state {
                let rejected = over == CallEnd::Rejected;
                self.ended.insert(arrival.call, Ended { workflow, rejected });
            }
        }
        for key in self.journal.open_keys().unwrap_or_default() {
            self.reopen(key);
        }
    }

    async fn run_until(&mut self, until: Tick) -> Vec<News> {
        let mut wakes = 0;
        loop {
            if !self.news.is_empty() {
                return std::mem::take(&mut self.news);
            }
            wakes += 1;
            assert!(wakes < WAKES_MAX, "a machine is due for ever and does nothing: {:?}", self.now);
            match self.due().filter(|due| *due < until) {
                Some(due) => {
                    self.advance(due);
                    self.wake_due();
                }
                None => {
                    self.advance(until.max(self.now.tick));
                    return Vec::new();
                }
            }
        }
    }

    async fn is_empty(&mut self) -> bool {
        self.news.is_empty()
            && self.calls.is_empty()
            && self.roster.is_empty()
            && self.parents.is_empty()
            && self.sockets.is_empty()
    }
}
