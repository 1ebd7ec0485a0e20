//! What befalls a house: its disk, the systems that it asks, its wall clock, its process.
//!
//! Without a [`Fault`] the disk writes at once, everybody answers at once, and nobody dies; so a story in which nothing
//! goes wrong needs to know nothing of this.

use super::props::Elsewhere;
use super::{Asked, Knock};
use crate::own::Own;
use holdline_actors::port::journal::{Journal, MemoryJournal};
use holdline_core::call::{AskNo, Input};
use holdline_core::fact::Entry;
use holdline_core::http::{Errand, HttpReply, NoReply, Outcome, ReplyBody};
use holdline_core::scene::ErrorClass;
use holdline_core::workflow::{self, outbox};
use holdline_core::{CallId, Now, RunId, Tick};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// From now on a commit takes so long.
    DiskTakes(Duration),
    /// Nothing can be written for so long.
    DiskFails(Duration),
    /// From now on others take so long to answer.
    OthersTake(Duration),
    /// The next requests to others go like this.
    Others { mishap: Mishap, times: u32 },
    /// The next process finds its wall clock so many milliseconds further.
    ClockJumps(i64),
    /// The process dies once so many more effects have left it, `keeps` of the batches that wait for the disk reach it
    /// all the same, and another process comes after `down`.
    Dies { behind: u32, keeps: u32, down: Duration },
}

/// What becomes of a request to another system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// Refused with this status, and without effect.
    Answers(u16),
    /// It never arrives.
    Silent,
    /// It takes effect, and the answer is lost.
    Lost,
}

/// Whose batch it is, and who gets an answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    Call(CallId),
    Parent(RunId),
    Outbox,
    /// A call that found no room; whoever asked for a document is told so once it is written.
    TurnedAway(CallId, Option<Knock>),
}

/// One message to one machine.
#[derive(Debug)]
pub(super) enum Letter {
    Call(CallId, Input),
    CallIsDue(CallId),
    Parent(RunId, workflow::Input),
    ParentIsDue(RunId),
    Outbox(outbox::Input),
    OutboxIsDue,
    /// A batch of theirs is on disk.
    Written(Whose),
    /// Nobody has answered in time.
    TooLate(CallId, AskNo),
}

/// Between two tries of a disk that fails.
const DISK_AGAIN: Duration = Duration::from_millis(100);

/// A journal whose commits take time: a commit begins when the one before it is done, and takes all that has come
/// meanwhile.
#[derive(Default)]
pub(super) struct Disk {
    pub journal: MemoryJournal,
    takes: Duration,
    fails_until: Tick,
    waiting: VecDeque<(Whose, Vec<Entry>)>,
    /// When the commit under way is done, and how many batches are in it.
    commit: Option<(Tick, usize)>,
}

impl Disk {
    /// The batch comes back when it is written at once.
    pub fn append(&mut self, now: Tick, whose: Whose, batch: Vec<Entry>) -> Option<Vec<Entry>> {
        if self.waiting.is_empty() && self.takes.is_zero() && !self.is_failing(now) {
            self.write(&batch);
            return Some(batch);
        }
        self.waiting.push_back((whose, batch));
        if self.commit.is_none() {
            self.commit = Some((now + self.takes, 1));
        }
        None
    }

    pub fn is_failing(&self, now: Tick) -> bool {
        self.fails_until > now
    }

    pub fn due(&self) -> Option<Tick> {
        self.commit.map(|(at, _)| at)
    }

    /// What is on disk since the last time, in order.
    pub fn written(&mut self, now: Tick) -> Vec<(Whose, Vec<Entry>)> {
        let Some((_, batches)) = self.commit.take_if(|(at, _)| *at <= now) else { return Vec::new() };
        if self.is_failing(now) {
            self.commit = Some((now + DISK_AGAIN, batches));
            return Vec::new();
        }
        let written: Vec<_> = self.waiting.drain(..batches.min(self.waiting.len())).collect();
        for (_, batch) in &written {
            self.write(batch);
        }
        if !self.waiting.is_empty() {
            self.commit = Some((now + self.takes, self.waiting.len()));
        }
        written
    }

    /// Everything that waits is written now.
    pub fn flush(&mut self) -> Vec<(Whose, Vec<Entry>)> {
        self.commit = None;
        let waiting: Vec<_> = self.waiting.drain(..).collect();
        for (_, batch) in &waiting {
            self.write(batch);
        }
        waiting
    }

    /// The process dies. What was not acknowledged is torn off, but for the first `keeps` batches.
    pub fn tear(&mut self, keeps: usize) -> Vec<Vec<Entry>> {
        self.commit = None;
        let kept: Vec<Vec<Entry>> = self.waiting.drain(..).take(keeps).map(|(_, batch)| batch).collect();
        for batch in &kept {
            self.write(batch);
        }
        kept
    }

    fn write(&mut self, batch: &[Entry]) {
        // The journal in memory takes everything.
        let _ = self.journal.append(batch);
    }
}

/// Other systems, and the way to them and back.
#[derive(Default)]
pub(super) struct Others {
    takes: Duration,
    mishaps: VecDeque<Mishap>,
    answers: BTreeMap<(Tick, u64), Letter>,
    sequence: u64,
}

impl Others {
    /// Asks; the answer comes as the letter that `reply` makes of it. What the other side saw comes back.
    pub fn ask(
        &mut self,
        now: Tick,
        errand: &Errand,
        own: &Own,
        reply: impl FnOnce(Outcome) -> Letter,
    ) -> Asked {
        let mishap = self.mishaps.pop_front();
        let timeout = match errand {
            Errand::Http(call) => Duration::from_millis(call.timeout_ms),
            Errand::Mail(mail) => Duration::from_millis(mail.timeout_ms),
            Errand::Service(call) => Duration::from_millis(call.timeout_ms),
        };
        let none = |class, message: &str| Err(NoReply { class, message: message.to_owned() });
        let (takes, outcome) = match mishap {
            None if self.takes >= timeout => (timeout, none(ErrorClass::Timeout, "no answer in time")),
            None => (self.takes, Elsewhere::answer(errand, own)),
            Some(Mishap::Answers(status)) => {
                let body = ReplyBody::Text(String::new());
                (self.takes, Ok(HttpReply { status, headers: BTreeMap::new(), body }))
            }
            Some(Mishap::Silent) => (timeout, none(ErrorClass::Timeout, "no answer in time")),
            Some(Mishap::Lost) => (self.takes, none(ErrorClass::Unavailable, "the connection broke")),
        };
        let arrived = mishap != Some(Mishap::Silent);
        let taken = match (&outcome, mishap) {
            (_, Some(Mishap::Lost)) => true,
            (Ok(reply), _) => (200..300).contains(&reply.status),
            (Err(_), None) => self.takes >= timeout,
            (Err(_), _) => false,
        };
        let asked = Asked::of(errand, arrived, taken, outcome.as_ref().ok().map(|reply| reply.status));
        self.sequence += 1;
        self.answers.insert((now + takes, self.sequence), reply(outcome));
        asked
    }

    pub fn due(&self) -> Option<Tick> {
        self.answers.keys().next().map(|(at, _)| *at)
    }

    pub fn answer(&mut self, now: Tick) -> Option<Letter> {
        self.answers.first_entry().filter(|first| first.key().0 <= now).map(|first| first.remove())
    }
}

/// All of it.
#[derive(Default)]
pub(super) struct Fate {
    pub disk: Disk,
    pub others: Others,
    /// How far the wall clock is from where it began.
    wall_offset_ms: i64,
    next_offset_ms: i64,
    /// Effects until the process dies, batches that survive it, and for how long it is gone.
    dies: Option<(u32, u32, Duration)>,
}

impl Fate {
    pub fn befalls(&mut self, now: Tick, fault: &Fault) {
        match fault {
            Fault::DiskTakes(takes) => self.disk.takes = *takes,
            Fault::DiskFails(long) => self.disk.fails_until = now + *long,
            Fault::OthersTake(takes) => self.others.takes = *takes,
            Fault::Others { mishap, times } => {
                self.others.mishaps.extend((0..*times).map(|_| *mishap));
            }
            Fault::ClockJumps(ms) => self.next_offset_ms = self.next_offset_ms.saturating_add(*ms),
            Fault::Dies { behind, keeps, down } => self.dies = Some((*behind, *keeps, *down)),
        }
    }

    /// One effect is about to leave: the process may die before it does. For how long it is gone, if so.
    pub fn strikes(&mut self) -> Option<(u32, Duration)> {
        let (behind, keeps, down) = self.dies?;
        if behind > 0 {
            self.dies = Some((behind - 1, keeps, down));
            return None;
        }
        self.dies = None;
        Some((keeps, down))
    }

    /// The process is gone, and with it every answer that was on its way to it.
    pub fn process_ends(&mut self, keeps: usize) -> Vec<Vec<Entry>> {
        self.others.answers.clear();
        self.dies = None;
        self.wall_offset_ms = self.next_offset_ms;
        self.disk.tear(keeps)
    }

    pub fn at(&self, tick: Tick, began_wall_ms: u64) -> Now {
        let wall_ms = (began_wall_ms + tick.as_millis()).saturating_add_signed(self.wall_offset_ms);
        Now { tick, wall_ms }
    }

    pub fn due(&self) -> Option<Tick> {
        [self.disk.due(), self.others.due()].into_iter().flatten().min()
    }
}
