//! Sealed readings: blocks, and the line between them and the hot rows.

use protocol::{Position, SeriesId, Timestamp};
use rusqlite::Connection;

use crate::error::StoreError;
use crate::history::Part;

/// The highest position that is in a block; every later reading is a hot row.
pub(crate) fn sealed_through(connection: &Connection) -> Result<Position, StoreError> {
    let through = connection.prepare_cached("SELECT through FROM sealed")?.query_row([], |row| row.get(0))?;
    Ok(Position(through))
}

/// Clears away what a seal that was interrupted has left.
#[expect(clippy::unnecessary_wraps, reason = "sealing comes next")]
pub(crate) fn recover(_connection: &Connection) -> Result<(), StoreError> {
    Ok(())
}

/// The blocks of a series that may hold readings between two times.
#[expect(clippy::unnecessary_wraps, reason = "sealing comes next")]
pub(crate) fn parts(
    _connection: &Connection,
    _series: SeriesId,
    _from: Timestamp,
    _to: Timestamp,
    _through: Position,
) -> Result<Vec<Part>, StoreError> {
    Ok(Vec::new())
}
