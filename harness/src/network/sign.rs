//! The network's own signature over a request, written from its published description.
//!
//! base64(HMAC-SHA1(auth token, URL + every form field as name and value, names in byte order)).
//! The fragment of a URL is never sent and never signed; a GET and a stream upgrade sign their URL alone.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::{Digest, Sha1};

pub const HEADER: &str = "X-Twilio-Signature";

pub type Field = (String, String);

pub fn signature(auth_token: &str, url: &str, form: &[Field]) -> String {
    let url = url.split_once('#').map_or(url, |(before, _)| before);
    // A repeated name counts once per distinct value.
    let mut fields: BTreeMap<&[u8], BTreeSet<&[u8]>> = BTreeMap::new();
    for (name, value) in form {
        fields.entry(name.as_bytes()).or_default().insert(value.as_bytes());
    }
    // HMAC takes a key of any length, so there is no error to hand on.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(auth_token.as_bytes()) else { return String::new() };
    mac.update(url.as_bytes());
    for (name, values) in fields {
        for value in values {
            mac.update(name);
            mac.update(value);
        }
    }
    STANDARD.encode(mac.finalize().into_bytes())
}

/// An identifier of the network's shape: two letters and 32 hexadecimal digits, the same for the same seed.
pub fn sid(prefix: &str, seed: &str) -> String {
    let digest = Sha1::digest(seed.as_bytes());
    digest.iter().take(16).fold(prefix.to_owned(), |sid, byte| format!("{sid}{byte:02x}"))
}
