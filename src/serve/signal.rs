//! Signals of the operating system, as what they ask for.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::Stream;
use tokio::signal::unix::{self, SignalKind};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// The first SIGTERM or SIGINT: no new calls, let the live ones end.
    Drain,
    /// A further one: end now, hand over what is left.
    Now,
    /// SIGHUP: read workflows and what else can be read again.
    Reload,
}

/// An endless stream of [`Signal`]s. The HTTP server must not listen to signals itself (`disable_signals`).
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hang_up: unix::Signal,
    draining: bool,
}

impl Signals {
    /// From here on these signals no longer end the process. Needs the runtime's reactor.
    pub fn listen() -> io::Result<Signals> {
        Ok(Signals {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hang_up: unix::signal(SignalKind::hangup())?,
            draining: false,
        })
    }
}

impl Stream for Signals {
    type Item = Signal;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Signal>> {
        let ended = |poll: Poll<Option<()>>| matches!(poll, Poll::Ready(Some(())));
        if ended(self.terminate.poll_recv(context)) || ended(self.interrupt.poll_recv(context)) {
            let signal = if self.draining { Signal::Now } else { Signal::Drain };
            self.draining = true;
            return Poll::Ready(Some(signal));
        }
        if ended(self.hang_up.poll_recv(context)) {
            return Poll::Ready(Some(Signal::Reload));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    fn raise(name: &str) {
        let own = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-s", name, &own]).status().unwrap().success());
    }

    #[actix_rt::test]
    async fn the_second_request_to_end_means_now() {
        let mut signals = Signals::listen().unwrap();
        let story = [
            ("HUP", Signal::Reload),
            ("TERM", Signal::Drain),
            ("HUP", Signal::Reload),
            ("INT", Signal::Now),
            ("TERM", Signal::Now),
        ];
        for (name, expected) in story {
            raise(name);
            assert_eq!(signals.next().await, Some(expected), "{name}");
        }
    }
}
