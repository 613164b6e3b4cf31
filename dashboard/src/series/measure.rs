//! What a stretch of a series amounts to: its extremes, mean, change, rate and integral. A pure function of its trace.

use protocol::{SeriesId, Timestamp};

use super::{Column, SeriesStore, Trace};

/// A stretch with at most twice as many readings is measured reading by reading; beyond it, by columns of so many.
/// Chosen: it is done again with every frame in which readings arrive.
const COLUMNS: i64 = 4_000;

/// What a stretch of a series amounts to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// Number of readings in it.
    pub count: u64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Arithmetic mean of the readings, each counted once: where they are denser they weigh more. It is not weighted by
    /// time; `integral` divided by `covered` is.
    pub mean: f64,
    /// Time of the first reading in microseconds, and its value.
    pub first: (i64, f64),
    /// Time of the last reading in microseconds, and its value.
    pub last: (i64, f64),
    /// The area under the line that is drawn, from edge to edge, in the unit of the series times seconds. Nothing is
    /// added for gaps, nor outside of the first and last reading that are known.
    pub integral: f64,
    /// The time that the integral covers, in microseconds: the stretch less its gaps.
    pub covered: i64,
    /// The time in the stretch in which no readings are known, in microseconds: its gaps.
    pub silent: i64,
    /// Width of the columns that it is made of, in microseconds: readings at the edges may belong to the other side. 0:
    /// it is made of single readings.
    pub bucket: i64,
    /// Width of the widest bucket that retention has left instead of readings; 0 if none is part of it.
    pub thinned: i64,
    /// Whether history is still missing from it.
    pub is_partial: bool,
}

impl Measure {
    /// Measures what of a trace lies from `from` up to and including `to`; `None` if there is nothing.
    pub fn of(trace: &Trace, from: Timestamp, to: Timestamp) -> Option<Self> {
        let (from, to) = (from.0.min(to.0), from.0.max(to.0));
        let start = trace.columns.partition_point(|column| column.at < from);
        let end = trace.columns.partition_point(|column| column.at <= to);
        let whole = trace.columns.get(start..end)?;
        // What retention has left of the rest: it counts where its middle lies.
        let left: Vec<(Column, i64)> =
            trace.thinned.iter().filter(|(column, _)| (from..=to).contains(&column.at)).copied().collect();
        let mut all: Vec<Column> = Vec::new();
        let inside = if left.is_empty() {
            whole
        } else {
            all.extend(whole.iter().chain(left.iter().map(|(column, _)| column)));
            all.sort_by_key(|column| column.at);
            all.as_slice()
        };
        let (first, last) = (inside.first()?, inside.last()?);
        let count = inside.iter().map(|column| u64::from(column.count)).sum::<u64>();
        // Weighed one by one, so that the sum of large numbers does not overflow.
        let share = |column: &Column| f64::from(column.count) / count.max(1) as f64;
        let (mut integral, mut covered, mut silent) = (0.0, 0, 0);
        let around = trace.columns.get(start.saturating_sub(1)..trace.columns.len().min(end + 1))?;
        for pair in around.windows(2) {
            let [earlier, later] = pair else { continue };
            let (left, right) = (earlier.at.max(from), later.at.min(to));
            if trace.is_gap(earlier, later) {
                silent += (right - left - trace.width).max(0);
                continue;
            }
            let height = line(earlier, later, left).midpoint(line(earlier, later, right));
            integral += height * (right - left) as f64 / 1e6;
            covered += right - left;
        }
        // Where nothing is known before the first or after the last, that is silence too.
        let ends = [
            around.first().map_or(to - from, |first| first.at.max(from) - from),
            around.last().map_or(0, |last| to - last.at.min(to)),
        ];
        silent += ends.into_iter().filter(|end| *end >= trace.gap + trace.width).sum::<i64>();
        for (column, width) in &left {
            let (start, end) = ((column.at - width / 2).max(from), (column.at + width / 2).min(to));
            integral += column.mean * (end - start) as f64 / 1e6;
            covered += end - start;
            silent -= end - start;
        }
        Some(Self {
            count,
            min: inside.iter().map(|column| column.min).fold(f64::INFINITY, f64::min),
            max: inside.iter().map(|column| column.max).fold(f64::NEG_INFINITY, f64::max),
            mean: inside.iter().map(|column| column.mean * share(column)).sum(),
            first: (first.at, first.mean),
            last: (last.at, last.mean),
            integral,
            covered,
            silent: silent.max(0),
            bucket: trace.width,
            thinned: left.iter().map(|(_, width)| *width).max().unwrap_or(0),
            is_partial: trace.is_partial,
        })
    }

    /// How much larger the last value is than the first.
    pub const fn change(&self) -> f64 {
        self.last.1 - self.first.1
    }

    /// The change in a second; `None` of a single reading.
    pub fn rate(&self) -> Option<f64> {
        let micros = self.last.0 - self.first.0;
        (micros > 0).then(|| self.change() * 1e6 / micros as f64)
    }
}

/// The value of the line between two columns.
fn line(earlier: &Column, later: &Column, at: i64) -> f64 {
    let share = (at - earlier.at) as f64 / (later.at - earlier.at).max(1) as f64;
    earlier.mean + (later.mean - earlier.mean) * share
}

impl SeriesStore {
    /// Measures a stretch of a series of numbers as far as it is known; `None` if nothing is.
    pub fn measure(&self, series: SeriesId, from: Timestamp, to: Timestamp) -> Option<Measure> {
        let mut trace = Trace::default();
        let (from, to) = (from.min(to), from.max(to));
        let micros_per_column = (to.micros_since(from) / COLUMNS).max(1) as f64;
        self.trace(series, from, to, micros_per_column, &mut trace);
        Measure::of(&trace, from, to)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    fn trace(points: &[(i64, f64)]) -> Trace {
        let columns =
            points.iter().map(|&(at, v)| Column { at, count: 1, min: v, max: v, mean: v }).collect();
        Trace { columns, gap: 3 * SECOND, cadence: SECOND, ..Trace::default() }
    }

    #[test]
    fn a_ramp_is_measured_from_edge_to_edge() {
        let ramp: Vec<_> = (0..=10).map(|s| (s * SECOND, s as f64)).collect();
        let found =
            Measure::of(&trace(&ramp), Timestamp(5 * SECOND / 2), Timestamp(15 * SECOND / 2)).unwrap();
        assert_eq!((found.count, found.min, found.max), (5, 3.0, 7.0));
        assert!((found.mean - 5.0).abs() < 1e-12, "{}", found.mean);
        assert_eq!((found.change(), found.rate()), (4.0, Some(1.0)));
        assert_eq!((found.integral, found.covered), (25.0, 5 * SECOND));
    }

    #[test]
    fn nothing_is_added_for_a_gap_and_nothing_found_where_nothing_is() {
        let points = [(0, 2.0), (SECOND, 2.0), (60 * SECOND, 8.0), (61 * SECOND, 8.0)];
        let trace = trace(&points);
        let all = Measure::of(&trace, Timestamp(0), Timestamp(61 * SECOND)).unwrap();
        assert_eq!((all.integral, all.covered, all.mean), (10.0, 2 * SECOND, 5.0));
        assert_eq!((all.silent, all.bucket, all.thinned), (59 * SECOND, 0, 0));
        let into_it = Measure::of(&trace, Timestamp(SECOND), Timestamp(30 * SECOND)).unwrap();
        assert_eq!((into_it.count, into_it.silent), (1, 29 * SECOND));
        let beyond = Measure::of(&trace, Timestamp(60 * SECOND), Timestamp(80 * SECOND)).unwrap();
        assert_eq!((beyond.count, beyond.silent), (2, 19 * SECOND));
        assert_eq!(Measure::of(&trace, Timestamp(10 * SECOND), Timestamp(50 * SECOND)), None);
        let one = Measure::of(&trace, Timestamp(0), Timestamp(0)).unwrap();
        assert_eq!((one.count, one.rate(), one.integral), (1, None, 0.0));
    }

    #[test]
    fn what_retention_has_left_is_measured_as_the_buckets_that_it_is() {
        let mut trace = trace(&[(60 * SECOND, 8.0), (61 * SECOND, 8.0)]);
        let bucket = Column { at: 30 * SECOND, count: 60, min: 1.0, max: 5.0, mean: 2.0 };
        trace.thinned.push((bucket, 60 * SECOND));
        let all = Measure::of(&trace, Timestamp(0), Timestamp(61 * SECOND)).unwrap();
        assert_eq!((all.count, all.min, all.max), (62, 1.0, 8.0));
        assert_eq!((all.thinned, all.silent), (60 * SECOND, 0));
        assert_eq!((all.integral, all.covered), (2.0 * 60.0 + 8.0, 61 * SECOND));
        assert_eq!(all.first, (30 * SECOND, 2.0));
        let alone = Measure::of(&trace, Timestamp(0), Timestamp(50 * SECOND)).unwrap();
        assert_eq!((alone.count, alone.covered), (60, 50 * SECOND));
    }

    proptest! {
        #[test]
        fn it_says_what_a_plain_list_says(
            points in prop::collection::btree_map(0..200i64, -50.0..50.0f64, 1..60),
            a in 0..200i64,
            b in 0..200i64,
        ) {
            let points: Vec<_> = points.into_iter().map(|(s, v)| (s * SECOND / 2, v)).collect();
            let (from, to) = (a.min(b) * SECOND / 2, a.max(b) * SECOND / 2);
            let found = Measure::of(&trace(&points), Timestamp(from), Timestamp(to));
            let inside: Vec<_> = points.iter().filter(|(at, _)| (from..=to).contains(at)).collect();
            let Some(found) = found else {
                prop_assert!(inside.is_empty());
                return Ok(());
            };
            let n = inside.len();
            prop_assert_eq!(found.count, n as u64);
            prop_assert!(inside.iter().all(|(_, v)| (found.min..=found.max).contains(v)));
            prop_assert!(inside.iter().any(|(_, v)| *v == found.min) && inside.iter().any(|(_, v)| *v == found.max));
            prop_assert!((found.mean - inside.iter().map(|(_, v)| v).sum::<f64>() / n as f64).abs() < 1e-9);
            prop_assert_eq!((found.first, found.last), (*inside[0], *inside[n - 1]));
            // The area in slices of a tenth of a second, each at the height of the line in its middle.
            let slice = SECOND / 10;
            let mut area = 0.0;
            for at in (from + slice / 2..to).step_by(slice as usize) {
                let after = points.partition_point(|(t, _)| *t < at);
                let (Some(l), Some(r)) = (after.checked_sub(1).map(|i| points[i]), points.get(after)) else {
                    continue;
                };
                if r.0 - l.0 < 3 * SECOND {
                    area += (l.1 + (r.1 - l.1) * (at - l.0) as f64 / (r.0 - l.0) as f64) * 0.1;
                }
            }
            prop_assert!((found.integral - area).abs() < 1e-6, "{} {area}", found.integral);
        }
    }
}
