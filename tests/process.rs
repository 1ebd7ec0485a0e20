//! The server as its service manager sees it: the ready line, signals, exit codes, sockets handed over.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use support::crowd::counted;
use support::until;
use support::wire::{Asker, Caller};

const CONFIG: &str = "\
default_workflow = \"echo\"
[public]
bind = \"127.0.0.1:0\"
[control]
bind = \"127.0.0.1:0\"
[journal]
kind = \"memory\"
";
const NEW_CALL: &str = "CA00000000000000000000000000000001";

#[tokio::test]
async fn a_drain_waits_for_the_last_call_and_takes_no_new_one() {
    let folder = folder("");
    let server = Process::serve(folder.path());
    let caller = Caller::begin(&server.public, "echo", "the last one").await;
    let (public, control) = (caller.asker.clone(), Asker::new(&server.control, None));
    assert_eq!((public.get("/ready").await.status, control.get("/ready").await.status), (200, 200));
    server.signal("TERM");
    for asker in [&public, &control] {
        let told = until("it says that it drains", async || {
            Some(asker.get("/ready").await).filter(|told| told.status == 503)
        })
        .await;
        assert_eq!(told.json()["reasons"], serde_json::json!(["draining"]));
        assert_eq!(asker.get("/health").await.status, 200);
    }
    let refused = public.arrive("echo", NEW_CALL).await;
    assert!(refused.body.contains("<Reject reason=\"busy\""), "{}", refused.body);
    caller.hang_up().await;
    let (code, said) = server.ended();
    assert_eq!((code, said.as_str()), (0, ""), "one line on stdout, and nothing behind it");
}

#[tokio::test]
async fn a_second_signal_stops_listening_and_then_hands_the_calls_over() {
    let folder = folder("");
    let server = Process::serve(folder.path());
    let mut caller = Caller::begin(&server.public, "echo", "handed over").await;
    assert_eq!(caller.echo().await, counted(1, 1));
    let address = server.public_address();
    server.signal("TERM");
    let asker = caller.asker.clone();
    until("it drains", async || (asker.get("/ready").await.status == 503).then_some(())).await;
    server.signal("INT");
    assert_eq!(caller.closed().await, Some(1001));
    // Whoever is told to come back must not meet the one that goes away.
    assert!(TcpStream::connect(address).is_err(), "nobody listens once a stream was closed");
    assert_eq!(server.ended().0, 0);
}

#[tokio::test]
async fn a_drain_that_takes_too_long_hands_the_calls_over() {
    let folder = folder("[calls]\ndrain_timeout = \"0s\"\n");
    let server = Process::serve(folder.path());
    let mut caller = Caller::begin(&server.public, "echo", "too long").await;
    assert_eq!(caller.echo().await, counted(1, 1));
    // Admitted, and has not said `start`.
    let mut silent = Caller::open(caller.asker.clone(), "echo", "silent").await;
    server.signal("TERM");
    assert_eq!((caller.closed().await, silent.closed().await), (Some(1001), Some(1001)));
    assert_eq!(server.ended().0, 0);
}

#[test]
fn what_cannot_start_says_why_and_exits_3() {
    let home = folder("");
    std::fs::write(home.path().join("taken"), "a file where a folder should be").unwrap();
    std::fs::write(home.path().join("holdline.toml"), format!("{CONFIG}path = \"taken\"\n")).unwrap();
    let (code, said) = failed(home.path());
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("can't keep data in") && said.contains("HOLDLINE__JOURNAL__PATH"), "{said}");

    let text = CONFIG.replace("\"memory\"", "\"sqlite\"");
    std::fs::write(home.path().join("holdline.toml"), &text).unwrap();
    let first = Process::serve(home.path());
    let (code, said) = failed(home.path());
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("in use by another holdline (process"), "{said}");
    drop(first);

    let nowhere = holdline().current_dir(home.path()).args(["--flows", "nowhere"]).output().unwrap();
    let said = String::from_utf8(nowhere.stderr).unwrap();
    assert_eq!(nowhere.status.code(), Some(3), "{said}");
    assert!(said.contains("expected a folder of workflows, but there is none at nowhere"), "{said}");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let text = CONFIG.replacen("127.0.0.1:0", &address.to_string(), 1);
    std::fs::write(home.path().join("holdline.toml"), text).unwrap();
    let (code, said) = failed(home.path());
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains(&format!("can't listen on {address} for public: another program has that port")),
        "{said}"
    );
    assert!(said.contains("HOLDLINE__PUBLIC__BIND"), "{said}");
}

#[test]
fn a_deploy_in_the_middle_of_calls_ends_none_of_them() {
    let report = support::handover::HandOver { calls: 6 }.live();
    assert_eq!((report.silent.len(), report.late.len()), (3, 3), "{report}");
}

#[tokio::test]
async fn a_caller_between_two_servers_is_late_and_not_lost() {
    let folder = folder("");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let first = Process::inherit(folder.path(), socket.try_clone().unwrap());
    assert_eq!(first.public_address(), address, "the inherited socket is served");
    assert_eq!(Asker::new(&first.public, None).get("/health").await.status, 200);
    first.signal("TERM");
    assert_eq!(first.ended().0, 0);
    // Nobody serves now; the connection waits in the socket's own queue.
    let asker = Asker::new(&format!("http://{address}"), None);
    let asking = tokio::spawn(async move { asker.arrive("echo", NEW_CALL).await });
    let second = Process::inherit(folder.path(), socket);
    let told = asking.await.unwrap();
    assert!(told.stream_url().starts_with(&format!("ws://{address}/webhooks/echo/wss/")), "{}", told.body);
    drop(second);
}

fn folder(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("flows")).unwrap();
    std::fs::write(folder.path().join("flows/echo.yaml"), "tasks: [{ type: echo }]\n").unwrap();
    std::fs::write(folder.path().join("holdline.toml"), format!("{CONFIG}{more}")).unwrap();
    folder
}

fn holdline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdline"));
    command.args(["serve", "--config", "holdline.toml"]).env_clear();
    command
}

/// A server that is expected not to start.
fn failed(folder: &Path) -> (i32, String) {
    let Output { status, stdout, stderr } = holdline().current_dir(folder).output().unwrap();
    assert!(stdout.is_empty(), "{stdout:?}");
    (status.code().unwrap(), String::from_utf8(stderr).unwrap())
}

struct Process {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
    public: String,
    control: String,
}

impl Process {
    fn serve(folder: &Path) -> Process {
        Process::start(holdline().current_dir(folder))
    }

    /// As systemd does it: the socket is file 3, and the environment says so.
    fn inherit(folder: &Path, socket: TcpListener) -> Process {
        let script =
            "export LISTEN_FDS=1 LISTEN_FDNAMES=public LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 0</dev/null";
        let server = holdline();
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]).arg(server.get_program()).args(server.get_args());
        // A child's standard input is the one file that may be any, without unsafe code.
        shell.current_dir(folder).stdin(Stdio::from(OwnedFd::from(socket)));
        Process::start(&mut shell)
    }

    fn start(command: &mut Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let address = |name: &str| {
            let word = ready.split_whitespace().find_map(|word| word.strip_prefix(name));
            word.unwrap_or_else(|| panic!("a ready line with {name}, got {ready:?}")).to_owned()
        };
        let (public, control) = (address("public="), address("control="));
        assert_eq!(address("voice="), format!("{public}/webhooks/echo"));
        Process { child, stdout, public, control }
    }

    fn public_address(&self) -> SocketAddr {
        self.public.strip_prefix("http://").unwrap().parse().unwrap()
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &process]).status().unwrap().success());
    }

    /// Its exit code, and what it still wrote to stdout.
    fn ended(mut self) -> (i32, String) {
        let mut said = String::new();
        self.stdout.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code().unwrap(), said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
