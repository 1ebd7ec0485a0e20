//! A workflow and its tests: calls as they must go, performed in virtual time, and a difference that reads like the call.
//!
//! `cargo run --example test_my_flow` performs them. In your own crate each is a `#[test]` that ends in
//! `.must_go_as_told()`. The lines behind `<-` need not be written by hand: begin without them, take over what the
//! failed test shows, and read it; from then on it is what must happen.

use holdline_harness::{Story, Untold};

/// The workflow under test; in your own crate rather `.folder("flows")`, and a `flow menu.yaml` in the story.
const MENU: &str = r#"
flow menu <<
tasks:
  - { type: talk, parameters: { text: "Press 1 for sales, 2 for support." } }
  - { type: digits_receive, name: choice, parameters: { duration: 5s, length: 1 } }
  - type: branch
    parameters: { target_ids: { 1: sales, 2: support }, default_target_id: bye }
  - { type: connect, name: sales, parameters: { destinations: [{ target: "+14155550111" }] }, next: bye }
  - { type: connect, name: support, parameters: { destinations: [{ target: "+14155550122" }] } }
  - { type: talk, name: bye, parameters: { text: "Goodbye." } }
>>
far +14155550111 answers after 2s talks 5s
far +14155550122 busy
"#;

/// Ten seconds of a call; the test takes a millisecond.
const SALES: &str = r#"
  0.0  <- gives Gather(1 digit, 5 s)[Say "Press 1 for sales, 2 for support."], back to 1
  0.0  <- says "Press 1 for sales, 2 for support."
  1.9  caller presses 1
  1.9  <- talk ok
  1.9  <- digits_receive choice ok: digits=1, ended_by=length
  1.9  <- branch ok
  1.9  <- gives Dial +14155550111, back to 2
  1.9  <- hears +14155550111 ring
  3.9  <- talks to +14155550111
  8.9  <- is done with +14155550111: completed
  8.9  <- connect sales ok: status=completed, call_sid=CAe43c47cbc874f4b4358ddde7853b3d90, duration=5
  8.9  <- gives Say "Goodbye.", Hangup
  8.9  <- says "Goodbye."
  9.7  <- line completed after 9.7 s
  9.7  <- talk bye ok
  9.7  <- flow over: completed
  9.7  <- call over: completed; completed after 9 s, flow completed, digits 1
"#;

const NOBODY_ELSE_IS_THERE: &str = r#"
  0.0  <- gives Gather(1 digit, 5 s)[Say "Press 1 for sales, 2 for support."], back to 1
  0.0  <- says "Press 1 for sales, 2 for support."
  1.9  caller presses 2
  1.9  <- talk ok
  1.9  <- digits_receive choice ok: digits=2, ended_by=length
  1.9  <- branch ok
  1.9  <- gives Dial +14155550122, back to 2
  1.9  <- hears +14155550122 ring
  2.9  <- is done with +14155550122: busy
  2.9  <- connect support ok: status=busy, call_sid=CAe43c47cbc874f4b4358ddde7853b3d90, duration=0
  2.9  <- gives Say "Goodbye.", Hangup
  2.9  <- says "Goodbye."
  3.7  <- line completed after 3.7 s
  3.7  <- talk bye ok
  3.7  <- flow over: completed
  3.7  <- call over: completed; completed after 3 s, flow completed, digits 2
"#;

pub fn main() {
    for (what, told) in [("sales answers", SALES), ("support is busy", NOBODY_ELSE_IS_THERE)] {
        story(told).must_go_as_told();
        println!("ok  {what}");
    }
    // What a test says when somebody has changed the menu:
    let changed = story(&SALES.replace("presses 1", "presses 2"));
    match changed.perform() {
        Err(Untold::Different { diff, .. }) => println!("\nand if another key is pressed:\n{diff}"),
        other => panic!("expected a difference, got {other:?}"),
    }
}

/// A story about the menu.
pub fn story(told: &str) -> Story {
    Story::new(format!("{MENU}{told}"))
}
