//! Text to tree, with positions: what a document says, before anybody asks whether it makes sense.
//!
//! Two readers, one tree. Neither knows a word of the workflow language; both are bounded in text, nodes and depth, so
//! that a document cannot cost more than it weighs.

mod json;
mod yaml;

use super::diagnostic::{Code, Notes, Place};
use serde_json::{Map, Number, Value};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    pub at: Mark,
    pub tree: Tree,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    Null,
    Flag(bool),
    /// `written` is what stands in the document: `+14155550100` is a number in YAML, and its plus sign matters.
    Number {
        value: Number,
        written: String,
    },
    Text(String),
    List(Vec<Node>),
    /// In the document's order, duplicates included.
    Map(Vec<Entry>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_at: Mark,
    pub value: Node,
}

/// A position, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub line: u32,
    pub column: u32,
}

/// The text is no document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    pub at: Mark,
    pub message: String,
}

/// A workflow of a thousand actions has some 100 KiB.
pub const TEXT_BYTES_MAX: usize = 1024 * 1024;
/// Values of a document, those that aliases repeat counted each time.
pub const NODES_MAX: usize = 100_000;
/// Bytes of text in a document's values, those that aliases repeat counted each time.
pub const VALUE_BYTES_TOTAL_MAX: usize = 4 * TEXT_BYTES_MAX;
/// One nested list of actions costs three levels; forty of them are more than anybody reads.
pub const DEPTH_MAX: usize = 128;

/// JSON when the name or the text says so, YAML otherwise.
pub fn read(file: &str, text: &str) -> Result<Node, SourceError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("expected at most {TEXT_BYTES_MAX} bytes, got {}", text.len());
        return Err(SourceError { at: Mark::START, message });
    }
    let is_json = file.to_ascii_lowercase().ends_with(".json") || text.trim_start().starts_with('{');
    if is_json { json::read(text) } else { yaml::read(text) }
}

/// A bare JSON value: lists of actions that other systems hand in.
pub fn read_json(text: &str) -> Result<Node, SourceError> {
    if text.len() > TEXT_BYTES_MAX {
        let message = format!("expected at most {TEXT_BYTES_MAX} bytes, got {}", text.len());
        return Err(SourceError { at: Mark::START, message });
    }
    json::read(text)
}

impl Mark {
    pub const START: Mark = Mark { line: 1, column: 1 };
}

impl Node {
    /// The value without its positions; the first of duplicate keys counts.
    pub fn to_json(&self) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Flag(flag) => Value::Bool(*flag),
            Tree::Number { value, .. } => Value::Number(value.clone()),
            Tree::Text(text) => Value::String(text.clone()),
            Tree::List(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Tree::Map(entries) => {
                let mut map = Map::new();
                for entry in entries {
                    map.entry(entry.key.clone()).or_insert_with(|| entry.value.to_json());
                }
                Value::Object(map)
            }
        }
    }

    pub fn is_null(&self) -> bool {
        self.tree == Tree::Null
    }

    /// Null, `[]`, `{}` and `""`: what exporters write for "nothing".
    pub fn is_empty(&self) -> bool {
        match &self.tree {
            Tree::Null => true,
            Tree::List(items) => items.is_empty(),
            Tree::Map(entries) => entries.is_empty(),
            Tree::Text(text) => text.is_empty(),
            Tree::Flag(_) | Tree::Number { .. } => false,
        }
    }

    /// What came, for "expected …, got …".
    pub fn described(&self) -> String {
        match &self.tree {
            Tree::Null => "nothing".to_owned(),
            Tree::Flag(flag) => format!("{flag}"),
            Tree::Number { written, .. } => format!("the number {written}"),
            Tree::Text(text) => quoted(text),
            Tree::List(_) => "a list".to_owned(),
            Tree::Map(_) => "an object".to_owned(),
        }
    }
}

/// Enough to recognise a word by.
const SHOWN_CHARS_MAX: usize = 60;

/// A document's words in a message: quoted, and cut when they are long.
pub(crate) fn quoted(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    format!("{head:?}…")
}

/// `path.key`, or `path["key"]` where the key is not a plain word.
pub(crate) fn join(path: &str, key: &str) -> String {
    // A long key would be repeated by every path below it.
    let is_word = !key.is_empty()
        && key.len() <= SHOWN_CHARS_MAX
        && key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    match (path.is_empty(), is_word) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", quoted(key)),
    }
}

/// Every key that stands twice in one object, wherever it is.
pub(crate) fn report_duplicates(node: &Node, path: &str, notes: &mut Notes) {
    match &node.tree {
        Tree::List(items) => {
            for (index, item) in items.iter().enumerate() {
                report_duplicates(item, &format!("{path}[{index}]"), notes);
            }
        }
        Tree::Map(entries) => {
            let mut seen = std::collections::BTreeMap::new();
            for entry in entries {
                let place = Place { path: join(path, &entry.key), at: entry.key_at };
                if let Some(first) = seen.get(entry.key.as_str()) {
                    let Mark { line, column } = *first;
                    let message = format!("the key {} stands already at {line}:{column}", quoted(&entry.key));
                    notes.error(&place, Code::DuplicateKey, message);
                } else {
                    seen.insert(entry.key.as_str(), entry.key_at);
                }
                report_duplicates(&entry.value, &place.path, notes);
            }
        }
        _ => {}
    }
}

/// What a document has cost so far.
#[derive(Debug, Default)]
struct Budget {
    nodes: usize,
    bytes: usize,
}

impl Budget {
    fn spend(&mut self, nodes: usize, bytes: usize, at: Mark) -> Result<(), SourceError> {
        self.nodes = self.nodes.saturating_add(nodes);
        self.bytes = self.bytes.saturating_add(bytes);
        if self.nodes > NODES_MAX {
            return Err(SourceError {
                at,
                message: format!("expected at most {NODES_MAX} values, got more"),
            });
        }
        if self.bytes > VALUE_BYTES_TOTAL_MAX {
            let message = format!("expected at most {VALUE_BYTES_TOTAL_MAX} bytes in all values, got more");
            return Err(SourceError { at, message });
        }
        Ok(())
    }
}

fn too_deep(at: Mark) -> SourceError {
    SourceError { at, message: format!("expected at most {DEPTH_MAX} levels of nesting, got more") }
}
