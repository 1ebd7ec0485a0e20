//! The limit: bare sockets on one thread, one read and one write a wake, no call behind them. What a frame costs here
//! is what the system takes for it, and the least that must be done with the message.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(usize::MAX);

struct Line {
    socket: TcpStream,
    unread: Vec<u8>,
    head: Vec<u8>,
    is_open: bool,
}

/// Serves for ever; says its port on standard output first.
pub fn serve() -> std::io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    println!("{}", listener.local_addr()?);
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let (mut lines, mut next) = (BTreeMap::new(), 0);
    let (mut events, mut read, mut replies) = (Events::with_capacity(1024), vec![0; 64 * 1024], Vec::new());
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut socket, _)) = listener.accept() {
                    socket.set_nodelay(true)?;
                    next += 1;
                    poll.registry().register(&mut socket, Token(next), Interest::READABLE)?;
                    lines.insert(next, Line { socket, unread: vec![], head: vec![], is_open: false });
                }
                continue;
            }
            let Some(line) = lines.get_mut(&event.token().0) else { continue };
            if !line.turn(&mut read, &mut replies) {
                lines.remove(&event.token().0);
            }
        }
    }
}

impl Line {
    /// False when it is over.
    fn turn(&mut self, read: &mut [u8], replies: &mut Vec<u8>) -> bool {
        loop {
            let kept = self.unread.len();
            read[..kept].copy_from_slice(&self.unread);
            let count = match self.socket.read(&mut read[kept..]) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            replies.clear();
            let used = self.answer(&mut read[..kept + count], replies);
            self.unread.clear();
            self.unread.extend_from_slice(&read[used..kept + count]);
            // Replies are as long as requests, and the generator reads: the system takes them.
            if !replies.is_empty() && self.socket.write_all(replies).is_err() {
                return false;
            }
            // A short read has emptied the socket.
            if kept + count < read.len() {
                return true;
            }
        }
    }

    fn answer(&mut self, bytes: &mut [u8], replies: &mut Vec<u8>) -> usize {
        let mut at = 0;
        if !self.is_open {
            let Some(end) = bytes.windows(4).position(|end| end == b"\r\n\r\n") else { return 0 };
            at = end + 4;
            self.is_open = true;
            replies.extend_from_slice(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            );
        }
        while let Some((text, end)) = unmask(&mut bytes[at..]) {
            let message = &bytes[at..][text];
            at += end;
            let value = |key: &[u8]| {
                let start = memchr::memmem::find(message, key)? + key.len();
                Some(&message[start..][..memchr::memchr(b'"', &message[start..])?])
            };
            if let Some(payload) = value(b"\"payload\":\"") {
                let mut audio = [0; 162];
                let out = base64_simd::Out::from_slice(&mut audio);
                if let Ok(audio) = base64_simd::STANDARD.decode(payload, out) {
                    let length = self.head.len() + super::wire::PAYLOAD + 3;
                    replies.extend([0x81, 126]);
                    replies.extend(u16::try_from(length).expect("a short message").to_be_bytes());
                    replies.extend_from_slice(&self.head);
                    base64_simd::STANDARD.encode_append(std::hint::black_box(audio), replies);
                    replies.extend_from_slice(b"\"}}");
                }
            } else if let Some(sid) = value(b"\"streamSid\":\"") {
                self.head =
                    [b"{\"event\":\"media\",\"streamSid\":\"", sid, b"\",\"media\":{\"payload\":\""].concat();
            }
        }
        at
    }
}

fn unmask(bytes: &mut [u8]) -> Option<(std::ops::Range<usize>, usize)> {
    let (mask_at, length) = match *bytes.get(1)? & 127 {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        length => (2, usize::from(length)),
    };
    let text = mask_at + 4..mask_at + 4 + length;
    let mask: [u8; 4] = bytes.get(mask_at..text.start)?.try_into().ok()?;
    let half = u64::from(u32::from_ne_bytes(mask));
    let (words, rest) = bytes.get_mut(text.clone())?.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ (half << 32 | half)).to_ne_bytes();
    }
    rest.iter_mut().zip(mask.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((text.clone(), text.end))
}
