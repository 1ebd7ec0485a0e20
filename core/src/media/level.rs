//! How loud both sides of a call are, for as long as somebody looks.

use super::g711::ulaw_to_linear;
use crate::Tick;
use serde_json::{Value, json};
use std::time::Duration;

/// A look keeps the meter going for so long; whoever watches looks several times a second.
const WATCHED_FOR: Duration = Duration::from_secs(3);
/// A side of which nothing came for this long is silent.
const FRESH_FOR: Duration = Duration::from_millis(200);
/// One sample of so many is measured: a few tell as much to the eye as all of them. No whole number of periods of a
/// test tone, which would always be met at the same phase.
const STRIDE: usize = 7;
/// What of a louder frame is left in the next one, so that a look between two words still sees them.
const RELEASE: f32 = 0.8;
/// Quieter is silence: the lowest steps of µ-law are here.
const SILENT_DBFS: f64 = -78.0;

/// Exists only while it is watched, so that a call that nobody looks at pays one comparison a frame.
#[derive(Debug)]
pub struct Meter {
    until: Tick,
    heard: Level,
    spoken: Level,
}

/// Whose sound it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The caller's.
    Heard,
    /// Ours.
    Spoken,
}

#[derive(Debug, Default)]
struct Level {
    mean_square: f32,
    at: Option<Tick>,
}

/// Measures a frame, if anybody watches; a meter that nobody has looked at for a while goes.
#[inline]
pub fn measure(meter: &mut Option<Box<Meter>>, now: Tick, side: Side, frame: &[u8]) {
    meter.take_if(|meter| !meter.take(now, side, frame));
}

impl Meter {
    pub fn new(now: Tick) -> Meter {
        Meter { until: now + WATCHED_FOR, heard: Level::default(), spoken: Level::default() }
    }

    /// Somebody looks.
    pub fn watched(&mut self, now: Tick) {
        self.until = now + WATCHED_FOR;
    }

    /// Takes a frame of µ-law; false when nobody has looked for a while.
    fn take(&mut self, now: Tick, side: Side, frame: &[u8]) -> bool {
        let level = match side {
            Side::Heard => &mut self.heard,
            Side::Spoken => &mut self.spoken,
        };
        level.mean_square = mean_square(frame).max(level.mean_square * RELEASE);
        level.at = Some(now);
        now <= self.until
    }

    /// In decibels below the loudest sample that there is; null for silence.
    pub fn view(&self, now: Tick) -> Value {
        json!({ "heard_dbfs": self.heard.dbfs(now), "spoken_dbfs": self.spoken.dbfs(now) })
    }
}

impl Level {
    fn dbfs(&self, now: Tick) -> Option<i64> {
        let is_fresh = self.at.is_some_and(|at| now <= at + FRESH_FOR);
        let loudest = f64::from(i16::MAX) * f64::from(i16::MAX);
        let dbfs = 10.0 * (f64::from(self.mean_square) / loudest).log10();
        #[expect(clippy::cast_possible_truncation, reason = "from the lowest level to 0")]
        (is_fresh && dbfs > SILENT_DBFS).then(|| dbfs.round() as i64)
    }
}

fn mean_square(frame: &[u8]) -> f32 {
    let samples = frame.iter().step_by(STRIDE).map(|code| f32::from(ulaw_to_linear(*code)));
    let (sum, count) = samples.fold((0.0, 0.0), |(sum, count), sample| (sum + sample * sample, count + 1.0));
    if count == 0.0 { 0.0 } else { sum / count }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{SILENCE, tone};

    #[test]
    fn it_shows_each_side_falls_silent_and_ends_when_nobody_looks() {
        let at = Tick::from_millis;
        let mut meter = Meter::new(at(0));
        assert_eq!(meter.view(at(0)), json!({ "heard_dbfs": null, "spoken_dbfs": null }));
        let beep = tone::beep(1000, 20).unwrap();
        let loudest = [0x80; 160];
        assert!(meter.take(at(20), Side::Heard, &loudest));
        assert!(meter.take(at(20), Side::Spoken, &SILENCE));
        assert_eq!(meter.view(at(30)), json!({ "heard_dbfs": 0, "spoken_dbfs": null }));
        assert!(meter.take(at(40), Side::Spoken, &beep));
        let spoken = meter.view(at(50))["spoken_dbfs"].as_i64().unwrap();
        assert!((-20..0).contains(&spoken), "{spoken}");

        // A pause between two words is seen as one only after some frames.
        assert!(meter.take(at(60), Side::Heard, &SILENCE));
        assert_eq!(meter.view(at(60))["heard_dbfs"], -1);
        assert_eq!(meter.view(at(300)), json!({ "heard_dbfs": null, "spoken_dbfs": null }));
        assert!(meter.take(at(3_000), Side::Heard, &[]));
        assert!(!meter.take(at(3_001), Side::Heard, &loudest));
        meter.watched(at(3_001));
        assert!(meter.take(at(6_001), Side::Heard, &loudest));
    }
}
