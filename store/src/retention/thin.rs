//! What happens to a block: it goes, or its readings go and its statistics stay.
//!
//! A thinned block keeps its row with count, least, greatest, sum, first and last, and where it reaches over several buckets
//! of its rule's step, those buckets. Blocks that overlap are thinned together, so that of two readings at the same
//! microsecond one is counted.

use protocol::{Bucket, Kind, SeriesId, Step, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::Slice;
use crate::block::{self, Meta, codec};
use crate::error::StoreError;
use crate::points::{self, Points};

/// The time of the first block that begins at `from` or later.
pub(super) fn first(
    slice: &Slice<'_>,
    series: SeriesId,
    from: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    find_first(
        slice,
        "SELECT first_at FROM block WHERE series_id = ?1 AND first_at >= ?2 AND position <= ?3
         ORDER BY first_at LIMIT 1",
        (series, from),
    )
}

/// As [`first`], of the blocks that have readings.
pub(super) fn first_with_readings(
    slice: &Slice<'_>,
    series: SeriesId,
    from: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    find_first(
        slice,
        "SELECT first_at FROM block WHERE series_id = ?1 AND first_at >= ?2 AND position <= ?3 AND step IS NULL
         ORDER BY first_at LIMIT 1",
        (series, from),
    )
}

fn find_first(
    slice: &Slice<'_>,
    sql: &str,
    (series, from): (SeriesId, Timestamp),
) -> Result<Option<Timestamp>, StoreError> {
    let mut statement = slice.connection.prepare_cached(sql)?;
    let first = statement.query_row((series.0, from.0, slice.through.0), |row| row.get(0)).optional()?;
    Ok(first.map(Timestamp))
}

/// Blocks of a series that begin on the day of `first`, at `first` or later, and where to go on after them. At least `page`
/// of them if there are so many, and none outside overlaps one of them.
///
/// A damaged row is told and gives `None`: the blocks stay as they are.
pub(super) fn day(
    slice: &mut Slice<'_>,
    series: SeriesId,
    first: Timestamp,
    page: usize,
) -> Result<Option<(Vec<Meta>, Timestamp)>, StoreError> {
    let end = end_of_day(first);
    let (mut blocks, mut last_at, mut next) = (Vec::new(), first, end);
    let found = block::visit(slice.connection, series, first, end, slice.through, |block| {
        if block.first_at < first {
            return Ok(true);
        }
        if blocks.len() >= page && block.first_at > last_at {
            next = block.first_at;
            return Ok(false);
        }
        last_at = last_at.max(block.last_at);
        blocks.push(block);
        Ok(true)
    });
    match found {
        Ok(()) => {
            slice.spend(Slice::LOOK * blocks.len() as i64);
            Ok(Some((blocks, next)))
        }
        Err(StoreError::Corrupt(problem)) => {
            tracing::error!(
                series = series.0,
                day = first.0,
                problem,
                "retention passes over a damaged block"
            );
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The end of the day of UTC: no block reaches beyond it.
pub(super) const fn end_of_day(at: Timestamp) -> Timestamp {
    Step::D1.floor(at).plus_micros(Step::D1.micros())
}

fn book(connection: &Connection, series: SeriesId, removed: i64, thinned: i64) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE series SET removed = removed + ?2, thinned = thinned + ?3 WHERE series_id = ?1",
        )?
        .execute((series.0, removed, thinned))?;
    Ok(())
}

/// Removes a block with all that is known of it.
pub(super) fn remove(slice: &mut Slice<'_>, series: SeriesId, block: &Meta) -> Result<(), StoreError> {
    let count = block.count as i64;
    block::remove(slice.connection, series, block)?;
    book(slice.connection, series, count, if block.step.is_some() { -count } else { 0 })?;
    slice.note(block);
    slice.retained.removed += block.count as u64;
    slice.spend(Slice::BLOCK + count / 50);
    Ok(())
}

/// Leaves only statistics of blocks that overlap each other and no others.
///
/// False: they cannot be summed up, because their sum is beyond numbers or because they are damaged. Then nothing was
/// changed.
pub(super) fn thin(
    slice: &mut Slice<'_>,
    (series, kind): (SeriesId, Kind),
    step: Step,
    group: &[Meta],
) -> Result<bool, StoreError> {
    if group.iter().any(|block| block.summary.is_none()) {
        return Ok(false);
    }
    let count: usize = group.iter().map(|block| block.count).sum();
    let prepared = if group.len() == 1 || count > block::OVERLAP_MAX {
        // More than can be put together at once: what has the same microsecond twice is counted twice.
        each(slice.connection, kind, step, group)
    } else {
        together(slice.connection, kind, step, group)
    };
    let prepared = match prepared {
        Err(StoreError::Corrupt(problem)) => {
            tracing::error!(series = series.0, problem, "retention passes over a damaged block");
            return Ok(false);
        }
        prepared => prepared?,
    };
    let Some(prepared) = prepared else { return Ok(false) };
    let lost = match prepared {
        Prepared::Each(blobs) => {
            for (block, blob) in group.iter().zip(blobs) {
                leave(slice.connection, series, block, step, blob)?;
            }
            0
        }
        Prepared::Together { pieces, lost } => {
            for block in group {
                block::remove(slice.connection, series, block)?;
            }
            let position = group.iter().map(|block| block.position).max().unwrap_or_default();
            for (points, blob) in pieces {
                block::insert_thinned(slice.connection, series, &points, blob, position, step)?;
            }
            block::count_conflicts(slice.connection, series, lost)?;
            lost
        }
    };
    book(slice.connection, series, 0, (count - lost) as i64)?;
    for block in group {
        slice.note(block);
        slice.spend(Slice::BLOCK);
    }
    slice.spend(count as i64);
    slice.retained.thinned += (count - lost) as u64;
    Ok(true)
}

/// Buckets as they are stored; `None`: the statistics of the block are enough.
type Blob = Option<Vec<u8>>;

/// What is to be written in place of readings.
enum Prepared {
    /// For each block its buckets.
    Each(Vec<Blob>),
    /// New blocks, and how many readings were left out because their microsecond was taken.
    Together { pieces: Vec<(Points, Blob)>, lost: usize },
}

/// Leaves a block its statistics.
fn leave(
    connection: &Connection,
    series: SeriesId,
    block: &Meta,
    step: Step,
    blob: Blob,
) -> Result<(), StoreError> {
    connection
        .prepare_cached("UPDATE block_data SET buckets = ?2, times = x'', vals = x'' WHERE block_id = ?1")?
        .execute((block.id, blob))?;
    connection
        .prepare_cached(
            "UPDATE block SET step = ?4, piece = 0 WHERE series_id = ?1 AND first_at = ?2 AND block_id = ?3",
        )?
        .execute((series.0, block.first_at.0, block.id, step.seconds()))?;
    Ok(())
}

fn each(
    connection: &Connection,
    kind: Kind,
    step: Step,
    group: &[Meta],
) -> Result<Option<Prepared>, StoreError> {
    let mut blobs = Vec::with_capacity(group.len());
    for block in group {
        if step.floor(block.first_at) == step.floor(block.last_at) {
            blobs.push(None);
            continue;
        }
        let mut buckets = Vec::new();
        match block::read_buckets(connection, block)? {
            Some((fine, finer)) if fine <= step => {
                for bucket in finer {
                    points::add(&mut buckets, &Bucket { at: step.floor(bucket.at), ..bucket });
                }
            }
            _ => {
                let points = block::read(connection, block, kind)?;
                points.sum_up(0..points.len(), step, &mut buckets);
            }
        }
        match write(step, &buckets) {
            Some(blob) => blobs.push(Some(blob)),
            None => return Ok(None),
        }
    }
    Ok(Some(Prepared::Each(blobs)))
}

fn together(
    connection: &Connection,
    kind: Kind,
    step: Step,
    group: &[Meta],
) -> Result<Option<Prepared>, StoreError> {
    let (points, lost) = block::read_together(connection, kind, group)?;
    let mut pieces = Vec::new();
    for range in block::cut_merged(&points) {
        let piece = points.slice(range);
        if !block::can_be_summed_up(&piece) {
            return Ok(None);
        }
        let mut buckets = Vec::new();
        piece.sum_up(0..piece.len(), step, &mut buckets);
        match write(step, &buckets) {
            _ if buckets.len() == 1 => pieces.push((piece, None)),
            Some(blob) => pieces.push((piece, Some(blob))),
            None => return Ok(None),
        }
    }
    Ok(Some(Prepared::Together { pieces, lost }))
}

fn write(step: Step, buckets: &[Bucket]) -> Option<Vec<u8>> {
    let whole = !buckets.is_empty() && buckets.iter().all(|bucket| bucket.sum.is_finite());
    whole.then(|| codec::write_buckets(step, buckets))
}
