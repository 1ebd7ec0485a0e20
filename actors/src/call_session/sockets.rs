//! The sockets of a call: what they are owed, and what comes in on those that the session holds itself.

use super::{CallSession, SOCKET_CREDIT, SocketOut};
use crate::carrier::line::{Came, Flushed, Line, Parcel, reason};
use crate::carrier::reading::{Heard, format_trouble, names_another};
use crate::driver::Owner;
use crate::post::{Held, Posted};
use actix::fut::ActorFuture;
use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use actix_http::ws::CloseReason;
use bytes::BytesMut;
use holdline_core::call::{Effect, Input, StreamNo, StreamOut};
use holdline_core::media::window::Credit;
use holdline_core::provider::twilio::stream::Start;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// Reads in a row before others of the thread have their turn.
const READS_MAX: usize = 8;
/// Who sends as much at once, which is a quarter of a second's sound, is read from no more while it takes nothing
/// itself: the system holds it back. A caller who speaks sends less, and is heard however long the way back is blocked.
const FLOOD_BYTES: usize = 4 * 1024;

thread_local! {
    /// One for all lines of the thread.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

#[derive(Default)]
struct Scratch {
    read: BytesMut,
    effects: Vec<Effect>,
}

/// All that a call has: nearly always one, so a list is the smallest map and the quickest.
#[derive(Default)]
pub(super) struct Sockets(Vec<(StreamNo, Socket)>);

impl Sockets {
    fn get(&self, stream: StreamNo) -> Option<&Socket> {
        self.0.iter().find(|(known, _)| *known == stream).map(|(_, socket)| socket)
    }

    fn get_mut(&mut self, stream: StreamNo) -> Option<&mut Socket> {
        self.0.iter_mut().find(|(known, _)| *known == stream).map(|(_, socket)| socket)
    }

    fn insert(&mut self, stream: StreamNo, socket: Socket) {
        self.remove(stream);
        self.0.reserve_exact(1);
        self.0.push((stream, socket));
    }

    pub(super) fn remove(&mut self, stream: StreamNo) {
        self.0.retain(|(known, _)| *known != stream);
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// The other end of a stream.
struct Socket {
    way: Way,
    credit: u32,
    /// Frames that it brought.
    taken: Credit,
    owed: VecDeque<StreamOut>,
    close: Option<u16>,
}

/// Who moves the bytes.
#[allow(clippy::large_enum_variant)] // the large one is the usual one
enum Way {
    /// The session itself.
    Line(Line),
    /// An actor of the app that we are mounted in.
    Actor(Held<SocketOut>),
}

impl Drop for Socket {
    /// A session that dies takes its sockets with it, so that the network comes back at once. One that was told to
    /// close has gone already.
    fn drop(&mut self) {
        if let Way::Actor(out) = &self.way {
            out.post(SocketOut::Close(1011));
        }
    }
}

impl Socket {
    fn new(way: Way) -> Socket {
        Socket { way, credit: SOCKET_CREDIT, taken: Credit::default(), owed: VecDeque::new(), close: None }
    }

    fn offer(&mut self, out: StreamOut) -> Posted {
        // Nearly always nothing waits, and the frame need not be moved through a queue.
        if self.credit > 0 && self.owed.is_empty() {
            return self.send(out);
        }
        self.owed.push_back(out);
        self.drain()
    }

    /// Sends what the credit allows, in order.
    fn drain(&mut self) -> Posted {
        while self.credit > 0
            && let Some(out) = self.owed.pop_front()
        {
            if self.send(out) == Posted::Gone {
                return Posted::Gone;
            }
        }
        Posted::Taken
    }

    fn send(&mut self, out: StreamOut) -> Posted {
        match &mut self.way {
            Way::Line(line) => line.send(&out),
            Way::Actor(actor) => {
                if actor.post(SocketOut::Send(out)) == Posted::Gone {
                    return Posted::Gone;
                }
            }
        }
        self.credit -= 1;
        Posted::Taken
    }
}

impl CallSession {
    /// A socket that was admitted is open, and in an actor's hands.
    pub(super) fn socket_open(&mut self, stream: StreamNo, out: Held<SocketOut>) {
        self.sockets.insert(stream, Socket::new(Way::Actor(out)));
    }

    /// A socket that was admitted is open, and the session's own from here on.
    pub(super) fn line_open(
        &mut self,
        stream: StreamNo,
        line: Parcel,
        start: Option<Start>,
        start_deadline: Duration,
        ctx: &mut Context<Self>,
    ) {
        match line.unpack() {
            Ok(line) => self.sockets.insert(stream, Socket::new(Way::Line(line))),
            Err(error) => {
                tracing::error!(%error, "a stream's socket could not be taken over");
                return self.turn(Input::StreamDown { stream }, ctx);
            }
        }
        #[allow(clippy::disallowed_methods)] // a socket has no machine: its one deadline is armed here, once
        let start_by = start.is_none().then(|| Box::pin(tokio::time::sleep(start_deadline)));
        if let Some(start) = start {
            self.starts(stream, start, ctx);
        }
        ctx.spawn(Pump { stream, start_by });
    }

    fn line(&mut self, stream: StreamNo) -> Option<&mut Line> {
        match &mut self.sockets.get_mut(stream)?.way {
            Way::Line(line) => Some(line),
            Way::Actor(_) => None,
        }
    }

    /// A frame was dealt with.
    pub(super) fn took(&mut self, stream: StreamNo) {
        let Some(socket) = self.sockets.get_mut(stream) else { return };
        let Some(lot) = socket.taken.done() else { return };
        if let Way::Actor(out) = &socket.way {
            out.post(SocketOut::Credit(lot));
        }
        self.share.pour(self.driver.machine(), &self.house.tally);
    }

    pub(super) fn transmit(&mut self, stream: StreamNo, out: StreamOut, ctx: &mut Context<Self>) {
        let Some(socket) = self.sockets.get_mut(stream) else { return };
        if socket.offer(out) == Posted::Gone {
            self.sockets.remove(stream);
            return;
        }
        let is_spent = socket.credit == 0;
        // Behind mail and behind a reading comes the pump; behind a timer or an errand nothing else does.
        if !self.gathers || is_spent {
            self.flush(stream, ctx);
        }
        if is_spent {
            self.tell_credit(stream, ctx);
        }
    }

    /// Whether a socket takes more is said as it is when it is said: news of it may overtake each other.
    fn tell_credit(&mut self, stream: StreamNo, ctx: &mut Context<Self>) {
        ctx.spawn(std::future::ready(()).into_actor(self).map(move |(), session, ctx| {
            if let Some(socket) = session.sockets.get(stream) {
                let blocked = socket.credit == 0;
                session.turn(Input::Blocked { stream, blocked }, ctx);
            }
        }));
    }

    /// The socket has sent so many messages, and takes as many more.
    pub(super) fn sent(&mut self, stream: StreamNo, count: u32, ctx: &mut Context<Self>) {
        let Some(socket) = self.sockets.get_mut(stream) else { return };
        let was_blocked = socket.credit == 0;
        socket.credit = (socket.credit + count).min(SOCKET_CREDIT);
        socket.drain();
        if was_blocked && socket.credit > 0 {
            self.tell_credit(stream, ctx);
        }
        self.close_if_done(stream, ctx);
    }

    /// Lets out what the turns so far have said.
    fn flush(&mut self, stream: StreamNo, ctx: &mut Context<Self>) {
        while let Some(line) = self.line(stream) {
            let flushed = line.flush();
            if !self.flushed(stream, flushed, ctx) {
                return;
            }
        }
    }

    /// Whether there may be more to send.
    fn flushed(
        &mut self,
        stream: StreamNo,
        Flushed { sent, gone }: Flushed,
        ctx: &mut Context<Self>,
    ) -> bool {
        if sent > 0 {
            self.sent(stream, sent, ctx);
        }
        if gone {
            self.lose(stream, ctx);
        }
        sent > 0 && !gone
    }

    /// To be closed behind all that is owed to it.
    pub(super) fn close_stream(&mut self, stream: StreamNo, code: u16, ctx: &mut Context<Self>) {
        let Some(socket) = self.sockets.get_mut(stream) else { return };
        socket.close = Some(code);
        self.close_if_done(stream, ctx);
    }

    fn close_if_done(&mut self, stream: StreamNo, ctx: &mut Context<Self>) {
        let Some(socket) = self.sockets.get_mut(stream).filter(|socket| socket.owed.is_empty()) else {
            return;
        };
        let Some(code) = socket.close.take() else { return };
        match &socket.way {
            Way::Line(_) => self.close_line(stream, Some(reason(code)), ctx),
            Way::Actor(out) => _ = out.post(SocketOut::Close(code)),
        }
    }

    /// Nothing is heard on it any more, whatever still comes.
    fn close_line(&mut self, stream: StreamNo, reason: Option<CloseReason>, ctx: &mut Context<Self>) {
        if let Some(line) = self.line(stream) {
            line.close(reason);
        }
        self.lose(stream, ctx);
    }

    fn lose(&mut self, stream: StreamNo, ctx: &mut Context<Self>) {
        if let Some(line) = self.line(stream) {
            line.lose();
            self.sockets.remove(stream);
            self.turn_later(Input::StreamDown { stream }, ctx);
        }
    }

    /// Nothing may be seen any more of what this session decides.
    pub(super) fn close_all(&mut self) {
        // Each says 1011 as it goes.
        self.sockets.clear();
    }

    /// False when the line is over.
    fn pump(&mut self, stream: StreamNo, task: &mut task::Context<'_>, ctx: &mut Context<Self>) -> bool {
        self.send_rest(stream, task, ctx);
        self.gathers = true;
        SCRATCH.with_borrow_mut(|scratch| self.read_line(stream, scratch, task, ctx));
        self.gathers = false;
        self.flush(stream, ctx);
        self.send_rest(stream, task, ctx);
        self.line(stream).is_some()
    }

    /// What the system did not take goes as soon as it does.
    fn send_rest(&mut self, stream: StreamNo, task: &mut task::Context<'_>, ctx: &mut Context<Self>) {
        while let Some(Poll::Ready(flushed)) = self.line(stream).map(|line| line.poll_rest(task)) {
            if self.flushed(stream, flushed, ctx) {
                self.flush(stream, ctx);
            }
        }
    }

    fn read_line(
        &mut self,
        stream: StreamNo,
        Scratch { read, effects }: &mut Scratch,
        task: &mut task::Context<'_>,
        ctx: &mut Context<Self>,
    ) {
        // A panic may have left something.
        read.clear();
        effects.clear();
        let Some(line) = self.line(stream).filter(|line| !line.is_held_back()) else { return };
        line.resume(read);
        if !read.is_empty() && !self.take_frames(stream, read, effects, ctx) {
            return;
        }
        for _ in 0..READS_MAX {
            let Some(line) = self.line(stream) else { return };
            let count = match line.poll_read(task, read) {
                Poll::Ready(0) => return self.lose(stream, ctx),
                Poll::Ready(count) => count,
                Poll::Pending => return line.keep(read),
            };
            if !self.take_frames(stream, read, effects, ctx) {
                return;
            }
            // What a reading leads to leaves in one write.
            self.flush(stream, ctx);
            if count >= FLOOD_BYTES
                && let Some(line) = self.line(stream)
                && line.hold_back()
            {
                return line.keep(read);
            }
        }
        if let Some(line) = self.line(stream) {
            line.keep(read);
            task.waker().wake_by_ref();
        }
    }

    /// False when the line is over.
    fn take_frames(
        &mut self,
        stream: StreamNo,
        read: &mut BytesMut,
        effects: &mut Vec<Effect>,
        ctx: &mut Context<Self>,
    ) -> bool {
        let now = self.driver.clock().now();
        let (mut goes_on, mut lives) = (false, true);
        while let Some(line) = self.line(stream) {
            match line.next(read) {
                Came::More => {
                    goes_on = true;
                    break;
                }
                Came::Heard(Heard::Nothing) => {}
                Came::Heard(Heard::Tell(input)) => {
                    let is_sound = matches!(input, Input::Heard { .. });
                    lives = self.turn_at(now, input, effects, ctx);
                    if is_sound {
                        self.took(stream);
                    }
                }
                Came::Heard(Heard::Started(start)) => self.starts(stream, start, ctx),
                Came::Heard(Heard::Close(code)) => self.close_line(stream, Some(reason(code)), ctx),
                Came::Closed(reason) => self.close_line(stream, reason, ctx),
            }
        }
        if lives {
            self.arm(ctx);
        }
        goes_on
    }

    fn starts(&mut self, stream: StreamNo, start: Start, ctx: &mut Context<Self>) {
        let call = &self.driver.machine().state().arrival.call;
        if names_another(&start, call) {
            tracing::warn!(%call, "a stream's start names another call than its token");
            return self.close_line(stream, Some(reason(1008)), ctx);
        }
        let trouble = format_trouble(&start);
        self.turn(Input::StreamUp { stream, stream_sid: start.stream_sid, trouble }, ctx);
    }
}

/// Moves a line's bytes whenever the socket, or anything else, wakes its session; behind the session's mail, so that
/// what that led to leaves in one write.
struct Pump {
    stream: StreamNo,
    /// The stream has to say by then whose it is.
    start_by: Option<Pin<Box<Sleep>>>,
}

impl ActorFuture<CallSession> for Pump {
    type Output = ();

    fn poll(
        self: Pin<&mut Self>,
        session: &mut CallSession,
        ctx: &mut Context<CallSession>,
        task: &mut task::Context<'_>,
    ) -> Poll<()> {
        let Pump { stream, start_by } = self.get_mut();
        if !session.pump(*stream, task, ctx) {
            return Poll::Ready(());
        }
        if let Some(deadline) = start_by {
            if session.line(*stream).is_some_and(|line| line.has_started()) {
                *start_by = None;
            } else if deadline.as_mut().poll(task).is_ready() {
                tracing::warn!("a stream sent no start in time");
                session.close_line(*stream, Some(reason(1008)), ctx);
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}
