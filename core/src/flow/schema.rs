//! The language's JSON Schema and the docs' table of actions, both from the declarations that the parser reads by. What
//! an action declares is thus written once; nothing here knows any action.

use super::action;
use super::declare::{Declared, Kind, Parameter, Shape};
use super::vocabulary::Vocabulary;
use super::{parse, trigger};
use crate::limit::Limits;
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// JSON Schema, draft 2020-12, of a document in either dialect. What needs a look around (targets, names that are taken,
/// expressions) is for `check`; shapes and words are told by this alone.
pub fn schema() -> Value {
    schema_of(Vocabulary::standard())
}

/// As [`schema`], in words of one's own.
pub fn schema_of(vocabulary: &Vocabulary) -> Value {
    let actions = vocabulary.declared();
    let mut definitions = Map::new();
    let mut of_types = Vec::new();
    for declared in actions {
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
    definitions.insert("duration".to_owned(), json!({ "type": ["string", "number", "null"] }));
    definitions.insert("target".to_owned(), json!({ "type": ["string", "null"] }));
    definitions.insert("dynamic".to_owned(), dynamic());
    definitions.insert("retry".to_owned(), retry());
    let text = json!({ "type": ["string", "null"] });
    let one_name = |one: &str, other: &str| json!({ "not": { "required": [one, other] } });
    let action = json!({
        "type": { "type": "string", "pattern": known.join("|") },
        "id": text,
        "name": text,
        "label": text,
        "parameters": { "type": ["object", "null"] },
        "option": { "type": ["object", "null"] },
        "next": { "$ref": "#/$defs/target" },
        "next_id": { "$ref": "#/$defs/target" },
        "when": { "type": ["boolean", "string", "null"] },
        "retry": { "$ref": "#/$defs/retry" },
        "maxRetries": { "type": ["integer", "null"], "minimum": 0 },
        "timeout": { "$ref": "#/$defs/duration" },
        "on_error": { "anyOf": [
            { "enum": ["continue", "fail", null] },
            object(json!({ "goto": { "type": "string" } }), &["goto"]),
        ] },
        "description": true,
    });
    let mut action = with_foreign_keys(action, &["type"]);
    let both =
        [one_name("parameters", "option"), one_name("next", "next_id"), one_name("retry", "maxRetries")];
    action.insert("allOf".to_owned(), Value::Array(both.into_iter().chain(of_types).collect()));
    definitions.insert("action".to_owned(), Value::Object(action));
    let list = json!({ "type": "array", "items": { "$ref": "#/$defs/action" } });
    definitions.insert("actions".to_owned(), list.clone());
    definitions.insert("trigger".to_owned(), trigger_schema(vocabulary.triggers()));

    let document = json!({
        "id": { "type": ["string", "null"], "pattern": "^$|^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", "not": { "const": "twilio" } },
        "label": text,
        "name": text,
        "description": text,
        "detail": text,
        "triggers": { "type": ["array", "null"], "items": { "$ref": "#/$defs/trigger" } },
        "tasks": list,
        "actions": list,
        "inputs": { "type": ["array", "object", "null"] },
        "outputs": {
            "type": ["array", "null"],
            "items": with_foreign_keys(json!({ "name": { "type": "string" }, "value": true, "label": true,
                "description": true, "type": true }), &["name", "value"]),
        },
        "on_complete": { "$ref": "#/$defs/target" },
        "on_complete_flow_id": { "$ref": "#/$defs/target" },
        "on_end": { "enum": ["hangup", "hold", null] },
        "media": { "enum": ["auto", "always", null] },
        "resume_phrase": text,
        "retry": { "$ref": "#/$defs/retry" },
        "maxRetries": { "type": ["integer", "null"], "minimum": 0 },
        "timeout": { "$ref": "#/$defs/duration" },
        "limits": limits(),
        "type": true,
    });
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("$id".to_owned(), json!("https://holdline.dev/schema/workflow.schema.json"));
    schema.insert("title".to_owned(), json!("Holdline workflow"));
    schema.extend(with_foreign_keys(document, &[]));
    schema.insert("oneOf".to_owned(), json!([{ "required": ["tasks"] }, { "required": ["actions"] }]));
    let both = [
        one_name("label", "name"),
        one_name("description", "detail"),
        one_name("on_complete", "on_complete_flow_id"),
        one_name("retry", "maxRetries"),
    ];
    schema.insert("allOf".to_owned(), Value::Array(both.into()));
    schema.insert("$defs".to_owned(), Value::Object(definitions));
    Value::Object(schema)
}

/// An object of these keys and the author's own `x-…`.
fn object(properties: Value, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "required": required,
        "properties": properties,
        "patternProperties": { "^x-": true },
        "additionalProperties": false,
    })
}

/// With what other systems export too: ignored, or refused unless it is empty.
fn with_foreign_keys(mut properties: Value, required: &[&str]) -> Map<String, Value> {
    for key in parse::IGNORED_KEYS {
        properties[*key] = Value::Bool(true);
    }
    for key in parse::REFUSED_KEYS {
        properties[*key] = json!({ "enum": [null, "", [], {}] });
    }
    match object(properties, required) {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn trigger_schema(triggers: &[&'static trigger::Declared]) -> Value {
    let types: Vec<String> = triggers.iter().map(|declared| pattern(declared.name)).collect();
    let text = json!({ "type": ["string", "null"] });
    let properties = json!({
        "type": { "type": "string", "pattern": types.join("|") },
        "name": text,
        "label": text,
        "id": text,
        "parameters": { "type": ["object", "null"] },
        "option": { "type": ["object", "null"] },
        "description": true,
        "timeout": true,
        "maxRetries": true,
    });
    let of_types = triggers.iter().map(|declared| {
        let of = parameters(declared.about, declared.parameters);
        json!({
            "if": { "properties": { "type": { "pattern": pattern(declared.name) } }, "required": ["type"] },
            "then": { "properties": { "parameters": of, "option": of } },
        })
    });
    let mut trigger = with_foreign_keys(properties, &["type"]);
    trigger.insert("allOf".to_owned(), of_types.collect());
    Value::Object(trigger)
}

/// By the limits' own names, so that a new one is here too.
fn limits() -> Value {
    let names = serde_json::to_value(Limits::default()).unwrap_or_default();
    let names = names.as_object().into_iter().flat_map(Map::keys);
    let of = |name: &String| (name.clone(), json!({ "type": "integer", "minimum": 1 }));
    json!({
        "type": ["object", "null"],
        "properties": names.map(of).collect::<Map<String, Value>>(),
        "patternProperties": { "^x-": true },
        "additionalProperties": false,
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

/// All actions at a glance, as one Markdown table whose rows lead to their parts of [`table`].
pub fn overview() -> String {
    let mut text = String::from("| type | | | parameters |\n|---|---|---|---|\n");
    for declared in action::declared() {
        let anchor: String = declared
            .name
            .chars()
            .filter(|letter| letter.is_alphanumeric() || "_-".contains(*letter))
            .collect();
        let marks = [(declared.needs_call, "M"), (declared.waits, "W")];
        let marks: Vec<&str> = marks.into_iter().filter_map(|(is, mark)| is.then_some(mark)).collect();
        let shown = declared.parameters.iter().filter(|parameter| !matches!(parameter.shape, Shape::Ignored));
        let names: Vec<String> = shown
            .map(|parameter| match parameter.required {
                true => format!("**`{}`**", parameter.name),
                false => format!("`{}`", parameter.name),
            })
            .collect();
        let _ = writeln!(
            text,
            "| [`{}`](actions.md#{}) | {} | {} | {} |",
            declared.name,
            anchor.to_lowercase(),
            marks.join(" "),
            declared.about,
            names.join(", ")
        );
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
        "patternProperties": { "^x-": true },
        "additionalProperties": false,
    })
}

fn shape(shape: &Shape) -> Value {
    let or_dynamic =
        |plain: Value| json!({ "anyOf": [plain, { "$ref": "#/$defs/dynamic" }, { "type": "null" }] });
    match shape {
        Shape::Text => json!({ "type": ["string", "null"] }),
        Shape::Flag => or_dynamic(json!({ "type": "boolean" })),
        Shape::Integer { min, max } => {
            or_dynamic(json!({ "type": "integer", "minimum": min, "maximum": max }))
        }
        Shape::Number { min, max } if *min == f64::MIN && *max == f64::MAX => {
            or_dynamic(json!({ "type": "number" }))
        }
        Shape::Number { min, max } => or_dynamic(json!({ "type": "number", "minimum": min, "maximum": max })),
        Shape::Millis { .. } | Shape::Seconds { .. } => json!({ "type": ["string", "number", "null"] }),
        Shape::OneOf(words) => or_dynamic(json!({ "enum": words })),
        Shape::ListOf(inner) => or_dynamic(json!({ "type": "array", "items": self::shape(inner) })),
        Shape::MapOf(inner) => {
            or_dynamic(json!({ "type": "object", "additionalProperties": self::shape(inner) }))
        }
        Shape::Object(declared) => or_dynamic(parameters("", declared)),
        Shape::Target | Shape::Workflow => json!({ "$ref": "#/$defs/target" }),
        Shape::Actions => json!({ "anyOf": [{ "$ref": "#/$defs/actions" }, { "type": "null" }] }),
        Shape::ActionsOrWorkflow => {
            json!({ "anyOf": [{ "$ref": "#/$defs/actions" }, { "type": ["string", "null"] }] })
        }
        Shape::Keys { max, .. } => or_dynamic(json!({ "type": "string", "maxLength": max })),
        Shape::Expression => json!({ "type": ["string", "boolean", "null"] }),
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

fn retry() -> Value {
    let classes = json!({ "type": "array", "items": {
        "enum": ["invalid", "unavailable", "timeout", "rejected", "limit", "canceled", "internal"]
    } });
    let duration = json!({ "$ref": "#/$defs/duration" });
    json!({
        "type": ["object", "null"],
        "properties": {
            "attempts": { "type": "integer", "minimum": 1 },
            "initial": duration,
            "factor": { "type": "number", "minimum": 1 },
            "max": duration,
            "jitter": { "type": "number", "minimum": 0, "maximum": 1 },
            "non_retryable": classes,
            "retryable": classes,
        },
        "patternProperties": { "^x-": true },
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_schema_has_every_key_that_the_parser_knows_and_no_other() {
        let schema = schema();
        let of = |place: &str| -> BTreeSet<String> {
            schema.pointer(place).and_then(Value::as_object).unwrap().keys().cloned().collect()
        };
        let foreign = parse::IGNORED_KEYS.iter().chain(parse::REFUSED_KEYS);
        let known = |own: &[&str], more: &str| -> BTreeSet<String> {
            own.iter().chain(foreign.clone()).copied().chain([more]).map(str::to_owned).collect()
        };
        assert_eq!(of("/properties"), known(parse::DOCUMENT_KEYS, "type"));
        assert_eq!(of("/$defs/action/properties"), known(parse::ACTION_KEYS, "description"));
    }
}
