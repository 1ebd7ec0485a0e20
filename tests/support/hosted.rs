//! A server in a thread of this process, with arbiters of its own, so that it shares no executor with its callers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use actix_web::{App, HttpServer};
use futures::future::BoxFuture;
use holdline::cli::serve::Server;
use holdline::config::Config;
use holdline::runtime::{Parts, Runtime, parts};
use holdline::serve::{Addresses, Listeners, on_connect};
use holdline_actors::port::audio::{Audio, Loaded};
use holdline_core::WorkflowId;
use holdline_core::media::tone;
use holdline_core::scene::{ErrorClass, Sound};
use holdline_harness::network::tone::write_wav;
use tokio::sync::oneshot;

pub struct Hosted {
    pub addresses: Addresses,
    pub runtime: Arc<Runtime>,
    pub folder: tempfile::TempDir,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Who carries the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// The server of its own owns its sockets.
    Own,
    /// Mounted in somebody's actix-web app.
    Embedded,
}

impl Hosted {
    /// Serves `flows` (name and YAML) on free ports. `change` has the last word on the configuration.
    pub fn start(flows: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Hosted {
        Hosted::carried(Carrier::Own, flows, change)
    }

    pub fn carried(carrier: Carrier, flows: &[(&str, &str)], change: impl FnOnce(&mut Config)) -> Hosted {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in flows {
            std::fs::write(folder.path().join(format!("{name}.yaml")), text).unwrap();
        }
        Hosted::in_folder(carrier, folder, change)
    }

    /// The next process on the same folder.
    pub fn again(mut self, change: impl FnOnce(&mut Config)) -> Hosted {
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        drop(self);
        Hosted::in_folder(Carrier::Own, folder, change)
    }

    fn in_folder(carrier: Carrier, folder: tempfile::TempDir, change: impl FnOnce(&mut Config)) -> Hosted {
        // A workflow may only name files that are there.
        std::fs::write(folder.path().join("counted.wav"), write_wav(&[])).unwrap();
        let mut config = Config::default();
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        (config.public.bind, config.control.bind) = (loopback, loopback);
        config.flows.dir = folder.path().to_owned();
        config.journal.path = folder.path().join("data");
        change(&mut config);
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("server".into()).spawn(move || {
            actix_rt::System::new().block_on(async move {
                let parts = Parts { audio: Arc::new(Sounds), ..parts(&config).unwrap() };
                match carrier {
                    Carrier::Own => {
                        let server = Server::start(&config, parts).await.unwrap();
                        tell.send((server.addresses.clone(), server.runtime.clone())).unwrap();
                        let _ = ended.await;
                        server.end(std::future::ready(())).await;
                    }
                    Carrier::Embedded => embedded(&config, parts, tell, ended).await,
                }
            });
        });
        let (addresses, runtime) = told.recv().unwrap();
        Hosted { addresses, runtime, folder, end: Some(end), thread: Some(thread.unwrap()) }
    }

    pub fn public(&self) -> String {
        format!("http://{}", self.addresses.public)
    }

    pub fn control(&self) -> String {
        format!("http://{}", self.addresses.control)
    }
}

/// As a user's own program does it.
async fn embedded(
    config: &Config,
    parts: Parts,
    tell: std::sync::mpsc::Sender<(Addresses, Arc<Runtime>)>,
    ended: oneshot::Receiver<()>,
) {
    let listeners = Listeners::open(config).unwrap();
    let addresses = listeners.addresses(config).await.unwrap();
    let runtime = Arc::new(Runtime::start(config, addresses.origin.clone(), parts));
    runtime.recover().await.unwrap();
    let (public, control) = (runtime.configure_public(), runtime.configure_control());
    let public = HttpServer::new(move || App::new().configure(public.clone()))
        .on_connect(on_connect)
        .disable_signals()
        .workers(1)
        .listen(listeners.public)
        .unwrap()
        .run();
    let control = HttpServer::new(move || App::new().configure(control.clone()))
        .disable_signals()
        .workers(1)
        .listen(listeners.control)
        .unwrap()
        .run();
    let handles = [public.handle(), control.handle()];
    actix_rt::spawn(public);
    actix_rt::spawn(control);
    tell.send((addresses, runtime.clone())).unwrap();
    let _ = ended.await;
    runtime.drain(std::future::ready(())).await;
    runtime.hand_over().await;
    for handle in handles {
        handle.stop(true).await;
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            let _ = end.send(());
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server's own thread panicked");
        }
    }
}

/// Tones, and files that are a caller's counted frames: no disk, no decoder.
struct Sounds;

impl Audio for Sounds {
    fn load(&self, _: &WorkflowId, what: &Sound) -> BoxFuture<'static, Loaded> {
        let sound = match what {
            Sound::Beep { hz, ms } => tone::beep(*hz, *ms).map_err(|error| error.to_string()),
            Sound::Tones { digits, duration_ms, interval_ms } => {
                tone::digits(digits, *duration_ms, *interval_ms).map_err(|error| error.to_string())
            }
            Sound::File(_) => Ok(super::crowd::counted(super::crowd::FILE, super::crowd::FILE_FRAMES)),
            other => Err(format!("no sound for {other:?}")),
        };
        let loaded = sound.map(Into::into).map_err(|why| (ErrorClass::Unavailable, why));
        Box::pin(std::future::ready(loaded))
    }
}
