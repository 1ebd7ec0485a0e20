//! `GET /docs`: a page that reads `/openapi.json` and shows it. The page itself has no data, so it is open; what it
//! shows needs the token, which it asks for.

use actix_web::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use actix_web::{HttpResponse, Resource};

use crate::web::route;

pub fn resource() -> Resource {
    route::looks("/docs", || async { page() })
}

fn page() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(PAGE)
}

const PAGE: &str = include_str!("docs.html");
/// Nothing from elsewhere; the page's own script and style stand in it.
const POLICY: &str = "default-src 'none'; connect-src 'self'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
