//! An object's keys, taken one by one; what nobody took is unknown.

use super::super::diagnostic::{Code, Notes, Place};
use super::super::source::{Entry, Mark, Node, Tree, join, quoted};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

pub(super) struct Fields<'n> {
    /// Of the object itself.
    pub place: Place,
    entries: Vec<&'n Entry>,
    taken: BTreeSet<&'n str>,
}

/// A key's value and its place: the value's position, under the key's own word.
pub(super) struct Field<'n> {
    pub node: &'n Node,
    pub place: Place,
    pub key_at: Mark,
}

impl<'n> Fields<'n> {
    /// None, with an error, for anything but an object.
    pub fn of(node: &'n Node, path: &str, what: &str, notes: &mut Notes) -> Option<Fields<'n>> {
        let place = Place::new(path, node.at);
        let Tree::Map(entries) = &node.tree else {
            notes.error(&place, Code::WrongType, format!("expected {what}, got {}", node.described()));
            return None;
        };
        let mut fields = Fields { place, entries: Vec::new(), taken: BTreeSet::new() };
        let mut seen = BTreeSet::new();
        for entry in entries {
            // Duplicates are reported already; the first one counts.
            if seen.insert(entry.key.as_str()) {
                fields.entries.push(entry);
            }
        }
        Some(fields)
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key)
    }

    /// The value under one of these words; null counts as absent. Two of the words at once are an error.
    pub fn take(&mut self, words: &[&str], notes: &mut Notes) -> Option<Field<'n>> {
        self.take_with_null(words, notes).filter(|field| !field.node.is_null())
    }

    pub fn take_with_null(&mut self, words: &[&str], notes: &mut Notes) -> Option<Field<'n>> {
        let mut found: Option<&'n Entry> = None;
        for entry in self.entries.iter().filter(|entry| words.contains(&entry.key.as_str())) {
            self.taken.insert(&entry.key);
            match found {
                None => found = Some(entry),
                Some(first) => {
                    let place = Place::new(join(&self.place.path, &entry.key), entry.key_at);
                    let message =
                        format!("{:?} and {:?} mean the same; expected one of them", first.key, entry.key);
                    notes.error(&place, Code::BothAliases, message);
                }
            }
        }
        found.map(|entry| Field {
            node: &entry.value,
            place: Place::new(join(&self.place.path, &entry.key), entry.value.at),
            key_at: entry.key_at,
        })
    }

    /// As [`take`](Self::take), with an error at the object when it is missing.
    pub fn need(&mut self, words: &[&str], notes: &mut Notes) -> Option<Field<'n>> {
        let field = self.take(words, notes);
        if field.is_none() {
            let word = words.first().copied().unwrap_or_default();
            notes.error(&self.place, Code::MissingKey, format!("expected the key {word:?}"));
        }
        field
    }

    /// Keys that begin with `x-`, as they stand.
    pub fn take_extra(&mut self) -> Map<String, Value> {
        let mut extra = Map::new();
        for entry in self.entries.iter().filter(|entry| entry.key.starts_with("x-")) {
            self.taken.insert(&entry.key);
            extra.insert(entry.key.clone(), entry.value.to_json());
        }
        extra
    }

    /// Keys that other systems export and that mean nothing here: a warning each.
    pub fn take_ignored(&mut self, words: &[&str], notes: &mut Notes) {
        for word in words {
            if let Some(field) = self.take_with_null(&[*word], notes)
                && !field.node.is_empty()
            {
                let place = Place::new(field.place.path, field.key_at);
                notes.warning(&place, Code::IgnoredKey, format!("the key {word:?} has no effect here"));
            }
        }
    }

    /// Keys that would change what happens, and cannot: an error unless they are empty.
    pub fn refuse(&mut self, words: &[&str], notes: &mut Notes) {
        for word in words {
            if let Some(field) = self.take_with_null(&[*word], notes)
                && !field.node.is_empty()
            {
                let place = Place::new(field.place.path, field.key_at);
                notes.error(
                    &place,
                    Code::NotSupported,
                    format!("{word:?} is not supported; expected it to be empty"),
                );
            }
        }
    }

    /// Whatever was not taken is an error, but for the `x-` keys: those belong to the author, wherever they stand.
    pub fn finish(self, code: Code, what: &str, known: &[&str], notes: &mut Notes) {
        let is_unknown =
            |entry: &&&Entry| !self.taken.contains(entry.key.as_str()) && !entry.key.starts_with("x-");
        for entry in self.entries.iter().filter(is_unknown) {
            let place = Place::new(join(&self.place.path, &entry.key), entry.key_at);
            let message = format!("unknown {what} {}", quoted(&entry.key));
            notes.error_near(&place, code, message, &entry.key, known.iter().copied());
        }
    }
}
