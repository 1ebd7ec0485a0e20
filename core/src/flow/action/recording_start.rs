//! `recording_start`: records from here on, and goes on at once.

use super::scene::RecordingNow;
use super::{Action, Done, Fault, Happened, Road, Scene, Step};
use crate::document::Verb;
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::fact::RecordingMark;
use crate::scene::{Op, RecordingWish};

pub struct RecordingStart;

impl Action for RecordingStart {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        if matches!(scene.recording, Some(RecordingNow::Stream { .. } | RecordingNow::Network)) {
            return Err(Fault::invalid("a recording is active already, expected one at a time"));
        }
        let parameters = &scene.parameters;
        let channels = if parameters.amount("channels") == Some(2) { 2 } else { 1 };
        if parameters.text("source") == Some("network") {
            return Ok(match scene.road(true, false) {
                Road::Verb => Step::Render { verbs: vec![Verb::StartRecording { channels }], last: false },
                Road::Not(want) => Step::Needs(want),
                Road::Stream => Step::Stay,
            });
        }
        match scene.road(false, true) {
            Road::Stream => {
                let wish = RecordingWish {
                    ordinal: scene.next_recording,
                    channels,
                    beep_start: parameters.flag("beep_start", false),
                    end_of_silence_ms: parameters.amount("end_of_silence").filter(|ms| *ms > 0),
                    end_of_key: parameters.word("end_of_key").map(str::to_owned),
                    duration_ms: parameters.amount("duration").filter(|ms| *ms > 0),
                };
                scene.ops.push(Op::StartRecording(wish));
                Ok(Step::Done(Done {
                    recording: Some(RecordingMark::Began { network: false }),
                    ..Done::default()
                }))
            }
            Road::Not(want) => Ok(Step::Needs(want)),
            Road::Verb => Ok(Step::Stay),
        }
    }

    fn resume(&self, _scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        let Happened::Performed(_) = happened else { return Ok(Step::Stay) };
        Ok(Step::Done(Done { recording: Some(RecordingMark::Began { network: true }), ..Done::default() }))
    }
}

static DECLARED: Declared = Declared {
    name: "recording_start",
    aliases: &[],
    about: "Begins a recording of the call.",
    kind: Kind::Media,
    needs_call: true,
    waits: false,
    parameters: &[
        Parameter {
            name: "source",
            aliases: &[],
            shape: Shape::OneOf(&["stream", "network"]),
            required: false,
            about: "Who records: we, from the stream, or the network.",
        },
        Parameter {
            name: "format",
            aliases: &[],
            shape: Shape::OneOf(&["wav"]),
            required: false,
            about: "Of the file.",
        },
        Parameter {
            name: "channels",
            aliases: &[],
            shape: Shape::Integer { min: 1, max: 2 },
            required: false,
            about: "1: mixed; 2: the caller, then us.",
        },
        Parameter {
            name: "end_of_silence",
            aliases: &[],
            shape: Shape::Seconds { min: 0, max: 86400000 },
            required: false,
            about: "Silence that ends it.",
        },
        Parameter {
            name: "end_of_key",
            aliases: &[],
            shape: Shape::Keys { alphabet: "0123456789ABCD#*", max: 16 },
            required: false,
            about: "Any of these keys ends it.",
        },
        Parameter {
            name: "duration",
            aliases: &[],
            shape: Shape::Seconds { min: 0, max: 86400000 },
            required: false,
            about: "It ends after this.",
        },
        Parameter {
            name: "beep_start",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "A tone tells that it begins.",
        },
        Parameter {
            name: "on_end_flow_id",
            aliases: &[],
            shape: Shape::Workflow,
            required: false,
            about: "Workflow that is started when it has ended.",
        },
        Parameter {
            name: "reference_id",
            aliases: &[],
            shape: Shape::Ignored,
            required: false,
            about: "Exported by other systems.",
        },
    ],
    secrets: false,
};
