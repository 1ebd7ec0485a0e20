//! Where a play is performed: a whole house, seen only from outside.
//!
//! A stage takes requests and socket messages, and tells what comes out of the house and what it writes down. It
//! knows nothing of the caller; the caller's side knows nothing of the house.

#[cfg(feature = "actor-stage")]
pub mod actor;
mod examine;
pub mod fate;
pub mod machine;
pub mod props;

use crate::network::rest::{ApiReply, ApiRequest};
use fate::Fault;
use holdline_core::fact::Entry;
use holdline_core::http::Errand;
use holdline_core::{CallId, Now, Tick, WorkflowId};
use std::time::Duration;

/// Names one request or one socket of the play.
pub type Knock = u64;

/// After a leap of time: until all that was late is done.
const SETTLES: Duration = Duration::from_millis(1);

/// One house, in virtual time.
#[expect(async_fn_in_trait, reason = "a stage is performed where it is made, on one thread")]
pub trait Stage {
    fn now(&self) -> Now;
    /// A request. One with `Upgrade` may become a socket of the same name.
    fn knock(&mut self, knock: Knock, request: WireRequest);
    fn socket_text(&mut self, socket: Knock, text: String);
    fn socket_binary(&mut self, socket: Knock);
    /// `None` is an end without a close frame.
    fn socket_close(&mut self, socket: Knock, code: Option<u16>);
    /// The other end of a socket takes nothing from now on, or takes messages again.
    fn socket_stalls(&mut self, socket: Knock, stalls: bool);
    /// The session of this call panics.
    fn panic(&mut self, call: CallId);
    /// No new calls from now on.
    fn drain(&mut self);
    /// The process is about to go: every live stream is closed.
    fn hand_over(&mut self);
    /// Nothing runs for so long: time passes in one leap, and what was due is late. It takes a millisecond longer.
    async fn stand_still(&mut self, span: Duration);
    /// Somebody asks for a call's end by the control API.
    fn end_call(&mut self, knock: Knock, call: CallId, stop: bool);
    /// The network's REST API answers what [`News::AsksNetwork`] asked; `None`: nobody is there.
    fn network_answers(&mut self, ask: u64, reply: Option<ApiReply>);
    /// Everything in memory is gone; sockets are cut.
    fn crash(&mut self);
    /// Another process folds what was written.
    async fn restart(&mut self);
    /// Something goes wrong from here on. A stage may be spared what it cannot suffer.
    fn befalls(&mut self, fault: &Fault);
    /// Lets time pass until `until`, or until the house says something. All that it says at one instant may come in
    /// several answers; none comes once time has moved on.
    async fn run_until(&mut self, until: Tick) -> Vec<News>;
    /// True when nothing of any call or main workflow is in memory.
    async fn is_empty(&mut self) -> bool;
}

/// What comes out of the house.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A batch is on disk.
    Written(Vec<Entry>),
    Answered {
        knock: Knock,
        status: u16,
        content_type: String,
        body: String,
    },
    /// The request has become a socket.
    Upgraded {
        knock: Knock,
    },
    SocketText {
        socket: Knock,
        text: String,
    },
    SocketClosed {
        socket: Knock,
        code: Option<u16>,
    },
    /// The network's REST API is asked.
    AsksNetwork {
        ask: u64,
        request: ApiRequest,
    },
    /// What the control API answers.
    Ending {
        knock: Knock,
        text: String,
    },
    /// Another system is asked.
    Asked(Asked),
    /// The process has died by itself, and is gone for so long.
    Died {
        down: Duration,
    },
}

/// A request to another system, as that one sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Whom, or the recipient of a mail.
    pub target: String,
    pub method: &'static str,
    /// By what the other side knows a second time.
    pub key: Option<String>,
    /// It came there.
    pub arrived: bool,
    /// It took effect there, whether or not the answer came back.
    pub taken: bool,
    /// Of the answer that comes back.
    pub status: Option<u16>,
}

impl Asked {
    fn of(errand: &Errand, arrived: bool, taken: bool, status: Option<u16>) -> Asked {
        let (target, method, key) = match errand {
            Errand::Http(call) => {
                let target = call.endpoint.target().to_owned();
                let header = |wanted: &str| {
                    let found = call.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                    found.map(|(_, value)| value.clone())
                };
                let key = call.signed_as.clone().or_else(|| header("idempotency-key"));
                (target, call.method.as_str(), key)
            }
            Errand::Mail(mail) => (mail.to.clone(), "MAIL", Some(mail.id.clone())),
            Errand::Service(call) => (call.service.clone(), "ASK", Some(call.idempotency_key.clone())),
        };
        Asked { target, method, key, arrived, taken, status }
    }
}

/// A request as it goes over the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct WireRequest {
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl WireRequest {
    pub fn header(&self, name: &str) -> Option<&str> {
        let known = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(_, value)| value.as_str())
    }
}

/// How the house is configured: what `config.toml` says, as far as calls see it.
#[derive(Debug, Clone, PartialEq)]
pub struct HouseConfig {
    pub max_duration: Duration,
    pub idle_timeout: Duration,
    pub return_grace: Duration,
    pub start_deadline: Duration,
    pub max_calls: usize,
    pub overflow: Option<WorkflowId>,
    pub local_speech: bool,
    pub bare_streams: bool,
    /// Whether requests must be signed.
    pub signed: bool,
    pub default_workflow: Option<WorkflowId>,
    /// Whether the house may ask the network's REST API.
    pub credentials: bool,
    pub rest_interval: Duration,
    /// The types of events that somebody receives; none, when nobody does.
    pub events: Vec<String>,
}

impl Default for HouseConfig {
    fn default() -> HouseConfig {
        HouseConfig {
            max_duration: Duration::from_secs(4 * 3600),
            idle_timeout: Duration::from_secs(60),
            return_grace: Duration::from_secs(10),
            start_deadline: Duration::from_secs(5),
            max_calls: 10_000,
            overflow: None,
            local_speech: false,
            bare_streams: false,
            signed: true,
            default_workflow: None,
            credentials: false,
            rest_interval: Duration::from_secs(60),
            events: Vec::new(),
        }
    }
}
