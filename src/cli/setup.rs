//! `holdline setup NUMBER`: lets a number of the account lead to a workflow here, and puts back what was there.

mod kept;

use std::fmt;
use std::io::{BufRead, IsTerminal, Write};

use holdline_actors::door::FlowBook;
use holdline_actors::port::http::World;
use holdline_core::WorkflowId;
use holdline_core::provider::twilio::account::{self, Addresses, Number};
use holdline_core::provider::twilio::rest::Refusal;
use serde::Serialize;

use super::arguments::SetupArguments;
use super::doctor::account::{NO_CREDENTIALS, world};
use super::{Exit, complain, print};
use crate::adapter::world::OtherSystems;
use crate::config::{Config, PublicUrl};
use crate::flows::FlowLibrary;
use crate::serve::ngrok::{self, TunnelError};
use kept::Kept;

/// Why the number stays as it is, and what to do about it.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("expected a number such as +14155550100, got `{0}`")]
    NoNumber(String),
    #[error(transparent)]
    Config(#[from] crate::config::Error),
    #[error(
        "numbers are set by the phone network's REST API: {NO_CREDENTIALS}. Set them (HOLDLINE__TWILIO__ACCOUNT_SID, …)"
    )]
    NoCredentials,
    #[error(
        "the phone network can't reach {0}, which is this machine's own name for itself. Set [public] url \
         (HOLDLINE__PUBLIC__URL) to the https address that leads here, or start ngrok and set it to \"auto\""
    )]
    Loopback(String),
    #[error(
        "the phone network opens streams only over TLS, and {0} is not https. Set [public] url to an https address"
    )]
    NoTls(String),
    #[error("[public] url = \"auto\": {0}")]
    Tunnel(#[from] TunnelError),
    #[error(
        "[public] url = \"auto\" needs a fixed port, and [public] bind has port 0. Set [public] bind to the port that the tunnel leads to"
    )]
    NoPort,
    #[error("there is no workflow \"{id}\" in {dir}. Name one by --workflow, or put it there")]
    NoWorkflow { id: String, dir: String },
    #[error("which workflow? default_workflow is not set; name one by --workflow")]
    WhichWorkflow,
    #[error("the phone network refuses: {refusal}. {}", .refusal.advice())]
    Refused { refusal: Refusal },
    #[error(
        "the account has no number {number}; it has {have}. Give one of them, or get this one in the account's console"
    )]
    Unknown { number: String, have: String },
    #[error(
        "{number} belongs to the trunk {trunk}, which takes its calls whatever is set here. Take it out of the trunk in the account's console"
    )]
    Trunk { number: String, trunk: String },
    #[error("nothing was kept of {number}, so there is nothing to put back (looked for {path})")]
    NothingKept { number: String, path: String },
    #[error(transparent)]
    Kept(#[from] kept::Error),
    #[error(
        "the phone network took the change, and says that {0} stands as follows now; look at it in the account's console"
    )]
    NotAsAsked(String),
    #[error("nothing was changed. --yes sets it without asking")]
    NotAsked,
    #[error("nothing was changed")]
    Declined,
}

/// What was and what is, for programs.
#[derive(Debug, Serialize)]
struct Told<'a> {
    number: &'a str,
    sid: &'a str,
    changed: bool,
    before: &'a Addresses,
    after: &'a Addresses,
}

pub(super) fn run(arguments: &SetupArguments) -> Exit {
    let done = actix_rt::System::new().block_on(setup(arguments));
    let Err(error) = done else { return Exit::Fine };
    complain(&match &error {
        Error::Config(error) => error.to_string(),
        error => format!("holdline: {error}"),
    });
    match error {
        Error::NoNumber(_) => Exit::Usage,
        Error::Config(_) | Error::NoCredentials => Exit::CannotStart,
        _ => Exit::NotSo,
    }
}

async fn setup(arguments: &SetupArguments) -> Result<(), Error> {
    let asked = e164(&arguments.number)?;
    let config = Config::load(&arguments.place.sources())?;
    if config.twilio.credentials().is_none() {
        return Err(Error::NoCredentials);
    }
    let kept = Kept::of(&config.journal.path, &asked);
    let world = world(&config);
    let wanted = match arguments.restore {
        true => {
            kept.read()?.ok_or_else(|| Error::NothingKept { number: asked.clone(), path: kept.path() })?
        }
        false => ours(&config, arguments.workflow.as_deref()).await?,
    };
    let number = find(&world, &asked).await?;
    if let Some(trunk) = &number.trunk {
        return Err(Error::Trunk { number: asked, trunk: trunk.clone() });
    }
    let before = number.addresses.clone();
    if !arguments.json {
        complain(&Shown { number: &number, wanted: &wanted });
    }
    let changes = before != wanted;
    if changes {
        confirm(arguments.yes)?;
        if !arguments.restore {
            // First on disk, then at the network: what was there must not depend on how far this comes.
            kept.keep(&before, &wanted)?;
        }
        let now = account::read_number(&world.perform(account::point_number(&number.sid, &wanted)).await)
            .map_err(|refusal| Error::Refused { refusal })?;
        if now.addresses != wanted {
            complain(&Shown { number: &now, wanted: &wanted });
            return Err(Error::NotAsAsked(asked));
        }
    }
    if arguments.restore {
        kept.forget()?;
    }
    let told = Told { number: &asked, sid: &number.sid, changed: changes, before: &before, after: &wanted };
    if arguments.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&told).unwrap_or_default()));
    } else {
        let what = match (changes, arguments.restore) {
            (false, _) => "is so already",
            (true, false) => "is set; `holdline setup --restore` puts back what was there",
            (true, true) => "is as it was before",
        };
        print(&format!("{asked} {what}\n"));
    }
    Ok(())
}

/// Where calls should lead.
async fn ours(config: &Config, workflow: Option<&str>) -> Result<Addresses, Error> {
    let id = workflow.map(str::to_owned).or_else(|| config.default_workflow.as_ref().map(|id| id.0.clone()));
    let id = id.ok_or(Error::WhichWorkflow)?;
    if FlowLibrary::load(config).find(&WorkflowId(id.clone())).is_none() {
        return Err(Error::NoWorkflow { id, dir: config.flows.dir.display().to_string() });
    }
    let origin = match &config.public.url {
        PublicUrl::Origin(origin) => origin.clone(),
        PublicUrl::Auto if config.public.bind.port() == 0 => return Err(Error::NoPort),
        PublicUrl::Auto => ngrok::origin(ngrok::LOCAL_API, config.public.bind.port()).await?,
        PublicUrl::Bound => format!("http://{}", config.public.bind),
    };
    if is_loopback(&origin) {
        return Err(Error::Loopback(origin));
    }
    if !origin.starts_with("https://") {
        return Err(Error::NoTls(origin));
    }
    Ok(Addresses::of(&origin, &id))
}

/// A name that means another machine for everybody else.
pub(super) fn is_loopback(origin: &str) -> bool {
    let url = url::Url::parse(origin).ok();
    match url.as_ref().and_then(url::Url::host) {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_unspecified(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback() || ip.is_unspecified(),
        None => false,
    }
}

async fn find(world: &OtherSystems, asked: &str) -> Result<Number, Error> {
    let list = async |number| {
        let answer = world.perform(account::list_numbers(number)).await;
        account::read_numbers(&answer).map_err(|refusal| Error::Refused { refusal })
    };
    if let Some(number) = list(Some(asked)).await?.into_iter().find(|number| number.number == asked) {
        return Ok(number);
    }
    let all: Vec<String> = list(None).await?.into_iter().map(|number| number.number).collect();
    let have = match &all[..] {
        [] => "none".to_owned(),
        some => some.join(", "),
    };
    Err(Error::Unknown { number: asked.to_owned(), have })
}

/// Spaces and dashes are how people write it.
fn e164(text: &str) -> Result<String, Error> {
    let plain: String =
        text.chars().filter(|letter| !matches!(letter, ' ' | '-' | '(' | ')' | '.')).collect();
    let digits = plain.strip_prefix('+').filter(|digits| digits.chars().all(|digit| digit.is_ascii_digit()));
    match digits {
        Some(digits) if (7..=15).contains(&digits.len()) => Ok(plain),
        _ => Err(Error::NoNumber(text.to_owned())),
    }
}

fn confirm(yes: bool) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::NotAsked);
    }
    let _ = write!(std::io::stderr().lock(), "Set it? [y/N] ");
    let mut answer = String::new();
    // Somebody who closes the terminal has not agreed.
    let _ = std::io::stdin().lock().read_line(&mut answer);
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::Declined),
    }
}

/// What is, and what shall be, side by side.
struct Shown<'a> {
    number: &'a Number,
    wanted: &'a Addresses,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Number { number, name, addresses, .. } = self.number;
        write!(f, "{number}")?;
        if name != number && !name.is_empty() {
            write!(f, " ({name})")?;
        }
        let rows = addresses.fields().into_iter().zip(self.wanted.fields());
        for ((field, is), (_, wanted)) in rows {
            let word = |text: &str| if text.is_empty() { "nothing".to_owned() } else { text.to_owned() };
            write!(f, "\n  {field:<20} {}", word(is))?;
            if is != wanted {
                write!(f, "\n  {:<20} -> {}", "", word(wanted))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_as_people_write_it_and_nothing_else_is_one() {
        assert_eq!(e164("+1 (415) 555-0100").unwrap(), "+14155550100");
        for other in ["14155550100", "+1415", "+1415x550100", "", "+", "+1234567890123456"] {
            assert!(e164(other).is_err(), "{other}");
        }
    }

    #[test]
    fn what_only_this_machine_reaches_is_loopback() {
        for here in ["http://127.0.0.1:8080", "http://localhost", "https://[::1]:1", "http://0.0.0.0:8080"] {
            assert!(is_loopback(here), "{here}");
        }
        for there in ["https://voice.example.com", "http://10.0.0.1", "https://localhost.example"] {
            assert!(!is_loopback(there), "{there}");
        }
    }
}
