//! What the journal asks of the kernel for a batch: one write to its log and one sync behind it, before anybody is told,
//! and nothing else that waits for the disk.
//!
//! The test runs itself under strace; without strace it says so and checks nothing.

use std::process::Command;

use holdline::adapter::journal::{DiskJournal, StoreKind};
use holdline_actors::port::journal::Journal;
use holdline_core::CallId;
use holdline_core::fact::{CallFact, Entry, Fact, Key};

const BATCHES: usize = 25;
/// Set in the process that is watched.
const WATCHED: &str = "HOLDLINE_TEST_WATCHED";
/// Written to nowhere behind each batch, so that the trace shows where its acknowledgement is.
const TOLD: &str = "holdline-told-";

#[test]
fn every_batch_is_written_once_and_synced_once_before_anybody_is_told() {
    if let Ok(folder) = std::env::var(WATCHED) {
        write_batches(&folder);
        return;
    }
    if Command::new("strace").arg("-V").output().is_err() {
        println!("strace is not here: nothing was checked");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let trace = home.path().join("trace");
    let ran = Command::new("strace")
        .args(["-f", "-e", "trace=pwrite64,fsync,fdatasync,access,stat,statx,newfstatat", "-y", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "every_batch_is_written_once_and_synced_once_before_anybody_is_told",
            "--nocapture",
        ])
        .env(WATCHED, home.path().join("data"))
        .output()
        .unwrap();
    let trace = std::fs::read_to_string(&trace).unwrap_or_default();
    if trace.is_empty() {
        println!("strace can't watch here: nothing was checked ({})", String::from_utf8_lossy(&ran.stderr));
        return;
    }
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    let lines: Vec<&str> = trace.lines().collect();
    let told: Vec<usize> =
        (0..BATCHES).filter_map(|batch| lines.iter().position(|line| line.contains(&mark(batch)))).collect();
    assert_eq!(told.len(), BATCHES, "the trace shows every acknowledgement");
    for pair in told.windows(2) {
        let between = &lines[pair[0]..pair[1]];
        let of_log: Vec<&&str> = between.iter().filter(|line| line.contains("/journal/ahead-")).collect();
        let [wrote, synced] = of_log[..] else { panic!("one write and one sync of the log: {between:#?}") };
        assert!(wrote.contains("pwrite64("), "a batch is written: {between:#?}");
        assert!(synced.contains("fdatasync("), "and then synced: {between:#?}");
    }
}

fn mark(batch: usize) -> String {
    format!("{TOLD}{batch}\"")
}

fn write_batches(folder: &str) {
    let mut journal = DiskJournal::open(folder.as_ref(), StoreKind::Sqlite).unwrap();
    let key = Key::Call(CallId("CA1".into()));
    for batch in 0..BATCHES {
        let fact = Fact::Call(CallFact::Digits { digits: batch.to_string() });
        journal.append(&[Entry { key: key.clone(), wall_ms: 1, fact }]).unwrap();
        // Asks the kernel for a file that is not there: a harmless mark in the trace.
        let _ = std::fs::exists(format!("{TOLD}{batch}"));
    }
}
