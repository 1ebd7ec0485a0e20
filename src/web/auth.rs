//! Who may use the control API: bearer tokens with a role.

use std::net::IpAddr;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, HOST, ORIGIN};
use actix_web::http::{Method, Uri};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, web};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::{Role, Token};
use crate::web::problem::{Code, Problem};

/// The tokens that open the control API. Only their digests are kept, so no dump of memory gives them away.
#[derive(Clone, Default)]
pub struct Tokens {
    known: Vec<([u8; 32], Role)>,
}

/// Who asks, once it is known; found among the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asker {
    pub role: Role,
    /// Digest of the token; all zero without tokens. What one asker sent once is kept apart from what others sent.
    pub token: [u8; 32],
}

impl Tokens {
    pub fn new(tokens: &[Token]) -> Tokens {
        Tokens { known: tokens.iter().map(|token| (digest(token.token.expose()), token.role)).collect() }
    }

    /// Is nobody asked for a token?
    pub fn is_open(&self) -> bool {
        self.known.is_empty()
    }

    /// Compares with every token, whether or not one has matched: how long it takes tells nothing.
    fn asker(&self, given: &str) -> Option<Asker> {
        let given = digest(given);
        let mut best = None;
        for (known, role) in &self.known {
            let matches = bool::from(known.ct_eq(&given));
            if matches && best.is_none_or(|best| *role > best) {
                best = Some(*role);
            }
        }
        best.map(|role| Asker { role, token: given })
    }
}

/// Middleware of everything that needs a token; expects `web::Data<Tokens>`.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let asker = admit(&request)?;
    request.extensions_mut().insert(asker);
    next.call(request).await
}

fn admit(request: &ServiceRequest) -> Result<Asker, Problem> {
    let tokens = request.app_data::<web::Data<Tokens>>().map(|tokens| Arc::clone(tokens));
    let Some(tokens) = tokens else {
        return Err(Problem::new(Code::Internal, "the control API was mounted without its tokens"));
    };
    if tokens.is_open() {
        from_this_machine(request)?;
        return Ok(Asker { role: Role::Admin, token: [0; 32] });
    }
    let unauthorized = |detail: &str| Problem::new(Code::Unauthorized, detail);
    let given = request.headers().get(AUTHORIZATION).ok_or_else(|| {
        unauthorized("expected the header Authorization: Bearer …").challenge("Bearer realm=\"holdline\"")
    })?;
    let given = given.to_str().ok().and_then(|text| text.split_once(' '));
    let asker = match given {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => tokens.asker(token.trim()),
        _ => None,
    }
    .ok_or_else(|| {
        unauthorized("the token is not one of [control] tokens")
            .challenge("Bearer realm=\"holdline\", error=\"invalid_token\"")
    })?;
    let pattern = request.match_pattern().unwrap_or_default();
    let needed = needed_role(request.method(), &pattern);
    if asker.role < needed {
        let (needed, has) = (needed.word(), asker.role.word());
        return Err(Problem::new(Code::Forbidden, format!("expected the role \"{needed}\", got \"{has}\"")));
    }
    Ok(asker)
}

/// The role that a route needs. `pattern` is the route's own (`/v1/flows/{id}`), under whatever prefix it is mounted,
/// so no spelling of the path can stand for another. What is not in the table needs the most.
pub fn needed_role(method: &Method, pattern: &str) -> Role {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return Role::Read;
    }
    if *method != Method::POST {
        return Role::Admin;
    }
    let route = pattern.rfind("/v1/").and_then(|at| pattern.get(at + 4..)).unwrap_or("");
    let room = route.split('/').next().unwrap_or("");
    match room {
        "flows" if route == "flows/check" => Role::Read,
        "calls" | "activeflows" | "dead-letters" => Role::Operate,
        _ if pattern.ends_with("/call/outbound") => Role::Operate,
        _ => Role::Admin,
    }
}

/// Without tokens only this machine can connect, but any web page in a browser on this machine can, too. A page gives
/// itself away by its `Origin`, or, if it made its own name point here, by the `Host`.
fn from_this_machine(request: &ServiceRequest) -> Result<(), Problem> {
    let header = |name| request.headers().get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = header(HOST).unwrap_or("localhost");
    let name = host.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    if !bare.eq_ignore_ascii_case("localhost") && bare.parse::<IpAddr>().is_err() {
        return Err(Problem::new(
            Code::Forbidden,
            "without [control] tokens only requests to localhost or to an address are answered",
        ));
    }
    match header(ORIGIN) {
        Some(origin) if origin.split_once("://").map(|(_, origin)| origin) != Some(host) => {
            Err(Problem::new(Code::Forbidden, "without [control] tokens no other web page is answered"))
        }
        _ => Ok(()),
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use actix_web::http::header::WWW_AUTHENTICATE;
    use actix_web::middleware::from_fn;
    use actix_web::{App, HttpResponse, test};

    async fn status(tokens: &[Token], method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, bool) {
        let ok = || web::to(|| async { HttpResponse::Ok().finish() });
        let app = test::init_service(
            App::new().app_data(web::Data::new(Tokens::new(tokens))).service(
                web::scope("/under").wrap(from_fn(guard)).service(
                    web::scope("/v1")
                        .route("/calls", ok())
                        .route("/calls/{call}/hangup", ok())
                        .route("/activeflows/{id}", ok())
                        .route("/flows/check", ok())
                        .route("/flows/{id}", ok())
                        .route("/drain", ok()),
                ),
            ),
        )
        .await;
        let mut request = test::TestRequest::default().method(method.parse().unwrap()).uri(path);
        for (name, value) in headers {
            request = request.insert_header((*name, *value));
        }
        match test::try_call_service(&app, request.to_request()).await {
            Ok(answer) => (answer.status().as_u16(), false),
            Err(error) => {
                let answer = error.error_response();
                (answer.status().as_u16(), answer.headers().contains_key(WWW_AUTHENTICATE))
            }
        }
    }

    fn tokens() -> Vec<Token> {
        [("r", Role::Read), ("o", Role::Operate), ("a", Role::Admin)]
            .map(|(token, role)| Token { token: Secret::new(token), role })
            .to_vec()
    }

    #[actix_web::test]
    async fn each_role_may_do_what_it_is_for() {
        let routes = [
            ("GET", "/under/v1/calls", "roa"),
            ("POST", "/under/v1/flows/check", "roa"),
            ("POST", "/under/v1/calls", "oa"),
            ("POST", "/under/v1/calls/CA1/hangup", "oa"),
            ("DELETE", "/under/v1/activeflows/1", "a"),
            ("PUT", "/under/v1/flows/menu", "a"),
            ("PUT", "/under/v1/flows/check", "a"),
            ("POST", "/under/v1/flows/menu", "a"),
            ("POST", "/under/v1/drain", "a"),
        ];
        for (method, path, allowed) in routes {
            for token in ["r", "o", "a"] {
                let bearer = format!("Bearer {token}");
                let got = status(&tokens(), method, path, &[("authorization", &bearer)]).await;
                let expected = if allowed.contains(token) { 200 } else { 403 };
                assert_eq!(got.0, expected, "{method} {path} with {token}");
            }
        }
    }

    #[actix_web::test]
    async fn a_missing_or_wrong_token_is_challenged() {
        for header in [None, Some("Bearer x"), Some("Bearer"), Some("Basic r"), Some("r"), Some("Bearer ")] {
            let headers: Vec<_> = header.iter().map(|value| ("authorization", *value)).collect();
            assert_eq!(
                status(&tokens(), "GET", "/under/v1/calls", &headers).await,
                (401, true),
                "{header:?}"
            );
        }
        let lower = [("authorization", "bearer r")];
        assert_eq!(status(&tokens(), "GET", "/under/v1/calls", &lower).await.0, 200);
    }

    #[actix_web::test]
    async fn without_tokens_a_foreign_web_page_is_refused() {
        let table: [(&[(&str, &str)], u16); 7] = [
            (&[("host", "127.0.0.1:8081")], 200),
            (&[("host", "localhost:8081"), ("origin", "http://localhost:8081")], 200),
            (&[("host", "[::1]:8081")], 200),
            (&[("host", "127.0.0.1:8081"), ("origin", "https://evil.example")], 403),
            (&[("host", "127.0.0.1:8081"), ("origin", "http://127.0.0.1:9999")], 403),
            (&[("host", "127.0.0.1:8081"), ("origin", "null")], 403),
            (&[("host", "rebound.example:8081")], 403),
        ];
        for (headers, expected) in table {
            assert_eq!(status(&[], "POST", "/under/v1/drain", headers).await.0, expected, "{headers:?}");
        }
    }
}
