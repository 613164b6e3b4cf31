//! Decides how long to wait before the next attempt to connect: exponential with full jitter.
//!
//! Full jitter (a uniform draw from zero to the bound) spreads a fleet that lost its hub at one instant evenly over
//! the bound, which equal steps with a little noise do not.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Bound of the first wait. Chosen: a hub that was only restarted is back within it.
pub const BASE: Duration = Duration::from_millis(500);
/// Bound that the waits grow to. Chosen: of many clients one waits nearly as long, whatever the others do, and all are to be back
/// within 30 s; 10 000 of them then knock 1 000 times a second on average, and a hub takes in more than that.
pub const CAP: Duration = Duration::from_secs(20);

/// How the waits grow.
#[derive(Debug, Clone)]
pub struct BackoffConfig {
    /// Bound of the first wait.
    pub base: Duration,
    /// Bound that the waits grow to.
    pub cap: Duration,
    /// Makes the waits repeatable; random if `None`.
    pub seed: Option<u64>,
}

impl Default for BackoffConfig {
    fn default() -> Self {
        Self { base: BASE, cap: CAP, seed: None }
    }
}

/// The waits between attempts in a row.
#[derive(Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempts: u32,
    random: StdRng,
}

impl Backoff {
    /// Starts with no failed attempt.
    pub fn new(config: &BackoffConfig) -> Self {
        let seed = config.seed.unwrap_or_else(rand::random);
        Self { base: config.base, cap: config.cap, attempts: 0, random: StdRng::seed_from_u64(seed) }
    }

    /// Bound of the next wait: the base doubled for each attempt before, at most the cap.
    pub fn bound(&self) -> Duration {
        self.base.saturating_mul(2_u32.saturating_pow(self.attempts.min(31))).min(self.cap)
    }

    /// An attempt failed, or a connection did not last: how long to wait.
    pub fn next_wait(&mut self) -> Duration {
        let bound = self.bound();
        self.attempts = self.attempts.saturating_add(1);
        self.jitter(bound)
    }

    /// A wait drawn from zero to `bound` that does not count as an attempt.
    pub fn jitter(&mut self, bound: Duration) -> Duration {
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.random.random_range(0..=micros))
    }

    /// A connection lasted.
    pub const fn reset(&mut self) {
        self.attempts = 0;
    }

    /// Number of the attempt that comes next, counted from 1.
    pub const fn attempt(&self) -> u32 {
        self.attempts.saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff(seed: u64) -> Backoff {
        Backoff::new(&BackoffConfig { seed: Some(seed), ..BackoffConfig::default() })
    }

    #[test]
    fn bounds_double_up_to_the_cap_and_stay_there() {
        let mut backoff = backoff(1);
        let mut bounds = Vec::new();
        for _ in 0..100 {
            bounds.push(backoff.bound());
            assert!(backoff.next_wait() <= *bounds.last().unwrap());
        }
        let millis: Vec<u128> = bounds.iter().take(8).map(Duration::as_millis).collect();
        assert_eq!(millis, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
        assert_eq!(bounds[99], CAP);
        backoff.reset();
        assert_eq!(backoff.bound(), BASE);
    }

    #[test]
    fn waits_fill_the_whole_range_evenly() {
        let tenths = (0..10_000).fold([0_u32; 10], |mut tenths, seed| {
            let wait = backoff(seed).next_wait();
            tenths[(wait.as_micros() * 10 / (BASE.as_micros() + 1)) as usize] += 1;
            tenths
        });
        assert!(tenths.iter().all(|n| (850..1_150).contains(n)), "{tenths:?}");
    }

    #[test]
    fn a_seed_repeats_the_waits() {
        let waits = |seed| {
            let mut backoff = backoff(seed);
            (0..10).map(|_| backoff.next_wait()).collect::<Vec<_>>()
        };
        assert_eq!(waits(7), waits(7));
        assert_ne!(waits(7), waits(8));
    }
}
