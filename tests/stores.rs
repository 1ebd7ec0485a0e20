//! Every journal passes the contract; and what only a store on a disk can get wrong.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use holdline::adapter::journal::{DiskJournal, OpenError, StoreKind};
use holdline_actors::port::journal::{Journal, MemoryJournal};
use holdline_core::CallId;
use holdline_core::fact::{CallFact, Entry, Fact, Key};
use holdline_harness::contract::journal::{Subject, check};

#[test]
fn the_journal_in_memory_keeps_the_contract() {
    check(&Subject { fresh: &|| Box::new(MemoryJournal::new()), again: &|journal| journal });
}

#[test]
fn the_journal_over_sqlite_keeps_the_contract() {
    check_on_disk(StoreKind::Sqlite);
}

#[test]
fn the_journal_over_sled_keeps_the_contract() {
    check_on_disk(StoreKind::Sled);
}

fn check_on_disk(kind: StoreKind) {
    let home = tempfile::tempdir().unwrap();
    let count = Cell::new(0);
    let folder = || home.path().join(count.get().to_string());
    check(&Subject {
        fresh: &|| {
            count.set(count.get() + 1);
            Box::new(DiskJournal::open(&folder(), kind).unwrap())
        },
        again: &|journal| {
            drop(journal);
            Box::new(DiskJournal::open(&folder(), kind).unwrap())
        },
    });
}

#[test]
fn a_journal_moves_into_another_store_with_all_that_it_has() {
    let home = tempfile::tempdir().unwrap();
    let mut wanted = Vec::new();
    for (at, kind) in (1..).zip([StoreKind::Sled, StoreKind::Sqlite, StoreKind::Sqlite, StoreKind::Sled]) {
        let mut journal = DiskJournal::open(home.path(), kind).unwrap();
        assert_eq!(StoreKind::of(&home.path().join("journal")), Some(kind));
        assert_eq!(journal.read(&call()).unwrap(), wanted, "in {}", kind.name());
        let over = Key::Call(CallId(format!("CA-over-{at}")));
        let fact = Fact::Call(CallFact::Trouble { what: "0123456789".repeat(40_000) });
        journal.append(&[Entry { key: over.clone(), wall_ms: at, fact }]).unwrap();
        journal.close(&over).unwrap();
        journal.append(&[digits(at)]).unwrap();
        wanted.push(digits(at));
        drop(journal);
        // Of a start that was killed while it moved the journal.
        fs::create_dir_all(home.path().join("journal.moving")).unwrap();
        fs::write(home.path().join("journal.moving/rows.sqlite"), "half of a store").unwrap();
    }
    let journal = DiskJournal::open(home.path(), StoreKind::Sqlite).unwrap();
    assert_eq!(journal.read(&call()).unwrap(), wanted);
    for at in 1..=4 {
        let over = Key::Call(CallId(format!("CA-over-{at}")));
        assert_eq!(journal.story(&over).unwrap().unwrap().ended_ms, Some(at));
        assert_eq!(journal.read(&over).unwrap().len(), 1);
    }
    assert_eq!(journal.open_keys().unwrap(), vec![call()]);
    assert!(!home.path().join("journal.moving").exists());
}

#[test]
fn a_row_whose_bits_have_turned_is_not_taken_for_a_fact() {
    let home = tempfile::tempdir().unwrap();
    let mut journal = DiskJournal::open(home.path(), StoreKind::Sqlite).unwrap();
    let other = Key::Call(CallId("CA2".into()));
    journal.append(&[digits(1), Entry { key: other.clone(), ..digits(2) }]).unwrap();
    drop(journal);
    let path = home.path().join("journal/rows.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let fact = br#"[[1,{"#;
    let at = bytes.windows(fact.len()).position(|window| window == fact).expect("the fact as it is stored");
    bytes[at + 2] = b'7';
    fs::write(&path, bytes).unwrap();
    let journal = DiskJournal::open(home.path(), StoreKind::Sqlite).unwrap();
    let damaged = journal.read(&call()).unwrap_err().to_string();
    assert!(damaged.contains("checksum"), "{damaged}");
    assert_eq!(journal.read(&other).unwrap().len(), 1, "what is whole can be read");
}

#[test]
fn a_folder_is_used_by_one_process_at_a_time() {
    let home = tempfile::tempdir().unwrap();
    let journal = DiskJournal::open(home.path(), StoreKind::Sqlite).unwrap();
    let refused = DiskJournal::open(home.path(), StoreKind::Sqlite).err().unwrap();
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused}");
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    drop(journal);
    DiskJournal::open(home.path(), StoreKind::Sqlite).unwrap();
}

#[test]
fn a_folder_that_cannot_be_one_is_refused_with_the_setting_to_change() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("data");
    fs::write(&file, "a file").unwrap();
    let refused = DiskJournal::open(&file, StoreKind::Sqlite).err().unwrap();
    assert!(matches!(refused, OpenError::Folder { .. }), "{refused}");
    assert!(refused.to_string().contains("HOLDLINE__JOURNAL__PATH"), "{refused}");
}

#[test]
fn a_damaged_store_is_set_aside_and_a_new_one_begun() {
    for kind in StoreKind::ALL {
        let home = tempfile::tempdir().unwrap();
        for round in 1..=2 {
            let mut journal = DiskJournal::open(home.path(), kind).unwrap();
            assert_eq!(journal.open_keys().unwrap(), vec![]);
            journal.append(&[digits(1)]).unwrap();
            drop(journal);
            overwrite_everything(&home.path().join("journal"));
            let mut journal = DiskJournal::open(home.path(), kind).unwrap();
            assert_eq!(journal.open_keys().unwrap(), vec![]);
            journal.append(&[digits(2)]).unwrap();
            drop(journal);
            let aside = home.path().join(format!("journal.corrupt-{round}"));
            assert!(aside.join(kind.file()).exists(), "{}", aside.display());
            fs::remove_dir_all(home.path().join("journal")).unwrap();
        }
    }
}

#[test]
fn what_a_dying_process_left_half_written_does_not_stop_the_next_start() {
    let home = tempfile::tempdir().unwrap();
    let mut journal = DiskJournal::open(home.path(), StoreKind::Sled).unwrap();
    journal.append(&[digits(1)]).unwrap();
    drop(journal);
    fs::write(home.path().join("journal/snap.0000000000000042.generating"), b"half").unwrap();
    let journal = DiskJournal::open(home.path(), StoreKind::Sled).unwrap();
    assert_eq!(journal.read(&call()).unwrap(), vec![digits(1)]);
    assert!(!home.path().join("journal.corrupt-1").exists());
}

/// What a machine leaves that dies: the store's files as they were written so far, and the log ahead of them.
fn left_behind(home: &Path, copy: &str, kind: StoreKind) -> PathBuf {
    let left = home.join(copy);
    fs::create_dir_all(left.join("journal/blobs")).unwrap();
    let names: &[&str] = match kind {
        // The log before the file that it is moved into.
        StoreKind::Sqlite => &["rows.sqlite-wal", "rows.sqlite", "ahead-0", "ahead-1"],
        StoreKind::Sled => &["conf", "db", "ahead-0", "ahead-1"],
    };
    // The keeper may be at work: what it moves meanwhile would be torn by the copy, which no death does.
    loop {
        let lengths = || -> Vec<u64> {
            names.iter().map(|name| fs::metadata(home.join("journal").join(name)).unwrap().len()).collect()
        };
        let before = lengths();
        for name in names {
            fs::copy(home.join("journal").join(name), left.join("journal").join(name)).unwrap();
        }
        if lengths() == before {
            return left;
        }
    }
}

fn times(data: &Path, kind: StoreKind) -> Vec<u64> {
    let journal = DiskJournal::open(data, kind).unwrap();
    journal.read(&call()).unwrap().iter().map(|entry| entry.wall_ms).collect()
}

#[test]
fn a_torn_tail_is_cut_and_nothing_before_it_is_lost() {
    torn_tail(StoreKind::Sqlite, "rows.sqlite-wal");
    torn_tail(StoreKind::Sled, "db");
}

fn torn_tail(kind: StoreKind, tail: &str) {
    let home = tempfile::tempdir().unwrap();
    let mut journal = DiskJournal::open(home.path(), kind).unwrap();
    for at in 1..=49 {
        journal.append(&[digits(at)]).unwrap();
    }
    // The store writes when it likes, so this one is of before the last batch.
    let half_a_batch = left_behind(home.path(), "half-a-batch", kind);
    journal.append(&[digits(50)]).unwrap();
    for file in [tail, "ahead-0"] {
        let left = left_behind(home.path(), &format!("torn-{file}"), kind);
        // Some rubbish behind the end of what was written.
        let path = left.join("journal").join(file);
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        bytes.resize(bytes.len().max(end + 300), 0);
        bytes.iter_mut().skip(end).take(300).for_each(|byte| *byte = 0xA5);
        fs::write(&path, bytes).unwrap();
        assert_eq!(times(&left, kind), (1..=50).collect::<Vec<u64>>(), "{file}");
    }
    let mut bytes = fs::read(home.path().join("journal/ahead-0")).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end] ^= 1;
    fs::write(half_a_batch.join("journal/ahead-0"), bytes).unwrap();
    assert_eq!(times(&half_a_batch, kind), (1..=49).collect::<Vec<u64>>(), "nobody was told of the last one");
}

#[test]
fn a_store_that_is_behind_its_log_gets_from_it_what_it_lacks_at_any_moment() {
    StoreKind::ALL.into_iter().for_each(behind_its_log);
}

fn behind_its_log(kind: StoreKind) {
    let home = tempfile::tempdir().unwrap();
    let mut journal = DiskJournal::open(home.path(), kind).unwrap();
    // Over more than both halves of the log, with stories that end in between.
    let other = |number: u64| Key::Call(CallId(format!("CA-other-{number}")));
    let text = "0123456789".repeat(1500);
    for at in 1..=400 {
        let fact = Fact::Call(CallFact::Trouble { what: text.clone() });
        let batch = [digits(at), Entry { key: other(at / 4), wall_ms: at, fact }];
        journal.append(&batch).unwrap();
        if at % 4 == 3 {
            journal.close(&other(at / 4)).unwrap();
        }
        if at % 40 == 7 {
            let left = left_behind(home.path(), &format!("at-{at}"), kind);
            assert_eq!(times(&left, kind), (1..=at).collect::<Vec<u64>>());
            let again = DiskJournal::open(&left, kind).unwrap();
            assert_eq!(again.read(&other(0)).unwrap().len(), 3.min(usize::try_from(at).unwrap()));
            assert_eq!(again.read(&other(at / 4)).unwrap().len(), 4);
            assert_eq!(again.story(&other(at / 4 - 1)).unwrap().unwrap().ended_ms, Some(at - 4));
        }
    }
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
