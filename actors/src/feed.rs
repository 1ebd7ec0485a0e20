//! What is told, kept for a while: whoever listens reads it at a pace of their own, and whoever was away for a moment
//! goes on where they were.
//!
//! Nobody has a queue of their own, so a slow listener costs nothing: it finds less than it missed, and is told so.

use crate::clock::Clock;
use holdline_core::event::Told;
use holdline_core::{CallId, Tick};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Events that are kept, and their bytes.
pub const KEPT_MAX: usize = 10_000;
pub const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Listeners at once: a few dashboards and a few programs.
pub const LISTENERS_MAX: usize = 64;
/// For so long after the last listener has gone events are still kept, so that it finds them when it comes back.
pub const LINGER: Duration = Duration::from_secs(5 * 60);

pub struct Feed {
    clock: Clock,
    ring: Mutex<Ring>,
    /// The newest event's number; closed when the house closes.
    news: watch::Sender<u64>,
    tally: FeedTally,
}

/// What the feed counts.
#[derive(Debug, Default)]
pub struct FeedTally {
    told: AtomicU64,
    gaps: AtomicU64,
    refused: AtomicU64,
}

struct Ring {
    /// Their numbers follow on each other; the last one's is `newest`.
    kept: VecDeque<Arc<Line>>,
    bytes: usize,
    newest: u64,
    listeners: usize,
    /// Nobody listens: it is followed until then.
    until: Option<Tick>,
    closed: bool,
}

/// An event, numbered.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    pub number: u64,
    pub kind: &'static str,
    /// The call that it is about, or whose activeflow it is about.
    pub call: Option<CallId>,
    /// The envelope.
    pub body: String,
}

/// Events are missing: these are the ones that are still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    pub oldest: u64,
    pub newest: u64,
}

/// What a listener gets next.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub gap: Option<Gap>,
    pub lines: Vec<Arc<Line>>,
}

/// There are as many listeners as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{LISTENERS_MAX} listen already")]
pub struct TooMany;

impl Feed {
    /// Numbers go on from the microseconds of its beginning, so they rise over restarts: no process tells a thousand
    /// events a millisecond for all of its life.
    pub fn new(clock: Clock) -> Feed {
        let newest = clock.now().wall_ms.saturating_mul(1000);
        Feed {
            clock,
            ring: Mutex::new(Ring {
                kept: VecDeque::new(),
                bytes: 0,
                newest,
                listeners: 0,
                until: None,
                closed: false,
            }),
            news: watch::Sender::new(newest),
            tally: FeedTally::default(),
        }
    }

    /// Does anybody want to hear what is told?
    pub fn is_wanted(&self) -> bool {
        let mut ring = self.ring();
        ring.lapse(self.clock);
        ring.listeners > 0 || ring.until.is_some()
    }

    /// They are on disk.
    pub fn tell(&self, told: Vec<Told>) {
        if told.is_empty() {
            return;
        }
        self.tally.told.fetch_add(told.len() as u64, Ordering::Relaxed);
        let newest = self.ring().keep(told);
        self.news.send_replace(newest);
    }

    /// A listener that has heard everything up to `last`; or, without it, hears what is told from now on.
    pub fn listen(self: &Arc<Feed>, last: Option<u64>) -> Result<Listener, TooMany> {
        let mut ring = self.ring();
        ring.lapse(self.clock);
        if ring.listeners >= LISTENERS_MAX {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            return Err(TooMany);
        }
        ring.listeners += 1;
        ring.until = None;
        let newest = ring.newest;
        let next = match last {
            None => newest + 1,
            // Nothing that we know: whatever it has heard, it was not from here.
            Some(last) if last > newest => 0,
            Some(last) => last + 1,
        };
        drop(ring);
        Ok(Listener { feed: self.clone(), news: self.news.subscribe(), next })
    }

    /// Listeners hear what was told, and no more.
    pub fn close(&self) {
        self.ring().closed = true;
        self.news.send_modify(|_| {});
    }

    pub fn listeners(&self) -> usize {
        self.ring().listeners
    }

    pub fn tally(&self) -> &FeedTally {
        &self.tally
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FeedTally {
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Relaxed)
    }

    /// How often a listener was told that something is missing.
    pub fn gaps(&self) -> u64 {
        self.gaps.load(Ordering::Relaxed)
    }

    /// Listeners that found no place.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Ring {
    /// Nobody has come back in time: nothing is kept any more. A number is left out, since what happens from now on is
    /// told to nobody.
    fn lapse(&mut self, clock: Clock) {
        if self.until.is_some_and(|until| until <= clock.now().tick) {
            self.until = None;
            self.kept.clear();
            self.bytes = 0;
            self.newest += 1;
        }
    }

    fn oldest(&self) -> u64 {
        (self.newest + 1).saturating_sub(self.kept.len() as u64)
    }

    fn keep(&mut self, told: Vec<Told>) -> u64 {
        for Told { event, body } in told {
            self.newest += 1;
            self.bytes += body.len();
            let line = Line { number: self.newest, kind: event.kind, call: event.call, body };
            self.kept.push_back(Arc::new(line));
        }
        while self.kept.len() > KEPT_MAX || (self.bytes > KEPT_BYTES_MAX && self.kept.len() > 1) {
            if let Some(oldest) = self.kept.pop_front() {
                self.bytes -= oldest.body.len();
            }
        }
        self.newest
    }
}

/// One who listens. Its place is free again when it is dropped.
pub struct Listener {
    feed: Arc<Feed>,
    news: watch::Receiver<u64>,
    /// The number of what it has not heard yet.
    next: u64,
}

impl Listener {
    /// The next of what it has not heard, at most so many looked at; of one call, where it asks for one. `None` when
    /// the house closes and there is nothing more.
    pub fn take(&mut self, call: Option<&CallId>, most: usize) -> Option<Taken> {
        // What is told from here on rings again.
        self.news.mark_unchanged();
        let ring = self.feed.ring();
        let (oldest, newest) = (ring.oldest(), ring.newest);
        let mut taken = Taken::default();
        if self.next < oldest {
            taken.gap = Some(Gap { oldest, newest });
            self.feed.tally.gaps.fetch_add(1, Ordering::Relaxed);
            self.next = oldest;
        }
        let from = usize::try_from(self.next - oldest).unwrap_or(usize::MAX);
        for line in ring.kept.iter().skip(from).take(most) {
            self.next = line.number + 1;
            if call.is_none_or(|call| line.call.as_ref() == Some(call)) {
                taken.lines.push(line.clone());
            }
        }
        let is_last = ring.closed && taken.gap.is_none() && self.next > newest;
        (!is_last || !taken.lines.is_empty()).then_some(taken)
    }

    /// Whether something is there that it has not heard.
    pub fn is_behind(&self) -> bool {
        self.next <= self.feed.ring().newest
    }

    /// Something may be there to be heard, or the house closes.
    pub async fn news(&mut self) {
        // The sender lives in the feed, which this one holds.
        let _ = self.news.changed().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut ring = self.feed.ring();
        ring.listeners = ring.listeners.saturating_sub(1);
        if ring.listeners == 0 {
            ring.until = Some(self.feed.clock.now().tick + LINGER);
        }
    }
}
