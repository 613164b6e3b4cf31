//! Files that are not what they should be: refused, never believed, never a panic (I-7).

use std::path::Path;

use protocol::{SeriesId, Timestamp};
use rusqlite::Connection;
use store::{Reader, SCHEMA, StoreError, Writer};

use crate::support::{Base, Chance, NOW, batch, register, row, store, suffixed};

fn sql(path: &Path, sql: &str) {
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn the_schema_file_alone_makes_a_database_that_opens() {
    let base = Base::new();
    sql(&base.path(), SCHEMA);
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    store(&mut writer, device.stream, 1, vec![row(device.series[0], 1, 1.0)]);
}

#[test]
fn a_database_of_another_program_is_refused_and_not_touched() {
    for setup in
        ["PRAGMA application_id = 7; CREATE TABLE t (x)", "CREATE TABLE t (x)", "PRAGMA user_version = 1"]
    {
        let base = Base::new();
        sql(&base.path(), setup);
        let before = std::fs::read(base.path()).unwrap();
        let error = Writer::open(&base.path()).unwrap_err();
        assert!(matches!(error, StoreError::NotOurs(_)), "{setup}: {error}");
        assert!(matches!(Reader::open(&base.path()), Err(StoreError::NotOurs(_))));
        assert_eq!(std::fs::read(base.path()).unwrap(), before);
    }
}

#[test]
fn a_newer_schema_is_refused_with_both_versions() {
    let base = Base::new();
    drop(base.writer());
    sql(&base.path(), "PRAGMA user_version = 99");
    let error = Writer::open(&base.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 99, known: 2 }), "{error}");
    assert!(matches!(Reader::open(&base.path()), Err(StoreError::NewerSchema { .. })));
}

#[test]
fn a_missing_table_is_damage() {
    let base = Base::new();
    drop(base.writer());
    sql(&base.path(), "DROP TABLE block_data");
    assert!(matches!(Writer::open(&base.path()), Err(StoreError::Corrupt(_))));
}

#[test]
fn a_second_writer_is_told_that_the_database_is_in_use() {
    let base = Base::new();
    let writer = base.writer();
    assert!(matches!(Writer::open(&base.path()), Err(StoreError::Busy(_))));
    drop(writer);
    base.writer();
}

#[test]
fn a_reader_needs_a_database() {
    let base = Base::new();
    assert!(Reader::open(&base.path()).is_err());
    std::fs::write(base.path(), b"").unwrap();
    assert!(matches!(Reader::open(&base.path()), Err(StoreError::NotOurs(_))));
}

#[test]
fn random_bytes_are_not_a_database() {
    let base = Base::new();
    let mut chance = Chance(7);
    let bytes: Vec<u8> = (0..20_000).map(|_| chance.next() as u8).collect();
    std::fs::write(base.path(), &bytes).unwrap();
    assert!(matches!(Writer::open(&base.path()), Err(StoreError::NotOurs(_))));
    assert!(matches!(Reader::open(&base.path()), Err(StoreError::NotOurs(_))));
    assert_eq!(std::fs::read(base.path()).unwrap(), bytes);
}

/// A database with three devices and something of everything, closed; each batch begins this much after the one before.
pub(crate) fn full_base(distance: i64) -> Base {
    let base = Base::new();
    let mut writer = base.writer();
    for name in ["a", "b", "c"] {
        let device = register(&mut writer, name);
        for seq in 1..=20 {
            let rows = (0..60).flat_map(|i| {
                let at = seq * distance + i * 1_000_000;
                [
                    row(device.series[0], at, i as f64 / 8.0),
                    row(device.series[1], at, i % 7 == 0),
                    row(device.series[2], at, if i % 9 == 0 { "open" } else { "shut" }),
                ]
            });
            store(&mut writer, device.stream, seq as u64, rows.collect());
        }
    }
    crate::model::seal_some(&mut writer);
    writer.checkpoint().unwrap();
    drop(writer);
    base
}

/// Asks everything; whatever comes back, it must be an answer or an error.
fn ask_everything(path: &Path) -> usize {
    let mut errors = 0;
    let mut note = |failed: bool| errors += usize::from(failed);
    if let Ok(mut writer) = Writer::open(path) {
        match writer.register(&crate::support::hello("a", "e1"), NOW) {
            Ok(device) => {
                let rows = vec![row(device.series[0], 1, 1.0)];
                note(writer.append(&[batch(device.stream, device.settled.0 + 1, rows)], NOW).is_err());
            }
            Err(_) => note(true),
        }
        note(writer.open_commands().is_err());
        note(crate::model::try_seal(&mut writer).is_err());
    } else {
        note(true);
    }
    if let Ok(reader) = Reader::open(path) {
        note(reader.devices().is_err());
        note(reader.latest().is_err());
        note(reader.stats().is_err());
        note(reader.since(protocol::Position(0), 10_000).is_err());
        note(reader.credentials().is_err());
        note(reader.commands(None, None, 100).is_err());
        for series in 1..=9 {
            note(reader.raw(SeriesId(series), Timestamp(0), Timestamp::END_READING, 100_000).is_err());
            for step in protocol::Step::ALL {
                let end = Timestamp::END_READING;
                note(reader.buckets(SeriesId(series), step, Timestamp(0), end, 100_000).is_err());
            }
        }
    } else {
        note(true);
    }
    errors
}

#[test]
fn i_7_a_truncated_file_gives_errors_and_no_panic() {
    let base = full_base(1_000_000_000);
    let whole = std::fs::read(base.path()).unwrap();
    let mut lengths: Vec<usize> = (0..whole.len()).step_by(4_096).collect();
    lengths.extend([1, 17, 99, 100, 101, 4_095, whole.len() - 1]);
    for length in lengths {
        let copy = Base::new();
        std::fs::write(copy.path(), &whole[..length]).unwrap();
        let errors = ask_everything(&copy.path());
        assert!(errors > 0 || length == 0, "{length} of {} bytes passed for whole", whole.len());
    }
}

#[test]
fn i_7_flipped_bits_give_answers_or_errors_and_no_panic() {
    let base = full_base(1_000_000_000);
    let whole = std::fs::read(base.path()).unwrap();
    for seed in 0..150 {
        let mut chance = Chance(seed);
        let mut bytes = whole.clone();
        for _ in 0..=chance.below(8) {
            let place = chance.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << chance.below(8);
        }
        let copy = Base::new();
        std::fs::write(copy.path(), &bytes).unwrap();
        ask_everything(&copy.path());
    }
}

#[test]
fn a_log_cut_anywhere_opens_with_a_prefix_of_what_was_stored() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let mut lengths = Vec::new();
    for seq in 1..=12 {
        store(&mut writer, device.stream, seq, vec![row(device.series[0], seq as i64, 1.0)]);
        lengths.push(std::fs::metadata(suffixed(&base.path(), "-wal")).unwrap().len());
    }
    let log = std::fs::read(suffixed(&base.path(), "-wal")).unwrap();
    let mut chance = Chance(3);
    for _ in 0..60 {
        let cut = chance.below(log.len() as u64);
        let copy = base.crash_copy();
        std::fs::write(suffixed(&copy.path(), "-wal"), &log[..cut as usize]).unwrap();
        let whole = lengths.iter().filter(|length| **length <= cut).count();
        match Writer::open(&copy.path()) {
            Ok(writer) => assert_eq!(writer.position().0, whole as i64, "cut at {cut}"),
            Err(error) => panic!("cut at {cut}: {error}"),
        }
    }
}

#[test]
fn values_that_no_one_stored_are_named_as_damage() {
    for value in ["x'00'", "7", "9e999", "cast(x'ff' AS TEXT)"] {
        let base = Base::new();
        let mut writer = base.writer();
        let device = register(&mut writer, "pump");
        store(
            &mut writer,
            device.stream,
            1,
            vec![row(device.series[0], 1, 1.0), row(device.series[1], 1, true)],
        );
        sql(&base.path(), &format!("UPDATE reading SET value = {value} WHERE position = 1"));
        let reader = base.reader();
        let raw = reader.raw(device.series[0], Timestamp(0), Timestamp(10), 10);
        assert!(matches!(raw, Err(StoreError::Corrupt(_))), "{value}");
        assert!(matches!(reader.latest(), Err(StoreError::Corrupt(_))), "{value}");
        let other = reader.raw(device.series[1], Timestamp(0), Timestamp(10), 10).unwrap();
        assert_eq!(other.points.len(), 1, "{value}: the other series can be read");
        assert!(matches!(reader.since(protocol::Position(0), 1), Err(StoreError::Corrupt(_))), "{value}");
    }
}
