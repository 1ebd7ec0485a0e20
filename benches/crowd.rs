//! Many calls over real sockets against one server: `cargo bench --bench crowd -- [CALLS] [SECONDS]`.
//!
//! Everything that must hold is asserted; what is worth knowing is printed.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use support::crowd::Crowd;

/// The measured call is played to for that long.
const PLAYS: Duration = Duration::from_secs(10);
const FRAME: Duration = Duration::from_millis(20);

fn main() {
    // As the server does: a backtrace takes a tenth of a second, and every call of the thread would hear it.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    // `cargo test --all-targets` runs benches too; the tests have a slice of their own.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let calls = numbers.next().unwrap_or(100);
    let speaks = Duration::from_secs(numbers.next().unwrap_or(14));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let report = runtime
        .block_on(Crowd { calls: usize::try_from(calls).expect("a count"), speaks, plays: PLAYS }.live());
    println!("{report}");
    let expected = PLAYS - FRAME;
    let off = report.pace.span.abs_diff(expected);
    assert!(off <= FRAME, "500 frames take 10 s, one frame more or less: {:?}", report.pace);
}
