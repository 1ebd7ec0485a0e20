//! Dead letters: looked at, and sent again.

use actix_web::HttpResponse;
use actix_web::http::{Method, StatusCode};

use crate::desk::Id;
use crate::web::page::Page;
use crate::web::problem::{Code, Problem};
use crate::web::route::{Asked, Body, Route, answer, fresh};

pub static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/dead-letters",
        about: "Messages that nobody took and steps that ran out of attempts, newest first. A page may hold few or none and still have a next.",
        query: &["page_size", "page_token"],
        body: Body::None,
        answers: &[(200, "a page of dead letters")],
        refusals: &[],
        run: |asked| Box::pin(list(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/dead-letters/{id}/redrive",
        about: "Sends a message again, or goes on at a step that failed, with all attempts anew.",
        query: &[],
        body: Body::None,
        answers: &[(202, "the letter, which is on its way")],
        refusals: &[Code::NotFound],
        run: |asked| Box::pin(redrive(asked)),
    },
];

async fn list(mut asked: Asked) -> Result<HttpResponse, Problem> {
    let page = Page::take(&mut asked.query)?;
    let (rows, read_to) = asked.room.desk.dead_letters(&page).await?;
    Ok(fresh(&page.answer_to(rows, read_to)))
}

async fn redrive(asked: Asked) -> Result<HttpResponse, Problem> {
    Ok(answer(
        StatusCode::ACCEPTED,
        &asked.room.desk.redrive(asked.segment("id"), Id::of_key(&asked)?).await?,
    ))
}
