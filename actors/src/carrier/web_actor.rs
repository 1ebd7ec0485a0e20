//! The carrier for any actix-web app: a stream as an actor of actix-web-actors. The only file that names that crate.
//!
//! While the network does not read, nothing in this actor runs at all; so nothing that must happen is left to it. The
//! session counts what it owes this socket and sees it stall.

use super::endpoint::{Endpoint, Next};
use crate::call_session::SocketOut;
use crate::door::{Door, Ticket};
use crate::post::Held;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Handler, StreamHandler, WrapFuture};
use actix_web::{Error, HttpRequest, HttpResponse, web};
use actix_web_actors::ws::{self, CloseCode, CloseReason, Message, ProtocolError, WebsocketContext};
use holdline_core::provider::twilio::stream::MESSAGE_BYTES_MAX;
use std::sync::Arc;
use std::time::Duration;

/// Places for what the session sends; its credit for us is smaller.
const MAILBOX: usize = 256;

/// Upgrades a request whose ticket was checked.
pub fn upgrade(
    door: Arc<Door>,
    ticket: Ticket,
    start_deadline: Duration,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let socket = MediaSocket { endpoint: Endpoint::new(door, ticket), start_deadline };
    ws::WsResponseBuilder::new(socket, request, payload).frame_size(MESSAGE_BYTES_MAX).start()
}

pub struct MediaSocket {
    endpoint: Endpoint,
    start_deadline: Duration,
}

impl MediaSocket {
    fn follow(&mut self, next: Next, ctx: &mut WebsocketContext<Self>) {
        match next {
            Next::GoOn => {}
            Next::Attach(start) => {
                // Nothing else is read until the call is known.
                let attaching = self.endpoint.attach(start).into_actor(self);
                ctx.wait(attaching.map(|attached, actor, ctx| {
                    let next = actor.endpoint.attached(attached, Held::new(ctx.address()));
                    actor.follow(next, ctx);
                }));
            }
            Next::Close(code) => close(code, ctx),
        }
    }
}

impl Actor for MediaSocket {
    type Context = WebsocketContext<Self>;

    #[allow(clippy::disallowed_methods)] // a socket has no machine: its one deadline is armed here, once
    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.set_mailbox_capacity(MAILBOX);
        self.endpoint.open(Held::new(ctx.address()));
        let deadline = tokio::time::sleep(self.start_deadline);
        ctx.spawn(deadline.into_actor(self).map(|(), actor, ctx| {
            if !actor.endpoint.has_started() {
                tracing::warn!("a stream sent no start in time");
                close(1008, ctx);
            }
        }));
    }
}

impl StreamHandler<Result<Message, ProtocolError>> for MediaSocket {
    fn handle(&mut self, message: Result<Message, ProtocolError>, ctx: &mut Self::Context) {
        let next = match message {
            Ok(Message::Text(text)) => self.endpoint.text(&text),
            Ok(Message::Binary(_)) => self.endpoint.binary(),
            Ok(Message::Continuation(item)) => self.endpoint.part(item),
            Ok(Message::Ping(bytes)) => {
                ctx.pong(&bytes);
                Next::GoOn
            }
            Ok(Message::Pong(_) | Message::Nop) => Next::GoOn,
            Ok(Message::Close(reason)) => {
                ctx.close(reason);
                ctx.stop();
                Next::GoOn
            }
            Err(ProtocolError::Overflow) => self.endpoint.too_large(),
            Err(_) => {
                ctx.stop();
                Next::GoOn
            }
        };
        self.follow(next, ctx);
    }
}

impl Handler<SocketOut> for MediaSocket {
    type Result = ();

    fn handle(&mut self, out: SocketOut, ctx: &mut Self::Context) {
        match out {
            SocketOut::Send(out) => {
                let mut text = String::new();
                self.endpoint.write(&out, &mut text);
                ctx.text(text);
                self.endpoint.sent(1);
            }
            SocketOut::Close(code) => close(code, ctx),
            SocketOut::Credit(frames) => {
                let next = self.endpoint.credit(frames);
                self.follow(next, ctx);
            }
        }
    }
}

fn close(code: u16, ctx: &mut WebsocketContext<MediaSocket>) {
    ctx.close(Some(CloseReason { code: CloseCode::from(code), description: None }));
    ctx.stop();
}
