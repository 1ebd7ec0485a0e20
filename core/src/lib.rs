//! What a call does: pure machines, told the time, giving effects.
//!
//! Nothing in this crate reads a clock, opens a socket or a file, starts a thread or throws dice. A machine takes
//! `(now, input)` and pushes effects; whoever owns it performs them. So a crash-restart, a rebuild after a panic and
//! a test fixture are one road: fold the facts, go on.
//!
//! | room | what it decides |
//! |---|---|
//! | [`call`] | the life of one phone call: exchanges, stream, playout, ends, the completion |
//! | [`flow`] | the workflow language: documents, cursor, stacks, variables, actions |
//! | [`workflow`] | a main workflow around a flow's run: trigger, completion, what comes after |
//! | [`fold`] | what a story's facts come to, from the first or from a snapshot |
//! | [`event`] | which facts others are told of, and as what |
//! | [`outbound`] | calls that we place: dialled once, whatever happens |
//! | [`once`] | what was asked for under a key, so that it is done once |
//! | [`roster`] | which calls exist, who is rebuilt, who is turned away |
//! | [`http`] | what a workflow asks of other systems, and how their answers are judged |
//! | [`front`] | what a request of the phone network means, and whether it may come in |
//! | [`provider`] | the phone network's own words: forms, TwiML, stream messages, signatures |
//! | [`metric`] | what is counted and measured, and the page that monitoring reads |
//! | [`timeline`], [`trace`] | what happened, for people and for collectors of traces |
//! | [`media`] | sound: G.711, WAV, resampling, tones, playout, recording |

pub mod call;
pub mod document;
pub mod event;
pub mod fact;
pub mod flow;
pub mod fold;
pub mod front;
#[doc(hidden)]
pub mod fuzz;
pub mod http;
pub mod id;
pub mod invariant;
pub mod limit;
pub mod media;
pub mod metric;
pub mod notice;
pub mod once;
pub mod outbound;
pub mod provider;
pub mod roster;
pub mod scene;
pub mod secret;
pub mod time;
pub mod timeline;
pub mod trace;
pub mod workflow;

pub use id::{CallId, RunId, WorkflowId};

use std::time::Duration;

/// A point on the monotonic clock, in microseconds since the process (or the play) began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

impl Tick {
    pub const fn from_millis(millis: u64) -> Tick {
        Tick(millis * 1000)
    }

    pub const fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// Time since `earlier`; zero when `earlier` is later.
    pub fn since(self, earlier: Tick) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Tick {
    type Output = Tick;
    fn add(self, after: Duration) -> Tick {
        Tick(self.0.saturating_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// The time, told and never asked: `tick` orders and measures, `wall_ms` (Unix milliseconds) is for people, for facts
/// and for due times that must survive a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    pub tick: Tick,
    pub wall_ms: u64,
}

impl Now {
    /// The tick at which the wall clock will show `wall_ms`; now, if that is past.
    pub fn tick_at_wall(self, wall_ms: u64) -> Tick {
        self.tick + Duration::from_millis(wall_ms.saturating_sub(self.wall_ms))
    }
}

/// A plain state machine. Its owner hands it inputs, performs its effects in order, and wakes it at `wake_at`.
pub trait Machine {
    type Input;
    type Effect;
    fn handle(&mut self, now: Now, input: Self::Input, out: &mut Vec<Self::Effect>);
    /// Time has passed: whatever is due by `now` happens.
    fn wake(&mut self, now: Now, out: &mut Vec<Self::Effect>);
    /// When it must be woken; `None` once over or truly idle.
    fn wake_at(&self) -> Option<Tick>;
    fn is_over(&self) -> bool;
}
