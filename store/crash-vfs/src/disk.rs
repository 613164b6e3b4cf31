//! The folder, what happened in it, and what shall fail.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::shim;

/// What a file is to SQLite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The database file.
    Database,
    /// Its write-ahead log.
    Log,
    /// Its rollback journal, or any other.
    Journal,
}

/// What SQLite does to a file that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Writing bytes.
    Write,
    /// Changing the length.
    Truncate,
    /// Waiting until it is on the disk.
    Sync,
}

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// EIO.
    Io,
    /// ENOSPC.
    Full,
}

/// Something that shall fail. Half of a write that fails arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What fails.
    pub operation: Operation,
    /// On which file; `None`: any.
    pub role: Option<Role>,
    /// The how-manieth from now on, counting from 1.
    pub place: u64,
    /// How many one after the other fail.
    pub times: u64,
    /// How.
    pub failure: Failure,
}

/// The number of a file; a file that is deleted and made again gets another.
pub(crate) type FileNumber = usize;

/// What happened to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A name now means this new, empty file.
    Create(String, usize),
    /// A name means nothing any more.
    Delete(String),
    /// Bytes were written at a place.
    Write(usize, u64, Vec<u8>),
    /// The length was changed.
    Truncate(usize, u64),
    /// All of the file that was written so far is on the disk.
    Sync(usize),
    /// A sync failed: what of the file was not on the disk never gets there.
    SyncFailed(usize),
    /// All names that were made and deleted so far are so on the disk.
    SyncFolder,
}

/// What happened in a folder, in order, from what was there.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    pub(crate) before: Vec<(String, Vec<u8>)>,
    /// What happened.
    pub events: Vec<Event>,
    pub(crate) roles: Vec<Role>,
}

impl Trace {
    /// What a file is.
    pub fn role(&self, file: usize) -> Role {
        self.roles[file]
    }

    /// What it would have been with `synchronous=NORMAL`: the log is not synced by commits, only when it begins anew and
    /// before it is copied into the database. `None` for the events that would not have happened, so that places stay.
    pub fn without_syncs_of_commits(&self) -> Self {
        let mut trace = self.clone();
        for place in 0..self.events.len() {
            let Event::Sync(file) = self.events[place] else { continue };
            if self.roles[file] != Role::Log {
                continue;
            }
            let begins = matches!(self.events[place.wrapping_sub(1)], Event::Write(_, 0, _));
            let next = self.events[place + 1..].iter().find(|event| !matches!(event, Event::SyncFolder));
            let copied = match next {
                Some(Event::Write(next, ..) | Event::Truncate(next, _) | Event::Sync(next)) => {
                    self.roles[*next] == Role::Database
                }
                _ => false,
            };
            if !begins && !copied {
                trace.events[place] = Event::Write(file, 0, Vec::new());
            }
        }
        trace
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    trace: Trace,
    names: HashMap<String, FileNumber>,
    fault: Option<Fault>,
    seen: u64,
    failed: u64,
}

impl State {
    pub(crate) fn note(&mut self, event: Event) {
        self.trace.events.push(event);
    }

    /// The number of a file that is opened; `created` if it was not there.
    pub(crate) fn open(&mut self, name: &str, role: Role, created: bool) -> FileNumber {
        if !created && let Some(file) = self.names.get(name) {
            return *file;
        }
        let file = self.trace.roles.len();
        self.trace.roles.push(role);
        self.names.insert(name.to_owned(), file);
        self.note(Event::Create(name.to_owned(), file));
        file
    }

    pub(crate) fn delete(&mut self, name: &str, folder_synced: bool) {
        if self.names.remove(name).is_some() {
            self.note(Event::Delete(name.to_owned()));
        }
        if folder_synced {
            self.note(Event::SyncFolder);
        }
    }

    /// Whether an operation fails now.
    pub(crate) fn fails(&mut self, operation: Operation, role: Role) -> Option<Failure> {
        let fault = self.fault?;
        if fault.operation != operation || fault.role.is_some_and(|wanted| wanted != role) {
            return None;
        }
        self.seen += 1;
        if self.seen < fault.place || self.seen - fault.place >= fault.times {
            return None;
        }
        self.failed += 1;
        Some(fault.failure)
    }
}

static DISKS: LazyLock<Mutex<HashMap<PathBuf, Arc<Mutex<State>>>>> = LazyLock::new(Mutex::default);

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of the folder in which a file lies, and the file's name; `None` for files elsewhere.
pub(crate) fn find(path: &Path) -> Option<(Arc<Mutex<State>>, String)> {
    let state = lock(&DISKS).get(path.parent()?).map(Arc::clone)?;
    Some((state, path.file_name()?.to_string_lossy().into_owned()))
}

/// A folder on a disk that loses power and fails. It goes away with this value.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
    key: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Disk {
    /// An empty folder.
    pub fn new() -> std::io::Result<Self> {
        Self::holding(Vec::new())
    }

    /// A folder that holds files, all of them synced.
    pub fn holding(files: Vec<(String, Vec<u8>)>) -> std::io::Result<Self> {
        Self::build(Trace { before: files, ..Trace::default() }, None)
    }

    /// A folder after some of a trace, as the next process finds it when the one before was killed and the power is on.
    pub(crate) fn build(mut trace: Trace, found: Option<Vec<(String, Vec<u8>)>>) -> std::io::Result<Self> {
        shim::install();
        let folder =
            if Path::new("/dev/shm").is_dir() { TempDir::new_in("/dev/shm")? } else { TempDir::new()? };
        let key = folder.path().canonicalize()?;
        for (name, bytes) in found.as_ref().unwrap_or(&trace.before) {
            std::fs::write(key.join(name), bytes)?;
        }
        let mut names = HashMap::new();
        if trace.events.is_empty() {
            trace.roles = trace.before.iter().map(|(name, _)| role_of(name)).collect();
        }
        names.extend(trace.before.iter().enumerate().map(|(file, (name, _))| (name.clone(), file)));
        for event in &trace.events {
            match event {
                Event::Create(name, file) => drop(names.insert(name.clone(), *file)),
                Event::Delete(name) => drop(names.remove(name)),
                _ => {}
            }
        }
        let state = Arc::new(Mutex::new(State { trace, names, ..State::default() }));
        lock(&DISKS).insert(key.clone(), Arc::clone(&state));
        Ok(Self { folder, key, state })
    }

    /// The path of a file in it.
    pub fn path(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.key.join(name.as_ref())
    }

    /// How much has happened so far.
    pub fn events(&self) -> usize {
        lock(&self.state).trace.events.len()
    }

    /// What has happened so far.
    pub fn trace(&self) -> Trace {
        lock(&self.state).trace.clone()
    }

    /// Lets something fail from now on, instead of what was to fail before.
    pub fn set_fault(&self, fault: Option<Fault>) {
        let mut state = lock(&self.state);
        (state.fault, state.seen, state.failed) = (fault, 0, 0);
    }

    /// Notes that someone other than SQLite has synced the folder, which the shim does not see.
    pub fn note_folder_sync(&self) {
        lock(&self.state).note(Event::SyncFolder);
    }

    /// Notes that someone other than SQLite has written a file as it is and synced it.
    pub fn note_rewrite(&self, name: &str) -> std::io::Result<()> {
        let path = self.path(name);
        let mut state = lock(&self.state);
        if let Some(file) = state.names.get(name).copied()
            && path.exists()
        {
            state.note(Event::Write(file, 0, std::fs::read(path)?));
            state.note(Event::Sync(file));
        }
        Ok(())
    }

    /// How many operations have failed since the fault was set.
    pub fn failed(&self) -> u64 {
        lock(&self.state).failed
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(&DISKS).remove(&self.key);
        debug_assert!(self.folder.path().exists());
    }
}

pub(crate) fn role_of(name: &str) -> Role {
    if name.ends_with("-wal") {
        Role::Log
    } else if name.ends_with("-journal") {
        Role::Journal
    } else {
        Role::Database
    }
}
