//! What the caller does: a plain caller script, the caller's part of a call transcript, or keys with their times.

use std::path::Path;

use holdline_harness::network::caller::{Act, Moment, When};

use super::{Error, Script, ulaw};
use crate::cli::arguments::Press;

/// A script, and the number that it calls from if it says so.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Caller {
    pub(super) script: Script,
    pub(super) from: Option<String>,
}

pub(super) fn read(path: &Path) -> Result<Caller, Error> {
    let wrong = |why: String| Error::File { path: path.display().to_string(), why };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let mut caller = parse(&text).map_err(wrong)?;
    // Sound files are named from where the script is.
    let folder = path.parent().unwrap_or(Path::new(""));
    for line in &mut caller.script.lines {
        if let Act::PlaysFile(name) = &line.act {
            line.act = Act::Plays(ulaw(&folder.join(name))?.into());
        }
    }
    Ok(caller)
}

/// Keys at times that count from the answer.
pub(super) fn presses(given: &[Press]) -> Script {
    let mut sorted: Vec<&Press> = given.iter().collect();
    sorted.sort_by_key(|press| press.at);
    let mut script = Script::default();
    let mut before = None;
    for Press { keys, at } in sorted {
        let when = match before {
            None => When::Since(Moment::Answer, *at),
            Some(before) => When::After(at.saturating_sub(before)),
        };
        before = Some(*at);
        script = script.then(when, Act::Presses(keys.clone()));
    }
    script
}

fn parse(text: &str) -> Result<Caller, String> {
    let is_transcript = parts(text).any(|part| part.is_some());
    if !is_transcript {
        let script = Script::parse(text).map_err(|error| error.to_string())?;
        return Ok(Caller { script, from: None });
    }
    let mut caller = Caller::default();
    let mut own = String::new();
    for part in parts(text) {
        if let Some((time, does)) = part {
            match does.strip_prefix("rings") {
                Some(rings) => {
                    let number = rings.split_whitespace().skip_while(|word| *word != "from").nth(1);
                    caller.from = number.map(str::to_owned).or(caller.from);
                }
                None => own.push_str(&format!("{time} {does}")),
            }
        }
        // Every line stays in its place, so that an error names the line of the file.
        own.push('\n');
    }
    caller.script = Script::parse(&own).map_err(|error| error.to_string())?;
    Ok(caller)
}

/// Line by line what the caller does; nothing for a line of somebody else, and for the workflows in a transcript's head.
fn parts(text: &str) -> impl Iterator<Item = Option<(&str, &str)>> {
    let mut in_workflow = false;
    text.lines().map(move |line| {
        let was_in_workflow = in_workflow;
        in_workflow = if in_workflow { line.trim_end() != ">>" } else { line.trim_end().ends_with("<<") };
        callers_part(line).filter(|_| !was_in_workflow)
    })
}

/// ` 1.9  caller  presses 2` as `1.9` and `presses 2`.
fn callers_part(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (time, rest) = line.split_once(char::is_whitespace)?;
    let rest = rest.trim_start().strip_prefix("caller")?;
    let does = rest.trim_start();
    (does.len() < rest.len() && !time.starts_with('#')).then_some((time, does))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TRANSCRIPT: &str = "# A caller who presses 2.\nflow    menu\n\n 0.0  caller  rings from +14155550142\n \
        0.0  <- answers with a stream\n 1.9  caller  presses 2\n 2.0  line    played\n+0.5  caller  hangs up  # done\n";

    #[test]
    fn of_a_transcript_only_the_callers_part_is_performed() {
        let caller = parse(TRANSCRIPT).unwrap();
        assert_eq!(caller.from.as_deref(), Some("+14155550142"));
        assert_eq!(caller.script, Script::parse("1.9 presses 2\n+0.5 hangs up").unwrap());
        let plain = "1.9 presses 2\n+0.5 hangs up\n";
        assert_eq!(parse(plain).unwrap().script, caller.script);
    }

    #[test]
    fn every_story_of_a_call_has_a_callers_part_that_can_be_performed() {
        let stories = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calls");
        let mut acts = 0;
        for entry in std::fs::read_dir(stories).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "call") {
                let text = std::fs::read_to_string(&path).unwrap();
                let performed = text.lines().filter(|line| callers_part(line).is_some()).count();
                if performed > 0 {
                    acts += read(&path).unwrap().script.lines.len();
                }
            }
        }
        assert!(acts > 10, "{acts}");
    }

    #[test]
    fn what_a_workflow_in_the_head_says_is_not_done() {
        let text = "flow story <<\n  x: caller hangs up\n>>\n 1.0  caller  presses 1\n";
        assert_eq!(parse(text).unwrap().script, Script::parse("1.0 presses 1").unwrap());
    }

    #[test]
    fn an_error_names_the_line_of_the_file() {
        let said = parse(&TRANSCRIPT.replace("presses 2\n", "presses x\n")).unwrap_err();
        assert!(said.starts_with("line 6:"), "{said}");
    }

    #[test]
    fn keys_are_pressed_in_the_order_of_their_times_from_the_answer() {
        let press = |keys: &str, ms| Press { keys: keys.to_owned(), at: Duration::from_millis(ms) };
        let script = presses(&[press("2", 1500), press("1", 500)]);
        let expected = Script::default()
            .then(When::Since(Moment::Answer, Duration::from_millis(500)), Act::Presses("1".to_owned()))
            .then(When::After(Duration::from_millis(1000)), Act::Presses("2".to_owned()));
        assert_eq!(script, expected);
    }
}
