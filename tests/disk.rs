//! A real server whose real disk is full for a while.

#![allow(clippy::disallowed_methods)] // it lives in real time

mod support;

use std::time::{Duration, Instant};

use holdline::adapter::journal::sled::SledJournal;
use holdline_actors::port::journal::Journal;
use holdline_core::CallId;
use holdline_core::fact::{CallFact, Fact, Key};
use holdline_harness::contract::journal::{Disk, check_full_disk};
use support::crowd::counted;
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
const VOLUME_MEGABYTES: u32 = 24;
const FRAME: Duration = Duration::from_millis(20);
/// Half a second without an echo would be heard by everybody.
const HOLE_MAX: Duration = Duration::from_millis(500);
/// A request's answer waits so long for the disk, and a step of a call so long.
const ANSWER_WAITS: Duration = Duration::from_secs(10);
const STEP_WAITS: Duration = Duration::from_secs(30);

#[test]
fn the_store_keeps_its_contract_on_a_disk_that_is_full() {
    let home = tempfile::tempdir().unwrap();
    let Some(volume) = Volume::mount(&home.path().join("data"), VOLUME_MEGABYTES) else { return };
    let journal = Box::new(SledJournal::open(&home.path().join("data")).unwrap());
    let set_full = |full: bool| if full { volume.fill() } else { volume.empty() };
    check_full_disk(Disk { journal, set_full: &set_full });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_callers_are_heard_and_nobody_is_told_what_is_not_written() {
    let home = Home::new(&[("echo", ECHO), ("steps", STEPS)], "");
    let Some(volume) = Volume::mount(&home.data(), VOLUME_MEGABYTES) else { return };
    let mut server = home.serve();
    let asker = Asker::new(&server.public, None);
    let mut speaker = Caller::begin(&server.public, "echo", "speaks").await;
    speaker.echo().await;
    let waiting = Caller::begin(&server.public, "steps", "waits").await;
    let told = asker.arrive("echo", &sid(1)).await;
    assert_eq!(told.status, 200);

    volume.fill();
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
    // What the store has taken of the disk before, it still writes to.
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
    assert!(waited >= ANSWER_WAITS && waited < ANSWER_WAITS * 2, "{waited:?}");
    let path = "/webhooks/echo/next?x=1";
    let call = sid(1);
    let fields = [("CallSid", call.as_str()), ("CallStatus", "in-progress")];
    let told = asker.post(path, &fields).await;
    assert_eq!(told.status, 503, "what can't be written is not told: {}", told.body);
    let ready = asker.get("/ready").await;
    assert_eq!((ready.status, &ready.json()["reasons"][0]), (503, &"journal".into()), "{}", ready.body);
    assert_eq!(asker.arrive("echo", &sid(2)).await.status, 503, "no new calls");
    // A call whose step can't be written waits, and then its stream is closed.
    let mut waiting = waiting;
    let closed = waiting.closed().await;
    assert!(began.elapsed() >= STEP_WAITS, "{:?}: {closed:?}", began.elapsed());

    volume.empty();
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
    let journal = SledJournal::open(&home.data()).unwrap();
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

fn sid(number: usize) -> String {
    format!("CA{number:032}")
}
