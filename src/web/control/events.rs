//! `GET /v1/events`: what is told, as server-sent events.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, rt};
use futures::stream;
use holdline_actors::feed::{Gap, Listener, Taken};
use holdline_actors::tally::Tally;
use holdline_core::{CallId, metric};
use tokio::time::{Instant, Interval, interval_at};

use crate::serve::Wire;
use crate::web::problem::{Code, Problem};
use crate::web::route::{Asked, Body, Route};

/// What the answer's body is.
pub const MEDIA: &str = "text/event-stream";
/// Where a listener that comes back says what it has heard.
pub const LAST_EVENT_ID: &str = "Last-Event-ID";

pub static ROUTES: &[Route] = &[Route {
    method: Method::GET,
    path: "/v1/events",
    about: "Events as they happen, by server-sent events; `Last-Event-ID` goes on where a listener was.",
    query: &["call"],
    body: Body::None,
    answers: &[(200, "an endless stream: `id` a number, `event` a type, `data` a CloudEvent")],
    refusals: &[Code::Unavailable],
    run: |asked| Box::pin(listen(asked)),
}];

async fn listen(mut asked: Asked) -> Result<HttpResponse, Problem> {
    let call = asked.query.take("call").map(CallId);
    let last = last_event_id(&asked.request)?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((CONTENT_TYPE, MEDIA));
    answer.insert_header((CACHE_CONTROL, "no-store"));
    // Proxies that gather an answer before they pass it on would hold it for ever.
    answer.insert_header(("X-Accel-Buffering", "no"));
    if asked.request.method() == Method::HEAD {
        return Ok(answer.finish());
    }
    let feed = &asked.room.desk.feed;
    let listener = feed.listen(last).map_err(|full| Problem::new(Code::Unavailable, full.to_string()))?;
    let pulse = Arc::new(AtomicU64::new(0));
    if let Some(wire) = asked.request.conn_data::<Wire>() {
        rt::spawn(watch(wire.clone(), Arc::clone(&pulse), Arc::clone(&asked.room.watch.tally)));
    }
    let beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    let listening = Listening { listener, call, pulse, beat, greeted: false };
    Ok(answer.streaming(stream::unfold(listening, Listening::next)))
}

fn last_event_id(request: &HttpRequest) -> Result<Option<u64>, Problem> {
    let Some(given) = request.headers().get(LAST_EVENT_ID) else { return Ok(None) };
    let text = given.to_str().unwrap_or("?").trim();
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |_| Problem::invalid(format!("{LAST_EVENT_ID}: expected the id of an event, got \"{text}\""));
    text.parse().map(Some).map_err(wrong)
}

/// One who listens, and how far they are.
struct Listening {
    listener: Listener,
    call: Option<CallId>,
    /// Counts how often more was asked for.
    pulse: Arc<AtomicU64>,
    beat: Interval,
    greeted: bool,
}

impl Listening {
    /// The next piece of the answer, which is only asked for when the one before it has left.
    async fn next(mut self) -> Option<(Result<Bytes, Problem>, Listening)> {
        self.pulse.fetch_add(1, Ordering::Relaxed);
        if !self.greeted {
            self.greeted = true;
            return Some((Ok(Bytes::from_static(GREETING)), self));
        }
        loop {
            let taken = self.listener.take(self.call.as_ref(), LINES_MAX)?;
            if taken != Taken::default() {
                return Some((Ok(written(&taken).into()), self));
            }
            if self.listener.is_behind() {
                continue;
            }
            tokio::select! {
                () = self.listener.news() => {}
                _ = self.beat.tick() => return Some((Ok(Bytes::from_static(BEAT)), self)),
            }
        }
    }
}

fn written(taken: &Taken) -> String {
    let mut text = String::new();
    if let Some(Gap { oldest, newest }) = taken.gap {
        let before = oldest.saturating_sub(1);
        // Whoever comes back after this has heard of the gap.
        let _ =
            write!(text, "id: {before}\nevent: gap\ndata: {{\"oldest\":{oldest},\"newest\":{newest}}}\n\n");
    }
    for line in &taken.lines {
        let _ = write!(text, "id: {}\nevent: {}\ndata: {}\n\n", line.number, line.kind, line.body);
    }
    text
}

/// A listener that takes nothing stops its connection's task, so nothing inside it can end it. It comes back, and says
/// what it has heard.
async fn watch(wire: Wire, pulse: Arc<AtomicU64>, tally: Arc<Tally>) {
    let mut look = interval_at(Instant::now() + STUCK, STUCK);
    let mut heard = None;
    // Only we are left: the stream is over.
    while Arc::strong_count(&pulse) > 1 {
        look.tick().await;
        let now = Some(pulse.load(Ordering::Relaxed));
        if heard == now && Arc::strong_count(&pulse) > 1 {
            tracing::info!("a listener takes no events; its connection is closed");
            tally.count(&metric::EVENT_LISTENERS_CUT, &[]);
            let _ = wire.cut();
            return;
        }
        heard = now;
    }
}

/// Events looked at for one piece of an answer.
const LINES_MAX: usize = 32;
/// How soon a listener whose connection is lost should come back.
const GREETING: &[u8] = b"retry: 1000\n: events from here on\n\n";
/// Says nothing, so that proxies and listeners know that the connection is alive.
const BEAT: &[u8] = b": beat\n\n";
const HEARTBEAT: Duration = Duration::from_secs(15);
/// One that is alive asks for more with every beat.
const STUCK: Duration = Duration::from_secs(40);

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use holdline_actors::clock::Clock;
    use holdline_actors::feed::Feed;

    use super::*;

    fn listening(feed: &Arc<Feed>) -> Listening {
        let beat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        let listener = feed.listen(None).unwrap();
        Listening { listener, call: None, pulse: Arc::default(), beat, greeted: false }
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_hears_that_its_connection_is_alive_while_nothing_happens() {
        let mut listening = listening(&Arc::new(Feed::new(Clock::start())));
        let began = Instant::now();
        for (said, after_s) in [(GREETING, 0), (BEAT, 15), (BEAT, 30)] {
            let (piece, next) = listening.next().await.unwrap();
            assert_eq!((piece.unwrap(), began.elapsed().as_secs()), (Bytes::from_static(said), after_s));
            listening = next;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_listener_that_takes_nothing_is_cut_off_and_counted_and_one_that_takes_beats_is_not() {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let (pulse, tally) = (Arc::new(AtomicU64::new(1)), Arc::new(Tally::default()));
        let watching = tokio::spawn(watch(Wire::of(near.into()), Arc::clone(&pulse), Arc::clone(&tally)));
        let is_open = |far: &mut UnixStream| far.read(&mut [0]).is_err();
        for _ in 0..10 {
            tokio::time::advance(HEARTBEAT).await;
            pulse.fetch_add(1, Ordering::Relaxed);
        }
        assert!(is_open(&mut far) && !watching.is_finished());
        watching.await.unwrap();
        assert!(!is_open(&mut far), "its connection is over");
        assert_eq!(tally.counted(&metric::EVENT_LISTENERS_CUT, &[]), 1);

        let (near, _far) = UnixStream::pair().unwrap();
        // Its answer is over: nobody but the one that watches has the pulse.
        watch(Wire::of(near.into()), Arc::default(), Arc::clone(&tally)).await;
        assert_eq!(tally.counted(&metric::EVENT_LISTENERS_CUT, &[]), 1);
    }
}
