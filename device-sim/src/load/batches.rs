//! The messages of one connection: written once, at the start, and patched in place.
//!
//! What changes in a message (its number, times and values) has a fixed width. The metrics take turns, so that every
//! series gets as many readings as the next; there are as many prepared messages as it takes until the turns repeat.
//! Values have two decimals and walk by up to 0.31; times are spread over the time since the message before, each with a
//! jitter of up to half of its share.

use protocol::MetricName;
use protocol::name::Seq;

use super::{mqtt, socket};

/// Digits of the number in a message, filled up with spaces.
const SEQ_WIDTH: usize = 16;
/// Digits of a time: microseconds since 1970 have 16 until the year 2286.
const TIME_WIDTH: usize = 16;
/// Where values stay, in hundredths: all of them have four digits.
const LEVELS: std::ops::RangeInclusive<i32> = 1_000..=9_999;
/// The furthest that a value moves in one step, in hundredths.
const STEP: u32 = 31;

/// What is around the JSON.
#[derive(Debug, Clone)]
pub(crate) enum Framing {
    /// A WebSocket frame.
    WebSocket,
    /// An MQTT message on this topic, at QoS 1.
    Mqtt(String),
}

/// A message of which everything that changes can be patched.
#[derive(Debug)]
struct Template {
    frame: Vec<u8>,
    seq_at: usize,
    /// Where the packet identifier of MQTT stands.
    packet_at: Option<usize>,
    times_at: Vec<usize>,
    /// Where values stand, and of which metric they are.
    values_at: Vec<(usize, usize)>,
}

impl Template {
    /// A message of `readings` readings; `next` is the metric whose turn it is, and afterwards the one after the last.
    fn new(metrics: &[MetricName], readings: usize, next: &mut usize, framing: &Framing) -> Self {
        let mut text = format!("{{\"type\":\"readings\",\"seq\":{:>SEQ_WIDTH$},\"points\":[", 0);
        let seq_at = text.find("\"seq\":").map_or(0, |at| at + 6);
        let (mut times_at, mut values_at) = (Vec::new(), Vec::with_capacity(readings));
        while values_at.len() < readings {
            if !times_at.is_empty() {
                text.push(',');
            }
            text.push_str("{\"at\":");
            times_at.push(text.len());
            text.push_str(&format!("{:>TIME_WIDTH$},\"values\":{{", 0));
            // A point names each metric once.
            for i in 0..metrics.len().min(readings - values_at.len()) {
                let comma = if i == 0 { "" } else { "," };
                text.push_str(&format!("{comma}\"{}\":", metrics[*next]));
                values_at.push((text.len(), *next));
                text.push_str("00.00");
                *next = (*next + 1) % metrics.len();
            }
            text.push_str("}}");
        }
        text.push_str("]}");
        let mut frame = Vec::with_capacity(text.len() + 32);
        let packet_at = match framing {
            Framing::WebSocket => {
                socket::write_text(&text, &mut frame);
                None
            }
            Framing::Mqtt(topic) => Some(mqtt::write_publish(topic, text.as_bytes(), &mut frame)),
        };
        let head = frame.len() - text.len();
        for place in times_at.iter_mut().chain(values_at.iter_mut().map(|(place, _)| place)) {
            *place += head;
        }
        Self { frame, seq_at: head + seq_at, packet_at, times_at, values_at }
    }
}

/// Writes a number into a field, right-aligned: JSON allows spaces before a number, and no zeros.
fn patch_number(field: &mut [u8], mut number: u64) {
    for digit in field.iter_mut().rev() {
        *digit = if number == 0 { b' ' } else { b'0' + (number % 10) as u8 };
        number /= 10;
    }
}

/// Writes `12.34`.
fn patch_value(field: &mut [u8], hundredths: i32) {
    let digit = |unit: i32| b'0' + (hundredths / unit % 10) as u8;
    field.copy_from_slice(&[digit(1_000), digit(100), b'.', digit(10), digit(1)]);
}

/// Chance that costs nothing: a linear congruential generator.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    /// A number from 0 to `below`, exclusive.
    const fn draw(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % below as u64) as u32
    }
}

/// The messages of one connection, in order.
#[derive(Debug)]
pub(crate) struct Batches {
    templates: Vec<Template>,
    /// The value of each metric, in hundredths.
    levels: Vec<i32>,
    chance: Chance,
    /// No reading so far is later, in microseconds.
    at: i64,
}

impl Batches {
    /// Prepares messages of `readings` readings of these metrics, of which there is at least one. The first reading is
    /// later than `at`.
    pub(crate) fn new(
        metrics: &[MetricName],
        readings: usize,
        framing: &Framing,
        seed: u64,
        at: i64,
    ) -> Self {
        let (mut templates, mut next) = (Vec::new(), 0);
        while templates.is_empty() || next != 0 {
            templates.push(Template::new(metrics, readings, &mut next, framing));
        }
        let mut chance = Chance(seed);
        let levels = metrics.iter().map(|_| 2_000 + chance.draw(6_000) as i32).collect();
        Self { templates, levels, chance, at }
    }

    /// Bytes of a message on the wire, on average.
    pub(crate) fn message_bytes(&self) -> u64 {
        let all: usize = self.templates.iter().map(|template| template.frame.len()).sum();
        (all / self.templates.len()) as u64
    }

    /// Appends `count` messages from `first` on to `out`, with times up to `now`.
    pub(crate) fn write(&mut self, first: Seq, count: usize, now: i64, out: &mut Vec<u8>) {
        let Self { templates, levels, chance, at } = self;
        let length = templates.len();
        let index = |seq: u64| (seq.saturating_sub(1)) as usize % length;
        let seqs = first.0..first.0 + count as u64;
        let points: usize = seqs.clone().map(|seq| templates[index(seq)].times_at.len()).sum();
        // Times never repeat, so that no reading is left out as a conflict: in a rush they are ahead of the clock.
        let share = ((now - *at) / points.max(1) as i64).max(1);
        let jitter = u32::try_from(share / 2).unwrap_or(u32::MAX - 1) + 1;
        for seq in seqs {
            let Template { frame, seq_at, packet_at, times_at, values_at } = &mut templates[index(seq)];
            patch_number(&mut frame[*seq_at..*seq_at + SEQ_WIDTH], seq);
            if let Some(place) = *packet_at {
                frame[place..place + 2].copy_from_slice(&mqtt::packet(seq).to_be_bytes());
            }
            for place in times_at {
                *at += share;
                let time = *at - i64::from(chance.draw(jitter));
                patch_number(&mut frame[*place..*place + TIME_WIDTH], time as u64);
            }
            for (place, metric) in values_at {
                let level = levels[*metric] + chance.draw(2 * STEP + 1) as i32 - STEP as i32;
                levels[*metric] = level.clamp(*LEVELS.start(), *LEVELS.end());
                patch_value(&mut frame[*place..*place + 5], levels[*metric]);
            }
            out.extend_from_slice(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use protocol::device::RawReadings;
    use protocol::value::ValueRef;

    use super::*;

    fn metrics(count: usize) -> Vec<MetricName> {
        (0..count).map(|i| MetricName::new(&format!("m{i}")).unwrap()).collect()
    }

    /// The messages as a hub reads them.
    fn texts(bytes: &[u8]) -> Vec<String> {
        let mut texts = Vec::new();
        let mut rest = bytes;
        while let Some(start) = rest.windows(8).position(|part| part == b"{\"type\":") {
            let end = start + rest[start..].windows(3).position(|part| part == b"}]}").unwrap() + 3;
            texts.push(String::from_utf8(rest[start..end].to_vec()).unwrap());
            rest = &rest[end..];
        }
        texts
    }

    #[test]
    fn every_metric_gets_as_many_readings_as_the_next_and_none_twice_for_one_time() {
        for (series, readings) in [(1, 1), (10, 1), (10, 10), (4, 10), (250, 10), (7, 5), (256, 100)] {
            let mut batches = Batches::new(&metrics(series), readings, &Framing::WebSocket, 1, 1_000);
            let mut last: HashMap<String, i64> = HashMap::new();
            let mut counts: HashMap<String, u64> = HashMap::new();
            let mut seq = 1;
            // As many messages as give every metric the same number of readings, some at a time.
            for count in [1, series - 1, 3 * series] {
                let mut out = Vec::new();
                batches.write(Seq(seq), count, 1_700_000_000_000_000 + seq as i64 * 1_000, &mut out);
                for text in texts(&out) {
                    let batch = RawReadings::decode(&text).unwrap();
                    assert_eq!((batch.seq, batch.readings.len()), (Seq(seq), readings));
                    seq += 1;
                    for reading in batch.readings {
                        let name = reading.metric.to_string();
                        *counts.entry(name.clone()).or_default() += 1;
                        let before = last.insert(name, reading.at.0).unwrap_or(1_000);
                        assert!(before < reading.at.0, "{before} {}", reading.at.0);
                        assert!(matches!(reading.value, ValueRef::Number(n) if (10.0..100.0).contains(&n)));
                    }
                }
            }
            assert_eq!(seq, 1 + 4 * series as u64);
            assert_eq!(counts.len(), series, "{series} series, {readings} readings a message");
            assert!(counts.values().all(|count| *count == 4 * readings as u64), "{counts:?}");
        }
    }

    #[test]
    fn a_message_can_have_any_number_and_is_on_time() {
        let now = 1_700_000_000_000_000;
        for framing in [Framing::WebSocket, Framing::Mqtt("load/1".into())] {
            let mut batches = Batches::new(&metrics(4), 10, &framing, 1, now - 3_000);
            for seq in [1, 42, 9_007_199_254_740_991] {
                let mut out = Vec::new();
                batches.write(Seq(seq), 1, now, &mut out);
                assert!(out.len() as u64 <= batches.message_bytes() + 8);
                let text = texts(&out).remove(0);
                let batch = RawReadings::decode(&text).unwrap();
                assert_eq!(batch.seq, Seq(seq));
                let times: Vec<i64> = batch.readings.iter().map(|reading| reading.at.0).collect();
                assert!(times.is_sorted() && times[9] <= now + 30, "{times:?}");
            }
        }
    }
}
