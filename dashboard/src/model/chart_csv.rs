//! A chart as CSV: what it shows, readings where it shows readings and buckets where it shows buckets.
//!
//! Times are RFC 3339 in UTC. A series of readings has one column; a series of buckets has four: mean, min, max and how
//! many readings; the time is the start of a bucket. A cell is empty where a series has nothing at that time.

use std::collections::BTreeSet;

use protocol::{Kind, SeriesId, Timestamp};

use super::Model;
use crate::format;
use crate::series::{Column, Trace};

/// One series with what is shown of it.
struct Shown {
    name: String,
    unit: String,
    kind: Kind,
    trace: Trace,
    id: SeriesId,
}

impl Shown {
    /// The start and the column of everything in view.
    fn rows(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = (i64, &Column)> {
        let width = self.trace.width;
        let columns = self.trace.columns.iter().map(move |column| (column.at - width / 2, column));
        let thinned = self.trace.thinned.iter().map(|(column, width)| (column.at - width / 2, column));
        columns.chain(thinned).filter(move |(_, column)| column.at >= from.0 && column.at <= to.0)
    }

    fn is_single(&self) -> bool {
        self.trace.width == 0 && self.trace.thinned.is_empty()
    }
}

/// What a chart of these series shows at so many microseconds a pixel, now.
pub fn csv(model: &Model, series: &[SeriesId], micros_per_pixel: f64) -> String {
    let (from, to) = model.range();
    let shown: Vec<Shown> = series
        .iter()
        .map(|&id| {
            let info = model.series_info(id);
            let mut trace = Trace::default();
            model.series.trace(id, from, to, micros_per_pixel, &mut trace);
            Shown {
                name: info.map_or_else(
                    || format!("series {}", id.0),
                    |i| format!("{} {}", i.device.info.id, i.declaration.name),
                ),
                unit: info.and_then(|i| i.unit().map(|u| format::unit(u).to_owned())).unwrap_or_default(),
                kind: info.map(|i| i.declaration.kind).or_else(|| model.series.kind(id)).unwrap_or_default(),
                trace,
                id,
            }
        })
        .collect();
    let mut text = String::from("time");
    for series in &shown {
        let unit = if series.unit.is_empty() { String::new() } else { format!(" ({})", series.unit) };
        let names: Vec<String> = if series.is_single() {
            vec![format!("{}{unit}", series.name)]
        } else {
            let of = ["mean", "min", "max"].map(|what| format!("{} {what}{unit}", series.name));
            of.into_iter().chain([format!("{} readings", series.name)]).collect()
        };
        for name in names {
            text.push(',');
            text.push_str(&quoted(&name));
        }
    }
    text.push('\n');
    let times: BTreeSet<i64> = shown.iter().flat_map(|s| s.rows(from, to).map(|(at, _)| at)).collect();
    let mut rows: Vec<_> = shown
        .iter()
        .map(|series| {
            let mut rows: Vec<(i64, &Column)> = series.rows(from, to).collect();
            rows.sort_by_key(|(at, _)| *at);
            rows.into_iter().peekable()
        })
        .collect();
    for time in times {
        text.push_str(&rfc3339(time));
        for (series, rows) in shown.iter().zip(&mut rows) {
            let mut column = None;
            while let Some((_, found)) = rows.next_if(|(at, _)| *at <= time) {
                column = Some(found);
            }
            for cell in cells(model, series, column) {
                text.push(',');
                text.push_str(&quoted(&cell));
            }
        }
        text.push('\n');
    }
    text
}

fn cells(model: &Model, series: &Shown, column: Option<&Column>) -> Vec<String> {
    let value = |number: f64| match series.kind {
        Kind::Number => number.to_string(),
        Kind::Bool => (number > 0.5).to_string(),
        Kind::Text => model.series.text(series.id, number).map(ToString::to_string).unwrap_or_default(),
    };
    let Some(column) = column else { return vec![String::new(); if series.is_single() { 1 } else { 4 }] };
    if series.is_single() {
        return vec![value(column.mean)];
    }
    // Of states that share a bucket none is the mean.
    let mean = match series.kind {
        Kind::Number => column.mean.to_string(),
        _ if column.min < column.max => String::new(),
        _ => value(column.mean),
    };
    vec![mean, value(column.min), value(column.max), column.count.to_string()]
}

/// A time in UTC, as exact as it is.
pub fn rfc3339(micros: i64) -> String {
    jiff::Timestamp::from_microsecond(micros).map(|at| at.to_string()).unwrap_or_default()
}

fn quoted(cell: &str) -> String {
    // What begins like a formula is one for a spreadsheet; a number below zero is not.
    let is_formula = cell.starts_with(['=', '+', '@', '\t', '\r'])
        || (cell.starts_with('-') && cell.parse::<f64>().is_err());
    let cell = if is_formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_and_times_are_in_utc() {
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!((quoted("=1+1").as_str(), quoted("-3.5").as_str()), ("'=1+1", "-3.5"));
        assert_eq!(rfc3339(1_773_324_600_250_000), "2026-03-12T14:10:00.25Z");
    }
}
