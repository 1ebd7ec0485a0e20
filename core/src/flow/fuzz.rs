//! Doors for fuzz targets: any bytes may come in, none may make it panic.

use super::action;
use super::check::check_all;
use super::parse::{Language, parse, parse_list};
use crate::limit::Limits;
use std::collections::BTreeSet;

/// Reads and checks a document. The first byte chooses its dress: JSON, YAML, or a pushed list.
pub fn fuzz_document(data: &[u8]) {
    let Some((dress, bytes)) = data.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    let limits = Limits::default();
    let actions = action::declared();
    let language = Language::new(&actions, action::LATER, &limits);
    match dress % 3 {
        0 => check(&language, "fuzz.json", &text),
        1 => check(&language, "fuzz.yaml", &text),
        _ => _ = parse_list(&language, "fuzz", "seed", &text, &BTreeSet::new()),
    }
}

fn check(language: &Language<'_>, file: &str, text: &str) {
    let parsed = parse(language, file, "fuzz", text);
    assert_eq!(
        parsed.script.is_some(),
        parsed.report.is_ok(),
        "a script without errors, or errors without a script"
    );
    check_all(&[&parsed.spans], &[]);
}
