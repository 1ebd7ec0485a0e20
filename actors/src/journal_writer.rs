//! Owns the journal. Many stories share one writer; it asks nobody.

use crate::port::journal::{Journal, JournalError, Kind, Listed};
use actix::{Actor, Context, Handler, Message};
use holdline_core::RunId;
use holdline_core::fact::{Entry, Key};
use tokio::sync::oneshot;

pub struct JournalWriter {
    journal: Box<dyn Journal>,
}

impl JournalWriter {
    pub fn new(journal: Box<dyn Journal>) -> JournalWriter {
        JournalWriter { journal }
    }
}

impl Actor for JournalWriter {
    type Context = Context<Self>;
}

/// One batch; `written` fires when it is durable.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Append {
    pub batch: Vec<Entry>,
    pub written: oneshot::Sender<Result<(), JournalError>>,
}

impl Handler<Append> for JournalWriter {
    type Result = ();
    fn handle(&mut self, append: Append, _: &mut Self::Context) {
        let result = self.journal.append(&append.batch);
        // Whoever asked may be gone; what was written stays written.
        let _ = append.written.send(result);
    }
}

#[derive(Message)]
#[rtype(result = "Result<Vec<Entry>, JournalError>")]
pub struct Read(pub Key);

impl Handler<Read> for JournalWriter {
    type Result = Result<Vec<Entry>, JournalError>;
    fn handle(&mut self, Read(key): Read, _: &mut Self::Context) -> Self::Result {
        self.journal.read(&key)
    }
}

/// The story that holds a run, and its facts.
#[derive(Message)]
#[rtype(result = "Result<Option<(Key, Vec<Entry>)>, JournalError>")]
pub struct ReadRun(pub RunId);

impl Handler<ReadRun> for JournalWriter {
    type Result = Result<Option<(Key, Vec<Entry>)>, JournalError>;
    fn handle(&mut self, ReadRun(run): ReadRun, _: &mut Self::Context) -> Self::Result {
        let Some(key) = self.journal.story_of(&run)? else { return Ok(None) };
        let entries = self.journal.read(&key)?;
        Ok(Some((key, entries)))
    }
}

/// Stories with their facts, newest first.
#[derive(Message)]
#[rtype(result = "Result<Vec<(Listed, Vec<Entry>)>, JournalError>")]
pub struct List {
    pub kind: Kind,
    pub after: Option<u64>,
    pub limit: usize,
}

impl Handler<List> for JournalWriter {
    type Result = Result<Vec<(Listed, Vec<Entry>)>, JournalError>;
    fn handle(&mut self, list: List, _: &mut Self::Context) -> Self::Result {
        let rows = self.journal.list(list.kind, list.after, list.limit)?;
        rows.into_iter()
            .map(|row| {
                let entries = self.journal.read(&row.key)?;
                Ok((row, entries))
            })
            .collect()
    }
}

#[derive(Message)]
#[rtype(result = "Result<(), JournalError>")]
pub struct Close(pub Key);

impl Handler<Close> for JournalWriter {
    type Result = Result<(), JournalError>;
    fn handle(&mut self, Close(key): Close, _: &mut Self::Context) -> Self::Result {
        self.journal.close(&key)
    }
}

#[derive(Message)]
#[rtype(result = "Result<Vec<Key>, JournalError>")]
pub struct OpenKeys;

impl Handler<OpenKeys> for JournalWriter {
    type Result = Result<Vec<Key>, JournalError>;
    fn handle(&mut self, _: OpenKeys, _: &mut Self::Context) -> Self::Result {
        self.journal.open_keys()
    }
}
