//! The page that monitoring reads, and its text (Prometheus, version 0.0.4).
//!
//! A series whose words are known is there from the beginning, with 0: a rate has no past to begin with otherwise.

use super::{FAMILIES, Family, Kind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The media type of [`Page::text`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Values by family and words.
#[derive(Debug, Default)]
pub struct Page {
    rows: BTreeMap<(&'static str, Vec<&'static str>), Value>,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Number(f64),
    Measured(Measured),
}

/// What a histogram has counted. Each bucket counts what is above the bound before it and not above its own; what is
/// above all of them is only in `count`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Measured {
    pub buckets: Vec<u64>,
    pub count: u64,
    pub sum: u64,
}

impl Page {
    /// Adds to a series. Words that the table does not know are left out: they are no labels.
    #[expect(clippy::cast_precision_loss, reason = "monitoring reads floats")]
    pub fn count(&mut self, family: &'static Family, words: &[&str], value: u64) {
        self.add(family, words, value as f64);
    }

    /// As [`Page::count`], of what is no whole number.
    pub fn add(&mut self, family: &'static Family, words: &[&str], value: f64) {
        let Some(words) = known(family, words) else { return };
        match self.rows.entry((family.name, words)).or_insert(Value::Number(0.0)) {
            Value::Number(number) => *number += value,
            Value::Measured(_) => {}
        }
    }

    pub fn measured(&mut self, family: &'static Family, words: &[&str], measured: Measured) {
        if let Some(words) = known(family, words) {
            self.rows.insert((family.name, words), Value::Measured(measured));
        }
    }

    /// What stands in a series.
    pub fn number(&self, family: &'static Family, words: &[&str]) -> Option<f64> {
        match self.rows.get(&(family.name, known(family, words)?))? {
            Value::Number(number) => Some(*number),
            Value::Measured(_) => None,
        }
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        for family in FAMILIES {
            self.family(family, &mut text);
        }
        text
    }

    fn family(&self, family: &'static Family, text: &mut String) {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram { .. } => "histogram",
        };
        // Writing into a text can't fail.
        let _ = writeln!(text, "# HELP {} {}", family.name, family.help.trim());
        let _ = writeln!(text, "# TYPE {} {kind}", family.name);
        for words in combinations(family) {
            let value = self.rows.get(&(family.name, words.clone()));
            match (family.kind, value) {
                (Kind::Histogram { bounds, in_one }, value) => {
                    let nothing = Measured::default();
                    let measured = match value {
                        Some(Value::Measured(measured)) => measured,
                        _ => &nothing,
                    };
                    histogram(family, &words, bounds, in_one, measured, text);
                }
                (_, Some(Value::Number(number))) => series(family, "", &words, None, *number, text),
                // Of a bound it is not always known how much is used: then there is no number.
                (Kind::Gauge, None) if !family.labels.is_empty() => {}
                _ => series(family, "", &words, None, 0.0, text),
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "monitoring reads floats")]
fn histogram(
    family: &Family,
    words: &[&str],
    bounds: &[u64],
    in_one: u64,
    measured: &Measured,
    text: &mut String,
) {
    let mut below = 0;
    for (place, bound) in bounds.iter().enumerate() {
        below += measured.buckets.get(place).copied().unwrap_or(0);
        let bound = (*bound as f64 / in_one as f64).to_string();
        series(family, "_bucket", words, Some(&bound), below as f64, text);
    }
    // Counted a moment after its bucket by whoever measures, so it may be behind for that moment.
    let count = measured.count.max(below) as f64;
    series(family, "_bucket", words, Some("+Inf"), count, text);
    series(family, "_sum", words, None, measured.sum as f64 / in_one as f64, text);
    series(family, "_count", words, None, count, text);
}

fn series(family: &Family, suffix: &str, words: &[&str], bound: Option<&str>, value: f64, text: &mut String) {
    text.push_str(family.name);
    text.push_str(suffix);
    // No word of the table needs an escape: a test says so.
    let labels = family.labels.iter().map(|label| label.name).zip(words.iter().copied());
    for (place, (name, word)) in labels.chain(bound.map(|bound| ("le", bound))).enumerate() {
        let _ = write!(text, "{}{name}=\"{word}\"", if place == 0 { '{' } else { ',' });
    }
    if !family.labels.is_empty() || bound.is_some() {
        text.push('}');
    }
    let _ = writeln!(text, " {value}");
}

/// The words as the table has them, one for each label.
fn known(family: &Family, words: &[&str]) -> Option<Vec<&'static str>> {
    let known = words.iter().enumerate().map(|(place, word)| family.word(place, word));
    let known: Option<Vec<&'static str>> = known.collect();
    let known = known.filter(|known| known.len() == family.labels.len());
    debug_assert!(known.is_some(), "{} has no series {words:?}", family.name);
    known
}

/// Every series that a family can have.
fn combinations(family: &Family) -> Vec<Vec<&'static str>> {
    family.labels.iter().fold(vec![Vec::new()], |all, label| {
        let longer = |words: &Vec<&'static str>, word: &'static str| {
            words.iter().copied().chain([word]).collect::<Vec<_>>()
        };
        all.iter().flat_map(|words| label.words.iter().map(move |word| longer(words, word))).collect()
    })
}
