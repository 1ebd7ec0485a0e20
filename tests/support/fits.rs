//! Whether an answer is one that the API's own description promises. Stricter than the description has to be: what it
//! does not name must not be there, so that nothing is answered that nobody can read about.

use std::sync::OnceLock;

use serde_json::{Map, Value};

/// Panics unless this is a documented answer to a documented route. Paths of other listeners are none of its business.
pub fn check(method: &str, target: &str, status: u16, media: &str, body: &str) {
    if let Err(why) = fits(method, target, status, media, body) {
        panic!(
            "{method} {target} answered {status} {media}, which is not what /openapi.json says: {why}: {body}"
        );
    }
}

pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(holdline::web::control::document)
}

fn fits(method: &str, target: &str, status: u16, media: &str, body: &str) -> Result<(), String> {
    let path = target.split('?').next().unwrap();
    let paths = document()["paths"].as_object().unwrap();
    // The public listener, which knows none of these paths; here every refusal is a problem document.
    if status == 404 && media.starts_with("text/plain") {
        return Ok(());
    }
    // A fixed path goes before one with a parameter in its place.
    let here =
        paths.get(path).or_else(|| paths.iter().find(|(known, _)| is_like(known, path)).map(|(_, at)| at));
    let Some(here) = here else {
        return if path.starts_with("/v1/") && !matches!(status, 401 | 403 | 404) {
            Err("no such path".to_owned())
        } else {
            Ok(())
        };
    };
    let asked = if method == "HEAD" { "get" } else { &method.to_ascii_lowercase() };
    let Some(operation) = here.get(asked) else {
        return if matches!(status, 405 | 401 | 403) { Ok(()) } else { Err("no such method".to_owned()) };
    };
    let answer = operation["responses"].get(status.to_string()).ok_or("no such status")?;
    let Some(content) = answer.get("content") else {
        return if body.is_empty() { Ok(()) } else { Err("it has no body".to_owned()) };
    };
    let media = media.split(';').next().unwrap().trim();
    let schema = &content.get(media).ok_or("no such media type")?["schema"];
    if method == "HEAD" || !media.ends_with("json") {
        return Ok(());
    }
    let value: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    let mut place = Vec::new();
    is(&value, schema, &mut place).map_err(|why| format!("at /{}: {why}", place.join("/")))
}

fn is_like(known: &str, path: &str) -> bool {
    let (known, path): (Vec<&str>, Vec<&str>) = (known.split('/').collect(), path.split('/').collect());
    known.len() == path.len()
        && known
            .iter()
            .zip(&path)
            .all(|(known, is)| known == is || (known.starts_with('{') && !is.is_empty()))
}

/// As much of JSON Schema as the description uses; a word that is not known here is a mistake of this file.
fn is(value: &Value, schema: &Value, place: &mut Vec<String>) -> Result<(), String> {
    let schema = schema.as_object().ok_or("a schema that is no object")?;
    for (word, says) in schema {
        match word.as_str() {
            "$ref" => {
                let name = says.as_str().unwrap().strip_prefix("#/components/schemas/").unwrap();
                is(value, &document()["components"]["schemas"][name], place)?;
            }
            "type" => has_type(value, says)?,
            "enum" if !says.as_array().unwrap().contains(value) => {
                return Err(format!("{value} is none of {says}"));
            }
            "const" if says != value => return Err(format!("{value} is not {says}")),
            "oneOf" => {
                let fitting =
                    says.as_array().unwrap().iter().filter(|one| is(value, one, &mut Vec::new()).is_ok());
                if fitting.count() != 1 {
                    return Err(format!("{value} is not one of {says}"));
                }
            }
            "format" => has_format(value, says.as_str().unwrap())?,
            "minimum" if value.as_f64().is_some_and(|value| value < says.as_f64().unwrap()) => {
                return Err(format!("{value} is less than {says}"));
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    place.push(index.to_string());
                    is(item, says, place)?;
                    place.pop();
                }
            }
            "required" => {
                let missing =
                    says.as_array().unwrap().iter().find(|name| value.get(name.as_str().unwrap()).is_none());
                if let (Some(missing), true) = (missing, value.is_object()) {
                    return Err(format!("{missing} is missing"));
                }
            }
            "properties" | "additionalProperties" => {}
            "enum" | "const" | "minimum" | "description" | "maximum" | "default" => {}
            other => return Err(format!("a schema says {other}, which is not understood here")),
        }
    }
    match value.as_object() {
        Some(members) => has_members(members, schema, place),
        None => Ok(()),
    }
}

fn has_members(
    members: &Map<String, Value>,
    schema: &Map<String, Value>,
    place: &mut Vec<String>,
) -> Result<(), String> {
    let (known, others) = (schema.get("properties"), schema.get("additionalProperties"));
    if known.is_none() && others.is_none() {
        return Ok(());
    }
    for (name, value) in members {
        place.push(name.clone());
        match (known.and_then(|known| known.get(name)), others) {
            (Some(own), _) => is(value, own, place)?,
            (None, Some(Value::Bool(true))) => {}
            (None, Some(of_all @ Value::Object(_))) => is(value, of_all, place)?,
            (None, _) => return Err("nobody can read about this member".to_owned()),
        }
        place.pop();
    }
    Ok(())
}

fn has_type(value: &Value, types: &Value) -> Result<(), String> {
    let fits = |word: &Value| match word.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("a type {other}"),
    };
    let any = types.as_array().map_or_else(|| fits(types), |types| types.iter().any(fits));
    if any { Ok(()) } else { Err(format!("{value} is no {types}")) }
}

fn has_format(value: &Value, format: &str) -> Result<(), String> {
    let Some(text) = value.as_str() else { return Ok(()) };
    let fits = match format {
        "uuid" => uuid::Uuid::parse_str(text).is_ok(),
        // UTC, with milliseconds.
        "date-time" => {
            text.len() == 24
                && text.ends_with('Z')
                && text.as_bytes()[10] == b'T'
                && text.as_bytes()[19] == b'.'
        }
        "binary" => true,
        other => panic!("a format {other}"),
    };
    if fits { Ok(()) } else { Err(format!("{text:?} is no {format}")) }
}

#[test]
fn what_is_not_described_does_not_fit() {
    let drain = |body: &str| fits("GET", "/v1/drain", 200, "application/json", body);
    assert_eq!(drain(r#"{"draining":false,"calls":0,"workflows":1}"#), Ok(()));
    for (body, why) in [
        (r#"{"draining":false,"calls":0}"#, "is missing"),
        (r#"{"draining":0,"calls":0,"workflows":1}"#, "is no"),
        (r#"{"draining":false,"calls":-1,"workflows":1}"#, "is less than"),
        (r#"{"draining":false,"calls":0,"workflows":1,"more":1}"#, "nobody can read about"),
        ("[]", "is no"),
        ("", "EOF"),
    ] {
        let said = drain(body).unwrap_err();
        assert!(said.contains(why), "{body}: {said}");
    }
    assert!(fits("GET", "/v1/drain", 500, "application/problem+json", "{}").is_err());
    assert!(fits("GET", "/v1/drain", 200, "text/plain", "x").is_err());
    assert!(fits("PUT", "/v1/drain", 200, "application/json", "{}").is_err());
    assert!(fits("GET", "/v1/nowhere", 200, "application/json", "{}").is_err());
}
