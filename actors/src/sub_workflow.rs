//! Owns the run of a call's sub-workflow; child of its session, which gives it one turn at a time.

use crate::alive::Life;
use crate::call_session::Mail;
use crate::door::{self, FlowBook};
use crate::obituary::Obituary;
use crate::post::Held;
use actix::{Actor, Context, Handler, Message};
use holdline_core::Now;
use holdline_core::call::{AskNo, Input, TurnNo};
use holdline_core::flow::run::Run;
use holdline_core::scene::{Event, Posture};
use std::sync::Arc;

pub struct SubWorkflow {
    run: Run,
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
        SubWorkflow { run, session, _obituary: obituary, _alive: alive }
    }
}

impl Actor for SubWorkflow {
    type Context = Context<Self>;
}

#[derive(Message)]
#[rtype(result = "()")]
pub enum Take {
    Turn { now: Now, turn: TurnNo, posture: Posture, event: Event },
    Wait { now: Now, ask: AskNo, exchange: u32, turn: u32, waited_s: Option<u64> },
}

impl Handler<Take> for SubWorkflow {
    type Result = ();

    fn handle(&mut self, take: Take, _: &mut Self::Context) {
        let input = match take {
            Take::Turn { now, turn, posture, event } => {
                Input::Took { turn, report: self.run.take(now, &posture, event) }
            }
            Take::Wait { now, ask, exchange, turn, waited_s } => {
                let verbs = self.run.wait_turn(now, turn, waited_s);
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
