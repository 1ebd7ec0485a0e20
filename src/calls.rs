//! Calls, for the code around a [`Runtime`](crate::Runtime): find them, speak into them, end them, place them.

use std::sync::Arc;

use holdline_core::CallId;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::desk::Desk;
use crate::placing::{NotPlaced, Wish};
use crate::web::control::{CallFilter, Room};
use crate::web::page::{Page, Row};
use crate::web::problem::{Code, Problem};

/// Calls that are read at once while the live ones are listed.
const PAGE: usize = 100;

/// What can be done with a runtime's calls; [`Runtime::calls`](crate::Runtime::calls) gives it. Cheap to clone.
///
/// Everything here is what the control API does, without HTTP: the same checks, the same journal, the same refusals.
#[derive(Clone)]
pub struct Calls {
    room: Arc<Room>,
}

/// One call, as it is written down.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Call {
    /// By what the phone network names it: `CA…`.
    pub sid: String,
    /// The workflow that it came for.
    pub workflow: String,
    /// `connecting`, `active`, `stopping` or `ended`.
    pub state: String,
    /// What the phone network said last: `in-progress`, `completed` …
    pub status: Option<String>,
    /// Who calls.
    pub from: String,
    /// Who is called.
    pub to: String,
    /// `inbound`, or `outbound-api` for calls that were placed.
    pub direction: String,
    /// All keys that were pressed, in order.
    pub digits: String,
    /// Why it ended: `caller_hangup`, `completed`, `hangup` …
    pub end_reason: Option<String>,
    /// RFC 3339, UTC, milliseconds.
    pub started_at: String,
    /// As `started_at`; none while it lives.
    pub ended_at: Option<String>,
    /// All else that `GET /v1/calls/{call}` shows: exchanges, streams, media, recordings, activeflows.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// When a wish for a live call comes true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It is done.
    Now,
    /// The network performs a verb of its own and learns it at its next request.
    AtTheNextRequest,
}

impl Calls {
    pub(crate) fn new(room: Arc<Room>) -> Calls {
        Calls { room }
    }

    /// The calls that live, newest first.
    pub async fn list(&self) -> Result<Vec<Call>, Problem> {
        let mut live = Vec::new();
        // A call that goes on to its next phase meanwhile is found in one of them, and shown once.
        for state in ["connecting", "active", "stopping"] {
            let filter = CallFilter { state: Some(state.to_owned()), ..CallFilter::default() };
            let mut page = Page { after: None, size: PAGE };
            loop {
                let rows = self.room.directory.calls(&filter, &page).await?;
                let is_last = rows.len() < page.wanted();
                page.after = rows.last().map(|row| row.cursor.clone());
                live.extend(rows);
                if is_last {
                    break;
                }
            }
        }
        live.sort_by(|a: &Row, b: &Row| b.cursor.cmp(&a.cursor));
        live.dedup_by(|a, b| a.cursor.id == b.cursor.id);
        live.into_iter().map(|row| typed(row.value)).collect()
    }

    /// One call, live or ended and not forgotten yet.
    pub async fn find(&self, sid: &str) -> Result<Option<Call>, Problem> {
        self.room.directory.call(sid).await?.map(typed).transpose()
    }

    /// Lets the caller hear a text.
    pub async fn say(&self, sid: &str, text: &str) -> Result<When, Problem> {
        self.desk().say(sid, None, text).await.map(When::deferred)
    }

    /// Ends a call.
    pub async fn hang_up(&self, sid: &str) -> Result<When, Problem> {
        self.desk().hang_up(sid, None).await.map(When::deferred)
    }

    /// Cuts short what the caller hears, or what is waited for; the workflow goes on behind it.
    pub async fn interrupt(&self, sid: &str) -> Result<(), Problem> {
        self.desk().interrupt(sid, None).await
    }

    /// Sets variables of the workflow that holds the call.
    pub async fn set_variables(&self, sid: &str, variables: Map<String, Value>) -> Result<(), Problem> {
        self.desk().set_variables(sid, None, variables).await
    }

    /// Everything that happened to a call, oldest first, as one JSON document.
    pub async fn timeline(&self, sid: &str) -> Result<Value, Problem> {
        self.desk().timeline(sid).await
    }

    /// Places a call; needs credentials. The same wish under the same key dials once, whatever happens in between.
    pub async fn place(&self, wish: Wish, idempotency_key: Option<&str>) -> Result<CallId, NotPlaced> {
        self.desk().placing.place(wish, idempotency_key.map(str::as_bytes)).await
    }

    fn desk(&self) -> &Desk {
        &self.room.desk
    }
}

impl When {
    fn deferred(deferred: bool) -> When {
        if deferred { When::AtTheNextRequest } else { When::Now }
    }
}

fn typed(value: Value) -> Result<Call, Problem> {
    serde_json::from_value(value)
        .map_err(|error| Problem::new(Code::Internal, format!("a call is shown in an unknown form: {error}")))
}
