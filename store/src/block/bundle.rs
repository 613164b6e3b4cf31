//! The bytes of a bundle: readings of neighbouring series side by side.
//!
//! Behind codec 81 and a check, as described in [`codec`]: how many series; for each its place on the shelf, its kind as a
//! byte (0 number, 1 bool, 2 text), and how many readings it has; then the length and the bytes of some blobs: the offsets
//! of all times, and the values of each kind that there is. All numbers are LEB128. The first time of a series is told
//! from the first time of the series before it (of the first one from 0), each other time from the time before it.

use protocol::{Kind, SeriesId, Timestamp};

use super::codec::{self, Cursor, damage};
use crate::error::StoreError;
use crate::points::{Points, Values};

/// Neighbouring series that share a bundle. Chosen: more make fewer rows, and queries read more that they do not want.
pub(crate) const SHELF: i64 = 16;

/// Readings of some series of one shelf, ascending by series, each with at least one reading; those of a series in the order
/// of their times, each time once.
pub(crate) type Pieces = Vec<(SeriesId, Points)>;

const BUNDLE: u8 = 81;
const KINDS: [Kind; 3] = [Kind::Number, Kind::Bool, Kind::Text];

/// Writes a bundle. Quickly, if it will soon be merged: in much less time, and more bytes.
pub(crate) fn write(shelf: i64, pieces: &[(SeriesId, Points)], quickly: bool) -> Vec<u8> {
    let count = pieces.iter().map(|(_, points)| points.len()).sum();
    let mut body = Vec::new();
    codec::write_number(&mut body, pieces.len() as u64);
    let mut offsets = Vec::with_capacity(count);
    let mut before = 0;
    for (series, points) in pieces {
        codec::write_number(&mut body, (series.0 - shelf * SHELF) as u64);
        body.push(KINDS.iter().position(|kind| *kind == points.kind()).unwrap_or_default() as u8);
        codec::write_number(&mut body, points.len() as u64);
        let times = points.times();
        if let Some(first) = times.first() {
            offsets.push(first - before);
            before = *first;
        }
        offsets.extend(times.windows(2).map(|pair| pair[1] - pair[0]));
    }
    write_section(&mut body, &codec::write_offsets(&offsets, quickly));
    for kind in KINDS {
        let mut values = Values::of_kind(kind);
        for (_, points) in pieces.iter().filter(|(_, points)| points.kind() == kind) {
            values.extend(points.values());
        }
        if values.len() > 0 {
            let write = if quickly { codec::write_values_quickly } else { codec::write_values };
            write_section(&mut body, &write(&values));
        }
    }
    codec::seal(BUNDLE, count, &body)
}

fn write_section(body: &mut Vec<u8>, blob: &[u8]) {
    codec::write_number(body, blob.len() as u64);
    body.extend(blob);
}

fn read_section<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], StoreError> {
    let length = cursor.number()?;
    cursor.take(usize::try_from(length).unwrap_or(usize::MAX))
}

/// Reads a bundle of `count` readings.
pub(crate) fn read(shelf: i64, data: &[u8], count: usize) -> Result<Pieces, StoreError> {
    let (BUNDLE, body) = codec::open(data, count, "readings")? else {
        return Err(damage("readings have an unknown codec"));
    };
    let mut cursor = Cursor(body);
    let heads = read_heads(&mut cursor, count)?;
    let offsets = codec::read_offsets(read_section(&mut cursor)?, count)?;
    let mut columns = Vec::new();
    for kind in KINDS {
        let of_kind = heads.iter().filter(|head| head.kind == kind).map(|head| head.count).sum();
        columns.push(if of_kind > 0 {
            codec::read_values(read_section(&mut cursor)?, of_kind, kind)?
        } else {
            Values::of_kind(kind)
        });
    }
    cursor.end()?;
    let (mut at, mut first, mut taken) = (0, 0_i64, [0; KINDS.len()]);
    let mut pieces = Vec::with_capacity(heads.len());
    for Head { place, kind, count } in heads {
        first = first.wrapping_add(offsets[at]);
        let times = add_up(first, &offsets[at + 1..at + count])?;
        at += count;
        let column = KINDS.iter().position(|of| *of == kind).unwrap_or_default();
        let values = columns[column].slice(taken[column]..taken[column] + count);
        taken[column] += count;
        let points = Points::from_columns(times, values);
        let points = points.ok_or_else(|| damage("times and values differ in number"))?;
        pieces.push((SeriesId(shelf * SHELF + place), points));
    }
    Ok(pieces)
}

/// What a bundle says of one of its series.
struct Head {
    place: i64,
    kind: Kind,
    count: usize,
}

fn read_heads(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<Head>, StoreError> {
    let mut heads: Vec<Head> = Vec::new();
    let mut left = count;
    for _ in 0..cursor.number()? {
        let place = i64::try_from(cursor.number()?).unwrap_or(SHELF);
        let kind = KINDS.get(usize::from(cursor.take(1)?[0])).ok_or_else(|| damage("kind is unknown"))?;
        let count = usize::try_from(cursor.number()?).unwrap_or(usize::MAX);
        if place >= SHELF || heads.last().is_some_and(|before| before.place >= place) {
            return Err(damage("series do not ascend within a shelf"));
        }
        if count == 0 || count > left {
            return Err(damage("series do not add up to its readings"));
        }
        left -= count;
        heads.push(Head { place, kind: *kind, count });
    }
    if left == 0 { Ok(heads) } else { Err(damage("series do not add up to its readings")) }
}

/// The times that begin at `first` and go on by these distances.
fn add_up(first: i64, distances: &[i64]) -> Result<Vec<i64>, StoreError> {
    let mut times = vec![first];
    times.extend(distances.iter().scan(first, |at, distance| {
        *at = at.wrapping_add(*distance);
        Some(*at)
    }));
    let valid = |at: Option<&i64>| at.is_some_and(|at| Timestamp(*at).is_valid_for_reading());
    if times.is_sorted_by(|a, b| a < b) && valid(times.first()) && valid(times.last()) {
        Ok(times)
    } else {
        Err(damage("times do not ascend"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points() -> impl Strategy<Value = Points> {
        let times = proptest::collection::btree_set(0_i64..4_000_000_000_000_000, 1..40);
        let decimal = (-1_000_000_i32..1_000_000, 0_i32..6).prop_map(|(n, k)| f64::from(n) / 10_f64.powi(k));
        let number = prop_oneof![decimal, any::<f64>().prop_filter("finite", |n| n.is_finite()), Just(-0.0)];
        (times, 0..3, proptest::collection::vec((number, any::<bool>(), "[a-c]{0,3}"), 40)).prop_map(
            |(times, kind, values)| {
                let times: Vec<i64> = times.into_iter().collect();
                let values = values.into_iter().take(times.len());
                let values = match kind {
                    0 => Values::Numbers(values.map(|value| value.0).collect()),
                    1 => Values::Bools(values.map(|value| value.1).collect()),
                    _ => Values::Texts(values.map(|value| value.2.into()).collect()),
                };
                Points::from_columns(times, values).unwrap()
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(
            pieces in proptest::collection::btree_map(0..SHELF, points(), 1..8), quickly: bool
        ) {
            let pieces: Pieces =
                pieces.into_iter().map(|(place, points)| (SeriesId(3 * SHELF + place), points)).collect();
            let count = pieces.iter().map(|(_, points)| points.len()).sum();
            let data = write(3, &pieces, quickly);
            // As text: 0 and -0 are different readings.
            prop_assert_eq!(format!("{:?}", read(3, &data, count).unwrap()), format!("{pieces:?}"));
            prop_assert!(read(3, &data, count + 1).is_err());
        }

        #[test]
        fn i_7_damage_is_told_and_never_panics(
            points in points(), quickly: bool, at: prop::sample::Index, bit in 0_u8..8, cut: prop::sample::Index
        ) {
            let count = points.len();
            let data = write(0, &[(SeriesId(5), points)], quickly);
            let mut flipped = data.clone();
            flipped[at.index(data.len())] ^= 1 << bit;
            prop_assert!(read(0, &flipped, count).is_err());
            prop_assert!(read(0, &data[..cut.index(data.len())], count).is_err());
            // Past the check: what a decoder makes of bytes that are not what they should be.
            let body = flipped.get(5..).unwrap_or_default();
            drop(read(0, &codec::seal(BUNDLE, count, body), count));
        }
    }
}
