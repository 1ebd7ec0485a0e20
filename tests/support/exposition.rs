//! Reads the text format of Prometheus, version 0.0.4, as strictly as its description: shares no line with the writer.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Default)]
pub struct Exposition {
    pub families: BTreeMap<String, Read>,
}

#[derive(Debug)]
pub struct Read {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
}

/// Panics at the first line that a strict reader would refuse.
pub fn read(text: &str) -> Exposition {
    assert!(text.ends_with('\n'), "the last line must end in a line feed");
    let mut exposition = Exposition::default();
    let mut family = String::new();
    let mut seen = BTreeSet::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or_else(|| panic!("no help: {line}"));
            assert!(is_name(name), "{line}");
            family = name.to_owned();
            let empty = Read { kind: String::new(), help: help.to_owned(), samples: Vec::new() };
            assert!(exposition.families.insert(family.clone(), empty).is_none(), "{name} comes twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap_or_else(|| panic!("no type: {line}"));
            assert!(["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind), "{line}");
            let read = exposition.families.get_mut(name).filter(|_| name == family);
            let read = read.unwrap_or_else(|| panic!("a type away from its help: {line}"));
            assert!(read.samples.is_empty() && read.kind.is_empty(), "a type comes first, and once: {line}");
            kind.clone_into(&mut read.kind);
        } else {
            assert!(!line.starts_with('#'), "no comment of ours: {line}");
            let sample = sample(line);
            let read = exposition.families.get_mut(&family).unwrap_or_else(|| panic!("of no family: {line}"));
            let suffixes: &[&str] =
                if read.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            let belongs = suffixes.iter().any(|suffix| sample.name == format!("{family}{suffix}"));
            assert!(belongs, "{line} stands under {family}");
            assert!(
                seen.insert((sample.name.clone(), sample.labels.clone())),
                "a series comes twice: {line}"
            );
            assert!(read.kind != "counter" || sample.value >= 0.0, "{line}");
            read.samples.push(sample);
        }
    }
    exposition
        .families
        .iter()
        .filter(|(_, read)| read.kind == "histogram")
        .for_each(|(name, read)| buckets(name, read));
    exposition
}

impl Exposition {
    /// What all series of this name with these labels come to together.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.families.values().flat_map(|read| &read.samples);
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, word)| sample.labels.get(*label).is_some_and(|is| is == word))
        };
        let found: Vec<f64> = samples.filter(fits).map(|sample| sample.value).collect();
        assert!(!found.is_empty(), "there is no {name} with {labels:?}");
        found.iter().sum()
    }
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no value: {line}"));
    let (name, rest) = line.split_at(end);
    assert!(is_name(name), "{line}");
    let mut labels = BTreeMap::new();
    let value = match rest.strip_prefix('{') {
        None => rest,
        Some(mut rest) => loop {
            let (label, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("no label: {line}"));
            assert!(is_name(label) && !label.contains(':'), "{line}");
            let (word, after) = after.split_once('"').unwrap_or_else(|| panic!("an open label: {line}"));
            assert!(!word.contains('\\'), "no word of ours needs an escape: {line}");
            assert!(labels.insert(label.to_owned(), word.to_owned()).is_none(), "{line}");
            match after.strip_prefix(',') {
                Some(after) => rest = after,
                None => break after.strip_prefix('}').unwrap_or_else(|| panic!("open labels: {line}")),
            }
        },
    };
    let value = value.strip_prefix(' ').unwrap_or_else(|| panic!("one space before the value: {line}"));
    let value = match value {
        "+Inf" => f64::INFINITY,
        value => value.parse().unwrap_or_else(|_| panic!("no number: {line}")),
    };
    Sample { name: name.to_owned(), labels, value }
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || byte == b':';
    let mut bytes = name.bytes();
    bytes.next().is_some_and(letter) && bytes.all(|byte| letter(byte) || byte.is_ascii_digit())
}

/// Buckets grow with their bounds, and the last one is the count.
fn buckets(name: &str, read: &Read) {
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in read.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le").unwrap_or_else(|| panic!("{name}: a bucket without its bound"));
        let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
        series.entry(labels).or_default().push((bound, sample.value));
    }
    assert!(!series.is_empty(), "{name} has no buckets");
    for (labels, buckets) in series {
        assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{name} {labels:?}: {buckets:?}");
        let (last, all) = *buckets.last().unwrap();
        let of = |suffix: &str| {
            let full = format!("{name}{suffix}");
            let found = read.samples.iter().find(|sample| sample.name == full && sample.labels == labels);
            found.unwrap_or_else(|| panic!("{full} {labels:?} is missing")).value
        };
        assert_eq!((last, all), (f64::INFINITY, of("_count")), "{name} {labels:?}");
        assert!(of("_sum") >= 0.0);
    }
}
