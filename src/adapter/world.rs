//! Other systems, made real: requests by the guarded HTTP port, mails by SMTP.
//!
//! The only place that knows the operator's keys and the workflows' secrets. They are put in at the last moment, and
//! taken out of whatever comes back before anybody else sees it.

mod mail;
mod salesforce;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use holdline_actors::port::http::World;
use holdline_core::event::Hook;
use holdline_core::http::{Body, Endpoint, Errand, HttpCall, HttpReply, NoReply, Outcome, ReplyBody, sign};
use holdline_core::scene::ErrorClass;
use holdline_core::secret::{self, Masker};
use reqwest::header::CONTENT_TYPE;
use url::Url;
use url::form_urlencoded;

use self::mail::MailPort;
use self::salesforce::Salesforce;
use super::http::{HttpAnswer, HttpError, HttpPort, HttpRequest, Method, Trust};
use super::services::unknown_service;
use crate::config::{Config, Secret};

pub struct OtherSystems {
    inner: Arc<Inner>,
}

struct Inner {
    http: Arc<HttpPort>,
    vault: Vault,
    openai: (String, Secret),
    twilio: Option<Account>,
    salesforce: Salesforce,
    signing: Option<Secret>,
    /// Receivers of events, by the id that deliveries know them by.
    webhooks: BTreeMap<String, (String, Option<Secret>)>,
    mail: MailPort,
}

/// What workflows may use, and how all that is secret is found again.
struct Vault {
    secrets: BTreeMap<String, Secret>,
    masker: Masker,
}

/// The account at the phone network.
struct Account {
    /// Everything of it lies below.
    url: String,
    authorization: String,
}

impl OtherSystems {
    /// `recordings` is where attachments that are recordings lie.
    pub fn new(config: &Config, http: Arc<HttpPort>, recordings: PathBuf) -> OtherSystems {
        let twilio = config.twilio.credentials().map(|(user, password)| {
            let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
            let url = format!("{}/2010-04-01/Accounts/{}", config.twilio.api_url, config.twilio.account_sid);
            Account { url, authorization: format!("Basic {pair}") }
        });
        let vault = Vault { secrets: config.secrets.clone(), masker: masker(config, twilio.as_ref()) };
        let inner = Inner {
            http,
            vault,
            openai: (config.openai.base_url.clone(), config.openai.api_key.clone()),
            twilio,
            salesforce: Salesforce::new(&config.salesforce),
            signing: config.events.secret.clone(),
            webhooks: webhooks(config),
            mail: MailPort::new(&config.smtp, recordings),
        };
        OtherSystems { inner: Arc::new(inner) }
    }
}

fn webhooks(config: &Config) -> BTreeMap<String, (String, Option<Secret>)> {
    let webhooks = config.events.webhooks.iter();
    webhooks
        .map(|webhook| (Hook::id_of(&webhook.url), (webhook.url.clone(), webhook.secret.clone())))
        .collect()
}

/// Every value in the configuration that nobody may see.
fn masker(config: &Config, twilio: Option<&Account>) -> Masker {
    let mut secrets: Vec<&str> = config.secrets.values().map(Secret::expose).collect();
    secrets.extend(config.twilio.auth_tokens.iter().map(Secret::expose));
    let salesforce = [&config.salesforce.client_secret, &config.salesforce.token];
    let keys = [&config.twilio.api_secret, &config.openai.api_key, &config.smtp.url];
    secrets.extend(salesforce.into_iter().chain(keys).chain(&config.events.secret).map(Secret::expose));
    secrets
        .extend(config.events.webhooks.iter().filter_map(|webhook| Some(webhook.secret.as_ref()?.expose())));
    secrets.extend(twilio.and_then(|account| account.authorization.strip_prefix("Basic ")));
    let password =
        Url::parse(config.smtp.url.expose()).ok().and_then(|url| url.password().map(str::to_owned));
    Masker::new(secrets.into_iter().chain(password.as_deref()))
}

impl World for OtherSystems {
    fn perform(&self, errand: Errand) -> BoxFuture<'static, Outcome> {
        let inner = self.inner.clone();
        Box::pin(async move {
            let outcome = match errand {
                Errand::Http(call) => {
                    let receiver = inner.receiver(&call.endpoint);
                    let outcome = inner.send(*call).await;
                    outcome.map_err(|error| without_path(error, receiver.as_ref()))
                }
                Errand::Mail(mail) => inner.mail.send(*mail, &inner.vault).await,
                Errand::Service(call) => Err(unknown_service(&call.service)),
            };
            outcome.map_err(|error| NoReply {
                message: inner.vault.masker.text(&error.message).into_owned(),
                ..error
            })
        })
    }
}

/// A path may be all that keeps a receiver of events from being written to by anybody.
fn without_path(error: NoReply, receiver: Option<&(String, String)>) -> NoReply {
    match receiver {
        Some((address, host)) => NoReply { message: error.message.replace(address, host), ..error },
        None => error,
    }
}

impl Inner {
    /// The address of a receiver of events as an error would show it, and what is shown instead.
    fn receiver(&self, endpoint: &Endpoint) -> Option<(String, String)> {
        let Endpoint::Webhook { id, host } = endpoint else { return None };
        let (url, _) = self.webhooks.get(id)?;
        Some((super::http::shown(&Url::parse(url).ok()?), host.clone()))
    }

    async fn send(&self, call: HttpCall) -> Outcome {
        let HttpCall { timeout_ms, as_text, .. } = call;
        let timeout = Duration::from_millis(timeout_ms);
        let asking = async {
            let mut token = self.token_for(&call.endpoint, timeout).await?;
            let mut answer =
                self.http.send(self.request(&call, token.as_deref())?).await.map_err(no_reply)?;
            // A token may end before its time; a new one is asked for once.
            if answer.status.as_u16() == 401 && token.is_some() && self.salesforce.forget().await {
                token = self.token_for(&call.endpoint, timeout).await?;
                answer = self.http.send(self.request(&call, token.as_deref())?).await.map_err(no_reply)?;
            }
            let own = Masker::new(token.as_deref());
            Ok(self.reply(answer, as_text, &own))
        };
        match tokio::time::timeout(timeout, asking).await {
            Ok(outcome) => outcome,
            Err(_) => Err(failed(ErrorClass::Timeout, format!("no answer within {timeout:?}"))),
        }
    }

    async fn token_for(&self, endpoint: &Endpoint, timeout: Duration) -> Result<Option<String>, NoReply> {
        match endpoint {
            Endpoint::Salesforce(_) => self.salesforce.token(&self.http, timeout).await.map(Some),
            _ => Ok(None),
        }
    }

    /// The request with everything in it that nobody else knows.
    fn request(&self, call: &HttpCall, token: Option<&str>) -> Result<HttpRequest, NoReply> {
        let vault = &self.vault;
        let mut headers = Vec::new();
        for (name, value) in &call.headers {
            headers.push((vault.text(name)?, vault.text(value)?));
        }
        let mut authorize = |value: String| headers.push(("Authorization".to_owned(), value));
        let (url, trust) = match &call.endpoint {
            Endpoint::Url(url) => (vault.text(url)?, Trust::Workflow),
            Endpoint::Operator(url) => (url.clone(), Trust::Operator),
            Endpoint::Webhook { id, host } => match self.webhooks.get(id) {
                Some((url, _)) => (url.clone(), Trust::Operator),
                None => {
                    let gone = format!("no address at {host} is among [events] webhooks any more");
                    return Err(failed(ErrorClass::Invalid, gone));
                }
            },
            Endpoint::OpenAi(path) => {
                let (base, key) = &self.openai;
                if !key.is_empty() {
                    authorize(format!("Bearer {}", key.expose()));
                }
                (format!("{base}{path}"), Trust::Operator)
            }
            Endpoint::Twilio(path) => {
                let account = self.twilio.as_ref().ok_or_else(|| {
                    missing("[twilio] account_sid with auth_tokens, or with api_key and api_secret")
                })?;
                authorize(account.authorization.clone());
                (format!("{}{path}", account.url), Trust::Operator)
            }
            Endpoint::Salesforce(path) => {
                authorize(format!("Bearer {}", token.unwrap_or_default()));
                (format!("{}{path}", self.salesforce.instance()?), Trust::Operator)
            }
        };
        let url = with_query(url, &call.query, vault)?;
        let has = |headers: &[(String, String)], name: &str| {
            headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        let (content_type, body) = body(&call.body, vault)?;
        if let Some(content_type) = content_type.filter(|_| !has(&headers, CONTENT_TYPE.as_str())) {
            headers.push(("Content-Type".to_owned(), content_type));
        }
        if let Some(id) = &call.signed_as {
            let own = match &call.endpoint {
                Endpoint::Webhook { id, .. } => self.webhooks.get(id).and_then(|(_, own)| own.as_ref()),
                _ => None,
            };
            headers.extend(self.signed(own, id, body.as_deref().unwrap_or_default()));
        }
        Ok(HttpRequest {
            method: Method::from_bytes(call.method.as_str().as_bytes()).unwrap_or(Method::GET),
            url,
            headers,
            body,
            timeout: Duration::from_millis(call.timeout_ms),
            bytes_max: call.max_bytes,
            trust,
        })
    }

    /// Without a secret there is no signature; the id still tells a second time from the first.
    fn signed(&self, own: Option<&Secret>, id: &str, body: &[u8]) -> Vec<(String, String)> {
        let seconds = unix_seconds();
        let secret = own.or(self.signing.as_ref()).map(Secret::expose);
        match secret.and_then(|secret| sign::headers(secret, id, seconds, body)) {
            Some(headers) => headers.into(),
            None => vec![
                ("webhook-id".to_owned(), id.to_owned()),
                ("webhook-timestamp".to_owned(), seconds.to_string()),
            ],
        }
    }

    fn reply(&self, answer: HttpAnswer, as_text: bool, own: &Masker) -> HttpReply {
        let mask = |text: &str| own.text(&self.vault.masker.text(text)).into_owned();
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &answer.headers {
            let value = mask(&String::from_utf8_lossy(value.as_bytes()));
            headers
                .entry(mask(name.as_str()))
                .and_modify(|known| {
                    known.push_str(", ");
                    known.push_str(&value);
                })
                .or_insert(value);
        }
        let json = (!as_text).then(|| serde_json::from_slice(&answer.body).ok()).flatten();
        let body = match json {
            Some(value) => ReplyBody::Json(own.value(&self.vault.masker.value(&value))),
            None => ReplyBody::Text(mask(&String::from_utf8_lossy(&answer.body))),
        };
        HttpReply { status: answer.status.as_u16(), headers, body }
    }
}

impl Vault {
    fn secret(&self, name: &str) -> Option<Cow<'_, str>> {
        self.secrets.get(name).map(|secret| Cow::Borrowed(secret.expose()))
    }

    /// A text with the values of the secrets that it names.
    fn text(&self, text: &str) -> Result<String, NoReply> {
        secret::resolved(text, |name| self.secret(name)).map_err(unknown)
    }
}

fn with_query(url: String, query: &[(String, String)], vault: &Vault) -> Result<String, NoReply> {
    if query.is_empty() {
        return Ok(url);
    }
    let mut url =
        Url::parse(&url).map_err(|error| failed(ErrorClass::Invalid, format!("expected a URL: {error}")))?;
    for (name, value) in query {
        url.query_pairs_mut().append_pair(&vault.text(name)?, &vault.text(value)?);
    }
    Ok(url.into())
}

/// The body's bytes, and what they are.
fn body(body: &Body, vault: &Vault) -> Result<(Option<String>, Option<Vec<u8>>), NoReply> {
    let (content_type, text) = match body {
        Body::Empty => return Ok((None, None)),
        Body::Json(value) => {
            let value = secret::resolved_value(value, |name| vault.secret(name)).map_err(unknown)?;
            ("application/json".to_owned(), value.to_string())
        }
        Body::Form(fields) => {
            let mut form = form_urlencoded::Serializer::new(String::new());
            for (name, value) in fields {
                form.append_pair(&vault.text(name)?, &vault.text(value)?);
            }
            ("application/x-www-form-urlencoded".to_owned(), form.finish())
        }
        Body::Text { content_type, text } => (content_type.clone(), vault.text(text)?),
    };
    Ok((Some(content_type), Some(text.into_bytes())))
}

fn unknown(error: secret::Unknown) -> NoReply {
    failed(ErrorClass::Invalid, error.to_string())
}

fn no_reply(error: HttpError) -> NoReply {
    failed(error.class, error.message)
}

fn failed(class: ErrorClass, message: impl Into<String>) -> NoReply {
    NoReply { class, message: message.into() }
}

/// The operator has to say something first.
fn missing(what: &str) -> NoReply {
    failed(ErrorClass::Invalid, format!("this needs {what} in the configuration"))
}

/// The receiver compares it with its own clock, so it is the wall's and not the house's.
#[allow(clippy::disallowed_methods)] // a signature's time is no part of any decision
fn unix_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests;
