//! From elements to verbs. What is odd becomes a warning, and is left out or replaced by its default.

use std::time::Duration;

use super::schema::known;
use super::twiml::{
    Callback, Connect, Dial, Document, Enqueue, Gather, Method, Noun, NounKind, Play, Record, Say, Stream,
    Verb, Warning,
};
use super::xml::{self, Element};

#[derive(Default)]
pub(super) struct Reader {
    warnings: Vec<Warning>,
}

impl Reader {
    pub(super) fn document(mut self, root: &Element) -> Document {
        self.check_attributes(root);
        self.check_no_text(root);
        let mut verbs = Vec::new();
        for element in root.elements() {
            verbs.extend(self.verb(element));
        }
        Document { verbs, warnings: self.warnings }
    }

    fn verb(&mut self, element: &Element) -> Option<Verb> {
        if known(&element.name).is_none() {
            self.warn(format!("expected a verb in Response, got {}", element.name));
            return None;
        }
        self.check_attributes(element);
        if !matches!(element.name.as_str(), "Say" | "Play" | "Redirect" | "Enqueue" | "Dial") {
            self.check_no_text(element);
        }
        Some(match element.name.as_str() {
            "Say" | "Play" | "Pause" => return self.prompt(element),
            "Gather" => Verb::Gather(self.gather(element)),
            "Dial" => Verb::Dial(self.dial(element)),
            "Enqueue" => Verb::Enqueue(self.enqueue(element)),
            "Record" => Verb::Record(self.record(element)),
            "Redirect" => {
                self.check_no_children(element);
                Verb::Redirect(Callback { url: element.text(), method: self.method(element, "method") })
            }
            "Hangup" => {
                self.check_no_children(element);
                Verb::Hangup
            }
            "Leave" => Verb::Leave,
            "Reject" => {
                self.check_no_children(element);
                Verb::Reject { busy: self.choice(element, "reason", &["rejected", "busy"]) == "busy" }
            }
            "Connect" => return self.connect(element),
            "Start" => return self.start(element),
            "Stop" => {
                let recording = element.elements().any(|child| child.name == "Recording");
                if !recording {
                    self.warn("expected Recording in Stop: other nouns are not performed here".into());
                }
                return recording.then_some(Verb::StopRecording);
            }
            other => {
                self.warn(format!("expected a verb in Response, got the noun {other}"));
                return None;
            }
        })
    }

    /// The verbs that a Gather may hold.
    fn prompt(&mut self, element: &Element) -> Option<Verb> {
        let turns = match self.number(element, "loop", 1, 0, u64::from(TURNS_MAX)) {
            0 => TURNS_MAX,
            turns => u32::try_from(turns).unwrap_or(1),
        };
        Some(match element.name.as_str() {
            "Say" => {
                let text = element.text();
                if text.is_empty() {
                    self.warn("expected text in Say, got none".into());
                    return None;
                }
                if text.chars().count() > SAY_CHARACTERS_MAX {
                    self.warn(format!("expected at most {SAY_CHARACTERS_MAX} characters in Say"));
                }
                Verb::Say(Say {
                    text,
                    voice: element.attribute("voice").map(str::to_owned),
                    language: element.attribute("language").map(str::to_owned),
                    turns,
                    breaks: breaks(element),
                })
            }
            "Play" => {
                self.check_no_children(element);
                let url = Some(element.text()).filter(|url| !url.is_empty());
                let digits = element.attribute("digits").map(str::to_owned);
                if let Some(wrong) = digits.iter().flat_map(|digits| digits.chars()).find(|key| !is_key(*key))
                {
                    self.warn(format!("expected 0-9, #, *, w or W in the digits of Play, got {wrong}"));
                }
                if url.is_none() && digits.is_none() {
                    self.warn("expected a URL or digits in Play, got neither".into());
                    return None;
                }
                Verb::Play(Play { url, digits, turns })
            }
            _ => {
                self.check_no_children(element);
                Verb::Pause { seconds: self.number(element, "length", 1, 0, 100_000) }
            }
        })
    }

    fn gather(&mut self, element: &Element) -> Gather {
        let input = element.attribute("input").unwrap_or("dtmf");
        let (mut dtmf, mut speech) = (false, false);
        for word in input.split_whitespace() {
            match word {
                "dtmf" => dtmf = true,
                "speech" => speech = true,
                other => self.warn(format!("expected dtmf or speech in the input of Gather, got {other}")),
            }
        }
        let mut prompts = Vec::new();
        for child in element.elements() {
            if matches!(child.name.as_str(), "Say" | "Play" | "Pause") {
                self.check_attributes(child);
                prompts.extend(self.prompt(child));
            } else {
                self.warn(format!("expected Say, Play or Pause in Gather, got {}", child.name));
            }
        }
        let speech_timeout = match element.attribute("speechTimeout") {
            None | Some("auto") => None,
            Some(_) => Some(self.seconds(element, "speechTimeout", 1, 600)),
        };
        Gather {
            dtmf,
            speech,
            action: element.attribute("action").map(str::to_owned),
            method: self.method(element, "method"),
            timeout: match element.attribute("timeout") {
                Some("auto") => Duration::from_secs(5),
                _ => self.seconds(element, "timeout", 5, 600),
            },
            speech_timeout,
            finish_on: self.keys(element, "finishOnKey", "#"),
            digits: element
                .attribute("numDigits")
                .is_some()
                .then(|| self.number(element, "numDigits", 0, 1, 1000))
                .filter(|digits| *digits > 0)
                .and_then(|digits| usize::try_from(digits).ok()),
            action_on_empty: self.flag(element, "actionOnEmptyResult", false),
            barge_in: self.flag(element, "bargeIn", true),
            hints: element.attribute("hints").map(str::to_owned),
            prompts,
        }
    }

    fn dial(&mut self, element: &Element) -> Dial {
        let mut nouns = Vec::new();
        for child in element.elements() {
            let kind = match child.name.as_str() {
                "Number" => NounKind::Number,
                "Client" => NounKind::Client,
                "Sip" => NounKind::Sip,
                "Queue" => NounKind::Queue,
                "Conference" => NounKind::Conference,
                other => {
                    self.warn(format!(
                        "expected Number, Client, Sip, Queue or Conference in Dial, got {other}"
                    ));
                    continue;
                }
            };
            self.check_attributes(child);
            nouns.push(self.noun(child, kind));
        }
        if nouns.is_empty() {
            let number = element.text();
            if number.is_empty() {
                self.warn("expected somebody to call in Dial, got nobody".into());
            } else {
                nouns.push(
                    self.noun(&Element { attributes: Vec::new(), ..element.clone() }, NounKind::Number),
                );
            }
        } else {
            self.check_no_text(element);
        }
        if nouns.len() > NOUNS_MAX {
            self.warn(format!("expected at most {NOUNS_MAX} nouns in Dial, got {}", nouns.len()));
            nouns.truncate(NOUNS_MAX);
        }
        let alone = |noun: &Noun| matches!(noun.kind, NounKind::Conference | NounKind::Queue);
        if nouns.len() > 1 && nouns.iter().any(alone) {
            self.warn("expected a Conference or Queue alone in Dial".into());
            nouns.truncate(1);
        }
        Dial {
            action: self.action(element),
            timeout: self.seconds(element, "timeout", 30, 600),
            time_limit: element
                .attribute("timeLimit")
                .is_some()
                .then(|| self.seconds(element, "timeLimit", 14_400, 86_400)),
            hangup_on_star: self.flag(element, "hangupOnStar", false),
            answer_on_bridge: self.flag(element, "answerOnBridge", false),
            sequential: self.flag(element, "sequential", false),
            caller_id: element.attribute("callerId").map(str::to_owned),
            record: recorded(element),
            recording: self.callback(element, "recordingStatusCallback", "recordingStatusCallbackMethod"),
            nouns,
        }
    }

    fn noun(&mut self, element: &Element, kind: NounKind) -> Noun {
        let name = match kind {
            // A Client may write its name as a child of its own.
            NounKind::Client => element
                .elements()
                .find(|child| child.name == "Identity")
                .map_or_else(|| element.text(), Element::text),
            _ => element.text(),
        };
        if name.is_empty() {
            self.warn(format!("expected text in {}, got none", element.name));
        }
        let label = element.attribute("participantLabel").map(str::to_owned);
        if label.as_ref().is_some_and(|label| label.len() > 128) {
            self.warn("expected at most 128 characters in participantLabel".into());
        }
        let default = if kind == NounKind::Conference { "" } else { "completed" };
        Noun {
            kind,
            name,
            callback: self.callback(element, "statusCallback", "statusCallbackMethod"),
            events: words(element.attribute("statusCallbackEvent").unwrap_or(default)),
            label,
            muted: self.flag(element, "muted", false),
            starts: self.flag(element, "startConferenceOnEnter", true),
            ends: self.flag(element, "endConferenceOnExit", false),
            wait: element.attribute("waitUrl").map(str::to_owned),
            record: recorded(element),
            recording: self.callback(element, "recordingStatusCallback", "recordingStatusCallbackMethod"),
            send_digits: element.attribute("sendDigits").map(str::to_owned),
        }
    }

    fn enqueue(&mut self, element: &Element) -> Enqueue {
        let task = element.elements().any(|child| child.name == "Task");
        let name = if task {
            element.attribute("workflowSid").unwrap_or_default().to_owned()
        } else {
            element.text()
        };
        if name.is_empty() {
            self.warn("expected the name of a queue in Enqueue, got none".into());
        }
        Enqueue {
            name,
            action: self.action(element),
            wait: self.callback(element, "waitUrl", "waitUrlMethod"),
            size_max: element
                .attribute("maxQueueSize")
                .is_some()
                .then(|| self.number(element, "maxQueueSize", 100, 1, 5000)),
        }
    }

    fn record(&mut self, element: &Element) -> Record {
        self.check_no_children(element);
        Record {
            action: element.attribute("action").map(str::to_owned),
            method: self.method(element, "method"),
            timeout: self.seconds(element, "timeout", 5, 3600),
            finish_on: self.keys(element, "finishOnKey", "1234567890*#"),
            length_max: self.seconds(element, "maxLength", 3600, 14_400),
            beep: self.flag(element, "playBeep", true),
            recording: self.callback(element, "recordingStatusCallback", "recordingStatusCallbackMethod"),
        }
    }

    fn connect(&mut self, element: &Element) -> Option<Verb> {
        let mut stream = None;
        for child in element.elements() {
            if child.name != "Stream" || stream.is_some() {
                self.warn(format!("expected one Stream in Connect, got {}", child.name));
                continue;
            }
            self.check_attributes(child);
            stream = self.stream(child);
        }
        let Some(stream) = stream else {
            self.warn("expected a Stream in Connect, got none".into());
            return None;
        };
        Some(Verb::Connect(Connect { action: self.action(element), stream }))
    }

    fn stream(&mut self, element: &Element) -> Option<Stream> {
        let Some(url) = element.attribute("url").filter(|url| !url.trim().is_empty()) else {
            self.warn("expected url in Stream, got none".into());
            return None;
        };
        let mut parameters = Vec::new();
        for child in element.elements() {
            if child.name != "Parameter" {
                self.warn(format!("expected Parameter in Stream, got {}", child.name));
                continue;
            }
            self.check_attributes(child);
            let name = child.attribute("name").unwrap_or_default().to_owned();
            let value = child.attribute("value").unwrap_or_default().to_owned();
            if name.is_empty() {
                self.warn("expected name in Parameter, got none".into());
            } else if name.chars().count() + value.chars().count() >= PARAMETER_CHARACTERS_MAX {
                self.warn(format!(
                    "expected fewer than {PARAMETER_CHARACTERS_MAX} characters in the Parameter {name}"
                ));
            } else {
                parameters.push((name, value));
            }
        }
        Some(Stream {
            url: url.to_owned(),
            name: element.attribute("name").map(str::to_owned),
            parameters,
            callback: self.callback(element, "statusCallback", "statusCallbackMethod"),
        })
    }

    fn start(&mut self, element: &Element) -> Option<Verb> {
        let Some(recording) = element.elements().find(|child| child.name == "Recording") else {
            self.warn("expected Recording in Start: other nouns are not performed here".into());
            return None;
        };
        self.check_attributes(recording);
        let events = recording.attribute("recordingStatusCallbackEvent").unwrap_or("completed");
        Some(Verb::StartRecording {
            callback: self.callback(recording, "recordingStatusCallback", "recordingStatusCallbackMethod"),
            events: words(events),
            channels: if self.choice(recording, "channels", &["dual", "mono"]) == "mono" { 1 } else { 2 },
        })
    }

    fn action(&mut self, element: &Element) -> Option<Callback> {
        self.callback(element, "action", "method")
    }

    fn callback(&mut self, element: &Element, url: &str, method: &str) -> Option<Callback> {
        let url = element.attribute(url).filter(|url| !url.trim().is_empty())?;
        Some(Callback { url: url.to_owned(), method: self.method(element, method) })
    }

    fn method(&mut self, element: &Element, name: &str) -> Method {
        match element.attribute(name).map(str::to_ascii_uppercase).as_deref() {
            None | Some("POST") => Method::Post,
            Some("GET") => Method::Get,
            Some(other) => {
                self.warn(format!("expected GET or POST in {name} of {}, got {other}", element.name));
                Method::Post
            }
        }
    }

    fn flag(&mut self, element: &Element, name: &str, default: bool) -> bool {
        match element.attribute(name) {
            None => default,
            Some("true") => true,
            Some("false") => false,
            Some(other) => {
                self.warn(format!("expected true or false in {name} of {}, got {other}", element.name));
                default
            }
        }
    }

    fn choice<'a>(&mut self, element: &Element, name: &str, allowed: &[&'a str]) -> &'a str {
        let first = allowed.first().copied().unwrap_or_default();
        match element.attribute(name) {
            None => first,
            Some(given) => allowed.iter().copied().find(|word| *word == given).unwrap_or_else(|| {
                self.warn(format!(
                    "expected {} in {name} of {}, got {given}",
                    allowed.join(" or "),
                    element.name
                ));
                first
            }),
        }
    }

    fn number(&mut self, element: &Element, name: &str, default: u64, min: u64, max: u64) -> u64 {
        let Some(given) = element.attribute(name) else { return default };
        match given.parse::<u64>() {
            Ok(number) if (min..=max).contains(&number) => number,
            _ => {
                let of = &element.name;
                self.warn(format!(
                    "expected a whole number from {min} to {max} in {name} of {of}, got {given}"
                ));
                default
            }
        }
    }

    fn seconds(&mut self, element: &Element, name: &str, default: u64, max: u64) -> Duration {
        Duration::from_secs(self.number(element, name, default, 0, max))
    }

    fn keys(&mut self, element: &Element, name: &str, default: &str) -> String {
        let given = element.attribute(name).unwrap_or(default);
        if let Some(wrong) = given.chars().find(|key| !matches!(key, '0'..='9' | '#' | '*')) {
            self.warn(format!("expected keys in {name} of {}, got {wrong}", element.name));
            return default.to_owned();
        }
        given.to_owned()
    }

    fn check_attributes(&mut self, element: &Element) {
        let Some((own, groups)) = known(&element.name) else { return };
        for (name, _) in &element.attributes {
            let is_known =
                own.contains(&name.as_str()) || groups.iter().any(|group| group.contains(&name.as_str()));
            if !is_known && !name.starts_with("xmlns") && !name.starts_with("xml:") {
                self.warn(format!("expected no attribute {name} on {}", element.name));
            }
        }
    }

    fn check_no_children(&mut self, element: &Element) {
        if let Some(child) = element.elements().next() {
            self.warn(format!("expected no element in {}, got {}", element.name, child.name));
        }
    }

    fn check_no_text(&mut self, element: &Element) {
        let text = element
            .children
            .iter()
            .any(|child| matches!(child, xml::Node::Text(text) if !text.trim().is_empty()));
        if text {
            self.warn(format!("expected no text directly in {}", element.name));
        }
    }

    fn warn(&mut self, text: String) {
        self.warnings.push(Warning { code: SCHEMA, text });
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn recorded(element: &Element) -> bool {
    !matches!(element.attribute("record"), None | Some("do-not-record" | "false"))
}

fn is_key(character: char) -> bool {
    matches!(character, '0'..='9' | '#' | '*' | 'w' | 'W')
}

/// The silence that SSML asks for, `<break time="500ms"/>` and `"2s"`.
fn breaks(element: &Element) -> Duration {
    element
        .elements()
        .map(|child| {
            let own = match (child.name.as_str(), child.attribute("time")) {
                ("break", Some(time)) => millis(time),
                ("break", None) => Duration::from_millis(500),
                _ => Duration::ZERO,
            };
            own + breaks(child)
        })
        .sum()
}

fn millis(time: &str) -> Duration {
    let (number, factor) = match time.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (time.strip_suffix('s').unwrap_or(time), 1.0),
    };
    number
        .trim()
        .parse()
        .ok()
        .and_then(|value: f64| Duration::try_from_secs_f64(value * factor).ok())
        .unwrap_or_default()
        .min(Duration::from_secs(10))
}

/// Schema warning: the element or attribute is ignored, the rest is performed.
const SCHEMA: u32 = 12200;
/// A spoken text longer than this is refused by the real network's voice.
const SAY_CHARACTERS_MAX: usize = 4096;
/// Name and value of one stream parameter together.
const PARAMETER_CHARACTERS_MAX: usize = 500;
/// `loop="0"` is a lot of turns, not an endless one.
const TURNS_MAX: u32 = 1000;
const NOUNS_MAX: usize = 10;
