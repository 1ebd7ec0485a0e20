//! Kills the server again and again in the middle of calls, and looks at what the journal says in the end, at what the
//! callers lived through, and at what other systems saw.
#![allow(clippy::disallowed_methods)] // it lives in real time, as those who pull plugs do

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdline::adapter::journal::{DiskJournal, StoreKind};
use holdline_actors::call_registry::fold_call;
use holdline_actors::port::journal::{Journal, Kind};
use holdline_core::fact::{CallFact, Entry, Fact, Key, ParentFact};
use holdline_core::flow::run::Run;
use holdline_core::workflow::run_facts;
use holdline_core::{CallId, Now, Tick};
use holdline_harness::network::real::{Network, Story};
use holdline_harness::network::rest::Account;
use holdline_harness::network::switchboard::Switchboard;
use holdline_harness::network::{Experience, LineConfig, OnAbruptClose, Script, Status, sign};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::relay::{Relay, Strike, Way};
use super::served::chosen_store;
use super::sink::{self, Sink};
use super::until;
use super::wire::Asker;

const CONFIG: &str = "\
[public]
bind = \"127.0.0.1:0\"
[control]
bind = \"127.0.0.1:0\"
[calls]
return_grace = \"8s\"
[http]
allow_hosts = [\"127.0.0.1\"]
[twilio]
account_sid = \"ACCOUNT\"
api_key = \"SK00000000000000000000000000000001\"
api_secret = \"a secret of the account\"
api_url = \"API\"
[log]
format = \"text\"
";
/// Words, keys, a question to another system, sound of ours, sound of theirs, a wait, and words again: every way in which
/// a step can be under way.
const LINE: &str = "\
tasks:
  - { type: answer, name: first }
  - { type: talk, name: welcome, parameters: { text: Welcome to the line. } }
  - { type: talk, name: prompt, parameters: { text: Press a key. } }
  - { type: digits_receive, name: key, parameters: { duration: 20s, length: 1 } }
  - { type: variable_set, name: note, parameters: { key: pressed, value: '${key.digits}' } }
  - { type: http/request, name: asked, parameters: { url: 'SINK/asked?call=${call.sid}', method: POST, body: { pressed: '${key.digits}' } } }
  - { type: digits_send, name: tones, parameters: { digits: '123', duration: 200, interval: 100 } }
  - { type: echo, name: mirror, parameters: { duration: 1500ms } }
  - { type: sleep, name: rest, parameters: { duration: 1s } }
  - { type: talk, name: goodbye, parameters: { text: Goodbye then. } }
outputs: [{ name: pressed, value: '${pressed}' }]
";
const LINE_STEPS: [&str; 10] =
    ["first", "welcome", "prompt", "key", "note", "asked", "tones", "mirror", "rest", "goodbye"];
/// Goes on for a while after its call, and owes a message to somebody.
const MAIN: &str = "\
triggers:
  - { type: twilio/inboundCall, name: incoming, parameters: { subWorkflow: line } }
tasks:
  - { type: variable_set, name: before, parameters: { key: result, value: '${incoming.endReason}' } }
  - { type: webhook_send, name: told, parameters: { uri: 'SINK/told?call=${incoming.callSid}', data: { over: true } } }
  - { type: sleep, name: pause, parameters: { duration: 700ms } }
  - { type: variable_set, name: after, parameters: { key: again, value: '${incoming.subWorkflowOutputs}' } }
";
const MAIN_STEPS: [&str; 4] = ["before", "told", "pause", "after"];
/// Of what a call sends over its wire in one direction, at least: so many pieces are shared out between the kills.
const PIECES_OF_A_CALL: u64 = 40;
/// A kill comes within what so many calls send.
const CALLS_OF_A_ROUND: u64 = 2;
/// A call begins when the one before it has lived through so many things.
const LIVED_MAX: u64 = 12;
/// Turns of the scheduler between a piece and the kill, so that kills also fall between a write and its answer.
const TURNS_MAX: u64 = 4000;

pub struct Kills {
    pub rounds: usize,
    pub calls: usize,
    pub seed: u64,
}

/// What it came to. What must hold was asserted before.
#[derive(Debug)]
pub struct Report {
    pub seed: u64,
    pub rounds: usize,
    pub calls: usize,
    pub at_once: usize,
    pub facts: usize,
    /// Steps that were begun more than once, as they must when they were under way.
    pub begun_again: u64,
    /// From the start of the process to its ready line.
    pub ready_at_worst: Duration,
    /// From a kill to the start of the next process.
    pub down_at_worst: Duration,
    /// By the way in which a caller whose stream died with the server came back: from the ready line, or from the loss
    /// if that came later, until the caller got something: its next document, or sound. The shortest first.
    pub back: BTreeMap<WayBack, Vec<Duration>>,
}

/// How the network finds back to a call whose stream died.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WayBack {
    Redirect,
    Action,
    Fallback,
    /// It does nothing by itself: the API leads it back.
    Rest,
}

impl WayBack {
    pub const ALL: [WayBack; 4] = [WayBack::Redirect, WayBack::Action, WayBack::Fallback, WayBack::Rest];

    /// The one that a call can take: calls take turns.
    fn of(call: usize) -> WayBack {
        WayBack::ALL[call % WayBack::ALL.len()]
    }
}

impl Kills {
    pub fn live(&self) -> Report {
        let home = tempfile::tempdir().unwrap();
        let sink = Sink::start(home.path());
        std::fs::create_dir(home.path().join("flows")).unwrap();
        for (name, text) in [("main", MAIN), ("line", LINE)] {
            let text = text.replace("SINK", &sink.origin);
            std::fs::write(home.path().join(format!("flows/{name}.yaml")), text).unwrap();
        }
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let relay = Arc::new(runtime.block_on(Relay::start(socket.local_addr().unwrap())));
        let account = Account {
            sid: sign::sid("AC", "the account"),
            user: "SK00000000000000000000000000000001".to_owned(),
            password: "a secret of the account".to_owned(),
        };
        let like = LineConfig::new(relay.origin.clone(), "placed by nobody");
        let starting = Switchboard::start(account.clone(), Network::new().unwrap(), like);
        let switchboard = runtime.block_on(starting).unwrap();
        let config = CONFIG
            .replacen("[public]", &format!("[public]\nurl = \"{}\"", relay.origin), 1)
            .replace("ACCOUNT", &account.sid)
            .replace("API", switchboard.origin());
        std::fs::write(home.path().join("holdline.toml"), config).unwrap();
        let mut dice = Dice(self.seed | 1);

        let mut server = Server::start(home.path(), &socket);
        let (mut ready_at_worst, mut down_at_worst) = (Duration::ZERO, Duration::ZERO);
        let mut lives = Vec::new();
        let watch = Arc::new(Watch::default());
        let (_, mut before) = watch::channel(0);
        let calls: Vec<JoinHandle<Story>> = (0..self.calls)
            .map(|number| {
                let (tell, lived) = watch::channel(0);
                let begins =
                    Begins { behind: std::mem::replace(&mut before, lived), after: dice.up_to(LIVED_MAX) };
                let seed = format!("{} {number}", self.seed);
                let (switchboard, relay, watch) = (switchboard.clone(), relay.clone(), watch.clone());
                runtime.spawn(call(World { switchboard, relay, watch }, number, seed, begins, tell))
            })
            .collect();
        let stories = runtime.spawn({
            let relay = relay.clone();
            async move {
                let mut stories = Vec::new();
                for call in calls {
                    stories.push(call.await.unwrap());
                }
                relay.over();
                stories
            }
        });
        let pieces = PIECES_OF_A_CALL * CALLS_OF_A_ROUND;
        let (mut rounds, mut was_at_once) = (0, false);
        for _ in 0..self.rounds {
            // A kill may hit those who are on their way back from the last one. The network gives a call up when a third
            // one hits them too, whoever answers it.
            was_at_once = !was_at_once && dice.up_to(1) == 0;
            if !was_at_once {
                runtime.block_on(watch.everybody_is_back());
            }
            let strike = Strike {
                way: if dice.up_to(1) == 0 { Way::ToServer } else { Way::FromServer },
                pieces: 1 + dice.up_to(pieces),
                lost: dice.up_to(1) == 0,
            };
            let turns = dice.up_to(TURNS_MAX);
            // No call is left whose server could be killed.
            let Ok(dead) = relay.strike(strike).recv() else { break };
            for _ in 0..turns {
                std::thread::yield_now();
            }
            let killed = Instant::now();
            server.kill();
            drop(dead);
            rounds += 1;
            let began = Instant::now();
            server = Server::start(home.path(), &socket);
            ready_at_worst = ready_at_worst.max(began.elapsed());
            down_at_worst = down_at_worst.max(began.duration_since(killed));
            lives.push(Life { killed, ready: Instant::now() });
        }
        let stories = runtime.block_on(stories).unwrap();
        runtime.block_on(async {
            let asker = Asker::new(&server.control, None);
            until("every main workflow has ended", async || {
                let told = asker.get("/v1/activeflows?status=running").await.json();
                told["result"].as_array().is_some_and(Vec::is_empty).then_some(())
            })
            .await;
            until("every message that is owed has arrived", async || {
                let (asked, _) = sink::asked(home.path());
                (asked.keys().filter(|path| path.starts_with("/told")).count() >= self.calls).then_some(())
            })
            .await;
        });
        server.end();
        let (facts, begun_again) = judge(home.path(), &stories);
        let (back, at_once) = (watch.judge(&lives), watch.at_once());
        Report {
            seed: self.seed,
            rounds,
            calls: self.calls,
            at_once,
            facts,
            begun_again,
            ready_at_worst,
            down_at_worst,
            back,
        }
    }
}

/// One kill, and the process after it.
struct Life {
    killed: Instant,
    ready: Instant,
}

/// What the callers got when, as far as a kill is concerned.
#[derive(Default)]
struct Watch {
    seen: Mutex<BTreeMap<usize, Vec<(Instant, Seen)>>>,
    /// Calls whose stream broke and that have got nothing since.
    away: watch::Sender<BTreeSet<usize>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The stream broke.
    Lost,
    /// A document, asked for by a number or without one.
    Document {
        numbered: bool,
    },
    Sound,
    /// An address was given up: only now does the network ask the one behind it.
    GivenUp,
    Over,
    Other,
}

impl Watch {
    fn sees(&self, call: usize, lived: &Experience) -> Seen {
        let seen = match lived {
            Experience::StreamDown { code: None, .. } => Seen::Lost,
            Experience::Fetched { url, .. } => Seen::Document { numbered: url.contains("x=") },
            Experience::HearsAudio { .. } | Experience::Hears { .. } => Seen::Sound,
            Experience::Warning { code: 11205, .. } => Seen::GivenUp,
            Experience::Ended { .. } => Seen::Over,
            _ => Seen::Other,
        };
        self.away.send_if_modified(|away| match seen {
            Seen::Lost => away.insert(call),
            Seen::Document { .. } | Seen::Sound | Seen::Over => away.remove(&call),
            Seen::GivenUp | Seen::Other => false,
        });
        self.seen.lock().unwrap().entry(call).or_default().push((Instant::now(), seen));
        seen
    }

    async fn everybody_is_back(&self) {
        // The sender is here.
        let _ = self.away.subscribe().wait_for(BTreeSet::is_empty).await;
    }

    /// The ways that were taken back, and how long each took.
    fn judge(&self, lives: &[Life]) -> BTreeMap<WayBack, Vec<Duration>> {
        let mut back: BTreeMap<WayBack, Vec<Duration>> = BTreeMap::new();
        for (call, seen) in self.seen.lock().unwrap().iter() {
            let mut lost = None;
            for (at, seen) in seen {
                match (seen, lost) {
                    (Seen::Lost, _) => lost = Some(*at),
                    // How long the network tries in vain is its own affair.
                    (Seen::GivenUp, Some(_)) if WayBack::of(*call) == WayBack::Fallback => lost = Some(*at),
                    (Seen::Document { .. } | Seen::Sound, Some(since)) => {
                        lost = None;
                        let by_number = *seen != Seen::Document { numbered: false };
                        let way = if by_number { WayBack::of(*call) } else { WayBack::Fallback };
                        back.entry(way).or_default().extend(waits(lives, since, *at));
                    }
                    _ => {}
                }
            }
        }
        back.values_mut().for_each(|times| times.sort());
        back
    }

    /// How many calls there were at once, at most.
    fn at_once(&self) -> usize {
        let seen = self.seen.lock().unwrap();
        let ends = |seen: &[(Instant, Seen)]| Some((seen.first()?.0, seen.last()?.0));
        let mut changes: Vec<(Instant, bool)> = seen
            .values()
            .filter_map(|seen| ends(seen))
            .flat_map(|(from, to)| [(from, true), (to, false)])
            .collect();
        changes.sort();
        let mut now: usize = 0;
        let counted = changes.into_iter().map(|(_, begins)| {
            now = if begins { now + 1 } else { now - 1 };
            now
        });
        counted.max().unwrap_or_default()
    }
}

/// How long somebody waited for each process that was ready meanwhile: some were killed again.
fn waits(lives: &[Life], since: Instant, until: Instant) -> impl Iterator<Item = Duration> {
    // The kill that cost the stream, and those behind it.
    let first = lives.iter().rposition(|life| life.killed <= since).unwrap_or(0);
    let ends = lives.iter().skip(first + 1).map(move |next| next.killed.min(until)).chain([until]);
    let waited = lives.iter().skip(first).zip(ends).take_while(move |(life, _)| life.killed <= until);
    waited.map(move |(life, end)| end.saturating_duration_since(life.ready.max(since)))
}

/// Where a call lives.
struct World {
    switchboard: Switchboard,
    relay: Arc<Relay>,
    watch: Arc<Watch>,
}

/// When a call begins: when another one has lived through so many things, or is over.
struct Begins {
    behind: watch::Receiver<u64>,
    after: u64,
}

async fn call(
    world: World,
    number: usize,
    seed: String,
    mut begins: Begins,
    tell: watch::Sender<u64>,
) -> Story {
    // An error means that the other one is over.
    let _ = begins.behind.wait_for(|lived| *lived >= begins.after).await;
    let World { switchboard, relay, watch } = world;
    let (origin, way) = (&relay.origin, WayBack::of(number));
    // As our guide to a number says: the next kill may come while the network is on its way back from the last one.
    let patience = "rc=5&rp=all&ct=1000&tt=15000";
    let mut config = LineConfig::new(format!("{origin}/webhooks/main#{patience}"), &seed);
    config.fallback_url = Some(format!("{origin}/webhooks/main/next#{patience}"));
    config.status_url = Some(format!("{origin}/webhooks/twilio/status"));
    config.say_per_character = Duration::from_millis(20);
    config.script = Script::parse("after \"Press a key\" +0.3 presses 5").unwrap();
    config.on_abrupt_close = match way {
        WayBack::Redirect | WayBack::Fallback => OnAbruptClose::Redirect,
        WayBack::Action => OnAbruptClose::Action,
        WayBack::Rest => OnAbruptClose::Nothing,
    };
    if way == WayBack::Fallback {
        // It tries in vain so often first.
        config.retry_gap = Duration::from_millis(100);
    }
    let sid = config.call_sid.clone();
    let lives = move |_, lived: &Experience| {
        if watch.sees(number, lived) == Seen::Lost && way == WayBack::Fallback {
            relay.hide(&sid);
        }
        tell.send_modify(|lived| *lived += 1);
    };
    switchboard.call_in(config, lives).await.unwrap()
}

/// How long a server with so many open calls takes to its ready line, and then to a document for one of them.
pub fn start_with_open_calls(open: usize) -> (Duration, Duration) {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("flows")).unwrap();
    std::fs::write(home.path().join("flows/echo.yaml"), "tasks: [{ type: echo }]\n").unwrap();
    std::fs::write(home.path().join("holdline.toml"), without_api()).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let asker = Asker::new(&format!("http://{}", socket.local_addr().unwrap()), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    let mut server = Server::start(home.path(), &socket);
    runtime.block_on(asker.arrive("echo", &sid(0)));
    server.kill();
    let mut journal = journal_of(&home.path().join("data"));
    let key = Key::Call(CallId(sid(0)));
    let story = serde_json::to_string(&journal.read(&key).unwrap()).unwrap();
    let run = fold_call(&journal.read(&key).unwrap()).unwrap().sub_run.to_string();
    let numbers: Vec<usize> = (1..open).collect();
    for lot in numbers.chunks(200) {
        let copy = |number: &usize| -> Vec<Entry> {
            let run_of_copy = Uuid::from_u128(u128::try_from(*number).unwrap()).to_string();
            let copied = story.replace(&sid(0), &sid(*number)).replace(&run, &run_of_copy);
            serde_json::from_str(&copied).unwrap()
        };
        journal.append(&lot.iter().flat_map(copy).collect::<Vec<Entry>>()).unwrap();
    }
    drop(journal);

    let began = Instant::now();
    let _server = Server::start(home.path(), &socket);
    let ready = began.elapsed();
    let began = Instant::now();
    let told = runtime.block_on(asker.arrive("echo", &sid(open - 1)));
    assert_eq!(told.status, 200, "{}", told.body);
    assert!(told.stream_url().contains(&sid(open - 1)), "its own document again: {}", told.body);
    (ready, began.elapsed())
}

/// A disk that takes nothing for a while: nobody is told what is not written, and nothing is lost.
pub fn full_disk() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("flows")).unwrap();
    std::fs::write(home.path().join("flows/echo.yaml"), "tasks: [{ type: echo }]\n").unwrap();
    std::fs::write(home.path().join("holdline.toml"), without_api()).unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut server = Server::start(home.path(), &socket);
    if !server.limit_files("1") {
        println!("prlimit is not here: nothing was checked");
        return;
    }
    server.limit_files("unlimited");
    let asker = Asker::new(&format!("http://{}", socket.local_addr().unwrap()), None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let first = asker.arrive("echo", &sid(1)).await;
        assert_eq!(first.status, 200, "{}", first.body);
        server.limit_files("1");
        let (pending, call) = (asker.clone(), sid(1));
        let pending = tokio::spawn(async move {
            pending
                .post("/webhooks/echo/next?x=1", &[("CallSid", &call), ("CallStatus", "in-progress")])
                .await
        });
        let not_ready = until("it is not ready", async || {
            Some(asker.get("/ready").await).filter(|told| told.status == 503)
        })
        .await;
        assert_eq!(not_ready.json()["reasons"], serde_json::json!(["journal"]));
        let refused = asker.arrive("echo", &sid(2)).await;
        assert_eq!(refused.status, 503, "no new calls: {}", refused.body);
        assert!(!pending.is_finished(), "what is not written is not told");
        server.limit_files("unlimited");
        let told = pending.await.unwrap();
        assert_eq!(told.status, 200, "{}", told.body);
        assert!(told.stream_url().contains(&sid(1)));
        until("it is ready", async || (asker.get("/ready").await.status == 200).then_some(())).await;
        assert_eq!(asker.arrive("echo", &sid(3)).await.status, 200);
    });
    server.kill();
    let journal = journal_of(&home.path().join("data"));
    let story = journal.read(&Key::Call(CallId(sid(1)))).unwrap();
    let returned = |fact: &Fact| matches!(fact, Fact::Call(CallFact::Returned { exchange: 1 }));
    assert_eq!(count(&story, returned), 1, "written, and once: {story:#?}");
    assert_eq!(journal.story(&Key::Call(CallId(sid(2)))).unwrap(), None);
    assert!(journal.story(&Key::Call(CallId(sid(3)))).unwrap().is_some());
    assert!(!home.path().join("data/journal.corrupt-1").exists(), "a full disk is no damage");
}

/// Without credentials.
fn without_api() -> String {
    let (before, rest) = CONFIG.split_once("[twilio]").unwrap();
    let (_, log) = rest.split_once("[log]").unwrap();
    format!("{before}[log]{log}")
}

/// In whatever store the server keeps it.
fn journal_of(data: &Path) -> DiskJournal {
    let kind = StoreKind::of(&data.join("journal")).expect("a server has begun a journal");
    DiskJournal::open(data, kind).unwrap()
}

fn sid(number: usize) -> String {
    format!("CA{number:032}")
}

/// Every call went through all its steps, once each, and told of its end once.
fn judge(home: &Path, stories: &[Story]) -> (usize, u64) {
    let journal = journal_of(&home.join("data"));
    let (mut facts, mut begun_again) = (0, 0);
    let mut mains: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    let mut calls: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
    for row in journal.list(Kind::CallsAndRuns, None, 1_000_000).unwrap() {
        let story = journal.read(&row.key).unwrap();
        facts += story.len();
        match &row.key {
            Key::Call(call) => calls.insert(call.0.clone(), story),
            Key::Run(run) => mains.insert(run.to_string(), story),
            Key::Delivery(_) | Key::Placement(_) | Key::Flow(_) => None,
        };
    }
    assert_eq!(mains.len(), stories.len(), "one main workflow for each call");
    assert_eq!(calls.len(), stories.len());
    for lived in stories {
        let story = calls.get(&lived.call_sid).unwrap();
        let why = || format!("{:#?}\n{:#?}", lived.lived, story);
        assert_eq!(lived.status, Status::Completed, "{}", why());
        let state = fold_call(story).unwrap();
        let view = state.view();
        assert_eq!(view["end_reason"], "completed", "{}", why());
        assert_eq!(state.completion.as_ref().unwrap()["subWorkflowOutputs"]["pressed"], "5", "{}", why());
        assert_eq!(count(story, |fact| matches!(fact, Fact::Call(CallFact::Over { .. }))), 1, "{}", why());
        assert_eq!(count(story, |fact| matches!(fact, Fact::Call(CallFact::Acked))), 1, "{}", why());
        let (steps, again) = steps(story);
        assert_eq!(steps, LINE_STEPS, "{}", why());
        begun_again += again;
        let main = mains.get(&state.main_run.unwrap().to_string()).unwrap();
        let told = count(main, |fact| matches!(fact, Fact::Parent(ParentFact::CallOver { .. })));
        assert_eq!(told, 1, "one completion: {main:#?}");
        let (steps, again) = self::steps(main);
        assert_eq!(steps, MAIN_STEPS, "{main:#?}");
        begun_again += again;
    }
    judge_effects(home, stories);
    (facts, begun_again)
}

/// Every effect on another system at least once, and always under one id: that of its step, and of no other.
fn judge_effects(home: &Path, stories: &[Story]) {
    let (asked, times) = sink::asked(home);
    assert_eq!(asked.len(), stories.len() * 2, "two effects of each call: {asked:#?}");
    let mut ids = BTreeSet::new();
    for story in stories {
        for what in ["asked", "told"] {
            let of = asked.get(&format!("/{what}?call={}", story.call_sid));
            let of = of.unwrap_or_else(|| panic!("{} was never {what}", story.call_sid));
            assert_eq!(of.len(), 1, "{what} under several ids: {of:?}");
            let id = of.first().unwrap();
            assert!(!id.is_empty() && ids.insert(id.clone()), "an id of its own: {id:?}");
        }
    }
    println!("{} effects on another system, asked for {times} times", asked.len());
}

fn count(story: &[Entry], of: impl Fn(&Fact) -> bool) -> usize {
    story.iter().filter(|entry| of(&entry.fact)).count()
}

/// The names of what was done, in order, and how many beginnings were not the first. All of it has ended well.
fn steps(story: &[Entry]) -> (Vec<String>, u64) {
    let facts: Vec<Fact> = story.iter().map(|entry| entry.fact.clone()).collect();
    let now = Now { tick: Tick(0), wall_ms: story.last().map_or(0, |entry| entry.wall_ms) };
    let view = Run::restore(now, run_facts(facts.iter())).unwrap().view();
    assert_eq!(view["end_reason"], "completed", "{view:#}");
    let executed = view["executed_actions"].as_array().unwrap();
    let again = |step: &Value| step["attempts"].as_u64().unwrap_or(1).saturating_sub(1);
    for step in executed {
        assert_eq!(step["outcome"], "ok", "{view:#}");
    }
    let name = |step: &Value| step["name"].as_str().unwrap_or_default().to_owned();
    (executed.iter().map(name).collect(), executed.iter().map(again).sum())
}

pub(super) struct Server {
    child: Child,
    pub(super) control: String,
}

impl Server {
    /// As systemd does it: the socket is file 3 and outlives whoever serves it, so that no caller is ever refused.
    pub(super) fn start(home: &Path, socket: &TcpListener) -> Server {
        // A file that may not grow is to be an error here, not a signal.
        let script = "trap '' XFSZ; export LISTEN_FDS=1 LISTEN_FDNAMES=public LISTEN_PID=$$; exec \"$0\" \"$@\" 3<&0 0</dev/null";
        let log = std::fs::OpenOptions::new().create(true).append(true).open(home.join("log")).unwrap();
        let mut child = Command::new("/bin/sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_holdline"), "serve", "--config", "holdline.toml"])
            .env_clear()
            .envs(chosen_store())
            .current_dir(home)
            .stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let control = ready.split_whitespace().find_map(|word| word.strip_prefix("control="));
        let Some(control) = control else {
            let log = std::fs::read_to_string(home.join("log")).unwrap_or_default();
            panic!("a ready line, got {ready:?}\n{log}");
        };
        Server { control: control.to_owned(), child }
    }

    /// SIGKILL: nothing of it can do anything any more.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How long a file it may write; false where that can't be set.
    fn limit_files(&self, bytes: &str) -> bool {
        let limit = [format!("--pid={}", self.child.id()), format!("--fsize={bytes}:unlimited")];
        Command::new("prlimit").args(limit).status().is_ok_and(|status| status.success())
    }

    pub(super) fn end(mut self) {
        let process = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &process]).status().unwrap().success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A xorshift generator: the same seed pulls the plug at the same pieces.
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % (most + 1)
    }
}

impl Report {
    /// The longest that anybody waited.
    pub fn back_at_worst(&self) -> Duration {
        self.back.values().filter_map(|times| times.last()).max().copied().unwrap_or_default()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls, up to {} at once, through {} kills (seed {}): {} facts, {} steps begun again; none lost, no effect doubled\n\
             the next process begins after {} ms at worst, and is ready {} ms later at worst\n\
             from the ready line, or the loss of the stream, to the first sound or document:",
            self.calls,
            self.at_once,
            self.rounds,
            self.seed,
            self.facts,
            self.begun_again,
            self.down_at_worst.as_millis(),
            self.ready_at_worst.as_millis(),
        )?;
        for (way, times) in &self.back {
            let at = |part: usize| times.get((times.len() * part / 1000).min(times.len() - 1));
            let [half, most, worst] = [500, 990, 1000].map(|part| at(part).map_or(0, Duration::as_millis));
            write!(f, "\n{way:?}: {} times, p50 {half} ms, p99 {most} ms, worst {worst} ms", times.len())?;
        }
        Ok(())
    }
}
