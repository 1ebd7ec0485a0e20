//! A whole call as its operator watches it: the lines of its log, and its trace at a collector. The server is a process
//! of its own, as its operator starts it.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use holdline_harness::network::sign;
use serde_json::{Value, json};
use support::served::Home;
use support::until;
use support::wire::{Asker, Caller, Message};

const AUTH_TOKEN: &str = "0123456789abcdef0123456789abcdef";
const CONFIG: &str = "\
[public]
bind = \"127.0.0.1:0\"
[control]
bind = \"127.0.0.1:0\"
tokens = [{ token = \"a-token-of-the-operator\", role = \"admin\" }]
[twilio]
auth_tokens = [\"0123456789abcdef0123456789abcdef\"]
[log]
level = \"trace\"
format = \"json\"
";
const MAIN: &str = "\
triggers: [{ type: twilio/inboundCall, name: incomingCall, parameters: { subWorkflow: asks } }]
tasks:
  - { type: variable_set, name: kept, parameters: { key: kept, value: '${incomingCall.digits}' } }
  - { type: http/request, name: nobody, on_error: continue, parameters: { url: 'http://10.0.0.1/x' } }
";
const ASKS: &str = "\
media: always
tasks:
  - { type: digits_receive, name: pin, parameters: { length: 12, duration: 30000 } }
  - { type: echo }
";
/// What a caller types; nobody may find it in a log or a trace.
const DIGITS: &str = "739118264057";
const FRAMES: usize = 30;

/// One call from its first webhook to its end; says its CallSid and the secrets in its URLs.
async fn call(public: &str, control: &str) -> (String, Vec<String>) {
    let asker = Asker::new(public, Some(AUTH_TOKEN));
    let (call_sid, stream_sid) = (sign::sid("CA", "watched"), sign::sid("MZ", "watched"));
    let url = asker.arrive("main", &call_sid).await.stream_url();
    let token = url.rsplit('/').next().unwrap().to_owned();
    let socket = asker.open(&url).await.unwrap();
    let mut caller = Caller { asker, call_sid, stream_sid, socket };
    caller.start().await;
    for digit in DIGITS.chars() {
        caller.press(digit).await;
    }
    let mut echoed = 0;
    // The digits end one step, and the echo begins: frames before it are heard by nobody.
    until("the echo is on", async || {
        caller.speak(&[7; 160]).await;
        let came = tokio::time::timeout(std::time::Duration::from_millis(200), caller.next()).await;
        matches!(came, Ok(Some(Message::Media(_)))).then_some(())
    })
    .await;
    while echoed < FRAMES {
        caller.speak(&[7; 160]).await;
        if matches!(caller.next().await, Some(Message::Media(_))) {
            echoed += 1;
        }
    }
    let call = caller.call_sid.clone();
    caller.hang_up().await;
    let operator = Asker::new(control, None);
    until("the main workflow has ended", async || {
        let bearer = [("authorization", "Bearer a-token-of-the-operator")];
        let list = operator.get_with("/v1/activeflows?flow_id=main", &bearer).await.json();
        (list["result"][0]["status"] == "ended").then_some(())
    })
    .await;
    (call, vec![token])
}

#[tokio::test]
async fn a_call_is_logged_in_lines_that_name_it_and_nobody_who_speaks() {
    let home = home();
    let served = home.serve();
    let (call, tokens) = call(&served.public, &served.control).await;
    served.end();
    let log = home.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let of_call: Vec<&Value> = lines.iter().filter(|line| line["span"]["call"] == call.as_str()).collect();
    let said = |message: &str| {
        let found: Vec<&Value> = of_call.iter().copied().filter(|line| line["message"] == message).collect();
        assert_eq!(found.len(), 1, "{message}: {of_call:#?}");
        found[0].clone()
    };
    let arrived = said("call arrived");
    assert_eq!((&arrived["from"], &arrived["to"]), (&json!("***00"), &json!("***99")));
    assert_eq!((&arrived["workflow"], &arrived["direction"]), (&json!("main"), &json!("inbound")));
    let ended = said("call ended");
    assert_eq!((&ended["end_reason"], &ended["level"]), (&json!("caller_hangup"), &json!("INFO")));
    for count in ["duration_ms", "frames_in", "frames_out", "frames_dropped"] {
        assert!(ended[count].is_u64(), "{count}: {ended}");
    }
    assert!(ended["frames_out"].as_u64().unwrap() > FRAMES as u64, "{ended}");
    assert!(ended["frames_in"].as_u64() >= ended["frames_out"].as_u64(), "{ended}");
    assert!(log.contains("\"TRACE\""), "it logs all that it can");
    let traces =
        [AUTH_TOKEN, "a-token-of-the-operator", "+14155550100", "14155550100", "14155550199", DIGITS];
    for trace in traces.into_iter().chain(tokens.iter().map(String::as_str)) {
        let shown: Vec<&str> = log.lines().filter(|line| line.contains(trace)).take(2).collect();
        assert!(shown.is_empty(), "{trace} in {shown:#?}");
    }
}

#[tokio::test]
async fn a_call_is_a_trace_with_a_span_a_step_and_a_link_to_its_main_workflow() {
    for protocol in ["http/json", "http/protobuf"] {
        let (endpoint, requests) = collector();
        let home = home();
        let served = home.serve_with(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=of%20the%20collector"),
            ("OTEL_SERVICE_NAME", "phones"),
            ("OTEL_BSP_SCHEDULE_DELAY", "50"),
        ]);
        let (call, tokens) = call(&served.public, &served.control).await;
        let control = Asker::new(&served.control, None);
        let page = until("the spans are exported", async || {
            let bearer = [("authorization", "Bearer a-token-of-the-operator")];
            let page = support::exposition::read(&control.get_with("/metrics", &bearer).await.body);
            let exported = page.sum("holdline_trace_spans_total", &[("outcome", "exported")]);
            (exported >= 8.0).then_some(page)
        })
        .await;
        assert_eq!(page.sum("holdline_trace_spans_total", &[("outcome", "failed")]), 0.0);
        served.end();
        let mut spans: Vec<Value> = Vec::new();
        let mut raw = Vec::new();
        for request in requests.try_iter() {
            assert!(request.head.starts_with("POST /v1/traces "), "{}", request.head);
            assert!(request.head.contains("x-key: of the collector"), "{}", request.head);
            let body = match protocol {
                "http/json" => serde_json::from_slice(&request.body).unwrap(),
                _ => protobuf::request(&request.body),
            };
            let resource = &body["resourceSpans"][0]["resource"]["attributes"];
            let named = json!({ "key": "service.name", "value": { "stringValue": "phones" } });
            assert!(resource.as_array().unwrap().contains(&named), "{resource}");
            spans.extend(body["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap().clone());
            raw.extend_from_slice(&request.body);
        }
        judge(&call, &spans);
        let raw = String::from_utf8_lossy(&raw).into_owned();
        for trace in
            ["14155550100", "14155550199", DIGITS, AUTH_TOKEN].into_iter().chain(tokens.iter().map(|t| &**t))
        {
            assert!(!raw.contains(trace), "{trace} in {raw}");
        }
    }
}

#[tokio::test]
async fn a_collector_that_is_away_holds_up_no_call() {
    // A port at which nobody listens any more.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let endpoint = format!("http://{nobody}");
    let home = home();
    let served = home
        .serve_with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "10")]);
    call(&served.public, &served.control).await;
    let control = Asker::new(&served.control, None);
    until("the spans are given up", async || {
        let bearer = [("authorization", "Bearer a-token-of-the-operator")];
        let page = support::exposition::read(&control.get_with("/metrics", &bearer).await.body);
        (page.sum("holdline_trace_spans_total", &[("outcome", "failed")]) > 0.0).then_some(())
    })
    .await;
    served.end();
    let log = home.log();
    assert_eq!(log.matches("traces are not taken by the collector").count(), 1, "it is said once in a while");
}

fn judge(call: &str, spans: &[Value]) {
    let name = |span: &Value| span["name"].as_str().unwrap().to_owned();
    let by_name: BTreeMap<String, &Value> = spans.iter().map(|span| (name(span), span)).collect();
    let get = |name: &str| *by_name.get(name).unwrap_or_else(|| panic!("no span {name}: {spans:#?}"));
    let attribute = |span: &Value, key: &str| {
        let attributes = span["attributes"].as_array().unwrap();
        let found = attributes.iter().find(|attribute| attribute["key"] == key);
        found.unwrap_or_else(|| panic!("no {key}: {span}"))["value"].clone()
    };
    let root = get("call main");
    let trace = root["traceId"].as_str().unwrap();
    assert_eq!(trace, call[2..].to_lowercase(), "whoever knows the call finds its trace");
    assert!(root["parentSpanId"].as_str().unwrap_or_default().is_empty() && root["kind"] == 2);
    assert_eq!(attribute(root, "holdline.call.end_reason")["stringValue"], "caller_hangup");
    assert_eq!(attribute(root, "holdline.call.sid")["stringValue"], call);
    let flow = get("activeflow asks");
    assert_eq!((&flow["traceId"], &flow["parentSpanId"]), (&root["traceId"], &root["spanId"]));
    for step in ["digits_receive", "echo"] {
        let span = get(step);
        assert_eq!((&span["traceId"], &span["parentSpanId"]), (&root["traceId"], &flow["spanId"]), "{step}");
        let at = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap();
        assert!(
            at("startTimeUnixNano") <= at("endTimeUnixNano")
                && at("startTimeUnixNano") > 1_600_000_000_000_000_000
        );
    }
    assert_eq!(attribute(get("digits_receive"), "holdline.action.name")["stringValue"], "pin");
    assert_eq!(attribute(get("echo"), "holdline.step.outcome")["stringValue"], "interrupted");
    assert_eq!(get("stream")["parentSpanId"], root["spanId"]);
    // The main workflow has a trace of its own, and each leads to the other.
    let main = get("activeflow main");
    assert_ne!(main["traceId"], root["traceId"]);
    assert_eq!(
        main["traceId"],
        attribute(main, "holdline.activeflow.id")["stringValue"].as_str().unwrap().replace('-', "")
    );
    for (from, to) in [(root, main), (main, root)] {
        let link = &from["links"][0];
        assert_eq!((&link["traceId"], &link["spanId"]), (&to["traceId"], &to["spanId"]), "{from}");
    }
    let asked = get("http/request");
    assert_eq!((&asked["traceId"], &asked["status"]["code"]), (&main["traceId"], &json!(2)), "{asked}");
    assert_eq!(attribute(asked, "error.type")["stringValue"], "rejected");
    assert_eq!(get("wait for the call")["traceId"], main["traceId"]);
    let mut ids: Vec<String> =
        spans.iter().map(|span| format!("{}{}", span["traceId"], span["spanId"])).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), spans.len(), "each span once, under an id of its own");
}

fn home() -> Home {
    let home = Home::new(&[("main", MAIN), ("asks", ASKS)], "");
    fs::write(home.path().join("holdline.toml"), CONFIG).unwrap();
    home
}

struct Request {
    head: String,
    body: Vec<u8>,
}

/// Takes whatever it is sent, and keeps it.
fn collector() -> (String, Receiver<Request>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {
                let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
                length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            // Told before it is answered: whoever counts an answer finds the request here.
            if tell.send(Request { head, body }).is_err() {
                return;
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        }
    });
    (endpoint, told)
}

/// Reads the few messages of OTLP that are sent, into the form that its JSON has. By the wire format alone: it shares no
/// line with the writer.
mod protobuf {
    use serde_json::{Map, Value, json};

    enum Field {
        Number(u64),
        Bytes(Vec<u8>),
    }

    fn fields(mut bytes: &[u8]) -> Vec<(u64, Field)> {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let field = match key & 7 {
                0 => Field::Number(varint(&mut bytes)),
                1 => {
                    let (number, rest) = bytes.split_first_chunk::<8>().expect("eight bytes");
                    bytes = rest;
                    Field::Number(u64::from_le_bytes(*number))
                }
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).unwrap();
                    let (field, rest) =
                        bytes.split_at_checked(length).expect("as many bytes as were promised");
                    bytes = rest;
                    Field::Bytes(field.to_vec())
                }
                other => panic!("wire type {other}"),
            };
            fields.push((key >> 3, field));
        }
        fields
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = bytes.split_first().expect("a whole number");
            *bytes = rest;
            number |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return number;
            }
        }
        panic!("a number of more than ten bytes");
    }

    fn all(fields: &[(u64, Field)], number: u64, read: impl Fn(&[u8]) -> Value) -> Vec<Value> {
        let of = fields.iter().filter(|(field, _)| *field == number);
        of.map(|(_, field)| match field {
            Field::Bytes(bytes) => read(bytes),
            Field::Number(_) => panic!("field {number} is no message"),
        })
        .collect()
    }

    fn text(bytes: &[u8]) -> Value {
        json!(String::from_utf8(bytes.to_vec()).unwrap())
    }

    fn hex(bytes: &[u8]) -> Value {
        json!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    }

    fn number(fields: &[(u64, Field)], number: u64) -> Option<u64> {
        fields.iter().find_map(|(field, value)| match value {
            Field::Number(value) if *field == number => Some(*value),
            _ => None,
        })
    }

    pub fn request(bytes: &[u8]) -> Value {
        json!({ "resourceSpans": all(&fields(bytes), 1, |bytes| {
            let of = fields(bytes);
            json!({
                "resource": all(&of, 1, |bytes| json!({ "attributes": all(&fields(bytes), 1, attribute) }))[0],
                "scopeSpans": all(&of, 2, |bytes| json!({ "spans": all(&fields(bytes), 2, span) })),
            })
        }) })
    }

    fn span(bytes: &[u8]) -> Value {
        let of = fields(bytes);
        let mut span = Map::new();
        for (field, name) in [(1, "traceId"), (2, "spanId"), (4, "parentSpanId")] {
            span.extend(all(&of, field, hex).pop().map(|id| (name.to_owned(), id)));
        }
        span.extend(all(&of, 5, text).pop().map(|name| ("name".to_owned(), name)));
        span.insert("kind".to_owned(), json!(number(&of, 6)));
        for (field, name) in [(7, "startTimeUnixNano"), (8, "endTimeUnixNano")] {
            span.insert(name.to_owned(), json!(number(&of, field).unwrap().to_string()));
        }
        span.insert("attributes".to_owned(), json!(all(&of, 9, attribute)));
        let link = |bytes: &[u8]| {
            let of = fields(bytes);
            json!({ "traceId": all(&of, 1, hex)[0], "spanId": all(&of, 2, hex)[0] })
        };
        span.insert("links".to_owned(), json!(all(&of, 13, link)));
        let status = |bytes: &[u8]| json!({ "code": number(&fields(bytes), 3) });
        span.insert("status".to_owned(), all(&of, 15, status).pop().unwrap_or(json!({})));
        Value::Object(span)
    }

    fn attribute(bytes: &[u8]) -> Value {
        let of = fields(bytes);
        let value = |bytes: &[u8]| {
            let of = fields(bytes);
            match (all(&of, 1, text).pop(), number(&of, 3), number(&of, 2)) {
                (Some(text), ..) => json!({ "stringValue": text }),
                (_, Some(number), _) => json!({ "intValue": number.to_string() }),
                (.., truth) => json!({ "boolValue": truth == Some(1) }),
            }
        };
        json!({ "key": all(&of, 1, text)[0], "value": all(&of, 2, value)[0] })
    }
}
