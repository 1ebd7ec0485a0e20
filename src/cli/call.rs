//! `holdline call`: the pretend phone network against any server, ours or another.

mod result;
mod script;

use std::path::Path;
use std::time::Duration;

use futures::future::join_all;
use holdline_harness::network::caller::Act;
use holdline_harness::network::real::{self, Network, Story};
use holdline_harness::network::{Experience, LineConfig, Script, StatusEvent, tone};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use url::Url;

use super::arguments::CallArguments;
use super::transcript::{CALLER, tell, tell_experience};
use super::{Exit, complain};
use crate::config::{Config, Sources};

/// As long as the pretend network itself tries.
const CONNECT_FOR: Duration = Duration::from_secs(5);
/// What somebody at the keyboard, or a file, does beside the script.
const HANDS: usize = 4;

/// Why no call was placed at all.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("expected a server such as http://127.0.0.1:8080, got `{0}`")]
    Server(String),
    #[error(
        "nobody answers at {host}:{port} ({why}). Is `holdline serve` running there? --server says where to call"
    )]
    Unreachable { host: String, port: u16, why: String },
    #[error("{path}: {why}")]
    File { path: String, why: String },
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    #[error(transparent)]
    Network(#[from] real::Error),
}

/// What every call of one command has in common.
struct Plan {
    line: LineConfig,
    audio: Option<Vec<u8>>,
}

pub(super) fn run(arguments: &CallArguments) -> Exit {
    let plan = match Plan::of(arguments) {
        Ok(plan) => plan,
        Err(error) => {
            complain(&format!("holdline: {error}"));
            return match error {
                Error::Server(_) => Exit::Usage,
                _ => Exit::CannotStart,
            };
        }
    };
    actix_rt::System::new().block_on(async move {
        match call(&plan, arguments).await {
            Ok(exit) => exit,
            Err(error) => {
                complain(&format!("holdline: {error}"));
                Exit::CannotStart
            }
        }
    })
}

impl Plan {
    fn of(arguments: &CallArguments) -> Result<Plan, Error> {
        let server = arguments.server.trim_end_matches('/');
        let is_url = Url::parse(server).is_ok_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none()
        });
        if !is_url {
            return Err(Error::Server(arguments.server.clone()));
        }
        let is_path = arguments.workflow.starts_with('/');
        let voice = match &arguments.workflow {
            path if is_path => format!("{server}{path}"),
            workflow => format!("{server}/webhooks/{workflow}"),
        };
        let mut line = LineConfig::new(&voice, "");
        line.auth_token = auth_token(arguments)?;
        // Another server's paths are its own, so only ours gets a fallback.
        line.fallback_url = (!is_path).then(|| format!("{voice}/next"));
        line.status_url = Some(format!("{server}/webhooks/twilio/status"));
        line.status_events =
            vec![StatusEvent::Initiated, StatusEvent::Ringing, StatusEvent::Answered, StatusEvent::Completed];
        line.hear_frames = arguments.record.is_some();
        line.from.clone_from(&arguments.from);
        line.script = match &arguments.script {
            Some(path) => {
                let read = script::read(path)?;
                if let Some(from) = read.from {
                    line.from = from;
                }
                read.script
            }
            None => script::presses(&arguments.press),
        };
        let audio = arguments.audio.as_deref().map(ulaw).transpose()?;
        Ok(Plan { line, audio })
    }
}

async fn call(plan: &Plan, arguments: &CallArguments) -> Result<Exit, Error> {
    reach(&arguments.server).await?;
    let network = Network::new()?;
    let count = arguments.calls;
    let shows = count == 1 && !arguments.json;
    if shows {
        tell(Duration::ZERO, CALLER, &format!("rings from {}", plan.line.from));
    }
    let unique = uuid::Uuid::now_v7();
    let calls = (0..count).map(|number| {
        let mut line = plan.line.clone();
        // A call of its own, also for a server that remembers those of the last command.
        let own = LineConfig::new("", &format!("{unique} {number}"));
        line.call_sid = own.call_sid;
        one(network.clone(), line, plan.audio.clone(), shows)
    });
    let mut stories = Vec::new();
    for story in join_all(calls).await {
        stories.push(story?);
    }
    if let (Some(path), [story]) = (&arguments.record, stories.as_slice()) {
        keep(path, story)?;
    }
    if arguments.json {
        super::print(&result::json(&stories));
    } else if !shows {
        super::print(&result::table(&stories));
    }
    if stories.iter().any(result::was_refused) {
        complain(
            &"holdline: the server refused our signature; --auth-token, or the setting twilio.auth_tokens, must be the server's",
        );
    }
    Ok(if stories.iter().all(result::went_well) { Exit::Fine } else { Exit::NotSo })
}

/// One call, during which Ctrl-C hangs up and a stream lets the caller speak.
async fn one(
    network: Network,
    line: LineConfig,
    audio: Option<Vec<u8>>,
    shows: bool,
) -> Result<Story, real::Error> {
    let (does, hands) = mpsc::channel(HANDS);
    let mut audio = audio;
    let speaks = does.clone();
    let placed = network.place(line, hands, |at, lived| {
        if shows {
            tell_experience(at, lived);
        }
        if *lived == Experience::StreamUp
            && let Some(audio) = audio.take()
        {
            // There is room: nobody else does anything but hang up once.
            let _ = speaks.try_send(Act::Plays(audio.into()));
        }
    });
    let mut placed = std::pin::pin!(placed);
    loop {
        tokio::select! {
            story = &mut placed => return story,
            Ok(()) = tokio::signal::ctrl_c() => {
                let _ = does.try_send(Act::HangsUp);
            }
        }
    }
}

/// A server that isn't there is told apart from a call that went wrong.
async fn reach(server: &str) -> Result<(), Error> {
    let url = Url::parse(server).map_err(|_| Error::Server(server.to_owned()))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let connected = tokio::time::timeout(CONNECT_FOR, TcpStream::connect((host.as_str(), port))).await;
    let why = match connected {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {} s", CONNECT_FOR.as_secs()),
    };
    Err(Error::Unreachable { host, port, why })
}

fn auth_token(arguments: &CallArguments) -> Result<Option<String>, Error> {
    if let Some(token) = &arguments.auth_token {
        return Ok(Some(token.clone()));
    }
    let config = Config::load(&Sources { file: arguments.config.clone(), ..Sources::from_process() })?;
    Ok(config.twilio.auth_tokens.first().map(|token| token.expose().to_owned()))
}

/// Any WAV file, as a telephone would carry it.
fn ulaw(path: &Path) -> Result<Vec<u8>, Error> {
    let wrong = |why: String| Error::File { path: path.display().to_string(), why };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let name = path.to_string_lossy();
    holdline_core::media::load::decode_file(&name, &bytes).map_err(|error| wrong(error.to_string()))
}

fn keep(path: &Path, story: &Story) -> Result<(), Error> {
    let wrong =
        |error: std::io::Error| Error::File { path: path.display().to_string(), why: error.to_string() };
    std::fs::write(path, tone::write_wav(&story.heard)).map_err(wrong)
}
