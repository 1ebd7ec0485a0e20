//! The bare machines: no actor, no runtime, nothing but calls of plain functions.
//!
//! What the registries and the door do around the machines stands here a second time, as loops; that both stages tell
//! the same story is what tests the actors.

mod parents;
mod requests;
mod sockets;

use super::props::{Elsewhere, INSTANCE_KEY, Mint, ORIGIN, RETURN_FRAGMENT, Reel, Shelf, Sounds, WALL_MS};
use super::{HouseConfig, Knock, News, SETTLES, Stage, WireRequest, props};
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
use holdline_core::document::{Ending, Links, Plan};
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::flow::run::{Run, RunSpec};
use holdline_core::front::{self, Ask, Entry as Door, FrontConfig, Refusal};
use holdline_core::notice::{Arrival, NetworkStatus};
use holdline_core::provider::twilio::stream::Start;
use holdline_core::provider::twilio::token::stream_token;
use holdline_core::provider::twilio::{twiml, webhook};
use holdline_core::roster::{Death, Roster, Verdict};
use holdline_core::scene::RecordingReport;
use holdline_core::workflow::{self, Workflow, run_facts};
use holdline_core::{CallId, Machine, Now, RunId, Tick, WorkflowId};
use requests::Waiter;
use serde_json::Value;
use sockets::Socket;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

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
                Effect::WaitTurn { ask, exchange, turn, waited_s } => {
                    if let Some((run, _)) = session.run(self.now, &self.shelf) {
                        let verbs = run.wait_turn(self.now, turn, waited_s);
                        todo.push_back(Input::Waited { ask, exchange, turn, verbs });
                    }
                }
                Effect::Answer { ask, answer } => {
                    let workflow = session.workflow.clone();
                    self.answered(call, &workflow, ask, answer);
                }
                Effect::Transmit { stream, out } => {
                    if let Some(knock) = session.sockets.get(&stream).copied()
                        && self.send(knock, out)
                    {
                        todo.push_back(Input::Blocked { stream, blocked: true });
                    }
                }
                Effect::CloseStream { stream, code } => {
                    if let Some(knock) = session.sockets.get(&stream).copied() {
                        self.close_behind(knock, code, todo);
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
                self.orphan(knock);
            }
        }
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
        if matches!(&key, Key::Call(call) if self.calls.contains_key(call)) {
            return; // a second start finds it alive
        }
        match key {
            Key::Call(id) => self.reopen_call(id, None),
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

    /// From its facts: to go on, or to be ended for this reason.
    fn reopen_call(&mut self, id: CallId, lost: Option<&str>) {
        let entries = self.journal.read(&Key::Call(id.clone())).unwrap_or_default();
        let Some(state) = fold_call(&entries) else { return };
        let facts: Vec<Fact> = entries.into_iter().map(|entry| entry.fact).collect();
        let life = match Run::restore(self.now, run_facts(facts.iter())) {
            Ok(mut run) if lost.is_none() => {
                run.bind(Arc::new(self.shelf.clone()));
                Life::Running(Box::new(run))
            }
            _ => Life::Gone,
        };
        let workflow = state.workflow.clone();
        let call = match lost {
            None => Call::restore(self.now, self.call_config.clone(), state),
            Some(why) => Call::lost(self.now, self.call_config.clone(), state, why),
        };
        let session =
            Session { workflow, call, life, first: Vec::new(), sockets: BTreeMap::new(), reel: None };
        self.roster.reopen(&id);
        self.calls.insert(id.clone(), session);
        self.wake(&id);
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

    fn socket_stalls(&mut self, socket: Knock, stalls: bool) {
        if stalls {
            self.stall(socket);
        } else {
            self.take_again(socket);
        }
    }

    fn panic(&mut self, call: CallId) {
        let Some(session) = self.calls.remove(&call) else { return };
        for knock in session.sockets.into_values() {
            // A session that dies takes its sockets with it.
            self.sockets.remove(&knock);
            self.news.push(News::SocketClosed { socket: knock, code: Some(1011) });
        }
        match self.roster.died(self.now, &call, true) {
            Death::Rebuild => self.reopen_call(call, None),
            Death::GiveUp => self.reopen_call(call, Some("the call's session panicked repeatedly")),
            Death::Forget | Death::Lose => {}
        }
    }

    fn drain(&mut self) {
        self.roster.drain();
    }

    fn hand_over(&mut self) {
        for call in self.calls.keys().cloned().collect::<Vec<_>>() {
            self.turn(&call, Input::HandOver);
        }
    }

    async fn stand_still(&mut self, span: Duration) {
        self.advance(self.now.tick + span);
        let mut wakes = 0;
        while self.due().is_some_and(|due| due <= self.now.tick) {
            self.wake_due();
            wakes += 1;
            assert!(wakes < WAKES_MAX, "a machine is due for ever and does nothing: {:?}", self.now);
        }
        self.advance(self.now.tick + SETTLES);
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
