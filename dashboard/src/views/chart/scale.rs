//! The range of a value axis: grows at once, shrinks after a while, ends at round numbers, so that it does not breathe.

use crate::model::Axis;
use crate::ticks::{VALUE_LABEL_PX, nice_step};

/// Time for which data must fit a smaller range before it is taken, in seconds.
const SHRINK_AFTER_SECONDS: f64 = 1.0;
/// A smaller range is only taken if it is smaller than this share of the present one.
const SHRINK_BELOW: f64 = 0.8;
/// Numbers beyond this do not widen an axis: the ends of its range must be numbers too.
const LARGEST: f64 = 1e300;
/// Air above and below the data, as a share of their range.
const AIR: f64 = 0.06;

/// The range of one axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scale {
    range: Option<(f64, f64)>,
    loose_since: Option<f64>,
    /// The width of the view when the range was last set: another zoom is another picture.
    width: i64,
}

impl Scale {
    /// The range of an axis of this height for data from `min` to `max`, at `seconds` of a clock that only runs on. Of a
    /// logarithmic axis both the data and the range are powers of ten.
    ///
    /// Where a person has set an end, it is that.
    /// Returns the range, and after how many seconds it may shrink although nothing arrives.
    pub(super) fn fit(
        &mut self,
        data: Option<(f64, f64)>,
        axis: Axis,
        height_px: f32,
        width: i64,
        seconds: f64,
    ) -> ((f64, f64), Option<f64>) {
        let (lowest, highest) = axis.ends();
        let place = |end: f64| if axis.log { end.log10() } else { end };
        let (lowest, highest) = (lowest.map(place), highest.map(place));
        if let (Some(low), Some(high)) = (lowest, highest) {
            self.range = None;
            return ((low, high), None);
        }
        let ((low, high), shrinks_in) = self.automatic(data, axis.log, height_px, width, seconds);
        let least = (high - low).max(1e-6);
        let range = match (lowest, highest) {
            (Some(lowest), _) if lowest >= high => (lowest, lowest + least),
            (Some(lowest), _) => (lowest, high),
            (_, Some(highest)) if highest <= low => (highest - least, highest),
            (_, Some(highest)) => (low, highest),
            (None, None) => (low, high),
        };
        (range, shrinks_in)
    }

    fn automatic(
        &mut self,
        data: Option<(f64, f64)>,
        is_log: bool,
        height_px: f32,
        width: i64,
        seconds: f64,
    ) -> ((f64, f64), Option<f64>) {
        let Some((min, max)) = data else {
            self.loose_since = None;
            return (self.range.unwrap_or((0.0, 1.0)), None);
        };
        let (min, max) = (min.max(-LARGEST), max.min(LARGEST));
        let target = if is_log { log_range(min, max) } else { round_range(min, max, f64::from(height_px)) };
        let zoomed = std::mem::replace(&mut self.width, width) != width;
        let Some((low, high)) = self.range.filter(|_| !zoomed) else {
            return self.take(target);
        };
        if min < low || max > high {
            return self.take((target.0.min(low), target.1.max(high)));
        }
        if target.1 - target.0 >= (high - low) * SHRINK_BELOW {
            self.loose_since = None;
            return ((low, high), None);
        }
        let waited = seconds - *self.loose_since.get_or_insert(seconds);
        if waited >= SHRINK_AFTER_SECONDS {
            self.take(target)
        } else {
            ((low, high), Some(SHRINK_AFTER_SECONDS - waited))
        }
    }

    const fn take(&mut self, range: (f64, f64)) -> ((f64, f64), Option<f64>) {
        self.range = Some(range);
        self.loose_since = None;
        (range, None)
    }
}

/// The range of round numbers around the data.
fn round_range(min: f64, max: f64, height_px: f64) -> (f64, f64) {
    let span = max - min;
    // A constant fills no range: show it in the middle of one that fits its size.
    let least = (max.abs().max(min.abs()) * 1e-3).max(1e-6);
    let air = match span < least {
        // Nothing but zero has no size of its own.
        true if max == 0.0 && min == 0.0 => 1.0,
        true => least.max(max.abs() * 0.02),
        false => span * AIR,
    };
    let (low, high) = (min - air, max + air);
    let step = nice_step((high - low) / (height_px / VALUE_LABEL_PX).max(1.0)) / 2.0;
    // What is never negative does not show negative numbers only for the air below it.
    let floor = if min >= 0.0 && low < 0.0 { 0.0 } else { (low / step).floor() * step };
    (floor, (high / step).ceil() * step)
}

/// The range around data on a logarithmic axis, all in powers of ten.
fn log_range(min: f64, max: f64) -> (f64, f64) {
    let air = ((max - min) * AIR).max(0.01);
    let (low, high) = (min - air, max + air);
    if high - low < 1.0 {
        return (low, high);
    }
    // To the next of 1, 2 and 5 times a power of ten.
    let round = |at: f64, up: bool| {
        let power = at.floor();
        let places = [0.0, 2f64.log10(), 5f64.log10(), 1.0].map(|place| power + place);
        let found = if up {
            places.iter().find(|p| **p >= at - 1e-9)
        } else {
            places.iter().rfind(|p| **p <= at + 1e-9)
        };
        found.copied().unwrap_or(at)
    };
    (round(low, false), round(high, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTO: Axis = Axis { log: false, min: None, max: None };

    #[test]
    fn an_end_that_a_person_set_stays_and_the_other_goes_with_the_data() {
        let fit = |axis: Axis, data| Scale::default().fit(Some(data), axis, 300.0, 1, 0.0).0;
        let both = Axis { min: Some(-5.0), max: Some(5.0), ..AUTO };
        assert_eq!(fit(both, (20.0, 40.0)), (-5.0, 5.0));
        let (low, high) = fit(Axis { min: Some(10.0), ..AUTO }, (20.0, 40.0));
        assert!(low == 10.0 && high >= 40.0, "{low} {high}");
        // What was set lies beyond the data: the axis is still one.
        let (low, high) = fit(Axis { min: Some(100.0), ..AUTO }, (20.0, 40.0));
        assert!(low == 100.0 && high > low);
        let (low, high) = fit(Axis { max: Some(-1.0), ..AUTO }, (20.0, 40.0));
        assert!(high == -1.0 && high > low);
    }

    #[test]
    fn a_logarithmic_axis_ends_at_one_two_or_five() {
        let fit = |min: f64, max: f64| {
            let axis = Axis { log: true, ..AUTO };
            Scale::default().fit(Some((min.log10(), max.log10())), axis, 300.0, 1, 0.0).0
        };
        let (low, high) = fit(0.3, 4_000.0);
        assert!(
            (10f64.powf(low) - 0.1).abs() < 1e-9 && (10f64.powf(high) - 10_000.0).abs() < 1e-6,
            "{low} {high}"
        );
        let (low, high) = fit(7.0, 7.0);
        assert!(low < 7f64.log10() && high > 7f64.log10());
        assert!(fit(1e-300, 1e300).0.is_finite());
    }

    #[test]
    fn it_grows_at_once_and_shrinks_after_a_second() {
        let mut scale = Scale::default();
        let (first, _) = scale.fit(Some((20.0, 22.0)), AUTO, 300.0, 1, 0.0);
        assert!(first.0 <= 20.0 && first.1 >= 22.0 && first.1 - first.0 < 3.5, "{first:?}");
        let (grown, _) = scale.fit(Some((20.0, 40.0)), AUTO, 300.0, 1, 0.1);
        assert!(grown.1 >= 40.0);
        let (waiting, again) = scale.fit(Some((20.0, 22.0)), AUTO, 300.0, 1, 0.2);
        assert_eq!((waiting, again), (grown, Some(1.0)));
        let (shrunk, again) = scale.fit(Some((20.0, 22.0)), AUTO, 300.0, 1, 1.3);
        assert_eq!((shrunk, again), (first, None));
    }

    #[test]
    fn small_movements_do_not_move_the_axis() {
        let mut scale = Scale::default();
        let (first, _) = scale.fit(Some((20.0, 22.0)), AUTO, 300.0, 1, 0.0);
        for i in 0..100 {
            let wobble = f64::from(i % 7) * 0.02;
            assert_eq!(
                scale.fit(Some((20.0 + wobble, 22.0 - wobble)), AUTO, 300.0, 1, f64::from(i)).0,
                first
            );
        }
    }

    #[test]
    fn the_largest_numbers_do_not_break_the_axis() {
        let ((low, high), _) = Scale::default().fit(Some((-f64::MAX, f64::MAX)), AUTO, 200.0, 1, 0.0);
        assert!(low.is_finite() && high.is_finite() && (high - low).is_finite());
    }

    #[test]
    fn a_constant_and_extreme_numbers_have_a_range() {
        for value in [0.0, 5.0, -3.0, 1e-12, 1e15, -1e15, 1e299] {
            let ((low, high), _) = Scale::default().fit(Some((value, value)), AUTO, 200.0, 1, 0.0);
            assert!(low < high && low <= value && value <= high, "{value}: {low} {high}");
        }
    }
}
