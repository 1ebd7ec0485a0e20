//! `beep`: one tone on the stream.

use super::{Action, Fault, Happened, Road, Scene, Step, sound};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::media::tone::{BEEP_HZ_MAX, BEEP_HZ_MIN, BEEP_MS_MAX};
use crate::scene::Sound;

const HZ: u64 = 1000;
const MS: u64 = 500;

pub struct Beep;

impl Action for Beep {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let hz = u32::try_from(scene.parameters.amount("frequency").unwrap_or(HZ)).unwrap_or(u32::MAX);
        let ms = u32::try_from(scene.parameters.amount("duration").unwrap_or(MS)).unwrap_or(u32::MAX);
        match scene.road(false, true) {
            Road::Stream => Ok(sound::begin(scene, vec![Sound::Beep { hz, ms }], false)),
            Road::Not(want) => Ok(Step::Needs(want)),
            Road::Verb => Ok(Step::Stay),
        }
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        sound::resume(scene, happened)
    }
}

static DECLARED: Declared = Declared {
    name: "beep",
    aliases: &[],
    about: "Plays a tone.",
    kind: Kind::Media,
    needs_call: true,
    waits: true,
    parameters: &[
        Parameter {
            name: "frequency",
            aliases: &[],
            shape: Shape::Integer { min: BEEP_HZ_MIN as i64, max: BEEP_HZ_MAX as i64 },
            required: false,
            about: "Hertz; 1000 when not given.",
        },
        Parameter {
            name: "duration",
            aliases: &[],
            shape: Shape::Millis { min: 20, max: BEEP_MS_MAX as u64 },
            required: false,
            about: "How long; 500 ms when not given.",
        },
    ],
    secrets: false,
};
