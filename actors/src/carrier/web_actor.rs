//! The carrier for any actix-web app: a stream as an actor of actix-web-actors. The only file that names that crate.
//!
//! While the network does not read, nothing in this actor runs at all; so nothing that must happen is left to it. The
//! session counts what it owes this socket and sees it stall.

use super::reading::{Conversation, Heard, format_trouble};
use crate::alive::Life;
use crate::call_session::{CallSession, Mail, SocketOut};
use crate::door::{Door, Ticket};
use crate::post::{Held, Posted};
use actix::{Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Handler, StreamHandler, WrapFuture};
use actix_http::ws::Item;
use actix_web::{Error, HttpRequest, HttpResponse, web};
use actix_web_actors::ws::{self, CloseCode, CloseReason, Message, ProtocolError, WebsocketContext};
use holdline_core::call::{Input, StreamNo};
use holdline_core::media::window::Window;
use holdline_core::provider::twilio::stream::{MESSAGE_BYTES_MAX, Start};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Places for what the session sends; its credit for us is smaller.
const MAILBOX: usize = 256;
/// Sent messages are told to the session in lots.
const SENT_LOT: u32 = 16;
/// Messages that may wait for a place in the session's mailbox; a socket that has more to say floods it.
const OWED_MAX: usize = 256;
/// Parts of one message; the network sends its messages whole.
const FRAGMENTS_MAX: usize = 64;

/// Upgrades a request whose ticket was checked.
pub fn upgrade(
    door: Arc<Door>,
    ticket: Ticket,
    start_deadline: Duration,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let socket = MediaSocket::new(door, ticket, start_deadline);
    ws::WsResponseBuilder::new(socket, request, payload).frame_size(MESSAGE_BYTES_MAX).start()
}

pub struct MediaSocket {
    door: Arc<Door>,
    ticket: Ticket,
    start_deadline: Duration,
    conversation: Conversation,
    session: Option<Farewell>,
    window: Window<Input>,
    told_dropped: u64,
    /// Digits, marks and stops that found the session's mailbox full.
    owed: VecDeque<Input>,
    sent: u32,
    parts: Vec<u8>,
    part_count: usize,
    _life: Life,
}

/// Tells the session that the socket is gone, however it goes.
struct Farewell {
    session: Held<Mail>,
    stream: StreamNo,
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.session.last_word(Mail::Input(Input::StreamDown { stream: self.stream }));
    }
}

impl MediaSocket {
    fn new(door: Arc<Door>, ticket: Ticket, start_deadline: Duration) -> MediaSocket {
        MediaSocket {
            _life: door.tally.sockets.begin(),
            door,
            conversation: Conversation::new(ticket.stream()),
            ticket,
            start_deadline,
            session: None,
            window: Window::default(),
            told_dropped: 0,
            owed: VecDeque::new(),
            sent: 0,
            parts: Vec::new(),
            part_count: 0,
        }
    }

    fn join(&mut self, session: Addr<CallSession>, stream: StreamNo, ctx: &mut WebsocketContext<Self>) {
        let session = Held::new(session);
        session.post(Mail::SocketOpen { stream, out: Held::new(ctx.address()) });
        self.session = Some(Farewell { session, stream });
    }

    fn heard(&mut self, heard: Heard, ctx: &mut WebsocketContext<Self>) {
        match heard {
            Heard::Nothing => {}
            Heard::Started(start) => self.started_by(start, ctx),
            Heard::Tell(input @ Input::Heard { .. }) => {
                if let Some(input) = self.window.admit(input) {
                    self.tell(input, ctx);
                }
                self.tell_dropped(ctx);
            }
            Heard::Tell(input) => self.tell(input, ctx),
            Heard::Close(code) => close(code, ctx),
        }
    }

    /// The stream says whose it is.
    fn started_by(&mut self, start: Start, ctx: &mut WebsocketContext<Self>) {
        match &self.ticket {
            Ticket::Admitted { call, stream, .. } => {
                let stream = *stream;
                let named = start.call_sid.as_deref().or(start.parameters.get("callSid").map(String::as_str));
                if named.is_some_and(|named| named != call.0) {
                    tracing::warn!(%call, "a stream's start names another call than its token");
                    close(1008, ctx);
                    return;
                }
                let trouble = format_trouble(&start);
                self.tell(Input::StreamUp { stream, stream_sid: start.stream_sid, trouble }, ctx);
            }
            Ticket::Bare { workflow, hint } => {
                let door = self.door.clone();
                let (workflow, hint) = (workflow.clone(), hint.clone());
                let attaching = async move {
                    let attached = door.attach(&workflow, hint.as_ref(), &start).await;
                    (attached, start)
                };
                // Nothing else is read until the call is known.
                ctx.wait(attaching.into_actor(self).map(|(attached, start), actor, ctx| match attached {
                    Ok((session, stream)) => {
                        actor.conversation.becomes(stream);
                        actor.join(session, stream, ctx);
                        let trouble = format_trouble(&start);
                        actor.tell(Input::StreamUp { stream, stream_sid: start.stream_sid, trouble }, ctx);
                    }
                    Err(why) => {
                        tracing::warn!(why, "a bare stream was refused");
                        close(1008, ctx);
                    }
                }));
            }
        }
    }

    fn tell(&mut self, input: Input, ctx: &mut WebsocketContext<Self>) {
        let Some(Farewell { session, .. }) = &self.session else { return };
        if matches!(input, Input::Heard { .. }) {
            // Its credit is spent: a frame that finds no place is lost, like one that came too late.
            if session.post(Mail::Input(input)) == Posted::Gone {
                close(1011, ctx);
            }
            return;
        }
        if self.owed.len() >= OWED_MAX {
            close(1008, ctx);
            return;
        }
        self.owed.push_back(input);
        while let Some(input) = self.owed.pop_front() {
            match session.offer(Mail::Input(input)) {
                Ok(()) => {}
                Err(Some(Mail::Input(input))) => {
                    self.owed.push_front(input);
                    return;
                }
                Err(_) => {
                    close(1011, ctx);
                    return;
                }
            }
        }
    }

    fn tell_dropped(&mut self, ctx: &mut WebsocketContext<Self>) {
        let dropped = self.window.dropped();
        if dropped > self.told_dropped {
            let frames = dropped - self.told_dropped;
            self.told_dropped = dropped;
            self.tell(Input::Dropped { frames }, ctx);
        }
    }

    fn part(&mut self, item: Item, ctx: &mut WebsocketContext<Self>) {
        let (bytes, first, last) = match item {
            Item::FirstText(bytes) => (bytes, true, false),
            Item::Continue(bytes) => (bytes, false, false),
            Item::Last(bytes) => (bytes, false, true),
            Item::FirstBinary(_) => {
                let heard = self.conversation.bad_message();
                self.heard(heard, ctx);
                return;
            }
        };
        if first {
            self.parts.clear();
            self.part_count = 0;
        }
        self.part_count += 1;
        if self.part_count > FRAGMENTS_MAX || self.parts.len() + bytes.len() > MESSAGE_BYTES_MAX {
            close(1009, ctx);
            return;
        }
        self.parts.extend_from_slice(&bytes);
        if last {
            let parts = std::mem::take(&mut self.parts);
            let heard = match std::str::from_utf8(&parts) {
                Ok(text) => self.conversation.text(text),
                Err(_) => self.conversation.bad_message(),
            };
            self.heard(heard, ctx);
        }
    }
}

impl Actor for MediaSocket {
    type Context = WebsocketContext<Self>;

    #[allow(clippy::disallowed_methods)] // a socket has no machine: its one deadline is armed here, once
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        if let Ticket::Admitted { session, stream, .. } = &self.ticket {
            self.join(session.clone(), *stream, ctx);
        }
        let deadline = tokio::time::sleep(self.start_deadline);
        ctx.spawn(deadline.into_actor(self).map(|(), actor, ctx| {
            if !actor.conversation.has_started() {
                tracing::warn!("a stream sent no start in time");
                close(1008, ctx);
            }
        }));
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for MediaSocket {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        match message {
            Ok(Message::Text(text)) => {
                let heard = self.conversation.text(&text);
                self.heard(heard, ctx);
            }
            Ok(Message::Binary(_)) => {
                let heard = self.conversation.bad_message();
                self.heard(heard, ctx);
            }
            Ok(Message::Continuation(item)) => self.part(item, ctx),
            Ok(Message::Ping(bytes)) => ctx.pong(&bytes),
            Ok(Message::Pong(_) | Message::Nop) => {}
            Ok(Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
            }
            Err(ProtocolError::Overflow) => close(1009, ctx),
            Err(_) => ctx.stop(),
        }
    }
}

impl Handler<SocketOut> for MediaSocket {
    type Result = ();

    fn handle(&mut self, out: SocketOut, ctx: &mut Self::Context) {
        match out {
            SocketOut::Send(out) => {
                let mut text = String::new();
                self.conversation.write(&out, &mut text);
                ctx.text(text);
                self.sent += 1;
                if self.sent >= SENT_LOT
                    && let Some(Farewell { session, stream }) = &self.session
                {
                    let count = std::mem::take(&mut self.sent);
                    session.post(Mail::SocketSent { stream: *stream, count });
                }
            }
            SocketOut::Close(code) => close(code, ctx),
            SocketOut::Credit(frames) => {
                let mut admitted = Vec::new();
                self.window.credit(frames, &mut admitted);
                for input in admitted {
                    self.tell(input, ctx);
                }
            }
        }
    }
}

fn close(code: u16, ctx: &mut WebsocketContext<MediaSocket>) {
    ctx.close(Some(CloseReason { code: CloseCode::from(code), description: None }));
    ctx.stop();
}
