//! Files that are not what they should be: refused, never believed, never a panic (I-7).

use std::path::Path;

use protocol::{SeriesId, Timestamp};
use rusqlite::Connection;
use store::{Reader, SCHEMA, SealPolicy, StoreError, Writer};

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
    assert!(matches!(error, StoreError::NewerSchema { found: 99, known: 8 }), "{error}");
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

/// A database with three devices and something of everything, closed: blocks, then bundles of both levels, then hot rows.
/// Each batch begins this much after the one before.
pub(crate) fn full_base(distance: i64) -> Base {
    let base = Base::new();
    let mut writer = base.writer();
    let devices = ["a", "b", "c"].map(|name| register(&mut writer, name));
    for seq in 1..=20 {
        for device in &devices {
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
    // Of each series one run has enough for blocks, the others have not.
    for (keep, run_max) in [(1_400, 100_000), (650, 250), (400, 250)] {
        writer.set_seal_policy(SealPolicy { keep, run_min: 1, run_max, pieces: 3, quiet: 20_000 });
        while writer.seal(500).unwrap().hot > keep || writer.merge(500).unwrap().more {}
    }
    writer.checkpoint().unwrap();
    drop(writer);
    let count = |sql| Connection::open(base.path()).unwrap().query_row(sql, [], |row| row.get::<_, i64>(0));
    assert!(count("SELECT count(*) FROM block").unwrap() >= 9);
    assert_eq!(count("SELECT 10 * sum(level = 1) + sum(level = 0) FROM bundle").unwrap(), 11);
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
        note(reader.credentials(None, 9).is_err());
        note(reader.commands(&store::CommandFilter::default(), 100).is_err());
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
fn i_7_damaged_hot_readings_are_named_then_put_aside_and_the_rest_goes_on() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    let of = |n: i64| vec![row(device.series[0], n, n as f64), row(device.series[1], n, true)];
    for seq in 1..=4 {
        store(&mut writer, device.stream, seq, of(seq as i64));
    }
    drop(writer);
    sql(&base.path(), "UPDATE hot SET readings = replace(readings, '2.0', '2.5') WHERE position = 4");
    sql(&base.path(), "DELETE FROM hot WHERE position = 6");

    // Which series have readings there nobody knows: whoever only reads is told so for all of them.
    let reader = base.reader();
    for series in &device.series[..2] {
        let raw = reader.raw(*series, Timestamp(0), Timestamp(10), 10);
        assert!(matches!(&raw, Err(StoreError::Corrupt(what)) if what.contains("checksum")), "{raw:?}");
    }
    assert!(matches!(reader.latest(), Err(StoreError::Corrupt(_))));
    assert!(matches!(reader.since(protocol::Position(2), 1), Err(StoreError::Corrupt(_))));
    drop(reader);

    // A hub that is started puts aside what cannot be read, says what is lost, and goes on.
    let mut writer = base.writer();
    let reader = base.reader();
    assert_eq!(crate::support::times(&reader, device.series[0]), [1, 4]);
    let stats = reader.stats().unwrap();
    assert_eq!((stats.readings, stats.hot, stats.damaged), (4, 4, 4));
    assert_eq!(reader.account(&"pump".parse().unwrap()).unwrap().unwrap().stats.damaged, 2);
    store(&mut writer, device.stream, 5, of(5));
    assert_eq!(writer.position().0, 10);
    crate::support::seal_all(&mut writer);
    assert_eq!(crate::support::times(&reader, device.series[0]), [1, 4, 5]);
    drop(writer);
    let mut writer = base.writer();
    store(&mut writer, device.stream, 6, of(6));
    let verified = reader.verify(store::Depth::Whole, &mut |notice| match notice {
        store::Notice::Finding(finding) => panic!("{finding:?}"),
        store::Notice::Progress { .. } => std::ops::ControlFlow::Continue(()),
    });
    assert_eq!(verified.unwrap().damaged, 4);
}

#[test]
fn i_7_damaged_hot_readings_at_the_end_leave_their_positions_used() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    for seq in 1..=2 {
        store(&mut writer, device.stream, seq, vec![row(device.series[0], seq as i64, 1.0); 3]);
    }
    drop(writer);
    sql(&base.path(), "UPDATE hot SET checksum = 1 WHERE position = 6");
    let mut writer = base.writer();
    assert_eq!(writer.position().0, 6);
    store(&mut writer, device.stream, 3, vec![row(device.series[0], 9, 1.0)]);
    assert_eq!(writer.position().0, 7);
    crate::support::seal_all(&mut writer);
    assert_eq!(base.reader().stats().unwrap().damaged, 3);
    assert_eq!(crate::support::times(&base.reader(), device.series[0]), [1, 9]);
}
