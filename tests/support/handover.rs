//! A deploy in the middle of calls: the first process hands them over, the second takes them up on the same data and the
//! same listener. Every call goes on at its step, every effect is done once; how long its caller was without anybody is
//! measured for each of them, at the caller's ear.
#![allow(clippy::disallowed_methods)] // it lives in real time, as those who deploy do

use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use holdline_harness::network::caller::Act;
use holdline_harness::network::real::{Network, Story};
use holdline_harness::network::{Experience, LineConfig, Status};
use tokio::sync::mpsc;

use super::crowd::counted;
use super::kill::Server;
use super::sink::{self, Sink};
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
[http]
allow_hosts = [\"127.0.0.1\"]
[log]
format = \"text\"
";
/// Tells another system before it is handed over, and after it.
const MIRROR: &str = "\
tasks:
  - { type: http/request, name: before, parameters: { url: 'SINK/before?call=${call.sid}', method: POST } }
  - { type: echo, name: mirror, parameters: { duration: 6s } }
  - { type: http/request, name: after, parameters: { url: 'SINK/after?call=${call.sid}', method: POST } }
  - { type: talk, name: goodbye, parameters: { text: Goodbye then. } }
";
const MENU: &str = "\
tasks:
  - { type: talk, name: prompt, parameters: { text: Press a key. } }
  - { type: digits_receive, name: key, parameters: { duration: 60s, length: 1 } }
  - { type: http/request, name: after, parameters: { url: 'SINK/after?call=${call.sid}', method: POST } }
  - { type: talk, name: goodbye, parameters: { text: Goodbye then. } }
outputs: [{ name: pressed, value: '${key.digits}' }]
";
/// µ-law silence.
const SILENCE: u8 = 0xff;
/// 8000 a second.
const BYTE: Duration = Duration::from_micros(125);
/// Half a second: what comes back first is the silence before it spoke.
const RETURNED_FRAMES: u64 = 25;
/// The caller speaks for longer than one of the processes listens.
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
    /// From the last sound that each of them heard of the first process to the first sound of the second one.
    pub silent: Vec<Duration>,
    /// From a key that was pressed when nobody served to the document that answers it; callers without a stream.
    pub late: Vec<Duration>,
}

impl HandOver {
    pub fn live(&self) -> Report {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("flows")).unwrap();
        let sink = Sink::start(home.path());
        for (name, text) in [("mirror", MIRROR), ("menu", MENU)] {
            let text = text.replace("SINK", &sink.origin);
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
        let (hands, calls): (Vec<_>, Vec<_>) = (0..self.calls)
            .map(|number| {
                let (hand, hands) = mpsc::channel(4);
                let call = call(network.clone(), origin.clone(), number, (hand.clone(), hands), live.clone());
                (hand, runtime.spawn(call))
            })
            .unzip();
        let asker = Asker::new(&first.control, None);
        runtime.block_on(async {
            for _ in 0..self.calls {
                let (number, call_sid) =
                    lives.recv().await.expect("every call comes to where it is handed over");
                if is_on_a_stream(number) {
                    returns(&asker, &call_sid).await;
                }
            }
        });

        let signalled = Instant::now();
        first.end();
        let (leaves, left) = (signalled.elapsed(), Instant::now());
        // The worst moment: whoever takes this key is not there yet.
        for (_, hand) in hands.iter().enumerate().filter(|(number, _)| !is_on_a_stream(*number)) {
            hand.try_send(Act::Presses("5".to_owned())).expect("the caller is still there");
        }
        let second = Server::start(home.path(), &socket);
        let comes = left.elapsed();

        let asker = Asker::new(&second.control, None);
        let (mut without, mut silent, mut late) = (Vec::new(), Vec::new(), Vec::new());
        let mut expected = BTreeSet::new();
        for (number, story) in calls.into_iter().enumerate() {
            let story = runtime.block_on(story).unwrap();
            runtime.block_on(judge(&asker, number, &story));
            if is_on_a_stream(number) {
                let (down, up) = without_a_stream(&story);
                without.push(up.saturating_sub(down));
                silent.push(silence_around(up, &story.heard));
            } else {
                late.push(answer_to_the_key(&story));
            }
            let steps = if is_on_a_stream(number) { &["before", "after"][..] } else { &["after"] };
            expected.extend(steps.iter().map(|step| format!("/{step}?call={}", story.call_sid)));
        }
        second.end();
        let (asked, times) = sink::asked(home.path());
        assert_eq!(times, expected.len(), "each effect is done once");
        assert_eq!(asked.into_keys().collect::<BTreeSet<_>>(), expected);
        silent.sort_unstable();
        late.sort_unstable();
        without.sort_unstable();
        Report { calls: self.calls, leaves, comes, without, silent, late }
    }
}

fn is_on_a_stream(number: usize) -> bool {
    number.is_multiple_of(2)
}

/// One call; it says so when it is where it shall be handed over.
async fn call(
    network: Network,
    origin: String,
    number: usize,
    (hand, hands): (mpsc::Sender<Act>, mpsc::Receiver<Act>),
    live: mpsc::Sender<(usize, String)>,
) -> Story {
    let workflow = if is_on_a_stream(number) { "mirror" } else { "menu" };
    let mut config = LineConfig::new(
        format!("{origin}/webhooks/{workflow}#rc=5&rp=all&ct=1000&tt=15000"),
        &format!("handed over {number}"),
    );
    config.fallback_url = Some(format!("{origin}/webhooks/{workflow}/next"));
    config.status_url = Some(format!("{origin}/webhooks/twilio/status"));
    config.say_per_character = Duration::from_millis(20);
    config.hear_frames = true;
    let call_sid = config.call_sid.clone();
    let mut told = false;
    network
        .place(config, hands, |_, lived| {
            if *lived == Experience::StreamUp && is_on_a_stream(number) {
                // A stream carries nothing that was said before it; whoever is on it goes on speaking.
                let speech = counted(number, SPEAKS_FRAMES).into();
                hand.try_send(Act::Plays(speech)).expect("the caller is still there");
            }
            let is_there = match lived {
                Experience::StreamUp => is_on_a_stream(number),
                Experience::Hears { text } => text.contains("Press a key"),
                _ => false,
            };
            if is_there && !std::mem::replace(&mut told, true) {
                // There is room for each of them.
                let _ = live.try_send((number, call_sid.clone()));
            }
        })
        .await
        .unwrap()
}

/// Waits until the caller's own voice comes back to it.
async fn returns(asker: &Asker, call_sid: &str) {
    until("the caller hears itself", async || {
        let call = asker.get(&format!("/v1/calls/{call_sid}")).await.json();
        call["media"]["frames_out"].as_u64().filter(|frames| *frames >= RETURNED_FRAMES)
    })
    .await;
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
    // Who has none is on one while the other system is asked.
    let expected_streams = if is_on_a_stream(number) { 2 } else { 1 };
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
        true => vec!["before", "mirror", "after", "goodbye"],
        false => vec!["prompt", "key", "after", "goodbye"],
    };
    assert_eq!(steps, expected.into_iter().map(|name| (name, "ok")).collect::<Vec<_>>(), "{run:#}");
    if !is_on_a_stream(number) {
        assert_eq!(run["outputs"]["pressed"], "5", "{run:#}");
    }
}

/// The end of its first stream, and the beginning of its second.
fn without_a_stream(story: &Story) -> (Duration, Duration) {
    let down =
        story.lived.iter().find(|(_, lived)| matches!(lived, Experience::StreamDown { .. })).unwrap().0;
    let up = story.lived.iter().rev().find(|(_, lived)| *lived == Experience::StreamUp).unwrap().0;
    (down, up)
}

/// From the last sound before a moment to the first one behind it. What the first process sent sounds before the second
/// stream is up, what the second one sends after it.
fn silence_around(moment: Duration, heard: &[u8]) -> Duration {
    let (before, behind) = heard.split_at_checked(place(moment)).expect("something was heard afterwards");
    let ends = before.iter().rev().position(|byte| *byte != SILENCE).expect("the first process was heard");
    let begins = behind.iter().position(|byte| *byte != SILENCE).expect("the second process was heard");
    BYTE * u32::try_from(ends + begins).unwrap()
}

fn place(moment: Duration) -> usize {
    usize::try_from(moment.as_micros() / BYTE.as_micros()).unwrap()
}

/// From the key to the document that answers it.
fn answer_to_the_key(story: &Story) -> Duration {
    let mut behind =
        story.lived.iter().skip_while(|(_, lived)| !matches!(lived, Experience::Digit { key: '5' }));
    let (pressed, _) = behind.next().expect("the key was pressed");
    let (answered, _) =
        behind.find(|(_, lived)| matches!(lived, Experience::Fetched { .. })).expect("the key was answered");
    *answered - *pressed
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_millis();
        let of = |gaps: &[Duration]| {
            let at = |place: usize| gaps.get(place).map_or(0, Duration::as_millis);
            format!("{} ms (median), {} ms (worst)", at(gaps.len() / 2), at(gaps.len().saturating_sub(1)))
        };
        writeln!(
            f,
            "{} live calls handed over, {} of them on streams; every one went on at its step, each effect was done once",
            self.calls,
            self.without.len()
        )?;
        writeln!(
            f,
            "the first process leaves {} ms after the signal, the second is ready {} ms later",
            ms(self.leaves),
            ms(self.comes)
        )?;
        writeln!(f, "callers on a stream had none for {}", of(&self.without))?;
        writeln!(
            f,
            "from the last sound of the first process to the first of the second: {}",
            of(&self.silent)
        )?;
        write!(f, "a key pressed when nobody served was answered after {}", of(&self.late))
    }
}
