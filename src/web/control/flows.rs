//! Workflows: those of files can be looked at, those of the API also changed.

use actix_web::HttpResponse;
use actix_web::http::Method;
use holdline_core::flow::outline::outline;

use crate::desk::Desk;
use crate::flows::Shown;
use crate::web::page::{Cursor, Page, Row};
use crate::web::problem::{Code, Problem};
use crate::web::route::{Asked, Body, Route, fresh};

pub static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/flows",
        about: "Workflows, newest first, with what is wrong with them; a row leaves out the document.",
        query: &["page_size", "page_token"],
        body: Body::None,
        answers: &[(200, "a page of workflows")],
        refusals: &[],
        run: |asked| Box::pin(list(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/flows/check",
        about: "Says all that is wrong with a workflow; nothing is stored.",
        query: &[],
        body: Body::Document,
        answers: &[(200, "whether it is good, with errors and warnings by position")],
        refusals: &[],
        run: |asked| Box::pin(check(asked)),
    },
    Route {
        method: Method::GET,
        path: "/v1/flows/{id}",
        about: "One workflow with its document.",
        query: &[],
        body: Body::None,
        answers: &[(200, "the workflow")],
        refusals: &[Code::WorkflowNotFound],
        run: |asked| Box::pin(show(asked)),
    },
    Route {
        method: Method::GET,
        path: "/v1/flows/{id}/outline",
        about: "The workflow in force, as it is drawn: its actions and where each may lead.",
        query: &[],
        body: Body::None,
        answers: &[(200, "the outline")],
        refusals: &[Code::WorkflowNotFound],
        run: |asked| Box::pin(draw(asked)),
    },
    Route {
        method: Method::PUT,
        path: "/v1/flows/{id}",
        about: "Stores a workflow, if it is good. Whatever runs keeps the version with which it began.",
        query: &[],
        body: Body::Document,
        answers: &[(200, "the workflow")],
        refusals: &[Code::InvalidWorkflow, Code::FileFlow, Code::Limit],
        run: |asked| Box::pin(store(asked)),
    },
    Route {
        method: Method::DELETE,
        path: "/v1/flows/{id}",
        about: "Deletes a stored workflow. Whatever runs goes on.",
        query: &[],
        body: Body::None,
        answers: &[(204, "it is gone")],
        refusals: &[Code::WorkflowNotFound, Code::FileFlow],
        run: |asked| Box::pin(delete(asked)),
    },
];

async fn list(mut asked: Asked) -> Result<HttpResponse, Problem> {
    let page = Page::take(&mut asked.query)?;
    let row = |shown: Shown| {
        let Shown { id, created_ms, mut view } = shown;
        if let Some(view) = view.as_object_mut() {
            view.remove("document");
        }
        Row { cursor: Cursor { created_ms, id }, value: view }
    };
    let rows = asked.room.desk.flows().await?.into_iter().map(row);
    let rows = rows.filter(|row| page.after.as_ref().is_none_or(|after| row.cursor < *after));
    Ok(fresh(&page.answer(rows.take(page.wanted()).collect())))
}

async fn show(asked: Asked) -> Result<HttpResponse, Problem> {
    Ok(fresh(&asked.room.desk.flow(asked.segment("id")).await?.view))
}

async fn draw(asked: Asked) -> Result<HttpResponse, Problem> {
    Ok(fresh(&outline(&*asked.room.desk.workflow(asked.segment("id"))?)))
}

async fn check(asked: Asked) -> Result<HttpResponse, Problem> {
    let report = asked.room.desk.check_flow(text(&asked)?).await?;
    Ok(fresh(&report.to_json()))
}

async fn store(asked: Asked) -> Result<HttpResponse, Problem> {
    let desk: &Desk = &asked.room.desk;
    let stored = desk.store_flow(asked.segment("id"), text(&asked)?).await?;
    Ok(fresh(&stored.view))
}

async fn delete(asked: Asked) -> Result<HttpResponse, Problem> {
    asked.room.desk.delete_flow(asked.segment("id")).await?;
    Ok(HttpResponse::NoContent().finish())
}

fn text(asked: &Asked) -> Result<String, Problem> {
    if asked.body.is_empty() {
        return Err(Problem::invalid("the body: expected a workflow, got nothing"));
    }
    let text = std::str::from_utf8(&asked.body);
    text.map(str::to_owned).map_err(|error| Problem::invalid(format!("the body: expected UTF-8: {error}")))
}
