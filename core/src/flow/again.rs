//! A failed run continues as a new one, at the action that failed or at one that somebody names: with its variables and
//! stacks as they were, and a history of its own.

use super::fact::{Begun, RunFact};
use super::run::Run;
use super::state::State;
use crate::Now;
use crate::id::RunId;
use crate::scene::EndReason;

/// Why a run is not continued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAgain {
    #[error("only a run that failed can go on, this one {0}")]
    NotFailed(String),
    #[error("no action {0:?} can be reached from where it failed")]
    UnknownAction(String),
    #[error("its facts don't fold into a run")]
    Broken,
}

/// The first facts of run `id`, which continues run `of`. `facts` are those of the story in which that one stands.
pub fn again<'f>(
    now: Now,
    facts: impl Iterator<Item = &'f RunFact>,
    of: RunId,
    id: RunId,
    from: Option<&str>,
) -> Result<Vec<RunFact>, NotAgain> {
    let own = own_facts(facts, of);
    let (Some(RunFact::Begun(begun)), rest) = (own.first(), own.get(1..).unwrap_or_default()) else {
        return Err(NotAgain::Broken);
    };
    let over = Run::restore(now, own.iter().copied()).ok().and_then(|run| run.over().cloned());
    match over {
        Some(over) if over.reason == EndReason::Failed => {}
        Some(over) => return Err(NotAgain::NotFailed(format!("ended as {}", over.reason.as_str()))),
        None => return Err(NotAgain::NotFailed("is running".to_owned())),
    }
    let begun = Begun { at: now.wall_ms, id, retry_of: Some(of), nested: 0, ..(**begun).clone() };
    let mut state = State::of(&begun);
    let mut again = vec![RunFact::Begun(Box::new(begun))];
    for fact in rest {
        // Children and the end belong to the run that failed; the rest makes the state in which it did.
        let of_the_old = matches!(
            fact,
            RunFact::Child { .. }
                | RunFact::Over { .. }
                | RunFact::Forgotten { .. }
                | RunFact::RetriedAs { .. }
        );
        if !of_the_old {
            state.apply(fact);
            again.push((*fact).clone());
        }
    }
    let to = match from {
        None => None,
        Some(from) => {
            let (stack, _) = state.cursor();
            let to = state.find(stack, from).ok_or_else(|| NotAgain::UnknownAction(from.to_owned()))?;
            Some(to)
        }
    };
    again.push(RunFact::Retried { at: now.wall_ms, to });
    Ok(again)
}

/// The facts of one run out of a story: of the one that it is about, or of one inside it.
fn own_facts<'f>(facts: impl Iterator<Item = &'f RunFact>, run: RunId) -> Vec<&'f RunFact> {
    let mut facts = facts.peekable();
    match facts.peek() {
        Some(RunFact::Begun(begun)) if begun.id == run => facts.collect(),
        _ => facts.filter_map(|fact| inside(fact, run)).collect(),
    }
}

fn inside(fact: &RunFact, run: RunId) -> Option<&RunFact> {
    match fact {
        RunFact::Child { id, fact } if *id == run => Some(fact),
        RunFact::Child { fact, .. } => inside(fact, run),
        _ => None,
    }
}
