//! What went over the wires: no answer before its fact, the same document however often it is asked for, and no frame
//! that should not be there.

use super::books::Books;
use super::{Verdict, holds};
use crate::stage::{Knock, WireRequest};
use holdline_core::CallId;
use holdline_core::notice::NetworkStatus;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Wires {
    requests: BTreeMap<Knock, WireRequest>,
    wishes: BTreeSet<Knock>,
    /// Documents by call and number, as they were first given.
    documents: BTreeMap<(CallId, u32), String>,
    /// What was given to whoever came back from a document.
    returns: BTreeMap<(CallId, u32), u32>,
    /// Wait documents by their address.
    waits: BTreeMap<String, String>,
    /// Acknowledged notices, by call.
    notices: BTreeMap<CallId, usize>,
    upgraded: BTreeSet<String>,
    sockets: BTreeMap<Knock, Socket>,
    /// Batches written so far.
    batches: u64,
}

#[derive(Default)]
struct Socket {
    /// Payloads heard, by how often, that were not sent back yet.
    heard: BTreeMap<String, u32>,
    /// When it was cleared, counted in batches.
    cleared: Option<u64>,
    closed: bool,
}

impl Wires {
    pub fn asked(&mut self, knock: Knock, request: &WireRequest) {
        self.requests.insert(knock, request.clone());
    }

    pub fn wished(&mut self, knock: Knock) {
        self.wishes.insert(knock);
    }

    pub fn written(&mut self) {
        self.batches += 1;
    }

    /// Its sockets are gone; who asked gets no answer.
    pub fn crashed(&mut self) {
        self.sockets.clear();
        self.requests.clear();
    }

    pub fn answered(&mut self, books: &Books, knock: Knock, status: u16, body: &str) -> Verdict {
        if self.wishes.remove(&knock) {
            return Ok(());
        }
        let Some(request) = self.requests.remove(&knock) else {
            return holds(false, "an answer is to a question", || format!("{status} {body}"));
        };
        if !(200..300).contains(&status) {
            return Ok(());
        }
        let field = |name: &str| request.field(name);
        let Some(call) = field("CallSid").map(CallId) else { return Ok(()) };
        let path = request.path();
        if path == "/webhooks/twilio/status" {
            return self.acknowledged_status(books, &call, &request);
        }
        if path.starts_with("/webhooks/twilio/") {
            return self.acknowledged_notice(books, &call, path);
        }
        self.gave(books, &call, &request, body)
    }

    fn acknowledged_status(&mut self, books: &Books, call: &CallId, request: &WireRequest) -> Verdict {
        let status = request.field("CallStatus").and_then(|status| NetworkStatus::parse(&status));
        if let Some(parent) = request.field("ParentCallSid").map(CallId) {
            let Some(book) = books.calls.get(&parent).filter(|book| !book.is_over()) else { return Ok(()) };
            let written = book.legs.iter().any(|leg| leg.call == *call && leg.status == status);
            return holds(written, "what is acknowledged is written", || {
                format!("a leg of {parent}: {status:?}")
            });
        }
        let Some(book) = books.calls.get(call).filter(|book| !book.is_over()) else { return Ok(()) };
        let Some(status) = status else { return Ok(()) };
        let known = book.status;
        let written = known.is_some_and(|known| known >= status || known.is_terminal());
        holds(written, "what is acknowledged is written", || format!("{call}: {status:?}, on disk {known:?}"))
    }

    fn acknowledged_notice(&mut self, books: &Books, call: &CallId, path: &str) -> Verdict {
        let Some(book) = books.calls.get(call).filter(|book| !book.is_over()) else { return Ok(()) };
        let count = self.notices.entry(call.clone()).or_default();
        *count += 1;
        holds(book.notices >= *count, "what is acknowledged is written", || {
            format!("{path}: {count} were acknowledged, {} are on disk", book.notices)
        })
    }

    fn gave(&mut self, books: &Books, call: &CallId, request: &WireRequest, body: &str) -> Verdict {
        let book = books.calls.get(call);
        if request.path().ends_with("/wait") {
            if book.is_some_and(|book| book.may_hang_up) && !body.contains("/wait?x=") {
                return Ok(()); // hung up on meanwhile
            }
            let first = self.waits.entry(request.target.clone()).or_insert_with(|| body.to_owned());
            return holds(first == body, "the same question gets the same document", || {
                format!("{}: {first}, then {body}", request.target)
            });
        }
        let Some(book) = book else {
            let bare = !body.contains("/next?x=");
            return holds(bare, "nobody is answered before it is written", || format!("{call}: {body}"));
        };
        match number(body) {
            Some(number) => {
                holds(book.given >= number, "nobody is answered before it is written", || {
                    format!("{call}: document {number}, on disk are {}", book.given)
                })?;
                if let Some(asked) = request.returns_from() {
                    let gets = *self.returns.entry((call.clone(), asked)).or_insert(number);
                    holds(gets == number, "the same question gets the same document", || {
                        format!("{}: document {gets}, then {number}", request.target)
                    })?;
                }
                let first = self.documents.entry((call.clone(), number)).or_insert_with(|| body.to_owned());
                holds(first == body, "the same question gets the same document", || {
                    format!("document {number}: {first}, then {body}")
                })
            }
            None => {
                holds(book.may_hang_up || book.rejected, "nobody is hung up on before it is written", || {
                    format!("{call}: {body}")
                })
            }
        }
    }

    pub fn upgraded(&mut self, books: &Books, knock: Knock) -> Verdict {
        let Some(request) = self.requests.remove(&knock) else { return Ok(()) };
        self.sockets.insert(knock, Socket::default());
        let parts: Vec<&str> = request.path().split('/').collect();
        let ["", "webhooks", _, "wss", call, _token] = parts.as_slice() else { return Ok(()) };
        holds(self.upgraded.insert(request.target.clone()), "a token opens one stream, once", || {
            request.target.clone()
        })?;
        let used = books.calls.get(&CallId((*call).to_owned())).map_or(0, |book| book.tokens_used);
        let opened = self.upgraded.iter().filter(|target| target.contains(call)).count();
        holds(used >= opened, "a token's use is written before the stream opens", || {
            format!("{opened} streams were opened, {used} tokens are used on disk")
        })
    }

    /// From the network.
    pub fn heard(&mut self, socket: Knock, text: &str) {
        if let (Some(socket), Some(payload)) = (self.sockets.get_mut(&socket), payload(text)) {
            *socket.heard.entry(payload).or_default() += 1;
        }
    }

    /// To the network.
    pub fn said(&mut self, socket: Knock, text: &str) -> Verdict {
        let batches = self.batches;
        let Some(socket) = self.sockets.get_mut(&socket) else {
            return holds(false, "nothing is said on a socket that is not open", || text.to_owned());
        };
        holds(!socket.closed, "nothing is said on a socket that is not open", || text.to_owned())?;
        if text.contains("\"clear\"") {
            socket.cleared = Some(batches);
            return Ok(());
        }
        let Some(payload) = payload(text) else { return Ok(()) };
        // What is echoed was heard on this very socket, and each frame is sent back once.
        if let Some(count) = socket.heard.get_mut(&payload).filter(|count| **count > 0) {
            *count -= 1;
            return Ok(());
        }
        let stale = socket.cleared.is_some_and(|cleared| cleared == batches);
        holds(!stale, "no stale frame after a clear", || {
            "sound, and nothing new was written since".to_owned()
        })?;
        socket.cleared = None;
        Ok(())
    }

    pub fn closed(&mut self, socket: Knock) {
        if let Some(socket) = self.sockets.get_mut(&socket) {
            socket.closed = true;
        }
    }
}

/// Which document it is: the number that its tail names.
fn number(body: &str) -> Option<u32> {
    let (_, rest) = body.rsplit_once("/next?x=")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn payload(text: &str) -> Option<String> {
    if !text.contains("\"media\"") {
        return None;
    }
    let message: Value = serde_json::from_str(text).ok()?;
    message.get("media")?.get("payload")?.as_str().map(str::to_owned)
}

impl WireRequest {
    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The document that this request says it comes back from.
    fn returns_from(&self) -> Option<u32> {
        let (_, rest) = self.target.split_once("/next?x=")?;
        rest.split('&').next()?.parse().ok()
    }

    fn field(&self, wanted: &str) -> Option<String> {
        let form = std::str::from_utf8(&self.body).ok()?;
        let (_, value) = url::form_urlencoded::parse(form.as_bytes()).find(|(name, _)| name == wanted)?;
        Some(value.into_owned())
    }
}
