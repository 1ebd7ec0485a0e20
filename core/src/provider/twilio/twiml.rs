//! A [`Plan`] as TwiML: a pure function, so that the same plan is always the same bytes.
//!
//! Every value goes through the XML writer. A text that somebody said, typed or configured can be anything; what comes
//! out is well-formed, and reads back as the same text but for the characters that XML has no way to say.

use super::form::percent_encoded;
use super::ssml;
use crate::document::{Conference, Dial, Ending, Gather, Links, Noun, Plan, Say, Verb};
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};
use std::borrow::Cow;
use std::time::Duration;

/// The document of one exchange. `token` opens its stream; it isn't part of the plan because it is never written down.
pub fn render(plan: &Plan, links: &Links, token: Option<&str>) -> String {
    let mut document = Document::open();
    let urls = Urls { links, exchange: plan.exchange };
    match &plan.ending {
        Ending::Reject { reason } => document.empty("Reject", &[("reason", reason)]),
        ending => {
            for (place, verb) in (1_usize..).zip(&plan.verbs) {
                document.verb(verb, &urls, place);
            }
            if let Ending::Stream { parameters } = ending {
                document.stream(&urls, token, parameters);
            }
            match ending {
                Ending::Hangup => document.empty("Hangup", &[]),
                _ => document.redirect(&urls.tail()),
            }
        }
    }
    document.close()
}

/// One turn of what a caller hears in a queue. `turn` counts from 0; the tail asks for the next one, unless the caller
/// leaves.
pub fn wait_document(verbs: &[Verb], links: &Links, exchange: u32, turn: u32) -> String {
    let mut document = Document::open();
    let urls = Urls { links, exchange };
    let mut performed = false;
    for verb in
        verbs.iter().filter(|verb| matches!(verb, Verb::Say(_) | Verb::Play { .. } | Verb::Pause { .. }))
    {
        document.verb(verb, &urls, 1);
        performed = true;
    }
    if verbs.contains(&Verb::Leave) {
        document.verb(&Verb::Leave, &urls, 1);
        return document.close();
    }
    if !performed {
        // Without anything to perform the network would come back at once, again and again.
        document.empty("Pause", &[("length", "5")]);
    }
    document.redirect(&format!("{}&w={}", urls.wait(), turn.saturating_add(1)));
    document.close()
}

/// The document for a caller without a call: a stream at `/ws`.
pub fn bare_stream(links: &Links) -> String {
    let mut document = Document::open();
    document.start("Connect", &[]);
    document.empty("Stream", &[("url", &format!("{}/ws", socket_origin(&links.origin)))]);
    document.end("Connect");
    document.close()
}

pub fn hangup() -> String {
    let mut document = Document::open();
    document.empty("Hangup", &[]);
    document.close()
}

/// `busy` or `rejected`.
pub fn reject(reason: &str) -> String {
    let mut document = Document::open();
    document.empty("Reject", &[("reason", reason)]);
    document.close()
}

/// How a `<Parameter>`'s name and value together are bounded by the network: under 500 characters.
const PARAMETER_CHARS_MAX: usize = 499;
/// About ten words a second more than anybody speaks: so a call isn't given up while the network still talks.
const SAY_PER_CHARACTER: Duration = Duration::from_millis(100);
/// A file of which only the URL is known.
const PLAY_UNKNOWN: Duration = Duration::from_secs(600);

/// How long the network may be busy with these; `None` when nothing bounds it but the call's own end.
pub fn rendered_length(verbs: &[Verb]) -> Option<Duration> {
    verbs.iter().try_fold(Duration::ZERO, |sum, verb| {
        let length = match verb {
            Verb::Say(say) => {
                let characters = u32::try_from(say.text.chars().count()).unwrap_or(u32::MAX);
                SAY_PER_CHARACTER.saturating_mul(characters)
            }
            Verb::Play { .. } => PLAY_UNKNOWN,
            Verb::Pause { seconds } => Duration::from_secs(u64::from(*seconds)),
            Verb::Gather(gather) => gather_length(gather)?,
            Verb::StartRecording { .. } | Verb::StopRecording | Verb::Leave => Duration::ZERO,
            Verb::Dial(_) | Verb::Conference(_) | Verb::Enqueue { .. } => return None,
        };
        Some(sum.saturating_add(length))
    })
}

/// The silence is allowed anew after each digit.
fn gather_length(gather: &Gather) -> Option<Duration> {
    let digits = gather.num_digits.unwrap_or(1).max(1);
    let silence = Duration::from_secs(u64::from(gather.timeout_s.max(1))).saturating_mul(digits);
    let speech = gather.speech.as_ref().map_or(Duration::ZERO, |speech| {
        Duration::from_secs(u64::from(speech.speech_timeout_s.unwrap_or(SPEECH_AUTO_S)))
    });
    Some(rendered_length(&gather.prompts)?.saturating_add(silence).saturating_add(speech))
}

/// What `speechTimeout="auto"` may take: the network listens to one utterance for a minute at most.
const SPEECH_AUTO_S: u32 = 60;

/// Where one document's verbs and its tail lead.
struct Urls<'a> {
    links: &'a Links,
    exchange: u32,
}

impl Urls<'_> {
    fn workflow(&self) -> String {
        format!("{}/webhooks/{}", self.links.origin, percent_encoded(&self.links.workflow))
    }

    fn tail(&self) -> String {
        format!("{}/next?x={}{}", self.workflow(), self.exchange, self.links.return_fragment)
    }

    /// Where the result of the document's verb number `place` (from 1) goes.
    fn action(&self, place: usize) -> String {
        format!("{}/next?x={}&a={place}{}", self.workflow(), self.exchange, self.links.return_fragment)
    }

    fn wait(&self) -> String {
        format!("{}/wait?x={}", self.workflow(), self.exchange)
    }

    fn recording(&self) -> String {
        format!("{}/webhooks/twilio/recording", self.links.origin)
    }

    /// A conference's recording is reported without a CallSid, so its URL says whose it is.
    fn conference_recording(&self) -> String {
        format!("{}?callSid={}", self.recording(), percent_encoded(&self.links.call))
    }

    fn conference(&self) -> String {
        format!("{}/webhooks/twilio/conference", self.links.origin)
    }

    fn stream(&self, token: Option<&str>) -> String {
        let workflow = percent_encoded(&self.links.workflow);
        let socket = format!("{}/webhooks/{workflow}/wss", socket_origin(&self.links.origin));
        match token {
            Some(token) => {
                format!("{socket}/{}/{}", percent_encoded(&self.links.call), percent_encoded(token))
            }
            None => socket,
        }
    }
}

fn socket_origin(origin: &str) -> String {
    match origin.strip_prefix("http") {
        Some(rest) => format!("ws{rest}"),
        None => origin.to_owned(),
    }
}

/// A document being written. Writing to memory doesn't fail, so nothing here returns an error.
struct Document {
    writer: Writer<Vec<u8>>,
}

impl Document {
    fn open() -> Document {
        let mut document = Document { writer: Writer::new(Vec::with_capacity(512)) };
        document.write(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        document.start("Response", &[]);
        document
    }

    fn close(mut self) -> String {
        self.end("Response");
        String::from_utf8_lossy(&self.writer.into_inner()).into_owned()
    }

    fn write(&mut self, event: Event<'_>) {
        let _ = self.writer.write_event(event);
    }

    fn start(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.write(Event::Start(element(name, attributes)));
    }

    fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.write(Event::Empty(element(name, attributes)));
    }

    fn end(&mut self, name: &str) {
        self.write(Event::End(BytesEnd::new(name)));
    }

    fn element(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.start(name, attributes);
        self.write(Event::Text(BytesText::new(&legal(text))));
        self.end(name);
    }

    fn redirect(&mut self, url: &str) {
        self.element("Redirect", &[("method", "POST")], url);
    }

    fn verb(&mut self, verb: &Verb, urls: &Urls<'_>, place: usize) {
        match verb {
            Verb::Say(say) => self.say(say),
            Verb::Play { url } => self.element("Play", &[], url),
            Verb::Pause { seconds } => self.empty("Pause", &[("length", &seconds.to_string())]),
            Verb::Gather(gather) => self.gather(gather, urls, place),
            Verb::Dial(dial) => self.dial(dial, urls, place),
            Verb::Conference(conference) => self.conference(conference, urls, place),
            Verb::Enqueue { queue } => {
                let attributes = [("action", urls.action(place)), ("waitUrl", urls.wait())];
                self.element("Enqueue", &borrowed(&attributes), queue);
            }
            Verb::StartRecording { channels } => {
                self.start("Start", &[]);
                let channels = if *channels > 1 { "dual" } else { "mono" };
                let attributes = [("channels", channels), ("recordingStatusCallback", &urls.recording())];
                self.empty("Recording", &attributes);
                self.end("Start");
            }
            Verb::StopRecording => {
                self.start("Stop", &[]);
                self.empty("Recording", &[]);
                self.end("Stop");
            }
            Verb::Leave => self.empty("Leave", &[]),
        }
    }

    fn say(&mut self, say: &Say) {
        let mut attributes = Vec::new();
        attributes.extend(say.voice.as_deref().map(|voice| ("voice", voice)));
        attributes.extend(say.language.as_deref().map(|language| ("language", language)));
        // Malformed SSML is read out rather than lost: the document stays whole either way.
        match say.ssml.then(|| ssml::rewritten(&say.text)) {
            Some(Ok(inside)) => {
                self.start("Say", &attributes);
                self.write(Event::Text(BytesText::from_escaped(inside)));
                self.end("Say");
            }
            _ => self.element("Say", &attributes, &say.text),
        }
    }

    fn gather(&mut self, gather: &Gather, urls: &Urls<'_>, place: usize) {
        let input = if gather.speech.is_some() { "dtmf speech" } else { "dtmf" };
        let mut attributes = vec![("input", input.to_owned())];
        attributes.extend(gather.num_digits.map(|digits| ("numDigits", digits.to_string())));
        attributes.push(("timeout", gather.timeout_s.max(1).to_string()));
        if gather.action_on_empty_result {
            attributes.push(("finishOnKey", gather.finish_on_key.clone()));
            attributes.push(("actionOnEmptyResult", "true".to_owned()));
        }
        attributes.push(("action", urls.action(place)));
        if gather.action_on_empty_result {
            attributes.push(("method", "POST".to_owned()));
        }
        if let Some(speech) = &gather.speech {
            attributes.extend(speech.language.clone().map(|language| ("language", language)));
            if !speech.hints.is_empty() {
                attributes.push(("hints", speech.hints.join(",")));
            }
            let timeout = speech.speech_timeout_s.map_or("auto".to_owned(), |seconds| seconds.to_string());
            attributes.push(("speechTimeout", timeout));
        }
        self.start("Gather", &borrowed(&attributes));
        for prompt in &gather.prompts {
            if matches!(prompt, Verb::Say(_) | Verb::Play { .. } | Verb::Pause { .. }) {
                self.verb(prompt, urls, place);
            }
        }
        self.end("Gather");
    }

    fn dial(&mut self, dial: &Dial, urls: &Urls<'_>, place: usize) {
        let mut attributes = vec![("action", urls.action(place))];
        attributes.extend(dial.caller_id.clone().map(|caller| ("callerId", caller)));
        attributes.extend(dial.timeout_s.map(|seconds| ("timeout", seconds.to_string())));
        if dial.answer_on_bridge {
            attributes.push(("answerOnBridge", "true".to_owned()));
        }
        if dial.record {
            attributes.push(("record", "record-from-answer".to_owned()));
            attributes.push(("recordingStatusCallback", urls.recording()));
        }
        self.start("Dial", &borrowed(&attributes));
        for noun in &dial.nouns {
            match noun {
                Noun::Number(number) => self.element("Number", &[], number),
                Noun::Sip(address) => self.element("Sip", &[], address),
                Noun::Client(name) => self.element("Client", &[], name),
                Noun::Queue(name) => self.element("Queue", &[], name),
            }
        }
        self.end("Dial");
    }

    fn conference(&mut self, conference: &Conference, urls: &Urls<'_>, place: usize) {
        let mut attributes = vec![
            ("startConferenceOnEnter", conference.start_on_enter.to_string()),
            ("endConferenceOnExit", conference.end_on_exit.to_string()),
            ("muted", conference.muted.to_string()),
        ];
        attributes.extend(conference.label.clone().map(|label| ("participantLabel", label)));
        attributes.extend(conference.wait_url.clone().map(|url| ("waitUrl", url)));
        attributes.push(("statusCallback", urls.conference()));
        attributes.push(("statusCallbackEvent", "start end join leave modify".to_owned()));
        if conference.record {
            attributes.push(("record", "record-from-start".to_owned()));
            attributes.push(("recordingStatusCallback", urls.conference_recording()));
        }
        self.start("Dial", &[("action", &urls.action(place))]);
        self.element("Conference", &borrowed(&attributes), &conference.name);
        self.end("Dial");
    }

    fn stream(&mut self, urls: &Urls<'_>, token: Option<&str>, parameters: &[(String, String)]) {
        self.start("Connect", &[("action", &urls.tail())]);
        self.start("Stream", &[("url", &urls.stream(token))]);
        if !parameters.iter().any(|(name, _)| name == "callSid") {
            self.parameter("callSid", &urls.links.call);
        }
        for (name, value) in parameters {
            self.parameter(name, value);
        }
        self.end("Stream");
        self.end("Connect");
    }

    fn parameter(&mut self, name: &str, value: &str) {
        let room = PARAMETER_CHARS_MAX.saturating_sub(name.chars().count());
        let value: String = value.chars().take(room).collect();
        self.empty("Parameter", &[("name", name), ("value", &value)]);
    }
}

fn element(name: &str, attributes: &[(&str, &str)]) -> BytesStart<'static> {
    let mut start = BytesStart::new(name.to_owned());
    for (name, value) in attributes {
        start.push_attribute((*name, legal(value).as_ref()));
    }
    start
}

fn borrowed<'a>(attributes: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    attributes.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// The text without what XML 1.0 can't say, not even as a character reference.
pub(super) fn legal(text: &str) -> Cow<'_, str> {
    let forbidden = |c: char| matches!(c, '\0'..='\u{8}' | '\u{B}' | '\u{C}' | '\u{E}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}');
    if text.contains(forbidden) {
        Cow::Owned(text.replace(forbidden, "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests;
