//! The control listener's questions: calls, activeflows, health. What they are about is behind [`Directory`].

use std::sync::Arc;

use actix_web::guard::{self, Guard};
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue};
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, Resource, Responder, web};
use futures::future::LocalBoxFuture;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::web::auth::{self, Tokens};
use crate::web::page::{PARAMETERS, Page, Row};
use crate::web::problem::{self, Code, Problem};
use crate::web::query::Query;

/// Who knows the calls and activeflows. Rows come newest first, older than `page.after`, at most `page.wanted()`.
pub trait Directory: Send + Sync {
    fn calls<'d>(&'d self, filter: &'d CallFilter, page: &'d Page) -> Found<'d, Vec<Row>>;
    fn call<'d>(&'d self, sid: &'d str) -> Found<'d, Option<Value>>;
    fn runs<'d>(&'d self, filter: &'d RunFilter, page: &'d Page) -> Found<'d, Vec<Row>>;
    fn run(&self, id: Uuid) -> Found<'_, Option<Value>>;
    fn ready(&self) -> LocalBoxFuture<'_, Ready>;
}

/// An answer on its way; the problem is for when the directory itself can't answer.
pub type Found<'d, T> = LocalBoxFuture<'d, Result<T, Problem>>;

/// `GET /v1/calls?state=&workflow=&from=`; what is absent matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallFilter {
    pub state: Option<String>,
    pub workflow: Option<String>,
    pub from: Option<String>,
}

/// `GET /v1/activeflows?status=&end_reason=&flow_id=&reference_type=&reference_id=`; what is absent matches all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    pub status: Option<String>,
    pub end_reason: Option<String>,
    pub flow_id: Option<String>,
    pub reference_type: Option<String>,
    pub reference_id: Option<String>,
}

/// May new calls come? Load balancers ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ready {
    pub ready: bool,
    /// Why not: `draining`, `starting`, `journal`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// Mounts the control routes on an app or scope. `more` adds routes that need a token as well.
pub fn configure(
    app: &mut web::ServiceConfig,
    directory: Arc<dyn Directory>,
    tokens: Tokens,
    more: impl FnOnce(&mut web::ServiceConfig),
) {
    app.app_data(web::Data::from(directory));
    app.app_data(web::Data::new(tokens));
    app.service(health_resource());
    app.service(ready_resource());
    let guarded = web::scope("")
        .app_data(problem::json_config())
        .app_data(problem::payload_config())
        .service(looks("/v1/calls").route(get().to(list_calls)))
        .service(looks("/v1/calls/{call}").route(get().to(show_call)))
        .service(looks("/v1/activeflows").route(get().to(list_runs)))
        .service(looks("/v1/activeflows/{id}").route(get().to(show_run)))
        .configure(more)
        .default_service(web::to(problem::not_found))
        .wrap(from_fn(auth::guard));
    app.service(guarded);
}

/// `GET /health`: the process answers. Both listeners have it.
pub fn health_resource() -> Resource {
    looks("/health").route(get().to(|| async { health() }))
}

/// `GET /ready`: new calls may come. Both listeners have it; it needs `web::Data<dyn Directory>`.
pub fn ready_resource() -> Resource {
    looks("/ready")
        .route(get().to(|directory: web::Data<dyn Directory>| async move { ready(&**directory).await }))
}

/// The process answers.
pub fn health() -> HttpResponse {
    fresh(&serde_json::json!({ "status": "ok" }))
}

/// 503 while new calls are not welcome.
pub async fn ready(directory: &dyn Directory) -> HttpResponse {
    let ready = directory.ready().await;
    let mut answer = fresh(&ready);
    if !ready.ready {
        *answer.status_mut() = actix_web::http::StatusCode::SERVICE_UNAVAILABLE;
    }
    answer
}

async fn list_calls(
    directory: web::Data<dyn Directory>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    let mut query = list_query(&request, &["state", "workflow", "from"])?;
    let page = Page::take(&mut query)?;
    let filter = CallFilter {
        state: query.take_word("state", &CALL_STATES)?,
        workflow: query.take("workflow"),
        from: query.take("from"),
    };
    let rows = directory.calls(&filter, &page).await?;
    Ok(fresh(&page.answer(rows)))
}

async fn show_call(
    directory: web::Data<dyn Directory>,
    sid: web::Path<String>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    Query::read(request.query_string(), &[])?;
    match directory.call(&sid).await? {
        Some(call) => Ok(fresh(&call)),
        None => Err(Problem::new(Code::CallNotFound, format!("there is no call {sid}"))),
    }
}

async fn list_runs(
    directory: web::Data<dyn Directory>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    let filters = ["status", "end_reason", "flow_id", "reference_type", "reference_id"];
    let mut query = list_query(&request, &filters)?;
    let page = Page::take(&mut query)?;
    let filter = RunFilter {
        status: query.take_word("status", &RUN_STATUSES)?,
        end_reason: query.take_word("end_reason", &RUN_END_REASONS)?,
        flow_id: query.take("flow_id"),
        reference_type: query.take_word("reference_type", &REFERENCE_TYPES)?,
        reference_id: query.take("reference_id"),
    };
    let rows = directory.runs(&filter, &page).await?;
    Ok(fresh(&page.answer(rows)))
}

async fn show_run(
    directory: web::Data<dyn Directory>,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<impl Responder, Problem> {
    Query::read(request.query_string(), &[])?;
    let found = match Uuid::parse_str(&id) {
        Ok(uuid) => directory.run(uuid).await?,
        // No activeflow can have such an id.
        Err(_) => None,
    };
    match found {
        Some(run) => Ok(fresh(&run)),
        None => Err(Problem::new(Code::ActiveflowNotFound, format!("there is no activeflow {id}"))),
    }
}

fn list_query(request: &HttpRequest, filters: &[&str]) -> Result<Query, Problem> {
    let known: Vec<&str> = filters.iter().chain(&PARAMETERS).copied().collect();
    Query::read(request.query_string(), &known)
}

/// A resource that can only be looked at.
fn looks(path: &str) -> Resource {
    web::resource(path).default_service(problem::method_not_allowed(&[Method::GET, Method::HEAD]))
}

fn get() -> actix_web::Route {
    web::route().guard(get_or_head())
}

fn get_or_head() -> impl Guard {
    guard::Any(guard::Get()).or(guard::Head())
}

/// JSON about this moment: nobody may answer with a kept copy.
fn fresh(value: &impl Serialize) -> HttpResponse {
    let mut answer = HttpResponse::Ok().json(value);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

const CALL_STATES: [&str; 4] = ["connecting", "active", "stopping", "ended"];
const RUN_STATUSES: [&str; 2] = ["running", "ended"];
const RUN_END_REASONS: [&str; 6] = ["completed", "stopped", "call_ended", "canceled", "failed", "limit"];
const REFERENCE_TYPES: [&str; 8] =
    ["call", "conversation", "api", "campaign", "transcribe", "recording", "ai", "workflow"];

#[cfg(test)]
mod tests;
