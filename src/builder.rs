//! How an own program starts a [`Runtime`]: everything as the configuration says, and any part of it replaced.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use holdline_actors::door::FlowBook;
use holdline_actors::port;
use holdline_actors::port::audio::Audio;
use holdline_actors::port::http::World;
use holdline_actors::port::journal::{Journal, JournalError};
use holdline_actors::port::recording::Recordings;
use holdline_actors::port::service::Service;
use holdline_core::WorkflowId;
use holdline_core::flow::Vocabulary;
use holdline_core::flow::action::Action;
use holdline_core::flow::diagnostic::Report;
use holdline_core::flow::script::Script;
use holdline_core::flow::trigger::Declared as Trigger;
use holdline_core::flow::vocabulary::Unfit;

use crate::adapter::audio::{AudioPort, voice};
use crate::adapter::http::HttpPort;
use crate::adapter::instance::{InstanceKeyError, instance_key};
use crate::adapter::journal::OpenError;
use crate::adapter::recordings::DiskRecordings;
use crate::adapter::services::WithServices;
use crate::adapter::world::OtherSystems;
use crate::config::{self, Config, PublicUrl};
use crate::flows::FlowLibrary;
use crate::runtime::{Parts, Runtime, journal, recordings_folder};
use crate::serve::{self, TunnelError};

/// A [`Runtime`] that is still to be started; [`Runtime::builder`] makes one.
///
/// What isn't said is as the configuration says: the workflows of `[flows] dir`, the journal of `[journal]`, the voice
/// of `[speech]`, recordings and the instance's key in `[journal] path`.
#[must_use = "nothing runs before `start().await`"]
pub struct Builder {
    config: Config,
    origin: Option<String>,
    flows: Option<Flows>,
    documents: Vec<(WorkflowId, String)>,
    journal: Option<Box<dyn Journal>>,
    audio: Option<Arc<dyn Audio>>,
    recordings: Option<Arc<dyn Recordings>>,
    world: Option<Arc<dyn World>>,
    speech: Option<Arc<dyn port::speech::Speech>>,
    vocabulary: Result<Vocabulary, Unfit>,
    services: BTreeMap<String, Arc<dyn Service>>,
}

/// Where a runtime's workflows come from: a folder (anything that is a path), or a book of your own.
pub enum Flows {
    /// Its files are watched, and are in force a second after they are written.
    Folder(PathBuf),
    /// Asked anew at the beginning of every call.
    Book(Arc<dyn FlowBook>),
}

/// Why a runtime did not start, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotStarted {
    /// There is no journal.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// What an earlier process has left can't be read, so its calls could not go on.
    #[error(
        "what is in the journal can't be read: {0}. Nothing was changed; give `.journal(…)` or [journal] path the store \
         that the calls were written to, or an empty one to begin anew"
    )]
    Recovery(#[from] JournalError),
    /// The key from which the tokens of streams derive.
    #[error(transparent)]
    InstanceKey(#[from] InstanceKeyError),
    /// Recordings have no place.
    #[error(
        "recordings can't be kept in {}: {source}. Set [journal] path to a folder that this user may write, or give \
         `.recordings(…)` a store of your own", path.display()
    )]
    Recordings {
        /// Where they were to be kept.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `[public] url = "auto"` found no tunnel.
    #[error("[public] url = \"auto\": {0}")]
    Tunnel(#[from] TunnelError),
    /// The phone network could not come back to this address.
    #[error(
        "\"{origin}\" is no origin: {why}. Give `.origin(…)` the address under which the phone network reaches the routes \
         of `configure_public`, with the prefix of their scope: \"https://example.com/phone\""
    )]
    Origin {
        /// As it was given.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody has said where the phone network finds us.
    #[error(
        "nobody knows how the phone network reaches this program: [public] bind has port 0, so the configuration can't \
         tell. Give `.origin(…)` the address of the routes of `configure_public`: \"https://example.com/phone\""
    )]
    NoOrigin,
    /// A workflow that was given as a text is wrong.
    #[error("the workflow \"{workflow}\" that was given to `.flow(…)` can't be used:\n{report}")]
    Flow {
        /// The id that it was given under.
        workflow: WorkflowId,
        /// All that is wrong with it, with positions.
        report: Report,
    },
    /// Two workflows would have one id.
    #[error(
        "the workflow \"{workflow}\" is given to `.flow(…)` and is a file of `.flows(…)`, too: give one of them another id"
    )]
    FlowIsAFile {
        /// The id of both.
        workflow: WorkflowId,
    },
    /// An action or a trigger of one's own does not fit into the language.
    #[error("an action or a trigger of your own can't be taken in: {0}")]
    Unfit(#[from] Unfit),
    /// Workflows given as texts need the library of a folder beside them, which a book of one's own is not.
    #[error(
        "`.flow(…)` and a book of your own exclude each other: put the workflow \"{workflow}\" into the book"
    )]
    FlowBesideBook {
        /// The first of them.
        workflow: WorkflowId,
    },
}

impl Builder {
    pub(crate) fn new(config: Config) -> Builder {
        Builder {
            config,
            origin: None,
            flows: None,
            documents: Vec::new(),
            journal: None,
            audio: None,
            recordings: None,
            world: None,
            speech: None,
            vocabulary: Ok(Vocabulary::default()),
            services: BTreeMap::new(),
        }
    }

    /// The address under which the phone network reaches the routes of [`Runtime::configure_public`]: scheme, host, and
    /// the prefix of their scope, if they are in one. Documents, streams and callbacks get their URLs from it.
    ///
    /// Without it `[public] url` counts, or the address of `[public] bind`.
    pub fn origin(mut self, origin: impl Into<String>) -> Builder {
        self.origin = Some(origin.into());
        self
    }

    /// The workflows: a folder, or an `Arc<dyn FlowBook>` of your own.
    pub fn flows(mut self, flows: impl Into<Flows>) -> Builder {
        self.flows = Some(flows.into());
        self
    }

    /// One workflow as a text (YAML or JSON), under an id; it is checked when the runtime starts. May be given often, and
    /// beside [`Builder::flows`]; without that, these workflows are all there are.
    pub fn flow(mut self, id: impl Into<String>, document: impl Into<String>) -> Builder {
        self.documents.push((WorkflowId(id.into()), document.into()));
        self
    }

    /// A store of your own. `holdline_harness::contract::journal` says whether it keeps what every store must keep.
    pub fn journal(mut self, journal: Box<dyn Journal>) -> Builder {
        self.journal = Some(journal);
        self
    }

    /// All sound of your own: files, addresses, speech, tones. For a voice alone there is [`Builder::speech`].
    pub fn audio(mut self, audio: impl Audio + 'static) -> Builder {
        self.audio = Some(Arc::new(audio));
        self
    }

    /// Where recordings go. The routes of the API serve those of `[journal] path` alone.
    pub fn recordings(mut self, recordings: impl Recordings + 'static) -> Builder {
        self.recordings = Some(Arc::new(recordings));
        self
    }

    /// How workflows reach other systems: HTTP, mail, the phone network's REST API.
    pub fn world(mut self, world: impl World + 'static) -> Builder {
        self.world = Some(Arc::new(world));
        self
    }

    /// A voice of your own, instead of `[speech] voice`: workflows' `talk` is heard on the stream. Sounds are cached;
    /// `holdline_harness::contract::speech` says whether it keeps what every voice must keep.
    pub fn speech(mut self, speech: impl port::speech::Speech + 'static) -> Builder {
        self.speech = Some(Arc::new(speech));
        self
    }

    /// An action of your own: documents may name it as they name any other. See [`crate::action`].
    pub fn action(mut self, action: impl Action + 'static) -> Builder {
        self.vocabulary = self.vocabulary.and_then(|words| words.with_action(action));
        self
    }

    /// A trigger of your own: documents may name it, and [`Runtime::fire`] starts those that do.
    pub fn trigger(mut self, trigger: &'static Trigger) -> Builder {
        self.vocabulary = self.vocabulary.and_then(|words| words.with_trigger(trigger));
        self
    }

    /// What an action of your own may ask ([`Scene::ask`](crate::action::Scene::ask)), by name: an `async` closure, or a
    /// type that is a [`Service`].
    pub fn service(mut self, name: impl Into<String>, service: impl Service + 'static) -> Builder {
        self.services.insert(name.into(), Arc::new(service));
        self
    }

    /// Makes the actors on this thread and goes on with every call that was left open, before it returns. Must be
    /// awaited inside an actix system (`#[actix_web::main]`), which the runtime then lives on.
    pub async fn start(self) -> Result<Runtime, NotStarted> {
        let origin = self.find_origin().await?;
        let (config, parts) = self.parts()?;
        let runtime = Runtime::start(&config, origin, parts);
        runtime.recover().await?;
        Ok(runtime)
    }

    async fn find_origin(&self) -> Result<String, NotStarted> {
        match (&self.origin, &self.config.public.url) {
            (Some(origin), _) => crate::config::origin(origin)
                .map_err(|why| NotStarted::Origin { origin: origin.clone(), why }),
            (None, PublicUrl::Origin(origin)) => Ok(origin.clone()),
            (None, PublicUrl::Auto) => Ok(serve::tunnel_to(self.config.public.bind.port()).await?),
            (None, PublicUrl::Bound) if self.config.public.bind.port() == 0 => Err(NotStarted::NoOrigin),
            (None, PublicUrl::Bound) => Ok(format!("http://{}", serve::reachable(self.config.public.bind))),
        }
    }

    /// The parts that were given, and those that the configuration asks for.
    fn parts(self) -> Result<(Config, Parts), NotStarted> {
        let Builder { mut config, flows, documents, journal: own_journal, audio, recordings, .. } = self;
        let Builder { world, speech, vocabulary, services, .. } = self;
        let vocabulary = Arc::new(vocabulary?);
        // First of all, because it locks the folder.
        let journal = match own_journal {
            Some(journal) => journal,
            None => journal(&config)?,
        };
        let (book, library) = shelve(&mut config, &vocabulary, flows, documents)?;
        let http = Arc::new(HttpPort::new(&config.http));
        let audio = audio.unwrap_or_else(|| {
            // A book of one's own has no folder: files are looked for where the configuration says.
            let none = || Arc::new(FlowLibrary::without_folder(&config, vocabulary.clone()));
            let folders = library.clone().unwrap_or_else(none);
            let voice = speech.clone().unwrap_or_else(|| voice(&config, http.clone()));
            Arc::new(AudioPort::with_voice(&config, folders, http.clone(), voice))
        });
        let folder = recordings_folder(&config);
        let recordings = match recordings {
            Some(recordings) => recordings,
            None => match DiskRecordings::start(&folder) {
                Ok(recordings) => Arc::new(recordings),
                Err(source) => return Err(NotStarted::Recordings { path: folder, source }),
            },
        };
        let world = world.unwrap_or_else(|| Arc::new(OtherSystems::new(&config, http, folder)));
        let world: Arc<dyn World> = Arc::new(WithServices::new(services, world));
        let instance_key = instance_key(&config.journal.path)?;
        let local_speech = speech.is_some() || config.speech != config::Speech::Network;
        let parts = Parts { book, library, audio, recordings, journal, world, instance_key, local_speech };
        Ok((config, parts))
    }
}

/// A library is there for everything but a book of one's own.
type Shelf = (Arc<dyn FlowBook>, Option<Arc<FlowLibrary>>);

fn shelve(
    config: &mut Config,
    vocabulary: &Arc<Vocabulary>,
    flows: Option<Flows>,
    documents: Vec<(WorkflowId, String)>,
) -> Result<Shelf, NotStarted> {
    let library = Arc::new(match flows {
        Some(Flows::Book(book)) => {
            return match documents.into_iter().next() {
                Some((workflow, _)) => Err(NotStarted::FlowBesideBook { workflow }),
                None => Ok((Arc::new(InWords { book, vocabulary: vocabulary.clone() }), None)),
            };
        }
        None if !documents.is_empty() => {
            config.flows.reload = false;
            FlowLibrary::without_folder(config, vocabulary.clone())
        }
        None => FlowLibrary::load_in(config, vocabulary.clone()),
        Some(Flows::Folder(folder)) => {
            config.flows.dir = folder;
            FlowLibrary::load_in(config, vocabulary.clone())
        }
    });
    if let Some((workflow, _)) = documents.iter().find(|(id, _)| library.is_file(id)) {
        return Err(NotStarted::FlowIsAFile { workflow: workflow.clone() });
    }
    if let Err((workflow, report)) = library.give(documents) {
        return Err(NotStarted::Flow { workflow, report });
    }
    Ok((library.clone(), Some(library)))
}

/// A book of one's own, with the words that the builder was told.
struct InWords {
    book: Arc<dyn FlowBook>,
    vocabulary: Arc<Vocabulary>,
}

impl FlowBook for InWords {
    fn find(&self, id: &WorkflowId) -> Option<Arc<Script>> {
        self.book.find(id)
    }

    fn scripts(&self) -> Vec<Arc<Script>> {
        self.book.scripts()
    }

    fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }
}

impl From<PathBuf> for Flows {
    fn from(folder: PathBuf) -> Flows {
        Flows::Folder(folder)
    }
}

impl From<&std::path::Path> for Flows {
    fn from(folder: &std::path::Path) -> Flows {
        Flows::Folder(folder.to_owned())
    }
}

impl From<&str> for Flows {
    fn from(folder: &str) -> Flows {
        Flows::Folder(folder.into())
    }
}

impl From<String> for Flows {
    fn from(folder: String) -> Flows {
        Flows::Folder(folder.into())
    }
}

impl<B: FlowBook + 'static> From<Arc<B>> for Flows {
    fn from(book: Arc<B>) -> Flows {
        Flows::Book(book)
    }
}

impl From<Arc<dyn FlowBook>> for Flows {
    fn from(book: Arc<dyn FlowBook>) -> Flows {
        Flows::Book(book)
    }
}
