//! Requests of the network: signed, tried again as their fragment wishes, handed to the fallback when that fails.

use std::time::Duration;

use holdline_core::Now;
use holdline_core::Tick;

use super::effect::{Effect, Experience, Reply, Request, RequestId};
use super::line::Line;
use super::sign::{self, Field};
use super::twiml::{self, Callback, Document, Method, Play, Say, Verb};
use super::url::{self, Retry, Target};

/// One question to the server, through all its tries.
#[derive(Debug)]
pub(super) struct Asking {
    purpose: Purpose,
    target: Target,
    method: Method,
    fields: Vec<Field>,
    /// The same for all tries, so that the server can tell a repetition from a second question.
    token: String,
    tries: u32,
    redirects: u32,
    first_at: Tick,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The document to perform next.
    Document {
        is_fallback: bool,
    },
    /// What is performed while waiting in a queue.
    Wait,
    /// An action's request after the caller has hung up: nothing that is answered is performed.
    Farewell,
    Callback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Sent { until: Tick },
    Waiting { until: Tick },
}

/// Why there is no usable answer.
#[derive(Debug, Clone)]
enum Failure {
    Refused,
    TimedOut,
    Status(u16),
    Redirects,
    Type(String),
    Document(u32, String),
    Url(String),
}

/// As a browser would, the network follows so many redirections of HTTP.
const HTTP_REDIRECTS_MAX: u32 = 10;
const FORM_TYPE: &str = "application/x-www-form-urlencoded; charset=utf-8";

impl Failure {
    fn code(&self) -> u32 {
        match self {
            Failure::Refused | Failure::TimedOut => 11205,
            Failure::Status(_) | Failure::Url(_) => 11200,
            Failure::Redirects => 11215,
            Failure::Type(_) => 12300,
            Failure::Document(code, _) => *code,
        }
    }

    fn text(&self) -> String {
        match self {
            Failure::Refused => "expected a connection, got none".into(),
            Failure::TimedOut => "expected an answer in time, got none".into(),
            Failure::Status(status) => format!("expected a 2xx answer, got {status}"),
            Failure::Redirects => format!("expected at most {HTTP_REDIRECTS_MAX} redirections"),
            Failure::Type(got) => format!("expected XML, sound or plain text, got content type `{got}`"),
            Failure::Document(_, why) | Failure::Url(why) => why.clone(),
        }
    }

    fn is_retried(&self, retry: &Retry) -> bool {
        match self {
            Failure::Refused => retry.connect,
            Failure::TimedOut => retry.read_timeout,
            Failure::Status(400..=499) => retry.client_error,
            Failure::Status(500..) => retry.server_error,
            _ => false,
        }
    }
}

impl Line {
    /// Asks for a document; `reference` is relative to the one that is being performed.
    pub(super) fn ask_for(
        &mut self,
        now: Now,
        purpose: Purpose,
        to: &Callback,
        more: Vec<Field>,
        out: &mut Vec<Effect>,
    ) {
        let base = self.base(purpose);
        let mut fields = self.standard_fields();
        fields.extend(more);
        match Target::resolve(&base, &to.url) {
            Ok(target) => self.ask(now, purpose, target, to.method, fields, out),
            Err(why) => {
                self.give_up(now, purpose, &to.url, to.method, fields, &Failure::Url(why.to_string()), out)
            }
        }
    }

    /// A callback: its answer changes nothing.
    pub(super) fn post(&mut self, now: Now, to: &Callback, fields: Vec<Field>, out: &mut Vec<Effect>) {
        match Target::resolve(&self.base(Purpose::Callback), &to.url) {
            Ok(target) => {
                for _ in 0..=self.config.faults.repeats {
                    self.ask(now, Purpose::Callback, target.clone(), to.method, fields.clone(), out);
                }
            }
            Err(why) => warn(out, 11200, format!("callback {}: {why}", to.url)),
        }
    }

    pub(super) fn ask(
        &mut self,
        now: Now,
        purpose: Purpose,
        target: Target,
        method: Method,
        fields: Vec<Field>,
        out: &mut Vec<Effect>,
    ) {
        self.tokens += 1;
        let token = sign::sid("", &format!("{}|token|{}", self.config.call_sid, self.tokens));
        let asking = Asking {
            purpose,
            target,
            method,
            fields,
            token,
            tries: 0,
            redirects: 0,
            first_at: now.tick,
            phase: Phase::Waiting { until: now.tick },
        };
        self.send(now, asking, out);
    }

    fn send(&mut self, now: Now, mut asking: Asking, out: &mut Vec<Effect>) {
        self.requests += 1;
        let id = self.requests;
        let retry = asking.target.retry;
        let end = asking.first_at + retry.total_for;
        asking.phase = Phase::Sent { until: (now.tick + retry.connect_for + retry.read_for).min(end) };
        let (url, signed, body) = match asking.method {
            Method::Post => {
                (asking.target.url.clone(), asking.fields.as_slice(), Some(url::encode(&asking.fields)))
            }
            Method::Get => (asking.target.with_query(&asking.fields), &[][..], None),
        };
        let mut headers = vec![
            ("User-Agent".to_owned(), "TwilioProxy/1.1".to_owned()),
            ("Accept".to_owned(), "*/*".to_owned()),
            ("I-Twilio-Idempotency-Token".to_owned(), asking.token.clone()),
        ];
        if body.is_some() {
            headers.push(("Content-Type".to_owned(), FORM_TYPE.to_owned()));
        }
        if let Some(auth_token) = &self.config.auth_token {
            headers.push((sign::HEADER.to_owned(), sign::signature(auth_token, &url, signed)));
        }
        // A lost request is one that leaves and never arrives: its deadline finds out.
        if self.requests_to_lose > 0 {
            self.requests_to_lose -= 1;
        } else {
            out.push(Effect::Request(Request {
                id,
                method: asking.method,
                url,
                headers,
                fields: asking.fields.clone(),
                body,
                connect_for: retry.connect_for,
                total_for: retry.total_for,
            }));
        }
        self.asking.insert(id, asking);
    }

    pub(super) fn answered(&mut self, now: Now, request: RequestId, reply: Reply, out: &mut Vec<Effect>) {
        let Some(asking) = self.asking.remove(&request) else { return };
        match (reply.status, &reply.location) {
            (301 | 302 | 303 | 307 | 308, Some(location)) => {
                let location = location.clone();
                self.redirected(now, asking, reply.status, &location, out);
            }
            (200..=299, _) => match asking.purpose {
                Purpose::Farewell | Purpose::Callback => {}
                Purpose::Document { .. } | Purpose::Wait => match understood(&reply) {
                    Ok(document) => self.fetched(now, &asking, document, out),
                    Err(failure) => self.failed(now, asking, &failure, out),
                },
            },
            (status, _) => self.failed(now, asking, &Failure::Status(status), out),
        }
    }

    pub(super) fn refused(&mut self, now: Now, request: RequestId, out: &mut Vec<Effect>) {
        if let Some(asking) = self.asking.remove(&request) {
            self.failed(now, asking, &Failure::Refused, out);
        }
    }

    pub(super) fn timed_out(&mut self, now: Now, request: RequestId, out: &mut Vec<Effect>) {
        if let Some(asking) = self.asking.remove(&request) {
            self.failed(now, asking, &Failure::TimedOut, out);
        }
    }

    fn redirected(
        &mut self,
        now: Now,
        mut asking: Asking,
        status: u16,
        location: &str,
        out: &mut Vec<Effect>,
    ) {
        asking.redirects += 1;
        if asking.redirects > HTTP_REDIRECTS_MAX {
            return self.failed(now, asking, &Failure::Redirects, out);
        }
        match Target::resolve(&asking.target.url, location) {
            Ok(target) => {
                asking.target.url = target.url;
                // As browsers do, and as its documentation warns: a POST becomes a GET without its form.
                if status <= 303 && asking.method == Method::Post {
                    asking.method = Method::Get;
                    asking.fields.clear();
                }
                self.send(now, asking, out);
            }
            Err(why) => self.failed(now, asking, &Failure::Url(why.to_string()), out),
        }
    }

    fn failed(&mut self, now: Now, mut asking: Asking, failure: &Failure, out: &mut Vec<Effect>) {
        let retry = asking.target.retry;
        let next = now.tick + self.config.retry_gap;
        let in_time = next < asking.first_at + retry.total_for;
        if failure.is_retried(&retry)
            && asking.tries < retry.count
            && in_time
            && asking.purpose != Purpose::Farewell
        {
            asking.tries += 1;
            asking.phase = Phase::Waiting { until: next };
            self.requests += 1;
            self.asking.insert(self.requests, asking);
            return;
        }
        let Asking { purpose, target, method, fields, .. } = asking;
        self.give_up(now, purpose, &target.url, method, fields, failure, out);
    }

    #[allow(clippy::too_many_arguments, reason = "one failed question, in all its parts")]
    fn give_up(
        &mut self,
        now: Now,
        purpose: Purpose,
        url: &str,
        method: Method,
        mut fields: Vec<Field>,
        failure: &Failure,
        out: &mut Vec<Effect>,
    ) {
        warn(out, failure.code(), format!("{url}: {}", failure.text()));
        match purpose {
            Purpose::Farewell | Purpose::Callback => {}
            Purpose::Wait => self.wait_failed(now, out),
            Purpose::Document { is_fallback } => {
                let fallback = self.config.fallback_url.as_ref().filter(|_| !is_fallback);
                match fallback.and_then(|fallback| Target::resolve(&self.config.voice_url, fallback).ok()) {
                    Some(target) => {
                        fields.push(("ErrorCode".into(), failure.code().to_string()));
                        fields.push(("ErrorUrl".into(), url.to_owned()));
                        self.ask(now, Purpose::Document { is_fallback: true }, target, method, fields, out);
                    }
                    None => self.application_error(now, out),
                }
            }
        }
    }

    fn fetched(&mut self, now: Now, asking: &Asking, document: Document, out: &mut Vec<Effect>) {
        out.push(Effect::Experience(Experience::Fetched {
            url: asking.target.url.clone(),
            document: document.to_string(),
        }));
        for warning in &document.warnings {
            warn(out, warning.code, warning.text.clone());
        }
        let url = asking.target.url.clone();
        match asking.purpose {
            Purpose::Wait => self.wait_with(now, url, document.verbs, out),
            _ => self.perform(now, url, document.verbs, out),
        }
    }

    pub(super) fn asking_due(&self) -> Option<Tick> {
        self.asking.values().map(Asking::due).min()
    }

    /// Deadlines that have passed and tries whose turn has come.
    pub(super) fn wake_asking(&mut self, now: Now, out: &mut Vec<Effect>) {
        let due: Vec<RequestId> =
            self.asking.iter().filter(|(_, asking)| asking.due() <= now.tick).map(|(id, _)| *id).collect();
        for id in due {
            let Some(asking) = self.asking.remove(&id) else { continue };
            match asking.phase {
                Phase::Sent { .. } => self.failed(now, asking, &Failure::TimedOut, out),
                Phase::Waiting { .. } => self.send(now, asking, out),
            }
        }
    }

    /// Nobody will perform what is still being asked; what is on its way stays on its way.
    pub(super) fn forget_documents(&mut self) {
        let performed = |purpose| matches!(purpose, Purpose::Document { .. } | Purpose::Wait);
        self.asking
            .retain(|_, asking| !performed(asking.purpose) || matches!(asking.phase, Phase::Sent { .. }));
        for asking in self.asking.values_mut().filter(|asking| performed(asking.purpose)) {
            asking.purpose = Purpose::Farewell;
        }
    }

    /// A wait document that is under way when the wait is over is asked in vain.
    pub(super) fn forget_wait(&mut self) {
        for asking in self.asking.values_mut().filter(|asking| asking.purpose == Purpose::Wait) {
            asking.purpose = Purpose::Farewell;
        }
    }
}

impl Asking {
    fn due(&self) -> Tick {
        match self.phase {
            Phase::Sent { until } | Phase::Waiting { until } => until,
        }
    }
}

pub(super) fn warn(out: &mut Vec<Effect>, code: u32, text: String) {
    out.push(Effect::Experience(Experience::Warning { code, text }));
}

/// What an answer means, by its content type.
fn understood(reply: &Reply) -> Result<Document, Failure> {
    let kind = reply.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let one = |verb: Verb| Document { verbs: vec![verb], warnings: Vec::new() };
    let read = || twiml::read(&reply.body).map_err(|why| Failure::Document(why.code(), why.to_string()));
    match kind.as_str() {
        "text/xml" | "application/xml" | "text/html" => read(),
        "text/plain" => Ok(read().unwrap_or_else(|_| {
            one(Verb::Say(Say {
                text: reply.body.clone(),
                voice: None,
                language: None,
                turns: 1,
                breaks: Duration::ZERO,
            }))
        })),
        sound if sound.starts_with("audio/") => {
            Ok(one(Verb::Play(Play { url: Some("the answer itself".into()), digits: None, turns: 1 })))
        }
        // No content and no type: an empty document.
        "" if reply.body.trim().is_empty() => Ok(Document { verbs: Vec::new(), warnings: Vec::new() }),
        other => Err(Failure::Type(other.to_owned())),
    }
}
