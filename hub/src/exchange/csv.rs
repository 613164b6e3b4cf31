//! CSV: what we write, and what we and people write.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use protocol::{Kind, Timestamp, Value};

use super::time::{self, TimeText};
use super::{ExchangeError, Record};

/// The header that export writes.
const HEADER: [&str; 6] = ["device", "metric", "observed_at", "value", "unit", "kind"];
/// Names that a column may have beside its own.
const TIME_NAMES: [&str; 3] = ["observed_at", "timestamp", "time"];
/// Bytes read and written at once. Chosen: large enough that the system is asked rarely.
const BUFFER: usize = 256 * 1024;

/// Writes CSV.
pub(super) struct CsvSink<W: Write> {
    out: csv::Writer<W>,
    time: TimeText,
    number: Vec<u8>,
}

impl<W: Write> CsvSink<W> {
    pub(super) fn begin(out: W) -> Result<Self, ExchangeError> {
        let mut out = csv::WriterBuilder::new().buffer_capacity(BUFFER).from_writer(out);
        out.write_record(HEADER)?;
        Ok(Self { out, time: TimeText::new(), number: Vec::with_capacity(32) })
    }

    pub(super) fn write(
        &mut self,
        device: &str,
        metric: &str,
        unit: &str,
        points: &[(Timestamp, Value)],
    ) -> Result<(), ExchangeError> {
        for (at, value) in points {
            let text = match value {
                Value::Number(n) => {
                    self.number.clear();
                    // In this form it has the fewest digits that give back the same number, and an exponent if it is
                    // very large or very small.
                    write!(self.number, "{n:?}")?;
                    &self.number[..]
                }
                Value::Bool(true) => b"true",
                Value::Bool(false) => b"false",
                Value::Text(text) => text.as_bytes(),
            };
            let (at, kind) = (self.time.write(*at), value.kind().as_str().as_bytes());
            self.out.write_record([device.as_bytes(), metric.as_bytes(), at, text, unit.as_bytes(), kind])?;
        }
        Ok(())
    }

    pub(super) fn end(self) -> Result<W, ExchangeError> {
        self.out.into_inner().map_err(|error| ExchangeError::Io(error.into_error()))
    }
}

/// Where each column stands.
struct Columns {
    device: usize,
    metric: usize,
    at: usize,
    value: usize,
    unit: Option<usize>,
    kind: Option<usize>,
}

/// Reads CSV.
pub(super) struct CsvSource {
    rows: csv::Reader<File>,
    names: csv::StringRecord,
    row: csv::StringRecord,
    columns: Columns,
    bytes: u64,
}

impl CsvSource {
    pub(super) fn open(path: &Path) -> Result<Self, ExchangeError> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let mut rows = csv::ReaderBuilder::new().buffer_capacity(BUFFER).from_reader(file);
        let names = rows.headers()?.clone();
        let columns = find_columns(&names)?;
        Ok(Self { rows, names, row: csv::StringRecord::new(), columns, bytes })
    }

    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, ExchangeError> {
        if !self.rows.read_record(&mut self.row)? {
            return Ok(false);
        }
        record.place = self.row.position().map_or(0, csv::Position::line);
        let cell = |column: usize| self.row.get(column).unwrap_or_default();
        let take = |text: &mut String, column: usize| {
            text.clear();
            text.push_str(cell(column));
        };
        take(&mut record.device, self.columns.device);
        take(&mut record.metric, self.columns.metric);
        take(&mut record.written, self.columns.value);
        record.unit.clear();
        if let Some(column) = self.columns.unit {
            record.unit.push_str(cell(column).trim());
        }
        let wrong = |column: usize, expected: &str| {
            let name = self.names.get(column).unwrap_or_default();
            ExchangeError::Content(format!(
                "line {}, column {name}: {:?} is not {expected}",
                record.place,
                cell(column)
            ))
        };
        record.kind = match self.columns.kind.map(|column| (column, cell(column).trim())) {
            None | Some((_, "")) => None,
            Some((column, text)) => Some(
                Kind::parse(text).ok_or_else(|| wrong(column, "a kind: number, bool or text expected"))?,
            ),
        };
        record.at = time::parse(cell(self.columns.at)).ok_or_else(|| {
            wrong(
                self.columns.at,
                "a time: RFC 3339 (2026-01-31T12:00:00Z) or microseconds since 1970 expected",
            )
        })?;
        record.value = None;
        Ok(true)
    }

    pub(super) fn part(&self) -> f64 {
        self.rows.position().byte() as f64 / self.bytes.max(1) as f64
    }
}

fn find_columns(names: &csv::StringRecord) -> Result<Columns, ExchangeError> {
    let wrong = |problem: String| {
        ExchangeError::Content(format!(
            "line 1: {problem}; the header names device, metric, observed_at (or timestamp, or time), value, and if you \
             like unit and kind, in any order"
        ))
    };
    let place = |name: &str| names.iter().position(|found| found.trim() == name);
    let need = |name: &str| place(name).ok_or_else(|| wrong(format!("no column {name}")));
    if let Some(unknown) =
        names.iter().find(|name| !HEADER.contains(&name.trim()) && !TIME_NAMES.contains(&name.trim()))
    {
        return Err(wrong(format!("an unknown column {unknown:?}")));
    }
    Ok(Columns {
        device: need("device")?,
        metric: need("metric")?,
        // Of several the one that is exact.
        at: TIME_NAMES.into_iter().find_map(place).ok_or_else(|| wrong("no column observed_at".into()))?,
        value: need("value")?,
        unit: place("unit"),
        kind: place("kind"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_so_that_they_come_back_exactly() {
        let numbers =
            [0.1, -0.0, 1.0, 1e300, -5e-324, f64::MAX, f64::MIN_POSITIVE, 1.0 / 3.0, 9_007_199_254_740_993.0];
        let points: Vec<_> = numbers.iter().map(|n| (Timestamp(0), Value::Number(*n))).collect();
        let mut sink = CsvSink::begin(Vec::new()).unwrap();
        sink.write("d", "m", "", &points).unwrap();
        let text = String::from_utf8(sink.end().unwrap()).unwrap();
        for (line, number) in text.lines().skip(1).zip(numbers) {
            let written = line.split(',').nth(3).unwrap();
            assert_eq!(written.parse::<f64>().unwrap().to_bits(), number.to_bits(), "{line}");
            assert!(written.len() < 26, "{line}");
        }
    }

    #[test]
    fn a_header_that_is_not_understood_is_named() {
        let find = |names: &[&str]| find_columns(&csv::StringRecord::from(names)).map(|c| (c.at, c.kind));
        assert!(matches!(find(&["value", "time", "metric", "device", "kind"]), Ok((1, Some(4)))));
        assert!(matches!(find(&["device", "metric", "time", "observed_at", "value"]), Ok((3, None))));
        for (names, problem) in [
            (&["device", "metric", "value"][..], "no column observed_at"),
            (&["device", "metric", "value", "time", "untis"], "an unknown column \"untis\""),
            (&["metric", "value", "time"], "no column device"),
        ] {
            let Err(error) = find(names) else { panic!("{names:?}") };
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
