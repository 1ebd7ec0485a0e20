//! What the stories prove of each action: one uses it, one lets it fail, one lets the process die in it, and one has it
//! asked for twice. Read off from what was performed, so that no story can claim what it does not show.

use crate::{stories, transcript_of};
use holdline_core::fact::{Fact, Key, RunFact};
use holdline_core::flow::Run;
use holdline_core::flow::Vocabulary;
use holdline_core::flow::action::declared;
use holdline_core::flow::declare::Kind;
use holdline_core::{Now, RunId};
use holdline_harness::play::Play;
use holdline_harness::report::{On, perform};
use holdline_harness::stage::props::WALL_MS;
use holdline_harness::transcript::{Act, Transcript};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What a story can show of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Shows {
    /// It does what it is for.
    Uses,
    /// It fails, and what follows is what `on_error` says.
    Fails,
    /// The process dies while it is under way; or, when it takes no time, before its flow's end: what it has decided
    /// is folded from facts.
    Dies,
    /// What performs it is repeated: by the network, which gets the same document; or by the next process, which sends
    /// the same key. The effect is there once.
    Twice,
}

const COLUMNS: [Shows; 4] = [Shows::Uses, Shows::Fails, Shows::Dies, Shows::Twice];

#[test]
fn every_action_is_shown_to_work_to_fail_to_survive_a_crash_and_to_be_done_once() {
    let mut table: BTreeMap<(&str, Shows), BTreeSet<String>> = BTreeMap::new();
    for file in stories() {
        let story = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let transcript = transcript_of(&file);
        let play = perform(&transcript, On::Machine).expect("a play");
        for shown in shown(&transcript, &play) {
            table.entry(shown).or_default().insert(story.clone());
        }
    }
    let mut lacks = Vec::new();
    for action in declared() {
        for column in COLUMNS {
            match table.get(&(action.name, column)) {
                Some(stories) => println!("{} {column:?}: {stories:?}", action.name),
                None => lacks.push(format!("no story shows: {} {column:?}", action.name)),
            }
        }
    }
    assert!(lacks.is_empty(), "\n{}", lacks.join("\n"));
}

/// One step of a flow, as it was written down.
struct Step {
    kind: String,
    began_ms: u64,
    ended_ms: u64,
    outcome: String,
    attempts: u64,
    /// What its attempts were told when they failed.
    errors: BTreeSet<String>,
}

fn shown(transcript: &Transcript, play: &Play) -> BTreeSet<(&'static str, Shows)> {
    let cues = |wanted: fn(&Act) -> bool| -> Vec<u64> {
        let cues = transcript.cues.iter().filter(|cue| wanted(&cue.act));
        cues.map(|cue| WALL_MS + cue.at.0 / 1000).collect()
    };
    let crashes = cues(|act| matches!(act, Act::Crash { .. }));
    let repeats = cues(|act| matches!(act, Act::Repeats));
    let once = (!repeats.is_empty()).then(|| {
        let mut once = transcript.clone();
        once.cues.retain(|cue| !matches!(cue.act, Act::Repeats));
        counted(&steps(&perform(&once, On::Machine).expect("a play")))
    });
    let all = steps(play);
    let mut shown = BTreeSet::new();
    for (key, step) in all.iter().flat_map(|(key, steps)| steps.iter().map(move |step| (key, step))) {
        let Some(action) = Vocabulary::standard().find(&step.kind) else { continue };
        let action = action.declared();
        let over_ms = over_ms(play, key);
        let until_ms = if step.ended_ms > step.began_ms { step.ended_ms } else { over_ms };
        let is_during = |at_ms: &u64| (step.began_ms..until_ms).contains(at_ms);
        if ["ok", "interrupted"].contains(&step.outcome.as_str()) {
            shown.insert((action.name, Shows::Uses));
        }
        if step.outcome == "failed" {
            shown.insert((action.name, Shows::Fails));
        }
        if step.outcome != "skipped" && crashes.iter().any(is_during) {
            shown.insert((action.name, Shows::Dies));
        }
        let changes_nothing = || once.as_ref() == Some(&counted(&all));
        let is_repeated = repeats.iter().any(|at_ms| (step.began_ms..over_ms).contains(at_ms));
        // Each attempt was told the same, and the key was in it.
        let sends_one_key = step.attempts > 1
            && step.errors.len() == 1
            && step.errors.iter().any(|error| error.contains("key"));
        let asks_others = matches!(action.kind, Kind::Io | Kind::Messaging);
        if if asks_others { sends_one_key } else { is_repeated && changes_nothing() } {
            shown.insert((action.name, Shows::Twice));
        }
    }
    shown
}

/// How often each action came to which end.
fn counted(steps: &BTreeMap<Key, Vec<Step>>) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for step in steps.values().flatten() {
        *counts.entry((step.kind.clone(), step.outcome.clone())).or_default() += 1;
    }
    counts
}

/// When nothing of this story is to come any more.
fn over_ms(play: &Play, key: &Key) -> u64 {
    let of_key = play.written.iter().filter(|entry| entry.key == *key);
    of_key.map(|entry| entry.wall_ms).max().unwrap_or(0)
}

/// The steps of each story, those of children included.
fn steps(play: &Play) -> BTreeMap<Key, Vec<Step>> {
    let mut runs: BTreeMap<(Key, RunId), Vec<&RunFact>> = BTreeMap::new();
    let mut ids: BTreeMap<&Key, RunId> = BTreeMap::new();
    for entry in &play.written {
        let Fact::Run(fact) = &entry.fact else { continue };
        if let RunFact::Begun(begun) = fact {
            ids.insert(&entry.key, begun.id);
        }
        let (mut id, mut fact) = (ids.get(&entry.key).copied(), fact);
        while let RunFact::Child { id: child, fact: inner } = fact {
            (id, fact) = (Some(*child), inner);
        }
        if let Some(id) = id {
            runs.entry((entry.key.clone(), id)).or_default().push(fact);
        }
    }
    let mut steps: BTreeMap<Key, Vec<Step>> = BTreeMap::new();
    for ((key, _), facts) in runs {
        steps.entry(key).or_default().extend(steps_of(&facts));
    }
    steps
}

fn steps_of(facts: &[&RunFact]) -> Vec<Step> {
    let mut errors: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    let mut begun = 0;
    for fact in facts {
        match fact {
            RunFact::Stepped { .. } | RunFact::StepBegan { .. } => begun += 1,
            RunFact::StepRetries { error, .. } => {
                errors.entry(begun).or_default().insert(error.message.clone());
            }
            _ => {}
        }
    }
    let run = Run::restore(Now::default(), facts.iter().copied()).expect("facts that fold");
    let view = run.view();
    let entries = view["executed_actions"].as_array().expect("a history");
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let time = |entry: &Value, key: &str| -> u64 {
        let stamp: jiff::Timestamp = text(entry, key).parse().expect("a time");
        stamp.as_millisecond().try_into().expect("after 1970")
    };
    let step = |(place, entry): (usize, &Value)| {
        let mut errors = errors.remove(&(place + 1)).unwrap_or_default();
        errors.extend(entry["error"]["message"].as_str().map(str::to_owned));
        Step {
            kind: text(entry, "type"),
            began_ms: time(entry, "started_at"),
            ended_ms: time(entry, "ended_at"),
            outcome: text(entry, "outcome"),
            attempts: entry["attempts"].as_u64().expect("a count"),
            errors,
        }
    };
    entries.iter().enumerate().map(step).collect()
}
