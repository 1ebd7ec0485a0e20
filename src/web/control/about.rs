//! What a program that talks to this API wants to know first: who answers, and what it may ask.

use actix_web::http::Method;
use actix_web::{HttpMessage as _, HttpResponse};
use serde_json::json;

use crate::web::auth::Asker;
use crate::web::problem::{Code, Problem};
use crate::web::route::{Asked, Body, Route, fresh};

pub static ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/v1/about",
    about: "The version that answers, and the role of the token that asks.",
    query: &[],
    body: Body::None,
    answers: &[(200, "version and role")],
    refusals: &[],
    run: |asked| Box::pin(async move { tell(&asked) }),
}];

fn tell(asked: &Asked) -> Result<HttpResponse, Problem> {
    let asker = asked.request.extensions().get::<Asker>().copied();
    let asker = asker.ok_or_else(|| Problem::new(Code::Internal, "the request came past the guard"))?;
    Ok(fresh(&json!({ "version": env!("CARGO_PKG_VERSION"), "role": asker.role.word() })))
}
