//! Dead letters: what ran out of attempts, kept until somebody asks for it again. Messages that nobody took are sent
//! again; a workflow whose step failed goes on as a new activeflow.

use holdline_actors::journal_writer::{List, Read};
use holdline_actors::outbox::{Redrive, folded};
use holdline_actors::port::journal::{Kind, Listed};
use holdline_core::RunId;
use holdline_core::fact::{DeliveryId, Entry, Fact, Key, RunFact};
use holdline_core::flow::run::Run;
use holdline_core::scene::EndReason;
use holdline_core::secret;
use holdline_core::time::rfc3339_ms;
use holdline_core::workflow::outbox::{Row as Letter, State};
use holdline_core::workflow::run_facts;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Desk, Id, gone, unreadable};
use crate::web::page::{Cursor, Page, Row};
use crate::web::problem::{Code, Problem};

/// Stories read at once while dead ones are looked for.
const BATCH: usize = 100;
/// Stories read for one page. Most are of what went well, and a month of them must not be read for one answer: whoever
/// wants older letters asks for the next page, however few are on this one.
const STORIES_MAX: usize = 1_000;

impl Desk {
    /// Newest first: a page of them, and where to go on when more was to be read than one answer is worth.
    pub async fn dead_letters(&self, page: &Page) -> Result<(Vec<Row>, Option<Cursor>), Problem> {
        let mut after = page.after.as_ref().map(|cursor| cursor.created_ms);
        let mut rows = Vec::new();
        for _ in 0..STORIES_MAX / BATCH {
            let list = List { kind: Kind::DeliveriesAndRuns, open: false, after, limit: BATCH };
            let stories = self.journal.send(list).await.map_err(gone)?.map_err(unreadable)?;
            let read = stories.len();
            for (Listed { place, key }, entries) in stories {
                after = Some(place);
                let (id, value) = match key {
                    Key::Delivery(id) => match folded(&entries).filter(|row| row.state == State::Dead) {
                        Some(letter) => (id.to_string(), shown(&letter)),
                        None => continue,
                    },
                    Key::Run(run) => match self.given_up(run, &entries, None) {
                        Some(step) => (run.to_string(), step),
                        None => continue,
                    },
                    _ => continue,
                };
                rows.push(Row { cursor: Cursor { created_ms: place, id }, value });
                if rows.len() >= page.wanted() {
                    return Ok((rows, None));
                }
            }
            if read < BATCH {
                return Ok((rows, None));
            }
        }
        Ok((rows, after.map(|place| Cursor { created_ms: place, id: String::new() })))
    }

    /// Asks for it again; a step goes on as a run with the id `goes_on_as`. A message that is under way already is left
    /// alone.
    pub async fn redrive(&self, id: &str, goes_on_as: Id) -> Result<Value, Problem> {
        let unknown = || Problem::new(Code::NotFound, format!("there is no dead letter {id}"));
        let uuid = Uuid::parse_str(id).map_err(|_| unknown())?;
        let delivery = DeliveryId(uuid);
        let read = self.journal.send(Read(Key::Delivery(delivery))).await.map_err(gone)?;
        if let Some(letter) = folded(&read.map_err(unreadable)?) {
            self.outbox.send(Redrive(delivery)).await.map_err(gone)?;
            return Ok(shown(&letter));
        }
        let run = RunId(uuid);
        let read = self.journal.send(Read(Key::Run(run))).await.map_err(gone)?;
        let by_this = if let Id::OfKey(id) = goes_on_as { Some(RunId(id)) } else { None };
        let mut step = self.given_up(run, &read.map_err(unreadable)?, by_this).ok_or_else(unknown)?;
        step["retried_as"] = json!(self.retry(run, None, goes_on_as).await?);
        Ok(step)
    }

    /// The step after whose last attempt this run failed, unless another run than `by_this` goes on with it.
    fn given_up(&self, run: RunId, entries: &[Entry], by_this: Option<RunId>) -> Option<Value> {
        let is_retried =
            |entry: &Entry| matches!(entry.fact, Fact::Run(RunFact::RetriedAs { id }) if Some(id) != by_this);
        // A look before the fold: most runs did not fail.
        let failed = |entry: &Entry| matches!(&entry.fact, Fact::Run(RunFact::Over { over, .. }) if over.reason == EndReason::Failed);
        if !entries.iter().any(failed) || entries.iter().any(is_retried) {
            return None;
        }
        let facts = run_facts(entries.iter().map(|entry| &entry.fact));
        let folded = Run::restore(self.clock.now(), facts).ok()?;
        let step = folded.gave_up_at()?;
        Some(json!({
            "id": run,
            "kind": "step",
            "activeflow_id": run,
            "action": { "id": step.node.id, "type": step.node.kind, "name": step.node.name },
            "attempts": step.attempts,
            "error": step.error.as_ref().map(|error| &error.message),
            "tm_create": rfc3339_ms(step.ended_at.unwrap_or(step.started_at)),
        }))
    }
}

fn shown(letter: &Letter) -> Value {
    let call = &letter.delivery.call;
    json!({
        "id": letter.delivery.id,
        "kind": "delivery",
        "method": call.method,
        "uri": secret::shown(call.endpoint.target()),
        "attempts": letter.attempts,
        "error": letter.error,
        "tm_create": rfc3339_ms(letter.delivery.owed_at),
    })
}
