//! What models are made of: seeded chance, lags, drift, and the sky above.

use std::f64::consts::TAU;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Seconds in a day.
pub const DAY: f64 = 86_400.0;

/// Chance, the same for the same seed on every system and in every version.
#[derive(Debug, Clone)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// From 0 (inclusive) to 1 (exclusive).
    pub fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// From `low` to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Any number: a seed for something else.
    pub fn seed(&mut self) -> u64 {
        self.0.random()
    }

    /// Normally distributed around 0 (Irwin-Hall with twelve terms: never beyond six sigma).
    pub fn normal(&mut self, sigma: f64) -> f64 {
        sigma * ((0..12).map(|_| self.unit()).sum::<f64>() - 6.0)
    }

    /// Whether something that happens every `mean_seconds` on average happens within `dt`.
    pub fn happens(&mut self, dt: f64, mean_seconds: f64) -> bool {
        self.unit() < -f64::exp_m1(-dt / mean_seconds)
    }
}

/// A first-order lag: moves toward a target with a time constant. Exact for any step.
#[derive(Debug, Clone)]
pub struct Lag {
    /// Where it is.
    pub value: f64,
    tau: f64,
}

impl Lag {
    /// Starts at a value, with a time constant in seconds.
    pub const fn new(value: f64, tau: f64) -> Self {
        Self { value, tau }
    }

    /// Moves toward `target`.
    pub fn step(&mut self, target: f64, dt: f64) {
        self.value -= (target - self.value) * f64::exp_m1(-dt / self.tau);
    }
}

/// Slow wandering around 0 with a given spread and memory (an Ornstein-Uhlenbeck process, exact for any step).
#[derive(Debug, Clone)]
pub struct Drift {
    /// Where it is.
    pub value: f64,
    sigma: f64,
    tau: f64,
}

impl Drift {
    /// Starts anywhere within its spread.
    pub fn new(sigma: f64, tau: f64, random: &mut Random) -> Self {
        Self { value: random.normal(sigma), sigma, tau }
    }

    /// Wanders on.
    pub fn step(&mut self, dt: f64, random: &mut Random) {
        let keep = f64::exp(-dt / self.tau);
        self.value = self.value * keep + random.normal(self.sigma * (1.0 - keep * keep).sqrt());
    }
}

/// Weather outside: a day of sun and temperature, clouds and wind that wander.
#[derive(Debug, Clone)]
pub struct Sky {
    second: f64,
    warmth: Drift,
    clouds: Drift,
    wind: Drift,
}

impl Sky {
    /// Starts at a second of the day.
    pub fn new(second: f64, random: &mut Random) -> Self {
        Self {
            second: second.rem_euclid(DAY),
            warmth: Drift::new(1.5, 6.0 * 3_600.0, random),
            clouds: Drift::new(0.3, 900.0, random),
            wind: Drift::new(1.0, 600.0, random),
        }
    }

    /// Lets time pass.
    pub fn step(&mut self, dt: f64, random: &mut Random) {
        self.second = (self.second + dt).rem_euclid(DAY);
        self.warmth.step(dt, random);
        self.clouds.step(dt, random);
        self.wind.step(dt, random);
    }

    /// Height of the sun as a share of its height at noon: 0 from 18 to 6 o'clock.
    pub fn sun(&self) -> f64 {
        (TAU * (self.second / DAY - 0.25)).sin().max(0.0)
    }

    /// Share of the sky that clouds cover, 0 to 1.
    pub fn cloud_cover(&self) -> f64 {
        (0.35 + self.clouds.value).clamp(0.0, 1.0)
    }

    /// Sunlight on the ground, in watts per square metre.
    pub fn irradiance(&self) -> f64 {
        950.0 * self.sun() * (1.0 - 0.75 * self.cloud_cover())
    }

    /// Air temperature, in degrees Celsius: coldest at 4, warmest at 16 o'clock.
    pub fn temperature(&self) -> f64 {
        14.0 - 6.0 * (TAU * (self.second / DAY - 1.0 / 6.0)).cos() + self.warmth.value
    }

    /// Mean wind, in metres per second.
    pub fn wind(&self) -> f64 {
        (3.5 * (0.5 * self.wind.value).exp()).min(28.0)
    }
}
