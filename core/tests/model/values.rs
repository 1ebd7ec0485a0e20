//! The interpreter's own `${…}`, and the handful of expressions that the dice know, each by hand.

use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Variables, and the names that were asked for in vain.
#[derive(Default)]
pub struct Values {
    pub vars: BTreeMap<String, Value>,
    /// The runtime's own, of the last error that led somewhere.
    pub error: Option<Value>,
    pub missing: RefCell<BTreeSet<String>>,
}

/// An expression that can't be evaluated.
#[derive(Debug)]
pub struct Wrong;

type Found = Result<Value, Wrong>;

impl Values {
    pub fn fill(&self, raw: &Value) -> Found {
        Ok(match raw {
            Value::Array(items) => items.iter().map(|item| self.fill(item)).collect::<Result<_, _>>()?,
            Value::Object(map) => {
                let filled = map.iter().map(|(key, value)| Ok((key.clone(), self.fill(value)?)));
                Value::Object(filled.collect::<Result<_, Wrong>>()?)
            }
            Value::String(text) => match text.strip_prefix('=') {
                // An operator, by which conditions compare.
                Some("=") => json!(text),
                Some(expression) => return self.evaluate(expression),
                None => self.text(text),
            },
            other => other.clone(),
        })
    }

    fn text(&self, text: &str) -> Value {
        if let Some(literal) = text.strip_prefix("$=") {
            return json!(format!("={}", self.inside(literal)));
        }
        let whole = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        match whole.filter(|name| !name.contains('}')) {
            Some(name) => self.placeholder(name),
            None => json!(self.inside(text)),
        }
    }

    fn inside(&self, text: &str) -> String {
        // From the left: an escaped one, a placeholder, or a character.
        if let Some(rest) = text.strip_prefix("$${") {
            return format!("${{{}", self.inside(rest));
        }
        if let Some((name, rest)) = text.strip_prefix("${").and_then(|rest| rest.split_once('}')) {
            return as_text(&self.placeholder(name)) + &self.inside(rest);
        }
        match text.chars().next() {
            Some(first) => format!("{first}{}", self.inside(&text[first.len_utf8()..])),
            None => String::new(),
        }
    }

    fn placeholder(&self, name: &str) -> Value {
        let (path, fallback) = match name.split_once(":-") {
            Some((path, fallback)) => (path.trim(), Some(fallback)),
            None => (name.trim(), None),
        };
        match (self.get(path), fallback) {
            (None | Some(Value::Null), Some(fallback)) => json!(fallback),
            (Some(value), _) => value,
            (None, None) => {
                self.missing.borrow_mut().insert(path.to_owned());
                Value::Null
            }
        }
    }

    /// By the longest name, then down the path.
    pub fn get(&self, path: &str) -> Option<Value> {
        if path == "error" {
            return self.error.clone();
        }
        if let Some(value) = self.vars.get(path) {
            return Some(value.clone());
        }
        let cut = path.rfind(['.', '['])?;
        let (outer, inner) = path.split_at(cut);
        let outer = self.get(outer)?;
        match inner.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(place) => match place.parse::<usize>() {
                Ok(place) => outer.get(place).cloned(),
                Err(_) => outer.get(place.trim_matches('"')).cloned(),
            },
            None => outer.get(&inner[1..]).cloned(),
        }
    }

    pub fn evaluate(&self, expression: &str) -> Found {
        let var = |name: &str| self.get(name).ok_or(Wrong);
        Ok(match expression {
            "1 + 2" => json!(3),
            "7 / 2" => json!(3),
            "v + 1" => match var("v")? {
                Value::Number(number) => match number.as_i64() {
                    Some(whole) => json!(whole.checked_add(1).ok_or(Wrong)?),
                    None => json!(number.as_f64().ok_or(Wrong)? + 1.0),
                },
                _ => return Err(Wrong),
            },
            "v == 1" => json!(is_one(&var("v")?)),
            "v != 'a'" => json!(var("v")? != "a"),
            "has(w.k)" => json!(self.get("w.k").is_some()),
            "size(v)" => match var("v")? {
                Value::String(text) => json!(text.chars().count()),
                Value::Array(items) => json!(items.len()),
                Value::Object(map) => json!(map.len()),
                _ => return Err(Wrong),
            },
            "v in [1, 'a', true]" => {
                let v = var("v")?;
                json!(is_one(&v) || v == "a" || v == true)
            }
            "v ? 'yes' : 'no'" => match var("v")? {
                Value::Bool(true) => json!("yes"),
                Value::Bool(false) => json!("no"),
                _ => return Err(Wrong),
            },
            "v == 1 ? 'a' : 1" => {
                if is_one(&var("v")?) {
                    json!("a")
                } else {
                    json!(1)
                }
            }
            "v" => var("v")?,
            "w.k" => var("w.k")?,
            "${v} == ${w}" => json!(equal(&var("v")?, &var("w")?)),
            "gone" => return Err(Wrong),
            "'a' + v" => match var("v")? {
                Value::String(text) => json!(format!("a{text}")),
                _ => return Err(Wrong),
            },
            "[v, w]" => json!([var("v")?, var("w")?]),
            "v < 2" => match var("v")? {
                Value::Number(number) => json!(number.as_f64().ok_or(Wrong)? < 2.0),
                _ => return Err(Wrong),
            },
            other => unreachable!("the dice know no `{other}`"),
        })
    }
}

fn is_one(value: &Value) -> bool {
    value.as_f64() == Some(1.0)
}

/// Numbers are equal by what they are worth.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Inside text.
pub fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
