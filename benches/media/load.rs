//! The network's end of many streams: sends frames by a clock or as they come back, and checks each that does.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::wire::{self, Template};

const FRAME: Duration = Duration::from_millis(20);
/// Frames whose time of sending is known; later ones have overwritten it.
const KNOWN: usize = 64;

/// What the calls do.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speech {
    /// A frame each 20 ms.
    Paced,
    /// So many frames under way, and the next as soon as one is back.
    Blast(u32),
    /// They listen.
    Silent,
}

pub struct Call {
    pub call_sid: String,
    socket: TcpStream,
    unread: Vec<u8>,
    template: Template,
    pub sent: u32,
    pub came: u32,
    sent_at: [Option<Instant>; KNOWN],
    came_at: Option<Instant>,
}

pub struct Load {
    poll: Poll,
    events: Events,
    read: Vec<u8>,
    pub calls: Vec<Call>,
    /// Frames sent by the clock, of all calls.
    turn: u64,
    started: Instant,
}

/// What was seen in one window.
#[derive(Default)]
pub struct Seen {
    pub frames: u64,
    pub altered: u64,
    /// Times until a frame was back, in microseconds.
    pub round: Vec<u32>,
    /// How far the distance between two frames was from 20 ms.
    pub gap: Vec<u32>,
    /// How late the clock's frames left.
    pub late: Vec<u32>,
    pub took: Duration,
}

impl Load {
    pub fn new() -> Load {
        Load {
            poll: Poll::new().expect("a poll"),
            events: Events::with_capacity(4096),
            read: vec![0; 64 * 1024],
            calls: Vec::new(),
            turn: 0,
            started: Instant::now(),
        }
    }

    /// Opens one more stream and says its start.
    pub fn open(&mut self, address: SocketAddr, path: &str, call_sid: &str, parameters: &str) {
        let number = self.calls.len();
        let stream_sid = format!("MZ{number:032x}");
        let mut socket = std::net::TcpStream::connect(address).expect("a connection");
        socket.set_nodelay(true).expect("no delay");
        socket.write_all(wire::upgrade(path).as_bytes()).expect("a request");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(socket.read(&mut byte).expect("an answer"), 1, "{}", String::from_utf8_lossy(&head));
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
        let start = format!(
            "{{\"event\":\"start\",\"sequenceNumber\":\"1\",\"streamSid\":\"{stream_sid}\",\"start\":{{\
             \"streamSid\":\"{stream_sid}\",\"callSid\":\"{call_sid}\",\"tracks\":[\"inbound\"],\
             \"mediaFormat\":{{\"encoding\":\"audio/x-mulaw\",\"sampleRate\":8000,\"channels\":1}},\
             \"customParameters\":{{{parameters}}}}}}}"
        );
        socket.write_all(&wire::masked(&start)).expect("the start");
        socket.set_nonblocking(true).expect("a socket that does not wait");
        let mut socket = TcpStream::from_std(socket);
        self.poll.registry().register(&mut socket, Token(number), Interest::READABLE).expect("a place");
        self.calls.push(Call {
            call_sid: call_sid.to_owned(),
            socket,
            unread: Vec::new(),
            template: Template::new(number, &stream_sid),
            sent: 0,
            came: 0,
            sent_at: [None; KNOWN],
            came_at: None,
        });
    }

    /// Plays the calls for so long, and says what was seen.
    pub fn run(&mut self, speech: Speech, lasts: Duration) -> Seen {
        let mut seen = Seen::default();
        let began = Instant::now();
        if let Speech::Blast(most) = speech {
            for call in &mut self.calls {
                while call.sent - call.came < most {
                    call.send(began);
                }
            }
        }
        self.started = began;
        self.turn = 0;
        while began.elapsed() < lasts {
            self.wait(speech, &mut seen);
        }
        seen.took = began.elapsed();
        seen
    }

    /// Until everything that was sent is back.
    pub fn settle(&mut self) {
        let (began, mut seen) = (Instant::now(), Seen::default());
        while self.calls.iter().any(|call| call.came < call.sent) && began.elapsed() < Duration::from_secs(5)
        {
            self.wait(Speech::Silent, &mut seen);
        }
    }

    fn wait(&mut self, speech: Speech, seen: &mut Seen) {
        let mut timeout = Duration::from_millis(10);
        if speech == Speech::Paced {
            let step = FRAME / u32::try_from(self.calls.len()).expect("some calls");
            let now = Instant::now();
            loop {
                let due = self.started + step * u32::try_from(self.turn).expect("a short run");
                if due > now {
                    timeout = due - now;
                    break;
                }
                seen.late.push(micros(now - due));
                let count = self.calls.len() as u64;
                self.calls[usize::try_from(self.turn % count).expect("a place")].send(now);
                self.turn += 1;
            }
        }
        self.poll.poll(&mut self.events, Some(timeout)).expect("events");
        let now = Instant::now();
        for event in &self.events {
            self.calls[event.token().0].hear(now, speech, &mut self.read, seen);
        }
    }
}

impl Call {
    fn send(&mut self, now: Instant) {
        self.sent_at[self.sent as usize % KNOWN] = Some(now);
        // A frame is small; a system that has no room for it has a server that reads nothing.
        self.socket.write_all(self.template.numbered(self.sent)).expect("room for a frame");
        self.sent += 1;
    }

    fn hear(&mut self, now: Instant, speech: Speech, read: &mut [u8], seen: &mut Seen) {
        loop {
            let kept = self.unread.len();
            read[..kept].copy_from_slice(&self.unread);
            let count = match self.socket.read(&mut read[kept..]) {
                Ok(0) => panic!("{} was closed after {} of {} frames", self.call_sid, self.came, self.sent),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("{}: {error}", self.call_sid),
            };
            let bytes = &read[..kept + count];
            let mut at = 0;
            while let Some((kind, text)) = wire::frame(&bytes[at..]) {
                assert_eq!(kind, 0x81, "a message, in one frame");
                let message = &bytes[at..][text.clone()];
                at += text.end;
                if let Some(payload) = wire::payload(message) {
                    self.frame(now, speech, payload, seen);
                }
            }
            self.unread = bytes[at..].to_vec();
            if speech != Speech::Silent {
                while let Speech::Blast(most) = speech
                    && self.sent - self.came < most
                {
                    self.send(now);
                }
            }
        }
    }

    fn frame(&mut self, now: Instant, speech: Speech, payload: &[u8], seen: &mut Seen) {
        seen.frames += 1;
        if speech == Speech::Silent && self.sent == 0 {
            if let Some(before) = self.came_at.replace(now) {
                seen.gap.push(micros((now - before).abs_diff(FRAME)));
            }
            self.came += 1;
            return;
        }
        // In order, and as it was sent.
        if self.template.number_of(payload) == Some(self.came) {
            let at = self.sent_at[self.came as usize % KNOWN];
            seen.round.extend(at.map(|at| micros(now - at)));
        } else {
            seen.altered += 1;
        }
        self.came += 1;
    }
}

fn micros(span: Duration) -> u32 {
    u32::try_from(span.as_micros()).unwrap_or(u32::MAX)
}

/// So many of a hundred are not above this, in milliseconds.
pub fn at(times: &mut [u32], percent: f64) -> f64 {
    if times.is_empty() {
        return f64::NAN;
    }
    times.sort_unstable();
    let place = (times.len() as f64 * percent / 100.0).ceil() as usize;
    f64::from(times[place.clamp(1, times.len()) - 1]) / 1000.0
}
