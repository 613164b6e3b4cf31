//! The range of a value axis: grows at once, shrinks after a while, ends at round numbers, so that it does not breathe.

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
    /// The range for data from `min` to `max` on an axis of this height, at `seconds` of a clock that only runs on.
    ///
    /// Returns the range, and after how many seconds it may shrink although nothing arrives.
    pub(super) fn fit(
        &mut self,
        data: Option<(f64, f64)>,
        height_px: f32,
        width: i64,
        seconds: f64,
    ) -> ((f64, f64), Option<f64>) {
        let Some((min, max)) = data else {
            self.loose_since = None;
            return (self.range.unwrap_or((0.0, 1.0)), None);
        };
        let (min, max) = (min.max(-LARGEST), max.min(LARGEST));
        let target = round_range(min, max, f64::from(height_px));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_at_once_and_shrinks_after_a_second() {
        let mut scale = Scale::default();
        let (first, _) = scale.fit(Some((20.0, 22.0)), 300.0, 1, 0.0);
        assert!(first.0 <= 20.0 && first.1 >= 22.0 && first.1 - first.0 < 3.5, "{first:?}");
        let (grown, _) = scale.fit(Some((20.0, 40.0)), 300.0, 1, 0.1);
        assert!(grown.1 >= 40.0);
        let (waiting, again) = scale.fit(Some((20.0, 22.0)), 300.0, 1, 0.2);
        assert_eq!((waiting, again), (grown, Some(1.0)));
        let (shrunk, again) = scale.fit(Some((20.0, 22.0)), 300.0, 1, 1.3);
        assert_eq!((shrunk, again), (first, None));
    }

    #[test]
    fn small_movements_do_not_move_the_axis() {
        let mut scale = Scale::default();
        let (first, _) = scale.fit(Some((20.0, 22.0)), 300.0, 1, 0.0);
        for i in 0..100 {
            let wobble = f64::from(i % 7) * 0.02;
            assert_eq!(scale.fit(Some((20.0 + wobble, 22.0 - wobble)), 300.0, 1, f64::from(i)).0, first);
        }
    }

    #[test]
    fn the_largest_numbers_do_not_break_the_axis() {
        let ((low, high), _) = Scale::default().fit(Some((-f64::MAX, f64::MAX)), 200.0, 1, 0.0);
        assert!(low.is_finite() && high.is_finite() && (high - low).is_finite());
    }

    #[test]
    fn a_constant_and_extreme_numbers_have_a_range() {
        for value in [0.0, 5.0, -3.0, 1e-12, 1e15, -1e15, 1e299] {
            let ((low, high), _) = Scale::default().fit(Some((value, value)), 200.0, 1, 0.0);
            assert!(low < high && low <= value && value <= high, "{value}: {low} {high}");
        }
    }
}
