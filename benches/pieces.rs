//! What is done most often, one piece at a time: a message in and out, a signature, a document, a turn, a tick.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use holdline_core::document::{Ending, Links, Plan, Say, Verb};
use holdline_core::flow::action;
use holdline_core::flow::parse::{Language, parse};
use holdline_core::flow::{Run, RunSpec};
use holdline_core::limit::Limits;
use holdline_core::media::frame::FRAME_BYTES;
use holdline_core::media::playout::{Playout, PlayoutConfig, SoundId, Source};
use holdline_core::provider::twilio::signature::{Body, Keys, Signed, verify};
use holdline_core::provider::twilio::{stream, twiml};
use holdline_core::scene::{Event, Line, Posture, Reference};
use holdline_core::{CallId, Now, RunId, Tick};
use holdline_harness::network::sign;

fn messages(bench: &mut Criterion) {
    let (sid, sound) = (sign::sid("MZ", "bench"), [0x55; FRAME_BYTES]);
    let mut text = String::new();
    stream::media(&sid, &sound, &mut text);
    let payload =
        text.split("\"payload\":\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
    let usual = format!(
        "{{\"event\":\"media\",\"sequenceNumber\":\"4\",\"media\":{{\"track\":\"inbound\",\"chunk\":\"2\",\
         \"timestamp\":\"40\",\"payload\":\"{payload}\"}},\"streamSid\":\"{sid}\"}}"
    );
    let mut audio = Vec::new();
    assert!(stream::read_stream(&usual, &mut audio).is_ok() && audio == sound);
    bench.bench_function("a media message is read", |bench| {
        bench.iter(|| stream::read_stream(black_box(&usual), &mut audio).is_ok());
    });
    bench.bench_function("a media message is read the long way", |bench| {
        bench.iter(|| stream::read_stream_slowly(black_box(&usual), &mut audio).is_ok());
    });
    bench.bench_function("a media message is written", |bench| {
        bench.iter(|| stream::media(black_box(&sid), black_box(&sound), &mut text));
    });
}

fn signature(bench: &mut Criterion) {
    let url = "https://voice.example.com/webhooks/menu".to_owned();
    let fields: Vec<(String, String)> =
        (0..25).map(|field| (format!("Field{field}"), format!("+1415555{field:04}"))).collect();
    let signature = sign::signature("secret", &url, &fields);
    let keys = Keys { auth_tokens: vec!["secret".into()], ..Keys::default() };
    let urls = [url];
    let signed =
        Signed { urls: &urls, body: Body::Form(&fields), signature: Some(&signature), settings: None };
    assert!(verify(&signed, &keys).is_ok());
    bench.bench_function("a webhook's signature is checked", |bench| {
        bench.iter(|| verify(black_box(&signed), &keys).is_ok());
    });
}

fn document(bench: &mut Criterion) {
    let say = |text: &str| Verb::Say(Say { text: text.into(), ssml: false, language: None, voice: None });
    let verbs = vec![say("Press one for sales, two for support."), Verb::Pause { seconds: 1 }];
    let plan = Plan { exchange: 3, verbs, ending: Ending::Stream { parameters: Vec::new() } };
    let links = Links {
        origin: "https://voice.example.com".into(),
        workflow: "menu".into(),
        call: sign::sid("CA", "bench"),
        return_fragment: "#rc=5&rp=all&ct=1000&tt=15000".into(),
    };
    bench.bench_function("a document is rendered", |bench| {
        bench.iter(|| twiml::render(black_box(&plan), &links, Some("dG9rZW4dG9rZW4dG9rZW")));
    });
}

fn turn(bench: &mut Criterion) {
    let text = "tasks:\n  - { type: variable_set, parameters: { key: who, value: you } }\n  \
                - { type: talk, parameters: { text: 'Hello, ${who}' } }\n  - { type: echo }\n";
    let (declared, limits) = (action::declared(), Limits::default());
    let language = Language::new(&declared, action::LATER, &limits);
    let script = Arc::new(parse(&language, "bench.yaml", "bench", text).script.expect("a workflow"));
    let now = Now { tick: Tick(0), wall_ms: 1_800_000_000_000 };
    let spec = RunSpec {
        id: RunId(uuid::Uuid::from_u128(1)),
        script,
        reference: Reference::call(&CallId("CA1".into())),
        variables: serde_json::Map::new(),
        complete_count: 0,
        parent: None,
        on_complete: None,
        webhook: None,
    };
    let posture = Posture { line: Line::Asking, local_speech: false };
    bench.bench_function("a run is begun and takes its first turn of three steps", |bench| {
        bench.iter(|| Run::begin(now, black_box(&spec).clone()).0.take(now, &posture, Event::Proceed));
    });
}

fn tick(bench: &mut Criterion) {
    const SECOND: usize = 50;
    let sound: Arc<[u8]> = vec![0x55; SECOND * FRAME_BYTES].into();
    bench.bench_function("a second of sound is played, 50 ticks", |bench| {
        bench.iter(|| {
            let mut playout = Playout::new(PlayoutConfig::default());
            let begun = playout.begin(Tick(0), SoundId(1), Source::Whole(sound.clone()));
            let mut out = Vec::with_capacity(SECOND + 1);
            for frame in 0..SECOND as u64 {
                playout.tick(Tick::from_millis(frame * 20), &mut out);
            }
            assert!(begun.is_ok() && out.len() >= SECOND);
            out
        });
    });
}

criterion_group!(pieces, messages, signature, document, turn, tick);
criterion_main!(pieces);
