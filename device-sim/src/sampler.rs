//! Turns a model into readings: steps it from one due time to the next and reads what is due.
//!
//! Pure: time is an argument, in microseconds since the device was switched on. The same model, asked for the same
//! times, gives the same readings.

use protocol::device::Point;
use protocol::{MetricName, NameError, Timestamp, Value};

use crate::catalog::Metric;
use crate::kinds::Model;

/// Metrics that are read at the same times.
#[derive(Debug)]
struct Group {
    period: i64,
    next: i64,
    metrics: Vec<Sensor>,
}

#[derive(Debug)]
struct Sensor {
    metric: &'static str,
    name: MetricName,
    /// Steps to the unit that it tells apart.
    steps: f64,
}

impl Sensor {
    /// Tells apart about ten thousand steps of its range, and whole units at least, as real converters do.
    fn new(metric: &Metric) -> Result<Self, NameError> {
        let steps = metric.range.map_or(1.0, |(min, max)| {
            let digits = (4.0 - (max - min).max(1e-6).log10().floor()).clamp(0.0, 9.0);
            10_f64.powf(digits)
        });
        Ok(Self { metric: metric.name, name: MetricName::new(metric.name)?, steps })
    }

    fn read(&self, model: &mut dyn Model) -> Option<Value> {
        Some(match model.read(self.metric)? {
            Value::Number(number) => Value::Number((number * self.steps).round() / self.steps),
            other @ (Value::Bool(_) | Value::Text(_)) => other,
        })
    }
}

/// A model and when its metrics are due.
pub struct Sampler {
    model: Box<dyn Model>,
    groups: Vec<Group>,
    stepped_to: i64,
    speed: f64,
}

impl Sampler {
    /// Reads `model` at `rate` times its own cadences, starting at `offset` microseconds; its time passes `speed` times
    /// as fast as ours.
    pub fn new(model: Box<dyn Model>, rate: f64, speed: f64, offset: i64) -> Result<Self, NameError> {
        let mut groups: Vec<Group> = Vec::new();
        for metric in model.about().metrics {
            let period = ((1e6 / (metric.hz * rate)).round() as i64).max(1);
            let entry = Sensor::new(metric)?;
            match groups.iter_mut().find(|group| group.period == period) {
                Some(group) => group.metrics.push(entry),
                None => groups.push(Group { period, next: offset, metrics: vec![entry] }),
            }
        }
        Ok(Self { model, groups, stepped_to: 0, speed })
    }

    /// When a metric is read next; `None` if there is none.
    pub fn next(&self) -> Option<i64> {
        self.groups.iter().map(|group| group.next).min()
    }

    /// Lives on until `to` and returns everything that was due on the way, oldest first, timed from the start.
    pub fn advance(&mut self, to: i64) -> Vec<Point> {
        let mut points = Vec::new();
        while let Some(at) = self.next().filter(|at| *at <= to) {
            self.step_to(at);
            let mut values = Vec::new();
            for group in self.groups.iter_mut().filter(|group| group.next == at) {
                group.next += group.period;
                for sensor in &group.metrics {
                    if let Some(value) = sensor.read(&mut *self.model) {
                        values.push((sensor.name.clone(), value));
                    }
                }
            }
            points.push(Point { at: Timestamp(at), values });
        }
        self.step_to(to);
        points
    }

    fn step_to(&mut self, to: i64) {
        if to > self.stepped_to {
            let dt = (to - self.stepped_to) as f64 / 1e6;
            self.stepped_to = to;
            self.model.step(dt * self.speed);
        }
    }

    /// The model itself, for commands.
    pub fn model(&mut self) -> &mut dyn Model {
        &mut *self.model
    }

    /// Replaces the model by one that has just been switched on, with its readings due as before.
    pub fn reboot(&mut self, model: Box<dyn Model>) {
        self.model = model;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::DeviceKind;

    fn readings(kind: DeviceKind, seed: u64, steps: &[i64]) -> Vec<Point> {
        let mut sampler = Sampler::new(kind.build(seed, 30_000.0), 1.0, 1.0, 137).unwrap();
        steps.iter().flat_map(|to| sampler.advance(*to)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_readings_and_another_gives_others() {
        for kind in DeviceKind::ALL {
            let steps: Vec<i64> = (1..=100).map(|i| i * 200_000).collect();
            assert_eq!(readings(kind, 1, &steps), readings(kind, 1, &steps));
            assert_ne!(readings(kind, 1, &steps), readings(kind, 2, &steps), "{kind:?}");
        }
    }

    #[test]
    fn every_series_has_its_cadence_and_no_time_twice() {
        for kind in DeviceKind::ALL {
            let points = readings(kind, 1, &(1..=300).map(|i| i * 199_999).collect::<Vec<_>>());
            assert!(points.is_sorted_by_key(|p| p.at));
            let about = kind.build(1, 0.0).about();
            for metric in about.metrics {
                let times: Vec<i64> = points
                    .iter()
                    .filter(|p| p.values.iter().any(|(name, _)| name.as_str() == metric.name))
                    .map(|p| p.at.0)
                    .collect();
                let period = (1e6 / metric.hz) as i64;
                assert!(times.windows(2).all(|pair| pair[1] - pair[0] == period), "{kind:?} {}", metric.name);
                assert_eq!(times.len() as i64, (59_999_700 - 137) / period + 1, "{kind:?} {}", metric.name);
            }
        }
    }
}
