//! Configuration: read once into types that can't be wrong, or refused with every reason at once.
//!
//! `config.toml` at the top of the repository is compiled in and *is* the defaults. On top of it come a file, the
//! environment (`HOLDLINE__SECTION__KEY`) and flags, in this order.

mod effective;
mod layer;
mod read;
mod tree;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdline_core::WorkflowId;
use holdline_core::limit::Limits;

use read::{Problems, Section};
use tree::Table;
pub(crate) use tree::nearest;
pub use tree::{Origin, Problem};
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbers {
    Masked,
    Full,
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
            limits: limits(&root.section("limits")),
            retry: Retry::read(&root.section("retry")),
            http: Http::read(&root.section("http")),
            events: Events::read(&root.section("events")),
            openai: OpenAi::read(&root.section("openai")),
            salesforce: Salesforce::read(&root.section("salesforce")),
            smtp: Smtp::read(&root.section("smtp")),
            secrets: secrets(&root.section(tree::FREE_SECTION)),
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

impl Public {
    fn read(section: &Section<'_>, has_auth_token: bool) -> Public {
        let insecure_no_signatures = section.boolean("insecure_no_signatures");
        let by_rule = if has_auth_token { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let by_rule = SocketAddr::from((by_rule, PUBLIC_PORT));
        let bind = section.optional("bind", value::socket_address).unwrap_or(by_rule);
        if !bind.ip().is_loopback() && !has_auth_token && !insecure_no_signatures {
            section.refuse(
                "bind",
                "unsafe",
                format!(
                    "refusing to serve unsigned requests on {bind}: anyone who reaches that address could place calls \
                     into your workflows. Set [twilio] auth_tokens so that signatures can be checked, or bind to \
                     127.0.0.1, or accept the risk with [public] insecure_no_signatures = true"
                ),
            );
        }
        Public {
            bind,
            url: section.parsed("url", PublicUrl::Bound, PublicUrl::read),
            trusted_proxies: section.list("trusted_proxies", Network::read),
            insecure_no_signatures,
            bare_streams: section.boolean_or_auto("bare_streams").unwrap_or(!has_auth_token),
            shared_keys: section.secrets("shared_keys"),
            return_fragment: section.parsed("return_fragment", String::new(), return_fragment),
            rate_limit: Some(section.integer("rate_limit", 0..=1_000_000)).filter(|limit| *limit > 0),
        }
    }
}

impl Control {
    fn read(section: &Section<'_>) -> Control {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bind = section.parsed("bind", loopback, value::socket_address);
        let given = section.tables("tokens", &["token", "role"]);
        let tokens: Vec<Token> = given
            .iter()
            .map(|token| Token {
                token: token.parsed("token", Secret::default(), |text| {
                    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(Secret::new(text)) }
                }),
                role: token.one_of("role", &Role::WORDS, Role::Read),
            })
            .collect();
        if !bind.ip().is_loopback() && tokens.is_empty() {
            section.refuse(
                "bind",
                "unsafe",
                format!(
                    "refusing to serve the control API on {bind} without tokens: it can hang up calls and change \
                     workflows. Set [control] tokens, or bind to 127.0.0.1"
                ),
            );
        }
        Control { bind, tokens }
    }
}

impl Role {
    const WORDS: [(&str, Role); 3] =
        [("read", Role::Read), ("operate", Role::Operate), ("admin", Role::Admin)];

    pub fn word(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Operate => "operate",
            Role::Admin => "admin",
        }
    }
}

impl Twilio {
    fn read(section: &Section<'_>) -> Twilio {
        let twilio = Twilio {
            account_sid: section.parsed("account_sid", String::new(), |text| {
                let fits =
                    text.starts_with("AC") && text.chars().all(|letter| letter.is_ascii_alphanumeric());
                if text.is_empty() || fits {
                    Ok(text.to_owned())
                } else {
                    Err("expected an account's id, \"AC\" and 32 hexadecimal digits".to_owned())
                }
            }),
            auth_tokens: section.secrets("auth_tokens"),
            api_key: section.secret("api_key"),
            api_secret: section.secret("api_secret"),
            api_url: section.parsed("api_url", String::new(), value::origin),
        };
        if twilio.api_key.is_empty() != twilio.api_secret.is_empty() {
            let given = if twilio.api_key.is_empty() { "api_secret" } else { "api_key" };
            section.refuse(given, "invalid_value", "api_key and api_secret only work together".to_owned());
        }
        twilio
    }

    /// User and password for the REST API, when there are any.
    pub fn credentials(&self) -> Option<(&str, &Secret)> {
        if self.account_sid.is_empty() {
            None
        } else if !self.api_key.is_empty() {
            Some((self.api_key.expose(), &self.api_secret))
        } else {
            self.auth_tokens.first().map(|token| (self.account_sid.as_str(), token))
        }
    }
}

impl Flows {
    fn read(section: &Section<'_>, folder: &Path) -> Flows {
        Flows {
            dir: section.parsed("dir", PathBuf::new(), |text| path(text, folder)),
            reload: section.boolean("reload"),
            timezone: section.parsed("timezone", String::new(), |text| match jiff::tz::TimeZone::get(text) {
                Ok(_) => Ok(text.to_owned()),
                Err(_) => {
                    Err(format!("expected an IANA time zone such as \"Europe/Berlin\", got \"{text}\""))
                }
            }),
        }
    }
}

impl Journal {
    fn read(section: &Section<'_>, folder: &Path) -> Journal {
        Journal {
            kind: section.parsed("kind", JournalKind::Memory, |text| match text {
                "memory" => Ok(JournalKind::Memory),
                "sled" => {
                    Err("the durable store \"sled\" is not in this version yet; write kind = \"memory\", \
                               which forgets all calls at the end of the process"
                        .to_owned())
                }
                _ => Err(format!("expected \"memory\", got \"{text}\"")),
            }),
            path: section.parsed("path", PathBuf::new(), |text| path(text, folder)),
            retention: section.duration("retention", ZERO..=YEARS_10),
        }
    }
}

impl Calls {
    fn read(section: &Section<'_>) -> Calls {
        Calls {
            max_calls: section.integer("max_calls", 1..=1_000_000),
            max_duration: section.duration("max_duration", SECOND..=DAY),
            idle_timeout: section.duration("idle_timeout", SECOND..=DAY),
            return_grace: section.duration("return_grace", MILLI_100..=HOUR),
            start_deadline: section.duration("start_deadline", MILLI_100..=HOUR),
            drain_timeout: section.duration("drain_timeout", ZERO..=DAY),
            overflow_workflow: section.optional("overflow_workflow", value::workflow_id),
            rest_interval: section.duration("rest_interval", SECOND..=DAY),
        }
    }
}

impl Media {
    fn read(section: &Section<'_>) -> Media {
        Media {
            queue_frames: section.integer("queue_frames", 1..=3000),
            stall_timeout: section.duration("stall_timeout", MILLI_100..=HOUR),
            idle_silence: section.boolean("idle_silence"),
            lead: section.duration("lead", ZERO..=SECOND * 10),
            file_bytes_max: section.integer("file_bytes_max", 1024..=1 << 32),
            cache_bytes: section.integer("cache_bytes", 0..=1 << 40),
            workers: Some(section.integer("workers", 0..=1024)).filter(|workers| *workers > 0),
        }
    }
}

impl Speech {
    fn read(section: &Section<'_>) -> Speech {
        let command = section.list("command", |text| Ok(text.to_owned()));
        let url = section.optional("url", value::origin);
        let key = section.secret("key");
        let model = section.text("model");
        match section.one_of("voice", &[("network", 'n'), ("command", 'c'), ("openai", 'o')], 'n') {
            'c' => {
                if command.is_empty() {
                    section.refuse("voice", "invalid_value", "needs [speech] command".to_owned());
                }
                Speech::Command(command)
            }
            'o' => {
                if model.is_empty() {
                    section.refuse("voice", "invalid_value", "needs [speech] model".to_owned());
                }
                let url = url.unwrap_or_else(|| {
                    section.refuse("voice", "invalid_value", "needs [speech] url".to_owned());
                    String::new()
                });
                Speech::OpenAi { url, key, model }
            }
            _ => Speech::Network,
        }
    }
}

/// No bound of the house may be switched off, only moved: each protects every other call.
fn limits(section: &Section<'_>) -> Limits {
    Limits {
        iterations: section.integer("iterations", 1..=1_000_000),
        execute_calls: section.integer("execute_calls", 0..=1_000_000),
        on_complete_depth: section.integer("on_complete_depth", 0..=100),
        stack_depth: section.integer("stack_depth", 1..=10_000),
        steps: section.integer("steps", 1..=100_000_000),
        subflow_depth: section.integer("subflow_depth", 1..=100),
    }
}

impl Retry {
    fn read(section: &Section<'_>) -> Retry {
        Retry {
            attempts: section.integer("attempts", 1..=1000),
            initial: section.duration("initial", ZERO..=DAY),
            factor: section.number("factor", 1.0..=100.0),
            max: section.duration("max", ZERO..=DAY),
        }
    }
}

impl Http {
    fn read(section: &Section<'_>) -> Http {
        Http {
            timeout: section.duration("timeout", MILLI_100..=HOUR),
            allow_hosts: section.list("allow_hosts", AllowedHost::read),
            deny_private: section.boolean("deny_private"),
        }
    }
}

impl Events {
    fn read(section: &Section<'_>) -> Events {
        let webhooks = section.tables("webhooks", &["url", "secret", "types"]);
        Events {
            webhooks: webhooks
                .iter()
                .map(|webhook| Webhook {
                    url: webhook.parsed("url", String::new(), value::http_url),
                    secret: webhook
                        .table
                        .get("secret")
                        .and_then(|_| webhook.optional("secret", value::signing_secret)),
                    types: match webhook.table.get("types") {
                        Some(_) => webhook.list("types", event_type),
                        None => vec!["*".to_owned()],
                    },
                })
                .collect(),
            secret: section.optional("secret", value::signing_secret),
            retry: section.durations("retry", ZERO..=DAY * 30),
        }
    }
}

impl OpenAi {
    fn read(section: &Section<'_>) -> OpenAi {
        OpenAi {
            base_url: section.parsed("base_url", String::new(), value::origin),
            api_key: section.secret("api_key"),
        }
    }
}

impl Salesforce {
    fn read(section: &Section<'_>) -> Salesforce {
        Salesforce {
            instance_url: section.optional("instance_url", value::origin),
            login_url: section.optional("login_url", value::origin),
            client_id: section.text("client_id"),
            client_secret: section.secret("client_secret"),
            token: section.secret("token"),
        }
    }
}

impl Smtp {
    fn read(section: &Section<'_>) -> Smtp {
        let url = section.parsed("url", Secret::default(), |text| {
            if text.is_empty() || text.starts_with("smtp://") || text.starts_with("smtps://") {
                Ok(Secret::new(text))
            } else {
                Err("expected a URL that begins with smtp:// or smtps://".to_owned())
            }
        });
        Smtp { url, from: section.text("from") }
    }
}

impl Log {
    fn read(section: &Section<'_>) -> Log {
        let formats = [("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)];
        Log {
            format: section.one_of("format", &formats, LogFormat::Auto),
            level: section.parsed(
                "level",
                String::new(),
                |text| match tracing_subscriber::EnvFilter::try_new(text) {
                    Ok(_) if !text.trim().is_empty() && known_levels(text) => Ok(text.to_owned()),
                    _ => Err(format!(
                        "expected \"error\", \"warn\", \"info\", \"debug\", \"trace\" or filters such as \
                         \"info,holdline=debug\", got \"{text}\""
                    )),
                },
            ),
            numbers: section.one_of(
                "numbers",
                &[("masked", Numbers::Masked), ("full", Numbers::Full)],
                Numbers::Masked,
            ),
        }
    }
}

/// A bare word among the filters is a level: tracing would take any other for the name of a module, and log nothing.
fn known_levels(filters: &str) -> bool {
    filters.split(',').map(str::trim).all(|filter| {
        filter.contains(['=', '['])
            || ["error", "warn", "info", "debug", "trace", "off"]
                .iter()
                .any(|level| level.eq_ignore_ascii_case(filter))
    })
}

fn secrets(section: &Section<'_>) -> BTreeMap<String, Secret> {
    section.table.keys().map(|name| (name.to_owned(), section.secret(name))).collect()
}

fn path(text: &str, folder: &Path) -> Result<PathBuf, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(folder.join(text)) }
}

fn return_fragment(text: &str) -> Result<String, String> {
    let plain = |letter: char| letter.is_ascii_graphic() && !matches!(letter, '"' | '<' | '>' | '\'');
    if text.is_empty() || (text.starts_with('#') && text.chars().all(plain)) {
        Ok(text.to_owned())
    } else {
        Err("expected \"\" or a URL fragment such as \"#rc=5\"".to_owned())
    }
}

fn event_type(text: &str) -> Result<String, String> {
    let prefix = text.strip_suffix(".*").unwrap_or(text);
    let word = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_');
    if text == "*" || (!prefix.is_empty() && prefix.chars().all(word)) {
        Ok(text.to_owned())
    } else {
        Err("expected \"*\", \"call.*\" or the name of an event".to_owned())
    }
}

const PUBLIC_PORT: u16 = 8080;
const ZERO: Duration = Duration::ZERO;
const MILLI_100: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const YEARS_10: Duration = Duration::from_secs(86_400 * 3650);

#[cfg(test)]
mod tests;
