//! Import: readings of a file into a database that no hub holds, each of them once however often it is run.
//!
//! A file is gone through twice. First everything in it is checked, so that of a file with a mistake nothing is stored.
//! Then its readings are stored in the order of the file, [`ROWS`] in a transaction, as batches of a stream whose epoch
//! is made of the file's bytes: what a run stored before it was killed is recognised by the next one (I-2). A reading
//! whose microsecond is taken is left out, and counted: as there already if the value is the same, else as a conflict.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use protocol::declare::MetricDeclaration;
use protocol::limits::{LABEL_MAX_BYTES, METRICS_MAX, READINGS_PER_BATCH_MAX, TEXT_VALUE_MAX_BYTES};
use protocol::{DeviceId, Epoch, Kind, MetricName, Seq, SeriesId, Timestamp, Value};
use sha2::{Digest as _, Sha256};
use store::{Batch, BatchContent, Reader, Registered, Row, Scan, Writer};

use super::time::TimeText;
use super::{ExchangeError, Format, Progress, Record, Source, Watch};

/// Rows of the file that are stored in one transaction. Chosen: what a commit costs is nothing beside them, and a look at
/// what is stored already is shared by many. Part of the epoch: with another number batches are cut elsewhere.
const ROWS: usize = 64 * 1024;
/// Rows between two reports while a file is checked.
const REPORT_ROWS: u64 = 16 * 1024;
/// Readings in a slice of sealing or merging.
const SLICE_ROWS: usize = 50_000;

/// What became of the readings of a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Imported {
    /// Stored by this run.
    pub stored: u64,
    /// Stored before, by an earlier run or by the device itself, with the same value.
    pub already: u64,
    /// Left out because another value is stored at the same microsecond.
    pub conflicts: u64,
    /// The first of these.
    pub conflict: Option<Conflict>,
    /// Devices in the file.
    pub devices: u64,
    /// Series in the file.
    pub series: u64,
}

/// A reading that was left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// The device.
    pub device: String,
    /// The metric.
    pub metric: String,
    /// The time, as RFC 3339.
    pub at: String,
    /// What is stored.
    pub stored: Value,
    /// What the file says.
    pub given: Value,
}

/// Stores the readings of a file.
///
/// `reader` reads the database that `writer` writes. What is there of a device and its series stays as it is.
pub fn import(
    writer: &mut Writer,
    reader: &Reader,
    path: &Path,
    format: Format,
    now: Timestamp,
    watch: Watch<'_>,
) -> Result<Imported, ExchangeError> {
    let epoch = epoch_of(path)?;
    let plan = check(reader, path, format, watch)?;
    let prepared = writer.prepare_import(&epoch, &plan.declarations(), now)?;
    let mut run = Run::new(&plan, prepared);
    let mut source = Source::open(path, format)?;
    let mut record = Record::default();
    let mut rows = Vec::with_capacity(ROWS);
    let mut names = Names::default();
    loop {
        let more = source.next(&mut record)?;
        if more {
            let unchanged = || ExchangeError::Content("the file was changed while it was read".into());
            let (device, series) = names.find(&plan, &record).ok_or_else(unchanged)?;
            let value =
                value_of(&mut record, plan.devices[device].series[series].kind).map_err(|_| unchanged())?;
            rows.push(Planned { device, series, at: record.at, value });
        }
        if rows.len() == ROWS || (!more && !rows.is_empty()) {
            run.store(writer, reader, std::mem::take(&mut rows), now)?;
            while writer.seal(SLICE_ROWS)?.more || writer.merge(SLICE_ROWS)?.more {}
            let readings = run.imported.stored + run.imported.already + run.imported.conflicts;
            if !watch(Progress { done: "stored", readings, part: source.part() }) {
                return Err(ExchangeError::Stopped);
            }
        }
        if !more {
            return Ok(run.imported);
        }
    }
}

/// The epoch of a file: made of its bytes, and of how they are cut into batches.
fn epoch_of(path: &Path) -> Result<Epoch, ExchangeError> {
    let mut hash = Sha256::new();
    hash.update(format!("{ROWS} {READINGS_PER_BATCH_MAX}\n"));
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
    }
    let mut name = String::from("import-");
    for byte in &hash.finalize()[..16] {
        name.push_str(&format!("{byte:02x}"));
    }
    Epoch::new(&name).map_err(|error| ExchangeError::Content(error.to_string()))
}

/// What a file holds.
#[derive(Default)]
struct Plan {
    devices: Vec<PlannedDevice>,
    by_name: HashMap<String, usize>,
}

struct PlannedDevice {
    id: DeviceId,
    series: Vec<MetricDeclaration>,
    by_name: HashMap<String, usize>,
}

impl Plan {
    fn declarations(&self) -> Vec<(DeviceId, Vec<MetricDeclaration>)> {
        self.devices.iter().map(|device| (device.id.clone(), device.series.clone())).collect()
    }
}

/// Finds series of a plan by name. The next row is mostly of the same series.
#[derive(Default)]
struct Names {
    last: Option<(usize, usize)>,
}

impl Names {
    fn find(&mut self, plan: &Plan, record: &Record) -> Option<(usize, usize)> {
        if let Some((device, series)) = self.last
            && plan.devices[device].id.as_str() == record.device
            && plan.devices[device].series[series].name.as_str() == record.metric
        {
            return self.last;
        }
        let device = *plan.by_name.get(&record.device)?;
        let series = *plan.devices[device].by_name.get(&record.metric)?;
        self.last = Some((device, series));
        self.last
    }
}

/// Goes through the whole file and says what is in it, or what is wrong with it.
fn check(reader: &Reader, path: &Path, format: Format, watch: Watch<'_>) -> Result<Plan, ExchangeError> {
    let mut stored: HashMap<String, HashMap<String, MetricDeclaration>> = HashMap::new();
    for device in reader.devices()? {
        let metrics = device.info.metrics.into_iter();
        let metrics = metrics.map(|metric| (metric.declaration.name.to_string(), metric.declaration));
        stored.insert(device.info.id.to_string(), metrics.collect());
    }
    let mut plan = Plan::default();
    let mut names = Names::default();
    let mut source = Source::open(path, format)?;
    let mut record = Record::default();
    let mut readings = 0;
    while source.next(&mut record)? {
        let (device, series) = match names.find(&plan, &record) {
            Some(found) => found,
            None => {
                let there = stored.get(&record.device).and_then(|device| device.get(&record.metric));
                add_series(&mut plan, &record, there)
                    .map_err(|(column, problem)| source.problem(&record, column, &problem))?
            }
        };
        let declaration = &mut plan.devices[device].series[series];
        match &declaration.unit {
            Some(unit) if !record.unit.is_empty() && *unit != record.unit => {
                let problem = format!(
                    "{:?}, but {} of {} is in {unit:?}: convert the values, or leave the unit empty to take that one",
                    record.unit, record.metric, record.device
                );
                return Err(source.problem(&record, "unit", &problem));
            }
            None if !record.unit.is_empty() => declaration.unit = Some(record.unit.clone()),
            _ => {}
        }
        if !record.at.is_valid_for_reading() {
            let problem = format!("{} microseconds since 1970: outside 1970 to 2100", record.at.0);
            return Err(source.problem(&record, "observed_at", &problem));
        }
        let kind = declaration.kind;
        value_of(&mut record, kind).map_err(|problem| source.problem(&record, "value", &problem))?;
        readings += 1;
        if readings % REPORT_ROWS == 0 && !watch(Progress { done: "checked", readings, part: source.part() })
        {
            return Err(ExchangeError::Stopped);
        }
    }
    Ok(plan)
}

/// Takes up a series that the plan does not have yet. Its kind is the stored one, else the one that the row names, else
/// the one that its first value looks like.
fn add_series(
    plan: &mut Plan,
    record: &Record,
    stored: Option<&MetricDeclaration>,
) -> Result<(usize, usize), (&'static str, String)> {
    let id = DeviceId::new(&record.device).map_err(|error| ("device", error.to_string()))?;
    let name = MetricName::new(&record.metric).map_err(|error| ("metric", error.to_string()))?;
    if record.unit.len() > LABEL_MAX_BYTES {
        let problem = format!("{} bytes long: at most {LABEL_MAX_BYTES} are allowed", record.unit.len());
        return Err(("unit", problem));
    }
    let named = record.value.as_ref().map(Value::kind).or(record.kind);
    let kind = stored.map(|stored| stored.kind).or(named).unwrap_or_else(|| match record.written.trim() {
        "true" | "false" => Kind::Bool,
        text if text.is_empty() || text.parse::<f64>().is_ok() => Kind::Number,
        _ => Kind::Text,
    });
    let device = *plan.by_name.entry(record.device.clone()).or_insert_with(|| {
        plan.devices.push(PlannedDevice { id, series: Vec::new(), by_name: HashMap::new() });
        plan.devices.len() - 1
    });
    let planned = &mut plan.devices[device];
    if planned.series.len() == METRICS_MAX {
        return Err(("metric", format!("device {} has more than {METRICS_MAX} of them", record.device)));
    }
    planned.by_name.insert(record.metric.clone(), planned.series.len());
    let unit = stored.and_then(|stored| stored.unit.clone());
    planned.series.push(MetricDeclaration { name, unit, label: None, min: None, max: None, kind });
    Ok((device, planned.series.len() - 1))
}

/// The value of a row of a series of this kind.
fn value_of(record: &mut Record, kind: Kind) -> Result<Value, String> {
    let named = record.value.as_ref().map(Value::kind).or(record.kind);
    if let Some(named) = named.filter(|named| *named != kind) {
        let (metric, device) = (&record.metric, &record.device);
        return Err(format!("a {named}, but {metric} of {device} is a series of kind {kind}"));
    }
    let value = match record.value.take() {
        Some(value) => value,
        None => {
            let text = record.written.trim();
            match kind {
                Kind::Number => text.parse().map(Value::Number).map_err(|_| {
                    format!(
                        "{text:?} is not a number, and {} of {} is a series of numbers",
                        record.metric, record.device
                    )
                })?,
                Kind::Bool => match text {
                    "true" | "1" => Value::Bool(true),
                    "false" | "0" => Value::Bool(false),
                    _ => return Err(format!("{text:?} is neither true nor false")),
                },
                Kind::Text => Value::from(record.written.as_str()),
            }
        }
    };
    match &value {
        Value::Number(n) if !n.is_finite() => Err(format!("{n} is not a finite number")),
        Value::Text(text) if text.len() > TEXT_VALUE_MAX_BYTES => {
            Err(format!("a text of {} bytes: at most {TEXT_VALUE_MAX_BYTES} are allowed", text.len()))
        }
        _ => Ok(value),
    }
}

/// A row, understood.
struct Planned {
    device: usize,
    series: usize,
    at: Timestamp,
    value: Value,
}

/// Storing, with what became of it.
struct Run<'a> {
    plan: &'a Plan,
    prepared: Vec<Registered>,
    /// The last batch cut, of each device.
    cut: Vec<Seq>,
    /// The last batch settled, of each device.
    settled: Vec<Seq>,
    imported: Imported,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, prepared: Vec<Registered>) -> Self {
        let imported = Imported {
            devices: plan.devices.len() as u64,
            series: plan.devices.iter().map(|device| device.series.len() as u64).sum(),
            ..Imported::default()
        };
        let settled = prepared.iter().map(|registered| registered.settled).collect();
        Self { plan, cut: vec![Seq(0); prepared.len()], settled, prepared, imported }
    }

    /// Stores rows in one transaction. How they are cut into batches depends on nothing but the file.
    fn store(
        &mut self,
        writer: &mut Writer,
        reader: &Reader,
        rows: Vec<Planned>,
        now: Timestamp,
    ) -> Result<(), ExchangeError> {
        let mut by_device: BTreeMap<usize, Vec<Planned>> = BTreeMap::new();
        for row in rows {
            by_device.entry(row.device).or_default().push(row);
        }
        let mut batches = Vec::new();
        let mut new: Vec<Planned> = Vec::new();
        let mut places = Vec::new();
        for (device, rows) in by_device {
            let mut rows = rows.into_iter().peekable();
            while rows.peek().is_some() {
                let batch: Vec<Planned> = rows.by_ref().take(READINGS_PER_BATCH_MAX).collect();
                self.cut[device] = self.cut[device].next();
                if self.cut[device] <= self.settled[device] {
                    self.imported.already += batch.len() as u64;
                    continue;
                }
                places.extend(std::iter::repeat_n(batches.len(), batch.len()));
                new.extend(batch);
                batches.push(Batch {
                    stream: self.prepared[device].stream,
                    after: self.settled[device],
                    seq: self.cut[device],
                    content: BatchContent::Readings(Vec::new()),
                });
                self.settled[device] = self.cut[device];
            }
        }
        let keep = self.sift(reader, &new)?;
        for ((row, place), keep) in new.into_iter().zip(places).zip(keep) {
            if keep && let BatchContent::Readings(rows) = &mut batches[place].content {
                rows.push(Row { series: self.id(&row), at: row.at, value: row.value });
            }
        }
        let appended = writer.append(&batches, now)?;
        self.imported.stored += (appended.last.0 - appended.first.0 + 1) as u64;
        Ok(())
    }

    fn id(&self, row: &Planned) -> SeriesId {
        self.prepared[row.device].series[row.series]
    }

    /// Says of each row whether its microsecond is free, and counts the others.
    fn sift(&mut self, reader: &Reader, rows: &[Planned]) -> Result<Vec<bool>, ExchangeError> {
        let mut keep = vec![true; rows.len()];
        let mut by_series: BTreeMap<SeriesId, Vec<usize>> = BTreeMap::new();
        for (place, row) in rows.iter().enumerate() {
            by_series.entry(self.id(row)).or_default().push(place);
        }
        for (series, mut places) in by_series {
            // Stable: of equal times the first in the file stays first.
            places.sort_by_key(|place| rows[*place].at);
            let (Some(first), Some(last)) = (places.first(), places.last()) else { continue };
            let mut scan = Scan::new(series, rows[*first].at, rows[*last].at.plus_micros(1));
            let mut stored = Vec::new().into_iter().peekable();
            let mut before: Option<usize> = None;
            for place in places {
                let row = &rows[place];
                while stored.next_if(|(at, _)| *at < row.at).is_some() || stored.peek().is_none() {
                    if stored.peek().is_none() {
                        match scan.next(reader)? {
                            Some(points) => stored = points.into_iter().peekable(),
                            None => break,
                        }
                    }
                }
                let taken = match (stored.peek(), before) {
                    (Some((at, value)), _) if *at == row.at => Some(value),
                    (_, Some(before)) if rows[before].at == row.at => Some(&rows[before].value),
                    _ => None,
                };
                match taken {
                    None => before = Some(place),
                    Some(value) => {
                        keep[place] = false;
                        if *value == row.value {
                            self.imported.already += 1;
                        } else {
                            self.imported.conflicts += 1;
                            if self.imported.conflict.is_none() {
                                self.imported.conflict = Some(self.conflict(row, value));
                            }
                        }
                    }
                }
            }
        }
        Ok(keep)
    }

    fn conflict(&self, row: &Planned, stored: &Value) -> Conflict {
        let device = &self.plan.devices[row.device];
        Conflict {
            device: device.id.to_string(),
            metric: device.series[row.series].name.to_string(),
            at: String::from_utf8_lossy(TimeText::new().write(row.at)).into_owned(),
            stored: stored.clone(),
            given: row.value.clone(),
        }
    }
}
