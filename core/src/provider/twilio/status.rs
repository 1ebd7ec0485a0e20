//! The forms that only tell: a call's status, a stream's, a recording's, a conference's. `None` from any of these means
//! that the form doesn't say what it is about.

use super::form::Form;
use super::webhook::{call_id, call_of, number, text};
use crate::notice::{ConferenceNotice, NetworkStatus, RecordingNotice, StatusNotice, StreamNotice};

pub fn status_notice(form: &Form) -> Option<StatusNotice> {
    let raw = text(form, "CallStatus").unwrap_or_default();
    Some(StatusNotice {
        call: call_of(form)?,
        parent: form.filled("ParentCallSid").and_then(call_id),
        status: NetworkStatus::parse(&raw),
        raw,
        sequence: number(form, "SequenceNumber"),
        // `Duration` is the same in begun minutes, for the bill.
        duration_s: number(form, "CallDuration"),
        sip_code: text(form, "SipResponseCode"),
    })
}

pub fn stream_notice(form: &Form) -> Option<StreamNotice> {
    Some(StreamNotice {
        call: call_of(form)?,
        stream: text(form, "StreamSid").unwrap_or_default(),
        event: text(form, "StreamEvent").unwrap_or_default(),
        error: text(form, "StreamError"),
    })
}

/// `query` stands in for the CallSid that a conference's recording comes without.
pub fn recording_notice(form: &Form, query: &Form) -> Option<RecordingNotice> {
    Some(RecordingNotice {
        call: call_of(form).or_else(|| query.get("callSid").and_then(call_id))?,
        sid: text(form, "RecordingSid").unwrap_or_default(),
        url: text(form, "RecordingUrl").unwrap_or_default(),
        status: text(form, "RecordingStatus").unwrap_or_default(),
        seconds: number(form, "RecordingDuration"),
    })
}

pub fn conference_notice(form: &Form) -> Option<ConferenceNotice> {
    let conference = text(form, "ConferenceSid")?;
    let call = form.filled("CallSid").or_else(|| form.filled("CallSidEndingConference")).and_then(call_id);
    Some(ConferenceNotice {
        call,
        conference,
        name: text(form, "FriendlyName").unwrap_or_default(),
        event: text(form, "StatusCallbackEvent").unwrap_or_default(),
        label: text(form, "ParticipantLabel").or_else(|| text(form, "ParticipantLabelEndingConference")),
        reason: text(form, "ReasonParticipantLeft").or_else(|| text(form, "ReasonConferenceEnded")),
        sequence: number(form, "SequenceNumber"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::CallId;

    fn form(text: &str) -> Form {
        Form::parse(text.as_bytes())
    }

    #[test]
    fn a_status_is_read_even_when_its_word_is_unknown() {
        let notice = status_notice(&form(
            "CallSid=CA2&ParentCallSid=CA1&CallStatus=Completed&CallDuration=42&Duration=1&SequenceNumber=3&SipResponseCode=200",
        ));
        assert_eq!(
            notice.unwrap(),
            StatusNotice {
                call: CallId("CA2".into()),
                parent: Some(CallId("CA1".into())),
                status: Some(NetworkStatus::Completed),
                raw: "Completed".into(),
                sequence: Some(3),
                duration_s: Some(42),
                sip_code: Some("200".into()),
            }
        );
        let odd = status_notice(&form("CallSid=CA2&CallStatus=parked")).unwrap();
        assert_eq!((odd.status, odd.raw.as_str()), (None, "parked"));
        assert_eq!(status_notice(&form("CallStatus=completed")), None);
    }

    #[test]
    fn a_conference_recording_is_found_by_its_url() {
        let recording = form(
            "RecordingSid=RE1&RecordingStatus=completed&RecordingDuration=7&RecordingUrl=https%3A%2F%2Fx",
        );
        assert_eq!(recording_notice(&recording, &form("")), None);
        let notice = recording_notice(&recording, &form("callSid=CA9")).unwrap();
        assert_eq!((notice.call, notice.seconds), (CallId("CA9".into()), Some(7)));
    }

    #[test]
    fn a_conference_may_speak_for_itself() {
        let ended = conference_notice(&form(
            "ConferenceSid=CF1&FriendlyName=room&StatusCallbackEvent=conference-end&ReasonConferenceEnded=last-participant-left&CallSidEndingConference=CA3",
        ))
        .unwrap();
        assert_eq!(ended.call, Some(CallId("CA3".into())));
        assert_eq!(ended.reason.as_deref(), Some("last-participant-left"));
        let started =
            conference_notice(&form("ConferenceSid=CF1&StatusCallbackEvent=conference-start")).unwrap();
        assert_eq!(started.call, None);
        assert_eq!(conference_notice(&form("CallSid=CA1")), None);
    }
}
