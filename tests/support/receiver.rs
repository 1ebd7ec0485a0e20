//! Somebody who receives webhooks, answers what a test wants, and remembers what came.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Nothing that a test waits for takes longer, unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// One request, and the status that it was answered with.
#[derive(Debug, Clone)]
pub struct Received {
    pub path: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub answered: u16,
}

#[derive(Default)]
struct Kept {
    received: Vec<Received>,
    /// What is answered next; 204 when nothing is left.
    answers: Vec<u16>,
    always: Option<u16>,
}

pub struct Receiver {
    pub origin: String,
    kept: Arc<(Mutex<Kept>, Condvar)>,
}

impl Received {
    pub fn event(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Type, subject and number.
    pub fn told(&self) -> (String, String, u64) {
        let event = self.event();
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        (text("type"), text("subject"), text("sequence").parse().unwrap_or_default())
    }

    /// As Standard Webhooks says, with nothing of the server's own code.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let signed =
            format!("{}.{}.{}", self.headers["webhook-id"], self.headers["webhook-timestamp"], self.body);
        let wanted = format!("v1,{}", STANDARD.encode(hmac(&key, signed.as_bytes())));
        self.headers.get("webhook-signature").is_some_and(|given| given.split(' ').any(|one| one == wanted))
    }
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

impl Receiver {
    /// Listens for as long as the process lives.
    pub fn start() -> Receiver {
        Receiver::at("127.0.0.1:0")
    }

    pub fn at(address: &str) -> Receiver {
        let listener = TcpListener::bind(address).unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let kept: Arc<(Mutex<Kept>, Condvar)> = Arc::default();
        let keeping = kept.clone();
        thread::spawn(move || {
            for asked in listener.incoming().flatten() {
                let kept = keeping.clone();
                thread::spawn(move || answer(asked, &kept));
            }
        });
        Receiver { origin, kept }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The next requests are answered like this, one by one.
    pub fn answers(&self, statuses: &[u16]) {
        self.kept.0.lock().unwrap().answers.extend(statuses.iter().rev());
    }

    /// All requests are answered like this from now on.
    pub fn always(&self, status: Option<u16>) {
        self.kept.0.lock().unwrap().always = status;
    }

    pub fn received(&self) -> Vec<Received> {
        self.kept.0.lock().unwrap().received.clone()
    }

    /// Waits until `holds` of what came.
    pub fn until(&self, what: &str, holds: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let (kept, bell) = &*self.kept;
        let waiting = bell.wait_timeout_while(kept.lock().unwrap(), PATIENCE, |kept| !holds(&kept.received));
        let (kept, timeout) = waiting.unwrap();
        assert!(!timeout.timed_out(), "{what}, got {:#?}", kept.received);
        kept.received.clone()
    }
}

/// One request after the other, until the connection ends.
fn answer(asked: TcpStream, kept: &(Mutex<Kept>, Condvar)) -> Option<()> {
    let mut from = BufReader::new(asked.try_clone().ok()?);
    let mut to = asked;
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut header = String::new();
            from.read_line(&mut header).ok().filter(|read| *read > 0)?;
            let Some((name, value)) = header.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        from.read_exact(&mut body).ok()?;
        let status = {
            let mut kept = kept.0.lock().unwrap();
            let next = kept.answers.pop();
            let status = next.or(kept.always).unwrap_or(204);
            let body = String::from_utf8(body).unwrap();
            kept.received.push(Received { path, headers, body, answered: status });
            status
        };
        kept.1.notify_all();
        write!(to, "HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}
