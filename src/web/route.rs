//! A route is declared once. From its declaration it is mounted, read, refused and described.

use std::sync::Arc;

use actix_web::guard::{self, Guard};
use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, Resource, ResponseError as _, rt, web};
use futures::future::LocalBoxFuture;
use holdline_core::once::Stamp;
use serde::{Deserialize, Serialize};

use crate::web::auth::Asker;
use crate::web::control::Room;
use crate::web::ledger;
use crate::web::problem::{self, Code, JSON_BYTES_MAX, Problem};
use crate::web::query::Query;

/// What can be asked at one path with one method.
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// One sentence for people.
    pub about: &'static str,
    /// The query parameters that it knows; any other is refused.
    pub query: &'static [&'static str],
    pub body: Body,
    /// What it answers when nothing is wrong.
    pub answers: &'static [(u16, &'static str)],
    /// The refusals of its own, beyond those that every route has.
    pub refusals: &'static [Code],
    pub run: fn(Asked) -> Answering,
}

pub type Answering = LocalBoxFuture<'static, Result<HttpResponse, Problem>>;

/// What a request carries.
#[derive(Clone, Copy)]
pub enum Body {
    /// Nothing; an empty object is nothing, too.
    None,
    /// JSON, which may be left out where nothing in it is needed.
    Json(fn() -> schemars::Schema),
    /// A workflow, as JSON or YAML.
    Document,
}

/// One request that is to be answered.
pub struct Asked {
    pub request: HttpRequest,
    pub room: Arc<Room>,
    pub query: Query,
    pub body: Bytes,
}

impl Asked {
    /// A part of the path.
    pub fn segment(&self, name: &str) -> &str {
        self.request.match_info().get(name).unwrap_or_default()
    }

    /// The body. serde's words name field, line and column, never a value longer than the sender's own.
    pub fn json<'b, T: Deserialize<'b>>(&'b self) -> Result<T, Problem> {
        let body: &[u8] = if self.body.is_empty() { b"{}" } else { &self.body };
        serde_json::from_slice(body).map_err(|error| Problem::invalid(format!("the body: {error}")))
    }

    /// What makes it the same when it comes again, if it has a key.
    pub fn stamp(&self) -> Result<Option<Stamp>, Problem> {
        Ok(ledger::key_of(&self.request)?.map(|key| self.entry(&key).stamp()))
    }

    fn entry(&self, key: &str) -> ledger::Entry {
        let token = self.request.extensions().get::<Asker>().map_or([0; 32], |asker| asker.token);
        ledger::Entry::of(&token, self.request.method().as_str(), self.request.path(), key, &self.body)
    }

    /// Whether the body says that it is YAML.
    pub fn is_yaml(&self) -> bool {
        YAML.contains(&self.request.content_type().to_ascii_lowercase().as_str())
    }
}

/// Mounts a table: one resource a path, which refuses the methods that the table has not.
pub fn mount(app: &mut web::ServiceConfig, routes: &[&'static Route]) {
    let mut paths: Vec<&'static str> = Vec::new();
    for route in routes {
        if !paths.contains(&route.path) {
            paths.push(route.path);
        }
    }
    for path in paths {
        let here: Vec<&'static Route> = routes.iter().copied().filter(|route| route.path == path).collect();
        app.service(resource(path, &here));
    }
}

fn resource(path: &str, routes: &[&'static Route]) -> Resource {
    let mut allowed = Vec::new();
    let mut resource = web::resource(path);
    for route in routes {
        allowed.push(route.method.clone());
        if route.method == Method::GET {
            allowed.push(Method::HEAD);
        }
        let route: &'static Route = route;
        let serve = move |request: HttpRequest, room: Data<Room>, payload: Payload| {
            serve(route, request, room.into_inner(), payload)
        };
        resource = resource.route(web::route().guard(method(route)).to(serve));
    }
    resource.default_service(problem::method_not_allowed(allowed))
}

fn method(route: &Route) -> impl Guard + use<> {
    let own = guard::Method(route.method.clone());
    let guard = guard::Any(own);
    if route.method == Method::GET { guard.or(guard::Head()) } else { guard }
}

async fn serve(
    route: &'static Route,
    request: HttpRequest,
    room: Arc<Room>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let query = Query::read(request.query_string(), route.query)?;
    if route.method == Method::GET {
        return (route.run)(Asked { request, room, query, body: Bytes::new() }).await;
    }
    let body = read(route, &request, payload).await?;
    let key = ledger::key_of(&request)?;
    let asked = Asked { request, room, query, body };
    // What was asked for is done also when whoever asked has gone, so that a second request finds it done.
    let doing = rt::spawn(async move {
        match key {
            None => (route.run)(asked).await,
            Some(key) => once(route, asked, &key).await,
        }
    });
    doing.await.map_err(|_| Problem::new(Code::Internal, "the request could not be carried out"))?
}

/// The same request again has the same answer, and one effect.
async fn once(route: &'static Route, asked: Asked, key: &str) -> Result<HttpResponse, Problem> {
    let entry = asked.entry(key);
    let room = asked.room.clone();
    let now_ms = room.desk.clock.now().wall_ms;
    let answer = async { (route.run)(asked).await.unwrap_or_else(|problem| problem.error_response()) };
    room.ledger.once(now_ms, entry, answer).await
}

async fn read(route: &Route, request: &HttpRequest, payload: Payload) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(Code::TooLarge, format!("expected at most {JSON_BYTES_MAX} bytes"));
    let body = payload.to_bytes_limited(JSON_BYTES_MAX).await.map_err(|_| too_large())?;
    let body = body.map_err(|_| Problem::invalid("the body could not be read"))?;
    let media = request.content_type().to_ascii_lowercase();
    let wrong = |expected: &str| {
        let detail = format!("expected Content-Type: {expected}, got \"{media}\"");
        Err(Problem::new(Code::UnsupportedMediaType, detail))
    };
    match route.body {
        _ if body.is_empty() => {}
        Body::Document if media != JSON && !YAML.contains(&media.as_str()) => {
            return wrong("application/json or application/yaml");
        }
        Body::Json(_) | Body::None if media != JSON => return wrong(JSON),
        // A list of values would be taken for an object's members in their order.
        Body::Json(_) | Body::None if body.trim_ascii_start().first() != Some(&b'{') => {
            return Err(Problem::invalid("the body: expected a JSON object"));
        }
        Body::None if !matches!(serde_json::from_slice(&body), Ok(Nothing {})) => {
            return Err(Problem::invalid("the body: expected none, or an empty object"));
        }
        _ => {}
    }
    Ok(body)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// JSON about this moment: nobody may answer with a kept copy.
pub fn fresh(value: &impl Serialize) -> HttpResponse {
    answer(actix_web::http::StatusCode::OK, value)
}

pub fn answer(status: actix_web::http::StatusCode, value: &impl Serialize) -> HttpResponse {
    let mut answer = HttpResponse::build(status).json(value);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Something new, and where it is to be found.
pub fn created(at: &str, value: &impl Serialize) -> HttpResponse {
    let mut answer = answer(actix_web::http::StatusCode::CREATED, value);
    if let Ok(at) = HeaderValue::from_str(at) {
        answer.headers_mut().insert(LOCATION, at);
    }
    answer
}

/// JSON that is a schema or a page of its own: it may be kept for as long as the process lives.
pub fn typed(media: &'static str, body: impl Into<Bytes>) -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, media)).body(body.into())
}

const JSON: &str = "application/json";
const YAML: [&str; 4] = ["application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"];

/// A resource of its own that can only be looked at, without a token.
pub fn looks<F, Args>(path: &str, handler: F) -> Resource
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    let guard = guard::Any(guard::Get()).or(guard::Head());
    web::resource(path)
        .route(web::route().guard(guard).to(handler))
        .default_service(problem::method_not_allowed(vec![Method::GET, Method::HEAD]))
}
