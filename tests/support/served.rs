//! The server as a process of its own, with a store on a disk that can be looked at.
#![allow(clippy::disallowed_methods)] // it lives in real time

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const CONFIG: &str = "\
[public]
bind = \"127.0.0.1:0\"
[control]
bind = \"127.0.0.1:0\"
[log]
format = \"text\"
level = \"info\"
";

/// `HOLDLINE__JOURNAL__KIND=sled` before a test or a bench has its servers keep their rows there.
pub fn chosen_store() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| name == "HOLDLINE__JOURNAL__KIND")
}

/// A folder with a configuration and workflows.
pub struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    /// `more` stands behind what every test of a process needs.
    pub fn new(flows: &[(&str, &str)], more: &str) -> Home {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("flows")).unwrap();
        for (name, text) in flows {
            fs::write(folder.path().join(format!("flows/{name}.yaml")), text).unwrap();
        }
        fs::write(folder.path().join("holdline.toml"), format!("{CONFIG}{more}")).unwrap();
        Home { folder }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    pub fn serve(&self) -> Served {
        self.serve_with::<&str>(&[])
    }

    /// With these in its environment, which is empty otherwise.
    pub fn serve_with<V: AsRef<OsStr>>(&self, environment: &[(&str, V)]) -> Served {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path().join("log")).unwrap();
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_holdline"))
            .args(["serve", "--config", "holdline.toml"])
            .env_clear()
            .envs(chosen_store())
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let address = |name: &str| {
            let address = ready.split_whitespace().find_map(|word| word.strip_prefix(name));
            address
                .map(str::to_owned)
                .unwrap_or_else(|| panic!("a ready line, got {ready:?}\n{}", self.log()))
        };
        let (public, control) = (address("public="), address("control="));
        Served { child, public, control, ready_after: began.elapsed() }
    }
}

pub struct Served {
    child: Child,
    pub public: String,
    pub control: String,
    pub ready_after: Duration,
}

impl Served {
    /// Memory that it really uses, in bytes.
    pub fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
    }

    /// How much of the processor it has used so far, in ticks of the kernel.
    pub fn worked(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        // Behind the name, which may hold anything, in its brackets.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As a service manager ends it; it must say that all went well.
    pub fn end(mut self) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &process]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a folder takes of the disk.
pub fn disk_bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => disk_bytes(&entry.path()),
            Ok(data) => std::os::unix::fs::MetadataExt::blocks(&data) * 512,
            Err(_) => 0, // deleted just now
        })
        .sum()
}
