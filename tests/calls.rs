//! Call transcripts: every story in `tests/calls` is performed on the bare machines and on the real actors, and both
//! must tell what the file foretells. `UPDATE=1 cargo test --test calls` rewrites what the files foretell.

#[path = "calls/table.rs"]
mod table;

use holdline_core::fact::{CallFact, Fact, Key, ParentFact};
use holdline_core::flow::run::Run;
use holdline_core::workflow::run_facts;
use holdline_core::{Now, Tick};
use holdline_harness::network::OnAbruptClose;
use holdline_harness::play::Play;
use holdline_harness::report::{On, perform};
use holdline_harness::transcript::{Act, Cue, SocketAct, Told, Transcript, What, diff};
use holdline_harness::{Options, Outcome, perform_file, perform_text};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

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

fn transcript_of(file: &Path) -> Transcript {
    let text = std::fs::read_to_string(file).expect("a story");
    let folder = file.parent().expect("a folder");
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    Transcript::parse(&text, &read).expect("a story")
}

fn perform_all(options: Options) {
    let wanted = std::env::var("STORY").unwrap_or_default();
    let mut wrong = String::new();
    for file in stories().iter().filter(|file| file.to_string_lossy().contains(&wanted)) {
        if options.stage == On::Actor && suffers_inside(file) {
            continue;
        }
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

/// A slow disk, or a death between two effects: the doubles around the actors know nothing of that.
fn suffers_inside(file: &Path) -> bool {
    let text = std::fs::read_to_string(file).expect("a story");
    let folder = file.parent().expect("a folder");
    let read = |name: &str| std::fs::read_to_string(folder.join(name));
    Transcript::parse(&text, &read).is_ok_and(|story| story.is_for_machines())
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

/// Crash everywhere: after every line of every story the process dies, another one folds the journal, and the same
/// story is told to its end.
///
/// *The same* means: every call ends, once, for the same reason and with the same completion; every run has the same
/// steps in the same order, with the same outcomes and the same classes of errors, and ends for the same reason;
/// nothing is left in memory. Left out is what a crash may change: times, how often a step was begun (a sound or a wait
/// for the caller that was under way begins again), and what a recording holds, since an open file is lost with its
/// process.
///
/// A crash comes a millisecond after its line, when that has come to pass; after a line of the world's it comes when
/// its message has arrived, for a key on its way is lost with its socket.
#[test]
fn a_crash_after_any_line_leaves_the_same_story_to_be_told() {
    let wrong = in_pairs(|file, transcript| {
        let plain = perform(transcript, On::Machine)?;
        for at in after_lines(&plain) {
            let crashed = with_a_crash(transcript, at);
            let play = perform(&crashed, On::Machine)?;
            let story = || format!("{} at {at} ms\n{}", file.display(), crashed.render(&play.told));
            ends_once(&plain, &play).map_err(|why| format!("{why}: {}", story()))?;
            let (expected, came) = (epilogue(&plain), epilogue(&play));
            if expected != came && !is_about_one_process(transcript) {
                return Err(format!("{}\n{}", story(), diff::lines(&expected, &came)));
            }
        }
        Ok(())
    });
    assert!(wrong.is_empty(), "{wrong}");
}

/// By then the caller's message is there.
const ARRIVES_MS: u64 = 5;
/// Instants of each story at which the real actors die.
const ACTOR_CRASHES_MAX: usize = 4;

/// What the actors do beside the machines must survive as well; they are slower, so they die less often.
#[test]
fn a_crash_of_the_real_actors_leaves_the_story_that_the_machines_tell_after_it() {
    let wrong = in_pairs(|file, transcript| {
        if transcript.is_for_machines() {
            return Ok(());
        }
        let lines = after_lines(&perform(transcript, On::Machine)?);
        let apart = lines.len().div_ceil(ACTOR_CRASHES_MAX).max(1);
        for at in lines.into_iter().skip(apart / 2).step_by(apart) {
            let crashed = with_a_crash(transcript, at);
            let (machines, actors) = (perform(&crashed, On::Machine)?, perform(&crashed, On::Actor)?);
            let (expected, came) = (crashed.render(&machines.told), crashed.render(&actors.told));
            if expected != came || !actors.house_is_empty {
                return Err(format!("{} at {at} ms\n{}", file.display(), diff::lines(&expected, &came)));
            }
        }
        Ok(())
    });
    assert!(wrong.is_empty(), "{wrong}");
}

/// Does something with every story in which the pretend line calls, two at a time; what went wrong.
fn in_pairs(check: impl Fn(&Path, &Transcript) -> Result<(), String> + Sync) -> String {
    let wanted = std::env::var("STORY").unwrap_or_default();
    let files = Mutex::new(stories().into_iter());
    let wrong = Mutex::new(String::new());
    let work = || {
        loop {
            let Some(file) = files.lock().expect("a worker").next() else { return };
            let text = std::fs::read_to_string(&file).expect("a story");
            let folder = file.parent().expect("a folder");
            let read = |name: &str| std::fs::read_to_string(folder.join(name));
            let transcript = Transcript::parse(&text, &read).expect("a story");
            // A script that plays the network does not come back after a crash.
            if !file.to_string_lossy().contains(&wanted) || !transcript.head.rings() {
                continue;
            }
            if let Err(why) = check(&file, &transcript) {
                wrong.lock().expect("a worker").push_str(&format!("\n{why}\n"));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    wrong.into_inner().expect("both are done")
}

/// When each line of a story has come to pass, in milliseconds.
fn after_lines(play: &Play) -> BTreeSet<u64> {
    let at = |told: &Told| told.at.as_millis();
    let cues: Vec<u64> = play.told.iter().filter(|told| matches!(told.what, What::Cue(_))).map(at).collect();
    let arrived = |told: &Told| {
        let before = cues.iter().rev().find(|cue| **cue <= at(told)).map_or(0, |cue| cue + ARRIVES_MS);
        before.max(at(told) + 1)
    };
    play.told.iter().map(arrived).collect()
}

fn with_a_crash(transcript: &Transcript, at: u64) -> Transcript {
    let mut crashed = transcript.clone();
    crashed.cues.push(Cue {
        at: Tick::from_millis(at),
        time: format!("{at}ms"),
        text: "server crashes".into(),
        notes: Vec::new(),
        act: Act::Crash { down: Duration::ZERO },
    });
    crashed.cues.sort_by_key(|cue| cue.at);
    crashed
}

/// Stories of what one process lives through, or of a network that ends its call with a lost socket: if another process
/// goes on, or the socket is lost earlier, another story is told.
fn is_about_one_process(transcript: &Transcript) -> bool {
    let of_a_process = |act: &Act| match act {
        Act::Crash { down } => !down.is_zero(),
        Act::Panics | Act::Drains | Act::HandsOver | Act::Fault(_) | Act::SocketDies { .. } => true,
        Act::Socket { does, .. } => matches!(does, SocketAct::TakesNothing(_)),
        _ => false,
    };
    transcript.cues.iter().any(|cue| of_a_process(&cue.act))
        || transcript.head.line().on_abrupt_close == OnAbruptClose::End
}

/// The same calls have come, each has one end, and the main workflows were told as often.
fn ends_once(plain: &Play, play: &Play) -> Result<(), String> {
    let calls = arrived(plain);
    if !play.house_is_empty {
        return Err("something is left in memory".into());
    }
    if arrived(play) != calls {
        return Err(format!("expected the calls {calls:?}, got {:?}", arrived(play)));
    }
    for call in &calls {
        let is_end = |fact: &Fact| matches!(fact, Fact::Call(CallFact::Over { .. } | CallFact::Rejected));
        let ends = play.written.iter().filter(|entry| entry.key == *call && is_end(&entry.fact)).count();
        if ends != 1 {
            return Err(format!("expected one end of {call:?}, got {ends}"));
        }
    }
    match (completions(plain), completions(play)) {
        (expected, came) if expected == came => Ok(()),
        (expected, came) => Err(format!("expected {expected} completions, got {came}")),
    }
}

/// What a story has come to, without what a crash may change: of every call its end and its completion, of every run
/// its steps with their outcomes, and its end.
fn epilogue(play: &Play) -> String {
    let mut stories: BTreeMap<&Key, Vec<&Fact>> = BTreeMap::new();
    let mut order = Vec::new();
    for entry in &play.written {
        let story = stories.entry(&entry.key).or_default();
        if story.is_empty() {
            order.push(&entry.key);
        }
        story.push(&entry.fact);
    }
    let mut told = String::new();
    // In the order of their beginnings: a run's id holds the time at which it was made, and that may differ.
    for facts in order.iter().filter_map(|key| stories.get(key)) {
        for fact in facts {
            if let Fact::Call(CallFact::Over { reason, completion }) = fact {
                let mut completion = completion.clone();
                for changed in ["callDuration", "startedAt", "endedAt", "recordings"] {
                    completion.as_object_mut().and_then(|completion| completion.remove(changed));
                }
                // A key that ends the digits is heard on a stream; by its own Gather the network keeps it to itself.
                if let Some(digits) = completion.get_mut("digits") {
                    *digits = digits.as_str().unwrap_or_default().replace('#', "").into();
                }
                told.push_str(&format!("{}: {completion}\n", reason.as_str()));
            }
        }
        let Ok(run) = Run::restore(Now::default(), run_facts(facts.iter().copied())) else { continue };
        let view = run.view();
        told.push_str(&format!("the flow ended {}\n", view["end_reason"]));
        for step in view["executed_actions"].as_array().into_iter().flatten() {
            let error = &step["error"]["class"];
            told.push_str(&format!("{} {} {} {error}\n", step["type"], step["name"], step["outcome"]));
        }
    }
    told
}

fn arrived(play: &Play) -> BTreeSet<Key> {
    let arrivals = play.written.iter();
    let arrivals = arrivals.filter(|entry| matches!(entry.fact, Fact::Call(CallFact::Arrived { .. })));
    arrivals.map(|entry| entry.key.clone()).collect()
}

fn completions(play: &Play) -> usize {
    let facts = play.written.iter().map(|entry| &entry.fact);
    facts.filter(|fact| matches!(fact, Fact::Parent(ParentFact::CallOver { .. }))).count()
}

/// What may come at the end of a call, in any order and however often.
const ENDS: [&str; 5] = [
    "socket A stops",
    "socket A closes",
    "network posts completed",
    "network posts completed",
    "network posts in-progress",
];

#[test]
fn whatever_the_order_of_a_calls_last_news_its_completion_is_one() {
    for stage in [On::Machine, On::Actor] {
        for gap_ms in [0, 100, 4000] {
            for order in orders() {
                let story = ending_in(&order, gap_ms);
                let (text, play) = perform_text(&story, Path::new("."), stage).expect("a story");
                assert_eq!(completions(&play), 1, "{stage:?} {text}");
                assert!(play.house_is_empty, "{stage:?} {text}");
            }
        }
    }
}

/// A call on a stream, and then its last news in this order.
fn ending_in(order: &[usize], gap_ms: u64) -> String {
    let mut story = String::from(
        "flow main <<\n\
         triggers:\n  - { type: twilio/inboundCall, name: incomingCall, parameters: { subWorkflow: story } }\n\
         tasks:\n  - { type: variable_set, parameters: { key: why, value: \"${incomingCall.endReason}\" } }\n\
         >>\n\
         flow story <<\ntasks:\n  - { type: echo }\n>>\n\
         network stands still\n\
         0.0  network asks /webhooks/main\n\
         0.2  socket A opens document 1\n\
         0.4  socket A starts\n",
    );
    for (place, news) in (0u64..).zip(order) {
        story.push_str(&format!("{}ms  {}\n", 1000 + place * gap_ms, ENDS[*news]));
    }
    story
}

/// Every order of the five, the two equal ones told apart only once.
fn orders() -> Vec<Vec<usize>> {
    fn go_on(begun: &mut Vec<usize>, orders: &mut Vec<Vec<usize>>) {
        if begun.len() == ENDS.len() {
            orders.push(begun.clone());
        }
        for next in 0..ENDS.len() {
            let twin_first = next == 3 && !begun.contains(&2);
            if !begun.contains(&next) && !twin_first {
                begun.push(next);
                go_on(begun, orders);
                begun.pop();
            }
        }
    }
    let mut orders = Vec::new();
    go_on(&mut Vec::new(), &mut orders);
    assert_eq!(orders.len(), 60);
    orders
}
