//! How calls went, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use holdline_harness::network::real::Story;
use holdline_harness::network::{Experience, Status};
use serde_json::{Value, json};

/// Notices of the network from here on are of its own list of errors; below are remarks of the pretend one.
const ERRORS_FROM: u32 = 11_000;
/// Something in a document is unknown and was passed over; the call goes on as if it were not there.
const PASSED_OVER: u32 = 12_200;

/// The network got to the end, and could do all that it was asked for.
pub(super) fn went_well(story: &Story) -> bool {
    let failed = |experience: &Experience| matches!(experience, Experience::Warning { code, .. } if *code >= ERRORS_FROM && *code != PASSED_OVER);
    story.status == Status::Completed && !story.lived.iter().any(|(_, experience)| failed(experience))
}

/// The server did not take our signature.
pub(super) fn was_refused(story: &Story) -> bool {
    story.status == Status::Failed && troubles(story).any(|trouble| trouble.ends_with("got 403"))
}

/// One object for each call.
pub(super) fn json(stories: &[Story]) -> String {
    let calls: Vec<Value> = stories.iter().map(of).collect();
    let all = json!({ "ok": stories.iter().all(went_well), "calls": calls });
    format!("{}\n", serde_json::to_string_pretty(&all).unwrap_or_default())
}

/// Many calls on one screen.
pub(super) fn table(stories: &[Story]) -> String {
    let mut statuses: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    for story in stories {
        statuses.entry(story.status.word()).or_default().push(story.duration);
        for trouble in troubles(story) {
            *told.entry(trouble).or_default() += 1;
        }
    }
    let mut text =
        format!("{:<12} {:>6} {:>9} {:>9} {:>9}\n", "status", "calls", "shortest", "median", "longest");
    for (status, mut durations) in statuses {
        durations.sort();
        let at = |place: usize| durations.get(place).map_or(0.0, Duration::as_secs_f64);
        let last = durations.len().saturating_sub(1);
        text.push_str(&format!(
            "{status:<12} {:>6} {:>7.1} s {:>7.1} s {:>7.1} s\n",
            durations.len(),
            at(0),
            at(last / 2),
            at(last)
        ));
    }
    let slowest = stories.iter().filter_map(first_document).max();
    if let Some(slowest) = slowest {
        text.push_str(&format!("the slowest first document came after {} ms\n", slowest.as_millis()));
    }
    for (trouble, times) in told {
        text.push_str(&format!("{times} times: {trouble}\n"));
    }
    text
}

fn of(story: &Story) -> Value {
    let lived: Vec<Value> = story
        .lived
        .iter()
        .map(|(at, experience)| json!({ "at_ms": millis(*at), "what": experience.to_string() }))
        .collect();
    json!({
        "call_sid": story.call_sid,
        "ok": went_well(story),
        "status": story.status.word(),
        "duration_ms": millis(story.duration),
        "troubles": troubles(story).collect::<Vec<_>>(),
        "lived": lived,
    })
}

fn troubles(story: &Story) -> impl Iterator<Item = String> + '_ {
    story.lived.iter().filter_map(|(_, experience)| match experience {
        Experience::Warning { code, .. } if *code >= ERRORS_FROM => Some(experience.to_string()),
        _ => None,
    })
}

fn first_document(story: &Story) -> Option<Duration> {
    let first = story.lived.iter().find(|(_, lived)| matches!(lived, Experience::Fetched { .. }));
    first.map(|(at, _)| *at)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn story(status: Status, seconds: u64, lived: Vec<Experience>) -> Story {
        Story {
            call_sid: "CA1".to_owned(),
            status,
            duration: Duration::from_secs(seconds),
            lived: lived.into_iter().map(|lived| (Duration::from_millis(20), lived)).collect(),
            heard: Vec::new(),
        }
    }

    #[test]
    fn a_call_that_was_in_trouble_did_not_go_well_though_it_was_completed() {
        let warning = |code| Experience::Warning { code, text: "no such thing".to_owned() };
        assert!(went_well(&story(Status::Completed, 3, vec![warning(0)])));
        assert!(went_well(&story(Status::Completed, 3, vec![warning(PASSED_OVER)])));
        assert!(!went_well(&story(Status::Completed, 3, vec![warning(11_200)])));
        assert!(!went_well(&story(Status::Busy, 0, vec![])));
    }

    #[test]
    fn a_table_counts_each_status() {
        let fetched = Experience::Fetched { url: String::new(), document: String::new() };
        let stories = [
            story(Status::Completed, 3, vec![fetched.clone()]),
            story(Status::Completed, 5, vec![fetched]),
            story(Status::Busy, 0, vec![]),
        ];
        let text = table(&stories);
        assert!(text.contains("completed         2     3.0 s     3.0 s     5.0 s\n"), "{text}");
        assert!(text.contains("busy              1"), "{text}");
        assert!(text.contains("the slowest first document came after 20 ms"), "{text}");
    }
}
