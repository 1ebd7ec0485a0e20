//! Call transcripts: every story in `tests/calls` is performed on the bare machines and on the real actors, and both
//! must tell what the file foretells. `UPDATE=1 cargo test --test calls` rewrites what the files foretell.

use holdline_core::Tick;
use holdline_core::fact::{CallFact, Fact, Key, ParentFact};
use holdline_harness::play::Play;
use holdline_harness::report::{On, perform};
use holdline_harness::transcript::{Act, Cue, Transcript};
use holdline_harness::{Options, Outcome, perform_file, perform_text};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
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

#[test]
fn every_action_has_its_story() {
    let told: String = stories().iter().map(|file| std::fs::read_to_string(file).expect("a story")).collect();
    for action in holdline_core::flow::action::declared() {
        assert!(told.contains(&format!("type: {}", action.name)), "no story is about `{}`", action.name);
    }
}

/// Instants of each story at which the process dies in the test below.
const CRASHES_MAX: usize = 4;

/// Crash everywhere: whenever the process dies, the next one brings every call to its one end.
#[test]
fn a_crash_at_any_instant_of_a_story_loses_no_end_and_doubles_none() {
    for file in stories() {
        let text = std::fs::read_to_string(&file).expect("a story");
        let folder = file.parent().expect("a folder");
        let read = |name: &str| std::fs::read_to_string(folder.join(name));
        let transcript = Transcript::parse(&text, &read).expect("a story");
        if !transcript.head.rings() {
            continue; // a script that plays the network does not come back after a crash
        }
        let plain = perform(&transcript, On::Machine).expect("a play");
        let calls = arrived(&plain);
        let mut instants: Vec<u64> = plain.told.iter().map(|told| told.at.0 / 1000).collect();
        instants.dedup();
        let apart = instants.len().div_ceil(CRASHES_MAX);
        for instant in instants.into_iter().step_by(apart) {
            let mut crashed = transcript.clone();
            crashed.cues.push(Cue {
                at: Tick::from_millis(instant + 1),
                time: format!("{}ms", instant + 1),
                text: "server crashes".into(),
                notes: Vec::new(),
                act: Act::Crash { down: Duration::ZERO },
            });
            crashed.cues.sort_by_key(|cue| cue.at);
            let play = perform(&crashed, On::Machine).expect("a play");
            let story = || format!("{} at {instant} ms\n{}", file.display(), crashed.render(&play.told));
            assert!(play.house_is_empty, "something is left: {}", story());
            assert_eq!(arrived(&play), calls, "{}", story());
            for call in &calls {
                let ends = play.written.iter().filter(|entry| {
                    entry.key == *call
                        && matches!(entry.fact, Fact::Call(CallFact::Over { .. } | CallFact::Rejected))
                });
                assert_eq!(ends.count(), 1, "{call:?}: {}", story());
            }
            assert_eq!(completions(&play), completions(&plain), "{}", story());
        }
    }
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
