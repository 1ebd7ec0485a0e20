//! Owns one call: performs what the call machine decides.

mod sockets;

use crate::alive::{Alive, Life};
use crate::call_registry::{Answered, Outcome};
use crate::carrier::line::Parcel;
use crate::clock::Clock;
use crate::door::FlowBook;
use crate::driver::{Done, Driver, Owner};
use crate::flow_registry::{Completed, FlowRegistry, Reopen};
use crate::journal_writer::{Close, JournalHand};
use crate::numbers::Numbers;
use crate::obituary::{Died, Obituary};
use crate::outbox::{Outside, Owed};
use crate::port::audio::Audio;
use crate::port::recording::{RecordingFile, Recordings};
use crate::post::{Held, Posted};
use crate::sub_workflow::{SubWorkflow, Take};
use crate::tally::{Share, Tally};
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};
use futures_util::future::BoxFuture;
use holdline_core::call::{Answer, AskNo, Call, Effect, Input, Request, StreamNo, StreamOut, Summary};
use holdline_core::fact::{Entry, Fact, Key};
use holdline_core::flow::run::{Run, RunSpec};
use holdline_core::metric::{self, Limit};
use holdline_core::provider::twilio::stream::Start;
use holdline_core::scene::RecordingReport;
use holdline_core::{CallId, Machine, WorkflowId};
use sockets::Sockets;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tracing::Span;

/// Places in a session's mailbox: a stream's credit, and room for what comes beside it.
pub const MAILBOX: usize = 256;
/// Messages that a socket may be owed before it counts as blocked.
pub const SOCKET_CREDIT: u32 = 64;
/// Requests that wait for their answers.
pub const ASKS_MAX: usize = 64;

/// A step that can't be written plays out meanwhile; after this the call ends.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);

/// What every session of a house shares.
pub struct House {
    pub clock: Clock,
    pub journal: JournalHand,
    pub flows: Addr<FlowRegistry>,
    pub book: Arc<dyn FlowBook>,
    pub audio: Arc<dyn Audio>,
    pub recordings: Arc<dyn Recordings>,
    pub outside: Outside,
    pub tally: Arc<Tally>,
    /// Phone numbers as the log may show them.
    pub numbers: Numbers,
}

pub struct CallSession {
    driver: Driver<Call>,
    /// Around every line of the log that this call causes here. No frame enters it: that would cost more than a frame.
    span: Span,
    house: Arc<House>,
    key: Key,
    workflow: WorkflowId,
    flow: Option<Held<Take>>,
    /// Written in one batch with the call's own first facts.
    first: Vec<Entry>,
    /// The first facts of the flow, likewise, behind the first of them.
    born: Vec<Fact>,
    replies: BTreeMap<AskNo, oneshot::Sender<Outcome>>,
    last_ask: u64,
    sockets: Sockets,
    recording: Option<Box<dyn RecordingFile>>,
    /// More may be said before anything is sent.
    gathers: bool,
    /// What of the tally is this session's.
    share: Share,
    begin: Option<Begin>,
    outbox: Held<Owed>,
    obituary: Obituary<CallId>,
    alive: Alive,
    _life: Life,
}

/// How a session comes into the world.
pub enum Begin {
    Fresh { sub: Box<RunSpec>, first: Vec<Entry> },
    Restored { run: Option<Box<Run>> },
}

/// Everything that a session may be told.
#[derive(Message)]
#[rtype(result = "()")]
pub enum Mail {
    Ask {
        request: Request,
        reply: oneshot::Sender<Outcome>,
    },
    Input(Input),
    /// A socket that was admitted is open.
    SocketOpen {
        stream: StreamNo,
        out: Held<SocketOut>,
    },
    /// The same, and the session is to hold it.
    LineOpen {
        stream: StreamNo,
        line: Box<Parcel>,
        /// What it has said of itself already.
        start: Option<Box<Start>>,
        /// For what it has not.
        start_deadline: Duration,
    },
    /// The socket has sent so many messages.
    SocketSent {
        stream: StreamNo,
        count: u32,
    },
    /// What the machine counts right now; its levels are measured from here on, for a while.
    Observe {
        reply: oneshot::Sender<serde_json::Value>,
    },
    /// A test provokes a panic in this session, and in no other.
    Provoke,
}

/// To the socket's actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub enum SocketOut {
    Send(StreamOut),
    Close(u16),
    /// The session has taken so many frames.
    Credit(u32),
}

impl CallSession {
    pub fn new(
        house: Arc<House>,
        call: Call,
        begin: Begin,
        obituary: Obituary<CallId>,
        alive: Alive,
    ) -> CallSession {
        let sid = call.state().arrival.call.clone();
        CallSession {
            span: tracing::info_span!("call", call = %sid),
            key: Key::Call(sid),
            workflow: call.state().sub_workflow.clone(),
            driver: Driver::new(house.clock, call),
            outbox: Held::new(house.outside.outbox.clone()),
            house,
            flow: None,
            first: Vec::new(),
            born: Vec::new(),
            replies: BTreeMap::new(),
            last_ask: 0,
            sockets: Sockets::default(),
            recording: None,
            gathers: false,
            share: Share::default(),
            begin: Some(begin),
            obituary,
            _life: alive.begin(),
            alive,
        }
    }

    fn begin_flow(&mut self, begin: Begin, ctx: &mut Context<Self>) {
        let session = Held::new(ctx.address());
        let obituary = Obituary::new((), ctx.address().recipient());
        let book = self.house.book.clone();
        let flow = match begin {
            Begin::Fresh { sub, first } => {
                // The run's own beginning goes with the call's: no crash may leave a call on disk without its flow.
                let now = self.driver.clock().now();
                let (run, facts) = Run::begin(now, *sub);
                self.first = first;
                self.born = facts.into_iter().map(Fact::Run).collect();
                Some(SubWorkflow::new(run, book, session, obituary, self.alive.begin()))
            }
            Begin::Restored { run } => {
                run.map(|run| SubWorkflow::new(*run, book, session, obituary, self.alive.begin()))
            }
        };
        self.flow = flow.map(|flow| Held::new(flow.start()));
    }

    /// Writes a batch, and lets go of what waits behind it.
    fn record(&mut self, mut facts: Vec<(u64, Fact)>, ctx: &mut Context<Self>) -> Done {
        self.share.settle(self.driver.machine().state(), &self.house.tally);
        let wall_ms = self.driver.decided_ms();
        let mut batch = std::mem::take(&mut self.first);
        // Behind the call's arrival, ahead of what its flow has done since.
        let behind = facts.len().min(1);
        let born = std::mem::take(&mut self.born);
        facts.splice(behind..behind, born.into_iter().map(|fact| (wall_ms, fact)));
        let entry = |(wall_ms, fact): (u64, Fact)| Entry { key: fact.key(&self.key), wall_ms, fact };
        batch.extend(facts.into_iter().map(entry));
        let writing = tokio::time::timeout(WRITE_PATIENCE, self.house.journal.append(batch));
        ctx.spawn(writing.into_actor(self).map(|written, actor, ctx| match written {
            Ok(Ok(())) => actor.release(ctx),
            Ok(Err(error)) => actor.cannot_write(&error.to_string(), ctx),
            Err(_) => actor.cannot_write("the disk takes nothing", ctx),
        }));
        Done::Later
    }

    /// Nothing may be seen that is not written: the call ends. What it decided last stays queued at the journal, and
    /// whoever reads it there next writes down why it ended.
    fn cannot_write(&mut self, why: &str, ctx: &mut Context<Self>) {
        tracing::error!(parent: &self.span, why, "facts could not be written");
        self.close_all();
        self.obituary.gave_up();
        ctx.stop();
    }

    fn answer(&mut self, ask: AskNo, answer: Answer, ctx: &mut Context<Self>) {
        let reply = self.replies.remove(&ask);
        if self.replies.is_empty() {
            self.replies = BTreeMap::new(); // a tree keeps its last node
        }
        if let Some(reply) = reply {
            // Whoever asked may have gone; the network will ask again.
            let workflow = self.driver.machine().state().workflow.clone();
            let _ = reply.send(Ok(Answered { answer, workflow, session: ctx.address() }));
        }
    }

    fn load(&mut self, sound: u64, what: &holdline_core::scene::Sound, ctx: &mut Context<Self>) {
        let loading = self.house.audio.load(&self.workflow, what);
        ctx.spawn(
            loading
                .into_actor(self)
                .map(move |audio, actor, ctx| actor.turn(Input::Loaded { sound, audio }, ctx)),
        );
    }

    fn close_recording(&mut self, mut report: RecordingReport, ctx: &mut Context<Self>) {
        let closing: BoxFuture<'static, Result<u64, String>> = match self.recording.take() {
            Some(file) => file.close(),
            None => Box::pin(std::future::ready(Err("the file was never opened".to_owned()))),
        };
        ctx.spawn(closing.into_actor(self).map(move |bytes, actor, ctx| {
            match bytes {
                Ok(bytes) => report.bytes = bytes,
                Err(why) => {
                    tracing::error!(parent: &actor.span, file = report.file, why, "a recording could not be written");
                    report.ended_by = "failed".into();
                }
            }
            actor.turn(Input::RecordingClosed { report }, ctx);
        }));
    }

    fn log_arrival(&self) {
        let state = self.driver.machine().state();
        let (from, to) =
            (self.house.numbers.show(&state.arrival.from), self.house.numbers.show(&state.arrival.to));
        let (workflow, direction) = (&state.workflow, &state.arrival.direction);
        tracing::info!(parent: &self.span, %workflow, direction, %from, %to, "call arrived");
    }

    fn log_end(&self, summary: &Summary) {
        let state = self.driver.machine().state();
        tracing::info!(
            parent: &self.span,
            call = %state.arrival.call,
            workflow = %state.workflow,
            end_reason = summary.reason.as_str(),
            duration_ms = summary.duration.as_millis() as u64,
            frames_in = summary.frames_in,
            frames_out = summary.frames_out,
            frames_dropped = summary.frames_dropped,
            "call ended"
        );
    }
}

impl Actor for CallSession {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        ctx.spawn(Drained);
        if let Some(begin) = self.begin.take() {
            let restored = matches!(begin, Begin::Restored { .. });
            if !restored {
                self.log_arrival();
            }
            self.begin_flow(begin, ctx);
            if restored {
                self.share.settle(self.driver.machine().state(), &self.house.tally);
                self.wake(ctx);
            }
        }
    }
}

impl Owner for CallSession {
    type Machine = Call;

    fn driver(&mut self) -> &mut Driver<Call> {
        &mut self.driver
    }

    fn is_urgent(effect: &Effect) -> bool {
        effect.is_urgent()
    }

    fn perform(&mut self, effect: Effect, ctx: &mut Context<Self>) -> Done {
        match effect {
            Effect::Record(facts) => return self.record(facts, ctx),
            Effect::Take { turn, posture, event } => {
                let now = self.driver.clock().now();
                if let Some(flow) = &self.flow {
                    // One turn is under way at a time, and the call would wait for ever for one that is lost.
                    flow.last_word(Take::Turn { now, turn, posture, event });
                }
            }
            Effect::WaitTurn { ask, exchange, turn, waited_s } => {
                let now = self.driver.clock().now();
                let wait = Take::Wait { now, ask, exchange, turn, waited_s };
                let posted = self.flow.as_ref().map_or(Posted::Gone, |flow| flow.post(wait));
                if self.house.tally.posted("flow", posted) != Posted::Taken {
                    self.replies.remove(&ask); // the dropped reply tells the one who asked
                }
            }
            Effect::Answer { ask, answer } => self.answer(ask, answer, ctx),
            Effect::Transmit { stream, out } => self.transmit(stream, out, ctx),
            Effect::CloseStream { stream, code } => self.close_stream(stream, code, ctx),
            Effect::Load { sound, what } => self.load(sound, &what, ctx),
            Effect::OpenEcho { echo } => self.turn_later(Input::EchoOpen { echo }, ctx),
            Effect::Fetch { no, errand } => {
                let asking = self.house.outside.world.perform(errand).into_actor(self);
                ctx.spawn(asking.map(move |outcome, actor, ctx| {
                    actor.turn(Input::Fetched { no, outcome }, ctx);
                }));
            }
            Effect::Reach { no, errand } => {
                let asking = self.house.outside.world.perform(errand).into_actor(self);
                ctx.spawn(asking.map(move |outcome, actor, ctx| {
                    actor.turn(Input::Reached { no, outcome }, ctx);
                }));
            }
            Effect::Count(what) => self.house.tally.count(&metric::REPAIRS, &[what]),
            Effect::Deliver(delivery) => {
                self.house.tally.posted("outbox", self.outbox.post(Owed(delivery)));
            }
            Effect::OpenRecording { file, channels, .. } => {
                self.recording = Some(self.house.recordings.open(&file, channels));
            }
            Effect::AppendRecording { pcm } => {
                if let Some(file) = &mut self.recording {
                    file.append(pcm);
                }
            }
            Effect::CloseRecording { report } => self.close_recording(report, ctx),
            Effect::TellParent { run, completion } => {
                let Key::Call(call) = self.key.clone() else { return Done::Now };
                let told = Completed { run, call, completion, session: Held::new(ctx.address()) };
                // An outbox row: told again until it is acknowledged, so a full mailbox loses nothing.
                if self.house.flows.try_send(told).is_err() {
                    self.house.tally.posted("flows", Posted::Full);
                }
            }
            // Once for each end; should it be lost, only the next start finds the run.
            Effect::Follow { run } => Held::new(self.house.flows.clone()).last_word(Reopen(run)),
            Effect::Summary(summary) => {
                self.house.tally.call_ended(&summary);
                self.log_end(&summary);
            }
            Effect::Finished => {
                let _ = self.house.journal.try_send(Close(self.key.clone()));
            }
        }
        Done::Now
    }
}

impl Handler<Mail> for CallSession {
    type Result = ();

    fn handle(&mut self, mail: Mail, ctx: &mut Self::Context) {
        self.gathers = true;
        self.share.read();
        self.read(mail, ctx);
        self.gathers = false;
    }
}

impl CallSession {
    fn read(&mut self, mail: Mail, ctx: &mut Context<Self>) {
        match mail {
            Mail::Ask { request, reply } => {
                if self.replies.len() >= ASKS_MAX {
                    self.house.tally.hit(Limit::CallRequests);
                    return; // the dropped reply tells the one who asked
                }
                self.last_ask += 1;
                let ask = AskNo(self.last_ask);
                self.replies.insert(ask, reply);
                self.turn(Input::Asked { ask, request }, ctx);
            }
            Mail::Input(Input::StreamDown { stream }) => {
                self.sockets.remove(stream);
                self.turn(Input::StreamDown { stream }, ctx);
            }
            Mail::Input(Input::Heard { stream, audio, at_ms }) => {
                self.turn(Input::Heard { stream, audio, at_ms }, ctx);
                self.took(stream);
            }
            Mail::Input(input) => self.turn(input, ctx),
            Mail::SocketOpen { stream, out } => self.socket_open(stream, out),
            Mail::LineOpen { stream, line, start, start_deadline } => {
                self.line_open(stream, *line, start.map(|start| *start), start_deadline, ctx);
            }
            Mail::SocketSent { stream, count } => self.sent(stream, count, ctx),
            Mail::Observe { reply } => {
                self.turn(Input::Watched, ctx);
                let now = self.driver.clock().now();
                let _ = reply.send(self.driver.machine().media_view(now));
            }
            Mail::Provoke => panic!("provoked"),
        }
    }
}

impl Handler<Died<()>> for CallSession {
    type Result = ();

    /// The flow's actor is gone. After a panic nobody can vouch for the call's state either: it is rebuilt from its
    /// facts, as if this session had panicked itself.
    fn handle(&mut self, died: Died<()>, ctx: &mut Self::Context) {
        if died.panicked && !self.driver.machine().is_over() {
            self.turn(Input::FlowLost, ctx);
            self.obituary.died_of_a_child();
            ctx.stop();
        }
    }
}

/// Behind the messages of one wake.
struct Drained;

impl ActorFuture<CallSession> for Drained {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut CallSession,
        _: &mut Context<CallSession>,
        _: &mut task::Context<'_>,
    ) -> Poll<()> {
        session.share.read_all();
        Poll::Pending
    }
}

impl Drop for CallSession {
    fn drop(&mut self) {
        self.share.leave(self.driver.machine(), &self.house.tally);
    }
}
