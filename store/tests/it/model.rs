//! The store against a model of it: a list of everything appended, asked the same questions.
//!
//! Numbers are multiples of 1/8, so that sums are exact in whatever order they are made, and no two are the same, so that
//! of two readings at one microsecond it can be seen which one is there.
//!
//! What retention takes the model learns from the store, and holds it to the rules: nothing goes before its time, all that
//! goes is in the account, and what is left answers every query. `STORE_SEEDS=5000` runs more cases than the usual ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use protocol::{Bucket, Position, Seq, SeriesId, Step, Timestamp, Value};
use store::{
    Batch, BatchContent, KeptBuckets, Outcome, Reader, Registered, RetentionPolicy, RetentionRule, Row, Scan,
    SealPolicy, Since, StoreError, Writer,
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

const HOUR: i64 = 3_600_000_000;

/// Where a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    There,
    /// Retention has left only statistics of it.
    Thinned,
    Gone,
}

/// A block of which retention has left only statistics, as the table says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Thinned {
    series: SeriesId,
    first_at: i64,
    last_at: i64,
    step: Step,
    count: usize,
    /// The readings that it sums up, as places in the model.
    rows: Vec<usize>,
}

#[derive(Default)]
struct Model {
    /// Everything in the order of its commit.
    rows: Vec<Row>,
    fates: Vec<Fate>,
    /// How long the hub had run when each was received.
    received: Vec<i64>,
    /// The places of the readings of each series at each time, first stored first.
    places: HashMap<SeriesId, BTreeMap<i64, Vec<usize>>>,
    /// By block.
    thinned: BTreeMap<i64, Thinned>,
    settled: HashMap<i64, u64>,
}

/// A bucket, and whether the times of its first and last reading are known exactly.
type Expected = (Bucket, bool);

impl Model {
    fn append(&mut self, batch: &Batch, ran: i64) -> Outcome {
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
            for row in rows {
                let at_time = self.places.entry(row.series).or_default().entry(row.at.0).or_default();
                at_time.push(self.rows.len());
                self.rows.push(row.clone());
                self.fates.push(Fate::There);
                self.received.push(ran);
            }
        }
        Outcome::Settled
    }

    /// The readings of a series that are there; of those at one time the first stored.
    fn points(&self, series: SeriesId) -> BTreeMap<i64, usize> {
        let first =
            |places: &Vec<usize>| places.iter().copied().find(|place| self.fates[*place] == Fate::There);
        let all = self.places.get(&series).into_iter().flatten();
        all.filter_map(|(at, places)| Some((*at, first(places)?))).collect()
    }

    /// The widest step of the statistics that are left of a series between two times, if they are too coarse.
    fn coarser(&self, series: SeriesId, asked: Option<Step>, from: i64, to: i64) -> Option<Step> {
        let of_series = self.thinned.values().filter(|block| block.series == series);
        of_series
            .filter(|block| block.first_at < to && block.last_at >= from && !block.answers(asked))
            .map(|block| block.step)
            .max()
    }

    fn buckets(
        &self,
        series: SeriesId,
        points: &BTreeMap<i64, usize>,
        step: Step,
        (from, to): (i64, i64),
    ) -> (Vec<Expected>, Option<Step>) {
        if from >= to {
            return (Vec::new(), None);
        }
        let first = step.floor(Timestamp(from)).0;
        let end = step.floor(Timestamp(to - 1)).0 + step.micros();
        let mut found: BTreeMap<(i64, usize), i64> =
            points.range(first..end).map(|(at, place)| ((*at, *place), -1)).collect();
        for (id, block) in &self.thinned {
            if block.series == series && block.answers(Some(step)) {
                let rows = block.rows.iter().map(|place| (self.rows[*place].at.0, *place));
                found.extend(rows.filter(|(at, _)| (first..end).contains(at)).map(|key| (key, *id)));
            }
        }
        let mut buckets: BTreeMap<i64, (Bucket, BTreeSet<i64>)> = BTreeMap::new();
        for ((at, place), source) in found {
            let start = step.floor(Timestamp(at));
            let n = self.rows[place].value.to_number().unwrap();
            let (bucket, sources) = buckets
                .entry(start.0)
                .or_insert((Bucket { count: 0, sum: 0.0, ..Bucket::of(start, n) }, BTreeSet::new()));
            bucket.count += 1;
            bucket.sum += n;
            bucket.min = bucket.min.min(n);
            bucket.max = bucket.max.max(n);
            bucket.last = n;
            sources.insert(source);
        }
        let buckets = buckets.into_values().map(|(bucket, sources)| (bucket, sources.len() == 1)).collect();
        (buckets, self.coarser(series, Some(step), first, end))
    }
}

impl Thinned {
    /// Whether its statistics are fine enough; `None` asks for the readings.
    fn answers(&self, asked: Option<Step>) -> bool {
        asked.is_some_and(|asked| {
            asked >= self.step
                || asked.floor(Timestamp(self.first_at)) == asked.floor(Timestamp(self.last_at))
        })
    }
}

fn hours(hours: i64) -> Duration {
    Duration::from_micros((hours * HOUR) as u64)
}

/// The rules of a run: some runs have none.
fn rules(seed: u64) -> Vec<RetentionRule> {
    let rule = |device: &str, metric: &str, keep, buckets| RetentionRule {
        device: device.into(),
        metric: metric.into(),
        keep: Some(hours(keep)),
        buckets,
    };
    let kept = |step, keep: Option<i64>| Some(KeptBuckets { step, keep: keep.map(hours) });
    match seed % 4 {
        0 => Vec::new(),
        1 => vec![rule("*", "temp*", 1, None), rule("a", "mode", 3, None)],
        2 => vec![rule("a", "*", 1, kept(Step::H1, None)), rule("*", "temp*", 2, kept(Step::M5, None))],
        _ => vec![rule("*", "temp*", 1, kept(Step::M15, Some(30))), rule("*", "mode", 5, None)],
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
    rules: Vec<RetentionRule>,
    /// Whether the hub's clock jumps.
    jumps: bool,
    /// Whether the size of the file is limited.
    limited: bool,
    /// How long the hub has run.
    ran: i64,
    /// The latest time that the hub's clock has shown.
    latest_now: i64,
    /// What retention took cannot be told apart any more, and the run ends.
    ambiguous: bool,
    /// How often it was compared while something was hot, in bundles and in blocks.
    everywhere: u64,
    /// Values drawn so far.
    values: u64,
    /// The times of truth values.
    bools: BTreeSet<(SeriesId, i64)>,
    /// The times of all, so that texts of one time differ.
    times: BTreeSet<(SeriesId, i64)>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let base = Base::in_memory();
        let writer = base.writer();
        let reader = base.reader();
        let clock = NOW.0 + seed as i64 * 7_919_000_003;
        let (model, chance) = (Model::default(), Chance(seed));
        let mut run = Self {
            base,
            writer: Some(writer),
            reader,
            model,
            devices: Vec::new(),
            chance,
            clock,
            rules: rules(seed),
            jumps: seed.is_multiple_of(3),
            limited: seed % 5 == 4,
            ran: 0,
            latest_now: 0,
            ambiguous: false,
            everywhere: 0,
            values: 0,
            bools: BTreeSet::new(),
            times: BTreeSet::new(),
        };
        run.set_retention(None);
        run.register("a".into(), "e1".into());
        if seed.is_multiple_of(2) {
            // The series of the other device are on another shelf then.
            for other in 0..4 {
                run.writer().register(&hello(&format!("other-{other}"), "e1"), NOW).unwrap();
            }
        }
        run.register("b".into(), "e1".into());
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

    fn set_retention(&mut self, max_bytes: Option<u64>) {
        let rules = self.rules.clone();
        self.writer().set_retention(RetentionPolicy { max_bytes, rules });
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
                let mut rows: Vec<Row> = Vec::new();
                for _ in 0..count {
                    let metric = if self.chance.one_in(3) { 1 + self.chance.below(2) as usize } else { 0 };
                    self.values += 1;
                    let (series, mut at) = (series[metric], self.time());
                    // There are only two truth values, so no two at one time.
                    while metric == 1
                        && (rows.iter().any(|row| row.series == series && row.at.0 == at)
                            || self.bools.contains(&(series, at)))
                    {
                        at = (at + 1) % Timestamp::END_READING.0;
                    }
                    if metric == 1 {
                        self.bools.insert((series, at));
                    }
                    let is_new = self.times.insert((series, at));
                    let value = match metric {
                        // All different: 7 and 2^20 have no common factor.
                        0 => Value::Number((self.values * 7 % (1 << 20)) as f64 / 8.0 - 200.0),
                        1 => Value::Bool(self.chance.one_in(2)),
                        _ if is_new => {
                            Value::from(["open", "shut", "", "half open"][self.chance.below(4) as usize])
                        }
                        _ => Value::from(format!("again {}", self.values).as_str()),
                    };
                    rows.push(Row { series, at: Timestamp(at), value });
                }
                BatchContent::Readings(rows)
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
            expected.push(self.model.append(&batch, self.ran));
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
            let copy = self.base.crash_copy_in_memory();
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
        self.set_retention(None);
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

    /// Lets time pass and retention work, not always to the end of a pass.
    fn retain(&mut self) {
        if self.ambiguous {
            return;
        }
        if self.limited && self.chance.one_in(2) {
            let bytes = used_bytes(&self.base) - 8_192 * self.chance.below(4);
            self.set_retention(Some(bytes));
        }
        let jump = if self.jumps { [0, 10, -10][self.chance.below(3) as usize] * 365 * DAY } else { 0 };
        let now = Timestamp(self.clock + jump);
        let mut elapsed = [0, HOUR / 6, HOUR * 2 / 3, 5 * HOUR][self.chance.below(4) as usize];
        let rows = [1, 200, 10_000][self.chance.below(3) as usize];
        for _ in 0..[1, 5, 2_000][self.chance.below(3) as usize] {
            let more = self.retain_slice(now, elapsed, rows);
            elapsed = 0;
            if !more || self.ambiguous {
                break;
            }
        }
        if self.chance.one_in(3) {
            self.writer().shrink(20).unwrap();
        }
    }

    fn retain_slice(&mut self, now: Timestamp, elapsed: i64, rows: usize) -> bool {
        self.ran += elapsed;
        self.latest_now = self.latest_now.max(now.0);
        let through = self.writer().sealed_through().unwrap().0 as usize;
        let retained = self.writer().retain(now, Duration::from_micros(elapsed as u64), rows).unwrap();
        if retained.blocks > 0 {
            self.learn(through);
        }
        retained.more
    }

    /// The rule that decides about a series.
    fn rule(&self, series: SeriesId) -> Option<&RetentionRule> {
        let place = |(name, _, registered): &(String, String, Registered)| {
            let metric = registered.series.iter().position(|id| *id == series)?;
            Some((name.clone(), ["temperature", "door", "mode"][metric]))
        };
        let (device, metric) = self.devices.iter().find_map(place)?;
        let fits = |pattern: &str, name: &str| {
            pattern == name || pattern == "*" || (pattern == "temp*" && name == "temperature")
        };
        self.rules.iter().find(|rule| fits(&rule.device, &device) && fits(&rule.metric, metric))
    }

    /// Whether a reading is old enough to go after a time.
    fn is_due(&self, place: usize, keep: Option<Duration>) -> bool {
        let Some(keep) = keep.map(|keep| keep.as_micros() as i64) else { return false };
        self.model.rows[place].at.0 < self.latest_now - keep && self.ran - self.model.received[place] > keep
    }

    /// Sees what retention took, and that it might.
    fn learn(&mut self, through: usize) {
        let table = thinned_blocks(&self.base);
        let limited = self.limited;
        let went: Vec<i64> =
            self.model.thinned.keys().filter(|id| !table.contains_key(id)).copied().collect();
        for id in went {
            let block = self.model.thinned.remove(&id).unwrap();
            let keep = self.rule(block.series).and_then(|rule| rule.buckets?.keep);
            for place in block.rows {
                assert!(limited || self.is_due(place, keep), "the buckets of reading {place} went too early");
                self.model.fates[place] = Fate::Gone;
            }
        }
        let series: Vec<SeriesId> = self.model.places.keys().copied().collect();
        let mut new: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for series in series {
            let all = self.reader.raw(series, Timestamp(0), Timestamp::END_READING, usize::MAX).unwrap();
            let found: HashMap<i64, Value> =
                all.points.iter().map(|(at, value)| (at.0, value.clone())).collect();
            let expected = self.model.points(series);
            assert!(found.keys().all(|at| expected.contains_key(at)), "nothing comes back");
            for (at, first) in expected {
                let value = found.get(&at);
                if value == Some(&self.model.rows[first].value) {
                    continue;
                }
                let keep = self.rule(series).and_then(|rule| rule.keep);
                let gone: Vec<usize> = self.model.places[&series][&at]
                    .iter()
                    .copied()
                    .filter(|place| self.model.fates[*place] == Fate::There)
                    .take_while(|place| value != Some(&self.model.rows[*place].value))
                    .collect();
                let covers = |(id, block): (&i64, &Thinned)| {
                    let new = block.series == series && !self.model.thinned.contains_key(id);
                    (new && (block.first_at..=block.last_at).contains(&at)).then_some(*id)
                };
                let block = table.iter().find_map(covers);
                for (i, place) in gone.into_iter().enumerate() {
                    assert!(place < through, "reading {place} was hot and went");
                    assert!(limited || self.is_due(place, keep), "reading {place} went too early");
                    // Of those at one microsecond the first is in the sum.
                    self.model.fates[place] = match block {
                        Some(id) if i == 0 => {
                            new.entry(id).or_default().push(place);
                            Fate::Thinned
                        }
                        _ => Fate::Gone,
                    };
                }
            }
        }
        for (id, block) in table {
            if self.model.thinned.contains_key(&id) {
                continue;
            }
            let rows = new.remove(&id).unwrap_or_default();
            if rows.len() != block.count {
                // One block went and another was thinned at the same time, and both held these times.
                let both = limited
                    || self.rules.iter().any(|rule| rule.buckets.is_some_and(|kept| kept.keep.is_some()));
                assert!(both, "block {id} sums up {} readings, not {}", block.count, rows.len());
                self.ambiguous = true;
                return;
            }
            self.model.thinned.insert(id, Thinned { rows, ..block });
        }
    }

    /// All that is old enough goes once there is time.
    fn everything_due_goes(&mut self) {
        if self.ambiguous {
            return;
        }
        let now = Timestamp(self.clock.max(self.latest_now) + 3 * DAY);
        seal_some(self.writer());
        let through = self.writer().sealed_through().unwrap().0 as usize;
        for _ in 0..3 {
            let mut elapsed = 3 * DAY;
            while self.retain_slice(now, elapsed, 10_000) && !self.ambiguous {
                elapsed = 0;
            }
        }
        if self.ambiguous {
            return;
        }
        for place in 0..through {
            let row = &self.model.rows[place];
            let keep = self.rule(row.series).and_then(|rule| rule.keep).map(|keep| keep.as_micros() as i64);
            // A block reaches over a day at most.
            let due = keep.is_some_and(|keep| row.at.0 < now.0 - keep - DAY);
            let is_first = self.model.points(row.series).get(&row.at.0) == Some(&place);
            assert!(
                !due || !is_first || self.model.fates[place] != Fate::There,
                "reading {place} stays: {row:?}"
            );
        }
    }

    fn compare(&mut self) {
        if self.ambiguous {
            return;
        }
        let position = Position(self.model.rows.len() as i64);
        let [a, b] = [0, 1].map(|device: usize| self.devices[device].2.series.clone());
        let mut latest = Vec::new();
        for (place, series) in a.iter().chain(&b).enumerate() {
            let is_text = place % 3 == 2;
            let ever = self.model.places.get(series).and_then(|places| places.last_key_value());
            if let Some((_, places)) = ever {
                latest.push(self.model.rows[places[0]].clone());
            }
            let points = self.model.points(*series);
            for _ in 0..2 {
                let (from, to) = self.range();
                let limit = [usize::MAX, 1, 10, 500][self.chance.below(4) as usize];
                let inside = if from < to { from..to } else { 0..0 };
                let value = |place: &usize| self.model.rows[*place].value.clone();
                let expected: Vec<_> =
                    points.range(inside).map(|(at, place)| (Timestamp(*at), value(place))).collect();
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
                if raw.complete && from < to {
                    assert_eq!(raw.coarser, self.model.coarser(*series, None, from, to), "{from} to {to}");
                }
                if is_text {
                    continue;
                }
                let steps: Vec<Step> =
                    (0..3).map(|_| Step::ALL[self.chance.below(Step::ALL.len() as u64) as usize]).collect();
                for step in steps {
                    let (expected, coarser) = self.model.buckets(*series, &points, step, (from, to));
                    let found =
                        self.reader.buckets(*series, step, Timestamp(from), Timestamp(to), limit).unwrap();
                    assert_eq!(found.position, position);
                    assert_eq!(
                        found.complete,
                        expected.len() <= limit,
                        "{series:?} {step:?} from {from} to {to}"
                    );
                    if found.complete {
                        assert_eq!(found.coarser, coarser, "{series:?} {step:?} from {from} to {to}");
                    }
                    assert_eq!(found.buckets.len(), expected.len().min(limit));
                    for (found, (expected, exact)) in found.buckets.iter().zip(&expected) {
                        let (first, last) =
                            if *exact { (expected.first, expected.last) } else { (found.first, found.last) };
                        let expected = Bucket { first, last, ..*expected };
                        assert_eq!(*found, expected, "{series:?} {step:?} from {from} to {to}");
                    }
                }
            }
        }
        latest.sort_by_key(|row| row.series);
        let found = self.reader.latest().unwrap();
        assert_eq!(found.position, position);
        assert_eq!(found.readings, latest);

        let stats = self.reader.stats().unwrap();
        let rows = self.model.rows.len() as u64;
        assert_eq!(stats.readings + stats.conflicts + stats.removed, rows);
        let held = self.count_rows();
        assert_eq!(held, stats.readings, "every row is in one place");
        let thinned = self.model.fates.iter().filter(|fate| **fate == Fate::Thinned).count();
        assert_eq!(stats.thinned, thinned as u64);
        let times = || self.model.rows.iter().map(|row| row.at);
        let left = times().zip(&self.model.fates).filter(|(_, fate)| **fate != Fate::Gone);
        assert_eq!((stats.oldest, stats.newest), (left.map(|(at, _)| at).min(), times().max()));
        let devices = self.reader.device_stats().unwrap();
        assert!(
            devices.iter().all(|d| d.readings == d.hot + d.sealed + d.conflicts + d.removed),
            "{devices:?}"
        );

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
    fn count_rows(&mut self) -> u64 {
        let connection = rusqlite::Connection::open(self.base.path()).unwrap();
        let sql = "SELECT (SELECT count(*) FROM reading, sealed WHERE position > through),
                          (SELECT coalesce(sum(count), 0) FROM bundle, sealed WHERE position <= through),
                          (SELECT coalesce(sum(count), 0) FROM block, sealed WHERE position <= through)";
        let [hot, bundled, blocked]: [i64; 3] =
            connection.query_row(sql, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?])).unwrap();
        self.everywhere += u64::from(hot > 0 && bundled > 0 && blocked > 0);
        (hot + bundled + blocked) as u64
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

fn used_bytes(base: &Base) -> u64 {
    let connection = rusqlite::Connection::open(base.path()).unwrap();
    let sql = "SELECT (page_count - freelist_count) * page_size
               FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64
}

fn thinned_blocks(base: &Base) -> BTreeMap<i64, Thinned> {
    let connection = rusqlite::Connection::open(base.path()).unwrap();
    let sql = "SELECT block_id, series_id, first_at, last_at, step, count FROM block WHERE step IS NOT NULL";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| {
        let seconds: i64 = row.get(4)?;
        let block = Thinned {
            series: SeriesId(row.get(1)?),
            first_at: row.get(2)?,
            last_at: row.get(3)?,
            step: Step::ALL.into_iter().find(|step| step.seconds() == seconds).unwrap(),
            count: row.get::<_, i64>(5)? as usize,
            rows: Vec::new(),
        };
        Ok((row.get(0)?, block))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

fn run(seed: u64, steps: u64) -> Run {
    let mut run = Run::new(seed);
    for _ in 0..steps {
        match run.chance.below(20) {
            0 => run.reopen(),
            1..=2 => run.compare(),
            3..=6 => run.seal(),
            7..=9 => run.retain(),
            _ => run.append(),
        }
    }
    run.compare();
    run.everything_due_goes();
    run.compare();
    run
}

#[test]
fn i_2_whatever_is_appended_sealed_merged_and_retained_comes_back_exactly_once_in_every_query() {
    let seeds = std::env::var("STORE_SEEDS").map_or(200, |seeds| seeds.parse().unwrap());
    let (mut thinned, mut gone, mut ambiguous, mut everywhere) = (0, 0, 0, 0);
    for seed in 0..seeds {
        let steps = if seed % 8 == 0 { 300 } else { 80 };
        match std::panic::catch_unwind(|| run(seed, steps)) {
            Ok(run) => {
                let count = |fate| run.model.fates.iter().filter(|f| **f == fate).count();
                thinned += count(Fate::Thinned);
                gone += count(Fate::Gone);
                ambiguous += u64::from(run.ambiguous);
                everywhere += run.everywhere;
            }
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map_or("see above", |text| text);
                panic!("seed {seed}: {text}");
            }
        }
    }
    println!("{seeds} cases: {gone} readings went, {thinned} are thinned, {ambiguous} cases ended early");
    assert!(thinned > 100 && gone > 100, "retention was at work");
    assert!(everywhere > seeds, "{everywhere} times there was something hot, in bundles and in blocks");
    assert!(ambiguous * 10 <= seeds, "{ambiguous} of {seeds} cases ended early");
}
