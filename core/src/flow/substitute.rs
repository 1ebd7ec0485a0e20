//! `${…}` in parameters: one pass, typed. What a variable holds is never expanded again.

use super::action::Fault;
use super::expression::Kept;
use super::parse::expression;
use super::vars::{Vars, canonical};
use crate::secret;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Nested maps and lists inside one parameter; deeper ones are a fault.
const DEPTH_MAX: usize = 64;

/// Fills in parameters from variables, and remembers which names were missing.
pub struct Substitution<'v> {
    vars: &'v Vars,
    kept: Cow<'v, Kept>,
    missing: BTreeSet<String>,
    secrets: bool,
}

impl<'v> Substitution<'v> {
    pub fn new(vars: &'v Vars) -> Substitution<'v> {
        Substitution { vars, kept: Cow::Owned(Kept::default()), missing: BTreeSet::new(), secrets: false }
    }

    /// With expressions that were compiled before.
    pub fn with(vars: &'v Vars, kept: &'v Kept) -> Substitution<'v> {
        Substitution { vars, kept: Cow::Borrowed(kept), missing: BTreeSet::new(), secrets: false }
    }

    /// Whether `${secret.NAME}` stands for a secret from here on: its mark is filled in, and nothing else can be taken
    /// for one. Elsewhere there are no secrets.
    pub fn secrets(&mut self, secrets: bool) {
        self.secrets = secrets;
    }

    /// Names that were asked for and not there.
    pub fn missing(self) -> Vec<String> {
        self.missing.into_iter().collect()
    }

    /// Every string inside the parameters. In the parameter called `markup`, values are escaped for XML when the
    /// text itself begins as SSML.
    pub fn map(
        &mut self,
        raw: &Map<String, Value>,
        markup: Option<&str>,
    ) -> Result<Map<String, Value>, Fault> {
        // Most values stand for themselves: a copy of the map costs less than a new one.
        let mut filled = raw.clone();
        for ((key, value), place) in raw.iter().zip(filled.values_mut()) {
            if !self.secrets && is_plain(value) {
                continue;
            }
            let escape = match value {
                Value::String(text) => markup == Some(key.as_str()) && is_ssml(text),
                _ => false,
            };
            *place = self.fill(value, escape, 0)?;
        }
        Ok(filled)
    }

    pub fn value(&mut self, raw: &Value) -> Result<Value, Fault> {
        self.fill(raw, false, 0)
    }

    fn fill(&mut self, raw: &Value, escape: bool, depth: usize) -> Result<Value, Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::invalid(format!("parameters are nested deeper than {DEPTH_MAX}")));
        }
        Ok(match raw {
            Value::String(text) => self.text(text, escape)?,
            Value::Array(items) => Value::Array(
                items.iter().map(|item| self.fill(item, escape, depth + 1)).collect::<Result<_, _>>()?,
            ),
            Value::Object(map) => {
                let mut filled = Map::with_capacity(map.len());
                for (key, value) in map {
                    filled.insert(key.clone(), self.fill(value, escape, depth + 1)?);
                }
                Value::Object(filled)
            }
            other => other.clone(),
        })
    }

    fn text(&mut self, text: &str, escape: bool) -> Result<Value, Fault> {
        if let Some(literal) = text.strip_prefix("$=") {
            return Ok(Value::String(format!("={}", self.inside(literal, escape))));
        }
        if let Some(expression) = expression(text) {
            // No secret can stand in an expression; what variables hold must not be taken for one.
            let value = self.kept.evaluate(expression, self.vars)?;
            return Ok(if self.secrets { secret::plain_value(&value) } else { value });
        }
        if !text.contains('$') {
            return Ok(Value::String(self.own(text)));
        }
        // The whole string is one placeholder: the value keeps its type.
        if let Some(inner) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
            && !inner.contains('}')
            && !escape
        {
            return Ok(match self.resolve(inner) {
                Resolved::Found(value) if self.secrets => secret::plain_value(&value),
                Resolved::Found(value) => value.into_owned(),
                Resolved::Fallback(fallback) => Value::String(self.own(fallback)),
                Resolved::Secret(name) => Value::String(secret::mark(name)),
                Resolved::Missing => Value::Null,
            });
        }
        Ok(Value::String(self.inside(text, escape)))
    }

    fn inside(&mut self, text: &str, escape: bool) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            let (before, from) = rest.split_at(at);
            filled.push_str(&self.own(before));
            if let Some(after) = from.strip_prefix("$${") {
                filled.push_str("${");
                rest = after;
            } else if let Some((inner, after)) =
                from.strip_prefix("${").and_then(|inner| inner.split_once('}'))
            {
                match self.resolve(inner) {
                    Resolved::Found(value) if escape => push_escaped(&mut filled, &as_text(&value)),
                    Resolved::Found(value) if self.secrets => {
                        filled.push_str(&secret::plain(&as_text(&value)))
                    }
                    Resolved::Found(value) => push_text(&mut filled, &value),
                    Resolved::Fallback(fallback) if escape => push_escaped(&mut filled, fallback),
                    Resolved::Fallback(fallback) => filled.push_str(&self.own(fallback)),
                    Resolved::Secret(name) => filled.push_str(&secret::mark(name)),
                    Resolved::Missing => {}
                }
                rest = after;
            } else {
                filled.push('$');
                rest = from.get(1..).unwrap_or("");
            }
        }
        filled.push_str(&self.own(rest));
        filled
    }

    /// Text of the document's own.
    fn own(&self, text: &str) -> String {
        if self.secrets { secret::plain(text).into_owned() } else { text.to_owned() }
    }

    fn resolve<'t>(&mut self, inner: &'t str) -> Resolved<'v, 't> {
        let (path, fallback) = match inner.split_once(":-") {
            Some((path, fallback)) => (path.trim(), Some(fallback)),
            None => (inner.trim(), None),
        };
        if self.secrets
            && let Some(name) = secret_name(path)
        {
            // Whether it exists is known only where it is used; so a fallback has no say.
            return Resolved::Secret(name);
        }
        match (self.vars.look_up(path), fallback) {
            (found, Some(fallback)) if found.as_deref().is_none_or(Value::is_null) => {
                Resolved::Fallback(fallback)
            }
            (Some(value), _) => Resolved::Found(value),
            (None, _) => {
                self.missing.insert(path.to_owned());
                Resolved::Missing
            }
        }
    }
}

enum Resolved<'v, 't> {
    Found(Cow<'v, Value>),
    Fallback(&'t str),
    Secret(&'t str),
    Missing,
}

/// Whether nothing in it can stand for something else.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.contains('$') && !text.starts_with('='),
        Value::Array(_) | Value::Object(_) => false,
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// `KEY` of `secret.KEY`.
fn secret_name(path: &str) -> Option<&str> {
    let (head, name) = path.split_at_checked("secret.".len())?;
    (head.eq_ignore_ascii_case("secret.") && !name.is_empty()).then_some(name)
}

/// Whether a text, as its author wrote it, is SSML.
pub fn is_ssml(raw: &str) -> bool {
    raw.starts_with("<speak")
}

/// A value inside text: strings as they are, null as nothing, all else as compact JSON.
pub fn as_text(value: &Value) -> String {
    let mut text = String::new();
    push_text(&mut text, value);
    text
}

fn push_text(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => out.push_str(text),
        Value::Null => {}
        other => {
            // Writing to a String can't fail.
            let _ = write!(out, "{other}");
        }
    }
}

fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c < ' ' || c == '\u{FFFE}' || c == '\u{FFFF}' => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
}

/// A condition holds for JSON true and for the text `true`.
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::String(text) => text == "true",
        _ => false,
    }
}

/// Whether a raw value speaks of any of these variables: by `${name…}`, or by a word in an expression.
pub fn mentions(raw: &Value, names: &[&str]) -> bool {
    match raw {
        // In doubt it does: `call["digits"]` is the same as `call.digits`.
        Value::String(text) if text.starts_with('=') => {
            names.iter().any(|name| name.split('.').all(|part| text.contains(part)))
        }
        Value::String(text) => text.split("${").skip(1).any(|part| {
            let inner = part.split_once('}').map_or(part, |(inner, _)| inner);
            let path = canonical(inner.split_once(":-").map_or(inner, |(path, _)| path));
            names.iter().any(|name| {
                path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
            })
        }),
        Value::Array(items) => items.iter().any(|item| mentions(item, names)),
        Value::Object(map) => map.values().any(|value| mentions(value, names)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn vars() -> Vars {
        let mut vars = Vars::default();
        vars.set("n", json!(3));
        vars.set("null", Value::Null);
        vars.set("empty", json!(""));
        vars.set("map", json!({"a": [1, true]}));
        vars.set("hostile", json!("${n} $${n} =1+1 <b>&"));
        vars
    }

    #[test]
    fn values_keep_their_type_alone_and_become_text_inside_text() {
        let vars = vars();
        for (raw, expected) in [
            ("${n}", json!(3)),
            ("${map}", json!({"a": [1, true]})),
            ("${map.a[1]}", json!(true)),
            ("n=${n} map=${map} null=${null}.", json!("n=3 map={\"a\":[1,true]} null=.")),
            ("${gone:-x ${n}", json!("x ${n")),
            ("${null:-f}${empty:-f}|${gone:-}", json!("f|")),
            ("${n:-4}", json!(3)),
            ("$${n} $n $ ${n}", json!("${n} $n $ 3")),
            ("$=1+${n}", json!("=1+3")),
            ("open ${n", json!("open ${n")),
            ("${hostile}", json!("${n} $${n} =1+1 <b>&")),
            ("a ${hostile}", json!("a ${n} $${n} =1+1 <b>&")),
        ] {
            let mut substitution = Substitution::new(&vars);
            assert_eq!(substitution.value(&json!(raw)).unwrap(), expected, "{raw}");
            assert!(substitution.missing().is_empty(), "{raw}");
        }
    }

    #[test]
    fn missing_names_are_null_or_nothing_and_are_told() {
        let vars = vars();
        let mut substitution = Substitution::new(&vars);
        let raw = json!({"a": "${gone}", "b": ["x${also.gone}y"], "c": "${gone}"});
        assert_eq!(substitution.value(&raw).unwrap(), json!({"a": null, "b": ["xy"], "c": null}));
        assert_eq!(substitution.missing(), ["also.gone", "gone"]);
    }

    #[test]
    fn values_are_escaped_inside_ssml_only() {
        let vars = vars();
        let raw = json!({"text": "<speak>${hostile}</speak>", "other": "<speak>${hostile}</speak>"});
        let filled = Substitution::new(&vars).map(raw.as_object().unwrap(), Some("text")).unwrap();
        assert_eq!(filled["text"], json!("<speak>${n} $${n} =1+1 &lt;b&gt;&amp;</speak>"));
        assert_eq!(filled["other"], json!("<speak>${n} $${n} =1+1 <b>&</speak>"));
    }

    #[test]
    fn a_mention_is_found_by_whole_names() {
        assert!(mentions(&json!(["x ${voipbin.call.digits:-0}"]), &["call.digits"]));
        assert!(mentions(&json!("${dial.status}"), &["dial"]));
        assert!(!mentions(&json!("${dialled} dial"), &["dial"]));
        assert!(mentions(&json!("=dial.status == 'busy'"), &["dial"]));
    }
}
