//! The far ends of a Dial: legs that ring, answer, talk and hang up.

use std::time::Duration;

use holdline_core::{Now, Tick};

use super::caller::Moment;
use super::config::{Answers, FarEnd, Party};
use super::effect::{Effect, Experience};
use super::line::Line;
use super::perform::Doing;
use super::sign::Field;
use super::twiml::{Callback, Dial, Noun, NounKind};

#[derive(Debug)]
pub(super) struct Dialing {
    dial: Dial,
    legs: Vec<Leg>,
    /// The noun that is called next when they are called one after the other.
    next: usize,
    bridge: Option<Bridge>,
}

#[derive(Debug)]
struct Leg {
    noun: Noun,
    sid: String,
    far: FarEnd,
    /// When the far end does something, or the ringing is given up.
    due: Tick,
    given_up: Tick,
    sequence: u64,
    result: Option<&'static str>,
}

#[derive(Debug)]
struct Bridge {
    leg: usize,
    since: Tick,
    until: Option<Tick>,
    ended_by_caller: bool,
}

impl Dialing {
    pub(super) fn due(&self) -> Option<Tick> {
        match &self.bridge {
            Some(bridge) => bridge.until,
            None => self.legs.iter().filter(|leg| leg.result.is_none()).map(Leg::wakes).min(),
        }
    }
}

impl Leg {
    fn wakes(&self) -> Tick {
        self.due.min(self.given_up)
    }
}

impl Line {
    pub(super) fn dial(&mut self, now: Now, dial: Dial, out: &mut Vec<Effect>) {
        match dial.nouns.first() {
            None => self.dialed(now, &dial, "failed", Vec::new(), out),
            Some(noun) if noun.kind == NounKind::Conference => {
                let noun = noun.clone();
                self.confer(now, dial, noun, out);
            }
            Some(_) => {
                let mut dialing = Dialing { dial, legs: Vec::new(), next: 0, bridge: None };
                let count = if dialing.dial.sequential { 1 } else { dialing.dial.nouns.len() };
                for _ in 0..count {
                    self.ring(now, &mut dialing, out);
                }
                self.doing = Doing::Dialing(dialing);
            }
        }
    }

    fn ring(&mut self, now: Now, dialing: &mut Dialing, out: &mut Vec<Effect>) {
        let Some(noun) = dialing.dial.nouns.get(dialing.next).cloned() else { return };
        dialing.next += 1;
        let far = self.config.far_end(&noun.name);
        let given_up = now.tick + dialing.dial.timeout;
        let due = match far.answers {
            Answers::After(after) | Answers::Busy(after) | Answers::Failed(after) => now.tick + after,
            Answers::Never => given_up,
        };
        out.push(Effect::Experience(Experience::Ringing { target: noun.name.clone() }));
        self.caller.notices(now.tick, Moment::Ringing, true);
        let mut leg = Leg { sid: self.new_sid("CA"), noun, far, due, given_up, sequence: 0, result: None };
        self.leg_event(now, &mut leg, "initiated", "initiated", None, out);
        self.leg_event(now, &mut leg, "ringing", "ringing", None, out);
        dialing.legs.push(leg);
    }

    pub(super) fn wake_dial(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Doing::Dialing(mut dialing) = std::mem::replace(&mut self.doing, Doing::Between) else { return };
        if let Some(bridge) = &dialing.bridge {
            if bridge.until.is_none_or(|until| until > now.tick) {
                self.doing = Doing::Dialing(dialing);
            } else if bridge.ended_by_caller {
                self.doing = Doing::Dialing(dialing);
                self.hang_up(now, out);
            } else {
                self.unbridge(now, dialing, out);
            }
            return;
        }
        let mut answered = None;
        for (place, leg) in dialing.legs.iter_mut().enumerate() {
            if leg.result.is_some() || leg.wakes() > now.tick {
                continue;
            }
            // An answer at the very end of the ringing is an answer.
            match leg.far.answers {
                Answers::After(_) if leg.due <= now.tick => {
                    answered = Some(place);
                    break;
                }
                Answers::Busy(_) if leg.due <= now.tick => leg.result = Some("busy"),
                Answers::Failed(_) if leg.due <= now.tick => leg.result = Some("failed"),
                _ => leg.result = Some("no-answer"),
            }
            let result = leg.result.unwrap_or("failed");
            self.leg_event(now, leg, "completed", result, Some(Duration::ZERO), out);
        }
        if let Some(place) = answered {
            self.bridge(now, &mut dialing, place, out);
        } else if dialing.legs.iter().all(|leg| leg.result.is_some()) {
            if dialing.next < dialing.dial.nouns.len() {
                self.ring(now, &mut dialing, out);
            } else {
                return self.unanswered(now, dialing, out);
            }
        }
        self.doing = Doing::Dialing(dialing);
    }

    fn bridge(&mut self, now: Now, dialing: &mut Dialing, place: usize, out: &mut Vec<Effect>) {
        self.answer(now);
        self.caller.notices(now.tick, Moment::Ringing, false);
        self.caller.notices(now.tick, Moment::Bridge, true);
        for (other, leg) in dialing.legs.iter_mut().enumerate() {
            if other == place {
                self.leg_event(now, leg, "answered", "in-progress", None, out);
            } else if leg.result.is_none() {
                leg.result = Some("canceled");
                self.leg_event(now, leg, "completed", "canceled", Some(Duration::ZERO), out);
            }
        }
        let Some(leg) = dialing.legs.get(place) else { return };
        out.push(Effect::Experience(Experience::Bridged { target: leg.noun.name.clone() }));
        let talks = leg.far.talks.map(|talks| now.tick + talks);
        let limit = dialing.dial.time_limit.map(|limit| now.tick + limit);
        let until = [talks, limit].into_iter().flatten().min();
        let ended_by_caller = leg.far.hangs_up == Party::Caller && until.is_some() && until == talks;
        dialing.bridge = Some(Bridge { leg: place, since: now.tick, until, ended_by_caller });
    }

    /// The talk is over and the caller still there.
    fn unbridge(&mut self, now: Now, mut dialing: Dialing, out: &mut Vec<Effect>) {
        let fields = self.end_bridge(now, &mut dialing, out);
        let Dialing { dial, .. } = dialing;
        self.dialed(now, &dial, "completed", fields, out);
    }

    fn end_bridge(&mut self, now: Now, dialing: &mut Dialing, out: &mut Vec<Effect>) -> Vec<Field> {
        self.caller.notices(now.tick, Moment::Bridge, false);
        let Some(bridge) = dialing.bridge.take() else { return Vec::new() };
        let Some(leg) = dialing.legs.get_mut(bridge.leg) else { return Vec::new() };
        let talked = now.tick.since(bridge.since);
        leg.result = Some("completed");
        let target = leg.noun.name.clone();
        out.push(Effect::Experience(Experience::Unbridged { target, result: "completed".into() }));
        let mut fields = vec![
            ("DialCallSid".to_owned(), leg.sid.clone()),
            ("DialCallDuration".to_owned(), talked.as_secs().to_string()),
            ("DialBridged".to_owned(), "true".to_owned()),
        ];
        self.leg_event(now, leg, "completed", "completed", Some(talked), out);
        if dialing.dial.record {
            let sid = self.new_sid("RE");
            fields.push(("RecordingUrl".to_owned(), self.recording_url(&sid)));
            if let Some(to) = &dialing.dial.recording {
                let recording = self.recording_fields(now, &sid, "completed", talked, 2, "DialVerb");
                self.post(now, to, recording, out);
            }
        }
        fields
    }

    fn unanswered(&mut self, now: Now, dialing: Dialing, out: &mut Vec<Effect>) {
        self.caller.notices(now.tick, Moment::Ringing, false);
        let has = |result: &str| dialing.legs.iter().any(|leg| leg.result == Some(result));
        let status = ["busy", "no-answer"].into_iter().find(|result| has(result)).unwrap_or("failed");
        let mut fields = Vec::new();
        if let Some(leg) = dialing.legs.last() {
            let target = leg.noun.name.clone();
            out.push(Effect::Experience(Experience::Unbridged { target, result: status.to_owned() }));
            fields.push(("DialCallSid".to_owned(), leg.sid.clone()));
            fields.push(("DialBridged".to_owned(), "false".to_owned()));
        }
        self.dialed(now, &dialing.dial, status, fields, out);
    }

    pub(super) fn dialed(
        &mut self,
        now: Now,
        dial: &Dial,
        status: &str,
        mut fields: Vec<Field>,
        out: &mut Vec<Effect>,
    ) {
        fields.insert(0, ("DialCallStatus".to_owned(), status.to_owned()));
        self.follow(now, dial.action.as_ref(), fields, out);
    }

    /// The star key leaves the talk, where the document says so.
    pub(super) fn star(&mut self, now: Now, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.doing, Doing::Between) {
            Doing::Dialing(dialing) if dialing.dial.hangup_on_star && dialing.bridge.is_some() => {
                self.unbridge(now, dialing, out);
            }
            Doing::Conferring(conferring) if conferring.leaves_by_star() => {
                self.leave_room(now, conferring, true, out);
            }
            other => self.doing = other,
        }
    }

    /// The caller, or the call, leaves while somebody rings or talks.
    pub(super) fn leave_dial(
        &mut self,
        now: Now,
        mut dialing: Dialing,
        out: &mut Vec<Effect>,
    ) -> Option<(Callback, Vec<Field>)> {
        let mut fields = vec![("DialCallStatus".to_owned(), "completed".to_owned())];
        if dialing.bridge.is_some() {
            fields.extend(self.end_bridge(now, &mut dialing, out));
        } else {
            fields = vec![("DialCallStatus".to_owned(), "canceled".to_owned())];
            for leg in dialing.legs.iter_mut().filter(|leg| leg.result.is_none()) {
                leg.result = Some("canceled");
                self.leg_event(now, leg, "completed", "canceled", Some(Duration::ZERO), out);
            }
            fields.extend(dialing.legs.last().map(|leg| ("DialCallSid".to_owned(), leg.sid.clone())));
        }
        dialing.dial.action.map(|action| (action, fields))
    }

    fn leg_event(
        &mut self,
        now: Now,
        leg: &mut Leg,
        event: &str,
        status: &str,
        talked: Option<Duration>,
        out: &mut Vec<Effect>,
    ) {
        let Some(to) =
            leg.noun.callback.clone().filter(|_| leg.noun.events.iter().any(|wanted| wanted == event))
        else {
            return;
        };
        let fields = self.leg_fields(now, &leg.sid, &leg.noun.name, status, leg.sequence, talked);
        leg.sequence += 1;
        self.post(now, &to, fields, out);
    }
}
