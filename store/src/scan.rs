//! All readings of one series between two times, part by part, in bounded memory.
//!
//! For whoever goes through more than fits in memory: export, SQL. Each part is read from a state of the file of its
//! own, so that a scan of a year holds up neither checkpoints nor sealing, and to stop is to ask no more. What was
//! acknowledged before the scan began is in it, each reading once, in the order of time: sealing and merging move
//! readings, but never to another time. What comes in while it runs is in it only if it lies in a later part; readings
//! of which retention has left only statistics are not in it.

use protocol::{SeriesId, Timestamp, Value};

use crate::block::{self, Meta, shelf};
use crate::error::StoreError;
use crate::history::kind_of;
use crate::points::Points;
use crate::reader::Reader;

/// Readings after which a part ends, at the next border of a block. Chosen: a few MiB, and a few blocks a snapshot.
const PART: usize = 50_000;

/// Where a scan is.
///
/// A part holds as many readings as it was asked for, rounded up to whole blocks. All blocks that hold one moment are
/// open at once, which are several only where readings came late; hot readings the [`Reader`] remembers anyway.
#[derive(Debug, Clone)]
pub struct Scan {
    series: SeriesId,
    /// Everything before was returned.
    next: Timestamp,
    end: Timestamp,
    part: usize,
}

impl Scan {
    /// Begins at `from` (inclusive) and ends at `to` (exclusive).
    pub const fn new(series: SeriesId, from: Timestamp, to: Timestamp) -> Self {
        Self { series, next: from, end: to, part: PART }
    }

    /// Asks for parts of about this many readings. The default is 50 000.
    pub const fn with_part(self, readings: usize) -> Self {
        Self { part: readings, ..self }
    }

    /// Reads the next part: at least one reading, ascending in time, all later than those before. `None`: that was all.
    ///
    /// An unknown series is [`StoreError::NotFound`]. After an error the same part is tried again.
    pub fn next(&mut self, reader: &Reader) -> Result<Option<Vec<(Timestamp, Value)>>, StoreError> {
        while self.next < self.end {
            let (points, end) = self.read(reader)?;
            self.next = end;
            if points.len() > 0 {
                return Ok(Some(points.iter(0..points.len()).collect()));
            }
        }
        Ok(None)
    }

    /// The readings of the next part, and where it ends.
    fn read(&self, reader: &Reader) -> Result<(Points, Timestamp), StoreError> {
        reader.snapshot_with_hot(|connection, hot| {
            let kind = kind_of(connection, self.series)?;
            let through = block::sealed_through(connection)?;
            let (mut blocks, mut count, mut end): (Vec<Meta>, usize, Timestamp) = (Vec::new(), 0, self.end);
            block::visit(connection, self.series, self.next, self.end, through, |meta| {
                // All further blocks begin here or later.
                let enough = count >= self.part && meta.first_at > self.next;
                if enough {
                    end = meta.first_at;
                } else if meta.step.is_none() {
                    count += meta.count;
                    blocks.push(meta);
                }
                Ok(!enough)
            })?;
            // Of readings at the same microsecond the first stored counts.
            blocks.sort_by_key(|meta| meta.position);
            let mut points = Points::new(kind);
            for meta in &blocks {
                let block = block::read(connection, meta, kind)?;
                points.append(block.slice(block.range(self.next, end)))?;
            }
            let times = (self.next, end);
            points.append(shelf::read_with_hot(connection, hot, (self.series, kind), times, through)?)?;
            points.tidy();
            Ok((points, end))
        })
    }
}
