//! The store against a model of it: a list of everything appended, asked the same questions.
//!
//! Numbers are small multiples of 1/8, so that sums are exact in whatever order they are made.

use std::collections::{BTreeMap, HashMap};

use protocol::{Bucket, Position, Seq, SeriesId, Step, Timestamp, Value};
use store::{
    Batch, BatchContent, Outcome, Reader, Registered, Row, Scan, SealPolicy, Since, StoreError, Writer,
};

use crate::support::{Base, Chance, NOW, hello, suffixed};

/// Seals whatever is there, and merges it.
pub(crate) fn seal_some(writer: &mut Writer) {
    try_seal(writer).unwrap();
}

/// Seals whatever is there but the newest few, and merges it, or says why not.
pub(crate) fn try_seal(writer: &mut Writer) -> Result<(), StoreError> {
    writer.set_seal_policy(SealPolicy { keep: 100, run_min: 1, run_max: 1_000, pieces: 3, quiet: 2_000 });
    for _ in 0..1_000 {
        if !writer.seal(500)?.more && !writer.merge(500)?.more {
            return Ok(());
        }
    }
    panic!("sealing does not end")
}

const DAY: i64 = 86_400_000_000;

#[derive(Default)]
struct Model {
    /// Everything in the order of its commit.
    rows: Vec<Row>,
    settled: HashMap<i64, u64>,
}

impl Model {
    fn append(&mut self, batch: &Batch) -> Outcome {
        let last = self.settled.entry(batch.stream.0).or_default();
        if batch.seq.0 <= *last {
            return Outcome::Duplicate;
        }
        let skip = batch.content == BatchContent::Skipped;
        if batch.after.0 != *last || (!skip && batch.seq.0 != *last + 1) {
            return Outcome::OutOfOrder;
        }
        *last = batch.seq.0;
        if let BatchContent::Readings(rows) = &batch.content {
            self.rows.extend(rows.iter().cloned());
        }
        Outcome::Settled
    }

    fn series(&self, series: SeriesId) -> BTreeMap<i64, Value> {
        let mut points = BTreeMap::new();
        for row in self.rows.iter().filter(|row| row.series == series) {
            points.entry(row.at.0).or_insert_with(|| row.value.clone());
        }
        points
    }

    fn buckets(points: &BTreeMap<i64, Value>, step: Step, from: i64, to: i64) -> Vec<Bucket> {
        let mut buckets: BTreeMap<i64, Bucket> = BTreeMap::new();
        if from >= to {
            return Vec::new();
        }
        let (first, last) = (step.floor(Timestamp(from)), step.floor(Timestamp(to - 1)));
        for (at, value) in points {
            let start = step.floor(Timestamp(*at));
            if start < first || start > last {
                continue;
            }
            let n = value.to_number().unwrap();
            let bucket =
                buckets.entry(start.0).or_insert(Bucket { count: 0, sum: 0.0, ..Bucket::of(start, n) });
            bucket.count += 1;
            bucket.sum += n;
            bucket.min = bucket.min.min(n);
            bucket.max = bucket.max.max(n);
            bucket.last = n;
        }
        buckets.into_values().collect()
    }
}

struct Run {
    base: Base,
    writer: Option<Writer>,
    reader: Reader,
    model: Model,
    devices: Vec<(String, String, Registered)>,
    chance: Chance,
    clock: i64,
}

impl Run {
    fn new(seed: u64) -> Self {
        let base = Base::new();
        let writer = base.writer();
        let reader = base.reader();
        let clock = NOW.0 + seed as i64 * 7_919_000_003;
        let (model, chance) = (Model::default(), Chance(seed));
        let mut run = Self { base, writer: Some(writer), reader, model, devices: Vec::new(), chance, clock };
        for name in ["a", "b"] {
            run.register(name.into(), "e1".into());
        }
        run
    }

    fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    fn register(&mut self, device: String, epoch: String) {
        let registered = self.writer().register(&hello(&device, &epoch), NOW).unwrap();
        let settled = self.model.settled.get(&registered.stream.0).copied().unwrap_or_default();
        assert_eq!(registered.settled, Seq(settled));
        self.devices.push((device, epoch, registered));
    }

    /// A time: mostly now, sometimes late, sometimes far off, sometimes one that was had before.
    fn time(&mut self) -> i64 {
        let at = match self.chance.below(40) {
            0 => self.clock - self.chance.below(3 * DAY as u64) as i64,
            1 => self.chance.below(4_102_444_800_000_000) as i64,
            2 => self.model.rows.last().map_or(0, |row| row.at.0),
            3 => {
                let place = self.chance.below(self.model.rows.len().max(1) as u64) as usize;
                self.model.rows.get(place).map_or(0, |row| row.at.0)
            }
            4 => self.clock / DAY * DAY - self.chance.below(2) as i64,
            _ => {
                self.clock += [1_000_000, 1_000_000, 10_000, 60_000_000, 1][self.chance.below(5) as usize];
                self.clock
            }
        };
        at.clamp(0, Timestamp::END_READING.0 - 1)
    }

    fn batch(&mut self) -> Batch {
        let device = self.chance.below(self.devices.len() as u64) as usize;
        let (stream, series) = (self.devices[device].2.stream, self.devices[device].2.series.clone());
        let last = self.model.settled.get(&stream.0).copied().unwrap_or_default();
        let (after, seq) = match self.chance.below(12) {
            0 => (last.saturating_sub(1), last.max(1)),
            1 => (last + 1, last + 2),
            2 => (last, last + 2),
            _ => (last, last + 1),
        };
        let content = match self.chance.below(20) {
            0 => BatchContent::Refused,
            1 => BatchContent::Skipped,
            _ => {
                let count = [0, 1, 3, 20, 150][self.chance.below(5) as usize];
                let rows = (0..count).map(|_| {
                    let metric = if self.chance.one_in(3) { 1 + self.chance.below(2) as usize } else { 0 };
                    let value = match metric {
                        0 => Value::Number(self.chance.below(4_000) as f64 / 8.0 - 200.0),
                        1 => Value::Bool(self.chance.one_in(2)),
                        _ => Value::from(["open", "shut", "", "half open"][self.chance.below(4) as usize]),
                    };
                    Row { series: series[metric], at: Timestamp(self.time()), value }
                });
                BatchContent::Readings(rows.collect())
            }
        };
        Batch { stream, after: Seq(after), seq: Seq(seq), content }
    }

    fn append(&mut self) {
        let mut batches = Vec::new();
        let mut expected = Vec::new();
        let before = self.model.rows.len() as i64;
        for _ in 0..=self.chance.below(4) {
            let batch = self.batch();
            expected.push(self.model.append(&batch));
            batches.push(batch);
        }
        let appended = self.writer().append(&batches, NOW).unwrap();
        assert_eq!(appended.outcomes, expected);
        assert_eq!(appended.first, Position(before + 1));
        assert_eq!(appended.last, Position(self.model.rows.len() as i64));
    }

    /// Does some slices of sealing and merging, not always to their end.
    fn seal(&mut self) {
        let policy = SealPolicy {
            keep: [0, 20, 300][self.chance.below(3) as usize],
            run_min: [1, 100][self.chance.below(2) as usize],
            run_max: [50, 1_000, 100_000][self.chance.below(3) as usize],
            pieces: [2, 3, 12][self.chance.below(3) as usize],
            quiet: [1, 1_000, 4_000_000][self.chance.below(3) as usize],
        };
        let slices = [1, 3, 100][self.chance.below(3) as usize];
        let rows = [7, 100, 10_000][self.chance.below(3) as usize];
        let merge = self.chance.one_in(2);
        let writer = self.writer();
        writer.set_seal_policy(policy);
        for _ in 0..slices {
            let more = writer.seal(rows).unwrap().more;
            if merge {
                writer.merge(rows).unwrap();
            }
            if !more {
                break;
            }
        }
    }

    /// Closes and opens again: in order, or as after a kill.
    fn reopen(&mut self) {
        if self.chance.one_in(2) {
            let copy = self.base.crash_copy();
            self.writer = None;
            self.base = copy;
        } else {
            if self.chance.one_in(2) {
                self.writer().checkpoint().unwrap();
                assert_eq!(std::fs::metadata(suffixed(&self.base.path(), "-wal")).unwrap().len(), 0);
            }
            self.writer = None;
        }
        self.writer = Some(self.base.writer());
        self.reader = self.base.reader();
        let rows = self.model.rows.len() as i64;
        assert_eq!(self.writer().position(), Position(rows));
        if self.chance.one_in(2) {
            for (device, epoch, _) in std::mem::take(&mut self.devices) {
                self.register(device, epoch);
            }
        }
        if self.chance.one_in(3) {
            let epoch = format!("e{}", self.devices.len());
            self.register("a".into(), epoch);
        }
    }

    fn compare(&mut self) {
        let position = Position(self.model.rows.len() as i64);
        let [a, b] = [0, 1].map(|device: usize| self.devices[device].2.series.clone());
        let mut latest = Vec::new();
        for (place, series) in a.iter().chain(&b).enumerate() {
            let is_text = place % 3 == 2;
            let points = self.model.series(*series);
            if let Some((at, value)) = points.last_key_value() {
                latest.push(Row { series: *series, at: Timestamp(*at), value: value.clone() });
            }
            for _ in 0..4 {
                let (from, to) = self.range();
                let limit = [usize::MAX, 1, 10, 500][self.chance.below(4) as usize];
                let inside = if from < to { from..to } else { 0..0 };
                let expected: Vec<_> =
                    points.range(inside).map(|(at, value)| (Timestamp(*at), value.clone())).collect();
                let raw = self.reader.raw(*series, Timestamp(from), Timestamp(to), limit).unwrap();
                assert_eq!(raw.position, position);
                assert_eq!(raw.complete, expected.len() <= limit);
                assert_eq!(
                    raw.points,
                    expected[..expected.len().min(limit)],
                    "{series:?} from {from} to {to}"
                );
                let part = 1 + self.chance.below(2_000) as usize;
                let mut scan = Scan::new(*series, Timestamp(from), Timestamp(to)).with_part(part);
                let mut scanned = Vec::new();
                while let Some(points) = scan.next(&self.reader).unwrap() {
                    scanned.extend(points);
                }
                assert_eq!(scanned, expected, "{series:?} from {from} to {to} in parts of {part}");
                if is_text {
                    continue;
                }
                for step in Step::ALL {
                    let expected = Model::buckets(&points, step, from, to);
                    let found =
                        self.reader.buckets(*series, step, Timestamp(from), Timestamp(to), limit).unwrap();
                    assert_eq!(found.position, position);
                    assert_eq!(found.complete, expected.len() <= limit);
                    let expected = &expected[..expected.len().min(limit)];
                    assert_eq!(found.buckets, expected, "{series:?} {step:?} from {from} to {to}");
                }
            }
        }
        latest.sort_by_key(|row| row.series);
        let found = self.reader.latest().unwrap();
        assert_eq!(found.position, position);
        assert_eq!(found.readings, latest);

        let stats = self.reader.stats().unwrap();
        let rows = self.model.rows.len() as u64;
        assert_eq!(stats.readings + stats.conflicts, rows);
        assert_eq!(self.count_rows() + stats.conflicts, rows, "every row is in one place");
        let times = || self.model.rows.iter().map(|row| row.at);
        assert_eq!((stats.oldest, stats.newest), (times().min(), times().max()));

        let after = self.chance.below(position.0 as u64 + 1);
        let limit = [usize::MAX, 3][self.chance.below(2) as usize];
        match self.reader.since(Position(after as i64), limit).unwrap() {
            Since::Rows { rows, last } => {
                let expected = &self.model.rows[after as usize..];
                let expected = &expected[..expected.len().min(limit)];
                assert!(rows.iter().map(|(_, row)| row).eq(expected));
                assert!(rows.iter().map(|(position, _)| position.0 - 1).eq(after as i64..last.0));
            }
            Since::Gone => {
                let through = self.writer().sealed_through().unwrap();
                assert!((after as i64) < through.0, "position {after} of {position:?} is gone");
            }
        }
    }

    /// What the tables hold, counted by hand.
    fn count_rows(&self) -> u64 {
        let connection = rusqlite::Connection::open(self.base.path()).unwrap();
        let sql = "SELECT (SELECT count(*) FROM reading, sealed WHERE position > through) +
                          (SELECT coalesce(sum(count), 0) FROM block, sealed WHERE position <= through)";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64
    }

    /// Two times: around now mostly, or everything.
    fn range(&mut self) -> (i64, i64) {
        let mut time = || match self.chance.below(6) {
            0 => 0,
            1 => Timestamp::END_READING.0,
            2 => self.clock / DAY * DAY,
            _ => self.clock - self.chance.below(4_000_000_000) as i64,
        };
        let (a, b) = (time(), time());
        if self.chance.one_in(20) { (a.max(b), a.min(b)) } else { (a.min(b), a.max(b)) }
    }
}

fn run(seed: u64, steps: u64) {
    let mut run = Run::new(seed);
    for _ in 0..steps {
        match run.chance.below(20) {
            0 => run.reopen(),
            1..=2 => run.compare(),
            3..=6 => run.seal(),
            _ => run.append(),
        }
    }
    run.compare();
}

#[test]
fn i_2_whatever_is_appended_sealed_and_merged_comes_back_exactly_once_in_every_query() {
    for seed in 0..40 {
        let steps = if seed % 8 == 0 { 300 } else { 80 };
        if let Err(panic) = std::panic::catch_unwind(|| run(seed, steps)) {
            panic!("seed {seed}: {}", panic.downcast_ref::<String>().map_or("see above", |text| text));
        }
    }
}
