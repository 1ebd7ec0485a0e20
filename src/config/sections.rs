//! How each section becomes its type: which words and ranges each setting takes.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdline_core::limit::Limits;

use super::read::Section;
use super::value::{self, AllowedHost, Network, PublicUrl, Secret};
use super::{
    Calls, Control, Events, Flows, Http, Journal, JournalKind, Log, LogFormat, Media, Numbers, OpenAi,
    Public, Retry, Role, Salesforce, Smtp, Speech, Token, Twilio, Webhook,
};

impl Public {
    pub(super) fn read(section: &Section<'_>, has_auth_token: bool) -> Public {
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
    pub(super) fn read(section: &Section<'_>) -> Control {
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
    pub(super) fn read(section: &Section<'_>) -> Twilio {
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
            from: section.optional("from", |text| Ok(text.to_owned())),
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
    pub(super) fn read(section: &Section<'_>, folder: &Path) -> Flows {
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
    pub(super) fn read(section: &Section<'_>, folder: &Path) -> Journal {
        Journal {
            kind: section.parsed("kind", JournalKind::Memory, |text| match text {
                "memory" => Ok(JournalKind::Memory),
                "sqlite" => Ok(JournalKind::Sqlite),
                "sled" => Ok(JournalKind::Sled),
                _ => Err(format!("expected \"sqlite\", \"sled\" or \"memory\", got \"{text}\"")),
            }),
            path: section.parsed("path", PathBuf::new(), |text| path(text, folder)),
            retention: section.duration("retention", ZERO..=YEARS_10),
        }
    }
}

impl Calls {
    pub(super) fn read(section: &Section<'_>) -> Calls {
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
    pub(super) fn read(section: &Section<'_>) -> Media {
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
    pub(super) fn read(section: &Section<'_>) -> Speech {
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
pub(super) fn limits(section: &Section<'_>) -> Limits {
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
    pub(super) fn read(section: &Section<'_>) -> Retry {
        Retry {
            attempts: section.integer("attempts", 1..=1000),
            initial: section.duration("initial", ZERO..=DAY),
            factor: section.number("factor", 1.0..=100.0),
            max: section.duration("max", ZERO..=DAY),
        }
    }
}

impl Http {
    pub(super) fn read(section: &Section<'_>) -> Http {
        Http {
            timeout: section.duration("timeout", MILLI_100..=HOUR),
            allow_hosts: section.list("allow_hosts", AllowedHost::read),
            deny_private: section.boolean("deny_private"),
        }
    }
}

impl Events {
    pub(super) fn read(section: &Section<'_>) -> Events {
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
    pub(super) fn read(section: &Section<'_>) -> OpenAi {
        OpenAi {
            base_url: section.parsed("base_url", String::new(), value::origin),
            api_key: section.secret("api_key"),
        }
    }
}

impl Salesforce {
    pub(super) fn read(section: &Section<'_>) -> Salesforce {
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
    pub(super) fn read(section: &Section<'_>) -> Smtp {
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
    pub(super) fn read(section: &Section<'_>) -> Log {
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

pub(super) fn secrets(section: &Section<'_>) -> BTreeMap<String, Secret> {
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
