//! Opens the file: creates, recognises, checks and migrates it, and sets up a connection.
//!
//! A new file is made by running `schema.sql`; an older one by the [`MIGRATIONS`] it lacks; both come out the same
//! (I-11). A file of another program, or of a later version of this one, is refused untouched.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;
use crate::hot_row;

/// The schema of a new database.
pub const SCHEMA: &str = include_str!("../../schema.sql");
/// `PRAGMA application_id` of our files: `tele` in ASCII.
pub(crate) const APPLICATION_ID: i64 = 0x7465_6C65;
/// Steps from one version of the schema to the next; the first makes version 1 out of an empty file.
pub(crate) const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
];
/// The version that has the readings of one commit in one row.
const HOT_ROWS: i64 = 3;
/// The version that this program writes.
pub(crate) const VERSION: i64 = MIGRATIONS.len() as i64;

/// How long a statement waits for a lock. Only readers of a database being recovered ever wait.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest value that a statement may handle, in bytes. Chosen: far above any block, far below what hurts.
const LENGTH_MAX: i32 = 64 * 1024 * 1024;
/// Page cache of the writing connection, in KiB. Chosen: a large group commit without spilling.
const WRITER_CACHE_KIB: i64 = 16 * 1024;
/// Page cache of a reading connection, in KiB.
const READER_CACHE_KIB: i64 = 4 * 1024;
/// Prepared statements kept by a connection.
const STATEMENTS_KEPT: usize = 64;
/// The write-ahead log is cut to this after it was reset, in bytes.
const WAL_KEPT_BYTES: i64 = 64 * 1024 * 1024;

/// The name of a file that stands beside the database: its log, its lock.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Opens the writing connection, creating or migrating the database.
pub(crate) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    copy_log_on_close(&connection, false)?;
    guard(&connection)?;
    let state = recognise(&connection)?;
    if state == State::Empty {
        // Only an empty file can be told to keep the map that giving pages back needs.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    use_write_ahead_log(&connection)?;
    // FULL: a commit returns when its frames are synced. With NORMAL a power cut takes back what was acknowledged.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // Checkpoints are run by the writer itself, because SQLite swallows the errors of automatic ones.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    match state {
        State::Empty => create(&mut connection)?,
        State::Version(version) => migrate(&mut connection, version)?,
    }
    check_tables(&connection)?;
    Ok(connection)
}

/// Opens a connection that copies the write-ahead log, beside the writer that has opened the database.
pub(crate) fn open_checkpointer(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    copy_log_on_close(&connection, false)?;
    guard(&connection)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
    Ok(connection)
}

/// Opens a connection that can only read, on a database that a writer has opened before.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    guard(&connection)?;
    connection.pragma_update(None, "query_only", "ON")?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    match recognise(&connection)? {
        State::Version(VERSION) => check_tables(&connection)?,
        State::Version(version) => {
            return Err(StoreError::NotOurs(format!("schema version {version} was not migrated yet")));
        }
        State::Empty => return Err(StoreError::NotOurs("the file is empty".into())),
    }
    Ok(connection)
}

/// Says whether closing the connection copies the log into the database and deletes it, as SQLite does by itself.
///
/// Not while opening and not after the disk has failed: what of the log never got to the disk can still be read, and would
/// be copied. After a power cut the log could come back without it, older than the database beside it.
pub(crate) fn copy_log_on_close(connection: &Connection, copy: bool) -> Result<(), StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !copy)?;
    Ok(())
}

/// Turns the write-ahead log on: another journal would not keep what is acknowledged through a power cut.
fn use_write_ahead_log(connection: &Connection) -> Result<(), StoreError> {
    let mut statement = connection.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = statement.query([])?;
    let mut mode = String::new();
    // To the end: what fails after the row would be lost with `pragma_update`, and the mode would not be what it says.
    while let Some(row) = rows.next()? {
        mode = row.get(0)?;
    }
    if mode.eq_ignore_ascii_case("wal") {
        return Ok(());
    }
    let problem = format!(
        "no write-ahead log here, journal_mode stays {mode}: put the file on a file system where processes can share memory"
    );
    let failure = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CANTOPEN);
    Err(StoreError::Sqlite(rusqlite::Error::SqliteFailure(failure, Some(problem))))
}

/// Opens an empty connection that can only read, with a database attached as `hub`.
///
/// A statement that names no table of the database holds no state of it, which it would if that were the main one.
pub(crate) fn open_attached(path: &Path) -> Result<Connection, StoreError> {
    // Sees that it is ours.
    drop(open_reader(path)?);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(":memory:", flags)?;
    guard(&connection)?;
    let name = path.to_str().ok_or_else(|| StoreError::Invalid("the path is not UTF-8".into()))?;
    connection.execute("ATTACH ?1 AS hub", [name])?;
    connection.pragma_update(None, "query_only", "ON")?;
    connection.pragma_update(Some("hub"), "cache_size", -READER_CACHE_KIB)?;
    Ok(connection)
}

/// Settings of every connection: what a hostile or damaged file could do is turned off before it is read.
fn guard(connection: &Connection) -> Result<(), StoreError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    connection.pragma_update(None, "trusted_schema", "OFF")?;
    connection.pragma_update(None, "cell_size_check", "ON")?;
    connection.pragma_update(None, "foreign_keys", "ON")?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LENGTH_MAX)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Empty,
    Version(i64),
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, StoreError> {
    Ok(connection.pragma_query_value(None, name, |row| row.get(0))?)
}

/// Tells what the file is, without changing it.
fn recognise(connection: &Connection) -> Result<State, StoreError> {
    let application_id = pragma(connection, "application_id")?;
    let version = pragma(connection, "user_version")?;
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application_id == 0 && version == 0 && objects == 0 {
        return Ok(State::Empty);
    }
    if application_id != APPLICATION_ID {
        return Err(StoreError::NotOurs(format!(
            "application_id is {application_id:#x}, not {APPLICATION_ID:#x}"
        )));
    }
    match version {
        1..=VERSION => Ok(State::Version(version)),
        _ if version > VERSION => Err(StoreError::NewerSchema { found: version, known: VERSION }),
        _ => Err(StoreError::corrupt(format!("schema version {version}"))),
    }
}

fn create(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.commit()?;
    Ok(())
}

/// Runs each missing step in a transaction of its own, so that a kill between two leaves a version that is known.
fn migrate(connection: &mut Connection, from: i64) -> Result<(), StoreError> {
    for (version, step) in (1..).zip(MIGRATIONS).skip_while(|(version, _)| *version <= from) {
        tracing::debug!(work = "migrate");
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        if version == HOT_ROWS {
            hot_row::migrate(&transaction)?;
        }
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
        tracing::info!(version, "migrated the database");
    }
    Ok(())
}

/// Sees that every table is there with every column that the statements of this crate name.
fn check_tables(connection: &Connection) -> Result<(), StoreError> {
    const TABLES: &[&str] = &[
        "SELECT device_key, id, model, firmware, commands, created_at, last_seen, tags FROM device",
        "SELECT series_id, device_key, metric, kind, unit, label, min, max, place, conflicts, removed, thinned FROM series",
        "SELECT stream_key, device_key, epoch, last_seq, readings FROM stream",
        "SELECT position, count, received_at, readings, checksum FROM hot",
        "SELECT through FROM sealed",
        "SELECT series_id, first_at, block_id, last_at, count, position, step FROM block",
        "SELECT block_id, buckets, times, vals FROM block_data",
        "SELECT bundle_id, shelf, series, position, level, count, first_at, last_at, data FROM bundle",
        "SELECT position, count, received_at, readings, checksum, problem FROM damaged",
        "SELECT ran FROM running",
        "SELECT position, ran FROM mark",
        "SELECT command_key, id, device_key, state, issued_at, delivery, code, cancel_at, group_key FROM command",
        "SELECT command_key, place, state, at, by, address FROM command_transition",
        "SELECT group_key, id, request, members, issued_at, retry_of, stopped_at, ended_at FROM command_group",
        "SELECT group_key, place, device_key, refused FROM group_member",
        "SELECT credential_key, hash, role, device_key, revoked_at FROM credential",
        "SELECT claim_key, hash, device, created_at, created_by, expires_at, used_at, used_from, credential_key FROM claim",
        "SELECT audit_key, at, action, outcome, by, address, subject, detail, count FROM audit",
    ];
    for table in TABLES {
        connection.prepare(table).map_err(|error| match StoreError::from(error) {
            StoreError::Sqlite(error) => StoreError::Corrupt(error.to_string()),
            other => other,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Type, name and SQL of everything, without comments and with single spaces.
    fn shape(connection: &Connection) -> Vec<(String, String, String)> {
        let mut statement = connection
            .prepare("SELECT type, name, coalesce(sql, '') FROM sqlite_schema ORDER BY 1, 2")
            .unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        rows.map(|row| {
            let (kind, name, sql): (String, String, String) = row.unwrap();
            let bare: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap()).collect();
            let words: Vec<&str> = bare.iter().flat_map(|line| line.split_whitespace()).collect();
            let text = words.join(" ").replace("( ", "(").replace(" )", ")");
            // What ALTER TABLE adds stands after a space and a comma.
            (kind, name, text.replace(" ,", ","))
        })
        .collect()
    }

    #[test]
    fn i_11_the_schema_on_an_empty_file_equals_the_migrations() {
        let mut fresh = Connection::open_in_memory().unwrap();
        create(&mut fresh).unwrap();
        let mut migrated = Connection::open_in_memory().unwrap();
        migrate(&mut migrated, 0).unwrap();
        assert_eq!(shape(&fresh), shape(&migrated));
        for name in ["application_id", "user_version"] {
            assert_eq!(pragma(&fresh, name).unwrap(), pragma(&migrated, name).unwrap(), "{name}");
        }
        assert_eq!(recognise(&fresh).unwrap(), State::Version(VERSION));
        assert!(shape(&fresh).len() > 10);
        let sealed: i64 = migrated.query_row("SELECT through FROM sealed", [], |row| row.get(0)).unwrap();
        assert_eq!(sealed, 0);
    }

    #[test]
    fn a_new_file_has_the_settings_that_the_promises_rest_on() {
        let folder = tempfile::tempdir().unwrap();
        let connection = open_writer(&folder.path().join("t.db")).unwrap();
        for (name, value) in [
            ("synchronous", 2),
            ("auto_vacuum", 2),
            ("foreign_keys", 1),
            ("trusted_schema", 0),
            ("cell_size_check", 1),
            ("wal_autocheckpoint", 0),
            ("application_id", APPLICATION_ID),
        ] {
            assert_eq!(pragma(&connection, name).unwrap(), value, "{name}");
        }
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "wal");
    }
}
