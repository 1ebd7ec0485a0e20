use super::*;
use crate::document::GatherSpeech;
use proptest::prelude::*;
use quick_xml::events::Event;
use quick_xml::{Reader, XmlVersion};

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response>";

fn links() -> Links {
    Links {
        origin: "https://voice.example.com/hold".into(),
        workflow: "menu".into(),
        call: "CA1".into(),
        return_fragment: "#rc=5".into(),
    }
}

fn plan(verbs: Vec<Verb>, ending: Ending) -> Plan {
    Plan { exchange: 7, verbs, ending }
}

fn body(verbs: Vec<Verb>, ending: Ending) -> String {
    let document = render(&plan(verbs, ending), &links(), Some("t0ken"));
    document.strip_prefix(HEAD).unwrap().strip_suffix("</Response>").unwrap().to_owned()
}

fn say(text: &str) -> Verb {
    Verb::Say(Say { text: text.into(), ssml: false, language: None, voice: None })
}

const TAIL: &str =
    "<Redirect method=\"POST\">https://voice.example.com/hold/webhooks/menu/next?x=7#rc=5</Redirect>";
const ACTION: &str = "https://voice.example.com/hold/webhooks/menu/next?x=7&amp;a=";

#[test]
fn a_document_ends_in_the_way_back_unless_it_is_the_last() {
    assert_eq!(body(vec![], Ending::Return), TAIL);
    assert_eq!(body(vec![Verb::Pause { seconds: 2 }], Ending::Hangup), "<Pause length=\"2\"/><Hangup/>");
    assert_eq!(body(vec![say("x")], Ending::Reject { reason: "busy".into() }), "<Reject reason=\"busy\"/>");
    assert_eq!(hangup(), format!("{HEAD}<Hangup/></Response>"));
    assert_eq!(reject("busy"), format!("{HEAD}<Reject reason=\"busy\"/></Response>"));
}

#[test]
fn a_stream_is_opened_by_path_and_token_and_leads_on_both_ways() {
    let parameters = vec![("lang".to_owned(), "de".to_owned()), ("long".to_owned(), "x".repeat(600))];
    let expected = format!(
        "<Connect action=\"https://voice.example.com/hold/webhooks/menu/next?x=7#rc=5\">\
         <Stream url=\"wss://voice.example.com/hold/webhooks/menu/wss/CA1/t0ken\">\
         <Parameter name=\"callSid\" value=\"CA1\"/><Parameter name=\"lang\" value=\"de\"/>\
         <Parameter name=\"long\" value=\"{}\"/></Stream></Connect>{TAIL}",
        "x".repeat(495)
    );
    assert_eq!(body(vec![], Ending::Stream { parameters }), expected);
    let local = Links { origin: "http://127.0.0.1:8080".into(), ..links() };
    assert!(bare_stream(&local).contains("<Connect><Stream url=\"ws://127.0.0.1:8080/ws\"/></Connect>"));
    let odd = Links { workflow: "a b/ü".into(), call: "CA/..".into(), ..local };
    let document = render(&plan(vec![], Ending::Stream { parameters: vec![] }), &odd, Some("t"));
    assert!(document.contains("/webhooks/a%20b%2F%C3%BC/wss/CA%2F../t\""), "{document}");
}

#[test]
fn a_gather_has_exactly_the_attributes_that_it_needs() {
    let gather = Gather {
        prompts: vec![say("Press 1"), Verb::StopRecording],
        num_digits: Some(4),
        timeout_s: 5,
        finish_on_key: "#".into(),
        action_on_empty_result: true,
        speech: None,
    };
    assert_eq!(
        body(vec![Verb::Pause { seconds: 1 }, Verb::Gather(gather.clone())], Ending::Return),
        format!(
            "<Pause length=\"1\"/><Gather input=\"dtmf\" numDigits=\"4\" timeout=\"5\" finishOnKey=\"#\" \
             actionOnEmptyResult=\"true\" action=\"{ACTION}2#rc=5\" method=\"POST\"><Say>Press 1</Say></Gather>{TAIL}"
        )
    );
    let speech = GatherSpeech {
        speech_timeout_s: None,
        language: Some("de-DE".into()),
        hints: vec!["ja".into(), "nein".into()],
    };
    let spoken = Gather { speech: Some(speech), num_digits: None, prompts: vec![], ..gather };
    assert_eq!(
        body(vec![Verb::Gather(spoken)], Ending::Return),
        format!(
            "<Gather input=\"dtmf speech\" timeout=\"5\" finishOnKey=\"#\" actionOnEmptyResult=\"true\" \
             action=\"{ACTION}1#rc=5\" method=\"POST\" language=\"de-DE\" hints=\"ja,nein\" speechTimeout=\"auto\">\
             </Gather>{TAIL}"
        )
    );
    let barge_in =
        Gather { prompts: vec![say("Hi")], num_digits: Some(1), timeout_s: 1, ..Gather::default() };
    assert_eq!(
        body(vec![Verb::Gather(barge_in)], Ending::Return),
        format!(
            "<Gather input=\"dtmf\" numDigits=\"1\" timeout=\"1\" action=\"{ACTION}1#rc=5\"><Say>Hi</Say></Gather>{TAIL}"
        )
    );
}

#[test]
fn dials_conferences_queues_and_recordings_say_where_their_results_go() {
    let dial = Dial {
        nouns: vec![Noun::Number("+1415".into()), Noun::Sip("sip:a@b".into()), Noun::Queue("support".into())],
        caller_id: Some("+1".into()),
        timeout_s: Some(20),
        answer_on_bridge: true,
        record: true,
    };
    let recording = "recordingStatusCallback=\"https://voice.example.com/hold/webhooks/twilio/recording";
    assert_eq!(
        body(vec![Verb::Dial(dial)], Ending::Return),
        format!(
            "<Dial action=\"{ACTION}1#rc=5\" callerId=\"+1\" timeout=\"20\" answerOnBridge=\"true\" \
             record=\"record-from-answer\" {recording}\"><Number>+1415</Number><Sip>sip:a@b</Sip>\
             <Queue>support</Queue></Dial>{TAIL}"
        )
    );
    let conference = Conference {
        name: "room 1".into(),
        start_on_enter: true,
        end_on_exit: false,
        muted: false,
        label: Some("ann".into()),
        wait_url: Some(String::new()),
        record: true,
    };
    assert_eq!(
        body(vec![Verb::Conference(conference)], Ending::Return),
        format!(
            "<Dial action=\"{ACTION}1#rc=5\"><Conference startConferenceOnEnter=\"true\" \
             endConferenceOnExit=\"false\" muted=\"false\" participantLabel=\"ann\" waitUrl=\"\" \
             statusCallback=\"https://voice.example.com/hold/webhooks/twilio/conference\" \
             statusCallbackEvent=\"start end join leave modify\" record=\"record-from-start\" \
             {recording}?callSid=CA1\">room 1</Conference></Dial>{TAIL}"
        )
    );
    assert_eq!(
        body(vec![Verb::Enqueue { queue: "q".into() }], Ending::Return),
        format!(
            "<Enqueue action=\"{ACTION}1#rc=5\" \
             waitUrl=\"https://voice.example.com/hold/webhooks/menu/wait?x=7\">q</Enqueue>{TAIL}"
        )
    );
    assert_eq!(
        body(vec![Verb::StartRecording { channels: 2 }, Verb::StopRecording], Ending::Hangup),
        format!(
            "<Start><Recording channels=\"dual\" {recording}\"/></Start><Stop><Recording/></Stop><Hangup/>"
        )
    );
}

#[test]
fn a_wait_document_counts_on_and_is_never_empty() {
    let wait = |verbs: &[Verb], turn| wait_document(verbs, &links(), 7, turn);
    let next = "<Redirect method=\"POST\">https://voice.example.com/hold/webhooks/menu/wait?x=7&amp;w=";
    assert_eq!(wait(&[], 0), format!("{HEAD}<Pause length=\"5\"/>{next}1</Redirect></Response>"));
    let verbs = [Verb::Enqueue { queue: "q".into() }, say("Soon")];
    assert_eq!(wait(&verbs, 3), format!("{HEAD}<Say>Soon</Say>{next}4</Redirect></Response>"));
}

#[test]
fn ssml_stays_markup_and_broken_ssml_is_read_out() {
    let spoken = |text: &str| {
        body(
            vec![Verb::Say(Say { text: text.into(), ssml: true, language: None, voice: None })],
            Ending::Hangup,
        )
    };
    assert_eq!(
        spoken("a<break time=\"1s\"/>b &amp; c"),
        "<Say>a<break time=\"1s\"/>b &amp; c</Say><Hangup/>"
    );
    assert_eq!(spoken("</Say><Reject/>"), "<Say>&lt;/Say&gt;&lt;Reject/&gt;</Say><Hangup/>");
}

#[test]
fn a_length_is_unbounded_as_soon_as_a_human_decides() {
    let seconds = |verbs: &[Verb]| rendered_length(verbs).map(|length| length.as_secs_f64());
    assert_eq!(seconds(&[say("0123456789"), Verb::Pause { seconds: 3 }]), Some(4.0));
    assert_eq!(seconds(&[Verb::Play { url: "u".into() }]), Some(600.0));
    let gather =
        Gather { prompts: vec![say("0123456789")], num_digits: Some(4), timeout_s: 5, ..Gather::default() };
    assert_eq!(seconds(&[Verb::Gather(gather)]), Some(21.0));
    assert_eq!(seconds(&[say("x"), Verb::Enqueue { queue: "q".into() }]), None);
    assert_eq!(seconds(&[Verb::Dial(Dial::default())]), None);
}

/// Name, attributes and own text.
type Element = (String, Vec<(String, String)>, String);

/// Every element of a document, as a stranger's reader sees them.
fn read(document: &str) -> Vec<Element> {
    let mut reader = Reader::from_str(document);
    let (mut elements, mut open): (Vec<Element>, Vec<usize>) = (vec![], vec![]);
    loop {
        let event = reader.read_event().unwrap_or_else(|error| panic!("{error} in {document}"));
        match event {
            Event::Start(ref start) | Event::Empty(ref start) => {
                let attributes = start.attributes().map(|attribute| {
                    let attribute = attribute.unwrap();
                    let value = attribute.normalized_value(XmlVersion::Implicit1_0).unwrap().into_owned();
                    (String::from(attribute.key.as_ref()), value)
                });
                elements.push((String::from(start.name().as_ref()), attributes.collect(), String::new()));
                if matches!(event, Event::Start(_)) {
                    open.push(elements.len() - 1);
                }
            }
            Event::End(_) => drop(open.pop().unwrap()),
            Event::Text(text) => elements[*open.last().unwrap()].2.push_str(&text.xml10_content()),
            Event::GeneralRef(name) => {
                let text = format!("&{};", &*name);
                elements[*open.last().unwrap()].2.push_str(&quick_xml::escape::unescape(&text).unwrap());
            }
            Event::Decl(_) => {}
            Event::Eof => break,
            event => panic!("{event:?} in {document}"),
        }
    }
    assert!(open.is_empty());
    elements
}

/// A document that has that text wherever a text can be, and the texts that must be read back from it.
fn saturated(text: &str) -> String {
    let owned = || text.to_owned();
    let spoken = Say { text: owned(), ssml: false, language: Some(owned()), voice: Some(owned()) };
    let verbs = vec![
        Verb::Say(spoken.clone()),
        Verb::Say(Say { ssml: true, ..spoken }),
        Verb::Play { url: owned() },
        Verb::Dial(Dial { nouns: vec![Noun::Client(owned())], caller_id: Some(owned()), ..Dial::default() }),
        Verb::Gather(Gather {
            prompts: vec![say(text)],
            speech: Some(GatherSpeech {
                language: Some(owned()),
                hints: vec![owned()],
                ..Default::default()
            }),
            finish_on_key: owned(),
            action_on_empty_result: true,
            ..Gather::default()
        }),
    ];
    let links = Links { origin: owned(), workflow: owned(), call: owned(), return_fragment: owned() };
    render(&plan(verbs, Ending::Stream { parameters: vec![(owned(), owned())] }), &links, Some(text))
}

#[test]
fn hostile_values_read_back_as_the_same_text() {
    let long = "Ann \"&\" Bob ".repeat(900);
    for text in [
        "it's \"quoted\" & <b>]]></Say></Response>",
        "]]>",
        "&amp;#x3C;",
        "😀 ${x} =1+1 %41",
        "a\nb\tc\r\nd  e",
        "<!-- -- --><?pi?><![CDATA[",
        &long,
    ] {
        let elements = read(&saturated(text));
        let texts: Vec<_> =
            elements.iter().filter(|(name, ..)| matches!(name.as_str(), "Say" | "Play" | "Client")).collect();
        assert!(texts.len() >= 4);
        for (name, _, found) in texts.iter().filter(|(name, ..)| name != "Say") {
            assert_eq!(found, text, "{name}");
        }
        assert_eq!(texts[0].2, text);
        let dial = &elements.iter().find(|(name, ..)| name == "Dial").unwrap().1;
        assert!(dial.contains(&("callerId".to_owned(), text.to_owned())), "{dial:?}");
    }
}

#[test]
fn what_xml_cannot_say_becomes_a_replacement_character() {
    let elements = read(&saturated("a\0b\u{1b}c\u{FFFF}"));
    let said = elements.iter().find(|(name, ..)| name == "Say").unwrap();
    assert_eq!(said.2, "a\u{FFFD}b\u{FFFD}c\u{FFFD}");
    assert_eq!(said.1[0], ("voice".to_owned(), "a\u{FFFD}b\u{FFFD}c\u{FFFD}".to_owned()));
}

proptest! {
    #[test]
    fn every_document_is_well_formed(text in any::<String>()) {
        let elements = read(&saturated(&text));
        let expected = legal(&text).into_owned();
        prop_assert_eq!(&elements.iter().find(|(name, ..)| name == "Play").unwrap().2, &expected);
    }

    #[test]
    fn markup_of_any_kind_stays_inside_its_say(text in "(<|>|/|speak|Say|&|;|#|'|\"|!|-|\\[|\\]|=| |a|\\?){0,24}") {
        let elements = read(&saturated(&text));
        prop_assert_eq!(elements.last().map(|(name, ..)| name.as_str()), Some("Redirect"));
        prop_assert_eq!(elements.iter().filter(|(name, ..)| name == "Redirect").count(), 1);
        if let Ok(inside) = ssml::ssml_inside(&format!("<speak>{text}</speak>")) {
            prop_assert_eq!(ssml::rewritten(&inside), Ok(inside));
        }
    }
}
