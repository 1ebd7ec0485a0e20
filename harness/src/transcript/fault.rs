//! What goes wrong inside and around the house, as lines of a play.

use super::seconds;
use crate::stage::fate::{Fault, Mishap};
use std::time::Duration;

/// `None` when these words are about something else.
pub(super) fn parse(words: &[&str]) -> Option<Result<Fault, String>> {
    Some(match words {
        ["disk", "takes", time] => seconds(time).map(Fault::DiskTakes),
        ["disk", "fails", "for", time] => seconds(time).map(Fault::DiskFails),
        ["others", "take", time] => seconds(time).map(Fault::OthersTake),
        ["others", "answer", status, rest @ ..] => number(status)
            .and_then(|status| Ok((status, times(rest)?)))
            .map(|(status, times)| Fault::Others { mishap: Mishap::Answers(status), times }),
        ["others", "are", "silent", rest @ ..] => {
            times(rest).map(|times| Fault::Others { mishap: Mishap::Silent, times })
        }
        ["others", "lose", "their", "answer", rest @ ..] => {
            times(rest).map(|times| Fault::Others { mishap: Mishap::Lost, times })
        }
        ["clock", "jumps", time] => seconds(time).map(|by| Fault::ClockJumps(millis(by))),
        ["clock", "jumps", "back", time] => seconds(time).map(|by| Fault::ClockJumps(-millis(by))),
        ["server", "crashes", "behind", rest @ ..] => dies(rest),
        _ => return None,
    })
}

/// `7 effects [keeping 1 batch] [for 2s]`
fn dies(words: &[&str]) -> Result<Fault, String> {
    let [behind, "effects", rest @ ..] = words else {
        return Err(format!("expected how many effects, got `{}`", words.join(" ")));
    };
    let (keeps, rest) = match rest {
        ["keeping", keeps, "batches", rest @ ..] => (number(keeps)?, rest),
        rest => (0, rest),
    };
    let down = match rest {
        [] => Duration::ZERO,
        ["for", time] => seconds(time)?,
        other => return Err(format!("expected `keeping 1 batches` or `for 2s`, got `{}`", other.join(" "))),
    };
    Ok(Fault::Dies { behind: number(behind)?, keeps, down })
}

fn times(words: &[&str]) -> Result<u32, String> {
    match words {
        [] | ["once"] => Ok(1),
        [times, "times"] => number(times),
        other => Err(format!("expected `3 times`, got `{}`", other.join(" "))),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("expected a number, got `{text}`"))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
