//! Where a flow stands and where a target leads: current stack first, then its ancestors.

use super::fact::Move;
use super::stack::Frame;

/// The id that other systems write for "none".
const NIL: &str = "00000000-0000-0000-0000-000000000000";

/// A target as written; `None` for what other systems write when they mean none.
pub fn target(text: &str) -> Option<&str> {
    let text = text.trim();
    (!text.is_empty() && text != NIL).then_some(text)
}

/// The place of a target as seen from a stack: the nearest one that has it.
pub fn find(frames: &[Frame], from: usize, target: &str) -> Option<(usize, usize)> {
    let reach = frames.get(..=from)?;
    reach.iter().enumerate().rev().find_map(|(stack, frame)| Some((stack, frame.list.find(target)?)))
}

/// Whether going there from the step at `(stack, index)` repeats what the flow has passed already.
pub fn is_backward(frames: &[Frame], stack: usize, index: usize, to: Move) -> bool {
    match to {
        // On behind a loop; into a list that nobody was in.
        Move::Stay | Move::Leave { .. } | Move::Caught { .. } => false,
        Move::On(next) => next <= index,
        Move::To { stack: there, index: next } if there == stack => next <= index,
        // An ancestor's cursor stands after the action that pushed.
        Move::To { stack: there, index: next } => frames.get(there).is_none_or(|frame| next < frame.index),
    }
}
