//! The road on which the phone network comes: from the public URL, through whatever stands between, to the listener.

use std::net::SocketAddr;
use std::sync::Arc;

use holdline_actors::door::FlowBook;
use holdline_core::WorkflowId;
use holdline_harness::network::sign;
use jiff::Timestamp;
use reqwest::header::AUTHORIZATION;
use uuid::Uuid;

use super::certificate::not_after;
use super::finding::Finding;
use super::look::{BadCertificate, Eye, Seen, Unseen, Upgraded};
use super::stand_in::StandIn;
use crate::config::{Config, PublicUrl};
use crate::flows::FlowLibrary;
use crate::serve::{Listener, StartError, ngrok, reachable};

/// Who is at the listener's end of the road.
pub enum Server {
    Running,
    StandIn(StandIn),
    /// The port is another's, or can't be had.
    None,
}

pub struct Road<'c> {
    config: &'c Config,
    /// Looks at this machine, past every proxy.
    here: Eye,
    outside: Eye,
    pub server: Server,
    /// Of the listener, as this machine reaches it.
    local: SocketAddr,
    /// As the network sees it; none when nobody knows.
    pub origin: Option<String>,
    library: Arc<FlowLibrary>,
}

/// What came of the first look through the public URL.
pub struct Reached {
    pub finding: Finding,
    pub tls: Finding,
    pub through: bool,
}

impl<'c> Road<'c> {
    /// Finds the running server, or stands in for it.
    pub async fn find(config: &'c Config) -> Result<(Road<'c>, Finding), String> {
        let (here, outside) = (Eye::new(true)?, Eye::new(false)?);
        let mut road = Road {
            config,
            here,
            outside,
            server: Server::None,
            local: reachable(config.public.bind),
            origin: None,
            library: Arc::new(FlowLibrary::load(config)),
        };
        let finding = road.meet().await;
        Ok((road, finding))
    }

    async fn meet(&mut self) -> Finding {
        let at = self.local;
        let asked = if at.port() == 0 {
            Err(Unseen::Refused)
        } else {
            self.here.get(&format!("http://{at}/health")).await
        };
        match asked {
            Ok(seen) if is_ours(&seen) => {
                self.server = Server::Running;
                self.running().await
            }
            Ok(seen) => Finding::failed(
                "server",
                format!("another program answers at {at} (status {})", seen.status),
                "stop it, or set [public] bind (HOLDLINE__PUBLIC__BIND) to another port",
            ),
            Err(Unseen::Refused) => self.stand_in(),
            Err(error) => Finding::failed(
                "server",
                format!("another program has {at}, and it does not answer as a server does: {error}"),
                "stop it, or set [public] bind (HOLDLINE__PUBLIC__BIND) to another port",
            ),
        }
    }

    async fn running(&self) -> Finding {
        let at = self.local;
        match self.here.get(&format!("http://{at}/ready")).await {
            Ok(seen) if seen.status == 200 => {}
            Ok(seen) => {
                let reasons = serde_json::from_str::<serde_json::Value>(&seen.body).unwrap_or_default();
                let cure = "its log says why: it drains, or its journal can't be written";
                return Finding::failed(
                    "server",
                    format!("it runs at {at} and takes no calls: {}", reasons["reasons"]),
                    cure,
                );
            }
            Err(error) => {
                return Finding::warning(
                    "server",
                    format!("it runs at {at}, and /ready gives: {error}"),
                    "look at its log",
                );
            }
        }
        self.control(at).await
    }

    /// The control listener knows the tokens of the configuration.
    async fn control(&self, at: SocketAddr) -> Finding {
        let control = reachable(self.config.control.bind);
        if control.port() == 0 {
            return Finding::ok("server", format!("runs at {at} and takes calls"));
        }
        let token = self.config.control.tokens.first().map(|token| token.token.expose()).unwrap_or_default();
        let url = format!("http://{control}/v1/calls?page_size=1");
        let asked = self.here.get_with(&url, (AUTHORIZATION, &format!("Bearer {token}"))).await;
        match asked {
            Ok(seen) if seen.status == 200 => {
                Finding::ok("server", format!("runs at {at} and takes calls; its API answers at {control}"))
            }
            Ok(seen) if seen.status == 401 => Finding::failed(
                "server",
                format!("the API at {control} does not know the first of [control] tokens"),
                "start the server anew with this configuration, or look at the one with which it runs",
            ),
            Ok(seen) => Finding::warning(
                "server",
                format!("runs at {at}; the API at {control} answers {}", seen.status),
                "is another server's API there? [control] bind says where it should be",
            ),
            Err(error) => Finding::warning(
                "server",
                format!("runs at {at}; its API at {control} can't be asked: {error}"),
                "set [control] bind as the running server has it",
            ),
        }
    }

    fn stand_in(&mut self) -> Finding {
        let bind = self.config.public.bind;
        let listener = match std::net::TcpListener::bind(bind) {
            Ok(listener) => listener,
            Err(source) => {
                let told = StartError::Bind { listener: Listener::Public, address: bind, source }.to_string();
                let (message, cure) =
                    told.split_once(". ").unwrap_or((&told, "set [public] bind to a free address"));
                return Finding::failed("server", message, cure);
            }
        };
        let origin = match &self.config.public.url {
            PublicUrl::Origin(origin) => origin.clone(),
            // Which tunnel leads here is found out next; until then it is as good as any.
            _ => listener.local_addr().map(|at| format!("http://{}", reachable(at))).unwrap_or_default(),
        };
        match StandIn::start(self.config, origin, self.library.clone(), listener) {
            Ok(stand_in) => {
                self.local = reachable(stand_in.address);
                self.server = Server::StandIn(stand_in);
                Finding::not_checked(
                    "server",
                    format!(
                        "none runs at {}; for the length of these checks this command answers there",
                        self.local
                    ),
                )
            }
            Err(error) => Finding::failed(
                "server",
                format!("{bind} can't be served: {error}"),
                "set [public] bind to another address",
            ),
        }
    }

    /// The address that the network was given.
    pub async fn public_url(&mut self) -> Finding {
        let port = self.local.port();
        let (origin, told) = match &self.config.public.url {
            PublicUrl::Origin(origin) => (origin.clone(), origin.clone()),
            PublicUrl::Auto => match ngrok::origin(ngrok::LOCAL_API, port).await {
                Ok(origin) => (origin.clone(), format!("{origin}, by ngrok")),
                Err(error) => {
                    let told = error.to_string();
                    let (message, cure) =
                        told.split_once(". ").unwrap_or((&told, "start ngrok, or set [public] url"));
                    return Finding::failed("public_url", message, cure);
                }
            },
            PublicUrl::Bound => {
                self.origin = Some(format!("http://{}", self.local));
                let message = format!("only this machine reaches http://{}", self.local);
                return match ngrok::origin(ngrok::LOCAL_API, port).await {
                    Ok(tunnel) => Finding::failed(
                        "public_url",
                        format!("{message} by that name, though ngrok leads here as {tunnel}"),
                        "set [public] url = \"auto\" (HOLDLINE__PUBLIC__URL=auto), so that signatures and links are made with it",
                    ),
                    Err(_) => Finding::warning(
                        "public_url",
                        message,
                        format!(
                            "start `ngrok http {port}` and set [public] url = \"auto\", or set it to the https address that leads here"
                        ),
                    ),
                };
            }
        };
        self.origin = Some(origin.clone());
        let is_here =
            origin.contains("://127.") || origin.contains("://localhost") || origin.contains("://[::1]");
        match (origin.starts_with("https://"), is_here) {
            (true, false) => Finding::ok("public_url", told),
            (_, true) => Finding::warning(
                "public_url",
                format!("{origin} is this machine's own name for itself"),
                "set [public] url to the https address that the phone network reaches",
            ),
            (false, false) => Finding::failed(
                "public_url",
                format!("{origin} is not https: the phone network opens streams only over TLS"),
                "put a proxy with a certificate (or ngrok) before this server, and set [public] url to its https address",
            ),
        }
    }

    /// The listener through the public URL, and the certificate on the way.
    pub async fn reach(&self) -> Reached {
        let Some(origin) = &self.origin else {
            let why = "the public URL is not known";
            return Reached {
                finding: Finding::not_checked("reachable", why),
                tls: Finding::not_checked("tls", why),
                through: false,
            };
        };
        let mark = mark();
        let asked = self.eye().get(&format!("{origin}/health?{mark}")).await;
        let is_https = origin.starts_with("https://");
        let tls = match &asked {
            _ if !is_https => Finding::not_checked("tls", format!("{origin} is not https")),
            Ok(seen) => certificate(seen, Timestamp::now()),
            Err(Unseen::Certificate(bad)) => refused_certificate(bad),
            Err(error) => Finding::not_checked("tls", error.to_string()),
        };
        let port = self.local.port();
        let (finding, through) = match asked {
            Ok(seen) if is_ours(&seen) => match &self.server {
                Server::StandIn(stand_in) if stand_in.arrived(&mark).is_none() => {
                    let message = format!("another holdline answers at {origin}");
                    let cure = format!(
                        "let {origin} lead to port {port} of this machine, or set [public] url to the address that does"
                    );
                    (Finding::failed("reachable", message, cure), false)
                }
                _ => (Finding::ok("reachable", format!("{origin}/health leads here")), true),
            },
            Ok(seen) => {
                let (message, cure) = foreign(origin, &seen, port);
                (Finding::failed("reachable", message, cure), false)
            }
            Err(Unseen::Certificate(_)) => (
                Finding::failed(
                    "reachable",
                    format!("{origin} is not trusted"),
                    "mend the certificate, see tls",
                ),
                false,
            ),
            Err(error) => {
                let cure = match &error {
                    Unseen::NoName(_) => {
                        "let the name's DNS record point to the proxy, or mend [public] url".to_owned()
                    }
                    Unseen::Silent => format!(
                        "let a firewall pass it and a proxy lead to port {port}; some routers do not let a machine reach its own public address, then look from another one"
                    ),
                    _ => format!("start the proxy or tunnel that leads to port {port}, or mend [public] url"),
                };
                (
                    Finding::failed(
                        "reachable",
                        format!("{origin} can't be reached from here: {error}"),
                        cure,
                    ),
                    false,
                )
            }
        };
        Reached { finding, tls, through }
    }

    /// A request signed as the network signs is taken, an unsigned one is not.
    pub async fn signature(&self) -> Finding {
        let Some(origin) = &self.origin else {
            return Finding::not_checked("signature", "the public URL is not known");
        };
        let Some(token) = self.token() else { return self.unsigned() };
        let mark = mark();
        let (url, form) =
            (format!("{origin}/webhooks/twilio/status?{mark}&{AWKWARD}"), format!("{mark}&{AWKWARD}"));
        let signature = sign::signature(token, &url, &fields(&form));
        let signed = match self.eye().post(&url, &form, Some(&signature)).await {
            Ok(seen) => seen,
            Err(error) => {
                return Finding::failed(
                    "signature",
                    format!("{url} can't be asked: {error}"),
                    "see reachable",
                );
            }
        };
        match signed.status {
            TAKEN => {}
            403 => return self.why_refused(&mark, &url, &form, &signature).await,
            status => {
                let message =
                    format!("a signed request to {origin}/webhooks/twilio/status is answered {status}");
                let cure = "let the proxy pass every path below /webhooks/ by POST, with its query and body as they are";
                return Finding::failed("signature", message, cure);
            }
        }
        match self.eye().post(&url, &form, None).await {
            Ok(seen) if seen.status == 403 => Finding::ok(
                "signature",
                "a request signed with the first auth token is taken, an unsigned one is not",
            ),
            Ok(seen) => Finding::failed(
                "signature",
                format!(
                    "an unsigned request is answered {} where 403 was expected: anybody can place calls into the workflows",
                    seen.status
                ),
                "start the server anew with this configuration, and take insecure_no_signatures out of it",
            ),
            Err(error) => Finding::warning(
                "signature",
                format!("the unsigned request had no answer: {error}"),
                "look again",
            ),
        }
    }

    fn unsigned(&self) -> Finding {
        let public = self.origin.as_deref().is_some_and(|origin| origin.starts_with("https://"));
        if self.config.public.insecure_no_signatures {
            let cure =
                "set [twilio] auth_tokens, and take [public] insecure_no_signatures out of the configuration";
            return Finding::warning(
                "signature",
                "nobody's signature is checked: anybody can place calls into the workflows",
                cure,
            );
        }
        if public {
            let message =
                "there is no [twilio] auth_tokens: every request that comes through the public URL gets 403";
            let cure =
                "set [twilio] auth_tokens (HOLDLINE__TWILIO__AUTH_TOKENS) to the auth token of the account";
            return Finding::failed("signature", message, cure);
        }
        Finding::not_checked(
            "signature",
            "there is no [twilio] auth_tokens to sign with; unsigned requests are taken from this machine alone",
        )
    }

    /// What changed on the way, or who holds another key.
    async fn why_refused(&self, mark: &str, url: &str, form: &str, signature: &str) -> Finding {
        let failed = |message: String, cure: String| Finding::failed("signature", message, cure);
        let target = url.splitn(4, '/').nth(3).map(|target| format!("/{target}")).unwrap_or_default();
        if let Server::StandIn(stand_in) = &self.server {
            return match stand_in.arrived(mark) {
                None => failed(
                    "a signed request is answered 403, and not by this machine".to_owned(),
                    "let the proxy or its firewall pass POST requests to /webhooks/ without a login of its own".to_owned(),
                ),
                Some(arrived) if !arrived.has_signature => failed(
                    "the proxy drops the header X-Twilio-Signature".to_owned(),
                    "let it pass all headers as they came".to_owned(),
                ),
                Some(arrived) if arrived.body != form.as_bytes() => failed(
                    "the proxy changes the body of requests, so that no signature fits".to_owned(),
                    "let it pass bodies as they came".to_owned(),
                ),
                Some(arrived) => failed(
                    format!("the request arrives as {}, which is not what was signed ({target})", arrived.target),
                    "let the proxy pass path and query as they came, or set [public] url to the address with the path that it takes away".to_owned(),
                ),
            };
        }
        // The same request without the way between.
        let prefix = target.find("/webhooks/").and_then(|at| target.get(at..)).unwrap_or(&target);
        let here = self.here.post(&format!("http://{}{prefix}", self.local), form, Some(signature)).await;
        match here {
            Ok(seen) if seen.status == TAKEN => failed(
                "the server takes the signature when it is asked directly, and refuses it through the public URL".to_owned(),
                "let the proxy pass the header X-Twilio-Signature, path, query and body as they came".to_owned(),
            ),
            _ => failed(
                "the running server refuses the first auth token of this configuration".to_owned(),
                "start it anew with this configuration; [public] url and [twilio] auth_tokens must be those that the phone network uses".to_owned(),
            ),
        }
    }

    /// A WebSocket through the public URL.
    pub async fn stream(&self) -> Finding {
        let Some(origin) = &self.origin else {
            return Finding::not_checked("stream", "the public URL is not known");
        };
        let Some(workflow) = self.any_workflow() else {
            return Finding::not_checked("stream", "there is no workflow whose stream could be asked for");
        };
        let mark = mark();
        let path = format!("/webhooks/{workflow}/wss?{mark}");
        let asked = format!("{origin}{path}");
        let signature =
            self.token().map(|token| sign::signature(token, &asked.replacen("http", "ws", 1), &[]));
        match self.eye().upgrade(&asked, signature.as_deref()).await {
            Ok(Upgraded::Open) => {
                Finding::ok("stream", "a WebSocket opens and closes through the public URL")
            }
            Ok(Upgraded::Mute) => Finding::failed(
                "stream",
                "a WebSocket opens through the public URL, and nothing comes back on it",
                "let the proxy pass frames at once (no buffering: nginx `proxy_buffering off`)",
            ),
            Ok(Upgraded::Refused(seen)) => self.no_upgrade(&seen, &path, signature.as_deref()).await,
            Err(error) => {
                Finding::failed("stream", format!("{asked} can't be asked: {error}"), "see reachable")
            }
        }
    }

    async fn no_upgrade(&self, seen: &Seen, path: &str, signature: Option<&str>) -> Finding {
        let status = seen.status;
        let here = self.here.upgrade(&format!("http://{}{path}", self.local), signature).await;
        if matches!(here, Ok(Upgraded::Open)) {
            return Finding::failed(
                "stream",
                format!(
                    "the wish for a WebSocket is answered {status} through the public URL, and 101 when the server is asked directly"
                ),
                "let the proxy pass upgrades (nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
                 proxy_set_header Connection \"upgrade\"), and X-Twilio-Signature with them",
            );
        }
        let cure = match status {
            403 => "see signature: a stream is signed like every other request",
            _ => "look into the server's log: it says why it refused",
        };
        Finding::failed("stream", format!("the wish for a WebSocket is answered {status}"), cure)
    }

    /// How far this machine's clock is from the network's.
    pub async fn clock(&self) -> Finding {
        let api = &self.config.twilio.api_url;
        let began = Timestamp::now();
        let seen = match self.outside.get(&format!("{api}/")).await {
            Ok(seen) => seen,
            Err(error) => {
                return Finding::not_checked("clock", format!("{api} can't be asked for the time: {error}"));
            }
        };
        let date = seen.headers.get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
        let Some(there) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) else {
            return Finding::not_checked("clock", format!("{api} does not say what time it is"));
        };
        let now = Timestamp::now();
        // The answer's second lies somewhere between question and answer.
        let there = there.timestamp().as_second();
        let off = if there > now.as_second() {
            there - now.as_second()
        } else {
            (began.as_second() - there - 1).max(0)
        };
        let way = if there > now.as_second() { "behind" } else { "ahead of" };
        let cure = "let the machine keep time (timedatectl set-ntp true, or chrony)";
        match off {
            0..CLOCK_OFF => Finding::ok("clock", format!("within {CLOCK_OFF} s of {api}")),
            CLOCK_OFF..CLOCK_WRONG => Finding::warning("clock", format!("{off} s {way} {api}"), cure),
            _ => Finding::failed(
                "clock",
                format!("{off} s {way} {api}: certificates and signatures of webhooks are refused"),
                cure,
            ),
        }
    }

    pub async fn leave(self) {
        if let Server::StandIn(stand_in) = self.server {
            stand_in.stop().await;
        }
    }

    /// What is on this machine is looked at without a proxy.
    fn eye(&self) -> &Eye {
        let here = self.origin.as_deref().is_some_and(|origin| {
            origin.starts_with("http://127.") || origin.starts_with("http://localhost")
        });
        if here { &self.here } else { &self.outside }
    }

    fn token(&self) -> Option<&str> {
        self.config.twilio.auth_tokens.first().map(|token| token.expose()).filter(|token| !token.is_empty())
    }

    fn any_workflow(&self) -> Option<String> {
        let known = |id: &String| self.library.find(&WorkflowId(id.clone())).is_some();
        let default = self.config.default_workflow.as_ref().map(|id| id.0.clone()).filter(known);
        default.or_else(|| self.library.shown().into_iter().map(|shown| shown.id).find(known))
    }
}

/// By what nobody else says.
fn is_ours(seen: &Seen) -> bool {
    let told = serde_json::from_str::<serde_json::Value>(&seen.body).unwrap_or_default();
    seen.status == 200 && told == serde_json::json!({ "status": "ok" })
}

fn foreign(origin: &str, seen: &Seen, port: u16) -> (String, String) {
    match seen.status {
        502..=504 => (
            format!("{origin} answers {}: something is there, and does not reach this server", seen.status),
            format!("let the proxy or tunnel lead to port {port} of this machine"),
        ),
        status => (
            format!("{origin}/health answers {status}, which is not this server"),
            format!(
                "let the address lead to port {port} of this machine, with its path, or mend [public] url"
            ),
        ),
    }
}

fn certificate(seen: &Seen, now: Timestamp) -> Finding {
    let cure = "renew the certificate, and let it renew itself";
    let Some(end) = seen.certificate.as_deref().and_then(not_after) else {
        return Finding::warning(
            "tls",
            "the certificate is trusted; until when it is valid can't be read",
            "look at it by hand",
        );
    };
    let days = end.as_second().saturating_sub(now.as_second()) / (24 * 3600);
    match days {
        ..DAYS_FEW => Finding::warning("tls", format!("the certificate ends in {days} days ({end})"), cure),
        _ => Finding::ok("tls", format!("the certificate is trusted, and valid for {days} days")),
    }
}

fn refused_certificate(bad: &BadCertificate) -> Finding {
    let cure = match bad {
        BadCertificate::Expired => "renew the certificate, and let it renew itself",
        BadCertificate::NotYet => "set this machine's clock, or wait",
        BadCertificate::OtherName => "get a certificate for the name in [public] url, or mend [public] url",
        BadCertificate::UnknownIssuer => {
            "get a certificate from a public authority (Let's Encrypt), and serve it with its whole chain: the phone network refuses self-signed ones"
        }
        BadCertificate::Other(_) => "get a certificate from a public authority",
    };
    Finding::failed("tls", bad.to_string(), cure)
}

/// By which one look is found again.
fn mark() -> String {
    format!("doctor={}", Uuid::now_v7().simple())
}

fn fields(form: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(form.as_bytes()).into_owned().collect()
}

/// What a proxy that "cleans" requests writes differently.
const AWKWARD: &str = "probe=a%2Bb%20c";
/// A request that was let in and says nothing of any call.
const TAKEN: u16 = 400;
const DAYS_FEW: i64 = 14;
/// Seconds.
const CLOCK_OFF: i64 = 5;
/// Receivers of signed webhooks refuse what is five minutes off.
const CLOCK_WRONG: i64 = 60;
