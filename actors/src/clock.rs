//! The only place that reads the time. It reads tokio's clock, so pausing tokio pauses the whole house.

use holdline_core::{Now, Tick};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
    origin_wall_ms: u64,
}

impl Clock {
    /// Starts now; the wall time is read once and then carried by the monotonic clock.
    #[allow(clippy::disallowed_methods)] // this is the one place
    pub fn start() -> Clock {
        let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Clock::at(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
    }

    /// A clock whose wall time is chosen: for plays and tests.
    #[allow(clippy::disallowed_methods)] // this is the one place
    pub fn at(origin_wall_ms: u64) -> Clock {
        Clock { origin: Instant::now(), origin_wall_ms }
    }

    #[allow(clippy::disallowed_methods)] // this is the one place
    pub fn now(&self) -> Now {
        let since = Instant::now().duration_since(self.origin);
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        Now { tick: Tick(micros), wall_ms: self.origin_wall_ms.saturating_add(micros / 1000) }
    }

    pub(crate) fn instant(&self, tick: Tick) -> Instant {
        self.origin + Duration::from_micros(tick.0)
    }
}
