//! What is written down and what the caller lives through, as lines of a play.

use crate::network::Experience;
use holdline_core::call::CallFact;
use holdline_core::fact::{Entry, Fact, Key, OutboundFact, OutboxFact, ParentFact, RunFact};
use holdline_core::flow::Run;
use holdline_core::flow::fact::StepEnd;
use holdline_core::flow::history::Outcome;
use holdline_core::scene::RunOver;
use holdline_core::{CallId, Now, RunId};
use serde_json::Value;
use std::collections::BTreeMap;

/// Longer values end in an ellipsis.
const VALUE_CHARACTERS_MAX: usize = 300;

/// Follows the runs, so that a fact about a step can be told by the step's name.
#[derive(Default)]
pub struct Teller {
    runs: BTreeMap<Key, Followed>,
    /// The story's own call; others are named.
    call: String,
}

struct Followed {
    run: Run,
    id: RunId,
    steps: Vec<(String, bool)>,
}

impl Teller {
    pub fn new(call: &str) -> Teller {
        Teller { runs: BTreeMap::new(), call: call.to_owned() }
    }

    pub fn written(&mut self, entry: &Entry) -> Vec<String> {
        let mut lines = Vec::new();
        let whose = match &entry.key {
            Key::Call(CallId(call)) if *call == self.call => "",
            Key::Call(CallId(call)) => &format!("{call} "),
            Key::Run(_) => "main ",
            Key::Delivery(_) => "outbox ",
            Key::Placement(_) => "outbound ",
            Key::Flow(_) => "flow ",
        };
        match &entry.fact {
            Fact::Call(fact) => lines.extend(call_line(fact)),
            Fact::Run(fact) => self.run_line(&entry.key, fact, &mut lines),
            Fact::Parent(ParentFact::CallOver { .. }) => {
                lines.push("takes the completion".to_owned());
            }
            Fact::Parent(_) => {}
            Fact::Outbox(OutboxFact::Owed { delivery }) => {
                lines.push(format!("owes {}", delivery.call.endpoint.target()))
            }
            Fact::Outbox(OutboxFact::Delivered { .. }) => lines.push("delivered".to_owned()),
            Fact::Outbox(OutboxFact::Dead { error, .. }) => lines.push(format!("dead letter: {error}")),
            Fact::Outbox(_) | Fact::Flow(_) => {}
            Fact::Outbound(fact) => lines.extend(outbound_line(fact)),
        }
        lines.iter().map(|line| format!("{whose}{}", line.replace(&self.call, "CA…"))).collect()
    }

    fn run_line(&mut self, key: &Key, fact: &RunFact, lines: &mut Vec<String>) {
        if let RunFact::Begun(begun) = fact {
            let restored = Run::restore(Now::default(), [fact].into_iter());
            if let Ok(run) = restored {
                self.runs.insert(key.clone(), Followed { run, id: begun.id, steps: Vec::new() });
            }
            return;
        }
        let Some(followed) = self.runs.get_mut(key) else { return };
        debug_assert_eq!(followed.run.id(), followed.id);
        match fact {
            RunFact::Stepped { end, .. } => {
                let name = followed.at_cursor();
                lines.push(step_line(&name, end));
                followed.steps.push((name, true));
            }
            RunFact::StepBegan { .. } => {
                let name = followed.at_cursor();
                followed.steps.push((name, false));
            }
            RunFact::StepEnded { step, end, .. } => {
                let place = usize::try_from(step.saturating_sub(1)).unwrap_or(usize::MAX);
                if let Some((name, ended)) = followed.steps.get_mut(place) {
                    *ended = true;
                    lines.push(step_line(name, end));
                }
            }
            RunFact::StepAgain { .. } => {
                if let Some((name, _)) = followed.steps.iter().rev().find(|(_, ended)| !ended) {
                    lines.push(format!("{name} begins again"));
                }
            }
            RunFact::StepRetries { error, .. } => {
                if let Some((name, _)) = followed.steps.iter().rev().find(|(_, ended)| !ended) {
                    lines.push(format!("{name} waits for another try: {}", error.message));
                }
            }
            RunFact::Recorded { report, .. } => {
                lines.push(format!("recording over: {:.1} s, {}", report.seconds, report.ended_by));
            }
            RunFact::Over { over, .. } => {
                for (name, ended) in &mut followed.steps {
                    if !std::mem::replace(ended, true) {
                        lines.push(format!("{name} interrupted"));
                    }
                }
                lines.push(over_line(over));
            }
            _ => {}
        }
        followed.run.apply(fact);
    }
}

impl Followed {
    /// The action that begins now.
    fn at_cursor(&self) -> String {
        let view = self.run.view();
        let node = view
            .get("current_stack_id")
            .and_then(Value::as_str)
            .and_then(|stack| view.get("stack_map")?.get(stack))
            .and_then(|stack| {
                let index = usize::try_from(stack.get("current_index")?.as_u64()?).ok()?;
                stack.get("actions")?.get(index)
            });
        let word = |key: &str| node.and_then(|node| node.get(key)).and_then(Value::as_str);
        match (word("type"), word("name")) {
            (Some(kind), Some(name)) => format!("{kind} {name}"),
            (Some(kind), None) => kind.to_owned(),
            _ => "a step".to_owned(),
        }
    }
}

fn step_line(name: &str, end: &StepEnd) -> String {
    let mut line = format!("{name} {}", end.outcome.as_str());
    if let Some(error) = &end.error {
        let class = serde_json::to_value(error.class).unwrap_or_default();
        line.push_str(&format!(", {}: {}", class.as_str().unwrap_or_default(), error.message));
    }
    let said = pairs(&end.output);
    if !said.is_empty() {
        line.push_str(if end.outcome == Outcome::Ok { ": " } else { ", " });
        line.push_str(&said);
    }
    line
}

fn over_line(over: &RunOver) -> String {
    let mut line = format!("flow over: {}", over.reason.as_str());
    if let Some(detail) = over.detail.as_ref().filter(|detail| !detail.starts_with("the call ended")) {
        line.push_str(&format!(" ({detail})"));
    }
    let outputs = pairs(&Value::Object(over.outputs.clone()));
    if !outputs.is_empty() {
        line.push_str(&format!(", {outputs}"));
    }
    line
}

fn outbound_line(fact: &OutboundFact) -> Option<String> {
    match fact {
        OutboundFact::Placing { placement } => Some(format!("places a call to {}", placement.to)),
        OutboundFact::Doubted { why } => Some(format!("is in doubt: {why}")),
        OutboundFact::DialledAgain => Some("dials again".to_owned()),
        OutboundFact::Placed { arrival } => Some(format!("placed {}", arrival.call)),
        OutboundFact::NotPlaced { refused } => Some(format!("not placed: {refused}")),
        _ => None,
    }
}

fn call_line(fact: &CallFact) -> Option<String> {
    match fact {
        CallFact::Reached { asked, said } => Some(format!("asks the REST API ({asked}): {said}")),
        CallFact::Rejected => Some("call rejected".to_owned()),
        CallFact::ChildStatus { notice } => Some(format!("far leg {}", notice.raw)),
        CallFact::ConferenceNews { notice } => {
            let who = notice.label.as_deref().unwrap_or(if notice.call.is_some() {
                "the caller"
            } else {
                "nobody"
            });
            let why = notice.reason.as_ref().map(|why| format!(", {why}")).unwrap_or_default();
            Some(format!("conference {}: {}, {who}{why}", notice.name, notice.event))
        }
        CallFact::Trouble { what } => Some(format!("trouble: {what}")),
        CallFact::Over { reason, completion } => {
            let word = |key: &str| completion.get(key).map(shown).unwrap_or_default();
            let mut line = format!(
                "call over: {}; {} after {} s, flow {}",
                reason.as_str(),
                word("callStatus"),
                word("callDuration"),
                word("subWorkflowStatus"),
            );
            if !word("digits").is_empty() {
                line.push_str(&format!(", digits {}", word("digits")));
            }
            for key in ["subWorkflowOutputs", "recordings"] {
                let value = completion.get(key).cloned().unwrap_or_default();
                let empty = match &value {
                    Value::Object(map) => map.is_empty(),
                    Value::Array(list) => list.is_empty(),
                    other => other.is_null(),
                };
                if !empty {
                    line.push_str(&format!(", {key} {}", shown(&value)));
                }
            }
            Some(line)
        }
        _ => None,
    }
}

/// `digits=2, ended_by=length`.
fn pairs(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| match value {
                Value::String(text) if text.is_empty() => format!("{key}=\"\""),
                value => format!("{key}={}", shown(value)),
            });
            pairs.collect::<Vec<_>>().join(", ")
        }
        other => shown(other),
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= VALUE_CHARACTERS_MAX {
        return text;
    }
    text.chars().take(VALUE_CHARACTERS_MAX - 1).chain(['…']).collect()
}

/// What of the caller's life belongs into a play.
pub fn experienced(experience: &Experience) -> Option<String> {
    match experience {
        Experience::Fetched { .. } | Experience::MarkEchoed { .. } | Experience::Silence { .. } => None,
        Experience::Digit { .. } | Experience::Speaks { .. } | Experience::Plays { .. } => None,
        Experience::HangsUp => None,
        Experience::Hears { text } => Some(format!("says \"{text}\"")),
        Experience::HearsFile { url } => Some(format!("plays {}", url.rsplit('/').next().unwrap_or(url))),
        Experience::HearsAudio { ms, digits } if digits.is_empty() => {
            Some(format!("sounds for {:.2} s", *ms as f64 / 1000.0))
        }
        Experience::HearsAudio { digits, .. } => Some(format!("sounds keys {digits}")),
        Experience::HearsKeys { digits } => Some(format!("sounds keys {digits}")),
        Experience::Cleared => Some("clears".to_owned()),
        Experience::Beep => Some("beeps".to_owned()),
        Experience::StreamUp => Some("stream up".to_owned()),
        Experience::StreamDown { code, violations } => {
            let mut line = match code {
                Some(code) => format!("stream down, {code}"),
                None => "stream cut".to_owned(),
            };
            if *violations > 0 {
                line.push_str(&format!(", {violations} messages were wrong"));
            }
            Some(line)
        }
        Experience::Ended { status, duration } => {
            Some(format!("line {} after {:.1} s", status.word(), duration.as_secs_f64()))
        }
        Experience::Warning { code: 0, text } => Some(format!("warning: {text}")),
        Experience::Warning { code, text } => Some(format!("warning {code}: {text}")),
        other => Some(other.to_string()),
    }
}
