//! Documents as people write and other systems export them, good ones and bad ones. Beside a document lies what is
//! said about it: `name.expect` has a line `line:column code` for each error and `warning line:column code` for each
//! warning. `UPDATE=1 cargo test --test documents` writes those files anew, for a reader to judge the difference.

use holdline_core::flow::check::check_all;
use holdline_core::flow::diagnostic::{Diagnostic, Report};
use holdline_core::flow::parse::{Language, Parsed, Spans, parse, parse_list};
use holdline_core::flow::sample;
use holdline_core::flow::script::{ActionNode, Dialect, OnError};
use holdline_core::limit::Limits;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn with_language<T>(then: impl FnOnce(&Language<'_>) -> T) -> T {
    let limits = Limits::default();
    then(&Language::new(sample::ACTIONS, sample::LATER, &limits))
}

fn read(file: &str, text: &str) -> Parsed {
    let stem = Path::new(file).file_stem().unwrap().to_str().unwrap();
    with_language(|language| parse(language, file, stem, text))
}

struct Document {
    path: PathBuf,
    parsed: Parsed,
}

/// Every document of a folder, in the order of names.
fn folder(name: &str) -> Vec<Document> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/flows").join(name);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension != "expect"));
    paths.sort();
    let open = |path: PathBuf| {
        let file = path.file_name().unwrap().to_str().unwrap().to_owned();
        let parsed = read(&file, &fs::read_to_string(&path).unwrap());
        Document { path, parsed }
    };
    paths.into_iter().map(open).collect()
}

fn spans(documents: &[Document]) -> Vec<&Spans> {
    documents.iter().map(|document| &document.parsed.spans).collect()
}

/// Compares what was said with what lies beside the document; the difference, if there is one.
fn judge(document: &Document, report: &Report) -> Option<String> {
    let line = |d: &Diagnostic| format!("{}:{} {}", d.line, d.column, d.code);
    let errors = report.errors.iter().map(line);
    let warnings = report.warnings.iter().map(|d| format!("warning {}", line(d)));
    let said: String = errors.chain(warnings).map(|line| line + "\n").collect();
    let beside = document.path.with_extension(match document.path.extension() {
        Some(extension) if extension == "json" => "json.expect",
        _ => "expect",
    });
    if std::env::var_os("UPDATE").is_some() {
        if said.is_empty() {
            let _ = fs::remove_file(&beside);
        } else {
            fs::write(&beside, &said).unwrap();
        }
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    (said != expected)
        .then(|| format!("{}\nexpected:\n{expected}\ngot:\n{said}\n{report}", document.path.display()))
}

fn judge_all(documents: &[Document], in_force: &[&Spans], are_together: bool) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut wrong = Vec::new();
    let everyone = spans(documents);
    for document in documents {
        let mut report = document.parsed.report.clone();
        let all = if are_together {
            check_all(&everyone, in_force)
        } else {
            check_all(&[&document.parsed.spans], in_force)
        };
        let file = &document.parsed.spans.file;
        report.errors.extend(all.errors.into_iter().filter(|d| d.file == *file));
        report.warnings.extend(all.warnings.into_iter().filter(|d| d.file == *file));
        report.sort();
        wrong.extend(judge(document, &report));
        reports.push(report);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    reports
}

#[test]
fn good_documents_load_as_they_stand() {
    let documents = folder("good");
    assert!(documents.len() >= 12);
    for (document, report) in documents.iter().zip(judge_all(&documents, &[], true)) {
        assert!(report.is_ok() && document.parsed.script.is_some(), "{}", document.path.display());
    }
}

#[test]
fn documents_with_actions_of_later_deliveries_load_too() {
    let documents = folder("later");
    for (document, report) in documents.iter().zip(judge_all(&documents, &[], true)) {
        assert!(report.is_ok() && document.parsed.script.is_some(), "{}", document.path.display());
    }
}

#[test]
fn bad_documents_are_told_everything_that_is_wrong() {
    let good = folder("good");
    let documents = folder("bad");
    assert!(documents.len() >= 25);
    for (document, report) in documents.iter().zip(judge_all(&documents, &spans(&good), false)) {
        assert!(!report.is_ok(), "{}", document.path.display());
    }
}
