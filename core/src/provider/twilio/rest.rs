//! The network's REST API, as values: what is asked about a call, and what an answer says of it.
//!
//! Requests name a path below the account; whose account it is, and its credentials, only the HTTP port knows. Asking
//! for a call, and ending one, may be repeated at will. Placing one may not: the API knows no idempotency, so an answer
//! that leaves open what happened ([`Said::Unknown`]) has to be cleared up before anything is dialled again.

use super::form::percent_encoded;
use super::webhook::call_id;
use crate::document::Links;
use crate::http::{Body, Endpoint, Errand, HttpCall, HttpReply, Method, Outcome, ReplyBody};
use crate::id::{CallId, WorkflowId};
use crate::notice::NetworkStatus;
use crate::scene::ErrorClass;
use serde_json::Value;

/// What the API says of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub call: CallId,
    pub account: String,
    pub from: String,
    pub to: String,
    pub direction: String,
    pub status: Option<NetworkStatus>,
    pub duration_s: Option<u64>,
    /// When the network took it on.
    pub created_ms: Option<u64>,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// It was done, or asked: the call as it stands.
    Call(Box<Record>),
    /// There is no such call, or none any more.
    Gone,
    /// It is not in progress, so there is nothing to redirect or to end.
    NotInProgress,
    /// Too many requests: this one was not even looked at, and is safe to repeat after a while.
    TooMany { after_s: Option<u64> },
    /// Nobody can tell whether it was done.
    Unknown { why: String },
    /// It was not done, and asking again would change nothing.
    Refused(Refusal),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// 0 when it never got as far as the network.
    pub status: u16,
    /// The network's own error number.
    pub code: Option<u64>,
    /// In the network's words.
    pub message: String,
}

/// A call to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place<'a> {
    pub to: &'a str,
    pub from: &'a str,
    /// `https://host[:port][/prefix]`, without a trailing slash.
    pub origin: &'a str,
    pub workflow: &'a WorkflowId,
    /// Stands in every URL that the network is given, so that whatever it asks or tells says which wish it is about.
    pub tag: &'a str,
    /// How long it may ring.
    pub timeout_s: Option<u32>,
}

/// How the call stands.
pub fn fetch(call: &CallId) -> Errand {
    asked(Method::Get, path(call), Vec::new(), LOOK_MS)
}

/// Hang up, also in the middle of a verb.
pub fn hang_up(call: &CallId) -> Errand {
    asked(Method::Post, path(call), pairs(&[("Status", "completed")]), LOOK_MS)
}

/// Leave whatever is performed, and fetch the document that follows exchange `x`.
pub fn redirect(call: &CallId, links: &Links, x: u32) -> Errand {
    let workflow = format!("{}/webhooks/{}", links.origin, percent_encoded(&links.workflow));
    let url = match x {
        0 => format!("{workflow}/next{}", links.return_fragment),
        x => format!("{workflow}/next?x={x}{}", links.return_fragment),
    };
    asked(Method::Post, path(call), pairs(&[("Url", &url), ("Method", "POST")]), LOOK_MS)
}

/// Dial.
pub fn place(wish: &Place<'_>) -> Errand {
    let workflow = percent_encoded(&wish.workflow.0);
    let voice = format!("{}/webhooks/{workflow}", wish.origin);
    let tag = percent_encoded(wish.tag);
    let status = format!("{}/webhooks/twilio/status?workflow={workflow}&tag={tag}", wish.origin);
    let mut form = pairs(&[
        ("To", wish.to),
        ("From", wish.from),
        ("Url", &format!("{voice}?tag={tag}")),
        ("Method", "POST"),
        ("FallbackUrl", &format!("{voice}/next?tag={tag}")),
        ("FallbackMethod", "POST"),
        ("StatusCallback", &status),
        ("StatusCallbackMethod", "POST"),
    ]);
    // One field for each: the network reads a list as its first word.
    form.extend(EVENTS.map(|event| ("StatusCallbackEvent".to_owned(), event.to_owned())));
    if let Some(seconds) = wish.timeout_s {
        form.push(("Timeout".to_owned(), seconds.to_string()));
    }
    asked(Method::Post, "/Calls.json".to_owned(), form, PLACE_MS)
}

/// Newest first: the calls between these two. One that was just placed has no start yet, so none is asked for.
pub fn list(to: &str, from: &str) -> Errand {
    let mut call = HttpCall::new(Method::Get, Endpoint::Twilio("/Calls.json".to_owned()), LOOK_MS);
    call.query = pairs(&[("To", to), ("From", from), ("PageSize", LISTED_MAX)]);
    Errand::Http(Box::new(call))
}

/// Calls that the network holds to be under way.
pub fn list_in_progress() -> Errand {
    let mut call = HttpCall::new(Method::Get, Endpoint::Twilio("/Calls.json".to_owned()), LOOK_MS);
    call.query = pairs(&[("Status", "in-progress"), ("PageSize", "1000")]);
    call.max_bytes = LIST_BYTES_MAX;
    Errand::Http(Box::new(call))
}

/// The answer about one call.
pub fn read(outcome: &Outcome) -> Said {
    let reply = match outcome {
        Ok(reply) => reply,
        Err(error) => return no_answer(error.class, &error.message),
    };
    match reply.status {
        200..=299 => match json(reply).and_then(record) {
            Some(record) => Said::Call(Box::new(record)),
            None => Said::Unknown {
                why: format!("expected a call, got {} with {}", reply.status, reply.quoted()),
            },
        },
        status => failure(status, reply),
    }
}

/// The answer to [`list`] and [`list_in_progress`].
pub fn read_list(outcome: &Outcome) -> Result<Vec<Record>, Said> {
    let reply = match outcome {
        Ok(reply) => reply,
        Err(error) => return Err(no_answer(error.class, &error.message)),
    };
    match reply.status {
        200..=299 => match json(reply).and_then(|answer| answer.get("calls")).and_then(Value::as_array) {
            Some(calls) => Ok(calls.iter().filter_map(record).collect()),
            None => Err(Said::Unknown { why: format!("expected a list of calls, got {}", reply.quoted()) }),
        },
        status => Err(failure(status, reply)),
    }
}

impl Refusal {
    /// What whoever asked can do about it.
    pub fn advice(&self) -> &'static str {
        match (self.code, self.status) {
            (Some(20003 | 20005 | 20008 | 20403), _) | (_, 401 | 403) => {
                "check [twilio] account_sid with auth_tokens, or api_key with api_secret: they must belong together and be active"
            }
            (Some(13224 | 21211 | 21401), _) => "give `to` in the form +14155550100, or as sip: or client:",
            (Some(21201), _) => "give `to`: whom to call",
            (Some(21202 | 21203 | 21214 | 21216 | 21217), _) => {
                "this number cannot be called from this account"
            }
            (Some(21205 | 21207 | 21609 | 21626), _) => {
                "set [public] url to the https address under which the phone network reaches this server"
            }
            (Some(21206 | 21210 | 21212 | 21213 | 21606), _) => {
                "give `from` as a number of this account, or one that was verified for it"
            }
            (Some(21215 | 13227), _) => {
                "allow calls to this country in the account's voice geographic permissions"
            }
            (Some(21219), _) => "a trial account only calls verified numbers: verify this one, or upgrade",
            (Some(20404), _) | (_, 404) => {
                "check [twilio] account_sid and api_url: there is no such account at this address"
            }
            (_, 0) => "set [twilio] account_sid with auth_tokens, or with api_key and api_secret",
            _ => "look the code up in the phone network's list of errors, and change the request accordingly",
        }
    }
}

/// Why an answer is none that was hoped for.
pub(super) fn refused(outcome: &Outcome) -> Refusal {
    match read(outcome) {
        Said::Refused(refusal) => refusal,
        said => {
            let status = outcome.as_ref().map_or(0, |reply| reply.status);
            let message = match said {
                Said::Unknown { why } => why,
                Said::Gone => "there is no such thing in this account".to_owned(),
                Said::TooMany { .. } => "too many requests; ask again in a minute".to_owned(),
                other => format!("answered {other:?}"),
            };
            Refusal { status, code: None, message }
        }
    }
}

fn no_answer(class: ErrorClass, message: &str) -> Said {
    match class {
        ErrorClass::Invalid | ErrorClass::Rejected => {
            Said::Refused(Refusal { status: 0, code: None, message: message.to_owned() })
        }
        _ => Said::Unknown { why: message.to_owned() },
    }
}

fn failure(status: u16, reply: &HttpReply) -> Said {
    let answer = json(reply);
    let code = answer.and_then(|answer| answer.get("code")).and_then(count);
    let message = answer.and_then(|answer| answer.get("message")).and_then(Value::as_str);
    let message = message.map_or_else(|| format!("answered {status} {}", reply.quoted()), str::to_owned);
    match (status, code) {
        (429, _) | (_, Some(20429)) => {
            let after_s = reply.headers.get("retry-after").and_then(|text| text.trim().parse().ok());
            Said::TooMany { after_s }
        }
        (_, Some(21220)) => Said::NotInProgress,
        (404 | 410, _) => Said::Gone,
        (408 | 500..=599, _) => Said::Unknown { why: message },
        _ => Said::Refused(Refusal { status, code, message }),
    }
}

fn record(call: &Value) -> Option<Record> {
    let text = |name: &str| call.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Record {
        call: call_id(call.get("sid")?.as_str()?)?,
        account: text("account_sid"),
        from: text("from"),
        to: text("to"),
        direction: text("direction"),
        status: call.get("status").and_then(Value::as_str).and_then(NetworkStatus::parse),
        duration_s: call.get("duration").and_then(count),
        created_ms: call.get("date_created").and_then(Value::as_str).and_then(rfc2822_ms),
    })
}

/// Numbers come as texts.
fn count(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn rfc2822_ms(text: &str) -> Option<u64> {
    let at = jiff::fmt::rfc2822::parse(text).ok()?;
    u64::try_from(at.timestamp().as_millisecond()).ok()
}

pub(super) fn json(reply: &HttpReply) -> Option<&Value> {
    match &reply.body {
        ReplyBody::Json(value) => Some(value),
        ReplyBody::Text(_) => None,
    }
}

fn asked(method: Method, path: String, form: Vec<(String, String)>, timeout_ms: u64) -> Errand {
    let mut call = HttpCall::new(method, Endpoint::Twilio(path), timeout_ms);
    if !form.is_empty() {
        call.body = Body::Form(form);
    }
    Errand::Http(Box::new(call))
}

fn path(call: &CallId) -> String {
    format!("/Calls/{}.json", percent_encoded(&call.0))
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A call waits for the answer in the silence of its caller.
pub const LOOK_MS: u64 = 5_000;
/// Whoever places a call would rather wait than not know.
const PLACE_MS: u64 = 15_000;
/// All that the network tells of a call's life.
const EVENTS: [&str; 4] = ["initiated", "ringing", "answered", "completed"];
/// A call takes some 1.5 kB.
const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Calls between two numbers that may have been placed within one minute.
const LISTED_MAX: &str = "50";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn answer(status: u16, body: Value) -> Outcome {
        Ok(HttpReply { status, headers: BTreeMap::new(), body: ReplyBody::Json(body) })
    }

    fn sent(errand: Errand) -> HttpCall {
        match errand {
            Errand::Http(call) => *call,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_says_whether_it_was_done_and_whether_it_may_be_asked_again() {
        let call = json!({"sid": "CA1", "status": "in-progress", "duration": "15", "direction": "inbound",
            "date_created": "Tue, 01 Jun 2021 20:48:32 +0000"});
        let Said::Call(record) = read(&answer(200, call.clone())) else { panic!("no call") };
        assert_eq!((record.status, record.duration_s), (Some(NetworkStatus::InProgress), Some(15)));
        assert_eq!(record.created_ms, Some(1_622_580_512_000));
        let said = |status, code: u64| read(&answer(status, json!({"code": code, "message": "no"})));
        assert_eq!(said(404, 20404), Said::Gone);
        assert_eq!(said(400, 21220), Said::NotInProgress);
        assert_eq!(said(429, 20429), Said::TooMany { after_s: None });
        assert!(matches!(said(500, 0), Said::Unknown { .. }));
        assert!(
            matches!(said(401, 20003), Said::Refused(refusal) if refusal.advice().contains("account_sid"))
        );
        assert!(matches!(read(&answer(201, json!({"sid": "../x"}))), Said::Unknown { .. }), "no call's id");
        let list = read_list(&answer(200, json!({"calls": [call, {"status": "queued"}]}))).unwrap();
        assert_eq!(list.len(), 1, "a row without a sid is none");
        assert!(read_list(&answer(503, json!({}))).is_err());
    }

    #[test]
    fn a_call_is_placed_with_its_tag_in_every_address_and_each_event_by_itself() {
        let workflow = WorkflowId("call back".into());
        let wish = Place {
            to: "+1",
            from: "+2",
            origin: "https://h",
            workflow: &workflow,
            tag: "t/1",
            timeout_s: Some(20),
        };
        let call = sent(place(&wish));
        assert_eq!(call.endpoint, Endpoint::Twilio("/Calls.json".into()));
        let Body::Form(form) = call.body else { panic!("no form") };
        let all = |name: &str| -> Vec<&str> {
            form.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
        };
        assert_eq!(all("Url"), ["https://h/webhooks/call%20back?tag=t%2F1"]);
        assert_eq!(
            all("StatusCallback"),
            ["https://h/webhooks/twilio/status?workflow=call%20back&tag=t%2F1"]
        );
        assert_eq!(all("StatusCallbackEvent"), EVENTS);
        assert_eq!(all("Timeout"), ["20"]);
    }

    #[test]
    fn a_redirect_leads_to_what_follows_the_newest_document() {
        let links = Links {
            origin: "https://h".into(),
            workflow: "w".into(),
            call: "CA1".into(),
            return_fragment: "#rc=5".into(),
        };
        let url = |x| match sent(redirect(&CallId("CA1".into()), &links, x)).body {
            Body::Form(form) => form[0].1.clone(),
            _ => panic!("no form"),
        };
        assert_eq!(url(3), "https://h/webhooks/w/next?x=3#rc=5");
        assert_eq!(url(0), "https://h/webhooks/w/next#rc=5");
    }
}
