//! The newest reading of each series, by the time at which it was observed.
//!
//! The latest sealed one stands with the series; the hot rows may hold a later one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use protocol::{SeriesId, Timestamp};

use crate::error::StoreError;
use crate::reader::Reader;
use crate::types::{Latest, Row};
use crate::{row, writer};

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
}
