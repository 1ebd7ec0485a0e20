//! `<speak>…</speak>` in a text that is to be said: read and written again, never pasted.
//!
//! What comes out is well-formed whatever went in, since every piece of it was written by the XML writer. So no text of
//! a workflow can close the `<Say>` around it, or the document.

use super::twiml::legal;
use quick_xml::Reader;
use quick_xml::Writer;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

/// Elements within each other. Twilio's own nest three or four deep.
const DEPTH_MAX: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SsmlError {
    #[error("expected one <speak> element, found {found}")]
    NotSpeak { found: String },
    #[error("expected well-formed XML: {0}")]
    Malformed(String),
    #[error("expected at most {DEPTH_MAX} elements within each other")]
    TooDeep,
    #[error("expected elements and text, found {0}")]
    NotAllowed(&'static str),
    #[error("expected one of the five predefined entities or a legal character, found &{0};")]
    UnknownEntity(String),
}

/// The inside of a text that begins with `<speak`, written anew.
pub fn ssml_inside(text: &str) -> Result<String, SsmlError> {
    let whole = rewritten(text.trim())?;
    let not_speak = || SsmlError::NotSpeak { found: super::form::cut(text.trim(), 40).to_owned() };
    let (opening, rest) = whole.split_once('>').ok_or_else(not_speak)?;
    let name = opening.strip_prefix("<speak").ok_or_else(not_speak)?;
    if !(name.is_empty() || name.starts_with([' ', '/'])) {
        return Err(not_speak());
    }
    let inside =
        if opening.ends_with('/') { rest } else { rest.strip_suffix("</speak>").ok_or_else(not_speak)? };
    // Two elements in a row also begin and end like one: what is between must stand alone.
    if opening.ends_with('/') && !inside.is_empty() {
        return Err(not_speak());
    }
    rewritten(inside).map_err(|_| not_speak())
}

/// The same elements, attributes and texts, written by our writer. Comments and instructions are left out.
pub(super) fn rewritten(fragment: &str) -> Result<String, SsmlError> {
    let mut reader = Reader::from_str(fragment);
    let mut writer = Writer::new(Vec::new());
    let mut depth = 0_usize;
    loop {
        let event = reader.read_event().map_err(malformed)?;
        let event = match event {
            Event::Start(start) => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(SsmlError::TooDeep);
                }
                Event::Start(element(&start)?)
            }
            Event::Empty(start) => Event::Empty(element(&start)?),
            Event::End(end) => {
                depth = depth.checked_sub(1).ok_or_else(|| malformed("an end without a start"))?;
                let name = String::from(end.name().as_ref());
                Event::End(BytesEnd::new(name))
            }
            Event::Text(text) => {
                let text = legal(&text.xml10_content()).into_owned();
                write(&mut writer, Event::Text(BytesText::new(&text)));
                continue;
            }
            Event::CData(text) => {
                let text = legal(&text.xml10_content()).into_owned();
                write(&mut writer, Event::Text(BytesText::new(&text)));
                continue;
            }
            Event::GeneralRef(name) => {
                let text = entity(&name)?;
                write(&mut writer, Event::Text(BytesText::new(&text)));
                continue;
            }
            Event::Comment(_) | Event::PI(_) => continue,
            Event::Decl(_) => return Err(SsmlError::NotAllowed("an XML declaration")),
            Event::DocType(_) => return Err(SsmlError::NotAllowed("a document type")),
            Event::Eof => break,
        };
        write(&mut writer, event);
    }
    if depth > 0 {
        return Err(malformed("an element that is not closed"));
    }
    Ok(String::from_utf8_lossy(&writer.into_inner()).into_owned())
}

/// Writing to memory doesn't fail.
fn write(writer: &mut Writer<Vec<u8>>, event: Event<'_>) {
    let _ = writer.write_event(event);
}

fn malformed(error: impl ToString) -> SsmlError {
    SsmlError::Malformed(error.to_string())
}

fn element(start: &BytesStart<'_>) -> Result<BytesStart<'static>, SsmlError> {
    let name = named(start.name().as_ref())?;
    let mut copy = BytesStart::new(name);
    for attribute in start.attributes() {
        let attribute = attribute.map_err(malformed)?;
        let name = named(attribute.key.as_ref())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(malformed)?;
        copy.push_attribute((name.as_str(), legal(&value).as_ref()));
    }
    Ok(copy)
}

/// The reader takes anything as a name that isn't a space; XML doesn't.
fn named(name: &str) -> Result<String, SsmlError> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if begins && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':')) {
        return Ok(name.to_owned());
    }
    Err(SsmlError::Malformed(format!("{:?} is no name", super::form::cut(name, 40))))
}

fn entity(name: &str) -> Result<String, SsmlError> {
    let unknown = || SsmlError::UnknownEntity(super::form::cut(name, 40).to_owned());
    let text = quick_xml::escape::unescape(&format!("&{name};")).map_err(|_| unknown())?.into_owned();
    if legal(&text) == text { Ok(text) } else { Err(unknown()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inside_is_written_anew() {
        let inside = |text: &str| ssml_inside(text).unwrap();
        assert_eq!(
            inside(
                "<speak version='1.0'>A <break time='1s' /> &amp; <emphasis level=\"strong\">B</emphasis></speak>"
            ),
            "A <break time=\"1s\"/> &amp; <emphasis level=\"strong\">B</emphasis>"
        );
        assert_eq!(inside("  <speak><!-- aside -->x<![CDATA[<y>]]>&#65;</speak>\n"), "x&lt;y&gt;A");
        assert_eq!(inside("<speak/>"), "");
        assert_eq!(
            inside("<speak><amazon:effect name='a&quot;b'>x</amazon:effect></speak>")
                .matches("&quot;")
                .count(),
            1
        );
    }

    #[test]
    fn what_is_not_one_well_formed_speak_is_refused() {
        for text in [
            "<speak>",
            "<speak>a</speak><speak>b</speak>",
            "<speak/><speak/>",
            "<speak/>b",
            "<speaker>a</speaker>",
            "<speak><b>a</speak></b>",
            "<speak></Say><Hangup/></speak>",
            "<speak>&nbsp;</speak>",
            "<speak>&#0;</speak>",
            "<speak>&#1;</speak>",
            "<speak>a & b</speak>",
            "<speak a='1' a='2'>x</speak>",
            "<speak><a<b>x</a<b></speak>",
            "<speak><!DOCTYPE x></speak>",
            "<speak>a</speak>trailing",
            "plain",
            "",
        ] {
            assert!(ssml_inside(text).is_err(), "{text:?} gave {:?}", ssml_inside(text));
        }
        let deep = format!("<speak>{}{}</speak>", "<p>".repeat(DEPTH_MAX), "</p>".repeat(DEPTH_MAX));
        assert_eq!(ssml_inside(&deep), Err(SsmlError::TooDeep));
    }
}
