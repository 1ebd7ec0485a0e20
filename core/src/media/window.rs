//! Inbound audio on credit: the reader of a socket never waits, and a slow listener loses the oldest audio.
//!
//! Only audio needs credit. Digits, marks and the stop go straight on and are never dropped.

use std::collections::VecDeque;

/// Frames on the way to a listener that has not said it is done with them: one second.
pub const CREDIT: u32 = 50;
/// Frames held for a listener that has no credit left: one more second, after which old audio is worth nothing.
pub const HELD_MAX: usize = 50;
/// A listener gives credit back in lots, so that not every frame costs a message back.
pub const LOT: u32 = 25;

/// The sending end, which the socket's reader has.
#[derive(Debug)]
pub struct Window<T> {
    credit: u32,
    held: VecDeque<T>,
    dropped: u64,
}

impl<T> Default for Window<T> {
    fn default() -> Window<T> {
        Window { credit: CREDIT, held: VecDeque::new(), dropped: 0 }
    }
}

impl<T> Window<T> {
    /// A frame has come in: it is given back if it may go on at once.
    pub fn admit(&mut self, frame: T) -> Option<T> {
        if self.credit > 0 {
            // Whatever is held went on when the credit came.
            self.credit -= 1;
            return Some(frame);
        }
        if self.held.len() >= HELD_MAX {
            self.held.pop_front();
            self.dropped += 1;
        }
        self.held.push_back(frame);
        None
    }

    /// Credit has come back: what is held goes on first, oldest first. More than was lent is not accepted.
    pub fn credit(&mut self, frames: u32, out: &mut Vec<T>) {
        self.credit = self.credit.saturating_add(frames).min(CREDIT);
        while self.credit > 0 {
            let Some(frame) = self.held.pop_front() else { return };
            self.credit -= 1;
            out.push(frame);
        }
    }

    /// Frames that were too old when there was credit again.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// The receiving end: counts what the listener is done with.
#[derive(Debug, Default)]
pub struct Credit {
    done: u32,
}

impl Credit {
    /// The listener is done with one frame; a full lot is to be sent back.
    pub fn done(&mut self) -> Option<u32> {
        self.done += 1;
        (self.done >= LOT).then(|| std::mem::take(&mut self.done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_stops_loses_the_oldest_and_gets_the_newest_in_order() {
        let mut window = Window::default();
        let passed: Vec<u32> = (0..200).filter_map(|frame| window.admit(frame)).collect();
        assert_eq!(passed, (0..50).collect::<Vec<_>>());
        assert_eq!(window.dropped(), 100);
        let mut out = Vec::new();
        window.credit(25, &mut out);
        assert_eq!(out, (150..175).collect::<Vec<_>>());
        assert_eq!(window.admit(200), None, "those that are held come first");
        window.credit(u32::MAX, &mut out);
        assert_eq!(out, (150..201).collect::<Vec<_>>());
        assert_eq!(
            (0..).map_while(|frame| window.admit(frame)).count(),
            24,
            "never more credit than was lent"
        );
    }

    #[test]
    fn a_listener_that_keeps_up_never_runs_out_of_credit() {
        let (mut window, mut credit, mut out) = (Window::default(), Credit::default(), Vec::new());
        for frame in 0..10_000 {
            assert_eq!(window.admit(frame), Some(frame));
            if let Some(lot) = credit.done() {
                window.credit(lot, &mut out);
            }
        }
        assert_eq!((out.len(), window.dropped()), (0, 0));
    }
}
