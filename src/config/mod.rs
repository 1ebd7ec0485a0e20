//! Configuration: read once into types that can't be wrong, or refused with every reason at once.
//!
//! `config.toml` at the top of the repository is compiled in and *is* the defaults. On top of it come a file, the
//! environment (`HOLDLINE__SECTION__KEY`) and flags, in this order.

#![allow(missing_docs)] // what each setting is for stands in `config.toml`, once

mod effective;
mod layer;
mod read;
mod sections;
mod tree;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdline_core::WorkflowId;
use holdline_core::limit::Limits;

pub use holdline_actors::numbers::Numbers;
use read::{Problems, Section};
use tree::Table;
pub(crate) use tree::nearest;
pub use tree::{Origin, Problem};
pub(crate) use value::origin;
pub use value::{AllowedHost, Network, PublicUrl, Secret};

/// The file that is the defaults.
pub const DEFAULTS: &str = include_str!("../../config.toml");

/// Everything that can be set, typed. What each setting is for stands in `config.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `None`: `/twiml` and `/ws` answer 404.
    pub default_workflow: Option<WorkflowId>,
    pub public: Public,
    pub control: Control,
    pub twilio: Twilio,
    pub flows: Flows,
    pub journal: Journal,
    pub calls: Calls,
    pub media: Media,
    pub speech: Speech,
    pub limits: Limits,
    pub retry: Retry,
    pub http: Http,
    pub events: Events,
    pub openai: OpenAi,
    pub salesforce: Salesforce,
    pub smtp: Smtp,
    pub secrets: BTreeMap<String, Secret>,
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Public {
    /// The rule for an empty `bind` is already applied.
    pub bind: SocketAddr,
    pub url: PublicUrl,
    pub trusted_proxies: Vec<Network>,
    pub insecure_no_signatures: bool,
    /// "auto" is already decided.
    pub bare_streams: bool,
    pub shared_keys: Vec<Secret>,
    pub return_fragment: String,
    /// Requests a second and address; `None` is no bound.
    pub rate_limit: Option<u32>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    pub bind: SocketAddr,
    pub tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub token: Secret,
    pub role: Role,
}

/// What a token may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Read,
    Operate,
    Admin,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Twilio {
    pub account_sid: String,
    pub auth_tokens: Vec<Secret>,
    pub api_key: Secret,
    pub api_secret: Secret,
    pub api_url: String,
    /// Shown by calls that we place, unless they name another number.
    pub from: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Flows {
    pub dir: PathBuf,
    pub reload: bool,
    pub timezone: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    pub kind: JournalKind,
    pub path: PathBuf,
    pub retention: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalKind {
    /// A store on disk, in the folder `path`.
    Sqlite,
    /// The same, in another store.
    Sled,
    Memory,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Calls {
    pub max_calls: usize,
    pub max_duration: Duration,
    pub idle_timeout: Duration,
    pub return_grace: Duration,
    pub start_deadline: Duration,
    pub drain_timeout: Duration,
    pub overflow_workflow: Option<WorkflowId>,
    pub rest_interval: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Media {
    pub queue_frames: usize,
    pub stall_timeout: Duration,
    pub idle_silence: bool,
    pub lead: Duration,
    pub file_bytes_max: usize,
    pub cache_bytes: usize,
    /// `None`: half of the processors.
    pub workers: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Speech {
    /// The phone network speaks.
    Network,
    /// A program and its arguments.
    Command(Vec<String>),
    OpenAi {
        url: String,
        key: Secret,
        model: String,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    pub attempts: u32,
    pub initial: Duration,
    pub factor: f64,
    pub max: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    pub timeout: Duration,
    pub allow_hosts: Vec<AllowedHost>,
    pub deny_private: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    pub webhooks: Vec<Webhook>,
    pub secret: Option<Secret>,
    pub retry: Vec<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    pub url: String,
    /// `None`: signed with `Events::secret`.
    pub secret: Option<Secret>,
    pub types: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct OpenAi {
    pub base_url: String,
    pub api_key: Secret,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Salesforce {
    pub instance_url: Option<String>,
    pub login_url: Option<String>,
    pub client_id: String,
    pub client_secret: Secret,
    pub token: Secret,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Smtp {
    /// May hold a password, so all of it is a secret.
    pub url: Secret,
    pub from: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub format: LogFormat,
    /// Words or filters as `tracing` reads them.
    pub level: String,
    pub numbers: Numbers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Auto,
    Text,
    Json,
}

/// Where a configuration comes from, besides the defaults.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// All variables; only `HOLDLINE__…` are settings, the others are what `${env:NAME}` may name.
    pub environment: BTreeMap<String, String>,
    pub flags: Vec<Flag>,
}

/// A command-line flag that is a setting.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As typed: `--data`.
    pub name: &'static str,
    pub section: &'static str,
    pub key: &'static str,
    pub value: String,
}

/// Everything that is wrong, in the order of file and line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    pub problems: Vec<Problem>,
}

impl Sources {
    /// The process's environment, and nothing else yet.
    pub fn from_process() -> Sources {
        let environment = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect();
        Sources { file: None, environment, flags: Vec::new() }
    }
}

impl Config {
    pub fn load(sources: &Sources) -> Result<Config, Error> {
        let merged = layer::merge(sources);
        Config::from_table(&merged.table, &merged.folder, merged.problems)
    }

    /// The effective configuration as TOML, secrets masked, with where each changed setting was written.
    pub fn effective(sources: &Sources) -> Result<String, Error> {
        let merged = layer::merge(sources);
        Config::from_table(&merged.table, &merged.folder, merged.problems)?;
        Ok(effective::print(&merged.table))
    }

    fn from_table(table: &Table, folder: &Path, problems: Vec<Problem>) -> Result<Config, Error> {
        let problems = Problems::new(problems);
        let root = Section { path: String::new(), table, problems: &problems };
        let config = Config::read(&root, folder);
        let mut problems = problems.into_inner();
        if problems.is_empty() {
            return Ok(config);
        }
        problems.sort_by(|a, b| a.origin.cmp(&b.origin));
        Err(Error { problems })
    }

    fn read(root: &Section<'_>, folder: &Path) -> Config {
        let twilio = Twilio::read(&root.section("twilio"));
        let has_auth_token = !twilio.auth_tokens.is_empty();
        Config {
            default_workflow: root.optional("default_workflow", value::workflow_id),
            public: Public::read(&root.section("public"), has_auth_token),
            control: Control::read(&root.section("control")),
            twilio,
            flows: Flows::read(&root.section("flows"), folder),
            journal: Journal::read(&root.section("journal"), folder),
            calls: Calls::read(&root.section("calls")),
            media: Media::read(&root.section("media")),
            speech: Speech::read(&root.section("speech")),
            limits: sections::limits(&root.section("limits")),
            retry: Retry::read(&root.section("retry")),
            http: Http::read(&root.section("http")),
            events: Events::read(&root.section("events")),
            openai: OpenAi::read(&root.section("openai")),
            salesforce: Salesforce::read(&root.section("salesforce")),
            smtp: Smtp::read(&root.section("smtp")),
            secrets: sections::secrets(&root.section(tree::FREE_SECTION)),
            log: Log::read(&root.section("log")),
        }
    }
}

impl Default for Config {
    /// The compiled-in file, alone, with paths relative to the working directory.
    fn default() -> Config {
        let (table, problems) = layer::defaults();
        debug_assert!(problems.is_empty(), "{problems:?}");
        let problems = Problems::new(problems);
        let root = Section { path: String::new(), table: &table, problems: &problems };
        Config::read(&root, Path::new(""))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
