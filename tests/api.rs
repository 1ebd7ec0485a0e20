//! The control API as a whole, route by route from its own table, so that no route can be forgotten: who may, what is
//! refused in which words, and that every answer is one that `/openapi.json` promises.

mod support;

use std::collections::{BTreeMap, BTreeSet};

use holdline::config::{Config, JournalKind, Role, Secret, Token};
use holdline::web::control::routes;
use holdline::web::route::{Body, Route};
use reqwest::Method;
use serde_json::{Value, json};
use support::hosted::Hosted;
use support::wire::{Asker, Told};

/// Who may ask what, written down once more: a new route is a line here, and somebody has thought about it.
const ROLES: &[(&str, &str, Role)] = &[
    ("GET", "/v1/calls", Role::Read),
    ("POST", "/v1/calls", Role::Operate),
    ("POST", "/call/outbound", Role::Operate),
    ("GET", "/v1/calls/{call}", Role::Read),
    ("GET", "/v1/calls/{call}/timeline", Role::Read),
    ("GET", "/v1/calls/{call}/recordings/{file}", Role::Read),
    ("POST", "/v1/calls/{call}/hangup", Role::Operate),
    ("POST", "/v1/calls/{call}/interrupt", Role::Operate),
    ("POST", "/v1/calls/{call}/say", Role::Operate),
    ("POST", "/v1/calls/{call}/variables", Role::Operate),
    ("GET", "/v1/activeflows", Role::Read),
    ("POST", "/v1/activeflows", Role::Operate),
    ("GET", "/v1/activeflows/{id}", Role::Read),
    ("GET", "/v1/activeflows/{id}/outline", Role::Read),
    ("DELETE", "/v1/activeflows/{id}", Role::Admin),
    ("POST", "/v1/activeflows/{id}/execute", Role::Operate),
    ("POST", "/v1/activeflows/{id}/actions", Role::Operate),
    ("POST", "/v1/activeflows/{id}/stop", Role::Operate),
    ("POST", "/v1/activeflows/{id}/retry", Role::Operate),
    ("GET", "/v1/flows", Role::Read),
    ("POST", "/v1/flows/check", Role::Read),
    ("GET", "/v1/flows/{id}", Role::Read),
    ("GET", "/v1/flows/{id}/outline", Role::Read),
    ("PUT", "/v1/flows/{id}", Role::Admin),
    ("DELETE", "/v1/flows/{id}", Role::Admin),
    ("GET", "/v1/dead-letters", Role::Read),
    ("POST", "/v1/dead-letters/{id}/redrive", Role::Operate),
    ("GET", "/v1/drain", Role::Read),
    ("POST", "/v1/drain", Role::Admin),
    ("GET", "/openapi.json", Role::Read),
    ("GET", "/metrics", Role::Read),
    ("GET", "/v1/about", Role::Read),
    ("GET", "/v1/levels", Role::Read),
    ("GET", "/v1/events", Role::Read),
];

const TOKENS: [(&str, Role); 3] =
    [("a-reader", Role::Read), ("an-operator", Role::Operate), ("an-admin", Role::Admin)];
const NOBODY: &str = "01920000-0000-7000-8000-0000000000ff";
const GREETING: (&str, &str) =
    ("greeting", "tasks: [{ type: variable_set, parameters: { key: a, value: b } }]\n");

fn guarded(config: &mut Config) {
    config.journal.kind = JournalKind::Memory;
    config.control.tokens = TOKENS.map(|(token, role)| Token { token: Secret::new(token), role }).to_vec();
}

/// A path of this form that leads to nothing that is there.
fn path(route: &Route) -> String {
    let parts = route.path.split('/').map(|part| match part {
        "{id}" => NOBODY,
        "{call}" => "CA00000000000000000000000000000009",
        "{file}" => "none.wav",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

async fn ask(
    asker: &Asker,
    route: &Route,
    token: Option<&str>,
    headers: &[(&str, &str)],
    body: &str,
) -> Told {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut all: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    all.extend_from_slice(headers);
    let method: Method = route.method.as_str().parse().unwrap();
    asker.send(method, &path(route), &all, Some(body.to_owned())).await
}

fn changes(route: &Route) -> bool {
    route.method != actix_web::http::Method::GET
}

fn problem(told: &Told, route: &Route, status: u16, code: &str) {
    let name = format!("{} {}", route.method, route.path);
    assert_eq!(told.status, status, "{name}: {}", told.body);
    assert_eq!(told.header("content-type"), "application/problem+json", "{name}");
    let told = told.json();
    assert_eq!((&told["code"], &told["status"]), (&json!(code), &json!(status)), "{name}");
    assert_eq!(told["type"], format!("urn:holdline:problem:{code}"), "{name}");
    for member in ["title", "detail"] {
        assert!(told[member].as_str().is_some_and(|text| !text.is_empty()), "{name} {member}");
    }
}

#[test]
fn every_route_is_in_the_table_of_roles_once() {
    let mounted: Vec<(String, String)> =
        routes().iter().map(|route| (route.method.to_string(), route.path.to_owned())).collect();
    let listed: Vec<(String, String)> =
        ROLES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    let set = |list: &[(String, String)]| list.iter().cloned().collect::<BTreeSet<_>>();
    let (mounted_set, listed_set) = (set(&mounted), set(&listed));
    let unlisted: Vec<_> = mounted_set.difference(&listed_set).collect();
    assert!(unlisted.is_empty(), "who may ask {unlisted:?}? Say it in ROLES");
    let gone: Vec<_> = listed_set.difference(&mounted_set).collect();
    assert!(gone.is_empty(), "{gone:?} is no route any more");
    assert_eq!((mounted_set.len(), listed_set.len()), (mounted.len(), listed.len()));
}

#[tokio::test]
async fn each_route_is_open_to_its_roles_and_to_nobody_else() {
    let hosted = Hosted::start(&[GREETING], guarded);
    let asker = Asker::new(&hosted.control(), None);
    let mut asked = 0;
    for route in routes() {
        let role =
            ROLES.iter().find(|(method, path, _)| (*method, *path) == (route.method.as_str(), route.path));
        let needed = role.unwrap().2;
        let name = format!("{} {}", route.method, route.path);
        // What may end here is asked last, and only looked at here.
        let drains = name == "POST /v1/drain";
        let none = ask(&asker, route, None, &[], "").await;
        problem(&none, route, 401, "unauthorized");
        assert_eq!(none.header("www-authenticate"), "Bearer realm=\"holdline\"", "{name}");
        for wrong in ["", "a-reade", "A-READER", "an-admin2", "Bearer an-admin"] {
            let told = ask(&asker, route, Some(wrong), &[], "").await;
            problem(&told, route, 401, "unauthorized");
            assert!(told.header("www-authenticate").starts_with("Bearer realm=\"holdline\""), "{name}");
        }
        let basic = [("authorization", "Basic YW4tYWRtaW46")];
        problem(&ask(&asker, route, None, &basic, "").await, route, 401, "unauthorized");
        for (token, role) in TOKENS {
            if drains && role >= needed {
                continue;
            }
            let told = if route.path == "/v1/events" && role >= needed {
                // Its answer never ends, but for its head.
                let bearer = format!("Bearer {token}");
                asker.send(Method::HEAD, route.path, &[("authorization", &bearer)], None).await
            } else {
                ask(&asker, route, Some(token), &[], "").await
            };
            if role < needed {
                problem(&told, route, 403, "forbidden");
            } else {
                assert!(!matches!(told.status, 401 | 403), "{name} as {token}: {}", told.body);
                assert!(told.status < 500, "{name} as {token}: {}", told.body);
            }
            asked += 1;
        }
    }
    assert!(asked >= routes().len() * 3 - 1, "{asked}");
    let drain = ask(
        &asker,
        routes().iter().find(|route| (route.method.as_str(), route.path) == ("POST", "/v1/drain")).unwrap(),
        Some("an-admin"),
        &[],
        "",
    )
    .await;
    assert_eq!((drain.status, &drain.json()["draining"]), (200, &json!(true)));
}

#[tokio::test]
async fn each_route_refuses_what_it_does_not_understand_in_the_same_words() {
    let hosted = Hosted::start(&[GREETING], |config| config.journal.kind = JournalKind::Memory);
    let asker = Asker::new(&hosted.control(), None);
    let json = [("content-type", "application/json")];
    let mut methods: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for route in routes() {
        let allowed = methods.entry(route.path).or_default();
        allowed.insert(route.method.to_string());
        if route.method == actix_web::http::Method::GET {
            allowed.insert("HEAD".to_owned());
        }
        let strange = format!("{}?strange=1", path(route));
        let method: Method = route.method.as_str().parse().unwrap();
        let told = asker.send(method.clone(), &strange, &[], None).await;
        problem(&told, route, 400, "invalid_request");
        assert!(told.body.contains("strange"), "{}", told.body);
        if !changes(route) {
            continue;
        }
        problem(
            &ask(&asker, route, None, &[("content-type", "text/csv")], "a,b").await,
            route,
            415,
            "unsupported_media_type",
        );
        let much = "x".repeat(3 * 1024 * 1024);
        problem(&ask(&asker, route, None, &json, &much).await, route, 413, "too_large");
        let long = "k".repeat(256);
        for keys in [
            vec![("idempotency-key", "")],
            vec![("idempotency-key", &*long)],
            vec![("idempotency-key", "a"), ("idempotency-key", "b")],
        ] {
            let headers = [&json[..], &keys].concat();
            problem(&ask(&asker, route, None, &headers, "{}").await, route, 400, "invalid_request");
        }
        if !matches!(route.body, Body::Document) && route.path != "/v1/calls/{call}/variables" {
            for body in ["{", "[]", "7", "{\"strange\":1}"] {
                let told = ask(&asker, route, None, &json, body).await;
                problem(&told, route, 400, "invalid_request");
            }
        }
    }
    for (place, allowed) in methods {
        let route = routes().into_iter().find(|route| route.path == place).unwrap();
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            if allowed.contains(method) {
                continue;
            }
            let told = asker.send(method.parse().unwrap(), &path(route), &[], None).await;
            problem(&told, route, 405, "method_not_allowed");
            let named: BTreeSet<String> = told.header("allow").split(", ").map(str::to_owned).collect();
            assert_eq!(named, allowed, "{method} {place}");
        }
    }
    let told = asker.get("/v1/nothing").await;
    assert_eq!((told.status, told.header("content-type")), (404, "application/problem+json"));
}

#[tokio::test]
async fn each_change_has_one_effect_and_one_answer_under_its_key() {
    let hosted = Hosted::start(&[GREETING], |config| config.journal.kind = JournalKind::Memory);
    let asker = Asker::new(&hosted.control(), None);
    for route in routes().into_iter().filter(|route| changes(route) && route.path != "/v1/drain") {
        let name = format!("{} {}", route.method, route.path);
        let (body, other) = match (route.path, route.body) {
            ("/v1/activeflows", _) => (json!({ "flow_id": "greeting" }), json!({ "flow_id": "none" })),
            ("/v1/calls" | "/call/outbound", _) => (
                json!({ "to": "+14155550100", "workflow": "greeting" }),
                json!({ "to": "+1", "workflow": "greeting" }),
            ),
            ("/v1/calls/{call}/say", _) => (json!({ "text": "one" }), json!({ "text": "two" })),
            ("/v1/activeflows/{id}/actions", _) => {
                (json!({ "actions": [] }), json!({ "actions": [{ "type": "block" }] }))
            }
            (_, Body::Document) => (json!({ "tasks": [] }), json!({ "tasks": [{ "type": "block" }] })),
            _ => (json!({}), json!({ "from_action": "x", "current_action_id": "y" })),
        };
        let key = [("content-type", "application/json"), ("idempotency-key", "the same")];
        let ask = async |body: &Value| {
            let told = ask(&asker, route, None, &key, &body.to_string()).await;
            (told.status, told.body.clone(), told.header("location").to_owned())
        };
        let (first, twin) = tokio::join!(ask(&body), ask(&body));
        assert_eq!(first, twin, "{name}");
        assert_eq!(ask(&body).await, first, "{name}");
        if !matches!(route.body, Body::None) {
            let (status, told, _) = ask(&other).await;
            assert!(status == 422 && told.contains("idempotency_key_reused"), "{name}: {status} {told}");
        }
    }
    let begun = asker.get("/v1/activeflows").await.json();
    assert_eq!(begun["result"].as_array().unwrap().len(), 1, "three requests with one key begin one");
}

#[tokio::test]
async fn each_list_is_read_in_pages() {
    let hosted = Hosted::start(&[GREETING, ("other", "tasks: []\n")], |config| {
        config.journal.kind = JournalKind::Memory
    });
    let asker = Asker::new(&hosted.control(), None);
    let lists: Vec<&Route> =
        routes().into_iter().filter(|route| route.query.contains(&"page_size")).collect();
    assert!(lists.len() >= 4);
    for route in lists {
        let place = path(route);
        for size in ["0", "101", "-1", "x", "1.5"] {
            problem(&asker.get(&format!("{place}?page_size={size}")).await, route, 400, "invalid_request");
        }
        for token in ["x", "AAAA", "%00"] {
            problem(&asker.get(&format!("{place}?page_token={token}")).await, route, 400, "invalid_request");
        }
        let told = asker.get(&format!("{place}?page_size=1")).await.json();
        let members: Vec<&String> = told.as_object().unwrap().keys().collect();
        assert_eq!(members, ["result", "next_page_token"], "{place}");
    }
    let first = asker.get("/v1/flows?page_size=1").await.json();
    let token = first["next_page_token"].as_str().unwrap();
    let second = asker.get(&format!("/v1/flows?page_size=1&page_token={token}")).await.json();
    assert_ne!(first["result"][0]["id"], second["result"][0]["id"]);
    assert_eq!(second["next_page_token"], Value::Null);
}

#[tokio::test]
async fn a_key_leads_to_the_same_activeflow_also_after_a_restart() {
    let mut hosted = Hosted::start(&[GREETING, ("broken", BROKEN)], |_| ());
    let key = |word: &'static str| [("content-type", "application/json"), ("idempotency-key", word)];
    let mut begun: Vec<Vec<String>> = Vec::new();
    for round in 0..2 {
        let asker = Asker::new(&hosted.control(), None);
        let post = async |path: &str, word: &'static str, body: &Value| {
            asker.send(Method::POST, path, &key(word), Some(body.to_string())).await
        };
        let mut ids = Vec::new();
        let bodies = [
            ("by flow", json!({ "flow_id": "greeting", "variables": { "who": 1 } })),
            ("by actions", json!({ "actions": [{ "type": "block" }] })),
            ("fails", json!({ "flow_id": "broken" })),
        ];
        for (word, body) in &bodies {
            let told = post("/v1/activeflows", word, body).await;
            assert_eq!(told.status, 201, "{}", told.body);
            let id = told.json()["id"].as_str().unwrap().to_owned();
            assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7);
            ids.push(id);
        }
        // A key that this process has not seen yet; what it begins is there all the same.
        if round == 1 {
            let other = json!({ "flow_id": "greeting", "variables": { "who": 2 } });
            for word in ["kept", "kept too"] {
                let told = post("/v1/activeflows", word, &other).await;
                assert_eq!((told.status, &told.json()["code"]), (422, &json!("idempotency_key_reused")));
            }
        } else {
            for (word, body) in [("kept", &bodies[0].1), ("kept too", &bodies[1].1)] {
                assert_eq!(post("/v1/activeflows", word, body).await.status, 201);
            }
        }
        let failed = ids[2].clone();
        support::until("it has failed", async || {
            let run = asker.get(&format!("/v1/activeflows/{failed}")).await.json();
            (run["end_reason"] == "failed").then_some(())
        })
        .await;
        let told = post(&format!("/v1/activeflows/{failed}/retry"), "again", &json!({})).await;
        assert_eq!((told.status, &told.json()["retry_of"]), (201, &json!(failed)), "{}", told.body);
        ids.push(told.json()["id"].as_str().unwrap().to_owned());
        let all = asker.get("/v1/activeflows").await.json();
        assert_eq!(all["result"].as_array().unwrap().len(), 6, "nothing was begun twice");
        begun.push(ids);
        hosted = hosted.again(|_| ());
    }
    assert_eq!(begun[0], begun[1]);
}

/// Some hundreds of requests made of the description itself: whatever comes, the answer is one that it promises.
#[tokio::test]
async fn whatever_is_asked_the_answer_is_one_that_is_described() {
    let hosted = Hosted::start(&[GREETING], |config| config.journal.kind = JournalKind::Memory);
    let asker = Asker::new(&hosted.control(), None);
    let block = json!({ "actions": [{ "type": "block" }], "id": BLOCKED }).to_string();
    asker.send(Method::POST, "/v1/activeflows", &[("content-type", "application/json")], Some(block)).await;
    let mut dice = Dice(7);
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for (place, operations) in support::fits::document()["paths"].as_object().unwrap() {
        // Its answer never ends.
        if place == "/v1/events" {
            continue;
        }
        for (method, operation) in operations.as_object().unwrap() {
            for _ in 0..ROUNDS {
                let mut target = place
                    .split('/')
                    .map(|part| if part.starts_with('{') { *dice.one(&SEGMENTS) } else { part })
                    .collect::<Vec<_>>()
                    .join("/");
                let mut headers = Vec::new();
                for parameter in operation["parameters"].as_array().unwrap() {
                    let name = parameter["name"].as_str().unwrap();
                    let word = match dice.value(&parameter["schema"], 0) {
                        Value::String(word) => word,
                        other => other.to_string(),
                    };
                    match parameter["in"].as_str().unwrap() {
                        "query" if dice.up_to(2) == 0 => {
                            let pair = url::form_urlencoded::Serializer::new(String::new())
                                .append_pair(name, &word)
                                .finish();
                            target =
                                format!("{target}{}{pair}", if target.contains('?') { '&' } else { '?' });
                        }
                        "header"
                            if dice.up_to(3) == 0 && word.bytes().all(|byte| byte.is_ascii_graphic()) =>
                        {
                            headers.push((name, word))
                        }
                        _ => {}
                    }
                }
                let content = operation["requestBody"]["content"].as_object();
                let body = content.map(|content| {
                    let (media, of) = content.iter().nth(dice.up_to(content.len() - 1)).unwrap();
                    headers.push(("content-type", media.clone()));
                    dice.value(&of["schema"], 0).to_string()
                });
                let headers: Vec<(&str, &str)> =
                    headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let told = asker.send(method.to_uppercase().parse().unwrap(), &target, &headers, body).await;
                assert!(told.status < 500, "{method} {target}: {} {}", told.status, told.body);
                *statuses.entry(told.status).or_default() += 1;
            }
        }
    }
    println!("{statuses:?}");
    for expected in [200, 400, 404] {
        assert!(statuses.contains_key(&expected), "{expected} is never answered: {statuses:?}");
    }
}

/// A request for each route and round.
const ROUNDS: usize = 25;
const BLOCKED: &str = "01920000-0000-7000-8000-000000000001";
const BROKEN: &str = "\
tasks:
  - { type: branch, name: gate, parameters: { variable: '${way}', target_ids: { open: end } } }
  - { type: block, id: end }
";
const SEGMENTS: [&str; 7] =
    [BLOCKED, NOBODY, "greeting", "CA00000000000000000000000000000009", "%00", "%C3%A9", "a.b-c_d"];
const WORDS: [&str; 9] = ["", "x", "greeting", BLOCKED, "+14155550100", "\u{0}", "é 🙂", "${x} $=", "block"];

/// A xorshift generator: the same requests each time.
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (most as u64 + 1)).unwrap()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.up_to(of.len() - 1)]
    }

    /// Mostly what the schema says.
    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        if self.up_to(11) == 0 || depth > 5 {
            return self
                .one(&[json!(null), json!(7), json!(-1.5), json!("x"), json!([]), json!({}), json!(true)])
                .clone();
        }
        if let Some(words) = schema["enum"].as_array() {
            return self.one(words).clone();
        }
        if let Some(some) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
            let one = self.one(some).clone();
            return self.value(&one, depth + 1);
        }
        let kind = match &schema["type"] {
            Value::Array(kinds) => self.one(kinds).clone(),
            kind => kind.clone(),
        };
        match kind.as_str().unwrap_or("any") {
            "object" => {
                let mut object = serde_json::Map::new();
                for (name, of) in schema["properties"].as_object().into_iter().flatten() {
                    if self.up_to(2) > 0 {
                        object.insert(name.clone(), self.value(of, depth + 1));
                    }
                }
                if self.up_to(5) == 0 {
                    let name = (*self.one(&WORDS)).to_owned();
                    object.insert(name, self.value(&Value::Null, depth + 1));
                }
                Value::Object(object)
            }
            "array" => (0..self.up_to(3)).map(|_| self.value(&schema["items"], depth + 1)).collect(),
            "integer" => self.one(&[json!(0), json!(1), json!(100), json!(-1), json!(u64::MAX)]).clone(),
            "number" => json!(0.5),
            "boolean" => json!(self.up_to(1) == 0),
            "null" => Value::Null,
            "string" => json!(self.one(&WORDS)),
            _ => self
                .one(&[
                    json!({ "type": "block" }),
                    json!({ "type": "stop" }),
                    json!("x"),
                    json!(1),
                    json!({ "type": "tlak" }),
                ])
                .clone(),
        }
    }
}
