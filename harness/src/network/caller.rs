//! A scripted caller: lines that say when, and what the caller then does.
//!
//! ```text
//! 1.5 presses 2
//! +0.5 says "I need help"
//! after "Press 1" presses 1        # when that much of the text was heard
//! after stream +1 plays in.wav
//! 9 hangs up
//! ```
//! Lines are done in their order: a line waits for its time, or for what it names, once the line before it is done.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use holdline_core::Tick;

use super::tone;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script {
    pub lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub when: When,
    pub act: Act,
}

#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// Since the call began to ring.
    At(Duration),
    /// Since the line before was done.
    After(Duration),
    /// Since the network's voice had said this.
    Heard(String, Duration),
    /// Since this happened, or since the line before was done if it holds already.
    Since(Moment, Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    Answer,
    Stream,
    Ringing,
    Bridge,
    Queue,
}

/// What a caller, or the line under the caller, does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// `w` waits half a second.
    Presses(String),
    /// µ-law, 8000 Hz.
    Plays(Arc<[u8]>),
    /// A file that [`Script::load`] has not read yet.
    PlaysFile(String),
    Says(String),
    HangsUp,
    /// The network's side of the stream's socket is gone, without a close.
    DropsSocket,
    /// The network's next request never arrives, and times out.
    LosesRequest,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct Error {
    pub line: usize,
    pub why: String,
}

const LINES_MAX: usize = 10_000;

impl Script {
    pub fn parse(text: &str) -> Result<Script, Error> {
        let mut lines = Vec::new();
        for (place, line) in text.lines().enumerate() {
            let number = place + 1;
            let at = |why: String| Error { line: number, why };
            let words = words(line).map_err(at)?;
            if words.is_empty() || line.trim_start().starts_with('#') {
                continue;
            }
            if lines.len() == LINES_MAX {
                return Err(at(format!("expected at most {LINES_MAX} lines")));
            }
            let mut words = words.into_iter().collect();
            let when = when(&mut words).map_err(at)?;
            let act = act(&mut words).map_err(at)?;
            match words.pop_front() {
                Some(word) if !word.starts_with('#') => {
                    return Err(at(format!("expected the end, got `{word}`")));
                }
                _ => lines.push(Line { when, act }),
            }
        }
        Ok(Script { lines })
    }

    /// The short form of a command line: `2@1.5s`, several in the order of their times.
    pub fn presses<'a>(given: impl IntoIterator<Item = &'a str>) -> Result<Script, Error> {
        let mut lines = Vec::new();
        for (place, press) in given.into_iter().enumerate() {
            let at = |why: String| Error { line: place + 1, why };
            let Some((digits, time)) = press.split_once('@') else {
                return Err(at(format!("expected keys@time, as in 2@1.5s, got `{press}`")));
            };
            let time = seconds(time).map_err(at)?;
            let digits = keys(digits).map_err(at)?;
            lines.push((time, Line { when: When::At(time), act: Act::Presses(digits) }));
        }
        lines.sort_by_key(|(time, _)| *time);
        Ok(Script { lines: lines.into_iter().map(|(_, line)| line).collect() })
    }

    /// Replaces every file by its sound. `read` gives the bytes of a WAV file.
    pub fn load(&mut self, mut read: impl FnMut(&str) -> std::io::Result<Vec<u8>>) -> Result<(), Error> {
        for (place, line) in self.lines.iter_mut().enumerate() {
            if let Act::PlaysFile(path) = &line.act {
                let wrong = |why: String| Error { line: place + 1, why: format!("{path}: {why}") };
                let file = read(path).map_err(|why| wrong(why.to_string()))?;
                let audio = tone::read_wav(&file).map_err(|why| wrong(why.to_string()))?;
                line.act = Act::Plays(audio.into());
            }
        }
        Ok(())
    }

    pub fn then(mut self, when: When, act: Act) -> Script {
        self.lines.push(Line { when, act });
        self
    }
}

fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
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

fn when(words: &mut VecDeque<String>) -> Result<When, String> {
    let first = words.pop_front().unwrap_or_default();
    if let Some(after) = first.strip_prefix('+') {
        return seconds(after).map(When::After);
    }
    if first != "after" {
        return seconds(&first).map(When::At);
    }
    let what = words.pop_front().ok_or("expected what to wait for after `after`")?;
    let then = match words.front().and_then(|word| word.strip_prefix('+')) {
        Some(time) => {
            let time = seconds(time)?;
            words.pop_front();
            time
        }
        None => Duration::ZERO,
    };
    if let Some(text) = what.strip_prefix('"') {
        return Ok(When::Heard(text.to_owned(), then));
    }
    let moment = match what.as_str() {
        "answer" => Moment::Answer,
        "stream" => Moment::Stream,
        "ringing" => Moment::Ringing,
        "bridge" => Moment::Bridge,
        "queue" => Moment::Queue,
        other => {
            return Err(format!(
                "expected a quoted text, answer, stream, ringing, bridge or queue, got `{other}`"
            ));
        }
    };
    Ok(When::Since(moment, then))
}

fn act(words: &mut VecDeque<String>) -> Result<Act, String> {
    let verb = words.pop_front().ok_or("expected what the caller does, got nothing")?;
    let mut next = |what: &str| words.pop_front().ok_or_else(|| format!("expected {what} after `{verb}`"));
    match verb.as_str() {
        "presses" => keys(next("keys")?.trim_start_matches('"')).map(Act::Presses),
        "says" => Ok(Act::Says(next("a quoted text")?.trim_start_matches('"').to_owned())),
        "plays" => {
            let what = next("a file or a tone")?;
            if what != "tone" {
                return Ok(Act::PlaysFile(what.trim_start_matches('"').to_owned()));
            }
            sound(&next("a frequency")?, &next("a length")?)
        }
        "tone" => sound(&next("a frequency")?, &next("a length")?),
        "hangs" if words.front().is_some_and(|word| word == "up") => {
            words.pop_front();
            Ok(Act::HangsUp)
        }
        "drops" => {
            words.retain(|word| word != "the" && word != "socket");
            Ok(Act::DropsSocket)
        }
        "loses" => {
            words.retain(|word| word != "a" && word != "request");
            Ok(Act::LosesRequest)
        }
        other => Err(format!(
            "expected presses, says, plays, tone, hangs up, drops the socket or loses a request, got `{other}`"
        )),
    }
}

fn sound(hertz: &str, length: &str) -> Result<Act, String> {
    let number: f64 = hertz
        .trim_end_matches("Hz")
        .parse()
        .map_err(|_| format!("expected a frequency in Hz, got `{hertz}`"))?;
    if !(20.0..4000.0).contains(&number) {
        return Err(format!("expected a frequency from 20 to 4000 Hz, got `{hertz}`"));
    }
    Ok(Act::Plays(tone::tone(number, seconds(length)?).into()))
}

fn keys(digits: &str) -> Result<String, String> {
    let wrong = digits.chars().find(|key| !matches!(key, '0'..='9' | '#' | '*' | 'w' | 'A'..='D'));
    match wrong {
        None if !digits.is_empty() => Ok(digits.to_owned()),
        _ => Err(format!("expected keys (0-9 # * A-D, w waits half a second), got `{digits}`")),
    }
}

/// `1.5`, `1.5s`, `250ms`, at most a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let (number, factor) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').unwrap_or(text), 1.0),
    };
    let wrong = || format!("expected a time such as 1.5, 1.5s or 250ms, got `{text}`");
    let value: f64 = number.parse().map_err(|_| wrong())?;
    // To the microsecond: a tick is no finer, and 0.1 s shall be 100 ms exactly.
    let micros = (value * factor * 1e6).round();
    if (0.0..=86_400e6).contains(&micros) { Ok(Duration::from_micros(micros as u64)) } else { Err(wrong()) }
}

/// The caller at work.
#[derive(Debug, Default)]
pub(super) struct Caller {
    lines: VecDeque<Line>,
    began: Tick,
    /// When the line before was done.
    since: Tick,
    /// When the first line is due, as far as that is known.
    due: Option<Tick>,
    holding: BTreeSet<Moment>,
    sounding: Option<Sounding>,
}

#[derive(Debug)]
struct Sounding {
    text: String,
    began: Tick,
    per_character: Duration,
}

impl Caller {
    pub(super) fn new(script: Script) -> Caller {
        Caller { lines: script.lines.into(), ..Caller::default() }
    }

    pub(super) fn begin(&mut self, at: Tick) {
        self.began = at;
        self.since = at;
        self.arm();
    }

    pub(super) fn wake_at(&self) -> Option<Tick> {
        self.due
    }

    pub(super) fn next(&mut self, at: Tick) -> Option<Act> {
        let due = self.due.filter(|due| *due <= at)?;
        self.since = due;
        let line = self.lines.pop_front();
        self.arm();
        line.map(|line| line.act)
    }

    /// The network's voice begins to say `text`.
    pub(super) fn hears(&mut self, at: Tick, text: &str, per_character: Duration) {
        self.sounding = Some(Sounding { text: text.to_lowercase(), began: at, per_character });
        if self.due.is_none() {
            self.arm();
        }
    }

    /// The voice has stopped, at the end or before: what it did not say can't be waited for.
    pub(super) fn hears_no_more(&mut self, at: Tick) {
        self.sounding = None;
        let unsaid = matches!(self.lines.front(), Some(Line { when: When::Heard(_, then), .. })
            if self.due.is_some_and(|due| due > at + *then));
        if unsaid {
            self.due = None;
        }
    }

    pub(super) fn notices(&mut self, at: Tick, moment: Moment, holds: bool) {
        if holds {
            self.holding.insert(moment)
        } else {
            self.holding.remove(&moment)
        };
        if let Some(Line { when: When::Since(waited, then), .. }) = self.lines.front()
            && *waited == moment
            && holds
            && self.due.is_none()
        {
            self.due = Some(at + *then);
        }
    }

    pub(super) fn stop(&mut self) {
        self.lines.clear();
        self.due = None;
    }

    fn arm(&mut self) {
        self.due = match self.lines.front().map(|line| &line.when) {
            None => None,
            Some(When::At(time)) => Some((self.began + *time).max(self.since)),
            Some(When::After(time)) => Some(self.since + *time),
            Some(When::Since(moment, then)) => self.holding.contains(moment).then(|| self.since + *then),
            Some(When::Heard(text, then)) => self.said_at(text).map(|said| said + *then),
        };
    }

    /// When the text that sounds now will have said `text`, if that lies ahead.
    fn said_at(&self, text: &str) -> Option<Tick> {
        let sounding = self.sounding.as_ref()?;
        let wanted = text.to_lowercase();
        sounding.text.match_indices(&wanted).find_map(|(place, found)| {
            let characters = sounding.text.get(..place + found.len())?.chars().count();
            let said =
                sounding.began + sounding.per_character.saturating_mul(u32::try_from(characters).ok()?);
            (said > self.since).then_some(said)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_as_it_is_written() {
        let script = Script::parse(
            "# a comment\n\n1.5 presses 2#\n2.0s says \"I \\\"need\\\" help\"\n250ms plays \"a b.wav\"\n+1 tone 440 2s  # loud\n\
             after \"Press 1\" +0.5 presses 1w2\nafter stream plays in.wav\n8 drops the socket\n8 loses a request\n9 hangs up",
        )
        .unwrap();
        assert_eq!(script.lines.len(), 9);
        assert_eq!(
            script.lines[0],
            Line { when: When::At(Duration::from_millis(1500)), act: Act::Presses("2#".into()) }
        );
        assert_eq!(script.lines[1].act, Act::Says("I \"need\" help".into()));
        assert_eq!(script.lines[2].act, Act::PlaysFile("a b.wav".into()));
        assert_eq!(script.lines[4].when, When::Heard("Press 1".into(), Duration::from_millis(500)));
        assert_eq!(script.lines[8].act, Act::HangsUp);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, why) in [
            ("1 presses 2\nsoon presses 2", "line 2: expected a time such as 1.5, 1.5s or 250ms, got `soon`"),
            ("\n1 presses x", "line 2: expected keys (0-9 # * A-D, w waits half a second), got `x`"),
            (
                "1 hangs down",
                "line 1: expected presses, says, plays, tone, hangs up, drops the socket or loses a request, got `hangs`",
            ),
            ("1 presses 2 3", "line 1: expected the end, got `3`"),
            ("1 says \"help", "line 1: expected a closing quote"),
            (
                "after lunch hangs up",
                "line 1: expected a quoted text, answer, stream, ringing, bridge or queue, got `lunch`",
            ),
        ] {
            assert_eq!(Script::parse(text).map_err(|error| error.to_string()), Err(why.to_owned()), "{text}");
        }
        assert_eq!(Script::presses(["2@"]).map_err(|error| error.line), Err(1));
        let script = Script::presses(["2@1.5s", "1@250ms"]).unwrap();
        assert_eq!(script.lines[0].act, Act::Presses("1".into()));
    }

    #[test]
    fn a_caller_waits_until_the_words_were_said() {
        let script = Script::parse("after \"press 1\" presses 1\nafter \"press 1\" presses 2").unwrap();
        let mut caller = Caller::new(script);
        caller.begin(Tick(0));
        assert_eq!(caller.wake_at(), None);
        caller.hears(Tick::from_millis(1000), "Please press 1, or press 1 again", Duration::from_millis(100));
        assert_eq!(caller.wake_at(), Some(Tick::from_millis(2400)));
        assert_eq!(caller.next(Tick::from_millis(2400)), Some(Act::Presses("1".into())));
        assert_eq!(caller.wake_at(), Some(Tick::from_millis(3600)));
        // Interrupted before it said so a second time: the line waits on.
        caller.hears_no_more(Tick::from_millis(2400));
        assert_eq!(caller.wake_at(), None);
    }
}
