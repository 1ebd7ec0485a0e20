//! The end of a server's day: no new calls, and what is left.

use actix_web::HttpResponse;
use actix_web::http::Method;
use holdline_actors::call_registry::{Count, Drain};
use holdline_actors::flow_registry::CountFlows;
use serde_json::json;

use crate::web::problem::{Code, Problem};
use crate::web::route::{Asked, Body, Route, fresh};

pub static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/drain",
        about: "Whether new calls are refused, and what is left.",
        query: &[],
        body: Body::None,
        answers: &[(200, "what is left")],
        refusals: &[],
        run: |asked| Box::pin(show(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/drain",
        about: "Refuses new calls from now on; live ones go on. Main workflows are not waited for.",
        query: &[],
        body: Body::None,
        answers: &[(200, "what is left")],
        refusals: &[],
        run: |asked| Box::pin(begin(asked)),
    },
];

async fn begin(asked: Asked) -> Result<HttpResponse, Problem> {
    asked.room.desk.calls.send(Drain).await.map_err(|_| closing())?;
    show(asked).await
}

async fn show(asked: Asked) -> Result<HttpResponse, Problem> {
    let desk = &asked.room.desk;
    let census = desk.calls.send(Count).await.map_err(|_| closing())?;
    let workflows = desk.flows.send(CountFlows).await.map_err(|_| closing())?;
    Ok(fresh(&json!({ "draining": census.draining, "calls": census.calls, "workflows": workflows })))
}

fn closing() -> Problem {
    Problem::new(Code::Internal, "the house is closing")
}
