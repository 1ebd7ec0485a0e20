//! A document in one short line, for transcripts: `Gather(1 digit, 5 s)[Say "Press 1"], back to 1`.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::twiml::{Document, Gather, NounKind, Verb};

/// Longer texts end in an ellipsis: a transcript is read, not parsed.
const TEXT_CHARACTERS_MAX: usize = 60;

impl Display for Document {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.verbs.is_empty() {
            return f.write_str("nothing");
        }
        for (place, verb) in self.verbs.iter().enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            // The tail that leads back to the server is in almost every document, so it is said in two words.
            match verb {
                Verb::Redirect(to) if place + 1 == self.verbs.len() => match exchange(&to.url) {
                    Some(number) => write!(f, "back to {number}")?,
                    None => write!(f, "on to {}", short_url(&to.url))?,
                },
                verb => Display::fmt(verb, f)?,
            }
        }
        Ok(())
    }
}

impl Display for Verb {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Verb::Say(say) => write!(f, "Say \"{}\"{}", clipped(&say.text), turns(say.turns)),
            Verb::Play(play) => match (&play.url, &play.digits) {
                (Some(url), _) => write!(f, "Play {}{}", short_url(url), turns(play.turns)),
                (None, digits) => write!(f, "Play digits {}", digits.as_deref().unwrap_or_default()),
            },
            Verb::Pause { seconds } => write!(f, "Pause {seconds} s"),
            Verb::Gather(gather) => write_gather(f, gather),
            Verb::Dial(dial) => {
                f.write_str("Dial ")?;
                for (place, noun) in dial.nouns.iter().enumerate() {
                    if place > 0 {
                        f.write_str(" and ")?;
                    }
                    let kind = match noun.kind {
                        NounKind::Number | NounKind::Sip => "",
                        NounKind::Client => "client ",
                        NounKind::Queue => "queue ",
                        NounKind::Conference => "conference ",
                    };
                    write!(f, "{kind}{}", clipped(&noun.name))?;
                    match noun.wait.as_deref() {
                        None => {}
                        Some("") => f.write_str(" in silence")?,
                        Some(url) => write!(f, " with {}", short_url(url))?,
                    }
                }
                Ok(())
            }
            Verb::Enqueue(enqueue) => write!(f, "Enqueue {}", clipped(&enqueue.name)),
            Verb::Record(record) => write!(f, "Record(up to {})", seconds(record.length_max)),
            Verb::Redirect(to) => write!(f, "Redirect {}", short_url(&to.url)),
            Verb::Hangup => f.write_str("Hangup"),
            Verb::Reject { busy } => write!(f, "Reject({})", if *busy { "busy" } else { "rejected" }),
            Verb::Leave => f.write_str("Leave"),
            Verb::Connect(_) => f.write_str("Stream"),
            Verb::StartRecording { .. } => f.write_str("Start recording"),
            Verb::StopRecording => f.write_str("Stop recording"),
        }
    }
}

fn write_gather(f: &mut Formatter<'_>, gather: &Gather) -> fmt::Result {
    f.write_str("Gather(")?;
    match (gather.digits, gather.dtmf) {
        (Some(1), _) => f.write_str("1 digit")?,
        (Some(digits), _) => write!(f, "{digits} digits")?,
        (None, true) => f.write_str("digits")?,
        (None, false) => {}
    }
    if gather.speech {
        f.write_str(if gather.dtmf { " or speech" } else { "speech" })?;
    }
    write!(f, ", {})", seconds(gather.timeout))?;
    if !gather.prompts.is_empty() {
        f.write_str("[")?;
        for (place, prompt) in gather.prompts.iter().enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            Display::fmt(prompt, f)?;
        }
        f.write_str("]")?;
    }
    Ok(())
}

/// The exchange that a URL of ours names (`…/next?x=3`).
fn exchange(url: &str) -> Option<&str> {
    let (_, query) = url.split_once('?')?;
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    query.split('&').find_map(|pair| pair.strip_prefix("x=")).filter(|number| !number.is_empty())
}

/// Host and query are noise in a transcript: the last two parts of the path say which it is.
fn short_url(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let mut parts: Vec<&str> = path.rsplit('/').filter(|part| !part.is_empty()).take(2).collect();
    parts.reverse();
    if parts.is_empty() { "itself".into() } else { clipped(&parts.join("/")) }
}

fn clipped(text: &str) -> String {
    if text.chars().count() <= TEXT_CHARACTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(TEXT_CHARACTERS_MAX - 1).chain(['…']).collect()
}

fn turns(turns: u32) -> String {
    if turns == 1 { String::new() } else { format!(" {turns} times") }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
