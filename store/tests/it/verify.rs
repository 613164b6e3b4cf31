//! Damage is found and named, and what is not damaged stays readable.

use std::ops::ControlFlow;
use std::path::Path;

use protocol::{SeriesId, Timestamp};
use rusqlite::Connection;
use store::{Depth, Finding, Notice, Reader, SealPolicy, StoreError, Verified};

use crate::support::{Base, Chance, NOW, register, row, store, times};

/// Four days of readings in blocks, bundles and some hot ones.
fn full_base() -> Base {
    crate::files::full_base(17_000_000_000)
}

fn verify(path: &Path, depth: Depth) -> Result<(Verified, Vec<Finding>), StoreError> {
    let mut findings = Vec::new();
    let verified = Reader::open(path)?.verify(depth, &mut |notice| {
        if let Notice::Finding(finding) = notice {
            findings.push(finding);
        }
        ControlFlow::Continue(())
    })?;
    assert_eq!(verified.findings, findings.len() as u64);
    Ok((verified, findings))
}

/// The findings of damage done by SQL to a whole database.
fn after(sql: &str) -> Vec<Finding> {
    let base = full_base();
    let connection = Connection::open(base.path()).unwrap();
    connection.execute_batch(&format!("PRAGMA ignore_check_constraints = 1; {sql}")).unwrap();
    drop(connection);
    verify(&base.path(), Depth::Whole).unwrap().1
}

/// The block that holds the first readings of a device's metric.
fn first_block(base: &Base, device: &str, metric: &str) -> (i64, i64, i64) {
    Connection::open(base.path())
        .unwrap()
        .query_row(
            "SELECT block_id, block.first_at, last_at FROM block JOIN series USING (series_id)
             JOIN device USING (device_key) WHERE device.id = ?1 AND metric = ?2 ORDER BY block.first_at LIMIT 1",
            [device, metric],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .unwrap()
}

#[test]
fn a_whole_database_has_no_findings_at_any_depth() {
    let base = full_base();
    for depth in [Depth::Quick, Depth::Copy, Depth::Whole] {
        let (verified, findings) = verify(&base.path(), depth).unwrap();
        assert_eq!(findings, []);
        assert!(verified.complete);
        assert_eq!((verified.devices, verified.series, verified.position.0), (3, 9, 3 * 20 * 180));
        assert!(verified.blocks > 9 && verified.bundles == 2 && verified.hot > 0, "{verified:?}");
        let opened = if depth == Depth::Whole { verified.position.0 as u64 - verified.hot } else { 0 };
        assert_eq!(verified.opened, opened);
    }
}

#[test]
fn work_in_progress_is_not_damage() {
    let base = Base::new();
    let mut writer = base.writer();
    let device = register(&mut writer, "pump");
    writer.set_seal_policy(SealPolicy { keep: 0, run_min: 1, run_max: 120, pieces: 2, quiet: 10 });
    for seq in 1..=7 {
        let rows = (0..50).map(|i| row(device.series[0], NOW.0 + (seq * 50 + i) * 1_000_000, i as f64));
        store(&mut writer, device.stream, seq as u64, rows.collect());
    }
    // The same microsecond again: a conflict once it is sealed.
    store(&mut writer, device.stream, 8, vec![row(device.series[0], NOW.0 + 400_000_000, 9.0)]);
    let mut looks = 0;
    loop {
        let (_, findings) = verify(&base.path(), Depth::Whole).unwrap();
        assert_eq!(findings, [], "after {looks} slices");
        looks += 1;
        if !writer.seal(20).unwrap().more && !writer.merge(20).unwrap().more {
            break;
        }
    }
    assert!(looks > 8, "{looks}");
}

#[test]
fn flipped_bytes_in_a_block_are_named_with_device_metric_block_and_times() {
    for column in ["times", "vals"] {
        let base = full_base();
        let (block, first_at, last_at) = first_block(&base, "b", "temperature");
        let connection = Connection::open(base.path()).unwrap();
        let mut blob: Vec<u8> = connection
            .query_row(&format!("SELECT {column} FROM block_data WHERE block_id = ?1"), [block], |row| {
                row.get(0)
            })
            .unwrap();
        let middle = blob.len() / 2;
        blob[middle] ^= 16;
        connection
            .execute(&format!("UPDATE block_data SET {column} = ?1 WHERE block_id = ?2"), (&blob, block))
            .unwrap();
        drop(connection);
        let (_, findings) = verify(&base.path(), Depth::Whole).unwrap();
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!(finding.device.as_deref(), Some("b"));
        assert_eq!(finding.metric.as_deref(), Some("temperature"));
        assert_eq!(finding.block, Some(block));
        assert_eq!(finding.times, Some((Timestamp(first_at), Timestamp(last_at))));
        assert!(finding.what.contains("fail their check"), "{finding:?}");
        assert_eq!(verify(&base.path(), Depth::Quick).unwrap().1, [], "no block is opened");
        // What is not damaged is there.
        let reader = base.reader();
        let series = SeriesId(4);
        assert!(reader.raw(series, Timestamp(0), Timestamp::END_READING, usize::MAX).is_err());
        let rest = reader.raw(series, Timestamp(last_at + 1), Timestamp::END_READING, usize::MAX).unwrap();
        assert!(!rest.points.is_empty());
        for other in [1, 2, 3, 5, 6, 7, 8, 9] {
            assert_eq!(times(&reader, SeriesId(other)).len(), 1_200);
        }
    }
}

#[test]
fn flipped_bytes_in_a_bundle_are_named_with_its_times_and_the_rest_stays_readable() {
    let base = full_base();
    let connection = Connection::open(base.path()).unwrap();
    let (bundle, first_at, last_at): (i64, i64, i64) = connection
        .query_row("SELECT bundle_id, first_at, last_at FROM bundle ORDER BY position LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    let flip = "UPDATE bundle SET data = CAST(substr(data, 1, 40) || x'5a' || substr(data, 42) AS BLOB)
                WHERE bundle_id = ?1";
    connection.execute(flip, [bundle]).unwrap();
    let (_, findings) = verify(&base.path(), Depth::Whole).unwrap();
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(finding.times, Some((Timestamp(first_at), Timestamp(last_at))));
    let said = format!(
        "bundle {bundle}: a block whose readings fail their check; it has readings of series from 0 to 15"
    );
    assert_eq!(finding.what, said);
    assert_eq!(verify(&base.path(), Depth::Quick).unwrap().1, [], "no bundle is opened");
    let reader = base.reader();
    for series in 1..=9 {
        let raw = |from, to| reader.raw(SeriesId(series), Timestamp(from), Timestamp(to), usize::MAX);
        assert!(matches!(raw(0, i64::MAX), Err(StoreError::Corrupt(_))));
        assert!(!raw(0, first_at).unwrap().points.is_empty());
    }
    // What comes after it goes on to blocks without it.
    drop(reader);
    let mut writer = base.writer();
    writer.set_seal_policy(SealPolicy { keep: 0, run_min: 1, run_max: 20, pieces: 2, quiet: 1 });
    while writer.seal(500).unwrap().more || writer.merge(500).unwrap().more {}
    let left: i64 =
        connection.query_row("SELECT count(*) FROM bundle WHERE level = 1", [], |row| row.get(0)).unwrap();
    assert!((1..=2).contains(&left), "{left}");
    assert_eq!(verify(&base.path(), Depth::Whole).unwrap().1, findings);
}

#[test]
fn statistics_that_are_not_those_of_the_readings_are_named() {
    for (sql, said) in [
        ("count = count - 1", "fail their check"),
        ("min = min - 1", "min is"),
        ("max = max + 1", "max is"),
        ("sum = sum + 1", "sum is"),
        ("sum = NULL", "sum is missing"),
        ("first = 99.0", "first is 99"),
        ("last = 'open'", "a text in a series of numbers"),
        ("first_at = first_at + 1", "first_at is"),
        ("last_at = last_at - 1", "last_at is"),
        ("last_at = last_at + 90000000000", "impossible times"),
    ] {
        let findings = after(&format!(
            "UPDATE block SET {sql} WHERE block_id =
                 (SELECT block_id FROM block JOIN series USING (series_id) WHERE metric = 'temperature' LIMIT 1)"
        ));
        let found = findings.iter().find(|finding| finding.what.contains(said));
        let found = found.unwrap_or_else(|| panic!("{sql}: {findings:?}"));
        assert!(found.metric.as_deref() == Some("temperature") && found.block.is_some(), "{sql}: {found:?}");
    }
}

#[test]
fn rows_that_are_missing_or_too_many_are_named() {
    for (sql, said) in [
        (
            "DELETE FROM block_data WHERE block_id = (SELECT min(block_id) FROM block_data)",
            "its readings are not there",
        ),
        (
            "DELETE FROM block WHERE block_id = (SELECT min(block_id) FROM block)",
            "readings without a row in block",
        ),
        ("DELETE FROM block WHERE block_id = (SELECT min(block_id) FROM block)", "does not add up"),
        ("DELETE FROM bundle WHERE bundle_id = (SELECT min(bundle_id) FROM bundle)", "does not add up"),
        ("UPDATE bundle SET count = count + 1", "does not add up"),
        ("UPDATE bundle SET series = 1", "other series or times than it says"),
        ("UPDATE bundle SET first_at = first_at + 1", "other series or times than it says"),
        ("UPDATE bundle SET last_at = first_at - 1", "an impossible shelf, times or count"),
        ("UPDATE bundle SET shelf = 5", "readings of series 81, which is not there"),
        ("UPDATE bundle SET position = 1000000", "none are being written"),
        ("DELETE FROM hot WHERE position = (SELECT max(position) - 180 FROM hot)", "are not there"),
        ("DELETE FROM hot WHERE position = (SELECT max(position) FROM hot)", "the streams count"),
        ("UPDATE hot SET readings = replace(readings, 'open', 'shut')", "checksum"),
        (
            "UPDATE hot SET position = position + 7 WHERE position = (SELECT max(position) FROM hot)",
            "checksum",
        ),
        ("UPDATE stream SET last_seq = last_seq + 1 WHERE stream_key = 2", "last_seq is 21"),
        ("UPDATE stream SET readings = readings + 1 WHERE stream_key = 2", "the streams count"),
        ("UPDATE series SET conflicts = 1 WHERE series_id = 2", "does not add up"),
        ("UPDATE series SET removed = 1 WHERE series_id = 2", "does not add up"),
        (
            "INSERT INTO damaged (position, count, problem) VALUES (1, 2, 'made up')",
            "does not add up: 10800 readings were committed",
        ),
        ("UPDATE series SET latest_at = 5 WHERE series_id = 2", "latest_at is 5"),
        ("UPDATE series SET kind = 'bool' WHERE series_id = 1", "of kind bool have codec"),
        ("PRAGMA foreign_keys = 0; DELETE FROM device WHERE device_key = 2", "is not there"),
        ("PRAGMA foreign_keys = 0; DELETE FROM series WHERE series_id = 2", "series 2, which is not there"),
        ("UPDATE sealed SET through = through - 1", "none are being written"),
        ("UPDATE device SET id = 'a b' WHERE device_key = 1", "a b"),
        ("UPDATE device SET commands = '{' WHERE device_key = 1", "declared commands"),
    ] {
        let findings = after(sql);
        assert!(findings.iter().any(|finding| finding.what.contains(said)), "{sql}: {findings:?}");
    }
}

#[test]
fn hot_readings_that_cannot_be_are_named() {
    let cases: [(serde_json::Value, &str); 4] = [
        (serde_json::json!([77, 0, 1.0]), "its series 77 is not there"),
        (serde_json::json!([1, 0, true]), "a bool in a series of kind number"),
        (serde_json::json!([1, -NOW.0 - 1, 1.0]), "outside 1970"),
        (serde_json::json!([1, 0, []]), "invalid type"),
    ];
    for (reading, said) in cases {
        let base = full_base();
        crate::support::rewrite_hot(&base.path(), |readings| readings[3] = reading);
        let findings = verify(&base.path(), Depth::Quick).unwrap().1;
        assert!(findings.iter().any(|finding| finding.what.contains(said)), "{said}: {findings:?}");
    }
}

#[test]
fn statistics_that_retention_has_left_are_compared_with_their_row() {
    // As retention leaves a block: buckets, and no readings.
    let thin = "UPDATE block SET step = 1 WHERE block_id = (SELECT block_id FROM block WHERE series_id = 1 LIMIT 1);
                UPDATE block_data SET times = x'', vals = x'' WHERE block_id = (SELECT block_id FROM block WHERE step = 1);";
    assert_eq!(after(thin), []);
    for (sql, said) in [
        ("UPDATE block_data SET times = x'00' WHERE times = x''", "but it has readings"),
        ("UPDATE block SET sum = NULL WHERE step = 1", "impossible statistics"),
        (
            "UPDATE block_data SET buckets = x'00' WHERE times = x''",
            "its statistics: a block whose buckets fail",
        ),
    ] {
        let findings = after(&format!("{thin} {sql}"));
        assert!(findings.iter().any(|finding| finding.what.contains(said)), "{sql}: {findings:?}");
    }
}

#[test]
fn a_command_whose_life_is_broken_is_named() {
    let command = "DROP TRIGGER command_transition_is_kept;
                   DROP TRIGGER command_is_what_was_issued;
                   INSERT INTO command (command_key, id, device_key, name, args, state, issued_by, issued_at, expires_at,
                                        delivery, forced)
                   VALUES (1, 'c-1', 1, 'reset', '{}', 'sent', 'operator', 1, 2, 'at_once', 0);
                   INSERT INTO command_transition
                   VALUES (1, 0, 'queued', 1, 'operator', NULL), (1, 1, 'sent', 1, 'hub', NULL);";
    assert_eq!(after(command), []);
    for (sql, said) in [
        ("UPDATE command SET state = 'running'", "it is running, but its last transition is to sent"),
        ("DELETE FROM command_transition WHERE place = 0", "begins with sent"),
        ("DELETE FROM command_transition", "no transitions"),
        ("INSERT INTO command_transition VALUES (1, 2, 'queued', 1, 'hub', NULL)", "from sent to queued"),
        (
            "INSERT INTO command_transition VALUES (1, 3, 'running', 1, 'hub', NULL)",
            "transition 3 stands where 2 must",
        ),
        ("UPDATE command SET args = '{'", "args is not JSON"),
    ] {
        let findings = after(&format!("{command} {sql}"));
        let found = findings.iter().find(|finding| finding.what.contains(said));
        let found = found.unwrap_or_else(|| panic!("{sql}: {findings:?}"));
        assert!(found.what.contains("c-1") && found.device.as_deref() == Some("a"), "{found:?}");
    }
}

#[test]
fn every_truncated_file_is_damaged_and_the_check_comes_to_its_end() {
    let base = full_base();
    let whole = std::fs::read(base.path()).unwrap();
    let mut chance = Chance(11);
    for _ in 0..12 {
        // At least a whole page is missing: the end of the last one may be of a page that is not in use.
        let length = 4_096 + chance.below(whole.len() as u64 - 2 * 4_096);
        let copy = Base::new();
        std::fs::write(copy.path(), &whole[..length as usize]).unwrap();
        match verify(&copy.path(), Depth::Whole) {
            Ok((_, findings)) => assert!(!findings.is_empty(), "{length} of {} bytes passed", whole.len()),
            Err(error) => assert!(matches!(error, StoreError::Corrupt(_)), "{length}: {error}"),
        }
    }
}

#[test]
fn i_7_flipped_bits_anywhere_never_end_a_check_in_a_panic() {
    let base = full_base();
    let whole = std::fs::read(base.path()).unwrap();
    let mut found = 0;
    for seed in 0..40 {
        let mut chance = Chance(seed);
        let mut bytes = whole.clone();
        for _ in 0..=chance.below(30) {
            let place = chance.below(bytes.len() as u64) as usize;
            bytes[place] ^= 1 << chance.below(8);
        }
        let copy = Base::new();
        std::fs::write(copy.path(), &bytes).unwrap();
        found += usize::from(
            verify(&copy.path(), Depth::Whole).map_or(true, |(_, findings)| !findings.is_empty()),
        );
    }
    assert!(found > 10, "{found} of 40 were noticed");
}

#[test]
fn a_check_can_be_stopped() {
    let base = full_base();
    let mut notices = 0;
    let verified = base
        .reader()
        .verify(Depth::Whole, &mut |_| {
            notices += 1;
            if notices > 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert!(!verified.complete && notices == 3);
}
