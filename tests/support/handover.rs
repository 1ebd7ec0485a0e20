//! A deploy in the middle of calls: the first process hands them over, the second takes them up on the same data and the
//! same listener. Every call goes on at its step; how long its caller was without anybody is measured.
#![allow(clippy::disallowed_methods)] // it lives in real time, as those who deploy do

use std::fmt::{self, Display, Formatter};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use holdline_harness::network::caller::{Act, Moment, When};
use holdline_harness::network::real::{Network, Story};
use holdline_harness::network::{Experience, LineConfig, Script, Status};
use tokio::sync::mpsc;

use super::crowd::counted;
use super::kill::Server;
use super::until;
use super::wire::Asker;

/// No patience at all: whoever is on the line is handed over.
const CONFIG: &str = "\
[public]
bind = \"127.0.0.1:0\"
[control]
bind = \"127.0.0.1:0\"
[calls]
drain_timeout = \"0s\"
[log]
format = \"text\"
";
const MIRROR: &str = "\
tasks:
  - { type: echo, name: mirror, parameters: { duration: 4s } }
  - { type: talk, name: goodbye, parameters: { text: Goodbye then. } }
";
const MENU: &str = "\
tasks:
  - { type: talk, name: prompt, parameters: { text: Press a key. } }
  - { type: digits_receive, name: key, parameters: { duration: 20s, length: 1 } }
  - { type: talk, name: goodbye, parameters: { text: Goodbye then. } }
outputs: [{ name: pressed, value: '${key.digits}' }]
";
/// µ-law silence.
const SILENCE: u8 = 0xff;
/// The caller speaks for longer than both processes listen.
const SPEAKS_FRAMES: usize = 1500;

pub struct HandOver {
    pub calls: usize,
}

/// What it came to. What must hold was asserted before.
#[derive(Debug)]
pub struct Report {
    pub calls: usize,
    /// From the signal to the end of the first process.
    pub leaves: Duration,
    /// From there to the ready line of the second one.
    pub comes: Duration,
    /// How long each caller on a stream had none, shortest first.
    pub without: Vec<Duration>,
    /// The longest silence that one of them heard of itself.
    pub hole: Duration,
}

impl HandOver {
    pub fn live(&self) -> Report {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("flows")).unwrap();
        for (name, text) in [("mirror", MIRROR), ("menu", MENU)] {
            std::fs::write(home.path().join(format!("flows/{name}.yaml")), text).unwrap();
        }
        std::fs::write(home.path().join("holdline.toml"), CONFIG).unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", socket.local_addr().unwrap());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let first = Server::start(home.path(), &socket);
        let network = Network::new().unwrap();
        let (live, mut lives) = mpsc::channel(self.calls.max(1));
        let calls: Vec<_> = (0..self.calls)
            .map(|number| runtime.spawn(call(network.clone(), origin.clone(), number, live.clone())))
            .collect();
        runtime.block_on(async {
            for _ in 0..self.calls {
                lives.recv().await.expect("every call comes to where it is handed over");
            }
        });

        let signalled = Instant::now();
        first.end();
        let (leaves, left) = (signalled.elapsed(), Instant::now());
        let second = Server::start(home.path(), &socket);
        let comes = left.elapsed();

        let asker = Asker::new(&second.control, None);
        let (mut without, mut hole) = (Vec::new(), Duration::ZERO);
        for (number, story) in calls.into_iter().enumerate() {
            let story = runtime.block_on(story).unwrap();
            runtime.block_on(judge(&asker, number, &story));
            if is_on_a_stream(number) {
                without.push(without_a_stream(&story));
                hole = hole.max(longest_hole(&story.heard));
            }
        }
        second.end();
        without.sort_unstable();
        Report { calls: self.calls, leaves, comes, without, hole }
    }
}

fn is_on_a_stream(number: usize) -> bool {
    number.is_multiple_of(2)
}

/// One call; it says so when it is where it shall be handed over.
async fn call(network: Network, origin: String, number: usize, live: mpsc::Sender<()>) -> Story {
    let workflow = if is_on_a_stream(number) { "mirror" } else { "menu" };
    let mut config = LineConfig::new(
        format!("{origin}/webhooks/{workflow}#rc=5&rp=all&ct=1000&tt=15000"),
        &format!("handed over {number}"),
    );
    config.fallback_url = Some(format!("{origin}/webhooks/{workflow}/next"));
    config.status_url = Some(format!("{origin}/webhooks/twilio/status"));
    config.say_per_character = Duration::from_millis(20);
    config.hear_frames = true;
    config.script = if is_on_a_stream(number) {
        Script::default().then(
            When::Since(Moment::Stream, Duration::ZERO),
            Act::Plays(counted(number, SPEAKS_FRAMES).into()),
        )
    } else {
        // Long behind the signal: whoever takes the key is the second process.
        Script::parse("after \"Press a key\" +4 presses 5").unwrap()
    };
    let (_, hands) = mpsc::channel(1);
    let mut told = false;
    network
        .place(config, hands, |_, lived| {
            // Its own voice has come back, or it has been asked for a key.
            let is_there = match lived {
                Experience::StreamUp => is_on_a_stream(number),
                Experience::Hears { text } => text.contains("Press a key"),
                _ => false,
            };
            if is_there && !std::mem::replace(&mut told, true) {
                // There is room for each of them.
                let _ = live.try_send(());
            }
        })
        .await
        .unwrap()
}

/// It ended as if nothing had happened: every step done, in its order, and none twice.
async fn judge(asker: &Asker, number: usize, story: &Story) {
    let why = || format!("call {number}: {:#?}", story.lived);
    assert_eq!(story.status, Status::Completed, "{}", why());
    let count =
        |wanted: &dyn Fn(&Experience) -> bool| story.lived.iter().filter(|(_, lived)| wanted(lived)).count();
    assert_eq!(count(&|lived| matches!(lived, Experience::Warning { .. })), 0, "{}", why());
    assert_eq!(
        count(&|lived| matches!(lived, Experience::Hears { text } if text == "Goodbye then.")),
        1,
        "{}",
        why()
    );
    let expected_streams = if is_on_a_stream(number) { 2 } else { 0 };
    assert_eq!(count(&|lived| *lived == Experience::StreamUp), expected_streams, "{}", why());
    if is_on_a_stream(number) {
        let closed = story.lived.iter().find_map(|(_, lived)| match lived {
            Experience::StreamDown { code, .. } => Some(*code),
            _ => None,
        });
        assert_eq!(closed, Some(Some(1001)), "{}", why());
    }
    // The network has ended it; that it is over here follows by the status callback.
    let ended = async |path: String, word: &'static str| {
        let asked = async || Some(asker.get(&path).await.json()).filter(|told| told[word] == "ended");
        until("what was handed over is over", asked).await
    };
    let call = ended(format!("/v1/calls/{}", story.call_sid), "state").await;
    assert_eq!(call["end_reason"], "completed", "{call:#}");
    let run = call["activeflows"][0].as_str().unwrap();
    let run = ended(format!("/v1/activeflows/{run}"), "status").await;
    let steps: Vec<(&str, &str)> = run["executed_actions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["name"].as_str().unwrap(), step["outcome"].as_str().unwrap()))
        .collect();
    let expected = match is_on_a_stream(number) {
        true => vec![("mirror", "ok"), ("goodbye", "ok")],
        false => vec![("prompt", "ok"), ("key", "ok"), ("goodbye", "ok")],
    };
    assert_eq!(steps, expected, "{run:#}");
    if !is_on_a_stream(number) {
        assert_eq!(run["outputs"]["pressed"], "5", "{run:#}");
    }
}

/// From the end of its first stream to the beginning of its second.
fn without_a_stream(story: &Story) -> Duration {
    let down =
        story.lived.iter().find(|(_, lived)| matches!(lived, Experience::StreamDown { .. })).unwrap().0;
    let up = story.lived.iter().rev().find(|(_, lived)| *lived == Experience::StreamUp).unwrap().0;
    up.saturating_sub(down)
}

/// The longest silence between two sounds.
fn longest_hole(heard: &[u8]) -> Duration {
    let (mut run, mut longest, mut begun) = (0u32, 0, false);
    for byte in heard {
        if *byte == SILENCE {
            run += u32::from(begun);
        } else {
            begun = true;
            longest = longest.max(std::mem::take(&mut run));
        }
    }
    // 8000 a second.
    Duration::from_micros(125) * longest
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_millis();
        let at = |place: usize| self.without.get(place).copied().unwrap_or_default();
        let (median, worst) = (at(self.without.len() / 2), at(self.without.len().saturating_sub(1)));
        writeln!(
            f,
            "{} live calls handed over, {} of them on streams; every one went on at its step and ended well",
            self.calls,
            self.without.len()
        )?;
        writeln!(
            f,
            "the first process leaves {} ms after the signal, the second is ready {} ms later",
            ms(self.leaves),
            ms(self.comes)
        )?;
        writeln!(f, "callers had no stream for {} ms (median), {} ms (worst)", ms(median), ms(worst))?;
        write!(f, "the longest silence that one of them heard of itself: {} ms", ms(self.hole))
    }
}
