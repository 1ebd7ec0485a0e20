//! One thing to say: where its audio comes from, how much of it is sent.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{How, Report, SoundId, Source};
use crate::Tick;
use crate::media::frame::{FRAME_BYTES, FRAME_MS, Frame};

/// Bytes of µ-law in a millisecond.
const BYTES_A_MS: u64 = 8;

#[derive(Debug)]
pub(super) struct Utterance {
    pub(super) id: SoundId,
    feed: Feed,
    sent_frames: u64,
    /// Without what a partial last frame was filled up with.
    sent_bytes: u64,
    /// When the network will have played what was sent.
    pub(super) heard_until: Tick,
    /// Since when a streaming utterance has all the audio that it may hold.
    pub(super) full_since: Option<Tick>,
}

#[derive(Debug)]
enum Feed {
    Whole { sound: Arc<[u8]>, at: usize },
    Stream { waiting: VecDeque<u8>, finished: bool },
}

impl Utterance {
    pub(super) fn new(id: SoundId, source: Source) -> Utterance {
        let feed = match source {
            Source::Whole(sound) => Feed::Whole { sound, at: 0 },
            Source::Stream => Feed::Stream { waiting: VecDeque::new(), finished: false },
        };
        Utterance { id, feed, sent_frames: 0, sent_bytes: 0, heard_until: Tick::default(), full_since: None }
    }

    /// Frames that can be sent.
    pub(super) fn ready(&self) -> usize {
        match &self.feed {
            Feed::Whole { sound, at } => sound.len().saturating_sub(*at).div_ceil(FRAME_BYTES),
            Feed::Stream { waiting, finished: true } => waiting.len().div_ceil(FRAME_BYTES),
            Feed::Stream { waiting, finished: false } => waiting.len() / FRAME_BYTES,
        }
    }

    /// No more audio will come.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.feed, Feed::Whole { .. } | Feed::Stream { finished: true, .. })
    }

    /// All its audio is sent.
    pub(super) fn is_spent(&self) -> bool {
        self.is_complete() && self.ready() == 0
    }

    pub(super) fn room(&self, most: usize) -> usize {
        match &self.feed {
            Feed::Stream { waiting, finished: false } => most.saturating_sub(waiting.len()),
            _ => 0,
        }
    }

    pub(super) fn push(&mut self, now: Tick, bytes: &[u8], most: usize) -> usize {
        let taken = self.room(most).min(bytes.len());
        let Feed::Stream { waiting, .. } = &mut self.feed else { return 0 };
        waiting.extend(bytes.iter().take(taken));
        if waiting.len() >= most {
            self.full_since.get_or_insert(now);
        }
        taken
    }

    pub(super) fn finish(&mut self) {
        if let Feed::Stream { finished, .. } = &mut self.feed {
            *finished = true;
        }
    }

    /// The next frame, which the network will have played by `heard_until`; silence if there is none.
    pub(super) fn next(&mut self, heard_until: Tick) -> Frame {
        let (frame, bytes) = match &mut self.feed {
            Feed::Whole { sound, at } => {
                let frame = Frame::of(sound, *at);
                let bytes = sound.len().saturating_sub(*at).min(FRAME_BYTES);
                *at += bytes;
                (frame, bytes)
            }
            Feed::Stream { waiting, .. } => {
                let bytes = waiting.len().min(FRAME_BYTES);
                let mut own = [0; FRAME_BYTES];
                for (to, from) in own.iter_mut().zip(waiting.drain(..bytes)) {
                    *to = from;
                }
                (Frame::padded(own.get(..bytes).unwrap_or_default()), bytes)
            }
        };
        self.sent_frames += 1;
        self.sent_bytes += bytes as u64;
        self.heard_until = heard_until;
        self.full_since = None;
        frame
    }

    pub(super) fn sent_ms(&self) -> u64 {
        self.sent_bytes / BYTES_A_MS
    }

    /// What the network can have played by `now`. What is still to be played is the end of what was sent.
    pub(super) fn heard_by(&self, now: Tick) -> u64 {
        let to_come = self.heard_until.since(now).as_micros().div_ceil(1000);
        let sent = self.sent_frames * FRAME_MS;
        sent.saturating_sub(u64::try_from(to_come).unwrap_or(u64::MAX)).min(self.sent_ms())
    }

    pub(super) fn report(&self, heard_ms: u64, how: How) -> Report {
        Report { id: self.id, heard_ms, how }
    }
}
