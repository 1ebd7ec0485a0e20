//! The life of one phone call.
//!
//! [`Call`] is told what the network, the socket, its flow and people say ([`Input`]), and says what is to be done
//! ([`Effect`]). Its heart are the *exchanges*: the network asks, it gets a document, it comes back. Between two of
//! them a stream may be up, on which sound goes both ways.
//!
//! | file | what it decides |
//! |---|---|
//! | [`fact`], [`state`] | what is written down, and the state that is its fold |
//! | [`words`] | the vocabulary |
//! | `asking.rs` | who asks for a document, and which one they get |
//! | `turning.rs` | turns with the flow, and the documents that come of them |
//! | `streaming.rs` | sockets: tokens, takeover, sound, digits |
//! | `ending.rs` | deadlines, ends, the completion |
//! | [`reaching`] | with credentials: what the network is asked by its REST API, and what that leads to |
//!
//! Refuses to know: HTTP, TwiML, files, actors, the clock.

mod asking;
pub mod begin;
mod ear;
mod ending;
pub mod fact;
pub mod reaching;
mod sound;
pub mod state;
mod streaming;
mod turning;
pub mod words;

pub use fact::{CallEnd, CallFact};
pub use reaching::RestConfig;
pub use sound::{ECHO_HELD_MAX, SAYS_MAX, WAITING_MAX};
pub use state::CallState;
pub use streaming::EARLY_MAX;
pub use words::*;

use crate::fact::Fact;
use crate::invariant;
use crate::media::level::Meter;
use crate::media::playout::{LEAD_MAX, PlayoutCounts};
use crate::once::Stamp;
use crate::{Machine, Now, Tick};
use ending::Deadlines;
use reaching::Reach;
use sound::Desk;
use std::sync::Arc;
use std::time::Duration;
use streaming::{Live, Opening};
use turning::{FlowLink, Making};

pub struct Call {
    config: Arc<CallConfig>,
    state: CallState,
    flow: FlowLink,
    making: Option<Making>,
    live: Option<Live>,
    opening: Opening,
    desk: Desk,
    deadlines: Deadlines,
    reach: Reach,
    /// Facts of this input, not yet handed over to be written.
    batch: Vec<(u64, Fact)>,
    counters: Counters,
    /// Only while somebody looks.
    meter: Option<Box<Meter>>,
    finished: bool,
}

/// What is counted and not written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    pub frames_in: u64,
    pub frames_out: u64,
    pub frames_dropped: u64,
    /// Of those: dropped before anybody listened, and in an echo. The others found our own end too slow.
    pub dropped_early: u64,
    pub dropped_echo: u64,
    pub stale_turns: u64,
    pub ignored_inputs: u64,
    /// What found its bound reached.
    pub digits_refused: u64,
    pub sounds_refused: u64,
    pub texts_refused: u64,
}

impl Counters {
    pub fn dropped_slow(&self) -> u64 {
        self.frames_dropped.saturating_sub(self.dropped_early + self.dropped_echo)
    }
}

/// All that a call counts of its sound, and what of it waits to be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MediaCounts {
    pub call: Counters,
    pub playout: PlayoutCounts,
    pub queued: usize,
}

impl Call {
    /// A call whose first webhook has just come. The facts of its arrival are written with its first document.
    pub fn arrive(now: Now, config: Arc<CallConfig>, arrived: CallFact) -> Option<Call> {
        let state = CallState::begin(&arrived, now.wall_ms)?;
        let mut call = Call::with_state(now, config, state);
        call.batch.push((now.wall_ms, Fact::Call(arrived)));
        call.heard_of_network(now);
        Some(call)
    }

    /// A call folded from its facts, after a restart or a panic: no stream is up, nothing is in flight. The network
    /// has `return_grace` to come back.
    pub fn restore(now: Now, config: Arc<CallConfig>, state: CallState) -> Call {
        let mut call = Call::with_state(now, config, state);
        call.flow.over = call.state.flow_over.is_some();
        call.flow.stream_lost = call.state.streams.back().is_some_and(|stream| stream.ended_ms.is_none());
        call.resume_recordings(now);
        call.resume_deadlines(now);
        call.look_after_restart(now);
        // Waits that need no line go on by their own due times.
        call.tell_flow(crate::scene::Event::Proceed);
        call
    }

    fn with_state(now: Now, config: Arc<CallConfig>, state: CallState) -> Call {
        let deadlines = Deadlines::of_new_call(now, &config, &state);
        let desk = Desk::new(config.media.clone());
        Call {
            config,
            state,
            flow: FlowLink::default(),
            making: None,
            live: None,
            opening: Opening::default(),
            desk,
            deadlines,
            reach: Reach::default(),
            batch: Vec::new(),
            counters: Counters::default(),
            meter: None,
            finished: false,
        }
    }

    pub fn state(&self) -> &CallState {
        &self.state
    }

    /// Somebody looks: from here on its levels are measured, for a while.
    fn watched(&mut self, now: Now) {
        self.meter.get_or_insert_with(|| Box::new(Meter::new(now.tick))).watched(now.tick);
    }

    /// Sound that was sent and can't have been played yet, and the most that there may be of it.
    pub fn sound_ahead(&self, now: Now) -> (Duration, Duration) {
        // One burst, and what became due while it was sent.
        const BURST: Duration = Duration::from_millis(100);
        (self.desk.ahead(now.tick), self.config.media.lead.min(LEAD_MAX) + BURST)
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn media_counts(&self) -> MediaCounts {
        let (playout, queued) = self.desk.counts();
        MediaCounts { call: self.counters, playout, queued }
    }

    /// Whether something is decided and not yet handed over: it waits for the document that it was asked by.
    pub fn holds_back(&self) -> bool {
        !self.batch.is_empty()
    }

    /// Decides: the fact is in force from here on, and is written before anything behind it is done.
    fn decide(&mut self, now: Now, fact: CallFact) {
        self.state.apply(&fact, now.wall_ms);
        self.batch.push((now.wall_ms, Fact::Call(fact)));
    }

    /// Somebody's wish is carried out: that stands in the batch of whatever it causes.
    fn obeyed(&mut self, now: Now, stamp: Option<Stamp>, deferred: bool) {
        if let Some(stamp) = stamp.filter(|_| self.state.over.is_none()) {
            self.decide(now, CallFact::Obeyed(stamp.deed(now.wall_ms, deferred)));
        }
    }

    /// Hands over what was decided, ahead of the effects that rest on it.
    fn write(&mut self, out: &mut Vec<Effect>) {
        if !self.batch.is_empty() {
            out.push(Effect::Record(std::mem::take(&mut self.batch)));
        }
    }
}

impl Machine for Call {
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, now: Now, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Asked { ask, request } => self.asked(now, ask, request, out),
            Input::Took { turn, report } => self.took(now, turn, report, out),
            Input::Waited { ask, exchange, turn, verbs } => {
                out.push(Effect::Answer { ask, answer: Answer::WaitDocument { exchange, turn, verbs } });
            }
            Input::StreamUp { stream, stream_sid, trouble } => {
                self.stream_up(now, stream, stream_sid, trouble, out);
            }
            Input::Heard { stream, audio, at_ms } => self.heard(now, stream, audio, at_ms, out),
            Input::Pressed { stream, digit } => self.pressed(now, stream, digit),
            Input::Marked { stream, name } => self.marked(now, stream, &name),
            Input::Stopped { stream } => self.stopped(now, stream, out),
            Input::StreamDown { stream } => self.stream_down(now, stream, out),
            Input::Blocked { stream, blocked } => self.blocked(now, stream, blocked),
            Input::Loaded { sound, audio } => self.loaded(now, sound, audio, out),
            Input::EchoOpen { echo } => self.echo_open(now, echo, out),
            Input::RecordingClosed { report } => self.recording_closed(now, report),
            Input::Reached { no, outcome } => self.reached(now, no, &outcome, out),
            Input::Fetched { no, outcome } => self.tell_flow(crate::scene::Event::Fetched { no, outcome }),
            Input::Dropped { frames } => self.counters.frames_dropped += frames,
            // What waits for the document that now never comes is what the call is rebuilt from.
            Input::FlowLost => self.write(out),
            Input::Acked => self.acked(now),
            Input::Watched => self.watched(now),
            Input::HandOver => self.hand_over(now, out),
        }
        self.settle(now, out);
    }

    fn wake(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.wake_deadlines(now, out);
        self.wake_reach(now, out);
        self.wake_flow(now);
        self.settle(now, out);
    }

    fn wake_at(&self) -> Option<Tick> {
        if self.finished {
            return None;
        }
        [self.deadlines.next(), self.reach.next(), self.flow_due(), self.desk.due_at()]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_over(&self) -> bool {
        self.finished
    }
}

impl Call {
    /// The end of every input: sound that is due goes out, the next turn begins, what was decided is written.
    fn settle(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.play(now, out);
        self.leave_if_quiet(now, out);
        self.finish_if_done(now, out);
        self.next_turn(now, out);
        // What a document is asked by is written together with it, so that its answer waits for one commit, not two.
        if !self.flow.is_answering() {
            self.write(out);
        }
        if self.state.acked || (self.state.over.is_some() && self.state.main_run.is_none()) {
            self.finish(out);
        }
        debug_assert_eq!(invariant::sound_in_flight(self, now), Ok(()));
        debug_assert!(
            self.batch.is_empty() || self.flow.is_answering(),
            "what was decided is handed over to be written"
        );
    }

    fn finish(&mut self, out: &mut Vec<Effect>) {
        if !self.finished {
            self.finished = true;
            out.push(Effect::Finished);
        }
    }
}
