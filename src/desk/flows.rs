//! Workflows: looked at, checked, stored, deleted. Reading them is work for a thread that carries no calls.

use std::sync::Arc;

use holdline_actors::journal_writer::{Append, Delete};
use holdline_core::WorkflowId;
use holdline_core::fact::{Entry, Fact, FlowFact, Key};
use holdline_core::flow::diagnostic::Report;
use tokio::sync::oneshot;

use super::grammar::refused;
use super::{Desk, gone, unreadable};
use crate::flows::{FlowLibrary, NotStored, Shown};
use crate::web::problem::{Code, Problem};

impl Desk {
    /// All workflows, newest first.
    pub async fn flows(&self) -> Result<Vec<Shown>, Problem> {
        self.with_library(|library| library.shown()).await
    }

    pub async fn flow(&self, id: &str) -> Result<Shown, Problem> {
        let found = self.flows().await?.into_iter().find(|shown| shown.id == id);
        found.ok_or_else(|| unknown(id))
    }

    /// What is wrong with a document, if anything.
    pub async fn check_flow(&self, text: String) -> Result<Report, Problem> {
        let grammar = self.grammar.clone();
        let check = move || grammar.document("body", "document", &text).report;
        tokio::task::spawn_blocking(check).await.map_err(|_| crashed())
    }

    /// Checked, then written, then in force.
    pub async fn store_flow(&self, id: &str, text: String) -> Result<Shown, Problem> {
        // One after the other: what is written last is in force.
        let _turn = self.storing.lock().await;
        let flow = WorkflowId(id.to_owned());
        let text: Arc<str> = text.into();
        let (asked, its_text) = (flow.clone(), text.clone());
        let may = self.with_library(move |library| library.may_store(&asked, &its_text)).await?;
        may.map_err(|why| told(id, why))?;
        let wall_ms = self.clock.now().wall_ms;
        let fact = Fact::Flow(FlowFact::Put { text: text.to_string() });
        let batch = vec![Entry { key: Key::Flow(flow.clone()), wall_ms, fact }];
        let (written, done) = oneshot::channel();
        self.journal.send(Append { batch, written }).await.map_err(gone)?;
        self.patiently(done).await?.map_err(unreadable)?;
        self.with_library(move |library| library.store(&flow, &text, wall_ms)).await?;
        self.flow(id).await
    }

    /// Gone for whatever begins from here on.
    pub async fn delete_flow(&self, id: &str) -> Result<(), Problem> {
        let _turn = self.storing.lock().await;
        let flow = WorkflowId(id.to_owned());
        let asked = flow.clone();
        let may = self.with_library(move |library| library.may_discard(&asked)).await?;
        may.map_err(|why| told(id, why))?;
        let deleted = self.journal.send(Delete(Key::Flow(flow.clone()))).await.map_err(gone)?;
        deleted.map_err(unreadable)?;
        self.with_library(move |library| library.discard(&flow)).await
    }

    async fn with_library<T: Send + 'static>(
        &self,
        work: impl FnOnce(&FlowLibrary) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let library = self.grammar.library.clone();
        let library = library.ok_or_else(|| {
            Problem::new(Code::Unavailable, "the workflows of this house are kept elsewhere")
        })?;
        tokio::task::spawn_blocking(move || work(&library)).await.map_err(|_| crashed())
    }
}

fn told(id: &str, why: NotStored) -> Problem {
    match why {
        NotStored::Unknown => unknown(id),
        NotStored::OfAFile => {
            Problem::new(Code::FileFlow, format!("the workflow {id} comes from a file: change the file"))
        }
        NotStored::Errors(report) => refused(report),
        NotStored::OtherId(own) => {
            Problem::invalid(format!("the document's id is {own}, expected {id} as in the path, or none"))
        }
        NotStored::Full => Problem::new(Code::Limit, "no more workflows can be stored; delete one"),
    }
}

fn unknown(id: &str) -> Problem {
    Problem::new(Code::WorkflowNotFound, format!("there is no workflow {id}"))
}

fn crashed() -> Problem {
    Problem::new(Code::Internal, "reading the workflow failed")
}
