//! What the control API shows: folded from the journal, so nothing is shown that is not written. Live counters come
//! from the session itself.

use std::sync::Arc;

use actix::Addr;
use futures::FutureExt;
use holdline_actors::call_registry::{CallRegistry, Count, Observe, fold_call};
use holdline_actors::clock::Clock;
use holdline_actors::journal_writer::{AskHealth, JournalWriter, List, Read, ReadRun};
use holdline_actors::port::journal::{Kind, Listed};
use holdline_core::fact::{Entry, Fact, Key, RunFact};
use holdline_core::flow::run::Run;
use holdline_core::time::rfc3339_ms;
use holdline_core::workflow::{Workflow, run_facts};
use holdline_core::{CallId, RunId};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::desk::is_forgotten;
use crate::web::control::{CallFilter, Directory, Found, Ready, RunFilter};
use crate::web::page::{Cursor, Page, Row};
use crate::web::problem::{Code, Problem};

/// Stories read at once while a filter is looked for.
const BATCH: usize = 100;

pub struct House {
    pub calls: Addr<CallRegistry>,
    pub journal: Addr<JournalWriter>,
    pub clock: Clock,
}

impl House {
    /// Rows of stories that `show` has something to say of, newest first. A story may have several, each with an id.
    /// Those that are over are not even read where only `open` ones can have anything to show.
    async fn rows(
        &self,
        kind: Kind,
        open: bool,
        page: &Page,
        show: impl Fn(&Key, &[Entry]) -> Vec<(String, Value)>,
    ) -> Result<Vec<Row>, Problem> {
        // The story of the last row may have more of them.
        let mut after = page.after.as_ref().map(|cursor| cursor.created_ms.saturating_add(1));
        let mut rows = Vec::new();
        loop {
            let list = List { kind, open, after, limit: BATCH };
            let stories = self.journal.send(list).await.map_err(gone)?.map_err(unreadable)?;
            let read = stories.len();
            for (Listed { place, key }, entries) in stories {
                after = Some(place);
                let mut shown = show(&key, &entries);
                if let Some(last) = page.after.as_ref().filter(|last| last.created_ms == place) {
                    // One that is gone meanwhile takes the rest of its story along: nothing is shown twice.
                    let known = shown.iter().position(|(id, _)| *id == last.id);
                    shown.drain(..known.map_or(shown.len(), |known| known + 1));
                }
                for (id, value) in shown {
                    rows.push(Row { cursor: Cursor { created_ms: place, id }, value });
                    if rows.len() >= page.wanted() {
                        return Ok(rows);
                    }
                }
            }
            if read < BATCH {
                return Ok(rows);
            }
        }
    }

    /// A run that may be inside the one whose story this is.
    fn view_of(&self, id: RunId, key: &Key, entries: &[Entry]) -> Option<Value> {
        let facts = run_facts(entries.iter().map(|entry| &entry.fact));
        let run = Run::restore(self.clock.now(), facts).ok().filter(|_| !is_forgotten(entries, id))?;
        if run.id() == id {
            return self.run_view(key, entries);
        }
        run.find(id).map(Run::view)
    }

    /// The step that holds a live call, by name; its own page says more.
    fn current_action(&self, entries: &[Entry]) -> Value {
        let run = Run::restore(self.clock.now(), run_facts(entries.iter().map(|entry| &entry.fact))).ok();
        let step = run.as_ref().and_then(Run::current);
        step.map_or(Value::Null, |step| {
            let node = &step.node;
            json!({
                "id": node.id, "type": node.kind, "name": node.name, "started_at": rfc3339_ms(step.started_at),
            })
        })
    }

    /// What a call's session counts right now; `None` when it is not in memory.
    async fn media(&self, sid: &str) -> Result<Option<Value>, Problem> {
        let observed = self.calls.send(Observe(CallId(sid.to_owned()))).await.map_err(gone)?;
        let Some(observed) = observed else { return Ok(None) };
        Ok(observed.await.ok())
    }

    fn run_view(&self, key: &Key, entries: &[Entry]) -> Option<Value> {
        let facts: Vec<Fact> = entries.iter().map(|entry| entry.fact.clone()).collect();
        let now = self.clock.now();
        match key {
            Key::Call(_) => Run::restore(now, run_facts(facts.iter())).ok().map(|run| run.view()),
            Key::Delivery(_) | Key::Placement(_) | Key::Flow(_) => None,
            Key::Run(_) => Workflow::restore(now, facts.iter()).map(|workflow| workflow.view()),
        }
    }
}

impl House {
    /// The activeflows of a story, newest first: those that a run has called, then the run itself.
    fn run_views(&self, key: &Key, entries: &[Entry]) -> Vec<Value> {
        let now = self.clock.now();
        let facts = entries.iter().map(|entry| &entry.fact);
        let views = match key {
            Key::Call(_) => {
                Run::restore(now, run_facts(facts)).ok().map(|run| (run.view(), run.children_views()))
            }
            Key::Delivery(_) | Key::Placement(_) | Key::Flow(_) => None,
            Key::Run(_) => {
                Workflow::restore(now, facts).map(|workflow| (workflow.view(), workflow.children_views()))
            }
        };
        let Some((own, children)) = views else { return Vec::new() };
        children.into_iter().rev().chain([own]).collect()
    }
}

impl Directory for House {
    fn calls<'d>(&'d self, filter: &'d CallFilter, page: &'d Page) -> Found<'d, Vec<Row>> {
        let is_live = |state: &str| state != "ended";
        // A call's story is closed some time after its end, so the open ones hold all that live.
        let open = filter.state.as_deref().is_some_and(is_live);
        let show = move |key: &Key, entries: &[Entry]| {
            let state = fold_call(entries)?;
            let fits =
                |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
            let phase = state.phase();
            let fits = (filter.state.as_deref() == Some("live") && is_live(phase)
                || fits(&filter.state, phase))
                && fits(&filter.workflow, &state.workflow.0)
                && fits(&filter.from, &state.arrival.from);
            if !fits {
                return None;
            }
            let mut call = state.view();
            call["current_action"] = if is_live(phase) { self.current_action(entries) } else { Value::Null };
            Some((name(key), call))
        };
        async move {
            let show = move |key: &Key, entries: &[Entry]| show(key, entries).into_iter().collect();
            let mut rows = self.rows(Kind::Calls, open, page, show).await?;
            for row in &mut rows {
                let is_live = row.value.get("state").and_then(Value::as_str).is_some_and(is_live);
                if let Some(media) = if is_live { self.media(&row.cursor.id).await? } else { None } {
                    row.value["media"] = media;
                }
            }
            Ok(rows)
        }
        .boxed_local()
    }

    fn call<'d>(&'d self, sid: &'d str) -> Found<'d, Option<Value>> {
        let call = CallId(sid.to_owned());
        async move {
            let read = self.journal.send(Read(Key::Call(call.clone())));
            let entries = read.await.map_err(gone)?.map_err(unreadable)?;
            let Some(state) = fold_call(&entries) else { return Ok(None) };
            let mut view = state.view();
            view["current_action"] =
                if state.over.is_none() { self.current_action(&entries) } else { Value::Null };
            if let Some(media) = self.media(sid).await? {
                view["media"] = media;
            }
            Ok(Some(view))
        }
        .boxed_local()
    }

    fn runs<'d>(&'d self, filter: &'d RunFilter, page: &'d Page) -> Found<'d, Vec<Row>> {
        let show = |mut run: Value| {
            let fits = |wanted: &Option<String>, key: &str| {
                wanted.as_ref().is_none_or(|wanted| run.get(key).is_some_and(|value| value == wanted))
            };
            let fits = fits(&filter.status, "status")
                && fits(&filter.end_reason, "end_reason")
                && fits(&filter.flow_id, "flow_id")
                && fits(&filter.reference_type, "reference_type")
                && fits(&filter.reference_id, "reference_id");
            if let Some(object) = run.as_object_mut() {
                // A list is for looking over; one activeflow has its own page.
                for long in ["executed_actions", "variables", "stack_map"] {
                    object.remove(long);
                }
            }
            let id = run.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
            fits.then_some((id, run))
        };
        let show = move |key: &Key, entries: &[Entry]| {
            let is_there = |run: &Value| {
                let id = run.get("id").and_then(Value::as_str).and_then(|id| Uuid::parse_str(id).ok());
                id.is_none_or(|id| !is_forgotten(entries, RunId(id)))
            };
            self.run_views(key, entries).into_iter().filter(is_there).filter_map(show).collect()
        };
        // A story is closed when all in it has ended: whoever asks for what runs need not wait for a month of others.
        let running = filter.status.as_deref() == Some("running");
        self.rows(Kind::CallsAndRuns, running, page, show).boxed_local()
    }

    fn run(&self, id: Uuid) -> Found<'_, Option<Value>> {
        async move {
            let read = self.journal.send(ReadRun(RunId(id))).await.map_err(gone)?.map_err(unreadable)?;
            Ok(read.and_then(|(key, entries)| {
                let mut view = self.view_of(RunId(id), &key, &entries)?;
                view["retried_as"] = json!(retried_as(&entries));
                Some(view)
            }))
        }
        .boxed_local()
    }

    fn ready(&self) -> futures::future::LocalBoxFuture<'_, Ready> {
        async move {
            let mut reasons = Vec::new();
            match self.calls.send(Count).await {
                Ok(census) if census.draining => reasons.push("draining".to_owned()),
                Ok(_) => {}
                Err(_) => reasons.push("registry".to_owned()),
            }
            if self.journal.send(AskHealth).await.is_ok_and(|health| health.is_failing()) {
                reasons.push("journal".to_owned());
            }
            Ready { ready: reasons.is_empty(), reasons }
        }
        .boxed_local()
    }
}

/// The run that goes on with a failed one.
fn retried_as(entries: &[Entry]) -> Option<RunId> {
    entries.iter().rev().find_map(|entry| match &entry.fact {
        Fact::Run(RunFact::RetriedAs { id }) => Some(*id),
        _ => None,
    })
}

fn name(key: &Key) -> String {
    match key {
        Key::Call(call) => call.to_string(),
        Key::Run(run) => run.to_string(),
        Key::Delivery(delivery) => delivery.to_string(),
        Key::Placement(placement) => placement.to_string(),
        Key::Flow(flow) => flow.to_string(),
    }
}

fn gone(_: actix::MailboxError) -> Problem {
    Problem::new(Code::Internal, "the house is closing")
}

fn unreadable(error: holdline_actors::port::journal::JournalError) -> Problem {
    Problem::new(Code::Internal, error.to_string())
}

/// For whoever wires it.
pub fn shared(house: House) -> Arc<dyn Directory> {
    Arc::new(house)
}
