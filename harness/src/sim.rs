//! The simulator: a seed is a world, its workflows, its caller and its faults; the whole house lives through it in
//! virtual time, and is judged by what the world saw.
//!
//! A seed becomes the text of a story, so a failure *is* a call transcript: paste it into a file, and `holdline test`
//! performs it. Before it is told it is made as short as it can be.

mod check;
mod dice;
mod flows;
mod shrink;
mod watch;
mod world;

pub use check::Broken;
pub use world::story;

use crate::own::Own;
use crate::play::play;
use crate::stage::machine::MachineStage;
use crate::transcript::Transcript;
use futures_util::FutureExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use watch::Watched;

/// A world in which a rule was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub seed: u64,
    /// As short as it could be made.
    pub story: String,
    pub broken: Broken,
}

/// Simulates one seed.
pub fn simulate(seed: u64) -> Result<(), Failure> {
    let story = story(seed);
    perform(&story).map_err(|broken| {
        let failure = Failure { seed, story, broken };
        if failure.broken.rule == STORY { failure } else { shrink::shrink(failure) }
    })
}

/// Performs a story and judges it.
pub fn perform(story: &str) -> Result<(), Broken> {
    tell(story).1
}

/// The story with what comes out, and the verdict.
pub fn tell(story: &str) -> (String, Result<(), Broken>) {
    let mut told = String::new();
    let verdict = lived(story, &mut told);
    (told, verdict)
}

fn lived(story: &str, told: &mut String) -> Result<(), Broken> {
    let broken = |rule, what: String| Broken { rule, what };
    let read = |name: &str| Err(std::io::Error::other(format!("{name}: a simulated story has no files")));
    let transcript = Transcript::parse(story, &read).map_err(|why| broken(STORY, why.to_string()))?;
    let shelf = transcript.head.shelf(&Own::default()).map_err(|why| broken(STORY, why))?;
    let house = transcript.head.house.clone();
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let mut watched = Watched::new(MachineStage::new(house, shelf).examined());
        let play = play(&transcript, &mut watched).now_or_never()?;
        Some((transcript.render(&play.told), check::judge(&play, &watched)))
    }));
    match lived {
        Ok(Some((text, verdict))) => {
            *told = text;
            verdict
        }
        Ok(None) => Err(broken("a play waits for nothing", String::new())),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(broken("nothing panics", text.unwrap_or_default()))
        }
    }
}

/// The rule that a story can be performed at all: a mistake of the simulator's own.
const STORY: &str = "a story can be performed";
