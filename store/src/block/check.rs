//! Opens a block and compares everything that stands beside its readings with the readings.

use protocol::{Bucket, Kind, Timestamp};
use rusqlite::Connection;

use super::{Meta, codec, read_meta, summary};
use crate::error::StoreError;
use crate::points::{Points, Values};
use crate::row;

/// Two sums of the same numbers may differ by this part of the sum of their amounts: the order of adding is not
/// promised.
const SUM_TOLERANCE: f64 = 1e-9;

/// What a check of one block found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Readings that were opened and agree in number with their row.
    pub(crate) readings: u64,
    /// What is wrong, in words that follow "block 7: ".
    pub(crate) problems: Vec<String>,
}

/// Checks one block of a series, given its row of [`COLUMNS`](super::COLUMNS).
///
/// An error is one of the database; what is wrong with the block is in the answer. Without a kind, that of a series
/// which is not there, only what does not depend on it is checked.
pub(crate) fn check(
    connection: &Connection,
    row: &rusqlite::Row<'_>,
    kind: Option<Kind>,
) -> Result<Checked, StoreError> {
    let mut checked = Checked::default();
    let meta = match read_meta(row) {
        Ok(meta) => meta,
        Err(error) => {
            checked.problems.push(format!("its row cannot be: {}", words(error)));
            return Ok(checked);
        }
    };
    let mut statement =
        connection.prepare_cached("SELECT times, vals, buckets FROM block_data WHERE block_id = ?1")?;
    let mut found = statement.query([meta.id])?;
    let Some(data) = found.next()? else {
        checked.problems.push("its readings are not there (no row in block_data)".into());
        return Ok(checked);
    };
    if meta.step.is_some() {
        compare_thinned(&meta, data, &mut checked.problems)?;
        return Ok(checked);
    }
    let Some((times, values)) = open(&meta, data, kind, &mut checked.problems)? else { return Ok(checked) };
    if let Some(points) = Points::from_columns(times, values) {
        checked.readings = points.len() as u64;
        compare(&meta, row, &points, &mut checked.problems);
        if let Some(blob) = data.get_ref(2)?.as_blob_or_null().unwrap_or_default() {
            compare_buckets(blob, &points, &mut checked.problems);
        }
    }
    Ok(checked)
}

/// An error as it follows the name of what is damaged.
fn words(error: StoreError) -> String {
    match error {
        StoreError::Corrupt(what) => what,
        other => other.to_string(),
    }
}

fn open(
    meta: &Meta,
    data: &rusqlite::Row<'_>,
    kind: Option<Kind>,
    problems: &mut Vec<String>,
) -> Result<Option<(Vec<i64>, Values)>, StoreError> {
    let times = match data.get_ref(0)?.as_blob() {
        Ok(blob) => codec::read_times(blob, meta.count),
        Err(error) => Err(StoreError::corrupt(format!("times: {error}"))),
    };
    let values = match (data.get_ref(1)?.as_blob(), kind) {
        (Ok(blob), Some(kind)) => codec::read_values(blob, meta.count, kind).map(Some),
        (Ok(_), None) => Ok(None),
        (Err(error), _) => Err(StoreError::corrupt(format!("values: {error}"))),
    };
    let both_fail = times.is_err() && values.is_err();
    let mut note = |error| problems.push(words(error));
    let times = times.map_err(&mut note).ok();
    let values = values.map_err(&mut note).ok().flatten();
    if both_fail {
        problems.push(format!("its count of {} may be what is wrong: both checks hang on it", meta.count));
    }
    Ok(times.zip(values))
}

/// Compares the columns of the row with the readings.
fn compare(meta: &Meta, row: &rusqlite::Row<'_>, points: &Points, problems: &mut Vec<String>) {
    let mut differ = |column: &str, said: String, is: String| {
        if said != is {
            problems.push(format!("{column} is {said}, its readings say {is}"));
        }
    };
    let last = points.len().wrapping_sub(1);
    if let (Some((first_at, first)), Some((last_at, last))) = (points.get(0), points.get(last)) {
        differ("first_at", meta.first_at.0.to_string(), first_at.0.to_string());
        differ("last_at", meta.last_at.0.to_string(), last_at.0.to_string());
        for (column, place, is) in [("first", 9, first), ("last", 10, last)] {
            match row.get_ref(place).map_err(StoreError::from).and_then(row::value) {
                Ok(said) if said == is => {}
                Ok(said) => problems.push(format!("{column} is {said}, its readings say {is}")),
                Err(error) => problems.push(format!("{column}: {}", words(error))),
            }
        }
    }
    let said: [Option<f64>; 3] = [6, 7, 8].map(|place| row.get(place).unwrap_or(Some(f64::NAN)));
    let is = summary(points).map(|(min, max, sum)| [min, max, sum]);
    let room = SUM_TOLERANCE * amounts(points);
    for (i, column) in ["min", "max", "sum"].into_iter().enumerate() {
        let room = if column == "sum" { room } else { 0.0 };
        match (said[i], is.map(|is| is[i])) {
            (None, None) => {}
            (Some(said), Some(is)) if (said - is).abs() <= room => {}
            (said, is) => {
                let text = |n: Option<f64>| n.map_or_else(|| "missing".to_owned(), |n| n.to_string());
                problems.push(format!("{column} is {}, its readings say {}", text(said), text(is)));
            }
        }
    }
}

/// What the numbers come to without their signs.
fn amounts(points: &Points) -> f64 {
    match points.values() {
        Values::Numbers(numbers) => numbers.iter().map(|n| n.abs()).sum::<f64>().max(1.0),
        Values::Bools(_) | Values::Texts(_) => 1.0,
    }
}

/// Compares the statistics of a block with its row, where retention has left nothing else.
fn compare_thinned(
    meta: &Meta,
    data: &rusqlite::Row<'_>,
    problems: &mut Vec<String>,
) -> Result<(), StoreError> {
    let empty = |column| data.get_ref(column).is_ok_and(|blob| blob.as_blob().is_ok_and(<[u8]>::is_empty));
    if !empty(0) || !empty(1) {
        problems.push("only its statistics are to be left, but it has readings".into());
    }
    let (Some(is), Some(blob)) = (meta.summary, data.get_ref(2)?.as_blob_or_null().unwrap_or_default())
    else {
        return Ok(());
    };
    let said = match codec::read_buckets(blob) {
        Ok((_, said)) => said,
        Err(error) => {
            problems.push(format!("its statistics: {}", words(error)));
            return Ok(());
        }
    };
    let all = said.into_iter().reduce(|mut all, bucket| {
        all.merge(&bucket);
        all
    });
    let room = SUM_TOLERANCE * is.count as f64 * is.min.abs().max(is.max.abs()).max(1.0);
    let same = |all: &Bucket| {
        (all.count, all.min, all.max, all.first, all.last) == (is.count, is.min, is.max, is.first, is.last)
            && (all.sum - is.sum).abs() <= room
    };
    if !all.as_ref().is_some_and(same) {
        problems.push(format!("its buckets come to {all:?}, its row says {is:?}"));
    }
    Ok(())
}

fn compare_buckets(blob: &[u8], points: &Points, problems: &mut Vec<String>) {
    let (step, said) = match codec::read_buckets(blob) {
        Ok(found) => found,
        Err(error) => {
            problems.push(format!("its finer statistics: {}", words(error)));
            return;
        }
    };
    let mut is: Vec<Bucket> = Vec::new();
    points.sum_up(0..points.len(), step, &mut is);
    if said.len() != is.len() {
        problems.push(format!("it has {} buckets, its readings make {}", said.len(), is.len()));
        return;
    }
    let room = SUM_TOLERANCE * amounts(points);
    let same = |a: &Bucket, b: &Bucket| {
        (a.at, a.count, a.min, a.max, a.first, a.last) == (b.at, b.count, b.min, b.max, b.first, b.last)
            && (a.sum - b.sum).abs() <= room
    };
    if let Some((said, is)) = said.iter().zip(&is).find(|(said, is)| !same(said, is)) {
        let Timestamp(at) = is.at;
        problems.push(format!("its bucket at {at} is {said:?}, its readings make {is:?}"));
    }
}
