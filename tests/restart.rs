//! A slice of `cargo bench --bench kill`: SIGKILL in the middle of calls, and not one is lost.

mod support;

use std::time::Duration;

use support::kill::Kills;

#[test]
fn killed_at_any_moment_every_call_goes_on_where_it_was_and_is_told_once() {
    let report = Kills { rounds: 3, calls: 6, seed: 20_240_501 }.live();
    println!("{report}");
    assert!(report.ready_at_worst < Duration::from_secs(5), "{report}");
}
