//! What is counted and measured, for whoever watches.

use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use holdline_core::metric::text::MEDIA_TYPE;

use crate::web::problem::Problem;
use crate::web::route::{Asked, Body, Route};

pub static ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/metrics",
    about: "What is counted and measured, as text for Prometheus.",
    query: &[],
    body: Body::None,
    answers: &[(200, "metrics in the text format 0.0.4")],
    refusals: &[],
    run: |asked| Box::pin(show(asked)),
}];

async fn show(asked: Asked) -> Result<HttpResponse, Problem> {
    let page = asked.room.watch.page(&asked.room.ledger).await;
    let headers = [(CONTENT_TYPE, MEDIA_TYPE), (CACHE_CONTROL, "no-store")];
    let mut answer = HttpResponse::Ok();
    for header in headers {
        answer.insert_header(header);
    }
    Ok(answer.body(page.text()))
}
