//! `salesforce/createRecord`: writes a record into the customer's Salesforce.

use super::http_request::TIMEOUT;
use super::{Action, Done, Fault, Happened, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::http::{Body, Endpoint, HttpCall, Method, ReplyBody};
use serde_json::{Value, json};

/// Supported for at least three years from its release.
const VERSION: &str = "v62.0";

pub struct SalesforceCreateRecord;

impl Action for SalesforceCreateRecord {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let object = scene.parameters.require("object")?;
        // It becomes a part of a path; nothing else is a name of an object.
        if !object.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
            return Err(Fault::invalid("`object`: expected a name of letters, digits and `_`"));
        }
        let endpoint = Endpoint::Salesforce(format!("/services/data/{VERSION}/sobjects/{object}"));
        let fields = scene.parameters.value("fields").cloned().unwrap_or_else(|| json!({}));
        let mut call = HttpCall::new(Method::Post, endpoint, scene.errand_timeout_ms()?);
        call.body = Body::Json(fields);
        scene.fetch(0, call)?;
        Ok(Step::Wait { memory: Value::Null })
    }

    fn resume(&self, _scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        let Happened::Fetched { outcome, .. } = happened else { return Ok(Step::Stay) };
        let reply = outcome.as_ref().map_err(Fault::from)?;
        reply.judged(&[])?;
        match &reply.body {
            ReplyBody::Json(answer) if answer.get("id").is_some_and(Value::is_string) => {
                Ok(Step::Done(Done::with(json!({ "id": answer.get("id") }))))
            }
            _ => Err(Fault::invalid(format!("expected the new record's `id`, came {}", reply.quoted()))),
        }
    }
}

static DECLARED: Declared = Declared {
    name: "salesforce/createRecord",
    aliases: &[],
    about: "Creates a record in Salesforce.",
    kind: Kind::Io,
    needs_call: false,
    waits: true,
    parameters: &[
        Parameter {
            name: "object",
            aliases: &[],
            shape: Shape::Text,
            required: true,
            about: "What kind of record: Task, Lead, Case, …",
        },
        Parameter {
            name: "fields",
            aliases: &[],
            shape: Shape::MapOf(&Shape::Any),
            required: true,
            about: "Its fields by name.",
        },
        TIMEOUT,
    ],
    secrets: true,
};
