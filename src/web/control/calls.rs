//! Calls: what they are, and what a person may do to them while they live.

use actix_web::HttpResponse;
use actix_web::http::Method;

use crate::web::control::CallFilter;
use crate::web::page::Page;
use crate::web::problem::{Code, Problem};
use crate::web::route::{Asked, Body, Route, fresh};

pub static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/calls",
        about: "Calls, newest first.",
        query: &["state", "workflow", "from", "page_size", "page_token"],
        body: Body::None,
        answers: &[(200, "a page of calls")],
        refusals: &[],
        run: |asked| Box::pin(list(asked)),
    },
    Route {
        method: Method::GET,
        path: "/v1/calls/{call}",
        about: "One call: state, exchanges, streams, media counters, activeflows.",
        query: &[],
        body: Body::None,
        answers: &[(200, "the call")],
        refusals: &[Code::CallNotFound],
        run: |asked| Box::pin(show(asked)),
    },
];

async fn list(mut asked: Asked) -> Result<HttpResponse, Problem> {
    let query = &mut asked.query;
    let page = Page::take(query)?;
    let filter = CallFilter {
        state: query.take_word("state", &STATES)?,
        workflow: query.take("workflow"),
        from: query.take("from"),
    };
    let rows = asked.room.directory.calls(&filter, &page).await?;
    Ok(fresh(&page.answer(rows)))
}

async fn show(asked: Asked) -> Result<HttpResponse, Problem> {
    let sid = asked.segment("call");
    match asked.room.directory.call(sid).await? {
        Some(call) => Ok(fresh(&call)),
        None => Err(unknown(sid)),
    }
}

fn unknown(sid: &str) -> Problem {
    Problem::new(Code::CallNotFound, format!("there is no call {sid}"))
}

const STATES: [&str; 4] = ["connecting", "active", "stopping", "ended"];
