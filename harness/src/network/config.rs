//! What one pretend call is like: who calls, how the network behaves, who answers at the far end.

use std::time::Duration;

use super::caller::Script;
use super::sign;
use super::twiml::Method;

#[derive(Debug, Clone)]
pub struct LineConfig {
    pub call_sid: String,
    pub account_sid: String,
    pub from: String,
    pub to: String,
    /// Signs every request and every upgrade; `None` sends them unsigned.
    pub auth_token: Option<String>,
    pub voice_url: String,
    pub voice_method: Method,
    pub fallback_url: Option<String>,
    pub status_url: Option<String>,
    pub status_events: Vec<StatusEvent>,
    /// More fields of every voice request and status callback (`CallerName`, `FromCity` …).
    pub extra: Vec<(String, String)>,
    /// What follows when a stream's socket is gone without a close: not confirmed on a real line, so all three exist.
    pub on_abrupt_close: OnAbruptClose,
    pub media: Media,
    pub faults: Faults,
    /// Who answers for a number, client, SIP address, conference or queue: by its name, or `*`.
    pub far_ends: Vec<(String, FarEnd)>,
    pub say_per_character: Duration,
    /// How long a file of `<Play>` sounds: by the end of its URL, else `play_length`.
    pub play_lengths: Vec<(String, Duration)>,
    pub play_length: Duration,
    /// Between two tries of a refused connection.
    pub retry_gap: Duration,
    /// Between two keys of one `presses`.
    pub digit_gap: Duration,
    /// The network ends every call after four hours.
    pub time_limit: Duration,
    /// Hand out each 20 ms of sound that the caller hears, for recording.
    pub hear_frames: bool,
    pub script: Script,
    /// Placed by the REST API: it rings for so long, and whoever `far_ends` names under `to` answers or does not.
    pub outbound: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusEvent {
    Initiated,
    Ringing,
    Answered,
    Completed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnAbruptClose {
    /// The next verb: the tail redirect.
    #[default]
    Redirect,
    /// Connect's action if it has one, else the next verb.
    Action,
    End,
    /// Nothing at all: the call stands, in silence, until somebody else does something about it.
    Nothing,
}

/// How the caller's side of a stream is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Media {
    /// A frame every 20 ms, as on a real line.
    #[default]
    Full,
    /// While the caller is silent a frame only this often, so that hours of virtual time cost little.
    Sparse(Duration),
}

/// What happens to callbacks on their way.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Each is sent so many times more.
    pub repeats: u32,
    /// Call status: the terminal one first, then the others from the last to the first.
    pub reorder: bool,
    pub late: Duration,
    pub lost: Vec<StatusEvent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FarEnd {
    pub answers: Answers,
    /// How long it talks; `None` until somebody else ends it.
    pub talks: Option<Duration>,
    pub hangs_up: Party,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    After(Duration),
    /// A queue of this name is full.
    Busy(Duration),
    Failed(Duration),
    Never,
}

/// Who ends the talk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    Far,
    Caller,
}

impl Default for FarEnd {
    fn default() -> FarEnd {
        FarEnd::answering(Duration::from_secs(2), Duration::from_secs(10))
    }
}

impl FarEnd {
    pub fn answering(after: Duration, talks: Duration) -> FarEnd {
        FarEnd { answers: Answers::After(after), talks: Some(talks), hangs_up: Party::Far }
    }

    pub fn busy() -> FarEnd {
        FarEnd { answers: Answers::Busy(Duration::from_secs(1)), talks: None, hangs_up: Party::Far }
    }

    pub fn silent() -> FarEnd {
        FarEnd { answers: Answers::Never, talks: None, hangs_up: Party::Far }
    }
}

impl LineConfig {
    /// A call of its own for every `seed`.
    pub fn new(voice_url: impl Into<String>, seed: &str) -> LineConfig {
        LineConfig {
            call_sid: sign::sid("CA", seed),
            account_sid: sign::sid("AC", "the pretend account"),
            from: "+14155550100".into(),
            to: "+14155550199".into(),
            auth_token: None,
            voice_url: voice_url.into(),
            voice_method: Method::Post,
            fallback_url: None,
            status_url: None,
            status_events: vec![StatusEvent::Completed],
            extra: Vec::new(),
            on_abrupt_close: OnAbruptClose::default(),
            media: Media::default(),
            faults: Faults::default(),
            far_ends: Vec::new(),
            say_per_character: Duration::from_millis(100),
            play_lengths: Vec::new(),
            play_length: Duration::from_secs(3),
            retry_gap: Duration::from_millis(250),
            digit_gap: Duration::from_millis(200),
            time_limit: Duration::from_secs(4 * 3600),
            hear_frames: false,
            script: Script::default(),
            outbound: None,
        }
    }

    pub(super) fn far_end(&self, name: &str) -> FarEnd {
        let named =
            |wanted: &str| self.far_ends.iter().find(|(known, _)| known == wanted).map(|(_, far)| *far);
        named(name).or_else(|| named("*")).unwrap_or_default()
    }

    pub(super) fn play_length(&self, url: &str) -> Duration {
        let known = self.play_lengths.iter().find(|(end, _)| url.ends_with(end.as_str()));
        known.map_or(self.play_length, |(_, length)| *length)
    }
}
