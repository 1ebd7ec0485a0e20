//! The writing end of a socket, in the session's own hands: what a turn says leaves in that turn, and the frames of
//! several turns in one write.
//!
//! Whatever the system does not take is left to the socket's actor, which waits until it does.

use super::reading::write;
use actix_codec::Encoder;
use actix_http::ws::{CloseReason, Codec, Message, OpCode, Parser};
use bytes::{Buf, Bytes, BytesMut};
use holdline_core::call::StreamOut;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::net::tcp::OwnedWriteHalf;

/// A buffer for what is to be sent that has grown beyond this is given back when it is empty.
const BYTES_KEPT: usize = 2 * 1024;
/// Answers to pings are left out while so much is waiting: whoever pings without reading is owed nothing.
const BYTES_MAX: usize = 64 * 1024;

thread_local! {
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Shared by a session and its socket's actor, which nearly always live on one thread.
#[derive(Clone)]
pub struct Outlet(Arc<Mutex<Inner>>);

struct Inner {
    /// None once the stream is over.
    half: Option<OwnedWriteHalf>,
    stream_sid: String,
    bytes: BytesMut,
    /// Where in all that was ever to be sent the messages end that are not sent.
    ends: VecDeque<u64>,
    accepted: u64,
    written: u64,
    /// The socket's actor, while the system takes nothing.
    waits: bool,
    actor: Option<Waker>,
}

/// What a flush came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    /// Messages that have left entirely.
    pub sent: u32,
    pub gone: bool,
}

impl Outlet {
    pub fn new(half: OwnedWriteHalf, unsent: BytesMut) -> Outlet {
        Outlet(Arc::new(Mutex::new(Inner {
            half: Some(half),
            stream_sid: String::new(),
            accepted: unsent.len() as u64,
            bytes: unsent,
            ends: VecDeque::new(),
            written: 0,
            waits: false,
            actor: None,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stream has said its name.
    pub fn name(&self, stream_sid: &str) {
        stream_sid.clone_into(&mut self.inner().stream_sid);
    }

    /// To be sent with the next flush.
    pub fn send(&self, out: &StreamOut) {
        let inner = &mut *self.inner();
        TEXT.with_borrow_mut(|text| {
            text.clear();
            write(&inner.stream_sid, out, text);
            inner.message(text.as_bytes(), OpCode::Text);
        });
        inner.ends.push_back(inner.accepted);
    }

    pub fn pong(&self, payload: Bytes) {
        let inner = &mut *self.inner();
        if inner.bytes.len() < BYTES_MAX {
            inner.message(&payload, OpCode::Pong);
        }
    }

    /// Sends what the system takes; the rest is the socket's actor's business.
    pub fn flush(&self) -> Flushed {
        let inner = &mut *self.inner();
        if inner.waits {
            return Flushed { sent: 0, gone: false };
        }
        let flushed = inner.write();
        if (inner.waits || flushed.gone)
            && let Some(actor) = inner.actor.take()
        {
            actor.wake();
        }
        flushed
    }

    /// Waits until the system takes the rest. Ready when there is nothing to wait for.
    pub fn poll_rest(&self, task: &mut Context<'_>) -> Poll<Flushed> {
        let inner = &mut *self.inner();
        let mut sent = 0;
        loop {
            if !inner.actor.as_ref().is_some_and(|actor| actor.will_wake(task.waker())) {
                inner.actor = Some(task.waker().clone());
            }
            let Some(half) = inner.half.as_ref().filter(|_| !inner.bytes.is_empty()) else {
                inner.waits = false;
                return Poll::Ready(Flushed { sent, gone: inner.half.is_none() });
            };
            match half.as_ref().poll_write_ready(task) {
                Poll::Pending if sent == 0 => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Flushed { sent, gone: false }),
                Poll::Ready(_) => {
                    let flushed = inner.write();
                    sent += flushed.sent;
                    if flushed.gone {
                        return Poll::Ready(Flushed { sent, gone: true });
                    }
                }
            }
        }
    }

    /// The socket as it is, with a close frame behind all that was to be sent: for whoever says farewell.
    pub fn close(&self, reason: Option<CloseReason>) -> Option<(OwnedWriteHalf, BytesMut)> {
        let inner = &mut *self.inner();
        let half = inner.half.take()?;
        let mut bytes = std::mem::take(&mut inner.bytes);
        // It fails only in the middle of a message of several frames, and none is ever written.
        let _ = Codec::new().encode(Message::Close(reason), &mut bytes);
        Some((half, bytes))
    }

    pub fn lose(&self) {
        self.inner().half = None;
    }
}

impl Inner {
    fn message(&mut self, payload: &[u8], kind: OpCode) {
        let before = self.bytes.len();
        Parser::write_message(&mut self.bytes, payload, kind, true, false);
        self.accepted += (self.bytes.len() - before) as u64;
    }

    fn write(&mut self) -> Flushed {
        let mut gone = self.half.is_none();
        while let Some(half) = self.half.as_ref().filter(|_| !self.bytes.is_empty()) {
            match half.try_write(&self.bytes) {
                Ok(count) if count > 0 => {
                    self.bytes.advance(count);
                    self.written += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.waits = true;
                    break;
                }
                Ok(_) | Err(_) => {
                    gone = true;
                    self.half = None;
                }
            }
        }
        let mut sent = 0;
        while self.ends.pop_front_if(|end| *end <= self.written).is_some() {
            sent += 1;
        }
        if self.bytes.is_empty() {
            self.waits = false;
            match self.bytes.capacity() > BYTES_KEPT {
                true => self.bytes = BytesMut::new(),
                false => self.bytes.clear(),
            }
        }
        Flushed { sent, gone }
    }
}
