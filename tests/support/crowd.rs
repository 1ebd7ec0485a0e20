//! Many pretend calls against one server, one of them provoked, one of them measured.
#![allow(clippy::disallowed_methods)] // it measures real time

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

use holdline::runtime::Inventory;
use holdline_core::CallId;
use holdline_core::media::tone;
use holdline_harness::network::real::{Network, Story};
use holdline_harness::network::{Act, Experience, LineConfig, Media, Moment, Script, Status, When};
use tokio::sync::mpsc;

use super::hosted::Hosted;
use super::until;
use super::wire::{Asker, Caller, Message};

/// Plays three sounds, then sends back what it hears.
const CROWD: &str = "\
tasks:
  - { type: digits_send, parameters: { digits: '12', duration: 100, interval: 60 } }
  - { type: beep, parameters: { frequency: 900, duration: 110 } }
  - { type: play, parameters: { file: counted.wav } }
  - { type: echo }
";
const ECHO: &str = "tasks: [{ type: echo }]\n";
const MAIN: &str = "\
triggers:
  - { type: twilio/inboundCall, name: incoming, parameters: { subWorkflow: crowd } }
tasks:
  - { type: variable_set, parameters: { key: result, value: '${incoming.callStatus}' } }
";
/// Who speaks in the played file: nobody of the crowd.
pub const FILE: usize = 9_999;
pub const FILE_FRAMES: usize = 10;
/// The last caller's echo comes back before it hangs up.
const RETURNS_WITHIN: Duration = Duration::from_secs(3);
/// How much of its own beginning a caller may miss, because the echo begins behind the played sounds.
const BEGINS_WITHIN_FRAMES: usize = 250;
/// A caller of a busy test machine may hear that much nothing; what is lost is lost in the machine's scheduler, since
/// every frame arrives.
const HOLE_MAX: Duration = Duration::from_secs(1);
const SILENCE: u8 = 0xFF;
const FRAME: Duration = Duration::from_millis(20);

pub struct Crowd {
    pub calls: usize,
    /// How long each of them speaks.
    pub speaks: Duration,
    /// How long the measured call is played to.
    pub plays: Duration,
}

/// What the crowd lived through. What must hold in every run was asserted before.
#[derive(Debug)]
pub struct Report {
    pub calls: usize,
    pub took: Duration,
    /// Frames that came back to their callers, all in order.
    pub echoed: usize,
    /// The longest that one of the unprovoked callers heard nothing while it was to hear itself.
    pub longest_hole: Duration,
    /// From the panic until the rebuilt call's stream is up.
    pub recovered: Duration,
    pub pace: Pace,
    /// The most that was in memory at once, as far as it was looked at.
    pub peak: Inventory,
}

/// How one playout arrived.
#[derive(Debug, Clone)]
pub struct Pace {
    pub frames: usize,
    /// From the first frame to the last.
    pub span: Duration,
    /// How much later the last second's earliest frame was, on its own grid, than the first second's.
    pub drift: f64,
    /// The furthest that a frame was behind the earliest one, on its own grid; in milliseconds.
    pub latest: f64,
}

impl Crowd {
    /// Lives through it all. Asserted: every call completes, every frame comes back exact and in order, one panic
    /// touches one call, nothing is left.
    pub async fn live(&self) -> Report {
        let patience = self.speaks + self.plays + Duration::from_secs(60);
        tokio::time::timeout(patience, self.live_through()).await.expect("it ends in time")
    }

    async fn live_through(&self) -> Report {
        let hosted = Hosted::start(
            &[("crowd", CROWD), ("main", MAIN), ("echo", ECHO), ("pace", &self.pace())],
            |_| (),
        );
        let began = Instant::now();
        let network = Network::new().unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        let callers: Vec<_> = (0..self.calls)
            .map(|number| {
                let (config, network) = (self.caller(&hosted, number), network.clone());
                let (_, hands) = mpsc::channel(1);
                let tell = tell.clone();
                let lives = move |_, lived: &Experience| {
                    if *lived == Experience::StreamUp {
                        // Nobody listens any more when all are connected.
                        let _ = tell.send(());
                    }
                };
                tokio::spawn(async move { network.place(config, hands, lives).await.unwrap() })
            })
            .collect();
        for _ in 0..self.calls {
            told.recv().await.expect("every caller is connected");
        }
        let peak = hosted.runtime.inventory().await;
        // Measured and provoked while all the others speak.
        let origin = hosted.public();
        let measured = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(measure(&origin))
        });
        let recovered = provoke(&hosted, &network).await;
        let (mut echoed, mut longest_hole) = (0, Duration::ZERO);
        for (number, caller) in callers.into_iter().enumerate() {
            let (frames, hole) = self.check(number, &caller.await.unwrap());
            echoed += frames;
            longest_hole = longest_hole.max(hole);
        }
        let pace = measured.join().unwrap();
        assert_eq!(
            pace.frames,
            frames(self.plays),
            "every frame of the measured sound arrives, and none twice"
        );
        until("nothing is left", async || {
            (hosted.runtime.inventory().await == Inventory::default()).then_some(())
        })
        .await;
        assert!(longest_hole <= HOLE_MAX, "nobody is silenced for {longest_hole:?}");
        let path = "/v1/activeflows?flow_id=main&end_reason=completed&page_size=100";
        let mains = Asker::new(&hosted.control(), None).get(path).await.json();
        let mains = mains["result"].as_array().map(Vec::len);
        assert_eq!(mains, Some(self.calls / 2), "every main workflow got its completion");
        Report { calls: self.calls, took: began.elapsed(), echoed, longest_hole, recovered, pace, peak }
    }

    fn pace(&self) -> String {
        format!(
            "tasks: [{{ type: beep, parameters: {{ frequency: 1000, duration: {} }} }}]\n",
            self.plays.as_millis()
        )
    }

    fn caller(&self, hosted: &Hosted, number: usize) -> LineConfig {
        // Every second call has a main workflow, which takes the completion when it is over.
        let workflow = if number.is_multiple_of(2) { "crowd" } else { "main" };
        let mut config =
            LineConfig::new(format!("{}/webhooks/{workflow}", hosted.public()), &format!("caller {number}"));
        config.status_url = Some(format!("{}/webhooks/twilio/status", hosted.public()));
        config.hear_frames = true;
        let stream = || When::Since(Moment::Stream, Duration::ZERO);
        config.script = Script::default()
            .then(stream(), Act::Plays(counted(number, frames(self.speaks)).into()))
            .then(When::After(self.speaks + RETURNS_WITHIN), Act::HangsUp);
        config
    }

    /// The frames that came back, and the longest hole between two of them.
    fn check(&self, number: usize, story: &Story) -> (usize, Duration) {
        assert_eq!(story.status, Status::Completed, "caller {number}: {:#?}", story.lived);
        let streams = story.lived.iter().filter(|(_, lived)| *lived == Experience::StreamUp).count();
        assert_eq!(streams, 1, "caller {number} was never interrupted: {:#?}", story.lived);
        let complaint = story.lived.iter().find(|(_, lived)| matches!(lived, Experience::Warning { .. }));
        assert_eq!(complaint, None, "caller {number}");
        let heard: Vec<u8> = loud(&story.heard).collect();
        let rest = heard.strip_prefix(&played()[..]);
        let rest =
            rest.unwrap_or_else(|| panic!("caller {number} hears all that is played, in order, first"));
        let spoken = counted(number, frames(self.speaks));
        // The echo begins behind the played sounds; from there on nothing may be missing, doubled or out of order.
        assert!(rest.len().is_multiple_of(FRAME_BYTES), "caller {number} hears whole frames");
        assert!(
            spoken.ends_with(rest),
            "caller {number} hears itself: {} frames, first {:?}, of {} spoken; broken at {:?}",
            rest.len() / FRAME_BYTES,
            rest.get(..4),
            frames(self.speaks),
            broken(&spoken, rest)
        );
        let missed = (spoken.len() - rest.len()) / FRAME_BYTES;
        assert!(missed <= BEGINS_WITHIN_FRAMES, "caller {number}: the echo began {missed} frames late");
        (rest.len() / FRAME_BYTES, longest_hole(&story.heard, rest.len()))
    }
}

/// A caller that hears itself; its session panics; it hears itself again. How long it was without a stream.
async fn provoke(hosted: &Hosted, network: &Network) -> Duration {
    let mut config = LineConfig::new(format!("{}/webhooks/echo", hosted.public()), "the provoked one");
    config.status_url = Some(format!("{}/webhooks/twilio/status", hosted.public()));
    // Its own silence would come back and never let a stretch of sound end.
    config.media = Media::Sparse(Duration::from_secs(1));
    let call_sid = config.call_sid.clone();
    let (hand, hands) = mpsc::channel(4);
    let (tell, mut told) = mpsc::unbounded_channel();
    let living = network.place(config, hands, |_, lived| tell.send(lived.clone()).unwrap());
    let acting = async {
        let mut streams = 0;
        let mut provoked = Instant::now();
        let mut recovered = None;
        while let Some(lived) = told.recv().await {
            match lived {
                Experience::StreamUp => {
                    streams += 1;
                    if streams == 2 {
                        recovered = Some(provoked.elapsed());
                    }
                    hand.send(Act::Plays(counted(streams, 20).into())).await.unwrap();
                }
                Experience::HearsAudio { .. } if streams == 1 => {
                    provoked = Instant::now();
                    hosted.runtime.provoke(CallId(call_sid.clone())).await;
                }
                Experience::HearsAudio { .. } => hand.send(Act::HangsUp).await.unwrap(),
                Experience::Ended { .. } => break,
                _ => {}
            }
        }
        recovered.expect("the call is rebuilt")
    };
    let (story, recovered) = tokio::join!(living, acting);
    let story = story.unwrap();
    let count =
        |wanted: fn(&Experience) -> bool| story.lived.iter().filter(|(_, lived)| wanted(lived)).count();
    assert_eq!(story.status, Status::Completed, "{:#?}", story.lived);
    assert_eq!(count(|lived| *lived == Experience::StreamUp), 2, "{:#?}", story.lived);
    let documents: Vec<&str> = story
        .lived
        .iter()
        .filter_map(|(_, lived)| match lived {
            Experience::Fetched { document, .. } => Some(document.as_str()),
            _ => None,
        })
        .collect();
    // The same step again: a document with a stream, which leads back one exchange further.
    assert_eq!(documents, ["Stream, back to 1", "Stream, back to 2"]);
    recovered
}

/// One call with a long sound, read message by message as it arrives.
async fn measure(origin: &str) -> Pace {
    let mut caller = Caller::begin(origin, "pace", "the measured one").await;
    let first = caller.next_audio().await.expect("the sound begins");
    let mut arrivals = vec![first.1];
    while let Some(message) = caller.next().await {
        match message {
            Message::Media(_) => arrivals.push(Instant::now()),
            Message::Mark(name) => caller.marked(&name).await,
            _ => break,
        }
    }
    caller.hang_up().await;
    let offset = |place: usize| {
        let since = arrivals[place].duration_since(arrivals[0]).as_secs_f64();
        (since - FRAME.as_secs_f64() * place as f64) * 1000.0
    };
    let earliest = |places: std::ops::Range<usize>| places.map(offset).fold(f64::INFINITY, f64::min);
    let frames = arrivals.len();
    let all = earliest(0..frames);
    Pace {
        frames,
        span: arrivals[frames - 1].duration_since(arrivals[0]),
        drift: earliest(frames.saturating_sub(50)..frames) - earliest(0..frames.min(50)),
        latest: (0..frames).map(offset).fold(0.0, f64::max) - all,
    }
}

const FRAME_BYTES: usize = 160;

fn frames(length: Duration) -> usize {
    (length.as_millis() / FRAME.as_millis()) as usize
}

/// Frames that say whose they are and which. No byte of them is silence.
pub fn counted(who: usize, frames: usize) -> Vec<u8> {
    let digit = |value: usize| 1 + (value % 100) as u8;
    let mut sound = Vec::with_capacity(frames * FRAME_BYTES);
    for frame in 0..frames {
        sound.extend([digit(who), digit(who / 100), digit(frame), digit(frame / 100)]);
        sound.extend((4..FRAME_BYTES).map(|place| digit(frame + place)));
    }
    sound
}

/// What the crowd's workflow plays, without the silence in it.
fn played() -> Vec<u8> {
    let sounds =
        [tone::digits("12", 100, 60).unwrap(), tone::beep(900, 110).unwrap(), counted(FILE, FILE_FRAMES)];
    loud(&sounds.concat()).collect()
}

fn loud(sound: &[u8]) -> impl Iterator<Item = u8> {
    sound.iter().copied().filter(|byte| *byte != SILENCE)
}

/// The longest silence among the last `loud` bytes that are none.
fn longest_hole(heard: &[u8], loud: usize) -> Duration {
    let (mut left, mut run, mut longest) = (loud, 0u32, 0);
    for byte in heard.iter().rev() {
        if left == 0 {
            break;
        }
        if *byte == SILENCE {
            // What follows the last sound is no hole.
            run += u32::from(left < loud);
            continue;
        }
        longest = longest.max(std::mem::take(&mut run));
        left -= 1;
    }
    Duration::from_micros(125) * longest
}

/// Where what was heard stops being the end of what was spoken: the frame's place, counted from the end.
fn broken(spoken: &[u8], heard: &[u8]) -> Option<usize> {
    let pairs = spoken.rchunks(FRAME_BYTES).zip(heard.rchunks(FRAME_BYTES));
    pairs.enumerate().find_map(|(place, (spoken, heard))| (spoken != heard).then_some(place))
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        writeln!(f, "{} calls, each complete, in {:.2} s", self.calls, self.took.as_secs_f64())?;
        writeln!(f, "{} frames came back, every one exact and in order", self.echoed)?;
        writeln!(f, "longest hole in what a caller hears: {:.1} ms", ms(self.longest_hole))?;
        writeln!(
            f,
            "one session panicked; its caller's stream is up again after {:.1} ms",
            ms(self.recovered)
        )?;
        let Pace { frames, span, drift, latest } = &self.pace;
        writeln!(
            f,
            "pace beside them: {frames} frames in {:.4} s (expected {:.2}), drift {drift:+.2} ms, latest frame {latest:.2} ms late",
            span.as_secs_f64(),
            0.02 * (*frames as f64 - 1.0)
        )?;
        let Inventory { calls, actors, sockets, .. } = self.peak;
        write!(f, "in memory: {calls} calls, {actors} actors, {sockets} sockets; afterwards nothing")
    }
}
