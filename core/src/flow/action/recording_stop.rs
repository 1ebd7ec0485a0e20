//! `recording_stop`: ends the recording and waits for its file.

use super::scene::RecordingNow;
use super::{Action, Done, Fault, Happened, Road, Scene, Step, Want};
use crate::document::Verb;
use crate::flow::declare::{Declared, Kind};
use crate::flow::fact::RecordingMark;
use crate::scene::Op;
use serde_json::Value;

pub struct RecordingStop;

impl Action for RecordingStop {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let closed = |output| Done { recording: Some(RecordingMark::Closed), ..Done::with(output) };
        match scene.recording {
            // A recording by the network may begin in the very document that is being made.
            None if scene.undone => Ok(Step::Needs(Want::Undone)),
            None => Err(Fault::invalid("no recording is active")),
            // It ended by itself; this is the step that hands its report out.
            Some(RecordingNow::Ended(report)) => Ok(Step::Done(closed(report.clone()))),
            Some(RecordingNow::Network) => Ok(match scene.road(true, false) {
                Road::Verb => Step::Render { verbs: vec![Verb::StopRecording], last: false },
                Road::Not(want) => Step::Needs(want),
                Road::Stream => Step::Stay,
            }),
            Some(RecordingNow::Stream { .. }) => Ok(match scene.road(false, true) {
                Road::Stream => {
                    scene.live.on_stream = true;
                    scene.ops.push(Op::StopRecording);
                    Step::Wait { memory: Value::Null }
                }
                Road::Not(want) => Step::Needs(want),
                Road::Verb => Step::Stay,
            }),
        }
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        let output = match (happened, scene.recording) {
            (Happened::Recorded(_), Some(RecordingNow::Ended(report))) => report.clone(),
            (Happened::Performed(_), _) => Value::Null,
            _ => return Ok(Step::Stay),
        };
        Ok(Step::Done(Done { recording: Some(RecordingMark::Closed), ..Done::with(output) }))
    }
}

static DECLARED: Declared = Declared {
    name: "recording_stop",
    aliases: &[],
    about: "Ends the recording and waits for its file.",
    kind: Kind::Media,
    needs_call: true,
    waits: false,
    parameters: &[],
    secrets: false,
};
