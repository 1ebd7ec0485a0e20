//! The pretend network's reading and writing, held against what others made: documents of the official SDK,
//! signatures of the official test suites, the message shapes of the published reference.

use std::time::Duration;

use holdline_harness::network::message::{self, FromServer, Violation};
use holdline_harness::network::twiml::{self, Document, Method, NounKind, Verb};
use holdline_harness::network::{sign, xml};
use serde_json::{Value, json};

#[test]
fn documents_of_the_official_sdk_read_as_they_were_meant() {
    let summaries = [
        (
            "sounds",
            "Say \"Tom & Jerry say \"5 < 6\" – ünïcode ☎\" 2 times, Play example.com/a.mp3 1000 times, Play digits ww12#, Pause 3 s, back to 1",
        ),
        ("gather", "Gather(1 digit or speech, 4 s)[Say \"Press 1\", Pause 1 s, Play menu.wav], Hangup"),
        ("dial", "Dial +15551234567 and client alice and sip:bob@example.com;transport=tcp"),
        ("conference", "Dial conference room 1 in silence"),
        ("dial a bare number", "Dial +15557654321"),
        ("dial a queue", "Dial queue support"),
        ("enqueue", "Enqueue support"),
        ("enqueue a task", "Enqueue WW0123456789abcdef0123456789abcdef"),
        ("record and reject", "Record(up to 30 s), Reject(busy), Leave"),
        ("stream", "Stream, back to 1"),
        ("recording", "Start recording, Stop recording"),
        ("ssml", "Say \"Hello dear caller\""),
        ("empty", "nothing"),
        ("foreign", "Say \"Bye\""),
    ];
    for (name, summary) in summaries {
        let document = sample(name);
        assert_eq!(document.to_string(), summary, "{name}");
        let warnings = if name == "foreign" { 2 } else { 0 };
        assert_eq!(document.warnings.len(), warnings, "{name}: {:?}", document.warnings);
    }
}

#[test]
fn attributes_of_the_official_sdk_arrive_with_their_values() {
    let Some(Verb::Gather(gather)) = sample("gather").verbs.into_iter().next() else { panic!("no Gather") };
    assert!(gather.dtmf && gather.speech && gather.action_on_empty && !gather.barge_in);
    assert_eq!(
        (gather.digits, gather.finish_on.as_str(), gather.timeout),
        (Some(1), "", Duration::from_secs(4))
    );
    assert_eq!(gather.action.as_deref(), Some("/next?x=1&a=1"));

    let Some(Verb::Dial(dial)) = sample("dial").verbs.into_iter().next() else { panic!("no Dial") };
    assert!(dial.hangup_on_star && dial.record && dial.answer_on_bridge);
    assert_eq!((dial.timeout, dial.time_limit), (Duration::from_secs(12), Some(Duration::from_secs(90))));
    assert_eq!(dial.action.map(|action| action.method), Some(Method::Get));
    let number = &dial.nouns[0];
    assert_eq!(number.events, ["initiated", "ringing", "answered", "completed"]);
    assert_eq!(number.callback.as_ref().map(|to| to.method), Some(Method::Get));

    let Some(Verb::Dial(dial)) = sample("conference").verbs.into_iter().next() else { panic!("no Dial") };
    let room = &dial.nouns[0];
    assert_eq!((room.kind, room.label.as_deref()), (NounKind::Conference, Some("caller")));
    assert!(room.ends && !room.starts && room.muted && room.record);

    let Some(Verb::Connect(connect)) = sample("stream").verbs.into_iter().next() else {
        panic!("no Connect")
    };
    assert_eq!(connect.stream.parameters[1], ("who".into(), "a \"quoted\" <name> & more".into()));
    let Some(Verb::Say(say)) = sample("ssml").verbs.into_iter().next() else { panic!("no Say") };
    assert_eq!(say.breaks, Duration::from_millis(500));
}

#[test]
fn what_is_not_a_document_is_refused() {
    let refused = [
        "",
        "hello",
        "<Response>",
        "<Response></Respons>",
        "<Response/><Response/>",
        "<Response/>tail",
        "<Response><Say>a & b</Say></Response>",
        "<Response><Say>&nbsp;</Say></Response>",
        "<Response><Say>&#1;</Say></Response>",
        "<Response><Say>\u{1}</Say></Response>",
        "<Response><Pause length=3/></Response>",
        "<Response><Pause length=\"1\" length=\"2\"/></Response>",
        "<Response><Play a=\"<\"/></Response>",
        "<!DOCTYPE x [<!ENTITY a \"b\">]><Response/>",
        "<Answer/>",
    ];
    for text in refused {
        assert!(twiml::read(text).is_err(), "{text:?} was read");
    }
    let deep = format!("<Response>{}{}</Response>", "<Say>".repeat(40), "</Say>".repeat(40));
    assert_eq!(twiml::read(&deep), Err(twiml::Error::Xml(xml::Error::TooDeep)));
    let large = format!("<Response><Say>{}</Say></Response>", "a".repeat(70_000));
    assert_eq!(twiml::read(&large).map_err(|why| why.code()), Err(11750));
}

#[test]
fn what_is_only_odd_is_performed_with_a_warning() {
    let odd = [
        "<Response><Pause length=\"x\"/></Response>",
        "<Response><Gather numDigits=\"0\"/></Response>",
        "<Response><Gather><Dial>1</Dial></Gather></Response>",
        "<Response><Gather numdigits=\"1\"/></Response>",
        "<Response><Stream url=\"wss://a/b\"/></Response>",
        "<Response><Connect><Stream/></Connect></Response>",
        "<Response><Say></Say></Response>",
        "<Response><Redirect method=\"PUT\">/a</Redirect></Response>",
        "<Response>text<Hangup/></Response>",
        "<Response><Dial/></Response>",
    ];
    for text in odd {
        let document = twiml::read(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert!(!document.warnings.is_empty(), "{text} was read without a warning");
    }
}

#[test]
fn signatures_of_the_official_suites_are_made_again() {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("data/signature-vectors.json")).unwrap();
    let mut made = 0;
    for vector in &vectors {
        if vector["algorithm"].as_str().is_some_and(|algorithm| algorithm != "HMAC_SHA1") {
            continue;
        }
        let url = vector["url"].as_str().unwrap();
        let token = vector["auth_token"].as_str().unwrap();
        let form = if vector["body"].is_null() { fields(&vector["params"]) } else { Vec::new() };
        let expected = vector["signature"].as_str().unwrap();
        // The network signs the URL with or without its port, and some suites write a quote encoded.
        let ours: Vec<String> =
            spellings(url).iter().map(|spelling| sign::signature(token, spelling, &form)).collect();
        let source = &vector["source"];
        let body_is_the_reason = !vector["body"].is_null();
        if vector["valid"] == json!(true) {
            assert!(ours.iter().any(|made| made == expected), "{source}");
            made += 1;
        } else if !body_is_the_reason {
            assert!(ours.iter().all(|made| made != expected), "{source}");
        }
    }
    assert!(made >= 35, "only {made} vectors were signed");
    assert_eq!(
        sign::signature("t", "https://a/b?c=1#rc=5", &[]),
        sign::signature("t", "https://a/b?c=1", &[]),
        "a fragment is never signed"
    );
}

#[test]
fn messages_have_the_documented_shape() {
    let mut writer = message::Writer::new("AC1", "CA1", "MZ1");
    let sent = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    assert_eq!(
        sent(writer.connected()),
        json!({"event": "connected", "protocol": "Call", "version": "1.0.0"})
    );
    assert_eq!(
        sent(writer.start(&["inbound"], &[("FirstName".into(), "Jane".into())])),
        json!({"event": "start", "sequenceNumber": "1", "start": {"accountSid": "AC1", "streamSid": "MZ1",
            "callSid": "CA1", "tracks": ["inbound"], "mediaFormat": {"encoding": "audio/x-mulaw",
            "sampleRate": 8000, "channels": 1}, "customParameters": {"FirstName": "Jane"}}, "streamSid": "MZ1"})
    );
    assert_eq!(
        sent(writer.media(20, &[0xFF, 0x7F])),
        json!({"event": "media", "sequenceNumber": "2", "media": {"track": "inbound", "chunk": "1",
            "timestamp": "20", "payload": "/38="}, "streamSid": "MZ1"})
    );
    assert_eq!(
        sent(writer.dtmf('#')),
        json!({"event": "dtmf", "streamSid": "MZ1", "sequenceNumber": "3",
            "dtmf": {"track": "inbound_track", "digit": "#"}})
    );
    assert_eq!(
        sent(writer.mark("my \"label\"")),
        json!({"event": "mark", "sequenceNumber": "4", "streamSid": "MZ1", "mark": {"name": "my \"label\""}})
    );
    assert_eq!(
        sent(writer.stop()),
        json!({"event": "stop", "sequenceNumber": "5", "stop": {"accountSid": "AC1", "callSid": "CA1"},
            "streamSid": "MZ1"})
    );
}

#[test]
fn a_server_may_say_three_things_and_nothing_beside_them() {
    let read = |text: &str| message::read(text, "MZ1");
    assert_eq!(
        read(r#"{"event":"media","streamSid":"MZ1","media":{"payload":"/38="}}"#),
        Ok(FromServer::Media(vec![0xFF, 0x7F]))
    );
    assert_eq!(
        read(r#"{"event":"mark","streamSid":"MZ1","mark":{"name":"a"}}"#),
        Ok(FromServer::Mark("a".into()))
    );
    assert_eq!(read(r#"{"event":"clear","streamSid":"MZ1"}"#), Ok(FromServer::Clear));

    assert!(matches!(read("{"), Err(Violation::NotJson(_))));
    assert!(matches!(read("[]"), Err(Violation::UnknownEvent(_))));
    assert!(matches!(read(r#"{"event":"stop","streamSid":"MZ1"}"#), Err(Violation::UnknownEvent(_))));
    assert!(matches!(read(r#"{"event":"clear","streamSid":"MZ2"}"#), Err(Violation::WrongStream { .. })));
    assert!(matches!(read(r#"{"event":"clear"}"#), Err(Violation::Missing("streamSid"))));
    for extra in [
        r#"{"event":"clear","streamSid":"MZ1","clear":{}}"#,
        r#"{"event":"mark","streamSid":"MZ1","mark":{"name":"a"},"sequenceNumber":"1"}"#,
        r#"{"event":"media","streamSid":"MZ1","media":{"payload":"/38=","track":"outbound"}}"#,
    ] {
        assert!(matches!(read(extra), Err(Violation::UnexpectedKey { .. })), "{extra}");
    }
    for bad in ["/38", "!", "data:audio"] {
        let text = json!({"event": "media", "streamSid": "MZ1", "media": {"payload": bad}}).to_string();
        assert!(matches!(read(&text), Err(Violation::NotBase64(_))), "{bad}");
    }
}

fn sample(name: &str) -> Document {
    let samples: Vec<Value> = serde_json::from_str(include_str!("data/twiml-samples.json")).unwrap();
    let sample =
        samples.iter().find(|sample| sample["name"] == name).unwrap_or_else(|| panic!("no sample {name}"));
    twiml::read(sample["document"].as_str().unwrap()).unwrap_or_else(|why| panic!("{name}: {why}"))
}

fn fields(params: &Value) -> Vec<sign::Field> {
    let mut fields = Vec::new();
    for (name, value) in params.as_object().into_iter().flatten() {
        match value {
            Value::Array(values) => {
                fields.extend(
                    values.iter().map(|value| (name.clone(), value.as_str().unwrap_or_default().into())),
                );
            }
            value => fields.push((name.clone(), value.as_str().unwrap_or_default().into())),
        }
    }
    fields
}

fn spellings(url: &str) -> Vec<String> {
    let mut spellings = vec![url.to_owned()];
    if let Some((scheme, rest)) = url.split_once("://") {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
        let at = if user.is_empty() { String::new() } else { format!("{user}@") };
        spellings.push(match host.split_once(':') {
            Some((name, _)) => format!("{scheme}://{at}{name}{path}"),
            None => format!("{scheme}://{at}{host}:{}{path}", if scheme == "https" { 443 } else { 80 }),
        });
    }
    let quoted: Vec<String> = spellings.iter().map(|spelling| spelling.replace("%27", "'")).collect();
    spellings.extend(quoted);
    spellings
}
