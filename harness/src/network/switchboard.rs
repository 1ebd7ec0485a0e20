//! The REST API of the pretend network over a real socket: asked about its calls, and for new ones, which it then
//! places for real.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdline_core::Now;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::config::LineConfig;
use super::date;
use super::effect::Experience;
use super::line::Line;
use super::real::{self, Network, Question, Story};
use super::rest::{self, Account, ApiReply, ApiRequest, Asked, Dialled};
use super::sign;

/// Cheap to clone; it answers until the last one is dropped.
#[derive(Clone)]
pub struct Switchboard {
    origin: String,
    inner: Arc<Inner>,
    _listening: Arc<Listening>,
}

struct Inner {
    account: Account,
    network: Network,
    /// What every call that is asked for is like.
    like: LineConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: BTreeMap<String, Known>,
    /// Method and path of each request, in order.
    asked: Vec<String>,
    stories: Vec<JoinHandle<Option<Story>>>,
    lose_answers: u32,
    refuse: Vec<ApiReply>,
    /// The account's numbers, by their ids.
    numbers: BTreeMap<String, serde_json::Value>,
    /// How far its clock is ahead.
    ahead: Duration,
}

struct Known {
    line: mpsc::Sender<Question>,
    /// As it stood at last.
    resource: serde_json::Value,
}

struct Listening(JoinHandle<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Bytes of one request.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Questions to one call that wait.
const QUESTIONS_MAX: usize = 64;

impl Switchboard {
    /// On a free port of this machine. `like` is what every call that is asked for is like.
    pub async fn start(account: Account, network: Network, like: LineConfig) -> std::io::Result<Switchboard> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let inner = Arc::new(Inner { account, network, like, state: Mutex::default() });
        let serving = inner.clone();
        let listening = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(serving.clone(), socket));
            }
        });
        Ok(Switchboard { origin, inner, _listening: Arc::new(Listening(listening)) })
    }

    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Somebody else places a call, which is none of the server's own; the sid of it.
    pub fn dial(&self, to: &str, from: &str, url: &str) -> String {
        let dialled = Dialled {
            to: to.to_owned(),
            from: from.to_owned(),
            url: url.to_owned(),
            fallback_url: None,
            status_url: None,
            status_events: Vec::new(),
            timeout: Duration::from_secs(60),
        };
        let reply = self.inner.dial(&dialled);
        reply.body.get("sid").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    }

    /// A call comes in, and is known to the API from then on. Lives through it.
    pub async fn call_in(
        &self,
        mut config: LineConfig,
        on_experience: impl FnMut(Duration, &Experience) + Send,
    ) -> Option<Story> {
        config.account_sid.clone_from(&self.inner.account.sid);
        let questions = self.inner.register(&config);
        self.inner.live(config, questions, on_experience).await
    }

    /// Does what it is asked to, so many times more, and answers 500.
    pub fn loses_answers(&self, times: u32) {
        self.inner.state().lose_answers += times;
    }

    /// Answers the next request for a call like this, and does nothing.
    pub fn refuses(&self, status: u16, code: u32, message: &str) {
        let body = json!({"code": code, "message": message, "status": status});
        self.inner.state().refuse.push(ApiReply { status, body });
    }

    /// The account has this number, which calls nobody yet; its id.
    pub fn owns(&self, number: &str) -> String {
        let sid = sign::sid("PN", number);
        let resource = json!({
            "sid": sid, "account_sid": self.inner.account.sid, "phone_number": number, "friendly_name": number,
            "voice_url": "", "voice_method": "POST", "voice_fallback_url": "", "voice_fallback_method": "POST",
            "status_callback": "", "status_callback_method": "POST", "voice_application_sid": null,
            "trunk_sid": null, "capabilities": { "voice": true, "sms": true, "mms": false },
        });
        self.inner.state().numbers.insert(sid.clone(), resource);
        sid
    }

    /// Somebody changes a number at the network itself, in the words of its resource.
    pub fn set_number(&self, sid: &str, key: &str, value: impl Into<serde_json::Value>) {
        if let Some(number) = self.inner.state().numbers.get_mut(sid) {
            number[key] = value.into();
        }
    }

    /// A number's resource, as it stands.
    pub fn number(&self, sid: &str) -> serde_json::Value {
        self.inner.state().numbers.get(sid).cloned().unwrap_or_default()
    }

    /// Its clock is so far ahead of this machine's.
    pub fn is_ahead(&self, by: Duration) {
        self.inner.state().ahead = by;
    }

    /// Method and path of what it was asked, in order.
    pub fn asked(&self) -> Vec<String> {
        self.inner.state().asked.clone()
    }

    /// Waits for the calls that it has placed, and tells how each went.
    pub async fn stories(&self) -> Vec<Story> {
        let stories = std::mem::take(&mut self.inner.state().stories);
        let mut lived = Vec::new();
        for story in stories {
            lived.extend(story.await.ok().flatten());
        }
        lived
    }
}

impl Inner {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(self: &Arc<Self>, request: ApiRequest) -> ApiReply {
        let path = request.target.split('?').next().unwrap_or_default().to_owned();
        self.state().asked.push(format!("{} {path}", request.method));
        let asked = match self.account.read(&request) {
            Ok(asked) => asked,
            Err(refusal) => return refusal,
        };
        match asked {
            Asked::Dial(dialled) => self.dial(&dialled),
            Asked::List { fields } => {
                let wanted = |resource: &serde_json::Value, name: &str, key: &str| {
                    let field = fields.iter().find(|(known, _)| known == name);
                    field.is_none_or(|(_, value)| resource.get(key).is_some_and(|is| is == value))
                };
                let state = self.state();
                let calls: Vec<_> = state
                    .calls
                    .values()
                    .map(|known| &known.resource)
                    .filter(|call| wanted(call, "To", "to") && wanted(call, "From", "from"))
                    .collect();
                ApiReply { status: 200, body: json!({ "calls": calls }) }
            }
            Asked::Account => {
                let sid = &self.account.sid;
                let body =
                    json!({ "sid": sid, "friendly_name": "pretend", "status": "active", "type": "Full" });
                ApiReply { status: 200, body }
            }
            Asked::Numbers { fields } => {
                let wanted = fields.iter().find(|(known, _)| known == "PhoneNumber");
                let state = self.state();
                let numbers: Vec<_> = state
                    .numbers
                    .values()
                    .filter(|number| wanted.is_none_or(|(_, value)| number["phone_number"] == *value))
                    .collect();
                let body = json!({ "incoming_phone_numbers": numbers, "page": 0, "next_page_uri": null });
                ApiReply { status: 200, body }
            }
            Asked::Number { number, fields } => {
                let mut state = self.state();
                let Some(resource) = state.numbers.get_mut(&number) else {
                    return ApiReply::not_found(&number);
                };
                let mut changed = resource.clone();
                match rest::set_number(&mut changed, &fields) {
                    Ok(()) => {
                        *resource = changed.clone();
                        ApiReply { status: 200, body: changed }
                    }
                    Err(refusal) => refusal,
                }
            }
            Asked::Fetch { ref call } | Asked::End { ref call } | Asked::Redirect { ref call, .. } => {
                let call = call.clone();
                self.about(&call, asked).await
            }
        }
    }

    /// Asks the call itself; one that is over stands as it stood.
    async fn about(&self, call: &str, asked: Asked) -> ApiReply {
        let line = self.state().calls.get(call).map(|known| known.line.clone());
        let Some(line) = line else { return ApiReply::not_found(call) };
        let (answer, answered) = oneshot::channel();
        let told = match line.send(Question { asked, answer }).await {
            Ok(()) => answered.await.ok(),
            Err(_) => None,
        };
        let mut state = self.state();
        let Some(known) = state.calls.get_mut(call) else { return ApiReply::not_found(call) };
        if let Some(reply) = told {
            if reply.status == 200 {
                known.resource = reply.body.clone();
            }
            return reply;
        }
        ApiReply { status: 200, body: known.resource.clone() }
    }

    /// From here on the API knows of the call, of which nothing has happened yet.
    fn register(&self, config: &LineConfig) -> mpsc::Receiver<Question> {
        let mut resource = Line::new(config.clone()).resource(Now::default());
        if let Some(resource) = resource.as_object_mut() {
            resource.insert("status".into(), "queued".into());
            resource.remove("date_created");
        }
        let (line, questions) = mpsc::channel(QUESTIONS_MAX);
        self.state().calls.insert(config.call_sid.clone(), Known { line, resource });
        questions
    }

    async fn live(
        &self,
        config: LineConfig,
        questions: mpsc::Receiver<Question>,
        on_experience: impl FnMut(Duration, &Experience),
    ) -> Option<Story> {
        let call = config.call_sid.clone();
        let (_, hands) = mpsc::channel(1);
        let story = self.network.place_for(config, hands, questions, on_experience).await.ok();
        let mut state = self.state();
        if let (Some(story), Some(known)) = (&story, state.calls.get_mut(&call))
            && let Some(resource) = known.resource.as_object_mut()
        {
            resource.insert("status".into(), story.status.word().into());
            resource.insert("duration".into(), story.duration.as_secs().to_string().into());
        }
        story
    }

    fn dial(self: &Arc<Self>, dialled: &Dialled) -> ApiReply {
        let mut state = self.state();
        if !state.refuse.is_empty() {
            return state.refuse.remove(0);
        }
        let mut config = self.like.clone().of_api(dialled);
        config.call_sid = sign::sid("CA", &format!("{} placed {}", self.account.sid, state.calls.len()));
        config.account_sid.clone_from(&self.account.sid);
        let call = config.call_sid.clone();
        drop(state);
        let questions = self.register(&config);
        let mut state = self.state();
        let resource = state.calls.get(&call).map(|known| known.resource.clone()).unwrap_or_default();
        let inner = self.clone();
        state.stories.push(tokio::spawn(async move { inner.live(config, questions, |_, _| ()).await }));
        if state.lose_answers > 0 {
            state.lose_answers -= 1;
            return ApiReply {
                status: 500,
                body: json!({"status": 500, "message": "Internal Server Error"}),
            };
        }
        ApiReply { status: 201, body: resource }
    }
}

/// One request a connection.
async fn serve(inner: Arc<Inner>, mut socket: TcpStream) {
    let Some(request) = read(&mut socket).await else { return };
    let ApiReply { status, body } = inner.answer(request).await;
    let body = body.to_string();
    let ahead = u64::try_from(inner.state().ahead.as_millis()).unwrap_or(0);
    let date = date::http(real::wall_ms() + ahead);
    let answer = format!(
        "HTTP/1.1 {status} .\r\nDate: {date}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    // Whoever asked may have gone.
    let _ = socket.write_all(answer.as_bytes()).await;
    let _ = socket.shutdown().await;
}

async fn read(socket: &mut TcpStream) -> Option<ApiRequest> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let header = |name: &str| {
                head.lines().skip(1).find_map(|line| {
                    let (known, value) = line.split_once(':')?;
                    known.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
                })
            };
            let length = header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                let mut words = head.lines().next()?.split(' ');
                return Some(ApiRequest {
                    method: words.next()?.to_owned(),
                    target: words.next()?.to_owned(),
                    authorization: header("authorization"),
                    body: body.to_owned(),
                });
            }
        }
        let mut piece = [0; 4096];
        match socket.read(&mut piece).await {
            Ok(count) if count > 0 && bytes.len() + count <= REQUEST_BYTES_MAX => {
                bytes.extend_from_slice(piece.get(..count)?);
            }
            _ => return None,
        }
    }
}
