//! What stands before a server on a real road: a proxy that passes requests on, and does it wrong in one way.

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// What it does to a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    DropsSignature,
    /// Speaks for itself instead of passing an upgrade.
    NoUpgrade,
    /// Unescapes and escapes the query anew, in its own way.
    RewritesQuery,
    /// What it should lead to is not there.
    BadGateway,
}

/// Passes one connection's bytes on, its first head changed.
pub async fn pass(mut from: impl AsyncReadExt + AsyncWriteExt + Unpin, to: &str, fault: Fault) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 4096];
        match from.read(&mut piece).await {
            Ok(length @ 1..) => head.extend_from_slice(&piece[..length]),
            _ => return,
        }
    }
    let end = head.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
    let body = head.split_off(end + 4);
    let text = String::from_utf8(head).unwrap();
    let lower = text.to_ascii_lowercase();
    let refusal = match fault {
        Fault::BadGateway => Some("502 Bad Gateway"),
        Fault::NoUpgrade if lower.contains("upgrade: websocket") => Some("400 Bad Request"),
        _ => None,
    };
    if let Some(refusal) = refusal {
        let answer = format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let _ = from.write_all(answer.as_bytes()).await;
        return;
    }
    let kept = text.split_inclusive("\r\n").filter(|line| {
        let is_signature = line.to_ascii_lowercase().starts_with("x-twilio-signature:");
        !(fault == Fault::DropsSignature && is_signature)
    });
    let mut text: String = kept.collect();
    if fault == Fault::RewritesQuery {
        text = text.replace("%20", "+");
    }
    let Ok(mut server) = TcpStream::connect(to).await else { return };
    if server.write_all(text.as_bytes()).await.is_ok() && server.write_all(&body).await.is_ok() {
        let _ = copy_bidirectional(&mut from, &mut server).await;
    }
}

/// A plain proxy before a server; its origin.
pub async fn before(server: String, fault: Fault) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move { pass(caller, &server, fault).await });
        }
    });
    origin
}
