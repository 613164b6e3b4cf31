//! Parquet: columns in groups of rows, compressed with Snappy. Arrow, `DuckDB`, Spark and the like read it.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, TimeUnit, Type};
use parquet::column::reader::ColumnReader;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnDescriptor;
use protocol::{Timestamp, Value};

use super::{ExchangeError, Record};

const SCHEMA: &str = "message readings {
    REQUIRED BYTE_ARRAY device (STRING);
    REQUIRED BYTE_ARRAY metric (STRING);
    REQUIRED INT64 observed_at (TIMESTAMP(MICROS,true));
    OPTIONAL DOUBLE number;
    OPTIONAL BOOLEAN bool;
    OPTIONAL BYTE_ARRAY text (STRING);
    OPTIONAL BYTE_ARRAY unit (STRING);
}";
/// Readings in a group of rows, which is held in memory. Chosen: 20 MiB, and large enough for readers that work on
/// several groups at once.
const GROUP: usize = 512 * 1024;
/// Rows that pass between us and a column at once.
const ROWS: usize = 8 * 1024;

/// Readings of one series in a group.
struct Run {
    device: ByteArray,
    metric: ByteArray,
    /// `None`: it has none.
    unit: Option<ByteArray>,
    count: usize,
}

/// Writes Parquet.
pub(super) struct ParquetSink<W: Write + Send> {
    file: SerializedFileWriter<W>,
    runs: Vec<Run>,
    times: Vec<i64>,
    values: Vec<Value>,
}

impl<W: Write + Send> ParquetSink<W> {
    pub(super) fn begin(out: W) -> Result<Self, ExchangeError> {
        let schema = Arc::new(parse_message_type(SCHEMA)?);
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let file = SerializedFileWriter::new(out, schema, Arc::new(properties))?;
        Ok(Self { file, runs: Vec::new(), times: Vec::new(), values: Vec::new() })
    }

    pub(super) fn write(
        &mut self,
        device: &str,
        metric: &str,
        unit: &str,
        mut points: &[(Timestamp, Value)],
    ) -> Result<(), ExchangeError> {
        while !points.is_empty() {
            let count = points.len().min(GROUP - self.times.len());
            let (now, later) = points.split_at(count);
            self.runs.push(Run {
                device: device.into(),
                metric: metric.into(),
                unit: (!unit.is_empty()).then(|| unit.into()),
                count,
            });
            self.times.extend(now.iter().map(|(at, _)| at.0));
            self.values.extend(now.iter().map(|(_, value)| value.clone()));
            points = later;
            if self.times.len() == GROUP {
                self.end_group()?;
            }
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), ExchangeError> {
        let Self { file, runs, times, values } = self;
        let mut group = file.next_row_group()?;
        write_runs(&mut group, runs, |run| Some(&run.device), false)?;
        write_runs(&mut group, runs, |run| Some(&run.metric), false)?;
        if let Some(mut column) = group.next_column()? {
            column.typed::<Int64Type>().write_batch(times, None, None)?;
            column.close()?;
        }
        let levels =
            |is: fn(&Value) -> bool| values.iter().map(|value| i16::from(is(value))).collect::<Vec<_>>();
        if let Some(mut column) = group.next_column()? {
            let numbers: Vec<f64> = values.iter().filter_map(Value::as_number).collect();
            let levels = levels(|value| matches!(value, Value::Number(_)));
            column.typed::<DoubleType>().write_batch(&numbers, Some(&levels), None)?;
            column.close()?;
        }
        if let Some(mut column) = group.next_column()? {
            let bools: Vec<bool> = values
                .iter()
                .filter_map(|value| if let Value::Bool(b) = value { Some(*b) } else { None })
                .collect();
            let levels = levels(|value| matches!(value, Value::Bool(_)));
            column.typed::<BoolType>().write_batch(&bools, Some(&levels), None)?;
            column.close()?;
        }
        if let Some(mut column) = group.next_column()? {
            let mut texts = Vec::new();
            for rows in values.chunks(ROWS) {
                texts.clear();
                texts.extend(rows.iter().filter_map(|value| match value {
                    Value::Text(text) => Some(ByteArray::from(&**text)),
                    Value::Number(_) | Value::Bool(_) => None,
                }));
                let levels: Vec<i16> =
                    rows.iter().map(|value| i16::from(matches!(value, Value::Text(_)))).collect();
                column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None)?;
            }
            column.close()?;
        }
        write_runs(&mut group, runs, |run| run.unit.as_ref(), true)?;
        group.close()?;
        runs.clear();
        times.clear();
        values.clear();
        Ok(())
    }

    pub(super) fn end(mut self) -> Result<W, ExchangeError> {
        if !self.times.is_empty() {
            self.end_group()?;
        }
        Ok(self.file.into_inner()?)
    }
}

/// Writes a column that is the same throughout each run.
fn write_runs<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    runs: &[Run],
    text: fn(&Run) -> Option<&ByteArray>,
    optional: bool,
) -> Result<(), ExchangeError> {
    let Some(mut column) = group.next_column()? else { return Ok(()) };
    for run in runs {
        let mut left = run.count;
        while left > 0 {
            let count = left.min(ROWS);
            left -= count;
            let (texts, level) = match text(run) {
                Some(text) => (vec![text.clone(); count], 1),
                None => (Vec::new(), 0),
            };
            let levels = optional.then(|| vec![level; count]);
            column.typed::<ByteArrayType>().write_batch(&texts, levels.as_deref(), None)?;
        }
    }
    Ok(column.close()?)
}

/// Values of a column that were read and not used yet.
enum Cells {
    Texts(Vec<ByteArray>),
    Ints(Vec<i64>),
    Doubles(Vec<f64>),
    Bools(Vec<bool>),
}

/// One column of a file.
struct Column {
    name: &'static str,
    index: usize,
    optional: bool,
    reader: Option<ColumnReader>,
    cells: Cells,
    levels: Vec<i16>,
    /// The next cell.
    next: usize,
}

impl Column {
    fn find(
        file: &SerializedFileReader<File>,
        names: &[&'static str],
        of: impl Fn(&ColumnDescriptor) -> Option<Cells>,
        expected: &str,
    ) -> Result<Option<Self>, ExchangeError> {
        let schema = file.metadata().file_metadata().schema_descr();
        for name in names {
            let found =
                schema.columns().iter().enumerate().find(|(_, column)| column.path().string() == *name);
            let Some((index, column)) = found else { continue };
            let flat = column.max_rep_level() == 0 && column.max_def_level() <= 1;
            let cells = of(column).filter(|_| flat).ok_or_else(|| {
                ExchangeError::Content(format!(
                    "column {name} is {:?}: {expected} expected",
                    column.physical_type()
                ))
            })?;
            let optional = column.max_def_level() == 1;
            return Ok(Some(Self {
                name,
                index,
                optional,
                reader: None,
                cells,
                levels: Vec::new(),
                next: 0,
            }));
        }
        Ok(None)
    }

    /// Reads some rows; says how many.
    fn fill(&mut self) -> Result<usize, ExchangeError> {
        self.levels.clear();
        self.next = 0;
        let levels = Some(&mut self.levels);
        let (rows, _, _) = match (&mut self.reader, &mut self.cells) {
            (Some(ColumnReader::ByteArrayColumnReader(reader)), Cells::Texts(cells)) => {
                cells.clear();
                reader.read_records(ROWS, levels, None, cells)?
            }
            (Some(ColumnReader::Int64ColumnReader(reader)), Cells::Ints(cells)) => {
                cells.clear();
                reader.read_records(ROWS, levels, None, cells)?
            }
            (Some(ColumnReader::DoubleColumnReader(reader)), Cells::Doubles(cells)) => {
                cells.clear();
                reader.read_records(ROWS, levels, None, cells)?
            }
            (Some(ColumnReader::BoolColumnReader(reader)), Cells::Bools(cells)) => {
                cells.clear();
                reader.read_records(ROWS, levels, None, cells)?
            }
            _ => (0, 0, 0),
        };
        Ok(rows)
    }

    /// The place of the next cell; `None` if it is null.
    fn step(&mut self, row: usize) -> Option<usize> {
        if self.optional && self.levels.get(row) != Some(&1) {
            return None;
        }
        self.next += 1;
        Some(self.next - 1)
    }

    /// Puts the next cell of a column of texts into `text`; false if it is null.
    fn text(&mut self, row: usize, text: &mut String) -> Result<bool, &'static str> {
        text.clear();
        let place = self.step(row);
        let (Some(place), Cells::Texts(cells)) = (place, &self.cells) else { return Ok(false) };
        let Some(cell) = cells.get(place) else { return Ok(false) };
        text.push_str(std::str::from_utf8(cell.data()).map_err(|_| "a text that is not UTF-8")?);
        Ok(true)
    }
}

/// Reads Parquet.
pub(super) struct ParquetSource {
    file: SerializedFileReader<File>,
    group: usize,
    /// Rows that were filled in and not returned yet begin here...
    row: usize,
    /// ... and end here.
    rows: usize,
    read: u64,
    total: u64,
    device: Column,
    metric: Column,
    at: Column,
    number: Option<Column>,
    bool: Option<Column>,
    text: Option<Column>,
    unit: Option<Column>,
    /// What the times are multiplied with, and divided by, to be microseconds.
    scale: (i64, i64),
}

impl ParquetSource {
    pub(super) fn open(path: &Path) -> Result<Self, ExchangeError> {
        let file = SerializedFileReader::new(File::open(path)?)?;
        let texts = |column: &ColumnDescriptor| {
            (column.physical_type() == Type::BYTE_ARRAY).then(|| Cells::Texts(Vec::new()))
        };
        let of = |physical: Type, cells: fn() -> Cells| {
            move |column: &ColumnDescriptor| (column.physical_type() == physical).then(cells)
        };
        let missing = |name: &str| {
            ExchangeError::Content(format!(
                "no column {name}: device, metric, observed_at, one or more of number, bool and text, and if you like \
                 unit are expected"
            ))
        };
        let need = |names: &[&'static str]| -> Result<Column, ExchangeError> {
            Column::find(&file, names, texts, "a column of texts")?.ok_or_else(|| missing(names[0]))
        };
        let (device, metric) = (need(&["device"])?, need(&["metric"])?);
        let ints = of(Type::INT64, || Cells::Ints(Vec::new()));
        let expected = "a timestamp or microseconds since 1970, both as INT64,";
        let at = Column::find(&file, &["observed_at", "timestamp", "time"], ints, expected)?
            .ok_or_else(|| missing("observed_at"))?;
        let doubles = of(Type::DOUBLE, || Cells::Doubles(Vec::new()));
        let number = Column::find(&file, &["number", "value"], doubles, "DOUBLE")?;
        let bools = of(Type::BOOLEAN, || Cells::Bools(Vec::new()));
        let bool = Column::find(&file, &["bool"], bools, "BOOLEAN")?;
        let text = Column::find(&file, &["text"], texts, "a column of texts")?;
        let unit = Column::find(&file, &["unit"], texts, "a column of texts")?;
        if number.is_none() && bool.is_none() && text.is_none() {
            return Err(missing("number, bool or text"));
        }
        let schema = file.metadata().file_metadata().schema_descr();
        let scale = match schema.column(at.index).logical_type_ref() {
            Some(LogicalType::Timestamp(time)) => match time.unit {
                TimeUnit::MILLIS => (1_000, 1),
                TimeUnit::MICROS => (1, 1),
                TimeUnit::NANOS => (1, 1_000),
            },
            _ => (1, 1),
        };
        let total = u64::try_from(file.metadata().file_metadata().num_rows()).unwrap_or(0);
        let (group, row, rows, read) = (0, 0, 0, 0);
        Ok(Self { file, group, row, rows, read, total, device, metric, at, number, bool, text, unit, scale })
    }

    fn columns(&mut self) -> impl Iterator<Item = &mut Column> {
        [&mut self.device, &mut self.metric, &mut self.at].into_iter().chain(
            [&mut self.number, &mut self.bool, &mut self.text, &mut self.unit]
                .into_iter()
                .filter_map(Option::as_mut),
        )
    }

    /// Reads more rows; false at the end.
    fn fill(&mut self) -> Result<bool, ExchangeError> {
        loop {
            let mut counts = Vec::new();
            for column in self.columns() {
                counts.push(column.fill()?);
            }
            if counts.iter().any(|count| *count != counts[0]) {
                return Err(ExchangeError::Content(format!(
                    "the columns have different lengths after row {}: the file is damaged",
                    self.read
                )));
            }
            if counts[0] > 0 {
                (self.row, self.rows) = (0, counts[0]);
                return Ok(true);
            }
            if self.group == self.file.num_row_groups() {
                return Ok(false);
            }
            let readers = {
                let group = self.file.get_row_group(self.group)?;
                let mut readers = Vec::new();
                for column in self.columns_shared() {
                    readers.push(group.get_column_reader(column)?);
                }
                readers
            };
            for (column, reader) in self.columns().zip(readers) {
                column.reader = Some(reader);
            }
            self.group += 1;
        }
    }

    /// The indices of the columns, in the order of [`ParquetSource::columns`].
    fn columns_shared(&self) -> impl Iterator<Item = usize> {
        let optional = [&self.number, &self.bool, &self.text, &self.unit];
        [self.device.index, self.metric.index, self.at.index]
            .into_iter()
            .chain(optional.into_iter().flatten().map(|column| column.index))
    }

    pub(super) fn next(&mut self, record: &mut Record) -> Result<bool, ExchangeError> {
        if self.row == self.rows && !self.fill()? {
            return Ok(false);
        }
        let row = self.row;
        self.row += 1;
        self.read += 1;
        let place = self.read;
        record.place = place;
        let wrong = |column: &str, problem: &str| {
            ExchangeError::Content(format!("row {place}, column {column}: {problem}"))
        };
        for (column, text) in [(&mut self.device, &mut record.device), (&mut self.metric, &mut record.metric)]
        {
            if !column.text(row, text).map_err(|problem| wrong(column.name, problem))? {
                return Err(wrong(column.name, "null"));
            }
        }
        let at = match (self.at.step(row), &self.at.cells) {
            (Some(place), Cells::Ints(cells)) => cells.get(place).copied(),
            _ => None,
        };
        let at = at.ok_or_else(|| wrong(self.at.name, "null"))?;
        record.at = Timestamp(at.saturating_mul(self.scale.0).div_euclid(self.scale.1));
        record.unit.clear();
        if let Some(column) = &mut self.unit {
            column.text(row, &mut record.unit).map_err(|problem| wrong(column.name, problem))?;
        }
        record.kind = None;
        record.value = None;
        if let Some(column) = &mut self.number
            && let (Some(place), Cells::Doubles(cells)) = (column.step(row), &column.cells)
        {
            record.value = cells.get(place).map(|n| Value::Number(*n));
        }
        if let Some(column) = &mut self.bool
            && let (Some(place), Cells::Bools(cells)) = (column.step(row), &column.cells)
        {
            record.value = cells.get(place).map(|b| Value::Bool(*b));
        }
        if let Some(column) = &mut self.text
            && column.text(row, &mut record.written).map_err(|problem| wrong(column.name, problem))?
        {
            record.value = Some(Value::from(record.written.as_str()));
        }
        if record.value.is_none() {
            return Err(wrong("number", "null, and so are bool and text: one of them must have a value"));
        }
        Ok(true)
    }

    pub(super) fn part(&self) -> f64 {
        self.read as f64 / self.total.max(1) as f64
    }
}
