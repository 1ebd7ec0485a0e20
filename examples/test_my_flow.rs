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

/// Half a minute of a call; the test takes a millisecond.
const SALES: &str = r#"
  1.9  caller presses 1
"#;

const NOBODY_ELSE_IS_THERE: &str = r#"
  1.9  caller presses 2
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
