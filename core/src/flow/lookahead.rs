//! How far a document may look ahead of what the caller has heard, and how much it holds.

use super::action::{Action, Fault, Parameters};
use super::cursor;
use super::engine::Block;
use super::fact::{Move, Rendered};
use super::run::Run;
use super::script::{ActionNode, MediaPreference};
use super::substitute::{Substitution, mentions};
use crate::document::{Noun, Verb};
use crate::limit::{DOCUMENT_BYTES_MAX, DOCUMENT_VERBS_MAX};
use crate::scene::Line;

/// Room in a document for what is not a verb: the stream with its parameters, the tail, the frame.
const DOCUMENT_RESERVE: usize = 4 * 1024;

impl Run {
    /// Why nothing more goes into the document that is being made, whatever comes next.
    pub(super) fn document_stops(&self, line: Line) -> Option<Block> {
        if line != Line::Asking {
            return Some(Block::Line);
        }
        let answers = self.state.pending.last().is_some_and(|last| last.last);
        (answers || self.rendered_verbs() >= DOCUMENT_VERBS_MAX).then_some(Block::Undone)
    }

    pub(super) fn rendered_verbs(&self) -> usize {
        self.state.pending.iter().map(|pending| pending.verbs).sum()
    }

    /// How verbs go into the document; `None` when they have to wait for the next one.
    pub(super) fn rendering(
        &self,
        stack: usize,
        index: usize,
        node: &ActionNode,
        verbs: &[Verb],
        last: bool,
    ) -> Result<Option<Rendered>, Fault> {
        let to = self.following(stack, index, node)?;
        let bytes = verbs.iter().map(weight).sum::<usize>();
        let room = DOCUMENT_BYTES_MAX - DOCUMENT_RESERVE;
        if bytes > room {
            return Err(Fault::invalid(format!(
                "its verbs have {bytes} bytes, expected at most {room} a document"
            )));
        }
        let before = self.state.pending.iter().map(|pending| pending.bytes).sum::<usize>();
        if self.rendered_verbs() + verbs.len() > DOCUMENT_VERBS_MAX || before + bytes > room {
            return Ok(None);
        }
        let last = last || cursor::is_backward(&self.state.frames, stack, index, to);
        Ok(Some(Rendered { verbs: verbs.len(), bytes, last, to }))
    }

    /// Whether an action reads what only the caller's return will tell.
    pub(super) fn reads_undone(&self, node: &ActionNode, action: &dyn Action) -> bool {
        if action.reads_digits(node) || action.reads_clock() {
            return true;
        }
        let mut names = vec!["call.digits"];
        let entries = self.state.pending.iter().filter_map(|pending| self.state.history.entry(pending.step));
        names.extend(entries.filter_map(|entry| entry.node.name.as_deref()));
        node.parameters.values().chain(&node.when).any(|raw| mentions(raw, &names))
    }

    /// Whether the next action is a Gather that takes in a prompt rendered now.
    pub(super) fn next_gathers(&self, stack: usize, index: usize, node: &ActionNode) -> bool {
        let (stack, mut next) = match self.following(stack, index, node) {
            Ok(to) if cursor::is_backward(&self.state.frames, stack, index, to) => return false,
            Ok(Move::On(next)) => (stack, next),
            Ok(Move::To { stack, index }) => (stack, index),
            _ => return false,
        };
        if self.rendered_verbs() + 2 > DOCUMENT_VERBS_MAX {
            return false;
        }
        // The end of a stack leads on to where the one below it stands.
        let found = self.state.frames.get(..=stack).unwrap_or(&[]).iter().enumerate().rev().find_map(
            |(at, frame)| {
                next = if at == stack { next } else { frame.index };
                frame.list.node(next)
            },
        );
        let Some(following) = found.filter(|following| following.when.is_none()) else { return false };
        let Some(action) = self.action(&following.kind) else { return false };
        let always = self.state.begun.script.media == MediaPreference::Always;
        let filled = Substitution::new(&self.state.vars).map(&following.parameters, action.markup());
        filled.is_ok_and(|filled| action.gathers(&Parameters(&filled), always))
    }
}

/// An upper bound of a verb's bytes in a document.
fn weight(verb: &Verb) -> usize {
    /// Element, attributes and the action's URL.
    const FRAME: usize = 400;
    // What each byte becomes in XML, at most: a caller's name of 10 kB must be said whole, whatever it is made of.
    let grown = |byte: u8| match byte {
        b'"' | b'\'' | 0..=31 => "&quot;".len(),
        b'&' => "&amp;".len(),
        b'<' | b'>' => "&lt;".len(),
        _ => 1,
    };
    let text = |text: &str| text.bytes().map(grown).sum::<usize>();
    FRAME
        + match verb {
            Verb::Say(say) if say.ssml => say.text.len(),
            Verb::Say(say) => text(&say.text),
            Verb::Play { url } => text(url),
            Verb::Gather(gather) => {
                let hints = gather.speech.iter().flat_map(|speech| &speech.hints).map(|hint| text(hint) + 1);
                gather.prompts.iter().map(weight).sum::<usize>() + hints.sum::<usize>()
            }
            Verb::Dial(dial) => {
                let nouns = dial.nouns.iter().map(|noun| match noun {
                    Noun::Number(to) | Noun::Sip(to) | Noun::Client(to) | Noun::Queue(to) => FRAME + text(to),
                });
                nouns.sum::<usize>() + dial.caller_id.as_deref().map_or(0, text)
            }
            Verb::Conference(conference) => {
                let words = [Some(&conference.name), conference.label.as_ref(), conference.wait_url.as_ref()];
                words.into_iter().flatten().map(|word| text(word)).sum()
            }
            Verb::Enqueue { queue } => text(queue),
            _ => 0,
        }
}
