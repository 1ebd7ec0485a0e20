//! Requests to other systems, and the guard that keeps them out of our own network.
//!
//! Workflows take addresses from callers and from other services. So every address is judged after its name was
//! resolved, in the resolver of the very connection that is then made: a name that answers differently the second time
//! gains nothing. Redirects are followed here, each one judged anew.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdline_core::scene::ErrorClass;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    TRANSFER_ENCODING, USER_AGENT,
};
pub use reqwest::{Method, StatusCode};
use rustls_platform_verifier::BuilderVerifierExt;
use url::{Host, Url};

use crate::config;

/// Redirects of one request.
pub const REDIRECTS_MAX: usize = 5;
/// Clients that are kept, one a port: nearly all requests go to 80 and 443.
const CLIENTS_MAX: usize = 8;
/// What a request that is redirected to another origin still says: the others may hold what only the first may know.
const HEADERS_FOR_ALL: [HeaderName; 4] = [ACCEPT, ACCEPT_LANGUAGE, CONTENT_TYPE, USER_AGENT];

/// Sends requests. Cheap to share; holds the pools of connections.
pub struct HttpPort {
    rules: Arc<Rules>,
    /// Why nothing can be sent at all, if so: a machine without root certificates.
    tls: Result<rustls::ClientConfig, String>,
    clients: Mutex<VecDeque<(Guard, reqwest::Client)>>,
}

#[derive(Debug, Clone)]
pub struct HttpRequest {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<Vec<u8>>,
    /// For all of it: names, connections, redirects, the last byte.
    pub timeout: Duration,
    /// Of the answer's body.
    pub bytes_max: usize,
    pub trust: Trust,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The address came with a workflow.
    Workflow,
    /// The operator wrote the address into the configuration; it may be inside.
    Operator,
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct HttpAnswer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    /// Where it came from, after redirects.
    pub url: Url,
}

/// No answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HttpError {
    pub class: ErrorClass,
    pub message: String,
}

impl HttpRequest {
    /// A GET of a workflow's.
    pub fn get(url: impl Into<String>, timeout: Duration, bytes_max: usize) -> HttpRequest {
        HttpRequest {
            method: Method::GET,
            url: url.into(),
            headers: Vec::new(),
            body: None,
            timeout,
            bytes_max,
            trust: Trust::Workflow,
        }
    }
}

impl HttpAnswer {
    pub fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// What an answer other than 2xx means for a step; `None` for 2xx and 3xx.
    pub fn error(&self) -> Option<HttpError> {
        let class = match self.status.as_u16() {
            200..=399 => return None,
            408 => ErrorClass::Timeout,
            429 => ErrorClass::Limit,
            500.. => ErrorClass::Unavailable,
            _ => ErrorClass::Rejected,
        };
        Some(HttpError { class, message: format!("{} answered {}", shown(&self.url), self.status) })
    }
}

impl HttpPort {
    pub fn new(config: &config::Http) -> HttpPort {
        let rules = Rules { deny_private: config.deny_private, allow_hosts: config.allow_hosts.clone() };
        let tls = tls();
        if let Err(error) = &tls {
            tracing::error!(%error, "no request can be sent to other systems");
        }
        HttpPort { rules: Arc::new(rules), tls, clients: Mutex::default() }
    }

    pub async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, HttpError> {
        let limit = request.timeout;
        let url = read_url(&request.url)?;
        let host = shown(&url);
        match tokio::time::timeout(limit, self.follow(request, url)).await {
            Ok(answered) => answered,
            Err(_) => {
                Err(HttpError::new(ErrorClass::Timeout, format!("{host} did not answer within {limit:?}")))
            }
        }
    }

    async fn follow(&self, mut request: HttpRequest, mut url: Url) -> Result<HttpAnswer, HttpError> {
        let mut headers = read_headers(&request.headers)?;
        for _ in 0..=REDIRECTS_MAX {
            let response = self.ask(&request, headers.clone(), url.clone()).await?;
            let Some(next) = redirected(&url, &response)? else {
                return read_answer(response, url, request.bytes_max).await;
            };
            let status = response.status().as_u16();
            let becomes_get =
                status == 303 || (matches!(status, 301 | 302) && request.method == Method::POST);
            if becomes_get && request.method != Method::HEAD {
                request.method = Method::GET;
                request.body = None;
                headers.remove(CONTENT_TYPE);
            }
            if next.origin() != url.origin() {
                let kept = headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
                headers = kept.filter(|(name, _)| HEADERS_FOR_ALL.contains(name)).collect();
            }
            url = next;
        }
        let message = format!("expected at most {REDIRECTS_MAX} redirects, got one more to {}", shown(&url));
        Err(HttpError::new(ErrorClass::Rejected, message))
    }

    async fn ask(
        &self,
        request: &HttpRequest,
        headers: HeaderMap,
        url: Url,
    ) -> Result<reqwest::Response, HttpError> {
        let port = url.port_or_known_default().unwrap_or(0);
        let guard = match request.trust {
            Trust::Workflow => Guard { rules: Some(self.rules.clone()), port },
            Trust::Operator => Guard { rules: None, port: 0 },
        };
        // Addresses that are written out never reach a resolver.
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            _ => None,
        };
        if let Some(address) = literal {
            guard.judge(url.host_str().unwrap_or_default(), address).map_err(HttpError::from)?;
        }
        let host = shown(&url);
        let mut building = self.client(&guard)?.request(request.method.clone(), url).headers(headers);
        if let Some(body) = &request.body {
            building = building.body(body.clone());
        }
        building.send().await.map_err(|error| failed(&host, &error))
    }

    /// The client whose every connection has passed this guard: a pooled one may not serve another's request.
    fn client(&self, guard: &Guard) -> Result<reqwest::Client, HttpError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = clients.iter().position(|(known, _)| known.same(guard))
            && let Some(found) = clients.remove(at)
        {
            let client = found.1.clone();
            clients.push_front(found);
            return Ok(client);
        }
        let unavailable = |why: String| HttpError::new(ErrorClass::Unavailable, why);
        let tls = self.tls.clone().map_err(unavailable)?;
        let mut building = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("holdline/", env!("CARGO_PKG_VERSION")));
        if guard.rules.is_some() {
            // A proxy would do the connecting, and nobody would judge where to.
            building = building.no_proxy().dns_resolver(Arc::new(guard.clone()));
        }
        let client = building.build().map_err(|error| unavailable(format!("no HTTP client: {error}")))?;
        clients.push_front((guard.clone(), client.clone()));
        clients.truncate(CLIENTS_MAX);
        Ok(client)
    }
}

impl HttpError {
    pub fn new(class: ErrorClass, message: impl Into<String>) -> HttpError {
        HttpError { class, message: message.into() }
    }
}

impl From<Refused> for HttpError {
    fn from(refused: Refused) -> HttpError {
        HttpError::new(ErrorClass::Rejected, refused.to_string())
    }
}

/// What workflows may reach.
struct Rules {
    deny_private: bool,
    allow_hosts: Vec<config::AllowedHost>,
}

/// The rules for connections to one port: an exception may be for one only.
#[derive(Clone)]
struct Guard {
    /// `None`: the operator's own addresses.
    rules: Option<Arc<Rules>>,
    port: u16,
}

/// An address that a workflow may not reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{host} is not reached: {address} is not a public address; [http] allow_hosts makes exceptions")]
struct Refused {
    host: String,
    address: IpAddr,
}

impl Guard {
    fn same(&self, other: &Guard) -> bool {
        self.port == other.port && self.rules.is_some() == other.rules.is_some()
    }

    fn judge(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        let Some(rules) = &self.rules else { return Ok(()) };
        let excepted = || rules.allow_hosts.iter().any(|entry| entry.admits(host, self.port, address));
        if !rules.deny_private || is_public(address) || excepted() {
            return Ok(());
        }
        Err(Refused { host: host.to_owned(), address })
    }
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let mut refused = None;
            let mut admitted: Vec<SocketAddr> = Vec::new();
            for address in tokio::net::lookup_host((host, guard.port)).await? {
                match guard.judge(host, address.ip()) {
                    Ok(()) => admitted.push(address),
                    Err(error) => refused = Some(error),
                }
            }
            match refused {
                Some(error) if admitted.is_empty() => Err(error.into()),
                _ => Ok(Box::new(admitted.into_iter()) as Addrs),
            }
        })
    }
}

/// Reachable by everybody, so that reaching it through us gains nothing.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            let special = match a {
                0 | 10 | 127 | 224.. => true, // this network, private, loopback, multicast and beyond
                100 => (64..128).contains(&b), // between a carrier and its customers
                169 => b == 254,              // link-local: where clouds keep their credentials
                172 => (16..32).contains(&b), // private
                192 => b == 168 || (b == 0 && (c == 0 || c == 2)) || (b == 88 && c == 99),
                198 => b == 18 || b == 19 || (b == 51 && c == 100),
                203 => b == 0 && c == 113,
                _ => false,
            };
            !special
        }
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// Only what is handed out to the world, and none of the ways to write a v4 address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, third, fourth, fifth, sixth, seventh, eighth] = address.segments();
    if [first, second, third, fourth, fifth, sixth] == [0x64, 0xff9b, 0, 0, 0, 0] {
        // Translated to v4 on its way.
        let [a, b] = seventh.to_be_bytes();
        let [c, d] = eighth.to_be_bytes();
        return is_public(IpAddr::from([a, b, c, d]));
    }
    let global = first & 0xe000 == 0x2000;
    let special = match first {
        0x2001 => second < 0x200 || second == 0xdb8, // protocols' own (Teredo among them), documentation
        0x2002 => true,                              // holds a v4 address
        0x3fff => second < 0x1000,                   // documentation
        _ => false,
    };
    global && !special
}

/// A client for an address that the operator configured: no guard judges where it goes.
pub fn operators_client(timeout: Duration) -> Result<reqwest::Client, String> {
    let building = reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("holdline/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout);
    building.build().map_err(|error| format!("no HTTP client: {error}"))
}

/// TLS as everybody here speaks it: the system's own trust, one provider of cryptography.
pub(crate) fn tls() -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|building| building.with_platform_verifier())
        .map_err(|error| format!("no TLS: {error}"))?;
    Ok(config.with_no_client_auth())
}

fn read_url(text: &str) -> Result<Url, HttpError> {
    let invalid = |why: String| HttpError::new(ErrorClass::Invalid, why);
    let url =
        Url::parse(text).map_err(|error| invalid(format!("expected a URL, got something else: {error}")))?;
    match url.scheme() {
        "http" | "https" if url.host().is_some() => Ok(url),
        other => Err(invalid(format!("expected a URL that begins with http:// or https://, got {other}:"))),
    }
}

fn read_headers(given: &[(String, String)]) -> Result<HeaderMap, HttpError> {
    let mut headers = HeaderMap::new();
    for (name, value) in given {
        let invalid = || HttpError::new(ErrorClass::Invalid, format!("{name:?} is no usable header"));
        let read = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        // How long the body is says whoever sends it.
        if read == CONTENT_LENGTH || read == TRANSFER_ENCODING {
            return Err(invalid());
        }
        headers.append(read, HeaderValue::from_str(value).map_err(|_| invalid())?);
    }
    Ok(headers)
}

/// Where to ask instead, if the answer says so.
fn redirected(url: &Url, response: &reqwest::Response) -> Result<Option<Url>, HttpError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(LOCATION) else { return Ok(None) };
    let next = location.to_str().ok().and_then(|location| url.join(location).ok());
    match next.map(|next| read_url(next.as_str())) {
        Some(Ok(next)) => Ok(Some(next)),
        _ => {
            let message = format!("{} redirects to what is no http(s) URL", shown(url));
            Err(HttpError::new(ErrorClass::Rejected, message))
        }
    }
}

async fn read_answer(
    mut response: reqwest::Response,
    url: Url,
    bytes_max: usize,
) -> Result<HttpAnswer, HttpError> {
    let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&shown(&url), &error))? {
        if body.len() + chunk.len() > bytes_max {
            let message = format!("{} answers with more than {bytes_max} bytes", shown(&url));
            // As an output that is too large for a variable: what came can't be used, and nobody refused anything.
            return Err(HttpError::new(ErrorClass::Invalid, message));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpAnswer { status, headers, body, url })
}

/// An address in a message: without user, password and query, which may be secrets.
pub(super) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// The sentence of a failed exchange; the chain of causes holds the useful part.
fn failed(host: &str, error: &reqwest::Error) -> HttpError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut last = String::new();
    while let Some(here) = cause {
        if let Some(refused) = here.downcast_ref::<Refused>() {
            return refused.clone().into();
        }
        last = here.to_string();
        cause = here.source();
    }
    let class = if error.is_builder() { ErrorClass::Invalid } else { ErrorClass::Unavailable };
    HttpError::new(class, format!("{host} cannot be reached: {last}"))
}

#[cfg(test)]
mod tests;
