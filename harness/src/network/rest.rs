//! The REST side of the pretend network: a call's resource, as the published API describes it.
//!
//! `GET …/Calls/{sid}.json`, `POST …/Calls/{sid}.json` with `Status` or `Url`, `GET …/Calls.json` and `POST
//! …/Calls.json`. The last one dials: whoever owns the lines makes one of what is asked, and lets it ring. Beside the calls
//! the account itself and its numbers can be asked for: `GET …/Accounts/{sid}.json`, `GET …/IncomingPhoneNumbers.json`
//! and `POST …/IncomingPhoneNumbers/{sid}.json`.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdline_core::Now;
use serde_json::{Value, json};

use super::config::{LineConfig, StatusEvent};
use super::date;
use super::effect::{Effect, Input, Status};
use super::line::Line;
use super::sign::Field;
use super::url::decode;

/// A request as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRequest {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub authorization: Option<String>,
    pub body: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiReply {
    pub status: u16,
    pub body: Value,
}

/// Who may ask, and for which account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub sid: String,
    /// User and password; the account's id and its auth token, or an API key and its secret.
    pub user: String,
    pub password: String,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Fetch { call: String },
    End { call: String },
    Redirect { call: String, url: String },
    List { fields: Vec<Field> },
    Dial(Box<Dialled>),
    Account,
    Numbers { fields: Vec<Field> },
    Number { number: String, fields: Vec<Field> },
}

/// A call to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    pub to: String,
    pub from: String,
    pub url: String,
    pub fallback_url: Option<String>,
    pub status_url: Option<String>,
    pub status_events: Vec<StatusEvent>,
    pub timeout: Duration,
}

impl ApiReply {
    fn error(status: u16, code: u32, message: &str) -> ApiReply {
        let more = format!("https://www.twilio.com/docs/errors/{code}");
        ApiReply {
            status,
            body: json!({"code": code, "message": message, "more_info": more, "status": status}),
        }
    }

    /// A resource that does not exist.
    pub fn not_found(path: &str) -> ApiReply {
        ApiReply::error(404, 20404, &format!("The requested resource {path} was not found"))
    }
}

impl Account {
    /// What a request asks for, or why not.
    pub fn read(&self, request: &ApiRequest) -> Result<Asked, ApiReply> {
        let pair = STANDARD.encode(format!("{}:{}", self.user, self.password));
        if request.authorization.as_deref() != Some(&format!("Basic {pair}")) {
            return Err(ApiReply::error(401, 20003, "Authenticate"));
        }
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let missing = || ApiReply::not_found(path);
        let below = path.strip_prefix(&format!("/2010-04-01/Accounts/{}", self.sid)).ok_or_else(missing)?;
        let form = decode(&request.body);
        if let Some(numbers) = below.strip_prefix("/IncomingPhoneNumbers") {
            let one = numbers.strip_prefix('/').and_then(|rest| rest.strip_suffix(".json"));
            return match (request.method.as_str(), one, numbers) {
                ("POST", Some(number), _) => Ok(Asked::Number { number: number.to_owned(), fields: form }),
                ("GET", None, ".json") => Ok(Asked::Numbers { fields: decode(query) }),
                _ => Err(missing()),
            };
        }
        if (request.method.as_str(), below) == ("GET", ".json") {
            return Ok(Asked::Account);
        }
        let calls = below.strip_prefix("/Calls").ok_or_else(missing)?;
        let one = calls.strip_prefix('/').and_then(|rest| rest.strip_suffix(".json"));
        match (request.method.as_str(), one, calls) {
            ("GET", Some(call), _) => Ok(Asked::Fetch { call: call.to_owned() }),
            ("POST", Some(call), _) => changed(call.to_owned(), &form),
            ("GET", None, ".json") => Ok(Asked::List { fields: decode(query) }),
            ("POST", None, ".json") => dialled(&form).map(|dialled| Asked::Dial(Box::new(dialled))),
            _ => Err(missing()),
        }
    }
}

/// The words of a number's resource, and how they are called when they are set.
const NUMBER_FIELDS: [(&str, &str); 8] = [
    ("VoiceUrl", "voice_url"),
    ("VoiceMethod", "voice_method"),
    ("VoiceFallbackUrl", "voice_fallback_url"),
    ("VoiceFallbackMethod", "voice_fallback_method"),
    ("StatusCallback", "status_callback"),
    ("StatusCallbackMethod", "status_callback_method"),
    ("VoiceApplicationSid", "voice_application_sid"),
    ("FriendlyName", "friendly_name"),
];

/// Sets what is named, and leaves the rest as it stands. An application that is taken away is null.
pub(super) fn set_number(number: &mut Value, fields: &[Field]) -> Result<(), ApiReply> {
    for (name, value) in fields {
        let Some((_, key)) = NUMBER_FIELDS.iter().find(|(known, _)| known == name) else {
            return Err(ApiReply::error(400, 20001, &format!("Unknown parameter {name}")));
        };
        let is_url = name.ends_with("Url") || name == "StatusCallback";
        if is_url && !value.is_empty() && !value.starts_with("http") {
            return Err(ApiReply::error(400, 21502, &format!("{name} is not a valid URL")));
        }
        number[*key] = match (*key, value.as_str()) {
            ("voice_application_sid", "") => Value::Null,
            (_, value) => value.into(),
        };
    }
    Ok(())
}

fn field<'f>(form: &'f [Field], name: &str) -> Option<&'f str> {
    form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn changed(call: String, form: &[Field]) -> Result<Asked, ApiReply> {
    match (field(form, "Status"), field(form, "Url")) {
        (Some("completed" | "canceled"), None) => Ok(Asked::End { call }),
        (None, Some(url)) => Ok(Asked::Redirect { call, url: url.to_owned() }),
        _ => Err(ApiReply::error(400, 20001, "expected either Status=completed or Url")),
    }
}

fn dialled(form: &[Field]) -> Result<Dialled, ApiReply> {
    let needed = |name: &str, code: u32| {
        field(form, name)
            .filter(|value| !value.is_empty())
            .map(str::to_owned)
            .ok_or_else(|| ApiReply::error(400, code, &format!("No '{name}' is specified")))
    };
    let events = form.iter().filter(|(name, _)| name == "StatusCallbackEvent");
    let status_events: Vec<StatusEvent> = events
        .filter_map(|(_, event)| match event.as_str() {
            "initiated" => Some(StatusEvent::Initiated),
            "ringing" => Some(StatusEvent::Ringing),
            "answered" => Some(StatusEvent::Answered),
            "completed" => Some(StatusEvent::Completed),
            _ => None,
        })
        .collect();
    let seconds = field(form, "Timeout").and_then(|seconds| seconds.parse().ok()).unwrap_or(60);
    Ok(Dialled {
        to: needed("To", 21201)?,
        from: needed("From", 21213)?,
        url: needed("Url", 21205)?,
        fallback_url: field(form, "FallbackUrl").map(str::to_owned),
        status_url: field(form, "StatusCallback").map(str::to_owned),
        status_events: if status_events.is_empty() { vec![StatusEvent::Completed] } else { status_events },
        timeout: Duration::from_secs(seconds),
    })
}

impl LineConfig {
    /// The line of a call that was asked for by the API; its far end is whoever answers under that number.
    pub fn of_api(mut self, dialled: &Dialled) -> LineConfig {
        self.to.clone_from(&dialled.to);
        self.from.clone_from(&dialled.from);
        self.voice_url.clone_from(&dialled.url);
        self.fallback_url.clone_from(&dialled.fallback_url);
        self.status_url.clone_from(&dialled.status_url);
        self.status_events.clone_from(&dialled.status_events);
        self.outbound = Some(dialled.timeout);
        self
    }
}

impl Line {
    /// What is asked of this call, and what its resource then says.
    pub fn asked(&mut self, now: Now, asked: &Asked, out: &mut Vec<Effect>) -> ApiReply {
        match asked {
            Asked::End { .. } if !self.status.is_terminal() => self.handle(now, Input::Ended, out),
            Asked::Redirect { url, .. } => {
                if self.status != Status::InProgress && self.config.outbound.is_some()
                    || self.status.is_terminal()
                {
                    return ApiReply::error(400, 21220, "Call is not in-progress. Cannot redirect.");
                }
                self.handle(now, Input::Redirected { url: url.clone() }, out);
            }
            _ => {}
        }
        ApiReply { status: 200, body: self.resource(now) }
    }

    /// Numbers are texts, as the API writes them.
    pub fn resource(&self, now: Now) -> Value {
        let config = &self.config;
        let began = self.began.unwrap_or(now);
        let lasted = self.ended_at.zip(self.answered_at).map(|(end, answer)| end.since(answer).as_secs());
        let direction = if config.outbound.is_some() { "outbound-api" } else { "inbound" };
        // An inbound call that is answered by a document is in progress for the API before anything is heard.
        let status = match self.status {
            Status::Ringing if config.outbound.is_none() => "in-progress",
            status => status.word(),
        };
        json!({
            "sid": config.call_sid,
            "account_sid": config.account_sid,
            "from": config.from,
            "to": config.to,
            "direction": direction,
            "status": status,
            "duration": lasted.map(|seconds| seconds.to_string()),
            "date_created": date::rfc2822(began.wall_ms),
            "api_version": "2010-04-01",
            "uri": format!("/2010-04-01/Accounts/{}/Calls/{}.json", config.account_sid, config.call_sid),
        })
    }
}
