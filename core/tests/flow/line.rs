//! On a line that asks for documents: verbs, look-ahead, Gathers.

use crate::stage::*;
use holdline_core::notice::LineAnswer;
use holdline_core::scene::*;
use serde_json::json;

#[test]
fn a_flow_of_verbs_goes_out_in_one_document_and_is_done_when_the_network_is_back() {
    let mut stage = Stage::of(json!([
        {"type": "answer"},
        {"type": "talk", "with": {"text": "hello ${call.from}"}},
        {"type": "sleep", "with": {"duration": 1500}},
        {"type": "play", "with": {"stream_urls": ["u1", "u2"]}},
    ]));
    stage.take(Event::Learned { name: "call.from".into(), value: json!("+1") });
    assert_eq!(stage.did(), "say hello +1, pause 2, play u1, play u2");
    assert_eq!(stage.needs, Needs::Close { hold: false });
    assert_eq!(stage.history(), ["answer:ok"]);
    assert_eq!(stage.view()["current_action"]["type"], "talk");
    stage.back(LineAnswer::Returned);
    assert_eq!(stage.over().reason, EndReason::Completed);
    assert_eq!(stage.history(), ["answer:ok", "talk:ok", "sleep:ok", "play:ok"]);
    stage.take(Event::End { reason: EndReason::CallEnded, detail: None });
    assert_eq!(stage.over().reason, EndReason::Completed);
    assert!(stage.ops.is_empty());
}
