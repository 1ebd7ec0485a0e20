//! Every file of the fuzz targets' corpus goes through the same doors: what once was a crash stays mended.

mod doors;

use holdline_core::fuzz::*;
use std::fs;
use std::path::Path;

type Target = (&'static str, fn(&[u8]));

const TARGETS: &[Target] = &[
    ("stream_text", fuzz_stream_text),
    ("form", fuzz_form),
    ("wav", fuzz_wav),
    ("flow_document", fuzz_document),
    ("call_inputs", fuzz_call_inputs),
    ("expression", fuzz_expression),
    ("fetched", fuzz_fetched),
    ("journal", fuzz_journal),
    ("signature", fuzz_signature),
    ("config", doors::fuzz_config),
    ("twiml_in", doors::fuzz_twiml_in),
];

#[test]
fn every_corpus_file_is_read_without_harm() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (target, door) in TARGETS {
        let folder = corpus.join(target);
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty(), "{target} has no corpus");
        for file in files {
            door(&fs::read(&file).unwrap());
        }
    }
}

#[test]
fn every_target_has_its_corpus_and_every_corpus_its_target() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let names = |folder: &str| {
        let entries = fs::read_dir(fuzz.join(folder)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    let mut known: Vec<&str> = TARGETS.iter().map(|(target, _)| *target).collect();
    known.sort();
    assert_eq!(names("fuzz_targets"), known);
    assert_eq!(names("corpus"), known);
}
