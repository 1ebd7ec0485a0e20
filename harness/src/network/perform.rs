//! Performing a document, verb by verb: what takes time is a `Doing`, what does not is done on the way.

use std::collections::VecDeque;
use std::time::Duration;

use holdline_core::{Now, Tick};

use super::ask::{Purpose, warn};
use super::callback::or_itself;
use super::caller::Caller;
use super::conference::Conferring;
use super::config::LineConfig;
use super::dial::Dialing;
use super::effect::{Effect, Experience, Status};
use super::line::Line;
use super::queue::Queueing;
use super::sign::Field;
use super::stream::Streaming;
use super::twiml::{Callback, Gather, Play, Record, Verb};

/// A document on its way: where it came from, and what is left of it.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) url: String,
    pub(super) verbs: VecDeque<Verb>,
}

/// What the line is busy with.
#[derive(Debug)]
pub(super) enum Doing {
    Nothing,
    Fetching,
    /// An outbound call rings; what it then ends with, if nobody answers.
    CallingOut {
        until: Tick,
        end: Option<Status>,
    },
    /// Between two verbs; never at rest.
    Between,
    Prompting(Prompter),
    Gathering(Gathering),
    Recording(RecordingNow),
    Dialing(Dialing),
    Conferring(Conferring),
    Queueing(Queueing),
    Streaming(Streaming),
}

/// Sounds one after the other.
#[derive(Debug)]
pub(super) struct Prompter {
    sounds: VecDeque<Sound>,
    until: Option<Tick>,
}

#[derive(Debug)]
struct Sound {
    kind: SoundKind,
    length: Duration,
    turns: u32,
}

#[derive(Debug)]
enum SoundKind {
    Words(String),
    File(String),
    Keys(String),
    Silence,
}

#[derive(Debug)]
pub(super) struct Gathering {
    gather: Gather,
    prompter: Option<Prompter>,
    digits: String,
    deadline: Option<Tick>,
    speech: Option<(Tick, String)>,
}

#[derive(Debug)]
pub(super) struct RecordingNow {
    record: Record,
    began: Tick,
}

/// A recording that was started and runs beside the verbs.
#[derive(Debug)]
pub(super) struct RecordingUnderWay {
    pub(super) sid: String,
    pub(super) began: Tick,
    pub(super) callback: Option<Callback>,
    pub(super) events: Vec<String>,
    pub(super) channels: u8,
}

/// What the network waits after speech before it takes it for finished, when that is left to it.
const SPEECH_PAUSE: Duration = Duration::from_secs(1);
const CONFIDENCE: &str = "0.9";
const BEEP: Duration = Duration::from_millis(500);

impl Prompter {
    pub(super) fn new(verbs: impl IntoIterator<Item = Verb>, config: &LineConfig) -> Prompter {
        let sounds = verbs.into_iter().filter_map(|verb| Sound::of(verb, config)).collect();
        Prompter { sounds, until: None }
    }

    pub(super) fn due(&self) -> Option<Tick> {
        self.until
    }

    /// True when all is said.
    pub(super) fn advance(
        &mut self,
        at: Tick,
        caller: &mut Caller,
        per_character: Duration,
        out: &mut Vec<Effect>,
    ) -> bool {
        loop {
            if let Some(until) = self.until {
                if until > at {
                    return false;
                }
                self.until = None;
                caller.hears_no_more(until);
                if let Some(sound) = self.sounds.front_mut() {
                    sound.turns = sound.turns.saturating_sub(1);
                }
                if self.sounds.front().is_some_and(|sound| sound.turns == 0) {
                    self.sounds.pop_front();
                }
            }
            let Some(sound) = self.sounds.front() else { return true };
            self.until = Some(at + sound.length);
            out.push(Effect::Experience(match &sound.kind {
                SoundKind::Words(text) => {
                    caller.hears(at, text, per_character);
                    Experience::Hears { text: text.clone() }
                }
                SoundKind::File(url) => Experience::HearsFile { url: url.clone() },
                SoundKind::Keys(digits) => Experience::HearsKeys { digits: digits.clone() },
                SoundKind::Silence => {
                    Experience::Silence { ms: u64::try_from(sound.length.as_millis()).unwrap_or(u64::MAX) }
                }
            }));
        }
    }
}

impl Sound {
    fn of(verb: Verb, config: &LineConfig) -> Option<Sound> {
        Some(match verb {
            Verb::Say(say) => {
                let characters = u32::try_from(say.text.chars().count()).unwrap_or(u32::MAX);
                Sound {
                    length: config.say_per_character.saturating_mul(characters).saturating_add(say.breaks),
                    turns: say.turns,
                    kind: SoundKind::Words(say.text),
                }
            }
            Verb::Play(Play { url: Some(url), turns, .. }) => {
                Sound { length: config.play_length(&url), turns, kind: SoundKind::File(url) }
            }
            Verb::Play(Play { url: None, digits, turns }) => {
                let digits = digits.unwrap_or_default();
                let length = digits.chars().map(|key| if matches!(key, 'w' | 'W') { 500 } else { 200 }).sum();
                Sound { length: Duration::from_millis(length), turns, kind: SoundKind::Keys(digits) }
            }
            Verb::Pause { seconds } => {
                Sound { length: Duration::from_secs(seconds), turns: 1, kind: SoundKind::Silence }
            }
            _ => return None,
        })
    }
}

impl Line {
    /// The next verb, and the one after it, until something takes time.
    pub(super) fn go_on(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.doing = Doing::Between;
        while matches!(self.doing, Doing::Between) && !self.status.is_terminal() {
            let verb = self.program.verbs.pop_front();
            if let Some(Verb::Reject { busy }) = &verb {
                if self.answered_at.is_none() {
                    let status = if *busy { Status::Busy } else { Status::NoAnswer };
                    return self.over(now, status, out);
                }
                warn(out, 0, "expected Reject before the call was answered".into());
                continue;
            }
            // Everything but Reject answers the call; a Dial may leave that to the far end.
            if !matches!(&verb, Some(Verb::Dial(dial)) if dial.answer_on_bridge) {
                self.answer(now);
            }
            match verb {
                Some(verb) => self.begin_verb(now, verb, out),
                None => self.over(now, Status::Completed, out),
            }
        }
    }

    fn begin_verb(&mut self, now: Now, verb: Verb, out: &mut Vec<Effect>) {
        match verb {
            Verb::Say(_) | Verb::Play(_) | Verb::Pause { .. } => {
                self.doing = Doing::Prompting(Prompter::new([verb], &self.config));
                self.wake_doing(now, out);
            }
            Verb::Gather(gather) => {
                let prompter = Prompter::new(gather.prompts.iter().cloned(), &self.config);
                self.doing = Doing::Gathering(Gathering {
                    gather,
                    prompter: Some(prompter),
                    digits: String::new(),
                    deadline: None,
                    speech: None,
                });
                self.wake_doing(now, out);
            }
            Verb::Record(record) => {
                let beep = if record.beep { BEEP } else { Duration::ZERO };
                if record.beep {
                    out.push(Effect::Experience(Experience::Beep));
                }
                self.doing = Doing::Recording(RecordingNow { record, began: now.tick + beep });
            }
            Verb::Redirect(to) => self.fetch(now, &to, Vec::new(), out),
            Verb::Hangup => self.over(now, Status::Completed, out),
            Verb::Dial(dial) => self.dial(now, dial, out),
            Verb::Enqueue(enqueue) => self.enqueue(now, enqueue, out),
            Verb::Connect(connect) => self.connect(now, connect, out),
            Verb::StartRecording { callback, events, channels } => {
                let sid = self.new_sid("RE");
                if let Some(to) =
                    callback.as_ref().filter(|_| events.iter().any(|event| event == "in-progress"))
                {
                    let source = "StartCallRecordingTwiML";
                    let fields =
                        self.recording_fields(now, &sid, "in-progress", Duration::ZERO, channels, source);
                    self.post(now, to, fields, out);
                }
                self.recordings.push(RecordingUnderWay { sid, began: now.tick, callback, events, channels });
            }
            Verb::StopRecording => self.end_recordings(now, out),
            Verb::Leave => warn(out, 0, "expected Leave in a wait document only".into()),
            // Handled before: it is no verb for an answered call.
            Verb::Reject { .. } => {}
        }
    }

    /// Leaves this document for another.
    pub(super) fn fetch(&mut self, now: Now, to: &Callback, fields: Vec<Field>, out: &mut Vec<Effect>) {
        self.doing = Doing::Fetching;
        self.ask_for(now, Purpose::Document { is_fallback: false }, to, fields, out);
    }

    /// After a verb: its action, or the next verb when it has none.
    pub(super) fn follow(
        &mut self,
        now: Now,
        action: Option<&Callback>,
        fields: Vec<Field>,
        out: &mut Vec<Effect>,
    ) {
        match action {
            Some(to) => self.fetch(now, to, fields, out),
            None => self.go_on(now, out),
        }
    }

    pub(super) fn doing_due(&self) -> Option<Tick> {
        match &self.doing {
            Doing::Nothing | Doing::Fetching | Doing::Between => None,
            Doing::CallingOut { until, .. } => Some(*until),
            Doing::Prompting(prompter) => prompter.due(),
            Doing::Gathering(gathering) => gathering.due(),
            Doing::Recording(recording) => Some(self.recording_ends(recording)),
            Doing::Dialing(dialing) => dialing.due(),
            Doing::Conferring(conferring) => conferring.due(),
            Doing::Queueing(queueing) => queueing.due(),
            Doing::Streaming(streaming) => streaming.due(),
        }
    }

    pub(super) fn wake_doing(&mut self, now: Now, out: &mut Vec<Effect>) {
        let per_character = self.config.say_per_character;
        match &mut self.doing {
            Doing::Nothing | Doing::Fetching | Doing::Between => {}
            Doing::CallingOut { until, .. } if *until > now.tick => {}
            Doing::CallingOut { end: Some(status), .. } => {
                let status = *status;
                self.over(now, status, out);
            }
            Doing::CallingOut { end: None, .. } => {
                self.answer(now);
                self.ask_first(now, out);
            }
            Doing::Prompting(prompter) => {
                if prompter.advance(now.tick, &mut self.caller, per_character, out) {
                    self.go_on(now, out);
                }
            }
            Doing::Gathering(gathering) => {
                if let Some(prompter) = &mut gathering.prompter
                    && prompter.advance(now.tick, &mut self.caller, per_character, out)
                {
                    gathering.prompter = None;
                    gathering.deadline = Some(now.tick + gathering.gather.timeout);
                }
                if gathering.speech.as_ref().is_some_and(|(at, _)| *at <= now.tick)
                    || gathering.deadline.is_some_and(|at| at <= now.tick)
                {
                    self.gathered(now, out);
                }
            }
            Doing::Recording(_) => {
                if self.doing_due().is_some_and(|due| due <= now.tick) {
                    self.recorded(now, None, out);
                }
            }
            Doing::Dialing(_) => self.wake_dial(now, out),
            Doing::Conferring(_) => self.wake_conference(now, out),
            Doing::Queueing(_) => self.wake_queue(now, out),
            Doing::Streaming(_) => self.wake_stream(now, out),
        }
    }

    pub(super) fn pressed(&mut self, now: Now, key: char, out: &mut Vec<Effect>) {
        out.push(Effect::Experience(Experience::Digit { key }));
        match &mut self.doing {
            Doing::Gathering(gathering) if gathering.gather.dtmf => {
                if gathering.prompter.take().is_some() {
                    self.caller.hears_no_more(now.tick);
                }
                gathering.speech = None;
                gathering.deadline = Some(now.tick + gathering.gather.timeout);
                let ends = gathering.gather.finish_on.contains(key);
                if !ends {
                    gathering.digits.push(key);
                }
                if ends || gathering.gather.digits.is_some_and(|wanted| gathering.digits.len() >= wanted) {
                    self.gathered(now, out);
                }
            }
            Doing::Recording(recording) if recording.record.finish_on.contains(key) => {
                self.recorded(now, Some(key), out);
            }
            Doing::Streaming(_) => self.stream_key(now, key, out),
            Doing::Dialing(_) | Doing::Conferring(_) if key == '*' => self.star(now, out),
            // Keys that nobody waits for are lost on the real network, too.
            _ => {}
        }
    }

    /// The caller has begun to speak and will have said `text` at `until`.
    pub(super) fn spoke(&mut self, now: Now, text: String, until: Tick, out: &mut Vec<Effect>) {
        match &mut self.doing {
            Doing::Gathering(gathering) if gathering.gather.speech => {
                if gathering.prompter.is_some() {
                    if !gathering.gather.barge_in {
                        return warn(
                            out,
                            0,
                            "speech during a prompt that may not be interrupted is not understood".into(),
                        );
                    }
                    gathering.prompter = None;
                    self.caller.hears_no_more(now.tick);
                }
                let pause = gathering.gather.speech_timeout.unwrap_or(SPEECH_PAUSE);
                let text = match gathering.speech.take() {
                    Some((_, before)) => format!("{before} {text}"),
                    None => text,
                };
                gathering.deadline = None;
                gathering.speech = Some((until + pause, text));
            }
            Doing::Streaming(_) => {
                warn(out, 0, "a stream carries sound, not text: let the caller play a recording".into());
            }
            _ => {}
        }
    }

    fn gathered(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Doing::Gathering(gathering) = std::mem::replace(&mut self.doing, Doing::Between) else { return };
        let Gathering { gather, digits, speech, .. } = gathering;
        let mut fields = Vec::new();
        match speech {
            Some((_, text)) => {
                fields.push(("SpeechResult".to_owned(), text));
                fields.push(("Confidence".to_owned(), CONFIDENCE.to_owned()));
            }
            None if digits.is_empty() && !gather.action_on_empty => return self.go_on(now, out),
            None => {
                if gather.speech && digits.is_empty() {
                    fields.push(("SpeechResult".to_owned(), String::new()));
                }
                if gather.dtmf {
                    fields.push(("Digits".to_owned(), digits));
                }
            }
        }
        self.fetch(now, &or_itself(gather.action.as_ref(), gather.method), fields, out);
    }

    fn recording_ends(&self, recording: &RecordingNow) -> Tick {
        let quiet = self.voice_until.max(recording.began) + recording.record.timeout;
        quiet.min(recording.began + recording.record.length_max)
    }

    /// `key` ended it, else time did.
    fn recorded(&mut self, now: Now, key: Option<char>, out: &mut Vec<Effect>) {
        let Doing::Recording(recording) = std::mem::replace(&mut self.doing, Doing::Between) else { return };
        let heard = self.voice_until > recording.began;
        if !heard && key.is_none() {
            // A recording of nothing but silence is none: no action is asked.
            return self.go_on(now, out);
        }
        let (action, fields) =
            self.recording_done(now, &recording, key.map(String::from).unwrap_or_default(), out);
        self.fetch(now, &action, fields, out);
    }

    fn recording_done(
        &mut self,
        now: Now,
        recording: &RecordingNow,
        digits: String,
        out: &mut Vec<Effect>,
    ) -> (Callback, Vec<Field>) {
        let length = now.tick.since(recording.began);
        out.push(Effect::Experience(Experience::Recorded {
            ms: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
        }));
        let sid = self.new_sid("RE");
        if let Some(to) = &recording.record.recording {
            let fields = self.recording_fields(now, &sid, "completed", length, 1, "RecordVerb");
            self.post(now, to, fields, out);
        }
        let fields = vec![
            ("RecordingUrl".to_owned(), self.recording_url(&sid)),
            ("RecordingSid".to_owned(), sid),
            ("RecordingDuration".to_owned(), length.as_secs().to_string()),
            ("Digits".to_owned(), digits),
        ];
        (or_itself(recording.record.action.as_ref(), recording.record.method), fields)
    }

    /// Ends whatever is under way because the call, or its document, ends. What is returned is the action that the
    /// network still asks when it was the caller who left.
    pub(super) fn leave(&mut self, now: Now, out: &mut Vec<Effect>) -> Option<(Callback, Vec<Field>)> {
        match std::mem::replace(&mut self.doing, Doing::Between) {
            Doing::Nothing | Doing::Fetching | Doing::Between | Doing::CallingOut { .. } => None,
            Doing::Prompting(_) | Doing::Gathering(_) => {
                self.caller.hears_no_more(now.tick);
                None
            }
            Doing::Recording(recording) => {
                Some(self.recording_done(now, &recording, "hangup".to_owned(), out))
            }
            Doing::Dialing(dialing) => self.leave_dial(now, dialing, out),
            Doing::Conferring(conferring) => self.leave_conference(now, conferring, out),
            Doing::Queueing(queueing) => self.leave_queue(now, queueing, out),
            Doing::Streaming(streaming) => {
                self.leave_stream(now, streaming, out);
                None
            }
        }
    }
}

impl Gathering {
    fn due(&self) -> Option<Tick> {
        let prompt = self.prompter.as_ref().and_then(Prompter::due);
        let speech = self.speech.as_ref().map(|(at, _)| *at);
        [prompt, speech, self.deadline].into_iter().flatten().min()
    }
}
