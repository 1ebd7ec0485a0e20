//! One request, looked at closely: its status, its certificate, whether it became a WebSocket, or why nothing came.

use std::error::Error as _;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use reqwest::tls::TlsInfo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::adapter::http::tls;

/// Whoever looks. Cheap to clone.
#[derive(Clone)]
pub struct Eye {
    client: reqwest::Client,
}

/// An answer.
#[derive(Debug)]
pub struct Seen {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
    /// The server's own certificate, in DER.
    pub certificate: Option<Vec<u8>>,
}

/// No answer.
#[derive(Debug, thiserror::Error)]
pub enum Unseen {
    #[error("its name is not known ({0})")]
    NoName(String),
    #[error("nobody listens there")]
    Refused,
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("{0}")]
    Certificate(BadCertificate),
    #[error("{0}")]
    Other(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCertificate {
    #[error("its certificate has expired")]
    Expired,
    #[error("its certificate is not valid yet")]
    NotYet,
    #[error("its certificate is for another name")]
    OtherName,
    #[error(
        "its certificate was signed by nobody that this machine trusts (self-signed, or without its chain)"
    )]
    UnknownIssuer,
    #[error("its certificate is refused: {0}")]
    Other(String),
}

/// What became of the wish for a WebSocket.
#[derive(Debug)]
pub enum Upgraded {
    /// And the close that was sent was answered.
    Open,
    /// 101, and then nothing came back.
    Mute,
    /// Another answer than 101.
    Refused(Seen),
}

impl Eye {
    /// `here` goes past every proxy of the environment: it looks at this machine.
    pub fn new(here: bool) -> Result<Eye, String> {
        let mut building = reqwest::Client::builder()
            .tls_backend_preconfigured(tls()?)
            .tls_info(true)
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .user_agent(concat!("holdline-doctor/", env!("CARGO_PKG_VERSION")));
        if here {
            building = building.no_proxy();
        }
        let client = building.build().map_err(|error| format!("no HTTP client: {error}"))?;
        Ok(Eye { client })
    }

    pub async fn get(&self, url: &str) -> Result<Seen, Unseen> {
        seen(self.client.get(url).send().await.map_err(unseen)?).await
    }

    pub async fn get_with(&self, url: &str, header: (HeaderName, &str)) -> Result<Seen, Unseen> {
        seen(self.client.get(url).header(header.0, header.1).send().await.map_err(unseen)?).await
    }

    /// A form, with the network's signature if there is one.
    pub async fn post(&self, url: &str, form: &str, signature: Option<&str>) -> Result<Seen, Unseen> {
        let mut request = self.client.post(url).body(form.to_owned());
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(signature) = signature {
            request = request.header(SIGNATURE, signature);
        }
        seen(request.send().await.map_err(unseen)?).await
    }

    /// Asks for a WebSocket, and closes it at once.
    pub async fn upgrade(&self, url: &str, signature: Option<&str>) -> Result<Upgraded, Unseen> {
        let mut request = self
            .client
            .get(url)
            .header(CONNECTION, HeaderValue::from_static("Upgrade"))
            .header(UPGRADE, HeaderValue::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", STANDARD.encode([7; 16]));
        if let Some(signature) = signature {
            request = request.header(SIGNATURE, signature);
        }
        let answer = request.send().await.map_err(unseen)?;
        if answer.status() != 101 {
            return Ok(Upgraded::Refused(seen(answer).await?));
        }
        let mut socket = answer.upgrade().await.map_err(unseen)?;
        let closing = async {
            socket.write_all(&CLOSE).await.ok()?;
            let mut head = [0; 2];
            socket.read_exact(&mut head).await.ok()
        };
        match tokio::time::timeout(PATIENCE, closing).await {
            Ok(Some(_)) => Ok(Upgraded::Open),
            _ => Ok(Upgraded::Mute),
        }
    }
}

async fn seen(mut answer: reqwest::Response) -> Result<Seen, Unseen> {
    let status = answer.status().as_u16();
    let headers = answer.headers().clone();
    let certificate =
        answer.extensions().get::<TlsInfo>().and_then(|info| info.peer_certificate()).map(<[u8]>::to_vec);
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(unseen)? {
        body.extend_from_slice(&piece);
        if body.len() > BODY_BYTES_MAX {
            break;
        }
    }
    Ok(Seen { status, headers, body: String::from_utf8_lossy(&body).into_owned(), certificate })
}

/// The innermost reason: the outer ones only say that there was none.
fn unseen(error: reqwest::Error) -> Unseen {
    if error.is_timeout() {
        return Unseen::Silent;
    }
    let mut innermost = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        innermost = error.to_string();
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            if io.kind() == std::io::ErrorKind::ConnectionRefused {
                return Unseen::Refused;
            }
            if let Some(tls) = said_by_tls(io) {
                return of_tls(tls);
            }
        }
        if innermost.contains("lookup address information") || innermost.contains("dns error") {
            return Unseen::NoName(innermost);
        }
        source = error.source();
    }
    Unseen::Other(innermost)
}

/// An error of TLS is wrapped in one of input and output, and that one, on its way through the client, in a second.
fn said_by_tls(error: &std::io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| said_by_tls(inner.downcast_ref::<std::io::Error>()?))
}

fn of_tls(error: &rustls::Error) -> Unseen {
    use rustls::CertificateError as Bad;
    let rustls::Error::InvalidCertificate(bad) = error else { return Unseen::Other(error.to_string()) };
    Unseen::Certificate(match bad {
        Bad::Expired | Bad::ExpiredContext { .. } => BadCertificate::Expired,
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => BadCertificate::NotYet,
        Bad::NotValidForName | Bad::NotValidForNameContext { .. } => BadCertificate::OtherName,
        Bad::UnknownIssuer => BadCertificate::UnknownIssuer,
        // What somebody made for himself is often marked as an authority's own.
        other if other.to_string().contains("CaUsedAsEndEntity") => BadCertificate::UnknownIssuer,
        other => BadCertificate::Other(other.to_string()),
    })
}

pub const SIGNATURE: HeaderName = HeaderName::from_static("x-twilio-signature");
/// A person waits for a dozen of these.
const PATIENCE: Duration = Duration::from_secs(5);
/// Enough of any page to say what it is.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// Close, 1000, masked with zeros.
const CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
