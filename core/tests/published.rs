//! What the repository publishes about the language is what the code says. `UPDATE=1 cargo test --test published` writes
//! it anew.

#![allow(clippy::disallowed_methods, reason = "a test may read and write the repository")]

use holdline_core::event;
use holdline_core::flow::check::check_all;
use holdline_core::flow::parse::{Language, Parsed, parse};
use holdline_core::flow::{action, schema};
use holdline_core::limit::Limits;
use std::fs;
use std::path::Path;

#[test]
fn the_schema_is_the_declarations() {
    let mut text = serde_json::to_string_pretty(&schema::schema()).unwrap();
    text.push('\n');
    compare("docs/schema/workflow.schema.json", &text);
}

#[test]
fn the_table_of_actions_is_the_declarations() {
    compare("docs/actions.md", &schema::table());
}

#[test]
fn the_table_of_events_is_the_declarations() {
    let text = fs::read_to_string(root().join(EVENTS)).unwrap();
    let (before, rest) = text.split_once(TYPES_BEGIN).expect("the mark before the table");
    let (_, after) = rest.split_once(TYPES_END).expect("the mark after the table");
    let rows = event::TYPES.iter().map(|(kind, about)| format!("| `{kind}` | {about} |\n"));
    let table: String = rows.collect();
    compare(EVENTS, &format!("{before}{TYPES_BEGIN}| type | when |\n|---|---|\n{table}{TYPES_END}{after}"));
}

const EVENTS: &str = "docs/events.md";
const TYPES_BEGIN: &str =
    "<!-- types: written by UPDATE=1 cargo test -p holdline-core --test published -->\n";
const TYPES_END: &str = "<!-- end of types -->\n";
const BEGIN: &str = "<!-- actions: written by UPDATE=1 cargo test -p holdline-core --test published -->\n";
const END: &str = "<!-- end of actions -->";

const LANGUAGE: &str = "docs/language.md";

/// A fenced block of a page.
struct Example {
    /// After the fence: `yaml`, `yaml bad`.
    kind: String,
    text: String,
    /// Of its first line.
    line: usize,
}

fn examples(page: &str) -> Vec<Example> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    let (mut found, mut open): (Vec<Example>, bool) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(kind), false) => {
                found.push(Example { kind: kind.to_owned(), text: String::new(), line: index + 2 });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => found.last_mut().unwrap().text.extend([line, "\n"]),
            (None, false) => {}
        }
    }
    found
}

impl Example {
    fn is_document(&self) -> bool {
        self.kind == "yaml" || self.kind == "json"
    }

    /// What its first line says that it is called.
    fn file(&self) -> String {
        let said = self.text.lines().next().and_then(|line| line.strip_prefix("# "));
        let ending = if self.kind == "json" { "json" } else { "yaml" };
        said.filter(|said| said.ends_with(".yaml"))
            .map_or(format!("line-{}.{ending}", self.line), str::to_owned)
    }

    fn parsed(&self) -> Parsed {
        let (actions, limits) = (action::declared(), Limits::default());
        let language = Language::new(&actions, action::LATER, &limits);
        let file = self.file();
        let stem = Path::new(&file).file_stem().unwrap().to_str().unwrap();
        // A list is a part of a document.
        let text = match self.text.starts_with("- ") {
            true => format!("tasks:\n{}", self.text),
            false => self.text.clone(),
        };
        parse(&language, &file, stem, &text)
    }
}

#[test]
fn every_example_of_the_language_is_a_workflow_that_checks() {
    let examples = examples(LANGUAGE);
    let documents: Vec<(&Example, Parsed)> = examples
        .iter()
        .filter(|example| example.is_document())
        .map(|example| (example, example.parsed()))
        .collect();
    assert!(documents.len() >= 10);
    let spans: Vec<_> = documents.iter().map(|(_, parsed)| &parsed.spans).collect();
    let together = check_all(&spans, &[]);
    assert!(together.is_ok(), "{together}");
    for (example, parsed) in &documents {
        assert!(parsed.report.is_ok(), "{LANGUAGE}:{}: {}", example.line, parsed.report);
    }
}

/// The overview of actions, and what `check` says of the example that is bad.
#[test]
fn what_the_page_of_the_language_shows_is_so() {
    let examples = examples(LANGUAGE);
    let place = examples.iter().position(|example| example.kind == "yaml bad").unwrap();
    let (bad, told) = (&examples[place], &examples[place + 1]);
    let report = bad.parsed().report;
    assert!(!report.is_ok());
    let text = fs::read_to_string(root().join(LANGUAGE)).unwrap();
    let shown = text.replace(&format!("```text\n{}```", told.text), &format!("```text\n{report}```"));
    let (before, rest) = shown.split_once(BEGIN).expect("the mark before the overview");
    let (_, after) = rest.split_once(END).expect("the mark after the overview");
    compare(LANGUAGE, &format!("{before}{BEGIN}{}{END}{after}", schema::overview()));
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn compare(file: &str, said: &str) {
    let path = root().join(file);
    if std::env::var_os("UPDATE").is_some() {
        assert!(std::env::var_os("CI").is_none(), "{file} is written by people, not by CI");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, said).unwrap();
    }
    let published = fs::read_to_string(&path).unwrap_or_default();
    assert!(published == said, "{file} is not what the declarations say; UPDATE=1 writes it anew");
}
