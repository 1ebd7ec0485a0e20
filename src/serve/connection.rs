//! What is done to each accepted connection, before its first byte is read.

use std::any::Any;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use actix_web::dev::Extensions;
use socket2::SockRef;

/// A second handle of a connection, among its `conn_data`.
///
/// A response body that a peer doesn't read stops the whole connection's task, so nothing inside that task can end it;
/// whoever watches from outside cuts the wire instead.
#[derive(Debug)]
pub struct Wire(OwnedFd);

impl Wire {
    /// Ends the connection in both directions, now.
    pub fn cut(&self) -> io::Result<()> {
        SockRef::from(&self.0).shutdown(Shutdown::Both)
    }
}

/// For `HttpServer::on_connect`, of either listener.
///
/// Without it calls still work, but a frame may wait for the one before it, and a stuck peer is noticed late.
pub fn on_connect(connection: &dyn Any, data: &mut Extensions) {
    let Some(stream) = connection.downcast_ref::<actix_web::rt::net::TcpStream>() else { return };
    let socket = SockRef::from(stream);
    // 160 bytes every 20 ms: to gather them into larger packets would only make them late. Neither setting can fail in
    // a way that a call should die of.
    let _ = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    // The system would take megabytes for a peer that does not read: minutes of audio, before anybody sees it stall.
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES);
    if let Ok(handle) = stream.as_fd().try_clone_to_owned() {
        data.insert(Wire(handle));
    }
}

/// How long sent bytes may stay unacknowledged until the system gives the connection up. Longer than any hiccup of a
/// mobile network that a call survives, shorter than the `idle_timeout` of a stream.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// How much may wait unsent in the system: about a second of audio, as the playout queue. What is on its way already
/// does not count, so a long road still gets as much as it can carry.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[actix_rt::test]
    async fn a_cut_wire_ends_the_connection_from_outside() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (served, _) = listener.accept().await.unwrap();
        let mut data = Extensions::new();
        on_connect(&served, &mut data);
        assert!(served.nodelay().unwrap());
        data.get::<Wire>().unwrap().cut().unwrap();
        assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        drop(served);
    }
}
