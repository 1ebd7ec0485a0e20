//! A voice of one's own: a text becomes sound.

use futures_util::future::BoxFuture;
use holdline_core::scene::ErrorClass;

/// Speaks texts. What it says is decoded, resampled and cached by whoever asks.
pub trait Speech: Send + Sync {
    /// Dropped when nobody waits for it any more; then it stops what it began. A text without words is silence, or an
    /// error, and never a panic.
    fn speak(&self, saying: Saying) -> BoxFuture<'static, Result<Spoken, (ErrorClass, String)>>;

    /// What sayings that sound the same have in common: two of one key share a place in the cache.
    fn key(&self, saying: &Saying) -> Vec<String> {
        let Saying { text, language, voice } = saying;
        vec![text.clone(), language.clone().unwrap_or_default(), voice.clone().unwrap_or_default()]
    }

    /// How many texts it speaks at once; others wait for their turn. None: as many as threads that decode.
    fn at_once(&self) -> Option<usize> {
        None
    }
}

/// What is to be said, by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Saying {
    /// Plain, without markup.
    pub text: String,
    /// As BCP 47 writes it: `de-DE`. None: the text names none.
    pub language: Option<String>,
    /// As the workflow names it; it may have been written for the network's voices.
    pub voice: Option<String>,
}

impl Saying {
    /// In any language, by any voice.
    pub fn new(text: impl Into<String>) -> Saying {
        Saying { text: text.into(), language: None, voice: None }
    }

    /// In this language.
    #[must_use]
    pub fn in_language(self, language: Option<&str>) -> Saying {
        Saying { language: language.map(str::to_owned), ..self }
    }

    /// By this voice.
    #[must_use]
    pub fn by(self, voice: Option<&str>) -> Saying {
        Saying { voice: voice.map(str::to_owned), ..self }
    }
}

/// Sound, as a voice gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spoken {
    /// A WAV file: PCM of any width, or G.711, at any rate; several channels become their mean.
    Wav(Vec<u8>),
    /// µ-law, 8000 Hz, as the telephone has it: taken as it is.
    Ulaw(Vec<u8>),
}
