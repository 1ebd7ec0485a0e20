//! What the phone network says of us: the account, and where its numbers lead.

use std::sync::Arc;

use holdline_actors::door::FlowBook;
use holdline_actors::port::http::World;
use holdline_core::WorkflowId;
use holdline_core::provider::twilio::account::{self, Address, Addresses, Number};
use holdline_core::provider::twilio::rest::Refusal;

use super::finding::Finding;
use crate::adapter::http::HttpPort;
use crate::adapter::world::OtherSystems;
use crate::config::{Config, Secret, Twilio};
use crate::flows::FlowLibrary;

/// Without credentials nothing here can be looked at.
pub const NO_CREDENTIALS: &str =
    "there are no credentials: [twilio] account_sid with auth_tokens, or with api_key and api_secret";

pub async fn credentials(config: &Config) -> Finding {
    if config.twilio.credentials().is_none() {
        return Finding::not_checked(
            "credentials",
            format!("{NO_CREDENTIALS}; calls can't be placed, ended or found again by REST"),
        );
    }
    let told = match account::read_account(&world(config).perform(account::fetch_account()).await) {
        Ok(told) => told,
        Err(refusal) => return refused("credentials", &config.twilio, &refusal),
    };
    if told.status != "active" {
        let cure = "look into the account's console: it takes and places no calls";
        return Finding::failed(
            "credentials",
            format!("the account {} is {}", config.twilio.account_sid, told.status),
            cure,
        );
    }
    // With an API key the tokens have proved nothing yet.
    if !config.twilio.api_key.is_empty() {
        for (place, token) in config.twilio.auth_tokens.iter().enumerate() {
            if let Err(refusal) = with_token(config, token).await
                && refusal.status == 401
            {
                return Finding::failed(
                    "credentials",
                    format!(
                        "[twilio] auth_tokens[{place}] is not a token of the account {}",
                        config.twilio.account_sid
                    ),
                    "copy the auth token from the account's console: every signature is checked with it",
                );
            }
        }
    }
    let kind = if told.kind == "Trial" { ", on trial: it only calls verified numbers" } else { "" };
    Finding::ok("credentials", format!("the account \"{}\" is active{kind}", told.name))
}

async fn with_token(config: &Config, token: &Secret) -> Result<(), Refusal> {
    let mut alone = config.clone();
    alone.twilio.api_key = Secret::default();
    alone.twilio.api_secret = Secret::default();
    alone.twilio.auth_tokens = vec![token.clone()];
    account::read_account(&world(&alone).perform(account::fetch_account()).await).map(drop)
}

/// One line for each number that leads here, or one that says that none does.
pub async fn numbers(config: &Config, origin: Option<&str>) -> Vec<Finding> {
    if config.twilio.credentials().is_none() {
        return vec![Finding::not_checked("number", NO_CREDENTIALS)];
    }
    let Some(origin) = origin else {
        return vec![Finding::not_checked("number", "the public URL is not known")];
    };
    let numbers = match account::read_numbers(&world(config).perform(account::list_numbers(None)).await) {
        Ok(numbers) => numbers,
        Err(refusal) => return vec![refused("number", &config.twilio, &refusal)],
    };
    let library = FlowLibrary::load(config);
    let (ours, others): (Vec<&Number>, Vec<&Number>) = numbers.iter().partition(|number| {
        [&number.addresses.voice, &number.addresses.fallback]
            .iter()
            .any(|address| below(origin, address).is_some())
    });
    if ours.is_empty() {
        let Some(first) = others.first() else {
            let cure = "get a number in the account's console";
            return vec![Finding::warning("number", "the account has no number that could be called", cure)];
        };
        let leads = match &first.addresses.voice.url {
            url if url.is_empty() => "nowhere".to_owned(),
            url => format!("to {url}"),
        };
        let more = match others.len() {
            1 => String::new(),
            count => format!(", and {} more numbers elsewhere", count - 1),
        };
        let cure = format!("`holdline setup {}` lets it lead to {origin}", first.number);
        return vec![Finding::failed(
            "number",
            format!("no number leads here: {} leads {leads}{more}", first.number),
            cure,
        )];
    }
    ours.into_iter().map(|number| judge(number, origin, &library)).collect()
}

/// Everything that one number lacks.
fn judge(number: &Number, origin: &str, library: &FlowLibrary) -> Finding {
    let Number { number: name, addresses, trunk, .. } = number;
    let setup = format!("`holdline setup {name}` sets it");
    if let Some(trunk) = trunk {
        let message = format!("{name} belongs to the trunk {trunk}, which takes its calls");
        return Finding::failed(
            "number",
            message,
            "take the number out of the trunk in the account's console",
        );
    }
    if !addresses.application.is_empty() {
        let message = format!(
            "{name} belongs to the application {}, which stands before its own addresses",
            addresses.application
        );
        return Finding::failed("number", message, setup);
    }
    let Some(path) = below(origin, &addresses.voice) else {
        return Finding::failed(
            "number",
            format!("{name} calls {} and has us only as a fallback", addresses.voice.url),
            setup,
        );
    };
    let workflow = path.strip_prefix("/webhooks/").and_then(|rest| rest.split(['/', '?']).next());
    let Some(workflow) =
        workflow.filter(|workflow| library.find(&WorkflowId((*workflow).to_owned())).is_some())
    else {
        if path == "/twiml" {
            return Finding::ok("number", format!("{name} leads to the default workflow"));
        }
        let cure = format!("`holdline setup {name} --workflow WORKFLOW` lets it lead to one that is there");
        return Finding::failed(
            "number",
            format!("{name} calls {}, and there is no such workflow", addresses.voice.url),
            cure,
        );
    };
    let expected = Addresses::of(origin, workflow);
    let mut lacks = Vec::new();
    for (what, is, wanted) in [
        ("fallback", &addresses.fallback, &expected.fallback),
        ("status callback", &addresses.status, &expected.status),
    ] {
        if is.url.is_empty() {
            lacks.push(format!("no {what} ({} is missing)", wanted.url));
        } else if is != wanted {
            lacks.push(format!(
                "the {what} {} {} instead of {} {}",
                is.method, is.url, wanted.method, wanted.url
            ));
        }
    }
    if lacks.is_empty() {
        return Finding::ok(
            "number",
            format!("{name} leads to the workflow {workflow}, with fallback and status callback"),
        );
    }
    let why = "the fallback carries calls over a restart, the status callback tells of their end";
    Finding::warning(
        "number",
        format!("{name} leads to the workflow {workflow}, and has {}: {why}", lacks.join(" and ")),
        setup,
    )
}

/// The path at our origin, if the address is one of ours.
fn below<'a>(origin: &str, address: &'a Address) -> Option<&'a str> {
    address.url.strip_prefix(origin).filter(|path| path.starts_with('/'))
}

pub fn refused(check: &'static str, twilio: &Twilio, refusal: &Refusal) -> Finding {
    let api = &twilio.api_url;
    match refusal.status {
        0 => Finding::failed(
            check,
            format!("{api} can't be asked: {}", refusal.message),
            "let this machine reach the phone network's API (https, outgoing), or mend [twilio] api_url",
        ),
        status => {
            let code = refusal.code.map(|code| format!(", code {code}")).unwrap_or_default();
            Finding::failed(
                check,
                format!("{api} refuses: {} (status {status}{code})", refusal.message),
                refusal.advice(),
            )
        }
    }
}

pub fn world(config: &Config) -> OtherSystems {
    let http = Arc::new(HttpPort::new(&config.http));
    OtherSystems::new(config, http, config.journal.path.join("recordings"))
}
