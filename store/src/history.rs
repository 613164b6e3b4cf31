//! What was measured between two times: the readings themselves, or buckets of them.
//!
//! Readings of a series come in [`Part`]s, blocks and the hot rows, that may overlap in time. Where two hold the same
//! microsecond the one stored first counts, so overlapping parts are put in the order in which they were stored.

use protocol::{Bucket, Kind, SeriesId, Step, Timestamp, Value};
use rusqlite::{Connection, OptionalExtension};

use crate::error::StoreError;
use crate::reader::Reader;
use crate::types::{BucketHistory, RawHistory};
use crate::{block, row, writer};

/// Readings that were stored together: ascending in time, each time once.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) points: Vec<(Timestamp, Value)>,
}

impl Reader {
    /// The readings of a series from `from` (inclusive) to `to` (exclusive), the first `limit` of them.
    ///
    /// Of readings at the same microsecond the first stored counts. An unknown series is [`StoreError::NotFound`].
    pub fn raw(
        &self,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<RawHistory, StoreError> {
        self.snapshot(|connection| {
            kind_of(connection, series)?;
            let position = writer::last_position(connection)?;
            let mut points = read(connection, series, from, to)?;
            let complete = points.len() <= limit;
            points.truncate(limit);
            Ok(RawHistory { points, complete, position })
        })
    }

    /// The buckets of a series that hold readings from `from` (inclusive) to `to` (exclusive), the first `limit` of
    /// them. The first and the last come whole, also where they reach beyond the two times.
    ///
    /// A series of texts has no buckets: [`StoreError::Invalid`].
    pub fn buckets(
        &self,
        series: SeriesId,
        step: Step,
        from: Timestamp,
        to: Timestamp,
        limit: usize,
    ) -> Result<BucketHistory, StoreError> {
        self.snapshot(|connection| {
            if kind_of(connection, series)? == Kind::Text {
                return Err(StoreError::Invalid("a series of texts has no buckets: read it raw".into()));
            }
            let position = writer::last_position(connection)?;
            if from >= to {
                return Ok(BucketHistory { buckets: Vec::new(), complete: true, position });
            }
            let end = step.floor(to.plus_micros(-1)).plus_micros(step.micros());
            let mut buckets: Vec<Bucket> = Vec::new();
            for (at, value) in read(connection, series, step.floor(from), end)? {
                let one = Bucket::of(step.floor(at), value.to_number().unwrap_or_default());
                match buckets.last_mut() {
                    Some(bucket) if bucket.at == one.at => bucket.merge(&one),
                    _ => buckets.push(one),
                }
            }
            let complete = buckets.len() <= limit;
            buckets.truncate(limit);
            Ok(BucketHistory { buckets, complete, position })
        })
    }
}

fn kind_of(connection: &Connection, series: SeriesId) -> Result<Kind, StoreError> {
    let kind: String = connection
        .prepare_cached("SELECT kind FROM series WHERE series_id = ?1")?
        .query_row([series.0], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::NotFound("series"))?;
    row::kind(&kind)
}

fn read(
    connection: &Connection,
    series: SeriesId,
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(Timestamp, Value)>, StoreError> {
    let through = block::sealed_through(connection)?;
    let mut points = Vec::new();
    for part in block::parts(connection, series, from, to, through)? {
        points.extend(part.points);
    }
    let mut statement = connection.prepare_cached(
        "SELECT observed_at, value FROM reading
         WHERE position > ?1 AND series_id = ?2 AND observed_at >= ?3 AND observed_at < ?4 ORDER BY position",
    )?;
    let mut rows = statement.query((through.0, series.0, from.0, to.0))?;
    while let Some(row) = rows.next()? {
        points.push((Timestamp(row.get(0)?), row::value(row.get_ref(1)?)?));
    }
    // Stable: of equal times the first stored stays first, and is the one that is kept.
    points.sort_by_key(|(at, _)| *at);
    points.dedup_by_key(|(at, _)| *at);
    Ok(points)
}
