//! Time on the wire and in the store: microseconds since the Unix epoch, UTC.

use serde::{Deserialize, Serialize};

/// A point in time: microseconds since 1970-01-01T00:00:00Z, no leap seconds.
///
/// Exact in JSON and in JavaScript's numbers for every accepted time (below 2^53).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// Microseconds in one second.
pub const MICROS_PER_SECOND: i64 = 1_000_000;

impl Timestamp {
    /// The earliest time a reading may claim: 1970-01-01. A device without a clock counts from here.
    pub const MIN_READING: Self = Self(0);
    /// The first time a reading may no longer claim: 2100-01-01T00:00:00Z.
    /// Chosen: above it, a time is a unit mistaken (nanoseconds read as microseconds), not a measurement.
    pub const END_READING: Self = Self(4_102_444_800 * MICROS_PER_SECOND);

    /// Makes a time from whole milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Makes a time from whole seconds since the Unix epoch.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// This time moved by `micros`, stopping at the ends of the range.
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this time; negative when `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Whether a reading may claim this time.
    pub const fn is_valid_for_reading(self) -> bool {
        self.0 >= Self::MIN_READING.0 && self.0 < Self::END_READING.0
    }
}
