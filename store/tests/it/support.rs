//! A database in a folder of its own, and short ways to fill it.

use std::path::{Path, PathBuf};

use protocol::device::Hello;
use protocol::{Seq, SeriesId, Timestamp, Value};
use serde_json::json;
use store::{Batch, BatchContent, Outcome, Reader, Registered, Row, StreamKey, Writer};
use tempfile::TempDir;

/// The time at which tests happen: 2026-01-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// Someone who changes who may connect.
pub(crate) fn anna() -> protocol::desk::Actor {
    protocol::desk::Actor { by: "anna".into(), address: None }
}

/// A database in a folder that goes away with it.
pub(crate) struct Base {
    folder: TempDir,
}

impl Base {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// In memory where the system has a file system for that: for tests that do not ask what survives a power cut.
    pub(crate) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        Self { folder: folder.unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("telemetry.db")
    }

    pub(crate) fn writer(&self) -> Writer {
        Writer::open(&self.path()).unwrap()
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.path()).unwrap()
    }

    /// A reader of a database that was not closed in order.
    pub(crate) fn reader_after_recovery(&self) -> Reader {
        drop(self.writer());
        self.reader()
    }

    /// The database as a killed process leaves it: what is in the file and in its log, and no goodbye.
    pub(crate) fn crash_copy(&self) -> Self {
        self.copy_to(Self::new())
    }

    /// As [`Base::crash_copy`], of one that is in memory.
    pub(crate) fn crash_copy_in_memory(&self) -> Self {
        self.copy_to(Self::in_memory())
    }

    fn copy_to(&self, copy: Self) -> Self {
        std::fs::copy(self.path(), copy.path()).unwrap();
        let log = suffixed(&self.path(), "-wal");
        if log.exists() {
            std::fs::copy(log, suffixed(&copy.path(), "-wal")).unwrap();
        }
        copy
    }
}

pub(crate) fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Changes the readings of the last hot row, as if they had been stored so: checksum and count fit.
pub(crate) fn rewrite_hot(path: &Path, change: impl FnOnce(&mut Vec<serde_json::Value>)) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let last = "SELECT position, received_at, readings FROM hot ORDER BY position DESC LIMIT 1";
    let (position, received_at, text): (i64, i64, String) =
        connection.query_row(last, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let mut readings = serde_json::from_str(&text).unwrap();
    change(&mut readings);
    let text = serde_json::to_string(&readings).unwrap();
    let count = readings.len() as i64;
    let mut checksum = crc32fast::Hasher::new();
    for number in [position, count, received_at] {
        checksum.update(&number.to_le_bytes());
    }
    checksum.update(text.as_bytes());
    connection
        .execute(
            "UPDATE hot SET count = ?2, readings = ?3, checksum = ?4 WHERE position = ?1",
            (position, count, text, checksum.finalize()),
        )
        .unwrap();
}

/// A device with a number, a truth value and a text.
pub(crate) fn hello(device: &str, epoch: &str) -> Hello {
    serde_json::from_value(
        json!({"device": device, "epoch": epoch, "model": "M1", "firmware": "1.0", "metrics": [
        {"name": "temperature", "unit": "Cel", "kind": "number", "min": -40.0, "max": 85.0},
        {"name": "door", "kind": "bool", "label": "Door open"},
        {"name": "mode", "kind": "text"}],
        "commands": [{"name": "reset", "confirm": true}]}),
    )
    .unwrap()
}

pub(crate) fn register(writer: &mut Writer, device: &str) -> Registered {
    writer.register(&hello(device, "e1"), NOW).unwrap()
}

pub(crate) fn row(series: SeriesId, at: i64, value: impl Into<Value>) -> Row {
    Row { series, at: Timestamp(at), value: value.into() }
}

/// A batch that follows the one before its number.
pub(crate) fn batch(stream: StreamKey, seq: u64, rows: Vec<Row>) -> Batch {
    Batch { stream, after: Seq(seq - 1), seq: Seq(seq), content: BatchContent::Readings(rows) }
}

/// Stores one batch and sees that it is settled.
pub(crate) fn store(writer: &mut Writer, stream: StreamKey, seq: u64, rows: Vec<Row>) {
    let appended = writer.append(&[batch(stream, seq, rows)], NOW).unwrap();
    assert_eq!(appended.outcomes, [Outcome::Settled]);
}

/// Every reading of a series, as its times.
pub(crate) fn times(reader: &Reader, series: SeriesId) -> Vec<i64> {
    let history = reader.raw(series, Timestamp(0), Timestamp::END_READING, usize::MAX).unwrap();
    assert!(history.complete);
    history.points.iter().map(|(at, _)| at.0).collect()
}

/// A source of numbers that a seed repeats (splitmix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// Seals everything.
pub(crate) fn seal_all(writer: &mut Writer) {
    writer.set_seal_policy(store::SealPolicy { keep: 0, run_min: 1, ..store::SealPolicy::default() });
    while writer.seal(500).unwrap().more {}
}
