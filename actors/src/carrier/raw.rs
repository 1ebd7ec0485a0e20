//! The carrier of the server of its own: the connection leaves HTTP at its upgrade, and this actor owns the socket, on
//! the arbiter of its session.
//!
//! What a socket holds is small and plain (the socket, bytes of half a frame, bytes not yet taken by the system), so a
//! quiet one costs little more than its actor. What is read is read into one buffer of the thread, and the replies to
//! one read leave in one write.

use super::endpoint::{Endpoint, Next};
use super::outlet::{Flushed, Outlet};
use crate::alive::Life;
use crate::call_session::SocketOut;
use crate::door::{Door, Ticket};
use crate::post::Held;
use actix::fut::ActorFuture;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use actix_codec::Decoder;
use actix_http::ws::{CloseCode, CloseReason, Codec, Frame, ProtocolError};
use actix_rt::ArbiterHandle;
use bytes::BytesMut;
use holdline_core::provider::twilio::stream::MESSAGE_BYTES_MAX;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::io::poll_read_buf;

/// Places for what the session sends; its credit for us is smaller.
const MAILBOX: usize = 256;
/// Read at once: some fifty frames, if a network sends them in one lump.
const READ_BYTES: usize = 16 * 1024;
/// A message and its frame's head.
const FRAME_BYTES_MAX: usize = MESSAGE_BYTES_MAX + 14;
/// Reads in a row before others of the thread have their turn.
const READS_MAX: usize = 8;
/// For the last bytes to leave and for the other side to end the connection, once the stream is over.
const FAREWELL: Duration = Duration::from_secs(5);

thread_local! {
    /// One for all sockets of the thread: what a read leaves of half a frame is kept by its socket.
    static SCRATCH: RefCell<BytesMut> = RefCell::new(BytesMut::new());
}

/// A connection that has been taken out of HTTP.
pub struct Connection {
    pub io: TcpStream,
    /// Read beyond the request.
    pub unread: BytesMut,
    /// To be sent before anything else: the answer to the request.
    pub unsent: BytesMut,
}

/// Carries a stream on `connection`: on the arbiter of its session, where that is known.
pub fn carry(
    door: Arc<Door>,
    ticket: Ticket,
    start_deadline: Duration,
    connection: Connection,
) -> io::Result<()> {
    match ticket.home().cloned() {
        Some(home) => move_to(&home, door, ticket, start_deadline, connection),
        // Its `start` will name the call, whose session may live on another thread; what crosses over then is messages.
        None => {
            RawSocket::new(door, ticket, start_deadline, connection).start();
            Ok(())
        }
    }
}

fn move_to(
    home: &ArbiterHandle,
    door: Arc<Door>,
    ticket: Ticket,
    start_deadline: Duration,
    Connection { io, unread, unsent }: Connection,
) -> io::Result<()> {
    let socket = io.into_std()?;
    home.spawn_fn(move || match TcpStream::from_std(socket) {
        Ok(io) => {
            RawSocket::new(door, ticket, start_deadline, Connection { io, unread, unsent }).start();
        }
        Err(error) => tracing::error!(%error, "a stream's socket could not be taken over"),
    });
    Ok(())
}

pub struct RawSocket {
    endpoint: Endpoint,
    /// None once the stream is over.
    io: Option<OwnedReadHalf>,
    outlet: Outlet,
    codec: Codec,
    /// Half a frame.
    unread: BytesMut,
    start_deadline: Duration,
    deadline: Option<SpawnHandle>,
}

impl RawSocket {
    fn new(door: Arc<Door>, ticket: Ticket, start_deadline: Duration, connection: Connection) -> RawSocket {
        let Connection { io, unread, unsent } = connection;
        let (io, half) = io.into_split();
        RawSocket {
            endpoint: Endpoint::new(door, ticket),
            io: Some(io),
            outlet: Outlet::new(half, unsent),
            codec: Codec::new().max_size(MESSAGE_BYTES_MAX),
            unread,
            start_deadline,
            deadline: None,
        }
    }

    /// Whether there is more to read.
    fn follow(&mut self, next: Next, ctx: &mut Context<Self>) -> bool {
        match next {
            Next::GoOn => {
                if self.endpoint.has_started()
                    && let Some(deadline) = self.deadline.take()
                {
                    ctx.cancel_future(deadline);
                }
                true
            }
            Next::Attach(start) => {
                // Nothing else is read until the call is known.
                let attaching = self.endpoint.attach(start).into_actor(self);
                ctx.wait(attaching.map(|attached, actor, ctx| {
                    let outlet = Some(actor.outlet.clone());
                    let next = actor.endpoint.attached(attached, Held::new(ctx.address()), outlet);
                    actor.follow(next, ctx);
                }));
                false
            }
            Next::Close(code) => {
                self.close(Some(CloseReason { code: CloseCode::from(code), description: None }), ctx);
                false
            }
        }
    }

    fn close(&mut self, reason: Option<CloseReason>, ctx: &mut Context<Self>) {
        if let (Some(io), Some((half, bytes))) = (self.io.take(), self.outlet.close(reason)) {
            actix::spawn(farewell(io, half, bytes, self.endpoint.life()));
        }
        ctx.stop();
    }

    fn lost(&mut self, ctx: &mut Context<Self>) {
        self.io = None;
        self.outlet.lose();
        ctx.stop();
    }

    /// Whatever the session could not send goes as soon as the system takes it.
    fn send_rest(&mut self, task: &mut task::Context<'_>, ctx: &mut Context<Self>) {
        while let Poll::Ready(Flushed { sent, gone }) = self.outlet.poll_rest(task) {
            self.endpoint.sent(sent);
            if gone && self.io.is_some() {
                self.lost(ctx);
            }
            if gone || sent == 0 {
                return;
            }
        }
    }

    fn read(&mut self, task: &mut task::Context<'_>, ctx: &mut Context<Self>) {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.clear();
            scratch.extend_from_slice(&std::mem::take(&mut self.unread));
            for _ in 0..READS_MAX {
                if !self.take_frames(scratch, ctx) {
                    break;
                }
                let Some(io) = &mut self.io else { break };
                scratch.reserve(READ_BYTES);
                match poll_read_buf(Pin::new(io), task, scratch) {
                    Poll::Ready(Ok(count)) if count > 0 => {}
                    Poll::Ready(_) => {
                        self.lost(ctx);
                        break;
                    }
                    Poll::Pending => {
                        self.unread.extend_from_slice(scratch);
                        return;
                    }
                }
            }
            if self.io.is_some() {
                self.unread.extend_from_slice(scratch);
                task.waker().wake_by_ref();
            }
        });
    }

    /// Whether there is more to read.
    fn take_frames(&mut self, bytes: &mut BytesMut, ctx: &mut Context<Self>) -> bool {
        loop {
            let next = match self.codec.decode(bytes) {
                // The codec would gather a frame of any length before it says that it is too long.
                Ok(None) if bytes.len() > FRAME_BYTES_MAX => self.endpoint.too_large(),
                Ok(None) => return true,
                Ok(Some(Frame::Text(text))) => self.endpoint.text_bytes(&text),
                Ok(Some(Frame::Binary(_))) => self.endpoint.binary(),
                Ok(Some(Frame::Continuation(item))) => self.endpoint.part(item),
                Ok(Some(Frame::Ping(payload))) => {
                    self.outlet.pong(payload);
                    Next::GoOn
                }
                Ok(Some(Frame::Pong(_))) => Next::GoOn,
                Ok(Some(Frame::Close(reason))) => {
                    self.close(reason, ctx);
                    return false;
                }
                Err(ProtocolError::Overflow) => self.endpoint.too_large(),
                Err(_) => Next::Close(1002),
            };
            if !self.follow(next, ctx) {
                return false;
            }
        }
    }
}

impl Actor for RawSocket {
    type Context = Context<Self>;

    #[allow(clippy::disallowed_methods)] // a socket has no machine: its one deadline is armed here, once
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.endpoint.open(Held::new(ctx.address()), Some(self.outlet.clone()));
        let deadline = tokio::time::sleep(self.start_deadline);
        self.deadline = Some(ctx.spawn(deadline.into_actor(self).map(|(), actor, ctx| {
            if !actor.endpoint.has_started() {
                tracing::warn!("a stream sent no start in time");
                actor.follow(Next::Close(1008), ctx);
            }
        })));
        ctx.spawn(Pump);
    }
}

/// Moves bytes whenever the socket, or a message, wakes the actor; after messages, so that what they send leaves in one
/// write.
struct Pump;

impl ActorFuture<RawSocket> for Pump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        actor: &mut RawSocket,
        ctx: &mut Context<RawSocket>,
        task: &mut task::Context<'_>,
    ) -> Poll<()> {
        actor.read(task, ctx);
        actor.send_rest(task, ctx);
        if actor.io.is_none() { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Handler<SocketOut> for RawSocket {
    type Result = ();

    fn handle(&mut self, out: SocketOut, ctx: &mut Self::Context) {
        match out {
            // A session that has the outlet does so itself; the actor's pump sends it.
            SocketOut::Send(out) => self.outlet.send(&out),
            SocketOut::Close(code) => {
                self.follow(Next::Close(code), ctx);
            }
            SocketOut::Credit(frames) => {
                let next = self.endpoint.credit(frames);
                self.follow(next, ctx);
            }
        }
    }
}

/// Lets the last bytes leave and the other side end the connection: one that is dropped while something of it is unread
/// is reset, and what was on its way may be lost.
async fn farewell(mut io: OwnedReadHalf, mut half: OwnedWriteHalf, bytes: BytesMut, _life: Life) {
    let ending = async move {
        half.write_all(&bytes).await?;
        half.shutdown().await?;
        let mut rest = [0; 1024];
        while io.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    // Whoever does not read, or never ends, is dropped.
    let _ = tokio::time::timeout(FAREWELL, ending).await;
}
