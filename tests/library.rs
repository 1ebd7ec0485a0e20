//! Holdline inside another program: the builder, its examples, and what only such a program sees.

mod support;

#[allow(dead_code)] // its main
#[path = "../examples/embed.rs"]
mod embed;

#[allow(dead_code)]
#[path = "../examples/custom_action.rs"]
mod custom_action;

#[path = "../examples/test_my_flow.rs"]
mod test_my_flow;

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use futures::future::BoxFuture;
use holdline::action::{ErrorClass, Failed, Parameter, ServiceCall, Shape, Trigger};
use holdline::config::PublicUrl;
use holdline::speech::{Saying, Speech, Spoken};
use holdline::{Call, Code, Config, NotStarted, Runtime};
use holdline_harness::network::real::{Network, Story, place};
use holdline_harness::network::{Experience, LineConfig, Script, Status};
use serde_json::{Map, Value, json};
use support::until;

/// A program such as `examples/embed.rs`.
struct Program {
    runtime: Arc<Runtime>,
    origin: String,
    server: ServerHandle,
    data: tempfile::TempDir,
}

impl Program {
    async fn start() -> Program {
        // A client wants its crypto library named even if it never speaks TLS.
        Network::new().unwrap();
        Program::on(tempfile::tempdir().unwrap()).await
    }

    async fn on(data: tempfile::TempDir) -> Program {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}/phone", listener.local_addr().unwrap());
        let runtime = embed::start(&origin, data.path()).await.unwrap();
        let server = embed::serve(&runtime, listener).unwrap();
        let handle = server.handle();
        actix_rt::spawn(server);
        Program { runtime, origin, server: handle, data }
    }

    fn line(&self, seed: &str) -> LineConfig {
        let mut line = LineConfig::new(format!("{}/webhooks/hello", self.origin), seed);
        line.status_url = Some(format!("{}/webhooks/twilio/status", self.origin));
        line.fallback_url = Some(format!("{}/webhooks/hello/next", self.origin));
        line.say_per_character = Duration::from_millis(10);
        line
    }

    fn address(&self, path: &str) -> String {
        format!("{}{path}", self.origin.trim_end_matches("/phone"))
    }

    async fn one_live_call(&self) -> Call {
        until("one live call", async || self.runtime.calls().list().await.unwrap().pop()).await
    }
}

#[actix_rt::test]
async fn an_app_of_its_own_takes_calls_under_a_prefix_and_speaks_into_them() {
    let program = Program::start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = client.get(program.address("/")).send().await.unwrap().text().await.unwrap();
    assert_eq!(page, "0 live calls\n");

    let script = Script::parse("after \"Press 1\" +0.05 presses 1\n").unwrap();
    let calling = actix_rt::spawn(place(program.line("one"), script, |_, _| ()));
    let call = program.one_live_call().await;
    assert_eq!((call.workflow.as_str(), call.from.as_str()), ("hello", "+14155550100"));
    let page = client.get(program.address("/")).send().await.unwrap().text().await.unwrap();
    assert!(page.starts_with("1 live calls") && page.contains(&call.sid), "{page}");
    let said = client.post(program.address(&format!("/calls/{}/say", call.sid))).body("A word from us.");
    assert_eq!(said.send().await.unwrap().status(), 200);

    let story: Story = calling.await.unwrap().unwrap();
    assert_eq!(story.status, Status::Completed);
    let heard = |words: &str| {
        let hears = |(_, lived): &(Duration, Experience)| match lived {
            Experience::Hears { text } => text.contains(words),
            _ => false,
        };
        story.lived.iter().any(hears)
    };
    assert!(heard("Hello from a program of your own"), "{:?}", story.lived);
    assert!(heard("Hello once more"), "the key came back under the prefix: {:?}", story.lived);
    assert!(heard("A word from us."), "{:?}", story.lived);

    let calls = program.runtime.calls();
    let ended = until("its end", async || {
        calls.find(&call.sid).await.unwrap().filter(|call| call.ended_at.is_some())
    })
    .await;
    assert_eq!((ended.state.as_str(), ended.digits.as_str()), ("ended", "1"));
    assert!(ended.more.contains_key("exchanges") && !ended.more.contains_key("sid"));
    assert!(calls.timeline(&call.sid).await.unwrap().to_string().contains("Hello once more"));
    assert_eq!(calls.hang_up(&call.sid).await.unwrap_err().code(), Code::AlreadyEnded);
    assert_eq!(calls.say("CA0", "x").await.unwrap_err().code(), Code::CallNotFound);
    assert_eq!(calls.find("CA0").await.unwrap(), None);

    // The control routes, under a prefix of their own.
    let shown = client.get(program.address(&format!("/holdline/v1/calls/{}", call.sid)));
    let shown: Value = shown.send().await.unwrap().json().await.unwrap();
    assert_eq!(shown["sid"], json!(call.sid));
    for path in ["/holdline/health", "/phone/health", "/phone/ready"] {
        assert_eq!(client.get(program.address(path)).send().await.unwrap().status(), 200, "{path}");
    }
    let nothing = client.get(program.address("/holdline/v1/nothing")).send().await.unwrap();
    assert_eq!(nothing.status(), 404);
    assert!(nothing.text().await.unwrap().contains("not_found"));
    assert!(program.runtime.drain(std::future::pending()).await);
    assert_eq!(program.runtime.inventory().await, holdline::runtime::Inventory::default());
    program.server.stop(true).await;
}

#[actix_rt::test]
async fn two_runtimes_live_in_one_process_and_know_nothing_of_each_other() {
    let (one, two) = (Program::start().await, Program::start().await);
    let calling = actix_rt::spawn(place(two.line("two"), Script::default(), |_, _| ()));
    let call = two.one_live_call().await;
    assert_eq!(one.runtime.calls().list().await.unwrap(), vec![]);
    assert_eq!(one.runtime.calls().find(&call.sid).await.unwrap(), None);
    // The first one closes; the second one's call goes on.
    assert!(one.runtime.drain(std::future::pending()).await);
    assert_eq!(calling.await.unwrap().unwrap().status, Status::Completed);
    let refused = place(one.line("three"), Script::default(), |_, _| ()).await.unwrap();
    assert_ne!(refused.status, Status::Completed, "a house that drains takes no new call");

    // The next one on the same data goes on where the one before it stopped, before `start` returns.
    let (data, sid) = (two.data, call.sid);
    two.server.stop(true).await;
    two.runtime.close().await;
    assert!(two.runtime.calls().find(&sid).await.is_err(), "what is closed knows nothing");
    let again = Program::on(data).await;
    assert_eq!(again.runtime.calls().find(&sid).await.unwrap().unwrap().state, "ended");
}

#[actix_rt::test]
async fn what_cannot_start_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = |data: &Path| {
        let mut config = Config::default();
        config.journal.path = data.to_owned();
        config.flows.dir = folder.path().join("none");
        config
    };
    let refused = async |builder: holdline::Builder| match builder.start().await {
        Ok(_) => panic!("it has started"),
        Err(refused) => refused,
    };
    let (free, data) = (folder.path().join("free"), folder.path().join("data"));
    let bad_flow = Runtime::builder(config(&free)).flow("a", "tasks:\n  - type: tlak\n");
    let refusal = refused(bad_flow).await;
    assert!(matches!(refusal, NotStarted::Flow { .. }));
    assert!(refusal.to_string().contains("a:2:11"), "{refusal}");
    assert!(refusal.to_string().contains("talk"), "{refusal}");

    std::fs::write(folder.path().join("b.yaml"), "tasks: [{ type: empty }]").unwrap();
    let twice = Runtime::builder(config(&free)).flows(folder.path()).flow("b", "tasks: [{ type: empty }]");
    assert!(matches!(refused(twice).await, NotStarted::FlowIsAFile { .. }));

    let refusal = refused(Runtime::builder(config(&free)).origin("example.com/phone")).await;
    assert!(refusal.to_string().contains("https://example.com/phone"), "{refusal}");

    let mut unknown = config(&free);
    unknown.public.bind.set_port(0);
    unknown.public.url = PublicUrl::Bound;
    assert!(matches!(refused(Runtime::builder(unknown)).await, NotStarted::NoOrigin));

    let first = Runtime::builder(config(&data)).flow("a", "tasks: [{ type: empty }]").start().await.unwrap();
    let refusal = refused(Runtime::builder(config(&data))).await;
    assert!(matches!(refusal, NotStarted::Journal(_)), "{refusal}");
    assert!(refusal.to_string().contains("in use by another holdline"), "{refusal}");
    drop(first);

    std::fs::write(folder.path().join("file"), "").unwrap();
    let refusal = refused(Runtime::builder(config(&folder.path().join("file")))).await;
    assert!(refusal.to_string().contains("[journal] path"), "{refusal}");
}

#[test]
fn the_examples_go_as_they_say() {
    custom_action::main();
    test_my_flow::main();
}

const LEADS: &str = r#"
triggers: [{ type: acme/lead, name: lead, parameters: { region: north } }]
tasks: [{ type: acme/lookup, parameters: { number: "${lead.number}" } }]
"#;

static LEAD: Trigger = Trigger::new("acme/lead", "A lead came in.").parameters(&[Parameter::required(
    "region",
    Shape::Text,
    "Of whom.",
)]);

#[actix_rt::test]
async fn own_actions_triggers_and_voices_work_in_the_server_and_nothing_is_asked_under_two_keys() {
    Network::new().unwrap();
    let data = tempfile::tempdir().unwrap();
    let (asked, spoken) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let book = asked.clone();
    // The first answer of each kind is lost.
    let customers = move |call: ServiceCall| {
        let mut book = book.lock().unwrap();
        let again = book.contains(&call.idempotency_key);
        book.push(call.idempotency_key.clone());
        async move {
            match again {
                true => custom_action::customers(call).await,
                false => Err(Failed::unavailable("not now")),
            }
        }
    };
    let mut config = Config::default();
    config.journal.path = data.path().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let runtime = Runtime::builder(config)
        .origin(origin.as_str())
        .action(custom_action::LookUp)
        .service("customers", customers)
        .trigger(&LEAD)
        .speech(Hum(spoken.clone()))
        .flow("greeting", GREETING)
        .flow("leads", LEADS)
        .start()
        .await
        .unwrap();
    let routes = runtime.configure_public();
    let server = actix_web::HttpServer::new(move || actix_web::App::new().configure(routes.clone()));
    let server = server.on_connect(holdline::on_connect).workers(1).disable_signals();
    let server = server.listen(listener).unwrap().run();
    let handle = server.handle();
    actix_rt::spawn(server);

    let line = LineConfig::new(format!("{origin}/webhooks/greeting"), "own");
    let story = place(line, Script::default(), |_, _| ()).await.unwrap();
    assert_eq!(story.status, Status::Completed);
    assert_eq!(*spoken.lock().unwrap(), ["Hello, Ada."], "{:?}", story.lived);
    let heard = story.lived.iter().find_map(|(_, lived)| match lived {
        Experience::HearsAudio { ms, .. } => Some(*ms),
        _ => None,
    });
    assert!(heard.is_some_and(|ms| (450..=550).contains(&ms)), "{:?}", story.lived);
    let keys = std::mem::take(&mut *asked.lock().unwrap());
    assert!(keys.len() == 2 && keys[0] == keys[1], "an attempt and another one are the same wish: {keys:?}");

    let lead = json!({ "number": "+14155550100" });
    let north = |parameters: &Map<String, Value>| parameters["region"] == "north";
    let begun = runtime.fire("acme/lead", "lead 7", lead.clone(), north).await.unwrap();
    assert_eq!(begun.len(), 1);
    until("the question", async || (!asked.lock().unwrap().is_empty()).then_some(())).await;
    assert_eq!(runtime.fire("acme/lead", "lead 7", lead.clone(), north).await.unwrap(), begun);
    assert_ne!(runtime.fire("acme/lead", "lead 8", lead.clone(), north).await.unwrap(), begun);
    assert!(runtime.fire("acme/lead", "lead 9", lead.clone(), |_| false).await.unwrap().is_empty());
    assert_eq!(runtime.fire("acme/order", "1", lead, north).await.unwrap_err().code(), Code::InvalidRequest);
    until("the end", async || (runtime.inventory().await.workflows == 0).then_some(())).await;
    let keys = asked.lock().unwrap().clone();
    let each = |of: &str| keys.iter().filter(|key| key.starts_with(of)).count();
    assert_eq!(each(&begun[0].to_string()), 2, "told twice, done once (and tried twice): {keys:?}");
    handle.stop(true).await;
}

const GREETING: &str = r#"
media: always
tasks:
  - type: acme/lookup
    name: customer
    parameters: { number: "${call.from}" }
    retry: { attempts: 2, initial: 50ms }
  - { type: talk, parameters: { text: "Hello, ${customer.name}." } }
"#;

/// Hums for half a second, whatever it is to say.
struct Hum(Arc<Mutex<Vec<String>>>);

impl Speech for Hum {
    fn speak(&self, saying: Saying) -> BoxFuture<'static, Result<Spoken, (ErrorClass, String)>> {
        self.0.lock().unwrap().push(saying.text);
        let hum = (0..4000).map(|at| if at % 20 < 10 { 0x90 } else { 0x10 }).collect();
        Box::pin(std::future::ready(Ok(Spoken::Ulaw(hum))))
    }
}

#[actix_rt::test]
async fn what_an_action_of_ones_own_declares_is_checked() {
    let data = tempfile::tempdir().unwrap();
    let mut config = Config::default();
    config.journal.path = data.path().to_owned();
    let builder = Runtime::builder(config).action(custom_action::LookUp);
    let started = builder.flow("a", "tasks:\n  - { type: acme/lookup, parameters: { nubmer: x } }\n");
    let Err(refusal) = started.start().await else { panic!("it has started") };
    let said = refusal.to_string();
    assert!(said.contains("nubmer") && said.contains("number"), "{said}");
    let mut config = Config::default();
    config.journal.path = data.path().join("other");
    let twice = Runtime::builder(config).action(custom_action::LookUp).action(custom_action::LookUp);
    let Err(refusal) = twice.start().await else { panic!("it has started") };
    assert!(refusal.to_string().contains("\"acme/lookup\" is taken"), "{refusal}");
}
