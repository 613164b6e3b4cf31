//! Shelves: the bundles of neighbouring series, between the hot rows and the blocks.
//!
//! A block costs two rows and, because blocks stand by series, pages of their own. Where a run of sealing brings ten
//! readings for each of a hundred thousand series, that would be many times what the readings need. So sealing puts what is
//! too little for a block into a [`bundle`] with that of the neighbours on the shelf. Merging makes one large bundle out of
//! many small ones, and blocks out of a shelf that has enough ([`merge_shelf`](super::merge_shelf)).
//!
//! What a series has in bundles was stored after all that it has in blocks, and what is in a bundle after what is in the
//! bundles of lower positions. So of two readings at the same microsecond the first stored is found by going through
//! blocks, then bundles by position, then hot rows.

use protocol::{Kind, Position, SeriesId, Timestamp, Value};
use rusqlite::Connection;

use super::bundle::{self, Pieces, SHELF};
use super::codec;
use crate::error::StoreError;
use crate::hot::Hot;
use crate::points::Points;

/// Most readings in a bundle: as many as make blocks of a shelf.
pub(crate) const BUNDLE_MAX: usize = 32_768;

/// The shelf of a series.
pub(crate) const fn shelf_of(series: SeriesId) -> i64 {
    series.0.div_euclid(SHELF)
}

/// The bit that stands for a series among those of its shelf.
pub(crate) const fn bit_of(series: SeriesId) -> i64 {
    1 << series.0.rem_euclid(SHELF)
}

/// What is known of a bundle without opening it.
#[derive(Debug, Clone)]
pub(crate) struct Meta {
    pub(crate) id: i64,
    pub(crate) shelf: i64,
    /// The bits of the series in it.
    pub(crate) series: i64,
    pub(crate) position: i64,
    pub(crate) count: usize,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
}

/// The columns that [`read_meta`] wants, in this order, with the data behind them for [`open`].
pub(crate) const COLUMNS: &str = "bundle_id, shelf, series, position, count, first_at, last_at, data";

/// Reads a row of [`COLUMNS`].
pub(crate) fn read_meta(row: &rusqlite::Row<'_>) -> Result<Meta, StoreError> {
    let (id, count): (i64, i64) = (row.get(0)?, row.get(4)?);
    let meta = Meta {
        id,
        shelf: row.get(1)?,
        series: row.get(2)?,
        position: row.get(3)?,
        count: usize::try_from(count).unwrap_or(0),
        first_at: Timestamp(row.get(5)?),
        last_at: Timestamp(row.get(6)?),
    };
    let is_shelf = (0..i64::MAX / SHELF).contains(&meta.shelf);
    if is_shelf && (1..=codec::COUNT_MAX).contains(&meta.count) && meta.first_at <= meta.last_at {
        Ok(meta)
    } else {
        Err(StoreError::corrupt(format!("bundle {id} has an impossible shelf, times or count")))
    }
}

/// Opens a bundle, given its row of [`COLUMNS`]: every series in it with its readings.
pub(crate) fn open(meta: &Meta, row: &rusqlite::Row<'_>) -> Result<Pieces, StoreError> {
    let blob = row.get_ref(7)?.as_blob().map_err(|error| StoreError::corrupt(error.to_string()));
    let pieces =
        blob.and_then(|data| bundle::read(meta.shelf, data, meta.count)).map_err(|error| match error {
            StoreError::Corrupt(what) => StoreError::corrupt(format!("bundle {}: {what}", meta.id)),
            other => other,
        })?;
    if describe(&pieces) == Some((meta.series, meta.first_at, meta.last_at)) {
        Ok(pieces)
    } else {
        Err(StoreError::corrupt(format!("bundle {} has other series or times than it says", meta.id)))
    }
}

/// The bits of the series, and the earliest and the latest time.
fn describe(pieces: &[(SeriesId, Points)]) -> Option<(i64, Timestamp, Timestamp)> {
    let series = pieces.iter().map(|(series, _)| bit_of(*series)).sum();
    let first_at = pieces.iter().filter_map(|(_, points)| points.times().first()).min()?;
    let last_at = pieces.iter().filter_map(|(_, points)| points.times().last()).max()?;
    Some((series, Timestamp(*first_at), Timestamp(*last_at)))
}

/// Writes a bundle of the readings of one shelf; more than one if there are too many. `level` 0 is written quickly.
pub(crate) fn insert(
    connection: &Connection,
    level: i64,
    position: i64,
    pieces: Pieces,
) -> Result<(), StoreError> {
    let (mut open, mut count) = (Pieces::new(), 0);
    for (series, points) in pieces {
        let parts: Vec<Points> = if points.len() <= BUNDLE_MAX {
            vec![points]
        } else {
            let starts = (0..points.len()).step_by(BUNDLE_MAX);
            starts.map(|from| points.slice(from..points.len().min(from + BUNDLE_MAX))).collect()
        };
        for part in parts {
            if count + part.len() > BUNDLE_MAX {
                insert_row(connection, level, position, &std::mem::take(&mut open))?;
                count = 0;
            }
            count += part.len();
            open.push((series, part));
        }
    }
    insert_row(connection, level, position, &open)
}

fn insert_row(
    connection: &Connection,
    level: i64,
    position: i64,
    pieces: &[(SeriesId, Points)],
) -> Result<(), StoreError> {
    let (Some((first, _)), Some((series, first_at, last_at))) = (pieces.first(), describe(pieces)) else {
        return Ok(());
    };
    let shelf = shelf_of(*first);
    let count: usize = pieces.iter().map(|(_, points)| points.len()).sum();
    let data = bundle::write(shelf, pieces, level == 0);
    connection
        .prepare_cached(
            "INSERT INTO bundle (shelf, series, position, level, count, first_at, last_at, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((shelf, series, position, level, count as i64, first_at.0, last_at.0, data))?;
    Ok(())
}

/// The bits of the series of a shelf that have readings in bundles.
pub(crate) fn series_in_bundles(connection: &Connection, shelf: i64) -> Result<i64, StoreError> {
    let mut statement = connection.prepare_cached("SELECT series FROM bundle WHERE shelf = ?1")?;
    let mut rows = statement.query([shelf])?;
    let mut series = 0;
    while let Some(row) = rows.next()? {
        series |= row.get::<_, i64>(0)?;
    }
    Ok(series)
}

/// The readings of a series between two times that are in no block, those in bundles and the hot ones: in order, each time
/// once.
pub(crate) fn read_with_hot(
    connection: &Connection,
    hot: &Hot,
    (series, kind): (SeriesId, Kind),
    (from, to): (Timestamp, Timestamp),
    through: Position,
) -> Result<Points, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {COLUMNS} FROM bundle
         WHERE shelf = ?1 AND series & ?2 AND position <= ?3 AND first_at < ?4 AND last_at >= ?5 ORDER BY position"
    ))?;
    let mut rows = statement.query((shelf_of(series), bit_of(series), through.0, to.0, from.0))?;
    let mut points = Points::new(kind);
    while let Some(row) = rows.next()? {
        let pieces = open(&read_meta(row)?, row)?;
        for (_, piece) in pieces.into_iter().filter(|(of, _)| *of == series) {
            points.append(piece.slice(piece.range(from, to)))?;
        }
    }
    points.append(hot.points(series, kind, from, to)?)?;
    points.tidy();
    Ok(points)
}

/// A bundle, and what is in it once that was asked for.
type Entry = (Meta, Option<Pieces>);

/// The bundles of one shelf after the other, for questions about many series: each is opened once for its neighbours.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    connection: &'a Connection,
    through: Position,
    shelf: i64,
    /// Of that shelf, those that end last first.
    bundles: Vec<Entry>,
}

impl<'a> Walk<'a> {
    /// Begins before the first shelf.
    pub(crate) const fn new(connection: &'a Connection, through: Position) -> Self {
        Self { connection, through, shelf: -1, bundles: Vec::new() }
    }

    fn turn_to(&mut self, shelf: i64) -> Result<(), StoreError> {
        if self.shelf == shelf {
            return Ok(());
        }
        // Should it fail, this is no shelf at all.
        self.shelf = -1;
        self.bundles.clear();
        let mut statement = self.connection.prepare_cached(
            "SELECT bundle_id, shelf, series, position, count, first_at, last_at FROM bundle
             WHERE shelf = ?1 AND position <= ?2 ORDER BY last_at DESC",
        )?;
        let mut rows = statement.query((shelf, self.through.0))?;
        while let Some(row) = rows.next()? {
            self.bundles.push((read_meta(row)?, None));
        }
        self.shelf = shelf;
        Ok(())
    }

    /// The latest reading of a series up to `at` that is in bundles. Of two at the same time the first stored counts.
    pub(crate) fn as_of(
        &mut self,
        series: SeriesId,
        at: Timestamp,
    ) -> Result<Option<(Timestamp, Value)>, StoreError> {
        self.turn_to(shelf_of(series))?;
        let mut best: Option<(Timestamp, i64, Value)> = None;
        for entry in &mut self.bundles {
            if best.as_ref().is_some_and(|(best, _, _)| entry.0.last_at < *best) {
                break;
            }
            if entry.0.first_at > at {
                continue;
            }
            let position = entry.0.position;
            let Some(points) = opened(self.connection, entry, series)? else { continue };
            let upto = points.range(Timestamp(i64::MIN), at.plus_micros(1)).end;
            let Some((at, value)) = points.get(upto.wrapping_sub(1)) else { continue };
            let is_better =
                |(best, before, _): &(Timestamp, i64, Value)| at > *best || at == *best && position < *before;
            if best.as_ref().is_none_or(is_better) {
                best = Some((at, position, value));
            }
        }
        Ok(best.map(|(at, _, value)| (at, value)))
    }

    /// How many readings a series has in bundles, and their earliest and latest time.
    pub(crate) fn count(
        &mut self,
        series: SeriesId,
    ) -> Result<(u64, Option<(Timestamp, Timestamp)>), StoreError> {
        self.turn_to(shelf_of(series))?;
        let (mut count, mut first, mut last) = (0, None, None);
        for entry in &mut self.bundles {
            let Some(points) = opened(self.connection, entry, series)? else { continue };
            count += points.len() as u64;
            first = first.into_iter().chain(points.times().first().copied()).min();
            last = last.max(points.times().last().copied());
        }
        Ok((count, first.map(Timestamp).zip(last.map(Timestamp))))
    }
}

/// The readings of a series in a bundle, if it has any.
fn opened<'e>(
    connection: &Connection,
    (meta, pieces): &'e mut Entry,
    series: SeriesId,
) -> Result<Option<&'e Points>, StoreError> {
    if meta.series & bit_of(series) == 0 {
        return Ok(None);
    }
    let pieces = match pieces {
        Some(pieces) => pieces,
        None => {
            let mut statement =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM bundle WHERE bundle_id = ?1"))?;
            let mut rows = statement.query([meta.id])?;
            let row = rows.next()?;
            pieces.insert(row.map_or_else(|| Ok(Pieces::new()), |row| open(meta, row))?)
        }
    };
    Ok(pieces.iter().find(|(of, _)| *of == series).map(|(_, points)| points))
}
