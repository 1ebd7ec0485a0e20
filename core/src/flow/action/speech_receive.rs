//! `speech_receive`: what the caller says, by the network's own recognition.

use super::{Action, Done, Fault, Happened, Parameters, Road, Scene, Step};
use crate::document::{Gather, GatherSpeech, Verb};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::notice::LineAnswer;
use serde_json::json;

const TIMEOUT_MS: u64 = 5000;

pub struct SpeechReceive;

impl Action for SpeechReceive {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn gathers(&self, _parameters: &Parameters<'_>, _always_stream: bool) -> bool {
        true
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        match scene.road(true, false) {
            Road::Verb => {}
            Road::Not(want) => return Ok(Step::Needs(want)),
            Road::Stream => return Ok(Step::Stay),
        }
        let seconds = |ms: u64| u32::try_from(ms.div_ceil(1000).max(1)).unwrap_or(u32::MAX);
        let parameters = &scene.parameters;
        let gather = Gather {
            prompts: Vec::new(),
            speech: Some(GatherSpeech {
                speech_timeout_s: parameters.amount("speech_timeout").map(seconds),
                language: parameters.word("language").map(str::to_owned),
                hints: parameters
                    .list("hints")
                    .iter()
                    .filter_map(|hint| hint.as_str())
                    .map(str::to_owned)
                    .collect(),
            }),
            num_digits: parameters
                .amount("length")
                .filter(|length| *length > 0)
                .and_then(|n| u32::try_from(n).ok()),
            timeout_s: seconds(parameters.amount("timeout").unwrap_or(TIMEOUT_MS)),
            finish_on_key: parameters.text("key").unwrap_or("").to_owned(),
            action_on_empty_result: true,
        };
        Ok(Step::Render { verbs: vec![Verb::Gather(gather)], last: true })
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        let Happened::Performed(answer) = happened else { return Ok(Step::Stay) };
        let (digits, text, confidence) = match answer {
            LineAnswer::Gathered { digits, speech, confidence } => {
                (digits.as_str(), speech.as_deref().unwrap_or(""), *confidence)
            }
            _ => ("", "", None),
        };
        let length = scene.parameters.amount("length").unwrap_or(0);
        let ended_by = if !text.is_empty() {
            "speech"
        } else if digits.is_empty() {
            "timeout"
        } else if length > 0 && digits.chars().count() as u64 >= length {
            "length"
        } else if scene.parameters.word("key").is_some() {
            "key"
        } else {
            "timeout"
        };
        let output =
            json!({ "text": text, "confidence": confidence, "digits": digits, "ended_by": ended_by });
        Ok(Step::Done(Done::with(output)))
    }
}

static DECLARED: Declared = Declared {
    name: "speech_receive",
    aliases: &[],
    about: "Receives what the caller says, or keys.",
    kind: Kind::Media,
    needs_call: true,
    waits: true,
    parameters: &[
        Parameter {
            name: "timeout",
            aliases: &[],
            shape: Shape::Seconds { min: 1000, max: 3600000 },
            required: false,
            about: "Wait for the first word or key; 5 s when not given.",
        },
        Parameter {
            name: "speech_timeout",
            aliases: &[],
            shape: Shape::Seconds { min: 1000, max: 3600000 },
            required: false,
            about: "Silence that ends what is said; chosen by the network when not given.",
        },
        Parameter {
            name: "language",
            aliases: &[],
            shape: Shape::Text,
            required: false,
            about: "BCP 47, such as `en-US`.",
        },
        Parameter {
            name: "hints",
            aliases: &[],
            shape: Shape::ListOf(&Shape::Text),
            required: false,
            about: "Words that are likely.",
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
            shape: Shape::Keys { alphabet: "0123456789#*", max: 1 },
            required: false,
            about: "This key ends it.",
        },
    ],
    secrets: false,
};
