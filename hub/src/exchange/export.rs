//! Export: series by series, each in the order of time, in bounded memory, beside a running hub.

use std::io::Write;

use protocol::select::Select;
use protocol::{SeriesId, Timestamp};
use store::{Reader, Scan};

use super::csv::CsvSink;
use super::parquet::ParquetSink;
use super::{ExchangeError, Format, Progress, Watch};

/// What to export.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Patterns of device ids; none: all.
    pub devices: Vec<String>,
    /// Patterns of metric names; none: all.
    pub metrics: Vec<String>,
    /// The earliest time (inclusive).
    pub from: Timestamp,
    /// The end (exclusive).
    pub to: Timestamp,
}

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Series that were chosen, also those without a reading in the range.
    pub series: u64,
    /// Readings written.
    pub readings: u64,
}

enum Sink<W: Write + Send> {
    Csv(CsvSink<W>),
    Parquet(ParquetSink<W>),
}

/// Writes what is chosen to `out` and returns it, with everything handed to the system but not synced.
///
/// Everything acknowledged before the call is in the file, each reading once.
pub fn export<W: Write + Send>(
    reader: &Reader,
    choice: &Choice,
    format: Format,
    out: W,
    watch: Watch<'_>,
) -> Result<(Exported, W), ExchangeError> {
    let series = choose(reader, choice)?;
    let stats = reader.stats()?;
    // For the part done only; the range itself stays as it was asked for.
    let oldest = stats.oldest.unwrap_or(choice.from).max(choice.from);
    let newest = stats.newest.unwrap_or(choice.to).min(choice.to);
    let span = newest.micros_since(oldest).max(1) as f64;
    let mut sink = match format {
        Format::Csv => Sink::Csv(CsvSink::begin(out)?),
        Format::Parquet => Sink::Parquet(ParquetSink::begin(out)?),
    };
    let mut readings = 0;
    for (place, Chosen { id, device, metric, unit }) in series.iter().enumerate() {
        let mut scan = Scan::new(*id, choice.from, choice.to);
        while let Some(points) = scan.next(reader)? {
            match &mut sink {
                Sink::Csv(sink) => sink.write(device, metric, unit, &points)?,
                Sink::Parquet(sink) => sink.write(device, metric, unit, &points)?,
            }
            readings += points.len() as u64;
            let within = points.last().map_or(1.0, |(at, _)| at.micros_since(oldest) as f64 / span);
            let part = (place as f64 + within.clamp(0.0, 1.0)) / series.len() as f64;
            if !watch(Progress { done: "exported", readings, part }) {
                return Err(ExchangeError::Stopped);
            }
        }
    }
    let out = match sink {
        Sink::Csv(sink) => sink.end()?,
        Sink::Parquet(sink) => sink.end()?,
    };
    Ok((Exported { series: series.len() as u64, readings }, out))
}

struct Chosen {
    id: SeriesId,
    device: String,
    metric: String,
    unit: String,
}

/// The chosen series by device and metric.
fn choose(reader: &Reader, choice: &Choice) -> Result<Vec<Chosen>, ExchangeError> {
    let select =
        Select { devices: choice.devices.clone(), metrics: choice.metrics.clone(), series: Vec::new() };
    let mut chosen = Vec::new();
    for device in reader.devices()? {
        for metric in device.info.metrics {
            let (device, name) = (device.info.id.as_str(), metric.declaration.name.as_str());
            if select.matches(metric.series, device, name) {
                chosen.push(Chosen {
                    id: metric.series,
                    device: device.to_owned(),
                    metric: name.to_owned(),
                    unit: metric.declaration.unit.unwrap_or_default(),
                });
            }
        }
    }
    chosen.sort_by(|a, b| (&a.device, &a.metric).cmp(&(&b.device, &b.metric)));
    Ok(chosen)
}
