//! What a script does beside the pretend line: sockets and requests of its own.

use super::{Delivery, LATENCY, Player, STREAM_LATENCY};
use crate::network::{RequestId, SocketId};
use crate::stage::props::{AUTH_TOKEN, ORIGIN};
use crate::stage::{Knock, Stage};
use crate::transcript::SocketAct;
use serde_json::json;
use std::collections::BTreeMap;

/// Who waits for an answer, or holds a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asker {
    Line(RequestId),
    LineSocket(SocketId),
    Script(String),
    Callback,
}

/// Sids of what a script's own sockets say.
const RAW_STREAM: &str = "MZ00000000000000000000000000000000";

impl<S: Stage> Player<'_, S> {
    pub(super) fn socket_acts(&mut self, name: Option<String>, does: SocketAct) {
        let shown = name.as_ref().map_or("the socket".to_owned(), |name| format!("socket {name}"));
        let path = match &does {
            SocketAct::OpensDocument(number) => match self.streams.get(number) {
                Some(url) => Some(url.clone()),
                None => return self.tell(format!("warning: document {number} has no stream")),
            },
            SocketAct::OpensWrong => {
                Some(format!("wss://holdline.test/webhooks/{}/wss/{}/wrong", self.called, self.call))
            }
            SocketAct::OpensAt(path) => Some(format!("wss://holdline.test{path}")),
            _ => None,
        };
        if let Some(url) = path {
            let mut headers = Vec::new();
            if self.transcript.head.house.signed {
                let signature = crate::network::sign::signature(AUTH_TOKEN, &url, &[]);
                headers.push((crate::network::sign::HEADER.to_owned(), signature));
            }
            let knock = self.knock_of(Asker::Script(shown));
            let request = wire::upgrade(&url, headers);
            return self.put(self.now + LATENCY, Delivery::Knock(knock, request));
        }
        let Some(knock) = self.socket_named(name.as_deref()) else {
            return self.tell(format!("warning: {shown} is not open"));
        };
        self.raw_sequence += 1;
        let sequence = self.raw_sequence.to_string();
        let at = self.now + STREAM_LATENCY;
        match does {
            SocketAct::Starts(call) => {
                let call = call.unwrap_or_else(|| self.call.clone());
                self.put(at, Delivery::Text(knock, start(&call, &sequence, "audio/x-mulaw")));
            }
            SocketAct::StartsInFormat(encoding) => {
                let call = self.call.clone();
                self.put(at, Delivery::Text(knock, start(&call, &sequence, &encoding)));
            }
            SocketAct::Sends { text, times } => {
                for _ in 0..times {
                    self.put(at, Delivery::Text(knock, text.clone()));
                }
            }
            SocketAct::SendsBinary { times } => {
                for _ in 0..times {
                    self.put(at, Delivery::Binary(knock));
                }
            }
            SocketAct::TakesNothing(span) => {
                self.stage.socket_stalls(knock, true);
                self.put(self.now + span, Delivery::Takes(knock));
            }
            SocketAct::Stops => {
                let stop = json!({"event": "stop", "sequenceNumber": sequence, "streamSid": RAW_STREAM,
                    "stop": {"accountSid": "AC", "callSid": self.call}});
                self.put(at, Delivery::Text(knock, stop.to_string()));
            }
            SocketAct::Closes => {
                self.sockets.remove(&knock);
                self.put(at, Delivery::Close(knock, Some(1000)));
            }
            SocketAct::OpensDocument(_) | SocketAct::OpensWrong | SocketAct::OpensAt(_) => {}
        }
    }

    fn socket_named(&self, name: Option<&str>) -> Option<Knock> {
        let is_it = |asker: &Asker| match (name, asker) {
            (Some(name), Asker::Script(shown)) => shown.strip_prefix("socket ") == Some(name),
            (None, Asker::LineSocket(_)) => true,
            _ => false,
        };
        self.sockets.iter().rev().find(|(_, asker)| is_it(asker)).map(|(knock, _)| *knock)
    }
}

fn start(call: &str, sequence: &str, encoding: &str) -> String {
    json!({
        "event": "start",
        "sequenceNumber": sequence,
        "start": {
            "accountSid": "AC00000000000000000000000000000000",
            "streamSid": RAW_STREAM,
            "callSid": call,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": encoding, "sampleRate": 8000, "channels": 1},
            "customParameters": {},
        },
        "streamSid": RAW_STREAM,
    })
    .to_string()
}

/// Remembers the URL of a document's stream by the document's number, which its tail names.
pub(super) fn remember_streams(document: &str, streams: &mut BTreeMap<u32, String>) {
    let url = document.split_once("url=\"wss://").and_then(|(_, rest)| rest.split_once('"'));
    let number = document
        .split_once("next?x=")
        .map(|(_, rest)| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
    if let (Some((url, _)), Some(Ok(number))) = (url, number.map(|number| number.parse())) {
        streams.insert(number, format!("wss://{url}"));
    }
}

pub(super) mod wire {
    //! Requests as they go over the wire.

    use super::ORIGIN;
    use crate::network::{Method, Request, sign, url};
    use crate::stage::WireRequest;

    pub(crate) fn of(request: Request) -> WireRequest {
        WireRequest {
            method: if request.method == Method::Get { "GET" } else { "POST" },
            target: path(&request.url),
            headers: request.headers,
            body: request.body.unwrap_or_default().into_bytes(),
        }
    }

    pub(crate) fn upgrade(url: &str, mut headers: Vec<(String, String)>) -> WireRequest {
        headers.push(("Upgrade".to_owned(), "websocket".to_owned()));
        WireRequest { method: "GET", target: path(url), headers, body: Vec::new() }
    }

    pub(crate) fn post(path: &str, fields: &[(String, String)], secret: Option<&str>) -> WireRequest {
        let mut headers =
            vec![("Content-Type".to_owned(), "application/x-www-form-urlencoded; charset=utf-8".to_owned())];
        if let Some(secret) = secret {
            let signature = sign::signature(secret, &format!("{ORIGIN}{path}"), fields);
            headers.push((sign::HEADER.to_owned(), signature));
        }
        let body = url::encode(fields).into_bytes();
        WireRequest { method: "POST", target: path.to_owned(), headers, body }
    }

    /// Path and query of a URL.
    fn path(url: &str) -> String {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/").to_owned()
    }
}
