//! The bytes of a block: times, values, and the statistics of finer stretches; and the columns of a bundle.
//!
//! Each blob begins with a codec byte and a check of four bytes over that byte, the number of readings (0 for buckets) and
//! everything behind it, so that damage is told from data before a decoder sees it. A codec byte means the same for ever; a new format is a new byte.
//!
//! | blob | codec | behind the check |
//! |---|---|---|
//! | times | 1 | the first time, then the distance of each from the one before: LEB128 |
//! | times | 2 | `pco` standalone, signed 64 bit, at least [`PCO_MIN`] readings |
//! | offsets | 3 | of a bundle, distances of any sign between times: LEB128 of their zigzag form |
//! | offsets | 4 | the same: `pco` standalone, signed 64 bit, at least [`PCO_MIN`] of them |
//! | values | 17 | numbers: IEEE 754, little endian, 8 bytes each |
//! | values | 18 | numbers: `pco` standalone, 64 bit float |
//! | values | 19 | numbers of few decimals: how many as a byte, then in units of the last decimal the distance of each number from the one before (of the first one from 0): LEB128 of their zigzag form |
//! | values | 33 | truth values: one bit each, lowest first, 1 for true |
//! | values | 34 | truth values: the first as a byte, then the lengths of runs of equal ones: LEB128 |
//! | values | 49 | texts: how many different ones, each as length and UTF-8; then runs: which one, how often; all LEB128 |
//! | buckets | 65 | rung of the ladder, then for each bucket that holds readings: how many rungs after the one before, count (LEB128), min, max, sum, first, last (8 bytes each) |
//! | bundle | 81 | see [`bundle`](super::bundle) |

use std::collections::HashMap;
use std::sync::Arc;

use pco::standalone::{simple_compress, simple_decompress_into};
use pco::{ChunkConfig, DeltaSpec, ModeSpec};
use protocol::limits::TEXT_VALUE_MAX_BYTES;
use protocol::{Bucket, Kind, Step, Timestamp};

use crate::error::StoreError;
use crate::points::{Points, Values};

/// Most readings that a block may claim to hold. Cutting keeps to a sixth of it.
pub(crate) const COUNT_MAX: usize = 65_536;
/// Fewer readings are kept plain. Measured: `pco` takes 10 to 20 µs even for 16 of them, and they are merged soon.
const PCO_MIN: usize = 128;
/// Effort of `pco`. Measured: level 8 takes up to three times as long and saves at most 5 %.
const PCO_LEVEL: usize = 4;
/// With fewer numbers `pco` is not left to try which differences pack best. Measured: trying triples the time for 256.
const TRY_DELTAS_MIN: usize = 1_024;
/// Most buckets in a block: a day in steps of a second.
const BUCKETS_MAX: usize = 86_400;

const TIMES_PLAIN: u8 = 1;
const TIMES_PCO: u8 = 2;
const OFFSETS_PLAIN: u8 = 3;
const OFFSETS_PCO: u8 = 4;
const NUMBERS_PLAIN: u8 = 17;
const NUMBERS_PCO: u8 = 18;
const NUMBERS_DECIMAL: u8 = 19;
const BOOLS_BITS: u8 = 33;
const BOOLS_RUNS: u8 = 34;
const TEXTS: u8 = 49;
const BUCKETS: u8 = 65;

/// Most decimals that are tried for [`NUMBERS_DECIMAL`].
const DECIMALS_MAX: u8 = 4;
/// Whole numbers up to here are exact as a float: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Bytes before the body: the codec and the check.
const HEAD: usize = 5;

pub(crate) fn damage(what: &str) -> StoreError {
    StoreError::corrupt(format!("a block whose {what}"))
}

/// A check that finds every flipped bit and cut end, quickly; not a secret.
fn check(codec: u8, count: usize, body: &[u8]) -> [u8; 4] {
    let mut state =
        0xCBF2_9CE4_8422_2325_u64 ^ (body.len() as u64) << 8 ^ (count as u64) << 40 ^ u64::from(codec);
    let mut mix = |word: u64| {
        state = (state ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        state ^= state >> 29;
    };
    let mut words = body.chunks_exact(8);
    for word in &mut words {
        mix(word.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)));
    }
    mix(words.remainder().iter().rev().fold(1, |sum, byte| sum << 8 | u64::from(*byte)));
    ((state >> 32) as u32).to_le_bytes()
}

pub(crate) fn seal(codec: u8, count: usize, body: &[u8]) -> Vec<u8> {
    let mut blob = Vec::with_capacity(HEAD + body.len());
    blob.push(codec);
    blob.extend(check(codec, count, body));
    blob.extend(body);
    blob
}

pub(crate) fn open<'a>(blob: &'a [u8], count: usize, what: &str) -> Result<(u8, &'a [u8]), StoreError> {
    match blob {
        [codec, a, b, c, d, body @ ..] if check(*codec, count, body) == [*a, *b, *c, *d] => {
            Ok((*codec, body))
        }
        _ => Err(damage(&format!("{what} fail their check"))),
    }
}

pub(crate) fn write_number(body: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        body.push(n as u8 | 0x80);
        n >>= 7;
    }
    body.push(n as u8);
}

/// Reads from a body; every read may find its end.
pub(crate) struct Cursor<'a>(pub(crate) &'a [u8]);

impl<'a> Cursor<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], StoreError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| damage("body ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn number(&mut self) -> Result<u64, StoreError> {
        let mut n = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            n |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(damage("body holds a number that does not end"))
    }

    fn float(&mut self) -> Result<f64, StoreError> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        let n = f64::from_le_bytes(bytes);
        if n.is_finite() { Ok(n) } else { Err(damage("body holds a number that is not finite")) }
    }

    pub(crate) fn end(&self) -> Result<(), StoreError> {
        if self.0.is_empty() { Ok(()) } else { Err(damage("body is longer than its readings")) }
    }
}

fn unpack<T: pco::data_types::Number>(body: &[u8], count: usize, zero: T) -> Result<Vec<T>, StoreError> {
    let mut numbers = vec![zero; count];
    let progress = simple_decompress_into(body, &mut numbers)
        .map_err(|error| damage(&format!("compressed numbers cannot be read: {error}")))?;
    if progress.n_processed == count && progress.finished {
        Ok(numbers)
    } else {
        Err(damage("compressed numbers are not as many as its readings"))
    }
}

fn pack<T: pco::data_types::Number>(numbers: &[T], delta: DeltaSpec, mode: ModeSpec) -> Option<Vec<u8>> {
    let config =
        ChunkConfig::default().with_compression_level(PCO_LEVEL).with_delta_spec(delta).with_mode_spec(mode);
    simple_compress(numbers, &config).ok()
}

/// Writes ascending times.
pub(crate) fn write_times(times: &[i64]) -> Vec<u8> {
    if times.len() >= PCO_MIN
        && let Some(body) = pack(times, DeltaSpec::TryConsecutive(1), ModeSpec::Classic)
    {
        return seal(TIMES_PCO, times.len(), &body);
    }
    let mut body = Vec::with_capacity(times.len() * 4 + 8);
    let mut before = 0_i64;
    for at in times {
        write_number(&mut body, at.wrapping_sub(before) as u64);
        before = *at;
    }
    seal(TIMES_PLAIN, times.len(), &body)
}

/// Reads `count` times, which ascend within what a reading may claim.
pub(crate) fn read_times(blob: &[u8], count: usize) -> Result<Vec<i64>, StoreError> {
    if count > COUNT_MAX {
        return Err(damage("count is too large"));
    }
    let times = match open(blob, count, "times")? {
        (TIMES_PLAIN, body) => {
            let mut cursor = Cursor(body);
            let mut before = 0_i64;
            let mut times = Vec::with_capacity(count);
            for _ in 0..count {
                before = before.wrapping_add(cursor.number()? as i64);
                times.push(before);
            }
            cursor.end()?;
            times
        }
        (TIMES_PCO, body) => unpack(body, count, 0_i64)?,
        (codec, _) => return Err(damage(&format!("times have codec {codec}"))),
    };
    let valid = |at: Option<&i64>| at.is_none_or(|at| Timestamp(*at).is_valid_for_reading());
    if times.is_sorted_by(|a, b| a < b) && valid(times.first()) && valid(times.last()) {
        Ok(times)
    } else {
        Err(damage("times do not ascend"))
    }
}

const fn zigzag(n: i64) -> u64 {
    (n << 1 ^ n >> 63) as u64
}

const fn unzigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

/// Writes distances of any sign. Quickly: a tenth of the time, half as much again in bytes.
pub(crate) fn write_offsets(offsets: &[i64], quickly: bool) -> Vec<u8> {
    if !quickly
        && offsets.len() >= PCO_MIN
        && let Some(body) = pack(offsets, DeltaSpec::NoOp, ModeSpec::Classic)
    {
        return seal(OFFSETS_PCO, offsets.len(), &body);
    }
    let mut body = Vec::with_capacity(offsets.len() * 4 + 8);
    for offset in offsets {
        write_number(&mut body, zigzag(*offset));
    }
    seal(OFFSETS_PLAIN, offsets.len(), &body)
}

/// Reads `count` distances.
pub(crate) fn read_offsets(blob: &[u8], count: usize) -> Result<Vec<i64>, StoreError> {
    if count > COUNT_MAX {
        return Err(damage("count is too large"));
    }
    match open(blob, count, "offsets")? {
        (OFFSETS_PLAIN, body) => {
            let mut cursor = Cursor(body);
            let offsets =
                (0..count).map(|_| Ok(unzigzag(cursor.number()?))).collect::<Result<_, StoreError>>()?;
            cursor.end()?;
            Ok(offsets)
        }
        (OFFSETS_PCO, body) => unpack(body, count, 0_i64),
        (codec, _) => Err(damage(&format!("offsets have codec {codec}"))),
    }
}

/// Writes values in a tenth of the time that [`write_values`] takes, in up to twice the bytes if they have few decimals.
pub(crate) fn write_values_quickly(values: &Values) -> Vec<u8> {
    match values {
        Values::Numbers(numbers) => match write_decimals(numbers) {
            Some(body) => seal(NUMBERS_DECIMAL, numbers.len(), &body),
            None => write_plain(numbers),
        },
        Values::Bools(_) | Values::Texts(_) => write_values(values),
    }
}

fn write_plain(numbers: &[f64]) -> Vec<u8> {
    let body: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    seal(NUMBERS_PLAIN, numbers.len(), &body)
}

/// Numbers in units of their last decimal, if every one is exactly what comes back.
fn write_decimals(numbers: &[f64]) -> Option<Vec<u8>> {
    'decimals: for decimals in 0..=DECIMALS_MAX {
        let unit = 10_f64.powi(i32::from(decimals));
        let mut body = Vec::with_capacity(numbers.len() * 2 + 1);
        body.push(decimals);
        let mut before = 0_i64;
        for n in numbers {
            let units = (n * unit).round();
            if units.abs() > EXACT_MAX || (units as i64 as f64 / unit).to_bits() != n.to_bits() {
                continue 'decimals;
            }
            write_number(&mut body, zigzag(units as i64 - before));
            before = units as i64;
        }
        return Some(body);
    }
    None
}

fn read_decimals(body: &[u8], count: usize) -> Result<Vec<f64>, StoreError> {
    let mut cursor = Cursor(body);
    let decimals = cursor.take(1)?[0];
    if decimals > DECIMALS_MAX {
        return Err(damage("numbers have too many decimals"));
    }
    let unit = 10_f64.powi(i32::from(decimals));
    let mut units = 0_i64;
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        units = units.wrapping_add(unzigzag(cursor.number()?));
        numbers.push(units as f64 / unit);
    }
    cursor.end()?;
    Ok(numbers)
}

/// Writes values.
pub(crate) fn write_values(values: &Values) -> Vec<u8> {
    match values {
        Values::Numbers(numbers) => {
            let delta =
                if numbers.len() < TRY_DELTAS_MIN { DeltaSpec::TryConsecutive(1) } else { DeltaSpec::Auto };
            if numbers.len() >= PCO_MIN
                && let Some(body) = pack(numbers, delta, ModeSpec::Auto)
            {
                return seal(NUMBERS_PCO, numbers.len(), &body);
            }
            write_plain(numbers)
        }
        Values::Bools(bools) => {
            let mut runs = vec![u8::from(bools.first().is_some_and(|first| *first))];
            for run in bools.chunk_by(|a, b| a == b) {
                write_number(&mut runs, run.len() as u64);
            }
            if runs.len() <= bools.len().div_ceil(8) {
                return seal(BOOLS_RUNS, bools.len(), &runs);
            }
            let bits: Vec<u8> = bools
                .chunks(8)
                .map(|eight| eight.iter().rev().fold(0, |bits, bit| bits << 1 | u8::from(*bit)))
                .collect();
            seal(BOOLS_BITS, bools.len(), &bits)
        }
        Values::Texts(texts) => {
            let mut places: HashMap<&str, usize> = HashMap::new();
            let mut words = Vec::new();
            let mut runs = Vec::new();
            for run in texts.chunk_by(|a, b| a == b) {
                let next = places.len();
                let place = *places.entry(&run[0]).or_insert_with(|| {
                    write_number(&mut words, run[0].len() as u64);
                    words.extend(run[0].as_bytes());
                    next
                });
                write_number(&mut runs, place as u64);
                write_number(&mut runs, run.len() as u64);
            }
            let mut body = Vec::with_capacity(words.len() + runs.len() + 4);
            write_number(&mut body, places.len() as u64);
            body.extend(words);
            body.extend(runs);
            seal(TEXTS, texts.len(), &body)
        }
    }
}

/// Reads `count` values of a kind.
pub(crate) fn read_values(blob: &[u8], count: usize, kind: Kind) -> Result<Values, StoreError> {
    if count > COUNT_MAX {
        return Err(damage("count is too large"));
    }
    let (codec, body) = open(blob, count, "values")?;
    match (kind, codec) {
        (Kind::Number, NUMBERS_PLAIN) => {
            let mut cursor = Cursor(body);
            let numbers = (0..count).map(|_| cursor.float()).collect::<Result<_, _>>()?;
            cursor.end()?;
            Ok(Values::Numbers(numbers))
        }
        (Kind::Number, NUMBERS_DECIMAL) => Ok(Values::Numbers(read_decimals(body, count)?)),
        (Kind::Number, NUMBERS_PCO) => {
            let numbers = unpack(body, count, 0_f64)?;
            if numbers.iter().all(|n| n.is_finite()) {
                Ok(Values::Numbers(numbers))
            } else {
                Err(damage("values are not finite"))
            }
        }
        (Kind::Bool, BOOLS_BITS) if body.len() == count.div_ceil(8) => {
            Ok(Values::Bools((0..count).map(|i| body[i / 8] >> (i % 8) & 1 == 1).collect()))
        }
        (Kind::Bool, BOOLS_RUNS) => {
            let mut cursor = Cursor(body);
            let mut value = cursor.take(1)?[0] == 1;
            let mut bools = Vec::with_capacity(count);
            while bools.len() < count {
                let run = read_run(&mut cursor, count - bools.len())?;
                bools.resize(bools.len() + run, value);
                value = !value;
            }
            cursor.end()?;
            Ok(Values::Bools(bools))
        }
        (Kind::Text, TEXTS) => read_texts(body, count),
        (kind, codec) => Err(damage(&format!("values of kind {kind} have codec {codec}"))),
    }
}

fn read_run(cursor: &mut Cursor<'_>, most: usize) -> Result<usize, StoreError> {
    match usize::try_from(cursor.number()?) {
        Ok(run) if (1..=most).contains(&run) => Ok(run),
        _ => Err(damage("runs do not add up to its readings")),
    }
}

fn read_texts(body: &[u8], count: usize) -> Result<Values, StoreError> {
    let mut cursor = Cursor(body);
    let different = cursor.number()?;
    if different > count as u64 {
        return Err(damage("texts are more than its readings"));
    }
    let mut words: Vec<Arc<str>> = Vec::with_capacity(different as usize);
    for _ in 0..different {
        let length = cursor.number()?;
        if length > TEXT_VALUE_MAX_BYTES as u64 {
            return Err(damage("texts are too long"));
        }
        let text =
            std::str::from_utf8(cursor.take(length as usize)?).map_err(|_| damage("texts are not UTF-8"))?;
        words.push(text.into());
    }
    let mut texts = Vec::with_capacity(count);
    while texts.len() < count {
        let place = cursor.number()?;
        let word = usize::try_from(place).ok().and_then(|place| words.get(place));
        let word = word.ok_or_else(|| damage("runs name a text that it does not hold"))?;
        let run = read_run(&mut cursor, count - texts.len())?;
        texts.resize(texts.len() + run, Arc::clone(word));
    }
    cursor.end()?;
    Ok(Values::Texts(texts))
}

/// Writes the buckets of a step, ascending.
pub(crate) fn write_buckets(step: Step, buckets: &[Bucket]) -> Vec<u8> {
    let rung = Step::ALL.iter().position(|rung| *rung == step).unwrap_or_default();
    let mut body = vec![rung as u8];
    let mut before = 0_i64;
    for bucket in buckets {
        let place = bucket.at.0 / step.micros();
        write_number(&mut body, place.wrapping_sub(before) as u64);
        before = place;
        write_number(&mut body, bucket.count);
        for n in [bucket.min, bucket.max, bucket.sum, bucket.first, bucket.last] {
            body.extend(n.to_le_bytes());
        }
    }
    seal(BUCKETS, 0, &body)
}

/// Reads buckets, ascending, and the step that they have.
pub(crate) fn read_buckets(blob: &[u8]) -> Result<(Step, Vec<Bucket>), StoreError> {
    let (BUCKETS, body) = open(blob, 0, "buckets")? else {
        return Err(damage("buckets have an unknown codec"));
    };
    let mut cursor = Cursor(body);
    let rung = usize::from(cursor.take(1)?[0]);
    let step = *Step::ALL.get(rung).ok_or_else(|| damage("buckets have an unknown step"))?;
    let mut buckets = Vec::new();
    let mut place = 0_i64;
    while !cursor.0.is_empty() {
        let distance = cursor.number()?;
        place = place.wrapping_add(distance as i64);
        let at = Timestamp(place.wrapping_mul(step.micros()));
        if distance == 0 && !buckets.is_empty() || !at.is_valid_for_reading() || buckets.len() == BUCKETS_MAX
        {
            return Err(damage("buckets do not ascend"));
        }
        let count = cursor.number()?;
        let [min, max, sum, first, last] =
            [cursor.float()?, cursor.float()?, cursor.float()?, cursor.float()?, cursor.float()?];
        buckets.push(Bucket { at, count, min, max, sum, first, last });
    }
    Ok((step, buckets))
}

/// Writes the readings of a block: times and values.
pub(crate) fn write(points: &Points) -> (Vec<u8>, Vec<u8>) {
    (write_times(points.times()), write_values(points.values()))
}

/// Reads the readings of a block.
pub(crate) fn read(times: &[u8], values: &[u8], count: usize, kind: Kind) -> Result<Points, StoreError> {
    Points::from_columns(read_times(times, count)?, read_values(values, count, kind)?)
        .ok_or_else(|| damage("times and values differ in number"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values() -> impl Strategy<Value = Values> {
        prop_oneof![
            prop::collection::vec(prop::num::f64::NORMAL | prop::num::f64::ZERO, 1..400)
                .prop_map(Values::Numbers),
            prop::collection::vec((-500..500_i32).prop_map(|n| f64::from(n) / 10.0), 1..400)
                .prop_map(Values::Numbers),
            prop::collection::vec(any::<bool>(), 1..400).prop_map(Values::Bools),
            prop::collection::vec(prop::bool::weighted(0.01), 1..400).prop_map(Values::Bools),
            prop::collection::vec("[a-cé]{0,2}", 1..400)
                .prop_map(|texts| Values::Texts(texts.iter().map(|text| text.as_str().into()).collect())),
        ]
    }

    const fn kind(values: &Values) -> Kind {
        match values {
            Values::Numbers(_) => Kind::Number,
            Values::Bools(_) => Kind::Bool,
            Values::Texts(_) => Kind::Text,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn values_come_back_bit_for_bit(values in values()) {
            let blob = write_values(&values);
            let back = read_values(&blob, values.len(), kind(&values)).unwrap();
            prop_assert_eq!(format!("{back:?}"), format!("{values:?}"));
            prop_assert!(read_values(&blob, values.len() + 1, kind(&values)).is_err());
            let blob = write_values_quickly(&values);
            let back = read_values(&blob, values.len(), kind(&values)).unwrap();
            prop_assert_eq!(format!("{back:?}"), format!("{values:?}"));
        }

        #[test]
        fn offsets_come_back(offsets in prop::collection::vec(any::<i64>(), 0..400), quickly: bool) {
            let blob = write_offsets(&offsets, quickly);
            prop_assert_eq!(read_offsets(&blob, offsets.len()).unwrap(), &offsets[..]);
            prop_assert!(read_offsets(&blob, offsets.len() + 1).is_err());
        }

        #[test]
        fn times_come_back(first in 0..4_000_000_000_000_000_i64, distances in prop::collection::vec(1..90_000_000_i64, 0..400)) {
            let mut times = vec![first];
            times.extend(distances.iter().scan(first, |at, distance| { *at += distance; Some(*at) }));
            let blob = write_times(&times);
            prop_assert_eq!(read_times(&blob, times.len()).unwrap(), &times[..]);
            prop_assert!(read_times(&blob, times.len() + 1).is_err());
            prop_assert!(read_times(&blob, times.len() - 1).is_err());
        }

        #[test]
        fn i_7_damage_is_found_and_does_not_panic(values in values(), place in any::<prop::sample::Index>(), bit in 0..8) {
            let mut blob = write_values(&values);
            let place = place.index(blob.len());
            blob[place] ^= 1_u8 << bit;
            prop_assert!(read_values(&blob, values.len(), kind(&values)).is_err());
            prop_assert!(read_values(&blob[..place], values.len(), kind(&values)).is_err());
        }

        #[test]
        fn i_7_a_body_that_passes_its_check_but_is_nonsense_does_not_panic(
            codec in prop::sample::select(vec![1_u8, 2, 3, 4, 17, 18, 19, 33, 34, 49, 65]),
            body in prop::collection::vec(any::<u8>(), 0..200),
            count in 0..300_usize,
        ) {
            let blob = seal(codec, if codec == BUCKETS { 0 } else { count }, &body);
            for kind in [Kind::Number, Kind::Bool, Kind::Text] {
                drop(read_values(&blob, count, kind));
            }
            drop(read_times(&blob, count));
            drop(read_offsets(&blob, count));
            drop(read_buckets(&blob));
        }
    }

    #[test]
    fn buckets_come_back() {
        let buckets: Vec<Bucket> = [0, 300, 900, 86_400]
            .map(|seconds| Bucket {
                count: 7,
                sum: 0.5,
                ..Bucket::of(Timestamp::from_seconds(seconds), -1.5)
            })
            .to_vec();
        let blob = write_buckets(Step::M5, &buckets);
        assert_eq!(read_buckets(&blob).unwrap(), (Step::M5, buckets));
    }

    #[test]
    fn a_steady_series_needs_few_bytes() {
        let times: Vec<i64> = (0..3_600).map(|i| 1_767_225_600_000_000 + i * 1_000_000).collect();
        assert!(write_times(&times).len() < 100, "{}", write_times(&times).len());
        let numbers = (0..3_600).map(|i| f64::from((i * 7_919) % 200) / 10.0).collect();
        assert!(write_values(&Values::Numbers(numbers)).len() < 2 * 3_600);
        assert!(write_values(&Values::Bools(vec![true; 3_600])).len() < 10);
        assert!(write_values(&Values::Texts(vec!["open".into(); 3_600])).len() < 16);
    }
}
