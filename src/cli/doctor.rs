//! `holdline doctor`: why calls do not arrive, before anybody has to guess. One line a check, with the cure.

pub mod account;
mod certificate;
pub mod finding;
mod house;
mod look;
mod road;
mod stand_in;

use std::io::IsTerminal;

use super::arguments::DoctorArguments;
use super::{Exit, complain, print};
use crate::config::Config;
use finding::{Finding, Report};
use road::{Road, Server};

pub(super) fn run(arguments: &DoctorArguments) -> Exit {
    let report = actix_rt::System::new().block_on(examine(arguments));
    if arguments.json {
        let json = serde_json::to_string_pretty(&report).unwrap_or_default();
        print(&format!("{json}\n"));
    } else {
        print(&report.text());
        complain(&report.summary());
    }
    if report.ok { Exit::Fine } else { Exit::NotSo }
}

async fn examine(arguments: &DoctorArguments) -> Report {
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
    match outside(&config, &mut checks).await {
        Ok(()) => {}
        Err(why) => checks.push(Finding::failed(
            "everything else",
            why,
            "install the system's root certificates (ca-certificates)",
        )),
    }
    Report::of(checks)
}

async fn outside(config: &Config, checks: &mut Vec<Finding>) -> Result<(), String> {
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
    road.leave().await;
    Ok(())
}

/// Who watches wants to know what takes so long.
fn progress(what: &str) {
    if std::io::stderr().is_terminal() {
        complain(&format!("looking at: {what} …"));
    }
}
