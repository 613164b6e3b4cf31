//! The one connection that writes: its transactions, its checkpoints, and what happens when the disk fails.
//!
//! A transaction either commits, synced, or leaves the file as it was. After an error of the disk the writer is
//! poisoned: every later call returns [`StoreError::Fatal`], because a second fsync after a failed one can succeed
//! without having written anything.
//!
//! Checkpoints copy the write-ahead log into the file once it has grown by [`CHECKPOINT_PAGES`], and when the writer is told
//! to stop. The writer runs them itself, after a commit, or leaves them to a [`Checkpointer`](crate::Checkpointer).

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::Path;

use protocol::{Kind, Position, SeriesId, Timestamp};
use rusqlite::Connection;

use crate::block::{self, Merging, Sealing};
use crate::checkpoint::{self, Beside, Standing};
use crate::error::StoreError;
use crate::recent::Recent;
use crate::retention::Retention;
use crate::schema::with_suffix;
use crate::types::{DeviceKey, SealPolicy, StreamKey};
use crate::{hot_row, leavings, row, schema};

/// Pages that the write-ahead log may grow by before they are copied into the file: 16 MiB.
/// Measured: below 4 MiB checkpoints cost a tenth of the append rate; above, it no longer matters.
const CHECKPOINT_PAGES: i64 = 4_096;
/// Commits after which the length of the write-ahead log is looked at. A look costs a tenth of a small commit; the log
/// may grow longer by this many commits, 8 MiB at most.
const LOOK_EVERY: u32 = 16;
/// Highest series number that is believed: the kinds are kept in an array. Chosen: 65 000 devices of 256 metrics.
const SERIES_MAX: i64 = 1 << 24;
/// Streams whose last batch is remembered. More are read from the file again.
const STREAMS_KEPT: usize = 200_000;

/// The writing end of the database. There is one; it is not for sharing, but may move to another thread.
#[derive(Debug)]
pub struct Writer {
    pub(crate) link: Link,
    /// The position that the next reading gets.
    pub(crate) next: i64,
    pub(crate) memory: Memory,
    pub(crate) recent: Recent,
    pub(crate) seal_policy: SealPolicy,
    pub(crate) sealing: Sealing,
    pub(crate) merging: Merging,
    pub(crate) retention: Retention,
    _lock: File,
}

impl Writer {
    /// Opens the database for writing, making or migrating it as needed.
    ///
    /// Makes `<path>.lock` beside it; while another process holds that, the answer is [`StoreError::Busy`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        leavings::settle(path)?;
        let connection = schema::open_writer(path)?;
        let memory = Memory::read(&connection)?;
        let mut link = Link { connection, poison: None, log_pages: 0, unlooked: 0, beside: None };
        let mut recent = Recent::default();
        link.transact(Commit::Synced, |connection| {
            block::recover(connection)?;
            crate::connection::recover(connection)?;
            hot_row::recover(connection, &memory, &mut recent, block::sealed_through(connection)?)
        })?;
        let next = last_position(&link.connection)?.0 + 1;
        schema::copy_log_on_close(&link.connection, true)?;
        let retention = Retention::open(&link.connection)?;
        Ok(Self {
            link,
            next,
            memory,
            recent,
            seal_policy: SealPolicy::default(),
            sealing: Sealing::default(),
            merging: Merging::default(),
            retention,
            _lock: lock,
        })
    }

    /// The position of the last committed reading.
    pub const fn position(&self) -> Position {
        Position(self.next - 1)
    }

    /// Notes when devices were last heard. Unknown devices are passed over.
    pub fn touch(&mut self, seen: &[(DeviceKey, Timestamp)]) -> Result<(), StoreError> {
        if seen.is_empty() {
            return Ok(());
        }
        self.link.transact(Commit::Synced, |connection| {
            let mut update =
                connection.prepare_cached("UPDATE device SET last_seen = ?2 WHERE device_key = ?1")?;
            for (device, at) in seen {
                update.execute((device.0, at.0))?;
            }
            Ok(())
        })
    }

    /// Copies the write-ahead log into the file and empties it; for an orderly stop.
    ///
    /// Readers that are in the middle of a query keep some of it from being emptied; nothing is lost by that.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.link.check()?;
        self.link.run_checkpoint("TRUNCATE")
    }

    /// Limits the size of the database file, in bytes; `None` lifts the limit.
    ///
    /// At the limit, calls that store return [`StoreError::Full`]. A limit below the present size is the present size.
    pub fn limit_bytes(&mut self, limit: Option<u64>) -> Result<(), StoreError> {
        let page: i64 = self.link.connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = limit.map_or(i64::from(u32::MAX) - 1, |bytes| (bytes / page.max(1) as u64) as i64);
        self.link.connection.pragma_update(None, "max_page_count", pages.max(1))?;
        Ok(())
    }
}

/// What the writer remembers of the file, to save reading it. The file is the truth: what a failed transaction may have
/// touched is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The last settled batch of each stream.
    pub(crate) streams: HashMap<StreamKey, u64>,
    kinds: Vec<Option<Kind>>,
}

impl Memory {
    /// What the file says of its series.
    pub(crate) fn read(connection: &Connection) -> Result<Self, StoreError> {
        Ok(Self { streams: HashMap::new(), kinds: read_kinds(connection)? })
    }

    /// The kind of a series.
    pub(crate) fn kind(&self, series: SeriesId) -> Option<Kind> {
        usize::try_from(series.0).ok().and_then(|index| self.kinds.get(index).copied().flatten())
    }

    /// Remembers the kind of a series.
    pub(crate) fn learn_kind(&mut self, series: SeriesId, kind: Kind) -> Result<(), StoreError> {
        learn_kind(&mut self.kinds, series.0, kind)
    }

    /// How many series there are.
    pub(crate) fn series_count(&self) -> usize {
        self.kinds.iter().flatten().count()
    }

    /// Remembers the last settled batch of a stream.
    pub(crate) fn learn_stream(&mut self, stream: StreamKey, last: u64) {
        if self.streams.len() >= STREAMS_KEPT {
            self.streams.clear();
        }
        self.streams.insert(stream, last);
    }
}

fn learn_kind(kinds: &mut Vec<Option<Kind>>, series: i64, kind: Kind) -> Result<(), StoreError> {
    if !(0..SERIES_MAX).contains(&series) {
        return Err(StoreError::corrupt(format!("series number {series}")));
    }
    let index = series as usize;
    if kinds.len() <= index {
        kinds.resize(index + 1, None);
    }
    kinds[index] = Some(kind);
    Ok(())
}

fn read_kinds(connection: &Connection) -> Result<Vec<Option<Kind>>, StoreError> {
    let mut kinds = Vec::new();
    let mut statement = connection.prepare("SELECT series_id, kind FROM series")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let kind = row::kind(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?)?;
        learn_kind(&mut kinds, row.get(0)?, kind)?;
    }
    Ok(kinds)
}

/// The position of the last committed reading in the state that a connection sees.
pub(crate) fn last_position(connection: &Connection) -> Result<Position, StoreError> {
    let last = connection
        .prepare_cached(
            "SELECT max((SELECT through FROM sealed), coalesce((SELECT max(position) FROM hot), 0),
                        coalesce((SELECT max(position) FROM damaged), 0))",
        )?
        .query_row([], |row| row.get(0))?;
    // Close to the end there would be no next one: such a number was not counted up to.
    if (0..i64::MAX / 2).contains(&last) {
        Ok(Position(last))
    } else {
        Err(StoreError::corrupt(format!("position {last}")))
    }
}

/// What a commit promises when it returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Commit {
    /// It is on disk.
    Synced,
    /// It is on disk once a later synced commit is; a power cut may take it back, and all that follows it. For work of
    /// the store's own that nobody is told of.
    Lazy,
}

/// The connection with the rules of its transactions.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) connection: Connection,
    poison: Option<String>,
    /// Length of the write-ahead log when it was last copied.
    log_pages: i64,
    /// Commits since the length of the log was looked at.
    unlooked: u32,
    /// Who copies the log, if it is not the writer.
    pub(crate) beside: Option<Beside>,
}

impl Link {
    /// Refuses once the disk has failed.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match &self.poison {
            Some(problem) => Err(StoreError::Fatal(problem.clone())),
            None => Ok(()),
        }
    }

    /// Runs `work` in one transaction. `Ok` means committed; `Err` means that nothing of it is in the file.
    pub(crate) fn transact<T>(
        &mut self,
        commit: Commit,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.check()?;
        if commit == Commit::Lazy {
            // NORMAL: commits are not synced, checkpoints still are.
            self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        }
        let result = self.attempt(work);
        if let Err(error) = &result {
            self.roll_back(error);
        }
        if commit == Commit::Lazy
            && let Err(error) = self.connection.pragma_update(None, "synchronous", "FULL")
        {
            // Without it the next acknowledgement would lie.
            let error = StoreError::Fatal(error.to_string());
            self.poison(&error);
            return Err(error);
        }
        if result.is_ok() {
            self.checkpoint_if_due();
        }
        result
    }

    fn attempt<T>(&self, work: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let result = work(&self.connection)?;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(result)
    }

    fn roll_back(&mut self, error: &StoreError) {
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            self.poison(&StoreError::from(error));
        }
        if error.is_fatal() {
            self.poison(error);
        }
    }

    fn poison(&mut self, error: &StoreError) {
        if self.poison.is_none() {
            tracing::error!(%error, "the store stops: nothing more is acknowledged");
            self.poison = Some(match error {
                StoreError::Fatal(problem) => problem.clone(),
                other => other.to_string(),
            });
            if let Err(error) = schema::copy_log_on_close(&self.connection, false) {
                tracing::error!(%error, "the write-ahead log may be copied on closing");
            }
        }
    }

    /// Copies the log when it has grown enough. The commit before it stands whatever becomes of this; a disk that
    /// fails here poisons what comes after.
    fn checkpoint_if_due(&mut self) {
        self.unlooked += 1;
        if self.unlooked < LOOK_EVERY {
            return;
        }
        self.unlooked = 0;
        match self.beside.as_mut().map_or(Standing::Free, Beside::ask) {
            Standing::Free => {}
            Standing::Pending => return,
            Standing::Ended(Ok(())) => return self.checkpoint_passively(),
            Standing::Ended(Err(error)) => return self.note_failed_checkpoint(&error),
        }
        let due = match self.log_length() {
            Ok(pages) => {
                if pages < self.log_pages {
                    self.log_pages = 0;
                }
                pages - self.log_pages >= CHECKPOINT_PAGES
            }
            Err(error) => {
                tracing::warn!(%error, "cannot tell the length of the write-ahead log");
                false
            }
        };
        if due && !self.beside.as_mut().is_some_and(Beside::order) {
            self.checkpoint_passively();
        }
    }

    fn checkpoint_passively(&mut self) {
        if let Err(error) = self.run_checkpoint("PASSIVE") {
            self.note_failed_checkpoint(&error);
        }
    }

    fn note_failed_checkpoint(&mut self, error: &StoreError) {
        tracing::warn!(%error, "cannot copy the write-ahead log into the database");
        if error.is_fatal() {
            self.poison(error);
        }
    }

    fn log_length(&self) -> Result<i64, StoreError> {
        let mut statement = self.connection.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
        Ok(statement.query_row([], |row| row.get(1))?)
    }

    fn run_checkpoint(&mut self, mode: &str) -> Result<(), StoreError> {
        tracing::debug!(work = "checkpoint");
        match checkpoint::copy(&self.connection, mode) {
            Ok(pages) => self.log_pages = pages,
            Err(error) => {
                if error.is_fatal() {
                    self.poison(&error);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Holds the place of the one process that writes.
pub(crate) fn lock(path: &Path) -> Result<File, StoreError> {
    let name = with_suffix(path, ".lock");
    let failed = |error: std::io::Error| StoreError::Busy(format!("{}: {error}", name.display()));
    let file = File::options().create(true).truncate(false).write(true).open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::Busy(format!("another process writes {}", path.display())))
        }
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer() -> (tempfile::TempDir, Writer) {
        let folder = tempfile::tempdir().unwrap();
        let writer = Writer::open(&folder.path().join("t.db")).unwrap();
        (folder, writer)
    }

    #[test]
    fn after_the_disk_failed_nothing_is_stored_any_more() {
        let (_folder, mut writer) = writer();
        let failed: Result<(), StoreError> =
            writer.link.transact(Commit::Synced, |_| Err(StoreError::Fatal("fsync: I/O error".into())));
        assert!(failed.unwrap_err().is_fatal());
        let device = "pump".parse().unwrap();
        for result in [
            writer.append(&[], Timestamp(1)).map(drop),
            writer.create_device(&device, Timestamp(1)).map(drop),
            writer.touch(&[(DeviceKey(1), Timestamp(1))]),
            writer.seal(1).map(drop),
            writer.merge(1).map(drop),
            writer.checkpoint(),
            writer.open_commands().map(drop),
        ] {
            assert_eq!(result.unwrap_err().to_string(), "the disk failed: fsync: I/O error");
        }
    }

    #[test]
    fn i_1_a_lazy_commit_leaves_the_next_one_synced() {
        let (_folder, mut writer) = writer();
        let synchronous = |writer: &Writer| -> i64 {
            writer.link.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap()
        };
        let inside = writer.link.transact(Commit::Lazy, |connection| {
            Ok(connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0))?)
        });
        assert_eq!((inside.unwrap(), synchronous(&writer)), (1, 2));
        let failed: Result<(), StoreError> = writer.link.transact(Commit::Lazy, |_| Err(StoreError::Full));
        assert!(matches!(failed, Err(StoreError::Full)));
        assert_eq!(synchronous(&writer), 2);
    }
}
