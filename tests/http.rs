//! Both listeners over real sockets: who comes in, in which order it is checked, how a stream opens and ends.

mod support;

use holdline::config::{Config, JournalKind, Role, Secret, Token};
use holdline_core::RunId;
use reqwest::Method;
use support::hosted::Hosted;
use support::until;
use support::wire::Asker;

const KEY: &str = "a secret of the account";
const CALL: &str = "CA00000000000000000000000000000001";
const ECHO: (&str, &str) = ("echo", "tasks: [{ type: echo }]\n");

fn signed(config: &mut Config) {
    config.twilio.auth_tokens = vec![Secret::new(KEY)];
}

#[tokio::test]
async fn a_body_is_too_large_before_it_is_forged_and_forged_before_it_is_unknown() {
    let hosted = Hosted::start(&[ECHO], signed);
    let (network, stranger) = (Asker::new(&hosted.public(), Some(KEY)), Asker::new(&hosted.public(), None));
    // `Pad=` and what fills a form to its last allowed byte.
    let full = "x".repeat(65_536 - "Pad=".len());
    type Row<'a> = (&'a str, &'a Asker, &'a str, Vec<(&'a str, &'a str)>, u16);
    let table: [Row<'_>; 6] = [
        ("larger than anything allowed", &stranger, "/webhooks/none", vec![("Pad", &full), ("a", "")], 413),
        ("large, and forged", &stranger, "/webhooks/none", vec![("Pad", &full)], 403),
        ("signed, for a workflow that is not there", &network, "/webhooks/none", vec![("Pad", &full)], 404),
        ("signed, without a call", &network, "/webhooks/echo", vec![("Pad", &full)], 400),
        ("signed by another", &Asker::new(&hosted.public(), Some("x")), "/webhooks/echo", vec![], 403),
        ("in order", &network, "/webhooks/echo", vec![("CallSid", CALL)], 200),
    ];
    for (what, asker, path, fields, status) in table {
        assert_eq!(asker.post(path, &fields).await.status, status, "{what}");
    }
    let rest = full.len() - "&CallSid=".len() - CALL.len();
    let last = network.post("/webhooks/echo", &[("Pad", &full[..rest]), ("CallSid", CALL)]).await;
    assert_eq!(last.status, 200, "exactly 65536 bytes are allowed");
}

#[tokio::test]
async fn no_route_of_the_network_is_open_to_a_stranger() {
    let hosted = Hosted::start(&[ECHO], |config| {
        signed(config);
        config.default_workflow = Some(holdline_core::WorkflowId("echo".into()));
    });
    let (network, stranger) = (Asker::new(&hosted.public(), Some(KEY)), Asker::new(&hosted.public(), None));
    let fields = [("CallSid", CALL), ("StreamSid", "MZ1"), ("RecordingSid", "RE1"), ("ConferenceSid", "CF1")];
    for path in [
        "/webhooks/echo",
        "/webhooks/echo/next?x=1",
        "/webhooks/echo/wait?x=1&w=0",
        "/webhooks/twilio/status",
        "/webhooks/twilio/stream",
        "/webhooks/twilio/recording",
        "/webhooks/twilio/conference",
        "/twiml",
    ] {
        assert_eq!(stranger.post(path, &fields).await.status, 403, "{path}");
        let known = network.post(path, &fields).await;
        assert!(matches!(known.status, 200 | 204), "{path}: {} {}", known.status, known.body);
    }
    let stream = network.arrive("echo", CALL).await.stream_url();
    let origin = hosted.public().replace("http:", "ws:");
    for url in [&stream, &format!("{origin}/webhooks/echo/wss"), &format!("{origin}/ws")] {
        assert_eq!(stranger.open(url).await.err(), Some(403), "{url}");
    }
    assert!(network.open(&stream).await.is_ok(), "a refused stranger has not used up the token");
    // What watches a server has no key.
    for path in ["/health", "/ready"] {
        assert_eq!(stranger.get(path).await.status, 200, "{path}");
    }
    assert_eq!(stranger.get("/v1/calls").await.status, 404, "nothing of the control listener is public");
}

#[tokio::test]
async fn a_status_is_answered_whether_or_not_its_call_is_known() {
    let hosted = Hosted::start(&[ECHO], |_| ());
    let network = Asker::new(&hosted.public(), None);
    network.arrive("echo", CALL).await;
    let status = async |call: &str, status: &str| {
        network.post("/webhooks/twilio/status", &[("CallSid", call), ("CallStatus", status)]).await.status
    };
    assert_eq!(status("CA0000000000000000000000000000000f", "completed").await, 200);
    assert_eq!(status(CALL, "in-progress").await, 200);
    assert_eq!(status(CALL, "completed").await, 200);
    assert_eq!(status(CALL, "completed").await, 200, "again, when the call is over");
    assert_eq!(network.post("/webhooks/twilio/status", &[]).await.status, 400);
    let again = network.arrive("echo", CALL).await;
    assert!(again.body.contains("<Hangup"), "no second call begins: {}", again.body);
}

#[tokio::test]
async fn the_control_listener_explains_what_it_refuses() {
    let hosted = Hosted::start(&[ECHO], |_| ());
    let control = Asker::new(&hosted.control(), None);
    let table = [
        (Method::GET, "/v1/nothing", 404, "not_found"),
        (Method::GET, "/v1/calls/CA1", 404, "call_not_found"),
        (Method::GET, "/v1/activeflows/no-uuid", 404, "activeflow_not_found"),
        (Method::GET, "/v1/calls?page_size=0", 400, "invalid_request"),
        (Method::DELETE, "/v1/calls", 405, "method_not_allowed"),
        (Method::POST, "/health", 405, "method_not_allowed"),
    ];
    for (method, path, status, code) in table {
        let told = control.send(method.clone(), path, &[], None).await;
        assert_eq!(told.status, status, "{method} {path}");
        assert_eq!(told.header("content-type"), "application/problem+json", "{method} {path}");
        assert_eq!(told.json()["code"], code, "{method} {path}");
        assert_eq!(told.header("allow").is_empty(), status != 405, "{method} {path}");
    }
    for path in ["/health", "/ready", "/v1/calls", "/v1/activeflows"] {
        let told = control.get(path).await;
        assert_eq!((told.status, told.header("cache-control")), (200, "no-store"), "{path}");
    }
    assert_eq!(control.get("/webhooks/echo").await.status, 404, "the network's routes are not here");
}

#[tokio::test]
async fn a_token_is_needed_for_all_but_health_and_its_role_is_held_to() {
    let hosted = Hosted::start(&[ECHO], |config| {
        let token = |token: &str, role| Token { token: Secret::new(token), role };
        config.control.tokens = vec![token("look", Role::Read), token("all", Role::Admin)];
    });
    let control = Asker::new(&hosted.control(), None);
    let with = async |method: Method, path: &str, token: &str| {
        control.send(method, path, &[("authorization", &format!("Bearer {token}"))], None).await
    };
    for path in ["/v1/calls", "/v1/calls/CA1", "/v1/activeflows", "/v1/nothing"] {
        let told = control.get(path).await;
        assert_eq!((told.status, &told.json()["code"]), (401, &"unauthorized".into()), "{path}");
        assert!(told.header("www-authenticate").starts_with("Bearer"), "{path}");
        assert_eq!(with(Method::GET, path, "lock").await.status, 401, "{path}");
        assert!(matches!(with(Method::GET, path, "look").await.status, 200 | 404), "{path}");
    }
    let refused = with(Method::DELETE, "/v1/calls/CA1", "look").await;
    assert_eq!((refused.status, &refused.json()["code"]), (403, &"forbidden".into()));
    assert_eq!(with(Method::DELETE, "/v1/calls/CA1", "all").await.status, 405);
    for path in ["/health", "/ready"] {
        assert_eq!(control.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_to_wait_and_may_still_look_whether_we_are_well() {
    let hosted = Hosted::start(&[ECHO], |config| config.public.rate_limit = Some(1));
    let network = Asker::new(&hosted.public(), None);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(network.get("/webhooks/none").await.status);
        assert_eq!(network.get("/health").await.status, 200);
    }
    // One a second: a machine that is slow may have let a second one in.
    assert_eq!(statuses[0], 404);
    assert!(statuses.contains(&429), "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 404 | 429)), "{statuses:?}");
}

#[tokio::test]
async fn a_child_and_what_follows_on_an_end_are_found_by_their_ids() {
    let calling = "on_complete: after\ntasks: [{ type: subflow, parameters: { workflow: counting } }]\n";
    let counting = "tasks: [{ type: variable_set, parameters: { key: n, value: 3 } }]\n";
    let after = "tasks: [{ type: variable_set, parameters: { key: seen, value: '${call.status}' } }]\n";
    let flows = [("calling", calling), ("counting", counting), ("after", after)];
    for kind in [JournalKind::Memory, JournalKind::Sqlite, JournalKind::Sled] {
        let hosted = Hosted::start(&flows, |config| config.journal.kind = kind);
        let control = Asker::new(&hosted.control(), None);
        assert_eq!(Asker::new(&hosted.public(), None).arrive("calling", CALL).await.status, 200);
        let follower = until("what follows has ended", async || {
            let list = control.get("/v1/activeflows?flow_id=after&status=ended").await.json();
            list["result"].as_array()?.first().cloned()
        })
        .await;
        let parent: RunId = serde_json::from_value(follower["reference_activeflow_id"].clone()).unwrap();
        let child = control.get(&format!("/v1/activeflows/{}", parent.child(1))).await.json();
        assert_eq!((&child["flow_id"], &child["status"]), (&"counting".into(), &"ended".into()), "{child}");
        // All three are listed, in pages of one too, each once and the newest first.
        let (mut listed, mut token) = (Vec::new(), String::new());
        loop {
            let page = control.get(&format!("/v1/activeflows?page_size=1{token}")).await.json();
            listed.push(page["result"][0]["flow_id"].as_str().unwrap().to_owned());
            let Some(next) = page["next_page_token"].as_str() else { break };
            token = format!("&page_token={next}");
        }
        assert_eq!(listed, ["after", "counting", "calling"]);
        let children = control.get("/v1/activeflows?flow_id=counting").await.json();
        assert_eq!(children["result"][0]["id"], child["id"]);
        assert_eq!(children["result"][0]["reference_activeflow_id"], serde_json::json!(parent));
        let id = follower["id"].as_str().unwrap();
        let follower = control.get(&format!("/v1/activeflows/{id}")).await.json();
        assert_eq!(follower["variables"]["seen"], "ringing", "{follower}");
    }
}
