//! What may happen to a call, as small moves: a property test chooses them, a fuzz target reads them from bytes.

use super::stage::{Stage, script, stage_config};
use crate::call::{Answer, CallConfig, Input, Request, RestConfig, StreamNo};
use crate::http::{HttpReply, NoReply, Outcome, ReplyBody};
use crate::id::CallId;
use crate::media::frame::FRAME_BYTES;
use crate::notice::{LineAnswer, NetworkStatus, RecordingNotice, StatusNotice};
use crate::once::Stamp;
use crate::scene::{Command, ErrorClass};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// Small flows that between them use every road: verbs only, prompts, the stream, both in turn, an end of their own,
/// holding on, recording, queues, endless loops.
pub const FLOWS: &[&str] = &[
    r#"{"tasks": [
        {"name": "hello", "type": "talk", "parameters": {"text": "hello"}},
        {"name": "pin", "type": "digits_receive", "parameters": {"length": 2, "duration": 5000}},
        {"name": "bye", "type": "talk", "parameters": {"text": "${pin.digits}"}}]}"#,
    r#"{"media": "always", "tasks": [
        {"name": "tune", "type": "play", "parameters": {"stream_urls": ["https://x.example/a.wav"], "digits_handle": "next"}},
        {"name": "pin", "type": "digits_receive", "parameters": {"length": 2, "duration": 5000}},
        {"name": "far", "type": "connect", "parameters": {"destinations": [{"type": "tel", "target": "+14155550111"}]}},
        {"name": "gone", "type": "play", "parameters": {"stream_urls": ["https://x.example/missing.wav"]}}]}"#,
    r#"{"tasks": [
        {"name": "rec", "type": "recording_start", "parameters": {"duration": "20s", "end_of_key": "9"}},
        {"name": "all", "type": "echo", "parameters": {"duration": 5000}},
        {"name": "wait", "type": "sleep", "parameters": {"duration": 700}},
        {"name": "kept", "type": "recording_stop"},
        {"name": "end", "type": "hangup"}]}"#,
    r#"{"on_end": "hold", "tasks": [
        {"name": "again", "type": "talk", "parameters": {"text": "again"}},
        {"name": "pause", "type": "sleep", "parameters": {"duration": 1500}},
        {"name": "back", "type": "goto", "parameters": {"target_id": "again", "loop_count": 3}}]}"#,
    r#"{"tasks": [
        {"name": "line", "type": "queue_join", "parameters": {"queue": "sales"}},
        {"name": "all", "type": "echo"}]}"#,
    r#"{"tasks": [
        {"name": "a", "type": "empty"},
        {"name": "b", "type": "goto", "parameters": {"target_id": "a"}}]}"#,
    r#"{"tasks": [
        {"name": "again", "type": "talk", "parameters": {"text": "for ever"}},
        {"name": "back", "type": "goto", "parameters": {"target_id": "again", "loop_count": 1000}}]}"#,
    r#"{"tasks": [
        {"name": "ask", "type": "http/request", "parameters": {"url": "https://x.example", "method": "POST"}},
        {"name": "say", "type": "talk", "parameters": {"text": "${ask.status}"}},
        {"name": "tell", "type": "webhook_send", "parameters": {"uri": "https://x.example", "data": 1}},
        {"name": "more", "type": "talk", "parameters": {"text": "more"}},
        {"name": "next", "type": "fetch", "parameters": {"event_url": "https://x.example"}}]}"#,
    r#"{"tasks": []}"#,
];

/// One thing that happens. Small numbers choose among what is there: exchanges, sockets, keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Move {
    Voice {
        key: u8,
    },
    Next {
        x: u8,
        key: u8,
        digits: bool,
    },
    Wait {
        x: u8,
        w: u8,
    },
    Status(u8),
    ChildStatus,
    Recording(u8),
    Open {
        exchange: u8,
    },
    WrongToken,
    Attach,
    Start {
        socket: u8,
        trouble: bool,
    },
    Heard {
        socket: u8,
    },
    Pressed {
        socket: u8,
        digit: u8,
    },
    Marked {
        stale: bool,
    },
    Stopped {
        socket: u8,
    },
    StreamDown {
        socket: u8,
    },
    Blocked {
        socket: u8,
        blocked: bool,
    },
    HangUp,
    Stop,
    /// What a person wants of the flow or the caller, by a small number.
    Command(u8),
    HandOver,
    Watched,
    /// Milliseconds, by a table of short and long ones.
    Time(u8),
    /// Replies of flow, loader and files wait, or come at once.
    Hold(bool),
    Deliver,
    SlowParent(bool),
    Crash,
    /// The process dies in the middle of the next input, behind so many effects.
    DieAfter(u8),
}

const TIMES_MS: [u64; 8] = [1, 20, 130, 1_000, 3_000, 11_000, 65_000, 700_000];
const DIGITS: [char; 8] = ['1', '2', '#', '*', '0', 'D', 'x', '9'];
const STATUSES: [NetworkStatus; 6] = [
    NetworkStatus::Ringing,
    NetworkStatus::InProgress,
    NetworkStatus::Queued,
    NetworkStatus::Completed,
    NetworkStatus::Busy,
    NetworkStatus::Completed,
];

/// Reads a flow's number and moves from bytes, three a move.
pub fn moves(bytes: &[u8]) -> (usize, Vec<Move>) {
    /// Longer stories only take longer.
    const MOVES_MAX: usize = 200;
    let Some((flow, rest)) = bytes.split_first() else { return (0, Vec::new()) };
    let read = |chunk: &[u8]| match *chunk {
        [what, a, b] => Some(read_move(what, a, b)),
        _ => None,
    };
    (usize::from(*flow) % FLOWS.len(), rest.chunks(3).filter_map(read).take(MOVES_MAX).collect())
}

fn read_move(what: u8, a: u8, b: u8) -> Move {
    match what % 31 {
        0 | 1 => Move::Voice { key: a },
        2..=5 => Move::Next { x: a, key: b, digits: b & 8 != 0 },
        6 => Move::Wait { x: a, w: b },
        7 => Move::Status(a),
        8 if a & 1 == 1 => Move::Command(b),
        8 => Move::ChildStatus,
        9 => Move::Recording(a),
        10 | 11 => Move::Open { exchange: a },
        12 => Move::WrongToken,
        13 => Move::Attach,
        14 | 15 => Move::Start { socket: a, trouble: b & 15 == 15 },
        16 if b == 7 => Move::Watched,
        16 => Move::Heard { socket: a },
        17 | 18 => Move::Pressed { socket: a, digit: b },
        19 => Move::Marked { stale: a & 1 == 1 },
        20 => Move::Stopped { socket: a },
        21 => Move::StreamDown { socket: a },
        22 => Move::Blocked { socket: a, blocked: b & 1 == 1 },
        23 if a & 3 == 0 => Move::HangUp,
        23 if a & 3 == 1 => Move::Stop,
        23 if a & 3 == 2 => Move::HandOver,
        24..=26 => Move::Time(a),
        27 => Move::Hold(a & 1 == 1),
        28 => Move::Deliver,
        29 => Move::SlowParent(a & 1 == 1),
        30 if a & 1 == 0 => Move::Crash,
        _ => Move::DieAfter(b % 8),
    }
}

/// A socket by a small number: mostly one that was admitted, the newest first, sometimes none of ours.
fn socket(stage: &Stage, number: u8) -> StreamNo {
    let back = usize::from(number % 4);
    stage.admitted.iter().rev().nth(back).copied().unwrap_or(StreamNo(u64::from(number)))
}

fn key(number: u8) -> Option<String> {
    let number = number % 8;
    (number < 4).then(|| format!("key-{number}"))
}

/// Does one move; the stage checks what must hold.
pub fn perform(stage: &mut Stage, step: Move) {
    let newest = stage.call.state().newest();
    let call = stage.call.state().arrival.call.clone();
    match step {
        Move::Voice { key: number } => _ = stage.voice(key(number).as_deref()),
        Move::Next { x, key: number, digits } => {
            let x = match x % 8 {
                0 => None,
                1 => Some(newest.saturating_sub(1)),
                2 => Some(newest + 1),
                3 => Some(u32::from(x)),
                _ => Some(newest),
            };
            let answer = if digits {
                LineAnswer::Gathered { digits: "12".into(), speech: None, confidence: None }
            } else {
                LineAnswer::Returned
            };
            let is_live = stage.call.state().stopping.is_none();
            let key = key(number);
            let answer = stage.next_with(x, answer, key.as_deref());
            // The table of exchanges, in short: the same number gives the same document, whatever came between.
            if let (Some(Answer::Document { plan }), true, None) = (answer, is_live, key) {
                let good = match x {
                    _ if newest == 0 => plan.exchange == 1,
                    Some(x) if (1..=newest).contains(&x) => plan.exchange == x + 1,
                    _ => plan.exchange == newest || plan.exchange == newest + 1,
                };
                assert!(good, "of {newest} documents {x:?} was acknowledged, and {} given", plan.exchange);
            }
        }
        Move::Wait { x, w } => {
            let waited_s = Some(u64::from(w)).filter(|_| x % 2 == 0);
            stage.ask(Request::Wait { x: u32::from(x % 4), w: u32::from(w), waited_s });
        }
        Move::Status(number) => {
            let status = STATUSES.get(usize::from(number) % STATUSES.len());
            stage.status(status.copied().unwrap_or(NetworkStatus::Ringing));
        }
        Move::ChildStatus => {
            stage.ask(Request::Status(StatusNotice {
                call: CallId("CA2".into()),
                parent: Some(call),
                status: Some(NetworkStatus::Completed),
                raw: "completed".into(),
                sequence: None,
                duration_s: Some(3),
                sip_code: None,
            }));
        }
        Move::Recording(number) => {
            let sid = format!("RE{}", number % 3);
            let url = format!("https://x.example/{sid}");
            let status = "completed".to_owned();
            stage.ask(Request::Recording(RecordingNotice { call, sid, url, status, seconds: Some(2) }));
        }
        Move::Open { exchange } => {
            let exchange = if exchange & 1 == 0 { newest } else { u32::from(exchange % 4) };
            stage.open(exchange);
        }
        Move::WrongToken => _ = stage.ask(Request::Open { token: "AAAAAAAAAAAAAAAAAAAAAA".into() }),
        Move::Attach => _ = stage.ask(Request::Attach),
        Move::Start { socket: number, trouble } => {
            let stream = socket(stage, number);
            let stream_sid = format!("MZ{}", stream.0);
            let trouble = trouble.then(|| "a strange format".to_owned());
            stage.input(Input::StreamUp { stream, stream_sid, trouble });
        }
        Move::Heard { socket: number } => {
            let stream = socket(stage, number);
            stage.input(Input::Heard { stream, audio: [0x7F; FRAME_BYTES][..].into(), at_ms: None });
        }
        Move::Pressed { socket: number, digit } => {
            let stream = socket(stage, number);
            let digit = DIGITS.get(usize::from(digit) % DIGITS.len()).copied().unwrap_or('1');
            stage.input(Input::Pressed { stream, digit });
        }
        Move::Marked { stale } => {
            let (stream, name) = match stage.marks.pop_front() {
                Some(mark) if !stale => mark,
                _ => (socket(stage, 0), "nothing".to_owned()),
            };
            stage.input(Input::Marked { stream, name });
        }
        Move::Stopped { socket: number } => {
            let stream = socket(stage, number);
            stage.input(Input::Stopped { stream });
        }
        Move::StreamDown { socket: number } => {
            let stream = socket(stage, number);
            stage.input(Input::StreamDown { stream });
        }
        Move::Blocked { socket: number, blocked } => {
            let stream = socket(stage, number);
            stage.input(Input::Blocked { stream, blocked });
        }
        Move::HangUp => _ = stage.ask(Request::HangUp),
        Move::Stop => _ = stage.ask(Request::Stop),
        Move::Command(number) => {
            let run = stage.call.state().sub_run;
            let command = match number % 5 {
                0 => Command::Execute { current_action_id: None, actions: None },
                1 => Command::Push { actions: Vec::new(), interrupt: true },
                2 => Command::Interrupt,
                3 => Command::Set { variables: vec![("set".to_owned(), number.into())] },
                _ => Command::Stop,
            };
            let request = match number {
                200.. => Request::Say { text: "a moment".to_owned() },
                _ => Request::Command { run, command },
            };
            // Few keys, so that some come again.
            let key = |number: u8| Uuid::from_u128((number % 4).into());
            let stamp =
                (100..140).contains(&number).then(|| Stamp { key: key(number), body: key(number / 4) });
            stage.ask(request.stamped(stamp));
        }
        Move::HandOver => stage.input(Input::HandOver),
        Move::Watched => stage.input(Input::Watched),
        Move::Time(number) => {
            let ms = TIMES_MS.get(usize::from(number) % TIMES_MS.len()).copied().unwrap_or(1);
            stage.after_ms(ms);
        }
        Move::Hold(hold) => {
            stage.held = hold;
            while !hold && stage.deliver() {}
        }
        Move::Deliver => _ = stage.deliver(),
        Move::SlowParent(slow) => stage.slow_parent = slow,
        Move::Crash => stage.crash(),
        Move::DieAfter(effects) => stage.dies_after = Some(usize::from(effects)),
    }
}

/// Any bytes are a story, and every story has an end.
pub fn fuzz_call_inputs(bytes: &[u8]) {
    let (flow, story) = moves(bytes);
    let Some(Ok(script)) = FLOWS.get(flow).map(|document| script(document)) else { return };
    let mut stage = Stage::new(script);
    stage.voice(None);
    for step in story {
        perform(&mut stage, step);
    }
    stage.to_the_end();
}

/// Any bytes are a story of a house with credentials, too: whatever the network's API says, and whenever it says it.
pub fn fuzz_call_with_rest(bytes: &[u8]) {
    let (flow, story) = moves(bytes);
    let Some(Ok(script)) = FLOWS.get(flow).map(|document| script(document)) else { return };
    let rest = RestConfig {
        interval: Duration::from_secs(30),
        origin: "https://holdline.test".into(),
        return_fragment: String::new(),
    };
    let mut stage = Stage::with(script, CallConfig { rest: Some(rest), ..stage_config() });
    stage.network = bytes.iter().map(|byte| said(*byte)).collect();
    stage.voice(None);
    for (place, step) in story.into_iter().enumerate() {
        if place % 5 == 4 {
            stage.ask(Request::LeaveVerb);
        }
        perform(&mut stage, step);
    }
    stage.to_the_end();
}

/// What the network's API may answer.
fn said(byte: u8) -> Outcome {
    let answer = |status: u16, body: Value| {
        Ok(HttpReply { status, headers: BTreeMap::new(), body: ReplyBody::Json(body) })
    };
    let stands = |status: &str| answer(200, json!({"sid": "CA1", "status": status, "duration": "7"}));
    match byte % 16 {
        0..=6 => stands("in-progress"),
        7 => stands("queued"),
        8 => stands("completed"),
        9 => stands("no word that we know"),
        10 => answer(404, json!({"code": 20404})),
        11 => answer(400, json!({"code": 21220})),
        12 => answer(429, json!({"code": 20429})),
        13 => answer(401, json!({"code": 20003})),
        14 => answer(200, Value::Null),
        _ => Err(NoReply { class: ErrorClass::Timeout, message: "no answer".into() }),
    }
}
