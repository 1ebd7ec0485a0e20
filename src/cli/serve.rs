//! `holdline serve`: the server, from its configuration to its last call.

use std::net::{Shutdown, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::{App, HttpServer};
use futures::StreamExt;
use socket2::SockRef;

use super::arguments::ServeArguments;
use super::{Exit, complain, print};
use crate::config::Config;
use crate::runtime::{Parts, Runtime, parts};
use crate::serve::{Addresses, Listeners, Signal, Signals, manager, on_connect};
use crate::telemetry;
use crate::web::own_server;

/// What is left of a drain is closed within this time, so that the network comes back to a server that is up.
const HAND_OVER: Duration = Duration::from_secs(2);
/// The network's API is not asked more often for what it holds to be in progress.
const SWEEP_EVERY_LEAST: Duration = Duration::from_secs(10);

pub(super) fn run(arguments: &ServeArguments) -> Exit {
    // A folder that somebody types is there; the one of the settings may come later, and is watched for.
    if let Some(folder) = arguments.place.flows.as_ref().filter(|folder| !folder.is_dir()) {
        complain(&format!(
            "holdline: --flows: expected a folder of workflows, but there is none at {}. Make it, or leave --flows \
             out for the one that the configuration names",
            folder.display()
        ));
        return Exit::CannotStart;
    }
    let config = match Config::load(&arguments.place.sources()) {
        Ok(config) => config,
        Err(error) => {
            complain(&error);
            return Exit::CannotStart;
        }
    };
    telemetry::init(&config.log);
    actix_rt::System::new().block_on(async move {
        match serve(&config).await {
            Ok(()) => Exit::Fine,
            Err(error) => {
                complain(&format!("holdline: {error}"));
                Exit::CannotStart
            }
        }
    })
}

async fn serve(config: &Config) -> Result<(), Box<dyn std::error::Error>> {
    let mut signals = Signals::listen()?;
    let server = Server::start(config, parts(config)?).await?;
    let voice = config.default_workflow.as_ref().map_or("WORKFLOW", |workflow| workflow.0.as_str());
    print(&format!("{}\n", server.addresses.ready_line(voice)));
    manager::ready();
    while let Some(signal) = signals.next().await {
        match signal {
            Signal::Reload => server.runtime.reload(),
            Signal::Drain | Signal::Now => break,
        }
    }
    manager::stopping();
    server.end(async move { while !matches!(signals.next().await, Some(Signal::Now) | None) {} }).await;
    Ok(())
}

/// A runtime and its two listeners, serving.
pub struct Server {
    pub runtime: Arc<Runtime>,
    pub addresses: Addresses,
    public: actix_web::dev::ServerHandle,
    control: actix_web::dev::ServerHandle,
    /// A second handle of the public listener; none when it is not ours to close.
    own_public: Option<TcpListener>,
}

impl Server {
    pub async fn start(config: &Config, parts: Parts) -> Result<Server, Box<dyn std::error::Error>> {
        let listeners = Listeners::open(config)?;
        let addresses = listeners.addresses(config).await?;
        let runtime = Arc::new(Runtime::start(config, addresses.origin.clone(), parts));
        runtime.recover().await?;
        let own_public = match listeners.public_is_inherited {
            true => None,
            false => Some(listeners.public.try_clone()?),
        };
        let routes = runtime.configure_public();
        let public = own_server::serve(listeners.public, routes, runtime.public().clone())?;
        let routes = runtime.configure_control();
        let guests = runtime.public().guests.clone();
        let control = HttpServer::new(move || App::new().configure(routes.clone()))
            .on_connect(move |connection, data| {
                on_connect(connection, data);
                if let Some(io) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() {
                    guests.receive("control", io, data, |_| false);
                }
            })
            .disable_signals()
            .shutdown_timeout(1)
            .workers(1)
            .listen(listeners.control)?
            .run();
        let handles = (public.handle(), control.handle());
        for (listener, server) in [("public", public), ("control", control)] {
            actix_rt::spawn(async move {
                if let Err(error) = server.await {
                    tracing::error!(listener, %error, "a listener failed");
                }
            });
        }
        // The network may take its time, and nobody waits for it.
        let (sweeping, every) = (Arc::downgrade(&runtime), config.calls.rest_interval.max(SWEEP_EVERY_LEAST));
        actix_rt::spawn(async move {
            let mut clock = tokio::time::interval(every);
            // What the process before this one left is nobody's any more; what ends later has its time to.
            let mut over_for = Duration::ZERO;
            loop {
                clock.tick().await;
                let Some(runtime) = sweeping.upgrade() else { return };
                runtime.end_orphans(over_for).await;
                over_for = every;
            }
        });
        Ok(Server { runtime, addresses, public: handles.0, control: handles.1, own_public })
    }

    /// Lets live calls end, hands over what is left, and closes both listeners. `now` cuts the waiting short.
    pub async fn end(self, now: impl Future<Output = ()>) {
        let ended = self.runtime.drain(now).await;
        // Nothing new is accepted before the streams are closed: the network must come back to the next process.
        self.stop_accepting().await;
        let stopping = self.public.stop(true);
        if !ended {
            self.runtime.hand_over().await;
        }
        let closed = futures::future::join(stopping, self.runtime.when_no_socket_is_open());
        let _ = tokio::time::timeout(HAND_OVER, closed).await;
        self.runtime.feed().close();
        self.control.stop(false).await;
        self.runtime.flush_traces().await;
    }

    /// The thread that accepts stops in its own time; a listener that is shut down refuses from now on. An inherited
    /// one goes on to queue connections, for the next process.
    async fn stop_accepting(&self) {
        self.public.pause().await;
        if let Some(listener) = &self.own_public {
            // Where a system can't do this (it is not of POSIX) the listener closes a moment later.
            let _ = SockRef::from(listener).shutdown(Shutdown::Read);
        }
    }
}
