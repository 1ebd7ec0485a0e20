//! Documents and lists of actions that come by the API, checked like those of files.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdline_actors::door::FlowBook;
use holdline_core::flow::check;
use holdline_core::flow::diagnostic::Report;
use holdline_core::flow::parse::{self, Language, Parsed};
use holdline_core::flow::script::{ActionNode, Defaults, Script};
use holdline_core::flow::source::TEXT_BYTES_MAX;
use holdline_core::limit::Limits;
use serde_json::value::RawValue;

use crate::config::Config;
use crate::flows::{FlowLibrary, defaults};
use crate::web::problem::{Code, Problem};

#[derive(Clone)]
pub struct Grammar {
    limits: Limits,
    defaults: Defaults,
    timezone: String,
    book: Arc<dyn FlowBook>,
    /// Where the workflows are that a document may name. Without it nobody knows them before they run.
    pub library: Option<Arc<FlowLibrary>>,
}

impl Grammar {
    /// The words are those of the book.
    pub fn new(config: &Config, book: Arc<dyn FlowBook>, library: Option<Arc<FlowLibrary>>) -> Grammar {
        let (limits, timezone) = (config.limits.clone(), config.flows.timezone.clone());
        Grammar { limits, defaults: defaults(config), timezone, book, library }
    }

    /// A whole document, checked together with the workflows that are in force.
    pub fn document(&self, file: &str, stem: &str, text: &str) -> Parsed {
        let mut parsed = parse::parse(&self.language(), file, stem, text);
        if let Some(library) = &self.library {
            parsed.report.merge(library.check_with(&parsed.spans));
            parsed.report.sort();
        }
        parsed.script = parsed.script.filter(|_| parsed.report.is_ok());
        parsed
    }

    /// The actions of a request, as a workflow without a name of its own. Positions are those of the request's body.
    pub fn workflow_of(&self, body: &str, actions: &RawValue) -> Result<Script, Problem> {
        let Parsed { script, report, .. } = self.document(BODY, "inline", &alone(body, actions));
        match script {
            Some(script) => Ok(Script { id: holdline_core::WorkflowId(String::new()), ..script }),
            None => Err(refused(report)),
        }
    }

    /// The actions of a request that go into a run under way. `seed` makes ids for those without one; `ancestors` are
    /// the words that their targets may name besides their own.
    pub fn list_of(
        &self,
        body: &str,
        actions: &RawValue,
        seed: &str,
        ancestors: &BTreeSet<String>,
    ) -> Result<Vec<ActionNode>, Problem> {
        let text = [&blank(before(body, actions)), actions.get()].concat();
        let (nodes, mut report) = parse::parse_list(&self.language(), BODY, seed, &text, ancestors);
        for diagnostic in report.errors.iter_mut().chain(&mut report.warnings) {
            // The list's own paths begin at it; the sender's begin at the body.
            if diagnostic.path.starts_with('[') {
                diagnostic.path.insert_str(0, "actions");
            }
        }
        nodes.ok_or_else(|| refused(report))
    }

    fn language(&self) -> Language<'_> {
        self.book.vocabulary().configured(&self.limits, &self.defaults, &self.timezone)
    }
}

impl FlowLibrary {
    /// What only the workflows in force can say about a document. One of the same id gives way to it.
    pub fn check_with(&self, spans: &parse::Spans) -> Report {
        self.with_spans(|in_force| check::check_all(&[spans], in_force))
    }
}

/// 422 with all positions.
pub fn refused(report: Report) -> Problem {
    let count = report.errors.len() + report.left_out;
    let detail = match report.errors.first() {
        Some(first) => format!("{count} errors, the first: {}: {}", first.path, first.message),
        None => "the workflow has errors".to_owned(),
    };
    let told = report.to_json();
    let part = |name: &str| told.get(name).cloned().unwrap_or_default();
    Problem::new(Code::InvalidWorkflow, detail)
        .with("errors", part("errors"))
        .with("warnings", part("warnings"))
}

/// The body with everything blanked out but its `actions`: a document whose lines and columns are the body's.
fn alone(body: &str, actions: &RawValue) -> String {
    let before = before(body, actions);
    let (open, key) = (before.find('{'), before.rfind("\"actions\""));
    let head = match (open, key) {
        (Some(open), Some(key)) if open < key => {
            let parts = [
                &blank(before.get(..open).unwrap_or_default()),
                "{",
                &blank(before.get(open + 1..key).unwrap_or_default()),
                before.get(key..).unwrap_or_default(),
            ];
            parts.concat()
        }
        // The key is written in escapes: then its place is not known, and nobody needs it.
        _ => "{\"actions\":".to_owned(),
    };
    [&head, actions.get(), "}"].concat()
}

/// The body up to a part of it, which was borrowed from it. Nothing, when both together are more than a document may
/// be: then the part has no place, but is still read.
fn before<'b>(body: &'b str, part: &RawValue) -> &'b str {
    let start = (part.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    let fits = start + part.get().len() < TEXT_BYTES_MAX;
    body.get(..start).filter(|_| fits).unwrap_or_default()
}

/// Spaces for characters; lines stay lines.
fn blank(text: &str) -> String {
    text.chars().map(|character| if character == '\n' { '\n' } else { ' ' }).collect()
}

/// How messages call the request's body.
const BODY: &str = "body";

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Body<'b> {
        #[serde(borrow)]
        actions: &'b RawValue,
    }

    #[test]
    fn errors_in_a_request_stand_where_the_sender_wrote_them() {
        let config = Config::default();
        let library = Arc::new(FlowLibrary::without_folder(&config, Arc::default()));
        let grammar = Grammar::new(&config, library, None);
        let body = "{\n  \"variables\": {\"é\": \"{\\\"actions\\\"\"},\n  \"actions\" :\n    [{\"type\": \"tlak\"}],\n \"id\": 1 }";
        let actions = serde_json::from_str::<Body<'_>>(body).unwrap().actions;
        for problem in [
            grammar.workflow_of(body, actions).map(|_| ()).unwrap_err(),
            grammar.list_of(body, actions, "seed", &BTreeSet::new()).map(|_| ()).unwrap_err(),
        ] {
            let told = problem.member("errors").cloned().unwrap_or_default();
            let first = &told[0];
            assert_eq!((first["line"].as_u64(), first["column"].as_u64()), (Some(4), Some(15)), "{told}");
            assert_eq!((&first["path"], &first["suggestion"]), (&"actions[0].type".into(), &"talk".into()));
        }
        let body = r#"{"\u0061ctions": [{"type": "empty"}]}"#;
        let actions = serde_json::from_str::<Body<'_>>(body).unwrap().actions;
        assert!(grammar.workflow_of(body, actions).is_ok());
    }
}
