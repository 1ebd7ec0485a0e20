//! A stream's socket in its session's own hands: no actor stands between the two, so a frame costs neither a message
//! nor a wake beside the system's own.
//!
//! What a quiet one holds is small and plain: the socket, the stream's name, half a frame. Bytes are read into one
//! buffer of the thread, and what is to be sent gathers in another one, which a line gives back as soon as the system
//! has taken everything. Only what the system does not take is kept.

use super::reading::{Conversation, Heard, Part, Parts, write};
use crate::alive::Life;
use crate::tally::Tally;
use actix_codec::{Decoder, Encoder};
use actix_http::ws::{CloseCode, CloseReason, Codec, Frame, Message, ProtocolError};
use bytes::{Buf, BufMut, BytesMut};
use holdline_core::call::{StreamNo, StreamOut};
use holdline_core::metric::{self, Limit};
use holdline_core::provider::twilio::stream::{MESSAGE_BYTES_MAX, Start};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::io::poll_read_buf;

/// Read at once: some forty frames, if a network sends them in one lump.
const READ_BYTES: usize = 16 * 1024;
/// A message and its frame's head.
const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 14;
/// Answers to pings are left out while so much is waiting: whoever pings without reading is owed nothing.
const UNSENT_BYTES_MAX: usize = 64 * 1024;
/// A thread's buffer for what is to be sent that has grown beyond this is not used again.
const SPARE_BYTES_MAX: usize = 64 * 1024;
/// For the last bytes to leave and for the other side to end the connection, once the stream is over.
const FAREWELL: Duration = Duration::from_secs(5);

/// The first byte of a text message in one frame, and of a pong.
const WHOLE_TEXT: u8 = 0x81;
const WHOLE_PONG: u8 = 0x8A;

thread_local! {
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A connection that has been taken out of HTTP.
pub struct Connection {
    pub io: TcpStream,
    /// Read beyond the request.
    pub unread: BytesMut,
    /// To be sent before anything else: the answer to the request.
    pub unsent: BytesMut,
}

pub struct Line {
    /// None once the stream is over.
    io: Option<TcpStream>,
    conversation: Conversation,
    codec: Codec,
    parts: Parts,
    /// Half a frame.
    unread: Vec<u8>,
    unsent: Vec<u8>,
    /// Where in all that was ever to be sent the messages end that are not sent.
    ends: VecDeque<u64>,
    accepted: u64,
    written: u64,
    /// The system takes no more for now.
    waits: bool,
    holds_back: bool,
    tally: Arc<Tally>,
    /// None once somebody else counts the socket.
    life: Option<Life>,
}

/// A line on its way to its session's thread.
pub struct Parcel {
    io: std::net::TcpStream,
    conversation: Conversation,
    unread: Vec<u8>,
    unsent: Vec<u8>,
    tally: Arc<Tally>,
    life: Option<Life>,
}

/// What a look at the bytes came to.
#[derive(Debug)]
pub enum Came {
    Heard(Heard),
    /// The other side closes.
    Closed(Option<CloseReason>),
    /// There is no whole frame.
    More,
}

/// What a flush came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Messages that have left entirely.
    pub sent: u32,
    pub gone: bool,
}

const NOTHING: Flushed = Flushed { sent: 0, gone: false };

impl Line {
    pub fn new(connection: Connection, stream: Option<StreamNo>, tally: Arc<Tally>) -> Line {
        let Connection { io, unread, unsent } = connection;
        let life = Some(tally.sockets.begin());
        let mut line = Line::on(io, Conversation::new(stream), tally, life);
        (line.unread, line.unsent) = (unread.to_vec(), unsent.to_vec());
        line.accepted = line.unsent.len() as u64;
        line
    }

    fn on(io: TcpStream, conversation: Conversation, tally: Arc<Tally>, life: Option<Life>) -> Line {
        Line {
            io: Some(io),
            conversation,
            codec: Codec::new(),
            parts: Parts::default(),
            unread: Vec::new(),
            unsent: Vec::new(),
            accepted: 0,
            ends: VecDeque::new(),
            written: 0,
            waits: false,
            holds_back: false,
            tally,
            life,
        }
    }

    pub fn has_started(&self) -> bool {
        self.conversation.has_started()
    }

    /// A stream that belonged to nobody was given its place in a call.
    pub fn becomes(&mut self, stream: StreamNo) {
        self.conversation.becomes(stream);
    }

    /// Made ready for another thread; the system's news of the socket come there.
    pub fn pack(mut self) -> io::Result<Parcel> {
        let io = self.io.take().ok_or(ErrorKind::NotConnected)?.into_std()?;
        Ok(Parcel {
            io,
            conversation: std::mem::take(&mut self.conversation),
            unread: std::mem::take(&mut self.unread),
            unsent: std::mem::take(&mut self.unsent),
            tally: self.tally.clone(),
            life: self.life.take(),
        })
    }

    /// Reads on behind what was kept, and says how much; nothing when nothing will ever come.
    pub fn poll_read(&mut self, task: &mut Context<'_>, read: &mut BytesMut) -> Poll<usize> {
        let Some(io) = &mut self.io else { return Poll::Ready(0) };
        read.reserve(READ_BYTES);
        // The buffer may have grown for a long message; what one reading leads to must not grow with it.
        poll_read_buf(Pin::new(io), task, &mut read.limit(READ_BYTES)).map(Result::unwrap_or_default)
    }

    /// Whoever floods us is read from no more as long as the system takes nothing; says whether that is so.
    pub fn hold_back(&mut self) -> bool {
        self.holds_back = self.waits;
        self.holds_back
    }

    pub fn is_held_back(&self) -> bool {
        self.holds_back && self.waits
    }

    /// What was kept of the last reading goes in front.
    pub fn resume(&mut self, read: &mut BytesMut) {
        read.extend_from_slice(&std::mem::take(&mut self.unread));
    }

    /// Half a frame waits for its rest.
    pub fn keep(&mut self, read: &mut BytesMut) {
        self.unread = read.to_vec();
    }

    /// The next frame of what was read.
    pub fn next(&mut self, read: &mut BytesMut) -> Came {
        // Nearly every frame is a whole message; the codec would move it into memory of its own.
        if !self.parts.are_open()
            && let Some((text, length)) = whole_text(read)
        {
            let heard = self.conversation.text_bytes(read.get(text).unwrap_or_default());
            read.advance(length);
            return self.bounded(heard);
        }
        let heard = match self.codec.decode(read) {
            // The codec would gather a frame of any length before it says that it is too long.
            Ok(None) if read.len() > FRAME_BYTES_MAX => return self.too_much(Limit::MessageBytes),
            Ok(None) => return Came::More,
            Ok(Some(Frame::Text(text))) => self.conversation.text_bytes(&text),
            Ok(Some(Frame::Binary(_))) => self.conversation.bad_message(),
            Ok(Some(Frame::Continuation(item))) => match self.parts.take(item) {
                Part::More => Heard::Nothing,
                Part::Whole(text) => self.conversation.text_bytes(&text),
                Part::Binary => self.conversation.bad_message(),
                Part::TooMuch(limit) => return self.too_much(limit),
            },
            Ok(Some(Frame::Ping(payload))) => {
                self.pong(&payload);
                Heard::Nothing
            }
            Ok(Some(Frame::Pong(_))) => Heard::Nothing,
            Ok(Some(Frame::Close(reason))) => return Came::Closed(reason),
            Err(ProtocolError::Overflow) => return self.too_much(Limit::MessageBytes),
            Err(_) => return Came::Heard(Heard::Close(1002)),
        };
        self.bounded(heard)
    }

    fn bounded(&self, heard: Heard) -> Came {
        // The only end that reading itself asks for.
        if matches!(heard, Heard::Close(_)) {
            self.tally.hit(Limit::BadMessages);
        }
        Came::Heard(heard)
    }

    fn too_much(&self, limit: Limit) -> Came {
        self.tally.hit(limit);
        Came::Heard(Heard::Close(1009))
    }

    /// Waits until the stream says whose it is. Else it is to be closed: for a reason, or because it is lost.
    pub async fn starts(&mut self) -> Result<Start, Option<CloseReason>> {
        let mut read = BytesMut::new();
        self.resume(&mut read);
        loop {
            match self.next(&mut read) {
                Came::Heard(Heard::Started(start)) => {
                    self.keep(&mut read);
                    return Ok(start);
                }
                Came::Heard(Heard::Close(code)) => return Err(Some(reason(code))),
                Came::Closed(reason) => return Err(reason),
                Came::Heard(Heard::Nothing | Heard::Tell(_)) => {}
                Came::More => {
                    if self.flush().gone || poll_fn(|task| self.poll_read(task, &mut read)).await == 0 {
                        self.lose();
                        return Err(None);
                    }
                }
            }
        }
    }

    /// To be sent with the next flush.
    pub fn send(&mut self, out: &StreamOut) {
        TEXT.with_borrow_mut(|text| {
            write(self.conversation.stream_sid(), out, text);
            self.message(WHOLE_TEXT, text.as_bytes());
        });
        self.ends.push_back(self.accepted);
    }

    fn pong(&mut self, payload: &[u8]) {
        if self.unsent.len() < UNSENT_BYTES_MAX {
            self.message(WHOLE_PONG, payload);
        }
    }

    fn message(&mut self, kind: u8, payload: &[u8]) {
        if self.unsent.capacity() == 0 {
            self.unsent = SPARE.take();
        }
        let before = self.unsent.len();
        self.unsent.push(kind);
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(length @ ..126), _) => self.unsent.push(length),
            (_, Ok(length)) => {
                self.unsent.push(126);
                self.unsent.extend(length.to_be_bytes());
            }
            _ => {
                self.unsent.push(127);
                self.unsent.extend((payload.len() as u64).to_be_bytes());
            }
        }
        self.unsent.extend_from_slice(payload);
        self.accepted += (self.unsent.len() - before) as u64;
    }

    /// Sends what the system takes.
    pub fn flush(&mut self) -> Flushed {
        if self.waits || self.unsent.is_empty() {
            return NOTHING;
        }
        let Some(io) = &self.io else { return NOTHING };
        let (mut at, mut gone) = (0, false);
        while let Some(rest) = self.unsent.get(at..).filter(|rest| !rest.is_empty()) {
            match io.try_write(rest) {
                Ok(count) if count > 0 => at += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.waits = true;
                    break;
                }
                Ok(_) | Err(_) => {
                    gone = true;
                    break;
                }
            }
        }
        self.written += at as u64;
        if self.waits {
            self.unsent.drain(..at);
            self.unsent.shrink_to_fit();
        } else {
            let mut spare = std::mem::take(&mut self.unsent);
            spare.clear();
            if spare.capacity() <= SPARE_BYTES_MAX {
                SPARE.set(spare);
            }
        }
        let mut sent = 0;
        while self.ends.pop_front_if(|end| *end <= self.written).is_some() {
            sent += 1;
        }
        Flushed { sent, gone }
    }

    /// Sends the rest as soon as the system takes it.
    pub fn poll_rest(&mut self, task: &mut Context<'_>) -> Poll<Flushed> {
        let Some(io) = self.io.as_ref().filter(|_| self.waits) else { return Poll::Pending };
        // A socket that has failed says so when it is written to.
        let _ = ready!(io.poll_write_ready(task));
        self.waits = false;
        Poll::Ready(self.flush())
    }

    /// Ends the stream with a close frame behind all that was to be sent.
    pub fn close(&mut self, reason: Option<CloseReason>) {
        // Without a runtime the process is going, and the system ends the connection.
        let (Some(io), Ok(runtime)) = (self.io.take(), Handle::try_current()) else { return };
        let mut bytes = BytesMut::from(&*std::mem::take(&mut self.unsent));
        // It fails only in the middle of a message of several frames, and none is ever written.
        let _ = Codec::new().encode(Message::Close(reason), &mut bytes);
        runtime.spawn(farewell(io, bytes, self.life.take()));
    }

    /// The other side is gone.
    pub fn lose(&mut self) {
        self.io = None;
    }
}

/// A session that dies takes its lines with it, so that the network comes back at once.
impl Drop for Line {
    fn drop(&mut self) {
        let bad = self.conversation.bad();
        if bad > 0 {
            self.tally.count_many(&metric::STREAM_BAD, &[], bad);
        }
        self.close(Some(reason(1011)));
    }
}

impl Parcel {
    /// Gives the line to the thread that this is called on.
    pub fn unpack(self) -> io::Result<Line> {
        let Parcel { io, conversation, unread, unsent, tally, life } = self;
        let mut line = Line::on(TcpStream::from_std(io)?, conversation, tally, life);
        line.accepted = unsent.len() as u64;
        (line.unread, line.unsent) = (unread, unsent);
        Ok(line)
    }
}

pub fn reason(code: u16) -> CloseReason {
    CloseReason { code: CloseCode::from(code), description: None }
}

/// Finds a text message that is whole in one frame, and takes its mask off where it lies. Says where its text is, and
/// how long the frame.
fn whole_text(bytes: &mut [u8]) -> Option<(Range<usize>, usize)> {
    const MASKED: u8 = 0x80;
    let [WHOLE_TEXT, length, ..] = bytes else { return None };
    let (length, mask_at) = match *length {
        length @ MASKED..=253 => (usize::from(length - MASKED), 2),
        254 => (usize::from(u16::from_be_bytes(*bytes.get(2..4)?.as_array()?)), 4),
        // Too long to be worth a short cut, or without a mask.
        _ => return None,
    };
    let (start, end) = (mask_at + 4, mask_at + 4 + length);
    let mask = *bytes.get(mask_at..start)?.as_array::<4>()?;
    let text = bytes.get_mut(start..end)?;
    let (words, rest) = text.as_chunks_mut::<8>();
    let half = u64::from(u32::from_ne_bytes(mask));
    let wide = half << 32 | half;
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(mask.into_iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Some((start..end, end))
}

/// Lets the last bytes leave and the other side end the connection: one that is dropped while something of it is unread
/// is reset, and what was on its way may be lost.
async fn farewell(mut io: TcpStream, bytes: BytesMut, _life: Option<Life>) {
    let ending = async move {
        io.write_all(&bytes).await?;
        io.shutdown().await?;
        let mut rest = [0; 1024];
        while io.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not read, or never ends, is dropped.
    let _ = tokio::time::timeout(FAREWELL, ending).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_message_is_read_where_it_lies_and_anything_else_is_the_codecs() {
        for length in [0, 1, 7, 8, 9, 125, 126, 300, 65_535] {
            let text: Vec<u8> = (0..length).map(|at| b'a' + u8::try_from(at % 26).unwrap()).collect();
            let mut bytes = BytesMut::new();
            actix_http::ws::Parser::write_message(
                &mut bytes,
                &text,
                actix_http::ws::OpCode::Text,
                true,
                true,
            );
            let whole = bytes.len();
            for short in [1, whole - 1] {
                let mut cut = bytes.clone();
                cut.truncate(short);
                assert_eq!(
                    (whole_text(&mut cut), &cut[..]),
                    (None, &bytes[..short]),
                    "{length}, cut at {short}"
                );
            }
            bytes.extend_from_slice(b"more");
            let (range, taken) = whole_text(&mut bytes).unwrap();
            assert_eq!((&bytes[range], taken), (&text[..], whole), "{length}");
        }
        for other in [[0x01, 0x81], [0x80, 0x81], [0x82, 0x81], [0xC1, 0x81], [0x81, 0x01], [0x81, 0xFF]] {
            let mut bytes = [&other[..], &[0; 20]].concat();
            assert_eq!(whole_text(&mut bytes), None, "{other:?}");
        }
    }
}
