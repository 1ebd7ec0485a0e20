use super::*;
use crate::web::page::Cursor;
use actix_web::{App, test};
use futures::FutureExt;
use serde_json::json;
use std::sync::Mutex;

/// Rows in memory; every third was created in the same millisecond as its neighbours.
struct Shelf {
    calls: Mutex<Vec<Row>>,
    draining: bool,
}

impl Shelf {
    fn with(count: u64) -> Arc<Shelf> {
        let shelf = Shelf { calls: Mutex::new(Vec::new()), draining: false };
        (0..count).for_each(|number| shelf.add(number));
        Arc::new(shelf)
    }

    fn add(&self, number: u64) {
        let id = format!("CA{number:03}");
        let value = json!({ "sid": id, "state": if number.is_multiple_of(2) { "ended" } else { "active" } });
        self.calls.lock().unwrap().push(Row { cursor: Cursor { created_ms: number / 3, id }, value });
    }
}

impl Directory for Shelf {
    fn calls<'d>(&'d self, filter: &'d CallFilter, page: &'d Page) -> Found<'d, Vec<Row>> {
        let mut rows = self.calls.lock().unwrap().clone();
        rows.retain(|row| page.after.as_ref().is_none_or(|after| row.cursor < *after));
        rows.retain(|row| filter.state.as_ref().is_none_or(|state| row.value["state"] == **state));
        rows.sort_by(|a, b| b.cursor.cmp(&a.cursor));
        rows.truncate(page.wanted());
        async move { Ok(rows) }.boxed_local()
    }

    fn call<'d>(&'d self, sid: &'d str) -> Found<'d, Option<Value>> {
        let found =
            self.calls.lock().unwrap().iter().find(|row| row.cursor.id == sid).map(|row| row.value.clone());
        async move { Ok(found) }.boxed_local()
    }

    fn runs<'d>(&'d self, filter: &'d RunFilter, page: &'d Page) -> Found<'d, Vec<Row>> {
        let value = json!({ "filter": format!("{filter:?}"), "size": page.size });
        async move { Ok(vec![Row { cursor: Cursor { created_ms: 1, id: "x".to_owned() }, value }]) }
            .boxed_local()
    }

    fn run(&self, id: Uuid) -> Found<'_, Option<Value>> {
        async move { Ok((id.get_version_num() == 7).then(|| json!({ "id": id }))) }.boxed_local()
    }

    fn ready(&self) -> LocalBoxFuture<'_, Ready> {
        let reasons = if self.draining { vec!["draining".to_owned()] } else { Vec::new() };
        async move { Ready { ready: !self.draining, reasons } }.boxed_local()
    }
}

/// A house in which nothing happens, behind the directory of a test.
fn room(shelf: &Arc<Shelf>, folder: &std::path::Path) -> Arc<Room> {
    let mut config = crate::config::Config::default();
    config.journal.path = folder.join("data");
    config.journal.kind = crate::config::JournalKind::Memory;
    config.flows.dir = folder.to_owned();
    let parts = crate::runtime::parts(&config).unwrap();
    let runtime = crate::runtime::Runtime::start(&config, "http://localhost".to_owned(), parts);
    Arc::new(Room::new(Arc::<Shelf>::clone(shelf), runtime.desk(), folder.to_owned(), runtime.watch()))
}

async fn ask(shelf: &Arc<Shelf>, method: &str, uri: &str) -> (u16, Value) {
    let folder = tempfile::tempdir().unwrap();
    let room = room(shelf, folder.path());
    let app = test::init_service(App::new().configure(|app| configure(app, room, Tokens::default()))).await;
    let request = test::TestRequest::default().method(method.parse().unwrap()).uri(uri).to_request();
    match test::try_call_service(&app, request).await {
        Ok(answer) => {
            let status = answer.status().as_u16();
            let body = test::read_body(answer).await;
            (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
        }
        Err(error) => (error.error_response().status().as_u16(), Value::Null),
    }
}

async fn sids(shelf: &Arc<Shelf>, uri: &str) -> (Vec<String>, Option<String>) {
    let (status, body) = ask(shelf, "GET", uri).await;
    assert_eq!(status, 200, "{uri}: {body}");
    let sids = body["result"].as_array().unwrap().iter().map(|row| row["sid"].as_str().unwrap().to_owned());
    (sids.collect(), body["next_page_token"].as_str().map(str::to_owned))
}

#[actix_web::test]
async fn no_row_is_lost_or_doubled_while_rows_are_born() {
    let shelf = Shelf::with(25);
    let (mut seen, mut token) = sids(&shelf, "/v1/calls?page_size=4").await;
    let mut born = 100;
    while let Some(next) = token {
        shelf.add(born);
        born += 1;
        let (more, after) = sids(&shelf, &format!("/v1/calls?page_size=4&page_token={next}")).await;
        seen.extend(more);
        token = after;
    }
    let expected: Vec<String> = (0..25).rev().map(|number| format!("CA{number:03}")).collect();
    assert_eq!(seen, expected);
}

#[actix_web::test]
async fn a_page_has_50_rows_unless_asked_and_the_last_has_no_token() {
    let shelf = Shelf::with(100);
    let (rows, token) = sids(&shelf, "/v1/calls").await;
    assert_eq!((rows.len(), token.is_some()), (50, true));
    let (rows, token) = sids(&shelf, &format!("/v1/calls?page_token={}", token.unwrap())).await;
    assert_eq!((rows.len(), token), (50, None));
    let (rows, _) = sids(&shelf, "/v1/calls?state=active&page_size=100").await;
    assert_eq!(rows.len(), 50);
}

#[actix_web::test]
async fn requests_that_mean_nothing_are_refused_with_their_code() {
    let shelf = Shelf::with(1);
    let table = [
        ("GET", "/v1/calls?page_size=0", 400, "invalid_request"),
        ("GET", "/v1/calls?page_size=101", 400, "invalid_request"),
        ("GET", "/v1/calls?page_size=x", 400, "invalid_request"),
        ("GET", "/v1/calls?page_token=x", 400, "invalid_request"),
        ("GET", "/v1/calls?state=alive", 400, "invalid_request"),
        ("GET", "/v1/calls?form=%2B1", 400, "invalid_request"),
        ("GET", "/v1/calls?state=ended&state=active", 400, "invalid_request"),
        ("GET", "/v1/calls/CA000?x=1", 400, "invalid_request"),
        ("GET", "/v1/calls/CA999", 404, "call_not_found"),
        ("GET", "/v1/activeflows?status=done", 400, "invalid_request"),
        ("GET", "/v1/activeflows/not-a-uuid", 404, "activeflow_not_found"),
        ("GET", "/v1/activeflows/00000000-0000-4000-8000-000000000000", 404, "activeflow_not_found"),
        ("GET", "/v1/nothing", 404, "not_found"),
        ("PATCH", "/v1/calls/CA000", 405, "method_not_allowed"),
        ("POST", "/health", 405, "method_not_allowed"),
    ];
    for (method, uri, status, code) in table {
        let (got, body) = ask(&shelf, method, uri).await;
        assert_eq!((got, body["code"].as_str()), (status, Some(code)), "{method} {uri}: {body}");
    }
}

#[actix_web::test]
async fn filters_reach_the_directory_and_empty_ones_do_not() {
    let shelf = Shelf::with(1);
    let uri = "/v1/activeflows?status=ended&end_reason=failed&flow_id=menu&reference_type=call&reference_id=&page_size=7";
    let (_, body) = ask(&shelf, "GET", uri).await;
    let expected = RunFilter {
        status: Some("ended".to_owned()),
        end_reason: Some("failed".to_owned()),
        flow_id: Some("menu".to_owned()),
        reference_type: Some("call".to_owned()),
        reference_id: None,
    };
    assert_eq!(body["result"][0], json!({ "filter": format!("{expected:?}"), "size": 7 }));
}

#[actix_web::test]
async fn ready_says_why_not_while_health_goes_on() {
    let shelf = Arc::new(Shelf { calls: Mutex::new(Vec::new()), draining: true });
    assert_eq!(ask(&shelf, "GET", "/ready").await, (503, json!({ "ready": false, "reasons": ["draining"] })));
    assert_eq!(ask(&shelf, "GET", "/health").await, (200, json!({ "status": "ok" })));
    assert_eq!(ask(&Shelf::with(0), "HEAD", "/ready").await.0, 200);
}
