//! `X-Twilio-Signature`: whether a request is the network's own.
//!
//! The network signs the URL exactly as it asked for it, then the form's fields. What we see of that URL has often
//! been through a proxy, and the network isn't consistent about ports; so each URL is tried in the few spellings that
//! the network is known to sign. A key that doesn't match any of them proves nothing, and the request is forged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// What a request claims, and what it is claimed about.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The URLs that the network may have asked for: more than one only behind a proxy. `wss://…` for an upgrade.
    pub urls: &'a [String],
    pub body: Body<'a>,
    /// `X-Twilio-Signature`
    pub signature: Option<&'a str>,
    /// `X-Twilio-Webhooks-Signature-Settings`
    pub settings: Option<&'a str>,
}

#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// A GET or an upgrade: the URL alone is signed.
    Absent,
    /// The decoded fields are signed after the URL.
    Form(&'a [(String, String)]),
    /// Anything else: the URL must carry the body's hash as `bodySHA256`.
    Raw(&'a [u8]),
}

/// The secrets that we share with the network. Several auth tokens, so that they can be rotated.
#[derive(Clone, Default, PartialEq)]
pub struct Keys {
    pub auth_tokens: Vec<String>,
    /// `webhooks_sharedkey_…` and its secret; an empty name stands for any.
    pub shared_keys: Vec<(String, String)>,
}

impl Keys {
    /// Whether there is nothing to check a signature with. An empty secret is none: anybody could sign with it.
    pub fn is_empty(&self) -> bool {
        self.auth_tokens
            .iter()
            .chain(self.shared_keys.iter().map(|(_, secret)| secret))
            .all(|secret| secret.is_empty())
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<_> = self.shared_keys.iter().map(|(id, _)| id).collect();
        write!(f, "Keys {{ auth_tokens: {} of them, shared_keys: {ids:?} }}", self.auth_tokens.len())
    }
}

/// Not the network's. `tried` are the URL strings that were tried, with everything secret in them masked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}; tried {}", tried.join(" "))]
pub struct Forged {
    pub reason: Reason,
    pub tried: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    #[error("no signature header")]
    NoSignature,
    #[error("a signature that is no base64")]
    NotBase64,
    #[error("the signature fits no key and no spelling of the URL")]
    NoMatch,
    #[error("a body that is no form, and no bodySHA256 in the URL")]
    NoBodyHash,
    #[error("the body is not the one whose bodySHA256 was signed")]
    WrongBodyHash,
    #[error("an algorithm other than HMAC_SHA1 and HMAC_SHA256")]
    UnknownAlgorithm,
    #[error("a shared key that is not configured")]
    UnknownKey,
}

/// Ok when any of the keys signed the request under any known spelling of any of its URLs. Constant time per spelling.
pub fn verify(signed: &Signed<'_>, keys: &Keys) -> Result<(), Forged> {
    let spellings: Vec<String> = signed.urls.iter().flat_map(|url| spellings(url)).collect();
    check(signed, keys, &spellings)
        .map_err(|reason| Forged { reason, tried: spellings.iter().map(|url| masked(url)).collect() })
}

fn check(signed: &Signed<'_>, keys: &Keys, spellings: &[String]) -> Result<(), Reason> {
    let signature =
        signed.signature.map(str::trim).filter(|text| !text.is_empty()).ok_or(Reason::NoSignature)?;
    let signature = STANDARD.decode(signature).map_err(|_| Reason::NotBase64)?;
    let fields = match signed.body {
        Body::Absent => String::new(),
        Body::Form(fields) => signed_fields(fields),
        Body::Raw(body) => {
            let hash = signed.urls.iter().find_map(|url| body_hash(url)).ok_or(Reason::NoBodyHash)?;
            if !is_hash_of(&hash, body) {
                return Err(Reason::WrongBodyHash);
            }
            String::new()
        }
    };
    let settings = Settings::read(signed.settings)?;
    let fits = |url: &String| match settings {
        Settings::AuthToken => {
            keys.auth_tokens.iter().any(|token| is_code::<Hmac<Sha1>>(token, url, &fields, &signature))
        }
        Settings::SharedKey(id) => keys
            .shared_keys
            .iter()
            .filter(|(known, _)| known.is_empty() || id.is_none_or(|id| id == known.as_str()))
            .any(|(_, key)| is_code::<Hmac<Sha256>>(key, url, &fields, &signature)),
    };
    if let Settings::SharedKey(Some(id)) = settings
        && !keys.shared_keys.iter().any(|(known, _)| known.is_empty() || known == id)
    {
        return Err(Reason::UnknownKey);
    }
    if spellings.iter().any(fits) { Ok(()) } else { Err(Reason::NoMatch) }
}

/// `key=webhooks_sharedkey_…,algorithm=HMAC_SHA256`; without an algorithm it is the classic form.
enum Settings<'a> {
    AuthToken,
    SharedKey(Option<&'a str>),
}

impl Settings<'_> {
    fn read(header: Option<&str>) -> Result<Settings<'_>, Reason> {
        let value = |name: &str| {
            header
                .into_iter()
                .flat_map(|header| header.split([',', ';']))
                .filter_map(|part| part.split_once('='))
                .find(|(key, _)| key.trim().eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().trim_matches('"'))
                .filter(|value| !value.is_empty())
        };
        match value("algorithm") {
            None => Ok(Settings::AuthToken),
            Some(name) if name.eq_ignore_ascii_case("HMAC_SHA1") => Ok(Settings::AuthToken),
            Some(name) if name.eq_ignore_ascii_case("HMAC_SHA256") => Ok(Settings::SharedKey(value("key"))),
            Some(_) => Err(Reason::UnknownAlgorithm),
        }
    }
}

/// HMAC takes keys of every length, so there is nothing that could fail; an empty key stands in for the impossible.
pub(crate) fn keyed<M: Mac + KeyInit>(key: &[u8]) -> M {
    match <M as KeyInit>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => <M as KeyInit>::new(&Default::default()),
    }
}

fn is_code<M: Mac + KeyInit>(key: &str, url: &str, fields: &str, signature: &[u8]) -> bool {
    if key.is_empty() {
        return false;
    }
    let mut code = keyed::<M>(key.as_bytes());
    code.update(url.as_bytes());
    code.update(fields.as_bytes());
    code.verify_slice(signature).is_ok()
}

/// Names and values without anything between them, names in byte order. Of a repeated name each distinct value counts
/// once, in byte order. Empty values leave the name alone.
fn signed_fields(fields: &[(String, String)]) -> String {
    let sorted: BTreeSet<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    sorted.into_iter().flat_map(|(name, value)| [name, value]).collect()
}

fn body_hash(url: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    super::form::Form::parse(query.as_bytes()).get("bodySHA256").map(str::to_owned)
}

fn is_hash_of(hash: &str, body: &[u8]) -> bool {
    // The network's own library hashes an absent body as an empty JSON object.
    hash == hex(&Sha256::digest(body)) || (body.is_empty() && hash == hex(&Sha256::digest(b"{}")))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The spellings of one URL that the network may have signed, the likeliest first: as received, with the port added or
/// left out, without credentials, with a quote raw or escaped, with the empty path written `/` or not at all.
pub fn spellings(url: &str) -> Vec<String> {
    let url = url.split('#').next().unwrap_or(url);
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let (authority, target) = match rest.find(['/', '?']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let mut targets = vec![target.to_owned()];
    match target.strip_prefix('/') {
        Some(after) if after.is_empty() || after.starts_with('?') => targets.push(after.to_owned()),
        None => targets.push(format!("/{target}")),
        Some(_) => {}
    }
    for target in targets.clone() {
        if target.contains('\'') {
            targets.push(target.replace('\'', "%27"));
        }
        if target.contains("%27") {
            targets.push(target.replace("%27", "'"));
        }
    }
    let mut found: Vec<String> = Vec::new();
    for target in &targets {
        for authority in authorities(scheme, authority) {
            let spelling = format!("{scheme}://{authority}{target}");
            if !found.contains(&spelling) {
                found.push(spelling);
            }
        }
    }
    found
}

fn authorities(scheme: &str, authority: &str) -> Vec<String> {
    let (credentials, host) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    // A colon inside the brackets of an IPv6 address is no port.
    let name_end = host.rfind(']').map_or(0, |at| at + 1);
    let port_at = host.get(name_end..).and_then(|tail| tail.find(':')).map(|at| at + name_end);
    let other = match port_at {
        Some(at) => host.get(..at).unwrap_or(host).to_owned(),
        None if matches!(scheme, "https" | "wss") => format!("{host}:443"),
        None => format!("{host}:80"),
    };
    let mut all = vec![format!("{credentials}{host}"), format!("{credentials}{other}")];
    if !credentials.is_empty() {
        all.extend([host.to_owned(), other]);
    }
    all
}

/// What of a tried URL may be logged: as much as finds a misconfigured origin in a glance.
const MASKED_BYTES_MAX: usize = 2048;

/// The URL as it may be logged: neither the stream's token nor a password in it.
pub fn masked(url: &str) -> String {
    let (path, query) = match url.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (url, String::new()),
    };
    let mut path = path.to_owned();
    if let Some((before, after)) = path.split_once("/wss/")
        && let Some((call, _)) = after.split_once('/')
    {
        path = format!("{before}/wss/{call}/***");
    }
    if let Some(start) = path.find("://").map(|at| at + 3) {
        let end = path.get(start..).and_then(|rest| rest.find('/')).map_or(path.len(), |at| at + start);
        let authority = path.get(start..end).unwrap_or_default();
        if let Some((credentials, host)) = authority.rsplit_once('@')
            && let Some((user, _)) = credentials.split_once(':')
        {
            let shown = format!("{user}:***@{host}");
            path.replace_range(start..end, &shown);
        }
    }
    super::form::cut(&(path + &query), MASKED_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn vectors() -> Vec<Value> {
        serde_json::from_str(include_str!("../../../tests/data/signature-vectors.json")).unwrap()
    }

    fn fields(params: &Value) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        for (name, value) in params.as_object().into_iter().flatten() {
            match value {
                Value::Array(values) => fields.extend(values.iter().map(|value| (name.clone(), text(value)))),
                value => fields.push((name.clone(), text(value))),
            }
        }
        fields
    }

    fn tokens(tokens: &[&str]) -> Keys {
        Keys { auth_tokens: tokens.iter().map(|token| (*token).to_owned()).collect(), ..Keys::default() }
    }

    #[test]
    fn every_published_vector_comes_out_as_it_is_marked() {
        let vectors = vectors();
        assert!(vectors.len() >= 49);
        for vector in vectors {
            let fields = fields(&vector["params"]);
            let body = match vector["body"].as_str() {
                Some(body) => Body::Raw(body.as_bytes()),
                None => Body::Form(&fields),
            };
            let urls = [vector["url"].as_str().unwrap().to_owned()];
            let settings = vector["algorithm"]
                .as_str()
                .map(|name| format!("key=k,algorithm={}", name.replace('-', "_")));
            let token = vector["auth_token"].as_str().unwrap();
            let mut keys = tokens(&[token]);
            keys.shared_keys.push(("k".into(), token.to_owned()));
            let signed = Signed {
                urls: &urls,
                body,
                signature: vector["signature"].as_str(),
                settings: settings.as_deref(),
            };
            let verdict = verify(&signed, &keys);
            assert_eq!(
                verdict.is_ok(),
                vector["valid"].as_bool().unwrap(),
                "{} {verdict:?}",
                vector["source"]
            );
        }
    }

    #[test]
    fn any_of_several_tokens_is_enough_and_no_other_one_is() {
        let vector = vectors().remove(0);
        let (fields, urls) = (fields(&vector["params"]), [vector["url"].as_str().unwrap().to_owned()]);
        let signed = Signed {
            urls: &urls,
            body: Body::Form(&fields),
            signature: vector["signature"].as_str(),
            settings: None,
        };
        assert!(verify(&signed, &tokens(&["new", "12345"])).is_ok());
        assert_eq!(verify(&signed, &tokens(&["new", ""])).unwrap_err().reason, Reason::NoMatch);
        assert_eq!(verify(&signed, &tokens(&[])).unwrap_err().reason, Reason::NoMatch);
        let unsigned = Signed { signature: None, ..signed };
        assert_eq!(verify(&unsigned, &tokens(&["12345"])).unwrap_err().reason, Reason::NoSignature);
        let garbage = Signed { signature: Some("%%%"), ..signed };
        assert_eq!(verify(&garbage, &tokens(&["12345"])).unwrap_err().reason, Reason::NotBase64);
    }

    #[test]
    fn a_shared_key_signs_by_sha256_and_only_under_its_own_id() {
        let urls = ["https://voice.example.com/webhooks/menu".to_owned()];
        let fields = [("CallSid".to_owned(), "CA1".to_owned())];
        let mut code = keyed::<Hmac<Sha256>>(b"the shared secret");
        code.update(b"https://voice.example.com/webhooks/menuCallSidCA1");
        let signature = STANDARD.encode(code.finalize().into_bytes());
        let keys = Keys {
            auth_tokens: vec!["the shared secret".into()],
            shared_keys: vec![("webhooks_sharedkey_1".into(), "the shared secret".into())],
        };
        let under = |settings| {
            let body = Body::Form(&fields);
            verify(&Signed { urls: &urls, body, signature: Some(&signature), settings }, &keys)
                .map_err(|forged| forged.reason)
        };
        assert_eq!(under(Some("key=webhooks_sharedkey_1,algorithm=HMAC_SHA256")), Ok(()));
        assert_eq!(under(Some("key=webhooks_sharedkey_2,algorithm=HMAC_SHA256")), Err(Reason::UnknownKey));
        assert_eq!(under(Some("key=webhooks_sharedkey_1,algorithm=MD5")), Err(Reason::UnknownAlgorithm));
        assert_eq!(under(Some("key=webhooks_sharedkey_1")), Err(Reason::NoMatch));
        assert_eq!(under(None), Err(Reason::NoMatch));
    }

    #[test]
    fn a_url_is_tried_in_every_known_spelling() {
        assert_eq!(spellings("wss://h/a"), ["wss://h/a", "wss://h:443/a"]);
        assert_eq!(spellings("http://h:8080/a?b#c"), ["http://h:8080/a?b", "http://h/a?b"]);
        assert_eq!(spellings("https://[::1]/a"), ["https://[::1]/a", "https://[::1]:443/a"]);
        let all = spellings("https://u:p@h?q='");
        for spelling in ["https://u:p@h?q='", "https://u:p@h:443/?q=%27", "https://h/?q='"] {
            assert!(all.iter().any(|known| known == spelling), "{spelling} in {all:?}");
        }
        assert_eq!(spellings("https://h/a/").len(), 2, "only the empty path has two spellings");
    }

    #[test]
    fn what_was_tried_is_said_without_its_secrets() {
        let urls = ["wss://u:secret@h/p/webhooks/menu/wss/CA1/t0ken".to_owned()];
        let signed = Signed { urls: &urls, body: Body::Absent, signature: Some("AAAA"), settings: None };
        let forged = verify(&signed, &tokens(&["12345"])).unwrap_err();
        let text = forged.to_string();
        assert!(text.contains("wss://u:***@h/p/webhooks/menu/wss/CA1/***"), "{text}");
        assert!(!text.contains("t0ken") && !text.contains("secret"), "{text}");
        assert_eq!(masked("https://h/webhooks/wss/next?x=1"), "https://h/webhooks/wss/next?x=1");
        assert_eq!(masked("wss://h/webhooks/menu/wss/CA1/t0ken/"), "wss://h/webhooks/menu/wss/CA1/***");
        assert_eq!(masked("wss://h/webhooks/menu/wss"), "wss://h/webhooks/menu/wss");
    }
}
