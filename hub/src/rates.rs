//! How fast a peer may send: it is read as fast as its rates allow and no faster, and refused by name if it goes on too long.
//!
//! A rate is a bucket that fills by so much a second and holds what some seconds bring, so that whoever was quiet may send at
//! once what has gathered. What is read is taken out of it, also below zero, and nothing more is read before it is back at
//! zero: TCP tells the peer to wait, and nothing is lost. A peer whose bucket never gets half full again while its patience
//! runs is above its rate for good, and is told so.
//!
//! What a device has used up is kept when it leaves, so that connecting anew is no way around.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::DeviceId;
use store::CredentialRole;
use tokio::time::Instant;

use crate::limits::{Limit, Limits, Refusal};

/// One rate of one peer.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    limit: Limit,
    /// So much a second.
    rate: f64,
    /// What it holds.
    full: f64,
    left: f64,
}

impl Bucket {
    fn new(limit: Limit, limits: &Limits) -> Self {
        let rate = limits.get(limit) as f64;
        let full = rate * limits.get(Limit::RateBurstSeconds) as f64;
        Self { limit, rate, full, left: full }
    }

    fn fill(&mut self, time: Duration) {
        self.left = (self.left + time.as_secs_f64() * self.rate).min(self.full);
    }

    const fn is_half_full(&self) -> bool {
        self.left >= self.full / 2.0
    }

    /// Time until so much is left.
    fn until(&self, left: f64) -> Duration {
        Duration::from_secs_f64(((left - self.left) / self.rate).max(0.0))
    }
}

/// Whether a peer is read.
#[derive(Debug, PartialEq)]
pub enum Turn {
    /// It is.
    Read,
    /// Not before this, and then it is asked again. The limit is named when that begins.
    Wait(Instant, Option<Limit>),
    /// It was above its rate for too long.
    Refuse(Refusal),
}

/// The rates of one peer.
#[derive(Debug)]
pub struct Pace {
    buckets: [Option<Bucket>; 2],
    filled: Instant,
    patience: Duration,
    above_since: Option<Instant>,
}

impl Pace {
    /// The rates of whoever has this role.
    pub fn new(role: &CredentialRole, limits: &Limits, now: Instant) -> Self {
        let (messages, readings) = match role {
            CredentialRole::Device(_) => (Limit::DeviceMessages, Some(Limit::DeviceReadings)),
            CredentialRole::Fleet => (Limit::FleetMessages, Some(Limit::FleetReadings)),
            CredentialRole::Viewer => (Limit::ViewerMessages, None),
            CredentialRole::Operator | CredentialRole::Admin => (Limit::OperatorMessages, None),
        };
        Self {
            buckets: [Some(messages), readings].map(|limit| limit.map(|limit| Bucket::new(limit, limits))),
            filled: now,
            patience: limits.time(Limit::RatePatienceSeconds),
            above_since: None,
        }
    }

    fn fill(&mut self, now: Instant) {
        let time = now.saturating_duration_since(self.filled);
        self.filled = now;
        for bucket in self.buckets.iter_mut().flatten() {
            bucket.fill(time);
        }
        if self.buckets.iter().flatten().all(Bucket::is_half_full) {
            self.above_since = None;
        }
    }

    /// A message was read.
    pub fn on_message(&mut self, now: Instant) {
        self.fill(now);
        if let Some(messages) = &mut self.buckets[0] {
            messages.left -= 1.0;
        }
    }

    /// It held so many readings.
    pub fn on_readings(&mut self, count: usize) {
        if let Some(readings) = &mut self.buckets[1] {
            readings.left -= count as f64;
        }
    }

    /// Whether the next message is read now.
    pub fn turn(&mut self, now: Instant) -> Turn {
        // The usual case, without looking at the clock's distance.
        if self.buckets.iter().flatten().all(|bucket| bucket.left >= 0.0) {
            return Turn::Read;
        }
        self.fill(now);
        let Some(worst) = self
            .buckets
            .iter()
            .flatten()
            .filter(|bucket| bucket.left < 0.0)
            .max_by(|a, b| a.until(0.0).cmp(&b.until(0.0)))
        else {
            return Turn::Read;
        };
        let begins = self.above_since.is_none();
        let since = *self.above_since.get_or_insert(now);
        if now.duration_since(since) >= self.patience {
            return Turn::Refuse(Refusal {
                limit: worst.limit,
                value: worst.rate as u64,
                found: format!("above it for {} s", self.patience.as_secs()),
                retry_after: Some(worst.until(worst.full / 2.0)),
            });
        }
        // A little at least, so that a peer just above its rate is not asked after each message.
        let ready = now + worst.until(0.0).max(Duration::from_millis(5));
        Turn::Wait(ready.min(since + self.patience), begins.then_some(worst.limit))
    }

    /// What was used up, if that is worth remembering.
    fn used(mut self, now: Instant) -> Option<Used> {
        self.fill(now);
        let buckets = self.buckets.map(|bucket| bucket.map_or(0.0, |bucket| bucket.full - bucket.left));
        let full_at = self.buckets.iter().flatten().map(|bucket| now + bucket.until(bucket.full)).max()?;
        (full_at > now + WORTH_KEEPING).then_some(Used { buckets, at: now, full_at })
    }
}

/// What fills again in so little time is forgotten.
const WORTH_KEEPING: Duration = Duration::from_secs(1);
/// From so many on it is looked for some that can be forgotten.
const TIDY_FROM: usize = 1_024;

#[derive(Debug)]
struct Used {
    buckets: [f64; 2],
    at: Instant,
    full_at: Instant,
}

/// What devices that are gone had used up. Only devices that are known are in it, and each only until its buckets are full.
#[derive(Debug, Default)]
pub struct Paces {
    used: Mutex<HashMap<DeviceId, Used>>,
}

impl Paces {
    fn lock(&self) -> MutexGuard<'_, HashMap<DeviceId, Used>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rates of a device that comes.
    pub fn enter(&self, device: &DeviceId, role: &CredentialRole, limits: &Limits, now: Instant) -> Pace {
        let mut pace = Pace::new(role, limits, now);
        if let Some(used) = self.lock().remove(device) {
            for (bucket, used) in pace.buckets.iter_mut().zip(used.buckets) {
                if let Some(bucket) = bucket {
                    bucket.left -= used;
                }
            }
            pace.filled = used.at;
            pace.fill(now);
        }
        pace
    }

    /// A device goes.
    pub fn leave(&self, device: &DeviceId, pace: Pace, now: Instant) {
        let Some(used) = pace.used(now) else { return };
        let mut all = self.lock();
        if all.len() >= TIDY_FROM && all.len().is_power_of_two() {
            all.retain(|_, used| used.full_at > now);
        }
        all.insert(device.clone(), used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let mut limits = Limits::default();
        for (limit, value) in [
            (Limit::DeviceReadings, 100),
            (Limit::DeviceMessages, 10),
            (Limit::RateBurstSeconds, 2),
            (Limit::RatePatienceSeconds, 30),
        ] {
            limits.set(limit, value).unwrap();
        }
        limits
    }

    fn pump() -> DeviceId {
        "pump".parse().unwrap()
    }

    fn pace(now: Instant) -> Pace {
        Pace::new(&CredentialRole::Device(pump()), &limits(), now)
    }

    #[test]
    fn whoever_keeps_to_its_rate_is_always_read() {
        let mut now = Instant::now();
        let mut pace = pace(now);
        for _ in 0..1_000 {
            now += Duration::from_millis(200);
            pace.on_message(now);
            pace.on_readings(19);
            assert_eq!(pace.turn(now), Turn::Read);
        }
        // And after a quiet time it may send what has gathered.
        now += Duration::from_secs(60);
        for _ in 0..20 {
            pace.on_message(now);
            pace.on_readings(10);
            assert_eq!(pace.turn(now), Turn::Read);
        }
        pace.on_message(now);
        assert!(matches!(pace.turn(now), Turn::Wait(_, Some(Limit::DeviceMessages))));
    }

    #[test]
    fn whoever_sends_too_fast_is_read_at_its_rate_and_refused_by_name_in_the_end() {
        let start = Instant::now();
        let (mut now, mut read, mut begins) = (start, 0, 0);
        let mut pace = pace(start);
        let refusal = loop {
            match pace.turn(now) {
                Turn::Read => {
                    pace.on_message(now);
                    pace.on_readings(50);
                    read += 50;
                }
                Turn::Wait(until, limit) => {
                    assert!(until > now && until <= start + Duration::from_secs(31));
                    begins += u32::from(limit.is_some());
                    now = until;
                }
                Turn::Refuse(refusal) => break refusal,
            }
        };
        let seconds = now.duration_since(start).as_secs_f64();
        assert!((30.0..31.0).contains(&seconds), "{seconds}");
        assert!((3_000..=3_300).contains(&read), "{read} readings were read: 100 a second and 200 at once");
        assert_eq!(begins, 1);
        assert_eq!(refusal.limit, Limit::DeviceReadings);
        let text = refusal.to_string();
        assert!(
            text.starts_with(
                "above it for 30 s: device_readings_per_second is 100 (per device); try again in "
            ),
            "{text}"
        );
    }

    #[test]
    fn whoever_was_too_fast_for_a_while_and_then_keeps_to_its_rate_is_not_refused() {
        let mut now = Instant::now();
        let mut pace = pace(now);
        for _ in 0..10 {
            for _ in 0..30 {
                pace.on_message(now);
            }
            while let Turn::Wait(until, _) = pace.turn(now) {
                now = until;
            }
            now += Duration::from_secs(10);
        }
        pace.on_message(now);
        assert_eq!(pace.turn(now), Turn::Read);
    }

    #[test]
    fn connecting_anew_is_no_way_around_a_rate() {
        let mut now = Instant::now();
        let (paces, role) = (Paces::default(), CredentialRole::Device(pump()));
        let mut pace = paces.enter(&pump(), &role, &limits(), now);
        pace.on_message(now);
        pace.on_readings(1_000);
        now += Duration::from_secs(1);
        paces.leave(&pump(), pace, now);
        now += Duration::from_secs(1);
        let mut again = paces.enter(&pump(), &role, &limits(), now);
        let Turn::Wait(until, _) = again.turn(now) else { panic!("it may not be read yet") };
        assert_eq!(
            until.duration_since(now),
            Duration::from_secs(6),
            "800 too many, of which 200 are forgiven"
        );
        paces.leave(&pump(), again, now);
        now += Duration::from_secs(60);
        assert_eq!(paces.enter(&pump(), &role, &limits(), now).turn(now), Turn::Read);
        let quiet = paces.enter(&pump(), &role, &limits(), now);
        paces.leave(&pump(), quiet, now);
        assert!(paces.lock().is_empty(), "nothing is kept of whoever used up nothing");
    }
}
