//! Workflows that are handed in by the API, beside those of the folder, and how either is shown.

use std::sync::{Arc, PoisonError};
use std::time::UNIX_EPOCH;

use holdline_core::WorkflowId;
use holdline_core::fact::{Entry, Fact, FlowFact};
use holdline_core::flow::diagnostic::Report;
use holdline_core::flow::parse::{self, Spans};
use holdline_core::flow::{check, source};
use holdline_core::time::rfc3339_ms;
use serde_json::{Value, json};

use super::{Document, FlowLibrary, InForce, Shelf, Shelved, by_file};

/// A workflow that was handed in.
pub(super) struct Stored {
    document: Arc<Document>,
    created_ms: u64,
    updated_ms: u64,
}

/// A workflow as the API shows it, and its place in a list.
pub struct Shown {
    pub id: String,
    pub created_ms: u64,
    pub view: Value,
}

/// Why a workflow is not taken in, or not deleted.
#[derive(Debug)]
pub enum NotStored {
    Unknown,
    /// A file has this id.
    OfAFile,
    Errors(Report),
    /// The document says that it is another one.
    OtherId(WorkflowId),
    Full,
}

/// Workflows that may be handed in: each is kept in memory, with its text.
const STORED_MAX: usize = 10_000;

impl FlowLibrary {
    /// Whether this text may be stored under this id. Nothing is changed.
    pub fn may_store(&self, id: &WorkflowId, text: &str) -> Result<(), NotStored> {
        let shelf = self.shelf();
        if of_a_file(&shelf, id) {
            return Err(NotStored::OfAFile);
        }
        let document = self.read_stored(id, text);
        match document.id() {
            Some(own) if own != id => Err(NotStored::OtherId(own.clone())),
            _ if !document.report.is_ok() => Err(NotStored::Errors(document.report)),
            _ if shelf.stored.len() >= STORED_MAX && !shelf.stored.contains_key(id) => Err(NotStored::Full),
            _ => Ok(()),
        }
    }

    /// Puts what is on disk in force.
    pub fn store(&self, id: &WorkflowId, text: &str, now_ms: u64) {
        let document = Arc::new(self.read_stored(id, text));
        let mut shelf = self.shelf();
        let created_ms = shelf.stored.get(id).map_or(now_ms, |stored| stored.created_ms);
        let stored = Stored { document, created_ms, updated_ms: now_ms };
        if let (false, Some(flow)) = (of_a_file(&shelf, id), stored.in_force()) {
            self.change(|in_force| _ = in_force.insert(id.clone(), flow));
        }
        shelf.stored.insert(id.clone(), stored);
    }

    pub fn may_discard(&self, id: &WorkflowId) -> Result<(), NotStored> {
        let shelf = self.shelf();
        match shelf.stored.contains_key(id) {
            _ if of_a_file(&shelf, id) => Err(NotStored::OfAFile),
            true => Ok(()),
            false => Err(NotStored::Unknown),
        }
    }

    /// Takes a stored workflow out of force; what runs goes on with its snapshot.
    pub fn discard(&self, id: &WorkflowId) {
        let mut shelf = self.shelf();
        shelf.stored.remove(id);
        if !of_a_file(&shelf, id) {
            self.change(|in_force| _ = in_force.remove(id));
        }
    }

    /// Puts what the process before this one had stored in force again.
    pub fn restore(&self, stories: Vec<(WorkflowId, Vec<Entry>)>) {
        for (id, entries) in stories {
            let puts = entries.iter().filter_map(|entry| match &entry.fact {
                Fact::Flow(FlowFact::Put { text }) => Some((text, entry.wall_ms)),
                _ => None,
            });
            let puts: Vec<(&String, u64)> = puts.collect();
            let (Some((_, created_ms)), Some((text, updated_ms))) = (puts.first(), puts.last()) else {
                continue;
            };
            self.store(&id, text, *created_ms);
            let mut shelf = self.shelf();
            if let Some(stored) = shelf.stored.get_mut(&id) {
                stored.updated_ms = *updated_ms;
            }
        }
        // They may name each other, so only now is it known what is wrong with them.
        for (id, text) in self.stored_texts() {
            let document = Arc::new(self.read_stored(&id, &text));
            let mut shelf = self.shelf();
            let of_a_file = of_a_file(&shelf, &id);
            let Some(stored) = shelf.stored.get_mut(&id) else { continue };
            stored.document = document;
            match stored.in_force() {
                Some(flow) if !of_a_file => self.change(|in_force| _ = in_force.insert(id.clone(), flow)),
                Some(_) => {}
                None => tracing::error!(workflow = %id, "a stored workflow does not check any more"),
            }
        }
    }

    /// Whether a file has this id.
    pub fn is_file(&self, id: &WorkflowId) -> bool {
        of_a_file(&self.shelf(), id)
    }

    /// Puts the workflows that a program brings along in force; they may name each other. Else the first that is wrong,
    /// and how.
    pub fn give(&self, texts: Vec<(WorkflowId, String)>) -> Result<(), (WorkflowId, Report)> {
        let mut documents = Vec::new();
        for (id, text) in texts {
            let document = self.read_text(&id.0, &id, &text);
            documents.push((id, document));
        }
        let spans: Vec<&Spans> = documents.iter().map(|(_, document)| &document.spans).collect();
        let together = self.with_spans(|in_force| check::check_all(&spans, in_force));
        let mut together = by_file(together);
        for (id, document) in &mut documents {
            document.report.merge(together.remove(&id.0).unwrap_or_default());
            document.report.sort();
            if !document.report.is_ok() {
                return Err((id.clone(), document.report.clone()));
            }
        }
        let mut shelf = self.shelf();
        for (id, document) in documents {
            let id = document.id().cloned().unwrap_or(id);
            let stored = Stored { document: Arc::new(document), created_ms: 0, updated_ms: 0 };
            if let (false, Some(flow)) = (of_a_file(&shelf, &id), stored.in_force()) {
                self.change(|in_force| _ = in_force.insert(id.clone(), flow));
            }
            shelf.stored.insert(id, stored);
        }
        Ok(())
    }

    fn stored_texts(&self) -> Vec<(WorkflowId, String)> {
        let shelf = self.shelf();
        shelf.stored.iter().map(|(id, stored)| (id.clone(), stored.document.text.clone())).collect()
    }

    /// Every workflow, newest first, good or bad. A file that says nothing of its id has that of its name.
    pub fn shown(&self) -> Vec<Shown> {
        let shelf = self.shelf();
        let files = shelf.documents.values().filter_map(|shelved| {
            let id = shelved.document.id()?.clone();
            Some(shown(
                &id,
                "file",
                &shelved.document,
                &shelved.report,
                modified_ms(shelved),
                modified_ms(shelved),
            ))
        });
        let stored = shelf.stored.iter().filter(|(id, _)| !of_a_file(&shelf, id)).map(|(id, stored)| {
            let Stored { document, created_ms, updated_ms } = stored;
            shown(id, "api", document, &document.report, *created_ms, *updated_ms)
        });
        let mut all: Vec<Shown> = files.chain(stored).collect();
        all.sort_by(|a, b| (b.created_ms, &b.id).cmp(&(a.created_ms, &a.id)));
        all
    }

    fn read_stored(&self, id: &WorkflowId, text: &str) -> Document {
        let mut document = self.read_text("body", id, text);
        let together = self.with_spans(|in_force| check::check_all(&[&document.spans], in_force));
        document.report.merge(together);
        document.report.sort();
        document
    }

    /// Without what it has to do with others. `file` is its name for messages.
    fn read_text(&self, file: &str, id: &WorkflowId, text: &str) -> Document {
        let mut document: Document = parse::parse(&self.language(), file, &id.0, text).into();
        document.text = text.to_owned();
        document
    }

    fn change(&self, change: impl FnOnce(&mut std::collections::BTreeMap<WorkflowId, InForce>)) {
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut in_force));
    }
}

impl Stored {
    pub(super) fn in_force(&self) -> Option<InForce> {
        let script = self.document.script.clone().filter(|_| self.document.report.is_ok())?;
        Some(InForce { script, file: None, document: self.document.clone() })
    }
}

fn of_a_file(shelf: &Shelf, id: &WorkflowId) -> bool {
    shelf.documents.values().any(|shelved| shelved.document.id() == Some(id))
}

fn shown(
    id: &WorkflowId,
    source: &str,
    document: &Document,
    report: &Report,
    created_ms: u64,
    updated_ms: u64,
) -> Shown {
    // A text that can't be read at all is no document; its errors say why.
    let tree = source::read("body", &document.text).ok().map(|node| node.to_json());
    let label = document.script.as_ref().and_then(|script| script.label.clone());
    let view = json!({
        "id": id,
        "label": label,
        "source": source,
        "document": tree,
        "errors": report.errors,
        "warnings": report.warnings,
        "tm_create": rfc3339_ms(created_ms),
        "tm_update": rfc3339_ms(updated_ms),
    });
    Shown { id: id.0.clone(), created_ms, view }
}

/// A file's only time.
fn modified_ms(shelved: &Shelved) -> u64 {
    let since = shelved.stamp.modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_millis()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use holdline_actors::door::FlowBook;

    fn id(word: &str) -> WorkflowId {
        WorkflowId(word.to_owned())
    }

    const NOTHING: &str = "tasks: []\n";

    #[test]
    fn a_file_goes_before_what_is_stored_under_its_id() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.flows.dir = folder.path().to_owned();
        let library = FlowLibrary::load(&config);
        assert!(library.may_store(&id("a"), NOTHING).is_ok());
        library.store(&id("a"), "label: stored\ntasks: []\n", 5);
        let label = |word: &str| library.find(&id(word)).and_then(|script| script.label.clone());
        assert_eq!(label("a").as_deref(), Some("stored"));
        let names = "tasks: [{ type: subflow, parameters: { workflow: a } }]\n";
        assert!(library.may_store(&id("b"), names).is_ok(), "what is stored may be named");
        assert!(matches!(library.may_store(&id("b"), "id: c\ntasks: []\n"), Err(NotStored::OtherId(_))));

        std::fs::write(folder.path().join("a.yaml"), "label: file\ntasks: []\n").unwrap();
        std::fs::write(folder.path().join("d.yaml"), names).unwrap();
        library.reload();
        assert_eq!(label("a").as_deref(), Some("file"));
        assert!(matches!(library.may_store(&id("a"), NOTHING), Err(NotStored::OfAFile)));
        assert!(matches!(library.may_discard(&id("a")), Err(NotStored::OfAFile)));
        let sources: Vec<Value> = library.shown().iter().map(|shown| shown.view["source"].clone()).collect();
        assert_eq!(sources, ["file", "file"]);

        std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
        library.reload();
        assert_eq!(label("a").as_deref(), Some("stored"), "it was only covered");
        library.discard(&id("a"));
        assert_eq!(label("a"), None);
        assert!(matches!(library.may_discard(&id("a")), Err(NotStored::Unknown)));
    }

    #[test]
    fn stored_workflows_that_name_each_other_come_back_together() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.flows.dir = folder.path().to_owned();
        let library = FlowLibrary::load(&config);
        let put = |word: &str, text: &str, wall_ms| Entry {
            key: holdline_core::fact::Key::Flow(id(word)),
            wall_ms,
            fact: Fact::Flow(FlowFact::Put { text: text.to_owned() }),
        };
        let names = "tasks: [{ type: subflow, parameters: { workflow: b } }]\n";
        let stories = vec![
            (id("a"), vec![put("a", NOTHING, 1), put("a", names, 2)]),
            (id("b"), vec![put("b", NOTHING, 3)]),
        ];
        library.restore(stories);
        assert!(library.find(&id("a")).is_some() && library.find(&id("b")).is_some());
        let shown = library.shown();
        assert_eq!((shown[0].id.as_str(), shown[1].id.as_str(), shown[1].created_ms), ("b", "a", 1));
        assert_eq!(shown[1].view["document"]["tasks"][0]["type"], "subflow");
    }
}
