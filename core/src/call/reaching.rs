//! With credentials: what the network's REST API is asked about this call, and what its answers lead to.
//!
//! Without an answer a call ends by the same deadlines as without credentials, a few bounded tries later. What the API
//! says never ends a call on whose stream something was heard a moment ago, and a call that is still in progress there
//! is led back to us instead of being given up.

use super::*;
use crate::document::Links;
use crate::http::Outcome;
use crate::id::CallId;
use crate::notice::NetworkStatus;
use crate::provider::twilio::rest::{self, LOOK_MS, Said};
use std::time::Duration;

/// What a call is told about reaching the network by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestConfig {
    /// A call of which nothing was heard for so long is asked about.
    pub interval: Duration,
    /// `https://host[:port][/prefix]`: where the network is to come back to.
    pub origin: String,
    pub return_fragment: String,
}

/// Tries of one wish, the first counted.
const TRIES_MAX: u32 = 4;
/// Tries when the network says that it has too much to do: then it is there, and the call with it.
const TRIES_OF_BUSY_MAX: u32 = 8;
/// Times that a call is led back without coming.
const RESUMES_MAX: u32 = 3;
/// The pause before the second try; each further one is twice as long.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// No pause that the network asks for is longer: somebody holds the line.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(30);
/// Beyond the request's own time; a port that loses an answer must not keep a call for ever.
const ANSWER_GRACE: Duration = Duration::from_secs(5);
/// A network that comes back by itself does so at once.
const MEANWHILE: Duration = Duration::from_secs(2);
/// The same behind a restart: whoever hears nothing has waited for the start as well.
const BEHIND_A_RESTART: Duration = Duration::from_millis(500);
/// For so long an API that was out of reach stays so.
const OUT_OF_REACH: Duration = Duration::from_secs(10);
/// A call with media within this time is never reaped.
const MEDIA_AGE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Reach {
    last: u64,
    /// The question under way, and when it counts as unanswered.
    asking: Option<(u64, Wish, Tick)>,
    /// The question that is asked (again) then.
    again: Option<(Tick, Wish)>,
    tries: u32,
    /// Since the network last came by itself.
    resumes: u32,
    /// When a call of which nothing is heard is asked about.
    look_at: Option<Tick>,
    /// The network took our hang-up.
    hung_up: bool,
    /// When the API was given up last: who asked in vain a moment ago need not ask again.
    given_up: Option<Tick>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Look(Doubt),
    /// Come back for the next document; otherwise the call ends with this reason.
    Resume(CallEnd),
    HangUp,
    /// Leave the verb that is performed, and come back.
    Interrupt {
        ask: AskNo,
        stamp: Option<Stamp>,
    },
}

/// Why the API is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The line was lost, or the process before this one left the call open; the network may still come by itself.
    Meanwhile,
    /// The process before this one died with the call's stream, and the network did not come by itself at once: the
    /// caller hears nothing until somebody leads the call back.
    Lost,
    /// The network should have come back, and the call would end with this reason.
    Return(CallEnd),
    /// Nothing was heard for a while, and nothing has to be.
    Silence,
}

impl Reach {
    pub(super) fn next(&self) -> Option<Tick> {
        let asking = self.asking.map(|(_, _, until)| until);
        [asking, self.again.map(|(at, _)| at), self.look_at].into_iter().flatten().min()
    }

    /// The network has come: whatever was in doubt is not any more.
    fn heard(&mut self, now: Now, interval: Duration) {
        self.resumes = 0;
        self.look_at = Some(now.tick + interval);
        let looks = |wish: &Wish| matches!(wish, Wish::Look(_) | Wish::Resume(_));
        if let Some((_, wish, _)) = self.asking.as_mut().filter(|(_, wish, _)| looks(wish)) {
            // Its answer may still say that the call has ended, and leads to nothing else.
            *wish = Wish::Look(Doubt::Silence);
        }
        self.again.take_if(|(_, wish)| looks(wish));
    }

    /// Somebody's question about a verb is under way.
    fn is_interrupting(&self) -> bool {
        let wishes =
            self.asking.iter().map(|(_, wish, _)| wish).chain(self.again.iter().map(|(_, wish)| wish));
        wishes.into_iter().any(|wish| matches!(wish, Wish::Interrupt { .. }))
    }
}

impl Call {
    pub(super) fn has_rest(&self) -> bool {
        self.config.rest.is_some()
    }

    /// The network has come by itself.
    pub(super) fn heard_of_network(&mut self, now: Now) {
        if let Some(rest) = self.config.rest.as_ref().filter(|_| !self.wants_hangup()) {
            self.reach.heard(now, rest.interval);
        }
    }

    /// The line is lost. Whether it is worth waiting for is asked before the grace is over, so that an API which is out
    /// of reach makes nobody wait for longer.
    pub(super) fn look_meanwhile(&mut self, now: Now) {
        if self.has_rest()
            && !self.wants_hangup()
            && self.reach.asking.is_none()
            && self.reach.again.is_none()
        {
            self.reach.tries = 0;
            self.reach.again = Some((now.tick + MEANWHILE, Wish::Look(Doubt::Meanwhile)));
        }
    }

    /// A call of the process before this one: how does it stand?
    pub(super) fn look_after_restart(&mut self, now: Now) {
        if let Some(rest) = self.config.rest.as_ref().filter(|_| !self.wants_hangup()) {
            self.reach.look_at = Some(now.tick + rest.interval);
            // Its socket may have been there before its stream was.
            let waited_for = self.state.exchanges.last();
            let socket_lost =
                waited_for.is_some_and(|last| last.token_used && !last.stream_started && !last.returned);
            self.reach.again = Some(if self.flow.stream_lost || socket_lost {
                (now.tick + BEHIND_A_RESTART, Wish::Look(Doubt::Lost))
            } else {
                (now.tick, Wish::Look(Doubt::Meanwhile))
            });
        }
    }

    /// The API's word decides instead of a deadline; false when there is nobody to ask.
    pub(super) fn in_doubt(&mut self, now: Now, doubt: Doubt, out: &mut Vec<Effect>) -> bool {
        let in_vain = self.reach.given_up.is_some_and(|at| now.tick.since(at) < OUT_OF_REACH);
        if !self.has_rest() || self.state.over.is_some() || in_vain {
            return false;
        }
        // A question that is under way is as good, and its failed tries count.
        match (&mut self.reach.asking, self.reach.again) {
            (Some((_, wish @ Wish::Look(_), _)), _) => *wish = Wish::Look(doubt),
            (None, Some((_, Wish::Look(_)))) => self.try_to_reach(now, Wish::Look(doubt), out),
            _ => self.reach_for(now, Wish::Look(doubt), out),
        }
        true
    }

    /// Ends the call there; false when that can't be done or was done.
    pub(super) fn hang_up_there(&mut self, now: Now, out: &mut Vec<Effect>) -> bool {
        let ended = self.state.status.is_some_and(NetworkStatus::is_terminal);
        if !self.has_rest() || ended || self.reach.hung_up {
            return false;
        }
        self.reach_for(now, Wish::HangUp, out);
        true
    }

    /// Somebody wants the verb that the network performs to end: only the API can do that.
    pub(super) fn asked_to_leave_verb(
        &mut self,
        now: Now,
        ask: AskNo,
        stamp: Option<Stamp>,
        out: &mut Vec<Effect>,
    ) {
        let performing = self.state.exchanges.last().is_some_and(|exchange| {
            !exchange.returned && !exchange.stream_started && !exchange.plan.verbs.is_empty()
        });
        let possible = self.has_rest()
            && self.live.is_none()
            && performing
            && self.making.is_none()
            && !self.wants_hangup()
            && !self.state.hangup_given()
            && !self.reach.is_interrupting();
        if possible {
            // The network may come back before the API's answer does.
            self.flow.interrupted = Some(self.state.newest());
            self.reach_for(now, Wish::Interrupt { ask, stamp }, out);
        } else {
            out.push(Effect::Answer { ask, answer: Answer::Denied { why: NOT_INTERRUPTIBLE } });
        }
    }

    /// A new wish takes the place of the one before it, whose answer is then of no interest.
    fn reach_for(&mut self, now: Now, wish: Wish, out: &mut Vec<Effect>) {
        self.drop_wish(out);
        self.reach.tries = 0;
        self.try_to_reach(now, wish, out);
    }

    fn try_to_reach(&mut self, now: Now, wish: Wish, out: &mut Vec<Effect>) {
        let Some(rest) = &self.config.rest else { return };
        let call = &self.state.arrival.call;
        let errand = match wish {
            Wish::Look(_) => rest::fetch(call),
            Wish::HangUp => rest::hang_up(call),
            Wish::Resume(_) | Wish::Interrupt { .. } => {
                let links = Links {
                    origin: rest.origin.clone(),
                    workflow: self.state.workflow.0.clone(),
                    call: call.0.clone(),
                    return_fragment: rest.return_fragment.clone(),
                };
                rest::redirect(call, &links, self.state.newest())
            }
        };
        self.reach.last += 1;
        self.reach.tries += 1;
        self.reach.again = None;
        let until = now.tick + Duration::from_millis(LOOK_MS) + ANSWER_GRACE;
        self.reach.asking = Some((self.reach.last, wish, until));
        self.write(out);
        out.push(Effect::Reach { no: self.reach.last, errand });
    }

    pub(super) fn reached(&mut self, now: Now, no: u64, outcome: &Outcome, out: &mut Vec<Effect>) {
        match self.reach.asking.take_if(|(asked, _, _)| *asked == no) {
            Some((_, wish, _)) => self.answered_there(now, wish, rest::read(outcome), out),
            None => self.counters.ignored_inputs += 1,
        }
    }

    pub(super) fn wake_reach(&mut self, now: Now, out: &mut Vec<Effect>) {
        if let Some((_, wish, _)) = self.reach.asking.take_if(|(_, _, until)| *until <= now.tick) {
            let why = "nothing was answered in time".to_owned();
            self.answered_there(now, wish, Said::Unknown { why }, out);
        }
        if let Some((_, wish)) = self.reach.again.take_if(|(at, _)| *at <= now.tick) {
            self.try_to_reach(now, wish, out);
        }
        if self.reach.look_at.take_if(|at| *at <= now.tick).is_some() {
            self.reach.look_at = self.config.rest.as_ref().map(|rest| now.tick + rest.interval);
            let silent = self.live.is_none() && self.making.is_none() && !self.wants_hangup();
            if silent && self.reach.asking.is_none() && self.reach.again.is_none() {
                self.reach_for(now, Wish::Look(Doubt::Silence), out);
            }
        }
    }

    fn answered_there(&mut self, now: Now, wish: Wish, said: Said, out: &mut Vec<Effect>) {
        self.note_reach(now, wish, &said);
        if !matches!(said, Said::Unknown { .. }) {
            self.reach.given_up = None;
        }
        match said {
            Said::Call(record) => match (wish, record.status) {
                (_, Some(status)) if status.is_terminal() => {
                    self.ended_there(now, wish, status, record.duration_s, out);
                }
                (Wish::Look(doubt), status) => self.up_there(now, doubt, status, out),
                (Wish::Resume(otherwise), _) => {
                    // It is told to come: from here on it has its grace once more.
                    self.deadlines.await_return(now, otherwise);
                }
                (Wish::HangUp, _) => self.reach.hung_up = true,
                (Wish::Interrupt { ask, stamp }, _) => {
                    self.obeyed(now, stamp, false);
                    self.write(out);
                    out.push(Effect::Answer { ask, answer: Answer::Leaving });
                }
            },
            // It may be an account or an address that is not the call's: the network still has its grace.
            Said::Gone if matches!(wish, Wish::Look(Doubt::Meanwhile | Doubt::Lost)) => {
                self.give_up_reaching(now, wish, out);
            }
            Said::Gone => self.gone_there(now, wish, out),
            // What was in progress a moment ago has ended meanwhile; how, the next look says.
            Said::NotInProgress => match wish {
                Wish::Resume(otherwise) if self.reach.resumes <= RESUMES_MAX => {
                    self.reach_for(now, Wish::Look(Doubt::Return(otherwise)), out);
                }
                Wish::HangUp => self.reach.hung_up = true,
                wish => self.give_up_reaching(now, wish, out),
            },
            Said::TooMany { after_s } => {
                let apart = apart(&self.state.arrival.call);
                let pause = after_s.map_or(self.doubled(), Duration::from_secs).min(AGAIN_AFTER_MAX);
                self.reach_again(now, wish, TRIES_OF_BUSY_MAX, pause.mul_f64(1.0 + apart), out);
            }
            Said::Unknown { .. } => self.reach_again(now, wish, TRIES_MAX, self.doubled(), out),
            Said::Refused(_) => self.give_up_reaching(now, wish, out),
        }
    }

    /// The network holds it to be under way.
    fn up_there(&mut self, now: Now, doubt: Doubt, status: Option<NetworkStatus>, out: &mut Vec<Effect>) {
        if let Some(status) = status.filter(|status| self.state.status.is_none_or(|known| known < *status)) {
            self.status_moves(now, status, None, out);
        }
        let otherwise = match doubt {
            Doubt::Return(otherwise) if !self.is_back() => otherwise,
            // Its grace runs, and goes on if nobody has answered the call there yet.
            Doubt::Lost if status == Some(NetworkStatus::InProgress) => CallEnd::NoReturn,
            _ => return,
        };
        if self.wants_hangup() {
            self.reach_for(now, Wish::HangUp, out);
        } else if status != Some(NetworkStatus::InProgress) {
            // Nobody has answered it yet: there is nothing to lead back, and its end is told or asked for.
            self.deadlines.await_return(now, otherwise);
        } else if self.reach.resumes < RESUMES_MAX {
            self.reach.resumes += 1;
            // Counted here, since the network may come before the API has answered.
            out.push(Effect::Count("call_resumed_by_rest"));
            self.reach_for(now, Wish::Resume(otherwise), out);
        } else {
            // It stands there and never comes: nobody hears anything of us any more.
            out.push(Effect::Count("orphan_ended"));
            self.end_by_us(now, otherwise, crate::scene::EndReason::CallEnded, out);
        }
    }

    fn ended_there(
        &mut self,
        now: Now,
        wish: Wish,
        status: NetworkStatus,
        duration_s: Option<u64>,
        out: &mut Vec<Effect>,
    ) {
        self.refuse_interrupt(wish, out);
        if self.has_fresh_media(now) {
            return;
        }
        if !matches!(wish, Wish::HangUp) {
            out.push(Effect::Count("orphan_ended"));
        }
        self.status_moves(now, status, duration_s, out);
    }

    fn gone_there(&mut self, now: Now, wish: Wish, out: &mut Vec<Effect>) {
        self.refuse_interrupt(wish, out);
        if self.has_fresh_media(now) {
            return;
        }
        if !matches!(wish, Wish::HangUp) {
            out.push(Effect::Count("orphan_ended"));
        }
        self.end_for_good(now, otherwise(wish), out);
    }

    fn doubled(&self) -> Duration {
        AGAIN_AFTER * 2u32.saturating_pow(self.reach.tries.saturating_sub(1))
    }

    fn reach_again(&mut self, now: Now, wish: Wish, most: u32, pause: Duration, out: &mut Vec<Effect>) {
        // Somebody waits for an interruption, and would rather know.
        if self.reach.tries >= most || matches!(wish, Wish::Interrupt { .. }) {
            return self.give_up_reaching(now, wish, out);
        }
        self.reach.again = Some((now.tick + pause, wish));
    }

    /// As without credentials.
    fn give_up_reaching(&mut self, now: Now, wish: Wish, out: &mut Vec<Effect>) {
        self.reach.given_up = Some(now.tick);
        match wish {
            Wish::Look(Doubt::Return(otherwise)) | Wish::Resume(otherwise) if !self.is_back() => {
                self.end_for_good(now, otherwise, out);
            }
            // Its next request is answered by a hang-up, and its deadline stands.
            Wish::HangUp => self.reach.hung_up = true,
            wish => self.refuse_interrupt(wish, out),
        }
    }

    /// A stream is up, a document is being made, or the grace runs anew: the network was heard of meanwhile.
    fn is_back(&self) -> bool {
        self.live.as_ref().is_some_and(streaming::Live::is_usable)
            || self.making.is_some()
            || self.deadlines.is_awaiting()
    }

    fn has_fresh_media(&self, now: Now) -> bool {
        self.live.as_ref().is_some_and(|live| now.tick.since(live.last_heard) < MEDIA_AGE)
    }

    /// What was asked or is to be asked is of no interest any more.
    pub(super) fn stop_reaching(&mut self, out: &mut Vec<Effect>) {
        self.reach.look_at = None;
        self.drop_wish(out);
    }

    fn drop_wish(&mut self, out: &mut Vec<Effect>) {
        let asking = self.reach.asking.take().map(|(_, wish, _)| wish);
        let again = self.reach.again.take().map(|(_, wish)| wish);
        for wish in asking.into_iter().chain(again) {
            self.refuse_interrupt(wish, out);
        }
    }

    fn refuse_interrupt(&mut self, wish: Wish, out: &mut Vec<Effect>) {
        if let Wish::Interrupt { ask, .. } = wish {
            self.flow.interrupted = None;
            self.write(out);
            out.push(Effect::Answer { ask, answer: Answer::Denied { why: NOT_INTERRUPTIBLE } });
        }
    }

    /// For the timeline: what was asked for a reason, and what came of it.
    fn note_reach(&mut self, now: Now, wish: Wish, said: &Said) {
        let asked = match wish {
            Wish::Look(Doubt::Silence) if matches!(said, Said::Call(record) if record.status.is_none_or(|s| !s.is_terminal())) =>
            {
                return;
            }
            Wish::Look(_) => "status",
            Wish::Resume(_) => "resume",
            Wish::HangUp => "hang_up",
            Wish::Interrupt { .. } => "interrupt",
        };
        let said = match said {
            Said::Call(record) => record.status.map_or("done", NetworkStatus::as_str).to_owned(),
            Said::Gone => "gone".to_owned(),
            Said::NotInProgress => "not in progress".to_owned(),
            Said::TooMany { .. } => "too many requests".to_owned(),
            Said::Unknown { why } => why.clone(),
            Said::Refused(refusal) => format!("{refusal}: {}", refusal.advice()),
        };
        if self.state.over.is_none() && self.state.news < asking::NEWS_MAX {
            self.decide(now, CallFact::Reached { asked: asked.to_owned(), said });
        }
    }
}

/// What was turned away together doesn't come back together: by up to half a pause.
fn apart(call: &CallId) -> f64 {
    let sum = call.0.bytes().fold(0u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
    f64::from(sum % 512) / 1024.0
}

/// How a call ends that is not there any more.
fn otherwise(wish: Wish) -> CallEnd {
    match wish {
        Wish::Look(Doubt::Return(otherwise)) | Wish::Resume(otherwise) => otherwise,
        _ => CallEnd::NoReturn,
    }
}

/// The API's code for it.
pub const NOT_INTERRUPTIBLE: &str = "not_interruptible";
