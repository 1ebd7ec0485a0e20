//! What the network has of our sound and has not played yet: one byte is 125 µs, marks stand between bytes.

use std::collections::VecDeque;
use std::time::Duration;

use holdline_core::Tick;

/// The buffer of one bidirectional stream.
#[derive(Debug, Default)]
pub struct Playout {
    audio: VecDeque<u8>,
    /// Each mark with the number of bytes that must have been played before it.
    marks: VecDeque<(u64, String)>,
    pushed: u64,
    played: u64,
    /// When the first byte of `audio` begins to sound.
    cursor: Tick,
    /// Hand out every 20 ms (to record them), not only at marks and at the end.
    frames: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Played {
    /// Sound that ended just now, and when it began.
    Sound {
        began: Tick,
        audio: Vec<u8>,
    },
    Mark(String),
}

/// Half an hour: beyond it the network loses sound (and says so) rather than memory.
const BUFFER_BYTES_MAX: usize = 8000 * 60 * 30;
const FRAME_BYTES: u64 = 160;
const BYTE: Duration = Duration::from_micros(125);

impl Playout {
    pub fn new(frames: bool) -> Playout {
        Playout { frames, ..Playout::default() }
    }

    /// False when the buffer is full and the sound was dropped.
    pub fn push(&mut self, at: Tick, audio: &[u8]) -> bool {
        if self.audio.len() + audio.len() > BUFFER_BYTES_MAX {
            return false;
        }
        if self.audio.is_empty() {
            self.cursor = self.cursor.max(at);
        }
        self.audio.extend(audio);
        self.pushed += audio.len() as u64;
        true
    }

    /// The name again when nothing is buffered before it: it is to be echoed at once.
    pub fn mark(&mut self, name: String) -> Option<String> {
        if self.audio.is_empty() {
            return Some(name);
        }
        self.marks.push_back((self.pushed, name));
        None
    }

    /// Everything that was not heard yet is gone; every waiting mark comes back, in order.
    pub fn clear(&mut self, at: Tick, out: &mut Vec<Played>) {
        self.advance(at, out);
        let elapsed = at.since(self.cursor).as_micros() / BYTE.as_micros();
        let partly = usize::try_from(elapsed).unwrap_or(usize::MAX).min(self.audio.len());
        self.take(partly, out);
        self.played += self.audio.len() as u64;
        self.audio.clear();
        out.extend(self.marks.drain(..).map(|(_, name)| Played::Mark(name)));
    }

    pub fn is_empty(&self) -> bool {
        self.audio.is_empty()
    }

    pub fn buffered(&self) -> Duration {
        length(self.audio.len() as u64)
    }

    pub fn next_due(&self) -> Option<Tick> {
        self.next_stop().map(|bytes| self.cursor + length(bytes))
    }

    /// Plays what is due by `at`.
    pub fn advance(&mut self, at: Tick, out: &mut Vec<Played>) {
        while let Some(bytes) = self.next_stop() {
            if self.cursor + length(bytes) > at {
                break;
            }
            self.take(usize::try_from(bytes).unwrap_or(usize::MAX), out);
            while self.marks.front().is_some_and(|(position, _)| *position <= self.played) {
                out.extend(self.marks.pop_front().map(|(_, name)| Played::Mark(name)));
            }
        }
    }

    /// Bytes until something happens: a frame is complete, a mark is reached, or silence begins.
    fn next_stop(&self) -> Option<u64> {
        if self.audio.is_empty() {
            return None;
        }
        let mut stop = self.audio.len() as u64;
        if self.frames {
            stop = stop.min(FRAME_BYTES);
        }
        if let Some((position, _)) = self.marks.front() {
            stop = stop.min(position.saturating_sub(self.played));
        }
        Some(stop)
    }

    fn take(&mut self, bytes: usize, out: &mut Vec<Played>) {
        let audio: Vec<u8> = self.audio.drain(..bytes.min(self.audio.len())).collect();
        let began = self.cursor;
        self.cursor = self.cursor + length(audio.len() as u64);
        self.played += audio.len() as u64;
        if !audio.is_empty() {
            out.push(Played::Sound { began, audio });
        }
    }
}

fn length(bytes: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(125))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(played: &[Played]) -> Vec<&str> {
        played
            .iter()
            .filter_map(|played| if let Played::Mark(name) = played { Some(name.as_str()) } else { None })
            .collect()
    }

    #[test]
    fn a_mark_returns_when_the_sound_before_it_was_heard() {
        let mut playout = Playout::new(false);
        assert_eq!(playout.mark("empty".into()), Some("empty".into()));
        playout.push(Tick::from_millis(100), &[0; 800]);
        assert_eq!(playout.mark("a".into()), None);
        playout.push(Tick::from_millis(110), &[0; 80]);
        assert_eq!(playout.mark("b".into()), None);
        assert_eq!(playout.next_due(), Some(Tick::from_millis(200)));
        let mut out = Vec::new();
        playout.advance(Tick(199_999), &mut out);
        assert_eq!(out, []);
        playout.advance(Tick::from_millis(200), &mut out);
        assert_eq!(marks(&out), ["a"]);
        playout.advance(Tick::from_millis(210), &mut out);
        assert_eq!(marks(&out), ["a", "b"]);
        assert!(playout.is_empty() && playout.next_due().is_none());
    }

    #[test]
    fn a_clear_returns_every_mark_and_counts_only_what_was_heard() {
        let mut playout = Playout::new(true);
        playout.push(Tick(0), &[1; 1600]);
        playout.mark("a".into());
        let mut out = Vec::new();
        playout.clear(Tick::from_millis(50), &mut out);
        let heard: usize = out
            .iter()
            .map(|played| if let Played::Sound { audio, .. } = played { audio.len() } else { 0 })
            .sum();
        assert_eq!(heard, 400);
        assert_eq!(marks(&out), ["a"]);
        assert!(playout.is_empty());
        // What comes next begins when it comes.
        playout.push(Tick::from_millis(70), &[1; 160]);
        assert_eq!(playout.next_due(), Some(Tick::from_millis(90)));
    }
}
