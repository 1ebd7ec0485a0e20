//! A stage with a witness: everything that goes in and comes out, in order.

use crate::stage::fate::Fault;
use crate::stage::{Knock, News, Stage, WireRequest};
use holdline_core::{CallId, Now, Tick};
use std::time::Duration;

/// What the witness saw.
#[derive(Debug, Clone)]
pub enum Saw {
    Asked(Knock, WireRequest),
    Heard(Knock, String),
    /// Somebody wants the call to end.
    Wished(Knock),
    News(News),
    Crashed,
}

pub struct Watched<S> {
    pub stage: S,
    pub saw: Vec<(Tick, Saw)>,
}

impl<S: Stage> Watched<S> {
    pub fn new(stage: S) -> Watched<S> {
        Watched { stage, saw: Vec::new() }
    }

    fn note(&mut self, saw: Saw) {
        self.saw.push((self.stage.now().tick, saw));
    }
}

impl<S: Stage> Stage for Watched<S> {
    fn now(&self) -> Now {
        self.stage.now()
    }

    fn knock(&mut self, knock: Knock, request: WireRequest) {
        self.note(Saw::Asked(knock, request.clone()));
        self.stage.knock(knock, request);
    }

    fn socket_text(&mut self, socket: Knock, text: String) {
        self.note(Saw::Heard(socket, text.clone()));
        self.stage.socket_text(socket, text);
    }

    fn socket_binary(&mut self, socket: Knock) {
        self.stage.socket_binary(socket);
    }

    fn socket_close(&mut self, socket: Knock, code: Option<u16>) {
        self.stage.socket_close(socket, code);
    }

    fn socket_stalls(&mut self, socket: Knock, stalls: bool) {
        self.stage.socket_stalls(socket, stalls);
    }

    fn panic(&mut self, call: CallId) {
        self.stage.panic(call);
    }

    fn drain(&mut self) {
        self.stage.drain();
    }

    fn hand_over(&mut self) {
        self.stage.hand_over();
    }

    async fn stand_still(&mut self, span: Duration) {
        self.stage.stand_still(span).await;
    }

    fn end_call(&mut self, knock: Knock, call: CallId, stop: bool) {
        self.note(Saw::Wished(knock));
        self.stage.end_call(knock, call, stop);
    }

    fn crash(&mut self) {
        self.note(Saw::Crashed);
        self.stage.crash();
    }

    async fn restart(&mut self) {
        self.stage.restart().await;
    }

    fn befalls(&mut self, fault: &Fault) {
        self.stage.befalls(fault);
    }

    async fn run_until(&mut self, until: Tick) -> Vec<News> {
        let news = self.stage.run_until(until).await;
        for news in &news {
            self.note(Saw::News(news.clone()));
        }
        news
    }

    async fn is_empty(&mut self) -> bool {
        self.stage.is_empty().await
    }
}
