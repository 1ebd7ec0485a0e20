//! The pretend network in virtual time, against a server that is a closure.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use holdline_core::{Now, Tick};
use holdline_harness::network::{
    Answers, Effect, Experience, FarEnd, Faults, Input, Line, LineConfig, Media, Method, OnAbruptClose,
    Party, Reply, Request, Script, SocketId, Status, StatusEvent, sign, tone,
};
use serde_json::{Value, json};

#[test]
fn a_key_stops_the_prompt_and_is_submitted_at_once() {
    let play = Play::new("after \"press 1\" +0.5 presses 1").run(|request| match path(request) {
        "/voice" => twiml(
            r#"<Gather numDigits="1" action="/picked?x=1"><Say>Please press 1 for sales or 2 for support</Say></Gather><Say>late</Say>"#,
        ),
        "/picked" => twiml("<Say>ok</Say><Hangup/>"),
        other => panic!("{other}"),
    });
    // 14 characters of 100 ms, half a second, and 10 ms for the document.
    assert_eq!(play.at(&Experience::Digit { key: '1' }), Some(1910));
    let (at, request) = play.request("/picked");
    assert_eq!((at, request.field("Digits")), (1910, Some("1")));
    assert_eq!(request.field("CallStatus"), Some("in-progress"));
    assert!(!play.hears("late"));
    assert_eq!(play.ended(), (Status::Completed, 2110));
}

#[test]
fn keys_end_by_their_count_by_the_ending_key_or_by_time() {
    let asked = |gather: &str, script: &str| {
        let document =
            format!("<Gather action=\"/picked\" {gather}><Say>Hi</Say></Gather><Say>nothing came</Say>");
        let play = Play::new(script).run(move |request| match path(request) {
            "/voice" => twiml(&document),
            _ => twiml("<Hangup/>"),
        });
        let picked = play.requests.iter().find(|(_, request)| path(request) == "/picked");
        let picked = picked.map(|(at, request)| (*at, request.field("Digits").unwrap_or("-").to_owned()));
        (picked, play.hears("nothing came"))
    };
    assert_eq!(asked(r#"numDigits="3""#, "1 presses 123"), (Some((1400, "123".into())), false));
    assert_eq!(asked("", "1 presses 12#"), (Some((1400, "12".into())), false));
    assert_eq!(asked(r#"timeout="2""#, "1 presses 12"), (Some((3200, "12".into())), false));
    assert_eq!(asked(r#"finishOnKey="" timeout="2""#, "1 presses 1#"), (Some((3200, "1#".into())), false));
    // No key: the next verb, unless an empty result is wanted.
    assert_eq!(asked(r#"timeout="2""#, ""), (None, true));
    assert_eq!(asked(r#"timeout="2" actionOnEmptyResult="true""#, ""), (Some((2210, String::new())), false));
    // Speech: 5 characters of 60 ms, and a second of silence.
    assert_eq!(asked(r#"input="dtmf speech""#, "1 says \"sales\""), (Some((2300, "-".into())), false));
}

#[test]
fn a_dial_that_is_busy_comes_back_with_its_action() {
    let mut play = Play::new("");
    play.config.far_ends = vec![("+1555".into(), FarEnd::busy()), ("+1556".into(), FarEnd::silent())];
    let play = play.run(|request| match path(request) {
        "/voice" => twiml(
            r#"<Dial action="/dialed" timeout="20"><Number statusCallback="/leg" statusCallbackEvent="initiated ringing answered completed">+1555</Number></Dial>"#,
        ),
        "/dialed" => twiml(r#"<Dial timeout="7">+1556</Dial><Say>nobody</Say>"#),
        "/leg" => Answer::Reply(Reply::status(204)),
        other => panic!("{other}"),
    });
    let (at, request) = play.request("/dialed");
    assert_eq!((at, request.field("DialCallStatus")), (1010, Some("busy")));
    let legs: Vec<_> = play
        .to("/leg")
        .iter()
        .map(|(_, leg)| (leg.field("CallStatus"), leg.field("SequenceNumber")))
        .collect();
    assert_eq!(
        legs,
        [(Some("initiated"), Some("0")), (Some("ringing"), Some("1")), (Some("busy"), Some("2"))]
    );
    let leg = &play.to("/leg")[0].1;
    assert_eq!(leg.field("ParentCallSid"), Some(play.config.call_sid.as_str()));
    assert_ne!(leg.field("CallSid"), leg.field("ParentCallSid"));
    // Without an action an unanswered Dial goes to the next verb.
    assert_eq!(play.at(&Experience::Hears { text: "nobody".into() }), Some(8020));
}

#[test]
fn a_caller_who_hangs_up_in_a_talk_leaves_the_action_asked_and_unperformed() {
    let mut play = Play::new("after bridge +3 hangs up");
    play.config.status_url = Some("http://h/status".into());
    let play = play.run(|request| match path(request) {
        "/voice" => twiml(r#"<Dial action="/dialed"><Number>+1555</Number></Dial>"#),
        "/dialed" => twiml("<Say>never</Say>"),
        _ => Answer::Reply(Reply::status(204)),
    });
    let (_, request) = play.request("/dialed");
    assert_eq!(request.field("DialCallStatus"), Some("completed"));
    assert_eq!(
        (request.field("DialCallDuration"), request.field("CallStatus")),
        (Some("3"), Some("completed"))
    );
    assert!(!play.hears("never"));
    let (_, status) = play.request("/status");
    assert_eq!((status.field("CallStatus"), status.field("CallDuration")), (Some("completed"), Some("5")));
    assert_eq!((status.field("Duration"), status.field("SequenceNumber")), (Some("1"), Some("0")));
}

#[test]
fn a_queue_asks_its_wait_document_in_a_loop_until_somebody_answers() {
    let mut play = Play::new("");
    play.config.far_ends =
        vec![("support".into(), FarEnd::answering(Duration::from_secs(12), Duration::from_secs(30)))];
    let play = play.run(|request| match path(request) {
        "/voice" => twiml(r#"<Enqueue action="/next?x=1" waitUrl="/wait?x=1&amp;w=1">support</Enqueue>"#),
        "/wait" => twiml("<Pause length=\"5\"/><Redirect>/wait?x=1&amp;w=2</Redirect>"),
        "/next" => twiml("<Hangup/>"),
        other => panic!("{other}"),
    });
    let waits: Vec<_> = play.to("/wait").iter().map(|(at, wait)| (*at, wait.url.clone())).collect();
    assert_eq!(waits.len(), 3);
    assert_eq!(waits[0], (10, "http://h/wait?x=1&w=1".into()));
    assert_eq!(waits[1], (5020, "http://h/wait?x=1&w=2".into()));
    let (at, request) = play.request("/next");
    assert_eq!((at, request.field("QueueResult")), (42_010, Some("bridged")));
    assert_eq!(request.field("QueueTime"), Some("12"));
}

#[test]
fn a_wait_document_of_nothing_is_no_storm() {
    let mut play = Play::new("10 hangs up");
    play.config.far_ends = vec![("*".into(), FarEnd::silent())];
    let play = play.run(|request| match path(request) {
        "/voice" => twiml(r#"<Enqueue action="/next" waitUrl="/wait">q</Enqueue>"#),
        _ => twiml(""),
    });
    assert!((9..=10).contains(&play.to("/wait").len()), "{}", play.to("/wait").len());
    assert_eq!(play.request("/next").1.field("QueueResult"), Some("hangup"));
}

#[test]
fn sound_marks_and_clears_keep_time_on_a_stream() {
    let mut play = Play::new("after stream +1.5 presses 7\n6 hangs up");
    play.config.auth_token = Some("secret".into());
    let play = play.sockets(|sid, message| match message["event"].as_str() {
        Some("start") => vec![
            media(sid, &tone::tone(440.0, Duration::from_secs(1))),
            mark(sid, "one"),
            media(sid, &tone::keys("42")),
            mark(sid, "two"),
        ],
        Some("mark") if message["mark"]["name"] == "two" => {
            vec![mark(sid, "empty"), media(sid, &[0x10; 8000 * 3]), mark(sid, "never heard")]
        }
        // The key comes 100 ms into the three seconds.
        Some("dtmf") => vec![json!({"event": "clear", "streamSid": sid})],
        _ => Vec::new(),
    });
    let play = play.run(|_| twiml(r#"<Connect><Stream url="wss://h/s/token?lost=1"><Parameter name="a" value="b"/></Stream></Connect>"#));

    let (url, headers) = &play.opened[0];
    assert_eq!(url, "wss://h/s/token");
    let signature = sign::signature("secret", "wss://h/s/token", &[]);
    assert!(headers.contains(&("X-Twilio-Signature".into(), signature)));

    let up = play.at(&Experience::StreamUp).unwrap();
    let sent: Vec<_> = play.sent.iter().filter(|(_, message)| message["event"] != "media").collect();
    let events: Vec<_> =
        sent.iter().map(|(at, message)| (at - up, message["event"].as_str().unwrap())).collect();
    assert_eq!(
        events,
        [
            (0, "connected"),
            (0, "start"),
            // The server takes 5 ms to answer; then a second, then two keys of 200 ms.
            (1005, "mark"),
            (1405, "mark"),
            (1410, "mark"),
            (1500, "dtmf"),
            (1505, "mark"),
            (5980, "stop"),
        ]
    );
    assert_eq!(sent[1].1["start"]["customParameters"], json!({"a": "b"}));
    assert_eq!(play.at(&Experience::HearsAudio { ms: 1495, digits: "42".into() }), Some(up + 1505));
    // 298 frames on the grid, numbered without a gap among all messages.
    let frames: Vec<_> = play.sent.iter().filter(|(_, message)| message["event"] == "media").collect();
    assert_eq!(frames.len(), 298);
    assert_eq!((frames[0].0 - up, &frames[0].1["media"]["timestamp"]), (20, &json!("0")));
    assert_eq!((frames[297].0 - up, &frames[297].1["media"]["chunk"]), (5960, &json!("298")));
    let numbers: Vec<u64> = play.sent[1..]
        .iter()
        .map(|(_, message)| message["sequenceNumber"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64));
    assert_eq!(play.warnings(), [31920]);
}

#[test]
fn a_server_that_breaks_the_rules_is_told_once_and_the_call_goes_on() {
    let play =
        Play::new("after stream +1 hangs up").sockets(|sid, message| match message["event"].as_str() {
            Some("start") => vec![
                json!({"event": "clear", "streamSid": "MZother"}),
                json!({"event": "mark", "streamSid": sid, "mark": {"name": "a"}, "sequenceNumber": 1}),
                mark(sid, "fine"),
            ],
            _ => Vec::new(),
        });
    let play = play.run(|_| twiml(r#"<Connect><Stream url="wss://h/s"/></Connect>"#));
    assert_eq!(play.warnings(), [31951]);
    assert!(play.at(&Experience::MarkEchoed { name: "fine".into() }).is_some());
    assert!(play.at(&Experience::StreamDown { code: Some(1000), violations: 2 }).is_some());
}

#[test]
fn a_stream_that_ends_leads_on_in_the_three_ways() {
    let ended = |on_abrupt_close, code: Option<u16>| {
        let mut play = Play::new("");
        play.config.on_abrupt_close = on_abrupt_close;
        play.closes = Some((Duration::from_secs(2), code));
        let play = play.run(|request| match path(request) {
            "/voice" => {
                twiml(r#"<Connect action="/action"><Stream url="/s"/></Connect><Redirect>/tail</Redirect>"#)
            }
            _ => twiml("<Hangup/>"),
        });
        assert_eq!(play.ended().0, Status::Completed);
        play.requests[1..].iter().map(|(_, request)| path(request).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ended(OnAbruptClose::Redirect, None), ["/tail"]);
    assert_eq!(ended(OnAbruptClose::Action, None), ["/action"]);
    assert!(ended(OnAbruptClose::End, None).is_empty());
    // A close by the server is documented: Connect's action.
    assert_eq!(ended(OnAbruptClose::End, Some(1000)), ["/action"]);
}

#[test]
fn a_socket_that_the_network_drops_is_cut_and_not_closed() {
    let play = Play::new("after stream +1 drops the socket").run(|request| match path(request) {
        "/voice" => twiml(r#"<Connect><Stream url="/s"/></Connect><Redirect>/tail</Redirect>"#),
        _ => twiml("<Hangup/>"),
    });
    assert_eq!(play.aborted, [1]);
    assert!(play.sent.iter().all(|(_, message)| message["event"] != "stop"));
    assert_eq!(play.to("/tail").len(), 1);
}

#[test]
fn a_refused_connection_is_tried_again_with_one_token_and_then_the_fallback() {
    let mut play = Play::new("");
    play.config.fallback_url = Some("http://h/fallback".into());
    let play = play.run(|request| match path(request) {
        "/voice" => twiml("<Redirect>/next?x=1#rc=5&amp;rp=all&amp;ct=1000&amp;tt=15000</Redirect>"),
        "/next" => Answer::Refuse,
        _ => twiml("<Say>again</Say>"),
    });
    let tries = play.to("/next");
    assert_eq!(tries.len(), 6);
    let token = |request: &Request| request.header("i-twilio-idempotency-token").map(str::to_owned);
    assert!(tries.iter().all(|(_, request)| token(request) == token(&tries[0].1)));
    let (_, fallback) = play.request("/fallback");
    assert_ne!(token(fallback), token(&tries[0].1));
    assert_eq!(fallback.field("ErrorCode"), Some("11205"));
    assert_eq!(fallback.field("ErrorUrl"), Some("http://h/next?x=1"));
    assert!(play.hears("again"));
}

#[test]
fn a_failure_asks_the_fallback_once_and_then_the_call_fails() {
    let failing = |answer: fn() -> Answer| {
        let mut play = Play::new("");
        play.config.fallback_url = Some("/fallback".into());
        let play = play.run(move |_| answer());
        (play.to("/voice").len(), play.to("/fallback").len(), play.ended())
    };
    assert_eq!(failing(|| Answer::Reply(Reply::status(500))), (1, 1, (Status::Failed, 0)));
    assert_eq!(failing(|| Answer::Reply(Reply::twiml("<Response>"))), (1, 1, (Status::Failed, 0)));
    assert_eq!(failing(|| Answer::Never), (1, 1, (Status::Failed, 0)));
    // By default a refused connection is tried once more.
    assert_eq!(failing(|| Answer::Refuse), (2, 2, (Status::Failed, 0)));

    let play = Play::new("").run(|request| match path(request) {
        "/voice" => twiml("<Say>Hello</Say><Redirect>/gone</Redirect>"),
        _ => Answer::Never,
    });
    assert!(play.hears("application error"), "a live call hears that it failed");
    assert_eq!(play.ended().0, Status::Completed);
}

#[test]
fn an_answer_that_comes_after_the_call_is_over_starts_nothing() {
    let after = |answer: fn() -> Answer| {
        let mut play = Play::new("0.005 hangs up");
        play.config.fallback_url = Some("/fallback".into());
        let play = play.run(move |_| answer());
        let fetched = play.log.iter().any(|(_, experience)| matches!(experience, Experience::Fetched { .. }));
        (play.ended(), play.requests.len(), fetched)
    };
    assert_eq!(after(|| Answer::Reply(Reply::status(500))), ((Status::Canceled, 0), 1, false));
    assert_eq!(after(|| twiml("<Redirect>/on</Redirect>")), ((Status::Canceled, 0), 1, false));
}

#[test]
fn callbacks_are_repeated_reordered_late_and_lost() {
    let sent = |faults: Faults| {
        let mut play = Play::new("");
        play.config.status_url = Some("http://h/status".into());
        play.config.status_events =
            vec![StatusEvent::Initiated, StatusEvent::Ringing, StatusEvent::Answered, StatusEvent::Completed];
        play.config.faults = faults;
        let play = play.run(|request| match path(request) {
            "/voice" => twiml("<Say>Hello</Say>"),
            _ => Answer::Reply(Reply::status(204)),
        });
        let field = |request: &Request, name| request.field(name).unwrap_or_default().to_owned();
        play.to("/status")
            .iter()
            .map(|(_, request)| {
                format!("{} {}", field(request, "SequenceNumber"), field(request, "CallStatus"))
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(sent(Faults::default()), ["0 initiated", "1 ringing", "2 in-progress", "3 completed"]);
    assert_eq!(
        sent(Faults { reorder: true, ..Faults::default() }),
        ["3 completed", "2 in-progress", "1 ringing", "0 initiated"]
    );
    assert_eq!(sent(Faults { repeats: 2, ..Faults::default() }).len(), 12);
    assert_eq!(
        sent(Faults { lost: vec![StatusEvent::Completed], ..Faults::default() }),
        ["0 initiated", "1 ringing", "2 in-progress"]
    );
    assert_eq!(sent(Faults { late: Duration::from_secs(30), ..Faults::default() }).len(), 4);
}

#[test]
fn requests_are_signed_and_say_who_calls() {
    let mut play = Play::new("");
    play.config.auth_token = Some("secret".into());
    play.config.voice_method = Method::Get;
    play.config.extra = vec![("CallerName".into(), "A & B".into())];
    let play = play.run(|request| match path(request) {
        "/voice" => twiml("<Redirect>/post</Redirect>"),
        _ => twiml("<Hangup/>"),
    });
    let (_, get) = play.request("/voice");
    assert!(get.url.contains("CallerName=A+%26+B") && get.body.is_none());
    assert_eq!(get.header(sign::HEADER), Some(sign::signature("secret", &get.url, &[]).as_str()));
    let (_, post) = play.request("/post");
    assert_eq!(
        post.header(sign::HEADER),
        Some(sign::signature("secret", "http://h/post", &post.fields).as_str())
    );
    assert!(post.body.as_ref().is_some_and(|body| body.contains("From=%2B14155550100")));
    assert_eq!(post.field("Direction"), Some("inbound"));
}

#[test]
fn a_conference_tells_who_comes_and_goes() {
    let mut play = Play::new("");
    play.config.far_ends =
        vec![("room".into(), FarEnd::answering(Duration::from_secs(4), Duration::from_secs(20)))];
    let play = play.run(|request| match path(request) {
        "/voice" => twiml(
            r#"<Dial action="/done"><Conference statusCallback="/room" statusCallbackEvent="start end join leave" participantLabel="caller">room</Conference></Dial>"#,
        ),
        _ => twiml("<Hangup/>"),
    });
    let events: Vec<_> = play
        .to("/room")
        .iter()
        .map(|(at, event)| (*at, event.field("StatusCallbackEvent").unwrap().to_owned()))
        .collect();
    let expected = [
        (10, "participant-join"),
        (4010, "participant-join"),
        (4010, "conference-start"),
        (24_010, "participant-leave"),
        (24_010, "participant-leave"),
        (24_010, "conference-end"),
    ];
    assert_eq!(events, expected.map(|(at, name)| (at, name.to_owned())));
    let (_, done) = play.request("/done");
    assert_eq!((done.field("DialCallStatus"), done.field("DialCallSid")), (Some("answered"), None));
}

#[test]
fn a_recording_ends_with_silence_a_key_or_the_caller() {
    let recorded = |script: &str| {
        let play = Play::new(script).run(|request| match path(request) {
            "/voice" => twiml(
                r#"<Record action="/recorded" timeout="2" playBeep="false" recordingStatusCallback="/rec"/>"#,
            ),
            _ => twiml("<Hangup/>"),
        });
        let field = |path: &str, name| {
            play.to(path).first().and_then(|(_, request)| request.field(name).map(str::to_owned))
        };
        (
            field("/recorded", "RecordingDuration"),
            field("/recorded", "Digits"),
            field("/rec", "RecordingStatus"),
        )
    };
    let done = || Some("completed".to_owned());
    assert_eq!(recorded("1 tone 440 3s"), (Some("5".into()), Some(String::new()), done()));
    assert_eq!(recorded("1 tone 440 3s\n+1 presses #"), (Some("1".into()), Some("#".into()), done()));
    assert_eq!(recorded("1 tone 440 3s\n+2 hangs up"), (Some("2".into()), Some("hangup".into()), done()));
    assert_eq!(recorded(""), (None, None, None));
}

#[test]
fn a_call_is_rejected_unanswered_and_an_empty_document_hangs_up() {
    let ended = |document: &'static str| Play::new("").run(move |_| twiml(document)).ended();
    assert_eq!(ended(r#"<Reject reason="busy"/>"#), (Status::Busy, 0));
    assert_eq!(ended("<Reject/>"), (Status::NoAnswer, 0));
    assert_eq!(ended(""), (Status::Completed, 0));
    assert_eq!(ended("<Pause length=\"3\"/>"), (Status::Completed, 3000));
    // A loop of redirects that takes no time would never end.
    let mut play = Play::new("");
    play.latency = Duration::ZERO;
    let play = play.run(|_| twiml("<Redirect/>"));
    assert_eq!((play.ended(), play.requests.len()), ((Status::Failed, 0), 101));
}

#[test]
fn four_hours_of_silence_cost_little_and_end_at_the_limit() {
    let mut play = Play::new("3600 tone 440 1s");
    play.config.media = Media::Sparse(Duration::from_secs(10));
    let play = play.run(|_| twiml(r#"<Connect><Stream url="/s"/></Connect>"#));
    assert_eq!(play.ended(), (Status::Completed, 4 * 3_600_000));
    let frames = play.sent.iter().filter(|(_, message)| message["event"] == "media").count();
    // One in ten seconds, and a second of sound in full.
    assert!((1485..=1495).contains(&frames), "{frames}");
}

#[test]
fn a_lost_request_is_found_out_by_its_deadline() {
    let mut play = Play::new("0.5 loses a request");
    play.config.fallback_url = Some("/fallback".into());
    let play = play.run(|request| match path(request) {
        "/voice" => twiml("<Pause/><Redirect>/next</Redirect>"),
        "/fallback" => twiml("<Hangup/>"),
        other => panic!("{other} has arrived"),
    });
    assert_eq!(play.request("/fallback").0, 16_010);
}

#[test]
fn far_ends_and_callers_may_both_end_a_talk() {
    let mut play = Play::new("");
    let far = FarEnd {
        answers: Answers::After(Duration::from_secs(1)),
        talks: Some(Duration::from_secs(4)),
        hangs_up: Party::Caller,
    };
    play.config.far_ends = vec![("*".into(), far)];
    let play = play.run(|request| match path(request) {
        "/voice" => twiml(r#"<Dial>+1555</Dial><Say>still here</Say>"#),
        other => panic!("{other}"),
    });
    assert!(!play.hears("still here"));
    assert_eq!(play.ended(), (Status::Completed, 5000));
}

#[test]
fn the_rest_api_ends_a_call_and_leads_it_elsewhere() {
    let document = r#"<Connect><Stream url="/s"/></Connect><Say>never</Say>"#;
    let mut play = Play::new("");
    play.later(Tick::from_millis(2000), Input::Redirected { url: "http://h/else".into() });
    let play = play.run(move |request| match path(request) {
        "/voice" => twiml(document),
        _ => twiml("<Say>else</Say>"),
    });
    assert!(play.hears("else") && !play.hears("never"));
    assert_eq!(play.sent.last().map(|(at, message)| (*at, &message["event"])), Some((2000, &json!("stop"))));

    let mut play = Play::new("");
    play.later(Tick::from_millis(2000), Input::Ended);
    let play = play.run(move |_| twiml(document));
    assert_eq!(play.ended(), (Status::Completed, 1990));
    assert_eq!(play.requests.len(), 1);
}

#[test]
fn a_recording_beside_the_verbs_lasts_until_it_is_stopped_or_the_call_ends() {
    let recorded = |stop: &str| {
        let document = format!(
            r#"<Start><Recording recordingStatusCallback="/rec" recordingStatusCallbackEvent="in-progress completed"/></Start><Pause length="4"/>{stop}<Pause length="6"/>"#
        );
        let play = Play::new("").run(move |request| match path(request) {
            "/voice" => twiml(&document),
            _ => Answer::Reply(Reply::status(204)),
        });
        let field = |request: &Request, name| request.field(name).unwrap_or_default().to_owned();
        play.to("/rec")
            .iter()
            .map(|(at, rec)| (*at, field(rec, "RecordingStatus"), field(rec, "RecordingDuration")))
            .collect::<Vec<_>>()
    };
    let done = |at, seconds: &str| {
        vec![(10, "in-progress".into(), "0".into()), (at, "completed".into(), seconds.to_owned())]
    };
    assert_eq!(recorded("<Stop><Recording/></Stop>"), done(4010, "4"));
    assert_eq!(recorded(""), done(10_010, "10"));
}

#[test]
fn hundreds_of_random_calls_each_end_exactly_once() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut script = String::new();
        for _ in 0..dice.throw(6) {
            let acts = [
                "presses 1",
                "presses *#",
                "says \"yes\"",
                "tone 440 500ms",
                "drops the socket",
                "loses a request",
            ];
            script += &format!("+{} {}\n", dice.throw(9), acts[dice.throw(acts.len())]);
        }
        // Whatever happens, nobody stays for ever.
        let mut play = Play::new(&format!("{script}600 hangs up"));
        play.config.status_url = Some("/status".into());
        play.config.fallback_url = Some("/fallback".into());
        play.config.media = Media::Sparse(Duration::from_secs(1));
        play.config.on_abrupt_close =
            [OnAbruptClose::Redirect, OnAbruptClose::Action, OnAbruptClose::End][dice.throw(3)];
        play.config.faults =
            Faults { repeats: dice.throw(2) as u32, reorder: dice.throw(2) == 0, ..Faults::default() };
        play.config.far_ends =
            vec![("*".into(), [FarEnd::default(), FarEnd::busy(), FarEnd::silent()][dice.throw(3)])];
        play.closes = Some((Duration::from_secs(dice.throw(20) as u64), [None, Some(1000)][dice.throw(2)]));
        let play = play
            .sockets(|sid, message| match message["event"].as_str() {
                Some("start") => vec![media(sid, &[0x20; 4000]), mark(sid, "m")],
                Some("dtmf") => vec![json!({"event": "clear", "streamSid": sid})],
                _ => Vec::new(),
            })
            .run(move |_| match dice.throw(12) {
                0 => Answer::Refuse,
                1 => Answer::Never,
                2 => Answer::Reply(Reply::status(503)),
                3 => Answer::Reply(Reply::twiml("nonsense")),
                _ => {
                    let verbs = [
                        "<Say>Hello there</Say>", "<Pause/>", "<Play>a.wav</Play>", "<Record timeout=\"1\"/>",
                        "<Gather action=\"/a\" timeout=\"2\"><Say>Press</Say></Gather>", "<Enqueue waitUrl=\"/w\" action=\"/a\">q</Enqueue>",
                        "<Gather input=\"speech\" actionOnEmptyResult=\"true\" action=\"/a\"/>", "<Dial action=\"/a\"><Number>1</Number><Client>c</Client></Dial>",
                        "<Dial><Conference statusCallback=\"/c\" statusCallbackEvent=\"start end join leave\">r</Conference></Dial>",
                        "<Connect><Stream url=\"/s\"/></Connect>", "<Redirect>/b</Redirect>", "<Connect action=\"/a\"><Stream url=\"/s\"/></Connect>",
                        "<Leave/>", "<Dial sequential=\"true\" timeout=\"3\"><Number>1</Number><Number>2</Number></Dial>",
                    ];
                    let document: String = (0..1 + dice.throw(4)).map(|_| verbs[dice.throw(verbs.len())]).collect();
                    twiml(&document)
                }
            });
        let (status, _) = play.ended();
        assert!(status.is_terminal(), "seed {seed}");
        let finals =
            play.to("/status").iter().filter(|(_, request)| request.field("CallDuration").is_some()).count();
        assert!(finals > 0 || script.contains("loses"), "seed {seed}");
    }
}

#[test]
fn two_runs_of_one_play_are_the_same() {
    let run = || {
        let mut play = Play::new("after stream +1 presses 12\n4 hangs up");
        play.config.status_url = Some("/status".into());
        play.run(|_| twiml(r#"<Connect><Stream url="/s"/></Connect>"#))
    };
    let (one, two) = (run(), run());
    assert_eq!(one.requests, two.requests);
    assert_eq!(one.sent, two.sent);
    assert_eq!(one.log, two.log);
}

// ------------------------------------------------------------------------------------------------ the stage

enum Answer {
    Reply(Reply),
    Refuse,
    Never,
}

/// The URL and the headers of an upgrade.
type Opened = (String, Vec<(String, String)>);
type Server = Box<dyn FnMut(&Request) -> Answer>;
type Socket = Rc<RefCell<dyn FnMut(&str, &Value) -> Vec<Value>>>;

struct Play {
    config: LineConfig,
    socket: Option<Socket>,
    closes: Option<(Duration, Option<u16>)>,
    latency: Duration,
    due: BTreeMap<(Tick, u64), Input>,
    order: u64,
    log: Vec<(u64, Experience)>,
    requests: Vec<(u64, Request)>,
    sent: Vec<(u64, Value)>,
    opened: Vec<Opened>,
    aborted: Vec<SocketId>,
    stream_sid: String,
}

/// A server that answers in 10 ms and reacts to a message in 5.
const ANSWER: Duration = Duration::from_millis(10);
const REACTION: Duration = Duration::from_millis(5);

impl Play {
    fn new(script: &str) -> Play {
        let mut config = LineConfig::new("http://h/voice", "a test");
        config.script = Script::parse(script).unwrap();
        Play {
            config,
            socket: None,
            closes: None,
            latency: ANSWER,
            due: BTreeMap::new(),
            order: 0,
            log: Vec::new(),
            requests: Vec::new(),
            sent: Vec::new(),
            opened: Vec::new(),
            aborted: Vec::new(),
            stream_sid: String::new(),
        }
    }

    fn sockets(mut self, react: impl FnMut(&str, &Value) -> Vec<Value> + 'static) -> Play {
        self.socket = Some(Rc::new(RefCell::new(react)));
        self
    }

    fn run(mut self, server: impl FnMut(&Request) -> Answer + 'static) -> Play {
        let mut server: Server = Box::new(server);
        let mut line = Line::new(self.config.clone());
        let mut out = Vec::new();
        line.begin(now(Tick(0)), &mut out);
        self.perform(Tick(0), &mut out, &mut server);
        for _ in 0..200_000 {
            let input = self.due.keys().next().map(|(at, _)| *at);
            let Some(at) = [input, line.wake_at()].into_iter().flatten().min() else { break };
            if input == Some(at) {
                let ((at, _), input) = self.due.pop_first().unwrap();
                line.handle(now(at), input, &mut out);
            } else {
                line.wake(now(at), &mut out);
            }
            self.perform(at, &mut out, &mut server);
        }
        assert!(line.is_over(), "the call is never over: {:?}", self.log.last());
        assert_eq!(line.wake_at(), None);
        self
    }

    fn perform(&mut self, at: Tick, out: &mut Vec<Effect>, server: &mut Server) {
        for effect in out.drain(..) {
            match effect {
                Effect::Request(request) => {
                    let id = request.id;
                    match server(&request) {
                        Answer::Reply(reply) => {
                            self.later(at + self.latency, Input::Answered { request: id, reply })
                        }
                        Answer::Refuse => self.later(at, Input::Refused { request: id }),
                        Answer::Never => {}
                    }
                    self.requests.push((at.as_millis(), request));
                }
                Effect::OpenSocket { socket, url, headers } => {
                    self.opened.push((url, headers));
                    self.later(at + ANSWER, Input::SocketUp { socket });
                    if let Some((after, code)) = self.closes {
                        self.later(at + after, Input::SocketClosed { socket, code });
                    }
                }
                Effect::SendText { socket, text } => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    if message["event"] == "start" {
                        self.stream_sid = message["streamSid"].as_str().unwrap().to_owned();
                    }
                    if let Some(react) = self.socket.clone() {
                        for reaction in react.borrow_mut()(&self.stream_sid, &message) {
                            let text = reaction.to_string();
                            self.later(at + REACTION, Input::SocketText { socket, text });
                        }
                    }
                    self.sent.push((at.as_millis(), message));
                }
                Effect::AbortSocket { socket } => self.aborted.push(socket),
                Effect::CloseSocket { .. } | Effect::Heard { .. } => {}
                Effect::Experience(experience) => self.log.push((at.as_millis(), experience)),
            }
        }
    }

    fn later(&mut self, at: Tick, input: Input) {
        self.order += 1;
        self.due.insert((at, self.order), input);
    }

    fn at(&self, wanted: &Experience) -> Option<u64> {
        self.log.iter().find(|(_, experience)| experience == wanted).map(|(at, _)| *at)
    }

    fn hears(&self, part: &str) -> bool {
        self.log
            .iter()
            .any(|(_, experience)| matches!(experience, Experience::Hears { text } if text.contains(part)))
    }

    fn to(&self, wanted: &str) -> Vec<&(u64, Request)> {
        self.requests.iter().filter(|(_, request)| path(request) == wanted).collect()
    }

    fn request(&self, wanted: &str) -> (u64, &Request) {
        let found = self.to(wanted);
        assert_eq!(found.len(), 1, "requests to {wanted}");
        (found[0].0, &found[0].1)
    }

    fn warnings(&self) -> Vec<u32> {
        self.log
            .iter()
            .filter_map(|(_, experience)| match experience {
                Experience::Warning { code, .. } => Some(*code),
                _ => None,
            })
            .collect()
    }

    /// How the call ended, and how many milliseconds after it was answered. It does so exactly once.
    fn ended(&self) -> (Status, u64) {
        let ends: Vec<_> = self
            .log
            .iter()
            .filter_map(|(_, experience)| match experience {
                Experience::Ended { status, duration } => Some((*status, duration.as_millis() as u64)),
                _ => None,
            })
            .collect();
        assert_eq!(ends.len(), 1);
        ends[0]
    }
}

/// A small generator: the same seed, the same call.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

fn now(tick: Tick) -> Now {
    Now { tick, wall_ms: 1_800_000_000_000 + tick.as_millis() }
}

fn path(request: &Request) -> &str {
    let path = request.url.strip_prefix("http://h").unwrap();
    path.split('?').next().unwrap()
}

fn twiml(verbs: &str) -> Answer {
    Answer::Reply(Reply::twiml(format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>{verbs}</Response>"
    )))
}

fn media(sid: &str, audio: &[u8]) -> Value {
    use base64::Engine;
    let payload = base64::engine::general_purpose::STANDARD.encode(audio);
    json!({"event": "media", "streamSid": sid, "media": {"payload": payload}})
}

fn mark(sid: &str, name: &str) -> Value {
    json!({"event": "mark", "streamSid": sid, "mark": {"name": name}})
}
