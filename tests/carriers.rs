//! What every carrier of streams must do: one contract, over real sockets, for the server of its own and for an app that
//! Holdline is mounted in.

mod support;

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt;
use holdline::config::{Config, Secret};
use serde_json::{Value, json};
use support::crowd::counted;
use support::hosted::{Carrier, Hosted};
use support::until;
use support::wire::{Asker, Caller};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::{self, Error};

const KEY: &str = "a secret of the account";
const CALL: &str = "CA00000000000000000000000000000001";
const ECHO: (&str, &str) = ("echo", "tasks: [{ type: echo }]\n");

macro_rules! contract {
    ($($promise:ident)*) => {
        mod own {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Carrier::Own).await; })*
        }
        mod embedded {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Carrier::Embedded).await; })*
        }
    };
}

contract! {
    a_stream_opens_once_with_its_own_token
    a_stream_must_say_in_time_whose_it_is
    what_is_no_message_is_ignored_until_there_are_a_hundred_in_a_row
    a_newer_document_takes_the_stream_over
    frames_come_in_any_pieces
    many_frames_in_one_lump_keep_their_order
    pings_and_closes_are_answered
    a_message_in_parts_is_one_message_and_too_long_a_one_closes_1009
    what_is_no_websocket_is_refused_and_burns_no_token
    a_frame_without_a_mask_ends_the_stream_and_the_call_goes_on
    a_peer_that_reads_nothing_is_noticed_and_the_call_goes_on
    a_flood_of_sound_loses_no_key_and_keeps_its_order
}

fn signed(config: &mut Config) {
    config.twilio.auth_tokens = vec![Secret::new(KEY)];
}

fn impatient(config: &mut Config) {
    config.calls.start_deadline = Duration::from_millis(200);
}

async fn a_stream_opens_once_with_its_own_token(carrier: Carrier) {
    let hosted = Hosted::carried(carrier, &[ECHO], signed);
    let network = Asker::new(&hosted.public(), Some(KEY));
    let url = network.arrive("echo", CALL).await.stream_url();
    let (before, token) = url.rsplit_once('/').unwrap();
    let other = if token.starts_with('A') { "B" } else { "A" };
    for wrong in [format!("{before}/{other}{}", &token[1..]), format!("{before}/x")] {
        assert_eq!(network.open(&wrong).await.err(), Some(403), "{wrong}");
    }
    let elsewhere = url.replace(CALL, "CA00000000000000000000000000000002");
    assert_eq!(network.open(&elsewhere).await.err(), Some(403), "the token of another call");
    let first = network.open(&url).await;
    assert!(first.is_ok());
    assert_eq!(network.open(&url).await.err(), Some(403), "a used token");
    assert_eq!(network.get(&format!("/webhooks/echo/wss/{CALL}")).await.status, 404, "half a path");
}

async fn a_stream_must_say_in_time_whose_it_is(carrier: Carrier) {
    let hosted = Hosted::carried(carrier, &[ECHO], impatient);
    let asker = Asker::new(&hosted.public(), None);
    // `connected` was sent, and is no start.
    let mut silent = Caller::open(asker.clone(), "echo", "silent").await;
    assert_eq!(silent.closed().await, Some(1008));
    let mut other = Caller::open(asker.clone(), "echo", "other").await;
    other.start_as("CA00000000000000000000000000000002").await;
    assert_eq!(other.closed().await, Some(1008));
    // The deadline is for the start alone: one that has started may be silent for longer.
    let mut quiet = Caller::open(asker, "echo", "quiet").await;
    quiet.start().await;
    let mut waits = Caller::open(quiet.asker.clone(), "echo", "waits").await;
    assert_eq!(waits.closed().await, Some(1008), "later than the quiet one's deadline");
    let sound = quiet.echo().await;
    assert_eq!(sound, counted(1, 1));
}

async fn what_is_no_message_is_ignored_until_there_are_a_hundred_in_a_row(carrier: Carrier) {
    let hosted = Hosted::carried(carrier, &[ECHO], |_| ());
    let mut caller = Caller::begin(&hosted.public(), "echo", "noisy").await;
    assert_eq!(caller.echo().await, counted(1, 1));
    let wrong = [
        tungstenite::Message::binary(vec![0, 1, 2]),
        tungstenite::Message::text("{not json"),
        tungstenite::Message::text(r#"{"event":"media","streamSid":"MZ","media":{"payload":"AAAA"}}"#),
        tungstenite::Message::text(format!(
            r#"{{"event":"media","streamSid":"{}","media":{{"payload":"*"}}}}"#,
            caller.stream_sid
        )),
    ];
    for place in 0..99 {
        caller.send(wrong[place % wrong.len()].clone()).await;
    }
    assert_eq!(caller.echo().await, counted(1, 1), "99 are ignored, and a good one ends the row");
    for place in 0..100 {
        caller.send(wrong[place % wrong.len()].clone()).await;
    }
    assert_eq!(caller.closed().await, Some(1007));
}

async fn a_newer_document_takes_the_stream_over(carrier: Carrier) {
    let hosted = Hosted::carried(carrier, &[ECHO], |_| ());
    let mut first = Caller::begin(&hosted.public(), "echo", "twice").await;
    assert_eq!(first.echo().await, counted(1, 1));
    let fields = [("CallSid", first.call_sid.as_str())];
    let document = first.asker.post("/webhooks/echo/next?x=1", &fields).await;
    let socket = first.asker.open(&document.stream_url()).await.unwrap();
    let (call_sid, asker) = (first.call_sid.clone(), first.asker.clone());
    let mut second = Caller { asker, call_sid, stream_sid: "MZ2".into(), socket };
    second.start().await;
    assert_eq!(first.closed().await, Some(1000));
    assert_eq!(second.echo().await, counted(1, 1));
}

/// A socket whose bytes the test writes itself.
async fn bare_socket(caller_origin: &str, url: &str) -> TcpStream {
    let address = caller_origin.trim_start_matches("http://");
    let socket = TcpStream::connect(address).await.unwrap();
    upgrade(socket, address, url).await
}

async fn upgrade(mut socket: TcpStream, address: &str, url: &str) -> TcpStream {
    let path = url.trim_start_matches("ws://").trim_start_matches(address);
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // As RFC 6455 gives it for this key.
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    socket
}

/// A text frame as a client sends it.
fn frame(text: &str) -> Vec<u8> {
    let mask = [7, 1, 255, 42];
    let mut bytes = vec![0x81];
    match text.len() {
        length @ 0..126 => bytes.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(text.bytes().zip(mask.into_iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

async fn read_frame(socket: &mut (impl AsyncRead + Unpin)) -> (u8, Vec<u8>) {
    let first = socket.read_u8().await.unwrap();
    let length = match socket.read_u8().await.unwrap() {
        126 => usize::from(socket.read_u16().await.unwrap()),
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    socket.read_exact(&mut payload).await.unwrap();
    (first, payload)
}

fn start(call_sid: &str) -> String {
    json!({
        "event": "start", "streamSid": "MZ1",
        "start": { "streamSid": "MZ1", "callSid": call_sid, "tracks": ["inbound"],
            "mediaFormat": { "encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1 } },
    })
    .to_string()
}

fn media(frame: usize) -> String {
    let audio = &counted(1, 1001)[frame * 160..][..160];
    json!({ "event": "media", "streamSid": "MZ1", "media": { "payload": STANDARD.encode(audio) } })
        .to_string()
}

async fn heard(socket: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    sound(&read_frame(socket).await.1)
}

fn sound(text: &[u8]) -> Vec<u8> {
    let message: Value = serde_json::from_slice(text).unwrap();
    STANDARD.decode(message["media"]["payload"].as_str().unwrap()).unwrap()
}

async fn frames_come_in_any_pieces(carrier: Carrier) {
    let hosted = Hosted::carried(carrier, &[ECHO], |_| ());
    let url = Asker::new(&hosted.public(), None).arrive("echo", CALL).await.stream_url();
    let mut socket = bare_socket(&hosted.public(), &url).await;
    socket.set_nodelay(true).unwrap();
    let bytes: Vec<u8> = [start(CALL), media(0), media(1)].iter().flat_map(|text| frame(text)).collect();
    for piece in bytes.chunks(3) {
        socket.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let sound = counted(1, 2);
    assert_eq!(heard(&mut socket).await, sound[..160]);
    assert_eq!(heard(&mut socket).await, sound[160..]);
}

async fn many_frames_in_one_lump_keep_their_order(carrier: Carrier) {
    let hosted = Hosted::carried(carrier, &[ECHO], |_| ());
    let url = Asker::new(&hosted.public(), None).arrive("echo", CALL).await.stream_url();
    let mut socket = bare_socket(&hosted.public(), &url).await;
    socket.write_all(&[frame(&start(CALL)), frame(&media(0))].concat()).await.unwrap();
    assert_eq!(heard(&mut socket).await, counted(1, 1));
    let lump: Vec<u8> = (1..41).flat_map(|number| frame(&media(number))).collect();
    socket.write_all(&lump).await.unwrap();
    for expected in counted(1, 41).chunks(160).skip(1) {
        assert_eq!(heard(&mut socket).await, expected);
    }
}

/// Not the system's buffers count, but what the caller can still be played: a socket that takes nothing fails what is
/// said on it after seconds, where the system would take half a minute's sound before anybody saw it stall.
#[allow(clippy::disallowed_methods)] // it measures real time
async fn a_peer_that_reads_nothing_is_noticed_and_the_call_goes_on(carrier: Carrier) {
    const LONG: &str = "\
tasks:
  - { type: beep, name: long, parameters: { duration: 60000 } }
  - { type: beep, name: next, parameters: { duration: 60000 } }
  - { type: digits_receive, name: key, parameters: { length: 1, duration: 50s } }
";
    let hosted = Hosted::carried(carrier, &[("long", LONG)], |_| ());
    let asker = Asker::new(&hosted.public(), None);
    let url = asker.arrive("long", CALL).await.stream_url();
    let small = TcpSocket::new_v4().unwrap();
    small.set_recv_buffer_size(4096).unwrap();
    let socket = small.connect(hosted.addresses.public).await.unwrap();
    let mut socket = upgrade(socket, &hosted.addresses.public.to_string(), &url).await;
    let began = Instant::now();
    socket.write_all(&frame(&start(CALL))).await.unwrap();
    let control = Asker::new(&hosted.control(), None);
    let history = async || {
        let path = format!("/v1/activeflows?reference_id={CALL}");
        let id = control.get(&path).await.json()["result"][0]["id"].as_str()?.to_owned();
        control.get(&format!("/v1/activeflows/{id}")).await.json()["executed_actions"].as_array().cloned()
    };
    let ended = until("both sounds have failed", async || {
        let steps = history().await?;
        (steps.iter().filter(|step| step["outcome"] == "failed").count() == 2).then_some(steps)
    })
    .await;
    let noticed = began.elapsed();
    for (step, name) in ended.iter().zip(["long", "next"]) {
        assert_eq!((&step["name"], &step["error"]["class"]), (&json!(name), &json!("timeout")), "{step:#}");
    }
    println!("noticed twice within {:.1} s", noticed.as_secs_f64());
    assert!(noticed < Duration::from_secs(20), "noticed after {noticed:?}");
    // The one that reads nothing may be read from no more, until it does.
    let key = json!({ "event": "dtmf", "streamSid": "MZ1", "dtmf": { "digit": "5" } }).to_string();
    let (mut reader, mut writer) = socket.split();
    writer.write_all(&frame(&key)).await.unwrap();
    let mut nowhere = tokio::io::sink();
    let reads = tokio::io::copy(&mut reader, &mut nowhere);
    let come = until("the key has come", async || {
        history().await?.into_iter().find(|step| step["name"] == "key" && !step["output"].is_null())
    });
    // With the key the flow is over, and the stream at its end.
    let (read, key) = tokio::join!(reads, come);
    read.unwrap();
    assert_eq!(key["output"]["digits"], "5");
}

/// The first byte of a close frame.
const CLOSE: u8 = 0x88;
/// More at once than anybody can listen to, and more than there are places for messages.
const FLOOD_FRAMES: usize = 1000;

async fn a_flood_of_sound_loses_no_key_and_keeps_its_order(carrier: Carrier) {
    let hosted = Hosted::carried(carrier, &[ECHO], |_| ());
    let asker = Asker::new(&hosted.public(), None);
    let url = asker.arrive("echo", CALL).await.stream_url();
    let mut socket = bare_socket(&hosted.public(), &url).await;
    socket.write_all(&[frame(&start(CALL)), frame(&media(0))].concat()).await.unwrap();
    assert_eq!(heard(&mut socket).await, counted(1, 1));
    let key = |digit: &str| {
        frame(&json!({ "event": "dtmf", "streamSid": "MZ1", "dtmf": { "digit": digit } }).to_string())
    };
    let mut flood = Vec::new();
    for number in 1..=FLOOD_FRAMES {
        flood.extend(frame(&media(number)));
        if number.is_multiple_of(100) {
            flood.extend(key(&(number / 100 % 10).to_string()));
        }
    }
    let (mut reader, mut writer) = socket.split();
    let control = Asker::new(&hosted.control(), None);
    let accounted = async {
        writer.write_all(&flood).await.unwrap();
        // The first frame, and then each of the flood once: heard and sent back, or dropped. Who counts comes behind.
        let counts = until("every frame is accounted for", async || {
            let call = control.get(&format!("/v1/calls/{CALL}")).await.json();
            let count = |name: &str| call["media"][name].as_u64().unwrap_or_default();
            let counts = (count("frames_out"), count("frames_dropped"));
            (counts.0 + counts.1 == 1 + FLOOD_FRAMES as u64).then_some(counts)
        });
        let counts = counts.await;
        let stop = json!({ "event": "stop", "streamSid": "MZ1", "stop": { "callSid": CALL } });
        writer.write_all(&frame(&stop.to_string())).await.unwrap();
        counts
    };
    // Who reads slowly may lose the newest as well as the oldest; the end comes behind all that was sent.
    let echoes = async {
        let mut echoed = Vec::new();
        loop {
            match read_frame(&mut reader).await {
                (CLOSE, _) => return echoed,
                (_, text) => echoed.push(sound(&text)),
            }
        }
    };
    let ((sent, dropped), echoed) = tokio::join!(accounted, echoes);
    assert_eq!(sent, 1 + echoed.len() as u64);
    let place = |frame: &Vec<u8>| usize::from(frame[2]) - 1 + 100 * (usize::from(frame[3]) - 1);
    assert!(echoed.iter().map(place).is_sorted(), "what is heard keeps its order");
    println!("{dropped} of {FLOOD_FRAMES} frames were dropped");
    until("every key has come", async || {
        let call = control.get(&format!("/v1/calls/{CALL}")).await.json();
        (call["digits"] == "1234567890").then_some(())
    })
    .await;
}

async fn pings_and_closes_are_answered(carrier: Carrier) {
    let hosted = Hosted::carried(carrier, &[ECHO], |_| ());
    let mut caller = Caller::begin(&hosted.public(), "echo", "polite").await;
    assert_eq!(caller.echo().await, counted(1, 1));
    caller.send(tungstenite::Message::Ping(vec![1, 2, 3].into())).await;
    let pong = loop {
        match caller.socket.next().await.unwrap().unwrap() {
            tungstenite::Message::Pong(payload) => break payload,
            tungstenite::Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(pong.as_ref(), [1, 2, 3]);
    caller.socket.close(None).await.unwrap();
    while let Some(message) = caller.socket.next().await {
        assert!(!matches!(message, Err(Error::Protocol(_))), "{message:?}");
    }
}

async fn a_message_in_parts_is_one_message_and_too_long_a_one_closes_1009(carrier: Carrier) {
    let hosted = Hosted::carried(carrier, &[ECHO], |_| ());
    let url = Asker::new(&hosted.public(), None).arrive("echo", CALL).await.stream_url();
    let mut socket = bare_socket(&hosted.public(), &url).await;
    socket.write_all(&frame(&start(CALL))).await.unwrap();
    let text = media(0);
    let (one, two) = text.split_at(100);
    let mut parts = [frame(one), frame(two)];
    parts[0][0] = 0x01; // the first, and not the last
    parts[1][0] = 0x80; // a continuation, and the last
    socket.write_all(&parts.concat()).await.unwrap();
    assert_eq!(heard(&mut socket).await, counted(1, 1));
    let mut huge = vec![0x81, 0x80 | 127];
    huge.extend(70_000_u64.to_be_bytes());
    huge.extend([0; 4 + 70_000]);
    socket.write_all(&huge).await.unwrap();
    let (first, payload) = read_frame(&mut socket).await;
    assert_eq!((first, payload[..2].to_vec()), (0x88, 1009_u16.to_be_bytes().to_vec()));
}

async fn what_is_no_websocket_is_refused_and_burns_no_token(carrier: Carrier) {
    let hosted = Hosted::carried(carrier, &[ECHO], |_| ());
    let asker = Asker::new(&hosted.public(), None);
    let url = asker.arrive("echo", CALL).await.stream_url();
    let path = url.trim_start_matches("ws://").split_once('/').unwrap().1;
    let wrong = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-version", "12")];
    let refused = asker.get_with(&format!("/{path}"), &wrong).await;
    assert_eq!(refused.status, 426, "{}", refused.body);
    assert!(asker.open(&url).await.is_ok(), "its token is still good");
}

async fn a_frame_without_a_mask_ends_the_stream_and_the_call_goes_on(carrier: Carrier) {
    let hosted = Hosted::carried(carrier, &[ECHO], |_| ());
    let asker = Asker::new(&hosted.public(), None);
    let url = asker.arrive("echo", CALL).await.stream_url();
    let mut socket = bare_socket(&hosted.public(), &url).await;
    socket.write_all(&frame(&start(CALL))).await.unwrap();
    socket.write_all(&[0x81, 2, b'h', b'i']).await.unwrap();
    let mut rest = Vec::new();
    socket.read_to_end(&mut rest).await.unwrap();
    let again = asker.post("/webhooks/echo/next?x=1", &[("CallSid", CALL)]).await;
    assert!(asker.open(&again.stream_url()).await.is_ok());
}

/// The codec of the embedded carrier is not ours, and gathers such a frame whole.
#[tokio::test]
async fn a_frame_that_only_promises_to_be_huge_is_not_waited_for() {
    let hosted = Hosted::start(&[ECHO], |_| ());
    let url = Asker::new(&hosted.public(), None).arrive("echo", CALL).await.stream_url();
    let mut socket = bare_socket(&hosted.public(), &url).await;
    socket.write_all(&frame(&start(CALL))).await.unwrap();
    let mut huge = vec![0x81, 0x80 | 127];
    huge.extend((1_u64 << 60).to_be_bytes());
    huge.extend([0; 4 + 66_000]);
    socket.write_all(&huge).await.unwrap();
    let (first, payload) = read_frame(&mut socket).await;
    assert_eq!((first, payload[..2].to_vec()), (0x88, 1009_u16.to_be_bytes().to_vec()));
}
