//! `Idempotency-Key`: a request that changes something, sent again, gets the answer that it got, and has no further
//! effect.
//!
//! Answers are kept in memory for a day, bounded in number and bytes: a restart forgets them. What must hold beyond a
//! restart is in the journal: a call that is placed, an activeflow that is begun or retried has an id that comes of the
//! key, and what is done to one that exists is written with a [`Stamp`]. It is then answered with what is so by now.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::body::to_bytes;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use holdline_core::once::{KEPT_MS, Stamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::web::problem::{Code, Problem};

/// What was answered to whom.
#[derive(Default)]
pub struct Ledger {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    slots: BTreeMap<[u8; 32], Arc<Slot>>,
    /// By age: when each was asked first.
    order: VecDeque<(u64, [u8; 32])>,
    bytes: usize,
}

/// One request. Its twin waits at the lock until the first one is answered.
struct Slot {
    body: [u8; 32],
    answer: tokio::sync::Mutex<Option<Answer>>,
}

#[derive(Clone)]
struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

/// What makes two requests the same.
pub struct Entry {
    name: [u8; 32],
    body: [u8; 32],
}

impl Entry {
    /// A key counts for one token, method and path.
    pub fn of(token: &[u8; 32], method: &str, path: &str, key: &str, body: &[u8]) -> Entry {
        let mut name = Sha256::new();
        for part in [token.as_slice(), method.as_bytes(), path.as_bytes(), key.as_bytes()] {
            name.update((part.len() as u64).to_be_bytes());
            name.update(part);
        }
        Entry { name: name.finalize().into(), body: Sha256::digest(body).into() }
    }

    /// The same for the journal, where every byte is kept for long.
    pub fn stamp(&self) -> Stamp {
        Stamp { key: short(self.name), body: short(self.body) }
    }
}

/// What a key begins has an id that comes of the key: a second request finds it, though the first answer is forgotten.
pub fn derived(token: &[u8; 32], path: &str, key: &str) -> Uuid {
    short(Entry::of(token, "begun", path, key, &[]).name)
}

/// The beginning of a hash, in the layout of every other id, and no time in it.
fn short(hash: [u8; 32]) -> Uuid {
    let mut bytes = [0; 16];
    for (byte, hashed) in bytes.iter_mut().zip(hash) {
        *byte = hashed;
    }
    uuid::Builder::from_bytes(bytes)
        .with_version(uuid::Version::SortRand)
        .with_variant(uuid::Variant::RFC4122)
        .into_uuid()
}

/// The request's key, if it has one.
pub fn key_of(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let mut values = request.headers().get_all("idempotency-key");
    let Some(first) = values.next() else { return Ok(None) };
    let key = first.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY_CHARS_MAX);
    match key {
        Some(key) if values.next().is_none() => Ok(Some(key.to_owned())),
        _ => Err(Problem::invalid(format!(
            "Idempotency-Key: expected one of 1 to {KEY_CHARS_MAX} visible characters"
        ))),
    }
}

impl Ledger {
    /// Answers that are kept.
    pub fn count(&self) -> usize {
        self.kept().slots.len()
    }

    /// The answer that was given before, or else the one that `make` makes. What failed on our side is made anew.
    pub async fn once(
        &self,
        now_ms: u64,
        entry: Entry,
        make: impl Future<Output = HttpResponse>,
    ) -> Result<HttpResponse, Problem> {
        let slot = self.slot(now_ms, &entry);
        if slot.body != entry.body {
            return Err(Problem::new(
                Code::IdempotencyKeyReused,
                "the key was used for a request with another body",
            ));
        }
        let mut answer = slot.answer.lock().await;
        if let Some(answer) = &*answer {
            return Ok(answer.to_response());
        }
        let made = Answer::of(make.await).await?;
        if !made.status.is_server_error() {
            *answer = Some(made.clone());
            self.note(made.body.len());
        }
        Ok(made.to_response())
    }

    fn slot(&self, now_ms: u64, entry: &Entry) -> Arc<Slot> {
        let mut kept = self.kept();
        kept.forget(now_ms);
        if let Some(slot) = kept.slots.get(&entry.name) {
            return slot.clone();
        }
        let slot = Arc::new(Slot { body: entry.body, answer: tokio::sync::Mutex::new(None) });
        kept.slots.insert(entry.name, slot.clone());
        kept.order.push_back((now_ms, entry.name));
        slot
    }

    fn note(&self, bytes: usize) {
        self.kept().bytes += bytes;
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn forget(&mut self, now_ms: u64) {
        while let Some((asked_ms, name)) = self.order.front().copied() {
            let too_old = now_ms.saturating_sub(asked_ms) >= KEPT_MS;
            if !too_old && self.order.len() < ANSWERS_MAX && self.bytes < ANSWERS_BYTES_MAX {
                return;
            }
            self.order.pop_front();
            if let Some(slot) = self.slots.remove(&name)
                && let Ok(answer) = slot.answer.try_lock()
            {
                let bytes = answer.as_ref().map_or(0, |answer| answer.body.len());
                self.bytes = self.bytes.saturating_sub(bytes);
            }
        }
    }
}

impl Answer {
    async fn of(response: HttpResponse) -> Result<Answer, Problem> {
        let status = response.status();
        let headers = response.headers().iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        let body = to_bytes(response.into_body())
            .await
            .map_err(|_| Problem::new(Code::Internal, "the answer could not be made"))?;
        Ok(Answer { status, headers, body })
    }

    fn to_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            response.append_header((name.clone(), value.clone()));
        }
        response.body(self.body.clone())
    }
}

const KEY_CHARS_MAX: usize = 255;
/// The oldest give way first: a busy day of one caller must not fill the memory.
pub const ANSWERS_MAX: usize = 10_000;
const ANSWERS_BYTES_MAX: usize = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn entry(key: &str, body: &str) -> Entry {
        Entry::of(&[0; 32], "POST", "/x", key, body.as_bytes())
    }

    #[actix_web::test]
    async fn twins_have_one_effect_and_one_answer_for_a_day() {
        let (ledger, effects) = (Ledger::default(), Cell::new(0));
        let ask = async |now_ms, key: &str, body: &str, status: u16| {
            let make = async {
                tokio::task::yield_now().await;
                effects.set(effects.get() + 1);
                HttpResponse::build(StatusCode::from_u16(status).unwrap()).body(effects.get().to_string())
            };
            match ledger.once(now_ms, entry(key, body), make).await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    (status, String::from_utf8(to_bytes(answer.into_body()).await.unwrap().to_vec()).unwrap())
                }
                Err(problem) => (problem.code().status().as_u16(), problem.code().word().to_owned()),
            }
        };
        let (first, twin) = futures::join!(ask(0, "a", "{}", 201), ask(0, "a", "{}", 201));
        assert_eq!((first, twin), ((201, "1".into()), (201, "1".into())));
        assert_eq!(ask(1, "a", "{ }", 201).await, (422, "idempotency_key_reused".into()));
        assert_eq!(ask(1, "b", "{}", 409).await, (409, "2".into()));
        assert_eq!(ask(2, "b", "{}", 200).await, (409, "2".into()), "a refusal is an answer");
        assert_eq!(ask(3, "c", "{}", 503).await, (503, "3".into()));
        assert_eq!(ask(4, "c", "{}", 200).await, (200, "4".into()), "our own failure is not");
        assert_eq!(ask(KEPT_MS, "a", "{ }", 201).await, (201, "5".into()), "after a day it is forgotten");
        for number in 0..ANSWERS_MAX {
            ask(KEPT_MS, &number.to_string(), "", 200).await;
        }
        assert!(ledger.kept().slots.len() <= ANSWERS_MAX && ledger.kept().order.len() <= ANSWERS_MAX);
    }
}
