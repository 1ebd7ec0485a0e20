//! `holdline doctor --live-call` against the pretend network, in each of the ways in which a network may take the sudden
//! end of a stream.

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use holdline_harness::network::real::Network;
use holdline_harness::network::rest::Account;
use holdline_harness::network::switchboard::Switchboard;
use holdline_harness::network::{FarEnd, LineConfig, OnAbruptClose, Status, sign};
use serde_json::Value;
use support::wire::Asker;
use tokio::process::Command;

const TOKEN: &str = "the account's auth token";
const TO: &str = "+14155550111";

async fn network(then: OnAbruptClose) -> Switchboard {
    // A client wants its crypto library named even if it never speaks TLS.
    let _ = Asker::new("http://127.0.0.1:1", None);
    let sid = sign::sid("AC", "the account");
    let account = Account { user: sid.clone(), password: TOKEN.to_owned(), sid };
    let mut like = LineConfig::new("http://127.0.0.1:1", "placed");
    like.auth_token = Some(TOKEN.to_owned());
    like.say_per_character = Duration::from_millis(5);
    like.on_abrupt_close = then;
    like.far_ends =
        vec![(TO.to_owned(), FarEnd::answering(Duration::from_millis(50), Duration::from_secs(120)))];
    let network = Switchboard::start(account, Network::new().unwrap(), like).await.unwrap();
    network.owns("+14155550199");
    network
}

async fn doctor(network: &Switchboard, bind: SocketAddr, arguments: &[&str]) -> (i32, String, String) {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("flows")).unwrap();
    fs::write(home.path().join("flows/hello.yaml"), "tasks: [{ type: hangup }]\n").unwrap();
    // Nothing else is to be found wrong.
    let number = sign::sid("PN", "+14155550199");
    for (key, path) in
        [("voice_url", "hello"), ("voice_fallback_url", "hello/next"), ("status_callback", "twilio/status")]
    {
        network.set_number(&number, key, format!("http://{bind}/webhooks/{path}"));
    }
    let told = Command::new(env!("CARGO_BIN_EXE_holdline"))
        .args(["doctor", "--live-call"])
        .args(arguments)
        .current_dir(home.path())
        .env_clear()
        .env("HOLDLINE__PUBLIC__BIND", bind.to_string())
        .env("HOLDLINE__PUBLIC__URL", format!("http://{bind}"))
        .env("HOLDLINE__CONTROL__BIND", "127.0.0.1:0")
        .env("HOLDLINE__TWILIO__ACCOUNT_SID", sign::sid("AC", "the account"))
        .env("HOLDLINE__TWILIO__AUTH_TOKENS", format!("[{TOKEN:?}]"))
        .env("HOLDLINE__TWILIO__API_URL", network.origin())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (told.status.code().unwrap(), text(told.stdout), text(told.stderr))
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What the network did, as the command tells it.
async fn lived(then: OnAbruptClose) -> (i32, Value, Status) {
    let network = network(then).await;
    let (code, out, err) = doctor(&network, free_address(), &["--to", TO, "--json"]).await;
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out} {err}"));
    let story = network.stories().await.remove(0);
    (code, report["live_call"].clone(), story.status)
}

#[tokio::test]
async fn what_the_network_does_after_a_sudden_end_is_told() {
    let (redirect, action, end, nothing) = tokio::join!(
        lived(OnAbruptClose::Redirect),
        lived(OnAbruptClose::Action),
        lived(OnAbruptClose::End),
        lived(OnAbruptClose::Nothing),
    );
    for ((code, told, status), then, expected) in
        [(redirect, "redirect", 0), (action, "action", 0), (end, "end", 1), (nothing, "nothing", 1)]
    {
        assert_eq!((&told["then"], code), (&then.into(), expected), "{told:#}");
        assert!(told["after_ms"].is_u64(), "{told:#}");
        assert_eq!(told["stream_after_ms"].is_u64(), expected == 0, "{told:#}");
        assert_eq!(status, Status::Completed, "nobody is left on the line");
    }
}

#[tokio::test]
async fn a_live_call_needs_somebody_to_call_and_the_listener_for_itself() {
    let network = network(OnAbruptClose::Redirect).await;
    let (code, out, err) = doctor(&network, free_address(), &[]).await;
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains("--to"), "{err}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (code, out, _) = doctor(&network, taken.local_addr().unwrap(), &["--to", TO]).await;
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("not checked  live_call"), "{out}");
    assert!(network.stories().await.is_empty(), "no call was placed");
}
