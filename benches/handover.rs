//! A deploy in the middle of calls: `cargo bench --bench handover -- [CALLS]`, 50 without a number.
//!
//! Everything that must hold is asserted; what is worth knowing is printed.

#[path = "../tests/support/mod.rs"]
mod support;

use support::handover::HandOver;

fn main() {
    // `cargo test --all-targets` runs benches too; the tests have a slice of their own.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let calls = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(50);
    println!("{}", HandOver { calls }.live());
}
