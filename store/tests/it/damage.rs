//! Damage on the disk: what of it is noticed. No reading is ever served wrong.

use std::collections::BTreeMap;

use protocol::{SeriesId, Timestamp, Value};
use store::{Reader, Writer};

use crate::files::full_base;
use crate::support::{Base, Chance};

type Series = BTreeMap<Timestamp, Value>;

fn read(reader: &Reader, series: i64) -> Result<Series, store::StoreError> {
    let all = (Timestamp(0), Timestamp::END_READING);
    Ok(reader.raw(SeriesId(series), all.0, all.1, 1_000_000)?.points.into_iter().collect())
}

#[test]
fn i_7_after_flipped_bits_no_reading_is_served_wrong() {
    let base = full_base(1_000_000_000);
    let whole = std::fs::read(base.path()).unwrap();
    drop(base.writer());
    let reader = base.reader();
    let expected: Vec<Series> = (1..=9).map(|series| read(&reader, series).unwrap()).collect();
    let (mut refused, mut errors, mut right, mut missing) = (0, 0, 0, 0);
    let runs = std::env::var("DAMAGE_RUNS").map_or(100, |runs| runs.parse().unwrap());
    for seed in 0..runs {
        let mut chance = Chance(seed);
        let mut bytes = whole.clone();
        for _ in 0..=chance.below(8) {
            let place = chance.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << chance.below(8);
        }
        let copy = Base::new();
        std::fs::write(copy.path(), &bytes).unwrap();
        let opened = Writer::open(&copy.path()).and_then(|writer| Ok((writer, Reader::open(&copy.path())?)));
        let Ok((_writer, reader)) = opened else {
            refused += 1;
            continue;
        };
        for (series, expected) in (1..).zip(&expected) {
            let Ok(found) = read(&reader, series) else {
                errors += 1;
                continue;
            };
            right += usize::from(found == *expected);
            missing += usize::from(expected.keys().any(|at| !found.contains_key(at)));
            for (at, value) in &found {
                assert_eq!(expected.get(at), Some(value), "seed {seed}: series {series} at {at:?}");
            }
        }
    }
    println!(
        "{runs} files: {refused} refused, {errors} series with errors, {right} right, {missing} with readings missing"
    );
}
