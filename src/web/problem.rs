//! Refusals, as RFC 9457 problem documents with a stable code that a program can act on.

use actix_web::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, ResponseError, Route, web};
use serde_json::{Map, Value, json};
use std::fmt;

/// Why a request was refused. The words are the API's promise; so are their statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    InvalidRequest,
    Unauthorized,
    Forbidden,
    WorkflowNotFound,
    ActiveflowNotFound,
    CallNotFound,
    NotFound,
    MethodNotAllowed,
    AlreadyExists,
    StaleAction,
    NotBlocked,
    AlreadyEnded,
    NotFailed,
    Limit,
    FileFlow,
    NotInterruptible,
    NoCredentials,
    TooLarge,
    UnsupportedMediaType,
    InvalidWorkflow,
    CallRefused,
    IdempotencyKeyReused,
    RateLimited,
    OutcomeUnknown,
    Internal,
    Unavailable,
}

impl Code {
    pub const ALL: [Code; 26] = [
        Code::InvalidRequest,
        Code::Unauthorized,
        Code::Forbidden,
        Code::WorkflowNotFound,
        Code::ActiveflowNotFound,
        Code::CallNotFound,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::AlreadyExists,
        Code::StaleAction,
        Code::NotBlocked,
        Code::AlreadyEnded,
        Code::NotFailed,
        Code::Limit,
        Code::FileFlow,
        Code::NotInterruptible,
        Code::NoCredentials,
        Code::TooLarge,
        Code::UnsupportedMediaType,
        Code::InvalidWorkflow,
        Code::CallRefused,
        Code::IdempotencyKeyReused,
        Code::RateLimited,
        Code::OutcomeUnknown,
        Code::Internal,
        Code::Unavailable,
    ];

    pub fn word(self) -> &'static str {
        self.row().0
    }

    pub fn status(self) -> StatusCode {
        self.row().1
    }

    pub fn title(self) -> &'static str {
        self.row().2
    }

    fn row(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Code::InvalidRequest => ("invalid_request", StatusCode::BAD_REQUEST, "The request is not valid"),
            Code::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "A valid token is needed"),
            Code::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "This is not allowed"),
            Code::WorkflowNotFound => ("workflow_not_found", StatusCode::NOT_FOUND, "No such workflow"),
            Code::ActiveflowNotFound => ("activeflow_not_found", StatusCode::NOT_FOUND, "No such activeflow"),
            Code::CallNotFound => ("call_not_found", StatusCode::NOT_FOUND, "No such call"),
            Code::NotFound => ("not_found", StatusCode::NOT_FOUND, "Nothing is here"),
            Code::MethodNotAllowed => {
                ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "This method has no meaning here")
            }
            Code::AlreadyExists => ("already_exists", StatusCode::CONFLICT, "The id is taken"),
            Code::StaleAction => ("stale_action", StatusCode::CONFLICT, "The flow has moved on"),
            Code::NotBlocked => ("not_blocked", StatusCode::CONFLICT, "The current action is no block"),
            Code::AlreadyEnded => ("already_ended", StatusCode::CONFLICT, "It has already ended"),
            Code::NotFailed => ("not_failed", StatusCode::CONFLICT, "Only what failed can be retried"),
            Code::Limit => ("limit", StatusCode::CONFLICT, "A limit is reached"),
            Code::FileFlow => ("file_flow", StatusCode::CONFLICT, "The workflow comes from a file"),
            Code::NotInterruptible => {
                ("not_interruptible", StatusCode::CONFLICT, "What runs can't be interrupted")
            }
            Code::NoCredentials => ("no_credentials", StatusCode::CONFLICT, "This needs credentials"),
            Code::TooLarge => ("too_large", StatusCode::PAYLOAD_TOO_LARGE, "The body is too large"),
            Code::UnsupportedMediaType => (
                "unsupported_media_type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body's type is not understood",
            ),
            Code::InvalidWorkflow => {
                ("invalid_workflow", StatusCode::UNPROCESSABLE_ENTITY, "The workflow has errors")
            }
            Code::CallRefused => {
                ("call_refused", StatusCode::UNPROCESSABLE_ENTITY, "The phone network refuses the call")
            }
            Code::OutcomeUnknown => {
                ("outcome_unknown", StatusCode::BAD_GATEWAY, "Nobody knows yet what came of it")
            }
            Code::IdempotencyKeyReused => (
                "idempotency_key_reused",
                StatusCode::UNPROCESSABLE_ENTITY,
                "The idempotency key came with another body",
            ),
            Code::RateLimited => ("rate_limited", StatusCode::TOO_MANY_REQUESTS, "Too many requests"),
            Code::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here"),
            Code::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Not available now"),
        }
    }
}

/// One refusal, ready to be an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    code: Code,
    detail: String,
    /// Apart, since most problems have none and every handler's result has room for a problem.
    extra: Option<Box<Extra>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Extra {
    /// Further members: the positions in a document, for example.
    members: Map<String, Value>,
    challenge: Option<&'static str>,
    allow: Option<String>,
}

impl Problem {
    /// `detail` says what was expected and what came; it must not repeat secrets or a caller's number.
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem { code, detail: detail.into(), extra: None }
    }

    pub fn invalid(detail: impl Into<String>) -> Problem {
        Problem::new(Code::InvalidRequest, detail)
    }

    #[must_use]
    pub fn with(mut self, member: &str, value: Value) -> Problem {
        self.extra().members.insert(member.to_owned(), value);
        self
    }

    /// The `WWW-Authenticate` that a 401 must carry.
    #[must_use]
    pub fn challenge(mut self, challenge: &'static str) -> Problem {
        self.extra().challenge = Some(challenge);
        self
    }

    /// A further member.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.extra.as_ref()?.members.get(name)
    }

    pub fn code(&self) -> Code {
        self.code
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    fn body(&self) -> Value {
        let mut body = json!({
            "type": format!("urn:holdline:problem:{}", self.code.word()),
            "title": self.code.title(),
            "status": self.code.status().as_u16(),
            "code": self.code.word(),
            "detail": self.detail,
        });
        if let (Some(body), Some(extra)) = (body.as_object_mut(), &self.extra) {
            body.extend(extra.members.clone());
        }
        body
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.word(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut answer = HttpResponse::build(self.code.status());
        answer.insert_header((CONTENT_TYPE, MEDIA_TYPE));
        let extra = self.extra.as_deref();
        if let Some(challenge) = extra.and_then(|extra| extra.challenge) {
            answer.insert_header((WWW_AUTHENTICATE, challenge));
        }
        if let Some(allow) =
            extra.and_then(|extra| extra.allow.as_deref()).and_then(|allow| HeaderValue::from_str(allow).ok())
        {
            answer.insert_header((ALLOW, allow));
        }
        if matches!(self.code, Code::RateLimited | Code::Unavailable) {
            answer.insert_header((RETRY_AFTER, "1"));
        }
        answer.body(self.body().to_string())
    }
}

/// What answers where nothing is.
pub async fn not_found(request: HttpRequest) -> Problem404 {
    Err(Problem::new(Code::NotFound, format!("there is no {}", request.path())))
}

type Problem404 = Result<HttpResponse, Problem>;

/// What answers on a resource for methods that it doesn't have: its `default_service`.
pub fn method_not_allowed(allowed: Vec<Method>) -> Route {
    let words: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    let allow = words.join(", ");
    web::route().to(move |request: HttpRequest| {
        let allow = allow.clone();
        async move {
            let detail = format!("expected {allow}, got {}", request.method());
            let mut problem = Problem::new(Code::MethodNotAllowed, detail);
            problem.extra().allow = Some(allow);
            Err::<HttpResponse, Problem>(problem)
        }
    })
}

pub const MEDIA_TYPE: &str = "application/problem+json";
/// All variables of an activeflow may have a megabyte; who sends more is to hear that, and not only that it is too much.
pub const JSON_BYTES_MAX: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_words_for_refusals() {
        let words: std::collections::BTreeSet<&str> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        assert!(Code::ALL.iter().all(|code| code.status().as_u16() >= 400));
    }
}
