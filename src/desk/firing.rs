//! Triggers of one's own: what the program has noticed starts the workflows that wait for it.

use holdline_core::RunId;
use holdline_core::scene::{Reference, ReferenceKind};
use serde_json::{Map, Value};

use super::Desk;
use super::runs::{Id, NewRun};
use crate::placing::derived;
use crate::web::problem::{Code, Problem};

impl Desk {
    /// An activeflow's id comes from what has happened, so that it is begun once.
    pub async fn fire(
        &self,
        trigger: &str,
        key: &str,
        event: &Value,
        wants: impl Fn(&Map<String, Value>) -> bool,
    ) -> Result<Vec<RunId>, Problem> {
        if !self.book.vocabulary().triggers().iter().any(|known| known.name == trigger) {
            let detail =
                format!("there is no trigger \"{trigger}\"; give it to the builder with `.trigger(…)`");
            return Err(Problem::invalid(detail));
        }
        let mut begun = Vec::new();
        for script in self.book.scripts() {
            let Some(named) = script.triggers.iter().find(|named| named.kind == trigger) else { continue };
            if !wants(&named.parameters) {
                continue;
            }
            let id = derived(format!("{trigger}\n{}\n{key}", script.id).as_bytes());
            let variables = Map::from_iter([(named.name.clone(), event.clone())]);
            let reference = Reference { kind: ReferenceKind::Api, id: key.to_owned() };
            let (given, on_complete, webhook) = (Id::Given(id), None, None);
            let new = NewRun { id: given, script, reference, variables, on_complete, webhook };
            match self.begin(new).await {
                Ok(run) => begun.push(run),
                // It was told before.
                Err(problem) if problem.code() == Code::AlreadyExists => begun.push(RunId(id)),
                Err(problem) => return Err(problem),
            }
        }
        Ok(begun)
    }
}
