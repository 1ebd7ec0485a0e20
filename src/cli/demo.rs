//! `holdline demo`: a whole call against a server of its own, shown while it happens and checked afterwards.
//!
//! The server is the real one, with real sockets and files; only the phone network is a pretend one, in this process.

mod checks;
mod voice;
mod world;

use std::time::Duration;

use holdline_harness::network::caller::{Act, Moment, When};
use holdline_harness::network::real::Network;
use holdline_harness::network::{FarEnd, LineConfig, Script, StatusEvent};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::arguments::DemoArguments;
use super::serve::Server;
use super::transcript::{BACK, CALLER, tell, tell_experience};
use super::{Exit, complain, print};
use crate::runtime::parts;
use crate::serve::Signals;
use crate::telemetry;
use checks::{Check, Evidence};

/// The workflow that is called; the binary brings it along.
const WORKFLOW: &str = "tour";
/// As in the workflow's connect.
const FAR_END: &str = "+14155550133";
/// The main workflow has a second of work; this is for a machine that is busy with something else.
const MAIN_PATIENCE: Duration = Duration::from_secs(15);
/// How often the API is asked how far the main workflow is.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn run(arguments: &DemoArguments) -> Exit {
    let stay = arguments.stay;
    actix_rt::System::new().block_on(async move {
        match demo(stay).await {
            Ok(exit) => exit,
            Err(error) => {
                complain(&format!("holdline: {error}"));
                Exit::CannotStart
            }
        }
    })
}

async fn demo(stay: bool) -> Result<Exit, Box<dyn std::error::Error>> {
    let folder = world::folder()?;
    let config = world::config(folder.path());
    telemetry::init(&config.log);
    let server = Server::start(&config, parts(&config)?).await?;
    let addresses = &server.addresses;
    complain(&format!(
        "A server on free ports (public {}, control {}), and a pretend phone network that calls it.\n\
         `caller` is what the caller does, `<-` what Holdline answers. It takes half a minute.\n",
        addresses.public, addresses.control
    ));

    let said = voice::sentence();
    let mut line = line(&addresses.origin);
    line.script = script(&said);
    let per_character = line.say_per_character;
    let began = Instant::now();
    tell(Duration::ZERO, CALLER, &format!("rings from {}", line.from));
    let (_, hands) = mpsc::channel(1);
    let story = Network::new()?.place(line, hands, tell_experience).await?;
    let control = format!("http://{}", addresses.control);
    let main = follow_main(&control, &story.call_sid, began).await?;

    let recordings = config.journal.path.join("recordings");
    let checks = checks::all(&Evidence {
        story: &story,
        said: &said,
        per_character,
        main: main.as_ref(),
        recordings: &recordings,
    });
    let went_well = report(&checks);
    if stay {
        serve_on(server, folder).await?;
    } else {
        // Nobody is on the line any more, and nobody waits for the next process.
        server.end(std::future::ready(())).await;
        if !went_well {
            complain(&format!(
                "workflows, recordings and data of this run are kept in {}",
                folder.keep().display()
            ));
        }
    }
    Ok(if went_well { Exit::Fine } else { Exit::NotSo })
}

fn line(origin: &str) -> LineConfig {
    let mut line = LineConfig::new(format!("{origin}/webhooks/{WORKFLOW}"), "the demo's call");
    line.auth_token = Some(world::AUTH_TOKEN.to_owned());
    line.fallback_url = Some(format!("{origin}/webhooks/{WORKFLOW}/next"));
    line.status_url = Some(format!("{origin}/webhooks/twilio/status"));
    line.status_events =
        vec![StatusEvent::Initiated, StatusEvent::Ringing, StatusEvent::Answered, StatusEvent::Completed];
    line.far_ends =
        vec![(FAR_END.to_owned(), FarEnd::answering(Duration::from_millis(1500), Duration::from_secs(3)))];
    line.hear_frames = true;
    line
}

/// What the caller does, as `tour-line.yaml` expects it.
fn script(said: &[u8]) -> Script {
    let millis = Duration::from_millis;
    Script::default()
        // Over the menu, which would go on for seven seconds more.
        .then(When::Heard("to hear yourself".to_owned(), millis(0)), Act::Presses("1".to_owned()))
        // Over the music.
        .then(When::Since(Moment::Stream, millis(1500)), Act::Presses("5".to_owned()))
        // The beep is over by then.
        .then(When::After(millis(1300)), Act::Plays(said.into()))
        // In the middle of the second menu.
        .then(When::Heard("you talked for".to_owned(), millis(3000)), Act::HangsUp)
}

/// Shows the main workflow's steps as they come, until it has ended.
async fn follow_main(
    control: &str,
    call: &str,
    began: Instant,
) -> Result<Option<Value>, Box<dyn std::error::Error>> {
    let api = Api::new(control)?;
    let end = Instant::now() + MAIN_PATIENCE;
    let mut pace = tokio::time::interval(LOOK_EVERY);
    let (mut told_completion, mut told_steps, mut last) = (false, 0, None);
    while Instant::now() < end {
        pace.tick().await;
        let Some(main) = api.main_of(call).await? else { continue };
        let at = began.elapsed();
        if let Some(completion) = main.pointer("/variables/incomingCall").filter(|_| !told_completion) {
            told_completion = true;
            let word = |key: &str| completion.get(key).map(Value::to_string).unwrap_or_default();
            let what = format!(
                "tells the workflow {WORKFLOW}: endReason {}, {} s, digits {}, recordings {}",
                word("endReason"),
                word("callDuration"),
                word("digits"),
                word("recordings")
            );
            tell(at, BACK, &what);
        }
        let steps = main.get("executed_actions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        for step in steps.iter().skip(told_steps) {
            let word = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or("-");
            tell(at, BACK, &format!("{WORKFLOW}: {} {}: {}", word("type"), word("name"), word("outcome")));
        }
        told_steps = told_steps.max(steps.len());
        let ended = main.get("status").is_some_and(|status| status == "ended");
        if ended {
            let reason = main.get("end_reason").and_then(Value::as_str).unwrap_or("-");
            tell(at, BACK, &format!("{WORKFLOW} has ended: {reason}"));
            return Ok(Some(main));
        }
        last = Some(main);
    }
    Ok(last)
}

fn report(checks: &[Check]) -> bool {
    let mut text = String::from("\n");
    for Check { what, found } in checks {
        let (mark, detail) = match found {
            Ok(detail) => ("ok", detail),
            Err(detail) => ("FAILED", detail),
        };
        text.push_str(&format!("  {mark:<6}  {what}: {detail}\n"));
    }
    let failed = checks.iter().filter(|check| check.found.is_err()).count();
    text.push_str(&match failed {
        0 => "\nThe call went as promised.\n".to_owned(),
        1 => "\nOne promise was not kept.\n".to_owned(),
        many => format!("\n{many} promises were not kept.\n"),
    });
    print(&text);
    failed == 0
}

/// `--stay`: the folder lives as long as the server.
async fn serve_on(server: Server, folder: TempDir) -> std::io::Result<()> {
    use futures::StreamExt;
    let mut signals = Signals::listen()?;
    print(&format!("\n{}\n", server.addresses.ready_line(WORKFLOW)));
    complain(&format!(
        "\nStill serving. Call it again, pressing keys, and keep what you hear:\n\n    \
         holdline call {WORKFLOW} --server {} --auth-token {} --press 1@4s --record heard.wav\n\n\
         Recordings and workflows are in {}. Ctrl-C ends it.",
        server.addresses.origin,
        world::AUTH_TOKEN,
        folder.path().display()
    ));
    signals.next().await;
    server
        .end(async move {
            signals.next().await;
        })
        .await;
    Ok(())
}

/// The control API, as anybody would ask it.
struct Api {
    client: reqwest::Client,
    control: String,
}

impl Api {
    fn new(control: &str) -> reqwest::Result<Api> {
        // A proxy of the environment could not reach loopback.
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        Ok(Api { client, control: control.to_owned() })
    }

    async fn main_of(&self, call: &str) -> reqwest::Result<Option<Value>> {
        let list = self
            .get(&format!("/v1/activeflows?reference_type=workflow&flow_id={WORKFLOW}&reference_id={call}"))
            .await?;
        let Some(id) = list.pointer("/result/0/id").and_then(Value::as_str) else { return Ok(None) };
        self.get(&format!("/v1/activeflows/{id}")).await.map(Some)
    }

    async fn get(&self, path: &str) -> reqwest::Result<Value> {
        let answer = self.client.get(format!("{}{path}", self.control)).send().await?;
        answer.error_for_status()?.json().await
    }
}
