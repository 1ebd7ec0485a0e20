//! `webhook_send`: tells another system something, signed. It waits for the answer, or leaves it to the outbox.

use super::http_request::{TIMEOUT, method};
use super::{Action, Done, Fault, Happened, Parameters, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::substitute::as_text;
use crate::flow::vars::json_bytes;
use crate::http::{BODY_BYTES_MAX, Body, Endpoint, HttpCall, Method};
use crate::scene::Op;
use crate::workflow::outbox::{Delivery, DeliveryId};
use serde_json::{Value, json};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
const TEXT: &str = "text/plain";

pub struct WebhookSend;

impl Action for WebhookSend {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn waits(&self, parameters: &Parameters<'_>) -> bool {
        parameters.flag("sync", false)
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let uri = scene.parameters.require("uri")?.to_owned();
        let method = method(&scene.parameters, "method", Method::Post)?;
        let timeout = scene.errand_timeout_ms()?;
        let outside = scene.outside()?;
        let (run, step) = (outside.begun.id, outside.step);
        let id = DeliveryId::of(run, step);
        let mut call = HttpCall::new(method, Endpoint::Url(uri.clone()), timeout);
        call.body = body(&scene.parameters)?;
        // The id says the same as an idempotency key, in this protocol's own words.
        call.signed_as = Some(id.to_string());
        if scene.parameters.flag("sync", false) {
            scene.fetch(0, call)?;
            return Ok(Step::Wait { memory: Value::Null });
        }
        let lane = format!("{run} {uri}");
        let owed_at = scene.now.wall_ms;
        let delivery = Delivery { id, lane, sequence: step, owed_at, call, receiver: None };
        scene.ops.push(Op::Owe(Box::new(delivery)));
        Ok(Step::Done(Done::with(json!({ "delivery_id": id }))))
    }

    fn resume(&self, _scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        let Happened::Fetched { outcome, .. } = happened else { return Ok(Step::Stay) };
        let reply = outcome.as_ref().map_err(Fault::from)?;
        reply.judged(&[])?;
        Ok(Step::Done(Done::with(reply.output())))
    }
}

fn body(parameters: &Parameters<'_>) -> Result<Body, Fault> {
    let Some(data) = parameters.value("data") else { return Ok(Body::Empty) };
    let bytes = json_bytes(data);
    if bytes > BODY_BYTES_MAX {
        return Err(Fault::invalid(format!("`data` has {bytes} bytes, expected at most {BODY_BYTES_MAX}")));
    }
    let content_type = parameters.word("data_type").unwrap_or(JSON);
    Ok(match (content_type, data) {
        // Text is what its author says it is.
        (_, Value::String(text)) => Body::Text { content_type: content_type.to_owned(), text: text.clone() },
        (FORM, Value::Object(fields)) => {
            Body::Form(fields.iter().map(|(name, value)| (name.clone(), as_text(value))).collect())
        }
        (FORM, _) => return Err(Fault::invalid("`data`: expected an object or text for a form")),
        (TEXT, data) => Body::Text { content_type: TEXT.to_owned(), text: as_text(data) },
        (_, data) => Body::Json(data.clone()),
    })
}

static DECLARED: Declared = Declared {
    name: "webhook_send",
    aliases: &[],
    about: "Sends a signed message to another system.",
    kind: Kind::Io,
    needs_call: false,
    waits: true,
    parameters: &[
        Parameter { name: "uri", aliases: &[], shape: Shape::Text, required: true, about: "Who gets it." },
        Parameter {
            name: "method",
            aliases: &[],
            shape: Shape::OneOf(Method::WORDS),
            required: false,
            about: "POST, unless said otherwise.",
        },
        Parameter {
            name: "data_type",
            aliases: &[],
            shape: Shape::OneOf(&[JSON, TEXT, FORM]),
            required: false,
            about: "What `data` is; application/json unless said otherwise.",
        },
        Parameter { name: "data", aliases: &[], shape: Shape::Any, required: false, about: "What is sent." },
        Parameter {
            name: "sync",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "Wait for the answer. Otherwise it is sent until it is taken, and the flow goes on.",
        },
        TIMEOUT,
    ],
    secrets: true,
};
