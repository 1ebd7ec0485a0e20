//! What is in `ops/` for watching, held against what is really exposed: an alert on a name that is not there would
//! never fire, and nobody would know.

use std::collections::BTreeSet;
use std::path::Path;

use holdline_core::flow::source;
use holdline_core::metric::{FAMILIES, Family, Kind};
use serde_json::Value;

/// Labels that the scraper adds, and those of a histogram.
const FOREIGN_LABELS: [&str; 3] = ["instance", "job", "le"];

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

#[test]
fn every_alert_asks_for_what_is_there_and_says_what_to_do() {
    let rules = source::read("alerts.yaml", &read("ops/alerts.yaml")).unwrap().to_json();
    let mut names = BTreeSet::new();
    for rule in
        rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap())
    {
        let alert = rule["alert"].as_str().unwrap();
        assert!(alert.starts_with("Holdline") && names.insert(alert.to_owned()), "{alert}");
        let asked = asked(rule["expr"].as_str().unwrap());
        // Whether it answers at all is what the scraper knows.
        assert!(!asked.is_empty() || alert == "HoldlineDown", "{alert} asks for nothing");
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["page", "warn", "info"].contains(&severity), "{alert}: {severity}");
        for part in ["summary", "runbook"] {
            let text = rule["annotations"][part].as_str().unwrap_or_else(|| panic!("{alert} has no {part}"));
            assert!(text.len() > 25, "{alert}: {text}");
        }
    }
    assert!(names.len() >= 15, "{names:?}");
    let listed = read("docs/operations.md");
    for name in &names {
        assert!(listed.contains(&format!("`{name}`")), "docs/operations.md does not tell of {name}");
    }
}

#[test]
fn every_panel_asks_for_what_is_there_and_everything_counted_has_one() {
    let dashboard: Value = serde_json::from_str(&read("ops/grafana-dashboard.json")).unwrap();
    let (mut ids, mut shown) = (BTreeSet::new(), BTreeSet::new());
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        for target in panel["targets"].as_array().into_iter().flatten() {
            let found = asked(target["expr"].as_str().unwrap());
            assert!(!found.is_empty(), "{panel}");
            shown.extend(found);
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        shown.extend(asked(annotation["expr"].as_str().unwrap()));
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        shown.extend(variable["query"]["query"].as_str().into_iter().flat_map(asked));
    }
    // Read in the log or by an alert alone.
    let elsewhere = ["holdline_draining", "process_virtual_memory_bytes", "process_max_fds"];
    let missing: Vec<&str> = FAMILIES
        .iter()
        .map(|family| family.name)
        .filter(|name| !shown.contains(*name) && !elsewhere.contains(name))
        .collect();
    assert!(missing.is_empty(), "no panel shows {missing:?}");
}

#[test]
fn the_operators_page_explains_every_metric() {
    let page = read("docs/operations.md");
    for family in FAMILIES {
        let labels: Vec<&str> = family.labels.iter().map(|label| label.name).collect();
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram { .. } => "histogram",
        };
        let row = format!("| `{}` | {kind} | {} | {} |", family.name, labels.join(", "), family.help.trim());
        assert!(page.contains(&row), "docs/operations.md lacks the row\n{row}");
    }
    let rows = page
        .lines()
        .filter(|line| line.starts_with("| `holdline_") || line.starts_with("| `process_"))
        .count();
    assert_eq!(rows, FAMILIES.len(), "a row of a metric that is gone");
    for limit in holdline_core::metric::Limit::ALL {
        let row = format!("| `{}` | {} |", limit.word(), limit.about().trim());
        assert!(page.contains(&row), "docs/operations.md lacks the row\n{row}");
    }
}

/// The families that an expression asks for. Panics at a name, a label or a word that nothing exposes.
fn asked(expression: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut rest = expression;
    while let Some(at) = ["holdline_", "process_"].iter().filter_map(|start| rest.find(start)).min() {
        let from = rest.get(at..).unwrap();
        let end = from.find(|letter| !is_letter(letter)).unwrap_or(from.len());
        let (name, after) = from.split_at(end);
        let family = exposed(name).unwrap_or_else(|| panic!("nothing exposes {name}: {expression}"));
        found.insert(family.name);
        if let Some(matchers) = after.strip_prefix('{') {
            let (matchers, _) =
                matchers.split_once('}').unwrap_or_else(|| panic!("open braces: {expression}"));
            matchers.split(',').for_each(|matcher| judge(family, matcher, expression));
        }
        rest = after;
    }
    found
}

fn exposed(name: &str) -> Option<&'static Family> {
    FAMILIES.iter().copied().find(|family| match family.kind {
        Kind::Histogram { .. } => name
            .strip_prefix(family.name)
            .is_some_and(|suffix| ["_bucket", "_sum", "_count"].contains(&suffix)),
        _ => name == family.name,
    })
}

fn judge(family: &Family, matcher: &str, expression: &str) {
    let at = matcher.find(['=', '!']).unwrap_or_else(|| panic!("no matcher: {matcher} in {expression}"));
    let (label, rest) = matcher.split_at(at);
    let words = rest.trim_start_matches(['=', '!', '~']).trim_matches('"');
    if FOREIGN_LABELS.contains(&label) {
        return;
    }
    let known = family.labels.iter().find(|known| known.name == label);
    let known = known.unwrap_or_else(|| panic!("{} has no label {label}: {expression}", family.name));
    for word in words.split('|') {
        assert!(known.words.contains(&word), "{} is never {label}=\"{word}\": {expression}", family.name);
    }
}

#[test]
fn a_name_a_label_or_a_word_that_nothing_exposes_is_found() {
    for wrong in [
        "rate(holdline_calls_gone_total[5m])",
        "holdline_calls{phase=\"active\"}",
        "holdline_calls{state=\"asleep\"}",
        "holdline_journal_sync_seconds > 1",
    ] {
        assert!(std::panic::catch_unwind(|| asked(wrong)).is_err(), "{wrong}");
    }
    let right = asked(
        "sum by (le) (rate(holdline_journal_sync_seconds_bucket{instance=~\"a\"}[5m])) / process_open_fds",
    );
    assert_eq!(right.into_iter().collect::<Vec<_>>(), ["holdline_journal_sync_seconds", "process_open_fds"]);
}
