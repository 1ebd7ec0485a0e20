//! What is counted and measured, for whoever watches.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};
use holdline_core::metric::text::MEDIA_TYPE;
use holdline_core::metric::{self, Limit};

use crate::web::control::Room;
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

/// Middleware that counts what the API answers, refusals included; expects `web::Data<Room>`.
pub async fn counted(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let method = metric::API_REQUESTS.word(0, request.method().as_str()).unwrap_or("other");
    let room = request.app_data::<web::Data<Room>>().cloned();
    let answered = next.call(request).await;
    let status = match &answered {
        Ok(answer) => answer.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    if let Some(room) = room {
        room.watch.tally.count(&metric::API_REQUESTS, &[method, metric::status_class(status.as_u16())]);
        if status == StatusCode::PAYLOAD_TOO_LARGE {
            room.watch.tally.hit(Limit::ApiBody);
        }
    }
    answered
}

async fn show(asked: Asked) -> Result<HttpResponse, Problem> {
    let page = asked.room.watch.page(&asked.room.ledger).await;
    let headers = [(CONTENT_TYPE, MEDIA_TYPE), (CACHE_CONTROL, "no-store")];
    let mut answer = HttpResponse::Ok();
    for header in headers {
        answer.insert_header(header);
    }
    Ok(answer.body(page.text()))
}
