//! Well-formedness of SSML that stands literally in a document.

use quick_xml::Reader;
use quick_xml::events::Event;
use quick_xml::events::attributes::AttrError;

/// Ok, or what is wrong. Values that are substituted later are escaped then, so any word may stand for them now.
pub(super) fn check(text: &str) -> Result<(), String> {
    let text = without_variables(text);
    let mut reader = Reader::from_str(&text);
    reader.config_mut().check_end_names = true;
    let mut depth = 0usize;
    let mut has_root = false;
    loop {
        let event = reader.read_event().map_err(|error| error.to_string())?;
        let outside = depth == 0 && has_root;
        match &event {
            Event::Eof if depth > 0 => return Err("an element is not closed".to_owned()),
            Event::Eof => return Ok(()),
            Event::Start(start) | Event::Empty(start) => {
                if outside {
                    return Err("expected nothing after </speak>".to_owned());
                }
                if !has_root && start.name().as_ref() != "speak" {
                    return Err("expected <speak> as the outermost element".to_owned());
                }
                for attribute in start.attributes() {
                    let attribute = attribute.map_err(|error: AttrError| error.to_string())?;
                    check_references(&attribute.value)?;
                }
                has_root = true;
                if matches!(event, Event::Start(_)) {
                    depth += 1;
                }
            }
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Text(text) if depth == 0 && !text.trim().is_empty() => {
                return Err("expected nothing after </speak>".to_owned());
            }
            Event::CData(_) | Event::GeneralRef(_) if depth == 0 => {
                return Err("expected nothing after </speak>".to_owned());
            }
            Event::GeneralRef(name) => check_reference(name)?,
            Event::Text(text) => check_references(text)?,
            Event::DocType(_) => return Err("expected no document type".to_owned()),
            _ => {}
        }
    }
}

/// A bare `&` and entities that XML does not know.
fn check_references(text: &str) -> Result<(), String> {
    for after in text.split('&').skip(1) {
        let (name, _) = after.split_once(';').ok_or("expected \"&amp;\" for a plain \"&\"")?;
        check_reference(name)?;
    }
    Ok(())
}

fn check_reference(name: &str) -> Result<(), String> {
    let is_code =
        |digits: &str, radix| u32::from_str_radix(digits, radix).ok().and_then(char::from_u32).is_some();
    let is_known = match name.strip_prefix('#') {
        Some(code) => match code.strip_prefix('x') {
            Some(hex) => is_code(hex, 16),
            None => is_code(code, 10),
        },
        None => matches!(name, "amp" | "lt" | "gt" | "quot" | "apos"),
    };
    if is_known { Ok(()) } else { Err(format!("unknown entity {:?}", format!("&{name};"))) }
}

fn without_variables(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            plain.push_str(before);
            plain.push_str("${");
            rest = after;
            continue;
        }
        plain.push_str(before);
        match after.split_once('}') {
            Some((_, after)) => {
                plain.push('x');
                rest = after;
            }
            None => rest = after,
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_ssml_passes() {
        for good in [
            "<speak>a <break time=\"1s\"/> b &amp; c</speak>",
            "<speak version='1.0'><p>${name:-<b}</p></speak>\n",
            "<speak/>",
            "<speak>&#65; <![CDATA[<]]></speak>",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "<speak>a",
            "<speak><p></speak>",
            "<speak>a</speak> b",
            "<speak>a & b</speak>",
            "<speak>&nbsp;</speak>",
            "<speak a=1/>",
            "<speak a='1' a='2'/>",
            "<speak/><speak/>",
            "<speaker></speaker>",
            "<speak",
            "<speak a='&x;'/>",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
