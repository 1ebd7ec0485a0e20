//! What sound costs: the release binary with its journal on a disk and calls that take the whole way (voice webhook,
//! document, stream, status), beside a bare socket that echoes. [docs/performance.md](../../docs/performance.md) says
//! how to read it.
//!
//! `cargo bench --bench media -- [SCENARIO…] [--calls N] [--seconds N] [--pairs N] [--disk FOLDER]`
//!
//! | scenario | |
//! |---|---|
//! | `paced` | frames by the clock, echoed: processor time a frame against the bare socket, memory a call |
//! | `recorded` | the same, each call recorded |
//! | `blast` | frames as fast as they come back: frames a processor second against the bare socket |
//! | `stall` | the server stands still for 60 ms: the round trips of the four seconds behind it |
//! | `playback` | a long sound to each call: how even its frames come, processor time against a bare echo |
//! | `beside` | live calls, while 200 webhooks a second come and snapshots are kept: their round trips, and without |
//! | `idle` | calls that say nothing: memory a call |
//! | `cores` | what `paced` costs with the server on one core and on two |
//!
//! The server runs on the first processor and the load on the second. A run that says more about the machine than about
//! the server is thrown away and made up for: `VOID` says why.
#![allow(clippy::disallowed_methods)] // it measures real time

mod bare;
mod load;
mod wire;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdline_harness::network::tone::write_wav;
use load::{Load, Seen, Speech, at};

const CONFIG: &str = "\
[public]
bind = \"127.0.0.1:0\"
[control]
bind = \"127.0.0.1:0\"
[calls]
max_calls = 20000
idle_timeout = \"10m\"
drain_timeout = \"1s\"
";
const FLOWS: [(&str, &str); 4] = [
    ("echo", "tasks: [{ type: answer }, { type: echo }]\n"),
    ("kept", "tasks: [{ type: answer }, { type: recording_start }, { type: echo }]\n"),
    ("sound", "tasks: [{ type: answer }, { type: play, parameters: { file: long.wav } }]\n"),
    (
        "turns",
        "tasks:\n  - { type: talk, name: words, parameters: { text: One more moment please. } }\n  \
         - { type: goto, parameters: { target_id: words, loop_count: -1 } }\n",
    ),
];
/// Two minutes: longer than any run.
const SOUND_SAMPLES: usize = 120 * 8000;
/// Frames under way of each call in a blast.
const BLAST: u32 = 8;
/// A generator that is later than this at its 99th percentile, in milliseconds, or busier than this, measures itself.
const LATE_MOST: f64 = 5.0;
const BUSY_MOST: f64 = 0.85;
/// Of a processor, taken by others.
const ELSEWHERE_MOST: f64 = 0.30;
const RETRIES: usize = 4;
const STALL: Duration = Duration::from_millis(60);
const WEBHOOKS_A_SECOND: u32 = 200;
/// Calls that share those webhooks: so few that each one's story becomes long enough for a snapshot.
const TURNING: u32 = 4;
/// Ticks of the kernel's accounts in a second.
const TICKS: f64 = 100.0;

struct Options {
    calls: Option<usize>,
    window: Duration,
    pairs: usize,
}

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--bare") {
        bare::serve().expect("a socket");
        return;
    }
    // `cargo test --all-targets` runs benches too.
    if !words.iter().any(|word| word == "--bench") {
        return;
    }
    if std::env::var_os(PINNED).is_none() {
        let me = std::env::current_exe().expect("a path");
        let again = Command::new("taskset").arg("-c").arg("1").arg(me).args(&words).env(PINNED, "1").status();
        match again {
            Ok(status) => std::process::exit(status.code().unwrap_or(1)),
            Err(error) => println!("taskset: {error}; nothing is kept apart, so trust nothing"),
        }
    }
    words.retain(|word| word != "--bench");
    let mut option = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        let value = words.get(at + 1).cloned();
        words.drain(at..(at + 2).min(words.len()));
        value
    };
    let disk = option("--disk");
    let number = |value: Option<String>| value.map(|value| value.parse::<usize>().expect("a number"));
    let (calls, seconds, pairs) =
        (number(option("--calls")), number(option("--seconds")), number(option("--pairs")));
    if let Some(folder) = disk {
        // Before any thread is there that could read it.
        unsafe { std::env::set_var("TMPDIR", folder) };
    }
    let options = Options {
        calls,
        window: Duration::from_secs(seconds.unwrap_or(8) as u64),
        pairs: pairs.unwrap_or(3),
    };
    let all = ["paced", "recorded", "blast", "stall", "playback", "beside", "idle"];
    let chosen: Vec<&str> =
        if words.is_empty() { all.to_vec() } else { words.iter().map(String::as_str).collect() };
    for scenario in chosen {
        match scenario {
            "paced" => compare("paced", "echo", Speech::Paced, &options),
            "recorded" => compare("recorded", "kept", Speech::Paced, &options),
            "blast" => compare("blast", "echo", Speech::Blast(BLAST), &options),
            "playback" => compare("playback", "sound", Speech::Silent, &options),
            "stall" => stall(&options),
            "beside" => beside(&options),
            "idle" => idle(&options),
            "cores" => cores(&options),
            other => panic!("no scenario is called {other}"),
        }
    }
}

const PINNED: &str = "HOLDLINE_BENCH_PINNED";

/// A server on the first processor, or wherever it is told.
struct Server {
    child: Child,
    public: SocketAddr,
    /// None for the bare socket.
    control: Option<SocketAddr>,
    _home: tempfile::TempDir,
}

impl Server {
    fn holdline(processors: &str) -> Server {
        let home = tempfile::tempdir().expect("a folder");
        fs::create_dir(home.path().join("flows")).expect("a folder");
        for (name, text) in FLOWS {
            fs::write(home.path().join(format!("flows/{name}.yaml")), text).expect("a workflow");
        }
        let sound: Vec<u8> = (0..SOUND_SAMPLES).map(|at| (at % 251) as u8).collect();
        fs::write(home.path().join("flows/long.wav"), write_wav(&sound)).expect("a sound");
        fs::write(home.path().join("holdline.toml"), CONFIG).expect("a configuration");
        let log = fs::File::create(home.path().join("log")).expect("a log");
        let mut command = Command::new("taskset");
        command.args([
            "-c",
            processors,
            env!("CARGO_BIN_EXE_holdline"),
            "serve",
            "--config",
            "holdline.toml",
        ]);
        let mut child =
            command.current_dir(home.path()).stdout(Stdio::piped()).stderr(log).spawn().expect("a server");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut ready).expect("a ready line");
        let address = |name: &str| {
            let word = ready.split_whitespace().find_map(|word| word.strip_prefix(name));
            word.and_then(|word| word.trim_start_matches("http://").parse().ok())
                .unwrap_or_else(|| panic!("a ready line, got {ready:?}"))
        };
        Server { public: address("public="), control: Some(address("control=")), child, _home: home }
    }

    fn bare() -> Server {
        let me = std::env::current_exe().expect("a path");
        let mut command = Command::new("taskset");
        let mut child = command
            .args(["-c", "0"])
            .arg(me)
            .arg("--bare")
            .stdout(Stdio::piped())
            .spawn()
            .expect("a bare socket");
        let mut address = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut address).expect("an address");
        let public = address.trim().parse().expect("an address");
        Server { child, public, control: None, _home: tempfile::tempdir().expect("a folder") }
    }

    /// The way that a call takes from its webhook to its stream.
    fn open(&self, load: &mut Load, flow: &str) {
        let call_sid = format!("CA{:032x}", load.calls.len());
        if self.control.is_none() {
            return load.open(self.public, "/", &call_sid, "");
        }
        let form = format!(
            "CallSid={call_sid}&AccountSid=AC00000000000000000000000000000001&From=%2B14155550100&\
             To=%2B14155550199&CallStatus=ringing&Direction=inbound"
        );
        let document =
            wire::ask(self.public, &wire::post(&format!("/webhooks/{flow}"), &form)).expect("a document");
        let between = |text: &str, before: &str| {
            let rest = text.split_once(before).unwrap_or_else(|| panic!("{before} in {document}")).1;
            rest.split('"').next().expect("a quote").to_owned()
        };
        let url = between(&document, "<Stream url=\"");
        let path = url.splitn(4, '/').nth(3).expect("a path").to_owned();
        load.open(self.public, &format!("/{path}"), &call_sid, &format!("\"callSid\":\"{call_sid}\""));
    }

    fn fill(&self, load: &mut Load, calls: usize, flow: &str) {
        for _ in 0..calls {
            self.open(load, flow);
        }
    }

    /// Seconds of the processor that it has used.
    fn worked(&self) -> f64 {
        worked(&self.child.id().to_string())
    }

    fn memory_kib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
        line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(f64::NAN)
    }

    /// What the session counted must be what was sent: no frame has taken another way.
    fn counted(&self, load: &Load) {
        let Some(control) = self.control else { return };
        for call in load.calls.iter().step_by(load.calls.len().div_ceil(50)) {
            let answer =
                wire::ask(control, &wire::get(&format!("/v1/calls/{}", call.call_sid))).expect("a call");
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            let body: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"));
            let media = &body["media"];
            assert_eq!(media["frames_in"], call.sent, "{}: {media}", call.call_sid);
            let missing = u64::from(call.sent.saturating_sub(call.came));
            assert_eq!(media["frames_dropped"], missing, "{}: {media}", call.call_sid);
        }
    }

    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let done = Command::new("kill").args(["-s", name, &process]).status();
        assert!(done.is_ok_and(|status| status.success()), "{name}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn worked(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything, in its brackets.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// What all processors have worked and what their host took from them, in seconds.
fn machine() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = fields.filter_map(|ticks| ticks.parse().ok()).collect();
    let of = |place: usize| ticks.get(place).copied().unwrap_or_default();
    (of(0) + of(1) + of(2) + of(5) + of(6) + of(7)) / TICKS
}

/// One window of one server.
struct Run {
    seen: Seen,
    /// Processor seconds of the server.
    worked: f64,
    memory_a_call: f64,
    void: Option<String>,
}

fn run(server: &Server, flow: &str, speech: Speech, calls: usize, window: Duration) -> Run {
    let mut load = Load::new();
    let before_calls = server.memory_kib();
    server.fill(&mut load, calls, flow);
    load.run(speech, Duration::from_secs(2));
    let me = std::process::id().to_string();
    let (all, ours, server_before) = (machine(), worked(&me), server.worked());
    let mut seen = load.run(speech, window);
    let worked_here = worked(&me) - ours;
    let server_worked = server.worked() - server_before;
    let elsewhere = (machine() - all - worked_here - server_worked) / window.as_secs_f64();
    let memory_a_call = (server.memory_kib() - before_calls) / calls as f64;
    let busy = worked_here / window.as_secs_f64();
    let late = at(&mut seen.late, 99.0);
    let void = if elsewhere > ELSEWHERE_MOST {
        Some(format!("others took {elsewhere:.2} of a processor"))
    } else if busy > BUSY_MOST && !matches!(speech, Speech::Blast(_)) {
        Some(format!("the generator was at {busy:.2}"))
    } else if late > LATE_MOST {
        Some(format!("the generator was {late:.1} ms late"))
    } else {
        None
    };
    assert_eq!(seen.altered, 0, "frames came back as they were not sent");
    if speech != Speech::Silent {
        load.settle();
        server.counted(&load);
    }
    Run { seen, worked: server_worked, memory_a_call, void }
}

/// Interleaved pairs of the server and the bare socket.
fn compare(name: &str, flow: &str, speech: Speech, options: &Options) {
    let calls = options.calls.unwrap_or(if matches!(speech, Speech::Blast(_)) { 64 } else { 1000 });
    // A bare socket does not play: it is asked to echo as many frames.
    let bare_speech = if speech == Speech::Silent { Speech::Paced } else { speech };
    let (mut ratios, mut voids) = (Vec::new(), 0);
    while ratios.len() < options.pairs && voids <= RETRIES {
        let mut pair = [None, None];
        let ours_first = (ratios.len() + voids).is_multiple_of(2);
        for ours in [ours_first, !ours_first] {
            let server = if ours { Server::holdline("0") } else { Server::bare() };
            let speech = if ours { speech } else { bare_speech };
            pair[usize::from(!ours)] = Some(run(&server, flow, speech, calls, options.window));
        }
        let [Some(mut ours), Some(mut bare)] = pair else { unreachable!("both have run") };
        let (mine, its) = (ours.cost(), bare.cost());
        let ratio = if matches!(speech, Speech::Blast(_)) { its / mine } else { mine / its };
        let times = if speech == Speech::Silent {
            let (gap, most) = (at(&mut ours.seen.gap, 99.0), at(&mut ours.seen.gap, 100.0));
            format!("gap p99 {gap:.2} max {most:.1} ms off")
        } else {
            let (round, its) = (at(&mut ours.seen.round, 99.0), at(&mut bare.seen.round, 99.0));
            format!("p99 {round:.2} ms (bare {its:.2})")
        };
        let void = ours.void.or(bare.void);
        println!(
            "{name:<9} {calls} calls: {mine:.2} us a frame, bare {its:.2}: {ratio:.2} x; {:.0} frames a second, {times}, \
             {:.1} KiB a call{}",
            ours.seen.frames as f64 / ours.seen.took.as_secs_f64(),
            ours.memory_a_call,
            void.as_ref().map(|why| format!("  VOID: {why}")).unwrap_or_default()
        );
        match void {
            Some(_) => voids += 1,
            None => ratios.push(ratio),
        }
    }
    ratios.sort_by(f64::total_cmp);
    let median = ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN);
    println!("{name:<9} median {median:.2} x the bare socket, {} pairs, {voids} void\n", ratios.len());
}

impl Run {
    /// Microseconds of the processor for a frame.
    fn cost(&self) -> f64 {
        self.worked * 1e6 / self.seen.frames.max(1) as f64
    }
}

fn stall(options: &Options) {
    let calls = options.calls.unwrap_or(200);
    for _ in 0..options.pairs {
        let server = Server::holdline("0");
        let mut load = Load::new();
        server.fill(&mut load, calls, "echo");
        load.run(Speech::Paced, Duration::from_secs(1));
        server.signal("STOP");
        load.run(Speech::Paced, STALL);
        server.signal("CONT");
        load.run(Speech::Paced, Duration::from_millis(200));
        let mut seen = load.run(Speech::Paced, Duration::from_secs(4));
        load.settle();
        server.counted(&load);
        println!(
            "stall     {calls} calls: p99 {:.2} ms, max {:.1} ms in the 4 s behind a stop of {} ms; generator late by {:.2} ms",
            at(&mut seen.round, 99.0),
            at(&mut seen.round, 100.0),
            STALL.as_millis(),
            at(&mut seen.late, 99.0)
        );
    }
    println!();
}

/// Webhooks at a steady rate from a few connections of their own, until it is told to stop.
fn webhooks(public: SocketAddr, until: Instant) -> Vec<std::thread::JoinHandle<Vec<u32>>> {
    let every = Duration::from_secs(1) * TURNING / WEBHOOKS_A_SECOND;
    let callers = (0..TURNING).map(|caller| {
        std::thread::spawn(move || {
            let sid = format!("CA{:032x}", 0xF000 + caller);
            let arrival =
                format!("CallSid={sid}&From=%2B14155550100&To=%2B14155550199&CallStatus=in-progress");
            let timed = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a clock");
            let _timed = timed.enter();
            let begins = Instant::now() + every * caller / TURNING;
            let (mut clock, mut times) = (tokio::time::interval_at(begins.into(), every), Vec::new());
            for turn in 0.. {
                if timed.block_on(clock.tick()).into_std() >= until {
                    break;
                }
                let path = if turn == 0 {
                    "/webhooks/turns".to_owned()
                } else {
                    format!("/webhooks/turns/next?x={turn}")
                };
                let asked = Instant::now();
                let answer = wire::ask(public, &wire::post(&path, &arrival)).expect("a document");
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                times.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
            }
            times
        })
    });
    callers.collect()
}

fn beside(options: &Options) {
    let calls = options.calls.unwrap_or(200);
    for flow in ["echo", "kept"] {
        let (mut added, mut alone_p99) = (Vec::new(), Vec::new());
        for _ in 0..options.pairs {
            let server = Server::holdline("0");
            let mut load = Load::new();
            server.fill(&mut load, calls, flow);
            load.run(Speech::Paced, Duration::from_secs(2));
            let mut alone = load.run(Speech::Paced, options.window);
            let until = Instant::now() + options.window;
            let callers = webhooks(server.public, until);
            let mut beside = load.run(Speech::Paced, options.window);
            let mut times: Vec<u32> =
                callers.into_iter().flat_map(|caller| caller.join().expect("no panic")).collect();
            load.settle();
            server.counted(&load);
            let (without, with) = (at(&mut alone.round, 99.0), at(&mut beside.round, 99.0));
            println!(
                "beside    {calls} live calls ({flow}): p99 {without:.2} ms alone, {with:.2} ms beside {} webhooks \
                 (p99 {:.2} ms); generator late by {:.2} and {:.2} ms",
                times.len(),
                at(&mut times, 99.0),
                at(&mut alone.late, 99.0),
                at(&mut beside.late, 99.0)
            );
            added.push(with - without);
            alone_p99.push(without);
        }
        added.sort_by(f64::total_cmp);
        println!("beside    ({flow}) median {:+.2} ms at p99\n", added[added.len() / 2]);
    }
}

fn idle(options: &Options) {
    let calls = options.calls.unwrap_or(4000);
    let server = Server::holdline("0");
    let (mut load, before) = (Load::new(), server.memory_kib());
    server.fill(&mut load, calls, "echo");
    load.run(Speech::Silent, Duration::from_secs(2));
    let a_call = (server.memory_kib() - before) / calls as f64;
    println!("idle      {calls} calls: {a_call:.1} KiB a call\n");
}

/// The generator takes its share of the second core: what is shown is that two cores are used, not what they can do.
fn cores(options: &Options) {
    let calls = options.calls.unwrap_or(256);
    for processors in ["0", "0,1"] {
        let server = Server::holdline(processors);
        let run = run(&server, "echo", Speech::Blast(BLAST), calls, options.window);
        println!(
            "cores     {processors:<4} {calls} calls: {:.0} frames a second, {:.2} us a frame{}",
            run.seen.frames as f64 / run.seen.took.as_secs_f64(),
            run.cost(),
            run.void.map(|why| format!("  VOID: {why}")).unwrap_or_default()
        );
    }
}
