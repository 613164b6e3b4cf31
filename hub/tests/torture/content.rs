//! What the devices of the torture send: a pure function of the device and the number of the batch.
//!
//! So nothing that was sent has to be remembered: a reading in the database says by its time and value which device,
//! batch and place it comes from, and the checker makes the same readings again.

use protocol::{Timestamp, Value};

/// 2026-01-01T00:00:00Z, where the readings begin.
const START: i64 = 1_767_225_600_000_000;
/// Time between two batches, in microseconds: a few thousand of them fill a day.
const BATCH_MICROS: i64 = 10_000_000;
/// Time between two points of a batch.
const POINT_MICROS: i64 = 20_000;
/// A batch of this many is a month late.
const LATE_EVERY: u64 = 97;
/// How late it is, in microseconds.
const LATE_MICROS: i64 = 30 * 86_400 * 1_000_000;
/// How wrong the clock of a device is, in turn: not at all, by an hour, by ten years, either way. In microseconds.
const WRONG: [i64; 5] =
    [0, 3_600_000_000, -3_600_000_000, 3_652 * 86_400 * 1_000_000, -3_652 * 86_400 * 1_000_000];
/// Every so many points have all metrics; the others only the count.
const WHOLE_EVERY: u64 = 8;

/// What every device declares.
pub(crate) const METRICS: &str =
    r#"[{"name":"count"},{"name":"open","kind":"bool"},{"name":"mode","kind":"text"}]"#;

/// Whether retention may take the readings of a device's metric: `mode`, unless the device's clock is in the future. So a
/// rule `metric = "mode"` with `keep` below the age of [`START`] may be set in the hub, and what it must not take is known.
pub(crate) fn may_go(device: u64, metric: usize) -> bool {
    metric == 2 && WRONG[device as usize % WRONG.len()] <= WRONG[1]
}

/// Chance without a state: the same words give the same number.
pub(crate) fn mix(words: [u64; 3]) -> u64 {
    let mut hash = 0_u64;
    for word in words {
        // The steps of SplitMix64.
        hash = hash.wrapping_add(word).wrapping_add(0x9E37_79B9_7F4A_7C15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        hash ^= hash >> 31;
    }
    hash
}

/// A batch of a device. `number` counts through all its epochs, from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) device: u64,
    pub(crate) number: u64,
}

impl Batch {
    /// How many points it has.
    pub(crate) fn points(self) -> u64 {
        match mix([self.device, self.number, 1]) % 8 {
            0..=1 => 1,
            2..=4 => 10,
            5..=6 => 60,
            _ => 250,
        }
    }

    /// How many readings it has.
    pub(crate) fn readings(self) -> u64 {
        self.points() + 2 * self.points().div_ceil(WHOLE_EVERY)
    }

    /// The time of a point. Neighbouring batches come out of order, some come very late, and some clocks are wrong.
    fn at(self, place: u64) -> i64 {
        let slot = (self.number ^ 5) as i64 * BATCH_MICROS;
        let late = if self.number.is_multiple_of(LATE_EVERY) { LATE_MICROS } else { 0 };
        let wrong = WRONG[self.device as usize % WRONG.len()];
        START + wrong + slot - late + place as i64 * POINT_MICROS + self.device as i64
    }

    /// Device, batch and place in one number, which JSON and SQLite keep exactly.
    fn count(self, place: u64) -> f64 {
        ((self.device << 44) | (self.number << 8) | place) as f64
    }

    /// The readings of each metric, in the order of [`METRICS`].
    pub(crate) fn expected(self) -> [Vec<(Timestamp, Value)>; 3] {
        let mut series = [Vec::new(), Vec::new(), Vec::new()];
        for place in 0..self.points() {
            let at = Timestamp(self.at(place));
            series[0].push((at, Value::Number(self.count(place))));
            if place.is_multiple_of(WHOLE_EVERY) {
                series[1].push((at, Value::Bool(self.open(place))));
                series[2].push((at, Value::Text(self.mode(place).into())));
            }
        }
        series
    }

    fn open(self, place: u64) -> bool {
        mix([self.device, self.number, place]) & 1 == 1
    }

    fn mode(self, place: u64) -> String {
        format!("mode {}", mix([self.device, self.number, place]) % 5)
    }

    /// The message that carries it.
    pub(crate) fn message(self, seq: u64) -> String {
        use std::fmt::Write as _;
        let mut text = format!("{{\"type\":\"readings\",\"seq\":{seq},\"points\":[");
        for place in 0..self.points() {
            if place > 0 {
                text.push(',');
            }
            let (at, count) = (self.at(place), self.count(place));
            write!(text, "{{\"at\":{at},\"values\":{{\"count\":{count}").unwrap();
            if place.is_multiple_of(WHOLE_EVERY) {
                let (open, mode) = (self.open(place), self.mode(place));
                write!(text, ",\"open\":{open},\"mode\":\"{mode}\"").unwrap();
            }
            text.push_str("}}");
        }
        text.push_str("]}");
        text
    }
}
