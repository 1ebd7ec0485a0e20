//! Owns the run of a call's sub-workflow; child of its session, which gives it one turn at a time.

use crate::alive::Life;
use crate::call_session::Mail;
use crate::door::{self, FlowBook};
use crate::obituary::Obituary;
use crate::post::Held;
use actix::{Actor, Context, Handler, Message};
use holdline_core::call::{AskNo, Input, TurnNo};
use holdline_core::document::Verb;
use holdline_core::flow::run::Run;
use holdline_core::scene::{Event, Posture};
use holdline_core::{Now, WorkflowId};
use std::sync::Arc;

pub struct SubWorkflow {
    run: Run,
    book: Arc<dyn FlowBook>,
    session: Held<Mail>,
    _obituary: Obituary<()>,
    _alive: Life,
}

impl SubWorkflow {
    pub fn new(
        mut run: Run,
        book: Arc<dyn FlowBook>,
        session: Held<Mail>,
        obituary: Obituary<()>,
        alive: Life,
    ) -> SubWorkflow {
        run.bind(door::flows(&book));
        SubWorkflow { run, book, session, _obituary: obituary, _alive: alive }
    }
}

impl Actor for SubWorkflow {
    type Context = Context<Self>;
}

impl SubWorkflow {
    /// What a caller in a queue hears in this turn; the wait flow may be a workflow of its own.
    fn wait_verbs(&mut self, now: Now, turn: u32) -> Vec<Verb> {
        let elsewhere = self.run.wait_workflow().map(|id| WorkflowId(id.to_owned()));
        match elsewhere.map(|id| self.book.find(&id)) {
            None => self.run.wait_turn(now, turn),
            Some(Some(script)) => self.run.wait_turn_of(now, turn, &script.actions),
            // Gone since the call began: the caller waits in silence.
            Some(None) => Vec::new(),
        }
    }
}

#[derive(Message)]
#[rtype(result = "()")]
pub enum Take {
    Turn { now: Now, turn: TurnNo, posture: Posture, event: Event },
    Wait { now: Now, ask: AskNo, exchange: u32, turn: u32 },
}

impl Handler<Take> for SubWorkflow {
    type Result = ();

    fn handle(&mut self, take: Take, _: &mut Self::Context) {
        let input = match take {
            Take::Turn { now, turn, posture, event } => {
                Input::Took { turn, report: self.run.take(now, &posture, event) }
            }
            Take::Wait { now, ask, exchange, turn } => {
                let verbs = self.wait_verbs(now, turn + 1); // a URL counts them from 0
                Input::Waited { ask, exchange, turn, verbs }
            }
        };
        match input {
            // One turn is under way at a time; a report that is lost would leave the call waiting for ever.
            Input::Took { .. } => self.session.last_word(Mail::Input(input)),
            // The network asks for a wait document again.
            input => _ = self.session.post(Mail::Input(input)),
        }
    }
}
