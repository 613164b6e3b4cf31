//! When devices were connected and why they were not any more: the last connections of each, as many as are to be kept.

use protocol::viewer::{ConnectionEnd, ConnectionInfo, EndedBy};
use protocol::{DeviceId, Timestamp};
use rusqlite::Connection;

use crate::error::StoreError;
use crate::reader::Reader;
use crate::types::{ConnectionEvent, ConnectionNote};
use crate::writer::{Commit, Writer};

/// What is said of connections that were open when the hub was killed.
const KILLED: &str = "the hub ended without a word";

impl Writer {
    /// Writes down what has happened to connections, and when devices were last heard, all in one transaction that is
    /// not synced: a power cut may take the last of it back. Unknown devices are passed over. Of each device so many
    /// connections are kept; returns how many older ones were forgotten.
    pub fn note_connections(&mut self, notes: &[ConnectionNote], keep: usize) -> Result<usize, StoreError> {
        if notes.is_empty() {
            return Ok(0);
        }
        self.link.transact(Commit::Lazy, |connection| {
            let mut forgotten = 0;
            for note in notes {
                forgotten += write(connection, note, keep)?;
            }
            Ok(forgotten)
        })
    }
}

/// Returns how many connections were forgotten for it.
fn write(connection: &Connection, note: &ConnectionNote, keep: usize) -> Result<usize, StoreError> {
    let mut forgotten = 0;
    let ConnectionNote { device, session, at, event } = note;
    match event {
        ConnectionEvent::Opened { address } => {
            connection
                .prepare_cached(
                    "INSERT INTO connection (device_key, session, address, opened_at)
                     SELECT device_key, ?2, ?3, ?4 FROM device WHERE device_key = ?1",
                )?
                .execute((device.0, session, address, at.0))?;
            forgotten = connection
                .prepare_cached(
                    "DELETE FROM connection WHERE device_key = ?1 AND connection_key <= (
                         SELECT connection_key FROM connection WHERE device_key = ?1
                         ORDER BY connection_key DESC LIMIT 1 OFFSET ?2)",
                )?
                .execute((device.0, keep as i64))?;
        }
        ConnectionEvent::Ended { by, code, reason, last_seen } => {
            connection
                .prepare_cached(
                    "UPDATE connection SET closed_at = ?3, ended_by = ?4, code = ?5, reason = nullif(?6, '')
                     WHERE device_key = ?1 AND session = ?2 AND ended_by IS NULL",
                )?
                .execute((device.0, session, at.0, by.as_str(), code, reason))?;
            if let Some(seen) = last_seen {
                connection
                    .prepare_cached("UPDATE device SET last_seen = ?2 WHERE device_key = ?1")?
                    .execute((device.0, seen.0))?;
            }
        }
    }
    Ok(forgotten)
}

/// Ends what was open when the hub was killed: nobody knows when that was.
pub(crate) fn recover(connection: &Connection) -> Result<(), StoreError> {
    connection
        .execute("UPDATE connection SET ended_by = 'lost', reason = ?1 WHERE ended_by IS NULL", [KILLED])?;
    Ok(())
}

impl Reader {
    /// The last connections of a device, newest first; `None` for an unknown device.
    pub fn connections(&self, device: &DeviceId) -> Result<Option<Vec<ConnectionInfo>>, StoreError> {
        self.snapshot(|connection| {
            let Some(key) = crate::device::find_device(connection, device)? else { return Ok(None) };
            let mut statement = connection.prepare_cached(
                "SELECT session, address, opened_at, closed_at, ended_by, code, reason FROM connection
                 WHERE device_key = ?1 ORDER BY connection_key DESC",
            )?;
            let mut rows = statement.query([key.0])?;
            let mut connections = Vec::new();
            while let Some(row) = rows.next()? {
                connections.push(read(row)?);
            }
            Ok(Some(connections))
        })
    }
}

fn code_of(stored: i64) -> Result<u16, StoreError> {
    u16::try_from(stored).map_err(|_| StoreError::corrupt(format!("a close code of {stored}")))
}

fn read(row: &rusqlite::Row<'_>) -> Result<ConnectionInfo, StoreError> {
    let by: Option<String> = row.get(4)?;
    let end = by
        .map(|by| {
            let by = EndedBy::ALL
                .into_iter()
                .find(|known| known.as_str() == by)
                .ok_or_else(|| StoreError::corrupt(format!("a connection that was ended by {by:?}")))?;
            let code: Option<i64> = row.get(5)?;
            let at: Option<i64> = row.get(3)?;
            Ok::<_, StoreError>(ConnectionEnd {
                at: at.map(Timestamp),
                by,
                code: code.map(code_of).transpose()?,
                reason: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
            })
        })
        .transpose()?;
    Ok(ConnectionInfo { session: row.get(0)?, address: row.get(1)?, opened_at: Timestamp(row.get(2)?), end })
}
