//! The sound of a call: what plays in which order, what is echoed, what is recorded.

use super::ear::Ear;
use super::*;
use crate::media::Audio;
use crate::media::level::{self, Side};
use crate::media::playout::{How, Out, Playout, PlayoutConfig, PlayoutCounts, Report, SoundId, Source};
use crate::media::recorder::{Channels, EndedBy, Recorder, RecorderConfig};
use crate::scene::{ErrorClass, Event, Gap, Op, RecordingReport, RecordingWish, Refused, Sound, SoundEnd};
use std::collections::VecDeque;
use std::time::Duration;

/// Frames to echo that are kept while it is written down that the echo began: a second, as everywhere on this road.
pub const ECHO_HELD_MAX: usize = 50;
/// Sounds that wait to be loaded or played. `async` prompts in a loop meet this first.
pub const WAITING_MAX: usize = 100;
/// Texts that wait for the next document, beside what the flow itself puts into it.
pub const SAYS_MAX: usize = 4;
/// Sounds of the house (a recording's beep) are numbered from here; nobody is told of their end.
const HOUSE_SOUNDS: u64 = 1 << 62;

pub(super) struct Desk {
    playout: Playout,
    waiting: VecDeque<Waiting>,
    echo: Echo,
    echoes: u64,
    ear: Ear,
    blocked: bool,
    recording: Option<Box<Recording>>,
    house_sounds: u64,
    /// Reports of sounds that ended before they were played.
    reports: Vec<Report>,
    failures: Vec<(u64, SoundEnd)>,
    outs: Vec<Out>,
}

/// Nothing is echoed before it is on disk that it is; what is heard meanwhile is kept.
enum Echo {
    Off,
    Opening { echo: u64, held: VecDeque<Audio> },
    On,
}

/// A sound in the order in which it was asked for; nothing overtakes one that is still loading.
struct Waiting {
    sound: u64,
    audio: Option<Arc<[u8]>>,
}

struct Recording {
    wish: RecordingWish,
    file: String,
    recorder: Recorder,
    key_pressed: bool,
    closing: bool,
}

impl Desk {
    pub(super) fn new(config: PlayoutConfig) -> Desk {
        let mut playout = Playout::new(config);
        playout.freeze();
        Desk {
            playout,
            waiting: VecDeque::new(),
            echo: Echo::Off,
            echoes: 0,
            ear: Ear::default(),
            blocked: false,
            recording: None,
            house_sounds: HOUSE_SOUNDS,
            reports: Vec::new(),
            failures: Vec::new(),
            outs: Vec::new(),
        }
    }

    pub(super) fn due_at(&self) -> Option<Tick> {
        let recording = self.recording.as_ref().filter(|recording| !recording.closing);
        let ends = recording.and_then(|recording| recording.recorder.ends_at_ms()).map(Tick::from_millis);
        [self.playout.due_at(), ends].into_iter().flatten().min()
    }

    /// Nothing plays, loads, or waits to be heard.
    pub(super) fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.playout.is_idle()
    }

    pub(super) fn ahead(&self, now: Tick) -> Duration {
        self.playout.ahead(now)
    }

    /// What was played so far, and how many frames wait to be.
    pub(super) fn counts(&self) -> (PlayoutCounts, usize) {
        (self.playout.counts(), self.playout.queued())
    }

    pub(super) fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    pub(super) fn stream_up(&mut self, now: Now) {
        self.playout.thaw();
        // Each stream counts from its own beginning.
        self.ear = Ear::default();
        self.blocked = false;
        if let Some(recording) = &mut self.recording {
            recording.recorder.gap_ends(now.tick.as_millis());
        }
    }

    /// The stream is lost or left: what was playing begins again when the flow says so.
    pub(super) fn freeze(&mut self, now: Now) {
        self.playout.freeze();
        self.waiting.clear();
        self.echo = Echo::Off;
        if let Some(recording) = &mut self.recording {
            recording.recorder.gap_begins(now.tick.as_millis());
        }
    }

    /// The call ends.
    pub(super) fn silence(&mut self) {
        self.playout.freeze();
        self.waiting.clear();
        self.echo = Echo::Off;
    }

    pub(super) fn blocked(&mut self, now: Now, blocked: bool) {
        self.blocked = blocked;
        if blocked {
            self.playout.blocked(now.tick);
        } else {
            self.playout.unblocked(now.tick);
        }
    }

    pub(super) fn marked(&mut self, now: Now, name: &str) {
        self.playout.marked(now.tick, name, &mut self.outs);
    }

    pub(super) fn hear(&mut self, now: Now, audio: &[u8], at_ms: Option<u64>, out: &mut Vec<Effect>) {
        let spoken_ms = self.ear.spoken_at(now.tick.as_millis(), at_ms);
        let Some(recording) = self.recording.as_mut().filter(|recording| !recording.closing) else { return };
        recording.recorder.advance(now.tick.as_millis());
        recording.recorder.inbound(spoken_ms, audio);
        if let Some(pcm) = recording.recorder.take_chunk() {
            out.push(Effect::AppendRecording { pcm });
        }
    }

    pub(super) fn spoke(&mut self, now: Now, audio: &[u8]) {
        if let Some(recording) = self.recording.as_mut().filter(|recording| !recording.closing) {
            recording.recorder.outbound(now.tick.as_millis(), audio);
        }
    }

    pub(super) fn pressed(&mut self, digit: char) {
        if let Some(recording) = &mut self.recording {
            recording.key_pressed |=
                recording.wish.end_of_key.as_deref().is_some_and(|keys| keys.contains(digit));
        }
    }

    fn hush(&mut self, now: Now) {
        self.playout.hush(now.tick, &mut self.outs);
        if let Some(recording) = &mut self.recording {
            recording.recorder.cleared(now.tick.as_millis());
        }
        for waiting in self.waiting.drain(..) {
            self.reports.push(Report { id: SoundId(waiting.sound), heard_ms: 0, how: How::Cut });
        }
    }

    /// Hands over the front sounds that are loaded.
    fn begin_loaded(&mut self, now: Now) {
        while let Some(Waiting { sound, audio: Some(audio) }) =
            self.waiting.pop_front_if(|waiting| waiting.audio.is_some())
        {
            if let Err(error) = self.playout.begin(now.tick, SoundId(sound), Source::Whole(audio)) {
                let end = SoundEnd::Failed { class: ErrorClass::Invalid, message: error.to_string() };
                self.failures.push((sound, end));
            }
        }
    }
}

impl Call {
    /// Does what the flow wants done on the stream.
    pub(super) fn perform(&mut self, now: Now, op: Op, out: &mut Vec<Effect>) {
        // A turn that was under way when the call began to end: nothing new begins. What is owed is owed all the same:
        // its fact is written with the turn's.
        if self.wants_hangup() && !matches!(op, Op::Owe(_)) {
            return;
        }
        // Nor does anything meant for a stream that was lost meanwhile: the flow begins it again on the next one.
        let of_stream = matches!(op, Op::Sound { .. } | Op::Echo(_) | Op::Hush);
        if of_stream && self.flow.line_lost {
            return;
        }
        match op {
            Op::Render(_) => {} // taken out before: a verb belongs in a document
            Op::Sound { sound, what } => self.begin_sound(sound, what, out),
            Op::Hush => self.desk.hush(now),
            Op::Echo(on) => self.switch_echo(on, out),
            Op::StartRecording(wish) => self.start_recording(now, wish, out),
            Op::StopRecording => self.end_recording(now, "stopped", out),
            // Both wait for the facts that say so: nobody is asked for what is not written.
            Op::Fetch { no, errand } => {
                self.write(out);
                out.push(Effect::Fetch { no, errand });
            }
            Op::Owe(delivery) => {
                self.write(out);
                out.push(Effect::Deliver(delivery));
            }
        }
    }

    fn switch_echo(&mut self, on: bool, out: &mut Vec<Effect>) {
        if !on || self.live.is_none() {
            self.desk.echo = Echo::Off;
            return;
        }
        self.desk.echoes += 1;
        let echo = self.desk.echoes;
        self.desk.echo = Echo::Opening { echo, held: VecDeque::new() };
        self.write(out);
        out.push(Effect::OpenEcho { echo });
    }

    pub(super) fn echo_open(&mut self, now: Now, echo: u64, out: &mut Vec<Effect>) {
        match std::mem::replace(&mut self.desk.echo, Echo::On) {
            Echo::Opening { echo: opening, held } if opening == echo => {
                held.into_iter().for_each(|audio| self.echo(now, audio, out));
            }
            // That echo is over already.
            other => self.desk.echo = other,
        }
    }

    /// Gives the caller back what was just heard, if it is to be echoed.
    pub(super) fn echo(&mut self, now: Now, audio: Audio, out: &mut Vec<Effect>) {
        let Some(live) = &self.live else { return };
        match &mut self.desk.echo {
            Echo::Off => {}
            Echo::Opening { held, .. } => {
                held.push_back(audio);
                if held.len() > ECHO_HELD_MAX {
                    held.pop_front();
                    self.counters.frames_dropped += 1;
                    self.counters.dropped_echo += 1;
                }
            }
            // Echo is live: what a stalled socket does not take at once is worth nothing a second later.
            Echo::On if self.desk.blocked => {
                self.counters.frames_dropped += 1;
                self.counters.dropped_echo += 1;
            }
            Echo::On => {
                self.counters.frames_out += 1;
                level::measure(&mut self.meter, now.tick, Side::Spoken, &audio);
                self.desk.spoke(now, &audio);
                out.push(Effect::Transmit { stream: live.stream, out: StreamOut::Audio(audio) });
            }
        }
    }

    /// A person outside speaks: on the stream if we can, otherwise the network does it first of all in the next
    /// document. What is playing is heard to its end.
    pub(super) fn asked_say(
        &mut self,
        now: Now,
        ask: AskNo,
        text: String,
        stamp: Option<Stamp>,
        out: &mut Vec<Effect>,
    ) {
        if self.wants_hangup() {
            out.push(Effect::Answer { ask, answer: Answer::Commanded(Err(Refused::AlreadyEnded)) });
            return;
        }
        let streams = self.live.as_ref().is_some_and(|live| live.is_usable());
        let deferred = !(streams && self.config.local_speech);
        if deferred && self.state.says.len() >= SAYS_MAX {
            self.counters.texts_refused += 1;
            out.push(Effect::Answer { ask, answer: Answer::Denied { why: "too much waits to be said" } });
            return;
        }
        self.decide(now, CallFact::Said { text: text.clone(), deferred });
        self.obeyed(now, stamp, deferred);
        if !deferred {
            self.desk.house_sounds += 1;
            let what = Sound::Speech { text, ssml: false, language: None, voice: None };
            self.begin_sound(self.desk.house_sounds, what, out);
        }
        self.write(out);
        out.push(Effect::Answer { ask, answer: Answer::Saying { deferred } });
    }

    /// Sound is fetched behind the facts that caused it, so nothing is heard before it is written.
    fn begin_sound(&mut self, sound: u64, what: Sound, out: &mut Vec<Effect>) {
        if self.live.is_none() {
            return; // frozen with the stream: the flow begins it again
        }
        if self.desk.waiting.len() >= WAITING_MAX {
            self.counters.sounds_refused += 1;
            let message = format!("at most {WAITING_MAX} sounds of a call can wait at once");
            let end = SoundEnd::Failed { class: ErrorClass::Invalid, message };
            self.desk.failures.push((sound, end));
            return;
        }
        self.desk.waiting.push_back(Waiting { sound, audio: None });
        self.write(out);
        out.push(Effect::Load { sound, what });
    }

    pub(super) fn loaded(
        &mut self,
        now: Now,
        sound: u64,
        audio: Result<Arc<[u8]>, (ErrorClass, String)>,
        _out: &mut Vec<Effect>,
    ) {
        let Some(at) = self.desk.waiting.iter().position(|waiting| waiting.sound == sound) else { return };
        match audio {
            Ok(audio) => {
                if let Some(waiting) = self.desk.waiting.get_mut(at) {
                    waiting.audio = Some(audio);
                }
            }
            Err((class, message)) => {
                self.desk.waiting.remove(at);
                self.desk.failures.push((sound, SoundEnd::Failed { class, message }));
            }
        }
        self.desk.begin_loaded(now);
    }

    /// Sends what is due, and tells the flow what has ended.
    pub(super) fn play(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.desk.playout.tick(now.tick, &mut self.desk.outs);
        let stream = self.live.as_ref().map(|live| live.stream);
        for sent in std::mem::take(&mut self.desk.outs) {
            let sent = match sent {
                Out::Frame(frame) => {
                    self.counters.frames_out += 1;
                    level::measure(&mut self.meter, now.tick, Side::Spoken, frame.bytes());
                    self.desk.spoke(now, frame.bytes());
                    StreamOut::Audio(frame.into())
                }
                Out::Mark(name) => StreamOut::Mark(name),
                Out::Clear => StreamOut::Clear,
                Out::Report(report) => {
                    self.desk.reports.push(report);
                    continue;
                }
            };
            if let Some(stream) = stream {
                out.push(Effect::Transmit { stream, out: sent });
            }
        }
        for Report { id, heard_ms, how } in std::mem::take(&mut self.desk.reports) {
            let how = match how {
                How::Whole => SoundEnd::Whole,
                How::Cut => SoundEnd::Cut,
                How::Timeout => SoundEnd::Stalled,
            };
            self.sound_ended(id.0, heard_ms, how);
        }
        for (sound, end) in std::mem::take(&mut self.desk.failures) {
            self.sound_ended(sound, 0, end);
        }
        self.watch_recording(now, out);
    }

    fn sound_ended(&mut self, sound: u64, heard_ms: u64, how: SoundEnd) {
        if sound < HOUSE_SOUNDS {
            self.tell_flow(Event::Sounded { sound, heard_ms, how });
        }
    }

    fn start_recording(&mut self, now: Now, wish: RecordingWish, out: &mut Vec<Effect>) {
        if self.desk.recording.is_some() {
            return; // the flow allows one at a time
        }
        let ordinal = wish.ordinal;
        let file = format!("{}-{ordinal}.wav", self.state.arrival.call);
        let channels = if wish.channels == 2 { Channels::Two } else { Channels::Mixed };
        let config = RecorderConfig {
            channels,
            end_of_silence_ms: wish.end_of_silence_ms,
            duration_ms: wish.duration_ms,
        };
        let mut recorder = Recorder::new(now.tick.as_millis(), config);
        if self.live.is_none() {
            recorder.gap_begins(now.tick.as_millis());
        }
        self.decide(now, CallFact::RecordingStarted { ordinal, file: file.clone() });
        self.write(out);
        out.push(Effect::OpenRecording { ordinal, file: file.clone(), channels: wish.channels });
        if wish.beep_start {
            self.desk.house_sounds += 1;
            self.begin_sound(self.desk.house_sounds, Sound::Beep { hz: 1000, ms: 500 }, out);
        }
        let recording = Recording { wish, file, recorder, key_pressed: false, closing: false };
        self.desk.recording = Some(Box::new(recording));
    }

    /// Ends a recording whose own condition is met.
    fn watch_recording(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Some(recording) = self.desk.recording.as_mut().filter(|recording| !recording.closing) else {
            return;
        };
        recording.recorder.advance(now.tick.as_millis());
        let why = match recording.recorder.wants_end() {
            _ if recording.key_pressed => "key",
            Some(EndedBy::Silence) => "silence",
            Some(EndedBy::Duration) => "duration",
            None => return,
        };
        self.end_recording(now, why, out);
    }

    pub(super) fn end_recording(&mut self, now: Now, why: &str, out: &mut Vec<Effect>) {
        let Some(recording) = self.desk.recording.as_mut().filter(|recording| !recording.closing) else {
            return;
        };
        recording.closing = true;
        recording.recorder.finish(now.tick.as_millis());
        while let Some(pcm) = recording.recorder.take_chunk() {
            out.push(Effect::AppendRecording { pcm });
        }
        let gaps = recording.recorder.gaps().iter().map(|gap| Gap { at_ms: gap.at_ms, ms: gap.ms }).collect();
        let report = RecordingReport {
            ordinal: recording.wish.ordinal,
            file: recording.file.clone(),
            bytes: recording.recorder.bytes(),
            seconds: recording.recorder.seconds(),
            gaps,
            ended_by: why.to_owned(),
        };
        if why == "hangup" {
            // The flow ends in this same turn, so it cannot be told when the file is closed.
            self.tell_flow(Event::Recorded { report: report.clone() });
        }
        self.write(out);
        out.push(Effect::CloseRecording { report });
    }

    /// After a restart: a file that was open ended with the process, and whoever waits for it must not wait for ever.
    pub(super) fn resume_recordings(&mut self, now: Now) {
        if self.state.over.is_some() {
            return;
        }
        let mut told: Vec<RecordingReport> = self.state.last_report.as_deref().cloned().into_iter().collect();
        for (ordinal, file) in self.state.open_recordings.clone() {
            let (ended_by, gaps) = ("failed".to_owned(), Vec::new());
            let report = RecordingReport { ordinal, file, bytes: 0, seconds: 0.0, gaps, ended_by };
            self.decide(now, CallFact::RecordingEnded { report: report.clone() });
            told.push(report);
        }
        for report in told {
            self.tell_flow(Event::Recorded { report });
        }
    }

    pub(super) fn recording_closed(&mut self, now: Now, report: RecordingReport) {
        let is_ours = |recording: &Recording| recording.wish.ordinal == report.ordinal;
        if !self.desk.recording.as_deref().is_some_and(is_ours) {
            self.counters.ignored_inputs += 1;
            return;
        }
        self.desk.recording = None;
        self.decide(now, CallFact::RecordingEnded { report: report.clone() });
        self.tell_flow(Event::Recorded { report });
    }
}
