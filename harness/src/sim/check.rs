//! What the world saw is what the contract allows: judged from outside, by what went over the wires and what is on disk.
//!
//! Each rule has a name, which is what a failure is told by and what the shrinker holds on to.

mod books;
mod others;
mod wires;

use super::watch::{Saw, Watched};
use crate::play::Play;
use crate::stage::machine::MachineStage;
use crate::stage::{Asked, News};
use books::Books;
use holdline_core::Tick;
use others::Others;
use wires::Wires;

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}: {what}")]
pub struct Broken {
    pub rule: &'static str,
    pub what: String,
}

/// What a rule says.
type Verdict = Result<(), Broken>;

fn holds(good: bool, rule: &'static str, what: impl FnOnce() -> String) -> Verdict {
    if good { Ok(()) } else { Err(Broken { rule, what: what() }) }
}

/// The first rule that a finished play breaks.
pub(super) fn judge(play: &Play, watched: &Watched<MachineStage>) -> Verdict {
    let mut books = Books::default();
    let mut wires = Wires::default();
    let mut others = Others::default();
    for (at, saw) in &watched.saw {
        see(&mut books, &mut wires, &mut others, saw).map_err(|broken| told_at(broken, *at))?;
    }
    holds(play.house_is_empty, "ended calls leave nothing", || {
        format!("after {:?} something is still in memory", play.ended_at)
    })?;
    books.closed()?;
    others.closed(&books)?;
    let invariant = watched.stage.verdict();
    invariant.map_err(|broken| Broken { rule: broken.invariant, what: broken.what })
}

fn see(books: &mut Books, wires: &mut Wires, others: &mut Others, saw: &Saw) -> Verdict {
    match saw {
        Saw::Asked(knock, request) => wires.asked(*knock, request),
        Saw::Heard(socket, text) => wires.heard(*socket, text),
        Saw::Wished(knock) => wires.wished(*knock),
        Saw::Crashed => wires.crashed(),
        Saw::News(News::Written(batch)) => {
            wires.written();
            for entry in batch {
                books.written(entry)?;
                others.written(entry);
            }
        }
        Saw::News(News::Answered { knock, status, body, .. }) => {
            wires.answered(books, *knock, *status, body)?;
        }
        Saw::News(News::Upgraded { knock }) => wires.upgraded(books, *knock)?,
        Saw::News(News::SocketText { socket, text }) => wires.said(*socket, text)?,
        Saw::News(News::SocketClosed { socket, .. }) => wires.closed(*socket),
        Saw::News(News::Asked(asked)) => ask(others, asked)?,
        Saw::News(News::Died { .. }) => wires.crashed(),
        Saw::News(News::Ending { .. }) => {}
    }
    Ok(())
}

fn ask(others: &mut Others, asked: &Asked) -> Verdict {
    others.asked(asked)
}

fn told_at(broken: Broken, at: Tick) -> Broken {
    Broken { what: format!("at {} ms: {}", at.as_millis(), broken.what), ..broken }
}
