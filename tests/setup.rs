//! `holdline setup` against the pretend network's REST API: shown, set, kept, put back; and every refusal with its cure.

mod support;

use std::fs;
use std::process::{Output, Stdio};

use holdline_harness::network::real::Network;
use holdline_harness::network::rest::Account;
use holdline_harness::network::switchboard::Switchboard;
use holdline_harness::network::{LineConfig, sign};
use serde_json::{Value, json};
use support::wire::Asker;
use tokio::process::Command;

const NUMBER: &str = "+14155550199";
const FLOW: &str = "tasks: [{ type: talk, parameters: { text: Hello. } }]\n";

struct Scene {
    home: tempfile::TempDir,
    network: Switchboard,
    number: String,
    url: String,
    token: String,
}

impl Scene {
    async fn new() -> Scene {
        // A client wants its crypto library named even if it never speaks TLS.
        let _ = Asker::new("http://127.0.0.1:1", None);
        let sid = sign::sid("AC", "the account");
        let account = Account { user: sid.clone(), password: "right".to_owned(), sid };
        let like = LineConfig::new("http://127.0.0.1:1", "placed");
        let network = Switchboard::start(account, Network::new().unwrap(), like).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("flows")).unwrap();
        for name in ["hello", "menu"] {
            fs::write(home.path().join(format!("flows/{name}.yaml")), FLOW).unwrap();
        }
        let number = network.owns(NUMBER);
        network.set_number(&number, "voice_url", "https://theirs.example/voice");
        network.set_number(&number, "voice_method", "GET");
        network.set_number(&number, "voice_application_sid", "AP0123");
        Scene { home, network, number, url: "https://ours.example/base".into(), token: "right".into() }
    }

    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let told = Command::new(env!("CARGO_BIN_EXE_holdline"))
            .arg("setup")
            .args(arguments)
            .current_dir(self.home.path())
            .env_clear()
            .env("HOLDLINE__PUBLIC__URL", &self.url)
            .env("HOLDLINE__TWILIO__ACCOUNT_SID", sign::sid("AC", "the account"))
            .env("HOLDLINE__TWILIO__AUTH_TOKENS", format!("[{:?}]", self.token))
            .env("HOLDLINE__TWILIO__API_URL", self.network.origin())
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let Output { status, stdout, stderr } = told;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (status.code().unwrap(), text(stdout), text(stderr))
    }

    async fn refused(&self, arguments: &[&str], code: i32, said: &str) {
        let before = self.network.number(&self.number);
        let (is, out, err) = self.run(arguments).await;
        assert_eq!((is, out.as_str()), (code, ""), "{err}");
        assert!(err.contains(said), "expected {said:?}: {err}");
        assert_eq!(self.network.number(&self.number), before, "a refusal changes nothing");
    }
}

#[tokio::test]
async fn a_number_is_set_once_and_put_back_as_it_was() {
    let scene = Scene::new().await;
    let before = scene.network.number(&scene.number);
    // Without a terminal nobody can be asked.
    scene.refused(&[NUMBER], 1, "--yes").await;
    let (code, out, err) = scene.run(&[NUMBER, "--yes"]).await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains(&format!("{NUMBER} is set")), "{out}");
    assert!(
        err.contains("https://theirs.example/voice")
            && err.contains("-> https://ours.example/base/webhooks/hello"),
        "{err}"
    );
    let set = scene.network.number(&scene.number);
    for (key, value) in [
        ("voice_url", json!("https://ours.example/base/webhooks/hello")),
        ("voice_method", json!("POST")),
        ("voice_fallback_url", json!("https://ours.example/base/webhooks/hello/next")),
        ("voice_fallback_method", json!("POST")),
        ("status_callback", json!("https://ours.example/base/webhooks/twilio/status")),
        ("status_callback_method", json!("POST")),
        // It would stand before all of them.
        ("voice_application_sid", Value::Null),
    ] {
        assert_eq!(set[key], value, "{key}");
    }
    assert_eq!(set["friendly_name"], before["friendly_name"], "the rest is nobody's business");

    let asked = scene.network.asked().len();
    let (code, out, _) = scene.run(&[NUMBER]).await;
    assert_eq!((code, out.as_str()), (0, "+14155550199 is so already\n"), "what is so needs no yes");
    let changes =
        scene.network.asked().split_off(asked).into_iter().filter(|asked| asked.starts_with("POST"));
    assert_eq!(changes.count(), 0);

    // Another workflow of ours is no reason to forget whose it was.
    let (code, told, _) = scene.run(&["+1 (415) 555-0199", "--workflow", "menu", "--yes", "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, &told["changed"], &told["number"]), (0, &json!(true), &json!(NUMBER)));
    assert_eq!(told["after"]["voice"]["url"], "https://ours.example/base/webhooks/menu");
    let (code, out, err) = scene.run(&[NUMBER, "--restore", "--yes"]).await;
    assert_eq!((code, out.as_str()), (0, "+14155550199 is as it was before\n"), "{err}");
    assert_eq!(scene.network.number(&scene.number), before);
    scene.refused(&[NUMBER, "--restore", "--yes"], 1, "nothing was kept of +14155550199").await;
}

#[tokio::test]
async fn every_refusal_says_what_to_do() {
    let mut scene = Scene::new().await;
    scene.refused(&["4155550199", "--yes"], 2, "expected a number such as +14155550100").await;
    scene.refused(&["+14155550111", "--yes"], 1, "it has +14155550199. Give one of them").await;
    scene.refused(&[NUMBER, "--workflow", "none", "--yes"], 1, "Name one by --workflow").await;
    for (url, said) in [
        ("", "Set [public] url (HOLDLINE__PUBLIC__URL) to the https address"),
        ("http://localhost:8080", "this machine's own name for itself"),
        ("http://voice.example.com", "Set [public] url to an https address"),
        ("auto", "Start `ngrok http 8080` first"),
    ] {
        scene.url = url.to_owned();
        scene.refused(&[NUMBER, "--yes"], 1, said).await;
    }
    scene.url = "https://ours.example".to_owned();
    scene.token = "wrong".to_owned();
    scene.refused(&[NUMBER, "--yes"], 1, "check [twilio] account_sid with auth_tokens").await;
    scene.token = String::new();
    scene.refused(&[NUMBER, "--yes"], 3, "HOLDLINE__TWILIO__AUTH_TOKENS").await;
    scene.token = "right".to_owned();
    fs::write(scene.home.path().join("data"), "a file").unwrap();
    scene.refused(&[NUMBER, "--yes"], 1, "Nothing was changed; let this user write there").await;
    scene.network.set_number(&scene.number, "trunk_sid", "TK0123");
    scene.refused(&[NUMBER, "--yes"], 1, "Take it out of the trunk").await;
}
