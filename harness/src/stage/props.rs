//! What both stages are furnished with: workflows, sound, recordings, ids.

use super::HouseConfig;
use crate::network::rest::{Account, ApiReply, ApiRequest};
use crate::network::url;
use crate::own::Own;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::BoxFuture;
use holdline_actors::door::FlowBook;
use holdline_actors::port::audio::{Audio, Loaded};
use holdline_actors::port::recording::{RecordingFile, Recordings};
use holdline_core::WorkflowId;
use holdline_core::call::{CallConfig, RestConfig};
use holdline_core::event::{Herald, Hook, Types};
use holdline_core::flow::Vocabulary;
use holdline_core::flow::flows::Flows;
use holdline_core::flow::script::Script;
use holdline_core::front::FrontConfig;
use holdline_core::http::{Body, Endpoint, Errand, HttpCall, HttpReply, NoReply, Outcome, ReplyBody};
use holdline_core::media::{playout::PlayoutConfig, tone};
use holdline_core::provider::twilio::signature::Keys;
use holdline_core::scene::{ErrorClass, Sound};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use uuid::Uuid;

/// Where the pretend network finds the house.
pub const ORIGIN: &str = "https://holdline.test";
/// The secret that both sides sign with.
pub const AUTH_TOKEN: &str = "a pretend auth token";
/// 2027-01-15 08:00:00 UTC: every play begins then.
pub const WALL_MS: u64 = 1_800_000_000_000;
pub const INSTANCE_KEY: [u8; 32] = *b"the pretend house's instance key";
/// As in the default configuration.
pub const RETURN_FRAGMENT: &str = "#rc=5&rp=all&ct=1000&tt=15000";
/// How long a sound lasts that nobody has: 50 ms for each character of its name or text, so that a story can foretell it.
const BYTES_PER_CHARACTER: usize = 400;
/// A file's header.
const HEADER_BYTES: u64 = 44;

/// Who is owed what is told: one receiver, if any.
pub fn herald(config: &HouseConfig) -> Herald {
    let types: Vec<Types> = config.events.iter().map(|types| Types::read(types)).collect();
    let hook = (!types.is_empty()).then(|| Hook::new("https://receiver.test/events", types));
    Herald::new(ORIGIN.to_owned(), hook.into_iter().collect())
}

/// The workflows of a play.
#[derive(Debug, Clone, Default)]
pub struct Shelf {
    pub scripts: BTreeMap<WorkflowId, Arc<Script>>,
    /// The words that they are written in, and the services that those need.
    pub own: Own,
}

impl FlowBook for Shelf {
    fn find(&self, id: &WorkflowId) -> Option<Arc<Script>> {
        self.scripts.get(id).cloned()
    }

    fn vocabulary(&self) -> &Vocabulary {
        self.own.vocabulary()
    }
}

impl Flows for Shelf {
    fn find(&self, id: &WorkflowId) -> Option<Arc<Script>> {
        self.scripts.get(id).cloned()
    }

    fn vocabulary(&self) -> &Vocabulary {
        self.own.vocabulary()
    }
}

/// Sounds by name, the same every time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sounds;

impl Sounds {
    /// Tones are what they are; anything else is a hum as long as its name. A name with `missing` in it does not exist.
    pub fn sound(self, what: &Sound) -> Loaded {
        let wrong = |why: String| (ErrorClass::Invalid, why);
        let audio = match what {
            Sound::Tones { digits, duration_ms, interval_ms } => {
                tone::digits(digits, *duration_ms, *interval_ms).map_err(|why| wrong(why.to_string()))?
            }
            Sound::Beep { hz, ms } => tone::beep(*hz, *ms).map_err(|why| wrong(why.to_string()))?,
            Sound::File(name) | Sound::Url(name) if name.contains("missing") => {
                return Err(wrong(format!("{name} does not exist")));
            }
            Sound::File(name) | Sound::Url(name) => hum(name),
            Sound::Speech { text, .. } => hum(text),
        };
        Ok(audio.into())
    }
}

impl Audio for Sounds {
    fn load(&self, _workflow: &WorkflowId, what: &Sound) -> BoxFuture<'static, Loaded> {
        Box::pin(std::future::ready(self.sound(what)))
    }
}

fn hum(name: &str) -> Vec<u8> {
    // A square wave of 400 Hz, loud enough to be heard as sound.
    let bytes = name.chars().count() * BYTES_PER_CHARACTER;
    (0..bytes).map(|place| if (place / 10) % 2 == 0 { 0x90 } else { 0x10 }).collect()
}

/// Recordings of which only the length is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tape;

/// Other systems, and the program's own services: each takes what it is told and answers well, unless what it is asked
/// speaks of `missing` (nobody is there) or `busy` (it refuses for now, and quotes the key by which it would know the same
/// wish again).
pub struct Elsewhere;

impl Elsewhere {
    pub fn answer(errand: &Errand, own: &Own) -> Outcome {
        let (asked, key) = match errand {
            Errand::Http(call) => (spoken(call), key_of(call)),
            Errand::Mail(mail) => (serde_json::to_string(mail).unwrap_or_default(), mail.id.clone()),
            Errand::Service(call) => return own.answer(call),
        };
        let unavailable = |message| Err(NoReply { class: ErrorClass::Unavailable, message });
        let reply =
            |status, body| Ok(HttpReply { status, headers: BTreeMap::new(), body: ReplyBody::Json(body) });
        let is_mail = matches!(errand, Errand::Mail(_));
        match errand {
            _ if asked.contains("missing") => unavailable("nobody is there".to_owned()),
            _ if asked.contains("busy") && is_mail => unavailable(format!("busy, key {key}")),
            _ if asked.contains("busy") => reply(503, json!({ "key": key })),
            Errand::Http(call) => reply(200, said(call)),
            Errand::Mail(_) | Errand::Service(_) => reply(250, json!({})),
        }
    }
}

/// All of a request; of an event its receiver alone, for every activeflow's news has a field called `missing`.
fn spoken(call: &HttpCall) -> String {
    match &call.endpoint {
        Endpoint::Webhook { host, .. } => host.clone(),
        _ => serde_json::to_string(call).unwrap_or_default(),
    }
}

/// What a system says when all is well.
fn said(call: &HttpCall) -> Value {
    match &call.endpoint {
        Endpoint::OpenAi(_) => chatted(&call.body),
        Endpoint::Salesforce(_) => json!({ "id": "00T000000000001", "success": true }),
        Endpoint::Twilio(_) => json!({ "sid": "SM00000000000000000000000000000001", "status": "queued" }),
        Endpoint::Url(url) if url.contains("actions") => {
            json!([{ "type": "talk", "option": { "text": "Fetched" } }])
        }
        Endpoint::Url(_) | Endpoint::Operator(_) | Endpoint::Webhook { .. } => json!({ "ok": true }),
    }
}

/// By what the other side tells a repetition from a second wish.
fn key_of(call: &HttpCall) -> String {
    let header = call.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("idempotency-key"));
    header.map(|(_, key)| key.clone()).or_else(|| call.signed_as.clone()).unwrap_or_default()
}

/// A model that says what it was told last, and hangs up on those who say goodbye.
fn chatted(body: &Body) -> Value {
    let last = match body {
        Body::Json(asked) => asked.pointer("/messages").and_then(Value::as_array).and_then(|all| all.last()),
        _ => None,
    };
    let told = last.and_then(|message| message.get("content")?.as_str()).unwrap_or("");
    let goodbye = if told.to_lowercase().contains("bye") { " Goodbye!" } else { "" };
    let message = json!({ "role": "assistant", "content": format!("I heard: {told}.{goodbye}") });
    json!({
        "model": "pretend",
        "choices": [{ "message": message, "finish_reason": "stop" }],
        "usage": { "total_tokens": told.len() },
    })
}

/// The account at the pretend network; its token is the one that signs.
pub fn account() -> Account {
    let sid = crate::network::sign::sid("AC", "the pretend account");
    Account { user: sid.clone(), password: AUTH_TOKEN.to_owned(), sid }
}

/// An errand about calls to the network's REST API, as it goes over the wire. Messages go elsewhere.
pub fn api_request(errand: &Errand) -> Option<ApiRequest> {
    let Errand::Http(call) = errand else { return None };
    let Endpoint::Twilio(path) = &call.endpoint else { return None };
    if !path.starts_with("/Calls") {
        return None;
    }
    let Account { sid, user, password } = account();
    let query = if call.query.is_empty() { String::new() } else { format!("?{}", url::encode(&call.query)) };
    let body = match &call.body {
        Body::Form(fields) => url::encode(fields),
        _ => String::new(),
    };
    Some(ApiRequest {
        method: call.method.as_str().to_owned(),
        target: format!("/2010-04-01/Accounts/{sid}{path}{query}"),
        authorization: Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))),
        body,
    })
}

/// What such an errand comes to.
pub fn api_outcome(reply: Option<ApiReply>) -> Outcome {
    match reply {
        Some(ApiReply { status, body }) => {
            Ok(HttpReply { status, headers: BTreeMap::new(), body: ReplyBody::Json(body) })
        }
        None => Err(NoReply { class: ErrorClass::Unavailable, message: "nobody is there".to_owned() }),
    }
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Reel(u64);

impl Recordings for Tape {
    fn open(&self, _file: &str, _channels: u8) -> Box<dyn RecordingFile> {
        Box::new(Reel::default())
    }
}

impl Reel {
    pub fn bytes(self) -> u64 {
        self.0 + HEADER_BYTES
    }
}

impl RecordingFile for Reel {
    fn append(&mut self, pcm: Vec<u8>) {
        self.0 += pcm.len() as u64;
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<u64, String>> {
        Box::pin(std::future::ready(Ok(self.bytes())))
    }
}

/// Ids that look like the real ones and are the same in every play.
#[derive(Debug, Default)]
pub struct Mint(AtomicU64);

impl Mint {
    pub fn next(&self, wall_ms: u64) -> Uuid {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        Uuid::from_u64_pair((wall_ms << 16) | 0x7000, 0x8000_0000_0000_0000 | count)
    }
}

pub fn call_config(config: &HouseConfig) -> CallConfig {
    CallConfig {
        max_duration: config.max_duration,
        idle_timeout: config.idle_timeout,
        return_grace: config.return_grace,
        local_speech: config.local_speech,
        media: PlayoutConfig::default(),
        instance_key: INSTANCE_KEY,
        rest: config.credentials.then(|| RestConfig {
            interval: config.rest_interval,
            origin: ORIGIN.to_owned(),
            return_fragment: RETURN_FRAGMENT.to_owned(),
        }),
    }
}

pub fn front_config(config: &HouseConfig) -> FrontConfig {
    let tokens = if config.signed { vec![AUTH_TOKEN.to_owned()] } else { Vec::new() };
    FrontConfig {
        origin: ORIGIN.to_owned(),
        keys: Keys { auth_tokens: tokens, ..Keys::default() },
        insecure_no_signatures: !config.signed,
        bare_streams: config.bare_streams,
        default_workflow: config.default_workflow.clone(),
        own_hosts: Vec::new(),
    }
}
