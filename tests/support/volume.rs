//! A disk of a few megabytes that really is one: a file system in memory, mounted for a test. It can be full, and it can
//! be taken away.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Volume {
    folder: PathBuf,
}

impl Volume {
    /// Mounts it at a folder; none where that is not allowed.
    pub fn mount(folder: &Path, megabytes: u32) -> Option<Volume> {
        fs::create_dir_all(folder).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"])
            .arg(folder)
            .output();
        if !mounted.is_ok_and(|done| done.status.success()) {
            println!("no file system can be mounted here: nothing was checked");
            return None;
        }
        Some(Volume { folder: folder.to_owned() })
    }

    /// Another one's file takes every byte that is left.
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).unwrap();
        let mut piece = 1024 * 1024;
        while piece > 0 {
            if file.write_all(&vec![0xA5; piece]).is_err() {
                piece /= 2;
            }
        }
    }

    pub fn empty(&self) {
        fs::remove_file(self.filler()).unwrap();
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
