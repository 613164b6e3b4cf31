//! The ladder of bucket widths, and the bucket itself: the same in the store, on the wire and in the dashboard.
//!
//! Buckets are anchored at the Unix epoch, so the bucket that a reading falls into depends on nothing but its time.
//! Each rung divides the next: coarser buckets are exact merges of finer ones.

use serde::{Deserialize, Serialize};

use crate::time::{MICROS_PER_SECOND, Timestamp};

/// A rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Step {
    /// 1 second.
    #[serde(rename = "1s")]
    S1,
    /// 5 seconds.
    #[serde(rename = "5s")]
    S5,
    /// 15 seconds.
    #[serde(rename = "15s")]
    S15,
    /// 1 minute.
    #[serde(rename = "1m")]
    M1,
    /// 5 minutes.
    #[serde(rename = "5m")]
    M5,
    /// 15 minutes.
    #[serde(rename = "15m")]
    M15,
    /// 1 hour.
    #[serde(rename = "1h")]
    H1,
    /// 6 hours.
    #[serde(rename = "6h")]
    H6,
    /// 1 day of UTC.
    #[serde(rename = "1d")]
    D1,
}

impl Step {
    /// All rungs, finest first.
    pub const ALL: [Self; 9] =
        [Self::S1, Self::S5, Self::S15, Self::M1, Self::M5, Self::M15, Self::H1, Self::H6, Self::D1];

    /// The width of a bucket, in seconds.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::S1 => 1,
            Self::S5 => 5,
            Self::S15 => 15,
            Self::M1 => 60,
            Self::M5 => 300,
            Self::M15 => 900,
            Self::H1 => 3_600,
            Self::H6 => 21_600,
            Self::D1 => 86_400,
        }
    }

    /// The width of a bucket, in microseconds.
    pub const fn micros(self) -> i64 {
        self.seconds() * MICROS_PER_SECOND
    }

    /// The start of the bucket that `at` falls into.
    pub const fn floor(self, at: Timestamp) -> Timestamp {
        Timestamp(at.0.saturating_sub(at.0.rem_euclid(self.micros())))
    }

    /// The coarsest rung that is at most `micros` wide, or `None` when even one second is too wide: read raw.
    pub fn at_most(micros: i64) -> Option<Self> {
        Self::ALL.into_iter().rev().find(|step| step.micros() <= micros)
    }
}

/// What is known of the readings of one series in one stretch of time.
///
/// For booleans the numbers count `true` as 1 and `false` as 0. A series of texts has no numbers: read it raw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Start of the bucket, inclusive; a multiple of its step.
    pub at: Timestamp,
    /// Number of readings, at least 1.
    pub count: u64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Sum of the values; the mean is `sum / count`.
    pub sum: f64,
    /// Value of the earliest reading.
    pub first: f64,
    /// Value of the latest reading.
    pub last: f64,
}

impl Bucket {
    /// A bucket of one reading.
    pub const fn of(at: Timestamp, value: f64) -> Self {
        Self { at, count: 1, min: value, max: value, sum: value, first: value, last: value }
    }

    /// Adds what comes later in time than everything here.
    pub const fn merge(&mut self, later: &Self) {
        self.count += later.count;
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.sum += later.sum;
        self.last = later.last;
    }

    /// The arithmetic mean; where the sum left the range of numbers, the middle between the extremes.
    pub fn mean(&self) -> f64 {
        let mean = self.sum / self.count as f64;
        if mean.is_finite() { mean } else { self.min / 2.0 + self.max / 2.0 }
    }
}

/// On the wire a bucket is an array `[at, count, min, max, mean, first, last]`.
impl Serialize for Bucket {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.at, self.count, self.min, self.max, self.mean(), self.first, self.last).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Bucket {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (at, count, min, max, mean, first, last) =
            <(Timestamp, u64, f64, f64, f64, f64, f64)>::deserialize(deserializer)?;
        if count == 0 {
            return Err(serde::de::Error::custom("a bucket with count 0: empty buckets are left out"));
        }
        Ok(Self { at, count, min, max, sum: mean * count as f64, first, last })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rung_divides_the_next() {
        for pair in Step::ALL.windows(2) {
            assert_eq!(pair[1].seconds() % pair[0].seconds(), 0, "{pair:?}");
        }
    }

    #[test]
    fn a_bucket_starts_at_or_before_its_readings_also_before_1970() {
        assert_eq!(Step::M1.floor(Timestamp(59_999_999)), Timestamp(0));
        assert_eq!(Step::M1.floor(Timestamp(60_000_000)), Timestamp(60_000_000));
        assert_eq!(Step::S1.floor(Timestamp(-1)), Timestamp(-1_000_000));
    }

    #[test]
    fn a_mean_is_a_number_even_where_the_sum_is_not() {
        let mut bucket = Bucket::of(Timestamp(0), f64::MAX);
        bucket.merge(&Bucket::of(Timestamp(1), f64::MAX));
        assert_eq!(bucket.mean(), f64::MAX);
        assert!(!serde_json::to_string(&bucket).unwrap().contains("null"));
    }

    #[test]
    fn the_coarsest_rung_that_fits_is_found() {
        assert_eq!(Step::at_most(999_999), None);
        assert_eq!(Step::at_most(1_000_000), Some(Step::S1));
        assert_eq!(Step::at_most(i64::MAX), Some(Step::D1));
        assert_eq!(Step::at_most(299 * 1_000_000), Some(Step::M1));
    }
}
