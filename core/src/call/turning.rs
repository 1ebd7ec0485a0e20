//! Turns with the flow, and the documents that come of them.
//!
//! One turn is under way at a time; what happens meanwhile waits in order. A turn that answers a request renders the
//! next document.

use super::*;
use crate::document::{Ending, Plan, Say, Verb};
use crate::fact::OutboxFact;
use crate::id::RunId;
use crate::scene::{Command, EndReason, Event, Line, Needs, Op, Posture, Refused, Turn};
use crate::workflow::run_ids;
use std::collections::VecDeque;

/// Events waiting for their turn. A caller who types without end meets this first.
const EVENTS_MAX: usize = 512;
/// Retries of one request that wait for the same document.
const WAITERS_MAX: usize = 32;

/// How the call stands with its flow.
#[derive(Debug, Default)]
pub(super) struct FlowLink {
    last: TurnNo,
    taking: Option<Taking>,
    todo: VecDeque<Todo>,
    wake_at: Option<Tick>,
    /// [`Event::Due`] is queued already.
    due_queued: bool,
    pub(super) over: bool,
    /// Its last word was that only the network can go on.
    pub(super) wants_verb: bool,
    /// A stream ended that neither side wanted to end.
    pub(super) stream_lost: bool,
    /// We have made the network leave this document before its end.
    pub(super) interrupted: Option<u32>,
    /// The stream was lost since its last turn began: it has to hear of that, also when the next one is up already.
    pub(super) line_lost: bool,
}

/// Who waits for what the flow says to a command.
#[derive(Debug, Clone, Copy)]
struct Commander {
    ask: AskNo,
    /// It is about the flow's own end, which is the call's too.
    stops: bool,
    stamp: Option<Stamp>,
}

#[derive(Debug)]
struct Taking {
    turn: TurnNo,
    asking: bool,
    commander: Option<Commander>,
    /// The flow was told that the stream is up.
    streaming: bool,
}

#[derive(Debug)]
struct Todo {
    event: Event,
    /// The turn of this event renders the document that is being made.
    asking: bool,
    commander: Option<Commander>,
}

/// A document that is being made, and who waits for it.
#[derive(Debug)]
pub(super) struct Making {
    waiters: Vec<AskNo>,
    keys: Vec<String>,
}

impl FlowLink {
    /// The turn under way renders a document.
    pub(super) fn is_answering(&self) -> bool {
        self.taking.as_ref().is_some_and(|taking| taking.asking)
    }
}

impl Call {
    /// Makes the next document by a turn that begins with `event`.
    pub(super) fn make(&mut self, ask: AskNo, key: Option<String>, event: Event, out: &mut Vec<Effect>) {
        if self.making.is_some() {
            // The very first webhook, asked twice before its document stands.
            self.join(ask, key, out);
            return;
        }
        self.making = Some(Making { waiters: vec![ask], keys: key.into_iter().collect() });
        self.flow.todo.push_back(Todo { event, asking: true, commander: None });
    }

    /// A retry joins the document that is being made for the first request.
    pub(super) fn join(&mut self, ask: AskNo, key: Option<String>, out: &mut Vec<Effect>) {
        match &mut self.making {
            Some(making) if making.waiters.len() < WAITERS_MAX => {
                making.waiters.push(ask);
                making.keys.extend(key);
            }
            _ => out
                .push(Effect::Answer { ask, answer: Answer::Denied { why: "too many repetitions at once" } }),
        }
    }

    pub(super) fn tell_flow(&mut self, event: Event) {
        if self.flow.over {
            return;
        }
        // Only keys come without end; whatever else is lost here would leave an action waiting for ever.
        if self.flow.todo.len() >= EVENTS_MAX && matches!(event, Event::Pressed { .. }) {
            self.counters.ignored_inputs += 1;
            return;
        }
        // One look at how the line stands is enough.
        let looks = |todo: &Todo| todo.event == Event::Proceed && !todo.asking;
        if event == Event::Proceed && self.flow.todo.back().is_some_and(looks) {
            return;
        }
        self.flow.todo.push_back(Todo { event, asking: false, commander: None });
    }

    /// A person's wish about the flow takes its turn like everything else that happens to it.
    pub(super) fn command_flow(
        &mut self,
        ask: AskNo,
        run: RunId,
        command: Command,
        stamp: Option<Stamp>,
        out: &mut Vec<Effect>,
    ) {
        if self.flow.todo.len() >= EVENTS_MAX {
            out.push(Effect::Answer { ask, answer: Answer::Denied { why: "too much waits to be done" } });
            return;
        }
        let stops = command == Command::Stop && run == self.state.sub_run;
        let event = Event::Commanded { run, command };
        let commander = Some(Commander { ask, stops, stamp });
        self.flow.todo.push_back(Todo { event, asking: false, commander });
    }

    pub(super) fn flow_due(&self) -> Option<Tick> {
        if self.flow.over || self.flow.due_queued { None } else { self.flow.wake_at }
    }

    pub(super) fn wake_flow(&mut self, now: Now) {
        if self.flow_due().is_some_and(|due| due <= now.tick) {
            self.flow.due_queued = true;
            self.tell_flow(Event::Due);
        }
    }

    /// Begins the next turn, when none is under way.
    pub(super) fn next_turn(&mut self, now: Now, out: &mut Vec<Effect>) {
        if self.flow.taking.is_some() {
            return;
        }
        let Some(Todo { event, asking, commander }) = self.flow.todo.pop_front() else { return };
        if self.flow.todo.is_empty() {
            self.flow.todo = VecDeque::new(); // a quiet call keeps nothing
        }
        if event == Event::Due {
            self.flow.due_queued = false;
            self.flow.wake_at = None;
        }
        // It may have waited behind its own twin.
        let before = commander.and_then(|Commander { ask, stamp, .. }| {
            Some((ask, self.state.deeds.find(now.wall_ms, stamp?)?.map(|_| ())))
        });
        if let Some((ask, verdict)) = before {
            self.write(out);
            out.push(Effect::Answer { ask, answer: Answer::Commanded(verdict) });
            self.next_turn(now, out);
            return;
        }
        if self.flow.over {
            if asking {
                self.give_last_document(now, out);
            }
            if let Some(Commander { ask, .. }) = commander {
                self.write(out);
                out.push(Effect::Answer { ask, answer: Answer::Commanded(Err(Refused::AlreadyEnded)) });
            }
            self.next_turn(now, out);
            return;
        }
        let turn = TurnNo(self.flow.last.0 + 1);
        self.flow.last = turn;
        let posture = self.posture(asking);
        let streaming = posture.line == Line::Streaming;
        self.flow.taking = Some(Taking { turn, asking, commander, streaming });
        if std::mem::take(&mut self.flow.line_lost) && self.is_streaming() && !asking {
            // This turn freezes what the old stream carried; the next one begins it again.
            self.flow.todo.push_front(Todo { event: Event::Proceed, asking: false, commander: None });
        }
        out.push(Effect::Take { turn, posture, event });
    }

    pub(super) fn took(&mut self, now: Now, turn: TurnNo, report: Turn, out: &mut Vec<Effect>) {
        let Some(taking) = self.flow.taking.take_if(|taking| taking.turn == turn) else {
            self.counters.stale_turns += 1;
            return;
        };
        let Turn { facts, ops, needs, wake_at, follow, verdict } = report;
        let followers = run_ids(&follow);
        if let (Some(Commander { stamp, .. }), Some(Ok(()))) = (taking.commander, verdict) {
            self.obeyed(now, stamp, false);
        }
        self.batch.extend(facts.into_iter().chain(follow).map(|fact| (now.wall_ms, Fact::Run(fact))));
        self.flow.wake_at = wake_at;
        self.flow.wants_verb = matches!(needs, Needs::Verb);
        if let Needs::Over(over) = &needs
            && !self.flow.over
        {
            self.flow.over = true;
            self.flow.wake_at = None;
            self.decide(now, CallFact::FlowOver { over: (**over).clone() });
        }
        // What is owed is written together with the step that owes it.
        let owed = ops
            .iter()
            .filter_map(|op| if let Op::Owe(delivery) = op { Some(delivery.clone()) } else { None });
        self.batch.extend(owed.map(|delivery| (now.wall_ms, Fact::Outbox(OutboxFact::Owed { delivery }))));
        let (verbs, others): (Vec<Op>, Vec<Op>) = ops.into_iter().partition(|op| matches!(op, Op::Render(_)));
        if taking.asking {
            let verbs =
                verbs.into_iter().filter_map(|op| if let Op::Render(verb) = op { Some(verb) } else { None });
            self.give(now, verbs.collect(), &needs, out);
        }
        for op in others {
            self.perform(now, op, out);
        }
        if taking.streaming {
            self.hear_early_audio(now, out);
        }
        if taking.commander.is_some_and(|commander| commander.stops) && self.flow.over {
            self.end_by_us(now, CallEnd::Hangup, EndReason::Stopped, out);
        }
        if !followers.is_empty() {
            self.write(out);
            out.extend(followers.into_iter().map(|run| Effect::Follow { run }));
        }
        if let Some(Commander { ask, .. }) = taking.commander {
            self.write(out);
            let verdict = verdict.unwrap_or(Err(Refused::AlreadyEnded));
            out.push(Effect::Answer { ask, answer: Answer::Commanded(verdict) });
        }
    }

    /// The network asks once more after the flow is over.
    fn give_last_document(&mut self, now: Now, out: &mut Vec<Effect>) {
        let hold = self.state.flow_over.as_ref().is_some_and(|over| over.hold);
        self.give(now, Vec::new(), &Needs::Close { hold }, out);
    }

    /// The document stands: it is written, then everybody who waits for it gets it.
    fn give(&mut self, now: Now, verbs: Vec<Verb>, needs: &Needs, out: &mut Vec<Effect>) {
        let Some(making) = self.making.take() else { return };
        if self.wants_hangup() {
            self.deadlines.hangup_delivered(now);
            self.write(out);
            out.extend(making.waiters.into_iter().map(|ask| Effect::Answer { ask, answer: Answer::Hangup }));
            return;
        }
        let ending = self.ending_of(&verbs, needs);
        let said = self.state.says.iter();
        let said =
            said.map(|text| Verb::Say(Say { text: text.clone(), ssml: false, language: None, voice: None }));
        let verbs = said.chain(verbs).collect();
        let verbs = nested(self.welcomed_back(verbs, &ending));
        let plan = Plan { exchange: self.state.newest() + 1, verbs, ending };
        self.deadlines.given(now, &self.config, &plan);
        let mut keys = making.keys.into_iter();
        let exchange = plan.exchange;
        self.decide(now, CallFact::Given { plan: plan.clone(), key: keys.next() });
        for key in keys {
            self.decide(now, CallFact::Bound { key, exchange });
        }
        self.write(out);
        let plan = Arc::new(plan);
        out.extend(
            making
                .waiters
                .into_iter()
                .map(|ask| Effect::Answer { ask, answer: Answer::Document { plan: plan.clone() } }),
        );
    }

    /// Whoever lost a stream in the middle of a sentence is told that the call goes on.
    fn welcomed_back(&mut self, verbs: Vec<Verb>, ending: &Ending) -> Vec<Verb> {
        let lost = std::mem::take(&mut self.flow.stream_lost);
        match &self.state.resume_phrase {
            Some(phrase) if lost && !matches!(ending, Ending::Hangup) => {
                let say = Say { text: phrase.clone(), ssml: false, language: None, voice: None };
                std::iter::once(Verb::Say(say)).chain(verbs).collect()
            }
            _ => verbs,
        }
    }

    fn ending_of(&self, verbs: &[Verb], needs: &Needs) -> Ending {
        let stream =
            || Ending::Stream { parameters: vec![("callSid".into(), self.state.arrival.call.0.clone())] };
        if verbs.last().is_some_and(Verb::has_action) {
            return Ending::Return;
        }
        match needs {
            Needs::Stream | Needs::Close { hold: true } => stream(),
            Needs::Close { hold: false } => Ending::Hangup,
            Needs::Over(over) if over.hold => stream(),
            Needs::Over(_) => Ending::Hangup,
            // Nothing to perform and nothing asked for: the caller is held on the stream, else the network would
            // come back at once and for ever.
            Needs::Nothing | Needs::Verb if verbs.is_empty() => stream(),
            Needs::Nothing | Needs::Verb => Ending::Return,
        }
    }

    fn is_streaming(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.is_usable())
    }

    fn posture(&self, asking: bool) -> Posture {
        let line = if asking {
            Line::Asking
        } else if self.is_streaming() && !self.flow.line_lost {
            Line::Streaming
        } else {
            Line::Away
        };
        Posture { line, local_speech: self.config.local_speech }
    }

    /// Everybody who waits for a document is told that the call is over.
    pub(super) fn give_up_making(&mut self, out: &mut Vec<Effect>) {
        if let Some(making) = self.making.take() {
            self.write(out);
            out.extend(making.waiters.into_iter().map(|ask| Effect::Answer { ask, answer: Answer::Hangup }));
        }
    }
}

/// Prompts that stand directly before a Gather are performed inside it: the caller may type over them.
fn nested(verbs: Vec<Verb>) -> Vec<Verb> {
    let mut document: Vec<Verb> = Vec::with_capacity(verbs.len());
    for verb in verbs {
        match verb {
            Verb::Gather(mut gather) if gather.prompts.is_empty() => {
                let is_prompt =
                    |verb: &Verb| matches!(verb, Verb::Say(_) | Verb::Play { .. } | Verb::Pause { .. });
                let keep = document.iter().rposition(|verb| !is_prompt(verb)).map_or(0, |last| last + 1);
                gather.prompts = document.split_off(keep);
                document.push(Verb::Gather(gather));
            }
            verb => document.push(verb),
        }
    }
    document
}
