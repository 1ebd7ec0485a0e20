//! Both sides of a stream into one recording: PCM of 16 bits at 8000 Hz, in chunks that somebody else appends.
//!
//! Both sides are placed on one clock, in milliseconds, that the owner tells; what comes late or in bursts still lands
//! where it belongs, because nothing is written before it is a second old. Where a side has nothing there is silence.
//! Where there is no stream at all (the network speaks its own verbs) there is a gap: listed, not filled.
//!
//! Memory is bounded by what is waiting, never by how long the call is, as long as the owner takes the chunks.

use std::collections::VecDeque;

use super::frame::{SAMPLE_RATE, SILENT_BYTE};
use super::g711::ulaw_to_linear;
use super::wav::HEADER_BYTES;

/// Audio younger than this is not written yet: the other side's may still be on its way.
pub const HOLD_MS: u64 = 1000;
/// How far a side may be ahead of the clock: what playout may run ahead, and a little.
pub const AHEAD_MAX_MS: u64 = 6000;
/// Audio of a side that waits to be taken.
const WAITING_MAX: u64 = 10 * SAMPLE_RATE as u64;
/// Arrival times jitter; holes up to this are none.
const JITTER_SAMPLES: u64 = 60 * SAMPLES_A_MS;
/// One chunk is half a second: few appends, little lost in a crash.
const CHUNK_SAMPLES: u64 = 4000;
/// More gaps than this run into one another.
pub const GAPS_MAX: usize = 1000;
/// Root mean square, squared, from which a frame of the caller is no silence: about -38 dBm0, over the noise of a quiet
/// line and under a soft voice.
const LOUD: u64 = 280 * 280;

const SAMPLES_A_MS: u64 = SAMPLE_RATE as u64 / 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    /// One channel with both.
    Mixed,
    /// Channel 1 is the caller, channel 2 is us.
    Two,
}

impl Channels {
    pub fn count(self) -> u16 {
        match self {
            Channels::Mixed => 1,
            Channels::Two => 2,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecorderConfig {
    pub channels: Channels,
    /// End once the caller has been silent for this long.
    pub end_of_silence_ms: Option<u64>,
    /// End at this length; gaps do not count.
    pub duration_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedBy {
    Silence,
    Duration,
}

/// A stretch of time that is not in the recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Where in the recording.
    pub at_ms: u64,
    /// How long it was.
    pub ms: u64,
}

#[derive(Debug)]
pub struct Recorder {
    config: RecorderConfig,
    /// The clock at the recording's first sample, and since the last gap: moved by each gap's length.
    start_ms: u64,
    now_ms: u64,
    gap_since: Option<u64>,
    gaps: Vec<Gap>,
    caller: Side,
    us: Side,
    /// Samples given out in chunks.
    taken: u64,
    /// Set by the end; then everything up to it may be taken.
    finished: bool,
    loud_ms: u64,
    dropped: u64,
}

/// One side's audio from the first sample that is not yet taken.
#[derive(Debug, Default)]
struct Side(VecDeque<u8>);

impl Recorder {
    pub fn new(now_ms: u64, config: RecorderConfig) -> Recorder {
        Recorder {
            config,
            start_ms: now_ms,
            now_ms,
            gap_since: None,
            gaps: Vec::new(),
            caller: Side::default(),
            us: Side::default(),
            taken: 0,
            finished: false,
            loud_ms: now_ms,
            dropped: 0,
        }
    }

    /// Audio of the caller that was spoken at `at_ms`. A time that makes no sense is taken for now.
    pub fn inbound(&mut self, at_ms: u64, ulaw: &[u8]) {
        let at_ms = self.sane(at_ms);
        if is_loud(ulaw) {
            self.loud_ms = self.loud_ms.max(at_ms);
        }
        let Some(at) = self.place(at_ms) else { return };
        self.dropped += u64::from(!self.caller.put(self.taken, at, ulaw));
    }

    /// Audio of ours that is sent at `at_ms`.
    pub fn outbound(&mut self, at_ms: u64, ulaw: &[u8]) {
        let at_ms = self.sane(at_ms);
        let Some(at) = self.place(at_ms) else { return };
        self.dropped += u64::from(!self.us.put(self.taken, at, ulaw));
    }

    /// The network was told to forget what it had not played: what was sent ahead of `at_ms` is not heard.
    pub fn cleared(&mut self, at_ms: u64) {
        if let Some(at) = self.place(at_ms.max(self.start_ms)) {
            self.us.cut(self.taken, at);
        }
    }

    /// The clock has come to `now_ms`. Then chunks are to be taken until there is none.
    pub fn advance(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// The stream is gone, or the network speaks in our place.
    pub fn gap_begins(&mut self, at_ms: u64) {
        if self.gap_since.is_some() || self.finished {
            return;
        }
        self.advance(at_ms);
        if let Some(at) = self.place(self.now_ms) {
            self.caller.cut(self.taken, at);
            self.us.cut(self.taken, at);
        }
        self.gap_since = Some(self.now_ms);
    }

    /// There is a stream again.
    pub fn gap_ends(&mut self, at_ms: u64) {
        let Some(since) = self.gap_since.take() else { return };
        self.advance(at_ms);
        let ms = self.now_ms - since;
        let gap = Gap { at_ms: since - self.start_ms, ms };
        let full = self.gaps.len() >= GAPS_MAX;
        match self.gaps.last_mut() {
            Some(last) if full || last.at_ms == gap.at_ms => last.ms += ms,
            _ => self.gaps.push(gap),
        }
        self.start_ms += ms;
        self.loud_ms = self.now_ms;
    }

    /// The recording ends here; what is left can be taken.
    pub fn finish(&mut self, now_ms: u64) {
        self.gap_ends(now_ms);
        self.advance(now_ms);
        self.finished = true;
    }

    /// Whether it should end by its own conditions. The owner then calls [`Recorder::finish`].
    pub fn wants_end(&self) -> Option<EndedBy> {
        let length = self.length_ms();
        if self.config.duration_ms.is_some_and(|most| length >= most) {
            return Some(EndedBy::Duration);
        }
        let silent = self.now_ms.saturating_sub(self.loud_ms);
        let counts = !self.finished && self.gap_since.is_none();
        (counts && self.config.end_of_silence_ms.is_some_and(|most| silent >= most))
            .then_some(EndedBy::Silence)
    }

    /// When [`Recorder::wants_end`] will say something if nobody speaks; unknown during a gap.
    pub fn ends_at_ms(&self) -> Option<u64> {
        if self.gap_since.is_some() || self.finished {
            return None;
        }
        let duration = self.config.duration_ms.map(|most| self.start_ms.saturating_add(most));
        let silence = self.config.end_of_silence_ms.map(|most| self.loud_ms.saturating_add(most));
        [duration, silence].into_iter().flatten().min()
    }

    /// Half a second of PCM to append, once there is one; after a gap's beginning or the end, what is left.
    pub fn take_chunk(&mut self) -> Option<Vec<u8>> {
        let (ready, all) = self.ready();
        let samples = ready.saturating_sub(self.taken).min(CHUNK_SAMPLES);
        if samples == 0 || (samples < CHUNK_SAMPLES && !all) {
            return None;
        }
        let bytes = (samples * 2 * u64::from(self.config.channels.count())) as usize;
        let mut chunk = Vec::with_capacity(bytes);
        for _ in 0..samples {
            if self.caller.0.is_empty() && self.us.0.is_empty() {
                chunk.resize(bytes, 0);
                break;
            }
            let (caller, us) = (self.caller.take(), self.us.take());
            match self.config.channels {
                Channels::Mixed => chunk.extend(caller.saturating_add(us).to_le_bytes()),
                Channels::Two => {
                    chunk.extend(caller.to_le_bytes());
                    chunk.extend(us.to_le_bytes());
                }
            }
        }
        self.taken += samples;
        Some(chunk)
    }

    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// Length of what has been taken.
    pub fn seconds(&self) -> f64 {
        self.taken as f64 / f64::from(SAMPLE_RATE)
    }

    /// Bytes of the file once all that was taken is appended, its header counted.
    pub fn bytes(&self) -> u64 {
        HEADER_BYTES as u64 + self.taken * 2 * u64::from(self.config.channels.count())
    }

    /// Frames that had no place: too far ahead, or nobody took the chunks.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn length_ms(&self) -> u64 {
        self.gap_since.unwrap_or(self.now_ms) - self.start_ms
    }

    /// Up to which sample chunks may be taken, and whether that is all that will come for now.
    fn ready(&self) -> (u64, bool) {
        let all = self.finished || self.gap_since.is_some();
        let length = if all { self.length_ms() } else { self.length_ms().saturating_sub(HOLD_MS) };
        let most = self.config.duration_ms.unwrap_or(u64::MAX);
        (length.min(most).saturating_mul(SAMPLES_A_MS), all || length >= most)
    }

    /// Times come from the network: one far off the clock is a mistake.
    fn sane(&self, at_ms: u64) -> u64 {
        let oldest = self.now_ms.saturating_sub(HOLD_MS).max(self.start_ms);
        if (oldest..=self.now_ms.saturating_add(AHEAD_MAX_MS)).contains(&at_ms) { at_ms } else { self.now_ms }
    }

    /// The sample of a time; none during a gap and after the end.
    fn place(&self, at_ms: u64) -> Option<u64> {
        let recording = !self.finished && self.gap_since.is_none();
        recording.then(|| at_ms.saturating_sub(self.start_ms).saturating_mul(SAMPLES_A_MS))
    }
}

impl Side {
    /// Puts audio at sample `at`, or behind what is there already; false if that is out of reach.
    fn put(&mut self, taken: u64, at: u64, ulaw: &[u8]) -> bool {
        let end = taken + self.0.len() as u64;
        // After silence the time counts; while audio flows, its own order does, or jitter would tear it.
        let from = if self.0.is_empty() || at > end + JITTER_SAMPLES { at.max(end) } else { end };
        let ahead = from.saturating_sub(at) > AHEAD_MAX_MS * SAMPLES_A_MS;
        if ahead || from + ulaw.len() as u64 - taken > WAITING_MAX {
            return false;
        }
        self.0.resize((from - taken) as usize, SILENT_BYTE);
        self.0.extend(ulaw);
        true
    }

    fn cut(&mut self, taken: u64, at: u64) {
        self.0.truncate(at.saturating_sub(taken) as usize);
    }

    fn take(&mut self) -> i16 {
        self.0.pop_front().map_or(0, ulaw_to_linear)
    }
}

fn is_loud(ulaw: &[u8]) -> bool {
    let energy: u64 = ulaw.iter().map(|&code| u64::from(ulaw_to_linear(code).unsigned_abs()).pow(2)).sum();
    energy > LOUD * ulaw.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::g711::{decode_ulaw, linear_to_ulaw};
    use crate::media::wav::{WavHeader, read_wav};

    const PLAIN: RecorderConfig =
        RecorderConfig { channels: Channels::Two, end_of_silence_ms: None, duration_ms: None };

    fn take(recorder: &mut Recorder, pcm: &mut Vec<i16>) {
        while let Some(chunk) = recorder.take_chunk() {
            pcm.extend(chunk.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
        }
    }

    fn finished(mut recorder: Recorder, now_ms: u64) -> (Vec<i16>, Recorder) {
        let mut pcm = Vec::new();
        take(&mut recorder, &mut pcm);
        recorder.finish(now_ms);
        take(&mut recorder, &mut pcm);
        (pcm, recorder)
    }

    fn frame(level: i16) -> [u8; 160] {
        [linear_to_ulaw(level); 160]
    }

    #[test]
    fn both_sides_lie_where_they_were_spoken_and_silence_is_between() {
        let mut recorder = Recorder::new(1000, PLAIN);
        recorder.advance(1100);
        recorder.inbound(1100, &frame(1000));
        recorder.outbound(1140, &frame(-2000));
        recorder.inbound(1120, &frame(1000));
        let (pcm, recorder) = finished(recorder, 1200);
        assert_eq!(pcm.len(), 2 * 200 * 8);
        let at = |ms: usize| (pcm[ms * 16], pcm[ms * 16 + 1]);
        let level = |level: i16| crate::media::g711::ulaw_to_linear(linear_to_ulaw(level));
        assert_eq!([at(99), at(100), at(139)], [(0, 0), (level(1000), 0), (level(1000), 0)]);
        assert_eq!([at(140), at(159), at(160)], [(0, level(-2000)), (0, level(-2000)), (0, 0)]);
        assert_eq!((recorder.seconds(), recorder.bytes()), (0.2, 44 + 6400));
    }

    #[test]
    fn the_first_word_is_as_late_as_it_was_and_audio_far_ahead_is_dropped() {
        let mut recorder = Recorder::new(0, PLAIN);
        recorder.inbound(40, &frame(1000));
        for _ in 0..400 {
            recorder.outbound(0, &frame(1000));
        }
        assert_eq!(
            recorder.dropped(),
            99,
            "8 s at once, of which 6 and the frame that begins there are kept"
        );
        let (pcm, _) = finished(recorder, 100);
        assert!(pcm[39 * 16] == 0 && pcm[40 * 16] != 0);
    }

    #[test]
    fn jitter_and_bursts_tear_nothing() {
        let mut recorder = Recorder::new(0, PLAIN);
        let audio: Vec<u8> = (0..1600).map(|sample| linear_to_ulaw(100 + sample)).collect();
        for (number, at) in [0, 35, 38, 61, 95, 95, 120, 160, 161, 180].into_iter().enumerate() {
            recorder.advance(at);
            recorder.outbound(at, &audio[number * 160..][..160]);
        }
        let (pcm, _) = finished(recorder, 200);
        let ours: Vec<i16> = pcm.chunks_exact(2).map(|pair| pair[1]).collect();
        let mut expected = Vec::new();
        decode_ulaw(&audio, &mut expected);
        assert_eq!(ours, expected);
    }

    #[test]
    fn a_mix_is_the_sum_and_clips_rather_than_wraps() {
        let mut recorder = Recorder::new(0, RecorderConfig { channels: Channels::Mixed, ..PLAIN });
        recorder.inbound(0, &frame(32_000));
        recorder.outbound(0, &frame(32_000));
        recorder.inbound(20, &frame(-32_000));
        recorder.outbound(20, &frame(32_000));
        let (pcm, recorder) = finished(recorder, 40);
        assert_eq!((pcm[0], pcm[160], pcm.len()), (i16::MAX, 0, 320));
        assert_eq!(recorder.bytes(), 44 + 640);
    }

    #[test]
    fn a_gap_is_listed_and_takes_no_room() {
        let mut recorder = Recorder::new(0, PLAIN);
        recorder.inbound(0, &frame(1000));
        recorder.outbound(0, &[0; 8000]); // a second, sent ahead
        recorder.gap_begins(500);
        recorder.inbound(600, &frame(1000));
        recorder.gap_begins(700);
        recorder.gap_ends(5500);
        recorder.inbound(5500, &frame(3000));
        let (pcm, recorder) = finished(recorder, 6000);
        assert_eq!(recorder.gaps(), [Gap { at_ms: 500, ms: 5000 }]);
        assert_eq!(recorder.seconds(), 1.0);
        let right_after = (pcm[500 * 16], pcm[500 * 16 + 1]);
        assert!(
            right_after.0 > 2900 && right_after.1 == 0,
            "what was sent ahead was never played: {right_after:?}"
        );
        assert_eq!(pcm[600 * 16], 0, "what came in the gap is not there");
    }

    #[test]
    fn what_was_cleared_before_it_played_is_not_recorded() {
        let mut recorder = Recorder::new(0, PLAIN);
        recorder.outbound(0, &[0; 1600]);
        recorder.cleared(100);
        let (pcm, _) = finished(recorder, 200);
        assert!(pcm[99 * 16 + 1] != 0 && pcm[100 * 16 + 1] == 0);
    }

    #[test]
    fn it_wants_to_end_by_the_callers_silence_and_not_by_ours() {
        let mut recorder = Recorder::new(0, RecorderConfig { end_of_silence_ms: Some(2000), ..PLAIN });
        for at in (0..3000).step_by(20) {
            recorder.advance(at);
            recorder.inbound(at, &frame(if at < 1000 { 1000 } else { 40 }));
            recorder.outbound(at, &frame(9000));
            assert_eq!(recorder.wants_end(), (at >= 2980).then_some(EndedBy::Silence), "at {at}");
        }
        assert_eq!(recorder.ends_at_ms(), Some(2980));
        recorder.gap_begins(3000);
        assert_eq!(
            (recorder.wants_end(), recorder.ends_at_ms()),
            (None, None),
            "nobody can be heard in a gap"
        );
        recorder.gap_ends(60_000);
        assert_eq!((recorder.wants_end(), recorder.ends_at_ms()), (None, Some(62_000)));
    }

    #[test]
    fn a_duration_is_kept_to_the_sample_and_gaps_do_not_count() {
        let mut recorder = Recorder::new(0, RecorderConfig { duration_ms: Some(1000), ..PLAIN });
        recorder.gap_begins(600);
        recorder.gap_ends(9000);
        recorder.advance(9399);
        assert_eq!((recorder.wants_end(), recorder.ends_at_ms()), (None, Some(9400)));
        recorder.advance(9415);
        assert_eq!(recorder.wants_end(), Some(EndedBy::Duration));
        let (pcm, recorder) = finished(recorder, 9420);
        assert_eq!((pcm.len(), recorder.seconds()), (16_000, 1.0));
    }

    #[test]
    fn four_hours_need_no_more_memory_than_ten_seconds_and_mad_times_none() {
        let mut recorder = Recorder::new(0, PLAIN);
        let most = WAITING_MAX as usize;
        // Nobody takes chunks for a minute: audio is dropped, not hoarded.
        for at in (0..60_000).step_by(20) {
            recorder.advance(at);
            recorder.inbound(at, &frame(1000));
            recorder.outbound(at + 5000, &frame(1000));
            recorder.inbound(u64::MAX - at, &[]);
            assert!(recorder.caller.0.len() <= most && recorder.us.0.len() <= most);
        }
        assert!(recorder.dropped() > 0);
        // The machine slept for four hours: silence is made chunk by chunk.
        recorder.advance(4 * 3600 * 1000);
        recorder.inbound(4 * 3600 * 1000, &frame(1000));
        let mut taken = 0;
        while let Some(chunk) = recorder.take_chunk() {
            assert_eq!(chunk.len(), 16_000);
            taken += chunk.len() as u64;
        }
        assert_eq!(recorder.bytes(), taken + 44);
        assert_eq!(recorder.seconds(), 4.0 * 3600.0 - 1.0);
    }

    #[test]
    fn its_chunks_behind_its_header_are_a_wav_file() {
        let mut recorder = Recorder::new(0, RecorderConfig { channels: Channels::Mixed, ..PLAIN });
        recorder.inbound(0, &frame(16_384));
        recorder.finish(20);
        let chunk = recorder.take_chunk().unwrap();
        let mut file = WavHeader::new(Channels::Mixed.count(), chunk.len() as u64).bytes().to_vec();
        file.extend(chunk);
        assert_eq!(file.len() as u64, recorder.bytes());
        let sound = read_wav(&file).unwrap();
        assert_eq!((sound.rate, sound.samples.len()), (8000, 160));
        assert!(sound.samples.iter().all(|sample| (sample - 0.5).abs() < 0.02));
    }
}
