//! How many connections are open, and whose: one that is too many is ended before its first byte is read.
//!
//! Streams have left HTTP and are counted by their calls. What is bounded here is what nobody has vouched for yet.

use std::collections::BTreeMap;
use std::net::{IpAddr, Shutdown};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use holdline_actors::tally::Tally;
use holdline_core::metric::Limit;
use socket2::SockRef;

use crate::metrics::process;

/// Connections to the public listener: what a whole network needs is a few hundred.
const PUBLIC_MAX: usize = 16_384;
/// Of one source among them, so that it leaves room for others. A tunnel is one source.
const SOURCE_MAX: usize = 8192;
/// Connections to the control listener; each page of the dashboard holds one.
const CONTROL_MAX: usize = 1024;

#[derive(Debug)]
pub struct Guests {
    open: Mutex<Open>,
    tally: Arc<Tally>,
    public_max: usize,
    source_max: usize,
}

#[derive(Debug, Default)]
struct Open {
    public: usize,
    control: usize,
    by_source: BTreeMap<IpAddr, usize>,
}

/// A connection that is open, until this is dropped with it.
struct Guest {
    guests: Arc<Guests>,
    listener: &'static str,
    source: Option<IpAddr>,
}

impl Guests {
    pub fn new(tally: Arc<Tally>) -> Guests {
        // Streams and the journal need descriptors, too: connections must not be what uses up all of them.
        let fds = process::fds_max().and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let (public_max, source_max) = (PUBLIC_MAX.min(fds / 4 * 3), SOURCE_MAX.min(fds / 2));
        Guests { open: Mutex::default(), tally, public_max, source_max }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection, or ends it. A proxy that is believed speaks for many and is no source of its own.
    pub fn receive(
        self: &Arc<Guests>,
        listener: &'static str,
        io: &TcpStream,
        data: &mut Extensions,
        is_proxy: impl Fn(IpAddr) -> bool,
    ) {
        let peer = io.peer_addr().ok().map(|peer| peer.ip());
        let source = peer.filter(|peer| listener == "public" && !is_proxy(*peer));
        match self.admit(listener, source) {
            Ok(guest) => _ = data.insert(guest),
            Err(limit) => {
                self.tally.hit(limit);
                // Should it be gone already, that is what was wanted.
                let _ = SockRef::from(io).shutdown(Shutdown::Both);
            }
        }
    }

    fn admit(self: &Arc<Guests>, listener: &'static str, source: Option<IpAddr>) -> Result<Guest, Limit> {
        let mut open = self.open();
        let is_public = listener == "public";
        if is_public && open.public >= self.public_max {
            return Err(Limit::PublicConnections);
        }
        if !is_public && open.control >= CONTROL_MAX {
            return Err(Limit::ControlConnections);
        }
        if let Some(source) = source {
            let count = open.by_source.entry(source).or_default();
            if *count >= self.source_max {
                return Err(Limit::SourceConnections);
            }
            *count += 1;
        }
        *(if is_public { &mut open.public } else { &mut open.control }) += 1;
        Ok(Guest { guests: self.clone(), listener, source })
    }

    pub fn count(&self, listener: &str) -> usize {
        let open = self.open();
        if listener == "public" { open.public } else { open.control }
    }

    pub fn most_of_one_source(&self) -> usize {
        self.open().by_source.values().copied().max().unwrap_or(0)
    }

    pub fn limits(&self) -> [(Limit, usize); 3] {
        [
            (Limit::PublicConnections, self.public_max),
            (Limit::SourceConnections, self.source_max),
            (Limit::ControlConnections, CONTROL_MAX),
        ]
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut open = self.guests.open();
        let count = if self.listener == "public" { &mut open.public } else { &mut open.control };
        *count = count.saturating_sub(1);
        if let Some(source) = self.source
            && let Some(count) = open.by_source.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                open.by_source.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_has_too_many_leaves_room_for_others() {
        let tally = Arc::new(Tally::default());
        let guests = Arc::new(Guests { open: Mutex::default(), tally, public_max: 3, source_max: 2 });
        let from = |last: u8| Some(IpAddr::from([127, 0, 0, last]));
        let flood: Vec<Result<Guest, Limit>> = (0..4).map(|_| guests.admit("public", from(2))).collect();
        assert_eq!(flood.iter().filter(|admitted| admitted.is_ok()).count(), 2);
        assert!(matches!(flood.last(), Some(Err(Limit::SourceConnections))));
        let other = guests.admit("public", from(1));
        assert!(other.is_ok() && guests.count("public") == 3 && guests.most_of_one_source() == 2);
        assert!(matches!(guests.admit("public", from(1)), Err(Limit::PublicConnections)));
        assert!(guests.admit("control", None).is_ok(), "the other listener has its own bound");
        drop((flood, other));
        assert_eq!((guests.count("public"), guests.most_of_one_source()), (0, 0));
    }
}
