use super::*;
use crate::fact::CallEnd;
use crate::flow::history::Outcome;
use crate::scene::{EndReason, ErrorClass};
use std::collections::BTreeSet;

#[test]
fn every_family_has_a_name_of_its_own_that_says_its_kind_and_unit() {
    let names: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), FAMILIES.len());
    for Family { name, kind, labels, help } in FAMILIES {
        assert!(name.starts_with("holdline_") || name.starts_with("process_"), "{name}");
        assert!(name.bytes().all(|letter| letter.is_ascii_lowercase() || letter == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
        assert!(help.trim().ends_with('.') || help.contains(';'), "{name}: {help}");
        assert!(!help.contains(['\\', '\n']), "{name}: {help}");
        // Base units: seconds, bytes.
        for unit in ["_ms", "_millis", "_micros", "_minutes", "_kb", "_mb"] {
            assert!(!name.ends_with(unit) && !name.contains(&format!("{unit}_")), "{name}");
        }
        if let Kind::Histogram { bounds, in_one } = kind {
            assert!(bounds.is_sorted() && *in_one > 0 && !bounds.is_empty(), "{name}");
        }
        for label in *labels {
            assert!(!label.words.is_empty() && label.name != "le", "{name}");
            for word in label.words {
                let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"_.-".contains(&letter);
                assert!(word.bytes().all(plain), "{name}: {word}");
            }
        }
    }
}

#[test]
fn the_words_of_labels_are_those_of_the_machines() {
    let ends = [
        CallEnd::Completed,
        CallEnd::CallerHangup,
        CallEnd::Busy,
        CallEnd::Failed,
        CallEnd::NoAnswer,
        CallEnd::Canceled,
        CallEnd::Hangup,
        CallEnd::MaxDuration,
        CallEnd::IdleTimeout,
        CallEnd::NoReturn,
        CallEnd::Internal,
        CallEnd::Rejected,
    ];
    assert_eq!(CALL_ENDS, ends.map(CallEnd::as_str));
    let reasons = [
        EndReason::Completed,
        EndReason::Stopped,
        EndReason::CallEnded,
        EndReason::Failed,
        EndReason::Limit,
        EndReason::Canceled,
    ];
    assert_eq!(FLOW_ENDS, reasons.map(EndReason::as_str));
    let outcomes = [Outcome::Ok, Outcome::Skipped, Outcome::Failed, Outcome::Interrupted];
    assert_eq!(OUTCOMES, outcomes.map(Outcome::as_str));
    let classes = [
        ErrorClass::Invalid,
        ErrorClass::Unavailable,
        ErrorClass::Timeout,
        ErrorClass::Rejected,
        ErrorClass::Limit,
        ErrorClass::Canceled,
        ErrorClass::Internal,
    ];
    assert_eq!(CLASSES, classes.map(told::class));
    assert!(CLASSES.iter().all(|class| OUTGOING_ENDS.contains(class)));
    assert!(Limit::ALL.iter().map(|limit| limit.word()).eq(limits::WORDS.iter().copied()));
}

#[test]
fn a_page_is_written_in_base_units_with_buckets_that_add_up() {
    let mut page = Page::default();
    page.count(&CALLS_REFUSED, &["draining"], 2);
    page.count(&CALLS_REFUSED, &["draining"], 1);
    let buckets = vec![1, 0, 2];
    page.measured(&JOURNAL_SYNC, &[], Measured { buckets, count: 4, sum: 3_000_500 });
    let text = page.text();
    let lines: BTreeSet<&str> = text.lines().collect();
    for line in [
        "# TYPE holdline_calls_refused_total counter",
        "holdline_calls_refused_total{reason=\"draining\"} 3",
        "holdline_calls_refused_total{reason=\"capacity\"} 0",
        "# TYPE holdline_journal_sync_seconds histogram",
        "holdline_journal_sync_seconds_bucket{le=\"0.00025\"} 1",
        "holdline_journal_sync_seconds_bucket{le=\"0.0005\"} 1",
        "holdline_journal_sync_seconds_bucket{le=\"0.001\"} 3",
        "holdline_journal_sync_seconds_bucket{le=\"2.5\"} 3",
        "holdline_journal_sync_seconds_bucket{le=\"+Inf\"} 4",
        "holdline_journal_sync_seconds_sum 3.0005",
        "holdline_journal_sync_seconds_count 4",
        "holdline_draining 0",
    ] {
        assert!(lines.contains(line), "{line}\n{text}");
    }
    assert_eq!(lines.len(), text.lines().count(), "a line stands there twice");
}

#[test]
#[cfg(not(debug_assertions))]
fn a_word_that_the_table_does_not_know_never_becomes_a_label() {
    let mut page = Page::default();
    page.count(&CALLS_REFUSED, &["+14155550142"], 1);
    assert!(!page.text().contains("+1415"));
}
