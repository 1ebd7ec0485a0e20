//! The demo's world: the sample workflows in a folder of their own, and a configuration that needs nothing else.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tempfile::TempDir;

use crate::config::{Config, JournalKind, LogFormat, Secret};

/// The pretend network signs with it, and the server checks it.
pub(super) const AUTH_TOKEN: &str = "demo";

/// The sample workflows are part of the binary, so the demo runs from anywhere.
const SAMPLES: &[(&str, &[u8])] = &[
    ("after-hours-line.yaml", include_bytes!("../../../flows/after-hours-line.yaml")),
    ("after-hours.yaml", include_bytes!("../../../flows/after-hours.yaml")),
    ("assistant-line.yaml", include_bytes!("../../../flows/assistant-line.yaml")),
    ("assistant.yaml", include_bytes!("../../../flows/assistant.yaml")),
    ("hello.yaml", include_bytes!("../../../flows/hello.yaml")),
    ("intake-line.yaml", include_bytes!("../../../flows/intake-line.yaml")),
    ("intake.yaml", include_bytes!("../../../flows/intake.yaml")),
    ("reminder-line.yaml", include_bytes!("../../../flows/reminder-line.yaml")),
    ("reminder.yaml", include_bytes!("../../../flows/reminder.yaml")),
    ("sounds/music.wav", include_bytes!("../../../flows/sounds/music.wav")),
    ("support-agent.yaml", include_bytes!("../../../flows/support-agent.yaml")),
    ("support-line.yaml", include_bytes!("../../../flows/support-line.yaml")),
    ("support.yaml", include_bytes!("../../../flows/support.yaml")),
    ("survey-line.yaml", include_bytes!("../../../flows/survey-line.yaml")),
    ("survey.yaml", include_bytes!("../../../flows/survey.yaml")),
    ("tour-line.yaml", include_bytes!("../../../flows/tour-line.yaml")),
    ("tour.yaml", include_bytes!("../../../flows/tour.yaml")),
    ("voicemail-line.yaml", include_bytes!("../../../flows/voicemail-line.yaml")),
    ("voicemail.yaml", include_bytes!("../../../flows/voicemail.yaml")),
];

/// A fresh folder with the workflows in it; removed when it is dropped.
pub(super) fn folder() -> io::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("holdline-demo-").tempdir()?;
    for (name, bytes) in SAMPLES {
        let path = folder.path().join("flows").join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, bytes)?;
    }
    Ok(folder)
}

/// Free ports on loopback, everything in `folder`. The environment has no say: the demo is the same everywhere.
pub(super) fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    (config.public.bind, config.control.bind) = (any_port, any_port);
    config.public.bare_streams = false;
    config.twilio.auth_tokens = vec![Secret::new(AUTH_TOKEN)];
    config.flows.dir = folder.join("flows");
    config.journal.kind = JournalKind::Memory;
    config.journal.path = folder.join("data");
    // The transcript is the show; of the log only what went wrong.
    config.log.level = "warn".to_owned();
    config.log.format = LogFormat::Text;
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    #[test]
    fn the_binary_brings_every_sample_along() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("flows");
        let (mut folders, mut found) = (vec![root.clone()], BTreeSet::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path: PathBuf = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(&root).unwrap().to_string_lossy().into_owned());
                }
            }
        }
        let embedded: BTreeSet<String> = SAMPLES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(embedded, found);
    }
}
