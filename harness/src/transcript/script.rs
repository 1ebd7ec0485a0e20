//! The lines of a play: what the world does, and when.

use super::{Error, seconds, unquoted, words};
use crate::network::Script;
use crate::network::caller::Act as CallerAct;
use crate::stage::fate::Fault;
use holdline_core::Tick;
use std::time::Duration;

/// One thing that the world does.
#[derive(Debug, Clone, PartialEq)]
pub struct Cue {
    pub at: Tick,
    /// As written.
    pub time: String,
    pub text: String,
    /// Comments and blank lines above it.
    pub notes: Vec<String>,
    pub act: Act,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// The caller, or the line under the caller.
    Caller(CallerAct),
    /// A status callback of its own, beyond what the network sends by itself.
    Posts {
        status: String,
        call: Option<String>,
    },
    /// The last request for a document, byte for byte.
    Repeats,
    /// The request for a document of this number, from 1, as if it were a new one: nothing in it says that it is not.
    RepeatsAnew {
        number: usize,
    },
    /// A request of the script's own; a stranger's is not signed.
    Asks {
        path: String,
        call: Option<String>,
        fields: Vec<(String, String)>,
        signed: bool,
    },
    /// The process dies; another one folds the journal after so long.
    Crash {
        down: Duration,
    },
    /// The session of the story's call panics.
    Panics,
    /// No new calls from now on.
    Drains,
    /// The process closes its streams and goes; another one takes over.
    HandsOver,
    /// The process gets no time.
    StandsStill {
        span: Duration,
    },
    Api {
        what: Api,
    },
    /// Something goes wrong in the house, or with those that it asks.
    Fault(Fault),
    /// The call's socket dies without a word behind so many more messages, whoever sends them.
    SocketDies {
        behind: u32,
    },
    /// A socket of its own, or (`None`) the call's.
    Socket {
        name: Option<String>,
        does: SocketAct,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    HangsUp,
    Stops,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketAct {
    /// With the token of that document.
    OpensDocument(u32),
    OpensWrong,
    /// At this path.
    OpensAt(String),
    /// Says `start`, for the story's call or another one.
    Starts(Option<String>),
    /// With a media format that is not the usual one.
    StartsInFormat(String),
    Sends {
        text: String,
        times: u32,
    },
    SendsBinary {
        times: u32,
    },
    /// The other end reads nothing for so long.
    TakesNothing(Duration),
    Stops,
    Closes,
}

pub(super) fn parse(lines: &[&str], from: usize) -> Result<Vec<Cue>, Error> {
    let mut cues: Vec<Cue> = Vec::new();
    let mut notes = Vec::new();
    for (place, line) in lines.iter().enumerate().skip(from) {
        let at = |why: String| Error { line: place + 1, why };
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            notes.push(line.trim_end().to_owned());
            continue;
        }
        let (time, rest) = trimmed.split_once(char::is_whitespace).unwrap_or((trimmed, ""));
        let rest = rest.trim();
        if rest.starts_with("<-") {
            // Comments among what came out can't be kept apart from it: they belong above a cue.
            notes.clear();
            continue;
        }
        let due = Tick(0) + seconds(time).map_err(at)?;
        if cues.last().is_some_and(|last| last.at > due) {
            return Err(at("expected the lines in the order of their times".into()));
        }
        let act = act(rest).map_err(at)?;
        let notes = std::mem::take(&mut notes);
        cues.push(Cue { at: due, time: time.to_owned(), text: rest.to_owned(), notes, act });
    }
    Ok(cues)
}

fn act(text: &str) -> Result<Act, String> {
    let words = words(text)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Some(fault) = super::fault::parse(&words) {
        return fault.map(Act::Fault);
    }
    match words.as_slice() {
        ["caller", ..] => caller(text.trim_start_matches("caller")),
        ["network", "drops", "the", "socket"] => caller("drops the socket"),
        ["network", "drops", "the", "socket", "behind", number, "messages"] => {
            let behind = number.parse().map_err(|_| format!("expected how many, got `{number}`"))?;
            Ok(Act::SocketDies { behind })
        }
        ["network", "loses", "a", "request"] => caller("loses a request"),
        ["network", "posts", status] => Ok(Act::Posts { status: (*status).to_owned(), call: None }),
        ["network", "posts", status, "of", "call", call] => {
            Ok(Act::Posts { status: (*status).to_owned(), call: Some((*call).to_owned()) })
        }
        ["network", "repeats", "the", "last", "request"] => Ok(Act::Repeats),
        ["network", "repeats", "request", number] => {
            let number = number.parse().map_err(|_| format!("expected which one, got `{number}`"))?;
            Ok(Act::RepeatsAnew { number })
        }
        ["network", "asks", path, rest @ ..] => asks(path, rest, true),
        ["stranger", "asks", path, rest @ ..] => asks(path, rest, false),
        ["server", "crashes"] => Ok(Act::Crash { down: Duration::ZERO }),
        ["server", "is", "down", time] => Ok(Act::Crash { down: seconds(time)? }),
        ["server", "drains"] => Ok(Act::Drains),
        ["server", "hands", "over"] => Ok(Act::HandsOver),
        ["server", "stands", "still", time] => Ok(Act::StandsStill { span: seconds(time)? }),
        ["session", "panics"] => Ok(Act::Panics),
        ["api", "hangs", "up"] => Ok(Act::Api { what: Api::HangsUp }),
        ["api", "stops"] => Ok(Act::Api { what: Api::Stops }),
        ["socket", name, rest @ ..] if name.len() == 1 => {
            Ok(Act::Socket { name: Some((*name).to_owned()), does: socket(rest)? })
        }
        ["socket", rest @ ..] => Ok(Act::Socket { name: None, does: socket(rest)? }),
        _ => Err(format!(
            "expected what caller, network, stranger, server, session, api, disk, others, clock or socket do, got `{text}`"
        )),
    }
}

fn caller(text: &str) -> Result<Act, String> {
    let script = Script::parse(&format!("0 {text}")).map_err(|error| error.why)?;
    let line = script.lines.into_iter().next().ok_or("expected what the caller does")?;
    Ok(Act::Caller(line.act))
}

fn asks(path: &str, rest: &[&str], signed: bool) -> Result<Act, String> {
    let mut call = None;
    let mut fields = Vec::new();
    let mut rest = rest;
    loop {
        rest = match rest {
            [] => return Ok(Act::Asks { path: path.to_owned(), call, fields, signed }),
            ["of", "call", sid, rest @ ..] => {
                call = Some(unquoted(sid).to_owned());
                rest
            }
            ["with", pair, rest @ ..] => {
                let (name, value) = unquoted(pair)
                    .split_once('=')
                    .ok_or_else(|| format!("expected name=value, got `{pair}`"))?;
                fields.push((name.to_owned(), value.to_owned()));
                rest
            }
            [other, ..] => return Err(format!("expected `of call` or `with`, got `{other}`")),
        };
    }
}

fn socket(words: &[&str]) -> Result<SocketAct, String> {
    let times = |text: &str| text.parse().map_err(|_| format!("expected how often, got `{text}`"));
    Ok(match words {
        ["opens", "document", number] => SocketAct::OpensDocument(times(number)?),
        ["opens", "with", "a", "wrong", "token"] => SocketAct::OpensWrong,
        ["opens", path] => SocketAct::OpensAt((*path).to_owned()),
        ["starts"] => SocketAct::Starts(None),
        ["starts", "for", call] => SocketAct::Starts(Some((*call).to_owned())),
        ["starts", "in", format] => SocketAct::StartsInFormat((*format).to_owned()),
        ["sends", "binary"] => SocketAct::SendsBinary { times: 1 },
        ["sends", "binary", number, "times"] => SocketAct::SendsBinary { times: times(number)? },
        ["sends", text] => SocketAct::Sends { text: unquoted(text).to_owned(), times: 1 },
        ["sends", text, number, "times"] => {
            SocketAct::Sends { text: unquoted(text).to_owned(), times: times(number)? }
        }
        ["takes", "nothing", "for", time] => SocketAct::TakesNothing(seconds(time)?),
        ["stops"] => SocketAct::Stops,
        ["closes"] => SocketAct::Closes,
        other => return Err(format!("expected what a socket does, got `{}`", other.join(" "))),
    })
}
