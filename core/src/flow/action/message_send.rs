//! `message_send`: text messages, one for each destination, by the phone network.

use super::http_request::TIMEOUT;
use super::recipients::{self, Letter, address, bad_address};
use super::{Action, Fault, Happened, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::http::{Body, Endpoint, HttpCall, HttpReply, Method, ReplyBody};
use serde_json::{Value, json};

pub struct MessageSend;

impl Action for MessageSend {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        recipients::begin(self, scene)
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        recipients::resume(self, scene, happened)
    }
}

impl Letter for MessageSend {
    const RESULTS: &'static str = "messages";

    fn send(&self, scene: &mut Scene<'_>, part: u32, to: &str) -> Result<(), Fault> {
        let source =
            scene.parameters.value("source").and_then(address).ok_or_else(|| bad_address("source"))?;
        let text = scene.parameters.require("text")?.to_owned();
        // A messaging service chooses the number itself.
        let sender = if source.starts_with("MG") { "MessagingServiceSid" } else { "From" };
        let form = [("To", to.to_owned()), (sender, source), ("Body", text)];
        let endpoint = Endpoint::Twilio("/Messages.json".to_owned());
        let mut call = HttpCall::new(Method::Post, endpoint, scene.errand_timeout_ms()?);
        call.body = Body::Form(form.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        scene.fetch(part, call)
    }

    fn sent(&self, reply: &HttpReply) -> Result<Value, Fault> {
        match &reply.body {
            ReplyBody::Json(answer) if answer.get("sid").is_some_and(Value::is_string) => {
                Ok(json!({ "sid": answer.get("sid"), "status": answer.get("status") }))
            }
            _ => Err(Fault::invalid(format!("expected the message's `sid`, came {}", reply.quoted()))),
        }
    }
}

static DECLARED: Declared = Declared {
    name: "message_send",
    aliases: &[],
    about: "Sends a text message to each destination.",
    kind: Kind::Messaging,
    needs_call: false,
    waits: true,
    parameters: &[
        Parameter {
            name: "source",
            aliases: &[],
            shape: Shape::Any,
            required: true,
            about: "The number that sends, or a messaging service (MG…).",
        },
        Parameter {
            name: "destinations",
            aliases: &[],
            shape: Shape::ListOf(&Shape::Any),
            required: true,
            about: "Numbers; or objects with a `target`.",
        },
        Parameter {
            name: "text",
            aliases: &[],
            shape: Shape::Text,
            required: true,
            about: "What they read.",
        },
        TIMEOUT,
    ],
    secrets: true,
};
