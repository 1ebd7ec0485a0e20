//! What is wrong with a document, and where: every problem of a document is said at once, each with its position, its
//! path in the document's own key words, a code for machines and the nearest known word for people.

use super::source::Mark;
use serde::Serialize;
use std::fmt;

/// All problems of one document, or of several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub errors: Vec<Diagnostic>,
    pub warnings: Vec<Diagnostic>,
    /// Problems beyond [`DIAGNOSTICS_MAX`]: counted, not kept.
    pub left_out: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// `tasks[0].parameters.target_id`; `document` for the document as a whole.
    pub path: String,
    pub code: Code,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
    #[serde(skip)]
    pub severity: Severity,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Warning,
}

/// A problem's kind, for machines; written in snake case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Code {
    /// The text is not YAML or not JSON, or is more than a document may be.
    Syntax,
    DuplicateKey,
    /// A key and its alias in one object.
    BothAliases,
    UnknownKey,
    UnknownType,
    UnknownParameter,
    /// Known, planned, not there.
    NotAvailableYet,
    NotSupported,
    MissingKey,
    WrongType,
    InvalidValue,
    InvalidId,
    DuplicateId,
    DuplicateName,
    ReservedName,
    LimitRaised,
    UnclosedVariable,
    InvalidExpression,
    SecretNotAllowed,
    UnknownTarget,
    UnreachableTarget,
    UnknownWorkflow,
    DuplicateWorkflow,
    MalformedSsml,
    UnsafePath,
    UnknownTimezone,
    // From here on: codes of warnings.
    IgnoredKey,
    UnreachableAction,
    UnsetVariable,
    MediaInMainWorkflow,
    NeedsStream,
    AsyncOnVerb,
    OnCompleteCycle,
}

/// A place in a document: where a reader looks, and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub path: String,
    pub at: Mark,
}

/// More problems than anybody reads, and few enough that a hostile document cannot fill the memory with them.
pub const DIAGNOSTICS_MAX: usize = 1000;

/// Each one compares a word with all that it might have been; a document may have ten thousand of either.
const SUGGESTIONS_MAX: usize = 100;

/// Words longer than this are nobody's misspelling, and comparing them costs the product of their lengths.
const WORD_CHARS_MAX: usize = 64;

impl Report {
    pub fn is_ok(&self) -> bool {
        self.errors.is_empty()
    }

    pub fn add(&mut self, diagnostic: Diagnostic) {
        if self.errors.len() + self.warnings.len() >= DIAGNOSTICS_MAX {
            // A document with a thousand warnings must not pass for a good one.
            if !(self.errors.is_empty() && diagnostic.severity == Severity::Error) {
                self.left_out += 1;
                return;
            }
        }
        match diagnostic.severity {
            Severity::Error => self.errors.push(diagnostic),
            Severity::Warning => self.warnings.push(diagnostic),
        }
    }

    /// In the order of the document.
    pub fn sort(&mut self) {
        let key = |d: &Diagnostic| (d.file.clone(), d.line, d.column, d.path.clone(), d.code);
        self.errors.sort_by_key(key);
        self.warnings.sort_by_key(key);
    }

    pub fn merge(&mut self, other: Report) {
        self.left_out += other.left_out;
        for diagnostic in other.errors.into_iter().chain(other.warnings) {
            self.add(diagnostic);
        }
    }

    /// `{"ok", "errors": […], "warnings": […]}`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "ok": self.is_ok(), "errors": self.errors, "warnings": self.warnings })
    }
}

/// One line per problem, errors first.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in self.errors.iter().chain(&self.warnings) {
            writeln!(f, "{diagnostic}")?;
        }
        if self.left_out > 0 {
            writeln!(f, "… and {} more", self.left_out)?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnostic { file, line, column, path, message, severity, .. } = self;
        write!(f, "{file}:{line}:{column}: {severity}: {path}: {message}")
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Serialised without a serialiser of its own, so that both forms are one table.
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(word)) => f.write_str(&word),
            _ => write!(f, "{self:?}"),
        }
    }
}

/// Problems of one file on their way into a report.
#[derive(Debug)]
pub(crate) struct Notes {
    pub file: String,
    pub report: Report,
    suggested: usize,
}

impl Notes {
    pub fn new(file: &str) -> Notes {
        Notes { file: file.to_owned(), report: Report::default(), suggested: 0 }
    }

    fn suggestion<'w>(&mut self, word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<String> {
        self.suggested += 1;
        if self.suggested > SUGGESTIONS_MAX {
            return None;
        }
        nearest(word, known).map(str::to_owned)
    }

    pub fn error(&mut self, place: &Place, code: Code, message: impl Into<String>) {
        self.add(Severity::Error, place, code, message.into(), None);
    }

    pub fn warning(&mut self, place: &Place, code: Code, message: impl Into<String>) {
        self.add(Severity::Warning, place, code, message.into(), None);
    }

    /// With the nearest of the known words, if one is near.
    pub fn error_near<'w>(
        &mut self,
        place: &Place,
        code: Code,
        message: impl Into<String>,
        word: &str,
        known: impl IntoIterator<Item = &'w str>,
    ) {
        let suggestion = self.suggestion(word, known);
        self.add(Severity::Error, place, code, message.into(), suggestion);
    }

    pub fn warning_near<'w>(
        &mut self,
        place: &Place,
        code: Code,
        message: impl Into<String>,
        word: &str,
        known: impl IntoIterator<Item = &'w str>,
    ) {
        let suggestion = self.suggestion(word, known);
        self.add(Severity::Warning, place, code, message.into(), suggestion);
    }

    pub fn add(
        &mut self,
        severity: Severity,
        place: &Place,
        code: Code,
        mut message: String,
        suggestion: Option<String>,
    ) {
        if let Some(word) = &suggestion {
            message.push_str(&format!("; did you mean {word:?}?"));
        }
        self.report.add(Diagnostic {
            file: self.file.clone(),
            line: place.at.line,
            column: place.at.column,
            path: if place.path.is_empty() { "document".to_owned() } else { place.path.clone() },
            code,
            message,
            suggestion,
            severity,
        });
    }
}

/// The known word that was probably meant: a third of the letters may be wrong; case, `_` and `-` don't count.
pub fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let plain = plain(word);
    let length = plain.chars().count();
    if length == 0 || length > WORD_CHARS_MAX {
        return None;
    }
    let allowed = (length / 3).max(1);
    known
        .into_iter()
        .filter(|candidate| letters(candidate).count().abs_diff(length) <= allowed)
        .map(|candidate| (strsim::osa_distance(&plain, &self::plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed && *distance < length)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn plain(word: &str) -> String {
    letters(word).flat_map(char::to_lowercase).collect()
}

fn letters(word: &str) -> impl Iterator<Item = char> {
    word.chars().filter(|c| !matches!(c, '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        let known = ["digits_receive", "digits_send", "talk", "play"];
        assert_eq!(nearest("digitsReceive", known), Some("digits_receive"));
        assert_eq!(nearest("tlak", known), Some("talk"));
        assert_eq!(nearest("hangup", known), None);
        assert_eq!(nearest("x", known), None);
    }

    #[test]
    fn a_thousand_warnings_do_not_hide_an_error() {
        let mut notes = Notes::new("a.yaml");
        let place = Place { path: String::new(), at: Mark { line: 1, column: 1 } };
        for _ in 0..DIAGNOSTICS_MAX + 5 {
            notes.warning(&place, Code::IgnoredKey, "x");
        }
        notes.error(&place, Code::Syntax, "broken");
        assert!(!notes.report.is_ok());
        assert_eq!(notes.report.left_out, 5);
        assert_eq!(notes.report.errors[0].to_string(), "a.yaml:1:1: error: document: broken");
        assert_eq!(notes.report.to_json()["errors"][0]["code"], "syntax");
    }
}
