//! Whether all that a demo promises has happened: measured, not believed.

use std::path::Path;
use std::time::Duration;

use holdline_core::media::g711::ulaw_to_linear;
use holdline_core::media::wav::read_wav;
use holdline_harness::network::real::Story;
use holdline_harness::network::{Experience, Status};
use serde_json::Value;

use super::voice;

/// What is left of a prompt that was cut short: less could be chance.
const CUT_SHORT_BY: Duration = Duration::from_secs(1);
/// From a key to silence. Loopback takes a few milliseconds; a busy machine more, and a person still feels none of it.
const HUSHED_WITHIN: Duration = Duration::from_millis(500);
/// A beep of half a second and the echo.
const RECORDED_SECONDS: f64 = 4.5;
/// How far the recording may be from that: playing a beep to its end takes a little longer than the beep.
const RECORDING_SLACK: f64 = 0.75;

/// One promise, and how it went.
#[derive(Debug, PartialEq)]
pub(super) struct Check {
    pub(super) what: &'static str,
    pub(super) found: Result<String, String>,
}

/// All that there is to look at afterwards.
pub(super) struct Evidence<'e> {
    pub(super) story: &'e Story,
    pub(super) said: &'e [u8],
    /// The network's speed of speech.
    pub(super) per_character: Duration,
    /// The main workflow's activeflow as the API shows it, if it was found.
    pub(super) main: Option<&'e Value>,
    pub(super) recordings: &'e Path,
}

pub(super) fn all(evidence: &Evidence<'_>) -> Vec<Check> {
    let check = |what, found| Check { what, found };
    vec![
        check("greeting heard", greeting(evidence)),
        check("a key cut the spoken menu short", spoken_barge_in(evidence)),
        check("a key cut the streamed music short", streamed_barge_in(evidence)),
        check("echo", echo(evidence)),
        check("recording", recording(evidence)),
        check("bridge", bridge(evidence)),
        check("hang-up", hang_up(evidence)),
        check("completion", completion(evidence)),
        check("main workflow", main_workflow(evidence)),
    ]
}

fn greeting(evidence: &Evidence<'_>) -> Result<String, String> {
    let first = evidence.story.lived.iter().find_map(|(at, experience)| match experience {
        Experience::Hears { text } => Some((at, text)),
        _ => None,
    });
    match first {
        Some((at, text)) if text.contains("Welcome") => Ok(format!("after {:.2} s", at.as_secs_f64())),
        Some((_, text)) => Err(format!("expected a welcome, heard \"{text}\"")),
        None => Err("nothing was said".into()),
    }
}

fn spoken_barge_in(evidence: &Evidence<'_>) -> Result<String, String> {
    let mut lived = evidence.story.lived.iter();
    let menu = lived.find_map(|(at, experience)| match experience {
        Experience::Hears { text } if text.contains("press 1") => {
            let characters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
            Some((*at, evidence.per_character.saturating_mul(characters)))
        }
        _ => None,
    });
    let (began, whole) = menu.ok_or("the menu was not said")?;
    // Of what came after the menu began.
    let next = lived.find(|(_, experience)| matches!(experience, Experience::Fetched { .. }));
    let (next, _) = next.ok_or("no document followed the menu")?;
    let heard = next.saturating_sub(began);
    if heard + CUT_SHORT_BY > whole {
        return Err(format!("it sounded for {:.1} of {:.1} s", heard.as_secs_f64(), whole.as_secs_f64()));
    }
    Ok(format!("after {:.1} of {:.1} s", heard.as_secs_f64(), whole.as_secs_f64()))
}

fn streamed_barge_in(evidence: &Evidence<'_>) -> Result<String, String> {
    let lived = &evidence.story.lived;
    let find = |wanted: &dyn Fn(&Experience) -> bool, from: Duration| {
        let found = lived.iter().find(|(at, experience)| *at >= from && wanted(experience));
        found.map(|(at, _)| *at)
    };
    let up =
        find(&|lived| matches!(lived, Experience::StreamUp), Duration::ZERO).ok_or("no stream came up")?;
    let key = find(&|lived| matches!(lived, Experience::Digit { .. }), up)
        .ok_or("no key was pressed on the stream")?;
    let hushed =
        find(&|lived| matches!(lived, Experience::Cleared), key).ok_or("the music was not cleared")?;
    let took = hushed.saturating_sub(key);
    if took > HUSHED_WITHIN {
        return Err(format!(
            "it took {} ms, expected {} at most",
            took.as_millis(),
            HUSHED_WITHIN.as_millis()
        ));
    }
    let music = lived.iter().any(|(at, experience)| {
        *at >= hushed && matches!(experience, Experience::HearsAudio { ms, .. } if *ms >= 500)
    });
    if !music {
        return Err("no music was heard before".into());
    }
    let sounded = key.saturating_sub(up).as_secs_f64();
    Ok(format!("after {sounded:.1} of 6.0 s, within {} ms", took.as_millis()))
}

fn echo(evidence: &Evidence<'_>) -> Result<String, String> {
    let heard = voice::without_silence(&evidence.story.heard);
    let said = evidence.said;
    match position(&heard, said) {
        Some(_) => Ok(format!("all {} bytes came back as they were said", said.len())),
        None => {
            let same = (1..=said.len()).rev().step_by(160);
            let longest = same
                .into_iter()
                .find(|length| said.get(..*length).is_some_and(|part| position(&heard, part).is_some()));
            let longest = longest.unwrap_or(0);
            Err(format!("of {} bytes only the first {longest} came back unchanged", said.len()))
        }
    }
}

fn recording(evidence: &Evidence<'_>) -> Result<String, String> {
    let list = completion_of(evidence)?.get("recordings").and_then(Value::as_array);
    let [recording] = list.map_or(&[][..], Vec::as_slice) else {
        return Err(format!("expected one in the completion, got {}", list.map_or(0, Vec::len)));
    };
    let file = recording.get("file").and_then(Value::as_str).ok_or("it has no file")?;
    let path = evidence.recordings.join(file);
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let [caller, us] = two_channels(&bytes)?;
    let seconds = caller.len() as f64 / 8000.0;
    if (seconds - RECORDED_SECONDS).abs() > RECORDING_SLACK {
        return Err(format!("expected about {RECORDED_SECONDS} s, got {seconds:.2} s"));
    }
    let said: Vec<i16> = evidence.said.iter().map(|byte| ulaw_to_linear(*byte)).collect();
    if position(&caller, &said).is_none() {
        return Err("what the caller said is not in the caller's channel, sample for sample".into());
    }
    if !us.iter().any(|sample| sample.unsigned_abs() > 1000) {
        return Err("our channel has no sound in it".into());
    }
    Ok(format!("{file}, {seconds:.1} s in two channels, the caller's words in it"))
}

/// The samples of a file as we write it: 44 bytes of header, then PCM of 16 bits.
fn two_channels(file: &[u8]) -> Result<[Vec<i16>; 2], String> {
    read_wav(file).map_err(|error| error.to_string())?;
    let short = |at: usize| file.get(at..at + 2).and_then(|two| two.try_into().ok()).map(u16::from_le_bytes);
    let (channels, rate, bits) = (short(22), short(24), short(34));
    if (channels, rate, bits) != (Some(2), Some(8000), Some(16)) {
        return Err(format!(
            "expected 2 channels of 16 bits at 8000 Hz, got {channels:?}, {bits:?}, {rate:?}"
        ));
    }
    let samples = file.get(44..).unwrap_or_default().chunks_exact(4);
    let channel = |first: usize| {
        let pairs = samples.clone().filter_map(|frame| frame.get(first..first + 2)?.try_into().ok());
        pairs.map(i16::from_le_bytes).collect()
    };
    Ok([channel(0), channel(2)])
}

fn bridge(evidence: &Evidence<'_>) -> Result<String, String> {
    let lived = &evidence.story.lived;
    let bridged = lived.iter().find_map(|(at, experience)| match experience {
        Experience::Bridged { target } => Some((*at, target)),
        _ => None,
    });
    let (began, target) = bridged.ok_or("nobody was bridged")?;
    let over = lived.iter().find_map(|(at, experience)| match experience {
        Experience::Unbridged { result, .. } if result == "completed" => Some(*at),
        _ => None,
    });
    let talked = over.ok_or("the bridge did not end well")?.saturating_sub(began);
    Ok(format!("with {target} for {:.1} s", talked.as_secs_f64()))
}

fn hang_up(evidence: &Evidence<'_>) -> Result<String, String> {
    let by_caller = evidence.story.lived.iter().any(|(_, experience)| *experience == Experience::HangsUp);
    match evidence.story.status {
        Status::Completed if by_caller => {
            Ok(format!("by the caller, after {:.1} s", evidence.story.duration.as_secs_f64()))
        }
        Status::Completed => Err("expected the caller to hang up, Holdline did before".into()),
        status => Err(format!("expected the call to be completed, it is {}", status.word())),
    }
}

fn completion(evidence: &Evidence<'_>) -> Result<String, String> {
    let completion = completion_of(evidence)?;
    for (key, expected) in [
        ("callSid", evidence.story.call_sid.as_str()),
        ("callStatus", "completed"),
        ("endReason", "caller_hangup"),
        ("digits", "15"),
    ] {
        let got = completion.get(key).cloned().unwrap_or_default();
        if got != expected {
            return Err(format!("expected {key} \"{expected}\", got {got}"));
        }
    }
    Ok("caller_hangup, digits 15".into())
}

fn main_workflow(evidence: &Evidence<'_>) -> Result<String, String> {
    let main = evidence.main.ok_or("it was not found")?;
    let word = |key: &str| main.get(key).and_then(Value::as_str).unwrap_or("nothing");
    if (word("status"), word("end_reason")) != ("ended", "completed") {
        return Err(format!(
            "expected it to be ended and completed, it is {} and {}",
            word("status"),
            word("end_reason")
        ));
    }
    let subject = main.pointer("/outputs/note/subject").and_then(Value::as_str).unwrap_or("nothing");
    if !subject.starts_with("Call from +") {
        return Err(format!("expected it to note the caller, it noted {subject}"));
    }
    let steps = main.get("executed_actions").and_then(Value::as_array).map_or(0, Vec::len);
    Ok(format!("completed, {steps} steps: \"{subject}\""))
}

/// The trigger's output: what the call has told the main workflow.
fn completion_of<'e>(evidence: &Evidence<'e>) -> Result<&'e Value, String> {
    let main = evidence.main.ok_or("the main workflow was not found")?;
    main.pointer("/variables/incomingCall").ok_or_else(|| "the main workflow has none".to_owned())
}

fn position<T: PartialEq>(heard: &[T], wanted: &[T]) -> Option<usize> {
    heard.windows(wanted.len().max(1)).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_call_that_never_was_no_promise_is_kept() {
        let story = Story {
            call_sid: "CA1".to_owned(),
            status: Status::Failed,
            duration: Duration::ZERO,
            lived: Vec::new(),
            heard: Vec::new(),
        };
        let evidence = Evidence {
            story: &story,
            said: &voice::sentence(),
            per_character: Duration::from_millis(100),
            main: None,
            recordings: Path::new("nowhere"),
        };
        let checks = all(&evidence);
        assert_eq!(checks.len(), 9);
        for check in checks {
            assert!(check.found.is_err(), "{check:?}");
        }
    }

    #[test]
    fn a_prompt_that_was_said_to_its_end_was_not_cut_short() {
        let at = Duration::from_millis;
        let menu = "For this, press 1. For that, press 2.".to_owned();
        let fetched = || Experience::Fetched { url: String::new(), document: String::new() };
        let heard_for = |ms| {
            let story = Story {
                call_sid: "CA1".to_owned(),
                status: Status::Completed,
                duration: at(9000),
                lived: vec![
                    (at(10), fetched()),
                    (at(10), Experience::Hears { text: menu.clone() }),
                    (at(ms), fetched()),
                ],
                heard: Vec::new(),
            };
            let evidence = Evidence {
                story: &story,
                said: &[],
                per_character: at(100),
                main: None,
                recordings: Path::new("nowhere"),
            };
            spoken_barge_in(&evidence).is_ok()
        };
        assert!(heard_for(1500) && !heard_for(3710));
    }

    #[test]
    fn an_echo_with_one_wrong_byte_is_told_from_a_true_one() {
        let said = voice::sentence();
        let echoed = |wrong: Option<usize>| {
            // As it comes: with gaps where a frame was late.
            let mut heard: Vec<u8> = Vec::new();
            for frame in said.chunks(160) {
                heard.extend([0xFF; 3]);
                heard.extend(frame);
            }
            if let Some(byte) = wrong.and_then(|place| heard.get_mut(place)) {
                *byte ^= 1;
            }
            let story = Story {
                call_sid: "CA1".to_owned(),
                status: Status::Completed,
                duration: Duration::ZERO,
                lived: Vec::new(),
                heard,
            };
            let evidence = Evidence {
                story: &story,
                said: &said,
                per_character: Duration::ZERO,
                main: None,
                recordings: Path::new("nowhere"),
            };
            echo(&evidence).is_ok()
        };
        assert!(echoed(None) && !echoed(Some(5000)));
    }
}
