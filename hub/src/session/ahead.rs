//! How far a device's clock is ahead of the hub's.
//!
//! A device says what its clock shows when it says `hello`, and its readings were measured before they came. So each of them
//! shows by how much the clock is ahead at least, and the one that took the shortest way shows it best. What is wrong
//! with the result is the time of that shortest way. Clocks drift and are set: after five to ten minutes a word is forgotten.

use std::time::Duration;

use protocol::Timestamp;

/// After this what was heard before counts for one more such time. Chosen: a clock that is off by 50 parts in a million
/// drifts by 15 ms in it.
const WINDOW_MICROS: i64 = 300_000_000;

/// What is known of a device's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ahead {
    since: Timestamp,
    /// The most of this window, and of the one before.
    most: Option<i64>,
    before: Option<i64>,
}

impl Ahead {
    /// The device's clock showed `device` at or before `now`, by the hub's clock.
    pub(super) fn note(&mut self, device: Timestamp, now: Timestamp) {
        if !(0..WINDOW_MICROS).contains(&now.micros_since(self.since)) {
            self.before = self.most.take();
            self.since = now;
        }
        self.most = self.most.max(Some(device.micros_since(now)));
    }

    /// By how many microseconds it is ahead, at least.
    pub(super) fn micros(&self) -> Option<i64> {
        self.most.max(self.before)
    }

    /// When something was measured by the hub's clock that was measured at `device` by the device's.
    pub(super) fn measured(&self, device: Timestamp) -> Option<Timestamp> {
        Some(device.plus_micros(self.micros()?.saturating_neg()))
    }

    /// How long something was on its way that was measured at `device` and came at `now`.
    pub(super) fn way(&self, device: Timestamp, now: Timestamp) -> Option<Duration> {
        let micros = now.micros_since(self.measured(device)?);
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp(1_767_225_600_000_000 + millis * 1_000)
    }

    #[test]
    fn the_shortest_way_shows_the_clock_and_the_others_how_long_they_took() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.way(at(0), at(0)), None);
        // Its clock is an hour ahead; what it measures takes 5, 2 and 40 ms.
        for (measured, way, said) in [(0, 5, 0), (100, 2, 0), (200, 40, 38)] {
            ahead.note(at(3_600_000 + measured), at(measured + way));
            let took = ahead.way(at(3_600_000 + measured), at(measured + way)).unwrap();
            assert_eq!(took, Duration::from_millis(said), "{measured}");
        }
        assert_eq!(ahead.micros(), Some(3_600_000_000 - 2_000));
    }

    #[test]
    fn a_backlog_after_hello_is_as_late_as_it_is() {
        let mut ahead = Ahead::default();
        ahead.note(at(3_600_000), at(3_600_001)); // hello
        ahead.note(at(0), at(3_600_010));
        assert_eq!(ahead.way(at(0), at(3_600_010)), Some(Duration::from_millis(3_600_009)));
    }

    #[test]
    fn a_clock_that_was_set_back_is_believed_after_ten_minutes() {
        let mut ahead = Ahead::default();
        for minute in 0..5 {
            ahead.note(at(minute * 60_000), at(minute * 60_000));
        }
        for minute in 5..16 {
            ahead.note(at(minute * 60_000 - 7_000), at(minute * 60_000));
        }
        assert_eq!(ahead.micros(), Some(-7_000_000));
    }
}
