//! The public listener without HTTP: a request comes in, an answer or a ticket comes out.
//!
//! Every carrier and every virtual-time stage knocks here; so what a request may do is decided once, by
//! [`holdline_core::front`], and what becomes of it by the call.

use crate::call_registry::{Arrive, CallRegistry, Deliver, NotHere, Outcome};
use crate::call_session::CallSession;
use crate::clock::Clock;
use crate::outbound::{self, Outbound};
use crate::tally::Tally;
use actix::Addr;
use holdline_core::call::begin::{NewCall, new_call_with};
use holdline_core::call::{Answer, Request, StreamNo};
use holdline_core::document::{Ending, Links, Plan};
use holdline_core::flow::Vocabulary;
use holdline_core::flow::flows::Flows;
use holdline_core::flow::script::Script;
use holdline_core::front::rate::RateLimit;
use holdline_core::front::{self, Ask, Entry, FrontConfig, Placed, Refusal};
use holdline_core::metric::{self, Limit};
use holdline_core::notice::{Arrival, NetworkStatus};
use holdline_core::outbound::{Placement, PlacementId};
use holdline_core::provider::twilio::stream::Start;
use holdline_core::provider::twilio::token::stream_token;
use holdline_core::provider::twilio::{twiml, webhook};
use holdline_core::{CallId, RunId, Tick, WorkflowId};
use serde_json::{Map, Value};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use uuid::Uuid;

/// A webhook whose facts can't be written in this time is answered 503; its turn goes on, and the network's retry
/// joins it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// An answer that a panic swallowed is asked for again, of the session that was rebuilt.
const TRIES: u32 = 3;

/// Workflows by id, in the version that is in force.
pub trait FlowBook: Send + Sync {
    fn find(&self, id: &WorkflowId) -> Option<Arc<Script>>;

    /// All of them, for triggers of one's own; a book that has no list has none that they start.
    fn scripts(&self) -> Vec<Arc<Script>> {
        Vec::new()
    }

    /// The words that they are written in.
    fn vocabulary(&self) -> &Vocabulary {
        Vocabulary::standard()
    }
}

/// The book, as runs look into it.
pub fn flows(book: &Arc<dyn FlowBook>) -> Arc<dyn Flows> {
    Arc::new(Shelves(book.clone()))
}

struct Shelves(Arc<dyn FlowBook>);

impl fmt::Debug for Shelves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the flow book")
    }
}

impl Flows for Shelves {
    fn find(&self, id: &WorkflowId) -> Option<Arc<Script>> {
        self.0.find(id)
    }

    fn vocabulary(&self) -> &Vocabulary {
        self.0.vocabulary()
    }
}

pub struct Door {
    pub calls: Addr<CallRegistry>,
    pub outbound: Addr<Outbound>,
    pub front: FrontConfig,
    pub book: Arc<dyn FlowBook>,
    pub clock: Clock,
    /// Ids that start something from outside; `wall_ms` goes into them.
    pub mint: Arc<dyn Fn(u64) -> Uuid + Send + Sync>,
    pub return_fragment: String,
    pub instance_key: [u8; 32],
    /// Where a call beyond capacity goes instead of being told that we are busy.
    pub overflow: Option<WorkflowId>,
    pub tally: Arc<Tally>,
    /// How often one source may ask; none: no bound.
    pub rate: Option<Mutex<RateLimit>>,
    pub complaints: Complaints,
}

/// Lines about refused requests, a second: enough to see what comes, too few to fill a disk.
const COMPLAINTS_MAX: u32 = 20;
const A_SECOND: Duration = Duration::from_secs(1);

/// Who may complain in the log.
#[derive(Debug, Default)]
pub struct Complaints(Mutex<Second>);

#[derive(Debug, Default)]
struct Second {
    began: Tick,
    lines: u32,
    withheld: u64,
}

impl Complaints {
    /// How many lines before this one were withheld; nothing when this one is, too.
    fn may(&self, now: Tick) -> Option<u64> {
        let mut second = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(second.began) >= A_SECOND {
            second.began = now;
            second.lines = 0;
        }
        if second.lines >= COMPLAINTS_MAX {
            second.withheld += 1;
            return None;
        }
        second.lines += 1;
        Some(std::mem::take(&mut second.withheld))
    }
}

/// What a knock comes to.
pub enum Opened {
    Answer(HttpAnswer),
    /// A socket may open.
    Upgrade(Ticket),
    Health,
    Ready,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: u16,
    /// `text/xml` for documents, `text/plain` for refusals, none without a body.
    pub content_type: Option<&'static str>,
    pub body: String,
    pub allow: Option<&'static str>,
}

/// A socket's right to open.
pub enum Ticket {
    /// Its token was good, and is used.
    Admitted { call: CallId, stream: StreamNo, session: Addr<CallSession> },
    /// Its `start` will name the call.
    Bare { workflow: WorkflowId, hint: Option<CallId> },
}

impl Ticket {
    pub fn stream(&self) -> Option<StreamNo> {
        match self {
            Ticket::Admitted { stream, .. } => Some(*stream),
            Ticket::Bare { .. } => None,
        }
    }
}

struct Known<'a>(&'a dyn FlowBook);

impl front::Flows for Known<'_> {
    fn exists(&self, id: &str) -> bool {
        self.0.find(&WorkflowId(id.to_owned())).is_some()
    }
}

impl Door {
    /// `source`: whose request it is, where that is known.
    pub async fn knock(&self, request: &front::Request<'_>, source: Option<IpAddr>) -> Opened {
        let began = self.clock.now().tick;
        let under_way = self.tally.requests.begin();
        let verdict = front::admit(request, &self.front, &Known(self.book.as_ref()));
        let opened = match self.within_rate(source, verdict) {
            Ok(ask) => self.admitted(ask).await,
            Err(refusal) => Opened::Answer(self.refused(&refusal)),
        };
        drop(under_way);
        let status = match &opened {
            Opened::Answer(answer) => answer.status,
            Opened::Upgrade(_) => 101,
            // Whoever asks how we are answers that; it is counted there.
            Opened::Health | Opened::Ready => return opened,
        };
        let route = front::route_word(request.target, &self.front.origin);
        self.tally.answered(route, status, self.clock.now().tick.since(began));
        opened
    }

    /// A request of whoever asks too often is refused for that, whatever else was to be said to it.
    fn within_rate(&self, source: Option<IpAddr>, verdict: Result<Ask, Refusal>) -> Result<Ask, Refusal> {
        if matches!(verdict, Ok(Ask::Health | Ask::Ready)) {
            return verdict; // whoever looks whether we are well is not counted
        }
        let (Some(rate), Some(source)) = (&self.rate, source) else { return verdict };
        let stranger = verdict.as_ref().is_err_and(Refusal::is_of_a_stranger);
        let vouched = !self.front.keys.is_empty() && !stranger;
        let mut rate = rate.lock().unwrap_or_else(PoisonError::into_inner);
        if rate.admits(source, vouched, self.clock.now().tick) {
            return verdict;
        }
        self.tally.hit(Limit::SourceRequests);
        Err(Refusal::too_many())
    }

    /// The refusal of a request that can be seen to be one too many before its body is read: nothing can vouch for it,
    /// and its source has asked too often. It costs nobody anything.
    pub fn too_many(&self, source: Option<IpAddr>, is_signed: bool) -> Option<Refusal> {
        let (rate, source) = (self.rate.as_ref()?, source?);
        if is_signed && !self.front.keys.is_empty() {
            return None;
        }
        let spent =
            rate.lock().unwrap_or_else(PoisonError::into_inner).is_spent(source, self.clock.now().tick);
        spent.then(|| {
            self.tally.hit(Limit::SourceRequests);
            Refusal::too_many()
        })
    }

    /// Sources whose requests are counted.
    pub fn sources(&self) -> usize {
        self.rate.as_ref().map_or(0, |rate| rate.lock().unwrap_or_else(PoisonError::into_inner).len())
    }

    /// A carrier's own refusal, of a request that it did not even read.
    pub fn turned_back(&self, refusal: Refusal, source: Option<IpAddr>) -> HttpAnswer {
        let refusal = self.within_rate(source, Err(refusal)).err();
        refusal.map_or_else(heard, |refusal| self.refused(&refusal))
    }

    /// One counter for each refusal, and one log line, of which a flood of them gets a few a second.
    pub fn refused(&self, refusal: &Refusal) -> HttpAnswer {
        self.tally.count(&metric::REFUSALS, &[refusal.code]);
        if refusal.status == 413 {
            self.tally.hit(Limit::WebhookBody);
        }
        if refusal.code == "bad_signature" {
            self.tally.count(&metric::SIGNATURE_FAILURES, &[]);
        }
        match self.complaints.may(self.clock.now().tick) {
            Some(0) => {
                tracing::warn!(
                    code = refusal.code,
                    status = refusal.status,
                    detail = refusal.log,
                    "request refused"
                );
            }
            Some(withheld) => tracing::warn!(
                code = refusal.code,
                status = refusal.status,
                detail = refusal.log,
                withheld,
                "request refused; so many before it were not logged"
            ),
            None => self.tally.count(&metric::LOG_WITHHELD, &[]),
        }
        HttpAnswer {
            status: refusal.status,
            content_type: Some("text/plain; charset=utf-8"),
            body: format!("{}\n", refusal.message),
            allow: refusal.allow,
        }
    }

    async fn admitted(&self, ask: Ask) -> Opened {
        match ask {
            Ask::Voice(voice) => {
                let request = Request::Voice {
                    status: voice.arrival.status,
                    answer: voice.answer,
                    key: voice.idempotency,
                };
                let given = self.given(voice.tag, &voice.arrival).await;
                Opened::Answer(self.voice(voice.workflow, voice.arrival, &given, request).await)
            }
            Ask::Next(next) => {
                let request = Request::Next {
                    x: next.x,
                    a: next.a,
                    status: next.arrival.status,
                    answer: next.answer,
                    key: next.idempotency,
                };
                let given = self.given(next.tag, &next.arrival).await;
                Opened::Answer(self.voice(next.workflow, next.arrival, &given, request).await)
            }
            Ask::Wait(wait) => {
                let waited_s = wait.place.waited_s;
                let request = Request::Wait { x: wait.x.unwrap_or(0), w: wait.w, waited_s };
                Opened::Answer(self.deliver(&wait.call, Some(&wait.workflow), request).await)
            }
            Ask::Status(notice) => {
                let call = notice.parent.clone().unwrap_or_else(|| notice.call.clone());
                Opened::Answer(self.tell(&call, Request::Status(notice)).await)
            }
            Ask::Placed(placed) => Opened::Answer(self.placed(*placed).await),
            Ask::StreamEvent(notice) => {
                let call = notice.call.clone();
                Opened::Answer(self.tell(&call, Request::Stream(notice)).await)
            }
            Ask::Recording(notice) => {
                let call = notice.call.clone();
                Opened::Answer(self.tell(&call, Request::Recording(notice)).await)
            }
            Ask::Conference(notice) => match notice.call.clone() {
                Some(call) => Opened::Answer(self.tell(&call, Request::Conference(notice)).await),
                None => Opened::Answer(heard()),
            },
            Ask::Stream { workflow, entry } => self.stream(workflow, entry).await,
            Ask::BareStream { workflow } => Opened::Upgrade(Ticket::Bare { workflow, hint: None }),
            Ask::BareTwiml { workflow } => {
                Opened::Answer(document(twiml::bare_stream(&self.links(&workflow, ""))))
            }
            Ask::Health => Opened::Health,
            Ask::Ready => Opened::Ready,
        }
    }

    /// The variables of a call that we placed; none of any other.
    async fn given(&self, tag: Option<PlacementId>, arrival: &Arrival) -> Map<String, Value> {
        match tag {
            Some(tag) => self.wish(tag, arrival).await.map(|wish| wish.variables).unwrap_or_default(),
            None => Map::new(),
        }
    }

    async fn wish(&self, id: PlacementId, arrival: &Arrival) -> Option<Placement> {
        let (reply, told) = oneshot::channel();
        let seen = outbound::Seen { id, arrival: Box::new(arrival.clone()), reply };
        self.outbound.send(seen).await.ok()?;
        tokio::time::timeout(ANSWER_TIMEOUT, told).await.ok()?.ok()?
    }

    /// The status of a call that we placed: should it be the first word of that call, the call begins with it.
    async fn placed(&self, placed: Placed) -> HttpAnswer {
        let Placed { workflow, tag, arrival, notice } = placed;
        let (call, request) = (notice.call.clone(), Request::Status(notice));
        let outcome = self.ask(&call, None, request.clone()).await;
        if !matches!(outcome, Some(Err(NotHere::Unknown))) {
            return self.told(&call, outcome);
        }
        let wish = self.wish(tag, &arrival).await.filter(|wish| wish.workflow == workflow);
        let new = wish.and_then(|wish| self.new_call(&workflow, arrival, &wish.variables));
        let Some(new) = new else { return self.told(&call, outcome) };
        let (reply, answered) = oneshot::channel();
        let arrive = Arrive {
            workflow,
            new: Box::new(new),
            overflow: None,
            turned_away: RunId((self.mint)(self.clock.now().wall_ms)),
            request,
            reply,
        };
        if self.calls.send(arrive).await.is_err() {
            return unavailable("the registry is gone");
        }
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, answered).await;
        self.told(&call, answered.ok().and_then(Result::ok))
    }

    /// A request for a document: of a call that is known, or of a new one.
    async fn voice(
        &self,
        workflow: WorkflowId,
        arrival: Arrival,
        given: &Map<String, Value>,
        request: Request,
    ) -> HttpAnswer {
        let call = arrival.call.clone();
        for _ in 0..TRIES {
            if self.book.find(&workflow).is_none() {
                // Deleted under its calls, which go on; no other begins.
                return match self.ask(&call, Some(&workflow), request).await {
                    Some(Err(NotHere::Unknown)) => self.refused(&Refusal::unknown_workflow(&workflow.0)),
                    Some(outcome) => self.answer(&call, outcome),
                    None => unavailable("the answer could not be written in time"),
                };
            }
            let Some(new) = self.new_call(&workflow, arrival.clone(), given) else {
                return unavailable("the workflow cannot be started");
            };
            let overflow = self.overflow.as_ref().and_then(|id| self.new_call(id, arrival.clone(), given));
            let (reply, answered) = oneshot::channel();
            let arrive = Arrive {
                workflow: workflow.clone(),
                new: Box::new(new),
                overflow: overflow.map(Box::new),
                turned_away: RunId((self.mint)(self.clock.now().wall_ms)),
                request: request.clone(),
                reply,
            };
            if self.calls.send(arrive).await.is_err() {
                return unavailable("the registry is gone");
            }
            match tokio::time::timeout(ANSWER_TIMEOUT, answered).await {
                Ok(Ok(outcome)) => return self.answer(&call, outcome),
                Ok(Err(_)) => continue, // a panic swallowed it
                Err(_) => return unavailable("the answer could not be written in time"),
            }
        }
        unavailable("the call cannot be answered")
    }

    async fn deliver(&self, call: &CallId, workflow: Option<&WorkflowId>, request: Request) -> HttpAnswer {
        match self.ask(call, workflow, request).await {
            Some(outcome) => self.answer(call, outcome),
            None => unavailable("the answer could not be written in time"),
        }
    }

    /// What the network tells of a call. For one that we don't know it is answered all the same: the network would
    /// only tell it again.
    async fn tell(&self, call: &CallId, request: Request) -> HttpAnswer {
        let outcome = self.ask(call, None, request).await;
        self.told(call, outcome)
    }

    fn told(&self, call: &CallId, outcome: Option<Outcome>) -> HttpAnswer {
        match outcome {
            Some(Ok(_) | Err(NotHere::Ended { .. })) => heard(),
            Some(Err(_)) => {
                self.tally.count(&metric::STRAY_NOTICES, &[]);
                tracing::info!(%call, "a notice came for a call that is not known");
                heard()
            }
            None => unavailable("the notice could not be written in time"),
        }
    }

    /// Asks a call; `None` when no answer came in time.
    pub async fn ask(
        &self,
        call: &CallId,
        workflow: Option<&WorkflowId>,
        request: Request,
    ) -> Option<Outcome> {
        for _ in 0..TRIES {
            let (reply, answered) = oneshot::channel();
            let deliver =
                Deliver { call: call.clone(), workflow: workflow.cloned(), request: request.clone(), reply };
            self.calls.send(deliver).await.ok()?;
            match tokio::time::timeout(ANSWER_TIMEOUT, answered).await {
                Ok(Ok(outcome)) => return Some(outcome),
                Ok(Err(_)) => continue,
                Err(_) => return None,
            }
        }
        None
    }

    async fn stream(&self, workflow: WorkflowId, entry: Entry) -> Opened {
        let (call, token) = match entry {
            Entry::Ticket { call, token } => (call, token.0),
            Entry::Hint(call) => return Opened::Upgrade(Ticket::Bare { workflow, hint: Some(call) }),
            Entry::Bare => return Opened::Upgrade(Ticket::Bare { workflow, hint: None }),
        };
        match self.ask(&call, Some(&workflow), Request::Open { token }).await {
            Some(Ok(reply)) => match reply.answer {
                Answer::Admitted { stream, .. } => {
                    Opened::Upgrade(Ticket::Admitted { call, stream, session: reply.session })
                }
                Answer::Denied { why } => Opened::Answer(self.denied(&call, why)),
                _ => Opened::Answer(self.denied(&call, "the call is over")),
            },
            Some(Err(NotHere::OtherWorkflow)) => Opened::Answer(not_found()),
            Some(Err(NotHere::Unknown)) if self.book.find(&workflow).is_none() => {
                Opened::Answer(self.refused(&Refusal::unknown_workflow(&workflow.0)))
            }
            Some(Err(_)) => Opened::Answer(self.denied(&call, "the call is not known")),
            None => Opened::Answer(unavailable("the stream could not be admitted in time")),
        }
    }

    /// A bare stream has named its call: the call's own, or a new one's when that is allowed.
    pub async fn attach(
        &self,
        workflow: &WorkflowId,
        hint: Option<&CallId>,
        start: &Start,
    ) -> Result<(Addr<CallSession>, StreamNo), &'static str> {
        let named = start.call_sid.clone().or_else(|| start.parameters.get("callSid").cloned());
        let call = match (named, hint) {
            (Some(named), Some(hint)) if named != hint.0 => {
                return Err("start names another call than the query");
            }
            (Some(named), _) => webhook::call_id(&named).ok_or("start holds no usable callSid")?,
            (None, Some(hint)) => hint.clone(),
            (None, None) => return Err("start names no call"),
        };
        let outcome = match self.ask(&call, Some(workflow), Request::Attach).await {
            Some(Err(NotHere::Unknown)) if self.front.bare_streams => {
                self.register_bare(workflow, call, start).await
            }
            outcome => outcome,
        };
        match outcome.ok_or("the call did not answer in time")? {
            Ok(reply) => match reply.answer {
                Answer::Admitted { stream, .. } => Ok((reply.session, stream)),
                Answer::Denied { why } => Err(why),
                _ => Err("the call is over"),
            },
            Err(NotHere::Ended { .. }) => Err("the call is over"),
            Err(_) => Err("the call is not known"),
        }
    }

    async fn register_bare(&self, workflow: &WorkflowId, call: CallId, start: &Start) -> Option<Outcome> {
        let parameter = |name: &str| start.parameters.get(name).cloned();
        let arrival = Arrival {
            call,
            account: start.account.clone().unwrap_or_default(),
            from: parameter("from").unwrap_or_default(),
            to: parameter("to").unwrap_or_default(),
            direction: "inbound".into(),
            status: Some(NetworkStatus::InProgress),
            caller_name: None,
            forwarded_from: None,
        };
        let new = self.new_call(workflow, arrival, &Map::new())?;
        let (reply, answered) = oneshot::channel();
        let arrive = Arrive {
            workflow: workflow.clone(),
            new: Box::new(new),
            overflow: None,
            turned_away: RunId((self.mint)(self.clock.now().wall_ms)),
            request: Request::Attach,
            reply,
        };
        self.calls.send(arrive).await.ok()?;
        tokio::time::timeout(ANSWER_TIMEOUT, answered).await.ok()?.ok()
    }

    fn new_call(
        &self,
        workflow: &WorkflowId,
        arrival: Arrival,
        given: &Map<String, Value>,
    ) -> Option<NewCall> {
        let script = self.book.find(workflow)?;
        let now = self.clock.now();
        let ids = (RunId((self.mint)(now.wall_ms)), RunId((self.mint)(now.wall_ms)));
        match new_call_with(now, arrival, given, &script, &|id| self.book.find(id), ids) {
            Ok(new) => Some(new),
            Err(error) => {
                tracing::error!(%error, "a call cannot be started");
                None
            }
        }
    }

    fn answer(&self, call: &CallId, outcome: Outcome) -> HttpAnswer {
        match outcome {
            Ok(reply) => match reply.answer {
                Answer::Document { plan } => self.render(call, &reply.workflow, &plan),
                Answer::Hangup => document(twiml::hangup()),
                Answer::WaitDocument { exchange, turn, verbs } => {
                    let links = self.links(&reply.workflow, &call.0);
                    document(twiml::wait_document(&verbs, &links, exchange, turn))
                }
                Answer::NoContent | Answer::Ending { .. } | Answer::Leaving => heard(),
                // Nothing that the network asks is answered so.
                Answer::Commanded(_) | Answer::Saying { .. } => heard(),
                Answer::Denied { why } => unavailable(why),
                Answer::Admitted { .. } => heard(),
            },
            // Whatever the network asks for a call that is over, it is to hang up; no second call begins.
            Err(NotHere::Ended { rejected: false }) => document(twiml::hangup()),
            Err(NotHere::Ended { rejected: true } | NotHere::TurnedAway) => document(twiml::reject("busy")),
            Err(NotHere::Unknown | NotHere::OtherWorkflow) => not_found(),
            Err(NotHere::Unwritable) => {
                self.tally.count(&metric::CALLS_REFUSED, &["journal"]);
                unavailable("the journal cannot be written; new calls are not taken")
            }
        }
    }

    fn render(&self, call: &CallId, workflow: &WorkflowId, plan: &Plan) -> HttpAnswer {
        let token = match plan.ending {
            Ending::Stream { .. } => Some(stream_token(&self.instance_key, call, plan.exchange)),
            _ => None,
        };
        document(twiml::render(plan, &self.links(workflow, &call.0), token.as_deref()))
    }

    fn links(&self, workflow: &WorkflowId, call: &str) -> Links {
        Links {
            origin: self.front.origin.clone(),
            workflow: workflow.0.clone(),
            call: call.to_owned(),
            return_fragment: self.return_fragment.clone(),
        }
    }

    fn denied(&self, call: &CallId, why: &'static str) -> HttpAnswer {
        self.tally.count(&metric::REFUSALS, &["stream_denied"]);
        tracing::warn!(%call, why, "a stream was refused");
        HttpAnswer {
            status: 403,
            content_type: Some("text/plain; charset=utf-8"),
            body: format!("{why}\n"),
            allow: None,
        }
    }
}

fn document(body: String) -> HttpAnswer {
    HttpAnswer { status: 200, content_type: Some("text/xml; charset=utf-8"), body, allow: None }
}

/// The answer to whatever the network merely tells, whether the call is live, over or unknown.
fn heard() -> HttpAnswer {
    HttpAnswer { status: 200, content_type: None, body: String::new(), allow: None }
}

fn not_found() -> HttpAnswer {
    plain(404, "no such workflow or call")
}

fn unavailable(why: &str) -> HttpAnswer {
    plain(503, why)
}

fn plain(status: u16, text: &str) -> HttpAnswer {
    let body = format!("{text}\n");
    HttpAnswer { status, content_type: Some("text/plain; charset=utf-8"), body, allow: None }
}
