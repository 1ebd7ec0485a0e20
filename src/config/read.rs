//! Reading typed settings out of the merged table, gathering every problem instead of stopping at the first.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::tree::{Node, Origin, Problem, Table, Value, join, nearest};
use super::value::{Secret, duration, written};

pub(super) type Problems = RefCell<Vec<Problem>>;

/// One section (or one table of a list), from which settings are taken by name.
///
/// A setting that can't be read yields a stand-in and a problem; a configuration with problems is never handed out.
pub(super) struct Section<'t> {
    pub path: String,
    pub table: &'t Table,
    pub problems: &'t Problems,
}

impl<'t> Section<'t> {
    pub fn section(&self, key: &str) -> Section<'t> {
        const NOTHING: &Table = &Table { entries: Vec::new() };
        let table = match self.table.get(key).map(|node| &node.value) {
            Some(Value::Table(table)) => table,
            _ => NOTHING,
        };
        Section { path: join(&self.path, key), table, problems: self.problems }
    }

    pub fn text(&self, key: &str) -> String {
        self.parsed(key, String::new(), |text| Ok(text.to_owned()))
    }

    pub fn secret(&self, key: &str) -> Secret {
        self.parsed(key, Secret::default(), |text| Ok(Secret::new(text)))
    }

    /// `read` on the text, unless that is empty.
    pub fn optional<T>(&self, key: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        self.parsed(key, None, |text| if text.is_empty() { Ok(None) } else { read(text).map(Some) })
    }

    pub fn parsed<T>(&self, key: &str, stand_in: T, read: impl FnOnce(&str) -> Result<T, String>) -> T {
        let Some(node) = self.table.get(key) else { return self.absent(key, stand_in) };
        let path = join(&self.path, key);
        let Some(text) = self.text_of(node, &path) else { return stand_in };
        read(text).unwrap_or_else(|message| {
            self.report(node, &path, message);
            stand_in
        })
    }

    pub fn one_of<T: Copy>(&self, key: &str, words: &[(&str, T)], stand_in: T) -> T {
        let Some(node) = self.table.get(key) else { return self.absent(key, stand_in) };
        let path = join(&self.path, key);
        let Some(text) = self.text_of(node, &path) else { return stand_in };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return *value;
        }
        let listed: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        self.problems.borrow_mut().push(Problem {
            origin: node.origin.clone(),
            path,
            code: "invalid_value",
            message: format!("expected one of {}, got \"{text}\"", listed.join(", ")),
            suggestion: nearest(text, words.iter().map(|(word, _)| *word)).map(str::to_owned),
        });
        stand_in
    }

    pub fn duration(&self, key: &str, range: RangeInclusive<Duration>) -> Duration {
        self.parsed(key, *range.start(), |text| within(duration(text)?, &range))
    }

    pub fn durations(&self, key: &str, range: RangeInclusive<Duration>) -> Vec<Duration> {
        self.list(key, |text| within(duration(text)?, &range))
    }

    pub fn integer<T: TryFrom<i64> + Default>(&self, key: &str, range: RangeInclusive<i64>) -> T {
        self.value(key, |value| match value {
            Value::Integer(number) if range.contains(number) => T::try_from(*number).ok(),
            _ => None,
        })
        .unwrap_or_else(|got| {
            self.wrong(key, got, &format!("a whole number from {} to {}", range.start(), range.end()));
            T::default()
        })
    }

    pub fn number(&self, key: &str, range: RangeInclusive<f64>) -> f64 {
        self.value(key, |value| match value {
            Value::Float(number) if range.contains(number) => Some(*number),
            #[allow(clippy::cast_precision_loss)] // the ranges asked for are small
            Value::Integer(number) if range.contains(&(*number as f64)) => Some(*number as f64),
            _ => None,
        })
        .unwrap_or_else(|got| {
            self.wrong(key, got, &format!("a number from {} to {}", range.start(), range.end()));
            *range.start()
        })
    }

    pub fn boolean(&self, key: &str) -> bool {
        self.value(key, |value| if let Value::Boolean(value) = value { Some(*value) } else { None })
            .unwrap_or_else(|got| {
                self.wrong(key, got, "true or false");
                false
            })
    }

    /// true, false, or `None` for the word "auto".
    pub fn boolean_or_auto(&self, key: &str) -> Option<bool> {
        self.value(key, |value| match value {
            Value::Boolean(value) => Some(Some(*value)),
            Value::Text(word) if word == "auto" => Some(None),
            _ => None,
        })
        .unwrap_or_else(|got| {
            self.wrong(key, got, "true, false or \"auto\"");
            None
        })
    }

    /// A list of texts, each read by `read`.
    pub fn list<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        self.items(key)
            .filter_map(|(path, node)| {
                let text = self.text_of(node, &path)?;
                read(text).map_err(|message| self.report(node, &path, message)).ok()
            })
            .collect()
    }

    pub fn secrets(&self, key: &str) -> Vec<Secret> {
        self.list(
            key,
            |text| {
                if text.is_empty() { Err("is empty".to_owned()) } else { Ok(Secret::new(text)) }
            },
        )
    }

    /// A list of tables, none of which may have keys beyond `known`.
    pub fn tables(&self, key: &str, known: &[&str]) -> Vec<Section<'t>> {
        let mut sections = Vec::new();
        for (path, node) in self.items(key) {
            match &node.value {
                Value::Table(table) => {
                    for entry in table.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
                        self.problems.borrow_mut().push(Problem {
                            origin: entry.key_origin.clone(),
                            path: join(&path, &entry.key),
                            code: "unknown_key",
                            message: format!("unknown key \"{}\"", entry.key),
                            suggestion: nearest(&entry.key, known.iter().copied()).map(str::to_owned),
                        });
                    }
                    sections.push(Section { path, table, problems: self.problems });
                }
                Value::Broken => {}
                other => self.report(
                    node,
                    &path,
                    format!("expected a table {{ {} = … }}, got {}", known.join(" = …, "), other.describe()),
                ),
            }
        }
        sections
    }

    /// A problem with the section's key, whatever its value.
    pub fn refuse(&self, key: &str, code: &'static str, message: String) {
        let origin = self.table.get(key).map_or(Origin::Default, |node| node.origin.clone());
        let problem = Problem { origin, path: join(&self.path, key), code, message, suggestion: None };
        self.problems.borrow_mut().push(problem);
    }

    fn items(&self, key: &str) -> impl Iterator<Item = (String, &'t Node)> + use<'t> {
        let path = join(&self.path, key);
        let items: &'t [Node] = match self.table.get(key).map(|node| (node, &node.value)) {
            Some((_, Value::List(items))) => items,
            Some((_, Value::Broken)) | None => &[],
            Some((node, other)) => {
                self.report(node, &path, format!("expected a list, [ … ], got {}", other.describe()));
                &[]
            }
        };
        items.iter().enumerate().map(move |(index, node)| (format!("{path}[{index}]"), node))
    }

    fn text_of<'n>(&self, node: &'n Node, path: &str) -> Option<&'n str> {
        match (&node.value, &node.raw) {
            (Value::Text(text), _) => Some(text),
            (Value::Broken, _) => None,
            (_, Some(raw)) => Some(raw),
            (Value::Integer(_), None) => {
                self.report(node, path, "expected a text, got an integer; write it in quotes".to_owned());
                None
            }
            (other, None) => {
                self.report(node, path, format!("expected a text, got {}", other.describe()));
                None
            }
        }
    }

    fn value<T>(&self, key: &str, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, Option<&'t Node>> {
        let node = self.table.get(key).ok_or(None)?;
        read(&node.value).ok_or(Some(node))
    }

    fn wrong(&self, key: &str, got: Option<&Node>, expected: &str) {
        let path = join(&self.path, key);
        let Some(node) = got else { return self.absent(key, ()) };
        let got = match &node.value {
            Value::Broken => return,
            Value::Integer(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            other => other.describe().to_owned(),
        };
        self.report(node, &path, format!("expected {expected}, got {got}"));
    }

    /// The compiled-in file has every key of the sections, so this is about the tables of lists.
    fn absent<T>(&self, key: &str, stand_in: T) -> T {
        let origin = self.table.entries.first().map_or(Origin::Default, |entry| entry.key_origin.clone());
        self.problems.borrow_mut().push(Problem {
            origin,
            path: self.path.clone(),
            code: "invalid_value",
            message: format!("has no \"{key}\""),
            suggestion: None,
        });
        stand_in
    }

    fn report(&self, node: &Node, path: &str, message: String) {
        self.problems.borrow_mut().push(Problem {
            origin: node.origin.clone(),
            path: path.to_owned(),
            code: "invalid_value",
            message,
            suggestion: None,
        });
    }
}

fn within(value: Duration, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (written(*range.start()), written(*range.end()));
    Err(format!("expected a duration from \"{least}\" to \"{most}\", got \"{}\"", written(value)))
}
