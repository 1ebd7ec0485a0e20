//! What a newcomer runs first: the demo, and the sample workflows that come with it.

use std::path::Path;
use std::process::{Command, Output};

fn holdline(arguments: &[&str], folder: &Path) -> Output {
    // Settings of whoever runs the tests must not matter.
    let own: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdline"));
    for name in own.iter().filter(|name| name.starts_with("HOLDLINE__")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(folder).output().unwrap()
}

#[test]
fn a_whole_call_goes_as_promised_and_is_told_line_by_line() {
    // A folder with nothing in it: the demo needs nothing around it, and leaves nothing behind.
    let folder = tempfile::tempdir().unwrap();
    let output = holdline(&["demo"], folder.path());
    let told = String::from_utf8(output.stdout).unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}\n{log}");

    let story = [
        "caller  rings from +14155550100",
        "<- says \"Welcome to Holdline.\"",
        "caller  presses 1",
        "<- opens a stream",
        "caller  presses 5",
        "<- hushes at once",
        "caller  speaks for 2.52 s",
        "<- stream is down (1000)",
        "<- bridges the caller to +14155550133",
        "caller  hangs up",
        "<- call is over: completed",
        "<- tells the workflow tour: endReason \"caller_hangup\"",
        "<- tour: variable_set note: ok",
        "<- tour has ended: completed",
        "The call went as promised.",
    ];
    let mut rest = told.as_str();
    for line in story {
        let found = rest.split_once(line);
        assert!(found.is_some(), "{line:?} is missing, or not where it should be, in:\n{told}");
        rest = found.map_or("", |(_, after)| after);
    }
    assert!(!told.contains("FAILED") && !told.contains("warning"), "{told}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn every_sample_workflow_is_without_error_or_warning() {
    let flows = Path::new(env!("CARGO_MANIFEST_DIR")).join("flows");
    let mut names: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&flows).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            names.push(path.to_string_lossy().into_owned());
        }
    }
    assert!(names.len() >= 10, "{names:?}");
    let mut arguments = vec!["check"];
    arguments.extend(names.iter().map(String::as_str));
    let output = holdline(&arguments, &flows);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_call_to_a_server_that_is_not_there_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // The discard port of loopback: nobody listens there.
    let output = holdline(&["call", "hello", "--server", "http://127.0.0.1:9"], folder.path());
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stdout, b"");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("nobody answers at 127.0.0.1:9"), "{log}");
}
