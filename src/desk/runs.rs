//! Activeflows: begun, commanded, forgotten. A run is found by its own id wherever its story lies: in a call's, in a
//! main workflow's, or inside another run.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdline_actors::call_registry::{Deliver, NotHere, fold_call};
use holdline_actors::flow_registry::{Begin, NotBegun, Obey};
use holdline_actors::journal_writer::{Append, Delete, Read, ReadRun};
use holdline_actors::parent_workflow::{Obeyed, Order};
use holdline_core::call::{Answer, Request};
use holdline_core::fact::{Entry, Fact, Key, RunFact};
use holdline_core::flow::again::{NotAgain, again};
use holdline_core::flow::fact::Begun;
use holdline_core::flow::run::{Run, RunSpec};
use holdline_core::flow::script::Script;
use holdline_core::flow::vars::{Vars, is_reserved};
use holdline_core::once::{Deeds, KEPT_MS, Stamp};
use holdline_core::scene::{Command, Reference, Refused};
use holdline_core::workflow::run_facts;
use holdline_core::{CallId, RunId, WorkflowId};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{Desk, PATIENCE, TRIES, gone, no_answer, unreadable};
use crate::web::problem::{Code, Problem};

/// What an activeflow is begun with.
pub struct NewRun {
    pub id: Id,
    pub script: Arc<Script>,
    pub reference: Reference,
    pub variables: Map<String, Value>,
    pub on_complete: Option<String>,
    pub webhook: Option<String>,
}

/// Under which id a run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    New,
    /// Whoever asked chose it: one that exists is refused.
    Given(Uuid),
    /// It comes of an `Idempotency-Key`: one that exists is what was begun the first time.
    OfKey(Uuid),
}

/// A run and the story that it stands in.
pub struct Found {
    pub key: Key,
    pub entries: Vec<Entry>,
    pub run: Run,
}

impl Found {
    /// What came of this request, if it was carried out before.
    pub fn before(&self, now_ms: u64, stamp: Option<Stamp>) -> Option<Result<(), Refused>> {
        let found = Deeds::of(self.entries.iter().map(|entry| &entry.fact)).find(now_ms, stamp?);
        found.map(|deed| deed.map(|_| ()))
    }
}

pub fn reused() -> Problem {
    Problem::new(Code::IdempotencyKeyReused, "the key was used for a request with another body")
}

impl Desk {
    /// Its first facts are written when this returns.
    pub async fn begin(&self, new: NewRun) -> Result<RunId, Problem> {
        let now = self.clock.now();
        let NewRun { id, script, reference, variables, on_complete, webhook } = new;
        let facts = |id| {
            let (script, reference, on_complete) = (script.clone(), reference.clone(), on_complete.clone());
            let (variables, webhook) = (variables.clone(), webhook.clone());
            let (complete_count, parent) = (0, None);
            let spec =
                RunSpec { id, script, reference, variables, complete_count, parent, on_complete, webhook };
            Run::begin(now, spec).1
        };
        let wanted = self.id(id);
        match (self.begin_with(wanted, facts(wanted)).await, id) {
            (Err(problem), Id::OfKey(_)) if problem.code() == Code::AlreadyExists => {
                let found = self.first(wanted).await?;
                let is_same = found.variables == variables
                    && found.reference == reference
                    && found.on_complete == on_complete
                    && found.webhook == webhook
                    && found.script.id == script.id
                    && (!script.id.0.is_empty() || found.script.actions == script.actions);
                match is_same {
                    // Of another day: the key counts anew.
                    _ if now.wall_ms.saturating_sub(found.at) >= KEPT_MS => {
                        let id = self.id(Id::New);
                        self.begin_with(id, facts(id)).await
                    }
                    true => Ok(wanted),
                    false => Err(reused()),
                }
            }
            (begun, _) => begun,
        }
    }

    /// Waits until the first turn of a run that was begun is on disk, so that whoever began it is told where it stands.
    pub async fn first_turn(&self, run: RunId) {
        // A command that changes nothing, since no action has this id; its refusal comes behind that turn.
        let stale = Command::Execute { current_action_id: Some(String::new()), actions: None };
        let _ = self.command_story(run, run, stale, None).await;
    }

    fn id(&self, id: Id) -> RunId {
        RunId(match id {
            Id::New => (self.mint)(self.clock.now().wall_ms),
            Id::Given(id) | Id::OfKey(id) => id,
        })
    }

    /// With what a run began that has a story of its own.
    async fn first(&self, id: RunId) -> Result<Begun, Problem> {
        let Found { entries, .. } = self.find(id).await?;
        let begun = entries.into_iter().find_map(|entry| match entry.fact {
            Fact::Run(RunFact::Begun(begun)) if begun.id == id => Some(*begun),
            _ => None,
        });
        begun.ok_or_else(reused)
    }

    pub(super) async fn begin_with(&self, run: RunId, facts: Vec<RunFact>) -> Result<RunId, Problem> {
        let facts = facts.into_iter().map(Fact::Run).collect();
        let (reply, begun) = oneshot::channel();
        self.flows.send(Begin { run, facts, reply }).await.map_err(gone)?;
        match self.patiently(begun).await? {
            Ok(()) => Ok(run),
            Err(NotBegun::Exists) => {
                Err(Problem::new(Code::AlreadyExists, format!("there is an activeflow {run} already")))
            }
            Err(NotBegun::Unwritable) => Err(no_answer()),
        }
    }

    /// The workflow in force under this id.
    pub fn workflow(&self, id: &str) -> Result<Arc<Script>, Problem> {
        let found = self.book.find(&WorkflowId(id.to_owned()));
        found.ok_or_else(|| Problem::new(Code::WorkflowNotFound, format!("there is no workflow {id}")))
    }

    /// The run with this id, as it is on disk.
    pub async fn find(&self, id: RunId) -> Result<Found, Problem> {
        let read = self.journal.send(ReadRun(id)).await.map_err(gone)?.map_err(unreadable)?;
        let found = read.filter(|(_, entries)| !is_forgotten(entries, id)).and_then(|(key, entries)| {
            let story = Run::restore(self.clock.now(), run_facts(entries.iter().map(|e| &e.fact))).ok()?;
            let run = story.find(id)?.clone();
            Some(Found { key, entries, run })
        });
        found.ok_or_else(|| Problem::new(Code::ActiveflowNotFound, format!("there is no activeflow {id}")))
    }

    /// What came of it is on disk when this returns. With a stamp it is done once.
    pub async fn command(
        &self,
        id: RunId,
        command: &Command,
        stamp: Option<Stamp>,
    ) -> Result<Result<(), Refused>, Problem> {
        for _ in 0..TRIES {
            let found = self.find(id).await?;
            if let Some(before) = found.before(self.clock.now().wall_ms, stamp) {
                return Ok(before);
            }
            let obeyed = match found.key {
                Key::Call(call) => self.command_call(call, id, command.clone(), stamp).await?,
                Key::Run(story) => self.command_story(story, id, command.clone(), stamp).await?,
                _ => None,
            };
            if let Some(Obeyed { verdict, ends }) = obeyed {
                if let Some(call) = ends {
                    self.end_with_its_call(call).await?;
                }
                return Ok(verdict);
            }
        }
        Err(no_answer())
    }

    /// A failed one goes on as a new one, at the action that failed or at the one that is named.
    pub async fn retry(&self, of: RunId, from: Option<&str>, id: Id) -> Result<RunId, Problem> {
        let Found { entries, key, .. } = self.find(of).await?;
        let now = self.clock.now();
        let key_of = id;
        let id = self.id(id);
        let facts = again(now, run_facts(entries.iter().map(|entry| &entry.fact)), of, id, from);
        let facts = facts.map_err(|error| match error {
            NotAgain::NotFailed(_) => Problem::new(Code::NotFailed, error.to_string()),
            NotAgain::UnknownAction(_) => Problem::invalid(format!("from_action: {error}")),
            NotAgain::Broken => Problem::new(Code::Internal, error.to_string()),
        })?;
        match (self.begin_with(id, facts).await, key_of) {
            (Err(problem), Id::OfKey(_)) if problem.code() == Code::AlreadyExists => {
                // The note below may be what is missing; a second one says the same.
                let begun = self.first(id).await?;
                if begun.retry_of != Some(of) {
                    return Err(reused());
                }
            }
            (begun, _) => {
                begun?;
            }
        }
        self.note(key, RunFact::RetriedAs { id }).await?;
        Ok(id)
    }

    /// Stops it, if it runs, and forgets it.
    pub async fn forget(&self, id: RunId) -> Result<(), Problem> {
        // One that is over already has nothing to stop.
        let _ = self.command(id, &Command::Stop, None).await?;
        let Found { key, .. } = self.find(id).await?;
        if key == Key::Run(id) {
            let deleted = self.journal.send(Delete(key)).await.map_err(gone)?;
            return deleted.map_err(unreadable);
        }
        // It is a part of another story, which is still needed.
        self.note(key, RunFact::Forgotten { id }).await
    }

    /// Writes something beside a story that changes nothing in it.
    async fn note(&self, key: Key, fact: RunFact) -> Result<(), Problem> {
        let batch = vec![Entry { key, wall_ms: self.clock.now().wall_ms, fact: Fact::Run(fact) }];
        let (written, done) = oneshot::channel();
        self.journal.send(Append { batch, written }).await.map_err(gone)?;
        self.patiently(done).await?.map_err(unreadable)
    }

    /// `None`: nobody is left to say what came of it, and it should be asked again.
    async fn command_call(
        &self,
        call: CallId,
        run: RunId,
        command: Command,
        stamp: Option<Stamp>,
    ) -> Result<Option<Obeyed>, Problem> {
        let request = Request::Command { run, command }.stamped(stamp);
        let obeyed = |verdict| Some(Obeyed { verdict, ends: None });
        Ok(match self.ask_call(call, request).await? {
            Some(Ok(Answer::Commanded(verdict))) => obeyed(verdict),
            Some(Ok(Answer::Denied { why })) => return Err(Problem::new(Code::Unavailable, why)),
            Some(Err(_)) => obeyed(Err(Refused::AlreadyEnded)),
            Some(Ok(_)) | None => None,
        })
    }

    async fn command_story(
        &self,
        story: RunId,
        run: RunId,
        command: Command,
        stamp: Option<Stamp>,
    ) -> Result<Option<Obeyed>, Problem> {
        let (reply, obeyed) = oneshot::channel();
        let order = Order { run, command, stamp, reply };
        self.flows.send(Obey { story, order }).await.map_err(gone)?;
        match tokio::time::timeout(PATIENCE, obeyed).await {
            Ok(obeyed) => Ok(obeyed.ok()),
            Err(_) => Err(no_answer()),
        }
    }

    /// A main workflow that was stopped takes its sub-workflow and its call with it.
    async fn end_with_its_call(&self, call: CallId) -> Result<(), Problem> {
        let read = self.journal.send(Read(Key::Call(call.clone()))).await.map_err(gone)?;
        let Some(state) = fold_call(&read.map_err(unreadable)?) else { return Ok(()) };
        let stop = Request::Command { run: state.sub_run, command: Command::Stop };
        let stopped = self.ask_call(call.clone(), stop).await?;
        if let Some(Ok(Answer::Commanded(Err(Refused::AlreadyEnded)))) = stopped {
            // The flow was over before its call.
            self.ask_call(call, Request::Stop).await?;
        }
        Ok(())
    }

    /// What a call's session answers; `None` when it died over it.
    pub(super) async fn ask_call(
        &self,
        call: CallId,
        request: Request,
    ) -> Result<Option<Result<Answer, NotHere>>, Problem> {
        let (reply, answered) = oneshot::channel();
        self.calls.send(Deliver { call, workflow: None, request, reply }).await.map_err(gone)?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(outcome) => Ok(outcome.ok().map(|outcome| outcome.map(|answered| answered.answer))),
            Err(_) => Err(no_answer()),
        }
    }
}

/// Somebody wanted this run to be forgotten, and its story is still needed.
pub fn is_forgotten(entries: &[Entry], run: RunId) -> bool {
    entries.iter().any(|entry| entry.fact == Fact::Run(RunFact::Forgotten { id: run }))
}

/// The ids and names that a list pushed into this run may name.
pub fn words_of(run: &Run) -> BTreeSet<String> {
    run.words().map(str::to_owned).collect()
}

/// What is left of variables from outside once the runtime's own names are dropped, and what was dropped.
pub fn admitted(variables: Map<String, Value>) -> Result<(Map<String, Value>, Vec<String>), Problem> {
    let (dropped, kept): (Vec<_>, Vec<_>) = variables.into_iter().partition(|(name, _)| is_reserved(name));
    let sets = kept.iter().map(|(name, value)| (name.as_str(), value));
    Vars::default().admits(sets).map_err(|error| Problem::invalid(format!("variables: {error}")))?;
    Ok((kept.into_iter().collect(), dropped.into_iter().map(|(name, _)| name).collect()))
}
