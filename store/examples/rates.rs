//! Measures the store on this machine: how fast it appends against bare SQLite, seals, and answers.
//!
//! `cargo run --release -p store --example rates [folder [append | fleet | year | asof | latest]]`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures and prints")]

use std::path::Path;
use std::time::Instant;

use protocol::{Seq, Step, Timestamp};
use serde_json::json;
use store::{Batch, BatchContent, Reader, Registered, Row, Writer};

const DEVICES: usize = 1_000;
const METRICS: usize = 10;
const ROWS: usize = 3_000_000;

fn main() {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let wanted = std::env::args().nth(2);
    let folder = tempfile::tempdir_in(&folder).unwrap();
    let file = |name: &str| folder.path().join(name);
    let run = |part: &str| wanted.as_deref().is_none_or(|wanted| wanted == part);
    if run("append") {
        for commit in [500, 5_000, 50_000] {
            let bare = bare(&file(&format!("bare-{commit}.db")), commit);
            let store = append(&file(&format!("store-{commit}.db")), commit);
            println!(
                "{commit:>6} rows a commit: bare {:>8.0} rows/s, store {:>8.0}; computing for a million {:.2} s, {:.2} s",
                bare.0, store.0, bare.1, store.1
            );
        }
    }
    if run("fleet") {
        for devices in [10, 300, 1_000, 10_000] {
            sustained(&file(&format!("fleet-{devices}.db")), devices);
        }
    }
    if run("year") {
        history(&file("year.db"));
    }
    if run("asof") {
        as_of(&file("asof.db"));
    }
    if run("latest") {
        latest(&file("latest.db"));
    }
}

/// Appends while sealing and merging go on beside it, as the hub does, with values of two decimals and a jitter of
/// milliseconds. The first third only fills the file; the rest is the steady state that is measured.
fn sustained(path: &Path, device_count: usize) {
    let mut writer = Writer::open(path).unwrap();
    let devices: Vec<Registered> = (0..device_count).map(|device| register(&mut writer, device)).collect();
    let (rows, commit) = (12_000_000, 10_000);
    let mut seqs = vec![0_u64; device_count];
    let mut i = 0;
    let mut before = Spent::default();
    let mut all = Spent::default();
    let mut most = [0.0_f64; 2];
    let mut hot_most = 0;
    while i < rows {
        if i <= rows / 3 {
            (before, most, hot_most) = (all.now(), [0.0; 2], 0);
        }
        let batches = fleet_batches(&devices, &mut seqs, &mut i, commit);
        let busy = busy();
        all.append += timed(|| drop(writer.append(&batches, at(i)).unwrap()));
        // Three readings are sealed and merged for each that comes, at most: it must keep up, and not be ahead.
        for _ in 0..3 {
            let mut more = false;
            let took = timed(|| {
                let sealed = writer.seal(10_000).unwrap();
                (more, hot_most) = (sealed.more, hot_most.max(sealed.hot));
            });
            all.seal += took;
            most[0] = most[0].max(took);
            if !more {
                let took = timed(|| more = writer.merge(10_000).unwrap().more);
                all.merge += took;
                most[1] = most[1].max(took);
            }
            if !more {
                break;
            }
        }
        all.computing += self::busy() - busy;
    }
    let now = all.now();
    let measured = (rows - rows / 3) as f64;
    let (append, seal, merge) =
        (now.append - before.append, now.seal - before.seal, now.merge - before.merge);
    println!(
        "{} series, {rows} rows: {:.0} rows/s; for a million {:.2} s of computing, append {:.2} s, seal {:.2} s (longest slice {:.0} ms), \
         merge {:.2} s (longest {:.0} ms); {:.0} bytes written for each row; most hot {hot_most}",
        device_count * METRICS,
        measured / (append + seal + merge),
        (now.computing - before.computing) * 1e6 / measured,
        append * 1e6 / measured,
        seal * 1e6 / measured,
        most[0] * 1e3,
        merge * 1e6 / measured,
        most[1] * 1e3,
        (now.written - before.written) / measured,
    );
    while writer.seal(10_000).unwrap().more || writer.merge(10_000).unwrap().more {}
    writer.checkpoint().unwrap();
    let stats = Reader::open(path).unwrap().stats().unwrap();
    println!("  {stats:?}");
    print_sizes(path);
}

/// Seconds and bytes so far.
#[derive(Default, Clone, Copy)]
struct Spent {
    append: f64,
    seal: f64,
    merge: f64,
    computing: f64,
    written: f64,
}

impl Spent {
    fn now(self) -> Self {
        let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap_or("0");
        Self { written: written.parse().unwrap(), ..self }
    }
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The next readings, ten of one device in each batch, at 1 Hz: two decimals, and a jitter of milliseconds.
fn fleet_batches(devices: &[Registered], seqs: &mut [u64], i: &mut usize, commit: usize) -> Vec<Batch> {
    let mut next = || {
        let device = *i / METRICS % devices.len();
        let second = *i / METRICS / devices.len();
        let rows = devices[device].series.iter().map(|series| {
            let mut chance = (*i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            chance ^= chance >> 29;
            let wave = 20.0 + (second as f64 / 300.0 + series.0 as f64).sin() * 5.0;
            let value = ((wave + (chance % 64) as f64 / 200.0) * 100.0).round() / 100.0;
            let jitter = (chance >> 32) as i64 % 5 * 1_000;
            *i += 1;
            let at = 1_767_225_600_000_000 + second as i64 * 1_000_000 + jitter;
            Row { series: *series, at: Timestamp(at), value: value.into() }
        });
        let content = BatchContent::Readings(rows.collect());
        seqs[device] += 1;
        let seq = seqs[device];
        Batch { stream: devices[device].stream, after: Seq(seq - 1), seq: Seq(seq), content }
    };
    (0..commit / METRICS).map(|_| next()).collect()
}

/// What the file is made of, in bytes for each reading.
fn print_sizes(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let readings: f64 = connection
        .query_row(
            "SELECT total(count) FROM (SELECT count FROM block UNION ALL SELECT count FROM bundle)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let mut statement = connection
        .prepare(
            "SELECT name, sum(pgsize) FROM dbstat GROUP BY name HAVING sum(pgsize) > 100000 ORDER BY 2 DESC",
        )
        .unwrap();
    let sizes = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    for (name, bytes) in sizes.map(Result::<(String, f64), _>::unwrap) {
        println!("  {name}: {:.2} bytes for each sealed reading", bytes / readings);
    }
    let free: f64 = connection
        .query_row("SELECT freelist_count * 4096 FROM pragma_freelist_count", [], |row| row.get(0))
        .unwrap();
    println!("  free pages: {:.1} MB", free / 1e6);
}

/// A year of one series at 1 Hz, and what a dashboard asks of it.
fn history(path: &Path) {
    const SECONDS: i64 = 365 * 86_400;
    let mut writer = Writer::open(path).unwrap();
    let device = register(&mut writer, 0);
    let (series, mut seq, mut level, mut state) = (device.series[0], 0, 20.0_f64, 1_u64);
    let start = Instant::now();
    for first in (0..SECONDS).step_by(40_000) {
        let rows = (first..(first + 40_000).min(SECONDS)).map(|second| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            level += (20.0 - level) * 0.001 + ((state >> 33) % 100) as f64 / 500.0 - 0.099;
            let jitter = (state >> 40) as i64 % 2_000;
            let value = ((level * 100.0).round() / 100.0).into();
            Row { series, at: Timestamp(1_735_689_600_000_000 + second * 1_000_000 + jitter), value }
        });
        let content = BatchContent::Readings(rows.collect());
        let batch = Batch { stream: device.stream, after: Seq(seq), seq: Seq(seq + 1), content };
        seq += 1;
        writer.append(&[batch], Timestamp(0)).unwrap();
        while writer.seal(10_000).unwrap().more || writer.merge(10_000).unwrap().more {}
    }
    let took = start.elapsed().as_secs_f64();
    writer.checkpoint().unwrap();
    let reader = Reader::open(path).unwrap();
    let stats = reader.stats().unwrap();
    println!("a year at 1 Hz in {took:.0} s: {stats:?}");
    print_sizes(path);
    let end = 1_735_689_600 + SECONDS;
    let from = |days: i64| Timestamp::from_seconds(end - days * 86_400);
    let to = Timestamp::from_seconds(end);
    let earlier = Timestamp::from_seconds(end - 86_400 * 10);
    measure("a week in 5 minutes", || {
        reader.buckets(series, Step::M5, from(7), to, 1_000_000).unwrap().buckets.len()
    });
    measure("a year in 6 hours", || {
        reader.buckets(series, Step::H6, from(365), to, 1_000_000).unwrap().buckets.len()
    });
    measure("a day in minutes", || {
        reader.buckets(series, Step::M1, from(1), to, 1_000_000).unwrap().buckets.len()
    });
    measure("a day raw", || reader.raw(series, from(1), to, 1_000_000).unwrap().points.len());
    measure("an old day raw", || reader.raw(series, from(11), earlier, 1_000_000).unwrap().points.len());
    measure("latest", || reader.latest().unwrap().readings.len());
}

/// 1 000 series that send at 1 Hz for an hour of each of three days, and what the fleet showed at some time.
fn as_of(path: &Path) {
    const START: i64 = 1_767_225_600;
    let mut writer = Writer::open(path).unwrap();
    let devices: Vec<Registered> = (0..100).map(|device| register(&mut writer, device)).collect();
    let mut seq = 0;
    for day in 0..3 {
        for minute in 0..60 {
            seq += 1;
            let from = START + day * 86_400 + 9 * 3_600 + minute * 60;
            let batch = |device: &Registered| {
                let rows = (0..60).flat_map(|second| {
                    device.series.iter().map(move |series| {
                        let at = Timestamp((from + second) * 1_000_000 + series.0 * 137);
                        Row { series: *series, at, value: value((second * 7 + series.0) as usize).into() }
                    })
                });
                let content = BatchContent::Readings(rows.collect());
                Batch { stream: device.stream, after: Seq(seq - 1), seq: Seq(seq), content }
            };
            writer.append(&devices.iter().map(batch).collect::<Vec<_>>(), Timestamp(0)).unwrap();
            while writer.seal(10_000).unwrap().more || writer.merge(10_000).unwrap().more {}
        }
    }
    writer.checkpoint().unwrap();
    let reader = Reader::open(path).unwrap();
    println!("1 000 series, an hour a day at 1 Hz: {:?}", reader.sizes().unwrap());
    let at = |day: i64, second: i64| Timestamp::from_seconds(START + day * 86_400 + second);
    for (what, at) in [
        ("as of half past nine of the second day", at(1, 9 * 3_600 + 1_800)),
        ("as of noon of the second day", at(1, 12 * 3_600)),
        ("as of midnight before the third day", at(2, 0)),
        ("as of now", at(30, 0)),
    ] {
        measure(what, || reader.as_of(at, None).unwrap().readings.len());
    }
}

/// The latest values of 10 000 series, with as many hot readings as stay.
fn latest(path: &Path) {
    let mut writer = Writer::open(path).unwrap();
    let devices: Vec<Registered> = (0..DEVICES).map(|device| register(&mut writer, device)).collect();
    let (mut seqs, mut i) = (vec![0_u64; DEVICES], 0);
    while i < 1_500_000 {
        let batches = batches(&devices, &mut seqs, &mut i, 10_000);
        writer.append(&batches, at(i)).unwrap();
        while writer.seal(10_000).unwrap().more || writer.merge(10_000).unwrap().more {}
    }
    let reader = Reader::open(path).unwrap();
    println!("latest: {:?}", reader.stats().unwrap());
    measure("latest values of 10 000 series", || reader.latest().unwrap().readings.len());
    measure("the same as of now", || reader.as_of(at(i * 2), None).unwrap().readings.len());
}

fn measure(what: &str, ask: impl Fn() -> usize) {
    let found = ask();
    let (start, busy) = (Instant::now(), busy());
    for _ in 0..20 {
        ask();
    }
    let (wall, cpu) = (start.elapsed().as_secs_f64() * 50.0, (self::busy() - busy) * 50.0);
    println!("  {what}: {found} in {wall:.2} ms, {cpu:.2} ms of them computing");
}

/// Seconds that this thread has computed, as far as the system tells: on a busy machine a better measure than the clock.
fn busy() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or_default() / 1e9
}

fn value(i: usize) -> f64 {
    (i % 1_000) as f64 / 8.0
}

/// The least that SQLite needs to store the same rows with the same promise.
fn bare(path: &Path, commit: usize) -> (f64, f64) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE reading (id INTEGER PRIMARY KEY, series_id, observed_at, received_at, value);",
        )
        .unwrap();
    let rows = ROWS.min(commit * 400);
    let (start, busy) = (Instant::now(), busy());
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
    (rows as f64 / start.elapsed().as_secs_f64(), (self::busy() - busy) * 1e6 / rows as f64)
}

fn register(writer: &mut Writer, device: usize) -> Registered {
    let metrics: Vec<_> = (0..METRICS).map(|i| json!({"name": format!("m{i}")})).collect();
    let hello = json!({"device": format!("d{device}"), "epoch": "e", "metrics": metrics});
    writer.register(&serde_json::from_value(hello).unwrap(), Timestamp(0)).unwrap()
}

fn append(path: &Path, commit: usize) -> (f64, f64) {
    let mut writer = Writer::open(path).unwrap();
    let devices: Vec<Registered> = (0..DEVICES).map(|device| register(&mut writer, device)).collect();
    let rows = ROWS.min(commit * 400);
    let mut seqs = vec![0_u64; DEVICES];
    let (mut spent, mut computing, mut i) = (0.0, 0.0, 0);
    while i < rows {
        let batches = batches(&devices, &mut seqs, &mut i, commit);
        let (start, busy) = (Instant::now(), busy());
        writer.append(&batches, at(i)).unwrap();
        spent += start.elapsed().as_secs_f64();
        computing += self::busy() - busy;
    }
    (rows as f64 / spent, computing * 1e6 / rows as f64)
}

/// The next readings, ten of one device in each batch; one round of all devices is a second.
fn batches(devices: &[Registered], seqs: &mut [u64], i: &mut usize, commit: usize) -> Vec<Batch> {
    let mut next = || {
        let device = *i / METRICS % DEVICES;
        let rows = devices[device].series.iter().map(|series| {
            *i += 1;
            Row { series: *series, at: at(*i), value: value(*i).into() }
        });
        let content = BatchContent::Readings(rows.collect());
        seqs[device] += 1;
        let seq = seqs[device];
        Batch { stream: devices[device].stream, after: Seq(seq - 1), seq: Seq(seq), content }
    };
    (0..commit / METRICS).map(|_| next()).collect()
}

const fn at(i: usize) -> Timestamp {
    Timestamp(1_767_225_600_000_000 + i as i64 * 100)
}
