//! Everything that is counted or measured, each declared once in the table of this file: what it is called, what it
//! means, and every word that its labels may hold.
//!
//! Labels are closed sets of our own words, so no number, id or name of a workflow can ever become one, and the count
//! of series is known before the first call. Whoever counts names a family and its words; whoever is asked for all
//! gathers a [`Page`] and writes it as text.
//!
//! | file | what it holds |
//! |---|---|
//! | [`limits`] | the bounds that can be hit from outside |
//! | [`told`] | what a fact that was written counts as |
//! | [`text`] | the page, and its text for Prometheus |

pub mod limits;
pub mod text;
pub mod told;

pub use limits::Limit;
pub use text::{Measured, Page};

/// One name of the page.
#[derive(Debug, PartialEq)]
pub struct Family {
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [Label],
    pub help: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Only grows while the process lives.
    Counter,
    Gauge,
    /// Upper bounds of its buckets, in whole numbers; so many of them are one of the base unit.
    Histogram {
        bounds: &'static [u64],
        in_one: u64,
    },
}

#[derive(Debug, PartialEq)]
pub struct Label {
    pub name: &'static str,
    /// All that it may hold.
    pub words: &'static [&'static str],
}

macro_rules! families {
    ($($(#[doc = $help:literal])+ $id:ident: $kind:expr, $name:literal $(, $label:literal = $words:expr)*;)+) => {
        $(
            $(#[doc = $help])+
            pub static $id: Family = Family {
                name: $name,
                kind: $kind,
                labels: &[$(Label { name: $label, words: $words }),*],
                help: concat!($($help),+),
            };
        )+
        /// The whole table, in the order of the page.
        pub static FAMILIES: &[&Family] = &[$(&$id),+];
    };
}

use Kind::{Counter, Gauge};

families! {
    /// The version that runs; always 1.
    BUILD_INFO: Gauge, "holdline_build_info", "version" = VERSION;
    /// 1 while new calls are refused because the server drains.
    DRAINING: Gauge, "holdline_draining";

    /// Calls in memory by state.
    CALLS: Gauge, "holdline_calls", "state" = CALL_STATES;
    /// Calls that arrived and were written down.
    CALLS_ARRIVED: Counter, "holdline_calls_arrived_total";
    /// New calls that were turned away.
    CALLS_REFUSED: Counter, "holdline_calls_refused_total", "reason" = CALL_REFUSALS;
    /// Calls that ended, by end reason.
    CALLS_ENDED: Counter, "holdline_calls_ended_total", "reason" = CALL_ENDS;
    /// How long calls lasted, from their first webhook to their end.
    CALL_SECONDS: histogram(CALL_BOUNDS, 1000), "holdline_call_duration_seconds";
    /// Documents given to the network.
    EXCHANGES: Counter, "holdline_exchanges_total";
    /// What the network's REST API set right.
    REPAIRS: Counter, "holdline_calls_repaired_total", "what" = REPAIR_WORDS;

    /// Runs of workflows that are not over: at work in memory, or waiting on disk for their calls.
    ACTIVEFLOWS: Gauge, "holdline_activeflows", "state" = FLOW_STATES;
    /// Activeflows that began.
    ACTIVEFLOWS_BEGUN: Counter, "holdline_activeflows_begun_total";
    /// Activeflows that ended, by end reason.
    ACTIVEFLOWS_ENDED: Counter, "holdline_activeflows_ended_total", "reason" = FLOW_ENDS;
    /// Steps that ended, by outcome.
    STEPS: Counter, "holdline_steps_total", "outcome" = OUTCOMES;
    /// Steps that ended in an error, by its class.
    STEP_ERRORS: Counter, "holdline_step_errors_total", "class" = CLASSES;
    /// Attempts of steps that failed and are tried again, by the error's class.
    STEP_RETRIES: Counter, "holdline_step_retries_total", "class" = CLASSES;

    /// Sockets of streams that are open, those that have not said `start` included.
    STREAMS_OPEN: Gauge, "holdline_streams_open";
    /// Streams that started.
    STREAMS: Counter, "holdline_streams_started_total";
    /// Streams that ended: `stopped` by the network's word, or `closed` without it.
    STREAMS_ENDED: Counter, "holdline_streams_ended_total", "how" = STREAM_ENDS;
    /// Frames of 20 ms taken from streams and given to them; live calls add theirs every half second.
    FRAMES: Counter, "holdline_frames_total", "direction" = DIRECTIONS;
    /// Frames that were lost, by where.
    FRAMES_DROPPED: Counter, "holdline_frames_dropped_total", "reason" = DROPS;
    /// Frames that wait to be played, each call counted up to its queue's bound.
    PLAYOUT_FRAMES: Gauge, "holdline_playout_queued_frames";
    /// How late frames left, against their 20 ms deadlines.
    PLAYOUT_LATE: histogram(LATE_BOUNDS, 1_000_000), "holdline_playout_lateness_seconds";
    /// Times that a call's cadence began anew because it was more than 60 ms late.
    PLAYOUT_REBASES: Counter, "holdline_playout_rebases_total";
    /// Utterances given up because their socket took nothing.
    PLAYOUT_STALLED: Counter, "holdline_playout_stalled_utterances_total";
    /// Frames of idle silence.
    PLAYOUT_SILENCE: Counter, "holdline_playout_silence_frames_total";
    /// Marks that never came back, or came back for nothing.
    PLAYOUT_MARKS: Counter, "holdline_playout_marks_total", "what" = MARKS;
    /// Messages on streams that were no messages of ours, and were ignored.
    STREAM_BAD: Counter, "holdline_stream_bad_messages_total";
    /// Inputs of calls that came too late or for nothing, and were ignored.
    INPUTS_IGNORED: Counter, "holdline_inputs_ignored_total", "what" = IGNORED;

    /// Answers to requests on the public listener.
    WEBHOOKS: Counter, "holdline_webhooks_total", "route" = ROUTES, "status" = STATUSES;
    /// How long a request on the public listener waited for its answer, the disk included.
    WEBHOOK_SECONDS: histogram(WEBHOOK_BOUNDS, 1_000_000), "holdline_webhook_duration_seconds", "route" = ROUTES;
    /// Requests on the public listener that are being answered.
    WEBHOOKS_OPEN: Gauge, "holdline_webhooks_in_flight";
    /// Requests on the public listener that were refused, by code.
    REFUSALS: Counter, "holdline_webhook_refusals_total", "code" = REFUSAL_CODES;
    /// Requests whose signature was missing or wrong.
    SIGNATURE_FAILURES: Counter, "holdline_signature_failures_total";
    /// Notices for calls that nobody here knows.
    STRAY_NOTICES: Counter, "holdline_stray_notices_total";
    /// Lines about refused requests that a flood kept out of the log.
    LOG_WITHHELD: Counter, "holdline_log_lines_withheld_total";
    /// Connections that are open, without streams.
    CONNECTIONS: Gauge, "holdline_connections", "listener" = LISTENERS;

    /// Answers of the control API.
    API_REQUESTS: Counter, "holdline_api_requests_total", "method" = METHODS, "status" = STATUSES;
    /// Requests to other systems, by whose they are and what came of them.
    OUTGOING: Counter, "holdline_outgoing_requests_total", "to" = OTHERS, "outcome" = OUTGOING_ENDS;

    /// Facts that share one commit.
    JOURNAL_BATCH: histogram(BATCH_BOUNDS, 1), "holdline_journal_batch_facts";
    /// How long the disk took for a commit.
    JOURNAL_SYNC: histogram(SYNC_BOUNDS, 1_000_000), "holdline_journal_sync_seconds";
    /// Facts written.
    JOURNAL_FACTS: Counter, "holdline_journal_facts_total";
    /// What the journal takes of the disk.
    JOURNAL_BYTES: Gauge, "holdline_journal_disk_bytes";
    /// 1 while nothing can be written.
    JOURNAL_FAILING: Gauge, "holdline_journal_failing";
    /// Attempts to write that failed.
    JOURNAL_FAILURES: Counter, "holdline_journal_failures_total";
    /// Stories deleted because their time was over.
    JOURNAL_PRUNED: Counter, "holdline_journal_pruned_total";
    /// Snapshots kept of long stories.
    JOURNAL_SNAPSHOTS: Counter, "holdline_journal_snapshots_total";
    /// What waits for the journal's threads.
    JOURNAL_WAITING: Gauge, "holdline_journal_waiting", "lane" = LANES;

    /// Deliveries in memory that are not taken yet.
    OUTBOX: Gauge, "holdline_outbox_deliveries", "state" = OUTBOX_STATES;
    /// What came of deliveries: each attempt, and each word on one.
    DELIVERIES: Counter, "holdline_deliveries_total", "outcome" = DELIVERY_WORDS;
    /// Deliveries that nobody tries any more, and steps that ran out of attempts.
    DEAD_LETTERS: Counter, "holdline_dead_letters_total", "of" = DEAD_KINDS;

    /// Events that were told to whoever listens.
    EVENTS: Counter, "holdline_events_total";
    /// Times that a listener was told that it missed events.
    EVENT_GAPS: Counter, "holdline_event_gaps_total";
    /// Listeners to events.
    EVENT_LISTENERS: Gauge, "holdline_event_listeners";
    /// Listeners that took nothing for so long that their connection was closed.
    EVENT_LISTENERS_CUT: Counter, "holdline_event_listeners_cut_total";

    /// What became of actors that died.
    ACTOR_DEATHS: Counter, "holdline_actor_restarts_total", "actor" = KINDS_OF_ACTORS, "how" = DEATHS;
    /// Messages that found a mailbox full.
    MAILBOX_FULL: Counter, "holdline_mailbox_refusals_total", "mailbox" = MAILBOXES;
    /// Messages that a call's session found waiting at one wake.
    MAILBOX_DEPTH: histogram(DEPTH_BOUNDS, 1), "holdline_session_mailbox_messages";
    /// How long this page's own question waited in an actor's mailbox.
    ACTOR_WAIT: Gauge, "holdline_actor_wait_seconds", "actor" = ASKED_ACTORS;

    /// The bounds of the house.
    LIMITS: Gauge, "holdline_limit", "limit" = limits::WORDS;
    /// How much of a bound is used, where that is one number.
    LIMITS_USED: Gauge, "holdline_limit_used", "limit" = limits::WORDS;
    /// How often a bound was hit, and something refused, dropped or closed.
    LIMIT_HITS: Counter, "holdline_limit_hits_total", "limit" = limits::WORDS;

    /// Spans of traces, by what became of them.
    SPANS: Counter, "holdline_trace_spans_total", "outcome" = SPAN_ENDS;

    /// When the process began, in Unix time.
    PROCESS_START: Gauge, "process_start_time_seconds";
    /// Processor time that the process used.
    PROCESS_CPU: Counter, "process_cpu_seconds_total";
    /// Memory that the process really uses.
    PROCESS_RESIDENT: Gauge, "process_resident_memory_bytes";
    /// Memory that the process could address.
    PROCESS_VIRTUAL: Gauge, "process_virtual_memory_bytes";
    /// File descriptors that are open.
    PROCESS_FDS: Gauge, "process_open_fds";
    /// File descriptors that may be open.
    PROCESS_FDS_MAX: Gauge, "process_max_fds";
    /// Threads of the process.
    PROCESS_THREADS: Gauge, "process_threads";
}

const fn histogram(bounds: &'static [u64], in_one: u64) -> Kind {
    Kind::Histogram { bounds, in_one }
}

const VERSION: &[&str] = &[env!("CARGO_PKG_VERSION")];
pub const CALL_STATES: &[&str] = &["connecting", "active", "stopping"];
const CALL_REFUSALS: &[&str] = &["capacity", "draining", "journal"];
const CALL_ENDS: &[&str] = &[
    "completed",
    "caller_hangup",
    "busy",
    "failed",
    "no_answer",
    "canceled",
    "hangup",
    "max_duration",
    "idle_timeout",
    "no_return",
    "internal",
    "rejected",
];
const REPAIR_WORDS: &[&str] = &["call_resumed_by_rest", "orphan_ended"];
const FLOW_STATES: &[&str] = &["running", "waiting"];
const FLOW_ENDS: &[&str] = &["completed", "stopped", "call_ended", "failed", "limit", "canceled"];
const OUTCOMES: &[&str] = &["ok", "skipped", "failed", "interrupted"];
const CLASSES: &[&str] = &["invalid", "unavailable", "timeout", "rejected", "limit", "canceled", "internal"];
const STREAM_ENDS: &[&str] = &["stopped", "closed"];
const DIRECTIONS: &[&str] = &["in", "out"];
/// `slow`: our own end did not keep up; `early`: before anybody listened; `echo`: kept too long, or not taken;
/// `cleared`: waited when a barge-in came.
const DROPS: &[&str] = &["slow", "early", "echo", "cleared"];
const MARKS: &[&str] = &["missed", "stale"];
const IGNORED: &[&str] = &["input", "turn"];
pub const ROUTES: &[&str] =
    &["voice", "next", "wait", "stream", "status", "stream_event", "recording", "conference", "unknown"];
pub const STATUSES: &[&str] = &["1xx", "2xx", "3xx", "4xx", "5xx"];
const REFUSAL_CODES: &[&str] = &[
    "bad_signature",
    "bad_ticket",
    "method_not_allowed",
    "missing_call",
    "missing_conference",
    "no_upgrade",
    "rate_limited",
    "stream_denied",
    "too_large",
    "too_slow",
    "unknown_path",
    "unknown_workflow",
    "unsigned_proxied",
];
pub const LISTENERS: &[&str] = &["public", "control"];
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "other"];
const OTHERS: &[&str] = &["web", "openai", "salesforce", "twilio", "operator", "mail", "service"];
/// An answer by its status, a mail that was sent, or the class of the error that there was instead.
const OUTGOING_ENDS: &[&str] = &[
    "1xx",
    "2xx",
    "3xx",
    "4xx",
    "5xx",
    "sent",
    "invalid",
    "unavailable",
    "timeout",
    "rejected",
    "limit",
    "canceled",
    "internal",
];
const LANES: &[&str] = &["write", "read"];
const OUTBOX_STATES: &[&str] = &["waiting", "in_flight"];
const DELIVERY_WORDS: &[&str] = &["owed", "delivered", "failed", "dead", "redriven"];
const DEAD_KINDS: &[&str] = &["delivery", "activeflow"];
const KINDS_OF_ACTORS: &[&str] = &["call", "workflow"];
const DEATHS: &[&str] = &["rebuilt", "given_up", "lost"];
const MAILBOXES: &[&str] = &["session", "socket", "flow", "flows", "outbox", "journal"];
const ASKED_ACTORS: &[&str] = &["calls", "flows", "outbox", "journal"];
const SPAN_ENDS: &[&str] = &["exported", "failed", "dropped"];

/// Milliseconds: from a caller who hangs up at once to the network's own bound of four hours.
pub const CALL_BOUNDS: &[u64] =
    &[1_000, 5_000, 15_000, 60_000, 180_000, 600_000, 1_800_000, 7_200_000, 14_400_000];
/// Microseconds: half a frame is nothing, a frame is heard by nobody, three frames are the bound.
pub const LATE_BOUNDS: &[u64] = &[1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 60_000, 200_000];
/// Microseconds: answers come well under a second, and the network gives up after fifteen.
pub const WEBHOOK_BOUNDS: &[u64] =
    &[500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 2_500_000, 10_000_000];
/// Facts of one commit.
pub const BATCH_BOUNDS: &[u64] = &[1, 2, 5, 10, 50, 100, 500, 1000];
/// Microseconds of one sync: from a drive with a battery to one that is about to fail.
pub const SYNC_BOUNDS: &[u64] = &[250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000];
/// Messages; a session's mailbox has 256 places.
pub const DEPTH_BOUNDS: &[u64] = &[1, 2, 4, 8, 16, 64, 256];

impl Family {
    /// The word as the table has it: one that it has not is a mistake of ours, and never becomes a label.
    pub fn word(&self, place: usize, word: &str) -> Option<&'static str> {
        self.labels.get(place)?.words.iter().copied().find(|known| *known == word)
    }
}

/// The class of an HTTP status, as labels name it.
pub fn status_class(status: u16) -> &'static str {
    match status {
        ..200 => "1xx",
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests;
