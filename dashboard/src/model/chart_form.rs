//! The form in which the axes and limits of a chart are typed. Nothing happens before it is applied.

use std::collections::BTreeMap;

use protocol::SeriesId;

use super::thresholds::{Axis, Thresholds};
use crate::action::ChartId;

/// What is typed for one axis; an empty end is automatic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AxisForm {
    /// The code of its unit; empty: none.
    pub unit: String,
    /// By powers of ten.
    pub log: bool,
    /// The lowest value.
    pub min: String,
    /// The highest value.
    pub max: String,
}

/// What is typed for one series; empty: no limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsForm {
    /// The series.
    pub series: SeriesId,
    /// What it is called in the chart.
    pub name: String,
    /// The limits in the order of [`LIMITS`].
    pub texts: [String; 4],
}

/// The limits of a series as they are typed, lowest first.
pub const LIMITS: [&str; 4] = ["alarm below", "warning below", "warning above", "alarm above"];

/// What is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChartForm {
    /// The chart.
    pub chart: ChartId,
    /// Its title.
    pub title: String,
    /// Its axes, one for each unit.
    pub axes: Vec<AxisForm>,
    /// Its series of numbers.
    pub limits: Vec<LimitsForm>,
}

/// What a form asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChartSettings {
    /// By unit; what is as usual is left out.
    pub axes: BTreeMap<String, Axis>,
    /// By series; what has no limits is left out.
    pub thresholds: BTreeMap<SeriesId, Thresholds>,
}

/// Reads a number, or that there is none.
///
/// # Errors
///
/// What could be typed instead.
pub fn number(text: &str) -> Result<Option<f64>, String> {
    let text = text.trim().replace('\u{2212}', "-");
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(Some(number)),
        _ => Err("Not a number. For example: 21.5, -3 or 2e6".to_owned()),
    }
}

fn text(number: Option<f64>) -> String {
    number.map(|n| n.to_string()).unwrap_or_default()
}

impl AxisForm {
    /// The form of an axis as it is.
    pub fn of(unit: &str, axis: Axis) -> Self {
        Self { unit: unit.to_owned(), log: axis.log, min: text(axis.min), max: text(axis.max) }
    }

    /// What is wrong with its lowest or highest value.
    pub fn mistake(&self, is_max: bool) -> Option<String> {
        let end = match number(if is_max { &self.max } else { &self.min }) {
            Ok(end) => end?,
            Err(why) => return Some(why),
        };
        if self.log && end <= 0.0 {
            return Some("A logarithmic axis begins above 0".to_owned());
        }
        let lowest = number(&self.min).ok().flatten();
        (is_max && lowest.is_some_and(|lowest| end <= lowest))
            .then(|| "Must be above the lowest value".to_owned())
    }

    /// The axis; `None` if something is wrong with it.
    pub fn axis(&self) -> Option<Axis> {
        if self.mistake(false).is_some() || self.mistake(true).is_some() {
            return None;
        }
        Some(Axis { log: self.log, min: number(&self.min).ok()?, max: number(&self.max).ok()? })
    }
}

impl LimitsForm {
    /// The form of limits as they are.
    pub fn of(series: SeriesId, name: &str, limits: Thresholds) -> Self {
        let Thresholds { alarm_below, warn_below, warn_above, alarm_above } = limits;
        Self {
            series,
            name: name.to_owned(),
            texts: [alarm_below, warn_below, warn_above, alarm_above].map(text),
        }
    }

    /// What is wrong with one of the limits.
    pub fn mistake(&self, place: usize) -> Option<String> {
        let limit = match number(self.texts.get(place)?) {
            Ok(limit) => limit?,
            Err(why) => return Some(why),
        };
        let lower = self.texts.iter().zip(LIMITS).take(place).rev();
        let mut lower = lower.filter_map(|(text, name)| Some((number(text).ok()??, name)));
        let (below, name) = lower.next()?;
        (limit < below).then(|| format!("Must not be less than “{name}”, {below}"))
    }

    /// The limits; `None` if something is wrong with them.
    pub fn limits(&self) -> Option<Thresholds> {
        if (0..self.texts.len()).any(|place| self.mistake(place).is_some()) {
            return None;
        }
        let limit = |place: usize| number(self.texts.get(place)?).ok().flatten();
        Some(Thresholds {
            alarm_below: limit(0),
            warn_below: limit(1),
            warn_above: limit(2),
            alarm_above: limit(3),
        })
    }
}

impl ChartForm {
    /// What it asks for; `None` if something is wrong, which stands beside the field.
    pub fn asked(&self) -> Option<ChartSettings> {
        let mut settings = ChartSettings::default();
        for form in &self.axes {
            let axis = form.axis()?;
            if axis != Axis::default() {
                settings.axes.insert(form.unit.clone(), axis);
            }
        }
        for form in &self.limits {
            let limits = form.limits()?;
            if !limits.is_empty() {
                settings.thresholds.insert(form.series, limits);
            }
        }
        Some(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(min: &str, max: &str, log: bool) -> AxisForm {
        AxisForm { unit: "Cel".into(), log, min: min.into(), max: max.into() }
    }

    #[test]
    fn what_is_no_axis_is_refused_beside_its_field() {
        assert_eq!(form("", "", false).axis(), Some(Axis::default()));
        assert_eq!(
            form(" −3 ", "2e3", false).axis(),
            Some(Axis { log: false, min: Some(-3.0), max: Some(2e3) })
        );
        assert!(form("1,5", "", false).mistake(false).is_some_and(|why| why.contains("21.5")));
        assert!(form("inf", "", false).mistake(false).is_some());
        assert!(form("5", "5", false).mistake(true).is_some_and(|why| why.contains("lowest")));
        assert!(form("0", "5", true).mistake(false).is_some_and(|why| why.contains("above 0")));
        assert_eq!(form("0", "5", true).axis(), None);
    }

    #[test]
    fn limits_are_read_back_as_they_were_and_must_ascend() {
        let limits = Thresholds { warn_above: Some(30.25), alarm_above: Some(40.0), ..Thresholds::default() };
        let mut form = LimitsForm::of(SeriesId(1), "T", limits);
        assert_eq!(form.limits(), Some(limits));
        form.texts[3] = "20".into();
        assert!(form.mistake(3).is_some_and(|why| why.contains("warning above") && why.contains("30.25")));
        assert_eq!((form.mistake(2), form.limits()), (None, None));
        form.texts = [const { String::new() }; 4];
        assert_eq!(form.limits(), Some(Thresholds::default()));
    }
}
