//! The command line: what may be asked, and how the answer becomes an exit code.
//!
//! Progress goes to stderr, the result to stdout, so that a pipe only ever gets results.

pub mod arguments;
pub mod call;
pub mod check;
pub mod demo;
pub mod doctor;
mod excerpt;
pub mod serve;
mod setup;
pub mod test;
mod transcript;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Config;
use arguments::{
    CallArguments, CheckArguments, CompletionsArguments, ConfigArguments, DemoArguments, DoctorArguments,
    ServeArguments, SetupArguments, TestArguments,
};

/// The call-session runtime: every phone call survives its server.
#[derive(Debug, Parser)]
#[command(name = "holdline", version, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Option<Command>,
    /// `holdline` alone serves.
    #[command(flatten)]
    pub serve: ServeArguments,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Answer calls: the default
    Serve(ServeArguments),
    /// Show a whole call, against a server and a phone network of its own
    Demo(DemoArguments),
    /// Call a workflow of any server, as a pretend phone network
    Call(CallArguments),
    /// Perform call transcripts against workflows, in virtual time
    Test(TestArguments),
    /// Check workflows and configuration files; tells every error with its position
    Check(CheckArguments),
    /// Print the JSON Schema of the workflow language, for editors and other tools
    Schema,
    /// Print the effective configuration, secrets masked
    Config(ConfigArguments),
    /// Let a number of the account lead here; show first, and put back what was there
    Setup(SetupArguments),
    /// Find out why calls do not arrive: one line a check, with the cure
    Doctor(DoctorArguments),
    /// Print a script that completes this command's words in a shell
    Completions(CompletionsArguments),
}

/// What the caller's shell learns. Usage errors are 2, by clap itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Fine = 0,
    /// The thing asked for is not so: a check found errors, a test failed, a call did not go as written.
    NotSo = 1,
    Usage = 2,
    /// Configuration, port or journal is not usable.
    CannotStart = 3,
}

pub fn main() -> ExitCode {
    ExitCode::from(run(CommandLine::parse()) as u8)
}

pub fn run(line: CommandLine) -> Exit {
    match line.command.unwrap_or(Command::Serve(line.serve)) {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Call(arguments) => call::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Schema => show_schema(),
        Command::Config(arguments) => show_config(&arguments),
        Command::Setup(arguments) => setup::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Completions(arguments) => show_completions(&arguments),
    }
}

fn show_schema() -> Exit {
    let schema = serde_json::to_string_pretty(&holdline_core::flow::schema::schema()).unwrap_or_default();
    print(&format!("{schema}\n"));
    Exit::Fine
}

fn show_completions(arguments: &CompletionsArguments) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut CommandLine::command(), "holdline", &mut script);
    print(&String::from_utf8_lossy(&script));
    Exit::Fine
}

fn show_config(arguments: &ConfigArguments) -> Exit {
    match Config::effective(&arguments.place.sources()) {
        Ok(text) if arguments.json => {
            // What is printed reads back as the settings that it shows.
            let settings: toml::Table = text.parse().unwrap_or_default();
            let json = serde_json::to_string_pretty(&settings).unwrap_or_default();
            print(&format!("{json}\n"));
            Exit::Fine
        }
        Ok(text) => {
            print(&text);
            Exit::Fine
        }
        Err(error) => {
            complain(&error);
            Exit::CannotStart
        }
    }
}

/// The result, on stdout. A reader that has gone away (`| head`) is no error of ours.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// For people, on stderr.
pub(crate) fn complain(what: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_wrong_use_is_2_and_help_is_0() {
        let code = |arguments: &[&str]| CommandLine::try_parse_from(arguments).unwrap_err().exit_code();
        assert_eq!(code(&["holdline", "chekc"]), 2);
        assert_eq!(code(&["holdline", "config", "--confg", "f"]), 2);
        assert_eq!(code(&["holdline", "--help"]), 0);
        assert_eq!(code(&["holdline", "--version"]), 0);
    }
}
