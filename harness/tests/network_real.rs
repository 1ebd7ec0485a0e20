//! The pretend network over real sockets, against a server of a few lines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{SinkExt, StreamExt};
use holdline_harness::network::real::{self, Network};
use holdline_harness::network::{Experience, LineConfig, Media, Script, Status, sign, tone};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const TOKEN: &str = "secret";

#[tokio::test]
async fn many_calls_stream_at_once_and_each_is_performed_to_its_end() {
    let server = Server::start().await;
    let network = Network::new().unwrap();
    let calls = (0..40).map(|number| {
        let mut config = LineConfig::new(format!("{}/voice", server.origin), &format!("call {number}"));
        config.auth_token = Some(TOKEN.into());
        config.status_url = Some(format!("{}/status", server.origin));
        config.hear_frames = true;
        let (network, (_, hands)) = (network.clone(), mpsc::channel(1));
        tokio::spawn(async move { network.place(config, hands, |_, _| ()).await.unwrap() })
    });
    for call in calls.collect::<Vec<_>>() {
        let story = call.await.unwrap();
        assert_eq!(story.status, Status::Completed, "{:#?}", story.lived);
        let lived = |wanted: &Experience| story.lived.iter().any(|(_, experience)| experience == wanted);
        assert!(lived(&Experience::MarkEchoed { name: "done".into() }), "{:#?}", story.lived);
        assert!(lived(&Experience::StreamDown { code: Some(1000), violations: 0 }), "{:#?}", story.lived);
        assert!(lived(&Experience::Hears { text: "bye".into() }));
        // A third of a second of tone was heard, behind the silence before it.
        assert!(story.heard.ends_with(&tone::tone(440.0, Duration::from_millis(320))));
    }
    assert_eq!(server.counts.completed.load(Ordering::SeqCst), 40);
    // 16 frames take 320 ms: none of the calls may have been starved of its grid.
    assert!(server.counts.frames.load(Ordering::SeqCst) >= 40 * 15);
    assert_eq!(server.counts.forged.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_socket_cut_without_a_close_is_told_from_a_closed_one() {
    let server = Server::start().await;
    let mut config = LineConfig::new(format!("{}/voice?cut", server.origin), "cut");
    config.auth_token = Some(TOKEN.into());
    config.media = Media::Sparse(Duration::from_secs(1));
    let story = real::place(config, Script::default(), |_, _| ()).await.unwrap();
    let down = story
        .lived
        .iter()
        .any(|(_, experience)| matches!(experience, Experience::StreamDown { code: None, .. }));
    assert!(down, "{:#?}", story.lived);
    assert_eq!(story.status, Status::Completed);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_refused_and_its_fallback_asked() {
    let server = Server::start().await;
    // A port that was free a moment ago, and that nobody listens on.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut config = LineConfig::new(format!("http://{gone}/voice#rc=2"), "refused");
    config.auth_token = Some(TOKEN.into());
    config.retry_gap = Duration::from_millis(5);
    config.say_per_character = Duration::from_millis(1);
    config.fallback_url = Some(format!("{}/bye", server.origin));
    let story = real::place(config, Script::default(), |_, _| ()).await.unwrap();
    assert!(
        story
            .lived
            .iter()
            .any(|(_, experience)| matches!(experience, Experience::Warning { code: 11205, .. }))
    );
    assert!(
        story.lived.iter().any(|(_, experience)| *experience == Experience::Hears { text: "bye".into() })
    );
}

#[cfg(not(feature = "tls"))]
#[tokio::test]
async fn a_server_that_needs_tls_is_refused_with_a_reason() {
    let config = LineConfig::new("https://example.com/voice", "tls");
    let refused = real::place(config, Script::default(), |_, _| ()).await;
    assert!(matches!(refused, Err(real::Error::NoTls(_))));
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_server_that_only_pretends_to_speak_tls_is_refused() {
    let server = Server::start().await;
    let origin = server.origin.replace("http:", "https:");
    let config = LineConfig::new(format!("{origin}/voice"), "tls");
    let story = real::place(config, Script::default(), |_, _| ()).await.unwrap();
    assert_eq!(story.status, Status::Failed);
    assert!(
        story
            .lived
            .iter()
            .any(|(_, experience)| matches!(experience, Experience::Warning { code: 11205, .. }))
    );
}

// ------------------------------------------------------------------------------------------------ the server

#[derive(Default)]
struct Counts {
    frames: AtomicUsize,
    completed: AtomicUsize,
    forged: AtomicUsize,
}

struct Server {
    origin: String,
    counts: Arc<Counts>,
}

impl Server {
    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::new(Counts::default());
        let shared = counts.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, format!("http://{address}"), shared.clone()));
            }
        });
        Server { origin: format!("http://{address}"), counts }
    }
}

async fn serve(mut socket: TcpStream, origin: String, counts: Arc<Counts>) {
    let mut first = [0; 8];
    while socket.peek(&mut first).await.unwrap() < first.len() {}
    if first.starts_with(b"GET /s/") {
        return stream(socket, &counts).await;
    }
    // The first byte of a TLS greeting: this server only says that it speaks TLS.
    if first[0] == 0x16 {
        return;
    }
    let mut bytes = Vec::new();
    let (head, body) = loop {
        let mut piece = [0; 4096];
        let read = socket.read(&mut piece).await.unwrap();
        bytes.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                break (head.to_owned(), body.to_owned());
            }
        }
    };
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let fields: Vec<(String, String)> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let signature = sign::signature(TOKEN, &format!("{origin}{path}"), &fields);
    if header(&head, "x-twilio-signature") != Some(&signature) {
        counts.forged.fetch_add(1, Ordering::SeqCst);
    }
    let verbs = match path.as_str() {
        "/voice" => r#"<Connect action="/bye"><Stream url="/s/close"/></Connect>"#,
        "/voice?cut" => r#"<Connect><Stream url="/s/cut"/></Connect><Redirect>/bye</Redirect>"#,
        "/bye" => "<Say>bye</Say>",
        "/status" => {
            counts.completed.fetch_add(1, Ordering::SeqCst);
            ""
        }
        other => panic!("{other}"),
    };
    let document = format!("<Response>{verbs}</Response>");
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n", document.len());
    socket.write_all((head + &document).as_bytes()).await.unwrap();
}

async fn stream(socket: TcpStream, counts: &Counts) {
    let mut first = [0; 16];
    let read = socket.peek(&mut first).await.unwrap();
    let cut = first[..read].starts_with(b"GET /s/cut");
    let mut socket = tokio_tungstenite::accept_async(socket).await.unwrap();
    while let Some(Ok(Message::Text(text))) = socket.next().await {
        let message: Value = serde_json::from_str(&text).unwrap();
        let sid = &message["streamSid"];
        match message["event"].as_str().unwrap() {
            "start" if cut => return,
            "start" => {
                let payload = STANDARD.encode(tone::tone(440.0, Duration::from_millis(320)));
                let media = json!({"event": "media", "streamSid": sid, "media": {"payload": payload}});
                let mark = json!({"event": "mark", "streamSid": sid, "mark": {"name": "done"}});
                socket.send(Message::text(media.to_string())).await.unwrap();
                socket.send(Message::text(mark.to_string())).await.unwrap();
            }
            "media" => {
                counts.frames.fetch_add(1, Ordering::SeqCst);
            }
            "mark" => {
                let close = CloseFrame { code: 1000.into(), reason: "".into() };
                socket.close(Some(close)).await.unwrap();
                while let Some(Ok(_)) = socket.next().await {}
                return;
            }
            _ => {}
        }
    }
}

fn header<'h>(head: &'h str, wanted: &str) -> Option<&'h str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
        .map(|(_, value)| value)
}
