//! What each answer looks like: schemas that are checked against every answer of the end-to-end tests.

use serde_json::{Value, json};

use crate::web::route::Route;

/// The content of an answer: its media type and schema; none where there is no body.
pub(super) fn content(route: &Route, status: u16) -> Option<Value> {
    let method = route.method.as_str();
    let schema = match (method, route.path, status) {
        (_, _, 204 | 304) => return None,
        ("GET", "/v1/calls/{call}/recordings/{file}", _) => {
            return Some(json!({ "audio/wav": { "schema": { "type": "string", "format": "binary" } } }));
        }
        ("GET", "/metrics", _) => return Some(json!({ "text/plain": { "schema": { "type": "string" } } })),
        ("GET", "/v1/events", _) => {
            return Some(json!({ "text/event-stream": { "schema": { "type": "string" } } }));
        }
        ("GET", "/v1/about", _) => of(
            json!({ "version": { "type": "string" }, "role": { "enum": ["read", "operate", "admin"] } }),
            &[],
        ),
        ("GET", "/v1/levels", _) => of(
            json!({ "result": { "type": "array", "items": {
            "type": "object",
            "required": ["sid"],
            "properties": { "sid": { "type": "string" } },
            "additionalProperties": true,
        } } }),
            &[],
        ),
        ("GET", "/v1/calls", _) => page("Call"),
        ("GET", "/v1/calls/{call}/timeline", _) => reference("Timeline"),
        (_, "/v1/calls" | "/call/outbound", _) => reference("Call"),
        (_, path, _) if path.starts_with("/v1/calls/{call}") => reference("Call"),
        (_, "/v1/activeflows/{id}/outline" | "/v1/flows/{id}/outline", _) => reference("Outline"),
        ("GET", "/v1/activeflows", _) => page("ActiveflowRow"),
        (_, path, _) if path.starts_with("/v1/activeflows") => reference("Activeflow"),
        ("GET", "/v1/flows", _) => page("WorkflowRow"),
        (_, "/v1/flows/check", _) => reference("Report"),
        (_, "/v1/flows/{id}", _) => reference("Workflow"),
        ("GET", "/v1/dead-letters", _) => page("DeadLetter"),
        (_, "/v1/dead-letters/{id}/redrive", _) => reference("DeadLetter"),
        (_, "/v1/drain", _) => reference("Drain"),
        (_, "/openapi.json", _) => json!({ "type": "object" }),
        // A test finds it.
        _ => return Some(json!({})),
    };
    Some(json!({ "application/json": { "schema": schema } }))
}

/// Every schema that an answer refers to.
pub(super) fn schemas() -> Value {
    let time = || json!({ "type": "string", "format": "date-time" });
    let time_or_null = || json!({ "type": ["string", "null"], "format": "date-time" });
    let id = || json!({ "type": "string", "format": "uuid" });
    let id_or_null = || json!({ "type": ["string", "null"], "format": "uuid" });
    let text_or_null = || json!({ "type": ["string", "null"] });
    let anything = || json!({ "type": "object", "additionalProperties": true });
    let count = || json!({ "type": "integer", "minimum": 0 });
    let words = || json!({ "type": "array", "items": { "type": "string" } });
    json!({
        "Call": of(json!({
            "sid": { "type": "string" },
            "workflow": { "type": "string" },
            "sub_workflow": text_or_null(),
            "state": { "enum": ["connecting", "active", "stopping", "ended"] },
            "status": {
                "description": "What the network said last.",
                "enum": ["queued", "initiated", "ringing", "in-progress", "completed", "busy", "failed", "no-answer", "canceled", null],
            },
            "from": { "type": "string" },
            "to": { "type": "string" },
            "direction": { "type": "string" },
            "exchanges": { "type": "array", "items": of(json!({
                "exchange": count(),
                "verbs": { "type": "array" },
                "ending": { "enum": ["stream", "return", "hangup", "reject"] },
                "given_at": time(),
                "returned": { "type": "boolean" },
                "stream_started": { "type": "boolean" },
            }), &[]) },
            "streams": { "type": "array", "items": of(json!({
                "stream_sid": { "type": "string" },
                "exchange": count(),
                "started_at": time(),
                "ended_at": time_or_null(),
                "stopped": { "type": "boolean" },
            }), &[]) },
            "media": of(json!({
                "frames_in": count(),
                "frames_out": count(),
                "frames_dropped": count(),
                "stream_up": { "type": "boolean" },
                "playing": { "type": "boolean" },
                "levels": { "type": ["object", "null"], "additionalProperties": true },
            }), &["levels", "frames_in", "frames_out", "frames_dropped", "stream_up", "playing"]),
            "digits": { "type": "string" },
            "current_action": { "oneOf": [{ "type": "null" }, of(json!({
                "id": { "type": "string" },
                "type": { "type": "string" },
                "name": text_or_null(),
                "started_at": time(),
            }), &[])] },
            "recordings": { "type": "array", "items": { "$ref": "#/components/schemas/Recording" } },
            "activeflows": { "type": "array", "items": id() },
            "end_reason": { "enum": [
                "completed", "caller_hangup", "busy", "failed", "no_answer", "canceled", "hangup", "max_duration",
                "idle_timeout", "no_return", "internal", "rejected", null,
            ] },
            "completion": { "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Completion" }] },
            "started_at": time(),
            "ended_at": time_or_null(),
            "deferred": {
                "type": "boolean",
                "description": "After `hangup` and `say`: it has its effect at the network's next request.",
            },
            "dropped_variables": {
                "type": "array", "items": { "type": "string" },
                "description": "Names that were given and belong to the runtime.",
            },
        }), &[
            // A call that was just placed may not be known by more than its id.
            "workflow", "sub_workflow", "state", "status", "from", "to", "direction", "exchanges", "streams", "media", "digits",
            "current_action", "recordings", "activeflows", "end_reason", "completion", "started_at", "ended_at", "deferred",
            "dropped_variables",
        ]),
        "Recording": of(json!({
            "source": { "enum": ["stream", "network"] },
            "file": { "type": "string" },
            "bytes": count(),
            "seconds": { "type": ["number", "null"] },
            "gaps": { "type": "array", "items": of(json!({ "at_ms": count(), "ms": count() }), &[]) },
            "sid": { "type": "string" },
            "url": text_or_null(),
        }), &["file", "bytes", "gaps", "sid", "url"]),
        "Completion": of(json!({
            "callSid": { "type": "string" },
            "accountSid": { "type": "string" },
            "from": { "type": "string" },
            "to": { "type": "string" },
            "direction": { "type": "string" },
            "callStatus": { "type": "string" },
            "callDuration": { "type": ["integer", "null"] },
            "startedAt": time(),
            "endedAt": time(),
            "endReason": { "type": "string" },
            "subWorkflow": text_or_null(),
            "subWorkflowStatus": text_or_null(),
            "subWorkflowJobStatus": text_or_null(),
            "subWorkflowOutputs": {},
            "digits": { "type": "string" },
            "recordings": { "type": "array", "items": { "$ref": "#/components/schemas/Recording" } },
        }), &[]),
        "Timeline": of(json!({
            "result": { "type": "array", "items": {
                "type": "object",
                "required": ["at", "event", "activeflow_id"],
                "properties": {
                    "at": time(),
                    "event": { "type": "string", "description": "What happened; the other members are its own." },
                    "activeflow_id": id_or_null(),
                },
                "additionalProperties": true,
            } },
            "next_page_token": { "type": "null" },
            "dropped": { "type": "integer", "minimum": 0, "description": "Rows that stood before these." },
        }), &[]),
        "Activeflow": activeflow(&[]),
        "ActiveflowRow": activeflow(&["executed_actions", "variables", "stack_map"]),
        "Step": of(json!({
            "id": { "type": "string" },
            "type": { "type": "string" },
            "name": text_or_null(),
            "parameters": anything(),
            "option": { "type": "object", "additionalProperties": true, "description": "The same, as one dialect calls it." },
            "started_at": time_or_null(),
            "ended_at": time_or_null(),
            "outcome": { "type": ["string", "null"] },
            "output": {},
            "error": of(json!({ "class": { "type": "string" }, "message": { "type": "string" }, "output": {} }), &["output"]),
            "attempts": count(),
            "missing": words(),
            "dropped": words(),
        }), &["option", "output", "error"]),
        "Outline": of(json!({
            "label": text_or_null(),
            "triggers": { "type": "array", "items": of(json!({ "type": { "type": "string" }, "name": { "type": "string" } }), &[]) },
            "actions": { "type": "array", "items": { "$ref": "#/components/schemas/OutlineAction" } },
        }), &[]),
        "OutlineAction": of(json!({
            "id": { "type": "string" },
            "type": { "type": "string" },
            "name": text_or_null(),
            "label": text_or_null(),
            "parameters": anything(),
            "when": {},
            "next": text_or_null(),
            "falls_through": { "type": "boolean", "description": "The action after it may follow." },
            "jumps": { "type": "array", "items": of(json!({ "label": { "type": "string" }, "to": { "type": "string" } }), &[]) },
            "lists": { "type": "array", "items": of(json!({
                "label": { "type": "string" },
                "actions": { "type": "array", "items": { "$ref": "#/components/schemas/OutlineAction" } },
            }), &[]) },
        }), &[]),
        "WorkflowRow": workflow(false),
        "Workflow": workflow(true),
        "Report": of(json!({
            "ok": { "type": "boolean" },
            "errors": { "type": "array", "items": { "$ref": "#/components/schemas/Diagnostic" } },
            "warnings": { "type": "array", "items": { "$ref": "#/components/schemas/Diagnostic" } },
        }), &[]),
        "Diagnostic": of(json!({
            "file": { "type": "string" },
            "line": count(),
            "column": count(),
            "path": { "type": "string" },
            "code": { "type": "string" },
            "message": { "type": "string" },
            "suggestion": { "type": "string" },
        }), &["suggestion"]),
        "DeadLetter": of(json!({
            "id": id(),
            "kind": { "enum": ["delivery", "step"] },
            "method": { "type": "string" },
            "uri": { "type": "string" },
            "activeflow_id": id(),
            "action": of(json!({ "id": { "type": "string" }, "type": { "type": "string" }, "name": text_or_null() }), &[]),
            "attempts": count(),
            "error": text_or_null(),
            "tm_create": time(),
            "retried_as": id(),
        }), &["method", "uri", "activeflow_id", "action", "retried_as"]),
        "Drain": of(json!({ "draining": { "type": "boolean" }, "calls": count(), "workflows": count() }), &[]),
    })
}

fn activeflow(left_out: &[&str]) -> Value {
    let time = || json!({ "type": "string", "format": "date-time" });
    let text_or_null = || json!({ "type": ["string", "null"] });
    let id_or_null = || json!({ "type": ["string", "null"], "format": "uuid" });
    let count = || json!({ "type": "integer", "minimum": 0 });
    let mut properties = json!({
        "id": { "type": "string", "format": "uuid" },
        "flow_id": text_or_null(),
        "status": { "enum": ["running", "ended"] },
        "end_reason": { "enum": ["completed", "stopped", "call_ended", "canceled", "failed", "limit", null] },
        "end_detail": text_or_null(),
        "reference_type": { "type": "string" },
        "reference_id": { "type": "string" },
        "reference_activeflow_id": id_or_null(),
        "retry_of": id_or_null(),
        "retried_as": id_or_null(),
        "complete_count": count(),
        "on_complete_flow_id": text_or_null(),
        "current_action": { "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Step" }] },
        "executed_actions": { "type": "array", "items": { "$ref": "#/components/schemas/Step" } },
        "executed_actions_dropped": count(),
        "stack_map": { "type": "object", "additionalProperties": of(json!({
            "actions": { "type": "array", "items": { "type": "object", "additionalProperties": true } },
            "current_index": count(),
            "return_stack": text_or_null(),
            "return_action": text_or_null(),
        }), &[]) },
        "current_stack_id": text_or_null(),
        "variables": { "type": "object", "additionalProperties": true },
        "outputs": { "type": ["object", "null"], "additionalProperties": true },
        "execute_count": count(),
        "tm_create": time(),
        "tm_update": time(),
        "tm_end": { "type": ["string", "null"], "format": "date-time" },
        "dropped_variables": {
            "type": "array", "items": { "type": "string" },
            "description": "After its begin: names that were given and belong to the runtime.",
        },
    });
    if let Some(properties) = properties.as_object_mut() {
        properties.retain(|name, _| !left_out.contains(&name.as_str()));
    }
    of(properties, &["retried_as", "dropped_variables"])
}

fn workflow(with_document: bool) -> Value {
    let diagnostics = || json!({ "type": "array", "items": { "$ref": "#/components/schemas/Diagnostic" } });
    let time = || json!({ "type": "string", "format": "date-time" });
    let mut properties = json!({
        "id": { "type": "string" },
        "label": { "type": ["string", "null"] },
        "source": { "enum": ["file", "api"] },
        "document": {},
        "errors": diagnostics(),
        "warnings": diagnostics(),
        "tm_create": time(),
        "tm_update": time(),
    });
    if let Some(properties) = properties.as_object_mut().filter(|_| !with_document) {
        properties.remove("document");
    }
    of(properties, &[])
}

/// An object with these members, all of them there but for the optional ones.
fn of(properties: Value, optional: &[&str]) -> Value {
    let names = properties.as_object().into_iter().flat_map(|properties| properties.keys());
    let required: Vec<&String> = names.filter(|name| !optional.contains(&name.as_str())).collect();
    json!({ "type": "object", "required": required, "properties": properties })
}

fn page(of_what: &str) -> Value {
    of(
        json!({
            "result": { "type": "array", "items": reference(of_what) },
            "next_page_token": { "type": ["string", "null"] },
        }),
        &[],
    )
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}
