//! The newest reading of each series, by the time at which it was observed: of all, or of those up to a time.
//!
//! The latest sealed one stands with the series; the hot rows may hold a later one. For an earlier time the blocks of the
//! last day that began before it are looked at: no block reaches beyond its day, so no earlier day can hold a later
//! reading. A block that ended by then is answered from its row; only one that spans the time is opened. What is in bundles
//! comes to that.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use protocol::{Kind, Position, SeriesId, Step, Timestamp, Value};
use rusqlite::Connection;

use crate::block::shelf;
use crate::error::StoreError;
use crate::reader::Reader;
use crate::types::{Latest, Row};
use crate::{block, row, writer};

impl Reader {
    /// The reading with the latest time of each series that has any. Of two at the same time the first stored counts.
    pub fn latest(&self) -> Result<Latest, StoreError> {
        self.snapshot_with_hot(|connection, hot| {
            let position = writer::last_position(connection)?;
            let mut newest: BTreeMap<SeriesId, Row> = BTreeMap::new();
            let mut statement = connection.prepare_cached(
                "SELECT series_id, latest_at, latest FROM series WHERE latest_at IS NOT NULL",
            )?;
            let mut rows = statement.query([])?;
            while let Some(found) = rows.next()? {
                let (series, at) = (SeriesId(found.get(0)?), Timestamp(found.get(1)?));
                newest.insert(series, Row { series, at, value: row::value(found.get_ref(2)?)? });
            }
            for row in hot.latest()? {
                match newest.entry(row.series) {
                    Entry::Occupied(mut entry) if row.at > entry.get().at => drop(entry.insert(row)),
                    Entry::Occupied(_) => {}
                    Entry::Vacant(entry) => drop(entry.insert(row)),
                }
            }
            Ok(Latest { position, readings: newest.into_values().collect() })
        })
    }

    /// The reading with the latest time up to `at`, inclusive, of each series that has any; of the series named, which
    /// ascend, or of all. Of two at the same time the first stored counts.
    ///
    /// Where retention has left only statistics around `at`, the first reading of that stretch stands for it.
    pub fn as_of(&self, at: Timestamp, only: Option<&[SeriesId]>) -> Result<Latest, StoreError> {
        self.snapshot_with_hot(|connection, hot| {
            let position = writer::last_position(connection)?;
            let through = block::sealed_through(connection)?;
            let mut statement = connection
                .prepare_cached("SELECT series_id, kind, latest_at, latest FROM series ORDER BY series_id")?;
            let mut rows = statement.query([])?;
            let mut bundles = shelf::Walk::new(connection, through);
            let mut readings = Vec::new();
            while let Some(found) = rows.next()? {
                let series = SeriesId(found.get(0)?);
                if only.is_some_and(|only| only.binary_search(&series).is_err()) {
                    continue;
                }
                let sealed = match found.get::<_, Option<i64>>(2)?.map(Timestamp) {
                    None => None,
                    Some(latest) if latest <= at => Some((latest, row::value(found.get_ref(3)?)?)),
                    Some(_) => {
                        let kind = row::kind(found.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
                        let in_blocks = sealed_as_of(connection, (series, kind), at, through)?;
                        later(in_blocks, bundles.as_of(series, at)?)
                    }
                };
                let best = later(sealed, hot.as_of(series, at)?);
                readings.extend(best.map(|(at, value)| Row { series, at, value }));
            }
            Ok(Latest { position, readings })
        })
    }
}

/// The later of two readings; at the same time the first one, which was stored first.
fn later(
    first: Option<(Timestamp, Value)>,
    second: Option<(Timestamp, Value)>,
) -> Option<(Timestamp, Value)> {
    match (first, second) {
        (Some(first), Some(second)) if second.0 > first.0 => Some(second),
        (Some(first), _) => Some(first),
        (None, second) => second,
    }
}

/// The latest reading up to `at` in the blocks of a series.
fn sealed_as_of(
    connection: &Connection,
    (series, kind): (SeriesId, Kind),
    at: Timestamp,
    through: Position,
) -> Result<Option<(Timestamp, Value)>, StoreError> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {} FROM block WHERE series_id = ?1 AND first_at <= ?2 AND position <= ?3 ORDER BY first_at DESC",
        block::COLUMNS
    ))?;
    let mut rows = statement.query((series.0, at.0, through.0))?;
    let mut best: Option<(Timestamp, i64, Value)> = None;
    let mut offer = |at: Timestamp, position: i64, value: Value| {
        let later =
            |(best, before, _): &(Timestamp, i64, Value)| at > *best || at == *best && position < *before;
        if best.as_ref().is_none_or(later) {
            best = Some((at, position, value));
        }
    };
    let mut day = None;
    let mut spanning = Vec::new();
    while let Some(found) = rows.next()? {
        let meta = block::read_meta(found)?;
        let of_block = Step::D1.floor(meta.first_at);
        if *day.get_or_insert(of_block) != of_block {
            break;
        }
        if meta.last_at <= at {
            offer(meta.last_at, meta.position, row::value(found.get_ref(10)?)?);
        } else if meta.step.is_some() {
            offer(meta.first_at, meta.position, row::value(found.get_ref(9)?)?);
        } else {
            spanning.push(meta);
        }
    }
    for meta in spanning {
        let points = block::read(connection, &meta, kind)?;
        let upto = points.range(Timestamp(i64::MIN), at.plus_micros(1)).end;
        if let Some((at, value)) = points.get(upto.wrapping_sub(1)) {
            offer(at, meta.position, value);
        }
    }
    Ok(best.map(|(at, _, value)| (at, value)))
}
