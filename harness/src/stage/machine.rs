//! The bare machines: no actor, no runtime, nothing but calls of plain functions.
//!
//! What the registries and the door do around the machines stands here a second time, as loops; that both stages tell
//! the same story is what tests the actors.

mod parents;
mod requests;
mod sockets;

use super::examine::Examiner;
use super::fate::{Fate, Fault, Letter, Whose};
use super::props::{INSTANCE_KEY, Mint, ORIGIN, RETURN_FRAGMENT, Reel, Shelf, Sounds, WALL_MS};
use super::{HouseConfig, Knock, News, SETTLES, Stage, WireRequest, props};
use crate::network::rest::ApiReply;
use holdline_actors::call_registry::{ENDED_MAX, fold_call};
use holdline_actors::carrier::reading::{Conversation, Heard, format_trouble};
use holdline_actors::door::FlowBook;
use holdline_actors::outbox::folded;
use holdline_actors::port::journal::{Journal, Kind, Listed};
use holdline_actors::port::recording::RecordingFile;
use holdline_core::call::begin::{NewCall, new_call, turned_away};
use holdline_core::call::{
    Answer, AskNo, Call, CallConfig, CallEnd, CallFact, CallState, Effect, Input, Request, StreamNo,
    StreamOut,
};
use holdline_core::document::{Ending, Links, Plan};
use holdline_core::event::Herald;
use holdline_core::fact::{Entry, Fact, Key, OutboxFact};
use holdline_core::flow::run::Run;
use holdline_core::front::{self, Ask, Entry as Door, FrontConfig, Refusal};
use holdline_core::http::{Errand, Outcome};
use holdline_core::notice::{Arrival, NetworkStatus};
use holdline_core::provider::twilio::stream::Start;
use holdline_core::provider::twilio::token::stream_token;
use holdline_core::provider::twilio::{twiml, webhook};
use holdline_core::roster::{Death, Roster, Verdict};
use holdline_core::scene::RecordingReport;
use holdline_core::workflow::outbox::{self, Delivery, Outbox, OutboxConfig, Row};
use holdline_core::workflow::{self, Workflow, run_facts};
use holdline_core::{CallId, Machine, Now, RunId, Tick, WorkflowId};
use requests::{Known, Waiter};
use serde_json::Value;
use sockets::Socket;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Whoever asks is told that nobody answers, after this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// A machine that wakes this often in a row without a word is stuck.
const WAKES_MAX: u32 = 1_000_000;

pub struct MachineStage {
    now: Now,
    config: HouseConfig,
    call_config: Arc<CallConfig>,
    front: FrontConfig,
    shelf: Shelf,
    mint: Mint,
    fate: Fate,
    examiner: Examiner,
    roster: Roster,
    calls: BTreeMap<CallId, Session>,
    ended: BTreeMap<CallId, Ended>,
    parents: BTreeMap<RunId, Parent>,
    outbox: Post,
    herald: Herald,
    sockets: BTreeMap<Knock, Socket>,
    waiting: BTreeMap<(CallId, AskNo), Waiting>,
    last_ask: u64,
    mail: VecDeque<Letter>,
    /// Whether the mail is being read: then whoever posts need not.
    reading: bool,
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
    /// The first facts of the flow, likewise, behind them.
    born: Vec<Fact>,
    /// Effects behind a batch that is being written.
    held: VecDeque<(u64, Effect)>,
    writing: bool,
    sockets: BTreeMap<StreamNo, Knock>,
    reel: Option<Reel>,
}

/// A main workflow and what waits behind its batch.
struct Parent {
    workflow: Workflow,
    held: VecDeque<(u64, workflow::Effect)>,
    writing: bool,
}

/// The outbox, likewise.
struct Post {
    machine: Outbox,
    held: VecDeque<(u64, outbox::Effect)>,
    writing: bool,
}

/// Who waits for an answer, and how long.
struct Waiting {
    waiter: Waiter,
    until: Tick,
}

enum Life {
    Running(Box<Run>),
    Gone,
}

struct Ended {
    workflow: WorkflowId,
    rejected: bool,
}

/// What a call's answer is for.
impl MachineStage {
    pub fn new(config: HouseConfig, shelf: Shelf) -> MachineStage {
        MachineStage {
            now: Now { tick: Tick(0), wall_ms: WALL_MS },
            call_config: Arc::new(props::call_config(&config)),
            front: props::front_config(&config),
            roster: Roster::new(config.max_calls),
            herald: props::herald(&config),
            config,
            shelf,
            mint: Mint::default(),
            fate: Fate::default(),
            examiner: Examiner::default(),
            calls: BTreeMap::new(),
            ended: BTreeMap::new(),
            parents: BTreeMap::new(),
            outbox: Post::new(),
            sockets: BTreeMap::new(),
            waiting: BTreeMap::new(),
            last_ask: 0,
            mail: VecDeque::new(),
            reading: false,
            reaching: BTreeMap::new(),
            last_asked: 0,
            down: false,
            news: Vec::new(),
        }
    }

    // ---- machines

    /// Everything that one machine tells another, and all inputs from outside, go one after the other.
    fn post(&mut self, letter: Letter) {
        if self.down {
            return;
        }
        self.mail.push_back(letter);
        if std::mem::replace(&mut self.reading, true) {
            return;
        }
        while let Some(letter) = self.mail.pop_front() {
            self.take(letter);
        }
        self.reading = false;
    }

    fn turn(&mut self, call: &CallId, input: Input) {
        self.post(Letter::Call(call.clone(), input));
    }

    fn take(&mut self, letter: Letter) {
        let now = self.now;
        match letter {
            Letter::Call(call, input) => {
                let Some(session) = self.calls.get_mut(&call) else { return };
                let mut effects = Vec::new();
                session.call.handle(now, input, &mut effects);
                self.settle(&call, effects);
            }
            Letter::CallIsDue(call) => {
                let Some(session) = self.calls.get_mut(&call) else { return };
                let mut effects = Vec::new();
                session.call.wake(now, &mut effects);
                self.settle(&call, effects);
            }
            Letter::Parent(run, input) => {
                let Some(parent) = self.parents.get_mut(&run) else { return };
                let mut effects = Vec::new();
                parent.workflow.handle(now, input, &mut effects);
                self.settle_parent(run, effects);
            }
            Letter::ParentIsDue(run) => {
                let Some(parent) = self.parents.get_mut(&run) else { return };
                let mut effects = Vec::new();
                parent.workflow.wake(now, &mut effects);
                self.settle_parent(run, effects);
            }
            Letter::Outbox(input) => {
                let mut effects = Vec::new();
                self.outbox.machine.handle(now, input, &mut effects);
                self.settle_outbox(effects);
            }
            Letter::OutboxIsDue => {
                let mut effects = Vec::new();
                self.outbox.machine.wake(now, &mut effects);
                self.settle_outbox(effects);
            }
            Letter::Written(Whose::Call(call)) => {
                if let Some(session) = self.calls.get_mut(&call) {
                    session.writing = false;
                    self.settle(&call, Vec::new());
                }
            }
            Letter::Written(Whose::Parent(run)) => {
                if let Some(parent) = self.parents.get_mut(&run) {
                    parent.writing = false;
                    self.settle_parent(run, Vec::new());
                }
            }
            Letter::Written(Whose::Outbox) => {
                self.outbox.writing = false;
                self.settle_outbox(Vec::new());
            }
            Letter::Written(Whose::TurnedAway(call, knock)) => {
                if self.dies() {
                    return;
                }
                self.close_story(&Key::Call(call));
                if let Some(knock) = knock {
                    self.answer(knock, 200, &twiml::reject("busy"));
                }
            }
            Letter::TooLate(call, ask) => {
                if let Some(Waiting { waiter, .. }) = self.waiting.remove(&(call, ask)) {
                    self.fail(waiter, "the answer could not be written in time");
                }
            }
        }
    }

    /// As a driver does it: what is urgent goes at once, what stands behind a batch waits until it is written.
    fn settle(&mut self, call: &CallId, effects: Vec<Effect>) {
        let decided_ms = self.now.wall_ms;
        let (urgent, rest): (Vec<_>, Vec<_>) = effects.into_iter().partition(Effect::is_urgent);
        for effect in urgent {
            if self.dies() {
                return;
            }
            self.perform(call, decided_ms, effect);
        }
        if let Some(session) = self.calls.get_mut(call) {
            session.held.extend(rest.into_iter().map(|effect| (decided_ms, effect)));
        }
        while let Some((decided_ms, effect)) = self.calls.get_mut(call).and_then(Session::next) {
            if self.dies() {
                return;
            }
            self.perform(call, decided_ms, effect);
        }
        self.examine(call);
        self.bury(call);
    }

    fn perform(&mut self, call: &CallId, wall_ms: u64, effect: Effect) {
        let Some(session) = self.calls.get_mut(call) else { return };
        self.examiner.performed(call, &effect);
        match effect {
            Effect::Record(mut facts) => {
                let key = Key::Call(call.clone());
                let mut batch = std::mem::take(&mut session.first);
                let behind = facts.len().min(1);
                facts.splice(behind..behind, session.born.drain(..).map(|fact| (wall_ms, fact)));
                let entry = |(wall_ms, fact): (u64, Fact)| Entry { key: fact.key(&key), wall_ms, fact };
                batch.extend(facts.into_iter().map(entry));
                let written = self.append(Whose::Call(call.clone()), batch);
                if let Some(session) = self.calls.get_mut(call) {
                    session.writing = !written;
                }
            }
            Effect::Take { turn, posture, event } => {
                if let Life::Running(run) = &mut session.life {
                    let report = run.take(self.now, &posture, event);
                    self.turn(call, Input::Took { turn, report });
                }
            }
            Effect::WaitTurn { ask, exchange, turn, waited_s } => {
                let Life::Running(run) = &session.life else { return };
                let verbs = run.wait_turn(self.now, turn, waited_s);
                self.turn(call, Input::Waited { ask, exchange, turn, verbs });
            }
            Effect::Answer { ask, answer } => {
                let workflow = session.workflow.clone();
                self.answered(call, &workflow, ask, answer);
            }
            Effect::Transmit { stream, out } => {
                if let Some(knock) = session.sockets.get(&stream).copied()
                    && self.send(knock, out)
                {
                    self.turn(call, Input::Blocked { stream, blocked: true });
                }
            }
            Effect::CloseStream { stream, code } => {
                if let Some(knock) = session.sockets.get(&stream).copied() {
                    self.close_behind(knock, code);
                }
            }
            Effect::Load { sound, what } => {
                self.turn(call, Input::Loaded { sound, audio: Sounds.sound(&what) });
            }
            Effect::OpenEcho { echo } => self.turn(call, Input::EchoOpen { echo }),
            Effect::Fetch { no, errand } => {
                let to = call.clone();
                self.ask_others(&errand, |outcome| Letter::Call(to, Input::Fetched { no, outcome }));
            }
            Effect::Reach { no, errand } => {
                if let Some(request) = props::api_request(&errand) {
                    self.last_asked += 1;
                    self.reaching.insert(self.last_asked, (call.clone(), no));
                    self.news.push(News::AsksNetwork { ask: self.last_asked, request });
                }
            }
            Effect::Count(_) => {}
            Effect::Deliver(delivery) => self.owe(delivery),
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
                self.turn(call, Input::RecordingClosed { report });
            }
            Effect::TellParent { run, completion } => self.tell_parent(run, call, completion),
            Effect::Follow { run } => self.reopen(Key::Run(run)),
            Effect::Summary(_) => {}
            Effect::Finished => self.close_story(&Key::Call(call.clone())),
        }
    }

    fn bury(&mut self, call: &CallId) {
        let is_done =
            |session: &Session| session.call.is_over() && session.held.is_empty() && !session.writing;
        if self.calls.get(call).is_some_and(is_done)
            && let Some(session) = self.calls.remove(call)
        {
            self.roster.died(self.now, call, false);
            self.ended.insert(call.clone(), Ended { workflow: session.workflow, rejected: false });
            for knock in session.sockets.into_values() {
                self.orphan(knock);
            }
        }
    }

    fn owe(&mut self, delivery: Box<Delivery>) {
        self.post(Letter::Outbox(outbox::Input::Open(vec![Row::new(delivery)])));
    }

    fn settle_outbox(&mut self, effects: Vec<outbox::Effect>) {
        let decided_ms = self.now.wall_ms;
        self.outbox.held.extend(effects.into_iter().map(|effect| (decided_ms, effect)));
        while let Some((wall_ms, effect)) = self.outbox.next() {
            if self.dies() {
                return;
            }
            match effect {
                outbox::Effect::Record { id, fact } => {
                    let entry = Entry { key: Key::Delivery(id), wall_ms, fact: Fact::Outbox(fact) };
                    self.outbox.writing = !self.append(Whose::Outbox, vec![entry]);
                }
                outbox::Effect::Send { id, attempt, call } => {
                    self.ask_others(&Errand::Http(call), |outcome| {
                        Letter::Outbox(outbox::Input::Sent { id, attempt, outcome })
                    });
                }
                outbox::Effect::Delivered { id } => {
                    let _ = self.fate.disk.journal.delete(&Key::Delivery(id));
                }
                outbox::Effect::Dead { .. } | outbox::Effect::Gone { .. } | outbox::Effect::Back { .. } => {}
            }
        }
    }

    fn ask_others(&mut self, errand: &Errand, reply: impl FnOnce(Outcome) -> Letter) {
        let asked = self.fate.others.ask(self.now.tick, errand, &self.shelf.own, reply);
        self.say(News::Asked(asked));
        while let Some(letter) = self.fate.others.answer(self.now.tick) {
            self.post(letter);
        }
    }

    /// Whether the batch is on disk already; else a letter says when it is.
    fn append(&mut self, whose: Whose, mut batch: Vec<Entry>) -> bool {
        let journal = &self.fate.disk.journal;
        self.herald.hear(&mut batch, false, &|_| false, &mut |key| journal.read(key).ok());
        match self.fate.disk.append(self.now.tick, whose, batch) {
            Some(written) => {
                self.is_written(written);
                true
            }
            None => false,
        }
    }

    fn is_written(&mut self, batch: Vec<Entry>) {
        self.examiner.written(&batch);
        // What a step owes is told by its own machine.
        let owed = batch.iter().filter_map(|entry| match &entry.fact {
            Fact::Outbox(OutboxFact::Owed { delivery }) if delivery.receiver.is_some() => {
                Some(delivery.clone())
            }
            _ => None,
        });
        let owed: Vec<Row> = owed.map(Row::new).collect();
        self.say(News::Written(batch));
        if !owed.is_empty() {
            self.post(Letter::Outbox(outbox::Input::Open(owed)));
        }
    }

    fn close_story(&mut self, key: &Key) {
        let _ = self.fate.disk.journal.close(key);
        self.herald.forget(key);
    }

    fn reopen(&mut self, key: Key) {
        if matches!(&key, Key::Call(call) if self.calls.contains_key(call)) {
            return; // a second start finds it alive
        }
        match key {
            Key::Call(id) => self.reopen_call(id, None),
            Key::Run(run) => {
                if self.parents.contains_key(&run) {
                    return;
                }
                if let Some(workflow) = self.fold_parent(run).filter(|workflow| workflow.waiting().is_none())
                {
                    self.parents.insert(run, Parent::of(workflow));
                    self.post(Letter::Parent(run, workflow::Input::Resume));
                }
            }
            Key::Delivery(_) | Key::Placement(_) | Key::Flow(_) => {}
        }
    }

    /// From its facts: to go on, or to be ended for this reason.
    fn reopen_call(&mut self, id: CallId, lost: Option<&str>) {
        let entries = self.fate.disk.journal.read(&Key::Call(id.clone())).unwrap_or_default();
        let Some(state) = fold_call(&entries) else { return };
        if state.over == Some(CallEnd::Rejected) {
            return self.close_story(&Key::Call(id)); // turned away, and nothing more
        }
        let facts: Vec<Fact> = entries.into_iter().map(|entry| entry.fact).collect();
        let workflow = state.workflow.clone();
        let run = Run::restore(self.now, run_facts(facts.iter()));
        let no_run = run.as_ref().err().filter(|_| state.flow_over.is_none()).map(ToString::to_string);
        let config = self.call_config.clone();
        let call = match lost.or(no_run.as_deref()) {
            None => Call::restore(self.now, config, state),
            Some(why) => Call::lost(self.now, config, state, why),
        };
        let life = match run {
            Ok(mut run) if lost.is_none() => {
                run.bind(Arc::new(self.shelf.clone()));
                Life::Running(Box::new(run))
            }
            _ => Life::Gone,
        };
        self.roster.reopen(&id);
        self.calls.insert(id.clone(), Session::of(workflow, call, life));
        self.post(Letter::CallIsDue(id));
    }

    /// The first instant at which something of the house is due, on whole milliseconds as real timers are.
    fn due(&self) -> Option<Tick> {
        let calls = self.calls.values().filter_map(|session| session.call.wake_at());
        let parents = self.parents.values().filter_map(|parent| parent.workflow.wake_at());
        let silent = self.sockets.values().filter(|socket| !socket.conversation.has_started());
        let asks = self.waiting.values().map(|waiting| waiting.until);
        let others = [self.fate.due(), self.outbox.machine.wake_at()].into_iter().flatten();
        let first = calls
            .chain(parents)
            .chain(silent.map(|socket| socket.start_by))
            .chain(asks)
            .chain(others)
            .min()?;
        Some(Tick(first.0.div_ceil(1000) * 1000).max(self.now.tick))
    }

    fn advance(&mut self, to: Tick) {
        self.now = self.fate.at(to, WALL_MS);
    }

    fn wake_due(&mut self) {
        let now = self.now.tick;
        let is_due = |due: Option<Tick>| due.is_some_and(|due| due <= now);
        let mut owners = Vec::new();
        for (whose, batch) in self.fate.disk.written(now) {
            self.is_written(batch);
            owners.push(whose);
        }
        for whose in owners {
            self.post(Letter::Written(whose));
        }
        while let Some(letter) = self.fate.others.answer(now) {
            self.post(letter);
        }
        let calls = self.calls.iter().filter(|(_, session)| is_due(session.call.wake_at()));
        for call in calls.map(|(call, _)| call.clone()).collect::<Vec<_>>() {
            self.post(Letter::CallIsDue(call));
        }
        let parents = self.parents.iter().filter(|(_, parent)| is_due(parent.workflow.wake_at()));
        for run in parents.map(|(run, _)| *run).collect::<Vec<_>>() {
            self.post(Letter::ParentIsDue(run));
        }
        if is_due(self.outbox.machine.wake_at()) {
            self.post(Letter::OutboxIsDue);
        }
        let late = self.waiting.iter().filter(|(_, waiting)| waiting.until <= now);
        for (call, ask) in late.map(|(who, _)| who.clone()).collect::<Vec<_>>() {
            self.post(Letter::TooLate(call, ask));
        }
        let silent = self.sockets.iter();
        let silent =
            silent.filter(|(_, socket)| !socket.conversation.has_started() && socket.start_by <= now);
        for knock in silent.map(|(knock, _)| *knock).collect::<Vec<_>>() {
            self.close_socket(knock, 1008);
        }
    }

    // ---- the process

    /// An effect is about to leave. True when the process dies before it does.
    fn dies(&mut self) -> bool {
        if let Some((keeps, down)) = self.fate.strikes() {
            self.end_process(keeps);
            self.news.push(News::Died { down });
        }
        self.down
    }

    fn end_process(&mut self, keeps: u32) {
        self.down = true;
        for batch in self.fate.process_ends(usize::try_from(keeps).unwrap_or(usize::MAX)) {
            self.examiner.written(&batch);
            self.news.push(News::Written(batch));
        }
        self.roster = Roster::new(self.config.max_calls);
        self.herald = props::herald(&self.config);
        self.calls.clear();
        self.ended.clear();
        self.parents.clear();
        self.outbox = Post::new();
        self.sockets.clear();
        self.waiting.clear();
        self.mail.clear();
        self.examiner.process_ended();
    }

    /// A dead process says nothing.
    fn say(&mut self, news: News) {
        if !self.down {
            self.news.push(news);
        }
    }

    /// What must hold behind every turn.
    fn examine(&mut self, call: &CallId) {
        if let Some(session) = self.calls.get(call) {
            let run = if let Life::Running(run) = &session.life { Some(&**run) } else { None };
            let is_settled = session.held.is_empty() && !session.writing;
            self.examiner.turned(self.now, &session.call, run, is_settled);
        }
    }

    /// What was broken of what must always hold, if it was asked for.
    pub fn verdict(&self) -> holdline_core::invariant::Verdict {
        self.examiner.verdict()
    }

    /// Examines every turn from here on: it costs as much as the turns themselves.
    pub fn examined(mut self) -> MachineStage {
        self.examiner = Examiner::watching();
        self
    }
}

impl Post {
    fn new() -> Post {
        // As long as somebody who follows a play is willing to wait; the real ones are hours.
        let config = OutboxConfig { retry_ms: vec![5_000, 60_000, 600_000], jitter: 0.0 };
        Post { machine: Outbox::new(config), held: VecDeque::new(), writing: false }
    }

    fn next(&mut self) -> Option<(u64, outbox::Effect)> {
        if self.writing { None } else { self.held.pop_front() }
    }
}

impl Session {
    fn of(workflow: WorkflowId, call: Call, life: Life) -> Session {
        Session {
            workflow,
            call,
            life,
            first: Vec::new(),
            born: Vec::new(),
            held: VecDeque::new(),
            writing: false,
            sockets: BTreeMap::new(),
            reel: None,
        }
    }

    fn next(&mut self) -> Option<(u64, Effect)> {
        if self.writing { None } else { self.held.pop_front() }
    }
}

impl Stage for MachineStage {
    fn now(&self) -> Now {
        self.now
    }

    fn knock(&mut self, knock: Knock, request: WireRequest) {
        if self.down {
            return; // whoever hears of the death next tells who asked
        }
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
        // A rebuild waits for the disk; here the disk makes haste.
        for (_, batch) in self.fate.disk.flush() {
            self.is_written(batch);
        }
        for knock in session.sockets.into_values() {
            // A session that dies takes its sockets with it.
            self.sockets.remove(&knock);
            self.say(News::SocketClosed { socket: knock, code: Some(1011) });
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
        self.end_process(0);
    }

    async fn restart(&mut self) {
        self.down = false;
        self.advance(self.now.tick);
        let journal = &self.fate.disk.journal;
        for Listed { key, .. } in journal.list(Kind::Calls, None, ENDED_MAX).unwrap_or_default() {
            let state = journal.read(&key).ok().and_then(|entries| fold_call(&entries));
            if let Some(CallState { arrival, workflow, over: Some(over), .. }) = state {
                let rejected = over == CallEnd::Rejected;
                self.ended.insert(arrival.call, Ended { workflow, rejected });
            }
        }
        let open = journal.open_keys().unwrap_or_default();
        let owed = open.iter().filter(|key| matches!(key, Key::Delivery(_)));
        let rows: Vec<Row> =
            owed.filter_map(|key| journal.read(key).ok()).filter_map(|entries| folded(&entries)).collect();
        self.post(Letter::Outbox(outbox::Input::Open(rows)));
        for key in open {
            if self.down {
                break; // it died while it was getting up
            }
            self.reopen(key);
        }
    }

    fn befalls(&mut self, fault: &Fault) {
        self.fate.befalls(self.now.tick, fault);
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
            && self.outbox.machine.is_empty()
            && self.sockets.is_empty()
            && self.fate.due().is_none()
    }
}

/// The facts of a call alone, for assertions about what was written.
pub fn call_facts<'e>(entries: impl Iterator<Item = &'e Entry>) -> impl Iterator<Item = &'e CallFact> {
    entries.filter_map(|entry| match &entry.fact {
        Fact::Call(fact) => Some(fact),
        _ => None,
    })
}
