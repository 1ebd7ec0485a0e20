//! What a number had before it led here: a file in the data folder, until it is put back.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use holdline_core::provider::twilio::account::Addresses;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "what was there can't be kept in {path}: {why}. Nothing was changed; let this user write there, or set [journal] \
         path (--data) to a folder that it may write"
    )]
    Write { path: String, why: io::Error },
    #[error(
        "what was kept in {path} can't be read: {why}. Mend the file, or set the number in the account's console"
    )]
    Read { path: String, why: String },
}

pub struct Kept {
    file: PathBuf,
}

impl Kept {
    /// `number` holds a plus and digits, so it is a file's name as it is.
    pub fn of(data: &Path, number: &str) -> Kept {
        Kept { file: data.join("numbers").join(format!("{number}.json")) }
    }

    pub fn path(&self) -> String {
        self.file.display().to_string()
    }

    pub fn read(&self) -> Result<Option<Addresses>, Error> {
        let failed = |why: String| Error::Read { path: self.path(), why };
        match fs::read(&self.file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// What leads here already is not what was there: when one workflow follows another, the first of all stays kept.
    pub fn keep(&self, before: &Addresses, ours: &Addresses) -> Result<(), Error> {
        if self.file.exists() && is_of_one_house(before, ours) {
            return Ok(());
        }
        self.write(before).map_err(|why| Error::Write { path: self.path(), why })
    }

    /// Beside and then into place, and on disk before anything is changed elsewhere.
    fn write(&self, before: &Addresses) -> io::Result<()> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let aside = self.file.with_extension(format!("json.{}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&aside)?;
        file.write_all(&serde_json::to_vec_pretty(before)?)?;
        file.sync_all()?;
        fs::rename(&aside, &self.file)?;
        fs::File::open(folder)?.sync_all()
    }

    /// It is put back, so there is nothing to keep.
    pub fn forget(&self) -> Result<(), Error> {
        match fs::remove_file(&self.file) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => Err(Error::Write { path: self.path(), why }),
            _ => Ok(()),
        }
    }
}

/// Both lead to workflows of the same server.
fn is_of_one_house(before: &Addresses, ours: &Addresses) -> bool {
    let house = |addresses: &Addresses| {
        addresses.voice.url.split_once("/webhooks/").map(|(origin, _)| origin.to_owned())
    };
    house(ours).is_some() && house(before) == house(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_all_is_kept_until_it_is_put_back() {
        let data = tempfile::tempdir().unwrap();
        let kept = Kept::of(data.path(), "+14155550100");
        assert_eq!(kept.read().unwrap(), None);
        let (theirs, first, second) = (
            Addresses::of("https://theirs.example", "x"),
            Addresses::of("https://ours.example", "one"),
            Addresses::of("https://ours.example", "two"),
        );
        kept.keep(&theirs, &first).unwrap();
        kept.keep(&first, &second).unwrap();
        assert_eq!(kept.read().unwrap(), Some(theirs));
        // Somebody set it elsewhere in between: that is what is put back now.
        let others = Addresses::of("https://others.example", "y");
        kept.keep(&others, &second).unwrap();
        assert_eq!(kept.read().unwrap(), Some(others));
        kept.forget().unwrap();
        kept.forget().unwrap();
        assert_eq!(kept.read().unwrap(), None);
        fs::write(data.path().join("numbers/+14155550100.json"), "{").unwrap();
        assert!(kept.read().unwrap_err().to_string().contains("Mend the file"));
    }
}
