//! Waiting in a queue: the wait document in a loop until somebody answers, then the talk, then the action.

use std::time::Duration;

use holdline_core::{Now, Tick};

use super::ask::{Purpose, warn};
use super::caller::Moment;
use super::config::{Answers, FarEnd, Party};
use super::effect::{Effect, Experience, Status};
use super::line::Line;
use super::perform::{Doing, Program, Prompter};
use super::sign::Field;
use super::twiml::{Callback, Enqueue, Verb};

#[derive(Debug)]
pub(super) struct Queueing {
    enqueue: Enqueue,
    sid: String,
    far: FarEnd,
    since: Tick,
    /// When somebody answers, or the queue fails.
    answers: Option<Tick>,
    wait: Wait,
    talk: Option<Talk>,
}

#[derive(Debug)]
enum Wait {
    /// The network's own music.
    Music,
    Fetching {
        url: Option<String>,
    },
    Performing {
        program: Program,
        prompter: Option<Prompter>,
        began: Tick,
    },
    /// A turn that took no time is not asked again at once.
    Pausing {
        url: String,
        until: Tick,
    },
}

#[derive(Debug)]
struct Talk {
    since: Tick,
    until: Option<Tick>,
}

/// The shortest turn of a wait document: a document of nothing must not become a storm of requests.
const TURN_MIN: Duration = Duration::from_secs(1);

impl Queueing {
    pub(super) fn due(&self) -> Option<Tick> {
        if let Some(talk) = &self.talk {
            return talk.until;
        }
        let wait = match &self.wait {
            Wait::Music | Wait::Fetching { .. } => None,
            Wait::Performing { prompter, .. } => prompter.as_ref().and_then(Prompter::due),
            Wait::Pausing { until, .. } => Some(*until),
        };
        [self.answers, wait].into_iter().flatten().min()
    }

    /// What references in the wait document are relative to.
    pub(super) fn base(&self, document: &str) -> String {
        match &self.wait {
            Wait::Performing { program, .. } => program.url.clone(),
            Wait::Fetching { url: Some(url) } | Wait::Pausing { url, .. } => url.clone(),
            Wait::Music | Wait::Fetching { url: None } => document.to_owned(),
        }
    }
}

impl Line {
    pub(super) fn enqueue(&mut self, now: Now, enqueue: Enqueue, out: &mut Vec<Effect>) {
        let far = self.config.far_end(&enqueue.name);
        let sid = self.new_sid("QU");
        let answers = match far.answers {
            Answers::After(after) | Answers::Failed(after) | Answers::Busy(after) => Some(now.tick + after),
            Answers::Never => None,
        };
        out.push(Effect::Experience(Experience::Queued { queue: enqueue.name.clone() }));
        self.caller.notices(now.tick, Moment::Queue, true);
        let wait = enqueue.wait.clone();
        let queueing =
            Queueing { enqueue, sid, far, since: now.tick, answers, wait: Wait::Music, talk: None };
        self.doing = Doing::Queueing(queueing);
        if let Some(to) = wait {
            self.ask_wait(now, &to, out);
        }
    }

    fn ask_wait(&mut self, now: Now, to: &Callback, out: &mut Vec<Effect>) {
        let Doing::Queueing(queueing) = &mut self.doing else { return };
        let waited = now.tick.since(queueing.since).as_secs().to_string();
        let fields: Vec<Field> = [
            ("QueueSid", queueing.sid.clone()),
            ("QueuePosition", "1".to_owned()),
            ("QueueTime", waited.clone()),
            ("AvgQueueTime", waited),
            ("CurrentQueueSize", "1".to_owned()),
            ("MaxQueueSize", queueing.enqueue.size_max.unwrap_or(100).to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let url = match std::mem::replace(&mut queueing.wait, Wait::Music) {
            Wait::Performing { program, .. } => Some(program.url),
            Wait::Pausing { url, .. } => Some(url),
            Wait::Fetching { url } => url,
            Wait::Music => None,
        };
        queueing.wait = Wait::Fetching { url };
        self.ask_for(now, Purpose::Wait, to, fields, out);
    }

    /// The document that has just ended, once more.
    fn ask_again(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Doing::Queueing(queueing) = &self.doing else { return };
        let method = queueing.enqueue.wait.as_ref().map(|wait| wait.method).unwrap_or_default();
        self.ask_wait(now, &Callback { url: String::new(), method }, out);
    }

    /// A wait document has come.
    pub(super) fn wait_with(&mut self, now: Now, url: String, verbs: Vec<Verb>, out: &mut Vec<Effect>) {
        let Doing::Queueing(queueing) = &mut self.doing else { return };
        if queueing.talk.is_some() {
            return;
        }
        let program = Program { url, verbs: verbs.into() };
        queueing.wait = Wait::Performing { program, prompter: None, began: now.tick };
        self.wait_on(now, out);
    }

    /// The next sounds of the wait document; at its end it is asked for again.
    fn wait_on(&mut self, now: Now, out: &mut Vec<Effect>) {
        let per_character = self.config.say_per_character;
        loop {
            let Doing::Queueing(queueing) = &mut self.doing else { return };
            let Wait::Performing { program, prompter, began } = &mut queueing.wait else { return };
            if let Some(sounds) = prompter {
                if !sounds.advance(now.tick, &mut self.caller, per_character, out) {
                    return;
                }
                *prompter = None;
            }
            match program.verbs.pop_front() {
                Some(verb @ (Verb::Say(_) | Verb::Play(_) | Verb::Pause { .. })) => {
                    *prompter = Some(Prompter::new([verb], &self.config));
                }
                Some(Verb::Redirect(to)) => return self.ask_wait(now, &to, out),
                Some(Verb::Leave) => return self.leave_queue_with(now, "leave", out),
                Some(Verb::Hangup) => {
                    self.leave(now, out);
                    return self.over(now, Status::Completed, out);
                }
                Some(other) => warn(
                    out,
                    0,
                    format!(
                        "expected Say, Play, Pause, Redirect, Leave or Hangup while waiting, got {other}"
                    ),
                ),
                None if now.tick.since(*began) < TURN_MIN => {
                    let url = program.url.clone();
                    queueing.wait = Wait::Pausing { url, until: now.tick + TURN_MIN };
                    return;
                }
                None => {
                    return self.ask_again(now, out);
                }
            }
        }
    }

    pub(super) fn wait_failed(&mut self, now: Now, out: &mut Vec<Effect>) {
        if matches!(self.doing, Doing::Queueing(_)) {
            self.leave_queue_with(now, "error", out);
        }
    }

    pub(super) fn wake_queue(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Doing::Queueing(queueing) = &mut self.doing else { return };
        if let Some(talk) = &queueing.talk {
            if talk.until.is_some_and(|until| until <= now.tick) {
                if queueing.far.hangs_up == Party::Caller {
                    self.hang_up(now, out);
                } else {
                    self.leave_queue_with(now, "bridged", out);
                }
            }
            return;
        }
        if queueing.answers.is_some_and(|at| at <= now.tick) {
            match queueing.far.answers {
                Answers::Busy(_) => self.leave_queue_with(now, "queue-full", out),
                Answers::Failed(_) => self.leave_queue_with(now, "system-error", out),
                Answers::After(_) | Answers::Never => self.agent_answers(now, out),
            }
            return;
        }
        match &queueing.wait {
            Wait::Pausing { until, .. } if *until <= now.tick => {
                self.ask_again(now, out);
            }
            Wait::Performing { .. } => self.wait_on(now, out),
            _ => {}
        }
    }

    fn agent_answers(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.forget_wait();
        self.caller.hears_no_more(now.tick);
        self.caller.notices(now.tick, Moment::Bridge, true);
        if let Doing::Queueing(queueing) = &mut self.doing {
            queueing.answers = None;
            queueing.wait = Wait::Music;
            let until = queueing.far.talks.map(|talks| now.tick + talks);
            queueing.talk = Some(Talk { since: now.tick, until });
            out.push(Effect::Experience(Experience::Bridged { target: queueing.enqueue.name.clone() }));
        }
    }

    fn leave_queue_with(&mut self, now: Now, result: &str, out: &mut Vec<Effect>) {
        let Doing::Queueing(queueing) = std::mem::replace(&mut self.doing, Doing::Between) else { return };
        let fields = self.unqueue(now, &queueing, result, out);
        self.follow(now, queueing.enqueue.action.as_ref(), fields, out);
    }

    pub(super) fn leave_queue(
        &mut self,
        now: Now,
        queueing: Queueing,
        out: &mut Vec<Effect>,
    ) -> Option<(Callback, Vec<Field>)> {
        let result = if queueing.talk.is_some() { "bridged" } else { "hangup" };
        let fields = self.unqueue(now, &queueing, result, out);
        queueing.enqueue.action.map(|action| (action, fields))
    }

    fn unqueue(&mut self, now: Now, queueing: &Queueing, result: &str, out: &mut Vec<Effect>) -> Vec<Field> {
        self.forget_wait();
        self.caller.hears_no_more(now.tick);
        self.caller.notices(now.tick, Moment::Queue, false);
        self.caller.notices(now.tick, Moment::Bridge, false);
        let queue = queueing.enqueue.name.clone();
        out.push(Effect::Experience(Experience::Unqueued { queue, result: result.to_owned() }));
        // The time in the queue ends when somebody answers.
        let until = queueing.talk.as_ref().map_or(now.tick, |talk| talk.since);
        vec![
            ("QueueResult".to_owned(), result.to_owned()),
            ("QueueSid".to_owned(), queueing.sid.clone()),
            ("QueueTime".to_owned(), until.since(queueing.since).as_secs().to_string()),
        ]
    }
}
