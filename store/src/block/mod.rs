//! Sealed readings: blocks, and the line between them and the hot rows.
//!
//! [`seal`](crate::Writer::seal) turns the oldest hot rows into blocks, or into bundles on a [`shelf`] where they are too few
//! for that; [`merge`](crate::Writer::merge) makes few large blocks out of bundles and of many small blocks. Both work in
//! slices beside ingest, and a kill between two slices costs nothing: what is unfinished lies on the far side of the line
//! `sealed.through`, where no query looks, and is cleared away on opening.

pub(crate) mod bundle;
pub(crate) mod check;
pub(crate) mod codec;
mod cut;
mod merge;
mod merge_shelf;
mod seal;
pub(crate) mod shelf;

use protocol::{Bucket, Kind, Position, SeriesId, Step, Timestamp};
use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, Value as Sql};

use crate::error::StoreError;
use crate::points::{Points, Values};
use crate::row;

pub(crate) use merge::{Merging, OVERLAP_MAX};
pub(crate) use merge_shelf::empty;
pub(crate) use seal::Sealing;

/// Smaller blocks are pieces: merging takes them up. A sixth of the largest, which is the least that cutting at borders
/// leaves of a steady series.
const SMALL: usize = cut::CUT_MAX / 6;
/// Fewer readings get no buckets of their own: decoding them is as quick.
const BUCKETS_MIN: usize = 512;

/// The columns of a row that [`read_meta`] reads, in this order.
pub(crate) const COLUMNS: &str =
    "block_id, first_at, last_at, count, position, piece, min, max, sum, first, last, step";

/// What is known of a block without opening it.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub(crate) id: i64,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
    pub(crate) count: usize,
    pub(crate) position: i64,
    pub(crate) piece: bool,
    /// What retention has left of it: `None`, its readings; otherwise only statistics, by this step.
    pub(crate) step: Option<Step>,
    /// The statistics, with `at` at its first reading; `None` if it holds texts or its sum is beyond numbers.
    pub(crate) summary: Option<Bucket>,
}

/// The highest position that is in a bundle or a block; every later reading is a hot row.
pub(crate) fn sealed_through(connection: &Connection) -> Result<Position, StoreError> {
    let through = connection.prepare_cached("SELECT through FROM sealed")?.query_row([], |row| row.get(0))?;
    Ok(Position(through))
}

/// Clears away the blocks and bundles of a seal that was interrupted.
pub(crate) fn recover(connection: &Connection) -> Result<(), StoreError> {
    let target: Option<i64> = connection.query_row("SELECT target FROM sealed", [], |row| row.get(0))?;
    if target.is_none() {
        return Ok(());
    }
    connection.execute_batch(
        "DELETE FROM block_data WHERE block_id IN
             (SELECT block_id FROM block WHERE position > (SELECT through FROM sealed));
         DELETE FROM block WHERE position > (SELECT through FROM sealed);
         DELETE FROM bundle WHERE position > (SELECT through FROM sealed);
         UPDATE sealed SET target = NULL;",
    )?;
    Ok(())
}

/// The blocks of a series that may hold readings from `from` to `to`, by their first time.
pub(crate) fn find(
    connection: &Connection,
    series: SeriesId,
    from: Timestamp,
    to: Timestamp,
    through: Position,
) -> Result<Vec<Meta>, StoreError> {
    let mut blocks = Vec::new();
    visit(connection, series, from, to, through, |meta| {
        blocks.push(meta);
        Ok(true)
    })?;
    Ok(blocks)
}

/// Shows `look` the same blocks one by one until it has enough.
pub(crate) fn visit(
    connection: &Connection,
    series: SeriesId,
    from: Timestamp,
    to: Timestamp,
    through: Position,
    mut look: impl FnMut(Meta) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT block_id, first_at, last_at, count, position, piece, min, max, sum, first, last, step FROM block
         WHERE series_id = ?1 AND first_at >= ?2 AND first_at < ?3 AND last_at >= ?4 AND position <= ?5
         ORDER BY first_at",
    )?;
    // No block reaches beyond its day.
    let mut rows = statement.query((series.0, Step::D1.floor(from).0, to.0, from.0, through.0))?;
    while let Some(row) = rows.next()? {
        if !look(read_meta(row)?)? {
            break;
        }
    }
    Ok(())
}

/// Reads a row of [`COLUMNS`].
pub(crate) fn read_meta(row: &rusqlite::Row<'_>) -> Result<Meta, StoreError> {
    let id: i64 = row.get(0)?;
    let (first_at, last_at) = (Timestamp(row.get(1)?), Timestamp(row.get(2)?));
    let count: i64 = row.get(3)?;
    let day = Step::D1.floor(first_at);
    let sane = (1..=codec::COUNT_MAX as i64).contains(&count)
        && first_at <= last_at
        && day == Step::D1.floor(last_at)
        && first_at.is_valid_for_reading();
    if !sane {
        return Err(StoreError::corrupt(format!("block {id} has impossible times or count")));
    }
    let (min, max, sum): (Option<f64>, Option<f64>, Option<f64>) = (row.get(6)?, row.get(7)?, row.get(8)?);
    let summary = match (min, max, sum) {
        (Some(min), Some(max), Some(sum)) => {
            let (first, last) = (row::number(row.get_ref(9)?)?, row::number(row.get_ref(10)?)?);
            Some(Bucket { at: first_at, count: count as u64, min, max, sum, first, last })
        }
        _ => None,
    };
    let (position, piece) = (row.get(4)?, row.get(5)?);
    let step = match row.get::<_, Option<i64>>(11)? {
        None => None,
        Some(seconds) => match Step::ALL.into_iter().find(|step| step.seconds() == seconds) {
            Some(step) if summary.is_some() => Some(step),
            _ => return Err(StoreError::corrupt(format!("block {id} has impossible statistics"))),
        },
    };
    Ok(Meta { id, first_at, last_at, count: count as usize, position, piece, step, summary })
}

/// Opens a block. One of which only statistics are left cannot be opened: see [`Meta::step`].
pub(crate) fn read(connection: &Connection, block: &Meta, kind: Kind) -> Result<Points, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT times, vals FROM block_data WHERE block_id = ?1")?;
    let mut rows = statement.query([block.id])?;
    let Some(row) = rows.next()? else {
        return Err(StoreError::corrupt(format!("the readings of block {} are not there", block.id)));
    };
    let blob =
        |column| row.get_ref(column)?.as_blob().map_err(|error| StoreError::corrupt(error.to_string()));
    let points = codec::read(blob(0)?, blob(1)?, block.count, kind)
        .map_err(|error| StoreError::corrupt(format!("block {}: {error}", block.id)))?;
    let times = points.times();
    if times.first() == Some(&block.first_at.0) && times.last() == Some(&block.last_at.0) {
        Ok(points)
    } else {
        Err(StoreError::corrupt(format!("block {} has other times than it says", block.id)))
    }
}

/// Opens blocks and puts their readings together in the order of time. Of readings at the same microsecond the first stored
/// is kept; how many were not comes with them.
pub(crate) fn read_together(
    connection: &Connection,
    kind: Kind,
    blocks: &[Meta],
) -> Result<(Points, usize), StoreError> {
    let mut ordered: Vec<&Meta> = blocks.iter().collect();
    ordered.sort_by_key(|block| block.position);
    let mut points = Points::new(kind);
    for block in ordered {
        points.append(read(connection, block, kind)?)?;
    }
    let lost = points.tidy();
    Ok((points, lost))
}

/// The finer statistics of a block, if it has any.
pub(crate) fn read_buckets(
    connection: &Connection,
    block: &Meta,
) -> Result<Option<(Step, Vec<Bucket>)>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT buckets FROM block_data WHERE block_id = ?1")?;
    let mut rows = statement.query([block.id])?;
    let Some(row) = rows.next()? else {
        return Err(StoreError::corrupt(format!("the readings of block {} are not there", block.id)));
    };
    match row.get_ref(0)?.as_blob_or_null().map_err(|error| StoreError::corrupt(error.to_string()))? {
        Some(blob) => codec::read_buckets(blob).map(Some),
        None => Ok(None),
    }
}

/// Writes a block of ordered readings.
fn insert(
    connection: &Connection,
    series: SeriesId,
    points: &Points,
    position: i64,
    piece: bool,
) -> Result<(), StoreError> {
    let (Some((first_at, _)), Some((last_at, _))) = (points.get(0), points.get(points.len().wrapping_sub(1)))
    else {
        return Ok(());
    };
    let (times, values) = codec::write(points);
    let buckets = finer_buckets(points, first_at, last_at);
    insert_row(connection, series, points, (buckets, times, values), position, piece, None)
}

/// Writes what is left of a block of ordered readings: its statistics, and buckets of a step.
pub(crate) fn insert_thinned(
    connection: &Connection,
    series: SeriesId,
    points: &Points,
    buckets: Option<Vec<u8>>,
    position: i64,
    step: Step,
) -> Result<(), StoreError> {
    insert_row(connection, series, points, (buckets, Vec::new(), Vec::new()), position, false, Some(step))
}

fn insert_row(
    connection: &Connection,
    series: SeriesId,
    points: &Points,
    blobs: (Option<Vec<u8>>, Vec<u8>, Vec<u8>),
    position: i64,
    piece: bool,
    step: Option<Step>,
) -> Result<(), StoreError> {
    let count = points.len();
    let (Some((first_at, first)), Some((last_at, last))) = (points.get(0), points.get(count.wrapping_sub(1)))
    else {
        return Ok(());
    };
    connection
        .prepare_cached("INSERT INTO block_data (buckets, times, vals) VALUES (?1, ?2, ?3)")?
        .execute(blobs)?;
    let id = connection.last_insert_rowid();
    let summary = summary(points);
    connection
        .prepare_cached(
            "INSERT INTO block
                 (series_id, first_at, block_id, last_at, count, min, max, sum, first, last, position, piece, step)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?
        .execute((
            series.0,
            first_at.0,
            id,
            last_at.0,
            count as i64,
            summary.map(|(min, _, _)| min),
            summary.map(|(_, max, _)| max),
            summary.map(|(_, _, sum)| sum),
            row::bind(&first),
            row::bind(&last),
            position,
            piece,
            step.map(Step::seconds),
        ))?;
    Ok(())
}

/// Whether readings have statistics: texts have none, nor do numbers whose sum is beyond numbers.
pub(crate) fn can_be_summed_up(points: &Points) -> bool {
    summary(points).is_some()
}

/// Cuts readings that were put together into blocks.
pub(crate) fn cut_merged(points: &Points) -> Vec<std::ops::Range<usize>> {
    cut::merged(points.times())
}

/// Least, greatest and sum; `None` for texts and for a sum beyond numbers.
fn summary(points: &Points) -> Option<(f64, f64, f64)> {
    let start = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
    let fold = |(min, max, sum): (f64, f64, f64), n: f64| (min.min(n), max.max(n), sum + n);
    let all = match points.values() {
        Values::Numbers(numbers) => numbers.iter().copied().fold(start, fold),
        Values::Bools(bools) => bools.iter().map(|b| if *b { 1.0 } else { 0.0 }).fold(start, fold),
        Values::Texts(_) => return None,
    };
    all.2.is_finite().then_some(all)
}

/// Statistics two rungs below the one that the block fills: 12 to 24 of them in a full block.
fn finer_buckets(points: &Points, first_at: Timestamp, last_at: Timestamp) -> Option<Vec<u8>> {
    if points.len() < BUCKETS_MIN {
        return None;
    }
    let rung = Step::ALL.iter().position(|step| step.floor(first_at) == step.floor(last_at))?;
    let step = Step::ALL[rung.checked_sub(2)?];
    let mut buckets = Vec::new();
    points.sum_up(0..points.len(), step, &mut buckets);
    let whole = !buckets.is_empty() && buckets.iter().all(|bucket| bucket.sum.is_finite());
    whole.then(|| codec::write_buckets(step, &buckets))
}

/// Removes a block.
pub(crate) fn remove(connection: &Connection, series: SeriesId, block: &Meta) -> Result<(), StoreError> {
    let key: [Sql; 3] = [series.0.into(), block.first_at.0.into(), block.id.into()];
    connection
        .prepare_cached("DELETE FROM block WHERE series_id = ?1 AND first_at = ?2 AND block_id = ?3")?
        .execute(key)?;
    connection.prepare_cached("DELETE FROM block_data WHERE block_id = ?1")?.execute([block.id])?;
    Ok(())
}

/// Counts readings that were left out because their microsecond was taken.
pub(crate) fn count_conflicts(
    connection: &Connection,
    series: SeriesId,
    conflicts: usize,
) -> Result<(), StoreError> {
    if conflicts > 0 {
        connection
            .prepare_cached("UPDATE series SET conflicts = conflicts + ?2 WHERE series_id = ?1")?
            .execute((series.0, conflicts as i64))?;
    }
    Ok(())
}

/// Notes the latest sealed reading of a series. Of two at the same time the first stored counts.
fn note_latest(connection: &Connection, series: SeriesId, points: &Points) -> Result<(), StoreError> {
    if let Some((at, value)) = points.get(points.len().wrapping_sub(1)) {
        let value: ToSqlOutput<'_> = row::bind(&value);
        connection
            .prepare_cached(
                "UPDATE series SET latest_at = ?2, latest = ?3
                 WHERE series_id = ?1 AND (latest_at IS NULL OR latest_at < ?2)",
            )?
            .execute((series.0, at.0, value))?;
    }
    Ok(())
}
