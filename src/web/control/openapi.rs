//! What the API says of itself: made of the same table from which it is mounted.

mod answers;

use actix_web::http::Method;
use serde_json::{Map, Value, json};

use crate::web::auth::needed_role;
use crate::web::control::{activeflows, calls, events, routes};
use crate::web::problem::Code;
use crate::web::route::{Body, Route, fresh};

pub static ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/openapi.json",
    about: "This description, as OpenAPI 3.1.",
    query: &[],
    body: Body::None,
    answers: &[(200, "an OpenAPI document")],
    refusals: &[],
    run: |_| Box::pin(async { Ok(fresh(&document())) }),
}];

/// The whole document.
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.as_str().to_ascii_lowercase(), operation(route));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Holdline control API", "version": env!("CARGO_PKG_VERSION") },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(),
        },
    })
}

fn schemas() -> Value {
    let mut schemas = answers::schemas();
    schemas["Problem"] = problem();
    schemas
}

fn operation(route: &Route) -> Value {
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.about,
        "description": format!("Needs the role `{}`.", needed_role(&route.method, route.path).word()),
        "parameters": parameters(route),
        "responses": responses(route),
    });
    if let (Some(operation), Some(body)) = (operation.as_object_mut(), body(route)) {
        operation.insert("requestBody".to_owned(), body);
    }
    operation
}

/// `post_v1_activeflows_id_stop`: unique, since path and method are.
fn operation_id(route: &Route) -> String {
    let words = route.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let method = route.method.as_str().to_ascii_lowercase();
    std::iter::once(method.as_str()).chain(words).collect::<Vec<_>>().join("_")
}

fn parameters(route: &Route) -> Vec<Value> {
    let of_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let of_path = of_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let of_query = route.query.iter().map(|name| {
        let schema = match *name {
            "page_size" => json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 50 }),
            name => match words(name) {
                Some(words) => json!({ "type": "string", "enum": words }),
                None => json!({ "type": "string" }),
            },
        };
        json!({ "name": name, "in": "query", "schema": schema })
    });
    let key = (route.method != Method::GET).then(|| {
        json!({
            "name": "Idempotency-Key", "in": "header", "schema": { "type": "string", "maxLength": 255 },
            "description": "The same request under the same key is carried out once within a day.",
        })
    });
    let last = (route.path == EVENTS).then(|| {
        json!({
            "name": events::LAST_EVENT_ID, "in": "header", "schema": { "type": "string", "pattern": "^[0-9]+$" },
        })
    });
    of_path.chain(of_query).chain(key).chain(last).collect()
}

/// The one answer that never ends.
const EVENTS: &str = "/v1/events";

/// The filters that take one of a few words.
fn words(filter: &str) -> Option<&'static [&'static str]> {
    match filter {
        "state" => Some(&calls::STATES),
        "status" => Some(&activeflows::STATUSES),
        "end_reason" => Some(&activeflows::END_REASONS),
        "reference_type" => Some(&activeflows::REFERENCE_TYPES),
        _ => None,
    }
}

fn body(route: &Route) -> Option<Value> {
    match route.body {
        Body::None => None,
        Body::Json(schema) => {
            let mut schema = schema().to_value();
            let needs = schema.get("required").is_some();
            if let Some(schema) = schema.as_object_mut() {
                schema.remove("$schema");
            }
            Some(json!({ "required": needs, "content": { "application/json": { "schema": schema } } }))
        }
        Body::Document => Some(json!({
            "required": true,
            "content": {
                "application/json": { "schema": { "type": "object" } },
                "application/yaml": { "schema": { "type": "string" } },
            },
        })),
    }
}

fn responses(route: &Route) -> Map<String, Value> {
    let mut responses = Map::new();
    for (status, what) in route.answers {
        let mut answer = json!({ "description": what });
        if let Some(content) = answers::content(route, *status) {
            answer["content"] = content;
        }
        responses.insert(status.to_string(), answer);
    }
    let of_all = [Code::InvalidRequest, Code::Unauthorized, Code::Forbidden];
    let of_changes =
        [Code::TooLarge, Code::UnsupportedMediaType, Code::IdempotencyKeyReused, Code::Unavailable];
    let changes = route.method != Method::GET;
    let codes = of_all.iter().chain(of_changes.iter().filter(|_| changes)).chain(route.refusals);
    let mut by_status: std::collections::BTreeMap<u16, Vec<&str>> = std::collections::BTreeMap::new();
    for code in codes {
        by_status.entry(code.status().as_u16()).or_default().push(code.word());
    }
    for (status, words) in by_status {
        let refusal = json!({
            "description": words.join(", "),
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
        });
        responses.insert(status.to_string(), refusal);
    }
    responses
}

/// RFC 9457, with our code and, for documents, the positions.
fn problem() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    json!({
        "type": "object",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "code": { "enum": codes },
            "detail": { "type": "string" },
            "errors": { "type": "array", "items": { "$ref": "#/components/schemas/Diagnostic" } },
            "warnings": { "type": "array", "items": { "$ref": "#/components/schemas/Diagnostic" } },
            "network_status": { "type": "integer" },
            "network_code": { "type": ["integer", "null"] },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_described_once_and_its_schema_stands_by_itself() {
        let document = document();
        let mut described = 0;
        for (_, path) in document["paths"].as_object().unwrap() {
            described += path.as_object().unwrap().len();
        }
        assert_eq!(described, routes().len(), "two routes share a path and a method");
        let ids: std::collections::BTreeSet<String> = routes().into_iter().map(operation_id).collect();
        assert_eq!(ids.len(), routes().len());
        for route in routes() {
            let method = route.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][route.path][&method];
            assert!(
                operation["summary"].as_str().is_some_and(|about| about.ends_with('.')),
                "{}",
                route.path
            );
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let content = &answer["content"];
                let is_said = content.as_object().is_some_and(|content| !content.is_empty());
                assert_eq!(is_said, status != "204" && status != "304", "{} {status}", route.path);
            }
        }
        let begin = &document["paths"]["/v1/activeflows"]["post"];
        let schema = &begin["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["variables"]["type"], json!(["object", "null"]));
        let refs = document.to_string().matches("\"$ref\":\"#/$defs").count();
        assert_eq!(refs, 0, "a reference into a schema would not be found from the document's root");
    }
}
