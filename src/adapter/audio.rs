//! Sound by name: files, addresses, tones, our own speech.
//!
//! Whatever waits for a disk or costs a processor happens on threads of their own, a few at once; what comes out is
//! µ-law, kept for the next caller as long as there is room.

mod cache;
mod file;
mod speech;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, ready};
use holdline_actors::port::audio::{Audio, Loaded};
use holdline_actors::port::speech::{Saying, Speech, Spoken};
use holdline_core::WorkflowId;
use holdline_core::media::load::decode_file;
use holdline_core::media::tone;
use holdline_core::scene::{ErrorClass, Sound};
use reqwest::header::CONTENT_TYPE;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::http::{HttpError, HttpPort, HttpRequest, shown};
use crate::config::Config;
use crate::flows::FlowLibrary;
use cache::{Cache, Key};
use speech::Voice;
pub use speech::voice;

/// What a step is told when a sound cannot be had.
type Failure = (ErrorClass, String);

/// Where the sound files of a workflow are.
pub trait Folders: Send + Sync {
    fn folder(&self, workflow: &WorkflowId) -> PathBuf;
}

impl Folders for FlowLibrary {
    fn folder(&self, workflow: &WorkflowId) -> PathBuf {
        FlowLibrary::folder(self, workflow)
    }
}

/// All sounds of a server. Cheap to clone; clones share cache and threads.
#[derive(Clone)]
pub struct AudioPort(Arc<Studio>);

struct Studio {
    folders: Arc<dyn Folders>,
    http: Arc<HttpPort>,
    url_timeout: Duration,
    bytes_max: usize,
    /// One place for each thread that decodes.
    decoders: Arc<Semaphore>,
    cache: Mutex<Cache>,
    voice: Voice,
}

impl AudioPort {
    /// With the voice that the configuration asks for.
    pub fn new(config: &Config, folders: Arc<dyn Folders>, http: Arc<HttpPort>) -> AudioPort {
        let voice = voice(config, http.clone());
        AudioPort::with_voice(config, folders, http, voice)
    }

    pub fn with_voice(
        config: &Config,
        folders: Arc<dyn Folders>,
        http: Arc<HttpPort>,
        voice: Arc<dyn Speech>,
    ) -> AudioPort {
        let half = || std::thread::available_parallelism().map_or(1, |processors| processors.get() / 2);
        let workers = config.media.workers.unwrap_or_else(half).max(1);
        AudioPort(Arc::new(Studio {
            folders,
            http,
            url_timeout: config.http.timeout,
            bytes_max: config.media.file_bytes_max,
            decoders: Arc::new(Semaphore::new(workers)),
            cache: Mutex::new(Cache::new(config.media.cache_bytes)),
            voice: Voice::new(voice, workers),
        }))
    }
}

impl Audio for AudioPort {
    fn load(&self, workflow: &WorkflowId, what: &Sound) -> BoxFuture<'static, Loaded> {
        let studio = self.0.clone();
        match what {
            Sound::Tones { digits, duration_ms, interval_ms } => {
                ready(made(tone::digits(digits, *duration_ms, *interval_ms))).boxed()
            }
            Sound::Beep { hz, ms } => ready(made(tone::beep(*hz, *ms))).boxed(),
            Sound::File(name) => {
                let (folder, name) = (studio.folders.folder(workflow), name.clone());
                async move { studio.file(folder, name).await }.boxed()
            }
            Sound::Url(url) => {
                let url = url.clone();
                async move { studio.url(url).await }.boxed()
            }
            Sound::Speech { text, ssml, language, voice } => {
                let (text, language, voice) = (speech::plain(text, *ssml), language.clone(), voice.clone());
                async move {
                    let saying = Saying::new(text?).in_language(language.as_deref()).by(voice.as_deref());
                    studio.speech(saying).await
                }
                .boxed()
            }
        }
    }
}

fn made(tones: Result<Vec<u8>, tone::ToneError>) -> Loaded {
    tones.map(Arc::from).map_err(|error| (ErrorClass::Invalid, error.to_string()))
}

impl Studio {
    async fn file(self: Arc<Self>, folder: PathBuf, name: String) -> Loaded {
        let (studio, wanted) = (self.clone(), name.clone());
        let found = blocking(move || {
            let found = file::find(&folder, &wanted)?;
            let known = studio.cache().get(&found.key());
            Ok((found, known))
        });
        let (found, known) = found.await?;
        if let Some(audio) = known {
            return Ok(audio);
        }
        let bytes_max = self.bytes_max;
        self.decode(Some(found.key()), move || found.read(bytes_max).map(|bytes| (name, bytes))).await
    }

    /// Not kept: the next time, something else may be there.
    async fn url(self: Arc<Self>, url: String) -> Loaded {
        let request = HttpRequest::get(url, self.url_timeout, self.bytes_max);
        let answer = self.http.send(request).await?;
        if let Some(error) = answer.error() {
            return Err(error.into());
        }
        if answer.status.as_u16() != 200 {
            let message = format!("expected a sound from {}, got {}", shown(&answer.url), answer.status);
            return Err((ErrorClass::Rejected, message));
        }
        let kind = answer.header(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
        let is_ulaw = ["audio/basic", "audio/x-mulaw", "audio/pcmu"].iter().any(|raw| kind.starts_with(raw));
        let path = answer.url.path();
        let name = if is_ulaw { format!("{path}.ulaw") } else { path.to_owned() };
        let body = answer.body;
        self.decode(None, move || Ok((name, body))).await
    }

    async fn speech(self: Arc<Self>, saying: Saying) -> Loaded {
        let key = Key::Speech(self.voice.key(&saying));
        // Looked up by itself, so that a sentence that is known waits for nobody.
        let known = self.cache().get(&key);
        if let Some(audio) = known {
            return Ok(audio);
        }
        let speaking = async {
            let _turn = self.voice.turn().await?;
            // Whoever was before us may have said the same.
            let known = self.cache().get(&key);
            if let Some(audio) = known {
                return Ok(audio);
            }
            let (name, spoken) = match self.voice.speak(saying).await? {
                Spoken::Wav(bytes) => ("speech", bytes),
                Spoken::Ulaw(bytes) => ("speech.ulaw", bytes),
                _ => return Err((ErrorClass::Invalid, "speech came in an unknown form".to_owned())),
            };
            if spoken.len() > self.bytes_max {
                let message =
                    format!("speech of {} bytes, expected at most {}", spoken.len(), self.bytes_max);
                return Err((ErrorClass::Limit, message));
            }
            self.clone().decode(Some(key.clone()), move || Ok((name.to_owned(), spoken))).await
        };
        let limit = self.voice.timeout;
        match tokio::time::timeout(limit, speaking).await {
            Ok(spoken) => spoken,
            Err(_) => Err((ErrorClass::Timeout, format!("the text was not spoken within {limit:?}"))),
        }
    }

    /// What `bytes` gives becomes µ-law, when a thread is free for it. The place is held by the work, which nobody can
    /// cancel, and not by who waits for it.
    async fn decode(
        self: Arc<Self>,
        key: Option<Key>,
        bytes: impl FnOnce() -> Result<(String, Vec<u8>), Failure> + Send + 'static,
    ) -> Loaded {
        let place: OwnedSemaphorePermit = self.decoders.clone().acquire_owned().await.map_err(|_| gone())?;
        blocking(move || {
            let _place = place;
            let known = key.as_ref().and_then(|key| self.cache().get(key));
            if let Some(audio) = known {
                return Ok(audio);
            }
            let (name, bytes) = bytes()?;
            let decoded = decode_file(&name, &bytes);
            let audio: Arc<[u8]> = decoded.map_err(|error| (ErrorClass::Invalid, error.to_string()))?.into();
            if let Some(key) = key {
                self.cache().put(key, audio.clone());
            }
            Ok(audio)
        })
        .await
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Failure {
        (error.class, error.message)
    }
}

/// Away from the threads that carry calls.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err((ErrorClass::Internal, format!("the sound could not be loaded: {error}"))),
    }
}

fn gone() -> Failure {
    (ErrorClass::Canceled, "the server is stopping".to_owned())
}

#[cfg(test)]
mod tests;
