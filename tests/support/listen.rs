//! Listens to the server's events, as a dashboard does.

use std::time::Duration;

use serde_json::Value;

/// Nothing that a test waits for takes longer, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Ear {
    answer: reqwest::Response,
    read: String,
}

/// One event as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    pub id: u64,
    pub event: String,
    pub data: Value,
}

impl Heard {
    pub fn subject(&self) -> &str {
        self.data["subject"].as_str().unwrap_or_default()
    }

    /// Its number within the subject.
    pub fn sequence(&self) -> u64 {
        self.data["sequence"].as_str().unwrap_or_default().parse().unwrap_or_default()
    }
}

impl Ear {
    /// `query` begins with `?`, or is empty. Listens when this returns.
    pub async fn open(control: &str, query: &str, last: Option<u64>) -> Ear {
        let answer = Ear::ask(control, query, last).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Ear { answer, read: String::new() }
    }

    pub async fn ask(control: &str, query: &str, last: Option<u64>) -> reqwest::Response {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.get(format!("{control}/v1/events{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        tokio::time::timeout(PATIENCE, request.send()).await.unwrap().unwrap()
    }

    /// The next event; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<Heard> {
        loop {
            while let Some((block, rest)) = self.read.split_once("\n\n") {
                let heard = heard(block);
                self.read = rest.to_owned();
                if heard.is_some() {
                    return heard;
                }
            }
            let piece = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("news");
            self.read.push_str(std::str::from_utf8(&piece.ok()??).unwrap());
        }
    }

    /// All that comes until one of this type and subject has come.
    pub async fn until(&mut self, event: &str, subject: &str) -> Vec<Heard> {
        let mut all = Vec::new();
        loop {
            let heard = self.next().await.unwrap_or_else(|| panic!("no {event} of {subject} in {all:#?}"));
            let is_last = heard.event == event && heard.subject() == subject;
            all.push(heard);
            if is_last {
                return all;
            }
        }
    }
}

/// Comments and settings are no events.
fn heard(block: &str) -> Option<Heard> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let data = field("data")?;
    Some(Heard {
        id: field("id").unwrap().parse().unwrap(),
        event: field("event").unwrap().to_owned(),
        data: serde_json::from_str(data).unwrap(),
    })
}
