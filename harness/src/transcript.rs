//! Call transcripts: one file, one story, read aloud by anyone.
//!
//! A head says which workflow is called and how the world behaves; then comes the play: time in seconds in the left
//! margin, what the world does, and `<-` what comes out of the house. Comments begin with `#`.
//!
//! ```text
//! # A caller who presses 2 while the menu is still speaking reaches support.
//! flow menu.yaml
//! far +14155550111 answers after 2s talks 5s
//!
//!   0.0  <- gives Gather(1 digit, 5 s)[Say "Press 1 for sales"], back to 1
//!   1.0  caller presses 2
//! ```

pub mod diff;
mod fault;
mod head;
mod script;
pub mod telling;

pub use head::{FlowText, Head};
pub use script::{Act, Api, Cue, SocketAct};

use holdline_core::Tick;
use std::collections::BTreeMap;

/// A story as it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Transcript {
    /// The text up to the play, as it stands.
    pub preamble: String,
    pub head: Head,
    pub cues: Vec<Cue>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Error {
    pub line: usize,
    pub why: String,
}

/// One line of a performed play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub at: Tick,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The cue of this number was performed.
    Cue(usize),
    /// This came out.
    Out(String),
}

impl Transcript {
    /// `read` gives the text of a workflow's file, by the name that the story uses.
    pub fn parse(text: &str, read: &dyn Fn(&str) -> std::io::Result<String>) -> Result<Transcript, Error> {
        let lines: Vec<&str> = text.lines().collect();
        let (head, end) = head::parse(&lines, read)?;
        let cues = script::parse(&lines, end)?;
        let mut preamble = String::new();
        for line in lines.get(..end).unwrap_or_default() {
            preamble.push_str(line.trim_end());
            preamble.push('\n');
        }
        Ok(Transcript { preamble, head, cues })
    }

    /// Something goes wrong inside the house, which only the bare machines can be made to suffer.
    pub fn is_for_machines(&self) -> bool {
        self.cues.iter().any(|cue| matches!(cue.act, Act::Fault(_)))
    }

    /// The whole file, with what came out.
    pub fn render(&self, play: &[Told]) -> String {
        let mut text = self.preamble.clone();
        let notes = |cue: &Cue, text: &mut String| {
            for note in &cue.notes {
                text.push_str(note);
                text.push('\n');
            }
        };
        let mut performed = BTreeMap::new();
        for Told { at, what } in play {
            match what {
                What::Out(out) => text.push_str(&format!("{:>5}  <- {out}\n", rounded(*at))),
                What::Cue(number) => {
                    performed.insert(*number, ());
                    let Some(cue) = self.cues.get(*number) else { continue };
                    notes(cue, &mut text);
                    text.push_str(&format!("{:>5}  {}\n", cue.time, cue.text));
                }
            }
        }
        // A cue is never lost from a file that is rewritten.
        for (number, cue) in self.cues.iter().enumerate() {
            if !performed.contains_key(&number) {
                notes(cue, &mut text);
                text.push_str(&format!("{:>5}  {}\n", cue.time, cue.text));
            }
        }
        text
    }
}

/// Seconds to a tenth.
fn rounded(at: Tick) -> String {
    let tenths = (at.0 + 50_000) / 100_000;
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// `1.5`, `1.5s`, `250ms`.
fn seconds(text: &str) -> Result<std::time::Duration, String> {
    let (number, factor) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e3),
        None => (text.strip_suffix('s').unwrap_or(text), 1e6),
    };
    let value: f64 =
        number.parse().map_err(|_| format!("expected a time such as 1.5, 1.5s or 250ms, got `{text}`"))?;
    let micros = (value * factor).round();
    if (0.0..=1e12).contains(&micros) {
        Ok(std::time::Duration::from_micros(micros as u64))
    } else {
        Err(format!("expected a time of at most ten days, got `{text}`"))
    }
}

/// Words; a quoted one keeps its blanks and begins with its quote.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() && !rest.starts_with('#') {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut word = String::from("\"");
            let mut characters = quoted.char_indices();
            let end = loop {
                match characters.next() {
                    Some((at, '"')) => break at,
                    Some((_, '\\')) => word.extend(characters.next().map(|(_, character)| character)),
                    Some((_, character)) => word.push(character),
                    None => return Err("expected a closing quote".into()),
                }
            };
            words.push(word);
            rest = quoted.get(end + 1..).unwrap_or_default().trim_start();
        } else {
            let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            words.push(word.to_owned());
            rest = after.trim_start();
        }
    }
    Ok(words)
}

fn unquoted(word: &str) -> &str {
    word.strip_prefix('"').unwrap_or(word)
}
