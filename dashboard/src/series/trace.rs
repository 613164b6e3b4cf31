//! What a chart draws of one series: columns at most about a pixel wide, or single readings where there are few.
//!
//! Columns are whole buckets of one rung, or stretches of a fixed width where single readings are shown. Both are
//! anchored in absolute time, so scrolling moves columns and never changes them.

use std::collections::BTreeMap;

use protocol::{SeriesId, Step, Timestamp};

use super::rollup::{Indexed, Rollup, index_of};
use super::tiles::{Content, Fineness, TileKey, Tiles};
use super::{Series, SeriesStore};

/// The shortest silence that is a gap, whatever the cadence. Chosen: a hiccup of the network is not an outage.
const GAP_MIN_MICROS: i64 = 2_000_000;
/// How many times the usual distance between readings makes a gap. Chosen: one or two lost readings do not.
const GAP_CADENCES: i64 = 3;
/// How many times the longest usual distance makes a gap. Chosen: some send in bursts, and a burst's end is no gap.
const GAP_LONGEST: i64 = 2;
/// The least gap of a series whose cadence is known. Chosen: a device that is busy for so long is not silent.
const GAP_LEARNED_MIN_MICROS: i64 = 50_000;
/// From this many readings a pixel on, single readings become columns.
const DENSE: f64 = 2.0;

/// The distance between two readings from which on there is a gap, where `cadence` is all that is known.
pub(super) fn gap_of(cadence: i64) -> i64 {
    cadence.saturating_mul(GAP_CADENCES).max(GAP_MIN_MICROS)
}

/// The readings of one column, or one reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column {
    /// The middle of the column, or the time of the reading; microseconds.
    pub at: i64,
    /// Number of readings.
    pub count: u32,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
}

impl Column {
    const fn reading(at: i64, value: f64) -> Self {
        Self { at, count: 1, min: value, max: value, mean: value }
    }

    fn of(at: i64, rollup: &Rollup) -> Self {
        Self { at, count: rollup.count, min: rollup.min, max: rollup.max, mean: rollup.mean() }
    }
}

/// What a chart draws of one series.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trace {
    /// Ascending in time. One more on each side of the view, if known, so that lines reach its edges.
    pub columns: Vec<Column>,
    /// Width of a column in microseconds; 0 if each is a single reading.
    pub width: i64,
    /// A silence longer than this between two columns is a gap.
    pub gap: i64,
    /// The usual distance between readings, in microseconds: the median of those in view; 0 while it is not known.
    pub cadence: i64,
    /// Whether history is still missing from it.
    pub is_partial: bool,
    /// What retention has left where it took the readings away: buckets by their middle, each with its width, ascending.
    pub thinned: Vec<(Column, i64)>,
}

impl Trace {
    /// Whether there is a gap between a column and the next.
    pub const fn is_gap(&self, earlier: &Column, later: &Column) -> bool {
        later.at - earlier.at - self.width >= self.gap
    }

    /// The stretches without a gap.
    pub fn runs(&self) -> impl Iterator<Item = &[Column]> {
        self.columns.chunk_by(|a, b| !self.is_gap(a, b))
    }

    /// The column nearest to `at`, unless it is further away than data can be there.
    ///
    /// Inside a gap that is half the cadence: nothing is said of a time that no reading stands for.
    pub fn nearest(&self, at: Timestamp) -> Option<&Column> {
        let (before, after) = self.around(at);
        let nearest = [before, after].into_iter().flatten().min_by_key(|column| (column.at - at.0).abs())?;
        let is_in_gap = before.zip(after).is_some_and(|(before, after)| self.is_gap(before, after));
        let reach = if is_in_gap && self.cadence > 0 { self.cadence / 2 } else { self.gap / 2 };
        let near = ((nearest.at - at.0).abs() - self.width / 2 <= reach).then_some(nearest);
        near.or_else(|| self.thinned_at(at))
    }

    /// What retention has left at `at`.
    fn thinned_at(&self, at: Timestamp) -> Option<&Column> {
        let held = self.thinned.iter().find(|(column, width)| (column.at - at.0).abs() <= width / 2);
        held.map(|(column, _)| column)
    }

    /// The columns before and after `at`; one at that time counts as after.
    pub fn around(&self, at: Timestamp) -> (Option<&Column>, Option<&Column>) {
        let after = self.columns.partition_point(|column| column.at < at.0);
        (after.checked_sub(1).and_then(|i| self.columns.get(i)), self.columns.get(after))
    }

    /// The column that holds at `at`: the newest that is not later. What a state means between two readings.
    pub fn holding(&self, at: Timestamp) -> Option<&Column> {
        let after = self.columns.partition_point(|column| column.at - self.width / 2 <= at.0);
        after.checked_sub(1).and_then(|i| self.columns.get(i))
    }
}

impl SeriesStore {
    /// Fills `trace` with what is known of a series in a view.
    pub fn trace(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        micros_per_pixel: f64,
        trace: &mut Trace,
    ) {
        trace.columns.clear();
        trace.width = 0;
        trace.is_partial = false;
        trace.thinned.clear();
        trace.cadence = 0;
        let Some(series) = self.series.get(&series) else {
            trace.gap = GAP_MIN_MICROS;
            return;
        };
        // Charts differ in width; what was asked for fits the widest, and the others fold more buckets into a column.
        let asked_for = series.asked_for.filter(|_| series.shown_in == self.round && self.round > 0);
        let fineness = asked_for.unwrap_or_else(|| series.fineness(from, to, micros_per_pixel));
        match fineness {
            Fineness::Raw(_) => series.trace_readings(fineness, from.0, to.0, micros_per_pixel, trace),
            Fineness::Buckets(step) => {
                let fold = (micros_per_pixel / step.micros() as f64).round().max(1.0) as i64;
                series.trace_buckets(fineness, step, fold, from.0, to.0, trace);
            }
        }
        let missing = series.missing(fineness, from.0, to.0);
        let known = trace.columns.len();
        if !missing.is_empty() {
            trace.is_partial = true;
            series.fill(&missing, from.0, to.0, micros_per_pixel, trace);
        }
        trace.is_partial |= series.has_open_hole(fineness, from.0, to.0, &self.holes);
        series.thin(fineness, from.0, to.0, trace);
        let careful = gap_of(series.cadence.unwrap_or(0));
        match learn(trace) {
            Some((cadence, gap)) => {
                trace.cadence = cadence;
                // Coarse tiles that stand in for what is on its way say nothing of distances.
                trace.gap = if trace.columns.len() > known { gap.max(careful) } else { gap };
            }
            None => {
                trace.cadence = series.cadence.unwrap_or(0);
                trace.gap = careful;
            }
        }
    }

    /// The newest reading before `at` that is held one by one: the state that a view begins with.
    pub fn before(&self, series: SeriesId, at: Timestamp) -> Option<(Timestamp, f64)> {
        let series = self.series.get(&series)?;
        let live = series.samples.before(at.0);
        let tiles = series
            .tiles
            .filled(i64::MIN, at.0)
            .filter_map(|(_, content)| content.readings(i64::MIN, at.0).next_back());
        tiles.chain(live).max_by_key(|(time, _)| *time).map(|(time, value)| (Timestamp(time), value))
    }
}

impl Series {
    /// Single readings, or columns of them where they are dense.
    fn trace_readings(
        &self,
        fineness: Fineness,
        from: i64,
        to: i64,
        micros_per_pixel: f64,
        trace: &mut Trace,
    ) {
        let margin = self.gap_micros();
        let (from, to) = (from.saturating_sub(margin), to.saturating_add(margin));
        let tiles = || Tiles::keys(fineness, from, to).filter_map(|key| self.tiles.content(key));
        let history = tiles().flat_map(|content| content.readings(from, to));
        let live = self.samples.range(from, to);
        let fetched: usize = tiles().map(|content| content.count(from, to)).sum();
        let count = fetched.max(self.samples.count(from, to));
        let columns = &mut trace.columns;
        if (count as f64) <= (to - from) as f64 / micros_per_pixel * DENSE {
            join_by_time(history, live, |at, value| columns.push(Column::reading(at, value)));
            return;
        }
        let width = micros_per_pixel.round().max(1.0) as i64;
        trace.width = width;
        let (mut open, mut end) = (Rollup::EMPTY, i64::MIN);
        join_by_time(history, live, |at, value| {
            if at < end {
                open.add(&Rollup::of(value));
                return;
            }
            if open.count > 0 {
                columns.push(Column::of(end - width + width / 2, &open));
            }
            open = Rollup::of(value);
            end = (at.div_euclid(width) + 1) * width;
        });
        if open.count > 0 {
            columns.push(Column::of(end - width + width / 2, &open));
        }
    }

    /// Columns of `fold` whole buckets.
    fn trace_buckets(
        &self,
        fineness: Fineness,
        step: Step,
        fold: i64,
        from: i64,
        to: i64,
        trace: &mut Trace,
    ) {
        let width = step.micros() * fold;
        trace.width = width;
        let (first, end) = (from.div_euclid(width) - 1, to.div_euclid(width) + 2);
        let (from, to) = (first * width, end * width);
        let mut live = Vec::new();
        self.samples.rollups(step, from, to, |bucket| live.push(bucket));
        let mut live = live.into_iter().peekable();
        let mut open: Option<(i64, Rollup)> = None;
        let columns = &mut trace.columns;
        let mut add = |bucket: Indexed| {
            let index = bucket.index.div_euclid(fold);
            match &mut open {
                Some((column, rollup)) if *column == index => rollup.add(&bucket.rollup),
                _ => {
                    if let Some((column, rollup)) = open.replace((index, bucket.rollup)) {
                        columns.push(Column::of(column * width + width / 2, &rollup));
                    }
                }
            }
        };
        for key in Tiles::keys(fineness, from, to) {
            let Some(Content::Buckets(buckets)) = self.tiles.content(key) else { continue };
            let start = buckets.partition_point(|bucket| bucket.index < index_of(from, step));
            for bucket in &buckets[start..] {
                if bucket.index.saturating_mul(step.micros()) >= to {
                    break;
                }
                while let Some(earlier) = live.next_if(|l| l.index < bucket.index) {
                    add(earlier);
                }
                let mut bucket = *bucket;
                if let Some(same) = live.next_if(|l| l.index == bucket.index) {
                    bucket.rollup.join(&same.rollup);
                }
                add(bucket);
            }
        }
        live.for_each(&mut add);
        if let Some((column, rollup)) = open {
            columns.push(Column::of(column * width + width / 2, &rollup));
        }
    }

    /// The tiles of a view that are not there and that live data do not tell.
    fn missing(&self, fineness: Fineness, from: i64, to: i64) -> Vec<TileKey> {
        let live_from = self.live_from.unwrap_or(i64::MAX);
        Tiles::keys(fineness, from, to)
            .filter(|key| key.from().max(from) < live_from)
            .filter(|key| self.tiles.slots.get(key).is_none_or(|slot| slot.content.is_none()))
            .collect()
    }

    /// Whether live readings were left out of a view and history has not filled that in yet.
    fn has_open_hole(&self, fineness: Fineness, from: i64, to: i64, holes: &[(i64, i64)]) -> bool {
        // Where history tells alone, what is out of date may lack something.
        let history_to = to.min(self.live_from.unwrap_or(i64::MAX));
        let is_old = Tiles::keys(fineness, from, history_to).any(|key| {
            let slot = self.tiles.slots.get(&key);
            slot.is_some_and(|slot| slot.content.is_some() && (slot.is_stale || slot.request.is_some()))
        });
        if is_old {
            return true;
        }
        let in_view = holes.iter().filter(|(first, last)| *first < to && *last >= from);
        in_view.into_iter().any(|&(first, last)| {
            let (first, end) = (first.max(from), last.saturating_add(1).min(to));
            Tiles::keys(fineness, first, end).any(|key| {
                let Some(slot) = self.tiles.slots.get(&key) else { return true };
                let is_old = slot.is_stale || slot.request.is_some() || slot.known_to < end.min(key.to());
                slot.content.is_none() || is_old
            })
        })
    }

    /// Adds what retention has left of readings that it took away: buckets in which nothing finer is known.
    fn thin(&self, fineness: Fineness, from: i64, to: i64, trace: &mut Trace) {
        for (key, step) in self.tiles.left_by_retention(fineness, from, to) {
            let width = step.micros();
            let Some(Content::Buckets(buckets)) = self.tiles.content(key) else {
                trace.is_partial = true;
                continue;
            };
            for bucket in buckets {
                let start = bucket.index.saturating_mul(width);
                let end = start.saturating_add(width);
                if end <= from || start >= to {
                    continue;
                }
                let first = trace.columns.partition_point(|column| column.at < start);
                if trace.columns.get(first).is_none_or(|column| column.at >= end) {
                    trace.thinned.push((Column::of(start + width / 2, &bucket.rollup), width));
                }
            }
        }
        trace.thinned.sort_by_key(|(column, _)| column.at);
    }

    /// Fills empty columns of missing tiles from finer tiles, and from coarser ones what then is left.
    fn fill(&self, missing: &[TileKey], from: i64, to: i64, micros_per_pixel: f64, trace: &mut Trace) {
        let width = if trace.width > 0 { trace.width } else { micros_per_pixel.round().max(1.0) as i64 };
        let columns = &trace.columns;
        let is_taken = |column: i64| {
            let next = columns.partition_point(|c| c.at.div_euclid(width) < column);
            columns.get(next).is_some_and(|c| c.at.div_euclid(width) == column)
        };
        let is_free = |column: i64| {
            let at = column * width;
            at >= from
                && at <= to
                && !is_taken(column)
                && missing.iter().any(|k| (k.from()..k.to()).contains(&at))
        };
        let mut filled: BTreeMap<i64, Rollup> = BTreeMap::new();
        let mut of_level: BTreeMap<i64, Rollup> = BTreeMap::new();
        let mut level = None;
        for (key, content) in self.tiles.filled(from, to) {
            if level.replace(key.fineness) != Some(key.fineness) {
                take_over(&mut filled, &mut of_level);
            }
            let mut add = |at: i64, rollup: &Rollup| {
                let grain = key.fineness.grain();
                let end = at.saturating_add(grain).min(to);
                let last = if grain <= width { at } else { end - 1 };
                for column in at.max(from - width).div_euclid(width)..=last.div_euclid(width) {
                    if is_free(column) && !filled.contains_key(&column) {
                        of_level.entry(column).or_insert(Rollup::EMPTY).add(rollup);
                    }
                }
            };
            match content {
                Content::Readings(_) => {
                    for (at, value) in content.readings(from, to) {
                        add(at, &Rollup::of(value));
                    }
                }
                Content::Buckets(buckets) => {
                    for bucket in buckets {
                        add(bucket.index.saturating_mul(key.fineness.grain()), &bucket.rollup);
                    }
                }
            }
        }
        take_over(&mut filled, &mut of_level);
        if filled.is_empty() {
            return;
        }
        trace.width = width;
        trace
            .columns
            .extend(filled.iter().map(|(column, rollup)| Column::of(column * width + width / 2, rollup)));
        trace.columns.sort_by_key(|column| column.at);
    }
}

/// Moves the columns that one level filled to those of the finer levels, which go first.
fn take_over(filled: &mut BTreeMap<i64, Rollup>, of_level: &mut BTreeMap<i64, Rollup>) {
    for (column, rollup) in std::mem::take(of_level) {
        filled.entry(column).or_insert(rollup);
    }
}

/// Says the readings of both in order of time; of one time only the first's.
fn join_by_time(
    first: impl Iterator<Item = (i64, f64)>,
    second: impl Iterator<Item = (i64, f64)>,
    mut say: impl FnMut(i64, f64),
) {
    let mut second = second.peekable();
    for (at, value) in first {
        while let Some((at, value)) = second.next_if(|(other, _)| *other < at) {
            say(at, value);
        }
        second.next_if(|(other, _)| *other == at);
        say(at, value);
    }
    for (at, value) in second {
        say(at, value);
    }
}

/// The usual distance between the readings of a trace, and the distance from which on there is a gap.
///
/// The usual distance is the median, so that outages and bursts do not move it. A gap is [`GAP_CADENCES`] of it, and
/// longer than nine in ten of all distances by [`GAP_LONGEST`]. `None` with fewer than three distances.
fn learn(trace: &Trace) -> Option<(i64, i64)> {
    /// Distances looked at; it needs no more.
    const SAMPLES: usize = 256;
    let stride = trace.columns.len() / SAMPLES + 1;
    let mut distances: Vec<i64> = trace
        .columns
        .windows(2)
        .step_by(stride)
        .map(|pair| match pair[0].count {
            count if count >= 2 && trace.width > 0 => trace.width / i64::from(count),
            _ => pair[1].at - pair[0].at,
        })
        .collect();
    if distances.len() < 3 {
        return None;
    }
    distances.sort_unstable();
    let cadence = distances[distances.len() / 2];
    // Of a few distances the longest may be an outage: it is not usual.
    let longest = distances[(distances.len() - 2).min(distances.len() * 9 / 10)];
    let gap = cadence.saturating_mul(GAP_CADENCES).max(longest.saturating_mul(GAP_LONGEST));
    Some((cadence, gap.max(GAP_LEARNED_MIN_MICROS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learned(times: impl IntoIterator<Item = i64>) -> Option<(i64, i64)> {
        let columns = times.into_iter().map(|at| Column::reading(at, 0.0)).collect();
        learn(&Trace { columns, ..Trace::default() })
    }

    #[test]
    fn the_cadence_is_learned_and_neither_outages_nor_lost_readings_move_it() {
        let second = 1_000_000;
        let steady = (0..100).map(|i| i * second);
        assert_eq!(learned(steady.clone()), Some((second, 3 * second)));
        let with_outages = steady.filter(|at| !matches!(at / second, 20..30 | 60..75 | 90));
        assert_eq!(learned(with_outages), Some((second, 3 * second)));
        // An outage among a handful of readings is one all the same.
        assert_eq!(learned([0, 1, 2, 60, 61].map(|s| s * second)), Some((second, 3 * second)));
        assert_eq!(learned([0, second]), None);
    }

    #[test]
    fn a_fast_series_has_short_gaps_and_a_slow_one_long_ones() {
        assert_eq!(learned((0..50).map(|i| i * 100_000)), Some((100_000, 300_000)));
        assert_eq!(learned((0..50).map(|i| i * 60_000_000)), Some((60_000_000, 180_000_000)));
    }

    #[test]
    fn the_pause_between_bursts_is_no_gap() {
        // Five readings within 4 ms, every second.
        let (cadence, gap) = learned((0..200).map(|i| i / 5 * 1_000_000 + i % 5 * 1_000)).expect("many");
        assert_eq!(cadence, 1_000);
        assert!(gap > 1_000_000, "{gap}");
    }

    #[test]
    fn inside_a_gap_only_what_is_near_a_reading_is_said() {
        let columns: Vec<_> = [0, 10, 20, 30, 130, 140].map(|at| Column::reading(at, 1.0)).into();
        let trace = Trace { columns, gap: 30, cadence: 10, ..Trace::default() };
        let said = |at| trace.nearest(Timestamp(at)).map(|column| column.at);
        assert_eq!([25, 35, 36, 124, 125].map(said), [Some(20), Some(30), None, None, Some(130)]);
        assert_eq!((said(-15), said(155), said(156)), (Some(0), Some(140), None));
    }
}
