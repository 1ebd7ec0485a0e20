//! The server killed again and again: `cargo bench --bench kill -- [--rounds 200] [--calls 400] [--seed 1]`.
//!
//! Everything that must hold is asserted; what is worth knowing is printed.

#[path = "../tests/support/mod.rs"]
mod support;

use support::kill::Kills;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        Some(arguments.get(at + 1)?.parse::<u64>().expect("a number"))
    };
    let count = |name: &str| number(name).map(|number| usize::try_from(number).expect("a count"));
    let rounds = count("--rounds").unwrap_or(200);
    let calls = count("--calls").unwrap_or(rounds * 2);
    println!("{}", Kills { rounds, calls, seed: number("--seed").unwrap_or(1) }.live());
}
