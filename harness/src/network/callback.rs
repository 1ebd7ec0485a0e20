//! Callbacks about the call and its recordings, and what may go wrong with them on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use holdline_core::{Now, Tick};

use super::ask::Purpose;
use super::config::StatusEvent;
use super::date;
use super::effect::{Effect, Status};
use super::line::Line;
use super::sign::{self, Field};
use super::twiml::{Callback, Method};
use super::url::Target;

/// Call status callbacks that have not left yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    due: BTreeMap<(Tick, u64), Vec<Field>>,
    /// Held back until the terminal one has left.
    held: Vec<Vec<Field>>,
    sequence: u64,
    order: u64,
}

/// Between a callback and its repetition.
const REPEAT_GAP: Duration = Duration::from_millis(100);

impl Outbox {
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    fn put(&mut self, at: Tick, fields: Vec<Field>, repeats: u32) {
        for turn in 0..=repeats {
            self.order += 1;
            self.due.insert((at + REPEAT_GAP * turn, self.order), fields.clone());
        }
    }
}

impl Line {
    /// The call has come to `event`: its callback leaves, or is lost, held or late as the faults say.
    pub(super) fn announce(&mut self, now: Now, event: StatusEvent) {
        if self.config.status_url.is_none() || !self.config.status_events.contains(&event) {
            return;
        }
        let sequence = self.outbox.sequence;
        self.outbox.sequence += 1;
        let faults = &self.config.faults;
        if faults.lost.contains(&event) {
            return;
        }
        let (repeats, at, reorder) = (faults.repeats, now.tick + faults.late, faults.reorder);
        let fields = self.status_fields(now, event, sequence);
        if reorder && event != StatusEvent::Completed {
            self.outbox.held.push(fields);
            return;
        }
        self.outbox.put(at, fields, repeats);
        let mut at = at;
        while let Some(fields) = self.outbox.held.pop() {
            at = at + REPEAT_GAP;
            self.outbox.put(at, fields, repeats);
        }
    }

    pub(super) fn wake_outbox(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some(entry) = self.outbox.due.first_entry().filter(|entry| entry.key().0 <= now.tick) {
            let fields = entry.remove();
            let url = self.config.status_url.clone().unwrap_or_default();
            // It was set when the callback was put here; an unusable one has nobody to tell.
            if let Ok(target) = Target::resolve(&self.config.voice_url, &url) {
                self.ask(now, Purpose::Callback, target, Method::Post, fields, out);
            }
        }
    }

    fn status_fields(&self, now: Now, event: StatusEvent, sequence: u64) -> Vec<Field> {
        let status = match event {
            StatusEvent::Initiated => "initiated",
            StatusEvent::Ringing => "ringing",
            StatusEvent::Answered => "in-progress",
            StatusEvent::Completed => self.status.word(),
        };
        let mut fields = self.standard_fields();
        set(&mut fields, "CallStatus", status);
        set(&mut fields, "CallbackSource", "call-progress-events");
        set(&mut fields, "SequenceNumber", &sequence.to_string());
        set(&mut fields, "Timestamp", &date::rfc2822(now.wall_ms));
        if event == StatusEvent::Completed {
            let seconds = self.answered_at.map_or(0, |at| now.tick.since(at).as_secs());
            set(&mut fields, "CallDuration", &seconds.to_string());
            set(&mut fields, "Duration", &seconds.div_ceil(60).to_string());
            let code = match self.status {
                Status::Busy => "486",
                Status::NoAnswer => "480",
                Status::Canceled => "487",
                Status::Failed => "500",
                _ => "200",
            };
            set(&mut fields, "SipResponseCode", code);
        }
        fields
    }

    /// A callback of a dialled leg: about a call of its own.
    pub(super) fn leg_fields(
        &self,
        now: Now,
        sid: &str,
        target: &str,
        status: &str,
        sequence: u64,
        talked: Option<Duration>,
    ) -> Vec<Field> {
        let mut fields = self.standard_fields();
        set(&mut fields, "ParentCallSid", &self.config.call_sid);
        set(&mut fields, "CallSid", sid);
        set(&mut fields, "CallStatus", status);
        set(&mut fields, "Direction", "outbound-dial");
        set(&mut fields, "To", target);
        set(&mut fields, "Called", target);
        set(&mut fields, "CallbackSource", "call-progress-events");
        set(&mut fields, "SequenceNumber", &sequence.to_string());
        set(&mut fields, "Timestamp", &date::rfc2822(now.wall_ms));
        if let Some(talked) = talked {
            set(&mut fields, "CallDuration", &talked.as_secs().to_string());
            set(&mut fields, "Duration", &talked.as_secs().div_ceil(60).to_string());
        }
        fields
    }

    /// What a recording's callback says. Its URL is never fetched here: nobody keeps pretend recordings.
    pub(super) fn recording_fields(
        &self,
        now: Now,
        sid: &str,
        status: &str,
        length: Duration,
        channels: u8,
        source: &str,
    ) -> Vec<Field> {
        let config = &self.config;
        let started = now.wall_ms.saturating_sub(u64::try_from(length.as_millis()).unwrap_or(0));
        let mut fields = Vec::new();
        for (name, value) in [
            ("AccountSid", config.account_sid.clone()),
            ("CallSid", config.call_sid.clone()),
            ("RecordingSid", sid.to_owned()),
            ("RecordingUrl", self.recording_url(sid)),
            ("RecordingStatus", status.to_owned()),
            ("RecordingDuration", length.as_secs().to_string()),
            ("RecordingChannels", channels.to_string()),
            ("RecordingStartTime", date::rfc2822(started)),
            ("RecordingSource", source.to_owned()),
            ("RecordingTrack", "both".to_owned()),
        ] {
            set(&mut fields, name, &value);
        }
        fields
    }

    pub(super) fn recording_url(&self, sid: &str) -> String {
        format!("https://api.twilio.com/2010-04-01/Accounts/{}/Recordings/{sid}", self.config.account_sid)
    }

    /// An identifier of something that belongs to this call.
    pub(super) fn new_sid(&mut self, prefix: &str) -> String {
        self.children += 1;
        sign::sid(prefix, &format!("{}|{prefix}|{}", self.config.call_sid, self.children))
    }

    pub(super) fn end_recordings(&mut self, now: Now, out: &mut Vec<Effect>) {
        for recording in std::mem::take(&mut self.recordings) {
            let length = now.tick.since(recording.began);
            if let Some(to) =
                recording.callback.filter(|_| recording.events.iter().any(|event| event == "completed"))
            {
                let fields = self.recording_fields(
                    now,
                    &recording.sid,
                    "completed",
                    length,
                    recording.channels,
                    "StartCallRecordingTwiML",
                );
                self.post(now, &to, fields, out);
            }
        }
    }
}

/// Replaces the field or adds it.
pub(super) fn set(fields: &mut Vec<Field>, name: &str, value: &str) {
    match fields.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value.to_owned(),
        None => fields.push((name.to_owned(), value.to_owned())),
    }
}

/// The action of a verb that cannot do without: its own, or the current document again.
pub(super) fn or_itself(action: Option<&String>, method: Method) -> Callback {
    Callback { url: action.cloned().unwrap_or_default(), method }
}
