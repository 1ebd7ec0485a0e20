//! A slice of `cargo bench --bench kill`: SIGKILL in the middle of calls, and not one is lost.

mod support;

use std::time::Duration;

use support::kill::{Kills, full_disk, start_with_open_calls};

#[test]
fn killed_at_any_moment_every_call_goes_on_where_it_was_and_is_told_once() {
    let report = Kills { rounds: 3, calls: 12, seed: 20_240_501 }.live();
    println!("{report}");
    // On a busy machine much goes over the wire at once, and the calls may be over before the last kill.
    assert!(report.rounds > 0, "{report}");
    assert!(report.ready_at_worst < Duration::from_secs(5), "{report}");
}

#[test]
fn ten_thousand_open_calls_do_not_delay_the_start_nor_the_first_of_them_that_is_asked_for() {
    let (ready, answered) = start_with_open_calls(10_000);
    println!("ready after {} ms, answered after {} ms", ready.as_millis(), answered.as_millis());
    // A second each is what is promised, and `cargo bench --bench journal -- open` measures it with the release binary;
    // a test machine builds without optimisation and does other things beside.
    assert!(ready < Duration::from_secs(20), "ready after {ready:?}");
    assert!(answered < Duration::from_secs(20), "answered after {answered:?}");
}

#[test]
fn while_the_disk_is_full_nothing_is_told_and_when_it_is_not_nothing_was_lost() {
    full_disk();
}
