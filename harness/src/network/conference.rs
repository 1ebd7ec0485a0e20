//! A Dial into a conference: others come and go, and the room's callbacks say so.

use std::time::Duration;

use holdline_core::{Now, Tick};

use super::caller::Moment;
use super::config::{Answers, FarEnd, Party};
use super::date;
use super::effect::{Effect, Experience};
use super::line::Line;
use super::perform::Doing;
use super::sign::Field;
use super::twiml::{Callback, Dial, Noun};

#[derive(Debug)]
pub(super) struct Conferring {
    dial: Dial,
    noun: Noun,
    sid: String,
    far: FarEnd,
    joins: Option<Tick>,
    other: Option<String>,
    until: Option<Tick>,
    sequence: u64,
}

impl Conferring {
    pub(super) fn due(&self) -> Option<Tick> {
        self.joins.or(self.until)
    }

    pub(super) fn leaves_by_star(&self) -> bool {
        self.dial.hangup_on_star
    }
}

impl Line {
    pub(super) fn confer(&mut self, now: Now, dial: Dial, noun: Noun, out: &mut Vec<Effect>) {
        let far = self.config.far_end(&noun.name);
        let joins = match far.answers {
            Answers::After(after) => Some(now.tick + after),
            _ => None,
        };
        let mut conferring = Conferring {
            dial,
            noun,
            sid: self.new_sid("CF"),
            far,
            joins,
            other: None,
            until: None,
            sequence: 0,
        };
        let caller = self.config.call_sid.clone();
        self.room_event(now, &mut conferring, "join", Some(&caller), Vec::new(), out);
        out.push(Effect::Experience(Experience::Bridged { target: conferring.noun.name.clone() }));
        self.caller.notices(now.tick, Moment::Bridge, true);
        self.doing = Doing::Conferring(conferring);
    }

    pub(super) fn wake_conference(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Doing::Conferring(mut conferring) = std::mem::replace(&mut self.doing, Doing::Between) else {
            return;
        };
        if conferring.joins.is_some_and(|joins| joins <= now.tick) {
            conferring.joins = None;
            let other = self.new_sid("CA");
            self.room_event(now, &mut conferring, "join", Some(&other), Vec::new(), out);
            // Sound is mixed from the second participant on, if one of them may start it.
            if conferring.noun.starts {
                self.room_event(now, &mut conferring, "start", None, Vec::new(), out);
            }
            conferring.other = Some(other);
            conferring.until = conferring.far.talks.map(|talks| now.tick + talks);
        }
        if conferring.until.is_none_or(|until| until > now.tick) {
            self.doing = Doing::Conferring(conferring);
        } else if conferring.far.hangs_up == Party::Caller {
            self.doing = Doing::Conferring(conferring);
            self.hang_up(now, out);
        } else {
            // The other one was there to end it: a room that lives on with the caller alone would never be left.
            self.other_leaves(now, &mut conferring, "participant_hung_up", out);
            self.leave_room(now, conferring, false, out);
        }
    }

    fn other_leaves(&mut self, now: Now, conferring: &mut Conferring, why: &str, out: &mut Vec<Effect>) {
        if let Some(other) = conferring.other.take() {
            let more = vec![
                ("ParticipantCallStatus".to_owned(), "completed".to_owned()),
                ("ReasonParticipantLeft".to_owned(), why.to_owned()),
            ];
            self.room_event(now, conferring, "leave", Some(&other), more, out);
        }
    }

    /// The caller leaves the room and stays on the line.
    pub(super) fn leave_room(
        &mut self,
        now: Now,
        mut conferring: Conferring,
        by_key: bool,
        out: &mut Vec<Effect>,
    ) {
        let why = if by_key { "participant_hung_up" } else { "moderator_ended_conference" };
        self.end_room(now, &mut conferring, "in-progress", why, out);
        // A conference has no other leg: its sid and duration are not sent.
        let Conferring { dial, .. } = conferring;
        self.dialed(now, &dial, "answered", Vec::new(), out);
    }

    fn end_room(
        &mut self,
        now: Now,
        conferring: &mut Conferring,
        status: &str,
        why: &str,
        out: &mut Vec<Effect>,
    ) {
        self.caller.notices(now.tick, Moment::Bridge, false);
        let caller = self.config.call_sid.clone();
        let more = vec![
            ("ParticipantCallStatus".to_owned(), status.to_owned()),
            ("ReasonParticipantLeft".to_owned(), why.to_owned()),
        ];
        self.room_event(now, conferring, "leave", Some(&caller), more, out);
        let ends = conferring.noun.ends || conferring.other.is_none();
        if conferring.noun.ends {
            self.other_leaves(now, conferring, "moderator_ended_conference", out);
        }
        if ends {
            let reason = if conferring.noun.ends {
                "participant-with-end-conference-on-exit-left"
            } else {
                "last-participant-left"
            };
            let more = vec![
                ("ReasonConferenceEnded".to_owned(), reason.to_owned()),
                ("CallSidEndingConference".to_owned(), caller),
                ("Reason".to_owned(), "The pretend conference has ended".to_owned()),
            ];
            self.room_event(now, conferring, "end", None, more, out);
        }
        if conferring.noun.record
            && let Some(to) = conferring.noun.recording.clone()
        {
            let sid = self.new_sid("RE");
            let fields = self.recording_fields(now, &sid, "completed", Duration::ZERO, 1, "Conference");
            self.post(now, &to, fields, out);
        }
        let target = conferring.noun.name.clone();
        out.push(Effect::Experience(Experience::Unbridged { target, result: "answered".into() }));
    }

    pub(super) fn leave_conference(
        &mut self,
        now: Now,
        mut conferring: Conferring,
        out: &mut Vec<Effect>,
    ) -> Option<(Callback, Vec<Field>)> {
        self.end_room(now, &mut conferring, "completed", "participant_hung_up", out);
        conferring
            .dial
            .action
            .map(|action| (action, vec![("DialCallStatus".to_owned(), "answered".to_owned())]))
    }

    fn room_event(
        &mut self,
        now: Now,
        conferring: &mut Conferring,
        event: &str,
        participant: Option<&str>,
        more: Vec<Field>,
        out: &mut Vec<Effect>,
    ) {
        let wanted = conferring.noun.events.iter().any(|wanted| wanted == event);
        let Some(to) = conferring.noun.callback.clone().filter(|_| wanted) else { return };
        conferring.sequence += 1;
        let name = match event {
            "join" | "leave" => format!("participant-{event}"),
            other => format!("conference-{other}"),
        };
        let mut fields: Vec<Field> = vec![
            ("ConferenceSid".to_owned(), conferring.sid.clone()),
            ("FriendlyName".to_owned(), conferring.noun.name.clone()),
            ("AccountSid".to_owned(), self.config.account_sid.clone()),
            ("SequenceNumber".to_owned(), conferring.sequence.to_string()),
            ("Timestamp".to_owned(), date::rfc2822(now.wall_ms)),
            ("StatusCallbackEvent".to_owned(), name),
        ];
        if let Some(participant) = participant {
            let ours = participant == self.config.call_sid;
            let flag = |value: bool| if value { "true" } else { "false" }.to_owned();
            fields.push(("CallSid".to_owned(), participant.to_owned()));
            fields.push(("Muted".to_owned(), flag(ours && conferring.noun.muted)));
            fields.push(("Hold".to_owned(), flag(false)));
            fields.push(("Coaching".to_owned(), flag(false)));
            fields.push(("EndConferenceOnExit".to_owned(), flag(ours && conferring.noun.ends)));
            fields.push(("StartConferenceOnEnter".to_owned(), flag(!ours || conferring.noun.starts)));
            if let Some(label) = conferring.noun.label.as_ref().filter(|_| ours) {
                fields.push(("ParticipantLabel".to_owned(), label.clone()));
            }
        }
        fields.extend(more);
        self.post(now, &to, fields, out);
    }
}
