//! How long hubs have run on this file, and how long ago readings were taken in by that measure.
//!
//! Blocks do not hold when their readings were received. Marks do, for all series at once: a position, and how long the hub
//! had run when it was reached. So a block is at least as old as the first mark at or after its position.
//!
//! Time during which no hub runs does not count, nor does what a kill takes back, some minutes at most: readings are then
//! kept longer, never shorter.

use std::time::Duration;

use protocol::Step;
use rusqlite::{Connection, OptionalExtension};

use super::rules::{Rules, micros};
use crate::error::StoreError;

/// How often the time is written, in microseconds.
const WRITE_INTERVAL: i64 = Step::M5.micros();

/// The time that hubs have run, in microseconds.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) ran: i64,
    /// As much of it stands in the file.
    written: i64,
    /// Position and time of the last mark.
    mark: (i64, i64),
}

impl Running {
    pub(super) fn read(connection: &Connection) -> Result<Self, StoreError> {
        let ran: i64 = connection.query_row("SELECT ran FROM running", [], |row| row.get(0))?;
        if ran < 0 {
            return Err(StoreError::corrupt(format!("hubs have run {ran} microseconds")));
        }
        let mark: Option<(i64, i64)> = connection
            .query_row("SELECT position, ran FROM mark ORDER BY position DESC LIMIT 1", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        Ok(Self { ran, written: ran, mark: mark.unwrap_or_default() })
    }

    pub(super) fn advance(&mut self, elapsed: Duration) {
        self.ran = self.ran.saturating_add(micros(elapsed));
    }

    /// Whether something is to be written.
    pub(super) fn is_due(&self, interval: i64, last: i64) -> bool {
        self.ran - self.written >= WRITE_INTERVAL.min(interval) || self.is_mark_due(interval, last)
    }

    fn is_mark_due(&self, interval: i64, last: i64) -> bool {
        last > self.mark.0 && self.ran - self.mark.1 >= interval
    }

    /// Writes the time, and a mark if there is something new; forgets marks that nothing asks for any more.
    pub(super) fn note(
        &mut self,
        connection: &Connection,
        rules: &Rules,
        last: i64,
    ) -> Result<(), StoreError> {
        connection.prepare_cached("UPDATE running SET ran = ?1")?.execute([self.ran])?;
        if self.is_mark_due(rules.mark_interval(), last) {
            connection
                .prepare_cached("INSERT OR IGNORE INTO mark (position, ran) VALUES (?1, ?2)")?
                .execute((last, self.ran))?;
            if let Some(longest) = rules.longest() {
                let oldest = self.received_before(connection, longest)?;
                connection.prepare_cached("DELETE FROM mark WHERE position < ?1")?.execute([oldest])?;
            }
            self.mark = (last, self.ran);
        }
        self.written = self.ran;
        Ok(())
    }

    /// Everything up to this position was received more than `age` of running time ago.
    pub(super) fn received_before(&self, connection: &Connection, age: i64) -> Result<i64, StoreError> {
        let position = connection
            .prepare_cached("SELECT position FROM mark WHERE ran < ?1 ORDER BY position DESC LIMIT 1")?
            .query_row([self.ran.saturating_sub(age)], |row| row.get(0))
            .optional()?;
        Ok(position.unwrap_or(0))
    }
}
