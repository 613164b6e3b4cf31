//! The readings of one series that arrived live: sorted by time, with rollups beside them.
//!
//! Readings lie in chunks of at most [`CHUNK`], ascending, one for each time: the first that came wins, as in the hub.
//! All chunks but the last are packed.
//! A rollup level is kept where it saves at least [`WORTH`] entries a bucket, and is updated with every reading, so
//! that a view of any width reads a bounded number of entries for each column.

use std::collections::VecDeque;

use protocol::Step;

use super::chunk::Chunk;
use super::rollup::{Indexed, Rollup, index_of};

/// Readings in a chunk. Chosen: an insertion in the middle moves 8 KiB at most.
const CHUNK: usize = 1_024;
/// Memory of a reading that is not packed.
const PLAIN_BYTES: usize = 16;
/// Entries of the next finer level that a bucket must replace to be worth keeping.
const WORTH: i64 = 4;
/// Readings that a bucket of the finest level must replace. Chosen: a bucket takes as much memory as five readings.
const WORTH_FIRST: i64 = 20;

/// What became of a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Inserted {
    /// It is the newest.
    Appended,
    /// It came late and has its place among the others.
    Late,
    /// There is one of this time already.
    Duplicate,
}

#[derive(Debug)]
struct Level {
    step: Step,
    /// It knows the readings from here on; a multiple of its step, or `i64::MIN`.
    since: i64,
    buckets: VecDeque<Indexed>,
}

/// The readings of one series.
#[derive(Debug, Default)]
pub(super) struct Samples {
    chunks: VecDeque<Chunk>,
    levels: Vec<Level>,
    len: usize,
    /// Memory of the chunks.
    chunk_bytes: usize,
    /// Chunks before the last that a late reading has unpacked.
    unpacked: bool,
}

impl Samples {
    /// Number of readings.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Memory of the readings and their rollups, without what allocation rounds up.
    pub(super) fn bytes(&self) -> usize {
        self.chunk_bytes + self.levels.iter().map(|l| l.buckets.len() * size_of::<Indexed>()).sum::<usize>()
    }

    /// Time of the newest reading.
    pub(super) fn newest(&self) -> Option<i64> {
        self.chunks.back().and_then(Chunk::last)
    }

    /// Time of the oldest reading.
    pub(super) fn oldest(&self) -> Option<i64> {
        self.chunks.front().and_then(Chunk::first)
    }

    /// The median distance between the newest readings.
    pub(super) fn cadence(&self) -> Option<i64> {
        let mut distances: Vec<i64> = Vec::with_capacity(32);
        let mut later = None;
        for chunk in self.chunks.iter().rev().take(2) {
            for time in (0..chunk.len()).rev().map(|i| chunk.reading(i).0) {
                if let Some(later) = later {
                    distances.push(later - time);
                }
                later = Some(time);
                if distances.len() == 31 {
                    break;
                }
            }
        }
        (distances.len() >= 3).then(|| median(&mut distances))
    }

    /// Puts a reading at its place. `value` must be finite.
    pub(super) fn insert(&mut self, at: i64, value: f64) -> Inserted {
        let inserted = if self.newest().is_none_or(|newest| at > newest) {
            self.append(at, value);
            Inserted::Appended
        } else if self.insert_late(at, value) {
            Inserted::Late
        } else {
            return Inserted::Duplicate;
        };
        self.len += 1;
        for level in &mut self.levels {
            level.add(at, &Rollup::of(value));
        }
        inserted
    }

    fn append(&mut self, at: i64, value: f64) {
        if self.chunks.back().is_none_or(|chunk| chunk.len() >= CHUNK) {
            self.keep_levels();
            self.pack();
            self.chunks.push_back(Chunk::default());
        }
        if let Some(chunk) = self.chunks.back_mut() {
            chunk.push(at, value);
            self.chunk_bytes += PLAIN_BYTES;
        }
    }

    /// Packs the last chunk, which is full, and those that late readings have unpacked.
    fn pack(&mut self) {
        let skip = if std::mem::take(&mut self.unpacked) { 0 } else { self.chunks.len().saturating_sub(1) };
        for chunk in self.chunks.range_mut(skip..) {
            self.chunk_bytes -= chunk.bytes();
            chunk.pack();
            self.chunk_bytes += chunk.bytes();
        }
    }

    /// Returns whether the time was free.
    fn insert_late(&mut self, at: i64, value: f64) -> bool {
        let place = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last < at));
        let is_last = place + 1 == self.chunks.len();
        let Some(chunk) = self.chunks.get_mut(place) else { return false };
        let i = chunk.before(at);
        if i < chunk.len() && chunk.reading(i).0 == at {
            return false;
        }
        self.chunk_bytes -= chunk.bytes();
        chunk.insert(i, at, value);
        self.chunk_bytes += chunk.bytes();
        self.unpacked |= !is_last;
        if chunk.len() > CHUNK {
            let upper = chunk.split_off(chunk.len() / 2);
            self.chunks.insert(place + 1, upper);
            self.unpacked = true;
        }
        true
    }

    /// Adds the levels that the cadence of the newest chunk makes worth keeping, from that chunk on: what came before at a
    /// slower cadence would fill a bucket with each reading.
    fn keep_levels(&mut self) {
        let Some(chunk) = self.chunks.back() else { return };
        let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else { return };
        let is_only = self.chunks.len() == 1;
        let mut finer = ((last - first) / chunk.len().max(1) as i64).max(1);
        for step in Step::ALL {
            let is_finest = self.levels.first().is_none_or(|finest| step < finest.step);
            let worth = if is_finest { WORTH_FIRST } else { WORTH };
            if self.levels.iter().any(|level| level.step == step) {
                finer = step.micros();
            } else if step.micros() >= finer.saturating_mul(worth) {
                let width = step.micros();
                let since = if is_only { i64::MIN } else { first.div_euclid(width) * width };
                let mut level = Level { step, since, buckets: VecDeque::new() };
                self.rollups(step, since, i64::MAX, |bucket| level.buckets.push_back(bucket));
                let place = self.levels.partition_point(|l| l.step < step);
                self.levels.insert(place, level);
                finer = step.micros();
            }
        }
    }

    /// The readings of `from <= time < to`, ascending.
    pub(super) fn range(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, f64)> + '_ {
        self.chunks_of(from, to).flat_map(move |chunk| chunk.range(from, to))
    }

    /// The number of readings of `from <= time < to`.
    pub(super) fn count(&self, from: i64, to: i64) -> usize {
        self.chunks_of(from, to).map(|chunk| chunk.range(from, to).len()).sum()
    }

    /// The chunks that may have readings of `from <= time < to`.
    fn chunks_of(&self, from: i64, to: i64) -> impl Iterator<Item = &Chunk> {
        let first = self.chunks.partition_point(|chunk| chunk.last().is_some_and(|last| last < from));
        self.chunks.range(first..).take_while(move |chunk| chunk.first().is_some_and(|first| first < to))
    }

    /// The newest reading before `at`.
    pub(super) fn before(&self, at: i64) -> Option<(i64, f64)> {
        let after = self.chunks.partition_point(|chunk| chunk.first().is_some_and(|first| first < at));
        let chunk = self.chunks.get(after.checked_sub(1)?)?;
        Some(chunk.reading(chunk.before(at).checked_sub(1)?))
    }

    /// Says the buckets of `step` that overlap `from..to` and hold readings, ascending, each whole.
    pub(super) fn rollups(&self, step: Step, from: i64, to: i64, mut say: impl FnMut(Indexed)) {
        let width = step.micros();
        let (first, end) = (from.div_euclid(width), to.saturating_sub(1).div_euclid(width).saturating_add(1));
        let mut open: Option<Indexed> = None;
        let mut add = |index: i64, rollup: &Rollup| match &mut open {
            Some(bucket) if bucket.index == index => bucket.rollup.add(rollup),
            _ => {
                if let Some(bucket) = open.replace(Indexed { index, rollup: *rollup }) {
                    say(bucket);
                }
            }
        };
        let (mut start, stop) = (first.saturating_mul(width), end.saturating_mul(width));
        while start < stop {
            // The coarsest level that knows this stretch, up to where a coarser one begins.
            let useful = self.levels.iter().rev().filter(|level| level.step <= step);
            let known = useful.clone().find(|level| level.since <= start);
            let coarser = useful.take_while(|level| level.since > start).map(|level| level.since);
            let until = coarser.min().unwrap_or(stop).min(stop);
            match known {
                Some(level) => {
                    let fold = width / level.step.micros();
                    let place = level.buckets.partition_point(|b| b.index < index_of(start, level.step));
                    let before = index_of(until - 1, level.step);
                    for bucket in level.buckets.range(place..).take_while(|bucket| bucket.index <= before) {
                        add(bucket.index.div_euclid(fold), &bucket.rollup);
                    }
                }
                None => {
                    for (time, value) in self.range(start, until) {
                        add(index_of(time, step), &Rollup::of(value));
                    }
                }
            }
            start = until;
        }
        if let Some(bucket) = open {
            say(bucket);
        }
    }

    /// The last time of the oldest chunk: what [`Samples::forget_oldest`] would forget up to.
    pub(super) fn oldest_chunk_end(&self) -> Option<i64> {
        self.chunks.front().and_then(Chunk::last)
    }

    /// Forgets the oldest chunk and returns the time of its last reading.
    pub(super) fn forget_oldest(&mut self) -> Option<i64> {
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.len();
        self.chunk_bytes -= chunk.bytes();
        let oldest = self.oldest();
        for level in &mut self.levels {
            let keep = oldest.map_or(i64::MAX, |oldest| index_of(oldest, level.step));
            let forgotten = level.buckets.partition_point(|bucket| bucket.index < keep);
            level.buckets.drain(..forgotten);
        }
        chunk.last()
    }
}

impl Level {
    fn add(&mut self, at: i64, rollup: &Rollup) {
        if at < self.since {
            return;
        }
        let index = index_of(at, self.step);
        match self.buckets.back_mut() {
            Some(last) if last.index == index => last.rollup.add(rollup),
            Some(last) if last.index > index => {
                let place = self.buckets.partition_point(|bucket| bucket.index < index);
                match self.buckets.get_mut(place) {
                    Some(bucket) if bucket.index == index => bucket.rollup.add(rollup),
                    _ => self.buckets.insert(place, Indexed { index, rollup: *rollup }),
                }
            }
            _ => self.buckets.push_back(Indexed { index, rollup: *rollup }),
        }
    }
}

/// The middle one; of an even number the upper. `values` must not be empty.
pub(super) fn median(values: &mut [i64]) -> i64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable(middle).1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn naive_rollups(model: &BTreeMap<i64, f64>, step: Step, from: i64, to: i64) -> BTreeMap<i64, Rollup> {
        let mut buckets = BTreeMap::new();
        for (&time, &value) in model {
            buckets.entry(index_of(time, step)).or_insert(Rollup::EMPTY).add(&Rollup::of(value));
        }
        buckets.retain(|&index, _| index * step.micros() < to && (index + 1) * step.micros() > from);
        buckets
    }

    fn close(a: &Rollup, b: &Rollup) -> bool {
        a.count == b.count && a.min == b.min && a.max == b.max && (a.sum - b.sum).abs() < 1e-6
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn readings_and_rollups_equal_those_of_a_sorted_map(
            cadence in prop::sample::select(vec![20_000i64, 100_000, 1_000_000, 60_000_000]),
            points in prop::collection::vec((0..5_000i64, -100.0f64..100.0), 1..6_000),
            in_order in any::<bool>(),
            faster in prop::option::of(0..5_000i64),
            window in (0..5_000i64, 0..5_000i64),
        ) {
            let mut points = points;
            if in_order {
                points.sort_by_key(|(at, _)| *at);
            }
            let mut model = BTreeMap::new();
            let mut samples = Samples::default();
            for (at, value) in points {
                // From some time on a hundred times as fast.
                let at = match faster {
                    Some(turn) if at > turn => turn * cadence + (at - turn) * cadence / 100,
                    _ => at * cadence,
                };
                let newest = model.last_key_value().map(|(&t, _)| t);
                let expected = if model.contains_key(&at) {
                    Inserted::Duplicate
                } else if newest.is_none_or(|newest| at > newest) {
                    Inserted::Appended
                } else {
                    Inserted::Late
                };
                model.entry(at).or_insert(value);
                prop_assert_eq!(samples.insert(at, value), expected);
            }
            prop_assert_eq!(samples.len(), model.len());
            let (from, to) = (window.0.min(window.1) * cadence, window.0.max(window.1) * cadence);
            let found: Vec<_> = samples.range(from, to).collect();
            let expected: Vec<_> = model.range(from..to).map(|(&t, &v)| (t, v)).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(samples.before(from), model.range(..from).next_back().map(|(&t, &v)| (t, v)));
            for step in Step::ALL {
                let mut found = BTreeMap::new();
                samples.rollups(step, from, to, |b| { found.insert(b.index, b.rollup); });
                if from == to { continue; }
                let expected = naive_rollups(&model, step, from, to);
                prop_assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
                for (index, rollup) in &found {
                    prop_assert!(close(rollup, &expected[index]), "{:?} {} {:?}", step, index, rollup);
                }
            }
        }
    }

    #[test]
    fn levels_keep_the_entries_of_a_column_few() {
        let mut samples = Samples::default();
        for i in 0..200_000 {
            samples.insert(i * 100_000, 1.0);
        }
        let steps: Vec<_> = samples.levels.iter().map(|l| l.step).collect();
        assert_eq!(steps, [Step::S5, Step::M1, Step::M5, Step::H1, Step::H6, Step::D1]);
        assert!(samples.bytes() < 200_000 * 21 / 2, "{}", samples.bytes());
    }

    #[test]
    fn a_series_that_speeds_up_pays_nothing_for_its_past() {
        let mut samples = Samples::default();
        for i in 0..50_000 {
            samples.insert(i * 1_000_000, i as f64);
        }
        let before = samples.bytes();
        let faster = 50_000 * 1_000_000;
        for i in 0..50_000 {
            samples.insert(faster + i * 1_000, -1.0);
        }
        let each = (samples.bytes() - before) / 50_000;
        assert!(each <= 12, "{each} bytes a reading");
        // Late ones before the new level, on its edge and after it.
        for at in [faster - 500_000, faster - 1, faster + 500, faster + 10_500_000] {
            samples.insert(at, 5.0);
        }
        for step in Step::ALL {
            let mut counted = 0;
            samples.rollups(step, i64::MIN, i64::MAX, |bucket| counted += bucket.rollup.count as usize);
            assert_eq!(counted, samples.len(), "{step:?}");
        }
    }

    #[test]
    fn forgetting_the_oldest_leaves_whole_what_is_newer() {
        let mut samples = Samples::default();
        for i in 0..5_000 {
            samples.insert(i * 100_000, i as f64);
        }
        let up_to = samples.forget_oldest().expect("a chunk");
        assert_eq!(samples.len(), 5_000 - CHUNK);
        assert_eq!(samples.oldest(), Some(up_to + 100_000));
        let mut counted = 0;
        samples.rollups(Step::S1, up_to + 1_000_000, i64::MAX, |bucket| counted += bucket.rollup.count);
        assert!(counted as usize >= samples.len() - 10);
    }
}
