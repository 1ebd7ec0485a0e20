//! What is done to each accepted connection, before its first byte is read.

use std::any::Any;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::Extensions;
use actix_web::web::Bytes;
use socket2::SockRef;

/// A second handle of a connection, among its `conn_data`.
///
/// A response body that a peer doesn't read stops the whole connection's task, so nothing inside that task can end it;
/// whoever watches from outside cuts the wire instead.
#[derive(Debug, Clone)]
pub struct Wire(Arc<OwnedFd>);

impl Wire {
    #[cfg(test)]
    pub fn of(handle: OwnedFd) -> Wire {
        Wire(Arc::new(handle))
    }

    /// Ends the connection in both directions, now.
    pub fn cut(&self) -> io::Result<()> {
        SockRef::from(&*self.0).shutdown(Shutdown::Both)
    }

    /// Says that nothing more will be sent, behind everything that was.
    fn finish(&self) -> io::Result<()> {
        SockRef::from(&*self.0).shutdown(Shutdown::Write)
    }
}

/// The body of a stream's response, which ends the connection when it ends.
///
/// A peer that closes as RFC 6455 says waits for us to end the connection once both close frames are there. The server
/// would linger for a second first, in case that more of the request comes: a second in which the caller hears nothing.
pub struct Parting {
    body: BoxBody,
    wire: Option<Wire>,
    is_flushed: bool,
}

impl Parting {
    pub fn new(body: BoxBody, wire: Option<Wire>) -> Parting {
        Parting { body, wire, is_flushed: false }
    }
}

impl MessageBody for Parting {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let next = ready!(Pin::new(&mut self.body).poll_next(context));
        if next.is_some() {
            return Poll::Ready(next);
        }
        if !self.is_flushed {
            // The close frame was only handed over; a body that is not ready has it written.
            self.is_flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(wire) = self.wire.take() {
            let _ = wire.finish();
        }
        Poll::Ready(None)
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
        data.insert(Wire(Arc::new(handle)));
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
    use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

    #[actix_rt::test]
    async fn a_stream_that_is_over_ends_its_connection_at_once() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = |request: HttpRequest, payload: web::Payload| async move {
            let wire = request.conn_data::<Wire>().cloned();
            drop(payload);
            let bye = futures::stream::iter([Ok::<_, actix_web::Error>(Bytes::from_static(b"bye"))]);
            let mut response = HttpResponse::SwitchingProtocols();
            response.upgrade("websocket").streaming(bye).map_body(|_, body| Parting::new(body, wire).boxed())
        };
        let server = HttpServer::new(move || App::new().default_service(web::to(answer)))
            .on_connect(on_connect)
            .workers(1)
            .disable_signals()
            .client_disconnect_timeout(Duration::from_secs(3600))
            .listen(listener)
            .unwrap()
            .run();
        let handle = server.handle();
        actix_rt::spawn(server);
        let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\r\n").await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert!(heard.ends_with(b"bye"), "{}", String::from_utf8_lossy(&heard));
        drop(client);
        handle.stop(false).await;
    }
}
