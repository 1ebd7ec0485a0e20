//! The carrier of the server of its own: the connection leaves HTTP at its upgrade, and its session holds the socket
//! from then on, on its own thread.

use super::line::{Connection, Line, reason};
use crate::call_session::{CallSession, Mail};
use crate::door::{Door, Ticket};
use crate::post::Held;
use actix::Addr;
use holdline_core::call::StreamNo;
use holdline_core::provider::twilio::stream::Start;
use holdline_core::{CallId, WorkflowId};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// Carries a stream on `connection`.
pub fn carry(
    door: Arc<Door>,
    ticket: Ticket,
    start_deadline: Duration,
    connection: Connection,
) -> io::Result<()> {
    let line = Line::new(connection, ticket.stream(), door.tally.clone());
    match ticket {
        Ticket::Admitted { session, stream, .. } => hand_over(session, stream, line, None, start_deadline),
        Ticket::Bare { workflow, hint } => {
            actix::spawn(greet(door, workflow, hint, start_deadline, line));
            Ok(())
        }
    }
}

fn hand_over(
    session: Addr<CallSession>,
    stream: StreamNo,
    line: Line,
    start: Option<Start>,
    start_deadline: Duration,
) -> io::Result<()> {
    let line = Box::new(line.pack()?);
    // A session that is gone closes nothing: the connection ends with its parcel, and the network comes back.
    Held::new(session).post(Mail::LineOpen { stream, line, start: start.map(Box::new), start_deadline });
    Ok(())
}

/// A bare stream says by its `start` whose it is; until then nobody holds it.
async fn greet(
    door: Arc<Door>,
    workflow: WorkflowId,
    hint: Option<CallId>,
    start_deadline: Duration,
    mut line: Line,
) {
    let start = match tokio::time::timeout(start_deadline, line.starts()).await {
        Ok(Ok(start)) => start,
        Ok(Err(why)) => return line.close(why),
        Err(_) => {
            tracing::warn!("a stream sent no start in time");
            return line.close(Some(reason(1008)));
        }
    };
    match door.attach(&workflow, hint.as_ref(), &start).await {
        Ok((session, stream)) => {
            line.becomes(stream);
            if let Err(error) = hand_over(session, stream, line, Some(start), start_deadline) {
                tracing::error!(%error, "a stream's socket could not be handed to its call");
            }
        }
        Err(why) => {
            tracing::warn!(why, "a bare stream was refused");
            line.close(Some(reason(1008)));
        }
    }
}
