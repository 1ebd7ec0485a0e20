//! Salesforce's tokens: configured, or asked for by client credentials and kept until they are refused.

use std::time::Duration;

use holdline_core::http::NoReply;
use holdline_core::scene::ErrorClass;
use tokio::sync::Mutex;
use url::form_urlencoded;

use super::{failed, missing, no_reply};
use crate::adapter::http::{HttpPort, HttpRequest, Method, Trust};
use crate::config;

/// Of the answer that holds a token.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

pub struct Salesforce {
    config: config::Salesforce,
    /// Asked for; one asks while the others wait.
    asked: Mutex<Option<String>>,
}

impl Salesforce {
    pub fn new(config: &config::Salesforce) -> Salesforce {
        Salesforce { config: config.clone(), asked: Mutex::default() }
    }

    pub fn instance(&self) -> Result<&str, NoReply> {
        self.config.instance_url.as_deref().ok_or_else(|| missing("[salesforce] instance_url"))
    }

    pub async fn token(&self, http: &HttpPort, timeout: Duration) -> Result<String, NoReply> {
        let instance = self.instance()?;
        let config = &self.config;
        if !config.token.is_empty() {
            return Ok(config.token.expose().to_owned());
        }
        if config.client_id.is_empty() || config.client_secret.is_empty() {
            return Err(missing("[salesforce] token, or client_id and client_secret"));
        }
        let mut asked = self.asked.lock().await;
        if let Some(token) = asked.as_ref() {
            return Ok(token.clone());
        }
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", &config.client_id)
            .append_pair("client_secret", config.client_secret.expose())
            .finish();
        let login = config.login_url.as_deref().unwrap_or(instance);
        let request = HttpRequest {
            method: Method::POST,
            url: format!("{login}/services/oauth2/token"),
            headers: vec![("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
            body: Some(form.into_bytes()),
            timeout,
            bytes_max: TOKEN_BYTES_MAX,
            trust: Trust::Operator,
        };
        let answer = http.send(request).await.map_err(no_reply)?;
        if let Some(error) = answer.error() {
            return Err(no_reply(error));
        }
        // Not quoted: what is wrong with it may still be a token.
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = body.get("access_token").and_then(serde_json::Value::as_str);
        let token = token.filter(|token| !token.is_empty()).ok_or_else(|| {
            failed(ErrorClass::Rejected, "the login of Salesforce answered without an access_token")
        })?;
        Ok(asked.insert(token.to_owned()).clone())
    }

    /// The token was refused; false when there is no other to be had.
    pub async fn forget(&self) -> bool {
        self.asked.lock().await.take().is_some()
    }
}
