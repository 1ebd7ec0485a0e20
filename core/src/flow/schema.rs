//! The language's JSON Schema and the docs' table of actions, both from the declarations that the parser reads by. What
//! an action declares is thus written once; nothing here knows any action.

use super::action;
use super::declare::{Declared, Kind, Parameter, Shape};
use super::trigger;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// JSON Schema, draft 2020-12, of a document in either dialect.
pub fn schema() -> Value {
    let actions = action::declared();
    let mut definitions = Map::new();
    let mut of_types = Vec::new();
    for declared in &actions {
        let key = declared.name.replace('/', "_");
        definitions.insert(key.clone(), parameters(declared.about, declared.parameters));
        let of = json!({ "$ref": format!("#/$defs/{key}") });
        of_types.push(json!({
            "if": { "properties": { "type": { "pattern": type_pattern(declared) } }, "required": ["type"] },
            "then": { "properties": { "parameters": of, "option": of } },
        }));
    }
    let mut known: Vec<String> = actions.iter().map(|declared| type_pattern(declared)).collect();
    known.sort();
    let triggers: Vec<Value> = trigger::TABLE
        .iter()
        .map(|declared| {
            json!({
                "if": { "properties": { "type": { "pattern": pattern(declared.name) } }, "required": ["type"] },
                "then": { "properties": { "parameters": parameters(declared.about, declared.parameters) } },
            })
        })
        .collect();
    let duration = json!({ "type": ["string", "number"] });
    definitions.insert("target".to_owned(), json!({ "type": ["string", "null"] }));
    definitions.insert("dynamic".to_owned(), dynamic());
    definitions.insert("retry".to_owned(), retry(&duration));
    definitions.insert(
        "action".to_owned(),
        json!({
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": { "type": "string", "pattern": known.join("|") },
                "id": { "type": "string" },
                "name": { "type": "string" },
                "label": { "type": "string" },
                "description": true,
                "parameters": { "type": ["object", "null"] },
                "option": { "type": ["object", "null"] },
                "next": { "$ref": "#/$defs/target" },
                "next_id": { "$ref": "#/$defs/target" },
                "when": { "type": ["boolean", "string"] },
                "retry": { "$ref": "#/$defs/retry" },
                "maxRetries": { "type": "integer", "minimum": 0 },
                "timeout": duration,
                "on_error": { "anyOf": [
                    { "enum": ["continue", "fail"] },
                    { "type": "object", "required": ["goto"], "properties": { "goto": { "type": "string" } } },
                ] },
            },
            "allOf": of_types,
        }),
    );
    let list = json!({ "type": "array", "items": { "$ref": "#/$defs/action" } });
    definitions.insert("actions".to_owned(), list.clone());
    let workflow = json!({ "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" });
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://holdline.dev/schema/workflow.schema.json",
        "title": "Holdline workflow",
        "type": "object",
        "oneOf": [{ "required": ["tasks"] }, { "required": ["actions"] }],
        "properties": {
            "id": workflow,
            "label": { "type": "string" },
            "name": { "type": "string" },
            "description": { "type": "string" },
            "detail": { "type": "string" },
            "triggers": { "type": "array", "items": {
                "type": "object",
                "required": ["type"],
                "properties": { "type": { "type": "string" }, "name": { "type": "string" } },
                "allOf": triggers,
            } },
            "tasks": list,
            "actions": list,
            "inputs": { "type": ["array", "object"] },
            "outputs": { "type": "array", "items": {
                "type": "object",
                "required": ["name", "value"],
                "properties": { "name": { "type": "string" }, "value": true },
            } },
            "on_complete": { "$ref": "#/$defs/target" },
            "on_complete_flow_id": { "$ref": "#/$defs/target" },
            "on_end": { "enum": ["hangup", "hold"] },
            "media": { "enum": ["auto", "always"] },
            "resume_phrase": { "type": "string" },
            "retry": { "$ref": "#/$defs/retry" },
            "maxRetries": { "type": "integer", "minimum": 0 },
            "timeout": duration,
            "limits": { "type": "object", "additionalProperties": { "type": "integer", "minimum": 1 } },
        },
        "patternProperties": { "^x-": true },
        "$defs": definitions,
    })
}

/// The docs' table, in Markdown.
pub fn table() -> String {
    let mut text = String::from(
        "# Actions\n\nGenerated from the actions' own declarations. M: needs a live call and is skipped elsewhere; \
         W: waits.\n",
    );
    for declared in action::declared() {
        let mut marks: Vec<&str> = Vec::new();
        marks.extend(declared.needs_call.then_some("M"));
        marks.extend(declared.waits.then_some("W"));
        let policy = match declared.kind {
            Kind::Media => "an error is recorded and the flow goes on",
            Kind::Control => "an error ends the flow, never retried",
            Kind::Io | Kind::Child => "an error ends the flow, after retries in a main workflow",
            Kind::Messaging => {
                "an error is recorded and the flow goes on; in a main workflow it ends the flow, after retries"
            }
        };
        // Writing to a String can't fail.
        let _ = write!(text, "\n## `{}`\n\n{}", declared.name, declared.about);
        if !declared.aliases.is_empty() {
            let _ = write!(text, " Also written `{}`.", declared.aliases.join("`, `"));
        }
        let marks = if marks.is_empty() { String::new() } else { format!("{} · ", marks.join(" ")) };
        let _ = write!(text, "\n\n{marks}{policy}\n");
        let shown: Vec<&Parameter> = declared
            .parameters
            .iter()
            .filter(|parameter| !matches!(parameter.shape, Shape::Ignored))
            .collect();
        if shown.is_empty() {
            continue;
        }
        text.push_str("\n| parameter | value | |\n|---|---|---|\n");
        for parameter in shown {
            let required = if parameter.required { " (required)" } else { "" };
            let _ = writeln!(
                text,
                "| `{}`{required} | {} | {} |",
                parameter.name,
                words(&parameter.shape),
                parameter.about.replace('|', "\\|")
            );
        }
    }
    text
}

/// With `/vN` wherever other systems write it.
fn pattern(name: &str) -> String {
    let parts: Vec<String> = name.split('/').map(|part| format!("{part}(/v[0-9]+)?")).collect();
    format!("^{}$", parts.join("/"))
}

fn type_pattern(declared: &Declared) -> String {
    let names = std::iter::once(&declared.name).chain(declared.aliases);
    names.map(|name| pattern(name)).collect::<Vec<_>>().join("|")
}

/// What `${…}` or an expression may stand for.
fn dynamic() -> Value {
    json!({ "type": "string", "pattern": "\\$\\{|^=" })
}

fn parameters(about: &str, declared: &[Parameter]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for parameter in declared {
        for name in std::iter::once(&parameter.name).chain(parameter.aliases) {
            let mut value = shape(&parameter.shape);
            if let Some(object) = value.as_object_mut() {
                object.insert("description".to_owned(), Value::from(parameter.about));
            }
            properties.insert((*name).to_owned(), value);
        }
        // One of several names may be given.
        if parameter.required && parameter.aliases.is_empty() {
            required.push(parameter.name);
        }
    }
    json!({
        "description": about,
        "type": ["object", "null"],
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn shape(shape: &Shape) -> Value {
    let or_dynamic = |plain: Value| json!({ "anyOf": [plain, { "$ref": "#/$defs/dynamic" }] });
    match shape {
        Shape::Text => json!({ "type": "string" }),
        Shape::Flag => or_dynamic(json!({ "type": "boolean" })),
        Shape::Integer { min, max } => {
            or_dynamic(json!({ "type": "integer", "minimum": min, "maximum": max }))
        }
        Shape::Number { min, max } if *min == f64::MIN && *max == f64::MAX => {
            or_dynamic(json!({ "type": "number" }))
        }
        Shape::Number { min, max } => or_dynamic(json!({ "type": "number", "minimum": min, "maximum": max })),
        Shape::Millis { .. } | Shape::Seconds { .. } => json!({ "type": ["string", "number"] }),
        Shape::OneOf(words) => or_dynamic(json!({ "enum": words })),
        Shape::ListOf(inner) => or_dynamic(json!({ "type": "array", "items": self::shape(inner) })),
        Shape::MapOf(inner) => {
            or_dynamic(json!({ "type": "object", "additionalProperties": self::shape(inner) }))
        }
        Shape::Object(declared) => or_dynamic(parameters("", declared)),
        Shape::Target | Shape::Workflow => json!({ "$ref": "#/$defs/target" }),
        Shape::Actions => json!({ "$ref": "#/$defs/actions" }),
        Shape::ActionsOrWorkflow => {
            json!({ "anyOf": [{ "$ref": "#/$defs/actions" }, { "type": ["string", "null"] }] })
        }
        Shape::Keys { max, .. } => or_dynamic(json!({ "type": "string", "maxLength": max })),
        Shape::Expression => json!({ "type": ["string", "boolean"] }),
        Shape::Any | Shape::Ignored => json!({}),
    }
}

fn words(shape: &Shape) -> String {
    match shape {
        Shape::Text => "text".to_owned(),
        Shape::Flag => "true or false".to_owned(),
        Shape::Integer { .. } => "a whole number".to_owned(),
        Shape::Number { .. } => "a number".to_owned(),
        Shape::Millis { .. } => "a duration; a bare number is milliseconds".to_owned(),
        Shape::Seconds { .. } => "a duration; a bare number is seconds".to_owned(),
        Shape::OneOf(words) => {
            format!("one of {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
        }
        Shape::ListOf(inner) => format!("a list; each: {}", words(inner)),
        Shape::MapOf(inner) => format!("an object; each value: {}", words(inner)),
        Shape::Object(declared) => {
            let names: Vec<String> =
                declared.iter().map(|parameter| format!("`{}`", parameter.name)).collect();
            format!("an object of {}", names.join(", "))
        }
        Shape::Target => "id or name of an action".to_owned(),
        Shape::Workflow => "id of a workflow".to_owned(),
        Shape::Actions => "a list of actions".to_owned(),
        Shape::ActionsOrWorkflow => "a list of actions, or the id of a workflow".to_owned(),
        Shape::Keys { alphabet, .. } => format!("keys of `{alphabet}`"),
        Shape::Expression => "an expression, with or without its `=`".to_owned(),
        Shape::Any | Shape::Ignored => "any value".to_owned(),
    }
}

fn retry(duration: &Value) -> Value {
    let classes = json!({ "type": "array", "items": {
        "enum": ["invalid", "unavailable", "timeout", "rejected", "limit", "canceled", "internal"]
    } });
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "attempts": { "type": "integer", "minimum": 1 },
            "initial": duration,
            "factor": { "type": "number", "minimum": 1 },
            "max": duration,
            "jitter": { "type": "number", "minimum": 0, "maximum": 1 },
            "non_retryable": classes,
            "retryable": classes,
        },
    })
}
