//! A document's text becomes a checked [`Script`], or a [`Report`] of everything that is wrong with it.
//!
//! The parser knows the language's own words (`tasks`, `next`, `retry` …) in both dialects. What an action or a trigger
//! takes it knows from their declarations alone. Exceptions that an action needs belong into its declaration, not here.

mod action;
mod document;
mod fields;
mod policy;
mod shape;
mod text;

use super::check;
use super::declare::Declared;
use super::diagnostic::{Code, Notes, Place, Report};
use super::expression;
use super::script::{ActionNode, DEFAULTS, Defaults, Script, UTC};
use super::source::{self, Mark};
use super::trigger;
use crate::id::WorkflowId;
use crate::limit::Limits;
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
pub(crate) use action::KEYS as ACTION_KEYS;
pub(crate) use action::{IGNORED_KEYS, REFUSED_KEYS};
#[cfg(test)]
pub(crate) use document::KEYS as DOCUMENT_KEYS;
pub(crate) use text::is_secret;
pub use text::{Scan, expression, is_dynamic, scan};

/// What documents may say.
#[derive(Clone, Copy)]
pub struct Language<'a> {
    pub actions: &'a [&'static Declared],
    pub triggers: &'a [&'static trigger::Declared],
    /// Action types that are planned: "not available yet" instead of "unknown".
    pub later: &'a [&'static str],
    /// As configured; a document may only lower them.
    pub limits: &'a Limits,
    /// As configured, for what documents don't say.
    pub defaults: &'a Defaults,
    /// The zone of times that name none.
    pub timezone: &'a str,
    /// Whether a time zone's name is known.
    pub zone_known: fn(&str) -> bool,
    /// The names that an expression reads (the text after its `=`), or what is wrong with it.
    pub expression: fn(&str) -> Result<Vec<String>, String>,
}

/// What came of a document. A script only without errors.
#[derive(Debug, Clone)]
pub struct Parsed {
    pub script: Option<Script>,
    pub spans: Spans,
    pub report: Report,
}

/// Where a document mentions what only other documents can answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Spans {
    pub file: String,
    /// The document's id, and where it is written (the document itself, when the file's name gives it).
    pub id: Option<(WorkflowId, Place)>,
    /// Every workflow that it names, `on_complete` too.
    pub workflows: Vec<Mention>,
    pub on_complete: Option<Mention>,
    /// Workflows that callers are to hear while they wait in a queue.
    pub wait_flows: Vec<Mention>,
    /// What a queue would skip, if this were such a workflow.
    pub skipped_while_queued: BTreeSet<String>,
}

/// A word in a document that names something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mention {
    pub word: String,
    pub place: Place,
}

/// The twin of an [`ActionNode`]: where it stands, and what its words refer to.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionPlace {
    pub place: Place,
    /// Of the id, when it is written.
    pub id: Option<Place>,
    pub name: Option<Place>,
    /// Literal targets: `next`, `on_error`, parameters.
    pub targets: Vec<Mention>,
    /// Names inside `${…}`, as written.
    pub variables: Vec<Mention>,
    /// Of each parameter that is given, by canonical name.
    pub parameters: BTreeMap<String, Place>,
    pub lists: BTreeMap<String, Vec<ActionPlace>>,
}

/// A whole document with the places that its checks need.
pub(crate) struct Draft {
    pub script: Script,
    pub actions: Vec<ActionPlace>,
    /// Of each trigger's name, or of the trigger.
    pub trigger_names: Vec<Place>,
    /// In `outputs`.
    pub variables: Vec<Mention>,
    /// The document says what comes from outside.
    pub has_inputs: bool,
}

impl<'a> Language<'a> {
    /// With the house's own triggers, defaults, bundled time zones and expressions.
    pub fn new(
        actions: &'a [&'static Declared],
        later: &'a [&'static str],
        limits: &'a Limits,
    ) -> Language<'a> {
        Language {
            actions,
            triggers: trigger::TABLE,
            later,
            limits,
            defaults: &DEFAULTS,
            timezone: UTC,
            zone_known,
            expression: expression::names_of,
        }
    }

    /// By canonical name or alias.
    pub fn action(&self, word: &str) -> Option<&'static Declared> {
        self.actions.iter().copied().find(|d| d.name == word || d.aliases.contains(&word))
    }
}

/// Reads and checks one document. `file` is its name for messages, `stem` its id unless it has one of its own.
/// References to other workflows are checked by [`check::check_all`], when all documents are read.
pub fn parse(language: &Language<'_>, file: &str, stem: &str, text: &str) -> Parsed {
    let mut notes = Notes::new(file);
    let root = match source::read(file, text) {
        Ok(root) => root,
        Err(error) => {
            let place = Place { path: String::new(), at: error.at };
            notes.error(&place, Code::Syntax, error.message);
            // Others may still name it: one broken file is one problem, not one for each reference to it.
            let id = Some((WorkflowId(stem.to_owned()), Place::new("", Mark::START)));
            let spans = Spans { file: file.to_owned(), id, ..Spans::default() };
            return Parsed { script: None, spans, report: notes.report };
        }
    };
    source::report_duplicates(&root, "", &mut notes);
    let mut reader = Reader::new(language, notes);
    let draft = reader.document(&root, stem);
    let Reader { mut notes, mut spans, .. } = reader;
    if let Some(draft) = &draft {
        check::check(language, draft, &mut notes);
        spans.skipped_while_queued = check::skipped_while_queued(language, draft);
    }
    spans.file = file.to_owned();
    notes.report.sort();
    let script = draft.map(|draft| draft.script).filter(|_| notes.report.is_ok());
    Parsed { script, spans, report: notes.report }
}

/// Reads a list of actions that came from outside a document, as JSON: fetched ones, pushed ones. `seed` makes the ids
/// of actions without one (it must differ from push to push); `ancestors` are the ids and names that its targets may
/// name besides its own.
pub fn parse_list(
    language: &Language<'_>,
    file: &str,
    seed: &str,
    text: &str,
    ancestors: &BTreeSet<String>,
) -> (Option<Vec<ActionNode>>, Report) {
    let mut notes = Notes::new(file);
    let root = match source::read_json(text) {
        Ok(root) => root,
        Err(error) => {
            notes.error(&Place { path: String::new(), at: error.at }, Code::Syntax, error.message);
            return (None, notes.report);
        }
    };
    source::report_duplicates(&root, "", &mut notes);
    let mut reader = Reader::new(language, notes);
    reader.seed = seed.to_owned();
    let (nodes, places) = reader.actions(&root, "", "actions");
    let mut notes = reader.notes;
    check::check_list(language, &nodes, &places, ancestors, &mut notes);
    notes.report.sort();
    (notes.report.is_ok().then_some(nodes), notes.report)
}

/// Zones are compiled in: what checks here checks on every machine.
pub fn zone_known(name: &str) -> bool {
    zone(name).is_some()
}

pub fn zone(name: &str) -> Option<jiff::tz::TimeZone> {
    jiff::tz::TimeZoneDatabase::bundled().get(name).ok()
}

/// Carries what all parts of the reading share.
struct Reader<'a> {
    language: &'a Language<'a>,
    notes: Notes,
    spans: Spans,
    /// Mixed into the ids that are made up.
    seed: String,
}

impl<'a> Reader<'a> {
    fn new(language: &'a Language<'a>, notes: Notes) -> Reader<'a> {
        Reader { language, notes, spans: Spans::default(), seed: String::new() }
    }
}

impl Place {
    pub(crate) fn new(path: impl Into<String>, at: Mark) -> Place {
        Place { path: path.into(), at }
    }
}

/// Exporters write the nil UUID and empty text for "none".
pub(crate) fn is_absent(id: &str) -> bool {
    id.is_empty() || id == "00000000-0000-0000-0000-000000000000"
}

/// First parts of names that belong to the runtime, whatever their case.
pub(crate) const RESERVED_NAMES: &[&str] = &["call", "activeflow", "voipbin", "secret", "error"];

pub(crate) fn is_reserved(name: &str) -> bool {
    let head = name.split(['.', '[']).next().unwrap_or(name);
    RESERVED_NAMES.iter().any(|reserved| head.eq_ignore_ascii_case(reserved))
}
