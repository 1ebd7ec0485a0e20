//! What the control API does: it finds out whose story a thing belongs to, and asks the actor that owns it. Whatever
//! is decided is decided there.

mod calls;
mod firing;
mod flows;
mod grammar;
mod letters;
mod runs;

pub use grammar::Grammar;
pub use runs::{Found, Id, NewRun, admitted, is_forgotten, reused, words_of};

use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, MailboxError};
use holdline_actors::call_registry::CallRegistry;
use holdline_actors::clock::Clock;
use holdline_actors::door::FlowBook;
use holdline_actors::feed::Feed;
use holdline_actors::flow_registry::FlowRegistry;
use holdline_actors::journal_writer::JournalWriter;
use holdline_actors::outbox::Outbox;
use holdline_actors::port::journal::JournalError;
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::placing::Placing;
use crate::web::problem::{Code, Problem};

#[derive(Clone)]
pub struct Desk {
    pub calls: Addr<CallRegistry>,
    pub flows: Addr<FlowRegistry>,
    pub outbox: Addr<Outbox>,
    pub journal: Addr<JournalWriter>,
    pub feed: Arc<Feed>,
    pub clock: Clock,
    /// Ids of what begins here; the time goes into them.
    pub mint: fn(u64) -> Uuid,
    pub book: Arc<dyn FlowBook>,
    pub grammar: Grammar,
    pub placing: Placing,
    /// Held by whoever changes the stored workflows.
    pub storing: Arc<tokio::sync::Mutex<()>>,
}

/// What can't be written in this time is answered 503; it may still come to be.
const PATIENCE: Duration = Duration::from_secs(10);
/// A session or workflow that died while it was asked has a successor a moment later.
const TRIES: u32 = 3;

fn gone(_: MailboxError) -> Problem {
    Problem::new(Code::Internal, "the house is closing")
}

fn unreadable(error: JournalError) -> Problem {
    Problem::new(Code::Internal, error.to_string())
}

impl Desk {
    async fn patiently<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, Problem> {
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(no_answer()),
        }
    }
}

fn no_answer() -> Problem {
    Problem::new(Code::Unavailable, "it could not be written in time; ask what became of it")
}
