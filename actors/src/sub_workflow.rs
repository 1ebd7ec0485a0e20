//! Owns the run of a call's sub-workflow; child of its session, which gives it one turn at a time.

use crate::alive::Life as Guard;
use crate::call_session::Mail;
use crate::obituary::Obituary;
use crate::post::Held;
use actix::{Actor, Context, Handler, Message};
use holdline_core::Now;
use holdline_core::call::{AskNo, Input, TurnNo};
use holdline_core::flow::run::Run;
use holdline_core::scene::{Event, Posture};

pub struct SubWorkflow {
    run: Run,
    session: Held<Mail>,
    _obituary: Obituary<()>,
    _alive: Guard,
}

impl SubWorkflow {
    pub fn new(run: Run, session: Held<Mail>, obituary: Obituary<()>, alive: Guard) -> SubWorkflow {
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
                let verbs = self.run.wait_turn(now, turn + 1); // a URL counts them from 0
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
