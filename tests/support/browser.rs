//! Chromium, without a window, driven by the protocol of its own developer tools. One browser serves all tests of a
//! process; each has a page of its own.
#![allow(clippy::disallowed_methods)] // it lives in real time

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

/// Set where a missing browser is a failure, as in continuous integration.
const REQUIRED: &str = "HOLDLINE_BROWSER_REQUIRED";
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];
/// What a page is waited for; a loaded machine is slow.
const PATIENCE_MS: u64 = 40_000;

struct Browser {
    /// `ws://127.0.0.1:PORT/devtools/browser/…`
    url: String,
    /// The browser ends when this is closed, and with this process it is.
    _lead: ChildStdin,
    _child: Child,
}

/// One tab.
pub struct Page {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last: u64,
    target: String,
    /// Whatever the page complained about: errors in its console, refusals of its content policy, exceptions.
    pub complaints: Vec<String>,
    /// Behind which events it asked a stream to go on.
    pub resumed: Vec<String>,
    loaded: u64,
}

/// A key as a keyboard sends it.
#[derive(Debug, Clone, Copy)]
pub enum Key {
    Tab,
    Enter,
    Escape,
    Down,
    Up,
    Letter(char),
}

/// A page, unless there is no browser on this machine, which is said.
pub async fn page() -> Option<Page> {
    static BROWSER: OnceLock<Option<Browser>> = OnceLock::new();
    let browser = BROWSER.get_or_init(start).as_ref();
    if browser.is_none() {
        assert!(std::env::var_os(REQUIRED).is_none(), "{REQUIRED} is set, and there is no {NAMES:?} in PATH");
        eprintln!("SKIPPED: no chromium in PATH; on Debian, `apt-get install chromium` brings it");
    }
    Some(Page::open(&browser?.url).await)
}

fn start() -> Option<Browser> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let found = NAMES
        .iter()
        .find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|program| program.is_file()))?;
    let profile = tempfile::tempdir().unwrap().keep();
    // A shell beside it ends it when nobody holds the other end any more, however this process ends.
    let script =
        "profile=$1; shift; \"$@\" & child=$!; read -r _; kill $child; wait $child; rm -rf \"$profile\"";
    let mut child = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(&profile)
        .arg(found)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            // Every page is one that is looked at.
            "--disable-backgrounding-occluded-windows",
            "--disable-background-timer-throttling",
            "--disable-renderer-backgrounding",
            "--hide-scrollbars",
            "--mute-audio",
            "--remote-debugging-port=0",
            "--window-size=1280,860",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg("about:blank")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lead = child.stdin.take().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = Vec::new();
    let url = loop {
        let Some(Ok(line)) = said.next() else { panic!("the browser did not start: {log:?}") };
        match line.split_once("DevTools listening on ") {
            Some((_, url)) => break url.trim().to_owned(),
            None => log.push(line),
        }
    };
    // Its log goes on, and must not fill the pipe.
    std::thread::spawn(move || said.for_each(drop));
    Some(Browser { url, _lead: lead, _child: child })
}

impl Page {
    async fn open(browser: &str) -> Page {
        let mut lobby = Page::on(browser, String::new()).await;
        let made = json!({ "url": "about:blank", "newWindow": true });
        let target =
            lobby.command("Target.createTarget", made).await["targetId"].as_str().unwrap().to_owned();
        let (origin, _) = browser.split_once("/devtools/").unwrap();
        let mut page = Page::on(&format!("{origin}/devtools/page/{target}"), target).await;
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.command(&format!("{domain}.enable"), json!({})).await;
        }
        page.command("Emulation.setFocusEmulationEnabled", json!({ "enabled": true })).await;
        page.size(1280, 860).await;
        page.scheme("light").await;
        page
    }

    async fn on(url: &str, target: String) -> Page {
        // Pictures come in one message.
        let config =
            WebSocketConfig::default().max_message_size(Some(64 << 20)).max_frame_size(Some(64 << 20));
        let (socket, _) = connect_async_with_config(url, Some(config), true).await.unwrap();
        Page { socket, last: 0, target, complaints: Vec::new(), resumed: Vec::new(), loaded: 0 }
    }

    pub async fn command(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let asked = json!({ "id": self.last, "method": method, "params": params });
        self.socket.send(Message::text(asked.to_string())).await.unwrap();
        loop {
            let told = self.next().await;
            if told["id"] == self.last {
                assert!(told["error"].is_null(), "{method}: {}", told["error"]);
                return told["result"].clone();
            }
        }
    }

    async fn next(&mut self) -> Value {
        let patience = Duration::from_millis(PATIENCE_MS + 5_000);
        loop {
            let came = tokio::time::timeout(patience, self.socket.next()).await;
            let came = came.expect("the browser answers").expect("the browser lives").unwrap();
            if let Message::Text(text) = came {
                let told: Value = serde_json::from_str(&text).unwrap();
                self.heed(&told);
                return told;
            }
        }
    }

    fn heed(&mut self, told: &Value) {
        let params = &told["params"];
        match told["method"].as_str() {
            Some("Page.loadEventFired") => self.loaded += 1,
            Some("Network.requestWillBeSent") => {
                let id = params["request"]["headers"]["last-event-id"].as_str();
                self.resumed.extend(id.map(str::to_owned));
            }
            Some("Runtime.exceptionThrown") => self.complaints.push(params["exceptionDetails"].to_string()),
            Some("Runtime.consoleAPICalled") if params["type"] == "error" || params["type"] == "assert" => {
                self.complaints.push(params["args"].to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                let entry = &params["entry"];
                self.complaints.push(format!("{} ({})", entry["text"], entry["url"]));
            }
            _ => {}
        }
    }

    /// The value of an expression, which may be a promise.
    pub async fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true,
        });
        let told = self.command("Runtime.evaluate", asked).await;
        let wrong = &told["exceptionDetails"];
        assert!(wrong.is_null(), "{expression}\n{}", wrong["exception"]["description"]);
        told["result"]["value"].clone()
    }

    pub async fn go(&mut self, url: &str) {
        let before = self.loaded;
        let told = self.command("Page.navigate", json!({ "url": url })).await;
        // Another place in the same document loads nothing.
        while !told["loaderId"].is_null() && self.loaded == before {
            self.next().await;
        }
    }

    /// Waits until an expression holds in the page, which is looked at whenever something in it changes.
    pub async fn until(&mut self, condition: &str) -> Value {
        let watch = format!(
            "new Promise((resolve, reject) => {{
                const holds = () => {{ try {{ return ({condition}) }} catch {{ return false }} }};
                const first = holds();
                if (first) return resolve(first);
                const watch = new MutationObserver(() => {{ const now = holds(); if (now) done(resolve, now) }});
                const late = setTimeout(() => done(reject, new Error('never came to be: ' + {said} + '\\n' + document.body.innerText)), {PATIENCE_MS});
                const done = (tell, what) => {{ watch.disconnect(); clearTimeout(late); tell(what) }};
                watch.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
            }})",
            said = json!(condition)
        );
        self.eval(&watch).await
    }

    /// Waits until a text can be read somewhere in what a selector finds.
    pub async fn until_reads(&mut self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        self.until(&format!(
            "[...document.querySelectorAll({selector})].some((node) => node.textContent.includes({text}))"
        ))
        .await;
    }

    /// Presses the mouse in the middle of what a selector finds, once it is there.
    pub async fn click(&mut self, selector: &str) {
        let found = json!(selector);
        let place = self
            .until(&format!(
                "(() => {{ const node = document.querySelector({found}); if (!node || node.disabled) return false;
                node.scrollIntoView({{ block: 'center', behavior: 'instant' }});
                const box = node.getBoundingClientRect();
                return {{ x: box.x + box.width / 2, y: box.y + box.height / 2 }} }})()"
            ))
            .await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event =
                json!({ "type": kind, "x": place["x"], "y": place["y"], "button": "left", "clickCount": 1 });
            self.command("Input.dispatchMouseEvent", event).await;
        }
    }

    pub async fn press(&mut self, key: Key) {
        let (name, code, number, text) = match key {
            Key::Tab => ("Tab".to_owned(), "Tab".to_owned(), 9, None),
            Key::Enter => ("Enter".to_owned(), "Enter".to_owned(), 13, Some("\r".to_owned())),
            Key::Escape => ("Escape".to_owned(), "Escape".to_owned(), 27, None),
            Key::Down => ("ArrowDown".to_owned(), "ArrowDown".to_owned(), 40, None),
            Key::Up => ("ArrowUp".to_owned(), "ArrowUp".to_owned(), 38, None),
            Key::Letter(letter) => (letter.to_string(), String::new(), 0, Some(letter.to_string())),
        };
        let mut down =
            json!({ "type": "keyDown", "key": name, "code": code, "windowsVirtualKeyCode": number });
        if let Some(text) = text {
            down["text"] = json!(text);
        }
        self.command("Input.dispatchKeyEvent", down).await;
        let up = json!({ "type": "keyUp", "key": name, "code": code, "windowsVirtualKeyCode": number });
        self.command("Input.dispatchKeyEvent", up).await;
    }

    pub async fn write(&mut self, text: &str) {
        self.command("Input.insertText", json!({ "text": text })).await;
    }

    pub async fn size(&mut self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.command("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// `light` or `dark`.
    pub async fn scheme(&mut self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// A picture for people, in `target/screenshots`.
    pub async fn picture(&mut self, name: &str) {
        let still = "Promise.all(document.getAnimations()
            .filter((one) => one.effect.getComputedTiming().iterations !== Infinity).map((one) => one.finished.catch(() => 0)))
            .then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(1)))))";
        self.eval(still).await;
        let told = self.command("Page.captureScreenshot", json!({ "format": "png" })).await;
        let picture = STANDARD.decode(told["data"].as_str().unwrap()).unwrap();
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }

    /// The end of a story in which nothing went wrong behind the page's back.
    pub async fn close(mut self) {
        // What is on its way is told before this is answered.
        self.eval("1").await;
        assert_eq!(self.complaints, Vec::<String>::new());
        self.command("Target.closeTarget", json!({ "targetId": self.target })).await;
    }
}
