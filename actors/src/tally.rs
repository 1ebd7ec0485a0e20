//! What the actors count, for whoever asks for all of it at once.
//!
//! No frame touches anything that is shared: a session counts its own frames in its own plain numbers, and pours what
//! has come together into this a few times a second and at its end. Everything else that is counted here happens at
//! the pace of requests.

use crate::alive::Alive;
use crate::histogram::Histogram;
use crate::post::Posted;
use holdline_core::call::{Call, CallState, MediaCounts, Summary};
use holdline_core::fact::{Entry, Fact, ParentFact};
use holdline_core::metric::{self, CALL_STATES, FAMILIES, Family, Limit, Page, ROUTES, told};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[derive(Debug)]
pub struct Tally {
    counts: Mutex<BTreeMap<Series, u64>>,
    /// Sockets that are open, of calls or not yet.
    pub sockets: Alive,
    /// Requests on the public listener that are being answered.
    pub requests: Alive,
    /// Main workflows in memory.
    pub workflows: Alive,
    /// Calls in memory by [`CALL_STATES`].
    calls: [AtomicI64; CALL_STATES.len()],
    /// Calls in memory whose own flow is not over.
    flows_running: AtomicI64,
    /// Main workflows that wait for their calls, in memory or not.
    flows_waiting: AtomicI64,
    call_ms: Histogram,
    webhook_micros: Vec<Histogram>,
    media: Media,
}

/// A family and the words of its labels.
type Series = (&'static str, [&'static str; 2]);

/// What sessions pour in.
#[derive(Debug)]
struct Media {
    frames_in: AtomicU64,
    frames_out: AtomicU64,
    dropped_slow: AtomicU64,
    dropped_early: AtomicU64,
    dropped_echo: AtomicU64,
    cleared: AtomicU64,
    silence: AtomicU64,
    rebases: AtomicU64,
    stalled: AtomicU64,
    marks_missed: AtomicU64,
    marks_stale: AtomicU64,
    ignored_inputs: AtomicU64,
    stale_turns: AtomicU64,
    digits_refused: AtomicU64,
    sounds_refused: AtomicU64,
    texts_refused: AtomicU64,
    queued: AtomicI64,
    late_micros: Histogram,
    mail: Histogram,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            counts: Mutex::default(),
            sockets: Alive::default(),
            requests: Alive::default(),
            workflows: Alive::default(),
            calls: Default::default(),
            flows_running: AtomicI64::default(),
            flows_waiting: AtomicI64::default(),
            call_ms: Histogram::new(metric::CALL_BOUNDS),
            webhook_micros: ROUTES.iter().map(|_| Histogram::new(metric::WEBHOOK_BOUNDS)).collect(),
            media: Media::default(),
        }
    }
}

impl Default for Media {
    fn default() -> Media {
        Media {
            frames_in: AtomicU64::default(),
            frames_out: AtomicU64::default(),
            dropped_slow: AtomicU64::default(),
            dropped_early: AtomicU64::default(),
            dropped_echo: AtomicU64::default(),
            cleared: AtomicU64::default(),
            silence: AtomicU64::default(),
            rebases: AtomicU64::default(),
            stalled: AtomicU64::default(),
            marks_missed: AtomicU64::default(),
            marks_stale: AtomicU64::default(),
            ignored_inputs: AtomicU64::default(),
            stale_turns: AtomicU64::default(),
            digits_refused: AtomicU64::default(),
            sounds_refused: AtomicU64::default(),
            texts_refused: AtomicU64::default(),
            queued: AtomicI64::default(),
            late_micros: Histogram::new(metric::LATE_BOUNDS),
            mail: Histogram::new(metric::DEPTH_BOUNDS),
        }
    }
}

impl Tally {
    pub fn count(&self, family: &'static Family, words: &[&str]) {
        self.count_many(family, words, 1);
    }

    /// Words that the table does not know are no labels: what is counted so is a mistake of ours, and is left out.
    pub fn count_many(&self, family: &'static Family, words: &[&str], count: u64) {
        let mut series = (family.name, [""; 2]);
        for (place, word) in words.iter().enumerate() {
            let known = family.word(place, word);
            debug_assert!(known.is_some(), "{} knows no {word}", family.name);
            let (Some(known), Some(slot)) = (known, series.1.get_mut(place)) else { return };
            *slot = known;
        }
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(series).or_default() += count;
    }

    /// Counts a message that found its mailbox full.
    pub fn posted(&self, mailbox: &'static str, posted: Posted) -> Posted {
        if posted == Posted::Full {
            self.count(&metric::MAILBOX_FULL, &[mailbox]);
        }
        posted
    }

    pub fn hit(&self, limit: Limit) {
        self.count(&metric::LIMIT_HITS, &[limit.word()]);
    }

    /// What was counted so far of one series.
    pub fn counted(&self, family: &'static Family, words: &[&str]) -> u64 {
        let mut page = Page::default();
        self.gather(&mut page);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a count")]
        page.number(family, words).map_or(0, |number| number as u64)
    }

    /// Facts that are on disk.
    pub fn written(&self, batch: &[Entry]) {
        for entry in batch {
            told::told(entry, &mut |family, words| self.count(family, words));
            match &entry.fact {
                Fact::Parent(ParentFact::Waiting { .. }) => self.waiting(1),
                Fact::Parent(ParentFact::CallOver { .. }) => self.waiting(-1),
                _ => {}
            }
        }
    }

    /// So many more main workflows wait for their calls.
    pub fn waiting(&self, more: i64) {
        self.flows_waiting.fetch_add(more, Ordering::Relaxed);
    }

    pub fn call_ended(&self, summary: &Summary) {
        self.call_ms.add(u64::try_from(summary.duration.as_millis()).unwrap_or(u64::MAX));
    }

    /// A request on the public listener was answered.
    pub fn answered(&self, route: &'static str, status: u16, took: Duration) {
        self.count(&metric::WEBHOOKS, &[route, metric::status_class(status)]);
        let place = ROUTES.iter().position(|known| *known == route);
        if let Some(times) = place.and_then(|place| self.webhook_micros.get(place)) {
            times.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        }
    }

    /// Writes down everything.
    pub fn gather(&self, page: &mut Page) {
        for ((name, words), count) in self.counts.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(family) = FAMILIES.iter().find(|family| family.name == *name) {
                let words: Vec<&str> = words.iter().copied().take(family.labels.len()).collect();
                page.count(family, &words, *count);
            }
        }
        page.count(&metric::STREAMS_OPEN, &[], self.sockets.count() as u64);
        page.count(&metric::WEBHOOKS_OPEN, &[], self.requests.count() as u64);
        for (state, count) in CALL_STATES.iter().zip(&self.calls) {
            page.count(&metric::CALLS, &[state], gauge(count));
        }
        let running = gauge(&self.flows_running) + self.workflows.count() as u64;
        page.count(&metric::ACTIVEFLOWS, &["running"], running);
        page.count(&metric::ACTIVEFLOWS, &["waiting"], gauge(&self.flows_waiting));
        page.measured(&metric::CALL_SECONDS, &[], self.call_ms.measured());
        for (route, times) in ROUTES.iter().zip(&self.webhook_micros) {
            page.measured(&metric::WEBHOOK_SECONDS, &[route], times.measured());
        }
        self.media.gather(page);
    }
}

impl Media {
    fn gather(&self, page: &mut Page) {
        let of = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        page.count(&metric::FRAMES, &["in"], of(&self.frames_in));
        page.count(&metric::FRAMES, &["out"], of(&self.frames_out));
        page.count(&metric::FRAMES_DROPPED, &["slow"], of(&self.dropped_slow));
        page.count(&metric::FRAMES_DROPPED, &["early"], of(&self.dropped_early));
        page.count(&metric::FRAMES_DROPPED, &["echo"], of(&self.dropped_echo));
        page.count(&metric::FRAMES_DROPPED, &["cleared"], of(&self.cleared));
        page.count(&metric::PLAYOUT_SILENCE, &[], of(&self.silence));
        page.count(&metric::PLAYOUT_REBASES, &[], of(&self.rebases));
        page.count(&metric::PLAYOUT_STALLED, &[], of(&self.stalled));
        page.count(&metric::PLAYOUT_MARKS, &["missed"], of(&self.marks_missed));
        page.count(&metric::PLAYOUT_MARKS, &["stale"], of(&self.marks_stale));
        page.count(&metric::PLAYOUT_FRAMES, &[], gauge(&self.queued));
        page.measured(&metric::PLAYOUT_LATE, &[], self.late_micros.measured());
        page.count(&metric::INPUTS_IGNORED, &["input"], of(&self.ignored_inputs));
        page.count(&metric::INPUTS_IGNORED, &["turn"], of(&self.stale_turns));
        page.measured(&metric::MAILBOX_DEPTH, &[], self.mail.measured());
        for (limit, cell) in [
            (Limit::HeldFrames, &self.dropped_slow),
            (Limit::EarlyFrames, &self.dropped_early),
            (Limit::EchoFrames, &self.dropped_echo),
            (Limit::Digits, &self.digits_refused),
            (Limit::WaitingSounds, &self.sounds_refused),
            (Limit::WaitingTexts, &self.texts_refused),
        ] {
            page.count(&metric::LIMIT_HITS, &[limit.word()], of(cell));
        }
    }

    fn pour(&self, before: &MediaCounts, now: &MediaCounts) {
        let add = |cell: &AtomicU64, before: u64, now: u64| {
            if now > before {
                cell.fetch_add(now - before, Ordering::Relaxed);
            }
        };
        let (then, call) = (&before.call, &now.call);
        add(&self.frames_in, then.frames_in, call.frames_in);
        add(&self.frames_out, then.frames_out, call.frames_out);
        add(&self.dropped_slow, then.dropped_slow(), call.dropped_slow());
        add(&self.dropped_early, then.dropped_early, call.dropped_early);
        add(&self.dropped_echo, then.dropped_echo, call.dropped_echo);
        add(&self.ignored_inputs, then.ignored_inputs, call.ignored_inputs);
        add(&self.stale_turns, then.stale_turns, call.stale_turns);
        add(&self.digits_refused, then.digits_refused, call.digits_refused);
        add(&self.sounds_refused, then.sounds_refused, call.sounds_refused);
        add(&self.texts_refused, then.texts_refused, call.texts_refused);
        let (then, playout) = (&before.playout, &now.playout);
        add(&self.cleared, then.cleared, playout.cleared);
        add(&self.silence, then.silence, playout.silence);
        add(&self.rebases, then.rebases, playout.rebases);
        add(&self.stalled, then.timeouts, playout.timeouts);
        add(&self.marks_missed, then.marks_missed, playout.marks_missed);
        add(&self.marks_stale, then.marks_stale, playout.marks_stale);
        let late = playout.late_micros - then.late_micros;
        let beyond = metric::LATE_BOUNDS.last().map_or(0, |last| last + 1);
        let bounds = metric::LATE_BOUNDS.iter().copied().chain([beyond]);
        let buckets = then.late.iter().zip(&playout.late).zip(bounds);
        let mut sum = late;
        for ((before, now), bound) in buckets.filter(|((before, now), _)| now > before) {
            self.late_micros.add_many(bound, u64::from(now - before), std::mem::take(&mut sum));
        }
        let more = queued(now) - queued(before);
        if more != 0 {
            self.queued.fetch_add(more, Ordering::Relaxed);
        }
    }
}

fn queued(counts: &MediaCounts) -> i64 {
    i64::try_from(counts.queued).unwrap_or(i64::MAX)
}

/// What one session has put into the shared tally, so that it can take back what it no longer is.
#[derive(Debug, Default)]
pub struct Share {
    media: MediaCounts,
    /// Place in [`CALL_STATES`].
    state: Option<usize>,
    runs: bool,
    /// Messages read since the last flush.
    mail: u32,
    mails: [u32; metric::DEPTH_BOUNDS.len()],
}

impl Share {
    /// What the session has counted since it last poured.
    pub fn pour(&mut self, call: &Call, tally: &Tally) {
        let now = call.media_counts();
        tally.media.pour(&self.media, &now);
        self.media = now;
        for (count, bound) in self.mails.iter_mut().zip(metric::DEPTH_BOUNDS) {
            let count = u64::from(std::mem::take(count));
            if count > 0 {
                tally.media.mail.add_many(*bound, count, count * bound);
            }
        }
    }

    /// The call's state, which only facts change.
    pub fn settle(&mut self, state: &CallState, tally: &Tally) {
        let phase = state.phase();
        let place = CALL_STATES.iter().position(|state| *state == phase);
        self.stand(place, state.flow_over.is_none() && state.over.is_none(), tally);
    }

    fn stand(&mut self, place: Option<usize>, runs: bool, tally: &Tally) {
        let add = |place: Option<usize>, more: i64| {
            if let Some(cell) = place.and_then(|place| tally.calls.get(place)) {
                cell.fetch_add(more, Ordering::Relaxed);
            }
        };
        if place != self.state {
            add(std::mem::replace(&mut self.state, place), -1);
            add(place, 1);
        }
        if runs != self.runs {
            self.runs = runs;
            tally.flows_running.fetch_add(if runs { 1 } else { -1 }, Ordering::Relaxed);
        }
    }

    /// One message was read.
    pub fn read(&mut self) {
        self.mail += 1;
    }

    /// All that waited has been read.
    pub fn read_all(&mut self) {
        let depth = u64::from(std::mem::take(&mut self.mail));
        if depth > 0 {
            let at = metric::DEPTH_BOUNDS.iter().position(|bound| depth <= *bound);
            if let Some(count) = self.mails.get_mut(at.unwrap_or(metric::DEPTH_BOUNDS.len() - 1)) {
                *count += 1;
            }
        }
    }

    /// The session is gone, however it went.
    pub fn leave(&mut self, call: &Call, tally: &Tally) {
        self.pour(call, tally);
        // What it still held to be played, nobody plays any more.
        let queued = std::mem::take(&mut self.media.queued);
        tally.media.queued.fetch_sub(i64::try_from(queued).unwrap_or(i64::MAX), Ordering::Relaxed);
        self.stand(None, false, tally);
    }
}

/// Several threads add to it and take from it, so for a moment it may be below nothing.
fn gauge(cell: &AtomicI64) -> u64 {
    u64::try_from(cell.load(Ordering::Relaxed)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_stands_on_the_page_under_the_words_of_the_table() {
        let tally = Tally::default();
        tally.count(&metric::CALLS_REFUSED, &["draining"]);
        tally.hit(Limit::Calls);
        tally.answered("voice", 200, Duration::from_millis(3));
        assert_eq!(tally.counted(&metric::CALLS_REFUSED, &["draining"]), 1);
        assert_eq!(tally.counted(&metric::WEBHOOKS, &["voice", "2xx"]), 1);
        let mut page = Page::default();
        tally.gather(&mut page);
        let text = page.text();
        for line in [
            "holdline_limit_hits_total{limit=\"calls\"} 1",
            "holdline_webhook_duration_seconds_bucket{route=\"voice\",le=\"0.0025\"} 0",
            "holdline_webhook_duration_seconds_bucket{route=\"voice\",le=\"0.005\"} 1",
            "holdline_webhook_duration_seconds_sum{route=\"voice\"} 0.003",
        ] {
            assert!(text.lines().any(|there| there == line), "{line}\n{text}");
        }
    }
}
