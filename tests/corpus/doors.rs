//! Readers outside the core that take any bytes: shared by the fuzz targets and the test over their corpus.

use holdline::config::{Config, Sources};
use holdline_harness::network::twiml;
use std::collections::BTreeMap;

/// Every line is an environment variable: `HOLDLINE__CALLS__MAX_CALLS=10`.
pub fn fuzz_config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let variables = text.lines().filter_map(|line| line.split_once('='));
    let environment: BTreeMap<String, String> =
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let sources = Sources { file: None, environment, flags: Vec::new() };
    let loaded = Config::load(&sources).map(drop).map_err(|error| error.to_string());
    let shown = Config::effective(&sources).map(drop).map_err(|error| error.to_string());
    assert_eq!(loaded, shown, "what can be loaded can be shown");
}

/// A document as the pretend network reads it.
pub fn fuzz_twiml_in(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let first = twiml::read(&text).map_err(|error| error.to_string());
    let second = twiml::read(&text).map_err(|error| error.to_string());
    assert_eq!(format!("{first:?}"), format!("{second:?}"), "the same text is the same document");
}
