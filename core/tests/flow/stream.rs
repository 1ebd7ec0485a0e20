//! On a stream: sounds, keys, echo, recordings, and what happens when it is lost.

use crate::stage::*;
use holdline_core::scene::*;
use serde_json::json;

#[test]
fn an_echo_needs_a_stream_and_ends_by_its_time() {
    let mut stage = Stage::of(json!([
        {"type": "talk", "with": {"text": "hello"}},
        {"type": "echo", "with": {"duration": 2000}},
        {"type": "hangup", "with": {"reason": "bye"}},
    ]));
    stage.proceed(Line::Asking);
    assert_eq!((stage.did().as_str(), &stage.needs), ("say hello", &Needs::Stream));
    stage.stream();
    assert_eq!((stage.did().as_str(), &stage.needs), ("echo true", &Needs::Stream));
    stage.after_ms(1999);
    assert_eq!(stage.did(), "");
    stage.after_ms(1);
    assert_eq!(stage.did(), "echo false");
    assert_eq!((stage.over().reason, stage.over().by_hangup), (EndReason::Completed, true));
    assert_eq!(stage.history(), ["talk:ok", "echo:ok", "hangup:ok"]);
}
