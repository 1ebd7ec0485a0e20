//! `http/request`: asks another system, and keeps its answer.

use super::{Action, Done, Fault, Happened, Parameters, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::substitute::as_text;
use crate::http::{Body, Endpoint, HttpCall, Method};
use serde_json::Value;

pub struct HttpRequest;

impl Action for HttpRequest {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let url = scene.parameters.require("url")?.to_owned();
        let method = method(&scene.parameters, "method", Method::Get)?;
        let mut call = HttpCall::new(method, Endpoint::Url(url), scene.errand_timeout_ms()?);
        let texts = |name| scene.parameters.value(name).and_then(Value::as_object).into_iter().flatten();
        for (name, value) in texts("query") {
            match value {
                Value::Null => {}
                Value::Array(values) => {
                    call.query.extend(values.iter().map(|value| (name.clone(), as_text(value))));
                }
                value => call.query.push((name.clone(), as_text(value))),
            }
        }
        call.headers.extend(texts("headers").map(|(name, value)| (name.clone(), as_text(value))));
        call.body = match scene.parameters.value("body") {
            None => Body::Empty,
            Some(Value::String(text)) => {
                Body::Text { content_type: "text/plain; charset=utf-8".to_owned(), text: text.clone() }
            }
            Some(json) => Body::Json(json.clone()),
        };
        scene.fetch(0, call)?;
        Ok(Step::Wait { memory: Value::Null })
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        let Happened::Fetched { outcome, .. } = happened else { return Ok(Step::Stay) };
        let reply = outcome.as_ref().map_err(Fault::from)?;
        let allowed: Vec<u16> = scene
            .parameters
            .list("allow_status")
            .iter()
            .filter_map(|status| status.as_u64().and_then(|status| u16::try_from(status).ok()))
            .collect();
        reply.judged(&allowed)?;
        Ok(Step::Done(Done::with(reply.output())))
    }
}

/// A method that a workflow names, in whatever letters.
pub fn method(parameters: &Parameters<'_>, name: &str, default: Method) -> Result<Method, Fault> {
    let Some(word) = parameters.word(name) else { return Ok(default) };
    Method::parse(word)
        .ok_or_else(|| Fault::invalid(format!("`{name}`: expected one of {}", Method::WORDS.join(", "))))
}

/// Of every action that asks another system.
pub const TIMEOUT: Parameter = Parameter {
    name: "timeout",
    aliases: &[],
    shape: Shape::Seconds { min: 1, max: 14_400_000 },
    required: false,
    about: "For the whole answer; 30 s unless the action or the document says otherwise.",
};

static DECLARED: Declared = Declared {
    name: "http/request",
    aliases: &[],
    about: "Asks another system by HTTP.",
    kind: Kind::Io,
    needs_call: false,
    waits: true,
    parameters: &[
        Parameter { name: "url", aliases: &[], shape: Shape::Text, required: true, about: "Whom to ask." },
        Parameter {
            name: "method",
            aliases: &[],
            shape: Shape::OneOf(Method::WORDS),
            required: false,
            about: "GET, unless said otherwise.",
        },
        Parameter {
            name: "headers",
            aliases: &[],
            shape: Shape::MapOf(&Shape::Text),
            required: false,
            about: "Headers by name.",
        },
        Parameter {
            name: "query",
            aliases: &[],
            shape: Shape::MapOf(&Shape::Any),
            required: false,
            about: "Appended to the URL; a list repeats its name.",
        },
        Parameter {
            name: "body",
            aliases: &[],
            shape: Shape::Any,
            required: false,
            about: "Text is sent as text, all else as JSON.",
        },
        TIMEOUT,
        Parameter {
            name: "allow_status",
            aliases: &[],
            shape: Shape::ListOf(&Shape::Integer { min: 100, max: 599 }),
            required: false,
            about: "Statuses that are ordinary answers and no errors.",
        },
    ],
    secrets: true,
};
