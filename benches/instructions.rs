//! How many instructions the pieces take that every frame and every webhook pay for: a number that does not depend on
//! who else uses the machine, so that a change which makes one of them dearer is seen. Counted by valgrind's callgrind;
//! without it this says so and is content.
//!
//! `cargo bench --bench instructions`

use std::hint::black_box;
use std::process::Command;
use std::sync::Arc;

use holdline_core::document::{Ending, Links, Plan, Say, Verb};
use holdline_core::media::frame::FRAME_BYTES;
use holdline_core::media::playout::{Playout, PlayoutConfig, SoundId, Source};
use holdline_core::provider::twilio::signature::{Body, Keys, Signed, verify};
use holdline_core::provider::twilio::{stream, twiml};
use holdline_core::{Tick, media};
use holdline_harness::network::sign;

/// A piece, how often it is done to be counted, and the most that one time may take. The bounds are a fifth above what
/// was counted when they were set: another compiler may do some things otherwise.
const PIECES: [(&str, u32, u64); 5] = [
    ("a media message is read", 2000, 3950),
    ("a media message is written", 2000, 790),
    ("a frame is played", 2000, 1150),
    ("a webhook's signature is checked", 200, 47_400),
    ("a document is rendered", 200, 48_000),
];

fn main() {
    let words: Vec<String> = std::env::args().collect();
    if let [_, way, piece, times] = words.as_slice()
        && way == "--do"
    {
        perform(piece, times.parse().expect("a number"));
        return;
    }
    // `cargo test --all-targets` runs benches too.
    if !words.iter().any(|word| word == "--bench") {
        return;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: no valgrind");
        return;
    }
    let mut dearer = Vec::new();
    for (piece, times, most) in PIECES {
        // What the start and the preparations take is in both.
        let one = (count(piece, times) - count(piece, 0)) / u64::from(times);
        println!("{piece:<36} {one:>8} instructions, at most {most}");
        if one > most {
            dearer.push(piece);
        }
    }
    assert!(dearer.is_empty(), "dearer than they may be: {dearer:?}");
}

fn count(piece: &str, times: u32) -> u64 {
    let me = std::env::current_exe().expect("a path");
    let counted = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(me)
        .args(["--do", piece, &times.to_string()])
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&counted.stderr);
    let line =
        said.lines().find_map(|line| line.split_once("Collected :")).unwrap_or_else(|| panic!("{said}"));
    line.1.trim().parse().expect("a count")
}

fn perform(piece: &str, times: u32) {
    let (sid, sound) = (sign::sid("MZ", "bench"), [0x55; FRAME_BYTES]);
    let mut text = String::new();
    match piece {
        "a media message is read" => {
            stream::media(&sid, &sound, &mut text);
            let payload = text.split("\"payload\":\"").nth(1).and_then(|rest| rest.split('"').next());
            let usual = format!(
                "{{\"event\":\"media\",\"sequenceNumber\":\"4\",\"media\":{{\"track\":\"inbound\",\"chunk\":\"2\",\
                 \"timestamp\":\"40\",\"payload\":\"{}\"}},\"streamSid\":\"{sid}\"}}",
                payload.unwrap_or_default()
            );
            let mut audio = Vec::with_capacity(FRAME_BYTES + 2);
            for _ in 0..times {
                assert!(stream::read_stream(black_box(&usual), &mut audio).is_ok());
                black_box(media::Audio::from(audio.as_slice()));
            }
        }
        "a media message is written" => {
            for _ in 0..times {
                stream::media(black_box(&sid), black_box(&sound), &mut text);
            }
        }
        "a frame is played" => {
            let sound: Arc<[u8]> = vec![0x55; (times as usize + 1) * FRAME_BYTES].into();
            let mut playout = Playout::new(PlayoutConfig::default());
            assert!(playout.begin(Tick(0), SoundId(1), Source::Whole(sound)).is_ok());
            let mut out = Vec::with_capacity(4);
            for frame in 0..u64::from(times) {
                out.clear();
                playout.tick(Tick::from_millis(frame * 20), &mut out);
                assert!(black_box(&out).len() == 1 && playout.due_at().is_some());
            }
        }
        "a webhook's signature is checked" => {
            let url = "https://voice.example.com/webhooks/menu".to_owned();
            let fields: Vec<(String, String)> =
                (0..25).map(|field| (format!("Field{field}"), format!("+1415555{field:04}"))).collect();
            let signature = sign::signature("secret", &url, &fields);
            let keys = Keys { auth_tokens: vec!["secret".into()], ..Keys::default() };
            let urls = [url];
            let body = Body::Form(&fields);
            let signed = Signed { urls: &urls, body, signature: Some(&signature), settings: None };
            for _ in 0..times {
                assert!(verify(black_box(&signed), &keys).is_ok());
            }
        }
        "a document is rendered" => {
            let say = Say { text: "Press one for sales.".into(), ssml: false, language: None, voice: None };
            let verbs = vec![Verb::Say(say), Verb::Pause { seconds: 1 }];
            let plan = Plan { exchange: 3, verbs, ending: Ending::Stream { parameters: Vec::new() } };
            let links = Links {
                origin: "https://voice.example.com".into(),
                workflow: "menu".into(),
                call: sign::sid("CA", "bench"),
                return_fragment: "#rc=5&rp=all&ct=1000&tt=15000".into(),
            };
            for _ in 0..times {
                black_box(twiml::render(black_box(&plan), &links, Some("dG9rZW4dG9rZW4dG9rZW")));
            }
        }
        other => panic!("no piece is called {other}"),
    }
}
