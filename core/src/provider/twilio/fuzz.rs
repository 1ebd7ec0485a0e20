//! What the fuzz targets call, and the tests with a small corpus: any bytes, no panic, no contradiction.

use super::form::{Form, percent_encoded};
use super::signature::{Body, Keys, Signed};
use super::{signature, ssml, status, stream, webhook};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha1::Sha1;

/// A text frame of a media stream.
pub fn fuzz_stream_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (mut fast, mut slow) = (Vec::new(), Vec::new());
    let quick = stream::read_stream(text, &mut fast);
    let thorough = stream::read_stream_slowly(text, &mut slow);
    assert_eq!(quick, thorough, "the short cut and the long way must agree");
    assert_eq!(fast, slow);
}

/// The body or query of a webhook.
pub fn fuzz_form(bytes: &[u8]) {
    let form = Form::parse(bytes);
    let again: Vec<String> = form
        .fields()
        .iter()
        .map(|(name, value)| format!("{}={}", percent_encoded(name), percent_encoded(value)))
        .collect();
    assert_eq!(Form::parse(again.join("&").as_bytes()), form);
    let _ = webhook::arrival(&form);
    let _ = webhook::line_answer(&form);
    let _ = webhook::network_error(&form);
    let _ = status::status_notice(&form);
    let _ = status::stream_notice(&form);
    let _ = status::recording_notice(&form, &form);
    let _ = status::conference_notice(&form);
    for (name, value) in form.fields().iter().take(8) {
        let _ = signature::spellings(name);
        let _ = signature::masked(value);
        let _ = ssml::ssml_inside(value);
    }
}

/// A request that claims to be the network's: URL, signature, settings, and a body behind them, a line each. Without
/// the key nobody gets in; what is signed with it does.
pub fn fuzz_signature(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(4, '\n');
    let mut part = || parts.next().unwrap_or_default();
    let (url, claimed, settings, body) = (part(), part(), part(), part());
    let form = Form::parse(body.as_bytes());
    let urls = [url.to_owned()];
    let keys = Keys {
        auth_tokens: vec!["an auth token that no bytes guess".to_owned()],
        shared_keys: vec![(String::new(), "a shared key that no bytes guess".to_owned())],
    };
    for body in [Body::Absent, Body::Form(form.fields()), Body::Raw(body.as_bytes())] {
        let settings = Some(settings).filter(|settings| !settings.is_empty());
        let signed = Signed { urls: &urls, body, signature: Some(claimed), settings };
        assert!(signature::verify(&signed, &keys).is_err(), "nobody has signed {signed:?}");
    }
    let spellings = signature::spellings(url);
    assert!(!spellings.is_empty() && spellings.len() <= SPELLINGS_MAX, "{spellings:?}");
    for url in &spellings {
        let token = keys.auth_tokens.first().map(String::as_str).unwrap_or_default();
        let mut code = signature::keyed::<Hmac<Sha1>>(token.as_bytes());
        code.update(url.as_bytes());
        let code = STANDARD.encode(code.finalize().into_bytes());
        let signed = Signed { urls: &urls, body: Body::Absent, signature: Some(&code), settings: None };
        assert!(signature::verify(&signed, &keys).is_ok(), "{url} is how the network may have written it");
    }
}

/// Each is a code to be computed for whoever knocks.
const SPELLINGS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_stream_text(&bytes);
            fuzz_form(&bytes);
        }

        #[test]
        fn any_form_is_read_without_harm(text in "[a-cSid=&%+0-9A-F:/@?#'<>\\[\\]ü]{0,60}") {
            fuzz_form(text.as_bytes());
        }
    }
}
