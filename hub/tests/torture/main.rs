//! The hub killed with SIGKILL again and again at full load, and under disks and clocks that fail: what it acknowledged
//! is there, exactly once (I-1, I-2).
//!
//! `cargo xtask torture` runs the same for longer. Its settings come as environment variables: `TORTURE_CYCLES`,
//! `TORTURE_SEED`, `TORTURE_CONNECTIONS`, `TORTURE_READINGS`, `TORTURE_CONFIG` (a `hub.toml`), and `TORTURE_HUB` for
//! another program than the one just built.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "clippy allows these in tests, but does not see that what tests share is a test too"
)]

mod age;
mod check;
mod content;
mod device;
mod driver;
mod faults;
mod oracle;
mod process;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driver::{Settings, Stage};
use rusqlite::Connection;
use serde_json::Value;

/// A number from the environment, or `usual`.
fn setting(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i_1_i_2_i_15_killed_at_any_moment_the_hub_has_all_that_it_acknowledged_exactly_once() {
    let chance = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64 % 1_000_000;
    let settings = Settings {
        cycles: setting("TORTURE_CYCLES", 30),
        seed: setting("TORTURE_SEED", chance),
        connections: setting("TORTURE_CONNECTIONS", 8),
        readings_max: setting("TORTURE_READINGS", 2_000_000),
    };
    println!("seed {}", settings.seed);
    let report = driver::run(&settings, |news| println!("{news}")).await;
    println!("\n{report}");
    assert!(report.problems.is_empty() && (report.lost, report.doubled) == (0, 0), "seed {}", settings.seed);
}

/// SQL that changes the last row of hot readings, its position and what it holds, as if it had been stored so.
fn rewritten(connection: &Connection, change: impl FnOnce(&mut i64, &mut Vec<Value>)) -> String {
    let last = "SELECT position, received_at, readings FROM hot ORDER BY position DESC LIMIT 1";
    let (old, received_at, text): (i64, i64, String) =
        connection.query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let (mut position, mut readings) = (old, serde_json::from_str(&text).unwrap());
    change(&mut position, &mut readings);
    let (count, text) = (readings.len() as i64, serde_json::to_string(&readings).unwrap());
    let mut checksum = crc32fast::Hasher::new();
    for number in [position, count, received_at] {
        checksum.update(&number.to_le_bytes());
    }
    checksum.update(text.as_bytes());
    let (checksum, text) = (checksum.finalize(), text.replace('\'', "''"));
    format!(
        "UPDATE hot SET position = {position}, count = {count}, readings = '{text}', checksum = {checksum}
         WHERE position = {old}"
    )
}

/// The torture proves nothing unless its checker sees what is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_checker_reports_every_reading_that_is_missing_doubled_or_changed() {
    let mut stage = Stage::open(3, 1, None, false, "");
    let mut hub = stage.start(None);
    stage.listens(&hub).unwrap();
    while stage.acked() < 20_000 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    hub.terminate();
    assert!(hub.end().status.success());
    stage.close().await;
    let accounts = stage.accounts();
    let database = stage.database();
    let look = |sql: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::copy(&database, file.path()).unwrap();
        if !sql.is_empty() {
            let connection = Connection::open(file.path()).unwrap();
            connection.execute_batch(sql).unwrap();
        }
        let found = check::check(file.path(), &accounts, 0).unwrap();
        (found.lost, found.doubled, found.problems)
    };
    assert_eq!(look(""), (0, 0, Vec::new()));
    let change = |change: fn(&mut i64, &mut Vec<Value>)| {
        let connection = Connection::open(&database).unwrap();
        look(&rewritten(&connection, change))
    };
    let (lost, doubled, problems) = change(|_, readings| drop(readings.pop()));
    assert_eq!((lost, doubled, problems.len()), (1, 0, 1), "{problems:?}");
    let (lost, doubled, problems) = change(|position, readings| {
        *position += 1;
        readings.push(readings[0].clone());
    });
    assert_eq!((lost, doubled, problems.len()), (0, 1, 1), "{problems:?}");
    let (lost, doubled, problems) = change(|_, readings| {
        // The last row has as few readings as the last commit had, and of any kind.
        let value = &mut readings[0][2];
        *value = match &*value {
            Value::Bool(value) => (!value).into(),
            Value::String(text) => format!("{text}?").into(),
            number => (number.as_f64().unwrap() + 1.0).into(),
        };
    });
    assert_eq!((lost, doubled, problems.len()), (0, 0, 1), "{problems:?}");
    // A batch that was acknowledged, taken back as a whole.
    let (lost, _, problems) =
        look("UPDATE stream SET last_seq = last_seq - 1, stored = stored - 1 WHERE stream_key = 1");
    assert!(!problems.is_empty(), "{lost}");
    // Sealed readings too.
    let mut writer = store::Writer::open(&database).unwrap();
    writer.set_seal_policy(store::SealPolicy { keep: 0, run_min: 1, ..store::SealPolicy::default() });
    while writer.seal(100_000).unwrap().more {}
    drop(writer);
    assert_eq!(look(""), (0, 0, Vec::new()));
    let (lost, doubled, problems) =
        look("DELETE FROM block WHERE block_id = (SELECT max(block_id) FROM block)");
    assert!(lost > 0 && doubled == 0 && !problems.is_empty(), "{lost} {doubled} {problems:?}");
}
