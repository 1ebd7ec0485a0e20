//! The control listener: every route of it stands in one table, by topic in a file of its own. What it looks at is
//! behind [`Directory`], what it does behind `Desk`.

mod about;
mod activeflows;
mod calls;
mod docs;
mod drain;
pub mod events;
mod flows;
mod letters;
mod metrics;
mod openapi;
mod outbound;

use std::path::PathBuf;
use std::sync::Arc;

use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, Resource, web};
use futures::future::LocalBoxFuture;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::desk::Desk;
use crate::metrics::Watch;
use crate::web::auth::{self, Tokens};
use crate::web::dashboard;
use crate::web::ledger::Ledger;
use crate::web::page::{Page, Row};
use crate::web::problem::{self, Problem};
use crate::web::recordings;
use crate::web::route::{self, Route, fresh};
pub use openapi::document;

/// What every route may use.
pub struct Room {
    pub directory: Arc<dyn Directory>,
    pub desk: Desk,
    pub ledger: Ledger,
    /// Where recordings lie.
    pub recordings: PathBuf,
    /// What is counted and measured.
    pub watch: Watch,
}

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

/// All routes that need a token.
pub fn routes() -> Vec<&'static Route> {
    let tables = [
        about::ROUTES,
        calls::ROUTES,
        activeflows::ROUTES,
        flows::ROUTES,
        letters::ROUTES,
        metrics::ROUTES,
        drain::ROUTES,
        events::ROUTES,
        openapi::ROUTES,
        outbound::ROUTES,
    ];
    tables.into_iter().flatten().chain([&recordings::FETCH]).collect()
}

impl Room {
    pub fn new(directory: Arc<dyn Directory>, desk: Desk, recordings: PathBuf, watch: Watch) -> Room {
        Room { directory, desk, ledger: Ledger::default(), recordings, watch }
    }
}

/// Mounts the control routes on an app or scope.
pub fn configure(app: &mut web::ServiceConfig, room: Arc<Room>, tokens: Tokens) {
    app.app_data(web::Data::from(room.directory.clone()));
    app.app_data(web::Data::from(room));
    app.app_data(web::Data::new(tokens));
    app.service(health_resource());
    app.service(ready_resource());
    app.service(docs::resource());
    dashboard::configure(app);
    let guarded = web::scope("")
        .configure(|app| route::mount(app, &routes()))
        .default_service(web::to(problem::not_found))
        .wrap(from_fn(auth::guard))
        .wrap(from_fn(metrics::counted));
    app.service(guarded);
}

/// `GET /health`: the process answers. Both listeners have it.
pub fn health_resource() -> Resource {
    route::looks("/health", || async { health() })
}

/// `GET /ready`: new calls may come. Both listeners have it; it needs `web::Data<dyn Directory>`.
pub fn ready_resource() -> Resource {
    route::looks("/ready", |directory: web::Data<dyn Directory>| async move { ready(&**directory).await })
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

#[cfg(test)]
mod tests;
