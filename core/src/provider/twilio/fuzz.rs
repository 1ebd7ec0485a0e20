//! What the fuzz targets call, and the tests with a small corpus: any bytes, no panic, no contradiction.

use super::form::{Form, percent_encoded};
use super::{signature, ssml, status, stream, webhook};

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
