//! A secret that a workflow uses reaches the other system, and nobody else: neither the API, nor a log line, nor a byte
//! on disk. The server is a process of its own, as its operator starts it.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use holdline::adapter::journal::{DiskJournal, StoreKind};
use holdline_actors::port::journal::{Journal, Kind};
use support::until;
use support::wire::Asker;

const SECRET: &str = "s3cr3t \"of/the house";
/// No part of it may be seen either.
const TRACES: [&str; 3] = ["s3cr3t", "of/the house", "of%2Fthe"];
const CALL: &str = "CA00000000000000000000000000000001";

#[tokio::test]
async fn a_secret_reaches_the_other_system_and_nobody_else() {
    let home = tempfile::tempdir().unwrap();
    let (other, told) = echo();
    fs::write(home.path().join("holdline.toml"), config(&other)).unwrap();
    fs::create_dir(home.path().join("flows")).unwrap();
    fs::write(home.path().join("flows/asks.yaml"), flow(&other)).unwrap();
    let server = Server::start(home.path());
    let (public, control) = (Asker::new(&server.public, None), Asker::new(&server.control, None));
    assert_eq!(public.arrive("asks", CALL).await.status, 200);
    let ended = until("the activeflow has ended", async || {
        let list = control.get("/v1/activeflows").await.json();
        let row = list["result"].as_array()?.first()?.clone();
        (row["status"] == "ended").then_some(row)
    })
    .await;
    assert_eq!(ended["end_reason"], "completed", "{ended}");
    // A request, and a delivery of the outbox; the third had nobody to talk to.
    let mut requests = vec![told.recv().unwrap(), told.recv().unwrap()];
    requests.sort();
    assert!(requests[0].starts_with("POST /asked?q=s3cr3t"), "{requests:#?}");
    assert!(requests[0].contains(r#"x-key: s3cr3t "of/the house"#), "{requests:#?}");
    assert!(requests[0].contains(r#"{"deep":["s3cr3t \"of/the house"]}"#), "{requests:#?}");
    assert!(requests[1].starts_with("POST /told ") && requests[1].contains("webhook-signature: v1,"));
    assert!(requests[1].contains("s3cr3t"), "{requests:#?}");

    let id = ended["id"].as_str().unwrap();
    let page = control.get(&format!("/v1/activeflows/{id}")).await;
    assert!(page.body.contains("***") && page.json()["variables"]["kept"].is_string(), "{}", page.body);
    let mut seen = vec![page.body];
    for path in ["/v1/activeflows", "/v1/calls", &format!("/v1/calls/{CALL}"), "/v1/flows", "/ready"] {
        seen.push(control.get(path).await.body);
    }
    let config = Command::new(env!("CARGO_BIN_EXE_holdline")).arg("config").current_dir(home.path()).output();
    seen.push(String::from_utf8_lossy(&config.unwrap().stdout).into_owned());
    let log = server.ended();
    assert!(log.contains("TRACE"), "it logs all that it can: {log}");
    seen.push(log);
    for text in &seen {
        TRACES.iter().for_each(|trace| assert!(!text.contains(trace), "{trace} in {text}"));
    }
    let mut bytes = 0;
    search(&home.path().join("data"), &mut |path, content| {
        bytes += content.len();
        for trace in TRACES {
            let found = content.windows(trace.len()).any(|window| window == trace.as_bytes());
            assert!(!found, "{trace} in {}", path.display());
        }
    });
    assert!(bytes > 0, "a journal was written");
    // What is over is packed, where no search finds anything.
    let journal = DiskJournal::open(&home.path().join("data"), StoreKind::Sqlite).unwrap();
    let rows = journal.list(Kind::CallsAndRuns, None, usize::MAX).unwrap();
    assert!(!rows.is_empty(), "a story was written");
    for row in rows {
        let story = serde_json::to_string(&journal.read(&row.key).unwrap()).unwrap();
        TRACES.iter().for_each(|trace| assert!(!story.contains(trace), "{trace} in {story}"));
    }
}

fn config(other: &str) -> String {
    format!(
        "default_workflow = \"asks\"\n\
         [public]\nbind = \"127.0.0.1:0\"\n\
         [control]\nbind = \"127.0.0.1:0\"\n\
         [journal]\nkind = \"sqlite\"\n\
         [http]\nallow_hosts = [\"{other}\"]\n\
         [events]\nsecret = \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"\n\
         [log]\nlevel = \"trace\"\nformat = \"json\"\n\
         [secrets]\nKEY = '{SECRET}'\n"
    )
}

fn flow(other: &str) -> String {
    format!(
        "tasks:
  - type: webhook_send
    parameters: {{ uri: 'http://{other}/told', data: {{ key: '${{secret.KEY}}' }} }}
  - type: http/request
    name: asked
    parameters:
      url: 'http://{other}/asked'
      method: POST
      query: {{ q: '${{secret.KEY}}' }}
      headers: {{ X-Key: '${{secret.KEY}}' }}
      body: {{ deep: ['${{secret.KEY}}'] }}
  - type: variable_set
    parameters: {{ key: kept, value: '${{asked.body}}' }}
  - type: http/request
    name: nobody
    parameters: {{ url: 'http://127.0.0.1:1/${{secret.KEY}}?k=${{secret.KEY}}' }}
    on_error: continue
  - type: http/request
    parameters: {{ url: '${{secret.KEY}}' }}
    on_error: continue
"
    )
}

/// Says back whatever it is told.
fn echo() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut length = 0;
            while reader.read_line(&mut request).is_ok_and(|read| read > 2) {
                let line = request.lines().last().unwrap_or_default().to_ascii_lowercase();
                length = line.strip_prefix("content-length: ").map_or(length, |text| text.parse().unwrap());
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            request.push_str(&String::from_utf8_lossy(&body));
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", request.len());
            stream.write_all((head + &request).as_bytes()).unwrap();
            if tell.send(request).is_err() {
                return;
            }
        }
    });
    (address, told)
}

fn search(folder: &Path, look: &mut impl FnMut(&Path, &[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => search(&path, look),
            false => look(&path, &fs::read(&path).unwrap()),
        }
    }
}

struct Server {
    child: Child,
    log: std::path::PathBuf,
    public: String,
    control: String,
}

impl Server {
    fn start(home: &Path) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdline"));
        command.args(["serve", "--config", "holdline.toml"]).current_dir(home);
        let log = fs::File::create(home.join("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let address = |name: &str| {
            let word = ready.split_whitespace().find_map(|word| word.strip_prefix(name));
            word.unwrap_or_else(|| panic!("a ready line, got {:?}", fs::read_to_string(home.join("log"))))
                .to_owned()
        };
        let (public, control) = (address("public="), address("control="));
        Server { child, log: home.join("log"), public, control }
    }

    /// Ends it in good order; all that it logged.
    fn ended(mut self) -> String {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &process]).status().unwrap().success());
        assert!(Command::new("kill").args(["-s", "TERM", &process]).status().unwrap().success());
        self.child.wait().unwrap();
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
