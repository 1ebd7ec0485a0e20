//! `digits_send`: keys as tones in the sound.

use super::{Action, Fault, Happened, Road, Scene, Step, sound};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::scene::Sound;

const DURATION_MS: u64 = 250;
const INTERVAL_MS: u64 = 100;

pub struct DigitsSend;

impl Action for DigitsSend {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let digits = scene.parameters.require("digits")?.to_owned();
        let duration_ms = scene.parameters.amount("duration").unwrap_or(DURATION_MS);
        let interval_ms = scene.parameters.amount("interval").unwrap_or(INTERVAL_MS);
        let tones = Sound::Tones {
            digits,
            duration_ms: u32::try_from(duration_ms).unwrap_or(u32::MAX),
            interval_ms: u32::try_from(interval_ms).unwrap_or(u32::MAX),
        };
        match scene.road(false, true) {
            Road::Stream => Ok(sound::begin(scene, vec![tones], false)),
            Road::Not(want) => Ok(Step::Needs(want)),
            Road::Verb => Ok(Step::Stay),
        }
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        sound::resume(scene, happened)
    }
}

static DECLARED: Declared = Declared {
    name: "digits_send",
    aliases: &[],
    about: "Sends keys as tones.",
    kind: Kind::Media,
    needs_call: true,
    waits: true,
    parameters: &[
        Parameter {
            name: "digits",
            aliases: &[],
            shape: Shape::Keys { alphabet: "0123456789ABCD#*w", max: 100 },
            required: true,
            about: "The keys; `w` is half a second of silence.",
        },
        Parameter {
            name: "duration",
            aliases: &[],
            shape: Shape::Millis { min: 100, max: 1000 },
            required: false,
            about: "Of each tone; 250 ms when not given.",
        },
        Parameter {
            name: "interval",
            aliases: &[],
            shape: Shape::Millis { min: 0, max: 5000 },
            required: false,
            about: "Between tones; 100 ms when not given.",
        },
    ],
    secrets: false,
};
