//! Our end of a stream, apart from its socket: what a message of the network leads to, and what waits for whom. Every
//! carrier has one, and only moves bytes itself.

use super::reading::{Conversation, Heard, Part, Parts, format_trouble, names_another};
use crate::alive::Life;
use crate::call_session::{CallSession, Mail, SocketOut};
use crate::door::{Door, Ticket};
use crate::post::{Held, Posted};
use actix::Addr;
use actix_http::ws::Item;
use holdline_core::call::{Input, StreamNo, StreamOut};
use holdline_core::media::window::Window;
use holdline_core::metric::{self, Limit};
use holdline_core::provider::twilio::stream::Start;
use std::collections::VecDeque;
use std::sync::Arc;

/// Messages that may wait for a place in the session's mailbox; a socket that has more to say floods it.
pub const OWED_MAX: usize = 256;
/// Sent messages are told to the session in lots.
const SENT_LOT: u32 = 16;

pub struct Endpoint {
    door: Arc<Door>,
    ticket: Ticket,
    conversation: Conversation,
    session: Option<Farewell>,
    window: Window<Input>,
    /// Frames that found the session's mailbox full.
    lost: u64,
    told_dropped: u64,
    /// Digits, marks and stops that found the session's mailbox full.
    owed: VecDeque<Input>,
    sent: u32,
    parts: Parts,
    _life: Life,
}

/// What the carrier is to do next.
#[derive(Debug)]
#[must_use]
pub enum Next {
    GoOn,
    /// A bare stream has said whose it is: find its call with [`Endpoint::attach`], and read nothing until it is found.
    Attach(Box<Start>),
    /// Close with this code.
    Close(u16),
}

/// Where a bare stream belongs, or why nowhere.
pub struct Attached {
    start: Box<Start>,
    found: Result<(Addr<CallSession>, StreamNo), &'static str>,
}

/// Tells the session that the socket is gone, however it goes.
struct Farewell {
    session: Held<Mail>,
    stream: StreamNo,
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let bad = self.conversation.bad();
        if bad > 0 {
            self.door.tally.count_many(&metric::STREAM_BAD, &[], bad);
        }
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        self.session.last_word(Mail::Input(Input::StreamDown { stream: self.stream }));
    }
}

impl Endpoint {
    pub fn new(door: Arc<Door>, ticket: Ticket) -> Endpoint {
        Endpoint {
            _life: door.tally.sockets.begin(),
            door,
            conversation: Conversation::new(ticket.stream()),
            ticket,
            session: None,
            window: Window::default(),
            lost: 0,
            told_dropped: 0,
            owed: VecDeque::new(),
            sent: 0,
            parts: Parts::default(),
        }
    }

    /// The carrier lives: a session that is known already may speak to it.
    pub fn open(&mut self, out: Held<SocketOut>) {
        if let Ticket::Admitted { session, stream, .. } = &self.ticket {
            let (session, stream) = (session.clone(), *stream);
            self.join(session, stream, out);
        }
    }

    fn join(&mut self, session: Addr<CallSession>, stream: StreamNo, out: Held<SocketOut>) {
        let session = Held::new(session);
        session.post(Mail::SocketOpen { stream, out });
        self.session = Some(Farewell { session, stream });
    }

    pub fn has_started(&self) -> bool {
        self.conversation.has_started()
    }

    pub fn text(&mut self, text: &str) -> Next {
        let heard = self.conversation.text(text);
        self.heard(heard)
    }

    pub fn binary(&mut self) -> Next {
        let heard = self.conversation.bad_message();
        self.heard(heard)
    }

    /// A part of a message that comes in several frames.
    pub fn part(&mut self, item: Item) -> Next {
        match self.parts.take(item) {
            Part::More => Next::GoOn,
            Part::Whole(text) => {
                let heard = self.conversation.text_bytes(&text);
                self.heard(heard)
            }
            Part::Binary => self.binary(),
            Part::TooMuch(limit) => self.bounded(limit, 1009),
        }
    }

    /// A message that is longer than any that we read.
    pub fn too_large(&self) -> Next {
        self.bounded(Limit::MessageBytes, 1009)
    }

    fn bounded(&self, limit: Limit, code: u16) -> Next {
        self.door.tally.hit(limit);
        Next::Close(code)
    }

    fn heard(&mut self, heard: Heard) -> Next {
        match heard {
            // The only end that reading itself asks for.
            Heard::Close(code) => self.bounded(Limit::BadMessages, code),
            Heard::Nothing => Next::GoOn,
            Heard::Started(start) => self.started_by(start),
            Heard::Tell(input @ Input::Heard { .. }) => match self.window.admit(input) {
                Some(input) => self.tell(input),
                None => Next::GoOn,
            },
            Heard::Tell(input) => self.tell(input),
        }
    }

    /// The stream says whose it is.
    fn started_by(&mut self, start: Start) -> Next {
        let Ticket::Admitted { call, stream, .. } = &self.ticket else {
            return Next::Attach(Box::new(start));
        };
        if names_another(&start, call) {
            tracing::warn!(%call, "a stream's start names another call than its token");
            return Next::Close(1008);
        }
        let stream = *stream;
        self.stream_up(stream, start)
    }

    fn stream_up(&mut self, stream: StreamNo, start: Start) -> Next {
        let trouble = format_trouble(&start);
        self.tell(Input::StreamUp { stream, stream_sid: start.stream_sid, trouble })
    }

    /// Finds the call of a bare stream.
    pub fn attach(&self, start: Box<Start>) -> impl Future<Output = Attached> + use<> {
        let door = self.door.clone();
        let bare = match &self.ticket {
            Ticket::Bare { workflow, hint } => Some((workflow.clone(), hint.clone())),
            Ticket::Admitted { .. } => None,
        };
        async move {
            let found = match bare {
                Some((workflow, hint)) => door.attach(&workflow, hint.as_ref(), &start).await,
                None => Err("the stream has its call already"),
            };
            Attached { start, found }
        }
    }

    pub fn attached(&mut self, attached: Attached, out: Held<SocketOut>) -> Next {
        match attached.found {
            Ok((session, stream)) => {
                self.conversation.becomes(stream);
                self.join(session, stream, out);
                self.stream_up(stream, *attached.start)
            }
            Err(why) => {
                tracing::warn!(why, "a bare stream was refused");
                Next::Close(1008)
            }
        }
    }

    fn tell(&mut self, input: Input) -> Next {
        let Some(Farewell { session, .. }) = &self.session else { return Next::GoOn };
        if matches!(input, Input::Heard { .. }) {
            // Its credit is spent: a frame that finds no place is lost, like one that came too late.
            return match session.post(Mail::Input(input)) {
                Posted::Gone => Next::Close(1011),
                Posted::Taken => Next::GoOn,
                Posted::Full => {
                    self.lost += 1;
                    Next::GoOn
                }
            };
        }
        if self.owed.len() >= OWED_MAX {
            return self.bounded(Limit::SocketBacklog, 1008);
        }
        self.owed.push_back(input);
        self.pay()
    }

    /// What is owed to the session goes as far as there is room, in order.
    fn pay(&mut self) -> Next {
        let Some(Farewell { session, .. }) = &self.session else { return Next::GoOn };
        while let Some(input) = self.owed.pop_front() {
            match session.offer(Mail::Input(input)) {
                Ok(()) => {}
                Err(Some(Mail::Input(input))) => {
                    self.owed.push_front(input);
                    break;
                }
                Err(_) => return Next::Close(1011),
            }
        }
        Next::GoOn
    }

    /// The session has taken so many frames, so it has room. Only now is it told what was dropped: a message for each
    /// frame that is lost would fill its mailbox while it is slow.
    pub fn credit(&mut self, frames: u32) -> Next {
        if let Next::Close(code) = self.pay() {
            return Next::Close(code);
        }
        let mut admitted = Vec::new();
        self.window.credit(frames, &mut admitted);
        for input in admitted {
            if let Next::Close(code) = self.tell(input) {
                return Next::Close(code);
            }
        }
        let dropped = self.window.dropped() + self.lost;
        match dropped - std::mem::replace(&mut self.told_dropped, dropped) {
            0 => Next::GoOn,
            frames => self.tell(Input::Dropped { frames }),
        }
    }

    /// The text of one message to the network.
    pub fn write(&self, out: &StreamOut, text: &mut String) {
        self.conversation.write(out, text);
    }

    /// So many messages are on their way.
    pub fn sent(&mut self, count: u32) {
        self.sent += count;
        if self.sent >= SENT_LOT
            && let Some(Farewell { session, stream }) = &self.session
        {
            let count = std::mem::take(&mut self.sent);
            session.post(Mail::SocketSent { stream: *stream, count });
        }
    }
}
