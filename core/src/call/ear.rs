//! When a frame of the caller was spoken, by the network's own clock.
//!
//! Frames come late and in bursts; a recording by their arrival would have the burst's hole in it, and be late from
//! there on. The network says when each was spoken, counted from its stream's beginning. The frame that was the least
//! late of all tells what its clock shows on ours.

#[derive(Debug, Default)]
pub(super) struct Ear {
    /// Ours less the network's, by the least late frame so far.
    ahead_ms: Option<i64>,
    last_ms: Option<u64>,
}

impl Ear {
    /// Whoever tells no times, or times that don't go on, is taken at the moment of arrival.
    pub(super) fn spoken_at(&mut self, now_ms: u64, told_ms: Option<u64>) -> u64 {
        let goes_on = told_ms.filter(|told| self.last_ms.is_none_or(|last| *told > last));
        let Some((told_ms, told, now)) = goes_on
            .and_then(|told_ms| Some((told_ms, i64::try_from(told_ms).ok()?, i64::try_from(now_ms).ok()?)))
        else {
            return now_ms;
        };
        self.last_ms = Some(told_ms);
        let ahead = self.ahead_ms.map_or(now - told, |before| before.min(now - told));
        self.ahead_ms = Some(ahead);
        u64::try_from(ahead.saturating_add(told)).unwrap_or(now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_lands_where_it_was_spoken() {
        let mut ear = Ear::default();
        let arrivals = [(1_020, 0), (1_041, 20), (1_300, 40), (1_300, 60), (1_300, 80), (1_121, 100)];
        let spoken: Vec<u64> = arrivals.map(|(now, told)| ear.spoken_at(now, Some(told))).into();
        assert_eq!(spoken, [1_020, 1_040, 1_060, 1_080, 1_100, 1_120]);
    }

    #[test]
    fn a_clock_that_stands_still_or_is_not_there_is_not_believed() {
        let mut ear = Ear::default();
        assert_eq!(ear.spoken_at(500, None), 500);
        assert_eq!(ear.spoken_at(520, Some(0)), 520);
        assert_eq!(ear.spoken_at(540, Some(0)), 540);
        assert_eq!(ear.spoken_at(560, Some(u64::MAX)), 560);
        assert_eq!(ear.spoken_at(580, Some(60)), 580);
    }
}
