//! What is known of the readings in one bucket or column of a chart.

use protocol::Step;

/// A summary of readings. Summaries of disjoint readings can be added in any order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollup {
    /// Number of readings; 0 only in [`Rollup::EMPTY`].
    pub count: u32,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Sum of the values.
    pub sum: f64,
}

impl Rollup {
    /// No readings.
    pub const EMPTY: Self = Self { count: 0, min: f64::INFINITY, max: f64::NEG_INFINITY, sum: 0.0 };

    /// One reading.
    pub const fn of(value: f64) -> Self {
        Self { count: 1, min: value, max: value, sum: value }
    }

    /// Adds readings that are not in here yet.
    pub const fn add(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.sum += other.sum;
    }

    /// Joins two summaries of the same stretch of time that may have readings in common.
    ///
    /// Extremes are those of both; the mean is that of the one that knows more readings. Joining a summary with itself
    /// or with a part of itself changes nothing, so that live data and history can overlap without counting double.
    pub const fn join(&mut self, other: &Self) {
        if other.count > self.count {
            self.count = other.count;
            self.sum = other.sum;
        }
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }
}

/// The bucket that starts at `index * step`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Indexed {
    /// The start of the bucket divided by its width.
    pub(super) index: i64,
    /// Its readings.
    pub(super) rollup: Rollup,
}

/// The index of the bucket that `micros` falls into.
pub(super) const fn index_of(micros: i64, step: Step) -> i64 {
    micros.div_euclid(step.micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_with_a_part_of_itself_changes_nothing() {
        let mut whole = Rollup::of(1.0);
        whole.add(&Rollup::of(5.0));
        whole.add(&Rollup::of(3.0));
        let mut part = Rollup::of(5.0);
        part.add(&Rollup::of(3.0));
        let mut joined = part;
        joined.join(&whole);
        assert_eq!(joined, whole);
        joined.join(&part);
        assert_eq!(joined, whole);
        joined.join(&Rollup::EMPTY);
        assert_eq!(joined, whole);
    }
}
