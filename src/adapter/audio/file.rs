//! Sound files beside a workflow's own file, and never anywhere else.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

use holdline_core::scene::ErrorClass;

use super::Failure;
use super::cache::Key;
use crate::config::nearest;

/// Names that are looked through for the one that was meant.
const NAMES_MAX: usize = 1000;

pub(super) struct Found {
    /// As the workflow calls it.
    name: String,
    path: PathBuf,
    modified: Option<SystemTime>,
    bytes: u64,
}

/// The file that a name means, if it may be played.
pub(super) fn find(folder: &Path, name: &str) -> Result<Found, Failure> {
    let plain = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if name.is_empty() || name.contains('\0') || !Path::new(name).components().all(plain) {
        let message = format!("expected a file in the workflow's own folder, got {name:?}");
        return Err((ErrorClass::Invalid, message));
    }
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => missing(folder, name),
        _ => (ErrorClass::Unavailable, format!("the file {name:?} cannot be read: {error}")),
    };
    let folder = fs::canonicalize(folder).map_err(unreadable)?;
    let path = fs::canonicalize(folder.join(name)).map_err(unreadable)?;
    if !path.starts_with(&folder) {
        let message = format!("the file {name:?} leads out of the workflow's folder");
        return Err((ErrorClass::Invalid, message));
    }
    let metadata = fs::metadata(&path).map_err(unreadable)?;
    // Opening a pipe would wait for somebody who writes into it.
    if !metadata.is_file() {
        return Err((ErrorClass::Invalid, format!("expected a sound file, but {name:?} is none")));
    }
    let (modified, bytes) = (metadata.modified().ok(), metadata.len());
    Ok(Found { name: name.to_owned(), path, modified, bytes })
}

impl Found {
    pub(super) fn key(&self) -> Key {
        Key::File { path: self.path.clone(), modified: self.modified, bytes: self.bytes }
    }

    pub(super) fn read(&self, bytes_max: usize) -> Result<Vec<u8>, Failure> {
        let name = &self.name;
        let unreadable =
            |error| (ErrorClass::Unavailable, format!("the file {name:?} cannot be read: {error}"));
        let mut bytes = Vec::new();
        let file = File::open(&self.path).map_err(unreadable)?;
        file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() > bytes_max {
            let message = format!("the file {name:?} is longer than [media] file_bytes_max = {bytes_max}");
            return Err((ErrorClass::Invalid, message));
        }
        Ok(bytes)
    }
}

/// Says which file was probably meant.
fn missing(folder: &Path, name: &str) -> Failure {
    let beside = Path::new(name).parent().map(|parent| folder.join(parent)).unwrap_or_default();
    let entries = fs::read_dir(beside).into_iter().flatten().take(NAMES_MAX).flatten();
    let names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let wanted = Path::new(name).file_name().and_then(|wanted| wanted.to_str()).unwrap_or(name);
    let meant = match nearest(wanted, names.iter().map(String::as_str)) {
        Some(near) => format!("; did you mean {near:?}?"),
        None => String::new(),
    };
    (ErrorClass::Invalid, format!("there is no file {name:?} in the workflow's folder{meant}"))
}
