//! Secrets inside texts: named in facts and in history, known only to whoever sends them out.
//!
//! Where a document writes `${secret.NAME}`, the filled-in text carries a *mark* instead of the value. A mark is the
//! name between two noncharacters of Unicode, which no keyboard and no well-formed protocol produces, and which are
//! taken out of everything else that is filled in. So nobody can smuggle a mark in by a variable, and a text with marks
//! may be written to the journal.

use serde_json::Value;
use std::borrow::Cow;

const OPEN: char = '\u{FDD0}';
const CLOSE: char = '\u{FDD1}';
/// What people see instead of a secret.
pub const MASK: &str = "***";

/// A text names a secret that nobody has configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no secret `{0}` in [secrets]")]
pub struct Unknown(pub String);

/// The mark that stands for a secret.
pub fn mark(name: &str) -> String {
    format!("{OPEN}{}{CLOSE}", plain(name))
}

/// A text that can't be taken for a mark.
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.contains([OPEN, CLOSE]) {
        Cow::Owned(text.replace([OPEN, CLOSE], "\u{FFFD}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// As [`plain`], for every text inside a value, keys included.
pub fn plain_value(value: &Value) -> Value {
    each_text(value, &mut |text| plain(text).into_owned())
}

pub fn is_marked(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(OPEN),
        Value::Array(items) => items.iter().any(is_marked),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains(OPEN) || is_marked(value)),
        _ => false,
    }
}

/// A text with its marks made unreadable: for people.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(OPEN) {
        return Cow::Borrowed(text);
    }
    let masked: Result<String, Unknown> = replaced(text, |_| Ok(MASK.into()));
    Cow::Owned(masked.unwrap_or_default())
}

pub fn shown_value(value: &Value) -> Value {
    if is_marked(value) { each_text(value, &mut |text| shown(text).into_owned()) } else { value.clone() }
}

/// A text with the values of its secrets.
pub fn resolved<'s>(text: &str, secret: impl Fn(&str) -> Option<Cow<'s, str>>) -> Result<String, Unknown> {
    replaced(text, |name| secret(name).ok_or_else(|| Unknown(name.to_owned())))
}

/// As [`resolved`], for every text inside a value; what is inserted is escaped when the value is written as JSON.
pub fn resolved_value<'s>(
    value: &Value,
    secret: impl Fn(&str) -> Option<Cow<'s, str>>,
) -> Result<Value, Unknown> {
    let mut unknown = None;
    let value = each_text(value, &mut |text| match resolved(text, &secret) {
        Ok(text) => text,
        Err(error) => {
            unknown = Some(error);
            String::new()
        }
    });
    unknown.map_or(Ok(value), Err)
}

fn replaced<'s>(
    text: &str,
    mut by: impl FnMut(&str) -> Result<Cow<'s, str>, Unknown>,
) -> Result<String, Unknown> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once(OPEN) {
        out.push_str(before);
        // A mark is never written without its end.
        let Some((name, after)) = after.split_once(CLOSE) else { break };
        out.push_str(&by(name)?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

fn each_text(value: &Value, change: &mut impl FnMut(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(items) => Value::Array(items.iter().map(|item| each_text(item, change)).collect()),
        Value::Object(map) => {
            let mut changed = serde_json::Map::with_capacity(map.len());
            for (key, value) in map {
                let key = change(key);
                changed.insert(key, each_text(value, change));
            }
            Value::Object(changed)
        }
        other => other.clone(),
    }
}

/// Finds secrets in what others say, however they wrote them: plainly, escaped as JSON, percent-encoded in whole or in
/// part, or as base64.
#[derive(Clone, Default)]
pub struct Masker {
    /// Longest first, so that a secret that holds another one is masked whole.
    needles: Vec<String>,
}

impl Masker {
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Masker {
        use base64::Engine;
        use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
        let mut needles = Vec::new();
        for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
            needles.extend([STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD].map(|form| form.encode(secret)));
            needles.push(secret.to_owned());
        }
        needles.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        needles.dedup();
        Masker { needles }
    }

    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut masked: Option<String> = None;
        let (mut kept, mut rest) = (text, text);
        while let Some(first) = rest.chars().next() {
            let found = self.needles.iter().find_map(|needle| after(rest, needle));
            match found {
                Some(behind) => {
                    let clean = kept.len() - rest.len();
                    let masked = masked.get_or_insert_default();
                    masked.push_str(kept.get(..clean).unwrap_or_default());
                    masked.push_str(MASK);
                    (kept, rest) = (behind, behind);
                }
                None => rest = rest.get(first.len_utf8()..).unwrap_or_default(),
            }
        }
        match masked {
            Some(masked) => Cow::Owned(masked + kept),
            None => Cow::Borrowed(text),
        }
    }

    /// Every text inside a value; a number that is a secret's text is masked too.
    pub fn value(&self, value: &Value) -> Value {
        let masked = each_text(value, &mut |text| self.text(text).into_owned());
        self.numbers(masked)
    }

    fn numbers(&self, value: Value) -> Value {
        match value {
            Value::Number(number) if self.needles.contains(&number.to_string()) => Value::from(MASK),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.numbers(item)).collect()),
            Value::Object(map) => {
                Value::Object(map.into_iter().map(|(key, value)| (key, self.numbers(value))).collect())
            }
            other => other,
        }
    }
}

/// What follows a secret at the beginning of a text.
fn after<'t>(text: &'t str, secret: &str) -> Option<&'t str> {
    secret.chars().try_fold(text, one)
}

/// What follows one character, as it is or in one of its disguises.
fn one(text: &str, c: char) -> Option<&str> {
    escaped(text, c)
        .or_else(|| percent_encoded(text, c))
        .or_else(|| text.strip_prefix(c))
        .or_else(|| text.strip_prefix('+').filter(|_| c == ' '))
}

/// As inside a JSON text.
fn escaped(text: &str, c: char) -> Option<&str> {
    let behind = text.strip_prefix('\\')?;
    let short = match c {
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        c => c,
    };
    // A letter after the backslash means something else than itself.
    if let Some(rest) = behind.strip_prefix(short).filter(|_| !c.is_ascii_alphanumeric()) {
        return Some(rest);
    }
    let mut units = [0; 2];
    c.encode_utf16(&mut units).iter().try_fold(text, |text, unit| {
        let (digits, rest) = text.strip_prefix("\\u")?.split_at_checked(4)?;
        (u16::from_str_radix(digits, 16) == Ok(*unit)).then_some(rest)
    })
}

/// As inside a URL or a form.
fn percent_encoded(text: &str, c: char) -> Option<&str> {
    let mut bytes = [0; 4];
    c.encode_utf8(&mut bytes).bytes().try_fold(text, |text, byte| {
        let (digits, rest) = text.strip_prefix('%')?.split_at_checked(2)?;
        (u8::from_str_radix(digits, 16) == Ok(byte)).then_some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vault(name: &str) -> Option<Cow<'static, str>> {
        (name == "KEY").then_some(Cow::Borrowed("s\"1"))
    }

    #[test]
    fn a_mark_names_a_secret_and_nothing_else_can_become_one() {
        let text = format!("Bearer {}", mark("KEY"));
        assert_eq!(resolved(&text, vault).unwrap(), "Bearer s\"1");
        assert_eq!(shown(&text), "Bearer ***");
        assert_eq!(resolved(&mark("OTHER"), vault), Err(Unknown("OTHER".into())));
        let smuggled = plain_value(&json!({ mark("KEY"): [mark("KEY"), 1] }));
        assert!(!is_marked(&smuggled));
        assert_eq!(resolved_value(&smuggled, vault).unwrap(), smuggled);
        let body = resolved_value(&json!({"k": [mark("KEY")]}), vault).unwrap();
        assert_eq!(body.to_string(), r#"{"k":["s\"1"]}"#, "escaped by whoever writes it");
        assert_eq!(shown_value(&json!({"k": [mark("KEY")]})), json!({"k": ["***"]}));
    }

    #[test]
    fn a_secret_is_found_in_every_dress() {
        let masker = Masker::new(["p/w \"1", "abc"]);
        for dress in [
            "p/w \"1",
            "p/w \\\"1",
            "p\\/w \\\"1",
            "p%2Fw%20%221",
            "p%2fw+%221",
            "p/w%20%221",
            "\\u0070/w \\u00221",
            "cC93ICIx",
        ] {
            assert_eq!(masker.text(&format!("x {dress} y")), "x *** y", "{dress}");
        }
        assert_eq!(masker.text("é%2"), "é%2");
        assert_eq!(masker.text("abcabcab"), "******ab");
        let odd = Masker::new(["\\ü%€😀"]);
        for dress in ["\\ü%€😀", "\\\\\\u00fc%\\u20ac\\ud83d\\ude00", "%5c%C3%BC%25%E2%82%AC%F0%9F%98%80"]
        {
            assert_eq!(odd.text(dress), "***", "{dress}");
        }
        let masker = Masker::new(["p", "1234", "p/w"]);
        assert_eq!(masker.value(&json!({"n": 1234, "m": 12345})), json!({"n": "***", "m": 12345}));
        assert_eq!(masker.text("p/w"), "***", "the longest first");
        assert_eq!(Masker::new([""]).text("as it is"), "as it is");
    }
}
