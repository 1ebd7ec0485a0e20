//! What a workflow asks of other systems, as values: written by pure code, performed by a port.
//!
//! Texts may hold [marks of secrets](crate::secret). Only the port knows the values, and it masks them in all that
//! comes back before anybody else sees it. Addresses and keys of the operator's own services are no part of a call at
//! all: an [`Endpoint`] says whose they are, and the port adds them.

pub mod sign;

use crate::flow::action::Fault;
use crate::id::RunId;
use crate::scene::ErrorClass;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// Bytes of an answer that are read at all. An output may hold far less; this bounds what a stranger makes us buffer.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a request's or a mail's body.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Characters of another system's answer that are quoted in an error.
const QUOTED_MAX: usize = 200;

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpCall {
    pub method: Method,
    pub endpoint: Endpoint,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    #[serde(default)]
    pub body: Body,
    /// For all of it, to the last byte.
    pub timeout_ms: u64,
    pub max_bytes: usize,
    /// The answer's body is wanted as text, even when it is JSON.
    #[serde(default)]
    pub as_text: bool,
    /// Signed in the manner of Standard Webhooks, under this message id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_as: Option<String>,
}

/// Where a request goes. The operator's services may be inside the house; a workflow's addresses may not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Endpoint {
    Url(String),
    /// A path below `[openai] base_url`, with its key.
    OpenAi(String),
    /// A path on the `[salesforce]` instance, with a token that the port gets and renews by itself.
    Salesforce(String),
    /// A path below the account's own in the REST API of the phone network, with its credentials.
    Twilio(String),
    /// An address that the operator configured.
    Operator(String),
    /// One of `[events] webhooks`, with its secret. The address stays in the configuration.
    Webhook {
        id: String,
        host: String,
    },
}

impl Endpoint {
    /// What of it people may see: an address, a path, or a host where the rest is nobody's business.
    pub fn target(&self) -> &str {
        match self {
            Endpoint::Url(target)
            | Endpoint::OpenAi(target)
            | Endpoint::Salesforce(target)
            | Endpoint::Twilio(target)
            | Endpoint::Operator(target) => target,
            Endpoint::Webhook { host, .. } => host,
        }
    }

    /// Whom it asks, without whatever in an address may be a secret.
    pub fn host(&self) -> &str {
        match self {
            Endpoint::Url(url) | Endpoint::Operator(url) => host_of(url),
            Endpoint::Webhook { host, .. } => host,
            Endpoint::OpenAi(_) => "openai",
            Endpoint::Salesforce(_) => "salesforce",
            Endpoint::Twilio(_) => "twilio",
        }
    }
}

/// Host and port of a URL.
pub fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Get,
    Head,
    Options,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    #[default]
    Empty,
    Json(Value),
    /// Sent as `application/x-www-form-urlencoded`.
    Form(Vec<(String, String)>),
    Text {
        content_type: String,
        text: String,
    },
}

/// An answer, whatever its status, with every secret masked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpReply {
    pub status: u16,
    /// Names in small letters; several of one name are joined by a comma.
    pub headers: BTreeMap<String, String>,
    pub body: ReplyBody,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyBody {
    Json(Value),
    Text(String),
}

/// A mail to one person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mail {
    /// Becomes the Message-ID: the same however often it is tried.
    pub id: String,
    pub to: String,
    pub subject: String,
    pub content: String,
    pub html: bool,
    pub attachments: Vec<Attachment>,
    pub timeout_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attachment {
    pub name: String,
    pub content_type: String,
    pub content: Content,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    Text(String),
    Base64(String),
    /// A recording of ours, by its name in the recordings folder.
    Recording(String),
}

/// What a step wants done outside.
#[derive(Debug, Clone, PartialEq)]
pub enum Errand {
    Http(Box<HttpCall>),
    Mail(Box<Mail>),
    /// A service of the program that holds the runtime.
    Service(Box<ServiceCall>),
}

/// What an action of one's own asks of a service in its own program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceCall {
    /// The name under which the program has registered it.
    pub service: String,
    /// What the action asks.
    pub request: Value,
    /// The same for every attempt and restart of a step, another for every other one: by this the service knows that it
    /// was asked before, and does nothing twice.
    pub idempotency_key: String,
    /// Nobody waits for longer.
    pub timeout_ms: u64,
}

/// Why there is no answer. The message holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct NoReply {
    pub class: ErrorClass,
    pub message: String,
}

/// What came of an errand. A mail that was taken is an empty answer of status 250.
pub type Outcome = Result<HttpReply, NoReply>;

/// One errand of one attempt of one step: an answer to any other is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FetchNo {
    pub run: RunId,
    pub step: u64,
    pub attempt: u32,
    /// Errands of one attempt are numbered from 0.
    pub part: u32,
}

impl Method {
    /// Asking twice may do something twice.
    pub fn is_unsafe(self) -> bool {
        matches!(self, Method::Post | Method::Put | Method::Patch | Method::Delete)
    }

    pub const WORDS: &[&str] = &["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Options => "OPTIONS",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }

    pub fn parse(word: &str) -> Option<Method> {
        use Method::*;
        let of_word = |method: &Method| method.as_str().eq_ignore_ascii_case(word.trim());
        [Get, Head, Options, Post, Put, Patch, Delete].into_iter().find(of_word)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<&NoReply> for Fault {
    fn from(error: &NoReply) -> Fault {
        Fault::new(error.class, error.message.clone())
    }
}

impl HttpCall {
    pub fn new(method: Method, endpoint: Endpoint, timeout_ms: u64) -> HttpCall {
        HttpCall {
            method,
            endpoint,
            query: Vec::new(),
            headers: Vec::new(),
            body: Body::Empty,
            timeout_ms,
            max_bytes: ANSWER_BYTES_MAX,
            as_text: false,
            signed_as: None,
        }
    }

    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }
}

impl HttpReply {
    /// What an answer means for a step: 2xx and 3xx are fine, and so is what the author expects.
    pub fn judged(&self, allowed: &[u16]) -> Result<(), Fault> {
        let class = match self.status {
            200..=399 => return Ok(()),
            status if allowed.contains(&status) => return Ok(()),
            408 => ErrorClass::Timeout,
            429 => ErrorClass::Limit,
            400..=499 => ErrorClass::Rejected,
            _ => ErrorClass::Unavailable,
        };
        let quoted = self.quoted();
        let message = if quoted.is_empty() {
            format!("the other side answered {}", self.status)
        } else {
            format!("the other side answered {}: {quoted}", self.status)
        };
        Err(Fault::new(class, message).with_output(self.output()))
    }

    pub fn output(&self) -> Value {
        let headers: Map<String, Value> =
            self.headers.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
        json!({ "status": self.status, "headers": headers, "body": self.body.value() })
    }

    /// The beginning of the answer's text.
    pub fn quoted(&self) -> String {
        let text = match &self.body {
            ReplyBody::Json(value) => value.to_string(),
            ReplyBody::Text(text) => text.clone(),
        };
        let mut quoted: String = text.trim().chars().take(QUOTED_MAX).collect();
        if quoted.len() < text.trim().len() {
            quoted.push('…');
        }
        quoted
    }
}

impl ReplyBody {
    pub fn value(&self) -> Value {
        match self {
            ReplyBody::Json(value) => value.clone(),
            ReplyBody::Text(text) => Value::from(text.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_class_unless_it_is_expected() {
        let reply =
            |status| HttpReply { status, headers: BTreeMap::new(), body: ReplyBody::Text("no".repeat(300)) };
        for (status, class) in [
            (200, None),
            (304, None),
            (404, Some(ErrorClass::Rejected)),
            (408, Some(ErrorClass::Timeout)),
            (429, Some(ErrorClass::Limit)),
            (500, Some(ErrorClass::Unavailable)),
            (599, Some(ErrorClass::Unavailable)),
        ] {
            assert_eq!(reply(status).judged(&[]).err().map(|fault| fault.class), class, "{status}");
            assert!(reply(status).judged(&[status]).is_ok());
        }
        assert!(reply(500).judged(&[]).unwrap_err().message.len() < 300);
    }
}
