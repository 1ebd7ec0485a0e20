use super::*;
use crate::notice::NetworkStatus;
use base64::Engine;
use hmac::{Hmac, KeyInit, Mac};
use proptest::prelude::*;
use sha1::Sha1;
use std::collections::BTreeMap;

struct Known;

impl Flows for Known {
    fn exists(&self, id: &str) -> bool {
        matches!(id, "menu" | "a b")
    }
}

const TOKEN: &str = "12345";

/// A request on the table; the rest of it is filled in by the helpers.
#[derive(Clone, Default)]
struct Sent {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    proxied: bool,
}

fn sent(method: &str, target: &str, body: &str) -> Sent {
    let sent = Sent { method: method.into(), target: target.into(), body: body.into(), ..Sent::default() };
    if method == "POST" {
        sent.with("content-type", "application/x-www-form-urlencoded; charset=utf-8")
    } else {
        sent
    }
}

impl Sent {
    fn with(mut self, name: &str, value: &str) -> Sent {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Signs as the network does: the URL that it asked for, then the form.
    fn signed_for(self, url: &str) -> Sent {
        let mut fields = Form::parse(&self.body).fields().to_vec();
        fields.sort();
        let mut code = <Hmac<Sha1> as KeyInit>::new_from_slice(TOKEN.as_bytes()).unwrap();
        code.update(url.as_bytes());
        for (name, value) in fields {
            code.update(name.as_bytes());
            code.update(value.as_bytes());
        }
        let signature = base64::engine::general_purpose::STANDARD.encode(code.finalize().into_bytes());
        self.with("x-twilio-signature", &signature)
    }

    fn signed(self) -> Sent {
        let scheme = if self.target.contains("/ws") { "wss" } else { "https" };
        let url = format!("{scheme}://voice.example.com{}", self.target);
        self.signed_for(&url)
    }

    fn ask(&self, config: &FrontConfig) -> Result<Ask, Refusal> {
        let header = |name: &str| self.headers.get(name).map(String::as_str);
        let request = Request {
            method: &self.method,
            target: &self.target,
            header: &header,
            body: &self.body,
            peer_is_trusted_proxy: self.proxied,
        };
        admit(&request, config, &Known)
    }

    fn refused(&self, config: &FrontConfig) -> (u16, &'static str) {
        let refusal = self.ask(config).unwrap_err();
        (refusal.status, refusal.code)
    }
}

fn strict() -> FrontConfig {
    FrontConfig {
        origin: "https://voice.example.com".into(),
        keys: Keys { auth_tokens: vec!["older".into(), TOKEN.into()], ..Keys::default() },
        default_workflow: Some(WorkflowId("menu".into())),
        ..FrontConfig::default()
    }
}

fn local() -> FrontConfig {
    FrontConfig {
        origin: "http://127.0.0.1:8080".into(),
        bare_streams: true,
        default_workflow: Some(WorkflowId("menu".into())),
        ..FrontConfig::default()
    }
}

const CALL: &str =
    "CallSid=CA1&AccountSid=AC1&From=%2B14155550100&To=%2B1800&CallStatus=ringing&Direction=inbound";

fn menu() -> WorkflowId {
    WorkflowId("menu".into())
}

#[test]
fn the_voice_webhook_is_understood_by_post_and_by_get() {
    let posted = sent("POST", "/webhooks/menu?x=9", CALL).with("i-twilio-idempotency-token", "t-1").signed();
    let Ok(Ask::Voice(voice)) = posted.ask(&strict()) else { panic!("{:?}", posted.ask(&strict())) };
    assert_eq!((voice.workflow, voice.answer), (menu(), LineAnswer::Returned));
    assert_eq!(voice.arrival.from, "+14155550100");
    assert_eq!(voice.arrival.status, Some(NetworkStatus::Ringing));
    assert_eq!(voice.idempotency.as_deref(), Some("t-1"));
    let got = sent("GET", &format!("/webhooks/menu?{CALL}"), "").signed();
    let Ok(Ask::Voice(again)) = got.ask(&strict()) else { panic!() };
    assert_eq!(again.arrival, voice.arrival);
    let named = sent("POST", "/webhooks/a%20b", CALL).signed();
    assert!(matches!(named.ask(&strict()), Ok(Ask::Voice(voice)) if voice.workflow.0 == "a b"));
    let default = sent("POST", "/twiml", CALL).signed();
    assert!(matches!(default.ask(&strict()), Ok(Ask::Voice(voice)) if voice.workflow == menu()));
}

#[test]
fn the_way_back_names_its_exchange_or_the_url_that_failed_does() {
    let next = |target: &str, more: &str| {
        let sent = sent("POST", target, &format!("{CALL}{more}")).signed();
        match sent.ask(&strict()) {
            Ok(Ask::Next(next)) => next,
            other => panic!("{other:?}"),
        }
    };
    let came = next("/webhooks/menu/next?x=3&a=2", "&Digits=12&x=8");
    assert_eq!((came.x, came.a), (Some(3), Some(2)));
    assert_eq!(came.answer, LineAnswer::Gathered { digits: "12".into(), speech: None, confidence: None });
    for garbage in ["?x=0", "?x=-1", "?x=1e3", "?x=99999999999", "?x=", "", "?y=1"] {
        assert_eq!(next(&format!("/webhooks/menu/next{garbage}"), "").x, None, "{garbage}");
    }
    let failed = "&ErrorCode=11200&ErrorUrl=https%3A%2F%2Fvoice.example.com%2Fwebhooks%2Fmenu%2Fnext%3Fx%3D4%26a%3D1%23rc%3D5";
    let came = next("/webhooks/menu/next", failed);
    assert_eq!((came.x, came.a), (Some(4), Some(1)));
    assert_eq!(came.error.unwrap().code, "11200");
    let came = next("/webhooks/menu/next?x=2", failed);
    assert_eq!((came.x, came.a), (Some(2), None));
}

#[test]
fn notices_and_waits_are_understood() {
    let ask = |target: &str, body: &str| sent("POST", target, body).signed().ask(&strict());
    assert!(matches!(ask("/webhooks/twilio/status", CALL), Ok(Ask::Status(_))));
    assert!(matches!(
        ask("/webhooks/twilio/stream", "CallSid=CA1&StreamEvent=stream-stopped"),
        Ok(Ask::StreamEvent(_))
    ));
    assert!(matches!(
        ask("/webhooks/twilio/recording?callSid=CA1", "RecordingSid=RE1"),
        Ok(Ask::Recording(_))
    ));
    assert!(matches!(ask("/webhooks/twilio/conference", "ConferenceSid=CF1"), Ok(Ask::Conference(_))));
    let wait = ask("/webhooks/menu/wait?x=2&w=3", "CallSid=CA1&QueuePosition=4&QueueTime=61");
    let place = QueuePlace { position: Some(4), waited_s: Some(61), ..QueuePlace::default() };
    let expected = Wait { workflow: menu(), call: CallId("CA1".into()), x: Some(2), w: 3, place };
    assert_eq!(wait, Ok(Ask::Wait(expected)));
}

#[test]
fn the_urls_of_a_call_that_we_placed_name_the_wish() {
    let tag = "0190b3c4-1c2d-7e3f-8a4b-5c6d7e8f9a0b";
    let ask = |target: &str, body: &str| sent("POST", target, body).signed().ask(&strict());
    let told = ask(&format!("/webhooks/twilio/status?workflow=menu&tag={tag}"), CALL);
    let Ok(Ask::Placed(placed)) = told else { panic!("{told:?}") };
    assert_eq!((placed.workflow, placed.tag.to_string()), (menu(), tag.to_owned()));
    let voice = ask(&format!("/webhooks/menu?tag={tag}"), CALL);
    assert!(matches!(voice, Ok(Ask::Voice(voice)) if voice.tag.is_some()));
    for (target, body) in [
        ("/webhooks/twilio/status?workflow=menu&tag=x".to_owned(), CALL.to_owned()),
        (format!("/webhooks/twilio/status?tag={tag}"), CALL.to_owned()),
        (format!("/webhooks/twilio/status?workflow=menu&tag={tag}"), format!("{CALL}&ParentCallSid=CA9")),
    ] {
        assert!(matches!(ask(&target, &body), Ok(Ask::Status(_))), "{target} {body}");
    }
}

#[test]
fn a_stream_names_its_call_by_ticket_by_query_or_not_at_all() {
    let stream = |target: &str| sent("GET", target, "").with("upgrade", "websocket").signed().ask(&strict());
    let call = || CallId("CA1".into());
    let ticket = Entry::Ticket { call: call(), token: Token("t0ken".into()) };
    assert_eq!(stream("/webhooks/menu/wss/CA1/t0ken"), Ok(Ask::Stream { workflow: menu(), entry: ticket }));
    let hint = Entry::Hint(call());
    assert_eq!(stream("/webhooks/menu/wss?callSid=CA1"), Ok(Ask::Stream { workflow: menu(), entry: hint }));
    assert_eq!(stream("/webhooks/menu/wss"), Ok(Ask::Stream { workflow: menu(), entry: Entry::Bare }));
    assert_eq!(stream("/ws"), Ok(Ask::BareStream { workflow: menu() }));
    assert!(!format!("{:?}", stream("/webhooks/menu/wss/CA1/t0ken")).contains("t0ken"));
    let refusal = |target: &str| stream(target).unwrap_err();
    assert_eq!(refusal("/webhooks/menu/wss/..%2F../t0ken").status, 403);
    assert_eq!(refusal("/webhooks/other/wss").status, 404);
    assert_eq!(refusal("/webhooks/o%20ther/wss/CA1/t0ken").status, 404);
    let plain = sent("GET", "/webhooks/menu/wss/CA1/t0ken", "").signed();
    assert_eq!(plain.refused(&strict()), (426, "no_upgrade"));
    let https =
        sent("GET", "/ws", "").with("upgrade", "websocket").signed_for("https://voice.example.com/ws");
    assert_eq!(https.refused(&strict()).0, 403, "an upgrade is signed over its wss URL");
}

#[test]
fn a_call_is_asked_even_when_its_workflow_is_gone() {
    for path in ["/webhooks/gone", "/webhooks/gone/next?x=1", "/webhooks/gone/wait?x=1"] {
        assert!(sent("POST", path, "CallSid=CA1").signed().ask(&strict()).is_ok(), "{path}");
    }
    let stream = sent("GET", "/webhooks/gone/wss/CA1/t0ken", "").with("upgrade", "websocket");
    let ask = stream.signed_for("wss://voice.example.com/webhooks/gone/wss/CA1/t0ken").ask(&strict());
    assert!(ask.is_ok());
}

#[test]
fn refusals_come_in_their_order() {
    let large = "a".repeat(BODY_BYTES_MAX + 1);
    let table: [(Sent, (u16, &str)); 12] = [
        (sent("POST", "/webhooks/nobody", &large), (413, "too_large")),
        (sent("POST", "/no/such/path", &large), (413, "too_large")),
        (sent("POST", "/webhooks/menu", &large[1..]), (403, "bad_signature")),
        (sent("POST", "/webhooks/menu", &large[1..]).signed(), (400, "missing_call")),
        (sent("POST", "/webhooks/nobody", ""), (403, "bad_signature")),
        (sent("POST", "/webhooks/nobody", "").signed(), (404, "unknown_workflow")),
        (sent("POST", "/webhooks/menu/next", "From=1").signed(), (400, "missing_call")),
        (sent("POST", "/webhooks/menu/next", "CallSid=a%2Fb").signed(), (400, "missing_call")),
        (sent("POST", "/twiml", "").signed(), (400, "missing_call")),
        (sent("POST", "/webhooks/twilio/conference", "CallSid=CA1").signed(), (400, "missing_conference")),
        (sent("PUT", "/webhooks/menu", CALL), (405, "method_not_allowed")),
        (sent("GET", "/webhooks/twilio", ""), (404, "unknown_path")),
    ];
    for (sent, expected) in table {
        assert_eq!(sent.refused(&strict()), expected, "{} {}", sent.method, sent.target);
    }
    let allowed = sent("GET", "/webhooks/twilio/status", "").ask(&strict()).unwrap_err();
    assert_eq!((allowed.status, allowed.allow), (405, Some("POST")));
    for path in [
        "/",
        "",
        "/webhooks",
        "/webhooks/",
        "/webhooks/menu/",
        "/webhooks/menu/wss/CA1",
        "/webhooks/a/b/c/d/e/f",
    ] {
        assert_eq!(sent("GET", path, "").refused(&strict()), (404, "unknown_path"), "{path}");
    }
    assert_eq!(sent("GET", "/health?x", "").ask(&strict()), Ok(Ask::Health));
    assert_eq!(sent("HEAD", "/ready", "").ask(&strict()), Ok(Ask::Ready));
}

#[test]
fn a_forged_request_is_logged_with_the_url_that_was_tried() {
    let forged = sent("GET", "/webhooks/menu/wss/CA1/t0ken", "").with("x-twilio-signature", "AAAA");
    let log = forged.ask(&strict()).unwrap_err().log;
    assert!(log.contains("wss://voice.example.com/webhooks/menu/wss/CA1/***"), "{log}");
    assert!(!log.contains("t0ken"), "{log}");
    let host = sent("POST", "/webhooks/menu", CALL)
        .with("host", "evil.example.com")
        .signed_for("https://evil.example.com/webhooks/menu");
    assert_eq!(host.refused(&strict()).0, 403, "the Host header is nobody's word");
    let json = sent("POST", "/webhooks/menu", CALL).with("content-type", "application/json").signed();
    assert!(json.ask(&strict()).unwrap_err().log.contains("bodySHA256"));
}

#[test]
fn only_a_trusted_proxy_says_under_which_name_it_was_asked() {
    let mut sent = sent("POST", "/webhooks/menu", CALL)
        .with("x-forwarded-proto", "https")
        .with("x-forwarded-host", "other.example.com")
        .signed_for("https://other.example.com/webhooks/menu");
    assert_eq!(sent.refused(&strict()).0, 403);
    sent.proxied = true;
    assert!(sent.ask(&strict()).is_ok());
    let mut configured = sent.signed();
    assert!(configured.ask(&strict()).is_ok(), "the configured origin stays good");
    configured.headers.insert("x-forwarded-host".into(), "a/b?".into());
    assert!(configured.ask(&strict()).is_ok());
}

#[test]
fn a_prefix_of_the_public_url_may_be_stripped_on_the_way() {
    let config = FrontConfig { origin: "https://voice.example.com/hold/".into(), ..strict() };
    let url = "https://voice.example.com/hold/webhooks/menu";
    for target in ["/hold/webhooks/menu", "/webhooks/menu", "http://10.0.0.1:80/hold/webhooks/menu"] {
        let sent = sent("POST", target, CALL).signed_for(url);
        assert!(matches!(sent.ask(&config), Ok(Ask::Voice(_))), "{target}: {:?}", sent.ask(&config));
    }
    assert_eq!(sent("GET", "/hold/health", "").ask(&config), Ok(Ask::Health));
}

#[test]
fn without_a_key_only_the_neighbourhood_comes_in() {
    let plain = sent("POST", "/webhooks/menu", CALL);
    for host in ["127.0.0.1:8080", "localhost", "[::1]:9", "LocalHost:1"] {
        assert!(plain.clone().with("host", host).ask(&local()).is_ok(), "{host}");
    }
    assert!(plain.ask(&local()).is_ok());
    let elsewhere = plain.clone().with("host", "abc.tunnel.example");
    assert_eq!(elsewhere.refused(&local()), (403, "unsigned_proxied"));
    assert!(elsewhere.ask(&local()).unwrap_err().log.contains("abc.tunnel.example"));
    let forwarded = plain.with("host", "localhost").with("x-forwarded-for", "203.0.113.9");
    assert_eq!(forwarded.refused(&local()), (403, "unsigned_proxied"));
    let open = FrontConfig { insecure_no_signatures: true, ..local() };
    assert!(forwarded.ask(&open).is_ok() && elsewhere.ask(&open).is_ok());
    let ours = FrontConfig { own_hosts: vec!["abc.tunnel.example:443".into()], ..local() };
    assert!(elsewhere.ask(&ours).is_ok());
    let keyed = FrontConfig { insecure_no_signatures: true, ..strict() };
    assert_eq!(elsewhere.refused(&keyed), (403, "bad_signature"), "a key is used whatever else is set");
    let blank = FrontConfig { keys: Keys { auth_tokens: vec!["".into()], ..Keys::default() }, ..local() };
    assert_eq!(elsewhere.refused(&blank), (403, "unsigned_proxied"), "an empty token is no key");
}

#[test]
fn a_bare_stream_needs_no_call_where_it_is_allowed() {
    let document = sent("GET", "/twiml", "");
    assert_eq!(document.ask(&local()), Ok(Ask::BareTwiml { workflow: menu() }));
    assert_eq!(document.refused(&FrontConfig { bare_streams: false, ..local() }), (400, "missing_call"));
    assert_eq!(
        document.refused(&FrontConfig { default_workflow: None, ..local() }),
        (404, "unknown_workflow")
    );
}

proptest! {
    #[test]
    fn nothing_unsigned_ever_comes_in(
        method in prop::sample::select(vec!["GET", "POST", "PUT"]),
        target in "(/|webhooks|twilio|menu|wss|ws|next|wait|CA1|status|twiml|\\?|x=1|%2F|ü|#|http://){0,9}",
        signature in "[A-Za-z0-9+/=]{0,32}",
        body in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut sent = sent(method, &target, "").with("x-twilio-signature", &signature).with("upgrade", "websocket");
        sent.body = body;
        prop_assert!(sent.ask(&strict()).is_err());
        let _ = sent.ask(&local());
    }
}

#[test]
fn a_source_is_who_a_believed_proxy_saw_and_of_ipv6_a_whole_network() {
    let ip = |text: &str| text.parse::<std::net::IpAddr>().unwrap();
    let table = [
        ("203.0.113.7", false, Some("198.51.100.9"), "203.0.113.7"),
        ("203.0.113.7", true, Some("192.0.2.1, 198.51.100.9"), "198.51.100.9"),
        ("203.0.113.7", true, Some("nonsense"), "203.0.113.7"),
        ("203.0.113.7", true, None, "203.0.113.7"),
        ("::ffff:203.0.113.7", false, None, "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", false, None, "2001:db8:1:2::"),
    ];
    for (peer, trusted, forwarded, expected) in table {
        assert_eq!(source(Some(ip(peer)), trusted, forwarded), Some(ip(expected)), "{peer} {forwarded:?}");
    }
    assert_eq!(source(None, true, None), None);
}
