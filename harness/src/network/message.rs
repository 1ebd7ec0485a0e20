//! The messages of a media stream, as the network writes and reads them.
//!
//! Numbers that the network sends as strings are strings here. What it reads back is exactly three messages, with
//! this stream's id and no other key: anything else is a violation, said once and ignored, and the call goes on.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The identity of one stream and the count of what it has sent.
#[derive(Debug, Clone)]
pub struct Writer {
    account_sid: String,
    call_sid: String,
    stream_sid: String,
    sequence: u64,
    chunk: u64,
}

/// What a server may say on a bidirectional stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromServer {
    Media(Vec<u8>),
    Mark(String),
    Clear,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    #[error("expected JSON, got {0}")]
    NotJson(String),
    #[error("expected an object with `event` media, mark or clear, got {0}")]
    UnknownEvent(String),
    #[error("expected streamSid {expected}, got {got}")]
    WrongStream { expected: String, got: String },
    #[error("expected no key beside {expected}, got `{got}`")]
    UnexpectedKey { expected: &'static str, got: String },
    #[error("expected `{0}`, got none or another type")]
    Missing(&'static str),
    #[error("expected base64 in media.payload, got {0}")]
    NotBase64(String),
}

impl Writer {
    pub fn new(account_sid: &str, call_sid: &str, stream_sid: &str) -> Writer {
        Writer {
            account_sid: account_sid.to_owned(),
            call_sid: call_sid.to_owned(),
            stream_sid: stream_sid.to_owned(),
            sequence: 0,
            chunk: 0,
        }
    }

    pub fn stream_sid(&self) -> &str {
        &self.stream_sid
    }

    /// Takes no sequence number: `start` is the first that has one.
    pub fn connected(&self) -> String {
        json!({"event": "connected", "protocol": "Call", "version": "1.0.0"}).to_string()
    }

    pub fn start(&mut self, tracks: &[&str], parameters: &[(String, String)]) -> String {
        let parameters: Map<String, Value> =
            parameters.iter().map(|(name, value)| (name.clone(), Value::String(value.clone()))).collect();
        let sequence = self.next_sequence();
        json!({
            "event": "start",
            "sequenceNumber": sequence,
            "start": {
                "accountSid": self.account_sid,
                "streamSid": self.stream_sid,
                "callSid": self.call_sid,
                "tracks": tracks,
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
                "customParameters": parameters,
            },
            "streamSid": self.stream_sid,
        })
        .to_string()
    }

    /// `timestamp_ms` counts from the start of the stream.
    pub fn media(&mut self, timestamp_ms: u64, audio: &[u8]) -> String {
        self.chunk += 1;
        let sequence = self.next_sequence();
        // Written by hand: this is 50 messages a second a call, and nothing in it needs escaping.
        format!(
            r#"{{"event":"media","sequenceNumber":"{sequence}","media":{{"track":"inbound","chunk":"{}","timestamp":"{timestamp_ms}","payload":"{}"}},"streamSid":"{}"}}"#,
            self.chunk,
            STANDARD.encode(audio),
            self.stream_sid
        )
    }

    pub fn dtmf(&mut self, digit: char) -> String {
        let sequence = self.next_sequence();
        json!({
            "event": "dtmf",
            "streamSid": self.stream_sid,
            "sequenceNumber": sequence,
            "dtmf": {"track": "inbound_track", "digit": digit.to_string()},
        })
        .to_string()
    }

    pub fn mark(&mut self, name: &str) -> String {
        let sequence = self.next_sequence();
        json!({"event": "mark", "sequenceNumber": sequence, "streamSid": self.stream_sid, "mark": {"name": name}})
            .to_string()
    }

    pub fn stop(&mut self) -> String {
        let sequence = self.next_sequence();
        json!({
            "event": "stop",
            "sequenceNumber": sequence,
            "stop": {"accountSid": self.account_sid, "callSid": self.call_sid},
            "streamSid": self.stream_sid,
        })
        .to_string()
    }

    fn next_sequence(&mut self) -> String {
        self.sequence += 1;
        self.sequence.to_string()
    }
}

pub fn read(text: &str, stream_sid: &str) -> Result<FromServer, Violation> {
    let value: Value = serde_json::from_str(text).map_err(|why| Violation::NotJson(why.to_string()))?;
    let Value::Object(message) = value else { return Err(Violation::UnknownEvent(shown(text))) };
    let event = message.get("event").and_then(Value::as_str).unwrap_or_default();
    let (name, inner) = match event {
        "media" => ("media", Some("payload")),
        "mark" => ("mark", Some("name")),
        "clear" => ("clear", None),
        other => return Err(Violation::UnknownEvent(shown(other))),
    };
    match message.get("streamSid").and_then(Value::as_str) {
        Some(got) if got == stream_sid => {}
        Some(got) => {
            return Err(Violation::WrongStream { expected: stream_sid.to_owned(), got: shown(got) });
        }
        None => return Err(Violation::Missing("streamSid")),
    }
    let foreign = message.keys().find(|key| {
        !matches!(key.as_str(), "event" | "streamSid") && (inner.is_none() || key.as_str() != name)
    });
    if let Some(key) = foreign {
        return Err(Violation::UnexpectedKey {
            expected: "event, streamSid and the event's own",
            got: shown(key),
        });
    }
    match event {
        "media" => {
            let payload = field(&message, "media", "payload", "media.payload")?;
            let audio = STANDARD.decode(payload).map_err(|_| Violation::NotBase64(shown(payload)))?;
            Ok(FromServer::Media(audio))
        }
        "mark" => Ok(FromServer::Mark(field(&message, "mark", "name", "mark.name")?.to_owned())),
        _ => Ok(FromServer::Clear),
    }
}

fn field<'m>(
    message: &'m Map<String, Value>,
    outer: &str,
    inner: &'static str,
    path: &'static str,
) -> Result<&'m str, Violation> {
    let object = message.get(outer).and_then(Value::as_object).ok_or(Violation::Missing(path))?;
    if let Some(key) = object.keys().find(|key| key.as_str() != inner) {
        return Err(Violation::UnexpectedKey { expected: path, got: shown(key) });
    }
    object.get(inner).and_then(Value::as_str).ok_or(Violation::Missing(path))
}

/// Enough of a foreign text to find it again.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
