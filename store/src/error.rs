//! What can go wrong in the store, split by what the caller can do about it.

use protocol::Kind;
use protocol::command::CommandState;
use rusqlite::ErrorCode;
use rusqlite::ffi;

/// Why the store could not do what was asked. Nothing of the call that returned it is stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room on the disk, or the file reached its limit. What is stored stays readable; try again later.
    #[error("no room: the disk is full, or the database has reached its size limit")]
    Full,
    /// The disk failed while writing. Whether the last commit is on it is unknown until the file is opened anew, and
    /// trying again could lie, so the [`Writer`](crate::Writer) refuses every later call: stop the process.
    #[error("the disk failed: {0}")]
    Fatal(String),
    /// The file was written by a later version of this program.
    #[error(
        "the database has schema version {found}; this program knows versions up to {known}: use a newer program"
    )]
    NewerSchema {
        /// The version of the file.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file is not a database of this program. It was not touched.
    #[error("not a telemetry database: {0}")]
    NotOurs(String),
    /// The file is damaged here. Other parts may be readable.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
    /// Someone else holds the database. Try again later.
    #[error("the database is in use: {0}")]
    Busy(String),
    /// A metric was declared with another kind than the readings stored for it have.
    #[error("metric {metric} is stored as {stored} and cannot become {declared}: use another name")]
    KindChanged {
        /// The metric.
        metric: String,
        /// What its readings are.
        stored: Kind,
        /// What it was declared as now.
        declared: Kind,
    },
    /// A command cannot go from the state that it is in to the one asked for (I-14).
    #[error("the command is {from} and cannot become {to}")]
    WrongState {
        /// The state that it is in.
        from: CommandState,
        /// The state that was asked for.
        to: CommandState,
    },
    /// What was named does not exist.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// What was to be created exists already.
    #[error("{0} exists already")]
    Exists(&'static str),
    /// The caller asked for what must not be stored: a number that is not finite, a time out of range.
    #[error("refused to store: {0}")]
    Invalid(String),
    /// A file beside the database could not be read or written, or must not be: a backup, a file to restore.
    #[error("{0}")]
    File(String),
    /// Anything else that the database reported.
    #[error("database: {0}")]
    Sqlite(#[source] rusqlite::Error),
}

impl StoreError {
    /// Whether the process must stop: its view of the file and the file may differ.
    pub const fn is_fatal(&self) -> bool {
        match self {
            Self::Fatal(_) => true,
            Self::Full
            | Self::NewerSchema { .. }
            | Self::NotOurs(_)
            | Self::Corrupt(_)
            | Self::Busy(_)
            | Self::KindChanged { .. }
            | Self::WrongState { .. }
            | Self::NotFound(_)
            | Self::Exists(_)
            | Self::Invalid(_)
            | Self::File(_)
            | Self::Sqlite(_) => false,
        }
    }

    /// Whether the same call may succeed later without anyone changing it.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Full | Self::Busy(_) => true,
            Self::Fatal(_)
            | Self::NewerSchema { .. }
            | Self::NotOurs(_)
            | Self::Corrupt(_)
            | Self::KindChanged { .. }
            | Self::WrongState { .. }
            | Self::NotFound(_)
            | Self::Exists(_)
            | Self::Invalid(_)
            | Self::File(_)
            | Self::Sqlite(_) => false,
        }
    }

    /// Whether the caller is at fault: the request can be refused with this text.
    pub const fn is_request(&self) -> bool {
        match self {
            Self::KindChanged { .. }
            | Self::WrongState { .. }
            | Self::NotFound(_)
            | Self::Exists(_)
            | Self::Invalid(_) => true,
            Self::Full
            | Self::Fatal(_)
            | Self::NewerSchema { .. }
            | Self::NotOurs(_)
            | Self::Corrupt(_)
            | Self::Busy(_)
            | Self::File(_)
            | Self::Sqlite(_) => false,
        }
    }

    /// Says that what a row holds cannot be.
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt(what.into())
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        match &error {
            E::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::DiskFull => Self::Full,
                // The index of the write-ahead log could not grow, which is how a full tmpfs says so.
                ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
                    Self::Full
                }
                ErrorCode::SystemIoFailure => Self::Fatal(error.to_string()),
                ErrorCode::DatabaseCorrupt => Self::Corrupt(error.to_string()),
                ErrorCode::NotADatabase => Self::NotOurs(error.to_string()),
                ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy(error.to_string()),
                _ => Self::Sqlite(error),
            },
            // A row whose columns have other types than the schema says, or that is not there.
            E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::Utf8Error(..)
            | E::InvalidColumnType(..)
            | E::QueryReturnedNoRows => Self::Corrupt(error.to_string()),
            _ => Self::Sqlite(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: std::ffi::c_int) -> StoreError {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None).into()
    }

    #[test]
    fn a_failed_sync_is_fatal_and_a_full_disk_is_not() {
        assert!(failure(ffi::SQLITE_IOERR_FSYNC).is_fatal());
        assert!(failure(ffi::SQLITE_IOERR_WRITE).is_fatal());
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            assert!(matches!(failure(code), StoreError::Full), "{code}");
            assert!(failure(code).is_retryable() && !failure(code).is_fatal());
        }
    }

    #[test]
    fn damage_and_strangers_are_told_apart() {
        assert!(matches!(failure(ffi::SQLITE_CORRUPT), StoreError::Corrupt(_)));
        assert!(matches!(failure(ffi::SQLITE_NOTADB), StoreError::NotOurs(_)));
        assert!(matches!(failure(ffi::SQLITE_BUSY), StoreError::Busy(_)));
    }
}
