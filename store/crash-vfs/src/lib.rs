//! A disk that loses power and fails, for the tests of the store.
//!
//! [`Disk`] is a folder. SQLite's files in it are real files, read and written through SQLite's own unix VFS, but a shim
//! between the two notes every write, truncation, sync, creation and deletion, and can make any of them fail. The shim is
//! the default VFS of a process that has made a [`Disk`], so that the store runs on it unchanged.
//!
//! From the [`Trace`] of what was noted, [`Replay`] tells what a disk may hold if the power fails after any of it. What
//! it assumes:
//!
//! - What was synced stays. What was written since may be there or not, in any order, torn between sectors of 512 bytes;
//!   a sector itself is whole, as it was before or after one of the writes since.
//! - The length of a file is a length that it had since its last sync. Where it grew and the data did not arrive, there
//!   are zeros or rubbish.
//! - A file that was created, and a deletion, is on the disk once the folder was synced, whatever was synced of the file
//!   itself; until then each name is there or not, by itself. SQLite syncs the folder with the first sync of a journal or
//!   log that it created. A deleted file can come back with all it held.
//! - What was not on the disk when a sync failed never gets there, though it can be read until the power fails, and the next
//!   sync succeeds: that is what Linux does.
//! - Shared memory (`-shm`) is never on the disk.
//!
//! A sync is noted and not made: tests run at the speed of the memory.

mod chance;
mod disk;
mod replay;
mod shim;

pub use chance::Chance;
pub use disk::{Disk, Event, Failure, Fault, Operation, Role, Trace};
pub use replay::Replay;
