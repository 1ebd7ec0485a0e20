//! Every bound of the house that somebody outside can reach is seen when it is hit, or it is said here why nobody needs
//! to see it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use Seen::{At, In, Nowhere};
use holdline_core::metric::{FAMILIES, Limit};

enum Seen {
    /// A word of `holdline_limit_hits_total`.
    At(&'static str),
    /// A metric of its own.
    In(&'static str),
    /// Why it has none.
    Nowhere(&'static str),
}

/// `file NAME`, or what a whole file or folder has in common; the longest that fits counts.
const BOUNDS: &[(&str, Seen)] = &[
    ("actors/src/call_registry.rs ENDED_MAX", At("ended_calls")),
    ("actors/src/call_registry.rs LOOKED_FOR_MAX", At("looked_for_calls")),
    ("actors/src/call_registry.rs MAILBOX", In("holdline_actor_wait_seconds")),
    ("actors/src/call_registry.rs WAITING_MAX", At("rebuild_requests")),
    ("actors/src/call_session.rs ASKS_MAX", At("call_requests")),
    (
        "actors/src/call_session/sockets.rs READS_MAX",
        Nowhere("others of the thread have their turn, and reading goes on"),
    ),
    ("actors/src/carrier/line.rs FRAME_BYTES_MAX", At("stream_message_bytes")),
    (
        "actors/src/carrier/line.rs",
        Nowhere("only answers to pings are left out, of a peer that does not read"),
    ),
    ("actors/src/carrier/reading.rs FRAGMENTS_MAX", At("stream_message_parts")),
    ("actors/src/feed.rs KEPT_", In("holdline_event_gaps_total")),
    ("actors/src/feed.rs LISTENERS_MAX", At("event_listeners")),
    ("core/src/event", Nowhere("the size of an event's data; who needs more asks the API")),
    ("actors/src/call_session.rs MAILBOX", At("session_mailbox")),
    ("actors/src/carrier/endpoint.rs OWED_MAX", At("stream_backlog")),
    ("actors/src/carrier/web_actor.rs MAILBOX", Nowhere("the session's credit for a socket is smaller")),
    ("actors/src/door.rs COMPLAINTS_MAX", In("holdline_log_lines_withheld_total")),
    ("actors/src/flow_registry.rs BEGUN_MAX", At("beginning_runs")),
    ("actors/src/flow_registry.rs MAILBOX", In("holdline_mailbox_refusals_total")),
    ("actors/src/journal_writer.rs MAILBOX", In("holdline_actor_wait_seconds")),
    ("actors/src/journal_writer.rs READS_MAX", At("journal_reads")),
    ("actors/src/journal_writer.rs WRITES_MAX", At("journal_writes")),
    (
        "actors/src/journal_writer/desk.rs",
        Nowhere("the size of a commit, of a pause, of one round of deleting"),
    ),
    ("actors/src/journal_writer/desk.rs GROUP_MAX", In("holdline_journal_batch_facts")),
    ("actors/src/outbound.rs MAILBOX", In("holdline_actor_wait_seconds")),
    (
        "actors/src/outbound.rs WAITING_MAX",
        Nowhere("whoever asks for the same call too often is answered that it is not known"),
    ),
    ("actors/src/outbox.rs MAILBOX", In("holdline_mailbox_refusals_total")),
    ("actors/src/outbox.rs BATCH_MAX", In("holdline_journal_batch_facts")),
    ("actors/src/parent_workflow.rs ASKS_MAX", At("run_requests")),
    (
        "actors/src/port/journal.rs ENDED_KEPT_MAX",
        Nowhere("of the journal in memory, which forgets by design"),
    ),
    (
        "core/src/call/asking.rs NEWS_MAX",
        Nowhere("notices beyond it are not shown on the call's own timeline"),
    ),
    ("core/src/call/reaching.rs", In("holdline_outgoing_requests_total")),
    ("core/src/call/sound.rs ECHO_HELD_MAX", At("echo_frames")),
    ("core/src/call/sound.rs SAYS_MAX", At("waiting_texts")),
    ("core/src/call/sound.rs WAITING_MAX", At("waiting_sounds")),
    ("core/src/call/state.rs", Nowhere("the oldest of what one call shows of itself makes room")),
    ("core/src/call/streaming.rs EARLY_MAX", At("early_frames")),
    (
        "core/src/call/streaming.rs OPENING_MAX",
        Nowhere("a socket that never said start makes room, and is closed"),
    ),
    ("core/src/call/streaming.rs TROUBLES_MAX", In("holdline_calls_ended_total")),
    ("core/src/call/turning.rs", Nowhere("a call's own turns; whoever asks beyond it is told to ask again")),
    ("core/src/flow/", In("holdline_step_errors_total")),
    ("core/src/flow/diagnostic.rs", Nowhere("how much a check says")),
    ("core/src/flow/source/", Nowhere("a workflow's text beyond it is refused by the check, which says so")),
    (
        "core/src/front.rs",
        Nowhere("a field of a request that is longer is none of the network's, and counts as missing"),
    ),
    ("core/src/front/rate.rs SOURCES_MAX", At("sources")),
    ("core/src/front/", Nowhere("the shape of a path or a host; what is longer is no path of ours")),
    ("core/src/http.rs", In("holdline_step_errors_total")),
    ("core/src/limit.rs BAD_MESSAGES_MAX", At("bad_messages")),
    ("core/src/limit.rs BODY_BYTES_MAX", At("webhook_body_bytes")),
    ("core/src/limit.rs DIGITS_MAX", At("digits")),
    ("core/src/limit.rs DOCUMENT_", Nowhere("a document ends there, and the rest stands in the next one")),
    ("core/src/limit.rs VALUE_BYTES_MAX", In("holdline_step_errors_total")),
    ("core/src/limit.rs VARIABLES_", In("holdline_step_errors_total")),
    ("core/src/media/", In("holdline_step_errors_total")),
    ("core/src/media/playout/mod.rs BURST_MAX", In("holdline_playout_rebases_total")),
    ("core/src/media/playout/mod.rs LATE_MAX", In("holdline_playout_rebases_total")),
    ("core/src/media/playout/mod.rs LEAD_MAX", Nowhere("a bound on a setting")),
    ("core/src/media/recorder.rs", Nowhere("what a recording can't hold is a gap in its own output")),
    ("core/src/media/window.rs HELD_MAX", At("held_frames")),
    (
        "core/src/once.rs",
        Nowhere("keys of one story; the oldest makes room, and counts anew behind a restart"),
    ),
    ("core/src/outbound.rs", In("holdline_outgoing_requests_total")),
    ("core/src/outbound.rs PLACEMENTS_MAX", At("placements")),
    (
        "core/src/provider/twilio/",
        Nowhere("fields of the network's own messages; what is longer is cut or refused as 400"),
    ),
    ("core/src/provider/twilio/stream.rs MESSAGE_BYTES_MAX", At("stream_message_bytes")),
    ("core/src/timeline.rs ROWS_MAX", Nowhere("how much a page shows; it says how much is missing")),
    ("core/src/trace.rs SPANS_MAX", Nowhere("how much a trace tells; its root says how much is missing")),
    ("core/src/workflow/outbox.rs IN_FLIGHT_MAX", At("deliveries_in_flight")),
    ("core/src/workflow/outbox.rs TO_ONE_MAX", In("holdline_outbox_deliveries")),
    (
        "core/src/workflow/outbox.rs GONE_MAX",
        Nowhere("receivers that said that they are gone; the oldest is asked once more"),
    ),
    ("core/src/workflow/outbox.rs ROWS_MAX", At("deliveries")),
    ("src/adapter/", In("holdline_step_errors_total")),
    ("src/adapter/journal/", Nowhere("the shape of rows on disk")),
    ("src/cli/", Nowhere("of the command line, whose user sees what it says")),
    ("src/config/", Nowhere("of the operator's own file")),
    (
        "src/desk/letters.rs STORIES_MAX",
        Nowhere("how much is read for one page; the next one goes on behind it"),
    ),
    ("src/flows.rs FILES_MAX", Nowhere("of the operator's own folder; the log says so")),
    ("src/flows/stored.rs STORED_MAX", In("holdline_api_requests_total")),
    ("src/placing.rs", In("holdline_api_requests_total")),
    ("src/serve/guests.rs CONTROL_MAX", At("control_connections")),
    ("src/serve/guests.rs PUBLIC_MAX", At("public_connections")),
    ("src/serve/guests.rs SOURCE_MAX", At("source_connections")),
    ("src/serve/ngrok.rs", Nowhere("of a tool's local answer at start")),
    ("src/trace.rs STORIES_MAX", At("waiting_spans")),
    ("src/trace/settings.rs QUEUE_MAX", Nowhere("a bound on a setting")),
    ("src/web/control/", In("holdline_api_requests_total")),
    ("src/web/ledger.rs", At("kept_answers")),
    ("src/web/page.rs", In("holdline_api_requests_total")),
    ("src/web/problem.rs JSON_BYTES_MAX", At("api_body_bytes")),
];

#[test]
fn every_bound_is_seen_or_says_why_not() {
    let bounds = declared();
    assert!(bounds.len() > 100, "the bounds are found: {}", bounds.len());
    let mut used = BTreeSet::new();
    let mut unseen = Vec::new();
    for bound in &bounds {
        let fits = BOUNDS.iter().enumerate().filter(|(_, (place, _))| bound.starts_with(place));
        match fits.max_by_key(|(_, (place, _))| place.len()) {
            Some((row, _)) => _ = used.insert(row),
            None => unseen.push(bound),
        }
    }
    assert!(unseen.is_empty(), "give each a metric or a reason in BOUNDS: {unseen:#?}");
    for (row, (place, seen)) in BOUNDS.iter().enumerate() {
        assert!(used.contains(&row), "{place} is no bound any more");
        match seen {
            At(word) => assert!(Limit::ALL.iter().any(|limit| limit.word() == *word), "{place}: {word}"),
            In(name) => assert!(FAMILIES.iter().any(|family| family.name == *name), "{place}: {name}"),
            Nowhere(why) => assert!(why.len() > 15, "{place}: {why}"),
        }
    }
}

/// `file NAME` of every constant that is called a bound, but for those of tests.
fn declared() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for room in ["core/src", "actors/src", "src"] {
        for file in files(&root.join(room)) {
            let name = file.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            if name.contains("tests") || name.contains("fuzz") {
                continue;
            }
            for line in fs::read_to_string(&file).unwrap().lines() {
                let Some((before, after)) = line.split_once("const ") else { continue };
                let bound = after.split(':').next().unwrap_or_default();
                let is_name = bound.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
                let is_bound = bound.ends_with("_MAX") || bound.ends_with("_MOST") || bound == "MAILBOX";
                if is_name && is_bound && !before.contains("//") {
                    found.insert(format!("{name} {bound}"));
                }
            }
        }
    }
    found
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
    found.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}
