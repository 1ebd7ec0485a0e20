//! Owns the run of a call's sub-workflow; child of its session, which gives it one turn at a time.

use crate::alive::Life as Guard;
use crate::call_session::Mail;
use crate::obituary::Obituary;
use crate::post::Held;
use actix::{Actor, Context, Handler, Message};
use holdline_core::Now;
use holdline_core::call::{AskNo, Input, TurnNo};
use holdline_core::fact::RunFact;
use holdline_core::flow::run::{Run, RunSpec};
use holdline_core::scene::{Event, Posture};

pub struct SubWorkflow {
    life: Life,
    session: Held<Mail>,
    _obituary: Obituary<()>,
    _alive: Guard,
}

enum Life {
    /// Begins with its first turn, so that its first facts are in the call's first batch.
    Unborn(Box<RunSpec>),
    Running(Box<Run>),
}

impl SubWorkflow {
    pub fn unborn(spec: RunSpec, session: Held<Mail>, obituary: Obituary<()>, alive: Guard) -> SubWorkflow {
        SubWorkflow { life: Life::Unborn(Box::new(spec)), session, _obituary: obituary, _alive: alive }
    }

    pub fn restored(run: Run, session: Held<Mail>, obituary: Obituary<()>, alive: Guard) -> SubWorkflow {
        SubWorkflow { life: Life::Running(Box::new(run)), session, _obituary: obituary, _alive: alive }
    }

    /// The run, begun if it was not, and the facts of its beginning.
    fn run(&mut self, now: Now) -> (&mut Run, Vec<RunFact>) {
        let mut born = Vec::new();
        if let Life::Unborn(spec) = &self.life {
            let (run, facts) = Run::begin(now, (**spec).clone());
            born = facts;
            self.life = Life::Running(Box::new(run));
        }
        match &mut self.life {
            Life::Running(run) => (run, born),
            Life::Unborn(_) => unreachable!("it was born two lines above"),
        }
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
                let (run, mut facts) = self.run(now);
                let mut report = run.take(now, &posture, event);
                facts.append(&mut report.facts);
                report.facts = facts;
                Input::Took { turn, report }
            }
            Take::Wait { now, ask, exchange, turn } => {
                let verbs = self.run(now).0.wait_turn(now, turn + 1); // a URL counts them from 0
                Input::Waited { ask, exchange, turn, verbs }
            }
        };
        // The session's mailbox keeps a place for this sender; a session that is gone needs no report.
        self.session.post(Mail::Input(input));
    }
}
