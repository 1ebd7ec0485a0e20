//! Mails, handed to the configured server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use holdline_core::http::{Attachment, Content, HttpReply, Mail, NoReply, Outcome, ReplyBody};
use holdline_core::scene::ErrorClass;
use lettre::message::header::ContentType;
use lettre::message::{self, Mailbox, MultiPart, SinglePart};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::{Vault, failed, missing};
use crate::config;

/// Bytes of one recording that goes with a mail; most servers take no more.
const RECORDING_BYTES_MAX: u64 = 20 * 1024 * 1024;
/// The server has the mail.
const TAKEN: u16 = 250;

pub struct MailPort {
    /// `None` without a configured server; an error when what is configured is none.
    server: Option<Result<AsyncSmtpTransport<Tokio1Executor>, String>>,
    from: String,
    recordings: PathBuf,
}

impl MailPort {
    pub fn new(config: &config::Smtp, recordings: PathBuf) -> MailPort {
        let url = config.url.expose();
        let server = (!url.is_empty()).then(|| {
            AsyncSmtpTransport::<Tokio1Executor>::from_url(url)
                .map(|building| building.build())
                .map_err(|error| format!("[smtp] url is no mail server: {error}"))
        });
        MailPort { server, from: config.from.clone(), recordings }
    }

    pub async fn send(&self, mail: Mail, vault: &Vault) -> Outcome {
        let server = match &self.server {
            Some(Ok(server)) => server,
            Some(Err(error)) => return Err(failed(ErrorClass::Invalid, error.clone())),
            None => return Err(missing("[smtp] url")),
        };
        let timeout = Duration::from_millis(mail.timeout_ms);
        let sending = async {
            let message = self.message(mail, vault).await?;
            server.send(message).await.map_err(|error| {
                let class = match () {
                    () if error.is_permanent() => ErrorClass::Rejected,
                    () if error.is_timeout() => ErrorClass::Timeout,
                    () => ErrorClass::Unavailable,
                };
                failed(class, format!("the mail server did not take it: {error}"))
            })
        };
        match tokio::time::timeout(timeout, sending).await {
            Ok(Ok(_)) => Ok(HttpReply {
                status: TAKEN,
                headers: BTreeMap::new(),
                body: ReplyBody::Text(String::new()),
            }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(failed(
                ErrorClass::Timeout,
                format!("the mail server did not take it within {timeout:?}"),
            )),
        }
    }

    async fn message(&self, mail: Mail, vault: &Vault) -> Result<Message, NoReply> {
        let from: Mailbox = self.from.parse().map_err(|_| missing("a mail address as [smtp] from"))?;
        let to: Mailbox = vault
            .text(&mail.to)?
            .parse()
            .map_err(|error| invalid(format!("a destination is no mail address: {error}")))?;
        let host = from.email.domain().to_owned();
        let building = Message::builder()
            .from(from)
            .to(to)
            .subject(vault.text(&mail.subject)?)
            // The same for every attempt, so that a reader's mailbox can tell.
            .message_id(Some(format!("<{}@{host}>", mail.id)));
        let content = vault.text(&mail.content)?;
        let text = if mail.html { SinglePart::html(content) } else { SinglePart::plain(content) };
        let built = if mail.attachments.is_empty() {
            building.singlepart(text)
        } else {
            let mut parts = MultiPart::mixed().singlepart(text);
            for attachment in mail.attachments {
                parts = parts.singlepart(self.part(attachment, vault).await?);
            }
            building.multipart(parts)
        };
        built.map_err(|error| invalid(format!("no mail can be made of this: {error}")))
    }

    async fn part(&self, attachment: Attachment, vault: &Vault) -> Result<SinglePart, NoReply> {
        let Attachment { name, content_type, content } = attachment;
        let kind = ContentType::parse(&content_type).map_err(|_| {
            invalid(format!("expected a content type such as text/plain, got {content_type:?}"))
        })?;
        let bytes = match content {
            Content::Text(text) => vault.text(&text)?.into_bytes(),
            Content::Base64(text) => STANDARD
                .decode(text.trim())
                .map_err(|error| invalid(format!("attachment {name:?} is no base64: {error}")))?,
            Content::Recording(file) => self.recording(&file).await?,
        };
        Ok(message::Attachment::new(name).body(bytes, kind))
    }

    async fn recording(&self, file: &str) -> Result<Vec<u8>, NoReply> {
        if file.is_empty() || Path::new(file).file_name() != Some(file.as_ref()) {
            return Err(invalid(format!("expected the name of a recording, got {file:?}")));
        }
        let path = self.recordings.join(file);
        let reading = tokio::task::spawn_blocking(move || {
            let bytes = std::fs::metadata(&path)?.len();
            if bytes > RECORDING_BYTES_MAX {
                let why = format!("it has {bytes} bytes, expected at most {RECORDING_BYTES_MAX}");
                return Err(std::io::Error::other(why));
            }
            std::fs::read(&path)
        });
        match reading.await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(invalid(format!("the recording {file:?} can't be sent: {error}"))),
            Err(_) => Err(failed(ErrorClass::Internal, "reading a recording failed")),
        }
    }
}

fn invalid(message: String) -> NoReply {
    failed(ErrorClass::Invalid, message)
}
