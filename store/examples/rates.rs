//! Measures the store on this machine: how fast it appends against bare SQLite, seals, and answers.
//!
//! `cargo run --release -p store --example rates [folder]`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures and prints")]

use std::path::Path;
use std::time::Instant;

use protocol::{Seq, SeriesId, Timestamp};
use serde_json::json;
use store::{Batch, BatchContent, Registered, Row, Writer};

const DEVICES: usize = 1_000;
const METRICS: usize = 10;
const ROWS: usize = 3_000_000;

fn main() {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    for commit in [500, 5_000, 50_000] {
        let folder = tempfile::tempdir_in(&folder).unwrap();
        let bare = bare(&folder.path().join("bare.db"), commit);
        let store = append(&folder.path().join("store.db"), commit);
        println!(
            "{commit:>6} rows a commit: bare {bare:>9.0} rows/s, store {store:>9.0} rows/s, ratio {:.2}",
            store / bare
        );
    }
}

fn value(i: usize) -> f64 {
    (i % 1_000) as f64 / 8.0
}

/// The least that SQLite needs to store the same rows with the same promise.
fn bare(path: &Path, commit: usize) -> f64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE reading (id INTEGER PRIMARY KEY, series_id, observed_at, received_at, value);",
        )
        .unwrap();
    let rows = ROWS.min(commit * 400);
    let start = Instant::now();
    let mut insert = connection
        .prepare("INSERT INTO reading (series_id, observed_at, received_at, value) VALUES (?1, ?2, ?3, ?4)")
        .unwrap();
    for first in (0..rows).step_by(commit) {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for i in first..first + commit {
            let at = 1_767_225_600_000_000 + i as i64;
            insert.raw_bind_parameter(1, (i % (DEVICES * METRICS)) as i64).unwrap();
            insert.raw_bind_parameter(2, at).unwrap();
            insert.raw_bind_parameter(3, at).unwrap();
            insert.raw_bind_parameter(4, value(i)).unwrap();
            insert.raw_execute().unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
    }
    rows as f64 / start.elapsed().as_secs_f64()
}

fn register(writer: &mut Writer, device: usize) -> Registered {
    let metrics: Vec<_> = (0..METRICS).map(|i| json!({"name": format!("m{i}")})).collect();
    let hello = json!({"device": format!("d{device}"), "epoch": "e", "metrics": metrics});
    writer.register(&serde_json::from_value(hello).unwrap(), Timestamp(0)).unwrap()
}

fn append(path: &Path, commit: usize) -> f64 {
    let mut writer = Writer::open(path).unwrap();
    let devices: Vec<Registered> = (0..DEVICES).map(|device| register(&mut writer, device)).collect();
    let rows = ROWS.min(commit * 400);
    let mut seqs = vec![0_u64; DEVICES];
    let mut spent = 0.0;
    let mut i = 0;
    while i < rows {
        let batches: Vec<Batch> = (0..commit / METRICS)
            .map(|_| {
                let device = i / METRICS % DEVICES;
                let content = devices[device].series.iter().map(|series| {
                    i += 1;
                    row(*series, i)
                });
                let content = BatchContent::Readings(content.collect());
                seqs[device] += 1;
                let seq = seqs[device];
                Batch { stream: devices[device].stream, after: Seq(seq - 1), seq: Seq(seq), content }
            })
            .collect();
        let start = Instant::now();
        writer.append(&batches, Timestamp(1_767_225_600_000_000 + i as i64)).unwrap();
        spent += start.elapsed().as_secs_f64();
    }
    rows as f64 / spent
}

fn row(series: SeriesId, i: usize) -> Row {
    Row { series, at: Timestamp(1_767_225_600_000_000 + i as i64), value: value(i).into() }
}
