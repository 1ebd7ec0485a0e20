//! `openai/chat`: asks a language model, by the API that most of them speak.

use super::http_request::TIMEOUT;
use super::{Action, Done, Fault, Happened, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::http::{Body, Endpoint, HttpCall, Method, ReplyBody};
use serde_json::{Map, Value, json};

/// Parameters that go to the model as they are.
const PASSED_ON: [&str; 10] = [
    "model",
    "messages",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "response_format",
    "user",
];

pub struct OpenAiChat;

impl Action for OpenAiChat {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        scene.parameters.require("model")?;
        if scene.parameters.list("messages").is_empty() {
            return Err(Fault::invalid("`messages`: expected a list with at least one message"));
        }
        let asked: Map<String, Value> = PASSED_ON
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), scene.parameters.value(name)?.clone())))
            .collect();
        let endpoint = Endpoint::OpenAi("/chat/completions".to_owned());
        let mut call = HttpCall::new(Method::Post, endpoint, scene.errand_timeout_ms()?);
        call.body = Body::Json(Value::Object(asked));
        scene.fetch(0, call)?;
        Ok(Step::Wait { memory: Value::Null })
    }

    fn resume(&self, _scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        let Happened::Fetched { outcome, .. } = happened else { return Ok(Step::Stay) };
        let reply = outcome.as_ref().map_err(Fault::from)?;
        reply.judged(&[])?;
        let ReplyBody::Json(answer) = &reply.body else {
            return Err(Fault::invalid(format!("expected an answer in JSON, came {}", reply.quoted())));
        };
        let choice = answer.pointer("/choices/0");
        let Some(content) = choice.and_then(|choice| choice.pointer("/message/content")) else {
            let message = format!("expected `choices[0].message.content`, came {}", reply.quoted());
            return Err(Fault::invalid(message));
        };
        Ok(Step::Done(Done::with(json!({
            "content": content,
            "usage": answer.get("usage"),
            "model": answer.get("model"),
            "finish_reason": choice.and_then(|choice| choice.get("finish_reason")),
        }))))
    }
}

static MESSAGE: &[Parameter] = &[
    Parameter { name: "role", aliases: &[], shape: Shape::Text, required: true, about: "Who says it." },
    Parameter { name: "content", aliases: &[], shape: Shape::Any, required: true, about: "What is said." },
    Parameter {
        name: "name",
        aliases: &[],
        shape: Shape::Text,
        required: false,
        about: "The speaker's name.",
    },
];

static DECLARED: Declared = Declared {
    name: "openai/chat",
    aliases: &[],
    about: "Asks a language model.",
    kind: Kind::Io,
    needs_call: false,
    waits: true,
    parameters: &[
        Parameter { name: "model", aliases: &[], shape: Shape::Text, required: true, about: "Its name." },
        Parameter {
            name: "messages",
            aliases: &[],
            shape: Shape::ListOf(&Shape::Object(MESSAGE)),
            required: true,
            about: "The conversation so far.",
        },
        Parameter {
            name: "temperature",
            aliases: &[],
            shape: Shape::Number { min: 0.0, max: 2.0 },
            required: false,
            about: "How freely it chooses its words.",
        },
        Parameter {
            name: "top_p",
            aliases: &["topP"],
            shape: Shape::Number { min: 0.0, max: 1.0 },
            required: false,
            about: "From how many words it chooses.",
        },
        Parameter {
            name: "max_tokens",
            aliases: &["maxTokens"],
            shape: Shape::Integer { min: 1, max: 10_000_000 },
            required: false,
            about: "Length of the answer at most.",
        },
        Parameter {
            name: "max_completion_tokens",
            aliases: &[],
            shape: Shape::Integer { min: 1, max: 10_000_000 },
            required: false,
            about: "The same, for models that think before they speak.",
        },
        Parameter {
            name: "stop",
            aliases: &[],
            shape: Shape::Any,
            required: false,
            about: "Ends the answer.",
        },
        Parameter {
            name: "seed",
            aliases: &[],
            shape: Shape::Integer { min: i64::MIN, max: i64::MAX },
            required: false,
            about: "For answers that can be had again.",
        },
        Parameter {
            name: "response_format",
            aliases: &["responseFormat"],
            shape: Shape::Any,
            required: false,
            about: "Text, JSON, or JSON of a schema.",
        },
        Parameter { name: "user", aliases: &[], shape: Shape::Text, required: false, about: "For whom." },
        TIMEOUT,
    ],
    secrets: true,
};
