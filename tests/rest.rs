//! A real server and the pretend network's REST API, over real sockets: calls that are placed, led back and ended.

mod support;

use std::time::Duration;

use holdline::config::{Config, Secret};
use holdline::placing::{NotPlaced, Wish};
use holdline_core::CallId;
use holdline_core::metric;
use holdline_harness::network::real::Network;
use holdline_harness::network::rest::Account;
use holdline_harness::network::switchboard::Switchboard;
use holdline_harness::network::{Experience, FarEnd, LineConfig, OnAbruptClose, Script, Status, sign};
use serde_json::{Map, Value, json};
use support::hosted::Hosted;
use support::until;
use support::wire::Asker;

const KEY: &str = "a secret of the account";

const GREETING: (&str, &str) = (
    "greeting",
    "tasks:\n  - { type: talk, parameters: { text: \"Hello ${name}\" } }\noutputs:\n  - { name: greeted, value: \"${name}\" }\n",
);
const HELD: (&str, &str) = ("held", "tasks: [{ type: echo }]\n");

async fn network(change: impl FnOnce(&mut LineConfig)) -> Switchboard {
    // A client wants its crypto library named even if it never speaks TLS.
    let _ = Asker::new("http://127.0.0.1:1", None);
    let sid = sign::sid("AC", "the account");
    let account = Account { user: sid.clone(), password: KEY.to_owned(), sid };
    let mut like = LineConfig::new("http://127.0.0.1:1", "placed");
    like.auth_token = Some(KEY.to_owned());
    like.say_per_character = Duration::from_millis(5);
    like.far_ends = vec![
        ("+14155550111".to_owned(), FarEnd::answering(Duration::from_millis(50), Duration::from_secs(60))),
        ("+14155550122".to_owned(), FarEnd::busy()),
    ];
    change(&mut like);
    Switchboard::start(account, Network::new().unwrap(), like).await.unwrap()
}

fn house(network: &Switchboard) -> impl FnOnce(&mut Config) + use<> {
    let api_url = network.origin().to_owned();
    move |config| {
        config.twilio.account_sid = sign::sid("AC", "the account");
        config.twilio.auth_tokens = vec![Secret::new(KEY)];
        config.twilio.api_url = api_url;
        config.twilio.from = Some("+14155550199".to_owned());
        config.calls.return_grace = Duration::from_millis(300);
    }
}

fn wish(to: &str, workflow: &str) -> Wish {
    let mut variables = Map::new();
    variables.insert("name".to_owned(), json!("Ada"));
    variables.insert("call.from".to_owned(), json!("somebody else"));
    Wish { to: to.to_owned(), from: None, workflow: workflow.to_owned(), variables, timeout: Some(20) }
}

/// The call, once it is over.
async fn over(hosted: &Hosted, call: &CallId) -> Value {
    let asker = Asker::new(&hosted.control(), None);
    until("the call is over", async || {
        let told = asker.get(&format!("/v1/calls/{call}")).await;
        let view: Value = serde_json::from_str(&told.body).ok()?;
        (view["state"] == "ended").then_some(view)
    })
    .await
}

#[tokio::test]
async fn a_call_is_placed_rings_is_answered_and_ends_with_its_variables() {
    let network = network(|_| ()).await;
    let hosted = Hosted::start(&[GREETING], house(&network));
    let call = hosted.runtime.placing().place(wish("+14155550111", "greeting"), None).await.unwrap();
    let story = network.stories().await.remove(0);
    assert_eq!(story.status, Status::Completed);
    let said = Experience::Hears { text: "Hello Ada".into() };
    assert!(story.lived.iter().any(|(_, lived)| *lived == said), "{:#?}", story.lived);
    let view = over(&hosted, &call).await;
    assert_eq!((&view["direction"], &view["end_reason"]), (&json!("outbound-api"), &json!("completed")));
    assert_eq!(view["completion"]["subWorkflowOutputs"]["greeted"], "Ada");
    assert_eq!(view["from"], "+14155550199", "what the runtime knows is not for others to set");
}

#[tokio::test]
async fn a_call_that_nobody_answers_is_told_with_its_status() {
    let network = network(|_| ()).await;
    let hosted = Hosted::start(&[GREETING], house(&network));
    let call = hosted.runtime.placing().place(wish("+14155550122", "greeting"), None).await.unwrap();
    let view = over(&hosted, &call).await;
    assert_eq!((&view["status"], &view["end_reason"]), (&json!("busy"), &json!("busy")));
    assert_eq!(view["completion"]["callStatus"], "busy");
}

#[tokio::test]
async fn an_answer_that_is_lost_leads_to_one_call_and_so_does_the_same_key() {
    let network = network(|_| ()).await;
    let hosted = Hosted::start(&[GREETING], house(&network));
    network.loses_answers(1);
    let placing = hosted.runtime.placing();
    let first = placing.place(wish("+14155550111", "greeting"), Some(b"key")).await.unwrap();
    let again = placing.place(wish("+14155550111", "greeting"), Some(b"key")).await.unwrap();
    assert_eq!(first, again);
    let dials = |asked: &&String| asked.starts_with("POST") && asked.ends_with("/Calls.json");
    let dialled = network.asked().iter().filter(dials).count();
    assert_eq!(dialled, 1, "{:?}", network.asked());
    over(&hosted, &first).await;
}

#[tokio::test]
async fn a_refusal_says_what_to_do() {
    let network = network(|_| ()).await;
    let hosted = Hosted::start(&[GREETING], house(&network));
    let placing = hosted.runtime.placing();
    network.refuses(400, 21212, "The 'From' number is not a valid phone number");
    let refused = placing.place(wish("+14155550111", "greeting"), None).await.unwrap_err().to_string();
    assert!(refused.contains("not a valid phone number") && refused.contains("`from`"), "{refused}");
    for (wish, expected) in [
        (wish("somebody", "greeting"), "to: expected +14155550100"),
        (wish("+14155550111", "none"), "there is no workflow none"),
        (Wish { timeout: Some(1), ..wish("+14155550111", "greeting") }, "timeout: expected 5 to 600 seconds"),
    ] {
        let refused = placing.place(wish, None).await.unwrap_err().to_string();
        assert!(refused.starts_with(expected), "{refused}");
    }
    let without = Hosted::start(&[GREETING], |_| ());
    let refused = without.runtime.placing().place(wish("+14155550111", "greeting"), None).await;
    assert_eq!(refused, Err(NotPlaced::NoCredentials));
}

#[tokio::test]
async fn a_call_whose_socket_broke_is_led_back_by_the_rest_api() {
    let script = Script::parse("after stream +0.2 drops the socket\nafter stream +1 hangs up\n").unwrap();
    let network = network(|line| {
        line.on_abrupt_close = OnAbruptClose::Nothing;
        line.script = script;
    })
    .await;
    let hosted = Hosted::start(&[HELD], house(&network));
    let call = hosted.runtime.placing().place(wish("+14155550111", "held"), None).await.unwrap();
    let view = over(&hosted, &call).await;
    assert_eq!(view["end_reason"], "caller_hangup", "{:?}", network.asked());
    assert_eq!(view["streams"].as_array().map(Vec::len), Some(2), "{view:#}");
    assert_eq!(hosted.runtime.door().tally.counted(&metric::REPAIRS, &["call_resumed_by_rest"]), 1);
}

#[tokio::test]
async fn a_call_that_is_over_here_and_up_there_is_ended_there_by_the_next_process() {
    let script = Script::parse("after stream +0.2 drops the socket\n").unwrap();
    let network = network(|line| {
        line.on_abrupt_close = OnAbruptClose::Nothing;
        line.script = script;
    })
    .await;
    let data = tempfile::tempdir().unwrap();
    let house = |api_secret: &'static str| {
        let (origin, path) = (network.origin().to_owned(), data.path().to_owned());
        Hosted::start(&[HELD], move |config| {
            config.twilio.account_sid = sign::sid("AC", "the account");
            config.twilio.auth_tokens = vec![Secret::new(KEY)];
            if !api_secret.is_empty() {
                config.twilio.api_key = Secret::new("SK1");
                config.twilio.api_secret = Secret::new(api_secret);
            }
            config.twilio.api_url = origin;
            config.calls.return_grace = Duration::from_millis(300);
            config.journal.path = path;
        })
    };
    // The first process can't ask: its API key is wrong. So it gives the call up.
    let hosted = house("wrong");
    let call = network.dial("+14155550111", "+14155550100", &format!("{}/webhooks/held", hosted.public()));
    let call = CallId(call);
    let view = over(&hosted, &call).await;
    assert_eq!(view["end_reason"], "no_return");
    drop(hosted);
    let _next = house("");
    let story = network.stories().await.remove(0);
    assert_eq!(story.status, Status::Completed, "{:#?}", story.lived);
    assert!(network.asked().iter().any(|asked| asked.starts_with("POST") && asked.contains(&call.0)));
}

const DIALS: (&str, &str) = (
    "dials",
    "tasks:\n  - { name: far, type: connect, parameters: { destinations: [{ type: tel, target: \"+14155550133\" }] } }\n  - { type: echo }\n",
);

/// Asks the control API by POST.
async fn post(hosted: &Hosted, path: &str, key: Option<&str>, body: Value) -> (u16, Value) {
    let asker = Asker::new(&hosted.control(), None);
    let headers = [("content-type", "application/json"), ("idempotency-key", key.unwrap_or_default())];
    let headers = if key.is_some() { &headers[..] } else { &headers[..1] };
    let told = asker.send(reqwest::Method::POST, path, headers, Some(body.to_string())).await;
    (told.status, serde_json::from_str(&told.body).unwrap_or_default())
}

#[tokio::test]
async fn a_call_is_placed_by_the_control_api_under_either_of_its_names() {
    let network = network(|_| ()).await;
    let hosted = Hosted::start(&[GREETING], house(&network));
    let wish =
        json!({"to": "+14155550111", "workflow": "greeting", "variables": {"name": "Ada", "call.x": 1}});
    let mut placed = Vec::new();
    for path in ["/v1/calls", "/call/outbound"] {
        let (status, call) = post(&hosted, path, None, wish.clone()).await;
        assert_eq!(status, 201, "{call:#}");
        assert_eq!((&call["direction"], &call["to"]), (&json!("outbound-api"), &json!("+14155550111")));
        assert_eq!(call["dropped_variables"], json!(["call.x"]));
        placed.push(CallId(call["sid"].as_str().unwrap().to_owned()));
    }
    assert_ne!(placed[0], placed[1]);
    let (_, first) = post(&hosted, "/v1/calls", Some("once"), wish.clone()).await;
    let (status, again) = post(&hosted, "/v1/calls", Some("once"), wish.clone()).await;
    assert_eq!((status, &first["sid"]), (201, &again["sid"]));
    for call in &placed {
        assert_eq!(over(&hosted, call).await["completion"]["subWorkflowOutputs"]["greeted"], "Ada");
    }
}

#[tokio::test]
async fn what_cannot_be_placed_has_its_code_and_its_cure() {
    let network = network(|_| ()).await;
    let hosted = Hosted::start(&[GREETING], house(&network));
    let wish = json!({"to": "+14155550111", "workflow": "greeting"});
    network.refuses(400, 21215, "Account not authorized to call this country");
    let (status, problem) = post(&hosted, "/v1/calls", None, wish.clone()).await;
    assert_eq!((status, &problem["code"]), (422, &json!("call_refused")), "{problem:#}");
    assert!(problem["detail"].as_str().unwrap().contains("geographic permissions"), "{problem:#}");
    for (body, status, code) in [
        (json!({"workflow": "greeting"}), 400, "invalid_request"),
        (json!({"to": "+1", "workflow": "greeting", "more": 1}), 400, "invalid_request"),
        (json!({"to": "+14155550111", "workflow": "none"}), 404, "workflow_not_found"),
    ] {
        let (got, problem) = post(&hosted, "/v1/calls", None, body).await;
        assert_eq!((got, problem["code"].as_str()), (status, Some(code)), "{problem:#}");
    }
    let without = Hosted::start(&[GREETING], |_| ());
    let (status, problem) = post(&without, "/v1/calls", None, wish).await;
    assert_eq!((status, &problem["code"]), (409, &json!("no_credentials")));
    assert!(problem["detail"].as_str().unwrap().contains("[twilio] account_sid"), "{problem:#}");
}

#[tokio::test]
async fn a_verb_is_left_and_a_dial_hung_up_through_the_rest_api() {
    let network = network(|_| ()).await;
    let hosted = Hosted::start(&[DIALS], house(&network));
    let wish = json!({"to": "+14155550111", "workflow": "dials"});
    let (_, call) = post(&hosted, "/v1/calls", None, wish.clone()).await;
    let path = format!("/v1/calls/{}", call["sid"].as_str().unwrap());
    let asker = Asker::new(&hosted.control(), None);
    let exchanges = async |least: usize| {
        until("the next document is given", async || {
            let view: Value = serde_json::from_str(&asker.get(&path).await.body).ok()?;
            (view["exchanges"].as_array()?.len() >= least).then_some(())
        })
        .await
    };
    exchanges(1).await;
    let (status, problem) = post(&hosted, &format!("{path}/interrupt"), None, json!({})).await;
    assert_eq!(status, 200, "{problem:#}");
    exchanges(2).await;
    post(&hosted, &format!("{path}/hangup"), None, json!({})).await;
    let run = call["activeflows"][0].as_str().unwrap();
    let run: Value = serde_json::from_str(&asker.get(&format!("/v1/activeflows/{run}")).await.body).unwrap();
    assert_eq!(run["executed_actions"][0]["outcome"], "interrupted", "{run:#}");

    let (_, call) = post(&hosted, "/v1/calls", None, wish).await;
    let call = CallId(call["sid"].as_str().unwrap().to_owned());
    until("the document is given", async || {
        let view: Value = serde_json::from_str(&asker.get(&format!("/v1/calls/{call}")).await.body).ok()?;
        (view["exchanges"].as_array()?.len() == 1).then_some(())
    })
    .await;
    let (status, ending) = post(&hosted, &format!("/v1/calls/{call}/hangup"), None, json!({})).await;
    assert_eq!((status, &ending["deferred"]), (200, &json!(false)));
    assert_eq!(over(&hosted, &call).await["end_reason"], "hangup");
}
