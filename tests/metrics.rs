//! What monitoring is told: read by a reader of another make, over calls on real sockets.

mod support;

use holdline::config::{JournalKind, Role, Secret, Token};
use holdline_core::metric::{FAMILIES, Kind};
use support::exposition::{Exposition, read};
use support::hosted::Hosted;
use support::until;
use support::wire::{Asker, Caller};

const ECHO: (&str, &str) = ("echo", "tasks: [{ type: echo }]\n");
/// A little more than what a session pours in at once.
const FRAMES: u32 = 60;

async fn scrape(hosted: &Hosted) -> (Exposition, String) {
    let told = Asker::new(&hosted.control(), None).get("/metrics").await;
    assert_eq!(told.status, 200, "{}", told.body);
    assert_eq!(told.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    (read(&told.body), told.body)
}

#[tokio::test]
async fn a_call_is_counted_from_its_arrival_to_its_end_and_names_nobody() {
    let hosted = Hosted::start(&[ECHO], |config| config.journal.kind = JournalKind::Memory);
    let (before, _) = scrape(&hosted).await;
    assert_eq!(before.sum("holdline_calls_arrived_total", &[]), 0.0);

    let mut caller = Caller::begin(&hosted.public(), "echo", "counted").await;
    for _ in 0..FRAMES {
        caller.echo().await;
    }
    let (during, _) = scrape(&hosted).await;
    assert_eq!(during.sum("holdline_calls", &[("state", "active")]), 1.0);
    assert_eq!(during.sum("holdline_activeflows", &[("state", "running")]), 1.0);
    assert_eq!(during.sum("holdline_streams_open", &[]), 1.0);
    let heard = during.sum("holdline_frames_total", &[("direction", "in")]);
    assert!(heard >= 50.0, "a live call adds its frames while it lives: {heard}");
    assert_eq!(during.sum("holdline_limit_used", &[("limit", "calls")]), 1.0);

    let call = caller.call_sid.clone();
    caller.hang_up().await;
    let (after, text) = until("the call is gone", async || {
        let (page, text) = scrape(&hosted).await;
        let calls = page.sum("holdline_calls", &[]);
        let ended = page.sum("holdline_calls_ended_total", &[("reason", "caller_hangup")]);
        (calls == 0.0 && ended == 1.0 && page.sum("holdline_streams_open", &[]) == 0.0)
            .then_some((page, text))
    })
    .await;
    let is = |name: &str, labels: &[(&str, &str)], value: f64| {
        assert_eq!(after.sum(name, labels), value, "{name} {labels:?}");
    };
    is("holdline_frames_total", &[("direction", "in")], f64::from(FRAMES));
    is("holdline_frames_total", &[("direction", "out")], f64::from(FRAMES));
    is("holdline_frames_dropped_total", &[], 0.0);
    is("holdline_calls_arrived_total", &[], 1.0);
    is("holdline_call_duration_seconds_count", &[], 1.0);
    is("holdline_streams_started_total", &[], 1.0);
    // The status may overtake the stop, which comes by another road; then it is we who close.
    is("holdline_streams_ended_total", &[], 1.0);
    is("holdline_activeflows", &[], 0.0);
    is("holdline_activeflows_ended_total", &[("reason", "call_ended")], 1.0);
    is("holdline_steps_total", &[("outcome", "interrupted")], 0.0);
    is("holdline_webhooks_total", &[("route", "voice"), ("status", "2xx")], 1.0);
    is("holdline_webhooks_total", &[("route", "status"), ("status", "2xx")], 1.0);
    is("holdline_webhooks_total", &[("route", "stream"), ("status", "1xx")], 1.0);
    is("holdline_webhook_duration_seconds_count", &[("route", "voice")], 1.0);
    is("holdline_webhooks_in_flight", &[], 0.0);
    assert!(after.sum("holdline_journal_batch_facts_count", &[]) >= 2.0);
    assert!(after.sum("holdline_journal_facts_total", &[]) >= 5.0);
    assert!(after.sum("holdline_session_mailbox_messages_count", &[]) >= 2.0);
    assert!(after.sum("process_resident_memory_bytes", &[]) > 1e6);
    assert!(after.sum("process_start_time_seconds", &[]) > 1.6e9);

    // Everything that is declared is there, as what it is, and nothing else.
    let declared: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
    let mut shown: Vec<&str> = after.families.keys().map(String::as_str).collect();
    shown.sort_by_key(|name| declared.iter().position(|known| known == name));
    assert_eq!(shown, declared);
    for family in FAMILIES {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram { .. } => "histogram",
        };
        assert_eq!(after.families[family.name].kind, kind, "{}", family.name);
        for sample in &after.families[family.name].samples {
            for (label, word) in sample.labels.iter().filter(|(label, _)| *label != "le") {
                let known =
                    family.labels.iter().any(|known| known.name == label && known.words.contains(&&**word));
                assert!(known, "{}: {label}={word}", family.name);
            }
        }
    }
    for trace in [call.as_str(), "14155550100", "14155550199", "+1415", "MZ", "AC0000"] {
        assert!(!text.contains(trace), "{trace} in\n{text}");
    }
}

#[tokio::test]
async fn what_is_refused_is_counted_by_its_reason() {
    let hosted = Hosted::start(&[ECHO], |config| {
        config.journal.kind = JournalKind::Memory;
        config.calls.max_calls = 0;
        config.twilio.auth_tokens = vec![Secret::new("a key")];
    });
    let (forger, network) = (Asker::new(&hosted.public(), None), Asker::new(&hosted.public(), Some("a key")));
    assert_eq!(forger.arrive("echo", "CA1").await.status, 403);
    assert_eq!(network.arrive("nobody", "CA1").await.status, 404);
    assert!(network.arrive("echo", "CA1").await.body.contains("busy"));
    assert_eq!(network.post("/webhooks/twilio/status", &[("CallSid", "CA9")]).await.status, 200);
    assert_eq!(network.post("/webhooks/echo", &[("x", &"y".repeat(70_000))]).await.status, 413);
    let (page, _) = scrape(&hosted).await;
    for (name, labels) in [
        ("holdline_signature_failures_total", &[][..]),
        ("holdline_webhook_refusals_total", &[("code", "bad_signature")]),
        ("holdline_webhook_refusals_total", &[("code", "unknown_workflow")]),
        ("holdline_webhook_refusals_total", &[("code", "too_large")]),
        ("holdline_calls_refused_total", &[("reason", "capacity")]),
        ("holdline_calls_ended_total", &[("reason", "rejected")]),
        ("holdline_stray_notices_total", &[]),
        ("holdline_limit_hits_total", &[("limit", "calls")]),
        ("holdline_limit_hits_total", &[("limit", "webhook_body_bytes")]),
    ] {
        assert_eq!(page.sum(name, labels), 1.0, "{name} {labels:?}");
    }
    assert_eq!(page.sum("holdline_limit", &[("limit", "calls")]), 0.0);
}

#[tokio::test]
async fn the_page_needs_a_token_that_may_read() {
    let hosted = Hosted::start(&[ECHO], |config| {
        config.journal.kind = JournalKind::Memory;
        config.control.tokens = vec![Token { token: Secret::new("reader"), role: Role::Read }];
    });
    let asker = Asker::new(&hosted.control(), None);
    assert_eq!(asker.get("/metrics").await.status, 401);
    assert_eq!(asker.get_with("/metrics", &[("authorization", "Bearer other")]).await.status, 401);
    let told = asker.get_with("/metrics", &[("authorization", "Bearer reader")]).await;
    assert_eq!(told.status, 200);
    let described = asker.get_with("/openapi.json", &[("authorization", "Bearer reader")]).await.json();
    assert!(described["paths"]["/metrics"]["get"].is_object());
}
