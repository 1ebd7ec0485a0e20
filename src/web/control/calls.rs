//! Calls: what they are, and what a person may do to them while they live.

use actix_web::HttpResponse;
use actix_web::http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::desk::admitted;
use crate::web::control::CallFilter;
use crate::web::page::Page;
use crate::web::problem::{Code, Problem};
use crate::web::route::{Asked, Body, Route, answer, fresh};

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
        path: "/v1/levels",
        about: "How loud live calls are right now, both sides, for meters: cheap enough for several looks a second.",
        query: &["calls"],
        body: Body::None,
        answers: &[(
            200,
            "a level for each call of `calls` (CallSids, with commas) whose stream is looked at",
        )],
        refusals: &[],
        run: |asked| Box::pin(measure(asked)),
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
    Route {
        method: Method::GET,
        path: "/v1/calls/{call}/timeline",
        about: "Everything that happened to a call, oldest first: webhooks, documents, streams, digits, steps, ends.",
        query: &[],
        body: Body::None,
        answers: &[(200, "what happened")],
        refusals: &[Code::CallNotFound],
        run: |asked| Box::pin(tell(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/calls/{call}/hangup",
        about: "Ends a call.",
        query: &[],
        body: Body::None,
        answers: &[
            (200, "the call, which ends"),
            (202, "the call; `deferred`: the network learns it at its next request"),
        ],
        refusals: &[Code::CallNotFound, Code::AlreadyEnded],
        run: |asked| Box::pin(hang_up(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/calls/{call}/interrupt",
        about: "Cuts short what is under way; the flow goes on. A verb of the network needs credentials.",
        query: &[],
        body: Body::None,
        answers: &[(200, "the call")],
        refusals: &[Code::CallNotFound, Code::AlreadyEnded, Code::NotInterruptible],
        run: |asked| Box::pin(interrupt(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/calls/{call}/say",
        about: "Lets the caller hear a text.",
        query: &[],
        body: Body::Json(|| schemars::schema_for!(Say)),
        answers: &[(200, "the call"), (202, "the call; `deferred`: it is heard in the next document")],
        refusals: &[Code::CallNotFound, Code::AlreadyEnded, Code::Limit],
        run: |asked| Box::pin(say(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/calls/{call}/variables",
        about: "Sets variables of the workflow that holds the call.",
        query: &[],
        body: Body::Json(|| schemars::schema_for!(Map<String, Value>)),
        answers: &[(200, "the call, with the names of variables that were dropped")],
        refusals: &[Code::CallNotFound, Code::AlreadyEnded],
        run: |asked| Box::pin(set_variables(asked)),
    },
];

/// What `POST /v1/calls/{call}/say` takes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Say {
    /// Plain text.
    text: String,
}

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

async fn measure(mut asked: Asked) -> Result<HttpResponse, Problem> {
    let calls = asked.query.take("calls").unwrap_or_default();
    let calls: Vec<&str> = calls.split(',').filter(|call| !call.is_empty()).collect();
    if calls.len() > LEVELS_MAX {
        let detail = format!("calls: expected at most {LEVELS_MAX} CallSids, got {}", calls.len());
        return Err(Problem::invalid(detail));
    }
    let levels = asked.room.desk.levels(&calls).await?;
    Ok(fresh(&json!({ "result": levels })))
}

async fn show(asked: Asked) -> Result<HttpResponse, Problem> {
    Ok(fresh(&view(&asked).await?))
}

async fn tell(asked: Asked) -> Result<HttpResponse, Problem> {
    Ok(fresh(&asked.room.desk.timeline(asked.segment("call")).await?))
}

async fn hang_up(asked: Asked) -> Result<HttpResponse, Problem> {
    let deferred = asked.room.desk.hang_up(asked.segment("call"), asked.stamp()?).await?;
    perhaps_later(&asked, deferred).await
}

async fn interrupt(asked: Asked) -> Result<HttpResponse, Problem> {
    asked.room.desk.interrupt(asked.segment("call"), asked.stamp()?).await?;
    Ok(fresh(&view(&asked).await?))
}

async fn say(asked: Asked) -> Result<HttpResponse, Problem> {
    let Say { text } = asked.json()?;
    if text.trim().is_empty() || text.len() > TEXT_BYTES_MAX {
        return Err(Problem::invalid(format!("text: expected 1 to {TEXT_BYTES_MAX} bytes")));
    }
    let deferred = asked.room.desk.say(asked.segment("call"), asked.stamp()?, &text).await?;
    perhaps_later(&asked, deferred).await
}

async fn set_variables(asked: Asked) -> Result<HttpResponse, Problem> {
    let (variables, dropped) = admitted(asked.json()?)?;
    asked.room.desk.set_variables(asked.segment("call"), asked.stamp()?, variables).await?;
    Ok(fresh(&with(view(&asked).await?, "dropped_variables", json!(dropped))))
}

async fn perhaps_later(asked: &Asked, deferred: bool) -> Result<HttpResponse, Problem> {
    let status = if deferred { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(answer(status, &with(view(asked).await?, "deferred", json!(deferred))))
}

async fn view(asked: &Asked) -> Result<Value, Problem> {
    let sid = asked.segment("call");
    asked.room.directory.call(sid).await?.ok_or_else(|| unknown(sid))
}

fn with(mut view: Value, member: &str, value: Value) -> Value {
    if let Some(view) = view.as_object_mut() {
        view.insert(member.to_owned(), value);
    }
    view
}

fn unknown(sid: &str) -> Problem {
    Problem::new(Code::CallNotFound, format!("there is no call {sid}"))
}

/// Four of these fit beside a full document of the flow.
const TEXT_BYTES_MAX: usize = 4000;

/// Meters that fit on a page.
const LEVELS_MAX: usize = 50;

/// `live` is whatever has not ended.
pub(super) const STATES: [&str; 5] = ["connecting", "active", "stopping", "ended", "live"];
