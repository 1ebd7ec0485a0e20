//! Sockets: what a carrier does between the bytes and the call.

use super::*;

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
        self.sockets.insert(knock, Socket { conversation, call, workflow, hint, start_by });
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
}
