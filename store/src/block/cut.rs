//! Where one block ends and the next begins.
//!
//! Blocks end at the borders of a rung of the ladder, the coarsest at which a block of this series holds about
//! [`CUT_MAX`] readings at most: a year in coarse buckets is then answered from the statistics of whole blocks. No block
//! reaches beyond its day of UTC, so a query knows how far back a block can begin.

use std::ops::Range;

use protocol::{Step, Timestamp};

/// Most readings in a block. Chosen: an hour at 1 Hz or 5 minutes at 10 Hz fit, and decoding one takes about 0.2 ms.
pub(crate) const CUT_MAX: usize = 10_000;
/// A gap is a border too if it is this many times the usual distance, so that a few late readings among those of now
/// do not make a block that overlaps all that lies between.
const GAP_FACTOR: i64 = 8;
/// Shorter gaps are none, in microseconds.
const GAP_MIN: i64 = 60_000_000;

/// Cuts ascending times of freshly sealed readings: at gaps too.
pub(crate) fn pieces(times: &[i64]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for day in windows(times, 0..times.len(), Step::D1) {
        let usual = span(times, &day) / (day.len() as i64);
        let gap = usual.saturating_mul(GAP_FACTOR).max(GAP_MIN);
        let mut first = day.start;
        for place in day.clone().skip(1) {
            if times[place] - times[place - 1] > gap {
                cut_day(times, first..place, &mut ranges);
                first = place;
            }
        }
        cut_day(times, first..day.end, &mut ranges);
    }
    ranges
}

/// Cuts ascending times of one day that are merged.
pub(crate) fn merged(times: &[i64]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    for day in windows(times, 0..times.len(), Step::D1) {
        cut_day(times, day, &mut ranges);
    }
    ranges
}

fn span(times: &[i64], range: &Range<usize>) -> i64 {
    times[range.end - 1] - times[range.start]
}

fn cut_day(times: &[i64], day: Range<usize>, ranges: &mut Vec<Range<usize>>) {
    // What a window would hold if it were filled at the density of this stretch.
    let fits = |step: &Step| {
        let windows = (span(times, &day) + 1) as f64 / step.micros() as f64;
        day.len() as f64 / windows <= CUT_MAX as f64
    };
    let step = Step::ALL.into_iter().rev().find(fits).unwrap_or(Step::S1);
    for window in windows(times, day, step) {
        cut_window(times, window, step, ranges);
    }
}

/// Cuts a window that is denser than the rest at finer borders, and one within a second by count.
fn cut_window(times: &[i64], window: Range<usize>, step: Step, ranges: &mut Vec<Range<usize>>) {
    if window.len() <= CUT_MAX {
        ranges.push(window);
        return;
    }
    match Step::ALL.into_iter().rev().find(|finer| *finer < step) {
        Some(finer) => {
            for part in windows(times, window, finer) {
                cut_window(times, part, finer, ranges);
            }
        }
        None => {
            ranges.extend(
                window.clone().step_by(CUT_MAX).map(|first| first..(first + CUT_MAX).min(window.end)),
            );
        }
    }
}

/// The stretches of a range that lie in one bucket each.
fn windows(times: &[i64], range: Range<usize>, step: Step) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut first = range.start;
    while first < range.end {
        let end = step.floor(Timestamp(times[first])).0.saturating_add(step.micros());
        let count = times[first..range.end].partition_point(|at| *at < end);
        ranges.push(first..first + count.max(1));
        first += count.max(1);
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;

    fn every(distance: i64, from: i64, to: i64) -> Vec<i64> {
        (0..(to - from) / distance).map(|i| from + i * distance).collect()
    }

    fn lengths(ranges: &[Range<usize>]) -> Vec<usize> {
        ranges.iter().map(Range::len).collect()
    }

    #[test]
    fn blocks_end_at_the_borders_that_fit_the_pace_of_the_series() {
        assert_eq!(lengths(&merged(&every(SECOND, 20 * DAY, 21 * DAY))), [3_600; 24]);
        assert_eq!(lengths(&merged(&every(60 * SECOND, 20 * DAY, 22 * DAY))), [1_440; 2]);
        assert_eq!(lengths(&merged(&every(SECOND / 10, 20 * DAY, 20 * DAY + 3_600 * SECOND))), [9_000; 4]);
        assert_eq!(lengths(&merged(&every(10, 20 * DAY, 20 * DAY + SECOND / 2))), [10_000; 5]);
        assert_eq!(merged(&[]), []);
    }

    #[test]
    fn a_late_reading_gets_a_block_of_its_own() {
        let mut times = vec![20 * DAY, 20 * DAY + 3 * 3_600 * SECOND];
        times.extend(every(SECOND, 20 * DAY + 50_000 * SECOND, 20 * DAY + 50_100 * SECOND));
        assert_eq!(lengths(&pieces(&times)), [1, 1, 100]);
    }

    #[test]
    fn every_reading_is_in_exactly_one_block_of_one_day() {
        let mut at = 0;
        let mut state = 7_u64;
        let times: Vec<i64> = (0..60_000)
            .map(|i| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                at += 1 + (state >> 40) as i64 * if i / 1_000 % 5 == 0 { 3_000 } else { 1 };
                at
            })
            .collect();
        for ranges in [pieces(&times), merged(&times)] {
            let places: Vec<usize> = ranges.iter().cloned().flatten().collect();
            assert!(places.into_iter().eq(0..times.len()));
            for range in ranges {
                assert!(range.len() <= CUT_MAX);
                assert_eq!(times[range.start] / DAY, times[range.end - 1] / DAY);
            }
        }
    }
}
