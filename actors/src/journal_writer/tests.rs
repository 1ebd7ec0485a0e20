//! The writer under a clock that stands still, over journals that fail.

use super::*;
use crate::port::journal::MemoryJournal;
use actix::Addr;
use holdline_core::CallId;
use holdline_core::fact::{CallFact, Fact};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};

/// A journal that fails while told to, and notes the size of every batch.
struct Disk {
    inner: MemoryJournal,
    full: Arc<AtomicBool>,
    batches: Arc<Mutex<Vec<usize>>>,
    /// Set: it blocks, so it gets threads of its own; the first batch waits until it may go.
    gate: Option<Arc<Gate>>,
}

#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    bell: Condvar,
    arrived: AtomicUsize,
}

impl Gate {
    fn pass(&self) {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        let _open = self.bell.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap();
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.bell.notify_all();
    }
}

impl Journal for Disk {
    fn append(&mut self, batch: &[Entry]) -> Result<(), JournalError> {
        if let Some(gate) = &self.gate {
            gate.pass();
        }
        if self.full.load(Ordering::SeqCst) {
            return Err(JournalError::Write("no space left".into()));
        }
        self.batches.lock().unwrap().push(batch.len());
        self.inner.append(batch)
    }
    fn read(&self, key: &Key) -> Result<Vec<Entry>, JournalError> {
        self.inner.read(key)
    }
    fn story(&self, key: &Key) -> Result<Option<Story>, JournalError> {
        self.inner.story(key)
    }
    fn open_stories(&self) -> Result<Vec<Story>, JournalError> {
        self.inner.open_stories()
    }
    fn close(&mut self, key: &Key) -> Result<(), JournalError> {
        self.inner.close(key)
    }
    fn list(&self, kind: Kind, after: Option<u64>, limit: usize) -> Result<Vec<Listed>, JournalError> {
        self.inner.list(kind, after, limit)
    }
    fn story_of(&self, run: &RunId) -> Result<Option<Key>, JournalError> {
        self.inner.story_of(run)
    }
    fn delete(&mut self, key: &Key) -> Result<(), JournalError> {
        self.inner.delete(key)
    }
    fn prune(&mut self, before_ms: u64, most: usize) -> Result<usize, JournalError> {
        self.inner.prune(before_ms, most)
    }
    fn reader(&self) -> Option<Box<dyn Journal>> {
        self.gate.as_ref().map(|_| Box::new(MemoryJournal::new()) as Box<dyn Journal>)
    }
}

struct Bench {
    writer: Addr<JournalWriter>,
    health: Arc<Health>,
    full: Arc<AtomicBool>,
    batches: Arc<Mutex<Vec<usize>>>,
}

fn bench(gate: Option<Arc<Gate>>) -> Bench {
    let (full, batches) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let disk = Disk { inner: MemoryJournal::new(), full: full.clone(), batches: Arc::clone(&batches), gate };
    let writer = JournalWriter::new(Box::new(disk));
    let health = writer.health();
    Bench { writer: writer.start(), health, full, batches }
}

impl Bench {
    async fn append(&self, wall_ms: u64) -> oneshot::Receiver<Result<(), JournalError>> {
        let (written, done) = oneshot::channel();
        self.writer.send(Append { batch: vec![digits(wall_ms)], written }).await.unwrap();
        done
    }
}

fn key() -> Key {
    Key::Call(CallId("CA1".into()))
}

fn digits(wall_ms: u64) -> Entry {
    Entry { key: key(), wall_ms, fact: Fact::Call(CallFact::Digits { digits: "1".into() }) }
}

#[actix_rt::test]
async fn what_a_full_disk_refuses_is_kept_and_written_in_order_when_it_can_be() {
    tokio::time::pause();
    let bench = bench(None);
    bench.append(1).await.await.unwrap().unwrap();
    bench.full.store(true, Ordering::SeqCst);
    let (mut second, third) = (bench.append(2).await, bench.append(3).await);
    let settled = bench.writer.send(FoldSettled(key()));
    tokio::time::advance(Duration::from_secs(20)).await;
    assert!(bench.health.is_failing());
    assert!(second.try_recv().is_err(), "nothing is told that is not written");
    let on_disk = bench.writer.send(Read(key())).await.unwrap().unwrap();
    assert_eq!(on_disk, vec![digits(1)], "what is on disk can still be read");
    bench.full.store(false, Ordering::SeqCst);
    second.await.unwrap().unwrap();
    third.await.unwrap().unwrap();
    assert!(!bench.health.is_failing());
    settled.await.unwrap().unwrap();
    let on_disk = bench.writer.send(Read(key())).await.unwrap().unwrap();
    assert_eq!(on_disk, vec![digits(1), digits(2), digits(3)]);
}

#[actix_rt::test]
async fn all_that_comes_during_a_commit_shares_the_next_one() {
    let gate = Arc::new(Gate::default());
    let bench = bench(Some(gate.clone()));
    let first = bench.append(1).await;
    while gate.arrived.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let mut others = Vec::new();
    for at in 2..=50 {
        others.push(bench.append(at).await);
    }
    gate.open();
    first.await.unwrap().unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(*bench.batches.lock().unwrap(), [1, 49]);
    assert_eq!((bench.health.commits(), bench.health.facts()), (2, 50));
}

#[actix_rt::test]
async fn a_writer_that_goes_away_writes_what_it_was_given() {
    let gate = Arc::new(Gate::default());
    gate.open();
    let Bench { writer, batches, .. } = bench(Some(gate));
    let (written, done) = oneshot::channel();
    writer.send(Append { batch: vec![digits(1)], written }).await.unwrap();
    drop(writer);
    done.await.unwrap().unwrap();
    assert_eq!(*batches.lock().unwrap(), [1]);
}

#[actix_rt::test]
async fn a_long_story_is_folded_from_a_snapshot_and_comes_to_the_same() {
    let writer = JournalWriter::new(Box::new(MemoryJournal::new()));
    let health = writer.health();
    let writer = writer.start();
    let arrival = serde_json::json!({
        "call": "arrived", "workflow": "w", "sub_workflow": "w", "main_run": null, "max_duration_ms": null,
        "sub_run": "01a1fb08-fdcf-7206-bc31-a45666147471",
        "arrival": { "call": "CA1", "account": "AC1", "from": "+1", "to": "+2", "direction": "inbound",
            "status": null, "caller_name": null, "forwarded_from": null },
    });
    let first = Entry { key: key(), wall_ms: 1, fact: serde_json::from_value(arrival).unwrap() };
    let facts = u64::try_from(desk::SNAPSHOT_EVERY).unwrap() + 5;
    let story: Vec<Entry> = std::iter::once(first).chain((2..=facts).map(digits)).collect();
    for batch in story.chunks(700) {
        let (written, done) = oneshot::channel();
        writer.send(Append { batch: batch.to_vec(), written }).await.unwrap();
        done.await.unwrap().unwrap();
    }
    assert_eq!(health.snapshots(), 1);
    assert_eq!((health.batch_facts().count(), health.batch_facts().sum()), (3, facts));
    assert_eq!(
        health.batch_facts().measured().buckets.last().copied(),
        Some(3),
        "each below a thousand, above 500"
    );
    let whole = Fold::of(&story);
    assert_eq!(writer.send(ReadFold(key())).await.unwrap().unwrap(), whole);
    assert_eq!(writer.send(FoldSettled(key())).await.unwrap().unwrap(), whole);
}
