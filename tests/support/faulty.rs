//! A layer under the server's files that can fail: a library of a few functions between it and the system, compiled here
//! and loaded into the process as it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const SOURCE: &str = include_str!("faulty.c");

pub struct Layer {
    library: PathBuf,
    fault: PathBuf,
    faulty: PathBuf,
}

/// As the system numbers them.
#[derive(Debug, Clone, Copy)]
pub enum Error {
    Io = 5,
    NoSpace = 28,
}

impl Layer {
    /// Under the files of a data folder; none where it can't be compiled.
    pub fn build(folder: &Path, data: &Path) -> Option<Layer> {
        let (source, library) = (folder.join("faulty.c"), folder.join("faulty.so"));
        fs::write(&source, SOURCE).unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output();
        match compiled {
            Ok(done) if done.status.success() => {
                Some(Layer { library, fault: folder.join("fault"), faulty: data.to_owned() })
            }
            Ok(done) => panic!("{}", String::from_utf8_lossy(&done.stderr)),
            Err(_) => {
                println!("there is no C compiler here: nothing was checked");
                None
            }
        }
    }

    /// What a process needs in its environment.
    pub fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [("LD_PRELOAD", self.library.clone()), ("FAULT", self.fault.clone()), ("FAULTY", self.faulty.clone())]
    }

    /// From here on nothing can be written.
    pub fn fail(&self, error: Error) {
        let whole = self.fault.with_extension("new");
        fs::write(&whole, (error as i32).to_string()).unwrap();
        fs::rename(whole, &self.fault).unwrap();
    }

    pub fn work(&self) {
        fs::remove_file(&self.fault).unwrap();
    }
}
