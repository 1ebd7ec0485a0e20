//! One errand for each of several people: who has theirs is remembered, so that nobody gets it twice.

use super::{Done, Fault, Happened, Scene, Step};
use crate::http::HttpReply;
use crate::scene::ErrorClass;
use serde_json::{Map, Value, json};

/// People of one step.
const DESTINATIONS_MAX: usize = 100;

/// What differs between the kinds of messages.
pub trait Letter {
    /// The key of the output under which the results stand.
    const RESULTS: &'static str;

    fn send(&self, scene: &mut Scene<'_>, part: u32, to: &str) -> Result<(), Fault>;

    /// What is kept of a good answer.
    fn sent(&self, reply: &HttpReply) -> Result<Value, Fault>;
}

/// Sends to everybody who has nothing yet.
pub fn begin(letter: &impl Letter, scene: &mut Scene<'_>) -> Result<Step, Fault> {
    let people = people(scene)?;
    // Those who failed are tried again; those who have theirs are not.
    let sent = scene.memory.get("sent").and_then(Value::as_object).cloned().unwrap_or_default();
    go_on(letter, scene, &people, sent, Map::new())
}

pub fn resume(letter: &impl Letter, scene: &mut Scene<'_>, happened: &Happened<'_>) -> Result<Step, Fault> {
    let Happened::Fetched { part, outcome } = happened else { return Ok(Step::Stay) };
    let people = people(scene)?;
    let of_memory = |key: &str| scene.memory.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    let (mut sent, mut failed) = (of_memory("sent"), of_memory("failed"));
    let result = outcome.as_ref().map_err(Fault::from).and_then(|reply| {
        reply.judged(&[])?;
        letter.sent(reply)
    });
    match result {
        Ok(result) => _ = sent.insert(part.to_string(), result),
        Err(fault) => {
            let told = json!({ "class": fault.class, "message": fault.message });
            failed.insert(part.to_string(), told);
        }
    }
    go_on(letter, scene, &people, sent, failed)
}

fn go_on<L: Letter>(
    letter: &L,
    scene: &mut Scene<'_>,
    people: &[String],
    sent: Map<String, Value>,
    failed: Map<String, Value>,
) -> Result<Step, Fault> {
    let memory = json!({ "sent": sent, "failed": failed });
    let next = people.iter().zip(0_u32..).find(|(_, part)| {
        let part = part.to_string();
        !sent.contains_key(&part) && !failed.contains_key(&part)
    });
    if let Some((to, part)) = next {
        letter.send(scene, part, to)?;
        return Ok(Step::Wait { memory });
    }
    let results: Vec<Value> = people
        .iter()
        .zip(0_u32..)
        .map(|(to, part)| {
            let mut result = json!({ "to": to });
            let part = part.to_string();
            if let Some(Value::Object(told)) = sent.get(&part) {
                told.iter().for_each(|(key, value)| result[key.as_str()] = value.clone());
            }
            if let Some(error) = failed.get(&part) {
                result["error"] = error.clone();
            }
            result
        })
        .collect();
    let mut output = Map::new();
    output.insert(L::RESULTS.to_owned(), Value::Array(results));
    let output = Value::Object(output);
    let Some(first) = failed.values().next() else { return Ok(Step::Done(Done::with(output))) };
    // Another attempt begins from who has theirs by now.
    scene.live.remember = Some(memory);
    let class = serde_json::from_value(first["class"].clone()).unwrap_or(ErrorClass::Internal);
    let message = first["message"].as_str().unwrap_or_default();
    let message = format!("{} of {} could not be sent: {message}", failed.len(), people.len());
    Err(Fault::new(class, message).with_output(output))
}

/// Addresses, as texts or as objects with a `target`.
fn people(scene: &Scene<'_>) -> Result<Vec<String>, Fault> {
    let given = scene.parameters.list("destinations");
    if given.is_empty() || given.len() > DESTINATIONS_MAX {
        let count = given.len();
        return Err(Fault::invalid(format!(
            "`destinations`: expected 1 to {DESTINATIONS_MAX}, came {count}"
        )));
    }
    given.iter().map(|value| address(value).ok_or_else(|| bad_address("destinations"))).collect()
}

pub fn bad_address(name: &str) -> Fault {
    Fault::invalid(format!("`{name}`: expected an address, or an object with a `target`"))
}

/// One address: `+1…`, or `{type: tel, target: "+1…"}`.
pub fn address(value: &Value) -> Option<String> {
    let text = match value {
        Value::Object(object) => object.get("target")?.as_str()?,
        value => value.as_str()?,
    };
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}
