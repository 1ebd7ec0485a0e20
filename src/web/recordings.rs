//! `GET /v1/calls/{call}/recordings/{file}`: a recording of ours, whole or by ranges.

use std::path::{Component, Path, PathBuf};

use actix_files::NamedFile;
use actix_web::http::header::{ContentDisposition, DispositionType};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};

use crate::web::control::Directory;
use crate::web::problem::{Code, Problem};

/// Where recordings lie.
#[derive(Clone)]
pub struct Shelf(pub PathBuf);

pub fn configure(app: &mut ServiceConfig, shelf: Shelf) {
    app.app_data(web::Data::new(shelf));
    app.service(web::resource("/v1/calls/{call}/recordings/{file}").route(web::get().to(fetch)));
}

async fn fetch(
    path: web::Path<(String, String)>,
    request: HttpRequest,
    shelf: web::Data<Shelf>,
    directory: web::Data<dyn Directory>,
) -> Result<HttpResponse, Problem> {
    let (call, file) = path.into_inner();
    if directory.call(&call).await?.is_none() {
        return Err(Problem::new(Code::CallNotFound, format!("there is no call {call}")));
    }
    let missing = || Problem::new(Code::NotFound, format!("the call {call} has no recording {file}"));
    if !belongs(&call, &file) {
        return Err(missing());
    }
    let named = NamedFile::open(shelf.0.join(&file)).map_err(|_| missing())?;
    let as_is = ContentDisposition { disposition: DispositionType::Inline, parameters: Vec::new() };
    Ok(named.set_content_disposition(as_is).into_response(&request))
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
