//! `fetch`: asks another system what to do next, and does it.

use super::http_request::{TIMEOUT, method};
use super::{Action, Fault, Happened, Push, Scene, Step};
use crate::flow::declare::{Declared, Kind, Parameter, Shape};
use crate::flow::diagnostic::Report;
use crate::flow::fact::Pushed;
use crate::flow::parse;
use crate::http::{Body, Endpoint, HttpCall, HttpReply, Method, ReplyBody};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Problems that are told; the rest are counted.
const PROBLEMS_TOLD_MAX: usize = 10;

pub struct Fetch;

impl Action for Fetch {
    fn declared(&self) -> &'static Declared {
        &DECLARED
    }

    fn begin(&self, scene: &mut Scene<'_>) -> Result<Step, Fault> {
        let url = scene.parameters.require("event_url")?.to_owned();
        let method = method(&scene.parameters, "event_method", Method::Post)?;
        let timeout = scene.errand_timeout_ms()?;
        let begun = scene.outside()?.begun;
        let mut told = json!({ "activeflow_id": begun.id, "reference_id": begun.reference.id });
        if scene.parameters.flag("variables", false) {
            let own = scene.vars.own().iter().map(|(name, value)| (name.clone(), value.clone()));
            told["variables"] = Value::Object(own.collect::<Map<_, _>>());
        }
        let mut call = HttpCall::new(method, Endpoint::Url(url), timeout);
        if method.is_unsafe() {
            call.body = Body::Json(told);
        } else {
            // Nobody reads the body of a GET.
            let ids = ["activeflow_id", "reference_id"];
            call.query = ids
                .iter()
                .filter_map(|id| Some(((*id).to_owned(), told.get(*id)?.as_str()?.to_owned())))
                .collect();
        }
        // Problems are told by their places in what was sent.
        call.as_text = true;
        scene.fetch(0, call)?;
        Ok(Step::Wait { memory: Value::Null })
    }

    fn resume(&self, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
        let Happened::Fetched { outcome, .. } = happened else { return Ok(Step::Stay) };
        let reply = outcome.as_ref().map_err(Fault::from)?;
        reply.judged(&[])?;
        if reply.status != 200 {
            let message = format!("expected an answer of status 200, came {}", reply.status);
            return Err(Fault::invalid(message).with_output(reply.output()));
        }
        let actions = read(scene, reply)?;
        let output = json!({ "actions": actions.len() });
        Ok(Step::Push(Push { output, ..Push::plain(Pushed::Actions(actions)) }))
    }
}

fn read(scene: &Scene<'_>, reply: &HttpReply) -> Result<Vec<super::ActionNode>, Fault> {
    let outside = scene.outside()?;
    let text = match &reply.body {
        ReplyBody::Text(text) => text,
        ReplyBody::Json(value) => &value.to_string(),
    };
    let script = &outside.begun.script;
    let language = scene.flows.vocabulary().configured(&script.limits, &script.defaults, &script.timezone);
    let ancestors: BTreeSet<String> = outside
        .frames
        .iter()
        .flat_map(|frame| frame.list.nodes())
        .flat_map(|node| std::iter::once(node.id.clone()).chain(node.name.clone()))
        .collect();
    let seed = outside.idempotency_key(0);
    let (actions, report) = parse::parse_list(&language, "fetched", &seed, text, &ancestors);
    actions.ok_or_else(|| Fault::invalid(told(&report)))
}

fn told(report: &Report) -> String {
    let problems: Vec<String> = report.errors.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "the fetched actions can't be used: {}",
        problems.get(..PROBLEMS_TOLD_MAX).unwrap_or(&problems).join("; ")
    );
    if problems.len() > PROBLEMS_TOLD_MAX {
        text.push_str(&format!("; and {} more", problems.len() - PROBLEMS_TOLD_MAX));
    }
    text
}

static DECLARED: Declared = Declared {
    name: "fetch",
    aliases: &[],
    about: "Asks another system for the next actions.",
    kind: Kind::Io,
    needs_call: false,
    waits: true,
    parameters: &[
        Parameter {
            name: "event_url",
            aliases: &[],
            shape: Shape::Text,
            required: true,
            about: "Answers 200 and a JSON array of actions.",
        },
        Parameter {
            name: "event_method",
            aliases: &[],
            shape: Shape::OneOf(Method::WORDS),
            required: false,
            about: "POST, unless said otherwise.",
        },
        Parameter {
            name: "variables",
            aliases: &[],
            shape: Shape::Flag,
            required: false,
            about: "Send the variables too.",
        },
        TIMEOUT,
    ],
    secrets: true,
};
