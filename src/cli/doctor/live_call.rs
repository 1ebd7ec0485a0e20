//! `holdline doctor --live-call`: one real call through everything, whose stream is cut off in the middle, to see what
//! the network does then. Its documents are the server's own; only their two ways back are marked, so that they can be
//! told apart when the network comes back on one of them.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody, to_bytes};
use actix_web::dev::{ServerHandle, ServiceRequest, ServiceResponse};
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::middleware::{Next, from_fn};
use actix_web::web;
use actix_web::{App, Error, HttpServer};
use holdline_actors::clock::Clock;
use holdline_actors::port::http::World;
use holdline_core::CallId;
use holdline_core::http::{Body, Endpoint, Errand, HttpCall, Method};
use holdline_core::notice::NetworkStatus;
use holdline_core::provider::twilio::account;
use holdline_core::provider::twilio::rest::{self, Said};
use serde::Serialize;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::account::{NO_CREDENTIALS, refused, world};
use super::finding::Finding;
use crate::adapter::world::OtherSystems;
use crate::cli::complain;
use crate::config::{Config, JournalKind};
use crate::runtime::{Runtime, parts};
use crate::serve::{Wire, on_connect};

/// What the network did after the stream was gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It went on with the document's last verb.
    Redirect,
    /// It asked the action of the verb that had the stream.
    Action,
    /// It took it for an error, and asked the fallback.
    Fallback,
    /// It ended the call.
    End,
    /// The call stands, in silence.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveCall {
    pub call: String,
    pub then: Then,
    /// From the cut to what the network did.
    pub after_ms: u64,
    /// From the cut to the next stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream_after_ms: Option<u64>,
}

/// Who is called, and by whom.
pub struct Wish<'a> {
    pub to: &'a str,
    pub from: Option<&'a str>,
    pub origin: &'a str,
}

/// Something happened at the listener.
enum News {
    Came { target: String },
    StreamUp(Wire),
}

pub async fn place(config: &Config, wish: &Wish<'_>) -> (Finding, Option<LiveCall>) {
    match live(config, wish).await {
        Ok(call) => (told(&call), Some(call)),
        Err(finding) => (finding, None),
    }
}

async fn live(config: &Config, wish: &Wish<'_>) -> Result<LiveCall, Finding> {
    let world = world(config);
    let from = from(config, wish, &world).await?;
    let house = House::open(config, wish.origin)?;
    let told = through(&house.news, &world, wish, &from).await;
    house.close().await;
    told
}

/// The call, from the wish for it to the end of it, whatever comes between.
async fn through(
    news: &tokio::sync::Mutex<mpsc::Receiver<News>>,
    world: &OtherSystems,
    wish: &Wish<'_>,
    from: &str,
) -> Result<LiveCall, Finding> {
    let call = match rest::read(&world.perform(dial(wish, from)).await) {
        Said::Call(record) => record.call,
        Said::Refused(refusal) => {
            return Err(failed(format!("the network places no call: {refusal}"), refusal.advice()));
        }
        said => return Err(failed(format!("the network places no call: {said:?}"), "try again in a minute")),
    };
    complain(&format!("{call} rings at {}; it ends by itself within two minutes", wish.to));
    let mut news = news.lock().await;
    let story = story(&mut news, world, &call).await;
    let ended = world.perform(rest::hang_up(&call)).await;
    if let Said::Refused(refusal) = rest::read(&ended) {
        complain(&format!("{call} could not be ended: {refusal}"));
    }
    story
}

async fn story(
    news: &mut mpsc::Receiver<News>,
    world: &OtherSystems,
    call: &CallId,
) -> Result<LiveCall, Finding> {
    let clock = Clock::start();
    let wire = loop {
        match tokio::time::timeout(UNTIL_STREAM, news.recv()).await {
            Ok(Some(News::StreamUp(wire))) => break wire,
            Ok(Some(News::Came { target })) => complain(&format!("the network asks for {target}")),
            _ => {
                let cure = "answer the phone; if it does not ring, see the account's log of calls. `holdline doctor` without --live-call looks at the road";
                return Err(failed(
                    format!("{call} opened no stream within {} s", UNTIL_STREAM.as_secs()),
                    cure,
                ));
            }
        }
    };
    complain(&"the stream is up");
    // A stream that has just begun is not yet what a caller's is: frames should be on their way.
    let _ = tokio::time::timeout(SPEAKS_FOR, news.recv()).await;
    let cut_at = clock.now().tick;
    if let Err(error) = wire.cut() {
        return Err(failed(
            format!("the stream ended by itself before it could be cut off: {error}"),
            "try again, and do not hang up",
        ));
    }
    complain(&"the stream is cut off, as if the process had died");
    let since = |clock: &Clock| clock.now().tick.0.saturating_sub(cut_at.0) / 1000;
    let mut then = None;
    let mut stream_after_ms = None;
    while since(&clock) < UNTIL_BACK_MS && stream_after_ms.is_none() {
        match tokio::time::timeout(LOOK_EVERY, news.recv()).await {
            Ok(Some(News::Came { target })) => {
                complain(&format!("after {} ms the network asks for {target}", since(&clock)));
                if then.is_none() {
                    then = way_of(&target).map(|way| (way, since(&clock)));
                }
            }
            Ok(Some(News::StreamUp(_))) => stream_after_ms = Some(since(&clock)),
            Ok(None) => break,
            // Nothing came: perhaps it is over.
            Err(_) if then.is_none() => {
                let is_over = match rest::read(&world.perform(rest::fetch(call)).await) {
                    Said::Call(record) => record.status.is_some_and(NetworkStatus::is_terminal),
                    Said::Gone => true,
                    _ => false,
                };
                if is_over {
                    then = Some((Then::End, since(&clock)));
                    break;
                }
            }
            Err(_) => {}
        }
    }
    let (then, after_ms) = then.unwrap_or((Then::Nothing, since(&clock)));
    Ok(LiveCall { call: call.0.clone(), then, after_ms, stream_after_ms })
}

fn told(call: &LiveCall) -> Finding {
    let LiveCall { call, then, after_ms, stream_after_ms } = call;
    let stream = match stream_after_ms {
        Some(ms) => format!("and the caller's stream is up again after {ms} ms"),
        None => "but opened no second stream".to_owned(),
    };
    let credentials =
        "keep [twilio] credentials configured: the server then leads such calls back by the REST API";
    let by = |way: &str| match stream_after_ms {
        Some(_) => Finding::ok(
            "live_call",
            format!("{call}: after the stream was cut off the network {way} within {after_ms} ms, {stream}"),
        ),
        None => Finding::failed(
            "live_call",
            format!("{call}: after the stream was cut off the network {way} within {after_ms} ms, {stream}"),
            "look at the log above",
        ),
    };
    match then {
        Then::Redirect => by("went on with the document (redirect)"),
        Then::Action => by("asked the stream's action (action)"),
        Then::Fallback => by("asked the fallback (fallback)"),
        Then::End => failed(
            format!(
                "{call}: after the stream was cut off the network ended the call within {after_ms} ms (end): on this line calls do not survive the sudden death of their server"
            ),
            "keep restarts orderly (SIGTERM hands calls over), and let nothing kill the process",
        ),
        Then::Nothing => failed(
            format!(
                "{call}: after the stream was cut off the network did nothing for {after_ms} ms (nothing): the caller hears silence"
            ),
            credentials,
        ),
    }
}

fn failed(message: String, cure: &str) -> Finding {
    Finding::failed("live_call", message, cure)
}

/// A number that may be shown.
async fn from(config: &Config, wish: &Wish<'_>, world: &OtherSystems) -> Result<String, Finding> {
    if config.twilio.credentials().is_none() {
        return Err(failed(format!("a call needs credentials: {NO_CREDENTIALS}"), "set them"));
    }
    if let Some(from) = wish.from.map(str::to_owned).or_else(|| config.twilio.from.clone()) {
        return Ok(from);
    }
    let numbers = account::read_numbers(&world.perform(account::list_numbers(None)).await);
    match numbers {
        Ok(numbers) => numbers.first().map(|number| number.number.clone()).ok_or_else(|| {
            failed(
                "the account has no number that a call could show".to_owned(),
                "set [twilio] from, or give --from",
            )
        }),
        Err(refusal) => Err(refused("live_call", &config.twilio, &refusal)),
    }
}

/// The ways back name themselves; the fallback is the one that names no exchange.
fn way_of(target: &str) -> Option<Then> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let has = |wanted: &str| query.split('&').any(|field| field == wanted);
    if !path.ends_with("/next") {
        return None;
    }
    Some(match () {
        () if has(BY_ACTION) => Then::Action,
        () if has(BY_REDIRECT) => Then::Redirect,
        () => Then::Fallback,
    })
}

fn dial(wish: &Wish<'_>, from: &str) -> Errand {
    let voice = format!("{}/webhooks/{WORKFLOW}", wish.origin);
    let mut call = HttpCall::new(Method::Post, Endpoint::Twilio("/Calls.json".to_owned()), DIAL_MS);
    let fields = [
        ("To", wish.to),
        ("From", from),
        ("Url", &voice),
        ("Method", "POST"),
        ("FallbackUrl", &format!("{voice}/next")),
        ("FallbackMethod", "POST"),
        ("StatusCallback", &format!("{}/webhooks/twilio/status", wish.origin)),
        ("StatusCallbackMethod", "POST"),
        ("Timeout", "30"),
        // Whatever becomes of this command, the call ends.
        ("TimeLimit", "120"),
    ];
    call.body = Body::Form(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec());
    Errand::Http(Box::new(call))
}

/// A server of its own for this one call: a journal in memory, one workflow, and nobody who leads calls back by REST.
struct House {
    news: tokio::sync::Mutex<mpsc::Receiver<News>>,
    server: ServerHandle,
    _runtime: Arc<Runtime>,
    _folder: TempDir,
}

impl House {
    fn open(config: &Config, origin: &str) -> Result<House, Finding> {
        let broken = |error: &dyn std::fmt::Display| {
            failed(
                format!("the server for the call does not start: {error}"),
                "make room in the folder for temporary files",
            )
        };
        let folder = tempfile::Builder::new()
            .prefix("holdline-live-call-")
            .tempdir()
            .map_err(|error| broken(&error))?;
        std::fs::write(folder.path().join(format!("{WORKFLOW}.yaml")), LINE)
            .map_err(|error| broken(&error))?;
        let mut config = config.clone();
        config.flows.dir = folder.path().to_owned();
        config.flows.reload = false;
        config.journal.kind = JournalKind::Memory;
        config.journal.path = folder.path().join("data");
        config.default_workflow = None;
        config.calls.overflow_workflow = None;
        // The network is to decide alone.
        config.twilio.account_sid.clear();
        config.calls.return_grace = Duration::from_millis(UNTIL_BACK_MS) * 2;
        let listener = TcpListener::bind(config.public.bind).map_err(|error| {
            let cure = "stop the server for the length of this call (a minute): its stream can only be cut off from inside";
            failed(format!("the public listener {} is not to be had: {error}", config.public.bind), cure)
        })?;
        let parts = parts(&config).map_err(|error| broken(&error))?;
        let runtime = Arc::new(Runtime::start(&config, origin.to_owned(), parts));
        let (tell, news) = mpsc::channel(NEWS_MAX);
        let routes = runtime.configure_public();
        let server = HttpServer::new(move || {
            App::new().app_data(web::Data::new(tell.clone())).wrap(from_fn(watched)).configure(routes.clone())
        })
        .on_connect(on_connect)
        .disable_signals()
        .shutdown_timeout(1)
        .workers(1)
        .listen(listener)
        .map_err(|error| broken(&error))?
        .run();
        let handle = server.handle();
        actix_rt::spawn(server);
        Ok(House { news: tokio::sync::Mutex::new(news), server: handle, _runtime: runtime, _folder: folder })
    }

    async fn close(self) {
        self.server.stop(false).await;
    }
}

/// Tells of each request, and marks the ways back in the document that answers it.
async fn watched(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let tell = request.app_data::<web::Data<mpsc::Sender<News>>>().cloned();
    let wire = request.conn_data::<Wire>().cloned();
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let answer = next.call(request).await?.map_into_boxed_body();
    let told = match (answer.status().as_u16(), wire) {
        (101, Some(wire)) => News::StreamUp(wire),
        _ => News::Came { target },
    };
    // Whoever placed the call may have seen enough.
    let _ = tell.map(|tell| tell.try_send(told));
    if answer.status() != 200 {
        return Ok(answer);
    }
    let (request, response) = answer.into_parts();
    let (mut response, body) = response.into_parts();
    let body = to_bytes(body).await?;
    let marked = marked(&String::from_utf8_lossy(&body));
    response.headers_mut().remove(CONTENT_LENGTH);
    Ok(ServiceResponse::new(request, response.set_body(BoxBody::new(marked))))
}

/// The document, with the name of each way back in its address.
fn marked(document: &str) -> String {
    let by_action = add(document, "<Connect action=\"", '"', BY_ACTION);
    match by_action.rfind("<Redirect") {
        None => by_action,
        Some(at) => {
            let (before, tail) = by_action.split_at(at);
            format!("{before}{}", add(tail, ">", '<', BY_REDIRECT))
        }
    }
}

/// Puts one more field behind the query of the address that begins after `opening`.
fn add(document: &str, opening: &str, closing: char, field: &str) -> String {
    let Some((before, rest)) = document.split_once(opening) else { return document.to_owned() };
    let end = rest.find([closing, '#']).unwrap_or(rest.len());
    let (address, after) = rest.split_at(end);
    let joint = if address.contains('?') { "&amp;" } else { "?" };
    format!("{before}{opening}{address}{joint}{field}{after}")
}

const WORKFLOW: &str = "holdline-live-call";
/// Words by the network, so that whoever answers knows; then a stream that stays up.
const LINE: &str = "\
id: holdline-live-call
tasks:
  - { type: talk, parameters: { text: This is a test of your line. Please do not hang up. } }
  - { type: echo, parameters: { duration: 100s } }
";
const BY_ACTION: &str = "back=action";
const BY_REDIRECT: &str = "back=redirect";
const DIAL_MS: u64 = 15_000;
/// It rings, somebody answers, and hears a sentence.
const UNTIL_STREAM: Duration = Duration::from_secs(60);
const SPEAKS_FOR: Duration = Duration::from_secs(2);
/// The network itself tries for 15 s to reach a server that is gone.
const UNTIL_BACK_MS: u64 = 20_000;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// One call asks a handful of times.
const NEWS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_back_is_known_by_its_mark() {
        let document = "<Response><Connect action=\"https://h/webhooks/w/next?x=1#rc=5&amp;rp=all\"><Stream/></Connect>\
                        <Redirect method=\"POST\">https://h/webhooks/w/next?x=1#rc=5</Redirect></Response>";
        let marked = marked(document);
        assert!(marked.contains("next?x=1&amp;back=action#rc=5&amp;rp=all\">"), "{marked}");
        assert!(
            marked.contains(">https://h/webhooks/w/next?x=1&amp;back=redirect#rc=5</Redirect>"),
            "{marked}"
        );
        assert_eq!(way_of("/webhooks/w/next?x=1&back=action"), Some(Then::Action));
        assert_eq!(way_of("/webhooks/w/next?x=1&back=redirect"), Some(Then::Redirect));
        assert_eq!(way_of("/webhooks/w/next"), Some(Then::Fallback));
        assert_eq!(way_of("/webhooks/twilio/status"), None);
        assert_eq!(super::marked("<Response/>"), "<Response/>");
    }
}
