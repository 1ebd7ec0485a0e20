//! Our own voices: a program, or an API of the OpenAI form. The network's voices are its own business.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, ready};
use holdline_actors::port::speech::{Saying, Speech, Spoken};
use holdline_core::provider::twilio::ssml::ssml_inside;
use holdline_core::scene::ErrorClass;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, copy, sink};
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Failure, blocking, gone};
use crate::adapter::http::{HttpPort, HttpRequest, Method, Trust};
use crate::config::{self, Config, Secret};

/// From being asked for a text to its sound, waiting for a turn included. Nobody holds the line for longer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Requests at once; the API has its own limit, and says so.
const REQUESTS_MAX: usize = 16;
/// Of what a program complains; enough for its last sentence.
const COMPLAINT_BYTES_MAX: u64 = 2000;
const OPENAI_VOICE: &str = "alloy";
/// Of a text that names none: what the network's voices take it for, too.
const LANGUAGE: &str = "en-US";

pub(super) struct Voice {
    pub(super) timeout: Duration,
    speech: Arc<dyn Speech>,
    turns: Arc<Semaphore>,
}

impl Voice {
    /// A program costs a processor, so there are as many at once as threads that decode.
    pub(super) fn new(speech: Arc<dyn Speech>, workers: usize) -> Voice {
        let turns = speech.at_once().unwrap_or(workers).max(1);
        Voice { timeout: TIMEOUT, speech, turns: Arc::new(Semaphore::new(turns)) }
    }

    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.turns.clone().acquire_owned().await.map_err(|_| gone())
    }

    pub(super) fn key(&self, saying: &Saying) -> Vec<String> {
        self.speech.key(saying)
    }

    pub(super) async fn speak(&self, saying: Saying) -> Result<Spoken, Failure> {
        self.speech.speak(saying).await
    }
}

/// The voice that a configuration asks for.
pub fn voice(config: &Config, http: Arc<HttpPort>) -> Arc<dyn Speech> {
    let bytes_max = config.media.file_bytes_max;
    match &config.speech {
        config::Speech::Network => Arc::new(NetworkAlone),
        config::Speech::Command(words) => Arc::new(Program { words: words.clone(), bytes_max }),
        config::Speech::OpenAi { url, key, model } => Arc::new(OpenAi {
            url: format!("{url}/audio/speech"),
            key: key.clone(),
            model: model.clone(),
            http,
            bytes_max,
        }),
    }
}

/// There is none of our own.
struct NetworkAlone;

/// A program and its arguments.
struct Program {
    words: Vec<String>,
    bytes_max: usize,
}

struct OpenAi {
    url: String,
    key: Secret,
    model: String,
    http: Arc<HttpPort>,
    bytes_max: usize,
}

impl Speech for NetworkAlone {
    fn speak(&self, _: Saying) -> BoxFuture<'static, Result<Spoken, Failure>> {
        let message = "there is no voice of our own: [speech] voice is \"network\"";
        ready(Err((ErrorClass::Unavailable, message.to_owned()))).boxed()
    }
}

impl Speech for Program {
    fn speak(&self, saying: Saying) -> BoxFuture<'static, Result<Spoken, Failure>> {
        let (words, bytes_max) = (self.key(&saying), self.bytes_max);
        async move { perform(words, bytes_max).await.map(Spoken::Wav) }.boxed()
    }

    fn key(&self, saying: &Saying) -> Vec<String> {
        arguments(&self.words, &saying.text, saying.language.as_deref())
    }
}

impl OpenAi {
    fn voice<'v>(&self, saying: &'v Saying) -> &'v str {
        saying.voice.as_deref().filter(|name| is_openai_voice(name)).unwrap_or(OPENAI_VOICE)
    }
}

impl Speech for OpenAi {
    fn speak(&self, saying: Saying) -> BoxFuture<'static, Result<Spoken, Failure>> {
        let voice = self.voice(&saying);
        let body =
            json!({ "model": self.model, "voice": voice, "input": saying.text, "response_format": "wav" });
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if !self.key.is_empty() {
            headers.push(("authorization".to_owned(), format!("Bearer {}", self.key.expose())));
        }
        let request = HttpRequest {
            method: Method::POST,
            url: self.url.clone(),
            headers,
            body: Some(body.to_string().into_bytes()),
            timeout: TIMEOUT,
            bytes_max: self.bytes_max,
            trust: Trust::Operator,
        };
        let http = self.http.clone();
        async move {
            let answer = http.send(request).await?;
            answer.error().map_or(Ok(Spoken::Wav(answer.body)), |error| Err(error.into()))
        }
        .boxed()
    }

    fn key(&self, saying: &Saying) -> Vec<String> {
        [&self.url, &self.model, self.voice(saying), &saying.text].map(str::to_owned).into()
    }

    fn at_once(&self) -> Option<usize> {
        Some(REQUESTS_MAX)
    }
}

/// As BCP 47 writes it: `en`, `de-DE`, `zh-Hant-TW`.
fn is_language(language: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part.chars().all(|letter| letter.is_ascii_alphanumeric());
    language.len() <= 35 && language.split('-').all(is_part)
}

/// A workflow that was written for the network's voices still speaks, with the usual one.
fn is_openai_voice(name: &str) -> bool {
    let plain = name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit());
    plain && !name.is_empty() && !["man", "woman", "alice"].contains(&name)
}

/// One argument stays one, whatever the text holds; and neither a text nor a language becomes an option of the program.
fn arguments(words: &[String], text: &str, language: Option<&str>) -> Vec<String> {
    let text = text.replace('\0', " ");
    let language = language.filter(|language| is_language(language)).unwrap_or(LANGUAGE);
    let fill = |(place, word): (usize, &String)| match word.as_str() {
        _ if place == 0 => word.clone(),
        "{text}" if text.starts_with('-') => format!(" {text}"),
        // The text last, because it may hold anything.
        _ => word.replace("{language}", language).replace("{text}", &text),
    };
    words.iter().enumerate().map(fill).collect()
}

/// The text without its markup: a voice that reads tags aloud is worse than one that ignores them.
pub(super) fn plain(text: &str, ssml: bool) -> Result<String, Failure> {
    if !ssml {
        return Ok(text.to_owned());
    }
    // Written anew by a writer of XML: so every `<` begins a tag, and only five entities and numbers are left.
    let inside = ssml_inside(text).map_err(|error| (ErrorClass::Invalid, error.to_string()))?;
    let mut said = String::new();
    for piece in inside.split('<') {
        let words = piece.split_once('>').map_or(piece, |(_, words)| words);
        said.push_str(words);
        said.push(' ');
    }
    for (entity, letter) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")]
    {
        said = said.replace(entity, letter);
    }
    Ok(said.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// What a program writes to its stdout. It is killed when nobody waits for it any more.
pub(super) async fn perform(words: Vec<String>, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let program = words.first().cloned().unwrap_or_default();
    let failed = |why: String| (ErrorClass::Unavailable, format!("[speech] command {program:?} {why}"));
    let mut command = Command::new(&program);
    command.args(words.iter().skip(1)).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // Starting a process takes longer than a frame of audio.
    let spawned = blocking(move || Ok(command.spawn())).await?;
    let mut child: Child = spawned.map_err(|error| failed(format!("cannot be started: {error}")))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed("has no output".to_owned()));
    };
    let output = async {
        let bytes = read(stdout, bytes_max as u64 + 1).await?;
        if bytes.len() > bytes_max {
            return Err(std::io::Error::other(format!("it writes more than {bytes_max} bytes")));
        }
        Ok(bytes)
    };
    let complaint = async {
        let mut stderr = stderr;
        let complaint = read(&mut stderr, COMPLAINT_BYTES_MAX).await?;
        copy(&mut stderr, &mut sink()).await?; // a full pipe would stop the program
        Ok(complaint)
    };
    let read = futures::future::try_join(output, complaint).await;
    let (bytes, complaint) = read.map_err(|error| failed(format!("failed: {error}")))?;
    let status = child.wait().await.map_err(|error| failed(format!("failed: {error}")))?;
    if !status.success() {
        let complaint = String::from_utf8_lossy(&complaint);
        let last = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        return Err(failed(format!("ended with {status}: {last}")));
    }
    Ok(bytes)
}

async fn read(from: impl AsyncRead + Unpin, bytes_max: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(bytes_max).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_text_and_language_and_neither_becomes_an_option() {
        let words = ["say", "-v", "{language}", "{text}"].map(str::to_owned);
        let told = |text, language| arguments(&words, text, language)[1..].join("|");
        assert_eq!(told("hallo", Some("de-DE")), "-v|de-DE|hallo");
        assert_eq!(told("-x {language}", None), "-v|en-US| -x {language}");
        for hostile in ["--help", "de DE", "", "de-", "{text}", "d/e"] {
            assert_eq!(told("a", Some(hostile)), "-v|en-US|a", "{hostile}");
        }
    }
}
