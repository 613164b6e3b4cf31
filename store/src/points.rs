//! Readings of one series in memory: two columns, times and values.

use std::ops::Range;
use std::sync::Arc;

use protocol::{Bucket, Kind, Step, Timestamp, Value};

use crate::error::StoreError;

/// The values of readings, all of one kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    Numbers(Vec<f64>),
    Bools(Vec<bool>),
    Texts(Vec<Arc<str>>),
}

impl Values {
    pub(crate) fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::Number => Self::Numbers(Vec::new()),
            Kind::Bool => Self::Bools(Vec::new()),
            Kind::Text => Self::Texts(Vec::new()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Bools(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    pub(crate) fn get(&self, place: usize) -> Option<Value> {
        match self {
            Self::Numbers(values) => values.get(place).map(|n| Value::Number(*n)),
            Self::Bools(values) => values.get(place).map(|b| Value::Bool(*b)),
            Self::Texts(values) => values.get(place).map(|text| Value::Text(Arc::clone(text))),
        }
    }

    fn push(&mut self, value: Value) -> Result<(), StoreError> {
        match (self, value) {
            (Self::Numbers(values), Value::Number(n)) => values.push(n),
            (Self::Bools(values), Value::Bool(b)) => values.push(b),
            (Self::Texts(values), Value::Text(text)) => match values.last() {
                // States stay for long: one text serves many readings.
                Some(last) if *last == text => values.push(Arc::clone(last)),
                _ => values.push(text),
            },
            (_, value) => {
                return Err(StoreError::corrupt(format!("a {} in a series of another kind", value.kind())));
            }
        }
        Ok(())
    }

    fn append(&mut self, other: Self) -> Result<(), StoreError> {
        match (self, other) {
            (Self::Numbers(values), Self::Numbers(mut more)) => values.append(&mut more),
            (Self::Bools(values), Self::Bools(mut more)) => values.append(&mut more),
            (Self::Texts(values), Self::Texts(mut more)) => values.append(&mut more),
            _ => return Err(StoreError::corrupt("blocks of different kinds in one series")),
        }
        Ok(())
    }

    /// Adds copies of values of the same kind at the end.
    pub(crate) fn extend(&mut self, other: &Self) {
        match (self, other) {
            (Self::Numbers(values), Self::Numbers(more)) => values.extend(more),
            (Self::Bools(values), Self::Bools(more)) => values.extend(more),
            (Self::Texts(values), Self::Texts(more)) => values.extend(more.iter().map(Arc::clone)),
            _ => {}
        }
    }

    /// The values at some places, in their order.
    fn pick(&self, places: &[u32]) -> Self {
        let at = |place: &u32| *place as usize;
        match self {
            Self::Numbers(values) => Self::Numbers(places.iter().map(|place| values[at(place)]).collect()),
            Self::Bools(values) => Self::Bools(places.iter().map(|place| values[at(place)]).collect()),
            Self::Texts(values) => {
                Self::Texts(places.iter().map(|place| Arc::clone(&values[at(place)])).collect())
            }
        }
    }

    fn forget(&mut self, count: usize) {
        match self {
            Self::Numbers(values) => drop(values.drain(..count)),
            Self::Bools(values) => drop(values.drain(..count)),
            Self::Texts(values) => drop(values.drain(..count)),
        }
    }

    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        match self {
            Self::Numbers(values) => Self::Numbers(values[range].to_vec()),
            Self::Bools(values) => Self::Bools(values[range].to_vec()),
            Self::Texts(values) => Self::Texts(values[range].to_vec()),
        }
    }
}

/// Readings of one series. As many times as values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Points {
    times: Vec<i64>,
    values: Values,
}

impl Points {
    /// No readings.
    pub(crate) fn new(kind: Kind) -> Self {
        Self { times: Vec::new(), values: Values::of_kind(kind) }
    }

    /// Readings that were read from a block; `None` unless there are as many times as values.
    pub(crate) fn from_columns(times: Vec<i64>, values: Values) -> Option<Self> {
        (times.len() == values.len()).then_some(Self { times, values })
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) const fn kind(&self) -> Kind {
        match self.values {
            Values::Numbers(_) => Kind::Number,
            Values::Bools(_) => Kind::Bool,
            Values::Texts(_) => Kind::Text,
        }
    }

    pub(crate) fn times(&self) -> &[i64] {
        &self.times
    }

    pub(crate) const fn values(&self) -> &Values {
        &self.values
    }

    /// Adds a reading at the end. A value of another kind is damage: the file says what the kind is.
    pub(crate) fn push(&mut self, at: i64, value: Value) -> Result<(), StoreError> {
        self.values.push(value)?;
        self.times.push(at);
        Ok(())
    }

    /// Adds readings at the end.
    pub(crate) fn append(&mut self, mut other: Self) -> Result<(), StoreError> {
        self.values.append(other.values)?;
        self.times.append(&mut other.times);
        Ok(())
    }

    /// Puts the readings in the order of their times, of equal times keeps the first. Returns how many went.
    pub(crate) fn tidy(&mut self) -> usize {
        if self.times.is_sorted_by(|a, b| a < b) {
            return 0;
        }
        let before = self.times.len();
        let mut places: Vec<u32> = (0..before as u32).collect();
        // Stable: of equal times the first stays first.
        places.sort_by_key(|place| self.times[*place as usize]);
        places.dedup_by_key(|place| self.times[*place as usize]);
        self.times = places.iter().map(|place| self.times[*place as usize]).collect();
        self.values = self.values.pick(&places);
        before - self.times.len()
    }

    /// Drops the first readings.
    pub(crate) fn forget(&mut self, count: usize) {
        self.times.drain(..count);
        self.values.forget(count);
    }

    /// A copy of the readings between two times, whatever their order.
    pub(crate) fn between(&self, from: Timestamp, to: Timestamp) -> Self {
        let places: Vec<u32> = (0_u32..)
            .zip(&self.times)
            .filter(|(_, at)| (from.0..to.0).contains(*at))
            .map(|(place, _)| place)
            .collect();
        Self {
            times: places.iter().map(|place| self.times[*place as usize]).collect(),
            values: self.values.pick(&places),
        }
    }

    /// The reading with the latest time, whatever the order; the first of several.
    pub(crate) fn latest(&self) -> Option<(Timestamp, Value)> {
        let (place, _) = self.times.iter().enumerate().rev().max_by_key(|(_, at)| **at)?;
        self.get(place)
    }

    /// The reading with the latest time up to `at`, whatever the order; the first of several.
    pub(crate) fn as_of(&self, at: Timestamp) -> Option<(Timestamp, Value)> {
        let upto = self.times.iter().enumerate().rev().filter(|(_, time)| **time <= at.0);
        let (place, _) = upto.max_by_key(|(_, time)| **time)?;
        self.get(place)
    }

    /// A copy of a stretch.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        Self { times: self.times[range.clone()].to_vec(), values: self.values.slice(range) }
    }

    /// The places of the readings from `from` to `to`; of ordered readings only.
    pub(crate) fn range(&self, from: Timestamp, to: Timestamp) -> Range<usize> {
        let first = self.times.partition_point(|at| *at < from.0);
        let end = self.times.partition_point(|at| *at < to.0);
        first..end.max(first)
    }

    /// One reading.
    pub(crate) fn get(&self, place: usize) -> Option<(Timestamp, Value)> {
        Some((Timestamp(*self.times.get(place)?), self.values.get(place)?))
    }

    /// The readings of a stretch, one after the other.
    pub(crate) fn iter(&self, range: Range<usize>) -> impl Iterator<Item = (Timestamp, Value)> + '_ {
        range.filter_map(|place| self.get(place))
    }

    /// Sums up a stretch of ordered readings in buckets of a width, adding to those that are there already.
    pub(crate) fn sum_up(&self, range: Range<usize>, step: Step, buckets: &mut Vec<Bucket>) {
        match &self.values {
            Values::Numbers(values) => {
                sum_up(&self.times[range.clone()], values[range].iter().copied(), step, buckets);
            }
            Values::Bools(values) => {
                let numbers = values[range.clone()].iter().map(|b| if *b { 1.0 } else { 0.0 });
                sum_up(&self.times[range], numbers, step, buckets);
            }
            Values::Texts(_) => {}
        }
    }
}

fn sum_up(times: &[i64], numbers: impl Iterator<Item = f64>, step: Step, buckets: &mut Vec<Bucket>) {
    let mut open: Option<(i64, Bucket)> = None;
    for (at, number) in times.iter().zip(numbers) {
        match &mut open {
            Some((end, bucket)) if at < end => {
                bucket.count += 1;
                bucket.min = bucket.min.min(number);
                bucket.max = bucket.max.max(number);
                bucket.sum += number;
                bucket.last = number;
            }
            _ => {
                if let Some((_, bucket)) = open.take() {
                    add(buckets, &bucket);
                }
                let start = step.floor(Timestamp(*at));
                open = Some((start.0.saturating_add(step.micros()), Bucket::of(start, number)));
            }
        }
    }
    if let Some((_, bucket)) = open {
        add(buckets, &bucket);
    }
}

/// Adds what comes after everything in `buckets`.
pub(crate) fn add(buckets: &mut Vec<Bucket>, later: &Bucket) {
    match buckets.last_mut() {
        Some(bucket) if bucket.at == later.at => bucket.merge(later),
        _ => buckets.push(*later),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_times_the_first_is_kept() {
        let mut points = Points::new(Kind::Number);
        for (at, n) in [(3, 1.0), (1, 2.0), (3, 3.0), (2, 4.0), (1, 5.0)] {
            points.push(at, Value::Number(n)).unwrap();
        }
        assert_eq!(points.tidy(), 2);
        assert_eq!(points.times(), [1, 2, 3]);
        assert_eq!(points.values(), &Values::Numbers(vec![2.0, 4.0, 1.0]));
        assert_eq!(points.tidy(), 0);
        assert_eq!(points.range(Timestamp(2), Timestamp(9)), 1..3);
        assert_eq!(points.range(Timestamp(9), Timestamp(2)), 3..3);
    }

    #[test]
    fn another_kind_is_damage() {
        let mut points = Points::new(Kind::Bool);
        assert!(matches!(points.push(1, Value::Number(1.0)), Err(StoreError::Corrupt(_))));
        assert_eq!(points.len(), 0);
    }
}
