//! The dashboard: a page at `/` of the control listener and the few files that it is made of, all in the binary. They
//! hold no data, so they are open; what they show, the page asks of the API with the token that it was given.

use std::sync::LazyLock;

use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, LOCATION,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, web};
use sha2::{Digest, Sha256};

use crate::web::problem::{self, Problem};
use crate::web::route;

/// One file as it is served.
struct File {
    name: &'static str,
    body: &'static str,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(File { name: $name, body: include_str!(concat!("dashboard/", $name)) }),*]
    };
}

static PAGE: File = File { name: "index.html", body: include_str!("dashboard/index.html") };
static FILES: &[File] = files![
    "api.js",
    "app.js",
    "call.js",
    "calls.js",
    "dom.js",
    "flows.js",
    "graph.js",
    "icon.svg",
    "keys.js",
    "layout.js",
    "letters.js",
    "live.js",
    "meter.js",
    "pages.css",
    "parts.css",
    "parts.js",
    "run.js",
    "runs.js",
    "steps.js",
    "style.css",
    "timeline.js",
    "wave.js",
    "words.js",
];

/// Mounts the page and its files. They name each other relatively, so any prefix will do.
pub fn configure(app: &mut web::ServiceConfig) {
    app.service(route::looks("", page));
    app.service(route::looks("/", page));
    app.service(route::looks("/ui/{name}", file));
}

async fn page(request: HttpRequest) -> HttpResponse {
    // Relative links need the slash at the end, which a prefix may lack.
    if let Some(last) = request.path().rsplit('/').next().filter(|last| !last.is_empty()) {
        return HttpResponse::PermanentRedirect().insert_header((LOCATION, format!("{last}/"))).finish();
    }
    serve(&request, &PAGE)
}

async fn file(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let name = request.match_info().get("name").unwrap_or_default();
    match FILES.iter().find(|file| file.name == name) {
        Some(file) => Ok(serve(&request, file)),
        None => problem::not_found(request).await,
    }
}

/// Browsers ask each time whether what they have is still right, so a new version is seen at once.
fn serve(request: &HttpRequest, file: &File) -> HttpResponse {
    let tag = tag(file);
    let known = request.headers().get(IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    let is_known = known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag));
    let mut answer = HttpResponse::build(if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK });
    answer
        .insert_header((CONTENT_TYPE, media(file.name)))
        .insert_header((ETAG, tag))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((REFERRER_POLICY, "no-referrer"))
        .insert_header((HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .insert_header((HeaderName::from_static("cross-origin-resource-policy"), "same-origin"));
    if is_known { answer.finish() } else { answer.body(file.body) }
}

/// One for all files: the modules of two versions must not be mixed.
fn tag(_: &File) -> &'static str {
    static TAG: LazyLock<String> = LazyLock::new(|| {
        let mut digest = Sha256::new();
        for file in FILES.iter().chain([&PAGE]) {
            digest.update(file.body);
        }
        let digest = digest.finalize();
        let hex: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("\"{hex}\"")
    });
    &TAG
}

fn media(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/javascript; charset=utf-8",
    }
}

/// Nothing from elsewhere, nothing inline, and no text that could become markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
                      media-src blob:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::App;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};

    async fn ask(path: &str, known: Option<&str>) -> (u16, HttpResponse<Vec<u8>>) {
        let app = init_service(
            App::new().service(web::scope("/under/it").configure(configure)).configure(configure),
        )
        .await;
        let mut request = TestRequest::get().uri(path);
        if let Some(known) = known {
            request = request.insert_header((IF_NONE_MATCH, known));
        }
        let answer = call_service(&app, request.to_request()).await;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut whole = HttpResponse::with_body(status, read_body(answer).await.to_vec());
        *whole.headers_mut() = headers;
        (status.as_u16(), whole)
    }

    #[actix_web::test]
    async fn the_page_and_its_files_are_served_under_any_prefix_and_let_nothing_else_in() {
        for path in ["/", "/under/it/", "/ui/app.js", "/under/it/ui/style.css", "/ui/icon.svg"] {
            let (status, answer) = ask(path, None).await;
            let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap();
            assert_eq!(status, 200, "{path}");
            assert!(header(CONTENT_SECURITY_POLICY).starts_with("default-src 'none'; script-src 'self';"));
            assert!(!header(CONTENT_SECURITY_POLICY).contains("unsafe"));
            assert_eq!((header(X_CONTENT_TYPE_OPTIONS), header(REFERRER_POLICY)), ("nosniff", "no-referrer"));
            let tag = header(ETAG).to_owned();
            let (status, answer) = ask(path, Some(&format!("\"other\", {tag}"))).await;
            assert_eq!((status, answer.body().len()), (304, 0), "{path}");
        }
        let (status, answer) = ask("/under/it", None).await;
        assert_eq!((status, answer.headers().get(LOCATION).unwrap().to_str().unwrap()), (308, "it/"));
        assert_eq!(ask("/ui/nothing.js", None).await.0, 404);
    }

    #[test]
    fn every_file_that_is_named_is_there_and_every_file_is_named() {
        let mut named = std::collections::BTreeSet::new();
        for file in FILES.iter().chain([&PAGE]) {
            for quoted in file.body.split('"') {
                named.extend(quoted.strip_prefix("./").or(quoted.strip_prefix("ui/")));
            }
        }
        let served: std::collections::BTreeSet<&str> = FILES.iter().map(|file| file.name).collect();
        assert_eq!(named, served);
    }

    #[test]
    fn no_text_is_ever_read_as_markup() {
        for file in FILES.iter().chain([&PAGE]) {
            for forbidden in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "Function(",
                "http://",
                "https://",
            ] {
                // The name of a namespace is no address.
                let body = file.body.replace("http://www.w3.org/2000/svg", "");
                assert!(!body.contains(forbidden), "{} has {forbidden}", file.name);
            }
        }
    }
}
