//! A call as a test: a transcript, performed in virtual time, that says line by line where it went otherwise.

use crate::own::Own;
use crate::report::{On, perform_text_with};
use crate::transcript::diff;
use holdline_actors::port::service::Failed;
use holdline_core::flow::action::Action;
use holdline_core::http::ServiceCall;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// One call transcript, and what its workflows need.
///
/// ```
/// holdline_harness::Story::new(r#"
/// flow greeting <<
/// tasks:
///   - { type: talk, parameters: { text: "Hello ${call.from}" } }
/// >>
/// "#).perform().expect_err("a story that foretells nothing goes otherwise");
/// ```
#[derive(Debug, Clone)]
pub struct Story {
    text: String,
    folder: PathBuf,
    own: Own,
}

/// How a performance ended that went as it was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// In the story's own time.
    pub lasted: Duration,
}

/// Why a story did not go as it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Untold {
    /// It went otherwise. `-` is what was told, `+` what came.
    #[error("the call went differently:\n{diff}")]
    Different {
        /// Line by line, with what stands around.
        diff: String,
        /// The whole story as it came.
        came: String,
    },
    /// The story, or a workflow in it, can't be read.
    #[error("{0}")]
    Broken(String),
    /// Something of the call was still in memory when it had been over for long.
    #[error("something of the call is left in memory at the end")]
    LeftBehind,
}

impl Story {
    /// A transcript as `docs/testing.md` describes it: the text of a `.call` file.
    pub fn new(text: impl Into<String>) -> Story {
        Story { text: text.into(), folder: PathBuf::from("."), own: Own::default() }
    }

    /// Where the files are that its `flow` lines name.
    #[must_use]
    pub fn folder(self, folder: impl Into<PathBuf>) -> Story {
        Story { folder: folder.into(), ..self }
    }

    /// An action of your own, as the server gets it.
    ///
    /// # Panics
    /// When it does not fit into the language, with the reason.
    #[must_use]
    #[track_caller]
    pub fn action(mut self, action: impl Action + 'static) -> Story {
        match self.own.action(action) {
            Ok(own) => self.own = own,
            Err(unfit) => panic!("an action of your own can't be taken in: {unfit}"),
        }
        self
    }

    /// What a service answers in this story.
    #[must_use]
    pub fn service(
        self,
        name: impl Into<String>,
        answer: impl Fn(&ServiceCall) -> Result<Value, Failed> + Send + Sync + 'static,
    ) -> Story {
        Story { own: self.own.service(name, answer), ..self }
    }

    /// Performs it, in no time at all.
    pub fn perform(&self) -> Result<Told, Untold> {
        let (came, play) =
            perform_text_with(&self.text, &self.folder, On::Machine, &self.own).map_err(Untold::Broken)?;
        // The first line of a text in source code is often an empty one.
        if came.trim() != self.text.trim() {
            return Err(Untold::Different { diff: diff::lines(self.text.trim(), came.trim()), came });
        }
        if !play.house_is_empty {
            return Err(Untold::LeftBehind);
        }
        Ok(Told { lasted: Duration::from_micros(play.ended_at.0) })
    }

    /// For a `#[test]`: panics with the difference.
    ///
    /// # Panics
    /// When it did not go as it was told.
    #[track_caller]
    pub fn must_go_as_told(&self) {
        if let Err(untold) = self.perform() {
            panic!("{untold}");
        }
    }
}
