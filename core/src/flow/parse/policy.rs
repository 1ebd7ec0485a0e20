//! `retry`, `maxRetries`, `timeout`, `on_error`: the same words on a document and on an action.

use super::super::diagnostic::{Code, Place};
use super::super::script::{OnError, Retry};
use super::super::source::{Node, Tree};
use super::fields::{Field, Fields};
use super::{Mention, Reader, is_absent, text};
use crate::scene::ErrorClass;

/// Waiting longer than this for an answer is not a policy.
const TIMEOUT_MS_MAX: u64 = 30 * 24 * 3_600_000;
/// With pauses of an hour, a week of trying.
const ATTEMPTS_MAX: u64 = 168;
const FACTOR_MAX: f64 = 100.0;

const CLASSES: &[(&str, ErrorClass)] = &[
    ("invalid", ErrorClass::Invalid),
    ("unavailable", ErrorClass::Unavailable),
    ("timeout", ErrorClass::Timeout),
    ("rejected", ErrorClass::Rejected),
    ("limit", ErrorClass::Limit),
    ("canceled", ErrorClass::Canceled),
    ("internal", ErrorClass::Internal),
];

impl Reader<'_> {
    /// `retry: {…}`, or `maxRetries: N` for N + 1 attempts.
    pub(super) fn retry(&mut self, fields: &mut Fields<'_>) -> Option<Retry> {
        let retry = fields.take(&["retry"], &mut self.notes);
        let retries = fields.take(&["maxRetries"], &mut self.notes);
        if let (Some(_), Some(retries)) = (&retry, &retries) {
            let place = Place::new(retries.place.path.clone(), retries.key_at);
            let message = "\"retry\" and \"maxRetries\" mean the same; expected one of them";
            self.notes.error(&place, Code::BothAliases, message);
        }
        let by_count = retries.and_then(|field| {
            let retries = self.whole(&field, 0, ATTEMPTS_MAX - 1)?;
            Some(Retry { attempts: retries.saturating_add(1), ..self.language.defaults.retry.clone() })
        });
        retry.and_then(|field| self.retry_object(&field)).or(by_count)
    }

    fn retry_object(&mut self, field: &Field<'_>) -> Option<Retry> {
        let mut fields = Fields::of(field.node, &field.place.path, "an object", &mut self.notes)?;
        let mut retry = self.language.defaults.retry.clone();
        // What does not fit is reported, and its default stands in: the rest is to be judged too.
        if let Some(field) = fields.take(&["attempts"], &mut self.notes) {
            retry.attempts = self.whole(&field, 1, ATTEMPTS_MAX).unwrap_or(retry.attempts);
        }
        if let Some(field) = fields.take(&["initial"], &mut self.notes) {
            let initial = self.seconds(field.node, &field.place, 0, TIMEOUT_MS_MAX);
            retry.initial_ms = initial.unwrap_or(retry.initial_ms);
        }
        if let Some(field) = fields.take(&["factor"], &mut self.notes) {
            retry.factor = self.fraction(&field, 1.0, FACTOR_MAX).unwrap_or(retry.factor);
        }
        match fields.take(&["max"], &mut self.notes) {
            None => retry.max_ms = retry.max_ms.max(retry.initial_ms),
            Some(field) => {
                let max = self.seconds(field.node, &field.place, 0, TIMEOUT_MS_MAX);
                if max.is_some_and(|max| max < retry.initial_ms) {
                    let message =
                        format!("expected at least \"initial\", {}", text::duration_text(retry.initial_ms));
                    self.notes.error(&field.place, Code::InvalidValue, message);
                }
                retry.max_ms = max.unwrap_or(retry.max_ms);
            }
        }
        if let Some(field) = fields.take(&["jitter"], &mut self.notes) {
            retry.jitter = self.fraction(&field, 0.0, 1.0).unwrap_or(retry.jitter);
        }
        if let Some(field) = fields.take(&["non_retryable"], &mut self.notes) {
            retry.non_retryable = self.classes(&field);
        }
        if let Some(field) = fields.take(&["retryable"], &mut self.notes) {
            retry.retryable = self.classes(&field);
        }
        let known = ["attempts", "initial", "factor", "max", "jitter", "non_retryable", "retryable"];
        fields.finish(Code::UnknownKey, "key", &known, &mut self.notes);
        Some(retry)
    }

    pub(super) fn timeout(&mut self, fields: &mut Fields<'_>) -> Option<u64> {
        let field = fields.take(&["timeout"], &mut self.notes)?;
        self.seconds(field.node, &field.place, 1, TIMEOUT_MS_MAX)
    }

    /// `continue`, `fail` or `{goto: target}`.
    pub(super) fn on_error(
        &mut self,
        fields: &mut Fields<'_>,
        targets: &mut Vec<Mention>,
    ) -> Option<OnError> {
        let field = fields.take(&["on_error"], &mut self.notes)?;
        let expected = "\"continue\", \"fail\" or an object with \"goto\"";
        match &field.node.tree {
            Tree::Text(word) => match word.as_str() {
                "continue" => Some(OnError::Continue),
                "fail" => Some(OnError::Fail),
                word => {
                    let message = format!("expected {expected}, got {}", field.node.described());
                    let known = ["continue", "fail", "goto"];
                    self.notes.error_near(&field.place, Code::InvalidValue, message, word, known);
                    None
                }
            },
            _ => {
                let mut inner = Fields::of(field.node, &field.place.path, expected, &mut self.notes)?;
                let goto = inner.need(&["goto"], &mut self.notes);
                inner.finish(Code::UnknownKey, "key", &["goto"], &mut self.notes);
                let goto = goto?;
                let word = self.word(&goto)?;
                if is_absent(&word) {
                    return None;
                }
                targets.push(Mention { word: word.clone(), place: goto.place });
                Some(OnError::Goto(word))
            }
        }
    }

    /// Text with a unit, or a number of seconds, in milliseconds.
    pub(super) fn seconds(&mut self, node: &Node, place: &Place, min: u64, max: u64) -> Option<u64> {
        self.duration(node, place, 1000.0, "seconds", min, max)
    }

    /// Text with a unit, or a number of milliseconds.
    pub(super) fn millis(&mut self, node: &Node, place: &Place, min: u64, max: u64) -> Option<u64> {
        self.duration(node, place, 1.0, "milliseconds", min, max)
    }

    fn duration(
        &mut self,
        node: &Node,
        place: &Place,
        factor: f64,
        bare: &str,
        min: u64,
        max: u64,
    ) -> Option<u64> {
        let ms = match &node.tree {
            Tree::Text(text) => text::duration_ms(text),
            Tree::Number { value, .. } => {
                // Beyond 2^53 ms precision is lost, and no bound comes near.
                value.as_f64().map(|n| n * factor).filter(|ms| *ms >= 0.0).map(|ms| ms.round() as u64)
            }
            _ => None,
        };
        let Some(ms) = ms else {
            let message = format!(
                "expected a duration (250ms, 10s, 5m, 4h or a number of {bare}), got {}",
                node.described()
            );
            let code = if matches!(node.tree, Tree::Text(_) | Tree::Number { .. }) {
                Code::InvalidValue
            } else {
                Code::WrongType
            };
            self.notes.error(place, code, message);
            return None;
        };
        if ms < min || ms > max {
            let (low, high) = (text::duration_text(min), text::duration_text(max));
            let got = text::duration_text(ms);
            self.notes.error(
                place,
                Code::InvalidValue,
                format!("expected a duration from {low} to {high}, got {got}"),
            );
            return None;
        }
        Some(ms)
    }

    fn whole(&mut self, field: &Field<'_>, min: u64, max: u64) -> Option<u32> {
        let got = match &field.node.tree {
            Tree::Number { value, .. } => value.as_u64(),
            _ => None,
        };
        match got.filter(|n| (min..=max).contains(n)).and_then(|n| u32::try_from(n).ok()) {
            Some(n) => Some(n),
            None => {
                let message =
                    format!("expected a whole number from {min} to {max}, got {}", field.node.described());
                self.notes.error(&field.place, Code::InvalidValue, message);
                None
            }
        }
    }

    fn fraction(&mut self, field: &Field<'_>, min: f64, max: f64) -> Option<f64> {
        let got = match &field.node.tree {
            Tree::Number { value, .. } => value.as_f64(),
            _ => None,
        };
        let fits = got.filter(|n| (min..=max).contains(n));
        if fits.is_none() {
            let message = format!("expected a number from {min} to {max}, got {}", field.node.described());
            self.notes.error(&field.place, Code::InvalidValue, message);
        }
        fits
    }

    fn classes(&mut self, field: &Field<'_>) -> Vec<ErrorClass> {
        let Tree::List(items) = &field.node.tree else {
            let message = format!("expected a list of error classes, got {}", field.node.described());
            self.notes.error(&field.place, Code::WrongType, message);
            return Vec::new();
        };
        let mut classes = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let word = if let Tree::Text(word) = &item.tree { word.as_str() } else { "" };
            match CLASSES.iter().find(|(name, _)| *name == word) {
                Some((_, class)) => classes.push(*class),
                None => {
                    let place = Place::new(format!("{}[{index}]", field.place.path), item.at);
                    let names: Vec<&str> = CLASSES.iter().map(|(name, _)| *name).collect();
                    let message = format!("expected one of {}, got {}", names.join(", "), item.described());
                    self.notes.error_near(&place, Code::InvalidValue, message, word, names);
                }
            }
        }
        classes
    }
}
