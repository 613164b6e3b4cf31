//! A connection that can only read, and what it tells of the database as a whole.

use std::cell::RefCell;
use std::path::Path;

use protocol::{Position, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::StoreError;
use crate::hot::Hot;
use crate::types::{Since, Stats};
use crate::{block, hot_row, row, schema, writer};

/// A reading end of the database. Each thread that asks has its own.
#[derive(Debug)]
pub struct Reader {
    pub(crate) connection: Connection,
    hot: RefCell<Hot>,
}

impl Reader {
    /// Opens a database that a [`Writer`](crate::Writer) has opened before.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: schema::open_reader(path)?, hot: RefCell::default() })
    }

    /// Runs `work` on one consistent state of the file.
    pub(crate) fn snapshot<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Dropping it ends it; there is nothing to commit.
        let transaction = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)?;
        work(&transaction)
    }

    /// Runs `work` on one consistent state of the file, with the hot rows of that state.
    pub(crate) fn snapshot_with_hot<T>(
        &self,
        work: impl FnOnce(&Connection, &Hot) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.snapshot(|connection| {
            let mut hot = self.hot.borrow_mut();
            hot.refresh(connection)?;
            work(connection, &hot)
        })
    }

    /// What was committed after a position, at most `limit` readings.
    pub fn since(&self, after: Position, limit: usize) -> Result<Since, StoreError> {
        self.snapshot(|connection| {
            if after < block::sealed_through(connection)? || after > writer::last_position(connection)? {
                return Ok(Since::Gone);
            }
            let mut rows = Vec::new();
            hot_row::visit(connection, after, |found| {
                let wanted = limit - rows.len();
                rows.extend(found.after(after.0)?.take(wanted).map(|(at, row)| (Position(at), row)));
                Ok::<_, StoreError>(rows.len() < limit)
            })?;
            let last = rows.last().map_or(after, |(position, _)| *position);
            Ok(Since::Rows { rows, last })
        })
    }

    /// The position of the last committed reading.
    pub fn position(&self) -> Result<Position, StoreError> {
        self.snapshot(writer::last_position)
    }

    /// The database in numbers. Costs a look at each device and series, not at each block.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        self.snapshot_with_hot(|connection, hot| {
            let count = |sql: &str| -> Result<u64, StoreError> {
                row::count(connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
            };
            let through = block::sealed_through(connection)?;
            let last = writer::last_position(connection)?;
            let conflicts = count("SELECT coalesce(sum(conflicts), 0) FROM series")?;
            let removed = count("SELECT coalesce(sum(removed), 0) FROM series")?;
            let damaged = count("SELECT coalesce(sum(count), 0) FROM damaged")?;
            let oldest: Option<i64> = connection
                .prepare_cached(
                    "SELECT min((SELECT first_at FROM block
                                 WHERE block.series_id = series.series_id AND position <= ?1
                                 ORDER BY first_at LIMIT 1)) FROM series",
                )?
                .query_row([through.0], |row| row.get(0))?;
            let bundled: Option<i64> = connection
                .prepare_cached("SELECT min(first_at) FROM bundle WHERE position <= ?1")?
                .query_row([through.0], |row| row.get(0))?;
            let newest: Option<i64> = connection
                .prepare_cached("SELECT max(latest_at) FROM series")?
                .query_row([], |row| row.get(0))?;
            let (hot_oldest, hot_newest) = hot.span().unzip();
            Ok(Stats {
                devices: count("SELECT count(*) FROM device")?,
                series: count("SELECT count(*) FROM series")?,
                // Positions count readings: none is left out and none is used twice.
                readings: row::count(last.0)?.saturating_sub(conflicts + removed + damaged),
                hot: row::count(hot_row::count_after(connection, through)?)?,
                conflicts,
                removed,
                thinned: count("SELECT coalesce(sum(thinned), 0) FROM series")?,
                damaged,
                file_bytes: count("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")?,
                oldest: hot_oldest.into_iter().chain(oldest.into_iter().chain(bundled).map(Timestamp)).min(),
                newest: hot_newest.into_iter().chain(newest.map(Timestamp)).max(),
            })
        })
    }
}
