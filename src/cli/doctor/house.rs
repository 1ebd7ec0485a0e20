//! What is found without leaving the machine: configuration, workflows, the data folder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdline_actors::clock::Clock;
use holdline_actors::door::FlowBook;

use super::finding::Finding;
use crate::cli::check;
use crate::config::{Config, JournalKind, Sources};

/// One line for each problem, as they are told at a start.
pub fn configuration(sources: &Sources) -> Result<(Config, Finding), Vec<Finding>> {
    match Config::load(sources) {
        Ok(config) => {
            let from = match &sources.file {
                Some(file) => file.display().to_string(),
                None => "the defaults and HOLDLINE__SECTION__KEY (no --config was given)".to_owned(),
            };
            Ok((config, Finding::ok("configuration", from)))
        }
        Err(error) => {
            let cure =
                "mend it; `holdline config` shows what is in force, config.toml what each setting means";
            let told = error.problems.iter();
            Err(told.map(|problem| Finding::failed("configuration", problem.to_string(), cure)).collect())
        }
    }
}

pub fn workflows(config: &Config, sources: &Sources) -> Finding {
    let report = check::check(&[], sources);
    let dir = config.flows.dir.display();
    if let Some(error) = report.errors.first() {
        let more = match report.errors.len() {
            1 => String::new(),
            count => format!(", and {} more", count - 1),
        };
        let place = format!("{}:{}:{}", error.file, error.line, error.column);
        let told = format!("{place}: {}: {}{more}", error.path, error.message);
        let cure = match &error.suggestion {
            Some(suggestion) => format!("did you mean \"{suggestion}\"? `holdline check` tells every error"),
            None => "mend the file; `holdline check` tells every error with its position".to_owned(),
        };
        return Finding::failed("workflows", told, cure);
    }
    let files = crate::flows::workflow_files(&config.flows.dir).unwrap_or_default();
    if files.is_empty() {
        let cure = "put a workflow there, or name its folder by --flows or [flows] dir";
        return Finding::failed("workflows", format!("there is no workflow in {dir}"), cure);
    }
    let named = [
        ("default_workflow", &config.default_workflow),
        ("[calls] overflow_workflow", &config.calls.overflow_workflow),
    ];
    let library = crate::flows::FlowLibrary::load(config);
    for (setting, id) in named {
        if let Some(id) = id.as_ref().filter(|id| library.find(id).is_none()) {
            return Finding::warning(
                "workflows",
                format!("{setting} names \"{id}\", and no workflow in {dir} has that id"),
                format!("set {setting} to the id of a workflow, or to \"\""),
            );
        }
    }
    let count = files.len();
    match report.warnings.first() {
        None => Finding::ok("workflows", format!("{count} in {dir}, all sound")),
        Some(warning) => Finding::warning(
            "workflows",
            format!(
                "{} warnings, the first: {}:{}: {}",
                report.warnings.len(),
                warning.file,
                warning.line,
                warning.message
            ),
            "`holdline check` tells them all",
        ),
    }
}

/// Whether somebody has the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    Nobody,
    /// Its own words: `process 7`.
    Somebody(String),
}

pub fn owner(config: &Config) -> Owner {
    let path = config.journal.path.join("lock");
    let Ok(mut file) = OpenOptions::new().read(true).write(true).open(path) else { return Owner::Nobody };
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => {
            let mut words = String::new();
            let _ = (&mut file).take(64).read_to_string(&mut words);
            Owner::Somebody(if words.is_empty() { "a process without a name".to_owned() } else { words })
        }
        _ => Owner::Nobody,
    }
}

/// `answers`: a server was found at the configured address, so whoever has the folder is it.
pub fn data(config: &Config, owner: &Owner, answers: bool) -> Finding {
    if config.journal.kind == JournalKind::Memory {
        let cure = "set [journal] kind = \"sqlite\"";
        return Finding::warning(
            "data",
            "nothing is kept ([journal] kind = \"memory\"): calls end with the process",
            cure,
        );
    }
    let path = &config.journal.path;
    let setting = "[journal] path (HOLDLINE__JOURNAL__PATH, --data)";
    if let (Owner::Somebody(who), false) = (owner, answers) {
        return Finding::failed(
            "data",
            format!("{who} has {} open, and no server answers at the configured address", path.display()),
            format!("stop that process, or give this server a folder of its own by {setting}"),
        );
    }
    let folder = existing(path);
    if !folder.is_dir() {
        let message = format!("{} is no folder", folder.display());
        return Finding::failed("data", message, format!("set {setting} to a folder"));
    }
    let latency = match measure(&folder) {
        Ok(latency) => latency,
        Err(error) => {
            return Finding::failed(
                "data",
                format!("{} can't be written: {error}", folder.display()),
                format!("let this user write there, or set {setting} to a folder that it may write"),
            );
        }
    };
    let free = free(&folder).unwrap_or(u64::MAX);
    if free < FREE_LEAST {
        let message = format!("{} of room are left in {}", bytes(free), folder.display());
        let cure = format!(
            "make room: without it no call is taken; [journal] retention says how long ended calls are kept, {setting} where"
        );
        return Finding::failed("data", message, cure);
    }
    if free < FREE_LITTLE {
        let message = format!("only {} of room are left in {}", bytes(free), folder.display());
        return Finding::warning("data", message, "make room, or shorten [journal] retention");
    }
    let millis = latency.as_secs_f64() * 1000.0;
    if latency > SYNC_SLOW {
        return Finding::warning(
            "data",
            format!(
                "a write takes {millis:.1} ms until it is on disk: every caller waits that long at each step"
            ),
            format!("put {setting} on a faster disk, and not on a network's"),
        );
    }
    let whose = match owner {
        Owner::Somebody(who) => format!("open in {who}"),
        Owner::Nobody if path.is_dir() => "free".to_owned(),
        Owner::Nobody => "made at the first start".to_owned(),
    };
    let room = bytes(free);
    Finding::ok("data", format!("{}: {whose}, {room} of room, on disk within {millis:.1} ms", path.display()))
}

/// The folder, or the nearest one above it that is there already.
fn existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find(|folder| folder.exists());
    found.map_or(absolute.clone(), Path::to_owned)
}

/// The median of what a batch of the journal takes until it is on disk.
fn measure(folder: &Path) -> io::Result<Duration> {
    let clock = Clock::start();
    let mut file: File = tempfile::tempfile_in(folder)?;
    let mut took = Vec::new();
    for _ in 0..SYNCS {
        let began = clock.now().tick;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        took.push(clock.now().tick.0.saturating_sub(began.0));
    }
    took.sort_unstable();
    Ok(Duration::from_micros(took.get(SYNCS / 2).copied().unwrap_or_default()))
}

/// Bytes that this user may still write.
fn free(folder: &Path) -> io::Result<u64> {
    let volume = rustix::fs::statvfs(folder)?;
    Ok(volume.f_bavail.saturating_mul(volume.f_frsize))
}

fn bytes(count: u64) -> String {
    match count {
        0..10_000_000 => format!("{} kB", count / 1000),
        10_000_000..10_000_000_000 => format!("{} MB", count / 1_000_000),
        _ => format!("{} GB", count / 1_000_000_000),
    }
}

const SYNCS: usize = 15;
/// A good disk takes less than 5 ms, a spinning one 10. Beyond this a caller hears the pauses.
const SYNC_SLOW: Duration = Duration::from_millis(25);
/// The journal of a few thousand calls.
const FREE_LEAST: u64 = 50_000_000;
const FREE_LITTLE: u64 = 1_000_000_000;
