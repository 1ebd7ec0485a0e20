//! A running Holdline, as a value: two can live in one process.
//!
//! [`Runtime::start`] makes the actors; [`Runtime::configure_public`] and [`Runtime::configure_control`] mount the
//! routes of either listener in any actix-web app.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr};
use actix_web::web::ServiceConfig;
use holdline_actors::call_registry::{CallRegistry, Census, Count, Drain, HandOver};
use holdline_actors::call_session::House;
use holdline_actors::clock::Clock;
use holdline_actors::door::{Door, FlowBook, Tally};
use holdline_actors::flow_registry::FlowRegistry;
use holdline_actors::journal_writer::{Health, JournalWriter};
use holdline_actors::port::audio::Audio;
use holdline_actors::port::journal::{Journal, JournalError, MemoryJournal};
use holdline_actors::port::recording::Recordings;
use holdline_actors::recovery::{self, Recovered};
use holdline_core::call::CallConfig;
use holdline_core::front::FrontConfig;
use holdline_core::media::playout::PlayoutConfig;
use holdline_core::provider::twilio::signature::Keys;
use uuid::{NoContext, Timestamp, Uuid};

use crate::adapter::journal::OpenError;
use crate::adapter::journal::sled::SledJournal;
use crate::config::{Config, JournalKind, Speech};
use crate::directory;
use crate::web::auth::Tokens;
use crate::web::control::{self, Directory};
use crate::web::public::{self, Public};

/// How often a drain looks whether the last call has ended.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// What a runtime is made of; each part can be another one's own.
pub struct Parts {
    pub book: Arc<dyn FlowBook>,
    pub audio: Arc<dyn Audio>,
    pub recordings: Arc<dyn Recordings>,
    pub journal: Box<dyn Journal>,
    pub instance_key: [u8; 32],
}

pub struct Runtime {
    door: Arc<Door>,
    calls: Addr<CallRegistry>,
    flows: Addr<FlowRegistry>,
    journal: Addr<JournalWriter>,
    journal_health: Arc<Health>,
    directory: Arc<dyn Directory>,
    public: Arc<Public>,
    tokens: Tokens,
    drain_timeout: Duration,
}

impl Runtime {
    /// Starts the actors on the current arbiter. `origin` is the public URL as the network sees it.
    pub fn start(config: &Config, origin: String, parts: Parts) -> Runtime {
        let clock = Clock::start();
        let writer = JournalWriter::new(parts.journal).keeping(clock, config.journal.retention);
        let journal_health = writer.health();
        let journal = writer.start();
        let flows = FlowRegistry::new(clock, journal.clone()).start();
        let house = House {
            clock,
            journal: journal.clone(),
            flows: flows.clone(),
            audio: parts.audio,
            recordings: parts.recordings,
        };
        let call_config = Arc::new(call_config(config, parts.instance_key));
        let calls = CallRegistry::new(house, call_config, config.calls.max_calls).start();
        let door = Arc::new(Door {
            calls: calls.clone(),
            front: front_config(config, origin),
            book: parts.book,
            clock,
            mint: Arc::new(mint),
            return_fragment: config.public.return_fragment.clone(),
            instance_key: parts.instance_key,
            overflow: config.calls.overflow_workflow.clone(),
            tally: Tally::default(),
        });
        let directory = directory::shared(directory::House {
            calls: calls.clone(),
            journal: journal.clone(),
            clock,
        });
        let public = Arc::new(Public {
            door: door.clone(),
            trusted_proxies: config.public.trusted_proxies.clone(),
            start_deadline: config.calls.start_deadline,
        });
        let tokens = Tokens::new(&config.control.tokens);
        let drain_timeout = config.calls.drain_timeout;
        Runtime { door, calls, flows, journal, journal_health, directory, public, tokens, drain_timeout }
    }

    /// Goes on with what the process before this one left open. To be awaited before the first request is served.
    pub async fn recover(&self) -> Result<Recovered, JournalError> {
        let recovered = recovery::recover(&self.journal, &self.calls, &self.flows).await?;
        let Recovered { calls, workflows, waiting } = recovered;
        if recovered != Recovered::default() {
            tracing::info!(calls, workflows, waiting, "going on with what was left open");
        }
        Ok(recovered)
    }

    /// How the journal does.
    pub fn journal_health(&self) -> &Health {
        &self.journal_health
    }

    /// The routes that the phone network asks.
    pub fn configure_public(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + use<> {
        let (public, directory) = (self.public.clone(), self.directory.clone());
        move |app| public::configure(app, public, directory)
    }

    /// The routes of the control listener.
    pub fn configure_control(&self) -> impl FnOnce(&mut ServiceConfig) + Clone + use<> {
        let (directory, tokens) = (self.directory.clone(), self.tokens.clone());
        move |app| control::configure(app, directory, tokens, |_| {})
    }

    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// What is in memory right now.
    pub async fn census(&self) -> Census {
        self.calls.send(Count).await.unwrap_or_default()
    }

    /// No new calls; live ones go on until they end, or `until` fires. True when the last one has ended by itself.
    pub async fn drain(&self, until: impl Future<Output = ()>) -> bool {
        let _ = self.calls.send(Drain).await;
        let ended = async {
            while self.census().await.calls > 0 {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        let ended = std::pin::pin!(ended);
        let until = std::pin::pin!(async {
            let timeout = tokio::time::sleep(self.drain_timeout);
            futures::future::select(std::pin::pin!(timeout), std::pin::pin!(until)).await;
        });
        matches!(futures::future::select(ended, until).await, futures::future::Either::Left(_))
    }

    /// Reads workflows again.
    pub fn reload(&self) {}

    /// Closes what is left, so that the network comes back to the next process.
    pub async fn hand_over(&self) {
        let _ = self.calls.send(HandOver).await;
    }
}

/// The journal that a configuration asks for.
pub fn journal(config: &Config) -> Result<Box<dyn Journal>, OpenError> {
    Ok(match config.journal.kind {
        JournalKind::Memory => Box::new(MemoryJournal::new()),
        JournalKind::Sled => Box::new(SledJournal::open(&config.journal.path)?),
    })
}

/// Where this instance keeps what is its own.
pub fn data_folder(config: &Config) -> PathBuf {
    config.journal.path.clone()
}

fn call_config(config: &Config, instance_key: [u8; 32]) -> CallConfig {
    CallConfig {
        max_duration: config.calls.max_duration,
        idle_timeout: config.calls.idle_timeout,
        return_grace: config.calls.return_grace,
        local_speech: config.speech != Speech::Network,
        media: PlayoutConfig {
            queue_frames: config.media.queue_frames,
            stall_timeout: config.media.stall_timeout,
            lead: config.media.lead,
            idle_silence: config.media.idle_silence,
        },
        instance_key,
    }
}

fn front_config(config: &Config, origin: String) -> FrontConfig {
    let reveal = |secret: &crate::config::Secret| secret.expose().to_owned();
    FrontConfig {
        origin,
        keys: Keys {
            auth_tokens: config.twilio.auth_tokens.iter().map(reveal).collect(),
            shared_keys: std::collections::BTreeMap::new(),
        },
        insecure_no_signatures: config.public.insecure_no_signatures,
        bare_streams: config.public.bare_streams,
        default_workflow: config.default_workflow.clone(),
        own_hosts: Vec::new(),
    }
}

/// A version-7 UUID of this moment.
fn mint(wall_ms: u64) -> Uuid {
    let nanos = u32::try_from(wall_ms % 1000).unwrap_or(0) * 1_000_000;
    Uuid::new_v7(Timestamp::from_unix(NoContext, wall_ms / 1000, nanos))
}

/// The parts that a configuration asks for.
pub fn parts(config: &Config) -> Result<Parts, Box<dyn std::error::Error>> {
    let book = crate::flows::FlowLibrary::open(&config.flows.dir, &config.limits);
    Ok(Parts {
        book: Arc::new(book),
        audio: Arc::new(NoAudio),
        recordings: Arc::new(NoRecordings),
        journal: journal(config)?,
        instance_key: [7; 32],
    })
}
struct NoAudio;
impl Audio for NoAudio {
    fn load(
        &self,
        _: &holdline_core::WorkflowId,
        what: &holdline_core::scene::Sound,
    ) -> futures::future::BoxFuture<'static, holdline_actors::port::audio::Loaded> {
        use holdline_core::scene::Sound;
        let r = match what {
            Sound::Beep { hz, ms } => Ok(holdline_core::media::tone::beep(*hz, *ms).unwrap().into()),
            _ => Err((holdline_core::scene::ErrorClass::Unavailable, "x".into())),
        };
        Box::pin(std::future::ready(r))
    }
}
struct NoRecordings;
impl Recordings for NoRecordings {
    fn open(&self, _: &str, _: u8) -> Box<dyn holdline_actors::port::recording::RecordingFile> {
        Box::new(NoFile)
    }
}
struct NoFile;
impl holdline_actors::port::recording::RecordingFile for NoFile {
    fn append(&mut self, _: Vec<u8>) {}
    fn close(self: Box<Self>) -> futures::future::BoxFuture<'static, Result<u64, String>> {
        Box::pin(std::future::ready(Ok(44)))
    }
}
