//! The `holdline` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdline::cli::main()
}
