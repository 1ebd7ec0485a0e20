//! Ids, names, and the words that point at them.

use super::super::diagnostic::{Code, Notes, Place};
use super::super::source::{Mark, quoted};
use super::layout::Layout;
use std::collections::{BTreeMap, BTreeSet};

/// Ids and names are unique in the whole document, nested lists included: history and `${name}` know no stacks.
pub(super) fn check_words<'s>(
    layout: &Layout<'s>,
    triggers: impl Iterator<Item = (&'s str, &'s Place)>,
    notes: &mut Notes,
) {
    let mut names: BTreeMap<&str, (Mark, Option<usize>)> = BTreeMap::new();
    for (name, place) in triggers {
        match names.get(name) {
            Some((first, _)) => report(notes, place, Code::DuplicateName, "name", name, *first),
            None => _ = names.insert(name, (place.at, None)),
        }
    }
    for (index, flat) in layout.actions.iter().enumerate() {
        let (Some(name), Some(place)) = (&flat.node.name, &flat.place.name) else { continue };
        match names.get(name.as_str()) {
            Some((first, _)) => report(notes, place, Code::DuplicateName, "name", name, *first),
            None => _ = names.insert(name, (place.at, Some(index))),
        }
    }
    let mut ids: BTreeMap<&str, Mark> = BTreeMap::new();
    for (index, flat) in layout.actions.iter().enumerate() {
        let id = flat.node.id.as_str();
        let place = flat.place.id.as_ref().unwrap_or(&flat.place.place);
        if let Some(first) = ids.get(id) {
            report(notes, place, Code::DuplicateId, "id", id, *first);
            continue;
        }
        ids.insert(id, place.at);
        // An action may be called by one word twice; two actions may not.
        if let Some((first, Some(owner))) = names.get(id)
            && *owner != index
        {
            report(notes, place, Code::DuplicateId, "id", id, *first);
        }
    }
}

/// Every literal target names an action of its own list or of an ancestor.
pub(super) fn check_targets(layout: &Layout<'_>, ancestors: &BTreeSet<String>, notes: &mut Notes) {
    let everywhere: BTreeSet<&str> =
        layout.lists.iter().flat_map(|list| list.words.keys().copied()).collect();
    for flat in &layout.actions {
        for target in &flat.place.targets {
            let word = target.word.as_str();
            if layout.resolve(flat.list, word).is_some() || ancestors.contains(word) {
                continue;
            }
            if everywhere.contains(word) {
                let message = format!(
                    "the action {} stands in a nested list that cannot be reached from here; expected one of the same \
                     list or of a list around it",
                    quoted(word)
                );
                notes.error(&target.place, Code::UnreachableTarget, message);
            } else {
                let known = layout.visible(flat.list).chain(ancestors.iter().map(String::as_str));
                notes.error_near(
                    &target.place,
                    Code::UnknownTarget,
                    format!("no action has the id or name {}", quoted(word)),
                    word,
                    known,
                );
            }
        }
    }
}

fn report(notes: &mut Notes, place: &Place, code: Code, what: &str, word: &str, first: Mark) {
    let Mark { line, column } = first;
    notes.error(place, code, format!("the {what} {} is taken already at {line}:{column}", quoted(word)));
}
