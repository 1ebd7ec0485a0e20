//! Settings before they have types: a table whose every value knows where it was written.
//!
//! The compiled-in file is the bottom layer and also the list of keys that exist, so a key can't be documented and
//! unknown, or known and undocumented.

use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Default,
    /// `line` 0: the file as a whole.
    File {
        file: String,
        line: usize,
        column: usize,
    },
    /// The variable's name.
    Environment(String),
    /// The flag as typed, such as `--data`.
    Flag(String),
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub origin: Origin,
    /// The key, such as `calls.max_calls` or `control.tokens[0].role`; empty for a file as a whole.
    pub path: String,
    /// A stable word: `syntax`, `unknown_key`, `invalid_value`, `unresolved`, `unreadable`, `unsafe`.
    pub code: &'static str,
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub value: Value,
    pub origin: Origin,
    /// What the environment variable held, for settings that are texts: an account number may look like an integer.
    pub raw: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    List(Vec<Node>),
    Table(Table),
    /// A TOML value that no setting takes: a date, an integer beyond 64 bits. Holds what to call it.
    Foreign(&'static str),
    /// Its problem has been told; whoever reads it says nothing more.
    Broken,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Table {
    /// In the order of the file, which is the order in which people read the effective configuration.
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub key_origin: Origin,
    pub node: Node,
}

/// The one section whose keys are the user's own.
pub(super) const FREE_SECTION: &str = "secrets";

impl Table {
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// Lays `over` on top. Keys that this table doesn't have are problems, except in the free section.
    pub fn overlay(&mut self, over: Table, path: &str, problems: &mut Vec<Problem>) {
        for entry in over.entries {
            let here = join(path, &entry.key);
            let Some(position) = self.entries.iter().position(|mine| mine.key == entry.key) else {
                if path == FREE_SECTION {
                    self.entries.push(entry);
                } else {
                    problems.push(self.unknown(path, &entry));
                }
                continue;
            };
            let Some(mine) = self.entries.get_mut(position) else { continue };
            match (&mut mine.node.value, entry.node.value) {
                (Value::Table(mine), Value::Table(over)) => mine.overlay(over, &here, problems),
                (Value::Table(_), other) => problems.push(Problem {
                    origin: entry.node.origin,
                    path: here.clone(),
                    code: "invalid_value",
                    message: format!("expected a section, [{here}], got {}", other.describe()),
                    suggestion: None,
                }),
                (slot, value) => {
                    // Where a text belongs, what the environment holds is one, though it may look like a number:
                    // "+15550100" must be shown, too, as it is written.
                    *slot = match (&*slot, value, &entry.node.raw) {
                        (
                            Value::Text(_),
                            Value::Integer(_) | Value::Float(_) | Value::Foreign(_),
                            Some(raw),
                        ) => Value::Text(raw.clone()),
                        (_, value, _) => value,
                    };
                    mine.node.origin = entry.node.origin;
                    mine.node.raw = entry.node.raw;
                }
            }
        }
    }

    fn unknown(&self, path: &str, entry: &Entry) -> Problem {
        let place = if path.is_empty() { "at the top level".to_owned() } else { format!("in [{path}]") };
        Problem {
            origin: entry.key_origin.clone(),
            path: join(path, &entry.key),
            code: "unknown_key",
            message: format!("unknown key \"{}\" {place}", entry.key),
            suggestion: nearest(&entry.key, self.keys()).map(str::to_owned),
        }
    }
}

impl Value {
    /// What it is, for messages. Never what it holds: it may be a secret in the wrong place.
    pub fn describe(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a number",
            Value::Boolean(_) => "true or false",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
            Value::Foreign(name) => name,
            Value::Broken => "nothing usable",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { file, line: 0, .. } => f.write_str(file),
            Origin::File { file, line, column } => write!(f, "{file}:{line}:{column}"),
            Origin::Environment(name) => f.write_str(name),
            Origin::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: error: ", self.origin)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, "; did you mean \"{suggestion}\"?"),
            None => Ok(()),
        }
    }
}

/// The table that `text` holds, and every place where it is not TOML.
pub(super) fn parse(text: &str, file: &str, origin_is_default: bool) -> (Table, Vec<Problem>) {
    let place = Place { text, file, origin_is_default };
    let (table, errors) = DeTable::parse_recoverable(text);
    let problems = errors
        .iter()
        .map(|error| Problem {
            origin: place.at(error.span().map_or(0, |span| span.start)),
            path: String::new(),
            code: "syntax",
            message: format!("not valid TOML: {}", error.message().trim().replace('\n', ", ")),
            suggestion: None,
        })
        .collect();
    (place.table(table.get_ref()), problems)
}

/// One environment variable's value: TOML if it can be read so, else the text as it is.
pub(super) fn from_environment(name: &str, raw: &str) -> Node {
    let origin = Origin::Environment(name.to_owned());
    let line = format!("v = {raw}");
    let value = match DeTable::parse(&line) {
        Ok(table) if table.get_ref().len() == 1 => {
            let place = Place { text: &line, file: "", origin_is_default: true };
            let read = table.get_ref().iter().next().map(|(_, node)| place.node(node));
            read.map_or_else(|| Value::Text(raw.to_owned()), |node| node.value)
        }
        _ => Value::Text(raw.to_owned()),
    };
    let mut node = Node { value, origin: origin.clone(), raw: Some(raw.to_owned()) };
    node.set_origin(&origin);
    node
}

impl Node {
    fn set_origin(&mut self, origin: &Origin) {
        self.origin = origin.clone();
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.set_origin(origin)),
            Value::Table(table) => {
                for entry in &mut table.entries {
                    entry.key_origin = origin.clone();
                    entry.node.set_origin(origin);
                }
            }
            _ => {}
        }
    }
}

pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The known word that `word` most resembles, if it resembles one: a third of its letters may be wrong.
pub(crate) fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let allowed = (word.chars().count() / 3).max(2);
    known
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

struct Place<'t> {
    text: &'t str,
    file: &'t str,
    origin_is_default: bool,
}

impl Place<'_> {
    fn at(&self, offset: usize) -> Origin {
        if self.origin_is_default {
            return Origin::Default;
        }
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Origin::File {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let entries = table
            .iter()
            .map(|(key, node)| Entry {
                key: key.get_ref().to_string(),
                key_origin: self.at(key.span().start),
                node: self.node(node),
            })
            .collect();
        Table { entries }
    }

    fn node(&self, node: &Spanned<DeValue<'_>>) -> Node {
        let value = match node.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
                .map_or(Value::Foreign("an integer that is too large"), Value::Integer),
            DeValue::Float(digits) => {
                digits.as_str().parse().map_or(Value::Foreign("an unreadable number"), Value::Float)
            }
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Datetime(_) => Value::Foreign("a date"),
            DeValue::Array(items) => Value::List(items.iter().map(|item| self.node(item)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { value, origin: self.at(node.span().start), raw: None }
    }
}
