//! The instance's key: made at the first start, the same for as long as the data folder lives.
//!
//! Stream tokens derive from it, so a process that takes over after a crash admits the streams that the one before it
//! has promised.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

pub const KEY_BYTES: usize = 32;
const FILE: &str = "instance.key";

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstanceKeyError {
    #[error("the instance's key {path} cannot be read: {why}")]
    Read { path: PathBuf, why: io::Error },
    #[error("the instance's key {path} cannot be made: {why}")]
    Make { path: PathBuf, why: io::Error },
    #[error(
        "the instance's key {path} must hold exactly {KEY_BYTES} bytes, it holds {found}; restore it, or delete it \
         and give up the streams of calls that are still up"
    )]
    Size { path: PathBuf, found: String },
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
}

/// The key in `data`, made if there is none.
pub fn instance_key(data: &Path) -> Result<[u8; KEY_BYTES], InstanceKeyError> {
    let path = data.join(FILE);
    match read(&path) {
        Err(InstanceKeyError::Read { why, .. }) if why.kind() == io::ErrorKind::NotFound => {
            make(data, &path)?;
            // Not what was just made but what is there: two processes may begin at once.
            read(&path)
        }
        found => found,
    }
}

fn read(path: &Path) -> Result<[u8; KEY_BYTES], InstanceKeyError> {
    let failed = |why| InstanceKeyError::Read { path: path.to_owned(), why };
    let file = File::open(path).map_err(failed)?;
    warn_if_open(path, &file);
    let mut bytes = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let found = if bytes.len() > KEY_BYTES { "more".to_owned() } else { bytes.len().to_string() };
    bytes.try_into().map_err(|_| InstanceKeyError::Size { path: path.to_owned(), found })
}

/// Written aside and linked into place, so that nobody ever reads half a key, and the first of two makers wins.
fn make(data: &Path, path: &Path) -> Result<(), InstanceKeyError> {
    let failed = |why| InstanceKeyError::Make { path: path.to_owned(), why };
    let mut key = [0; KEY_BYTES];
    getrandom::fill(&mut key).map_err(InstanceKeyError::Random)?;
    fs::create_dir_all(data).map_err(failed)?;
    let aside = options_aside();
    let aside_path = data.join(format!("{FILE}.{}", std::process::id()));
    let _ = fs::remove_file(&aside_path); // of a process of this number that died here
    let mut file = aside.open(&aside_path).map_err(failed)?;
    let written = file.write_all(&key).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| match fs::hard_link(&aside_path, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        // Some file systems have no links.
        Err(_) => fs::rename(&aside_path, path),
        Ok(()) => Ok(()),
    });
    let _ = fs::remove_file(&aside_path);
    placed.map_err(failed)?;
    // The name must be on disk as well, before a token is promised to anybody.
    if let Ok(folder) = File::open(data) {
        let _ = folder.sync_all();
    }
    Ok(())
}

fn options_aside() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(unix)]
fn warn_if_open(path: &Path, file: &File) {
    use std::os::unix::fs::PermissionsExt;
    if file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
        tracing::warn!(path = %path.display(), "others can read the instance's key; its mode should be 0600");
    }
}

#[cfg(not(unix))]
fn warn_if_open(_: &Path, _: &File) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let key = instance_key(&data).unwrap();
        assert_ne!(key, [0; KEY_BYTES]);
        assert_eq!(instance_key(&data).unwrap(), key);
        let names: Vec<_> = fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["instance.key"]);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(data.join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_ne!(instance_key(&folder.path().join("other")).unwrap(), key);
    }

    #[test]
    fn a_key_of_another_size_is_not_replaced() {
        let data = tempfile::tempdir().unwrap();
        for (bytes, said) in [(vec![1; 31], "holds 31"), (vec![1; 33], "holds more"), (vec![], "holds 0")] {
            fs::write(data.path().join(FILE), &bytes).unwrap();
            let error = instance_key(data.path()).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("exactly 32 bytes"), "{error}");
            assert_eq!(fs::read(data.path().join(FILE)).unwrap(), bytes);
        }
    }

    #[test]
    fn makers_at_once_agree() {
        let data = tempfile::tempdir().unwrap();
        make(data.path(), &data.path().join(FILE)).unwrap();
        let first = fs::read(data.path().join(FILE)).unwrap();
        make(data.path(), &data.path().join(FILE)).unwrap();
        assert_eq!(instance_key(data.path()).unwrap().to_vec(), first);
    }
}
