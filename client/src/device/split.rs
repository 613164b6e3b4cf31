//! Cuts readings into batches that every hub takes.

use protocol::Value;
use protocol::device::Point;
use protocol::limits::{DEVICE_MESSAGE_MAX_BYTES, READINGS_PER_BATCH_MAX};

/// Bytes of JSON that a batch may have by our estimate; the estimate errs upward.
const BATCH_BYTES: usize = DEVICE_MESSAGE_MAX_BYTES - 4 * 1024;

/// Readings for one message.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) points: Vec<Point>,
    /// At least the length of its message.
    pub(super) bytes: usize,
}

/// {"type":"readings","seq":9007199254740991,"points":[]}
const ENVELOPE_BYTES: usize = 60;

/// The points in as many batches as the limits demand, in order. Usually one.
pub(super) fn split(points: Vec<Point>) -> Vec<Batch> {
    let mut batches = Vec::with_capacity(1);
    let (mut batch, mut readings, mut bytes) = (Vec::new(), 0, 0);
    for point in points {
        let (more_readings, more_bytes) = (point.values.len(), estimate(&point));
        let full = readings + more_readings > READINGS_PER_BATCH_MAX || bytes + more_bytes > BATCH_BYTES;
        if full && !batch.is_empty() {
            batches.push(Batch { points: std::mem::take(&mut batch), bytes: bytes + ENVELOPE_BYTES });
            (readings, bytes) = (0, 0);
        }
        readings += more_readings;
        bytes += more_bytes;
        batch.push(point);
    }
    if !batch.is_empty() {
        batches.push(Batch { points: batch, bytes: bytes + ENVELOPE_BYTES });
    }
    batches
}

fn estimate(point: &Point) -> usize {
    // {"at":-9223372036854775808,"values":{}}, and for each value "name":value, with numbers of up to 24 characters.
    40 + point
        .values
        .iter()
        .map(|(metric, value)| {
            4 + metric.as_str().len()
                + match value {
                    Value::Number(_) => 24,
                    Value::Bool(_) => 5,
                    // A control character takes six.
                    Value::Text(text) => 2 + 6 * text.len(),
                }
        })
        .sum::<usize>()
}

#[cfg(test)]
mod tests {
    use protocol::device::{DeviceMessage, Readings};
    use protocol::{MetricName, Seq, Timestamp};

    use super::*;

    fn points(count: usize, values: &[(&str, Value)]) -> Vec<Point> {
        let values: Vec<_> =
            values.iter().map(|(name, value)| (MetricName::new(name).unwrap(), value.clone())).collect();
        (0..count).map(|i| Point { at: Timestamp(i as i64), values: values.clone() }).collect()
    }

    fn check(points: Vec<Point>) -> usize {
        let batches = split(points.clone());
        for batch in &batches {
            assert!(batch.points.iter().map(|p| p.values.len()).sum::<usize>() <= READINGS_PER_BATCH_MAX);
            let text =
                DeviceMessage::Readings(Readings { seq: Seq::MAX, points: batch.points.clone() }).encode();
            assert!(
                text.len() <= batch.bytes && batch.bytes <= DEVICE_MESSAGE_MAX_BYTES,
                "{} bytes",
                text.len()
            );
        }
        let count = batches.len();
        assert_eq!(batches.into_iter().flat_map(|b| b.points).collect::<Vec<_>>(), points);
        count
    }

    #[test]
    fn every_batch_keeps_the_limits_and_none_is_lost() {
        let number = Value::Number(-1.234_567_890_123_456_7e-300);
        assert_eq!(check(points(1, &[("a", number.clone())])), 1);
        assert_eq!(check(points(4_097, &[("a", Value::Bool(true))])), 2);
        assert!(check(points(4_000, &[(&"m".repeat(64), number)])) > 1);
        assert!(check(points(500, &[("a", Value::from("\u{1}".repeat(256).as_str()))])) > 1);
        assert_eq!(check(Vec::new()), 0);
    }
}
