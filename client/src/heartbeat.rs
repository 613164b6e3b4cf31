//! Decides when to ping the hub and when to presume it gone.
//!
//! No socket and no clock: time is an argument. A peer that vanished without a word would otherwise be noticed only
//! when TCP gives up, after about fifteen minutes.

use std::collections::VecDeque;
use std::time::Duration;

use protocol::limits::HEARTBEATS_MISSED_MAX;
use tokio::time::Instant;

/// Most pings whose answers are waited for. A hub that answers none is gone long before.
const OUTSTANDING_MAX: usize = 16;
/// Longest time between two pings that is believed of a hub, in seconds: 10 minutes.
const INTERVAL_MAX_SECONDS: u32 = 600;

/// Pings that come sooner where the round trip matters. The first meets everything that a new connection has to say, so its
/// answer takes longer than usual; NTP begins a measurement with several for the same reason (`iburst`).
const EARLY: u64 = 4;
/// Time between two of those.
const EARLY_INTERVAL: Duration = Duration::from_secs(1);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// Nothing before [`Heartbeat::wake_at`].
    Wait,
    /// Write a ping with this payload.
    Ping([u8; 8]),
    /// Nothing was heard for this long: the hub is gone.
    Gone(Duration),
}

/// The answer to a ping of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// The number of the ping.
    pub number: u64,
    /// The time from the ping to its answer.
    pub round_trip: Duration,
}

/// Pings and silence on one connection.
#[derive(Debug)]
pub struct Heartbeat {
    interval: Duration,
    silence_max: Duration,
    next_ping_at: Instant,
    heard_at: Instant,
    next_number: u64,
    /// Pings up to this number come sooner.
    early: u64,
    outstanding: VecDeque<(u64, Instant)>,
}

impl Heartbeat {
    /// Starts at the hub's welcome; the first ping is due at once.
    pub fn new(heartbeat_seconds: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(u64::from(heartbeat_seconds.clamp(1, INTERVAL_MAX_SECONDS)));
        Self {
            interval,
            silence_max: interval * HEARTBEATS_MISSED_MAX,
            next_ping_at: now,
            heard_at: now,
            next_number: 0,
            early: 0,
            outstanding: VecDeque::new(),
        }
    }

    /// Begins with some pings that come sooner, for a round trip that can be relied on.
    pub fn measure(mut self) -> Self {
        self.early = EARLY;
        self
    }

    /// Time between two pings.
    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// Something arrived from the hub, whatever it was.
    pub fn on_heard(&mut self, now: Instant) {
        self.heard_at = self.heard_at.max(now);
    }

    /// We did not listen for a while, so the silence before now says nothing of the hub.
    pub fn on_listening_again(&mut self, now: Instant) {
        self.on_heard(now);
        self.outstanding.clear();
    }

    /// A pong arrived. `None` if it answers no ping of ours.
    pub fn on_pong(&mut self, payload: &[u8], now: Instant) -> Option<Answered> {
        let number = u64::from_be_bytes(payload.try_into().ok()?);
        let index = self.outstanding.iter().position(|(n, _)| *n == number)?;
        let sent_at = self.outstanding[index].1;
        self.outstanding.drain(..=index);
        Some(Answered { number, round_trip: now.saturating_duration_since(sent_at) })
    }

    /// What is due at `now`.
    pub fn poll(&mut self, now: Instant) -> Beat {
        let silence = now.saturating_duration_since(self.heard_at);
        if silence >= self.silence_max {
            return Beat::Gone(silence);
        }
        if now < self.next_ping_at {
            return Beat::Wait;
        }
        let number = self.next_number;
        self.next_number += 1;
        let is_early = self.next_number < self.early;
        self.next_ping_at = now + if is_early { EARLY_INTERVAL.min(self.interval) } else { self.interval };
        if self.outstanding.len() == OUTSTANDING_MAX {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back((number, now));
        Beat::Ping(number.to_be_bytes())
    }

    /// The number that the next ping will have: what is written before it has arrived once it is answered.
    pub const fn next_number(&self) -> u64 {
        self.next_number
    }

    /// When to poll again.
    pub fn wake_at(&self) -> Instant {
        self.next_ping_at.min(self.heard_at + self.silence_max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_hub_is_pinged_and_then_presumed_gone() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(10, start);
        let mut pings = 0;
        let gone = loop {
            match heartbeat.poll(heartbeat.wake_at()) {
                Beat::Ping(_) => pings += 1,
                Beat::Gone(after) => break after,
                Beat::Wait => panic!("woken for nothing"),
            }
        };
        assert_eq!((pings, gone), (3, Duration::from_secs(30)));
    }

    #[test]
    fn who_measures_pings_some_times_sooner_and_then_as_usual() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(10, start).measure();
        let mut pings = Vec::new();
        while pings.len() < 6 {
            let now = heartbeat.wake_at();
            heartbeat.on_heard(now);
            if let Beat::Ping(_) = heartbeat.poll(now) {
                pings.push(now.duration_since(start).as_secs());
            }
        }
        assert_eq!(pings, [0, 1, 2, 3, 13, 23]);
    }

    #[test]
    fn an_answer_gives_the_round_trip_and_keeps_the_connection() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(10, start);
        let Beat::Ping(payload) = heartbeat.poll(start) else { panic!() };
        let later = start + Duration::from_millis(40);
        heartbeat.on_heard(later);
        let answered = heartbeat.on_pong(&payload, later).unwrap();
        assert_eq!(answered, Answered { number: 0, round_trip: Duration::from_millis(40) });
        assert_eq!(heartbeat.on_pong(&payload, later), None, "the same answer again");
        assert_eq!(heartbeat.on_pong(b"hub's own", later), None);
        assert_eq!(heartbeat.poll(start + Duration::from_secs(9)), Beat::Wait);
    }
}
