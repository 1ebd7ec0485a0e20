//! `GET /v1/calls/{call}/recordings/{file}`: a recording of ours, whole or by ranges.

use std::path::{Component, Path};

use actix_files::NamedFile;
use actix_web::HttpResponse;
use actix_web::http::Method;
use actix_web::http::header::{ContentDisposition, DispositionType};

use crate::web::problem::{Code, Problem};
use crate::web::route::{Asked, Body, Route};

pub static FETCH: Route = Route {
    method: Method::GET,
    path: "/v1/calls/{call}/recordings/{file}",
    about: "A recording of ours as a WAV file, whole or by ranges.",
    query: &[],
    body: Body::None,
    answers: &[
        (200, "the file"),
        (206, "a part of it"),
        (304, "it has not changed"),
        (416, "it has no such part"),
    ],
    refusals: &[Code::CallNotFound, Code::NotFound],
    run: |asked| Box::pin(fetch(asked)),
};

async fn fetch(asked: Asked) -> Result<HttpResponse, Problem> {
    let (call, file) = (asked.segment("call"), asked.segment("file"));
    if asked.room.directory.call(call).await?.is_none() {
        return Err(Problem::new(Code::CallNotFound, format!("there is no call {call}")));
    }
    let missing = || Problem::new(Code::NotFound, format!("the call {call} has no recording {file}"));
    if !belongs(call, file) {
        return Err(missing());
    }
    let named = NamedFile::open(asked.room.recordings.join(file)).map_err(|_| missing())?;
    let as_is = ContentDisposition { disposition: DispositionType::Inline, parameters: Vec::new() };
    Ok(named.set_content_disposition(as_is).into_response(&asked.request))
}

/// A call's recordings are named after it; nothing else of the folder can be asked for.
fn belongs(call: &str, file: &str) -> bool {
    let mut components = Path::new(file).components();
    let plain = matches!(components.next(), Some(Component::Normal(name)) if name == file);
    let number = file.strip_prefix(call).and_then(|rest| rest.strip_prefix('-'));
    plain && components.next().is_none() && number.is_some_and(|number| number.ends_with(".wav"))
}

#[cfg(test)]
mod tests {
    use super::belongs;

    #[test]
    fn only_a_calls_own_recordings_can_be_asked_for() {
        assert!(belongs("CA1", "CA1-1.wav"));
        for other in
            ["CA2-1.wav", "CA1-1.txt", "../CA1-1.wav", "CA1-/../instance.key", "CA1", "", "CA1-../x.wav/"]
        {
            assert!(!belongs("CA1", other), "{other}");
        }
    }
}
