//! Live calls: hung up, interrupted, spoken into.

use holdline_actors::call_registry::{Observe, fold_call};
use holdline_actors::journal_writer::Read;
use holdline_core::call::{Answer, CallState, Request};
use holdline_core::fact::Key;
use holdline_core::once::Stamp;
use holdline_core::scene::{Command, Refused};
use holdline_core::timeline::timeline;
use holdline_core::{CallId, RunId};
use serde_json::{Map, Value};

use super::{Desk, TRIES, gone, no_answer, reused, unreadable};
use crate::web::problem::{Code, Problem};

impl Desk {
    /// True when the network learns it only at its next request.
    pub async fn hang_up(&self, sid: &str, stamp: Option<Stamp>) -> Result<bool, Problem> {
        match self.ask_live(sid, stamp, |_| Request::HangUp).await? {
            Answer::Ending { deferred } => Ok(deferred),
            answer => Err(refusal(answer)),
        }
    }

    /// Cuts short what the caller hears, or what is waited for. A verb can only be left by the network itself, which
    /// its REST API is told, where there are credentials.
    pub async fn interrupt(&self, sid: &str, stamp: Option<Stamp>) -> Result<(), Problem> {
        match self.command_flow(sid, stamp, Command::Interrupt).await {
            Err(refused) if refused.code() == Code::NotInterruptible => {
                match self.ask_live(sid, stamp, |_| Request::LeaveVerb).await? {
                    Answer::Leaving => Ok(()),
                    _ => Err(refused),
                }
            }
            done => done,
        }
    }

    /// True when the caller hears it only in the next document.
    pub async fn say(&self, sid: &str, stamp: Option<Stamp>, text: &str) -> Result<bool, Problem> {
        match self.ask_live(sid, stamp, |_| Request::Say { text: text.to_owned() }).await? {
            Answer::Saying { deferred } => Ok(deferred),
            answer => Err(refusal(answer)),
        }
    }

    /// Sets variables of the sub-workflow that holds the call.
    pub async fn set_variables(
        &self,
        sid: &str,
        stamp: Option<Stamp>,
        variables: Map<String, Value>,
    ) -> Result<(), Problem> {
        self.command_flow(sid, stamp, Command::Set { variables: variables.into_iter().collect() }).await
    }

    /// How loud those of these calls are that are in memory. Nothing is read from disk.
    pub async fn levels(&self, sids: &[&str]) -> Result<Vec<Value>, Problem> {
        let mut levels = Vec::new();
        for sid in sids {
            let observed = self.calls.send(Observe(CallId((*sid).to_owned()))).await.map_err(gone)?;
            let Some(observed) = observed else { continue };
            let mut media = observed.await.unwrap_or_default();
            let mut level = Map::new();
            level.insert("sid".to_owned(), Value::from(*sid));
            if let Some(Value::Object(of_both)) = media.get_mut("levels").map(Value::take) {
                level.extend(of_both);
            }
            levels.push(Value::Object(level));
        }
        Ok(levels)
    }

    /// Everything that happened to it, in order.
    pub async fn timeline(&self, sid: &str) -> Result<Value, Problem> {
        let call = CallId(sid.to_owned());
        let read = self.journal.send(Read(Key::Call(call.clone()))).await.map_err(gone)?;
        let story = read.map_err(unreadable)?;
        let state = fold_call(&story).ok_or_else(|| unknown(&call))?;
        let main = match state.main_run {
            Some(run) => self.journal.send(Read(Key::Run(run))).await.map_err(gone)?.map_err(unreadable)?,
            None => Vec::new(),
        };
        Ok(timeline(&story, &main))
    }

    async fn command_flow(&self, sid: &str, stamp: Option<Stamp>, command: Command) -> Result<(), Problem> {
        let request = |run| Request::Command { run, command: command.clone() };
        match self.ask_live(sid, stamp, request).await? {
            Answer::Commanded(Ok(())) => Ok(()),
            answer => Err(refusal(answer)),
        }
    }

    /// What a live call's session answers; the request may be about its sub-workflow's run. One that was carried out
    /// before has its answer also when the call is over.
    async fn ask_live(
        &self,
        sid: &str,
        stamp: Option<Stamp>,
        request: impl Fn(RunId) -> Request,
    ) -> Result<Answer, Problem> {
        let call = CallId(sid.to_owned());
        for _ in 0..TRIES {
            let state = self.call(&call).await?;
            let request = request(state.sub_run);
            let now_ms = self.clock.now().wall_ms;
            if let Some(before) = stamp.and_then(|stamp| state.deeds.find(now_ms, stamp)) {
                return Ok(request.again(before));
            }
            if state.over.is_some() {
                return Err(ended());
            }
            match self.ask_call(call.clone(), request.stamped(stamp)).await? {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(_)) => return Err(ended()),
                None => {}
            }
        }
        Err(no_answer())
    }

    async fn call(&self, call: &CallId) -> Result<CallState, Problem> {
        let read = self.journal.send(Read(Key::Call(call.clone()))).await.map_err(gone)?;
        let state = fold_call(&read.map_err(unreadable)?);
        state.ok_or_else(|| unknown(call))
    }
}

fn unknown(call: &CallId) -> Problem {
    Problem::new(Code::CallNotFound, format!("there is no call {call}"))
}

fn refusal(answer: Answer) -> Problem {
    match answer {
        Answer::Commanded(Err(Refused::NotInterruptible)) => {
            Problem::new(Code::NotInterruptible, "what is under way can't be cut short from here")
        }
        Answer::Commanded(Err(Refused::TooMuch)) => {
            Problem::invalid("the variables would be more, or larger, than an activeflow may have")
        }
        Answer::Commanded(Err(Refused::KeyReused)) => reused(),
        Answer::Commanded(_) => ended(),
        Answer::Denied { why } => Problem::new(Code::Limit, why),
        _ => Problem::new(Code::Internal, "the call gave another answer than was expected"),
    }
}

fn ended() -> Problem {
    Problem::new(Code::AlreadyEnded, "the call has ended already")
}
