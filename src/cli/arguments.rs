//! The arguments of every command.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{Flag, Sources};

/// Where configuration, workflows and data are: the same three flags for every command that needs them.
#[derive(Debug, Clone, Default, Args)]
pub struct Place {
    /// Configuration file; without it the defaults and HOLDLINE__SECTION__KEY hold
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder of the workflows, instead of the setting flows.dir
    #[arg(long, value_name = "DIR")]
    pub flows: Option<PathBuf>,
    /// Folder of journal and recordings, instead of the setting journal.path
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl Place {
    pub fn sources(&self) -> Sources {
        let flag = |name, section, key, value: &Option<PathBuf>| {
            value.as_ref().map(|value| Flag { name, section, key, value: value.display().to_string() })
        };
        let flags =
            [flag("--flows", "flows", "dir", &self.flows), flag("--data", "journal", "path", &self.data)];
        Sources {
            file: self.config.clone(),
            flags: flags.into_iter().flatten().collect(),
            ..Sources::from_process()
        }
    }
}

#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArguments {
    #[command(flatten)]
    pub place: Place,
    /// As JSON, without the remarks on where each setting was written
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    pub place: Place,
    /// Also place one real call, cut its stream off, and tell what the phone network does then; it costs what a call costs
    #[arg(long)]
    pub live_call: bool,
    /// Whom to call
    #[arg(long, value_name = "NUMBER", requires = "live_call")]
    pub to: Option<String>,
    /// The number that is shown, instead of the setting twilio.from or the account's first
    #[arg(long, value_name = "NUMBER", requires = "live_call")]
    pub from: Option<String>,
    /// The result as JSON, on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct SetupArguments {
    /// A number of the account, such as +14155550100
    #[arg(value_name = "NUMBER")]
    pub number: String,
    #[command(flatten)]
    pub place: Place,
    /// The workflow that takes its calls, instead of the setting default_workflow
    #[arg(long, value_name = "WORKFLOW", conflicts_with = "restore")]
    pub workflow: Option<String>,
    /// Put back what was there before
    #[arg(long)]
    pub restore: bool,
    /// Set it without asking
    #[arg(long)]
    pub yes: bool,
    /// The result as JSON, on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
pub struct CompletionsArguments {
    /// The shell: bash, zsh, fish …
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Clone, Default, Args)]
pub struct CheckArguments {
    #[command(flatten)]
    pub place: Place,
    /// Workflows (.yaml, .yml, .json), folders of them, and configuration files (.toml); without any, the
    /// configuration and all workflows of its folder
    #[arg(value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// The result as JSON, on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub struct ServeArguments {
    #[command(flatten)]
    pub place: Place,
}

#[derive(Debug, Clone, Default, Args)]
pub struct DemoArguments {
    /// Keep serving after the call
    #[arg(long)]
    pub stay: bool,
}

#[derive(Debug, Clone, Args)]
pub struct CallArguments {
    /// The workflow to call, or a path such as /twiml on another server
    #[arg(value_name = "WORKFLOW")]
    pub workflow: String,
    /// The server to call
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub server: String,
    /// The caller's number
    #[arg(long, value_name = "NUMBER", default_value = "+14155550100")]
    pub from: String,
    /// Perform the caller's part of a call transcript, or a plain caller script
    #[arg(long, value_name = "FILE", conflicts_with = "press")]
    pub script: Option<PathBuf>,
    /// Press keys at a time into the call, such as 2@1.5s; may be repeated
    #[arg(long, value_name = "KEYS@TIME", value_parser = Press::read)]
    pub press: Vec<Press>,
    /// WAV file that the caller says as soon as there is a stream
    #[arg(long, value_name = "FILE")]
    pub audio: Option<PathBuf>,
    /// WAV file for what the caller hears on streams
    #[arg(long, value_name = "FILE", conflicts_with = "calls")]
    pub record: Option<PathBuf>,
    /// Calls at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub calls: u32,
    /// Sign with this token, instead of the first of the setting twilio.auth_tokens
    #[arg(long, value_name = "TOKEN")]
    pub auth_token: Option<String>,
    /// Configuration file in which twilio.auth_tokens is looked up
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The result as JSON, on stdout
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub struct TestArguments {
    /// Call transcripts; without any, all *.call below the working directory
    #[arg(value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// Keys and when to press the first of them, counted from the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    pub keys: String,
    pub at: Duration,
}

impl Press {
    fn read(text: &str) -> Result<Press, String> {
        let expected = "expected keys and a time such as 2@1.5s or 12#@800ms";
        let (keys, time) = text.rsplit_once('@').ok_or(expected)?;
        let is_key = |key: char| key.is_ascii_digit() || matches!(key, '*' | '#' | 'A'..='D');
        if keys.is_empty() || !keys.chars().all(is_key) {
            return Err(format!("{expected}; keys are 0-9 * # A-D"));
        }
        let (number, seconds_each) = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
            (Some(millis), _) => (millis, 0.001),
            (None, Some(seconds)) => (seconds, 1.0),
            (None, None) => (time, 1.0),
        };
        let number: f64 = number.parse().map_err(|_| expected)?;
        let at = Duration::try_from_secs_f64(number * seconds_each).map_err(|_| expected)?;
        Ok(Press { keys: keys.to_owned(), at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_says_keys_and_time() {
        let press = |text| Press::read(text).map(|press| (press.keys, press.at.as_millis()));
        assert_eq!(press("2@1.5s"), Ok(("2".to_owned(), 1500)));
        assert_eq!(press("12#@800ms"), Ok(("12#".to_owned(), 800)));
        assert_eq!(press("1@2"), Ok(("1".to_owned(), 2000)));
        for bad in ["2", "@1s", "x@1s", "2@", "2@-1s", "2@NaNs", "2@1h", "2@1e300s"] {
            assert!(press(bad).is_err(), "{bad}");
        }
    }
}
