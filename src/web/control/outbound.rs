//! Calls that are placed.

use actix_web::HttpMessage as _;
use actix_web::HttpResponse;
use actix_web::http::Method;
use holdline_core::outbound::Refused;
use serde_json::{Value, json};

use crate::desk::admitted;
use crate::placing::{NotPlaced, Wish};
use crate::web::auth::Asker;
use crate::web::ledger;
use crate::web::problem::{Code, Problem};
use crate::web::route::{Asked, Body, Route, created};

pub static ROUTES: &[Route] = &[at("/v1/calls"), at("/call/outbound")];

/// The second path is an older name of the first.
const fn at(path: &'static str) -> Route {
    Route {
        method: Method::POST,
        path,
        about: "Places a call. The same Idempotency-Key leads to the same call, also after a restart.",
        query: &[],
        body: Body::Json(|| schemars::schema_for!(Wish)),
        answers: &[(201, "the call, with the names of variables that were dropped")],
        refusals: &[
            Code::WorkflowNotFound,
            Code::NoCredentials,
            Code::CallRefused,
            Code::OutcomeUnknown,
            Code::Unavailable,
        ],
        run: |asked| Box::pin(place(asked)),
    }
}

async fn place(asked: Asked) -> Result<HttpResponse, Problem> {
    let mut wish: Wish = asked.json()?;
    let (variables, dropped) = admitted(std::mem::take(&mut wish.variables))?;
    wish.variables = variables;
    let call = asked.room.desk.placing.place(wish, key(&asked)?.as_deref()).await?;
    let view = asked.room.directory.call(&call.0).await?;
    let mut view = view.unwrap_or_else(|| json!({ "sid": call }));
    if let Some(view) = view.as_object_mut() {
        view.insert("dropped_variables".to_owned(), Value::from(dropped));
    }
    Ok(created(&format!("/v1/calls/{call}"), &view))
}

/// One key of one token: whoever else uses the same words means something else.
fn key(asked: &Asked) -> Result<Option<Vec<u8>>, Problem> {
    let token = asked.request.extensions().get::<Asker>().map_or([0; 32], |asker| asker.token);
    let key = ledger::key_of(&asked.request)?;
    Ok(key.map(|key| [token.as_slice(), key.as_bytes()].concat()))
}

impl From<NotPlaced> for Problem {
    fn from(why: NotPlaced) -> Problem {
        let code = match &why {
            NotPlaced::Invalid(_) => Code::InvalidRequest,
            NotPlaced::UnknownWorkflow(_) => Code::WorkflowNotFound,
            NotPlaced::NoCredentials => Code::NoCredentials,
            NotPlaced::Refused(Refused::ByNetwork { .. }) => Code::CallRefused,
            NotPlaced::Refused(Refused::Unknown { .. }) | NotPlaced::Slow => Code::OutcomeUnknown,
            NotPlaced::Refused(_) | NotPlaced::Draining | NotPlaced::Gone => Code::Unavailable,
        };
        let problem = Problem::new(code, why.to_string());
        match why {
            NotPlaced::Refused(Refused::ByNetwork { code, status, .. }) => {
                problem.with("network_status", status.into()).with("network_code", json!(code))
            }
            _ => problem,
        }
    }
}
