//! What a document promises and cannot keep: beyond shape, before anything runs.

mod across;
mod content;
mod layout;
mod reach;
mod ssml;
mod targets;
mod variables;

pub(crate) use reach::falls_through;

use super::diagnostic::Notes;
use super::parse::{ActionPlace, Draft, Language};
use super::script::ActionNode;
use layout::Layout;
use std::collections::BTreeSet;

pub use across::check_all;

/// All checks that need one document only.
pub(crate) fn check(language: &Language<'_>, draft: &Draft, notes: &mut Notes) {
    let layout = Layout::new(&draft.script.actions, &draft.actions);
    let names = draft.script.triggers.iter().map(|trigger| trigger.name.as_str()).zip(&draft.trigger_names);
    targets::check_words(&layout, names, notes);
    targets::check_targets(&layout, &BTreeSet::new(), notes);
    let context = content::Context::of(language, &draft.script);
    // A misspelt target would make its action seem unreachable.
    if notes.report.is_ok() {
        reach::check(&layout, context.is_main, notes);
    }
    content::check(&layout, &context, notes);
    variables::check(&layout, draft, notes);
}

/// What a queue would skip of this document, if callers heard it while they wait.
pub(crate) fn skipped_while_queued(language: &Language<'_>, draft: &Draft) -> BTreeSet<String> {
    content::skipped_while_queued(&Layout::new(&draft.script.actions, &draft.actions), language)
}

/// For a list that is pushed into a run: nothing is known of what happened before it.
pub(crate) fn check_list(
    language: &Language<'_>,
    nodes: &[ActionNode],
    places: &[ActionPlace],
    ancestors: &BTreeSet<String>,
    notes: &mut Notes,
) {
    let layout = Layout::new(nodes, places);
    targets::check_words(&layout, std::iter::empty(), notes);
    targets::check_targets(&layout, ancestors, notes);
    if notes.report.is_ok() {
        reach::check(&layout, false, notes);
    }
    content::check(&layout, &content::Context::unknown(language), notes);
}
