//! A running Holdline, as a value: two can live in one process.
//!
//! [`Runtime::builder`] starts one; [`Runtime::configure_public`] and [`Runtime::configure_control`] mount the routes of
//! either listener in any actix-web app.

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::{Actor, Addr, Arbiter};
use actix_web::web::ServiceConfig;
use holdline_actors::call_registry::{CallRegistry, Census, Count, Drain, HandOver, Provoke, WhenEmpty};
use holdline_actors::call_session::House;
use holdline_actors::clock::Clock;
use holdline_actors::door::{Complaints, Door, FlowBook};
use holdline_actors::feed::Feed;
use holdline_actors::flow_registry::{CountFlows, FlowRegistry};
use holdline_actors::journal_writer::{Crier, Health, JournalWriter, Listener, Retire};
use holdline_actors::outbound::{self, Outbound};
use holdline_actors::outbox::{Outbox, Outside};
use holdline_actors::owing::Owing;
use holdline_actors::port::audio::Audio;
use holdline_actors::port::http::World;
use holdline_actors::port::journal::{Journal, JournalError, MemoryJournal};
use holdline_actors::port::recording::Recordings;
use holdline_actors::recovery::{self, Recovered};
use holdline_actors::tally::Tally;
use holdline_core::CallId;
use holdline_core::call::{CallConfig, RestConfig};
use holdline_core::event::{self, Herald, Hook, Types};
use holdline_core::front::FrontConfig;
use holdline_core::front::rate::RateLimit;
use holdline_core::media::playout::PlayoutConfig;
use holdline_core::outbound::OutboundConfig;
use holdline_core::provider::twilio::signature::Keys;
use holdline_core::workflow::outbox::OutboxConfig;
use tokio::sync::oneshot;
use uuid::{NoContext, Timestamp, Uuid};

use crate::adapter::audio::AudioPort;
use crate::adapter::http::HttpPort;
use crate::adapter::instance::instance_key;
use crate::adapter::journal::{DiskJournal, OpenError, StoreKind};
use crate::adapter::recordings::DiskRecordings;
use crate::adapter::world::OtherSystems;
use crate::builder::Builder;
use crate::calls::Calls;
use crate::config::{Config, JournalKind, Speech, Webhook};
use crate::desk::{Desk, Grammar};
use crate::directory;
use crate::flows::FlowLibrary;
use crate::metrics::{self, CountedWorld, Watch};
use crate::placing::Placing;
use crate::trace::{self, Traces};
use crate::web::auth::Tokens;
use crate::web::control::{self, Room};
use crate::web::problem::Problem;
use crate::web::public::{self, Public};

/// What a runtime is made of; each part can be another one's own.
pub struct Parts {
    pub book: Arc<dyn FlowBook>,
    /// Where the book is a folder that may change: watched, and read again by [`Runtime::reload`].
    pub library: Option<Arc<FlowLibrary>>,
    pub audio: Arc<dyn Audio>,
    pub recordings: Arc<dyn Recordings>,
    pub journal: Box<dyn Journal>,
    /// How workflows reach other systems.
    pub world: Arc<dyn World>,
    pub instance_key: [u8; 32],
    /// Speech is sound of `audio`; otherwise the phone network speaks.
    pub local_speech: bool,
}

/// What is in memory right now. After the last call all of it is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Inventory {
    pub calls: usize,
    /// Places taken of `max_calls`.
    pub places: usize,
    /// Actors of calls: sessions and their flows, with them their timers.
    pub actors: usize,
    pub sockets: usize,
    /// Main workflows that are at work.
    pub workflows: usize,
}

/// A running Holdline: its actors, its routes, its journal. [`Runtime::builder`] starts one; it lives on the thread, and
/// in the actix system, that it was started on. Two of them know nothing of each other.
pub struct Runtime {
    door: Arc<Door>,
    calls: Addr<CallRegistry>,
    flows: Addr<FlowRegistry>,
    outbox: Addr<Outbox>,
    outbound: Addr<Outbound>,
    world: Arc<dyn World>,
    journal: Addr<JournalWriter>,
    journal_health: Arc<Health>,
    feed: Arc<Feed>,
    room: Arc<Room>,
    public: Arc<Public>,
    tokens: Tokens,
    drain_timeout: Duration,
    library: Option<Arc<FlowLibrary>>,
    arbiters: Vec<Arbiter>,
    traces: Option<Traces>,
}

impl Drop for Runtime {
    fn drop(&mut self) {
        for arbiter in &self.arbiters {
            arbiter.stop();
        }
    }
}

impl Runtime {
    /// Everything as `config` says; what the builder is told replaces parts of it.
    pub fn builder(config: Config) -> Builder {
        Builder::new(config)
    }

    /// Starts the actors on the current arbiter. `origin` is the public URL as the network sees it. Nothing of an
    /// earlier process goes on before [`Runtime::recover`].
    #[doc(hidden)]
    pub fn start(config: &Config, origin: String, parts: Parts) -> Runtime {
        let clock = Clock::start();
        let tally = Arc::new(Tally::default());
        let feed = Arc::new(Feed::new(clock));
        let owing = Arc::new(Owing::default());
        let herald = Herald::new(origin.clone(), hooks(config));
        let crier = Crier::new(herald, feed.clone(), owing.clone());
        let writer = JournalWriter::new(parts.journal).keeping(clock, config.journal.retention);
        let tracing = trace_settings().map(|settings| trace::traces(settings, tally.clone(), clock));
        let (traces, exporter) = tracing.unzip();
        let writer =
            writer.counting(tally.clone()).telling(crier).listened_to_by(traces.clone().map(listener));
        let journal_health = writer.health();
        let hand = writer.begin();
        let journal = Addr::clone(&hand);
        let world: Arc<dyn World> = Arc::new(CountedWorld::new(parts.world, tally.clone()));
        let outbox = Outbox::new(clock, journal.clone(), world.clone(), outbox_config(config));
        let outbox = outbox.hearing(owing).start();
        let outside = Outside { world: world.clone(), outbox: outbox.clone() };
        let book = parts.book.clone();
        let flows = FlowRegistry::new(clock, journal.clone(), outside.clone(), book, tally.clone()).start();
        let house = House {
            clock,
            journal: hand,
            flows: flows.clone(),
            book: parts.book.clone(),
            audio: parts.audio,
            recordings: parts.recordings,
            outside,
            tally: tally.clone(),
            numbers: config.log.numbers,
        };
        let call_config = Arc::new(call_config(config, &origin, parts.instance_key, parts.local_speech));
        let arbiters = arbiters();
        let homes = arbiters.iter().map(Arbiter::handle).collect();
        let exporting = exporter.map(|exporter| exporter.start(journal.clone()));
        let calls = CallRegistry::new(house, call_config, config.calls.max_calls, homes).start();
        let outbound = Outbound::new(
            outbound::Parts {
                clock,
                journal: journal.clone(),
                world: world.clone(),
                calls: calls.clone(),
                book: parts.book.clone(),
                mint: Arc::new(mint),
            },
            OutboundConfig { origin: origin.clone() },
        )
        .start();
        let placing = Placing {
            outbound: outbound.clone(),
            calls: calls.clone(),
            book: parts.book.clone(),
            clock,
            mint: Arc::new(mint),
            has_credentials: config.twilio.credentials().is_some(),
            max_calls: config.calls.max_calls,
            from: config.twilio.from.clone(),
        };
        let door = Arc::new(Door {
            calls: calls.clone(),
            outbound: outbound.clone(),
            front: front_config(config, origin),
            book: parts.book,
            clock,
            mint: Arc::new(mint),
            return_fragment: config.public.return_fragment.clone(),
            instance_key: parts.instance_key,
            overflow: config.calls.overflow_workflow.clone(),
            tally,
            rate: config.public.rate_limit.map(|most| Mutex::new(RateLimit::new(most))),
            complaints: Complaints::default(),
        });
        let directory =
            directory::shared(directory::House { calls: calls.clone(), journal: journal.clone(), clock });
        let public = Arc::new(Public::new(
            door.clone(),
            config.public.trusted_proxies.clone(),
            config.calls.start_deadline,
        ));
        let tokens = Tokens::new(&config.control.tokens);
        let desk = Desk {
            calls: calls.clone(),
            flows: flows.clone(),
            outbox: outbox.clone(),
            journal: journal.clone(),
            feed: feed.clone(),
            clock,
            mint,
            book: door.book.clone(),
            grammar: Grammar::new(config, door.book.clone(), parts.library.clone()),
            placing,
            storing: Arc::default(),
        };
        let watch = Watch {
            tally: door.tally.clone(),
            health: journal_health.clone(),
            calls: calls.clone(),
            flows: flows.clone(),
            outbox: outbox.clone(),
            outbound: outbound.clone(),
            journal: journal.clone(),
            clock,
            door: door.clone(),
            guests: public.guests.clone(),
            feed: feed.clone(),
            limits: metrics::limits(config),
        };
        let room = Arc::new(Room::new(directory, desk, recordings_folder(config), watch));
        if let Some(library) = parts.library.as_ref().filter(|_| config.flows.reload) {
            library.watch();
        }
        for (setting, id) in [
            ("default_workflow", &config.default_workflow),
            ("overflow_workflow", &config.calls.overflow_workflow),
        ] {
            if let Some(id) = id.as_ref().filter(|id| door.book.find(id).is_none()) {
                tracing::warn!(setting, workflow = %id, "no workflow has the id that a setting names");
            }
        }
        let drain_timeout = config.calls.drain_timeout;
        let library = parts.library;
        Runtime {
            door,
            calls,
            flows,
            outbox,
            outbound,
            world,
            journal,
            journal_health,
            feed,
            room,
            public,
            tokens,
            drain_timeout,
            library,
            arbiters: arbiters.into_iter().chain(exporting).collect(),
            traces,
        }
    }

    /// Goes on with what the process before this one left open. To be awaited before the first request is served.
    pub async fn recover(&self) -> Result<Recovered, JournalError> {
        if let Some(library) = &self.library {
            library.restore(recovery::stored_flows(&self.journal).await?);
        }
        let recovered =
            recovery::recover(&self.journal, &self.calls, &self.flows, &self.outbox, &self.outbound).await?;
        let Recovered { calls, workflows, waiting, deliveries, placements } = recovered;
        self.door.tally.waiting(i64::try_from(waiting).unwrap_or(i64::MAX));
        if recovered != Recovered::default() {
            tracing::info!(
                calls,
                workflows,
                waiting,
                deliveries,
                placements,
                "going on with what was left open"
            );
        }
        Ok(recovered)
    }

    /// Calls that the network holds to be in progress and that are over here, for so long at least, are ended there, too;
    /// says how many.
    pub async fn end_orphans(&self, over_for: Duration) -> usize {
        if !self.placing().has_credentials {
            return 0;
        }
        let over_for = u64::try_from(over_for.as_millis()).unwrap_or(u64::MAX);
        // One more, so that a call which ended a moment ago counts where nothing is waited for.
        let before = self.door.clock.now().wall_ms.saturating_sub(over_for).saturating_add(1);
        recovery::end_orphans(&self.journal, self.world.as_ref(), &self.door.tally, before).await
    }

    /// Finds live calls, speaks into them, ends them.
    pub fn calls(&self) -> Calls {
        Calls::new(self.room.clone())
    }

    /// What a trigger of your own has noticed ([`Builder::trigger`]) starts every workflow in force that names it and
    /// whose parameters `wants` accepts. Its actions find `event` under the trigger's name: `${lead.email}`.
    ///
    /// `key` names what has happened: told once more, also after a restart, it starts nothing twice, for as long as
    /// the first activeflow is kept (`[journal] retention`). What comes back are the ids of those activeflows.
    pub async fn fire(
        &self,
        trigger: &str,
        key: &str,
        event: serde_json::Value,
        wants: impl Fn(&serde_json::Map<String, serde_json::Value>) -> bool,
    ) -> Result<Vec<holdline_core::RunId>, Problem> {
        self.room.desk.fire(trigger, key, &event, wants).await
    }

    /// Places calls.
    pub fn placing(&self) -> &Placing {
        &self.room.desk.placing
    }

    /// How the journal does.
    pub fn journal_health(&self) -> &Health {
        &self.journal_health
    }

    /// What is told, and who listens.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }

    /// The routes that the phone network asks.
    pub fn configure_public(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + use<> {
        let (public, directory) = (self.public.clone(), self.room.directory.clone());
        move |app| public::configure(app, public, directory)
    }

    /// The routes of the control listener.
    pub fn configure_control(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + use<> {
        let (room, tokens) = (self.room.clone(), self.tokens.clone());
        move |app| control::configure(app, room, tokens)
    }

    #[cfg(test)]
    pub(crate) fn desk(&self) -> Desk {
        self.room.desk.clone()
    }

    #[cfg(test)]
    pub(crate) fn watch(&self) -> Watch {
        self.room.watch.clone()
    }

    /// What a listener needs that carries streams in its own way.
    pub fn public(&self) -> &Arc<Public> {
        &self.public
    }

    /// Resolves when no socket of a stream is open.
    pub async fn when_no_socket_is_open(&self) {
        self.door.tally.sockets.none().await;
    }

    #[doc(hidden)]
    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// What is in memory right now.
    pub async fn census(&self) -> Census {
        self.calls.send(Count).await.unwrap_or_default()
    }

    /// Counts everything of calls and main workflows that is in memory.
    pub async fn inventory(&self) -> Inventory {
        let Census { calls, roster, actors, .. } = self.census().await;
        let workflows = self.flows.send(CountFlows).await.unwrap_or_default();
        Inventory { calls, places: roster, actors, sockets: self.door.tally.sockets.count(), workflows }
    }

    /// Lets one call's session panic, for tests of what the others notice.
    #[doc(hidden)]
    pub async fn provoke(&self, call: CallId) {
        let _ = self.calls.send(Provoke(call)).await;
    }

    /// No new calls; live ones go on until they end, or `until` fires. True when the last one has ended by itself.
    pub async fn drain(&self, until: impl Future<Output = ()>) -> bool {
        let (empty, emptied) = oneshot::channel();
        let _ = self.calls.send(Drain).await;
        let _ = self.calls.send(WhenEmpty(empty)).await;
        let until = std::pin::pin!(until);
        let ended = futures::future::select(emptied, until);
        match tokio::time::timeout(self.drain_timeout, ended).await {
            Ok(futures::future::Either::Left(_)) => true,
            Ok(futures::future::Either::Right(_)) | Err(_) => false,
        }
    }

    /// Resolves when the traces of what is over were sent, or after a moment: a collector may be away.
    pub async fn flush_traces(&self) {
        if let Some(traces) = &self.traces {
            let _ = tokio::time::timeout(FLUSH, traces.flush()).await;
        }
    }

    /// Reads workflows again.
    pub fn reload(&self) {
        if let Some(library) = self.library.clone() {
            // It reads the disk: not on a thread that carries calls.
            drop(tokio::task::spawn_blocking(move || library.reload()));
        }
    }

    /// The end of a runtime in a process that goes on: hands over what is left, writes what was asked to be written, and
    /// gives the journal back, so that another one may start on the same data. Nothing is served any more afterwards.
    pub async fn close(&self) {
        self.hand_over().await;
        self.when_no_socket_is_open().await;
        let _ = self.journal.send(Retire).await;
    }

    /// Closes what is left, so that the network comes back to the next process, and so that no listener keeps a server
    /// from closing.
    pub async fn hand_over(&self) {
        self.feed.close();
        let _ = self.calls.send(HandOver).await;
    }
}

/// How long the end of the process waits for a collector.
const FLUSH: Duration = Duration::from_secs(2);

/// Where traces go, if the environment says so. What it says wrongly keeps no call from being taken.
fn trace_settings() -> Option<trace::Settings> {
    match trace::Settings::read(|name| std::env::var(name).ok()) {
        Ok(settings) => settings,
        Err(error) => {
            tracing::error!(%error, "no traces are exported");
            None
        }
    }
}

fn listener(traces: Traces) -> Listener {
    Arc::new(move |key, story| traces.over(key, story))
}

/// One for each core, so that calls are spread over them; a stream's socket follows its session. On a single core a call
/// lives where all else does: another thread would only cost its switches.
fn arbiters() -> Vec<Arbiter> {
    match std::thread::available_parallelism().map_or(1, NonZero::get) {
        1 => Vec::new(),
        cores => (0..cores).map(|_| Arbiter::new()).collect(),
    }
}

/// The journal that a configuration asks for.
pub fn journal(config: &Config) -> Result<Box<dyn Journal>, OpenError> {
    let path = &config.journal.path;
    std::fs::create_dir_all(path).map_err(|source| OpenError::Folder { path: path.clone(), source })?;
    Ok(match config.journal.kind {
        JournalKind::Memory => Box::new(MemoryJournal::new()),
        JournalKind::Sqlite => Box::new(DiskJournal::open(path, StoreKind::Sqlite)?),
        JournalKind::Sled => Box::new(DiskJournal::open(path, StoreKind::Sled)?),
    })
}

fn call_config(config: &Config, origin: &str, instance_key: [u8; 32], local_speech: bool) -> CallConfig {
    CallConfig {
        max_duration: config.calls.max_duration,
        idle_timeout: config.calls.idle_timeout,
        return_grace: config.calls.return_grace,
        local_speech,
        media: PlayoutConfig {
            queue_frames: config.media.queue_frames,
            stall_timeout: config.media.stall_timeout,
            lead: config.media.lead,
            idle_silence: config.media.idle_silence,
        },
        instance_key,
        rest: config.twilio.credentials().map(|_| RestConfig {
            interval: config.calls.rest_interval,
            origin: origin.to_owned(),
            return_fragment: config.public.return_fragment.clone(),
        }),
    }
}

/// Up to a tenth later: what failed together doesn't come back together.
const JITTER: f64 = 0.1;

fn outbox_config(config: &Config) -> OutboxConfig {
    let millis = |pause: &Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    OutboxConfig { retry_ms: config.events.retry.iter().map(millis).collect(), jitter: JITTER }
}

fn hooks(config: &Config) -> Vec<Hook> {
    for word in config.events.webhooks.iter().flat_map(|webhook| &webhook.types) {
        // News of deliveries is owed to nobody, so a word for them alone gets nothing either.
        let mut owed = event::TYPES.iter().filter(|(kind, _)| !kind.starts_with("delivery."));
        if !owed.any(|(kind, _)| Types::read(word).admit(kind)) {
            tracing::warn!(
                types = word,
                "[events] webhooks: no event that they get has such a type, see docs/events.md"
            );
        }
    }
    let types = |webhook: &Webhook| webhook.types.iter().map(|types| Types::read(types)).collect();
    config.events.webhooks.iter().map(|webhook| Hook::new(&webhook.url, types(webhook))).collect()
}

/// What the public listener lets in.
pub(crate) fn front_config(config: &Config, origin: String) -> FrontConfig {
    let reveal = |secret: &crate::config::Secret| secret.expose().to_owned();
    FrontConfig {
        origin,
        keys: Keys {
            auth_tokens: config.twilio.auth_tokens.iter().map(reveal).collect(),
            shared_keys: config.public.shared_keys.iter().map(reveal).map(|text| shared_key(&text)).collect(),
        },
        insecure_no_signatures: config.public.insecure_no_signatures,
        bare_streams: config.public.bare_streams,
        default_workflow: config.default_workflow.clone(),
        own_hosts: Vec::new(),
    }
}

/// `webhooks_sharedkey_…=SECRET`, or a secret for a key of any name.
fn shared_key(text: &str) -> (String, String) {
    match text.split_once('=') {
        Some((id, secret)) if id.starts_with("webhooks_sharedkey_") => (id.to_owned(), secret.to_owned()),
        _ => (String::new(), text.to_owned()),
    }
}

/// A version-7 UUID of this moment.
fn mint(wall_ms: u64) -> Uuid {
    let nanos = u32::try_from(wall_ms % 1000).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(Timestamp::from_unix(NoContext, wall_ms / 1000, nanos))
}

/// Where the recordings of a configuration lie.
pub(crate) fn recordings_folder(config: &Config) -> PathBuf {
    config.journal.path.join("recordings")
}

/// The parts that a configuration asks for.
pub fn parts(config: &Config) -> Result<Parts, Box<dyn std::error::Error>> {
    let data = &config.journal.path;
    // First of all, because it locks the folder.
    let journal = journal(config)?;
    let library = Arc::new(FlowLibrary::load(config));
    let http = Arc::new(HttpPort::new(&config.http));
    Ok(Parts {
        book: library.clone(),
        library: Some(library.clone()),
        audio: Arc::new(AudioPort::new(config, library.clone(), http.clone())),
        recordings: Arc::new(DiskRecordings::start(&recordings_folder(config))?),
        world: Arc::new(OtherSystems::new(config, http, recordings_folder(config))),
        journal,
        instance_key: instance_key(data)?,
        local_speech: config.speech != Speech::Network,
    })
}
