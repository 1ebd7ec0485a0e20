//! One bidirectional stream: the socket, the caller's frames on their grid, the playout of ours.

use std::time::Duration;

use holdline_core::{Now, Tick};

use super::ask::warn;
use super::caller::Moment;
use super::config::{Media, OnAbruptClose};
use super::date;
use super::effect::{Effect, Experience, SocketId, Status};
use super::line::Line;
use super::message::{self, FromServer, Writer};
use super::perform::Doing;
use super::playout::{Played, Playout};
use super::sign;
use super::tone::{Ear, SILENCE};
use super::twiml::{Callback, Connect};
use super::url;

#[derive(Debug)]
pub(super) struct Streaming {
    socket: SocketId,
    connect: Connect,
    writer: Writer,
    /// Until then the upgrade must have happened.
    opening_until: Tick,
    /// When `start` was sent.
    up: Option<Tick>,
    /// The number of the next frame on the 20 ms grid.
    frame: u64,
    playout: Playout,
    ear: Ear,
    /// When a stretch of sound counts as ended, so that it can be told.
    ear_until: Option<Tick>,
    violations: u32,
}

const FRAME: Duration = Duration::from_millis(20);
const FRAME_BYTES: usize = 160;
/// Shorter gaps do not split what was heard in two.
const GAP: Duration = Duration::from_millis(200);
const OPENING: Duration = Duration::from_secs(10);

impl Streaming {
    pub(super) fn due(&self) -> Option<Tick> {
        let Some(up) = self.up else { return Some(self.opening_until) };
        let frame = up + FRAME * u32::try_from(self.frame + 1).unwrap_or(u32::MAX);
        [Some(frame), self.playout.next_due(), self.ear_until].into_iter().flatten().min()
    }
}

impl Line {
    pub(super) fn connect(&mut self, now: Now, connect: Connect, out: &mut Vec<Effect>) {
        let (stream_url, query) = match url::resolve_stream(&self.program.url, &connect.stream.url) {
            Ok(resolved) => resolved,
            Err(why) => {
                let code = if matches!(why, url::Error::Scheme { .. }) { 31922 } else { 31923 };
                warn(out, code, why.to_string());
                return self.follow(now, connect.action.as_ref(), Vec::new(), out);
            }
        };
        if query.is_some() {
            warn(out, 31920, "expected a stream URL without a query: it was dropped, use Parameter".into());
        }
        self.sockets += 1;
        let mut headers = vec![("User-Agent".to_owned(), "Twilio.TmeWs/1.0".to_owned())];
        if let Some(auth_token) = &self.config.auth_token {
            headers.push((sign::HEADER.to_owned(), sign::signature(auth_token, &stream_url, &[])));
        }
        let stream_sid = self.new_sid("MZ");
        self.doing = Doing::Streaming(Streaming {
            socket: self.sockets,
            connect,
            writer: Writer::new(&self.config.account_sid, &self.config.call_sid, &stream_sid),
            opening_until: now.tick + OPENING,
            up: None,
            frame: 0,
            playout: Playout::new(self.config.hear_frames),
            ear: Ear::default(),
            ear_until: None,
            violations: 0,
        });
        out.push(Effect::OpenSocket { socket: self.sockets, url: stream_url, headers });
    }

    pub(super) fn socket_up(&mut self, now: Now, socket: SocketId, out: &mut Vec<Effect>) {
        let Some(streaming) = self.streaming(socket).filter(|streaming| streaming.up.is_none()) else {
            return;
        };
        streaming.up = Some(now.tick);
        let connected = streaming.writer.connected();
        let parameters = std::mem::take(&mut streaming.connect.stream.parameters);
        let start = streaming.writer.start(&["inbound"], &parameters);
        out.push(Effect::SendText { socket, text: connected });
        out.push(Effect::SendText { socket, text: start });
        out.push(Effect::Experience(Experience::StreamUp));
        // What the caller said before the stream was there has passed.
        self.voice.clear();
        self.caller.notices(now.tick, Moment::Stream, true);
        self.stream_event(now, "stream-started", None, out);
    }

    pub(super) fn socket_refused(&mut self, now: Now, socket: SocketId, status: u16, out: &mut Vec<Effect>) {
        if self.streaming(socket).is_none_or(|streaming| streaming.up.is_some()) {
            return;
        }
        let (code, text) = match status {
            0 => (31902, "expected a connection for the stream, got none".to_owned()),
            status => (31920, format!("expected status 101 for the stream, got {status}")),
        };
        self.stream_not_opened(now, code, text, out);
    }

    fn stream_not_opened(&mut self, now: Now, code: u32, text: String, out: &mut Vec<Effect>) {
        warn(out, code, text.clone());
        self.stream_event(now, "stream-error", Some(&text), out);
        let Doing::Streaming(streaming) = std::mem::replace(&mut self.doing, Doing::Between) else { return };
        self.follow(now, streaming.connect.action.as_ref(), Vec::new(), out);
    }

    pub(super) fn socket_text(&mut self, now: Now, socket: SocketId, text: &str, out: &mut Vec<Effect>) {
        let Some(streaming) = self.streaming(socket).filter(|streaming| streaming.up.is_some()) else {
            return;
        };
        let read = message::read(text, streaming.writer.stream_sid());
        // What has been played by now comes first.
        self.play_out(now, out);
        let Some(streaming) = self.streaming(socket) else { return };
        match read {
            Ok(FromServer::Media(audio)) => {
                if !streaming.playout.push(now.tick, &audio) {
                    warn(out, 31930, "the buffer of sound to play is full".into());
                }
                streaming.ear_until = None;
            }
            Ok(FromServer::Mark(name)) => {
                if let Some(name) = streaming.playout.mark(name) {
                    echo(streaming, name, out);
                }
            }
            Ok(FromServer::Clear) => {
                let mut played = Vec::new();
                streaming.playout.clear(now.tick, &mut played);
                out.push(Effect::Experience(Experience::Cleared));
                self.hear(now, played, out);
                self.tell_heard(out);
            }
            Err(why) => self.socket_violation(socket, &why.to_string(), out),
        }
    }

    /// Said once a stream, as the network does; the message is ignored and the call goes on.
    pub(super) fn socket_violation(&mut self, socket: SocketId, text: &str, out: &mut Vec<Effect>) {
        let Some(streaming) = self.streaming(socket) else { return };
        streaming.violations += 1;
        if streaming.violations == 1 {
            warn(out, 31951, text.to_owned());
        }
    }

    /// The server has ended the socket, or it broke.
    pub(super) fn socket_closed(
        &mut self,
        now: Now,
        socket: SocketId,
        code: Option<u16>,
        out: &mut Vec<Effect>,
    ) {
        let Some(streaming) = self.streaming(socket) else { return };
        if streaming.up.is_none() {
            return self.stream_not_opened(now, 31901, "expected an open stream, got its end".into(), out);
        }
        self.play_out(now, out);
        let Doing::Streaming(mut streaming) = std::mem::replace(&mut self.doing, Doing::Between) else {
            return;
        };
        let violations = streaming.violations;
        tell(&mut streaming.ear, out);
        out.push(Effect::Experience(Experience::StreamDown { code, violations }));
        self.stream_over(now, &streaming, out);
        let action = streaming.connect.action.as_ref();
        match (code, self.config.on_abrupt_close) {
            (Some(_), _) | (None, OnAbruptClose::Action) => self.follow(now, action, Vec::new(), out),
            (None, OnAbruptClose::Redirect) => self.go_on(now, out),
            (None, OnAbruptClose::Nothing) => self.doing = Doing::Nothing,
            (None, OnAbruptClose::End) => self.over(now, Status::Completed, out),
        }
    }

    /// The network's own side of the socket breaks.
    pub(super) fn drop_socket(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Doing::Streaming(streaming) = &self.doing else {
            return warn(out, 0, "expected a stream whose socket could drop".into());
        };
        let socket = streaming.socket;
        out.push(Effect::AbortSocket { socket });
        self.socket_closed(now, socket, None, out);
    }

    pub(super) fn stream_key(&mut self, now: Now, key: char, out: &mut Vec<Effect>) {
        self.play_out(now, out);
        if let Doing::Streaming(streaming) = &mut self.doing
            && streaming.up.is_some()
        {
            let text = streaming.writer.dtmf(key);
            out.push(Effect::SendText { socket: streaming.socket, text });
        }
    }

    /// A caller who begins to make sound is heard from the next frame of the grid, however sparse the silence was.
    pub(super) fn voice_begins(&mut self, now: Now) {
        if let Doing::Streaming(streaming) = &mut self.doing
            && let Some(up) = streaming.up
        {
            let current = now.tick.since(up).as_millis() / FRAME.as_millis();
            streaming.frame = streaming.frame.min(u64::try_from(current).unwrap_or(u64::MAX));
        }
    }

    pub(super) fn wake_stream(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Doing::Streaming(streaming) = &self.doing else { return };
        if streaming.up.is_none() {
            if streaming.opening_until <= now.tick {
                let socket = streaming.socket;
                out.push(Effect::AbortSocket { socket });
                self.stream_not_opened(
                    now,
                    31901,
                    "expected an answer to the stream's upgrade in time".into(),
                    out,
                );
            }
            return;
        }
        self.play_out(now, out);
        self.send_frames(now, out);
        if let Doing::Streaming(streaming) = &self.doing
            && streaming.ear_until.is_some_and(|until| until <= now.tick)
        {
            self.tell_heard(out);
        }
    }

    fn send_frames(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Doing::Streaming(streaming) = &mut self.doing else { return };
        let Some(up) = streaming.up else { return };
        // A frame leaves when it is complete; frame n holds the sound from n × 20 ms on.
        while up + FRAME * u32::try_from(streaming.frame + 1).unwrap_or(u32::MAX) <= now.tick {
            let mut audio = [SILENCE; FRAME_BYTES];
            for (place, byte) in audio.iter_mut().zip(self.voice.drain(..self.voice.len().min(FRAME_BYTES))) {
                *place = byte;
            }
            let text = streaming.writer.media(streaming.frame * 20, &audio);
            out.push(Effect::SendText { socket: streaming.socket, text });
            streaming.frame += match self.config.media {
                Media::Sparse(every) if self.voice.is_empty() => {
                    u64::try_from(every.as_millis() / FRAME.as_millis()).unwrap_or(1).max(1)
                }
                _ => 1,
            };
        }
    }

    fn play_out(&mut self, now: Now, out: &mut Vec<Effect>) {
        let Doing::Streaming(streaming) = &mut self.doing else { return };
        let mut played = Vec::new();
        streaming.playout.advance(now.tick, &mut played);
        self.hear(now, played, out);
    }

    fn hear(&mut self, now: Now, played: Vec<Played>, out: &mut Vec<Effect>) {
        let began = self.began.map_or(Tick(0), |began| began.tick);
        let frames = self.config.hear_frames;
        let Doing::Streaming(streaming) = &mut self.doing else { return };
        for played in played {
            match played {
                Played::Sound { began: at, audio } => {
                    streaming.ear.listen(&audio);
                    if frames {
                        out.push(Effect::Heard { at: at.since(began), audio });
                    }
                    streaming.ear_until = streaming.playout.is_empty().then(|| now.tick + GAP);
                }
                Played::Mark(name) => echo(streaming, name, out),
            }
        }
    }

    fn tell_heard(&mut self, out: &mut Vec<Effect>) {
        if let Doing::Streaming(streaming) = &mut self.doing {
            streaming.ear_until = None;
            tell(&mut streaming.ear, out);
        }
    }

    /// The call leaves the stream: `stop`, then the close.
    pub(super) fn leave_stream(&mut self, now: Now, mut streaming: Streaming, out: &mut Vec<Effect>) {
        let socket = streaming.socket;
        if streaming.up.is_none() {
            return out.push(Effect::AbortSocket { socket });
        }
        let mut played = Vec::new();
        streaming.playout.clear(now.tick, &mut played);
        for played in played {
            if let Played::Sound { audio, .. } = played {
                streaming.ear.listen(&audio);
            }
        }
        tell(&mut streaming.ear, out);
        let text = streaming.writer.stop();
        out.push(Effect::SendText { socket, text });
        out.push(Effect::CloseSocket { socket, code: 1000 });
        let violations = streaming.violations;
        out.push(Effect::Experience(Experience::StreamDown { code: Some(1000), violations }));
        self.stream_over(now, &streaming, out);
    }

    fn stream_over(&mut self, now: Now, streaming: &Streaming, out: &mut Vec<Effect>) {
        self.voice.clear();
        self.caller.notices(now.tick, Moment::Stream, false);
        self.stream_event_of(now, streaming, "stream-stopped", None, out);
    }

    fn stream_event(&mut self, now: Now, event: &str, error: Option<&str>, out: &mut Vec<Effect>) {
        if let Doing::Streaming(streaming) = std::mem::replace(&mut self.doing, Doing::Between) {
            self.stream_event_of(now, &streaming, event, error, out);
            self.doing = Doing::Streaming(streaming);
        }
    }

    fn stream_event_of(
        &mut self,
        now: Now,
        streaming: &Streaming,
        event: &str,
        error: Option<&str>,
        out: &mut Vec<Effect>,
    ) {
        let stream = &streaming.connect.stream;
        let Some(to) = &stream.callback else { return };
        let sid = streaming.writer.stream_sid();
        let mut fields = vec![
            ("AccountSid".to_owned(), self.config.account_sid.clone()),
            ("CallSid".to_owned(), self.config.call_sid.clone()),
            ("StreamSid".to_owned(), sid.to_owned()),
            ("StreamName".to_owned(), stream.name.clone().unwrap_or_else(|| sid.to_owned())),
            ("StreamEvent".to_owned(), event.to_owned()),
            ("Timestamp".to_owned(), date::iso8601(now.wall_ms)),
        ];
        if let Some(error) = error {
            fields.push(("StreamError".to_owned(), error.to_owned()));
        }
        let to = Callback { url: to.url.clone(), method: to.method };
        self.post(now, &to, fields, out);
    }

    fn streaming(&mut self, socket: SocketId) -> Option<&mut Streaming> {
        match &mut self.doing {
            Doing::Streaming(streaming) if streaming.socket == socket => Some(streaming),
            _ => None,
        }
    }
}

fn echo(streaming: &mut Streaming, name: String, out: &mut Vec<Effect>) {
    let text = streaming.writer.mark(&name);
    out.push(Effect::SendText { socket: streaming.socket, text });
    out.push(Effect::Experience(Experience::MarkEchoed { name }));
}

fn tell(ear: &mut Ear, out: &mut Vec<Effect>) {
    if let Some(heard) = ear.finish() {
        out.push(Effect::Experience(if heard.loud {
            Experience::HearsAudio { ms: heard.ms, digits: heard.digits }
        } else {
            Experience::Silence { ms: heard.ms }
        }));
    }
}
