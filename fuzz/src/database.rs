//! A damaged database, or a whole one with a damaged log: every call gives an answer or an error.
//!
//! The bytes say what to damage: four of them each, a place (three) and what to do there.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use protocol::device::Hello;
use protocol::{Position, Seq, SeriesId, Step, Timestamp, Value};
use serde_json::json;
use store::{Batch, BatchContent, Reader, Row, SealPolicy, StoreError, Writer};
use tempfile::TempDir;

const NOW: Timestamp = Timestamp(1_767_225_600_000_000);
/// Series of the database.
const SERIES: i64 = 6;

/// The files as they were before the damage.
struct Whole {
    folder: TempDir,
    database: Vec<u8>,
    /// The database and its log as a process that was killed leaves them.
    with_log: Vec<u8>,
    log: Vec<u8>,
}

static WHOLE: LazyLock<Whole> = LazyLock::new(|| make().expect("a database can be made"));

fn hello(device: &str) -> Hello {
    serde_json::from_value(json!({"device": device, "epoch": "e1", "metrics": [
        {"name": "temperature", "kind": "number"}, {"name": "door", "kind": "bool"},
        {"name": "mode", "kind": "text"}]}))
    .expect("a hello")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn fill(writer: &mut Writer, from: u64, to: u64) -> Result<(), StoreError> {
    for device in ["a", "b"] {
        let registered = writer.register(&hello(device), NOW)?;
        for seq in from..=to {
            let rows = (0..90).map(|i| {
                let at = NOW.plus_micros((seq * 90 + i) as i64 * 1_000_003);
                let value = match i % 3 {
                    0 => Value::from((seq * i % 97) as f64 / 8.0),
                    1 => Value::from(i % 7 == 0),
                    _ => Value::from(if i % 9 == 0 { "open" } else { "shut" }),
                };
                Row { series: registered.series[i as usize % 3], at, value }
            });
            let content = BatchContent::Readings(rows.collect());
            let batch = Batch { stream: registered.stream, after: Seq(seq - 1), seq: Seq(seq), content };
            writer.append(&[batch], NOW)?;
        }
    }
    Ok(())
}

fn make() -> Result<Whole, Box<dyn std::error::Error>> {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { TempDir::new_in(memory)? } else { TempDir::new()? };
    let path = folder.path().join("whole.db");
    let mut writer = Writer::open(&path)?;
    writer.set_seal_policy(SealPolicy { keep: 300, run_min: 1, run_max: 1_000, pieces: 3, quiet: 2_000 });
    fill(&mut writer, 1, 24)?;
    for _ in 0..200 {
        writer.seal(500)?;
        writer.merge(500)?;
    }
    writer.checkpoint()?;
    let database = std::fs::read(&path)?;
    fill(&mut writer, 25, 28)?;
    writer.seal(100)?;
    let with_log = std::fs::read(&path)?;
    let log = std::fs::read(beside(&path, "-wal"))?;
    drop(writer);
    Ok(Whole { folder, database, with_log, log })
}

fn damage(mut bytes: Vec<u8>, data: &[u8]) -> Vec<u8> {
    for change in data.chunks_exact(4) {
        if bytes.is_empty() {
            break;
        }
        let place = u32::from_le_bytes([change[0], change[1], change[2], 0]) as usize % bytes.len();
        match change[3] {
            0 => bytes.truncate(place),
            1 => bytes[place / 512 * 512..].iter_mut().take(512).for_each(|byte| *byte = 0),
            2 => bytes[place / 512 * 512..].iter_mut().take(512).for_each(|byte| *byte = 0xFF),
            3 => {
                let from = place / 4_096 * 4_096;
                let end = bytes.len().min(from + 4_096);
                let page = bytes[from..end].to_vec();
                let to = (from * 7 + 4_096) % bytes.len() / 4_096 * 4_096;
                let end = bytes.len().min(to + page.len());
                bytes[to..end].copy_from_slice(&page[..end - to]);
            }
            change => bytes[place] ^= change,
        }
    }
    bytes
}

/// Asks a damaged database everything.
pub fn damaged_file(data: &[u8]) {
    ask_everything(&damage(WHOLE.database.clone(), data), None);
}

/// Asks a database with a damaged log everything.
pub fn damaged_log(data: &[u8]) {
    ask_everything(&WHOLE.with_log, Some(&damage(WHOLE.log.clone(), data)));
}

fn ask_everything(database: &[u8], log: Option<&[u8]>) {
    let path = WHOLE.folder.path().join("damaged.db");
    for suffix in ["-wal", "-shm", "-journal"] {
        drop(std::fs::remove_file(beside(&path, suffix)));
    }
    std::fs::write(&path, database).expect("the database can be written");
    if let Some(log) = log {
        std::fs::write(beside(&path, "-wal"), log).expect("the log can be written");
    }
    if let Ok(mut writer) = Writer::open(&path) {
        drop(use_writer(&mut writer));
        if let Ok(reader) = Reader::open(&path) {
            use_reader(&reader);
        }
    }
}

fn use_writer(writer: &mut Writer) -> Result<(), StoreError> {
    writer.set_seal_policy(SealPolicy { keep: 10, run_min: 1, run_max: 300, pieces: 2, quiet: 10 });
    let registered = writer.register(&hello("a"), NOW);
    drop(writer.open_commands());
    if let Ok(registered) = registered {
        let (after, seq) = (registered.settled, Seq(registered.settled.0.saturating_add(1)));
        let at = NOW.plus_micros(-1);
        let rows = vec![Row { series: registered.series[0], at, value: Value::from(1.0) }];
        let batch = Batch { stream: registered.stream, after, seq, content: BatchContent::Readings(rows) };
        drop(writer.append(&[batch], NOW));
    }
    for _ in 0..30 {
        writer.seal(200)?;
        writer.merge(200)?;
    }
    writer.checkpoint()
}

fn use_reader(reader: &Reader) {
    drop(reader.devices());
    drop(reader.latest());
    drop(reader.stats());
    drop(reader.since(Position(0), 10_000));
    drop(reader.since(Position(4_000), 10_000));
    drop(reader.credentials(None, 1_000));
    drop(reader.commands(&store::CommandFilter::default(), 100));
    let (from, to) = (Timestamp(0), Timestamp::END_READING);
    for series in (1..=SERIES).map(SeriesId) {
        if let Ok(raw) = reader.raw(series, from, to, 100_000) {
            assert!(raw.points.is_sorted_by(|a, b| a.0 < b.0), "the times of {series:?} do not ascend");
        }
        for step in [Step::S1, Step::M1, Step::M5, Step::H6] {
            if let Ok(found) = reader.buckets(series, step, from, to, 100_000) {
                assert!(
                    found.buckets.is_sorted_by(|a, b| a.at < b.at),
                    "the buckets of {series:?} do not ascend"
                );
            }
        }
    }
}
