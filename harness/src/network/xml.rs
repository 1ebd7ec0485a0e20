//! The smallest strict XML reader that a phone network needs: one root, elements, attributes, text.
//!
//! It refuses what a real parser on the other side would refuse (unbalanced tags, forbidden characters, unknown
//! entities, text beside the root) and what nobody sends on purpose (a document type, deep nesting).

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub children: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    Element(Element),
    Text(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("expected at most {max} bytes, got {got}")]
    TooLarge { got: usize, max: usize },
    #[error("expected well-formed XML, got at byte {at}: {why}")]
    Malformed { at: u64, why: String },
    #[error("expected characters that XML 1.0 allows, got U+{0:04X}")]
    ForbiddenCharacter(u32),
    #[error("expected one of the five named entities or a number, got &{0};")]
    UnknownEntity(String),
    #[error("expected one root element, got {0}")]
    Root(&'static str),
    #[error("expected no document type, got one")]
    DocumentType,
    #[error("expected at most {DEPTH_MAX} nested elements and {ELEMENTS_MAX} in all")]
    TooDeep,
}

/// What the network accepts as one answer to a voice request.
pub const DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// The deepest legal TwiML (SSML inside a prompt inside a Gather) stays well below.
const DEPTH_MAX: usize = 16;
const ELEMENTS_MAX: usize = 1000;

pub fn read(text: &str) -> Result<Element, Error> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(Error::TooLarge { got: text.len(), max: DOCUMENT_BYTES_MAX });
    }
    // A byte order mark is allowed before the prolog; the parser takes it for text.
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
    check_characters(text)?;

    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = Vec::new();
    let mut root: Option<Element> = None;
    let mut elements = 0usize;
    loop {
        let event = reader.read_event();
        let at = reader.buffer_position();
        let event = event.map_err(|why| Error::Malformed { at, why: why.to_string() })?;
        match event {
            Event::Start(tag) => {
                elements += 1;
                if open.len() >= DEPTH_MAX || elements > ELEMENTS_MAX {
                    return Err(Error::TooDeep);
                }
                open.push(element(&tag, at)?);
            }
            Event::Empty(tag) => {
                elements += 1;
                if elements > ELEMENTS_MAX {
                    return Err(Error::TooDeep);
                }
                let element = element(&tag, at)?;
                close(element, &mut open, &mut root)?;
            }
            Event::End(_) => {
                // The parser has checked that the names match.
                let Some(element) = open.pop() else {
                    return Err(Error::Malformed { at, why: "an end without a start".into() });
                };
                close(element, &mut open, &mut root)?;
            }
            Event::Text(piece) => add_text(&piece.xml10_content(), &mut open)?,
            Event::CData(piece) => {
                if open.is_empty() {
                    return Err(Error::Root("text beside it"));
                }
                add_text(&piece.xml10_content(), &mut open)?;
            }
            Event::GeneralRef(reference) => {
                let name = reference.into_inner().into_owned();
                let character = entity(&name)?;
                if open.is_empty() {
                    return Err(Error::Root("text beside it"));
                }
                add_text(&character.to_string(), &mut open)?;
            }
            Event::DocType(_) => return Err(Error::DocumentType),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    if !open.is_empty() {
        return Err(Error::Malformed {
            at: reader.buffer_position(),
            why: "an element that is never closed".into(),
        });
    }
    root.ok_or(Error::Root("none"))
}

impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|child| match child {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// All text inside, that of children too: how a voice reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.collect_text(&mut text);
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn collect_text(&self, into: &mut String) {
        for child in &self.children {
            match child {
                Node::Text(text) => into.push_str(text),
                Node::Element(element) => element.collect_text(into),
            }
        }
    }
}

fn element(tag: &BytesStart<'_>, at: u64) -> Result<Element, Error> {
    let mut attributes = Vec::new();
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|why| Error::Malformed { at, why: why.to_string() })?;
        let name = attribute.key.as_ref().to_owned();
        let raw = attribute.value.as_ref();
        if raw.contains('<') {
            return Err(Error::Malformed { at, why: format!("a `<` in the attribute {name}") });
        }
        attributes.push((name, unescape(raw)?));
    }
    Ok(Element { name: tag.name().as_ref().to_owned(), attributes, children: Vec::new() })
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) -> Result<(), Error> {
    match open.last_mut() {
        Some(parent) => parent.children.push(Node::Element(element)),
        None if root.is_some() => return Err(Error::Root("a second one")),
        None => *root = Some(element),
    }
    Ok(())
}

fn add_text(text: &str, open: &mut [Element]) -> Result<(), Error> {
    let Some(parent) = open.last_mut() else {
        return if text.trim().is_empty() { Ok(()) } else { Err(Error::Root("text beside it")) };
    };
    if let Some(Node::Text(before)) = parent.children.last_mut() {
        before.push_str(text);
    } else if !text.is_empty() {
        parent.children.push(Node::Text(text.to_owned()));
    }
    Ok(())
}

/// Attribute values, with the white space of XML 1.0 made blanks.
fn unescape(raw: &str) -> Result<String, Error> {
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(start) = rest.find('&') {
        let (before, reference) = rest.split_at(start);
        value.extend(before.chars().map(blank));
        let Some(end) = reference.find(';') else {
            return Err(Error::UnknownEntity(reference.chars().skip(1).take(20).collect()));
        };
        value.push(entity(reference.get(1..end).unwrap_or_default())?);
        rest = reference.get(end + 1..).unwrap_or_default();
    }
    value.extend(rest.chars().map(blank));
    Ok(value)
}

fn blank(character: char) -> char {
    if matches!(character, '\t' | '\n' | '\r') { ' ' } else { character }
}

fn entity(name: &str) -> Result<char, Error> {
    let unknown = || Error::UnknownEntity(name.chars().take(20).collect());
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let digits = name.strip_prefix('#').ok_or_else(unknown)?;
            let code = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => digits.parse(),
            };
            let code = code.map_err(|_| unknown())?;
            char::from_u32(code).ok_or(Error::ForbiddenCharacter(code))?
        }
    };
    if is_allowed(character) { Ok(character) } else { Err(Error::ForbiddenCharacter(character as u32)) }
}

fn check_characters(text: &str) -> Result<(), Error> {
    match text.chars().find(|character| !is_allowed(*character)) {
        Some(character) => Err(Error::ForbiddenCharacter(character as u32)),
        None => Ok(()),
    }
}

/// Production 2 of XML 1.0.
fn is_allowed(character: char) -> bool {
    matches!(character, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..)
}
