//! `email_send`: mails, one for each destination, by the configured mail server.

use super::http_request::TIMEOUT;
use super::recipients::{self, Letter};
use super::{Action, Fault, Happened, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::http::{Attachment, BODY_BYTES_MAX, Content, Errand, HttpReply, Mail};
use serde_json::{Value, json};

/// Attachments of one mail.
const ATTACHMENTS_MAX: usize = 20;

pub struct EmailSend;

impl Action for EmailSend {
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

impl Letter for EmailSend {
    const RESULTS: &'static str = "mails";

    fn send(&self, scene: &mut Scene<'_>, part: u32, to: &str) -> Result<(), Fault> {
        let content = scene.parameters.text("content").unwrap_or_default().to_owned();
        if content.len() > BODY_BYTES_MAX {
            let bytes = content.len();
            return Err(Fault::invalid(format!(
                "`content` has {bytes} bytes, expected at most {BODY_BYTES_MAX}"
            )));
        }
        let given = scene.parameters.list("attachments");
        if given.len() > ATTACHMENTS_MAX {
            let count = given.len();
            return Err(Fault::invalid(format!(
                "`attachments`: expected at most {ATTACHMENTS_MAX}, came {count}"
            )));
        }
        let attachments = given.iter().map(attachment).collect::<Option<Vec<_>>>().ok_or_else(|| {
            Fault::invalid("`attachments`: expected a `name` and one of `content`, `base64`, `recording`")
        })?;
        let mail = Mail {
            id: scene.outside()?.idempotency_key(part),
            to: to.to_owned(),
            subject: scene.parameters.text("subject").unwrap_or_default().to_owned(),
            content,
            html: scene.parameters.flag("html", false),
            attachments,
            timeout_ms: scene.errand_timeout_ms()?,
        };
        scene.run_errand(part, Errand::Mail(Box::new(mail)))
    }

    fn sent(&self, _: &HttpReply) -> Result<Value, Fault> {
        Ok(json!({ "status": "accepted" }))
    }
}

fn attachment(value: &Value) -> Option<Attachment> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let content = match (text("content"), text("base64"), text("recording")) {
        (Some(text), None, None) => Content::Text(text),
        (None, Some(base64), None) => Content::Base64(base64),
        (None, None, Some(file)) => Content::Recording(file),
        _ => return None,
    };
    let by_content = match &content {
        Content::Text(_) => "text/plain; charset=utf-8",
        Content::Base64(_) => "application/octet-stream",
        Content::Recording(_) => "audio/wav",
    };
    let content_type = text("content_type").unwrap_or_else(|| by_content.to_owned());
    Some(Attachment { name: text("name")?, content_type, content })
}

static ATTACHMENT: &[Parameter] = &[
    Parameter { name: "name", aliases: &[], shape: Shape::Text, required: true, about: "The file's name." },
    Parameter {
        name: "content_type",
        aliases: &[],
        shape: Shape::Text,
        required: false,
        about: "What it is; by its content unless said otherwise.",
    },
    Parameter { name: "content", aliases: &[], shape: Shape::Text, required: false, about: "As text." },
    Parameter { name: "base64", aliases: &[], shape: Shape::Text, required: false, about: "As base64." },
    Parameter {
        name: "recording",
        aliases: &[],
        shape: Shape::Text,
        required: false,
        about: "A recording's `file`.",
    },
];

static DECLARED: Declared = Declared {
    name: "email_send",
    aliases: &[],
    about: "Sends a mail to each destination.",
    kind: Kind::Messaging,
    needs_call: false,
    waits: true,
    parameters: &[
        Parameter {
            name: "destinations",
            aliases: &[],
            shape: Shape::ListOf(&Shape::Any),
            required: true,
            about: "Addresses; or objects with a `target`.",
        },
        Parameter {
            name: "subject",
            aliases: &[],
            shape: Shape::Text,
            required: true,
            about: "Its subject.",
        },
        Parameter { name: "content", aliases: &[], shape: Shape::Text, required: true, about: "Its text." },
        Parameter {
            name: "html",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "The content is HTML.",
        },
        Parameter {
            name: "attachments",
            aliases: &[],
            shape: Shape::ListOf(&Shape::Object(ATTACHMENT)),
            required: false,
            about: "Files that go with it.",
        },
        TIMEOUT,
    ],
    secrets: true,
};
