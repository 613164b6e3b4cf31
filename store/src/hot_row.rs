//! The rows of the table `hot`: the readings that one commit appended, in the order of their positions.
//!
//! One row for a commit and not one for each reading, so that an acknowledgement waits for as few bytes as can be, and
//! JSON, so that any SQLite tool can read it (the view `reading` of `schema.sql` does). See
//! `docs/decisions/0016-a-commit-is-a-row.md`. Each row carries a checksum, because these are the only copy of what was
//! acknowledged: a damaged one is put aside when the database is opened, and never served.

use protocol::{Kind, Position, SeriesId, Timestamp, Value};
use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};
use serde::Serializer as _;

use crate::error::StoreError;
use crate::recent::Recent;
use crate::row;
use crate::types::Row;
use crate::writer::Memory;

/// Readings of a row at most; a larger commit makes several. Chosen: some 80 kB, so that whoever wants a few readings does
/// not read megabytes, and far more than the readings that share the cost of a row.
const READINGS_MAX: usize = 4_096;

const SELECT: &str =
    "SELECT position, count, received_at, readings, checksum FROM hot WHERE position > ?1 ORDER BY position";

/// One reading as it stands in the text: series, time from `received_at` on in microseconds, value.
type Item = (i64, i64, Value);

/// Adds readings, which take the positions from `first` on.
pub(crate) fn insert(
    connection: &Connection,
    memory: &Memory,
    rows: &[&Row],
    received_at: Timestamp,
    first: i64,
) -> Result<(), StoreError> {
    for row in rows {
        let kind = memory.kind(row.series).ok_or(StoreError::NotFound("series"))?;
        row::check(row.at, &row.value, kind)?;
    }
    let mut statement = connection.prepare_cached(
        "INSERT INTO hot (position, count, received_at, readings, checksum) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut last = first - 1;
    let mut text = Vec::with_capacity(rows.len().min(READINGS_MAX) * 24);
    for rows in rows.chunks(READINGS_MAX) {
        last += rows.len() as i64;
        text.clear();
        let items = rows.iter().map(|row| (row.series.0, row.at.0.wrapping_sub(received_at.0), &row.value));
        serde_json::Serializer::new(&mut text)
            .collect_seq(items)
            .map_err(|error| StoreError::Invalid(error.to_string()))?;
        let checksum = checksum(last, rows.len() as i64, received_at.0, &text);
        statement.execute((
            last,
            rows.len() as i64,
            received_at.0,
            ToSqlOutput::Borrowed(ValueRef::Text(&text)),
            checksum,
        ))?;
    }
    Ok(())
}

/// CRC-32 (ISO-HDLC, as in zlib) of the three numbers, 8 bytes each with the lowest first, and the text.
fn checksum(position: i64, count: i64, received_at: i64, text: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for number in [position, count, received_at] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(text);
    hasher.finalize()
}

/// What one row holds.
#[derive(Debug)]
pub(crate) struct HotRow {
    /// Of its last reading.
    pub(crate) position: i64,
    /// Its readings, or what is wrong with it.
    pub(crate) readings: Result<Vec<Row>, StoreError>,
}

impl HotRow {
    fn read(found: &rusqlite::Row<'_>) -> Result<Self, StoreError> {
        Ok(Self { position: found.get(0)?, readings: read_readings(found) })
    }

    /// The readings with their positions, those after a position alone.
    pub(crate) fn after(self, after: i64) -> Result<impl Iterator<Item = (i64, Row)>, StoreError> {
        let readings = self.readings?;
        let first = self.position - readings.len() as i64 + 1;
        Ok((first..).zip(readings).skip_while(move |(position, _)| *position <= after))
    }
}

fn read_readings(found: &rusqlite::Row<'_>) -> Result<Vec<Row>, StoreError> {
    let corrupt = |what: &dyn std::fmt::Display| StoreError::corrupt(format!("hot readings: {what}"));
    let number = |column| found.get::<_, i64>(column).map_err(|error| corrupt(&error));
    let (position, count, received_at) = (number(0)?, number(1)?, number(2)?);
    let text = found.get_ref(3)?.as_bytes().map_err(|error| corrupt(&error))?;
    let expected = number(4)?;
    let found = checksum(position, count, received_at, text);
    if i64::from(found) != expected {
        return Err(corrupt(&format_args!(
            "those up to position {position} have checksum {found:08x}, and were written with {expected:08x}"
        )));
    }
    let items: Vec<Item> = serde_json::from_slice(text).map_err(|error| corrupt(&error))?;
    if items.len() as i64 != count {
        return Err(corrupt(&format_args!("{} up to position {position}, not {count}", items.len())));
    }
    let reading = |(series, offset, value): Item| Row {
        series: SeriesId(series),
        at: Timestamp(received_at.wrapping_add(offset)),
        value,
    };
    Ok(items.into_iter().map(reading).collect())
}

/// Shows `look` the rows that hold readings after a position, until it has enough.
pub(crate) fn visit<E: From<StoreError>>(
    connection: &Connection,
    after: Position,
    mut look: impl FnMut(HotRow) -> Result<bool, E>,
) -> Result<(), E> {
    let mut statement = connection.prepare_cached(SELECT).map_err(StoreError::from)?;
    let mut rows = statement.query([after.0]).map_err(StoreError::from)?;
    while let Some(found) = rows.next().map_err(StoreError::from)? {
        if !look(HotRow::read(found)?)? {
            break;
        }
    }
    Ok(())
}

/// Readings after a position that are there, damaged or not.
pub(crate) fn count_after(connection: &Connection, after: Position) -> Result<i64, StoreError> {
    let count = connection
        .prepare_cached("SELECT coalesce(sum(min(count, position - ?1)), 0) FROM hot WHERE position > ?1")?
        .query_row([after.0], |row| row.get(0))?;
    Ok(count)
}

/// Readings that were put aside after one position and up to another.
pub(crate) fn count_damaged(connection: &Connection, after: i64, upto: i64) -> Result<i64, StoreError> {
    let count = connection
        .prepare_cached(
            "SELECT coalesce(sum(min(position, ?2) - max(position - count, ?1)), 0) FROM damaged
             WHERE position > ?1 AND position - count < ?2",
        )?
        .query_row([after, upto], |row| row.get(0))?;
    Ok(count)
}

/// Reads all hot rows, as the database is opened, and remembers their readings. Rows that cannot be read, and positions
/// that are missing, are put aside in `damaged`.
pub(crate) fn recover(
    connection: &Connection,
    memory: &Memory,
    recent: &mut Recent,
    through: Position,
) -> Result<(), StoreError> {
    let mut done = through.0;
    let mut aside = Vec::new();
    recent.restart(done + 1);
    visit(connection, through, |found| {
        let (begin, position) = (std::mem::replace(&mut done, found.position), found.position);
        match found.readings.and_then(|readings| check(readings, memory, (begin, position), through)) {
            Ok(readings) => {
                let before = position - readings.len() as i64;
                if before > begin {
                    recent.restart(before + 1);
                    let known = count_damaged(connection, begin, before)?;
                    if before - begin > known {
                        aside.push((before, before - begin - known, None));
                    }
                }
                recent.push(readings.into_iter().skip(usize::try_from(begin - before).unwrap_or(0)));
            }
            Err(error) => {
                let known = count_damaged(connection, begin, position)?;
                aside.push((position, position - begin - known, Some(error.to_string())));
                recent.restart(position + 1);
            }
        }
        Ok::<_, StoreError>(true)
    })?;
    let damaged: i64 =
        connection.query_row("SELECT coalesce(max(position), 0) FROM damaged", [], |row| row.get(0))?;
    if damaged > done {
        recent.restart(damaged + 1);
    }
    for (position, count, problem) in aside {
        put_aside(connection, position, count, problem)?;
    }
    Ok(())
}

/// Sees that readings may be where they are: of a series that is there and of its kind, and none where another row has
/// one. Only the first row may begin before the line; what it has there is sealed.
fn check(
    readings: Vec<Row>,
    memory: &Memory,
    (begin, position): (i64, i64),
    through: Position,
) -> Result<Vec<Row>, StoreError> {
    if position - (readings.len() as i64) < begin && begin != through.0 {
        return Err(StoreError::corrupt(format!("hot readings: two have position {begin}")));
    }
    for reading in &readings {
        kind_of(reading, memory)?;
    }
    Ok(readings)
}

/// The kind of a reading's series, once it is seen that it may be one of that series.
pub(crate) fn kind_of(reading: &Row, memory: &Memory) -> Result<Kind, StoreError> {
    let series = reading.series.0;
    let kind = memory.kind(reading.series).ok_or_else(|| {
        StoreError::corrupt(format!("a hot reading of series {series}, which is not there"))
    })?;
    row::check(reading.at, &reading.value, kind).map_err(|error| StoreError::corrupt(error.to_string()))?;
    Ok(kind)
}

fn put_aside(
    connection: &Connection,
    position: i64,
    count: i64,
    problem: Option<String>,
) -> Result<(), StoreError> {
    let words = problem.as_deref().unwrap_or("they are missing");
    tracing::error!(position, count, problem = words, "hot readings are damaged, and put aside");
    if problem.is_some() {
        connection.execute(
            "INSERT INTO damaged (position, count, received_at, readings, checksum, problem)
             SELECT position, ?2, received_at, readings, checksum, ?3 FROM hot WHERE position = ?1",
            (position, count, words),
        )?;
        connection.execute("DELETE FROM hot WHERE position = ?1", [position])?;
    } else {
        connection.execute(
            "INSERT INTO damaged (position, count, problem) VALUES (?1, ?2, ?3)",
            (position, count, words),
        )?;
    }
    Ok(())
}

/// Deletes sealed rows, of about `max_readings` readings; returns whether there are more.
pub(crate) fn delete(
    connection: &Connection,
    through: Position,
    max_readings: usize,
) -> Result<bool, StoreError> {
    let Some(first) = first_sealed(connection, through)? else { return Ok(false) };
    let end = through.0.min(first.saturating_add(i64::try_from(max_readings).unwrap_or(i64::MAX) - 1));
    connection.prepare_cached("DELETE FROM hot WHERE position <= ?1")?.execute([end])?;
    Ok(first_sealed(connection, through)?.is_some())
}

/// The first row whose readings are all sealed.
pub(crate) fn first_sealed(connection: &Connection, through: Position) -> Result<Option<i64>, StoreError> {
    let first: Option<i64> =
        connection.prepare_cached("SELECT min(position) FROM hot")?.query_row([], |row| row.get(0))?;
    Ok(first.filter(|first| *first <= through.0))
}

/// Moves the readings of a file of version 2, which had a row for each, into rows of commits.
pub(crate) fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let memory = Memory::read(connection)?;
    let mut statement = connection.prepare(
        "SELECT position, series_id, observed_at, received_at, value FROM old_reading
         WHERE position > (SELECT through FROM sealed) ORDER BY position",
    )?;
    let mut found = statement.query([])?;
    let mut rows: Vec<Row> = Vec::new();
    let (mut last, mut received_at) = (0, Timestamp(0));
    let write = |rows: &mut Vec<Row>, last: i64, received_at| {
        let first = last - rows.len() as i64 + 1;
        insert(connection, &memory, &rows.iter().collect::<Vec<_>>(), received_at, first)?;
        rows.clear();
        Ok::<_, StoreError>(())
    };
    while let Some(old) = found.next()? {
        let (position, received): (i64, i64) = (old.get(0)?, old.get(3)?);
        if position != last + 1 || received != received_at.0 || rows.len() >= READINGS_MAX {
            write(&mut rows, last, received_at)?;
        }
        (last, received_at) = (position, Timestamp(received));
        let (series, at) = (SeriesId(old.get(1)?), Timestamp(old.get(2)?));
        let sound = row::value(old.get_ref(4)?).and_then(|value| {
            let kind = memory.kind(series).ok_or(StoreError::NotFound("series"))?;
            row::check(at, &value, kind)?;
            Ok(value)
        });
        match sound {
            Ok(value) => rows.push(Row { series, at, value }),
            Err(error) => {
                write(&mut rows, position - 1, received_at)?;
                tracing::error!(position, %error, "a hot reading is damaged, and put aside");
                connection.execute(
                    "INSERT INTO damaged (position, count, received_at, readings, problem)
                     SELECT position, 1, received_at, value, ?2 FROM old_reading WHERE position = ?1",
                    (position, error.to_string()),
                )?;
            }
        }
    }
    write(&mut rows, last, received_at)?;
    drop(found);
    drop(statement);
    connection.execute_batch("DROP TABLE old_reading")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_comes_back_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let connection = crate::schema::open_writer(&folder.path().join("t.db")).unwrap();
        let mut memory = Memory::default();
        for (series, kind) in [(1, Kind::Number), (2, Kind::Bool), (3, Kind::Text)] {
            memory.learn_kind(SeriesId(series), kind).unwrap();
        }
        let numbers = [0.0, -0.0, 1.0, 21.34, 1e300, -5e-324, f64::MAX, 0.1 + 0.2, 1.0 / 3.0];
        let values = numbers.map(Value::from).into_iter().map(|value| (1, value)).chain([
            (2, true.into()),
            (2, false.into()),
            (3, "".into()),
            (3, "sh\"ut \u{1}\u{2028} \u{1F6AA}".into()),
        ]);
        let rows: Vec<Row> = (0..2_000)
            .flat_map(|_| values.clone())
            .zip(0..)
            .map(|((series, value), at)| Row {
                series: SeriesId(series),
                at: Timestamp(at * 1_700_000),
                value,
            })
            .collect();
        assert!(rows.len() > READINGS_MAX);
        insert(&connection, &memory, &rows.iter().collect::<Vec<_>>(), Timestamp(1_000_000_007), 8).unwrap();
        let mut found = Vec::new();
        visit(&connection, Position(9), |row| {
            found.extend(row.after(9)?);
            Ok::<_, StoreError>(true)
        })
        .unwrap();
        assert!((10..).zip(rows.iter().skip(2).cloned()).eq(found));
        // And so they are for SQL.
        let mut statement =
            connection.prepare("SELECT position, series_id, observed_at, value FROM reading").unwrap();
        let found: Vec<(i64, Row)> = statement
            .query_map([], |found| {
                let value = row::value(found.get_ref(3)?).unwrap();
                Ok((
                    found.get(0)?,
                    Row { series: SeriesId(found.get(1)?), at: Timestamp(found.get(2)?), value },
                ))
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!((8..).zip(rows).eq(found));
    }

    #[test]
    fn i_7_no_flipped_bit_goes_unnoticed() {
        let folder = tempfile::tempdir().unwrap();
        let connection = crate::schema::open_writer(&folder.path().join("t.db")).unwrap();
        let mut memory = Memory::default();
        memory.learn_kind(SeriesId(1), Kind::Number).unwrap();
        let rows = [1.0, 2.5].map(|value| Row { series: SeriesId(1), at: Timestamp(5), value: value.into() });
        insert(&connection, &memory, &[&rows[0], &rows[1]], Timestamp(7), 1).unwrap();
        let text: String = connection.query_row("SELECT readings FROM hot", [], |row| row.get(0)).unwrap();
        assert_eq!(text, "[[1,-2,1.0],[1,-2,2.5]]");
        let look = || {
            let mut sound = 0;
            visit(&connection, Position(0), |row| {
                sound += usize::from(row.readings.is_ok());
                Ok::<_, StoreError>(true)
            })
            .unwrap();
            sound
        };
        assert_eq!(look(), 1);
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            connection.execute("UPDATE hot SET readings = cast(?1 AS TEXT)", [&bytes]).unwrap();
            assert_eq!(look(), 0, "bit {bit}");
        }
        connection.execute("UPDATE hot SET readings = ?1", [&text]).unwrap();
        for change in ["position = 3", "count = 1", "received_at = 8", "checksum = checksum + 1"] {
            connection.execute_batch(&format!("SAVEPOINT a; UPDATE hot SET {change}")).unwrap();
            assert_eq!(look(), 0, "{change}");
            connection.execute_batch("ROLLBACK TO a; RELEASE a").unwrap();
        }
        assert_eq!(look(), 1);
    }
}
