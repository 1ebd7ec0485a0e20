//! The server killed again and again: `cargo bench --bench kill -- [--rounds 200] [--calls 800] [--seed 1]`.
//!
//! `HOLDLINE__JOURNAL__KIND=sled` before it has the rows kept in sled.
//!
//! Everything that must hold is asserted; what is worth knowing is printed.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use support::kill::{Kills, WayBack};

/// From a kill to the start of the next process.
const DOWN_MOST: Duration = Duration::from_secs(1);
/// From its ready line to the first thing that a caller gets whose stream died.
const BACK_WITHIN: Duration = Duration::from_secs(2);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1)?.parse::<u64>().expect("a number"))
    };
    let count = |name: &str| number(name).map(|number| usize::try_from(number).expect("a count"));
    let rounds = count("--rounds").unwrap_or(200);
    let calls = count("--calls").unwrap_or(rounds * 4);
    let report = Kills { rounds, calls, seed: number("--seed").unwrap_or(1) }.live();
    println!("{report}");
    assert_eq!(report.rounds, rounds, "there are too few calls for so many kills");
    assert!(report.down_at_worst <= DOWN_MOST, "{:?}", report.down_at_worst);
    for way in WayBack::ALL {
        assert!(report.back.contains_key(&way), "nobody came back by {way:?}");
    }
    assert!(report.back_at_worst() <= BACK_WITHIN, "a caller waited for {:?}", report.back_at_worst());
}
