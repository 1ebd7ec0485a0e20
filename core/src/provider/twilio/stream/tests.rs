use super::*;
use crate::provider::twilio::fuzz::fuzz_stream_text;
use proptest::prelude::*;

fn read(text: &str) -> Result<(StreamIn<'_>, Vec<u8>), WireError> {
    let mut audio = vec![9; 3];
    read_stream(text, &mut audio).map(|message| (message, audio))
}

fn message(text: &str) -> StreamIn<'_> {
    read(text).unwrap().0
}

fn sid<'a>() -> Option<Cow<'a, str>> {
    Some(Cow::Borrowed("MZ1"))
}

#[test]
fn the_documented_messages_are_read() {
    assert_eq!(message(r#"{"event":"connected","protocol":"Call","version":"1.0.0"}"#), StreamIn::Connected);
    let start = message(
        r#"{"event":"start","sequenceNumber":"1","start":{"accountSid":"AC1","streamSid":"MZ1","callSid":"CA1","tracks":["inbound"],"mediaFormat":{"encoding":"audio/x-mulaw","sampleRate":8000,"channels":1},"customParameters":{"FirstName":"Jane","n":5}},"streamSid":"MZ1"}"#,
    );
    let StreamIn::Start(start) = start else { panic!("{start:?}") };
    assert_eq!((start.stream_sid.as_str(), start.call_sid.as_deref()), ("MZ1", Some("CA1")));
    assert_eq!(start.tracks, ["inbound"]);
    assert!(start.format.unwrap().is_usual());
    assert_eq!(start.parameters["FirstName"], "Jane");
    assert_eq!(start.parameters["n"], "5");
    let (media, audio) = read(
        r#"{"event":"media","sequenceNumber":"4","media":{"track":"inbound","chunk":"2","timestamp":"5","payload":"AAECfw=="},"streamSid":"MZ1"}"#,
    )
    .unwrap();
    assert_eq!(
        media,
        StreamIn::Media { stream_sid: sid(), track: Track::Inbound, timestamp_ms: Some(5), chunk: Some(2) }
    );
    assert!(
        matches!(media, StreamIn::Media { stream_sid: Some(Cow::Borrowed(_)), .. }),
        "the long way was taken"
    );
    assert_eq!(audio, [0, 1, 2, 0x7F]);
    assert_eq!(
        message(
            r#"{"event":"dtmf","streamSid":"MZ1","sequenceNumber":"5","dtmf":{"track":"inbound_track","digit":"1"}}"#
        ),
        StreamIn::Dtmf { stream_sid: sid(), digit: '1' }
    );
    assert_eq!(
        message(r#"{"event":"mark","sequenceNumber":"4","streamSid":"MZ1","mark":{"name":"my label"}}"#),
        StreamIn::Mark { stream_sid: sid(), name: "my label".into() }
    );
    assert_eq!(
        message(
            r#"{"event":"stop","sequenceNumber":"5","stop":{"accountSid":"AC1","callSid":"CA1"},"streamSid":"MZ1"}"#
        ),
        StreamIn::Stop { stream_sid: sid() }
    );
}

#[test]
fn other_clients_are_understood_as_well() {
    let start = message(r#"{"event":"start","start":{"streamSid":"MZ1","callSid":"0190b3c4"}}"#);
    let StreamIn::Start(start) = start else { panic!("{start:?}") };
    assert_eq!((start.stream_sid.as_str(), start.format), ("MZ1", None));
    assert_eq!(message(r#"{"event":"party","streamSid":"MZ1"}"#), StreamIn::Unknown("party".into()));
    let media = r#"{"event":"media","extra":[],"media":{"timestamp":20,"chunk":1,"payload":"AA"}}"#;
    let (message_in, audio) = read(media).unwrap();
    assert_eq!(
        message_in,
        StreamIn::Media { stream_sid: None, track: Track::Inbound, timestamp_ms: Some(20), chunk: Some(1) }
    );
    assert_eq!(audio, [0], "padding may be missing");
    assert_eq!(
        message(r#"{"event":"dtmf","dtmf":{"digit":5}}"#),
        StreamIn::Dtmf { stream_sid: None, digit: '5' }
    );
    let outbound = message(r#"{"event":"media","media":{"track":"outbound","payload":""}}"#);
    assert!(matches!(outbound, StreamIn::Media { track: Track::Outbound, .. }));
    assert_eq!(message(r#"{"event":"stop","stop":null}"#), StreamIn::Stop { stream_sid: None });
    let wide = message(
        r#"{"event":"start","streamSid":"MZ1","start":{"mediaFormat":{"encoding":"audio/x-l16","sampleRate":"16000"}}}"#,
    );
    let StreamIn::Start(wide) = wide else { panic!("{wide:?}") };
    let format = wide.format.unwrap();
    assert!(!format.is_usual());
    assert_eq!(format, MediaFormat { encoding: "audio/x-l16".into(), sample_rate: 16000, channels: 1 });
}

#[test]
fn what_is_no_message_is_named_and_leaves_no_audio() {
    let error = |text: &str| {
        let mut audio = vec![1];
        let error = read_stream(text, &mut audio).unwrap_err();
        assert!(audio.is_empty());
        error
    };
    assert!(matches!(error("{\"event\":"), WireError::NotJson(_)));
    assert_eq!(error("[]"), WireError::NotAnObject);
    assert_eq!(error("{}"), WireError::Missing("event"));
    assert_eq!(error(r#"{"event":"start","start":{}}"#), WireError::Missing("streamSid"));
    assert_eq!(error(r#"{"event":"media","media":{}}"#), WireError::Missing("media.payload"));
    assert_eq!(error(r#"{"event":"media","media":{"payload":"AAEC*w=="}}"#), WireError::NotBase64);
    assert_eq!(error(r#"{"event":"mark"}"#), WireError::Missing("mark.name"));
    assert_eq!(error(r#"{"event":"dtmf","dtmf":{"digit":"12"}}"#), WireError::NotADigit("12".into()));
    let long = format!(r#"{{"event":"mark","mark":{{"name":"{}"}}}}"#, "x".repeat(MESSAGE_BYTES_MAX));
    assert_eq!(error(&long), WireError::TooLong { bytes: long.len() });
    assert!(matches!(error(&"[".repeat(MESSAGE_BYTES_MAX)), WireError::NotJson(_)), "no deep recursion");
}

#[test]
fn what_goes_out_has_the_documented_keys_and_no_others() {
    let mut out = String::from("left over");
    media("MZ1", &[0, 1, 2, 0x7F], &mut out);
    assert_eq!(out, r#"{"event":"media","streamSid":"MZ1","media":{"payload":"AAECfw=="}}"#);
    mark("MZ1", "u1", &mut out);
    assert_eq!(out, r#"{"event":"mark","streamSid":"MZ1","mark":{"name":"u1"}}"#);
    clear("MZ1", &mut out);
    assert_eq!(out, r#"{"event":"clear","streamSid":"MZ1"}"#);
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => Just(r#""AAECfw==""#.to_owned()),
        4 => "[0-9]{0,4}".prop_map(|digits| format!("\"{digits}\"")),
        2 => "[ -~ü\\\\\"\n]{0,8}".prop_map(|text| format!("\"{text}\"")),
        2 => any::<String>().prop_map(|text| Value::from(text).to_string()),
        1 => any::<i32>().prop_map(|number| number.to_string()),
        1 => prop::sample::select(vec!["null", "true", "1.5e3", "{}", "[1]", "\"inbound\"", "\"outbound\""]).prop_map(String::from),
    ]
}

fn object(keys: Vec<&'static str>) -> impl Strategy<Value = String> {
    prop::collection::vec((prop::sample::select(keys), value(), "[ \n]{0,2}"), 0..5).prop_map(|members| {
        let members: Vec<String> = members
            .iter()
            .map(|(key, value, space)| format!("{space}\"{key}\"{space}:{value}{space}"))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

proptest! {
    #[test]
    fn the_short_cut_and_the_long_way_agree(
        inside in object(vec!["track", "chunk", "timestamp", "payload", "payload", "other"]),
        around in object(vec!["sequenceNumber", "streamSid", "other", "event"]),
        event in prop::sample::select(vec!["media", "media", "media", "start", "mark", "dtmf", "stop", "x"]),
        first in any::<bool>(),
        cut_at in 0_usize..400,
    ) {
        let own = format!("\"event\":\"{event}\",\"media\":{inside}");
        let rest = around.trim_matches(['{', '}']);
        let text = match (rest.is_empty(), first) {
            (true, _) => format!("{{{own}}}"),
            (false, true) => format!("{{{own},{rest}}}"),
            (false, false) => format!(" {{{rest},{own}}} "),
        };
        fuzz_stream_text(text.as_bytes());
        fuzz_stream_text(&text.as_bytes()[..cut_at.min(text.len())]);
    }

    #[test]
    fn audio_of_any_kind_comes_back_as_it_went_out(audio in prop::collection::vec(any::<u8>(), 0..400), sid in any::<String>()) {
        let (mut out, mut back) = (String::new(), Vec::new());
        media(&sid, &audio, &mut out);
        let message = read_stream(&out, &mut back).unwrap();
        prop_assert_eq!(message.stream_sid().unwrap_or_default(), sid.as_str());
        prop_assert_eq!(&back, &audio);
        mark(&sid, &sid, &mut out);
        let message = read_stream(&out, &mut back).unwrap();
        prop_assert_eq!(message, StreamIn::Mark { stream_sid: Some(sid.as_str().into()).filter(|_| !sid.is_empty()), name: sid.as_str().into() });
    }
}
