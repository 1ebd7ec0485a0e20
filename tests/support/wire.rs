//! One call by hand: requests and a stream, message by message. What the pretend network would never send can be sent.
#![allow(clippy::disallowed_methods)] // it measures real time

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt, StreamExt};
use holdline_harness::network::sign;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, Error};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use url::form_urlencoded::Serializer;

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Nothing that a test waits for takes longer, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// A frame is small and must not wait for the next one.
const NO_DELAY: bool = true;

/// Whoever asks a server, with or without a key to sign with.
#[derive(Clone)]
pub struct Asker {
    pub origin: String,
    pub auth_token: Option<String>,
    client: reqwest::Client,
}

pub struct Told {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Asker {
    pub fn new(origin: &str, auth_token: Option<&str>) -> Asker {
        // A client wants its crypto library named even if it never speaks TLS; refused when one is there already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
        Asker { origin: origin.to_owned(), auth_token: auth_token.map(str::to_owned), client }
    }

    pub async fn get(&self, path: &str) -> Told {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Told {
        self.send(reqwest::Method::GET, path, headers, None).await
    }

    /// A form, signed if there is a key.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Told {
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        let owned: Vec<(String, String)> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let signature = self
            .auth_token
            .as_ref()
            .map(|key| sign::signature(key, &format!("{}{path}", self.origin), &owned));
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded")];
        headers.extend(signature.as_deref().map(|signature| (sign::HEADER, signature)));
        self.send(reqwest::Method::POST, path, &headers, Some(body)).await
    }

    pub async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Told {
        let url = format!("{}{path}", self.origin);
        let mut request = self.client.request(method.clone(), url).timeout(PATIENCE);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body.unwrap_or_default()).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let told = Told { status, headers, body: answer.text().await.unwrap() };
        super::fits::check(method.as_str(), path, status, told.header("content-type"), &told.body);
        told
    }

    /// The status of an answer, or nothing while nobody listens.
    pub async fn status_of(&self, path: &str) -> Option<u16> {
        let request = self.client.get(format!("{}{path}", self.origin)).timeout(PATIENCE);
        request.send().await.ok().map(|answer| answer.status().as_u16())
    }

    /// The voice webhook of a new call.
    pub async fn arrive(&self, workflow: &str, call_sid: &str) -> Told {
        let fields = [
            ("CallSid", call_sid),
            ("AccountSid", "AC00000000000000000000000000000001"),
            ("From", "+14155550100"),
            ("To", "+14155550199"),
            ("CallStatus", "ringing"),
            ("Direction", "inbound"),
        ];
        self.post(&format!("/webhooks/{workflow}"), &fields).await
    }

    /// Opens a stream; the status of the refusal if there is one.
    pub async fn open(&self, url: &str) -> Result<Socket, u16> {
        let mut request = url.into_client_request().unwrap();
        if let Some(key) = &self.auth_token {
            let signature = sign::signature(key, url, &[]);
            request.headers_mut().insert(sign::HEADER, signature.parse().unwrap());
        }
        match tokio::time::timeout(PATIENCE, connect_async_with_config(request, None, NO_DELAY))
            .await
            .unwrap()
        {
            Ok((socket, _)) => Ok(socket),
            Err(Error::Http(refused)) => Err(refused.status().as_u16()),
            Err(error) => panic!("{url}: {error}"),
        }
    }
}

impl Told {
    /// The stream that the document opens.
    pub fn stream_url(&self) -> String {
        assert_eq!(self.status, 200, "{}", self.body);
        let (_, rest) = self.body.split_once("<Stream url=\"").unwrap_or_else(|| panic!("{}", self.body));
        rest.split_once('"').unwrap().0.to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// A message from the server.
#[derive(Debug, PartialEq)]
pub enum Message {
    Media(Vec<u8>),
    Mark(String),
    Clear,
    Closed(Option<u16>),
}

/// A call whose stream is up.
pub struct Caller {
    pub asker: Asker,
    pub call_sid: String,
    pub stream_sid: String,
    pub socket: Socket,
}

impl Caller {
    /// Asks for the document, opens its stream, says `start`.
    pub async fn begin(origin: &str, workflow: &str, seed: &str) -> Caller {
        let mut caller = Caller::open(Asker::new(origin, None), workflow, seed).await;
        caller.start().await;
        caller
    }

    /// Everything but the `start`.
    pub async fn open(asker: Asker, workflow: &str, seed: &str) -> Caller {
        let (call_sid, stream_sid) = (sign::sid("CA", seed), sign::sid("MZ", seed));
        let url = asker.arrive(workflow, &call_sid).await.stream_url();
        let socket = asker.open(&url).await.unwrap_or_else(|status| panic!("{url}: {status}"));
        let mut caller = Caller { asker, call_sid, stream_sid, socket };
        caller.say(json!({ "event": "connected", "protocol": "Call", "version": "1.0.0" })).await;
        caller
    }

    pub async fn start(&mut self) {
        let call_sid = self.call_sid.clone();
        self.start_as(&call_sid).await;
    }

    pub async fn start_as(&mut self, call_sid: &str) {
        let start = json!({
            "event": "start",
            "sequenceNumber": "1",
            "streamSid": self.stream_sid,
            "start": {
                "streamSid": self.stream_sid,
                "accountSid": "AC00000000000000000000000000000001",
                "callSid": call_sid,
                "tracks": ["inbound"],
                "customParameters": {},
                "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 },
            },
        });
        self.say(start).await;
    }

    pub async fn speak(&mut self, audio: &[u8]) {
        let media =
            json!({ "track": "inbound", "chunk": "1", "timestamp": "20", "payload": STANDARD.encode(audio) });
        self.say(json!({ "event": "media", "streamSid": self.stream_sid, "media": media })).await;
    }

    /// Says one frame, and waits until it is heard: a stream is listened to from its first frame.
    pub async fn echo(&mut self) -> Vec<u8> {
        self.speak(&super::crowd::counted(1, 1)).await;
        match self.next().await {
            Some(Message::Media(audio)) => audio,
            other => panic!("expected sound, got {other:?}"),
        }
    }

    pub async fn press(&mut self, digit: char) {
        let dtmf = json!({ "track": "inbound_track", "digit": digit.to_string() });
        self.say(json!({ "event": "dtmf", "streamSid": self.stream_sid, "dtmf": dtmf })).await;
    }

    pub async fn marked(&mut self, name: &str) {
        self.say(json!({ "event": "mark", "streamSid": self.stream_sid, "mark": { "name": name } })).await;
    }

    /// The stream stops and the call is over.
    pub async fn hang_up(mut self) {
        self.say(
            json!({ "event": "stop", "streamSid": self.stream_sid, "stop": { "callSid": self.call_sid } }),
        )
        .await;
        let fields = [("CallSid", self.call_sid.as_str()), ("CallStatus", "completed")];
        let told = self.asker.post("/webhooks/twilio/status", &fields).await;
        assert!(matches!(told.status, 200 | 204), "{}", told.status);
        while !matches!(self.next().await, None | Some(Message::Closed(_))) {}
    }

    async fn say(&mut self, message: Value) {
        // A server that has gone shows itself in what is read next.
        let _ = self.socket.send(tungstenite::Message::text(message.to_string())).await;
    }

    pub async fn send(&mut self, message: tungstenite::Message) {
        self.socket.send(message).await.unwrap();
    }

    /// The next message; `None` when the connection is gone.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            let came =
                tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("the server says something");
            return Some(match came? {
                Ok(tungstenite::Message::Text(text)) => self.read(&text),
                Ok(tungstenite::Message::Close(frame)) => {
                    Message::Closed(frame.map(|frame| frame.code.into()))
                }
                Ok(_) => continue,
                Err(_) => return None,
            });
        }
    }

    /// Skips to the next audio, and says when it came.
    pub async fn next_audio(&mut self) -> Option<(Vec<u8>, Instant)> {
        loop {
            match self.next().await? {
                Message::Media(audio) => return Some((audio, Instant::now())),
                Message::Closed(_) => return None,
                _ => {}
            }
        }
    }

    /// How the server closes the stream.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Message::Closed(code) = self.next().await? {
                return code;
            }
        }
    }

    fn read(&self, text: &str) -> Message {
        let message: Value = serde_json::from_str(text).unwrap();
        assert_eq!(message["streamSid"], self.stream_sid.as_str(), "{text}");
        match message["event"].as_str().unwrap() {
            "media" => {
                Message::Media(STANDARD.decode(message["media"]["payload"].as_str().unwrap()).unwrap())
            }
            "mark" => Message::Mark(message["mark"]["name"].as_str().unwrap().to_owned()),
            "clear" => Message::Clear,
            other => panic!("{other}: {text}"),
        }
    }
}
