//! `holdline doctor` before planted faults: each is named, with its cure, and nothing else is.

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use holdline::config::{PublicUrl, Secret};
use holdline_harness::network::real::Network;
use holdline_harness::network::rest::Account;
use holdline_harness::network::switchboard::Switchboard;
use holdline_harness::network::{LineConfig, sign};
use serde_json::Value;
use support::certified::{Authority, Wish};
use support::hosted::Hosted;
use support::proxy::{self, Fault};
use support::served::Home;
use support::volume::Volume;
use support::wire::Asker;
use tokio::process::Command;

const TOKEN: &str = "the account's auth token";
const NUMBER: &str = "+14155550199";
const HELLO: (&str, &str) = ("hello", "tasks: [{ type: talk, parameters: { text: Hello. } }]\n");

/// A house in which all is well, the phone network's API beside it, and one number that leads here.
struct Scene {
    home: tempfile::TempDir,
    network: Switchboard,
    number: String,
    /// Where the server is, or would be.
    bind: SocketAddr,
    /// In the order of the file.
    config: Vec<(&'static str, String)>,
}

impl Scene {
    async fn new() -> Scene {
        // A client wants its crypto library named even if it never speaks TLS.
        let _ = Asker::new("http://127.0.0.1:1", None);
        let sid = sign::sid("AC", "the account");
        let account = Account { user: sid.clone(), password: TOKEN.to_owned(), sid: sid.clone() };
        let like = LineConfig::new("http://127.0.0.1:1", "placed");
        let network = Switchboard::start(account, Network::new().unwrap(), like).await.unwrap();
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("flows")).unwrap();
        fs::write(home.path().join("flows/hello.yaml"), HELLO.1).unwrap();
        let bind = free_address();
        let quoted = |text: &str| format!("{text:?}");
        let config = vec![
            ("public.bind", quoted(&bind.to_string())),
            ("public.url", quoted(&format!("http://{bind}"))),
            ("control.bind", quoted("127.0.0.1:0")),
            ("twilio.account_sid", quoted(&sid)),
            ("twilio.auth_tokens", format!("[{TOKEN:?}]")),
            ("twilio.api_url", quoted(network.origin())),
            ("journal.path", quoted("data")),
            ("journal.kind", quoted("sqlite")),
        ];
        let number = network.owns(NUMBER);
        let scene = Scene { home, network, number, bind, config };
        scene.points_at(&format!("http://{bind}"));
        scene
    }

    fn points_at(&self, origin: &str) {
        let (network, number) = (&self.network, &self.number);
        network.set_number(number, "voice_url", format!("{origin}/webhooks/hello"));
        network.set_number(number, "voice_fallback_url", format!("{origin}/webhooks/hello/next"));
        network.set_number(number, "status_callback", format!("{origin}/webhooks/twilio/status"));
    }

    fn set(&mut self, key: &'static str, value: &str) {
        self.config.retain(|(known, _)| *known != key);
        self.config.push((key, value.to_owned()));
    }

    /// The network was given this address.
    fn url(&mut self, origin: &str) {
        self.set("public.url", &format!("{origin:?}"));
        self.points_at(origin);
    }

    async fn examined(&self) -> Examined {
        self.examined_in(&[]).await
    }

    async fn examined_in(&self, environment: &[(&str, &str)]) -> Examined {
        let lines = self.config.iter().map(|(key, value)| format!("{key} = {value}\n"));
        fs::write(self.home.path().join("holdline.toml"), lines.collect::<String>()).unwrap();
        doctor(self.home.path(), environment).await
    }
}

/// What the doctor says, as a program reads it.
struct Examined {
    code: i32,
    checks: Vec<Value>,
}

impl Examined {
    /// The one finding that is not well, and nothing beside it but what follows from it.
    fn finds(&self, check: &str, verdict: &str, message: &str, cure: &str) {
        let bad: Vec<&Value> = self
            .checks
            .iter()
            .filter(|finding| matches!(finding["verdict"].as_str(), Some("failed" | "warning")))
            // The pretend road has no name and no TLS, and how fast the disk is depends on who else writes.
            .filter(|finding| finding["check"] != "public_url" && !is_slow_disk(finding))
            .collect();
        let [found] = bad[..] else { panic!("expected one fault, {check}: {:#?}", self.checks) };
        assert_eq!((&found["check"], &found["verdict"]), (&check.into(), &verdict.into()), "{found:#}");
        let says = |field: &str, words: &str| found[field].as_str().is_some_and(|text| text.contains(words));
        assert!(says("message", message), "expected {message:?}: {found:#}");
        assert!(says("cure", cure), "expected {cure:?}: {found:#}");
        assert_eq!(self.code, i32::from(verdict == "failed"));
    }

    /// As [`Examined::finds`], of a fault that lets nothing come through.
    fn finds_on_the_road(self, check: &str, message: &str, cure: &str) {
        let is_behind =
            |finding: &Value| matches!(finding["check"].as_str(), Some("reachable" | "signature" | "stream"));
        let checks = self.checks.into_iter().filter(|finding| !is_behind(finding)).collect();
        Examined { checks, ..self }.finds(check, "failed", message, cure);
    }

    fn verdict(&self, check: &str) -> &str {
        let found = self.checks.iter().find(|finding| finding["check"] == check);
        found.and_then(|finding| finding["verdict"].as_str()).unwrap_or_else(|| panic!("no {check}"))
    }
}

fn is_slow_disk(finding: &Value) -> bool {
    finding["message"].as_str().is_some_and(|message| message.contains("until it is on disk"))
}

async fn doctor(folder: &Path, environment: &[(&str, &str)]) -> Examined {
    let told = Command::new(env!("CARGO_BIN_EXE_holdline"))
        .args(["doctor", "--json", "--config", "holdline.toml"])
        .current_dir(folder)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    let code = told.status.code().unwrap();
    let said = String::from_utf8(told.stdout).unwrap();
    let report: Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said} {}", String::from_utf8_lossy(&told.stderr)));
    assert_eq!(report["ok"], code == 0);
    Examined { code, checks: report["checks"].as_array().unwrap().clone() }
}

/// Free a moment ago; another test may take it, so a fault must not depend on it.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn where_all_is_well_nothing_is_found_with_a_server_and_without() {
    let mut scene = Scene::new().await;
    let alone = scene.examined().await;
    assert_eq!(alone.code, 0, "{:#?}", alone.checks);
    for check in [
        "configuration",
        "workflows",
        "data",
        "reachable",
        "signature",
        "stream",
        "clock",
        "credentials",
        "number",
    ] {
        let slow = check == "data" && alone.checks.iter().any(is_slow_disk);
        assert!(slow || alone.verdict(check) == "ok", "{check}: {:#?}", alone.checks);
    }
    assert_eq!(alone.verdict("server"), "not_checked");
    assert!(!scene.home.path().join("data").exists(), "whoever looks leaves nothing behind");

    let bind = scene.bind;
    let hosted = Hosted::start(&[HELLO], |config| {
        config.public.bind = bind;
        config.public.url = PublicUrl::Origin(format!("http://{bind}"));
        config.twilio.auth_tokens = vec![Secret::new(TOKEN)];
    });
    let control = hosted.control().replace("http://", "");
    scene.set("control.bind", &format!("{control:?}"));
    let beside = scene.examined().await;
    for check in ["server", "reachable", "signature", "stream"] {
        assert_eq!(beside.verdict(check), "ok", "{:#?}", beside.checks);
    }
    let calls = Asker::new(&hosted.control(), None).get("/v1/calls").await.json();
    assert_eq!(calls["result"], serde_json::json!([]), "no look is a call");
    drop(hosted);
}

#[tokio::test]
async fn what_a_proxy_does_wrong_is_named() {
    let table = [
        (Fault::DropsSignature, "signature", "drops the header X-Twilio-Signature", "pass all headers"),
        (
            Fault::RewritesQuery,
            "signature",
            "which is not what was signed",
            "pass path and query as they came",
        ),
        (Fault::NoUpgrade, "stream", "is answered 400 through the public URL", "proxy_set_header Upgrade"),
        (Fault::BadGateway, "reachable", "answers 502", "lead to port"),
    ];
    for (fault, check, message, cure) in table {
        let mut scene = Scene::new().await;
        let origin = proxy::before(scene.bind.to_string(), fault).await;
        scene.url(&origin);
        let examined = scene.examined().await;
        // A stream carries its signature in the same header.
        let checks = match fault {
            Fault::DropsSignature | Fault::RewritesQuery => {
                let checks = examined.checks.into_iter();
                Examined {
                    checks: checks.filter(|finding| finding["check"] != "stream").collect(),
                    ..examined
                }
            }
            _ => examined,
        };
        checks.finds(check, "failed", message, cure);
    }
    let mut scene = Scene::new().await;
    let origin = proxy::before(scene.bind.to_string(), Fault::None).await;
    scene.url(&origin);
    assert_eq!(scene.examined().await.code, 0, "a proxy that does nothing wrong");
}

#[tokio::test]
async fn a_server_that_runs_with_other_keys_is_told_from_a_proxy_that_spoils_signatures() {
    let mut scene = Scene::new().await;
    let bind = scene.bind;
    let start = |key: &'static str, origin: String| {
        Hosted::start(&[HELLO], move |config| {
            config.public.bind = bind;
            config.public.url = PublicUrl::Origin(origin);
            config.twilio.auth_tokens = vec![Secret::new(key)];
        })
    };
    let signature_alone = |examined: Examined| Examined {
        checks: examined.checks.into_iter().filter(|finding| finding["check"] != "stream").collect(),
        ..examined
    };
    let hosted = start("a token of last year", format!("http://{bind}"));
    let examined = signature_alone(scene.examined().await);
    examined.finds(
        "signature",
        "failed",
        "refuses the first auth token",
        "start it anew with this configuration",
    );
    drop(hosted);

    let origin = proxy::before(bind.to_string(), Fault::DropsSignature).await;
    let hosted = start(TOKEN, origin.clone());
    scene.url(&origin);
    let examined = signature_alone(scene.examined().await);
    examined.finds("signature", "failed", "when it is asked directly", "pass the header X-Twilio-Signature");
    drop(hosted);

    let hosted = Hosted::start(&[HELLO], move |config| {
        config.public.bind = bind;
        config.public.insecure_no_signatures = true;
    });
    scene.url(&format!("http://{bind}"));
    let examined = scene.examined().await;
    examined.finds("signature", "failed", "an unsigned request is answered 400", "insecure_no_signatures");
    drop(hosted);
}

#[tokio::test]
async fn a_certificate_is_looked_at_as_the_network_does() {
    let good = Wish { name: "localhost", begins_in_days: -30, ends_in_days: 60 };
    let (soon, expired) = (Wish { ends_in_days: 5, ..good }, Wish { ends_in_days: -2, ..good });
    let (early, other) = (Wish { begins_in_days: 3, ..good }, Wish { name: "elsewhere.example", ..good });
    let authority = Authority::new();
    let trusted = tempfile::NamedTempFile::new().unwrap();
    authority.write(trusted.path());
    let trusted = [("SSL_CERT_FILE", trusted.path().to_str().unwrap())];
    // The road that the scene takes to be public is none: a machine's own name.
    let look = async |wish: &Wish<'_>, trusted: &[(&str, &str)]| {
        let mut scene = Scene::new().await;
        let port = authority.proxy(scene.bind.to_string(), wish).await;
        scene.url(&format!("https://localhost:{port}"));
        scene.examined_in(trusted).await
    };
    let well = look(&good, &trusted).await;
    for check in ["tls", "reachable", "signature", "stream"] {
        assert_eq!(well.verdict(check), "ok", "{:#?}", well.checks);
    }
    assert_eq!(well.code, 0);
    look(&soon, &trusted).await.finds("tls", "warning", "the certificate ends in", "renew the certificate");
    let table = [
        (&expired, "has expired", "renew the certificate"),
        (&early, "is not valid yet", "clock"),
        (&other, "is for another name", "get a certificate for the name in [public] url"),
    ];
    for (wish, message, cure) in table {
        look(wish, &trusted).await.finds_on_the_road("tls", message, cure);
    }
    let of_nobody = look(&good, &[]).await;
    of_nobody.finds_on_the_road("tls", "signed by nobody that this machine trusts", "public authority");
}

#[tokio::test]
async fn an_address_that_leads_elsewhere_is_named() {
    let mut scene = Scene::new().await;
    let elsewhere = scene.network.origin().to_owned();
    scene.url(&elsewhere);
    scene.examined().await.finds("reachable", "failed", "which is not this server", "mend [public] url");

    let mut scene = Scene::new().await;
    scene.url(&format!("http://{}", free_address()));
    scene.examined().await.finds("reachable", "failed", "nobody listens there", "start the proxy or tunnel");

    // Another holdline, with the same key: its answers look like ours.
    let mut scene = Scene::new().await;
    let other = Hosted::start(&[HELLO], |config| config.twilio.auth_tokens = vec![Secret::new(TOKEN)]);
    scene.url(&other.public());
    scene.examined().await.finds("reachable", "failed", "another holdline answers", "lead to port");

    let scene = Scene::new().await;
    let stranger = TcpListener::bind(scene.bind).unwrap();
    stranger.set_nonblocking(true).unwrap();
    let stranger = tokio::net::TcpListener::from_std(stranger).unwrap();
    tokio::spawn(async move {
        while let Ok((mut caller, _)) = stranger.accept().await {
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut caller, answer).await;
        }
    });
    scene.examined().await.finds("server", "failed", "another program", "[public] bind");
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_named() {
    let scene = Scene::new().await;
    scene.network.is_ahead(Duration::from_secs(20));
    scene.examined().await.finds("clock", "warning", "s behind http", "timedatectl");
    scene.network.is_ahead(Duration::from_secs(400));
    scene.examined().await.finds("clock", "failed", "s behind http", "timedatectl");
}

#[tokio::test]
async fn a_data_folder_that_can_not_be_used_is_named() {
    let mut scene = Scene::new().await;
    // Where nobody may write, whoever he is.
    scene.set("journal.path", "\"/proc/holdline\"");
    scene.examined().await.finds("data", "failed", "can't be written", "HOLDLINE__JOURNAL__PATH");

    let mut scene = Scene::new().await;
    fs::write(scene.home.path().join("data"), "a file").unwrap();
    scene.examined().await.finds("data", "failed", "is no folder", "[journal] path");

    scene.set("journal.kind", "\"memory\"");
    scene.examined().await.finds("data", "warning", "nothing is kept", "kind = \"sqlite\"");

    let home = Home::new(&[HELLO], "");
    let other = home.serve();
    let mut scene = Scene::new().await;
    scene.set("journal.path", &format!("{:?}", home.data().display().to_string()));
    scene.examined().await.finds("data", "failed", "process", "stop that process");
    drop(other);

    let mut scene = Scene::new().await;
    let folder = scene.home.path().join("small");
    if let Some(volume) = Volume::mount(&folder, 8) {
        volume.fill();
        scene.set("journal.path", "\"small\"");
        let examined = scene.examined().await;
        drop(volume);
        examined.finds("data", "failed", "", "");
    }
}

#[tokio::test]
async fn credentials_that_are_refused_and_numbers_that_lead_elsewhere_are_named() {
    let mut scene = Scene::new().await;
    scene.set("twilio.auth_tokens", "[\"a wrong one\"]");
    let examined = scene.examined().await;
    // The numbers are asked for with the same credentials.
    assert_eq!((examined.code, examined.verdict("number")), (1, "failed"));
    let checks = examined.checks.into_iter().filter(|finding| finding["check"] != "number").collect();
    let examined = Examined { code: examined.code, checks };
    examined.finds("credentials", "failed", "Authenticate", "[twilio] account_sid with auth_tokens");

    let scene = Scene::new().await;
    scene.points_at("https://elsewhere.example");
    let cure = format!("`holdline setup {NUMBER}`");
    scene.examined().await.finds("number", "failed", "no number leads here", &cure);

    let scene = Scene::new().await;
    scene.network.set_number(&scene.number, "voice_fallback_url", "");
    scene.examined().await.finds("number", "warning", "no fallback", &cure);
    scene.network.set_number(&scene.number, "voice_application_sid", "AP0123");
    scene.examined().await.finds("number", "failed", "belongs to the application", &cure);

    let scene = Scene::new().await;
    scene.network.set_number(&scene.number, "voice_url", format!("http://{}/webhooks/none", scene.bind));
    scene.examined().await.finds("number", "failed", "there is no such workflow", "--workflow");

    let mut scene = Scene::new().await;
    scene.set("twilio.account_sid", "\"\"");
    let examined = scene.examined().await;
    let (credentials, number) = (examined.verdict("credentials"), examined.verdict("number"));
    assert_eq!((examined.code, credentials, number), (0, "not_checked", "not_checked"));
}

#[tokio::test]
async fn a_configuration_and_a_workflow_that_can_not_serve_are_named() {
    let mut scene = Scene::new().await;
    scene.set("control.bind", "\"0.0.0.0:0\"");
    scene.examined().await.finds("configuration", "failed", "without tokens", "mend it");

    let mut scene = Scene::new().await;
    scene.set("calls.max_cals", "7");
    scene.examined().await.finds("configuration", "failed", "did you mean \"max_calls\"?", "mend it");

    let scene = Scene::new().await;
    fs::write(scene.home.path().join("flows/hello.yaml"), "tasks: [{ type: tlak }]\n").unwrap();
    let examined = scene.examined().await;
    assert_eq!(examined.verdict("stream"), "not_checked");
    let checks = examined.checks.into_iter().filter(|finding| finding["check"] != "number").collect();
    Examined { code: examined.code, checks }.finds(
        "workflows",
        "failed",
        "hello.yaml:1:",
        "did you mean \"talk\"?",
    );

    let mut scene = Scene::new().await;
    scene.set("twilio.auth_tokens", "[]");
    scene.set("twilio.account_sid", "\"\"");
    scene.set("public.url", "\"https://127.0.0.1:1\"");
    let examined = scene.examined().await;
    assert_eq!(examined.verdict("reachable"), "failed");
}

#[tokio::test]
async fn people_get_a_line_for_each_check() {
    let scene = Scene::new().await;
    let _ = scene.examined().await;
    let told = Command::new(env!("CARGO_BIN_EXE_holdline"))
        .args(["doctor", "--config", "holdline.toml"])
        .current_dir(scene.home.path())
        .env_clear()
        .output()
        .await
        .unwrap();
    let (said, beside) = (String::from_utf8(told.stdout).unwrap(), String::from_utf8(told.stderr).unwrap());
    assert_eq!(told.status.code(), Some(0), "{said}");
    assert_eq!(said.lines().count(), 12, "{said}");
    assert!(said.contains("ok           signature      a request signed"), "{said}");
    assert!(
        said.contains("warning      public_url     ") && said.contains(". Cure: set [public] url"),
        "{said}"
    );
    assert!(beside.contains(" 0 failed, "), "{beside}");
}
