//! What the status bar says of itself: rates and totals.

use std::collections::VecDeque;

use protocol::{Position, Timestamp};

/// Time over which a rate is taken, in microseconds.
const WINDOW_MICROS: i64 = 2_000_000;

/// Counts since the start, and the present rate.
#[derive(Debug, Default)]
pub struct Counters {
    /// Readings received.
    pub readings: u64,
    /// Readings that the hub left out because we read too slowly; fetched again from its store.
    pub omitted: u64,
    /// Messages that could not be read or made no sense.
    pub bad_messages: u64,
    /// How often the connection was made again.
    pub reconnects: u64,
    /// Where the hub is.
    pub position: Position,
    recent: VecDeque<(Timestamp, u64)>,
}

impl Counters {
    pub(super) fn received(&mut self, readings: u64, now: Timestamp) {
        self.readings += readings;
        // At most 64 entries in the window, whatever the rate of messages.
        match self.recent.back_mut() {
            Some((at, n)) if now.micros_since(*at) < WINDOW_MICROS / 64 && now >= *at => *n += readings,
            _ => self.recent.push_back((now, readings)),
        }
        self.trim(now);
    }

    pub(super) fn trim(&mut self, now: Timestamp) {
        while self.recent.front().is_some_and(|(at, _)| !(0..WINDOW_MICROS).contains(&now.micros_since(*at)))
        {
            self.recent.pop_front();
        }
    }

    /// Readings received a second.
    pub fn rate(&self) -> f64 {
        let sum: u64 = self.recent.iter().map(|(_, n)| n).sum();
        sum as f64 * 1e6 / WINDOW_MICROS as f64
    }

    /// When the rate changes by itself because nothing more arrives.
    pub(super) fn next_change(&self) -> Option<Timestamp> {
        self.recent.back().map(|(at, _)| at.plus_micros(WINDOW_MICROS))
    }
}
