//! Which document a request gets: every combination of where the call stands and what the request says.

use holdline_core::call::Input;
use holdline_core::fuzz::{Stage, brief, script};
use holdline_core::invariant;

/// Every document is one prompt, except the odd ones of `streams`, which are a stream.
fn stage(streams: bool) -> Stage {
    let document = if streams {
        r#"{"tasks": [{"name": "on", "type": "echo"}]}"#
    } else {
        r#"{"tasks": [{"name": "again", "type": "talk", "parameters": {"text": "again"}},
                      {"name": "back", "type": "goto", "parameters": {"target_id": "again", "loop_count": 50}}]}"#
    };
    Stage::new(script(document).unwrap())
}

/// A call whose newest document is `newest`.
fn at(newest: u32, streams: bool) -> Stage {
    let mut stage = stage(streams);
    stage.voice(Some("first"));
    for x in 1..newest {
        stage.next(Some(x), Some(&format!("back-{x}")));
    }
    assert_eq!(stage.call.state().newest(), newest);
    stage
}

fn number(stage: &mut Stage, x: Option<u32>, key: Option<&str>) -> u32 {
    let answer = stage.next(x, key).expect("an answer at once");
    let text = brief(&answer);
    text.split(' ').nth(1).and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{text}"))
}

/// Where the call stands when the request comes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Since {
    Given,
    Started,
    /// It came back, and its flow was lost before the next document was made: the return alone is written.
    Returned,
}

fn bring(stage: &mut Stage, newest: u32, since: Since) {
    match since {
        Since::Given => {}
        Since::Started => _ = stage.stream(newest).expect("a stream"),
        Since::Returned => {
            stage.held = true;
            stage.next(Some(newest), None);
            stage.input(Input::FlowLost);
            stage.crash();
            stage.held = false;
            while stage.deliver() {}
            assert!(stage.call.state().exchange(newest).unwrap().returned);
            assert_eq!(stage.call.state().newest(), newest);
        }
    }
}

#[test]
fn a_return_gets_what_follows_the_document_that_it_names() {
    for newest in 1..=4 {
        for since in [Since::Given, Since::Started, Since::Returned] {
            for x in [None, Some(0), Some(1), Some(newest - 1), Some(newest), Some(newest + 1), Some(999)] {
                let streams = since == Since::Started;
                let mut stage = at(newest, streams);
                bring(&mut stage, newest, since);
                let expected = match x {
                    Some(x) if (1..newest).contains(&x) => x + 1,
                    Some(x) if x == newest => newest + 1,
                    // No number, or one that can't be: on only from a document that is known to be done.
                    _ if since == Since::Given => newest,
                    _ => newest + 1,
                };
                let got = number(&mut stage, x, None);
                assert_eq!(got, expected, "newest {newest}, {since:?}, x {x:?}");
                // A late request changes nothing.
                if expected <= newest {
                    assert_eq!(stage.call.state().newest(), newest, "newest {newest}, {since:?}, x {x:?}");
                }
            }
        }
    }
}

#[test]
fn the_same_request_again_gets_the_same_document_whatever_came_between() {
    let mut stage = at(1, false);
    let second = stage.next(Some(1), Some("k"));
    assert_eq!(stage.next(Some(1), Some("k")), second);
    let third = stage.next(Some(2), Some("l"));
    assert_eq!(stage.next(Some(1), Some("k")), second, "when a newer one was given");
    assert_eq!(stage.next(Some(2), Some("k")), second, "with another number");
    stage.crash();
    assert_eq!(stage.next(Some(1), Some("k")), second, "after a crash");
    assert_eq!(stage.next(Some(2), None), third, "the same number without a token");
    assert_eq!(stage.call.state().newest(), 3);
}

#[test]
fn one_routes_token_says_nothing_on_another() {
    let mut stage = at(1, false);
    assert_eq!(brief(&stage.voice(Some("first")).unwrap()), "document 1 say return");
    assert_eq!(number(&mut stage, Some(1), Some("first")), 2, "the voice webhook's token, on the way back");
}

#[test]
fn the_first_webhook_again_gets_document_1_also_while_its_stream_is_up() {
    let mut stage = at(1, true);
    stage.stream(1).unwrap();
    stage.seen();
    assert_eq!(brief(&stage.voice(None).unwrap()), "document 1 stream");
    assert_eq!(stage.seen(), ["document 1 stream"], "the stream is left alone");
}

#[test]
fn a_late_voice_webhook_is_a_return_without_a_number() {
    let mut stage = at(3, false);
    assert_eq!(brief(&stage.voice(None).unwrap()), "document 3 say return", "nothing says that 3 is done");
    let mut stage = at(2, true);
    stage.stream(2).unwrap();
    assert_eq!(brief(&stage.voice(None).unwrap()), "document 3 stream", "2 is done: its stream started");
}

#[test]
fn two_requests_at_once_share_the_document_that_is_being_made() {
    let mut stage = at(1, false);
    stage.held = true;
    assert_eq!(stage.next(Some(1), Some("a")), None);
    assert_eq!(stage.next(Some(1), Some("b")), None);
    stage.held = false;
    while stage.deliver() {}
    assert_eq!(stage.call.state().newest(), 2);
    assert_eq!(number(&mut stage, None, Some("b")), 2, "the second one is bound to it as well");
    assert!(stage.unanswered().is_empty());
}

#[test]
fn what_waits_for_a_document_is_written_with_its_own_time() {
    // A verb is wanted behind a stream, so the network's return ends the stream and asks for the verb at once.
    let document = r#"{"tasks": [{"name": "mirror", "type": "echo", "parameters": {"duration": 1000}},
                                 {"name": "words", "type": "talk", "parameters": {"text": "Goodbye."}}]}"#;
    let mut stage = Stage::new(script(document).unwrap());
    stage.voice(None);
    stage.stream(1).expect("a stream");
    stage.after_ms(1000);
    let returned_ms = stage.now.wall_ms;
    stage.held = true;
    assert_eq!(stage.next(Some(1), None), None, "the flow takes its time");
    stage.after_ms(700);
    stage.held = false;
    while stage.deliver() {}
    let ended = stage.call.state().streams.back().and_then(|stream| stream.ended_ms);
    assert_eq!(ended, Some(returned_ms), "the return ended the stream");
    assert_eq!(stage.call.state().newest(), 2);
    let times = stage.facts.iter().map(|(wall_ms, fact)| (*wall_ms, fact));
    assert_eq!(invariant::state_is_the_fold(stage.call.state(), times), Ok(()));
}
