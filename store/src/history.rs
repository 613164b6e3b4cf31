//! What was measured between two times: the readings themselves, or buckets of them.
//!
//! The blocks of a series are walked in the order of time, in groups that overlap, with the readings that are in no
//! block, those in bundles and the hot ones, between and among them. A block that overlaps nothing is answered as cheaply as the question allows: by its statistics, by its
//! finer buckets, or by decoding it. Where several hold the same time they are decoded and put together, first stored
//! first, so that of two readings at the same microsecond the first counts.
//!
//! Where retention has left only statistics of a block, they are added to what else is known of their buckets. Count,
//! least, greatest and sum are right; a late reading at a microsecond that was had before counts once more, since that
//! microsecond is not known any more. First and last are right unless late readings lie in the same bucket: then the time
//! of the first of the old ones is taken to be the start of the bucket, or of the block if that is later, and that of the
//! last its end. Finer buckets than are left are not made up: the answer says which width is there.

use protocol::{Bucket, Kind, Position, SeriesId, Step, Timestamp, Value};
use rusqlite::{Connection, OptionalExtension};

use crate::block::Meta;
use crate::block::shelf;
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
            let mut coarser = None;
            walk.parts(|part| {
                coarser = coarser.max(part.blocks().iter().filter_map(|meta| meta.step).max());
                let part = part.open(connection, walk.kind)?;
                points.extend(part.iter(part.range(from, to)));
                Ok(points.len() <= limit)
            })?;
            let complete = points.len() <= limit;
            points.truncate(limit);
            Ok(RawHistory { points, complete, coarser, position: walk.position })
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
            let mut coarser = None;
            walk.parts(|part| {
                if part.blocks().iter().any(|meta| meta.step.is_some()) {
                    let missing =
                        sum_up_thinned(connection, &part, walk.kind, step, (from, to), &mut buckets)?;
                    coarser = coarser.max(missing);
                    return Ok(buckets.len() <= limit);
                }
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
            Ok(BucketHistory { buckets, complete, coarser, position: walk.position })
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

/// Statistics of one bucket, with the times of its first and last reading as well as they are known.
struct Stretch {
    bucket: Bucket,
    first_at: Timestamp,
    last_at: Timestamp,
}

impl Stretch {
    fn merge(&mut self, other: &Self) {
        let (one, two) = (&mut self.bucket, &other.bucket);
        one.count += two.count;
        one.min = one.min.min(two.min);
        one.max = one.max.max(two.max);
        one.sum += two.sum;
        if other.first_at < self.first_at {
            (one.first, self.first_at) = (two.first, other.first_at);
        }
        if other.last_at > self.last_at {
            (one.last, self.last_at) = (two.last, other.last_at);
        }
    }
}

/// Adds a part to buckets in which retention has left only statistics of some blocks. Returns the width that would have to
/// be asked for if these are too coarse, and then leaves them out.
fn sum_up_thinned(
    connection: &Connection,
    part: &Part<'_>,
    kind: Kind,
    step: Step,
    (from, to): (Timestamp, Timestamp),
    buckets: &mut Vec<Bucket>,
) -> Result<Option<Step>, StoreError> {
    let mut coarser = None;
    let mut stretches: Vec<Stretch> = Vec::new();
    for meta in part.blocks().iter().filter(|meta| meta.step.is_some()) {
        let mut found = Vec::new();
        if !sum_up_closed(connection, meta, step, from, to, &mut found)? {
            coarser = coarser.max(meta.step);
        }
        stretches.extend(found.into_iter().map(|bucket| {
            let end = bucket.at.plus_micros(step.micros() - 1);
            Stretch { first_at: bucket.at.max(meta.first_at), last_at: end.min(meta.last_at), bucket }
        }));
    }
    let points = part.open(connection, kind)?;
    let mut found = Vec::new();
    points.sum_up(points.range(from, to), step, &mut found);
    stretches.extend(found.into_iter().map(|bucket| {
        let range = points.range(bucket.at, bucket.at.plus_micros(step.micros()));
        let time = |place: usize| points.times().get(place).map_or(bucket.at, |at| Timestamp(*at));
        Stretch { first_at: time(range.start), last_at: time(range.end.saturating_sub(1)), bucket }
    }));
    // Stable: of equal times what was stored first stays first.
    stretches.sort_by_key(|stretch| stretch.bucket.at);
    let mut open: Option<Stretch> = None;
    for stretch in stretches {
        match &mut open {
            Some(open) if open.bucket.at == stretch.bucket.at => open.merge(&stretch),
            _ => {
                if let Some(done) = open.replace(stretch) {
                    points::add(buckets, &done.bucket);
                }
            }
        }
    }
    if let Some(done) = open {
        points::add(buckets, &done.bucket);
    }
    Ok(coarser)
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
    /// What is in no block.
    loose: Points,
}

/// A stretch of time in which nothing else lies.
enum Part<'a> {
    /// One block alone.
    Block(&'a Meta),
    /// Blocks that overlap, and the readings among them that are in no block.
    Mixed(&'a [Meta], Points),
}

impl Part<'_> {
    fn blocks(&self) -> &[Meta] {
        match self {
            Self::Block(meta) => std::slice::from_ref(meta),
            Self::Mixed(blocks, _) => blocks,
        }
    }

    /// The readings that are there, in the order of their times, each time once.
    fn open(&self, connection: &Connection, kind: Kind) -> Result<Points, StoreError> {
        match self {
            Self::Block(meta) if meta.step.is_some() => Ok(Points::new(kind)),
            Self::Block(meta) => block::read(connection, meta, kind),
            Self::Mixed(blocks, loose) => {
                let mut ordered: Vec<&Meta> = blocks.iter().filter(|meta| meta.step.is_none()).collect();
                ordered.sort_by_key(|meta| meta.position);
                let mut points = Points::new(kind);
                for meta in ordered {
                    points.append(block::read(connection, meta, kind)?)?;
                }
                points.append(loose.clone())?;
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
            return Ok(Self { kind, position, blocks: Vec::new(), loose: Points::new(kind) });
        }
        let through = block::sealed_through(connection)?;
        let blocks = block::find(connection, series, from, to, through)?;
        let loose = shelf::read_with_hot(connection, hot, (series, kind), (from, to), through)?;
        Ok(Self { kind, position, blocks, loose })
    }

    /// Goes through all parts in the order of time until `visit` has enough.
    fn parts(&self, mut visit: impl FnMut(Part<'_>) -> Result<bool, StoreError>) -> Result<(), StoreError> {
        let mut blocks = &self.blocks[..];
        let mut loose = 0;
        while let Some(first) = blocks.first() {
            let (overlapping, last_at) = overlapping(blocks);
            let before = self.loose.range(Timestamp(i64::MIN), first.first_at).end;
            if before > loose && !visit(Part::Mixed(&[], self.loose.slice(loose..before)))? {
                return Ok(());
            }
            let among = self.loose.range(Timestamp(i64::MIN), last_at.plus_micros(1)).end;
            let part = match (overlapping, among > before) {
                ([meta], false) => Part::Block(meta),
                _ => Part::Mixed(overlapping, self.loose.slice(before..among)),
            };
            if !visit(part)? {
                return Ok(());
            }
            loose = among;
            blocks = &blocks[overlapping.len()..];
        }
        if loose < self.loose.len() {
            visit(Part::Mixed(&[], self.loose.slice(loose..self.loose.len())))?;
        }
        Ok(())
    }
}

/// The first blocks, by their first time, that overlap each other, and the last time in them.
pub(crate) fn overlapping(blocks: &[Meta]) -> (&[Meta], Timestamp) {
    let mut last_at = Timestamp(i64::MIN);
    for (place, meta) in blocks.iter().enumerate() {
        if place > 0 && meta.first_at > last_at {
            return (&blocks[..place], last_at);
        }
        last_at = last_at.max(meta.last_at);
    }
    (blocks, last_at)
}
