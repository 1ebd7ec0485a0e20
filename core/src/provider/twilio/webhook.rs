//! The form of a request for a document, in our own words: who calls, and what came of the last document.

use super::form::{Form, cut};
use crate::id::CallId;
use crate::limit::{DIGITS_MAX, VALUE_BYTES_MAX};
use crate::notice::{Arrival, LineAnswer, NetworkStatus};

/// One field of a form, as far as it is kept. Numbers and words have some ten to a hundred characters.
pub const FIELD_BYTES_MAX: usize = 1024;
/// A caller's name is theirs to choose, and a workflow gets it whole; half of what a variable may hold, so that there is
/// room for what is said around it.
pub const NAME_BYTES_MAX: usize = VALUE_BYTES_MAX / 2;
/// What the network understood of one utterance, which lasts a minute at most.
pub const SPEECH_BYTES_MAX: usize = 8 * 1024;
/// A CallSid has 34 characters; a compatible network's may be a UUID or some other name.
pub const CALL_ID_BYTES_MAX: usize = 128;

/// A CallSid that may become part of paths, file names and journal keys as it is; anything else is no CallSid.
pub fn call_id(text: &str) -> Option<CallId> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = !text.is_empty() && text.len() <= CALL_ID_BYTES_MAX && !text.starts_with('.');
    (fits && text.bytes().all(plain)).then(|| CallId(text.to_owned()))
}

/// The call that a form is about; `None` without a usable CallSid.
pub fn call_of(form: &Form) -> Option<CallId> {
    call_id(form.get("CallSid")?)
}

/// The call as the form describes it; `None` without a usable CallSid.
pub fn arrival(form: &Form) -> Option<Arrival> {
    Some(Arrival {
        call: call_of(form)?,
        account: text(form, "AccountSid").unwrap_or_default(),
        from: text(form, "From").unwrap_or_default(),
        to: text(form, "To").unwrap_or_default(),
        direction: text(form, "Direction").unwrap_or_default(),
        status: form.get("CallStatus").and_then(NetworkStatus::parse),
        caller_name: form.filled("CallerName").map(|name| cut(name, NAME_BYTES_MAX).to_owned()),
        forwarded_from: text(form, "ForwardedFrom"),
    })
}

/// What came of the last document's verb. A plain return has none of these fields; so has a Gather that nobody
/// answered, which is told by the place of the verb in the URL.
pub fn line_answer(form: &Form) -> LineAnswer {
    // Branches compare these words, so their letter case must not depend on the sender.
    let word = |name| text(form, name).map(|word| word.to_ascii_lowercase());
    if let Some(result) = word("QueueResult") {
        return LineAnswer::Queued { result, wait_seconds: number(form, "QueueTime") };
    }
    if let Some(status) = word("DialCallStatus") {
        return LineAnswer::Dialed {
            status,
            call_sid: text(form, "DialCallSid"),
            duration_s: number(form, "DialCallDuration"),
            recording_url: text(form, "RecordingUrl"),
        };
    }
    let (digits, speech) = (form.get("Digits"), form.filled("SpeechResult"));
    if digits.is_none() && speech.is_none() {
        return LineAnswer::Returned;
    }
    LineAnswer::Gathered {
        // A stream's keys are no other: whatever else stands here was not pressed.
        digits: digits.unwrap_or_default().chars().filter(is_key).take(DIGITS_MAX).collect(),
        speech: speech.map(|speech| cut(speech, SPEECH_BYTES_MAX).to_owned()),
        confidence: form
            .get("Confidence")
            .and_then(|text| text.trim().parse().ok())
            .filter(|confidence: &f64| confidence.is_finite()),
    }
}

fn is_key(key: &char) -> bool {
    "0123456789*#ABCD".contains(*key)
}

/// Why the network asks the fallback URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkError {
    pub code: String,
    /// The URL that failed.
    pub url: Option<String>,
}

pub fn network_error(form: &Form) -> Option<NetworkError> {
    let (code, url) = (text(form, "ErrorCode"), text(form, "ErrorUrl"));
    if code.is_none() && url.is_none() {
        return None;
    }
    Some(NetworkError { code: code.unwrap_or_default(), url })
}

/// A field that isn't empty, cut to what is kept of one.
pub(super) fn text(form: &Form, name: &str) -> Option<String> {
    form.filled(name).map(|value| cut(value, FIELD_BYTES_MAX).to_owned())
}

pub(super) fn number(form: &Form, name: &str) -> Option<u64> {
    form.get(name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(text: &str) -> Form {
        Form::parse(text.as_bytes())
    }

    #[test]
    fn an_arrival_keeps_what_it_is_told_within_bounds() {
        let name = "n".repeat(10_000);
        let text = |name: &str| {
            format!(
                "CallSid=CA1&AccountSid=AC1&From=%2B1415&To=sip%3Ax%40y&Direction=inbound&CallStatus=RINGING&\
                 ForwardedFrom={}&CallerName={name}",
                "f".repeat(5000)
            )
        };
        let endless = arrival(&form(&text(&"n".repeat(60_000)))).unwrap();
        assert_eq!(endless.caller_name.map(|name| name.len()), Some(NAME_BYTES_MAX));
        let arrival = arrival(&form(&text(&name))).unwrap();
        assert_eq!((arrival.from.as_str(), arrival.to.as_str()), ("+1415", "sip:x@y"));
        assert_eq!(arrival.status, Some(NetworkStatus::Ringing));
        assert_eq!(arrival.caller_name.unwrap(), name);
        assert_eq!(arrival.forwarded_from.map(|number| number.len()), Some(FIELD_BYTES_MAX));
    }

    #[test]
    fn a_call_id_is_a_name_and_never_a_path() {
        for good in ["CA0123456789abcdef0123456789abcdef", "0190b3c4-1c2d-7e3f-8a4b-5c6d7e8f9a0b", "a.b_c"] {
            assert!(call_id(good).is_some(), "{good}");
        }
        for bad in ["", "..", ".hidden", "a/b", "a\\b", "a b", "ü", "a|1", &"C".repeat(CALL_ID_BYTES_MAX + 1)]
        {
            assert!(call_id(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_fields_say_which_verb_has_ended() {
        let answer = |text| line_answer(&form(text));
        assert_eq!(answer("CallSid=CA1&CallStatus=in-progress"), LineAnswer::Returned);
        assert_eq!(
            answer("Digits=12%23"),
            LineAnswer::Gathered { digits: "12#".into(), speech: None, confidence: None }
        );
        assert_eq!(
            answer("Digits=%3C4%C3%BCx%3E%00D"),
            LineAnswer::Gathered { digits: "4D".into(), speech: None, confidence: None }
        );
        let LineAnswer::Dialed { status, .. } = answer("DialCallStatus=No-Answer") else { panic!() };
        assert_eq!(status, "no-answer");
        assert_eq!(
            answer("SpeechResult=yes+please&Confidence=0.9"),
            LineAnswer::Gathered {
                digits: "".into(),
                speech: Some("yes please".into()),
                confidence: Some(0.9)
            }
        );
        assert_eq!(
            answer("Digits=&Confidence=NaN"),
            LineAnswer::Gathered { digits: "".into(), speech: None, confidence: None }
        );
        assert_eq!(
            answer("DialCallStatus=answered&Digits=1"),
            LineAnswer::Dialed {
                status: "answered".into(),
                call_sid: None,
                duration_s: None,
                recording_url: None
            }
        );
        assert_eq!(
            answer("QueueResult=bridged&QueueTime=31"),
            LineAnswer::Queued { result: "bridged".into(), wait_seconds: Some(31) }
        );
    }
}
