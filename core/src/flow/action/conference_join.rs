//! `conference_join`: puts the caller into a room with others.

use super::{Action, Fault, Happened, Road, Scene, Step, connect};
use crate::document::{Conference, Verb};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};

pub struct ConferenceJoin;

impl Action for ConferenceJoin {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let parameters = &scene.parameters;
        let conference = Conference {
            name: parameters.require("conference")?.to_owned(),
            start_on_enter: parameters.flag("start_on_enter", true),
            end_on_exit: parameters.flag("end_on_exit", false),
            muted: parameters.flag("muted", false),
            label: parameters.word("label").map(str::to_owned),
            // An empty one is a wish, too: silence instead of the network's music.
            wait_url: parameters.text("wait_url").map(|url| url.trim().to_owned()),
            record: parameters.flag("record", false),
        };
        Ok(match scene.road(true, false) {
            Road::Verb => Step::Render { verbs: vec![Verb::Conference(conference)], last: true },
            Road::Not(want) => Step::Needs(want),
            Road::Stream => Step::Stay,
        })
    }

    fn resume(&self, _scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        match happened {
            Happened::Performed(answer) => connect::dialed(answer),
            _ => Ok(Step::Stay),
        }
    }
}

static DECLARED: Declared = Declared {
    name: "conference_join",
    aliases: &["confbridge_join"],
    about: "Puts the caller into a conference.",
    kind: Kind::Media,
    needs_call: true,
    waits: true,
    parameters: &[
        Parameter {
            name: "conference",
            aliases: &["conference_id", "confbridge_id"],
            shape: Shape::Text,
            required: true,
            about: "Name of the room.",
        },
        Parameter {
            name: "start_on_enter",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "The conference starts when this caller enters; true when not given.",
        },
        Parameter {
            name: "end_on_exit",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "It ends when this caller leaves.",
        },
        Parameter {
            name: "muted",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "This caller is not heard.",
        },
        Parameter {
            name: "label",
            aliases: &[],
            shape: Shape::Text,
            required: false,
            about: "Names this participant.",
        },
        Parameter {
            name: "wait_url",
            aliases: &[],
            shape: Shape::Text,
            required: false,
            about: "What is heard until it starts.",
        },
        Parameter {
            name: "record",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "The network records it.",
        },
    ],
    secrets: false,
};
