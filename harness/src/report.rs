//! Performs stories and compares them with what they foretell: what `holdline test` does.

use crate::own::Own;
use crate::play::{Play, play};
use crate::stage::machine::MachineStage;
use crate::transcript::{Transcript, diff};
use futures_util::FutureExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How stories are performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Rewrite what the story foretells by what came out.
    pub update: bool,
    /// Where they are performed.
    pub stage: On,
}

/// Where a story is performed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum On {
    /// The bare machines, which take no time at all.
    #[default]
    Machine,
    /// The real actors, under paused time. Needs the feature `actor-stage`.
    #[cfg(feature = "actor-stage")]
    Actor,
}

/// What came of one story.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The story's own.
    pub file: PathBuf,
    /// Whether it went as it was told.
    pub outcome: Outcome,
    /// How long the story lasts in its own time.
    pub lasted: Duration,
}

/// Whether a story went as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    AsTold,
    /// Line by line.
    Different(String),
    /// What it foretells was rewritten, as [`Options::update`] wants.
    Rewritten,
    /// The story cannot be performed.
    Broken(String),
}

impl Report {
    /// It went as it was told, or was rewritten.
    pub fn is_ok(&self) -> bool {
        matches!(self.outcome, Outcome::AsTold | Outcome::Rewritten)
    }
}

/// Performs one file. Workflows that it names are looked for beside it.
pub fn perform_file(file: &Path, options: Options) -> Report {
    perform_file_with(file, options, &Own::default())
}

/// As [`perform_file`], with what a program brings along.
pub fn perform_file_with(file: &Path, options: Options, own: &Own) -> Report {
    let report = |outcome, lasted| Report { file: file.to_owned(), outcome, lasted };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(why) => return report(Outcome::Broken(why.to_string()), Duration::ZERO),
    };
    let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
    let (came, play) = match perform_text_with(&text, &folder, options.stage, own) {
        Ok(performed) => performed,
        Err(why) => return report(Outcome::Broken(why), Duration::ZERO),
    };
    let lasted = Duration::from_micros(play.ended_at.0);
    if !play.house_is_empty {
        return report(Outcome::Broken("something of the call is left in memory at the end".into()), lasted);
    }
    if came == text {
        return report(Outcome::AsTold, lasted);
    }
    if options.update {
        return match std::fs::write(file, came) {
            Ok(()) => report(Outcome::Rewritten, lasted),
            Err(why) => report(Outcome::Broken(why.to_string()), lasted),
        };
    }
    report(Outcome::Different(diff::lines(&text, &came)), lasted)
}

/// The story as it came out, and everything that was written down.
pub fn perform_text(text: &str, folder: &Path, on: On) -> Result<(String, Play), String> {
    perform_text_with(text, folder, on, &Own::default())
}

/// As [`perform_text`], with what a program brings along.
pub fn perform_text_with(text: &str, folder: &Path, on: On, own: &Own) -> Result<(String, Play), String> {
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    let transcript = Transcript::parse(text, &read).map_err(|error| error.to_string())?;
    let play = perform_with(&transcript, on, own)?;
    Ok((transcript.render(&play.told), play))
}

/// A story that was read already.
pub fn perform(transcript: &Transcript, on: On) -> Result<Play, String> {
    perform_with(transcript, on, &Own::default())
}

/// As [`perform`], with what a program brings along.
pub fn perform_with(transcript: &Transcript, on: On, own: &Own) -> Result<Play, String> {
    let shelf = transcript.head.shelf(own)?;
    let house = transcript.head.house.clone();
    match on {
        On::Machine => {
            let mut stage = MachineStage::new(house, shelf);
            // Plain machines wait for nothing, so neither does their play.
            play(transcript, &mut stage)
                .now_or_never()
                .ok_or_else(|| "the play waits for something".to_owned())
        }
        #[cfg(feature = "actor-stage")]
        On::Actor => {
            crate::stage::actor::in_a_house(house, shelf, async |stage| play(transcript, stage).await)
        }
    }
}
