//! The head of a story: workflows, how the network behaves, who answers, how the house is configured.

use super::{Error, seconds, unquoted, words};
use crate::network::{Answers, FarEnd, Faults, LineConfig, Media, OnAbruptClose, Party, StatusEvent};
use crate::own::Own;
use crate::stage::HouseConfig;
use crate::stage::props::{AUTH_TOKEN, ORIGIN, Shelf};
use holdline_core::WorkflowId;
use holdline_core::flow::check;
use holdline_core::flow::parse::parse as parse_flow;
use holdline_core::limit::Limits;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// The first is the one that is called.
    pub flows: Vec<FlowText>,
    pub house: HouseConfig,
    network: Network,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowText {
    pub file: String,
    pub stem: String,
    pub text: String,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct Network {
    on_abrupt_close: OnAbruptClose,
    repeats: u32,
    reorder: bool,
    late: Duration,
    lost: Vec<StatusEvent>,
    silent: bool,
    no_fallback: bool,
    still: bool,
    sparse: Option<Duration>,
    play_length: Option<Duration>,
    far: Vec<(String, FarEnd)>,
    extra: Vec<(String, String)>,
    from: Option<String>,
    silent_path: Option<String>,
    no_rest: bool,
}

/// Reads the head; the number of the first line of the play comes with it.
pub(super) fn parse(
    lines: &[&str],
    read: &dyn Fn(&str) -> std::io::Result<String>,
) -> Result<(Head, usize), Error> {
    let mut head = Head { flows: Vec::new(), house: HouseConfig::default(), network: Network::default() };
    let mut place = 0;
    while let Some(line) = lines.get(place) {
        let at = |why: String| Error { line: place + 1, why };
        let mut words = words(line).map_err(at)?;
        match words.first().map(String::as_str) {
            None => {}
            Some(word) if word.parse::<f64>().is_ok() => break,
            Some("flow") if words.last().is_some_and(|word| word == "<<") && words.len() == 3 => {
                let stem = words.swap_remove(1);
                let mut text = String::new();
                let began = place;
                loop {
                    place += 1;
                    match lines.get(place) {
                        Some(line) if line.trim_end() == ">>" => break,
                        Some(line) => {
                            text.push_str(line);
                            text.push('\n');
                        }
                        None => {
                            let why = "expected `>>` at the end of the workflow".to_owned();
                            return Err(Error { line: began + 1, why });
                        }
                    }
                }
                head.flows.push(FlowText { file: stem.clone(), stem, text });
            }
            Some("flow") if words.len() == 2 => {
                let file = words.swap_remove(1);
                let text = read(&file).map_err(|why| at(format!("{file}: {why}")))?;
                let name = file.rsplit('/').next().unwrap_or(&file);
                let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned();
                head.flows.push(FlowText { file, stem, text });
            }
            Some(_) => head.setting(&words).map_err(at)?,
        }
        place += 1;
    }
    if head.flows.is_empty() {
        return Err(Error { line: 1, why: "expected a `flow`, which is called".into() });
    }
    Ok((head, place))
}

impl Head {
    /// The workflow that is called.
    pub fn called(&self) -> &str {
        self.flows.first().map_or("", |flow| flow.stem.as_str())
    }

    /// The workflows, checked together; what is wrong with them otherwise.
    pub fn shelf(&self, own: &Own) -> Result<Shelf, String> {
        let limits = Limits::default();
        let language = own.vocabulary().language(&limits);
        let parsed: Vec<_> =
            self.flows.iter().map(|flow| parse_flow(&language, &flow.file, &flow.stem, &flow.text)).collect();
        let spans: Vec<_> = parsed.iter().map(|parsed| &parsed.spans).collect();
        let across = check::check_all(&spans, &[]);
        let mut wrong = String::new();
        for report in parsed.iter().map(|parsed| &parsed.report).chain([&across]) {
            if !report.is_ok() {
                wrong.push_str(&report.to_string());
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let scripts = parsed.into_iter().filter_map(|parsed| parsed.script);
        let scripts = scripts.map(|script| (script.id.clone(), Arc::new(script))).collect();
        Ok(Shelf { scripts, own: own.clone() })
    }

    /// Whether the pretend line calls; else the script plays the network, request by request.
    pub fn rings(&self) -> bool {
        !self.network.still
    }

    /// Whether the network's REST API is out of reach.
    pub fn has_no_rest(&self) -> bool {
        self.network.no_rest
    }

    /// The call that the story is about.
    pub fn line(&self) -> LineConfig {
        let network = &self.network;
        let path = network.silent_path.clone().unwrap_or_else(|| format!("/webhooks/{}", self.called()));
        let mut line = LineConfig::new(format!("{ORIGIN}{path}"), "the pretend call");
        line.auth_token = self.house.signed.then(|| AUTH_TOKEN.to_owned());
        line.status_url = (!network.silent).then(|| format!("{ORIGIN}/webhooks/twilio/status"));
        line.status_events =
            vec![StatusEvent::Initiated, StatusEvent::Ringing, StatusEvent::Answered, StatusEvent::Completed];
        line.fallback_url =
            (!network.no_fallback).then(|| format!("{ORIGIN}/webhooks/{}/next", self.called()));
        line.on_abrupt_close = network.on_abrupt_close;
        line.faults = Faults {
            repeats: network.repeats,
            reorder: network.reorder,
            late: network.late,
            lost: network.lost.clone(),
        };
        line.media = network.sparse.map_or(Media::Full, Media::Sparse);
        line.far_ends.clone_from(&network.far);
        line.extra.clone_from(&network.extra);
        if let Some(from) = &network.from {
            line.from.clone_from(from);
        }
        if let Some(length) = network.play_length {
            line.play_length = length;
        }
        line
    }

    fn setting(&mut self, words: &[String]) -> Result<(), String> {
        let words: Vec<&str> = words.iter().map(|word| unquoted(word)).collect();
        match words.as_slice() {
            ["network", rest @ ..] => self.network.set(rest),
            ["far", name, rest @ ..] => {
                self.network.far.push(((*name).to_owned(), far_end(rest)?));
                Ok(())
            }
            ["caller", "number", number] => {
                self.network.from = Some((*number).to_owned());
                Ok(())
            }
            ["caller", "name", name] => {
                self.network.extra.push(("CallerName".to_owned(), (*name).to_owned()));
                Ok(())
            }
            ["config", key, value] => self.configure(key, value),
            other => Err(format!("expected flow, network, far, caller or config, got `{}`", other.join(" "))),
        }
    }

    fn configure(&mut self, key: &str, value: &str) -> Result<(), String> {
        let house = &mut self.house;
        let flag = || value.parse::<bool>().map_err(|_| format!("expected true or false, got `{value}`"));
        match key {
            "max_duration" => house.max_duration = seconds(value)?,
            "idle_timeout" => house.idle_timeout = seconds(value)?,
            "return_grace" => house.return_grace = seconds(value)?,
            "start_deadline" => house.start_deadline = seconds(value)?,
            "max_calls" => {
                house.max_calls = value.parse().map_err(|_| format!("expected a number, got `{value}`"))?;
            }
            "overflow_workflow" => house.overflow = Some(WorkflowId(value.to_owned())),
            "default_workflow" => house.default_workflow = Some(WorkflowId(value.to_owned())),
            "local_speech" => house.local_speech = flag()?,
            "bare_streams" => house.bare_streams = flag()?,
            "credentials" => house.credentials = flag()?,
            "rest_interval" => house.rest_interval = seconds(value)?,
            "signatures" => house.signed = flag()?,
            "events" => house.events.push(value.to_owned()),
            other => return Err(format!("expected a setting of calls, got `{other}`")),
        }
        Ok(())
    }
}

impl Network {
    fn set(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["on_abrupt_close", "redirect"] => self.on_abrupt_close = OnAbruptClose::Redirect,
            ["on_abrupt_close", "action"] => self.on_abrupt_close = OnAbruptClose::Action,
            ["on_abrupt_close", "nothing"] => self.on_abrupt_close = OnAbruptClose::Nothing,
            ["on_abrupt_close", "end"] => self.on_abrupt_close = OnAbruptClose::End,
            ["repeats", "callbacks"] => self.repeats = 1,
            ["reorders", "callbacks"] => self.reorder = true,
            ["callbacks", "late", time] => self.late = seconds(time)?,
            ["loses", event] => self.lost.push(match *event {
                "initiated" => StatusEvent::Initiated,
                "ringing" => StatusEvent::Ringing,
                "answered" => StatusEvent::Answered,
                "completed" => StatusEvent::Completed,
                other => return Err(format!("expected a status callback, got `{other}`")),
            }),
            ["sends", "no", "callbacks"] => self.silent = true,
            ["stands", "still"] => self.still = true,
            ["has", "no", "REST", "API"] => self.no_rest = true,
            ["has", "no", "fallback"] => self.no_fallback = true,
            ["sends", "silence", "every", time] => self.sparse = Some(seconds(time)?),
            ["plays", "files", "for", time] => self.play_length = Some(seconds(time)?),
            ["asks", path] => self.silent_path = Some((*path).to_owned()),
            other => return Err(format!("expected how the network behaves, got `{}`", other.join(" "))),
        }
        Ok(())
    }
}

fn far_end(words: &[&str]) -> Result<FarEnd, String> {
    match words {
        ["busy"] => Ok(FarEnd::busy()),
        ["never", "answers"] => Ok(FarEnd::silent()),
        ["fails"] => {
            Ok(FarEnd { answers: Answers::Failed(Duration::from_secs(1)), talks: None, hangs_up: Party::Far })
        }
        ["answers", "after", after] => {
            Ok(FarEnd { answers: Answers::After(seconds(after)?), talks: None, hangs_up: Party::Far })
        }
        ["answers", "after", after, "talks", talks] => {
            Ok(FarEnd::answering(seconds(after)?, seconds(talks)?))
        }
        other => Err(format!(
            "expected `answers after 2s talks 5s`, busy, fails or `never answers`, got `{}`",
            other.join(" ")
        )),
    }
}
