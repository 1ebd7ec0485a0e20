//! What a request of the phone network means, and whether it may come in: routes, order of checks, tickets.
//!
//! One pure function, [`admit`], for every carrier and every stage. It refuses in a fixed order: too large, then
//! forged, then unknown, then incomplete; so a stranger learns nothing about which workflows exist. What becomes of a
//! request that comes in (is the call known, is the ticket unused) is for the machines.

pub mod rate;
mod route;
mod trust;

use crate::id::{CallId, WorkflowId};
use crate::limit::BODY_BYTES_MAX;
use crate::notice::{Arrival, ConferenceNotice, LineAnswer, RecordingNotice, StatusNotice, StreamNotice};
use crate::outbound::PlacementId;
use crate::provider::twilio::form::{Form, cut};
use crate::provider::twilio::signature::Keys;
use crate::provider::twilio::{status, webhook};
use route::Route;
use std::fmt;
use std::net::IpAddr;

pub use crate::provider::twilio::webhook::NetworkError;

/// A request as it came over the wire. Nothing of it has been decoded: the signature covers the raw text.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Path and query as received, with their original escapes.
    pub target: &'a str,
    /// A header by its lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    pub body: &'a [u8],
    /// Whether the connection came from an address that may say for whom it speaks.
    pub peer_is_trusted_proxy: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct FrontConfig {
    /// `https://host[:port][/prefix]`: what the network was told to ask. Never taken from a Host header.
    pub origin: String,
    pub keys: Keys,
    /// Let unsigned requests in from anywhere, as long as there is no key to check them with.
    pub insecure_no_signatures: bool,
    /// Whether a stream may begin a call that never fetched a document.
    pub bare_streams: bool,
    /// Whose `/twiml` and `/ws` are.
    pub default_workflow: Option<WorkflowId>,
    /// Names under which we may be asked without a key, beside the origin's and the loopback's.
    pub own_hosts: Vec<String>,
}

/// Which workflows can take a call.
pub trait Flows {
    fn exists(&self, id: &str) -> bool;
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    Voice(Voice),
    Next(Next),
    Wait(Wait),
    Status(StatusNotice),
    /// The status of a call that we placed: it may be the first that we hear of it.
    Placed(Box<Placed>),
    StreamEvent(StreamNotice),
    Recording(RecordingNotice),
    Conference(ConferenceNotice),
    /// An upgrade to a stream of a workflow's.
    Stream {
        workflow: WorkflowId,
        entry: Entry,
    },
    /// An upgrade at `/ws`.
    BareStream {
        workflow: WorkflowId,
    },
    /// `/twiml` without a call: the document with the bare stream.
    BareTwiml {
        workflow: WorkflowId,
    },
    Health,
    Ready,
}

/// The voice webhook of a number.
#[derive(Debug, Clone, PartialEq)]
pub struct Voice {
    pub workflow: WorkflowId,
    pub arrival: Arrival,
    /// Of a call that we placed.
    pub tag: Option<PlacementId>,
    /// For a call that is known already this is a way back like any other.
    pub answer: LineAnswer,
    pub error: Option<NetworkError>,
    /// The same for every retry of one request.
    pub idempotency: Option<String>,
}

/// The network comes back for the next document.
#[derive(Debug, Clone, PartialEq)]
pub struct Next {
    pub workflow: WorkflowId,
    /// The exchange that it comes back from. Missing or garbage is `None`, and then it is taken from the URL that
    /// failed, if the network names one.
    pub x: Option<u32>,
    /// The verb (from 1) whose action this is.
    pub a: Option<u32>,
    /// Of a call that we placed.
    pub tag: Option<PlacementId>,
    pub answer: LineAnswer,
    pub arrival: Arrival,
    pub error: Option<NetworkError>,
    pub idempotency: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    pub workflow: WorkflowId,
    pub tag: PlacementId,
    pub arrival: Arrival,
    pub notice: StatusNotice,
}

/// The network asks what a caller in a queue shall hear.
#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    pub workflow: WorkflowId,
    pub call: CallId,
    pub x: Option<u32>,
    /// Turn, from 0.
    pub w: u32,
    pub place: QueuePlace,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueuePlace {
    pub position: Option<u64>,
    pub size: Option<u64>,
    pub waited_s: Option<u64>,
    pub average_s: Option<u64>,
}

/// How a stream names its call.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// By path. Whether the token fits is for the call to say, before the upgrade.
    Ticket { call: CallId, token: Token },
    /// By query: a hint which `start` has to confirm.
    Hint(CallId),
    /// Not at all: `start` will.
    Bare,
}

/// A stream's token, which doesn't show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a request doesn't come in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {message}")]
pub struct Refusal {
    pub status: u16,
    /// For the counter.
    pub code: &'static str,
    /// For the one who asked.
    pub message: &'static str,
    /// For the one who runs us; without secrets.
    pub log: String,
    /// The `Allow` header of a 405.
    pub allow: Option<&'static str>,
}

impl Refusal {
    /// Whether the request was refused before anything had vouched for it.
    pub fn is_of_a_stranger(&self) -> bool {
        matches!(
            self.code,
            "too_large"
                | "too_slow"
                | "unknown_path"
                | "method_not_allowed"
                | "bad_signature"
                | "unsigned_proxied"
        )
    }

    /// For a carrier that finds out before the whole body has come.
    pub fn too_large() -> Refusal {
        let log = format!("a body of more than {BODY_BYTES_MAX} bytes");
        Refusal::new(413, "too_large", "the body has more than 65536 bytes", log)
    }

    /// For a carrier that waits for the body.
    pub fn too_slow() -> Refusal {
        let log = "a body that was not there in time".to_owned();
        Refusal::new(408, "too_slow", "the body did not come in time", log)
    }

    /// For a carrier that counts how often an address asks.
    pub fn too_many() -> Refusal {
        let log = "more requests from one address than [public] rate_limit".to_owned();
        Refusal::new(429, "rate_limited", "too many requests; ask again in a second", log)
    }

    pub fn unknown_workflow(id: &str) -> Refusal {
        let log = format!("no such workflow: {}", trust::loggable(id));
        Refusal::new(404, "unknown_workflow", "there is no such workflow", log)
    }

    fn new(status: u16, code: &'static str, message: &'static str, log: String) -> Refusal {
        Refusal { status, code, message, log, allow: None }
    }
}

/// Whose request it is, for whoever counts how often somebody asks. Behind a proxy that is believed it is the address
/// that the proxy saw: the last one, which it has written itself.
pub fn source(peer: Option<IpAddr>, is_trusted_proxy: bool, forwarded_for: Option<&str>) -> Option<IpAddr> {
    let seen = forwarded_for.filter(|_| is_trusted_proxy).and_then(|seen| seen.rsplit(',').next());
    seen.and_then(|seen| seen.trim().parse().ok()).or(peer).map(whose)
}

/// Whose address it is: of IPv6, whoever has one has 2^64 of them.
fn whose(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

/// The route of a request in one word, for whoever counts: of a few words, whatever is asked for.
pub fn route_word(target: &str, origin: &str) -> &'static str {
    let path = route::relative(target).split('?').next().unwrap_or_default();
    route::of(path, trust::prefix(origin)).map_or("unknown", |route| route.word())
}

/// Checks a request and says what it asks for.
pub fn admit(request: &Request<'_>, config: &FrontConfig, flows: &dyn Flows) -> Result<Ask, Refusal> {
    if request.body.len() > BODY_BYTES_MAX {
        return Err(Refusal::too_large());
    }
    let target = route::relative(request.target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some(route) = route::of(path, trust::prefix(&config.origin)) else {
        let log = format!("no such path: {}", trust::loggable(path));
        return Err(Refusal::new(404, "unknown_path", "there is nothing at this path", log));
    };
    if !route.methods().split(", ").any(|method| method == request.method) {
        let log = format!("{} is not for {}", trust::loggable(request.method), trust::loggable(path));
        let refusal = Refusal::new(405, "method_not_allowed", "this path has other methods", log);
        return Err(Refusal { allow: Some(route.methods()), ..refusal });
    }
    match route {
        Route::Health => return Ok(Ask::Health),
        Route::Ready => return Ok(Ask::Ready),
        _ => {}
    }
    let query = Form::parse(query.as_bytes());
    let posted = request.method == "POST";
    let form = match posted {
        true if trust::is_form(request) => Form::parse(request.body),
        true => Form::default(),
        false => query.clone(),
    };
    trust::vouch(request, config, target, route.is_socket(), &form)?;
    let reader = Reader { request, config, flows, form, query };
    reader.read(route)
}

/// A request that is the network's own.
struct Reader<'a, 'r> {
    request: &'a Request<'r>,
    config: &'a FrontConfig,
    flows: &'a dyn Flows,
    /// From the body, or from a GET's query.
    form: Form,
    /// What we wrote into the URL.
    query: Form,
}

impl Reader<'_, '_> {
    fn read(self, route: Route) -> Result<Ask, Refusal> {
        match route {
            Route::Health => Ok(Ask::Health),
            Route::Ready => Ok(Ask::Ready),
            Route::Status => {
                let notice = status::status_notice(&self.form).ok_or_else(no_call)?;
                Ok(self.placed(&notice).unwrap_or(Ask::Status(notice)))
            }
            Route::StreamEvent => status::stream_notice(&self.form).map(Ask::StreamEvent).ok_or_else(no_call),
            Route::Recording => {
                status::recording_notice(&self.form, &self.query).map(Ask::Recording).ok_or_else(no_call)
            }
            Route::Conference => {
                status::conference_notice(&self.form).map(Ask::Conference).ok_or_else(|| {
                    let log = "a conference event without ConferenceSid".to_owned();
                    Refusal::new(400, "missing_conference", "ConferenceSid is missing", log)
                })
            }
            Route::Voice(workflow) => {
                let workflow = self.known_to_call(workflow)?;
                self.voice(workflow)
            }
            Route::Twiml => {
                let workflow = self.default()?;
                if self.config.bare_streams && self.form.filled("CallSid").is_none() {
                    return Ok(Ask::BareTwiml { workflow });
                }
                self.voice(workflow)
            }
            Route::Next(workflow) => {
                let workflow = self.known_to_call(workflow)?;
                self.next(workflow)
            }
            Route::Wait(workflow) => {
                let workflow = self.known_to_call(workflow)?;
                let number = |name| self.form.get(name).and_then(|text| text.trim().parse().ok());
                Ok(Ask::Wait(Wait {
                    workflow,
                    call: webhook::call_of(&self.form).ok_or_else(no_call)?,
                    x: ordinal(&self.query, "x"),
                    w: self.query.get("w").and_then(|turn| turn.parse().ok()).unwrap_or(0),
                    place: QueuePlace {
                        position: number("QueuePosition"),
                        size: number("CurrentQueueSize"),
                        waited_s: number("QueueTime"),
                        average_s: number("AvgQueueTime"),
                    },
                }))
            }
            Route::Ws => {
                let workflow = self.default()?;
                self.upgrade()?;
                Ok(Ask::BareStream { workflow })
            }
            Route::Stream(workflow) => {
                let workflow = self.known(workflow)?;
                self.upgrade()?;
                let hint = self.query.get("callSid").or_else(|| self.query.get("CallSid"));
                let entry = hint.and_then(webhook::call_id).map_or(Entry::Bare, Entry::Hint);
                Ok(Ask::Stream { workflow, entry })
            }
            Route::Ticket { workflow, call, token } => {
                let call = webhook::call_id(&call).filter(|_| token.len() <= TOKEN_BYTES_MAX);
                let workflow = match call {
                    Some(_) => self.well_formed(workflow)?,
                    None => self.known(workflow)?,
                };
                self.upgrade()?;
                let Some(call) = call else {
                    let log = format!("a stream with a ticket that we never gave, for {workflow}");
                    return Err(Refusal::new(403, "bad_ticket", "this is no ticket of ours", log));
                };
                Ok(Ask::Stream { workflow, entry: Entry::Ticket { call, token: Token(token) } })
            }
        }
    }

    /// The URLs of a call that we placed name our wish for it.
    fn tag(&self) -> Option<PlacementId> {
        let tag = self.query.get("tag")?;
        uuid::Uuid::try_parse(tag).ok().map(PlacementId)
    }

    fn placed(&self, notice: &StatusNotice) -> Option<Ask> {
        let workflow = self.query.get("workflow").filter(|id| id.len() <= WORKFLOW_ID_BYTES_MAX)?;
        let arrival = webhook::arrival(&self.form).filter(|_| notice.parent.is_none())?;
        let placed = Placed {
            workflow: WorkflowId(workflow.to_owned()),
            tag: self.tag()?,
            arrival,
            notice: notice.clone(),
        };
        Some(Ask::Placed(Box::new(placed)))
    }

    fn voice(&self, workflow: WorkflowId) -> Result<Ask, Refusal> {
        Ok(Ask::Voice(Voice {
            workflow,
            arrival: webhook::arrival(&self.form).ok_or_else(no_call)?,
            tag: self.tag(),
            answer: webhook::line_answer(&self.form),
            error: webhook::network_error(&self.form),
            idempotency: self.idempotency(),
        }))
    }

    fn next(&self, workflow: WorkflowId) -> Result<Ask, Refusal> {
        let arrival = webhook::arrival(&self.form).ok_or_else(no_call)?;
        let error = webhook::network_error(&self.form);
        let (mut x, mut a) = (ordinal(&self.query, "x"), ordinal(&self.query, "a"));
        if x.is_none() {
            // The fallback URL of a number is written down once, so it can't name an exchange; the URL that failed does.
            let failed =
                error.as_ref().and_then(|error| error.url.as_deref()).map(query_of).unwrap_or_default();
            x = ordinal(&failed, "x");
            a = a.or_else(|| ordinal(&failed, "a"));
        }
        Ok(Ask::Next(Next {
            workflow,
            x,
            a,
            tag: self.tag(),
            answer: webhook::line_answer(&self.form),
            arrival,
            error,
            idempotency: self.idempotency(),
        }))
    }

    fn known(&self, id: String) -> Result<WorkflowId, Refusal> {
        if id.len() <= WORKFLOW_ID_BYTES_MAX && self.flows.exists(&id) {
            return Ok(WorkflowId(id));
        }
        Err(Refusal::unknown_workflow(&id))
    }

    /// A call keeps the workflow that it began with, also when the file is deleted under it; so whether an unknown one
    /// is refused can only be said once it is known whether the call is.
    fn known_to_call(&self, id: String) -> Result<WorkflowId, Refusal> {
        match webhook::call_of(&self.form) {
            Some(_) => self.well_formed(id),
            None => self.known(id),
        }
    }

    fn well_formed(&self, id: String) -> Result<WorkflowId, Refusal> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if id.len() <= WORKFLOW_ID_BYTES_MAX && id.chars().all(fits) {
            return Ok(WorkflowId(id));
        }
        self.known(id)
    }

    fn default(&self) -> Result<WorkflowId, Refusal> {
        match &self.config.default_workflow {
            Some(workflow) => self.known(workflow.0.clone()),
            None => {
                let log = "asked for the default workflow, and default_workflow is not set".to_owned();
                Err(Refusal::new(404, "unknown_workflow", "there is no default workflow", log))
            }
        }
    }

    /// Checked here because a ticket is used up before the upgrade is answered.
    fn upgrade(&self) -> Result<(), Refusal> {
        let upgrade = (self.request.header)("upgrade").unwrap_or_default();
        if upgrade.split(',').any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket")) {
            return Ok(());
        }
        let log = "a stream's URL was asked without Upgrade: websocket".to_owned();
        Err(Refusal::new(426, "no_upgrade", "this is a WebSocket's address", log))
    }

    /// A token that is longer than any real one is as good as none; cut, it could equal another.
    fn idempotency(&self) -> Option<String> {
        (self.request.header)("i-twilio-idempotency-token")
            .map(str::trim)
            .filter(|token| !token.is_empty() && token.len() <= IDEMPOTENCY_BYTES_MAX)
            .map(str::to_owned)
    }
}

fn no_call() -> Refusal {
    let log = "a request without a usable CallSid".to_owned();
    Refusal::new(400, "missing_call", "CallSid is missing or malformed", log)
}

/// A number that counts from 1.
fn ordinal(query: &Form, name: &str) -> Option<u32> {
    query.get(name)?.parse().ok().filter(|number| *number > 0)
}

fn query_of(url: &str) -> Form {
    let url = url.split('#').next().unwrap_or(url);
    Form::parse(url.split_once('?').map_or("", |(_, query)| query).as_bytes())
}

/// Ids are `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
const WORKFLOW_ID_BYTES_MAX: usize = 64;
/// Ours have 22.
const TOKEN_BYTES_MAX: usize = 64;
/// The network's are UUIDs.
const IDEMPOTENCY_BYTES_MAX: usize = 256;
/// Of what a stranger sent, in a log line.
const LOGGED_BYTES_MAX: usize = 200;

#[cfg(test)]
mod tests;
