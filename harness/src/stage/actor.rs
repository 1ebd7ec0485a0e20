//! The real actors, on the current thread, under paused time. Only the network between them and the caller is left
//! out: requests knock at the door itself, and a small carrier stands in for the one that holds real sockets.
#![allow(clippy::disallowed_methods)] // time is paused here; and a test's messages have no mailbox bound to keep

use super::fate::Fault;
use super::props::{
    self, Elsewhere, INSTANCE_KEY, Mint, ORIGIN, RETURN_FRAGMENT, Shelf, Sounds, Tape, WALL_MS,
};
use super::{HouseConfig, Knock, News, SETTLES, Stage, WireRequest};
use crate::network::rest::ApiReply;
use crate::own::Own;
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use futures_util::future::BoxFuture;
use holdline_actors::call_registry::{self, CallRegistry, Count, ENDED_MAX, NotHere, fold_call};
use holdline_actors::call_session::{CallSession, House, Mail, SocketOut};
use holdline_actors::carrier::reading::{Conversation, Heard, format_trouble};
use holdline_actors::clock::Clock;
use holdline_actors::door::{Complaints, Door, Opened, Ticket};
use holdline_actors::feed::Feed;
use holdline_actors::flow_registry::{self, CountFlows, FlowRegistry};
use holdline_actors::journal_writer::{Crier, JournalWriter};
use holdline_actors::numbers::Numbers;
use holdline_actors::outbound::{self, Outbound};
use holdline_actors::outbox::{self, Outbox, Outside};
use holdline_actors::owing::Owing;
use holdline_actors::port::http as port;
use holdline_actors::port::journal::{Journal, JournalError, Kind, Listed, MemoryJournal, Story};
use holdline_actors::post::{Held, Posted};
use holdline_actors::tally::Tally;
use holdline_core::call::{Answer, CallEnd, CallState, Input, Request, StreamNo};
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::front;
use holdline_core::http::{Errand, Outcome};
use holdline_core::media::window::Window;
use holdline_core::outbound::OutboundConfig;
use holdline_core::provider::twilio::stream::Start;
use holdline_core::workflow::Workflow;
use holdline_core::workflow::outbox::OutboxConfig;
use holdline_core::{CallId, Now, RunId, Tick};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Makes a runtime whose time stands still, a house in it, and performs `play`.
pub fn in_a_house<T>(
    config: HouseConfig,
    shelf: Shelf,
    play: impl AsyncFnOnce(&mut ActorStage) -> T,
) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runtime = runtime.map_err(|why| why.to_string())?;
    let system = actix::System::with_tokio_rt(move || runtime);
    Ok(system.block_on(async move {
        let mut stage = ActorStage::new(config, shelf);
        play(&mut stage).await
    }))
}

pub struct ActorStage {
    origin: Instant,
    clock: Clock,
    config: HouseConfig,
    shelf: Arc<Shelf>,
    journal: Arc<Mutex<MemoryJournal>>,
    /// Which process this is; the actors of one that has died can write nothing more.
    process: Arc<AtomicU64>,
    mint: Arc<Mint>,
    world: World,
    says: Says,
    news: UnboundedReceiver<(u64, News)>,
    ready: Vec<News>,
}

/// The actors of one process.
struct World {
    calls: Addr<CallRegistry>,
    flows: Addr<FlowRegistry>,
    outbox: Addr<Outbox>,
    door: Arc<Door>,
    sockets: Rc<RefCell<BTreeMap<Knock, Addr<PlaySocket>>>>,
    /// Socket actors that live.
    alive: Rc<Cell<usize>>,
    switchboard: Arc<Switchboard>,
    outbound: Addr<Outbound>,
}

/// Other systems, the pretend network's REST API among them.
struct Switchboard {
    says: Says,
    own: Own,
    waiting: Mutex<(u64, BTreeMap<u64, oneshot::Sender<Outcome>>)>,
}

impl port::World for Switchboard {
    fn perform(&self, errand: Errand) -> BoxFuture<'static, Outcome> {
        let Some(request) = props::api_request(&errand) else {
            return Box::pin(std::future::ready(Elsewhere::answer(&errand, &self.own)));
        };
        let (reply, answered) = oneshot::channel();
        let ask = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.0 += 1;
            let ask = waiting.0;
            waiting.1.insert(ask, reply);
            ask
        };
        self.says.say(News::AsksNetwork { ask, request });
        Box::pin(async move { answered.await.unwrap_or_else(|_| props::api_outcome(None)) })
    }
}

/// Where actors of one process say what comes out.
#[derive(Debug, Clone)]
struct Says {
    process: u64,
    news: UnboundedSender<(u64, News)>,
}

impl Says {
    fn say(&self, news: News) {
        // Nobody listens any more only when the play is over.
        let _ = self.news.send((self.process, news));
    }
}

impl ActorStage {
    fn new(config: HouseConfig, shelf: Shelf) -> ActorStage {
        let (sender, news) = unbounded_channel();
        let origin = Instant::now();
        let clock = Clock::at(WALL_MS);
        let (journal, process) = (Arc::default(), Arc::new(AtomicU64::new(0)));
        let (shelf, mint) = (Arc::new(shelf), Arc::new(Mint::default()));
        let says = Says { process: 0, news: sender };
        let world = World::new(&config, &shelf, &mint, clock, &journal, &process, &says);
        ActorStage {
            origin,
            clock,
            config,
            shelf,
            journal,
            process,
            mint,
            world,
            says,
            news,
            ready: Vec::new(),
        }
    }

    fn take_news(&mut self) {
        while let Ok((process, news)) = self.news.try_recv() {
            if process == self.says.process {
                self.ready.push(news);
            }
        }
    }
}

impl World {
    fn new(
        config: &HouseConfig,
        shelf: &Arc<Shelf>,
        mint: &Arc<Mint>,
        clock: Clock,
        journal: &Arc<Mutex<MemoryJournal>>,
        process: &Arc<AtomicU64>,
        says: &Says,
    ) -> World {
        let switchboard =
            Arc::new(Switchboard { says: says.clone(), own: shelf.own.clone(), waiting: Mutex::default() });
        let tap = Tap { journal: journal.clone(), process: process.clone(), says: says.clone() };
        let (feed, owing) = (Arc::new(Feed::new(clock)), Arc::new(Owing::default()));
        let crier = Crier::new(props::herald(config), feed, owing.clone());
        let journal = JournalWriter::new(Box::new(tap)).telling(crier).begin();
        let retries = OutboxConfig { retry_ms: Vec::new(), jitter: 0.0 };
        let elsewhere: Arc<dyn port::World> = switchboard.clone();
        let hand = journal;
        let journal = Addr::clone(&hand);
        let outbox = Outbox::new(clock, journal.clone(), elsewhere.clone(), retries).hearing(owing).start();
        let outside = Outside { world: elsewhere, outbox: outbox.clone() };
        let tally = Arc::new(Tally::default());
        let flows =
            FlowRegistry::new(clock, journal.clone(), outside.clone(), shelf.clone(), tally.clone()).start();
        let house = House {
            clock,
            journal: hand,
            flows: flows.clone(),
            book: shelf.clone(),
            audio: Arc::new(Sounds),
            recordings: Arc::new(Tape),
            outside,
            tally: tally.clone(),
            numbers: Numbers::Masked,
        };
        let calls =
            CallRegistry::new(house, Arc::new(props::call_config(config)), config.max_calls, Vec::new());
        let calls = calls.start();
        let mint = mint.clone();
        let minting: outbound::Minting = Arc::new(move |wall_ms| mint.next(wall_ms));
        let outbound = Outbound::new(
            outbound::Parts {
                clock,
                journal: journal.clone(),
                world: switchboard.clone(),
                calls: calls.clone(),
                book: shelf.clone(),
                mint: minting.clone(),
            },
            OutboundConfig { origin: ORIGIN.to_owned() },
        )
        .start();
        let door = Door {
            calls: calls.clone(),
            outbound: outbound.clone(),
            front: props::front_config(config),
            book: shelf.clone(),
            clock,
            mint: minting,
            return_fragment: RETURN_FRAGMENT.to_owned(),
            instance_key: INSTANCE_KEY,
            overflow: config.overflow.clone(),
            tally,
            rate: None,
            complaints: Complaints::default(),
        };
        let (sockets, alive) = (Rc::default(), Rc::default());
        World { calls, flows, outbox, door: Arc::new(door), sockets, alive, switchboard, outbound }
    }
}

/// The journal in memory, told as it is written.
struct Tap {
    journal: Arc<Mutex<MemoryJournal>>,
    process: Arc<AtomicU64>,
    says: Says,
}

impl Tap {
    fn inner(&self) -> std::sync::MutexGuard<'_, MemoryJournal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Tap {
    fn append(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
        if self.process.load(Ordering::Relaxed) != self.says.process {
            return Err(JournalError::Closed("this process has died".to_owned()));
        }
        self.inner().append(batch)?;
        self.says.say(News::Written(batch.to_vec()));
        Ok(())
    }

    fn read(&self, key: &Key) -> Result<Vec<Entry>, JournalError> {
        self.inner().read(key)
    }

    fn story(&self, key: &Key) -> Result<Option<Story>, JournalError> {
        self.inner().story(key)
    }

    fn open_stories(&self) -> Result<Vec<Story>, JournalError> {
        self.inner().open_stories()
    }

    fn close(&mut self, key: &Key) -> Result<(), JournalError> {
        self.inner().close(key)
    }

    fn list(&self, kind: Kind, after: Option<u64>, limit: usize) -> Result<Vec<Listed>, JournalError> {
        self.inner().list(kind, after, limit)
    }

    fn story_of(&self, run: &RunId) -> Result<Option<Key>, JournalError> {
        self.inner().story_of(run)
    }

    fn delete(&mut self, key: &Key) -> Result<(), JournalError> {
        self.inner().delete(key)
    }

    fn prune(&mut self, ended_before_ms: u64, most: usize) -> Result<usize, JournalError> {
        self.inner().prune(ended_before_ms, most)
    }
}

impl Stage for ActorStage {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn knock(&mut self, knock: Knock, request: WireRequest) {
        let (door, says) = (self.world.door.clone(), self.says.clone());
        let (sockets, alive) = (self.world.sockets.clone(), self.world.alive.clone());
        let start_deadline = self.config.start_deadline;
        actix::spawn(async move {
            let header = |name: &str| request.header(name);
            let asked = front::Request {
                method: request.method,
                target: &request.target,
                header: &header,
                body: &request.body,
                peer_is_trusted_proxy: false,
            };
            let answered = |status, content_type: Option<&str>, body| News::Answered {
                knock,
                status,
                content_type: content_type.unwrap_or_default().to_owned(),
                body,
            };
            match door.knock(&asked, None).await {
                Opened::Answer(answer) => {
                    says.say(answered(answer.status, answer.content_type, answer.body));
                }
                Opened::Upgrade(ticket) => {
                    let socket =
                        PlaySocket::new(knock, door.clone(), ticket, says.clone(), alive, start_deadline);
                    sockets.borrow_mut().insert(knock, socket.start());
                    says.say(News::Upgraded { knock });
                }
                Opened::Health | Opened::Ready => says.say(answered(200, None, "ok\n".to_owned())),
            }
        });
    }

    fn socket_text(&mut self, socket: Knock, text: String) {
        if let Some(socket) = self.world.sockets.borrow().get(&socket) {
            socket.do_send(Incoming::Text(text));
        }
    }

    fn socket_binary(&mut self, socket: Knock) {
        if let Some(socket) = self.world.sockets.borrow().get(&socket) {
            socket.do_send(Incoming::Binary);
        }
    }

    fn socket_close(&mut self, socket: Knock, _code: Option<u16>) {
        if let Some(socket) = self.world.sockets.borrow_mut().remove(&socket) {
            socket.do_send(Incoming::Close);
        }
    }

    fn socket_stalls(&mut self, socket: Knock, stalls: bool) {
        if let Some(socket) = self.world.sockets.borrow().get(&socket) {
            socket.do_send(Incoming::Stalls(stalls));
        }
    }

    fn panic(&mut self, call: CallId) {
        self.world.calls.do_send(call_registry::Provoke(call));
    }

    fn drain(&mut self) {
        self.world.calls.do_send(call_registry::Drain);
    }

    fn hand_over(&mut self) {
        self.world.calls.do_send(call_registry::HandOver);
    }

    async fn stand_still(&mut self, span: Duration) {
        tokio::time::advance(span).await;
        // Paused time goes on when nothing is left to be done.
        tokio::time::sleep(SETTLES).await;
    }

    fn end_call(&mut self, knock: Knock, call: CallId, stop: bool) {
        let (door, says) = (self.world.door.clone(), self.says.clone());
        actix::spawn(async move {
            let request = if stop { Request::Stop } else { Request::HangUp };
            let text = match door.ask(&call, None, request).await {
                Some(Ok(reply)) => match reply.answer {
                    Answer::Ending { deferred: true } => "ending, deferred",
                    Answer::Ending { deferred: false } => "ending",
                    _ => "no answer",
                },
                Some(Err(NotHere::Ended { .. })) => "already ended",
                Some(Err(_)) => "call not found",
                None => "no answer",
            };
            says.say(News::Ending { knock, text: text.to_owned() });
        });
    }

    fn network_answers(&mut self, ask: u64, reply: Option<ApiReply>) {
        let waiting = &self.world.switchboard.waiting;
        let asked = waiting.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&ask);
        if let Some(asked) = asked {
            // Whoever asked may have ended meanwhile.
            let _ = asked.send(props::api_outcome(reply));
        }
    }

    fn crash(&mut self) {
        self.take_news();
        self.says.process += 1;
        self.process.store(self.says.process, Ordering::Relaxed);
        // What the dead actors do from here on, nobody sees: they can write nothing, and stop when they try.
        self.world = World::new(
            &self.config,
            &self.shelf,
            &self.mint,
            self.clock,
            &self.journal,
            &self.process,
            &self.says,
        );
    }

    /// Its ports are as good as their doubles: faults are for the bare machines.
    fn befalls(&mut self, _fault: &Fault) {}

    async fn restart(&mut self) {
        let past: Vec<CallState> = {
            let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = journal.list(Kind::Calls, None, ENDED_MAX).unwrap_or_default();
            rows.iter().filter_map(|row| fold_call(&journal.read(&row.key).unwrap_or_default())).collect()
        };
        for CallState { arrival, workflow, over, .. } in past {
            if let Some(over) = over {
                let rejected = over == CallEnd::Rejected;
                let remember = call_registry::Remember { call: arrival.call, workflow, rejected };
                let _ = self.world.calls.send(remember).await;
            }
        }
        let open: Vec<(Key, Vec<Entry>)> = {
            let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            let keys = journal.open_keys().unwrap_or_default();
            keys.into_iter().map(|key| (key.clone(), journal.read(&key).unwrap_or_default())).collect()
        };
        for (key, entries) in open {
            match key {
                Key::Call(call) => {
                    if let Some(state) = fold_call(&entries) {
                        let reopen = call_registry::Reopen { call, workflow: state.workflow };
                        let _ = self.world.calls.send(reopen).await;
                    }
                }
                Key::Run(run) => {
                    let facts: Vec<Fact> = entries.into_iter().map(|entry| entry.fact).collect();
                    let workflow = Workflow::restore(self.clock.now(), facts.iter());
                    if workflow.is_some_and(|workflow| workflow.waiting().is_none()) {
                        let _ = self.world.flows.send(flow_registry::Reopen(run)).await;
                    }
                }
                Key::Placement(id) => {
                    let _ = self.world.outbound.send(outbound::Reopen(vec![id])).await;
                }
                Key::Delivery(id) => {
                    let _ = self.world.outbox.send(outbox::Reopen(vec![id])).await;
                }
                Key::Flow(_) => {}
            }
        }
    }

    async fn run_until(&mut self, until: Tick) -> Vec<News> {
        let until = self.origin + Duration::from_micros(until.0);
        loop {
            self.take_news();
            if !self.ready.is_empty() {
                return std::mem::take(&mut self.ready);
            }
            let next = tokio::select! {
                biased;
                news = self.news.recv() => news,
                () = tokio::time::sleep_until(until) => None,
            };
            match next {
                Some((process, news)) if process == self.says.process => self.ready.push(news),
                Some(_) => {}
                None => return Vec::new(),
            }
        }
    }

    async fn is_empty(&mut self) -> bool {
        let census = self.world.calls.send(Count).await.unwrap_or_default();
        let flows = self.world.flows.send(CountFlows).await.unwrap_or_default();
        self.take_news();
        census.calls == 0
            && census.roster == 0
            && flows == 0
            && self.world.alive.get() == 0
            && self.ready.is_empty()
    }
}

/// What comes over a socket.
#[derive(Debug, Message)]
#[rtype(result = "()")]
enum Incoming {
    Text(String),
    Binary,
    Close,
    /// The other end takes nothing, or takes messages again. What it says is still heard.
    Stalls(bool),
}

/// A socket without its bytes: what the carrier does between a real one and the session.
struct PlaySocket {
    knock: Knock,
    door: Arc<Door>,
    ticket: Ticket,
    says: Says,
    alive: Rc<Cell<usize>>,
    start_deadline: Duration,
    conversation: Conversation,
    session: Option<Farewell>,
    window: Window<Input>,
    told_dropped: u64,
    sent: u32,
    is_closed: bool,
    stalls: bool,
    /// What it was given and can't send.
    held: VecDeque<SocketOut>,
}

/// Tells the session that the socket is gone, however it goes.
struct Farewell {
    session: Held<Mail>,
    stream: StreamNo,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.session.last_word(Mail::Input(Input::StreamDown { stream: self.stream }));
    }
}

/// Sent messages are told to the session in lots, as the real carrier does.
const SENT_LOT: u32 = 16;

impl PlaySocket {
    fn new(
        knock: Knock,
        door: Arc<Door>,
        ticket: Ticket,
        says: Says,
        alive: Rc<Cell<usize>>,
        start_deadline: Duration,
    ) -> PlaySocket {
        alive.set(alive.get() + 1);
        PlaySocket {
            knock,
            door,
            conversation: Conversation::new(ticket.stream()),
            ticket,
            says,
            alive,
            start_deadline,
            session: None,
            window: Window::default(),
            told_dropped: 0,
            sent: 0,
            is_closed: false,
            stalls: false,
            held: VecDeque::new(),
        }
    }

    fn join(&mut self, session: Addr<CallSession>, stream: StreamNo, ctx: &mut Context<Self>) {
        let session = Held::new(session);
        session.post(Mail::SocketOpen { stream, out: Held::new(ctx.address()) });
        self.session = Some(Farewell { session, stream });
    }

    fn heard(&mut self, heard: Heard, ctx: &mut Context<Self>) {
        match heard {
            Heard::Nothing => {}
            Heard::Started(start) => self.started_by(start, ctx),
            Heard::Tell(input @ Input::Heard { .. }) => {
                if let Some(input) = self.window.admit(input) {
                    self.tell(input, ctx);
                }
                let dropped = self.window.dropped();
                if dropped > self.told_dropped {
                    let frames = dropped - std::mem::replace(&mut self.told_dropped, dropped);
                    self.tell(Input::Dropped { frames }, ctx);
                }
            }
            Heard::Tell(input) => self.tell(input, ctx),
            Heard::Close(code) => self.close(code, ctx),
        }
    }

    fn started_by(&mut self, start: Start, ctx: &mut Context<Self>) {
        match &self.ticket {
            Ticket::Admitted { call, stream, .. } => {
                let stream = *stream;
                let named = start.call_sid.as_deref().or(start.parameters.get("callSid").map(String::as_str));
                if named.is_some_and(|named| named != call.0) {
                    return self.close(1008, ctx);
                }
                let trouble = format_trouble(&start);
                self.tell(Input::StreamUp { stream, stream_sid: start.stream_sid, trouble }, ctx);
            }
            Ticket::Bare { workflow, hint } => {
                let (door, workflow, hint) = (self.door.clone(), workflow.clone(), hint.clone());
                let attaching = async move {
                    let attached = door.attach(&workflow, hint.as_ref(), &start).await;
                    (attached, start)
                };
                ctx.wait(attaching.into_actor(self).map(|(attached, start), actor, ctx| match attached {
                    Ok((session, stream)) => {
                        actor.conversation.becomes(stream);
                        actor.join(session, stream, ctx);
                        let trouble = format_trouble(&start);
                        actor.tell(Input::StreamUp { stream, stream_sid: start.stream_sid, trouble }, ctx);
                    }
                    Err(_) => actor.close(1008, ctx),
                }));
            }
        }
    }

    fn tell(&mut self, input: Input, ctx: &mut Context<Self>) {
        let Some(Farewell { session, .. }) = &self.session else { return };
        if session.post(Mail::Input(input)) == Posted::Gone {
            self.close(1011, ctx);
        }
    }

    fn send(&mut self, out: SocketOut, ctx: &mut Context<Self>) {
        match out {
            SocketOut::Send(out) => {
                let mut text = String::new();
                self.conversation.write(&out, &mut text);
                self.says.say(News::SocketText { socket: self.knock, text });
                self.sent += 1;
                if self.sent >= SENT_LOT
                    && let Some(Farewell { session, stream }) = &self.session
                {
                    let count = std::mem::take(&mut self.sent);
                    session.post(Mail::SocketSent { stream: *stream, count });
                }
            }
            SocketOut::Close(code) => self.close(code, ctx),
            SocketOut::Credit(frames) => {
                let mut admitted = Vec::new();
                self.window.credit(frames, &mut admitted);
                for input in admitted {
                    self.tell(input, ctx);
                }
            }
        }
    }

    fn close(&mut self, code: u16, ctx: &mut Context<Self>) {
        if !std::mem::replace(&mut self.is_closed, true) {
            self.says.say(News::SocketClosed { socket: self.knock, code: Some(code) });
        }
        ctx.stop();
    }
}

impl Actor for PlaySocket {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Ticket::Admitted { session, stream, .. } = &self.ticket {
            self.join(session.clone(), *stream, ctx);
        }
        let deadline = tokio::time::sleep(self.start_deadline);
        ctx.spawn(deadline.into_actor(self).map(|(), actor, ctx| {
            if !actor.conversation.has_started() {
                actor.close(1008, ctx);
            }
        }));
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.alive.set(self.alive.get().saturating_sub(1));
    }
}

impl Handler<Incoming> for PlaySocket {
    type Result = ();

    fn handle(&mut self, incoming: Incoming, ctx: &mut Self::Context) {
        match incoming {
            Incoming::Text(text) => {
                let heard = self.conversation.text(&text);
                self.heard(heard, ctx);
            }
            Incoming::Binary => {
                let heard = self.conversation.bad_message();
                self.heard(heard, ctx);
            }
            Incoming::Close => ctx.stop(),
            Incoming::Stalls(stalls) => {
                self.stalls = stalls;
                while !self.stalls
                    && let Some(out) = self.held.pop_front()
                {
                    self.send(out, ctx);
                }
            }
        }
    }
}

impl Handler<SocketOut> for PlaySocket {
    type Result = ();

    fn handle(&mut self, out: SocketOut, ctx: &mut Self::Context) {
        if self.stalls && !matches!(out, SocketOut::Credit(_)) {
            self.held.push_back(out);
        } else {
            self.send(out, ctx);
        }
    }
}
