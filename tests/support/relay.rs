//! A wire between the network and the server that can be struck: at the n-th piece of what goes over it, one way or
//! the other, somebody pulls the plug, and the piece has arrived or has not. It can also lose the way to a call's
//! documents, so that the network has to fall back on the number's own address.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, mpsc};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Larger than a frame: a piece is what came at once.
const PIECE_BYTES_MAX: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    ToServer,
    FromServer,
}

/// When the plug is pulled.
#[derive(Debug, Clone, Copy)]
pub struct Strike {
    pub way: Way,
    /// So many pieces from now on.
    pub pieces: u64,
    /// The last of them is lost with the server, or has arrived.
    pub lost: bool,
}

pub struct Relay {
    pub origin: String,
    plug: Arc<Mutex<Plug>>,
}

/// Dropped when the server is dead, so that the wire goes on.
pub type Dead = oneshot::Sender<()>;

#[derive(Default)]
struct Plug {
    armed: Option<(Strike, mpsc::Sender<Dead>)>,
    over: bool,
    /// Calls whose documents are not found by their number.
    hidden: BTreeSet<String>,
}

impl Relay {
    pub async fn start(server: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let plug = Arc::new(Mutex::new(Plug::default()));
        let relay = Relay { origin, plug: plug.clone() };
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(carry(caller, server, plug.clone()));
            }
        });
        relay
    }

    /// Tells when the moment has come, and stands still until what it told is dropped. Nothing comes once it is over.
    pub fn strike(&self, strike: Strike) -> mpsc::Receiver<Dead> {
        let (tell, told) = mpsc::channel();
        let mut plug = self.plug.lock().unwrap();
        plug.armed = (!plug.over).then_some((strike, tell));
        told
    }

    /// Nothing goes over the wire any more, so nobody waits for more.
    pub fn over(&self) {
        *self.plug.lock().unwrap() = Plug { over: true, ..Plug::default() };
    }
}

impl Relay {
    /// Nobody who asks for this call's next document by its number gets through, until somebody asks without.
    pub fn hide(&self, call: &str) {
        self.plug.lock().unwrap().hidden.insert(call.to_owned());
    }
}

/// One connection, until either end of it is gone.
async fn carry(mut caller: TcpStream, server: SocketAddr, plug: Arc<Mutex<Plug>>) {
    // The server's socket outlives it, so a connection made between two of them waits.
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    // A frame is small and must not wait for the next one; if it does, it is only late.
    let _ = (caller.set_nodelay(true), server.set_nodelay(true));
    let ((from_caller, to_caller), (from_server, to_server)) = (caller.split(), server.split());
    tokio::select! {
        () = pass(from_caller, to_server, Way::ToServer, &plug) => {}
        () = pass(from_server, to_caller, Way::FromServer, &plug) => {}
    }
}

async fn pass(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, way: Way, plug: &Mutex<Plug>) {
    let mut piece = [0; PIECE_BYTES_MAX];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if way == Way::ToServer && plug.lock().unwrap().hides(&piece[..length]) {
            return;
        }
        let struck = plug.lock().unwrap().count(way);
        if struck.as_ref().is_none_or(|(strike, _)| !strike.lost)
            && to.write_all(&piece[..length]).await.is_err()
        {
            return;
        }
        if let Some((_, tell)) = struck {
            let (dead, died) = oneshot::channel();
            if tell.send(dead).is_ok() {
                // Always an error: it is dropped.
                let _ = died.await;
            }
            return;
        }
    }
}

impl Plug {
    fn hides(&mut self, piece: &[u8]) -> bool {
        if self.hidden.is_empty() || !piece.starts_with(b"POST ") {
            return false;
        }
        let request = String::from_utf8_lossy(piece);
        let Some(call) = self.hidden.iter().find(|call| request.contains(*call)).cloned() else {
            return false;
        };
        let path = request.split(' ').nth(1).unwrap_or_default();
        if path.ends_with("/next") {
            self.hidden.remove(&call);
        }
        path.contains("/next?")
    }

    fn count(&mut self, way: Way) -> Option<(Strike, mpsc::Sender<Dead>)> {
        let (strike, _) = self.armed.as_mut().filter(|(strike, _)| strike.way == way)?;
        strike.pieces = strike.pieces.saturating_sub(1);
        if strike.pieces > 0 { None } else { self.armed.take() }
    }
}
