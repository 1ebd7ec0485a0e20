//! `digits_receive`: keys that the caller presses; by the network's Gather or on the stream.

use super::{Action, Done, Fault, Happened, Parameters, Road, Scene, Step, Want};
use crate::document::{Gather, Verb};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::limit::DIGITS_MAX;
use crate::notice::LineAnswer;
use serde_json::{Value, json};

const DURATION_MS: u64 = 5000;

pub struct DigitsReceive;

impl Action for DigitsReceive {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn gathers(&self, parameters: &Parameters<'_>, always_stream: bool) -> bool {
        // Between keys the network waits as long as for the first one, and knows one finishing key.
        !always_stream
            && parameters.value("inter_digit").is_none()
            && parameters.text("key").unwrap_or("").chars().count() <= 1
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let wish = Wish::of(&scene.parameters);
        // Only once: what was typed while it was under way before a crash counts.
        if wish.clear && scene.memory.is_null() {
            scene.clear_typed();
        }
        if let Some(done) = wish.complete(scene.typed) {
            return Ok(if scene.undone { Step::Needs(Want::Undone) } else { Step::Done(done) });
        }
        match scene.road(self.gathers(&scene.parameters, scene.always_stream), true) {
            Road::Verb => {
                let typed = scene.typed.chars().count() as u64;
                let left = (wish.length > 0).then(|| wish.length.saturating_sub(typed).max(1));
                let gather = Gather {
                    num_digits: left.map(|left| u32::try_from(left).unwrap_or(u32::MAX)),
                    timeout_s: u32::try_from(wish.duration_ms.div_ceil(1000).max(1)).unwrap_or(u32::MAX),
                    finish_on_key: wish.key.to_owned(),
                    action_on_empty_result: true,
                    ..Gather::default()
                };
                Ok(Step::Render { verbs: vec![Verb::Gather(gather)], last: true })
            }
            Road::Stream => {
                scene.live.on_stream = true;
                let wait = if scene.typed.is_empty() { wish.duration_ms } else { wish.inter_digit_ms };
                scene.due_in_ms(wait);
                Ok(Step::Wait { memory: json!({}) })
            }
            Road::Not(want) => Ok(Step::Needs(want)),
        }
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        let wish = Wish::of(&scene.parameters);
        Ok(match happened {
            Happened::Performed(answer) => Step::Done(wish.gathered(scene.typed, answer)),
            Happened::Pressed(_) => match wish.complete(scene.typed) {
                Some(done) => Step::Done(done),
                None => {
                    scene.due_in_ms(wish.inter_digit_ms);
                    Step::Stay
                }
            },
            Happened::Due => Step::Done(received(scene.typed, "timeout", "")),
            Happened::Sounded { .. } | Happened::Recorded(_) | Happened::Fetched { .. } => Step::Stay,
        })
    }
}

struct Wish<'p> {
    duration_ms: u64,
    inter_digit_ms: u64,
    /// 0: no limit.
    length: u64,
    key: &'p str,
    clear: bool,
}

impl<'p> Wish<'p> {
    fn of(parameters: &Parameters<'p>) -> Wish<'p> {
        let duration_ms = parameters.amount("duration").unwrap_or(DURATION_MS);
        Wish {
            duration_ms,
            inter_digit_ms: parameters.amount("inter_digit").unwrap_or(duration_ms),
            length: parameters.amount("length").unwrap_or(0),
            key: parameters.text("key").unwrap_or(""),
            clear: parameters.flag("clear", false),
        }
    }

    /// The end, if these digits bring it; what was typed beyond it stays for the next one.
    fn complete(&self, typed: &str) -> Option<Done> {
        for (count, (at, digit)) in typed.char_indices().enumerate() {
            if self.length > 0 && count as u64 >= self.length {
                break;
            }
            if self.key.contains(digit) {
                let (digits, rest) = typed.split_at_checked(at)?;
                return Some(received(digits, "key", rest.get(digit.len_utf8()..)?));
            }
        }
        let all = if self.length > 0 { usize::try_from(self.length).ok()? } else { DIGITS_MAX };
        let (end, last) = typed.char_indices().nth(all.checked_sub(1)?)?;
        let (digits, rest) = typed.split_at_checked(end + last.len_utf8())?;
        Some(received(digits, "length", rest))
    }

    /// What a Gather brought, after what was typed ahead. The network leaves out the finishing key.
    fn gathered(&self, typed: &str, answer: &LineAnswer) -> Done {
        let came = match answer {
            LineAnswer::Gathered { digits, .. } => digits.as_str(),
            _ => "",
        };
        let all = format!("{typed}{came}");
        let count = all.chars().count() as u64;
        if self.length > 0 && count >= self.length {
            let end = all.char_indices().nth(usize::try_from(self.length).unwrap_or(usize::MAX));
            let (digits, rest) = all.split_at(end.map_or(all.len(), |(at, _)| at));
            return received(digits, "length", rest);
        }
        let ended_by = if came.is_empty() || self.key.is_empty() { "timeout" } else { "key" };
        received(&all, ended_by, "")
    }
}

fn received(digits: &str, ended_by: &str, rest: &str) -> Done {
    Done {
        output: json!({ "digits": digits, "ended_by": ended_by }),
        learns: vec![("call.digits".to_owned(), Value::from(digits))],
        typed: Some(rest.to_owned()),
        ..Done::default()
    }
}

static DECLARED: Declared = Declared {
    name: "digits_receive",
    aliases: &[],
    about: "Receives keys that the caller presses.",
    kind: Kind::Media,
    needs_call: true,
    waits: true,
    parameters: &[
        Parameter {
            name: "duration",
            aliases: &[],
            shape: Shape::Millis { min: 0, max: 86400000 },
            required: false,
            about: "Wait for the first key; 5 s when not given.",
        },
        Parameter {
            name: "inter_digit",
            aliases: &[],
            shape: Shape::Millis { min: 0, max: 86400000 },
            required: false,
            about: "Wait between keys; as `duration` when not given.",
        },
        Parameter {
            name: "length",
            aliases: &[],
            shape: Shape::Integer { min: 0, max: 4096 },
            required: false,
            about: "That many keys end it; 0: no limit.",
        },
        Parameter {
            name: "key",
            aliases: &[],
            shape: Shape::Keys { alphabet: "0123456789ABCD#*", max: 16 },
            required: false,
            about: "Any of these ends it, and is not part of the result.",
        },
        Parameter {
            name: "clear",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "Forget keys that were pressed before.",
        },
    ],
    secrets: false,
};
