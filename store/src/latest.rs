//! The newest reading of each series, by the time at which it was observed.
//!
//! The latest sealed one stands with the series; the hot rows may hold a later one.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use protocol::{SeriesId, Timestamp};

use crate::error::StoreError;
use crate::reader::Reader;
use crate::types::{Latest, Row};
use crate::{block, row, writer};

impl Reader {
    /// The reading with the latest time of each series that has any. Of two at the same time the first stored counts.
    pub fn latest(&self) -> Result<Latest, StoreError> {
        self.snapshot(|connection| {
            let through = block::sealed_through(connection)?;
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
            let mut statement = connection.prepare_cached(
                "SELECT series_id, observed_at, value FROM reading WHERE position > ?1 ORDER BY position",
            )?;
            let mut rows = statement.query([through.0])?;
            while let Some(found) = rows.next()? {
                let (series, at) = (SeriesId(found.get(0)?), Timestamp(found.get(1)?));
                match newest.entry(series) {
                    Entry::Occupied(mut entry) => {
                        if at > entry.get().at {
                            entry.insert(Row { series, at, value: row::value(found.get_ref(2)?)? });
                        }
                    }
                    Entry::Vacant(entry) => {
                        entry.insert(Row { series, at, value: row::value(found.get_ref(2)?)? });
                    }
                }
            }
            Ok(Latest { position, readings: newest.into_values().collect() })
        })
    }
}
