//! What a carrier does: sockets by name, their conversations, what the call says on them.

use super::*;
use holdline_actors::call_session::SOCKET_CREDIT;

/// Sent messages are told to the session in lots, as the real carrier does.
const SENT_LOT: u32 = 16;

pub(super) struct Socket {
    pub(super) conversation: Conversation,
    /// Its call, once that is known.
    pub(super) call: Option<CallId>,
    pub(super) workflow: WorkflowId,
    pub(super) hint: Option<CallId>,
    pub(super) start_by: Tick,
    outlet: Outlet,
}

/// The way out: what the session may send before it counts as blocked, and what waits while the other end takes nothing.
struct Outlet {
    credit: u32,
    /// What the session has no credit for.
    owed: VecDeque<StreamOut>,
    /// What the socket was given and can't send.
    held: VecDeque<StreamOut>,
    sent: u32,
    stalled: bool,
    /// To be closed behind all of it.
    close: Option<u16>,
}

impl MachineStage {
    pub(super) fn open_socket(
        &mut self,
        knock: Knock,
        workflow: WorkflowId,
        call: Option<CallId>,
        hint: Option<CallId>,
        stream: Option<StreamNo>,
    ) {
        let conversation = Conversation::new(stream);
        let start_by = self.now.tick + self.config.start_deadline;
        let outlet = Outlet::new();
        self.sockets.insert(knock, Socket { conversation, call, workflow, hint, start_by, outlet });
        self.say(News::Upgraded { knock });
    }

    pub(super) fn join(&mut self, knock: Knock, call: &CallId, stream: StreamNo) {
        if let Some(session) = self.calls.get_mut(call) {
            session.sockets.insert(stream, knock);
        }
    }

    pub(super) fn heard(&mut self, knock: Knock, heard: Heard) {
        let call = self.sockets.get(&knock).and_then(|socket| socket.call.clone());
        match (heard, call) {
            (Heard::Nothing, _) | (Heard::Tell(_), None) => {}
            (Heard::Close(code), _) => self.close_socket(knock, code),
            (Heard::Tell(input), Some(call)) => self.turn(&call, input),
            (Heard::Started(start), Some(call)) => {
                let named = start.call_sid.as_deref().or(start.parameters.get("callSid").map(String::as_str));
                if named.is_some_and(|named| named != call.0) {
                    return self.close_socket(knock, 1008);
                }
                let stream = self.sockets.get(&knock).and_then(|socket| socket.conversation.stream());
                let Some(stream) = stream else { return };
                let trouble = format_trouble(&start);
                self.turn(&call, Input::StreamUp { stream, stream_sid: start.stream_sid, trouble });
            }
            (Heard::Started(start), None) => self.attach(knock, start),
        }
    }

    pub(super) fn attach(&mut self, knock: Knock, start: Start) {
        let Some(socket) = self.sockets.get(&knock) else { return };
        let named = start.call_sid.clone().or_else(|| start.parameters.get("callSid").cloned());
        let call = match (named, &socket.hint) {
            (Some(named), Some(hint)) if named != hint.0 => None,
            (Some(named), _) => webhook::call_id(&named),
            (None, hint) => hint.clone(),
        };
        let workflow = socket.workflow.clone();
        match call {
            Some(call) => {
                let waiter = Waiter::Attach { socket: knock, start };
                self.deliver(&call, Some(&workflow), Request::Attach, waiter);
            }
            None => self.close_socket(knock, 1008),
        }
    }

    pub(super) fn register_bare(&mut self, socket: Knock, workflow: WorkflowId, start: Start) {
        let parameter = |name: &str| start.parameters.get(name).cloned();
        let named = start.call_sid.clone().or_else(|| parameter("callSid"));
        let Some(call) = named.as_deref().and_then(webhook::call_id) else { return };
        let arrival = Arrival {
            call,
            account: start.account.clone().unwrap_or_default(),
            from: parameter("from").unwrap_or_default(),
            to: parameter("to").unwrap_or_default(),
            direction: "inbound".into(),
            status: Some(NetworkStatus::InProgress),
            caller_name: None,
            forwarded_from: None,
        };
        self.arrive(workflow, arrival, Request::Attach, Waiter::Attach { socket, start });
    }

    /// We close; the other end is told, and the call that this socket is gone.
    pub(super) fn close_socket(&mut self, knock: Knock, code: u16) {
        if self.sockets.contains_key(&knock) {
            self.say(News::SocketClosed { socket: knock, code: Some(code) });
            self.socket_gone(knock);
        }
    }

    pub(super) fn socket_gone(&mut self, knock: Knock) {
        let Some(socket) = self.sockets.remove(&knock) else { return };
        if let (Some(call), Some(stream)) = (socket.call, socket.conversation.stream()) {
            if let Some(session) = self.calls.get_mut(&call) {
                session.sockets.remove(&stream);
            }
            self.turn(&call, Input::StreamDown { stream });
        }
    }

    /// Sends what the credit allows; says whether the session is blocked now.
    pub(super) fn send(&mut self, knock: Knock, out: StreamOut) -> bool {
        let Some(socket) = self.sockets.get_mut(&knock) else { return false };
        socket.outlet.owed.push_back(out);
        self.drain(knock);
        self.sockets.get(&knock).is_some_and(|socket| socket.outlet.credit == 0)
    }

    fn drain(&mut self, knock: Knock) {
        let down = self.down;
        let Some(Socket { conversation, outlet, .. }) = self.sockets.get_mut(&knock) else { return };
        while outlet.credit > 0
            && let Some(out) = outlet.owed.pop_front()
        {
            outlet.credit -= 1;
            outlet.held.push_back(out);
            outlet.flush(conversation, |text| {
                if !down {
                    self.news.push(News::SocketText { socket: knock, text });
                }
            });
        }
    }

    /// The session wants the socket closed, behind what it was given before.
    pub(super) fn close_behind(&mut self, knock: Knock, code: u16) {
        let Some(socket) = self.sockets.get_mut(&knock) else { return };
        if socket.outlet.stalled {
            socket.outlet.close = Some(code);
            return;
        }
        let (call, stream) = (socket.call.clone(), socket.conversation.stream());
        self.sockets.remove(&knock);
        self.say(News::SocketClosed { socket: knock, code: Some(code) });
        if let (Some(call), Some(stream)) = (call, stream)
            && let Some(session) = self.calls.get_mut(&call)
        {
            session.sockets.remove(&stream);
            self.turn(&call, Input::StreamDown { stream });
        }
    }

    /// Its session is gone: a socket that takes nothing hears of it when it takes something again.
    pub(super) fn orphan(&mut self, knock: Knock) {
        match self.sockets.get_mut(&knock) {
            Some(socket) if socket.outlet.stalled => {
                socket.call = None;
                socket.outlet.close.get_or_insert(1011);
            }
            _ => {
                self.sockets.remove(&knock);
            }
        }
    }

    /// The other end takes nothing for now. What it says is still heard.
    pub(super) fn stall(&mut self, knock: Knock) {
        if let Some(socket) = self.sockets.get_mut(&knock) {
            socket.outlet.stalled = true;
        }
    }

    /// It takes messages again: what waited goes out at once, and the session learns that there is room.
    pub(super) fn take_again(&mut self, knock: Knock) {
        let Some(Socket { conversation, outlet, call, .. }) = self.sockets.get_mut(&knock) else { return };
        let was_blocked = outlet.credit == 0;
        outlet.stalled = false;
        outlet.flush(conversation, |text| self.news.push(News::SocketText { socket: knock, text }));
        let (call, stream, close) = (call.clone(), conversation.stream(), outlet.close.take());
        self.drain(knock);
        if let Some(code) = close {
            self.close_socket(knock, code);
        } else if was_blocked && let (Some(call), Some(stream)) = (call, stream) {
            self.turn(&call, Input::Blocked { stream, blocked: false });
        }
    }
}

impl Outlet {
    fn new() -> Outlet {
        let (owed, held) = (VecDeque::new(), VecDeque::new());
        Outlet { credit: SOCKET_CREDIT, owed, held, sent: 0, stalled: false, close: None }
    }

    fn flush(&mut self, conversation: &Conversation, mut say: impl FnMut(String)) {
        while !self.stalled
            && let Some(out) = self.held.pop_front()
        {
            let mut text = String::new();
            conversation.write(&out, &mut text);
            say(text);
            self.sent += 1;
            if self.sent >= SENT_LOT {
                self.credit += std::mem::take(&mut self.sent);
            }
        }
    }
}
