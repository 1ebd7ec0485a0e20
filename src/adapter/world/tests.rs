use super::*;
use crate::adapter::test_server::TestServer;
use crate::config::Sources;
use holdline_core::http::{Attachment, Content, Mail, Method as Verb};
use holdline_core::secret::mark;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Mutex;

const SIGNING: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn systems(settings: &[(&str, String)]) -> OtherSystems {
    let mut environment: std::collections::BTreeMap<String, String> =
        settings.iter().map(|(key, value)| (format!("HOLDLINE__{key}"), value.clone())).collect();
    environment.insert("HOLDLINE__SECRETS__KEY".into(), "s3\"cret/1".into());
    environment.entry("HOLDLINE__EVENTS__SECRET".into()).or_insert_with(|| SIGNING.to_owned());
    let config = Config::load(&Sources { environment, ..Sources::default() }).unwrap();
    let http = Arc::new(HttpPort::new(&config.http));
    OtherSystems::new(&config, http, PathBuf::from("."))
}

fn open() -> (&'static str, String) {
    ("HTTP__ALLOW_HOSTS", "[\"127.0.0.1\"]".to_owned())
}

fn call(method: Verb, endpoint: Endpoint) -> HttpCall {
    HttpCall::new(method, endpoint, 10_000)
}

async fn ask(systems: &OtherSystems, call: HttpCall) -> Outcome {
    systems.perform(Errand::Http(Box::new(call))).await
}

/// Says back what it was told, as text or as JSON with every character of the body escaped.
fn echo() -> (TestServer, Arc<Mutex<String>>) {
    let seen = Arc::new(Mutex::new(String::new()));
    let keep = seen.clone();
    let server = TestServer::start(move |request| {
        *keep.lock().unwrap() = request.to_owned();
        let mut headers = vec![("x-echo", "none")];
        let key = request.lines().find_map(|line| line.strip_prefix("x-key: ")).unwrap_or("none");
        headers[0].1 = key;
        let escaped: String = request.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        match request.contains("json") {
            true => TestServer::answer(200, &headers, format!("{{\"said\": \"{escaped}\"}}").as_bytes()),
            false => TestServer::answer(200, &headers, request.as_bytes()),
        }
    });
    (server, seen)
}

#[actix_rt::test]
async fn a_secret_goes_out_and_never_comes_back() {
    let (server, seen) = echo();
    let systems = systems(&[open()]);
    for body in [
        Body::Json(json!({ "k": mark("KEY") })),
        Body::Form(vec![("k".into(), mark("KEY"))]),
        Body::Text { content_type: "text/plain".into(), text: mark("KEY") },
    ] {
        let mut call = call(Verb::Post, Endpoint::Url(server.url(&format!("/{}", mark("KEY")))));
        call.headers = vec![("X-Key".into(), mark("KEY"))];
        call.query = vec![("q".into(), mark("KEY"))];
        call.body = body;
        let reply = ask(&systems, call).await.unwrap();
        let sent = seen.lock().unwrap().clone();
        assert!(sent.contains("x-key: s3\"cret/1") && sent.contains("q=s3%22cret%2F1"), "{sent}");
        let shown = format!("{reply:?}");
        assert!(!shown.contains("cret") && shown.contains("***"), "{shown}");
    }
    let error = ask(&systems, call(Verb::Get, Endpoint::Url(mark("KEY")))).await.unwrap_err();
    assert!(error.class == ErrorClass::Invalid && !error.message.contains("cret"), "{error}");
    let error = ask(&systems, call(Verb::Get, Endpoint::Url(mark("OTHER")))).await.unwrap_err();
    assert_eq!((error.class, error.message.contains("`OTHER`")), (ErrorClass::Invalid, true));
}

#[actix_rt::test]
async fn a_signed_message_can_be_checked_by_its_receiver() {
    let (server, seen) = echo();
    let mut call = call(Verb::Post, Endpoint::Url(server.url("/")));
    call.body = Body::Json(json!({"a": 1}));
    call.signed_as = Some("msg_1".into());
    ask(&systems(&[open()]), call).await.unwrap();
    let sent = seen.lock().unwrap().clone();
    let header = |name: &str| {
        sent.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap().to_owned()
    };
    let at: u64 = header("webhook-timestamp").parse().unwrap();
    assert_eq!(header("webhook-id"), "msg_1");
    assert_eq!(Some(header("webhook-signature")), sign::signature(SIGNING, "msg_1", at, br#"{"a":1}"#));
    assert_eq!(header("content-type"), "application/json");
}

#[actix_rt::test]
async fn the_operators_services_get_their_keys_and_may_be_inside() {
    let (server, seen) = echo();
    let base = server.url("");
    let systems = systems(&[
        ("OPENAI__BASE_URL", format!("{base}/v1")),
        ("OPENAI__API_KEY", "sk-openai".into()),
        ("TWILIO__API_URL", base.clone()),
        ("TWILIO__ACCOUNT_SID", "AC1".into()),
        ("TWILIO__AUTH_TOKENS", "[\"the-token\"]".into()),
    ]);
    let reply = ask(&systems, call(Verb::Post, Endpoint::OpenAi("/chat/completions".into()))).await.unwrap();
    let sent = seen.lock().unwrap().clone();
    assert!(
        sent.starts_with("POST /v1/chat/completions ") && sent.contains("authorization: Bearer sk-openai")
    );
    assert!(!format!("{reply:?}").contains("sk-openai"));
    let reply = ask(&systems, call(Verb::Post, Endpoint::Twilio("/Messages.json".into()))).await.unwrap();
    let sent = seen.lock().unwrap().clone();
    let pair = STANDARD.encode("AC1:the-token");
    assert!(
        sent.starts_with("POST /2010-04-01/Accounts/AC1/Messages.json ") && sent.contains(&pair),
        "{sent}"
    );
    assert!(!format!("{reply:?}").contains(&pair));
    let error = ask(&systems, call(Verb::Get, Endpoint::Url(base))).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Rejected, "a workflow's own addresses may not be inside");
}

#[actix_rt::test]
async fn what_is_not_configured_says_which_setting_it_needs() {
    let systems = systems(&[]);
    for (endpoint, setting) in [
        (Endpoint::Twilio("/x".into()), "[twilio] account_sid"),
        (Endpoint::Salesforce("/x".into()), "[salesforce] instance_url"),
    ] {
        let error = ask(&systems, call(Verb::Post, endpoint)).await.unwrap_err();
        assert_eq!(error.class, ErrorClass::Invalid);
        assert!(error.message.contains(setting), "{error}");
    }
    let error = systems.perform(Errand::Mail(Box::new(mail()))).await.unwrap_err();
    assert!(error.message.contains("[smtp] url"), "{error}");
}

#[actix_rt::test]
async fn salesforces_token_is_asked_for_once_and_renewed_when_it_is_refused() {
    let given = Arc::new(Mutex::new(0));
    let count = given.clone();
    let server = TestServer::start(move |request| {
        let mut given = count.lock().unwrap();
        if request.starts_with("POST /services/oauth2/token ") {
            assert!(request.ends_with("grant_type=client_credentials&client_id=app&client_secret=hush"));
            *given += 1;
            let body = json!({ "access_token": format!("token-{given}") }).to_string();
            return TestServer::answer(200, &[], body.as_bytes());
        }
        // The first token is good for one record.
        let good = request.contains(&format!("Bearer token-{given}")) && !request.contains("late=1 ")
            || request.contains("Bearer token-2");
        let status = if good { 201 } else { 401 };
        TestServer::answer(status, &[], request.as_bytes())
    });
    let systems = systems(&[
        ("SALESFORCE__INSTANCE_URL", server.url("")),
        ("SALESFORCE__CLIENT_ID", "app".into()),
        ("SALESFORCE__CLIENT_SECRET", "hush".into()),
    ]);
    for (path, asked) in [("/a", 1), ("/b", 1), ("/c?late=1", 2), ("/d?late=1", 2)] {
        let reply = ask(&systems, call(Verb::Post, Endpoint::Salesforce(path.into()))).await.unwrap();
        assert_eq!((reply.status, *given.lock().unwrap()), (201, asked), "{path}");
        assert!(!format!("{reply:?}").contains("token-"), "{reply:?}");
    }
}

fn mail() -> Mail {
    Mail {
        id: "id-1".into(),
        to: "you@example.com".into(),
        subject: "Grüße".into(),
        content: format!("the key is {}", mark("KEY")),
        html: false,
        attachments: vec![Attachment {
            name: "note.txt".into(),
            content_type: "text/plain".into(),
            content: Content::Base64(STANDARD.encode("attached")),
        }],
        timeout_ms: 10_000,
    }
}

/// A mail server for one conversation: takes the mail, or refuses the recipient.
fn post_office(refuses: bool) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut out = stream.try_clone().unwrap();
        let mut said = |line: &str| out.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        said("220 here");
        let (mut all, mut in_data) = (String::new(), false);
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            all.push_str(&line);
            all.push('\n');
            if in_data {
                in_data = line != ".";
                if !in_data {
                    said("250 taken");
                }
                continue;
            }
            match line.split([' ', ':']).next().unwrap_or_default() {
                "RCPT" if refuses => said("550 nobody of that name"),
                "DATA" => {
                    in_data = true;
                    said("354 go on");
                }
                "QUIT" => {
                    said("221 bye");
                    break;
                }
                _ => said("250 fine"),
            }
        }
        all
    });
    (url, thread)
}

#[actix_rt::test]
async fn a_mail_is_handed_over_once_with_a_name_of_its_own() {
    let (url, office) = post_office(false);
    let by = systems(&[("SMTP__URL", url), ("SMTP__FROM", "House <us@holdline.test>".into())]);
    let reply = by.perform(Errand::Mail(Box::new(mail()))).await.unwrap();
    assert_eq!(reply.status, 250);
    drop(by); // closes the kept connection
    let said = office.join().unwrap();
    assert!(said.contains("Message-ID: <id-1@holdline.test>"), "{said}");
    assert!(said.contains("RCPT TO:<you@example.com>") && said.contains("s3\"cret/1"), "{said}");
    assert!(said.contains("note.txt"), "{said}");

    let (url, office) = post_office(true);
    let by = systems(&[("SMTP__URL", url.clone()), ("SMTP__FROM", "us@holdline.test".into())]);
    let error = by.perform(Errand::Mail(Box::new(mail()))).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Rejected, "{error}");
    office.join().unwrap();
    let error = by.perform(Errand::Mail(Box::new(mail()))).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unavailable, "nobody is there any more: {error}");
    for (file, why) in [("../instance.key", "name of a recording"), ("none.wav", "can't be sent")] {
        let content = Content::Recording(file.into());
        let attachments =
            vec![Attachment { name: "r.wav".into(), content_type: "audio/wav".into(), content }];
        let error = by.perform(Errand::Mail(Box::new(Mail { attachments, ..mail() }))).await.unwrap_err();
        assert!(error.class == ErrorClass::Invalid && error.message.contains(why), "{error}");
    }
}
