//! One call's outbound audio: what is sent when, and what of it was heard.
//!
//! **Pace.** Frames leave on absolute deadlines, 20 ms apart: a late tick makes up for itself and no drift builds up.
//! Up to 60 ms late, everything due goes out at once. Later than that the caller has heard a hole anyway; then three
//! frames go out and the cadence starts anew at that moment. One utterance follows another without a gap.
//!
//! **Heard.** Sent is not played. After an utterance's last frame goes a mark, which the network returns when it has
//! played that far; only then was the utterance heard. A network that never returns marks delays this by a bounded
//! time, not for ever. A mark that comes back after a clear proves nothing, since clearing returns all marks: marks
//! of a cut utterance are forgotten, so their echoes mean nothing.
//!
//! **Back-pressure.** When the socket takes no more, frames wait here. A queue that has been full of overdue frames
//! for a second fails its utterance, and the next one waits a second of its own.

mod utterance;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::frame::{FRAME, FRAME_BYTES, FRAME_MS, Frame};
use crate::Tick;
use crate::metric::LATE_BOUNDS;
use utterance::Utterance;

/// A late tick of up to this much sends all that is due; anything later starts the cadence anew.
pub const LATE_MAX: Duration = Duration::from_millis(60);
/// Frames that one tick sends to catch up.
pub const BURST_MAX: u64 = 3;
/// How long after its audio's end an utterance waits for its mark, until it counts as heard.
pub const MARK_WAIT: Duration = Duration::from_secs(2);
/// Utterances of one call that wait, play, or wait for their marks. Actions queue at most a few; this only keeps a
/// loop of tiny ones bounded.
pub const UTTERANCES_MAX: usize = 128;
/// Running further ahead than this would fill the network's buffer to no use.
pub const LEAD_MAX: Duration = Duration::from_secs(5);

/// Names one utterance; chosen by whoever begins it, never used twice in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SoundId(pub u64);

/// Where an utterance's audio comes from, always µ-law at 8000 Hz.
#[derive(Debug, Clone)]
pub enum Source {
    /// All of it is there: a file, a tone. A last partial frame is filled up with silence.
    Whole(Arc<[u8]>),
    /// Somebody makes it as we go: [`Playout::push`], then [`Playout::finish`].
    Stream,
}

/// What the owner does, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    Frame(Frame),
    /// To be sent behind the frames; the network returns it.
    Mark(String),
    /// The network forgets what it has not yet played. Frames that the owner still holds go nowhere any more.
    Clear,
    Report(Report),
}

/// How an utterance ended. Exactly one for each that was begun, unless the stream was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    pub id: SoundId,
    /// Never more than was sent.
    pub heard_ms: u64,
    pub how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Played to its end.
    Whole,
    /// Hushed before its mark came back.
    Cut,
    /// The socket took no more for too long.
    Timeout,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeginError {
    #[error("at most {UTTERANCES_MAX} utterances of a call can wait or play at once")]
    TooMany,
    #[error("sound {0} has been begun already")]
    Again(u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// What a producer may be ahead, and what may be overdue before the socket counts as stalled.
    pub queue_frames: usize,
    /// How long the queue may be full until the utterance fails.
    pub stall_timeout: Duration,
    /// How far playing may run ahead of real time, for jittery paths. At most [`LEAD_MAX`].
    pub lead: Duration,
    /// Send silence while nothing plays.
    pub idle_silence: bool,
}

impl Default for PlayoutConfig {
    fn default() -> PlayoutConfig {
        PlayoutConfig {
            queue_frames: 50,
            stall_timeout: Duration::from_secs(1),
            lead: Duration::ZERO,
            idle_silence: false,
        }
    }
}

/// What has happened so far, for the call's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlayoutCounts {
    /// Frames of utterances, silence not counted.
    pub frames: u64,
    pub silence: u64,
    /// Times that the cadence started anew after more than 60 ms.
    pub rebases: u64,
    /// The latest that any frame was.
    pub late_max: Duration,
    /// How late frames were, by [`LATE_BOUNDS`] and beyond them, and all of it together.
    pub late: [u32; LATE_BOUNDS.len() + 1],
    pub late_micros: u64,
    /// Frames that were waiting here when a hush came.
    pub cleared: u64,
    pub timeouts: u64,
    /// Marks that never came back in time.
    pub marks_missed: u64,
    /// Marks that came back for nothing: after a clear, twice, or never ours.
    pub marks_stale: u64,
}

impl PlayoutCounts {
    fn frame(&mut self, late_micros: u64) {
        self.frames += 1;
        self.late_max = self.late_max.max(Duration::from_micros(late_micros));
        self.late_micros += late_micros;
        let at = LATE_BOUNDS.iter().position(|bound| late_micros <= *bound).unwrap_or(LATE_BOUNDS.len());
        if let Some(count) = self.late.get_mut(at) {
            *count = count.saturating_add(1);
        }
    }
}

#[derive(Debug)]
pub struct Playout {
    config: PlayoutConfig,
    /// The front one is playing.
    queue: VecDeque<Utterance>,
    /// Sent to their ends; their marks are out.
    marked: VecDeque<Marked>,
    /// When the next frame belongs.
    deadline: Option<Tick>,
    /// When the network will have played all that it was sent, if it plays in real time.
    heard_until: Tick,
    /// Part of every mark's name; a clear begins a new one.
    generation: u64,
    /// There is no stream to send to.
    frozen: bool,
    blocked_since: Option<Tick>,
    /// Since when the front utterance could have been sent.
    front_since: Tick,
    /// An utterance has failed and the socket has taken nothing since: the queue still counts as full.
    choked: bool,
    counts: PlayoutCounts,
}

#[derive(Debug)]
struct Marked {
    mark: String,
    sent: Utterance,
}

impl Playout {
    pub fn new(config: PlayoutConfig) -> Playout {
        let config = PlayoutConfig {
            queue_frames: config.queue_frames.max(1),
            lead: config.lead.min(LEAD_MAX),
            ..config
        };
        Playout {
            config,
            queue: VecDeque::new(),
            marked: VecDeque::new(),
            deadline: None,
            heard_until: Tick::default(),
            generation: 0,
            frozen: false,
            blocked_since: None,
            front_since: Tick::default(),
            choked: false,
            counts: PlayoutCounts::default(),
        }
    }

    /// Queues an utterance. After [`Playout::freeze`] this says that there is a stream again.
    pub fn begin(&mut self, now: Tick, id: SoundId, source: Source) -> Result<(), BeginError> {
        if self.queue.len() + self.marked.len() >= UTTERANCES_MAX {
            return Err(BeginError::TooMany);
        }
        if self.queue.iter().chain(self.marked.iter().map(|marked| &marked.sent)).any(|known| known.id == id)
        {
            return Err(BeginError::Again(id.0));
        }
        self.frozen = false;
        self.queue.push_back(Utterance::new(id, source));
        if self.queue.len() == 1 {
            self.resume(now);
        }
        Ok(())
    }

    /// Takes as many bytes of a streaming utterance as there is room for, and says how many. None once it has been
    /// cut, has failed or is finished.
    pub fn push(&mut self, now: Tick, id: SoundId, bytes: &[u8]) -> usize {
        let most = self.config.queue_frames * FRAME_BYTES;
        self.feed(now, id, |utterance| utterance.push(now, bytes, most))
    }

    /// Bytes that [`Playout::push`] would take now.
    pub fn room(&self, id: SoundId) -> usize {
        let most = self.config.queue_frames * FRAME_BYTES;
        self.queue.iter().find(|utterance| utterance.id == id).map_or(0, |utterance| utterance.room(most))
    }

    /// A streaming utterance has all its bytes; nothing happens if it is none, or gone.
    pub fn finish(&mut self, now: Tick, id: SoundId) {
        self.feed(now, id, Utterance::finish);
    }

    /// What is due goes out.
    pub fn tick(&mut self, now: Tick, out: &mut Vec<Out>) {
        self.miss_marks(now, out);
        if self.frozen {
            return;
        }
        self.fail_stalled(now, out);
        if self.blocked_since.is_none() {
            self.send_due(now, out);
        }
    }

    /// When [`Playout::tick`] has something to do; a time that is past means at once.
    pub fn due_at(&self) -> Option<Tick> {
        let mark = self.marked.front().map(|marked| marked.sent.heard_until + MARK_WAIT);
        let send = match self.queue.front() {
            _ if self.frozen => None,
            _ if self.blocked_since.is_some() => self.stalled_at(),
            Some(front) if front.is_spent() => Some(Tick::default()),
            Some(front) if front.ready() > 0 => self.deadline.map(|at| before(at, self.config.lead)),
            _ if self.config.idle_silence => Some(self.deadline.unwrap_or_default()),
            _ => None,
        };
        [mark, send].into_iter().flatten().min()
    }

    /// The network has returned a mark.
    pub fn marked(&mut self, _now: Tick, name: &str, out: &mut Vec<Out>) {
        let Some(place) = self.marked.iter().position(|marked| marked.mark == name) else {
            self.counts.marks_stale += 1;
            return;
        };
        // Audio is played in order: a mark speaks for all before it, should theirs have been lost.
        for Marked { sent, .. } in self.marked.drain(..=place) {
            out.push(Out::Report(sent.report(sent.sent_ms(), How::Whole)));
        }
    }

    /// Somebody barges in: all audio stops, here and in the network, and every utterance is reported as cut.
    ///
    /// What was heard is what the network can have played by now in real time. The way there needs no correction: the
    /// clear takes as long as the first frame did.
    pub fn hush(&mut self, now: Tick, out: &mut Vec<Out>) {
        let in_network = self.heard_until > now;
        if self.queue.is_empty() && self.marked.is_empty() && !in_network {
            return;
        }
        if !self.frozen {
            out.push(Out::Clear);
        }
        let sent = self.marked.drain(..).map(|marked| marked.sent);
        for utterance in sent.chain(self.queue.drain(..)) {
            self.counts.cleared += utterance.ready() as u64;
            out.push(Out::Report(utterance.report(utterance.heard_by(now), How::Cut)));
        }
        self.generation += 1;
        self.heard_until = now;
        // Having run ahead means nothing any more: the network's buffer is empty.
        self.deadline = self.deadline.map(|at| at.min(now + FRAME));
    }

    /// The socket takes no more for now.
    pub fn blocked(&mut self, now: Tick) {
        self.blocked_since.get_or_insert(now);
    }

    /// The socket takes frames again.
    pub fn unblocked(&mut self, _now: Tick) {
        self.blocked_since = None;
        self.choked = false;
    }

    /// The stream is lost. Everything is dropped and nothing reported: the owner begins again on the next stream.
    pub fn freeze(&mut self) {
        self.queue.clear();
        self.marked.clear();
        self.generation += 1;
        self.heard_until = Tick::default();
        self.deadline = None;
        self.blocked_since = None;
        self.choked = false;
        self.frozen = true;
    }

    /// There is a stream again, whether or not anything is to be said on it.
    pub fn thaw(&mut self) {
        self.frozen = false;
    }

    /// Nothing waits, plays or waits for its mark.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.marked.is_empty()
    }

    /// How much sound the network was sent and can't have played yet.
    pub fn ahead(&self, now: Tick) -> Duration {
        self.heard_until.since(now)
    }

    /// Frames that wait to be sent; of a sound that is there as a whole, as many as the queue would hold of it.
    pub fn queued(&self) -> usize {
        self.queue.iter().map(Utterance::ready).sum::<usize>().min(self.config.queue_frames)
    }

    pub fn counts(&self) -> PlayoutCounts {
        self.counts
    }

    /// Does something to a waiting utterance; should it be the front one and have been out of audio, playing resumes.
    fn feed<T: Default>(&mut self, now: Tick, id: SoundId, act: impl FnOnce(&mut Utterance) -> T) -> T {
        let Some(place) = self.queue.iter().position(|utterance| utterance.id == id) else {
            return T::default();
        };
        let Some(utterance) = self.queue.get_mut(place) else { return T::default() };
        let before = utterance.ready();
        let done = act(utterance);
        if place == 0 && before == 0 && utterance.ready() > 0 {
            self.resume(now);
        }
        done
    }

    /// There is audio after there was none. That is not lateness, so there is nothing to catch up.
    fn resume(&mut self, now: Tick) {
        self.front_since = now;
        self.deadline = Some(self.deadline.unwrap_or(now).max(now));
    }

    fn send_due(&mut self, now: Tick, out: &mut Vec<Out>) {
        let mut deadline = self.deadline.unwrap_or(now);
        self.mark_spent(now, out);
        let late = now.since(deadline);
        if late > LATE_MAX {
            // Three frames are due by the new cadence, silence only once: nobody misses it.
            let behind = if self.front_is_ready() { BURST_MAX - 1 } else { 0 };
            if behind > 0 {
                self.counts.rebases += 1;
                self.counts.late_max = self.counts.late_max.max(late);
            }
            deadline = before(now, FRAME * behind as u32);
        }
        let ahead = u64::try_from(self.config.lead.as_millis()).unwrap_or_default() / FRAME_MS;
        for _ in 0..BURST_MAX + ahead {
            let sent = match self.queue.front_mut() {
                Some(front) if front.ready() > 0 && deadline <= now + self.config.lead => {
                    self.counts.frame(now.0.saturating_sub(deadline.0));
                    self.heard_until = self.heard_until.max(now) + FRAME;
                    front.next(self.heard_until)
                }
                // Silence never runs ahead: it would only be in the way of what is said next.
                Some(front) if front.ready() > 0 => break,
                _ if self.config.idle_silence && deadline <= now => {
                    self.counts.silence += 1;
                    self.heard_until = self.heard_until.max(now) + FRAME;
                    Frame::silence()
                }
                _ => break,
            };
            out.push(Out::Frame(sent));
            deadline = deadline + FRAME;
            self.mark_spent(now, out);
        }
        self.deadline = Some(deadline);
    }

    fn front_is_ready(&self) -> bool {
        self.queue.front().is_some_and(|front| front.ready() > 0)
    }

    /// Marks follow the last frames of their utterances; an empty utterance is nothing but its mark.
    fn mark_spent(&mut self, now: Tick, out: &mut Vec<Out>) {
        while self.queue.front().is_some_and(Utterance::is_spent) {
            let Some(mut sent) = self.queue.pop_front() else { return };
            // The mark goes out now, however long ago the last frame went.
            sent.heard_until = sent.heard_until.max(now);
            let mark = format!("h{}-{}", sent.id.0, self.generation);
            out.push(Out::Mark(mark.clone()));
            self.marked.push_back(Marked { mark, sent });
            self.front_since = now;
        }
    }

    fn miss_marks(&mut self, now: Tick, out: &mut Vec<Out>) {
        while let Some(oldest) = self.marked.front() {
            if oldest.sent.heard_until + MARK_WAIT > now {
                return;
            }
            out.push(Out::Report(oldest.sent.report(oldest.sent.sent_ms(), How::Whole)));
            self.counts.marks_missed += 1;
            self.marked.pop_front();
        }
    }

    fn fail_stalled(&mut self, now: Tick, out: &mut Vec<Out>) {
        if self.stalled_at().is_none_or(|at| at > now) {
            return;
        }
        let Some(failed) = self.queue.pop_front() else { return };
        out.push(Out::Report(failed.report(failed.heard_by(now), How::Timeout)));
        self.counts.timeouts += 1;
        self.choked = true;
        self.resume(now);
    }

    /// When the front utterance fails, unless the socket takes something before.
    fn stalled_at(&self) -> Option<Tick> {
        let blocked = self.blocked_since?;
        let front = self.queue.front()?;
        let ready = front.ready();
        let full = if self.choked && (ready > 0 || front.is_complete()) {
            self.front_since
        } else if front.is_complete() {
            // Full once that many frames are overdue; or all there are, since no more will come.
            let overdue = ready.min(self.config.queue_frames).saturating_sub(1);
            self.deadline? + FRAME * u32::try_from(overdue).unwrap_or(u32::MAX)
        } else {
            front.full_since?
        };
        Some(full.max(blocked) + self.config.stall_timeout)
    }
}

fn before(at: Tick, span: Duration) -> Tick {
    Tick(at.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
}
