//! What was measured between two times: the readings themselves, or buckets of them.
//!
//! The blocks of a series are walked in the order of time, in groups that overlap, with the hot readings between and
//! among them. A block that overlaps nothing is answered as cheaply as the question allows: by its statistics, by its
//! finer buckets, or by decoding it. Where several hold the same time they are decoded and put together, first stored
//! first, so that of two readings at the same microsecond the first counts.

use protocol::{Bucket, Kind, Position, SeriesId, Step, Timestamp, Value};
use rusqlite::{Connection, OptionalExtension};

use crate::block::Meta;
use crate::error::StoreError;
use crate::hot::Hot;
use crate::points::{self, Points};
use crate::reader::Reader;
use crate::types::{BucketHistory, RawHistory};
use crate::{block, row, writer};

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
        self.snapshot_with_hot(|connection, hot| {
            let walk = Walk::begin(connection, hot, series, from, to)?;
            let mut points: Vec<(Timestamp, Value)> = Vec::new();
            walk.parts(|part| {
                let part = part.open(connection, walk.kind)?;
                points.extend(part.iter(part.range(from, to)));
                Ok(points.len() <= limit)
            })?;
            let complete = points.len() <= limit;
            points.truncate(limit);
            Ok(RawHistory { points, complete, position: walk.position })
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
        // From here on the two times are borders of buckets.
        let (from, to) = if from < to {
            (step.floor(from), step.floor(to.plus_micros(-1)).plus_micros(step.micros()))
        } else {
            (from, from)
        };
        self.snapshot_with_hot(|connection, hot| {
            let walk = Walk::begin(connection, hot, series, from, to)?;
            if walk.kind == Kind::Text {
                return Err(StoreError::Invalid("a series of texts has no buckets: read it raw".into()));
            }
            let mut buckets: Vec<Bucket> = Vec::new();
            walk.parts(|part| {
                if let Part::Block(meta) = &part
                    && sum_up_closed(connection, meta, step, from, to, &mut buckets)?
                {
                    return Ok(buckets.len() <= limit);
                }
                let part = part.open(connection, walk.kind)?;
                part.sum_up(part.range(from, to), step, &mut buckets);
                Ok(buckets.len() <= limit)
            })?;
            let complete = buckets.len() <= limit;
            buckets.truncate(limit);
            Ok(BucketHistory { buckets, complete, position: walk.position })
        })
    }
}

/// Adds a block to buckets without decoding it, if its statistics are fine enough.
fn sum_up_closed(
    connection: &Connection,
    meta: &Meta,
    step: Step,
    from: Timestamp,
    to: Timestamp,
    buckets: &mut Vec<Bucket>,
) -> Result<bool, StoreError> {
    let Some(summary) = meta.summary else { return Ok(false) };
    let at = step.floor(meta.first_at);
    if at == step.floor(meta.last_at) {
        // It lies in one bucket, so it lies between the two times as a whole.
        points::add(buckets, &Bucket { at, ..summary });
        return Ok(true);
    }
    match block::read_buckets(connection, meta)? {
        Some((fine, finer)) if fine <= step => {
            for bucket in finer.iter().filter(|bucket| (from..to).contains(&bucket.at)) {
                points::add(buckets, &Bucket { at: step.floor(bucket.at), ..*bucket });
            }
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// The kind of a series, which must exist.
pub(crate) fn kind_of(connection: &Connection, series: SeriesId) -> Result<Kind, StoreError> {
    let kind: String = connection
        .prepare_cached("SELECT kind FROM series WHERE series_id = ?1")?
        .query_row([series.0], |row| row.get(0))
        .optional()?
        .ok_or(StoreError::NotFound("series"))?;
    row::kind(&kind)
}

/// All that is stored of one series between two times.
struct Walk {
    kind: Kind,
    position: Position,
    blocks: Vec<Meta>,
    hot: Points,
}

/// A stretch of time in which nothing else lies.
enum Part<'a> {
    /// One block alone.
    Block(&'a Meta),
    /// Blocks that overlap, and the hot readings among them.
    Mixed(&'a [Meta], Points),
}

impl Part<'_> {
    fn open(&self, connection: &Connection, kind: Kind) -> Result<Points, StoreError> {
        match self {
            Self::Block(meta) => block::read(connection, meta, kind),
            Self::Mixed(blocks, hot) => {
                let mut ordered: Vec<&Meta> = blocks.iter().collect();
                ordered.sort_by_key(|meta| meta.position);
                let mut points = Points::new(kind);
                for meta in ordered {
                    points.append(block::read(connection, meta, kind)?)?;
                }
                points.append(hot.clone())?;
                points.tidy();
                Ok(points)
            }
        }
    }
}

impl Walk {
    fn begin(
        connection: &Connection,
        hot: &Hot,
        series: SeriesId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Self, StoreError> {
        let kind = kind_of(connection, series)?;
        let position = writer::last_position(connection)?;
        if from >= to {
            return Ok(Self { kind, position, blocks: Vec::new(), hot: Points::new(kind) });
        }
        let through = block::sealed_through(connection)?;
        let blocks = block::find(connection, series, from, to, through)?;
        Ok(Self { kind, position, blocks, hot: hot.points(series, kind, from, to)? })
    }

    /// Goes through all parts in the order of time until `visit` has enough.
    fn parts(&self, mut visit: impl FnMut(Part<'_>) -> Result<bool, StoreError>) -> Result<(), StoreError> {
        let mut blocks = &self.blocks[..];
        let mut hot = 0;
        while let Some(first) = blocks.first() {
            let (overlapping, last_at) = overlapping(blocks);
            let before = self.hot.range(Timestamp(i64::MIN), first.first_at).end;
            if before > hot && !visit(Part::Mixed(&[], self.hot.slice(hot..before)))? {
                return Ok(());
            }
            let among = self.hot.range(Timestamp(i64::MIN), last_at.plus_micros(1)).end;
            let part = match (overlapping, among > before) {
                ([meta], false) => Part::Block(meta),
                _ => Part::Mixed(overlapping, self.hot.slice(before..among)),
            };
            if !visit(part)? {
                return Ok(());
            }
            hot = among;
            blocks = &blocks[overlapping.len()..];
        }
        if hot < self.hot.len() {
            visit(Part::Mixed(&[], self.hot.slice(hot..self.hot.len())))?;
        }
        Ok(())
    }
}

/// The first blocks, by their first time, that overlap each other, and the last time in them.
fn overlapping(blocks: &[Meta]) -> (&[Meta], Timestamp) {
    let mut last_at = Timestamp(i64::MIN);
    for (place, meta) in blocks.iter().enumerate() {
        if place > 0 && meta.first_at > last_at {
            return (&blocks[..place], last_at);
        }
        last_at = last_at.max(meta.last_at);
    }
    (blocks, last_at)
}
