//! Our own voices: a program, or an API of the OpenAI form. The network's voices are its own business.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use holdline_core::provider::twilio::ssml::ssml_inside;
use holdline_core::scene::ErrorClass;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, copy, sink};
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Failure, blocking, gone};
use crate::adapter::http::{HttpPort, HttpRequest, Method, Trust};
use crate::config::{Secret, Speech};

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
    speech: Speech,
    turns: Arc<Semaphore>,
}

/// A text, and who is to say it.
pub(super) enum Wish {
    /// A program and its arguments.
    Command(Vec<String>),
    OpenAi {
        url: String,
        key: Secret,
        model: String,
        voice: String,
        text: String,
    },
}

impl Voice {
    /// A program costs a processor, so there are as many at once as threads that decode.
    pub(super) fn new(speech: &Speech, workers: usize) -> Voice {
        let turns = if matches!(speech, Speech::OpenAi { .. }) { REQUESTS_MAX } else { workers };
        Voice { timeout: TIMEOUT, speech: speech.clone(), turns: Arc::new(Semaphore::new(turns)) }
    }

    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.turns.clone().acquire_owned().await.map_err(|_| gone())
    }

    pub(super) fn wish(
        &self,
        text: &str,
        language: Option<&str>,
        voice: Option<&str>,
    ) -> Result<Wish, Failure> {
        match &self.speech {
            Speech::Network => {
                let message = "there is no voice of our own: [speech] voice is \"network\"";
                Err((ErrorClass::Unavailable, message.to_owned()))
            }
            Speech::Command(words) => Ok(Wish::Command(arguments(words, text, language))),
            Speech::OpenAi { url, key, model } => Ok(Wish::OpenAi {
                url: format!("{url}/audio/speech"),
                key: key.clone(),
                model: model.clone(),
                voice: voice.filter(|name| is_openai_voice(name)).unwrap_or(OPENAI_VOICE).to_owned(),
                text: text.to_owned(),
            }),
        }
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

impl Wish {
    /// What decides how it sounds.
    pub(super) fn words(&self) -> Vec<String> {
        match self {
            Wish::Command(words) => words.clone(),
            Wish::OpenAi { url, model, voice, text, .. } => {
                [url, model, voice, text].map(String::clone).into()
            }
        }
    }

    /// A WAV file.
    pub(super) async fn speak(&self, http: &HttpPort, bytes_max: usize) -> Result<Vec<u8>, Failure> {
        match self {
            Wish::Command(words) => perform(words.clone(), bytes_max).await,
            Wish::OpenAi { url, key, model, voice, text } => {
                let body = json!({ "model": model, "voice": voice, "input": text, "response_format": "wav" });
                let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
                if !key.is_empty() {
                    headers.push(("authorization".to_owned(), format!("Bearer {}", key.expose())));
                }
                let request = HttpRequest {
                    method: Method::POST,
                    url: url.clone(),
                    headers,
                    body: Some(body.to_string().into_bytes()),
                    timeout: TIMEOUT,
                    bytes_max,
                    trust: Trust::Operator,
                };
                let answer = http.send(request).await?;
                answer.error().map_or(Ok(answer.body), |error| Err(error.into()))
            }
        }
    }
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
