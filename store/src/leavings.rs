//! What a process that ended badly left: brought to the disk before anyone is told of it.
//!
//! A process that is killed between writing a commit and syncing it leaves a commit that the next process reads out of
//! the system's memory, and that a power cut takes back. After a failed sync it is worse: Linux keeps such pages in memory
//! as if they were on the disk, and no later sync writes them. A device that is told that such a batch is settled has
//! thrown it away. So the log is written once more as it is read, then synced, and the folders with it.
//!
//! The database file needs none of this: all that a checkpoint wrote and did not sync is still in the log.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::error::StoreError;
use crate::schema::with_suffix;

/// Bytes that are rewritten at once.
const PIECE: usize = 1024 * 1024;

/// Brings the log of the database at `path`, if there is one, to the disk. The caller holds the place of the writer.
pub(crate) fn settle(path: &Path) -> Result<(), StoreError> {
    let log = with_suffix(path, "-wal");
    let result = match File::options().read(true).write(true).open(&log) {
        Ok(mut file) => rewrite(&mut file),
        // A database that was closed in order has none, and one that cannot be opened SQLite says more about.
        Err(_) => Ok(()),
    };
    sync_folders(path);
    result.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Fatal(format!("{}: {error}", log.display())),
    })
}

/// Writes a file as it is, and syncs it.
fn rewrite(file: &mut File) -> io::Result<()> {
    let mut piece = vec![0; PIECE.min(file.metadata()?.len() as usize)];
    let mut at = 0;
    while !piece.is_empty() {
        file.seek(SeekFrom::Start(at))?;
        let length = file.read(&mut piece)?;
        if length == 0 {
            break;
        }
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&piece[..length])?;
        at += length as u64;
    }
    file.sync_all()
}

/// Syncs the folder of the database and those above it: the names of the files, and of a folder that was just made, must
/// be on the disk as well. SQLite does so only for what it makes itself, and not if it is killed before.
fn sync_folders(path: &Path) {
    let Ok(path) = std::path::absolute(path) else { return };
    for folder in path.ancestors().skip(1) {
        // Not every system can sync a folder, and not every folder above may be read.
        if let Err(error) = File::open(folder).and_then(|folder| folder.sync_all()) {
            tracing::debug!(folder = %folder.display(), %error, "cannot sync a folder");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_of_any_length_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        settle(&path).unwrap();
        assert!(!folder.path().join("t.db-wal").exists());
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7 / 3) as u8).collect();
            let log = folder.path().join("t.db-wal");
            std::fs::write(&log, &bytes).unwrap();
            settle(&path).unwrap();
            assert_eq!(std::fs::read(&log).unwrap(), bytes, "{length}");
        }
    }
}
