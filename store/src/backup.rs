//! Copies of the whole database: made while it is in use, and put back in its place.
//!
//! A copy grows under another name, is synced and checked, and only then gets its own: whatever stops it, there is never
//! half a copy under the name that was asked for. The same holds for a database that is restored.
//!
//! A backup holds one read transaction, so it is of one moment, and nothing that the hub commits meanwhile makes it begin
//! anew. What the hub commits meanwhile stays in its write-ahead log until the transaction ends: see
//! `docs/decisions/0011-backup-in-one-transaction.md`.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::error::StoreError;
use crate::reader::Reader;
use crate::schema::with_suffix;
use crate::verify::{Depth, Notice, Verified};
use crate::{block, schema, writer};

/// Pages copied between two pauses. Chosen: 256 KiB, a fraction of a millisecond of the disk.
const PAGES_PER_STEP: i32 = 64;
/// Bytes after which what was written is synced. Chosen: a commit of the hub never waits behind more than this.
const BYTES_PER_SYNC: u64 = 4 * 1024 * 1024;
/// Bytes of a file copied at once.
const BYTES_PER_COPY: usize = 1024 * 1024;
/// Wait for a lock that somebody holds for a moment.
const LOCKED_PAUSE: Duration = Duration::from_millis(5);
/// The write-ahead log may grow by this, in bytes, or by the size of the database if that is more; then a backup gives
/// up rather than fill the disk of the hub.
const LOG_GROWTH_MAX: u64 = 4 * 1024 * 1024 * 1024;
/// Databases that are kept aside when another is restored in their place.
const KEPT_MAX: u32 = 1_000;
/// A file of SQLite begins with this.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// How a backup goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bytes copied in a second at most, so that commits and their acknowledgements do not wait; `None`: as fast as it
    /// goes.
    pub bytes_per_second: Option<u64>,
}

/// What a backup or a restore tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyNotice {
    /// The rest of one that was interrupted was there; it is written over.
    Leftover(PathBuf),
    /// It has come so far.
    Copied {
        /// Bytes copied.
        done: u64,
        /// Bytes to copy.
        total: u64,
    },
    /// The copy is being checked.
    Checking,
}

/// What a backup made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackedUp {
    /// Size of the copy, in bytes.
    pub bytes: u64,
    /// How far the write-ahead log of the database grew meanwhile, in bytes.
    pub log_growth: u64,
    /// What the check of the copy went through.
    pub verified: Verified,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Size of the database, in bytes.
    pub bytes: u64,
    /// Where the database is that was there before.
    pub kept: Option<PathBuf>,
    /// What the check of the database went through.
    pub verified: Verified,
}

/// Hears of progress, and may stop it.
pub type CopyVisitor<'a> = dyn FnMut(CopyNotice) -> ControlFlow<()> + 'a;

impl Reader {
    /// Copies the database as it is now to a new file, while others go on writing to it.
    ///
    /// The copy is one file with nothing beside it. A file that is there already is [`StoreError::Exists`], or replaced.
    pub fn backup(
        &self,
        to: &Path,
        pace: Pace,
        replace: bool,
        visit: &mut CopyVisitor<'_>,
    ) -> Result<BackedUp, StoreError> {
        let source = self.connection.path().map(PathBuf::from).unwrap_or_default();
        refuse_same(&source, to)?;
        if to.exists() {
            if !replace {
                return Err(StoreError::Exists("file of this name"));
            }
            // A database that a hub runs on must not be replaced under it.
            if with_suffix(to, ".lock").exists() {
                drop(writer::lock(to)?);
            }
        }
        let partial = Partial::begin(to, visit)?;
        let log_growth = self.copy_pages(&partial, &source, pace, visit)?;
        settle(&partial.path)?;
        let verified = partial.check(visit)?;
        let bytes = partial.finish(to)?;
        Ok(BackedUp { bytes, log_growth, verified })
    }

    /// Copies every page of one state of the file. Returns how far the write-ahead log grew meanwhile.
    fn copy_pages(
        &self,
        partial: &Partial,
        source: &Path,
        pace: Pace,
        visit: &mut CopyVisitor<'_>,
    ) -> Result<u64, StoreError> {
        let mut copy = open_plain(&partial.path)?;
        // Whatever happens to it before it is whole, it is thrown away; what is copied is not kept in memory.
        copy.pragma_update(None, "journal_mode", "OFF")?;
        copy.pragma_update(None, "synchronous", "OFF")?;
        copy.pragma_update(None, "cache_size", -1_024)?;
        let log = with_suffix(source, "-wal");
        let log_length = || std::fs::metadata(&log).map_or(0, |log| log.len());
        let log_before = log_length();
        self.snapshot(|connection| {
            let page: u64 = connection.pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))?.into();
            // Reads something, which is what makes the transaction begin.
            let pages: u64 = connection.pragma_query_value(None, "page_count", |row| row.get::<_, u32>(0))?.into();
            let total = pages * page;
            let room = LOG_GROWTH_MAX.max(total);
            let backup = Backup::new(connection, &mut copy)?;
            let start = Instant::now();
            let (mut done, mut synced) = (0, 0);
            loop {
                match backup.step(PAGES_PER_STEP)? {
                    StepResult::Done => break,
                    StepResult::More => {}
                    _ => {
                        std::thread::sleep(LOCKED_PAUSE);
                        continue;
                    }
                }
                done = (done + PAGES_PER_STEP as u64 * page).min(total);
                if done - synced >= BYTES_PER_SYNC {
                    partial.sync()?;
                    synced = done;
                    say(visit, CopyNotice::Copied { done, total })?;
                    let grown = log_length().saturating_sub(log_before);
                    if grown > room {
                        return Err(StoreError::Busy(format!(
                            "{} grew by {} MB during the backup, which was given up: make it with full speed, or when \
                             fewer readings come",
                            log.display(),
                            grown / 1_000_000
                        )));
                    }
                }
                if let Some(rate) = pace.bytes_per_second {
                    let due = Duration::from_secs_f64(done as f64 / rate.max(1) as f64);
                    std::thread::sleep(due.saturating_sub(start.elapsed()));
                }
            }
            say(visit, CopyNotice::Copied { done: total, total })
        })?;
        Ok(log_length().saturating_sub(log_before))
    }
}

/// Puts a copy of a database in the place of the database at `to`, migrated to this version and checked.
///
/// While a hub runs there it is [`StoreError::Busy`]. A database that is there already is [`StoreError::Exists`], or
/// with `replace` kept under another name.
pub fn restore(
    from: &Path,
    to: &Path,
    replace: bool,
    visit: &mut CopyVisitor<'_>,
) -> Result<Restored, StoreError> {
    recognise(from)?;
    refuse_same(from, to)?;
    let log = with_suffix(from, "-wal");
    if std::fs::metadata(&log).is_ok_and(|log| log.len() > 0) {
        return Err(file_error(
            &log,
            "a write-ahead log lies beside the file: it is a database in use, or one whose hub was killed, and not a \
             backup. Make one with `hub backup`",
        ));
    }
    let _lock = writer::lock(to)?;
    let there = to.exists() || with_suffix(to, "-wal").exists();
    if there && !replace {
        return Err(StoreError::Exists("database"));
    }
    let partial = Partial::begin(to, visit)?;
    copy_file(from, &partial, visit)?;
    let mut connection = schema::open_writer(&partial.path)?;
    clear_unfinished(&mut connection)?;
    drop(connection);
    settle(&partial.path)?;
    let verified = partial.check(visit)?;
    let kept = if there { Some(keep(to)?) } else { None };
    let bytes = partial.finish(to)?;
    Ok(Restored { bytes, kept, verified })
}

/// Drops the blocks of a seal that was under way, as opening for writing does.
fn clear_unfinished(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction()?;
    block::recover(&transaction)?;
    transaction.commit()?;
    Ok(())
}

/// A file on its way to its name, held by a lock so that two do not write it at once.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Partial {
    fn begin(to: &Path, visit: &mut CopyVisitor<'_>) -> Result<Self, StoreError> {
        let path = with_suffix(to, ".partial");
        let failed = |error: std::io::Error| file_error(&path, error);
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Busy(format!("another backup or restore writes {}", path.display())));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        if file.metadata().map_err(failed)?.len() > 0 {
            say(visit, CopyNotice::Leftover(path.clone()))?;
            file.set_len(0).map_err(failed)?;
        }
        for suffix in ["-wal", "-shm", "-journal"] {
            remove(&with_suffix(&path, suffix))?;
        }
        Ok(Self { path, file })
    }

    fn sync(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|error| file_error(&self.path, error))
    }

    /// Sees that it is whole, and a database of ours.
    fn check(&self, visit: &mut CopyVisitor<'_>) -> Result<Verified, StoreError> {
        say(visit, CopyNotice::Checking)?;
        let mut first = None;
        let verified = Reader::open(&self.path)?.verify(Depth::Copy, &mut |notice| {
            if let Notice::Finding(finding) = notice {
                first.get_or_insert(finding);
            }
            ControlFlow::Continue(())
        })?;
        match first {
            None => Ok(verified),
            Some(finding) => Err(StoreError::corrupt(format!(
                "the copy has {} findings, the first: {}. `hub verify` on the original tells more",
                verified.findings, finding.what
            ))),
        }
    }

    /// Gives it its name. Returns its size.
    fn finish(self, to: &Path) -> Result<u64, StoreError> {
        self.file.sync_all().map_err(|error| file_error(&self.path, error))?;
        // The log of a file that had this name before would be taken for this one's.
        for suffix in ["-wal", "-shm", "-journal"] {
            remove(&with_suffix(to, suffix))?;
        }
        std::fs::rename(&self.path, to).map_err(|error| file_error(to, error))?;
        sync_folder(to)?;
        Ok(self.file.metadata().map_err(|error| file_error(to, error))?.len())
    }
}

/// Keeps the database at `to` under a name that is free, whole, and returns the name.
fn keep(to: &Path) -> Result<PathBuf, StoreError> {
    let name = (1..=KEPT_MAX)
        .map(|n| with_suffix(to, &format!(".before-restore-{n}")))
        .find(|name| !name.exists() && !with_suffix(name, "-wal").exists())
        .ok_or_else(|| file_error(to, "every name to keep it under is taken: remove old ones"))?;
    // What is in the log goes into the file. A damaged one may not open: then file and log are kept as they are.
    if let Err(error) = settle(to) {
        tracing::warn!(%error, "the database that is replaced could not be tidied; it is kept with its log");
    }
    let failed = |error| file_error(&name, error);
    if to.exists() {
        std::fs::hard_link(to, &name).map_err(failed)?;
    }
    let log = with_suffix(to, "-wal");
    if log.exists() {
        std::fs::hard_link(&log, with_suffix(&name, "-wal")).map_err(failed)?;
    }
    sync_folder(to)?;
    Ok(name)
}

/// Makes a database one file with nothing beside it.
fn settle(path: &Path) -> Result<(), StoreError> {
    let connection = open_plain(path)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "DELETE", |row| row.get(0))?;
    if mode == "delete" {
        Ok(())
    } else {
        Err(StoreError::Busy(format!("{}: its log cannot be closed", path.display())))
    }
}

fn open_plain(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags)?)
}

/// Sees by its first bytes that a file is a database of ours, without making anything beside it.
fn recognise(path: &Path) -> Result<(), StoreError> {
    let mut head = [0; 100];
    let mut file = File::open(path).map_err(|error| file_error(path, error))?;
    let whole = file.read_exact(&mut head).is_ok();
    let number =
        |at: usize| i64::from(u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
    if !whole || !head.starts_with(MAGIC) || number(68) != schema::APPLICATION_ID {
        return Err(StoreError::NotOurs(format!("{} has another beginning", path.display())));
    }
    if number(60) > schema::VERSION {
        return Err(StoreError::NewerSchema { found: number(60), known: schema::VERSION });
    }
    Ok(())
}

fn copy_file(from: &Path, partial: &Partial, visit: &mut CopyVisitor<'_>) -> Result<(), StoreError> {
    let mut source = File::open(from).map_err(|error| file_error(from, error))?;
    let total = source.metadata().map_err(|error| file_error(from, error))?.len();
    let mut target = &partial.file;
    let mut buffer = vec![0; BYTES_PER_COPY];
    let mut done = 0;
    loop {
        let count = source.read(&mut buffer).map_err(|error| file_error(from, error))?;
        if count == 0 {
            return partial.sync();
        }
        target.write_all(&buffer[..count]).map_err(|error| file_error(&partial.path, error))?;
        done += count as u64;
        say(visit, CopyNotice::Copied { done, total })?;
    }
}

fn say(visit: &mut CopyVisitor<'_>, notice: CopyNotice) -> Result<(), StoreError> {
    match visit(notice) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(StoreError::Busy("stopped".into())),
    }
}

fn refuse_same(from: &Path, to: &Path) -> Result<(), StoreError> {
    match (from.canonicalize(), to.canonicalize()) {
        (Ok(a), Ok(b)) if a == b => Err(file_error(to, "this is the database itself")),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(file_error(path, error)),
        _ => Ok(()),
    }
}

/// Makes the names in the folder of a file as durable as the files.
fn sync_folder(path: &Path) -> Result<(), StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| file_error(folder, error))
}

fn file_error(path: &Path, problem: impl Into<Problem>) -> StoreError {
    match problem.into() {
        Problem::System(error) if error.kind() == std::io::ErrorKind::StorageFull => StoreError::Full,
        Problem::System(error) => StoreError::File(format!("{}: {error}", path.display())),
        Problem::Rule(rule) => StoreError::File(format!("{}: {rule}", path.display())),
    }
}

/// What is wrong with a file: the system says so, or a rule of ours.
enum Problem {
    System(std::io::Error),
    Rule(&'static str),
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::System(error)
    }
}

impl From<&'static str> for Problem {
    fn from(rule: &'static str) -> Self {
        Self::Rule(rule)
    }
}
