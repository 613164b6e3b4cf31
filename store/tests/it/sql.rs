//! SQL: the two tables over everything stored, and that nothing can be written.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use protocol::{Step, Value};
use store::{Cell, SealPolicy, Sql, StoreError, Writer};

use crate::support::{Base, NOW, register, row, store};

const SECOND: i64 = 1_000_000;

/// Two devices with three series each: 9 000 readings, most of them sealed.
fn base() -> (Base, Writer) {
    let base = Base::new();
    let mut writer = base.writer();
    writer.set_seal_policy(SealPolicy { keep: 700, run_min: 1, run_max: 1_000, pieces: 3, quiet: 1_000 });
    for (name, shift) in [("pump-1", 0), ("Pump_2", 1)] {
        let device = register(&mut writer, name);
        for seq in 0..15 {
            let mut rows = Vec::new();
            for n in seq * 100..(seq + 1) * 100 {
                let at = NOW.0 + n * 100 * SECOND + shift;
                rows.push(row(device.series[0], at, n as f64 / 8.0));
                rows.push(row(device.series[1], at, n % 3 == 0));
                rows.push(row(device.series[2], at, ["open", "shut"][n as usize % 2]));
            }
            store(&mut writer, device.stream, seq as u64 + 1, rows);
            while writer.seal(1_000).unwrap().more || writer.merge(1_000).unwrap().more {}
        }
    }
    (base, writer)
}

fn owned(cell: &Cell<'_>) -> String {
    match cell {
        Cell::Null => "NULL".into(),
        Cell::Integer(n) => n.to_string(),
        Cell::Real(n) => format!("{n:?}"),
        Cell::Text(text) => (*text).to_owned(),
        Cell::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

fn try_query(base: &Base, text: &str) -> Result<Vec<String>, StoreError> {
    let sql = Sql::open(&base.path(), || false)?;
    let mut rows = Vec::new();
    sql.run(text, |_, cells| {
        rows.extend(cells.map(|cells| cells.iter().map(owned).collect::<Vec<_>>().join("|")));
        true
    })?;
    Ok(rows)
}

fn query(base: &Base, text: &str) -> Vec<String> {
    try_query(base, text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn readings_are_hot_and_sealed_together_with_names_units_and_times() {
    let (base, _writer) = base();
    assert_eq!(
        query(&base, "SELECT count(*), count(DISTINCT device), count(unit) FROM readings"),
        ["9000|2|3000"]
    );
    assert!(query(&base, "SELECT count(*) FROM hot_readings")[0] != "9000", "some are sealed");
    let first =
        query(&base, "SELECT * FROM readings WHERE device = 'pump-1' ORDER BY metric, observed_at LIMIT 1");
    assert_eq!(first, [format!("pump-1|door|{}|2026-01-01 00:00:00.000000|1|NULL", NOW.0)]);
    let kinds = query(&base, "SELECT metric, typeof(value), count(*) FROM readings GROUP BY 1, 2");
    assert_eq!(kinds, ["door|integer|3000", "mode|text|3000", "temperature|real|3000"]);
    // The time is in the form of SQLite's own functions.
    let agree = "SELECT count(*) FROM readings WHERE substr(time, 1, 23) = strftime('%F %R:%f', observed_at / 1e6, 'unixepoch')";
    assert_eq!(query(&base, agree), ["9000"]);
}

/// Every way to choose gives what SQLite gives when it is shown every row.
#[test]
fn whatever_a_query_asks_for_it_gets_what_comparing_every_row_gives() {
    let (base, _writer) = base();
    let at = |n: i64| NOW.0 + n * 100 * SECOND;
    let conditions = [
        "device = 'pump-1'".to_owned(),
        "device = 'pump-9' OR metric = 'door'".into(),
        "device = 'no such name'".into(),
        "device = 'PUMP-1' COLLATE NOCASE".into(),
        "device IN ('pump-1', 'x', 'Pump_2') AND metric IN ('mode', 'door')".into(),
        "device LIKE 'PUMP%' AND metric LIKE '%o_e'".into(),
        "device LIKE 'pump__2'".into(),
        "device GLOB 'pump-?' AND metric GLOB '*[aeiou]r*'".into(),
        "device NOT LIKE 'pump-%'".into(),
        "device = 7".into(),
        "device = NULL".into(),
        format!("observed_at = {}", at(77)),
        format!("observed_at > {} AND observed_at <= {}", at(700), at(1_200)),
        format!("observed_at BETWEEN {}.0 AND {}.5", at(10), at(20)),
        format!("observed_at >= {} AND observed_at < {}", at(300), at(200)),
        "observed_at > 'text'".into(),
        "observed_at >= unixepoch('2026-01-02') * 1000000 AND value > 100".into(),
        "time >= '2026-01-01 12' AND time < '2026-01-02'".into(),
        "time <= '2026-01-01 00:03:20.000000'".into(),
        "time = '2026-01-01 00:03:20.000001'".into(),
        "time > '2026-01-01T12:00:00Z' AND metric = 'door'".into(),
        "time BETWEEN '2026-01' AND '2026-01-01 01' AND value = 'open'".into(),
        "time > datetime('2026-01-01', '+90 minutes') AND time <= '2026-01-31'".into(),
    ];
    let all = "(SELECT +device AS device, +metric AS metric, +observed_at AS observed_at, +time AS time, +value AS value \
               FROM readings LIMIT -1 OFFSET 0)";
    let mut found = 0;
    for condition in conditions {
        let ask = |table: &str| {
            query(
                &base,
                &format!(
                    "SELECT device, metric, observed_at, value FROM {table} WHERE {condition} ORDER BY 1, 2, 3"
                ),
            )
        };
        let rows = ask("readings");
        assert_eq!(rows, ask(all), "{condition}");
        found += usize::from(!rows.is_empty());
    }
    assert!(found > 14, "{found} conditions find anything");
}

#[test]
fn a_query_that_names_a_series_reads_that_one_alone_and_needs_no_sorting() {
    let (base, _writer) = base();
    let plan = |text: &str| query(&base, &format!("EXPLAIN QUERY PLAN {text}")).join("\n");
    let one = "SELECT value FROM readings WHERE device = 'pump-1' AND metric = 'door' ORDER BY observed_at";
    assert!(plan(one).contains("0= 1=") && !plan(one).contains("TEMP B-TREE"), "{}", plan(one));
    assert!(plan(&one.replace("= 'door'", "> 'door'")).contains("TEMP B-TREE"));
    assert!(plan(&format!("{one} DESC")).contains("TEMP B-TREE"));
    let join = "SELECT count(*) FROM device JOIN readings ON readings.device = device.id WHERE device.id LIKE 'pump-%'";
    assert_eq!(query(&base, join), ["4500"]);
}

#[test]
fn buckets_are_those_of_a_history_query() {
    let (base, _writer) = base();
    let reader = base.reader();
    let series = reader.device(&"pump-1".parse().unwrap()).unwrap().unwrap().info.metrics[0].series;
    let (from, to) = (NOW.plus_micros(5_000 * SECOND), NOW.plus_micros(90_000 * SECOND));
    let expected: Vec<String> = reader
        .buckets(series, Step::M15, from, to, usize::MAX)
        .unwrap()
        .buckets
        .iter()
        .map(|b| {
            format!(
                "{}|{}|{:?}|{:?}|{:?}|{:?}|{:?}",
                b.at.0,
                b.count,
                b.min,
                b.max,
                b.mean(),
                b.first,
                b.last
            )
        })
        .collect();
    assert!(expected.len() > 50);
    let columns = "SELECT observed_at, count, min, max, mean, first, last FROM";
    let text = format!(
        "{columns} buckets('pump-1', 'temperature', '15m', {}, {}) ORDER BY observed_at",
        from.0, to.0
    );
    assert_eq!(query(&base, &text), expected);
    let text = format!(
        "{columns} buckets('pump-1', 'temperature', '15m', '2026-01-01 01:23:20', '2026-01-02T01:00:00Z')"
    );
    assert_eq!(query(&base, &text), expected);
    assert_eq!(query(&base, "SELECT sum(count) FROM buckets('pump-1', 'temperature', '1s')"), ["1500"]);
    assert_eq!(query(&base, "SELECT count(*) FROM buckets('pump-9', 'temperature', '1s')"), ["0"]);
    let each = "SELECT device.id, (SELECT sum(b.count) FROM buckets(device.id, 'door', '1h') AS b) FROM device ORDER BY 1";
    assert_eq!(query(&base, each), ["Pump_2|1500", "pump-1|1500"]);
    for (arguments, problem) in [
        ("'pump-1', 'temperature'", "a device, a metric and a step"),
        ("'pump-1', 'temperature', '2m'", "\"2m\" is not a step: 1s, 5s"),
        ("'pump-1', 'temperature', '1m', 'soon'", "\"soon\" is not a time"),
        ("'a b', 'temperature', '1m'", "device id"),
        ("'pump-1', 'mode', '1m'", "no buckets"),
    ] {
        let error = try_query(&base, &format!("SELECT * FROM buckets({arguments})")).unwrap_err().to_string();
        assert!(error.contains(problem), "{arguments}: {error}");
    }
}

#[test]
fn nothing_can_be_written_attached_or_set() {
    let (base, _writer) = base();
    let other = Base::new();
    drop(other.writer());
    let copy = other.path().with_file_name("copy.db");
    let before = query(&base, "SELECT count(*), max(position) FROM reading");
    for text in [
        "INSERT INTO readings VALUES ('a', 'b', 1, 'c', 1, 'd')",
        "INSERT INTO hot VALUES (99999, 1, 1, '[]', 1)",
        "UPDATE device SET id = 'x'",
        "DELETE FROM block",
        "DROP TABLE device",
        "DETACH hub",
        "CREATE TABLE t (a)",
        "CREATE TEMP TABLE t (a)",
        "CREATE TEMP VIEW v AS SELECT 1",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA query_only = OFF",
        "PRAGMA writable_schema = ON",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "BEGIN IMMEDIATE",
        "VACUUM",
        "REINDEX",
        &format!("VACUUM INTO '{}'", copy.display()),
        &format!("ATTACH '{}' AS other", other.path().display()),
        "ATTACH ':memory:' AS other",
        "SELECT load_extension('x')",
        "SELECT 1; DELETE FROM hot",
    ] {
        let error = try_query(&base, text).expect_err(text).to_string();
        assert!(
            error.contains("only queries are allowed") || error.contains("not authorized"),
            "{text}: {error}"
        );
    }
    assert!(!copy.exists());
    assert_eq!(query(&base, "SELECT count(*), max(position) FROM reading"), before);
    assert_eq!(query(&base, "PRAGMA hub.user_version; SELECT 1 + 1").len(), 2);
    assert_eq!(query(&base, "SELECT count(*) FROM pragma_table_info('device') WHERE name = 'id'"), ["1"]);
}

#[test]
fn a_query_can_be_stopped_and_ends_when_its_rows_are_no_longer_wanted() {
    let (base, _writer) = base();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let sql = Sql::open(&base.path(), move || count.fetch_add(1, Ordering::Relaxed) > 2).unwrap();
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n";
    assert!(!sql.run(endless, |_, _| true).unwrap(), "it was stopped");
    let sql = Sql::open(&base.path(), || false).unwrap();
    let mut rows = 0;
    let all = sql.run("SELECT * FROM readings", |_, cells| {
        rows += usize::from(cells.is_some());
        rows < 10
    });
    assert_eq!((all.unwrap(), rows), (false, 10));
}

#[test]
fn a_query_sees_what_was_acknowledged_before_it_and_holds_up_no_checkpoint() {
    let (base, mut writer) = base();
    let sql = Sql::open(&base.path(), || false).unwrap();
    let mut rows = 0;
    let device = register(&mut writer, "pump-1");
    let mut seq = device.settled.0;
    sql.run("SELECT observed_at FROM readings WHERE device = 'pump-1'", |_, cells| {
        rows += usize::from(cells.is_some());
        if rows % 1_000 == 500 {
            seq += 1;
            store(
                &mut writer,
                device.stream,
                seq,
                vec![row(device.series[0], 5 + seq as i64, Value::Number(1.0))],
            );
            writer.checkpoint().unwrap();
            let log = crate::support::suffixed(&base.path(), "-wal");
            assert_eq!(std::fs::metadata(log).unwrap().len(), 0);
        }
        true
    })
    .unwrap();
    assert_eq!((rows, seq), (4_500, 20));
    let late = query(&base, "SELECT count(*) FROM readings WHERE observed_at < 1000");
    assert_eq!(late, ["5"]);
}
