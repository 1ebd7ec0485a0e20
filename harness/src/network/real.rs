//! Pretend calls over real sockets and real time: one task a call, however many.
//!
//! The line decides everything; this file moves bytes. It is the only one here that knows a clock.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::stream::FuturesUnordered;
use futures_util::{SinkExt, StreamExt};
use holdline_core::{Now, Tick};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::caller::{Act, Script};
use super::config::LineConfig;
use super::effect::{Effect, Experience, Input, Reply, Request, RequestId, SocketId, Status};
use super::line::Line;
use super::rest::{ApiReply, Asked};
use super::tone::SILENCE;
use super::twiml::Method;
use super::xml::DOCUMENT_BYTES_MAX;

/// The pretend network's connections to the world. Cheap to clone; one serves any number of calls.
#[derive(Debug, Clone)]
pub struct Network {
    client: reqwest::Client,
}

/// A call as it was lived through.
#[derive(Debug, Clone, PartialEq)]
pub struct Story {
    pub call_sid: String,
    pub status: Status,
    /// From the answer to the end.
    pub duration: Duration,
    /// Each thing with its time since the call began to ring.
    pub lived: Vec<(Duration, Experience)>,
    /// What the caller heard on streams, µ-law from the beginning of the call; empty unless `hear_frames` is set.
    pub heard: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("expected an HTTP client, got {0}")]
    Client(#[from] reqwest::Error),
    #[error("expected a plain http or ws URL, got `{0}`: this build speaks no TLS (feature `tls`)")]
    NoTls(String),
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What a piece of work that ran beside the line has come to.
enum Done {
    Input(Input),
    Asked(Question),
    Opened(SocketId, Box<Socket>),
    Nothing,
}

/// The REST API is asked about a call.
#[derive(Debug)]
pub struct Question {
    pub asked: Asked,
    pub answer: oneshot::Sender<ApiReply>,
}

type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

const CONNECT_FOR: Duration = Duration::from_secs(5);
/// The network waits that long for the other half of a close.
const CLOSE_FOR: Duration = Duration::from_secs(2);
/// Ten seconds of frames: a server that does not read loses the caller's sound, never the call.
const UNSENT_MAX: usize = 500;
/// The recording of a caller's ear is kept in memory.
const HEARD_BYTES_MAX: usize = 8000 * 3600 * 4;

/// One call, from the first ring to the last callback.
pub async fn place(
    mut config: LineConfig,
    script: Script,
    on_experience: impl FnMut(Duration, &Experience),
) -> Result<Story, Error> {
    config.script = script;
    // Nobody else presses keys: the sender is dropped at once.
    let (_, hands) = mpsc::channel(1);
    Network::new()?.place(config, hands, on_experience).await
}

impl Network {
    pub fn new() -> Result<Network, Error> {
        // Refused when one is there already, which then serves as well.
        #[cfg(feature = "tls")]
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_FOR)
            // A connection of its own for every request, so that a refused one is seen as what it is.
            .pool_max_idle_per_host(0)
            .no_proxy()
            .build()?;
        Ok(Network { client })
    }

    /// `hands` are what somebody at the keyboard does beside the script.
    pub async fn place(
        &self,
        config: LineConfig,
        hands: mpsc::Receiver<Act>,
        on_experience: impl FnMut(Duration, &Experience),
    ) -> Result<Story, Error> {
        // Nobody asks about it by REST: the sender is dropped at once.
        let (_, api) = mpsc::channel(1);
        self.place_for(config, hands, api, on_experience).await
    }

    /// As [`Network::place`], for a call that is asked about by REST as well.
    pub async fn place_for(
        &self,
        config: LineConfig,
        mut hands: mpsc::Receiver<Act>,
        mut api: mpsc::Receiver<Question>,
        on_experience: impl FnMut(Duration, &Experience),
    ) -> Result<Story, Error> {
        for url in [Some(&config.voice_url), config.fallback_url.as_ref(), config.status_url.as_ref()]
            .into_iter()
            .flatten()
        {
            refuse_tls(url)?;
        }
        let mut call = Call {
            client: self.client.clone(),
            began: Instant::now(),
            began_wall_ms: wall_ms(),
            story: Story {
                call_sid: config.call_sid.clone(),
                status: Status::Ringing,
                duration: Duration::ZERO,
                lived: Vec::new(),
                heard: Vec::new(),
            },
            line: Line::new(config),
            work: FuturesUnordered::new(),
            socket: None,
            on_experience,
        };
        let mut out = Vec::new();
        let now = call.now();
        call.line.begin(now, &mut out);
        call.perform(&mut out);
        while !(call.line.is_over() && call.work.is_empty()) {
            let input = call.next(&mut hands, &mut api).await;
            let now = call.now();
            match input {
                Some(Done::Input(input)) => call.line.handle(now, input, &mut out),
                Some(Done::Asked(Question { asked, answer })) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(call.line.asked(now, &asked, &mut out));
                }
                _ => call.line.wake(now, &mut out),
            }
            call.perform(&mut out);
        }
        Ok(call.story)
    }
}

struct Call<F> {
    client: reqwest::Client,
    line: Line,
    began: Instant,
    began_wall_ms: u64,
    story: Story,
    /// Requests, upgrades and closes under way.
    work: FuturesUnordered<Work>,
    socket: Option<LiveSocket>,
    on_experience: F,
}

impl<F: FnMut(Duration, &Experience)> Call<F> {
    fn now(&self) -> Now {
        let elapsed = self.began.elapsed();
        Now {
            tick: Tick(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)),
            wall_ms: self.began_wall_ms + u64::try_from(elapsed.as_millis()).unwrap_or(0),
        }
    }

    /// What comes next; `None` when it is time to wake the line.
    async fn next(
        &mut self,
        hands: &mut mpsc::Receiver<Act>,
        api: &mut mpsc::Receiver<Question>,
    ) -> Option<Done> {
        loop {
            let wake = self.line.wake_at().map(|at| self.began + Duration::from_micros(at.0));
            let done = tokio::select! {
                biased;
                done = self.work.next(), if !self.work.is_empty() => done.unwrap_or(Done::Nothing),
                heard = next_of(&mut self.socket), if self.socket.is_some() => self.heard(heard),
                Some(act) = hands.recv(), if !hands.is_closed() || !hands.is_empty() => Done::Input(Input::Caller(act)),
                Some(question) = api.recv(), if !api.is_closed() || !api.is_empty() => Done::Asked(question),
                () = sleep_until(wake.unwrap_or(self.began)), if wake.is_some() => return None,
                // Nothing is under way and nothing is due: the line has nothing to wait for.
                else => return None,
            };
            match done {
                Done::Input(_) | Done::Asked(_) => return Some(done),
                Done::Opened(socket, stream) => {
                    self.socket = Some(LiveSocket { id: socket, stream, unsent: VecDeque::new() });
                    return Some(Done::Input(Input::SocketUp { socket }));
                }
                // The line may be over by this: its owner looks.
                Done::Nothing if self.work.is_empty() && self.line.is_over() => return None,
                Done::Nothing => {}
            }
        }
    }

    fn heard(&mut self, heard: Heard) -> Done {
        let Some(live) = &self.socket else { return Done::Nothing };
        let socket = live.id;
        match heard {
            Heard::Text(text) => Done::Input(Input::SocketText { socket, text }),
            Heard::Binary => Done::Input(Input::SocketBinary { socket }),
            Heard::Closed(code) => {
                if let Some(live) = self.socket.take().filter(|_| code.is_some()) {
                    self.work.push(Box::pin(live.finish()));
                }
                Done::Input(Input::SocketClosed { socket, code })
            }
        }
    }

    fn perform(&mut self, out: &mut Vec<Effect>) {
        for effect in out.drain(..) {
            match effect {
                Effect::Request(request) => self.work.push(Box::pin(ask(self.client.clone(), request))),
                Effect::OpenSocket { socket, url, headers } => {
                    self.work.push(Box::pin(open(socket, url, headers)))
                }
                Effect::SendText { socket, text } => {
                    if let Some(live) = self.socket.as_mut().filter(|live| live.id == socket) {
                        live.send(Message::text(text));
                    }
                }
                Effect::CloseSocket { socket, code } => {
                    if let Some(mut live) = self.socket.take_if(|live| live.id == socket) {
                        live.unsent.push_back(Message::Close(Some(CloseFrame {
                            code: code.into(),
                            reason: "".into(),
                        })));
                        self.work.push(Box::pin(live.finish()));
                    }
                }
                Effect::AbortSocket { socket } => drop(self.socket.take_if(|live| live.id == socket)),
                Effect::Heard { at, audio } => keep(&mut self.story.heard, at, &audio),
                Effect::Experience(experience) => {
                    let at = self.began.elapsed();
                    if let Experience::Ended { status, duration } = &experience {
                        (self.story.status, self.story.duration) = (*status, *duration);
                    }
                    (self.on_experience)(at, &experience);
                    self.story.lived.push((at, experience));
                }
            }
        }
        // What was queued leaves now, not at the next thing that comes in.
        if let Some(live) = &mut self.socket {
            live.push_out(&mut Context::from_waker(std::task::Waker::noop()));
        }
    }
}

/// A stream's socket, written and read by whoever polls it: nothing here can block the call.
struct LiveSocket {
    id: SocketId,
    stream: Box<Socket>,
    unsent: VecDeque<Message>,
}

enum Heard {
    Text(String),
    Binary,
    Closed(Option<u16>),
}

async fn next_of(socket: &mut Option<LiveSocket>) -> Heard {
    match socket {
        Some(live) => poll_fn(|context| live.poll(context)).await,
        None => std::future::pending().await,
    }
}

impl LiveSocket {
    fn send(&mut self, message: Message) {
        // The oldest sound gives way; it is what the real network discards, too.
        if self.unsent.len() >= UNSENT_MAX {
            self.unsent.pop_front();
        }
        self.unsent.push_back(message);
    }

    /// Writes what the socket takes; false when it is broken.
    fn push_out(&mut self, context: &mut Context<'_>) -> bool {
        while !self.unsent.is_empty() {
            match self.stream.poll_ready_unpin(context) {
                Poll::Pending => break,
                Poll::Ready(Err(_)) => return false,
                Poll::Ready(Ok(())) => {
                    if let Some(message) = self.unsent.pop_front()
                        && self.stream.start_send_unpin(message).is_err()
                    {
                        return false;
                    }
                }
            }
        }
        !matches!(self.stream.poll_flush_unpin(context), Poll::Ready(Err(_)))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        // A broken pipe is told by the reader, which may still find the close frame that explains it.
        self.push_out(context);
        loop {
            return Poll::Ready(match std::task::ready!(self.stream.poll_next_unpin(context)) {
                Some(Ok(Message::Text(text))) => Heard::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(_))) => Heard::Binary,
                Some(Ok(Message::Close(frame))) => {
                    // 1005 stands for a close frame without a code.
                    Heard::Closed(Some(frame.map_or(1005, |frame| frame.code.into())))
                }
                Some(Ok(_)) => continue,
                Some(Err(_)) | None => Heard::Closed(None),
            });
        }
    }

    /// The closing handshake, within its time.
    async fn finish(mut self) -> Done {
        let end = Instant::now() + CLOSE_FOR;
        while let Some(message) = self.unsent.pop_front() {
            if !matches!(timeout_at(end, self.stream.send(message)).await, Ok(Ok(()))) {
                return Done::Nothing;
            }
        }
        let _ = timeout_at(end, self.stream.flush()).await;
        while matches!(timeout_at(end, self.stream.next()).await, Ok(Some(Ok(_)))) {}
        Done::Nothing
    }
}

async fn open(socket: SocketId, url: String, headers: Vec<(String, String)>) -> Done {
    match timeout(CONNECT_FOR, upgrade(&url, &headers)).await {
        Ok(Ok(stream)) => Done::Opened(socket, Box::new(stream)),
        Ok(Err(tungstenite::Error::Http(answer))) => {
            Done::Input(Input::SocketRefused { socket, status: answer.status().as_u16() })
        }
        _ => Done::Input(Input::SocketRefused { socket, status: 0 }),
    }
}

async fn upgrade(url: &str, headers: &[(String, String)]) -> Result<Socket, tungstenite::Error> {
    let mut request = url.into_client_request()?;
    for (name, value) in headers {
        let name = HeaderName::try_from(name.as_str()).map_err(tungstenite::http::Error::from)?;
        let value = HeaderValue::try_from(value.as_str()).map_err(tungstenite::http::Error::from)?;
        request.headers_mut().insert(name, value);
    }
    let tls = match request.uri().scheme_str() {
        Some("ws") => false,
        Some("wss") if cfg!(feature = "tls") => true,
        _ => return Err(tungstenite::Error::Url(tungstenite::error::UrlError::UnsupportedUrlScheme)),
    };
    let host = request.uri().host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let stream =
        TcpStream::connect((host, request.uri().port_u16().unwrap_or(if tls { 443 } else { 80 }))).await?;
    // A frame is small and must not wait for the next one.
    stream.set_nodelay(true)?;
    // Without TLS the scheme was refused above.
    #[cfg(feature = "tls")]
    let (socket, _) = tokio_tungstenite::client_async_tls(request, stream).await?;
    #[cfg(not(feature = "tls"))]
    let (socket, _) = tokio_tungstenite::client_async(request, MaybeTlsStream::Plain(stream)).await?;
    Ok(socket)
}

async fn ask(client: reqwest::Client, request: Request) -> Done {
    let id = request.id;
    Done::Input(match timeout(request.total_for, answer_to(&client, request)).await {
        Ok(Ok(reply)) => Input::Answered { request: id, reply },
        Ok(Err(why)) => unanswered(id, &why),
        Err(_) => Input::TimedOut { request: id },
    })
}

/// A connection that breaks before its answer counts as one that was not made.
fn unanswered(request: RequestId, why: &reqwest::Error) -> Input {
    if why.is_timeout() && !why.is_connect() {
        Input::TimedOut { request }
    } else {
        Input::Refused { request }
    }
}

async fn answer_to(client: &reqwest::Client, request: Request) -> Result<Reply, reqwest::Error> {
    let mut asking = match request.method {
        Method::Post => client.post(&request.url),
        Method::Get => client.get(&request.url),
    };
    for (name, value) in &request.headers {
        asking = asking.header(name, value);
    }
    if let Some(body) = request.body {
        asking = asking.body(body);
    }
    let mut answer = asking.send().await?;
    let header =
        |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (content_type, location) = (header("content-type").unwrap_or_default(), header("location"));
    let status = answer.status().as_u16();
    let mut body = Vec::new();
    // One byte more than is allowed is enough to see that it is too large.
    while let Some(piece) = answer.chunk().await? {
        body.extend_from_slice(&piece);
        if body.len() > DOCUMENT_BYTES_MAX {
            break;
        }
    }
    Ok(Reply { status, content_type, location, body: String::from_utf8_lossy(&body).into_owned() })
}

/// Puts sound where it was heard, with silence before it.
fn keep(heard: &mut Vec<u8>, at: Duration, audio: &[u8]) {
    let place = usize::try_from(at.as_micros() / 125).unwrap_or(usize::MAX);
    if place.saturating_add(audio.len()) <= HEARD_BYTES_MAX {
        let place = place.max(heard.len());
        heard.resize(place, SILENCE);
        heard.extend_from_slice(audio);
    }
}

fn refuse_tls(url: &str) -> Result<(), Error> {
    let secure = url.starts_with("https:") || url.starts_with("wss:");
    if secure && !cfg!(feature = "tls") { Err(Error::NoTls(url.to_owned())) } else { Ok(()) }
}

#[allow(clippy::disallowed_methods)] // real calls have real times
pub(super) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}
