//! Traces for whoever collects them: exported by OTLP over HTTP when the standard `OTEL_*` variables say where to.
//!
//! A story is told when it is over, out of the journal. It waits in a bounded queue, and nobody waits for it: what the
//! collector does not take in time is dropped and counted.

mod encode;
mod settings;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, Arbiter};
use holdline_actors::clock::Clock;
use holdline_actors::journal_writer::{JournalWriter, Read};
use holdline_actors::tally::Tally;
use holdline_core::Tick;
use holdline_core::fact::{Entry, Key};
use holdline_core::metric::{self, Limit};
use holdline_core::trace::{Span, spans};
use reqwest::header::CONTENT_TYPE;
use tokio::sync::{mpsc, oneshot};

use crate::adapter::http;
pub use settings::{Protocol, Settings};

/// Stories that wait to be read back.
const STORIES_MAX: usize = 1024;
/// A batch that a collector refuses for the moment is sent so often.
const ATTEMPTS: u32 = 3;
/// The first pause between two attempts, doubled each time.
const PAUSE: Duration = Duration::from_millis(500);
/// A collector that is away is told of once in this time.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// The end of a queue into which stories go that are over. Cheap to clone.
#[derive(Clone)]
pub struct Traces {
    told: mpsc::Sender<Told>,
    tally: Arc<Tally>,
}

enum Told {
    Over { key: Key, story: Option<Vec<Entry>> },
    Flush(oneshot::Sender<()>),
}

/// The other end, until the journal is there to read from.
pub struct Exporter {
    told: mpsc::Receiver<Told>,
    settings: Settings,
    tally: Arc<Tally>,
    clock: Clock,
}

/// Two ends of one queue.
pub fn traces(settings: Settings, tally: Arc<Tally>, clock: Clock) -> (Traces, Exporter) {
    let (sender, told) = mpsc::channel(STORIES_MAX);
    (Traces { told: sender, tally: tally.clone() }, Exporter { told, settings, tally, clock })
}

impl Traces {
    /// A story is over. `story` is what it was, where the journal will not know it any more.
    pub fn over(&self, key: Key, story: Option<Vec<Entry>>) {
        if self.told.try_send(Told::Over { key, story }).is_err() {
            self.tally.hit(Limit::WaitingSpans);
            self.tally.count(&metric::SPANS, &["dropped"]);
        }
    }

    /// Resolves when everything that was told so far has been sent, or was given up.
    pub async fn flush(&self) {
        let (reply, flushed) = oneshot::channel();
        if self.told.send(Told::Flush(reply)).await.is_ok() {
            let _ = flushed.await;
        }
    }
}

impl Exporter {
    /// Works on an arbiter of its own: no call waits while a story is folded.
    pub fn start(self, journal: Addr<JournalWriter>) -> Arbiter {
        let arbiter = Arbiter::new();
        arbiter.spawn_fn(move || match Work::new(self, journal) {
            Ok(work) => drop(actix::spawn(work.run())),
            Err(error) => tracing::error!(%error, "traces can't be exported: there is no HTTP client"),
        });
        arbiter
    }
}

struct Work {
    told: mpsc::Receiver<Told>,
    settings: Settings,
    tally: Arc<Tally>,
    clock: Clock,
    journal: Addr<JournalWriter>,
    client: reqwest::Client,
    waiting: VecDeque<Span>,
    /// When what waits goes out, however little it is.
    due: Option<Tick>,
    complained: Option<Tick>,
}

impl Work {
    fn new(exporter: Exporter, journal: Addr<JournalWriter>) -> Result<Work, String> {
        let Exporter { told, settings, tally, clock } = exporter;
        let client = http::operators_client(settings.timeout)?;
        let waiting = VecDeque::new();
        Ok(Work { told, settings, tally, clock, journal, client, waiting, due: None, complained: None })
    }

    async fn run(mut self) {
        loop {
            let now = self.clock.now().tick;
            let wait = self.due.map_or(self.settings.delay, |due| due.since(now));
            match tokio::time::timeout(wait, self.told.recv()).await {
                Ok(Some(Told::Over { key, story })) => self.take(key, story).await,
                Ok(Some(Told::Flush(reply))) => {
                    while !self.waiting.is_empty() {
                        self.send().await;
                    }
                    let _ = reply.send(());
                }
                Ok(None) => break,
                Err(_) => {}
            }
            let is_due = self.due.is_some_and(|due| due <= self.clock.now().tick);
            while self.waiting.len() >= self.settings.batch || (is_due && !self.waiting.is_empty()) {
                self.send().await;
            }
            if is_due {
                self.due = None;
            }
        }
        while !self.waiting.is_empty() {
            self.send().await;
        }
    }

    async fn take(&mut self, key: Key, story: Option<Vec<Entry>>) {
        let story = match story {
            Some(story) => story,
            None => match self.journal.send(Read(key.clone())).await {
                Ok(Ok(story)) => story,
                Ok(Err(_)) | Err(_) => return self.tally.count(&metric::SPANS, &["dropped"]),
            },
        };
        let mut spans = spans(&key, &story);
        if spans.first().is_some_and(|root| !self.settings.sampler.takes(root.trace)) {
            return;
        }
        let room = self.settings.queue.saturating_sub(self.waiting.len());
        if spans.len() > room {
            self.tally.hit(Limit::WaitingSpans);
            self.tally.count_many(&metric::SPANS, &["dropped"], (spans.len() - room) as u64);
            spans.truncate(room);
        }
        if self.due.is_none() && !spans.is_empty() {
            self.due = Some(self.clock.now().tick + self.settings.delay);
        }
        self.waiting.extend(spans);
    }

    /// Sends one batch; what is not taken is given up.
    async fn send(&mut self) {
        let count = self.waiting.len().min(self.settings.batch.max(1));
        let batch: Vec<Span> = self.waiting.drain(..count).collect();
        let body = match self.settings.protocol {
            Protocol::Json => encode::json(&self.settings.resource, &batch),
            Protocol::Protobuf => encode::protobuf(&self.settings.resource, &batch),
        };
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            match self.post(body.clone()).await {
                Ok(()) => return self.tally.count_many(&metric::SPANS, &["exported"], count as u64),
                Err(refused) if refused.is_final || attempt == ATTEMPTS => {
                    self.tally.count_many(&metric::SPANS, &["failed"], count as u64);
                    return self.complain(&refused.why);
                }
                Err(_) => {
                    // Nothing is ever sent here: a pause that ends early when the house closes.
                    let (_open, never) = oneshot::channel::<()>();
                    let _ = tokio::time::timeout(pause, never).await;
                    pause *= 2;
                }
            }
        }
    }

    async fn post(&self, body: Vec<u8>) -> Result<(), Refused> {
        let media = match self.settings.protocol {
            Protocol::Json => "application/json",
            Protocol::Protobuf => "application/x-protobuf",
        };
        let mut request = self.client.post(self.settings.endpoint.clone()).header(CONTENT_TYPE, media);
        for (name, value) in &self.settings.headers {
            request = request.header(name, value.expose());
        }
        // The address may hold a key: it is left out of what is logged.
        let sent = request.body(body).send().await;
        let answer =
            sent.map_err(|error| Refused { why: error.without_url().to_string(), is_final: false })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let is_final = !matches!(status.as_u16(), 429 | 502 | 503 | 504);
        Err(Refused { why: format!("the collector answered {status}"), is_final })
    }

    fn complain(&mut self, why: &str) {
        let now = self.clock.now().tick;
        if self.complained.is_none_or(|at| now.since(at) >= COMPLAIN_EVERY) {
            self.complained = Some(now);
            tracing::warn!(
                why,
                "traces are not taken by the collector and are dropped; see OTEL_EXPORTER_OTLP_ENDPOINT"
            );
        }
    }
}

struct Refused {
    why: String,
    /// It would be refused again.
    is_final: bool,
}
