//! `talk`: speech, by the network's voice or our own over the stream.

use super::{Action, Done, Fault, Happened, Road, Scene, Step, sound};
use crate::document::{Gather, Say, Verb};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::substitute::is_ssml;
use crate::limit::DOCUMENT_VERBS_MAX;
use crate::notice::LineAnswer;
use crate::scene::Sound;

/// Verbs of one prompt: they must fit into one document, beside the Gather that may hold them.
pub const PROMPTS_MAX: usize = DOCUMENT_VERBS_MAX - 1;

pub struct Talk;

impl Action for Talk {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn markup(&self) -> Option<&'static str> {
        Some("text")
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        // Whether it is SSML is the author's word alone: a value that looks like it stays text.
        let ssml = scene.node.parameters.get("text").and_then(|text| text.as_str()).is_some_and(is_ssml);
        let text = scene.parameters.require("text")?;
        let text = if ssml { inside_speak(text)? } else { text }.to_owned();
        let language = scene.parameters.word("language").map(str::to_owned);
        let voice = scene.parameters.word("voice").map(str::to_owned);
        match scene.road(true, scene.local_speech) {
            Road::Verb => Ok(prompt(scene, vec![Verb::Say(Say { text, ssml, language, voice })])),
            Road::Stream => {
                let asynchronous = scene.parameters.flag("async", false);
                Ok(sound::begin(scene, vec![Sound::Speech { text, ssml, language, voice }], asynchronous))
            }
            Road::Not(want) => Ok(Step::Needs(want)),
        }
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        match happened {
            Happened::Performed(answer) => Ok(prompted(scene, answer)),
            _ => sound::resume(scene, happened),
        }
    }
}

/// Verbs that speak or play. One that a key may cut short is a Gather for that key, unless the next action is a
/// Gather anyway and takes it in.
pub fn prompt(scene: &Scene<'_>, verbs: Vec<Verb>) -> Step {
    if !sound::is_barged(scene) || scene.next_gathers {
        return Step::Render { verbs, last: false };
    }
    let gather = Gather {
        prompts: verbs,
        num_digits: Some(1),
        timeout_s: 1,
        finish_on_key: String::new(),
        ..Gather::default()
    };
    Step::Render { verbs: vec![Verb::Gather(gather)], last: true }
}

/// A prompt was performed; a key that came with it cut it short and waits for whoever asks for digits.
pub fn prompted(scene: &Scene<'_>, answer: &LineAnswer) -> Step {
    match answer {
        LineAnswer::Gathered { digits, .. } if !digits.is_empty() => {
            let typed = Some(format!("{}{digits}", scene.typed));
            Step::Cut(Done { typed, ..Done::default() })
        }
        _ => Step::Done(Done::default()),
    }
}

/// What stands between `<speak …>` and `</speak>`.
fn inside_speak(text: &str) -> Result<&str, Fault> {
    let text = text.trim();
    let inner = text.split_once('>').and_then(|(_, rest)| rest.strip_suffix("</speak>"));
    inner.ok_or_else(|| Fault::invalid("`text` begins with `<speak` and does not end with `</speak>`"))
}

static DECLARED: Declared = Declared {
    name: "talk",
    aliases: &[],
    about: "Speaks a text, plain or SSML.",
    kind: Kind::Media,
    needs_call: true,
    waits: true,
    parameters: &[
        Parameter {
            name: "text",
            aliases: &[],
            shape: Shape::Text,
            required: true,
            about: "What is said: plain text, or SSML when it begins with `<speak`.",
        },
        Parameter {
            name: "language",
            aliases: &[],
            shape: Shape::Text,
            required: false,
            about: "BCP 47, such as `en-US`.",
        },
        Parameter {
            name: "voice",
            aliases: &["voice_id"],
            shape: Shape::Text,
            required: false,
            about: "Name of a voice, as the speaker knows it.",
        },
        Parameter {
            name: "provider",
            aliases: &[],
            shape: Shape::Text,
            required: false,
            about: "Whose voice; without effect where only one is configured.",
        },
        Parameter {
            name: "async",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "Go on at once (on a stream; a verb is always waited for).",
        },
        Parameter {
            name: "digits_handle",
            aliases: &[],
            shape: Shape::OneOf(&["", "next"]),
            required: false,
            about: "`next`: a key cuts it short and moves on.",
        },
        Parameter {
            name: "gender",
            aliases: &[],
            shape: Shape::Ignored,
            required: false,
            about: "Exported by other systems.",
        },
    ],
    secrets: false,
};
