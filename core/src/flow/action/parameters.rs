//! Parameters after substitution. What was text with `${…}` is brought to its declared shape here, when it runs; what
//! the document wrote plainly was checked and normalised when it was read.

use super::Fault;
use crate::flow::declare::{Parameter, Shape};
use crate::flow::substitute::as_text;
use serde_json::{Map, Value};

pub struct Parameters<'p>(pub &'p Map<String, Value>);

impl<'p> Parameters<'p> {
    pub fn value(&self, name: &str) -> Option<&'p Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub fn text(&self, name: &str) -> Option<&'p str> {
        self.value(name)?.as_str()
    }

    /// Text that says something.
    pub fn word(&self, name: &str) -> Option<&'p str> {
        self.text(name).map(str::trim).filter(|text| !text.is_empty())
    }

    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.value(name).and_then(Value::as_bool).unwrap_or(default)
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        self.value(name)?.as_i64()
    }

    /// Milliseconds, and whole numbers that can't be negative.
    pub fn amount(&self, name: &str) -> Option<u64> {
        self.value(name)?.as_u64()
    }

    pub fn list(&self, name: &str) -> &'p [Value] {
        self.value(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub fn require(&self, name: &str) -> Result<&'p str, Fault> {
        self.word(name).ok_or_else(|| Fault::invalid(format!("`{name}` is missing or empty")))
    }
}

/// Brings what was substituted to the shapes that the action declares.
pub fn settle(
    declared: &[Parameter],
    raw: &Map<String, Value>,
    filled: &mut Map<String, Value>,
) -> Result<(), Fault> {
    for parameter in declared {
        let Some(written) = raw.get(parameter.name) else { continue };
        if let Some(value) = filled.get_mut(parameter.name) {
            settle_value(parameter.shape, written, value)
                .map_err(|expected| Fault::invalid(format!("`{}`: expected {expected}", parameter.name)))?;
        }
    }
    Ok(())
}

/// Err: what was expected, and what came.
fn settle_value(shape: Shape, written: &Value, value: &mut Value) -> Result<(), String> {
    match (shape, &mut *value) {
        (Shape::ListOf(inner), Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                let written = written.get(index).unwrap_or(&Value::Null);
                settle_value(*inner, written, item)?;
            }
            return Ok(());
        }
        (Shape::MapOf(inner), Value::Object(map)) => {
            for (key, item) in map.iter_mut() {
                settle_value(*inner, written.get(key).unwrap_or(&Value::Null), item)?;
            }
            return Ok(());
        }
        (Shape::Object(parameters), Value::Object(map)) => {
            for parameter in parameters {
                if let (Some(written), Some(item)) =
                    (written.get(parameter.name), map.get_mut(parameter.name))
                {
                    settle_value(parameter.shape, written, item)?;
                }
            }
            return Ok(());
        }
        _ => {}
    }
    let was_dynamic = written.as_str().is_some_and(|text| text.contains("${") || text.starts_with('='));
    if !was_dynamic || value.is_null() {
        return Ok(());
    }
    let came = || format!("came {}", as_text(value));
    *value = match shape {
        Shape::Flag => match &*value {
            Value::Bool(flag) => Value::Bool(*flag),
            Value::String(text) if text.trim() == "true" => Value::Bool(true),
            Value::String(text) if text.trim() == "false" => Value::Bool(false),
            _ => return Err(format!("true or false, {}", came())),
        },
        Shape::Integer { min, max } => {
            let number = value
                .as_i64()
                .or_else(|| whole(value.as_f64()?))
                .or_else(|| value.as_str()?.trim().parse().ok());
            match number {
                Some(number) if (min..=max).contains(&number) => Value::from(number),
                _ => return Err(format!("a whole number from {min} to {max}, {}", came())),
            }
        }
        Shape::Number { min, max } => match value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()) {
            Some(number) if (min..=max).contains(&number) => Value::from(number),
            _ => return Err(format!("{}, {}", Shape::number_words(min, max), came())),
        },
        Shape::Millis { min, max } => settle_millis(value, 1.0, min, max)?,
        Shape::Seconds { min, max } => settle_millis(value, 1000.0, min, max)?,
        Shape::OneOf(words) => match value.as_str() {
            Some(text) if words.contains(&text) => Value::from(text),
            _ => return Err(format!("one of {}, {}", words.join(", "), came())),
        },
        Shape::Keys { alphabet, max } => {
            let text = as_text(value);
            if text.chars().count() > max || !text.chars().all(|key| alphabet.contains(key)) {
                return Err(format!("at most {max} of the keys {alphabet}, {}", came()));
            }
            Value::String(text)
        }
        Shape::Text | Shape::Target | Shape::Workflow => Value::String(as_text(value)),
        Shape::ListOf(_) => return Err(format!("a list, {}", came())),
        Shape::MapOf(_) | Shape::Object(_) => return Err(format!("an object, {}", came())),
        Shape::Any | Shape::Expression | Shape::Ignored | Shape::Actions | Shape::ActionsOrWorkflow => {
            return Ok(());
        }
    };
    Ok(())
}

fn settle_millis(value: &Value, unit_ms: f64, min: u64, max: u64) -> Result<Value, String> {
    let millis = match value {
        Value::Number(number) => number.as_f64().map(|number| number * unit_ms),
        Value::String(text) => millis(text, unit_ms),
        _ => None,
    };
    match millis {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within the bounds just checked"
        )]
        Some(millis) if millis >= min as f64 && millis <= max as f64 => {
            Ok(Value::from(millis.round() as u64))
        }
        _ => Err(format!("a duration from {min} ms to {max} ms, came {}", as_text(value))),
    }
}

/// `250ms`, `10s`, `5m`, `4h`, or a bare number of `unit_ms`.
fn millis(text: &str, unit_ms: f64) -> Option<f64> {
    let text = text.trim();
    let (number, unit_ms) = [("ms", 1.0), ("s", 1000.0), ("m", 60_000.0), ("h", 3_600_000.0)]
        .into_iter()
        .find_map(|(unit, ms)| Some((text.strip_suffix(unit)?, ms)))
        .unwrap_or((text, unit_ms));
    let number: f64 = number.trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some(number * unit_ms)
}

#[expect(clippy::cast_possible_truncation, reason = "whole and far below 2^53")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_substituted_is_brought_to_its_shape_and_what_was_written_is_left() {
        let secs = Shape::Seconds { min: 0, max: 60_000 };
        let int = Shape::Integer { min: -1, max: 10 };
        for (shape, written, came, expected) in [
            (secs, json!("${x}"), json!("30"), Ok(json!(30_000))),
            (secs, json!("${x}"), json!("250ms"), Ok(json!(250))),
            (secs, json!("${x}"), json!(2), Ok(json!(2000))),
            (secs, json!(2000), json!(2000), Ok(json!(2000))),
            (secs, json!("${x}"), json!("2h"), Err(())),
            (int, json!("${x}"), json!("3"), Ok(json!(3))),
            (int, json!("${x}"), json!(3.0), Ok(json!(3))),
            (int, json!("${x}"), json!("x"), Err(())),
            (int, json!("${x}"), Value::Null, Ok(Value::Null)),
            (Shape::Flag, json!("${x}"), json!("true"), Ok(json!(true))),
            (Shape::Text, json!("${x}"), json!(12), Ok(json!("12"))),
            (Shape::ListOf(&Shape::Text), json!(["${x}", "b"]), json!([1, "b"]), Ok(json!(["1", "b"]))),
            (Shape::ListOf(&Shape::Text), json!("${x}"), json!(1), Err(())),
        ] {
            let mut value = came.clone();
            let settled = settle_value(shape, &written, &mut value).map(|()| value).map_err(drop);
            assert_eq!(settled, expected, "{shape:?} {came}");
        }
    }
}
