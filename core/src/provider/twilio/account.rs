//! The account and its numbers in the network's REST API: who we are there, and where a number's calls lead.

use super::rest::{LOOK_MS, Refusal, json, refused};
use crate::http::{Body, Endpoint, Errand, HttpCall, HttpReply, Method, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One number of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    pub sid: String,
    /// `+14155550100`
    pub number: String,
    pub name: String,
    /// A trunk or an application of its own takes its calls, whatever the addresses say.
    pub trunk: Option<String>,
    pub addresses: Addresses,
}

/// Where a number's calls and statuses go. Empty: nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Addresses {
    pub voice: Address,
    pub fallback: Address,
    pub status: Address,
    /// Set, it stands before the addresses.
    pub application: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Address {
    pub url: String,
    /// `POST` or `GET`
    pub method: String,
}

/// The account as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    /// `active`, `suspended`, `closed`
    pub status: String,
    /// `Trial` or `Full`
    pub kind: String,
}

impl Address {
    pub fn post(url: impl Into<String>) -> Address {
        Address { url: url.into(), method: "POST".to_owned() }
    }
}

impl Addresses {
    /// Those of a workflow of ours.
    pub fn of(origin: &str, workflow: &str) -> Addresses {
        let voice = format!("{origin}/webhooks/{}", super::form::percent_encoded(workflow));
        Addresses {
            fallback: Address::post(format!("{voice}/next")),
            voice: Address::post(voice),
            status: Address::post(format!("{origin}/webhooks/twilio/status")),
            application: String::new(),
        }
    }

    /// In the words of the API.
    pub fn fields(&self) -> [(&'static str, &str); 7] {
        [
            ("VoiceUrl", &self.voice.url),
            ("VoiceMethod", &self.voice.method),
            ("VoiceFallbackUrl", &self.fallback.url),
            ("VoiceFallbackMethod", &self.fallback.method),
            ("StatusCallback", &self.status.url),
            ("StatusCallbackMethod", &self.status.method),
            ("VoiceApplicationSid", &self.application),
        ]
    }
}

/// Who these credentials are.
pub fn fetch_account() -> Errand {
    look(".json".to_owned())
}

/// The account's numbers; only this one when it is named.
pub fn list_numbers(number: Option<&str>) -> Errand {
    let mut call =
        HttpCall::new(Method::Get, Endpoint::Twilio("/IncomingPhoneNumbers.json".to_owned()), LOOK_MS);
    call.query = vec![("PageSize".to_owned(), NUMBERS_MAX.to_owned())];
    call.query.extend(number.map(|number| ("PhoneNumber".to_owned(), number.to_owned())));
    call.max_bytes = LIST_BYTES_MAX;
    Errand::Http(Box::new(call))
}

/// From now on its calls go there.
pub fn point_number(sid: &str, addresses: &Addresses) -> Errand {
    let path = format!("/IncomingPhoneNumbers/{}.json", super::form::percent_encoded(sid));
    let mut call = HttpCall::new(Method::Post, Endpoint::Twilio(path), LOOK_MS);
    let fields = addresses.fields().into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    call.body = Body::Form(fields.collect());
    Errand::Http(Box::new(call))
}

/// The answer to [`fetch_account`].
pub fn read_account(outcome: &Outcome) -> Result<Account, Refusal> {
    let answer = answered(outcome)?;
    let text = |name: &str| text(answer, name);
    Ok(Account { name: text("friendly_name"), status: text("status"), kind: text("type") })
}

/// The answer to [`list_numbers`].
pub fn read_numbers(outcome: &Outcome) -> Result<Vec<Number>, Refusal> {
    let answer = answered(outcome)?;
    let list = answer.get("incoming_phone_numbers").and_then(Value::as_array);
    match list {
        Some(numbers) => Ok(numbers.iter().filter_map(number).collect()),
        None => Err(Refusal {
            status: 200,
            code: None,
            message: "expected a list of numbers, got something else".to_owned(),
        }),
    }
}

/// The answer to [`point_number`]: the number as it stands now.
pub fn read_number(outcome: &Outcome) -> Result<Number, Refusal> {
    let strange = || Refusal {
        status: 200,
        code: None,
        message: "expected a number of the account, got something else".to_owned(),
    };
    number(answered(outcome)?).ok_or_else(strange)
}

fn answered(outcome: &Outcome) -> Result<&Value, Refusal> {
    match outcome {
        Ok(HttpReply { status: 200..=299, .. }) => {}
        _ => return Err(refused(outcome)),
    }
    let reply = outcome.as_ref().ok().and_then(json);
    reply.ok_or_else(|| Refusal { status: 200, code: None, message: "expected JSON, got a text".to_owned() })
}

fn number(value: &Value) -> Option<Number> {
    let text = |name: &str| text(value, name);
    let address = |url: &str, method: &str| Address { url: text(url), method: text(method) };
    Some(Number {
        sid: value.get("sid")?.as_str()?.to_owned(),
        number: text("phone_number"),
        name: text("friendly_name"),
        trunk: Some(text("trunk_sid")).filter(|sid| !sid.is_empty()),
        addresses: Addresses {
            voice: address("voice_url", "voice_method"),
            fallback: address("voice_fallback_url", "voice_fallback_method"),
            status: address("status_callback", "status_callback_method"),
            application: text("voice_application_sid"),
        },
    })
}

fn look(path: String) -> Errand {
    Errand::Http(Box::new(HttpCall::new(Method::Get, Endpoint::Twilio(path), LOOK_MS)))
}

/// What the API does not know it gives as null.
fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The largest page; an account with more numbers names the one that is meant.
const NUMBERS_MAX: &str = "1000";
/// A number takes some 2 kB.
const LIST_BYTES_MAX: usize = 4 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{NoReply, ReplyBody};
    use crate::scene::ErrorClass;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn answer(status: u16, body: Value) -> Outcome {
        Ok(HttpReply { status, headers: BTreeMap::new(), body: ReplyBody::Json(body) })
    }

    #[test]
    fn a_number_is_pointed_at_a_workflow_with_a_fallback_and_a_status_and_read_back() {
        let ours = Addresses::of("https://h/base", "main line");
        assert_eq!(ours.voice, Address::post("https://h/base/webhooks/main%20line"));
        assert_eq!(ours.fallback.url, "https://h/base/webhooks/main%20line/next");
        assert_eq!(ours.status.url, "https://h/base/webhooks/twilio/status");
        let Errand::Http(call) = point_number("PN1", &ours) else { panic!("a mail") };
        assert_eq!(call.endpoint, Endpoint::Twilio("/IncomingPhoneNumbers/PN1.json".into()));
        let Body::Form(form) = call.body else { panic!("no form") };
        assert!(form.contains(&("VoiceApplicationSid".into(), String::new())), "it would stand before ours");
        let told = json!({
            "sid": "PN1", "phone_number": "+1", "friendly_name": "n", "trunk_sid": null,
            "voice_url": ours.voice.url, "voice_method": "POST",
            "voice_fallback_url": ours.fallback.url, "voice_fallback_method": "POST",
            "status_callback": ours.status.url, "status_callback_method": "POST", "voice_application_sid": null,
        });
        let read = read_number(&answer(200, told.clone())).unwrap();
        assert_eq!((&read.addresses, read.trunk.as_deref()), (&ours, None));
        let list = answer(200, json!({ "incoming_phone_numbers": [told, { "phone_number": "+2" }] }));
        assert_eq!(read_numbers(&list).unwrap(), [read], "a row without a sid is none");
    }

    #[test]
    fn a_refusal_is_told_with_its_code_and_what_never_arrived_without_one() {
        let said =
            read_account(&answer(401, json!({ "code": 20003, "message": "Authenticate" }))).unwrap_err();
        assert_eq!((said.status, said.code), (401, Some(20003)));
        let silent = Err(NoReply { class: ErrorClass::Unavailable, message: "nobody answered".into() });
        assert_eq!(read_numbers(&silent).unwrap_err().message, "nobody answered");
        assert!(read_numbers(&answer(200, json!({}))).is_err());
        assert!(matches!(refused(&silent), Refusal { status: 0, .. }));
    }
}
