//! Requests and their answers: what the door and the registry do.

use super::*;

pub(super) enum Waiter {
    Document { knock: Knock },
    Notice { knock: Knock },
    Open { knock: Knock, workflow: WorkflowId },
    Attach { socket: Knock, start: Start },
    Api { knock: Knock },
}

/// Why no session answers.
pub(super) enum NotHere {
    Unknown,
    OtherWorkflow,
    Ended { rejected: bool },
    TurnedAway,
}

pub(super) struct Known<'a>(pub(super) &'a Shelf);

impl front::Flows for Known<'_> {
    fn exists(&self, id: &str) -> bool {
        self.0.find(&WorkflowId(id.to_owned())).is_some()
    }
}

impl MachineStage {
    pub(super) fn admitted(&mut self, knock: Knock, ask: Ask) {
        match ask {
            Ask::Voice(voice) => {
                let request = Request::Voice {
                    status: voice.arrival.status,
                    answer: voice.answer,
                    key: voice.idempotency,
                };
                self.arrive(voice.workflow, voice.arrival, request, Waiter::Document { knock });
            }
            Ask::Next(next) => {
                let request = Request::Next {
                    x: next.x,
                    a: next.a,
                    status: next.arrival.status,
                    answer: next.answer,
                    key: next.idempotency,
                };
                self.arrive(next.workflow, next.arrival, request, Waiter::Document { knock });
            }
            Ask::Wait(wait) => {
                let waited_s = wait.place.waited_s;
                let request = Request::Wait { x: wait.x.unwrap_or(0), w: wait.w, waited_s };
                self.deliver(&wait.call, Some(&wait.workflow), request, Waiter::Document { knock });
            }
            // This stage places no calls: it is a status like any other.
            Ask::Placed(placed) => self.admitted(knock, Ask::Status(placed.notice)),
            Ask::Status(notice) => {
                let call = notice.parent.clone().unwrap_or_else(|| notice.call.clone());
                self.deliver(&call, None, Request::Status(notice), Waiter::Notice { knock });
            }
            Ask::StreamEvent(notice) => {
                let call = notice.call.clone();
                self.deliver(&call, None, Request::Stream(notice), Waiter::Notice { knock });
            }
            Ask::Recording(notice) => {
                let call = notice.call.clone();
                self.deliver(&call, None, Request::Recording(notice), Waiter::Notice { knock });
            }
            Ask::Conference(notice) => match notice.call.clone() {
                Some(call) => {
                    self.deliver(&call, None, Request::Conference(notice), Waiter::Notice { knock });
                }
                None => self.answer(knock, 200, ""),
            },
            Ask::Stream { workflow, entry: Door::Ticket { call, token } } => {
                let waiter = Waiter::Open { knock, workflow: workflow.clone() };
                self.deliver(&call, Some(&workflow), Request::Open { token: token.0 }, waiter);
            }
            Ask::Stream { workflow, entry: Door::Hint(call) } => {
                self.open_socket(knock, workflow, None, Some(call), None);
            }
            Ask::Stream { workflow, entry: Door::Bare } | Ask::BareStream { workflow } => {
                self.open_socket(knock, workflow, None, None, None);
            }
            Ask::BareTwiml { workflow } => {
                let body = twiml::bare_stream(&links(&workflow, ""));
                self.answer(knock, 200, &body);
            }
            Ask::Health | Ask::Ready => self.answer(knock, 200, "ok\n"),
        }
    }

    /// A request that may begin a call.
    pub(super) fn arrive(
        &mut self,
        workflow: WorkflowId,
        arrival: Arrival,
        request: Request,
        waiter: Waiter,
    ) {
        let call = arrival.call.clone();
        if let Some(ended) = self.ended.get(&call) {
            let rejected = ended.rejected;
            let other = ended.workflow != workflow;
            let why = if other { NotHere::OtherWorkflow } else { NotHere::Ended { rejected } };
            return self.not_here(waiter, &why);
        }
        if self.calls.get(&call).is_some_and(|session| session.workflow != workflow) {
            return self.not_here(waiter, &NotHere::OtherWorkflow);
        }
        if self.shelf.find(&workflow).is_none() {
            // Deleted under its calls, which go on; no other begins.
            return match waiter {
                waiter if self.calls.contains_key(&call) => self.ask(&call, request, waiter),
                Waiter::Document { knock } => {
                    let refusal = Refusal::unknown_workflow(&workflow.0);
                    self.answer(knock, refusal.status, &format!("{}\n", refusal.message));
                }
                waiter => self.not_here(waiter, &NotHere::Unknown),
            };
        }
        if !self.calls.contains_key(&call) && self.fate.disk.is_failing(self.now.tick) {
            return self.fail(waiter, "new calls can't be written down");
        }
        let Some(new) = self.new_call(&workflow, arrival.clone()) else {
            return self.fail(waiter, "the workflow cannot be started");
        };
        match self.roster.arrive(&call) {
            Verdict::Known => self.ask(&call, request, waiter),
            Verdict::Spawn => {
                self.spawn(workflow, new);
                let request = match request {
                    Request::Next { status, answer, key, .. } => Request::Voice { status, answer, key },
                    request => request,
                };
                self.ask(&call, request, waiter);
            }
            Verdict::TurnAway => {
                let overflow = self.config.overflow.clone().filter(|_| !self.roster.is_draining());
                match overflow.and_then(|id| self.new_call(&id, arrival.clone())) {
                    Some(overflow) => {
                        self.roster.reopen(&call);
                        self.spawn(workflow, overflow);
                        self.ask(&call, request, waiter);
                    }
                    None => {
                        let run = RunId(self.mint.next(self.now.wall_ms));
                        let batch = turned_away(self.now, arrival, workflow.clone(), run);
                        let document = match &waiter {
                            Waiter::Document { knock } => Some(*knock),
                            _ => None,
                        };
                        self.ended.insert(call.clone(), Ended { workflow, rejected: true });
                        let whose = Whose::TurnedAway(call, document);
                        if self.append(whose.clone(), batch) {
                            self.post(Letter::Written(whose));
                        }
                        if document.is_none() {
                            self.not_here(waiter, &NotHere::TurnedAway);
                        }
                    }
                }
            }
        }
    }

    pub(super) fn new_call(&mut self, workflow: &WorkflowId, arrival: Arrival) -> Option<NewCall> {
        let script = self.shelf.find(workflow)?;
        let wall_ms = self.now.wall_ms;
        let ids = (RunId(self.mint.next(wall_ms)), RunId(self.mint.next(wall_ms)));
        new_call(self.now, arrival, &script, &|id| self.shelf.find(id), ids).ok()
    }

    pub(super) fn spawn(&mut self, workflow: WorkflowId, new: NewCall) {
        let NewCall { arrived, sub, main } = new;
        let Some(call) = Call::arrive(self.now, self.call_config.clone(), arrived) else { return };
        let id = call.state().arrival.call.clone();
        let (mut run, facts) = Run::begin(self.now, sub);
        run.bind(Arc::new(self.shelf.clone()));
        let session = Session::of(workflow, call, Life::Running(Box::new(run)));
        // The run's own beginning goes with the call's: no crash may leave a call on disk without its flow.
        let born = facts.into_iter().map(Fact::Run).collect();
        self.calls.insert(id, Session { first: main, born, ..session });
    }

    /// A request for a call that must be known.
    pub(super) fn deliver(
        &mut self,
        call: &CallId,
        workflow: Option<&WorkflowId>,
        request: Request,
        waiter: Waiter,
    ) {
        let known = self.calls.get(call).map(|session| &session.workflow);
        let known = known.or_else(|| self.ended.get(call).map(|ended| &ended.workflow));
        if let (Some(known), Some(asked)) = (known, workflow)
            && known != asked
        {
            return self.not_here(waiter, &NotHere::OtherWorkflow);
        }
        self.ask(call, request, waiter);
    }

    pub(super) fn ask(&mut self, call: &CallId, request: Request, waiter: Waiter) {
        if !self.calls.contains_key(call) {
            let why = match self.ended.get(call) {
                Some(ended) => NotHere::Ended { rejected: ended.rejected },
                None => NotHere::Unknown,
            };
            return self.not_here(waiter, &why);
        }
        self.last_ask += 1;
        let ask = AskNo(self.last_ask);
        let until = self.now.tick + ANSWER_TIMEOUT;
        self.waiting.insert((call.clone(), ask), Waiting { waiter, until });
        self.turn(call, Input::Asked { ask, request });
    }

    pub(super) fn not_here(&mut self, waiter: Waiter, why: &NotHere) {
        match waiter {
            Waiter::Document { knock } => match why {
                NotHere::Ended { rejected: false } => self.answer(knock, 200, &twiml::hangup()),
                NotHere::Ended { rejected: true } | NotHere::TurnedAway => {
                    self.answer(knock, 200, &twiml::reject("busy"));
                }
                NotHere::Unknown | NotHere::OtherWorkflow => {
                    self.answer(knock, 404, "no such workflow or call\n");
                }
            },
            Waiter::Notice { knock } => self.answer(knock, 200, ""),
            Waiter::Open { knock, .. } => match why {
                NotHere::OtherWorkflow => self.answer(knock, 404, "no such workflow or call\n"),
                _ => self.answer(knock, 403, "the call is not known\n"),
            },
            Waiter::Attach { socket, start } => {
                let workflow = self.sockets.get(&socket).map(|socket| socket.workflow.clone());
                match (why, workflow) {
                    (NotHere::Unknown, Some(workflow)) if self.front.bare_streams => {
                        self.register_bare(socket, workflow, start);
                    }
                    _ => self.close_socket(socket, 1008),
                }
            }
            Waiter::Api { knock } => {
                let text = match why {
                    NotHere::Ended { .. } => "already ended",
                    _ => "call not found",
                };
                self.say(News::Ending { knock, text: text.to_owned() });
            }
        }
    }

    pub(super) fn fail(&mut self, waiter: Waiter, why: &str) {
        match waiter {
            Waiter::Document { knock }
            | Waiter::Notice { knock }
            | Waiter::Open { knock, .. }
            | Waiter::Api { knock } => self.answer(knock, 503, &format!("{why}\n")),
            Waiter::Attach { socket, .. } => self.close_socket(socket, 1008),
        }
    }

    /// A call's answer goes to whoever asked.
    pub(super) fn answered(&mut self, call: &CallId, workflow: &WorkflowId, ask: AskNo, answer: Answer) {
        let Some(Waiting { waiter, .. }) = self.waiting.remove(&(call.clone(), ask)) else { return };
        match (waiter, answer) {
            (Waiter::Document { knock }, Answer::Document { plan }) => {
                let body = render(call, workflow, &plan);
                self.answer(knock, 200, &body);
            }
            (Waiter::Document { knock }, Answer::Hangup) => self.answer(knock, 200, &twiml::hangup()),
            (Waiter::Document { knock }, Answer::WaitDocument { exchange, turn, verbs }) => {
                let links = links(workflow, &call.0);
                self.answer(knock, 200, &twiml::wait_document(&verbs, &links, exchange, turn));
            }
            (Waiter::Document { knock }, Answer::Denied { why }) => {
                self.answer(knock, 503, &format!("{why}\n"));
            }
            (Waiter::Document { knock } | Waiter::Notice { knock }, _) => self.answer(knock, 200, ""),
            (Waiter::Open { knock, workflow }, Answer::Admitted { stream, .. }) => {
                self.open_socket(knock, workflow, Some(call.clone()), None, Some(stream));
                self.join(knock, call, stream);
            }
            (Waiter::Open { knock, .. }, Answer::Denied { why }) => {
                self.answer(knock, 403, &format!("{why}\n"))
            }
            (Waiter::Open { knock, .. }, _) => self.answer(knock, 403, "the call is over\n"),
            (Waiter::Attach { socket, start }, Answer::Admitted { stream, .. }) => {
                if let Some(found) = self.sockets.get_mut(&socket) {
                    found.call = Some(call.clone());
                    found.conversation.becomes(stream);
                }
                self.join(socket, call, stream);
                let trouble = format_trouble(&start);
                self.turn(call, Input::StreamUp { stream, stream_sid: start.stream_sid, trouble });
            }
            (Waiter::Attach { socket, .. }, _) => self.close_socket(socket, 1008),
            (Waiter::Api { knock }, Answer::Ending { deferred }) => {
                let text = if deferred { "ending, deferred" } else { "ending" };
                self.say(News::Ending { knock, text: text.to_owned() });
            }
            (Waiter::Api { knock }, _) => {
                self.say(News::Ending { knock, text: "no answer".to_owned() });
            }
        }
    }

    pub(super) fn answer(&mut self, knock: Knock, status: u16, body: &str) {
        let content_type = match (status, body) {
            (_, "") => "",
            (200, body) if body.starts_with('<') => "text/xml; charset=utf-8",
            _ => "text/plain; charset=utf-8",
        };
        let (content_type, body) = (content_type.to_owned(), body.to_owned());
        self.say(News::Answered { knock, status, content_type, body });
    }
}

fn render(call: &CallId, workflow: &WorkflowId, plan: &Plan) -> String {
    let token = match plan.ending {
        Ending::Stream { .. } => Some(stream_token(&INSTANCE_KEY, call, plan.exchange)),
        _ => None,
    };
    twiml::render(plan, &links(workflow, &call.0), token.as_deref())
}

fn links(workflow: &WorkflowId, call: &str) -> Links {
    Links {
        origin: ORIGIN.to_owned(),
        workflow: workflow.0.clone(),
        call: call.to_owned(),
        return_fragment: RETURN_FRAGMENT.to_owned(),
    }
}
