//! A stretch of readings, ascending in time: plain while it grows, packed once it is full.
//!
//! Packed, a reading takes eight bytes where its value is a decimal number or fits a single precision one, as those of
//! most sensors do, and twelve otherwise. Packing loses nothing: what comes out is bit for bit what went in.

/// Most decimal places that packing looks for. Chosen: with more than six, few values fit 32 bits.
const PLACES_MAX: i32 = 6;

/// Some readings.
#[derive(Debug)]
pub(super) enum Chunk {
    /// They can be changed.
    Plain(Vec<i64>, Vec<f64>),
    /// As small as it gets.
    Packed(Times, Values),
}

#[derive(Debug)]
pub(super) enum Times {
    All(Box<[i64]>),
    /// `base + offset * unit`.
    Offsets {
        base: i64,
        unit: i64,
        offsets: Box<[u32]>,
    },
}

#[derive(Debug)]
pub(super) enum Values {
    All(Box<[f64]>),
    /// Whole numbers of units, divided by this power of ten.
    Decimals {
        scale: f64,
        units: Box<[i32]>,
    },
    Singles(Box<[f32]>),
}

impl Default for Chunk {
    fn default() -> Self {
        Self::Plain(Vec::new(), Vec::new())
    }
}

impl Times {
    /// `None` if the stretch is too long for its finest unit.
    fn pack(times: &[i64]) -> Option<Self> {
        let base = *times.first()?;
        let unit = times.iter().fold(0, |unit, time| divisor(unit, time - base)).max(1);
        let offset = |time: &i64| u32::try_from((time - base) / unit).ok();
        let offsets = times.iter().map(offset).collect::<Option<_>>()?;
        Some(Self::Offsets { base, unit, offsets })
    }

    fn get(&self, i: usize) -> i64 {
        match self {
            Self::All(times) => times[i],
            Self::Offsets { base, unit, offsets } => base + i64::from(offsets[i]) * unit,
        }
    }

    const fn len(&self) -> usize {
        match self {
            Self::All(times) => times.len(),
            Self::Offsets { offsets, .. } => offsets.len(),
        }
    }

    const fn bytes(&self) -> usize {
        match self {
            Self::All(times) => times.len() * 8,
            Self::Offsets { offsets, .. } => offsets.len() * 4,
        }
    }
}

/// The greatest common divisor of two numbers that are not negative.
const fn divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl Values {
    /// `None` if they need every bit.
    fn pack(values: &[f64]) -> Option<Self> {
        let single = |value: &f64| {
            let single = *value as f32;
            (f64::from(single).to_bits() == value.to_bits()).then_some(single)
        };
        Self::decimals(values)
            .or_else(|| Some(Self::Singles(values.iter().map(single).collect::<Option<_>>()?)))
    }

    fn get(&self, i: usize) -> f64 {
        match self {
            Self::All(values) => values[i],
            Self::Decimals { scale, units } => f64::from(units[i]) / scale,
            Self::Singles(values) => f64::from(values[i]),
        }
    }

    fn decimals(values: &[f64]) -> Option<Self> {
        let mut places = 0;
        let mut scale = 1.0;
        for value in values {
            // What has so many places has them with a larger scale too: earlier ones need not be looked at again.
            while decimal(*value, scale).is_none() {
                places += 1;
                if places > PLACES_MAX {
                    return None;
                }
                scale *= 10.0;
            }
        }
        let units = values.iter().map(|value| decimal(*value, scale)).collect::<Option<_>>()?;
        Some(Self::Decimals { scale, units })
    }

    const fn bytes(&self) -> usize {
        match self {
            Self::All(values) => values.len() * 8,
            Self::Decimals { units, .. } => units.len() * 4,
            Self::Singles(values) => values.len() * 4,
        }
    }
}

/// The whole number of which `value` is the `scale`th part, bit for bit.
fn decimal(value: f64, scale: f64) -> Option<i32> {
    let units = (value * scale).round();
    let is_whole = units.abs() <= f64::from(i32::MAX) && (units / scale).to_bits() == value.to_bits();
    // Minus nought is no whole number.
    (is_whole && !(units == 0.0 && value.is_sign_negative())).then_some(units as i32)
}

impl Chunk {
    /// Number of readings.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Plain(times, _) => times.len(),
            Self::Packed(times, _) => times.len(),
        }
    }

    /// The time of a reading that is there.
    fn time(&self, i: usize) -> i64 {
        match self {
            Self::Plain(times, _) => times[i],
            Self::Packed(times, _) => times.get(i),
        }
    }

    /// The time and value of a reading that is there.
    pub(super) fn reading(&self, i: usize) -> (i64, f64) {
        match self {
            Self::Plain(times, values) => (times[i], values[i]),
            Self::Packed(times, values) => (times.get(i), values.get(i)),
        }
    }

    /// Time of the first reading.
    pub(super) fn first(&self) -> Option<i64> {
        (self.len() > 0).then(|| self.time(0))
    }

    /// Time of the last reading.
    pub(super) fn last(&self) -> Option<i64> {
        self.len().checked_sub(1).map(|i| self.time(i))
    }

    /// Number of readings before `at`.
    pub(super) fn before(&self, at: i64) -> usize {
        match self {
            Self::Plain(times, _) => times.partition_point(|&time| time < at),
            Self::Packed(Times::All(times), _) => times.partition_point(|&time| time < at),
            Self::Packed(Times::Offsets { base, unit, offsets }, _) => {
                offsets.partition_point(|&offset| base + i64::from(offset) * unit < at)
            }
        }
    }

    /// The readings of `from <= time < to`.
    pub(super) fn range(
        &self,
        from: i64,
        to: i64,
    ) -> impl DoubleEndedIterator<Item = (i64, f64)> + ExactSizeIterator + '_ {
        (self.before(from)..self.before(to)).map(|i| self.reading(i))
    }

    /// Memory of the readings.
    pub(super) const fn bytes(&self) -> usize {
        match self {
            Self::Plain(times, values) => (times.len() + values.len()) * 8,
            Self::Packed(times, values) => times.bytes() + values.bytes(),
        }
    }

    /// Makes it as small as it gets.
    pub(super) fn pack(&mut self) {
        if let Self::Plain(times, values) = self {
            let packed_times = Times::pack(times).unwrap_or_else(|| Times::All(times.as_slice().into()));
            let packed_values = Values::pack(values).unwrap_or_else(|| Values::All(values.as_slice().into()));
            *self = Self::Packed(packed_times, packed_values);
        }
    }

    /// Changes the readings; unpacks them if need be.
    fn change<T>(&mut self, change: impl FnOnce(&mut Vec<i64>, &mut Vec<f64>) -> T) -> T {
        let (mut times, mut values) = match std::mem::take(self) {
            Self::Plain(times, values) => (times, values),
            Self::Packed(times, values) => (0..times.len()).map(|i| (times.get(i), values.get(i))).unzip(),
        };
        let changed = change(&mut times, &mut values);
        *self = Self::Plain(times, values);
        changed
    }

    /// Brings readings that were pushed in any order into that of time; of one time the first stays.
    pub(super) fn settle(&mut self) {
        self.change(|times, values| {
            if times.is_sorted_by(|a, b| a < b) {
                return;
            }
            let mut readings: Vec<(i64, f64)> = times.drain(..).zip(values.drain(..)).collect();
            readings.sort_by_key(|(at, _)| *at);
            readings.dedup_by_key(|(at, _)| *at);
            (*times, *values) = readings.into_iter().unzip();
        });
    }

    /// Puts a reading after the last.
    pub(super) fn push(&mut self, at: i64, value: f64) {
        self.change(|times, values| {
            times.push(at);
            values.push(value);
        });
    }

    /// Puts a reading at its place, `i` readings being before it.
    pub(super) fn insert(&mut self, i: usize, at: i64, value: f64) {
        self.change(|times, values| {
            times.insert(i, at);
            values.insert(i, value);
        });
    }

    /// Takes the readings from the `i`th on away.
    pub(super) fn split_off(&mut self, i: usize) -> Self {
        self.change(|times, values| Self::Plain(times.split_off(i), values.split_off(i)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk(readings: impl IntoIterator<Item = (i64, f64)>) -> Chunk {
        let mut chunk = Chunk::default();
        for (at, value) in readings {
            chunk.push(at, value);
        }
        chunk
    }

    fn bits(chunk: &Chunk) -> Vec<(i64, u64)> {
        (0..chunk.len()).map(|i| chunk.reading(i)).map(|(at, value)| (at, value.to_bits())).collect()
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(
            times in prop::collection::btree_set(
                prop_oneof![0..10_000_000_000_i64, (0..90_000_i64).prop_map(|s| s * 1_000_000), any::<i32>().prop_map(i64::from)],
                1..300,
            ),
            value in prop_oneof![
                Just(1.0), Just(0.1), Just(0.01), Just(1e-6), Just(0.125), Just(std::f64::consts::PI),
            ],
            seed in any::<u64>(),
            at in 0_usize..300,
        ) {
            let mut x = seed;
            let readings: Vec<(i64, f64)> = times
                .into_iter()
                .map(|time| {
                    x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (time, (x >> 44) as f64 * value - 100.0)
                })
                .collect();
            let mut packed = chunk(readings.clone());
            let before = bits(&packed);
            packed.pack();
            prop_assert_eq!(bits(&packed), before.clone());
            prop_assert!(packed.bytes() <= 16 * before.len());
            let at = at.min(readings.len() - 1);
            prop_assert_eq!(packed.before(readings[at].0), at);
            // And it can be changed afterwards.
            let upper = packed.split_off(at);
            prop_assert_eq!([bits(&packed), bits(&upper)].concat(), before);
        }
    }

    #[test]
    fn what_sensors_send_takes_eight_bytes_a_reading() {
        let of = |value: fn(i64) -> f64| {
            let mut chunk = chunk((0..1_000).map(|i| (1_767_225_600_000_000 + i * 100_000, value(i))));
            chunk.pack();
            chunk.bytes() / 1_000
        };
        assert_eq!(of(|i| 20.0 + (i % 97) as f64 / 100.0), 8, "two decimals");
        assert_eq!(of(|i| f64::from((i as f32).sin())), 8, "single precision");
        assert_eq!(of(|i| (i % 2) as f64), 8, "states");
        assert_eq!(of(|i| (i as f64).sin()), 12, "every bit");
    }

    #[test]
    fn minus_nought_and_long_stretches_stay_as_they_are() {
        let mut chunk = chunk([(0, -0.0), (1, 1.0), (i64::from(u32::MAX) + 7, 2.5)]);
        let before = bits(&chunk);
        chunk.pack();
        assert_eq!(bits(&chunk), before);
    }
}
