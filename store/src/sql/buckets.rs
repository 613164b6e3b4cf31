//! `buckets(device, metric, step, from, to)`: statistics of one series by stretches of time.
//!
//! `step` is a rung of the ladder, `'5m'`; `from` and `to` are microseconds or text, and may be left out. Columns:
//! `observed_at` and `time` of the beginning of the stretch, `count`, `min`, `max`, `mean`, `first`, `last`.

use std::ffi::CStr;
use std::path::PathBuf;
use std::rc::Rc;

use protocol::{Bucket, SeriesId, Step, Timestamp};
use rusqlite::types::{ToSqlOutput, Value as Sql};
use vtab::{Constraint, Estimate, Op};

use super::text;
use crate::reader::Reader;

/// The first hidden column: the arguments begin here.
const DEVICE: usize = 8;
const METRIC: usize = 9;
const STEP: usize = 10;
const FROM: usize = 11;
const TO: usize = 12;
/// Buckets read at once.
const PART: usize = 10_000;

/// The table.
pub(super) struct Buckets {
    reader: Rc<Reader>,
}

impl vtab::Table for Buckets {
    type Source = PathBuf;
    type Rows = Rows;
    const DECLARATION: &'static CStr = c"CREATE TABLE x (observed_at INTEGER, time TEXT, count INTEGER, min REAL, \
        max REAL, mean REAL, first REAL, last REAL, device TEXT HIDDEN, metric TEXT HIDDEN, step TEXT HIDDEN, \
        \"from\" HIDDEN, \"to\" HIDDEN)";
    const ARGUMENTS: &'static [usize] = &[DEVICE, METRIC, STEP, FROM, TO];

    fn connect(path: &PathBuf) -> Result<Self, String> {
        let reader = Reader::open(path).map_err(|error| error.to_string())?;
        Ok(Self { reader: Rc::new(reader) })
    }

    fn helps(column: usize, op: Op) -> bool {
        op == Op::Eq && column >= DEVICE
    }

    fn estimate(known: &[(usize, Op)]) -> Estimate {
        let rows = if known.len() >= 3 { 1_000.0 } else { 1e12 };
        Estimate { rows, ascending: Some(0) }
    }

    fn open(&self, constraints: &[Constraint]) -> Result<Rows, String> {
        let argument = |column: usize| {
            constraints.iter().find(|constraint| constraint.column == column).map(|c| c.value.clone())
        };
        let arguments = [DEVICE, METRIC, STEP, FROM, TO].map(|column| argument(column).unwrap_or(Sql::Null));
        let [Sql::Text(device), Sql::Text(metric), Sql::Text(step), from, to] = &arguments else {
            return Err("buckets needs a device, a metric and a step: buckets('pump-1', 'flow', '5m')".into());
        };
        let steps = ["1s", "5s", "15s", "1m", "5m", "15m", "1h", "6h", "1d"];
        let step = steps.iter().position(|name| name == step).map(|place| Step::ALL[place]);
        let step = step.ok_or_else(|| {
            format!("{} is not a step: {}", arguments_text(&arguments[2]), steps.join(", "))
        })?;
        let time = |value: &Sql, default| match value {
            Sql::Null => Ok(default),
            value => text::argument(value).ok_or_else(|| {
                format!(
                    "{} is not a time: microseconds since 1970, or '2026-01-31 12:00'",
                    arguments_text(value)
                )
            }),
        };
        let next = time(from, Timestamp::MIN_READING)?;
        let to = time(to, Timestamp::END_READING)?;
        let device = device.parse().map_err(|error: protocol::NameError| error.to_string())?;
        let found = self.reader.device(&device).map_err(|error| error.to_string())?;
        let mut metrics = found.into_iter().flat_map(|device| device.info.metrics);
        let series =
            metrics.find(|found| found.declaration.name.as_str() == metric).map(|metric| metric.series);
        let reader = Rc::clone(&self.reader);
        Ok(Rows { reader, series, step, next, to, part: Vec::new(), place: 0, arguments })
    }
}

fn arguments_text(value: &Sql) -> String {
    match value {
        Sql::Null => "NULL".into(),
        Sql::Integer(n) => n.to_string(),
        Sql::Real(n) => n.to_string(),
        Sql::Text(text) => format!("{text:?}"),
        Sql::Blob(_) => "a blob".into(),
    }
}

/// Rows being read.
pub(super) struct Rows {
    reader: Rc<Reader>,
    /// `None`: there is none of that name, and no rows.
    series: Option<SeriesId>,
    step: Step,
    next: Timestamp,
    to: Timestamp,
    part: Vec<Bucket>,
    place: usize,
    arguments: [Sql; 5],
}

impl vtab::Rows for Rows {
    fn next(&mut self) -> Result<bool, String> {
        self.place += 1;
        if self.place < self.part.len() {
            return Ok(true);
        }
        let (Some(series), true) = (self.series, self.next < self.to) else { return Ok(false) };
        let found = self
            .reader
            .buckets(series, self.step, self.next, self.to, PART)
            .map_err(|error| error.to_string())?;
        self.next = match found.buckets.last() {
            Some(last) if !found.complete => last.at.plus_micros(self.step.micros()),
            _ => self.to,
        };
        (self.part, self.place) = (found.buckets, 0);
        Ok(!self.part.is_empty())
    }

    fn column(&self, column: usize) -> ToSqlOutput<'_> {
        let Some(bucket) = self.part.get(self.place) else { return ToSqlOutput::Owned(Sql::Null) };
        ToSqlOutput::Owned(match column {
            0 => Sql::Integer(bucket.at.0),
            1 => Sql::Text(String::from_utf8_lossy(&text::time(bucket.at)).into_owned()),
            2 => Sql::Integer(bucket.count as i64),
            3 => Sql::Real(bucket.min),
            4 => Sql::Real(bucket.max),
            5 => Sql::Real(bucket.mean()),
            6 => Sql::Real(bucket.first),
            7 => Sql::Real(bucket.last),
            DEVICE..=TO => self.arguments[column - DEVICE].clone(),
            _ => Sql::Null,
        })
    }
}
