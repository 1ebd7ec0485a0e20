//! Every journal passes the contract; and what only a store on a disk can get wrong.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use holdline::adapter::journal::OpenError;
use holdline::adapter::journal::sled::SledJournal;
use holdline_actors::port::journal::{Journal, MemoryJournal};
use holdline_core::CallId;
use holdline_core::fact::{CallFact, Entry, Fact, Key};
use holdline_harness::contract::journal::{Subject, check};

#[test]
fn the_journal_in_memory_keeps_the_contract() {
    check(&Subject { fresh: &|| Box::new(MemoryJournal::new()), again: &|journal| journal });
}

#[test]
fn the_journal_over_sled_keeps_the_contract() {
    let home = tempfile::tempdir().unwrap();
    let count = Cell::new(0);
    let folder = || home.path().join(count.get().to_string());
    check(&Subject {
        fresh: &|| {
            count.set(count.get() + 1);
            Box::new(SledJournal::open(&folder()).unwrap())
        },
        again: &|journal| {
            drop(journal);
            Box::new(SledJournal::open(&folder()).unwrap())
        },
    });
}

#[test]
fn a_folder_is_used_by_one_process_at_a_time() {
    let home = tempfile::tempdir().unwrap();
    let journal = SledJournal::open(home.path()).unwrap();
    let refused = SledJournal::open(home.path()).err().unwrap();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    drop(journal);
    SledJournal::open(home.path()).unwrap();
}

#[test]
fn a_folder_that_cannot_be_one_is_refused_with_the_setting_to_change() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("data");
    fs::write(&file, "a file").unwrap();
    let refused = SledJournal::open(&file).err().unwrap();
    assert!(matches!(refused, OpenError::Folder { .. }), "{refused}");
    assert!(refused.to_string().contains("HOLDLINE__JOURNAL__PATH"), "{refused}");
}

#[test]
fn a_damaged_store_is_set_aside_and_a_new_one_begun() {
    let home = tempfile::tempdir().unwrap();
    for round in 1..=2 {
        let mut journal = SledJournal::open(home.path()).unwrap();
        assert_eq!(journal.open_keys().unwrap(), vec![]);
        journal.append(&[digits(1)]).unwrap();
        drop(journal);
        overwrite_everything(&home.path().join("journal"));
        let mut journal = SledJournal::open(home.path()).unwrap();
        assert_eq!(journal.open_keys().unwrap(), vec![]);
        journal.append(&[digits(2)]).unwrap();
        drop(journal);
        let aside = home.path().join(format!("journal.corrupt-{round}"));
        assert!(aside.join("db").exists(), "{}", aside.display());
        fs::remove_dir_all(home.path().join("journal")).unwrap();
    }
}

#[test]
fn what_a_dying_process_left_half_written_does_not_stop_the_next_start() {
    let home = tempfile::tempdir().unwrap();
    let mut journal = SledJournal::open(home.path()).unwrap();
    journal.append(&[digits(1)]).unwrap();
    drop(journal);
    fs::write(home.path().join("journal/snap.0000000000000042.generating"), b"half").unwrap();
    let journal = SledJournal::open(home.path()).unwrap();
    assert_eq!(journal.read(&call()).unwrap(), vec![digits(1)]);
    assert!(!home.path().join("journal.corrupt-1").exists());
}

#[test]
fn a_torn_tail_is_cut_and_nothing_before_it_is_lost() {
    let home = tempfile::tempdir().unwrap();
    let mut journal = SledJournal::open(home.path()).unwrap();
    for at in 1..=50 {
        journal.append(&[digits(at)]).unwrap();
    }
    // What a machine leaves that dies in the middle of a write: the file as it was, and some rubbish behind its end.
    let torn = home.path().join("torn");
    fs::create_dir_all(torn.join("journal/blobs")).unwrap();
    for name in ["conf", "db"] {
        fs::copy(home.path().join("journal").join(name), torn.join("journal").join(name)).unwrap();
    }
    drop(journal);
    let db = torn.join("journal/db");
    let end = fs::read(&db).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut bytes = fs::read(&db).unwrap();
    for byte in bytes.iter_mut().skip(end).take(300) {
        *byte = 0xA5;
    }
    fs::write(&db, bytes).unwrap();
    let journal = SledJournal::open(&torn).unwrap();
    let story: Vec<u64> = journal.read(&call()).unwrap().iter().map(|entry| entry.wall_ms).collect();
    assert_eq!(story, (1..=50).collect::<Vec<u64>>());
}

fn overwrite_everything(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten().filter(|entry| entry.path().is_file()) {
        let length = fs::metadata(entry.path()).unwrap().len();
        fs::write(entry.path(), vec![0xA5; usize::try_from(length).unwrap()]).unwrap();
    }
}

fn call() -> Key {
    Key::Call(CallId("CA1".into()))
}

fn digits(wall_ms: u64) -> Entry {
    Entry { key: call(), wall_ms, fact: Fact::Call(CallFact::Digits { digits: "1".into() }) }
}
