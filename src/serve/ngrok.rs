//! `[public] url = "auto"`: asks a running ngrok, by its local API, how the world reaches our port.

use std::io;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Why no tunnel was found, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunnelError {
    #[error(
        "no ngrok answers at {api} ({source}). Start `ngrok http {port}` first, or set [public] url to the address that \
         the phone network sees"
    )]
    Silent { api: String, port: u16, source: io::Error },
    #[error("ngrok's local API at {api} answered something else than its tunnels: {why}")]
    Strange { api: String, why: String },
    #[error(
        "ngrok runs, but none of its tunnels leads to port {port} by https (it has: {have}). Start `ngrok http {port}`"
    )]
    NoneForPort { port: u16, have: String },
}

#[derive(Deserialize)]
struct Answer {
    tunnels: Vec<Tunnel>,
}

#[derive(Deserialize)]
struct Tunnel {
    public_url: String,
    config: Target,
}

#[derive(Deserialize)]
struct Target {
    addr: String,
}

/// The https origin of the tunnel to `port`.
pub(crate) async fn origin(api: &str, port: u16) -> Result<String, TunnelError> {
    let asked = tokio::time::timeout(PATIENCE, ask(api)).await;
    let bytes = asked
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long")))
        .map_err(|source| TunnelError::Silent { api: api.to_owned(), port, source })?;
    let strange = |why: String| TunnelError::Strange { api: api.to_owned(), why };
    let body = body(&bytes).map_err(strange)?;
    let answer: Answer = serde_json::from_slice(body).map_err(|error| strange(error.to_string()))?;
    let found = answer.tunnels.iter().find(|tunnel| {
        tunnel.public_url.starts_with("https://") && port_of(&tunnel.config.addr) == Some(port)
    });
    match found {
        Some(tunnel) => Ok(tunnel.public_url.trim_end_matches('/').to_owned()),
        None => {
            let list: Vec<String> = answer
                .tunnels
                .iter()
                .map(|tunnel| format!("{} to {}", tunnel.public_url, tunnel.config.addr))
                .collect();
            let have = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
            Err(TunnelError::NoneForPort { port, have })
        }
    }
}

/// One question, in HTTP/1.0: its answer ends with the connection and never comes in chunks, so all of HTTP that is
/// needed here fits on a page.
async fn ask(api: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(api).await?;
    let request = format!(
        "GET /api/tunnels HTTP/1.0\r\nHost: {api}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    let mut answer = Vec::new();
    // A server that keeps the connection open all the same says how long its answer is.
    while !is_whole(&answer) && stream.read_buf(&mut answer).await? > 0 {}
    Ok(answer)
}

fn is_whole(answer: &[u8]) -> bool {
    let Some((head, body)) = split(answer) else { return false };
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()).is_some_and(|length: usize| body.len() >= length)
}

fn split(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let head_end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((answer.get(..head_end)?, answer.get(head_end + 4..)?))
}

fn body(answer: &[u8]) -> Result<&[u8], String> {
    let (head, body) = split(answer).ok_or("no head of HTTP")?;
    let head = String::from_utf8_lossy(head);
    let status = head.split(' ').nth(1).unwrap_or("");
    if !head.starts_with("HTTP/1.") || status != "200" {
        return Err(format!("status {}", if status.is_empty() { "missing" } else { status }));
    }
    Ok(body)
}

/// `http://localhost:8080`, `localhost:8080` and `8080` are all written for the same.
fn port_of(address: &str) -> Option<u16> {
    let address = address.trim_end_matches('/');
    address.rsplit(':').next()?.parse().ok()
}

/// Where ngrok has its API unless told otherwise.
pub(crate) const LOCAL_API: &str = "127.0.0.1:4040";
/// It is on this machine and has the answer in memory.
const PATIENCE: Duration = Duration::from_secs(2);
/// A tunnel takes about 1 KiB.
const ANSWER_BYTES_MAX: u64 = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    async fn asked(answer: &'static str, port: u16) -> Result<String, TunnelError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = listener.local_addr().unwrap().to_string();
        let server = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 512];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /api/tunnels "));
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        futures::join!(server, origin(&api, port)).1
    }

    #[actix_rt::test]
    async fn the_https_tunnel_to_our_port_is_found() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"tunnels\":[\
            {\"public_url\":\"https://other.example\",\"proto\":\"https\",\"config\":{\"addr\":\"http://localhost:9\"}},\
            {\"public_url\":\"http://ours.example\",\"proto\":\"http\",\"config\":{\"addr\":\"localhost:8080\"}},\
            {\"public_url\":\"https://ours.example\",\"proto\":\"https\",\"config\":{\"addr\":\"http://localhost:8080\"}}]}";
        assert_eq!(asked(answer, 8080).await.unwrap(), "https://ours.example");
        let said = asked(answer, 8081).await.unwrap_err().to_string();
        assert!(said.contains("Start `ngrok http 8081`") && said.contains("https://other.example"), "{said}");
    }

    #[actix_rt::test]
    async fn an_answer_that_is_not_ngroks_says_so() {
        for answer in ["HTTP/1.1 404 Not Found\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\n<html>", "SSH-2.0\r\n", ""]
        {
            let error = asked(answer, 8080).await.unwrap_err();
            assert!(matches!(error, TunnelError::Strange { .. }), "{answer}: {error}");
        }
        let error = origin("127.0.0.1:1", 8080).await.unwrap_err();
        assert!(error.to_string().contains("Start `ngrok http 8080` first"), "{error}");
    }
}
