//! `holdline doctor`: why calls do not arrive, before anybody has to guess. One line a check, with the cure.

pub mod account;
mod certificate;
pub mod finding;
mod house;
pub mod live_call;
mod look;
mod road;
mod stand_in;

use std::io::{BufRead, IsTerminal};

use super::arguments::DoctorArguments;
use super::setup::is_loopback;
use super::{Exit, complain, print};
use crate::config::{Config, PublicUrl};
use finding::{Finding, Report, Verdict};
use live_call::Wish;
use road::{Road, Server};

pub(super) fn run(arguments: &DoctorArguments) -> Exit {
    let to = match (arguments.live_call, &arguments.to) {
        (true, None) => match ask_whom() {
            Some(to) => Some(to),
            None => {
                complain(&"holdline: a live call needs somebody to call: give --to +14155550100");
                return Exit::Usage;
            }
        },
        (_, to) => to.clone(),
    };
    let report = actix_rt::System::new().block_on(examine(arguments, to.as_deref()));
    if arguments.json {
        let json = serde_json::to_string_pretty(&report).unwrap_or_default();
        print(&format!("{json}\n"));
    } else {
        print(&report.text());
        complain(&report.summary());
    }
    if report.ok { Exit::Fine } else { Exit::NotSo }
}

async fn examine(arguments: &DoctorArguments, to: Option<&str>) -> Report {
    let sources = arguments.place.sources();
    let (config, finding) = match house::configuration(&sources) {
        Ok(read) => read,
        Err(mut findings) => {
            findings.push(Finding::not_checked("everything else", "the configuration is not valid"));
            return Report::of(findings);
        }
    };
    let mut checks = vec![finding];
    progress("workflows");
    checks.push(house::workflows(&config, &sources));
    let origin = match outside(&config, &mut checks).await {
        Ok(origin) => origin,
        Err(why) => {
            let cure = "install the system's root certificates (ca-certificates)";
            checks.push(Finding::failed("everything else", why, cure));
            None
        }
    };
    let mut live_call = None;
    if let (true, Some(to)) = (arguments.live_call, to) {
        let (finding, call) = match (before_a_call(&config, &checks), origin) {
            (None, Some(origin)) => {
                let wish = Wish { to, from: arguments.from.as_deref(), origin: &origin };
                live_call::place(&config, &wish).await
            }
            (why, _) => {
                (why.unwrap_or(Finding::not_checked("live_call", "the public URL is not known")), None)
            }
        };
        checks.push(finding);
        live_call = call;
    }
    Report { live_call, ..Report::of(checks) }
}

/// Why no call should be placed now. It costs money, so what is known to be wrong is mended first.
fn before_a_call(config: &Config, checks: &[Finding]) -> Option<Finding> {
    const NEEDED: [&str; 7] =
        ["configuration", "server", "public_url", "reachable", "signature", "stream", "credentials"];
    let wrong =
        checks.iter().find(|finding| finding.verdict == Verdict::Failed && NEEDED.contains(&finding.check));
    if let Some(finding) = wrong {
        let message = format!("no call is placed before {} is mended", finding.check);
        return Some(Finding::not_checked("live_call", message));
    }
    if checks.iter().any(|finding| finding.check == "server" && finding.verdict == Verdict::Ok) {
        return Some(Finding::failed(
            "live_call",
            "a server runs here, and a stream can only be cut off from inside",
            "stop it for a minute: this command then takes its place for one call",
        ));
    }
    let origin = match &config.public.url {
        PublicUrl::Origin(origin) => origin.as_str(),
        PublicUrl::Auto => return None,
        PublicUrl::Bound => "http://localhost",
    };
    // A network on this machine is a pretend one, and reaches it.
    if is_loopback(origin) && !is_loopback(&config.twilio.api_url) {
        return Some(Finding::failed(
            "live_call",
            "the phone network can't reach this machine under the name that it has for itself",
            "set [public] url to the https address that leads here, or start ngrok and set it to \"auto\"",
        ));
    }
    None
}

fn ask_whom() -> Option<String> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    complain(&"Which number shall ring? It costs what a call costs, and somebody should answer:");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).ok()?;
    Some(answer.trim().to_owned()).filter(|answer| !answer.is_empty())
}

/// Says under which address the network comes, if it is known.
async fn outside(config: &Config, checks: &mut Vec<Finding>) -> Result<Option<String>, String> {
    progress("server");
    let owner = house::owner(config);
    let (mut road, server) = Road::find(config).await?;
    progress("data");
    checks.push(house::data(config, &owner, matches!(road.server, Server::Running)));
    checks.push(server);
    progress("public URL");
    checks.push(road.public_url().await);
    if matches!(road.server, Server::None) {
        for check in ["reachable", "tls", "signature", "stream"] {
            checks.push(Finding::not_checked(check, "nobody of us is at the listener, see server"));
        }
    } else {
        let reached = road.reach().await;
        checks.push(reached.finding);
        checks.push(reached.tls);
        progress("signature and stream");
        if reached.through {
            checks.push(road.signature().await);
            checks.push(road.stream().await);
        } else {
            for check in ["signature", "stream"] {
                checks.push(Finding::not_checked(check, "the public URL does not lead here, see reachable"));
            }
        }
    }
    progress("clock");
    checks.push(road.clock().await);
    progress("account and numbers");
    checks.push(account::credentials(config).await);
    checks.extend(account::numbers(config, road.origin.as_deref()).await);
    let origin = road.origin.clone();
    road.leave().await;
    Ok(origin)
}

/// Who watches wants to know what takes so long.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        complain(&format!("looking at: {what} …"));
    }
}
