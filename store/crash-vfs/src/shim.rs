//! The shim itself: SQLite's unix VFS with someone who takes notes in between.
//!
//! A file of ours is a [`ShimFile`] with the file of the unix VFS right behind it in memory that SQLite gives.

#![expect(unsafe_code, reason = "SQLite calls a VFS through C, with memory of its own")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::sync::{Arc, Mutex, Once};

use rusqlite::ffi::{
    self, SQLITE_FULL, SQLITE_IOERR_FSYNC, SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_WRITE, SQLITE_OK,
    SQLITE_OPEN_CREATE, SQLITE_OPEN_WAL, sqlite3_file, sqlite3_int64, sqlite3_io_methods, sqlite3_vfs,
};

use crate::disk::{self, Event, Failure, FileNumber, Operation, Role, State};

/// What we remember of an open file. Those outside of every disk have no notes.
struct Notes {
    state: Arc<Mutex<State>>,
    number: FileNumber,
    role: Role,
    /// The next sync also syncs the folder.
    syncs_folder: bool,
}

#[repr(C)]
struct ShimFile {
    base: sqlite3_file,
    notes: *mut Notes,
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // 2: without memory mapping, which would write past us.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Makes the shim the default VFS of this process, once.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the name is a C string; SQLite initialises itself and returns its own VFS, which lives for ever.
        let unix = unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) };
        assert!(!unix.is_null(), "SQLite has no unix VFS here");
        // SAFETY: it is not null and points to a VFS that nobody changes.
        let unix_copy = unsafe { *unix };
        let shim = Box::leak(Box::new(sqlite3_vfs {
            szOsFile: unix_copy.szOsFile + size_of::<ShimFile>() as c_int,
            pNext: std::ptr::null_mut(),
            zName: c"crash".as_ptr(),
            // The methods of the unix VFS that we keep look at this field or at nothing.
            pAppData: unix_copy.pAppData,
            xOpen: Some(open),
            xDelete: Some(delete),
            ..unix_copy
        }));
        // SAFETY: the VFS is leaked, so it lives as long as the process.
        let result = unsafe { ffi::sqlite3_vfs_register(shim, 1) };
        assert_eq!(result, SQLITE_OK, "SQLite does not take the VFS");
    });
}

fn unix() -> *mut sqlite3_vfs {
    // SAFETY: as in `install`, which has found it before.
    unsafe { ffi::sqlite3_vfs_find(c"unix".as_ptr()) }
}

/// The file of the unix VFS behind ours.
///
/// # Safety
/// `file` must be one that `open` was given: memory for a [`ShimFile`] and a file of the unix VFS.
unsafe fn real(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: by the caller's promise the memory goes on that far.
    unsafe { file.cast::<ShimFile>().add(1).cast() }
}

/// # Safety
/// `file` must have been opened by `open` and not be closed yet; nobody else uses its notes meanwhile.
unsafe fn notes<'a>(file: *mut sqlite3_file) -> Option<&'a mut Notes> {
    // SAFETY: `open` has set `notes` to null or to a box that `close` frees; SQLite uses a file from one thread at a time.
    unsafe { (*file.cast::<ShimFile>()).notes.as_mut() }
}

/// Calls a method of the real file.
macro_rules! pass {
    ($file:expr, $method:ident $(, $argument:expr)*) => {{
        // SAFETY: SQLite calls methods only on files that `open` has opened, so the real file behind is open and its
        // methods are set; the arguments are SQLite's own.
        unsafe {
            let real = real($file);
            match (*(*real).pMethods).$method {
                Some(method) => method(real $(, $argument)*),
                None => return Default::default(),
            }
        }
    }};
}

unsafe extern "C" fn open(
    _vfs: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite gives null for a temporary file, else a C string that outlives the file.
    let path = (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned());
    let created =
        flags & SQLITE_OPEN_CREATE != 0 && path.as_ref().is_some_and(|path| !Path::new(path).exists());
    // SAFETY: SQLite gives memory of our `szOsFile` bytes, enough for both files.
    let shim = unsafe { &mut *file.cast::<ShimFile>() };
    shim.base.pMethods = std::ptr::null();
    shim.notes = std::ptr::null_mut();
    let unix = unix();
    // SAFETY: the unix VFS is called as SQLite would call it, with its own memory.
    let result = unsafe {
        let real = real(file);
        (*real).pMethods = std::ptr::null();
        match (*unix).xOpen {
            Some(open) => open(unix, name, real, flags, out_flags),
            None => ffi::SQLITE_CANTOPEN,
        }
    };
    if result != SQLITE_OK {
        return result;
    }
    shim.base.pMethods = &raw const METHODS;
    if let Some((state, name)) = path.as_ref().and_then(|path| disk::find(Path::new(path))) {
        let role = disk::role_of(&name);
        let number = disk::lock(&state).open(&name, role, created);
        // The unix VFS does so for what it creates, except for databases.
        let journal = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | SQLITE_OPEN_WAL;
        let syncs_folder = created && flags & journal != 0;
        shim.notes = Box::into_raw(Box::new(Notes { state, number, role, syncs_folder }));
    }
    SQLITE_OK
}

unsafe extern "C" fn delete(_vfs: *mut sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    let unix = unix();
    // SAFETY: as SQLite would call it. The folder is not synced: we only note that it was to be.
    let result = unsafe {
        match (*unix).xDelete {
            Some(delete) => delete(unix, name, 0),
            None => SQLITE_OK,
        }
    };
    // SAFETY: SQLite gives a C string.
    let path = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    if result == SQLITE_OK
        && let Some((state, name)) = disk::find(Path::new(&path))
    {
        disk::lock(&state).delete(&name, sync_folder != 0);
    }
    result
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes a file once; the notes are null or a box of ours.
    unsafe {
        let shim = &mut *file.cast::<ShimFile>();
        if !shim.notes.is_null() {
            drop(Box::from_raw(shim.notes));
            shim.notes = std::ptr::null_mut();
        }
    }
    pass!(file, xClose)
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    into: *mut c_void,
    amount: c_int,
    at: sqlite3_int64,
) -> c_int {
    pass!(file, xRead, into, amount, at)
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    from: *const c_void,
    amount: c_int,
    at: sqlite3_int64,
) -> c_int {
    // SAFETY: the file is open.
    let Some(notes) = (unsafe { notes(file) }) else { return pass!(file, xWrite, from, amount, at) };
    let mut state = disk::lock(&notes.state);
    let failure = state.fails(Operation::Write, notes.role);
    // Half of a write that fails arrives.
    let amount = if failure.is_some() { amount / 2 } else { amount };
    let result = if amount > 0 { pass!(file, xWrite, from, amount, at) } else { SQLITE_OK };
    if result == SQLITE_OK && amount > 0 {
        // SAFETY: SQLite gives so many bytes.
        let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), amount as usize) };
        state.note(Event::Write(notes.number, at as u64, bytes.to_vec()));
    }
    match failure {
        Some(Failure::Io) => SQLITE_IOERR_WRITE,
        Some(Failure::Full) => SQLITE_FULL,
        None => result,
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    let Some(notes) = (unsafe { notes(file) }) else { return pass!(file, xTruncate, length) };
    let mut state = disk::lock(&notes.state);
    if state.fails(Operation::Truncate, notes.role).is_some() {
        return SQLITE_IOERR_TRUNCATE;
    }
    let result = pass!(file, xTruncate, length);
    if result == SQLITE_OK {
        state.note(Event::Truncate(notes.number, length as u64));
    }
    result
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let Some(notes) = (unsafe { notes(file) }) else { return pass!(file, xSync, flags) };
    let mut state = disk::lock(&notes.state);
    match state.fails(Operation::Sync, notes.role) {
        Some(failure) => {
            state.note(Event::SyncFailed(notes.number));
            if failure == Failure::Full { SQLITE_FULL } else { SQLITE_IOERR_FSYNC }
        }
        None => {
            state.note(Event::Sync(notes.number));
            if std::mem::take(&mut notes.syncs_folder) {
                state.note(Event::SyncFolder);
            }
            SQLITE_OK
        }
    }
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    pass!(file, xFileSize, size)
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass!(file, xLock, level)
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    pass!(file, xUnlock, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    pass!(file, xCheckReservedLock, out)
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, what: c_int, argument: *mut c_void) -> c_int {
    pass!(file, xFileControl, what, argument)
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    pass!(file, xSectorSize)
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    pass!(file, xDeviceCharacteristics)
}

unsafe extern "C" fn shm_map(
    file: *mut sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    pass!(file, xShmMap, page, size, extend, out)
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    pass!(file, xShmLock, offset, count, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    pass!(file, xShmBarrier);
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    pass!(file, xShmUnmap, delete)
}
