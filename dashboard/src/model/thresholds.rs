//! How the values of a chart are scaled, and beyond which values of a series a person wants to be warned.
//!
//! Both belong to a chart and are saved with the layout. The device's own plausible range is another matter: that is
//! declared, and told by [`Devices::is_outside`](super::Devices::is_outside).

use std::collections::HashMap;

use protocol::SeriesId;
use serde::{Deserialize, Serialize};

use super::Model;
use crate::series::Trace;

/// How bad it is that a value is beyond a limit; the worse is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Look at this.
    Warning,
    /// This is wrong.
    Alarm,
}

impl Level {
    /// The level in a word.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Alarm => "alarm",
        }
    }
}

/// The limits of one series, in its unit. A value at a limit is still within it.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Thresholds {
    /// Below it is an alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm_below: Option<f64>,
    /// Below it is a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_below: Option<f64>,
    /// Above it is a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warn_above: Option<f64>,
    /// Above it is an alarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm_above: Option<f64>,
}

impl Thresholds {
    /// Whether there is no limit.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How bad a value is; `None` within all limits, and of what is no number.
    pub fn level(&self, value: f64) -> Option<Level> {
        let beyond = |below: Option<f64>, above: Option<f64>| {
            below.is_some_and(|b| value < b) || above.is_some_and(|a| value > a)
        };
        if beyond(self.alarm_below, self.alarm_above) {
            Some(Level::Alarm)
        } else if beyond(self.warn_below, self.warn_above) {
            Some(Level::Warning)
        } else {
            None
        }
    }

    /// Every limit that there is: how bad it is to be beyond it, whether beyond is above, and the limit.
    pub fn limits(&self) -> impl Iterator<Item = (Level, bool, f64)> + use<> {
        [
            (Level::Alarm, false, self.alarm_below),
            (Level::Warning, false, self.warn_below),
            (Level::Warning, true, self.warn_above),
            (Level::Alarm, true, self.alarm_above),
        ]
        .into_iter()
        .filter_map(|(level, is_above, limit)| Some((level, is_above, limit.filter(|l| l.is_finite())?)))
    }

    /// What of a trace, from `from` to `to`, is beyond the limits.
    pub fn count(&self, trace: &Trace, from: i64, to: i64) -> Beyond {
        let mut beyond = Beyond { is_rough: trace.width > 0, ..Beyond::default() };
        for column in trace.columns.iter().filter(|column| (from..=to).contains(&column.at)) {
            match self.level(column.min).max(self.level(column.max)) {
                Some(Level::Alarm) => beyond.alarms += 1,
                Some(Level::Warning) => beyond.warnings += 1,
                None => {}
            }
        }
        beyond
    }
}

/// How much of what is shown is beyond limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beyond {
    /// Readings, or columns with such readings, that are a warning and no alarm.
    pub warnings: u64,
    /// Those that are an alarm.
    pub alarms: u64,
    /// Whether columns of several readings were counted.
    pub is_rough: bool,
}

impl Beyond {
    /// The worst there is.
    pub const fn level(&self) -> Option<Level> {
        match (self.alarms, self.warnings) {
            (0, 0) => None,
            (0, _) => Some(Level::Warning),
            _ => Some(Level::Alarm),
        }
    }
}

/// How the values of one unit are scaled in a chart. The default is automatic and linear.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Axis {
    /// By powers of ten.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub log: bool,
    /// The lowest value shown; as the data need if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The highest value shown; as the data need if left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl Axis {
    /// The ends that can be used: what a damaged file says that no axis can have is left to the data.
    pub fn ends(&self) -> (Option<f64>, Option<f64>) {
        let usable = |end: &f64| end.is_finite() && (!self.log || *end > 0.0);
        match (self.min.filter(usable), self.max.filter(usable)) {
            (Some(min), Some(max)) if min >= max => (None, None),
            ends => ends,
        }
    }
}

impl Model {
    /// Notes the limits of all charts; of a series with several the tightest count.
    pub fn watch(&mut self, limits: impl Iterator<Item = (SeriesId, Thresholds)>) {
        let mut watched: HashMap<SeriesId, Thresholds> = HashMap::new();
        let least = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, other) => one.or(other),
        };
        let most = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            (one, other) => one.or(other),
        };
        for (series, new) in limits {
            let known = watched.entry(series).or_default();
            known.alarm_below = most(known.alarm_below, new.alarm_below);
            known.warn_below = most(known.warn_below, new.warn_below);
            known.warn_above = least(known.warn_above, new.warn_above);
            known.alarm_above = least(known.alarm_above, new.alarm_above);
        }
        self.watched = watched;
    }

    /// How bad the latest value of a series is by the limits of the charts; `None` if it is within them or there are none.
    pub fn beyond(&self, series: SeriesId) -> Option<Level> {
        let limits = self.watched.get(&series)?;
        let (_, value) = self.series.latest(series)?;
        limits.level(value.to_number()?)
    }

    /// The worst of all series of a device by the limits of the charts.
    pub fn device_beyond(&self, device: &super::Device) -> Option<Level> {
        if self.watched.is_empty() {
            return None;
        }
        device.info.metrics.iter().filter_map(|metric| self.beyond(metric.series)).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Column;

    const LIMITS: Thresholds = Thresholds {
        alarm_below: Some(0.0),
        warn_below: Some(5.0),
        warn_above: Some(30.0),
        alarm_above: Some(40.0),
    };

    #[test]
    fn a_value_at_a_limit_is_within_it_and_the_worse_level_counts() {
        let levels = [-1.0, 0.0, 4.9, 5.0, 30.0, 30.1, 40.0, 41.0].map(|v| LIMITS.level(v));
        use Level::{Alarm, Warning};
        let expected = [
            Some(Alarm),
            Some(Warning),
            Some(Warning),
            None,
            None,
            Some(Warning),
            Some(Warning),
            Some(Alarm),
        ];
        assert_eq!(levels, expected);
        assert_eq!(LIMITS.level(f64::NAN), None);
        assert_eq!(Thresholds::default().level(1e300), None);
    }

    #[test]
    fn what_is_beyond_is_counted_where_it_is_shown() {
        let column = |at, min, max| Column { at, count: 2, min, max, mean: min.midpoint(max) };
        let columns =
            vec![column(0, 50.0, 50.0), column(10, 20.0, 31.0), column(20, -3.0, 10.0), column(30, 9.0, 9.0)];
        let trace = Trace { columns, width: 10, ..Trace::default() };
        assert_eq!(LIMITS.count(&trace, 5, 40), Beyond { warnings: 1, alarms: 1, is_rough: true });
        assert_eq!(LIMITS.count(&trace, 25, 40).level(), None);
    }

    #[test]
    fn an_axis_that_no_axis_can_be_is_left_to_the_data() {
        let axis = |log, min, max| Axis { log, min, max }.ends();
        assert_eq!(axis(false, Some(-1.0), Some(5.0)), (Some(-1.0), Some(5.0)));
        assert_eq!(axis(true, Some(-1.0), Some(5.0)), (None, Some(5.0)));
        assert_eq!(axis(false, Some(5.0), Some(5.0)), (None, None));
        assert_eq!(axis(false, Some(f64::NAN), None), (None, None));
    }
}
