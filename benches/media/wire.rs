//! The bytes of both ends: WebSocket frames and media messages, with as little work as possible.

/// A frame of audio as base64 without padding to speak of: 160 bytes.
pub const PAYLOAD: usize = 216;
/// Of the payload, what tells one frame from another: nine bytes.
const MARK: usize = 12;

/// One call's media message, ready to be sent but for its number. Masked with nothing, which a server must undo all the
/// same.
pub struct Template {
    frame: Vec<u8>,
    payload_at: usize,
}

impl Template {
    pub fn new(call: usize, stream_sid: &str) -> Template {
        let letter = |place: usize| b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"[(call * 7 + place * 3) % 32];
        // 160 bytes are 213 letters and a third: the last group is padded.
        let payload: String = (0..PAYLOAD)
            .map(|place| match place {
                0..MARK => 'A',
                213 => 'A',
                214.. => '=',
                _ => char::from(letter(place)),
            })
            .collect();
        let text = format!(
            "{{\"event\":\"media\",\"sequenceNumber\":\"4\",\"media\":{{\"track\":\"inbound\",\"chunk\":\"2\",\
             \"timestamp\":\"40\",\"payload\":\"{payload}\"}},\"streamSid\":\"{stream_sid}\"}}"
        );
        let frame = masked(&text);
        let payload_at = frame.len() - text.len() + text.find(&payload).expect("it is in there");
        Template { frame, payload_at }
    }

    /// The frame with this number.
    pub fn numbered(&mut self, number: u32) -> &[u8] {
        for (place, letter) in self.frame[self.payload_at..][..MARK].iter_mut().enumerate() {
            // Three bits a letter: as far as anybody counts.
            *letter = b'A' + ((number >> (3 * place.min(10))) & 7) as u8;
        }
        &self.frame
    }

    /// The number of a payload that came back; none if it is not as it was sent.
    pub fn number_of(&self, payload: &[u8]) -> Option<u32> {
        let (mark, rest) = payload.split_at_checked(MARK)?;
        if rest != &self.frame[self.payload_at + MARK..][..PAYLOAD - MARK] {
            return None;
        }
        Some((0..10).fold(0, |number, place| number | u32::from(mark[place] - b'A') << (3 * place)))
    }
}

/// A text message as a client sends it.
pub fn masked(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(text.len()) {
        Ok(length @ ..126) => frame.push(0x80 | length),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(text.len()).expect("a short message").to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text.bytes());
    frame
}

/// The next whole frame that a server sent: its kind, where its payload lies, and where it ends.
pub fn frame(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        length => (2, usize::from(length)),
    };
    (bytes.len() >= start + length).then_some((bytes[0], start..start + length))
}

/// The payload of a media message, if it is one.
pub fn payload(text: &[u8]) -> Option<&[u8]> {
    text.strip_suffix(b"\"}}")?.last_chunk::<PAYLOAD>().map(|payload| &payload[..])
}

/// One request, and all of its answer.
pub fn ask(address: std::net::SocketAddr, request: &str) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(address)?;
    socket.write_all(request.as_bytes())?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer)?;
    Ok(answer)
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
}

pub fn post(path: &str, form: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    )
}

pub fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}
