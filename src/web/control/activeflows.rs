//! Activeflows: begun, looked at, commanded, forgotten.

use std::sync::Arc;

use actix_web::HttpMessage as _;
use actix_web::HttpResponse;
use actix_web::http::Method;
use holdline_core::RunId;
use holdline_core::flow::outline::outline;
use holdline_core::flow::script::ActionNode;
use holdline_core::scene::{Command, Reference, ReferenceKind, Refused};
use holdline_core::secret;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use crate::desk::{Found, Id, NewRun, admitted, reused, words_of};
use crate::web::auth::Asker;
use crate::web::control::RunFilter;
use crate::web::ledger;
use crate::web::page::Page;
use crate::web::problem::{Code, Problem};
use crate::web::route::{Asked, Body, Route, created, fresh};

pub static ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/v1/activeflows",
        about: "Activeflows, newest first; a row leaves out what is long.",
        query: &[
            "status",
            "end_reason",
            "flow_id",
            "reference_type",
            "reference_id",
            "page_size",
            "page_token",
        ],
        body: Body::None,
        answers: &[(200, "a page of activeflows")],
        refusals: &[],
        run: |asked| Box::pin(list(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/activeflows",
        about: "Begins an activeflow of a workflow, or of actions that come with the request.",
        query: &[],
        body: Body::Json(|| schemars::schema_for!(New<'_>)),
        answers: &[(201, "the activeflow, with the names of variables that were dropped")],
        refusals: &[Code::WorkflowNotFound, Code::AlreadyExists, Code::InvalidWorkflow],
        run: |asked| Box::pin(begin(asked)),
    },
    Route {
        method: Method::GET,
        path: "/v1/activeflows/{id}",
        about: "One activeflow, with its history, stacks and variables.",
        query: &[],
        body: Body::None,
        answers: &[(200, "the activeflow")],
        refusals: &[Code::ActiveflowNotFound],
        run: |asked| Box::pin(show(asked)),
    },
    Route {
        method: Method::GET,
        path: "/v1/activeflows/{id}/outline",
        about: "The workflow that an activeflow runs, as it is drawn: its actions and where each may lead.",
        query: &[],
        body: Body::None,
        answers: &[(200, "the outline of the version with which it began")],
        refusals: &[Code::ActiveflowNotFound],
        run: |asked| Box::pin(draw(asked)),
    },
    Route {
        method: Method::DELETE,
        path: "/v1/activeflows/{id}",
        about: "Stops an activeflow, if it runs, and forgets it.",
        query: &[],
        body: Body::None,
        answers: &[(204, "it is forgotten")],
        refusals: &[Code::ActiveflowNotFound],
        run: |asked| Box::pin(forget(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/activeflows/{id}/execute",
        about: "Resumes a block; actions that come with the request are done first.",
        query: &[],
        body: Body::Json(|| schemars::schema_for!(Execute<'_>)),
        answers: &[(200, "the activeflow")],
        refusals: &[
            Code::ActiveflowNotFound,
            Code::InvalidWorkflow,
            Code::AlreadyEnded,
            Code::StaleAction,
            Code::NotBlocked,
            Code::Limit,
        ],
        run: |asked| Box::pin(execute(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/activeflows/{id}/actions",
        about: "Pushes actions: before what comes next, or instead of the rest of what is under way.",
        query: &[],
        body: Body::Json(|| schemars::schema_for!(Push<'_>)),
        answers: &[(200, "the activeflow")],
        refusals: &[Code::ActiveflowNotFound, Code::InvalidWorkflow, Code::AlreadyEnded],
        run: |asked| Box::pin(push(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/activeflows/{id}/stop",
        about: "Ends an activeflow now, with its call. Once more changes nothing.",
        query: &[],
        body: Body::None,
        answers: &[(200, "the activeflow")],
        refusals: &[Code::ActiveflowNotFound],
        run: |asked| Box::pin(stop(asked)),
    },
    Route {
        method: Method::POST,
        path: "/v1/activeflows/{id}/retry",
        about: "A failed activeflow goes on as a new one, at the action that failed or at another one.",
        query: &[],
        body: Body::Json(|| schemars::schema_for!(Retry)),
        answers: &[(201, "the new activeflow; `retry_of` names the old one")],
        refusals: &[Code::ActiveflowNotFound, Code::NotFailed],
        run: |asked| Box::pin(retry(asked)),
    },
];

/// What `POST /v1/activeflows` takes: one of `flow_id` and `actions`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct New<'b> {
    /// The workflow, in the version that is in force.
    flow_id: Option<String>,
    /// Actions as in a workflow document.
    #[serde(borrow)]
    #[schemars(with = "Option<Vec<Value>>")]
    actions: Option<&'b RawValue>,
    /// A UUID; one that exists is refused.
    id: Option<String>,
    /// Names of the runtime among them are dropped.
    variables: Option<Map<String, Value>>,
    /// Started when this one ends, instead of what the workflow says.
    on_complete_flow_id: Option<String>,
    /// `api` unless it says otherwise.
    #[schemars(with = "Option<String>")]
    reference_type: Option<ReferenceKind>,
    reference_id: Option<String>,
    /// Who is sent the events of this activeflow, and of those that belong to it.
    webhook_uri: Option<String>,
}

/// What `POST /v1/activeflows/{id}/execute` takes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Execute<'b> {
    /// The id of the action that the sender believes to be under way.
    current_action_id: Option<String>,
    #[serde(borrow)]
    #[schemars(with = "Option<Vec<Value>>")]
    actions: Option<&'b RawValue>,
}

/// What `POST /v1/activeflows/{id}/actions` takes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Push<'b> {
    #[serde(borrow)]
    #[schemars(with = "Vec<Value>")]
    actions: &'b RawValue,
    #[serde(default)]
    mode: Mode,
}

/// What `POST /v1/activeflows/{id}/retry` takes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Retry {
    /// Its id or name; the failed one unless it says otherwise.
    from_action: Option<String>,
}

#[derive(Deserialize, JsonSchema, Default, PartialEq)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Mode {
    /// After the action under way.
    #[default]
    Next,
    /// It is cut short, where it can be cut.
    Interrupt,
}

async fn list(mut asked: Asked) -> Result<HttpResponse, Problem> {
    let query = &mut asked.query;
    let page = Page::take(query)?;
    let filter = RunFilter {
        status: query.take_word("status", &STATUSES)?,
        end_reason: query.take_word("end_reason", &END_REASONS)?,
        flow_id: query.take("flow_id"),
        reference_type: query.take_word("reference_type", &REFERENCE_TYPES)?,
        reference_id: query.take("reference_id"),
    };
    let rows = asked.room.directory.runs(&filter, &page).await?;
    Ok(fresh(&page.answer(rows)))
}

async fn show(asked: Asked) -> Result<HttpResponse, Problem> {
    Ok(fresh(&view(&asked, id(&asked)?).await?))
}

async fn draw(asked: Asked) -> Result<HttpResponse, Problem> {
    let found = asked.room.desk.find(id(&asked)?).await?;
    Ok(fresh(&outline(found.run.script())))
}

async fn begin(asked: Asked) -> Result<HttpResponse, Problem> {
    let New {
        flow_id,
        actions,
        id,
        variables,
        on_complete_flow_id,
        reference_type,
        reference_id,
        webhook_uri,
    } = asked.json()?;
    let desk = &asked.room.desk;
    let id = match id.as_deref().map(Uuid::parse_str) {
        None => Id::of_key(&asked)?,
        Some(Ok(id)) if id.is_nil() => Id::of_key(&asked)?,
        Some(Ok(id)) => Id::Given(id),
        Some(Err(_)) => return Err(Problem::invalid("id: expected a UUID")),
    };
    let (variables, dropped) = admitted(variables.unwrap_or_default())?;
    let script = match (present(flow_id), actions) {
        (Some(flow), None) => desk.workflow(&flow)?,
        (None, Some(actions)) => Arc::new(desk.grammar.workflow_of(text(&asked), actions)?),
        (Some(_), Some(_)) => return Err(Problem::invalid("expected flow_id or actions, got both")),
        (None, None) => return Err(Problem::invalid("expected flow_id or actions, got neither")),
    };
    let on_complete = present(on_complete_flow_id);
    if let Some(flow) = &on_complete {
        desk.workflow(flow)?;
    }
    let reference = Reference {
        kind: reference_type.unwrap_or(ReferenceKind::Api),
        id: reference_id.unwrap_or_default(),
    };
    let webhook = webhook_uri.filter(|uri| !uri.is_empty()).map(|uri| receiver(&uri)).transpose()?;
    let run = desk.begin(NewRun { id, script, reference, variables, on_complete, webhook }).await?;
    desk.first_turn(run).await;
    let mut view = view(&asked, run).await?;
    if let Some(view) = view.as_object_mut() {
        view.insert("dropped_variables".to_owned(), json!(dropped));
    }
    Ok(created(&format!("/v1/activeflows/{run}"), &view))
}

/// An address that events can be sent to. Whether it may be reached is judged when they are.
fn receiver(uri: &str) -> Result<String, Problem> {
    let wrong = |why: String| Problem::invalid(format!("webhook_uri: {why}"));
    if uri.len() > URI_BYTES_MAX {
        return Err(wrong(format!("expected at most {URI_BYTES_MAX} bytes, got {}", uri.len())));
    }
    let expected = "expected a URL such as \"https://example.com/events\"";
    let url = Url::parse(uri).map_err(|error| wrong(format!("{expected}: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong(format!("{expected}, got a {}: URL", url.scheme())));
    }
    // No text of somebody else's may name a secret of ours.
    Ok(secret::plain(uri).into_owned())
}

async fn forget(asked: Asked) -> Result<HttpResponse, Problem> {
    asked.room.desk.forget(id(&asked)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn execute(asked: Asked) -> Result<HttpResponse, Problem> {
    let Execute { current_action_id, actions } = asked.json()?;
    let id = id(&asked)?;
    let found = asked.room.desk.find(id).await?;
    if let Some(answer) = answered(&asked, id, &found).await {
        return answer;
    }
    let actions = actions.map(|actions| list_for(&asked, &found, actions)).transpose()?;
    command(&asked, id, &Command::Execute { current_action_id, actions }).await
}

async fn push(asked: Asked) -> Result<HttpResponse, Problem> {
    let Push { actions, mode } = asked.json()?;
    let id = id(&asked)?;
    let found = asked.room.desk.find(id).await?;
    if let Some(answer) = answered(&asked, id, &found).await {
        return answer;
    }
    let actions = list_for(&asked, &found, actions)?;
    command(&asked, id, &Command::Push { actions, interrupt: mode == Mode::Interrupt }).await
}

async fn stop(asked: Asked) -> Result<HttpResponse, Problem> {
    let id = id(&asked)?;
    // Whether it runs or has ended: it is not running when this is answered.
    let _ = asked.room.desk.command(id, &Command::Stop, None).await?;
    Ok(fresh(&view(&asked, id).await?))
}

async fn retry(asked: Asked) -> Result<HttpResponse, Problem> {
    let Retry { from_action } = asked.json()?;
    let run = asked.room.desk.retry(id(&asked)?, from_action.as_deref(), Id::of_key(&asked)?).await?;
    asked.room.desk.first_turn(run).await;
    Ok(created(&format!("/v1/activeflows/{run}"), &view(&asked, run).await?))
}

/// The answer to a request that was carried out before. It is not read again: the names that its actions may use can be
/// others by now.
async fn answered(asked: &Asked, id: RunId, found: &Found) -> Option<Result<HttpResponse, Problem>> {
    let now_ms = asked.room.desk.clock.now().wall_ms;
    match asked.stamp() {
        Ok(stamp) => Some(answer(asked, id, found.before(now_ms, stamp)?).await),
        Err(problem) => Some(Err(problem)),
    }
}

async fn command(asked: &Asked, id: RunId, command: &Command) -> Result<HttpResponse, Problem> {
    let verdict = asked.room.desk.command(id, command, asked.stamp()?).await?;
    answer(asked, id, verdict).await
}

async fn answer(asked: &Asked, id: RunId, verdict: Result<(), Refused>) -> Result<HttpResponse, Problem> {
    match verdict {
        Ok(()) => Ok(fresh(&view(asked, id).await?)),
        Err(refused) => Err(told(refused, id)),
    }
}

fn told(refused: Refused, id: RunId) -> Problem {
    match refused {
        Refused::AlreadyEnded => {
            Problem::new(Code::AlreadyEnded, format!("the activeflow {id} has ended already"))
        }
        Refused::StaleAction => {
            Problem::new(Code::StaleAction, "current_action_id: another action is under way by now")
        }
        Refused::NotBlocked => Problem::new(Code::NotBlocked, "the action under way is no block"),
        Refused::KeyReused => reused(),
        // Neither is said to what can be asked here.
        Refused::NotInterruptible | Refused::TooMuch => Problem::invalid("this can't be done to it now"),
        Refused::Limit => {
            Problem::new(Code::Limit, "this was one execute call too many; the activeflow has ended")
        }
    }
}

fn list_for(asked: &Asked, found: &Found, actions: &RawValue) -> Result<Vec<ActionNode>, Problem> {
    let desk = &asked.room.desk;
    // Two pushes of the same actions are two, and so are their ids.
    let seed = (desk.mint)(desk.clock.now().wall_ms).to_string();
    desk.grammar.list_of(text(asked), actions, &seed, &words_of(&found.run))
}

impl Id {
    /// The same key of the same token leads to the same activeflow, also after a restart that forgot the answer.
    pub(super) fn of_key(asked: &Asked) -> Result<Id, Problem> {
        let token = asked.request.extensions().get::<Asker>().map_or([0; 32], |asker| asker.token);
        let key = ledger::key_of(&asked.request)?;
        Ok(match key {
            Some(key) => Id::OfKey(ledger::derived(&token, asked.request.path(), &key)),
            None => Id::New,
        })
    }
}

async fn view(asked: &Asked, id: RunId) -> Result<Value, Problem> {
    asked.room.directory.run(id.0).await?.ok_or_else(|| unknown(&id))
}

fn id(asked: &Asked) -> Result<RunId, Problem> {
    let id = asked.segment("id");
    // No activeflow can have an id that is no UUID.
    Uuid::parse_str(id).map(RunId).map_err(|_| unknown(&id))
}

fn unknown(id: &dyn std::fmt::Display) -> Problem {
    Problem::new(Code::ActiveflowNotFound, format!("there is no activeflow {id}"))
}

/// The body as text; JSON that was read is UTF-8.
fn text(asked: &Asked) -> &str {
    std::str::from_utf8(&asked.body).unwrap_or_default()
}

/// Exporters write the nil UUID and empty text for "none".
fn present(id: Option<String>) -> Option<String> {
    id.filter(|id| !id.is_empty() && *id != Uuid::nil().to_string())
}

/// Longer addresses than servers take.
const URI_BYTES_MAX: usize = 2048;
pub(super) const STATUSES: [&str; 2] = ["running", "ended"];
pub(super) const END_REASONS: [&str; 6] =
    ["completed", "stopped", "call_ended", "canceled", "failed", "limit"];
pub(super) const REFERENCE_TYPES: [&str; 8] =
    ["call", "conversation", "api", "campaign", "transcribe", "recording", "ai", "workflow"];
