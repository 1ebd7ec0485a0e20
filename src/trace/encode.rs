//! Spans as OTLP says them (opentelemetry-proto 1.x): one request, as protobuf or as JSON.
//!
//! Six messages of a dozen fields are written here by hand; a generated encoder would bring a code generator's
//! run-time and two more ways to be of another version than the rest.

use holdline_core::trace::{Kind, Span, SpanId, TraceId, Value};
use serde_json::json;

/// Who speaks: attributes of the process, such as `service.name`.
pub type Resource = Vec<(String, String)>;

const SCOPE: &str = "holdline";
const KIND_INTERNAL: u64 = 1;
const KIND_SERVER: u64 = 2;
const STATUS_ERROR: u64 = 2;
const NANOS_A_MILLI: u64 = 1_000_000;

pub fn json(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let resource: Vec<_> = resource
        .iter()
        .map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } }))
        .collect();
    let request = json!({ "resourceSpans": [{
        "resource": { "attributes": resource },
        "scopeSpans": [{
            "scope": { "name": SCOPE, "version": env!("CARGO_PKG_VERSION") },
            "spans": spans.iter().map(json_span).collect::<Vec<_>>(),
        }],
    }] });
    request.to_string().into_bytes()
}

fn json_span(span: &Span) -> serde_json::Value {
    let attributes: Vec<_> = span
        .attributes
        .iter()
        .map(|(key, value)| {
            let value = match value {
                Value::Text(text) => json!({ "stringValue": text }),
                // 64-bit integers are text in protobuf's JSON.
                Value::Number(number) => json!({ "intValue": number.to_string() }),
                Value::Truth(truth) => json!({ "boolValue": truth }),
            };
            json!({ "key": key, "value": value })
        })
        .collect();
    let links: Vec<_> = span
        .links
        .iter()
        .map(|(trace, id)| json!({ "traceId": hex(&trace.0), "spanId": hex(&id.0) }))
        .collect();
    let mut said = json!({
        "traceId": hex(&span.trace.0),
        "spanId": hex(&span.id.0),
        "name": span.name,
        "kind": kind(span.kind),
        "startTimeUnixNano": nanos(span.began_ms).to_string(),
        "endTimeUnixNano": nanos(span.ended_ms.max(span.began_ms)).to_string(),
        "attributes": attributes,
        "links": links,
        "status": {},
    });
    if let Some(parent) = &span.parent {
        said["parentSpanId"] = json!(hex(&parent.0));
    }
    if let Some(error) = span.error {
        said["status"] = json!({ "code": STATUS_ERROR, "message": error });
    }
    said
}

pub fn protobuf(resource: &Resource, spans: &[Span]) -> Vec<u8> {
    let mut of_resource = Message::default();
    for (key, value) in resource {
        of_resource.message(1, &attribute(key, &Value::Text(value.clone())));
    }
    let mut scope = Message::default();
    scope.bytes(1, SCOPE.as_bytes());
    scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
    let mut scope_spans = Message::default();
    scope_spans.message(1, &scope);
    for span in spans {
        scope_spans.message(2, &protobuf_span(span));
    }
    let mut resource_spans = Message::default();
    resource_spans.message(1, &of_resource);
    resource_spans.message(2, &scope_spans);
    let mut request = Message::default();
    request.message(1, &resource_spans);
    request.0
}

fn protobuf_span(span: &Span) -> Message {
    let mut said = Message::default();
    said.bytes(1, &span.trace.0);
    said.bytes(2, &span.id.0);
    if let Some(parent) = &span.parent {
        said.bytes(4, &parent.0);
    }
    said.bytes(5, span.name.as_bytes());
    said.number(6, kind(span.kind));
    said.fixed(7, nanos(span.began_ms));
    said.fixed(8, nanos(span.ended_ms.max(span.began_ms)));
    for (key, value) in &span.attributes {
        said.message(9, &attribute(key, value));
    }
    for link in &span.links {
        said.message(13, &protobuf_link(link));
    }
    if let Some(error) = span.error {
        let mut status = Message::default();
        status.bytes(2, error.as_bytes());
        status.number(3, STATUS_ERROR);
        said.message(15, &status);
    }
    said
}

fn protobuf_link((trace, span): &(TraceId, SpanId)) -> Message {
    let mut link = Message::default();
    link.bytes(1, &trace.0);
    link.bytes(2, &span.0);
    link
}

fn attribute(key: &str, value: &Value) -> Message {
    let mut any = Message::default();
    match value {
        Value::Text(text) => any.bytes(1, text.as_bytes()),
        Value::Truth(truth) => any.number(2, u64::from(*truth)),
        Value::Number(number) => any.number(3, *number),
    }
    let mut said = Message::default();
    said.bytes(1, key.as_bytes());
    said.message(2, &any);
    said
}

fn kind(kind: Kind) -> u64 {
    match kind {
        Kind::Internal => KIND_INTERNAL,
        Kind::Server => KIND_SERVER,
    }
}

fn nanos(ms: u64) -> u64 {
    ms.saturating_mul(NANOS_A_MILLI)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A protobuf message as it is written: fields in order, each with its number and its wire type.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, field: u64, value: u64) {
        self.varint(field << 3);
        self.varint(value);
    }

    fn fixed(&mut self, field: u64, value: u64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }

    #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}
