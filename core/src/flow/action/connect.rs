//! `connect`: rings others and bridges the call to whoever answers first.

use super::{Action, Done, Fault, Happened, Parameters, Road, Scene, Step};
use crate::document::{Dial, Noun, Verb};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::notice::LineAnswer;
use crate::scene::ErrorClass;
use serde_json::{Map, Value};

/// Nouns of one Dial: the network's own limit.
const DESTINATIONS_MAX: usize = 10;

pub struct Connect;

impl Action for Connect {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let parameters = &scene.parameters;
        let nouns = parameters.list("destinations").iter().map(noun).collect::<Result<Vec<_>, _>>()?;
        if nouns.is_empty() || nouns.len() > DESTINATIONS_MAX {
            let came = nouns.len();
            return Err(Fault::invalid(format!(
                "`destinations` has {came}, expected 1 to {DESTINATIONS_MAX}"
            )));
        }
        let dial = Dial {
            nouns,
            caller_id: source(parameters),
            timeout_s: parameters
                .amount("timeout")
                .map(|ms| u32::try_from(ms.div_ceil(1000)).unwrap_or(u32::MAX)),
            answer_on_bridge: parameters.flag("early_media", false),
            record: parameters.flag("record", false),
        };
        Ok(match scene.road(true, false) {
            Road::Verb => Step::Render { verbs: vec![Verb::Dial(dial)], last: true },
            Road::Not(want) => Step::Needs(want),
            Road::Stream => Step::Stay,
        })
    }

    fn resume(&self, _scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        match happened {
            Happened::Performed(answer) => dialed(answer),
            _ => Ok(Step::Stay),
        }
    }
}

/// A number, or an address as other systems write it: `{type, target}`.
fn source(parameters: &Parameters<'_>) -> Option<String> {
    let source = parameters.value("source")?;
    let text = source.as_str().or_else(|| source.get("target")?.as_str()).map(str::trim);
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn noun(destination: &Value) -> Result<Noun, Fault> {
    let text = |key: &str| destination.get(key).and_then(Value::as_str).map(str::trim).unwrap_or("");
    let target = text("target");
    if target.is_empty() {
        return Err(Fault::invalid("a destination has no `target`"));
    }
    let target = target.to_owned();
    match text("type") {
        "" | "tel" => Ok(Noun::Number(target)),
        "sip" => Ok(Noun::Sip(target)),
        "client" => Ok(Noun::Client(target)),
        "queue" => Ok(Noun::Queue(target)),
        other => Err(Fault::invalid(format!(
            "a destination's `type` is `{other}`, expected tel, sip, client or queue"
        ))),
    }
}

/// What a Dial brought, of a conference too.
pub fn dialed(answer: &LineAnswer) -> Result<Step, Fault> {
    let LineAnswer::Dialed { status, call_sid, duration_s, recording_url } = answer else {
        return Err(Fault::new(ErrorClass::Unavailable, "the network came back without the dial's result"));
    };
    let mut output = Map::new();
    output.insert("status".to_owned(), Value::from(status.as_str()));
    output.insert("call_sid".to_owned(), call_sid.clone().map_or(Value::Null, Value::from));
    output.insert("duration".to_owned(), Value::from(duration_s.unwrap_or(0)));
    if let Some(url) = recording_url {
        output.insert("recording_url".to_owned(), Value::from(url.as_str()));
    }
    Ok(Step::Done(Done::with(Value::Object(output))))
}

static DESTINATION: [Parameter; 5] = [
    Parameter {
        name: "type",
        aliases: &[],
        shape: Shape::OneOf(&["tel", "sip", "client", "queue"]),
        required: false,
        about: "`tel` when not given; `queue` is the agent's side of a queue.",
    },
    Parameter {
        name: "target",
        aliases: &[],
        shape: Shape::Text,
        required: true,
        about: "Number, address or name.",
    },
    Parameter {
        name: "target_name",
        aliases: &[],
        shape: Shape::Ignored,
        required: false,
        about: "Exported by other systems.",
    },
    Parameter {
        name: "name",
        aliases: &[],
        shape: Shape::Ignored,
        required: false,
        about: "Exported by other systems.",
    },
    Parameter {
        name: "detail",
        aliases: &[],
        shape: Shape::Ignored,
        required: false,
        about: "Exported by other systems.",
    },
];

static DECLARED: Declared = Declared {
    name: "connect",
    aliases: &[],
    about: "Rings others and bridges the call to whoever answers first.",
    kind: Kind::Media,
    needs_call: true,
    waits: true,
    parameters: &[
        Parameter {
            name: "source",
            aliases: &[],
            shape: Shape::Any,
            required: false,
            about: "The number that they see.",
        },
        Parameter {
            name: "destinations",
            aliases: &[],
            shape: Shape::ListOf(&Shape::Object(&DESTINATION)),
            required: true,
            about: "Whom to ring, all at once.",
        },
        Parameter {
            name: "timeout",
            aliases: &[],
            shape: Shape::Seconds { min: 1000, max: 600000 },
            required: false,
            about: "How long they ring.",
        },
        Parameter {
            name: "early_media",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "The caller hears the far end ring.",
        },
        Parameter {
            name: "record",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "The network records the bridge.",
        },
        Parameter {
            name: "relay_reason",
            aliases: &[],
            shape: Shape::Ignored,
            required: false,
            about: "Exported by other systems.",
        },
        Parameter {
            name: "anonymous",
            aliases: &[],
            shape: Shape::Ignored,
            required: false,
            about: "Exported by other systems.",
        },
        Parameter {
            name: "early_execution",
            aliases: &[],
            shape: Shape::Ignored,
            required: false,
            about: "Exported by other systems.",
        },
    ],
    secrets: false,
};
