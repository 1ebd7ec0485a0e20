//! A real server whose real disk is full for a while, or fails: `cargo test --release --test disk -- --nocapture`.

#![allow(clippy::disallowed_methods)] // it lives in real time

mod support;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use holdline::adapter::journal::{DiskJournal, StoreKind};
use holdline_actors::port::journal::Journal;
use holdline_core::CallId;
use holdline_core::fact::{CallFact, Fact, Key};
use holdline_harness::contract::journal::{Disk, check_full_disk};
use support::crowd::counted;
use support::faulty::{Error, Layer};
use support::served::Home;
use support::until;
use support::volume::Volume;
use support::wire::{Asker, Caller, Message};

const ECHO: &str = "tasks: [{ type: echo }]\n";
/// A wait, and a step behind it that has to be written.
const STEPS: &str = "\
media: always
tasks:
  - { type: beep, parameters: { duration: 200 } }
  - { type: sleep, name: rest, parameters: { duration: 8s } }
  - { type: variable_set, parameters: { key: rested, value: yes } }
  - { type: echo }
";
/// Nobody comes back in time on a machine that is busy with other tests.
const PATIENT: &str = "[calls]\nreturn_grace = \"10m\"\n";
const VOLUME_MEGABYTES: u32 = 24;
const FRAME: Duration = Duration::from_millis(20);
/// Half a second without an echo would be heard by everybody.
const HOLE_MAX: Duration = Duration::from_millis(500);
/// A request's answer waits so long for the disk, and a step of a call so long.
const ANSWER_WAITS: Duration = Duration::from_secs(10);
const STEP_WAITS: Duration = Duration::from_secs(30);

#[test]
fn every_store_keeps_its_contract_on_a_disk_that_is_full() {
    for kind in StoreKind::ALL {
        let home = tempfile::tempdir().unwrap();
        let Some(volume) = Volume::mount(&home.path().join("data"), VOLUME_MEGABYTES) else { return };
        let journal = Box::new(DiskJournal::open(&home.path().join("data"), kind).unwrap());
        let set_full = |full: bool| if full { volume.fill() } else { volume.empty() };
        check_full_disk(Disk { journal, set_full: &set_full });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_callers_are_heard_and_nobody_is_told_what_is_not_written() {
    full_disk(StoreKind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_sled_does_the_same() {
    full_disk(StoreKind::Sled).await;
}

async fn full_disk(kind: StoreKind) {
    let home = home_with(kind);
    let Some(volume) = Volume::mount(&home.data(), VOLUME_MEGABYTES) else { return };
    lives_through(&home, &[], || volume.fill(), || volume.empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_every_write_fails_callers_are_heard_and_nobody_is_told_what_is_not_written() {
    failing_disk(StoreKind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_every_write_fails_sled_does_the_same() {
    failing_disk(StoreKind::Sled).await;
}

async fn failing_disk(kind: StoreKind) {
    let home = home_with(kind);
    let Some(layer) = Layer::build(home.path(), &home.data()) else { return };
    lives_through(&home, &layer.environment(), || layer.fail(Error::Io), || layer.work()).await;
}

fn home_with(kind: StoreKind) -> Home {
    let more = format!("[journal]\nkind = \"{}\"\n{PATIENT}", kind.name());
    Home::new(&[("echo", ECHO), ("steps", STEPS)], &more)
}

/// Callers speak and ask while the disk fails, and when it does not any more.
async fn lives_through(home: &Home, environment: &[(&str, PathBuf)], fails: impl Fn(), works: impl Fn()) {
    let mut server = home.serve_with(environment);
    let asker = Asker::new(&server.public, None);
    let mut speaker = Caller::begin(&server.public, "echo", "speaks").await;
    speaker.echo().await;
    let waiting = Caller::begin(&server.public, "steps", "waits").await;
    let told = asker.arrive("echo", &sid(1)).await;
    assert_eq!(told.status, 200);

    fails();
    let began = Instant::now();
    // The caller goes on speaking, and hears itself, for as long as all of this takes.
    let (enough, mut is_enough) = tokio::sync::oneshot::channel::<()>();
    let speaking = tokio::spawn(async move {
        let mut clock = tokio::time::interval(FRAME);
        let (mut said, mut heard, mut last, mut hole) = (0, 0, Instant::now(), Duration::ZERO);
        while is_enough.try_recv().is_err() {
            tokio::select! {
                _ = clock.tick() => {
                    speaker.speak(&counted(1, 1)).await;
                    said += 1;
                }
                message = speaker.next() => match message {
                    Some(Message::Media(_)) => {
                        heard += 1;
                        hole = hole.max(last.elapsed());
                        last = Instant::now();
                    }
                    other => panic!("expected sound after {said} frames, got {other:?}"),
                },
            }
        }
        (said, heard, hole)
    });
    // There is room ahead, which is still written to: who is acknowledged until it is full is written down.
    let mut taken = Vec::new();
    let refused = loop {
        let call = sid(1000 + taken.len());
        let began = Instant::now();
        match asker.arrive("echo", &call).await.status {
            200 => taken.push(call),
            503 => break (call, began.elapsed()),
            other => panic!("{call} was answered {other}"),
        }
    };
    let (refused, waited) = refused;
    assert!(waited < ANSWER_WAITS * 2, "{waited:?}");
    println!("{} calls were written and taken before the first was refused", taken.len());
    let ready = asker.get("/ready").await;
    assert_eq!((ready.status, &ready.json()["reasons"][0]), (503, &"journal".into()), "{}", ready.body);
    assert_eq!(asker.arrive("echo", &sid(2)).await.status, 503, "no new calls");
    // A call whose step can't be written waits, and then its stream is closed.
    let mut waiting = waiting;
    let closed = waiting.closed().await;
    assert!(began.elapsed() >= STEP_WAITS, "{:?}: {closed:?}", began.elapsed());
    // One that asks late waits no longer than its step would, and is there when the disk is.
    let path = "/webhooks/echo/next?x=1";
    let call = sid(1);
    let fields = [("CallSid", call.as_str()), ("CallStatus", "in-progress")];
    let told = asker.post(path, &fields).await;
    assert_eq!(told.status, 503, "what can't be written is not told: {}", told.body);

    works();
    until("it is ready", async || (asker.get("/ready").await.status == 200).then_some(())).await;
    let told = asker.post(path, &fields).await;
    assert!(told.stream_url().contains(&sid(1)), "the network's retry gets its document: {}", told.body);
    assert_eq!(asker.arrive("echo", &sid(3)).await.status, 200, "new calls are taken again");
    let over = until("the call whose step was not written has ended", async || {
        let call = Asker::new(&server.control, None).get(&format!("/v1/calls/{}", waiting.call_sid)).await;
        Some(call.json()).filter(|call| call["state"] == "ended")
    })
    .await;
    assert_eq!(over["end_reason"], "internal", "{over:#}");
    enough.send(()).unwrap();
    let (said, heard, hole) = speaking.await.unwrap();
    println!(
        "during the fault: {said} frames said, {heard} heard, {} ms without one at worst",
        hole.as_millis()
    );
    assert!(heard + 50 >= said, "{heard} of {said} frames came back");
    assert!(hole < HOLE_MAX, "nothing was heard for {hole:?}");

    server.kill();
    let kind = StoreKind::of(&home.data().join("journal")).expect("a server has begun a journal");
    let journal = DiskJournal::open(&home.data(), kind).unwrap();
    let story = journal.read(&Key::Call(CallId(sid(1)))).unwrap();
    let returned = |fact: &Fact| matches!(fact, Fact::Call(CallFact::Returned { exchange: 1 }));
    assert_eq!(story.iter().filter(|entry| returned(&entry.fact)).count(), 1, "{story:#?}");
    assert_eq!(journal.story(&Key::Call(CallId(sid(2)))).unwrap(), None, "what was refused was never there");
    for call in taken {
        let story = journal.read(&Key::Call(CallId(call))).unwrap();
        assert!(!story.is_empty(), "what was acknowledged is there");
    }
    let story = journal.read(&Key::Call(CallId(refused))).unwrap();
    let arrivals = story.iter().filter(|entry| matches!(entry.fact, Fact::Call(CallFact::Arrived { .. })));
    assert!(
        arrivals.count() <= 1,
        "what was decided when nobody could be told is there once at most: {story:#?}"
    );
    assert!(!home.data().join("journal.corrupt-1").exists(), "a full disk is no damage");
}

/// Killed while nothing can be written, and started again when everything can: what was acknowledged is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_the_middle_of_a_fault_it_has_everything_that_it_ever_acknowledged() {
    let home = Home::new(&[("echo", ECHO), ("steps", STEPS)], PATIENT);
    let Some(layer) = Layer::build(home.path(), &home.data()) else { return };
    let mut acknowledged: Vec<String> = Vec::new();
    for (round, error) in [Error::Io, Error::NoSpace, Error::Io].into_iter().enumerate() {
        let mut server = home.serve_with(&layer.environment());
        let asker = Asker::new(&server.public, None);
        for call in &acknowledged {
            let again = asker.arrive("echo", call).await;
            assert!(
                again.stream_url().contains(call),
                "it is known, and given its document again: {}",
                again.body
            );
        }
        for number in 0..20 {
            let call = sid(round * 1000 + number);
            assert_eq!(asker.arrive("echo", &call).await.status, 200);
            acknowledged.push(call);
        }
        layer.fail(error);
        let refused = sid(round * 1000 + 999);
        let (asking, asked) = (asker.clone(), refused.clone());
        let asking = tokio::spawn(async move { asking.arrive("echo", &asked).await.status });
        until("it is not ready", async || (asker.get("/ready").await.status == 503).then_some(())).await;
        assert!(!asking.is_finished(), "what is not written is not told");
        server.kill();
        assert!(asking.await.is_err(), "the connection breaks without an answer");
        layer.work();
    }
    let server = home.serve_with(&layer.environment());
    let asker = Asker::new(&server.public, None);
    for call in &acknowledged {
        assert!(asker.arrive("echo", call).await.stream_url().contains(call));
    }
    assert!(!home.data().join("journal.corrupt-1").exists(), "a disk that fails for a while is no damage");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_that_is_torn_is_cut_at_the_start_and_said() {
    let home = Home::new(&[("echo", ECHO)], PATIENT);
    let mut server = home.serve();
    let asker = Asker::new(&server.public, None);
    for number in 0..50 {
        assert_eq!(asker.arrive("echo", &sid(number)).await.status, 200);
    }
    server.kill();
    let log = home.data().join("journal/ahead-0");
    let mut bytes = std::fs::read(&log).unwrap();
    // Behind the last batch another one is begun: as the first one begins, with the next number.
    let (mut end, mut number) = (0, 0);
    loop {
        let next = u64::from_le_bytes(bytes[end + 8..end + 16].try_into().unwrap());
        if number != 0 && next != number + 1 {
            break;
        }
        number = next;
        end += 16 + u32::from_le_bytes(bytes[end..end + 4].try_into().unwrap()) as usize;
    }
    bytes.copy_within(..100, end);
    bytes[end + 8..end + 16].copy_from_slice(&(number + 1).to_le_bytes());
    std::fs::write(&log, bytes).unwrap();
    let server = home.serve();
    let asker = Asker::new(&server.public, None);
    for number in 0..50 {
        let again = asker.arrive("echo", &sid(number)).await;
        assert!(again.stream_url().contains(&sid(number)), "nothing before it is lost: {}", again.body);
    }
    assert!(home.log().contains("half written"), "{}", home.log());
}

fn sid(number: usize) -> String {
    format!("CA{number:032}")
}
