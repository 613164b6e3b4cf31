//! What was known at a time: against a simple reference, over blocks, bundles, overlaps, late readings and hot rows.

use std::collections::BTreeMap;

use protocol::{SeriesId, Timestamp, Value};
use rusqlite::Connection;
use store::{Registered, SealPolicy, Writer};

use crate::support::{Base, Chance, NOW, register, row, store};

const DAY: i64 = 86_400_000_000;

/// Of each series, the first stored value at each time.
#[derive(Default)]
struct Reference {
    series: BTreeMap<SeriesId, BTreeMap<i64, Value>>,
}

impl Reference {
    fn note(&mut self, series: SeriesId, at: i64, value: &Value) {
        self.series.entry(series).or_default().entry(at).or_insert_with(|| value.clone());
    }

    fn as_of(&self, at: i64) -> Vec<(SeriesId, i64, Value)> {
        let last = |(series, points): (&SeriesId, &BTreeMap<i64, Value>)| {
            points.range(..=at).next_back().map(|(at, value)| (*series, *at, value.clone()))
        };
        self.series.iter().filter_map(last).collect()
    }
}

/// Stores a batch of a device at times that go on, come late, repeat or lie days away.
fn append(
    writer: &mut Writer,
    chance: &mut Chance,
    reference: &mut Reference,
    device: &Registered,
    seq: u64,
    now: i64,
) {
    let mut rows = Vec::new();
    for _ in 0..=chance.below(40) {
        let at = match chance.below(8) {
            0 => now - chance.below(3 * DAY as u64) as i64,
            1 => now - chance.below(50) as i64 * 1_000_000,
            2 => now / DAY * DAY - chance.below(2) as i64,
            _ => now + chance.below(600) as i64 * 1_000_000,
        };
        let place = chance.below(3) as usize;
        let value = match place {
            0 => Value::Number(chance.below(1_000) as f64 / 8.0),
            1 => Value::Bool(chance.one_in(2)),
            _ => Value::from(["off", "on", "ramping"][chance.below(3) as usize]),
        };
        reference.note(device.series[place], at, &value);
        rows.push(row(device.series[place], at, value));
    }
    store(writer, device.stream, seq, rows);
}

/// Returns how often there was something hot, in bundles and in blocks.
fn run(seed: u64) -> usize {
    let mut everywhere = 0;
    let mut chance = Chance(seed);
    let base = Base::new();
    let mut writer = base.writer();
    let devices = [register(&mut writer, "a"), register(&mut writer, "b")];
    let mut seqs = [0, 0];
    let mut reference = Reference::default();
    let reader = base.reader();
    let mut now = NOW.0;
    for _ in 0..40 {
        now += [1_000_000, 3_600_000_000, DAY][chance.below(3) as usize];
        for _ in 0..chance.below(6) {
            let place = chance.below(2) as usize;
            seqs[place] += 1;
            append(&mut writer, &mut chance, &mut reference, &devices[place], seqs[place], now);
        }
        if chance.one_in(2) {
            writer.set_seal_policy(SealPolicy {
                keep: chance.below(30),
                run_min: 1,
                run_max: 1 + chance.below(300),
                pieces: 2 + chance.below(4) as usize,
                quiet: 1 + chance.below(500),
            });
            for _ in 0..chance.below(20) {
                writer.seal(50).unwrap();
                writer.merge(100).unwrap();
            }
        }
        let sql = "SELECT (SELECT count(*) FROM reading, sealed WHERE position > through) > 0
                    AND (SELECT count(*) FROM bundle, sealed WHERE position <= through) > 0
                    AND (SELECT count(*) FROM block, sealed WHERE position <= through) > 0";
        let connection = Connection::open(base.path()).unwrap();
        everywhere += usize::from(connection.query_row(sql, [], |row| row.get::<_, bool>(0)).unwrap());
        let found = |at: i64| -> Vec<(SeriesId, i64, Value)> {
            let latest = reader.as_of(Timestamp(at), None).unwrap();
            assert_eq!(latest.position, writer.position());
            latest.readings.into_iter().map(|row| (row.series, row.at.0, row.value)).collect()
        };
        for _ in 0..6 {
            let at = match chance.below(4) {
                // Exactly at a reading, or one microsecond before it.
                0 => {
                    let known: Vec<i64> = reference.series.values().flat_map(|p| p.keys()).copied().collect();
                    match known.len() as u64 {
                        0 => now,
                        n => known[chance.below(n) as usize] - chance.below(2) as i64,
                    }
                }
                1 => now + DAY,
                2 => now / DAY * DAY,
                _ => now - chance.below(5 * DAY as u64) as i64,
            };
            assert_eq!(found(at), reference.as_of(at), "seed {seed} at {at}");
        }
        let latest: Vec<_> = reader
            .latest()
            .unwrap()
            .readings
            .into_iter()
            .map(|row| (row.series, row.at.0, row.value))
            .collect();
        assert_eq!(latest, found(i64::MAX), "seed {seed}: the latest are those as of the end of time");
    }
    let one = devices[1].series[0];
    let readings = reader.as_of(Timestamp(now), Some(&[one])).unwrap().readings;
    assert!(readings.iter().all(|row| row.series == one), "only what was asked for");
    everywhere
}

#[test]
fn as_of_any_time_the_answer_is_that_of_a_simple_reference() {
    let everywhere: usize = (0..25).map(run).sum();
    assert!(everywhere > 100, "{everywhere}");
}

#[test]
fn before_the_first_reading_there_is_nothing() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "a");
    store(&mut writer, device.stream, 1, vec![row(device.series[0], NOW.0, 1.0)]);
    let reader = base.reader();
    assert_eq!(reader.as_of(Timestamp(NOW.0 - 1), None).unwrap().readings, []);
    assert_eq!(reader.as_of(NOW, None).unwrap().readings.len(), 1);
    assert_eq!(reader.as_of(Timestamp(i64::MIN), None).unwrap().readings, []);
}
