//! `readings(device, metric, observed_at, time, value, unit)`: one row a reading, by series and time.
//!
//! A query that says which device or metric, by `=`, `IN`, `LIKE` or `GLOB`, reads no other series; one that bounds
//! `observed_at` or `time` reads no other blocks. `ORDER BY observed_at` costs nothing for one series.

use std::ffi::CStr;
use std::path::PathBuf;
use std::rc::Rc;

use protocol::select::pattern_matches;
use protocol::{DeviceId, SeriesId, Timestamp, Value};
use rusqlite::types::{ToSqlOutput, Value as Sql, ValueRef};
use vtab::{Constraint, Estimate, Op};

use super::text;
use crate::error::StoreError;
use crate::reader::Reader;
use crate::row;
use crate::scan::Scan;

const DEVICE: usize = 0;
const METRIC: usize = 1;
const OBSERVED_AT: usize = 2;
const TIME: usize = 3;
const VALUE: usize = 4;
const UNIT: usize = 5;

/// The table.
pub(super) struct Readings {
    reader: Rc<Reader>,
}

impl vtab::Table for Readings {
    type Source = PathBuf;
    type Rows = Rows;
    const DECLARATION: &'static CStr =
        c"CREATE TABLE x (device TEXT, metric TEXT, observed_at INTEGER, time TEXT, value, unit TEXT)";
    const ARGUMENTS: &'static [usize] = &[];

    fn connect(path: &PathBuf) -> Result<Self, String> {
        let reader = Reader::open(path).map_err(|error| error.to_string())?;
        Ok(Self { reader: Rc::new(reader) })
    }

    fn helps(column: usize, op: Op) -> bool {
        match column {
            DEVICE | METRIC => matches!(op, Op::Eq | Op::Like | Op::Glob),
            OBSERVED_AT | TIME => !matches!(op, Op::Like | Op::Glob),
            _ => false,
        }
    }

    /// Guesses, of which only the order counts.
    fn estimate(known: &[(usize, Op)]) -> Estimate {
        let has = |column: usize, ops: &[Op]| known.iter().any(|(c, op)| *c == column && ops.contains(op));
        let mut rows = 1e9;
        for column in [DEVICE, METRIC] {
            if has(column, &[Op::Eq]) {
                rows /= 1_000.0;
            } else if has(column, &[Op::Like, Op::Glob]) {
                rows /= 10.0;
            }
        }
        for ops in [&[Op::Gt, Op::Ge], &[Op::Lt, Op::Le]] {
            if has(OBSERVED_AT, ops) || has(TIME, ops) {
                rows /= 10.0;
            }
        }
        if has(OBSERVED_AT, &[Op::Eq]) || has(TIME, &[Op::Eq]) {
            rows /= 100_000.0;
        }
        let one = has(DEVICE, &[Op::Eq]) && has(METRIC, &[Op::Eq]);
        Estimate { rows: f64::max(rows, 1.0), ascending: one.then_some(OBSERVED_AT) }
    }

    fn open(&self, constraints: &[Constraint]) -> Result<Rows, String> {
        let (mut from, mut to) = (Timestamp(i64::MIN), Timestamp(i64::MAX));
        for Constraint { column, op, value } in constraints {
            let at = match (*column, value) {
                (OBSERVED_AT, Sql::Integer(micros)) => Timestamp(*micros),
                // Only near it, above 2^53: a microsecond is left on both sides.
                (OBSERVED_AT, Sql::Real(micros)) => Timestamp(*micros as i64),
                (TIME, Sql::Text(text)) => match text::first_at(text) {
                    Some(at) => at,
                    None => continue,
                },
                _ => continue,
            };
            if matches!(op, Op::Eq | Op::Gt | Op::Ge) {
                from = from.max(at.plus_micros(-1));
            }
            if matches!(op, Op::Eq | Op::Lt | Op::Le) {
                to = to.min(at.plus_micros(2));
            }
        }
        let series = choose(&self.reader, constraints).map_err(|error| error.to_string())?;
        let reader = Rc::clone(&self.reader);
        Ok(Rows { reader, from, to, series: series.into_iter(), open: None })
    }
}

/// A chosen series.
struct Series {
    id: SeriesId,
    device: Rc<str>,
    metric: String,
    unit: Option<String>,
}

fn choose(reader: &Reader, constraints: &[Constraint]) -> Result<Vec<Series>, StoreError> {
    let one = constraints.iter().find(|constraint| constraint.column == DEVICE && constraint.op == Op::Eq);
    let devices = match one.map(|constraint| &constraint.value) {
        None => reader.devices()?,
        Some(Sql::Text(id)) => match id.parse::<DeviceId>() {
            Ok(id) => reader.device(&id)?.into_iter().collect(),
            Err(_) => Vec::new(),
        },
        Some(_) => Vec::new(),
    };
    let mut chosen = Vec::new();
    for device in devices {
        if !fits(constraints, DEVICE, device.info.id.as_str()) {
            continue;
        }
        let id: Rc<str> = device.info.id.as_str().into();
        for metric in device.info.metrics {
            let declaration = metric.declaration;
            if fits(constraints, METRIC, declaration.name.as_str()) {
                chosen.push(Series {
                    id: metric.series,
                    device: Rc::clone(&id),
                    metric: declaration.name.as_str().to_owned(),
                    unit: declaration.unit,
                });
            }
        }
    }
    Ok(chosen)
}

/// Whether a name may fulfil all that is asked of its column.
fn fits(constraints: &[Constraint], column: usize, name: &str) -> bool {
    constraints.iter().filter(|constraint| constraint.column == column).all(
        |Constraint { op, value, .. }| {
            let Sql::Text(text) = value else { return true };
            match op {
                Op::Eq => text == name,
                // Sets of characters are left to SQLite.
                Op::Glob => text.contains('[') || pattern_matches(text, name),
                // `*` and `?` are not in names.
                Op::Like => {
                    let pattern = text.to_ascii_lowercase().replace('%', "*").replace('_', "?");
                    pattern_matches(&pattern, &name.to_ascii_lowercase())
                }
                _ => true,
            }
        },
    )
}

/// Rows being read.
pub(super) struct Rows {
    reader: Rc<Reader>,
    from: Timestamp,
    to: Timestamp,
    series: std::vec::IntoIter<Series>,
    open: Option<Open>,
}

/// The series being read.
struct Open {
    series: Series,
    scan: Scan,
    part: Vec<(Timestamp, Value)>,
    place: usize,
}

impl vtab::Rows for Rows {
    fn next(&mut self) -> Result<bool, String> {
        loop {
            if let Some(open) = &mut self.open {
                open.place += 1;
                if open.place < open.part.len() {
                    return Ok(true);
                }
                if let Some(part) = open.scan.next(&self.reader).map_err(|error| error.to_string())? {
                    (open.part, open.place) = (part, 0);
                    return Ok(true);
                }
            }
            let Some(series) = self.series.next() else { return Ok(false) };
            let scan = Scan::new(series.id, self.from, self.to);
            self.open = Some(Open { series, scan, part: Vec::new(), place: 0 });
        }
    }

    fn column(&self, column: usize) -> ToSqlOutput<'_> {
        let null = ToSqlOutput::Borrowed(ValueRef::Null);
        let Some(open) = &self.open else { return null };
        let Some((at, value)) = open.part.get(open.place) else { return null };
        let text = |text| ToSqlOutput::Borrowed(ValueRef::Text(text));
        match column {
            DEVICE => text(open.series.device.as_bytes()),
            METRIC => text(open.series.metric.as_bytes()),
            OBSERVED_AT => ToSqlOutput::Borrowed(ValueRef::Integer(at.0)),
            TIME => ToSqlOutput::Owned(Sql::Text(String::from_utf8_lossy(&text::time(*at)).into_owned())),
            VALUE => row::bind(value),
            UNIT => open.series.unit.as_ref().map_or(null, |unit| text(unit.as_bytes())),
            _ => null,
        }
    }
}
