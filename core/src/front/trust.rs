//! Whether a request is the network's own: by its signature, or, where there is no key to check one with, by where it
//! came from.

use super::{FrontConfig, LOGGED_BYTES_MAX, Refusal, Request, cut};
use crate::provider::twilio::form::Form;
use crate::provider::twilio::signature::{Body, Signed, masked, verify};
use std::net::IpAddr;

pub(super) fn vouch(
    request: &Request<'_>,
    config: &FrontConfig,
    target: &str,
    is_socket: bool,
    form: &Form,
) -> Result<(), Refusal> {
    if config.keys.is_empty() {
        return if config.insecure_no_signatures { Ok(()) } else { nearby(request, config) };
    }
    let body = match request.method {
        "POST" if is_form(request) => Body::Form(form.fields()),
        "POST" => Body::Raw(request.body),
        _ => Body::Absent,
    };
    let urls = urls(request, config, target, is_socket);
    let signed = Signed {
        urls: &urls,
        body,
        signature: (request.header)("x-twilio-signature"),
        settings: (request.header)("x-twilio-webhooks-signature-settings"),
    };
    verify(&signed, &config.keys).map_err(|forged| {
        let log =
            format!("signature refused: {forged}; is [public] url the address that the network was given?");
        Refusal::new(403, "bad_signature", "the signature is missing or wrong", log)
    })
}

/// A body without a content type is taken for what the network sends.
pub(super) fn is_form(request: &Request<'_>) -> bool {
    let kind = (request.header)("content-type").unwrap_or("application/x-www-form-urlencoded");
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Every URL that the network may have asked when this request came. The configured one; and, if a trusted proxy says
/// that it was asked under another name, that one.
fn urls(request: &Request<'_>, config: &FrontConfig, target: &str, is_socket: bool) -> Vec<String> {
    let prefix = prefix(&config.origin);
    let origin = config.origin.trim_end_matches('/');
    let mut bases = vec![origin.strip_suffix(prefix).unwrap_or(origin).to_owned()];
    bases.extend(forwarded_base(request, origin).filter(|base| !bases.contains(base)));
    let mut urls = Vec::new();
    for base in bases {
        let base = match base.strip_prefix("http") {
            Some(rest) if is_socket => format!("ws{rest}"),
            _ => base,
        };
        if !target.starts_with(prefix) {
            urls.push(format!("{base}{prefix}{target}"));
        }
        urls.push(format!("{base}{target}"));
    }
    urls
}

/// `proto://host` as a trusted proxy reports it; nobody else is believed.
fn forwarded_base(request: &Request<'_>, origin: &str) -> Option<String> {
    if !request.peer_is_trusted_proxy {
        return None;
    }
    let first = |name| {
        let value = (request.header)(name)?.split(',').next()?.trim();
        (!value.is_empty() && value.len() <= HOST_BYTES_MAX).then_some(value)
    };
    let (proto, host) = (first("x-forwarded-proto"), first("x-forwarded-host"));
    if proto.is_none() && host.is_none() {
        return None;
    }
    let proto = match proto.map(str::to_ascii_lowercase).as_deref() {
        Some("https" | "wss") => "https",
        Some("http" | "ws") => "http",
        Some(_) => return None,
        None => origin.split_once("://").map_or("https", |(scheme, _)| scheme),
    };
    let host = host.or_else(|| first("host"))?;
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    host.bytes().all(plain).then(|| format!("{proto}://{host}"))
}

/// Without a key nobody can prove to be the network, so only who is near enough to need no proof comes in: a tunnel or
/// proxy would let in the whole world.
fn nearby(request: &Request<'_>, config: &FrontConfig) -> Result<(), Refusal> {
    let refused = |why: String| {
        let log = format!(
            "{why}, and without an auth token nobody can tell whose request it is; set [twilio] auth_tokens, \
             or insecure_no_signatures = true if anybody may call"
        );
        Err(Refusal::new(403, "unsigned_proxied", "requests from elsewhere need a signature", log))
    };
    if let Some(header) = FORWARDED.iter().find(|header| (request.header)(header).is_some()) {
        return refused(format!("a request came through a proxy ({header})"));
    }
    match (request.header)("host") {
        Some(host) if !is_ours(host, config) => {
            refused(format!("a request came for {}, which is not our name", loggable(host)))
        }
        _ => Ok(()),
    }
}

fn is_ours(host: &str, config: &FrontConfig) -> bool {
    let name = name(host);
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    if name.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback()) {
        return true;
    }
    let origin = config.origin.split_once("://").map_or("", |(_, rest)| rest);
    let origin = origin.split('/').next().unwrap_or_default();
    let origin = origin.rsplit('@').next().unwrap_or_default();
    let ours = config.own_hosts.iter().map(String::as_str).chain([origin]);
    ours.map(self::name).any(|known| !known.is_empty() && known.eq_ignore_ascii_case(name))
}

/// A host without its port.
fn name(host: &str) -> &str {
    let host = host.trim();
    let end = host.find(']').map_or(0, |at| at + 1);
    match host.get(end..).and_then(|tail| tail.find(':')) {
        Some(at) => host.get(..end + at).unwrap_or(host),
        None => host,
    }
}

/// `/prefix` of a public URL, or nothing.
pub(super) fn prefix(origin: &str) -> &str {
    let origin = origin.trim_end_matches('/');
    let rest = origin.split_once("://").map_or("", |(_, rest)| rest);
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("")
}

/// What a stranger sent, on one line and without a stream's token.
pub(super) fn loggable(text: &str) -> String {
    cut(&masked(text), LOGGED_BYTES_MAX).escape_debug().to_string()
}

/// What proxies and tunnels add.
const FORWARDED: [&str; 8] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "cf-connecting-ip",
    "true-client-ip",
    "via",
];
/// A DNS name has at most 253 characters, and a port five.
const HOST_BYTES_MAX: usize = 260;
