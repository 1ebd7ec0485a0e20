//! What durability costs: a real server with its store on a real disk, asked by real HTTP.
//!
//! - `cargo bench --bench journal -- webhooks [SECONDS]`: how long an answer takes that is written before it is given,
//!   beside the disk's own bare sync; at 50 a second beside bare syncs at the same pace.
//! - `cargo bench --bench journal -- calls [CALLS] [RETENTION]`: memory and disk over many short calls.
//! - `cargo bench --bench journal -- open [CALLS]`: how long a start takes with so many open calls.
//!
//! `HOLDLINE__JOURNAL__KIND=sled` before it has the rows kept in sled.
//! `--disk FOLDER` says where the data lies; the system's folder for such things may be memory.
//! Everything that must hold is asserted; what is worth knowing is printed.
#![allow(clippy::disallowed_methods)] // it measures real time

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::{self, Display, Formatter};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use holdline_harness::network::sign;
use support::kill::start_with_open_calls;
use support::served::{Home, Served, disk_bytes};

/// Comes back for ever, a document each time.
const TURNS: &str = "\
tasks:
  - { type: talk, name: words, parameters: { text: One more moment please. } }
  - { type: goto, parameters: { target_id: words, loop_count: -1 } }
";
const SHORT: &str = "\
tasks:
  - { type: variable_set, parameters: { key: greeted, value: '${call.from}' } }
  - { type: talk, parameters: { text: Nobody is here at the moment. Please call again. } }
outputs: [{ name: greeted, value: '${greeted}' }]
";
const MAIN: &str = "\
triggers:
  - { type: twilio/inboundCall, name: incoming, parameters: { subWorkflow: short } }
tasks:
  - { type: variable_set, parameters: { key: result, value: '${incoming.endReason}' } }
";
/// Requests a second at which an answer may take four bare syncs.
const STEADY: u32 = 50;
const SLOWER_THAN_SYNC_MOST: f64 = 4.0;
const FACTS_PER_COMMIT_LEAST: f64 = 10.0;
/// A kept call of the kind that is measured here.
const KEPT_BYTES_MOST: u64 = 4096;
/// Callers that take turns with the short calls.
const LINES: usize = 64;
/// From so many on the store's own beginnings don't count any more.
const MANY: usize = 10_000;
/// Memory behind all calls, times what it was behind the first tenth.
const MEMORY_GROWS_MOST: f64 = 1.1;
/// What the store may have begun to fill.
const FILE_BYTES: u64 = 16 * 1024 * 1024;
/// Ticks of the processor in a second of a server that only looks after itself.
const AT_REST: u64 = 5;
const BARE_FOR: Duration = Duration::from_secs(3);
/// One fact, about.
const SYNCED_BYTES: usize = 512;

fn main() {
    // `cargo test --all-targets` runs benches too.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let mut arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--disk") {
        let folder = arguments.drain(at..).nth(1).expect("a folder");
        // Before any thread is there that could read it.
        unsafe { std::env::set_var("TMPDIR", folder) };
    }
    let number = |at: usize, otherwise: u64| {
        arguments.get(at).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.first().map_or("webhooks", String::as_str) {
        "calls" => {
            let retention = arguments.get(2).map_or("30d", String::as_str);
            runtime.block_on(short_calls(usize::try_from(number(1, 100_000)).unwrap(), retention));
        }
        "open" => {
            let calls = number(1, 10_000);
            let (ready, answered) = start_with_open_calls(usize::try_from(calls).unwrap());
            println!(
                "{calls} open calls: ready after {} ms, the last of them answered after {} ms more",
                ready.as_millis(),
                answered.as_millis()
            );
        }
        _ => runtime.block_on(webhooks(Duration::from_secs(number(1, 10)))),
    }
}

async fn webhooks(each: Duration) {
    let bare = bare_sync();
    println!("{:<32} {bare}", "the disk's bare sync");
    for lines in [1, 100, 1000] {
        let (asked, facts, commits) = serve_and_ask(lines, None, each).await;
        println!(
            "{:<32} {asked}, {:.0} facts a second, {:.1} facts a sync",
            format!("{lines} calls, as fast as they can"),
            facts / asked.took.as_secs_f64(),
            facts / commits
        );
        if lines == 1000 {
            assert!(facts / commits >= FACTS_PER_COMMIT_LEAST, "{} facts a sync", facts / commits);
        }
    }
    // Half before and half behind, at the same pace: a machine that rests in between is slower for both.
    let mut bare = paced_sync(each / 2).await;
    let steady = usize::try_from(STEADY).unwrap();
    let (asked, ..) = serve_and_ask(steady, Some(Duration::from_secs(1)), each).await;
    bare.extend(paced_sync(each / 2).await);
    let bare = Times::new(bare, each);
    println!("{:<32} {bare}", format!("{STEADY} bare syncs a second"));
    println!("{:<32} {asked}", format!("{STEADY} webhooks a second"));
    let ratio = asked.at(0.99).as_secs_f64() / bare.at(0.99).as_secs_f64();
    println!("at {STEADY} a second the answer's p99 is {ratio:.1} times that of a bare sync");
    assert!(ratio <= SLOWER_THAN_SYNC_MOST, "an answer takes {ratio:.1} times what a bare sync does");
}

/// What the callers saw, and how many facts the server says that it wrote in how many commits.
async fn serve_and_ask(lines: usize, period: Option<Duration>, each: Duration) -> (Times, f64, f64) {
    let home = Home::new(&[("turns", TURNS)], "[calls]\ndrain_timeout = \"0s\"\n");
    let server = home.serve();
    let asked = ask(&server, lines, period, each).await;
    server.end();
    let log = home.log();
    let said =
        log.lines().find(|line| line.contains("the journal is closed")).unwrap_or_else(|| panic!("{log}"));
    let number = |name: &str| {
        let value = said.split_once(name).and_then(|(_, rest)| rest.split_whitespace().next());
        value.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("{name} in {said}"))
    };
    (asked, number("facts="), number("commits="))
}

/// So many calls, each of which comes back as soon as it is answered, or once in a `period`.
async fn ask(server: &Served, lines: usize, period: Option<Duration>, each: Duration) -> Times {
    let client = client(lines);
    let until = Instant::now() + each;
    let lines = (0..lines).map(|line| {
        let (client, origin) = (client.clone(), server.public.clone());
        let sid = sign::sid("CA", &line.to_string());
        let starts = period.map_or(Duration::ZERO, |period| period * u32::try_from(line).unwrap() / STEADY);
        tokio::spawn(async move {
            post(&client, &format!("{origin}/webhooks/turns"), &arrival(&sid)).await;
            let mut times = Vec::new();
            // Behind the burst in which all of them arrive.
            let starts = tokio::time::Instant::now() + Duration::from_secs(1) + starts;
            let mut clock = tokio::time::interval_at(starts, period.unwrap_or(Duration::MAX / 4));
            let mut answered = None;
            for exchange in 1.. {
                let due = if period.is_some() { clock.tick().await.into_std() } else { Instant::now() };
                // What had to wait for the answer before it counts from when it was due; that the timer of whoever asks
                // is coarse is no time of the server's.
                let began = if answered > Some(due) { due } else { Instant::now() };
                if began >= until {
                    break;
                }
                let next = format!("{origin}/webhooks/turns/next?x={exchange}");
                post(&client, &next, &[("CallSid", sid.as_str()), ("CallStatus", "in-progress")]).await;
                times.push(began.elapsed());
                answered = Some(Instant::now());
            }
            times
        })
    });
    let mut all = Vec::new();
    let began = Instant::now();
    for line in lines.collect::<Vec<_>>() {
        all.extend(line.await.unwrap());
    }
    Times::new(all, began.elapsed())
}

async fn short_calls(calls: usize, retention: &str) {
    let more = format!("[journal]\nretention = \"{retention}\"\n");
    let home = Home::new(&[("main", MAIN), ("short", SHORT)], &more);
    let server = home.serve();
    let client = client(LINES);
    let next = Arc::new(AtomicUsize::new(0));
    println!("{calls} calls, retention {retention}");
    println!("{:>8} {:>12} {:>12} {:>14} {:>10}", "calls", "memory", "disk", "disk a call", "a second");
    let began = Instant::now();
    let mut looks = Vec::new();
    for percent in [1, 10, 25, 50, 75, 100] {
        let most = calls * percent / 100;
        let lines = (0..LINES).map(|_| {
            let (client, origin, next) = (client.clone(), server.public.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= most {
                        break;
                    }
                    short_call(&client, &origin, &sign::sid("CA", &number.to_string())).await;
                }
            })
        });
        for line in lines.collect::<Vec<_>>() {
            line.await.unwrap();
        }
        next.store(most, Ordering::Relaxed);
        // The last workflows end, and what can be thrown away is.
        let mut looks_again = tokio::time::interval(Duration::from_secs(1));
        looks_again.tick().await;
        let mut worked = server.worked();
        loop {
            looks_again.tick().await;
            let before = std::mem::replace(&mut worked, server.worked());
            if worked - before <= AT_REST {
                break;
            }
        }
        let at = At { calls: most, memory: server.memory(), disk: disk_bytes(&home.data()) };
        println!("{at} {:>10.0}", most as f64 / began.elapsed().as_secs_f64());
        looks.push(at);
    }
    server.end();
    let (Some(early), Some(last)) = (looks.get(1), looks.last()) else { return };
    let grows = last.memory as f64 / early.memory as f64;
    println!("memory behind all of them is {grows:.2} times what it was behind a tenth");
    assert!(last.calls < MANY || grows <= MEMORY_GROWS_MOST, "memory grows with the calls");
    if retention == "0s" {
        assert!(last.disk <= early.disk * 3 / 2 + FILE_BYTES, "the files don't stay flat");
    } else {
        let each = last.disk / last.calls.max(1) as u64;
        assert!(last.calls < MANY || each <= KEPT_BYTES_MOST, "a kept call takes {each} bytes");
    }
}

/// A whole call: it arrives, is told something, and is over.
async fn short_call(client: &reqwest::Client, origin: &str, sid: &str) {
    post(client, &format!("{origin}/webhooks/main"), &arrival(sid)).await;
    let over = [("CallSid", sid), ("CallStatus", "completed"), ("CallDuration", "3")];
    post(client, &format!("{origin}/webhooks/twilio/status"), &over).await;
}

fn client(lines: usize) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().pool_max_idle_per_host(lines).build().unwrap()
}

fn arrival(sid: &str) -> [(&str, &str); 6] {
    [
        ("CallSid", sid),
        ("AccountSid", "AC00000000000000000000000000000001"),
        ("From", "+14155550100"),
        ("To", "+14155550199"),
        ("CallStatus", "ringing"),
        ("Direction", "inbound"),
    ]
}

async fn post(client: &reqwest::Client, url: &str, fields: &[(&str, &str)]) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "{url}: {}", answer.status());
    answer.bytes().await.unwrap();
}

/// What a sync of a few bytes at the end of a file takes, with nothing else on top.
fn bare_sync() -> Times {
    let mut file = tempfile::tempfile().unwrap();
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < BARE_FOR {
        let began = Instant::now();
        file.write_all(&[0x55; SYNCED_BYTES]).unwrap();
        file.sync_data().unwrap();
        times.push(began.elapsed());
    }
    Times::new(times, began.elapsed())
}

/// The same, as often as webhooks come.
async fn paced_sync(during: Duration) -> Vec<Duration> {
    let mut file = tempfile::tempfile().unwrap();
    let began = Instant::now();
    let mut times = Vec::new();
    let mut clock = tokio::time::interval(Duration::from_secs(1) / STEADY);
    while began.elapsed() < during {
        clock.tick().await;
        let began = Instant::now();
        file.write_all(&[0x55; SYNCED_BYTES]).unwrap();
        file.sync_data().unwrap();
        times.push(began.elapsed());
    }
    times
}

struct Times {
    sorted: Vec<Duration>,
    took: Duration,
}

impl Times {
    fn new(mut times: Vec<Duration>, took: Duration) -> Times {
        times.sort();
        Times { sorted: times, took }
    }

    fn at(&self, part: f64) -> Duration {
        let place = (self.sorted.len() as f64 * part) as usize;
        self.sorted.get(place.min(self.sorted.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

impl Display for Times {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let millis = |part| self.at(part).as_secs_f64() * 1000.0;
        let a_second = self.sorted.len() as f64 / self.took.as_secs_f64();
        let (p50, p99, p999) = (millis(0.5), millis(0.99), millis(0.999));
        write!(f, "{a_second:>7.0} a second, p50 {p50:>7.2} ms, p99 {p99:>7.2} ms, p99.9 {p999:>7.2} ms")
    }
}

/// How things stand after so many calls.
struct At {
    calls: usize,
    memory: u64,
    disk: u64,
}

impl Display for At {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let each = self.disk / self.calls.max(1) as u64;
        let (memory, disk) = (self.memory / 1024, self.disk / 1024);
        write!(f, "{:>8} {memory:>8} KiB {disk:>8} KiB {each:>8} bytes", self.calls)
    }
}
