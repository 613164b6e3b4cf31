//! The only place that reads the system's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::Timestamp;
use tokio::time::Instant;

/// A wall clock that never runs backwards: read once, carried on by the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base: Timestamp,
    started: Instant,
}

impl Clock {
    /// Reads the system's clock.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let base = Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX));
        Self { base, started: Instant::now() }
    }

    /// The time at which it was started.
    pub const fn base(&self) -> Timestamp {
        self.base
    }

    /// Microseconds since it was started.
    pub fn elapsed_micros(&self) -> i64 {
        i64::try_from(self.started.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    /// The instant that is so many microseconds after it was started.
    pub fn instant(&self, micros: i64) -> Instant {
        self.started + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.base.plus_micros(self.elapsed_micros())
    }
}
