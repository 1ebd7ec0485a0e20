//! Call transcripts: every story in `tests/calls` is performed on the bare machines and on the real actors, and both
//! must tell what the file foretells. `UPDATE=1 cargo test --test calls` rewrites what the files foretell.

use holdline_harness::report::On;
use holdline_harness::{Options, Outcome, perform_file};
use std::path::{Path, PathBuf};

fn stories() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calls");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the stories")
        .map(|entry| entry.expect("a story").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "call"))
        .collect();
    files.sort();
    files
}

fn perform_all(options: Options) {
    let wanted = std::env::var("STORY").unwrap_or_default();
    let mut wrong = String::new();
    for file in stories().iter().filter(|file| file.to_string_lossy().contains(&wanted)) {
        let report = perform_file(file, options);
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        match report.outcome {
            Outcome::AsTold => {}
            Outcome::Rewritten => println!("{name}: rewritten"),
            Outcome::Different(diff) => wrong.push_str(&format!("{name} went differently:\n{diff}\n")),
            Outcome::Broken(why) => wrong.push_str(&format!("{name}: {why}\n")),
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn every_story_is_performed_on_the_bare_machines_as_it_is_told() {
    let update = std::env::var_os("UPDATE").is_some();
    assert!(!(update && std::env::var_os("CI").is_some()), "what stories foretell is never rewritten in CI");
    perform_all(Options { update, stage: On::Machine });
}

#[test]
fn every_story_is_performed_by_the_real_actors_as_it_is_told() {
    if std::env::var_os("UPDATE").is_none() {
        perform_all(Options { update: false, stage: On::Actor });
    }
}
